"""`pretrain`: from a recipe and text to a checkpoint that all other verbs take."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from emo_prune.errors import BadRecipe, Parameter, SettingsError, Worded
from emo_prune.exports import PRETRAINED, check_destination, resolved
from emo_prune.facts import PRETRAINING
from emo_prune.files import versions
from emo_prune.options import PretrainOptions, several, verb
from emo_prune.places import refuse_no_text
from emo_prune.pretraining.document import PretrainRecord, TrainingIdentity
from emo_prune.pretraining.documents import open_corpus
from emo_prune.pretraining.recipe import Recipe, recipe_of
from emo_prune.pretraining.run_folder import RunFolder
from emo_prune.pretraining.tokenizer import check_vocab_size, prepared_tokenizer
from emo_prune.progress import Interruptible
from emo_prune.routing import current_ranks, say_imports

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from emo_prune.pretraining.token_cache import TokenCache
    from emo_prune.pretraining.trainer import PoolTrainer

TRACKERS = ("tensorboard", "wandb")
_POINTS = 200  # of the loss curve, at most


@dataclass(frozen=True, slots=True)
class Pretrained:
    """A finished training: its checkpoint's folder, and what emo_prune.json says."""

    path: Path
    record: PretrainRecord

    def __repr__(self) -> str:
        return f"Pretrained({str(self.path)!r}, {self.record!r})"


@verb(PretrainOptions)
def pretrain(options: PretrainOptions) -> Pretrained:
    """Train a model by the EMO recipe and write it: documents share pools of experts.

    The checkpoint's folder appears when all is done; the training in progress is beside
    it, in `OUTPUT.run`. Under `torchrun` all processes train together, and the first
    one writes.

    Source: arXiv 2605.06663.

    Raises:
        PretrainingError: recipe, text or an interrupted training cannot be used.
        OutputExists: there is something in the output's place.
        NotEnoughDisk, ExportError: the result cannot be written.
    """
    recipe = recipe_of(options)
    _check(options, recipe)
    output = Path(options.output)
    check_destination(None, output, force=options.force, kind=PRETRAINED)
    refuse_no_text(output, ("give another folder as ", Parameter("output")))
    open_corpus(_data(options))
    named = output if output.name not in ("", "..") else resolved(output)
    run = RunFolder(named.with_name(named.name + ".run"))
    if current_ranks().rank == 0:  # others may come when it has begun
        run.refuse(resume=options.resume, force=options.force)
    options.progress.say(_what_it_takes(options, recipe))
    say_imports(options.progress)

    from accelerate import PartialState

    from emo_prune.models.loading import quiet_transformers

    state = PartialState(cpu=options.device == "cpu")
    if state.is_main_process:
        run.begin(resume=options.resume)
    state.wait_for_everyone()
    try:
        with state.main_process_first():
            tokenizer = prepared_tokenizer(
                options, _data(options), recipe.vocab_size, run.tokenizer
            )
            cache = _tokens(options, tokenizer)
        training = _Training(options, recipe, run, tokenizer, cache)
        if state.is_main_process:
            run.claim(training.identity)
        state.wait_for_everyone()
        with quiet_transformers():
            record = training.run(state.num_processes, is_main=state.is_main_process)
    finally:
        run.release()
    return Pretrained(output, record)


def _check(options: PretrainOptions, recipe: Recipe) -> None:
    if recipe.main_steps + recipe.anneal_steps == 0:
        raise BadRecipe(
            "there is nothing to train",
            where="tokens, anneal_tokens",
            got=f"{recipe.tokens:,} and {recipe.anneal_tokens:,}",
            expected=f"{recipe.tokens_per_step:,} or more together, a step's worth",
            hint=(
                *("give more with ", Parameter("tokens"), " or "),
                Parameter("settings", "anneal_tokens=NUMBER"),
            ),
        )
    _check_processes(options, recipe)
    if options.tokenizer is None and options.init_from is None:
        check_vocab_size(recipe.vocab_size)
    for name in ("init_from", "tokenizer"):
        folder = getattr(options, name)
        if folder is not None and not Path(folder).is_dir():
            raise SettingsError(
                "there is no such folder",
                where=Parameter(name),
                got=folder,
                hint="check its name",
            )
    trackers: tuple[str, ...] = several(options.track)
    for tracker in trackers:
        if tracker not in (*TRACKERS, "none"):
            raise SettingsError(
                "there is no such tracker",
                where=Parameter("track"),
                got=f"{tracker!r:.200}",
                expected=" or ".join((*TRACKERS, "none")),
                hint=("try ", Parameter("track", "none")),
            )
        if tracker != "none" and find_spec(tracker) is None:
            raise SettingsError(
                "the tracker is not installed",
                where=Parameter("track"),
                got=tracker,
                hint=(f"pip install {tracker}, or give ", Parameter("track", "none")),
            )


