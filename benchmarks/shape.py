"""Measure the shape of the source: how much there is, and how far apart it lies.

    python benchmarks/shape.py --before OLD_CHECKOUT -o benchmarks/results/shape.json

For this checkout and an older one (`git worktree add ../old COMMIT`), by the same code:

- files, lines, lines of a median file, small files, functions of more than 60 lines,
  uses of `Any`, lines of JSON Schema written by hand, circles of imports (those for
  types included);
- calls, and files, from a verb's own function to the thing it is for: the hook that
  counts what the router picked (`select`, in memory and streamed; the model's own
  forward pass is not counted), and the file of weights being opened to be filled
  (`export`);
- seconds of `emo-prune --help` and `inspect`, the best of several runs; the size of the
  wheel. `--suite` times the tests too, which takes many minutes.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LONG = 60
SMALL = 60
REPEATS = 7

PROBE = r"""
import json, sys, traceback
from pathlib import Path

package, (model, work, streamed) = Path(sys.argv[1]), sys.argv[2:]
examples = Path(work, "examples.jsonl")
examples.write_text('{"text": "one two three"}\n{"text": "four five six"}\n')
found = {}

def note(name):
    frames = [
        (frame.filename, frame.name)
        for frame in traceback.extract_stack()
        if frame.filename.startswith(str(package))
        and "/cli/" not in frame.filename and "/options/" not in frame.filename
        and not frame.filename.endswith("__main__.py")
        and "/models/" not in frame.filename  # the model's own forward pass
    ]
    if len(frames) > len(found.get(name, ())):
        found[name] = frames

def opened(event, arguments):
    if event == "open" and isinstance(arguments[0], str | Path):
        path, mode, flags = arguments
        if str(path).endswith(".safetensors") and work in str(path) and flags & 3:
            note("export")

from emo_prune.cli import main
from emo_prune.routing import observer

seen = observer.BlockObserver._see_picks

def see(self, *arguments):
    note(streamed)
    return seen(self, *arguments)

observer.BlockObserver._see_picks = see
select = ["select", "-m", model, "--examples", str(examples), "-k", "50%", "-o", work]
more = ["--stream"] if streamed == "select_streamed" else ["--no-stream"]
if main([*select, *more]):
    sys.exit("select failed")
if streamed == "select":
    sys.addaudithook(opened)
    selection = str(Path(work, "selection.json"))
    if main(["export", "-s", selection, "-m", model, "-o", str(Path(work, "out"))]):
        sys.exit("export failed")
hops = {
    # the hook itself is a call more, which is patched and so not on the stack
    name: {
        "calls": len(frames) - (name == "export"),
        "files": len({file for file, _ in frames}),
    }
    for name, frames in found.items()
}
path = {
    name: [f"{Path(file).relative_to(package)}:{function}" for file, function in frames]
    for name, frames in found.items()
}
Path(work, "hops.json").write_text(json.dumps({"hops": hops, "path": path}))
"""


def main() -> None:
    """Measure both checkouts and write the JSON."""
    options = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    options.add_argument("--before", type=Path, help="an older checkout")
    options.add_argument("--suite", action="store_true", help="time the tests too")
    options.add_argument("-o", "--output", type=Path, required=True)
    given = options.parse_args()
    here = Path(__file__).resolve().parent.parent
    trees = {"before": given.before, "after": here}
    document: dict[str, Any] = {"schema": "emo-prune/benchmark-shape/1"}
    for name, tree in trees.items():
        if tree is not None:
            document[name] = measured(tree.resolve(), suite=given.suite)
            print(name, json.dumps(document[name], indent=2))
    given.output.write_text(json.dumps(document, indent=2) + "\n")


def measured(tree: Path, *, suite: bool) -> dict[str, Any]:
    """Return all figures of a checkout."""
    found = {**source(tree), **distances(tree), **start_up(tree), **wheel(tree)}
    if suite:
        found |= tests(tree)
    return found


def source(tree: Path) -> dict[str, Any]:
    """Return counts of the package's source."""
    files = sorted((tree / "emo_prune").rglob("*.py"))
    texts = {file: file.read_text(encoding="utf-8") for file in files}
    lines = [len(text.splitlines()) for text in texts.values()]
    real = [count for count in lines if count > 1]
    functions = [
        (node.end_lineno or 0) - node.lineno + 1
        for text in texts.values()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    schemas = [
        file
        for file in (tree / "emo_prune").rglob("*.schema.json")
        if file.parent.name != "schemas"  # those are generated
    ]
    circles = import_circles(tree)
    return {
        "files": len(files),
        "lines": sum(lines),
        "median_lines": statistics.median(real),
        "files_under_60_lines": sum(count < SMALL for count in real),
        "functions_over_60_lines": sum(count > LONG for count in functions),
        "any": sum(len(re.findall(r"\bAny\b", text)) for text in texts.values()),
        "schema_lines_by_hand": sum(
            len(file.read_text(encoding="utf-8").splitlines()) for file in schemas
        ),
        "import_circles": [len(circle) for circle in circles],
    }


def import_circles(tree: Path) -> list[list[str]]:
    """Return the groups of modules that import one another, in whatever block."""
    root = tree / "emo_prune"
    modules = {
        ".".join(file.relative_to(tree).with_suffix("").parts).removesuffix(
            ".__init__"
        ): file
        for file in root.rglob("*.py")
    }
    edges = {name: set(_imports(name, file, modules)) for name, file in modules.items()}
    return _components(edges)


def _imports(name: str, file: Path, modules: dict[str, Path]) -> Iterator[str]:
    for node in _module_level(ast.parse(file.read_text(encoding="utf-8"))):
        wanted: list[str] = []
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                wanted.append(full if full in modules else node.module)
        elif isinstance(node, ast.Import):
            wanted = [alias.name for alias in node.names]
        for one in wanted:
            if one in modules and one != name and not name.startswith(f"{one}."):
                yield one


def _module_level(tree: ast.Module) -> Iterator[ast.stmt]:
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If | ast.Try):
            waiting += ast.iter_child_nodes(node)


