"""Rows of another schema: what joins what, in which type, and what is refused with which words."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, time
from decimal import Decimal

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from pandas.testing import assert_frame_equal, assert_series_equal

import duckvstore as vs
from duckvstore.errors import InvalidInput
from duckvstore.format.codecs import tables, values
from duckvstore.format.evolution import joins
from duckvstore.format.rows import encoding
from duckvstore.format.rows.value_rows import Encoded
from duckvstore.format.stored.schema import to_arrow
from duckvstore.format.stored.segments import ColumnStatistics, Segment
from duckvstore.objects.memory import MemoryObjects
from tests.sizes import sized

_BIG = 2**53 + 1
_NOW = datetime(2024, 1, 1, 9, 30)


def library():
    """Return an empty library of its own."""
    return vs.Store(MemoryObjects("x")).create_library("l")


def appended(first, *others):
    """Return what is read after ``others`` were appended to ``first``."""
    made = library()
    made.write("s", first)
    for other in others:
        made.append("s", other, validate_index=False)
    return made.read("s").data


def refusal(first, other):
    """Return the message with which ``other`` is not appended to ``first``, which stays as it was."""
    made = library()
    made.write("s", first)
    with pytest.raises(InvalidInput) as caught:
        made.append("s", other, validate_index=False)
    assert [item.version for item in made.list_versions("s")] == [0]
    return str(caught.value)


def column(values_, dtype=None):
    """Return a frame of one column."""
    return pd.DataFrame({"c": pd.Series(values_, dtype=dtype)})


def same(one, other):
    """Whether two cells are equal, missing ones of any kind included."""
    missing = [
        item is None or item is pd.NA or item is pd.NaT or (isinstance(item, float) and item != item)
        for item in (one, other)
    ]
    if isinstance(one, dict) and isinstance(other, dict):  # a field that one side lacks is missing there
        return all(same(one.get(key), other.get(key)) for key in {**one, **other})
    return all(missing) if any(missing) else bool(one == other)


_OBJECT = object
_PANDAS = [  # stored values and dtype, new values and dtype, dtype of both
    ([1], "int8", [300], "int64", "int64"),
    ([1], "int64", [2], "int8", "int64"),
    ([1], "int8", [255], "uint8", "int16"),
    ([1], "uint32", [-1], "int8", "int64"),
    ([1], "int32", [0.5, np.nan], "float64", "float64"),
    ([0.5], "float64", [7], "int32", "float64"),
    ([0.5], "float32", [0.1], "float64", "float64"),
    ([0.5], "float16", [0.25], "float32", "float32"),
    ([1], "int64", [2.0], "float64", "int64"),
    ([1], "int64", [2.0, np.nan], "float64", "Int64"),
    ([0.5], "float64", [2**53], "int64", "float64"),
    ([2**53], "int64", [2.5, np.nan], "float64", "float64"),
    ([1, None], "Int64", [2.5], "float64", "Float64"),
    ([1, None], _OBJECT, [2.5], "float64", "float64"),
    ([0.5], "float32", [2**53], "int64", "float64"),
    ([7], "int64", [2**63], "uint64", "uint64"),
    ([7], "uint64", [-1], "int64", "int64"),
    ([1], "int64", [None, 2], "Int64", "Int64"),
    ([1, None], "Int8", [300], "int64", "Int64"),
    ([1.5, np.nan], "float64", [None, 2.5], "Float64", "float64"),
    ([True], "bool", [None, False], "boolean", "boolean"),
    ([1], "int64", [None], _OBJECT, "Int64"),
    ([None], _OBJECT, [True], "bool", "boolean"),
    ([None], _OBJECT, [1.5], "float64", "float64"),
    ([None], _OBJECT, ["a"], _OBJECT, "object"),
    ([1, None], _OBJECT, [2], "int64", "object"),
    (["2024-01-01"], "M8[s]", ["2024-01-01 00:00:00.000000001"], "M8[ns]", "datetime64[ns]"),
    (["2024-01-01", None], "M8[ns]", ["2024-01-02"], "M8[us]", "datetime64[ns]"),
    ([1, None], "m8[ns]", [5], "m8[s]", "timedelta64[ns]"),
    ([5], "m8[s]", [2_000_000_000], "m8[ns]", "timedelta64[s]"),
    (["2024-01-01"], "datetime64[us, UTC]", ["2024-01-02"], "datetime64[ns, UTC]", "datetime64[ns, UTC]"),
    (["a", None], "str", ["b"], _OBJECT, "str"),
    (["a", None], _OBJECT, ["b", None], "str", "object"),
    (["a"], "string", ["b", None], pd.ArrowDtype(pa.string()), "string"),
    (["a"], pd.ArrowDtype(pa.string()), ["b", None], "str", "string[pyarrow]"),
    ([1, None], pd.ArrowDtype(pa.int32()), [2**40], "int64", "int64[pyarrow]"),
    (["b", None], "category", ["a", "b", "z"], "category", "category"),
    (["a"], "category", ["q"], "str", "str"),
    (["a"], "str", ["q", None], "category", "str"),
    ([3, 1], "category", [7], "int64", "Int64"),
    ([3, 1], "category", [7, 1], "category", "category"),
    ([None], "category", ["a"], "category", "category"),
    ([0, 1], pd.SparseDtype("int64"), [5], "int64", "Sparse[int64, 0]"),
    ([0, 1], pd.SparseDtype("int64"), [None, 1], "Int64", "Int64"),
    ([Decimal("1.25")], _OBJECT, [Decimal("12345678901234567.5"), None], _OBJECT, "object"),
    ([date(2024, 1, 1)], _OBJECT, [None, date(2024, 1, 2)], _OBJECT, "object"),
    ([datetime(2024, 1, 1)], _OBJECT, ["2024-01-02"], "M8[s]", "object"),
    ([b"a"], _OBJECT, [None, b"b"], _OBJECT, "object"),
    ([[1], [2, 3]], _OBJECT, [None, [4]], _OBJECT, "object"),
    ([[1], []], _OBJECT, [[2.5], None], _OBJECT, "object"),
    ([[], None], _OBJECT, [["a"]], _OBJECT, "object"),
    ([("a",)], _OBJECT, [()], _OBJECT, "object"),
    ([{"k": None}], _OBJECT, [{"k": [1]}], _OBJECT, "object"),
    (
        [[1]],
        pd.ArrowDtype(pa.list_(pa.int8())),
        [[300]],
        pd.ArrowDtype(pa.list_(pa.int64())),
        "list<item: int64>[pyarrow]",
    ),
]


@pytest.mark.parametrize(("first", "dtype", "second", "other", "expected"), _PANDAS)
def test_pandas_columns_join_in_a_dtype_that_holds_both(first, dtype, second, other, expected):
    """All values are there, in the stored dtype where it holds them, else in one that does."""
    one, two = column(first, dtype), column(second, other)
    found = appended(one, two)["c"]
    assert str(found.dtype) == expected
    wanted = [*one["c"], *two["c"]]
    assert len(found) == len(wanted)
    assert all(map(same, found, wanted))
    assert list(found.index) == list(range(len(wanted)))


def test_categories_are_a_union():
    """Stored categories first, then those that are new, each once; so codes and missing rows come back right."""
    found = appended(column(["b", None, "a"], "category"), column(["c", "a"], "category"), column(["b"], "category"))
    expected = pd.Categorical(["b", None, "a", "c", "a", "b"], categories=["a", "b", "c"])
    assert_frame_equal(found, pd.DataFrame({"c": expected}))


_REFUSED = [  # stored, new, the line of the message
    (column([1.5]), column(["a"]), "column 'c': stored double, new large_string"),
    (
        column([_BIG]),
        column([2.5]),
        f"hold (Float value 2.500000 was truncated converting to int64), nor does double hold the stored {_BIG}",
    ),
    (column([0.5]), column([_BIG]), "column 'c': stored double, new int64 with a value that it does not hold"),
    (
        column([-1]),
        column([2**63], "uint64"),
        f"with a value that it does not hold (Integer value {2**63} not in range: 0 to {2**63 - 1}), nor does uint64",
    ),
    (column([1]), column([True]), "column 'c': stored int64, new bool"),
    (column(["2024-01-01"], "M8[us]"), column([1]), "column 'c': stored timestamp[us], new int64"),
    (
        column(["2024-01-01"], "M8[us]"),
        column(["2024-01-01"], "datetime64[us, UTC]"),
        "stored timestamp[us], new timestamp[us, tz=UTC]",
    ),
    (
        column(["2024-01-01"], "datetime64[us, Europe/Berlin]"),
        column(["2024-01-01"], "datetime64[us, UTC]"),
        "tz=Europe/Berlin",
    ),
    (column([1], "m8[s]"), column([1], "m8[ns]"), "column 'c': stored duration[s], new duration[ns] with a value"),
    (
        column(["2024-01"], "period[M]"),
        column(["2024"], "period[Y]"),
        "'c': stored timestamp[us] as period (freq M, unit us), new timestamp[us] as period (freq Y-DEC, unit us)",
    ),
    (column(["2024-01"], "period[M]"), column(["2024-01-01"], "M8[us]"), "new timestamp[us] as datetime64[us]"),
    (
        column(["a"], pd.CategoricalDtype(["a", "b"], ordered=True)),
        column(["a"], "category"),
        "column 'c': the stored categories are with an order, the new ones without",
    ),
    (
        column(["a"], pd.CategoricalDtype(["a", "b"], ordered=True)),
        column(["a"], pd.CategoricalDtype(["a", "b", "x", "y"], ordered=True)),
        "the ordered categories differ: the new ones have 'x' and 1 more, which the stored ones have not",
    ),
    (
        column([1.5], pd.CategoricalDtype([1.5, 2.5], ordered=True)),
        column([1.5], pd.CategoricalDtype([1.5], ordered=True)),
        "the stored ones have 2.5, which the new ones have not",
    ),
    (
        column(["a"], pd.CategoricalDtype(["a", "b", "c"], ordered=True)).set_index("c"),
        column(["a"], pd.CategoricalDtype(["a", "c", "b"], ordered=True)).set_index("c"),
        "index level 'c': the ordered categories differ: 'c' is number 2 in the new ones, where the stored have 'b'",
    ),
    (
        pl.DataFrame({"c": pl.Series(["a"], dtype=pl.Enum(["a", "b"]))}),
        pl.DataFrame({"c": pl.Series(["a"], dtype=pl.Enum(["a", "z"]))}),
        "the new ones have 'z', which the stored ones have not; the stored ones have 'b', which the new ones have not",
    ),
    (column(["a"], "category"), column([1], "category"), "column 'c': stored dictionary"),
    (column([date(2024, 1, 1)]), column(["2024-01-01"], "M8[us]"), "column 'c': stored date32[day], new timestamp[us]"),
    (column([{"a": 1}]), column([{"a": "x"}]), "column 'c': stored struct<a: int64>, new struct<a: string>"),
    (column([[1]]), column([(1,)]), "as object (of list), new list<item: int64> as object (of tuple)"),
    (column([[_BIG]]), column([[0.5]]), f"would lose a value (Integer value {_BIG} not in range"),
    (column([1]).set_index("c"), column([1]), "an index of labels named 'c', the data has a RangeIndex(0, 1, 1)"),
    (column([1]), column([1]).set_axis(["a"]), "a RangeIndex(0, 1, 1), the data has an index of labels named None"),
    (column([1]), column([1]).set_axis(pd.RangeIndex(7, 8)), "RangeIndex(7, 8, 1) of the data does not continue"),
    (column([1]), column([1]).rename_axis("n"), "the data has a RangeIndex(0, 1, 1, name='n')"),
    (column([1]).set_axis(["a"]), column([1]).set_axis([1]), "index level 'index': stored large_string, new int64"),
    (
        column([1]).set_axis(["a"]),
        column([1]).set_axis(pd.Index(["a"], name="k")),
        "labels named None, the data has an index of labels named 'k'",
    ),
    (pd.concat([column([1])] * 2, axis=1), column([1]), "column 'c' is there more than once"),
    (column([1])["c"], column(["a"])["c"], "column 'c': stored int64, new large_string"),
    (
        column([1])["c"],
        column([1])["c"].rename("d"),
        "a series of another name (column 'c') than the data (column 'd')",
    ),
    (column([1]), column([1])["c"], "kind 'dataframe', and the data is of kind 'series'"),
    (column([1]), pa.table({"c": [1]}), "kind 'dataframe', and the data is of kind 'arrow'"),
    (column([1]), pd.DataFrame(index=range(3)), "rows without any column"),
    (
        column([1]),
        pd.DataFrame([[1]], columns=[("a", "b")]).set_axis(pd.MultiIndex.from_tuples([("a", "b")]), axis=1),
        "column labels of 1 levels, the data of 2",
    ),
    (pa.table({"c": [1]}), pa.table({"c": ["a"]}), "column 'c': stored int64, new string"),
    (pa.table({"c": pa.array([1, 2]).dictionary_encode()}), pa.table({"c": [1]}), "column 'c': stored dictionary"),
    (
        pa.table({"c": pa.array([[1]])}),
        pa.table({"c": pa.array([["a"]])}),
        "column 'c': stored list<item: int64>, new list<item: string>",
    ),
    (
        pa.table({"c": pa.array([[1, 2]], pa.list_(pa.int8(), 2))}),
        pa.table({"c": pa.array([[1]], pa.list_(pa.int8(), 1))}),
        "column 'c': stored fixed_size_list<item: int8>[2], new fixed_size_list<item: int8>[1]",
    ),
    (
        pa.table({"c": pa.array([[_NOW]], pa.list_(pa.timestamp("us")))}),
        pa.table({"c": pa.array([[1]], pa.list_(pa.timestamp("ns")))}),
        "new list<item: timestamp[ns]> with a value that it does not hold",
    ),
    (pa.table([[1], [2]], names=["c", "c"]), pa.table({"c": [1]}), "column 'c' is there more than once"),
    (pl.DataFrame({"c": [1]}), pl.DataFrame({"c": ["a"]}), "column 'c': stored int64, new large_string"),
    (pl.DataFrame({"c": [1]}), pl.Series("c", [1]), "a frame of polars, and the data is a series"),
    (
        pl.DataFrame({"c": ["a"]}, schema={"c": pl.Enum(["a"])}),
        pl.DataFrame({"c": ["b"]}, schema={"c": pl.Enum(["a", "b"])}),
        "column 'c': the ordered categories differ: the new ones have 'b', which the stored ones have not",
    ),
    (
        np.zeros((2, 3)),
        np.zeros((2, 4)),
        "an array of float64 with shape (2, 3), and the data is an array of float64 with shape (2, 4)",
    ),
    (np.zeros(2), np.zeros(2, "f4"), "an array of float64 with shape (2,), and the data is an array of float32"),
    (np.array(1.0), np.zeros(1), "an array of float64 with shape ()"),
]


@pytest.mark.parametrize(("first", "second", "line"), _REFUSED)
def test_what_would_lose_something_is_refused(first, second, line):
    """The message names the symbol, what is stored and what is new, and the next step; no version is made."""
    message = refusal(first, second)
    assert line in message
    assert "'l/s'" in message
    assert "convert the data" in message or "write() the whole value" in message


def test_a_refusal_has_a_line_per_column():
    """Every column that does not fit is named at once, index levels too; those that fit are not."""
    first = pd.DataFrame({"price": [1.5], "size": [1], "name": ["a"]}, index=pd.Index([1], name="key"))
    second = pd.DataFrame({"price": ["x"], "size": [2], "name": [3]}, index=pd.Index(["k"], name="key"))
    assert refusal(first, second) == (
        "'l/s' cannot hold the data without loss:\n"
        "  index level 'key': stored int64, new large_string\n"
        "  column 'price': stored double, new large_string\n"
        "  column 'name': stored large_string, new int64\n"
        "cast these columns of the data to the stored types, or write() the whole value"
    )


def test_columns_come_and_go():
    """New columns are behind the stored ones, missing ones are null: in both directions, append after append."""
    one = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    two = pd.DataFrame({"c": [True], "a": [3]})
    three = pd.DataFrame({"b": ["z"], "d": [0.5], "e": pd.to_datetime(["2024-01-01"])})
    found = appended(one, two, three)
    expected = pd.concat([one, two, three], ignore_index=True)
    expected = expected.astype({"a": "Int64", "c": "boolean", "e": found["e"].dtype})
    assert_frame_equal(found, expected)
    made = library()
    made.write("s", one)
    made.append("s", two)
    assert_frame_equal(made.read("s", as_of=0).data, one)
    assert_frame_equal(made.read("s", columns=["c"]).data, pd.DataFrame({"c": pd.array([None, None, True], "boolean")}))
    assert made.read("s", where="c IS NULL AND a > 1").data["a"].tolist() == [2]


def test_labels_of_columns_stay_labels():
    """Numbers, tuples, times and True keep their types, and those of the same text get names of their own in SQL."""
    one = pd.DataFrame([[1, 2]], columns=pd.Index([1, "1"], dtype=object))
    two = pd.DataFrame([[3, 4, 5]], columns=pd.Index([True, 1, (2, 3)], dtype=object, tupleize_cols=False))
    made = library()
    made.write("s", one)
    made.append("s", two)
    found = made.read("s").data
    assert [(type(label), label) for label in found.columns] == [(int, 1), (str, "1"), (bool, True), (tuple, (2, 3))]
    assert found.iloc[:, 0].tolist() == [1, 4]
    assert found.iloc[:, 2].tolist() == [pd.NA, 3]
    assert made.sql('SELECT "1", "1_1", "True", "(2, 3)" FROM s').fetchall() == [(1, 2, None, None), (4, None, 3, 5)]
    kept = pd.DataFrame([[1, 2]], columns=pd.Index(["a", "b"]))
    none = pd.DataFrame([[3]], columns=pd.Index([None], dtype=object))
    found = appended(kept, none, none)
    assert list(found.columns) == ["a", "b", None]
    assert found[None].tolist() == [pd.NA, 3, 3]
    levels = pd.MultiIndex.from_tuples([("x", 1)], names=["p", "q"])
    more = pd.MultiIndex.from_tuples([("y", 2), ("x", 1)], names=["p", "q"])
    found = appended(pd.DataFrame([[1.0]], columns=levels), pd.DataFrame([[2.0, 3.0]], columns=more))
    assert_frame_equal(
        found,
        pd.concat([pd.DataFrame([[1.0]], columns=levels), pd.DataFrame([[2.0, 3.0]], columns=more)], ignore_index=True),
    )


def test_labels_with_missing_parts_are_matched():
    """NaN inside the labels of several levels is the same on both sides, and not the text of it."""
    first = pd.MultiIndex.from_tuples([("a", 1.0), ("b", np.nan)])
    second = pd.MultiIndex.from_tuples([("b", np.nan), ("c", 2.0), ("a", 1.0)])
    one, two = pd.DataFrame([[1.0, 2.0]], columns=first), pd.DataFrame([[3.0, 4.0, 5.0]], columns=second)
    assert_frame_equal(appended(one, two), pd.concat([one, two], ignore_index=True))
    made = appended(*(labelled([("a", part)]) for part in (np.nan, float("nan"), "nan")))
    assert list(made.columns)[1] == ("a", "nan")
    assert made.iloc[:, 0].tolist()[:2] == [1.0, 1.0]
    assert made.isna().to_numpy().tolist() == [[False, True], [False, True], [True, False]]


def labelled(columns):
    """Return a frame of one row of ones whose labels are tuples in a plain index."""
    return pd.DataFrame([[1.0] * len(columns)], columns=pd.Index(columns, dtype=object, tupleize_cols=False))


def test_attributes_of_both_are_kept():
    """Those of the data count where both have one."""
    one, two = column([1]), column([2])
    one.attrs, two.attrs = {"a": 1, "b": 1}, {"b": 2, "c": (3,)}
    assert appended(one, two).attrs == {"a": 1, "b": 2, "c": (3,)}


@pytest.mark.parametrize("data", [pd.RangeIndex(2), pd.RangeIndex(16, 20, 2)])
def test_a_range_index_goes_on(data):
    """Rows that are numbered anew, or go on from the end, get the numbers that follow, by the stored step."""
    one = column([1, 2, 3]).set_axis(pd.RangeIndex(10, 16, 2))
    found = appended(one, column([4, 5]).set_axis(data), column([6]))
    assert_frame_equal(found, column([1, 2, 3, 4, 5, 6]).set_axis(pd.RangeIndex(10, 22, 2)))


def test_index_levels_join_as_columns_do():
    """Levels widen; missing labels of whole numbers stay missing; a frequency goes."""
    one = pd.DataFrame({"v": [1.0]}, index=pd.MultiIndex.from_arrays([np.array([1], "int8"), ["a"]], names=["n", "k"]))
    two = pd.DataFrame({"v": [2.0]}, index=pd.MultiIndex.from_arrays([[2**40], ["b"]], names=["n", "k"]))
    assert_frame_equal(appended(one, two), pd.concat([one, two]))
    gap = pd.DataFrame({"v": [3.0, 4.0]}, index=pd.MultiIndex([[7], ["c"]], [[0, -1], [0, 0]], names=["n", "k"]))
    found = appended(two, gap)
    assert found.index.to_frame()["n"].isna().tolist() == [False, False, True]
    assert found.index.levels[0].tolist() == [7, 2**40]
    daily = pd.DataFrame({"v": [1.0, 2.0]}, index=pd.date_range("2024-01-01", periods=2, freq="D"))
    later = daily.set_axis(pd.date_range("2024-02-01", periods=2, freq="h"))
    found = appended(daily, later)
    assert found.index.freq is None
    assert_frame_equal(found, pd.concat([daily, later]), check_freq=False)


def test_the_unit_of_the_first_index_level_is_for_good():
    """Its bounds tell the order of rows: finer times are taken as far as the stored unit is exact for them."""
    one = pd.DataFrame({"v": [1]}, index=pd.DatetimeIndex(["2024-01-01"], dtype="M8[us]", name="t"))
    exact = one.set_axis(pd.DatetimeIndex(["2024-01-02"], dtype="M8[ns]", name="t"))
    made = library()
    made.write("s", one)
    made.append("s", exact)
    assert made.read("s").data.index.dtype == "M8[us]"
    with pytest.raises(InvalidInput, match="before the end of version 1"):
        made.append("s", one)
    finer = one.set_axis(pd.DatetimeIndex(["2024-01-03 00:00:00.000000001"], dtype="M8[ns]", name="t"))
    assert "index level 't': stored timestamp[us], new timestamp[ns] with a value" in refusal(one, finer)


@pytest.mark.parametrize(
    "labels", [pd.date_range("2024-01-01", periods=4), pd.period_range("2024", periods=4, freq="M")]
)
@pytest.mark.parametrize("zone", [None, "UTC"])
def test_an_index_of_categories_of_times_takes_more_of_them(labels, zone):
    """Its first level is of timestamps in Arrow, but what they are for pandas is in the categories."""
    labels = labels.tz_localize(zone) if isinstance(labels, pd.DatetimeIndex) else labels
    one, two = (pd.DataFrame({"v": [1, 2]}, index=pd.CategoricalIndex(part)) for part in (labels[:2], labels[2:]))
    found = appended(one, two)
    assert list(found.index) == list(labels)
    assert list(found.index.categories) == list(labels)


def test_times_that_a_finer_unit_cannot_hold_are_refused():
    """A stored year 9999 does not become nanoseconds, whatever the statistics know of it."""
    message = refusal(column(["9999-01-01"], "M8[s]"), column(["2024-01-01"], "M8[ns]"))
    assert "column 'c': stored timestamp[s], new timestamp[ns], and stored times are beyond its range" in message
    wide = {f"n{number}": [1] for number in range(32)}
    one, two = ({**wide, "t": pd.Series([day], dtype=dtype)} for day, dtype in (("9999", "M8[us]"), ("2024", "M8[ns]")))
    assert "stored times are beyond its range" in refusal(pd.DataFrame(one), pd.DataFrame(two))
    assert appended(column(["9999-01-01"], "M8[s]"), column(["2024-01-01"], "M8[us]"))["c"].dtype == "M8[us]"


@pytest.mark.parametrize("first", ["2020-01-01", "NaT"])
@pytest.mark.parametrize("column_count", [1, 40])
def test_times_change_their_unit_more_than_once(first, column_count):
    """Where bounds are not known, as those of another unit and beyond the first columns, the values tell."""
    made = library()
    days = [first, "2021-01-01", "2022-01-01"]
    frames = [
        pd.DataFrame({f"c{at}": pd.Series([day], dtype=f"M8[{unit}]") for at in range(column_count)})
        for day, unit in zip(days, ("s", "us", "ns"), strict=True)
    ]
    made.write("s", frames[0])
    for frame in frames[1:]:
        made.append("s", frame)
    last = f"c{column_count - 1}"
    assert made.read("s").data[last].tolist() == [pd.Timestamp(day) for day in days]
    assert made.read("s").data[last].dtype == "M8[ns]"
    assert made.sql(f"SELECT count(*) FROM s WHERE {last} >= '2021-06-01'").fetchall() == [(1,)]
    assert made.sql(f"SELECT count(*) FROM s WHERE {last} IS NULL").fetchall() == [(int(first == "NaT"),)]
    made.write("t", frames[0])
    made.append("t", frames[1])
    made.write("t", frames[0])  # the segment is shared with a version that had it in another unit
    made.append("t", frames[1])
    assert made.read("t").data[last].tolist() == [pd.Timestamp(day) for day in days[:2]]


def test_times_of_day_fit_every_unit():
    """Unlike points in time they have a largest value: no bounds are needed to know that a finer unit holds it."""
    wide = {f"n{number}": [1] for number in range(32)}
    one = pa.table({**wide, "t": pa.array([time(23, 59, 59)], pa.time32("s"))})
    two = pa.table({**wide, "t": pa.array([time(0, 0, 0, 1)], pa.time64("ns"))})
    assert appended(one, two)["t"].cast(pa.int64()).to_pylist() == [86_399_000_000_000, 1000]


def test_series_and_empty_ones():
    """Series join by position; one without a name keeps the stored one."""
    one = pd.Series([1, 2], index=["a", "b"], name="n", dtype="int8")
    two = pd.Series([None, 300], index=["c", "d"], dtype="Int64")
    found = appended(one, two)
    assert_series_equal(found, pd.Series([1, 2, None, 300], index=["a", "b", "c", "d"], dtype="Int64", name="n"))
    assert_frame_equal(appended(pd.DataFrame({"a": []}), pd.DataFrame({"a": [1.5]})), pd.DataFrame({"a": [1.5]}))
    assert_frame_equal(appended(pd.DataFrame(), pd.DataFrame({"a": [1.5]})), pd.DataFrame({"a": [1.5]}))


_ARROW = [  # stored, new, type of both
    (pa.array([1], pa.int8()), pa.array([None, 2**40]), pa.int64()),
    (pa.array([1], pa.uint64()), pa.array([7]), pa.uint64()),
    (pa.array([0.5], pa.float32()), pa.array([1], pa.int16()), pa.float64()),
    (pa.nulls(1), pa.array([{"a": 1}]), pa.struct([("a", pa.int64())])),
    (pa.array([[1]]), pa.nulls(2), pa.list_(pa.int64())),
    (pa.array([[1], None], pa.list_(pa.int32())), pa.array([[2**40], []]), pa.list_(pa.int64())),
    (pa.array([[1]]), pa.array([[0.5]], pa.large_list(pa.float32())), pa.list_(pa.float64())),
    (pa.array([[], None]), pa.array([[{"k": ["x"]}]]), pa.list_(pa.struct([("k", pa.list_(pa.string()))]))),
    (pa.array([["x"]]), pa.array([[], [None]]), pa.list_(pa.string())),
    (pa.array([[None]], pa.list_(pa.float64())), pa.array([["x"]]), pa.list_(pa.string())),
    (pa.array([["x"]]), pa.array([[None], []], pa.list_(pa.float64())), pa.list_(pa.string())),
    (pa.array([{"k": None}, None]), pa.array([{"k": 1}]), pa.struct([("k", pa.int64())])),
    (
        pa.array([[1, 2], None], pa.list_(pa.int8(), 2)),
        pa.array([[300, None]], pa.list_(pa.int64(), 2)),
        pa.list_(pa.int64(), 2),
    ),
    (
        pa.array([[("a", 1)], None], pa.map_(pa.string(), pa.int8())),
        pa.array([[("b", 300)], []], pa.map_(pa.string(), pa.int64())),
        pa.map_(pa.string(), pa.int64()),
    ),
    (
        pa.array([[]], pa.map_(pa.string(), pa.float64())),
        pa.array([[("b", "x")]], pa.map_(pa.string(), pa.string())),
        pa.map_(pa.string(), pa.string()),
    ),
    (pa.array([[time(1)]], pa.list_(pa.time32("s"))), pa.array([[time(2, 0, 0, 1)]]), pa.list_(pa.time64("us"))),
    (pa.array(["a"]), pa.array(["b"], pa.large_string()), pa.string()),
    (pa.array(["a"], pa.string_view()), pa.array(["b", None]).dictionary_encode(), pa.string_view()),
    (pa.array(["a"]).dictionary_encode(), pa.array(["b", None]), pa.dictionary(pa.int32(), pa.string())),
    (
        pa.array(["a"], pa.dictionary(pa.int8(), pa.string())),
        pa.array(["b"]).dictionary_encode(),
        pa.dictionary(pa.int32(), pa.string()),
    ),
    (pa.array([b"a"]), pa.array([b"b"], pa.large_binary()), pa.binary()),
    (pa.array([Decimal("1.25")]), pa.array([Decimal("1000.5")]), pa.decimal128(6, 2)),
    (pa.array([Decimal("1.25")], pa.decimal256(40, 2)), pa.array([Decimal("1.125")]), pa.decimal256(41, 3)),
    (
        pa.array([_NOW], pa.timestamp("s", "UTC")),
        pa.array([None, _NOW], pa.timestamp("us", "UTC")),
        pa.timestamp("us", "UTC"),
    ),
    (pa.array([time(1)], pa.time32("s")), pa.array([time(2, 0, 0, 1)]), pa.time64("us")),
    (pa.array([1, None], pa.duration("ms")), pa.array([2], pa.duration("s")), pa.duration("ms")),
    (pa.array([b"1" * 16], pa.uuid()), pa.nulls(1), pa.uuid()),
]


@pytest.mark.parametrize(("first", "second", "kind"), _ARROW)
def test_arrow_columns_join_in_a_type_that_holds_both(first, second, kind):
    """Table to table, with a column that the other lacks on each side; the stored metadata stays."""
    one = pa.table({"c": first, "gone": first}).replace_schema_metadata({"k": "v"})
    two = pa.table({"made": second, "c": second})
    found = appended(one, two)
    assert found.schema.metadata == {b"k": b"v"}
    assert found.schema.field("c").type == kind
    assert found["c"].to_pylist() == first.to_pylist() + second.to_pylist()
    assert found["gone"].to_pylist() == first.to_pylist() + [None] * len(second)
    assert found["made"].to_pylist() == [None] * len(first) + second.to_pylist()
    assert found["made"].type == second.type
    found.validate(full=True)


def test_dictionaries_of_many_appends_have_room_for_their_entries():
    """Codes of eight bits become ones of 32: each append fits them, all together do not."""
    kind = pa.dictionary(pa.int8(), pa.string())
    tables = [
        pa.table(
            {"c": pa.DictionaryArray.from_arrays(pa.array(range(100), pa.int8()), [f"{n} {i}" for i in range(100)])}
        )
        for n in range(10)
    ]
    assert tables[0].schema.field("c").type == kind
    found = appended(*tables)
    assert found.schema.field("c").type == pa.dictionary(pa.int32(), pa.string())
    assert found["c"].to_pylist() == [f"{n} {i}" for n in range(10) for i in range(100)]


def test_a_column_that_may_not_be_null_may_once_it_is_missing():
    """Its field says so from then on."""
    strict = pa.schema([pa.field("a", pa.int64(), nullable=False), pa.field("b", pa.int64())])
    one = pa.table({"a": [1], "b": [1]}, schema=strict)
    assert not appended(one, one).schema.field("a").nullable
    assert appended(one, pa.table({"b": [2]})).schema.field("a").nullable
    assert appended(pa.table({"b": [2]}), one).schema.field("a").nullable


def test_a_stream_is_checked_as_it_runs():
    """A value that the stored type does not hold ends the append, wherever in the stream it is."""
    objects = MemoryObjects("x")
    vs.Store(objects).create_library("l").write("s", pa.table({"c": [_BIG]}))
    made = vs.Store(objects).get_library("l")
    kind = pa.schema([("c", pa.float64()), ("d", pa.string())])

    def stream(last):
        batches = [pa.record_batch([[2.0], ["x"]], schema=kind), pa.record_batch([[last], ["y"]], schema=kind)]
        return pa.RecordBatchReader.from_batches(kind, batches)

    with pytest.raises(InvalidInput, match="column 'c': stored int64, new double with a value"):
        made.append("s", stream(0.5))
    made.append("s", stream(3.0))
    assert made.read("s").data.to_pydict() == {"c": [_BIG, 2, 3], "d": [None, "x", "y"]}


def test_text_that_comes_in_dictionaries_is_made_dense():
    """As a large dataframe of text objects streams it; the stored column is of plain text."""
    stored = values.encode(pd.DataFrame({"n": [1], "t": pd.Series(["a"], dtype=object)}), where="'l/s'")
    merged = joins.merge("dataframe", stored.schema, stored, where="'l/s'")
    coded = pa.array(["b", None, "b"]).dictionary_encode().cast(pa.dictionary(pa.int32(), pa.large_string()))
    rows = merged.rows(pa.table({"n": [1, 2, 3], "t": coded}))
    assert rows.schema.equals(to_arrow(merged.schema), check_metadata=True)
    assert rows["t"].to_pylist() == ["b", None, "b"]
    assert not merged.changed


_POLARS = [
    (pl.Series([1], dtype=pl.Int8), pl.Series([300, None]), pl.Int64),
    (pl.Series([1], dtype=pl.Int8), pl.Series([255], dtype=pl.UInt8), pl.Int16),
    (pl.Series([0.5], dtype=pl.Float32), pl.Series([7], dtype=pl.Int32), pl.Float64),
    (pl.Series([None]), pl.Series(["a"]), pl.String),
    (pl.Series(["a"]), pl.Series(["b", None], dtype=pl.Categorical), pl.String),
    (pl.Series(["a"], dtype=pl.Categorical), pl.Series(["b", None]), pl.Categorical()),
    (pl.Series(["a"]), pl.Series(["b"], dtype=pl.Enum(["b"])), pl.String),
    (pl.Series([_NOW], dtype=pl.Datetime("ms")), pl.Series([_NOW], dtype=pl.Datetime("ns")), pl.Datetime("ns")),
    (
        pl.Series([Decimal("1.5")], dtype=pl.Decimal(9, 1)),
        pl.Series([Decimal("0.25")], dtype=pl.Decimal(9, 2)),
        pl.Decimal(10, 2),
    ),
    (pl.Series([[1]]), pl.Series([None, [2]], dtype=pl.List(pl.Int64)), pl.List(pl.Int64)),
]


@pytest.mark.parametrize(("first", "second", "dtype"), _POLARS)
def test_polars_columns_join_in_a_dtype_that_holds_both(first, second, dtype):
    """Frames with a column that the other lacks on each side, and series."""
    found = appended(pl.DataFrame({"c": first, "gone": first}), pl.DataFrame({"made": second, "c": second}))
    assert found.schema == {"c": dtype, "gone": first.dtype, "made": second.dtype}
    assert found["c"].to_list() == first.to_list() + second.to_list()
    assert found["gone"].to_list() == first.to_list() + [None] * len(second)
    assert found["made"].to_list() == [None] * len(first) + second.to_list()
    series = appended(first.alias("s"), second.alias("other"))
    assert (series.name, series.dtype, series.to_list()) == ("s", dtype, first.to_list() + second.to_list())


@pytest.mark.parametrize(
    "array",
    [
        np.arange(5),
        np.array([1.5, np.nan]),
        np.array(["a", "long"]),
        np.array([b"a", b""]),
        np.array(["2024-01-01", "NaT"], "M8[D]"),
        np.array([1, 2], "m8[s]"),
        np.array([1 + 2j, 3]),
        np.arange(6.0).reshape(3, 2),
        np.arange(24, dtype="i2").reshape(2, 3, 4) % 7,
        np.zeros((3, 0)),
        np.array([(1, 2.5)], dtype=[("x", "i4"), ("y", ">f8")]),
    ],
    ids=str,
)
def test_arrays_grow_along_the_first_axis(array):
    """Of any rank and dtype, by arrays and by none; parts and shape are those of the whole."""
    made = library()
    made.write("s", array)
    made.append("s", array[:1])
    made.append("s", array)
    found, expected = made.read("s").data, np.concatenate([array, array[:1], array]).astype(array.dtype)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(made.read("s", row_range=(1, len(array) + 1)).data, expected[1 : len(array) + 1])


def test_an_array_of_text_grows_wider():
    """The width of numpy's text is that of the longest."""
    found = appended(np.array(["a"]), np.array(["longer"]), np.array(["bc"]))
    assert found.dtype == np.dtype("<U6")
    assert found.tolist() == ["a", "longer", "bc"]


