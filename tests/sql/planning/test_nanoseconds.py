"""Nanoseconds that this DuckDB cannot read are kept or refused: never compared, or stored again, as microseconds."""

from __future__ import annotations

import datetime as dt

import pandas as pd
import pyarrow as pa
import pytest

import duckvstore as vs
from duckvstore.errors import SqlError
from duckvstore.sql.values.types import reads_zoned_nanoseconds

WHEN = ("2024-01-02 09:30:00.000000001", "2024-01-02 09:30:00.123456789", "2024-01-02 09:30:01")
MESSAGE = "column '{}' holds nanoseconds, which this DuckDB cuts"
zoned = pytest.mark.skipif(reads_zoned_nanoseconds(), reason="this DuckDB reads nanoseconds in time zones")


def ticks(*when: str) -> pd.DataFrame:
    index = pd.DatetimeIndex(when or WHEN).as_unit("ns").tz_localize("UTC").rename("t")
    return pd.DataFrame({"p": [float(at) for at in range(len(index))]}, index=index)


@pytest.fixture
def lib(tmp_path):
    library = vs.open(tmp_path).create_library("lib")
    library.write("ticks", ticks())
    library.write("even", ticks().set_axis(ticks().index.floor("us")))
    waits = pd.to_timedelta([1, 2000, -3], unit="ns")
    library.write("waits", pd.DataFrame({"p": [0.0, 1.0, 2.0], "t": waits}))
    yield library
    library.session.close()


def stored(lib, symbol: str) -> list[int]:
    column = lib.read(symbol, output_format="pyarrow").data.column("t")
    return column.cast(pa.timestamp("ns", "UTC")).cast(pa.int64()).to_pylist()


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE copy AS FROM {0}",
        "CREATE TABLE copy AS SELECT t FROM {0} WHERE p > 0",
        "CREATE TABLE copy AS SELECT max(t) FROM {0}",
        "CREATE TABLE copy AS SELECT {0} AS r FROM {0}",
        "CREATE TABLE copy AS SELECT p FROM {0} ORDER BY t",
        "CREATE TABLE copy AS FROM (SUMMARIZE {0})",
        "INSERT INTO target BY NAME SELECT t FROM {0}",
        "INSERT INTO target SELECT t FROM seen_{0}",
        "MERGE INTO target USING {0} ON false WHEN NOT MATCHED THEN INSERT (t) VALUES ({0}.t)",
        "COPY {0} TO '{1}/file.parquet'",
        "CREATE TEMP TABLE copy AS FROM {0}",
        "UPDATE {0} SET p = 5 WHERE t = t",
        "UPDATE {0} SET t = t",
        "DELETE FROM {0} USING target WHERE {0}.t > target.t",
    ],
)
@pytest.mark.parametrize("symbol", [pytest.param("ticks", marks=zoned), "waits"])
def test_what_would_lose_them_is_refused(lib, tmp_path, statement, symbol):
    lib.sql(f"CREATE TABLE target AS SELECT t FROM {symbol} LIMIT 0")
    lib.sql(f"CREATE VIEW seen_{symbol} AS SELECT * FROM {symbol}")
    before = lib.list_versions()
    with pytest.raises(SqlError, match=MESSAGE.format("t")):
        lib.sql(statement.format(symbol, tmp_path))
    assert lib.list_versions() == before


@pytest.mark.parametrize("shown", ["c AS t FROM waits AS x(b, c)", "#2 AS t FROM waits"])
def test_columns_that_are_not_named_are_refused_too(lib, shown):
    """Under another name, or by their position, they were cut and stored."""
    with pytest.raises(SqlError, match=MESSAGE.format("t")):
        lib.sql(f"CREATE TABLE copy AS SELECT {shown}")


@pytest.mark.parametrize("field", ["d.x", "held.d.x", "d['x']", "main.held.d.x"])
def test_fields_of_structs_are_refused_too(lib, field):
    """A field by its name after a dot is one of a column, which was taken for a table and cut."""
    kind = pa.struct([("x", pa.duration("ns"))])
    lib.write("held", pa.table({"d": pa.array([{"x": 1_000_000_001}], kind), "p": [1]}))
    with pytest.raises(SqlError, match=MESSAGE.format("d")):
        lib.sql(f"CREATE TABLE copy AS SELECT {field} AS y FROM held")
    lib.sql("CREATE TABLE copy AS SELECT held.p AS y FROM held")


@pytest.mark.parametrize("symbol", ["ticks", "waits", "even"])
def test_what_does_not_depend_on_them_works(lib, symbol):
    for statement in (
        f"CREATE TABLE copy AS SELECT p, count(t) AS n FROM {symbol} GROUP BY p",
        f"INSERT INTO copy BY NAME SELECT p FROM {symbol} WHERE t IS NOT NULL",
        f"UPDATE {symbol} SET p = p + 1 WHERE p = 1",
        f"DELETE FROM {symbol} WHERE p = 0",
    ):
        lib.sql(statement)
    original = lib.read(symbol, as_of=0, output_format="pyarrow").data.column("t").to_pylist()
    assert lib.read(symbol, output_format="pyarrow").data.column("t").to_pylist() == original[1:]


