"""Which kind of artifact is shown how.

A new kind is a file beside this one that holds a `Render`, and a row in `KINDS` under
the name of its schema; the order of the rows is that of the page. An artifact of a kind
that is not here is named at the end of the page as not shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from emo_prune.carving import CarvingRecord
from emo_prune.errors import ReportError
from emo_prune.evaluation import Results
from emo_prune.exports import PRETRAIN_SCHEMA
from emo_prune.exports.record import SCHEMA as EXPORT
from emo_prune.reports.page.artifacts import Artifact
from emo_prune.reports.page.carving import carving_section
from emo_prune.reports.page.checked import checked
from emo_prune.reports.page.export import export_section
from emo_prune.reports.page.pretrained import pretrained_section
from emo_prune.reports.page.questions import SCHEMA as QUESTIONS
from emo_prune.reports.page.results import results_section
from emo_prune.reports.page.samples import SCHEMA as SAMPLES
from emo_prune.reports.page.scores import SCHEMA as SCORES
from emo_prune.reports.page.section import Render, Section
from emo_prune.reports.page.selection import selection_section
from emo_prune.reports.page.sweep import sweep_section
from emo_prune.reports.page.together import together
from emo_prune.selection.selection import SCHEMA as SELECTION
from emo_prune.sweeps.document import SCHEMA as SWEEP

RESULTS = Results.schema
KINDS: Mapping[str, Render] = {
    SWEEP: sweep_section,
    RESULTS: results_section,
    SELECTION: selection_section,
    EXPORT: export_section,
    CarvingRecord.schema: carving_section,
    PRETRAIN_SCHEMA: pretrained_section,
}
EVALUATIONS = "emo-prune/evaluations/1"  # `eval --json` of several, as a list
# Shown in the sections of others.
_WITHIN = frozenset({SCORES, SAMPLES, QUESTIONS, EVALUATIONS})
_LIST = {
    "properties": {"results": {"type": "array", "items": {"type": "object"}}},
    "required": ["results"],
}
_INNER = (("selection", "its selection"), ("parent", "its source"))


def sections(artifacts: Sequence[Artifact]) -> list[Section]:
    """Return the sections of all artifacts whose kind is known, in the page's order.

    Raises:
        EmoPruneError: an artifact breaks its schema, or none is of a known kind.
    """
    everything = _all(artifacts)
    if not any(one.schema in KINDS for one in everything):
        raise ReportError(
            "no artifact is of a kind that can be shown",
            where=", ".join(one.name for one in artifacts),
            got=", ".join(sorted({one.schema for one in artifacts})),
            expected=", ".join(KINDS),
            hint="give what select, eval or sweep wrote, a checkpoint, or a folder",
        )
    shown = []
    for schema, render in KINDS.items():
        found = [one for one in everything if one.schema == schema]
        # What was compared comes first, then all by name: sorting is stable.
        found.sort(key=lambda one: "comparison" not in one.value)
        made = [render(one, everything) for one in found]
        shown += [*(together(found) if schema == RESULTS else ()), *made]
    return shown


def not_shown(artifacts: Sequence[Artifact]) -> list[Artifact]:
    """Return the artifacts of other kinds."""
    return [one for one in artifacts if one.schema not in _WITHIN | KINDS.keys()]


def _all(artifacts: Sequence[Artifact]) -> list[Artifact]:
    """Return the artifacts and those inside them; of equal ones only the first."""
    found = list(artifacts)
    for artifact in found:  # grows while it is walked
        found += [one for one in _inside(artifact) if not _known(one, found)]
    return found


def _inside(artifact: Artifact) -> Iterator[Artifact]:
    if artifact.schema == EXPORT:
        for key, what in _INNER:
            inner = artifact.inner(artifact.value.get(key), what)
            if inner is not None:
                yield inner
    if artifact.schema == EVALUATIONS:
        yield from _evaluations(artifact)


def _evaluations(artifact: Artifact) -> Iterator[Artifact]:
    for n, value in enumerate(checked(artifact, _LIST)["results"]):
        inner = artifact.inner(value, f"results {n + 1}")
        if inner is not None:
            yield inner


def _known(artifact: Artifact, found: Sequence[Artifact]) -> bool:
    return any(artifact.value == other.value for other in found)
