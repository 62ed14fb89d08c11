"""Columns without any value and frames without rows: they join whatever they meet, in every call that adds rows."""

from __future__ import annotations

import os
from datetime import date, datetime

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal, assert_series_equal

import duckvstore as vs
from duckvstore.errors import InvalidInput
from duckvstore.objects.memory import MemoryObjects
from tests.sizes import step

IS_FULL = bool(os.environ.get("DUCKVSTORE_FULL"))
DAYS = pd.DatetimeIndex(pd.date_range("2024-01-01", periods=9, unit="us").to_numpy(), name="day")


def library(**options):
    """Return an empty library of its own."""
    made = vs.Store(MemoryObjects("x")).create_library("l")
    if options:
        made.set_options(**options)
    return made


def one(day, value, dtype=None):
    """Return a frame of one row of that day, with the column ``note`` and a number."""
    return pd.DataFrame({"note": pd.Series([value], dtype=dtype), "n": [day]}).set_axis(DAYS[day : day + 1])


def document(made, version):
    """Return the version document."""
    return made.open_library.version("s", version)


def append(made, *frames):
    for frame in frames:
        made.append("s", frame)


def append_in_batches(made, *frames):
    for frame in frames:
        made.append_batch([vs.WritePayload("s", frame)])


def update(made, *frames):
    made.update("s", frames[0], upsert=True)
    for frame in frames[1:]:
        made.update("s", frame)


def stage(made, *frames):
    for frame in frames:
        made.stage("s", frame)
    made.finalize_staged_data("s")


def stage_one_by_one(made, *frames):
    for frame in frames:
        made.stage("s", frame)
        made.finalize_staged_data("s", mode="append")


def sort_staged(made, *frames):
    for frame in reversed(frames):
        made.stage("s", frame)
    made.sort_and_finalize_staged_data("s")


def in_one_transaction(made, *frames):
    with made.transaction() as both:
        for frame in frames:
            both.append("s", frame)


def in_transactions(made, *frames):
    for frame in frames:
        with made.transaction() as both:
            both.append("s", frame)


WAYS = [append, append_in_batches, update, stage, stage_one_by_one, sort_staged, in_one_transaction, in_transactions]
MISSING = [
    (np.nan, "float64"),
    (None, object),
    (pd.NaT, "M8[ns]"),
    (None, "str"),
    (None, "Int64"),
    (None, pd.ArrowDtype(pa.date32())),
    (None, "category"),
]
VALUES = [
    ("x", "str"),
    ("x", object),
    (7, "int64"),
    (2**53 + 1, "int64"),
    (0.5, "float64"),
    (True, "bool"),
    (pd.Timestamp("2024-05-05"), "M8[us]"),
    (pd.Timestamp("9999-01-01"), "M8[s]"),
    (pd.Timestamp("2024-05-05", tz="Europe/Berlin"), "datetime64[us, Europe/Berlin]"),
    (pd.Timedelta(5, "s"), "m8[s]"),
    (date(2024, 5, 5), object),
    (pd.Period("2024-05", "M"), "period[M]"),
    ("b", pd.CategoricalDtype(["a", "b"], ordered=True)),
    (b"x", object),
    ([1, 2], object),
    ({"k": 1}, object),
]


@pytest.mark.parametrize("way", WAYS)
def test_a_column_without_values_takes_the_type_of_the_other_side(way):
    """In both directions, and once more behind values; SQL sees the type and the values.

    Every dtype of values meets one without any in half of the ways, all of them in all ways in a full run.
    """
    for number, (value, dtype) in list(enumerate(VALUES))[WAYS.index(way) % step(0.2) :: step(0.2)]:
        for missing, other in MISSING if IS_FULL else [MISSING[(number + WAYS.index(way)) % len(MISSING)]]:
            without, valued = (lambda day: one(day, missing, other)), (lambda day: one(day, value, dtype))
            for frames in ([without(0), valued(1), without(2)], [valued(0), without(1), valued(2)]):
                made = library()
                way(made, *frames)
                found = made.read("s").data
                assert found["n"].tolist() == [0, 1, 2]
                assert found["note"].isna().tolist() == [frame["note"].isna().item() for frame in frames]
                expected = [frame["note"].item() for frame in frames if frame["note"].notna().item()]
                assert found["note"].dropna().tolist() == expected
                assert found.index.equals(DAYS[:3])
                if isinstance(value, (str, bool, int, float)):
                    cells = [(None if frame["note"].isna().item() else value,) for frame in frames]
                    assert made.sql("SELECT note FROM s ORDER BY day").fetchall() == cells
    assert made.verify().ok