def test_update_with_other_columns():
    """Rows inside the range have the new columns, the others null; what does not fit is refused."""
    times = pd.date_range("2024-01-01", periods=4, freq="D", name="t", unit="us")
    made = library()
    made.write("s", pd.DataFrame({"a": np.array([1, 2, 3, 4], "int8")}, index=times))
    made.append("s", pd.DataFrame({"a": np.array([5], "int8")}, index=times[-1:] + pd.Timedelta(days=1)))
    made.update("s", pd.DataFrame({"b": ["x", "y"], "a": [1.5, 300.0]}, index=times[1:3]))
    found = made.read("s").data
    assert found["a"].tolist() == [1, 1.5, 300, 4, 5]
    assert found["b"].isna().tolist() == [True, False, False, True, True]
    assert made.sql("SELECT sum(a), count(b) FROM s").fetchone() == (311.5, 2)
    with pytest.raises(InvalidInput, match="column 'a': stored double, new large_string"):
        made.update("s", pd.DataFrame({"a": ["text"]}, index=times[1:2]))


def test_staged_parts_with_other_columns():
    """Parts that many writers staged join as appends do, whichever of them has which columns."""
    made = library()
    first, second = pd.Timestamp("2024-01-01"), pd.Timestamp("2024-01-02")
    parts = [
        pd.DataFrame({"a": np.array([1], "int8"), "b": [1.5]}, index=pd.DatetimeIndex([first], name="t")),
        pd.DataFrame({"c": ["x"], "a": [300]}, index=pd.DatetimeIndex([second], name="t")),
    ]
    for part in parts:
        made.stage("s", part)
    made.finalize_staged_data("s", mode="write")
    expected = pd.concat(parts)
    assert_frame_equal(made.read("s").data, expected, check_dtype=False)
    assert made.sql("SELECT a, b, c FROM s ORDER BY t").fetchall() == [(1, 1.5, None), (300, None, "x")]
    made.stage("s", parts[0].set_axis(pd.DatetimeIndex([pd.Timestamp("2024-01-03")], name="t")).assign(b="text"))
    with pytest.raises(InvalidInput, match="column 'b': stored double, new large_string"):
        made.finalize_staged_data("s", mode="append")


