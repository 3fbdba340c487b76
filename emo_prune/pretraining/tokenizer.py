"""The tokenizer of a training: a given one, or byte-level BPE that knows any text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from emo_prune.errors import BadRecipe, Parameter, SettingsError
from emo_prune.files import sha256_text
from emo_prune.options import PretrainOptions
from emo_prune.pretraining.documents import Corpus, open_corpus
from emo_prune.progress import Advance

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

END_OF_TEXT = "<|endoftext|>"
PAD = "<|pad|>"
_MOST_BYTES = 200_000_000  # of a corpus; more text hardly changes the merges
MIN_VOCAB_SIZE = 258  # every byte, and the two special tokens


def prepared_tokenizer(
    options: PretrainOptions, sources: Sequence[str], vocab_size: int, folder: Path
) -> PreTrainedTokenizerBase:
    """Return the tokenizer of a training: a given one, or one trained on its text.

    It is written into `folder` unless one is there, and always read from it.

    Raises:
        BadRecipe: it has more tokens than `vocab_size`, or no end-of-text token.
        CheckpointError: a given one cannot be loaded.
        BadCorpus: there is no text to train one on.
    """
    from emo_prune.models.loading import load_tokenizer

    if not folder.exists():
        given = options.tokenizer or options.init_from
        if given is not None:
            tokenizer = load_tokenizer(Path(given))
        else:
            corpus = open_corpus(sources)
            label = f"training a tokenizer of {vocab_size:,} tokens"
            with options.progress.track(label, corpus.size(), "bytes") as advance:
                tokenizer = train_tokenizer(_some_texts(corpus, advance), vocab_size)
        tokenizer.save_pretrained(folder)
    tokenizer = load_tokenizer(folder)
    _check(tokenizer, vocab_size)
    return tokenizer


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


def _some_texts(corpus: Corpus, advance: Advance) -> Iterator[str]:
    """Yield every n-th text, so that they are not too many."""
    every = -(-corpus.size() // _MOST_BYTES) or 1
    reading, told = corpus.read(), 0
    for number, document in enumerate(reading):
        if number % every == 0:
            yield document.text
        advance(reading.num_bytes - told)
        told = reading.num_bytes


def _check(tokenizer: PreTrainedTokenizerBase, vocab_size: int) -> None:
    if len(tokenizer) > vocab_size:
        raise BadRecipe(
            "the tokenizer has more tokens than the model has rows for",
            where="vocab_size",
            got=f"{len(tokenizer):,} tokens",
            expected=f"{vocab_size:,} at most",
            hint=("try ", Parameter("vocab_size", -(-len(tokenizer) // 64) * 64)),
        )
    if tokenizer.eos_token_id is None:
        raise BadRecipe(
            "the tokenizer has no end-of-text token, which goes between documents",
            where=Parameter("tokenizer"),
            expected="eos_token in tokenizer_config.json",
            hint=("add it, or leave ", Parameter("tokenizer"), " out to train one"),
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
