"""Packed windows of tokens: which text a step reads, and how large its pools are.

Everything follows from the seed and the window's number, so that a training that was
killed goes on with exactly the text it would have read, on any number of processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from emo_prune.errors import BadCorpus, Parameter
from emo_prune.pretraining.token_cache import TokenCache

_NO_LABEL = -100  # what torch's cross-entropy leaves out
_LONGEST_PERIOD = 13  # tokens; as in the EMO authors' training


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A sequence of tokens.

    tokens: int64 [S].
    starts: int64 [D], where documents begin; one that was cut by the window's edge
        begins at 0.
    pool_sizes: int64 [layers, D]; None without pools.
    """

    tokens: NDArray[np.int64]
    starts: NDArray[np.int64]
    pool_sizes: NDArray[np.int64] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSizes:
    """From where pool sizes are drawn: `least` to `most`, evenly, for each layer."""

    least: int
    most: int
    num_layers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """The documents of an epoch, and where each begins in the stream of tokens."""

    documents: NDArray[np.int64]
    starts: NDArray[np.int64]  # one more than documents: the last is the stream's end


class Windows(Dataset[Window]):
    """The windows of a whole training, one epoch after the other.

    In each epoch the documents are shuffled, an end-of-text token put before each, and
    the stream cut into windows; what is left over at its end is not read in that epoch.
    """

    def __init__(
        self,
        cache: TokenCache,
        *,
        length: int,
        eos_token_id: int,
        seed: int,
        total: int,
        pools: PoolSizes | None,
    ) -> None:
        """Hold `total` windows of `length` tokens.

        Raises:
            BadCorpus: the text does not fill a single window.
        """
        self._cache = cache
        self._length = length
        self._eos = eos_token_id
        self._seed = seed
        self._total = total
        self._pools = pools
        self.per_epoch = (cache.num_tokens + cache.num_documents) // length
        if self.per_epoch == 0:
            raise BadCorpus(
                "the corpus is too short for a single sequence",
                where="sequence_length",
                got=f"{cache.num_tokens:,} tokens",
                expected=f"{length:,} or more",
                hint=(
                    "give more text, or ",
                    Parameter("settings", "sequence_length=LENGTH"),
                ),
            )
        self._order = lru_cache(maxsize=2)(self._shuffled)

    def __len__(self) -> int:
        return self._total

    def __getitem__(self, number: int) -> Window:
        epoch, place = divmod(number, self.per_epoch)
        order = self._order(epoch)
        begin, end = place * self._length, (place + 1) * self._length
        first = int(np.searchsorted(order.starts, begin, side="right")) - 1
        last = int(np.searchsorted(order.starts, end, side="left"))
        tokens = np.concatenate(
            [self._document(int(document)) for document in order.documents[first:last]]
        )
        offset = begin - order.starts[first]
        starts = np.maximum(order.starts[first:last] - begin, 0)
        return Window(
            tokens=tokens[offset : offset + self._length],
            starts=starts,
            pool_sizes=self._draw(number, len(starts)),
        )

    def _document(self, number: int) -> NDArray[np.int64]:
        begin = int(self._cache.ends[number - 1]) if number else 0
        tokens = self._cache.tokens[begin : int(self._cache.ends[number])]
        return np.concatenate(([self._eos], tokens)).astype(np.int64)

    def _shuffled(self, epoch: int) -> _Order:
        documents = self._generator(0, epoch).permutation(self._cache.num_documents)
        lengths = np.diff(self._cache.ends, prepend=0)[documents] + 1
        starts = np.concatenate(([0], np.cumsum(lengths)))
        return _Order(documents=documents, starts=starts)

    def _draw(self, number: int, count: int) -> NDArray[np.int64] | None:
        pools = self._pools
        if pools is None:
            return None
        return self._generator(1, number).integers(
            pools.least, pools.most + 1, size=(pools.num_layers, count)
        )

    def _generator(self, purpose: int, number: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, purpose, number])


def collate(
    windows: Sequence[Window], *, document_masking: bool, max_repeats: int = 0
) -> dict[str, Tensor]:
    """Put windows into one batch.

    Returns `input_ids`, `labels`, `position_ids` and `documents`, all int64 [B, S], and
    where there are pools `pool_sizes`, int64 [layers, D]. With `document_masking`
    positions begin anew with each document, which transformers takes to mean that
    attention does not look across. Labels are the inputs, or -100 throughout a window
    that repeats some tokens `max_repeats` times in a row (0: that is no matter).
    """
    input_ids = torch.from_numpy(np.stack([window.tokens for window in windows]))
    begins = torch.zeros_like(input_ids)
    for row, window in enumerate(windows):
        begins[row, window.starts] = 1
    positions = torch.arange(input_ids.shape[1]).expand_as(input_ids)
    if document_masking:
        positions = positions - (begins * positions).cummax(dim=1).values
    batch = {
        "input_ids": input_ids,
        "labels": _labels(input_ids, max_repeats),
        "position_ids": positions,
        "documents": begins.flatten().cumsum(0).reshape(begins.shape) - 1,
    }
    sizes = [window.pool_sizes for window in windows if window.pool_sizes is not None]
    if sizes:
        batch["pool_sizes"] = torch.from_numpy(np.concatenate(sizes, axis=1))
    return batch


def _labels(input_ids: Tensor, max_repeats: int) -> Tensor:
    if not max_repeats:
        return input_ids
    repeat = [repeats_itself(row, max_repeats) for row in input_ids.numpy()]
    return input_ids.masked_fill(torch.tensor(repeat)[:, None], _NO_LABEL)


def repeats_itself(tokens: NDArray[np.integer], max_repeats: int) -> bool:
    """Tell whether some 1 to 13 tokens [S] come `max_repeats` times in a row, or more.

    Such windows teach nothing and upset the training. OLMo-core's instance filter,
    which leaves them out of the loss (https://github.com/allenai/OLMo-core).
    """
    # A period that comes n times is a run of (n - 1) periods in which each token is
    # the one a period before.
    return any(
        _longest_run(tokens[period:] == tokens[:-period]) >= period * (max_repeats - 1)
        for period in range(1, min(_LONGEST_PERIOD, len(tokens) - 1) + 1)
    )


def _longest_run(holds: NDArray[np.bool_]) -> int:
    breaks = np.flatnonzero(~holds)
    edges = np.concatenate(([-1], breaks, [len(holds)]))
    return int(np.diff(edges).max()) - 1
