"""How an option is declared: once, as a field of a verb's dataclass.

From one field come the flag, the variable, the key in emo-prune.toml, the help text,
its panel, the default, what is checked, and the parameter of the Python function.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
import functools
import re
import textwrap
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Literal, ParamSpec, Protocol, TypeVar

from emo_prune.errors import Parameter, SettingsError, Wording
from emo_prune.progress import SILENT, Interruptible, Progress

MODEL = "Model"
TASK = "Task"
SELECTION = "Selection"
RUNTIME = "Runtime"
OUTPUT = "Output"

_KEY = "option"
_PLACE = re.compile(r"\{(\w+)(?:=(\w+))?\}")
_PREFIX = "EMO_PRUNE_"

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
O_co = TypeVar("O_co", bound="Options", covariant=True)
R_co = TypeVar("R_co", covariant=True)


class Artifact(Protocol):
    """A document in memory, where its file may be given as well."""

    def to_text(self) -> str:
        """Return the text of the file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """What a field says of itself.

    flags: the long one first; default is the field's name with two dashes, and of yes
        or no its opposite too.
    variable: True is the field's name, a text another one (without the prefix); False
        takes none, nor a key in emo-prune.toml.
    positional: the first parameter in Python; on the command line an argument, unless
        it has flags.
    repeatable: may be given several times; a tuple for the verb.
    commas: several values divided by commas, or a list; a tuple for the verb.
    check: "module:function" that takes the value and its `Parameter`, and raises
        what is wrong with it.
    help: {choices} stands for the names that can be given, {keep} and {keep=16} for
        another parameter.
    choices: "module:function" that returns these names; they complete what is typed.
    instead_of: names the options that this one excludes by a word they share; of those
        typed and those from a variable, the typed ones hold.
    over: names of options that step aside for this one, if it was typed and they were
        not.
    kind: of its value on the command line, where the field's type leaves that open.
    file: it must be there to be read.
    """

    help: str
    panel: str | None = None
    flags: tuple[str, ...] = ()
    variable: bool | str = True
    positional: bool = False
    repeatable: bool = False
    commas: bool = False
    minimum: int | None = None
    check: str | None = None
    choices: str | None = None
    instead_of: str | None = None
    over: tuple[str, ...] = ()
    metavar: str | None = None
    kind: type | None = None
    file: bool = False


def option(
    *,
    default: Any = dataclasses.MISSING,
    kw_only: bool = True,
    help: str,  # noqa: A002 - what Typer and argparse call it
    panel: str | None = None,
    flags: Sequence[str] = (),
    variable: bool | str = True,
    repeatable: bool = False,
    commas: bool = False,
    minimum: int | None = None,
    check: str | None = None,
    choices: str | None = None,
    instead_of: str | None = None,
    over: Sequence[str] = (),
    metavar: str | None = None,
    kind: type | None = None,
    file: bool = False,
) -> Any:
    """Declare a field of a verb's options; see `Option`.

    kw_only: False makes it positional.
    """
    return field(
        default=default,
        kw_only=kw_only,
        metadata={
            _KEY: Option(
                help=help,
                panel=panel,
                flags=tuple(flags),
                variable=variable,
                positional=not kw_only,
                repeatable=repeatable,
                commas=commas,
                minimum=minimum,
                check=check,
                choices=choices,
                instead_of=instead_of,
                over=tuple(over),
                metavar=metavar,
                kind=kind,
                file=file,
            )
        },
    )


@dataclass(frozen=True)
class Declared:
    """A field that is an option: its name, kind of value, default, and `Option`.

    kind: bool, int, float, str, Path, or a tuple of the texts that are allowed.
    """

    name: str
    option: Option
    kind: type | tuple[str, ...]
    is_optional: bool
    default: object

    @property
    def is_required(self) -> bool:
        """Whether there is no default."""
        return self.default is dataclasses.MISSING

    @property
    def is_argument(self) -> bool:
        """Whether the command line takes it without a flag."""
        return self.option.positional and not self.option.flags

    @property
    def flags(self) -> tuple[str, ...]:
        """What is typed, the long form first; empty for an argument."""
        if self.is_argument:
            return ()
        flag = self.name.replace("_", "-")
        plain = f"--{flag}/--no-{flag}" if self.kind is bool else f"--{flag}"
        return self.option.flags or (plain,)

    @property
    def choices(self) -> tuple[str, ...]:
        """The names that can be given, where they are known."""
        place = self.option.choices
        return () if place is None else tuple(_function(place)())

    def help(self, wording: Wording = str) -> str:
        """Return the help text, its choices and other parameters filled in."""

        def filled(found: re.Match[str]) -> str:
            if found[1] == "choices":
                *names, last = self.choices
                return f"{', '.join(names)} or {last}"
            value = {"True": True, "False": False}.get(found[2], found[2])
            return wording(Parameter(found[1], value))

        return _PLACE.sub(filled, self.option.help)

    @property
    def variable(self) -> str | None:
        """The environment variable, if it has one."""
        named = self.option.variable
        if named is False:
            return None
        return _PREFIX + (self.name.upper() if named is True else named)


