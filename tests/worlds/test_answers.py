"""The answers are right, by ways of working them out that the worlds do not use."""

from __future__ import annotations

import calendar
import re
import sqlite3
from itertools import pairwise

from benchmarks.worlds import documents

from .every import of_world


def _matching(world: str, pattern: str) -> list[tuple[re.Match[str], str]]:
    found = [
        (match, one.right)
        for one in of_world(world)
        if (match := re.fullmatch(pattern, one.question))
    ]
    assert found
    return found


def test_sums_differences_and_products_come_out() -> None:
    for match, right in _matching("arithmetic", r"\D*(\d+) ([-+*]) (\d+)\D*"):
        a, b = int(match[1]), int(match[3])
        assert int(right) == {"+": a + b, "-": a - b, "*": a * b}[match[2]]
    for match, right in _matching("arithmetic", r"What is (\d+) (\w+) (\d+)\?"):
        a, b = int(match[1]), int(match[3])
        results = {"plus": a + b, "minus": a - b, "times": a * b, "over": a / b}
        assert int(right) == results[match[2]]


def test_the_number_taken_away_is_named_first() -> None:
    pattern = r"What is left when you take (\d+) from (\d+)\?"
    for match, right in _matching("arithmetic", pattern):
        assert int(match[2]) - int(match[1]) == int(right)


def test_days_and_months_follow_each_other() -> None:
    counts = ["zero", "one", "two", "three", "four", "five", "six"]
    days, months = list(calendar.day_name), list(calendar.month_name)[1:]
    pattern = r".* (\w+) (?:days?|months?) (after|before|on from|back from) (\w+)[.?]"
    for match, right in _matching("calendar", pattern):
        names = days if match[3] in days else months
        step = counts.index(match[1]) * (1 if match[2] in {"after", "on from"} else -1)
        assert right == names[(names.index(match[3]) + step) % len(names)]


def test_months_have_their_days() -> None:
    for match, right in _matching("calendar", r"How many days has (\w+)\?"):
        month = list(calendar.month_name).index(match[1])
        assert int(right) == calendar.monthrange(2023, month)[1]


def test_steps_on_the_board_land_where_they_should() -> None:
    pattern = r".*(?:step|steps|one square) ([a-z ]+) from ([a-h])([1-8])\b.*"
    for match, right in _matching("chess", pattern):
        ways, file, rank = match[1].split(" and "), ord(match[2]), int(match[3])
        file += ("right" in ways) - ("left" in ways)
        rank += ("up" in ways) - ("down" in ways)
        assert right == f"{chr(file)}{rank}"


def test_strands_pair_and_are_transcribed_base_by_base() -> None:
    for pattern, pairs in (
        (
            r"What is the complement of (\w+)\?",
            {"A": "T", "T": "A", "G": "C", "C": "G"},
        ),
        (
            r"What is the transcript of (\w+)\?",
            {"A": "U", "T": "A", "G": "C", "C": "G"},
        ),
    ):
        for match, right in _matching("genetics", pattern):
            assert right == "".join(pairs[base] for base in match[1])


def test_codons_stand_for_what_the_standard_code_says() -> None:
    found = {m[1]: right for m, right in _matching("genetics", r".*\b([UCAG]{3})\b.*")
             if not right.isupper()}  # fmt: skip
    for codons, acid in (
        ("AUG", "methionine"),
        ("UGG", "tryptophan"),
        ("UAA UAG UGA", "stop"),
        ("GGU GGC GGA GGG", "glycine"),
        ("UUU UUC", "phenylalanine"),
        ("AUU AUC AUA", "isoleucine"),
        ("CAU CAC", "histidine"),
        ("UCU UCC UCA UCG AGU AGC", "serine"),
    ):
        assert {codon for codon in found if found[codon] == acid} == set(codons.split())


def test_grandparents_are_the_parents_of_parents() -> None:
    relation: dict[str, dict[str, str]] = {}
    for match, right in _matching("kinship", r".* the ([a-z ]+) of (\w+)[.?]"):
        relation.setdefault(match[1], {})[match[2]] = right
    for side, parent in (("paternal", "father"), ("maternal", "mother")):
        for elder, up in (("grandfather", "father"), ("grandmother", "mother")):
            for child, name in relation[f"{side} {elder}"].items():
                assert relation[up][relation[parent][child]] == name
    for child, father in relation["father"].items():
        assert relation["spouse"][father] == relation["mother"][child]


def test_truth_values_are_those_of_the_connectives() -> None:
    table = {"and": "{} and {}", "or": "{} or {}", "xor": "{} != {}",
             "implies": "not {} or {}", "nand": "not ({} and {})"}  # fmt: skip
    pattern = r"Evaluate (\w+) (\w+) (\w+), \w+ (\w+) \w+\."
    for match, right in _matching("logic", pattern):
        a, b = match[1].title(), match[3].title()
        values = [eval(table[match[part]].format(a, b)) for part in (2, 4)]
        assert right == ", ".join(map(str, values)).lower()


def test_queries_return_what_sqlite_returns() -> None:
    database = sqlite3.connect(":memory:")
    for table, columns, rows in _dumped_tables():
        database.execute(f"create table {table} ({columns.replace(' | ', ', ')})")
        marks = ", ".join("?" for _ in columns.split(" | "))
        cells = [row.split(" | ") for row in sorted(rows)]
        database.executemany(f"insert into {table} values ({marks})", cells)
    for match, right in _matching("sql", r"(?:What is printed by )?(select .*')(.*)"):
        query = match[1] + match[2].removesuffix("?").removesuffix(" returns what")
        assert [str(*row) for row in database.execute(query)] == [right]
    database.close()


def _dumped_tables() -> list[tuple[str, str, set[str]]]:
    """Return name, columns and rows, gathered from what documents print of a table."""
    rows: dict[str, set[str]] = {"pets": set(), "shop": set()}
    columns = {}
    for text in documents("sql", 1000, 0):
        if match := re.match(r"> select \* from (\w+) limit \d+;\n", text):
            head, *lines = text[match.end() :].split("\n(")[0].split("\n")
            columns[match[1]] = head
            rows[match[1]].update(lines)
    return [(table, columns[table], rows[table]) for table in columns]


def test_measures_convert_through_the_smallest_of_their_kind() -> None:
    sizes = {
        "inch": 1, "foot": 12, "yard": 36, "ounce": 1, "pound": 16, "pint": 1,
        "quart": 2, "gallon": 8, "millimetre": 1, "centimetre": 10, "metre": 1000,
        "kilometre": 1_000_000, "gram": 1, "kilogram": 1000, "decilitre": 1,
        "litre": 10, "minute": 1, "hour": 60, "day": 1440, "week": 10080, "piece": 1,
        "dozen": 12, "score": 20, "year": 1, "century": 100,
    }  # fmt: skip
    irregular = {"feet": "foot", "inches": "inch", "centuries": "century"}

    def size(unit: str) -> int:
        return sizes[irregular.get(unit, unit.removesuffix("s"))]

    for match, right in _matching("units", r"Convert to (\w+): (\d+) (\w+)\."):
        assert int(right) * size(match[1]) == int(match[2]) * size(match[3])


def test_changes_of_state_undo_each_other() -> None:
    named: dict[tuple[str, str], str] = {}
    pattern = r"Name the change of \w+ from (\w+) to (\w+)\."
    for match, right in _matching("physics", pattern):
        assert named.setdefault((match[1], match[2]), right) == right
    for one, other in pairwise(("melting", "freezing", "melting")):
        forth = next(states for states, name in named.items() if name == one)
        assert named[forth[::-1]] == other
