from emo_prune import sweep

found = sweep(
    model="./model",
    examples="calibration.jsonl",
    test="questions.jsonl",
    keep=["75%", "50%"],
    scores=["frequency", "random"],
    output="swept",
)
print(found.to_pandas())
