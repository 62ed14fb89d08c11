"""SHOW TABLES, the first thing that people type who know DuckDB, and what is said about names that are not there."""

from __future__ import annotations

import threading

import duckdb
import pandas as pd
import pytest

import duckvstore as vs
from duckvstore.engine.library import libraries
from tests.sizes import step


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


def test_table_info_takes_symbols_snapshots_and_the_catalogue(store):
    """By a word or a string, which may have dots and quotes of its own, as DuckDB takes it."""
    library = store["a b"]
    library.snapshot("eod-1")
    for text in ('PRAGMA table_info(\'"eod-1"."Ex x"\')', 'PRAGMA table_info("Ex x")', "PRAGMA table_info(TRADES)"):
        result = library.sql(text)
        assert result.columns == ["cid", "name", "type", "notnull", "dflt_value", "pk"]
        assert [row[:3] for row in result.fetchall()] == [(0, "price", "DOUBLE"), (1, "sym", "VARCHAR")], text
    assert library.sql("CALL pragma_table_info('vstore.snapshots')").fetchall()[0][1] == "snapshot"
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


@pytest.fixture
def listed(store):
    """The library "a b" of ``store``, with a snapshot "eod-2026" and a later version of trades with one column more."""
    library = store["a b"]
    library.snapshot("eod-2026")
    library.write("trades", pd.DataFrame({"price": [1.0], "sym": ["x"], "qty": [3]}))
    yield library
    library.session.close()


def test_all_tables_are_symbols_snapshots_and_the_catalogue(listed):
    """With columns and types as in the version that each name means."""
    found = listed.sql("SHOW ALL TABLES")
    assert found.columns == ["database", "schema", "name", "column_names", "column_types", "temporary"]
    by_name = {row[:3]: row[3:] for row in found.fetchall()}
    plain = (["price", "sym"], ["DOUBLE", "VARCHAR"], False)
    assert by_name["a b", "main", "trades"] == (["price", "sym", "qty"], ["DOUBLE", "VARCHAR", "BIGINT"], False)
    assert by_name["a b", "eod-2026", "trades"] == by_name["a b", "main", "Ex x"] == plain
    assert {name for _, schema, name in by_name if schema == "vstore"} >= {"symbols", "versions", "snapshots"}
    assert ("a b", "main", "gone") not in by_name
    inner = "SELECT name FROM (SHOW ALL TABLES) WHERE schema = 'eod-2026' ORDER BY name"
    assert listed.sql(inner).fetchall() == [("Ex x",), ("trades",)]
    for text in ("DESCRIBE", "show", "PRAGMA show_tables_expanded"):
        assert len(listed.sql(text).fetchall()) == len(by_name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('SHOW TABLES FROM "eod-2026"', [("Ex x",), ("trades",)]),
        ('SHOW TABLES FROM "A B".main', [("Ex x",), ("trades",)]),
        ("SELECT * FROM (SHOW TABLES) WHERE name > 'a'", [("trades",)]),
        ("PRAGMA show_tables", [("Ex x",), ("trades",)]),
        ("SHOW DATABASES", [("a b",), ("memory",)]),
        (
            "SHOW SCHEMAS",
            [("a b", "eod-2026", False), ("a b", "main", False), ("a b", "vstore", False), ("memory", "main", True)],
        ),
        (
            ("SELECT table_catalog, table_schema, table_name, table_type FROM information_schema.tables "
            "WHERE table_schema != 'vstore' ORDER BY ALL"),
            [
                ("a b", "eod-2026", "Ex x", "VIEW"),
                ("a b", "eod-2026", "trades", "VIEW"),
                ("a b", "main", "Ex x", "VIEW"),
                ("a b", "main", "trades", "VIEW"),
            ],
        ),
        (
            ("SELECT column_name, data_type, ordinal_position, is_nullable FROM information_schema.columns "
            "WHERE table_schema = 'main' AND table_name = 'trades' ORDER BY ordinal_position"),
            [("price", "DOUBLE", 1, "YES"), ("sym", "VARCHAR", 2, "YES"), ("qty", "BIGINT", 3, "YES")],
        ),
        (
            "SELECT schema_name FROM information_schema.schemata WHERE catalog_name = 'a b' ORDER BY 1",
            [("eod-2026",), ("main",), ("vstore",)],
        ),
        (
            "SELECT schema_name, column_count, comment FROM duckdb_views() WHERE view_name = 'trades' ORDER BY 1",
            [("eod-2026", 2, "version 0"), ("main", 3, "version 1")],
        ),
        ("SELECT count(*) FROM duckdb_columns() WHERE table_name = 'trades'", [(5,)]),
        ("SELECT count(*) FROM duckdb_tables()", [(0,)]),
        (
            ("SELECT c.relname, count(*) FROM pg_catalog.pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
            "WHERE c.relname = 'trades' GROUP BY c.oid, c.relname ORDER BY 2"),
            [("trades", 2), ("trades", 3)],
        ),
        ("SELECT viewname FROM pg_views WHERE schemaname = 'eod-2026' ORDER BY 1", [("Ex x",), ("trades",)]),
        ("SELECT count(*) FROM sqlite_master WHERE name = 'trades'", [(2,)]),
        ("SELECT 'duckdb_views()' AS text, count(*) FROM trades", [("duckdb_views()", 1)]),
    ],
)  # fmt: skip
def test_duckdbs_own_lists_hold_symbols(listed, text, expected):
    assert listed.sql(text).fetchall() == expected


