"""A loaded model as lm-eval asks it: silent, counting, common prefixes computed once.

All that is private in lm-eval's Hugging Face backend (HFLM) is touched here alone.
Importing this module imports lm-eval, transformers and torch.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import normalize_gen_kwargs
from torch import Tensor
from transformers import DynamicCache

from emo_prune.architectures import ARCHITECTURES
from emo_prune.errors import Command, EvaluationError, Parameter
from emo_prune.evaluation.prefixes import (
    Capacity,
    ForwardPass,
    TokenRequest,
    plan_passes,
)
from emo_prune.models.loading import LOADING_FAILURES, failure_reason
from emo_prune.models.placement import free_memory
from emo_prune.models.transformers_private import (
    attention_of,
    cache_argument,
    keeps_every_token,
)

Tell = Callable[[int, int], None]  # requests done, requests in all
Request = tuple[tuple[str, str] | None, list[int], list[int]]
Answer = tuple[float, bool]

_BATCH_SIZE = 8

# Dense models whose attention takes positions and a mask as those of the table do.
_DENSE = ("gpt2", "llama", "olmo2", "olmo2_noqknorm_prenorm", "qwen2", "qwen3")
_MASKED_ATTENTION = ("eager", "sdpa")

# Tokens of one pass. More takes longer on a CPU (measured), for attention is over all
# tokens of a pass.
_AT_LEAST = 64
_AT_MOST = {"cpu": 512}
_AT_MOST_ELSEWHERE = 2048
_SHARE = 0.5  # of the free memory: the rest is for what this estimate leaves out


def language_model(
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


class ScoringLM(HFLM):  # type: ignore[misc]
    """HFLM around a loaded model: the same numbers, no bars, no silent NaN.

    `truncated` collects the prompts that did not fit the model's context and lost
    tokens on the left, as HFLM does.

    Args:
        model: a causal language model of transformers, on its device.
        tokenizer: its tokenizer.
        batch_size: sequences per forward pass; None takes 8.
        max_length: context in tokens; None takes the model's own.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        batch_size: int | None,
        max_length: int | None = None,
    ) -> None:
        super().__init__(
            pretrained=model,
            tokenizer=tokenizer,
            batch_size=batch_size or _BATCH_SIZE,
            max_length=max_length,
        )
        self.prompts_at_a_time = batch_size
        self.truncated: set[str] = set()
        self._encoded: dict[tuple[str, str], tuple[list[int], list[int]]] = {}

    def forget(self) -> None:
        """Forget the tokens of the prompts so far: others will be asked."""
        self._encoded.clear()

    def hear(self, tell: Tell) -> None:
        """From now on call `tell` with (requests done, requests in all)."""
        self.set_cache_hook(_ProgressHook(tell))

    def loglikelihood(self, requests: Any, disable_tqdm: bool = True) -> Any:
        """Return (log-likelihood, is greedy) of each continuation."""
        self._expect(requests)
        return super().loglikelihood(requests, disable_tqdm=disable_tqdm)

    def loglikelihood_rolling(self, requests: Any, disable_tqdm: bool = True) -> Any:
        """Return the log-likelihood of each whole text, in windows."""
        self._expect(requests)
        return super().loglikelihood_rolling(requests, disable_tqdm=disable_tqdm)

    def generate_until(self, requests: Any, disable_tqdm: bool = True) -> Any:
        """Return what the model writes after each prompt.

        Raises:
            EvaluationError: the answers alone fill the context.
        """
        self._expect(requests)
        for request in requests:
            context, options = request.args
            kwargs = normalize_gen_kwargs(options, self.max_gen_toks)
            left = self.max_length - kwargs["max_gen_toks"]
            if left <= 0:
                raise EvaluationError(
                    "the answers to be generated fill the model's whole context",
                    got=f"{kwargs['max_gen_toks']} tokens to generate",
                    expected=f"fewer than {self.max_length}",
                    hint="evaluate this model on a task scored by log-likelihood",
                )
            if len(self.tok_encode(context)) > left:
                self.truncated.add(context)
        return super().generate_until(requests, disable_tqdm=disable_tqdm)

    def _encode_pair(self, context: str, continuation: str) -> Any:
        """Tokenise; what is asked of this model again (masked) is not tokenised again.

        The tokens of all requests are in memory while they are scored in any case.
        """
        pair = (context, continuation)
        if pair not in self._encoded:
            self._encoded[pair] = super()._encode_pair(context, continuation)
        return self._encoded[pair]

    def _loglikelihood_tokens(
        self, requests: list[Request], *args: Any, **kwargs: Any
    ) -> Any:
        for strings, context, continuation in requests:
            if len(continuation) > self.max_length:
                raise EvaluationError(
                    "an answer alone is longer than the model's context",
                    got=f"{len(continuation)} tokens",
                    expected=f"at most {self.max_length}",
                    hint="shorten the completions, or give them as `text`",
                )
            too_long = len(context) + len(continuation) > self.max_length + 1
            if too_long and strings is not None:  # windows of a text have no strings
                self.truncated.add(strings[0])
        answers = self._log_likelihoods(requests, *args, **kwargs)
        if any(math.isnan(log_likelihood) for log_likelihood, _ in answers):
            raise EvaluationError(
                "the model's log-likelihoods are not numbers (NaN)",
                where=self.config.name_or_path or None,
                hint=(
                    *("check the checkpoint with ", Command("verify")),
                    *(", or try another ", Parameter("dtype")),
                ),
            )
        return answers

    def _log_likelihoods(
        self, requests: list[Request], *args: Any, **kwargs: Any
    ) -> list[Answer]:
        """Return (log-likelihood, is greedy) of each request, HFLM's way."""
        answers: list[Answer] = super()._loglikelihood_tokens(requests, *args, **kwargs)
        return answers

    def _model_call(self, *args: Any, **kwargs: Any) -> Any:
        with named_failures(self.model):
            return super()._model_call(*args, **kwargs)

    def _model_generate(self, *args: Any, **kwargs: Any) -> Any:
        with named_failures(self.model):
            return super()._model_generate(*args, **kwargs)

    def _expect(self, requests: Any) -> None:
        if isinstance(self.cache_hook, _ProgressHook):
            self.cache_hook.total += len(requests)


