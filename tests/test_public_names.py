"""`import emo_prune`: about ten public names, each where it says."""

from __future__ import annotations

import emo_prune


def test_every_public_name_is_there() -> None:
    for name in emo_prune.__all__:
        assert getattr(emo_prune, name).__doc__, name
    assert set(emo_prune.__all__) <= set(dir(emo_prune))


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(emo_prune, "no_such_name")
