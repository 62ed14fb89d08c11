"""The rewriter: replaced names, the user's own text elsewhere, and relations with DuckDB's types."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from duckvstore.errors import SqlError
from duckvstore.format.rows import encoding
from duckvstore.format.stored import schema
from duckvstore.format.stored.documents import Version
from duckvstore.sql.planning.rewrite import (
    literal,
    names_left,
    parameters_left,
    quote,
    rewrite,
    scan,
    splices,
)
from duckvstore.sql.syntax.parser import parse

CONNECTION = duckdb.connect()


def rewritten(sql: str, relation: str = "REL") -> str:
    """The statement with every reference that is read replaced."""
    (statement,) = parse(sql)
    return rewrite(statement, {at: relation for at, r in enumerate(statement.references) if r.role == "read"}).text


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT trades.x FROM trades AT VERSION 3 -- c", 'SELECT trades.x FROM REL AS "trades"  -- c'),
        ("SELECT t.x FROM trades AT VERSION 3 t", "SELECT t.x FROM REL  t"),
        ("SELECT t.x FROM trades t AT (VERSION => 3)", "SELECT t.x FROM REL t "),
        ("FROM trades AT VERSION 3 AS t(a, b) WHERE a", "FROM REL  AS t(a, b) WHERE a"),
        ("FROM t: trades AT VERSION 3", "FROM t: REL "),
        ("FROM trades AT VERSION 3 TABLESAMPLE 10%", 'FROM REL AS "trades"  TABLESAMPLE 10%'),
        ("FROM a, b x, c", 'FROM REL AS "a", REL x, REL AS "c"'),
        ("FROM a AT VERSION 1 x JOIN a AT VERSION 2 y USING (k)", "FROM REL  x JOIN REL  y USING (k)"),
        ('FROM "we""ird"', 'FROM REL AS "we""ird"'),
        ("DESCRIBE trades AT VERSION 3", 'DESCRIBE FROM REL AS "trades" '),
        ("DESCRIBE TABLE trades", 'DESCRIBE FROM REL AS "trades"'),
        ("show trades", 'show FROM REL AS "trades"'),
        ("SUMMARIZE trades", 'SUMMARIZE FROM REL AS "trades"'),
        ("TABLE trades UNION TABLE trades", 'FROM REL AS "trades" UNION FROM REL AS "trades"'),
        ("COPY trades AT VERSION 3 TO 'x'", "COPY (FROM REL AS \"trades\")  TO 'x'"),
        ("COPY (FROM trades) TO 'x'", "COPY (FROM REL AS \"trades\") TO 'x'"),
        ("PIVOT trades AT VERSION 3 ON a", 'PIVOT REL AS "trades"  ON a'),
        ("EXPLAIN  ANALYZE FROM trades", 'EXPLAIN  ANALYZE FROM REL AS "trades"'),
        ("WITH t AS (FROM t AT VERSION 1) FROM t", 'WITH t AS (FROM REL AS "t" ) FROM t'),
        ("INSERT INTO x SELECT * FROM t", 'INSERT INTO x SELECT * FROM REL AS "t"'),
        ("SELECT today(), len(s), 2 ** 3 FROM t", 'SELECT today(), len(s), 2 ** 3 FROM REL AS "t"'),
        ("FROM t AT /* x */ VERSION -- y\n 3\nWHERE a", 'FROM REL AS "t" \nWHERE a'),
        (
            'SELECT eod.trades.x, EOD."Trades".*, eod.trades.st.f FROM eod.trades',
            'SELECT "trades".x, "trades".*, "trades".st.f FROM REL AS "trades"',
        ),
        ("SELECT eod.trades.x FROM eod.trades t", "SELECT eod.trades.x FROM REL t"),
        ('SELECT e."s-1".t.x FROM e."s-1".t', 'SELECT "t".x FROM REL AS "t"'),
        (
            "SELECT a.t.x, b.t.y FROM a.t JOIN b.t ON a.t.k = b.t.k",
            'SELECT "a.t".x, "b.t".y FROM REL AS "a.t" JOIN REL AS "b.t" ON "a.t".k = "b.t".k',
        ),
        ("SELECT t.x, s.t.x FROM t, s.t", 'SELECT t.x, "s.t".x FROM REL AS "t", REL AS "s.t"'),
        ("SELECT (SELECT max(x) FROM a.t) FROM b.t", 'SELECT (SELECT max(x) FROM REL AS "t") FROM REL AS "t"'),
    ],
)
def test_only_names_and_at_forms_change(sql, expected):
    """A name becomes the relation under the name it had; everything else stays byte for byte."""
    assert rewritten(sql) == expected


def test_what_is_not_replaced_stays():
    """A reference mapped to None or not mapped keeps its name and its AT form."""
    (statement,) = parse("FROM a AT (VERSION => 1), b, c")
    assert rewrite(statement, {}).text == statement.text
    assert rewrite(statement, {0: None, 1: "REL"}).text == 'FROM a AT (VERSION => 1), REL AS "b", c'


def test_some_columns_are_copied_by_a_query():
    """No list of columns can stand behind a relation."""
    (statement,) = parse("COPY trades (a, \"b c\") TO 'x' (HEADER)")
    expected = 'COPY (SELECT a, "b c" FROM REL AS "trades") TO \'x\' (HEADER)'
    assert " ".join(rewrite(statement, {0: "REL"}).text.split()) == expected


@pytest.mark.parametrize(
    ("sql", "rewritten"),
    [
        ("INSERT INTO eod.trades (a) SELECT 1", 'INSERT INTO "x" AS "trades" (a) SELECT 1'),
        ("DELETE FROM trades WHERE trades.a = 1", 'DELETE FROM "x" AS "trades" WHERE trades.a = 1'),
        ("UPDATE trades t SET a = 1", 'UPDATE "x" t SET a = 1'),
        ("COPY trades (a) FROM 'x'", "COPY \"x\" (a) FROM 'x'"),
    ],
)
def test_what_a_statement_changes_keeps_its_name_as_an_alias(sql, rewritten):
    """So that the user's own qualified columns still bind; COPY takes no alias."""
    (statement,) = parse(sql)
    assert rewrite(statement, {0: '"x"'}).text == rewritten


