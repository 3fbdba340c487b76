"""`emo-prune carve`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from emo_prune import places
from emo_prune.cli import console, options, precedence
from emo_prune.errors import SettingsError

if TYPE_CHECKING:
    from emo_prune.carving import CarvingRecord, RestorePlan
    from emo_prune.carving.measuring import Measuring

EXPERTS = "Experts"


def carve(
    context: typer.Context,
    model: Annotated[
        str | None,
        typer.Argument(
            envvar="EMO_PRUNE_MODEL",
            help="Dense checkpoint: a local folder or a Hub id.",
        ),
    ] = None,
    revision: options.Revision = None,
    remote: options.Remote = False,
    cache: options.Cache = None,
    num_experts: Annotated[
        int,
        typer.Option(
            "--num-experts",
            "-n",
            envvar="EMO_PRUNE_NUM_EXPERTS",
            help="Experts of each carved layer; must divide its neurons.",
            rich_help_panel=EXPERTS,
        ),
    ] = 16,
    top_k: Annotated[
        int | None,
        typer.Option(
            envvar="EMO_PRUNE_TOP_K",
            help="Experts that a token picks; all of them are the dense model. "
            "(default: half)",
            rich_help_panel=EXPERTS,
        ),
    ] = None,
    layers: Annotated[
        str,
        typer.Option(
            envvar="EMO_PRUNE_LAYERS",
            help="Layers to carve: all, last:4, 20-28:2 (every second one) or 3,5,7. "
            "Many at a time cost accuracy; the paper carves one or two.",
            rich_help_panel=EXPERTS,
        ),
    ] = "last:2",
    method: Annotated[
        Literal["kmeans", "contiguous", "random"],
        typer.Option(
            envvar="EMO_PRUNE_METHOD",
            help="How neurons are grouped: by balanced k-means over their keys (the "
            "paper's), as they lie in the matrix, or at random.",
            rich_help_panel=EXPERTS,
        ),
    ] = "kmeans",
    gate: Annotated[
        Literal["gate", "up", "inter"],
        typer.Option(
            envvar="EMO_PRUNE_GATE",
            help="What an expert's score averages over its neurons: gate rows (the "
            "paper's), up rows, or activations, which all have to be computed.",
            rich_help_panel=EXPERTS,
        ),
    ] = "gate",
    seed: Annotated[
        int,
        typer.Option(
            envvar="EMO_PRUNE_SEED",
            min=0,
            help="Starts the grouping, and chooses the examples.",
            rich_help_panel=EXPERTS,
        ),
    ] = 0,
    task: options.TaskName = None,
    examples: options.Examples = None,
    num_examples: options.NumExamples = "100",
    num_fewshot: options.NumFewshot = None,
    answer: options.Answer = None,
    protocol: options.Protocol = None,
    data_dir: options.DataDir = None,
    device: options.Device = None,
    dtype: options.Dtype = "auto",
    batch_size: options.BatchSize = None,
    form: Annotated[
        Literal["emoe", "dense"],
        typer.Option(
            "--as",
            help="What to write: experts or, from a carved checkpoint, the dense "
            "model again.",
            rich_help_panel=options.OUTPUT,
        ),
    ] = "emoe",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Where the checkpoint goes. (default: emo-prune-out/<model>-emoe/, "
            "or -dense/)",
            rich_help_panel=options.OUTPUT,
        ),
    ] = None,
    max_shard_size: options.MaxShardSize = "5GB",
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Carve a dense model's feed-forward layers into experts (EMoE), and back.

    Weights change their place and nothing else: none is added, and with all experts
    picked it is the dense model. With --task or --examples it is measured how much of
    the activations the picked experts hold. --as dense undoes it, bit for bit.

        emo-prune carve ./dense --num-experts 16 --top-k 4 --layers last:8

        emo-prune carve ./dense-emoe --as dense
    """
    from emo_prune.units import parse_bytes

    options.refuse_cache_alone(cache, remote=remote)
    model = places.needed_model(model, "MODEL")
    common: dict[str, Any] = {
        "model": model,
        "destination": output or places.carving_folder(model, form),
        "revision": revision,
        "remote": remote,
        "cache": cache,
        "max_shard_bytes": parse_bytes(max_shard_size, "--max-shard-size"),
        "force": force,
    }
    if form == "dense":
        _refuse_beside_dense(context)
        _restore(common, json=json)
        return
    from emo_prune.carving import CarveSettings
    from emo_prune.carving.carve_model import CarveRequest, carve_model

    measuring = None
    task, examples = precedence.one_of(context, task=task, examples=examples)
    if task is not None or examples is not None:
        measuring = _measuring(
            task,
            examples,
            options=options.calibration(num_fewshot, answer, protocol, data_dir, seed),
            num_examples=options.number_of_examples(num_examples),
            device=device,
            dtype=dtype,
            batch_size=batch_size,
        )
    settings = CarveSettings(
        num_experts=num_experts,
        top_k=num_experts // 2 if top_k is None else top_k,
        layers=layers,
        method=method,
        gate_source=gate,
        seed=seed,
    )
    request = CarveRequest(**common, settings=settings, measuring=measuring)
    record = carve_model(request, console.ConsoleProgress())
    _print(record, request.destination, json=json)


def _measuring(task: str | None, examples: Path | None, **how: Any) -> Measuring:
    """Return what to measure on, if anything."""
    from emo_prune.carving.measuring import Measuring
    from emo_prune.models.placement import check_placement
    from emo_prune.tasks import parse_task

    check_placement(how["device"], how["dtype"])
    return Measuring(task=parse_task(task, examples), **how)


def _refuse_beside_dense(context: typer.Context) -> None:
    """Raise `SettingsError` for a typed option that says how to carve or measure."""
    for name in (
        *("num_experts", "top_k", "layers", "method", "gate", "seed"),
        *("task", "examples", "num_examples", "num_fewshot", "answer", "protocol"),
        *("device", "dtype", "batch_size"),
    ):
        if precedence.typed(context, name):
            raise SettingsError(
                "a model that is put together is not carved",
                where=f"--{name.replace('_', '-')}",
                got="--as dense as well",
                hint="leave out one of the two",
            )


def _restore(common: dict[str, Any], *, json: bool) -> None:
    from emo_prune.carving.carve_model import RestoreRequest, restore_model

    request = RestoreRequest(**common)
    plan = restore_model(request, console.ConsoleProgress())
    if json:
        from emo_prune.files import readable_json

        console.document(readable_json(_restored(plan, request.destination)))
        return
    from emo_prune.units import format_bytes

    weight = format_bytes(plan.shard_bytes)
    console.result(
        f"wrote {request.destination}: {plan.num_tensors} tensors, {weight} of weights"
    )


def _restored(plan: RestorePlan, destination: Path) -> dict[str, Any]:
    return {
        "schema": "emo-prune/restored/1",
        "path": str(destination),
        "model_type": plan.model.dense.feed_forward.model_type,
        "num_tensors": plan.num_tensors,
        "shards": {shard.name: shard.num_bytes for shard in plan.shards},
    }


def _print(record: CarvingRecord, destination: Path, *, json: bool) -> None:
    if json:
        from emo_prune.files import readable_json

        console.document(readable_json(record.to_json()))
    else:
        from emo_prune.reports.carving import carving_table

        console.table(carving_table(record))
    console.note(f"wrote {destination}")
