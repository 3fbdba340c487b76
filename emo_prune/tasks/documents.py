"""A task's documents: where they are, which calibrate, which are scored.

Shuffling is that of `datasets.Dataset.shuffle(seed=0)`: NumPy's default generator,
one permutation. So the same questions are scored as in the paper, as long as the rows
come in the order of the Hub.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emo_prune.errors import DataMissing, Parameter, TaskError
from emo_prune.files import canonical_json, sha256_text
from emo_prune.tasks.local_data import read_local
from emo_prune.tasks.task import TaskOptions

HELD_OUT = "calibration"  # the split that holds the calibration part of another

# The EMO authors' protocol.
_SEED = 0
_MMLU_CALIBRATION = 0.6
_PRO_RESERVED = 100
_PRO_SCORED = 0.6


def document_sha256(content: Mapping[str, Any]) -> str:
    """Return the hash of a document: of its question and options, nothing else.

    Ids, splits, answers, prompt styles and demonstrations do not enter, so a question
    is recognised wherever it turns up.
    """
    return sha256_text(canonical_json(dict(content)))


def question_sha256(question: str, choices: Any) -> str:
    """Return the hash of a question and its options (any JSON value)."""
    return document_sha256({"question": question, "choices": choices})


def permutation(size: int, seed: int) -> list[int]:
    """Return the order `Dataset.shuffle(seed=seed)` gives `size` rows."""
    import numpy as np  # slow to import, and names are parsed without it

    return [int(i) for i in np.random.default_rng(seed).permutation(size)]


def emo_mmlu(size: int) -> tuple[list[int], list[int]]:
    """Return (calibration, scored) rows of one MMLU subject's test split, 60 / 40."""
    order = permutation(size, _SEED)
    cut = int(size * _MMLU_CALIBRATION)
    return order[:cut], order[cut:]


def emo_mmlu_pro(size: int) -> tuple[list[int], list[int]]:
    """Return (calibration, scored) rows of one MMLU-Pro category's test split.

    The first 100 shuffled rows calibrate; of the rest the first 60 % are scored and the
    last 40 % calibrate too.
    """
    order = permutation(size, _SEED)
    reserved, rest = order[:_PRO_RESERVED], order[_PRO_RESERVED:]
    cut = int(len(rest) * _PRO_SCORED)
    return reserved + rest[cut:], rest[:cut]


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
            hint=(
                *("give ", Parameter("data_dir", "FOLDER")),
                " (or EMO_PRUNE_DATA_DIR) with a local copy",
            ),
        ) from error


def divided(
    splits: Mapping[str, Any],
    calibration: list[int],
    scored: list[int],
    *,
    scored_split: str = "test",
) -> dict[str, Any]:
    """Divide a split by rows: one part is scored, the other becomes `HELD_OUT`."""
    whole = splits[scored_split]
    return {
        **splits,
        HELD_OUT: whole.select(calibration),
        scored_split: whole.select(scored),
    }


def without_absent_splits(
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
            hint=(
                *("give ", Parameter("num_fewshot", 0)),
                *(", or add the split to ", Parameter("data_dir")),
            ),
        )
    return {**config, **present}


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