def test_every_name_that_is_listed_can_be_queried_under_it(listed):
    """In a library, and through the store."""
    names = "SELECT DISTINCT table_catalog, table_schema, table_name FROM information_schema.columns"
    for session in (listed, vs.open("memory://listing")):
        for place in session.sql(f"{names} WHERE table_catalog NOT IN ('system', 'temp')").fetchall():
            quoted = ".".join(f'"{part}"' for part in place)
            described = session.sql(f"DESCRIBE {quoted}").fetchall()
            assert [row[0] for row in described] == [
                row[0]
                for row in session.sql(
                    "SELECT column_name FROM duckdb_columns() WHERE (database_name, schema_name, table_name) = "
                    "($database, $schema, $name) ORDER BY column_index",
                    dict(zip(("database", "schema", "name"), place, strict=True)),
                ).fetchall()
            ]
    assert listed.sql("SELECT count(*) FROM main.trades, main.trades AT VERSION 0 b").fetchall() == [(2,)]


def test_views_over_symbols_are_listed_with_the_users_text(listed):
    """Those that cannot be made any more are left out of DuckDB's lists; SHOW TABLES names them all."""
    listed.sql(
        "CREATE VIEW v AS SELECT qty FROM trades; CREATE VIEW a AS FROM v; CREATE MACRO f() AS TABLE FROM trades"
    )
    listed.sql("CREATE VIEW names AS SELECT view_name FROM duckdb_views() WHERE schema_name = 'main' AND NOT internal")
    asked = "SELECT view_name, sql FROM duckdb_views() WHERE temporary AND NOT internal AND view_name < 'w' ORDER BY 1"
    assert listed.sql(asked).fetchall()[0] == ("a", "CREATE VIEW a AS FROM v")
    expected = [("Ex x",), ("a",), ("names",), ("trades",), ("v",)]
    assert listed.sql("SELECT view_name FROM names ORDER BY 1").fetchall() == expected
    assert listed.sql("SELECT column_name FROM information_schema.columns WHERE table_name = 'a'").fetchall() == [
        ("qty",)
    ]
    listed.write("trades", pd.DataFrame({"price": [1.0]}))
    assert [row[0] for row in listed.sql(asked).fetchall()] == ["names"]
    assert listed.sql("SHOW TABLES").fetchall() == expected
    with pytest.raises(vs.SqlError, match="in view 'v'"):
        listed.sql("FROM a")


def test_nothing_of_a_list_stays_in_duckdb(listed):
    """Neither for the same thread nor for another one, and a result stays what it was."""
    first = listed.sql("SELECT count(*) FROM duckdb_views() WHERE view_name = 'trades'")
    second = listed.sql("SELECT schema_name FROM duckdb_schemas() WHERE database_name = 'a b' ORDER BY 1")
    listed.snapshot("later")
    assert listed.sql("SELECT count(*) FROM duckdb_views() WHERE view_name = 'trades'").fetchall() == [(3,)]
    assert (first.fetchall(), second.fetchall()) == ([(2,)], [("eod-2026",), ("main",), ("vstore",)])
    assert listed.sql("SELECT count(*) FROM system.main.duckdb_views() WHERE NOT internal").fetchall() == [(0,)]
    left = "SELECT count(*) FROM system.main.duckdb_functions() WHERE database_name = 'temp'"
    assert listed.sql(left).fetchall() == [(0,)]