def declared(options: type[Options]) -> tuple[Declared, ...]:
    """Return the options of a verb, arguments first, in the order of their fields."""
    return _declared(options)  # type: ignore[arg-type] # mypy: no class is Hashable


@functools.cache
def _declared(options: Any) -> tuple[Declared, ...]:
    hints = typing.get_type_hints(options)
    found = []
    for one in dataclasses.fields(options):
        described = one.metadata.get(_KEY)
        if described is None:
            continue
        kind, is_optional = _kind(hints[one.name], described.kind)
        found.append(
            Declared(
                name=one.name,
                option=described,
                kind=kind,
                is_optional=is_optional,
                default=one.default,
            )
        )
    return tuple(sorted(found, key=lambda one: not one.option.positional))


def _kind(hint: Any, said: type | None) -> tuple[type | tuple[str, ...], bool]:
    """Return what kind of value a hint stands for, and whether None is one."""
    is_union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    members = typing.get_args(hint) if is_union else (hint,)
    is_optional = type(None) in members
    if said is not None:
        return said, is_optional
    for member in members:
        if typing.get_origin(member) is Literal:
            return typing.get_args(member), is_optional
    for kind in (bool, Path, str, float, int):  # 16 experts are a text as 12.5% is
        if kind in members:
            return kind, is_optional
    raise TypeError(f"an option cannot be {hint}")


@typing.dataclass_transform(
    kw_only_default=True, frozen_default=True, field_specifiers=(option, field)
)
def options(cls: type[T]) -> type[T]:
    """Make a class of fields declared by `option` a frozen dataclass."""
    return dataclass(frozen=True, kw_only=True)(cls)


@options
class Options:
    """What a verb is asked for. Values are checked when it is made.

    progress: who hears how far the work has come; by default nobody does.

    Raises:
        SettingsError: a value is of the wrong type, or not possible.
    """

    verb: ClassVar[str] = ""

    progress: Progress = field(default=SILENT, repr=False, compare=False)

    def __post_init__(self) -> None:
        for one in declared(type(self)):
            value = getattr(self, one.name)
            object.__setattr__(self, one.name, _checked(one, value))
        self.check()

    def check(self) -> None:
        """Raise `SettingsError` for options that do not go together."""

    def refuse_both(self, first: str, second: str, why: str) -> None:
        """Raise `SettingsError` if two options are given that exclude one another."""
        if getattr(self, first) and getattr(self, second):
            raise SettingsError(
                why,
                where=Parameter(first),
                got=(Parameter(second, getattr(self, second)), " as well"),
                hint="leave out one of the two",
            )


def _checked(one: Declared, value: Any) -> Any:
    """Return a value as the verb takes it: paths expanded, several as a tuple."""
    if value is None and one.is_optional:
        return None
    if not (one.option.repeatable or one.option.commas):
        return _checked_one(one, value)
    found = value
    if isinstance(value, str) and one.option.commas:
        found = [part.strip() for part in value.split(",") if part.strip()]
    elif not isinstance(value, list | tuple):
        found = [value]
    if one.option.commas and not found:
        raise SettingsError(
            "the list is empty",
            where=Parameter(one.name),
            got=repr(value),
            expected="values divided by commas",
            hint=("leave ", Parameter(one.name), " out for its default"),
        )
    return tuple(_checked_one(one, single) for single in found)


def _checked_one(one: Declared, value: Any) -> Any:
    if isinstance(one.kind, tuple):
        if value not in one.kind:
            raise _no_choice(one, value)
        return value
    value = _of_kind(one, value)
    least = one.option.minimum
    if least is not None and isinstance(value, int) and value < least:
        raise SettingsError(
            "the number is too small",
            where=Parameter(one.name),
            got=value,
            expected=f"{least} or more",
            hint=("try ", Parameter(one.name, least)),
        )
    if one.option.file and not Path(value).is_file():
        raise SettingsError(
            "there is no such file",
            where=Parameter(one.name),
            got=value,
            hint="check its name",
        )
    if one.option.check is not None:
        _function(one.option.check)(value, Parameter(one.name))
    return value