def test_field_ids_are_for_good():
    """A stored column keeps its id, its name and its place; new ones count on from the highest."""
    one, two = pa.table({"a": [1], "b": [2]}), pa.table({"z": [1], "b": ["x"]})
    with pytest.raises(InvalidInput):
        merged_schema(one, two)
    merged = merged_schema(one, pa.table({"z": [1.5], "b": pa.array([1], pa.int8()), "A": [True]}))
    assert [(found.name, found.type, found.id) for found in merged.schema.columns] == [
        ("a", "int64", 1),
        ("b", "int64", 2),
        ("z", "double", 3),
        ("A_1", "bool", 4),
    ]
    assert merged.changed
    assert not merged_schema(one, pa.table({"b": [1]})).changed


def merged_schema(first, second):
    """Return the merging of two tables by their schemas alone."""
    one, two = (values.encode(table, where="'l/s'") for table in (first, second))
    return joins.merge("arrow", one.schema, Encoded("arrow", two.schema, None, None), where="'l/s'")


def test_statistics_of_old_segments_in_the_merged_types():
    """Columns that a segment lacks are all null there; bounds stay where they mean the same, else they are left out."""
    one = pa.table({"a": pa.array([1], pa.int8()), "t": pa.array([1], pa.timestamp("s")), "d": [Decimal("1.5")]})
    two = pa.table({"a": [0.5], "t": pa.array([1], pa.timestamp("ns")), "d": [Decimal("1.25")], "n": ["x"]})
    merged = merged_schema(one, two)
    bounds = {
        1: ColumnStatistics(1, 1, 0, False),
        2: ColumnStatistics(1, 1, 0, False),
        3: ColumnStatistics("1.5", "1.5", 0, False),
    }
    found = merged.statistics(Segment("k", 1, 10, "s", 9, bounds), lambda position: bounds[position + 1])
    unit, lacking = ColumnStatistics(None, None, 0, False), ColumnStatistics(None, None, 1, False)
    assert found.statistics == {1: bounds[1], 2: unit, 3: bounds[3], 4: lacking}
    assert (found.key, found.row_count, found.size_bytes) == ("k", 1, 10)


