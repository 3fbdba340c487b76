"""What makes two documents the same: the question and its options, nothing else.

Ids, splits, answers, prompt styles and demonstrations do not enter, so a question is
recognised wherever it turns up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emo_prune.files import canonical_json, sha256_text


def document_sha256(content: Mapping[str, Any]) -> str:
    """Return the hash of a document's content, as canonical JSON."""
    return sha256_text(canonical_json(dict(content)))


def question_sha256(question: str, choices: Any) -> str:
    """Return the hash of a question and its options (any JSON value)."""
    return document_sha256({"question": question, "choices": choices})
