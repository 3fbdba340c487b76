"""A tokenizer of one's own: byte-level BPE, in which no text is unknown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from emo_prune.errors import Parameter, SettingsError
from emo_prune.files import sha256_text

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

END_OF_TEXT = "<|endoftext|>"
PAD = "<|pad|>"
MIN_VOCAB_SIZE = 258  # every byte, and the two special tokens


def train_tokenizer(texts: Iterator[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer; the same texts in order give the same one.

    Digits are tokens one by one. `<|endoftext|>` has the id 0, `<|pad|>` the id 1, and
    neither is added when text is encoded. Decoding gives back any text exactly.

    Args:
        texts: what to learn merges from; read once.
        vocab_size: how many tokens, special ones included; there are fewer if the
            texts have no more pairs to merge.

    Returns:
        a `transformers.PreTrainedTokenizerFast`.

    Raises:
        SettingsError: `vocab_size` is below 258.
    """
    check_vocab_size(vocab_size)
    from transformers import PreTrainedTokenizerFast  # loads torch

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END_OF_TEXT, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=END_OF_TEXT,
        pad_token=PAD,
        clean_up_tokenization_spaces=False,
    )


def check_vocab_size(vocab_size: int) -> None:
    """Raise `SettingsError` if a tokenizer cannot be trained to so many tokens."""
    if vocab_size < MIN_VOCAB_SIZE:
        raise SettingsError(
            "the vocabulary has no room for every byte and the special tokens",
            where=Parameter("vocab_size"),
            got=vocab_size,
            expected=f"{MIN_VOCAB_SIZE} or more",
            hint=("try ", Parameter("vocab_size", 2048), ", for a small corpus"),
        )


def plain_backend(tokenizer: PreTrainedTokenizerBase) -> Tokenizer:
    """Return a copy of a tokenizer's backend that neither pads nor truncates.

    Raises:
        SettingsError: it has no backend of the `tokenizers` library.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        raise SettingsError(
            "the tokenizer is not one of the tokenizers library",
            where="tokenizer",
            got=type(tokenizer).__name__,
            expected="a tokenizer with a tokenizer.json",
            hint="use a checkpoint with tokenizer.json, or train a tokenizer",
        )
    copy = Tokenizer.from_str(backend.to_str())
    copy.no_padding()
    copy.no_truncation()
    return copy


def tokenizer_digest(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return the sha256 of a tokenizer's backend as JSON.

    Padding and truncation, which calls may switch on and off, are left out.

    Raises:
        SettingsError: it has no backend of the `tokenizers` library.
    """
    return sha256_text(plain_backend(tokenizer).to_str())
