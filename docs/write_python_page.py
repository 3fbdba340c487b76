"""Write docs/python.md from signatures and docstrings.

    python docs/write_python_page.py

The example of each verb is a file in docs/python/; the tests run them.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import emo_prune
from emo_prune.options import Declared, declared

PAGE = Path(__file__).with_name("python.md")
EXAMPLES = Path(__file__).with_name("python")

INTRODUCTION = """\
# From Python

{main}
Every command is a function of the same name, with the same options by the same names:
`--keep 25%` is `keep="25%"`. Values are what one would type, or plain numbers, strings,
paths and lists; anything else raises one of the package's own errors (`EmoPruneError`),
whose `hint` says what to try. `progress=` takes an object with the two methods of
`emo_prune.Progress`; by default nothing is printed.

`select`, `reselect`, `evaluate` and `sweep` return what they found and write it only
where `output` says. What writes a checkpoint or a page has the command's default place.
Documents have `save(path)` and `to_text()`; `load_selection(path)` and
`load_results(path)` read them.

This page is written by `docs/write_python_page.py`. The names:
"""


def python_page() -> str:
    """Return the page."""
    verbs = {name: found for name, found in _public() if hasattr(found, "options")}
    types = {name: found for name, found in _public() if inspect.isclass(found)}
    main = (EXAMPLES / "main.py").read_text(encoding="utf-8")
    index = [f"- [`{name}`](#{name}): {_first_line(v)}" for name, v in verbs.items()]
    readers = [
        f"- `{name}(path)`: {_first_line(found)}"
        for name, found in _public()
        if name.startswith("load_")
    ]
    parts = [INTRODUCTION.format(main=_code(main)), "\n".join([*index, *readers]), ""]
    parts += [_verb(name, found) for name, found in verbs.items()]
    parts += ["## What they return\n", *_types(types)]
    return "\n".join(parts).rstrip() + "\n"


def _public() -> Iterator[tuple[str, Any]]:
    for name in emo_prune.__all__:
        if not name.startswith("_"):
            yield name, getattr(emo_prune, name)


def _verb(name: str, verb: Any) -> str:
    parameters = declared(verb.options)
    first = [one for one in parameters if one.option.positional]
    lines = [f"## {name}\n", f"`{_call(name, first)} -> {_returned(verb)}`\n"]
    lines.append(_prose(verb))
    example = EXAMPLES / f"{name}.py"
    if example.is_file():
        lines.append(_code(example.read_text(encoding="utf-8")))
    lines += ["| parameter | default | |", "|---|---|---|"]
    lines += [
        f"| `{one.name}` | {_default(one)} | {_cell(one.help())} |"
        for one in parameters
    ]
    return "\n".join(lines) + "\n"


def _types(types: dict[str, Any]) -> Iterator[str]:
    for name, found in types.items():
        if issubclass(found, Exception) or not found.__module__.startswith("emo_prune"):
            continue
        yield f"### {name}\n"
        yield _prose(found)
        rows = list(_members(found))
        if rows:
            yield "\n".join(["| | |", "|---|---|", *rows]) + "\n"


def _members(type_: Any) -> Iterator[str]:
    """Yield a row for each field, property and method that is for users."""
    fields = getattr(type_, "__struct_fields__", ())
    if dataclasses.is_dataclass(type_):
        fields = tuple(field.name for field in dataclasses.fields(type_))
    for field in fields:
        yield f"| `{field}` | {_cell(_type_of(type_, field))} |"
    for name, member in inspect.getmembers(type_):
        if name.startswith("_") or name in fields:
            continue
        if isinstance(member, property):
            yield f"| `{name}` | {_cell(_first_line(member))} |"
        elif name in ("save", "load", "to_text", "to_dict", "to_pandas"):
            yield f"| `{name}{_signature(member)}` | {_cell(_first_line(member))} |"


def _type_of(type_: Any, field: str) -> str:
    hint = str(inspect.get_annotations(type_).get(field, ""))
    return f"`{hint}`" if hint else ""


def _signature(function: Any) -> str:
    found = inspect.signature(function)
    names = [name for name in found.parameters if name not in ("self", "cls")]
    return f"({', '.join(names)})"


def _call(name: str, first: list[Declared]) -> str:
    shown = [one.name if one.is_required else f"{one.name}=None" for one in first]
    return f"{name}({', '.join([*shown, '...'])})"


def _returned(verb: Any) -> str:
    return str(inspect.signature(verb).return_annotation)


def _default(one: Declared) -> str:
    if one.is_required:
        return "needed"
    return "" if one.default is None else f"`{_plain(one.default)!r}`"


def _plain(value: object) -> object:
    return str(value) if isinstance(value, Path) else value


def _prose(found: Any) -> str:
    """Return a docstring as Markdown: what is raised as a list."""
    text = (inspect.getdoc(found) or "").partition("\nParameters:\n")[0]
    body, _, raised = text.partition("\nRaises:\n")
    if raised:
        entries = re.sub(r"\n\s{8,}", " ", raised)
        rows = [line.strip() for line in entries.splitlines() if line.strip()]
        body += "\nRaises\n\n" + "\n".join(
            "- " + re.sub(r"^([\w, ]+):", r"`\1`:", row) for row in rows
        )
    return body.rstrip() + "\n"


def _first_line(found: Any) -> str:
    return (inspect.getdoc(found) or "").split("\n\n")[0].replace("\n", " ")


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def _code(text: str) -> str:
    return f"```python\n{text.rstrip()}\n```\n"


if __name__ == "__main__":
    PAGE.write_text(python_page(), encoding="utf-8")
