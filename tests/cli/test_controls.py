"""`eval --control`: the same budget spent on other experts."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from jsonschema import validate

from emo_prune.artifacts import json_schema
from emo_prune.evaluation import Results
from tests.cli.conftest import MADE_UP, Run

Files = tuple[Path, Path]


def questions_of(results: Any) -> list[float]:
    return [q["score"] for task in results["tasks"] for q in task["questions"]]


@pytest.fixture
def other_examples(workplace: Path) -> Path:
    """Examples of another task than the fixtures' own."""
    file = workplace / "other.jsonl"
    rows = [{"text": f"{row['completion']} {n} boats"} for n, row in enumerate(MADE_UP)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def selected(run: Run, model: Path, file: Path, output: str, *extra: object) -> Path:
    made = run("select", "-m", model, "--examples", file, "-k", "4", "-o", output,
               *extra)  # fmt: skip
    assert made.code == 0, made.err
    return Path(output)


def test_random_controls_are_what_random_selections_score(
    run: Run, emo: Path, example_files: Files
) -> None:
    calibration, questions = example_files
    own = selected(run, emo, calibration, "own.json")
    by_seed = [
        selected(
            run, emo, calibration, f"{seed}.json", "--score", "random", "--seed", seed
        )
        for seed in (0, 1, 2)
    ]
    files = [part for file in (own, *by_seed) for part in ("-s", file)]
    scored = run("eval", "-m", emo, *files, "--examples", questions, "--json")
    _, expected, *at_random = scored.json["results"]
    controlled = run("eval", "-m", emo, "-s", own, "--examples", questions,
                     "--control", "random", "--json")  # fmt: skip
    assert controlled.code == 0, controlled.err
    _, found = controlled.json["results"]
    validate(found, json_schema(Results.schema))
    (control,) = found["comparison"].pop("controls")
    assert found["comparison"] == {
        k: v for k, v in expected["comparison"].items() if k != "controls"
    }
    assert control["values"] == [one["value"] for one in at_random]
    mean = fmean(control["values"])
    assert control["headline"]["baseline"] == pytest.approx(mean)
    assert control["headline"]["difference"] == pytest.approx(
        100 * (expected["value"] - mean)
    )
    # the error is that of the questions' differences from their mean over seeds
    differences = [
        mine - fmean(theirs)
        for mine, *theirs in zip(
            questions_of(expected), *map(questions_of, at_random), strict=True
        )
    ]
    centred = [d - fmean(differences) for d in differences]
    n = len(differences)
    stderr = 100 * (sum(d * d for d in centred) / (n - 1) / n) ** 0.5
    assert control["headline"]["stderr"] == pytest.approx(stderr)


def test_another_task_s_control_is_what_its_selection_scores(
    run: Run, emo: Path, example_files: Files, other_examples: Path
) -> None:
    calibration, questions = example_files
    own = selected(run, emo, calibration, "own.json")
    other = selected(run, emo, other_examples, "other.json")
    plain = ("eval", "-m", emo, "--examples", questions, "--json", "-s", own)
    _, _, expected = run(*plain, "-s", other).json["results"]
    controlled = run(*plain, "--control", f"other-task:{other_examples}")
    assert controlled.code == 0, controlled.err
    _, found = controlled.json["results"]
    (control,) = found["comparison"]["controls"]
    assert control["values"] == [expected["value"]]
    assert control["name"] == "experts of examples:other"


def test_selections_share_the_other_task_s_examples(
    run: Run, emo: Path, example_files: Files, other_examples: Path
) -> None:
    calibration, questions = example_files
    four = selected(run, emo, calibration, "four.json")
    other = f"other-task:{other_examples}"
    alone = ("eval", "-m", emo, "--examples", questions, "--control", other, "--json")
    _, expected = run(*alone, "-s", four).json["results"]
    six = ("select", "-m", emo, "--examples", calibration, "-k", "6", "-o", "six.json")
    assert run(*six).code == 0
    both = run(*alone, "-s", "six.json", "-s", four)
    assert both.code == 0, both.err
    assert both.err.count("observing routing") == 1
    assert both.json["results"][2] == expected


def test_an_export_has_the_controls_of_its_selection(
    run: Run, emo: Path, exported: Path, example_files: Files
) -> None:
    controls = ("--control", "random", "--examples", example_files[1])
    of_export = run("eval", exported, *controls, "--json")
    assert of_export.code == 0, of_export.err
    selection = exported.parent / "selection.json"
    of_selection = run("eval", "-m", emo, "-s", selection, *controls, "--json")
    _, masked = of_selection.json["results"]
    assert of_export.json["comparison"] == masked["comparison"]
    assert of_export.err.count("loading") == 2  # the export, and its source once


def test_controls_stand_in_the_table_and_in_the_summary_of_a_job(
    run: Run, exported: Path, example_files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    monkeypatch.setenv("COLUMNS", "200")
    shown = run("eval", exported, "--examples", example_files[1], "--control", "random")
    assert shown.code == 0, shown.err
    for text in (shown.out, Path("summary.md").read_text()):
        assert "random" in text.partition("Against random")[0]
        assert "Against random experts" in text


def test_the_next_category_is_the_other_task(
    run: Run, goldens: Path, data_dir: Path
) -> None:
    model = goldens / "emo_shared1"
    options = ("-m", model, "--data-dir", data_dir)
    few = ("--num-fewshot", "1", "--num-examples", "4")
    assert run("select", *options, "-t", "engineering", "-k", "50%", *few).code == 0
    selection = Path("emo-prune-out/engineering/selection.json")
    scored = run("eval", *options, "-s", selection, "--limit", "3", "--control",
                 "other-task", "--json")  # fmt: skip
    assert scored.code == 0, scored.err
    (control,) = scored.json["results"][1]["comparison"]["controls"]
    assert control["name"] == "experts of mmlu:geography"


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("rnd", "there is no such control"),
        ("other-task:", "there is no such control"),
        ("other-task", "no task is known to be another one"),
        ("other-task:mmlu:lore", "no task is called"),
        ("other-task:{own}", "the selection's own"),
    ],
)
def test_a_control_that_cannot_be_is_refused_before_the_model_is_loaded(
    run: Run, emo: Path, example_files: Files, wanted: str, said: str
) -> None:
    own = selected(run, emo, example_files[0], "own.json")
    wanted = wanted.format(own=example_files[0])
    refused = run("eval", "-m", emo, "-s", own, "--examples", example_files[1],
                  "--control", wanted)  # fmt: skip
    assert refused.code == 1
    assert said in refused.err
    assert "loading" not in refused.err


