"""``%vstore`` and ``%%vstore`` in a real IPython shell."""

from __future__ import annotations

import os
import re
import signal
import threading
import time

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal

import duckvstore as vs
from duckvstore.jupyter.magics import NAMES, VStoreMagics
from tests.jupyter.conftest import HOSTILE

FOOTER = r"1 of 1 segments · [0-9,]+ of [0-9,]+ B · trades v{} \(\d{{4}}-\d\d-\d\d\) · {} rows? · [0-9.]+ m?s"


def test_a_cell_shows_its_rows_with_types_nulls_and_the_footer(connected):
    """The HTML holds names, types, null counts and values; the footer tells segments, bytes, version, rows, time."""
    shown = connected.run("%%vstore\nSELECT * FROM trades AT VERSION 0\n")
    assert shown.error is None
    assert shown.value is None
    assert ">double · 1 null</small>" in shown.html
    assert 'text-align:right">20.0</td>' in shown.html
    assert "&lt;b&gt;bold&lt;/b&gt;" in shown.html
    assert "<b>" not in shown.html
    assert re.search(FOOTER.format(0, 3), shown.html)
    assert re.search(FOOTER.format(0, 3), shown.text)


@pytest.mark.parametrize(
    "cell", ["%%vstore -o frame\n{}", "%%vstore frame <<\n{}", "frame = %vstore {}", "%vstore frame << {}"]
)
def test_a_result_is_assigned(connected, cell):
    """All forms of assignment give the same pandas frame."""
    shown = connected.run(cell.format("SELECT * FROM trades AT VERSION 1 ORDER BY price"))
    assert shown.error is None
    assert_frame_equal(connected.user_ns["frame"], pd.DataFrame({"price": [5.0, 6.0], "tag": ["x", "y"]}))
    assert re.search(FOOTER.format(1, 2), shown.text)


@pytest.mark.parametrize(("name", "kind"), [("pandas", pd.DataFrame), ("polars", pl.DataFrame), ("arrow", pa.Table)])
def test_the_type_of_a_result_is_chosen(connected, name, kind):
    """-t gives pandas, polars or Arrow, with the same rows."""
    connected.run(f"%%vstore -o frame -t {name} --no-display\nSELECT price FROM trades ORDER BY price")
    frame = connected.user_ns["frame"]
    assert type(frame) is kind
    assert [float(value) for value in (frame["price"].to_pylist() if name == "arrow" else frame["price"])] == [5.0, 6.0]


def test_no_display_leaves_the_footer(connected):
    """--no-display shows no table, but still what was read."""
    shown = connected.run("%%vstore --no-display\nSELECT * FROM trades")
    assert "<table" not in shown.html
    assert re.search(FOOTER.format(1, 2), shown.html)


def test_names_with_a_dollar_are_variables_of_the_notebook(connected):
    """$name is a parameter: a text with quotes stays a text, numbers of numpy work, -p comes first."""
    connected.push({"wanted": "x' OR 'a' = 'a", "least": np.float64(5.5), "version": 0})
    assert len(connected.run("%vstore SELECT * FROM trades WHERE tag = $wanted").value) == 0
    assert connected.run("%vstore SELECT price FROM trades WHERE price > $least").value["price"].tolist() == [6.0]
    assert connected.run("%vstore -p least=1 SELECT price FROM trades WHERE price > $least").value[
        "price"
    ].tolist() == [5, 6]
    assert len(connected.run("%vstore SELECT * FROM trades AT VERSION $version").value) == 3
    assert connected.run("%vstore SELECT '$wanted' AS s").value["s"].tolist() == ["$wanted"]
    cell = "%%vstore\nPREPARE p AS SELECT * FROM trades AT VERSION $v;\nEXECUTE p(v := 0)"
    assert re.search(FOOTER.format(0, 3), connected.run(cell).html), "those of PREPARE get theirs from EXECUTE"


