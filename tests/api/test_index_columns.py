"""``index_column``: a column of times by which rows of an Arrow or polars table go, as those of a frame by an index."""

from __future__ import annotations

import datetime as dt
import json
import random

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from polars.testing import assert_frame_equal as assert_polars_equal

import duckvstore as vs
from duckvstore.errors import Conflict, InvalidInput, NoSuchColumn
from duckvstore.objects.memory import MemoryObjects
from tests.sizes import sized

START = dt.datetime(2026, 1, 1)
UNITS = ("s", "ms", "us", "ns")


def library():
    """Return an empty library of its own."""
    return vs.Store(MemoryObjects("x")).create_library("l")


def ticks(days, unit="us", zone=None):
    """Return the starts of these days of January 2026 as Arrow timestamps."""
    return pa.array([START + dt.timedelta(day - 1) for day in days], pa.timestamp(unit, zone))


def table(days, unit="us", zone=None, **more):
    """Return a table in which the times stand between two other columns."""
    return pa.table(
        {"n": pa.array(list(days), pa.int64()), "time": ticks(days, unit, zone), "s": [f"d{d}" for d in days], **more}
    )


def days_of(found):
    """Return the days in ``n`` of what was read."""
    return list(found["n"].to_pylist() if isinstance(found, pa.Table) else found["n"].to_list())


@pytest.mark.parametrize(
    ("kind", "unit", "zone"),
    [
        *(("table", unit, "Asia/Tokyo" if unit in ("s", "ns") else None) for unit in UNITS),
        *(("polars", unit, "Asia/Tokyo" if unit == "us" else None) for unit in UNITS[1:]),
        *((kind, "us", "UTC") for kind in ("batch", "reader", "lazy")),
    ],
)
def test_rows_go_by_their_times(kind, unit, zone):
    """Ranges, updates, deletions, order and descriptions, whatever holds the times; the column stays where it stood."""

    def made(days):
        rows = table(days, unit, zone)
        wrapped = {
            "table": lambda: rows,
            "batch": lambda: rows.combine_chunks().to_batches()[0],
            "reader": lambda: rows.to_reader(max_chunksize=2),
            "polars": lambda: pl.DataFrame(rows),
            "lazy": lambda: pl.DataFrame(rows).lazy(),
        }
        return wrapped[kind]()

    lib = library()
    lib.write("t", made(range(1, 6)), index_column="time")
    found = lib.read("t").data
    expected = table(range(1, 6), unit, zone)
    assert found.equals(expected) if isinstance(found, pa.Table) else found.equals(pl.DataFrame(expected))
    first, last = (pd.Timestamp(START + dt.timedelta(day), tz=zone and "UTC") for day in (1, 2))
    assert days_of(lib.read("t", date_range=(first, last)).data) == [2, 3]
    assert days_of(lib.read("t", date_range=(first, None), columns=["n"]).data) == [2, 3, 4, 5]
    description = lib.get_description("t")
    assert (description.sorted, [column.name for column in description.index]) == ("ASCENDING", ["time"])
    assert [column.name for column in description.columns] == ["n", "s"]
    assert description.date_range[0] == pd.Timestamp(START, tz=zone and "UTC")
    lib.append("t", made([6, 7]))
    lib.append("t", made([8]), index_column="time")
    with pytest.raises(InvalidInput, match="before the end of version"):
        lib.append("t", made([3]))
    lib.update("t", made([2, 4]))
    assert days_of(lib.read("t").data) == [1, 2, 4, 5, 6, 7, 8]
    lib.update("t", made([3, 5]), date_range=(last, last))
    assert days_of(lib.read("t").data) == [1, 2, 3, 4, 5, 6, 7, 8]
    lib.delete_data_in_range("t", (first, last))
    assert days_of(lib.read("t").data) == [1, 4, 5, 6, 7, 8]
    assert lib.get_description("t").sorted == "ASCENDING"
    assert lib.read("t").data.schema == found.schema
    lib.append("t", made([2]), validate_index=False)
    assert lib.get_description("t").sorted == "UNSORTED"
    with pytest.raises(InvalidInput, match="not sorted"):
        lib.update("t", made([2]))
    assert lib.verify().ok


