"""The package has types for whoever checks their own code: what is returned has a name, and wrong calls are found."""

from __future__ import annotations

import subprocess
import sys

import pytest

import duckvstore as vs
from tests import ROOT

USER = """
import pandas as pd
import duckvstore as vs

store: vs.Store = vs.open("memory://typed")
library: vs.Library = store.create_library("eod")
item: vs.VersionedItem = library.write("s", pd.DataFrame({"a": [1]}))
result: vs.Result = library.sql("SELECT * FROM s AT VERSION 0")
frame: pd.DataFrame = result.df()
handle: vs.VersionHandle = library["s", 0]
report: vs.CollectionReport = library.gc()
checked: vs.VerificationReport = library.verify()
sizes: vs.SizesReport = library.sizes()
connection: vs.Connection = library.connect()
versions: dict[vs.SymbolVersion, vs.VersionInfo] = library.list_versions()
"""


WRONG = """library.read("s", as_off=3)
n: int = library.read("s")
"""


def test_a_users_program_is_checked(tmp_path):
    """Everything has its type; a misspelt parameter and a result taken for something else are found, and no more."""
    pytest.importorskip("mypy", reason="the environment of the newest DuckDB has no mypy, that of the others has")
    (tmp_path / "program.py").write_text(USER + WRONG)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--follow-imports=silent", "program.py"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    said = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False).stdout
    assert 'Unexpected keyword argument "as_off"' in said
    assert 'expression has type "VersionedItem", variable has type "int"' in said
    assert "Found 2 errors" in said, said


def test_what_calls_return_can_be_named():
    """Each name that is offered is there, and nothing else is."""
    for name in vs.__all__:
        assert getattr(vs, name) is not None
    library = vs.open("memory://named").create_library("eod")
    assert isinstance(library.sql("SELECT 1"), vs.Result)
    assert isinstance(library.verify(), vs.VerificationReport)
    assert not hasattr(vs, "NoSuchThing")
