"""EMoE's configuration: what it takes from the dense one, and what it refuses."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig, DynamicCache, LlamaConfig
from transformers.cache_utils import DynamicSlidingWindowLayer

from emo_prune.errors import BadConfig
from emo_prune.models import EmoeConfig

DENSE: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "vocab_size": 50,
    "max_position_embeddings": 99,
    "tie_word_embeddings": True,
    "rope_theta": 12345.0,
    "eos_token_id": [7, 8],
}


def carved(dense: dict[str, Any] | None = None, **changes: Any) -> EmoeConfig:
    settings = {
        "dense_config": {**DENSE, **(dense or {})},
        "carved_layers": [1, 3],
        "num_experts": 8,
        "num_experts_per_tok": 2,
    }
    return EmoeConfig(**{**settings, **changes})


def test_sizes_and_tokens_are_the_dense_ones() -> None:
    config = carved(vocab_size=3, num_hidden_layers=17)
    assert isinstance(config.dense_config, LlamaConfig)
    assert config.dense_config.rope_parameters["rope_theta"] == 12345.0
    assert (config.vocab_size, config.hidden_size) == (50, 32)
    assert (config.num_hidden_layers, config.max_position_embeddings) == (4, 99)
    assert config.tie_word_embeddings is True
    assert config.eos_token_id == [7, 8]
    assert config.moe_intermediate_size == 8


def test_gpt2_is_read_by_the_names_it_has() -> None:
    config = carved(
        {"model_type": "gpt2", "n_embd": 20, "n_layer": 5, "n_positions": 77}
    )
    assert (config.hidden_size, config.num_hidden_layers) == (32, 4)  # given so above
    alone = {"model_type": "gpt2", "n_embd": 20, "n_layer": 5, "n_positions": 77}
    config = carved(dense_config=alone)
    assert (config.hidden_size, config.num_hidden_layers) == (20, 5)
    assert config.max_position_embeddings == 77
    assert config.moe_intermediate_size == 4 * 20 // 8


def test_what_is_not_of_the_carving_is_of_the_dense_config() -> None:
    config = carved(attention_dropout=0.5, pad_token_id=3)
    dense = config.get_text_config()
    assert (dense.attention_dropout, dense.pad_token_id) == (0.5, 3)
    config.use_cache = False
    assert dense.use_cache is False
    dense.rms_norm_eps = 0.125
    assert config.rms_norm_eps == 0.125
    assert not hasattr(dense, "num_experts")
    with pytest.raises(AttributeError, match="no_such_field"):
        _ = config.no_such_field
    again = copy.deepcopy(config)
    again.attention_dropout = 0.25
    assert (again.attention_dropout, config.attention_dropout) == (0.25, 0.5)


def test_a_file_s_copies_follow_the_dense_config() -> None:
    config = carved()
    config.vocab_size = 77
    config.get_text_config().eos_token_id = 9
    saved = config.to_dict()
    assert (saved["vocab_size"], saved["dense_config"]["vocab_size"]) == (77, 77)
    assert (config.eos_token_id, saved["eos_token_id"]) == (9, 9)


@pytest.mark.compatibility
def test_caches_are_those_of_the_dense_model() -> None:
    windowed = carved({"model_type": "mistral", "sliding_window": 16})
    layers = DynamicCache(config=windowed).layers
    assert [type(layer) for layer in layers] == [DynamicSlidingWindowLayer] * 4


@pytest.mark.compatibility
def test_what_was_saved_is_what_is_loaded(tmp_path: Path) -> None:
    config = carved(gate_source="inter", num_experts=6, moe_intermediate_size=8)
    config.save_pretrained(tmp_path / "one")
    loaded = AutoConfig.from_pretrained(tmp_path / "one")
    loaded.save_pretrained(tmp_path / "two")
    texts = [(tmp_path / n / "config.json").read_text() for n in ("one", "two")]
    assert texts[0] == texts[1]
    saved = json.loads(texts[0])
    assert saved["model_type"] == "emoe"
    assert saved["num_experts"] == 6
    assert saved["moe_intermediate_size"] == 8
    assert saved["num_hidden_layers"] == 4
    assert saved["dense_config"]["model_type"] == "llama"
    assert AutoConfig.for_model(**saved["dense_config"]).intermediate_size == 64


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"dense_config": {"model_type": "mixtral"}}, "dense_config, model_type"),
        ({"dense_config": {"model_type": "no such"}}, "dense_config, model_type"),
        ({"dense_config": {"hidden_size": 8}}, "dense_config, model_type"),
        ({"dense_config": {"model_type": "gpt2"}, "gate_source": "up"}, "gate_source"),
        ({"carved_layers": [3, 1]}, "carved_layers"),
        ({"carved_layers": [1, 1]}, "carved_layers"),
        ({"carved_layers": [1, 4]}, "carved_layers"),
        ({"carved_layers": [-1]}, "carved_layers"),
        ({"num_experts": 9, "moe_intermediate_size": 8}, "num_experts"),
        ({"num_experts": 65}, "num_experts"),
        ({"num_experts": 7}, "num_experts"),
        ({"num_experts": 0}, "num_experts"),
        ({"num_experts_per_tok": 0}, "num_experts_per_tok"),
        ({"num_experts_per_tok": 9}, "num_experts_per_tok"),
    ],
)
def test_contradictions_are_refused(changes: dict[str, Any], where: str) -> None:
    with pytest.raises(BadConfig) as caught:
        carved(**changes)
    assert caught.value.where == where
    assert caught.value.hint


def test_the_caller_s_dense_config_stays_as_it_is() -> None:
    dense = LlamaConfig(**{k: v for k, v in DENSE.items() if k != "model_type"})
    config = carved()
    made = EmoeConfig(
        dense_config=dense, carved_layers=[1], num_experts=8, num_experts_per_tok=2
    )
    made.eos_token_id = 9
    made.use_cache = False
    assert made.get_text_config().eos_token_id == 9
    assert dense.eos_token_id == config.eos_token_id == [7, 8]
    assert dense.use_cache