class _ProgressHook:
    """lm-eval tells its cache of every answer; so a cache can count them."""

    def __init__(self, tell: Tell) -> None:
        self.total = 0
        self._done = 0
        self._tell = tell

    def add_partial(self, *_answer: Any) -> None:
        self._done += 1
        self._tell(self._done, self.total)


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
            TokenRequest(
                tokens=tuple((context + continuation)[-(self.max_length + 1) :][:-1]),
                targets=tuple(continuation),
            )
            for _, context, continuation in requests
        ]
        capacity = Capacity(
            tokens=tokens_at_a_time(self.model, self.max_length),
            prompts=self.prompts_at_a_time,
        )
        forward = _Forward(self.model, self.softmax_dtype)
        tally = _Tally(scored, self.softmax_dtype or self.model.dtype)
        for one in plan_passes(scored, capacity):
            read = zip(one.targets, *forward(one), strict=True)
            for target, log_probability, greedy in read:
                answer = tally.add(target.request, log_probability, greedy)
                strings = requests[target.request][0]
                if answer is not None and strings is not None:  # no window of a text
                    self.cache_hook.add_partial("loglikelihood", strings, answer)
        return [tally.answers[number] for number in range(len(requests))]


class _Tally:
    """Gathers the targets of each request; sums in a dtype, as HFLM does."""

    def __init__(self, requests: Sequence[TokenRequest], dtype: torch.dtype) -> None:
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
        row_of = {index: row for row, index in enumerate(asked)}
        rows = [row_of[target.index] for target in one.targets]
        tokens = [target.token for target in one.targets]
        with named_failures(self._model):
            logits = self._model(
                input_ids=torch.tensor([one.tokens], device=device),
                attention_mask=None if one.is_chain else self._mask(one),
                position_ids=torch.tensor([one.positions], device=device),
                use_cache=True,
                logits_to_keep=torch.tensor(asked, dtype=torch.long, device=device),
                **{self._cache_argument: self._cache},
            ).logits[0]  # [positions asked for, vocabulary]
            found = logits.log_softmax(-1, dtype=self._softmax_dtype)
        return _read(found, rows, tokens)

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


@contextmanager
def named_failures(model: Any) -> Iterator[None]:
    """Turn what transformers or torch raise while a model computes into our error.

    Raises:
        EvaluationError: memory is short, or the model cannot be run as it is.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise EvaluationError(
            "the memory of the device is full",
            where=model.device,
            hint=(
                *("try ", Parameter("batch_size", 1)),
                *(", ", Parameter("dtype", "bfloat16")),
                *(" or ", Parameter("device", "cpu")),
            ),
        ) from None
    except LOADING_FAILURES as error:
        raise EvaluationError(
            "the model fails as it computes",
            where=model.config.name_or_path or model.config.model_type,
            got=failure_reason(error),
            hint="check that transformers runs it; another version of it may",
        ) from error


def tokens_at_a_time(model: Any, context: int) -> int:
    """Return how many tokens fit into a pass: from 64 to 512, 2048 on a GPU.

    An estimate from the model's sizes, for prompts of up to `context` tokens; of a
    model spread over devices, for its first one.
    """
    config = model.config.get_text_config()
    heads = config.num_attention_heads
    experts = getattr(model.config, "num_experts_per_tok", None) or 1
    # activations, of each expert too; attention scores over the context, twice
    numbers = 16 * config.hidden_size * (1 + experts) + 2 * heads * context
    num_bytes = numbers * model.dtype.itemsize
    num_bytes += 3 * 4 * config.vocab_size  # logits and their softmax in float32
    fits = int(_SHARE * _free_memory(model.device)) // num_bytes
    at_most = _AT_MOST.get(model.device.type, _AT_MOST_ELSEWHERE)
    return int(max(_AT_LEAST, min(at_most, fits)))


def _free_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return free_memory()
