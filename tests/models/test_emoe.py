"""EMoE as transformers uses it: the dense model at k = N, gradients, caches, files."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModel, AutoModelForCausalLM, Trainer, TrainingArguments

from emo_prune.errors import BadConfig
from emo_prune.models import EmoeConfig, EmoeForCausalLM
from emo_prune.models.carved_layer import EmoeGate
from emo_prune.models.transformers_private import checkpointing_argument
from tests.models.conftest import read_tensors
from tests.tiny_emoe import DENSE_TYPES, WIDTH, carve_folder, dense_model
from tests.tiny_models import NUM_EXPERTS, checkpoint_activations

DENSE: dict[str, tuple[str, dict[str, Any]]] = {
    **{model_type: (model_type, {}) for model_type in DENSE_TYPES},
    "llama with biases": ("llama", {"mlp_bias": True, "attention_bias": True}),
    "llama with tied embeddings": ("llama", {"tie_word_embeddings": True}),
    "mistral with a window": ("mistral", {"sliding_window": 6}),
    "gpt2 with a head of its own": ("gpt2", {"tie_word_embeddings": False}),
}
KERNELS = ("grouped_mm", "batched_mm", "eager")
Dense = Callable[[str], Path]


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Dense:
    """Return the folder of one of the dense models."""

    @cache
    def folder(name: str) -> Path:
        model_type, changes = DENSE[name]
        saved = tmp_path_factory.mktemp("dense") / model_type
        dense_model(model_type, **changes).save_pretrained(saved)
        return saved

    return folder


def sources(name: str) -> tuple[str, ...]:
    return ("gate", "inter") if name.startswith("gpt2") else ("gate", "up", "inter")


def loaded(folder: Path, **changes: Any) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, **changes)


@pytest.mark.compatibility
@pytest.mark.parametrize("name", DENSE)
def test_with_all_experts_it_is_the_dense_model(
    dense: Dense, tmp_path: Path, tokens: Tensor, name: str
) -> None:
    expected = loaded(dense(name))(tokens).logits
    for source in sources(name):
        folder = tmp_path / source
        carve_folder(dense(name), folder, top_k=NUM_EXPERTS, gate_source=source)
        for kernel in KERNELS:
            logits = loaded(folder, experts_implementation=kernel)(tokens).logits
            torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_with_all_experts_it_is_the_dense_model_in_float64(
    dense: Dense, tmp_path: Path, tokens: Tensor, name: str
) -> None:
    expected = loaded(dense(name)).double()(tokens).logits
    folder = carve_folder(dense(name), tmp_path / "emoe", top_k=NUM_EXPERTS)
    for kernel in ("grouped_mm", "eager"):
        logits = loaded(folder, experts_implementation=kernel).double()(tokens).logits
        torch.testing.assert_close(logits, expected, atol=1e-12, rtol=1e-12)


@pytest.mark.compatibility
@pytest.mark.parametrize("name", DENSE)
def test_with_all_experts_it_writes_what_the_dense_model_writes(
    dense: Dense, tmp_path: Path, tokens: Tensor, name: str
) -> None:
    carve_folder(dense(name), tmp_path / "emoe", top_k=NUM_EXPERTS)
    mask = torch.ones_like(tokens)
    mask[1, :3] = 0
    written = [
        loaded(folder).generate(
            tokens,
            attention_mask=mask,
            max_new_tokens=8,
            min_new_tokens=8,
            do_sample=False,
            use_cache=use_cache,
        )
        for folder in (dense(name), tmp_path / "emoe")
        for use_cache in (True, False)
    ]
    assert written[0].shape == (2, 20)
    assert all(torch.equal(written[0], other) for other in written[1:])


@pytest.mark.compatibility
@pytest.mark.parametrize("name", DENSE)
def test_saving_writes_the_tensors_that_were_loaded(
    dense: Dense, tmp_path: Path, name: str
) -> None:
    folder = carve_folder(dense(name), tmp_path / "emoe")
    model, info = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values())
    model.save_pretrained(tmp_path / "again")
    loaded(tmp_path / "again").save_pretrained(tmp_path / "twice")
    before = read_tensors(folder)
    for copy in ("again", "twice"):
        after = read_tensors(tmp_path / copy)
        assert set(after) == set(before)
        for tensor_name, tensor in before.items():
            assert tensor.dtype == after[tensor_name].dtype
            assert torch.equal(tensor, after[tensor_name])


@pytest.mark.compatibility
@pytest.mark.parametrize(
    ("name", "source"),
    [(n, s) for n in ("llama with biases", "gpt2") for s in sources(n)],
)
def test_only_the_picked_experts_are_summed(
    dense: Dense, tmp_path: Path, tokens: Tensor, name: str, source: str
) -> None:
    folder = carve_folder(dense(name), tmp_path / "emoe", top_k=3, gate_source=source)
    model, whole = loaded(folder), loaded(dense(name))
    seen: list[Tensor] = []
    first = model.base_model.get_submodule(_block(name))
    first.register_forward_hook(lambda _, args, out: seen.extend((args[0], out)))
    first.gate.register_forward_hook(lambda _, __, out: seen.append(out[2]))
    model(tokens)
    ids, hidden, out = seen
    expected = _by_hand(whole.base_model.get_submodule(_block(name)), hidden, source)
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-5)
    assert ids.shape == (24, 3)


def _block(name: str) -> str:
    return "h.0.mlp" if name.startswith("gpt2") else "layers.0.mlp"


def _by_hand(mlp: Any, hidden: Tensor, source: str) -> Tensor:
    """A dense FFN with the activations of all but the picked experts at zero."""
    if hasattr(mlp, "gate_proj"):
        inter = mlp.act_fn(mlp.gate_proj(hidden)) * mlp.up_proj(hidden)
        rows = {"gate": mlp.gate_proj.weight, "up": mlp.up_proj.weight}
        last = mlp.down_proj
    else:
        inter = mlp.act(mlp.c_fc(hidden))
        rows = {"gate": mlp.c_fc.weight.T}
        last = mlp.c_proj
    # the split of `scattered`: neuron i belongs to expert i modulo the experts
    of_expert = torch.arange(inter.shape[-1]) % NUM_EXPERTS
    per_neuron = inter if source == "inter" else hidden @ rows[source].T
    scores = torch.stack(
        [per_neuron[..., of_expert == e].mean(-1) for e in range(NUM_EXPERTS)], dim=-1
    )
    picked = torch.zeros_like(scores).scatter(-1, scores.topk(3).indices, 1.0)
    out: Tensor = last(inter * picked[..., of_expert])
    return out


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", ["llama", "llama with biases", "gpt2"])
def test_gradients_reach_the_picked_experts_alone(
    dense: Dense, tmp_path: Path, tokens: Tensor, name: str, kernel: str
) -> None:
    model = loaded(carve_folder(dense(name), tmp_path / "emoe", top_k=1)).train()
    model.set_experts_implementation(kernel)
    block = model.base_model.get_submodule(_block(name))
    seen: list[Tensor] = []
    block.experts.register_forward_pre_hook(lambda _, args: seen.append(args[1]))
    model(tokens[:1, :3]).logits.square().mean().backward()
    chosen = set(seen[0].flatten().tolist())
    assert len(chosen) < NUM_EXPERTS
    for parameter in block.experts.parameters():
        moved = parameter.grad.flatten(1).abs().sum(1).nonzero().flatten().tolist()
        assert set(moved) == chosen
    assert list(block.gate.parameters()) == []


def test_gradients_at_all_experts_are_the_dense_ones(
    dense: Dense, tmp_path: Path, tokens: Tensor
) -> None:
    folder = carve_folder(dense("llama"), tmp_path / "emoe", top_k=NUM_EXPERTS)
    model, whole = loaded(folder), loaded(dense("llama"))
    for one in (model, whole):
        one(tokens, labels=tokens).loss.backward()
    expected = whole.model.layers[0].mlp.down_proj.weight.grad
    experts = model.model.layers[0].mlp.experts
    for expert, neurons in enumerate(experts.neurons.long()):
        torch.testing.assert_close(
            experts.down_proj.grad[expert], expected[:, neurons], atol=1e-5, rtol=1e-4
        )


@pytest.mark.compatibility
@pytest.mark.parametrize("name", ["qwen3", "gpt2"])
def test_gradient_checkpointing_changes_no_gradient(
    dense: Dense, tmp_path: Path, tokens: Tensor, name: str
) -> None:
    changes = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
    folder = carve_folder(dense(name), tmp_path / "emoe")
    gradients = []
    for checkpointing in (False, True):
        settings = {"dense_config": changes} if name == "gpt2" else {}
        model = loaded(folder, **settings).train()
        if checkpointing:
            checkpoint_activations(model)
        out = model(tokens, labels=tokens, use_cache=False, output_router_logits=True)
        out.loss.backward()
        assert [tuple(scores.shape) for scores in out.router_logits] == [(24, 8)] * 2
        gradients.append({n: p.grad for n, p in model.named_parameters()})
    torch.testing.assert_close(*gradients)


def test_the_gate_follows_the_keys(
    dense: Dense, tmp_path: Path, tokens: Tensor
) -> None:
    model = loaded(carve_folder(dense("llama"), tmp_path / "emoe"))
    gate, experts = model.routers[0], model.model.layers[0].mlp.experts
    hidden = torch.randn(5, 32, generator=torch.Generator().manual_seed(0))
    before = gate(hidden, experts)[0]
    experts.gate_up_proj.data.mul_(2)  # data: as some optimisers write
    torch.testing.assert_close(gate(hidden, experts)[0], 2 * before)
    assert not gate(hidden.requires_grad_(), experts)[0].requires_grad


def test_the_gate_reads_the_experts_that_are_in_the_block(
    dense: Dense, tmp_path: Path, tokens: Tensor
) -> None:
    model = loaded(carve_folder(dense("llama"), tmp_path / "emoe"))
    before = model(tokens, output_router_logits=True).router_logits[0]
    other = deepcopy(model)
    block = other.model.layers[0].mlp
    block.experts = deepcopy(block.experts)  # as wrappers put themselves there
    block.experts.gate_up_proj.data.mul_(2)
    doubled = other(tokens, output_router_logits=True).router_logits[0]
    torch.testing.assert_close(doubled, 2 * before)
    after = model(tokens, output_router_logits=True).router_logits[0]
    assert torch.equal(after, before)


def test_another_choice_of_experts_is_a_subclass_of_the_gate(
    dense: Dense, tmp_path: Path, tokens: Tensor
) -> None:
    class Bottom(EmoeGate):
        def pick(self, scores: Tensor) -> Tensor:
            return (-scores).topk(self.top_k, dim=-1).indices

    model = loaded(carve_folder(dense("llama"), tmp_path / "emoe"))
    usual = model(tokens).logits
    for layer in (model.model.layers[0], model.model.layers[2]):
        layer.mlp.gate = Bottom(model.config)
    assert (model(tokens).logits - usual).abs().max() > 1e-2


def test_fewer_experts_a_token_are_a_keyword(dense: Dense, tmp_path: Path) -> None:
    folder = carve_folder(dense("llama"), tmp_path / "emoe", top_k=2)
    model = loaded(folder, num_experts_per_tok=4)
    assert [router.top_k for router in model.routers] == [4, 4]
    for wrong in (0, NUM_EXPERTS + 1):
        with pytest.raises(BadConfig, match="num_experts_per_tok"):
            loaded(folder, num_experts_per_tok=wrong)


def test_the_number_of_experts_a_token_is_the_config_s_at_any_time(
    dense: Dense, tmp_path: Path, tokens: Tensor
) -> None:
    model = loaded(carve_folder(dense("llama"), tmp_path / "emoe", top_k=2))
    model.config.num_experts_per_tok = NUM_EXPERTS
    torch.testing.assert_close(
        model(tokens).logits, loaded(dense("llama"))(tokens).logits
    )
    model.save_pretrained(tmp_path / "again")
    again = loaded(tmp_path / "again")
    assert [router.top_k for router in again.routers] == [NUM_EXPERTS] * 2
    for wrong in (0, -1, NUM_EXPERTS + 1):
        again.config.num_experts_per_tok = wrong
        with pytest.raises(BadConfig, match="num_experts_per_tok"):
            again(tokens)


def test_a_gate_may_overrule_the_config_in_its_layer(
    dense: Dense, tmp_path: Path
) -> None:
    model = loaded(carve_folder(dense("llama"), tmp_path / "emoe", top_k=2))
    first, last = model.routers
    first.top_k = 3
    assert (first.top_k, last.top_k, model.config.num_experts_per_tok) == (3, 2, 2)
    first.top_k = 2  # as it was: the config's again
    model.config.num_experts_per_tok = 5
    assert (first.top_k, last.top_k) == (5, 5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@pytest.mark.parametrize(
    ("name", "source"), [("llama", "gate"), ("llama", "up"), ("gpt2", "gate")]
)
def test_experts_are_picked_by_float32_scores(
    dense: Dense, tmp_path: Path, name: str, source: str, dtype: torch.dtype
) -> None:
    folder = carve_folder(dense(name), tmp_path / "emoe", top_k=3, gate_source=source)
    model = loaded(folder, dtype=dtype)
    block = model.base_model.get_submodule(_block(name))
    seen: list[Any] = []
    block.gate.register_forward_hook(lambda _, args, out: seen.extend((args[0], out)))
    generator = torch.Generator().manual_seed(0)
    out = model(torch.randint(1, 200, (8, 12), generator=generator))
    hidden, (scores, weights, ids) = seen
    assert {hidden.dtype, weights.dtype, out.logits.dtype} == {dtype}
    assert block.experts.neurons.dtype == torch.int32
    expected = hidden.float() @ _mean_keys(block.experts, source).T
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=1e-5)
    assert torch.equal(ids, expected.topk(3).indices)


def _mean_keys(experts: Any, source: str) -> Tensor:
    """Average an expert's keys in float32: [experts, hidden]."""
    if not hasattr(experts, "gate_up_proj"):
        return experts.c_fc.float().mean(2)  # type: ignore[no-any-return]
    half = slice(experts.size) if source == "gate" else slice(experts.size, None)
    return experts.gate_up_proj[:, half].float().mean(1)  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_bfloat16_is_the_dense_model_s_up_to_rounding(
    dense: Dense, tmp_path: Path, tokens: Tensor, name: str
) -> None:
    folder = carve_folder(dense(name), tmp_path / "emoe", top_k=NUM_EXPERTS)
    model, whole = (loaded(f, dtype=torch.bfloat16) for f in (folder, dense(name)))
    found, expected = model(tokens).logits, whole(tokens).logits
    assert (found - expected).norm() < 0.05 * expected.norm()


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("source", ["gate", "inter"])
@pytest.mark.parametrize("name", ["llama with biases", "gpt2"])
def test_mixed_precision_trains_with_scores_in_float32(
    dense: Dense, tmp_path: Path, tokens: Tensor, name: str, source: str, kernel: str
) -> None:
    folder = carve_folder(dense(name), tmp_path / "emoe", gate_source=source)
    model = loaded(folder).train()
    model.set_experts_implementation(kernel)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = model(tokens, labels=tokens, output_router_logits=True)
    assert {scores.dtype for scores in out.router_logits} == {torch.float32}
    out.loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.compatibility
