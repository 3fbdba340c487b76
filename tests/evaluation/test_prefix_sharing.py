"""Sharing prefixes gives lm-eval's own log-likelihoods, request by request."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from emo_prune.evaluation.language_model import (
    PrefixSharingLM,
    ScoringLM,
    language_model,
    tokens_at_a_time,
    why_not_shared,
)
from emo_prune.tasks import TaskOptions, evaluation_set, parse_task, quiet
from tests.evaluation.tiny import byte_tokenizer, scored
from tests.tiny_models import CHECKPOINTS, VOCABULARY, tiny_model

SHARING = [name for name in CHECKPOINTS if name != "gpt_oss"]
DENSE = ["gpt2", "llama", "olmo2", "olmo2_noqknorm_prenorm", "qwen2", "qwen3"]
Pairs = list[tuple[str, str]]


def words(rng: random.Random, length: int) -> str:
    return "".join(rng.choice("abcdef ") for _ in range(length)).strip() or "a"


def made_up() -> Pairs:
    """Prompts that share demonstrations, a question, little or nothing."""
    rng = random.Random(0)
    demonstrations = words(rng, 90)
    pairs = []
    for _ in range(5):
        question = demonstrations + words(rng, 20)
        pairs += [(question, " " + words(rng, rng.randint(1, 9))) for _ in range(3)]
        pairs += [(question, letter) for letter in "ABCD"]
    pairs += [("", words(rng, 20)), (words(rng, 3), words(rng, 70)), ("b", "a")]
    pairs += [(words(rng, 300), words(rng, 30)), (words(rng, 400), "a")]
    return pairs


def ask(lm: Any, pairs: Pairs) -> list[tuple[float, bool]]:
    requests = [
        Instance(request_type="loglikelihood", doc={}, arguments=pair, idx=number)
        for number, pair in enumerate(pairs)
    ]
    with quiet():
        answers: list[tuple[float, bool]] = lm.loglikelihood(
            requests, disable_tqdm=True
        )
    return answers


def lm_evals_own(model: Any) -> Any:
    with quiet():
        return HFLM(pretrained=model, tokenizer=byte_tokenizer(), batch_size=4)


def ours(model: Any, batch_size: int | None = None, **options: Any) -> ScoringLM:
    with quiet():
        return language_model(model, byte_tokenizer(), batch_size=batch_size, **options)


def assert_same(
    found: Sequence[tuple[float, bool]], wanted: Sequence[tuple[float, bool]]
) -> None:
    assert [greedy for _, greedy in found] == [greedy for _, greedy in wanted]
    values, others = ([value for value, _ in side] for side in (found, wanted))
    # sums of hundreds are no more exact than that in float32
    assert values == pytest.approx(others, abs=1e-4, rel=3e-7)


def dense(model_type: str) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        model_type,
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=256,
        initializer_range=0.4,
        pad_token_id=257,
        eos_token_id=256,
        bos_token_id=None,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


@pytest.fixture(params=[*SHARING, *DENSE])
def sharing(request: pytest.FixtureRequest) -> Any:
    name = request.param
    return dense(name) if name in DENSE else tiny_model(name)


@pytest.mark.compatibility
def test_every_request_gets_what_lm_eval_gives_it(sharing: Any) -> None:
    lm = ours(sharing)
    assert isinstance(lm, PrefixSharingLM)
    wanted = ask(lm_evals_own(sharing), made_up())
    assert_same(ask(lm, made_up()), wanted)
    assert len(lm.truncated) == 2


def test_in_bfloat16_it_is_as_near_to_lm_eval_as_rounding_lets_two_ways_be(
    sharing: Any,
) -> None:
    pairs = made_up()

    def far(ones: list[tuple[float, bool]], others: list[tuple[float, bool]]) -> Any:
        differences = [a - b for (a, _), (b, _) in zip(ones, others, strict=True)]
        lengths = [len(continuation) for _, continuation in pairs]
        return torch.tensor(differences).abs() / torch.tensor(lengths)  # of a token

    exact = ask(lm_evals_own(sharing), pairs)
    rounded = sharing.to(torch.bfloat16)
    wanted = ask(lm_evals_own(rounded), pairs)
    lm = ours(rounded)
    assert isinstance(lm, PrefixSharingLM)
    found = ask(lm, pairs)
    rounding = far(wanted, exact)
    # each of the two ways may be off by the rounding, in either direction
    assert far(found, wanted).max() <= 2 * rounding.max()
    assert far(found, wanted).mean() <= rounding.mean()


@pytest.mark.parametrize("batch_size", [1, 3])
def test_batch_size_changes_nothing(sharing: Any, batch_size: int) -> None:
    assert_same(
        ask(ours(sharing, batch_size), made_up()), ask(ours(sharing), made_up())
    )


@pytest.mark.compatibility
def test_eager_attention_takes_the_mask_too() -> None:
    model = tiny_model("olmoe", attn_implementation="eager")
    assert model.config._attn_implementation == "eager"
    assert_same(ask(ours(model), made_up()), ask(lm_evals_own(model), made_up()))


def test_a_greedy_answer_is_told_from_others() -> None:
    model = tiny_model("olmoe")
    prompt = list(range(40))
    written = model.generate(torch.tensor([prompt]), do_sample=False, max_new_tokens=5)
    greedy = written[0, 40:].tolist()
    others = [*greedy[:4], greedy[4] - 1], [greedy[0] - 1, *greedy[1:]]
    requests: Any = [(None, prompt, answer) for answer in (greedy, *others)]
    found = ours(model)._loglikelihood_tokens(requests)
    assert [hit for _, hit in found] == [True, False, False]


@pytest.mark.parametrize("answer", ["letter", "text"])
def test_mmlu_gets_what_lm_eval_gives_it(
    answer: Any, data_dir: Path, model: Any
) -> None:
    pairs: Pairs = []
    options = TaskOptions(data_dir=data_dir, answer=answer)
    for part in evaluation_set(parse_task("chemistry"), options, 4).tasks:
        part.task.build_all_requests(limit=4)
        pairs += [instance.args for instance in part.task.instances]
    assert len(pairs) == 2 * 4 * 4
    own = lm_evals_own(model)
    theirs = tokens_read(model, own, pairs)
    assert_same(ask(ours(model), pairs), ask(own, pairs))
    assert tokens_read(model, ours(model), pairs) < theirs / 2.5


def tokens_read(model: Any, lm: Any, pairs: Pairs) -> int:
    """How many tokens the model computes for some requests."""
    counts: list[int] = []
    hook = model.get_input_embeddings().register_forward_hook(
        lambda _module, args, _output: counts.append(args[0].numel())
    )
    ask(lm, pairs)
    hook.remove()
    return sum(counts)


def test_whole_texts_get_what_lm_eval_gives_them() -> None:
    model = tiny_model("olmoe")
    rng = random.Random(1)
    texts = [words(rng, length) for length in (5, 200, 700)]
    requests = [
        Instance(
            request_type="loglikelihood_rolling", doc={}, arguments=(text,), idx=number
        )
        for number, text in enumerate(texts)
    ]
    with quiet():
        wanted = lm_evals_own(model).loglikelihood_rolling(requests, disable_tqdm=True)
    found = ours(model).loglikelihood_rolling(requests)
    assert found == pytest.approx(wanted, rel=1e-6)


@pytest.mark.compatibility
@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (lambda: tiny_model("gpt_oss"), "its cache forgets"),
        (lambda: tiny_model("mixtral", sliding_window=16), "its cache forgets"),
        (lambda: dense("mistral"), "not tested on mistral"),
    ],
    ids=["gpt_oss", "mixtral with a sliding window", "mistral"],
)
def test_where_sharing_is_impossible_it_is_said_and_lm_evals_way_is_taken(
    model: Any, reason: str
) -> None:
    made = model()
    said: list[str] = []
    lm = ours(made, say=said.append)
    assert type(lm) is ScoringLM
    assert len(said) == 1
    assert reason in said[0]
    assert_same(ask(lm, made_up()), ask(lm_evals_own(made), made_up()))


@pytest.mark.compatibility
def test_attention_without_a_mask_is_not_shared() -> None:
    model = tiny_model("olmoe")
    model.config._attn_implementation = "flash_attention_2"
    assert why_not_shared(model) == "flash_attention_2 attention takes no mask"


def test_results_are_the_same_without_sharing(
    data_dir: Path, model: Any, tokenizer: Any
) -> None:
    options = TaskOptions(data_dir=data_dir)
    evaluation = evaluation_set(parse_task("engineering"), options, 3)
    shared, alone = (
        scored(model, tokenizer, evaluation, name="tiny", share_prefixes=share)
        for share in (True, False)
    )
    assert shared.to_text() == alone.to_text()


def test_a_longer_context_leaves_no_more_room_for_tokens(model: Any) -> None:
    short, long, endless = (tokens_at_a_time(model, n) for n in (512, 10**6, 10**12))
    assert short == 512
    assert short >= long >= endless
    assert endless == 64