def test_columns_come_with_the_index():
    """In front where it is not named, else in the place that was asked for; in each format."""
    lib = library()
    lib.write("t", table([1, 2]), index_column="time")
    assert lib.read("t", columns=["s"]).data.column_names == ["time", "s"]
    assert lib.read("t", columns=["s", "time"]).data.column_names == ["s", "time"]
    assert lib.read("t", columns=["s"], output_format="polars").data.columns == ["time", "s"]
    assert list(lib.read("t", columns=["s", "time"], output_format="pandas").data) == ["s", "time"]
    assert lib.read("t", where="n = 2", columns=["n"]).data.column_names == ["time", "n"]
    assert lib.head("t", 1).data.equals(table([1]))
    assert lib.sql("SELECT column_name FROM vstore.columns WHERE is_index").fetchall() == [("time",)]
    assert lib.sql("FROM t").columns == ["n", "time", "s"]
    assert pa.table(lib["t"]).column_names == ["n", "time", "s"]


@pytest.mark.parametrize(
    ("value", "column", "error", "message"),
    [
        (table([1]), "tine", NoSuchColumn, "time"),
        (table([1]), "n", InvalidInput, "of type int64"),
        (pa.table({"d": [dt.date(2026, 1, 1)]}), "d", InvalidInput, "of type date32.*cast it"),
        (pl.DataFrame({"d": [dt.date(2026, 1, 1)]}), "d", InvalidInput, r"pl\.Datetime"),
        (table([1]), 1, InvalidInput, "no text"),
        (pa.Table.from_arrays([ticks([1]), ticks([1])], names=["time", "time"]), "time", InvalidInput, "2 columns"),
        (pd.DataFrame({"time": [START]}), "time", InvalidInput, "set_index"),
        (pd.Series([1]), "time", InvalidInput, "set_index"),
        (pl.Series("time", [START]), "time", InvalidInput, "Series: leave it out"),
        (np.array([1]), "time", InvalidInput, "ndarray: leave it out"),
        ({"a": table([1])}, "time", InvalidInput, "dict: leave it out"),
        (table([2, 1]), "time", InvalidInput, "not sorted"),
        (table([2, 1]).to_reader(), "time", InvalidInput, "not sorted"),
        (pa.table({"time": pa.array([None, START], pa.timestamp("us"))}), "time", InvalidInput, "NaT"),
    ],
)
def test_what_is_no_index_column_is_refused(value, column, error, message):
    """With what to write instead; nothing is made."""
    lib = library()
    with pytest.raises(error, match=message):
        lib.write("t", value, index_column=column)
    assert lib.list_symbols() == []


def test_rows_of_another_index_are_refused():
    """Where rows are there; where none are, they bring theirs."""
    lib = library()
    lib.write("t", table([1, 2], other=ticks([1, 2])), index_column="time")
    lib.write("plain", table([1, 2]))
    with pytest.raises(InvalidInput, match="has the index column 'time', so index_column='other'"):
        lib.append("t", table([3], other=ticks([3])), index_column="other")
    with pytest.raises(InvalidInput, match="has no index column"):
        lib.append("plain", table([3]), index_column="time")
    with pytest.raises(InvalidInput, match="date_range needs a datetime index"):
        lib.read("plain", date_range=(START, None))
    lib.write("empty", table([]), index_column="time")
    lib.append("empty", table([5, 6]))
    assert days_of(lib.read("empty", date_range=(START + dt.timedelta(5), None)).data) == [6]
    lib.update("new", table([1]), upsert=True, index_column="time")
    assert lib.get_description("new").sorted == "ASCENDING"


def test_schemas_change_around_the_index():
    """Columns come and go, the index keeps its unit; a time that it does not hold is refused."""
    lib = library()
    lib.write("t", table([1, 2], "ms"), index_column="time")
    lib.append("t", table([3], "ns", more=[1.5]).select(["more", "time", "n"]))
    found = lib.read("t").data
    assert found.schema.field("time").type == pa.timestamp("ms")
    assert found.column_names == ["n", "time", "s", "more"]
    assert found["s"].to_pylist() == ["d1", "d2", None]
    finer = pa.table({"time": pa.array([pd.Timestamp("2026-01-04 00:00:00.000000001").value], pa.timestamp("ns"))})
    with pytest.raises(InvalidInput, match="'time'"):
        lib.append("t", finer)
    with pytest.raises(InvalidInput, match="NaT"):
        lib.append("t", pa.table({"n": [4]}))
    with pytest.raises(InvalidInput, match="'time'"):
        lib.append("t", table([4], "ms", "UTC"))