def test_transformers_trainer_trains_it(dense: Dense, tmp_path: Path) -> None:
    model = loaded(carve_folder(dense("llama"), tmp_path / "emoe"))
    rows = [{"input_ids": [1, 2, 3, 4], "labels": [1, 2, 3, 4]}] * 8
    arguments = TrainingArguments(
        output_dir=str(tmp_path / "out"),
        per_device_train_batch_size=4,
        num_train_epochs=5,
        learning_rate=1e-2,
        logging_steps=2,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        **{checkpointing_argument(): True},
    )
    trainer = Trainer(model=model, args=arguments, train_dataset=rows)
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    assert losses[-1] < losses[0] / 2
    trainer.save_model(tmp_path / "trained")
    assert set(read_tensors(tmp_path / "trained")) == set(
        read_tensors(tmp_path / "emoe")
    )


def test_hidden_states_and_attentions_are_the_decoders(
    dense: Dense, tmp_path: Path, tokens: Tensor
) -> None:
    folder = carve_folder(dense("llama"), tmp_path / "emoe")
    model = loaded(folder, attn_implementation="eager")
    out = model(tokens, output_hidden_states=True, output_attentions=True)
    assert [tuple(h.shape) for h in out.hidden_states] == [(2, 12, 32)] * 4
    assert [tuple(a.shape) for a in out.attentions] == [(2, 4, 12, 12)] * 3
    assert out.router_logits is None
    body = AutoModel.from_pretrained(folder)
    states = body(tokens, output_router_logits=True)
    torch.testing.assert_close(states.last_hidden_state, out.hidden_states[-1])
    assert len(states.router_logits) == 2


