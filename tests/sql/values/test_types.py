"""Every type of DuckDB: what comes out of queries, and what a column that SQL made keeps."""

from __future__ import annotations

import contextlib
import datetime as dt

import duckdb
import pyarrow as pa
import pytest

import duckvstore as vs
from duckvstore.errors import DuckVStoreError, Unsupported
from duckvstore.sql.values import kinds
from tests.sql.values import every_type

COLUMNS = every_type.columns()


@pytest.fixture(scope="module")
def lib(tmp_path_factory):
    library = vs.open(tmp_path_factory.mktemp("types")).create_library("lib")
    yield library
    library.session.close()


@pytest.fixture(scope="module")
def own():
    with duckdb.connect() as connection:
        yield connection


def fetched(own, query):
    """Return what DuckDB's own client gives, and skip what it refuses: zones without pytz, and some odd types."""
    try:
        return own.sql(query).fetchall()
    except (duckdb.Error, OverflowError) as error:
        pytest.skip(str(error)[:100])


@pytest.mark.parametrize("kind", COLUMNS)
def test_fetchall_is_duckdb_s_own(lib, own, kind):
    query = every_type.rows(kind, COLUMNS[kind])
    result = lib.sql(query)
    expected = fetched(own, query) if not every_type.holds(kind, every_type.ZONED) else None
    assert result.types == [str(found) for found in own.sql(query).types]
    assert kinds.parse(str(kinds.parse(result.types[1]))) == kinds.parse(result.types[1])
    found = result.fetchall()
    if "uuid()" in query:
        found, expected = [row[:1] for row in found], [row[:1] for row in expected]
    if expected is not None:
        assert repr(found) == repr(expected)


@pytest.mark.parametrize("kind", COLUMNS)
def test_texts_are_duckdb_s_own(lib, own, kind):
    query = every_type.rows(kind, [value for value in COLUMNS[kind] if "uuid()" not in value])
    shown = own.sql(f"SELECT x::VARCHAR FROM ({query})").fetchall()
    from duckvstore.sql.results import conversion

    result = lib.sql(query)
    if every_type.holds(kind, every_type.ZONED):
        lib.sql("SET TimeZone = 'UTC'")
        own.execute("SET TimeZone = 'UTC'")
        shown = own.sql(f"SELECT x::VARCHAR FROM ({query})").fetchall()
    assert [row[1] for row in conversion.to_texts(result.table(), result.types)] == [row[0] for row in shown]
    assert repr(lib.sql(query))


def test_a_result_that_breaks_duckdb_breaks_itself_alone(lib):
    """DuckDB gives up its whole instance over an empty list of an ENUM that comes in through Arrow."""
    for value, expected in (("[]::ENUM('a')[]", []), ("NULL::ENUM('a')[]", None), ("[[]]::ENUM('a')[][]", [[]])):
        result = lib.sql(f"SELECT {value} AS x")
        assert result.fetchall() == [(expected,)]
        assert repr(result)
        assert len(result.df()) == len(result.pl()) == result.arrow().num_rows == 1
        assert lib.sql("SELECT DATE '2024-01-01', [1]").fetchall() == [(dt.date(2024, 1, 1), [1])]
        assert lib.sql("SELECT DATE '2024-01-01' AS d").df().shape == (1, 1)


def test_a_converter_that_broke_is_replaced(lib):
    from duckvstore.sql.results import conversion

    levels = pa.dictionary(pa.uint8(), pa.string())
    broken = pa.table({"x": pa.array([[]], pa.list_(levels))})
    with contextlib.suppress(Unsupported):
        conversion.to_texts(broken)
    assert conversion.to_texts(pa.table({"x": [1]})) == [["1"]]
    assert lib.sql("SELECT [1] AS x").df().x[0].tolist() == [1]


def test_intervals_in_every_form(lib):
    result = lib.sql("SELECT INTERVAL '1 day 00:00:01' AS x UNION ALL SELECT NULL")
    assert result.pl()["x"].to_list() == [dt.timedelta(days=1, seconds=1), None]
    assert result.df()["x"][0] == dt.timedelta(days=1, seconds=1)
    assert result.arrow().column("x").to_pylist() == [pa.MonthDayNano([0, 1, 10**9]), None]
    assert pa.table(result).column("x").to_pylist() == [pa.MonthDayNano([0, 1, 10**9]), None]
    with pytest.raises(Unsupported, match=r"column 'x' holds intervals with months.*ask for \.arrow\(\) or \.df\(\)"):
        lib.sql("SELECT INTERVAL '1 month' AS x").pl()
    long = lib.sql("SELECT to_hours(3000000) AS x")
    assert long.fetchall() == [(dt.timedelta(hours=3000000),)]
    assert long.pl()["x"].to_list() == [dt.timedelta(hours=3000000)]
    with pytest.raises(Unsupported, match="column 'x' holds an interval of more than 292 years"):
        long.arrow()
    with pytest.raises(Unsupported, match="cast it to VARCHAR"):
        lib.sql("SELECT to_days(2147483647) AS x").fetchall()


def test_rows_of_returning_have_their_types(lib):
    lib.sql("CREATE TEMP TABLE odd (a UHUGEINT, b INTERVAL, c BIT)")
    found = lib.sql(f"INSERT INTO odd VALUES ({2**128 - 1}, INTERVAL 2 DAY, '101') RETURNING *")
    assert found.types == ["UHUGEINT", "INTERVAL", "BIT"]
    assert found.fetchall() == [(2**128 - 1, dt.timedelta(days=2), "101")]
    lib.sql("DROP TABLE odd")


def test_types_are_read_and_nothing_else():
    for text in (
        "STRUCT(a INTEGER",
        "ENUM(1",
        "INTEGER; DROP",
        "LIST(a)",
        "MAP(INTEGER)",
        "foo",
        "",
        "(" * 5000,
        "a" * 9999,
    ):
        with pytest.raises(DuckVStoreError, match="is no type that this release knows"):
            kinds.parse(text)
    with pytest.raises(DuckVStoreError):
        kinds.parse("INTEGER" + "[]" * 10 + ")")
    assert str(kinds.parse("STRUCT(\"a\"\"b\" ENUM('x''y')[3])")) == "STRUCT(\"a\"\"b\" ENUM('x''y')[3])"