def _components(edges: dict[str, set[str]]) -> list[list[str]]:
    """Return the strongly connected groups of more than one (Tarjan 1972)."""
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        number[node] = low[node] = len(number)
        stack.append(node)
        for other in sorted(edges[node]):
            if other not in number:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], number[other])
        if low[node] == number[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(group)

    sys.setrecursionlimit(10_000)
    for node in sorted(edges):
        if node not in number:
            visit(node)
    return found


def distances(tree: Path) -> dict[str, Any]:
    """Return calls and files from a verb to the thing it is for."""
    package = tree / "emo_prune"
    model = next(
        file.parent
        for file in sorted(package.rglob("config.json"))
        if '"emo"' in file.read_text(encoding="utf-8")
    )
    hops: dict[str, Any] = {}
    for name in ("select", "select_streamed"):
        with tempfile.TemporaryDirectory() as work:
            command = [sys.executable, "-c", PROBE]
            command += [str(package), str(model), work, name]
            _run(command, tree)
            hops |= json.loads(Path(work, "hops.json").read_text())["hops"]
    return {"from_verb_to_purpose": hops}


def start_up(tree: Path) -> dict[str, Any]:
    """Return the seconds of the two commands that should start at once."""
    model = next((tree / "emo_prune").rglob("config.json")).parent
    emo_prune = [sys.executable, "-m", "emo_prune"]
    return {
        "help_s": _best([*emo_prune, "--help"], tree),
        "inspect_s": _best([*emo_prune, "inspect", str(model)], tree),
    }


def wheel(tree: Path) -> dict[str, Any]:
    """Return the bytes of the wheel."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps"]
        _run([*command, "-w", folder, str(tree)], tree)
        (made,) = Path(folder).glob("*.whl")
        return {"wheel_bytes": made.stat().st_size}


def tests(tree: Path) -> dict[str, Any]:
    """Return how long the tests take, and how many pass."""
    started = time.monotonic()
    text = _run([sys.executable, "-m", "pytest"], tree)
    passed = re.search(r"(\d+) passed", text)
    return {
        "suite_s": round(time.monotonic() - started, 1),
        "tests_passed": int(passed[1]) if passed else 0,
    }


def _best(command: list[str], tree: Path) -> float:
    seconds = []
    for _ in range(REPEATS):
        started = time.monotonic()
        _run(command, tree)
        seconds.append(time.monotonic() - started)
    return round(min(seconds), 3)


def _run(command: list[str], tree: Path) -> str:
    """Run a command on a checkout, and return what it printed.

    Raises:
        SystemExit: it fails; with the end of what it said.
    """
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    done = subprocess.run(
        command, capture_output=True, text=True, cwd=tree, env=environment, check=False
    )
    if done.returncode:
        sys.exit(f"{command[:3]} failed in {tree}:\n{done.stderr[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    main()