def test_files_are_read_by_field_id_and_by_name_without_any():
    """A file of another writer without field ids is read by name; columns that it lacks are null."""
    old = values.encode(pa.table({"a": pa.array([1, 2], pa.int8()), "t": ["x", None]}), where="'l/s'")
    new = pa.table({"b": [0.5], "a": [300], "t": ["y"]})
    merged = joins.merge("arrow", old.schema, values.encode(new, where="'l/s'"), where="'l/s'").schema
    mixed = replace(merged, mixed=True)
    data = encoding.encode(old.table, old.schema)
    found = encoding.decode(data, mixed)
    assert found.schema.equals(to_arrow(mixed), check_metadata=True)
    assert found.to_pydict() == {"a": [1, 2], "t": ["x", None], "b": [None, None]}
    assert encoding.decode(data, mixed, ["b"]).to_pydict() == {"b": [None, None]}
    assert encoding.decode(data, mixed, []).num_rows == 2
    assert encoding.decode(data, mixed, ["t", "b"], ["t"])["t"].to_pylist() == ["x", None]
    plain = pa.BufferOutputStream()
    pq.write_table(pa.table({"t": ["q"], "a": [7]}), plain)
    assert encoding.decode(plain.getvalue().to_pybytes(), mixed).to_pydict() == {"a": [7], "t": ["q"], "b": [None]}


