"""Fill the marked parts of README.md and docs/ from what was run and measured.

python benchmarks/readme.py              # figures, tables and architectures
python benchmarks/readme.py --quickstart # and run the quickstart for its output
"""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from emo_prune.architectures import ARCHITECTURES

BENCHMARKS = Path(__file__).resolve().parent
sys.path += [str(BENCHMARKS / "modularity"), str(BENCHMARKS / "emoe")]

from emoe_tables import (  # noqa: E402
    carving_table,
    finetuning_table,
    kept_share_table,
    modularity_table,
    top_k_table,
)
from findings import findings  # noqa: E402
from tables import cost_table, routing_table  # noqa: E402

README = BENCHMARKS.parent / "README.md"
MODULARITY = BENCHMARKS.parent / "docs" / "modularity.md"
PRETRAINING = BENCHMARKS.parent / "docs" / "pretraining.md"
COSTS = BENCHMARKS.parent / "docs" / "costs.md"
EMOE = BENCHMARKS.parent / "docs" / "emoe.md"


def main() -> None:
    """Rewrite the marked parts."""
    for page, parts in pages().items():
        if page == README and "--quickstart" in sys.argv[1:]:
            parts["quickstart"] = quickstart()
        page.write_text(filled(page.read_text("utf-8"), parts), "utf-8")


def pages() -> dict[Path, dict[str, str]]:
    """Return what each page's marked parts should say."""
    costs, routing = _read("modularity.json"), _read("modularity-routing.json")
    measured = _read("emoe.json")
    return {
        README: {
            "costs": costs_in_short(),
            "architectures": architectures(),
        },
        COSTS: {"figures": figures()},
        MODULARITY: {
            "findings": findings(costs, routing),
            "cost": cost_table(costs),
            "routing": routing_table(routing),
        },
        PRETRAINING: {"speed": speed(), "worlds": worlds()},
        EMOE: {
            "carve": carving_table(_read("carve.json")),
            "modularity": modularity_table(measured),
            "top-k": top_k_table(measured),
            "kept-share": kept_share_table(measured),
            "finetuning": finetuning_table(_read("emoe-finetune.json")),
        },
    }


def filled(text: str, parts: dict[str, str]) -> str:
    """Return a text with its marked parts replaced."""
    for name, part in parts.items():
        text = fill(text, name, part)
    return text


def fill(text: str, name: str, part: str) -> str:
    """Return a text with one marked part replaced."""
    marked = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    return marked.sub(lambda found: f"{found[1]}{part}\n{found[2]}", text)


def costs_in_short() -> str:
    """Return the figure of each benchmark that matters most, as a list."""
    export, deep = _read("export.json"), _read("extract-16.json")
    scored, started = _read("eval.json"), _read("startup.json")
    ours, copy = export["export"], export["cp"]
    speedups = [facts["speedup"] for facts in scored["models"].values()]
    run = deep["extract"]
    return f"""\
- `export` of {_gb(ours["bytes_written"])}: {ours["wall_s"]:.2f} s and
  {_mb(ours["peak_rss_bytes"])} of memory, where `cp` takes {copy["wall_s"]:.2f} s.
- `extract` from a checkpoint of {_gb(deep["source_bytes"])}: {run["wall_s"]:.0f} s and
  {_gb(run["peak_rss_bytes"])} of memory; it reads {_gb(run["bytes_read"])}.
- `eval` of five-shot MMLU: {min(speedups):.1f} to {max(speedups):.1f} times as fast as
  lm-eval's `hf` backend, with the same numbers.
- `--help` starts in {started["help"]["wall_s"]:.1f} s, `inspect` in
  {started["inspect"]["wall_s"]:.1f} s."""


def figures() -> str:
    """Return the tables of the benchmarks."""
    export, startup = _read("export.json"), _read("startup.json")
    size = export["export"]["bytes_written"] / 1e9
    source = export["source_bytes"] / 1e9
    kept, layers = export["kept_experts"], export["layers"]
    cores = export["machine"]["cores"]
    meta = "the same facts through transformers, on the meta device"
    return f"""\
Writing {kept} of 128 experts of a {layers}-layer checkpoint of the EMO shape
({source:.2f} GB in, {size:.2f} GB out), on {cores} cores:

| | wall | peak memory |
|---|---|---|
{_row("`emo-prune export`", export["export"])}
{_row("`cp -r` of the same output", export["cp"])}
{_row("load all, slice, `save_pretrained`", export["load_all"])}

{extraction()}

{scoring()}

Starting up, on a checkpoint of {startup["layers"]} layers and 128 experts:

| | wall | peak memory |
|---|---|---|
{_row("`emo-prune --help`", startup["help"])}
{_row("`emo-prune inspect`", startup["inspect"])}
{_row(meta, startup["transformers"])}

From [benchmarks/](../benchmarks/): medians; their JSON is in `benchmarks/results/`."""


