"""A sweep: its cells are what single commands say, and it can be stopped anywhere."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from benchmarks.worlds import checkpoint, count_questions, questions, write_questions
from emo_prune.artifacts import json_schema
from emo_prune.checkpoint import open_checkpoint
from emo_prune.errors import ReportError, SettingsError
from emo_prune.evaluation import Scorer
from emo_prune.files import sha256_text
from emo_prune.options import SweepOptions
from emo_prune.progress import Advance, Silent
from emo_prune.sweeps import Sweep, sweep, sweep_tasks
from tests.cli.conftest import Files, Run, own
from tests.tiny_models import save_tiny

STATE = Path("emo-prune-out/sweep.json.state")
SWEEP = Path("emo-prune-out/sweep.json")


def swept(run: Run, model: Path, *options: object) -> Any:
    """Run a sweep and return what it wrote, which the schema describes."""
    made = run("sweep", "-m", model, *options, "--json")
    assert made.code == 0, made.err
    jsonschema.validate(made.json, json_schema("emo-prune/sweep/1"))
    return made.json


def rows(found: Any) -> dict[tuple[str, str], Any]:
    return {(row["keep"], row["score"]): row for row in found["subsets"]}


def test_worlds_survive_on_an_eighth_of_the_experts_but_not_on_a_random_one(
    run: Run, workplace: Path
) -> None:
    options: list[object] = []
    for world in ("cooking", "sql"):
        files = (workplace / f"{world}-some.jsonl", workplace / f"{world}.jsonl")
        some = questions(world, "validation", 40, seed=0)
        every = questions(world, "test", count_questions(world, "test"), seed=0)
        for file, asked in zip(files, (some, every), strict=True):
            write_questions(file, asked)
        options += own(files)
    options += ["-k", "12.5%", "--scores", "frequency,random", "--dtype", "float32"]
    found = swept(run, checkpoint("emo"), *options)
    by_row = rows(found)
    full = found["full"]
    chosen, at_random = by_row["12.5%", "frequency"], by_row["12.5%", "random"]
    for i, task in enumerate(found["tasks"]):
        assert task["metric"] == "acc"
        assert full["cells"][i]["value"] >= 0.8
        assert chosen["cells"][i]["value"] >= full["cells"][i]["value"] - 0.1
        assert at_random["cells"][i]["value"] <= full["cells"][i]["value"] - 0.2
    assert full["mean"]["n"] == sum(task["n"] for task in found["tasks"])
    recovered = 100 * chosen["mean"]["value"] / full["mean"]["value"]
    assert chosen["mean"]["recovery"] == pytest.approx(recovered)
    lowest, highest = at_random["mean"]["interval"]
    assert lowest < at_random["mean"]["difference"] < highest < -20
    assert chosen["num_bytes"] < full["num_bytes"] / 2
    shown = run("sweep", "-m", checkpoint("emo"), *options)
    assert shown.code == 0, shown.err
    assert "loading" not in shown.err  # every cell was there
    for text in ("cooking", "sql", "12.5% random", "drop", "on disk"):
        assert text in shown.out


def test_a_cell_is_what_select_and_eval_say_and_its_bytes_are_the_exports(
    run: Run, emo: Path, exported: Path, example_files: Files
) -> None:
    found = swept(run, emo, *own(example_files), "-k", "50%,6")
    (cell,) = rows(found)["50%", "frequency"]["cells"]
    selection = exported.parent / "selection.json"
    assert cell["selection_sha256"] == sha256_text(selection.read_text())
    scored = run(
        "eval", "-m", emo, "-s", selection, "--examples", example_files[1], "--json"
    )
    whole, part = scored.json["results"]
    head = part["comparison"]["headline"]
    assert (cell["value"], cell["stderr"]) == (part["value"], part["stderr"])
    for key in ("difference", "interval", "recovery"):
        assert cell[key] == head[key]
    assert found["full"]["cells"][0]["value"] == whole["value"]
    assert found["budgets"][0]["num_bytes"] == open_checkpoint(str(exported)).num_bytes
    assert [one["num_experts"] for one in found["budgets"]] == [4, 6]


def test_stopped_at_random_moments_it_ends_with_the_same_bytes(
    run: Run, emo: Path, two_tasks: tuple[object, ...]
) -> None:
    options = (*two_tasks, "-k", "4,6", "--scores", "frequency,random")
    swept(run, emo, *options, "-o", "whole")
    command = [sys.executable, "-m", "emo_prune", "sweep", "-m", emo, *options]
    moments = random.Random(0)
    stops = (signal.SIGINT, signal.SIGKILL, signal.SIGTERM, signal.SIGKILL)
    codes = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}
    for stop in stops:  # once it has finished something more
        least = len(list(STATE.glob("tasks/*/[!.]*"))) + 1
        process = subprocess.Popen(
            list(map(str, command)), stderr=subprocess.PIPE, text=True
        )
        while len(list(STATE.glob("tasks/*/[!.]*"))) < least and process.poll() is None:
            time.sleep(0.001)
        time.sleep(moments.random() * 0.1)
        process.send_signal(stop)
        _, said = process.communicate()
        assert process.returncode == codes[stop]
        assert "Traceback" not in said
    done = {p: p.stat().st_mtime_ns for p in STATE.glob("tasks/*/*-*-*.json")}
    finished = run("sweep", "-m", emo, *options)
    assert finished.code == 0, finished.err
    assert SWEEP.read_bytes() == Path("whole/sweep.json").read_bytes()
    assert all(path.stat().st_mtime_ns == when for path, when in done.items())


WRITES = """
import os, sys
import emo_prune.files as provenance
from emo_prune.cli import main
from pathlib import Path