def test_parameters_of_a_removed_at_form_are_left_out():
    """The values for what remains can be packed again, by position over the whole text and by name."""
    statement = parse("SELECT ?; SELECT ?, $a FROM t AT VERSION ? JOIN u AT VERSION $b ON ? = ?")[1]
    assert parameters_left(statement, [0, 1]) == [1, 3, 4]
    assert parameters_left(statement, [1]) == [1, 2, 3, 4]
    assert names_left(statement, [0, 1]) == {"a"}
    assert names_left(statement, []) == {"a", "b"}


def test_positions_lead_back_to_the_users_text():
    """Each character of the rewritten text that the user wrote is found again in the whole text."""
    text = "SELECT 1; SELECT x, y FROM trades AT VERSION 3 WHERE z > 1"
    statement = parse(text)[1]
    sql = rewrite(statement, {0: "a_much_longer_relation"})
    for word in ("x,", "y FROM", "WHERE", "z >"):
        assert sql.origin(sql.text.index(word)) == text.index(word)
    assert sql.origin(sql.text.index("longer")) == text.index("trades")
    assert len(splices(statement, {0: "x"})) == 2


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=30))
def test_any_name_and_text_survives_quoting(text):
    """DuckDB reads back exactly the name and the string, whatever they hold."""
    relation = CONNECTION.sql(f"SELECT {literal(text)} AS {quote(text)}")
    assert relation.columns == [text]
    assert relation.fetchall() == [(text,)]


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, 5, -(2**63), 2**100, 1.5, -0.1, 1e300, float("inf"), Decimal("1.50"), "a'b", b"a'\x00\xff"),
        *(date(2026, 1, 2), datetime(2026, 1, 2, 3, 4, 5, 6), datetime(2026, 1, 2, 3, tzinfo=UTC), time(1, 2, 3)),
    ],
)  # fmt: skip
def test_literals_have_the_value_and_type_of_the_parameter(value):
    """A literal equals the same value passed as a parameter; text and nothing becomes a string."""
    connection = duckdb.connect()
    found = connection.execute(f"SELECT {literal(value)} IS NOT DISTINCT FROM $1", [value]).fetchone()
    assert found == (True,)


@pytest.mark.parametrize("bad", ["a\0b", object()])
def test_what_sql_cannot_hold_is_refused(bad):
    """NUL and unknown types are errors, not other SQL."""
    with pytest.raises(SqlError):
        literal(bad)
    if isinstance(bad, str):
        with pytest.raises(SqlError):
            quote(bad)


