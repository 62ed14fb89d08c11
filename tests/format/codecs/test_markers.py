"""Several markers for what is missing in one column: None, NaN, pd.NA and NaT come back where they were."""

from __future__ import annotations

import datetime as dt
import json
import random
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import duckvstore as vs
from duckvstore.errors import Integrity, InvalidInput, Unsupported
from duckvstore.format.codecs import markers
from duckvstore.objects.memory import MemoryObjects
from tests.format.codecs.values_cases import assert_round_trip, assert_same, objects, rows_of, stored
from tests.sizes import sized

VALUES = {
    "text": ["a", "", "ünï"],
    "bytes": [b"a", b"", b"\0"],
    "whole numbers": [1, -2, 3],
    "floating point": [1.5, -0.0, 2.5],
    "booleans": [True, False, True],
    "decimals": [Decimal("1.5"), Decimal(0), Decimal(-3)],
    "dates": [dt.date(2020, 1, day) for day in (1, 2, 3)],
    "datetimes": [dt.datetime(2020, 1, day) for day in (1, 2, 3)],
    "Timestamps": [pd.Timestamp(2020, 1, day, tz="Asia/Tokyo") for day in (1, 2, 3)],
    "periods": [pd.Period("2020-01", "M"), pd.Period("2020-02", "M"), pd.Period("2020-03", "M")],
    "numpy numbers": [np.int16(1), np.int16(2), np.int16(3)],
    "lists": [[1], [], [2, 3]],
    "dicts": [{"a": 1}, {"a": None}, {"a": 3}],
    "arrays": [np.array([1.0, np.nan]), np.array([]), np.array([2.0])],
    "nothing": [None, pd.NaT, np.nan],
}
SYMBOL = "s"


def library():
    """Return an empty library of its own."""
    return vs.Store(MemoryObjects("x")).create_library("l")


def kinds(items):
    """Return what tells values and markers apart: NaN is not equal to itself, and equal to no None."""
    return [
        (type(item), item) if isinstance(item, (str, int, dt.date)) and item is not pd.NaT else type(item)
        for item in items
    ]


def framed(items, start=0):
    """Return a frame of exactly these objects over days from ``start``."""
    days = pd.date_range("2024-01-01", periods=start + len(items), name="day")[start:]
    days.freq = None
    return pd.DataFrame({"s": objects(*items).set_axis(days), "n": range(start, start + len(items))})


@pytest.mark.parametrize("name", VALUES)
def test_each_row_keeps_its_marker(name):
    """In a column, a series, an index and a level of one; with no rows, and in one of several segments."""
    one, two, three = VALUES[name]
    column = objects(one, None, pd.NA, two, pd.NaT, np.nan if name != "floating point" else None, three, None)
    frame = pd.DataFrame({"x": column, "n": range(8)})
    for segments in (1, 3):
        assert_round_trip(frame, segments=segments)
    assert_round_trip(frame.iloc[:0])
    assert_round_trip(column.rename("x"))
    if name not in ("lists", "dicts", "arrays", "nothing"):
        for index in (pd.Index(column, dtype=object, name="x"), pd.MultiIndex.from_arrays([range(8), column])):
            assert_round_trip(pd.DataFrame({"n": range(8)}, index=index))
        found = stored(pd.DataFrame({"n": range(8)}, index=pd.Index(column, dtype=object)))
        assert found[1].shown_names == ("index", "n")


def test_a_decimal_that_is_no_number_is_missing():
    """Pandas takes it for missing, and no decimal of Arrow holds it; one with a sign or a payload is refused."""
    nan = Decimal("NaN")
    assert_round_trip(pd.DataFrame({"x": objects(Decimal("1.5"), nan, None, Decimal(2)), "n": range(4)}), segments=2)
    assert_round_trip(objects(nan, nan))
    lib = library()
    lib.write(SYMBOL, framed([Decimal("1.5"), nan]))
    lib.append(SYMBOL, framed([None, Decimal("2.25"), nan], 2))
    assert kinds(lib.read(SYMBOL).data["s"]) == kinds([Decimal("1.5"), nan, None, Decimal("2.25"), nan])
    assert [str(item) for item in lib.read(SYMBOL, where="s IS NULL").data["s"]] == ["NaN", "None", "NaN"]
    assert lib.sql("SELECT sum(s) FROM s").fetchall() == [(Decimal("3.75"),)]
    with pytest.raises(InvalidInput, match="row 0 is -NaN"):
        stored(pd.DataFrame({"x": objects(Decimal("-NaN"), Decimal(1))}))


