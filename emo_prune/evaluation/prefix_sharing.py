"""lm-eval's Hugging Face backend, computing once what prompts have in common.

Importing this module imports lm-eval, transformers and torch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from emo_prune.architectures import ARCHITECTURES
from emo_prune.evaluation.language_model import Answer, Request, ScoringLM
from emo_prune.evaluation.prefixes import ForwardPass, Room, Scored, plan_passes
from emo_prune.evaluation.room import tokens_at_a_time
from emo_prune.models.transformers_private import (
    attention_of,
    cache_argument,
    keeps_every_token,
)

# Dense models whose attention takes positions and a mask as those of the table do.
_DENSE = ("gpt2", "llama", "olmo2", "olmo2_noqknorm_prenorm", "qwen2", "qwen3")
_MASKED_ATTENTION = ("eager", "sdpa")


def scoring_lm(
    model: Any,
    tokenizer: Any,
    *,
    share_prefixes: bool = True,
    batch_size: int | None = None,
    max_length: int | None = None,
    say: Callable[[str], None] | None = None,
) -> ScoringLM:
    """Return the backend for a model: one that shares prefixes, if it can be.

    Args:
        model: a causal language model of transformers, on its device.
        tokenizer: its tokenizer.
        share_prefixes: False takes HFLM's own way.
        batch_size: prompts per forward pass; None takes as many as fit, or 8 where
            prefixes are not shared.
        max_length: context in tokens; None takes the model's own.
        say: is told if the model does not allow sharing.
    """
    reason = why_not_shared(model) if share_prefixes else None
    if reason is not None and say is not None:
        say(f"prompts are computed one by one, without sharing: {reason}")
    shared = share_prefixes and reason is None
    return (PrefixSharingLM if shared else ScoringLM)(
        model,
        tokenizer,
        batch_size=batch_size,
        max_length=max_length,
    )


def why_not_shared(model: Any) -> str | None:
    """Return why a model's prefixes cannot be shared; None if they can.

    They can where every layer keeps the keys and values of all tokens, and attention
    takes a mask of ours.
    """
    config = model.config
    attention = attention_of(config)
    if config.model_type not in (*ARCHITECTURES, *_DENSE):
        return f"not tested on {config.model_type}"
    if attention not in _MASKED_ATTENTION:
        return f"{attention} attention takes no mask"
    if not keeps_every_token(config):
        return "its cache forgets (a sliding window, or layers of another kind)"
    return None


class PrefixSharingLM(ScoringLM):
    """`ScoringLM` with log-likelihoods by `plan_passes`: the same up to rounding.

    For models of which `why_not_shared` says None. Texts to be generated go HFLM's way.
    `batch_size` None lets passes hold as many prompts as fit into the memory that is
    free when scoring starts.
    """

    def _log_likelihoods(
        self, requests: list[Request], *_args: Any, **_options: Any
    ) -> list[Answer]:
        scored = [
            Scored(
                tokens=tuple((context + continuation)[-(self.max_length + 1) :][:-1]),
                targets=tuple(continuation),
            )
            for _, context, continuation in requests
        ]
        room = Room(
            tokens=tokens_at_a_time(self.model, self.max_length),
            prompts=self.prompts_at_a_time,
        )
        forward = _Forward(self.model, self.softmax_dtype)
        tally = _Tally(scored, self.softmax_dtype or self.model.dtype)
        for one in plan_passes(scored, room):
            read = zip(one.targets, *forward(one), strict=True)
            for target, log_probability, greedy in read:
                answer = tally.add(target.request, log_probability, greedy)
                strings = requests[target.request][0]
                if answer is not None and strings is not None:  # no window of a text
                    self.cache_hook.add_partial("loglikelihood", strings, answer)
        return [tally.answers[number] for number in range(len(requests))]


class _Tally:
    """Gathers the targets of each request; sums in a dtype, as HFLM does."""

    def __init__(self, requests: Sequence[Scored], dtype: torch.dtype) -> None:
        self._wanted = [len(request.targets) for request in requests]
        self._dtype = dtype
        self._found: dict[int, list[tuple[float, bool]]] = defaultdict(list)
        self.answers: dict[int, Answer] = {}

    def add(self, request: int, log_probability: float, greedy: bool) -> Answer | None:
        """Add a target to its request; return the answer if it was the last one."""
        found = self._found[request]
        found.append((log_probability, greedy))
        if len(found) < self._wanted[request]:
            return None
        del self._found[request]
        total = torch.tensor([value for value, _ in found], dtype=self._dtype).sum()
        self.answers[request] = (float(total), all(hit for _, hit in found))
        return self.answers[request]


class _Forward:
    """The model, and the keys and values of the tokens it has read."""

    def __init__(self, model: Any, softmax_dtype: torch.dtype | None) -> None:
        self._model = model
        self._softmax_dtype = softmax_dtype
        self._cache = DynamicCache(config=model.config)
        self._cache_argument = cache_argument()

    @torch.inference_mode()
    def __call__(self, one: ForwardPass) -> tuple[list[float], list[bool]]:
        """Return each target's log-probability, and whether it is the likeliest."""
        device = self._model.device
        self._keep(one.kept)
        asked = sorted({target.index for target in one.targets})
        logits = self._model(
            input_ids=torch.tensor([one.tokens], device=device),
            attention_mask=None if one.is_chain else self._mask(one),
            position_ids=torch.tensor([one.positions], device=device),
            use_cache=True,
            logits_to_keep=torch.tensor(asked, dtype=torch.long, device=device),
            **{self._cache_argument: self._cache},
        ).logits[0]  # [positions asked for, vocabulary]
        row_of = {index: row for row, index in enumerate(asked)}
        rows = [row_of[target.index] for target in one.targets]
        tokens = [target.token for target in one.targets]
        return _read(logits.log_softmax(-1, dtype=self._softmax_dtype), rows, tokens)

    def _keep(self, length: int) -> None:
        if length == 0:
            self._cache = DynamicCache(config=self._model.config)
        elif (surplus := self._cache.get_seq_length() - length) > 0:
            self._cache.crop(-surplus)

    def _mask(self, one: ForwardPass) -> Tensor:
        """Return what is added to attention scores, [1, 1, tokens, kept + tokens].

        0 where a token sees another, the dtype's least number where it does not.
        """
        size = len(one.tokens)
        seen = torch.zeros(size, size, dtype=torch.bool)
        for token, parent in enumerate(one.parents):
            if parent >= 0:
                seen[token] = seen[parent]
            seen[token, token] = True
        seen = torch.cat([seen.new_ones(size, one.kept), seen], dim=1)
        mask = torch.zeros(seen.shape, dtype=self._model.dtype)
        mask.masked_fill_(~seen, torch.finfo(mask.dtype).min)
        return mask[None, None].to(self._model.device)


def _read(
    log_probabilities: Tensor, rows: list[int], tokens: list[int]
) -> tuple[list[float], list[bool]]:
    """Read a token's value in each of some rows of [positions, vocabulary]."""
    if not rows:
        return [], []
    where = torch.tensor(rows, device=log_probabilities.device)
    what = torch.tensor(tokens, device=log_probabilities.device)
    greedy = log_probabilities.argmax(dim=-1)[where] == what
    return log_probabilities[where, what].tolist(), greedy.tolist()
