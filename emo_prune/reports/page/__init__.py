"""One self-contained HTML page from the artifacts of the other commands.

`find_artifacts` reads a file or a folder, `page` turns what it found into HTML: no
network, no clock, the same artifacts give the same bytes. `picture_files` gives the
pictures of its `sections` as SVG and PNG. `document` says which kind of artifact is
shown how; a new kind is a file beside it and a row there.
"""

from emo_prune.reports.page.artifacts import Artifact, Found, Section, find_artifacts
from emo_prune.reports.page.document import is_page, page, sections
from emo_prune.reports.page.picture import Picture
from emo_prune.reports.page.picture_files import is_picture, picture_files

__all__ = [
    "Artifact",
    "Found",
    "Picture",
    "Section",
    "find_artifacts",
    "is_page",
    "is_picture",
    "page",
    "picture_files",
    "sections",
]
