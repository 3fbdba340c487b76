from emo_prune import restore

print(restore("carved", dense=True, output="dense-again"))
