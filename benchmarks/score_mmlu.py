"""Score a few MMLU questions, by emo-prune or by lm-eval's hf backend; print JSON.

    python benchmarks/score_mmlu.py MODEL --way ours --limit 10

Both ways get the same five-shot requests, built before the clock starts; tokenising
them is part of the time, loading the model is not.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lm_eval.models.huggingface import HFLM

from emo_prune.evaluation.language_model import PrefixSharingLM
from emo_prune.models.loading import load_model, load_tokenizer
from emo_prune.tasks import TaskOptions, evaluation_set, parse_task, quiet


def build(tasks: Sequence[str], data_dir: Path | None, limit: int) -> list[Any]:
    """Return the requests, four of a question."""
    found = []
    for name in tasks:
        options = TaskOptions(data_dir=data_dir)
        for part in evaluation_set(parse_task(name), options, limit).tasks:
            part.task.build_all_requests(limit=limit)
            found += part.task.instances
    return found


def backend(way: str, model: Any, folder: Path, batch_size: int | None) -> Any:
    """Return what scores."""
    tokenizer = load_tokenizer(folder)
    if way == "ours":
        return PrefixSharingLM(model, tokenizer, batch_size=batch_size)
    return HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch_size)


def main(arguments: Sequence[str] | None = None) -> int:
    """Score; print the seconds, the number of questions and each answer."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--way", choices=("ours", "lm_eval"), required=True)
    parser.add_argument("--batch-size", type=int, help="of lm_eval")
    parser.add_argument("--tasks", nargs="+", default=["engineering"])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--limit", type=int, default=10)
    options = parser.parse_args(arguments)
    with quiet():
        requests = build(options.tasks, options.data_dir, options.limit)
        model = load_model(options.model, device="cpu")
        lm = backend(options.way, model, options.model, options.batch_size)
        began = time.perf_counter()
        answers = lm.loglikelihood(requests, disable_tqdm=True)
        seconds = time.perf_counter() - began
    print(
        json.dumps(
            {
                "seconds": seconds,
                "questions": len(requests) // 4,
                "parameters": sum(part.numel() for part in model.parameters()),
                "answers": answers,
            }
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
