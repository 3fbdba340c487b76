"""Which experts stay: scores, budgets, the choice, and the files that hold them.

`resolve_budget` turns `--keep` into a number the router can live with, `select` (or
`choose_layer`, one layer at a time) chooses, `Selection` is what is written, and
`check_selection` says whether it fits a model. Needs no model in memory; what needs
numpy is imported when it is first asked for, so that `export` starts at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emo_prune.architectures import Limits
from emo_prune.lazy import lazy_names
from emo_prune.selection.budget import Budget, Keep, parse_keep, resolve_budget
from emo_prune.selection.selection import (
    LayerSelection,
    Selection,
    check_selection,
    parse_selection,
    selection_from_json,
    selection_schema,
)

if TYPE_CHECKING:
    from emo_prune.selection.choose import choose_at_random, choose_layer, select
    from emo_prune.selection.scores import NEED_OUTPUTS, SCORE_NAMES, check_score
    from emo_prune.selection.scores_file import ScoresFile, read_scores, write_scores

__all__ = [
    "NEED_OUTPUTS",
    "SCORE_NAMES",
    "Budget",
    "Keep",
    "LayerSelection",
    "Limits",
    "ScoresFile",
    "Selection",
    "check_score",
    "check_selection",
    "choose_at_random",
    "choose_layer",
    "parse_keep",
    "parse_selection",
    "read_scores",
    "resolve_budget",
    "select",
    "selection_from_json",
    "selection_schema",
    "write_scores",
]

_HOMES = {
    "NEED_OUTPUTS": "scores",
    "SCORE_NAMES": "scores",
    "ScoresFile": "scores_file",
    "check_score": "scores",
    "choose_at_random": "choose",
    "choose_layer": "choose",
    "read_scores": "scores_file",
    "select": "choose",
    "write_scores": "scores_file",
}


__getattr__ = lazy_names(__name__, _HOMES)
