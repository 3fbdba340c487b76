from emo_prune import reselect

for keep in ("75%", "50%"):
    print(reselect("chosen/scores.safetensors", keep=keep, score="probability"))
