"""Calibration and evaluation prompts on the real benchmarks."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from emo_prune.errors import DataMissing, TaskError, UnknownTask
from emo_prune.tasks import (
    MMLU_CATEGORIES,
    MMLU_PRO_CATEGORIES,
    CalibrationSet,
    EvaluationSet,
    TaskOptions,
    calibration_set,
    evaluation_set,
    parse_task,
)
from tests.wording import hint_of

# train+val and test questions per category: EMO paper, Table 4
TABLE_4_MMLU = {
    "biology": (320, 182),
    "business": (308, 176),
    "chemistry": (211, 122),
    "computer_science": (289, 165),
    "culture": (232, 134),
    "economics": (525, 298),
    "engineering": (103, 58),
    "geography": (140, 80),
    "health": (1162, 659),
    "history": (658, 373),
    "law": (1250, 707),
    "math": (752, 427),
    "other": (825, 467),
    "philosophy": (1427, 808),
    "physics": (453, 257),
    "politics": (459, 260),
    "psychology": (823, 463),
}
TABLE_4_MMLU_PRO = {
    "biology": (347, 370),
    "business": (376, 413),
    "chemistry": (513, 619),
    "computer_science": (224, 186),
    "economics": (398, 446),
    "engineering": (448, 521),
    "health": (388, 430),
    "history": (213, 168),
    "law": (501, 600),
    "math": (601, 750),
    "other": (430, 494),
    "philosophy": (260, 239),
    "physics": (580, 719),
    "psychology": (380, 418),
}


def _calibrate(
    name: str, data_dir: Path, n: int | None = None, **options: Any
) -> CalibrationSet:
    return calibration_set(
        parse_task(name), TaskOptions(data_dir=data_dir, **options), n
    )


def _score(
    name: str, data_dir: Path, limit: int | None = None, **options: Any
) -> EvaluationSet:
    return evaluation_set(
        parse_task(name), TaskOptions(data_dir=data_dir, **options), limit
    )


@pytest.mark.parametrize("benchmark", ["mmlu", "mmlu-pro"])
def test_emo_split_sizes_are_those_of_table_4(benchmark: str, data_dir: Path) -> None:
    table = TABLE_4_MMLU if benchmark == "mmlu" else TABLE_4_MMLU_PRO
    known = MMLU_CATEGORIES if benchmark == "mmlu" else MMLU_PRO_CATEGORIES
    assert set(table) == set(known)
    options: dict[str, Any] = {"protocol": "emo", "num_fewshot": 0}
    scored = _score(benchmark, data_dir, **options)
    sizes = dict.fromkeys(table, 0)
    for part in scored.tasks:
        sizes[part.category] += len(part.document_sha256)
    assert sizes == {name: test for name, (_, test) in table.items()}
    name = "philosophy"
    found = _calibrate(f"{benchmark}:{name}", data_dir, **options)
    assert len(found.examples) + found.num_dropped == table[name][0]


def test_the_emo_shuffle_is_that_of_datasets(data_dir: Path) -> None:
    from datasets import Dataset

    path = data_dir / "mmlu" / "test" / "anatomy_test.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = Dataset.from_list([{"question": row[0]} for row in csv.reader(file)])
    cut = int(len(rows) * 0.6)
    expected = rows.shuffle(seed=0)["question"][cut:]
    scored = _score("health", data_dir, protocol="emo")
    anatomy = next(p for p in scored.tasks if p.name == "mmlu_anatomy")
    assert list(anatomy.task.eval_docs["question"]) == list(expected)


@pytest.mark.parametrize(
    "name", ["mmlu:health", "mmlu:philosophy", "mmlu-pro:health", "arc_challenge"]
)
@pytest.mark.parametrize("protocol", ["standard", "emo"])
def test_no_calibration_document_is_scored(
    name: str, protocol: str, data_dir: Path
) -> None:
    options: dict[str, Any] = {"protocol": protocol, "num_fewshot": 0}
    calibration = set(_calibrate(name, data_dir, **options).document_sha256)
    scored = set(_score(name, data_dir, **options).document_sha256)
    assert calibration
    assert not calibration & scored


def test_standard_mmlu_calibrates_on_dev_and_validation(data_dir: Path) -> None:
    found = _calibrate("math", data_dir)
    assert found.split == "dev+validation"
    assert len(found.examples) + found.num_dropped == 25 + 11 + 11 + 41 + 29 + 23
    assert found.num_fewshot == 5
    assert len(_score("math", data_dir).document_sha256) == 1064


def test_questions_that_are_also_scored_are_dropped(data_dir: Path) -> None:
    assert _calibrate("health", data_dir, num_fewshot=0).num_dropped > 0


@pytest.mark.parametrize("name", ["mmlu:chemistry", "mmlu-pro:law"])
@pytest.mark.parametrize("answer", ["letter", "text"])
def test_no_question_demonstrates_itself(
    name: str, answer: str, data_dir: Path
) -> None:
    for example in _calibrate(name, data_dir, answer=answer).examples:
        question = example.context.rsplit("\n\n", 1)[-1]
        assert example.context.count(question) == 1
        assert example.context.count("\nAnswer:") in {5, 6}


def test_a_calibration_prompt_is_lm_evals_prompt_and_gold_answer(
    data_dir: Path,
) -> None:
    """The scored prompt of one subject's question, had it been calibrated on."""
    scored = _score("engineering", data_dir, limit=3).tasks[0].task
    scored.build_all_requests(limit=3)
    for i in range(3):
        document = scored.eval_docs[i]
        context, completion = scored.answered(document)
        requests = scored.instances[4 * i : 4 * i + 4]
        assert (context, completion) == requests[document["answer"]].args


