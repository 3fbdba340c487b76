"""Choose experts layer by layer and cut them out, as one does without emo-prune.

    python benchmarks/greedy_load_all.py MODEL --examples texts.jsonl --keep 16 -o DIR

Plain transformers: load the model, run the examples up to one layer's router after the
other, cut each layer before the next is run, save. emo-prune is imported for the EMO
model class alone. Needs memory for all weights. Prints the ids kept in each layer.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

import emo_prune  # noqa: F401 - registers the emo model type
from benchmarks.load_all import rows

BATCH_SIZE = 32

Batch = dict[str, Tensor]


class RouterReached(Exception):
    """Ends a forward pass at the router whose logits are wanted."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__("the router was reached")
        self.logits = logits


def make_batches(tokenizer: Any, examples: Path, max_length: int) -> list[Batch]:
    """Return the `text` of each line of a file as padded token ids and masks."""
    lines = examples.read_text(encoding="utf-8").splitlines()
    texts = [json.loads(line)["text"] for line in lines if line.strip()]
    batches = []
    for start in range(0, len(texts), BATCH_SIZE):
        encoded = tokenizer(
            texts[start : start + BATCH_SIZE],
            padding=True,
            truncation=True,
            max_length=max_length,
            return_tensors="pt",
        )
        batches.append({k: encoded[k] for k in ("input_ids", "attention_mask")})
    return batches


def keep_likeliest(model: Any, batches: Sequence[Batch], keep: int) -> list[list[int]]:
    """Cut each MoE layer to its likeliest experts, then go on to the next.

    Returns the ids kept in each of these layers; the shared experts, the last ones,
    are among them.
    """
    top_k = min(model.config.num_experts_per_tok, keep)
    kept = []
    for block in [layer.mlp for layer in model.model.layers]:
        if not hasattr(block, "gate"):
            continue  # a dense layer
        num_experts, shared = block.gate.num_experts, block.gate.num_shared_experts
        probability = mean_probability(model, block.gate, batches)
        likeliest = probability.topk(keep - shared).indices.tolist()
        chosen = sorted(likeliest) + list(range(num_experts - shared, num_experts))
        cut(block, chosen, top_k)
        kept.append(chosen)
    model.config.num_experts = keep
    model.config.num_experts_per_tok = top_k
    return kept


@torch.inference_mode()
def mean_probability(model: Any, router: Any, batches: Sequence[Batch]) -> Tensor:
    """Return the mean probability of each routed expert over tokens, padding aside."""
    routed = router.num_experts - router.num_shared_experts
    total = torch.zeros(routed)
    num_tokens = 0
    for batch in batches:
        real = batch["attention_mask"].flatten().bool()
        logits = router_logits(model, router, batch)[real, :routed]
        total += logits.softmax(dim=-1, dtype=torch.float32).sum(dim=0)
        num_tokens += len(logits)
    return total / num_tokens


def router_logits(model: Any, router: Any, batch: Batch) -> Tensor:
    """Return a router's logits [tokens, experts]; what comes after it is not run."""

    def end(_module: Any, _inputs: Any, outputs: tuple[Tensor, ...]) -> NoReturn:
        raise RouterReached(outputs[0])

    hook = router.register_forward_hook(end)
    try:
        model(**batch, use_cache=False)
    except RouterReached as reached:
        return reached.logits
    finally:
        hook.remove()
    raise RuntimeError("the forward pass did not come to the router")


def cut(block: Any, kept: Sequence[int], top_k: int) -> None:
    """Cut a layer's router and experts in place."""
    ids = torch.tensor(kept)
    block.gate.weight = rows(block.gate.weight, ids)
    block.gate.num_experts, block.gate.top_k = len(kept), top_k
    block.experts.gate_up_proj = rows(block.experts.gate_up_proj, ids)
    block.experts.down_proj = rows(block.experts.down_proj, ids)
    block.experts.num_experts = len(kept)


def main(arguments: Sequence[str] | None = None) -> int:
    """Load, choose and cut, save."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", help="a checkpoint folder")
    parser.add_argument("--examples", type=Path, required=True, help="JSONL with text")
    parser.add_argument("--keep", type=int, required=True, help="experts of a layer")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args(arguments)
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype="auto").eval()
    context = model.config.max_position_embeddings
    batches = make_batches(tokenizer, options.examples, context)
    kept = keep_likeliest(model, batches, options.keep)
    model.save_pretrained(options.output)
    tokenizer.save_pretrained(options.output)
    print(json.dumps(kept))
    return 0


if __name__ == "__main__":
    sys.exit(main())
