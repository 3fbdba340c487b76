"""A format is one file: what it writes, what it says, and what `verify` holds it to."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import emo_prune
from emo_prune.architectures import MoEModel, prune_config
from emo_prune.architectures.subset import router_tensors, whole
from emo_prune.checkpoint import OutputTensor, Tensor
from emo_prune.errors import NotExact, SettingsError, VerificationFailed
from emo_prune.exports import formats, plan_export, verify_export, write_export
from emo_prune.exports.claims import Claim, Kept, same_claims, same_names
from emo_prune.exports.formats import Format
from tests.cli.conftest import Run, run, workplace  # noqa: F401 - fixtures
from tests.tiny_checkpoints import opened, selection_of

KEPT = (1, 3, 4, 7)


# --- the one file: experts stacked, as transformers holds them in memory --------------

_STACK = re.compile(r"^(.*\.)experts\.(gate_up_proj|down_proj)$")
_EXPERT = re.compile(r"\.experts\.\d+\.")


class Stacked(Format):
    """Qwen3-MoE with a layer's experts in two tensors: gate beside up, and down."""

    name = "stacked"

    def refuse(self, model: MoEModel, kept: Kept, top_k: int) -> None:
        del kept, top_k
        if model.architecture.model_type != "qwen3_moe":
            raise NotExact(
                "only qwen3_moe can be stacked",
                where=model.checkpoint.name,
                hint="leave out the layout",
            )

    def tensors(self, model: MoEModel, kept: Kept) -> list[OutputTensor]:
        outputs = [whole(tensor) for tensor in model.other]
        for layer in model.layers:
            ids = kept[layer.layer]
            outputs += router_tensors(layer, ids)
            down, gate, up = zip(*(layer.experts[i] for i in ids), strict=True)
            pairs = [one for pair in zip(gate, up, strict=True) for one in pair]
            for part, tensors in (("gate_up_proj", pairs), ("down_proj", down)):
                outputs.append(_stack(part, tensors, len(ids)))
        return outputs

    def config(self, model: MoEModel, kept: Kept, top_k: int) -> dict[str, Any]:
        return prune_config(model, kept, top_k)

    def card_line(self, model_type: str) -> str:
        del model_type
        return "Its experts are stacked."

    def names(self, model: MoEModel, kept: Kept, dropped: Sequence[str]) -> set[str]:
        names = same_names(model, kept, dropped)
        return {name for name in names if not _EXPERT.search(name)} | {
            f"model.layers.{layer}.mlp.experts.{part}"
            for layer in kept
            for part in ("gate_up_proj", "down_proj")
        }

    def claims(self, tensor: Tensor, model: MoEModel, kept: Kept) -> Iterator[Claim]:
        found = _STACK.match(tensor.name)
        if found is None:
            yield from same_claims(tensor, tensor.name, model, kept)
            return
        parts = ("gate_proj", "up_proj") if found[2] == "gate_up_proj" else (found[2],)
        at = tensor.start
        for expert in kept[int(tensor.name.split(".")[2])]:
            for part in parts:
                name = f"{found[1]}experts.{expert}.{part}.weight"
                source = model.checkpoint.tensors[name]
                yield Claim(
                    target=tensor,
                    start=at,
                    end=at + source.num_bytes,
                    source=source,
                    source_start=source.start,
                )
                at += source.num_bytes


def _stack(part: str, tensors: Sequence[Tensor], count: int) -> OutputTensor:
    first = tensors[0]
    head, _, _ = first.name.partition(".experts.")
    rows = first.shape[0] * len(tensors) // count
    return OutputTensor(
        name=f"{head}.experts.{part}",
        dtype=first.dtype,
        shape=(count, rows, *first.shape[1:]),
        ranges=tuple(piece for t in tensors for piece in whole(t).ranges),
    )


# --- what it gives --------------------------------------------------------------------


