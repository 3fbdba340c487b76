"""Bad input: a named error with a hint, the right exit code, and nothing written."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Run


def assert_named(outcome: object, *words: str) -> None:
    """Exit code 1, nothing on stdout, an error with a hint and no traceback."""
    code, out, err = (getattr(outcome, name) for name in ("code", "out", "err"))
    assert code == 1, err
    assert not out
    assert "error: " in err
    assert "hint: " in err
    assert "Traceback" not in err
    for word in words:
        assert word in err


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--keep", "1"), "at least 3"),
        (("--keep", "25%"), "--lower-top-k"),
        (("--keep", "9"), "at most 8"),
        (("--keep", "lots"), "12.5%"),
        (("--keep", "4", "--score", "guess"), "frequency"),
        (("--keep", "4", "--num-examples", "0"), "all"),
        (("--keep", "4", "--dtype", "int4"), "float32"),
        (("--keep", "4", "--greedy", "--save-scores"), "--greedy"),
        (("--keep", "4", "--task", "math"), "--examples"),
        (("--keep", "4", "--device", "cuda:7"), "--device"),
    ],
)
def test_impossible_options_are_named_and_write_nothing(
    run: Run,
    emo: Path,
    example_files: tuple[Path, Path],
    arguments: tuple[str, ...],
    word: str,
) -> None:
    outcome = run("select", "-m", emo, "--examples", example_files[0], *arguments)
    assert_named(outcome, word)
    assert not Path("emo-prune-out").exists()


def test_budget_is_refused_before_the_model_is_loaded(
    run: Run, emo: Path, example_files: tuple[Path, Path], tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(emo, broken)
    (broken / "tokenizer.json").unlink()  # loading would fail on this
    outcome = run("select", "-m", broken, "--examples", example_files[0], "-k", "1")
    assert_named(outcome, "fewer experts than the router needs")


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ("", "no example"),
        ("\n\n", "rows.jsonl"),
        ('{"text": "fine"}\n{"text": \n', "line 2"),
        ('{"text": "fine"}\n{"text": 5}\n', "line 2"),
        ('{"nothing": "here"}\n', "line 1"),
        ("[1, 2]\n", "line 1"),
    ],
)
def test_malformed_examples_are_named_with_their_line(
    run: Run, emo: Path, workplace: Path, content: str, where: str
) -> None:
    (workplace / "rows.jsonl").write_text(content)
    outcome = run("select", "-m", emo, "--examples", "rows.jsonl", "-k", "4")
    assert_named(outcome, where)
    assert not Path("emo-prune-out").exists()


@pytest.mark.parametrize("command", ["inspect", "select"])
@pytest.mark.parametrize(
    "model", ["nowhere", "./nowhere", "/nowhere/at/all", "no such name!", "a/b/c"]
)
def test_what_is_no_checkpoint_is_named(
    run: Run, example_files: tuple[Path, Path], command: str, model: str
) -> None:
    more = ("-m", model, "--examples", example_files[0])
    assert_named(run(command, *(more if command == "select" else (model,))))


def test_a_model_must_be_given(run: Run, example_files: tuple[Path, Path]) -> None:
    assert_named(run("select", "--examples", example_files[0]), "EMO_PRUNE_MODEL")
    assert_named(run("inspect"), "EMO_PRUNE_MODEL")


def test_a_checkpoint_without_a_tensor_is_not_loaded_half(
    run: Run, emo: Path, example_files: tuple[Path, Path], tmp_path: Path
) -> None:
    from safetensors.numpy import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(emo, broken)
    tensors = load_file(broken / "model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, broken / "model.safetensors")
    outcome = run("select", "-m", broken, "--examples", example_files[0], "-k", "4")
    assert_named(outcome, "model.norm.weight")


def test_nan_in_a_router_is_named(
    run: Run, emo: Path, example_files: tuple[Path, Path], tmp_path: Path
) -> None:
    from safetensors.numpy import load_file, save_file

    broken = tmp_path / "broken"
    shutil.copytree(emo, broken)
    tensors = load_file(broken / "model.safetensors")
    tensors["model.layers.1.mlp.gate.weight"][0, 0] = float("nan")
    save_file(tensors, broken / "model.safetensors")
    outcome = run("select", "-m", broken, "--examples", example_files[0], "-k", "4")
    assert_named(outcome, "layer 1")
    assert not Path("emo-prune-out").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"kept": [0, 0, 1, 7]},
        {"kept": [0, 1, 2, 99]},
        {"kept": [0, 1, 7]},
        {"kept": [0, 1, 2, 3]},
        {"kept": [7, 2, 1, 0]},
        {"kept": "all"},
        {"layer": 5},
    ],
)
def test_a_selection_edited_into_nonsense_is_named(
    run: Run, exported: Path, change: dict[str, object]
) -> None:
    edited = json.loads((exported.parent / "selection.json").read_text())
    edited["layers"][0].update(change)
    Path("edited.json").write_text(json.dumps(edited))
    outcome = run("export", "-s", "edited.json", "-o", "out")
    assert_named(outcome)
    assert not Path("out").exists()
    assert not Path("out.partial").exists()


def test_a_selection_for_another_checkpoint_is_named(
    run: Run, exported: Path, tmp_path: Path
) -> None:
    from tests.tiny_models import save_tiny

    other = save_tiny(tmp_path / "other", "emo", seed=5)
    selection = exported.parent / "selection.json"
    outcome = run("export", "-s", selection, "-m", other, "-o", "out")
    assert_named(outcome, "another checkpoint")
    assert not Path("out").exists()


def test_nothing_to_export_or_score_says_what_to_do_first(run: Run) -> None:
    assert_named(run("export"), "emo-prune select")
    assert_named(run("eval"), "emo-prune export")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("keap = 3\n", "keep"),
        ("keep = \n", "TOML"),
        ("[keep]\nmath = 3\n", "keep"),
        ('output = "x"\n', "output"),
    ],
)
def test_a_wrong_settings_file_is_named(
    run: Run, workplace: Path, text: str, word: str
) -> None:
    (workplace / "emo-prune.toml").write_text(text)
    assert_named(run("inspect", "anything"), word)


def test_flag_beats_variable_beats_file_beats_default(
    run: Run,
    workplace: Path,
    emo: Path,
    example_files: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (workplace / "pyproject.toml").write_text(
        f'[tool.emo-prune]\nmodel = "{emo}"\nkeep = 4\n'
    )
    select = ("select", "--examples", example_files[0], "--json")
    assert run(*select, "-o", "a").json["budget"]["num_experts"] == 4
    monkeypatch.setenv("EMO_PRUNE_KEEP", "5")
    assert run(*select, "-o", "b").json["budget"]["num_experts"] == 5
    assert run(*select, "-k", "6", "-o", "c").json["budget"]["num_experts"] == 6


def test_usage_errors_end_in_exit_code_2(run: Run) -> None:
    assert run("select", "--no-such-option").code == 2
    assert run("no-such-command").code == 2
    assert run("eval", "--limit", "0").code == 2


def test_a_bug_ends_in_exit_code_70_with_its_traceback(
    run: Run, monkeypatch: pytest.MonkeyPatch, emo: Path
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("emo_prune.architectures.inspection.open_model", fail)
    outcome = run("inspect", emo)
    assert outcome.code == 70
    assert "Traceback" in outcome.err
    assert "report" in outcome.err


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_an_interrupted_run_leaves_nothing(
    number: signal.Signals, code: int, workplace: Path, emo: Path
) -> None:
    row = json.dumps({"text": "Some words to read, again and again. " * 5}) + "\n"
    (workplace / "long.jsonl").write_text(row * 5000)
    command = [
        sys.executable, "-m", "emo_prune", "select", "-m", str(emo), "-k", "4",
        "--examples", "long.jsonl", "--num-examples", "all", "--batch-size", "1",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        # what a shell runs in the background has it ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "loading" in line:
                break
        time.sleep(1.5)
        while process.poll() is None:  # one that hits a destructor is lost on Python
            process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(5)
        rest = process.stderr.read()
    assert process.returncode == code, rest
    assert ("interrupted" in rest) == (number == signal.SIGINT)
    assert "Traceback" not in rest.split("Exception ignored")[0]
    assert not (workplace / "emo-prune-out").exists()


def test_a_place_that_cannot_be_written_is_named(
    run: Run, workplace: Path, emo: Path, example_files: tuple[Path, Path]
) -> None:
    (workplace / "file").write_text("not a folder")
    select = ("select", "-m", emo, "--examples", example_files[0], "-k", "4")
    assert_named(run(*select, "-o", "file/deeper"), "cannot be written")
    made = run(*select, "-o", "s")
    assert made.code == 0, made.err
    export = ("export", "-s", "s/selection.json", "-m", emo, "-o", "file/deeper")
    assert_named(run(*export), "cannot be written")


@pytest.mark.parametrize("text", ['[tool]\nemo-prune = "x"\n', "tool = 3\n"])
def test_odd_tables_in_pyproject_end_in_no_traceback(
    run: Run, workplace: Path, emo: Path, text: str
) -> None:
    (workplace / "pyproject.toml").write_text(text)
    assert run("inspect", emo).code in {0, 1}


@pytest.mark.parametrize(
    "gate", [("--max-drop", "nan"), ("--max-drop", "inf"), ("--min-recovery", "nan")]
)
def test_a_gate_that_is_no_number_lets_nothing_pass(
    run: Run, exported: Path, example_files: tuple[Path, Path], gate: tuple[str, str]
) -> None:
    outcome = run("eval", exported, "--examples", example_files[1], *gate)
    assert_named(outcome, gate[0])


def test_model_and_baseline_must_be_there_before_anything_is_scored(
    run: Run, emo: Path, example_files: tuple[Path, Path]
) -> None:
    score = ("eval", "--examples", example_files[1])
    assert_named(run(*score, "-m", "./nowhere"), "no checkpoint folder")
    missing = run(*score, "-m", emo, "--baseline", "./nowhere")
    assert_named(missing, "no checkpoint folder")
    assert "loading" not in missing.err


def test_options_that_a_scores_file_has_settled_are_refused(
    run: Run, emo: Path, example_files: tuple[Path, Path]
) -> None:
    select = ("select", "-m", emo, "--examples", example_files[0], "-k", "4")
    assert run(*select, "--save-scores", "-o", "s").code == 0
    again = ("select", "--scores", "s/scores.safetensors", "-k", "4", "-o", "t")
    for settled in (("--greedy",), ("--task", "math")):
        refused = run(*again, *settled)
        assert refused.code == 2
        assert f"No such option: {settled[0]}" in refused.err
    assert not Path("t").exists()


def test_a_selection_that_lies_about_its_model_is_named(
    run: Run, exported: Path
) -> None:
    edited = json.loads((exported.parent / "selection.json").read_text())
    edited["model"]["num_experts"] = 999
    Path("edited.json").write_text(json.dumps(edited))
    assert_named(run("export", "-s", "edited.json", "-o", "out"), "num_experts")


def test_a_damaged_record_does_not_block_the_others(
    run: Run, emo: Path, exported: Path
) -> None:
    (exported / "emo_prune.json").write_text("{")
    refused = run("export")
    assert refused.code == 1
    assert "--force" in refused.err
    assert run("export", "--force").code == 0
