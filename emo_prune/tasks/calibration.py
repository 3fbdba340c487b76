"""The examples that experts are chosen on: lm-eval's prompts with the gold answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from emo_prune.errors import Parameter, TaskError
from emo_prune.tasks.documents import HELD_OUT, permutation
from emo_prune.tasks.examples import Example, RenderMessages, read_examples
from emo_prune.tasks.harness import quiet
from emo_prune.tasks.prepare import Prepared, prepare
from emo_prune.tasks.task import Task, TaskOptions, check_prompts, no_examples

if TYPE_CHECKING:
    from emo_prune.tasks.prompted import PromptedTask


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationSet:
    """Calibration examples and all that says how they were made.

    `split` names the documents' source ("dev+validation"; "file" for examples).
    `num_dropped` counts documents passed over because the evaluation scores the same
    question (MMLU has 32 of them).
    """

    examples: tuple[Example, ...]
    task: str
    split: str
    num_fewshot: int
    seed: int
    protocol: Literal["standard", "emo"]
    answer: Literal["letter", "text"]
    num_dropped: int = 0

    @property
    def document_sha256(self) -> tuple[str, ...]:
        """The documents' hashes, for `refuse_overlap`."""
        return tuple(example.document_sha256 for example in self.examples)


def calibration_set(
    task: Task,
    options: TaskOptions,
    num_examples: int | None = None,
    *,
    render_messages: RenderMessages | None = None,
) -> CalibrationSet:
    """Build the calibration examples of a task.

    Documents come from splits that are not scored: MMLU's dev and validation (a dev
    question is demonstrated by the other dev questions), MMLU-Pro's validation (each
    by the other four), GSM8K's training set, any other task's training, else
    validation, else demonstration documents; under protocol "emo", the authors'
    calibration part of the test split. An examples file is used whole.

    Args:
        task: from `parse_task`.
        options: how prompts are made; `seed` decides the order.
        num_examples: the first so many of the seeded order, so smaller sets are part
            of larger ones; None, or more than there are, means all.
        render_messages: turns `messages` of an examples file into text.

    Raises:
        TaskError: no split but the scored one; or prompts that cannot be made.
        DataMissing, UnknownTask, BadExamples: see `parse_task`, `read_examples`.
    """
    if num_examples is not None and num_examples < 1:
        raise TaskError(
            "no calibration examples are asked for",
            got=num_examples,
            expected="1 or more",
            hint=("give ", Parameter("num_examples", "all"), " to use all"),
        )
    if task.kind == "examples":
        return _from_file(task, options, num_examples, render_messages)
    prepared = prepare(task, options)
    without = [part.task.task_name for part in prepared if not part.calibration]
    if without:
        raise TaskError(
            "the only documents at hand are those that are scored",
            where=", ".join(without[:3]),
            expected="a training, validation or demonstration split besides",
            hint=(
                *("give ", Parameter("protocol", "emo"), " to divide them 60 / 40, "),
                "calibrate on another task, or add the split to ",
                Parameter("data_dir"),
            ),
        )
    with quiet():
        return _from_tasks(task, options, num_examples, prepared)


def _from_tasks(
    task: Task,
    options: TaskOptions,
    num_examples: int | None,
    prepared: tuple[Prepared, ...],
) -> CalibrationSet:
    scored = {
        part.task.document_sha256(document)
        for part in prepared
        for document in part.task.eval_docs
    }
    chosen: list[Example] = []
    dropped = 0
    for source, document in _candidates(prepared, options.seed):
        if len(chosen) == num_examples:
            break
        document_sha256 = source.document_sha256(document)
        if document_sha256 in scored:
            dropped += 1
            continue
        context, completion = source.answered(document)
        chosen.append(
            Example(
                context=context,
                completion=completion,
                document_sha256=document_sha256,
            )
        )
    if not chosen:
        raise TaskError(
            "no document is left to calibrate on",
            where=task.name,
            got=f"{dropped} documents, all of which are scored too",
            expected="documents that the evaluation does not score",
            hint=(
                *("give ", Parameter("protocol", "emo"), " to divide the scored "),
                *("split, or ", Parameter("examples", "FILE")),
            ),
        )
    return CalibrationSet(
        examples=tuple(chosen),
        task=task.name,
        split="+".join(_emo_names(options, prepared[0].calibration)),
        num_fewshot=prepared[0].task.config.num_fewshot,
        seed=options.seed,
        protocol=options.protocol,
        answer=options.answer,
        num_dropped=dropped,
    )


def _candidates(
    prepared: tuple[Prepared, ...], seed: int
) -> Iterator[tuple[PromptedTask, Mapping[str, Any]]]:
    """Yield the documents that may calibrate, in the seeded order across subjects.

    No prompt is built here, so a split of a million rows costs no more than its rows.
    """
    sources = [
        (part.task, part.task.documents(split))
        for part in prepared
        for split in part.calibration
    ]
    places = [
        (s, row) for s, (_, rows) in enumerate(sources) for row in range(len(rows))
    ]
    for index in permutation(len(places), seed):
        source, row = places[index]
        task, rows = sources[source]
        yield task, rows[row]


def _emo_names(options: TaskOptions, splits: tuple[str, ...]) -> list[str]:
    held_out = "test (emo)" if options.protocol == "emo" else HELD_OUT
    return [held_out if split == HELD_OUT else split for split in splits]


def _from_file(
    task: Task,
    options: TaskOptions,
    num_examples: int | None,
    render_messages: RenderMessages | None,
) -> CalibrationSet:
    if task.examples is None:
        raise no_examples()
    check_prompts(task, options)
    rows = read_examples(task.examples, render_messages)
    order = permutation(len(rows), options.seed)[:num_examples]
    return CalibrationSet(
        examples=tuple(rows[i] for i in order),
        task=task.name,
        split="file",
        num_fewshot=0,
        seed=options.seed,
        protocol=options.protocol,
        answer=options.answer,
    )
