"""How modular a carved model is, on examples; kept in its carving.json."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from emo_prune.architectures.opening import open_model
from emo_prune.carving import CARVING, CarvePlan, CarvingRecord
from emo_prune.carving.dense import num_embeddings
from emo_prune.errors import CheckpointError
from emo_prune.files import readable_json, versions, write_atomically
from emo_prune.progress import Progress, Silent
from emo_prune.routing.calibration import Calibrated, calibrate
from emo_prune.tasks import Task, TaskOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Measuring:
    """On which task's examples to measure, and how to run them."""

    task: Task
    options: TaskOptions
    num_examples: int | None = 100
    device: str | None = None
    dtype: str = "auto"
    batch_size: int | None = None

    def tokens(self, plan: CarvePlan, folder: Path, progress: Progress) -> Calibrated:
        """Return the examples as tokens, before anything is carved.

        `folder` holds the tokenizer.

        Raises:
            CheckpointError: a token id has no embedding.
            EmoPruneError: task, data or tokenizer cannot be used.
        """
        from emo_prune.routing import check_vocabulary

        calibrated = calibrate(
            self.task,
            self.options,
            self.num_examples,
            config=plan.config,
            folder=folder,
            progress=progress,
            batch_size=self.batch_size,
        )
        check_vocabulary(calibrated.batches, num_embeddings(plan.model))
        return calibrated


def measure_carving(
    folder: Path,
    record: CarvingRecord,
    measuring: Measuring,
    calibrated: Calibrated,
    progress: Progress | None = None,
) -> CarvingRecord:
    """Run tokens through a carved checkpoint; return and write the fuller record.

    Raises:
        RoutingError: what it computes is not finite.
        EmoPruneError: the model cannot be run, or the record not be written.
    """
    from emo_prune.models.loading import load_model
    from emo_prune.routing.modularity import measure_modularity

    progress = progress or Silent()
    architecture = open_model(str(folder)).architecture
    progress.say("loading the carved model")
    try:
        loaded = load_model(folder, device=measuring.device, dtype=measuring.dtype)
    except OSError as error:  # of reading, where others are of writing
        raise CheckpointError(
            "the carved model cannot be loaded to be measured",
            where=record.model["name"],
            got=error,
            hint="leave --task and --examples out to carve without measuring",
        ) from None
    with progress.track("measuring", calibrated.facts.num_tokens, "tokens") as advance:
        layers = measure_modularity(
            loaded, architecture, calibrated.batches, progress=advance
        )
    facts = {k: v for k, v in calibrated.facts.to_dict().items() if k != "documents"}
    measured = {
        "calibration": facts,
        "layers": [layer.to_json() for layer in layers],
        "versions": versions("torch", "transformers"),
    }
    fuller = replace(record, measured=measured)
    write_atomically(folder / CARVING, readable_json(fuller.to_json()))
    return fuller
