"""`emo-prune pretrain`: from text to a checkpoint that the other commands take."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from emo_prune.locks import held
from tests.cli.conftest import Outcome, Run

SETTINGS = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 16, "num_experts": 8, "num_experts_per_tok": 3,
    "small_num_experts": 4, "vocab_size": 300, "pool_min": 2, "pool_max": 7,
    "sequence_length": 32, "batch_size": 4, "micro_batch_size": 2, "tokens": 1024,
    "anneal_tokens": 256, "warmup_steps": 2, "log_steps": 2, "save_steps": 4,
    "save_dtype": "float32",
}  # fmt: skip
STEPS = 10  # of 4 x 32 tokens


@pytest.fixture
def corpus(workplace: Path) -> Path:
    rows = [
        {"text": f"{word} number {i} " + "and on " * (i % 9), "domain": word}
        for i in range(60)
        for word in ("boat", "hill")
    ]
    file = workplace / "corpus" / "made-up.jsonl"
    file.parent.mkdir()
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def arguments(corpus: Path, output: str, *more: object, **settings: Any) -> list[str]:
    own = {str(flag).removeprefix("--").replace("-", "_") for flag in more}
    given = {key: value for key, value in SETTINGS.items() if key not in own}
    chosen = [f"--set={key}={value}" for key, value in (given | settings).items()]
    return [
        "pretrain", str(corpus), "-o", output, "--token-cache", "tokens",
        "--track", "none", "--device", "cpu", *chosen, *map(str, more),
    ]  # fmt: skip


def weights(folder: str) -> dict[str, Any]:
    tensors: dict[str, Any] = load_file(Path(folder) / "model.safetensors")
    return tensors


def equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return set(one) == set(other) and all(one[name].equal(other[name]) for name in one)


def in_a_process(*command: str, code: int = 0) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stderr


def test_the_result_walks_the_whole_road(run: Run, corpus: Path) -> None:
    made = run(*arguments(corpus, "model", save_dtype="bfloat16"))
    assert made.code == 0, made.err
    assert run("inspect", "model", "--json").json["num_experts"] == 8
    chosen = run("select", "-m", "model", "--examples", corpus, "--keep", "4")
    assert chosen.code == 0, chosen.err
    assert run("export", "--model", "model").code == 0
    export = "emo-prune-out/made-up/checkpoint"
    assert run("verify", export, "--source", "model").code == 0
    assert AutoModelForCausalLM.from_pretrained(export).config.num_experts == 4
    scored = ("--examples", corpus, "--allow-overlap", "--json")
    for folder in ("model", export):
        assert run("eval", folder, *scored).code == 0
    refused = run("export", "--model", "model", "-o", "model", "--force")
    assert refused.code == 1  # it would replace what was trained


def test_the_record_says_what_was_trained_on_what(run: Run, corpus: Path) -> None:
    made = run(*arguments(corpus, "model", "--json", log_steps=3))
    assert made.code == 0, made.err
    record = made.json
    assert record == json.loads(Path("model/emo_prune.json").read_text())
    assert record["variant"] == "emo"
    assert record["recipe"]["tokens"] == 1024
    assert (record["steps"], record["tokens"]) == (STEPS, STEPS * 128)
    assert record["data"]["sources"][0]["name"] == "made-up.jsonl"
    assert {one["name"] for one in record["data"]["domains"]} == {"boat", "hill"}
    losses = [loss for _, loss in record["loss_by_step"]]
    assert len(losses) == -(-STEPS // 3)  # the last step has a line, too
    assert losses[-1] < losses[0]
    lines = Path("model.run/metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert {"loss", "load_balancing_loss", "token_entropy", "document_entropy",
            "experts_per_document", "learning_rate"} <= set(rows[0])  # fmt: skip
    assert 2 <= rows[0]["experts_per_document"] <= 7


def test_the_same_command_gives_the_same_bytes(run: Run, corpus: Path) -> None:
    for output in ("one", "two"):
        assert run(*arguments(corpus, output)).code == 0
    for name in ("model.safetensors", "emo_prune.json", "tokenizer.json"):
        assert Path("one", name).read_bytes() == Path("two", name).read_bytes()


KILL = """
import os, sys
from emo_prune.cli import main
from emo_prune.pretraining.trainer import PoolTrainer

