"""Windows: what a training reads, in which order, and from which pools."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

from emo_prune.errors import BadCorpus
from emo_prune.models import EmoConfig, EmoForCausalLM
from emo_prune.pretraining.token_cache import TokenCache
from emo_prune.pretraining.windows import PoolSizes, Windows, collate

LENGTH = 24
POOLS = PoolSizes(least=2, most=7, num_layers=3)
EOS = 0


def windows(cache: TokenCache, **changes: Any) -> Windows:
    keywords: dict[str, Any] = {
        "length": LENGTH,
        "eos_token_id": EOS,
        "seed": 1,
        "total": 500,
        "pools": POOLS,
    }
    return Windows(cache, **keywords | changes)


def documents_of(cache: TokenCache) -> list[list[int]]:
    return [part.tolist() for part in np.split(cache.tokens, cache.ends[:-1])]


def stream(read: Windows, epoch: int) -> list[int]:
    numbers = range(epoch * read.per_epoch, (epoch + 1) * read.per_epoch)
    return [token for number in numbers for token in read[number].tokens.tolist()]


def test_an_epoch_reads_every_document_once(cache: TokenCache) -> None:
    documents = Counter(map(tuple, documents_of(cache)))
    for epoch in (0, 1):
        tokens = stream(windows(cache), epoch)
        assert tokens[0] == EOS
        places = [place for place, token in enumerate(tokens) if token == EOS]
        read = [
            tuple(tokens[begin + 1 : end])
            for begin, end in zip(places, [*places[1:], None], strict=True)
        ]
        missing = documents - Counter(read)
        assert sum(missing.values()) == 1  # the last, which the end of the epoch cuts
        assert next(iter(missing))[: len(read[-1])] == read[-1]


def test_epochs_and_seeds_read_in_other_orders(cache: TokenCache) -> None:
    first = stream(windows(cache), 0)
    assert first != stream(windows(cache), 1)
    assert first != stream(windows(cache, seed=2), 0)
    assert first == stream(windows(cache), 0)


def test_a_window_is_the_same_whatever_was_read_before(cache: TokenCache) -> None:
    read = windows(cache)
    number = read.per_epoch + 3
    for earlier in range(number):
        _ = read[earlier]
    alone, after = windows(cache)[number], read[number]
    assert alone.tokens.tolist() == after.tokens.tolist()
    assert alone.pool_sizes is not None
    assert after.pool_sizes is not None
    assert alone.pool_sizes.tolist() == after.pool_sizes.tolist()


def test_documents_start_where_the_end_of_text_token_is(cache: TokenCache) -> None:
    for number in range(60):
        window = windows(cache)[number]
        assert window.starts[0] == 0
        inner = [place for place in np.flatnonzero(window.tokens == EOS) if place]
        assert window.starts[1:].tolist() == inner


def test_pool_sizes_are_drawn_evenly_for_each_document_and_layer(
    cache: TokenCache,
) -> None:
    sizes = [windows(cache)[number].pool_sizes for number in range(400)]
    drawn = np.concatenate([one.ravel() for one in sizes if one is not None])
    values, counts = np.unique(drawn, return_counts=True)
    assert values.tolist() == [2, 3, 4, 5, 6, 7]
    assert counts.min() > 0.8 * counts.max()
    several = [one for one in sizes if one is not None and one.shape[1] > 1]
    assert any(len(set(one[0])) > 1 for one in several)  # documents differ
    assert any(len(set(one[:, 0])) > 1 for one in several)  # layers differ


def test_a_fixed_pool_size_is_always_drawn(cache: TokenCache) -> None:
    window = windows(cache, pools=PoolSizes(least=5, most=5, num_layers=2))[0]
    assert window.pool_sizes is not None
    assert (window.pool_sizes == 5).all()


def test_a_batch_numbers_its_documents_through(cache: TokenCache) -> None:
    several = [windows(cache)[number] for number in range(6)]
    batch = collate(several, document_masking=True)
    documents = batch["documents"]
    count = sum(len(window.starts) for window in several)
    assert sorted(set(documents.flatten().tolist())) == list(range(count))
    assert batch["pool_sizes"].shape == (3, count)
    for row, window in zip(documents, several, strict=True):
        changes = row.diff().nonzero().flatten() + 1
        assert changes.tolist() == window.starts[1:].tolist()
    starts = batch["position_ids"] == 0
    assert starts.sum() == count


def test_without_pools_and_masks_positions_run_through(cache: TokenCache) -> None:
    plain = windows(cache, pools=None)
    batch = collate([plain[0], plain[1]], document_masking=False)
    assert "pool_sizes" not in batch
    assert batch["position_ids"].tolist() == [list(range(LENGTH))] * 2


@pytest.mark.parametrize("masking", [True, False])
def test_attention_looks_across_documents_only_without_masking(
    cache: TokenCache, masking: bool
) -> None:
    torch.manual_seed(0)
    model = EmoForCausalLM(
        EmoConfig(
            vocab_size=300,
            hidden_size=32,
            intermediate_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_experts=4,
            num_experts_per_tok=2,
            initializer_range=0.2,
            pad_token_id=1,
        )
    ).eval()
    read = windows(cache, pools=None)
    number = next(n for n in range(50) if 5 <= read[n].starts[-1] < LENGTH - 3)
    batch = collate([read[number], read[number + 1]], document_masking=masking)
    changed = batch["input_ids"].clone()
    start = int(read[number].starts[-1])
    changed[0, : start - 1] = 77

    def logits(ids: torch.Tensor) -> torch.Tensor:
        got = model(ids, position_ids=batch["position_ids"], use_cache=False).logits
        after: torch.Tensor = got[0, start:].detach()
        return after

    difference = (logits(batch["input_ids"]) - logits(changed)).abs().max()
    assert (difference < 1e-5) == masking


def test_a_corpus_shorter_than_a_window_is_refused(cache: TokenCache) -> None:
    with pytest.raises(BadCorpus, match="too short"):
        windows(cache, length=10**6)
