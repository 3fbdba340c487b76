"""What a user may name: a task, and how its prompts are to be made.

Light on purpose: the command line parses names without lm-eval, datasets or torch.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from emo_prune.errors import Command, Parameter, TaskError, UnknownTask
from emo_prune.options import PromptOptions

Kind = Literal["mmlu", "mmlu-pro", "gsm8k", "lm-eval", "examples"]

_SPELLINGS = {"philosophy_cat": "philosophy"}
_LM_EVAL_NAME = re.compile(r"[\w.+&-]+")
_EXAMPLE_SUFFIXES = {".gz", ".jsonl", ".ndjson", ".json", ".txt"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One task, in its canonical spelling.

    `name` is what artifacts record ("mmlu:math", "gsm8k", "arc_easy",
    "examples:support"); `slug` names its output folder ("math", "mmlu-pro-law").
    """

    kind: Kind
    name: str
    slug: str
    category: str | None = None
    examples: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskOptions:
    """How prompts are made and which documents calibrate and score.

    `num_fewshot`: demonstrations per prompt; None is the task's standard: 5 for MMLU
    and MMLU-Pro, 8 for GSM8K (the EMO paper's numbers; lm-eval's own gsm8k says 5),
    what lm-eval's YAML says (else 0) for any other lm-eval task, 0 for examples.

    `answer`: what is scored in MMLU and MMLU-Pro. "letter" lists the options and
    scores A, B, C, ...; "text" does not list them and scores the words of each option
    without length normalisation (the cloze style of the EMO paper).

    `protocol`: "standard" scores the official test split; "emo" is the authors' split
    of it (MMLU: 60 % calibrates, 40 % is scored; MMLU-Pro: 100 questions and 40 % of
    the rest calibrate, 60 % of the rest is scored).

    `data_dir`: local copies of the benchmarks; None fetches them from the Hub.

    `seed` chooses which calibration documents a subsample holds, nothing else.
    """

    num_fewshot: int | None = None
    answer: Literal["letter", "text"] = "letter"
    protocol: Literal["standard", "emo"] = "standard"
    data_dir: Path | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        _one_of("answer", self.answer, ("letter", "text"))
        _one_of("protocol", self.protocol, ("standard", "emo"))
        if self.num_fewshot is not None and self.num_fewshot < 0:
            raise TaskError(
                "the number of demonstrations is negative",
                got=self.num_fewshot,
                expected="0 or more",
                hint=("give ", Parameter("num_fewshot", 0), " for no demonstrations"),
            )
        if self.seed < 0:
            raise TaskError(
                "the seed is negative",
                got=self.seed,
                expected="0 or more",
                hint=("give ", Parameter("seed", 0), ", or leave it out"),
            )


def task_options(options: PromptOptions, seed: int | None = None) -> TaskOptions:
    """Return how prompts are made; what was not given has its default."""
    return TaskOptions(
        num_fewshot=options.num_fewshot,
        answer=options.answer or "letter",
        protocol=options.protocol or "standard",
        data_dir=None if options.data_dir is None else Path(options.data_dir),
        seed=seed or 0,
    )


def parse_task(task: str | None, examples: str | Path | None = None) -> Task:
    """Return the task that a name, or an examples file, stands for.

    "math" is short for "mmlu:math"; spaces, hyphens and underscores in a category are
    alike. A name that is none of ours is taken for lm-eval's and is looked up when its
    prompts are built.

    Raises:
        TaskError: neither a task nor examples, or both.
        UnknownTask: no such category, or not a name at all.
    """
    if (task is None) == (examples is None):
        raise TaskError(
            "a task is needed" if task is None else "a task and examples exclude",
            expected=("one of ", Parameter("task"), " and ", Parameter("examples")),
            hint=(
                *("try ", Parameter("task", "math")),
                *(", or ", Parameter("examples", "FILE.jsonl")),
            ),
        )
    if examples is not None:
        return _examples(Path(examples))
    return _named((task or "").strip())


