"""Select, export and load again: what must hold for every architecture."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from emo_prune.architectures import MoEModel
from emo_prune.architectures.opening import open_local
from emo_prune.exports import plan_export, write_export
from emo_prune.facts import Calibration
from emo_prune.models.carved_layer import EmoeGate
from emo_prune.models.loading import load_model
from emo_prune.options import BudgetOptions
from emo_prune.routing import (
    LayerRouting,
    TokenizedExamples,
    make_batches,
    masked,
    moe_blocks,
    observe,
    prune_in_place,
)
from emo_prune.routing.blocks import MoEBlock
from emo_prune.selection import Chooser, Limits, Selection, source_model
from tests.tiny_models import NUM_EXPERTS

TOKENS = torch.randint(0, 256, (3, 17), generator=torch.Generator().manual_seed(0))
EXAMPLES = TokenizedExamples(
    sequences=tuple(tuple(row.tolist()) for row in TOKENS), num_truncated=0
)


def load(folder: Path) -> Any:
    return load_model(folder, device="cpu", dtype="float32")


def routing_of(
    folder: Path, model: MoEModel, batch_size: int = 2
) -> Sequence[LayerRouting]:
    return observe(load(folder), model.architecture, make_batches(EXAMPLES, batch_size))


def select_on(folder: Path, keep: str = "50%", batch_size: int = 2) -> Selection:
    model, identity = open_local(str(folder))
    chooser = Chooser.of(Limits.of(model), BudgetOptions(keep=keep), seed=0)
    for layer in routing_of(folder, model, batch_size):
        chooser.choose(layer)
    return chooser.selection(
        source_model(model, identity),
        Calibration(task="tokens", num_examples=3, num_tokens=51, documents=()),
    )


def export_to(folder: Path, selection: Selection, output: Path) -> Path:
    model, _ = open_local(str(folder))
    write_export(plan_export(model, selection), output)
    return output


def logits_of(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = model(input_ids=TOKENS).logits
    return logits


@contextlib.contextmanager
def at_minus_infinity(
    blocks: Sequence[MoEBlock], kept: Mapping[int, Sequence[int]]
) -> Iterator[None]:
    """Put the dropped experts' router logits at minus infinity, in the full model.

    Before the softmax; where a correction bias is added after a sigmoid, in that bias.
    """
    linear = torch.nn.functional.linear
    masks: dict[int, torch.Tensor] = {}
    with pytest.MonkeyPatch.context() as patch:
        for block in blocks:
            dropped = sorted(set(range(NUM_EXPERTS)) - set(kept[block.layer]))
            if isinstance(block.router, EmoeGate):
                patch.setattr(block.router, "scores", _without(block.router, dropped))
                continue
            correction = getattr(
                block.router,
                "e_score_correction_bias",
                getattr(block.block, "e_score_correction_bias", None),
            )
            if correction is not None:
                correction.data[dropped] = -np.inf
                continue
            mask = torch.zeros(NUM_EXPERTS)
            mask[dropped] = -np.inf
            masks[block.router.get_parameter("weight").data_ptr()] = mask

        def masked_linear(
            hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
        ) -> torch.Tensor:
            result = linear(hidden, weight, bias)
            mask = masks.get(weight.data_ptr())
            return result if mask is None else result + mask

        patch.setattr(torch.nn.functional, "linear", masked_linear)
        yield


def _without(gate: EmoeGate, dropped: Sequence[int]) -> Any:
    def scores(hidden: torch.Tensor, experts: torch.nn.Module) -> torch.Tensor:
        found = EmoeGate.scores(gate, hidden, experts)
        return found.index_fill(1, torch.tensor(dropped), -np.inf)

    return scores


def test_export_and_mask_are_the_full_model_without_the_dropped_experts_logits(
    source: Path, tmp_path: Path
) -> None:
    selection = select_on(source)
    pruned = load(export_to(source, selection, tmp_path / "out"))
    full = load(source)
    model, _ = open_local(str(source))
    before = logits_of(full)
    with masked(full, model.architecture, selection.kept, selection.top_k):
        found = logits_of(full)
    with at_minus_infinity(moe_blocks(full, model.architecture), selection.kept):
        wanted = logits_of(full)
    assert not torch.allclose(before, wanted, atol=1e-3)  # the mask did something
    for logits in (found, logits_of(pruned)):
        torch.testing.assert_close(logits, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.compatibility
def test_pruning_in_place_equals_the_export(source: Path, tmp_path: Path) -> None:
    selection = select_on(source)
    pruned = load(export_to(source, selection, tmp_path / "out"))
    full = load(source)
    model, _ = open_local(str(source))
    for block in moe_blocks(full, model.architecture):
        prune_in_place(block, selection.kept[block.layer], selection.top_k)
    torch.testing.assert_close(logits_of(full), logits_of(pruned), rtol=1e-5, atol=1e-5)


def test_keeping_every_expert_gives_back_the_source(
    source: Path, tmp_path: Path
) -> None:
    output = export_to(source, select_on(source, "100%"), tmp_path / "out")
    before = load_file(source / "model.safetensors")
    after = load_file(output / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert (source / "config.json").read_text().split() == (
        output / "config.json"
    ).read_text().split()


def test_batch_size_changes_nothing_in_a_selection(source: Path) -> None:
    assert (
        select_on(source, batch_size=1).to_text()
        == select_on(source, batch_size=3).to_text()
    )


def test_permuting_experts_permutes_the_selection_and_keeps_the_function(
    source: Path, tmp_path: Path
) -> None:
    order = _order(source)
    permuted = _permute(source, order, tmp_path / "permuted")
    before, after = select_on(source), select_on(permuted)
    for old, new in zip(before.layers, after.layers, strict=True):
        assert sorted(order[expert] for expert in new.kept) == list(old.kept)
    outputs = [
        load_model(export_to(folder, chosen, tmp_path / name), device="cpu")
        for folder, chosen, name in (
            (source, before, "out"),
            (permuted, after, "permuted-out"),
        )
    ]
    torch.testing.assert_close(
        logits_of(outputs[0]), logits_of(outputs[1]), rtol=1e-5, atol=1e-5
    )


def _order(source: Path) -> list[int]:
    """Return which old expert each new id is: shared ones last, groups intact."""
    model, _ = open_local(str(source))
    size = NUM_EXPERTS // model.num_groups
    generator = np.random.default_rng(1)
    order: list[int] = []
    for group in range(model.num_groups):
        members = list(range(group * size, (group + 1) * size))
        routed = [e for e in members if e not in model.layers[0].shared]
        order += generator.permutation(routed).tolist()
        order += [e for e in members if e in model.layers[0].shared]
    return order


def _permute(source: Path, order: Sequence[int], folder: Path) -> Path:
    folder.mkdir()
    model, _ = open_local(str(source))
    tensors = load_file(source / "model.safetensors")
    renamed = dict(tensors)
    for layer in model.layers:
        for tensor in (*layer.router, *layer.stacked):
            renamed[tensor.name] = tensors[tensor.name][list(order)].clone()
        for new, old in enumerate(order):
            for tensor in layer.experts[old] if layer.experts else ():
                name = tensor.name.replace(f".experts.{old}.", f".experts.{new}.")
                renamed[name] = tensors[tensor.name]
    save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})
    for file in source.iterdir():
        if file.suffix == ".json":
            (folder / file.name).write_bytes(file.read_bytes())
    return folder
