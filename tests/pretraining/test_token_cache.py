from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from emo_prune.errors import BadCorpus, BadTokenCache, PretrainingError, SettingsError
from emo_prune.pretraining.token_cache import TokenCache, tokenized
from emo_prune.pretraining.tokenizer import tokenizer_digest, train_tokenizer
from tests.pretraining.corpora import rows_file, texts_file

ROWS = [
    {"text": "the law", "domain": "law"},
    {"text": "a poem", "domain": "art"},
    {"text": "the law of the land", "domain": "law"},
]


@cache
def _tokenizer() -> Any:
    return train_tokenizer(iter(["the law of the land"] * 3), 270)


def _corpus(folder: Path) -> Path:
    return rows_file(folder / "corpus" / "mine.jsonl.gz", *ROWS)


def _documents(cache: TokenCache) -> list[list[int]]:
    bounds = pairwise([0, *cache.ends.tolist()])
    return [cache.tokens[start:end].tolist() for start, end in bounds]


def _make(folder: Path, *sources: Path, tokenizer: Any = None) -> TokenCache:
    names = [str(source) for source in sources]
    return tokenized(names, tokenizer or _tokenizer(), folder / "cache")


def test_a_cache_holds_each_documents_tokens_and_domain(tmp_path: Path) -> None:
    path = _corpus(tmp_path)
    cache = _make(tmp_path, path)
    expected = [_tokenizer().encode(row["text"]) for row in ROWS]
    assert _documents(cache) == expected
    assert [cache.domain_names[index] for index in cache.domains] == [
        row["domain"] for row in ROWS
    ]
    assert cache.tokens.dtype.name == "uint16"
    assert (cache.ends.dtype.name, cache.domains.dtype.name) == ("int64", "int32")
    assert (cache.num_documents, cache.num_tokens) == (3, sum(map(len, expected)))


def test_meta_says_where_the_tokens_came_from(tmp_path: Path) -> None:
    path = _corpus(tmp_path)
    cache = _make(tmp_path, path)
    lengths = [len(_tokenizer().encode(row["text"])) for row in ROWS]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    tokens = hashlib.sha256((cache.folder / "tokens.bin").read_bytes()).hexdigest()
    assert cache.meta.to_dict() == {
        "schema": "emo-prune/token-cache/1",
        "sources": [
            {
                "name": "mine.jsonl.gz",
                "bytes": path.stat().st_size,
                "sha256": f"sha256:{digest}",
            }
        ],
        "tokenizer": tokenizer_digest(_tokenizer()),
        "dtype": "uint16",
        "num_tokens": sum(lengths),
        "num_documents": 3,
        "tokens_sha256": f"sha256:{tokens}",
        "domains": [
            {"name": "law", "documents": 2, "tokens": lengths[0] + lengths[2]},
            {"name": "art", "documents": 1, "tokens": lengths[1]},
        ],
    }
    assert str(tmp_path) not in (cache.folder / "meta.json").read_text()


def test_the_same_corpus_elsewhere_gives_the_same_bytes(tmp_path: Path) -> None:
    one, two = (
        _make(folder, _corpus(folder)) for folder in (tmp_path / "a", tmp_path / "b")
    )
    for path in one.folder.iterdir():
        assert path.read_bytes() == (two.folder / path.name).read_bytes()


def test_a_cache_that_is_there_is_opened_without_reading_the_sources(
    tmp_path: Path,
) -> None:
    path = _corpus(tmp_path)
    first = _make(tmp_path, path)
    status = path.stat()
    path.write_bytes(b"\0" * status.st_size)  # would not unpack
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    again = _make(tmp_path, path)
    assert again.folder == first.folder
    assert _documents(again) == _documents(first)


def test_a_changed_file_or_tokenizer_gives_a_new_cache(tmp_path: Path) -> None:
    path = _corpus(tmp_path)
    first = _make(tmp_path, path)
    other = train_tokenizer(iter(["the law of the land"] * 3), 265)
    second = _make(tmp_path, path, tokenizer=other)
    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    third = _make(tmp_path, path)
    assert len({first.folder, second.folder, third.folder}) == 3
    assert _documents(third) == _documents(first) != _documents(second)


def test_many_batches_are_as_one(tmp_path: Path) -> None:
    texts = [f"the law {i} " * (i % 7) + "!" for i in range(10_000)]
    texts[5000] = "of the land " * 200_000  # longer than a batch alone
    cache = _make(tmp_path, texts_file(tmp_path / "a.jsonl", *texts))
    documents = _documents(cache)
    assert len(documents) == len(texts)
    for number in (0, 4095, 4096, 4999, 5000, 5001, 9999):
        assert _tokenizer().decode(documents[number]) == texts[number]


def test_progress_sums_to_the_bytes_of_the_files(tmp_path: Path) -> None:
    paths = [
        texts_file(tmp_path / f"{name}.jsonl", *["the law"] * 9000) for name in "ab"
    ]
    heard: list[int] = []
    tokenized([str(tmp_path)], _tokenizer(), tmp_path / "cache", heard.append)
    assert sum(heard) == sum(path.stat().st_size for path in paths)
    assert len(heard) > 2


def test_a_special_token_that_a_text_spells_out_is_text(tmp_path: Path) -> None:
    text = "the<|endoftext|>law<|pad|>"
    cache = _make(tmp_path, texts_file(tmp_path / "a.jsonl", text))
    (document,) = _documents(cache)
    assert not {0, 1} & set(document)
    assert _tokenizer().decode(document) == text
    assert _tokenizer().encode("<|pad|>") == [1]  # the tokenizer is left as it was