def check_prompts(task: Task, options: TaskOptions) -> None:
    """Refuse what prompts of a task cannot have, before any are built.

    Raises:
        TaskError: demonstrations are asked for with an examples file.
    """
    if task.kind == "examples" and options.num_fewshot:
        raise TaskError(
            "an examples file has no demonstrations",
            got=Parameter("num_fewshot", options.num_fewshot),
            expected="0",
            hint="write the demonstrations into the prompts",
        )


def no_examples() -> TaskError:
    """Return the error for a task of examples without a file."""
    return TaskError(
        "no examples file is given", hint=("give ", Parameter("examples", "FILE"))
    )


def _named(text: str) -> Task:
    if "," in text:  # no task has a comma in its name
        raise _several(text)
    benchmark, colon, category = text.partition(":")
    family = benchmark.strip().lower().replace("_", "-")
    if colon and family == "mmlu":
        return _mmlu(_category(category, tuple(MMLU_CATEGORIES), text))
    if colon and family == "mmlu-pro":
        return _mmlu_pro(_category(category, MMLU_PRO_CATEGORIES, text))
    if text.lower() == "mmlu":
        return Task(kind="mmlu", name="mmlu", slug="mmlu")
    if text.lower() == "mmlu-pro":
        return Task(kind="mmlu-pro", name="mmlu-pro", slug="mmlu-pro")
    if text.lower() == "gsm8k":
        return Task(kind="gsm8k", name="gsm8k", slug="gsm8k")
    if _spelled(text) in MMLU_CATEGORIES:
        return _mmlu(_spelled(text))
    # lm-eval is asked for the rest, which takes seconds: not for what it cannot know.
    if _spelled(text) in _SUBJECTS:
        raise _subject(text, _spelled(text))
    if not _LM_EVAL_NAME.fullmatch(text):
        raise unknown_task(text)
    return Task(kind="lm-eval", name=text, slug=text)


def unknown_task(text: str, others: tuple[str, ...] = ()) -> UnknownTask:
    """Return the error for a name that no task has, with the closest that exist."""
    names = (*own_names(), *MMLU_CATEGORIES, *others)
    close = difflib.get_close_matches(text.lower(), names, n=4, cutoff=0.6)
    hint = f"did you mean {', '.join(close)}? " if close else ""
    return UnknownTask(
        f"no task is called {text!r}",
        got=text,
        expected="a category, a benchmark or an lm-eval task name",
        hint=(
            f"{hint}categories: {', '.join(MMLU_CATEGORIES)}; also mmlu, "
            "mmlu-pro:CATEGORY, gsm8k, any lm-eval task, or ",
            Parameter("examples", "FILE"),
        ),
    )


def _several(text: str) -> UnknownTask:
    names = [part.strip() for part in text.split(",") if part.strip()] or ["math"]
    return UnknownTask(
        "several tasks are named at once",
        where=Parameter("task"),
        got=text,
        expected="the name of one task",
        hint=(
            *(
                "give one: ",
                Parameter("task", names[0]),
                "; several at a time are for ",
            ),
            Command("sweep", {"tasks": ",".join(names)}),
        ),
    )


def _subject(text: str, subject: str) -> UnknownTask:
    return UnknownTask(
        "this is a subject of MMLU, and categories are what is named here",
        where=Parameter("task"),
        got=text,
        expected="a category, a benchmark or an lm-eval task name",
        hint=(
            *(
                "give ",
                Parameter("task", f"mmlu_{subject}"),
                " for the subject alone, ",
            ),
            *("or ", Parameter("task", _SUBJECTS[subject]), " for its category"),
        ),
    )


def own_names() -> tuple[str, ...]:
    """Return every canonical name this package gives a meaning of its own."""
    return (
        "mmlu",
        *(f"mmlu:{name}" for name in MMLU_CATEGORIES),
        "mmlu-pro",
        *(f"mmlu-pro:{name}" for name in MMLU_PRO_CATEGORIES),
        "gsm8k",
    )