def test_letters_and_text_are_lm_evals_two_forms(data_dir: Path) -> None:
    letter = _calibrate("engineering", data_dir, 1).examples[0]
    text = _calibrate("engineering", data_dir, 1, answer="text").examples[0]
    assert letter.document_sha256 == text.document_sha256
    option = next(
        line
        for line in letter.context.rsplit("\n\n", 1)[-1].splitlines()
        if line.startswith(f"{letter.completion.strip()}. ")
    )
    assert text.completion == " " + option[3:]
    assert option not in text.context


def test_mmlu_pro_lists_up_to_ten_options_and_scores_letters(data_dir: Path) -> None:
    task = _score("mmlu-pro:law", data_dir, limit=1).tasks[0].task
    task.build_all_requests(limit=1)
    options = len(task.eval_docs[0]["options"])
    assert [r.args[1] for r in task.instances] == [f" {c}" for c in "ABCDEFGHIJ"][
        :options
    ]
    assert "\nA. " in task.instances[0].args[0].rsplit("\n\n", 1)[-1]


def test_smaller_calibration_sets_are_part_of_larger_ones(data_dir: Path) -> None:
    few = _calibrate("gsm8k", data_dir, 3)
    more = _calibrate("gsm8k", data_dir, 6)
    assert few.examples == more.examples[:3]
    assert more.num_fewshot == 8
    assert more.examples[0].context.count("Question: ") == 9
    assert "#### " in more.examples[0].completion


def test_calibration_is_deterministic_and_follows_the_seed(data_dir: Path) -> None:
    first = _calibrate("physics", data_dir, 8)
    assert first == _calibrate("physics", data_dir, 8)
    assert first.examples != _calibrate("physics", data_dir, 8, seed=1).examples


def test_the_headline_leaves_other_out(data_dir: Path) -> None:
    everything = _score("mmlu", data_dir, 1, num_fewshot=0)
    assert len(everything.headline) == 16
    assert "other" not in everything.headline
    assert _score("other", data_dir, 1).headline == ("other",)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("arc_challenge", 1172),
        ("openbookqa", 500),
        ("piqa", 1838),
        ("winogrande", 1267),
        ("commonsense_qa", 1221),
        ("sciq", 1000),
        ("social_iqa", 1954),
        ("boolq", 3270),
        ("mmlu_virology_continuation", 166),
        ("mmlu_pro_law", 1101),
    ],
)
def test_lm_eval_tasks_find_their_local_data(
    name: str, size: int, data_dir: Path
) -> None:
    evaluation = _score(name, data_dir, num_fewshot=0 if "mmlu" not in name else None)
    assert len(evaluation.document_sha256) == size


def test_a_task_with_one_split_is_divided_only_on_request(data_dir: Path) -> None:
    with pytest.raises(TaskError, match="only documents at hand") as caught:
        _calibrate("winogrande", data_dir)
    assert "--protocol emo" in hint_of(caught.value)
    found = _calibrate("winogrande", data_dir, 2, protocol="emo")
    assert found.split == "test (emo)"
    assert len(_score("winogrande", data_dir, protocol="emo").document_sha256) == 507


def test_absent_demonstrations_are_named(data_dir: Path) -> None:
    with pytest.raises(DataMissing, match="demonstrations"):
        _score("piqa", data_dir, num_fewshot=2)


def test_too_many_demonstrations_are_refused(data_dir: Path) -> None:
    with pytest.raises(TaskError, match="more demonstrations"):
        _score("engineering", data_dir, num_fewshot=6)


def test_missing_data_are_named_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataMissing) as caught:
        _score("math", tmp_path)
    assert "abstract_algebra_dev.csv" in str(caught.value)
    import datasets
    import huggingface_hub

    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path))
    with pytest.raises(DataMissing) as caught:
        evaluation_set(parse_task("math"), TaskOptions())
    assert "--data-dir" in hint_of(caught.value)


@pytest.mark.slow
def test_an_unknown_lm_eval_name_suggests_others(data_dir: Path) -> None:
    with pytest.raises(UnknownTask) as caught:
        _score("arc_eazy", data_dir)
    assert "arc_easy" in caught.value.hint


@pytest.mark.slow
def test_an_lm_eval_tag_stands_for_its_tasks(data_dir: Path) -> None:
    evaluation = _score("ai2_arc", data_dir, 5)
    assert evaluation.headline == ("arc_challenge", "arc_easy")
