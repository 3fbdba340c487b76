"""`emo-prune pretrain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from emo_prune.cli import console, options
from emo_prune.errors import SettingsError

DATA = "Data"
TRAINING = "Training"


def pretrain(
    data: Annotated[
        list[str],
        typer.Argument(
            help="Text: JSONL(.gz) with text and perhaps domain, folders, patterns, or "
            "a dataset's name[:config][@split].",
            show_default=False,
        ),
    ],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            help="The checkpoint's folder; the training in progress is in OUTPUT.run.",
            rich_help_panel=options.OUTPUT,
        ),
    ],
    recipe: Annotated[
        str,
        typer.Option(
            envvar="EMO_PRUNE_RECIPE",
            help="tiny-cpu, emo-1b14b (the paper's), or a TOML file.",
            rich_help_panel=TRAINING,
        ),
    ] = "tiny-cpu",
    variant: Annotated[
        Literal["emo", "standard", "dense", "small-standard", "emo-anneal"],
        typer.Option(
            envvar="EMO_PRUNE_VARIANT",
            help="emo; standard, the same without pools; dense, as wide as a token's "
            "experts; small-standard, with fewer experts; emo-anneal, a trained model "
            "annealed with pools.",
            rich_help_panel=TRAINING,
        ),
    ] = "emo",
    tokens: Annotated[
        str | None,
        typer.Option(
            help="To train on before annealing, as 8e6. (default: the recipe's)",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Another setting of the recipe, as learning_rate=1e-3; repeatable.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Of the weights. (default: the recipe's)", rich_help_panel=TRAINING
        ),
    ] = None,
    init_from: Annotated[
        Path | None,
        typer.Option(
            help="The checkpoint that emo-anneal begins with.",
            rich_help_panel=TRAINING,
        ),
    ] = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(
            help="A folder whose tokenizer to use. (default: one is trained)",
            rich_help_panel=DATA,
        ),
    ] = None,
    vocab_size: Annotated[
        int | None,
        typer.Option(
            help="Tokens to train a tokenizer to. (default: the recipe's)",
            rich_help_panel=DATA,
        ),
    ] = None,
    token_cache: Annotated[
        Path | None,
        typer.Option(
            envvar="EMO_PRUNE_TOKEN_CACHE",
            help="Where tokens are kept. (default: the user's cache)",
            rich_help_panel=DATA,
        ),
    ] = None,
    device: Annotated[
        Literal["cpu", "auto"],
        typer.Option(
            help="auto takes GPUs where there are any.",
            rich_help_panel=options.RUNTIME,
        ),
    ] = "auto",
    fsdp: Annotated[
        bool,
        typer.Option(
            "--fsdp",
            help="Shard weights and optimiser over the processes of torchrun (FSDP2).",
            rich_help_panel=options.RUNTIME,
        ),
    ] = False,
    track: Annotated[
        list[str] | None,
        typer.Option(
            help="tensorboard, wandb or none; repeatable. (default: those installed)",
            rich_help_panel=options.RUNTIME,
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with an interrupted training.",
            rich_help_panel=options.RUNTIME,
        ),
    ] = False,
    force: options.Force = False,
    json: options.Json = False,
) -> None:
    """Train a model by the EMO recipe: documents share pools of experts.

    emo-prune pretrain corpus/ -o my-emo

    torchrun --nproc-per-node 8 -m emo_prune pretrain allenai/OLMoE-mix-0924
    --recipe emo-1b14b --tokenizer dolma2/ --fsdp -o emo-1b14b
    """
    from emo_prune.pretraining import for_variant, read_recipe
    from emo_prune.pretraining.pretrain import PretrainRequest, default_cache
    from emo_prune.pretraining.pretrain import pretrain as run

    options.refuse_both(resume=resume, force=force)
    changes = _changes(settings or [])
    for key, value in (("tokens", tokens), ("seed", seed), ("vocab_size", vocab_size)):
        if value is not None:
            changes[key] = str(value)
    trained = run(
        PretrainRequest(
            data=tuple(data),
            recipe=for_variant(read_recipe(recipe, changes), variant),
            variant=variant,
            output=output,
            tokenizer=tokenizer,
            initialise_from=init_from,
            cache=token_cache or default_cache(),
            resume=resume,
            force=force,
            use_cpu=device == "cpu",
            fsdp=fsdp,
            trackers=None if track is None else tuple(track),
        ),
        console.progress(),
    )
    if console.is_silent():
        return
    if json:
        from emo_prune.files import readable_json

        console.document(readable_json(trained.record))
        return
    variant, seen = trained.record["variant"], trained.record["tokens"]
    loss = trained.record["final"].get("loss", float("nan"))
    console.result(
        f"wrote {trained.output}: {variant}, {seen:,} tokens, loss {loss:.3f}"
    )


def _changes(settings: list[str]) -> dict[str, str]:
    changes = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key:
            raise SettingsError(
                "a setting has no value",
                where="--set",
                got=setting,
                expected="NAME=VALUE",
                hint="for example --set learning_rate=1e-3",
            )
        changes[key.strip()] = value.strip()
    return changes
