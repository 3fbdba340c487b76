"""From select to eval on carved models: a Llama with biases, and a released GPT-2."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file, save_file

from tests.cli.conftest import Run
from tests.evaluation.tiny import byte_tokenizer
from tests.tiny_emoe import carve_folder, dense_model
from tests.tiny_models import NUM_EXPERTS

NAMES = ("llama", "gpt2")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dense models, carved ones, and carved ones that pick every expert."""
    root = tmp_path_factory.mktemp("carved")
    for name in NAMES:
        changes = {"mlp_bias": True} if name == "llama" else {}
        dense = root / f"{name}-dense"
        dense_model(name, **changes).save_pretrained(dense)
        byte_tokenizer().save_pretrained(dense)
        if name == "gpt2":
            _without_prefix(dense / "model.safetensors")
        carve_folder(dense, root / name, top_k=3)
        carve_folder(dense, root / f"{name}-all", top_k=NUM_EXPERTS)
    return root


def _without_prefix(file: Path) -> None:
    """Name the tensors as the released GPT-2 checkpoints do."""
    tensors = {k.removeprefix("transformer."): v for k, v in load_file(file).items()}
    save_file(tensors, file, {"format": "pt"})


def kept(file: str) -> list[list[int]]:
    selection = json.loads(Path(file).read_text())
    return [layer["kept"] for layer in selection["layers"]]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("score", ["frequency", "probability", "easy-ep", "reap"])
@pytest.mark.parametrize("greedy", [(), ("--greedy",)])
def test_every_score_chooses_alike_loaded_and_layer_by_layer(
    run: Run, texts: Path, folders: Path, name: str, score: str, greedy: tuple[str]
) -> None:
    for way in ("--stream", "--no-stream"):
        made = run(
            "select", "-m", folders / name, "--examples", texts, "-k", "4",
            "--score", score, *greedy, way, "-o", way,
        )  # fmt: skip
        assert made.code == 0, made.err
    found = kept("--stream/selection.json")
    assert found == kept("--no-stream/selection.json")
    assert [len(ids) for ids in found] == [4, 4]


@pytest.fixture
def questions(workplace: Path) -> Path:
    """Questions whose likeliest answers differ from model to model."""
    rng = random.Random(0)
    rows = [
        {"prompt": "".join(rng.choices(letters, k=12)), "completion": choices[0],
         "choices": choices, "answer": 0}
        for letters in ["abcdefghijklmnopqrstuvwxyz0123456789"] * 24
        for choices in [rng.sample(letters, 8)]
    ]  # fmt: skip
    file = workplace / "questions.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def answers(document: Any) -> list[str]:
    return [q["answer"] for task in document["tasks"] for q in task["questions"]]


@pytest.mark.parametrize("name", NAMES)
def test_answers_masked_are_those_of_the_export(
    run: Run, texts: Path, questions: Path, folders: Path, name: str
) -> None:
    source = folders / name
    select = ("select", "-m", source, "--examples", texts, "-k", "2", "-o", "s")
    assert run(*select).code == 1  # three experts a token
    assert run(*select, "--lower-top-k").code == 0
    assert run("export", "-m", source, "-s", "s/selection.json").code == 0
    assert run("verify", "s/checkpoint", "--source", source).code == 0
    config = json.loads(Path("s/checkpoint/config.json").read_text())
    assert (config["num_experts"], config["num_experts_per_tok"]) == (2, 2)
    ask = ("--examples", questions, "--json")
    both = run("eval", "--model", source, "-s", "s/selection.json", *ask)
    assert both.code == 0, both.err
    exported = run("eval", "s/checkpoint", *ask)
    assert exported.code == 0, exported.err
    whole, masked = both.json["results"]
    assert answers(masked) == answers(exported.json)
    assert answers(masked) != answers(whole)


@pytest.mark.parametrize("name", NAMES)
def test_with_every_expert_it_answers_as_the_dense_model(
    run: Run, questions: Path, folders: Path, name: str
) -> None:
    dense, everyone, carved = (
        answers(run("eval", folders / f, "--examples", questions, "--json").json)
        for f in (f"{name}-dense", f"{name}-all", name)
    )
    assert everyone == dense
    assert carved != dense


def test_examples_longer_than_the_table_of_positions_are_refused(
    run: Run, workplace: Path, folders: Path
) -> None:
    shutil.copytree(folders / "gpt2", "gpt2")
    config = json.loads(Path("gpt2/config.json").read_text())
    Path("gpt2/config.json").write_text(
        json.dumps(config | {"max_position_embeddings": 1000})
    )
    Path("long.txt").write_text("abc " * 100)
    select = ("select", "-m", "gpt2", "--examples", "long.txt", "-k", "4")
    refused = run(*select, "--stream")
    assert refused.code == 1
    assert "tokens; expected at most 256" in " ".join(refused.err.split())
