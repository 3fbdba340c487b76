"""Which experts stay: scores, budgets, the choice, and the files that hold them.

`select` is the verb, `Selection` what it writes, `check_selection` says whether one
fits a model. What needs numpy is imported when it is first asked for, so that `export`
starts at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emo_prune.architectures import Limits
from emo_prune.lazy import lazy_names
from emo_prune.selection.budget import Budget, Keep, parse_keep, resolve_budget
from emo_prune.selection.document import (
    KeptExperts,
    LayerSelection,
    Method,
    Selection,
    check_selection,
    load_selection,
)
from emo_prune.selection.scores import check_score, needs_outputs, score, score_names

if TYPE_CHECKING:
    from emo_prune.selection.chooser import (
        Chooser,
        choose_at_random,
        choose_layer,
        run_key,
        source_model,
    )
    from emo_prune.selection.scores_file import ScoresFile, read_scores, write_scores
    from emo_prune.selection.selecting import reselect, select, select_again

__all__ = [
    "Budget",
    "Chooser",
    "Keep",
    "KeptExperts",
    "LayerSelection",
    "Limits",
    "Method",
    "ScoresFile",
    "Selection",
    "check_score",
    "check_selection",
    "choose_at_random",
    "choose_layer",
    "load_selection",
    "needs_outputs",
    "parse_keep",
    "read_scores",
    "reselect",
    "resolve_budget",
    "run_key",
    "score",
    "score_names",
    "select",
    "select_again",
    "source_model",
    "write_scores",
]

_HOMES = {
    "Chooser": "chooser",
    "ScoresFile": "scores_file",
    "choose_at_random": "chooser",
    "choose_layer": "chooser",
    "read_scores": "scores_file",
    "reselect": "selecting",
    "run_key": "chooser",
    "select": "selecting",
    "select_again": "selecting",
    "source_model": "chooser",
    "write_scores": "scores_file",
}

__getattr__ = lazy_names(__name__, _HOMES)