S = pa.struct([("a", pa.timestamp("s")), ("b c'\"", pa.duration("ms"))])
COLUMNS = {
    **{f"t_{unit}": pa.array([0, 1, -1, None], pa.timestamp(unit)) for unit in ("s", "ms", "us", "ns")},
    **{f"z_{unit}": pa.array([0, 1, -1500, None], pa.timestamp(unit, "UTC")) for unit in ("s", "ms", "us", "ns")},
    **{f"d_{unit}": pa.array([0, 90_000_000_000_001, -1501, None], pa.duration(unit)) for unit in ("us", "ns")},
    **{f"d_{unit}": pa.array([0, 90_000, -1501, None], pa.duration(unit)) for unit in ("s", "ms")},
    **{str(kind): pa.array([0, 1, 100, None], kind) for kind in (pa.int8(), pa.uint8(), pa.int16(), pa.uint16())},
    **{
        str(kind): pa.array([0, 1, 2**31 - 1, None], kind)
        for kind in (pa.int32(), pa.uint32(), pa.int64(), pa.uint64())
    },
    "f4": pa.array([0.1, -0.0, float("nan"), None], pa.float32()),
    "f8": pa.array([0.1, float("inf"), float("nan"), None], pa.float64()),
    "bool": pa.array([True, False, True, None]),
    "date32": pa.array([0, -1, 20000, None], pa.date32()),
    "date64": pa.array([0, -86400000, 86400000, None], pa.date64()),
    "time32": pa.array([0, 1, 86399, None], pa.time32("s")),
    "time64": pa.array([0, 1, 86399, None], pa.time64("us")),
    "time_ns": pa.array([0, 1000, 86399000, None], pa.time64("ns")),
    "text": pa.array(["", "a", "é", None]),
    "large": pa.array(["", "a", "é", None], pa.large_string()),
    "binary": pa.array([b"", b"a", b"\0", None]),
    "fixed": pa.array([b"abc", b"def", b"\0\0\0", None], pa.binary(3)),
    "decimal": pa.array([Decimal("1.5"), Decimal("-99999999.99"), Decimal(0), None], pa.decimal128(10, 2)),
    "wide": pa.array([Decimal("1.5"), Decimal(-1), Decimal(0), None], pa.decimal128(38, 2)),
    "dictionary": pa.array(["a", "b", "a", None]).dictionary_encode(),
    "null": pa.nulls(4),
    "nulls": pa.array([[None], [], None, [None, None]], pa.list_(pa.null())),
    "list": pa.array([[1, None], [], [2], None]),
    "fixed_list": pa.array([[1, 2], [3, None], [5, 6], None], pa.list_(pa.int64(), 2)),
    "lists": pa.array([[[1, 2]], [], [None], None], pa.list_(pa.list_(pa.int64(), 2))),
    "times": pa.array([[1000, None], [], [86399000], None], pa.list_(pa.time64("ns"))),
    "durations": pa.array([[1, None], [], [-2], None], pa.list_(pa.duration("us"))),
    "struct": pa.array([{"a": 1, "b c'\"": 2}, {"a": None, "b c'\"": None}, None, {"a": 5, "b c'\"": -7}], S),
    "structs": pa.array([[{"a": 1, "b c'\"": 2}], [], [None], None], pa.list_(S)),
    "map": pa.array([[("k", 1)], [], [("a", None)], None], pa.map_(pa.string(), pa.duration("s"))),
    "z_ns_list": pa.array([[1], [], [None, 2_500], None], pa.list_(pa.timestamp("ns", "UTC"))),
    "na=me": pa.array([1, 2, 3, 4]),
    'qu"ote': pa.array([1, 2, 3, 4]),
    "filename": pa.array(["a", "b", "c", "d"]),
}


def version_of(table: pa.Table) -> Version:
    stored = schema.from_arrow(table.schema)
    return Version("", "trades", 3, "", datetime(2026, 1, 1, tzinfo=UTC), "write", "arrow", schema=stored)


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_scanned_from_segments_is_the_arrow_column(name, tmp_path):
    """Types and values are those that DuckDB gives to the same Arrow table; without segments the types are the same."""
    table = pa.table({name: COLUMNS[name]})
    version = version_of(table)
    folder = tmp_path / "a=b" / "qu'ote [x] {y} %20"
    folder.mkdir(parents=True)
    files = [str(folder / f"{at}.parquet") for at in range(2)]
    stored = table.cast(schema.to_arrow(version.schema))
    for at in range(2):
        piece = stored.slice(at * 2, 2)
        (folder / f"{at}.parquet").write_bytes(encoding.encode(piece, version.schema))
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.register("whole_table", table)
    shown = f"SELECT {quote(name)}::VARCHAR, typeof({quote(name)}) FROM "
    expected = connection.sql(f"{shown} whole_table").fetchall()
    assert connection.sql(shown + scan(version, files)).fetchall() == expected
    whole = connection.sql(f"SELECT * FROM {scan(version, files)}")
    assert whole.columns == [name]
    empty = connection.sql(f"SELECT * FROM {scan(version, [])}")
    assert (empty.columns, empty.fetchall()) == ([name], [])
    assert empty.types == whole.types


