"""`emo-prune sweep`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from emo_prune import places
from emo_prune.cli import console
from emo_prune.cli.command import command as command_of
from emo_prune.options import SweepOptions


def _sweep(options: SweepOptions, as_json: bool) -> None:
    """Score a model with all its experts and with subsets: tasks, budgets and scores.

    The model is loaded once; for each subset its routers are masked, and nothing is
    exported. Writes sweep.json. Finished cells are kept beside it, in
    sweep.json.state/: after Ctrl-C or a crash the same command goes on.

        emo-prune sweep --model ./model --tasks mmlu --scores frequency,random

        emo-prune sweep --model ./model --examples a.jsonl --test b.jsonl --keep 25%

        emo-prune sweep --model ./model --tasks math,law --calibration 1,10,100,all

        emo-prune sweep --model ./model --tasks mmlu --compare-paper emo.json:emo-1t

        emo-prune sweep --model ./model --tasks mmlu --ray head-node:6379
    """
    from emo_prune.sweeps import sweep, sweep_tasks

    published = None
    if options.compare_paper is not None:
        from emo_prune.reports.published import published_model

        names = [task.name for task in sweep_tasks(options)]
        published = published_model(options.compare_paper, names)
    file = places.sweep_file(Path(options.output or places.ROOT))
    found = sweep.on(replace(options, output=file))
    if as_json:
        console.document(found.to_text())
    else:
        from emo_prune.reports.sweep import sweep_tables

        console.table(sweep_tables(found))
        if published is not None:
            from emo_prune.reports.published import published_tables

            console.table(published_tables(found, *published))
    console.note(f"wrote {file}")


command = command_of(SweepOptions, _sweep)
