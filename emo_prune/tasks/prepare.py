"""From a task's name to lm-eval task objects, and which of their splits calibrate.

Importing this module is light; calling it imports lm-eval and datasets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from emo_prune.errors import Parameter, TaskError
from emo_prune.tasks.documents import (
    HELD_OUT,
    divided,
    emo_mmlu,
    emo_mmlu_pro,
    load_splits,
    without_absent_splits,
)
from emo_prune.tasks.examples import ExampleRow, example_config, example_document
from emo_prune.tasks.harness import (
    find_configs,
    gsm8k_config,
    mmlu_config,
    mmlu_pro_config,
    quiet,
)
from emo_prune.tasks.task import MMLU_CATEGORIES, MMLU_PRO_CATEGORIES, Task, TaskOptions

if TYPE_CHECKING:
    from emo_prune.tasks.prompted import PromptedTask

_STANDARD_FEWSHOT = {"mmlu": 5, "mmlu-pro": 5, "gsm8k": 8}


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """One lm-eval task, its category, and the splits whose documents may calibrate."""

    task: PromptedTask
    category: str
    calibration: tuple[str, ...]


def prepare(task: Task, options: TaskOptions) -> tuple[Prepared, ...]:
    """Return the lm-eval tasks behind a benchmark's name, in a fixed order.

    Raises:
        UnknownTask: lm-eval has no such task.
        DataMissing: the data are neither in `data_dir` nor to be had from the Hub.
        TaskError: the task cannot be prompted as asked.
    """
    with quiet():
        if task.kind == "mmlu":
            return _mmlu(task, options)
        if task.kind == "mmlu-pro":
            return _mmlu_pro(task, options)
        configs = [gsm8k_config()] if task.kind == "gsm8k" else find_configs(task.name)
        return tuple(_any(config, task, options) for config in configs)


def prepare_examples(task: Task, rows: tuple[ExampleRow, ...]) -> Prepared:
    """Return the lm-eval task that scores a user's own examples."""
    from datasets import Dataset

    documents = Dataset.from_list([example_document(row) for row in rows])
    with quiet():
        built = _build(
            example_config(task.name, rows[0].form), {"test": documents}, num_fewshot=0
        )
    return Prepared(task=built, category=task.name, calibration=())


def _mmlu(task: Task, options: TaskOptions) -> tuple[Prepared, ...]:
    categories = [task.category] if task.category else list(MMLU_CATEGORIES)
    return tuple(
        _mmlu_subject(category, subject, options)
        for category in categories
        for subject in MMLU_CATEGORIES[category]
    )


def _mmlu_subject(category: str, subject: str, options: TaskOptions) -> Prepared:
    config = mmlu_config(subject, options.answer)
    splits = load_splits(config, options)
    calibration = ("dev", "validation")
    if options.protocol == "emo":
        splits = divided(splits, *emo_mmlu(len(splits["test"])))
        calibration = (HELD_OUT, "validation")
    built = _build(config, splits, _num_fewshot("mmlu", config, options))
    return Prepared(task=built, category=category, calibration=calibration)


def _mmlu_pro(task: Task, options: TaskOptions) -> tuple[Prepared, ...]:
    categories = [task.category] if task.category else MMLU_PRO_CATEGORIES
    everything = load_splits(mmlu_pro_config("law", options.answer), options)
    return tuple(_mmlu_pro_category(name, everything, options) for name in categories)


def _mmlu_pro_category(
    category: str, everything: Mapping[str, Any], options: TaskOptions
) -> Prepared:
    config = mmlu_pro_config(category, options.answer)
    upstream = category.replace("_", " ")
    splits = {
        split: rows.select([i for i, c in enumerate(rows["category"]) if c == upstream])
        for split, rows in everything.items()
    }
    calibration = ("validation",)
    if options.protocol == "emo":
        splits = divided(splits, *emo_mmlu_pro(len(splits["test"])))
        calibration = (HELD_OUT,)
    built = _build(config, splits, _num_fewshot("mmlu-pro", config, options))
    return Prepared(task=built, category=category, calibration=calibration)


def _any(config: dict[str, Any], task: Task, options: TaskOptions) -> Prepared:
    """Prepare any other lm-eval task.

    Its training documents calibrate, else its validation documents, else its
    demonstrations; never the split that is scored. If there is no other split the
    "emo" protocol divides it 60 / 40 like a subject of MMLU, "standard" leaves none.
    """
    num_fewshot = _num_fewshot(task.kind, config, options)
    splits = load_splits(config, options)
    config = without_absent_splits(config, splits, num_fewshot)
    scored = config.get("test_split") or config.get("validation_split")
    if scored is None:
        raise TaskError(
            "this lm-eval task has nothing to score",
            where=config["task"],
            got=", ".join(splits) or "no splits",
            expected="a test or validation split",
            hint=("add one to ", Parameter("data_dir"), ", or choose another task"),
        )
    keys = ("training_split", "validation_split", "fewshot_split")
    other = [config[key] for key in keys if config.get(key) not in (None, scored)]
    if not other and options.protocol == "emo":
        splits = divided(splits, *emo_mmlu(len(splits[scored])), scored_split=scored)
        other = [HELD_OUT]
    built = _build(config, splits, num_fewshot)
    return Prepared(task=built, category=config["task"], calibration=tuple(other[:1]))


def _num_fewshot(kind: str, config: Mapping[str, Any], options: TaskOptions) -> int:
    default = config.get("num_fewshot")
    asked = options.num_fewshot
    if asked is None:
        return int(_STANDARD_FEWSHOT.get(kind, default or 0))
    if default == 0 and asked > 0:
        raise TaskError(
            "this lm-eval task is defined without demonstrations",
            where=config["task"],
            got=Parameter("num_fewshot", asked),
            expected="0",
            hint=("leave ", Parameter("num_fewshot"), " out"),
        )
    return asked


def _build(
    config: dict[str, Any], splits: Mapping[str, Any], num_fewshot: int
) -> PromptedTask:
    from emo_prune.tasks.prompted import PromptedTask

    scored = config.get("test_split") or config["validation_split"]
    if not len(splits[scored]):
        raise TaskError(
            "there is nothing to score",
            where=config["task"],
            got=f"an empty split {scored!r}",
            expected="at least one document",
            hint=(
                *("give ", Parameter("protocol", "standard")),
                *(", or another copy of the data to ", Parameter("data_dir")),
            ),
        )
    return PromptedTask(config=config, splits=splits, num_fewshot=num_fewshot)
