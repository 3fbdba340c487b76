"""What a checkpoint holds, as read without decoding it, is what safetensors reads."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from emo_prune.architectures import fingerprint
from emo_prune.checkpoint import DTYPES, Checkpoint, open_checkpoint
from tests.tiny_checkpoints import (
    file_bytes,
    moe_blobs,
    opened,
    read_blobs,
    write_checkpoint,
)
from tests.tiny_models import save_tiny


def contents(checkpoint: Checkpoint) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    return {
        name: (tensor.dtype, tensor.shape, checkpoint.read(tensor))
        for name, tensor in checkpoint.tensors.items()
    }


@pytest.mark.parametrize("shards", [1, 3])
def test_bytes_equal_what_safetensors_reads(tmp_path: Path, shards: int) -> None:
    write_checkpoint(tmp_path, blobs=moe_blobs(), shards=shards)
    checkpoint = open_checkpoint(str(tmp_path))
    assert contents(checkpoint) == read_blobs(tmp_path)
    assert len(checkpoint.shards) == shards
    assert checkpoint.num_bytes == sum(len(b[2]) for b in moe_blobs().values())


def test_saved_pretrained_model_opens(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "model", "olmoe")
    checkpoint = open_checkpoint(str(folder))
    assert contents(checkpoint) == read_blobs(folder)
    assert checkpoint.name == "model"
    assert checkpoint.revision is None


def test_goldens_open(goldens: Path) -> None:
    for folder in goldens.iterdir():
        if (folder / "config.json").is_file():
            checkpoint = open_checkpoint(str(folder))
            assert contents(checkpoint) == read_blobs(folder)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_has_the_reference_parser_s_size(
    tmp_path: Path, dtype: str
) -> None:
    size = DTYPES[dtype].bits  # 8 elements of so many bits are so many bytes
    entry = {"dtype": dtype, "shape": [2, 4], "data_offsets": [0, size]}
    write_checkpoint(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(file_bytes({"x": entry}, bytes(size)))
    assert contents(open_checkpoint(str(tmp_path))) == read_blobs(tmp_path)


def test_empty_tensors_and_scalars_open(tmp_path: Path) -> None:
    blobs = {
        "none": ("F32", (0, 7), b""),
        "scalar": ("F32", (), b"abcd"),
        "none too": ("BF16", (0,), b""),
    }
    write_checkpoint(tmp_path, blobs=blobs)
    assert contents(open_checkpoint(str(tmp_path))) == blobs


def test_lone_file_wins_over_an_index(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, shards=2)
    write_checkpoint(tmp_path, blobs={"x": ("U8", (1,), b"a")})
    assert open_checkpoint(str(tmp_path)).shards == ("model.safetensors",)


def test_hub_cache_snapshot_is_named_by_its_id(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--org--name" / "snapshots" / "abc123"
    write_checkpoint(tmp_path / "blobs")
    snapshot.mkdir(parents=True)
    for file in (tmp_path / "blobs").iterdir():
        (snapshot / file.name).symlink_to(file)
    checkpoint = open_checkpoint(str(snapshot))
    assert (checkpoint.name, checkpoint.revision) == ("org/name", "abc123")
    assert checkpoint.source.files() == ("config.json", "model.safetensors")


def test_files_lists_subfolders_and_no_hidden_ones(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    (tmp_path / "extra").mkdir()
    (tmp_path / "extra" / "a.txt").touch()
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").touch()
    files = open_checkpoint(str(tmp_path)).source.files()
    assert files == ("config.json", "extra/a.txt", "model.safetensors")


def test_opening_reads_headers_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blobs = moe_blobs({"up_proj.weight": ("BF16", 200, 40)})
    write_checkpoint(tmp_path, blobs=blobs)
    read = 0
    pread = os.pread

    def counted(descriptor: int, length: int, offset: int) -> bytes:
        nonlocal read
        piece = pread(descriptor, length, offset)
        read += len(piece)
        return piece

    monkeypatch.setattr(os, "pread", counted)
    model = opened(tmp_path)
    assert read < 5000
    fingerprint(model)
    assert read < model.checkpoint.num_bytes / 4
