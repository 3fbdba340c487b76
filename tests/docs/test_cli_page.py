"""The reference of the command line is what the command line says."""

from __future__ import annotations

import importlib.util
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_cli_page_is_current() -> None:
    spec = importlib.util.spec_from_file_location(
        "write_cli_page", REPOSITORY / "docs/write_cli_page.py"
    )
    assert spec is not None
    assert spec.loader is not None
    writer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(writer)
    assert writer.PAGE.read_text() == writer.cli_page(), (
        "run: python docs/write_cli_page.py"
    )
