"""Tables and text for people. Nothing here prints.

Each function takes values of the earlier rooms and returns a Rich renderable.
"""

from emo_prune.report.tables import (
    inspection_table,
    plan_table,
    results_table,
    selection_table,
)
from emo_prune.report.units import format_bytes, parse_bytes

__all__ = [
    "format_bytes",
    "inspection_table",
    "parse_bytes",
    "plan_table",
    "results_table",
    "selection_table",
]
