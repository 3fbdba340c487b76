"""Never score a model on the documents its experts were chosen on."""

from __future__ import annotations

from collections.abc import Iterable

from emo_prune.errors import CalibrationOverlap
from emo_prune.tasks import EvaluationSet

_SHOWN = 200  # characters of the example


def refuse_overlap(
    evaluation: EvaluationSet,
    calibration_sha256: Iterable[str],
    *,
    allow: bool = False,
) -> int:
    """Return how many scored documents calibrated; refuse them unless allowed.

    Args:
        evaluation: what is to be scored.
        calibration_sha256: `CalibrationSet.document_sha256`, or what a selection
            recorded of it.
        allow: count, but do not raise.

    Raises:
        CalibrationOverlap: with the number and an example.
    """
    known = frozenset(calibration_sha256)
    shared = [
        (part, number)
        for part in evaluation.tasks
        for number, digest in enumerate(part.document_sha256)
        if digest in known
    ]
    if shared and not allow:
        part, number = shared[0]
        document = part.task.eval_docs[number]
        text = part.task.doc_to_text(document) or part.task.doc_to_target(document)
        total = sum(len(part.document_sha256) for part in evaluation.tasks)
        raise CalibrationOverlap(
            f"{len(shared)} of the {total} documents to be scored chose the experts",
            where=evaluation.task.name,
            got=f"{part.name}, document {number}: {str(text)[:_SHOWN]!r}",
            expected="documents that did not calibrate",
            hint="score another split (--protocol as in select) or other examples; "
            "--allow-overlap scores them nevertheless",
        )
    return len(shared)