def test_frames_without_them_work_as_ever(lib):
    lib.sql("CREATE TABLE copy AS FROM even")
    assert stored(lib, "copy") == [tick // 1000 * 1000 for tick in stored(lib, "ticks")]
    assert lib.read("even", where="t = '2024-01-02 09:30:01+00'").data["p"].tolist() == [2.0]
    lib.delete_rows("even", "t > '2024-01-02 09:30:00+00'")
    assert lib.read("even").data["p"].tolist() == [0.0]


@zoned
def test_bounds_of_microseconds_are_exact_from_1970_on(lib):
    for where, expected in (
        ("t >= '2024-01-02 09:30:00+00'", [0, 1, 2]),
        ("t >= '2024-01-02 09:30:00.123456+00'", [1, 2]),
        ("'2024-01-02 09:30:00.123457+00' > t", [0, 1]),
        ("t < '2024-01-02 09:30:00.123456+00' OR p = 2", [0, 2]),
        ("date_trunc('minute', t) = '2024-01-02 09:30:00+00'", [0, 1, 2]),
    ):
        assert lib.read("ticks", where=where).data["p"].tolist() == expected, where
    lib.sql("CREATE TABLE some AS SELECT p FROM ticks WHERE t < '2024-01-02 09:30:00.123457+00'")
    assert lib.sql("FROM some").fetchall() == [(0.0,), (1.0,)]
    lib.sql("PREPARE gone AS UPDATE ticks SET p = p WHERE t < $until")
    lib.sql("EXECUTE gone(until := '2020-01-01 00:00:00+00'::TIMESTAMPTZ)")
    lib.sql("DELETE FROM ticks WHERE t < $end", {"end": dt.datetime(2024, 1, 2, 9, 30, 1, tzinfo=dt.UTC)})
    assert stored(lib, "ticks") == [pd.Timestamp(WHEN[2], tz="UTC").value]
    lib.write("old", ticks("1969-12-31 23:59:59.9999999", "1970-01-01"))
    for where in ("t < '1970-01-01 00:00:00+00'", "t >= '1970-01-01 00:00:00+00'"):
        with pytest.raises(SqlError, match=MESSAGE.format("t")):
            lib.delete_rows("old", where)


@pytest.mark.parametrize(
    "where",
    [
        pytest.param("t > '2024-01-02 09:30:00+00'", marks=zoned),
        pytest.param("t <= '2024-01-02 09:30:00.123456+00'", marks=zoned),
        pytest.param("t = '2024-01-02 09:30:00.123456789+00'", marks=zoned),
        pytest.param("t >= '2024-01-02 09:30:00.123456789+00'", marks=zoned),
        pytest.param("epoch_ns(t) % 1000 = 1", marks=zoned),
    ],
)
def test_rows_are_not_missed_by_a_predicate(lib, where):
    for call in (lib.read, lib.delete_rows):
        with pytest.raises(SqlError, match=MESSAGE.format("t")):
            call("ticks", where=where)
    assert len(lib.list_versions("ticks")) == 1
    assert lib.read("even", where=where).data is not None


def test_durations_below_a_microsecond_are_not_missed(lib):
    for where in ("t < INTERVAL 0 SECOND", "t > INTERVAL 0 SECOND"):
        with pytest.raises(SqlError, match=MESSAGE.format("t")):
            lib.read("waits", where=where)


@pytest.mark.parametrize("form", ["pandas", "arrow", "stream"])
def test_frames_of_the_caller_are_not_cut(lib, form):
    frame = ticks().reset_index() if not reads_zoned_nanoseconds() else pd.DataFrame({"t": pd.to_timedelta([1], "ns")})
    given = frame if form == "pandas" else pa.Table.from_pandas(frame)
    given = given.to_reader() if form == "stream" else given
    with pytest.raises(SqlError, match=MESSAGE.format("t")):
        lib.sql("CREATE TABLE copy AS FROM given")
    assert not lib.has_symbol("copy")
    even = frame.assign(t=frame["t"].dt.floor("us"))
    rows = even if form == "pandas" else pa.Table.from_pandas(even)
    rows = rows.to_reader() if form == "stream" else rows
    lib.sql("CREATE TABLE copy AS FROM rows")
    assert lib.sql("SELECT count(*) FROM copy").fetchall() == [(len(even),)]


@pytest.mark.skipif(not reads_zoned_nanoseconds(), reason="this DuckDB reads microseconds in time zones")
def test_a_duckdb_that_reads_them_keeps_them(lib):
    lib.sql("CREATE TABLE copy AS FROM ticks")
    assert stored(lib, "copy") == stored(lib, "ticks")
    assert lib.read("ticks", where="t = '2024-01-02 09:30:00.123456789+00'").data["p"].tolist() == [1.0]
