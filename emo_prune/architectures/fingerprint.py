"""The identity of a checkpoint: cheap to compute, independent of how it is sharded."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator

from emo_prune.architectures.model import MoEModel
from emo_prune.checkpoint import Checkpoint, Tensor, Wanted
from emo_prune.files import canonical_json, digest_of

_SAMPLE_BYTES = 1024
# Written by whoever saved the file last; they say nothing about the function.
_VOLATILE_KEYS = {"_name_or_path", "transformers_version", "torch_dtype", "dtype"}


def fingerprint(model: MoEModel) -> str:
    """Return "sha256:..." over config, tensor table, routers and samples of weights.

    Hashing 28 GB would take longer than exporting an eighth of them. Instead every
    router is hashed whole, and the first 1,024 bytes of every other tensor; of the
    experts, those of the first and last of each layer, so that a checkpoint on the
    Hub can be identified by a few hundred small reads. Checkpoints of the same shape
    differ in these; one in which only experts in the middle were edited does not.
    `verify` compares every byte.
    """
    routers = [tensor for layer in model.layers for tensor in layer.router]
    return _fingerprint(model.checkpoint, _sampled(model), whole=routers)


def dense_fingerprint(checkpoint: Checkpoint) -> str:
    """Return the same of a model without experts: each tensor's first 1,024 bytes."""
    return _fingerprint(checkpoint, checkpoint.tensors.values())


def _fingerprint(
    checkpoint: Checkpoint, sampled: Iterable[Tensor], whole: Iterable[Tensor] = ()
) -> str:
    config = {k: v for k, v in checkpoint.config.items() if k not in _VOLATILE_KEYS}
    table = [
        [tensor.name, tensor.dtype, list(tensor.shape)]
        for tensor in sorted(
            checkpoint.tensors.values(), key=lambda tensor: tensor.name
        )
    ]
    return digest_of(
        [
            canonical_json(config).encode(),
            canonical_json(table).encode(),
            *_samples(checkpoint, sampled, {tensor.name for tensor in whole}),
        ]
    )


def _samples(
    checkpoint: Checkpoint, sampled: Iterable[Tensor], whole: Container[str]
) -> list[bytes]:
    """Read all samples at once: a source may join and overlap the reads."""
    samples: list[bytearray] = []
    wanted = []
    for tensor in sorted(sampled, key=lambda tensor: tensor.name):
        length = tensor.num_bytes
        if tensor.name not in whole:
            length = min(length, _SAMPLE_BYTES)
        samples.append(bytearray(length))
        wanted.append(Wanted(tensor.shard, tensor.start, memoryview(samples[-1])))
    checkpoint.source.fill(wanted)
    return [bytes(sample) for sample in samples]


def _sampled(model: MoEModel) -> Iterator[Tensor]:
    yield from model.other
    for layer in model.layers:
        yield from layer.router
        yield from layer.stacked
        if layer.experts:
            yield from layer.experts[0]
            yield from layer.experts[-1]
