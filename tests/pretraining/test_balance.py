"""Over which tokens experts are balanced, also in two real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from emo_prune.pretraining.balance import Balance

IN_TWO_PROCESSES = """
import sys, torch, torch.distributed as dist
from emo_prune.models.document_pool import number_documents, route_by_document
from emo_prune.pretraining.balance import Balance

dist.init_process_group("gloo")
rank = dist.get_rank()
generator = torch.Generator().manual_seed(3)
hidden = torch.randn(4, 6, 8, generator=generator)
router = torch.randn(9, 8, generator=generator)
sizes = torch.randint(2, 9, (8,), generator=generator)
ends = [[3]] * 4

def route(rows, sizes, reduce):
    weight = router.clone().requires_grad_()
    routing = route_by_document(
        hidden[rows], weight, number_documents(ends[rows], 6), sizes,
        top_k=3, num_shared_experts=1, reduce=reduce,
    )
    routing.load_balancing_loss.backward()
    return routing.load_balancing_loss.detach(), weight.grad

whole, whole_gradient = route(slice(0, 4), sizes, lambda counted: counted)
for over, same in (("global", True), ("accumulated", True), ("local", False)):
    balance = Balance(over)
    balance.begin(0)
    rows = slice(2 * rank, 2 * rank + 2)
    loss, gradient = route(
        rows, sizes[4 * rank : 4 * rank + 4], lambda counted: balance(0, counted)
    )
    dist.all_reduce(loss)
    dist.all_reduce(gradient)  # as data-parallel training averages gradients
    equal = torch.allclose(loss / 2, whole, atol=1e-6) and torch.allclose(
        gradient / 2, whole_gradient, atol=1e-6
    )
    if equal != same:
        sys.exit(f"{over}: {loss / 2} against {whole}")
dist.destroy_process_group()
"""


def test_two_processes_balance_globally_as_one_does(tmp_path: Path) -> None:
    script = tmp_path / "balance.py"
    script.write_text(IN_TWO_PROCESSES)
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2",
        str(script),
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("over", "want"),
    [("local", [3, 5, 9]), ("global", [3, 5, 9]), ("accumulated", [3, 8, 9])],
)
def test_accumulation_adds_what_the_step_has_sent_before(
    over: str, want: list[int]
) -> None:
    balance = Balance(over)  # type: ignore[arg-type]
    got = []
    for micro_batch, count in ((0, 3), (1, 5), (0, 9)):
        balance.begin(micro_batch)
        balance(7, torch.tensor([count]))  # as a checkpointed layer, twice
        got.append(int(balance(7, torch.tensor([count]))))
    assert got == want
