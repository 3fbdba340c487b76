"""The page shows what the artifacts say, and nothing else."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

import emo_prune
from emo_prune.errors import EmoPruneError, ReportError
from emo_prune.reports.page import find_artifacts, page
from tests.reports.conftest import Edit, html_of

PRETRAINED = Path(emo_prune.__file__).parent / "quickstart/data/worlds-emo"
HOSTILE = "</title><script>alert(1)</script><img src=x onerror=alert(2)>\"'&\u0000"


class Reader(HTMLParser):
    """Collects elements, their attributes, exact numbers and text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.exact: list[Any] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.elements.append((tag, found))
        if tag == "data":
            self.exact.append(json.loads(found["value"] or ""))
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from numbers(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def of(outputs: Path, name: str) -> Any:
    return json.loads((outputs / name).read_text())


def test_every_kind_of_artifact_has_its_section(outputs: Path) -> None:
    text = html_of(outputs)
    titles = re.findall("<h2>(.*?) <small>", text)
    assert [title.split(":")[0] for title in titles] == [
        "Evaluations together", "Evaluation", "Evaluation", "Selection", "Export",
    ]  # fmt: skip
    assert "Pretraining: emo" in html_of(PRETRAINED)
    for name in ("selection.json", "results.json", "checkpoint"):
        assert html_of(outputs / name).count("<section") == (
            2 if name == "checkpoint" else 1  # an export holds its selection
        )


def test_the_numbers_of_each_layer_are_those_of_the_selection(outputs: Path) -> None:
    selection = of(outputs, "selection.json")
    shown = Reader(html_of(outputs / "selection.json")).exact
    for layer in selection["layers"]:
        for number in numbers({k: v for k, v in layer.items() if k != "kept"}):
            assert number in shown
        assert ", ".join(map(str, layer["kept"])) in html_of(outputs / "selection.json")


def test_figures_differences_intervals_and_recovery_are_those_of_the_results(
    outputs: Path,
) -> None:
    results = of(outputs, "results.json")
    shown = Reader(html_of(outputs / "results.json")).exact
    parts = (results["categories"], results["comparison"]["categories"])
    assert results["comparison"]["headline"]["interval"]
    for number in numbers(parts):
        assert number in shown
    for task in results["tasks"]:
        for number in numbers({**task, "questions": []}):
            assert number in shown


def test_controls_are_those_of_the_results(outputs: Path) -> None:
    results = json.loads((outputs / "results.json").read_text())
    (control,) = results["comparison"]["controls"]
    found = html_of(outputs / "results.json")
    part = found[found.index("ahead of controls") :]
    head = control["headline"]
    low, high = head["interval"]
    assert f"{head['difference']:+.2f} ({low:+.2f} to {high:+.2f})" in part
    assert "random experts (3 seeds)" in part
    for value in (head["baseline"], *control["values"]):
        assert f">{100 * value:.2f}<" in part


def test_the_points_of_the_loss_are_those_of_the_record() -> None:
    record = json.loads((PRETRAINED / "emo_prune.json").read_text())
    shown = Reader(html_of(PRETRAINED)).exact
    for number in numbers((record["loss_by_step"], record["data"], record["final"])):
        assert number in shown


def test_the_heat_map_has_a_cell_for_each_kept_expert(outputs: Path) -> None:
    reader = Reader(html_of(outputs / "selection.json"))
    paths = [a for tag, a in reader.elements if tag == "path"]
    cells = [str(path["d"]).count("M") for path in paths]
    assert cells == [len(x["kept"]) for x in of(outputs, "selection.json")["layers"]]


def test_scores_beside_a_selection_shade_every_expert(outputs: Path) -> None:
    text = html_of(outputs)
    assert "by the scores beside the selection" in text
    assert "not shown" not in text
    reader = Reader(text)
    layers = of(outputs, "selection.json")["layers"]
    cells = {"kept": 0, "left": 0}
    for tag, attributes in reader.elements:
        if tag == "path":
            kind = str(attributes["class"]).rstrip("12345")
            cells[kind] += str(attributes["d"]).count("M")
    kept = sum(len(layer["kept"]) for layer in layers)
    assert cells == {"kept": kept, "left": 8 * len(layers) - kept}


def test_hashes_versions_and_fingerprint_are_there(outputs: Path) -> None:
    text = html_of(outputs)
    selection, results = of(outputs, "selection.json"), of(outputs, "results.json")
    for value in (
        selection["model"]["fingerprint"],
        results["prompts_sha256"],
        results["documents_sha256"],
        *selection["versions"].values(),
        *results["versions"].values(),
    ):
        assert value in text


def counted(folder: Path, edit: Edit, flipped: int) -> Any:
    """Have the comparison count so many of the first questions as flipped.

    Where the baseline's own results lie, these say so too. Returns the results.
    """

    def count(value: dict[str, Any]) -> None:
        questions = value["tasks"][0]["questions"][:flipped]
        won = sum(question["score"] == 1.0 for question in questions)
        for one in value["comparison"]["categories"]:
            one.update(lost=flipped - won, won=won)

    def flip(baseline: dict[str, Any]) -> None:
        task = results["tasks"][0]
        baseline["tasks"][0]["questions"] = [
            {**question, "score": 1.0 - question["score"] if n < flipped else
             question["score"]}
            for n, question in enumerate(task["questions"])
        ]  # fmt: skip

    edit("results.json", count)
    results = of(folder, "results.json")
    edit("results-tiny-emo.json", flip)
    return results


def test_flipped_questions_are_those_that_one_of_the_two_has_right(
    folder: Path, edit: Edit
) -> None:
    assert "No question flipped" in html_of(folder / "results.json")
    questions = counted(folder, edit, 1)["tasks"][0]["questions"]
    assert "Which questions flipped is known" in html_of(folder / "results.json")
    text = html_of(folder)
    won = questions[0]["score"] == 1.0
    assert f"Questions that flipped: {1 - won} lost, {int(won)} won" in text
    assert f"<code>{questions[0]['document_sha256']}</code>" in text


def test_flips_to_read_come_from_the_samples_of_these_results_alone(
    folder: Path, edit: Edit
) -> None:
    results = counted(folder, edit, 1)
    (first, second, *_) = results["tasks"][0]["questions"]
    (folder / "results-tiny-emo.json").unlink()
    row = {
        "model": results["model"],
        "baseline": results["comparison"]["baseline"],
        "task": results["tasks"][0]["name"],
        "category": results["categories"][0]["name"],
        "document_sha256": first["document_sha256"],
        "change": "won" if first["score"] else "lost",
        "answer": "what it says now",
        "baseline_answer": None,
    }
    wrong = "lost" if second["score"] else "won"
    others = (
        {**row, "model": "another", "answer": "of another model"},
        {**row, "document_sha256": second["document_sha256"], "change": wrong,
         "answer": "of other results"},
    )  # fmt: skip
    lines = "".join(json.dumps(one) + "\n" for one in (row, *others))
    (folder / "flips.jsonl").write_text(lines)
    (folder / "questions.jsonl").write_text('{"text": "no flip"}\n')
    won = int(row["change"] == "won")
    for where in (folder, folder / "results.json"):
        text = html_of(where)
        assert f"Questions that flipped: {1 - won} lost, {won} won" in text
        assert "what it says now" in text
        assert ">not known<" in text
        assert "of another model" not in text
        assert "of other results" not in text
    twice = (folder / "flips.jsonl").read_text() * 2  # more than the comparison counts
    (folder / "flips.jsonl").write_text(twice)
    assert "Which questions flipped is known" in html_of(folder)
    (folder / "flips.jsonl").write_text(lines)
    elsewhere = (folder / "flips.jsonl").rename(folder.parent / "flips.txt")
    assert "what it says now" not in html_of(folder)
    assert "what it says now" in page(find_artifacts(folder, elsewhere))
    elsewhere.write_text(json.dumps({**row, "change": "both"}))
    with pytest.raises(ReportError, match=r"flips\.txt"):
        find_artifacts(folder, elsewhere)


def test_flips_are_shown_in_the_words_of_the_questions_that_were_scored(
    folder: Path, edit: Edit, outputs: Path
) -> None:
    asked = outputs.parents[1] / "questions.jsonl"
    counted(folder, edit, 1)
    text = html_of(folder)
    assert "which letter follows" not in text
    told = page(find_artifacts(folder, asked=asked))
    assert told.count("which letter follows") == 1
    assert "not shown" not in told
    with pytest.raises(EmoPruneError, match=r"results\.json"):
        find_artifacts(folder, asked=folder / "results.json")


def test_a_gate_says_what_came_of_it_and_what_it_could_not_see(outputs: Path) -> None:
    (gate,) = of(outputs, "results.json")["gates"]
    text = html_of(outputs / "results.json")
    shown = Reader(text).exact
    assert {gate["judged"], gate["limit"]} <= set(shown)
    word = "passed" if gate["passed"] else "FAILED"
    assert text.count(f">{word}</strong>") == 2  # above, and in the table
    assert gate["sees"] is False
    assert f"{gate['detectable']:.2f} points (80 % power): cannot see 3" in text
    assert "proves nothing by passing" in text


def test_several_evaluations_of_one_document_are_shown_each_and_together(
    folder: Path, edit: Edit
) -> None:
    counted(folder, edit, 2)
    parts = [of(folder, f"results{name}.json") for name in ("", "-tiny-emo")]
    document = {"schema": "emo-prune/evaluations/1", "results": parts}
    file = folder.parent / "evaluations.json"
    file.write_text(json.dumps(document))
    text = html_of(file)
    assert re.findall("<h2>(.*?) <small>", text) == [
        f"Evaluations together: 2 models on {parts[0]['task']}",
        *(f"Evaluation: {part['model']} on {part['task']}" for part in parts),
    ]
    assert "Questions that flipped" in text  # the baseline's own results are within
    for number in numbers([part["value"] for part in parts]):
        assert number in Reader(text.split("</section>")[0]).exact
    assert "not shown" not in text
    file.write_text(json.dumps({**document, "results": "none"}))
    with pytest.raises(EmoPruneError, match=r"evaluations\.json"):
        html_of(file)


def test_style_and_script_are_the_only_ones_the_page_allows(outputs: Path) -> None:
    text = html_of(outputs)
    policy = re.search('Security-Policy" content="(.*?)"', text)
    assert policy is not None
    assert policy[1].startswith("default-src &#x27;none&#x27;; ")
    assert "unsafe" not in policy[1]
    assert " style=" not in text


@pytest.mark.parametrize("where", ["outputs", "pretrained"])
def test_nothing_is_fetched_from_anywhere(outputs: Path, where: str) -> None:
    text = html_of(outputs if where == "outputs" else PRETRAINED)
    assert not re.search(r"https?:|//[a-z]|@import|url\(", text.split("<script>")[0])
    for _, attributes in Reader(text).elements:
        assert "src" not in attributes
        assert (attributes.get("href") or "#").startswith("#")


def test_the_same_artifacts_give_the_same_bytes_anywhere(
    outputs: Path, folder: Path
) -> None:
    assert html_of(outputs) == html_of(folder)
    assert str(outputs.parent) not in html_of(outputs)


def test_a_kind_that_is_not_known_is_named_as_not_shown(folder: Path) -> None:
    (folder / "later.json").write_text('{"schema": "emo-prune/later/1"}')
    (folder / "foreign.json").write_text("[]")
    text = html_of(folder)
    assert "later.json (emo-prune/later/1)" in text
    assert "foreign.json" not in text


@pytest.mark.parametrize("name", ["samples", "questions", "scores"])
def test_json_that_poses_as_another_kind_of_file_is_named_as_not_shown(
    folder: Path, name: str
) -> None:
    posing = {"schema": f"emo-prune/{name}/1"}
    (folder / "posing.json").write_text(json.dumps(posing))
    assert f"posing.json (emo-prune/{name}/1)" in html_of(folder)
    document = {"schema": "emo-prune/evaluations/1", "results": [posing]}
    (folder / "several.json").write_text(json.dumps(document))
    with pytest.raises(EmoPruneError, match=r"several\.json"):
        html_of(folder)


def test_the_page_of_several_categories_ends_in_their_mean(
    folder: Path, edit: Edit
) -> None:
    def add(value: dict[str, Any]) -> None:
        for name, counted in (("law", True), ("other", False)):
            value["categories"].append(
                {**value["categories"][0], "name": name, "in_headline": counted}
            )

    edit("results.json", add)
    text = html_of(folder / "results.json")
    assert "other (outside the mean)" in text
    foot = re.search("<tfoot>.*?</tfoot>", text)
    assert foot is not None
    assert '<th scope="row">mean</th>' in foot[0]


@pytest.mark.parametrize("name", ["results-tiny-emo.json", "scores.safetensors"])
def test_a_broken_neighbour_is_named(folder: Path, name: str, edit: Edit) -> None:
    if name.endswith("json"):
        edit(name, lambda value: value.update(tasks=[{}]))
    else:
        (folder / name).write_bytes(b"broken")
    with pytest.raises(EmoPruneError, match=name):
        html_of(folder)


def test_an_export_shows_the_record_of_its_source(folder: Path, edit: Edit) -> None:
    record = json.loads((PRETRAINED / "emo_prune.json").read_text())
    edit("checkpoint/emo_prune.json", lambda value: value.update(parent=record))
    text = html_of(folder)
    assert (
        "Pretraining: emo <small>checkpoint/emo_prune.json, its source</small>" in text
    )


def test_an_export_whose_selection_was_edited_is_refused(
    folder: Path, edit: Edit
) -> None:
    def edited(value: dict[str, Any]) -> None:
        value["selection"]["layers"][0]["retained_mass"] = 1.0

    edit("checkpoint/emo_prune.json", edited)
    with pytest.raises(EmoPruneError, match="edited"):
        page(find_artifacts(folder))
