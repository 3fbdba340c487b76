from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emo_prune.pretraining import Recipe, read_recipe
from emo_prune.pretraining.token_cache import TokenCache, tokenized
from emo_prune.pretraining.tokenizer import train_tokenizer
from tests.pretraining.corpora import texts_file


@pytest.fixture
def recipe() -> Recipe:
    """A recipe for models that train within a second."""
    return replace(
        read_recipe("tiny-cpu"),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=16,
        num_experts=8,
        num_experts_per_tok=3,
        small_num_experts=4,
        vocab_size=300,
        pool_min=2,
        pool_max=7,
        sequence_length=32,
        batch_size=4,
        micro_batch_size=2,
        tokens=32 * 4 * 8,
        anneal_tokens=32 * 4 * 2,
        warmup_steps=2,
        log_steps=2,
        save_steps=4,
        save_dtype="float32",
    )


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> TokenCache:
    """The tokens of forty made-up documents of all lengths."""
    folder = tmp_path_factory.mktemp("tokens")
    lengths = np.random.default_rng(0).integers(1, 90, size=40)
    texts = [f"{chr(97 + i % 26)}{i} " * int(n) for i, n in enumerate(lengths)]
    file = texts_file(folder / "made-up.jsonl", *texts)
    return tokenized([str(file)], train_tokenizer(iter(texts), 300), folder / "cache")


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """A file of documents."""
    texts = [
        f"the {i}th of many documents, it goes on {'and on ' * i}" for i in range(30)
    ]
    return texts_file(tmp_path / "corpus" / "made-up.jsonl", *texts)
