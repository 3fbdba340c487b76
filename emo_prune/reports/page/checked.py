"""Hold an artifact against a JSON Schema before anything of it is shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from emo_prune.errors import ReportError
from emo_prune.reports.page.artifacts import Artifact


def checked(artifact: Artifact, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the artifact's value.

    Raises:
        ReportError: it breaks the schema.
    """
    import fastjsonschema

    try:
        fastjsonschema.compile(dict(schema))(artifact.value)
    except fastjsonschema.JsonSchemaValueException as problem:
        raise ReportError(
            "the artifact breaks its schema",
            where=artifact.name,
            got=problem.message,
            expected=artifact.schema,
            hint="write it anew with the command that made it",
        ) from None
    return artifact.value
