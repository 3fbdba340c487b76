"""`emo-prune report`."""

from __future__ import annotations

from emo_prune.cli import console
from emo_prune.cli.command import command as command_of
from emo_prune.options import ReportOptions


def _report(options: ReportOptions, as_json: bool) -> None:
    """Make one HTML page of what the other commands wrote.

    It opens from disk and loads nothing: what was kept in each layer, accuracy by
    category, what was lost against the baseline and by size, which questions flipped,
    and where everything came from.

        emo-prune report emo-prune-out/math

        emo-prune report results.json -o results.html

        emo-prune report sweep.json --pictures figures --png
    """
    del as_json
    from emo_prune.reports import report

    made = report.on(options)
    console.result(f"wrote {made.path}: {', '.join(made.artifacts)}")
    if made.pictures:
        console.result(f"wrote {len(made.pictures)} pictures into {options.pictures}")


command = command_of(ReportOptions, _report, json=False)
