from emo_prune import inspect

inspection = inspect("./model")
print(inspection.num_experts, inspection.num_experts_per_tok)
for size in inspection.sizes:
    print(f"{size.share:.1%} of the experts: {size.num_bytes:,} bytes")
