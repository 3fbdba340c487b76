"""From a task's name to lm-eval task objects, and which documents calibrate.

Importing this module is light; calling it imports lm-eval and datasets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from emo_prune.errors import DataMissing, TaskError
from emo_prune.tasks import splits as rules
from emo_prune.tasks.categories import MMLU_CATEGORIES, MMLU_PRO_CATEGORIES
from emo_prune.tasks.configs import find_configs, gsm8k_config, mmlu_config
from emo_prune.tasks.examples import ExampleRow
from emo_prune.tasks.local_data import read_local
from emo_prune.tasks.mmlu_pro import mmlu_pro_config
from emo_prune.tasks.quiet import quiet
from emo_prune.tasks.task import Task, TaskOptions

if TYPE_CHECKING:
    from emo_prune.tasks.prompted import PromptedTask

_STANDARD_FEWSHOT = {"mmlu": 5, "mmlu-pro": 5, "gsm8k": 8}
_HELD_OUT = "calibration"  # the split that holds the calibration part of another


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

    from emo_prune.tasks.example_scoring import example_config, example_document

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
        splits = _divided(splits, *rules.emo_mmlu(len(splits["test"])))
        calibration = (_HELD_OUT, "validation")
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
        splits = _divided(splits, *rules.emo_mmlu_pro(len(splits["test"])))
        calibration = (_HELD_OUT,)
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
    config = _without_absent_splits(config, splits, num_fewshot)
    scored = config.get("test_split") or config.get("validation_split")
    if scored is None:
        raise TaskError(
            "this lm-eval task has nothing to score",
            where=config["task"],
            got=", ".join(splits) or "no splits",
            expected="a test or validation split",
            hint="add one to --data-dir, or choose another task",
        )
    keys = ("training_split", "validation_split", "fewshot_split")
    other = [config[key] for key in keys if config.get(key) not in (None, scored)]
    if not other and options.protocol == "emo":
        splits = _divided(
            splits, *rules.emo_mmlu(len(splits[scored])), scored_split=scored
        )
        other = [_HELD_OUT]
    built = _build(config, splits, num_fewshot)
    return Prepared(task=built, category=config["task"], calibration=tuple(other[:1]))


def load_splits(config: Mapping[str, Any], options: TaskOptions) -> dict[str, Any]:
    """Return split name to `datasets.Dataset`: local if it can be, else the Hub's."""
    import datasets
    from datasets.exceptions import DatasetsError

    dataset, name = config.get("dataset_path"), config.get("dataset_name")
    if options.data_dir is not None and dataset is not None:
        local = read_local(options.data_dir, dataset, name)
        if local is not None:
            return {s: _table(rows, dataset, s) for s, rows in local.items()}
    kwargs = dict(config.get("dataset_kwargs") or {})
    kwargs.pop("trust_remote_code", None)
    try:
        if callable(custom := config.get("custom_dataset")):
            return dict(custom(**(config.get("metadata") or {}), **kwargs))
        return dict(datasets.load_dataset(path=dataset, name=name, **kwargs))
    except (OSError, ValueError, RuntimeError, DatasetsError) as error:
        raise DataMissing(
            f"the data of {config['task']} cannot be fetched",
            where=dataset if name is None else f"{dataset} ({name})",
            got=str(error).splitlines()[0] if str(error) else type(error).__name__,
            expected="a reachable Hub, its cache, or a local copy",
            hint="give --data-dir FOLDER (or EMO_PRUNE_DATA_DIR) with a local copy",
        ) from error


def _table(rows: list[dict[str, Any]], dataset: str, split: str) -> Any:
    from datasets import Dataset

    try:
        return Dataset.from_list(rows)
    except (ValueError, TypeError, OverflowError) as error:  # those of pyarrow
        raise TaskError(
            "the rows of the local copy are not of one kind",
            where=f"{dataset}, split {split!r}",
            got=str(error).splitlines()[0],
            expected="the same type in a column from the first row to the last",
            hint="download the file again, or correct the rows",
        ) from None


def _divided(
    splits: Mapping[str, Any],
    calibration: list[int],
    scored: list[int],
    *,
    scored_split: str = "test",
) -> dict[str, Any]:
    whole = splits[scored_split]
    return {
        **splits,
        _HELD_OUT: whole.select(calibration),
        scored_split: whole.select(scored),
    }


def _num_fewshot(kind: str, config: Mapping[str, Any], options: TaskOptions) -> int:
    default = config.get("num_fewshot")
    asked = options.num_fewshot
    if asked is None:
        return int(_STANDARD_FEWSHOT.get(kind, default or 0))
    if default == 0 and asked > 0:
        raise TaskError(
            "this lm-eval task is defined without demonstrations",
            where=config["task"],
            got=f"--num-fewshot {asked}",
            expected="0",
            hint="leave --num-fewshot out",
        )
    return asked


def _without_absent_splits(
    config: dict[str, Any], splits: Mapping[str, Any], num_fewshot: int
) -> dict[str, Any]:
    """Drop splits that a local copy lacks, unless demonstrations come from them."""
    keys = ("training_split", "validation_split", "test_split", "fewshot_split")
    present = {k: v if v in splits else None for k in keys if (v := config.get(k))}
    source = next(
        (config[k] for k in (keys[3], *keys[:3]) if config.get(k) is not None), None
    )
    absent = source is not None and source not in splits
    if absent and num_fewshot > 0:
        raise DataMissing(
            "the demonstrations are not in the local copy of the data",
            where=config["task"],
            got=f"splits {', '.join(splits)}",
            expected=f"the split {source!r}",
            hint="give --num-fewshot 0, or add the split to --data-dir",
        )
    return {**config, **present}


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
            hint="give --protocol standard, or another copy of the data to --data-dir",
        )
    return PromptedTask(config=config, splits=splits, num_fewshot=num_fewshot)
