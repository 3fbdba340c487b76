"""Load a checkpoint's model and tokenizer, and refuse one that did not load whole."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from emo_prune.errors import CheckpointError, SettingsError

DTYPES = ("auto", "float32", "bfloat16", "float16")


def load_model(folder: Path, *, device: str | None = None, dtype: str = "auto") -> Any:
    """Load a causal language model for inference.

    Args:
        folder: a local checkpoint folder.
        device: "cpu", "cuda", "cuda:1"; "auto" spreads layers over devices;
            None takes a GPU if there is one.
        dtype: one of `DTYPES`; "auto" is what the checkpoint says.

    Raises:
        CheckpointError: transformers cannot load it, or weights are missing.
        SettingsError: there is no such device or dtype.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    placement = {"device_map": "auto"} if device == "auto" else {}
    torch_dtype = _dtype(dtype)
    with quiet_transformers():
        try:
            model, info = AutoModelForCausalLM.from_pretrained(
                folder, dtype=torch_dtype, output_loading_info=True, **placement
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise CheckpointError(
                "transformers cannot load the checkpoint",
                where=folder.name,
                got=str(error).strip().split("\n")[0],
                hint="check that AutoModelForCausalLM.from_pretrained loads it",
            ) from None
    missing = sorted(info["missing_keys"]) + sorted(map(str, info["mismatched_keys"]))
    if missing:
        raise CheckpointError(
            "weights of the model are missing from the checkpoint",
            where=folder.name,
            got=f"{len(missing)} missing, such as {missing[0]}",
            hint="the checkpoint is incomplete, or of another model type",
        )
    if not placement:
        try:
            model = model.to(device)
        except (RuntimeError, AssertionError) as error:
            raise SettingsError(
                "the device cannot be used",
                where="--device",
                got=f"{device}: {str(error).strip().split(chr(10))[0]}",
                hint="try --device cpu",
            ) from None
    return model.eval()


def load_tokenizer(folder: Path) -> Any:
    """Load a checkpoint's tokenizer.

    Raises:
        CheckpointError: it has none that transformers can load.
    """
    with quiet_transformers():
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder)
        except (OSError, ValueError, KeyError) as error:
            raise CheckpointError(
                "the checkpoint has no tokenizer that transformers can load",
                where=folder.name,
                got=str(error).strip().split("\n")[0],
                hint="copy tokenizer.json and tokenizer_config.json into the folder",
            ) from None
    # Texts longer than the context are cut and counted by whoever asks for tokens;
    # this keeps the library from warning of them as well.
    tokenizer.deprecation_warnings[
        "sequence-length-is-longer-than-the-specified-maximum"
    ] = True
    return tokenizer


def context_length(config: Mapping[str, Any]) -> int | None:
    """Return how many tokens a model can read at once, where its config says so."""
    length = config.get("max_position_embeddings")
    return int(length) if length else None


def _dtype(name: str) -> Any:
    if name not in DTYPES:
        raise SettingsError(
            "there is no such dtype",
            where="--dtype",
            got=repr(name),
            expected=", ".join(DTYPES),
            hint="try --dtype auto",
        )
    return name if name == "auto" else getattr(torch, name)


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Hold back transformers' bars and warnings: what matters is an error of ours."""
    shown = transformers_logging.is_progress_bar_enabled()
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if shown:
            transformers_logging.enable_progress_bar()
