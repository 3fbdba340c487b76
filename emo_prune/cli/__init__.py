"""The command line: parse, call, print. The only package that prints or exits.

`main` is what the console script, `python -m emo_prune` and the tests call.
"""

from emo_prune.cli.main import main

__all__ = ["main"]
