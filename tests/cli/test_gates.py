"""Gates of `eval`, and what it leaves for CI."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from jsonschema import validate

from emo_prune.artifacts import json_schema
from emo_prune.evaluation import Results
from tests.cli.conftest import Run


def _results() -> Any:
    return json.loads(Path("emo-prune-out/calibration/results.json").read_text())


def test_a_breached_gate_ends_in_3_after_everything_is_written(
    run: Run,
    exported: Path,
    example_files: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    summary = Path("summary.md")
    summary.write_text("An earlier step.\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    failed = run(
        "eval", exported, "--examples", example_files[1], "--max-drop", "-100",
        "--min-recovery", "0.01%", "--junit", "ci/junit.xml", "--samples",
        "ci/flips.jsonl",
    )  # fmt: skip
    assert failed.code == 3
    assert "--max-drop" in failed.err
    results = _results()
    validate(results, json_schema(Results.schema))
    drop, left = results["gates"]
    assert (drop["gate"], drop["passed"]) == ("--max-drop", False)
    assert left["gate"] == "--min-recovery"
    assert "--max-drop -100: FAILED" in failed.out
    suite = ET.fromstring(Path("ci/junit.xml").read_text())
    assert suite.get("failures") == str(2 - left["passed"])
    said = summary.read_text()
    assert said.startswith("An earlier step.\n")
    assert "| --max-drop -100 | FAILED |" in said
    head = results["comparison"]["headline"]
    lines = Path("ci/flips.jsonl").read_text().splitlines()
    flips = [json.loads(line) for line in lines]
    assert len(flips) == head["lost"] + head["won"]


def test_flips_name_model_document_and_both_answers(
    run: Run, emo: Path, tmp_path: Path, example_files: tuple[Path, Path]
) -> None:
    from tests.tiny_models import save_tiny

    other = save_tiny(tmp_path / "other", "emo", seed=5)
    found = run(
        "eval", "-m", other, "--baseline", emo, "--examples", example_files[1],
        "--samples", "flips.jsonl", "--json",
    )  # fmt: skip
    assert found.code == 0, found.err
    (task,) = found.json["tasks"]
    hashes = [q["document_sha256"] for q in task["questions"]]
    flips = [json.loads(line) for line in Path("flips.jsonl").read_text().splitlines()]
    head = found.json["comparison"]["headline"]
    assert len(flips) == head["lost"] + head["won"]
    assert flips, "these two models never differ: choose another seed"
    for flip in flips:
        assert (flip["model"], flip["baseline"]) == ("other", "tiny-emo")
        question = task["questions"][hashes.index(flip["document_sha256"])]
        assert flip["answer"] == question["answer"] != flip["baseline_answer"]
        assert flip["change"] == ("won" if question["score"] else "lost")


def test_samples_compare_with_the_source_by_themselves(
    run: Run, exported: Path, example_files: tuple[Path, Path]
) -> None:
    score = ("eval", exported, "--examples", example_files[1])
    assert run(*score, "--samples", "flips.jsonl").code == 0
    assert _results()["comparison"]["baseline"] == "tiny-emo"
    assert Path("flips.jsonl").exists()


def test_a_gate_that_its_questions_are_too_few_for_fails_only_if_strict(
    run: Run, exported: Path, example_files: tuple[Path, Path]
) -> None:
    score = ("eval", exported, "--examples", example_files[1], "--max-drop")
    assert run(*score, "100").code == 0
    head = _results()["comparison"]["headline"]
    limit = head["min_detectable_drop"] - 1
    assert -head["difference"] < limit
    passed = run(*score, str(limit))
    assert passed.code == 0, passed.err
    assert f"cannot see {limit:g} points" in passed.out
    (drop,) = _results()["gates"]
    assert (drop["met"], drop["sees"], drop["passed"]) == (True, False, True)
    strict = run(*score, str(limit), "--strict")
    assert strict.code == 3
    assert "cannot see" in strict.out
    assert "--strict" in strict.err


def test_confidence_judges_the_worse_end(
    run: Run, exported: Path, example_files: tuple[Path, Path]
) -> None:
    gate = ("eval", exported, "--examples", example_files[1], "--max-drop")
    assert run(*gate, "100").code == 0
    low, _ = _results()["comparison"]["headline"]["interval"]
    assert run(*gate, str(-low + 0.01), "--confidence", "0.95").code == 0
    assert run(*gate, str(-low - 0.01), "--confidence", "0.95").code == 3
    assert _results()["gates"][0]["judged"] == pytest.approx(-low)


def test_perplexity_gate_judges_texts_and_refuses_answers(
    run: Run, exported: Path, workplace: Path, example_files: tuple[Path, Path]
) -> None:
    (workplace / "text.txt").write_text("Other words.\n\nMore of them here.\n")
    score = ("eval", exported, "--examples", "text.txt", "--max-ppl-increase")
    assert run(*score, "100000%").code == 0
    (gate,) = _results()["gates"]
    head = _results()["comparison"]["headline"]
    rise = 100 * (2 ** head["difference"] - 1)
    assert gate["judged"] == pytest.approx(rise)
    failed = run(*score, str(rise - 0.1))
    assert failed.code == 3
    assert "perplexity" in failed.err
    refused = run(
        "eval", exported, "--examples", example_files[1], "--max-ppl-increase", "5"
    )
    assert refused.code == 1
    assert "hint: use --max-drop" in refused.err
    assert _results()["task"] == "examples:questions"  # the scores are not lost


@pytest.mark.parametrize(
    ("gate", "word"),
    [
        (("--max-ppl-increase", "much"), "2%"),
        (("--max-ppl-increase", "inf"), "2%"),
        (("--min-recovery", "most"), "95%"),
        (("--max-drop", "nan"), "--max-drop 1.0"),
        (("--max-drop", "1", "--confidence", "95"), "0.95"),
        (("--strict",), "--max-drop"),
        (("--confidence", "0.95"), "--max-drop"),
    ],
)
def test_gates_that_cannot_be_read_are_named_before_anything_is_loaded(
    run: Run, gate: tuple[str, ...], word: str
) -> None:
    refused = run("eval", "nowhere", "--task", "math", *gate)
    assert refused.code == 1
    assert not refused.out
    assert word in refused.err
    assert "nowhere" not in refused.err


def test_gates_may_come_from_variables_and_the_settings_file(
    run: Run,
    exported: Path,
    example_files: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EMO_PRUNE_MAX_DROP", "-100")
    Path("emo-prune.toml").write_text('junit = "junit.xml"\nstrict = true\n')
    assert run("eval", exported, "--examples", example_files[1]).code == 3
    assert Path("junit.xml").exists()
    assert _results()["gates"][0]["strict"]


def test_every_export_is_scored_and_reported_before_a_gate_fails(
    run: Run, emo: Path, workplace: Path
) -> None:
    for name, text in (
        ("one", "Some words.\n\nMore."),
        ("two", "Others.\n\nYet more."),
    ):
        (workplace / f"{name}.txt").write_text(text)
        made = run("select", "-m", emo, "--examples", f"{name}.txt", "-k", "4")
        assert made.code == 0, made.err
    assert run("export", "--model", emo).code == 0
    (workplace / "new.txt").write_text("Something else to score.\n\nAnd this.")
    failed = run(
        "eval", "--examples", "new.txt", "--max-drop", "-100", "--junit", "junit.xml",
        "--json",
    )  # fmt: skip
    assert failed.code == 3
    assert [len(one["gates"]) for one in failed.json["results"]] == [1, 1]
    suites = ET.fromstring(Path("junit.xml").read_text())
    assert (len(suites), suites.get("failures")) == (2, "2")
    for name in ("one", "two"):
        assert Path(f"emo-prune-out/{name}/results.json").exists()
