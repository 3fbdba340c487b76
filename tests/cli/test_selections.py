"""`eval --selection`: scored without an export, as the export would be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.tiny_models import save_tiny

Files = tuple[Path, Path]


def select(run: Run, model: Path, examples: Path, keep: str, output: str) -> Path:
    made = run("select", "-m", model, "--examples", examples, "-k", keep, "-o", output)
    assert made.code == 0, made.err
    return Path(output)


def test_a_selection_scores_as_its_export_does_byte_for_byte(
    run: Run, emo: Path, exported: Path, example_files: Files
) -> None:
    questions = ("--examples", example_files[1])
    made = run("eval", exported, *questions, "--baseline", "source", "-o", "export")
    assert made.code == 0, made.err
    selection = exported.parent / "selection.json"
    assert run("eval", "-m", emo, *questions, "-o", "whole").code == 0
    masked = run("eval", "-m", emo, "-s", selection, *questions)
    assert masked.code == 0, masked.err
    written = (exported.parent / "results.json").read_bytes()
    assert written == Path("export/results.json").read_bytes()
    whole = Path("emo-prune-out/questions/results-tiny-emo.json").read_bytes()
    assert whole == Path("whole/results.json").read_bytes()


def test_several_selections_are_compared_with_the_model_they_are_of(
    run: Run, emo: Path, example_files: Files
) -> None:
    files = [
        select(run, emo, example_files[0], keep, f"{keep}.json") for keep in ("4", "6")
    ]
    scored = run(
        "eval", "-s", files[0], "-s", files[1], "--examples", example_files[1], "--json"
    )
    assert scored.code == 0, scored.err
    whole, *parts = scored.json["results"]
    assert [part["model"] for part in parts] == [
        "tiny-emo, 4 of 8 experts",
        "tiny-emo, 6 of 8 experts",
    ]
    assert "comparison" not in whole
    assert {part["comparison"]["baseline"] for part in parts} == {"tiny-emo"}
    assert scored.err.count("loading tiny-emo") == 1
    for file, part in zip(files, parts, strict=True):
        written = json.loads(file.with_suffix(".results.json").read_text())
        assert written == part


def test_mmlu_is_scored_with_the_task_and_prompts_of_the_selection(
    run: Run, goldens: Path, data_dir: Path
) -> None:
    model = goldens / "emo_shared1"
    options = ("-m", model, "--data-dir", data_dir)
    select = ("select", *options, "-t", "engineering", "-k", "50%", "--num-fewshot")
    assert run(*select, "1").code == 0
    assert run("export", "-m", model).code == 0
    scored = run("eval", "--data-dir", data_dir, "--limit", "3", "-o", "export")
    assert scored.code == 0, scored.err
    folder = Path("emo-prune-out/engineering")
    masked = run("eval", *options, "-s", folder / "selection.json", "--limit", "3")
    assert masked.code == 0, masked.err
    found = json.loads((folder / "results.json").read_text())
    comparison = found.pop("comparison")
    assert comparison["headline"]["n"] == 3
    assert found == json.loads(Path("export/results.json").read_text())
    assert found["settings"]["num_fewshot"] == 1


def test_gates_judge_selections_against_the_model(
    run: Run, emo: Path, example_files: Files
) -> None:
    file = select(run, emo, example_files[0], "4", "four.json")
    score = ("eval", "-m", emo, "-s", file, "--examples", example_files[1])
    assert run(*score, "--max-drop", "100").code == 0
    assert run(*score, "--max-drop", "-100").code == 3
    assert Path("four.results.json").exists()


def test_documents_that_chose_the_experts_are_not_scored(
    run: Run, emo: Path, example_files: Files
) -> None:
    file = select(run, emo, example_files[0], "4", "four.json")
    refused = run("eval", "-m", emo, "-s", file, "--examples", example_files[0])
    assert refused.code == 1
    assert "--allow-overlap" in refused.err


def test_a_selection_of_another_checkpoint_is_refused_before_the_model_is_loaded(
    run: Run, emo: Path, example_files: Files, tmp_path: Path
) -> None:
    file = select(run, emo, example_files[0], "4", "four.json")
    other = save_tiny(tmp_path / "other-emo", "emo", seed=1)
    refused = run("eval", "-m", other, "-s", file, "--examples", example_files[1])
    assert refused.code == 1
    assert "another checkpoint" in refused.err
    assert "loading" not in refused.err
    assert not Path("four.results.json").exists()


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (("--baseline", "source"), "--baseline source as well"),
        (("elsewhere",), "elsewhere as well"),
        (("-s", "five.json"), "--task NAME"),
        (("--task", "math", "-s", "five.json", "-o", "out"), "into one file"),
    ],
    ids=["baseline", "path", "no task", "one file for two"],
)
def test_what_cannot_be_meant_is_refused(
    run: Run, emo: Path, example_files: Files, extra: tuple[str, ...], said: str
) -> None:
    select(run, emo, example_files[0], "4", "four.json")
    select(run, emo, example_files[0], "5", "five.json")
    refused = run("eval", "-m", emo, "-s", "four.json", *extra)
    assert refused.code == 1
    assert said in refused.err
