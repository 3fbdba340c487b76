"""EMoE's configuration: a dense decoder's own, and how its FFNs are carved."""

# no `from __future__ import annotations`: `strict` checks no field whose type is text

from copy import deepcopy
from typing import Any, ClassVar, Literal

from huggingface_hub.dataclasses import strict
from transformers import CONFIG_MAPPING, PreTrainedConfig
from transformers.configuration_utils import SubConfigSpec

from emo_prune.architectures.feed_forward import GATED, PLAIN, feed_forward_size
from emo_prune.models.configs import bad_key

_SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "max_position_embeddings",
    "tie_word_embeddings",
)
_TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")


@strict
class EmoeConfig(PreTrainedConfig):  # type: ignore[misc]
    """A dense decoder whose feed-forward layers are carved into experts.

    `dense_config` is the decoder's own configuration, or its `config.json` as a
    dictionary; of it transformers asks what it needs for masks and caches. The layers
    of `carved_layers` have `num_experts` experts of `moe_intermediate_size` neurons
    each; `num_experts_per_tok` of them are picked. `gate_source` says which rows of an
    expert are averaged into its gate: those of the gate matrix ("gate", the keys), of
    the up matrix ("up"), or none, the score being the mean of its activations
    ("inter").

    Whatever else the dense configuration has is read and set there: `use_cache` is
    `dense_config.use_cache`. A file has copies of its sizes and token ids besides, for
    readers of `config.json`; the sizes are never taken from these.

    Raises `BadConfig` where the fields contradict each other.
    """

    model_type = "emoe"
    # The class stands for any: `__post_init__` builds the one that is meant.
    sub_configs_defaults: ClassVar[dict[str, Any]] = {
        "dense_config": SubConfigSpec(PreTrainedConfig, model_type="llama")
    }

    dense_config: dict[str, Any] | PreTrainedConfig | None = None
    carved_layers: list[int] | None = None
    num_experts: int = 64
    num_experts_per_tok: int = 16
    moe_intermediate_size: int | None = None
    gate_source: Literal["gate", "up", "inter"] = "gate"
    output_router_logits: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        """Build the dense configuration, and let it have what is not of this one."""
        dense = self.dense_config
        if not isinstance(dense, PreTrainedConfig):
            dense = _dense_config(dense or {"model_type": "llama"})
        else:
            dense = deepcopy(dense)  # fields set here are not to be the caller's
        self.dense_config = dense
        kwargs = {
            key: value
            for key, value in kwargs.items()
            if key not in _SIZES and not (key in _TOKENS and value is None)
        }
        self.carved_layers = list(self.carved_layers or ())
        if self.moe_intermediate_size is None:
            width = feed_forward_size(dense.to_dict())
            self.moe_intermediate_size = width // max(1, self.num_experts)
            if self.num_experts * self.moe_intermediate_size != width:
                raise bad_key("num_experts", self.num_experts, f"a divisor of {width}")
        super().__post_init__(**kwargs)

    def __getattr__(self, key: str) -> Any:
        """Return what the dense configuration has, and this one has not."""
        dense = self.__dict__.get("dense_config")
        if key.startswith("_") or not isinstance(dense, PreTrainedConfig):
            raise AttributeError(f"{type(self).__name__} has no attribute {key}")
        return getattr(dense, key)

    def __setattr__(self, key: str, value: Any) -> None:
        """Set what is not of this configuration in the dense one, if that has it."""
        dense = self.__dict__.get("dense_config")
        own = key.startswith("_") or hasattr(type(self), key) or key in self.__dict__
        if not own and isinstance(dense, PreTrainedConfig) and hasattr(dense, key):
            setattr(dense, key, value)
        else:
            super().__setattr__(key, value)

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, and copies of the dense sizes and token ids."""
        copies = {key: getattr(self, key) for key in (*_SIZES, *_TOKENS)}
        return {**super().to_dict(), **copies}

    def get_text_config(self, *_: Any, **__: Any) -> PreTrainedConfig:
        """Return the dense decoder's configuration: layers, windows, heads."""
        return self.dense_config

    def validate_carving(self) -> None:
        """Refuse experts that the dense layers cannot be carved into (`@strict`)."""
        dense = self.get_text_config()
        _check_dense_type(dense.model_type)
        if dense.model_type in PLAIN and self.gate_source == "up":
            raise bad_key("gate_source", "up", "gate or inter: there is no up matrix")
        layers = self.carved_layers or []
        if sorted({*layers}) != layers or not all(
            0 <= layer < dense.num_hidden_layers for layer in layers
        ):
            raise bad_key(
                "carved_layers",
                layers,
                f"ascending numbers below {dense.num_hidden_layers}",
            )
        width = feed_forward_size(dense.to_dict())
        most = width // max(1, self.moe_intermediate_size or 0)
        if not 1 <= self.num_experts <= most:
            raise bad_key(
                "num_experts",
                self.num_experts,
                f"1 to {most}, with {self.moe_intermediate_size} of "
                f"{width} neurons in each",
            )
        check_top_k(self.num_experts_per_tok, self.num_experts)


def check_top_k(number: int, num_experts: int) -> None:
    """Raise `BadConfig` for a number of experts that a token cannot get."""
    if not 1 <= number <= num_experts:
        raise bad_key("num_experts_per_tok", number, f"1 to {num_experts} (all)")


def _dense_config(fields: dict[str, Any]) -> PreTrainedConfig:
    given = dict(fields)
    model_type = given.pop("model_type", None)
    _check_dense_type(model_type)
    return CONFIG_MAPPING[model_type](**given)


def _check_dense_type(model_type: object) -> None:
    if model_type not in GATED + PLAIN:
        raise bad_key("dense_config, model_type", model_type, ", ".join(GATED + PLAIN))