@pytest.mark.parametrize(
    "made", [lambda rows: rows, pl.DataFrame, pa.Table.to_reader], ids=["table", "polars", "reader"]
)
def test_an_index_column_keeps_to_times_when_no_row_is_left(made):
    """Rows with another type in that column would join a value without rows, and the version could not be read."""
    others = {"text": ["a"], "numbers": [1], "dates": [dt.date(2026, 1, 1)]}
    lib = library()
    lib.write("t", pl.DataFrame(table([1])) if made is pl.DataFrame else table([1]), index_column="time")
    lib.sql("DELETE FROM t")
    for values in others.values():
        with pytest.raises(InvalidInput, match=r"the index column, stored timestamp\[us\], new"):
            lib.append("t", made(table([1]).set_column(1, "time", pa.array(values))), validate_index=False)
    lib.append("t", made(table([2])))
    assert days_of(lib.read("t", date_range=(START, None)).data) == [2]
    assert lib.verify().ok


@pytest.mark.parametrize("output_format", ["pyarrow", "polars", "pandas"])
def test_columns_of_duckdbs_own_types_come_with_the_index(output_format):
    """Each with its own type, though the index stands in front of those that were asked for."""
    lib = library()
    lib.sql("CREATE TABLE t (n INTEGER, time TIMESTAMP, e ENUM('a', 'b'), u UHUGEINT)")
    given = {"n": pa.array([1], pa.int32()), "time": ticks([1]), "e": ["b"], "u": ["6"]}
    lib.append("t", pa.table(given), index_column="time")
    whole = lib.read("t", output_format=output_format).data
    for columns in (["e"], ["u", "e"], ["n", "u"], ["e", "n", "time"]):
        expected = columns if "time" in columns else ["time", *columns]
        for where in (None, "e = 'b'"):
            found = lib.read("t", columns=columns, where=where, output_format=output_format).data
            if output_format == "pandas":
                pd.testing.assert_frame_equal(found, whole[expected])
            else:
                assert found.equals(whole.select(expected))


@pytest.mark.parametrize("days", [(1, 2, 3), ()])
@pytest.mark.parametrize("made", [lambda rows: rows, pa.Table.to_reader], ids=["table", "reader"])
def test_rows_without_the_index_column_have_no_time(made, days):
    """In a stream too, so that the version is not taken for one in order, of which update() would lose these rows."""
    lib = library()
    lib.write("t", table(days), index_column="time")
    given = pa.table({"n": [9]})
    with pytest.raises(InvalidInput, match="has NaT"):
        lib.append("t", made(given))
    lib.append("t", made(given), validate_index=False)
    assert lib.get_description("t").sorted == "UNSORTED"
    with pytest.raises(InvalidInput, match="not sorted|NaT"):
        lib.update("t", table([3, 4]))
    assert days_of(lib.read("t").data) == [*days, 9]
    for values in (["a"], pa.array([START]).dictionary_encode()):
        with pytest.raises(InvalidInput, match="column 'time'"):
            lib.append("t", made(table([9]).set_column(1, "time", pa.array(values))), validate_index=False)


def test_alter_table_and_edits_in_sql_keep_to_it():
    """The index is renamed and not dropped or retyped; rows are put in their places."""
    lib = library()
    lib.write("t", table([1, 3]), index_column="time")
    lib.sql("INSERT INTO t VALUES (2, TIMESTAMP '2026-01-02', 'sql')")
    assert days_of(lib.read("t").data) == [1, 2, 3]
    lib.sql("ALTER TABLE t DROP COLUMN n")
    lib.sql("ALTER TABLE t RENAME s TO n")
    lib.sql("ALTER TABLE t ADD COLUMN s DOUBLE")
    lib.sql("ALTER TABLE t RENAME time TO stamp")
    for statement in ("ALTER TABLE t DROP COLUMN stamp", "ALTER TABLE t ALTER stamp TYPE DATE"):
        with pytest.raises((InvalidInput, vs.errors.SqlError), match="index"):
            lib.sql(statement)
    found = lib.read("t", date_range=(START + dt.timedelta(1), None)).data
    assert found.column_names == ["stamp", "n", "s"]
    assert found["n"].to_pylist() == ["sql", "d3"]
    lib.sql("UPDATE t SET stamp = TIMESTAMP '2026-02-01' WHERE n = 'd1'")
    assert lib.read("t").data["n"].to_pylist() == ["sql", "d3", "d1"]
    assert lib.get_description("t").sorted == "ASCENDING"
    lib.sql("DELETE FROM t WHERE n = 'd3'")
    lib.update("t", lib.read("t", row_range=(0, 1)).data)
    assert lib.read("t").data["n"].to_pylist() == ["sql", "d1"]
    assert [row[0] for row in lib.sql("SELECT change FROM vstore.diff('t', 0, 1)").fetchall()] == ["insert"]


