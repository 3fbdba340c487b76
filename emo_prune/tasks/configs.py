"""Find lm-eval's task configs without building its index of 14,000 (12 to 17 s)."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from emo_prune.errors import TaskError
from emo_prune.tasks.task import unknown_task

Config = dict[str, Any]


def mmlu_config(subject: str, answer: str) -> Config:
    """Return lm-eval's config of an MMLU subject.

    `answer` "letter" is `mmlu_<subject>`, "text" is `mmlu_<subject>_continuation`.
    """
    style = "default" if answer == "letter" else "continuation"
    return _load(_root() / "mmlu" / style / f"mmlu_{subject}.yaml")


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
    # the one private name of lm-eval that we use: nothing public reads a config with
    # its functions but without its data
    from lm_eval.tasks._yaml_loader import load_yaml

    config: Config = load_yaml(path, resolve_func=resolve)
    return config


def _checked(config: Config) -> Config:
    if "class" in config:
        raise TaskError(
            "this lm-eval task is a Python class",
            where=config.get("task"),
            expected="a task written in YAML",
            hint="choose another task, or write its prompts to a file for --examples",
        )
    # structure of the index, not of a task
    return {k: v for k, v in config.items() if k not in {"tag", "group", "task_list"}}


def _root() -> Path:
    import lm_eval.tasks

    return Path(lm_eval.tasks.__file__).parent
