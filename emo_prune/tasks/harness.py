"""What we need of lm-eval besides its task object: configs, and its silence.

Configs are found without lm-eval's index of 14,000, which takes 12 to 17 seconds.
"""

from __future__ import annotations

import glob
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from emo_prune.errors import Parameter, TaskError
from emo_prune.tasks.task import unknown_task

Config = dict[str, Any]
LETTERS = "ABCDEFGHIJ"


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back lm-eval's warnings and the progress bars of `datasets`."""
    import datasets

    logger = logging.getLogger("lm_eval")
    level = logger.level
    bars = not datasets.utils.are_progress_bars_disabled()
    logger.setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        logger.setLevel(level)
        if bars:
            datasets.enable_progress_bars()


def mmlu_config(subject: str, answer: str) -> Config:
    """Return lm-eval's config of an MMLU subject.

    `answer` "letter" is `mmlu_<subject>`, "text" is `mmlu_<subject>_continuation`.
    """
    style = "default" if answer == "letter" else "continuation"
    return _load(_root() / "mmlu" / style / f"mmlu_{subject}.yaml")


def mmlu_pro_config(category: str, answer: str) -> Config:
    """Return a config of one MMLU-Pro category, for `answer` "letter" or "text".

    lm-eval's own `mmlu_pro` generates up to 2,048 tokens of reasoning per question:
    name `mmlu_pro_law` and so on for it. Here the options are scored by log-likelihood,
    in the form of lm-eval's MMLU: with letters A to J, or without, scoring the options'
    words.
    """
    about = category.replace("_", " ")
    lettered = answer == "letter"
    opening = (
        "The following are multiple choice questions (with answers) about"
        if lettered
        else "The following are questions (with answers) about"
    )
    return {
        "task": f"mmlu_pro_{category}_{answer}",
        "dataset_path": "TIGER-Lab/MMLU-Pro",
        "output_type": "multiple_choice",
        "test_split": "test",
        "fewshot_split": "validation",
        "fewshot_config": {"sampler": "first_n"},
        "description": f"{opening} {about}.\n\n",
        "doc_to_text": _with_options if lettered else _question_only,
        "doc_to_choice": _letters if lettered else "options",
        "doc_to_target": _answer,
        "metric_list": [
            {"metric": "acc", "aggregation": "mean", "higher_is_better": True}
        ],
        "metadata": {"version": 1.0},
    }


def gsm8k_config() -> Config:
    """Return lm-eval's config of `gsm8k`."""
    return _load(_root() / "gsm8k" / "gsm8k.yaml")


def find_configs(name: str) -> list[Config]:
    """Return the configs behind any lm-eval name: a task, a group or a tag.

    A task whose file or folder bears its name is found at once, any other task by the
    line that names it; for groups and tags lm-eval builds its index.

    Raises:
        UnknownTask: lm-eval has no such name.
        TaskError: the name stands for something other than YAML tasks.
    """
    for path in chain(sorted(_near(name)), _naming(name)):
        if _load(path, resolve=False).get("task") == name:
            return [_checked(_load(path))]
    from lm_eval.tasks import TaskManager

    index = TaskManager().task_index
    if name not in index:
        raise unknown_task(name, tuple(index))
    paths = dict.fromkeys(_members(name, index))
    return [_checked(_load(path)) for path in paths]


def _with_options(row: Mapping[str, Any]) -> str:
    options = zip(LETTERS, row["options"], strict=False)
    listed = "\n".join(f"{letter}. {option}" for letter, option in options)
    return f"{row['question'].strip()}\n{listed}\nAnswer:"


def _question_only(row: Mapping[str, Any]) -> str:
    return f"Question: {row['question'].strip()}\nAnswer:"


def _letters(row: Mapping[str, Any]) -> list[str]:
    return list(LETTERS[: len(row["options"])])


def _answer(row: Mapping[str, Any]) -> int:
    return LETTERS.index(row["answer"])  # as lm-eval; a few `answer_index` are wrong


def _members(name: str, index: Any) -> Iterator[Path]:
    entry = index[name]
    kind = entry.kind.name
    if kind == "TAG":
        for member in sorted(entry.tags):
            yield from _members(member, index)
    elif kind == "GROUP":
        members = entry.cfg.get("task") or []
        for member in [members] if isinstance(members, str) else members:
            if not isinstance(member, str) or member not in index:
                raise TaskError(
                    "this lm-eval group changes its tasks as it names them",
                    where=name,
                    got=member,
                    expected="a group that lists task names",
                    hint="name one of its tasks instead",
                )
            yield from _members(member, index)
    else:
        yield entry.yaml_path


def _near(name: str) -> Iterator[Path]:
    pattern = glob.escape(name)
    yield from _root().rglob(f"{pattern}.yaml")
    for folder in _root().rglob(pattern):
        yield from folder.glob("*.yaml")


def _naming(name: str) -> Iterator[Path]:
    line = re.compile(
        rb"""^["']?task["']?:\s*["']?%b["']?\s*$""" % re.escape(name.encode()), re.M
    )
    for path in sorted(_root().rglob("*.yaml")):
        if line.search(path.read_bytes()):
            yield path


def _load(path: Path, *, resolve: bool = True) -> Config:
    # The one private name of lm-eval that we use: nothing public reads a config with
    # its functions but without its data.
    from lm_eval.tasks._yaml_loader import load_yaml

    config: Config = load_yaml(path, resolve_func=resolve)
    return config


def _checked(config: Config) -> Config:
    if "class" in config:
        raise TaskError(
            "this lm-eval task is a Python class",
            where=config.get("task"),
            expected="a task written in YAML",
            hint=(
                "choose another task, or write its prompts to a file for ",
                Parameter("examples"),
            ),
        )
    # structure of the index, not of a task
    return {k: v for k, v in config.items() if k not in {"tag", "group", "task_list"}}


def _root() -> Path:
    import lm_eval.tasks

    return Path(lm_eval.tasks.__file__).parent