def test_experts_of_any_width_can_be_run(tmp_path: Path, tokens: Tensor) -> None:
    dense_model("llama", intermediate_size=24).save_pretrained(tmp_path / "dense")
    split = [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11], list(range(12, 15))]
    split += [list(range(start, start + 3)) for start in (15, 18, 21)]
    carve_folder(tmp_path / "dense", tmp_path / "emoe", split=split, top_k=8)
    torch.testing.assert_close(
        loaded(tmp_path / "emoe")(tokens).logits,
        loaded(tmp_path / "dense")(tokens).logits,
        atol=1e-5,
        rtol=1e-5,
    )


def test_a_model_made_from_nothing_has_experts_of_the_usual_scale() -> None:
    config = EmoeConfig(
        dense_config={"model_type": "llama", "hidden_size": 64, "vocab_size": 99,
                      "intermediate_size": 128, "num_hidden_layers": 2,
                      "num_attention_heads": 4},
        carved_layers=[1],
        num_experts=8,
        num_experts_per_tok=2,
    )  # fmt: skip
    model = EmoeForCausalLM(config)
    experts = model.model.layers[1].mlp.experts
    assert experts.size == 16
    for weights in (experts.gate_up_proj, experts.down_proj):
        assert 0.018 < float(weights.detach().std()) < 0.022
    assert experts.neurons.flatten().tolist() == list(range(128))


