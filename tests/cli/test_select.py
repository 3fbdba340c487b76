"""What `select` says, and what it refuses, before anything heavy happens."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import emo_prune
from emo_prune.progress import Advance, Silent
from tests.cli.conftest import Files, Run

HEAVY = ("torch", "transformers", "lm_eval", "datasets")
LIGHT = """
import sys
from emo_prune.cli import main
code = main(sys.argv[1:])
loaded = [name for name in {heavy!r} if name in sys.modules]
print("code", code, "loaded", loaded, file=sys.stderr)
"""


def refused_at_once(*arguments: object) -> str:
    """Return the error of a command that imports nothing heavy before it ends."""
    done = subprocess.run(
        [sys.executable, "-c", LIGHT.format(heavy=HEAVY), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "code 1 loaded []" in done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--device", "gpu"), ("gpu", "--device cpu")),
        (("--device", "cuda:x"), ("cuda:x", "--device cpu")),
        (("--dtype", "int4"), ("int4", "--dtype auto")),
        (("--score", "guess"), ("guess", "--score frequency")),
        (("--keep", "lots"), ("lots", "--keep 12.5%")),
        (("--keep", "9" * 5000), ("--keep 12.5%",)),
        (("--keep", "9"), ("at most 8", "--keep 8")),
        (("--keep", "1"), ("at least 3", "--keep 3")),
        (("--keep", "2"), ("at least 3", "--lower-top-k")),
        (("--examples", "missing.jsonl"), ("missing.jsonl", "--examples")),
        (("--num-examples", "some"), ("some", "--num-examples 100")),
        (("--num-fewshot", "2"), ("demonstrations", "--num-fewshot 2")),
        (("--max-memory", "much"), ("much", "--max-memory")),
        (("--task", "math"), ("--task", "--examples")),
        (("--greedy", "--save-scores"), ("--greedy", "--save-scores")),
        (("--resume", "--force"), ("--resume", "--force")),
    ],
    ids=lambda value: " ".join(value)[:30],
)
def test_options_are_refused_before_anything_is_imported(
    workplace: Path,
    emo: Path,
    example_files: Files,
    arguments: tuple[str, ...],
    words: tuple[str, ...],
) -> None:
    given = () if "--examples" in arguments else ("--examples", example_files[0])
    budget = () if "--keep" in arguments else ("--keep", "4")
    said = refused_at_once("select", "-m", emo, *given, *budget, *arguments)
    assert "hint: " in said
    assert all(word in said for word in words), said
    assert not list(workplace.iterdir())


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("math,law", ("several tasks", "--task math", "--tasks math,law")),
        ("mmlu:math, mmlu:law", ("--task mmlu:math", "--tasks")),
        ("math,", ("--task math",)),
        ("mmlu:anatomy", ("subject", "--task mmlu_anatomy", "--task health")),
        ("MMLU:College Biology", ("--task mmlu_college_biology", "--task biology")),
        ("anatomy", ("--task mmlu_anatomy", "--task health")),
        ("mmlu-pro:culture", ("categories", "--examples")),
        ("mmlu:maths", ("did you mean", "mmlu:math")),
        ("a task of mine", ("categories", "--examples")),
    ],
)
def test_a_task_that_cannot_be_is_answered_at_once(
    workplace: Path, emo: Path, task: str, words: tuple[str, ...]
) -> None:
    said = refused_at_once("select", "-m", emo, "-t", task, "-k", "4")
    assert all(word in said for word in words), said
    assert not list(workplace.iterdir())


def test_a_gpu_that_is_not_there_is_refused_before_prompts(
    run: Run, emo: Path, example_files: Files
) -> None:
    select = ("select", "-m", emo, "--examples", example_files[0], "-k", "4")
    refused = run(*select, "--device", "cuda:9")
    assert refused.code == 1
    assert "--device" in refused.err
    assert "building the prompts" not in refused.err


@pytest.mark.parametrize(
    ("flags", "word"),
    [(("--no-stream", "--resume"), "--stream"), (("--stream", "-o", "there"), "-o")],
    ids=["resume", "state"],
)
def test_what_streaming_refuses_it_refuses_before_prompts(
    run: Run, emo: Path, example_files: Files, flags: tuple[str, ...], word: str
) -> None:
    Path("there/selection.json.resume").mkdir(parents=True)
    select = ("select", "-m", emo, "--examples", example_files[0], "-k", "4")
    refused = run(*select, *flags)
    assert refused.code == 1
    assert word in refused.err.replace("--output", "-o")
    assert "building the prompts" not in refused.err


@pytest.mark.parametrize(
    ("keep", "said"),
    [
        ("4", "keeping 4 experts (50.0 %) of 8 "),
        ("5", "keeping 5 experts (62.5 %) of 8 "),
        ("50%", "keeping 4 experts (50.0 %) of 8 "),
        ("0.7", "keeping 5 experts (62.5 %) of 8 "),
    ],
)
def test_it_says_how_many_experts_and_what_share_before_it_runs(
    run: Run, emo: Path, example_files: Files, keep: str, said: str
) -> None:
    done = run("select", "-m", emo, "--examples", example_files[0], "-k", keep)
    assert done.code == 0, done.err
    assert said in done.err.partition("building the prompts")[0]


def test_it_says_that_it_imports_before_it_does(
    workplace: Path, emo: Path, example_files: Files
) -> None:
    code = """
