"""The section of a pretrained checkpoint: its loss, its data, its recipe."""

from __future__ import annotations

from collections.abc import Sequence

from emo_prune.pretraining.document import DomainFacts, PretrainRecord, SourceFacts
from emo_prune.reports.page.artifacts import Artifact
from emo_prune.reports.page.line_plot import Frame, Line, Point, line_plot
from emo_prune.reports.page.markup import (
    Markup,
    code,
    decimals,
    details,
    facts,
    number,
    table,
)
from emo_prune.reports.page.picture import Picture
from emo_prune.reports.page.section import Section
from emo_prune.units import format_bytes, format_count


def pretraining_section(
    artifact: Artifact[PretrainRecord], beside: Sequence[object]
) -> Section:
    """Return the loss over the steps, and what was trained on what."""
    del beside
    record = artifact.value
    data, loss = record.data, record.final.get("loss")
    domains = f"{len(data.domains)} domain{'s' if len(data.domains) != 1 else ''}"
    end = "" if loss is None else f", to a loss of {loss:.3f} nats a token"
    return Section(
        title=f"Pretraining: {record.variant}",
        source=artifact.name,
        result=f"{record.variant} was trained on {format_count(record.tokens)} tokens "
        f"of {domains} in {record.steps:,} steps{end}.",
        headline=[
            *([] if loss is None else [("nats a token at the end", decimals(loss, 3))]),
            ("tokens", number(record.tokens)),
            ("steps", number(record.steps)),
        ],
        body=[
            *_curve(record.loss_by_step),
            _domains(data.domains),
            details("The last line of metrics", facts(record.final)),
            details("Sources", _sources(data.sources)),
            details("Recipe", facts(record.recipe)),
            details("Provenance", facts({
                "sha256 of the file": artifact.sha256,
                "initialised from": record.initialised_from,
                "data": {
                    name: value
                    for name, value in data.to_dict().items()
                    if name not in ("sources", "domains")
                },
                "versions": record.versions,
            })),
        ],
    )  # fmt: skip


def _curve(points: Sequence[tuple[int, float]]) -> list[Markup | Picture]:
    if not points:
        return []
    line = Line("loss", [Point(step, loss) for step, loss in points])
    rows = [(number(step), decimals(loss, 4)) for step, loss in points]
    title = "Cross-entropy, in nats a token, by step"
    return [
        line_plot("loss", title, [line], Frame(x_title="step")),
        details("The points of the curve", table("Loss", ("step", "loss"), rows)),
    ]


def _domains(domains: Sequence[DomainFacts]) -> Markup:
    rows = [(d.name, number(d.documents), number(d.tokens)) for d in domains]
    return table("Trained on", ("domain", "documents", "tokens"), rows)


def _sources(sources: Sequence[SourceFacts]) -> Markup:
    rows = [
        (
            source.name,
            number(source.num_bytes, format_bytes(source.num_bytes)),
            code(source.sha256),
        )
        for source in sources
    ]
    return table("Sources", ("name", "size", "sha256"), rows)
