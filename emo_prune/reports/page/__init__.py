"""One self-contained HTML page from the artifacts of the other commands.

`find_artifacts` reads a file or a folder, `page` turns what it found into HTML: no
network, no clock, the same artifacts give the same bytes. `picture_files` gives its
pictures as SVG and PNG. `kinds` says which kind of
artifact is shown how; a new kind is a file beside it and a row there.
"""

from emo_prune.reports.page.artifacts import (
    Artifact,
    Found,
    find_artifacts,
    is_checkpoint,
)
from emo_prune.reports.page.document import is_page, page
from emo_prune.reports.page.pictures import is_picture, picture_files

__all__ = [
    "Artifact",
    "Found",
    "find_artifacts",
    "is_checkpoint",
    "is_page",
    "is_picture",
    "page",
    "picture_files",
]
