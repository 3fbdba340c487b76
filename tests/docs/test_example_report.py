"""The example report is of the sweep whose JSON lies beside the benchmarks."""

from __future__ import annotations

import json
import re
from pathlib import Path

from tests.reports.test_page import Reader, numbers

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs/example-report.html").read_text(encoding="utf-8")
SWEEP = json.loads((REPOSITORY / "benchmarks/results/sweep.json").read_text())


def test_its_numbers_are_those_of_the_sweep() -> None:
    shown = set(Reader(PAGE).exact)
    for row in [SWEEP["full"], *SWEEP["subsets"], *SWEEP["others"]]:
        values = [cell["value"] for cell in row["cells"]]
        assert {*values, row["num_bytes"]} <= shown
        assert set(numbers(row["mean"]["interval"] or [])) <= shown


def test_it_is_small_holds_every_kind_and_names_no_place_of_a_machine() -> None:
    assert len(PAGE.encode()) < 500_000
    titles = re.findall("<h2>(\\w+)", PAGE)
    assert titles == ["Sweep", "Evaluation", "Selection", "Export", "Pretraining"]
    assert "Questions that flipped" in PAGE
    assert not re.search(r"/(tmp|home|root|usr|work)/|https?:", PAGE)


def test_its_pictures_are_small() -> None:
    for name in ("report", "report-phone"):
        assert (REPOSITORY / f"docs/images/{name}.png").stat().st_size < 150_000
