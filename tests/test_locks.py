"""What processes share is held by one; what killed ones leave does not stay."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from emo_prune.errors import OutputExists
from emo_prune.exports import PartialFolder, partial_of
from emo_prune.files import write_atomically
from emo_prune.locks import Lock, held

HOLD = """
import sys
from pathlib import Path
from emo_prune.locks import Lock
lock = Lock(Path(sys.argv[1]))
assert lock.acquire()
print("held", flush=True)
sys.stdin.read()
"""
DIE_WRITING = """
import os, sys
from pathlib import Path
from emo_prune.files import replacing
with replacing(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    os._exit(9)
"""


def died(script: str, *arguments: object) -> None:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 9, done.stderr


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_one_holds_and_its_file_goes_with_it(tmp_path: Path) -> None:
    first, second = Lock(tmp_path / "out"), Lock(tmp_path / "out")
    assert first.is_free()
    assert first.acquire()
    assert first.acquire()  # it has it already
    assert not second.acquire()
    assert not second.is_free()
    first.release()
    first.release()
    assert names(tmp_path) == []
    assert second.acquire()
    second.release()


def test_it_ends_with_its_process(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path / "out")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        lock = Lock(tmp_path / "out")
        assert not lock.acquire()
        other.kill()
        other.wait()
        assert lock.is_free()
        assert lock.acquire()
        lock.release()
    assert names(tmp_path) == []


def test_where_there_can_be_no_lock_the_work_is_done_all_the_same() -> None:
    with held(Path("/proc/out")) as is_held:
        assert not is_held


@pytest.mark.parametrize("name", ["results.json", "[a]*?.json", ".hidden"])
def test_what_a_killed_writer_left_goes_with_the_next(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / f".other{name}.x.partial").touch()
    for _ in range(2):
        died(DIE_WRITING, tmp_path / name)
    assert len(names(tmp_path)) == 3  # and one is locked no more
    write_atomically(tmp_path / name, "whole")
    assert names(tmp_path) == sorted([name, f".other{name}.x.partial"])
    assert (tmp_path / name).read_text() == "whole"


def test_nobody_removes_what_another_is_writing(tmp_path: Path) -> None:
    from emo_prune.files import replacing

    done: list[float] = []

    def second() -> None:
        write_atomically(tmp_path / "file", "second")
        done.append(time.monotonic())

    with replacing(tmp_path / "file") as file:
        other = threading.Thread(target=second)
        other.start()
        time.sleep(0.3)
        file.write(b"first")
        before = time.monotonic()
    other.join()
    assert done[0] > before
    assert (tmp_path / "file").read_text() == "second"
    assert names(tmp_path) == ["file"]


MAKE_AND_DIE = """
import os, sys
from pathlib import Path
from emo_prune.exports import PartialFolder
PartialFolder(Path(sys.argv[1])).make(force=True)
os._exit(9)
"""


def test_a_folder_is_held_until_its_process_ends(tmp_path: Path) -> None:
    path = partial_of(tmp_path / "out")
    mine, other = PartialFolder(path), PartialFolder(path)
    mine.make(force=False)
    for refused in (other.take_over, other.refuse_busy, lambda: other.make(force=True)):
        with pytest.raises(OutputExists, match="another process is writing"):
            refused()
    mine.discard()
    assert names(tmp_path) == []
    died(MAKE_AND_DIE, path)
    other.refuse_busy()
    assert len(names(tmp_path)) == 2  # the folder, and the file of its lock
    with pytest.raises(OutputExists, match="unfinished"):
        other.make(force=False)
    other.make(force=True)
    other.discard()
    assert names(tmp_path) == []
