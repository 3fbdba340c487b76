"""What `eval` leaves for CI: JUnit XML, flipped questions, a job's summary."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from emo_prune.errors import EmoPruneError
from emo_prune.evaluation.evaluation import Evaluation
from emo_prune.evaluation.figures import FLIPS, Row, against_controls, rows, titles
from emo_prune.evaluation.gates import gate_line, gate_name, gate_outcome, gate_sight
from emo_prune.evaluation.results import Results, Verdict
from emo_prune.files import write_atomically
from emo_prune.progress import Progress

SUMMARY = "GITHUB_STEP_SUMMARY"  # names the file, in a job of GitHub Actions

# All that XML 1.0 cannot hold, not even escaped (its production 2, Char).
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SPECIAL = re.compile(r"([\\`*_{}\[\]#|~<>&!])")


def write_ci_files(
    evaluations: Sequence[Evaluation],
    *,
    junit: Path | None,
    samples: Path | None,
    progress: Progress,
) -> list[EmoPruneError]:
    """Write the files that were asked for; return what could not be written."""
    results = [one.results for one in evaluations]
    problems = []
    for file, make in (
        (samples, lambda: "".join(_lines(evaluations))),
        (junit, lambda: junit_xml(results)),
    ):
        if file is None:
            continue
        try:
            write_atomically(file, make())
            progress.say(f"wrote {file}")
        except EmoPruneError as error:
            problems.append(error)
    return problems


def add_to_summary(evaluations: Sequence[Evaluation], progress: Progress) -> None:
    """Append to the summary of a job, if this is one; tell if that cannot be done.

    Nobody has asked for it by an option: what went wrong here is told, not raised.
    """
    summary = os.environ.get(SUMMARY)
    if not summary:
        return
    try:
        with Path(summary).open("a", encoding="utf-8") as file:
            file.write(markdown_summary([one.results for one in evaluations]))
    except OSError as error:
        progress.say(f"the job's summary could not be written: {error}")


def _lines(evaluations: Sequence[Evaluation]) -> Iterator[str]:
    """Yield a row of JSON for each question that only one of the two has right."""
    for one in evaluations:
        if found := one.results.comparison:
            sides = {"model": found.model, "baseline": found.baseline}
            for flip in one.flips:
                row = sides | flip.to_dict()
                yield json.dumps(row, ensure_ascii=False) + "\n"


def junit_xml(evaluations: Sequence[Results]) -> bytes:
    """Return a `testsuites` document, UTF-8: a suite for each evaluation.

    A suite has a test case for each category, which passes (its figures are in
    `system-out`), and one for each gate, with a `failure` if it did not pass.
    Characters that XML cannot hold become U+FFFD.
    """
    root = ET.Element("testsuites", name="emo-prune")
    for results in evaluations:
        root.append(_suite(results))
    _count(root, [v for results in evaluations for v in results.gates or ()])
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _suite(results: Results) -> ET.Element:
    suite = ET.Element("testsuite", name=_text(f"{results.model}: {results.task}"))
    names = titles(results)[1:]
    for row in rows(results):
        if not row.is_mean:
            case = _case(suite, results.task, row.name)
            ET.SubElement(case, "system-out").text = _text(_in_words(row, names))
    for verdict in results.gates or ():
        case = _case(suite, f"{results.task}.gates", gate_name(verdict))
        if not verdict.passed:
            why = verdict.figures if not verdict.met else gate_sight(verdict)
            failure = ET.SubElement(
                case, "failure", type="GateFailed", message=_text(why)
            )
            failure.text = _text(f"{verdict.where}\n{gate_line(verdict)}")
        ET.SubElement(case, "system-out").text = _text(gate_line(verdict))
    _count(suite, results.gates or ())
    return suite


def _case(suite: ET.Element, group: str, name: str) -> ET.Element:
    return ET.SubElement(suite, "testcase", classname=_text(group), name=_text(name))


def _count(element: ET.Element, verdicts: Sequence[Verdict]) -> None:
    element.set("tests", str(len(element.findall(".//testcase"))))
    element.set("failures", str(sum(not verdict.passed for verdict in verdicts)))
    element.set("errors", "0")


def _in_words(row: Row, names: Sequence[str]) -> str:
    pairs = [*zip(names, row.cells, strict=False), *zip(FLIPS, row.flips, strict=False)]
    return ", ".join(f"{name} {cell}" for name, cell in pairs)


def _text(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)


def markdown_summary(evaluations: Sequence[Results]) -> str:
    """Return a section for each evaluation: gates first, then every category.

    GitHub's dialect. Names are escaped, so that none of them is taken for markup.
    """
    return "".join(_section(results) for results in evaluations)


def _section(results: Results) -> str:
    comparison = results.comparison
    parts = [f"### {_escaped(results.model)}: {_escaped(results.task)}"]
    if comparison:
        parts.append(f"Against {_escaped(comparison.baseline)}, on the same questions.")
    if results.gates:
        parts.append(_gates(results))
    flips = FLIPS if comparison else ()
    parts.append(
        _table(
            (*titles(results), *flips),
            ((row.name, *row.cells, *row.flips) for row in rows(results)),
        )
    )
    if comparison:
        parts += (_escaped(f"{said}.") for said in against_controls(comparison))
    return "\n\n".join(parts) + "\n\n"


def _gates(results: Results) -> str:
    return _table(
        ("gate", "outcome", "found", "asked", "sight"),
        (
            (gate_name(v), gate_outcome(v), v.figures, v.rule, gate_sight(v))
            for v in results.gates or ()
        ),
    )


def _table(header: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    lines = [header, [":--", *["--:"] * (len(header) - 1)], *body]
    return "\n".join(
        "| " + " | ".join(cells if i == 1 else map(_escaped, cells)) + " |"
        for i, cells in enumerate(lines)
    )


def _escaped(text: str) -> str:
    """Escape what Markdown or HTML would read as markup; a line break is a space."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
