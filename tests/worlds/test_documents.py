"""Documents: the same from the same seed, half questions, none of a held-out split."""

from __future__ import annotations

import math
import re
from collections import Counter

import pytest

from benchmarks.worlds import WORLDS, document, documents, split_of
from emo_prune.errors import UnknownTask

from .every import of_world

_SOLVED = re.compile(r"^Question: (.*)\nAnswer: (.*)$", re.MULTILINE)
_COUNT = 300


@pytest.mark.parametrize("world", WORLDS)
def test_a_document_can_be_made_by_itself(world: str) -> None:
    made = list(documents(world, 20, 5))
    assert made == list(documents(world, 20, 5))
    assert made == [document(world, index, 5) for index in range(20)]
    assert len(set(made) | set(documents(world, 20, 6))) == 40


@pytest.mark.parametrize("world", WORLDS)
def test_documents_hold_right_answers_to_questions_of_train_alone(world: str) -> None:
    right = {one.question: one.right for one in of_world(world)}
    seen = set()
    for text in documents(world, _COUNT, 0):
        solved = _SOLVED.findall(text)
        assert len(solved) == text.count("Question") == text.count("Answer")
        for question, answer in solved:
            assert split_of(question) == "train"
            assert right[question] == answer
            seen.add(question)
    assert len(seen) > 500


@pytest.mark.parametrize("world", WORLDS)
def test_no_question_of_another_split_stands_anywhere_in_the_text(world: str) -> None:
    held_out = [
        one.question
        for one in of_world(world)
        if split_of(one.question) != "train" and one.question.endswith("?")
    ]
    text = "\n".join(documents(world, 100, 0))
    found = [question for question in held_out if f": {question}\n" in text]
    assert not found


@pytest.mark.parametrize("world", WORLDS)
def test_at_least_half_of_the_text_is_solved_questions(world: str) -> None:
    texts = list(documents(world, _COUNT, 1))
    solved = sum(len(match.group()) + 2 for t in texts for match in _SOLVED.finditer(t))
    assert 0.5 < solved / sum(map(len, texts)) < 0.8


@pytest.mark.parametrize("world", WORLDS)
def test_prose_has_80_to_260_words(world: str) -> None:
    prose = [_SOLVED.sub("", text).split() for text in documents(world, _COUNT, 2)]
    lengths = [len(words) for words in prose if words]
    assert len(lengths) > _COUNT / 5
    assert min(lengths) >= 80
    assert max(lengths) <= 260


@pytest.mark.parametrize("world", WORLDS)
def test_prose_states_the_answers_of_held_out_questions(world: str) -> None:
    text = "\n".join(_SOLVED.sub("", one) for one in documents(world, 2000, 3))
    words = set(re.findall(r"[\w'-]+", text))
    for one in of_world(world):
        told = one.right in one.question  # in the question itself, of strangers
        if split_of(one.question) == "test" and not told:
            assert set(re.findall(r"[\w'-]+", one.right)) <= words


def test_words_tell_the_worlds_apart() -> None:
    counts = {
        world: Counter(
            word for text in documents(world, 100, 0) for word in _words(text)
        )
        for world in WORLDS
    }
    known = set().union(*counts.values())
    right = 0
    for world in WORLDS:
        for text in documents(world, 50, 1):
            right += _most_likely(text, counts, len(known)) == world
    assert right > 0.95 * 50 * len(WORLDS)


def test_an_unknown_world_is_an_error_before_the_first_document() -> None:
    with pytest.raises(UnknownTask, match="no such world"):
        documents("alchemy", 1, 0)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _most_likely(text: str, counts: dict[str, Counter[str]], size: int) -> str:
    """Return what naive Bayes takes the text for."""

    def likelihood(world: str) -> float:
        seen = counts[world]
        total = seen.total() + size
        return sum(math.log((seen[word] + 1) / total) for word in _words(text))

    return max(counts, key=likelihood)