real, count, seen = Path.replace, int(sys.argv[1]), []

def dying(self, target):
    seen.append(1)
    if len(seen) == count:
        os._exit(9)
    return real(self, target)

Path.replace = dying
sys.exit(main(sys.argv[2:]))
"""


def test_interrupted_by_hand_it_says_how_to_go_on_and_lets_nobody_else_in(
    run: Run,
    emo: Path,
    two_tasks: tuple[object, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    score = Scorer.score
    calls: list[int] = []
    command = ("sweep", "-m", emo, *two_tasks, "-k", "4")

    def interrupted(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            refused = [sys.executable, "-m", "emo_prune", *map(str, command)]
            done = subprocess.run(refused, capture_output=True, text=True, check=False)
            assert done.returncode == 1
            assert "another process" in done.stderr
            raise KeyboardInterrupt
        return score(*arguments)

    monkeypatch.setattr(Scorer, "score", interrupted)
    stopped = run(*command)
    assert stopped.code == 130
    assert "the same command goes on" in stopped.err
    monkeypatch.setattr(Scorer, "score", score)
    assert "2 cells to score" in run(*command).err


class Interrupted:
    """Gone, it sends the process a signal: what that raises here, Python loses."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        signal.raise_signal(self.number)


class Hearing(Silent):
    """Calls a function at a moment: so many steps and advances from the start."""

    def __init__(self, moment: int, then: Callable[[], object]) -> None:
        self.left = moment
        self.then = then

    def say(self, text: str) -> None:
        del text
        self.left -= 1
        if self.left == 0:
            self.then()

    @contextmanager
    def track(self, label: str, total: int, unit: str) -> Iterator[Advance]:
        del label, total, unit
        yield lambda _: self.say("")


