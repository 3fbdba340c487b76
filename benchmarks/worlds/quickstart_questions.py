"""Write the questions that the package carries for `emo-prune quickstart`.

    python benchmarks/worlds/quickstart_questions.py

For each of its worlds, some of the validation split to choose experts by, and all of
the test split to score. They follow from the seed, so nothing changes unless the world
did.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.worlds import count_questions, questions, write_questions
from emo_prune.quickstart.quickstart import DATA, WORLDS, QuickstartFiles

CALIBRATION = 40  # questions
SEED = 0


def main() -> None:
    """Write them where the package has them."""
    write_quickstart_questions(QuickstartFiles(folder=DATA))


def write_quickstart_questions(files: QuickstartFiles) -> None:
    """Write each world's two files of questions."""
    for world in WORLDS:
        some = questions(world, "validation", CALIBRATION, SEED)
        write_questions(files.calibration(world), some)
        every = questions(world, "test", count_questions(world, "test"), SEED)
        write_questions(files.test(world), every)


if __name__ == "__main__":
    main()