def test_batches_staged_parts_and_transactions_take_it():
    """Each call that writes has the same parameter, payloads a field of that name."""
    lib = library()
    found = lib.write_batch([vs.WritePayload("a", table([1]), index_column="time"), vs.WritePayload("b", table([1]))])
    assert [lib.get_description(item.symbol).sorted for item in found] == ["ASCENDING", "UNKNOWN"]
    lib.append_batch([vs.WritePayload("a", table([2]), None, "time")])
    lib.update_batch([vs.UpdatePayload("a", table([2, 3]), index_column="time")])
    assert days_of(lib.read("a").data) == [1, 2, 3]
    lib.stage("s", table([4, 3]), sort_on_index=True, index_column="time")
    lib.stage("s", table([1, 2]), index_column="time")
    with pytest.raises(InvalidInput, match="not sorted"):
        lib.stage("s", table([2, 1]), index_column="time")
    lib.finalize_staged_data("s")
    assert days_of(lib.read("s").data) == [1, 2, 3, 4]
    lib.stage("s", table([5]), index_column="time")
    lib.finalize_staged_data("s", mode="append")
    lib.stage("s", table([2]), index_column="time")
    with pytest.raises(InvalidInput, match="before the end"):
        lib.finalize_staged_data("s", mode="append")
    assert lib.get_description("s").sorted == "ASCENDING"
    with lib.transaction() as both:
        both.append("a", table([4]))
        both.write("c", table([1]), index_column="time")
        both.append("c", table([2]))
        both.update("a", table([2]))
    assert days_of(lib.read("a").data) == [1, 2, 3, 4]
    assert days_of(lib.read("c", date_range=(START + dt.timedelta(1), None)).data) == [2]
    with pytest.raises(Conflict), lib.transaction() as late:
        late.append("c", table([3]))
        lib.append("c", table([3]))


@pytest.mark.parametrize("made", [lambda rows: rows, pl.DataFrame], ids=["table", "polars"])
@pytest.mark.parametrize("position", [0, 40])
@pytest.mark.parametrize("unit", ["us", "ns"])
def test_parts_go_by_the_index_column_that_is_there(made, position, unit):
    """Staged without one, as in append(): in the order of their times, which is looked at, far behind others too."""
    lib = library()

    def rows(days):
        found = table(days, unit)
        wide = {f"c{number}": [0] * len(days) for number in range(position)}
        return made(pa.table({**wide, **dict(zip(found.column_names, found.columns, strict=True))}))

    lib.write("t", rows([1, 2]), index_column="time")
    lib.stage("t", rows([5, 6]))
    lib.stage("t", rows([3, 4]))
    lib.finalize_staged_data("t", mode="append")
    assert days_of(lib.read("t").data) == [1, 2, 3, 4, 5, 6]
    assert lib.get_description("t").sorted == "ASCENDING"
    with pytest.raises(InvalidInput, match="before the end of version 1"):
        lib.append("t", rows([5]))
    for staged, message in (
        ([[5]], "before the end of version 1"),
        ([[8, 7]], "not sorted"),
        ([[7, 9], [8]], "overlap"),
    ):
        for days in staged:
            lib.stage("t", rows(days))
        with pytest.raises(InvalidInput, match=message):
            lib.finalize_staged_data("t", mode="append", delete_staged_data_on_failure=True)
    lib.stage("t", rows([9, 7]))
    lib.stage("t", rows([8]))
    lib.sort_and_finalize_staged_data("t", mode="append")
    assert days_of(lib.read("t", date_range=(START + dt.timedelta(5), None)).data) == [6, 7, 8, 9]
    lib.update("t", rows([7]))
    assert days_of(lib.read("t").data) == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    lib.stage("t", rows([3]))
    lib.finalize_staged_data("t", mode="append", validate_index=False)
    assert lib.get_description("t").sorted == "UNSORTED"
    assert lib.verify().ok


