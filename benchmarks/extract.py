"""Time `emo-prune extract` against doing the same with all weights in memory.

    python benchmarks/extract.py -o benchmarks/results/extract.json

Everything is measured in one run, on a checkpoint of the released EMO shape that is
made first (`--layers`), or on one that is there (`--checkpoint`).
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.command_line import (
    Document,
    Row,
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
    BenchmarkError,
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

KEEP = 16
AT_MOST_SHARE = 0.2
AT_MOST_RSS = 1_500_000_000
AT_MOST_READ = 1.1
TOUCHED = 4_000_000_000
TEXTS = (  # some 300 bytes, and so tokens, in all
    "The ferry to Orsund leaves at nine, unless the harbour master has overslept.",
    "A pail of seven plums, less the two that rolled away, still feeds five goats.",
    "def tally(beans): return {pod: len(peas) for pod, peas in sorted(beans.items())}",
    "Whoever winds the tower clock of Lemmingford must first feed the clock's owl.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workbench:
    """The files of a benchmark, and the commands that are timed on them.

    Of the outputs of extract one stays, for others to be compared with.
    """

    folder: Path
    model: Path
    cold: bool
    runs: dict[str, list[Run]] = field(default_factory=dict)

    @property
    def examples(self) -> Path:
        """The calibration texts."""
        return self.folder / "examples.jsonl"

    @property
    def extracted(self) -> Path:
        """The output of extract that stays."""
        return self.folder / "extracted"

    @property
    def exported(self) -> Path:
        """The output of select and export."""
        return self.folder / "exported"

    @property
    def sliced(self) -> Path:
        """The output of loading it all."""
        return self.folder / "sliced"

    def extract(self, output: Path) -> Run:
        """Run the real command."""
        command: list[str | Path] = [emo_prune(), "extract", *self._choice(), "--json"]
        return self._run("extract", [*command, "-o", output])

    def in_memory(self) -> Run:
        """Do it with the tool, the model loaded whole: select, then export."""
        folder = self.folder / "selected"
        command: list[str | Path] = [emo_prune(), "select", "--greedy", "--no-stream"]
        selected = self._run("select", [*command, *self._choice(), "-o", folder])
        command = [emo_prune(), "export", "--selection", folder / "selection.json"]
        command += ["--model", self.model, "-o", self.exported]
        return in_sequence(selected, self._run("export", command))

    def load_all(self) -> Run:
        """Do it without the tool."""
        command = [*script("greedy_load_all"), self.model, "--keep", str(KEEP)]
        command += ["--examples", self.examples, "-o", self.sliced]
        return self._run("load all", command)

    def imports(self) -> Run:
        """Do what all three begin with: import torch and the model's classes."""
        code = "import emo_prune.models.loading, emo_prune.models.emo"
        return self._run("imports", [sys.executable, "-c", code])

    def _choice(self) -> list[str | Path]:
        options: list[str | Path] = ["--model", self.model, "--examples", self.examples]
        return [*options, "--keep", str(KEEP), "--score", "probability"]

    def _run(self, step: str, command: Sequence[str | Path]) -> Run:
        return run(step, command, self.folder / "cache")


def in_sequence(first: Run, second: Run) -> Run:
    """Return two runs, one after the other, as one."""
    return Run(
        wall_s=first.wall_s + second.wall_s,
        cpu_s=first.cpu_s + second.cpu_s,
        peak_rss_bytes=max(first.peak_rss_bytes, second.peak_rss_bytes),
        stdout=second.stdout,
        stderr=second.stderr,
    )


def measure(options: argparse.Namespace) -> Document:
    """Return the document of one benchmark."""
    with work_folder(options) as folder:
        model = options.checkpoint or make_model(folder, options.layers)
        cold = options.cold or not fits(model)
        bench = Workbench(folder=folder, model=model, cold=cold)
        lines = [json.dumps({"text": text}) + "\n" for text in TEXTS]
        bench.examples.write_text("".join(lines), encoding="utf-8")
        before = machine()
        time_in_turns(bench, options.repeat, alone=options.only_extract)
        if not options.only_extract:
            check_same_files(bench.extracted, bench.exported)
        return describe(bench, before)