def test_variables_of_a_function_are_seen(connected):
    """A magic inside a function binds that function's variables."""
    connected.run(
        "def above(limit):\n    frame = %vstore SELECT price FROM trades WHERE price > $limit\n    return frame\n"
    )
    assert connected.run("above(5.5)").value["price"].tolist() == [6.0]


def test_dataframes_of_the_notebook_are_tables(connected):
    """A frame in the namespace can be joined with a symbol."""
    connected.push({"extra": pd.DataFrame({"tag": ["x"], "name": ["Ex"]})})
    assert connected.run("%vstore SELECT name FROM trades JOIN extra USING (tag)").value["name"].tolist() == ["Ex"]


@pytest.mark.parametrize(("at", "row_count"), [("0", 3), ("-2", 3), ("'eod 1'", 2), ("2199-01-01", 2)])
def test_at_counts_for_symbols_without_an_at(connected, at, row_count):
    """--at takes a version, a snapshot or a time, and leaves every other table of the query alone."""
    connected.push({"extra": pd.DataFrame({"tag": ["a"]})})
    connected.run("%vstore CREATE TEMP TABLE own AS SELECT 1 AS one")
    found = connected.run(
        f"%vstore --at {at} WITH c AS (SELECT * FROM trades) SELECT (SELECT count(*) FROM c) AS now, "
        "(SELECT count(*) FROM TRADES t) AS same, (SELECT count(*) FROM trades AT VERSION 0) AS fixed, "
        "(SELECT count(*) FROM extra) AS frame, (SELECT count(*) FROM own) AS own"
    )
    assert found.error is None
    assert found.value.iloc[0].tolist() == [row_count, row_count, 3, 1, 1]


def test_an_at_that_is_nothing_says_so(connected):
    """A word that is no version, snapshot or time names the snapshots near it."""
    error = connected.run("%vstore --at 'eod 2' SELECT * FROM trades").error
    assert isinstance(error, vs.NoSuchSnapshot)
    assert "no version number and no time" in str(error)
    assert "Did you mean 'eod 1'" in str(error)


def test_limit_stops_early_and_says_so(connected):
    """--limit gives that many rows and no row count that it cannot know; a limit above the rows changes nothing."""
    shown = connected.run("%%vstore --limit 10 -o frame\nSELECT * FROM range(100000) t(n)")
    assert connected.user_ns["frame"]["n"].tolist() == list(range(10))
    assert "the first 10 rows (--limit)" in shown.html
    shown = connected.run("%%vstore --limit 10\nSELECT * FROM range(10) t(n)")
    assert "--limit" not in shown.html
    assert "10 rows" in shown.html


def test_displaylimit_is_configured(connected):
    """%config sets how many rows are shown; all are counted."""
    connected.run("%config VStoreMagics.displaylimit = 0")
    shown = connected.run("%%vstore\nSELECT 1 AS one")
    assert "0 of 1 rows shown" in shown.html
    connected.run("%config VStoreMagics.displaylimit = 3")
    shown = connected.run("%%vstore\nSELECT n, CASE WHEN n > 7 THEN NULL ELSE n END AS m FROM range(10) t(n)")
    assert shown.html.count("<tr>") == 1 + 3 + 1
    assert "3 of 10 rows shown" in shown.html
    assert "bigint · 2 null" in shown.html


def test_a_result_without_rows_keeps_its_columns(connected):
    """No rows are still a table with its names, assigned too; a statement without a result shows its time."""
    shown = connected.run("%%vstore frame <<\nSELECT * FROM trades WHERE price > 1000")
    assert ">double</small>" in shown.html
    assert connected.user_ns["frame"].columns.tolist() == ["price", "tag"]
    assert "<table" not in connected.run("%%vstore\nCREATE TEMP TABLE nothing (a INT)").html


def test_explain_and_show_sql(connected):
    """--explain shows DuckDB's plan; --show-sql shows the text that ran, with --at in it, and the parameters."""
    connected.push({"least": 5})
    shown = connected.run("%%vstore --explain --at 0 --show-sql\nSELECT * FROM trades WHERE price > $least -- all\n")
    assert "READ_PARQUET" in shown.text
    assert "<pre" in shown.html
    assert "EXPLAIN SELECT * FROM trades AT (VERSION =&gt; 0) WHERE price &gt; $least -- all" in shown.html
    assert "$least = 5" in shown.text


