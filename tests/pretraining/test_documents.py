from __future__ import annotations

import gzip
import hashlib
import os
from pathlib import Path

import pytest

from emo_prune.errors import BadCorpus
from emo_prune.pretraining.documents import open_corpus
from emo_prune.pretraining.sources import Document
from tests.pretraining.corpora import rows_file, texts_file


def _texts(*sources: object) -> list[str]:
    return [document.text for document in open_corpus([str(s) for s in sources])]


def test_a_rows_domain_is_its_own_or_else_the_files_stem(tmp_path: Path) -> None:
    rows = ({"text": "a", "domain": "x"}, {"text": "b"}, {"text": "c", "domain": None})
    for name in ("law.jsonl", "law.jsonl.gz"):
        found = list(open_corpus([str(rows_file(tmp_path / name, *rows))]))
        assert found == [
            Document("a", "x"),
            Document("b", "law"),
            Document("c", "law"),
        ]


def test_a_text_file_is_one_document_of_its_folders_domain(tmp_path: Path) -> None:
    path = tmp_path / "poems" / "one.txt"
    path.parent.mkdir()
    path.write_bytes("\ufeffRoses\r\n\r\nare — red\n".encode())
    expected = [Document("Roses\r\n\r\nare — red\n", "poems")]
    assert list(open_corpus([str(path)])) == expected


def test_a_folder_is_all_its_files_by_path_without_hidden_ones(tmp_path: Path) -> None:
    texts_file(tmp_path / "b.jsonl", "2", "3")
    texts_file(tmp_path / "a" / "z.jsonl.gz", "1")
    texts_file(tmp_path / "c" / "deep" / "a.jsonl", "4")
    texts_file(tmp_path / ".cache" / "a.jsonl", "hidden")
    texts_file(tmp_path / ".a.jsonl", "hidden")
    (tmp_path / "README.md").write_text("not a document")
    assert _texts(tmp_path) == ["1", "2", "3", "4"]


def test_a_pattern_is_its_matches_by_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts_file(tmp_path / "b" / "law.jsonl", "2")
    texts_file(tmp_path / "a" / "law.jsonl", "1")
    texts_file(tmp_path / "a" / "art.jsonl", "0")
    assert _texts(tmp_path / "*" / "law.*") == ["1", "2"]
    assert _texts(tmp_path / "**" / "*.jsonl") == ["0", "1", "2"]
    monkeypatch.chdir(tmp_path)
    assert _texts("[a]/*") == ["0", "1"]


def test_sources_keep_the_order_they_are_named_in(tmp_path: Path) -> None:
    first = texts_file(tmp_path / "z.jsonl", "1")
    second = texts_file(tmp_path / "a.jsonl", "2")
    assert _texts(first, second) == ["1", "2"]


def test_a_corpus_can_be_read_again(tmp_path: Path) -> None:
    corpus = open_corpus([str(texts_file(tmp_path / "a.jsonl", "1", "2"))])
    assert list(corpus) == list(corpus)


def test_blank_lines_and_empty_texts_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('\n{"text": ""}\n  \n{"text": " "}')
    assert _texts(path) == [" "]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.txt"])
def test_the_facts_are_those_of_the_bytes_on_the_disk(
    tmp_path: Path, name: str
) -> None:
    path = texts_file(tmp_path / name, *(f"text {i}" * 99 for i in range(2000)))
    corpus = open_corpus([str(path)])
    reading = corpus.read()
    assert len(list(reading)) == (1 if name == "a.txt" else 2000)
    data = path.read_bytes()
    assert [facts.to_dict() for facts in reading.facts] == [
        {
            "name": name,
            "bytes": len(data),
            "sha256": "sha256:" + hashlib.sha256(data).hexdigest(),
        }
    ]
    assert corpus.size() == reading.num_bytes == len(data)


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b'{"text": 1}', "`text` is not a text"),
        (b'{"txt": "a"}', "no such key"),
        (b'{"text": "a", "domain": 3}', "`domain` is not a text"),
        (b'["text"]', "not a JSON object"),
        (b'{"text": "a"', "not JSON"),
        (b'{"text": "\\ud800"}', "not JSON"),
        (b'{"text": "\xff"}', "not UTF-8"),
    ],
)
def test_a_malformed_row_is_named_by_file_and_line(
    tmp_path: Path, line: bytes, what: str
) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_bytes(b'{"text": "fine"}\n\n' + line + b'\n{"text": "fine"}\n')
    with pytest.raises(BadCorpus, match=what) as caught:
        _texts(path)
    assert f"{path}, line 3" in str(caught.value)
    assert caught.value.hint


def test_a_text_file_that_is_not_utf8_is_named_by_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.txt"
    path.write_bytes(b"fine\n\xe9t\xe9\n")
    with pytest.raises(BadCorpus, match=r"mine.txt, line 2; .* in UTF-8"):
        _texts(path)


