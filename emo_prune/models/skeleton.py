"""A model without weights, whose layers are given theirs one at a time.

The model is transformers' own, built on the meta device: its masks, rotary embeddings,
layer modules and experts interface do the work. `fresh_layer` gives a layer to be
filled and run; afterwards its weights are gone. Buffers that are computed rather than
stored (rotary frequencies) are real from the start.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

from emo_prune.errors import CheckpointError
from emo_prune.models.loading import (
    LOADING_FAILURES,
    failure_reason,
    missing_weights,
    quiet_transformers,
)
from emo_prune.models.transformers_private import decoder_layers, tensor_loader


class _LayerDone(Exception):
    """Ends a forward pass once the layer that was asked for has run."""

    def __init__(self, output: Any) -> None:
        self.output = output


class Skeleton:
    """A model of transformers without weights, to be run layer by layer."""

    def __init__(self, model: Any, device: torch.device) -> None:
        self.model = model
        self.device = device
        self.dtype: torch.dtype = model.dtype
        self._layers = decoder_layers(model.base_model)
        self._load = tensor_loader(model, device)
        for layer in self._layers:
            layer.forward = _pass_on
        if self.has_positions:
            model.base_model.wpe.forward = lambda _ids: torch.zeros((), device=device)
        for module in model.modules():
            for name, buffer in module.named_buffers(recurse=False):
                if not buffer.is_meta:
                    setattr(module, name, buffer.to(device))

    def __len__(self) -> int:
        """Return the number of layers."""
        return len(self._layers)

    @contextmanager
    def fresh_layer(self, index: int) -> Iterator[nn.Module]:
        """Lend a layer without weights; whatever was done to it ends with the block."""
        empty = self._layers[index]
        copied = copy.deepcopy(empty)
        del copied.forward  # its class's own again
        self._layers[index] = copied
        try:
            yield copied
        finally:
            self._layers[index] = empty

    @property
    def has_positions(self) -> bool:
        """Whether the model adds a table of positions to the embeddings (GPT-2)."""
        return hasattr(self.model.base_model, "wpe")

    @property
    def names_outside_layers(self) -> list[str]:
        """Names of the stored parameters that belong to no layer, tied ones once."""
        tied = set(getattr(self.model, "all_tied_weights_keys", None) or ())
        inside = {id(parameter) for parameter in self._layers.parameters()}
        return [
            name
            for name, parameter in self.model.named_parameters()
            if id(parameter) not in inside and name not in tied
        ]

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Fill parameters from tensors with the names they have in the checkpoint.

        transformers renames, fuses and casts them as when it loads a whole model.

        Raises:
            CheckpointError: a tensor does not fit the model.
        """
        with quiet_transformers():
            problems = self._load(tensors)
        if problems:
            raise CheckpointError(
                "tensors of the checkpoint do not fit the model",
                got=problems[0],
                expected="the shapes that the config announces",
                hint="check that config.json belongs to these shards",
            )

    def run(self, index: int, hidden: Tensor, attention_mask: Tensor) -> Tensor:
        """Return what a layer makes of hidden states [examples, tokens, hidden].

        The model's own forward pass prepares masks and positions for the layer.
        """
        layer: Any = self._layers[index]
        own = type(layer).forward

        def run_and_stop(*args: Any, **kwargs: Any) -> None:
            if args:
                args = (hidden, *args[1:])
            else:
                kwargs["hidden_states"] = hidden
            raise _LayerDone(own(layer, *args, **kwargs))

        layer.forward = run_and_stop
        try:
            with torch.inference_mode():
                self.model.base_model(
                    inputs_embeds=hidden,
                    attention_mask=attention_mask.to(self.device),
                    use_cache=False,
                    output_router_logits=False,
                )
        except _LayerDone as done:
            first: Tensor
            first = done.output[0] if isinstance(done.output, tuple) else done.output
            return first
        finally:
            del layer.forward
        raise RuntimeError(f"the forward pass never came to layer {index}")

    def embed(
        self, rows: Tensor, ids: Tensor, positions: Tensor | None = None
    ) -> Tensor:
        """Return the embeddings [examples, tokens, hidden] of tokens.

        rows: [tokens that occur, hidden]; ids: [examples, tokens], positions in it;
        positions: [tokens, hidden], to be added where the model `has_positions`.
        """
        module = copy.deepcopy(self.model.get_input_embeddings())
        module.weight = nn.Parameter(rows.to(self.device, self.dtype), False)
        module.padding_idx = None  # an id of the whole table, and of training alone
        with torch.inference_mode():
            embedded: Tensor = module(ids.to(self.device))
            if positions is not None:
                embedded = embedded + positions.to(self.device, self.dtype)
        return embedded


def build_skeleton(
    folder: Path,
    *,
    device: torch.device,
    dtype: str,
) -> Skeleton:
    """Build a model from its config alone.

    Args:
        folder: holds config.json.
        device: where layers are run.
        dtype: one of `DTYPES` but "auto".

    Raises:
        CheckpointError: transformers cannot build it.
    """
    from accelerate import init_empty_weights

    with quiet_transformers():
        try:
            config = AutoConfig.from_pretrained(folder)
            with init_empty_weights(include_buffers=False):
                model = AutoModelForCausalLM.from_config(
                    config, dtype=getattr(torch, dtype)
                )
        except LOADING_FAILURES as error:
            raise CheckpointError(
                "transformers cannot build the model",
                where=folder.name,
                got=failure_reason(error),
                hint="check that AutoModelForCausalLM.from_pretrained loads it",
            ) from None
    return Skeleton(model.eval(), device)


def refuse_unfilled(
    layer: nn.Module, where: str, *, but: nn.Module | None = None
) -> None:
    """Raise `CheckpointError` if a layer has no weights somewhere, `but` apart."""
    apart = {id(tensor) for tensor in but.parameters()} if but is not None else set()
    tensors = (*layer.named_parameters(), *layer.named_buffers())
    empty = [name for name, t in tensors if t.is_meta and id(t) not in apart]
    if empty:
        raise missing_weights(where, empty)


def _pass_on(*args: Any, **kwargs: Any) -> Any:
    """Stand in for a layer that has no weights now: hidden states pass unchanged."""
    return args[0] if args else kwargs["hidden_states"]
