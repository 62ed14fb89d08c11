"""TPC-H over versions: its 22 queries give DuckDB's own answers at every version, and across versions.

All eight tables are symbols, changed twice through SQL; plain DuckDB keeps each state as tables of its own, changed by
the same statements. Scale 0.01; 0.1 and 1 with DUCKVSTORE_FULL=1.
"""

from __future__ import annotations

import importlib.util
import os
import random
import re
from functools import cache
from pathlib import Path

import duckdb
import pytest

import duckvstore as vs
from tests.conftest import fresh_bucket
from tests.cuts import cut_every

# The wheels of tpch and httpfs are for DuckDB 1 only.
pytestmark = [pytest.mark.duckdb1, pytest.mark.timeout(1800)]
SCALES = (0.1, 1) if os.environ.get("DUCKVSTORE_FULL") else (0.01,)
SEED = 20261120
SEGMENTS = 8
QUERIES = range(1, 23)
TABLES = ("customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier")
# So that the dates of lineitem say which segments a filter needs, as in a table that grew day by day.
ORDERS = {"lineitem": "ORDER BY l_shipdate, l_orderkey, l_linenumber"}
# What makes each state from the one before it. Every statement sees what those before it did.
CHANGES = (
    """
    UPDATE lineitem SET l_discount = 0.06, l_quantity = l_quantity + 7 WHERE l_orderkey % 5 = 0;
    DELETE FROM lineitem WHERE l_shipdate BETWEEN DATE '1994-03-01' AND DATE '1994-03-31';
    DELETE FROM orders WHERE o_orderkey % 17 = 0;
    INSERT INTO customer
        SELECT c_custkey + 10_000_000, c_name, c_address, 24 - c_nationkey, c_phone, c_acctbal + 100, c_mktsegment, NULL
        FROM customer WHERE c_custkey % 3 = 0;
    MERGE INTO partsupp USING (SELECT s_suppkey FROM supplier WHERE s_suppkey % 3 = 0) AS dear
        ON ps_suppkey = s_suppkey AND ps_partkey % 2 = 0
        WHEN MATCHED THEN UPDATE SET ps_supplycost = ps_supplycost / 2, ps_availqty = ps_availqty + 3;
    UPDATE part SET p_type = 'ECONOMY ANODIZED STEEL' WHERE p_partkey % 40 = 0;
    UPDATE part SET p_brand = 'Brand#23', p_container = 'MED BOX' WHERE p_size = 49;
    UPDATE part SET p_brand = 'Brand#12', p_container = 'SM CASE' WHERE p_size = 4;
    UPDATE supplier SET s_nationkey = (s_nationkey + 1) % 25 WHERE s_suppkey % 4 = 0
    """,
    """
    UPDATE nation SET n_regionkey = (n_regionkey + 1) % 5 WHERE n_name LIKE 'I%' OR n_nationkey > 20;
    INSERT INTO region (r_regionkey, r_name, r_comment) VALUES (5, 'ATLANTIS', NULL);
    UPDATE region SET r_name = 'EUROPE' WHERE r_name = 'AFRICA';
    INSERT INTO orders BY NAME
        SELECT * REPLACE (o_orderkey + 50_000_000 AS o_orderkey, o_orderdate - 40 AS o_orderdate)
        FROM orders WHERE o_orderkey % 11 = 0;
    INSERT INTO lineitem
        SELECT * REPLACE (l_orderkey + 50_000_000 AS l_orderkey, l_suppkey % 10 + 1 AS l_suppkey)
        FROM lineitem WHERE l_orderkey % 11 = 0;
    UPDATE customer SET c_acctbal = -c_acctbal, c_mktsegment = 'BUILDING' WHERE c_nationkey < 5;
    MERGE INTO supplier USING (SELECT unnest(range(1, 100_000, 9)) AS key) AS chosen ON s_suppkey = key
        WHEN MATCHED AND s_acctbal < 0 THEN DELETE WHEN MATCHED THEN UPDATE SET s_phone = '13-' || s_phone;
    DELETE FROM partsupp WHERE ps_partkey % 13 = 1;
    BEGIN;
    UPDATE part SET p_name = 'forest green', p_size = 15 WHERE p_partkey % 9 = 0;
    DELETE FROM lineitem WHERE l_orderkey IN (SELECT o_orderkey FROM orders WHERE o_orderkey % 19 = 0);
    DELETE FROM orders WHERE o_orderkey % 19 = 0;
    COMMIT
    """,
)
STATES = range(len(CHANGES) + 1)
_TARGET = re.compile(r"(?:UPDATE|INTO|FROM) (\w+)")
_NAME = re.compile(rf"\b({'|'.join(TABLES)})\b")
_FROM = re.compile(r"\b(?:FROM|JOIN)\s+(?:\w+(?: \w+)?,\s+)*\w+")


