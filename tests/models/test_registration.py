"""The Auto classes know the models, whichever package is imported first."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from lm_eval.models.huggingface import HFLM
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, pipeline
from transformers.utils import logging

from emo_prune.models import EmoConfig, EmoeConfig, EmoeForCausalLM, EmoForCausalLM

REPOSITORY = Path(__file__).resolve().parents[2]


def run(code: str, *arguments: object) -> None:
    """Run Python in a fresh process, with warnings as errors."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        cwd=REPOSITORY,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.compatibility
def test_importing_the_package_imports_neither_torch_nor_transformers() -> None:
    run(
        "import sys, emo_prune, emo_prune.models\n"
        "dir(emo_prune)\n"
        "heavy = {'torch', 'transformers', 'numpy', 'lm_eval'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "try: emo_prune.nothing\n"
        "except AttributeError: pass\n"
    )


LOAD = (
    "\nmodel = AutoModelForCausalLM.from_pretrained(sys.argv[1])\n"
    "assert type(model).__module__ == 'emo_prune.models.emo', type(model)\n"
    "assert isinstance(model, emo_prune.EmoForCausalLM)\n"
)

ORDERS = {
    "ours first": "import sys, emo_prune\n"
    "from transformers import AutoModelForCausalLM",
    "ours last": "import sys\nfrom transformers import AutoModelForCausalLM\n"
    "import emo_prune",
    "config kept from before": "import sys, emo_prune\n"
    "from transformers import AutoConfig\n"
    "config = AutoConfig.from_pretrained(sys.argv[1])\n"
    "assert type(config) is emo_prune.EmoConfig\n"
    "assert type(AutoConfig.for_model('emo')) is emo_prune.EmoConfig\n"
    "assert 'emo_prune.models.emo' not in sys.modules\n"
    "from transformers import AutoModelForCausalLM\n"
    "AutoModelForCausalLM.from_config(config)",
    "neither asked for": "import sys, emo_prune\n"
    "from transformers import AutoConfig, AutoModelForCausalLM\n"
    "found = {n for n in sys.modules if n.startswith('emo_prune.models.')}\n"
    "light = {'registration', 'transformers_private'}\n"
    "assert found == {f'emo_prune.models.{n}' for n in light}, found",
    # imports the table of models halfway through what our models are built from
    "another model first": "import sys, emo_prune\n"
    "from transformers import FlexOlmoForCausalLM, AutoModelForCausalLM",
}


@pytest.mark.parametrize(
    "order",
    [
        pytest.param("ours last", marks=pytest.mark.compatibility),
        *(order for order in ORDERS if order != "ours last"),
    ],
)
def test_every_order_of_imports_works(goldens: Path, order: str) -> None:
    run(ORDERS[order] + LOAD, goldens / "emo_shared1")


@pytest.mark.compatibility
def test_copies_of_the_tables_know_them_too() -> None:
    copied = copy.deepcopy(MODEL_FOR_CAUSAL_LM_MAPPING)
    assert copied[EmoConfig] is EmoForCausalLM
    assert copied[EmoeConfig] is EmoeForCausalLM


@pytest.mark.compatibility
def test_pipelines_and_lm_eval_know_the_models(
    goldens: Path, saved: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    logging.enable_propagation()
    ours = [goldens / "emo_shared1", goldens / "dense_prenorm", saved("emoe")]
    for folder in map(str, ours):
        lm = HFLM(pretrained=folder, device="cpu", batch_size=1)
        assert lm.backend == "causal"
        generate = pipeline("text-generation", model=folder, max_new_tokens=2)
        assert generate("abc")[0]["generated_text"].startswith("abc")
    logging.disable_propagation()
    assert "neither marked" not in caplog.text
    assert "not supported" not in caplog.text
