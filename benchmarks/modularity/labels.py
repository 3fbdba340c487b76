"""What tables and figures call the models."""

from __future__ import annotations

LABELS = {"emo": "EMO", "standard": "standard MoE"}
WHOLE_LABELS = {
    "small-standard": "standard MoE, a quarter of the experts",
    "dense": "dense model",
}
