"""A tiny mixture-of-experts model that reads bytes, made on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from emo_prune.evaluation import Results, Scorer
from emo_prune.tasks import EvaluationSet


def byte_tokenizer() -> Any:
    """One token a byte, as in the goldens: 256 bytes, end of text, padding."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {symbol: i for i, symbol in enumerate(alphabet)}
    tokenizer = Tokenizer(BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|endoftext|>", pad_token="<|pad|>"
    )


def tiny_olmoe(seed: int = 0, context: int = 8192) -> Any:
    """An OLMoE of one layer and four experts with random weights."""
    import torch
    from transformers import OlmoeConfig, OlmoeForCausalLM

    torch.manual_seed(seed)
    config = OlmoeConfig(
        vocab_size=258,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        num_experts=4,
        num_experts_per_tok=2,
        max_position_embeddings=context,
        eos_token_id=256,
        pad_token_id=257,
        initializer_range=0.5,
    )
    return OlmoeForCausalLM(config).eval()


def save(folder: Path, seed: int = 0) -> Path:
    """Write model and tokenizer as a checkpoint."""
    tiny_olmoe(seed).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


def scored(
    model: Any, tokenizer: Any, evaluation: EvaluationSet, *, name: str, **options: Any
) -> Results:
    """Score a model in memory; the options are those of `Scorer`."""
    with Scorer(model, tokenizer, **options) as scorer:
        return scorer.score(evaluation, name)
