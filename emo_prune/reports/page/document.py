"""The whole page: sections, style and script in one file that needs no other.

`KINDS` says which kind of artifact is shown how: a new kind is a file beside this one
that holds a `Render`, and a row. An artifact of a kind that is not here is named at the
end of the page as not shown.
"""

from __future__ import annotations

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

from emo_prune.artifacts import Document
from emo_prune.carving import CarvingRecord
from emo_prune.errors import ReportError
from emo_prune.evaluation import Results
from emo_prune.exports import ExportRecord
from emo_prune.pretraining import PretrainRecord
from emo_prune.reports.page.artifacts import (
    Artifact,
    Found,
    Render,
    Section,
    Unknown,
    unbroken,
)
from emo_prune.reports.page.carving import carving_section
from emo_prune.reports.page.checkpoints import export_section, pretraining_section
from emo_prune.reports.page.markup import Markup, joined, note, tag
from emo_prune.reports.page.results import results_section, together_sections
from emo_prune.reports.page.selection import selection_section
from emo_prune.reports.page.sweep import sweep_section
from emo_prune.selection import Selection
from emo_prune.sweeps import Sweep
from emo_prune.version import __version__

KINDS: Mapping[type[Document], Render] = {
    Sweep: sweep_section,
    Results: results_section,
    Selection: selection_section,
    ExportRecord: export_section,
    CarvingRecord: carving_section,
    PretrainRecord: pretraining_section,
}
"""The order of the rows is that of the page."""

_STYLES = ("colours.css", "picture.css", "page.css")
_BEGINNING = '<meta name="generator" content="emo-prune '


def sections(found: Found) -> list[Section]:
    """Return the sections of all artifacts whose kind is known, in the page's order.

    Raises:
        EmoPruneError: an artifact contradicts itself, or none is of a known kind.
    """
    everything = [one.value for one in found.artifacts]
    shown: list[Section] = []
    for kind, render in KINDS.items():
        artifacts: list[Artifact[Any]] = [
            one for one in found.artifacts if isinstance(one.value, kind)
        ]
        # What was compared comes first, then all by name: sorting is stable.
        artifacts.sort(key=lambda one: not getattr(one.value, "comparison", None))
        if kind is Results:
            shown += together_sections(artifacts)
        shown += [render(one, everything) for one in artifacts]
    if not shown:
        raise ReportError(
            "no artifact is of a kind that can be shown",
            where=", ".join(one.name for one in found.artifacts),
            got=", ".join(sorted(set(_schemas(found.artifacts))))
            or "nothing of itself",
            expected=", ".join(str(kind.schema) for kind in KINDS),
            hint="give what select, eval or sweep wrote, a checkpoint, or a folder",
        )
    return list(_told_apart(shown))


def page(found: Found, shown: Sequence[Section] = ()) -> str:
    """Return the HTML page of some artifacts; the same ones, the same text.

    shown: their `sections`, if they are made already.

    Nothing is loaded, and the page forbids it: style and script are known by their
    hashes, so that text which found its way in could not run.

    Raises:
        EmoPruneError: an artifact contradicts itself, or none is of a known kind.
    """
    shown = shown or sections(found)
    style, script = "".join(map(_resource, _STYLES)), _resource("page.js")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag(
            "meta", http_equiv="Content-Security-Policy", content=_policy(style, script)
        ),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="generator", content=f"emo-prune {__version__}"),
        tag("title", f"{found.name}: emo-prune report"),
        tag("style", Markup(style)),
    )
    body = tag(
        "body",
        tag("header", tag("h1", found.name), _contents(shown)),
        tag("main", *(one.to_html(_anchor(n)) for n, one in enumerate(shown))),
        tag("footer", *_not_shown(found.artifacts), _signature()),
        tag("script", Markup(script)),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def is_page(file: Path) -> bool:
    """Tell whether a file is a page that this wrote, and may so be written anew."""
    try:
        with file.open(encoding="utf-8") as text:
            return _BEGINNING in text.read(2000)
    except (OSError, UnicodeDecodeError):
        return False


def _told_apart(shown: Sequence[Section]) -> Iterator[Section]:
    """Yield the sections; titles that several share say of which file they are."""
    titles = Counter(one.title for one in shown)
    for one in shown:
        alone = titles[one.title] == 1
        yield one if alone else replace(one, title=f"{one.title} ({one.source})")


def _policy(style: str, script: str) -> str:
    allowed = f"style-src '{_sha256(style)}'; script-src '{_sha256(script)}'"
    return f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"


def _sha256(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _resource(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


def _anchor(place: int) -> str:
    return f"part-{place + 1}"


def _contents(shown: Sequence[Section]) -> Markup | None:
    """Return each section's title and what it comes to; one section says so itself."""
    if len(shown) < 2:
        return None
    entries = (
        tag(
            "li",
            tag("a", one.title, href=f"#{_anchor(n)}"),
            " ",
            tag("small", one.source),
            tag("p", unbroken(one.result)),
        )
        for n, one in enumerate(shown)
    )
    return tag("nav", tag("ol", *entries), aria_label="Contents")


def _not_shown(artifacts: Iterable[Artifact[object]]) -> list[Markup]:
    entries = [
        tag("li", f"{one.name} ({one.value.schema})")
        for one in artifacts
        if isinstance(one.value, Unknown)
    ]
    if not entries:
        return []
    return [note("Found, but of a kind that is not shown:"), tag("ul", *entries)]


def _schemas(artifacts: Iterable[Artifact[object]]) -> Iterator[str]:
    for one in artifacts:
        if isinstance(one.value, Unknown):
            yield one.value.schema


def _signature() -> Markup:
    text = f"Made by emo-prune {__version__} from the files named above."
    return joined(note(text))
