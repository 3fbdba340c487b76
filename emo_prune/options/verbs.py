"""The options of each verb: those of its groups, and its own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal

from emo_prune.errors import CarvingError, Parameter, SettingsError
from emo_prune.options.declare import (
    MODEL,
    OUTPUT,
    RUNTIME,
    SELECTION,
    TASK,
    Artifact,
    Options,
    option,
    options,
)
from emo_prune.options.groups import (
    BudgetOptions,
    CalibrationOptions,
    ChoiceOptions,
    ForceOptions,
    ModelOptions,
    OneTaskOptions,
    RemoteOptions,
    ResumeOptions,
    RevisionOptions,
    ScoringOptions,
    SeedOptions,
    SeveralTasksOptions,
    ShardOptions,
)

EXPERTS = "Experts"
GATES = "Gates"
CI = "For CI"
DATA = "Data"
TRAINING = "Training"


@options
class InspectOptions(RemoteOptions):
    """Which checkpoint to look at."""

    verb: ClassVar[str] = "inspect"

    model: str | Path | None = option(
        default=None,
        kw_only=False,
        kind=str,
        help="Checkpoint: a local folder or a Hub id (headers only are fetched).",
    )


@options
class SelectOptions(ChoiceOptions, OneTaskOptions, RevisionOptions, ModelOptions):
    """What to select on, how many experts, and how the examples are run."""

    verb: ClassVar[str] = "select"

    greedy: bool = option(
        default=False,
        help="Choose layer by layer, earlier layers already pruned.",
        panel=SELECTION,
    )
    save_scores: bool = option(
        default=False,
        help="Also write scores.safetensors, to select again without the model.",
        panel=OUTPUT,
    )
    stream: bool | None = option(
        default=None,
        flags=("--stream/--no-stream",),
        help="Read and run the model layer by layer, or load it whole. (default: layer "
        "by layer if it would not fit into free memory)",
        panel=RUNTIME,
    )
    output: str | Path | None = option(
        default=None,
        flags=("--output", "-o"),
        variable=False,
        help="Where the result goes: a folder, or a file that ends in .json. (default: "
        "emo-prune-out/<task>/)",
        panel=OUTPUT,
    )

    def check(self) -> None:
        """Refuse what does not go together."""
        super().check()
        self.refuse_both(
            "save_scores",
            "greedy",
            "scores of a greedy pass hold for its own budget alone",
        )


@options
class ReselectOptions(ForceOptions, SeedOptions, BudgetOptions):
    """Which scores to select from, and how many experts."""

    verb: ClassVar[str] = "reselect"

    scores: str | Path = option(
        kw_only=False,
        file=True,
        kind=Path,
        help="A scores.safetensors that select wrote with {save_scores=True}.",
    )
    output: str | Path | None = option(
        default=None,
        flags=("--output", "-o"),
        variable=False,
        help="Where the result goes: a folder, or a file that ends in .json. (default: "
        "beside the scores)",
        panel=OUTPUT,
    )


@options
class ExportAllOptions(ForceOptions, ShardOptions, RemoteOptions, ModelOptions):
    """How selections are carried out, on which checkpoint, and in which layout."""

    layout: str = option(
        default="source",
        flags=("--as",),
        variable="AS",
        check="emo_prune.exports.formats:check_format",
        choices="emo_prune.exports.formats:format_names",
        help="Layout: {choices}. source is the source's own; what transformers and "
        "engines load without emo-prune is named after its model type (qwen2_moe: EMO "
        "with one shared expert).",
        panel=OUTPUT,
    )
    dry_run: bool = option(
        default=False,
        variable=False,
        help="Print exactly what would be written, and write nothing.",
        panel=OUTPUT,
    )


@options
class ExportOptions(ExportAllOptions):
    """Which selection to carry out, and where the checkpoint goes."""

    verb: ClassVar[str] = "export"

    selection: str | Path | Artifact | None = option(
        default=None,
        kw_only=False,
        flags=("--selection", "-s"),
        help="A selection.json. (default: each under emo-prune-out/ that has no "
        "up-to-date export; an out-of-date one is replaced with {force=True})",
        panel=SELECTION,
    )
    output: str | Path | None = option(
        default=None,
        flags=("--output", "-o"),
        variable=False,
        help="The checkpoint's folder. (default: beside the selection)",
        panel=OUTPUT,
    )


@options
class ExtractOptions(
    ShardOptions, ChoiceOptions, SeveralTasksOptions, RemoteOptions, ModelOptions
):
    """What to extract from which checkpoint, layer by layer."""

    verb: ClassVar[str] = "extract"

    output: str | Path | None = option(
        default=None,
        flags=("--output", "-o"),
        variable=False,
        help="The checkpoint's folder, selection.json beside it; of several tasks, the "
        "folder that gets one of each. (default: emo-prune-out/<task>/)",
        panel=OUTPUT,
    )


@options
class VerifyOptions(RevisionOptions):
    """Which export to compare with its source."""

    verb: ClassVar[str] = "verify"

    folder: str | Path = option(
        kw_only=False,
        variable=False,
        kind=Path,
        help="The folder that export wrote.",
    )
    source: str | Path | None = option(
        default=None,
        kind=str,
        variable=False,
        help="The checkpoint it was made from. (default: where it was last seen)",
        panel=MODEL,
    )


@options
class EvaluateOptions(ScoringOptions, OneTaskOptions):
    """What to score, on what, against what, and what it must hold."""

    verb: ClassVar[str] = "evaluate"

    path: str | Path | None = option(
        default=None,
        kw_only=False,
        variable=False,
        instead_of="checkpoint",
        kind=Path,
        help="An export, or any checkpoint folder. (default: each export under "
        "emo-prune-out/)",
    )
    export: str | Path | None = option(
        default=None, instead_of="checkpoint", help="The same as PATH.", panel=MODEL
    )
    model: str | Path | None = option(
        default=None,
        flags=("--model", "-m"),
        variable=False,
        kind=str,
        instead_of="checkpoint",
        help="Score this checkpoint (folder or Hub id) instead of an export.",
        panel=MODEL,
    )
    selection: str | Path | Artifact | Sequence[str | Path | Artifact] | None = option(
        default=None,
        flags=("--selection", "-s"),
        variable=False,
        repeatable=True,
        kind=Path,
        over=("path", "export", "baseline"),
        help="Score the model with all its experts, then with those of this "
        "selection.json alone, as its export would be; nothing is exported. May be "
        "given several times.",
        panel=MODEL,
    )
    baseline: str | Path | None = option(
        default=None,
        kind=str,
        help="Compare with this checkpoint; `source` is the one the export was made "
        "from.",
        panel=MODEL,
    )
    control: str | Sequence[str] | None = option(
        default=None,
        variable=False,
        repeatable=True,
        help="Also score as many experts that were not chosen for the task: random (3 "
        "seeds), other-task (the next category), or other-task:NAME, a task or a file "
        "of examples. May be given several times.",
        panel=MODEL,
    )
    max_drop: float | None = option(
        default=None,
        check="emo_prune.options.values:check_limit",
        help="Exit with 3 if more points are lost against the baseline (or else the "
        "source).",
        panel=GATES,
    )
    min_recovery: str | float | None = option(
        default=None,
        check="emo_prune.options.values:share_in_percent",
        help="Exit with 3 if less of the baseline's figure (or else the source's) is "
        "left: 95% or 0.95.",
        panel=GATES,
    )
    max_ppl_increase: str | float | None = option(
        default=None,
        check="emo_prune.options.values:rise_in_percent",
        help="Exit with 3 if perplexity per byte rises by more per cent; for texts: 2% "
        "or 2.",
        panel=GATES,
    )
    confidence: float | None = option(
        default=None,
        check="emo_prune.options.values:check_confidence",
        help="Judge the worse end of this interval: 0.95. (default: the point "
        "estimate)",
        panel=GATES,
    )
    strict: bool = option(
        default=False,
        help="Fail a gate, too, if these questions are too few to see the loss it "
        "guards against.",
        panel=GATES,
    )
    junit: str | Path | None = option(
        default=None,
        help="Write JUnit XML: a test case for each category and each gate.",
        panel=CI,
    )
    samples: str | Path | None = option(
        default=None,
        help="Write the questions that only one of model and baseline has right, as "
        "JSONL.",
        panel=CI,
    )
    output: str | Path | None = option(
        default=None,
        flags=("--output", "-o"),
        variable=False,
        help="Where the result goes: a folder, or a file that ends in .json. (default: "
        "beside the export, or emo-prune-out/<task>/)",
        panel=OUTPUT,
    )

    def check(self) -> None:
        """Refuse several models, and confidence or strictness without a gate."""
        super().check()
        for name in ("path", "export", "baseline"):
            self.refuse_both(
                "selection",
                name,
                "selections are scored on one model and compared with it",
            )
        given = [name for name in ("path", "export", "model") if getattr(self, name)]
        if len(given) > 1:
            raise SettingsError(
                "there are several checkpoints to score",
                got=" and ".join(str(getattr(self, name)) for name in given),
                expected="one of them",
                hint=("to compare two, make one the ", Parameter("baseline")),
            )
        limits = (self.max_drop, self.min_recovery, self.max_ppl_increase)
        unjudged = self.strict or self.confidence is not None
        if unjudged and all(limit is None for limit in limits):
            name = "strict" if self.strict else "confidence"
            raise SettingsError(
                "there is no gate to judge",
                got=Parameter(name, getattr(self, name)),
                expected=(
                    *(Parameter("max_drop"), ", ", Parameter("min_recovery"), " or "),
                    *(Parameter("max_ppl_increase"), " beside it"),
                ),
                hint=("add ", Parameter("max_drop", 1.0)),
            )


@options
class SweepOptions(ScoringOptions, SeedOptions, ModelOptions):
    """Which tasks, budgets and scores, on which model."""

    verb: ClassVar[str] = "sweep"

    tasks: str | Sequence[str] | None = option(
        default=None,
        flags=("--tasks", "-t"),
        variable=False,
        commas=True,
        kind=str,
        help="Tasks as {task} of select takes them, divided by commas; mmlu and "
        "mmlu-pro stand for each of their categories.",
        panel=TASK,
    )
    examples: str | Path | Sequence[str | Path] | None = option(
        default=None,
        variable=False,
        repeatable=True,
        kind=Path,
        file=True,
        help="A task of your own: a file to calibrate on, with {test}. May be given "
        "several times.",
        panel=TASK,
    )
    test: str | Path | Sequence[str | Path] | None = option(
        default=None,
        variable=False,
        repeatable=True,
        kind=Path,
        file=True,
        help="The file to score for the {examples} in the same place; it names the "
        "task.",
        panel=TASK,
    )
    keep: str | int | float | Sequence[str | int | float] = option(
        default="50%,25%,12.5%",
        flags=("--keep", "-k"),
        variable=False,
        commas=True,
        kind=str,
        check="emo_prune.selection.budget:parse_keep",
        help="Budgets, divided by commas: shares or numbers of experts.",
        panel=SELECTION,
    )
    scores: str | Sequence[str] = option(
        default="frequency",
        variable=False,
        commas=True,
        kind=str,
        check="emo_prune.selection.scores:check_score",
        choices="emo_prune.selection.scores:score_names",
        help="Scores, divided by commas: {choices}.",
        panel=SELECTION,
    )
    calibration: str | int | Sequence[str | int] = option(
        default="100",
        variable=False,
        commas=True,
        kind=str,
        check="emo_prune.options.values:number_of_examples",
        help="Numbers of examples to calibrate on, divided by commas; all is one.",
        panel=TASK,
    )
    lower_top_k: bool = option(
        default=False,
        help="Allow fewer experts than the router picks; it then picks fewer.",
        panel=SELECTION,
    )
    also: str | Path | Sequence[str | Path] | None = option(
        default=None,
        variable=False,
        repeatable=True,
        kind=str,
        help="Score this model (folder or Hub id) too, whole: one trained at a "
        "budget's size, say. May be given several times.",
        panel=MODEL,
    )
    compare_paper: str | None = option(
        default=None,
        variable=False,
        metavar="FILE:NAME",
        help="Print published figures beside this model's: those of model NAME in "
        "FILE; benchmarks/published/emo.json has those of EMO's authors.",
        panel=OUTPUT,
    )
    ray: str | None = option(
        default=None,
        variable=False,
        metavar="ADDRESS",
        help="Fan the cells out over Ray (extra `ray`): HOST:PORT of a cluster, auto "
        "for the one of this machine, or local to start one.",
        panel=RUNTIME,
    )
    output: str | Path | None = option(
        default=None,
        flags=("--output", "-o"),
        variable=False,
        help="Where sweep.json goes: a folder, or the very file. (default: "
        "emo-prune-out/)",
        panel=OUTPUT,
    )
    force: bool = option(
        default=False,
        variable=False,
        help="Forget the finished cells of an earlier sweep.",
        panel=OUTPUT,
    )


@options
class ReportOptions(Options):
    """What to show, and where the page goes."""

    verb: ClassVar[str] = "report"

    path: str | Path = option(
        default=Path("emo-prune-out"),
        kw_only=False,
        variable=False,
        kind=Path,
        help="A selection, results, a sweep, a checkpoint with emo_prune.json or "
        "carving.json, or a folder that holds several of them.",
    )
    output: str | Path | None = option(
        default=None,
        flags=("--output", "-o"),
        variable=False,
        help="The page. (default: report.html in a folder; beside a file or a "
        "checkpoint, by its name)",
        panel=OUTPUT,
    )
    samples: str | Path | None = option(
        default=None,
        variable=False,
        file=True,
        help="Flipped questions, as eval wrote them with {samples}. (default: those "
        "that lie beside the results)",
        panel=OUTPUT,
    )
    questions: str | Path | None = option(
        default=None,
        variable=False,
        file=True,
        help="The file of {examples} that was scored: what flipped is shown in its "
        "words.",
        panel=OUTPUT,
    )
    pictures: str | Path | None = option(
        default=None,
        variable=False,
        help="Write each picture into this folder, too, as SVG.",
        panel=OUTPUT,
    )
    png: bool = option(
        default=False,
        variable=False,
        help="With {pictures}: as PNG besides. Needs matplotlib, which the extra "
        "`plots` installs.",
        panel=OUTPUT,
    )
    force: bool = option(
        default=False,
        variable=False,
        help="Replace files that are no reports and no pictures of one.",
        panel=OUTPUT,
    )

    def check(self) -> None:
        """Refuse PNG without a place for pictures."""
        super().check()
        if self.png and self.pictures is None:
            raise SettingsError(
                "there is no place for pictures",
                where=Parameter("png"),
                expected=(Parameter("pictures", "DIR"), " beside it"),
                hint=("add ", Parameter("pictures", "pictures")),
            )


@options
class CarveOptions(
    ForceOptions, ShardOptions, CalibrationOptions, OneTaskOptions, RemoteOptions
):
    """Which dense model to carve into experts, and how."""

    verb: ClassVar[str] = "carve"

    model: str | Path | None = option(
        default=None,
        kw_only=False,
        kind=str,
        help="Dense checkpoint: a local folder or a Hub id.",
    )
    num_experts: int = option(
        default=16,
        flags=("--num-experts", "-n"),
        help="Experts of each carved layer; must divide its neurons.",
        panel=EXPERTS,
    )
    top_k: int | None = option(
        default=None,
        help="Experts that a token picks; all of them are the dense model. (default: "
        "half)",
        panel=EXPERTS,
    )
    layers: str = option(
        default="last:2",
        check="emo_prune.carving.plan:check_layers",
        help="Layers to carve: all, last:4, 20-28:2 (every second one) or 3,5,7. Many "
        "at a time cost accuracy; the paper carves one or two.",
        panel=EXPERTS,
    )
    method: Literal["kmeans", "contiguous", "random"] = option(
        default="kmeans",
        help="How neurons are grouped: by balanced k-means over their keys (the "
        "paper's), as they lie in the matrix, or at random.",
        panel=EXPERTS,
    )
    gate: Literal["gate", "up", "inter"] = option(
        default="gate",
        help="What an expert's score averages over its neurons: gate rows (the "
        "paper's), up rows, or activations, which all have to be computed.",
        panel=EXPERTS,
    )
    seed: int = option(
        default=0,
        minimum=0,
        help="Starts the grouping, and chooses the examples.",
        panel=EXPERTS,
    )
    output: str | Path | None = option(
        default=None,
        flags=("--output", "-o"),
        variable=False,
        help="The checkpoint's folder. (default: emo-prune-out/<model>-emoe/)",
        panel=OUTPUT,
    )

    def check(self) -> None:
        """Refuse picks that no number of neurons would allow."""
        super().check()
        if self.top_k is None or self.num_experts < 2:
            return
        if not 1 <= self.top_k <= self.num_experts:
            raise CarvingError(
                "a token cannot pick that many experts",
                where=Parameter("top_k"),
                got=self.top_k,
                expected=f"1 to {self.num_experts}",
                hint=(
                    *("try ", Parameter("top_k", self.num_experts // 2), ", or "),
                    *(Parameter("top_k", self.num_experts), ", the dense model"),
                ),
            )


@options
class RestoreOptions(ForceOptions, ShardOptions, RemoteOptions):
    """Which carved model to put together again."""

    verb: ClassVar[str] = "restore"

    model: str | Path | None = option(
        default=None,
        kw_only=False,
        kind=str,
        help="Carved checkpoint: a local folder or a Hub id.",
    )
    dense: bool = option(
        default=False,
        variable=False,
        help="Give the dense model that was carved, bit for bit.",
        panel=OUTPUT,
    )
    output: str | Path | None = option(
        default=None,
        flags=("--output", "-o"),
        variable=False,
        help="The checkpoint's folder. (default: emo-prune-out/<model>-dense/)",
        panel=OUTPUT,
    )

    def check(self) -> None:
        """Refuse to guess what is to be restored."""
        super().check()
        if not self.dense:
            raise SettingsError(
                "it is not said what to restore",
                where=Parameter("dense"),
                expected="what can be: the dense model that was carved",
                hint=("give ", Parameter("dense", True)),
            )


@options
class PretrainOptions(ResumeOptions):
    """What to train, on what."""

    verb: ClassVar[str] = "pretrain"

    data: str | Path | Sequence[str | Path] = option(
        kw_only=False,
        variable=False,
        repeatable=True,
        kind=str,
        help="Text: JSONL(.gz) with text and perhaps domain, folders, patterns, or a "
        "dataset's name[:config][@split].",
    )
    output: str | Path = option(
        flags=("--output", "-o"),
        variable=False,
        kind=Path,
        help="The checkpoint's folder; the training in progress is in OUTPUT.run.",
        panel=OUTPUT,
    )
    recipe: str | Path = option(
        default="tiny-cpu",
        kind=str,
        help="tiny-cpu, emo-1b14b (the paper's), or a TOML file.",
        panel=TRAINING,
    )
    variant: Literal["emo", "standard", "dense", "small-standard", "emo-anneal"] = (
        option(
            default="emo",
            help="emo; standard, the same without pools; dense, as wide as a token's "
            "experts; small-standard, with fewer experts; emo-anneal, a trained model "
            "annealed with pools.",
            panel=TRAINING,
        )
    )
    tokens: str | int | None = option(
        default=None,
        variable=False,
        help="To train on before annealing, as 8e6. (default: the recipe's)",
        panel=TRAINING,
    )
    settings: str | Sequence[str] | None = option(
        default=None,
        flags=("--set",),
        variable=False,
        repeatable=True,
        check="emo_prune.pretraining.recipe:parse_setting",
        help="Another setting of the recipe, as learning_rate=1e-3; repeatable.",
        panel=TRAINING,
    )
    seed: int | None = option(
        default=None,
        variable=False,
        help="Of the weights. (default: the recipe's)",
        panel=TRAINING,
    )
    init_from: str | Path | None = option(
        default=None,
        variable=False,
        help="The checkpoint that emo-anneal begins with.",
        panel=TRAINING,
    )
    tokenizer: str | Path | None = option(
        default=None,
        variable=False,
        help="A folder whose tokenizer to use. (default: one is trained)",
        panel=DATA,
    )
    vocab_size: int | None = option(
        default=None,
        variable=False,
        help="Tokens to train a tokenizer to. (default: the recipe's)",
        panel=DATA,
    )
    token_cache: str | Path | None = option(
        default=None,
        help="Where tokens are kept. (default: the user's cache)",
        panel=DATA,
    )
    device: Literal["cpu", "auto"] = option(
        default="auto",
        variable=False,
        help="auto takes GPUs where there are any.",
        panel=RUNTIME,
    )
    fsdp: bool = option(
        default=False,
        variable=False,
        help="Shard weights and optimiser over the processes of torchrun (FSDP2).",
        panel=RUNTIME,
    )
    track: str | Sequence[str] | None = option(
        default=None,
        variable=False,
        repeatable=True,
        help="tensorboard, wandb or none; repeatable. (default: those installed)",
        panel=RUNTIME,
    )
    resume: bool = option(
        default=False,
        variable=False,
        help="Go on with an interrupted training.",
        panel=RUNTIME,
    )

    def check(self) -> None:
        """Refuse weights to begin with where none are needed, or the lack of them."""
        super().check()
        anneals = self.variant == "emo-anneal"
        if anneals != (self.init_from is not None):
            raise SettingsError(
                "annealing begins with a trained model, and nothing else does",
                where=Parameter("init_from"),
                got=self.init_from,
                expected="a checkpoint folder" if anneals else "nothing",
                hint=(
                    *("give ", Parameter("init_from", "DIR"), " together with "),
                    Parameter("variant", "emo-anneal"),
                ),
            )


@options
class QuickstartOptions(Options):
    """Where the quickstart may work."""

    verb: ClassVar[str] = "quickstart"

    output: str | Path = option(
        default=Path("emo-prune-quickstart"),
        flags=("--output", "-o"),
        variable=False,
        kind=Path,
        help="A folder that is not there yet.",
        panel=OUTPUT,
    )