def test_writing_the_old_value_again_after_a_change():
    """Segments that are shared with the version that grew still have bounds that are right for the value."""
    one = pd.DataFrame({"t": pd.Series(["2024-01-01", "2024-01-02"], dtype="M8[us]"), "n": [1, 2]})
    made = library()
    made.write("s", one)
    made.append("s", one.astype({"t": "M8[ns]", "n": "float64"}).assign(more=1))
    made.write("s", one)
    assert made.sql("SELECT count(*) FROM s WHERE t >= '2024-01-02' AND n = 2").fetchone() == (1,)
    assert_frame_equal(made.read("s").data, one)


_CELLS = {
    "int8": st.integers(-128, 127),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**53), 2**53),
    "uint8": st.integers(0, 255),
    "float32": st.floats(width=32),
    "float64": st.floats(),
    "Int16": st.none() | st.integers(-(2**15), 2**15 - 1),
    "Float64": st.none() | st.floats(allow_nan=False),
    "bool": st.booleans(),
    "boolean": st.none() | st.booleans(),
    "str": st.none() | st.text("ab\u00fc", max_size=3),
    "string": st.none() | st.text("ab\u00fc", max_size=3),
    "object": st.none() | st.text("ab\u00fc", max_size=3),
    "category": st.none() | st.text("ab\u00fc", max_size=2),
    "M8[us]": st.none() | st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)),
    "M8[ns]": st.none() | st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)),
}
_NESTED = {  # each of rows of one shape, as what is stored in one call has to be
    "lists": [
        st.lists(st.integers(-9, 9), max_size=2),
        st.lists(st.sampled_from([0.5, 2.0]), max_size=2),
        st.lists(st.sampled_from(["a", "b"]), max_size=2),
        st.just([]),
    ],
    "structs": [
        st.fixed_dictionaries({"k": st.none() | st.integers(-9, 9)}),
        st.fixed_dictionaries({"k": st.just(0.5), "l": st.none() | st.lists(st.integers(0, 9), max_size=1)}),
        st.fixed_dictionaries({"l": st.just([]), "m": st.none() | st.text("ab", max_size=1)}),
        st.fixed_dictionaries({"k": st.none()}),
    ],
}

