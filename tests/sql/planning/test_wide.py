"""Frames of many columns: what a statement asks of DuckDB, and of Arrow, grows with the columns and no faster."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import duckvstore as vs
from duckvstore.format.stored import schema as schemas
from duckvstore.sql.driver import interrupts

STATEMENTS = {
    "INSERT": lambda lib, count: lib.sql(f"INSERT INTO s VALUES ({', '.join(['1'] * count)})"),
    "INSERT SELECT": lambda lib, count: lib.sql("INSERT INTO s SELECT * FROM s LIMIT 1"),
    "UPDATE": lambda lib, count: lib.sql("UPDATE s SET c0 = 7"),
    "DELETE": lambda lib, count: lib.sql("DELETE FROM s WHERE c0 = 1"),
    "diff": lambda lib, count: (lib.write("s", frame(count) + 1), lib.sql("FROM vstore.diff('s', 0, 1)")),
    "diff by key": lambda lib, count: (
        lib.write("s", frame(count) + 1),
        lib.sql("FROM vstore.diff('s', 0, 1, key := 'c0')"),
    ),
}


def frame(count):
    return pd.DataFrame(np.arange(3.0 * count).reshape(3, count), columns=[f"c{at}" for at in range(count)])


@pytest.mark.parametrize("name", STATEMENTS)
def test_the_text_for_duckdb_is_as_long_as_there_are_columns(name, monkeypatch):
    """Twice the columns are twice the text, and as many statements."""
    asked = []
    for method in ("execute", "sql"):
        original = getattr(interrupts.Cursor, method)

        def noted(cursor, text, *arguments, of=original, **options):
            asked.append(len(text))
            return of(cursor, text, *arguments, **options)

        monkeypatch.setattr(interrupts.Cursor, method, noted)
    found = []
    for count in (120, 240):
        lib = vs.open("memory://").create_library("eod")
        lib.write("s", frame(count))
        asked.clear()
        STATEMENTS[name](lib, count)
        found.append((len(asked), sum(asked)))
    assert found[0][0] == found[1][0] > 0
    assert found[1][1] < 2.3 * found[0][1]


def test_names_are_asked_for_once():
    """Arrow makes a new list of all names at each look: one look for each column was a minute for 10,000 columns."""

    class Counting:
        looks = 0

        @property
        def column_names(self):
            self.looks += 1
            return [f"c{at}" for at in range(100)]

    table = Counting()
    assert schemas.present((f"c{at}" for at in range(98, 105)), table) == ["c98", "c99"]
    assert table.looks == 1
    assert schemas.present(["b", "x", "a"], pa.table({"a": [1], "b": [2]})) == ["b", "a"]
