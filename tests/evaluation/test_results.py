from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from msgspec.structs import replace

from emo_prune.artifacts import json_schema
from emo_prune.errors import CheckpointError, EvaluationError
from emo_prune.evaluation import (
    Gates,
    Results,
    Scorer,
    compare,
    judge,
)
from emo_prune.evaluation.statistics import pooled_mean
from emo_prune.options import ScoringOptions
from emo_prune.progress import Advance
from emo_prune.tasks import (
    MMLU_CATEGORIES,
    EvaluationSet,
    TaskOptions,
    evaluation_set,
    parse_task,
)
from tests.evaluation.tiny import byte_tokenizer, save, scored, tiny_olmoe


class Heard:
    """Remembers what it is told."""

    tracked: tuple[tuple[str, int, str], list[int]]

    def say(self, text: str) -> None:
        raise AssertionError(text)

    @contextmanager
    def track(self, label: str, total: int, unit: str) -> Iterator[Advance]:
        self.tracked = (label, total, unit), []
        yield self.tracked[1].append


@pytest.fixture(scope="module")
def mmlu(data_dir: Path) -> EvaluationSet:
    options = TaskOptions(data_dir=data_dir, num_fewshot=0)
    return evaluation_set(parse_task("mmlu"), options, 2)


@pytest.fixture(scope="module")
def results(mmlu: EvaluationSet, model: Any, tokenizer: Any) -> Results:
    return scored(model, tokenizer, mmlu, name="tiny")


@pytest.fixture(scope="module")
def baseline(mmlu: EvaluationSet, other_model: Any, tokenizer: Any) -> Results:
    return scored(other_model, tokenizer, mmlu, name="full")


def test_a_category_is_the_mean_over_its_questions(results: Results) -> None:
    for category in results.categories:
        scores = [
            q.score
            for task in results.tasks
            if task.category == category.name
            for q in task.questions
        ]
        assert len(scores) == category.n == 2 * len(MMLU_CATEGORIES[category.name])
        assert category.value == pytest.approx(sum(scores) / len(scores))
        assert category.num_tasks == len(MMLU_CATEGORIES[category.name])


def test_a_categorys_error_takes_its_subjects_as_clusters(results: Results) -> None:
    for category in results.categories:
        found = [
            (q.score, q.weight, task.name)
            for task in results.tasks
            if task.category == category.name
            for q in task.questions
        ]
        scores, weights, subjects = (
            list(column) for column in zip(*found, strict=True)
        )
        expected = pooled_mean(scores, weights, subjects).stderr
        assert category.stderr == pytest.approx(expected)


def test_the_headline_is_the_unweighted_mean_without_other(results: Results) -> None:
    counted = [c for c in results.categories if c.in_headline]
    assert len(counted) == 16
    assert {c.name for c in results.categories} - {c.name for c in counted} == {"other"}
    assert results.value == pytest.approx(sum(c.value for c in counted) / 16)


def test_results_validate_and_survive_json(results: Results, baseline: Results) -> None:
    comparison = compare(results, baseline)
    gates = Gates(max_drop=1, min_recovery=95, confidence=0.9, strict=True)
    whole = replace(results, comparison=comparison, gates=judge(comparison, gates))
    text = whole.to_text()
    assert [g["gate"] for g in json.loads(text)["gates"]] == [
        "--max-drop",
        "--min-recovery",
    ]
    schema = json_schema(Results.schema)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(text), schema)
    assert Results.from_text(text, "x.json") == whole


def test_every_field_of_the_schema_is_there_and_described(results: Results) -> None:
    schema = json_schema(Results.schema)
    assert set(results.to_dict()) == set(schema["required"])
    assert schema["additionalProperties"] is False


@pytest.mark.parametrize("text", ["", "{}", '{"schema": "emo-prune/results/2"}'])
def test_what_is_no_results_file_is_refused(text: str) -> None:
    with pytest.raises(EvaluationError, match=r"results file.*x\.json"):
        Results.from_text(text, "x.json")


def test_the_same_run_gives_the_same_bytes(
    results: Results, mmlu: EvaluationSet, model: Any, tokenizer: Any
) -> None:
    again = scored(model, tokenizer, mmlu, name="tiny", batch_size=5)
    assert again.to_text() == results.to_text()


def test_prompts_and_documents_have_their_own_hashes(
    results: Results, baseline: Results, data_dir: Path, model: Any, tokenizer: Any
) -> None:
    assert results.prompts_sha256 == baseline.prompts_sha256
    assert results.documents_sha256 == baseline.documents_sha256
    hashes = set()
    for shots in (0, 1):
        evaluation = evaluation_set(
            parse_task("engineering"),
            TaskOptions(data_dir=data_dir, num_fewshot=shots),
            2,
        )
        found = scored(model, tokenizer, evaluation, name="tiny")
        hashes.add((found.prompts_sha256, found.documents_sha256))
    assert len({p for p, _ in hashes}) == 2
    assert len({d for _, d in hashes}) == 1


