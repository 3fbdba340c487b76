"""Where a decoder of transformers keeps its layers."""

from __future__ import annotations

from typing import Any

from torch import nn


def decoder_layers(decoder: Any) -> nn.ModuleList:
    """Return a decoder's layers, in order: `layers`, or GPT-2's `h`."""
    layers: nn.ModuleList = decoder.layers if hasattr(decoder, "layers") else decoder.h
    return layers
