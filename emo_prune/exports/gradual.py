"""An export that is written layer by layer, while its experts are being chosen.

Which experts stay does not change where anything lies: their number is known, and each
of a layer is as large as the others. So the files get their headers and their full size
at the start, with the first experts as placeholders, and a layer's tensors are written
to their places once it is chosen.

A run that is killed leaves `DIR.partial`, half full, and beside it the state of the run
with a checksum of each layer that was done. The state is saved after a layer's bytes
are written, so a layer that it names is there; one that was being written is written
again. What a crash of the machine has lost, the checksums tell.
"""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from emo_prune.architectures import MoEModel
from emo_prune.architectures.subset import subset_tensors
from emo_prune.checkpoint import (
    ByteRange,
    OutputTensor,
    Shard,
    create_shard,
    fill_shard,
    fill_shards,
)
from emo_prune.errors import Parameter, StaleRun
from emo_prune.exports.destination import check_destination, resolved
from emo_prune.exports.exporting import complete
from emo_prune.exports.partial import MARKER, PartialFolder, partial_of
from emo_prune.exports.plan import ExportPlan, in_shards
from emo_prune.exports.publishing import check_disk, named_errors, publish, tidy
from emo_prune.exports.record import read_record
from emo_prune.selection import Selection

Held = Callable[[ByteRange], memoryview]


_LEFT = (Parameter("resume", True), " goes on after the last layer that is done")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class GradualExport:
    """Files of an export whose layers are written one after the other."""

    model: MoEModel
    shards: tuple[Shard, ...]
    destination: Path
    folder: PartialFolder

    @classmethod
    def of(
        cls,
        model: MoEModel,
        num_experts: Mapping[int, int],
        destination: Path,
        max_shard_bytes: int,
    ) -> GradualExport:
        """Lay out an export by how many experts each layer keeps."""
        # Any experts will do: names, types and sizes are those of every choice.
        kept = {layer: tuple(range(count)) for layer, count in num_experts.items()}
        destination = resolved(destination)
        return cls(
            model=model,
            shards=in_shards(subset_tensors(model, kept), max_shard_bytes),
            destination=destination,
            folder=PartialFolder(partial_of(destination)),
        )

    @property
    def num_bytes(self) -> int:
        """Bytes of the shards."""
        return sum(shard.num_bytes for shard in self.shards)

    def check(self, *, force: bool) -> None:
        """Raise `OutputExists` or `ExportError` where nothing may be written."""
        source = self.model.checkpoint.source
        check_destination(source, self.destination, force=force)
        self.folder.refuse_busy()

    def create(self, *, force: bool, replaces: bool) -> None:
        """Make the partial folder and its files, at their full size.

        `force` removes what an interrupted run has left; `replaces` is kept for one
        that goes on.

        Raises:
            OutputExists: another export is under way.
            NotEnoughDisk, ExportError: the files cannot be made.
        """
        partial = self.folder.path
        with named_errors(self.destination, self.num_bytes):
            partial.parent.mkdir(parents=True, exist_ok=True)
            check_disk(partial.parent, self.num_bytes)
            self.folder.make(force=force, replaces=replaces)
            for shard in self.shards:
                create_shard(shard, partial)

    def take_over(
        self,
        tensors: Mapping[int, Sequence[OutputTensor]],
        checksums: Mapping[int, int],
        *,
        complete: bool,
    ) -> None:
        """Go on with what an interrupted run has written, by layer.

        A run that was `complete` may have given the folder its name already.

        Raises:
            OutputExists: that run is still going on.
            StaleRun: what it wrote is not there any more, after a crash perhaps.
        """
        if complete and not self.folder.path.exists():
            return  # it was killed after the rename: `check_published` sees to it
        if not self.folder.path.exists():
            raise self._lost("no such folder")
        self.folder.take_over()
        for layer, written in tensors.items():
            self._check_written(written, checksums[layer])

    def write(self, tensors: Sequence[OutputTensor], held: Held) -> int:
        """Write tensors from bytes in memory; return a checksum of them.

        Raises:
            NotEnoughDisk, ExportError: they cannot be written.
        """
        ours = [_given(tensor, held) for tensor in tensors]
        source = self.model.checkpoint.source
        with named_errors(self.destination, self.num_bytes, _LEFT):
            fill_shards(self.shards, ours, source, self.folder.path)
        checksum = 0
        for tensor in ours:
            for piece in tensor.ranges:
                checksum = zlib.crc32(held(piece), checksum)
        return checksum

    def _check_written(self, tensors: Sequence[OutputTensor], checksum: int) -> None:
        found, places = 0, self._places()
        try:
            for tensor in tensors:
                shard, at = places[tensor.name]
                with (self.folder.path / shard).open("rb") as file:
                    file.seek(at)
                    found = zlib.crc32(file.read(tensor.num_bytes), found)
        except OSError as error:
            raise self._lost(error.strerror) from None
        if found != checksum:
            raise self._lost(f"other bytes of {tensors[0].name} and what follows")

    def finish(
        self,
        plan: ExportPlan,
        written: Iterable[str],
        progress: Callable[[int], None] = lambda _: None,
        *,
        force: bool,
    ) -> None:
        """Write the other tensors and files, check everything, give it its name.

        `force` replaces an earlier export.

        Raises:
            OutputExists: meanwhile something has appeared that may not be replaced.
            NotEnoughDisk, ExportError: it cannot be written, or is not sound.
        """
        # The plan of the final choice; were its headers others, places would be too.
        if [shard.header for shard in plan.shards] != [s.header for s in self.shards]:
            raise RuntimeError("the plan lays the files out otherwise")
        done = frozenset(written)
        source = self.model.checkpoint.source
        with named_errors(self.destination, self.num_bytes, _LEFT):
            for shard in plan.shards:
                rest = [tensor for tensor in shard.tensors if tensor.name not in done]
                fill_shard(shard, rest, source, self.folder.path, progress)
            self._remove_all_but_shards()
            complete(plan, self.folder.path)
            publish(self.folder.path, self.destination, force=force)
        self.folder.release()

    def check_published(self, selection: Selection) -> None:
        """Check that the folder under the final name is the export of a selection.

        What an interrupted run has not removed beside it goes.

        Raises:
            StaleRun, ExportError: it is another one, or none.
        """
        if read_record(self.destination).selection_sha256 != selection.sha256:
            raise self._lost(f"another export in {self.destination}")
        self.folder.hold_name()  # which takes the lock's file that the run has left
        tidy(self.destination)
        self.folder.release()

    def _places(self) -> dict[str, tuple[str, int]]:
        """Return each tensor's file and position."""
        return {
            name: (shard.name, at)
            for shard in self.shards
            for name, at in shard.places.items()
        }

    def _remove_all_but_shards(self) -> None:
        """Remove files that an interrupted run had begun to write beside the shards."""
        names = {MARKER, *(shard.name for shard in self.shards)}
        for path in self.folder.path.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name not in names:
                path.unlink()

    def _lost(self, got: str | None) -> StaleRun:
        return StaleRun(
            "what the interrupted run had written is not there any more",
            where=self.folder.path,
            got=got,
            expected="the layers that were done",
            hint=("start over with ", Parameter("force", True)),
        )


def _given(tensor: OutputTensor, held: Held) -> OutputTensor:
    """Return a tensor whose ranges are taken from memory."""
    ranges = (replace(piece, data=partial(held, piece)) for piece in tensor.ranges)
    return replace(tensor, ranges=tuple(ranges))
