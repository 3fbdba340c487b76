from emo_prune import load_selection, select

selection = select(
    model="./model",
    examples="calibration.jsonl",
    keep=4,
    save_scores=True,
    output="chosen",
)
print(selection.kept[0])  # original ids of the experts that stay in layer 0
assert load_selection("chosen/selection.json") == selection
