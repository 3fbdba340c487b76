"""Proof that an export is its source, less the dropped experts: byte against byte.

Independent of the writer: it shares no plan with it, works out from the tensors' names
in the export which bytes of the source each must equal, and has every shard opened by
the reference safetensors parser as well. The config must be the one that the selection
implies, and announce the experts that are there. README.md may be edited.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from emo_prune.architectures import MoEModel, describe, fingerprint, prune_config
from emo_prune.checkpoint import Checkpoint, Tensor, open_checkpoint, parse_json
from emo_prune.errors import VerificationFailed
from emo_prune.exports.qwen2_moe import qwen2_moe_config
from emo_prune.exports.record import RECORD, ExportRecord, read_record
from emo_prune.files import canonical_json
from emo_prune.selection import check_selection

_CHUNK = 16 * 1024 * 1024
_EXPERT = re.compile(r"^((?:.*\.)?(?:layers|h)\.(\d+)\..*\bexperts\.)(\d+)(\..+)$")
_LAYER = re.compile(r"^(?:.*\.)?(?:layers|h)\.(\d+)\.")
_INDEX = "model.safetensors.index.json"
# Files an export has of its own, not as copies of the source's.
_NEW = {"config.json", "README.md", RECORD}


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationReport:
    """What was compared, all of it equal."""

    num_tensors: int
    num_bytes: int
    num_files: int


@dataclass(frozen=True, slots=True)
class _Claim:
    """A piece of an exported tensor, and the piece of the source it must equal.

    `source` is None where the piece must be zeros; `doubled` where each value must be
    twice the source's.
    """

    target: Tensor
    start: int
    end: int
    source: Tensor | None
    source_start: int
    doubled: bool = False


def verify_export(
    folder: Path, source: MoEModel, progress: Callable[[int], None] = lambda _: None
) -> VerificationReport:
    """Compare an export with its source: every tensor, config key and copied file.

    Raises:
        VerificationFailed: they differ; says where first.
        ExportError: the folder is not an export.
        FingerprintMismatch: it was made from another checkpoint.
    """
    record = read_record(folder)
    check_selection(record.selection, source, fingerprint(source))
    target = open_checkpoint(str(folder))
    _check_reference_parser(folder, target)
    _check_names(target, source, record)
    compared = 0
    for claim in _claims(target, source, record):
        _check_bytes(claim, target, source.checkpoint, progress)
        compared += claim.end - claim.start
    _check_record(target, source, record)
    _check_config(target, source, record)
    num_files = _check_files(target, source.checkpoint, record)
    return VerificationReport(
        num_tensors=len(target.tensors), num_bytes=compared, num_files=num_files
    )


def _check_reference_parser(folder: Path, target: Checkpoint) -> None:
    for shard in target.shards:
        try:
            with safe_open(folder / shard, framework="np") as file:
                metadata = file.metadata()
        except SafetensorError as error:
            raise _failed("safetensors refuses the shard", shard, str(error)) from None
        if metadata != {"format": "pt"}:  # transformers loads no other
            raise _failed("the shard's metadata were changed", shard, str(metadata))


def _check_names(target: Checkpoint, source: MoEModel, record: ExportRecord) -> None:
    """Check that nothing is missing or extra, by what source and selection imply."""
    kept = record.selection.kept
    expected = set()
    for name in {*source.checkpoint.tensors} - {*record.dropped_tensors}:
        found = _EXPERT.match(name)
        layer = int(found[2]) if found else -1
        if found and layer in kept:
            if int(found[3]) in kept[layer]:
                new = kept[layer].index(int(found[3]))
                expected.add(f"{found[1]}{new}{found[4]}")
        else:
            expected.add(name)
    if record.layout == "qwen2_moe":
        expected = _qwen2_moe_names(expected, source, record)
    undeclared = set(record.dropped_tensors) - {t.name for t in source.predictors}
    missing = sorted((expected - set(target.tensors)) | undeclared)
    extra = sorted(set(target.tensors) - expected)
    if missing or extra:
        raise _failed(
            "the export has not the tensors it must have",
            target.name,
            f"missing {missing[:3]}, extra {extra[:3]}",
        )


def _claims(
    target: Checkpoint, source: MoEModel, record: ExportRecord
) -> Iterator[_Claim]:
    for tensor in target.tensors.values():
        if record.layout == "qwen2_moe":
            yield from _qwen2_moe_claims(tensor, source, record)
        else:
            yield from _source_claims(tensor, tensor.name, source, record)


def _source_claims(
    tensor: Tensor, name: str, source: MoEModel, record: ExportRecord
) -> Iterator[_Claim]:
    """Claims for a tensor that has `name` in a plain export."""
    kept = record.selection.kept
    expert = _EXPERT.match(name)
    if expert and int(expert[2]) in kept:
        old = kept[int(expert[2])][int(expert[3])]
        name = f"{expert[1]}{old}{expert[4]}"
    origin = source.checkpoint.tensors[name]
    layer = _LAYER.search(name)
    ids = kept.get(int(layer[1]), ()) if layer else ()
    if not expert and name in _per_expert_names(source):
        yield from _row_claims(tensor, origin, ids)
    else:
        yield _whole_claim(tensor, origin)


def _per_expert_names(source: MoEModel) -> set[str]:
    return {t.name for layer in source.layers for t in (*layer.router, *layer.stacked)}


def _row_claims(
    tensor: Tensor, origin: Tensor, ids: tuple[int, ...]
) -> Iterator[_Claim]:
    row = origin.num_bytes // origin.shape[0]
    if (
        tensor.shape != (len(ids), *origin.shape[1:])
        or tensor.dtype != origin.dtype
        or tensor.num_bytes != row * len(ids)
    ):
        raise _failed("a tensor has the wrong shape", tensor.name, str(tensor.shape))
    for new, old in enumerate(ids):
        start = tensor.start + new * row
        yield _Claim(tensor, start, start + row, origin, origin.start + old * row)


def _whole_claim(tensor: Tensor, origin: Tensor, *, doubled: bool = False) -> _Claim:
    if tensor.shape != origin.shape or tensor.dtype != origin.dtype:
        raise _failed(
            "a tensor has the wrong shape or type",
            tensor.name,
            f"{tensor.dtype} {tensor.shape}, source {origin.dtype} {origin.shape}",
        )
    return _Claim(tensor, tensor.start, tensor.end, origin, origin.start, doubled)


def _check_bytes(
    claim: _Claim,
    target: Checkpoint,
    source: Checkpoint,
    progress: Callable[[int], None],
) -> None:
    for start in range(claim.start, claim.end, _CHUNK):
        end = min(start + _CHUNK, claim.end)
        got = target.source.read(claim.target.shard, start, end)
        if claim.source is None:
            same = not any(got)
        else:
            offset = claim.source_start + start - claim.start
            want = source.source.read(claim.source.shard, offset, offset + end - start)
            same = (
                _is_double(got, want, claim.target.dtype)
                if claim.doubled
                else got == want
            )
        if not same:
            raise _failed(
                "a tensor's bytes differ from the source's",
                claim.target.name,
                f"a difference between bytes {start - claim.target.start:,} and "
                f"{end - claim.target.start:,} of the tensor",
            )
        progress(end - start)


def _is_double(got: bytes, want: bytes, dtype: str) -> bool:
    from emo_prune.exports.check_doubling import is_double  # needs numpy, which is slow

    return is_double(got, want, dtype)


def _check_record(target: Checkpoint, source: MoEModel, record: ExportRecord) -> None:
    """Check the sizes that the record gives; its selection was checked by its hash."""
    got = (record.num_bytes, record.source_bytes)
    if got != (target.num_bytes, source.checkpoint.num_bytes):
        raise _failed("the record gives other sizes", RECORD, f"{got} bytes")


def _check_config(target: Checkpoint, source: MoEModel, record: ExportRecord) -> None:
    """The config announces the experts that are there, and is else the source's."""
    model = describe(target)
    selection = record.selection
    is_qwen2_moe = record.layout == "qwen2_moe"
    shared = 1 if is_qwen2_moe else 0
    kept = {layer.layer: layer.num_experts + shared for layer in model.layers}
    wanted = {layer: len(ids) for layer, ids in selection.kept.items()}
    if kept != wanted or model.top_k + shared != selection.top_k:
        raise _failed("config.json announces other experts", target.name, str(kept))
    implied = qwen2_moe_config if is_qwen2_moe else prune_config
    before = implied(source, selection.kept, selection.top_k)
    changed = sorted(
        key
        for key in {*before, *target.config}
        if (key in before) != (key in target.config)
        or canonical_json(before[key]) != canonical_json(target.config[key])
    )
    if changed:
        raise _failed("config.json was changed", target.name, ", ".join(changed))


