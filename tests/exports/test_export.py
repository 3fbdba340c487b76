"""An export is the source's bytes, less those of the dropped experts."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from emo_prune.checkpoint import open_checkpoint
from emo_prune.errors import LayoutMismatch
from emo_prune.exports import (
    ExportPlan,
    plan_export,
    read_record,
    verify_export,
    write_export,
)
from emo_prune.places import RECORD
from tests.tiny_checkpoints import (
    CONFIG,
    EMO,
    NUM_EXPERTS,
    Blob,
    blob,
    moe_blobs,
    opened,
    read_blobs,
    selection_of,
    write_checkpoint,
)
from tests.tiny_models import CHECKPOINTS

KEPT = (1, 3, 4, 7)
ROWS = re.compile(
    r"\.(gate|router)\.(weight|bias)$|e_score_correction_bias$|(?<!_)experts\.\D"
)
EXPERT = re.compile(r"^(.*\b(?:layers|h)\.(\d+)\..*\bexperts\.)(\d+)(\..+)$")
LAYER = re.compile(r"\b(?:layers|h)\.(\d+)\.")


def cut(blobs: Mapping[str, Blob], kept: Sequence[int]) -> dict[str, Blob]:
    """Prune tensors the slow way, by their names alone."""
    result: dict[str, Blob] = {}
    for name, (dtype, shape, data) in blobs.items():
        expert = EXPERT.match(name)
        if expert and int(expert[3]) not in kept:
            continue
        if expert:
            name = f"{expert[1]}{kept.index(int(expert[3]))}{expert[4]}"
        elif LAYER.search(name) and ROWS.search(name):
            row = len(data) // shape[0]
            data = b"".join(data[i * row : (i + 1) * row] for i in kept)
            shape = (len(kept), *shape[1:])
        result[name] = (dtype, shape, data)
    return result


def export_to(
    destination: Path, source: Path, kept: Sequence[int] = KEPT, **options: Any
) -> ExportPlan:
    model = opened(source)
    plan = plan_export(model, selection_of(model, kept), **options)
    write_export(plan, destination)
    return plan


def snapshot(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


@pytest.mark.parametrize("model_type", CHECKPOINTS)
def test_kept_bytes_equal_the_source_s(
    saved: Callable[[str], Path], tmp_path: Path, model_type: str
) -> None:
    source = saved(model_type)
    export_to(tmp_path / "out", source)
    assert read_blobs(tmp_path / "out") == cut(read_blobs(source), KEPT)
    report = verify_export(tmp_path / "out", opened(source))
    assert report.num_tensors == len(read_blobs(tmp_path / "out"))
    assert report.num_bytes == sum(
        len(b[2]) for b in read_blobs(tmp_path / "out").values()
    )


@pytest.mark.parametrize("model_type", CHECKPOINTS)
def test_keeping_all_experts_gives_back_the_source(
    saved: Callable[[str], Path], tmp_path: Path, model_type: str
) -> None:
    source = saved(model_type)
    export_to(tmp_path / "out", source, range(NUM_EXPERTS))
    assert read_blobs(tmp_path / "out") == read_blobs(source)
    config = json.loads((source / "config.json").read_text())
    assert json.loads((tmp_path / "out" / "config.json").read_text()) == config


FORMATS: dict[str, dict[str, tuple[Any, ...]]] = {
    "bf16": {"up_proj.weight": ("BF16", 3, 4)},
    "fp8": {
        "up_proj.weight": ("F8_E4M3", 8, 4),
        "up_proj.weight_scale_inv": ("F32", 1, 1),
        "up_proj.activation_scale": ("F32",),
    },
    "compressed-tensors": {
        "up_proj.weight_packed": ("I32", 3, 2),
        "up_proj.weight_scale": ("BF16", 3, 1),
        "up_proj.weight_shape": ("I64", 2),
    },
    "gptq": {
        "up_proj.qweight": ("I32", 2, 3),
        "up_proj.qzeros": ("I32", 1, 1),
        "up_proj.scales": ("F16", 1, 3),
        "up_proj.g_idx": ("I32", 4),
    },
    "odd sizes": {"up_proj.weight": ("U8", 5), "up_proj.bias": ("F64", 1)},
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_stored_format_is_copied(tmp_path: Path, name: str) -> None:
    blobs = moe_blobs(FORMATS[name], router_dtype="F32")
    source = write_checkpoint(tmp_path / "source", blobs=blobs, shards=3)
    export_to(tmp_path / "out", source)
    assert read_blobs(tmp_path / "out") == cut(blobs, KEPT)
    verify_export(tmp_path / "out", opened(source))


@pytest.mark.parametrize(
    "stacked",
    [
        {"gate_up_proj": ("BF16", 8, 6, 4), "gate_up_proj_bias": ("BF16", 8, 6)},
        {"gate_up_proj_blocks": ("U8", 8, 6, 2), "gate_up_proj_scales": ("U8", 8, 6)},
        {"gate_up_proj": ("F8_E4M3", 8, 3), "gate_up_proj_scale_inv": ("F32", 8)},
    ],
    ids=["plain", "mxfp4", "fp8"],
)
def test_stacked_experts_are_cut_by_rows(
    tmp_path: Path, stacked: dict[str, tuple[Any, ...]]
) -> None:
    blobs = {name: b for name, b in moe_blobs().items() if ".experts." not in name}
    for layer in range(2):
        for seed, (part, shape) in enumerate(stacked.items()):
            name = f"model.layers.{layer}.mlp.experts.{part}"
            blobs[name] = blob(*shape, seed=100 * layer + seed)
    source = write_checkpoint(tmp_path / "source", blobs=blobs)
    export_to(tmp_path / "out", source)
    assert read_blobs(tmp_path / "out") == cut(blobs, KEPT)
    verify_export(tmp_path / "out", opened(source))


def test_stacked_expert_that_is_no_whole_number_of_bytes_is_named(
    tmp_path: Path,
) -> None:
    blobs = {name: b for name, b in moe_blobs().items() if ".experts." not in name}
    for layer in range(2):
        name = f"model.layers.{layer}.mlp.experts.gate_up_proj"
        blobs[name] = ("F4", (8, 3), bytes(12))
    model = opened(write_checkpoint(tmp_path, blobs=blobs))
    with pytest.raises(LayoutMismatch, match="whole number of bytes") as caught:
        plan_export(model, selection_of(model, KEPT))
    assert caught.value.hint


def test_names_without_a_prefix_are_exported(tmp_path: Path) -> None:
    blobs = {name.removeprefix("model."): b for name, b in moe_blobs().items()}
    source = write_checkpoint(tmp_path / "source", blobs=blobs)
    export_to(tmp_path / "out", source)
    assert read_blobs(tmp_path / "out") == cut(blobs, KEPT)
    verify_export(tmp_path / "out", opened(source))


def test_tensors_unknown_to_us_are_copied(tmp_path: Path) -> None:
    unknown = {
        "model.layers.0.self_attn.indexer.wq": blob("BF16", 8, 2),
        "model.layers.1.mlp.shared_experts.0.up": blob("BF16", 8, 2),
        "vision.layers.0.experts_of_nothing": blob("I64", 8),
        "thing": blob("F64"),
        "nothing": blob("F64", 0, 3),
    }
    source = write_checkpoint(tmp_path / "source", blobs=moe_blobs() | unknown)
    export_to(tmp_path / "out", source)
    assert read_blobs(tmp_path / "out") == cut(moe_blobs(), KEPT) | unknown
    verify_export(tmp_path / "out", opened(source))


def test_layers_may_keep_different_experts(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "source", EMO)
    model = opened(source)
    plan = plan_export(model, selection_of(model, {0: (0, 1, 7), 1: (5, 6, 7)}))
    write_export(plan, tmp_path / "out")
    blobs = {name: b for name, b in moe_blobs().items() if ".layers.1." not in name}
    expected = cut(blobs, (0, 1, 7))
    blobs = {name: b for name, b in moe_blobs().items() if ".layers.1." in name}
    expected |= cut(blobs, (5, 6, 7))
    assert read_blobs(tmp_path / "out") == expected


@pytest.mark.parametrize("layers", ["model.layers.2", "mtp.layers.0"])
def test_prediction_layers_are_left_out_and_said(tmp_path: Path, layers: str) -> None:
    name = f"{layers}.mlp.experts.3.up_proj.weight"
    config = CONFIG | {"num_nextn_predict_layers": 1}
    blobs = moe_blobs() | {name: blob("BF16", 3, 4)}
    source = write_checkpoint(tmp_path / "source", config, blobs)
    plan = export_to(tmp_path / "out", source)
    assert plan.record.dropped_tensors == (name,)
    assert read_blobs(tmp_path / "out") == cut(moe_blobs(), KEPT)
    assert plan.config_changes["num_nextn_predict_layers"] == (1, 0)
    verify_export(tmp_path / "out", opened(source))


# --- files --------------------------------------------------------------------------


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A source with the files that come with a model, and some that must not."""
    folder = write_checkpoint(tmp_path / "source", EMO, shards=3)
    (folder / "tokenizer.json").write_bytes(b'{"a":  1}\r\n')
    (folder / "tokenizer.json").chmod(0o600)
    (folder / "README.md").write_text("# The card\n")
    (folder / "empty.txt").touch()
    (folder / "assets").mkdir()
    (folder / "assets" / "config.json").write_text("{}")
    for other in ("pytorch_model.bin", "model.GGUF", "original/consolidated.00.pth",
                  "pytorch_model.bin.index.json", "extra.safetensors"):  # fmt: skip
        (folder / other).parent.mkdir(exist_ok=True)
        (folder / other).write_text("weights")
    return folder


