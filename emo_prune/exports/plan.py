"""Exactly what an export will write: tensors, bytes, shards, config, files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emo_prune.architectures import MoEModel, fingerprint
from emo_prune.checkpoint import (
    DTYPES,
    ByteSource,
    Checkpoint,
    OutputTensor,
    Shard,
    plan_shards,
    read_object,
)
from emo_prune.exports.formats import SOURCE, Format, find_format
from emo_prune.exports.record import ExportRecord, model_card
from emo_prune.files import readable_json
from emo_prune.places import CONFIG, INDEX, RECORD
from emo_prune.selection import Selection, check_selection
from emo_prune.version import __version__

DEFAULT_SHARD_BYTES = 5_000_000_000
# Weights in any other form would be the unpruned ones beside the pruned.
_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".gguf", ".ggml", ".h5",
            ".msgpack", ".onnx", ".ot", ".tflite", ".index.json")  # fmt: skip
SOURCE_CARD = "README.source.md"
_OURS = (CONFIG, RECORD)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputPlan:
    """The files that a checkpoint written here will hold.

    `copied` maps files of the source to their names in the output.
    """

    shards: tuple[Shard, ...]
    copied: Mapping[str, str]

    @property
    def num_tensors(self) -> int:
        """Tensors in the output."""
        return sum(len(shard.tensors) for shard in self.shards)

    @property
    def shard_bytes(self) -> int:
        """Bytes of the files of weights, headers included."""
        return sum(shard.num_bytes for shard in self.shards)

    def disk_bytes(self, source: ByteSource) -> int:
        """Return the bytes of weights and copied files on disk."""
        return self.shard_bytes + sum(source.size(file) for file in self.copied)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ExportPlan(OutputPlan):
    """What an export will write; `written` holds the text files, new or edited."""

    model: MoEModel
    record: ExportRecord
    config: Mapping[str, Any]
    written: Mapping[str, str]

    def __repr__(self) -> str:
        return (
            f"ExportPlan({self.num_bytes:,} bytes, {len(self.shards)} files of "
            f"weights, {self.record!r})"
        )

    @property
    def num_bytes(self) -> int:
        """Bytes on disk, headers and copied files included."""
        texts = sum(len(text.encode()) for text in self.written.values())
        return self.disk_bytes(self.model.checkpoint.source) + texts

    @property
    def config_changes(self) -> dict[str, tuple[Any, Any]]:
        """Config keys whose value differs: (source, output); None where absent."""
        before = self.model.config
        return {
            key: (before.get(key), self.config.get(key))
            for key in {**before, **self.config}
            if before.get(key) != self.config.get(key)
        }


def plan_export(
    model: MoEModel,
    selection: Selection,
    *,
    max_shard_bytes: int = DEFAULT_SHARD_BYTES,
    layout: str = SOURCE,
) -> ExportPlan:
    """Plan an export; reads headers and a fingerprint, writes nothing.

    Raises:
        FingerprintMismatch, BadSelection: the selection is not one for this model.
        SettingsError: there is no such `layout`.
        NotExact: it cannot hold this model exactly.
    """
    check_selection(selection, model, fingerprint(model))
    kept, top_k = selection.kept, selection.top_k
    chosen = find_format(layout)
    chosen.refuse(model, kept, top_k)
    tensors = chosen.tensors(model, kept)
    config = chosen.config(model, kept, top_k)
    shards = in_shards(tensors, max_shard_bytes)
    copied, left_out = _files(model, chosen)
    record = ExportRecord(
        layout=chosen.name,
        selection=selection,
        selection_sha256=selection.sha256,
        left_out=tuple(left_out),
        dropped_tensors=tuple(tensor.name for tensor in model.predictors),
        num_bytes=sum(tensor.num_bytes for tensor in tensors),
        source_bytes=model.checkpoint.num_bytes,
        parent=read_object(model.checkpoint.source, RECORD),
        versions={"emo_prune": __version__},
    )
    return ExportPlan(
        model=model,
        record=record,
        shards=shards,
        config=config,
        copied=copied,
        written={
            CONFIG: config_text(config),
            RECORD: record.to_text(),
            "README.md": model_card(
                record, has_source_card=SOURCE_CARD in copied.values()
            ),
            **index_of(shards),
        },
    )


def in_shards(
    tensors: Sequence[OutputTensor], max_shard_bytes: int
) -> tuple[Shard, ...]:
    """Divide tensors over files of at most so many bytes of data."""
    # wider dtypes first, so that each tensor starts at a multiple of its size
    aligned = sorted(tensors, key=lambda tensor: -DTYPES[tensor.dtype].bits)
    return plan_shards(aligned, max_shard_bytes)


def _files(model: MoEModel, layout: Format) -> tuple[dict[str, str], list[str]]:
    copied, left_out = other_files(model.checkpoint, _OURS)
    unfit = [file for file in copied if layout.leaves_out(file)]
    kept = {file: name for file, name in copied.items() if file not in unfit}
    return kept, sorted([*left_out, *unfit])


def other_files(
    checkpoint: Checkpoint, ours: Sequence[str]
) -> tuple[dict[str, str], list[str]]:
    """Return a checkpoint's files besides weights and what is written anew (`ours`).

    First those to be copied, each with its new name (the model card is no longer that
    of the model); then those left out: the same weights in other formats.
    """
    copied: dict[str, str] = {}
    left_out: list[str] = []
    files = checkpoint.source.files()
    for file in files:
        if file in checkpoint.shards or file == INDEX or file in ours:
            continue
        # A source that is itself an export: its card is ours, the older one stays.
        own_card = file == "README.md" and SOURCE_CARD in files
        if own_card or file.lower().endswith(_WEIGHTS):
            left_out.append(file)
        else:
            copied[file] = SOURCE_CARD if file == "README.md" else file
    return copied, left_out


def config_text(config: Mapping[str, Any]) -> str:
    """Return a config.json as transformers lays it out, its keys in the given order."""
    return json.dumps(dict(config), indent=2) + "\n"


def index_of(shards: tuple[Shard, ...]) -> dict[str, str]:
    """Return the index of several files by its name; of one, nothing."""
    if len(shards) == 1:
        return {}
    total = sum(tensor.num_bytes for shard in shards for tensor in shard.tensors)
    weight_map = {tensor.name: s.name for s in shards for tensor in s.tensors}
    index = {
        "metadata": {"total_size": total},
        "weight_map": dict(sorted(weight_map.items())),
    }
    return {INDEX: readable_json(index)}
