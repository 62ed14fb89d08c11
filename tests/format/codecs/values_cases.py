"""Round trips as the engine makes them: encode, cut into segments, Parquet, back; and the values to try them with."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
from hypothesis import HealthCheck, settings
from pandas.testing import assert_frame_equal, assert_series_equal

from duckvstore.format.codecs import values
from duckvstore.format.rows import encoding
from duckvstore.format.stored import schema
from duckvstore.format.stored.documents import Column, Schema
from tests.sizes import IS_FULL, sized

PYARROW = int(pa.__version__.partition(".")[0])
PANDAS_2_2 = pd.__version__.startswith("2.2.")


def sampled(examples: int) -> settings:
    """Settings of a property test: repeatable and small, or twenty times as many when everything is run."""
    return settings(
        max_examples=sized(examples, full=examples * 20),
        derandomize=not IS_FULL,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


def stored(value: object, *, segments: int = 2) -> tuple[str, Schema, pa.Table]:
    """Return (kind, schema, rows) after a trip through ``segments`` Parquet files and the document's JSON."""
    encoded = values.encode(value, where="'eod/trades'")
    body = json.loads(json.dumps(encoded.schema.value, allow_nan=False))
    columns = tuple(Column(column.name, column.type, column.id) for column in encoded.schema.columns)
    document = Schema(columns, encoded.schema.arrow, encoded.schema.index, body)
    table = encoded.table
    if table is None:
        table = pa.Table.from_batches(list(encoded.reader), schema=encoded.reader.schema)
    table.validate(full=True)
    arrow = schema.to_arrow(document)
    assert _dense(table.schema, arrow).equals(arrow, check_metadata=True)
    step = max(1, -(-table.num_rows // segments))
    pieces = [table.slice(start, step) for start in range(0, table.num_rows, step)]
    decoded = [encoding.decode(encoding.encode(piece, document), document) for piece in pieces]
    rows = pa.concat_tables(decoded) if decoded else arrow.empty_table()
    assert rows.schema.equals(arrow, check_metadata=True)
    return encoded.kind, document, rows


def _dense(made: pa.Schema, arrow: pa.Schema) -> pa.Schema:
    """Return ``made`` with plain text for the dictionaries of text that a reader may give in its place."""
    for position, (field, target) in enumerate(zip(made, arrow, strict=True)):
        if pa.types.is_dictionary(field.type) and field.type.value_type == target.type == pa.large_string():
            made = made.set(position, field.with_type(target.type))
    return made


def round_trip(value: object, *, segments: int = 2) -> object:
    """Return what a read of a written ``value`` gives."""
    kind, document, rows = stored(value, segments=segments)
    return values.decode(rows, kind, document)


def assert_round_trip(value: object, *, segments: int = 2) -> None:
    """The value comes back equal, with nothing loosened."""
    assert_same(round_trip(value, segments=segments), value)


def assert_same(found: object, expected: object) -> None:
    """Equality without loosening, and beyond pandas' own: types of objects, signs of zeros, attributes."""
    assert type(found) is type(expected)
    if isinstance(expected, pd.DataFrame):
        assert_frame_equal(found, expected, check_exact=True)
        for position in range(expected.shape[1]):
            _assert_same_objects(found.iloc[:, position], expected.iloc[:, position])
        assert found.attrs == expected.attrs
    elif isinstance(expected, pd.Series):
        assert_series_equal(found, expected, check_exact=True)
        _assert_same_objects(found, expected)
        assert found.attrs == expected.attrs
    elif isinstance(expected, np.ndarray):
        assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
        np.testing.assert_array_equal(found, expected)
    elif isinstance(expected, pa.Table):
        assert found.schema.equals(expected.schema, check_metadata=True)
        assert repr(found.to_pylist()) == repr(expected.to_pylist())  # repr: NaN equals NaN
    else:
        from polars.testing import assert_frame_equal as assert_polars_frame
        from polars.testing import assert_series_equal as assert_polars_series

        (assert_polars_frame if hasattr(expected, "columns") else assert_polars_series)(found, expected)


def _assert_same_objects(found: pd.Series, expected: pd.Series) -> None:
    for one, other in zip(found, expected, strict=True):
        assert type(one) is type(other), (one, other)
        if isinstance(other, float):
            assert np.signbit(one) == np.signbit(other) or (one != one and other != other), (one, other)


def rows_of(frame: pd.DataFrame, start: int, stop: int) -> pd.DataFrame:
    """Return a slice without the labels of levels that none of its rows has: pandas 2 compares those as well."""
    part = frame.iloc[start:stop]
    if isinstance(part.index, pd.MultiIndex):
        part = part.set_axis(part.index.remove_unused_levels())
    return part


def objects(*items: object) -> pd.Series:
    """A series of dtype object with exactly these items."""
    return pd.Series(np.fromiter(items, dtype=object, count=len(items)), dtype=object)


LONDON = ZoneInfo("Europe/London")
TIMES = pd.to_datetime(["2020-07-01 12:00", None, "2021-01-01 00:00"]).as_unit("us")

COLUMNS: dict[str, pd.Series] = {
    "int": pd.Series([1, -2, 3]),
    "int8": pd.Series([1, -2, 3], dtype="int8"),
    "uint64": pd.Series([1, 2, 2**64 - 1], dtype="uint64"),
    "float": pd.Series([1.5, np.nan, -0.0]),
    "float of infinities": pd.Series([np.inf, -np.inf, np.nan]),
    "float16": pd.Series([1, np.nan, 3], dtype="float16"),
    "big-endian": pd.Series(np.array([1, 2, 3], ">i4")),
    "bool": pd.Series([True, False, True]),
    "timestamp s": pd.Series(TIMES.as_unit("s")),
    "timestamp ns": pd.Series(TIMES.as_unit("ns")),
    "zone": pd.Series(TIMES.tz_localize("Europe/London")),
    "zone UTC": pd.Series(TIMES.tz_localize("UTC")),
    "zone key UTC": pd.Series(TIMES.tz_localize(ZoneInfo("UTC"))),
    "fixed offset": pd.Series(TIMES.tz_localize(dt.timezone(dt.timedelta(hours=5, minutes=30)))),
    "odd offset": pd.Series(TIMES.tz_localize(dt.timezone(dt.timedelta(seconds=3661)))),
    "dateutil zone": pd.Series(TIMES.tz_localize("dateutil/Europe/Berlin")),
    "timedelta": pd.Series(pd.to_timedelta([1, None, 3])),
    "timedelta s": pd.Series(pd.to_timedelta([1, None, 3], unit="s")).astype("m8[s]"),
    "Int64": pd.Series([1, None, 3], dtype="Int64"),
    "UInt8": pd.Series([1, None, 3], dtype="UInt8"),
    "Float32": pd.Series([1, None, 3], dtype="Float32"),
    "Float64 with NaN": pd.Series(pd.arrays.FloatingArray(np.array([1, np.nan, 3]), np.array([False, False, True]))),
    "boolean": pd.Series([True, None, False], dtype="boolean"),
    "str": pd.Series(["a", None, "ünï\0"]),
    "string python": pd.Series(["a", None, "c"], dtype="string[python]"),
    "string pyarrow": pd.Series(["a", None, "c"], dtype="string[pyarrow]"),
    "string NaN": pd.Series(["a", None, "c"], dtype="string[pyarrow_numpy]" if PANDAS_2_2 else "str"),
    **({} if PANDAS_2_2 else {"str python NaN": pd.Series(["a", None, "c"], dtype=pd.StringDtype("python", np.nan))}),
    "categorical": pd.Series(["a", None, "c"], dtype=pd.CategoricalDtype(["z", "c", "a"], ordered=True)),
    "categorical objects": pd.Series(pd.Categorical(objects("a", None, "c"))),
    "categorical int": pd.Series([1, None, 3], dtype="category"),
    "categorical float": pd.Series([0.5, None, np.inf], dtype="category"),
    "categorical time": pd.Series(TIMES.tz_localize("Asia/Tokyo")).astype("category"),
    "categorical range": pd.Series(pd.Categorical.from_codes([0, -1, 2], pd.RangeIndex(3))),
    "categorical interval": pd.Series(pd.cut([1, 2, 99], [0, 5, 50])),
    "categorical decimal": pd.Series(pd.Categorical(objects(Decimal("1.5"), None, Decimal(2)))),
    "categorical tuples": pd.Series(pd.Categorical(objects((1, 2), None, (3, 4)))),
    "categorical empty": pd.Series(pd.Categorical([None, None, None])),
    "period month": pd.Series(pd.PeriodIndex(["2020-01", None, "2021-03"], freq="M")),
    "period week": pd.Series(pd.PeriodIndex(["2020-01-07", None, "2021-03-01"], freq="W-TUE")),
    "period quarter": pd.Series(pd.PeriodIndex(["1800Q1", None, "2500Q4"], freq="Q-NOV")),
    "period ns": pd.Series(pd.PeriodIndex(["2020-01-01 00:00:00.123456789", None, "2021"], freq="ns")),
    "interval": pd.Series(pd.arrays.IntervalArray.from_tuples([(0, 1), None, (3, 4.5)], closed="left")),
    "interval time": pd.Series(pd.interval_range(pd.Timestamp("2020", tz="UTC"), periods=3)),
    "sparse": pd.Series(pd.arrays.SparseArray([0, 0, 1])),
    "sparse NaN": pd.Series(pd.arrays.SparseArray([np.nan, 0, 1], kind="block")),
    "object str None": objects("a", None, "c"),
    "object str NaN": objects("a", np.nan, "c"),
    "object str NA": objects("a", pd.NA, "c"),
    "object bytes": objects(b"a\0", None, b""),
    "object bool": objects(True, None, False),
    "object int": objects(1, None, -2),
    "object int NaN": objects(1, np.nan, 2),
    "object int beyond int64": objects(1, None, 2**63),
    "object int beyond uint64": objects(-1, None, 2**70),
    "object float": objects(1.5, None, np.nan),
    "object Decimal": objects(Decimal("1.10"), None, Decimal(-3)),
    "object wide Decimal": objects(Decimal("1.10"), None, Decimal("-3e40")),
    "object zero Decimal": objects(Decimal("0E+100"), None, Decimal("0.5")),
    "object date": objects(dt.date(2020, 2, 29), None, dt.date(1, 1, 1)),
    "object time": objects(dt.time(1, 2, 3, 4), None, dt.time(0)),
    "object datetime": objects(dt.datetime(2020, 1, 1), pd.NaT, dt.datetime(1, 1, 1)),
    "object datetime zone": objects(
        dt.datetime(2020, 7, 1, tzinfo=LONDON), None, dt.datetime(2020, 1, 1, tzinfo=LONDON)
    ),
    "object timedelta": objects(dt.timedelta(1), None, dt.timedelta(microseconds=-1)),
    "object Timestamp": objects(pd.Timestamp("2020"), pd.NaT, pd.Timestamp("2021")),
    "object Timestamp zone": objects(
        pd.Timestamp("2020", tz="Asia/Tokyo"), None, pd.Timestamp("2021", tz="Asia/Tokyo")
    ),
    "object Timedelta": objects(pd.Timedelta(5), None, pd.Timedelta(6)),
    "object Period": objects(pd.Period("2020", "M"), None, pd.Period("2021", "M")),
    "object Interval": objects(pd.Interval(0, 1), None, pd.Interval(2, 3)),
    "object numpy int": objects(np.int32(1), None, np.int32(2)),
    "object numpy float": objects(np.float32(1), None, np.float32("nan")),
    "object numpy bool": objects(np.bool_(True), None, np.bool_(False)),
    "object uuid": objects(uuid.UUID(int=5), None, uuid.UUID(int=6)),
    "object None": objects(None, None, None),
    "object NaN": objects(np.nan, np.nan, np.nan),
    "object NA": objects(pd.NA, pd.NA, pd.NA),
    "object list": objects([1, 2], None, []),
    "object nested list": objects([[1], None, []], [], [[2, None]]),
    "object list NaN": objects(["a"], np.nan, [None]),
    "object list of float": objects([1.5, -0.0], None, []),
    "object dict": objects({"a": 1, "b": "x"}, None, {"a": 2, "b": None}),
    "object dict nested": objects({"a": {"b": [dt.date(2020, 1, 1)]}}, None, {"a": {"b": []}}),
    "object tuple": objects((1, 2), None, ()),
    "object array": objects(np.array([1.0, np.nan]), None, np.array([])),
    "object array int": objects(np.array([1, 2], "i2"), None, np.array([], "i2")),
    "arrow int8": pd.Series([1, None, 3], dtype="int8[pyarrow]"),
    "arrow double": pd.Series(pd.arrays.ArrowExtensionArray(pa.array([1.0, float("nan"), None]))),
    "arrow string": pd.Series(["a", None, "c"], dtype=pd.ArrowDtype(pa.string())),
    "arrow list": pd.Series([[1], None, [2]], dtype=pd.ArrowDtype(pa.list_(pa.int64()))),
    "arrow struct": pd.Series([{"a": 1}, None, {"a": None}], dtype=pd.ArrowDtype(pa.struct([("a", pa.int8())]))),
    "arrow dictionary": pd.Series(["a", None, "b"], dtype=pd.ArrowDtype(pa.dictionary(pa.int8(), pa.string()))),
    "arrow timestamp": pd.Series([1, None, 3], dtype=pd.ArrowDtype(pa.timestamp("s", "UTC"))),
    "arrow date": pd.Series([1, None, 3], dtype=pd.ArrowDtype(pa.date32())),
    "arrow decimal": pd.Series([Decimal("1.5"), None, Decimal(3)], dtype=pd.ArrowDtype(pa.decimal128(10, 2))),
    "arrow null": pd.Series([None] * 3, dtype=pd.ArrowDtype(pa.null())),
}

INDEXES: dict[str, pd.Index] = {
    "range": pd.RangeIndex(5, 11, 2, name="r"),
    "range down": pd.RangeIndex(5, 2, -1),
    "levels with gaps": pd.MultiIndex.from_arrays(
        [[1, None, 3], [True, False, None], ["x", None, "y"]], names=["k", 1, None]
    ),
    "level of Int64 with gaps": pd.MultiIndex.from_arrays([pd.array([1, None, 2], dtype="Int64"), [1.5, np.nan, 2.5]]),
    "int": pd.Index([3, 1, 2], name="k"),
    "int32": pd.Index(np.array([3, 1, 2], "i4")),
    "float NaN": pd.Index([1.0, np.nan, 2.0]),
    "bool": pd.Index([True, False, True]),
    "Int64": pd.Index([1, None, 2], dtype="Int64"),
    "str": pd.Index(["b", "a", "c"], name="symbol"),
    "object": pd.Index(["a", "b", None], dtype=object),
    "equal": pd.Index([1, 1, 1], name=("a", 1)),
    "days": pd.date_range("2020", periods=3, freq="D", tz="Europe/London", name="time"),
    "hours": pd.date_range("2020", periods=3, freq="2h"),
    "business months": pd.date_range("2020", periods=3, freq="BME"),
    "no frequency": pd.DatetimeIndex(["2020-01-01", "2020-01-05", None]),
    "seconds": pd.to_datetime(["2020-01-01", "2021-01-01", "2022-01-01"]).as_unit("s"),
    "timedelta": pd.timedelta_range("1h", periods=3, freq="h"),
    "period": pd.period_range("2020Q1", periods=3, freq="Q-DEC", name="quarter"),
    "interval": pd.interval_range(0, 3),
    "categorical": pd.CategoricalIndex(["a", "b", "a"], categories=["c", "a", "b"], ordered=True, name="q"),
    "date": pd.Index([dt.date(2020, 1, day) for day in (1, 2, 3)], dtype=object),
    "multi": pd.MultiIndex.from_tuples([("a", 1), ("b", 2), ("a", 2)], names=["k", None]),
    "multi unnamed": pd.MultiIndex.from_tuples([("a", 1), ("b", 2), ("a", 2)]),
    "multi numbers as names": pd.MultiIndex.from_tuples([("a", 1), ("b", 2), ("a", 2)], names=[1, None]),
    "multi crossed names": pd.MultiIndex.from_tuples([("a", 1), ("b", 2), ("a", 2)], names=[1, 0]),
    "multi types": pd.MultiIndex.from_arrays(
        [pd.date_range("2020", periods=3), pd.Categorical(["a", None, "b"]), np.array([1, 2, 3], "i4")]
    ),
    "multi NaN": pd.MultiIndex.from_arrays([[1.0, np.nan, 2.0], ["x", None, "y"]], names=["same", "same"]),
}

LABELS: dict[str, object] = {
    "equal": ["a", "a"],
    "equal but for case": ["a", "A"],
    "equal as text": [1, "1"],
    "None and NaN": [None, np.nan],
    "tuples": pd.Index([("a", 1), ("b", (2, None))], tupleize_cols=False),
    "times": [pd.Timestamp("2020", tz="UTC"), pd.Timestamp("2021")],
    "empty and blank": ["", " "],
    "objects": pd.Index(["a", "b"], dtype=object),
    "floats": [1.5, float("inf")],
    "dots": ["a.b", "a"],
    "SQL": ["a\0", 'select "x"; --'],
    "scalars": pd.Index([dt.date(2020, 1, 1), Decimal("1.5")], dtype=object),
    "numpy scalars": pd.Index([np.int32(1), np.datetime64("2020", "ns")], dtype=object),
    "pandas scalars": pd.Index([pd.Timedelta(1), pd.Period("2020", "M")], dtype=object),
    "markers": pd.Index([pd.NaT, pd.NA], dtype=object),
    "bytes and bool": pd.Index([b"x", True], dtype=object),
    "interval object": pd.Index([pd.Interval(0, 1), dt.datetime(2020, 1, 1)], dtype=object),
    "named": pd.Index(["x", "y"], name="fields"),
    "multi": pd.MultiIndex.from_tuples([("a", 1), ("a", 2)], names=["level", None]),
    "range": pd.RangeIndex(3, 7, 2),
    "time index": pd.date_range("2020", periods=2, freq="D", name="t"),
    "categorical": pd.CategoricalIndex(["a", "b"], categories=["b", "a", "z"]),
    "index": ["index", "index_0"],
}
