"""How modular a carved model is, on examples; kept in its carving.json."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from emo_prune import places
from emo_prune.architectures.opening import open_model
from emo_prune.artifacts import convert
from emo_prune.carving.dense import num_embeddings
from emo_prune.carving.document import CarvingRecord, Measured
from emo_prune.carving.plan import CarvePlan
from emo_prune.errors import CheckpointError, Parameter
from emo_prune.facts import COMPUTING, CalibrationFacts
from emo_prune.files import versions
from emo_prune.models.placement import check_placement
from emo_prune.options import CarveOptions, number_of_examples
from emo_prune.routing.calibration import Calibrated, calibrate
from emo_prune.tasks import Task, parse_task, task_options


def task_to_measure_on(options: CarveOptions) -> Task | None:
    """Return the task whose examples are given; None if there are none.

    Raises:
        SettingsError, TaskError: there is no such device, dtype or task.
    """
    if options.task is None and options.examples is None:
        return None
    check_placement(options.device, options.dtype)
    return parse_task(options.task, options.examples)


def tokens_of(task: Task, plan: CarvePlan, folder: Path) -> Calibrated:
    """Return the examples as tokens, before anything is carved.

    `folder` holds the tokenizer.

    Raises:
        CheckpointError: a token id has no embedding.
        EmoPruneError: data or tokenizer cannot be used.
    """
    from emo_prune.routing import check_vocabulary

    options = plan.options
    calibrated = calibrate(
        task,
        task_options(options, options.seed),
        number_of_examples(options.num_examples),
        config=plan.config,
        folder=folder,
        progress=options.progress,
        batch_size=options.batch_size,
    )
    check_vocabulary(calibrated.batches, num_embeddings(plan.model))
    return calibrated


def measured_carving(
    folder: Path,
    record: CarvingRecord,
    options: CarveOptions,
    calibrated: Calibrated,
) -> CarvingRecord:
    """Run tokens through a carved checkpoint; return and write the fuller record.

    Raises:
        RoutingError: what it computes is not finite.
        EmoPruneError: the model cannot be run, or the record not be written.
    """
    from emo_prune.models.loading import load_model
    from emo_prune.routing.modularity import measure_modularity

    progress = options.progress
    architecture = open_model(str(folder)).architecture
    progress.say("loading the carved model")
    try:
        loaded = load_model(folder, device=options.device, dtype=options.dtype)
    except OSError as error:  # of reading, where others are of writing
        raise CheckpointError(
            "the carved model cannot be loaded to be measured",
            where=record.model.name,
            got=error,
            hint=(
                *("leave ", Parameter("task"), " and ", Parameter("examples")),
                " out to carve without measuring",
            ),
        ) from None
    facts = calibrated.facts.to_dict()
    del facts["documents"]
    with progress.track("measuring", calibrated.facts.num_tokens, "tokens") as advance:
        layers = measure_modularity(
            loaded, architecture, calibrated.batches, progress=advance
        )
    measured = Measured(
        calibration=convert(facts, CalibrationFacts),
        layers=tuple(layers),
        versions=versions(*COMPUTING),
    )
    fuller = replace(record, measured=measured)
    fuller.save(folder / places.CARVING)
    return fuller
