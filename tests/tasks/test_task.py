from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from emo_prune.errors import TaskError, UnknownTask
from emo_prune.tasks import (
    MMLU_CATEGORIES,
    MMLU_PRO_CATEGORIES,
    TaskOptions,
    own_names,
    parse_task,
)


@pytest.mark.parametrize(
    ("text", "name", "slug", "kind", "category"),
    [
        ("math", "mmlu:math", "math", "mmlu", "math"),
        ("MMLU:Math", "mmlu:math", "math", "mmlu", "math"),
        ("mmlu", "mmlu", "mmlu", "mmlu", None),
        ("mmlu-pro", "mmlu-pro", "mmlu-pro", "mmlu-pro", None),
        ("mmlu-pro:law", "mmlu-pro:law", "mmlu-pro-law", "mmlu-pro", "law"),
        ("mmlu_pro:law", "mmlu-pro:law", "mmlu-pro-law", "mmlu-pro", "law"),
        ("gsm8k", "gsm8k", "gsm8k", "gsm8k", None),
        ("arc_easy", "arc_easy", "arc_easy", "lm-eval", None),
        ("mmlu_pro_law", "mmlu_pro_law", "mmlu_pro_law", "lm-eval", None),
    ],
)
def test_names_have_one_canonical_spelling(
    text: str, name: str, slug: str, kind: str, category: str | None
) -> None:
    task = parse_task(text, None)
    assert (task.name, task.slug, task.kind, task.category) == (
        name,
        slug,
        kind,
        category,
    )


@pytest.mark.parametrize(
    "text", ["computer science", "computer-science", "mmlu:Computer_Science"]
)
def test_spaces_hyphens_and_underscores_are_alike(text: str) -> None:
    assert parse_task(text).category == "computer_science"


def test_the_authors_name_for_philosophy_is_understood() -> None:
    assert parse_task("philosophy_cat") == parse_task("mmlu:philosophy")


@pytest.mark.parametrize("name", own_names())
def test_canonical_names_parse_to_themselves(name: str) -> None:
    assert parse_task(name).name == name


@pytest.mark.parametrize(
    "text", ["mmlu:maths", "mmlu-pro:culture", "a task", "a:b", ""]
)
def test_unknown_names_say_what_exists(text: str) -> None:
    with pytest.raises(UnknownTask) as caught:
        parse_task(text)
    assert "categories: biology" in caught.value.hint


def test_a_near_miss_is_suggested() -> None:
    with pytest.raises(UnknownTask) as caught:
        parse_task("mmlu:maths")
    assert "mmlu:math" in caught.value.hint.split("?")[0]


@pytest.mark.parametrize(
    ("file", "stem"),
    [("support.jsonl", "support"), ("a/b.notes.txt.gz", "b.notes"), ("x", "x")],
)
def test_examples_are_named_after_their_file(file: str, stem: str) -> None:
    task = parse_task(None, Path(file))
    assert (task.name, task.slug, task.kind) == (f"examples:{stem}", stem, "examples")


@pytest.mark.parametrize("both", [(None, None), ("math", Path("x.jsonl"))])
def test_exactly_one_of_task_and_examples_is_needed(
    both: tuple[str | None, Path | None],
) -> None:
    with pytest.raises(TaskError):
        parse_task(*both)


@pytest.mark.parametrize(
    "bad", [{"answer": "words"}, {"protocol": "emu"}, {"num_fewshot": -1}, {"seed": -1}]
)
def test_options_out_of_range_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(TaskError):
        TaskOptions(**bad)  # type: ignore[arg-type]


def test_the_categories_partition_the_57_subjects() -> None:
    subjects = [s for group in MMLU_CATEGORIES.values() for s in group]
    assert (len(MMLU_CATEGORIES), len(subjects), len(set(subjects))) == (17, 57, 57)
    assert len(MMLU_PRO_CATEGORIES) == 14


def test_parsing_a_task_imports_nothing_heavy() -> None:
    script = (
        "import sys; from emo_prune.tasks import parse_task; parse_task('math');"
        "import emo_prune.evaluation;"
        "print([m for m in ('lm_eval', 'datasets', 'torch') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