import sys
from emo_prune.cli import console, main

def note(text):
    print("torch" in sys.modules, "transformers" in sys.modules, text)

console.note = note
sys.exit(main(sys.argv[1:]))
"""
    select = ["select", "-m", emo, "--examples", example_files[0], "-k", "4"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, select)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "False False importing torch and transformers\n" in done.stdout
    assert done.stdout.count("importing") == 1


class Heard(Silent):
    """Remembers what is said and how far the work has come."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, int]] = []
        self.totals: dict[str, int] = {}

    def say(self, text: str) -> None:
        self.heard.append((text, 0))

    @contextmanager
    def track(self, label: str, total: int, unit: str) -> Iterator[Advance]:
        del unit
        self.totals[label] = total
        yield lambda amount: self.heard.append((label, amount))


def test_a_streamed_run_advances_within_its_first_layer(
    emo: Path, example_files: Files
) -> None:
    heard = Heard()
    emo_prune.select(
        model=emo,
        examples=example_files[0],
        keep=4,
        stream=True,
        batch_size=2,
        progress=heard,
    )
    sums = {
        label: sum(amount for name, amount in heard.heard if name == label)
        for label in heard.totals
    }
    assert sums == heard.totals  # bytes of the first layer, then tokens
    first, second = heard.totals
    labels = [name for name, amount in heard.heard if amount]
    assert labels.index(first) < labels.index(second)
    assert first == "reading layer 0"
    # Eight examples by twos through two layers: half of them are the first layer's.
    assert labels.count(second) == 8


@pytest.mark.parametrize("way", ["--stream", "--no-stream"])
@pytest.mark.parametrize("flags", [(), ("--greedy",)])
def test_a_model_that_fails_when_it_runs_is_named(
    run: Run,
    emo: Path,
    example_files: Files,
    tmp_path: Path,
    way: str,
    flags: tuple[str, ...],
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(emo, broken)
    config: dict[str, Any] = json.loads((broken / "config.json").read_text())
    # It loads, and then rotates half as many dimensions as there are.
    config["rope_parameters"] = {
        "rope_type": "linear",
        "rope_theta": 10000.0,
        "factor": 2.0,
        "partial_rotary_factor": 0.5,
    }
    (broken / "config.json").write_text(json.dumps(config))
    select = ("select", "-m", broken, "--examples", example_files[0], "-k", "4")
    failed = run(*select, way, *flags)
    assert failed.code == 1
    assert "the model fails when it is run" in failed.err
    assert ("layer 0" if way == "--stream" else "EmoForCausalLM") in failed.err
    assert "hint: " in failed.err
    assert "Traceback" not in failed.err
    assert not Path("emo-prune-out").exists()


@pytest.mark.parametrize("place", ["flag", "variable", "settings"])
def test_a_tilde_in_a_path_is_the_home_folder(
    run: Run,
    workplace: Path,
    goldens: Path,
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
) -> None:
    home = workplace / "home"
    home.mkdir()
    (home / "data").symlink_to(data_dir)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("EMO_PRUNE_DATA_DIR", raising=False)
    flags: tuple[str, ...] = ()
    if place == "flag":  # no shell expands it there
        flags = ("--data-dir=~/data",)
    elif place == "variable":
        monkeypatch.setenv("EMO_PRUNE_DATA_DIR", "~/data")
    else:
        (workplace / "emo-prune.toml").write_text('data-dir = "~/data"\n')
    select = ("select", "-m", goldens / "emo_shared1", "-t", "engineering", "-k", "50%")
    done = run(*select, "--num-fewshot", "0", "--num-examples", "2", *flags)
    assert done.code == 0, done.err