@pytest.mark.parametrize("place", ['"eod-2027"', '"A B"."eod-2027"', '"it\'s {0}"', "nowhere.main"])
def test_show_tables_from_a_place_that_is_not_there_is_an_error(listed, place):
    """As in DuckDB, and not an empty list."""
    for text in (f"SHOW TABLES FROM {place}", f"SELECT count(*) FROM (SHOW TABLES FROM {place})"):
        with pytest.raises(vs.SqlError, match="SHOW SCHEMAS lists them") as caught:
            listed.sql(text).fetchall()
        assert place.replace('"', "") in str(caught.value)
    for there in ("memory", "main", "temp"):
        listed.sql(f"SHOW TABLES FROM {there}").fetchall()


@pytest.mark.parametrize("name", ["main", "temp", "memory", "system", "vstore", "x; DROP", 'q"'])
def test_libraries_with_names_of_duckdbs_own_are_listed(name, monkeypatch):
    """Beside what DuckDB has under that name."""
    monkeypatch.setattr(libraries, "check_unreserved", lambda *_: None)  # earlier releases made such
    store = vs.open("memory://listing-names")
    library = store.create_library(name)
    library.write("trades", pd.DataFrame({"n": [1]}))
    library.sql("CREATE TEMP TABLE mine AS SELECT 1 AS n")
    asked = "SELECT DISTINCT table_name FROM information_schema.tables WHERE table_schema = 'main' ORDER BY 1"
    for session in (library, store):
        found = session.sql("SELECT schema, name FROM (SHOW ALL TABLES) WHERE database = $d", {"d": name}).fetchall()
        assert ("main", "trades") in found
    assert library.sql(asked).fetchall() == [("mine",), ("trades",)]
    assert library.sql("SELECT mine.n FROM mine JOIN trades USING (n)").fetchall() == [(1,)]
    library.session.close()
    store.session.close()
    store.delete_library(name)


@pytest.mark.parametrize(
    ("text", "message", "place"),
    [
        ("FROM trade", "Names in the store: 'trades'", "trade"),
        ("FROM main.trade", "Names in the store: 'trades'", "main.trade"),
        ('FROM "a b".trade', "Did you mean 'trades'", '"a b"'),
        ('FROM "eod-2026".trade', "Did you mean 'trades'", '"eod'),
        ('FROM "eod-2025".trades', "Names in the store: 'eod-2026'", '"eod'),
        ("FROM elsewhere.trades", "library 'a b': store.sql is for several libraries", "elsewhere"),
        ('FROM "a b"."eod-2025".trades', "Did you mean 'eod-2026'", '"a b"'),
        ('FROM "c d".main.trades', "is of library 'a b', so it has no 'c d'", '"c d"'),
        ("FROM vstore.symbol", "Did you mean 'symbols'", "vstore"),
        ("FROM seem", "Names in the store: 'seen'", "seem"),
        ("INSERT INTO trade SELECT 1", "Names in the store: 'trades'", "trade"),
        ("DELETE FROM trade", "Names in the store: 'trades'", "trade"),
        ("DROP VIEW sen", "Names in the store: 'seen'", "sen"),
        ("DESCRIBE trade", "Names in the store: 'trades'", "trade"),
        ("COPY trade TO 'x.csv'", "Names in the store: 'trades'", "trade"),
        ("SELECT prise FROM trades", 'Candidate bindings: "price"', "prise"),
        ("SELECT t.prise FROM trades t", 'Candidate bindings: : "price"', "t.prise"),
        ("SELECT u.price FROM trades t", 'Candidate tables: "t"', "u.price"),
        ("SELECT qtty FROM seen", 'Candidate bindings: "qty"', "qtty"),
        ("SELECT sym FROM trades, trades AT VERSION 0 b", "Ambiguous", "sym"),
        ("FROM EX_X", "'EX_X' matches the symbols 'Ex_x', 'ex_X'", "EX_X"),
        ('FROM "EOD-2026".trades', "'EOD-2026' matches the snapshots 'Eod-2026', 'eod-2026'", '"EOD'),
    ],
)
def test_a_miss_or_an_ambiguity_lists_candidates_under_its_place(listed, text, message, place):
    """For every kind of name: symbol, snapshot, library, column, table of the catalogue, view."""
    listed.sql("CREATE VIEW seen AS SELECT qty FROM trades")
    if "matches" in message:
        for name in ("Ex_x", "ex_X"):
            listed.write(name, pd.DataFrame({"n": [1]}))
        listed.snapshot("Eod-2026")
    with pytest.raises(vs.DuckVStoreError) as raised:
        listed.sql(f"\n {text}")
    assert message in str(raised.value)
    *_, shown, caret = str(raised.value).splitlines()
    assert shown.startswith("line 2, column ")
    assert shown[caret.index("^") :].startswith(place)