def test_one_marker_is_stored_as_ever():
    """No codes, and nothing that a release before would not know."""
    for items in (["a", None], ["a", np.nan], [1.5, np.nan, None], [pd.NA, "a"], [dt.date(2020, 1, 1), pd.NaT]):
        _, schema, rows = stored(pd.DataFrame({"x": objects(*items)}))
        assert rows.num_columns == 1
        assert "markers" not in schema.value
    assert markers.split(np.array([1.5, None], dtype=float))[1] is None


def test_parts_of_a_frame_keep_their_markers():
    """Rows by number, by time and by predicate, and columns in any order."""
    lib = library()
    frame = framed(["a", None, np.nan, pd.NA, "b", pd.NaT])
    frame["t"] = objects(np.nan, None, *"cdef").set_axis(frame.index)
    lib.write(SYMBOL, frame)
    assert_same(lib.read(SYMBOL, columns=["t", "s"]).data, frame[["t", "s"]])
    assert_same(lib.read(SYMBOL, row_range=(1, 4)).data, rows_of(frame, 1, 4))
    assert_same(lib.read(SYMBOL, date_range=(frame.index[2], None), columns=["s"]).data, frame[["s"]].iloc[2:])
    found = lib.read(SYMBOL, where="s IS NULL AND n < 4").data
    assert kinds(found["s"]) == kinds(frame["s"].iloc[1:4])
    assert kinds(lib.tail(SYMBOL, 2, columns=["s"]).data["s"]) == kinds(frame["s"].iloc[4:])
    assert_same(lib.read(SYMBOL).data, frame)


def test_nobody_else_sees_the_codes():
    """SQL, descriptions, the catalogue, diffs, handles and other output formats show the columns of the frame."""
    lib = library()
    frame = framed(["a", None, np.nan])
    lib.write(SYMBOL, frame)
    names = ["day", "s", "n"]
    assert lib.sql("FROM s").columns == names
    assert [row[0] for row in lib.sql("DESCRIBE s").fetchall()] == names
    assert lib.sql("SELECT count(*) FROM s WHERE s IS NULL").fetchall() == [(2,)]
    assert lib.sql("SELECT column_name FROM vstore.columns ORDER BY position").fetchall() == [(name,) for name in names]
    assert lib.sql("SELECT column_count FROM vstore.versions").fetchall() == [(3,)]
    assert lib.sql("SELECT column_name FROM information_schema.columns WHERE table_name = 's'").fetchall() == [
        (name,) for name in names
    ]
    description = lib.get_description(SYMBOL)
    assert [column.name for column in (*description.index, *description.columns)] == names
    assert lib[SYMBOL].columns == names
    assert pa.table(lib[SYMBOL]).column_names == names
    handle = lib[SYMBOL]
    assert handle.metadata is None
    assert "3 columns" in repr(handle)
    assert lib.read(SYMBOL, output_format="pyarrow").data.column_names == names
    assert lib.read(SYMBOL, output_format="polars").data.columns == names
    lib.write(SYMBOL, framed(["a", np.nan, None]))
    assert lib.diff(SYMBOL, 0, 1).rows.fetchall() == []
    assert lib.diff(SYMBOL, 0, 1).columns_added == ()


def test_what_sql_leaves_alone_keeps_its_marker():
    """Rows that UPDATE, DELETE and MERGE do not touch, and those of which they change another column."""
    lib = library()
    lib.write(SYMBOL, framed(["a", None, np.nan, pd.NA, "b", np.nan]))
    lib.sql("UPDATE s SET n = n * 2 WHERE n > 1")
    lib.sql("UPDATE s SET s = 'new' WHERE n = 6")
    lib.sql("DELETE FROM s WHERE n = 0")
    lib.sql("MERGE INTO s USING (SELECT 1 AS n, 'm' AS t) AS x ON s.n = x.n WHEN MATCHED THEN UPDATE SET s = x.t")
    lib.sql("INSERT INTO s VALUES (TIMESTAMP '2024-02-01', NULL, 99)")
    found = lib.read(SYMBOL).data
    assert kinds(found["s"]) == kinds(["m", np.nan, "new", "b", np.nan, None])
    assert list(found["n"]) == [1, 4, 6, 8, 10, 99]
    lib.delete_rows(SYMBOL, "n = 4")
    assert kinds(lib.read(SYMBOL).data["s"]) == kinds(["m", "new", "b", np.nan, None])


