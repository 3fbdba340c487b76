"""Make a command of a verb's options: its flags, variables, help and checks."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, TypeVar, Union

import typer
from typer.core import TyperCommand

from emo_prune.cli import console
from emo_prune.cli.wording import command_line
from emo_prune.errors import EmoPruneError, Wording
from emo_prune.options import Declared, Options, declared
from emo_prune.options.declare import OUTPUT

O = TypeVar("O", bound=Options)  # noqa: E741 - the field's letter for it

JSON = "json"
_JSON = Annotated[
    bool,
    typer.Option(
        "--json",
        envvar="EMO_PRUNE_JSON",
        help="Print one JSON document to stdout instead of a table.",
        rich_help_panel=OUTPUT,
    ),
]


class Running:
    """What the command line is doing, for the wording of errors."""

    options: type[Options] | None = None
    problem: EmoPruneError | None = None  # of a settings file; --help works without it


def command(
    options: type[O], body: Callable[[O, bool], None], *, json: bool = True
) -> Callable[[], TyperCommand]:
    """Return what makes the command that calls `body` with options of what was typed.

    `body` gets them, and whether one JSON document is wanted; its docstring is the
    help. What choices an option has, and all that is imported to know them, is found
    out when the command is made.
    """

    def make() -> TyperCommand:
        return _made(options, body, json)

    make.__doc__ = body.__doc__
    return make


def _made(
    options: type[O], body: Callable[[O, bool], None], json: bool
) -> TyperCommand:
    def run(context: typer.Context, **values: Any) -> None:
        Running.options = options
        if Running.problem is not None:
            raise Running.problem
        as_json = bool(values.pop(JSON, False))
        body(options(**_typed_first(context, options, values), **_progress()), as_json)

    context = inspect.Parameter(
        "context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
    )
    wording = command_line(options)
    parameters = [context, *(_parameter(one, wording) for one in declared(options))]
    if json:
        parameters.append(_keyword(JSON, _JSON, False))
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    run.__doc__ = body.__doc__
    app = typer.Typer(
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.command(cls=Once)(run)
    made = typer.main.get_command(app)
    if not isinstance(made, TyperCommand):
        raise TypeError("Typer makes a command of one function")
    return made


class Once(TyperCommand):
    """A command that refuses an option given twice, unless it may be."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse; of an option that is given twice, neither would be sure to hold."""
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        for parameter, times in Counter(order).items():
            if times > 1 and not getattr(parameter, "multiple", False):
                flag = max(parameter.opts, key=len)
                ctx.fail(f"{flag} is given {times} times; give it once")
        return super().parse_args(ctx, args)


def _progress() -> dict[str, Any]:
    return {"progress": console.progress()}


def _typed_first(
    context: typer.Context, options: type[Options], values: dict[str, Any]
) -> dict[str, Any]:
    """Return the values; what a typed one excludes does not come from a variable."""
    names: dict[str, list[str]] = {}
    for one in declared(options):
        if one.option.instead_of:
            names.setdefault(one.option.instead_of, []).append(one.name)
    for group in names.values():
        typed = [name for name in group if _is_typed(context, name)]
        for name in group:
            if typed and name not in typed:
                values[name] = None
    for one in declared(options):
        for name in one.option.over if _is_typed(context, one.name) else ():
            if not _is_typed(context, name):
                values[name] = None
    return values


def _is_typed(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _keyword(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default
    )


def _parameter(one: Declared, wording: Wording) -> inspect.Parameter:
    """Return an option as Typer reads it from a function."""
    default = inspect.Parameter.empty if one.is_required else one.default
    if one.default is None and one.option.repeatable:
        default = None
    text = one.help(wording)
    info = _argument(one, text) if one.is_argument else _option(one, text)
    return _keyword(one.name, Annotated[_annotation(one), info], default)


def _annotation(one: Declared) -> Any:
    kind: Any = Literal[one.kind] if isinstance(one.kind, tuple) else one.kind
    if one.option.repeatable:
        kind = list[kind]
    return Union[kind, None] if one.is_optional else kind  # noqa: UP007 - of a variable


def _argument(one: Declared, text: str) -> Any:
    return typer.Argument(
        envvar=one.variable,
        help=text,
        show_default=not one.is_required and one.default is not None,
    )


def _option(one: Declared, text: str) -> Any:
    return typer.Option(
        *one.flags,
        envvar=one.variable,
        help=text,
        min=one.option.minimum if one.kind is int else None,
        metavar=one.option.metavar,
        rich_help_panel=one.option.panel,
        show_default=one.default is not None,
        autocompletion=_completion(one) if one.option.choices else None,
    )


def _completion(one: Declared) -> Callable[[str], Sequence[str]]:
    def complete(incomplete: str) -> Sequence[str]:
        return [name for name in one.choices if name.startswith(incomplete)]

    return complete
