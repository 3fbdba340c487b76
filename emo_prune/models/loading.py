"""Load a checkpoint's model and tokenizer, and refuse one that did not load whole."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from emo_prune.errors import CheckpointError, Parameter, SettingsError
from emo_prune.models.placement import check_placement

# What transformers raises when a config or a tokenizer file makes no sense: it has no
# error of its own, so an unknown name is a KeyError, a zero a ZeroDivisionError, ...
LOADING_FAILURES = (
    OSError,
    ValueError,
    RuntimeError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    ImportError,
    StrictDataclassError,
    SafetensorError,
)

_TOKENIZER_HINT = "copy tokenizer.json and tokenizer_config.json into the folder"


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
    check_placement(device, dtype)
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    # straight onto the GPU: through the host's memory it would have to fit there too
    mapped = {"auto": "auto", "cpu": None}.get(device, {"": device})
    placement = {} if mapped is None else {"device_map": mapped}
    with quiet_transformers():
        try:
            model, info = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=dtype if dtype == "auto" else getattr(torch, dtype),
                output_loading_info=True,
                **placement,
            )
        except torch.OutOfMemoryError:
            raise SettingsError(
                "the model does not fit into the device's memory",
                where=device,
                hint=(
                    *("try ", Parameter("dtype", "bfloat16"), ", "),
                    *(Parameter("device", "auto"), " or ", Parameter("device", "cpu")),
                ),
            ) from None
        except LOADING_FAILURES as error:
            raise CheckpointError(
                "transformers cannot load the checkpoint",
                where=folder.name,
                got=failure_reason(error),
                hint="check that AutoModelForCausalLM.from_pretrained loads it",
            ) from None
    missing = sorted(info["missing_keys"]) + sorted(map(str, info["mismatched_keys"]))
    if missing:
        raise missing_weights(folder.name, missing)
    context_length(model.config.to_dict())  # that it is one
    return model.eval()


def load_tokenizer(folder: Path) -> Any:
    """Load a checkpoint's tokenizer.

    Raises:
        CheckpointError: it has none that transformers can load, or one without words:
            for some model types transformers makes one up where the files are missing.
    """
    with quiet_transformers():
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder)
            readable = bool(tokenizer.encode("a", add_special_tokens=False))
        except Exception as error:
            # the tokenizers library has no error class: it raises Exception itself
            if type(error) is not Exception and not isinstance(error, LOADING_FAILURES):
                raise
            raise CheckpointError(
                "the checkpoint has no tokenizer that transformers can load",
                where=folder.name,
                got=failure_reason(error),
                hint=_TOKENIZER_HINT,
            ) from None
    if not readable:
        raise CheckpointError(
            "the checkpoint's tokenizer is empty",
            where=folder.name,
            got=f"{len(tokenizer)} tokens, and none of them for the text 'a'",
            expected="tokenizer.json, or the vocabulary of a slow tokenizer",
            hint=_TOKENIZER_HINT,
        )
    # Texts longer than the context are cut and counted by whoever asks for tokens;
    # this keeps the library from warning of them as well.
    tokenizer.deprecation_warnings[
        "sequence-length-is-longer-than-the-specified-maximum"
    ] = True
    return tokenizer


def context_length(config: Mapping[str, Any]) -> int | None:
    """Return how many tokens a model can read at once, where its config says so.

    Raises:
        CheckpointError: the config says something else than a positive whole number.
    """
    length = config.get("max_position_embeddings")
    if length is None:
        return None
    if type(length) is not int or length < 1:
        raise CheckpointError(
            "the model's context is not a number of tokens",
            where="max_position_embeddings in config.json",
            got=repr(length)[:80],
            expected="a whole number, 1 or more",
            hint="correct config.json, or download it again",
        )
    return length


def missing_weights(where: str, names: Sequence[str]) -> CheckpointError:
    """Return the error for weights that a model needs and a checkpoint lacks."""
    return CheckpointError(
        "weights of the model are missing from the checkpoint",
        where=where,
        got=f"{len(names)} missing, such as {names[0]}",
        hint="the checkpoint is incomplete, or of another model type",
    )


def failure_reason(error: Exception) -> str:
    """Return one line that says what went wrong."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # of a field that fails its check, the first line names the field, the second why
    shown = lines[:2] if isinstance(error, StrictDataclassError) else lines[:1]
    return " ".join([f"{type(error).__name__}:", *shown])


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
