"""What a model answered, taken from lm-eval's record of a document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emo_prune.tasks.prompted import PromptedTask


def answer_of(task: PromptedTask, sample: Mapping[str, Any]) -> str | None:
    """Return the option a model found likeliest, or what it wrote after the filter.

    None for texts, of which only the likelihood is known, and for several answers to
    one question. Of options equally likely the first counts, as in lm-eval's `acc`.
    """
    responses = sample["filtered_resps"]
    if task.OUTPUT_TYPE == "multiple_choice":
        options = task.doc_to_choice(sample["doc"])
        # Unconditional likelihoods, if a metric asks for them, come after these.
        likelihoods = [response[0] for response in responses[: len(options)]]
        best = max(range(len(likelihoods)), key=likelihoods.__getitem__)
        return str(options[best]).strip()
    if task.OUTPUT_TYPE == "generate_until" and isinstance(responses[0], str):
        return responses[0].strip()
    return None