def _mmlu(category: str) -> Task:
    name = f"mmlu:{category}"
    return Task(kind="mmlu", name=name, slug=category, category=category)


def _mmlu_pro(category: str) -> Task:
    name = f"mmlu-pro:{category}"
    slug = f"mmlu-pro-{category}"
    return Task(kind="mmlu-pro", name=name, slug=slug, category=category)


def _examples(path: Path) -> Task:
    stem = path.name
    while Path(stem).suffix.lower() in _EXAMPLE_SUFFIXES and Path(stem).stem:
        stem = Path(stem).stem
    return Task(kind="examples", name=f"examples:{stem}", slug=stem, examples=path)


def _category(text: str, categories: tuple[str, ...], where: str) -> str:
    category = _spelled(text)
    if category not in categories:
        if category in _SUBJECTS and categories == tuple(MMLU_CATEGORIES):
            raise _subject(where, category)
        raise unknown_task(where)
    return category


def _spelled(text: str) -> str:
    spelled = re.sub(r"[\s_-]+", "_", text.strip().lower())
    return _SPELLINGS.get(spelled, spelled)


def _one_of(option: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise TaskError(
            f"the option {option!r} has no such value",
            got=value,
            expected=" or ".join(allowed),
            hint=("give ", Parameter(option, allowed[0])),
        )


# The categories of MMLU (17) and MMLU-Pro (14), as the EMO authors group them. A
# category's accuracy is over its questions, so its subjects weigh by their size. The
# headline is the unweighted mean over all categories but `other`: 16, or 13.
MMLU_CATEGORIES: dict[str, tuple[str, ...]] = {
    "biology": ("college_biology", "high_school_biology"),
    "business": ("business_ethics", "management", "marketing"),
    "chemistry": ("college_chemistry", "high_school_chemistry"),
    "computer_science": (
        "college_computer_science",
        "computer_security",
        "high_school_computer_science",
        "machine_learning",
    ),
    "culture": ("human_sexuality", "sociology"),
    "economics": (
        "econometrics",
        "high_school_macroeconomics",
        "high_school_microeconomics",
    ),
    "engineering": ("electrical_engineering",),
    "geography": ("high_school_geography",),
    "health": (
        "anatomy",
        "clinical_knowledge",
        "college_medicine",
        "human_aging",
        "medical_genetics",
        "nutrition",
        "professional_medicine",
        "virology",
    ),
    "history": (
        "high_school_european_history",
        "high_school_us_history",
        "high_school_world_history",
        "prehistory",
    ),
    "law": ("international_law", "jurisprudence", "professional_law"),
    "math": (
        "abstract_algebra",
        "college_mathematics",
        "elementary_mathematics",
        "high_school_mathematics",
        "high_school_statistics",
    ),
    "other": ("global_facts", "miscellaneous", "professional_accounting"),
    "philosophy": (
        "formal_logic",
        "logical_fallacies",
        "moral_disputes",
        "moral_scenarios",
        "philosophy",
        "world_religions",
    ),
    "physics": (
        "astronomy",
        "college_physics",
        "conceptual_physics",
        "high_school_physics",
    ),
    "politics": (
        "high_school_government_and_politics",
        "public_relations",
        "security_studies",
        "us_foreign_policy",
    ),
    "psychology": ("high_school_psychology", "professional_psychology"),
}
"""Category to subjects; "philosophy" is the authors' `philosophy_cat`."""

MMLU_PRO_CATEGORIES: tuple[str, ...] = (
    "biology",
    "business",
    "chemistry",
    "computer_science",
    "economics",
    "engineering",
    "health",
    "history",
    "law",
    "math",
    "other",
    "philosophy",
    "physics",
    "psychology",
)

_SUBJECTS = {
    subject: category
    for category, subjects in MMLU_CATEGORIES.items()
    for subject in subjects
}
"""The data write "computer science"; everywhere else here it is one word."""

OUTSIDE_THE_HEADLINE = "other"
