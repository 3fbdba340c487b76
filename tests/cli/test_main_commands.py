"""The commands in the order a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from safetensors import safe_open

from emo_prune.artifacts import json_schema
from emo_prune.evaluation import Results
from emo_prune.selection import Selection
from tests.cli.conftest import Run


def test_the_three_commands_on_mmlu_need_only_three_settings(
    run: Run, goldens: Path, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMO_PRUNE_MODEL", str(goldens / "emo_shared1"))
    monkeypatch.setenv("EMO_PRUNE_KEEP", "50%")
    monkeypatch.setenv("EMO_PRUNE_DATA_DIR", str(data_dir))
    monkeypatch.setenv("EMO_PRUNE_LIMIT", "4")
    for command in (("select", "--task", "math"), ("export",), ("eval",)):
        outcome = run(*command)
        assert outcome.code == 0, outcome.err
    made = Path("emo-prune-out/math")
    selection = json.loads((made / "selection.json").read_text())
    results = json.loads((made / "results.json").read_text())
    config = json.loads((made / "checkpoint/config.json").read_text())
    assert selection["calibration"]["task"] == results["task"] == "mmlu:math"
    assert config["num_experts"] == 8
    assert {layer["kept"][-1] for layer in selection["layers"]} == {15}
    assert results["n"] == 5 * 4  # five subjects


def test_settings_file_serves_as_well(
    run: Run, workplace: Path, goldens: Path, data_dir: Path
) -> None:
    (workplace / "emo-prune.toml").write_text(
        f'model = "{goldens / "emo_shared1"}"\n'
        f'keep = "50%"\ndata-dir = "{data_dir}"\ntask = "engineering"\nlimit = 4\n'
    )
    for command in (("select",), ("export",), ("eval", "--max-drop", "100")):
        outcome = run(*command)
        assert outcome.code == 0, outcome.err
    results = json.loads(Path("emo-prune-out/engineering/results.json").read_text())
    assert results["model"] == "emo_shared1, 8 of 16 experts"
    assert results["comparison"]["baseline"] == "emo_shared1"


def test_selection_and_results_keep_their_schemas(
    run: Run, exported: Path, example_files: tuple[Path, Path]
) -> None:
    from jsonschema import validate

    scored = run(
        "eval", exported, "--examples", example_files[1], "--baseline", "source"
    )
    assert scored.code == 0, scored.err
    selection = json.loads((exported.parent / "selection.json").read_text())
    validate(selection, json_schema(Selection.schema))
    results = json.loads((exported.parent / "results.json").read_text())
    validate(results, json_schema(Results.schema))
    assert results["comparison"]["headline"]["n"] == 8


def test_artifacts_hold_no_path_of_this_machine(
    run: Run, exported: Path, example_files: tuple[Path, Path], tmp_path: Path
) -> None:
    run("eval", exported, "--examples", example_files[1])
    for file in sorted(exported.parent.rglob("*")):
        if file.suffix in {".json", ".md"}:
            assert "/tmp" not in file.read_text(), file
            assert str(tmp_path.parent) not in file.read_text(), file


def test_same_inputs_give_identical_bytes(
    run: Run, emo: Path, example_files: tuple[Path, Path]
) -> None:
    for name in ("first", "second"):
        select = ("select", "-m", emo, "--examples", example_files[0], "-k", "4")
        assert run(*select, "--save-scores", "-o", name).code == 0
        assert run("export", "-s", f"{name}/selection.json", "-m", emo).code == 0
    first = {p.relative_to("first"): p for p in Path("first").rglob("*") if p.is_file()}
    assert len(first) > 6
    for relative, path in first.items():
        assert path.read_bytes() == (Path("second") / relative).read_bytes(), relative


def test_scores_file_selects_again_without_the_model(
    run: Run, emo: Path, example_files: tuple[Path, Path]
) -> None:
    select = ("select", "-m", emo, "--examples", example_files[0])
    assert run(*select, "-k", "6", "--save-scores", "-o", "a").code == 0
    assert run(*select, "-k", "4", "--score", "probability", "-o", "b").code == 0
    again = run(
        "select", "--scores", "a/scores.safetensors", "-k", "4", "--score",
        "probability", "-o", "c",
    )  # fmt: skip
    assert again.code == 0, again.err
    assert (
        Path("b/selection.json").read_bytes() == Path("c/selection.json").read_bytes()
    )


def test_every_score_and_greedy_select(
    run: Run, emo: Path, example_files: tuple[Path, Path]
) -> None:
    for score in ("frequency", "probability", "easy-ep", "reap", "random"):
        for greedy in ((), ("--greedy",)):
            made = run(
                "select", "-m", emo, "--examples", example_files[0], "-k", "50%",
                "--score", score, *greedy, "-o", f"{score}{len(greedy)}", "--json",
            )  # fmt: skip
            assert made.code == 0, made.err
            assert made.json["method"]["score"] == score
            assert made.json["method"]["greedy"] == bool(greedy)
            assert all(layer["kept"][-1] == 7 for layer in made.json["layers"])


def test_fewer_experts_than_top_k_need_leave_and_lower_top_k(
    run: Run, emo: Path, example_files: tuple[Path, Path]
) -> None:
    select = ("select", "-m", emo, "--examples", example_files[0], "-k", "2", "-o", "s")
    refused = run(*select)
    assert refused.code == 1
    assert "--lower-top-k" in refused.err
    assert not Path("s").exists()
    assert run(*select, "--lower-top-k").code == 0
    assert run("export", "-s", "s/selection.json", "-m", emo).code == 0
    config = json.loads(Path("s/checkpoint/config.json").read_text())
    assert (config["num_experts"], config["num_experts_per_tok"]) == (2, 2)
    assert run("eval", "s/checkpoint", "--examples", example_files[1]).code == 0


def test_export_leaves_up_to_date_exports_alone(
    run: Run, emo: Path, exported: Path
) -> None:
    stamp = (exported / "config.json").stat().st_mtime_ns
    again = run("export", "--model", emo)
    assert again.code == 0
    assert "up-to-date" in again.err
    assert (exported / "config.json").stat().st_mtime_ns == stamp


def test_a_stale_export_is_replaced_only_by_force(
    run: Run, emo: Path, exported: Path, example_files: tuple[Path, Path]
) -> None:
    select = ("select", "-m", emo, "--examples", example_files[0], "-k", "6")
    assert run(*select).code == 1  # the selection exists
    assert run(*select, "--force").code == 0
    refused = run("export")
    assert refused.code == 1
    assert "--force" in refused.err
    assert run("export", "--force").code == 0
    assert json.loads((exported / "config.json").read_text())["num_experts"] == 6


def test_dry_run_prints_the_plan_and_writes_nothing(
    run: Run, emo: Path, example_files: tuple[Path, Path]
) -> None:
    run("select", "-m", emo, "--examples", example_files[0], "-k", "50%", "-o", "s")
    plan = run("export", "-s", "s/selection.json", "--dry-run", "--json")
    assert plan.code == 0, plan.err
    assert [p.name for p in Path("s").iterdir()] == ["selection.json"]
    (planned,) = plan.json["exports"]
    assert run("export", "-s", "s/selection.json").code == 0
    written = sum(p.stat().st_size for p in Path("s/checkpoint").rglob("*"))
    assert planned["bytes_on_disk"] == written
    with safe_open("s/checkpoint/model.safetensors", framework="np") as file:
        assert len(list(file.keys())) == planned["num_tensors"]
    assert (
        "num_experts"
        in run("export", "-s", "s/selection.json", "-o", "t", "--dry-run").out
    )


def test_verify_finds_the_source_by_itself_and_a_flipped_bit(
    run: Run, exported: Path
) -> None:
    fine = run("verify", exported, "--json")
    assert fine.code == 0, fine.err
    assert fine.json["equal"] is True
    weights = exported / "model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-5] ^= 1
    weights.write_bytes(raw)
    broken = run("verify", exported)
    assert broken.code == 3
    assert not broken.out
    assert "differ" in broken.err


def test_gates_end_in_exit_code_3_after_the_results_are_written(
    run: Run, exported: Path, example_files: tuple[Path, Path]
) -> None:
    score = ("eval", exported, "--examples", example_files[1])
    assert run(*score, "--max-drop", "100").code == 0
    failed = run(*score, "--max-drop", "-100")
    assert failed.code == 3
    assert "--max-drop" in failed.err
    assert (exported.parent / "results.json").exists()
    assert run(*score, "--min-recovery", "0.0001%").code in {0, 3}
    assert run(*score, "--min-recovery", "1000%").code == 3


def test_eval_refuses_documents_that_chose_the_experts(
    run: Run, exported: Path, example_files: tuple[Path, Path]
) -> None:
    refused = run("eval", exported, "--examples", example_files[0])
    assert refused.code == 1
    assert "--allow-overlap" in refused.err
    assert not (exported.parent / "results.json").exists()
    allowed = run("eval", exported, "--examples", example_files[0], "--allow-overlap")
    assert allowed.code == 0, allowed.err


def test_qwen2_moe_export_scores_the_same(
    run: Run, emo: Path, exported: Path, example_files: tuple[Path, Path]
) -> None:
    made = run("export", "-s", exported.parent / "selection.json", "--as", "qwen2_moe")
    assert made.code == 0, made.err
    other = exported.with_name("checkpoint-qwen2_moe")
    assert run("verify", other).code == 0
    scores = [
        run("eval", folder, "--examples", example_files[1], "--json").json["tasks"]
        for folder in (exported, other)
    ]
    assert scores[0] == scores[1]
    assert {p.name for p in exported.parent.glob("results*")} == {
        "results.json",
        "results-qwen2_moe.json",
    }


def test_examples_may_be_chat_messages_or_text(
    run: Run, workplace: Path, emo: Path
) -> None:
    (workplace / "notes.txt").write_text("A first paragraph.\n\nA second one.\n")
    made = run("select", "-m", emo, "--examples", "notes.txt", "-k", "4", "--json")
    assert made.code == 0, made.err
    assert made.json["calibration"]["num_examples"] == 2
    (workplace / "chat.jsonl").write_text(
        '{"messages": [{"role": "user", "content": "hello"}]}\n'
    )
    refused = run("select", "-m", emo, "--examples", "chat.jsonl", "-k", "4")
    assert refused.code == 1  # the tiny tokenizer has no chat template
    assert "chat template" in refused.err


def test_documents_that_chose_the_parents_experts_are_refused_too(
    run: Run, exported: Path, example_files: tuple[Path, Path], workplace: Path
) -> None:
    other = workplace / "other.txt"
    other.write_text("Words that nobody has read before.\n")
    chosen = run("select", "-m", exported, "--examples", other, "-k", "3", "-o", "two")
    assert chosen.code == 0, chosen.err
    assert run("export", "-s", "two/selection.json", "-m", exported).code == 0
    scored = run("eval", "two/checkpoint", "--examples", example_files[0])
    assert scored.code == 1
    assert "--allow-overlap" in scored.err


def test_a_baseline_that_chose_its_experts_on_the_questions_is_refused(
    run: Run, emo: Path, exported: Path, example_files: tuple[Path, Path]
) -> None:
    score = ("eval", "-m", emo, "--examples", example_files[0])
    assert run(*score).code == 0
    assert run(*score, "--baseline", exported).code == 1


def test_eval_inside_an_export_leaves_it_as_it_was(
    run: Run,
    exported: Path,
    example_files: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = exported.resolve()
    monkeypatch.chdir(folder)
    scored = run("eval", ".", "--examples", example_files[1])
    assert scored.code == 0, scored.err
    assert (folder.parent / "results.json").exists()
    assert run("verify", ".").code == 0


def test_results_of_other_checkpoints_go_into_the_tasks_folder(
    run: Run, emo: Path, example_files: tuple[Path, Path]
) -> None:
    assert run("eval", "-m", emo, "--examples", example_files[1]).code == 0
    assert Path("emo-prune-out/questions/results-tiny-emo.json").exists()
    assert not list(emo.parent.glob("results*"))


def test_differences_in_bits_are_the_same_in_table_json_and_gate(
    run: Run, exported: Path, workplace: Path
) -> None:
    (workplace / "text.txt").write_text("Other words.\n\nMore of them here.\n")
    score = ("eval", exported, "--examples", "text.txt", "--baseline", "source")
    found = run(*score, "--json").json["comparison"]["headline"]
    assert found["difference"] == pytest.approx(found["value"] - found["baseline"])
    assert f"{found['difference']:+.2f}" in run(*score).out
    gate = run(*score, "--max-drop", str(found["difference"] - 0.01))
    assert gate.code == 3
    assert "bits" in gate.err


def test_scores_are_not_replaced_without_force(
    run: Run, emo: Path, example_files: tuple[Path, Path]
) -> None:
    select = ("select", "-m", emo, "--examples", example_files[0], "-k", "4")
    assert run(*select, "--save-scores", "-o", "o/a.json").code == 0
    assert run(*select, "--save-scores", "-o", "o/b.json").code == 0
    names = {path.name for path in Path("o").iterdir()}
    assert names == {"a.json", "b.json", "a.scores.safetensors", "b.scores.safetensors"}
    Path("o/a.json").unlink()
    assert run(*select, "--save-scores", "-o", "o/a.json").code == 1
    assert not Path("o/a.json").exists()


def test_several_exports_are_all_checked_before_one_is_written(
    run: Run, emo: Path, example_files: tuple[Path, Path], tmp_path: Path
) -> None:
    from tests.tiny_models import save_tiny

    other = save_tiny(tmp_path / "other", "emo", seed=3)
    for model, name in ((emo, "first"), (other, "second")):
        made = run(
            "select", "-m", model, "--examples", example_files[0], "-k", "4",
            "-o", f"emo-prune-out/{name}",
        )  # fmt: skip
        assert made.code == 0, made.err
    mixed = run("export", "--model", emo)
    assert mixed.code == 1
    assert not mixed.out
    assert not list(Path("emo-prune-out").glob("*/checkpoint"))
    assert run("export").code == 0  # each from where its own model was last seen
    assert len(list(Path("emo-prune-out").glob("*/checkpoint"))) == 2


def test_eval_says_so_of_an_export_of_an_earlier_selection(
    run: Run, emo: Path, exported: Path, example_files: tuple[Path, Path]
) -> None:
    select = ("select", "-m", emo, "--examples", example_files[0], "-k", "6")
    assert run(*select, "--force").code == 0
    scored = run("eval", "--examples", example_files[1])
    assert scored.code == 0, scored.err
    assert "earlier selection" in scored.err


def test_what_is_typed_beats_a_variable_that_excludes_it(
    run: Run,
    emo: Path,
    example_files: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EMO_PRUNE_TASK", "math")
    monkeypatch.setenv("EMO_PRUNE_EXPORT", "nowhere")
    made = run("select", "-m", emo, "--examples", example_files[0], "-k", "4")
    assert made.code == 0, made.err
    assert run("eval", "-m", emo, "--examples", example_files[1]).code == 0