@pytest.fixture
def stacked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The format, offered for one test."""
    monkeypatch.setattr(formats, "_registered", {})
    formats.register(Stacked())


@pytest.fixture
def selected(saved: Callable[[str], Path], tmp_path: Path) -> tuple[Path, Path]:
    """A checkpoint, and the file of a selection made for it."""
    source = saved("qwen3_moe")
    selection = selection_of(opened(source), KEPT)
    return source, selection.save(tmp_path / "selection.json")


def test_formats_are_found_by_their_files() -> None:
    assert formats.format_names() == ("source", "qwen2_moe")
    for name in formats.format_names():
        assert formats.find_format(name).name == name


def test_a_format_that_there_is_not_is_named(selected: tuple[Path, Path]) -> None:
    source, selection = selected
    with pytest.raises(SettingsError, match="no such format") as caught:
        emo_prune.export(selection, model=source, layout="qwen2-moe")
    assert "layout='qwen2_moe'" in caught.value.hint


@pytest.mark.usefixtures("stacked")
def test_a_new_format_is_exported_and_verified(
    run: Run,  # noqa: F811
    selected: tuple[Path, Path],
) -> None:
    source, selection = selected
    made = run("export", "-m", source, "-s", selection, "--as", "stacked", "--json")
    assert made.code == 0, made.err
    out = selection.parent / "checkpoint-stacked"
    (exported,) = made.json["exports"]
    assert (exported["path"], exported["layout"]) == (str(out), "stacked")
    assert run("verify", out, "--source", source).code == 0
    assert "Its experts are stacked." in (out / "README.md").read_text()
    assert emo_prune.exports.read_record(out).layout == "stacked"
    assert "source, qwen2_moe or stacked" in formats_in_help(run)


def formats_in_help(run: Run) -> str:  # noqa: F811
    shown = run("export", "--help").out
    return " ".join(re.sub(r"[│\s]+", " ", shown).split())


@pytest.mark.usefixtures("stacked")
def test_a_new_format_computes_the_same(
    selected: tuple[Path, Path], tmp_path: Path
) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    source, selection = selected
    tokens = torch.arange(12).reshape(2, 6)
    logits = []
    for layout in ("source", "stacked"):
        made = emo_prune.export(
            selection, model=source, layout=layout, output=tmp_path / layout
        )
        model, info = AutoModelForCausalLM.from_pretrained(
            made.path, output_loading_info=True
        )
        assert not any(info.values()), info
        with torch.no_grad():
            logits.append(model.eval()(tokens).logits)
    assert torch.equal(*logits)


@pytest.mark.usefixtures("stacked")
def test_any_changed_byte_of_a_new_format_is_found(
    selected: tuple[Path, Path], tmp_path: Path
) -> None:
    source, selection = selected
    made = emo_prune.export(selection, model=source, layout="stacked",
                            output=tmp_path / "out")  # fmt: skip
    file = made.path / "model.safetensors"
    sound = file.read_bytes()
    for tensor in opened(made.path).checkpoint.tensors.values():
        for at in (tensor.start, tensor.end - 1):
            raw = bytearray(sound)
            raw[at] ^= 1
            file.write_bytes(raw)
            with pytest.raises(VerificationFailed) as caught:
                emo_prune.verify(made.path, source=source)
            assert caught.value.where == tensor.name


class Silent(Stacked):
    """Claims nothing of the last expert."""

    def claims(self, tensor: Tensor, model: MoEModel, kept: Kept) -> Iterator[Claim]:
        claims = list(super().claims(tensor, model, kept))
        yield from claims[:-1] if "experts" in tensor.name else claims


@pytest.mark.usefixtures("stacked")
def test_a_format_must_claim_every_byte(
    selected: tuple[Path, Path], tmp_path: Path
) -> None:
    formats.register(Silent())
    model = opened(selected[0])
    plan = plan_export(model, selection_of(model, KEPT), layout="stacked")
    write_export(plan, tmp_path / "out")
    with pytest.raises(VerificationFailed, match="says nothing of some bytes"):
        verify_export(tmp_path / "out", model)


def test_an_export_of_a_format_that_is_gone_is_named(
    selected: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, selection = selected
    formats.register(Stacked())
    out = emo_prune.export(selection, model=source, layout="stacked",
                           output=tmp_path / "out").path  # fmt: skip
    monkeypatch.setattr(formats, "_registered", {})
    assert json.loads((out / "emo_prune.json").read_text())["layout"] == "stacked"
    with pytest.raises(VerificationFailed, match="format that is not known"):
        emo_prune.verify(out, source=source)