def test_use_says_how_a_snapshot_is_named(listed):
    """DuckDB has no such schema; every query names it."""
    with pytest.raises(vs.SqlError, match="name a snapshot or library with the table"):
        listed.sql('USE "eod-2026"')


# -- in a transaction --------------------------------------------------------------------------------------------------

_LISTS = [
    "SHOW TABLES",
    "PRAGMA show_tables",
    "SELECT count(*), min(name) FROM (SHOW TABLES) WHERE name >= 'b'",
    "SHOW TABLES FROM main",
    "SELECT name, column_names, column_types FROM (SHOW ALL TABLES) WHERE schema = 'main' ORDER BY name",
    "SELECT table_name FROM information_schema.tables WHERE table_schema = 'main' ORDER BY 1",
    """SELECT table_name, column_name, ordinal_position FROM information_schema.columns
    WHERE table_schema = 'main' ORDER BY 1, 3""",
    "SELECT table_name, column_name FROM duckdb_columns() WHERE schema_name = 'main' AND NOT internal ORDER BY ALL",
    """SELECT name FROM (
        SELECT view_name AS name, schema_name, internal FROM duckdb_views()
        UNION ALL SELECT table_name, schema_name, internal FROM duckdb_tables()
    ) WHERE schema_name = 'main' AND NOT internal ORDER BY name""",
    "SELECT relname FROM pg_catalog.pg_class WHERE relname IN ('a', 'b', 'c', 'd', 'New', 'old') ORDER BY 1",
]
_BEFORE = ["CREATE TABLE old AS SELECT 0 AS z", *(f"CREATE TABLE {name} AS SELECT 1 AS n" for name in "abc")]
_WITHIN = [
    "DROP TABLE old",
    "CREATE TABLE New AS SELECT 1 AS n, 'x' AS s",
    "ALTER TABLE New ADD COLUMN z DOUBLE",
    "DROP TABLE a",
    "ALTER TABLE b RENAME TO d",
    "ALTER TABLE c RENAME COLUMN n TO m",
    "INSERT INTO c VALUES (2)",
    "CREATE TABLE a (k INTEGER)",
    "DROP TABLE d",
]


def _in_lists(session, number):
    return {text: session.sql(text).fetchall() for text in _LISTS[number % step(0.3) :: step(0.3)]}


@pytest.mark.parametrize("end", ["COMMIT", "ROLLBACK"])
def test_lists_show_what_a_transaction_has_made_so_far(end):
    """After each statement of it as DuckDB lists tables of its own, and after its end too."""
    library = vs.open(f"memory://listing-{end}").create_library("eod")
    with duckdb.connect() as plain:
        for number, text in enumerate([*_BEFORE, "BEGIN", *_WITHIN, end]):
            library.sql(text)
            plain.execute(text)
            assert _in_lists(library, number) == _in_lists(plain, number), text
    library.session.close()


