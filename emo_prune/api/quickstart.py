"""A small EMO checkpoint and a small task, made on the spot, to walk the road on.

The weights are random: the walk shows the files and the commands, not quality.
"""

from __future__ import annotations

import json
from pathlib import Path

from emo_prune.errors import OutputExists

_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight",
            "nine", "ten", "eleven", "twelve")  # fmt: skip


def make_quickstart(folder: Path) -> tuple[Path, Path, Path]:
    """Make a checkpoint, calibration examples and examples to score, in a new folder.

    Returns the three paths.

    Raises:
        OutputExists: the folder is there already.
    """
    if folder.exists():
        raise OutputExists(
            "the folder exists already",
            where=folder,
            hint="remove it, or choose another with -o",
        )
    model = folder / "tiny-emo"
    model.mkdir(parents=True)
    _make_checkpoint(model)
    sums = [(a, b) for a in range(7) for b in range(6)]
    calibration, scored = folder / "calibration.jsonl", folder / "questions.jsonl"
    _write_rows(calibration, sums[0::2])
    _write_rows(scored, sums[1::2])
    return model, calibration, scored


def _make_checkpoint(folder: Path) -> None:
    import torch

    from emo_prune.models import EmoConfig, EmoForCausalLM

    config = EmoConfig(
        vocab_size=260,
        hidden_size=64,
        intermediate_size=32,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        num_experts=32,
        num_shared_experts=1,
        num_experts_per_tok=4,
        max_position_embeddings=512,
        initializer_range=0.3,  # wide enough for routers to have preferences
        eos_token_id=256,
        pad_token_id=257,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        EmoForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    _make_tokenizer(folder)


def _make_tokenizer(folder: Path) -> None:
    """Write a tokenizer with a token for each byte."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate(letters)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|endoftext|>",
        pad_token="<|pad|>",
        model_max_length=512,
    ).save_pretrained(folder)


def _write_rows(file: Path, sums: list[tuple[int, int]]) -> None:
    rows = []
    for a, b in sums:
        choices = [f" {_NUMBERS[(a + b + step) % 12]}" for step in range(4)]
        right = (a * b) % 4
        choices[0], choices[right] = choices[right], choices[0]
        question = f"Question: What is {_NUMBERS[a]} plus {_NUMBERS[b]}?\nAnswer:"
        rows.append(
            {
                "prompt": question,
                "completion": choices[right],
                "choices": choices,
                "answer": right,
            }
        )
    text = "".join(json.dumps(row) + "\n" for row in rows)
    file.write_text(text, encoding="utf-8")
