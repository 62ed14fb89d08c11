"""What a magic's line and cell ask for."""

from __future__ import annotations

import pytest

from duckvstore.errors import InvalidInput
from duckvstore.jupyter.request import Request, parse

SQL = "SELECT 'it''s' AS a, b -c --comment\n  FROM t -- x\n"


@pytest.mark.parametrize(
    ("line", "cell", "expected"),
    [
        ("", SQL, Request(SQL)),
        ("SELECT 'it''s' --x", None, Request("SELECT 'it''s' --x")),
        ("SELECT a -b FROM t", None, Request("SELECT a -b FROM t")),
        ("frame <<", SQL, Request(SQL, output="frame")),
        ("frame<< SELECT 1 << 2", None, Request("SELECT 1 << 2", output="frame")),
        ("-t polars frame <<", SQL, Request(SQL, output="frame", type="polars")),
        ("frame << -t pyarrow", SQL, Request(SQL, output="frame", type="arrow")),
        ("-o x -t arrow --at 3 -l eod", SQL, Request(SQL, output="x", type="arrow", at="3", library="eod")),
        ("--at -1", SQL, Request(SQL, at="-1")),
        ("--at 'my snapshot'", SQL, Request(SQL, at="my snapshot")),
        ('--at "2026-01-31 10:00"', SQL, Request(SQL, at="2026-01-31 10:00")),
        ("--at='it''s'", SQL, Request(SQL, at="it's")),
        (
            "-p a=1 -p b=x -p c='two words' -p d=1.5",
            SQL,
            Request(SQL, parameters={"a": 1, "b": "x", "c": "two words", "d": 1.5}),
        ),
        ("--param=a=[1,2]", SQL, Request(SQL, parameters={"a": [1, 2]})),
        (
            "--limit 5 --explain --show-sql --no-display",
            SQL,
            Request(SQL, limit=5, explain=True, show_sql=True, no_display=True),
        ),
        ("SELECT a", "FROM t\n", Request("SELECT a\nFROM t\n")),
        ("-n 3 -- a comment", "SELECT 1", Request("-- a comment\nSELECT 1", limit=3)),
    ],
)
def test_leading_options_are_read_and_the_sql_is_left_alone(line, cell, expected):
    """Options end where the SQL begins; quotes, minus signs and comments of the SQL are not touched."""
    assert parse(line, cell) == expected


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--limt 5 SELECT 1", "Did you mean '--limit'"),
        ("-x 5 SELECT 1", "has no option -x"),
        ("--limit five", "no number of rows"),
        ("-t numpy", "none of pandas, polars, arrow"),
        ("-o 1x", "no name for a Python variable"),
        ("-o class", "no name for a Python variable"),
        ("lambda << SELECT 1", "no name for a Python variable"),
        ("-p threshold", "not of the form name=value"),
        ("-p 1=2", "not of the form name=value"),
        ("--at 'open", "is not closed"),
        ("--at", "needs a value: --at 3"),
    ],
)
def test_a_wrong_option_is_named_with_what_is_right(line, message):
    """Each mistake gives one InvalidInput that says what to write."""
    with pytest.raises(InvalidInput, match=message):
        parse(line, SQL)