def test_what_a_transaction_makes_is_listed_for_its_thread_alone(store):
    """In the text that begins it and by a statement prepared before; of a store, for the library that it changes."""
    library = store["a b"]
    library.sql("PREPARE listing AS SELECT name FROM (SHOW TABLES)")
    made = 'BEGIN; CREATE TABLE made AS FROM trades; DROP TABLE "Ex x"; SHOW TABLES'
    assert library.sql(made).fetchall() == library.sql("EXECUTE listing").fetchall() == [("made",), ("trades",)]
    seen = []
    for session in (library, store):
        thread = threading.Thread(target=lambda session=session: seen.append(session.sql("SHOW TABLES").fetchall()))
        thread.start()
        thread.join()
    assert seen == [[("Ex x",), ("trades",)], [("a b.Ex x",), ("a b.trades",), ("eod.trades",)]]
    library.sql("ROLLBACK")
    store.sql("BEGIN; CREATE TABLE eod.made AS SELECT 1 AS n")
    assert store.sql("SHOW TABLES").fetchall() == [("a b.Ex x",), ("a b.trades",), ("eod.made",), ("eod.trades",)]
    asked = "SELECT database, name FROM (SHOW ALL TABLES) WHERE schema = 'main' ORDER BY ALL"
    assert store.sql(asked).fetchall() == [("a b", "Ex x"), ("a b", "trades"), ("eod", "made"), ("eod", "trades")]
    store.sql("ROLLBACK")
    library.session.close()


def test_the_catalogue_in_a_transaction_has_its_symbols_and_the_versions_that_are_committed(store):
    """``vstore.symbols`` is what FROM reads, also where a predicate chooses documents; versions are what is stored."""
    library = store["a b"]
    library.sql("BEGIN; INSERT INTO trades VALUES (3, 'z'); CREATE TABLE made AS FROM trades; DROP TABLE \"Ex x\"")
    symbols = "SELECT symbol, version, row_count FROM vstore.symbols"
    assert library.sql(symbols).fetchall() == [("made", 0, 3), ("trades", 1, 3)]
    for name, rows in {"made": [("made", 0, 3)], "trades": [("trades", 1, 3)], "Ex x": [], "gone": []}.items():
        assert library.sql(f"{symbols} WHERE symbol = '{name}'").fetchall() == rows
    versions = "SELECT symbol, max(version) FROM vstore.versions WHERE NOT deleted GROUP BY ALL ORDER BY 1"
    stored = [("Ex x", 0), ("gone", 0), ("trades", 0)]
    assert library.sql(versions).fetchall() == stored
    library.sql("COMMIT")
    assert library.sql(symbols).fetchall() == [("made", 0, 3), ("trades", 1, 3)]
    assert library.sql(versions).fetchall() == [("Ex x", 0), ("gone", 0), ("made", 0), ("trades", 1)]
    library.session.close()


def test_a_symbol_that_a_transaction_has_read_is_listed_as_it_reads_it(store):
    """Another writer's deletion and column come in with the next transaction; what was not touched, at once."""
    library = store["a b"]
    library.sql('BEGIN; FROM trades, "Ex x"')
    library.delete("Ex x")
    library.write("trades", pd.DataFrame({"qty": [3]}))
    library.write("other", pd.DataFrame({"qty": [3]}))
    assert library.sql("SHOW TABLES").fetchall() == [("Ex x",), ("other",), ("trades",)]
    columns = "SELECT column_name FROM information_schema.columns WHERE (table_schema, table_name) = ('main', 'trades')"
    assert library.sql(columns).fetchall() == [("price",), ("sym",)]
    library.sql("COMMIT")
    assert library.sql("SHOW TABLES").fetchall() == [("other",), ("trades",)]
    assert library.sql(columns).fetchall() == [("qty",)]
    library.session.close()


def test_names_in_a_transaction_are_found_in_any_case_and_proposed(store):
    """Those that it made itself as well."""
    library = store["a b"]
    library.sql("BEGIN; CREATE TABLE Made AS SELECT 1 AS n")
    assert library.sql("FROM made").fetchall() == [(1,)]
    with pytest.raises(vs.SqlError, match="Names in the store: 'Made'"):
        library.sql("FROM mades")
    library.sql("ROLLBACK")
    with pytest.raises(vs.SqlError) as raised:
        library.sql("FROM made")
    assert "Made" not in str(raised.value)
    library.session.close()
