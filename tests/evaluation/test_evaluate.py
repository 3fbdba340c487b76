"""`evaluate` and `evaluate_all`, as Python calls them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import emo_prune
from emo_prune.errors import EvaluationError, GateFailed, SettingsError
from emo_prune.evaluation import Evaluation, Gates, load_results
from tests.cli.conftest import MADE_UP
from tests.tiny_models import save_tiny


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two tiny EMO checkpoints."""
    folder = tmp_path_factory.mktemp("models")
    return save_tiny(folder / "one", "emo"), save_tiny(folder / "two", "emo", seed=5)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Examples to calibrate on, and others to score, beside an empty working folder."""
    folder = tmp_path / "examples"
    folder.mkdir()
    made = (folder / "calibration.jsonl", folder / "questions.jsonl")
    for file, rows in zip(made, (MADE_UP[::2], MADE_UP[1::2]), strict=True):
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return made


def test_one_call_scores_compares_and_writes_nothing(
    models: tuple[Path, Path], files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    one, two = models
    found = emo_prune.evaluate(two, examples=files[1], baseline=one)
    assert isinstance(found, Evaluation)
    assert found.comparison is not None
    assert found.comparison.baseline == "one"
    head = found.comparison.headline
    assert head.lost is not None
    assert head.won is not None
    assert len(found.flips) == head.lost + head.won
    assert found.verdicts == ()
    assert found.file is None
    assert not list(Path.cwd().iterdir())
    with pytest.raises(SettingsError, match="no place"):
        found.save()
    assert load_results(found.save("kept/results.json")) == found.results


def test_an_evaluation_shows_itself(
    models: tuple[Path, Path], files: tuple[Path, Path]
) -> None:
    one, two = models
    gated = {"max_drop": 100, "min_recovery": "1%"}
    found = emo_prune.evaluate(str(two), examples=str(files[1]), baseline=one, **gated)  # type: ignore[arg-type]
    said = repr(found)
    assert len(said) < 200
    for word in ("two on examples:questions", "acc", "against one", "--max-drop"):
        assert word in said
    shown = found._repr_html_()
    assert "<table>" in shown
    assert "examples:questions" in shown
    assert "--max-drop 100: passed" in shown
    table = found.to_pandas()
    assert list(table["name"]) == ["examples:questions"]
    assert found.comparison is not None
    assert table["difference"][0] == found.comparison.headline.difference


def test_a_selection_in_memory_is_scored_as_its_file_is(
    models: tuple[Path, Path], files: tuple[Path, Path]
) -> None:
    model, _ = models
    selection = emo_prune.select(model=model, examples=files[0], keep=4)
    found = emo_prune.evaluate(selection=selection, model=model, examples=files[1])
    selection.save("four.json")
    whole, same = emo_prune.evaluate_all(
        selection="four.json", model=model, examples=files[1]
    )
    assert same.results == found.results
    assert found.comparison is not None
    assert found.comparison.baseline == whole.results.model == "one"
    assert same.file == Path("four.results.json")
    assert load_results("four.results.json") == found.results
    assert whole.file is not None
    assert whole.file.parent == Path("emo-prune-out/questions")


def test_output_is_where_results_go(
    models: tuple[Path, Path], files: tuple[Path, Path]
) -> None:
    found = emo_prune.evaluate(models[0], examples=files[1], output="out")
    assert found.file == Path("out/results.json")
    assert load_results("out/results.json") == found.results
    assert [str(one) for one in Path.cwd().iterdir()] == [str(Path.cwd() / "out")]


def test_a_gate_that_fails_hands_over_what_was_found(
    models: tuple[Path, Path], files: tuple[Path, Path]
) -> None:
    one, two = models
    with pytest.raises(GateFailed, match="max_drop") as failed:
        emo_prune.evaluate(
            two, examples=files[1], baseline=one, max_drop=-100, output="out"
        )
    assert "keep" in failed.value.hint
    assert "--" not in failed.value.hint
    (found,) = failed.value.evaluations
    assert isinstance(found, Evaluation)
    assert [verdict.passed for verdict in found.verdicts] == [False]
    assert load_results("out/results.json") == found.results


@pytest.mark.parametrize("share", ["95%", 0.95, "0.95", " 95% "])
def test_a_share_above_one_needs_its_sign(share: Any) -> None:
    options = emo_prune.evaluate.options("nowhere", min_recovery=share)
    assert Gates.of(options).min_recovery == pytest.approx(95)


@pytest.mark.parametrize("share", [95, "95", "1.01", 1.01, "nan", "0%", -0.5, "inf%"])
def test_a_share_that_could_mean_two_things_is_refused(share: Any) -> None:
    with pytest.raises(SettingsError, match="min_recovery") as refused:
        emo_prune.evaluate("nowhere", min_recovery=share)
    assert refused.value.hint == "try min_recovery='95%'"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"max_drop": "a lot"}, "max_drop"),
        ({"max_drop": 1.0, "confidence": 95.0}, "confidence"),
        ({"strict": True}, "no gate"),
        ({"control": "rnd"}, "no such control"),
        ({"selection": 3}, "selection"),
        ({"selection": "a.json", "baseline": "b"}, "baseline"),
        ({"model": "elsewhere"}, "several checkpoints"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_looked_for(
    wrong: dict[str, Any], said: str
) -> None:
    path = None if "selection" in wrong else "nowhere"
    with pytest.raises(SettingsError, match=said):
        emo_prune.evaluate(path, **wrong)


def test_something_to_score_must_be_named() -> None:
    with pytest.raises(SettingsError, match="not one checkpoint") as refused:
        emo_prune.evaluate(task="math")
    assert "evaluate_all" in refused.value.hint


def test_two_results_have_not_one_place(
    models: tuple[Path, Path], files: tuple[Path, Path]
) -> None:
    model, _ = models
    for name in ("four", "five"):
        emo_prune.select(model=model, examples=files[0], keep=4, output=f"{name}.json")
    with pytest.raises(SettingsError, match="into one file"):
        emo_prune.evaluate_all(
            selection=["four.json", "five.json"],
            model=model,
            examples=files[1],
            output="out",
        )


def test_something_is_said_before_the_long_imports(
    models: tuple[Path, Path], files: tuple[Path, Path]
) -> None:
    code = """
import sys
import emo_prune
from emo_prune.progress import Silent
class Heard(Silent):
    def say(self, text):
        slow = ("torch", "transformers", "lm_eval", "datasets", "scipy")
        print(text, [name for name in slow if name in sys.modules])
        raise SystemExit
emo_prune.evaluate(sys.argv[1], examples=sys.argv[2], progress=Heard())
"""
    done = subprocess.run(
        [sys.executable, "-c", code, models[0], files[1]],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "building the prompts of examples:questions []\n"


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"schema": "emo-prune/results/1", "value": ' + "1" * 5_000 + "}",
        '{"schema": "emo-prune/results/1", "value": ' + "1" * 400 + "}",
        '{"schema": "emo-prune/results/1", "n": 1, "n": 2}',
        '{"schema": "emo-prune/results/1", "value": NaN}',
        '{"schema": "emo-prune/results/1"}',
        "\ud800",
    ],
    ids=["deep", "digits", "large", "twice", "nan", "empty", "surrogate"],
)
def test_hostile_results_end_in_a_named_error(tmp_path: Path, text: str) -> None:
    file = tmp_path / "results.json"
    file.write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(EvaluationError, match="results"):
        load_results(file)
    with pytest.raises(EvaluationError, match="cannot be read"):
        load_results(tmp_path / "none.json")
