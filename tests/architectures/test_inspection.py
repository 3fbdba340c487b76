"""What `inspect` gives a Python user."""

from __future__ import annotations

from pathlib import Path

import pytest

import emo_prune
from emo_prune.errors import SettingsError
from tests.tiny_checkpoints import write_checkpoint


@pytest.fixture
def inspection(tmp_path: Path) -> emo_prune.Inspection:
    return emo_prune.inspect(write_checkpoint(tmp_path / "<model>"))


def test_it_says_in_a_line_what_it_is(inspection: emo_prune.Inspection) -> None:
    assert repr(inspection) == (
        "Inspection(<model>: olmoe, 2 layers of 8 experts, top-2, 524 parameters, "
        "1.06 KB)"
    )


def test_notebook_shows_the_sizes(inspection: emo_prune.Inspection) -> None:
    shown = inspection._repr_html_()
    assert shown.count("<tr>") == 1 + 1 + len(inspection.sizes)
    assert "<th>&lt;model&gt;</th>" in shown
    assert "<td>12.5%</td><td>1</td>" in shown


def test_sizes_are_a_table_of_pandas(inspection: emo_prune.Inspection) -> None:
    pytest.importorskip("pandas")
    frame = inspection.to_pandas()
    assert list(frame.columns) == ["share", "num_experts", "num_bytes", "routable"]
    assert list(frame["num_experts"]) == [4, 2, 1]
    assert list(frame["routable"]) == [True, True, False]


@pytest.mark.parametrize("kind", ["file", "loop"])
def test_cache_that_is_no_folder_is_refused_before_the_hub_is_asked(
    tmp_path: Path, kind: str
) -> None:
    cache = tmp_path / "cache"
    if kind == "file":
        cache.touch()
    else:
        cache.symlink_to(cache)
    with pytest.raises(SettingsError, match="cache is not a folder"):
        emo_prune.inspect("org/name", remote=True, cache=cache)