def test_alter_table_takes_the_codes_with_the_column():
    """Renamed they stay with it, dropped they go; a column that joins is a column."""
    lib = library()
    lib.write(SYMBOL, pd.DataFrame({"a": objects("x", None, np.nan), "b": objects(None, np.nan, "y"), "n": range(3)}))
    lib.sql("ALTER TABLE s DROP COLUMN a")
    lib.sql("ALTER TABLE s RENAME b TO a")
    lib.sql("ALTER TABLE s ADD COLUMN b VARCHAR")
    lib.sql("INSERT INTO s VALUES ('z', 4, 'w')")
    found = lib.read(SYMBOL).data
    assert list(found.columns) == ["a", "n", "b"]
    assert kinds(found["a"]) == kinds([None, np.nan, "y", "z"])
    assert lib.sql("SELECT * FROM s ORDER BY n").fetchall()[-1] == ("z", 4, "w")
    with pytest.raises(vs.errors.SqlError, match="is there already"):
        lib.sql("ALTER TABLE s RENAME n TO __vstore_missing_b")


def test_markers_meet_in_appends_and_updates():
    """Stored rows keep theirs, new ones theirs; also of a column that has had no value yet, and in an index."""
    lib = library()
    pieces = [["a", None], ["b", np.nan], ["c", pd.NA, None], ["d"], [None, np.nan], [np.nan], []]
    lib.write(SYMBOL, framed(pieces[0]))
    expected = list(pieces[0])
    for items in pieces[1:]:
        lib.append(SYMBOL, framed(items, start=len(expected)))
        expected += items
        assert kinds(lib.read(SYMBOL).data["s"]) == kinds(expected)
    days = lib.read(SYMBOL).data.index
    lib.update(SYMBOL, framed([np.nan, None, "z"], start=1))
    expected[1:4] = [np.nan, None, "z"]
    assert kinds(lib.read(SYMBOL).data["s"]) == kinds(expected)
    assert kinds(lib.read(SYMBOL, date_range=(days[1], days[2])).data["s"]) == kinds(expected[1:3])
    lib.write("i", pd.DataFrame({"n": [1, 2]}, index=pd.Index(["k", None], dtype=object)))
    lib.append("i", pd.DataFrame({"n": [3, 4]}, index=pd.Index([np.nan, pd.NA], dtype=object)))
    assert kinds(lib.read("i").data.index) == kinds(["k", None, np.nan, pd.NA])


def test_staged_parts_and_transactions_keep_their_markers():
    """Parts whose columns agree but for the marker among them."""
    lib = library()
    parts = [["a", None], ["b", np.nan], [pd.NA, None, np.nan]]
    start = 0
    for items in parts:
        lib.stage(SYMBOL, framed(items, start))
        start += len(items)
    lib.finalize_staged_data(SYMBOL)
    expected = [item for items in parts for item in items]
    assert kinds(lib.read(SYMBOL).data["s"]) == kinds(expected)
    with lib.transaction() as both:
        both.append(SYMBOL, framed([np.nan], start))
        both.write("other", framed([None, np.nan]))
    assert kinds(lib.read(SYMBOL).data["s"]) == kinds([*expected, np.nan])
    assert kinds(lib.read("other").data["s"]) == kinds([None, np.nan])
    nested = {"deep": [framed(["a", None, np.nan])]}
    lib.write("nested", nested)
    assert_same(lib.read("nested").data["deep"][0], nested["deep"][0])


@pytest.mark.parametrize("seed", range(sized(3, 60)))
def test_random_histories_keep_every_marker(seed):
    """Appends, updates, deletions and SQL, against the same done to a list."""
    choose = random.Random(seed)
    pool = ["a", "b", None, np.nan, pd.NA, pd.NaT]
    lib = library()

    def some(count):
        subset = choose.sample(pool, choose.randint(1, len(pool)))
        return [choose.choice(subset) for _ in range(count)]

    first = ["a", *some(4)]
    lib.write(SYMBOL, framed(first))
    expected = list(first)
    days = list(range(5))
    for _ in range(12):
        step = choose.choice(["append", "update", "delete", "sql"])
        if step == "append" or len(expected) < 2:
            items = some(choose.randint(1, 4))
            start = (days[-1] if days else 0) + 1
            lib.append(SYMBOL, framed(items, start))
            days += range(start, start + len(items))
            expected += items
        elif step == "update":
            at = choose.randrange(len(days))
            items = some(1)
            lib.update(SYMBOL, framed(items, days[at]))
            expected[at] = items[0]
        elif step == "delete":
            at = choose.randrange(len(days))
            lib.delete_rows(SYMBOL, f"n = {days[at]}")
            del days[at], expected[at]
        else:
            at = choose.randrange(len(days))
            lib.sql(f"UPDATE s SET s = 'sql' WHERE n = {days[at]}")
            expected[at] = "sql"
        found = lib.read(SYMBOL).data
        assert kinds(found["s"]) == kinds(expected), step
        assert list(found["n"]) == days


