from emo_prune import pretrain

trained = pretrain(
    "corpus.jsonl",
    output="trained",
    recipe="tiny.toml",
    device="cpu",
    track="none",
)
print(trained)
