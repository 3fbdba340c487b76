"""`emo-prune eval`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emo_prune import places
from emo_prune.cli import console, gating, options, precedence
from emo_prune.cli.reports import write_reports
from emo_prune.cli.selections import as_selected, score_selections
from emo_prune.errors import EvaluationError, SettingsError

if TYPE_CHECKING:
    from emo_prune.evaluation import Comparison, Gates, Results
    from emo_prune.evaluation.subject import Subject
    from emo_prune.reports.outcome import Outcome
    from emo_prune.tasks import Task


def evaluate(
    context: typer.Context,
    path: Annotated[
        Path | None,
        typer.Argument(
            help="An export, or any checkpoint folder. (default: each export under "
            "emo-prune-out/)",
        ),
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(
            envvar="EMO_PRUNE_EXPORT",
            help="The same as PATH.",
            rich_help_panel=options.MODEL,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            help="Score this checkpoint (folder or Hub id) instead of an export.",
            rich_help_panel=options.MODEL,
        ),
    ] = None,
    selection: Annotated[
        list[Path] | None,
        typer.Option(
            "--selection",
            "-s",
            help="Score the model with all its experts, then with those of this "
            "selection.json alone, as its export would be; nothing is exported. May be "
            "given several times.",
            rich_help_panel=options.MODEL,
        ),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            envvar="EMO_PRUNE_BASELINE",
            help="Compare with this checkpoint; `source` is the one the export was "
            "made from.",
            rich_help_panel=options.MODEL,
        ),
    ] = None,
    control: Annotated[
        list[str] | None,
        typer.Option(
            help="Also score as many experts that were not chosen for the task: "
            "random (3 seeds), other-task (the next category), or other-task:NAME, "
            "a task or a file of examples. May be given several times.",
            rich_help_panel=options.MODEL,
        ),
    ] = None,
    task: options.TaskName = None,
    examples: options.Examples = None,
    num_fewshot: options.NumFewshot = None,
    answer: options.Answer = None,
    protocol: options.Protocol = None,
    limit: options.Limit = None,
    data_dir: options.DataDir = None,
    allow_overlap: options.AllowOverlap = False,
    max_drop: gating.MaxDrop = None,
    min_recovery: gating.MinRecovery = None,
    max_ppl_increase: gating.MaxPplIncrease = None,
    confidence: gating.Confidence = None,
    strict: gating.Strict = False,
    junit: gating.Junit = None,
    samples: gating.Samples = None,
    device: options.Device = None,
    dtype: options.Dtype = "auto",
    batch_size: options.PromptsAtATime = None,
    share: options.Share = True,
    output: options.Output = None,
    json: options.Json = False,
) -> None:
    """Score a checkpoint on a task through lm-eval, and say what pruning cost.

    Of an export, the task, answer style and demonstrations are those it was selected
    with, unless options say otherwise. Writes results.json beside an export under
    emo-prune-out/<task>/, results-<name>.json there for any other checkpoint. In GitHub
    Actions it also adds to the job's summary.

        emo-prune eval

        emo-prune eval ./small --task math --baseline ./model --max-drop 1.0

    With --selection the model is loaded once and its routers are masked for each
    selection; results go beside the selection.

        emo-prune eval --model ./model -s a.json -s b.json --max-drop 1.0

    Controls show whether the experts know the task, or whether any would have done:

        emo-prune eval ./small --control random --control other-task
    """
    from emo_prune.evaluation import check_gates
    from emo_prune.evaluation.control_plans import parse_control
    from emo_prune.evaluation.evaluate import EvaluateRequest, evaluate_tasks
    from emo_prune.files import write_atomically
    from emo_prune.tasks import TaskOptions, parse_task

    gates = gating.read_gates(
        max_drop=max_drop,
        min_recovery=min_recovery,
        max_ppl_increase=max_ppl_increase,
        confidence=confidence,
        strict=strict,
    )
    gated = gates.any or samples is not None  # either needs a baseline
    wanted_task, wanted_examples = precedence.one_of(
        context, task=task, examples=examples
    )
    answered = _given(num_fewshot=num_fewshot, answer=answer, protocol=protocol)
    common: dict[str, Any] = {
        "controls": tuple(map(parse_control, dict.fromkeys(control or ()))),
        "limit": limit,
        "allow_overlap": allow_overlap,
        "device": device,
        "dtype": dtype,
        "batch_size": batch_size,
        "share_prefixes": share,
    }
    progress = console.ConsoleProgress()
    if selection:
        _refuse_beside_selections(context)
        chosen = None
        if wanted_task or wanted_examples:
            chosen = parse_task(wanted_task, wanted_examples)
        files, found_results = score_selections(
            selection,
            model=model,
            task=chosen,
            options={"data_dir": data_dir, **answered},
            common=common,
            output=output,
            progress=progress,
        )
    else:
        subjects = _subjects(context, path, export, model)
        jobs = [
            (one, found)
            for one in subjects
            if (found := _task(one, wanted_task, wanted_examples, len(subjects) > 1))
        ]
        requests = [
            EvaluateRequest(
                model=str(one.folder),
                task=found,
                options=TaskOptions(
                    data_dir=data_dir, **as_selected(one.calibration, found) | answered
                ),
                baseline=baseline or ("source" if gated else None),
                **common,
            )
            for one, found in jobs
        ]
        files = [
            places.results_file(output, one.folder, found.slug, one.record is not None)
            for one, found in jobs
        ]
        found_results = evaluate_tasks(requests, progress)
    outcomes = []
    for file, (results, comparison) in zip(files, found_results, strict=True):
        write_atomically(file, results.to_json(comparison))
        console.note(f"wrote {file}")
        outcomes.append((results, comparison))
    judged = [
        _judged(file, *outcome, gates)
        for file, outcome in zip(files, outcomes, strict=True)
    ]
    _print(judged, json=json)
    write_reports(judged, junit=junit, samples=samples)
    check_gates([verdict for one in judged for verdict in one.verdicts])


def _judged(
    file: Path, results: Results, comparison: Comparison | None, gates: Gates
) -> Outcome:
    """Judge results that have been written, and write them again with the verdicts."""
    from emo_prune.evaluation import judge
    from emo_prune.files import write_atomically
    from emo_prune.reports.outcome import Outcome

    outcome = Outcome(results=results, comparison=comparison)
    if comparison is not None and gates.any:
        outcome = replace(outcome, verdicts=judge(comparison, gates))
        write_atomically(file, outcome.to_json())
    return outcome


def _refuse_beside_selections(context: typer.Context) -> None:
    """Refuse what was typed beside --selection and would name another model."""
    for name in ("path", "export", "baseline"):
        if precedence.typed(context, name):
            raise SettingsError(
                "selections are scored on one model and compared with it",
                where="--selection",
                got="PATH as well" if name == "path" else f"--{name} as well",
                expected="--model MODEL",
                hint="leave out one of the two",
            )


def _subjects(
    context: typer.Context, path: Path | None, export: Path | None, model: str | None
) -> list[Subject]:
    """Return what is to be scored: one checkpoint, or every export."""
    from emo_prune.evaluation.subject import subject
    from emo_prune.exports import RECORD

    chosen = precedence.one_of(context, path=path, export=export, model=model)
    named = [str(one) for one in chosen if one is not None]
    if len(named) > 1:
        raise SettingsError(
            "there are several checkpoints to score",
            got=" and ".join(named),
            expected="one of them",
            hint="to compare two, make one the --baseline",
        )
    if named:
        return [subject(named[0])]
    found = places.exports(RECORD)
    if not found:
        raise EvaluationError(
            "there is no export to score",
            where=places.ROOT,
            expected=f"{places.ROOT}/<task>/{places.CHECKPOINT}",
            hint="run `emo-prune export` first, or give a checkpoint folder",
        )
    subjects = [subject(str(folder)) for folder in found]
    for one in subjects:
        _note_if_outdated(one)
    return subjects


def _note_if_outdated(one: Subject) -> None:
    """Say so if the selection beside an export is not the one it was made from."""
    file = one.folder.parent / places.SELECTION
    if one.record is None or not file.is_file():
        return
    from emo_prune.selection import parse_selection

    current = parse_selection(file.read_text(encoding="utf-8"), str(file))
    if current.sha256 != one.record.selection_sha256:
        console.note(
            f"{one.folder} was made from an earlier selection; "
            "`emo-prune export --force` makes it anew"
        )


def _task(
    one: Subject, task: str | None, examples: Path | None, among_others: bool
) -> Task | None:
    """Return the task asked for, else the one an export was selected for.

    None, with a note, for one of several exports that was selected on a file.
    """
    from emo_prune.tasks import parse_task

    selected = str(one.calibration.get("task", ""))
    if task is not None or examples is not None or not selected:
        return parse_task(task, examples)
    if not selected.startswith("examples:"):
        return parse_task(selected)
    if among_others:
        console.note(f"{one.folder} is left out: it needs --examples or --task")
        return None
    raise SettingsError(
        "the export was selected on a file of examples",
        where=one.folder,
        got=selected,
        expected="examples to score, other than those",
        hint="add --examples FILE, or --task NAME",
    )


def _given(**values: Any) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _print(outcomes: list[Outcome], *, json: bool) -> None:
    """Print a table each, or one document: of several, a list within it."""
    if not json:
        from emo_prune.reports.gates import gate_line
        from emo_prune.reports.results import results_table

        for outcome in outcomes:
            console.table(results_table(outcome.results, outcome.comparison))
            for verdict in outcome.verdicts:
                console.result(gate_line(verdict))
        return
    from emo_prune.files import readable_json

    documents = [outcome.to_dict() for outcome in outcomes]
    several = {"schema": "emo-prune/evaluations/1", "results": documents}
    console.document(readable_json(documents[0] if len(documents) == 1 else several))
