"""The whole page: sections, style and script in one file that needs no other."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import emo_prune
from emo_prune.reports.page.artifacts import Artifact, Found
from emo_prune.reports.page.kinds import not_shown, sections
from emo_prune.reports.page.markup import Markup, joined, tag
from emo_prune.reports.page.section import Section
from emo_prune.reports.page.tables import note

_STYLES = ("colours.css", "picture.css", "page.css")
_BEGINNING = '<meta name="generator" content="emo-prune '


def page(found: Found) -> str:
    """Return the HTML page of some artifacts; the same ones, the same text.

    Nothing is loaded, and the page forbids it: style and script are known by their
    hashes, so that text which found its way in could not run.

    Raises:
        EmoPruneError: an artifact breaks its schema.
    """
    shown = sections(found.artifacts)
    style, script = "".join(map(_resource, _STYLES)), _resource("page.js")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag(
            "meta", http_equiv="Content-Security-Policy", content=_policy(style, script)
        ),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="generator", content=f"emo-prune {emo_prune.__version__}"),
        tag("title", f"{found.name}: emo-prune report"),
        tag("style", Markup(style)),
    )
    body = tag(
        "body",
        tag("header", tag("h1", found.name), _contents(shown)),
        tag("main", *(one.to_html(_anchor(n)) for n, one in enumerate(shown))),
        tag("footer", *_rest(not_shown(found.artifacts)), _signature()),
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
    if len(shown) < 2:
        return None
    entries = (
        tag(
            "li",
            tag("a", one.title, href=f"#{_anchor(n)}"),
            " ",
            tag("small", one.source),
        )
        for n, one in enumerate(shown)
    )
    return tag("nav", tag("ol", *entries), aria_label="Contents")


def _rest(others: Sequence[Artifact]) -> list[Markup]:
    if not others:
        return []
    entries = (tag("li", f"{one.name} ({one.schema})") for one in others)
    return [note("Found, but of a kind that is not shown:"), tag("ul", *entries)]


def _signature() -> Markup:
    text = f"Made by emo-prune {emo_prune.__version__} from the files named above."
    return joined(note(text))
