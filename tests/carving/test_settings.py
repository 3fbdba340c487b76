"""Which layers a text names."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from emo_prune.carving.plan import parse_layers
from emo_prune.errors import SettingsError


@pytest.mark.parametrize(
    ("text", "layers"),
    [
        ("all", range(32)),
        ("ALL", range(32)),
        ("last:4", range(28, 32)),
        ("last:32", range(32)),
        ("20-28:2", (20, 22, 24, 26, 28)),
        ("20-27:2", (20, 22, 24, 26)),
        ("3,5,7", (3, 5, 7)),
        (" 7, 3,5-6 ", (3, 5, 6, 7)),
        ("4,4", (4,)),
        ("0-31", range(32)),
        ("31", (31,)),
    ],
)
def test_layers_are_named(text: str, layers: Sequence[int]) -> None:
    assert parse_layers(text, 32) == tuple(layers)


@pytest.mark.parametrize(
    "text",
    ["", "some", "32", "0-32", "5-3", "last:0", "last:33", "last", "-1", "1-", "3:2",
     "1-5:0", "1,,2", "1.5", "last:4,2", "٣", "0x3", "9" * 99],
)  # fmt: skip
def test_what_names_no_layer_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="not layers of the model") as caught:
        parse_layers(text, 32)
    assert "0 to 31" in str(caught.value)