@pytest.mark.compatibility
@pytest.mark.parametrize("name", ["llama with biases", "gpt2"])
def test_experts_that_a_checkpoint_lacks_are_made_anew(
    dense: Dense, tmp_path: Path, name: str
) -> None:
    folder = carve_folder(dense(name), tmp_path / "emoe")
    tensors = load_file(folder / "model.safetensors")
    lost = {n for n in tensors if f"{_block(name)}." in n}
    kept = {n: tensor for n, tensor in tensors.items() if n not in lost}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    model = loaded(folder)
    block = model.base_model.get_submodule(_block(name))
    assert block.experts.neurons.flatten().tolist() == list(range(WIDTH))
    assert len(list(block.parameters())) == 4
    for parameter in block.parameters():
        spread = 0.2 if parameter.dim() == 3 else 0.0  # `dense_model`'s, and biases
        assert float(parameter.detach().std()) == pytest.approx(spread, rel=0.1)
    model.save_pretrained(tmp_path / "again")
    saved = load_file(tmp_path / "again" / "model.safetensors")
    assert set(saved) == set(tensors)
    assert all(torch.equal(saved[n], tensor) for n, tensor in kept.items())


@pytest.mark.compatibility
@pytest.mark.parametrize("name", ["llama", "gpt2"])
@pytest.mark.parametrize(
    "asked",
    [
        {"output_hidden_states": True},
        {"output_attentions": True},
        {"use_cache": False},
        {"use_cache": True},
    ],
)
def test_what_the_decoder_returns_is_asked_for_as_of_the_dense_model(
    dense: Dense, tmp_path: Path, tokens: Tensor, name: str, asked: dict[str, bool]
) -> None:
    carve_folder(dense(name), tmp_path / "emoe")
    for set_later in (False, True):
        found = []
        for folder in (dense(name), tmp_path / "emoe"):
            model = loaded(folder, **({} if set_later else asked))
            if set_later:
                model.set_attn_implementation("eager")
                for key, value in asked.items():
                    setattr(model.config, key, value)
            found.append(_returned(model(tokens)))
        assert found[0] == found[1]