def _check_files(target: Checkpoint, source: Checkpoint, record: ExportRecord) -> int:
    """Every other file is the source's, byte for byte; none is missing or extra."""
    files = source.source.files()
    not_copied = {*source.shards, *record.left_out, "config.json", RECORD, _INDEX}
    expected = {
        "README.source.md" if file == "README.md" else file: file
        for file in files
        if file not in not_copied
    }
    own = {*target.shards, *_NEW}
    if len(target.shards) > 1:
        own.add(_INDEX)
        _check_index_size(target)
    found = {*target.source.files()} - own
    for file in sorted(found ^ expected.keys()):
        raise _failed(
            "the files are not those of the source",
            file,
            "a file that the source has not" if file in found else "nothing",
        )
    for file, original in expected.items():
        if not _same_file(target, file, source, original):
            raise _failed("a copied file differs from the source's", file, "changed")
    return len(expected)


def _same_file(
    target: Checkpoint, file: str, source: Checkpoint, original: str
) -> bool:
    size = source.source.size(original)
    return target.source.size(file) == size and all(
        target.source.read(file, start, min(start + _CHUNK, size))
        == source.source.read(original, start, min(start + _CHUNK, size))
        for start in range(0, size, _CHUNK)
    )


def _check_index_size(target: Checkpoint) -> None:
    """Check what nothing else reads: the index's own sum of all bytes."""
    raw = target.source.read(_INDEX, 0, target.source.size(_INDEX))
    metadata = parse_json(raw, _INDEX).get("metadata")
    if metadata != {"total_size": target.num_bytes}:
        raise _failed("the index gives another size", _INDEX, str(metadata))


