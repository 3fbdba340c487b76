from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from emo_prune.errors import CalibrationOverlap, EvaluationError
from emo_prune.evaluation import Results, refuse_overlap
from emo_prune.tasks import (
    EvaluationSet,
    TaskOptions,
    calibration_set,
    evaluation_set,
    parse_task,
)
from tests.evaluation.tiny import scored


def _evaluation(folder: Path, *rows: dict[str, Any]) -> EvaluationSet:
    path = folder / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return evaluation_set(parse_task(None, path), TaskOptions())


def _bits(model: Any, context: list[int], scored: list[int]) -> float:
    """The bits a plain forward pass needs for some bytes."""
    import torch

    tokens = torch.tensor([context + scored])
    with torch.no_grad():
        log_probabilities = model(tokens[:, :-1]).logits.log_softmax(-1)[0]
    start = len(context) - 1
    return -math.fsum(
        float(log_probabilities[start + i, token]) for i, token in enumerate(scored)
    ) / math.log(2)


def test_completions_are_scored_in_bits_per_byte(
    tmp_path: Path, model: Any, tokenizer: Any
) -> None:
    rows = [("2+2=", "4"), ("The sky is", " blue, mostly")]
    evaluation = _evaluation(
        tmp_path, *({"prompt": p, "completion": c} for p, c in rows)
    )
    found = scored(model, tokenizer, evaluation, name="tiny")
    bits = [
        _bits(model, tokenizer(p).input_ids, tokenizer(c).input_ids) for p, c in rows
    ]
    sizes = [len(c) for _, c in rows]
    assert found.value == pytest.approx(sum(bits) / sum(sizes), rel=1e-5)
    assert not found.higher_is_better
    for question, b, size in zip(found.tasks[0].questions, bits, sizes, strict=True):
        assert [question.score, question.weight] == pytest.approx([b / size, size])
    perplexity = found.tasks[0].metrics["byte_perplexity,none"]
    assert perplexity == pytest.approx(2**found.value, rel=1e-5)
    assert Results.from_text(found.to_text(), "results.json") == found


def test_texts_are_scored_whole(tmp_path: Path, model: Any, tokenizer: Any) -> None:
    texts = ["one text", "and another, somewhat longer text"]
    evaluation = _evaluation(tmp_path, *({"text": text} for text in texts))
    found = scored(model, tokenizer, evaluation, name="tiny")
    start = [tokenizer.eos_token_id]
    bits = [_bits(model, start, tokenizer(text).input_ids) for text in texts]
    assert found.value == pytest.approx(sum(bits) / sum(map(len, texts)), rel=1e-5)
    assert found.task == "examples:mine"
    assert {q.answer for q in found.tasks[0].questions} == {None}


def test_choices_are_scored_by_accuracy(
    tmp_path: Path, model: Any, tokenizer: Any
) -> None:
    prompt, options = "The sky is", [" blue", " green", " a fish"]
    tokens = tokenizer(prompt).input_ids
    bits = [_bits(model, tokens, tokenizer(option).input_ids) for option in options]
    best = bits.index(min(bits))
    rows = [{"prompt": prompt, "choices": options, "answer": i} for i in range(3)]
    found = scored(model, tokenizer, _evaluation(tmp_path, *rows), name="tiny")
    assert [q.score for q in found.tasks[0].questions] == [i == best for i in range(3)]
    assert {q.answer for q in found.tasks[0].questions} == {options[best].strip()}
    assert found.metric == "acc"


def test_an_answer_longer_than_the_context_is_refused(
    tmp_path: Path, model: Any, tokenizer: Any
) -> None:
    evaluation = _evaluation(tmp_path, {"prompt": "a", "completion": "b" * 50})
    with pytest.raises(EvaluationError, match="longer than the model's context"):
        scored(model, tokenizer, evaluation, name="tiny", max_length=40)


def test_overlap_of_two_files_is_found_by_content(tmp_path: Path) -> None:
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    first.write_text('{"text": "one"}\n{"text": "two"}\n')
    second.write_text('{"text": "three"}\n{"id": 4, "text": "two"}\n')
    seen = calibration_set(parse_task(None, first), TaskOptions()).document_sha256
    evaluation = evaluation_set(parse_task(None, second), TaskOptions())
    with pytest.raises(CalibrationOverlap) as caught:
        refuse_overlap(evaluation, seen)
    assert "1 of the 2" in str(caught.value)
    assert "'two'" in str(caught.value)
    assert "allow_overlap=True" in caught.value.hint
    assert refuse_overlap(evaluation, seen, allow=True) == 1
    assert refuse_overlap(evaluation, []) == 0


def test_overlap_of_protocols_is_found(data_dir: Path) -> None:
    task = parse_task("engineering")
    emo = TaskOptions(data_dir=data_dir, protocol="emo", num_fewshot=0)
    standard = TaskOptions(data_dir=data_dir, num_fewshot=0)
    seen = calibration_set(task, emo).document_sha256
    refuse_overlap(evaluation_set(task, emo), seen)
    with pytest.raises(CalibrationOverlap):
        refuse_overlap(evaluation_set(task, standard), seen)
