"""`extract` is `select --greedy` and `export`, in one pass."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from tests.cli.conftest import Run
from tests.cli.extraction import extracted, snapshot, two_steps
from tests.tiny_models import MODEL_TYPES


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_extract_equals_select_and_export_byte_for_byte(
    run: Run, texts: Path, saved: Callable[[str], Path], model_type: str
) -> None:
    model = saved(model_type)
    two_steps(run, model, texts, "--keep", "50%")
    extracted(run, model, texts, "--keep", "50%")
    assert snapshot(Path("one")) == snapshot(Path("two"))
    assert run("verify", "one/checkpoint", "--source", model).code == 0


@pytest.mark.parametrize("score", ["probability", "random", "easy-ep", "reap"])
def test_every_score_extracts_as_it_selects(
    run: Run, texts: Path, emo: Path, score: str
) -> None:
    two_steps(run, emo, texts, "--keep", "4", "--score", score)
    extracted(run, emo, texts, "--keep", "4", "--score", score)
    assert snapshot(Path("one")) == snapshot(Path("two"))


def test_goldens_extract_as_they_select(run: Run, texts: Path, goldens: Path) -> None:
    model = goldens / "emo_densefirst"
    two_steps(run, model, texts, "--keep", "50%")
    extracted(run, model, texts, "--keep", "50%")
    assert snapshot(Path("one")) == snapshot(Path("two"))


def test_layers_lie_in_several_shards(run: Run, texts: Path, emo: Path) -> None:
    two_steps(run, emo, texts, "--keep", "4")
    shutil_export = run(
        "export", "-m", emo, "-s", "two/selection.json", "--max-shard-size", "30KB",
        "-o", "two/checkpoint", "--force",
    )  # fmt: skip
    assert shutil_export.code == 0, shutil_export.err
    extracted(run, emo, texts, "--keep", "4", "--max-shard-size", "30KB")
    assert len(list(Path("one/checkpoint").glob("model-*.safetensors"))) > 2
    assert snapshot(Path("one")) == snapshot(Path("two"))


def test_several_tasks_at_once_are_what_each_is_alone(
    run: Run, texts: Path, emo: Path
) -> None:
    done = run(
        "extract", "-m", emo, "--examples", texts, "--examples", "other.jsonl",
        "--keep", "4", "--json",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert [output["task"] for output in done.json["outputs"]] == [
        "examples:texts",
        "examples:other",
    ]
    together = done.json["bytes_read"]
    alone = 0
    for name in ("texts", "other"):
        done = run(
            "extract", "-m", emo, "--examples", f"{name}.jsonl", "--keep", "4",
            "-o", f"{name}/checkpoint", "--json",
        )  # fmt: skip
        assert done.code == 0, done.err
        alone += done.json["bytes_read"]
        assert snapshot(Path(name)) == snapshot(Path("emo-prune-out") / name)
    assert together < alone
    assert snapshot(Path("texts")) != snapshot(Path("other"))


def test_outputs_are_refused_before_anything_is_read(
    run: Run, texts: Path, emo: Path
) -> None:
    extracted(run, emo, texts, "--keep", "4")
    before = snapshot(Path("one"))
    again = ("extract", "-m", emo, "--examples", texts, "-o", "one/checkpoint")
    refused = run(*again, "--keep", "5")
    assert refused.code == 1
    assert "exists already" in refused.err
    assert "--force" in refused.err
    assert "building" not in refused.err
    assert snapshot(Path("one")) == before
    assert run(*again, "--keep", "5", "--force").code == 0
    assert snapshot(Path("one")) != before


def test_a_second_checkpoint_in_a_folder_has_a_selection_of_its_own(
    run: Run, texts: Path, emo: Path
) -> None:
    for name in ("small", "smaller"):
        keep = "5" if name == "small" else "4"
        done = run("extract", "-m", emo, "--examples", texts, "-k", keep, "-o", name)
        assert done.code == 0, done.err
    for file, kept in (("selection.json", 5), ("smaller.selection.json", 4)):
        assert json.loads(Path(file).read_text())["budget"]["num_experts"] == kept


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "a task is needed"),
        (["--task", "math", "--keep", "99%%"], "99"),
        (["--examples", "texts.jsonl", "--keep", "2"], "top"),
        (["--examples", "texts.jsonl", "--examples", "texts.jsonl"], "twice"),
        (["--examples", "texts.jsonl", "--cache", "c"], "--remote"),
        (["--examples", "texts.jsonl", "--max-memory", "much"], "--max-memory"),
        (["--examples", "nowhere.jsonl", "-k", "4"], "nowhere.jsonl"),
    ],
)
def test_impossible_options_are_named_and_write_nothing(
    run: Run, texts: Path, emo: Path, arguments: list[str], message: str
) -> None:
    done = run("extract", "-m", emo, *arguments)
    assert done.code == 1
    assert message in done.err
    assert "Traceback" not in done.err
    assert not Path("emo-prune-out").exists()


def test_a_settings_file_names_one_task(run: Run, texts: Path, emo: Path) -> None:
    Path("emo-prune.toml").write_text('examples = "texts.jsonl"\nkeep = "4"\n')
    assert run("extract", "-m", emo).code == 0
    assert Path("emo-prune-out/texts/checkpoint/config.json").is_file()


@pytest.mark.parametrize(
    "part", ["0.mlp.experts.3.down_proj.weight", "1.post_attention_layernorm.weight"]
)
def test_missing_weights_are_named_and_nothing_is_left(
    run: Run, texts: Path, saved: Callable[[str], Path], tmp_path: Path, part: str
) -> None:
    model = tmp_path / "incomplete"
    shutil.copytree(saved("olmoe"), model)
    tensors = load_file(model / "model.safetensors")
    whole = part.replace("experts.3", "experts.{}")
    for expert in range(8):  # of all experts alike, or their layout is refused at once
        tensors.pop(f"model.layers.{whole.format(expert)}", None)
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    done = run("extract", "-m", model, "--examples", texts, "-k", "4", "-o", "out/part")
    assert done.code == 1
    assert "missing from the checkpoint" in done.err
    assert "Traceback" not in done.err
    assert not Path("out/part").exists()