def replaced(query: str, reference) -> str:
    """Return ``query`` with ``reference(table)`` in place of each table; a column is called `nation` as well."""
    return _FROM.sub(lambda sources: _NAME.sub(lambda name: reference(name[1]), sources[0]), query)


class Plain:
    """DuckDB itself: the tables of state n are in the schema ``vn``."""

    def __init__(self, folder: Path, scale: float) -> None:
        self.connection = duckdb.connect(folder / "plain.duckdb")
        self.connection.execute(f"LOAD '{extension()}'")
        self.connection.execute(f"CALL dbgen(sf = {scale})")
        self.queries = dict(self.connection.execute("FROM tpch_queries()").fetchall())
        for state in STATES:
            self.connection.execute(f"CREATE SCHEMA v{state}")
            for table in TABLES:
                before = f"v{state - 1}.{table}" if state else f"main.{table} {ORDERS.get(table, '')}"
                self.connection.execute(f"CREATE TABLE v{state}.{table} AS FROM {before}")
            self.connection.execute(f"SET schema = 'v{state}'")
            if state:
                self.connection.execute(CHANGES[state - 1])
        self.answer = cache(self._answer)

    def _answer(self, number: int, states: tuple[int, ...]) -> tuple[list[str], list[str], list[tuple]]:
        """Return the columns, types and rows of a query whose references, in order, are read in ``states``."""
        remaining = iter(states)
        rows = self.connection.sql(replaced(self.queries[number], lambda name: f"v{next(remaining)}.{name}"))
        return rows.columns, [str(kind) for kind in rows.types], rows.fetchall()

    def references(self, number: int) -> list[str]:
        """Return the tables that the query refers to, in order, as often as it does."""
        found: list[str] = []
        replaced(self.queries[number], lambda name: found.append(name) or name)
        return found


def extension() -> Path:
    """Return the extension's file in its wheel, which is not imported: that would write under the user's home."""
    found = importlib.util.find_spec("duckdb_extension_tpch")
    folder = Path(found.submodule_search_locations[0])
    return folder / "extensions" / f"v{duckdb.__version__}" / "tpch.duckdb_extension"


