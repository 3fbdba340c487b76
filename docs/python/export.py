from emo_prune import export

exported = export("chosen/selection.json", model="./model", output="exported")
print(exported.path, f"{exported.num_bytes:,} bytes")
