"""Other people's clients, as they are: a public suite for DB-API drivers, JupySQL in IPython, and a marimo notebook.

JupySQL and marimo run in a process of their own each, as they would for a user, with a home folder of their own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import dbapi20
import pandas as pd
import pytest

import duckvstore as vs
from duckvstore.sql import dbapi


class TestCompliance(dbapi20.DatabaseAPI20Test):
    """The suite that many drivers share (dbapi-compliance on PyPI), over a folder; each test begins without tables."""

    driver = dbapi
    # Like DuckDB's, our connections have no callproc and no nextset, which PEP 249 leaves open.
    lower_func = None

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self.connect_args = (str(tmp_path / "store"), "lib")

    def setUp(self):
        """Make the library that every connection of a test opens."""
        vs.open(self.connect_args[0], {"fsync": False}).create_library("lib")

    def test_nextset(self):
        """Of several statements in one text only the last one's rows are kept, so there is no nextset."""
        with self._connect() as connection:
            assert not hasattr(connection.cursor(), "nextset")
            assert connection.execute("SELECT 1; SELECT 2").fetchall() == [(2,)]

    def test_setoutputsize(self):
        """It may be called, and changes nothing: values are of any size."""
        with self._connect() as connection:
            cursor = connection.cursor()
            cursor.setoutputsize(1)
            assert cursor.execute("SELECT 'long'").fetchone() == ("long",)

    def test_non_idempotent_close(self):
        """The suite calls its wish for an error debatable; a second close does nothing, as with DuckDB and sqlite3."""
        connection = self._connect()
        connection.close()
        connection.close()


JUPYSQL = """
import json, sys
from IPython.core.interactiveshell import InteractiveShell
import duckvstore as vs

shell = InteractiveShell.instance()
shell.user_ns.update(con=vs.open(sys.argv[1])["eod"].connect(author="ann"), limit=1.5)
shell.run_line_magic("load_ext", "sql")
shell.run_line_magic("sql", "con --alias eod")

def cell(line, body):
    return shell.run_cell_magic("sql", line, body)

past = cell("", "SELECT * FROM trades AT VERSION 0 WHERE price > {{limit}}")
cell("", "INSERT INTO trades VALUES ('d', 9)")
cell("newest <<", "FROM trades ORDER BY sym")
shell.run_line_magic("sql", "--save dear --no-execute SELECT * FROM trades AT VERSION -1 WHERE price > 2")
snippet = cell("--with dear", "SELECT count(*) AS n FROM dear")
try:
    cell("", "FROM tradez")
    error = None
except Exception as caught:
    error = str(caught)
print("FOUND", json.dumps({
    "past": past.DataFrame().to_dict("list"),
    "newest": shell.user_ns["newest"].DataFrame().to_dict("list"),
    "snippet": snippet.DataFrame().to_dict("list"),
    "html": past._repr_html_(),
    "error": error,
}))
"""

MARIMO = """
import marimo

app = marimo.App()

@app.cell
def _():
    import sys
    import marimo as mo
    import duckvstore as vs
    con = vs.open(sys.argv[1])["eod"].connect()
    return con, mo

@app.cell
def _(con, mo):
    past = mo.sql("SELECT * FROM trades AT VERSION 0 WHERE price > 1.5", engine=con)
    return (past,)

@app.cell
def _(con, mo, past):
    changes = mo.sql("SELECT change, sym FROM vstore.diff('trades', 0, 1)", engine=con)
    return (changes,)

if __name__ == "__main__":
    import json
    _, found = app.run()
    print("FOUND", json.dumps({
        "past": found["past"].to_dict(as_series=False),
        "changes": found["changes"].to_dict(as_series=False),
    }))
"""


@pytest.fixture
def store(tmp_path):
    """A store on disk with two versions of eod/trades."""
    opened = vs.open(tmp_path / "store", {"fsync": False})
    library = opened.create_library("eod")
    library.write("trades", pd.DataFrame({"sym": ["a", "b"], "price": [1.0, 2.0]}))
    library.write("trades", pd.DataFrame({"sym": ["a", "b", "c"], "price": [1.0, 2.0, 3.0]}))
    return opened


def found_by(script: str, tmp_path) -> dict:
    """Return what ``script`` finds in the store, run by itself."""
    file = tmp_path / "client.py"
    file.write_text(script, encoding="utf-8")
    home = tmp_path / "home"
    home.mkdir()
    quiet = {"HOME": str(home), "PLOOMBER_STATS_ENABLED": "false", "MARIMO_SKIP_UPDATE_CHECK": "1"}
    run = subprocess.run(
        [sys.executable, str(file), str(tmp_path / "store")],
        env={**os.environ, **quiet},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    (line,) = [line for line in run.stdout.splitlines() if line.startswith("FOUND ")]
    return json.loads(line.removeprefix("FOUND "))


def test_jupysql_runs_sql_over_a_connection(store, tmp_path):
    """Time travel with a variable of the notebook, a write, a named result, a saved snippet, a placed error."""
    found = found_by(JUPYSQL, tmp_path)
    assert found["past"] == {"sym": ["b"], "price": [2.0]}
    assert found["newest"] == {"sym": ["a", "b", "c", "d"], "price": [1.0, 2.0, 3.0, 9.0]}
    assert found["snippet"] == {"n": [2]}
    assert "<table" in found["html"]
    assert "'trades'" in found["error"]
    assert "column 6" in found["error"]
    ((author, message),) = store["eod"].sql("SELECT author, message FROM vstore.versions WHERE version = 2").fetchall()
    assert (author, message) == ("ann", "INSERT INTO trades VALUES ('d', 9)")


def test_marimo_takes_a_connection_as_an_engine(store, tmp_path):
    """Its SQL cells give polars frames, of a past version and of a diff."""
    found = found_by(MARIMO, tmp_path)
    assert found["past"] == {"sym": ["b"], "price": [2.0]}
    assert found["changes"] == {"change": ["insert"], "sym": ["c"]}