def test_other_files_are_copied_and_weights_left_out(
    source: Path, tmp_path: Path
) -> None:
    plan = export_to(tmp_path / "out", source)
    out = snapshot(tmp_path / "out")
    before = snapshot(source)
    for file in ("tokenizer.json", "empty.txt", "assets/config.json"):
        assert out.pop(file) == before[file]
    assert out.pop("README.source.md") == before["README.md"]
    assert set(out) == {"config.json", "README.md", RECORD, "model.safetensors"}
    assert plan.record.left_out == (
        "extra.safetensors",
        "model.GGUF",
        "original/consolidated.00.pth",
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
    )
    assert read_record(tmp_path / "out") == plan.record
    assert verify_export(tmp_path / "out", opened(source)).num_files == 4
    card = out["README.md"].decode()
    assert "4 of 8 experts" in card
    assert "README.source.md" in card


def test_plan_says_what_is_written_and_writes_nothing(
    source: Path, tmp_path: Path
) -> None:
    before = snapshot(tmp_path)
    model = opened(source)
    plan = plan_export(model, selection_of(model, KEPT))
    assert snapshot(tmp_path) == before
    assert plan.config_changes == {"num_experts": (8, 4)}
    write_export(plan, tmp_path / "out")
    out = snapshot(tmp_path / "out")
    assert plan.num_bytes == sum(map(len, out.values()))
    assert plan.num_tensors == len(read_blobs(tmp_path / "out"))
    names = {s.name for s in plan.shards} | {*plan.written} | {*plan.copied.values()}
    assert names == set(out)
    assert snapshot(source) == {k.removeprefix("source/"): v for k, v in before.items()}