def test_a_random_selection_has_no_other_task(
    run: Run, emo: Path, example_files: Files, other_examples: Path
) -> None:
    own = selected(run, emo, example_files[0], "own.json", "--score", "random")
    refused = run("eval", "-m", emo, "-s", own, "--examples", example_files[1],
                  "--control", f"other-task:{other_examples}")  # fmt: skip
    assert refused.code == 1
    assert "at random are those of no task" in refused.err


def test_only_a_selection_or_an_export_against_its_source_has_controls(
    run: Run, emo: Path, exported: Path, example_files: Files
) -> None:
    scored = ("eval", "--examples", example_files[1], "--control", "random")
    whole = run(*scored, "-m", emo)
    assert whole.code == 1
    assert "not an export" in whole.err
    elsewhere = run(*scored, exported, "--baseline", emo)
    assert elsewhere.code == 1
    assert "on the export's own source" in elsewhere.err


def test_documents_of_another_task_are_not_scored(
    run: Run, emo: Path, example_files: Files, other_examples: Path
) -> None:
    own = selected(run, emo, example_files[0], "own.json")
    refused = run("eval", "-m", emo, "-s", own, "--examples", other_examples,
                  "--control", f"other-task:{other_examples}")  # fmt: skip
    assert refused.code == 1
    assert "--allow-overlap" in refused.err
