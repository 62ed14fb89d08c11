"""Random frames, arrays and tables come back equal."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pandas.testing import assert_frame_equal

from duckvstore.errors import InvalidInput, Unsupported
from duckvstore.format.codecs import tables, values
from tests.format.codecs.values_cases import assert_round_trip, objects, sampled, stored

ROWS_MAX = 8
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
INT64 = st.integers(-(2**63) + 1, 2**63 - 1)
NUMPY = [
    "bool",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "float16",
    "float32",
    "float64",
]
MASKED = ["Int8", "UInt16", "Int32", "Int64", "UInt64", "Float32", "Float64", "boolean"]
ITEMS = {
    "str": TEXT,
    "bytes": st.binary(max_size=4),
    "bool": st.booleans(),
    "int": st.integers(-(10**37), 10**37),
    "float": st.floats(),
    "date": st.dates(),
    "time": st.times(),
    "datetime": st.datetimes(),
    "timedelta": st.timedeltas(dt.timedelta(-(10**8)), dt.timedelta(10**8)),
    "Decimal": st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30, places=4),
    "list": st.lists(st.one_of(st.none(), INT64), max_size=3),
    "dict": st.fixed_dictionaries({"a": st.one_of(st.none(), TEXT), "B": st.lists(st.booleans(), max_size=2)}),
}


@st.composite
def columns(draw, count: int) -> pd.Series:
    """A column of ``count`` rows of some type."""
    kind = draw(
        st.sampled_from(["numpy", "masked", "time", "zone", "timedelta", "str", "objects", "category", "period"])
    )
    if kind == "numpy":
        dtype = np.dtype(draw(st.sampled_from(NUMPY)))
        return pd.Series(draw(hnp.arrays(dtype, count)))
    if kind in ("time", "zone", "timedelta", "period"):
        return draw(_times(kind, count))
    missing = draw(hnp.arrays(bool, count))
    if kind == "masked":
        dtype = pd.array([], dtype=draw(st.sampled_from(MASKED))).dtype
        found = draw(hnp.arrays(dtype.numpy_dtype, count))
        return pd.Series(dtype.construct_array_type()(found, missing))
    if kind in ("str", "category"):
        items = [None if gone else text for gone, text in zip(missing, draw(_items(TEXT, count)), strict=True)]
        storage = draw(st.sampled_from(["str", "string[python]", "string[pyarrow]"]))
        series = pd.Series(items, dtype=storage)
        return series.astype("category") if kind == "category" else series
    marker = draw(st.sampled_from([None, np.nan, pd.NA]))
    items = draw(_items(ITEMS[draw(st.sampled_from(sorted(ITEMS)))], count))
    return objects(*(marker if gone else item for gone, item in zip(missing, items, strict=True)))


def _items(strategy, count: int):
    return st.lists(strategy, min_size=count, max_size=count)


@st.composite
def _times(draw, kind: str, count: int) -> pd.Series:
    unit = draw(st.sampled_from(["s", "ms", "us", "ns"]))
    bound = {"s": 10**11, "ms": 10**14, "us": 10**17, "ns": 9 * 10**18}[unit]
    ticks = np.array(draw(_items(st.integers(-bound, bound), count)), dtype="i8")
    if kind == "timedelta":
        return pd.Series(ticks.view(f"m8[{unit}]"))
    series = pd.Series(ticks.view(f"M8[{unit}]"))
    if kind == "zone":
        zone = draw(
            st.sampled_from(["UTC", "Europe/London", "America/St_Johns", dt.timezone(dt.timedelta(minutes=-90))])
        )
        return series.dt.tz_localize("UTC").dt.tz_convert(zone)
    if kind == "period":
        ordinals = draw(_items(st.integers(-5000, 5000), count))
        freq = draw(st.sampled_from(["D", "h", "M", "Q-JAN", "Y-DEC", "W-SUN", "s"]))
        return pd.Series(pd.PeriodIndex.from_ordinals(ordinals, freq=freq).array)
    return series


@st.composite
def frames(draw) -> pd.DataFrame:
    """A frame with any index and up to four columns of any type."""
    count = draw(st.integers(0, ROWS_MAX))
    labels = draw(st.lists(st.one_of(TEXT, st.integers(-3, 3), st.none(), st.tuples(TEXT, st.integers())), max_size=4))
    index = draw(_indexes(count))
    frame = pd.DataFrame(index=index)
    found = {position: draw(columns(count)).set_axis(index) for position in range(len(labels))}
    frame = pd.DataFrame(found, index=index) if found else frame
    frame.columns = pd.Index(labels, dtype=object, tupleize_cols=False) if labels else frame.columns
    return frame


@st.composite
def _indexes(draw, count: int) -> pd.Index:
    name = draw(st.one_of(st.none(), TEXT, st.integers()))
    kind = draw(st.sampled_from(["range", "one", "multi"]))
    if kind == "range":
        start, step = draw(st.integers(-5, 5)), draw(st.sampled_from([1, 2, -3]))
        return pd.RangeIndex(start, start + count * step, step, name=name)
    levels = [draw(columns(count).filter(_can_be_index)) for _ in range(2 if kind == "multi" else 1)]
    if kind == "multi":
        return pd.MultiIndex.from_arrays(levels, names=[name, draw(st.one_of(st.none(), TEXT))])
    values_of = levels[0].to_numpy() if levels[0].dtype == object else levels[0].array
    return pd.Index(values_of, dtype=levels[0].dtype, name=name, tupleize_cols=False)


def _can_be_index(column: pd.Series) -> bool:
    """Unhashable items cannot; pandas has no float16 index, and compares NaN of mixed objects wrongly."""
    if column.dtype == object:
        return (
            all(isinstance(item, str | bytes | dt.date | dt.time) for item in column)
            and len(set(map(type, column))) < 2
        )
    return column.dtype != "float16" and not (column.dtype.name.startswith("Float") and column.isna().any())


@given(frames(), st.integers(1, 3))
@sampled(120)
def test_random_frames_come_back_equal(frame, segments):
    """Any mixture of indexes, labels and columns, in any number of segments."""
    assert_round_trip(frame, segments=segments)


@given(st.data())
@sampled(100)
def test_random_parts_of_frames_come_back_equal(data):
    """Chosen columns and consecutive rows equal what pandas' own selection gives."""
    frame = data.draw(frames())
    frame.columns = [f"c{position}" for position in range(frame.shape[1])]
    kind, schema, rows = stored(frame)
    chosen = data.draw(st.lists(st.sampled_from(list(frame.columns)), unique=True)) if frame.shape[1] else []
    start = data.draw(st.integers(0, len(frame)))
    stop = data.draw(st.integers(start, len(frame)))
    names = [*schema.index, *tables.stored_columns(schema, chosen)]
    part = rows.select(names).slice(start, stop - start)
    if not schema.columns:
        return
    found = values.decode(part, kind, schema, columns=chosen, rows=range(start, stop))
    assert_frame_equal(found, rows_of(frame, start, stop)[chosen], check_exact=True)