where, step = sys.argv[1], int(sys.argv[2])
if where == "step":
    real = PoolTrainer.training_step
    def dying(self, *args, **kwargs):
        if self.state.global_step == step:
            os._exit(9)
        return real(self, *args, **kwargs)
    PoolTrainer.training_step = dying
else:
    name = {"saving": "_save_rng_state", "publishing": None}[where]
    if name:
        real = getattr(PoolTrainer, name)
        def dying(self, *args, **kwargs):
            if self.state.global_step == step:
                os._exit(9)
            return real(self, *args, **kwargs)
        setattr(PoolTrainer, name, dying)
    else:
        import emo_prune.pretraining.model as model
        model.publish = lambda *_, **__: os._exit(9)
sys.exit(main(sys.argv[3:]))
"""


@pytest.mark.parametrize(
    ("where", "step"), [("step", 2), ("step", 7), ("saving", 8), ("publishing", 0)]
)
def test_killed_anywhere_it_goes_on_to_the_same_weights(
    run: Run, corpus: Path, where: str, step: int
) -> None:
    assert run(*arguments(corpus, "whole")).code == 0
    command = arguments(corpus, "part")
    in_a_process(sys.executable, "-c", KILL, where, str(step), *command, code=9)
    assert not Path("part").exists()
    refused = run(*command)
    assert refused.code == 1
    assert "--resume" in refused.err
    assert run(*command, "--resume").code == 0
    assert equal(weights("whole"), weights("part"))
    for name in ("model/emo_prune.json", "model.run/metrics.jsonl"):
        whole, part = (Path(name.replace("model", one)) for one in ("whole", "part"))
        assert whole.read_bytes() == part.read_bytes()


def test_another_recipe_or_text_does_not_go_on(run: Run, corpus: Path) -> None:
    command = arguments(corpus, "part")
    in_a_process(sys.executable, "-c", KILL, "step", "5", *command, code=9)
    other = run(*arguments(corpus, "part", "--resume", learning_rate=1e-4))
    assert other.code == 1
    assert "recipe.learning_rate" in other.err
    with corpus.open("a") as file:
        file.write('{"text": "one more"}\n')
    assert "tokens_sha256" in run(*command, "--resume").err
    Path("part.run/run.json").write_text("{")
    assert_named(run(*command, "--resume"), "damaged")


@pytest.mark.parametrize("variant", ["standard", "dense", "small-standard"])
def test_variants_are_other_models_of_the_same_recipe(
    run: Run, corpus: Path, variant: str
) -> None:
    made = run(*arguments(corpus, "model", "--variant", variant))
    assert made.code == 0, made.err
    config = AutoModelForCausalLM.from_pretrained("model").config
    if variant == "dense":
        assert config.model_type == "olmo2_noqknorm_prenorm"
        assert config.intermediate_size == 3 * 16  # what a token uses of the experts
    else:
        assert config.num_experts == {"standard": 8, "small-standard": 4}[variant]


def test_pools_of_all_experts_train_what_standard_trains(
    run: Run, corpus: Path
) -> None:
    for variant, pool in (("standard", 2), ("emo", 7)):
        made = run(
            *arguments(corpus, variant, "--variant", variant, pool_min=pool, pool_max=7)
        )
        assert made.code == 0, made.err
    assert equal(weights("standard"), weights("emo"))
    assert run(*arguments(corpus, "pools")).code == 0
    assert not equal(weights("standard"), weights("pools"))


def test_checkpointed_activations_and_mixed_precision_train_as_well(
    run: Run, corpus: Path
) -> None:
    plain = run(*arguments(corpus, "plain", "--json"))
    saving = run(*arguments(corpus, "saving", "--json", gradient_checkpointing="true"))
    assert saving.code == 0, saving.err
    assert equal(weights("plain"), weights("saving"))
    mixed = run(*arguments(corpus, "mixed", "--json", precision="bfloat16"))
    assert mixed.code == 0, mixed.err
    assert not equal(weights("plain"), weights("mixed"))
    losses = [one.json["final"]["loss"] for one in (plain, mixed)]
    assert losses[1] == pytest.approx(losses[0], abs=0.1)


def test_a_standard_moe_is_annealed_with_pools(run: Run, corpus: Path) -> None:
    assert run(*arguments(corpus, "standard", "--variant", "standard")).code == 0
    anneal = ("--variant", "emo-anneal", "--init-from", "standard")
    made = run(*arguments(corpus, "annealed", *anneal, "--json", tokens=10**6))
    assert made.code == 0, made.err
    assert made.json["steps"] == 2
    assert made.json["initialised_from"].startswith("sha256:")
    assert not equal(weights("standard"), weights("annealed"))
    tokenizer = [Path(one, "tokenizer.json") for one in ("standard", "annealed")]
    assert tokenizer[0].read_bytes() == tokenizer[1].read_bytes()


def test_two_processes_train_as_one_does(run: Run, corpus: Path) -> None:
    one = run(*arguments(corpus, "one", micro_batch_size=4))
    assert one.code == 0, one.err
    in_a_process(
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2",
        "-m", "emo_prune", *arguments(corpus, "two", micro_batch_size=2),
    )  # fmt: skip
    first, second = weights("one"), weights("two")
    assert set(first) == set(second)
    for name, tensor in first.items():
        assert (tensor - second[name]).abs().max() < 1e-4, name


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--variant", "emo-anneal"), "--init-from"),
        (("--init-from", "somewhere"), "--init-from"),
        (("--set", "tokens"), "NAME=VALUE"),
        (("--set", "tokens=3"), "given twice"),
        (("--set", "tokns=3"), "tokns"),
        (("--recipe", "nothing"), "tiny-cpu"),
        (("--vocab-size", "100"), "258"),
        (("--resume",), "no training to go on with"),
        (("--fsdp",), "several processes"),
        (("--track", "paper"), "no such tracker"),
        (("--tokenizer", "nowhere"), "no such folder"),
    ],
)
def test_bad_input_is_named_and_leaves_no_output(
    run: Run, corpus: Path, more: tuple[str, ...], says: str
) -> None:
    refused = run(*arguments(corpus, "model", *more))
    assert_named(refused, says)
    assert not Path("model").exists()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"tokens": 0, "anneal_tokens": 0}, "nothing to train"),
        ({"micro_batch_size": 3}, "multiple of 3"),
        ({"learning_rate": 1e30}, "not a number any more"),
        ({"experts_implementation": "magic"}, "magic"),
        ({"hidden_size": 2 * 10**14}, "of these sizes"),
    ],
)
def test_settings_that_cannot_be_are_named_and_leave_no_output(
    run: Run, corpus: Path, settings: dict[str, Any], says: str
) -> None:
    assert_named(run(*arguments(corpus, "model", **settings)), says)
    assert not Path("model").exists()


def test_a_mistake_corrected_needs_no_force(run: Run, corpus: Path) -> None:
    assert run(*arguments(corpus, "model", vocab_size=100)).code == 1
    made = run(*arguments(corpus, "model"))
    assert made.code == 0, made.err
    assert Path("model/config.json").is_file()


def test_two_trainings_in_one_place_are_refused(run: Run, corpus: Path) -> None:
    command = arguments(corpus, "part")
    in_a_process(sys.executable, "-c", KILL, "step", "5", *command, code=9)
    with held(Path("part.run")) as is_held:
        assert is_held
        assert_named(run(*command, "--resume"), "another process")
    assert run(*command, "--resume").code == 0


def test_what_is_there_is_not_overwritten(run: Run, corpus: Path) -> None:
    Path("model").mkdir()
    Path("model/thesis.txt").write_text("years of work")
    assert_named(run(*arguments(corpus, "model")), "exists already")
    assert_named(
        run(*arguments(corpus, "model", "--force")),
        "is nothing that --force may replace",
    )
    assert Path("model/thesis.txt").read_text() == "years of work"


def test_missing_text_is_named(run: Run, workplace: Path) -> None:
    assert_named(run(*arguments(workplace / "nowhere.jsonl", "model")), "nowhere.jsonl")


def assert_named(refused: Outcome, says: str) -> None:
    assert refused.code == 1
    assert "Traceback" not in refused.err
    assert "hint:" in refused.err
    assert says in refused.err
