"""`emo-prune verify`."""

from __future__ import annotations

from dataclasses import asdict

from emo_prune.cli import console
from emo_prune.cli.command import command as command_of
from emo_prune.files import readable_json
from emo_prune.options import VerifyOptions


def _verify(options: VerifyOptions, as_json: bool) -> None:
    """Prove that an export is its source less the dropped experts, byte for byte.

    Exit code 3 if it is not.

        emo-prune verify emo-prune-out/math/checkpoint --source ./model
    """
    from emo_prune.exports import verify

    report = verify.on(options)
    if as_json:
        document = {"schema": "emo-prune/verification/1", "equal": True}
        console.document(readable_json({**document, **asdict(report)}))
        return
    console.result(
        f"{options.folder}: {report.num_tensors} tensors, {report.num_bytes:,} bytes "
        f"and {report.num_files} files equal those of the source"
    )


command = command_of(VerifyOptions, _verify)
