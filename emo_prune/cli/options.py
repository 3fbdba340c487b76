"""The options that several commands share: name, variable and help, once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from emo_prune.errors import SettingsError

if TYPE_CHECKING:
    from emo_prune.tasks import TaskOptions

MODEL = "Model"
TASK = "Task"
SELECTION = "Selection"
RUNTIME = "Runtime"
OUTPUT = "Output"

Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        envvar="EMO_PRUNE_MODEL",
        help="Checkpoint: a local folder or a Hub id.",
        rich_help_panel=MODEL,
    ),
]
Revision = Annotated[
    str | None,
    typer.Option(
        envvar="EMO_PRUNE_REVISION",
        help="Commit, tag or branch of a Hub id.",
        rich_help_panel=MODEL,
    ),
]
TaskName = Annotated[
    str | None,
    typer.Option(
        "--task",
        "-t",
        envvar="EMO_PRUNE_TASK",
        help="math (short for mmlu:math), mmlu, mmlu-pro:law, gsm8k, or any lm-eval "
        "task.",
        rich_help_panel=TASK,
    ),
]
Examples = Annotated[
    Path | None,
    typer.Option(
        envvar="EMO_PRUNE_EXAMPLES",
        help="Your own examples instead: JSONL with text, prompt and completion, or "
        "messages; or plain text.",
        rich_help_panel=TASK,
    ),
]
NumFewshot = Annotated[
    int | None,
    typer.Option(
        envvar="EMO_PRUNE_NUM_FEWSHOT",
        help="Demonstrations in each prompt. (default: the task's own)",
        rich_help_panel=TASK,
    ),
]
Answer = Annotated[
    Literal["letter", "text"] | None,
    typer.Option(
        envvar="EMO_PRUNE_ANSWER",
        help="Answer style of multiple choice: the letter (lm-eval's MMLU), or the "
        "text of the answer (the EMO paper's). (default: letter)",
        rich_help_panel=TASK,
    ),
]
Protocol = Annotated[
    Literal["standard", "emo"] | None,
    typer.Option(
        envvar="EMO_PRUNE_PROTOCOL",
        help="Which documents calibrate and which are scored: standard splits, or the "
        "EMO authors' 60/40 division of the test split. (default: standard)",
        rich_help_panel=TASK,
    ),
]
DataDir = Annotated[
    Path | None,
    typer.Option(
        envvar="EMO_PRUNE_DATA_DIR",
        help="Local copies of the benchmarks. (default: fetched from the Hub)",
        rich_help_panel=TASK,
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(
        envvar="EMO_PRUNE_LIMIT",
        min=1,
        help="Score only so many documents of each lm-eval task (each MMLU subject is "
        "one).",
        rich_help_panel=TASK,
    ),
]
AllowOverlap = Annotated[
    bool,
    typer.Option(
        envvar="EMO_PRUNE_ALLOW_OVERLAP",
        help="Score documents even if the experts were chosen on them.",
        rich_help_panel=TASK,
    ),
]
PromptsAtATime = Annotated[
    int | None,
    typer.Option(
        "--batch-size",
        envvar="EMO_PRUNE_BATCH_SIZE",
        min=1,
        help="Prompts at a time, when scoring. (default: as many as fit into memory, "
        "or 8 with --no-share)",
        rich_help_panel=RUNTIME,
    ),
]
Share = Annotated[
    bool,
    typer.Option(
        "--share/--no-share",
        envvar="EMO_PRUNE_SHARE",
        help="Compute what prompts have in common once, where the model allows it; or "
        "each prompt whole, as lm-eval does.",
        rich_help_panel=RUNTIME,
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        envvar="EMO_PRUNE_DEVICE",
        help="cpu, cuda, cuda:1 or auto. (default: a GPU if there is one)",
        rich_help_panel=RUNTIME,
    ),
]
Dtype = Annotated[
    str,
    typer.Option(
        envvar="EMO_PRUNE_DTYPE",
        help="auto (the checkpoint's own), float32, bfloat16 or float16.",
        rich_help_panel=RUNTIME,
    ),
]
Force = Annotated[
    bool,
    typer.Option(
        envvar="EMO_PRUNE_FORCE",
        help="Replace output that exists.",
        rich_help_panel=OUTPUT,
    ),
]
Json = Annotated[
    bool,
    typer.Option(
        "--json",
        envvar="EMO_PRUNE_JSON",
        help="Print one JSON document to stdout instead of a table.",
        rich_help_panel=OUTPUT,
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        help="Where the result goes. (default: emo-prune-out/<task>/)",
        rich_help_panel=OUTPUT,
    ),
]
NumExamples = Annotated[
    str,
    typer.Option(
        envvar="EMO_PRUNE_NUM_EXAMPLES",
        help="Examples to calibrate on, or all.",
        rich_help_panel=TASK,
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(
        envvar="EMO_PRUNE_SEED",
        min=0,
        help="Chooses the examples (and the experts, with --score random). "
        "(default: 0)",
        rich_help_panel=TASK,
    ),
]
Keep = Annotated[
    str,
    typer.Option(
        "--keep",
        "-k",
        envvar="EMO_PRUNE_KEEP",
        help="Experts to keep in each layer, shared ones included: 12.5%, 0.125 or 16.",
        rich_help_panel=SELECTION,
    ),
]
Score = Annotated[
    str,
    typer.Option(
        envvar="EMO_PRUNE_SCORE",
        help="frequency, probability, easy-ep, reap or random.",
        rich_help_panel=SELECTION,
    ),
]
LowerTopK = Annotated[
    bool,
    typer.Option(
        envvar="EMO_PRUNE_LOWER_TOP_K",
        help="Allow fewer experts than the router picks; it then picks fewer.",
        rich_help_panel=SELECTION,
    ),
]
BatchSize = Annotated[
    int | None,
    typer.Option(
        envvar="EMO_PRUNE_SELECT_BATCH_SIZE",
        min=1,
        help="Examples at a time. (default: 2048 tokens' worth)",
        rich_help_panel=RUNTIME,
    ),
]
MaxMemory = Annotated[
    str | None,
    typer.Option(
        envvar="EMO_PRUNE_MAX_MEMORY",
        help="Of a streamed run: memory for hidden states and the layer read ahead; "
        "more hidden states go to a scratch file. (default: half of what is free)",
        rich_help_panel=RUNTIME,
    ),
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Go on where a streamed run was interrupted.",
        rich_help_panel=RUNTIME,
    ),
]
MaxShardSize = Annotated[
    str,
    typer.Option(
        envvar="EMO_PRUNE_MAX_SHARD_SIZE",
        help="Largest file of weights.",
        rich_help_panel=OUTPUT,
    ),
]
Remote = Annotated[
    bool,
    typer.Option(
        "--remote",
        envvar="EMO_PRUNE_REMOTE",
        help="Read a Hub id where it is: config, tokenizer, headers and the byte "
        "ranges that are needed, nothing else.",
        rich_help_panel=MODEL,
    ),
]
Cache = Annotated[
    Path | None,
    typer.Option(
        envvar="EMO_PRUNE_CACHE",
        help="With --remote: a folder that keeps the ranges for the next time.",
        rich_help_panel=MODEL,
    ),
]


def calibration(
    num_fewshot: int | None,
    answer: Literal["letter", "text"] | None,
    protocol: Literal["standard", "emo"] | None,
    data_dir: Path | None,
    seed: int | None,
) -> TaskOptions:
    """Return how calibration prompts are made; what was not given has its default."""
    from emo_prune.tasks import TaskOptions

    return TaskOptions(
        num_fewshot=num_fewshot,
        answer=answer or "letter",
        protocol=protocol or "standard",
        data_dir=data_dir,
        seed=seed or 0,
    )


def number_of_examples(text: str, option: str = "--num-examples") -> int | None:
    """Read a number of examples; None is all of them. `option` is whose, for errors.

    Raises:
        SettingsError: it is no number above zero.
    """
    if text.strip().lower() == "all":
        return None
    if text.strip().isdecimal() and int(text) > 0:
        return int(text)
    raise SettingsError(
        "this is not a number of examples",
        where=option,
        got=repr(text),
        expected="a number above zero, or all",
        hint=f"try {option} 100",
    )


def memory(text: str | None) -> int | None:
    """Read --max-memory.

    Raises:
        SettingsError: it is not a size.
    """
    from emo_prune.units import parse_bytes

    return None if text is None else parse_bytes(text, "--max-memory")


def refuse_both(*, resume: bool, force: bool) -> None:
    """Raise `SettingsError` for going on and starting over at once."""
    if resume and force:
        raise SettingsError(
            "a run cannot go on and start over",
            where="--resume",
            got="--force as well",
            hint="leave out one of the two",
        )


def refuse_cache_alone(cache: Path | None, *, remote: bool) -> None:
    """Raise `SettingsError` for a cache that nothing would be read through."""
    if cache is not None and not remote:
        raise SettingsError(
            "only what is read from the Hub can be kept",
            where="--cache",
            got="no --remote",
            hint="add --remote, or leave out --cache",
        )
