"""`emo-prune carve`: a dense model carved, measured, pruned, and put together."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from emo_prune.architectures import dense_fingerprint
from emo_prune.checkpoint import open_remote
from tests.cli.conftest import Run
from tests.evaluation.tiny import byte_tokenizer
from tests.hub_server import point_at, serving
from tests.tiny_checkpoints import read_blobs
from tests.tiny_emoe import dense_model


def test_there_and_back_by_default_names(run: Run, dense: Path) -> None:
    done = run("carve", dense, "--num-experts", "8", "--layers", "last:2")
    assert done.code == 0, done.err
    said = " ".join(done.out.split())
    assert "2 of 3 layers carved into 8 experts of 8 neurons, top-4" in said
    number = f"{sum(math.prod(blob[1]) for blob in read_blobs(dense).values()):,}"
    assert f"{number} parameters, of {number} in the source" in said
    assert "wrote emo-prune-out/tiny-llama-emoe" in done.err
    config = json.loads(Path("emo-prune-out/tiny-llama-emoe/config.json").read_text())
    assert config["carved_layers"] == [1, 2]
    assert config["num_experts_per_tok"] == 4
    back = run("carve", "emo-prune-out/tiny-llama-emoe", "--as", "dense", "--json")
    assert back.code == 0, back.err
    assert back.json["path"] == "emo-prune-out/tiny-llama-emoe-dense"
    assert read_blobs(Path(back.json["path"])) == read_blobs(dense)


def test_the_document_is_the_record(run: Run, dense: Path) -> None:
    done = run(
        "carve", dense, "-o", "out", "-n", "8", "--top-k", "2", "--gate", "up",
        "--method", "random", "--seed", "3", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    record = done.json
    assert record == json.loads(Path("out/carving.json").read_text())
    assert record["schema"] == "emo-prune/carving/1"
    assert record["num_parameters"] == record["dense_num_parameters"]
    assert [record[k] for k in ("method", "gate_source", "seed")] == ["random", "up", 3]
    assert record["measured"] is None
    dense_flops = 2 * 3 * 32 * 64
    for layer in record["layers"]:
        assert layer["dense_ffn_flops_per_token"] == dense_flops
        assert layer["ffn_flops_per_token"] == dense_flops // 4 + 2 * 32 * 8
        assert 0 <= layer["tightness"] <= 1


def test_the_same_command_writes_the_same_bytes(
    run: Run, dense: Path, example_files: tuple[Path, Path]
) -> None:
    for name in ("one", "two"):
        done = run(
            "carve", dense, "-o", name, "-n", "8", "--examples", example_files[0]
        )
        assert done.code == 0, done.err
    files = sorted(path.name for path in Path("one").iterdir())
    assert files == sorted(path.name for path in Path("two").iterdir())
    for file in files:
        assert (Path("one") / file).read_bytes() == (Path("two") / file).read_bytes()


def test_on_examples_it_is_measured_how_modular_the_model_is(
    run: Run, dense: Path, example_files: tuple[Path, Path]
) -> None:
    done = run(
        "carve", dense, "-o", "out", "-n", "8", "--examples", example_files[0], "--json"
    )
    assert done.code == 0, done.err
    measured = done.json["measured"]
    assert measured["calibration"]["num_examples"] == 8
    last = [layer["layer"] for layer in measured["layers"]]
    assert last == [1, 2]  # the default is two
    for layer in measured["layers"]:
        assert layer["num_tokens"] == measured["calibration"]["num_tokens"]
        assert 0 < layer["picked_energy"] <= layer["best_energy"] <= 1
        assert layer["even_energy"] == 0.5
        assert sum(layer["load"]) == pytest.approx(4)
    table = run("carve", dense, "-o", "o2", "-n", "8", "--examples", example_files[0])
    assert "measured on 8 examples" in table.out


@pytest.mark.parametrize("what", ["overflow", "no numbers"])
def test_what_cannot_be_measured_is_named_and_leaves_nothing(
    run: Run, example_files: tuple[Path, Path], what: str
) -> None:
    model = dense_model("llama")
    with torch.no_grad():
        up = model.model.layers[1].mlp.up_proj.weight
        up.fill_(3e4) if what == "overflow" else up[:, 0].fill_(float("nan"))
    model.save_pretrained("source")
    byte_tokenizer().save_pretrained("source")
    done = run(
        "carve", "source", "-o", "out", "-n", "8", "--examples", example_files[0],
        "--dtype", "float16",
    )  # fmt: skip
    assert done.code == 1
    assert "not finite numbers" in done.err
    assert "--dtype float32" in done.err
    assert "Traceback" not in done.err
    assert not list(Path().glob("out*"))


def test_a_carved_model_goes_down_the_road(
    run: Run, dense: Path, example_files: tuple[Path, Path]
) -> None:
    assert run("carve", dense, "-o", "carved", "-n", "8", "--top-k", "2").code == 0
    selected = run(
        "select", "-m", "carved", "--examples", example_files[0], "-k", "4",
        "-o", "selection.json",
    )  # fmt: skip
    assert selected.code == 0, selected.err
    exported = run("export", "-s", "selection.json", "-m", "carved", "-o", "small")
    assert exported.code == 0, exported.err
    assert run("verify", "small", "--source", "carved").code == 0
    refused = run("carve", "small", "--as", "dense", "-o", "back")
    assert refused.code == 1
    assert "32 of 64 neurons" in refused.err
    assert not Path("back").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-n", "7"], "cannot be divided"),
        (["--top-k", "17"], "cannot pick that many"),
        (["--layers", "3"], "not layers of the model"),
        (["--as", "dense"], "not a carved checkpoint"),
        (["--task", "no-such-task"], "no-such-task"),
        (["--examples", "nothing.jsonl"], "nothing.jsonl"),
        (["--task", "math", "--device", "tpu"], "the device is none"),
        (["--max-shard-size", "big"], "not a size"),
        (["--cache", "kept"], "only what is read from the Hub"),
    ],
)
def test_what_makes_no_sense_is_refused_and_leaves_nothing(
    run: Run, dense: Path, arguments: list[str], said: str
) -> None:
    done = run("carve", dense, "-o", "out", *arguments)
    assert done.code == 1
    assert said in done.err
    assert "hint:" in done.err
    assert "Traceback" not in done.err
    assert list(Path().iterdir()) == []


def test_no_model_is_a_named_error(run: Run) -> None:
    done = run("carve")
    assert done.code == 1
    assert "no model is given" in done.err
    assert "emo-prune carve MODEL" in done.err


def test_it_is_said_what_can_be_restored(run: Run, dense: Path) -> None:
    done = run("restore", dense)
    assert done.code == 1
    assert "the dense model that was carved" in done.err
    assert "hint: give --dense" in done.err
    assert run("carve", dense, "--as", "dense", "--num-experts", "8").code == 2
    assert run("carve", dense, "--as", "magic").code == 2


def test_where_there_are_no_experts_it_is_said_how_to_make_some(
    run: Run, dense: Path
) -> None:
    done = run("inspect", dense)
    assert done.code == 1
    assert "emo-prune carve MODEL" in done.err


def test_from_the_hub_by_ranges_the_outcome_is_the_same(
    run: Run, dense: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("carve", dense, "-o", "local", "-n", "8").code == 0
    with serving(dense) as hub:
        point_at(hub.url, monkeypatch, tmp_path / "hub-cache")
        done = run("carve", "org/name", "--remote", "-o", "remote", "-n", "8")
        assert done.code == 0, done.err
        default = run("carve", "org/name", "--remote", "--num-experts", "4")
        assert default.code == 0, default.err
    assert Path("emo-prune-out/name-emoe/config.json").is_file()
    assert read_blobs(Path("remote")) == read_blobs(Path("local"))
    for file in ("config.json", "tokenizer.json"):
        assert (Path("remote") / file).read_bytes() == (
            Path("local") / file
        ).read_bytes()


def test_from_the_hub_each_weight_is_read_once(
    run: Run, dense: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(dense) as hub:
        point_at(hub.url, monkeypatch, tmp_path / "hub-cache")
        checkpoint = open_remote("org/name")
        dense_fingerprint(checkpoint)
        besides = hub.shard_bytes  # headers, and what a model is known by
        assert run("carve", "org/name", "--remote", "-o", "carved", "-n", "8").code == 0
    assert hub.shard_bytes - besides == besides + checkpoint.num_bytes
    with serving(Path("carved")) as hub:
        point_at(hub.url, monkeypatch, tmp_path / "another-cache")
        done = run("carve", "org/name", "--remote", "--as", "dense", "-o", "back")
        assert done.code == 0, done.err
    size = Path("carved/model.safetensors").stat().st_size
    assert hub.shard_bytes == size
