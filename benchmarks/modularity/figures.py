"""Draw the figures and print the tables, from the two files of results alone.

    python benchmarks/modularity/figures.py RESULTS.json ROUTING.json -o docs/images

Writes modularity-cost, modularity-matrix and modularity-coverage, each as SVG and PNG.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from charts import cost_figure, coverage_figure, matrix_figure
from tables import cost_table, routing_table

STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "emo-prune",  # the same figures, the same bytes
    "figure.dpi": 100,
    "savefig.dpi": 160,
    "savefig.facecolor": "white",
}


def read(file: Path) -> Mapping[str, Any]:
    """Return the results in a file."""
    document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return document


def save(figure: Any, name: str, folder: Path) -> None:
    """Write a figure in both formats."""
    figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
    figure.savefig(folder / f"{name}.png", metadata={"Software": None})


def main() -> None:
    """Draw and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, help="what measure.py wrote")
    parser.add_argument("routing", type=Path, help="what routing.py wrote")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/images"))
    options = parser.parse_args()
    results, routing = read(options.results), read(options.routing)
    options.output.mkdir(parents=True, exist_ok=True)
    mpl.use("agg")
    with mpl.rc_context(STYLE):
        save(cost_figure(results), "modularity-cost", options.output)
        save(matrix_figure(results), "modularity-matrix", options.output)
        save(coverage_figure(routing), "modularity-coverage", options.output)
    print(cost_table(results))
    print()
    print(routing_table(routing))


if __name__ == "__main__":
    main()