def time_in_turns(bench: Workbench, repeat: int, *, alone: bool) -> None:
    """Time extract `repeat` times and, between its runs, each other way once.

    The first extract is not counted: it brings the programs into memory.
    """
    note("warming up")
    prepare(bench)
    bench.extract(bench.extracted)
    for name in turns(repeat, alone=alone):
        prepare(bench)
        ways = {
            "extract": lambda: time_extract(bench),
            "in_memory": bench.in_memory,
            "load_all": bench.load_all,
            "imports": bench.imports,
        }
        done = ways[name]()
        bench.runs.setdefault(name, []).append(done)
        note(f"{name}: {done.wall_s:.2f} s, {done.peak_rss_bytes / 1e6:,.0f} MB")


def turns(repeat: int, *, alone: bool) -> Iterator[str]:
    """Yield what is to be run, in order."""
    others = ["imports"] if alone else ["in_memory", "load_all", "imports"]
    for _ in range(repeat):
        yield "extract"
        yield from others[:1]
        others = others[1:]
    yield from others


def prepare(bench: Workbench) -> None:
    """Bring memory and source into the state that every timed run starts from.

    The source is read into memory, unless it is to be cold. Then nothing of it is left
    there, or else what an earlier run read would be there for the next.
    """
    os.sync()  # nobody pays for what an earlier run left to be flushed
    touch_memory(min(folder_bytes(bench.model), TOUCHED), bench.folder / "cache")
    bring = forget if bench.cold else read_through
    for name in sorted(file_names(bench.model)):
        bring(bench.model / name)


def fits(model: Path) -> bool:
    """Say whether a source and the memory of a process that loads it fit."""
    return 2 * folder_bytes(model) <= int(machine()["memory_bytes"])


def forget(file: Path) -> None:
    """Drop a file from the page cache, where the system can."""
    if hasattr(os, "posix_fadvise"):
        with file.open("rb") as opened:
            os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def time_extract(bench: Workbench) -> Run:
    """Time an extract and remove what it wrote."""
    output = bench.folder / "timed" / "checkpoint"
    done = bench.extract(output)
    shutil.rmtree(output.parent)
    return done


def check_same_files(folder: Path, other: Path) -> None:
    """Check that two folders hold the same files, byte for byte.

    Raises:
        BenchmarkError: they do not, so that their times cannot be compared.
    """
    note("comparing the outputs")
    names, others = file_names(folder), file_names(other)
    if names != others:
        raise BenchmarkError(
            "extract and export wrote different files: "
            + ", ".join(sorted(names ^ others))
        )
    for name in sorted(names):
        if not filecmp.cmp(folder / name, other / name, shallow=False):
            raise BenchmarkError(f"extract and export wrote different bytes: {name}")