@pytest.mark.parametrize("damage", ["cut", "bits", "plain"])
def test_a_gzip_file_that_is_not_whole_is_refused(tmp_path: Path, damage: str) -> None:
    text = '{"text": "some text"}\n' * 1000
    packed = gzip.compress(text.encode())
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(
        {
            "cut": packed[:-20],
            "bits": packed[:-6] + b"\0\0\0\0\0\0",
            "plain": text.encode(),
        }[damage]
    )
    with pytest.raises(BadCorpus, match="not a whole gzip file"):
        _texts(path)


def test_a_line_that_unpacks_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"text": "' + b"a" * 256_000_000, 1))
    with pytest.raises(BadCorpus, match=r"too long to be one document; .*line 1"):
        _texts(path)


def test_a_corpus_without_text_is_refused(tmp_path: Path) -> None:
    path = texts_file(tmp_path / "a.jsonl", "", "")
    with pytest.raises(BadCorpus, match=r"no text in the corpus; in a.jsonl"):
        _texts(path)
    with pytest.raises(BadCorpus, match="no sources"):
        _texts()


def test_a_source_that_names_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.bin").touch()
    (tmp_path / "empty").mkdir()
    for source, what in {
        "gone.jsonl": "no such file",
        "model.bin": "of no kind that is read",
        "empty": "holds no documents",
        "*.gz": "holds no documents",
        "a**/b.jsonl": "not a glob pattern",
        "a/b/c/d": "no such file",
    }.items():
        with pytest.raises(BadCorpus, match=what) as caught:
            open_corpus([str(tmp_path / source)])
        assert source in str(caught.value)


def test_a_name_that_the_disk_cannot_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadCorpus, match="cannot be looked at"):
        open_corpus([str(tmp_path / ("a" * 300))])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    path = texts_file(tmp_path / "a.jsonl", "1")
    path.chmod(0)
    with pytest.raises(BadCorpus, match="cannot be read"):
        _texts(path)


def test_a_file_that_vanished_since_it_was_found_is_refused(tmp_path: Path) -> None:
    path = texts_file(tmp_path / "a.jsonl", "1")
    corpus = open_corpus([str(path)])
    path.unlink()
    with pytest.raises(BadCorpus, match="cannot be read"):
        list(corpus)


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    path = texts_file(tmp_path / "a.jsonl", "1", "2")
    documents = iter(open_corpus([str(path)]))
    next(documents)
    with path.open("a") as file:
        file.write('{"text": "3"}\n')
    with pytest.raises(BadCorpus, match="changed while it was read"):
        list(documents)


def test_a_file_named_twice_is_refused(tmp_path: Path) -> None:
    path = texts_file(tmp_path / "a.jsonl", "1")
    with pytest.raises(BadCorpus, match=r"twice; in a.jsonl"):
        _texts(tmp_path, path)


def _cached_dataset(name: str, folder: Path, *texts: str) -> None:
    """Put a dataset where the `datasets` library keeps those it has fetched."""
    import datasets
    from datasets.arrow_writer import ArrowWriter

    place = folder / f"org___{name}" / "default" / "0.0.0" / "abc"
    place.mkdir(parents=True)
    writer = ArrowWriter(path=str(place / f"{name}-train.arrow"))
    for text in texts:
        writer.write({"text": text})
    num_examples, num_bytes = writer.finalize()
    split = {"name": "train", "num_examples": num_examples, "num_bytes": num_bytes}
    datasets.DatasetInfo(
        features=datasets.Features({"text": datasets.Value("string")}),
        builder_name=name,
        dataset_name=name,
        config_name="default",
        version="0.0.0",
        splits={"train": {**split, "dataset_name": name}},
    ).write_to_directory(str(place))


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    import datasets
    import huggingface_hub

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("source", "domain"),
    [
        ("org/stories", "org/stories"),
        ("org/stories@train", "org/stories"),
        ("org/stories:default", "default"),
        ("org/stories:default@train", "default"),
    ],
)
def test_a_dataset_is_read_by_name_configuration_and_split(
    offline: Path, source: str, domain: str
) -> None:
    _cached_dataset("stories", offline, "one", "", "two")
    reading = open_corpus([source]).read()
    assert list(reading) == [Document("one", domain), Document("two", domain)]
    (facts,) = reading.facts
    assert (facts.name.partition("@")[2], facts.num_bytes) == ("train", 6)


def test_a_datasets_hash_is_of_its_texts_and_their_bounds(offline: Path) -> None:
    _cached_dataset("one", offline, "ab", "c")
    _cached_dataset("same", offline, "ab", "c")
    _cached_dataset("other", offline, "a", "bc")
    hashes = []
    for name in ("one", "same", "other"):
        reading = open_corpus([f"org/{name}"]).read()
        list(reading)
        hashes.append(reading.facts[0].sha256)
    assert hashes[0] == hashes[1] != hashes[2]


@pytest.mark.parametrize(
    "source", ["nothing", "org/stories@test", "org/stories:other", "org/none"]
)
def test_a_dataset_that_is_not_there_is_refused(offline: Path, source: str) -> None:
    _cached_dataset("stories", offline, "one")
    with pytest.raises(BadCorpus, match="no such dataset") as caught:
        _texts(source)
    assert source in str(caught.value)