def _check_processes(options: PretrainOptions, recipe: Recipe) -> None:
    number = current_ranks().size
    if options.fsdp and number == 1:
        raise SettingsError(
            "there is nothing to shard the model over",
            where=Parameter("fsdp", True),
            got="1 process",
            expected="several processes, with a GPU each",
            hint=(
                "start it by torchrun on a machine with GPUs, or leave out ",
                Parameter("fsdp", True),
            ),
        )
    at_once = recipe.micro_batch_size * number
    if recipe.batch_size % at_once:
        raise BadRecipe(
            "the batch cannot be divided among the processes",
            where="batch_size",
            got=recipe.batch_size,
            expected=f"a multiple of {at_once} ({number} processes x micro_batch_size)",
            hint=(
                *("change ", Parameter("settings", "batch_size=SIZE"), " or "),
                Parameter("settings", "micro_batch_size=SIZE"),
            ),
        )


def _what_it_takes(options: PretrainOptions, recipe: Recipe) -> str:
    """Say how long the whole training is: the annealing comes on top of `tokens`."""
    main, anneal, size = recipe.main_steps, recipe.anneal_steps, recipe.tokens_per_step
    parts = [f"{main:,} steps ({main * size:,} tokens)"] if main else []
    if anneal:
        parts.append(f"{anneal:,} ({anneal * size:,} tokens) of annealing")
    return (
        f"to train {options.variant}: {main + anneal:,} steps, "
        f"{(main + anneal) * size:,} tokens: {', then '.join(parts)}"
    )


def _data(options: PretrainOptions) -> list[str]:
    sources: tuple[str | Path, ...] = several(options.data)
    return [str(source) for source in sources]


def _tokens(options: PretrainOptions, tokenizer: PreTrainedTokenizerBase) -> TokenCache:
    from emo_prune.pretraining.token_cache import default_folder, tokenized

    data = _data(options)
    folder = Path(options.token_cache or default_folder())
    size = open_corpus(data).size()
    with options.progress.track("tokens", size, "bytes") as advance:
        return tokenized(data, tokenizer, folder, advance)


