"""What `eval` refuses, and in which order; what must not hide a failed gate."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run

Files = tuple[Path, Path]


@pytest.mark.parametrize(
    "twice",
    [
        ("-t", "math", "-t", "law"),
        ("--examples", "a.jsonl", "--examples", "b.jsonl"),
        ("--max-drop", "1", "--max-drop", "2"),
        ("--baseline", "a", "--baseline", "b"),
    ],
)
def test_an_option_given_twice_is_a_usage_error(
    run: Run, twice: tuple[str, ...]
) -> None:
    refused = run("eval", "nowhere", *twice)
    assert refused.code == 2
    assert "is given 2 times" in refused.err


@pytest.mark.parametrize("share", ["95", "1.01", "100"])
def test_a_recovery_above_one_needs_its_sign(run: Run, share: str) -> None:
    refused = run("eval", "nowhere", "--task", "math", "--min-recovery", share)
    assert refused.code == 1
    assert "hint: try --min-recovery 95%" in refused.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--device", "cuda:7"), "--device"),
        (("--device", "abacus"), "--device"),
        (("--dtype", "int4"), "--dtype"),
        (("--examples", "none.jsonl"), "no such file"),
        (("--task", "mmlu:lore"), "no task is called"),
        (("--task", "math", "--control", "rnd"), "no such control"),
        (("--task", "math", "--baseline", "nowhere"), "nowhere"),
        *(
            (
                ("--task", task, "--baseline", "{emo}", "--max-ppl-increase", "2%"),
                "texts",
            )
            for task in ("math", "mmlu", "mmlu-pro:law", "gsm8k")
        ),
    ],
)
def test_what_options_show_is_refused_before_prompts_and_models(
    run: Run, emo: Path, options: tuple[str, ...], said: str
) -> None:
    options = tuple(one.format(emo=emo) for one in options)
    refused = run("eval", "-m", emo, *options)
    assert refused.code == 1, refused.err
    assert said in refused.err
    assert "hint: " in refused.err
    for word in ("building", "loading", "Traceback"):
        assert word not in refused.err
    assert not refused.out


@pytest.mark.parametrize(
    ("text", "said"),
    [(None, "cannot be read"), ("{", "not valid JSON"), ("[" * 100_000, "deeply")],
)
def test_a_selection_that_cannot_be_read_is_named(
    run: Run, emo: Path, example_files: Files, text: str | None, said: str
) -> None:
    if text is not None:
        Path("selection.json").write_text(text)
    refused = run(
        "eval", "-m", emo, "-s", "selection.json", "--examples", example_files[1]
    )
    assert refused.code == 1
    assert said in refused.err
    assert "loading" not in refused.err


def test_an_unwritable_summary_hides_no_failed_gate(
    run: Run, exported: Path, example_files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("folder").mkdir()
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "folder")
    score = ("eval", exported, "--examples", example_files[1], "--max-drop")
    failed = run(*score, "-100", "--junit", "junit.xml")
    assert failed.code == 3
    assert "the job's summary could not be written" in failed.err
    assert "error: more is lost than --max-drop allows" in failed.err
    assert "--max-drop -100: FAILED" in failed.out
    assert Path("junit.xml").exists()
    passed = run(*score, "100")
    assert passed.code == 0
    assert "the job's summary could not be written" in passed.err


def test_an_unwritable_junit_file_hides_no_failed_gate(
    run: Run, exported: Path, example_files: Files
) -> None:
    Path("file").write_text("")
    score = ("eval", exported, "--examples", example_files[1], "--junit", "file/j.xml")
    failed = run(*score, "--max-drop", "-100", "--samples", "flips.jsonl")
    assert failed.code == 3
    assert "file/j.xml" in failed.err
    assert Path("flips.jsonl").exists()
    passed = run(*score, "--max-drop", "100")
    assert passed.code == 1
    assert "file/j.xml" in passed.err


def test_a_variable_steps_aside_for_selections_that_are_typed(
    run: Run, emo: Path, example_files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = run("select", "-m", emo, "--examples", example_files[0], "-k", "4", "-o",
               "four.json")  # fmt: skip
    assert made.code == 0, made.err
    monkeypatch.setenv("EMO_PRUNE_EXPORT", "nowhere")
    monkeypatch.setenv("EMO_PRUNE_BASELINE", "nowhere")
    scored = run("eval", "-m", emo, "-s", "four.json", "--examples", example_files[1])
    assert scored.code == 0, scored.err
