"""docs/python.md is what the functions say, and its examples run."""

from __future__ import annotations

import importlib.util
import json
import runpy
from pathlib import Path
from typing import Any

import pytest

import emo_prune
from tests.cli.conftest import MADE_UP
from tests.evaluation.tiny import byte_tokenizer
from tests.tiny_emoe import dense_model
from tests.tiny_models import save_tiny

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLES = REPOSITORY / "docs/python"
# In an order in which each finds what an earlier one wrote.
ORDER = (
    *("main", "inspect", "select", "reselect", "export", "verify", "extract"),
    *("evaluate", "sweep", "report", "carve", "restore", "pretrain"),
)
TINY = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 16, "num_experts": 8, "num_experts_per_tok": 3,
    "small_num_experts": 4, "vocab_size": 300, "pool_min": 2, "pool_max": 7,
    "sequence_length": 32, "batch_size": 4, "micro_batch_size": 2, "tokens": 256,
    "anneal_tokens": 128, "warmup_steps": 1, "log_steps": 1, "save_steps": 4,
    "save_dtype": "float32",
}  # fmt: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, a dense one, examples, a corpus and a recipe."""
    folder = tmp_path_factory.mktemp("python")
    save_tiny(folder / "model", "emo")
    dense_model("llama").save_pretrained(folder / "dense")
    byte_tokenizer().save_pretrained(folder / "dense")
    for name, rows in (("calibration", MADE_UP[::2]), ("questions", MADE_UP[1::2])):
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text)
    corpus = [{"text": f"number {i} " + "and on " * (i % 9)} for i in range(60)]
    (folder / "corpus.jsonl").write_text("".join(json.dumps(r) + "\n" for r in corpus))
    recipe = (REPOSITORY / "emo_prune/pretraining/recipes/tiny-cpu.toml").read_text()
    lines = [line for line in recipe.splitlines() if line.split(" ")[0] not in TINY]
    lines += [f"{key} = {json.dumps(value)}" for key, value in TINY.items()]
    (folder / "tiny.toml").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(autouse=True)
def in_the_folder(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(files)


def test_every_verb_has_an_example() -> None:
    verbs = {n for n in emo_prune.__all__ if hasattr(getattr(emo_prune, n), "options")}
    shown = {file.stem for file in EXAMPLES.glob("*.py")}
    assert {name for name in verbs if not name.endswith("_all")} <= shown
    assert shown == {*ORDER}


@pytest.mark.parametrize("name", ORDER)
def test_example_runs(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / f"{name}.py"))
    assert capsys.readouterr().out


def test_the_main_job_takes_six_lines() -> None:
    lines = (EXAMPLES / "main.py").read_text().splitlines()
    assert len([line for line in lines if line]) <= 6


def test_python_page_is_current() -> None:
    writer = _writer()
    assert writer.PAGE.read_text() == writer.python_page(), (
        "run: python docs/write_python_page.py"
    )


def _writer() -> Any:
    path = REPOSITORY / "docs/write_python_page.py"
    spec = importlib.util.spec_from_file_location("write_python_page", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