def rows_of(frame: pd.DataFrame, start: int, stop: int) -> pd.DataFrame:
    """Consecutive rows, without the unused level values that a slice of a MultiIndex drags along."""
    part = frame.iloc[start:stop]
    return part.set_index(part.index.remove_unused_levels()) if isinstance(part.index, pd.MultiIndex) else part


@given(st.integers(0, ROWS_MAX).flatmap(columns), st.one_of(st.none(), TEXT))
@sampled(60)
def test_random_series_come_back_equal(column, name):
    """With their names."""
    assert_round_trip(column.rename(name))


@given(
    hnp.arrays(
        st.one_of(hnp.scalar_dtypes(), hnp.unicode_string_dtypes(max_len=4), hnp.byte_string_dtypes(max_len=4)),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
    )
)
@sampled(100)
def test_random_arrays_come_back_equal(array):
    """Any dtype and shape; text that UTF-8 cannot hold is refused."""
    try:
        assert_round_trip(array)
    except InvalidInput:
        assert array.dtype.kind == "U"


MIXED = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.floats(), TEXT, st.just(pd.NaT), st.just(Decimal(1)))


@given(st.lists(st.one_of(MIXED, st.lists(MIXED, max_size=2), st.dictionaries(TEXT, MIXED, max_size=2)), max_size=4))
@sampled(100)
def test_random_objects_come_back_equal_or_are_refused(items):
    """Nothing is accepted and changed: what is stored has the same types and values."""
    frame = pd.DataFrame({"x": objects(*items)})
    try:
        kind, schema, rows = stored(frame)
    except (InvalidInput, Unsupported):
        return
    for given_item, found in zip(items, values.decode(rows, kind, schema)["x"], strict=True):
        assert type(given_item) is type(found)
        assert repr(given_item) == repr(found) or given_item == found


ARROW_TYPES = st.sampled_from(
    [pa.int8(), pa.uint64(), pa.float32(), pa.float64(), pa.bool_(), pa.string(), pa.large_binary(), pa.date32()]
    + [pa.timestamp(unit, zone) for unit in ("s", "ms", "us", "ns") for zone in (None, "UTC", "Asia/Tokyo")]
    + [pa.duration("s"), pa.time32("ms"), pa.string_view(), pa.dictionary(pa.int8(), pa.string())]
)


@given(st.data(), st.lists(ARROW_TYPES, max_size=3), st.integers(0, 4), st.integers(1, 3))
@sampled(100)
def test_random_arrow_tables_come_back_equal(data, types, depth, segments):
    """Lists and structs of any of these types, with nulls at every level."""
    arrays = []
    for kind in types:
        plain = pa.types.is_dictionary(kind)
        item = _arrow_items(kind)
        for _ in range(0 if plain else depth % 3):
            nested = data.draw(st.sampled_from(["list", "struct"]))
            kind, item = (  # noqa: PLW2901
                (pa.list_(kind), st.lists(item, max_size=2))
                if nested == "list"
                else (pa.struct([("f", kind)]), st.fixed_dictionaries({"f": item}))
            )
            item = st.one_of(st.none(), item)
        arrays.append(pa.array(data.draw(_items(item, depth)), kind))
    assert_round_trip(pa.Table.from_arrays(arrays, names=[f"c{i}" for i in range(len(arrays))]), segments=segments)


def _arrow_items(kind: pa.DataType):
    if pa.types.is_boolean(kind):
        found = st.booleans()
    elif pa.types.is_floating(kind):
        found = st.floats(width=kind.bit_width)
    elif "binary" in str(kind):
        found = st.binary(max_size=3)
    elif "string" in str(kind):
        found = TEXT
    elif pa.types.is_time32(kind):
        found = st.integers(0, 86_399_999)
    elif pa.types.is_date32(kind):
        found = st.integers(-700_000, 2_900_000)
    else:
        found = st.integers(0, 100)
    return st.one_of(st.none(), found)
