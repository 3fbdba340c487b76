"""Questions: splits that share nothing, four choices, the same from the same seed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.worlds import (
    SPLITS,
    WORLDS,
    count_questions,
    find_world,
    questions,
    split_of,
    write_questions,
)
from emo_prune.errors import DataMissing, UnknownTask
from emo_prune.tasks.examples import read_examples

from .every import of_split, of_world


def test_the_worlds_are_ten_in_alphabetical_order() -> None:
    assert len(WORLDS) == 10
    assert list(WORLDS) == sorted(WORLDS)
    for name, world in WORLDS.items():
        assert find_world(name) is world
        assert world.name == name
        assert world.about


@pytest.mark.parametrize("world", WORLDS)
def test_every_split_is_large_enough(world: str) -> None:
    counts = {split: count_questions(world, split) for split in SPLITS}
    assert counts["train"] >= 700
    assert counts["dev"] >= 20
    assert counts["validation"] >= 100
    assert counts["test"] >= 100


@pytest.mark.parametrize("world", WORLDS)
def test_a_question_is_asked_once_and_belongs_to_the_split_of_its_text(
    world: str,
) -> None:
    texts = [one.question for one in of_world(world)]
    assert len(texts) == len(set(texts))
    for split in SPLITS:
        for one in of_split(world, split):
            assert split_of(one.question) == split
            assert one.world == world


def test_no_two_worlds_share_a_question() -> None:
    texts = Counter(one.question for world in WORLDS for one in of_world(world))
    assert max(texts.values()) == 1


@pytest.mark.parametrize("world", WORLDS)
def test_a_question_is_a_line_with_four_different_choices(world: str) -> None:
    for one in of_world(world):
        assert one.question.endswith(("?", "."))
        assert one.question.strip() == one.question
        assert "\n" not in one.question
        assert len(one.choices) == len(set(one.choices)) == 4
        assert all(choice and choice.strip() == choice for choice in one.choices)
        assert one.right == one.choices[one.answer]
        assert one.prompt == f"Question: {one.question}\nAnswer:"


@pytest.mark.parametrize("world", WORLDS)
def test_wrong_choices_are_answers_of_the_same_world(world: str) -> None:
    answers = {one.right for one in of_world(world)}
    known = sum(set(one.choices) <= answers for one in of_world(world))
    assert known > 0.9 * len(of_world(world))


def test_the_right_choice_stands_anywhere() -> None:
    places = Counter(one.answer for world in WORLDS for one in of_world(world))
    total = places.total()
    assert set(places) == {0, 1, 2, 3}
    assert all(abs(count / total - 0.25) < 0.02 for count in places.values())


def test_a_seed_gives_the_same_questions_again_and_another_one_others() -> None:
    first = questions("chess", "test", 50, 1)
    assert first == questions("chess", "test", 50, 1)
    assert first != questions("chess", "test", 50, 2)


def test_fewer_questions_are_the_first_of_more() -> None:
    assert questions("sql", "dev", 10, 3) == questions("sql", "dev", 20, 3)[:10]


def test_questions_are_the_ones_they_have_been() -> None:
    one = questions("arithmetic", "test", 1, 0)[0]
    assert (one.question, one.choices, one.answer) == (
        "What is 4 minus 3?",
        ("0", "3", "8", "1"),
        3,
    )


def test_more_questions_than_there_are_is_an_error() -> None:
    total = count_questions("units", "dev")
    with pytest.raises(DataMissing, match="fewer questions") as caught:
        questions("units", "dev", total + 1, 0)
    assert str(total) in caught.value.hint


def test_an_unknown_world_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(UnknownTask, match="no such world") as caught:
        questions("alchemy", "test", 1, 0)
    assert "arithmetic" in caught.value.hint
    assert all(name in str(caught.value) for name in WORLDS)


def test_rows_are_read_back_as_examples(tmp_path: Path) -> None:
    asked = questions("cooking", "test", 20, 0)
    file = tmp_path / "cooking.jsonl"
    write_questions(file, asked)
    for one, row in zip(asked, read_examples(file), strict=True):
        assert row.form == "choices"
        assert row.context == one.prompt
        assert row.completion == f" {one.right}"
        assert row.choices == tuple(f" {choice}" for choice in one.choices)
        assert row.answer == one.answer


def test_rows_have_the_columns_of_mmlu() -> None:
    one = questions("logic", "test", 1, 0)[0]
    assert one.mmlu_row() == {
        "question": one.question,
        "choices": list(one.choices),
        "answer": one.answer,
        "subject": "logic",
        "category": "logic",
    }
