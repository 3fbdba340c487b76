"""The model in training, sharded by FSDP2 over two real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

IN_TWO_PROCESSES = """
import sys, torch, torch.distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from emo_prune.models import EmoConfig, EmoForCausalLM
from emo_prune.models.document_pool import PackedDocuments, number_documents
from emo_prune.models.transformers_private import checkpointing_argument
from emo_prune.pretraining.balance import Balance

dist.init_process_group("gloo")
rank = dist.get_rank()

def make():
    torch.manual_seed(0)
    return EmoForCausalLM(EmoConfig(
        vocab_size=50, hidden_size=32, intermediate_size=16, num_hidden_layers=2,
        num_attention_heads=2, num_experts=9, num_shared_experts=1,
        num_experts_per_tok=3, initializer_range=0.2, pad_token_id=0,
    ))

ids = torch.randint(0, 50, (4, 12), generator=torch.Generator().manual_seed(1))
sizes = torch.tensor([[2, 3, 4, 5, 6, 7, 8, 2], [8, 7, 6, 5, 4, 3, 2, 2]])
ends = [[5]] * 4

def backward(model, rows, sizes, reduce):
    packed = PackedDocuments(number_documents(ends[rows], 12), sizes, reduce=reduce)
    out = model(ids[rows], labels=ids[rows], use_cache=False, packed_documents=packed)
    layers = packed.routings.values()
    loss = out.loss + sum(r.load_balancing_loss + r.z_loss for r in layers)
    loss.backward()

whole = make()
backward(whole, slice(0, 4), sizes, lambda _, counted: counted)
sharded = make()
mesh = init_device_mesh("cpu", (2,))
if sys.argv[1] == "checkpointed":
    sharded.train()
    enable = getattr(sharded, checkpointing_argument() + "_enable")
    enable({"use_reentrant": False})
for layer in sharded.model.layers:
    fully_shard(layer, mesh=mesh)
fully_shard(sharded, mesh=mesh)
balance = Balance("global")
balance.begin(0)
half = sizes[:, 4 * rank : 4 * rank + 4]
backward(sharded, slice(2 * rank, 2 * rank + 2), half, balance)
local = sum(p.to_local().numel() for p in sharded.parameters())
if local > 0.6 * sum(p.numel() for p in whole.parameters()):
    sys.exit("it is not sharded")
for (name, want), got in zip(whole.named_parameters(), sharded.parameters()):
    gap = (got.grad.full_tensor() - want.grad).abs().max()
    if gap > 1e-5:
        sys.exit(f"{name}: {gap}")
dist.destroy_process_group()
"""


@pytest.mark.parametrize("activations", ["kept", "checkpointed"])
def test_gradients_of_the_sharded_model_are_those_of_the_whole(
    tmp_path: Path, activations: str
) -> None:
    script = tmp_path / "sharded.py"
    script.write_text(IN_TWO_PROCESSES)
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2",
        str(script), activations,
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