@pytest.mark.parametrize(
    "given", [pa.table({"n": [9]}), pa.table({"n": [9], "time": pa.nulls(1)}), pa.table({"time": ["soon"]})]
)
@pytest.mark.parametrize("days", [(1, 2), ()])
def test_parts_without_times_are_refused_beside_an_index_column(given, days):
    """Unless order does not matter; a column of another type never joins."""
    lib = library()
    lib.write("t", table(days), index_column="time")
    lib.stage("t", table([3]))
    lib.stage("t", given)
    with pytest.raises(
        InvalidInput, match=r"no times like those of the index column 'time'.*delete_staged_data\('t'\)"
    ):
        lib.finalize_staged_data("t", mode="append")
    assert days_of(lib.read("t").data) == list(days)
    if pa.types.is_string(given.schema.field(given.num_columns - 1).type):
        with pytest.raises(InvalidInput, match="'time'"):
            lib.finalize_staged_data("t", mode="append", validate_index=False)
        return
    lib.finalize_staged_data("t", mode="append", validate_index=False)
    assert lib.read("t").data["n"].to_pylist() == [*days, 3, 9]
    assert lib.get_description("t").sorted == "UNSORTED"
    with pytest.raises(InvalidInput, match="not sorted"):
        lib.update("t", table([3, 4]))


def test_the_document_asks_for_it():
    """A reader that does not know it would append out of order; plain tables ask for nothing."""
    objects = MemoryObjects("x")
    lib = vs.Store(objects).create_library("l")
    lib.write("t", table([1]), index_column="time")
    lib.write("plain", table([1]))
    bodies = {
        body["symbol"]: body
        for key, data in objects._objects.items()
        if "/versions/" in key
        for body in [json.loads(data)]
    }
    assert (bodies["t"]["requires"], bodies["t"]["schema"]["index"]) == (["index_column"], ["time"])
    assert (bodies["plain"]["requires"], bodies["plain"]["schema"]["index"]) == ([], [])


def test_an_index_behind_many_columns_has_bounds():
    """The first 32 columns have statistics, and the index wherever it stands."""
    lib = library()
    many = {f"c{n}": [n, n] for n in range(50)}
    lib.write("t", pa.table({**many, "time": ticks([1, 2])}), index_column="time")
    assert lib.get_description("t").date_range == (START, START + dt.timedelta(1))
    lib.append("t", pa.table({**many, "time": ticks([3, 4])}))
    assert lib.read("t", date_range=(START + dt.timedelta(3), None)).data.num_rows == 1


@pytest.mark.parametrize("seed", range(sized(3, 60)))
def test_random_edits_agree_with_a_frame(seed):
    """The same edits of a pandas frame by its index leave the same rows."""
    choose = random.Random(seed)
    lib, polars = library(), choose.random() < 0.5
    lib.set_options(segment_bytes=1 << 16)
    for symbol in ("t", "f"):
        rows = table(range(1, 20))
        if symbol == "t":
            lib.write("t", pl.DataFrame(rows) if polars else rows, index_column="time")
        else:
            lib.write("f", rows.to_pandas().set_index("time"))
    last = 20
    for _ in range(10):
        low = choose.randint(1, last)
        days = sorted(choose.sample(range(low, low + 6), choose.randint(1, 4)))
        step = choose.choice(["append", "update", "range", "delete"])
        if step == "append":
            days = list(range(last, last + choose.randint(1, 5)))
        last = max(last, days[-1] + 1) if step != "delete" else last
        rows = table(days)
        bounds = (START + dt.timedelta(low), START + dt.timedelta(low + choose.randint(0, 4)))
        for symbol in ("t", "f"):
            given = rows.to_pandas().set_index("time") if symbol == "f" else pl.DataFrame(rows) if polars else rows
            if step == "append":
                lib.append(symbol, given)
            elif step == "update":
                lib.update(symbol, given)
            elif step == "range":
                lib.update(symbol, given, date_range=bounds)
            else:
                lib.delete_data_in_range(symbol, bounds)
        found, expected = lib.read("t", output_format="polars").data, lib.read("f", output_format="polars").data
        assert_polars_equal(found.select("time", "n", "s"), expected.select("time", "n", "s"))
        found, expected = (lib.read(symbol, date_range=bounds).data for symbol in ("t", "f"))
        assert days_of(found) == expected["n"].to_list()
        assert lib.get_description("t").date_range == lib.get_description("f").date_range
