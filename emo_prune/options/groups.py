"""Options that several verbs share."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from emo_prune.errors import Command, Parameter, SettingsError
from emo_prune.options.declare import (
    MODEL,
    OUTPUT,
    RUNTIME,
    SELECTION,
    TASK,
    Options,
    option,
    options,
)


@options
class ModelOptions(Options):
    """Which checkpoint."""

    model: str | Path | None = option(
        default=None,
        flags=("--model", "-m"),
        kind=str,
        help="Checkpoint: a local folder or a Hub id.",
        panel=MODEL,
    )


@options
class RevisionOptions(Options):
    """Which version of a checkpoint on the Hub."""

    revision: str | None = option(
        default=None, help="Commit, tag or branch of a Hub id.", panel=MODEL
    )


@options
class RemoteOptions(RevisionOptions):
    """A checkpoint that is read where it is."""

    remote: bool = option(
        default=False,
        help="Read a Hub id where it is: config, tokenizer, headers and the byte "
        "ranges that are needed, nothing else.",
        panel=MODEL,
    )
    cache: str | Path | None = option(
        default=None,
        help="With {remote}: a folder that keeps the ranges for the next time.",
        panel=MODEL,
    )

    def check(self) -> None:
        """Refuse a cache that nothing would be read through, or that is no folder."""
        super().check()
        if self.cache is not None and not self.remote:
            raise SettingsError(
                "only what is read from the Hub can be kept",
                where=Parameter("cache"),
                got=("no ", Parameter("remote", True)),
                hint=(
                    *("add ", Parameter("remote", True)),
                    *(", or leave out ", Parameter("cache")),
                ),
            )
        if self.cache is not None and _is_no_folder(self.cache):
            raise SettingsError(
                "the cache is not a folder",
                where=Parameter("cache"),
                got=self.cache,
                expected="a folder, or a name that is free",
                hint="choose another place",
            )


def _is_no_folder(path: str | Path) -> bool:
    return os.path.lexists(path) and not Path(path).is_dir()


@options
class OneTaskOptions(Options):
    """One task, or one file of examples."""

    task: str | None = option(
        default=None,
        flags=("--task", "-t"),
        instead_of="examples",
        help="math (short for mmlu:math), mmlu, mmlu-pro:law, gsm8k, or any lm-eval "
        "task.",
        panel=TASK,
    )
    examples: str | Path | None = option(
        default=None,
        instead_of="examples",
        file=True,
        help="Your own examples instead: JSONL with text, prompt and completion, or "
        "messages; or plain text.",
        panel=TASK,
    )


@options
class SeveralTasksOptions(Options):
    """Several tasks, or files of examples."""

    task: str | Sequence[str] | None = option(
        default=None,
        flags=("--task", "-t"),
        repeatable=True,
        instead_of="examples",
        help="As of select; several tasks give a checkpoint each, in one pass (in the "
        "variable with blanks between them).",
        panel=TASK,
    )
    examples: str | Path | Sequence[str | Path] | None = option(
        default=None,
        repeatable=True,
        instead_of="examples",
        kind=Path,
        file=True,
        help="Your own examples instead, as of select; several files give a checkpoint "
        "each.",
        panel=TASK,
    )


@options
class PromptOptions(Options):
    """How prompts are made. None is the task's own, or the selection's."""

    num_fewshot: int | None = option(
        default=None,
        minimum=0,
        help="Demonstrations in each prompt. (default: the task's own)",
        panel=TASK,
    )
    answer: Literal["letter", "text"] | None = option(
        default=None,
        help="Answer style of multiple choice: the letter (lm-eval's MMLU), or the "
        "text of the answer (the EMO paper's). (default: letter)",
        panel=TASK,
    )
    protocol: Literal["standard", "emo"] | None = option(
        default=None,
        help="Which documents calibrate and which are scored: standard splits, or the "
        "EMO authors' 60/40 division of the test split. (default: standard)",
        panel=TASK,
    )
    data_dir: str | Path | None = option(
        default=None,
        help="Local copies of the benchmarks. (default: fetched from the Hub)",
        panel=TASK,
    )


@options
class SeedOptions(Options):
    """The seed of a calibration."""

    seed: int | None = option(
        default=None,
        minimum=0,
        help="Chooses the examples (and the experts, with {score=random}). "
        "(default: 0)",
        panel=TASK,
    )


@options
class PlacementOptions(Options):
    """Where a model computes, and with which numbers."""

    device: str | None = option(
        default=None,
        check="emo_prune.options.values:check_device",
        help="cpu, cuda, cuda:1 or auto. (default: a GPU if there is one)",
        panel=RUNTIME,
    )
    dtype: str = option(
        default="auto",
        check="emo_prune.options.values:check_dtype",
        help="auto (the checkpoint's own), float32, bfloat16 or float16.",
        panel=RUNTIME,
    )


@options
class CalibrationOptions(PromptOptions, PlacementOptions):
    """On how many examples a model is observed, and how they are run."""

    num_examples: str | int = option(
        default=100,
        check="emo_prune.options.values:number_of_examples",
        help="Examples to calibrate on, or all.",
        panel=TASK,
    )
    batch_size: int | None = option(
        default=None,
        variable="SELECT_BATCH_SIZE",
        minimum=1,
        help="Examples at a time. (default: 2048 tokens' worth)",
        panel=RUNTIME,
    )


@options
class BudgetOptions(Options):
    """How many experts stay, and by what they are chosen."""

    keep: str | int | float = option(
        default="12.5%",
        flags=("--keep", "-k"),
        check="emo_prune.selection.budget:parse_keep",
        help="Experts to keep in each layer, shared ones included: 12.5%, 0.125 or 16.",
        panel=SELECTION,
    )
    score: str = option(
        default="frequency",
        check="emo_prune.selection.scores:check_score",
        choices="emo_prune.selection.scores:score_names",
        help="One of {choices}.",
        panel=SELECTION,
    )
    lower_top_k: bool = option(
        default=False,
        help="Allow fewer experts than the router picks; it then picks fewer.",
        panel=SELECTION,
    )


@options
class ForceOptions(Options):
    """Whether output may be replaced."""

    force: bool = option(
        default=False, help="Replace output that exists.", panel=OUTPUT
    )


@options
class ResumeOptions(ForceOptions):
    """Whether an interrupted run goes on, or starts over."""

    resume: bool = option(
        default=False,
        variable=False,
        help="Go on where a streamed run was interrupted.",
        panel=RUNTIME,
    )

    def check(self) -> None:
        """Refuse to go on and start over at once."""
        super().check()
        self.refuse_both("resume", "force", "a run cannot go on and start over")


@options
class StreamOptions(ResumeOptions):
    """How a run layer by layer uses memory, and goes on."""

    max_memory: str | int | None = option(
        default=None,
        check="emo_prune.units:parse_bytes",
        help="Of a streamed run: memory for hidden states and the layer read ahead; "
        "more hidden states go to a scratch file. (default: half of what is free)",
        panel=RUNTIME,
    )


@options
class ChoiceOptions(StreamOptions, BudgetOptions, SeedOptions, CalibrationOptions):
    """How examples are run through a model, and how experts are chosen from that."""


@options
class ShardOptions(Options):
    """How large files of weights become."""

    max_shard_size: str | int = option(
        default="5GB",
        check="emo_prune.units:parse_bytes",
        help="Largest file of weights.",
        panel=OUTPUT,
    )


@options
class ScoringOptions(PromptOptions, PlacementOptions):
    """How a model is scored."""

    limit: int | None = option(
        default=None,
        minimum=1,
        help="Score only so many documents of each lm-eval task (each MMLU subject is "
        "one).",
        panel=TASK,
    )
    allow_overlap: bool = option(
        default=False,
        help="Score documents even if the experts were chosen on them.",
        panel=TASK,
    )
    batch_size: int | None = option(
        default=None,
        minimum=1,
        help="Prompts at a time, when scoring. (default: as many as fit into memory, "
        "or 8 with {share_prefixes=False})",
        panel=RUNTIME,
    )
    share_prefixes: bool = option(
        default=True,
        flags=("--share/--no-share",),
        variable="SHARE",
        help="Compute what prompts have in common once, where the model allows it; or "
        "each prompt whole, as lm-eval does.",
        panel=RUNTIME,
    )


def needed_model(model: str | Path | None, verb: str) -> str:
    """Return the model that was given.

    Raises:
        SettingsError: none was.
    """
    if model:
        return str(model)
    raise SettingsError(
        "no model is given",
        where=Parameter("model"),
        expected="a checkpoint folder or a Hub id",
        hint=(
            *("give one: ", Command(verb, {"model": "MODEL"})),
            "; or set EMO_PRUNE_MODEL, or write model = ... into emo-prune.toml",
        ),
    )
