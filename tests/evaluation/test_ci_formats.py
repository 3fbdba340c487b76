"""What CI reads is well-formed, whatever the names are, and says what was found."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from emo_prune.evaluation import Evaluation, Gates, Results, compare
from emo_prune.evaluation.ci import junit_xml, markdown_summary
from tests.evaluation.made_up import made_up_results


def _results(model: str = "small", **gates: Any) -> Results:
    """One question of four lost in x, one won in y; `other` is outside the mean."""
    ours = made_up_results(model, x=[1, 1, 0, 0], y=[1, 0], other=[0])
    theirs = made_up_results("full", x=[1, 1, 1, 0], y=[0, 0], other=[1])
    evaluation = Evaluation(results=ours).against(theirs)
    return evaluation.judged(Gates(**gates)).results


def _parse(*results: Results) -> ET.Element:
    document = junit_xml(results)
    assert document.startswith(b"<?xml version='1.0' encoding='utf-8'?>")
    return ET.fromstring(document.decode())


def test_junit_has_a_case_for_each_category_and_gate() -> None:
    root = _parse(_results(max_drop=-100, min_recovery=1))
    cases = root.findall("testsuite/testcase")
    assert [(c.get("classname"), c.get("name")) for c in cases] == [
        ("mmlu", "x"),
        ("mmlu", "y"),
        ("mmlu", "other (outside the mean)"),
        ("mmlu.gates", "--max-drop -100"),
        ("mmlu.gates", "--min-recovery 1"),
    ]
    for element in (root, root[0]):
        assert element.get("tests") == "5"
        assert element.get("failures") == "1"
        assert element.get("errors") == "0"
    (failure,) = root.findall(".//failure")
    assert failure.get("type") == "GateFailed"
    assert "points on 6 questions" in (failure.get("message") or "")
    assert "small against full" in (failure.text or "")
    said = cases[0].findtext("system-out")
    assert said is not None
    assert "acc 50.00" in said
    assert "lost 1, won 0, p 1.000" in said


def test_junit_tells_a_gate_that_cannot_see_from_one_that_was_breached() -> None:
    root = _parse(_results(max_drop=50, strict=True))
    (failure,) = root.findall(".//failure")
    assert "cannot see 50 points" in (failure.get("message") or "")


def test_junit_without_baseline_has_categories_alone() -> None:
    root = _parse(made_up_results("small", x=[1, 0]))
    assert [c.get("name") for c in root.findall(".//testcase")] == ["x"]
    assert root.get("failures") == "0"


def test_junit_has_a_suite_for_each_evaluation() -> None:
    root = _parse(_results("first"), _results("second", max_drop=-100))
    names = [suite.get("name") for suite in root.findall("testsuite")]
    assert names == ["first: mmlu", "second: mmlu"]
    assert (root.get("tests"), root.get("failures")) == ("7", "1")


@given(st.text())
def test_junit_is_well_formed_whatever_the_name(name: str) -> None:
    suite = _parse(replace(_results(max_drop=-100), model=name))[0]
    kept = "".join(
        c if c in "\t\n\r" or (c >= " " and c not in "\ufffe\uffff") else "\ufffd"
        for c in name
    )
    assert suite.get("name") == f"{kept}: mmlu"


def test_markdown_has_gates_and_every_category() -> None:
    text = markdown_summary([_results(max_drop=-100, min_recovery=1)])
    lines = text.splitlines()
    assert lines[0] == "### small: mmlu"
    assert any(line.startswith("| --max-drop -100 | FAILED |") for line in lines)
    assert any(line.startswith("| --min-recovery 1 | passed |") for line in lines)
    (x,) = [line for line in lines if line.startswith("| x |")]
    assert "| 50.00 |" in x
    assert "| 75.00 | -25.00 |" in x
    assert x.endswith("| 1 | 0 | 1.000 |")
    assert any(line.startswith("| mean |") for line in lines)
    assert text.endswith("\n\n")


@pytest.mark.parametrize(
    "name", ["a | b", "<script>x</script>", "`tick` *bold* _it_ [a](b)", "two\nlines"]
)
def test_markdown_takes_no_name_for_markup(name: str) -> None:
    comparison = compare(made_up_results(name, x=[1]), made_up_results("b", x=[1]))
    found = replace(comparison, model=name, baseline=name)
    results = made_up_results(name, **{name: [1]})  # type: ignore[arg-type]
    text = markdown_summary([replace(results, comparison=found)])
    tables = [line for line in text.splitlines() if line.startswith("|")]
    widths = {line.replace("\\|", "").count("|") for line in tables}
    assert len(widths) == 1 or "baseline" in tables[0]
    bare = text.replace("\\<", "").replace("\\`", "").replace("\\*", "")
    assert not {"<", "`", "*"} & set(bare)
    assert "two lines" in text or "\n" not in name


def test_markdown_tables_have_as_many_cells_in_every_row() -> None:
    text = markdown_summary([_results(max_drop=1, min_recovery=95)])
    for block in text.split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({row.count("|") for row in rows}) <= 1, block