def test_a_code_that_there_is_none_of_is_damage():
    """Rather than some marker."""
    column = pa.chunked_array([pa.array([None, "a"])])
    with pytest.raises(Integrity):
        markers.put_back(
            np.array([None, "a"], dtype=object), pa.chunked_array([pa.array([9, None], pa.int8())]), column
        )


def test_no_marker_is_guessed_for_a_type_of_column_that_is_not_known():
    """A newer release knows what is missing in it."""
    assert markers.marker_of({"type": "categorical", "ordered": False, "categories": {}}) == "NaN"
    with pytest.raises(Unsupported, match="'complex'"):
        markers.marker_of({"type": "complex"})


@pytest.mark.parametrize("found", [{"1": 7}, {"x": 2}, {"2": "4"}, [1], {"4": 4}, {"1": 4, "2": 4}, {"2": 3}])
def test_codes_of_a_document_that_are_no_columns_are_damage(found):
    """Named as that of the document."""
    objects_ = MemoryObjects("x")
    vs.Store(objects_).create_library("l").write(SYMBOL, framed(["a", None, np.nan]))
    (key,) = (key for key in objects_._objects if "/versions/" in key)
    body = json.loads(objects_._objects[key])
    assert body["schema"]["value"]["markers"] == {"2": 4}
    body["schema"]["value"]["markers"] = found
    objects_._objects[key] = json.dumps(body).encode()
    with pytest.raises(Integrity, match=key):
        vs.Store(objects_).get_library("l").read(SYMBOL)


def test_a_column_without_missing_rows_takes_the_marker_that_comes():
    """No codes are needed for it, in appends, streams of them and staged parts."""
    lib = library()
    lib.write(SYMBOL, framed(["a", "b"]))
    lib.append(SYMBOL, framed(["c", np.nan], 2))
    lib.stage("staged", framed(["a"]))
    lib.stage("staged", framed([pd.NA, "b"], 1))
    lib.finalize_staged_data("staged")
    for symbol, expected in ((SYMBOL, ["a", "b", "c", np.nan]), ("staged", ["a", pd.NA, "b"])):
        assert kinds(lib.read(symbol).data["s"]) == kinds(expected)
        newest = max(found.version for found in lib.list_versions(symbol))
        assert "markers" not in lib.open_library.version(symbol, newest).schema.value


def test_a_value_that_sql_gives_and_takes_again_leaves_no_old_marker():
    """NULL in SQL is what the column's entry says, whatever the row was before it had a value."""
    lib = vs.Store(MemoryObjects("taken")).create_library("eod")
    lib.write("t", pd.DataFrame({"n": [1, 2, 3, 4], "s": pd.Series([None, pd.NaT, pd.NA, "a"], dtype=object)}))
    lib.sql("UPDATE t SET s = 'q' WHERE n = 2")
    lib.sql("MERGE INTO t USING (SELECT 3 AS n) u USING (n) WHEN MATCHED THEN UPDATE SET s = 'r'")
    assert list(lib.read("t").data["s"]) == [None, "q", "r", "a"]
    lib.sql("UPDATE t SET s = NULL WHERE n > 1")
    assert list(lib.read("t").data["s"]) == [None, None, None, None]


@pytest.mark.parametrize("first", [None, [], [np.nan], ["x"], [None, pd.NaT]])
@pytest.mark.parametrize("way", ["sorted", "as they are"])
def test_staged_parts_of_several_markers_keep_them(first, way):
    """Whatever was there before, and whether the rows of the parts are put in order or not."""
    lib = vs.Store(MemoryObjects("parts")).create_library("eod")
    parts = [["b", np.nan, "c"], [pd.NA, "a", "b", pd.NaT], [None], [np.nan, None, "d"]]

    def frame(values, start):
        index = pd.DatetimeIndex(np.arange(start, start + len(values)).view("M8[ns]"), name="t")
        return pd.DataFrame({"s": pd.Series(np.array([*values, 0], object)[:-1], index=index, dtype=object)})

    if first is not None:
        lib.write("t", frame(first, 0))
    for number, part in enumerate(parts):
        lib.stage("t", frame(part, 10 + 2 * number))
    mode = "write" if first is None else "append"
    if way == "sorted":
        lib.sort_and_finalize_staged_data("t", mode=mode)
    else:
        lib.finalize_staged_data("t", mode=mode, validate_index=False)
    found = lib.read("t").data["s"]
    cells = [cell for part in [first or [], *parts] for cell in part]
    assert sorted(map(repr, found)) == sorted(map(repr, cells))
    if way == "sorted":
        assert found.index.is_monotonic_increasing
    else:
        assert list(map(repr, found)) == list(map(repr, cells))
