"""A masked model is its export, and afterwards what it was."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from emo_prune.api.opening import open_local
from emo_prune.models.loading import load_model
from emo_prune.routing.masking import masked
from tests.road.test_oracles import export_to, logits_of, select_on
from tests.tiny_models import CHECKPOINTS


@pytest.fixture(params=CHECKPOINTS)
def source(request: pytest.FixtureRequest, saved: Callable[[str], Path]) -> Path:
    return saved(request.param)


def test_a_masked_model_computes_what_its_export_does(
    source: Path, tmp_path: Path
) -> None:
    selection = select_on(source)
    pruned = load_model(
        export_to(source, selection, tmp_path / "out"), device="cpu", dtype="float32"
    )
    full = load_model(source, device="cpu", dtype="float32")
    model, _ = open_local(str(source))
    before = logits_of(full)
    with masked(full, model.architecture, selection.kept, selection.top_k):
        found = logits_of(full)
    assert not torch.allclose(before, found, atol=1e-3)  # the mask did something
    torch.testing.assert_close(found, logits_of(pruned), rtol=1e-5, atol=1e-5)


def test_a_lowered_top_k_is_lowered(source: Path, tmp_path: Path) -> None:
    selection = select_on(source)
    lower = selection.top_k - 1
    budget = {**selection.budget, "num_experts_per_tok": lower}
    selection = dataclasses.replace(selection, budget=budget)
    pruned = load_model(
        export_to(source, selection, tmp_path / "out"), device="cpu", dtype="float32"
    )
    full = load_model(source, device="cpu", dtype="float32")
    model, _ = open_local(str(source))
    with masked(full, model.architecture, selection.kept, lower):
        found = logits_of(full)
    torch.testing.assert_close(found, logits_of(pruned), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    "name", ["emo_shared1", "stdmoe", "emo_gqa_normtopk", "emo_densefirst"]
)
@pytest.mark.parametrize("keep", ["4", "6", "8"])
def test_a_masked_model_gives_the_authors_pruned_logits(
    goldens: Path, name: str, keep: str
) -> None:
    golden = goldens / name
    expected = json.loads((golden / "expected.json").read_text())
    layers = expected["layerwise"][keep]["experts_kept_per_layer"]
    kept = {n: ids for n, ids in enumerate(layers) if ids is not None}
    tensors = load_file(golden / "expected.safetensors")
    model, _ = open_local(str(golden))
    full = load_model(golden, device="cpu", dtype="float32")
    real = tensors["attention_mask"].bool()
    with (
        torch.inference_mode(),
        masked(full, model.architecture, kept, model.top_k),
    ):
        logits = full(
            input_ids=tensors["input_ids"], attention_mask=tensors["attention_mask"]
        ).logits
    wanted = tensors[f"layerwise.{keep}.logits"]
    torch.testing.assert_close(logits[real], wanted[real], rtol=0, atol=1e-4)


def test_always_active_experts_stay_active(goldens: Path, tmp_path: Path) -> None:
    golden = goldens / "emo_alwaysactive"
    selection = select_on(golden)
    pruned = load_model(
        export_to(golden, selection, tmp_path / "out"), device="cpu", dtype="float32"
    )
    model, _ = open_local(str(golden))
    full = load_model(golden, device="cpu", dtype="float32")
    with masked(full, model.architecture, selection.kept, selection.top_k):
        found = logits_of(full)
    torch.testing.assert_close(found, logits_of(pruned), rtol=1e-5, atol=1e-5)


def test_after_masking_a_model_is_what_it_was(source: Path) -> None:
    selection = select_on(source)
    full = load_model(source, device="cpu", dtype="float32")
    model, _ = open_local(str(source))
    before, state = logits_of(full), full.state_dict()
    with (
        pytest.raises(KeyboardInterrupt),
        masked(full, model.architecture, selection.kept, selection.top_k),
    ):
        raise KeyboardInterrupt
    assert torch.equal(logits_of(full), before)
    after = full.state_dict()
    assert after.keys() == state.keys()
    assert all(after[name].data_ptr() == state[name].data_ptr() for name in state)
