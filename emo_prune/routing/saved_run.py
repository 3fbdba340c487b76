"""The state of a streamed run after a layer, so that an interrupted run can go on.

One file beside the output, replaced as a whole after each layer: a safetensors header,
the hidden states, what was counted, and the facts that say which run it belongs to.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from emo_prune.architectures import MoEModel
from emo_prune.checkpoint import (
    ByteRange,
    FolderSource,
    OutputTensor,
    Shard,
    Tensor,
    Wanted,
    read_header,
)
from emo_prune.errors import CheckpointError, OutputExists, Parameter, StaleRun, Worded
from emo_prune.files import canonical_json, replacing, strict_json
from emo_prune.progress import Progress
from emo_prune.routing.counts import COUNTS, SUMS, LayerRouting

if TYPE_CHECKING:
    from emo_prune.routing.layers import TaskState

_FACTS = "facts"
_START_OVER = ("start over with ", Parameter("force", True))


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedRun:
    """Where a run is saved, and what it is: another one cannot go on from there.

    `key` holds model, tokens and options as values of JSON.
    """

    path: Path
    key: Mapping[str, Any]

    def save(
        self, done: int, states: Sequence[TaskState], notes: Mapping[str, Any]
    ) -> None:
        """Save the state after a layer; `notes` are whatever else is to be kept.

        Raises:
            NotEnoughDisk, ExportError: it cannot be written.
        """
        facts = {"key": dict(self.key), "done": done, "notes": dict(notes)}
        parts = {_FACTS: np.frombuffer(canonical_json(facts).encode(), np.uint8)}
        for number, state in enumerate(states):
            parts[f"{number}.hidden"] = state.hidden.raw
            for layer in state.routing:
                for name, array in _arrays(layer):
                    raw = np.ascontiguousarray(array).view(np.uint8).ravel()
                    parts[f"{number}.{layer.layer}.{name}"] = raw
        outputs = tuple(
            OutputTensor(
                name=name,
                dtype="U8",
                shape=raw.shape,
                ranges=(ByteRange("", 0, raw.nbytes),),
            )
            for name, raw in parts.items()
        )
        with replacing(self.path) as file:
            file.write(Shard(name=self.path.name, tensors=outputs).header)
            for raw in parts.values():
                file.write(raw.data)

    def load(
        self, model: MoEModel, states: Sequence[TaskState]
    ) -> tuple[int, dict[str, Any]]:
        """Bring tasks to where they were; return the layers done, and notes.

        Raises:
            StaleRun: it is of another run, or damaged.
        """
        source = FolderSource(self.path.parent)
        try:
            tensors = self._tensors(source)
            facts = strict_json(_read(source, tensors[_FACTS]))
            key, done, notes = facts["key"], facts["done"], facts["notes"]
            if not isinstance(key, dict) or not isinstance(notes, dict):
                raise ValueError("no facts of a run")
            self._check(key)
            if type(done) is not int or not 0 < done <= model.num_layers:
                raise ValueError(f"{done!r:.40} layers are done")
            past = [moe.layer for moe in model.layers if moe.layer < done]
            for number, state in enumerate(states):
                hidden = state.hidden.raw
                at = tensors[f"{number}.hidden"]
                if at.num_bytes != hidden.nbytes:
                    raise ValueError("hidden states of another size")
                source.fill([Wanted(at.shard, at.start, hidden.data)])
                state.routing[:] = _routing(source, tensors, number, model)
                if [layer.layer for layer in state.routing] != past:
                    raise ValueError("what was counted is of other layers")
            return done, notes
        except (CheckpointError, KeyError, TypeError, ValueError, OSError) as error:
            raise StaleRun(
                "the state of the interrupted run cannot be read",
                where=self.path,
                got=str(error),
                expected="the file that the run wrote",
                hint=_START_OVER,
            ) from None

    def _tensors(self, source: FolderSource) -> dict[str, Tensor]:
        found = read_header(source, self.path.name)
        return {tensor.name: tensor for tensor in found}

    def _check(self, found: Mapping[str, Any]) -> None:
        wanted = json.loads(canonical_json(dict(self.key)))
        differing = sorted(
            name for name in {*wanted, *found} if wanted.get(name) != found.get(name)
        )
        if differing:
            raise StaleRun(
                "the interrupted run was another one",
                where=self.path,
                got=f"another {differing[0]}: {found.get(differing[0])!r}"[:200],
                expected=repr(wanted.get(differing[0]))[:200],
                hint=("repeat the options of that run, or ", *_START_OVER),
            )


def refuse_leftover(state: Path, *, force: bool) -> None:
    """Refuse to write over the state of an earlier run, unless `force` says so.

    Raises:
        OutputExists: the state of an interrupted run is there.
    """
    if state.is_dir():
        raise OutputExists(
            "a folder is where the state of the run would be saved",
            where=state,
            hint=("remove it, or choose another place with ", Parameter("output")),
        )
    if state.exists() and not force:
        raise OutputExists(
            "an interrupted run is in the way",
            where=state,
            hint=(
                *("go on from there with ", Parameter("resume", True)),
                *(" or, if that run is not going on, ", *_START_OVER),
            ),
        )


@contextlib.contextmanager
def resumable(state: Path | None, progress: Progress) -> Iterator[None]:
    """Forget a run's state when the block ends well; else say how to go on.

    With None there is no state: nothing is said or removed.
    """
    try:
        yield
    except (OutputExists, StaleRun):
        raise  # what is there belongs to another run
    except BaseException:
        if state is not None and state.exists():
            progress.say(
                Worded(
                    f"{state} holds the layers that are done: ",
                    *(Parameter("resume", True), " goes on"),
                )
            )
        raise
    if state is not None:
        state.unlink(missing_ok=True)


def stamps(model: MoEModel) -> list[list[Any]]:
    """Return what tells that a checkpoint's files are still the same.

    Name, size and time of change of a folder's shards; the commit of a Hub repository.
    """
    source = model.checkpoint.source
    if not isinstance(source, FolderSource):
        return [[model.checkpoint.revision]]
    found = [(shard, (source.root / shard).stat()) for shard in model.checkpoint.shards]
    return [[shard, stat.st_size, stat.st_mtime_ns] for shard, stat in found]


def _arrays(layer: LayerRouting) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    for name in (*COUNTS, *SUMS):
        if (array := getattr(layer, name)) is not None:
            yield name, array


def _routing(
    source: FolderSource, tensors: Mapping[str, Tensor], number: int, model: MoEModel
) -> list[LayerRouting]:
    routing = []
    for layer in model.layers:
        prefix = f"{number}.{layer.layer}."
        arrays: dict[str, Any] = {}
        for name, tensor in tensors.items():
            if name.startswith(prefix):
                part = name.removeprefix(prefix)
                dtype = "int64" if part in COUNTS else "float64"
                values = np.frombuffer(_read(source, tensor), dtype).copy()
                shape = (2,) if part == "num_tokens" else (2, layer.num_experts)
                arrays[part] = values.reshape(shape)
        if arrays:
            routing.append(LayerRouting(layer=layer.layer, **arrays))
    return routing


def _read(source: FolderSource, tensor: Tensor) -> bytes:
    return source.read(tensor.shard, tensor.start, tensor.end)
