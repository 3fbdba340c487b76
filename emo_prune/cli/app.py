"""The Typer application: which commands there are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import emo_prune
from emo_prune.cli import settings
from emo_prune.cli.carve import carve
from emo_prune.cli.evaluate import evaluate
from emo_prune.cli.export import export
from emo_prune.cli.extract import extract
from emo_prune.cli.inspect import inspect
from emo_prune.cli.pretrain import pretrain
from emo_prune.cli.quickstart import quickstart
from emo_prune.cli.report import report
from emo_prune.cli.select import select
from emo_prune.cli.sweep import sweep
from emo_prune.cli.verify import verify

app = typer.Typer(
    name="emo-prune",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(inspect)
app.command()(select)
app.command()(export)
app.command()(extract)
app.command()(verify)
app.command(name="eval")(evaluate)
app.command()(sweep)
app.command()(report)
app.command()(pretrain)
app.command()(carve)
app.command()(quickstart)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"emo-prune {emo_prune.__version__}")
        raise typer.Exit


@app.callback()
def _configure(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            is_eager=True,
            callback=_print_version,
            help="Print the version.",
        ),
    ] = False,
) -> None:
    """Turn a large mixture-of-experts model into the small one that a task needs.

    The main road: emo-prune select --task math, emo-prune export, emo-prune eval.

    Options that name an EMO_PRUNE_* variable can also come from it, or from
    emo-prune.toml in the working folder.
    """
    del version
    found = settings.read_settings(Path.cwd())
    if found:
        commands: dict[str, Any] = getattr(context.command, "commands", {})
        options = {
            name: {
                parameter.envvar.removeprefix("EMO_PRUNE_").lower(): parameter.name
                for parameter in command.params
                if isinstance(getattr(parameter, "envvar", None), str)
            }
            for name, command in commands.items()
        }
        defaults = settings.defaults_by_command(found, options)
        for name, command in commands.items():
            for parameter in command.params:
                value = defaults[name].get(parameter.name)
                if value is not None and getattr(parameter, "multiple", False):
                    defaults[name][parameter.name] = [value]  # of a list, one
        context.default_map = defaults
