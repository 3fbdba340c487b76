"""The workflow of docs/ci.md on real questions of MMLU, from the gate's two sides.

The model is tiny and its weights are random, so it guesses: of the 145 test questions
of MMLU's engineering it has 42 right with all eight experts of each layer, 35 with the
three chosen on the validation questions (23 lost, 16 won). Which of its guesses are
right is luck of its seed, and this seed is one of a few with a loss; the loss itself is
measured. With so few questions ten points cannot be told from chance, which is what
`--strict` is for.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from jsonschema import validate

from emo_prune.artifacts import json_schema
from emo_prune.evaluation import Results
from tests.docs.workflow import Job, checkout, named
from tests.tiny_models import save_tiny

SEED = 10


def on_mmlu(name: str) -> str:
    """Return a step's lines, on a category of MMLU in place of files of examples."""
    script, count = re.subn(
        r"--examples examples/\w+\.jsonl", "--task engineering", named(name)["run"]
    )
    assert count == 1, script
    return script


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory, data_dir: Path) -> Job:
    """The job up to its evaluation; installing is left out."""
    folder = tmp_path_factory.mktemp("checkout")
    sizes = {"max_position_embeddings": 2048, "initializer_range": 0.5}
    model = save_tiny(folder / "tiny-emo", "emo", SEED, **sizes)
    made = checkout(
        folder,
        EMO_PRUNE_MODEL=str(model),
        EMO_PRUNE_DATA_DIR=str(data_dir),
        EMO_PRUNE_KEEP="3",
        EMO_PRUNE_NUM_FEWSHOT="0",
    )
    for script in (on_mmlu("Select"), named("Export")["run"]):
        done = made.run(script)
        assert done.returncode == 0, done.stderr
    return made


def results(job: Job) -> Any:
    found = json.loads((job.folder / "out/results.json").read_text())
    validate(found, json_schema(Results.schema))
    return found


def failures(job: Job) -> dict[str, str]:
    """Return the test cases of the report that failed, with their messages."""
    root = ET.fromstring((job.folder / "out/junit.xml").read_text())
    cases = root.findall(".//testcase")
    assert cases[0].get("name") == "engineering"
    return {
        str(case.get("name")): str(failure.get("message"))
        for case in cases
        for failure in case.findall("failure")
    }


def test_a_loss_beyond_the_gates_ends_the_job_in_3_and_is_reported(job: Job) -> None:
    gates = {"EMO_PRUNE_MAX_DROP": "2", "EMO_PRUNE_MIN_RECOVERY": "95%"}
    done = job.run(on_mmlu("Evaluate"), **gates)
    assert done.returncode == 3, done.stderr
    found = results(job)
    head = found["comparison"]["headline"]
    assert (found["task"], found["n"]) == ("mmlu:engineering", 145)
    assert head["difference"] < -2
    assert head["recovery"] < 95
    assert [gate["passed"] for gate in found["gates"]] == [False, False]
    lost = f"{head['difference']:.2f}"
    breached = failures(job)
    assert list(breached) == ["--max-drop 2", "--min-recovery 95"]
    assert lost in breached["--max-drop 2"]
    summary = job.summary.read_text()
    assert "| --max-drop 2 | FAILED |" in summary
    assert lost in summary


def test_a_gate_above_the_loss_holds_unless_it_is_strict_and_cannot_see_that_far(
    job: Job,
) -> None:
    job.summary.write_text("An earlier step.\n")
    done = job.run(on_mmlu("Evaluate"), EMO_PRUNE_MAX_DROP="10")
    assert done.returncode == 0, done.stderr
    head = results(job)["comparison"]["headline"]
    assert 2 < -head["difference"] < 10 < head["min_detectable_drop"]
    assert not failures(job)
    assert "cannot see 10 points" in done.stdout
    summary = job.summary.read_text()
    assert summary.startswith("An earlier step.\n")
    assert "| --max-drop 10 | passed |" in summary

    strict = f"{on_mmlu('Evaluate').rstrip()} --strict"
    done = job.run(strict, EMO_PRUNE_MAX_DROP="10")
    assert done.returncode == 3, done.stderr
    (gate,) = results(job)["gates"]
    assert (gate["met"], gate["sees"], gate["passed"]) == (True, False, False)
    assert list(failures(job)) == ["--max-drop 10"]
    assert "| --max-drop 10 | FAILED |" in job.summary.read_text()