def test_padding_and_truncation_of_the_tokenizer_do_not_count(tmp_path: Path) -> None:
    tokenizer = train_tokenizer(iter(["the law of the land"] * 3), 270)
    tokenizer(["a", "b c"], padding=True, truncation=True, max_length=2)
    cache = _make(tmp_path, _corpus(tmp_path), tokenizer=tokenizer)
    assert _documents(cache) == [_tokenizer().encode(row["text"]) for row in ROWS]


def _words(*words: str, last_id: int) -> Any:
    """Return a tokenizer of whole words that makes nothing of spaces."""
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel({**vocabulary, "?": last_id}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def test_ids_beyond_16_bits_are_kept_in_32(tmp_path: Path) -> None:
    path = texts_file(tmp_path / "a.jsonl", "law what")
    small = _make(tmp_path, path, tokenizer=_words("law", last_id=65535))
    assert (small.tokens.dtype.name, small.tokens.tolist()) == ("uint16", [0, 65535])
    large = _make(tmp_path, path, tokenizer=_words("law", last_id=65536))
    assert (large.tokens.dtype.name, large.tokens.tolist()) == ("uint32", [0, 65536])


def test_documents_without_tokens_are_left_out(tmp_path: Path) -> None:
    path = texts_file(tmp_path / "a.jsonl", " ", "law", "\n")
    blank = rows_file(tmp_path / "b.jsonl", {"text": " ", "domain": "blank"})
    cache = _make(tmp_path, path, blank, tokenizer=_words("law", last_id=1))
    assert _documents(cache) == [[0]]
    assert cache.domain_names == ["a"]
    with pytest.raises(BadCorpus, match="makes no token"):
        _make(tmp_path, blank, tokenizer=_words("law", last_id=1))
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "the law"}\n' * 5000 + "{")
    with pytest.raises(BadCorpus, match="line 5001"):
        _make(tmp_path, path)
    assert list((tmp_path / "cache").iterdir()) == []


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / "cache" / f".{'0' * 32}.{'1' * 16}.partial"
    left.mkdir(parents=True)
    (left / "tokens.bin").touch()
    other = tmp_path / "cache" / ".mine.partial"
    other.mkdir()
    _make(tmp_path, _corpus(tmp_path))
    assert not left.exists()
    assert other.exists()


@pytest.mark.parametrize("name", ["tokens.bin", "ends.bin", "domains.bin"])
@pytest.mark.parametrize("damage", ["cut", "longer", "gone"])
def test_a_damaged_cache_is_refused_with_the_way_out(
    tmp_path: Path, name: str, damage: str
) -> None:
    path = _corpus(tmp_path)
    folder = _make(tmp_path, path).folder
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[:-1] if damage == "cut" else data + b"\0")
    if damage == "gone":
        (folder / name).unlink()
    with pytest.raises(BadTokenCache, match=name) as caught:
        _make(tmp_path, path)
    assert caught.value.hint.endswith(f"rm -r {folder}")
    shutil.rmtree(folder)
    assert _make(tmp_path, path).num_documents == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": "emo-prune/token-cache/2"},
        {"num_tokens": "many"},
        {"num_tokens": 0, "num_documents": 0},
        {"num_documents": -1},
        {"dtype": "uint8"},
        {"domains": [{}]},
        {"domains": None},
    ],
)
def test_a_damaged_meta_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = _corpus(tmp_path)
    cache = _make(tmp_path, path)
    meta = cache.folder / "meta.json"
    meta.write_text(json.dumps({**cache.meta.to_dict(), **changes}))
    with pytest.raises(BadTokenCache):
        _make(tmp_path, path)


@pytest.mark.parametrize("text", ["", "{", "[]", "\0"])
def test_a_meta_that_is_not_json_is_refused(tmp_path: Path, text: str) -> None:
    path = _corpus(tmp_path)
    (_make(tmp_path, path).folder / "meta.json").write_text(text)
    with pytest.raises(BadTokenCache, match=r"meta.json"):
        _make(tmp_path, path)


def test_ends_that_disagree_with_the_tokens_are_refused(tmp_path: Path) -> None:
    path = _corpus(tmp_path)
    ends = _make(tmp_path, path).folder / "ends.bin"
    ends.write_bytes(bytes(len(ends.read_bytes())))
    with pytest.raises(BadTokenCache, match="last document ends elsewhere"):
        _make(tmp_path, path)


def _make_at_once(folder: Path, barrier: Any, results: Any) -> None:
    barrier.wait()
    results.put(_documents(_make(folder, folder / "a.jsonl")))


def test_processes_that_make_one_cache_at_once_get_the_same(tmp_path: Path) -> None:
    texts = [f"the law {i}" for i in range(3000)]
    texts_file(tmp_path / "a.jsonl", *texts)
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(3), context.Queue()
    arguments = (tmp_path, barrier, results)
    processes = [
        context.Process(target=_make_at_once, args=arguments) for _ in range(3)
    ]
    for process in processes:
        process.start()
    found = [results.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 3000
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_the_loser_of_a_race_uses_the_winners_cache(tmp_path: Path) -> None:
    path = texts_file(tmp_path / "a.jsonl", "the law", "of the land")
    winner: list[TokenCache] = []

    def be_overtaken(_advance: int) -> None:
        winner.append(_make(tmp_path, path))

    loser = tokenized([str(path)], _tokenizer(), tmp_path / "cache", be_overtaken)
    assert loser.folder == winner[0].folder
    assert [entry.name for entry in (tmp_path / "cache").iterdir()] == [
        loser.folder.name
    ]


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(PretrainingError, match="cannot be written"):
        _make(tmp_path, _corpus(tmp_path))


def test_a_tokenizer_without_a_backend_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="tokenizers library"):
        _make(tmp_path, _corpus(tmp_path), tokenizer=object())
    assert not (tmp_path / "cache").exists()
