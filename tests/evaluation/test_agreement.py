"""The same numbers as a direct run of lm-eval over YAML files of its own."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest

from emo_prune.tasks import TaskOptions, evaluation_set, parse_task
from tests.evaluation.tiny import scored

SUBJECTS = ("college_chemistry", "high_school_chemistry")


def _lm_eval(
    folder: Path, name: str, include: str, rows: Mapping[str, Iterable[Any]]
) -> None:
    """Write a YAML task that includes lm-eval's and reads JSON files instead."""
    import lm_eval.tasks
    import yaml

    files = {}
    for split, documents in rows.items():
        path = folder / f"{name}_{split}.jsonl"
        path.write_text("".join(json.dumps(d) + "\n" for d in documents))
        files[split] = str(path)
    task = {
        "include": str(Path(lm_eval.tasks.__file__).parent / include),
        "task": name,
        "dataset_path": "json",
        "dataset_name": None,
        "dataset_kwargs": {"data_files": files, "cache_dir": str(folder / "cache")},
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(task))


def _run(
    folder: Path, model: Any, tokenizer: Any, limit: int, num_fewshot: int
) -> dict[str, Any]:
    import lm_eval
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=folder, include_defaults=False)
    output: dict[str, Any] = lm_eval.simple_evaluate(
        model=HFLM(pretrained=model, tokenizer=tokenizer, batch_size=4),
        tasks=manager.all_subtasks,
        task_manager=manager,
        num_fewshot=num_fewshot,
        limit=limit,
        log_samples=True,
        bootstrap_iters=10,
    )
    return output


def _mmlu_rows(data_dir: Path, subject: str) -> dict[str, list[dict[str, Any]]]:
    rows = {}
    for split in ("dev", "test"):
        path = data_dir / "mmlu" / split / f"{subject}_{split}.csv"
        with path.open(encoding="utf-8", newline="") as file:
            rows[split] = [
                {"question": q, "choices": options, "answer": "ABCD".index(letter)}
                for q, *options, letter in csv.reader(file)
            ]
    return rows


@pytest.mark.parametrize("answer", ["letter", "text"])
@pytest.mark.filterwarnings("ignore")  # lm-eval's own, in its direct run
def test_mmlu_equals_a_direct_run_of_lm_eval(
    answer: str, data_dir: Path, tmp_path: Path, model: Any, tokenizer: Any
) -> None:
    style, ending = (
        ("default", "") if answer == "letter" else ("continuation", "_continuation")
    )
    for subject in SUBJECTS:
        _lm_eval(
            tmp_path,
            f"mmlu_{subject}{ending}",
            f"mmlu/{style}/mmlu_{subject}.yaml",
            _mmlu_rows(data_dir, subject),
        )
    direct = _run(tmp_path, model, tokenizer, limit=6, num_fewshot=5)
    ours = scored(
        model,
        tokenizer,
        evaluation_set(
            parse_task("chemistry"),
            TaskOptions(data_dir=data_dir, answer=answer),  # type: ignore[arg-type]
            6,
        ),
        name="tiny",
    )
    assert {t.name for t in ours.tasks} == set(direct["results"])
    for task in ours.tasks:
        expected = direct["results"][task.name]
        assert task.metrics["acc,none"] == expected["acc,none"]
        assert task.value == expected["acc,none"]
        assert task.stderr == pytest.approx(expected["acc_stderr,none"])
        samples = direct["samples"][task.name]
        assert [q.score for q in task.questions] == [s["acc"] for s in samples]
        right = [
            "ABCD"[s["doc"]["answer"]]
            if answer == "letter"
            else s["doc"]["choices"][s["doc"]["answer"]]
            for s in samples
        ]
        for question, expected_answer in zip(task.questions, right, strict=True):
            assert (question.answer == expected_answer) == bool(question.score)
    assert ours.value == pytest.approx(sum(t.value for t in ours.tasks) / 2)


@pytest.mark.filterwarnings("ignore")
def test_arc_with_drawn_demonstrations_equals_a_direct_run_of_lm_eval(
    data_dir: Path, tmp_path: Path, model: Any, tokenizer: Any
) -> None:
    rows = {
        split: [
            json.loads(line)
            for line in (data_dir / "arc" / f"easy_{split}.jsonl").open(
                encoding="utf-8"
            )
        ]
        for split in ("train", "validation", "test")
    }
    _lm_eval(tmp_path, "arc_easy", "arc/arc_easy.yaml", rows)
    direct = _run(tmp_path, model, tokenizer, limit=12, num_fewshot=2)
    evaluation = evaluation_set(
        parse_task("arc_easy"), TaskOptions(data_dir=data_dir, num_fewshot=2), 12
    )
    (ours,) = scored(model, tokenizer, evaluation, name="tiny").tasks
    expected = direct["results"]["arc_easy"]
    for metric in ("acc,none", "acc_norm,none"):
        assert ours.metrics[metric] == expected[metric]
    evaluation.tasks[0].task.build_all_requests(limit=12)
    built = [i.args for i in evaluation.tasks[0].task.instances]
    samples = direct["samples"]["arc_easy"]
    assert built == [tuple(args) for s in samples for args in s["arguments"]]


@pytest.mark.filterwarnings("ignore")
def test_gsm8k_equals_a_direct_run_of_lm_eval(
    data_dir: Path, tmp_path: Path, model: Any, tokenizer: Any
) -> None:
    lines = (data_dir / "gsm8k" / "test.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    _lm_eval(tmp_path, "gsm8k", "gsm8k/gsm8k.yaml", {"train": rows, "test": rows})
    direct = _run(tmp_path, model, tokenizer, limit=2, num_fewshot=0)
    evaluation = evaluation_set(
        parse_task("gsm8k"), TaskOptions(data_dir=data_dir, num_fewshot=0), 2
    )
    (ours,) = scored(model, tokenizer, evaluation, name="tiny").tasks
    expected = direct["results"]["gsm8k"]
    names = ("exact_match,strict-match", "exact_match,flexible-extract")
    assert dict(ours.metrics) == {name: expected[name] for name in names}
    assert ours.metric == "exact_match"
    strict = [s for s in direct["samples"]["gsm8k"] if s["filter"] == "strict-match"]
    assert [q.answer for q in ours.questions] == [
        s["filtered_resps"][0] for s in strict
    ]