def _qwen2_moe_names(
    plain: set[str], source: MoEModel, record: ExportRecord
) -> set[str]:
    last = {layer: len(ids) - 1 for layer, ids in record.selection.kept.items()}
    names = set()
    for name in plain:
        found = _EXPERT.match(name)
        if found and int(found[3]) == last[int(found[2])]:
            head = found[1].removesuffix("experts.")
            names.add(f"{head}shared_expert{found[4]}")
        else:
            names.add(_to_qwen2(name))
    for layer in source.layers:
        names.add(f"model.layers.{layer.layer}.mlp.shared_expert_gate.weight")
    return names


def _to_qwen2(name: str) -> str:
    # Two steps in this order: EMO's second norm has no Qwen2-MoE name to clash with.
    name = name.replace(".pre_feedforward_layernorm.", ".post_attention_layernorm.")
    return name.replace(".pre_attention_layernorm.", ".input_layernorm.")


def _from_qwen2(name: str) -> str:
    name = name.replace(".input_layernorm.", ".pre_attention_layernorm.")
    return name.replace(".post_attention_layernorm.", ".pre_feedforward_layernorm.")


def _qwen2_moe_claims(
    tensor: Tensor, source: MoEModel, record: ExportRecord
) -> Iterator[_Claim]:
    kept: Mapping[int, tuple[int, ...]] = record.selection.kept
    head, _, part = tensor.name.partition(".shared_expert")
    if part == "_gate.weight":
        yield _Claim(tensor, tensor.start, tensor.end, None, 0)
    elif part:
        layer = int(tensor.name.split(".")[2])
        origin = source.checkpoint.tensors[f"{head}.experts.{kept[layer][-1]}{part}"]
        yield _whole_claim(tensor, origin, doubled=part == ".down_proj.weight")
    elif tensor.name.endswith(".mlp.gate.weight"):
        layer = int(tensor.name.split(".")[2])
        origin = source.checkpoint.tensors[tensor.name]
        yield from _row_claims(tensor, origin, kept[layer][:-1])
    else:
        yield from _source_claims(tensor, _from_qwen2(tensor.name), source, record)


def _failed(what: str, where: str, got: str) -> VerificationFailed:
    return VerificationFailed(
        what, where=where, got=got, hint="do not use this export; run export again"
    )
