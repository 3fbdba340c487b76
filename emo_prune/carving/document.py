"""`carving.json`, kept inside a carved checkpoint: what it was made from, and how."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from msgspec import Meta

from emo_prune.artifacts import (
    Count,
    Document,
    Part,
    Positive,
    Sha256,
    data_frame,
    html_table,
)
from emo_prune.errors import CarvingError, EmoPruneError
from emo_prune.facts import CalibrationFacts, Modularity, Versions

if TYPE_CHECKING:
    from pandas import DataFrame

Method = Literal["kmeans", "contiguous", "random"]
GateSource = Literal["gate", "up", "inter"]


class DenseSource(Part, frozen=True, kw_only=True):
    """The dense checkpoint that was carved.

    name: Hub id, or the folder's own name. revision: the commit, of a Hub id.
    """

    name: str
    revision: str | None
    fingerprint: Sha256
    model_type: str


class CarvedLayer(Part, frozen=True, kw_only=True):
    """What became of one layer.

    tightness: how much nearer the keys are to their expert's centre than to that of
        all, as `clustering.tightness` says.
    ffn_flops_per_token: of its FFN now, the gate's included; dense_...: before.
    """

    layer: Count
    tightness: float
    ffn_flops_per_token: Positive
    dense_ffn_flops_per_token: Positive


class Measured(Part, frozen=True, kw_only=True):
    """What examples showed of the carved layers."""

    calibration: CalibrationFacts
    layers: Annotated[tuple[Modularity, ...], Meta(min_length=1)]
    versions: Versions


class CarvingRecord(Document, frozen=True, kw_only=True, tag="emo-prune/carving/1"):
    """What a carved checkpoint was made from, and how.

    expert_size: neurons of an expert. method: how neurons were grouped, with `seed`.
    gate_source: whose rows an expert's score averages, or its activations ("inter").
    num_parameters: of what is stored, the neurons' numbers and buffers are none.
    ffn_flops_per_token: of all layers, carved or not.
    copied: files of the dense checkpoint, to their names here; left_out: those that
        were not copied.
    measured: what was observed on examples, if any were given.
    """

    error: ClassVar[type[EmoPruneError]] = CarvingError
    made_by: ClassVar[str] = "carve"

    model: DenseSource
    num_experts: Positive
    expert_size: Positive
    num_experts_per_tok: Positive
    method: Method
    gate_source: GateSource
    seed: int
    num_layers: Positive
    num_parameters: Positive
    dense_num_parameters: Positive
    ffn_flops_per_token: Positive
    dense_ffn_flops_per_token: Positive
    layers: Annotated[tuple[CarvedLayer, ...], Meta(min_length=1)]
    copied: Mapping[str, str]
    left_out: tuple[str, ...]
    versions: Versions
    measured: Measured | None

    def __repr__(self) -> str:
        return (
            f"CarvingRecord({len(self.layers)} of {self.num_layers} layers of "
            f"{self.model.name} into {self.num_experts} experts, top-"
            f"{self.num_experts_per_tok}, by {self.method})"
        )

    def to_pandas(self) -> DataFrame:
        """Return a line for each carved layer, with what was measured of it."""
        return data_frame(self._rows())

    def _repr_html_(self) -> str:
        rows = self._rows()
        return html_table(list(rows[0]), [list(row.values()) for row in rows])

    def _rows(self) -> list[dict[str, object]]:
        found = self.measured.layers if self.measured else ()
        more = {one.layer: one.to_dict() for one in found}
        return [one.to_dict() | more.get(one.layer, {}) for one in self.layers]


class Restored(Document, frozen=True, kw_only=True, tag="emo-prune/restored/1"):
    """A checkpoint that was put together again.

    path: its folder. shards: the bytes of each file of weights, its header included.
    """

    made_by: ClassVar[str] = "restore"

    path: str
    model_type: str
    num_tensors: Count
    shards: Mapping[str, int]

    def __repr__(self) -> str:
        return f"Restored({self.path!r}, {self.num_tensors} tensors)"

    @property
    def num_bytes(self) -> int:
        """Bytes of all files of weights."""
        return sum(self.shards.values())


def carving_card(record: CarvingRecord, *, has_source_card: bool) -> str:
    """Return README.md of a carved checkpoint: what it is and how it was made."""
    name = record.model.name
    front_matter = ["---", "library_name: transformers", "tags:", "- emo-prune"]
    front_matter += ["- moe", "- emoe"]
    if "/" in name:
        front_matter.append(f"base_model: {name}")
    carved = f"{len(record.layers)} of {record.num_layers}"
    lines = [
        *front_matter,
        "---",
        "",
        f"# {name}, carved into {record.num_experts} experts",
        "",
        f"`{name}` with the feed-forward layers of {carved} layers carved into "
        f"{record.num_experts} experts of {record.expert_size} neurons, after EMoE "
        "(arXiv 2310.10908). No weight was changed and none was added: a token picks "
        f"{record.num_experts_per_tok} experts by the mean of their own keys. With "
        f"{record.num_experts} it is the dense model.",
        "",
        "Load it with transformers; `import emo_prune` first, which registers the "
        "`emoe` architecture.",
        "",
        "| | |",
        "|---|---|",
        f"| source | `{name}`, revision `{record.model.revision or 'unknown'}` |",
        f"| source fingerprint | `{record.model.fingerprint}` |",
        f"| neurons grouped by | {record.method}, seed {record.seed} |",
        f"| experts scored by | {record.gate_source} |",
        f"| parameters | {record.num_parameters:,} |",
        f"| parameters of the source | {record.dense_num_parameters:,} |",
        f"| carved layers | {', '.join(str(one.layer) for one in record.layers)} |",
        "",
        "Made with emo-prune; `carving.json` holds the whole record.",
    ]
    if has_source_card:
        lines.append("The card of the source is in `README.source.md`.")
    return "\n".join(lines) + "\n"
