"""Where a folder may be written: every command that writes one says the same."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Files, Run
from tests.cli.test_pretrain import SETTINGS

COMMANDS = ("export", "extract", "carve", "restore", "pretrain")


@pytest.fixture
def command(request: pytest.FixtureRequest, run: Run) -> list[object]:
    """A command that writes a folder, all but its `-o`."""
    name = request.param
    if name == "pretrain":
        Path("corpus.jsonl").write_text('{"text": "the law of the river"}\n' * 40)
        settings = [f"--set={key}={value}" for key, value in SETTINGS.items()]
        cache = ("--token-cache", "tokens", "--track", "none", "--device", "cpu")
        return [name, "corpus.jsonl", *cache, *settings]
    if name in ("carve", "restore"):
        dense = request.getfixturevalue("dense")
        if name == "carve":
            return [name, dense, "-n", "8"]
        assert run("carve", dense, "-n", "8", "-o", "carved").code == 0
        return [name, "carved", "--dense"]
    files: Files = request.getfixturevalue("example_files")
    model = request.getfixturevalue("emo")
    if name == "extract":
        return [name, "-m", model, "--examples", files[0], "-k", "4"]
    chosen = run("select", "-m", model, "--examples", files[0], "-k", "4", "-o", ".")
    assert chosen.code == 0, chosen.err
    return [name, "-m", model, "-s", "selection.json"]


@pytest.mark.parametrize("command", COMMANDS, indirect=True)
def test_an_empty_folder_is_taken(run: Run, command: list[object]) -> None:
    Path("out/model").mkdir(parents=True)
    done = run(*command, "-o", "out/model")
    assert done.code == 0, done.err
    assert Path("out/model/config.json").is_file()
    left = {path.name for path in Path("out").iterdir()}
    assert left <= {"model", "selection.json", "model.run"}


@pytest.mark.skipif(os.name != "posix", reason="links to nowhere are made there")
@pytest.mark.parametrize("command", COMMANDS, indirect=True)
def test_a_place_that_leads_nowhere_is_named_at_once(
    run: Run, command: list[object]
) -> None:
    Path("loop").symlink_to("pool")
    Path("pool").symlink_to("loop")
    for output in ("loop", "loop/inside", "loop/inside/deeper"):
        done = run(*command, "-o", output)
        assert done.code == 1, done.err
        assert "circle" in done.err or "is no folder" in done.err
        assert "--output" in done.err
        assert "Traceback" not in done.err
        assert "building" not in done.err
        assert Path("loop").is_symlink()


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes there alone")
@pytest.mark.parametrize("command", COMMANDS, indirect=True)
def test_a_name_that_is_no_text_is_written_or_named(
    run: Run, command: list[object]
) -> None:
    output = Path(os.fsdecode(b"caf\xe9"))
    done = run(*command, "-o", output)
    assert "Traceback" not in done.err
    assert (done.code, output.exists()) in ((0, True), (1, False)), done.err
    if done.code:
        assert "hint:" in done.err


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes there alone")
@pytest.mark.parametrize("command", ["export", "extract", "carve"], indirect=True)
def test_a_model_whose_name_is_no_text_works_or_is_named(
    run: Run, command: list[object]
) -> None:
    at = next(i for i, one in enumerate(command) if Path(str(one)).is_dir())
    odd = Path(os.fsdecode(b"mod\xe9le"))
    odd.symlink_to(str(command[at]))
    renamed = Path(os.fsdecode(b"tiny-\xe9"))
    renamed.mkdir()
    for file in Path(str(command[at])).iterdir():
        (renamed / file.name).write_bytes(file.read_bytes())
    for model in (odd, renamed):
        output = f"out-{model == odd}"
        done = run(*command[:at], model, *command[at + 1 :], "-o", output)
        assert "Traceback" not in done.err
        assert done.code in (0, 1), done.err
        if done.code:
            assert "no UTF-8" in done.err
            assert not Path(output).exists()
        else:
            assert Path(output, "config.json").is_file()
