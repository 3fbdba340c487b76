"""JSON that is deep, or full of digits, ends in a named error wherever it is read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import emo_prune
from emo_prune.errors import (
    BadExamples,
    BadSelection,
    EmoPruneError,
    StaleRun,
    TaskError,
)
from emo_prune.progress import Advance, Silent
from emo_prune.selection import read_scores
from emo_prune.tasks import TaskOptions, calibration_set, parse_task, read_examples

NASTY = {
    "deep lists": "[" * 100_000 + "]" * 100_000,
    "deep objects": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "open lists": "[" * 100_000,
    "5,000 digits": "9" * 5000,
    "400 digits": "9" * 400,
    "400 digits after the point": "0." + "9" * 400 + "e400",
    "no number": "NaN",
}


@pytest.fixture(params=NASTY)
def nasty(request: pytest.FixtureRequest) -> str:
    return NASTY[request.param]


@pytest.fixture(scope="module")
def made(
    saved: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A selection and the scores it was made of, of a model with shared experts."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "texts.txt").write_text("one\n\nand another\n")
    emo_prune.select(
        model=saved("emo"),
        examples=folder / "texts.txt",
        keep=4,
        save_scores=True,
        output=folder,
    )
    return folder


def test_in_a_selection(made: Path, tmp_path: Path, nasty: str) -> None:
    text = (made / "selection.json").read_text()
    assert '"num_tokens": 14' in text
    bad = tmp_path / "selection.json"
    bad.write_text(text.replace('"num_tokens": 14', f'"num_tokens": {nasty}'))
    with pytest.raises(BadSelection) as caught:
        emo_prune.load_selection(bad)
    assert caught.value.hint


def facts_of(scores: Path) -> str:
    with safe_open(scores, framework="np") as file:
        text: str = file.metadata()["emo_prune"]
    return text


def with_facts(scores: Path, text: str, output: Path) -> Path:
    save_file(load_file(scores), output, {"emo_prune": text})
    return output


def test_in_scores(made: Path, tmp_path: Path, nasty: str) -> None:
    scores = made / "scores.safetensors"
    text = facts_of(scores)
    assert '"top_k":3' in text
    text = text.replace('"top_k":3', f'"top_k":{nasty}')
    with pytest.raises(BadSelection) as caught:
        read_scores(with_facts(scores, text, tmp_path / "scores"))
    assert caught.value.hint


@pytest.mark.parametrize("value", [10**90, 2**63, 2**31, 99, 1, 0, -1, 2.5, "3", None])
@pytest.mark.parametrize(
    "key",
    ["num_experts", "obligatory", "num_shared_experts", "top_k", "num_groups",
     "top_k_groups", "group_picks", "layer", "seed", "obligatory twice"],
)  # fmt: skip
def test_limits_that_no_model_has_choose_nothing(
    made: Path, tmp_path: Path, key: str, value: Any
) -> None:
    scores = made / "scores.safetensors"
    facts = json.loads(facts_of(scores))
    limits = facts["limits"]
    limits["group_picks"] = 1 if "group" in key else 0
    if key == "num_experts":
        limits[key]["0"] = value
    elif key == "obligatory":
        limits[key]["0"] = [value]
    elif key == "obligatory twice":
        limits["obligatory"]["0"] = [7, 7]
    elif key == "layer":
        for of_layers in (limits["num_experts"], limits["obligatory"]):
            of_layers[str(value)] = of_layers.pop("0")
    elif key == "seed":
        facts["calibration"]["seed"] = value
    else:
        limits[key] = value
    bad = with_facts(scores, json.dumps(facts), tmp_path / "scores")
    for score in ("frequency", "random"):
        found = chosen_again(bad, score)
        if isinstance(found, EmoPruneError):
            assert found.hint
        else:  # what is written can be read
            assert emo_prune.Selection.from_text(found.to_text(), "again") == found
            assert all(0 <= i < 8 for ids in found.kept.values() for i in ids)


def chosen_again(scores: Path, score: str) -> emo_prune.Selection | EmoPruneError:
    try:
        return emo_prune.reselect(scores, keep=4, score=score)
    except EmoPruneError as refusal:
        return refusal


@pytest.mark.parametrize("value", [-1, 2**62])
@pytest.mark.parametrize("name", ["num_tokens", "picks", "mass"])
def test_counts_that_were_never_counted_are_named(
    made: Path, tmp_path: Path, name: str, value: int
) -> None:
    scores = made / "scores.safetensors"
    arrays = load_file(scores)
    array = arrays[f"layers.1.{name}"]
    array.flat[0] = value if array.dtype == np.int64 else value * 1e90
    bad = tmp_path / "scores"
    save_file(arrays, bad, {"emo_prune": facts_of(scores)})
    with pytest.raises(BadSelection, match=f"layer 1: {name}"):
        read_scores(bad)


class Interrupting(Silent):
    """Interrupts a streamed run within its second layer."""

    @contextmanager
    def track(self, label: str, total: int, unit: str) -> Iterator[Advance]:
        del unit
        told: list[int] = []

        def advance(amount: int) -> None:
            told.append(amount)
            if label == "observing routing" and sum(told) > total // 2:
                raise KeyboardInterrupt

        yield advance


@pytest.fixture(scope="module")
def state(
    saved: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """What an interrupted run leaves: the folder with its examples."""
    folder = tmp_path_factory.mktemp("state")
    (folder / "texts.txt").write_text("one\n\nand another\n")
    with pytest.raises(KeyboardInterrupt):
        go_on(saved("emo"), folder, resume=False, progress=Interrupting())
    assert (folder / "selection.json.resume").is_file()
    return folder


def go_on(model: Path, folder: Path, **options: Any) -> None:
    emo_prune.select(
        model=model,
        examples=folder / "texts.txt",
        keep=4,
        stream=True,
        batch_size=1,
        output=folder,
        **options,
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((key, text) for key in ("done", "notes", "key") for text in NASTY.values()),
        *(("done", text) for text in ("0", "-1", "3", "2", "1.0", "true", '"1"')),
        *((key, text) for key in ("notes", "key") for text in ("[]", "null", "1")),
    ],
    ids=lambda text: text[:10],
)
def test_in_the_state_of_a_run(
    saved: Callable[[str], Path], state: Path, tmp_path: Path, key: str, value: str
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(state, folder)
    file = folder / "selection.json.resume"
    parts = load_file(file)
    facts = json.loads(parts["facts"].tobytes())
    assert facts["done"] == 1
    facts[key] = "here"
    text = json.dumps(facts).replace('"here"', value)
    parts["facts"] = np.frombuffer(text.encode(), np.uint8).copy()
    save_file(parts, file)
    with pytest.raises(StaleRun) as caught:
        go_on(saved("emo"), folder, resume=True)
    assert caught.value.hint
    assert not (folder / "selection.json").exists()


def test_the_state_as_it_was_is_gone_on_from(
    saved: Callable[[str], Path], state: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(state, folder)
    file = folder / "selection.json.resume"
    save_file(load_file(file), file)
    go_on(saved("emo"), folder, resume=True)
    assert (folder / "selection.json").is_file()


def test_in_examples(tmp_path: Path, nasty: str) -> None:
    file = tmp_path / "rows.jsonl"
    for row in (nasty, f'{{"text": {nasty}}}', f'{{"text": "fine", "id": {nasty}}}'):
        file.write_text(f'{{"text": "fine"}}\n{row}\n')
        with pytest.raises(BadExamples, match="line 2") as caught:
            read_examples(file)
        assert caught.value.hint


def test_in_local_data(tmp_path: Path, nasty: str) -> None:
    folder = tmp_path / "data/gsm8k"
    folder.mkdir(parents=True)
    sound = '{"question": "1 + 1?", "answer": "#### 2"}\n'
    for split in ("train", "test"):
        (folder / f"{split}.jsonl").write_text(sound)
    for row in (
        nasty,
        sound.replace('"#### 2"', nasty),
        sound[:-2] + f', "a": {nasty}}}',
    ):
        (folder / "train.jsonl").write_text(sound + row)
        with pytest.raises(TaskError, match="line 2") as caught:
            calibration_set(
                parse_task("gsm8k"), TaskOptions(data_dir=tmp_path / "data")
            )
        assert caught.value.hint
