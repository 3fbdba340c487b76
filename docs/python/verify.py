from emo_prune import verify

report = verify("exported", source="./model")
print(f"{report.num_tensors} tensors equal those of the source")
