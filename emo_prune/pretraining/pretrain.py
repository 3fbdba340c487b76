"""Pretrain: from a recipe and text to a checkpoint that the rest of the road takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from emo_prune.errors import BadRecipe
from emo_prune.pretraining import Recipe, Variant
from emo_prune.progress import Progress

_TOKENIZER_BYTES = 200_000_000  # of the corpus; more text hardly changes the merges


def default_cache() -> Path:
    """Return where tokens are kept unless a place is given."""
    import platformdirs

    return platformdirs.user_cache_path("emo-prune") / "tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainRequest:
    """What to train.

    data: files, folders, patterns or names of datasets, as `open_corpus` takes them.
    recipe: as the variant wants it (`for_variant`).
    output: the checkpoint's folder; the training in progress is beside it, in
        `OUTPUT.run`.
    tokenizer: a checkpoint folder whose tokenizer to use; None trains one.
    initialise_from: a checkpoint whose weights to begin with, of variant emo-anneal.
    cache: where the tokens are kept.
    trackers: tensorboard, wandb; None takes what is installed.
    """

    data: tuple[str, ...]
    recipe: Recipe
    variant: Variant
    output: Path
    tokenizer: Path | None = None
    initialise_from: Path | None = None
    cache: Path = field(default_factory=default_cache)
    resume: bool = False
    force: bool = False
    use_cpu: bool = False
    fsdp: bool = False
    trackers: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pretrained:
    """A finished training: its folder, and the value of its emo_prune.json."""

    output: Path
    record: dict[str, Any]


def pretrain(request: PretrainRequest, progress: Progress) -> Pretrained:
    """Train a model and write it; under `torchrun`, in all processes together.

    Raises:
        PretrainingError: recipe, text or an interrupted training cannot be used.
        OutputExists: there is something in the output's place.
        NotEnoughDisk, ExportError: the result cannot be written.
    """
    from accelerate import PartialState

    from emo_prune.models.loading import quiet_transformers
    from emo_prune.pretraining.run_folder import RunFolder

    _check(request)
    state = PartialState(cpu=request.use_cpu)
    run = RunFolder(request.output.with_name(request.output.name + ".run"))
    if state.is_main_process:
        run.begin(resume=request.resume, force=request.force)
    state.wait_for_everyone()
    try:
        with state.main_process_first():
            tokenizer = _tokenizer(request, run, progress)
            cache = _tokens(request, tokenizer, progress)
        training = _Training(request, run, tokenizer, cache, state.num_processes)
        if state.is_main_process:
            run.claim(training.identity())
        state.wait_for_everyone()
        with quiet_transformers():
            return training.run(progress, is_main=state.is_main_process)
    finally:
        run.release()


def _check(request: PretrainRequest) -> None:
    from emo_prune.exports import PRETRAINED, check_destination

    anneals = request.variant == "emo-anneal"
    if anneals != (request.initialise_from is not None):
        raise BadRecipe(
            "annealing begins with a trained model, and nothing else does",
            where="--init-from",
            got=request.initialise_from,
            expected="a checkpoint folder" if anneals else "nothing",
            hint="give --init-from DIR together with --variant emo-anneal",
        )
    recipe = request.recipe
    if recipe.main_steps + recipe.anneal_steps == 0:
        raise BadRecipe(
            "there is nothing to train",
            where="tokens, anneal_tokens",
            got=f"{recipe.tokens:,} and {recipe.anneal_tokens:,}",
            expected=f"{recipe.tokens_per_step:,} or more together, a step's worth",
            hint="give more with --tokens or --set anneal_tokens=NUMBER",
        )
    check_destination(None, request.output, force=request.force, kind=PRETRAINED)


def _tokenizer(request: PretrainRequest, run: Any, progress: Progress) -> Any:
    from emo_prune.models.loading import load_tokenizer
    from emo_prune.pretraining.documents import open_corpus
    from emo_prune.pretraining.tokenizer import train_tokenizer

    if not run.tokenizer.exists():
        source = request.tokenizer or request.initialise_from
        if source is not None:
            tokenizer = load_tokenizer(source)
        else:
            corpus = open_corpus(request.data)
            every = -(-corpus.size() // _TOKENIZER_BYTES) or 1
            texts = (document.text for document in islice(corpus, 0, None, every))
            progress.say(
                f"training a tokenizer of {request.recipe.vocab_size:,} tokens"
            )
            tokenizer = train_tokenizer(texts, request.recipe.vocab_size)
        tokenizer.save_pretrained(run.tokenizer)
    tokenizer = load_tokenizer(run.tokenizer)  # always the one that is written
    return _checked_tokenizer(tokenizer, request.recipe)


def _checked_tokenizer(tokenizer: Any, recipe: Recipe) -> Any:
    if len(tokenizer) > recipe.vocab_size:
        raise BadRecipe(
            "the tokenizer has more tokens than the model has rows for",
            where="vocab_size",
            got=f"{len(tokenizer):,} tokens",
            expected=f"{recipe.vocab_size:,} at most",
            hint=f"--set vocab_size={-(-len(tokenizer) // 64) * 64}",
        )
    if tokenizer.eos_token_id is None:
        raise BadRecipe(
            "the tokenizer has no end-of-text token, which goes between documents",
            where="--tokenizer",
            expected="eos_token in tokenizer_config.json",
            hint="add it, or leave --tokenizer out to train one",
        )
    return tokenizer


def _tokens(request: PretrainRequest, tokenizer: Any, progress: Progress) -> Any:
    from emo_prune.pretraining.documents import open_corpus
    from emo_prune.pretraining.token_cache import tokenized

    size = open_corpus(request.data).size()
    with progress.track("tokens", size, "bytes") as advance:
        return tokenized(request.data, tokenizer, request.cache, advance)


class _Training:
    """Everything that one training is made of."""

    def __init__(
        self,
        request: PretrainRequest,
        run: Any,
        tokenizer: Any,
        cache: Any,
        num_processes: int,
    ) -> None:
        from emo_prune.pretraining.arguments import training_arguments

        self.request = request
        self.folder = run
        self.tokenizer = tokenizer
        self.cache = cache
        self.initialised_from = _fingerprint(request.initialise_from)
        self.arguments = training_arguments(
            request.recipe,
            run.path,
            num_processes=num_processes,
            use_cpu=request.use_cpu,
            fsdp=request.fsdp,
            trackers=None if request.trackers is None else list(request.trackers),
        )

    def identity(self) -> dict[str, Any]:
        """Return what decides the outcome."""
        return {
            "schema": "emo-prune/run/1",
            "variant": self.request.variant,
            "recipe": asdict(self.request.recipe),
            "tokens_sha256": self.cache.meta["tokens_sha256"],
            "tokenizer": self.cache.meta["tokenizer"],
            "initialised_from": self.initialised_from,
        }

    def run(self, progress: Progress, *, is_main: bool) -> Pretrained:
        from emo_prune.pretraining.publish import publish_model
        from emo_prune.pretraining.trainer import MetricsFile, PoolTrainer

        recipe = self.request.recipe
        trainer = PoolTrainer(self._model(), recipe, self.arguments, self._windows())
        trainer.add_callback(MetricsFile(self.folder.metrics, recipe.tokens_per_step))
        checkpoint = self.folder.last_checkpoint()
        done = int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0
        if checkpoint:
            progress.say(f"going on after step {done:,}")
        steps = self.arguments.max_steps
        tokens = (steps - done) * recipe.tokens_per_step
        with progress.track(f"training {self.request.variant}", tokens, "tokens") as go:
            trainer.add_callback(_progress(recipe, steps, progress, go))
            trainer.train(
                resume_from_checkpoint=str(checkpoint) if checkpoint else None
            )
        state = trainer.accelerator.get_state_dict(trainer.model_wrapped)
        record = self._record(trainer.state.global_step)
        if is_main:
            publish_model(
                trainer.accelerator.unwrap_model(trainer.model_wrapped),
                state,
                self.tokenizer,
                record,
                self.request.output,
                force=self.request.force,
            )
        trainer.accelerator.wait_for_everyone()
        trainer.accelerator.end_training()
        return Pretrained(output=self.request.output, record=record.to_json())

    def _model(self) -> Any:
        from emo_prune.pretraining.model import build_model, continued_model

        recipe, start = self.request.recipe, self.request.initialise_from
        if start is not None:
            model = continued_model(start, recipe)
        else:
            model = build_model(recipe, self.request.variant, self.tokenizer)
        if self.request.variant != "dense":
            model.set_experts_implementation(recipe.experts_implementation)
        return model

    def _windows(self) -> Any:
        from emo_prune.pretraining.windows import PoolSizes, Windows

        recipe = self.request.recipe
        pools = None
        if self.request.variant in ("emo", "emo-anneal"):
            pools = PoolSizes(
                least=recipe.pool_min,
                most=recipe.pool_max,
                num_layers=recipe.num_hidden_layers,
            )
        return Windows(
            self.cache,
            length=recipe.sequence_length,
            eos_token_id=self.tokenizer.eos_token_id,
            seed=recipe.data_seed,
            total=self.arguments.max_steps * recipe.batch_size,
            pools=pools,
        )

    def _record(self, steps: int) -> Any:
        from emo_prune.pretraining.publish import PretrainRecord

        return PretrainRecord(
            variant=self.request.variant,
            recipe=self.request.recipe,
            data=self.cache.meta,
            initialised_from=self.initialised_from,
            steps=steps,
            losses=self.folder.rows(),
        )


def _fingerprint(folder: Path | None) -> str | None:
    from emo_prune.architectures.opening import open_local

    return None if folder is None else open_local(str(folder))[1]


def _progress(
    recipe: Recipe, steps: int, progress: Progress, advance: Callable[[int], None]
) -> Any:
    """Return a callback that tells of steps, and now and then of the loss."""
    from transformers import TrainerCallback

    class Progress(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, _args: Any, _state: Any, _control: Any, **_: Any) -> None:
            advance(recipe.tokens_per_step)

        def on_log(
            self, _args: Any, state: Any, _control: Any, logs: Any = None, **_: Any
        ) -> None:
            if logs and "grad_norm" in logs:
                progress.say(
                    f"step {state.global_step:,} of {steps:,}: loss {logs['loss']:.3f}"
                )

    return Progress()
