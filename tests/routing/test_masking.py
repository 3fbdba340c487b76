"""A masked model is its export, and afterwards what it was.

That it is for every architecture: oracle 2, in `tests.oracles.test_oracles`.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from msgspec.structs import replace
from safetensors.torch import load_file

from emo_prune.architectures.opening import open_local
from emo_prune.routing import masked
from tests.oracles.test_oracles import export_to, load, logits_of, select_on


def test_a_lowered_top_k_is_lowered(source: Path, tmp_path: Path) -> None:
    selection = select_on(source)
    lower = selection.top_k - 1
    budget = replace(selection.budget, num_experts_per_tok=lower)
    selection = replace(selection, budget=budget)
    pruned = load(export_to(source, selection, tmp_path / "out"))
    full = load(source)
    model, _ = open_local(str(source))
    with masked(full, model.architecture, selection.kept, lower):
        found = logits_of(full)
    torch.testing.assert_close(found, logits_of(pruned), rtol=1e-5, atol=1e-5)


@pytest.mark.compatibility
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
    full = load(golden)
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
    pruned = load(export_to(golden, selection, tmp_path / "out"))
    model, _ = open_local(str(golden))
    full = load(golden)
    with masked(full, model.architecture, selection.kept, selection.top_k):
        found = logits_of(full)
    torch.testing.assert_close(found, logits_of(pruned), rtol=1e-5, atol=1e-5)


@pytest.mark.compatibility
def test_after_masking_a_model_is_what_it_was(source: Path) -> None:
    selection = select_on(source)
    full = load(source)
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
