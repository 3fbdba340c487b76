"""Time `emo-prune export` against `cp` of its output, and against loading it all.

    python benchmarks/export.py -o benchmarks/results/export.json

Everything is measured in one run, on a checkpoint of the released EMO shape that is
made first (`--layers`), or on one that is there (`--checkpoint`).
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.command_line import (
    Document,
    Row,
    check_same_tensors,
    emo_prune,
    figures,
    finish,
    make_model,
    note,
    parser,
    script,
    work_folder,
)
from benchmarks.measurement import (
    Run,
    budget,
    folder_bytes,
    machine,
    read_json,
    read_through,
    run,
    summary,
    touch_memory,
    versions,
)

KEEP = "12.5%"
AT_MOST_CP = 1.5
AT_MOST_RSS = 300_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Workbench:
    """The files of a benchmark, and the commands that are timed on them.

    `exported` is the output that `cp` copies; what a timed run writes is removed.
    """

    folder: Path
    model: Path
    exports: list[Run] = field(default_factory=list)
    dry_runs: list[Run] = field(default_factory=list)
    copies: list[Run] = field(default_factory=list)

    @property
    def selection(self) -> Path:
        """The selection, experts drawn at random."""
        return self.folder / "selection.json"

    @property
    def exported(self) -> Path:
        """The export that stays."""
        return self.folder / "exported"

    @property
    def sliced(self) -> Path:
        """The output of loading it all."""
        return self.folder / "sliced"

    def export(self, output: Path, *flags: str) -> Run:
        """Run the real command."""
        command: list[str | Path] = [emo_prune(), "export", *flags]
        command += ["--selection", self.selection, "--model", self.model]
        return run("export", [*command, "-o", output], self.folder / "cache")

    def copy(self, output: Path) -> Run:
        """Copy the export that stays."""
        command: list[str | Path] = ["cp", "-r", self.exported, output]
        return run("cp", command, self.folder / "cache")

    def load_all(self) -> Run:
        """Do it without the tool."""
        command = [*script("load_all"), self.model, "--selection", self.selection]
        return run("load all", [*command, "-o", self.sliced], self.folder / "cache")


def measure(options: argparse.Namespace) -> Document:
    """Return the document of one benchmark."""
    with work_folder(options) as folder:
        model = options.checkpoint or make_model(folder, options.layers)
        bench = Workbench(folder=folder, model=model)
        command = [*script("random_selection"), model, "--keep", KEEP]
        run("selection", [*command, "-o", bench.selection], folder / "cache")
        before = machine()
        time_alternately(bench, options.repeat)
        loaded = None if options.skip_load_all else time_load_all(bench)
        document = describe(bench, loaded, before)
        if loaded is not None:
            document["load_all"]["same_tensors"] = check_same_tensors(
                bench.exported, bench.sliced
            )
        return document


def time_alternately(bench: Workbench, repeat: int) -> None:
    """Time export and cp in turns, each first every other time.

    The first export and the first copy are not counted: they bring the source and the
    programs into memory. The copy's source is in memory too, since it was just written.
    """
    note("warming up")
    bench.export(bench.exported)
    bench.copy(bench.folder / "warm")
    shutil.rmtree(bench.folder / "warm")
    turns = [time_export, time_copy]
    for number in range(repeat):
        for turn in turns if number % 2 == 0 else reversed(turns):
            os.sync()  # nobody pays for what an earlier run left to be flushed
            touch_memory(2 * folder_bytes(bench.exported), bench.folder / "cache")
            turn(bench)
        note(
            f"{number + 1}/{repeat}: export {bench.exports[-1].wall_s:.2f} s, "
            f"cp {bench.copies[-1].wall_s:.2f} s"
        )


def time_export(bench: Workbench) -> None:
    """Time an export, and after it one that writes nothing."""
    output = bench.folder / "timed"
    bench.exports.append(bench.export(output))
    bench.dry_runs.append(bench.export(bench.folder / "dry", "--dry-run"))
    shutil.rmtree(output)


def time_copy(bench: Workbench) -> None:
    """Time a copy."""
    output = bench.folder / "timed"
    bench.copies.append(bench.copy(output))
    shutil.rmtree(output)


def time_load_all(bench: Workbench) -> Run:
    """Time loading, slicing and saving, the whole source read just before."""
    note("loading it all")
    for file in sorted(bench.model.iterdir()):
        read_through(file)
    os.sync()
    return bench.load_all()


def describe(bench: Workbench, loaded: Run | None, before: Document) -> Document:
    """Return what was measured."""
    config = read_json(bench.exported / "config.json")
    export, copy = summary(bench.exports), summary(bench.copies)
    dry_run = summary(bench.dry_runs)
    ratio = export["wall_s"] / copy["wall_s"]
    written = folder_bytes(bench.exported)
    document: Document = {
        "schema": "emo-prune/benchmark-export/1",
        "layers": config["num_hidden_layers"],
        "kept_experts": config["num_experts"],
        "source_bytes": folder_bytes(bench.model),
        "export": {"bytes_written": written, **export},
        "dry_run": dry_run,
        "without_startup": {"wall_s": round(export["wall_s"] - dry_run["wall_s"], 4)},
        "cp": copy,
        "ratios": {
            "export_to_cp": round(ratio, 3),
            "export_to_cp_by_pair": round(paired_ratio(bench), 3),
        },
        "budgets": {
            "export wall, in cp of its output": budget(ratio, AT_MOST_CP),
            "export peak RSS, bytes": budget(export["peak_rss_bytes"], AT_MOST_RSS),
        },
        "machine": {**before, "load_average_after": machine()["load_average"]},
        "versions": versions(),
    }
    if loaded is not None:
        document["load_all"] = summary([loaded])
        times = loaded.wall_s / export["wall_s"]
        document["ratios"]["load_all_to_export"] = round(times, 3)
    return document


def paired_ratio(bench: Workbench) -> float:
    """Return the median of export to cp within each turn: what drifts cancels."""
    pairs = zip(bench.exports, bench.copies, strict=True)
    return statistics.median(export.wall_s / copy.wall_s for export, copy in pairs)


def rows(document: Document) -> list[Row]:
    """Return the table."""
    found: list[Row] = [("", "wall", "processor", "peak RSS")]
    for name in ("export", "dry_run", "cp", "load_all"):
        if name in document:
            found.append(figures(name, document[name]))
    limits = [
        (name, f"{facts['got']:.4g}", "at most", f"{facts['at_most']:.4g}")
        for name, facts in document["budgets"].items()
    ]
    return [*found, *limits]


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, measure, print."""
    made = parser(__doc__, repeat=5, layers=2)
    made.add_argument("--checkpoint", type=Path, help="a checkpoint that is there")
    made.add_argument("--skip-load-all", action="store_true", help="it needs memory")
    options = made.parse_args(arguments)
    if options.repeat < 1:
        made.error("--repeat must be at least 1")
    if options.checkpoint and not options.checkpoint.is_dir():
        made.error(f"--checkpoint: there is no folder {options.checkpoint}")
    return finish(measure, rows, options)


if __name__ == "__main__":
    sys.exit(main())
