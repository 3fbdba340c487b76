from emo_prune import carve

record = carve("./dense", num_experts=8, top_k=4, output="carved")
print(record)
