"""The catalogue in SQL: each predicate gives the rows that it gives over the whole table, and reads what it needs."""

from __future__ import annotations

from dataclasses import replace

import duckdb
import pandas as pd
import pytest

import duckvstore as vs
from duckvstore.engine.reading import catalogue_tables
from duckvstore.format.stored import documents
from duckvstore.objects.memory import MemoryObjects
from tests.counting import CountingObjects

FRAME = pd.DataFrame({"n": [1, 2, 3], "sym": ["a", "b", "c"]})
HOSTILE = "it's \"; DROP TABLE x; --"
SYMBOLS = [*(f"s{number}" for number in range(10)), "S1", HOSTILE]
VERSIONS = 3


@pytest.fixture(scope="module")
def objects():
    """Two libraries: twelve symbols of three versions, one of them deleted and one pruned; and one other symbol."""
    inner = MemoryObjects("catalogue")
    store = vs.Store(inner)
    library = store.create_library("lib")
    for number in range(VERSIONS):
        library.write_batch([vs.WritePayload(symbol, FRAME.head(number + 1)) for symbol in SYMBOLS])
        library.snapshot(f"day{number}")
    library.delete("s8")
    library.write("s9", FRAME)
    library.write("s9", FRAME.head(1))
    library.prune("s9", keep_last=1)
    store.create_library("other").write("s1", FRAME)
    return inner


@pytest.fixture
def counting(objects):
    return CountingObjects(objects)


@pytest.fixture
def store(counting):
    """A handle that knows no document yet."""
    opened = vs.Store(counting)
    yield opened
    opened.session.close()


PREDICATES = [
    "symbol = 's1'",
    "symbol IN ('s3', 'S1', 'none')",
    "symbol LIKE 's1%' AND version > 0",
    "version = 2",
    "version BETWEEN 1 AND 2 AND NOT symbol = 's1'",
    "symbol > 's7'",
    "lower(symbol) = 's1'",
    "symbol IS NULL",
    "symbol IS NOT NULL AND version < 1",
    "symbol = 's1' OR (symbol = 's2' AND version = 0)",
    "symbol = $$it's \"; DROP TABLE x; --$$",
    "version = 1.5",
    "version = '1'",
    "symbol = 5",
    "version > (SELECT 1)",
]


@pytest.mark.parametrize("name", [name for name in catalogue_tables.COLUMNS if name != "snapshots"])
@pytest.mark.parametrize("where", PREDICATES)
def test_a_predicate_gives_what_it_gives_over_the_whole_table(store, name, where):
    """In a library's session and in the store's, whose tables name the library."""
    library = store["lib"]
    for session, whole in (
        (library, library.sql(f"FROM vstore.{name}").arrow()),
        (store, store.sql(f"FROM vstore.{name}").arrow()),
    ):
        found = session.sql(f"SELECT * FROM vstore.{name} AS t WHERE {where}")
        with duckdb.connect() as plain:
            plain.register("whole", whole)
            try:
                expected = plain.sql(f"FROM whole WHERE {where}").to_arrow_table()
            except duckdb.Error:
                with pytest.raises(vs.SqlError):
                    found.arrow()
                continue
        assert found.arrow().to_pylist() == expected.to_pylist()
    library.session.close()


READS = {
    "FROM vstore.versions": (3 * 12 + 3, 5),
    "FROM vstore.versions WHERE symbol = 's1'": (3, 5),
    "SELECT count(*) FROM vstore.segments WHERE symbol = $s AND version = 0": (1, 2),
    "SELECT column_name FROM vstore.columns c WHERE c.symbol IN ('s1', 's2') AND c.version >= 2": (2, 2),
    "FROM vstore.symbols WHERE symbol = 's1'": (1, 1),
    "FROM vstore.versions v JOIN vstore.symbols s ON v.symbol = s.symbol AND s.symbol = 's2' WHERE v.version = 1": (
        13,
        5,
    ),
    "WITH mine AS (FROM vstore.versions WHERE symbol LIKE 's7%') SELECT max(version) FROM mine": (3, 5),
}


@pytest.mark.parametrize("sql", READS)
def test_only_documents_that_a_predicate_may_want_are_read(store, counting, sql):
    """One listing of all documents and one of what is condemned; of snapshots, one and their documents."""
    library = store["lib"]
    counting.reset()
    library.sql(sql, {"s": "s3"} if "$s" in sql else None).fetchall()
    documents_read, others = READS[sql]
    assert counting.counts["read"] <= documents_read + others, counting.counts
    assert counting.counts["list"] <= 4, counting.counts
    counting.reset()
    library.sql(sql, {"s": "s3"} if "$s" in sql else None).fetchall()
    assert counting.counts["read"] <= 3, "documents are cached, snapshots are read afresh"
    library.session.close()


def test_predicates_of_a_store_choose_among_libraries(store):
    """By the column that names them."""
    rows = store.sql("SELECT library, symbol, version FROM vstore.symbols WHERE library = 'other'").fetchall()
    assert rows == [("other", "s1", 0)]
    assert len(store.sql("FROM vstore.symbols WHERE symbol = 's1'").fetchall()) == 2


def test_a_symbol_whose_highest_document_is_undecided_is_found_by_its_visible_version():
    """The number of the document that was listed says nothing of the version that is shown."""
    library = vs.Store(inner := MemoryObjects("undecided")).create_library("lib")
    library.write("s", FRAME)
    opened = library.open_library
    key = opened.layout.version("s", 0)
    first = documents.load_version(inner.read(key), where=key)
    undecided = replace(first, number=1, write_id="w", parent=0, transaction="0" * 32)
    inner.create(opened.layout.version("s", 1), documents.dump_version(undecided))
    for table in ("symbols", "versions"):
        assert library.sql(f"SELECT symbol FROM vstore.{table} WHERE version = 0").fetchall() == [("s",)]
        assert library.sql(f"SELECT symbol FROM vstore.{table} WHERE version = 1").fetchall() == []
    library.session.close()


def test_versions_are_listed_with_three_listings_however_many_symbols_there_are(store, counting):
    """Of a snapshot only the documents that it holds are read."""
    library = store["lib"]
    counting.reset()
    held = library.list_versions(snapshot="day0")
    assert {(pair.symbol, pair.version) for pair in held} == {(symbol, 0) for symbol in SYMBOLS}
    assert counting.counts["list"] == 0, "a snapshot says itself what it holds"
    assert counting.counts["read"] <= len(SYMBOLS) + 2
    counting.reset()
    everything = library.list_versions()
    assert [pair for pair in everything if pair.symbol == "s9"] == [("s9", 4), ("s9", 2), ("s9", 1), ("s9", 0)]
    assert [pair.version for pair in everything if pair.symbol == "s8"] == [3, 2, 1, 0]
    assert counting.counts["list"] == 3
    newest = library.list_versions(latest_only=True, skip_snapshots=True)
    assert len(newest) == len(SYMBOLS)
    assert newest[vs.SymbolVersion("s8", 3)].deleted
    library.session.close()