@pytest.mark.parametrize("missing", [np.nan, None, pd.NaT])
def test_nothing_stored_is_written_again_for_it(missing):
    """The segments stay; the column goes on under another field id, which an earlier release finds too."""
    made = library()
    made.write("s", pd.concat([one(day, missing) for day in range(2)]))
    made.append("s", one(2, "x"))
    before, after = document(made, 0), document(made, 1)
    assert after.segments[0].key == before.segments[0].key
    assert [column.name for column in after.schema.columns] == ["day", "note", "n"]
    if missing is None:  # any column can be read as one of the null type is
        assert (after.schema.columns[1].id, after.schema.next_id) == (2, None)
    else:
        assert (after.schema.columns[1].id, after.schema.next_id) == (4, 5)
    assert made.sql("SELECT n FROM s WHERE note IS NULL ORDER BY n").fetchall() == [(0,), (1,)]
    assert made.sql("SELECT n FROM s WHERE note = 'x'").fetchall() == [(2,)]
    assert made.sql("SELECT change, note FROM vstore.diff('s', 0, 1)").fetchall() == [("insert", "x")]
    made.append("s", one(3, "y").assign(more=1))
    assert made.read("s").data["note"].isna().tolist() == [True, True, False, False]
    made.update("s", one(0, "z"))
    made.delete_rows("s", "n = 1")
    assert made.sql("SELECT note, more FROM s ORDER BY n").fetchall() == [("z", None), ("x", None), ("y", 1)]


def test_a_type_that_holds_the_new_one_stays():
    """What is declared for later is not narrowed by the first values, and values keep theirs beside missing ones."""
    made = library()
    made.write("s", pa.table({"c": pa.nulls(1, pa.int64()), "d": pa.array([1], pa.int32())}))
    made.append("s", pa.table({"c": pa.array([1], pa.int8()), "d": pa.nulls(1, pa.float64())}))
    found = made.read("s").data
    assert [field.type for field in found.schema] == [pa.int64(), pa.int32()]
    assert found.to_pydict() == {"c": [None, 1], "d": [1, None]}


def test_columns_beyond_the_statistics_are_looked_at():
    """Nothing in the document says that the 40th column has no value, so it is read: the first value ends that."""
    wide = {f"c{number}": [1.5] for number in range(39)}
    made = library()
    made.write("s", pd.DataFrame({**wide, "note": [np.nan]}))
    made.append("s", pd.DataFrame({**wide, "note": ["x"]}))
    assert made.read("s").data["note"].isna().tolist() == [True, False]
    made.append("s", pd.DataFrame({**wide, "note": [np.nan]}))
    with pytest.raises(InvalidInput, match="column 'note': stored large_string, new double"):
        made.append("s", pd.DataFrame({**wide, "note": [0.5]}))
    made.write("s", pd.DataFrame({**wide, "big": [2**53 + 1]}))
    with pytest.raises(InvalidInput, match="nor does double hold the stored 9007199254740993"):
        made.append("s", pd.DataFrame({**wide, "big": [0.5]}))
    made.write("s", pd.DataFrame({**wide, "big": [2**53]}))
    made.append("s", pd.DataFrame({**wide, "big": [0.5]}))
    assert made.read("s").data["big"].tolist() == [2.0**53, 0.5]


def test_a_stream_may_have_columns_without_values():
    """They are known only when all of it is stored; so are numbers that decide what type holds both."""
    kind = pa.schema([("text", pa.float64()), ("whole", pa.float64()), ("part", pa.float64())])

    def stream(*parts):
        batches = [
            pa.record_batch([pa.nulls(1, pa.float64()), pa.nulls(1, pa.float64()), pa.array([part])], schema=kind)
            for part in parts
        ]
        return pa.RecordBatchReader.from_batches(kind, batches)

    made = library()
    made.write("s", pa.table({"text": ["x"], "whole": pa.array([1], pa.int32()), "part": [1]}))
    made.append("s", stream(2.0, 0.5))
    found = made.read("s").data
    assert [str(field.type) for field in found.schema] == ["string", "int32", "double"]
    assert found.to_pydict() == {"text": ["x", None, None], "whole": [1, None, None], "part": [1, 2, 0.5]}
    made.append("s", stream())
    assert list(made.list_versions("s")) == [("s", 1), ("s", 0)]