_NEVER_MISSING = ("bool", "int8", "int32", "int64", "uint8")


@st.composite
def frames(draw):
    """Return a frame of up to four of the columns a to e, of any of the dtypes, in any order.

    It may be without rows, and a column without any value.
    """
    rows = draw(st.integers(0, 5))
    columns = draw(st.permutations("abcde"))[: draw(st.integers(1, 4))]
    data = {}
    for name in columns:
        dtype = draw(st.sampled_from([*sorted(_CELLS), *_NESTED] * 2 + [*_NESTED] * 8))
        known = draw(st.sampled_from(_NESTED[dtype])) if dtype in _NESTED else _CELLS[dtype]
        is_missing = dtype not in _NEVER_MISSING and draw(st.integers(0, 3)) == 0
        cells = st.none() if is_missing else known
        found = draw(st.lists(cells, min_size=rows, max_size=rows))
        data[name] = pd.Series(found, dtype=object if dtype in _NESTED else dtype)
    return pd.DataFrame(data)


@settings(max_examples=sized(150, full=1000), deadline=None)
@given(pieces=st.lists(frames(), min_size=2, max_size=4))
def test_appends_are_a_concatenation(pieces):
    """Whatever is taken reads as pandas' own concatenation, cell by cell; what is refused changes nothing; SQL agrees.

    Only values are ever refused: a column that has none on one side joins whatever its type.
    """
    made = library()
    made.write("s", pieces[0])
    taken = [pieces[0]]
    for piece in pieces[1:]:
        try:
            made.append("s", piece)
        except InvalidInput as error:
            assert "stored" in str(error)
            known = pd.concat([frame.astype(object) for frame in taken])
            assert any(known[name].notna().any() and piece[name].notna().any() for name in known if name in piece)
        else:
            taken += [piece] if len(piece) else []
    found = made.read("s").data
    columns = list(dict.fromkeys(name for piece in taken for name in piece.columns))
    assert list(found.columns) == columns
    assert list(found.index) == list(range(sum(map(len, taken))))
    expected = pd.concat([piece.astype(object) for piece in taken], ignore_index=True)
    for name in columns:
        assert all(map(same, found[name], expected[name])), name
        present = int(expected[name].notna().sum())
        assert made.sql(f"SELECT count({name}) FROM s WHERE {name} IS NOT NULL").fetchone() == (present,)


