"""The workflow of docs/ci.md runs, and does what the page says."""

from __future__ import annotations

import json
import math
import re
from xml.etree import ElementTree as ET

import pytest

from emo_prune.evaluation.statistics import min_detectable
from tests.cli.conftest import MADE_UP
from tests.docs.workflow import PAGE, REPOSITORY, Job, checkout, named, steps
from tests.tiny_models import save_tiny


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """The job up to its evaluation; installing is left out."""
    folder = tmp_path_factory.mktemp("checkout")
    model = save_tiny(folder / "tiny-emo", "emo")
    examples = folder / "examples"
    examples.mkdir()
    for name, rows in (("calibration", MADE_UP[::2]), ("questions", MADE_UP[1::2])):
        lines = [json.dumps(row) + "\n" for row in rows]
        (examples / f"{name}.jsonl").write_text("".join(lines))
    # the tiny model's router picks three of eight
    made = checkout(folder, EMO_PRUNE_MODEL=str(model), EMO_PRUNE_KEEP="50%")
    for step in steps():
        if "run" in step and step["name"] not in {"Install", "Evaluate"}:
            done = made.run(step["run"])
            assert done.returncode == 0, done.stderr
    return made


def test_a_breached_gate_ends_the_job_with_everything_written(job: Job) -> None:
    done = job.run(named("Evaluate")["run"], EMO_PRUNE_MAX_DROP="-100")
    assert done.returncode == 3, done.stderr
    assert "--max-drop -100: FAILED" in done.stdout
    suites = ET.fromstring((job.folder / "out/junit.xml").read_text())
    assert suites.get("failures") == "1"
    names = [case.get("name") for case in suites.findall(".//testcase")]
    assert names == ["examples:questions", "--max-drop -100"]
    assert "| --max-drop -100 | FAILED |" in job.summary.read_text()
    upload = named("Upload")
    assert upload["if"] == "always()"
    for path in upload["with"]["path"].split():
        assert (job.folder / path).is_file(), path


def test_a_gate_that_holds_lets_the_job_pass(job: Job) -> None:
    done = job.run(named("Evaluate")["run"], EMO_PRUNE_MAX_DROP="100")
    assert done.returncode == 0, done.stderr
    suites = ET.fromstring((job.folder / "out/junit.xml").read_text())
    assert suites.get("failures") == "0"
    assert "| --max-drop 100 | passed |" in job.summary.read_text()


def test_the_workflow_installs_with_constraints_and_pins_what_it_uses() -> None:
    assert "pip install -c emo-prune/constraints.txt" in named("Install")["run"]
    used = [step["uses"] for step in steps() if "uses" in step]
    assert all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", one) for one in used), used
    own = (REPOSITORY / ".github/workflows/ci.yml").read_text()
    for one in used:
        if "checkout" in one or "setup-python" in one:
            assert one in own, f"{one}: ci.yml has another"


def test_the_number_of_questions_that_see_one_point_is_as_stated() -> None:
    seen = min_detectable(math.sqrt(0.1 / 7849))
    assert seen == pytest.approx(0.01, rel=1e-4)
    assert "7,849" in PAGE


def test_every_option_of_the_page_exists() -> None:
    reference = (REPOSITORY / "docs/cli.md").read_text()
    for option in set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGE)):
        assert f"{option}" in reference, option
