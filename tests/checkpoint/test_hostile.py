"""Whatever is in a folder, opening it ends in a checkpoint or in a named error."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors
from hypothesis import given, settings
from hypothesis import strategies as st

from emo_prune.architectures import fingerprint
from emo_prune.checkpoint import locate, open_checkpoint, remember
from emo_prune.errors import (
    CheckpointError,
    EmoPruneError,
    HeaderError,
    IndexMismatch,
    MissingShard,
    NotACheckpoint,
)
from tests.tiny_checkpoints import (
    file_bytes,
    moe_blobs,
    opened,
    read_blobs,
    shard_bytes,
    write_checkpoint,
    write_index,
)


def refused(folder: Path | str, kind: type[EmoPruneError]) -> EmoPruneError:
    """Open it; return the error it must end in, with a hint and nothing written."""
    root = Path(folder)
    before = sorted(root.rglob("*")) if root.is_dir() else []
    with pytest.raises(kind) as caught:
        opened(root) if isinstance(folder, Path) else open_checkpoint(folder)
    assert caught.value.hint
    assert str(caught.value)
    assert before == (sorted(root.rglob("*")) if root.is_dir() else [])
    return caught.value


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "model", shards=2)


# --- what is given as a model -------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["/nowhere/at/all", "./nowhere", "a/b/c", "../x", "", " ", "a\0b", "~x"]
)
def test_what_is_not_there_is_not_a_checkpoint(name: str) -> None:
    refused(name, NotACheckpoint)


def test_file_is_not_a_checkpoint(folder: Path) -> None:
    refused(folder / "config.json", NotACheckpoint)


def test_empty_folder_is_not_a_checkpoint(tmp_path: Path) -> None:
    assert "config.json" in str(refused(tmp_path, NotACheckpoint))


def test_folder_without_weights_is_not_a_checkpoint(folder: Path) -> None:
    (folder / "model.safetensors.index.json").unlink()
    refused(folder, NotACheckpoint)


# --- config.json --------------------------------------------------------------------


MALFORMED = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"3",
    b"\xff\xfe{}",
    b'\xef\xbb\xbf{"model_type": "olmoe"}',
    b'{"a": NaN}',
    b'{"a": Infinity}',
    b'{"a": 1e999}',
    b'{"a": "\\ud800"}',
    b'{"\\ud800": 1}',
    b'{"a": 1, "a": 2}',
    b'{"a": ' + b"9" * 5000 + b"}",
    b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}",
    b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    b'{"a":' * 100_000,
]


@pytest.mark.parametrize("text", MALFORMED)
def test_malformed_config_is_named(folder: Path, text: bytes) -> None:
    (folder / "config.json").write_bytes(text)
    assert refused(folder, NotACheckpoint).where == "config.json"


@pytest.mark.parametrize("text", MALFORMED)
def test_malformed_index_is_named(folder: Path, text: bytes) -> None:
    (folder / "model.safetensors.index.json").write_bytes(text)
    assert refused(folder, NotACheckpoint).where == "model.safetensors.index.json"


@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json"])
def test_endless_json_is_not_read(folder: Path, name: str) -> None:
    with (folder / name).open("ab") as file:
        file.truncate(10**13)  # sparse
    assert "too large" in str(refused(folder, NotACheckpoint))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse the name")
def test_folder_whose_name_is_no_text_has_a_name_that_is(folder: Path) -> None:
    renamed = folder.with_name(os.fsdecode(b"model\xff"))
    folder.rename(renamed)
    model = opened(renamed)
    assert model.checkpoint.name == "model\ufffd"
    remember(fingerprint(model), str(renamed))  # which cannot be noted
    assert locate(fingerprint(model)) is None


def test_config_that_is_a_folder_is_named(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "config.json").mkdir()
    refused(folder, NotACheckpoint)


def test_named_pipe_is_not_waited_for(folder: Path) -> None:
    (folder / "config.json").unlink()
    os.mkfifo(folder / "config.json")
    refused(folder, NotACheckpoint)


def test_link_to_itself_is_named(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "config.json").symlink_to("config.json")
    refused(folder, CheckpointError)


# --- the index ----------------------------------------------------------------------


def weight_map(folder: Path) -> dict[str, Any]:
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    found: dict[str, Any] = index["weight_map"]
    return found


@pytest.mark.parametrize("value", [None, [], {}, "x", 3])
def test_index_without_a_weight_map_is_named(folder: Path, value: Any) -> None:
    write_index(folder, value)
    refused(folder, IndexMismatch)


@pytest.mark.parametrize(
    "shard",
    [
        "../x.safetensors",
        "a/../../x.safetensors",
        "/etc/x.safetensors",
        "..\\x.safetensors",
        "C:x.safetensors",
        "C:/x.safetensors",
        "a\0.safetensors",
        "a\n.safetensors",
        "./model-00001-of-00002.safetensors",
        "a//b.safetensors",
        "config.json",
        "",
        None,
        3,
        ["x.safetensors"],
        {"x.safetensors": 1},
    ],
)
def test_index_that_leaves_the_folder_is_refused(folder: Path, shard: Any) -> None:
    write_index(folder, weight_map(folder) | {"more": shard})
    write_checkpoint(folder.parent / "outside")
    (folder.parent / "x.safetensors").write_bytes(shard_bytes(moe_blobs()))
    refused(folder, IndexMismatch)


@pytest.mark.parametrize(
    ("shard", "kind"),
    [
        ("gone.safetensors", MissingShard),
        ("config.json/x.safetensors", MissingShard),
        ("folder.safetensors", MissingShard),
        ("pipe.safetensors", MissingShard),
        ("x" * 300 + ".safetensors", CheckpointError),
    ],
)
def test_shard_that_is_not_a_file_is_named(
    folder: Path, shard: str, kind: type[EmoPruneError]
) -> None:
    (folder / "folder.safetensors").mkdir()
    os.mkfifo(folder / "pipe.safetensors")
    write_index(folder, weight_map(folder) | {"more": shard})
    refused(folder, kind)


def test_missing_shard_is_named(folder: Path) -> None:
    (folder / "model-00002-of-00002.safetensors").unlink()
    error = refused(folder, MissingShard)
    assert "model-00002-of-00002.safetensors" in str(error)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_unreadable_shard_is_named(folder: Path) -> None:
    (folder / "model-00002-of-00002.safetensors").chmod(0)
    refused(folder, CheckpointError)


def test_index_must_name_what_is_there(folder: Path) -> None:
    named = weight_map(folder)
    first = next(iter(named))
    elsewhere = next(shard for shard in named.values() if shard != named[first])
    write_index(folder, named | {"model.more": elsewhere})
    assert "model.more" in str(refused(folder, IndexMismatch))
    write_index(folder, named | {first: elsewhere})
    assert first in str(refused(folder, IndexMismatch))
    write_index(folder, {name: named[name] for name in named if name != first})
    assert first in str(refused(folder, IndexMismatch))


def test_tensor_in_two_shards_is_refused(folder: Path) -> None:
    shard = folder / "model-00002-of-00002.safetensors"
    shard.write_bytes((folder / "model-00001-of-00002.safetensors").read_bytes())
    assert "two shards" in str(refused(folder, IndexMismatch))


# --- headers ------------------------------------------------------------------------


def entry(start: Any, end: Any, dtype: Any = "U8", shape: Any = None) -> dict[str, Any]:
    shape = [4] if shape is None else shape
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


BIG = 2**63
HEADERS: dict[str, Any] = {
    "no object": b"[]",
    "a string": b'"x"',
    "nothing": b"",
    "not JSON": b"{,}",
    "not UTF-8": b'{"\xff": 1}',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "deep": b'{"x":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "unclosed and deep": b'{"x":' * 50_000,
    "half a surrogate": json.dumps({"\ud800": entry(0, 4)}).encode(),
    "a key twice": b'{"x":%s,"x":%s}' % ((json.dumps(entry(0, 4)).encode(),) * 2),
    "a key of an entry twice": b'{"x":{"dtype":"U8","dtype":"U8","shape":[4],'
    b'"data_offsets":[0,4]}}',
    "metadata of another kind": {"__metadata__": [], "x": entry(0, 4)},
    "metadata that are no strings": {"__metadata__": {"a": 1}, "x": entry(0, 4)},
    "an entry that is no object": {"x": [0, 4]},
    "no dtype": {"x": {"shape": [4], "data_offsets": [0, 4]}},
    "no shape": {"x": {"dtype": "U8", "data_offsets": [0, 4]}},
    "no offsets": {"x": {"dtype": "U8", "shape": [4]}},
    "an unknown dtype": {"x": entry(0, 4, "F7")},
    "a dtype that is no string": {"x": entry(0, 4, ["U8"])},
    "a dtype too large": {"x": entry(0, 4, "F32")},
    "a dtype too small": {"x": entry(0, 4, "U8", [3])},
    "half a byte": {"x": entry(0, 1, "F4", [1]), "y": entry(1, 4, "U8", [3])},
    "a hole": {"x": entry(0, 1, shape=[1]), "y": entry(2, 4, shape=[2])},
    "an overlap": {"x": entry(0, 3, shape=[3]), "y": entry(2, 4, shape=[2])},
    "the same bytes twice": {"x": entry(0, 4), "y": entry(0, 4)},
    "a late start": {"x": entry(1, 4, shape=[3])},
    "an end beyond the file": {"x": entry(0, 5, shape=[5])},
    "bytes of no tensor": {"x": entry(0, 3, shape=[3])},
    "a negative offset": {"x": entry(-4, 0)},
    "reversed offsets": {"x": entry(4, 0)},
    "a fractional offset": {"x": entry(0, 4.5)},
    "a float for an offset": {"x": entry(0.0, 4.0)},
    "a text for an offset": {"x": entry("0", "4")},
    "a bool for an offset": {"x": entry(False, 4)},
    "null for an offset": {"x": entry(None, 4)},
    "three offsets": {"x": {"dtype": "U8", "shape": [4], "data_offsets": [0, 2, 4]}},
    "offsets that are no list": {"x": {"dtype": "U8", "shape": [4], "data_offsets": 4}},
    "a bool in the shape": {"x": entry(0, 4, shape=[4, True])},
    "a negative shape": {"x": entry(0, 4, shape=[-2, -2])},
    "a shape that is no list": {"x": entry(0, 4, shape=4)},
    "a shape that overflows": {"x": entry(0, 4, shape=[2**32, 2**32])},
    "a shape that wraps to 4": {"x": entry(0, 4, shape=[2**62 + 1, 4])},
    "a shape beyond floats": {"x": entry(0, 4, shape=[BIG] * 30)},
    "a number beyond 64 bits": {"x": entry(0, 0, shape=[0, 2**64])},
    "a number of 4,000 digits": {"x": entry(0, 10**4000)},
    "a number of 5,000 digits": b'{"x":{"dtype":"U8","shape":[4],"data_offsets":'
    b"[0," + b"9" * 5000 + b"]}}",
    "a shape of a million lengths": {"x": entry(0, 4, shape=[3] * 1_000_000)},
}


@pytest.mark.parametrize("what", HEADERS)
def test_broken_header_is_named(tmp_path: Path, what: str) -> None:
    write_checkpoint(tmp_path)
    raw = file_bytes(HEADERS[what], b"data")
    (tmp_path / "model.safetensors").write_bytes(raw)
    error = refused(tmp_path, HeaderError)
    assert "model.safetensors" in str(error.where)
    assert len(str(error)) < 1000


@pytest.mark.parametrize("length", [1, 100, 100_000_001, 2**32, 2**63, 2**64 - 1])
def test_header_longer_than_the_file_is_named(tmp_path: Path, length: int) -> None:
    write_checkpoint(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(length.to_bytes(8, "little"))
    refused(tmp_path, HeaderError)


def test_header_over_the_limit_is_not_read(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.write((200_000_000).to_bytes(8, "little"))
        file.truncate(300_000_000)  # sparse
    assert "limit" in str(refused(tmp_path, HeaderError))


def test_header_of_length_zero_is_named(tmp_path: Path) -> None:
    write_checkpoint(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(bytes(8))
    refused(tmp_path, HeaderError)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """A folder whose weights are overwritten again and again, and their bytes."""
    blobs = moe_blobs(layers=(0,), num_experts=2)
    folder = write_checkpoint(tmp_path_factory.mktemp("model"), blobs=blobs)
    return folder, (folder / "model.safetensors").read_bytes()


def test_every_shorter_file_is_named(sound: tuple[Path, bytes]) -> None:
    folder, raw = sound
    for length in range(len(raw)):
        (folder / "model.safetensors").write_bytes(raw[:length])
        with pytest.raises(HeaderError) as caught:
            open_checkpoint(str(folder))
        assert caught.value.hint
    (folder / "model.safetensors").write_bytes(raw + b"x")
    with pytest.raises(HeaderError, match="belong to no tensor"):
        open_checkpoint(str(folder))


def same_or_named(folder: Path, raw: bytes) -> None:
    """A file either ends in a named error, or safetensors reads the same from it."""
    (folder / "model.safetensors").write_bytes(raw)
    error = None
    try:
        checkpoint = open_checkpoint(str(folder))
    except EmoPruneError as refusal:
        error = refusal
    if error:
        assert error.hint
        assert str(error).encode()
        return
    tensors = {
        name: (tensor.dtype, tensor.shape, checkpoint.read(tensor))
        for name, tensor in checkpoint.tensors.items()
    }
    try:
        expected = read_blobs(folder)
    except safetensors.SafetensorError as problem:
        pytest.fail(f"only the reference parser refuses it: {problem}")
    assert tensors == expected


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_changed_header_bytes_are_refused_or_read_alike(
    sound: tuple[Path, bytes], data: st.DataObject
) -> None:
    folder, raw = sound
    last = 7 + int.from_bytes(raw[:8], "little")
    changed = bytearray(raw)
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, last))
        changed[position] = data.draw(st.integers(0, 255))
    same_or_named(folder, bytes(changed))


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2**70)
    | st.floats()
    | st.sampled_from(["U8", "F32", "F4", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["dtype", "shape", "data_offsets", "x", "__metadata__"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)
ENTRIES = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["U8", "BF16", "F4", "F6_E2M3", "BOOL", "X"]),
        "shape": st.lists(st.integers(0, 8), max_size=3),
        "data_offsets": st.lists(st.integers(0, 16), min_size=2, max_size=2),
    }
)


@settings(max_examples=300, deadline=None)
@given(
    header=st.dictionaries(st.text(max_size=3), ENTRIES, max_size=3) | JSON,
    size=st.integers(0, 16),
)
def test_any_json_header_is_refused_or_read_alike(
    sound: tuple[Path, bytes], header: Any, size: int
) -> None:
    same_or_named(sound[0], file_bytes(header, bytes(size)))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_refused_or_read_alike(
    sound: tuple[Path, bytes], raw: bytes
) -> None:
    same_or_named(sound[0], raw)


def test_file_that_shrinks_while_it_is_read_is_named(folder: Path) -> None:
    checkpoint = open_checkpoint(str(folder))
    tensor = next(iter(checkpoint.tensors.values()))
    (folder / tensor.shard).write_bytes(b"")
    with pytest.raises(HeaderError, match="shorter"):
        checkpoint.read(tensor)
    with pytest.raises(HeaderError, match="shorter"):
        checkpoint.source.copy(tensor.shard, tensor.start, tensor.end, 1)
