"""`import emo_prune`: the verbs and what they return, each where it says."""

from __future__ import annotations

import emo_prune


def test_every_public_name_is_there() -> None:
    for name in emo_prune.__all__:
        assert getattr(emo_prune, name).__doc__, name
    assert set(emo_prune.__all__) <= set(dir(emo_prune))


def test_help_of_the_package_can_be_read() -> None:
    import pydoc

    assert len(pydoc.render_doc(emo_prune).splitlines()) < 2600


def test_help_of_a_verb_tells_of_each_parameter() -> None:
    from emo_prune.options import declared

    for name in emo_prune.__all__:
        verb = getattr(emo_prune, name)
        if hasattr(verb, "options"):
            for one in declared(verb.options):
                assert f"    {one.name}: " in (verb.__doc__ or ""), (name, one.name)


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(emo_prune, "no_such_name")
