"""The text that the checkpoints are trained on, as its script writes it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from benchmarks.worlds import WORLDS, document, text


def test_each_world_gets_as_many_characters_from_its_first_documents_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["text.py", str(tmp_path), "--characters", "9000"])
    text.main()
    assert sorted(file.stem for file in tmp_path.iterdir()) == list(WORLDS)
    for world in WORLDS:
        lines = (tmp_path / f"{world}.jsonl").read_text(encoding="utf-8").splitlines()
        rows = [json.loads(line) for line in lines]
        assert {row["domain"] for row in rows} == {world}
        texts = [row["text"] for row in rows]
        assert texts == [document(world, i, text.SEED) for i in range(len(texts))]
        assert sum(map(len, texts[:-1])) < 9000 <= sum(map(len, texts))
