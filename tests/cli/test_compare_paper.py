"""`sweep --compare-paper`: published figures beside the model's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run

FIGURES = Path(__file__).resolve().parents[2] / "benchmarks/published/emo.json"


def test_published_rows_stand_beside_the_model_s_own(
    run: Run, goldens: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    options = (
        "sweep", "-m", goldens / "emo_shared1", "--tasks", "engineering,geography",
        "--data-dir", data_dir, "--limit", "4", "--num-fewshot", "1", "--calibration",
        "4", "--scores", "frequency,random,reap", "--keep", "25%", "--lower-top-k",
    )  # fmt: skip
    found = run(*options, "--json").json
    shown = run(*options, "--compare-paper", f"{FIGURES}:emo-1t")
    assert shown.code == 0, shown.err
    table = shown.out[shown.out.index("as published, emo-1t: mmlu") :]
    cells = {
        row[0]: row[1:]
        for line in table.splitlines()
        if len(row := [cell.strip() for cell in line.split("│")[1:-1]]) == 6
    }
    means = {"all": found["full"]["mean"]}
    means |= {f"{row['keep']} {row['score']}": row["mean"] for row in found["subsets"]}
    for label, mean in means.items():
        assert cells[label][0] == f"{100 * mean['value']:.1f}"
    # the paper's Table 3 and Figure 4: 42.8 whole, 41.4 with 32 of 128 experts
    assert cells["all"][2:] == ["42.8", "", "Table 3, printed"]
    assert cells["25% frequency"][2:] == ["41.4", "-1.4", "Table 3, printed"]
    assert cells["25% random"][2:] == ["29.0", "-13.8", "Figure 4, decoded"]
    assert cells["25% reap"][2:] == ["-", "", ""]
    assert "not measured here" in table
    assert "mean is over 2 of 16 categories" in table


@pytest.mark.parametrize(
    ("model", "task", "said"),
    [
        (f"{FIGURES}:emo", ("--tasks", "mmlu"), "no figures of such a model"),
        (
            f"{FIGURES}:emo-1t",
            ("--tasks", "arc_easy"),
            "published nothing on these tasks",
        ),
        (
            "emo-1t",
            ("--tasks", "mmlu"),
            "--compare-paper benchmarks/published/emo.json:emo-1t",
        ),
        ("none.json:emo-1t", ("--tasks", "mmlu"), "none.json; got No such file"),
    ],
)
def test_what_was_not_published_is_refused_before_anything_runs(
    run: Run,
    emo: Path,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    task: tuple[str, str],
    said: str,
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    refused = run("sweep", "-m", emo, *task, "--compare-paper", model)
    assert refused.code == 1
    assert said in refused.err
    assert not Path("emo-prune-out").exists()
