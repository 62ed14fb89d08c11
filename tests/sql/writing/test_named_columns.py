"""UPDATE and DELETE of many columns: only those that the statement names are loaded, and it does the same."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import duckvstore as vs
from duckvstore.errors import SqlError
from duckvstore.sql.syntax import parser
from duckvstore.sql.writing import match_query, row_change, scratch

COLUMNS = 130


@pytest.fixture
def lib():
    lib = vs.open("memory://").create_library("lib")
    random = np.random.default_rng(1)
    frame = pd.DataFrame(random.integers(0, 9, (40, COLUMNS))).add_prefix("c").astype("float64")
    frame.iloc[::7, 3] = np.nan
    more = {
        "Größe": random.choice(["a", "b", None], 40),
        'quo"te': random.random(40),
        "odd name": range(40),
        "zoned": pd.date_range("2024", periods=40, tz="UTC").as_unit("us"),
        "any": pd.Series([None, np.nan, "x", pd.NA] * 10, dtype=object),
    }
    frame = pd.concat([frame, pd.DataFrame(more)], axis=1)
    lib.write("wide", frame.set_index(pd.date_range("2024", periods=40, name="t")))
    lib.write("other", pd.DataFrame({"c4": [1.0, 2.0], "k": [1.0, 5.0]}))
    return lib


STATEMENTS = {
    "UPDATE wide SET c5 = 1 WHERE c6 = (SELECT max(c6) FROM wide)": 2,
    "UPDATE wide SET c5 = C6 * 2, c7 = NULL WHERE c3 IS NULL": 4,
    "UPDATE wide AS w SET c5 = w.c4 + other.k FROM other WHERE w.c4 = other.c4": 2,
    'UPDATE wide SET "größe" = \'new\' WHERE "odd name" > 20 AND "quo""te" < 2': 3,
    "UPDATE wide SET zoned = zoned + INTERVAL 1 DAY WHERE c1 > 3": 2,
    "UPDATE wide SET t = t + INTERVAL 100 DAY WHERE c1 = 3": 2,
    "UPDATE wide SET \"any\" = 'y' WHERE c1 > 5": 2,
    "UPDATE wide SET c5 = (SELECT count(k) FROM other WHERE k > c9)": 2,
    "DELETE FROM wide WHERE c8 BETWEEN 2 AND 5": 1,
    "DELETE FROM wide USING other WHERE wide.c8 = k": 1,
    "DELETE FROM wide": 0,
    "UPDATE wide SET c5 = (SELECT count(*) FROM other WHERE k > c9)": None,
    "UPDATE wide SET c5 = twice(1)": None,
    "UPDATE wide SET c5 = 2 WHERE c6 = 3 RETURNING *": None,
    "DELETE FROM wide WHERE c6 = 3 RETURNING c9": None,
}


@pytest.mark.parametrize("text", STATEMENTS)
def test_a_statement_does_the_same_with_the_columns_that_it_names(lib, text, monkeypatch):
    """As with all of them, which are loaded where it may mean some that it does not name."""
    loaded = []
    load = scratch.Scratch.__init__

    def watched(self, *given):
        load(self, *given)
        loaded.append(self._loaded.num_columns - 1)

    monkeypatch.setattr(scratch.Scratch, "__init__", watched)
    lib.sql("CREATE MACRO twice(n) AS n * 2 + c11")
    count = lib.sql(text).fetchall()
    found = lib.read("wide").data
    names = len(lib.get_description("wide", as_of=0).columns) + 1
    assert loaded[0] == (names if STATEMENTS[text] is None else STATEMENTS[text])
    lib.restore_version("wide", 0)
    monkeypatch.setattr(row_change, "MANY_COLUMNS", 1000)
    assert lib.sql(text).fetchall() == count
    pd.testing.assert_frame_equal(lib.read("wide").data, found)
    if "RETURNING" not in text:
        assert loaded[-1] == names


def test_a_name_that_is_nowhere_is_refused(lib):
    """By DuckDB, as ever."""
    with pytest.raises(SqlError, match="nowhere"):
        lib.sql("UPDATE wide SET c5 = nowhere")


def test_which_columns_a_statement_names():
    """Every word and quoted name, so that none is missed."""
    statement = parser.parse('UPDATE x SET "A""b" = x.C5 -- c9\n WHERE d > \'c7\'')[0]
    assert match_query.columns(statement, statement.references[0]) >= {'a"b', "c5", "d"}
    assert not match_query.columns(statement, statement.references[0]) & {"c7", "c9"}


def test_positions_count_all_columns(lib):
    """Of a wide symbol too, where a statement by names loads the columns that it names alone."""
    before = lib.read("wide").data
    first = before.columns[0]
    lib.sql("DELETE FROM wide WHERE #1 IS NOT NULL AND #1 = #1")
    assert len(lib.read("wide").data) == int(before[first].isna().sum())


@pytest.mark.parametrize(
    "text",
    [
        "DELETE FROM {0} WHERE {0} IN (SELECT {0} FROM {0} WHERE c4 < 5)",
        "DELETE FROM {0} AS x WHERE x = (SELECT x)",
        "UPDATE {0} SET c4 = length({0}::VARCHAR)",
    ],
)
@pytest.mark.parametrize("symbol", ["wide", "other"])
def test_whole_rows_are_refused(lib, symbol, text):
    """The rows that are changed have a number, so that they were like no row, and nothing was changed."""
    with pytest.raises(SqlError, match="whole rows"):
        lib.sql(text.format(symbol))
    assert lib.read(symbol).version == 0