def test_exporting_twice_gives_the_same_bytes(source: Path, tmp_path: Path) -> None:
    export_to(tmp_path / "a" / "b", source)
    export_to(tmp_path / "other", source)
    assert snapshot(tmp_path / "a" / "b") == snapshot(tmp_path / "other")
    for data in snapshot(tmp_path / "other").values():
        assert str(tmp_path).encode() not in data


def test_sharding_of_the_source_changes_no_byte(tmp_path: Path) -> None:
    for shards, place in ((1, "one"), (4, "four")):
        source = write_checkpoint(tmp_path / place / "source", EMO, shards=shards)
        export_to(tmp_path / place / "out", source)
    one, four = (read_blobs(tmp_path / place / "out") for place in ("one", "four"))
    assert one == four


@pytest.mark.parametrize("limit", [1, 100, 500, 10**9])
def test_shards_of_any_size_hold_the_same(
    source: Path, tmp_path: Path, limit: int
) -> None:
    plan = export_to(tmp_path / "out", source, max_shard_bytes=limit)
    out = tmp_path / "out"
    assert read_blobs(out) == cut(read_blobs(source), KEPT)
    index = out / "model.safetensors.index.json"
    assert index.exists() == (len(plan.shards) > 1)
    assert (len(plan.shards) == 1) == (limit == 10**9)
    if index.exists():
        total = json.loads(index.read_text())["metadata"]["total_size"]
        assert total == open_checkpoint(str(out)).num_bytes == plan.record.num_bytes
    verify_export(out, opened(source))


def test_tensors_start_at_multiples_of_their_element_size(tmp_path: Path) -> None:
    blobs = moe_blobs(FORMATS["odd sizes"])
    source = write_checkpoint(tmp_path / "source", blobs=blobs)
    export_to(tmp_path / "out", source)
    sizes = {"F64": 8, "F32": 4, "BF16": 2, "U8": 1}
    for tensor in open_checkpoint(str(tmp_path / "out")).tensors.values():
        assert tensor.start % sizes[tensor.dtype] == 0


def test_export_can_be_exported_again(source: Path, tmp_path: Path) -> None:
    first = export_to(tmp_path / "first", source, (0, 2, 3, 5, 7))
    second = export_to(tmp_path / "second", tmp_path / "first", (0, 2, 3, 4))
    direct = export_to(tmp_path / "direct", source, (0, 3, 5, 7))
    assert second.config == direct.config
    assert read_blobs(tmp_path / "second") == read_blobs(tmp_path / "direct")
    verify_export(tmp_path / "second", opened(tmp_path / "first"))
    card = (tmp_path / "second" / "README.source.md").read_text()
    assert card == "# The card\n"
    assert second.record.parent == json.loads(first.record.to_text())
    record = read_record(tmp_path / "second")
    assert record.parent == second.record.parent


def test_links_are_followed(source: Path, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    linked.mkdir()
    for file in source.rglob("*"):
        if file.is_file():
            link = linked / file.relative_to(source)
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(file)
    export_to(tmp_path / "out", linked)
    shutil.rmtree(source)
    assert not any(file.is_symlink() for file in (tmp_path / "out").rglob("*"))
    assert "assets/config.json" in snapshot(tmp_path / "out")