def test_a_large_frame_of_text_may_have_columns_without_values(monkeypatch):
    """It is streamed; the others of its columns are in the same place."""
    monkeypatch.setattr("duckvstore.format.codecs.pandas_frames.TEXT_BATCHES_ROWS_MIN", 2)
    made = library()
    made.write("s", pd.DataFrame({"t": pd.Series(["a"], dtype=object), "note": ["x"]}))
    made.append("s", pd.DataFrame({"t": pd.Series(["b", "c"], dtype=object), "note": [np.nan, np.nan]}))
    assert made.sql("SELECT t, note FROM s").fetchall() == [("a", "x"), ("b", None), ("c", None)]


FRAME = pd.DataFrame({"c": ["x", "y"], "n": [1, 2]}, index=DAYS[:2])
NOTHING = [
    pd.DataFrame(),
    pd.DataFrame({"c": []}),
    pd.DataFrame({"other": []}, index=pd.DatetimeIndex([])),
    pd.DataFrame({"c": np.array([], "M8[ns]")}, index=pd.Index([], name="key")),
    FRAME[:0],
]


@pytest.mark.parametrize("nothing", NOTHING)
def test_a_frame_without_rows_adds_nothing(nothing):
    """Whatever its columns and its index: no version is made, unless there is metadata for one."""
    made = library()
    made.write("s", FRAME)
    calls = [made.append, made.update]
    assert [call("s", nothing).version for call in calls] == [0, 0]
    made.append_batch([vs.WritePayload("s", nothing)])
    with made.transaction() as both:
        both.append("s", nothing)
    made.stage("s", nothing)
    made.finalize_staged_data("s", mode="append")
    assert list(made.list_versions("s")) == [("s", 0)]
    assert made.append("s", nothing, metadata=1).version == 1
    assert_frame_equal(made.read("s").data, FRAME)
    made.update("s", nothing, date_range=(DAYS[1], DAYS[3]))
    assert_frame_equal(made.read("s").data, FRAME[:1])


@pytest.mark.parametrize("nothing", NOTHING)
@pytest.mark.parametrize("way", [append, append_in_batches, update, stage_one_by_one, in_one_transaction])
def test_the_first_write_may_be_empty(nothing, way):
    """What follows has its own index and dtypes; columns that only the first has stay, without values."""
    for first in (made_by_write, way):
        made = library()
        first(made, nothing)
        way(made, FRAME) if way is not update else made.update("s", FRAME)
        found = made.read("s").data
        own = [label for label in nothing.columns if label not in FRAME]
        assert sorted(found.columns) == sorted([*FRAME.columns, *own])
        assert_frame_equal(found[list(FRAME.columns)], FRAME, check_column_type=False)
        assert found[own].isna().all(axis=None)
        assert made.sql("SELECT c, n FROM s ORDER BY n").fetchall() == [("x", 1), ("y", 2)]
        assert made.read("s", date_range=(DAYS[1], None)).data["n"].tolist() == [2]
        with pytest.raises(InvalidInput, match="before the end of version"):
            made.append("s", FRAME)


def made_by_write(made, frame):
    made.write("s", frame)


def test_an_empty_first_write_of_other_kinds():
    """Series, arrays, Arrow tables (with an index column, or of no column) and polars frames."""
    cases = [
        (pd.Series([], dtype=object), pd.Series([1, 2], index=["a", "b"], name="n")),
        (np.zeros((0, 3)), np.arange(4)),
        (pa.table({}), pa.table({"c": [1]})),
        (pa.table({"c": pa.array([], pa.string())}), pa.table({"c": [1]})),
        (pl.DataFrame(), pl.DataFrame({"c": ["x"]})),
        (pl.DataFrame({"c": []}, schema={"c": pl.Int8}), pl.DataFrame({"c": ["x"]})),
    ]
    for empty, value in cases:
        made = library()
        made.write("s", empty)
        made.append("s", value)
        found = made.read("s").data
        if isinstance(value, pd.Series):
            assert_series_equal(found, value)
        elif isinstance(value, np.ndarray):
            np.testing.assert_array_equal(found, value)
        else:
            assert found.equals(value)
        assert made.append("s", empty).version == 1
    made.write("s", pa.table({"c": pa.array([], pa.string())}))
    times = pa.table({"c": [1], "time": pa.array([datetime(2024, 1, 1)], pa.timestamp("us"))})
    made.append("s", times)
    assert made.read("s").data.equals(times)