def test_a_checkpoint_on_disk_scores_like_the_model_in_memory(
    tmp_path: Path, mmlu: EvaluationSet, results: Results
) -> None:
    folder = save(tmp_path / "tiny")
    options = ScoringOptions(device="cpu", batch_size=8)
    with Scorer.load(folder, "tiny", options) as scorer:
        found = scorer.score(mmlu, "tiny")
    assert found.to_text() == results.to_text()
    assert str(tmp_path) not in found.to_text()


def test_what_is_no_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot load"):
        Scorer.load(tmp_path, "nothing", ScoringOptions(device="cpu"))


def test_prompts_longer_than_the_context_are_counted(
    data_dir: Path, model: Any, tokenizer: Any
) -> None:
    evaluation = evaluation_set(
        parse_task("engineering"), TaskOptions(data_dir=data_dir, num_fewshot=0), 6
    )
    task = evaluation.tasks[0].task
    task.build_all_requests(limit=6)
    lengths = sorted(len(i.args[0].encode()) for i in task.instances[::4])
    cut = scored(model, tokenizer, evaluation, name="tiny", max_length=lengths[2] + 1)
    assert lengths[2] < lengths[3]
    assert cut.num_truncated == sum(length > lengths[2] for length in lengths)
    assert cut.settings.max_length == lengths[2] + 1


def test_a_model_that_gives_nan_is_refused(mmlu: EvaluationSet) -> None:
    import torch

    broken = tiny_olmoe()
    with torch.no_grad():
        broken.lm_head.weight[7] = float("nan")
    with pytest.raises(EvaluationError, match="NaN"):
        scored(broken, byte_tokenizer(), mmlu, name="broken")


def test_progress_is_told_of_every_request_in_documents(
    data_dir: Path, model: Any, tokenizer: Any
) -> None:
    evaluation = evaluation_set(
        parse_task("engineering"), TaskOptions(data_dir=data_dir, num_fewshot=0), 3
    )
    heard = Heard()
    scored(model, tokenizer, evaluation, name="tiny", progress=heard)
    (label, total, unit), advances = heard.tracked
    assert (label, total, unit) == ("scoring tiny", 3, "documents")
    assert len(advances) == 12  # the requests: four options each
    assert sum(advances) == 3


def test_nothing_is_printed(
    tmp_path: Path, mmlu: EvaluationSet, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = save(tmp_path / "tiny")
    capfd.readouterr()
    with Scorer.load(folder, "tiny", ScoringOptions(device="cpu")) as scorer:
        scorer.score(mmlu, "tiny")
    assert capfd.readouterr() == ("", "")


def test_a_model_in_training_mode_is_left_in_it(
    mmlu: EvaluationSet, tokenizer: Any, results: Results
) -> None:
    training = tiny_olmoe().train()
    found = scored(training, tokenizer, mmlu, name="tiny")
    assert training.training
    assert found.value == results.value


@pytest.mark.parametrize("share", [True, False])
def test_a_model_that_fails_as_it_computes_is_named(
    mmlu: EvaluationSet, share: bool
) -> None:
    import torch

    broken = tiny_olmoe()
    broken.lm_head.weight = torch.nn.Parameter(torch.zeros(258, 3))
    with pytest.raises(EvaluationError, match=r"fails as it computes.*RuntimeError"):
        scored(broken, byte_tokenizer(), mmlu, name="broken", share_prefixes=share)


def test_a_model_that_fails_as_it_writes_is_named(data_dir: Path) -> None:
    import torch

    broken = tiny_olmoe()
    broken.lm_head.weight = torch.nn.Parameter(torch.zeros(258, 3))
    gsm8k = evaluation_set(parse_task("gsm8k"), TaskOptions(data_dir=data_dir), 1)
    with pytest.raises(EvaluationError, match="fails as it computes"):
        scored(broken, byte_tokenizer(), gsm8k, name="broken")


def test_a_full_device_is_named(mmlu: EvaluationSet) -> None:
    import torch

    model = tiny_olmoe()

    def fill(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    model.register_forward_pre_hook(fill)
    with pytest.raises(EvaluationError, match="memory of the device") as full:
        scored(model, byte_tokenizer(), mmlu, name="large")
    assert "batch_size=1" in full.value.hint


def test_the_same_experts_are_scored_once(
    mmlu: EvaluationSet, model: Any, tokenizer: Any
) -> None:
    calls: list[int] = []
    hook = model.register_forward_hook(lambda *_: calls.append(1))
    kept = {0: (0, 2, 3)}
    with Scorer(model, tokenizer) as scorer:
        first = scorer.score(mmlu, "some", kept, 2)
        once = len(calls)
        again = scorer.score(mmlu, "the same", dict(kept), 2)
        assert len(calls) == once
        whole = scorer.score(mmlu, "all")
        assert len(calls) > once
    hook.remove()
    assert again == replace(first, model="the same")
    assert whole != replace(first, model="all")
    assert whole == scored(model, tokenizer, mmlu, name="all")
