from emo_prune import extract

extracted = extract(
    model="./model", examples="calibration.jsonl", keep="50%", output="extracted"
)
print(f"read {extracted.bytes_read:,} bytes of the source")