INDEXES = {
    "range": lambda start: pd.RangeIndex(start, start + 4, name="r"),
    "times": lambda start: pd.date_range("2024", periods=4, name="t") + pd.Timedelta(days=start),
    "finer times": lambda start: pd.date_range("2024", periods=4, name="t").as_unit("ns" if start else "us"),
    "labels": lambda start: pd.Index(["a", None, "b", "c"][:start] + ["d"] * (4 - start), name="l"),
    "levels": lambda start: pd.MultiIndex.from_product([pd.date_range(f"202{start}", periods=2), [1, 2]]),
    "categories": lambda start: pd.CategoricalIndex(["a", f"b{start}"] * 2),
}  # fmt: skip


@pytest.mark.parametrize("name", INDEXES)
@pytest.mark.parametrize("dtypes", ["float64", "mixed", "objects"])
def test_many_columns_that_are_the_same_join_as_each_would(name, dtypes, monkeypatch):
    """In one step, where all are of numpy's dtypes; what is merged and the rows are the same."""
    random = np.random.default_rng(3)
    kinds = {"float64": ["float64"], "mixed": ["float64", "float32", "int16", "bool", "M8[ns]"], "objects": [object]}
    made = []
    for start in (0, 4):
        index = INDEXES[name](start)
        columns = {
            f"c{n}": pd.Series(random.integers(0, 2, 4), index).astype(kinds[dtypes][n % len(kinds[dtypes])])
            for n in range(120)
        }
        frame = pd.DataFrame(columns, index)
        if start and dtypes != "objects":
            frame.iloc[1, 0] = np.nan
        frame.attrs = {"start": start, f"only {start}": 1}
        made.append(tables.encode_table(frame, "x"))
    stored = made[0].schema
    merge_alike = joins._merge_alike
    taken = []
    monkeypatch.setattr(joins, "_merge_alike", lambda *args: taken.append(merge_alike(*args)) or taken[-1])
    found = joins.merge("dataframe", stored, made[1], where="'s'")
    assert (taken[0] is not None) == (dtypes != "objects" and name != "finer times")
    monkeypatch.setattr(joins, "_merge_alike", lambda *_: None)
    expected = joins.merge("dataframe", stored, made[1], where="'s'")
    assert (found.schema, found.changed) == (expected.schema, expected.changed)
    assert found.rows(made[1].table).equals(expected.rows(made[1].table), check_metadata=True)
