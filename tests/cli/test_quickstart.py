"""The quickstart: accuracy that means something, on a model that comes along."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Run


def test_a_world_is_known_by_its_own_experts_alone(run: Run) -> None:
    walked = run("quickstart", "--json")
    assert walked.code == 0, walked.err
    worlds = walked.json["worlds"]
    assert len(worlds) == 2
    for found in worlds.values():
        assert found["full"] >= 70  # chance is 25
        assert found["subset"] >= found["full"] - 10
        assert found["subset"] >= max(found["other"], found["random"]) + 15
    assert "$ emo-prune select" in walked.err
    for name in worlds:
        folder = Path("emo-prune-quickstart") / name
        assert (folder / "selection.json").is_file()
        assert (folder / "checkpoint/emo_prune.json").is_file()
    again = run("quickstart")
    assert again.code == 1
    assert "exists already" in again.err
