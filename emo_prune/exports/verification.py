"""Proof that an export is its source, less the dropped experts: byte against byte.

Independent of the writer: it shares no plan with it, works out from the tensors' names
in the export which bytes of the source each must equal (`claims`), and has every shard
opened by the reference safetensors parser as well. The config must be the one that the
selection implies, and announce the experts that are there. README.md may be edited.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from emo_prune.architectures import MoEModel, describe, fingerprint
from emo_prune.architectures.opening import open_local
from emo_prune.checkpoint import Checkpoint, open_checkpoint, parse_json
from emo_prune.errors import (
    CheckpointError,
    Command,
    SettingsError,
    VerificationFailed,
)
from emo_prune.exports.claims import Claim, failed
from emo_prune.exports.formats import Format, find_format
from emo_prune.exports.record import ExportRecord, find_source, read_record
from emo_prune.files import canonical_json
from emo_prune.options import VerifyOptions, verb
from emo_prune.places import CONFIG, INDEX, RECORD
from emo_prune.selection import check_selection

_CHUNK = 16 * 1024 * 1024
# Files an export has of its own, not as copies of the source's.
_NEW = {CONFIG, "README.md", RECORD}


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationReport:
    """What was compared, all of it equal; `num_bytes` are those of tensors."""

    num_tensors: int
    num_bytes: int
    num_files: int


@verb(VerifyOptions)
def verify(options: VerifyOptions) -> VerificationReport:
    """Prove that an export is its source less the dropped experts, byte for byte.

    Raises:
        VerificationFailed: they differ; says where first.
        ExportError: the folder is no export.
        FingerprintMismatch: it was made from another checkpoint.
        EmoPruneError: the source cannot be used.
    """
    folder = Path(options.folder)
    record = read_record(folder)
    source = options.source or find_source(record.selection)
    opened, _ = open_local(str(source), options.revision)
    with options.progress.track("comparing", record.num_bytes, "bytes") as advance:
        try:
            return verify_export(folder, opened, advance)
        except CheckpointError as error:  # what cannot even be read has failed as well
            raise VerificationFailed(
                ("the export is not sound: ", error.what),
                where=error.where,
                got=error.got,
                expected=error.expected,
                hint=("do not use this export; run ", Command("export"), " again"),
            ) from None


def verify_export(
    folder: Path, source: MoEModel, progress: Callable[[int], None] = lambda _: None
) -> VerificationReport:
    """Compare an export with its source: every tensor, config key and copied file.

    `progress` is told of the bytes of tensors that were compared.

    Raises:
        VerificationFailed: they differ; says where first.
        ExportError: the folder is not an export.
        FingerprintMismatch: it was made from another checkpoint.
    """
    record = read_record(folder)
    check_selection(record.selection, source, fingerprint(source))
    layout = _format(record)
    target = open_checkpoint(str(folder))
    _check_reference_parser(folder, target)
    _check_names(target, source, record, layout)
    compared = 0
    for tensor in target.tensors.values():
        for claim in layout.claims(tensor, source, record.selection.kept):
            _check_bytes(claim, target, source.checkpoint, progress)
            compared += claim.end - claim.start
    _check_whole(compared, target)
    _check_record(target, source, record)
    _check_config(target, source, record, layout)
    num_files = _check_files(target, source.checkpoint, record)
    return VerificationReport(
        num_tensors=len(target.tensors), num_bytes=compared, num_files=num_files
    )


def _format(record: ExportRecord) -> Format:
    try:
        return find_format(record.layout)
    except SettingsError as error:
        raise failed(
            "the record names a format that is not known", RECORD, str(error.got)
        ) from None


def _check_reference_parser(folder: Path, target: Checkpoint) -> None:
    for shard in target.shards:
        try:
            with safe_open(folder / shard, framework="np") as file:
                metadata = file.metadata()
        except SafetensorError as error:
            raise failed("safetensors refuses the shard", shard, str(error)) from None
        if metadata != {"format": "pt"}:  # transformers loads no other
            raise failed("the shard's metadata were changed", shard, str(metadata))


def _check_names(
    target: Checkpoint, source: MoEModel, record: ExportRecord, layout: Format
) -> None:
    """Check that nothing is missing or extra, by what source and selection imply."""
    dropped = record.dropped_tensors
    expected = layout.names(source, record.selection.kept, dropped)
    undeclared = set(dropped) - {tensor.name for tensor in source.predictors}
    missing = sorted((expected - set(target.tensors)) | undeclared)
    extra = sorted(set(target.tensors) - expected)
    if missing or extra:
        raise failed(
            "the export has not the tensors it must have",
            target.name,
            f"missing {missing[:3]}, extra {extra[:3]}",
        )


def _check_bytes(
    claim: Claim,
    target: Checkpoint,
    source: Checkpoint,
    progress: Callable[[int], None],
) -> None:
    for start in range(claim.start, claim.end, _CHUNK):
        end = min(start + _CHUNK, claim.end)
        got = target.source.read(claim.target.shard, start, end)
        want = b""
        if claim.source is not None:
            offset = claim.source_start + start - claim.start
            want = source.source.read(claim.source.shard, offset, offset + end - start)
        if not claim.holds(got, want):
            raise failed(
                "a tensor's bytes differ from the source's",
                claim.target.name,
                f"a difference between bytes {start - claim.target.start:,} and "
                f"{end - claim.target.start:,} of the tensor",
            )
        progress(end - start)


def _check_whole(compared: int, target: Checkpoint) -> None:
    """Check that the format has claimed something of every byte."""
    if compared != target.num_bytes:
        raise failed(
            "the format says nothing of some bytes",
            target.name,
            f"{compared:,} of {target.num_bytes:,} bytes",
        )


def _check_record(target: Checkpoint, source: MoEModel, record: ExportRecord) -> None:
    """Check the sizes that the record gives; its selection was checked by its hash."""
    got = (record.num_bytes, record.source_bytes)
    if got != (target.num_bytes, source.checkpoint.num_bytes):
        raise failed("the record gives other sizes", RECORD, f"{got} bytes")


def _check_config(
    target: Checkpoint, source: MoEModel, record: ExportRecord, layout: Format
) -> None:
    """The config announces the experts that are there, and is else the source's."""
    model = describe(target)
    selection = record.selection
    there = {one.layer: one.num_experts + layout.outside for one in model.layers}
    wanted = {layer: len(ids) for layer, ids in selection.kept.items()}
    if there != wanted or model.top_k + layout.outside != selection.top_k:
        raise failed("config.json announces other experts", target.name, str(there))
    before = layout.config(source, selection.kept, selection.top_k)
    changed = sorted(
        key
        for key in {*before, *target.config}
        if (key in before) != (key in target.config)
        or canonical_json(before[key]) != canonical_json(target.config[key])
    )
    if changed:
        raise failed("config.json was changed", target.name, ", ".join(changed))


def _check_files(target: Checkpoint, source: Checkpoint, record: ExportRecord) -> int:
    """Every other file is the source's, byte for byte; none is missing or extra."""
    not_copied = {*source.shards, *record.left_out, CONFIG, RECORD, INDEX}
    expected = {
        "README.source.md" if file == "README.md" else file: file
        for file in source.source.files()
        if file not in not_copied
    }
    own = {*target.shards, *_NEW}
    if len(target.shards) > 1:
        own.add(INDEX)
        _check_index_size(target)
    found = {*target.source.files()} - own
    for file in sorted(found ^ expected.keys()):
        raise failed(
            "the files are not those of the source",
            file,
            "a file that the source has not" if file in found else "nothing",
        )
    for file, original in expected.items():
        if not _same_file(target, file, source, original):
            raise failed("a copied file differs from the source's", file, "changed")
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
    raw = target.source.read(INDEX, 0, target.source.size(INDEX))
    metadata = parse_json(raw, INDEX).get("metadata")
    if metadata != {"total_size": target.num_bytes}:
        raise failed("the index gives another size", INDEX, str(metadata))
