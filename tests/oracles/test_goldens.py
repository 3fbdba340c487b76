"""The commands arrive where the original authors' scripts arrived."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from emo_prune.cli import main


@pytest.mark.parametrize(
    "name", ["emo_shared1", "stdmoe", "emo_gqa_normtopk", "emo_densefirst"]
)
@pytest.mark.parametrize("keep", ["4", "6", "8"])
def test_greedy_export_gives_the_authors_pruned_logits(
    goldens: Path,
    name: str,
    keep: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    golden = goldens / name
    expected = json.loads((golden / "expected.json").read_text())
    rows = [json.dumps({"text": prompt}) + "\n" for prompt in expected["prompts"]]
    Path("prompts.jsonl").write_text("".join(rows))
    select = ["select", "-m", str(golden), "--examples", "prompts.jsonl", "-k", keep]
    assert main([*select, "--score", "probability", "--greedy"]) == 0
    assert main(["export"]) == 0

    made = Path("emo-prune-out/prompts")
    selection = json.loads((made / "selection.json").read_text())
    kept = expected["layerwise"][keep]["experts_kept_per_layer"]
    assert [layer["kept"] for layer in selection["layers"]] == [
        layer for layer in kept if layer is not None
    ]
    tensors = load_file(golden / "expected.safetensors")
    model = AutoModelForCausalLM.from_pretrained(
        made / "checkpoint", dtype=torch.float32
    )
    mask = tensors["attention_mask"]
    with torch.inference_mode():
        logits = model(input_ids=tensors["input_ids"], attention_mask=mask).logits
    torch.testing.assert_close(
        logits[mask.bool()],
        tensors[f"layerwise.{keep}.logits"][mask.bool()],
        rtol=0,
        atol=1e-4,
    )