def test_segments_with_less_than_nanoseconds_in_a_time_zone_get_the_type_of_the_others(tmp_path):
    """The version's schema is what its newest rows needed; DuckDB 1 has no such type and reads microseconds."""
    kinds = [pa.timestamp("us", "UTC"), pa.timestamp("ns", "UTC")]
    tables = [pa.table({"t": pa.array([values, None], kind)}) for values, kind in zip([1, 2_500], kinds, strict=True)]
    version = replace(version_of(tables[1]), schema=replace(version_of(tables[1]).schema, mixed=True))
    files = [str(tmp_path / f"{at}.parquet") for at in range(2)]
    for file, table in zip(files, tables, strict=True):
        Path(file).write_bytes(encoding.encode(table.cast(schema.to_arrow(version_of(table).schema)), version.schema))
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.register("whole_table", pa.concat_tables([table.cast(tables[1].schema) for table in tables]))
    shown = "SELECT t::VARCHAR, typeof(t) FROM "
    for relation in (scan(version, files), scan(version, files[1:]), scan(version, files[:1])):
        found = connection.sql(shown + relation).fetchall()
        assert found and set(found) <= set(connection.sql(f"{shown} whole_table").fetchall())
    assert len(connection.sql(shown + scan(version, files)).fetchall()) == 4


def test_what_is_published_for_any_duckdb_names_no_type_that_only_some_have():
    """Nanoseconds in a time zone, wherever they are in a type."""
    zoned = pa.timestamp("ns", "UTC")
    nested = [pa.list_(zoned), pa.list_(zoned, 2), pa.struct([("a", zoned)]), pa.map_(zoned, pa.large_list(zoned))]
    plain = version_of(pa.schema([(f"c{at}", kind) for at, kind in enumerate([zoned, *nested])]).empty_table())
    for version in (plain, replace(plain, schema=replace(plain.schema, mixed=True))):
        for uris in ([], ["a.parquet"]):
            text = scan(version, uris, is_portable=True)
            assert "TIMESTAMPTZ_NS" not in text and "TIMESTAMP WITH TIME ZONE" in text


def test_plain_columns_are_scanned_without_a_projection():
    """Nothing stands between the query and the files where no type has to be mended."""
    version = version_of(pa.table({"a": [1], "b": ["x"], "c": pa.array([1], pa.timestamp("us"))}))
    assert scan(version, ["s3://b/k", "x'y"]) == "read_parquet(['s3://b/k', 'x''y'], hive_partitioning = false)"


def test_decimals_too_wide_for_duckdb_are_an_error_only_where_they_are_used(tmp_path):
    """DuckDB would read them as floats and return other numbers."""
    table = pa.table({"a": pa.array([1, 2]), "d": pa.array([Decimal("1.5"), None], pa.decimal256(50, 2))})
    version = version_of(table)
    file = tmp_path / "x.parquet"
    file.write_bytes(encoding.encode(table.cast(schema.to_arrow(version.schema)), version.schema))
    connection = duckdb.connect()
    relation = scan(version, [str(file)])
    assert connection.sql(f"SELECT sum(a) FROM {relation}").fetchall() == [(3,)]
    with pytest.raises(duckdb.Error, match="wider than the 38"):
        connection.sql(f"SELECT d FROM {relation}").fetchall()


def test_a_version_without_columns_cannot_be_scanned():
    """The error names the symbol and the version."""
    with pytest.raises(SqlError, match="version 3 of 'trades' has no columns"):
        scan(version_of(pa.table({})), [])


def test_nan_is_never_lost_to_bounds_inside_a_segment(tmp_path):
    """NaN is above everything for DuckDB, also where Parquet's own bounds leave it out."""
    table = pa.table({"x": [1.0, 2.0, float("nan")]})
    version = version_of(table)
    file = tmp_path / "x.parquet"
    file.write_bytes(encoding.encode(table.cast(schema.to_arrow(version.schema)), version.schema))
    relation = scan(version, [str(file)])
    connection = duckdb.connect()
    assert connection.sql(f"SELECT count(*) FROM {relation} WHERE x > 5").fetchall() == [(1,)]
    assert connection.sql(f"SELECT count(*) FROM {relation} WHERE x < 5").fetchall() == [(2,)]
    assert str(connection.sql(f"SELECT max(x) FROM {relation}").fetchall()[0][0]) == "nan"
