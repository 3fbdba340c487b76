"""lm-eval's Hugging Face backend, silent, counting what it has to cut.

Importing this module imports lm-eval, transformers and torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import normalize_gen_kwargs

from emo_prune.errors import EvaluationError

Progress = Callable[[int, int], None]
Request = tuple[tuple[str, str] | None, list[int], list[int]]
Answer = tuple[float, bool]

_BATCH_SIZE = 8


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

    def tell(self, progress: Progress) -> None:
        """From now on call `progress` with (requests done, requests in all)."""
        self.set_cache_hook(_ProgressHook(progress))

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
            EvaluationError: no room is left for a prompt.
        """
        self._expect(requests)
        for request in requests:
            context, options = request.args
            kwargs = normalize_gen_kwargs(options, self.max_gen_toks)
            room = self.max_length - kwargs["max_gen_toks"]
            if room <= 0:
                raise EvaluationError(
                    "the answers to be generated fill the model's whole context",
                    got=f"{kwargs['max_gen_toks']} tokens to generate",
                    expected=f"fewer than {self.max_length}",
                    hint="evaluate this model on a task scored by log-likelihood",
                )
            if len(self.tok_encode(context)) > room:
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
                hint="check the checkpoint with `emo-prune verify`, or another --dtype",
            )
        return answers

    def _log_likelihoods(
        self, requests: list[Request], *args: Any, **kwargs: Any
    ) -> list[Answer]:
        """Return (log-likelihood, is greedy) of each request, HFLM's way."""
        answers: list[Answer] = super()._loglikelihood_tokens(requests, *args, **kwargs)
        return answers

    def _expect(self, requests: Any) -> None:
        if isinstance(self.cache_hook, _ProgressHook):
            self.cache_hook.total += len(requests)


class _ProgressHook:
    """lm-eval tells its cache of every answer; so a cache can count them."""

    def __init__(self, progress: Progress) -> None:
        self.total = 0
        self._done = 0
        self._progress = progress

    def add_partial(self, *_answer: Any) -> None:
        self._done += 1
        self._progress(self._done, self.total)