def test_declared_columns_of_sql_stay():
    """A table that SQL made without rows keeps columns that the first rows lack, and types that hold theirs."""
    made = library()
    made.sql("CREATE TABLE s (a BIGINT, b VARCHAR, c DOUBLE)")
    made.append("s", pa.table({"a": pa.array([1], pa.int8()), "d": [True]}))
    assert made.sql("DESCRIBE s").df()["column_type"].tolist() == ["BIGINT", "VARCHAR", "DOUBLE", "BOOLEAN"]
    made.sql("INSERT INTO s VALUES (2, 'x', 0.5, NULL)")
    assert made.sql("FROM s ORDER BY a").fetchall() == [(1, None, None, True), (2, "x", 0.5, None)]


def test_a_missing_index_level_takes_the_type_of_the_other_side():
    """As a column does."""
    index = pd.MultiIndex.from_arrays([DAYS[:1], [np.nan]], names=["day", "key"])
    later = pd.MultiIndex.from_arrays([DAYS[1:2], ["k"]], names=["day", "key"])
    made = library()
    made.write("s", pd.DataFrame({"v": [1]}, index=index))
    made.append("s", pd.DataFrame({"v": [2]}, index=later))
    assert made.sql("SELECT key, v FROM s ORDER BY v").fetchall() == [(None, 1), ("k", 2)]
    assert made.read("s").data.index.get_level_values("key").isna().tolist() == [True, False]


@pytest.mark.parametrize(
    ("first", "second"),
    [([1, 2**53], [0.5, 7.0]), ([-(2**53)], [np.inf]), ([0.5, 7.0], [1, 2**53]), ([300], [-1.5])],
)
def test_whole_numbers_meet_floating_point_ones(first, second):
    """All are exact as double, and predicates on either side of the cut find what they should, segment by segment."""
    made = library()
    for cells in (first, second):
        made.append("s", pd.DataFrame({"c": cells}))
    cells = [float(value) for value in (*first, *second)]
    assert made.read("s").data["c"].tolist() == cells
    assert len(document(made, 1).segments) == 2
    for bound in (-(2.0**53), -1.5, 0.75, 1.0, 300.5, 2.0**53):
        for operator in ("<", "=", ">="):
            wanted = [cell for cell in cells if compare(cell, operator, bound)]
            found = made.sql(f"SELECT c FROM s WHERE c {operator} $bound", {"bound": bound})
            assert found.fetchall() == [(cell,) for cell in wanted]
    assert made.read("s", where="c < 0.75").data["c"].tolist() == [cell for cell in cells if cell < 0.75]


def compare(cell, operator, bound):
    return {
        "<": cell < bound,
        "=": cell == bound,
        ">=": cell >= bound,
    }[operator]


STORED = {"text": ["x"], "when": pa.array([1], pa.timestamp("us")), "parts": [{"n": 1}]}
MISFITS = {
    "text": pa.array([1.5]),
    "when": pa.array(["soon"]),
    "parts": pa.array([{"n": "one"}]),
}


def stored_keys(objects):
    """Return what is there, but for what is announced."""
    return {entry.key for entry in objects.list("") if "/journal/" not in entry.key}


@pytest.mark.parametrize("column", MISFITS)
@pytest.mark.parametrize("own", [False, True])
def test_a_stream_that_cannot_fit_is_refused_before_anything_is_stored(column, own):
    """By its types and first rows, however long it is; of a table with columns of DuckDB's own types too."""
    objects = MemoryObjects("x")
    made = vs.Store(objects).create_library("l")
    made.write("s", pa.table(STORED))
    if own:
        made.sql("ALTER TABLE s ADD COLUMN u UUID")
    before, asked = stored_keys(objects), []
    misfit = pa.table({**STORED, column: MISFITS[column]})

    def stream():
        for number in range(5):
            asked.append(number)
            yield misfit.to_batches()[0].slice(0, min(number, 1))

    with pytest.raises(InvalidInput, match=f"column '{column}'"):
        made.append("s", pa.RecordBatchReader.from_batches(misfit.schema, stream()))
    assert asked == [0, 1], "it ends with the first row"
    assert stored_keys(objects) == before
    missing = misfit.set_column(misfit.column_names.index(column), column, pa.nulls(1, MISFITS[column].type))
    later = pa.concat_tables([missing, misfit])
    with pytest.raises(InvalidInput, match=f"column '{column}'"):
        made.append("s", later.to_reader())
    made.append("s", missing.to_reader())
    assert made.read("s").data[column].to_pylist() == [pa.table(STORED)[column][0].as_py(), None]
