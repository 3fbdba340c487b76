"""What the package carries for the quickstart: the worlds' own, and little."""

from __future__ import annotations

from pathlib import Path

import emo_prune
from benchmarks.worlds import checkpoint
from benchmarks.worlds.quickstart_questions import write_quickstart_questions
from emo_prune.quickstart.quickstart import WORLDS, QuickstartFiles, make_quickstart


def _bytes_of(folder: Path) -> dict[str, bytes]:
    files = (file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def test_the_quickstart_begins_with_what_the_worlds_write(tmp_path: Path) -> None:
    ours = make_quickstart(tmp_path / "made")
    theirs = QuickstartFiles(folder=tmp_path)
    write_quickstart_questions(theirs)
    for world in WORLDS:
        for file in (QuickstartFiles.calibration, QuickstartFiles.test):
            assert file(ours, world).read_bytes() == file(theirs, world).read_bytes()
    assert _bytes_of(ours.model) == _bytes_of(checkpoint("emo"))
    assert len(_bytes_of(ours.folder)) == len(_bytes_of(ours.model)) + 2 * len(WORLDS)


def test_the_package_takes_less_than_eight_megabytes() -> None:
    files = Path(emo_prune.__file__).parent.rglob("*")
    sizes = [
        file.stat().st_size
        for file in files
        if file.is_file() and "__pycache__" not in file.parts
    ]
    assert sum(sizes) < 8e6
