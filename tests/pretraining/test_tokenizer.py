from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from emo_prune.errors import SettingsError
from emo_prune.models.loading import load_tokenizer
from emo_prune.pretraining.tokenizer import tokenizer_digest, train_tokenizer

TEXTS = [
    f"The {noun} of {year} is not the {noun} of the law; see § {year}."
    for noun in ("contract", "tort", "statute", "court")
    for year in range(1990, 2000)
]


@cache
def _trained(vocab_size: int = 290) -> Any:
    return train_tokenizer(iter(TEXTS), vocab_size)


@given(st.text())
@example("a  b\n\n \t don't , stop . \u200d\U0001f44d\u0000 <|endoftext|><|pad|> ﬁ Å")
def test_every_text_comes_back_exactly(text: str) -> None:
    tokenizer = _trained()
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(st.text())
def test_the_smallest_vocabulary_knows_every_text(text: str) -> None:
    tokenizer = _trained(258)
    assert len(tokenizer) == 258
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_merges_are_learned_up_to_the_size_asked_for() -> None:
    tokenizer = _trained()
    assert len(tokenizer) == 290
    assert len(tokenizer.encode(TEXTS[0])) < len(TEXTS[0]) / 2


def test_a_text_with_too_few_pairs_to_merge_gives_fewer_tokens() -> None:
    assert len(train_tokenizer(iter(["abc"]), 300)) == 260


def test_the_special_tokens_come_first_and_are_never_added() -> None:
    tokenizer = _trained()
    assert (tokenizer.eos_token, tokenizer.eos_token_id) == ("<|endoftext|>", 0)
    assert (tokenizer.pad_token, tokenizer.pad_token_id) == ("<|pad|>", 1)
    assert tokenizer.bos_token is None
    assert tokenizer.encode("law") == tokenizer.encode("law", add_special_tokens=False)
    assert not {0, 1} & set(tokenizer.encode("law"))
    assert tokenizer.encode("") == []


def test_digits_are_tokens_one_by_one() -> None:
    tokenizer = _trained()
    assert tokenizer.convert_ids_to_tokens(tokenizer.encode("1990")) == list("1990")


@pytest.mark.parametrize("vocab_size", [257, 0, -1])
def test_a_vocabulary_too_small_for_the_bytes_is_refused(vocab_size: int) -> None:
    with pytest.raises(SettingsError, match="258 or more"):
        train_tokenizer(iter(TEXTS), vocab_size)


def test_another_process_trains_the_same_tokenizer() -> None:
    code = (
        "from emo_prune.pretraining.tokenizer import *\n"
        "from tests.pretraining.test_tokenizer import TEXTS\n"
        "print(tokenizer_digest(train_tokenizer(iter(TEXTS), 290)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == tokenizer_digest(_trained())


def test_a_saved_tokenizer_loads_as_the_same(tmp_path: Path) -> None:
    tokenizer = _trained()
    tokenizer.save_pretrained(tmp_path)
    loaded = load_tokenizer(tmp_path)
    assert tokenizer_digest(loaded) == tokenizer_digest(tokenizer)
    assert (loaded.eos_token_id, loaded.pad_token_id) == (0, 1)
    text = "don't , stop . "
    assert loaded.decode(loaded.encode(text)) == text
    assert not loaded.clean_up_tokenization_spaces


def test_the_digest_tells_tokenizers_apart_but_not_uses_of_one() -> None:
    tokenizer = train_tokenizer(iter(TEXTS), 290)
    digest = tokenizer_digest(tokenizer)
    tokenizer(["a", "a b"], padding=True, truncation=True, max_length=2)
    assert tokenizer_digest(tokenizer) == digest
    assert tokenizer_digest(_trained(280)) != digest


def test_a_tokenizer_without_a_backend_is_refused() -> None:
    with pytest.raises(SettingsError, match="not one of the tokenizers library"):
        tokenizer_digest(object())
