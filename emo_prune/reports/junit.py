"""An evaluation as JUnit XML, which CI systems show as tests."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree as ET

from emo_prune.evaluation import Verdict
from emo_prune.evaluation.gates import gate_line, gate_name, gate_sight
from emo_prune.reports.figures import FLIPS, Row, rows, titles
from emo_prune.reports.outcome import Outcome

# All that XML 1.0 cannot hold, not even escaped (its production 2, Char).
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(outcomes: Sequence[Outcome]) -> bytes:
    """Return a `testsuites` document, UTF-8: a suite for each evaluation.

    A suite has a test case for each category, which passes (its figures are in
    `system-out`), and one for each gate, with a `failure` if it did not pass.
    Characters that XML cannot hold become U+FFFD.
    """
    root = ET.Element("testsuites", name="emo-prune")
    for outcome in outcomes:
        root.append(_suite(outcome))
    _count(root, [v for outcome in outcomes for v in outcome.verdicts])
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def _suite(outcome: Outcome) -> ET.Element:
    results = outcome.results
    suite = ET.Element("testsuite", name=_text(f"{results.model}: {results.task}"))
    names = titles(results, outcome.comparison)[1:]
    for row in rows(results, outcome.comparison):
        if not row.is_mean:
            case = _case(suite, results.task, row.name)
            ET.SubElement(case, "system-out").text = _text(_in_words(row, names))
    for verdict in outcome.verdicts:
        case = _case(suite, f"{results.task}.gates", gate_name(verdict))
        if not verdict.passed:
            why = verdict.figures if not verdict.met else gate_sight(verdict)
            failure = ET.SubElement(
                case, "failure", type="GateFailed", message=_text(why)
            )
            failure.text = _text(f"{verdict.where}\n{gate_line(verdict)}")
        ET.SubElement(case, "system-out").text = _text(gate_line(verdict))
    _count(suite, outcome.verdicts)
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