def file_names(folder: Path) -> set[str]:
    """Return the files of a folder, by their paths inside it."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    return {str(file.relative_to(folder)) for file in files}


def describe(bench: Workbench, before: Document) -> Document:
    """Return what was measured."""
    config = read_json(bench.extracted / "config.json")
    needed = needed_bytes(bench.model)
    extract = summary(bench.runs["extract"])
    extract["bytes_read"] = counted(bench, "bytes_read")
    extract["bytes_written"] = counted(bench, "bytes_written")
    read = extract["bytes_read"] / needed
    document: Document = {
        "schema": "emo-prune/benchmark-extract/1",
        "layers": config["num_hidden_layers"],
        "kept_experts": config["num_experts"],
        "calibration_tokens": calibration_tokens(bench),
        "source_bytes": folder_bytes(bench.model),
        "needed_bytes": needed,
        "source_in_memory": not bench.cold,
        "extract": extract,
        "imports": summary(bench.runs["imports"]),
        "ratios": {"bytes_read_to_needed": round(read, 4)},
        "budgets": {
            "extract peak RSS, bytes": budget(extract["peak_rss_bytes"], AT_MOST_RSS),
            "bytes read, in those needed": budget(read, AT_MOST_READ),
        },
        "machine": {**before, "load_average_after": machine()["load_average"]},
        "versions": versions(),
    }
    if "load_all" in bench.runs:
        compare(bench, document)
    return document


def compare(bench: Workbench, document: Document) -> None:
    """Add the other ways to a document, and how many times extract's time they took."""
    wall = document["extract"]["wall_s"]
    for name, output in (("in_memory", bench.exported), ("load_all", bench.sliced)):
        facts = {**summary(bench.runs[name]), "bytes_written": folder_bytes(output)}
        times = facts["wall_s"] / wall
        document[name] = facts
        document["ratios"][f"{name}_to_extract"] = round(times, 3)
    document["in_memory"]["same_files"] = True  # or there would be no document
    document["load_all"]["same_kept_layers"] = same_kept_layers(bench)
    share = wall / document["load_all"]["wall_s"]
    document["budgets"]["extract wall, in load all"] = budget(share, AT_MOST_SHARE)
    imports = document["imports"]["wall_s"]
    times = (document["load_all"]["wall_s"] - imports) / (wall - imports)
    document["ratios"]["load_all_to_extract_less_imports"] = round(times, 3)


def counted(bench: Workbench, key: str) -> int:
    """Return the highest of the counts that the runs of extract printed.

    Raises:
        BenchmarkError: a run printed no such count.
    """
    documents = [json.loads(done.stdout) for done in bench.runs["extract"]]
    if any(type(document.get(key)) is not int for document in documents):
        raise BenchmarkError(f"extract --json did not say {key}")
    return max(int(document[key]) for document in documents)


def calibration_tokens(bench: Workbench) -> int:
    """Return the tokens that extract says it ran."""
    return int(selection(bench)["calibration"]["num_tokens"])


def same_kept_layers(bench: Workbench) -> int:
    """Return in how many layers loading it all kept the experts that extract kept."""
    ours = [layer["kept"] for layer in selection(bench)["layers"]]
    theirs = json.loads(bench.runs["load_all"][0].stdout)
    return sum(ids == other for ids, other in zip(ours, theirs, strict=True))


def selection(bench: Workbench) -> Document:
    """Return the selection that extract left in its output."""
    chosen: Document = read_json(bench.extracted / "emo_prune.json")["selection"]
    return chosen


def needed_bytes(model: Path) -> int:
    """Return the bytes of the experts that are kept and of all that is no expert.

    To be called when all is measured: it makes this process larger.
    """
    from emo_prune.architectures import describe as describe_model
    from emo_prune.checkpoint import open_checkpoint

    described = describe_model(open_checkpoint(str(model)))
    dropped = sum(
        layer.expert_bytes // layer.num_experts * (layer.num_experts - KEEP)
        for layer in described.layers
    )
    return described.checkpoint.num_bytes - dropped


def rows(document: Document) -> list[Row]:
    """Return the table."""
    found: list[Row] = [("", "wall", "processor", "peak RSS")]
    for name in ("extract", "in_memory", "load_all", "imports"):
        if name in document:
            found.append(figures(name, document[name]))
    for name, facts in document["budgets"].items():
        limit = f"{facts['at_most']:.4g}"
        found.append((name, f"{facts['got']:.4g}", "at most", limit))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, measure, print."""
    made = parser(__doc__, repeat=3, layers=2)
    made.add_argument("--checkpoint", type=Path, help="a checkpoint that is there")
    made.add_argument(
        "--only-extract", action="store_true", help="the other ways need memory"
    )
    made.add_argument(
        "--cold", action="store_true", help="nothing of the source in the page cache"
    )
    options = made.parse_args(arguments)
    if options.repeat < 1:
        made.error("--repeat must be at least 1")
    if options.checkpoint and not options.checkpoint.is_dir():
        made.error(f"--checkpoint: there is no folder {options.checkpoint}")
    return finish(measure, rows, options)


if __name__ == "__main__":
    sys.exit(main())
