"""Bytes: what tensors a checkpoint holds, where they lie, and how to copy them.

`open_checkpoint` reads the config, the index and the safetensors headers of a local
folder or a Hub repository, checks them against each other and against the files, and
returns a `Checkpoint`. `open_remote` does so for a Hub repository even where a local
copy exists; its shards are read by range, and `support_folder` has the rest.
`plan_shards` and `write_shard` write byte ranges of it to new files. No tensor is ever
decoded, so every dtype works; torch is never imported.
"""

from emo_prune.checkpoint.checkpoint import (
    Checkpoint,
    name_of_folder,
    open_checkpoint,
    open_remote,
    parse_json,
    read_header,
    read_object,
)
from emo_prune.checkpoint.dtypes import DTYPES, FLOATS, Dtype
from emo_prune.checkpoint.header import Tensor, parse_header
from emo_prune.checkpoint.hub import local_folder, support_folder
from emo_prune.checkpoint.known import locate, remember
from emo_prune.checkpoint.source import ByteSource, FolderSource, Wanted
from emo_prune.checkpoint.writer import (
    ByteRange,
    OutputTensor,
    Shard,
    create_shard,
    fill_shard,
    fill_shards,
    plan_shards,
    write_shard,
)

__all__ = [
    "DTYPES",
    "FLOATS",
    "ByteRange",
    "ByteSource",
    "Checkpoint",
    "Dtype",
    "FolderSource",
    "OutputTensor",
    "Shard",
    "Tensor",
    "Wanted",
    "create_shard",
    "fill_shard",
    "fill_shards",
    "local_folder",
    "locate",
    "name_of_folder",
    "open_checkpoint",
    "open_remote",
    "parse_header",
    "parse_json",
    "plan_shards",
    "read_header",
    "read_object",
    "remember",
    "support_folder",
    "write_shard",
]