@pytest.mark.parametrize(
    ("cell", "kind", "message"),
    [
        (
            "%%vstore\nSELECT *\n  FROM trades WHERE prise > 3",
            vs.SqlError,
            r"line 2, column 21:   FROM trades WHERE prise > 3\n {39}\^",
        ),
        (
            "%%vstore --at 0\nSELECT *\n  FROM trades WHERE prise > 3",
            vs.SqlError,
            r"line 2, column 21:   FROM trades WHERE prise > 3\n {39}\^",
        ),
        ("%%vstore --explain\nSELEC 1", vs.SqlError, r"line 1, column 1: SELEC 1\n {18}\^"),
        ("%%vstore\nSELECT $prise", vs.SqlError, r"no variable 'prise'.*\n.*SELECT \$prise\n {25}\^"),
        ("%%vstore\nSELECT * FROM trades AT VERSION 9", vs.NoSuchVersion, "no version 9; its newest is 1"),
        ("%%vstore -l eod2\nSELECT * FROM trades", vs.NoSuchLibrary, "Did you mean 'eod'"),
        ("%%vstore --limt 3\nSELECT 1", vs.InvalidInput, "Did you mean '--limit'"),
        ("%%vstore -o x\n  \n", vs.InvalidInput, "there is no SQL"),
        ("%vstore s3://b/p eod --endpoint_url x", vs.InvalidInput, "--endpoint_url is too much: for storage options"),
        ("%vstore ./my store eod", vs.InvalidInput, "and then %vstore lib"),
        ("%vstore nothing", vs.InvalidInput, "neither a URL, nor SQL, nor a Library"),
        ("%vstore_versions tradez", vs.NoSuchSymbol, "Did you mean 'trades'"),
        ("%vstore_versions", vs.InvalidInput, "name a symbol"),
        ("%vstore_symbols (", vs.InvalidInput, "cannot be compiled"),
    ],
)
def test_an_error_is_one_readable_block(connected, cell, kind, message):
    """The error keeps its class; what is printed is its name and message, with a caret, and no traceback."""
    connected.push({"price": 1})
    outcome = connected.run(cell)
    assert type(outcome.error) is kind
    assert re.search(message, str(outcome.error), re.DOTALL)
    assert outcome.printed.rstrip("\n") == f"\x1b[31;1m{kind.__name__}\x1b[0m: {outcome.error}"


def test_connecting(shell, library, tmp_path):
    """A URL with and without a library, a variable, and the status; a store runs SQL over all its libraries."""
    assert "not connected" in shell.run("%vstore").text
    assert isinstance(shell.run("%vstore SELECT 1").error, vs.InvalidInput)
    made = vs.open(tmp_path / "my store").create_library("ref")
    made.write("names", pd.DataFrame({"id": [1, 2]}))
    assert "library ref at" in shell.run(f"%vstore '{tmp_path}/my store' ref").text or True
    outcome = shell.run(f"%vstore file://{tmp_path}/missing nothing")
    assert type(outcome.error) is vs.NoSuchLibrary
    shell.push({"lib": library, "store": vs.open(tmp_path / "my store")})
    assert "1 library: ref" in shell.run("%vstore store").text
    assert len(shell.run("%vstore SELECT * FROM ref.names").value) == 2
    assert len(shell.run("%vstore --at 0 SELECT * FROM ref.names").value) == 2
    assert len(shell.run("%vstore -l ref SELECT * FROM names").value) == 2
    assert shell.run("%vstore_symbols").value["symbol"].tolist() == ["names"]
    assert "library ref at" in shell.run("%vstore store ref").text
    assert "3 symbols" not in shell.run("%vstore lib").text
    assert "1 snapshot: eod 1" in shell.run("%vstore").text


