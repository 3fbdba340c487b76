"""What cannot be carved or put together is refused before anything is written."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import emo_prune
from emo_prune import CarvingRecord
from emo_prune.errors import (
    CarvingError,
    CheckpointError,
    EmoPruneError,
    ExportError,
    LayoutMismatch,
    OutputExists,
    SettingsError,
    UnsupportedArchitecture,
)
from emo_prune.exports import plan_export, write_export
from emo_prune.progress import Advance, Silent
from tests.carving.conftest import Blobs, Config, Dense, carved, edited
from tests.evaluation.tiny import byte_tokenizer
from tests.tiny_checkpoints import opened, read_blobs, selection_of


def refused(
    kind: type[EmoPruneError], match: str, tmp_path: Path, call: Callable[[Path], Any]
) -> EmoPruneError:
    """Check that a call is refused, with a hint, and leaves nothing behind."""
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(kind, match=match) as caught:
        call(tmp_path / "out")
    assert caught.value.hint
    left = [p for p in sorted(tmp_path.rglob("*")) if ".cache" not in str(p)]
    assert left == [p for p in before if ".cache" not in str(p)]
    return caught.value


@pytest.mark.parametrize("number", [-8, 0, 1, 3, 7, 65, 128])
def test_experts_that_do_not_divide_the_neurons(
    dense: Dense, tmp_path: Path, number: int
) -> None:
    error = refused(
        CarvingError,
        "64 neurons cannot be divided",
        tmp_path,
        lambda out: carved(dense("llama"), out, num_experts=number, top_k=1),
    )
    assert error.expected == "one of 2, 4, 8, 16, 32, 64"


@pytest.mark.parametrize("top_k", [-1, 0, 9])
def test_picks_that_are_not_there(dense: Dense, tmp_path: Path, top_k: int) -> None:
    refused(
        CarvingError,
        "cannot pick that many.*expected 1 to 8",
        tmp_path,
        lambda out: carved(dense("llama"), out, top_k=top_k),
    )


@pytest.mark.parametrize(
    ("settings", "kind", "match"),
    [
        ({"layers": "2-9"}, SettingsError, "layers 0 to 2"),
        ({"layers": "last:4"}, SettingsError, "layers 0 to 2"),
        ({"layers": "some"}, SettingsError, "layers as all, last:2"),
        ({"layers": "3-2"}, SettingsError, "layers as all, last:2"),
        ({"method": "magic"}, SettingsError, "kmeans or contiguous or random"),
        ({"gate": "down"}, SettingsError, "gate or up or inter"),
    ],
)
def test_settings_without_a_meaning(
    dense: Dense, tmp_path: Path, settings: Any, kind: Any, match: str
) -> None:
    refused(kind, match, tmp_path, lambda out: carved(dense("llama"), out, **settings))


def test_a_layer_of_one_neuron(dense: Dense, tmp_path: Path) -> None:
    def narrow(config: Config, blobs: Blobs) -> None:
        config["intermediate_size"] = 1
        for name in [name for name in blobs if ".mlp." in name]:
            shape = (32, 1) if "down_proj" in name else (1, 32)
            blobs[name] = ("F32", shape, bytes(4 * 32))

    source = edited(dense("llama"), tmp_path / "source", narrow)
    refused(
        CarvingError,
        "one neuron cannot be divided",
        tmp_path,
        lambda out: carved(source, out),
    )


def test_gpt2_has_no_up_matrix(dense: Dense, tmp_path: Path) -> None:
    refused(
        CarvingError,
        "no up matrix",
        tmp_path,
        lambda out: carved(dense("gpt2"), out, gate="up"),
    )


def test_a_model_with_experts(
    dense: Dense, tmp_path: Path, saved: Callable[[str], Path]
) -> None:
    refused(
        CarvingError,
        "has experts already",
        tmp_path,
        lambda out: carved(saved("olmoe"), out),
    )
    carved(dense("llama"), tmp_path / "carved")
    error = refused(
        CarvingError,
        "has experts already",
        tmp_path,
        lambda out: carved(tmp_path / "carved", out),
    )
    assert error.hint.startswith("emo_prune.restore(dense=True)")


def _quantised(config: Config, _: Blobs) -> None:
    config["quantization_config"] = {"quant_method": "gptq"}


def _other_type(config: Config, _: Blobs) -> None:
    config["model_type"] = "phi3"


def _no_type(config: Config, _: Blobs) -> None:
    config["model_type"] = ["llama"]


def _wider(config: Config, _: Blobs) -> None:
    config["intermediate_size"] = 128


def _no_size(config: Config, _: Blobs) -> None:
    del config["intermediate_size"]


def _odd_size(config: Config, _: Blobs) -> None:
    config["hidden_size"] = "32"


def _more_layers(config: Config, _: Blobs) -> None:
    config["num_hidden_layers"] = 4


def _fewer_layers(config: Config, _: Blobs) -> None:
    config["num_hidden_layers"] = 2


def _lacking(_: Config, blobs: Blobs) -> None:
    del blobs["model.layers.1.mlp.up_proj.weight"]


def _scales(_: Config, blobs: Blobs) -> None:
    blobs["model.layers.1.mlp.up_proj.weight_scale"] = ("F32", (1,), bytes(4))


def _packed(_: Config, blobs: Blobs) -> None:
    name = "model.layers.1.mlp.up_proj.weight"
    blobs[name] = ("F8_E4M3", (64, 32), bytes(64 * 32))


def _two_stacks(_: Config, blobs: Blobs) -> None:
    for name in [name for name in blobs if "layers.1.mlp" in name]:
        blobs["vision." + name] = blobs[name]


def _stray_expert(_: Config, blobs: Blobs) -> None:
    blobs["model.layers.1.mlp.experts.0.w"] = ("F32", (1,), bytes(4))


def _empty_settings(config: Config, _: Blobs) -> None:
    config["quantization"] = {}


@pytest.mark.parametrize(
    ("edit", "kind", "match"),
    [
        (_empty_settings, CarvingError, "quantised weights cannot be carved"),
        (_quantised, CarvingError, "quantised weights cannot be carved"),
        (_other_type, UnsupportedArchitecture, "'phi3'.*llama, mistral"),
        (_no_type, UnsupportedArchitecture, "llama, mistral"),
        (_wider, LayoutMismatch, r"F32 \[64, 32\].*\[128, 32\]"),
        (_no_size, LayoutMismatch, "intermediate_size"),
        (_odd_size, LayoutMismatch, "hidden_size is not a positive integer"),
        (_more_layers, LayoutMismatch, "layer 3"),
        (_fewer_layers, LayoutMismatch, "more layers than the config says"),
        (_lacking, LayoutMismatch, "layer 1"),
        (_scales, LayoutMismatch, "up_proj.weight_scale"),
        (_packed, LayoutMismatch, r"F8_E4M3 \[64, 32\]"),
        (_two_stacks, LayoutMismatch, "2 stacks of layers"),
        (_stray_expert, CarvingError, "has experts already"),
    ],
)
def test_a_checkpoint_that_contradicts_itself_or_is_none_we_know(
    dense: Dense, tmp_path: Path, edit: Any, kind: Any, match: str
) -> None:
    source = edited(dense("llama"), tmp_path / "source", edit)
    refused(kind, match, tmp_path, lambda out: carved(source, out))


def test_what_is_no_checkpoint(tmp_path: Path) -> None:
    refused(
        CheckpointError,
        "no checkpoint folder",
        tmp_path,
        lambda out: carved(tmp_path / "nothing", out),
    )


@pytest.mark.parametrize("bits", [0x7FC00000, 0x7F800000, 0xFF800000])
def test_keys_that_are_no_numbers(dense: Dense, tmp_path: Path, bits: int) -> None:
    def damage(_: Config, blobs: Blobs) -> None:
        name = "model.layers.1.mlp.gate_proj.weight"
        dtype, shape, data = blobs[name]
        blobs[name] = (dtype, shape, data[:-4] + bits.to_bytes(4, "little"))

    source = edited(dense("llama"), tmp_path / "source", damage)
    refused(
        CarvingError, "not finite numbers", tmp_path, lambda out: carved(source, out)
    )


def examples_for(source: Path, text: str, file: Path) -> Path:
    """Give a model a tokenizer; return a file of one example to measure it on."""
    byte_tokenizer().save_pretrained(source)
    file.write_text(json.dumps({"text": text}) + "\n")
    return file


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("llama", "model.embed_tokens.weight"),
        ("gpt2", "transformer.wte.weight"),
        ("gpt2 without prefix", "wte.weight"),
    ],
)
def test_token_ids_without_an_embedding(
    dense: Dense, tmp_path: Path, kind: str, name: str
) -> None:
    [[space]] = byte_tokenizer()([" "])["input_ids"]

    def shorten(config: Config, blobs: Blobs) -> None:
        config["vocab_size"] = space
        dtype, (_, width), data = blobs[name]
        blobs[name] = (dtype, (space, width), data[: space * width * 4])

    source = edited(dense(kind), tmp_path / "source", shorten)
    examples = examples_for(source, "a z", tmp_path / "examples.jsonl")
    error = refused(
        CheckpointError,
        "the tokenizer gives token ids that the model has no embedding for",
        tmp_path,
        lambda out: carved(source, out, examples=examples),
    )
    assert (error.got, error.expected) == (f"id {space}", f"ids below {space}")


def test_a_model_without_an_embedding_is_not_measured(
    dense: Dense, tmp_path: Path
) -> None:
    def edit(_: Config, blobs: Blobs) -> None:
        del blobs["model.embed_tokens.weight"]

    source = edited(dense("llama"), tmp_path / "source", edit)
    examples = examples_for(source, "a z", tmp_path / "examples.jsonl")
    refused(
        LayoutMismatch,
        r"no embedding.*model\.embed_tokens\.weight",
        tmp_path,
        lambda out: carved(source, out, examples=examples),
    )


def test_an_output_that_exists_is_replaced_by_force_alone(
    dense: Dense, tmp_path: Path
) -> None:
    carved(dense("llama"), tmp_path / "out")
    before = read_blobs(tmp_path / "out")
    refused(
        OutputExists,
        "exists already",
        tmp_path,
        lambda out: carved(dense("llama"), out, seed=1, method="random"),
    )
    assert read_blobs(tmp_path / "out") == before
    carved(dense("llama"), tmp_path / "out", seed=1, method="random", force=True)
    assert read_blobs(tmp_path / "out") != before


def test_force_replaces_nothing_but_a_carving(dense: Dense, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "diary.txt").write_text("dear")
    refused(
        OutputExists,
        "nothing that force=True may replace",
        tmp_path,
        lambda out: carved(dense("llama"), out, force=True),
    )


def test_force_replaces_no_export_of_a_carving(dense: Dense, tmp_path: Path) -> None:
    carved(dense("llama"), tmp_path / "carved")
    model = opened(tmp_path / "carved")
    write_export(plan_export(model, selection_of(model, [0, 2])), tmp_path / "out")
    assert (tmp_path / "out" / "carving.json").is_file()
    for call in (
        lambda out: carved(dense("llama"), out, force=True),
        lambda out: restore(tmp_path / "carved", out, force=True),
    ):
        refused(OutputExists, "nothing that force=True may replace", tmp_path, call)


def test_an_output_inside_the_source(dense: Dense, tmp_path: Path) -> None:
    source = edited(dense("llama"), tmp_path / "source")
    refused(
        ExportError,
        "inside the source",
        tmp_path,
        lambda _: carved(source, source / "carved"),
    )


def restore(model: Path, out: Path, *, force: bool = False) -> None:
    emo_prune.restore(model, dense=True, output=out, force=force)


def test_only_a_carved_checkpoint_is_put_together(
    dense: Dense, tmp_path: Path, saved: Callable[[str], Path]
) -> None:
    for source in (dense("llama"), saved("olmoe")):
        call = partial(restore, source)
        refused(CarvingError, "not a carved checkpoint", tmp_path, call)


def test_a_subset_cannot_be_put_together_but_all_experts_can(
    dense: Dense, tmp_path: Path
) -> None:
    carved(dense("gpt2"), tmp_path / "carved")
    for name, kept in (("half", [0, 2, 5, 6]), ("whole", range(8))):
        model = opened(tmp_path / "carved")
        plan = plan_export(model, selection_of(model, kept))
        write_export(plan, tmp_path / name)
    error = refused(
        CarvingError,
        "some experts are missing.*32 of 64 neurons",
        tmp_path,
        lambda out: restore(tmp_path / "half", out),
    )
    assert "pruned from" in error.hint
    restore(tmp_path / "whole", tmp_path / "back")
    assert read_blobs(tmp_path / "back") == read_blobs(dense("gpt2"))
    kept_files = {file.name for file in (tmp_path / "back").iterdir()}
    assert not kept_files & {"emo_prune.json", "carving.json"}


def _twice(_: Config, blobs: Blobs) -> None:
    stem = "model.layers.1.mlp.experts."
    blobs[f"{stem}1.neurons"] = blobs[f"{stem}0.neurons"]


def _out_of_range(_: Config, blobs: Blobs) -> None:
    name = "model.layers.1.mlp.experts.1.neurons"
    ids = np.frombuffer(blobs[name][2], "<i4").copy()
    ids[-1] = 10_000
    blobs[name] = ("I32", blobs[name][1], ids.tobytes())


def _neurons_of_another_type(_: Config, blobs: Blobs) -> None:
    for name in [name for name in blobs if name.endswith(".neurons")]:
        blobs[name] = ("I64", (8,), bytes(64))


def _no_neurons(_: Config, blobs: Blobs) -> None:
    for name in [name for name in blobs if name.endswith(".neurons")]:
        del blobs[name]


def _one_piece_lacking(_: Config, blobs: Blobs) -> None:
    del blobs["model.layers.1.mlp.experts.3.down_proj.weight"]


def _one_piece_longer(_: Config, blobs: Blobs) -> None:
    name = "model.layers.1.mlp.experts.3.gate_proj.weight"
    blobs[name] = ("F32", (9, 32), bytes(9 * 32 * 4))


def _strange_piece(_: Config, blobs: Blobs) -> None:
    for expert in range(8):
        name = f"model.layers.1.mlp.experts.{expert}.router"
        blobs[name] = ("F32", (8,), bytes(32))


def _whole_besides(_: Config, blobs: Blobs) -> None:
    name = "model.layers.1.mlp.up_proj.weight"
    blobs[name] = ("F32", (64, 32), bytes(64 * 32 * 4))


def _other_layers(config: Config, _: Blobs) -> None:
    config["carved_layers"] = [0, 1]


def _narrower(config: Config, _: Blobs) -> None:
    config["dense_config"]["hidden_size"] = 16


def _no_dense_config(config: Config, _: Blobs) -> None:
    config["dense_config"] = "llama"


@pytest.mark.parametrize(
    ("edit", "kind"),
    [
        (_twice, LayoutMismatch),
        (_out_of_range, LayoutMismatch),
        (_neurons_of_another_type, LayoutMismatch),
        (_no_neurons, LayoutMismatch),
        (_one_piece_lacking, LayoutMismatch),
        (_one_piece_longer, LayoutMismatch),
        (_strange_piece, LayoutMismatch),
        (_whole_besides, LayoutMismatch),
        (_other_layers, LayoutMismatch),
        (_narrower, LayoutMismatch),
        (_no_dense_config, CarvingError),
    ],
)
def test_a_damaged_carving_is_not_put_together(
    dense: Dense, tmp_path: Path, edit: Any, kind: Any
) -> None:
    carved(dense("llama"), tmp_path / "carved")
    damaged = edited(tmp_path / "carved", tmp_path / "damaged", edit)
    match = "pieces|announces|made of|not that of a carved model"
    if kind is CarvingError:
        match = "carved"
    refused(kind, match, tmp_path, lambda out: restore(damaged, out))


DEEP, DIGITS = "[" * 100_000, "9" * 5000
HOSTILE = {
    "deep": f'{{"schema": "emo-prune/carving/1", "layers": {DEEP}',
    "digits": f'{{"schema": "emo-prune/carving/1", "seed": {DIGITS}}}',
    "large": f'{{"schema": "emo-prune/carving/1", "seed": {DIGITS[:400]}}}',
    "mark": "\ufeff{}",
    "twice": '{"schema": "emo-prune/carving/1", "seed": 0, "seed": 1}',
    "list": "[]",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_record_is_named(dense: Dense, tmp_path: Path, text: str) -> None:
    carved(dense("llama"), tmp_path / "carved")
    file = tmp_path / "carved" / "carving.json"
    file.write_text(text, encoding="utf-8")
    call = partial(restore, tmp_path / "carved")
    refused(CheckpointError, "carving.json", tmp_path, call)
    with pytest.raises(CarvingError, match=r"carving\.json"):
        CarvingRecord.load(file)


@pytest.mark.parametrize(
    "change",
    [{"layers": []}, {"num_experts": "8"}, {"num_experts": 0}, {"method": "magic"},
     {"measured": {}}, {"model": None}, {"more": 1}, {"seed": 0.5}],
)  # fmt: skip
def test_a_record_of_another_shape_is_named(
    dense: Dense, tmp_path: Path, change: dict[str, Any]
) -> None:
    record = carved(dense("llama"), tmp_path / "carved").to_dict()
    with pytest.raises(CarvingError, match="breaks its schema"):
        CarvingRecord.from_value(record | change, "carving.json")


def test_an_empty_folder_is_taken(dense: Dense, tmp_path: Path) -> None:
    for name in ("carved", "back"):
        (tmp_path / name).mkdir()
    carved(dense("llama"), tmp_path / "carved")
    restore(tmp_path / "carved", tmp_path / "back")
    assert read_blobs(tmp_path / "back") == read_blobs(dense("llama"))


def test_the_dense_model_is_not_written_over(dense: Dense, tmp_path: Path) -> None:
    carved(dense("llama"), tmp_path / "carved")
    copy = shutil.copytree(dense("llama"), tmp_path / "out")
    refused(
        OutputExists,
        "nothing that force=True may replace",
        tmp_path,
        lambda out: restore(tmp_path / "carved", out, force=True),
    )
    assert read_blobs(copy) == read_blobs(dense("llama"))


class Interrupted(Silent):
    """Is interrupted by Ctrl-C after so many copies."""

    def __init__(self, after: int) -> None:
        self.left = after

    @contextlib.contextmanager
    def track(self, label: str, total: int, unit: str) -> Iterator[Advance]:
        """Give what interrupts."""
        del label, total, unit

        def interrupt(_: int) -> None:
            self.left -= 1
            if not self.left:
                raise KeyboardInterrupt

        yield interrupt


@pytest.mark.parametrize("after", [1, 40, 90])
def test_an_interrupted_carving_leaves_nothing(
    dense: Dense, tmp_path: Path, after: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        carved(dense("llama"), tmp_path / "out", progress=Interrupted(after))
    assert {path.name for path in tmp_path.iterdir()} <= {".cache"}


_KILLED = """
import contextlib, os, signal, sys
from emo_prune import carve
from emo_prune.progress import Silent
class Killed(Silent):
    @contextlib.contextmanager
    def track(self, *_):
        copies = []
        def kill(num_bytes):
            copies.append(num_bytes)
            if len(copies) == 40:
                os.kill(os.getpid(), signal.SIGKILL)
        yield kill
carve(sys.argv[1], output=sys.argv[2], num_experts=8, layers="all", progress=Killed())
"""


def test_a_killed_carving_leaves_nothing_under_the_name(
    dense: Dense, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-c", _KILLED, str(dense("llama")), str(out)]
    done = subprocess.run(command, env=os.environ, check=False)
    assert done.returncode == -signal.SIGKILL
    assert not out.exists()
    assert (tmp_path / "out.partial").is_dir()
    with pytest.raises(OutputExists, match="unfinished"):
        carved(dense("llama"), out)
    carved(dense("llama"), out, force=True)
    carved(dense("llama"), tmp_path / "undisturbed")
    assert read_blobs(out) == read_blobs(tmp_path / "undisturbed")
    assert not (tmp_path / "out.partial").exists()