def _function(place: str) -> Callable[..., Any]:
    module, _, name = place.partition(":")
    found: Callable[..., Any] = getattr(import_module(module), name)
    return found


def _of_kind(one: Declared, value: Any) -> Any:
    kind = one.kind
    if kind is Path:
        if hasattr(value, "to_text"):  # a document in memory
            return value
        if isinstance(value, str | Path) and str(value):
            return _expanded(value)
    elif kind is str:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        if isinstance(value, str | Path):
            return str(_expanded(value)) if str(value).startswith("~") else str(value)
    elif kind is float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    elif isinstance(value, kind) and (kind is bool or not isinstance(value, bool)):  # type: ignore[arg-type]
        return value
    raise _wrong_type(one, value)


def _expanded(path: str | Path) -> Path:
    """Return a path with its `~`: no shell has seen those of variables and files."""
    try:
        return Path(path).expanduser()
    except RuntimeError:  # a user that does not exist; the path will not either
        return Path(path)


def _wrong_type(one: Declared, value: object) -> SettingsError:
    names = {bool: "True or False", int: "a whole number", float: "a number"}
    expected = names.get(one.kind, "a path" if one.kind is Path else "a text")  # type: ignore[arg-type]
    if one.option.repeatable or one.option.commas:
        expected += ", or a list of them"
    return SettingsError(
        "the value is of the wrong type",
        where=Parameter(one.name),
        got=f"{value!r:.200}",
        expected=expected,
        hint="see the help of the command",
    )


def _no_choice(one: Declared, value: object) -> SettingsError:
    choices = [str(choice) for choice in one.kind]  # type: ignore[union-attr]
    close = difflib.get_close_matches(str(value), choices, n=1) or choices
    return SettingsError(
        "there is no such choice",
        where=Parameter(one.name),
        got=f"{value!r:.200}",
        expected=" or ".join(choices),
        hint=("try ", Parameter(one.name, close[0])),
    )


@typing.overload
def several(value: str | Sequence[str] | None) -> tuple[str, ...]: ...


@typing.overload
def several(value: T | Sequence[T] | None) -> tuple[T, ...]: ...


def several(value: Any) -> tuple[Any, ...]:
    """Return the values of an option that may be given several times."""
    if value is None:
        return ()
    if isinstance(value, list | tuple):
        return tuple(value)
    return (value,)


class Verb(Protocol[P, O_co, R_co]):
    """A public function whose parameters are the fields of its options."""

    __name__: str
    __doc__: str | None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Make the options and run."""

    @property
    def options(self) -> Callable[P, O_co]:
        """The dataclass of its options."""

    @property
    def on(self) -> Callable[[Any], R_co]:
        """Run with options that are made already."""


def verb(
    options: Callable[P, O_co],
) -> Callable[[Callable[[Any], R]], Verb[P, O_co, R]]:
    """Make a function of one `Options` a verb that takes their fields as parameters.

    Ctrl-C and SIGTERM end it, whatever it is doing (`Interruptible`).
    """
    import inspect

    def wrap(run: Callable[[Any], R]) -> Verb[P, O_co, R]:
        def on(asked: Any) -> R:
            with Interruptible(asked.progress) as progress:
                heard = copy.copy(asked)
                object.__setattr__(heard, "progress", progress)
                return run(heard)

        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            return on(options(*args, **kwargs))

        functools.update_wrapper(call, run)
        call.__doc__ = "\n\n".join([inspect.getdoc(run) or "", _parameters(options)])
        signature = inspect.signature(options)
        attributes: Mapping[str, object] = {
            "options": options,
            "on": on,
            "__signature__": signature.replace(
                return_annotation=inspect.signature(run).return_annotation
            ),
        }
        for name, value in attributes.items():
            setattr(call, name, value)
        return typing.cast("Verb[P, O_co, R]", call)

    return wrap


def _parameters(options: Any) -> str:
    """Return the part of a docstring that tells of the parameters."""
    lines = ["Parameters:"]
    for one in declared(options):
        # not the names themselves: those of other packages would have to be looked up
        names = (one.option.choices or "").rpartition(":")[2]
        text = one.option.help.replace("{choices}", f"what `{names}()` says")
        text = f"{one.name}: {_PLACE.sub(_worded, text)}"
        lines += textwrap.wrap(
            text, 88, initial_indent="    ", subsequent_indent=" " * 8
        )
    return "\n".join(lines)


def _worded(found: re.Match[str]) -> str:
    return f"`{found[1]}={found[2]}`" if found[2] else f"`{found[1]}`"