def _returned(out: Any) -> list[bool]:
    parts = (out.hidden_states, out.attentions, out.past_key_values)
    return [part is not None for part in parts]


def test_settings_of_the_dense_model_are_keywords(dense: Dense, tmp_path: Path) -> None:
    folder = carve_folder(dense("llama"), tmp_path / "emoe")
    rope = {"rope_type": "default", "rope_theta": 77.0}
    model = loaded(folder, attention_dropout=0.25, rope_parameters=rope)
    assert model.model.layers[1].self_attn.attention_dropout == 0.25
    assert model.model.rotary_emb.config.rope_parameters["rope_theta"] == 77.0
    with pytest.raises(TypeError, match="no_such_setting"):
        loaded(folder, no_such_setting=1)


def test_resizing_the_embeddings_is_saved(dense: Dense, tmp_path: Path) -> None:
    model = loaded(carve_folder(dense("llama"), tmp_path / "emoe"))
    model.resize_token_embeddings(300, mean_resizing=False)
    model.save_pretrained(tmp_path / "again")
    saved = json.loads((tmp_path / "again" / "config.json").read_text())
    assert saved["vocab_size"] == saved["dense_config"]["vocab_size"] == 300
    assert loaded(tmp_path / "again").lm_head.out_features == 300


@pytest.mark.compatibility
@pytest.mark.parametrize("name", DENSE_TYPES)
def test_it_can_do_what_the_dense_model_can(
    dense: Dense, tmp_path: Path, name: str
) -> None:
    model = loaded(carve_folder(dense(name), tmp_path / "emoe"))
    for flag in (
        "_can_compile_fullgraph",
        "_supports_attention_backend",
        "_supports_flash_attn",
        "_supports_flex_attn",
        "_supports_sdpa",
    ):
        assert getattr(model, flag) == getattr(loaded(dense(name)), flag)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_it_is_compiled_as_one_graph(
    dense: Dense, tmp_path: Path, tokens: Tensor, name: str, kernel: str
) -> None:
    folder = carve_folder(dense(name), tmp_path / "emoe", top_k=3)
    model = loaded(folder, experts_implementation=kernel)
    torch.compiler.reset()
    with torch.no_grad():
        compiled: Any = torch.compile(model, fullgraph=True, backend="eager")
        torch.testing.assert_close(compiled(tokens).logits, model(tokens).logits)