def extraction() -> str:
    """Return the table of the extract benchmark and what it says of bytes."""
    runs = [_read(f"extract{name}.json") for name in ("", "-4", "-16")]
    remote, deep = _read("remote.json"), runs[-1]
    first, second = remote["tasks"].values()
    tokens, imports = runs[0]["calibration_tokens"], runs[0]["imports"]["wall_s"]
    headings = ["layers", "checkpoint", "`emo-prune extract`"]
    headings += ["`select --greedy` in memory, `export`", "plain transformers"]
    rows = [headings, ["---"] * len(headings), *map(_depth, runs)]
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    read, needed = deep["extract"]["bytes_read"], deep["ratios"]["bytes_read_to_needed"]
    return f"""\
Choosing them too, greedily, on {tokens} tokens; the last column loads all, observes
layer by layer with early exit, slices and saves:

{table}

Importing torch and transformers is {imports:.1f} s of each. At {deep["layers"]} layers
`extract` read {_gb(read)} of {_gb(deep["source_bytes"])}, {needed:.3f} times what the
result is made of. From a Hub (a server on loopback) with {_gb(remote["source_bytes"])}
it moved {_gb(_moved(first))} for a result of {_gb(first["result_bytes"])}, and
{_gb(_moved(second))} for a second task with the same cache."""


def scoring() -> str:
    """Return the table of the scoring benchmark."""
    found = _read("eval.json")
    questions = {facts["questions"] for facts in found["models"].values()}
    lines = ["| | `emo-prune eval` | lm-eval, `hf` backend | |", "|---|---|---|---|"]
    for name, facts in found["models"].items():
        ours = facts["ours"]["questions_per_s"]
        theirs = facts["lm_eval_hf"]["questions_per_s"]
        title = f"{name}, {facts['parameters'] / 1e6:.0f} M parameters"
        cells = f"{ours:.2f} | {theirs:.2f} | {facts['speedup']:.1f} times"
        lines.append(f"| {title} | {cells} |")
    machine = found["machine"]
    threads = int(machine["omp_num_threads"] or machine["cores"])
    off = max(facts["max_abs_loglik_diff"] for facts in found["models"].values())
    table = "\n".join(lines)
    return f"""\
Scoring five-shot MMLU, {max(questions)} questions of three subjects, in questions a
second on {threads} thread{"s" * (threads > 1)} (log-likelihoods differ by less than
{10 ** math.ceil(math.log10(off)):.0e}):

{table}"""


def _depth(run: dict[str, Any]) -> list[str]:
    """Return a row of the table of depths."""
    ways = (run.get(name) for name in ("extract", "in_memory", "load_all"))
    cells = [
        f"{facts['wall_s']:.1f} s, {_gb(facts['peak_rss_bytes'])}"
        if facts
        else "does not fit"
        for facts in ways
    ]
    return [str(run["layers"]), _gb(run["source_bytes"]), *cells]


def _mb(num_bytes: float) -> str:
    return f"{num_bytes / 1e6:.0f} MB"


def _gb(num_bytes: float) -> str:
    return f"{num_bytes / 1e9:.2f} GB"


def _moved(task: dict[str, Any]) -> int:
    return int(task["shard_bytes_moved"] + task["other_bytes_moved"])


def speed() -> str:
    """Return what pools cost in time."""
    found = _read("pretrain.json")
    emo, standard = (found["ways"][way]["tokens_per_s"] for way in ("emo", "standard"))
    return f"""\
With pools {emo:,} tokens a second, without {standard:,}, which is
{found["ratios"]["emo_to_standard_tokens_per_s"]:.2f} of the speed (recipe tiny-cpu,
{found["machine"]["cores"]} cores; `benchmarks/pretrain.py`)."""


def worlds() -> str:
    """Return what the checkpoints of the package know."""
    models = _read("worlds.json")["models"]
    kinds = {
        "full": "whole",
        "subset": "its own eighth",
        "other": "another world's",
        "random": "random",
    }
    lines = [f"| | {' | '.join(kinds.values())} |", "|---" * (len(kinds) + 1) + "|"]
    for name, label in (("emo", "EMO"), ("standard", "standard MoE")):
        cells = (f"{models[name]['mean'][kind]:.1f} %" for kind in kinds)
        lines.append(f"| {label} | {' | '.join(cells)} |")
    return "\n".join(lines)


def architectures() -> str:
    """Return the supported model types."""
    return ", ".join(f"`{model_type}`" for model_type in ARCHITECTURES) + "."


def quickstart() -> str:
    """Run the quickstart and return what it prints, as a block."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, "-m", "emo_prune", "quickstart"],
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        )
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    return "```console\n" + "\n".join(lines) + "\n```"


def _read(name: str) -> dict[str, Any]:
    text = (BENCHMARKS / "results" / name).read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text)
    return document


def _row(name: str, facts: dict[str, Any]) -> str:
    peak = facts["peak_rss_bytes"] / 1e6
    return f"| {name} | {facts['wall_s']:.2f} s | {peak:,.0f} MB |"


if __name__ == "__main__":
    main()
