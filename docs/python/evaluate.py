from emo_prune import GateFailed, evaluate, load_results

try:
    evaluation = evaluate(
        "exported",
        examples="questions.jsonl",
        baseline="./model",
        max_drop=50,
        output="results.json",
    )
    print(evaluation.comparison.headline.difference, "points")
except GateFailed as failed:
    print(failed, failed.hint)
print(load_results("results.json").value)
