"""The whole tool, offline, on a small EMO model that comes with the package.

`data` is the folder it begins with: that model, pretrained on ten made-up worlds, and
questions about two of them. `benchmarks/worlds` of the source repository made them.
"""
