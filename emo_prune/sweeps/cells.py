"""The cells of a sweep: the model whole, its subsets for each task, other models."""

from __future__ import annotations

from dataclasses import dataclass, field

from emo_prune.architectures import MoEModel
from emo_prune.evaluation.scored_model import ScoredModel as Subject
from emo_prune.options import ReselectOptions
from emo_prune.selection import Budget, Selection, needs_outputs, read_scores
from emo_prune.selection.selecting import select_again
from emo_prune.sweeps.state import SweepState
from emo_prune.sweeps.tasks import SweepTask
from emo_prune.tasks import TaskOptions

FULL = "full"


@dataclass(frozen=True, slots=True, kw_only=True)
class CellOptions:
    """How every cell of a sweep is counted and scored."""

    options: TaskOptions = field(default_factory=TaskOptions)
    limit: int | None = None
    allow_overlap: bool = False
    device: str | None = None
    dtype: str = "auto"
    batch_size: int | None = None
    share_prefixes: bool = True
    lower_top_k: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Subset:
    """A budget, a score, and a number of examples: of each task another selection."""

    budget: Budget
    score: str
    num_examples: int | None

    @property
    def size(self) -> str:
        """The number of examples, or all."""
        return size_name(self.num_examples)

    @property
    def title(self) -> str:
        """What progress calls it."""
        return f"{self.budget.keep.text} {self.score}, {self.size} examples"

    @property
    def file(self) -> str:
        """The name of its cells' files."""
        return f"{self.size}-{self.score}-{self.budget.num_experts}"


def size_name(num_examples: int | None) -> str:
    """Return what a size of calibration is called."""
    return "all" if num_examples is None else str(num_examples)


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """Another model, to be compared with the full one; `identity` tells it apart."""

    subject: Subject
    num_bytes: int
    identity: str

    @property
    def file(self) -> str:
        """The name of its cells' files."""
        return f"other-{self.identity.removeprefix('sha256:')[:16]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Everything a sweep computes, found and checked, and where it is kept."""

    whole: Subject
    opened: MoEModel
    identity: str
    state: SweepState
    tasks: tuple[SweepTask, ...]
    subsets: tuple[Subset, ...]
    others: tuple[Other, ...]
    options: CellOptions

    @property
    def sizes(self) -> dict[str, int | None]:
        """The sizes of calibration, by name."""
        return {subset.size: subset.num_examples for subset in self.subsets}

    @property
    def outputs(self) -> bool:
        """Whether a score needs the outputs of experts."""
        return any(needs_outputs(subset.score) for subset in self.subsets)

    def selection(self, task: SweepTask, subset: Subset) -> Selection:
        """Return a task's selection, from the pass that was kept."""
        file = self.state.scores(task, subset.size)
        options = ReselectOptions(
            file,
            keep=subset.budget.keep.text,
            score=subset.score,
            lower_top_k=self.options.lower_top_k,
        )
        return select_again(read_scores(file), options)


def subset_title(grid: Grid, subset: Subset) -> str:
    """Return what results call a subset."""
    kept, total = subset.budget.num_experts, grid.opened.num_experts
    return f"{grid.whole.name}, {kept} of {total} experts"
