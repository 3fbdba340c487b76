"""A training that is stopped says what is kept; what cannot be is refused at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import emo_prune
from emo_prune.errors import BadRecipe, StaleTraining
from emo_prune.pretraining import PretrainRecord, read_recipe
from emo_prune.pretraining.document import TrainingIdentity
from tests.cli.conftest import Run
from tests.cli.test_pretrain import arguments, assert_named, corpus, equal, weights

__all__ = ["corpus"]

STOPPED = """
import os, sys
from emo_prune.cli import main
from emo_prune.pretraining.trainer import PoolTrainer

how, step = sys.argv[1], int(sys.argv[2])
real = PoolTrainer.training_step
def stopping(self, *args, **kwargs):
    loss = real(self, *args, **kwargs)
    if self.state.global_step == step:
        if how == "disk":
            import resource
            resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        else:
            os.kill(os.getpid(), int(how))
    return loss
PoolTrainer.training_step = stopping
sys.exit(main(sys.argv[3:]))
"""


def stopped(how: object, step: int, command: list[str]) -> tuple[int, str]:
    """Run a command that is stopped in its (step + 1)th step: its code, its words."""
    done = subprocess.run(
        [sys.executable, "-c", STOPPED, str(how), str(step), *command],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert not Path("part").exists()
    assert "Traceback" not in done.stderr
    return done.returncode, " ".join(done.stderr.split())


@pytest.mark.parametrize(("signal", "code"), [(2, 130), (15, 143)])
def test_interrupted_it_says_what_is_kept_and_lost_and_how_to_go_on(
    run: Run, corpus: Path, signal: int, code: int
) -> None:
    command = arguments(corpus, "part")
    got, said = stopped(signal, 6, command)
    assert got == code
    assert "stopped after step 6 of 10: part.run holds the checkpoint of step 4" in said
    assert "so that 2 steps are lost; --resume goes on" in said
    assert run(*command, "--resume").code == 0
    assert run(*arguments(corpus, "whole")).code == 0
    assert equal(weights("whole"), weights("part"))


def test_before_the_first_checkpoint_all_steps_are_lost(run: Run, corpus: Path) -> None:
    command = arguments(corpus, "part")
    _, said = stopped(2, 3, command)
    assert "part.run holds no checkpoint yet, so that 3 steps are lost" in said
    assert "--resume goes on" in said
    assert run(*command, "--resume").code == 0


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such limits")
def test_a_full_disk_is_named_and_leaves_what_goes_on(run: Run, corpus: Path) -> None:
    command = arguments(corpus, "part")
    code, said = stopped("disk", 6, command)
    assert code == 1
    assert "error: the training cannot go on; in part.run, after step" in said
    assert "the checkpoint of step 4" in said
    assert run(*command, "--resume").code == 0


def test_how_long_it_takes_is_said_first_annealing_included(
    run: Run, corpus: Path
) -> None:
    done = run(*arguments(corpus, "model", "--tokens", "2e3"))
    assert done.code == 0, done.err
    said = done.err.splitlines()[0]
    assert said == (
        "to train emo: 18 steps, 2,304 tokens: 16 steps (2,048 tokens), "
        "then 2 (256 tokens) of annealing"
    )
    assert "2,304 tokens" in done.out


EAGER = """
import json, sys
from emo_prune.cli import main
from emo_prune.progress import Silent
for arguments in json.loads(sys.argv[1]):
    code = main(arguments)
    if code not in (1, 2):
        sys.exit(f"{arguments}: {code}")
    if "torch" in sys.modules or "datasets" in sys.modules:
        sys.exit(f"{arguments}: torch or datasets was imported")
"""

ONCE = {
    "pretrain": [
        ["--recipe", "nothing"],
        ["--set", "tokens"],
        ["--set", "tokns=3"],
        ["--set", "micro_batch_size=3"],
        ["--set", "seed=5000000000"],
        ["--set", "adam_beta1=1"],
        ["--tokens", "many"],
        ["--tokens", "0", "--set", "anneal_tokens=0"],
        ["--vocab-size", "100"],
        ["--variant", "emo-anneal"],
        ["--variant", "emo-anneal", "--init-from", "nowhere"],
        ["--init-from", "somewhere"],
        ["--tokenizer", "nowhere"],
        ["--track", "paper"],
        ["--resume"],
        ["--resume", "--force"],
        ["--fsdp"],
        ["--device", "tpu"],
        ["-o", "taken"],
    ],
    "carve": [
        ["--layers", "some"],
        ["--top-k", "17"],
        ["--method", "magic"],
        ["--gate", "down"],
        ["--max-shard-size", "big"],
        ["--cache", "kept"],
        ["--num-examples", "none", "--task", "math"],
        ["--examples", "nothing.jsonl"],
        ["--task", "math", "--device", "tpu"],
        ["--task", "math", "--dtype", "int3"],
        ["--task", "mmlu:no-such-category"],
    ],
    "restore": [[], ["--dense", "--max-shard-size", "0"]],
}


@pytest.mark.parametrize("verb", ONCE)
def test_what_options_say_is_refused_before_anything_is_imported(
    corpus: Path, workplace: Path, verb: str
) -> None:
    (workplace / "taken").mkdir()
    (workplace / "taken" / "thesis.txt").touch()
    given = {"pretrain": [str(corpus)], "carve": ["org/name"], "restore": ["org/name"]}
    commands = [
        [verb, *given[verb], *([] if "-o" in more else ["-o", "out"]), *more]
        for more in ONCE[verb]
    ]
    before = sorted(workplace.rglob("*"))
    done = subprocess.run(
        [sys.executable, "-c", EAGER, json.dumps(commands)],
        capture_output=True, text=True, check=False, env=os.environ,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(workplace.rglob("*")) == before


FIRST = """
import sys
from emo_prune import pretrain
from emo_prune.progress import Silent
class Hearing(Silent):
    def say(self, text):
        print("torch" in sys.modules, text)
        if "importing" in text:
            sys.exit()