class Versioned:
    """The same tables as symbols of a library; ``versions[n]``: the number of each symbol's version in state n."""

    def __init__(self, plain: Plain, library) -> None:
        self.plain = plain
        self.library = library
        self.versions: list[dict[str, int]] = []
        self.moments: list[str] = []
        for state in STATES:
            if state == 0:
                for table in TABLES:
                    rows = plain.connection.sql(f"FROM v0.{table}").to_arrow_table()
                    self._cut(table, lambda table=table, rows=rows: library.write(table, rows))
            for statement in CHANGES[state - 1].split(";") if state else ():
                target = _TARGET.search(statement)
                self._cut(target[1] if target else TABLES[0], lambda statement=statement: library.sql(statement))
            library.sql(f"CREATE SNAPSHOT s{state}")
            self.versions.append(dict(library.sql("SELECT symbol, version FROM vstore.symbols").fetchall()))
            ((newest,),) = library.sql("SELECT max(created_at) FROM vstore.versions").fetchall()
            self.moments.append(newest.isoformat())

    def _cut(self, table: str, change) -> None:
        """Carry ``change`` out such that even the five rows of region are in several segments."""
        ((rows,),) = self.plain.connection.execute(f"SELECT count(*) FROM v0.{table}").fetchall()
        with pytest.MonkeyPatch.context() as patch:
            cut_every(patch, max(1, rows // SEGMENTS))
            change()

    def forms(self, table: str, state: int) -> list[tuple[str, dict[str, int]]]:
        """Return every way to name ``table`` in ``state``, each with its parameters."""
        version, newest = self.versions[state][table], self.versions[-1][table]
        texts = [
            f"{table} AT VERSION {version}",
            f"{table} AT (VERSION => {version})",
            f"{table} FOR VERSION AS OF {version}",
            f"{table} AT VERSION {version - newest - 1}",
            f"{table} AT TIMESTAMP '{self.moments[state]}'",
            f"{table} AT SNAPSHOT 's{state}'",
            f'"s{state}".{table}',
        ]
        if state == STATES[-1]:
            texts.append(table)
        return [*((text, {}) for text in texts), (f"{table} AT VERSION $v{version}", {f"v{version}": version})]

    def run(self, number: int, states: tuple[int, ...], dice: random.Random):
        """Run a query whose references, in order, are read in ``states``; return the result and the query's text."""
        remaining = iter(states)
        parameters: dict[str, int] = {}

        def reference(name: str) -> str:
            text, needed = dice.choice(self.forms(name, next(remaining)))
            parameters.update(needed)
            return text

        text = replaced(self.plain.queries[number], reference)
        return self.library.sql(text, parameters or None), text

    def check(self, number: int, states: tuple[int, ...], dice: random.Random) -> None:
        """Compare a query's columns, types and rows, and what it says that it read.

        Floats too are equal to the last bit: they are quotients of sums of decimals, which are exact in any order.
        """
        result, text = self.run(number, states, dice)
        columns, types, rows = self.plain.answer(number, states)
        assert (result.columns, result.types) == (columns, types), (number, states, text)
        assert result.fetchall() == rows, (number, states, text)
        read = {(table.symbol, table.version) for table in result.figures.tables}
        references = zip(self.plain.references(number), states, strict=True)
        assert read == {(name, self.versions[state][name]) for name, state in references}, (number, states, text)


@pytest.fixture(scope="module", params=SCALES, ids=lambda scale: f"scale-{scale}")
def plain(request, tmp_path_factory):
    made = Plain(tmp_path_factory.mktemp("plain"), request.param)
    yield made
    made.connection.close()


@pytest.fixture(scope="module", params=["local", pytest.param("seaweed", marks=pytest.mark.s3)])
def versioned(request, plain, tmp_path_factory):
    bucket = None
    if request.param == "local":
        store = vs.open(tmp_path_factory.mktemp("store"))
    else:
        bucket = fresh_bucket(request.getfixturevalue("seaweed"))
        store = vs.open(bucket.url, storage_options=bucket.storage_options)
    library = store.create_library("tpch")
    yield Versioned(plain, library)
    library.session.close()
    if bucket is not None:
        client = bucket.server.client()
        client.delete_bucket(Bucket=bucket.name)
        client.close()


def test_each_version_has_the_rows_of_the_table(versioned):
    """Statement by statement, on tables of many segments, ours made what DuckDB made of its own table."""
    for state in STATES:
        for table in TABLES:
            # The sum notices repeated rows, which an exclusive or would cancel out.
            counted = "SELECT count(*), sum(hash(t)::HUGEINT) FROM"
            expected = versioned.plain.connection.sql(f"{counted} v{state}.{table} AS t").fetchall()
            found = versioned.library.sql(f'{counted} "s{state}".{table} AS t').fetchall()
            assert found == expected, (state, table)


def test_every_table_changed_and_has_several_segments(versioned):
    """What the other tests rely on: no version is a copy of another, and reading one puts segments together."""
    assert all(versioned.versions[0][table] < versioned.versions[-1][table] for table in TABLES)
    counts = versioned.library.sql("SELECT symbol, version, count(*) FROM vstore.segments GROUP BY ALL").fetchall()
    assert min(count for *_, count in counts) > 1
    shared = "SELECT count(*) - count(DISTINCT key) FROM vstore.segments"
    assert versioned.library.sql(shared).fetchall() > [(0,)]


def test_the_answers_differ_between_the_states(plain):
    """A query that is answered from another version does not go unnoticed."""
    for number in QUERIES:
        count = len(plain.references(number))
        answers = [plain.answer(number, (state,) * count) for state in STATES]
        assert all(rows for _, _, rows in answers), f"query {number} has no rows"
        assert answers[0] != answers[1] or answers[1] != answers[2], f"query {number} is the same in every state"


@pytest.mark.parametrize("state", STATES)
def test_every_query_at_every_version(versioned, state):
    """However the version is named: by number, from the newest, by parameter, time, snapshot, or as the newest."""
    for number in QUERIES:
        dice = random.Random(SEED + 100 * number + state)
        versioned.check(number, (state,) * len(versioned.plain.references(number)), dice)


def test_every_query_with_each_table_at_another_version(versioned):
    """No two neighbouring references of a query are read in the same state, also of one table."""
    for number in QUERIES:
        dice = random.Random(SEED + number)
        order = dice.sample(STATES, len(STATES))
        count = len(versioned.plain.references(number))
        versioned.check(number, tuple(order[place % len(order)] for place in range(count)), dice)


@pytest.mark.parametrize("number", [6, 14, 15])
def test_a_filter_on_dates_reads_few_segments(versioned, number):
    """Shipments of a year and, inside a CTE, of a quarter, out of seven years."""
    for state in STATES:
        states = (state,) * len(versioned.plain.references(number))
        result, text = versioned.run(number, states, random.Random(SEED))
        result.settle()
        read, total = result.figures.segments_read, result.figures.segments_total
        assert read <= total - SEGMENTS // 2, (number, state, read, total, text)
