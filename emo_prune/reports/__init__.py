"""What people and CI read: the terminal's tables, JUnit, Markdown, one HTML page.

`report` is the verb: it writes a page of what the other verbs wrote. Tables and texts
are each in a file named after their kind, and print nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emo_prune.lazy import lazy_names

if TYPE_CHECKING:
    from emo_prune.reports.reporting import Report, report

__all__ = ["Report", "report"]

_HOMES = {"Report": "reporting", "report": "reporting"}

__getattr__ = lazy_names(__name__, _HOMES)
