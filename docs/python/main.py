from emo_prune import evaluate, export, select

selection = select(model="./model", examples="calibration.jsonl", keep="50%")
export(selection, model="./model", output="small")
results = evaluate("small", examples="questions.jsonl", max_drop=100)
print(results)
