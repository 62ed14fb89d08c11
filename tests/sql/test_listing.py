"""SHOW TABLES, the first thing that people type who know DuckDB, and what is said about names that are not there."""

from __future__ import annotations

import pandas as pd
import pytest

import duckvstore as vs


@pytest.fixture
def store():
    """Two libraries: "a b" with the symbols trades and "Ex x", and eod with trades; "gone" is deleted."""
    store = vs.open("memory://listing")
    frame = pd.DataFrame({"price": [1.0, 2.0], "sym": ["x", "y"]})
    for library, symbols in {"a b": ["trades", "Ex x", "gone"], "eod": ["trades"]}.items():
        for symbol in symbols:
            store.create_library(library) if library not in store else None
            store[library].write(symbol, frame)
    store["a b"].delete("gone")
    yield store
    store.session.close()
    for library in list(store):
        store.delete_library(library)


@pytest.mark.parametrize("text", ["SHOW TABLES", "show tables;", "\n Show\tTables ; SHOW TABLES"])
def test_show_tables_names_the_live_symbols(store, text):
    """Those of the library by their names, those of a store by library and name, in DuckDB's one column."""
    library = store["a b"]
    result = library.sql(text)
    assert (result.columns, result.fetchall()) == (["name"], [("Ex x",), ("trades",)])
    assert store.sql(text).fetchall() == [("a b.Ex x",), ("a b.trades",), ("eod.trades",)]
    library.session.close()


def test_show_tables_names_what_the_session_made(store):
    """Temporary tables and views stand among the symbols; nothing that we registered does."""
    library = store["eod"]
    library.sql("CREATE TEMP TABLE mine AS FROM trades; CREATE TEMP VIEW seen AS SELECT 1 AS a; FROM vstore.versions")
    assert library.sql("SHOW TABLES").fetchall() == [("mine",), ("seen",), ("trades",)]
    library.session.close()


def test_show_tables_of_an_empty_library_and_an_empty_store():
    """Nothing there is no rows, under the same column."""
    store = vs.open("memory://listing-empty")
    assert store.sql("SHOW TABLES").fetchall() == []
    library = store.create_library("eod")
    assert library.sql("SHOW TABLES").columns == ["name"]
    assert library.sql("SHOW TABLES").fetchall() == []
    library.session.close()
    store.session.close()


def test_a_name_that_is_not_there_is_never_answered_with_a_system_table(store):
    """DuckDB would propose sqlite_master; the nearest symbols are named instead."""
    library = store["eod"]
    with pytest.raises(vs.SqlError, match="'trades'") as raised:
        library.sql("FROM trade")
    for text in ("FROM trade", "FROM flights", "FROM segment"):
        with pytest.raises(vs.SqlError) as raised:
            library.sql(text)
        assert not any(word in str(raised.value) for word in ("sqlite_", "pg_", "duckdb_"))
    library.session.close()


def test_text_in_double_quotes_is_explained(store):
    """The commonest slip of those who come from other databases."""
    library = store["eod"]
    with pytest.raises(vs.SqlError, match="write text in single quotes"):
        library.sql('SELECT * FROM trades WHERE sym = "zz"')
    with pytest.raises(vs.SqlError) as raised:
        library.sql("SELECT prise FROM trades")
    assert "single quotes" not in str(raised.value)
    library.session.close()
