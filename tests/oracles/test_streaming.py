"""Layer by layer, every architecture routes as it does when it is loaded whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from emo_prune.architectures import MoEModel
from emo_prune.architectures.opening import open_local
from emo_prune.checkpoint import FolderSource
from emo_prune.models.loading import load_model
from emo_prune.models.skeleton import build_skeleton
from emo_prune.routing import (
    Batch,
    LayerRouting,
    TokenizedExamples,
    layers,
    make_batches,
    observe,
    observe_greedy,
)
from emo_prune.routing.hidden import embed
from emo_prune.routing.layers import LayerByLayer, TaskState
from emo_prune.routing.weights import reading_ahead
from emo_prune.selection import Limits, choose_layer, parse_keep, resolve_budget
from tests.routing.test_goldens import SELECTABLE, Golden
from tests.tiny_models import CHECKPOINTS

GENERATOR = torch.Generator().manual_seed(0)
EXAMPLES = TokenizedExamples(
    sequences=tuple(
        tuple(torch.randint(0, 256, (length,), generator=GENERATOR).tolist())
        for length in (17, 9, 30, 4, 17)
    ),
    num_truncated=0,
)
PLENTY = 10**9
DTYPES = ("float32", "bfloat16")


class Case:
    """One model with its budget, to be observed both ways."""

    def __init__(self, folder: Path, dtype: str, batches: Sequence[Batch]) -> None:
        self.folder = folder
        self.dtype = dtype
        self.batches = batches
        self.model, _ = open_local(str(folder))
        self.limits = Limits.of(self.model)
        self.budget = resolve_budget(parse_keep("50%"), self.limits)

    def choose(self, score: str) -> Callable[[LayerRouting], Sequence[int]]:
        return lambda routing: (
            choose_layer(routing, self.limits, self.budget, score=score).kept
        )

    def whole(self, *, outputs: bool) -> list[LayerRouting]:
        model = load_model(self.folder, device="cpu", dtype=self.dtype)
        return observe(model, self.model.architecture, self.batches, outputs=outputs)

    def whole_greedy(self, score: str, *, outputs: bool) -> list[LayerRouting]:
        return observe_greedy(
            load_model(self.folder, device="cpu", dtype=self.dtype),
            self.model.architecture,
            self.batches,
            self.choose(score),
            self.budget.top_k,
            outputs=outputs,
        )

    def streamed(
        self,
        score: str | None = None,
        *,
        outputs: bool,
        max_bytes: int = PLENTY,
        model: MoEModel | None = None,
    ) -> list[LayerRouting]:
        model = model or self.model
        skeleton = build_skeleton(
            self.folder, device=torch.device("cpu"), dtype=self.dtype
        )
        state = TaskState(
            batches=self.batches,
            hidden=embed(model, skeleton, self.batches, max_bytes),
            choose=None if score is None else self.choose(score),
        )
        assert state.hidden.on_disk == (max_bytes < PLENTY)
        stream = LayerByLayer(
            model=model,
            skeleton=skeleton,
            greedy=score is not None,
            top_k=self.budget.top_k,
            outputs=outputs,
            max_bytes=max_bytes,
        )
        with reading_ahead(model.checkpoint.source, pinned=False) as reader:
            for index in range(stream.end):
                held = reader.take(index, *stream.ahead(index))
                stream.visit(index, held, state)
        assert all(p.is_meta for p in skeleton.model.parameters())  # nothing stays
        return state.routing


def assert_equal(got: Sequence[LayerRouting], want: Sequence[LayerRouting]) -> None:
    for one, other in zip(got, want, strict=True):
        assert one.layer == other.layer
        np.testing.assert_array_equal(one.num_tokens, other.num_tokens)
        np.testing.assert_array_equal(one.picks, other.picks)
        for name in ("mass", "weighted_norms", "token_weighted"):
            a, b = getattr(one, name), getattr(other, name)
            assert (a is None) == (b is None)
            if a is not None:
                np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


@pytest.fixture(params=CHECKPOINTS)
def folder(request: pytest.FixtureRequest, saved: Callable[[str], Path]) -> Path:
    return saved(request.param)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("outputs", [False, True])
def test_one_pass_counts_the_same(folder: Path, dtype: str, outputs: bool) -> None:
    case = Case(folder, dtype, make_batches(EXAMPLES, 2))
    assert_equal(case.streamed(outputs=outputs), case.whole(outputs=outputs))


@pytest.mark.compatibility
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("score", ["frequency", "easy-ep"])
def test_greedy_counts_the_same(folder: Path, dtype: str, score: str) -> None:
    case = Case(folder, dtype, make_batches(EXAMPLES, 2))
    outputs = score == "easy-ep"
    assert_equal(
        case.streamed(score, outputs=outputs), case.whole_greedy(score, outputs=outputs)
    )


def test_a_few_experts_at_a_time_and_states_on_disk_change_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "_CHUNK_BYTES", 1)
    case = Case(folder, "float32", make_batches(EXAMPLES, 2))
    assert_equal(case.streamed(outputs=True, max_bytes=0), case.whole(outputs=True))
    assert_equal(
        case.streamed("reap", outputs=True, max_bytes=0),
        case.whole_greedy("reap", outputs=True),
    )


@pytest.mark.compatibility
@pytest.mark.parametrize("name", SELECTABLE)
def test_goldens_count_the_same(goldens: Path, name: str) -> None:
    golden = Golden(goldens / name)
    case = Case(golden.folder, "float32", golden.batches)
    assert_equal(case.streamed(outputs=True), case.whole(outputs=True))
    assert_equal(
        case.streamed("probability", outputs=False),
        case.whole_greedy("probability", outputs=False),
    )


@pytest.mark.parametrize("name", SELECTABLE)
@pytest.mark.parametrize("keep", ["4", "6", "8"])
def test_streamed_greedy_choice_equals_the_authors(
    goldens: Path, name: str, keep: str
) -> None:
    golden = Golden(goldens / name)
    case = Case(golden.folder, "float32", golden.batches)
    case.budget = resolve_budget(parse_keep(keep), case.limits)
    routing = case.streamed("probability", outputs=False)
    choose = case.choose("probability")
    expected = golden.expected["layerwise"][keep]["experts_kept_per_layer"]
    kept = [list(choose(layer)) for layer in routing]
    assert kept == [layer for layer in expected if layer is not None]


def bytes_besides_experts(model: MoEModel) -> int:
    """Bytes of the layers without experts, and of the embedding's rows that occur."""
    dense = sum(
        t.num_bytes for i in range(model.num_layers) for t in model.dense_tensors(i)
    )
    routers = sum(layer.router_bytes for layer in model.layers)
    embedded = {token for row in EXAMPLES.sequences for token in row} | {0}
    return dense + routers + len(embedded) * 32 * 4  # float32; 0 is padding


