"""Proof that an export is its source, less the dropped experts: byte against byte.

Independent of the writer: it shares no plan with it, works out from the tensors' names
in the export which bytes of the source each must equal, and has every shard opened by
the reference safetensors parser as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from emo_prune.architectures import MoEModel, describe, fingerprint
from emo_prune.checkpoint import Checkpoint, Tensor, open_checkpoint
from emo_prune.errors import VerificationFailed
from emo_prune.export.record import ExportRecord, read_record
from emo_prune.selection import check_selection

_CHUNK = 16 * 1024 * 1024
_EXPERT = re.compile(r"^(.*\.layers\.(\d+)\..*\bexperts\.)(\d+)(\..+)$")
_LAYER = re.compile(r"\.layers\.(\d+)\.")
# Files an export has of its own, not as copies of the source's.
_NEW = {"config.json", "README.md", "emo_prune.json", "model.safetensors.index.json"}
_CONFIG_MAY_CHANGE = {
    "num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts",
    "num_experts_per_tok", "num_experts_per_token", "moe_k", "moe_topk",
    "num_experts_per_layer", "always_active_experts",
    "always_active_experts_per_layer", "num_nextn_predict_layers",
    "quantization_config", "quantization",
}  # fmt: skip


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
    _check_config(target, source, record)
    num_files = _check_files(target, source.checkpoint, record)
    return VerificationReport(
        num_tensors=len(target.tensors), num_bytes=compared, num_files=num_files
    )


def _check_reference_parser(folder: Path, target: Checkpoint) -> None:
    for shard in target.shards:
        try:
            with safe_open(folder / shard, framework="np") as file:
                file.keys()
        except SafetensorError as error:
            raise _failed("safetensors refuses the shard", shard, str(error)) from None


def _check_names(target: Checkpoint, source: MoEModel, record: ExportRecord) -> None:
    """Nothing missing, nothing extra: the names the source and selection imply."""
    kept = record.selection.kept
    expected = set()
    for name in source.checkpoint.tensors:
        found = _EXPERT.match(name)
        layer = int(found[2]) if found else -1
        if found and layer in kept:
            if int(found[3]) in kept[layer]:
                new = kept[layer].index(int(found[3]))
                expected.add(f"{found[1]}{new}{found[4]}")
        elif name not in record.dropped_tensors:
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
            same = _is_double(got, want, claim.target) if claim.doubled else got == want
        if not same:
            raise _failed(
                "a tensor's bytes differ from the source's",
                claim.target.name,
                f"a difference between bytes {start - claim.target.start:,} and "
                f"{end - claim.target.start:,} of the tensor",
            )
        progress(end - start)


def _is_double(got: bytes, want: bytes, tensor: Tensor) -> bool:
    return bool(np.array_equal(_float64(got, tensor), 2 * _float64(want, tensor)))


def _float64(
    raw: bytes, tensor: Tensor
) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    if tensor.dtype == "BF16":
        padded = np.zeros((len(raw) // 2, 2), dtype="<u2")
        padded[:, 1] = np.frombuffer(raw, "<u2")
        return padded.view("<f4")[:, 0].astype(np.float64)
    kind = {"F16": "<f2", "F32": "<f4", "F64": "<f8"}[tensor.dtype]
    return np.frombuffer(raw, kind).astype(np.float64)


def _check_config(target: Checkpoint, source: MoEModel, record: ExportRecord) -> None:
    """The config announces the experts that are there, and is else the source's."""
    model = describe(target)
    shared = 1 if record.layout == "qwen2_moe" else 0
    kept = {layer.layer: layer.num_experts + shared for layer in model.layers}
    wanted = {layer: len(ids) for layer, ids in record.selection.kept.items()}
    if kept != wanted or model.top_k + shared != record.selection.top_k:
        raise _failed("config.json announces other experts", target.name, str(kept))
    if record.layout == "qwen2_moe":
        return
    before, after = source.config, target.config
    changed = {key for key in {*before, *after} if before.get(key) != after.get(key)}
    if changed - _CONFIG_MAY_CHANGE:
        raise _failed(
            "config.json was changed where it must not be",
            target.name,
            ", ".join(sorted(changed - _CONFIG_MAY_CHANGE)),
        )


def _check_files(target: Checkpoint, source: Checkpoint, record: ExportRecord) -> int:
    """Every other file is the source's, byte for byte; none is extra."""
    copied = 0
    for file in target.source.files():
        if file in _NEW or file in target.shards:
            continue
        original = "README.md" if file == "README.source.md" else file
        if original not in source.source.files():
            raise _failed("the export has a file the source has not", file, "extra")
        size = source.source.size(original)
        same = target.source.size(file) == size and target.source.read(
            file, 0, size
        ) == source.source.read(original, 0, size)
        if not same:
            raise _failed("a copied file differs from the source's", file, "changed")
        copied += 1
    expected = {
        *source.source.files()
    } - {*source.shards, *record.left_out, *_NEW}  # fmt: skip
    missing = expected - {*target.source.files()}
    if missing:
        raise _failed("a file of the source is missing", sorted(missing)[0], "nothing")
    return copied


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
