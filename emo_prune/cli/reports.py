"""Write what `eval` leaves for CI: JUnit XML, flipped questions, a job summary."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from emo_prune.cli import console

if TYPE_CHECKING:
    from emo_prune.reports.outcome import Outcome

SUMMARY = "GITHUB_STEP_SUMMARY"


def write_reports(
    outcomes: Sequence[Outcome], *, junit: Path | None, samples: Path | None
) -> None:
    """Write the files that were asked for, and append to the job's summary if any.

    Raises:
        ExportError: a file cannot be written.
    """
    from emo_prune.files import write_atomically

    if samples is not None:
        write_atomically(samples, "".join(_flip_lines(outcomes)))
        console.note(f"wrote {samples}")
    if junit is not None:
        from emo_prune.reports.junit import junit_xml

        write_atomically(junit, junit_xml(outcomes))
        console.note(f"wrote {junit}")
    if summary := os.environ.get(SUMMARY):
        from emo_prune.reports.markdown import markdown_summary

        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(markdown_summary(outcomes))


def _flip_lines(outcomes: Sequence[Outcome]) -> Iterator[str]:
    for outcome in outcomes:
        if (found := outcome.comparison) is None:
            continue
        sides = {"model": found.model, "baseline": found.baseline}
        for flip in found.flips:
            yield json.dumps(sides | flip.to_dict(), ensure_ascii=False) + "\n"
