"""`verify` finds every difference between an export and what it must be."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors
from hypothesis import given, settings
from hypothesis import strategies as st

from emo_prune.architectures import MoEModel
from emo_prune.errors import (
    EmoPruneError,
    ExportError,
    FingerprintMismatch,
    VerificationFailed,
)
from emo_prune.exports import plan_export, read_record, verify_export, write_export
from emo_prune.places import RECORD
from tests.tiny_checkpoints import (
    EMO,
    Blob,
    deserialize,
    moe_blobs,
    opened,
    read_blobs,
    selection_of,
    shard_bytes,
    write_checkpoint,
)

from .test_export import KEPT

CONFIG = EMO | {
    "rope_theta": 500000.0,
    "quantization_config": {"ignore": ["lm_head", "model.layers.0.mlp.experts.3"]},
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[MoEModel, Path]:
    """A source and an export of it, which is not to be changed."""
    folder = tmp_path_factory.mktemp("verify")
    source = write_checkpoint(folder / "source", CONFIG, shards=2)
    (source / "tokenizer.json").write_text('{"a": 1}')
    (source / "README.md").write_text("# card")
    model = opened(source)
    plan = plan_export(model, selection_of(model, KEPT), max_shard_bytes=500)
    write_export(plan, folder / "out")
    return model, folder / "out"


@pytest.fixture
def source(pair: tuple[MoEModel, Path]) -> MoEModel:
    return pair[0]


@pytest.fixture
def out(pair: tuple[MoEModel, Path], tmp_path: Path) -> Path:
    """A copy of the export, to be damaged."""
    return shutil.copytree(pair[1], tmp_path / "out")


def failed(out: Path, source: MoEModel) -> EmoPruneError:
    with pytest.raises(EmoPruneError) as caught:
        verify_export(out, source)
    assert caught.value.hint
    return caught.value


def test_sound_export_passes(out: Path, source: MoEModel) -> None:
    told: list[int] = []
    report = verify_export(out, source, told.append)
    assert report.num_tensors == len(read_blobs(out))
    assert (
        sum(told)
        == report.num_bytes
        == sum(len(b[2]) for b in read_blobs(out).values())
    )
    assert report.num_files == 2


@pytest.fixture(scope="module")
def place(
    pair: tuple[MoEModel, Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return shutil.copytree(pair[1], tmp_path_factory.mktemp("flipped") / "out")


def meaning(folder: Path, name: str) -> object:
    """What a file says to those who read it."""
    raw = (folder / name).read_bytes()
    if name == RECORD:
        return read_record(folder)
    if name.endswith(".safetensors"):
        with safetensors.safe_open(folder / name, framework="np") as file:
            metadata = file.metadata()
        return {
            n: (t["dtype"], t["shape"], t["data"]) for n, t in deserialize(raw)
        }, metadata
    if name in ("config.json", "model.safetensors.index.json"):
        return json.loads(raw)
    return raw


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_flipped_byte_is_found(
    pair: tuple[MoEModel, Path], place: Path, data: st.DataObject
) -> None:
    source, sound = pair
    names = sorted(f.name for f in sound.iterdir() if f.name != "README.md")
    name = data.draw(st.sampled_from(names))
    raw = bytearray((sound / name).read_bytes())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    (place / name).write_bytes(raw)
    error = None
    try:
        verify_export(place, source)
    except EmoPruneError as found:
        error = found
    # a changed blank in a header or a JSON text changes nothing
    assert error or meaning(place, name) == meaning(sound, name)
    assert error is None or error.hint
    (place / name).write_bytes((sound / name).read_bytes())


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_flipped_byte_of_a_tensor_is_found(
    pair: tuple[MoEModel, Path], place: Path, data: st.DataObject
) -> None:
    source, sound = pair
    tensors = opened(sound).checkpoint.tensors
    tensor = tensors[data.draw(st.sampled_from(sorted(tensors)))]
    raw = bytearray((sound / tensor.shard).read_bytes())
    position = data.draw(st.integers(tensor.start, tensor.end - 1))
    raw[position] ^= 1 << data.draw(st.integers(0, 7))
    (place / tensor.shard).write_bytes(raw)
    with pytest.raises(VerificationFailed) as caught:
        verify_export(place, source)
    assert caught.value.where == tensor.name
    (place / tensor.shard).write_bytes((sound / tensor.shard).read_bytes())


# --- tensors ------------------------------------------------------------------------

UP = "model.layers.1.mlp.experts.{}.up_proj.weight"
GATE = "model.layers.1.mlp.gate.weight"


def swap(blobs: dict[str, Blob], first: str, second: str) -> None:
    blobs[first], blobs[second] = blobs[second], blobs[first]


def swap_rows(blobs: dict[str, Blob]) -> None:
    dtype, shape, data = blobs[GATE]
    blobs[GATE] = (dtype, shape, data[8:16] + data[:8] + data[16:])


def truncate_rows(blobs: dict[str, Blob]) -> None:
    dtype, (count, width), data = blobs[GATE]
    blobs[GATE] = (dtype, (count - 1, width), data[:-8])


DAMAGE: dict[str, Callable[[dict[str, Blob]], object]] = {
    "a tensor missing": lambda b: b.pop("model.norm.weight"),
    "a tensor of an expert missing": lambda b: b.pop(UP.format(2)),
    "an expert too many": lambda b: b.update({UP.format(4): b[UP.format(3)]}),
    "a tensor too many": lambda b: b.update(more=("U8", (1,), b"x")),
    "a tensor renamed": lambda b: b.update(norm=b.pop("model.norm.weight")),
    "two experts swapped": lambda b: swap(b, UP.format(0), UP.format(1)),
    "two layers swapped": lambda b: swap(
        b, UP.format(0), UP.format(0).replace("layers.1", "layers.0")
    ),
    "two router rows swapped": swap_rows,
    "a router row missing": truncate_rows,
    "another shape": lambda b: b.update(
        {"model.norm.weight": ("F32", (2, 2), b["model.norm.weight"][2])}
    ),
    "another dtype": lambda b: b.update(
        {"model.norm.weight": ("I32", (4,), b["model.norm.weight"][2])}
    ),
    "another dtype of the router": lambda b: b.update(
        {GATE: ("F16", b[GATE][1], b[GATE][2])}
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_tensors_are_found(tmp_path: Path, damage: str) -> None:
    model = opened(write_checkpoint(tmp_path / "source", EMO))
    out = tmp_path / "out"
    write_export(plan_export(model, selection_of(model, KEPT)), out)
    blobs = read_blobs(out)
    (out / "model.safetensors").write_bytes(shard_bytes(blobs))
    verify_export(out, model)  # the order of tensors is nobody's concern
    DAMAGE[damage](blobs)
    (out / "model.safetensors").write_bytes(shard_bytes(blobs))
    failed(out, model)


# --- files --------------------------------------------------------------------------

FILES: dict[str, Callable[[Path], object]] = {
    "a changed file": lambda out: (out / "tokenizer.json").write_text('{"a": 2}'),
    "a longer file": lambda out: (out / "tokenizer.json").write_text('{"a": 1}\n'),
    "an empty file": lambda out: (out / "tokenizer.json").write_text(""),
    "a missing file": lambda out: (out / "tokenizer.json").unlink(),
    "no card of the source": lambda out: (out / "README.source.md").unlink(),
    "another card of the source": lambda out: (out / "README.source.md").write_text(""),
    "a file too many": lambda out: (out / "more.txt").touch(),
    "a file too many in a folder": lambda out: shutil.copytree(
        out, out / "copy", ignore=shutil.ignore_patterns("model*")
    ),
    "weights of another kind": lambda out: (out / "pytorch_model.bin").touch(),
    "a shard too many": lambda out: (out / "more.safetensors").touch(),
    "a shard missing": lambda out: min(out.glob("model-*")).unlink(),
    "a shard cut": lambda out: min(out.glob("model-*")).write_bytes(b""),
    "no index": lambda out: (out / "model.safetensors.index.json").unlink(),
    "no config": lambda out: (out / "config.json").unlink(),
    "no record": lambda out: (out / RECORD).unlink(),
    "a record that is no JSON": lambda out: (out / RECORD).write_text("{"),
    "a record of a list": lambda out: (out / RECORD).write_text("[]"),
    "a deep record": lambda out: (out / RECORD).write_text("[" * 100_000),
    "a record that is no text": lambda out: (out / RECORD).write_bytes(b"\xff"),
}


@pytest.mark.parametrize("damage", FILES)
def test_damaged_files_are_found(out: Path, source: MoEModel, damage: str) -> None:
    FILES[damage](out)
    failed(out, source)


def test_shard_of_the_source_beside_those_of_the_export_is_found(
    out: Path, source: MoEModel, pair: tuple[MoEModel, Path]
) -> None:
    name = source.checkpoint.shards[0]
    shutil.copy(pair[1].parent / "source" / name, out / name)
    assert name in str(failed(out, source))


def test_index_beside_a_single_file_is_found(tmp_path: Path) -> None:
    model = opened(write_checkpoint(tmp_path / "source", EMO))
    write_export(plan_export(model, selection_of(model, KEPT)), tmp_path / "out")
    (tmp_path / "out" / "model.safetensors.index.json").write_text("{}")
    failed(tmp_path / "out", model)


def test_readme_may_be_edited(out: Path, source: MoEModel) -> None:
    (out / "README.md").write_text("# Mine")
    verify_export(out, source)


@pytest.mark.parametrize(
    "change",
    [
        {"rope_theta": 10000.0},
        {"rope_theta": None},
        {"hidden_size": 5},
        {"new_key": 1},
        {"num_experts": 8},
        {"num_experts": 4.0},
        {"num_experts_per_tok": 2},
        {"num_shared_experts": 2},
        {"num_local_experts": 4},
        {"always_active_experts": [0]},
        {"quantization_config": None},
        {"quantization_config": {"ignore": ["lm_head"]}},
        {
            "quantization_config": {
                "ignore": ["lm_head", "model.layers.0.mlp.experts.3"]
            }
        },
        {"model_type": "olmoe"},
        {"model_type": "llama"},
    ],
    ids=str,
)
def test_changed_config_is_found(
    out: Path, source: MoEModel, change: dict[str, Any]
) -> None:
    config = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(json.dumps(config | change))
    failed(out, source)


def test_removed_config_key_is_found(out: Path, source: MoEModel) -> None:
    config = json.loads((out / "config.json").read_text())
    del config["rope_theta"]
    (out / "config.json").write_text(json.dumps(config))
    assert "rope_theta" in str(failed(out, source))


RECORDS: dict[str, Callable[[dict[str, Any]], object]] = {
    "another schema": lambda r: r.update(schema="x"),
    "another layout": lambda r: r.update(layout="qwen2_moe"),
    "no such layout": lambda r: r.update(layout="x"),
    "a larger size": lambda r: r.update(num_bytes=r["num_bytes"] + 1),
    "another source size": lambda r: r.update(source_bytes=0),
    "a size that is no number": lambda r: r.update(num_bytes="1"),
    "tensors dropped": lambda r: r.update(dropped_tensors=["model.norm.weight"]),
    "dropped tensors that are no list": lambda r: r.update(dropped_tensors=3),
    "left out files that are no list": lambda r: r.update(left_out=None),
    "left out files that are no text": lambda r: r.update(left_out=[3]),
    "another task": lambda r: r["selection"]["calibration"].update(task="x"),
    "another selection": lambda r: r["selection"]["layers"][0].update(
        kept=[0, 1, 2, 7]
    ),
    "no selection": lambda r: r.pop("selection"),
    "half a surrogate": lambda r: r["selection"]["calibration"].update(task="\ud800"),
}


@pytest.mark.parametrize("edit", RECORDS)
def test_edited_record_is_found(out: Path, source: MoEModel, edit: str) -> None:
    record = json.loads((out / RECORD).read_text())
    RECORDS[edit](record)
    (out / RECORD).write_text(json.dumps(record))
    failed(out, source)


# --- sources ------------------------------------------------------------------------


def test_wrong_source_is_named(out: Path, tmp_path: Path) -> None:
    other = opened(write_checkpoint(tmp_path / "other", EMO))
    with pytest.raises(FingerprintMismatch):
        verify_export(out, other)


def test_source_edited_where_no_fingerprint_looks_is_found(
    out: Path, source: MoEModel, tmp_path: Path
) -> None:
    blobs = moe_blobs()
    name = "model.layers.0.mlp.experts.3.up_proj.weight"
    dtype, shape, data = blobs[name]
    blobs[name] = (dtype, shape, data[:-1] + bytes([data[-1] ^ 1]))
    other = write_checkpoint(tmp_path / "other", CONFIG, blobs)
    with pytest.raises(VerificationFailed, match="bytes differ") as caught:
        verify_export(out, opened(other))
    assert caught.value.where == "model.layers.0.mlp.experts.1.up_proj.weight"


@pytest.mark.parametrize("place", ["nowhere", "."])
def test_folder_that_is_no_export_is_named(
    source: MoEModel, tmp_path: Path, place: str
) -> None:
    with pytest.raises(ExportError) as caught:
        verify_export(tmp_path / place, source)
    assert caught.value.hint
