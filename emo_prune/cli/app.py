"""Which commands there are; each is made when it is asked for."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from emo_prune.cli import settings
from emo_prune.cli.command import Running
from emo_prune.errors import SettingsError
from emo_prune.version import __version__

# In the order of --help; the module under `emo_prune.cli` that has each as `command`.
COMMANDS = {
    "inspect": "inspect",
    "select": "select",
    "reselect": "reselect",
    "export": "export",
    "extract": "extract",
    "verify": "verify",
    "eval": "evaluate",
    "sweep": "sweep",
    "report": "report",
    "pretrain": "pretrain",
    "carve": "carve",
    "restore": "restore",
    "quickstart": "quickstart",
}


class Commands(TyperGroup):
    """The commands, none of them made before it is needed."""

    is_listing = False

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Show the commands by their descriptions alone."""
        self.is_listing = True
        try:
            super().format_help(ctx, formatter)
        finally:
            self.is_listing = False

    def list_commands(self, ctx: Any) -> list[str]:
        """Return their names."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> TyperCommand | None:
        """Return one by its name."""
        del ctx
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        make = import_module(f"emo_prune.cli.{module}").command
        if self.is_listing:
            return TyperCommand(cmd_name, help=inspect.getdoc(make))
        made: TyperCommand = make()
        made.name = cmd_name
        return made


app = typer.Typer(
    name="emo-prune",
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"emo-prune {__version__}")
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

    The main way: emo-prune select --task math, emo-prune export, emo-prune eval.

    Options that name an EMO_PRUNE_* variable can also come from it, or from
    emo-prune.toml in the working folder.
    """
    del version
    Running.options, Running.problem = None, None
    name = context.invoked_subcommand
    if name not in COMMANDS:
        return
    try:
        context.default_map = {name: settings.defaults(Path.cwd(), name)}
    except SettingsError as error:
        Running.problem = error