class _Training:
    """Everything that one training is made of."""

    def __init__(
        self,
        options: PretrainOptions,
        recipe: Recipe,
        run: RunFolder,
        tokenizer: PreTrainedTokenizerBase,
        cache: TokenCache,
    ) -> None:
        self._options = options
        self._recipe = recipe
        self._folder = run
        self._tokenizer = tokenizer
        self._cache = cache
        start = options.init_from
        self._start = None if start is None else Path(start)
        self.identity = TrainingIdentity(
            variant=options.variant,
            recipe=recipe,
            tokens_sha256=cache.meta.tokens_sha256,
            tokenizer=cache.meta.tokenizer,
            initialised_from=_fingerprint(self._start),
        )

    def run(self, num_processes: int, *, is_main: bool) -> PretrainRecord:
        """Train, from the last checkpoint if there is one; the first process writes."""
        import torch

        from emo_prune.pretraining.model import publish_model
        from emo_prune.pretraining.trainer import Notes, named_failures

        recipe = self._recipe
        trainer = self._trainer(num_processes)
        checkpoint = self._folder.last_checkpoint()
        done = 0 if checkpoint is None else self._folder.steps(checkpoint)
        if done:
            self._options.progress.say(f"going on after step {done:,}")
        tokens = (trainer.args.max_steps - done) * recipe.tokens_per_step
        label = f"training {self._options.variant}"
        with (
            self._saying_what_is_kept(trainer, is_main=is_main),
            named_failures(self._folder, trainer),
        ):
            with (
                Interruptible(self._options.progress) as progress,
                progress.track(label, tokens, "tokens") as advance,
            ):
                trainer.add_callback(Notes(self._folder, recipe, progress, advance))
                trainer.train(
                    resume_from_checkpoint=str(checkpoint) if checkpoint else None
                )
            state = trainer.accelerator.get_state_dict(trainer.model_wrapped)
            record = self._record(trainer)
            if is_main:
                publish_model(
                    trainer.accelerator.unwrap_model(trainer.model_wrapped),
                    state,
                    self._tokenizer,
                    record,
                    Path(self._options.output),
                    dtype=getattr(torch, recipe.save_dtype),
                    force=self._options.force,
                )
        trainer.accelerator.wait_for_everyone()
        trainer.accelerator.end_training()
        return record

    @contextlib.contextmanager
    def _saying_what_is_kept(
        self, trainer: PoolTrainer, *, is_main: bool
    ) -> Iterator[None]:
        """Say, whatever ends the block but its end, what is kept and how to go on."""
        try:
            yield
        except BaseException:
            if is_main:
                self._options.progress.say(self._what_is_kept(trainer))
            raise

    def _what_is_kept(self, trainer: PoolTrainer) -> Worded:
        checkpoint = self._folder.last_checkpoint()
        kept = 0 if checkpoint is None else self._folder.steps(checkpoint)
        done = max(trainer.state.global_step, kept)
        what = f"the checkpoint of step {kept:,}" if kept else "no checkpoint yet"
        if done > kept:
            what += f", so that {done - kept:,} steps are lost"
        return Worded(
            f"stopped after step {done:,} of {trainer.args.max_steps:,}: ",
            f"{self._folder.path} holds {what}; ",
            *(Parameter("resume", True), " goes on"),
        )

    def _trainer(self, num_processes: int) -> PoolTrainer:
        from emo_prune.pretraining.model import model_to_train
        from emo_prune.pretraining.trainer import PoolTrainer, training_arguments
        from emo_prune.pretraining.windows import PoolSizes, Windows

        options, recipe = self._options, self._recipe
        arguments = training_arguments(
            recipe,
            self._folder.path,
            num_processes=num_processes,
            use_cpu=options.device == "cpu",
            fsdp=options.fsdp,
            trackers=_trackers(options),
        )
        pools = None
        if options.variant in ("emo", "emo-anneal"):
            pools = PoolSizes(
                least=recipe.pool_min,
                most=recipe.pool_max,
                num_layers=recipe.num_hidden_layers,
            )
        windows = Windows(
            self._cache,
            length=recipe.sequence_length,
            eos_token_id=self._tokenizer.eos_token_id,
            seed=recipe.data_seed,
            total=arguments.max_steps * recipe.batch_size,
            pools=pools,
        )
        options.progress.say("making the model")
        model = model_to_train(recipe, options.variant, self._tokenizer, self._start)
        return PoolTrainer(model, recipe, arguments, windows)

    def _record(self, trainer: PoolTrainer) -> PretrainRecord:
        from emo_prune.pretraining.trainer import metrics

        steps = trainer.state.global_step
        rows = metrics(trainer.state.log_history, self._recipe.tokens_per_step)
        every = -(-len(rows) // _POINTS) or 1
        schedule = ("step", "tokens", "learning_rate")
        last = rows[-1] if rows else {}
        return PretrainRecord(
            variant=self._options.variant,
            recipe=asdict(self._recipe),
            data=self._cache.meta,
            initialised_from=self.identity.initialised_from,
            steps=steps,
            tokens=steps * self._recipe.tokens_per_step,
            final={key: last[key] for key in last if key not in schedule},
            loss_by_step=tuple(
                (int(row["step"]), row["loss"]) for row in rows[every - 1 :: every]
            ),
            versions=versions(*PRETRAINING),
        )


def _trackers(options: PretrainOptions) -> list[str]:
    """Return who is told of metrics: those that were named, or that are installed."""
    if options.track is None:
        return [name for name in TRACKERS if find_spec(name)]
    named: tuple[str, ...] = several(options.track)
    return [name for name in named if name != "none"]


def _fingerprint(folder: Path | None) -> str | None:
    from emo_prune.architectures.opening import open_local

    return None if folder is None else open_local(str(folder))[1]
