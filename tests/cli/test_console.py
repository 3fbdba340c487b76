"""What the command line prints, and what a settings file cannot take away."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from emo_prune.cli import console
from tests.cli.conftest import Run

HOSTILE = "\x1b]0;owned\x07\x1b[2J\u202etxt.exe\x9b31m"


def test_control_characters_are_shown_and_not_sent(
    capsys: pytest.CaptureFixture[str],
) -> None:
    console.note(HOSTILE)
    console.result(HOSTILE)
    console.document(json.dumps({"name": HOSTILE}, ensure_ascii=False))
    out, err = capsys.readouterr()
    for letter in "\x1b\x07\u202e\x9b":
        assert letter not in out + err
    assert "\\x1b[2J" in err
    assert json.loads(out.splitlines()[-1])["name"] == HOSTILE


def test_tables_keep_their_letters_and_lose_what_controls(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from rich.table import Table

    table = Table("name")
    table.add_row(f"[red]{HOSTILE}[/red]")
    console.table(table)
    out = capsys.readouterr().out
    assert "[red]" in out
    assert "\x1b" not in out
    assert "\u202e" not in out


def test_a_checkpoint_s_own_words_are_shown_escaped(
    run: Run, emo: Path, workplace: Path
) -> None:
    folder = workplace / "model\x1b[2J"
    shutil.copytree(emo, folder)
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": HOSTILE}
    (folder / "config.json").write_text(json.dumps(config))
    outcome = run("inspect", folder)
    assert "\x1b" not in outcome.out + outcome.err
    assert "\\x1b" in outcome.out + outcome.err


def test_help_works_beside_a_settings_file_that_does_not(
    run: Run, workplace: Path
) -> None:
    (workplace / "emo-prune.toml").write_text('kepe = "25%"\n')
    assert run("select", "--help").code == 0
    assert run("--help").code == 0
    refused = run("select", "--task", "math")
    assert refused.code == 1
    assert "did you mean keep?" in refused.err


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_byte_order_mark_is_passed_over(
    run: Run, workplace: Path, emo: Path, mark: bytes
) -> None:
    text = f'model = "{emo.as_posix()}"\n'.encode()
    (workplace / "emo-prune.toml").write_bytes(mark + text)
    assert run("inspect").code == 0


@pytest.mark.parametrize(
    "text",
    [
        "keep = " + "[" * 100_000,
        "keep = " + "9" * 5000,
        "keep = " + "9" * 400,
        "a." * 2000 + "b = 1",
        "keep = 1\nkeep = 2",
    ],
    ids=["deep", "5,000 digits", "400 digits", "dotted", "twice"],
)
def test_a_settings_file_that_cannot_be_read_is_named(
    run: Run, workplace: Path, text: str
) -> None:
    (workplace / "emo-prune.toml").write_text(text)
    outcome = run("select", "--task", "math")
    assert outcome.code == 1, outcome.err
    assert "emo-prune.toml" in outcome.err
    assert "Traceback" not in outcome.err