@pytest.mark.parametrize("moment", [2, 5, 8, 13, 20, 28])
def test_an_interruption_that_python_loses_ends_the_sweep(
    emo: Path,
    example_files: Files,
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
    moment: int,
) -> None:
    lost: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: lost.append(told.exc_type))
    options: dict[str, Any] = {
        "model": emo,
        "examples": example_files[0],
        "test": example_files[1],
        "keep": [4, 6],
    }
    hearing = Hearing(moment, lambda: Interrupted(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        sweep(**options, output="out", progress=hearing)
    assert lost == [KeyboardInterrupt]
    assert hearing.left <= 0
    after = hearing.left
    assert after > -6, "the rest was computed"
    assert not Path("out/sweep.json").exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    done = {p: p.stat().st_mtime_ns for p in Path("out").rglob("*-*-*.json")}
    finished = sweep(**options, output="out")
    assert finished == sweep(**options)
    assert all(path.stat().st_mtime_ns == when for path, when in done.items())


def test_a_termination_that_python_loses_ends_the_command(
    run: Run, emo: Path, two_tasks: tuple[object, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    score = Scorer.score

    def interrupted(*arguments: Any) -> Any:
        found = score(*arguments)
        Interrupted(signal.SIGTERM)
        return found

    monkeypatch.setattr(Scorer, "score", interrupted)
    command = ("sweep", "-m", emo, *two_tasks, "-k", "4")
    stopped = run(*command)
    assert stopped.code == 128 + signal.SIGTERM
    assert "the same command goes on" in stopped.err
    monkeypatch.setattr(Scorer, "score", score)
    assert "3 cells to score" in run(*command).err


@pytest.mark.slow
def test_killed_before_any_of_its_writes_it_ends_with_the_same_bytes(
    run: Run, emo: Path, two_tasks: tuple[object, ...]
) -> None:
    options = (*two_tasks, "-k", "4", "--scores", "frequency,random")
    swept(run, emo, *options, "-o", "whole")
    command = ("sweep", "-m", emo, *options, "-o")
    for count in range(1, 20):
        output = Path(f"out-{count}")
        arguments = [str(one) for one in (count, *command, output)]
        process = [sys.executable, "-c", WRITES, *arguments]
        killed = subprocess.run(process, capture_output=True, check=False)
        if killed.returncode == 0:
            break
        assert killed.returncode == 9, killed.stderr
        assert not (output / "sweep.json").exists()
        assert run(*command, output).code == 0
        written = (output / "sweep.json").read_bytes()
        assert written == Path("whole/sweep.json").read_bytes()
    assert count > 10  # run.json, two tasks, two passes, six cells, sweep.json


def test_a_larger_sweep_computes_what_the_smaller_one_had_not(
    run: Run, emo: Path, two_tasks: tuple[object, ...]
) -> None:
    small = ("sweep", "-m", emo, *two_tasks[:4], "-k", "4")
    assert run(*small).code == 0
    options = (*two_tasks, "-k", "4,6", "--scores", "frequency,reap")
    larger = run("sweep", "-m", emo, *options)
    assert larger.code == 0, larger.err
    assert "8 cells to score" in larger.err  # of ten
    swept(run, emo, *options, "-o", "anew")
    assert SWEEP.read_bytes() == Path("anew/sweep.json").read_bytes()


@pytest.mark.parametrize(
    ("extra", "what"),
    [
        (["--limit", "2"], "limit"),
        (["--seed", "1"], "seed"),
        (["--dtype", "bfloat16"], "dtype"),
        (["--answer", "text"], "answer"),
        (["--lower-top-k"], "lower_top_k"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_other_options_are_refused_by_name(
    run: Run, emo: Path, example_files: Files, extra: list[str], what: str
) -> None:
    command = ("sweep", "-m", emo, *own(example_files), "-k", "4")
    assert run(*command).code == 0
    before = SWEEP.read_bytes()
    refused = run(*command, *extra)
    assert refused.code == 1
    assert f"another {what}" in refused.err
    assert SWEEP.read_bytes() == before
    if what == "limit":
        assert run(*command, *extra, "--force").code == 0
        assert json.loads(SWEEP.read_text())["tasks"][0]["n"] == 2


def test_another_model_and_other_examples_are_refused_by_name(
    run: Run, emo: Path, two_tasks: tuple[object, ...], tmp_path: Path
) -> None:
    assert run("sweep", "-m", emo, *two_tasks, "-k", "4").code == 0
    other = save_tiny(tmp_path / "other-emo", "emo", seed=1)
    refused = run("sweep", "-m", other, *two_tasks, "-k", "4")
    assert refused.code == 1
    assert "another model" in refused.err
    file = Path("second.jsonl")
    file.write_text("".join(file.read_text().splitlines(keepends=True)[:-1]))
    refused = run("sweep", "-m", emo, *two_tasks, "-k", "4")
    assert refused.code == 1
    assert "another test" in refused.err
    assert "--force" in refused.err


def test_a_damaged_cell_is_named(
    run: Run, emo: Path, two_tasks: tuple[object, ...]
) -> None:
    command = ("sweep", "-m", emo, *two_tasks, "-k", "4")
    assert run(*command).code == 0
    before = SWEEP.read_bytes()
    cell = STATE / "tasks/first/100-frequency-4.json"
    cell.write_text(cell.read_text()[:-9])
    refused = run(*command)
    assert refused.code == 1
    assert cell.name in refused.err
    cell.unlink()
    again = run(*command)
    assert "1 cells to score" in again.err
    assert SWEEP.read_bytes() == before


HOSTILE = {
    "100,000 levels": b"[" * 100_000,
    "a number of 5,000 digits": b'{"schema": ' + b"9" * 5000 + b"}",
    "a number of 400 digits": b'{"schema": ' + b"9" * 400 + b"}",
    "a list": b"[]",
    "nothing": b"",
    "no UTF-8": b"\xff\xfe{}",
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_of_an_interrupted_sweep_is_named(
    run: Run, emo: Path, example_files: Files, content: bytes
) -> None:
    command = ("sweep", "-m", emo, *own(example_files), "-k", "4")
    assert run(*command).code == 0
    files = [
        STATE / "run.json",
        *STATE.glob("tasks/*/*.json"),
        *STATE.glob("tasks/*/*.safetensors"),
    ]
    assert len(files) == 5
    for file in files:
        before = file.read_bytes()
        file.write_bytes(content)
        refused = run(*command)
        assert refused.code == 1, refused.err
        assert file.name in refused.err
        assert "--force" in refused.err
        assert "loading" not in refused.err
        file.write_bytes(before)
    SWEEP.write_bytes(content)
    with pytest.raises(ReportError, match=r"sweep\.json"):
        Sweep.load(SWEEP)
    assert run(*command).code == 0


def test_python_gets_a_document_and_keeps_nothing_unless_told(
    emo: Path, example_files: Files, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(example_files[0].parent))
    found = sweep(
        model=emo,
        examples=f"~/{example_files[0].name}",
        test=[example_files[1]],
        keep=[0.5, 6],
        scores=["frequency", "random"],
        calibration=3,
    )
    assert list(workplace.iterdir()) == []
    table = found.to_pandas()
    assert list(table["keep"][1:]) == ["0.5", "6"] * 2
    assert list(table[found.tasks[0].short]) == [r.cells[0].value for r in found.rows]
    assert repr(found) == "Sweep(tiny-emo on 1 tasks, 4 subsets, 0 other models)"
    assert "<td>random</td>" in found._repr_html_()
    file = found.save(workplace / "sweep.json")
    assert Sweep.load(file) == found
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ReportError, match="pandas"):
        found.to_pandas()


def test_models_of_other_kinds_stand_beside_the_subsets(
    run: Run, emo: Path, example_files: Files, tmp_path: Path
) -> None:
    other = save_tiny(tmp_path / "rival", "olmoe")
    options = (*own(example_files), "-k", "4", "--also", other)
    found = swept(run, emo, *options)
    (row,) = found["others"]
    assert row["model"] == "rival"
    assert row["num_bytes"] == open_checkpoint(str(other)).num_bytes
    scored = run("eval", "-m", other, "--examples", example_files[1], "--json")
    assert row["cells"][0]["value"] == scored.json["value"]
    shown = run("sweep", "-m", emo, *options)
    assert "rival" in shown.out.partition("on disk")[2]


def test_sizes_of_calibration_are_compared(
    run: Run, emo: Path, example_files: Files
) -> None:
    options = (*own(example_files), "-k", "4", "--calibration", "1,3,all")
    found = swept(run, emo, *options)
    assert [row["calibration"] for row in found["subsets"]] == ["1", "3", "all"]
    sizes = {one["size"]: one["num_examples"] for one in found["calibrations"]}
    assert sizes == {"1": 1, "3": 3, "all": 8}


def test_texts_without_choices_have_no_accuracy_and_no_common_mean(
    run: Run, emo: Path, example_files: Files, texts: Path
) -> None:
    both = (*own(example_files), *own((Path("other.jsonl"), texts)))
    found = swept(run, emo, *both, "-k", "4")
    assert [task["metric"] for task in found["tasks"]] == ["acc", "bits_per_byte"]
    assert found["full"]["mean"] is None
    shown = run("sweep", "-m", emo, *both, "-k", "4")
    assert "accuracy/bits per byte" in shown.out


def test_categories_of_mmlu_are_columns(
    run: Run, goldens: Path, data_dir: Path
) -> None:
    options = ("--tasks", "engineering,other", "--data-dir", data_dir, "-k", "50%")
    few = ("--limit", "2", "--num-fewshot", "1", "--calibration", "4")
    found = swept(run, goldens / "emo_shared1", *options, *few)
    assert [task["in_mean"] for task in found["tasks"]] == [True, False]
    assert found["tasks"][0]["name"] == "mmlu:engineering"
    assert found["tasks"][0]["num_fewshot"] == 1
    assert found["full"]["mean"]["n"] == 2


def test_benchmarks_that_changed_meanwhile_are_not_compared(
    run: Run, goldens: Path, data_dir: Path, tmp_path: Path
) -> None:
    for split in ("dev", "val", "test"):
        name = f"mmlu/{split}/electrical_engineering_{split}.csv"
        (tmp_path / name).parent.mkdir(parents=True)
        shutil.copy(data_dir / name, tmp_path / name)
    command = ("sweep", "-m", goldens / "emo_shared1", "--tasks", "engineering")
    few = ("--data-dir", tmp_path, "--limit", "2", "--num-fewshot", "0")
    assert run(*command, *few, "-k", "50%").code == 0
    questions_file = tmp_path / name
    lines = questions_file.read_text().splitlines(keepends=True)
    questions_file.write_text("".join(lines[1:]))
    refused = run(*command, *few, "-k", "50%,75%")
    assert refused.code == 1
    assert "data of a task changed" in refused.err


def test_mmlu_stands_for_its_categories() -> None:
    assert len(sweep_tasks(SweepOptions(tasks="mmlu"))) == 17
    tasks = sweep_tasks(SweepOptions(tasks="math, mmlu-pro,gsm8k"))
    assert len(tasks) == 16
    assert [tasks[0].name, tasks[-1].name] == ["mmlu:math", "gsm8k"]


@pytest.mark.parametrize(
    ("names", "examples", "tests", "said"),
    [
        (None, [], [], "no task"),
        ("math", ["a.jsonl"], [], "needs one to score"),
        ("math,mmlu", [], [], "same name"),
        (None, ["a.jsonl", "b.jsonl"], ["x/t.jsonl", "y/t.jsonl"], "same name"),
    ],
)
def test_tasks_that_cannot_be_told_apart_or_scored_are_refused(
    emo: Path,
    workplace: Path,
    names: str | None,
    examples: list[str],
    tests: list[str],
    said: str,
) -> None:
    for file in map(Path, (*examples, *tests)):
        file.parent.mkdir(exist_ok=True)
        file.write_text("")
    with pytest.raises(SettingsError, match=said):
        sweep(model=emo, tasks=names, examples=examples, test=tests)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"--keep": "1"}, "fewer experts than the router needs"),
        ({"--keep": "4,99"}, "more experts than the model has"),
        ({"--keep": ","}, "the list is empty"),
        ({"--keep": "4,half"}, "--keep"),
        ({"--scores": "frequency,luck"}, "no such score"),
        ({"--calibration": "none"}, "--calibration"),
        ({"--calibration": "1,9" + "9" * 5000}, "--calibration"),
        ({"--also": "nowhere"}, "nowhere"),
        ({"--test": "missing.jsonl"}, "missing.jsonl"),
        ({"--device": "tpu"}, "--device"),
        ({"--dtype": "int3"}, "--dtype"),
        ({"-m": ".", "-o": "here"}, "into the checkpoint"),
        ({"--compare-paper": "figures.json"}, "FILE:NAME"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_cannot_be_swept_is_refused_before_a_model_is_loaded(
    run: Run, emo: Path, example_files: Files, changed: dict[str, str], said: str
) -> None:
    calibration, test = example_files
    given = {"-m": emo, "--examples": calibration, "--test": test, "--keep": "4"}
    refused = run(
        "sweep", *(part for item in (given | changed).items() for part in item)
    )
    assert refused.code == 1
    assert said in refused.err
    assert "loading" not in refused.err
    assert "building" not in refused.err
    assert not SWEEP.exists()


def test_documents_that_chose_experts_are_not_scored(
    run: Run, emo: Path, example_files: Files
) -> None:
    same = (example_files[0], example_files[0])
    refused = run("sweep", "-m", emo, *own(same), "-k", "4")
    assert refused.code == 1
    assert "--allow-overlap" in refused.err
    assert run("sweep", "-m", emo, *own(same), "-k", "4", "--allow-overlap").code == 0