pretrain(sys.argv[1], output="out", progress=Hearing())
"""


def test_something_is_said_before_anything_slow_begins(corpus: Path) -> None:
    command = [sys.executable, "-c", FIRST, str(corpus)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert first.startswith("False to train emo: ")
    assert second == "False importing torch and transformers"


def test_an_empty_folder_is_taken(run: Run, corpus: Path) -> None:
    Path("model").mkdir()
    made = run(*arguments(corpus, "model"))
    assert made.code == 0, made.err
    assert Path("model/config.json").is_file()


DEEP, DIGITS = "[" * 100_000, "9" * 5000
HOSTILE = {
    "deep": f'{{"schema": "emo-prune/run/1", "recipe": {DEEP}',
    "digits": f'{{"schema": "emo-prune/run/1", "recipe": {DIGITS}}}',
    "large": f'{{"schema": "emo-prune/run/1", "variant": {DIGITS[:400]}}}',
    "mark": "\ufeff{}",
    "list": "[]",
}


def test_a_hostile_run_or_cache_is_named(run: Run, corpus: Path) -> None:
    command = arguments(corpus, "part")
    stopped(2, 5, command)  # once for all of them: a training takes seconds
    identity = Path("part.run/run.json")
    whole = identity.read_text()
    for text in HOSTILE.values():
        identity.write_text(text, encoding="utf-8")
        assert_named(run(*command, "--resume"), "damaged")
    identity.write_text(whole)
    (meta,) = Path("tokens").glob("*/meta.json")
    for text in HOSTILE.values():
        meta.write_text(text.replace("/run/", "/token-cache/"), encoding="utf-8")
        assert_named(run(*command, "--resume"), "meta.json is not whole")


@pytest.mark.parametrize(
    "line", [f"a = {DEEP}", f"tokens = {DIGITS}", f"tokens = {DIGITS[:400]}", "\0",
             "= 1", "tokens = 1\ntokens = 2", "learning_rate = inf", "balance = [1]",
             "tokens = 1979-05-27"],
)  # fmt: skip
def test_a_hostile_recipe_is_named(tmp_path: Path, line: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(line)
    with pytest.raises(BadRecipe) as caught:
        read_recipe(str(file))
    assert len(str(caught.value)) < 3000


def test_a_recipe_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    folder = Path(emo_prune.__file__).parent / "pretraining" / "recipes"
    file = tmp_path / "mine.toml"
    file.write_bytes(b"\xef\xbb\xbf" + (folder / "tiny-cpu.toml").read_bytes())
    assert read_recipe(str(file)) == read_recipe("tiny-cpu")


def test_a_run_of_another_shape_is_named(corpus: Path) -> None:
    stopped(2, 5, arguments(corpus, "part"))
    identity = Path("part.run/run.json")
    whole = json.loads(identity.read_text())
    changes: list[dict[str, Any]] = [
        {"variant": "other"}, {"recipe": {}}, {"recipe": []}, {"more": 1},
        {"tokens_sha256": "sha256:0"},
    ]  # fmt: skip
    for change in changes:
        identity.write_text(json.dumps(whole | change))
        with pytest.raises(StaleTraining):
            TrainingIdentity.load(identity)


def test_a_record_that_is_read_is_written_with_the_same_bytes(
    run: Run, corpus: Path
) -> None:
    assert run(*arguments(corpus, "model")).code == 0
    data = Path(emo_prune.__file__).parent / "quickstart" / "data"
    for folder in (Path("model"), data / "worlds-emo"):  # which lacks newer settings
        file = folder / "emo_prune.json"
        assert PretrainRecord.load(file).to_text() == file.read_text()
