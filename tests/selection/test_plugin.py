"""A score that an installed package brings is offered everywhere, by itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

import emo_prune

COMMANDS = """
import sys
from emo_prune.cli import main
sys.exit(next((code for line in {commands!r} if (code := main(line))), 0))
"""
MINE = '''
from emo_prune.selection import score

@score("mine", needs_outputs=True)
def mine(routing):
    """The last expert first."""
    assert routing.weighted_norms is not None
    return routing.picks.sum(axis=0) * 0.0 + range(routing.num_experts)
'''


def install(
    folder: Path,
    code: str,
    name: str = "my-scores",
    scores: tuple[str, ...] = ("mine",),
) -> Path:
    """Lay a package out as an installer does; return the folder that is a path of it.

    `scores` are entry points, each of the function of its name.
    """
    module = name.replace("-", "_")
    facts = folder / f"{module}-1.2.3.dist-info"
    facts.mkdir(parents=True)
    (folder / f"{module}.py").write_text(code)
    (facts / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2.3\n"
    )
    lines = [f"{one} = {module}:{one.replace('-', '_')}\n" for one in scores]
    (facts / "entry_points.txt").write_text("[emo_prune.scores]\n" + "".join(lines))
    return folder


def run(
    site: Path, folder: Path, *commands: list[str]
) -> subprocess.CompletedProcess[str]:
    """Run commands, one after the other in one process that finds the package."""
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-c", COMMANDS.format(commands=commands)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "200"},
    )


@pytest.fixture
def site(tmp_path: Path) -> Path:
    return install(tmp_path / "site", MINE)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    rows = [{"prompt": f"{word}:", "completion": f" {word * 2}"} for word in "abcdef"]
    for name, part in (("some", rows[:3]), ("others", rows[3:])):
        lines = [json.dumps(row) + "\n" for row in part]
        (tmp_path / f"{name}.jsonl").write_text("".join(lines))
    return tmp_path / "some.jsonl"


def test_it_selects_and_selects_again_and_is_recorded(
    saved: Callable[[str], Path], site: Path, texts: Path, tmp_path: Path
) -> None:
    model = str(saved("olmoe"))
    select = ["select", "-m", model, "--examples", str(texts), "-k", "25%"]
    done = run(
        site, tmp_path,
        [*select, "--score", "mine", "--save-scores", "-o", "one"],
        ["reselect", "one/scores.safetensors", "--score", "mine", "-k", "50%",
         "-o", "two"],
        [*select, "--score", "mine", "--greedy", "--stream", "-o", "three"],
        [*select, "--score", "frequency", "-o", "four"],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for name, kept in (("one", [6, 7]), ("two", [4, 5, 6, 7]), ("three", [6, 7])):
        found = json.loads((tmp_path / name / "selection.json").read_text())
        assert [layer["kept"] for layer in found["layers"]] == [kept, kept]
        assert found["method"]["score"] == "mine"
        assert found["versions"]["my_scores"] == "1.2.3"
    ours = json.loads((tmp_path / "four/selection.json").read_text())
    assert "my_scores" not in ours["versions"]


@pytest.mark.parametrize("command", ["select", "reselect", "extract", "sweep"])
def test_help_shows_it_without_importing_it(
    tmp_path: Path, site: Path, command: str
) -> None:
    (site / "my_scores.py").write_text("raise SystemExit('imported')")
    done = run(site, tmp_path, [command, "--help"])
    assert done.returncode == 0, done.stderr
    assert "mine" in done.stdout


def test_it_is_swept_and_reported(
    saved: Callable[[str], Path], site: Path, texts: Path, tmp_path: Path
) -> None:
    done = run(
        site, tmp_path,
        ["sweep", "-m", str(saved("olmoe")), "--examples", str(texts), "--test",
         "others.jsonl", "-k", "50%", "--scores", "mine,frequency"],
        ["report", "-o", "report.html"],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    swept = json.loads((tmp_path / "emo-prune-out/sweep.json").read_text())
    assert [row["score"] for row in swept["subsets"]] == ["mine", "frequency"]
    assert "mine" in (tmp_path / "report.html").read_text()


@pytest.fixture(scope="session")
def scores_file(
    saved: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """What was counted on a tiny model: do not change it."""
    folder = tmp_path_factory.mktemp("scores")
    (folder / "texts.txt").write_text("one\n\nand another\n")
    emo_prune.select(
        model=saved("olmoe"),
        examples=folder / "texts.txt",
        keep=2,
        save_scores=True,
        output=folder,
    )
    return folder / "scores.safetensors"


WRONG: Mapping[str, tuple[str, str]] = {
    "raises": ("def mine(routing):\n    raise Exception('no luck')", "no luck"),
    "wants more": ("def mine(routing, seed):\n    return seed", "TypeError"),
    "no array": ("def mine(routing):\n    return [1.0] * 8", "returns list"),
    "another shape": ("def mine(routing):\n    return routing.mass", "float64 (2, 8)"),
    "integers": ("def mine(routing):\n    return routing.picks.sum(axis=0)", "int64"),
    "no numbers": (
        "def mine(routing):\n    return routing.mass.sum(axis=0) * float('nan')",
        "not finite",
    ),
    "no function": ("mine = 'mine'", "TypeError"),
    "nothing there": ("", "AttributeError"),
    "cannot be imported": ("import nothing_of_this_name", "nothing_of_this_name"),
    "is no Python": ("def mine(", "SyntaxError"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_one_is_named_with_its_package(
    scores_file: Path, tmp_path: Path, case: str
) -> None:
    code, said = WRONG[case]
    site = install(tmp_path / "site", code)
    done = run(
        site,
        tmp_path,
        ["reselect", str(scores_file), "-k", "4", "--score", "mine", "-o", "new"],
    )
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert said in done.stderr
    assert "my-scores" in done.stderr.partition("hint: ")[2]
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["frequency", "random"])
def test_a_name_of_ours_is_nobody_elses(
    scores_file: Path, tmp_path: Path, name: str
) -> None:
    site = install(tmp_path / "site", f"{name} = None", scores=(name,))
    choose = ["reselect", str(scores_file), "-k", "50%", "-o", "new"]
    refused = run(site, tmp_path, [*choose, "--score", name])
    assert refused.returncode == 1, refused.stderr
    assert f"{name} of emo-prune and my-scores" in refused.stderr
    others = run(
        site, tmp_path, ["select", "--help"], [*choose, "--score", "probability"]
    )
    assert others.returncode == 0, others.stderr


def test_two_packages_do_not_share_a_name(scores_file: Path, tmp_path: Path) -> None:
    site = install(tmp_path / "site", MINE)
    install(tmp_path / "site", MINE, name="your-scores")
    done = run(
        site,
        tmp_path,
        ["reselect", str(scores_file), "-k", "4", "--score", "mine", "-o", "new"],
    )
    assert done.returncode == 1, done.stderr
    assert "my-scores and your-scores" in done.stderr


SESSION = """
import sys
import numpy as np
import emo_prune
from emo_prune.errors import SelectionError
from emo_prune.selection import score, score_names

scores = sys.argv[1]
before = emo_prune.reselect(scores, keep=2)

@score("last")
def last(routing):
    routing.picks[:] = 0  # its own copy
    return np.arange(routing.num_experts, dtype=np.float64)

assert "last" in score_names()
found = emo_prune.reselect(scores, keep=2, score="last")
assert set(found.kept.values()) == {(6, 7)}
assert emo_prune.reselect(scores, keep=2) == before
score("last")(last)  # as a cell that is run again
try:
    score("frequency")(last)
except SelectionError as error:
    print(error)
"""


def test_a_session_defines_its_own(scores_file: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SESSION, str(scores_file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "frequency of emo-prune and this session" in done.stdout