@pytest.mark.parametrize("max_bytes", [1, PLENTY])
def test_one_pass_stops_before_the_experts_of_the_last_layer(
    saved: Callable[[str], Path], max_bytes: int
) -> None:
    case = Case(saved("emo"), "float32", make_batches(EXAMPLES, 2))
    model, _ = open_local(str(case.folder))
    before = model.checkpoint.source.bytes_read
    case.streamed(outputs=False, model=model, max_bytes=max_bytes)
    read = model.checkpoint.source.bytes_read - before
    assert read == model.layers[0].expert_bytes + bytes_besides_experts(model)


def test_greedy_reads_the_kept_experts_and_no_others(
    saved: Callable[[str], Path],
) -> None:
    case = Case(saved("emo"), "float32", make_batches(EXAMPLES, 2))
    model, _ = open_local(str(case.folder))
    source = model.checkpoint.source
    assert isinstance(source, FolderSource)
    before = source.bytes_read
    routing = case.streamed("frequency", outputs=False, model=model)
    read = source.bytes_read - before
    choose = case.choose("frequency")
    kept = 0
    for layer, counted in zip(model.layers[:-1], routing, strict=False):
        kept += sum(t.num_bytes for e in choose(counted) for t in layer.experts[e])
    assert read == kept + bytes_besides_experts(model)


def test_greedy_reads_each_expert_once_where_experts_are_the_router(
    saved: Callable[[str], Path],
) -> None:
    case = Case(saved("emoe"), "float32", make_batches(EXAMPLES, 2))
    model, _ = open_local(str(case.folder))
    before = model.checkpoint.source.bytes_read
    case.streamed("easy-ep", outputs=True, model=model)
    read = model.checkpoint.source.bytes_read - before
    experts = sum(layer.expert_bytes for layer in model.layers)
    assert read == experts + bytes_besides_experts(model)
