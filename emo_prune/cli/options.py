"""The options that several commands share: name, variable and help, once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

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
