from emo_prune import report

page = report("results.json", output="results.html")
print(page)
