"""What an evaluation found, question by question, and its JSON form."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from emo_prune.errors import EvaluationError
from emo_prune.evaluation.statistics import Estimate
from emo_prune.files import readable_json

if TYPE_CHECKING:
    from emo_prune.evaluation.compare import Comparison
    from emo_prune.evaluation.gates import Verdict

SCHEMA = "emo-prune/results/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One scored document: 1.0 or 0.0 for accuracy; bits per byte for a text.

    `weight` is its share of the mean: 1, or the bytes of a text. `answer` is what the
    model chose or wrote, None where nothing is answered.
    """

    document_sha256: str
    score: float
    weight: float = 1.0
    answer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResult:
    """One lm-eval task. `metrics` holds all that lm-eval reports ("acc,none", ...).

    `questions` is empty if the metric is no mean over questions (F1 over a corpus).
    """

    name: str
    category: str
    metric: str
    higher_is_better: bool
    value: float
    stderr: float | None
    n: int
    metrics: Mapping[str, float]
    questions: tuple[Question, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryResult:
    """One category: the mean over all its questions.

    `num_tasks` lm-eval tasks (subjects of MMLU) are pooled in it; of several the
    standard error is that of `statistics.pooled_mean`, tasks being clusters.
    """

    name: str
    in_headline: bool
    value: float
    stderr: float | None
    n: int
    num_tasks: int

    @property
    def estimate(self) -> Estimate:
        """The figure without its name."""
        return Estimate(value=self.value, stderr=self.stderr, n=self.n)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What decides the prompts and how the model reads them."""

    num_fewshot: int
    answer: str
    protocol: str
    limit: int | None
    max_length: int
    dtype: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """An evaluation. `value` is the unweighted mean over the headline's categories.

    `num_truncated`: prompts longer than the model's context, cut on the left.
    `prompts_sha256` covers every string the model was given, `documents_sha256` every
    document's hash and its gold answer.
    """

    model: str
    task: str
    settings: Settings
    metric: str
    higher_is_better: bool
    value: float
    stderr: float | None
    n: int
    categories: tuple[CategoryResult, ...]
    tasks: tuple[TaskResult, ...]
    num_truncated: int
    prompts_sha256: str
    documents_sha256: str
    versions: Mapping[str, str]

    def to_dict(
        self, comparison: Comparison | None = None, verdicts: Sequence[Verdict] = ()
    ) -> dict[str, Any]:
        """Return the JSON object that `results.schema.json` describes."""
        value = {"schema": SCHEMA, **plain(asdict(self))}
        if comparison is not None:
            value["comparison"] = plain(comparison.to_dict())
        if verdicts:
            value["gates"] = [verdict.to_dict() for verdict in verdicts]
        return value

    def to_json(
        self, comparison: Comparison | None = None, verdicts: Sequence[Verdict] = ()
    ) -> str:
        """Return deterministic JSON text: no clock, host or path."""
        return readable_json(self.to_dict(comparison, verdicts))

    @classmethod
    def from_json(cls, text: str, where: object = None) -> Results:
        """Read what `to_json` wrote; a comparison stored beside it is ignored.

        Raises:
            EvaluationError: not JSON, or not by the schema.
        """
        import fastjsonschema

        try:
            value = json.loads(text)
            _validator()(value)
        except (json.JSONDecodeError, fastjsonschema.JsonSchemaValueException) as error:
            raise EvaluationError(
                "these are no results of an evaluation",
                where=where,
                got=str(error),
                expected=f"JSON with schema {SCHEMA}",
                hint="write them anew with `emo-prune eval`",
            ) from error
        return cls.from_dict(value)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Results:
        """Read a JSON object that the schema holds for."""
        own = {field.name: value[field.name] for field in fields(cls)}
        return cls(
            **own
            | {
                "settings": Settings(**value["settings"]),
                "categories": tuple(CategoryResult(**c) for c in value["categories"]),
                "tasks": tuple(
                    TaskResult(
                        **t
                        | {"questions": tuple(Question(**q) for q in t["questions"])}
                    )
                    for t in value["tasks"]
                ),
            }
        )


@cache
def results_schema() -> dict[str, Any]:
    """Return the JSON Schema of results, as shipped in the package."""
    file = resources.files("emo_prune.evaluation") / "results.schema.json"
    schema: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return schema


@cache
def _validator() -> Callable[[Any], Any]:
    import fastjsonschema

    validate: Callable[[Any], Any] = fastjsonschema.compile(results_schema())
    return validate


def plain(value: Any) -> Any:
    """Return a value with lists for tuples, as JSON has it."""
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value