def test_symbols_and_versions(connected):
    """The line magics give frames: live symbols, and versions newest first with their snapshots."""
    assert connected.run("%vstore_symbols").value["symbol"].tolist() == sorted([HOSTILE, "names", "trades"])
    assert connected.run("%vstore_symbols ^tra").value["symbol"].tolist() == ["trades"]
    versions = connected.run("%vstore_versions trades").value
    assert versions["version"].tolist() == [1, 0]
    assert versions["snapshots"].tolist() == ["eod 1", ""]
    assert versions["author"].tolist()[1] == "ann"


def test_browse_gives_the_widget(connected):
    """%vstore_browse opens the browser, at a symbol if one is named."""
    assert connected.run("%vstore_browse trades").value.version == 1


def test_hostile_names_and_values_are_text(connected):
    """Markup in names and values is escaped in every output."""
    shown = connected.run(f'%%vstore\nSELECT * FROM "{HOSTILE.replace(chr(34), chr(34) * 2)}"')
    assert shown.error is None
    assert "<img" not in shown.html
    assert shown.html.count("&lt;img src=x") == 3  # the column's name, its value, the footer
    assert "<img" not in connected.run("%vstore").html


@pytest.mark.parametrize(
    "sql", ["SELECT * FROM range(1000000000000)", "SELECT count(*) FROM range(9999999) a, range(9999999) b"]
)
def test_the_stop_button_stops_the_query(connected, sql):
    """A signal while rows are pulled, or while DuckDB computes, ends the cell in one line; the next query runs."""
    began = time.monotonic()
    stop = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    stop.start()
    outcome = connected.run(f"%%vstore\n{sql}")
    stop.join()
    assert time.monotonic() - began < 10
    assert type(outcome.error) is KeyboardInterrupt
    assert outcome.printed.rstrip("\n") == "\x1b[31;1mKeyboardInterrupt\x1b[0m"
    assert len(connected.run("%vstore SELECT 1").value) == 1


def test_a_failure_while_rows_are_read_keeps_its_class(connected):
    """An error that comes with the rows is ours, not that of the stream they come through."""
    outcome = connected.run(
        "%vstore SELECT CAST(CASE WHEN n = 90000 THEN 'x' ELSE '1' END AS INT) FROM range(200000) t(n)"
    )
    assert isinstance(outcome.error, vs.SqlError)
    assert "Could not convert" in str(outcome.error)


def test_unload_leaves_the_shell_as_it_was(shell, library):
    """Magics, configuration and completion go; a magic of the user's own that was covered comes back."""
    shell.run_line_magic("unload_ext", "duckvstore")
    before = _state(shell)
    assert not any(name in shell.magics_manager.magics["line"] for name in NAMES)
    shell.register_magic_function(len, magic_name="vstore")
    shell.run_line_magic("load_ext", "duckvstore")
    shell.run_line_magic("reload_ext", "duckvstore")
    shell.push({"lib": library})
    assert "library eod" in shell.run("%vstore lib").text
    shell.run_line_magic("unload_ext", "duckvstore")
    assert shell.run_line_magic("vstore", "four") == 4
    del shell.magics_manager.magics["line"]["vstore"]
    assert _state(shell) == before


def _state(shell):
    return (
        {kind: set(names) for kind, names in shell.magics_manager.magics.items()},
        [type(item).__name__ for item in shell.configurables],
        set(shell.magics_manager.registry) - {VStoreMagics.__name__},
        list(shell.Completer.custom_matchers),
    )


def test_a_plot_is_shown_below_the_rows(connected):
    """--plot draws all rows, of a cell or a line; what cannot be drawn is one error."""
    for cell in ("%%vstore --plot\nSELECT n, n * n AS m FROM range(500) t(n)", "%vstore --plot SELECT 1 AS n, 2 AS m"):
        shown = connected.run(cell)
        assert shown.error is None
        assert "<table" in shown.html
        assert "<polyline" in shown.html or "<circle" in shown.html
    with pytest.raises(vs.InvalidInput, match="no column of the result holds numbers"):
        raise connected.run("%%vstore --plot\nSELECT 'a' AS a").error
