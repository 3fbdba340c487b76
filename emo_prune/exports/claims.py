"""What each tensor of an export must be, worked out from its name alone.

The writer goes from the source to the export by the roles that `architectures` gives
to tensors. A verifier that did the same would repeat its mistakes; so this goes back,
from a name in the export to bytes of the source, and shares no plan with the writer.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from emo_prune.architectures import MoEModel
from emo_prune.checkpoint import Tensor
from emo_prune.errors import Command, VerificationFailed

Kept = Mapping[int, Sequence[int]]

# The head, the layer, the expert and the rest of an expert's name.
EXPERT = re.compile(r"^((?:.*\.)?(?:layers|h)\.(\d+)\..*\bexperts\.)(\d+)(\..+)$")
_LAYER = re.compile(r"^(?:.*\.)?(?:layers|h)\.(\d+)\.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Bytes [start, end) of an exported tensor follow from others of the source.

    source: the tensor they are made of, from its file's byte `source_start` on; None
        where they are made of nothing.
    holds: tells whether the exported bytes (first) are what those of the source
        (second, as many, or none) make. It is asked of whole pieces of 16 MB or less.
    """

    target: Tensor
    start: int
    end: int
    source: Tensor | None
    source_start: int = 0
    holds: Callable[[bytes, bytes], bool] = operator.eq


def same_names(model: MoEModel, kept: Kept, dropped: Sequence[str]) -> set[str]:
    """Return the source's names, less those of experts that go, ids renumbered."""
    names = set()
    for name in {*model.checkpoint.tensors} - {*dropped}:
        found = EXPERT.match(name)
        layer = int(found[2]) if found else -1
        if found and layer in kept:
            if int(found[3]) in kept[layer]:
                new = list(kept[layer]).index(int(found[3]))
                names.add(f"{found[1]}{new}{found[4]}")
        else:
            names.add(name)
    return names


def same_claims(
    tensor: Tensor, name: str, model: MoEModel, kept: Kept
) -> Iterator[Claim]:
    """Claim that a tensor is the source's; `name` is the one it has in that layout."""
    expert = EXPERT.match(name)
    if expert and int(expert[2]) in kept:
        old = kept[int(expert[2])][int(expert[3])]
        name = f"{expert[1]}{old}{expert[4]}"
    origin = model.checkpoint.tensors[name]
    if not expert and name in _per_expert_names(model):
        layer = _LAYER.search(name)
        experts = kept.get(int(layer[1]), ()) if layer else ()
        yield from row_claims(tensor, origin, experts)
    else:
        yield whole_claim(tensor, origin)


def _per_expert_names(model: MoEModel) -> set[str]:
    return {t.name for layer in model.layers for t in (*layer.router, *layer.stacked)}


def row_claims(
    tensor: Tensor, origin: Tensor, experts: Sequence[int]
) -> Iterator[Claim]:
    """Claim that a tensor's rows are those of some experts, in this order."""
    row = origin.num_bytes // origin.shape[0]
    if (
        tensor.shape != (len(experts), *origin.shape[1:])
        or tensor.dtype != origin.dtype
        or tensor.num_bytes != row * len(experts)
    ):
        raise failed("a tensor has the wrong shape", tensor.name, str(tensor.shape))
    for new, old in enumerate(experts):
        start = tensor.start + new * row
        yield Claim(
            target=tensor,
            start=start,
            end=start + row,
            source=origin,
            source_start=origin.start + old * row,
        )


def whole_claim(
    tensor: Tensor,
    origin: Tensor,
    holds: Callable[[bytes, bytes], bool] = operator.eq,
) -> Claim:
    """Claim that a tensor, of the same type and shape, follows from another."""
    if tensor.shape != origin.shape or tensor.dtype != origin.dtype:
        raise failed(
            "a tensor has the wrong shape or type",
            tensor.name,
            f"{tensor.dtype} {tensor.shape}, source {origin.dtype} {origin.shape}",
        )
    return Claim(
        target=tensor,
        start=tensor.start,
        end=tensor.end,
        source=origin,
        source_start=origin.start,
        holds=holds,
    )


def failed(what: str, where: str, got: str) -> VerificationFailed:
    """Return the error for an export that is not what it must be."""
    return VerificationFailed(
        what,
        where=where,
        got=got,
        hint=("do not use this export; run ", Command("export"), " again"),
    )
