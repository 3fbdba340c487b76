"""Each section says in one sentence what it comes to, at the top of the page."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from emo_prune import report
from tests.reports.conftest import REAL, Edit, Edited, html_of, one_size

SPREAD = r"95 % interval ([+-][\d.]+) to ([+-][\d.]+)"


def said(path: Path, tmp_path: Path) -> str:
    """The first sentence of a page."""
    return report(path, output=tmp_path / "page.html", force=True).sentences[0]


def headline(**figures: Any) -> Any:
    """An edit of results: the headline's difference from the baseline."""

    def change(value: dict[str, Any]) -> None:
        value["comparison"]["headline"].update(figures)

    return change


def test_a_page_begins_with_what_each_artifact_comes_to(outputs: Path) -> None:
    text = html_of(outputs)
    contents = text[: text.index("</nav>")]
    found = re.findall('<p class="result">(.*?)</p>', text)
    assert len(found) == text.count("<section")
    for sentence in found:
        assert sentence in contents
        assert sentence.endswith(".")
    alone = html_of(outputs / "selection.json")
    assert "<nav" not in alone
    assert alone.index('class="result"') < alone.index('class="tile"')


@pytest.mark.parametrize(
    ("difference", "interval", "words"),
    [
        (-10.3, [-16.7, -3.9], "is worse than"),
        (+4.0, [+1.0, +7.0], "is better than"),
        (-0.8, [-4.1, +2.5], "is within the noise of"),
        (-0.8, None, "is worse than"),
        (0.0, None, "is as good as"),
    ],
)
def test_results_say_what_was_kept_what_it_cost_and_if_gates_held(
    folder: Path,
    edit: Edit,
    tmp_path: Path,
    difference: float,
    interval: list[float] | None,
    words: str,
) -> None:
    edit("results.json", headline(difference=difference, interval=interval))
    value = json.loads((folder / "results.json").read_text())
    found = said(folder / "results.json", tmp_path)
    compared, (gate,) = value["comparison"], value["gates"]
    assert found.startswith(f"{value['model']} {words} {compared['baseline']} on ")
    assert "of 8 experts" in found
    assert f"{difference:+.2f} points of accuracy" in found
    spread = re.search(SPREAD, found)
    assert spread is None if interval is None else spread is not None
    if spread is not None:
        assert [float(end) for end in spread.groups()] == interval
    assert ("passed" if gate["passed"] else "FAILED") in found
    assert "cannot show such a loss" in found  # this gate passes and sees nothing


def test_where_less_is_better_more_is_worse(
    folder: Path, edit: Edit, tmp_path: Path
) -> None:
    def in_bits(value: dict[str, Any]) -> None:
        for one in (value, value["comparison"]):
            one.update(higher_is_better=False, metric="bits_per_byte")
        head = {"difference": 0.25, "interval": [0.1, 0.4], "value": 1.5}
        value["comparison"]["headline"].update(head)

    edit("results.json", in_bits)
    found = said(folder / "results.json", tmp_path)
    assert "is worse than" in found
    assert "+0.250 bits per byte" in found
    assert "1.500 bits per byte where" in found


def test_results_without_a_baseline_say_their_figure(
    outputs: Path, tmp_path: Path
) -> None:
    value = json.loads((outputs / "results-tiny-emo.json").read_text())
    found = said(outputs / "results-tiny-emo.json", tmp_path)
    assert f"has {100 * value['value']:.2f} % accuracy (95 % interval ±" in found


def test_of_several_models_the_best_is_named(
    folder: Path, edit: Edit, tmp_path: Path
) -> None:
    edit("results-tiny-emo.json", lambda value: value.update(value=0.995))
    found = said(folder, tmp_path)
    assert found.startswith("Of 2 models on examples:questions, tiny-emo does best:")
    assert "99.50 %" in found


def test_a_sweep_names_the_smallest_budget_within_the_noise(
    edited: Edited, tmp_path: Path
) -> None:
    file = edited(one_size)
    value = json.loads(file.read_text())
    rows = [row for row in value["subsets"] if row["score"] == "frequency"]
    within = [row for row in rows if row["mean"]["interval"][1] >= 0]
    smallest = min(within, key=lambda row: row["num_bytes"])
    mean = smallest["mean"]
    found = said(file, tmp_path)
    assert found.startswith(f"{smallest['keep']} of the experts, chosen by frequency")
    assert f"lose nothing that {sum(t['n'] for t in value['tasks']):,} quest" in found
    assert f"({mean['difference']:+.2f} points, 95 % interval" in found
    share = 100 * smallest["num_bytes"] / value["full"]["num_bytes"]
    assert f"in {share:.1f} % of the bytes" in found


def test_a_sweep_that_loses_everywhere_names_the_best_trade_off(
    edited: Edited, tmp_path: Path
) -> None:
    lost = {"50%": -1.0, "25%": -9.0, "12.5%": -30.0}

    def worse(value: dict[str, Any]) -> None:
        one_size(value)
        for row in value["subsets"]:
            change = lost[row["keep"]]
            row["mean"].update(difference=change, interval=[change - 0.5, change + 0.5])

    found = said(edited(worse), tmp_path)
    assert found.startswith("Every budget loses more than chance explains")
    assert "that it saves is 50% of the experts, chosen by frequency: " in found
    assert "-1.00 points, 95 % interval -1.50 to -0.50" in found


def test_a_sweep_without_a_mean_says_so(edited: Edited, tmp_path: Path) -> None:
    def no_mean(value: dict[str, Any]) -> None:
        value["tasks"][0] |= {"metric": "bits_per_byte", "higher_is_better": False}
        for row in [value["full"], *value["subsets"], *value["others"]]:
            row["mean"] = None

    assert "no figure on average over 10 tasks" in said(edited(no_mean), tmp_path)
    empty = edited(lambda value: value.update(subsets=[]))
    assert "no subset of its experts was scored" in said(empty, tmp_path)


def test_a_selection_says_how_concentrated_the_routing_is(
    outputs: Path, tmp_path: Path
) -> None:
    value = json.loads((outputs / "selection.json").read_text())
    layers = value["layers"]
    picks = sum(layer["retained_picks"] for layer in layers) / len(layers)
    found = said(outputs / "selection.json", tmp_path)
    assert found.startswith("4 of 8 experts in each layer hold ")
    assert f"{100 * picks:.1f} % of the router's picks on examples:cal" in found
    assert f"{picks * 7 / 3:.1f} times an even share" in found  # one is shared


def test_every_row_of_the_real_sweep_has_a_sentence_of_one_line(
    tmp_path: Path,
) -> None:
    found = said(REAL, tmp_path)
    assert "\n" not in found
    assert found.count(". ") == 0
