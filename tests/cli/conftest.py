"""A store of one library, and the command run on it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pandas as pd
import pytest

import duckvstore as vs
from duckvstore import cli

EVIL = "n\x1b[31mred\u202e\r\nnext\x9b2J"


@pytest.fixture
def lib(tmp_path, monkeypatch):
    """``trades`` with three versions, a snapshot of the first, and ``names``; the test is in the store's folder."""
    for name in ("DUCKVSTORE_URL", "DUCKVSTORE_LIBRARY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    library = vs.open(tmp_path / "store").create_library("eod")
    library.write("trades", pd.DataFrame({"id": [1, 2], "price": [1.5, float("nan")]}), {"source": "x"}, author="ann")
    library.snapshot("month-end", message="as reported")
    library.append("trades", pd.DataFrame({"id": [3], "price": [3.5]}), message="late")
    library.write("trades", pd.DataFrame({"id": [1, 2, 3], "price": [1.5, 2.5, 3.5]}))
    library.write("names", pd.DataFrame({"name": ["a,b", 'c"d']}))
    return library


@pytest.fixture
def run(lib, capfdbinary):
    """Return a function that runs the command in this process on the store: exit code, output, errors."""

    def call(*arguments: str, at: str | None = "store") -> tuple[int, str, str]:
        capfdbinary.readouterr()
        try:
            code = cli.main([*(["--store", at] if at else []), *arguments])
        except SystemExit as end:
            code = end.code
        out, err = capfdbinary.readouterr()
        return code, out.decode(), err.decode()

    return call


@pytest.fixture
def asked(run):
    """Return a function that runs the command with --json and returns what it says."""

    def call(*arguments: str, code: int = 0):
        found, out, err = run(*arguments, "--json")
        assert found == code, err
        assert out.isascii()
        return json.loads(out)

    return call


def environment(**more: str) -> dict[str, str]:
    """Return the variables for a process of the command, which takes warnings for errors."""
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    return {**kept, "PYTHONWARNINGS": "error", "PYTHONIOENCODING": "utf-8", **more}


def process(*arguments: str, cwd=None, text: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "duckvstore", *arguments],
        input=text,
        capture_output=True,
        encoding="utf-8",
        cwd=cwd,
        env=environment(**variables),
        timeout=120,
        check=False,
    )
