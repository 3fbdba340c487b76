"""Give an output its name: complete, or not at all.

No file system replaces one folder by another in a single step. So an earlier output is
first moved aside, and a kill between the two renames leaves the name free, the old
output in `DIR.replaced` and the new one, whole, in `DIR.partial`. At every other moment
one of them bears the name. The next run clears what is left.
"""

from __future__ import annotations

import contextlib
import errno
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from emo_prune.checkpoint import ByteSource, Checkpoint, Shard, open_checkpoint
from emo_prune.errors import EmoPruneError, ExportError, NotEnoughDisk, Text
from emo_prune.exports.destination import (
    EXPORT,
    Kind,
    is_empty_folder,
    refuse_existing,
    resolved,
)
from emo_prune.exports.partial import (
    ELSEWHERE,
    MARKER,
    PartialFolder,
    partial_of,
    remove_leftover,
    replaced_of,
)

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def check_disk(folder: Path, num_bytes: int) -> None:
    """Raise `NotEnoughDisk` if a folder's disk has no room for the output."""
    free = shutil.disk_usage(folder).free
    if num_bytes > free:
        raise NotEnoughDisk(
            "the output does not fit on the disk",
            where=folder,
            got=f"{free:,} bytes free",
            expected=f"{num_bytes:,}",
            hint=("free some space, or ", *ELSEWHERE),
        )


def publish(
    partial: Path, destination: Path, *, force: bool, kind: Kind = EXPORT
) -> None:
    """Give the finished folder its name; an earlier output goes only then.

    Raises:
        OutputExists: meanwhile something has appeared that may not be replaced.
    """
    refuse_existing(destination, force=force, kind=kind)
    if is_empty_folder(destination):
        destination.rmdir()  # Linux alone would rename over it
    if destination.exists():
        _replace(partial, destination)
    else:
        partial.rename(destination)
    tidy(destination)


def tidy(destination: Path) -> None:
    """Remove what is left when an output has its name: marker, and what it replaced."""
    (destination / MARKER).unlink(missing_ok=True)
    replaced = replaced_of(destination)
    if (replaced / MARKER).is_file():
        with contextlib.suppress(OSError):  # the next run tries again
            remove_leftover(replaced)


def _replace(partial: Path, destination: Path) -> None:
    replaced = replaced_of(destination)
    if replaced.exists():  # of a run that was killed
        remove_leftover(replaced)
    # Marked before it is moved: under its new name it must be known as a leftover.
    (destination / MARKER).touch()
    try:
        destination.rename(replaced)
        partial.rename(destination)
    except BaseException:
        # An interrupt may come after a rename that was done: go by what is there.
        if partial.exists():  # it has not got the name
            if replaced.exists():
                replaced.rename(destination)
            (destination / MARKER).unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def appearing(
    destination: Path, num_bytes: int, *, force: bool, kind: Kind = EXPORT
) -> Iterator[Path]:
    """Give a folder to write to, which gets its name when the block ends well.

    Whatever goes wrong, Ctrl-C included, it is removed, and what bore the name stays.
    `num_bytes` are those to be written; `force` replaces an output of the same `kind`.

    Raises:
        OutputExists: something is in the way, and not to be replaced.
        NotEnoughDisk: the output does not fit.
        ExportError: the folder cannot be written.
    """
    destination = resolved(destination)  # a link to another disk: beside its target
    partial = partial_of(destination)
    with named_errors(destination, num_bytes):
        partial.parent.mkdir(parents=True, exist_ok=True)
        folder = PartialFolder(partial)
        check_disk(partial.parent, num_bytes)
        folder.make(force=force)
        try:
            yield partial
            publish(partial, destination, force=force, kind=kind)
        except BaseException:
            folder.discard()
            raise
        finally:
            folder.release()


@contextlib.contextmanager
def named_errors(
    destination: Path, num_bytes: int, left: Text = "nothing was left behind"
) -> Iterator[None]:
    """Turn the system's errors while an output is written into named ones.

    `left` says what became of what had been written.
    """
    try:
        yield
    except EmoPruneError:
        raise
    except OSError as error:
        if error.errno in _FULL:
            raise NotEnoughDisk(
                ("the disk became full; ", left),
                where=destination,
                got=str(error.strerror),
                expected=f"{num_bytes:,} bytes",
                hint=("free some space, or ", *ELSEWHERE),
            ) from None
        raise ExportError(
            ("the output cannot be written; ", left),
            where=destination,
            got=str(error),
            hint=("check permissions, or ", *ELSEWHERE),
        ) from None


def write_files(
    source: ByteSource,
    copied: Mapping[str, str],
    written: Mapping[str, str],
    folder: Path,
) -> None:
    """Write what lies beside the weights: files of the source by new names, and texts.

    `copied` maps files of the source to their names in the folder, `written` names to
    texts.
    """
    for file, name in copied.items():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as output:
            source.copy(file, 0, source.size(file), output.fileno())
    for name, text in written.items():
        # The same bytes everywhere: Windows would write other ends of lines.
        (folder / name).write_text(text, encoding="utf-8", newline="")


def reopened(folder: Path, shards: Iterable[Shard]) -> Checkpoint:
    """Open what was written: headers, index and shapes must be as planned.

    Raises:
        ExportError: they are not.
    """
    written = open_checkpoint(str(folder))
    planned = {
        tensor.name: (tensor.dtype, tensor.shape)
        for shard in shards
        for tensor in shard.tensors
    }
    found = {t.name: (t.dtype, t.shape) for t in written.tensors.values()}
    if found != planned:
        raise ExportError(
            "what was written is not what was planned",
            where=folder,
            got=f"{len(found)} tensors",
            expected=f"{len(planned)}",
            hint=("does something else write there? ", *ELSEWHERE),
        )
    return written
