"""`select` runs a task's examples through a model; `reselect` needs no model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from emo_prune import places
from emo_prune.architectures import Limits, MoEModel
from emo_prune.architectures.opening import Opened, downloaded, open_model
from emo_prune.errors import Parameter, SettingsError
from emo_prune.models.placement import check_placement
from emo_prune.options import (
    ReselectOptions,
    SelectOptions,
    needed_model,
    number_of_examples,
    verb,
)
from emo_prune.routing.calibration import calibrate, say_imports
from emo_prune.routing.placement import (
    Ranks,
    current_ranks,
    joined_ranks,
    must_stream,
    refuse_quantised,
    refuse_ranks,
    resolved_dtype,
)
from emo_prune.routing.saved_run import refuse_leftover, resumable
from emo_prune.routing.streamed import StreamedRun
from emo_prune.selection.chooser import Chooser, run_key, source_model
from emo_prune.selection.document import Selection
from emo_prune.selection.scores_file import ScoresFile, read_scores, write_scores
from emo_prune.tasks import check_prompts, parse_task, task_options


@verb(SelectOptions)
def select(options: SelectOptions) -> Selection:
    """Run a task's examples through a model and choose the experts it needs.

    With `output` the selection is written there, as selection.json. Under `torchrun`
    each process takes its share of the examples; all return the same, the first writes.

    Raises:
        BudgetError: before any model is loaded, if the budget is not possible.
        OutputExists: there is something where the output goes.
        EmoPruneError: model, task or examples cannot be used.
    """
    task = parse_task(options.task, options.examples)
    prompts = task_options(options, options.seed)
    check_prompts(task, prompts)
    file = _file(options)
    scores = places.scores_file(file) if file and options.save_scores else None
    for output in filter(None, (file, scores)):
        places.refuse_existing(output, force=options.force)
    model = needed_model(options.model, options.verb)
    # Headers first: a budget that cannot be must not cost a download.
    seen = open_model(model, options.revision)
    chooser = Chooser.of(
        Limits.of(seen), options, seed=options.seed or 0, greedy=options.greedy
    )
    options.progress.say(f"keeping {chooser.text}")
    say_imports(options.progress)
    with joined_ranks() as ranks:
        streams = _is_streamed(options, seen, ranks)
        state = None  # where a streamed run is saved after each layer
        if file is not None and streams and ranks.size == 1:
            state = places.state_of(file)
            if not options.resume:
                refuse_leftover(state, force=options.force)
        opened = downloaded(seen, model)
        calibrated = calibrate(
            task,
            prompts,
            number_of_examples(options.num_examples),
            config=opened.model.config,
            folder=opened.folder,
            progress=options.progress,
            batch_size=options.batch_size,
        )
        with resumable(state, options.progress):
            if streams:
                choose = chooser.choose if options.greedy else None
                run = _streamed_run(options, opened, chooser, state)
                (layers,) = run.observe([calibrated], [choose], ranks, options.progress)
                if not options.greedy:
                    for layer in layers:
                        chooser.choose(layer)
            else:
                layers = chooser.observe(
                    _loaded(options, opened, ranks),
                    opened.model,
                    ranks.share(calibrated.batches),
                    options.progress,
                    combine=ranks.combine,
                )
            selection = chooser.selection(
                source_model(opened.model, opened.fingerprint), calibrated.facts
            )
            if scores is not None:
                write_scores(scores, ScoresFile.of(selection, chooser.limits, layers))
            if file is not None:
                selection.save(file)
    return selection


@verb(ReselectOptions)
def reselect(options: ReselectOptions) -> Selection:
    """Choose again from a scores file, by another budget or score; runs no model.

    With `output` the selection is written there. `seed` matters for `random` alone; by
    default it is the calibration's.

    Raises:
        BadSelection: it is not a scores file.
        BudgetError, SelectionError: the budget or score is not possible.
        OutputExists: there is something where the output goes.
    """
    file = None
    if options.output is not None:
        file = places.selection_file(Path(options.output))
        places.refuse_existing(file, force=options.force)
    selection = select_again(read_scores(Path(options.scores)), options)
    if file is not None:
        selection.save(file)
    return selection


def select_again(scores: ScoresFile, options: ReselectOptions) -> Selection:
    """Return the selection that a budget and a score make of what was counted."""
    seed = options.seed
    if seed is None:
        seed = scores.calibration.seed or 0
    chooser = Chooser.of(scores.limits, options, seed=seed)
    for layer in scores.layers:
        chooser.choose(layer)
    return chooser.selection(scores.model, scores.calibration)


def _file(options: SelectOptions) -> Path | None:
    """Return where the selection goes; None where another process writes, or nobody."""
    if options.output is None or current_ranks().rank != 0:
        return None
    return places.selection_file(Path(options.output))


def _is_streamed(options: SelectOptions, model: MoEModel, ranks: Ranks) -> bool:
    """Decide whether a model is run layer by layer; refuse what then cannot be."""
    check_placement(options.device, options.dtype)
    streams = options.stream
    if streams is None:
        streams = must_stream(model, options, ranks)
    if streams:
        refuse_quantised(model)
        if options.resume:
            refuse_ranks(ranks, Parameter("resume", True))
    elif options.resume:
        raise SettingsError(
            "only a streamed run can go on where it was interrupted",
            where=Parameter("resume"),
            got="a model that is loaded whole",
            hint=(
                *("add ", Parameter("stream", True)),
                " if the interrupted run was streamed, or leave it out",
            ),
        )
    return streams


def _streamed_run(
    options: SelectOptions, opened: Opened, chooser: Chooser, state: Path | None
) -> StreamedRun:
    return StreamedRun(
        model=opened.model,
        folder=opened.folder,
        options=options,
        key=run_key(opened.fingerprint, [chooser]),
        state=state,
        top_k=chooser.budget.top_k,
        outputs=chooser.needs_outputs,
    )


def _loaded(options: SelectOptions, opened: Opened, ranks: Ranks) -> Any:
    """Load the whole model."""
    from emo_prune.models.loading import load_model

    options.progress.say(f"loading {opened.model.checkpoint.name}")
    return load_model(
        opened.folder,
        device=options.device or ranks.device,
        dtype=resolved_dtype(opened.model, options.dtype),
    )
