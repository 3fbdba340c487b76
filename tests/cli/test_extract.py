"""`extract` is `select --greedy` and `export`, in one pass."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from emo_prune.exports.partial import MARKER
from emo_prune.locks import Lock
from tests.cli.conftest import Run
from tests.cli.extraction import extracted, snapshot, two_steps
from tests.tiny_models import CHECKPOINTS, save_tiny


@pytest.mark.parametrize("model_type", CHECKPOINTS)
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
    "name",
    [
        "model.layers.0.mlp.experts.{}.down_proj.weight",
        "model.layers.0.self_attn.o_proj.weight",
        "model.layers.1.post_attention_layernorm.weight",
        "model.layers.1.self_attn.q_proj.weight",
        "model.norm.weight",
        "lm_head.weight",
    ],
)
@pytest.mark.parametrize("command", ["extract", "select --stream"])
def test_missing_weights_are_named_and_nothing_is_left(
    run: Run,
    texts: Path,
    saved: Callable[[str], Path],
    tmp_path: Path,
    name: str,
    command: str,
) -> None:
    model = tmp_path / "incomplete"
    shutil.copytree(saved("olmoe"), model)
    tensors = load_file(model / "model.safetensors")
    for expert in range(8):  # of all experts alike, or their layout is refused at once
        tensors.pop(name.format(expert), None)
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    arguments = ("-m", model, "--examples", texts, "-k", "4", "-o", "out/part")
    done = run(*command.split(), *arguments)
    assert done.code == 1
    assert "missing from the checkpoint" in done.err
    assert "Traceback" not in done.err
    assert not Path("out/part/config.json").exists()
    assert not list(Path("out").rglob("selection.json"))


@pytest.mark.parametrize("model_type", ["emo", "deepseek_v3"])
def test_a_config_without_a_dtype_is_computed_alike(
    run: Run, texts: Path, tmp_path: Path, model_type: str
) -> None:
    model = save_tiny(tmp_path / "mixed", model_type)
    tensors = load_file(model / "model.safetensors")
    halved = {
        name: tensor if ".mlp.gate." in name else tensor.bfloat16()
        for name, tensor in tensors.items()
    }
    save_file(halved, model / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((model / "config.json").read_text())
    config.pop("dtype", None)
    (model / "config.json").write_text(json.dumps(config))
    flags = ("--keep", "50%", "--score", "probability")
    two_steps(run, model, texts, *flags)
    extracted(run, model, texts, *flags)
    assert snapshot(Path("one")) == snapshot(Path("two"))


@pytest.mark.parametrize("output", ["/", "out/selection.json"])
def test_names_that_no_checkpoint_can_have_are_refused(
    run: Run, texts: Path, emo: Path, output: str
) -> None:
    done = run("extract", "-m", emo, "--examples", texts, "-k", "4", "-o", output)
    assert done.code == 1
    assert "cannot have this name" in done.err
    assert not Path("out").exists()


def test_an_output_below_a_file_is_refused_at_once(
    run: Run, texts: Path, emo: Path
) -> None:
    command = ("extract", "-m", emo, "--examples", texts, "-k", "4")
    done = run(*command, "-o", texts / "out")
    assert done.code == 1
    assert "is no folder" in done.err
    assert "building" not in done.err


def test_another_checkpoints_selection_is_never_written_over(
    run: Run, texts: Path, emo: Path
) -> None:
    for name, flags in (("a", ["-k", "4"]), ("b", ["-k", "5"]), ("b", ["-k", "6"])):
        force = ["--force"] if Path(name).exists() else []
        command = ("extract", "-m", emo, "--examples", texts, "-o", name)
        assert run(*command, *flags, *force).code == 0
    assert json.loads(Path("selection.json").read_text())["budget"]["num_experts"] == 4
    own = json.loads(Path("b.selection.json").read_text())
    assert own["budget"]["num_experts"] == 6
    assert run("extract", "-m", emo, "--examples", texts, "-o", "a", "-k", "5",
               "--force").code == 0  # fmt: skip
    assert json.loads(Path("selection.json").read_text())["budget"]["num_experts"] == 5


def test_a_folder_that_another_process_writes_is_left_alone(
    run: Run, texts: Path, emo: Path
) -> None:
    partial = Path("out.partial")
    partial.mkdir()
    (partial / MARKER).touch()
    (partial / "theirs").write_text("being written")
    command = ("extract", "-m", emo, "--examples", texts, "-k", "4", "-o", "out")
    failing = run(*command[:3], "--examples", "nowhere.jsonl", "-k", "4", "-o", "out")
    assert failing.code == 1
    assert (partial / "theirs").is_file()
    another = Lock(partial)
    assert another.acquire()
    for flags in ([], ["--force"]):
        refused = run(*command, *flags)
        assert refused.code == 1
        assert (partial / "theirs").is_file()
    assert "another process is writing" in refused.err
    another.release()
    assert run(*command, "--force").code == 0
    assert not partial.exists()
