"""numpy arrays, Arrow data, polars frames and streams come back equal; any value converts to any output format."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal
from polars.testing import assert_frame_equal as assert_polars_equal

import duckvstore as vs
from duckvstore.errors import InvalidInput, NoSuchColumn, Unsupported
from duckvstore.format.codecs import values
from duckvstore.format.rows import encoding
from duckvstore.objects.memory import MemoryObjects
from tests.format.codecs.values_cases import (
    COLUMNS,
    PYARROW,
    assert_round_trip,
    assert_same,
    objects,
    round_trip,
    stored,
)

NUMBERS = [
    "?",
    "i1",
    "u1",
    "i2",
    "u2",
    "i4",
    "u4",
    "i8",
    "u8",
    "f2",
    "f4",
    "f8",
    "g",
    "F",
    "D",
    "G",
    ">i4",
    ">f8",
    ">c16",
]
TIMES = ["ns", "us", "ms", "s", "D", "h", "M", "Y", "25s", "fs"]
DTYPES = [
    *NUMBERS,
    *(f"M8[{unit}]" for unit in TIMES),
    "M8",
    "m8",
    "m8[ns]",
    "m8[D]",
    ">M8[us]",
    ">U3",
    "U3",
    "S3",
    "V4",
]
STRUCTURED = np.dtype({"names": ["a", "b"], "formats": ["i4", ("f8", (2,))], "offsets": [4, 8], "itemsize": 32})
SHAPES = [(), (1,), (5,), (0,), (2, 3), (0, 3), (3, 0), (2, 3, 2)]


def array_of(dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """Values of all bit patterns that matter: missing, negative zero, empty text."""
    count = int(np.prod(shape))
    if dtype.kind in "US":
        made = np.array(["a", "", "bc"] * count)[:count].astype(dtype)
    elif dtype.kind == "V":
        made = np.arange(count * dtype.itemsize).astype("u1").view(dtype)
    elif dtype.kind in "mM":
        made = np.arange(count).astype("i8").view(dtype.newbyteorder("=")).astype(dtype)
        made[1::2] = "NaT"
    else:
        made = np.arange(count).astype(dtype)
        if dtype.kind in "fc":
            made[1::2], made[::3] = np.nan, -0.0
    return made.reshape(shape)


@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_of_any_dtype_and_shape_come_back_equal(dtype):
    """Values, dtype (byte order and unit too) and shape; cut along the first axis."""
    for shape in SHAPES:
        assert_round_trip(array_of(np.dtype(dtype), shape))


def test_structured_arrays_come_back_equal():
    """Nested fields, gaps and titles."""
    nested = np.dtype([("p", [("x", "f4"), ("y", "S2")]), (("title", "q"), "M8[s]")])
    for shape in SHAPES:
        assert_round_trip(np.zeros(shape, dtype=nested))
    array = np.zeros(3, dtype=STRUCTURED)
    array["a"], array["b"] = [1, 2, 3], np.nan
    found = round_trip(array)
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found["a"], array["a"])
    np.testing.assert_array_equal(found["b"], array["b"])


def test_signs_of_zeros_survive_in_arrays():
    """assert_array_equal does not look at them."""
    found = round_trip(np.array([0.0, -0.0, np.nan]))
    assert np.signbit(found[:2]).tolist() == [False, True]


def test_arrays_that_are_no_plain_memory_come_back_equal(tmp_path):
    """Strided, Fortran-ordered, read-only and memory-mapped arrays."""
    assert_round_trip(np.arange(10)[::2])
    assert_round_trip(np.asfortranarray(np.arange(6.0).reshape(2, 3)))
    mapped = np.memmap(tmp_path / "array", dtype="i4", mode="w+", shape=(3, 2))
    mapped[:] = [[1, 2], [3, 4], [5, 6]]
    assert_same(round_trip(mapped), np.array([[1, 2], [3, 4], [5, 6]], "i4"))


@pytest.mark.parametrize(
    ("array", "arrow"),
    [
        (np.arange(3), "int64"), (np.array([0.5, np.nan]), "double"), (np.array(["a"]), "large_string"),
        (np.array(["2020"], "M8[D]"), "date32[day]"), (np.array([1], "M8[us]"), "timestamp[us]"),
        (np.zeros((2, 3)), "fixed_size_list<item: double>[3]"), (np.zeros(2, "D"), "fixed_size_list<item: double>[2]"),
        (np.zeros(2, STRUCTURED), "fixed_size_binary[32]"),
    ],
    ids=str,
)  # fmt: skip
def test_arrays_are_natural_in_sql(array, arrow):
    """One column, named value."""
    _, schema, _ = stored(array)
    assert [(column.name, column.type) for column in schema.columns] == [("value", arrow)]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.array([object()]), "dtype object"),
        (np.zeros(1, [("a", "O")]), "dtype"),
        (np.ma.array([1]), r"numpy\.ma\..*MaskedArray"),
        (np.zeros(1).view(np.recarray), "recarray"),
        (np.array(["\ud800"]), "not valid Unicode"),
    ],
)
def test_arrays_that_could_not_come_back_are_refused(value, message):
    """With the dtype or class named."""
    with pytest.raises((InvalidInput, Unsupported), match=message):
        round_trip(value)


TENSOR = pa.ExtensionArray.from_storage(
    pa.fixed_shape_tensor(pa.int32(), [2, 2]), pa.array([[1, 2, 3, 4]], pa.list_(pa.int32(), 4))
)
ARROW = [
    pa.array(np.array([1, 2], "f2")), pa.array([1.5, float("nan"), None]),
    pa.array(["a", None]), pa.array(["a", None], pa.large_string()),
    pa.array([None, None]), pa.array([[None], []], pa.list_(pa.null())), pa.array([1, None], pa.timestamp("s")),
    pa.array([1, 2], pa.duration("s")), pa.array([0, None], pa.date64()), pa.array([1], pa.time32("s")),
    pa.array([1001], pa.time64("ns")), pa.array([1], pa.timestamp("ms", "Europe/London")),
    pa.array([1], pa.timestamp("us", "+02:00")), pa.array([Decimal("1.5")], pa.decimal256(70, 2)),
    pa.array([b"abc"], pa.binary(3)),
    pa.array([[1, 2], [3, None]], pa.list_(pa.float32(), 2)), pa.array([[1]], pa.large_list(pa.int8())),
    pa.array([[(1, "a")]], pa.map_(pa.int64(), pa.string())),
    pa.array([{"t": 1, "x": ["a"]}, None], pa.struct([("t", pa.timestamp("s")), ("x", pa.list_(pa.string()))])),
    pa.DictionaryArray.from_arrays(pa.array([0, 1, 0], pa.int8()), pa.array(["a", "b"], pa.large_string())),
    pa.array(["x", None, "y"], pa.dictionary(pa.uint16(), pa.string(), ordered=True)),
    pa.array([1, 2, 1]).dictionary_encode(), pa.array([b"a", None], pa.dictionary(pa.int16(), pa.binary())),
    pa.array([1, 2], pa.timestamp("s")).dictionary_encode(),
    pa.DictionaryArray.from_arrays(pa.array([0, 1, 0]), pa.array(["a", None])), TENSOR,
]  # fmt: skip
if PYARROW >= 18:  # which has more types, and makes text of views
    ARROW += [
        pa.array(["a", None], pa.string_view()), pa.array([b"a", None], pa.binary_view()),
        pa.array([{"x": ["a"]}, None], pa.struct([("x", pa.list_(pa.string_view()))])),
        pa.array([1], pa.decimal32(5, 0)), pa.array([1], pa.decimal64(15, 0)), pa.array([b"0" * 16], pa.uuid()),
        pa.array(["1"], pa.json_()), pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, 0], pa.int8())),
    ]  # fmt: skip
if encoding.reads_null_arrays():
    ARROW.append(pa.array([[1, 2], None], pa.list_(pa.float32(), 2)))
TEXT = pa.string_view() if PYARROW >= 18 else pa.large_string()


@pytest.mark.parametrize("array", ARROW, ids=lambda array: str(array.type))
def test_arrow_columns_of_each_type_come_back_equal(array):
    """Type, values, and metadata of table and field; sliced from a larger array too."""
    field = pa.field("x", array.type, metadata={"unit": "m"})
    assert_round_trip(pa.Table.from_arrays([array], schema=pa.schema([field], metadata={"k": "v"})))
    assert_round_trip(pa.table({"x": array.slice(1)}))
    assert_round_trip(pa.table({"x": pa.chunked_array([array, array.slice(0, 1)])}), segments=3)


def test_dictionaries_of_arrow_columns_are_kept():
    """In content and order, unless they are much larger than what the rows use."""
    table = pa.table({"x": pa.array(["b", "a", "b", None]).dictionary_encode()})
    assert round_trip(table, segments=1).equals(table)


def test_arrow_schemas_of_odd_shapes_come_back_equal():
    """Equal names, nullability, no columns, no rows."""
    fields = [pa.field("a", pa.int64(), nullable=False), pa.field("A", pa.int64()), pa.field("a", pa.string())]
    assert_round_trip(pa.Table.from_arrays([pa.array([1]), pa.array([2]), pa.array(["x"])], schema=pa.schema(fields)))
    assert_round_trip(pa.table({}))
    assert_round_trip(pa.table({"a": pa.array([], pa.string())}))


@pytest.mark.parametrize(
    "array",
    [
        pa.array([(1, 2, 3)], pa.month_day_nano_interval()),
        pa.RunEndEncodedArray.from_arrays([2], [1]),
        pa.array([{}], pa.struct([])),
        pa.array([[1]], pa.list_view(pa.int8())),
        pa.UnionArray.from_dense(pa.array([0], pa.int8()), pa.array([0], pa.int32()), [pa.array([1])]),
        pa.array([["a"]], pa.list_(pa.dictionary(pa.int8(), pa.string()))),
    ],
    ids=lambda array: str(array.type),
)
def test_arrow_types_that_parquet_cannot_hold_are_refused(array):
    """With the column and the type named."""
    with pytest.raises(Unsupported, match="column 'x' of 'eod/trades'"):
        round_trip(pa.table({"x": array}))


WITHIN_A_DAY = pa.array([None, 86_400_000, -1], pa.date64())


@pytest.mark.parametrize(
    "array",
    [
        WITHIN_A_DAY,
        pa.array([None, None, 1], pa.date64()),
        pa.array([[86_400_001], None, []], pa.list_(pa.date64())),
        pa.StructArray.from_arrays([pa.array([1, 2, 3]), WITHIN_A_DAY], ["a", "d"]),
        pa.array([[("a", 5)], [], None], pa.map_(pa.string(), pa.date64())),
        pa.DictionaryArray.from_arrays(pa.array([0, 1, 2]), WITHIN_A_DAY),
        pa.array([[1, None], None, [0, 0]], pa.list_(pa.date64(), 2)),
    ],
    ids=lambda array: str(array.type),
)
def test_milliseconds_within_a_day_of_date64_are_refused(array):
    """Parquet has days: -1 would come back as the day after."""
    frame = pd.DataFrame({"x": pd.array(array, dtype=pd.ArrowDtype(array.type))})
    for value in (pa.table({"x": array}), pa.table({"x": array}).to_reader(), frame):
        with pytest.raises(InvalidInput, match=r"column 'x' of 'eod/trades' holds date64 values .* timestamp\('ms'\)"):
            round_trip(value)
    assert_round_trip(pa.table({"x": pa.array([None, 86_400_000, -86_400_000, 0], pa.date64())}))


FIXED = pa.list_(pa.int8(), 2)


@pytest.mark.parametrize(
    "array",
    [
        pa.array([[1, 2], None], FIXED),
        pa.array([{"x": [1, 2]}, {"x": None}], pa.struct([("x", FIXED)])),
        pa.array([{"x": [1, 2]}, None], pa.struct([("x", FIXED)])),
        pa.array([[[1, 2]], [None]], pa.list_(FIXED)),
        pa.array([[("a", None)]], pa.map_(pa.string(), FIXED)),
        pa.array([[[1, 2]], [None]], pa.list_(FIXED, 1)),
    ],
)
def test_null_lists_of_a_fixed_size_are_stored_where_they_can_be_read(array):
    """Old releases of pyarrow write them and cannot read the file; then nothing is written."""
    given = pa.table({"x": array})
    if encoding.reads_null_arrays():
        assert_round_trip(given)
    else:
        with pytest.raises(Unsupported, match=f"column 'x' .* pyarrow {pa.__version__}"):
            round_trip(given)
    assert_round_trip(given.slice(0, 0))


def test_nulls_in_a_column_that_forbids_them_are_refused():
    """Rather than failing when the rows are read."""
    schema = pa.schema([pa.field("x", pa.int64(), nullable=False)])
    with pytest.raises(InvalidInput, match="declared not nullable"):
        round_trip(pa.Table.from_arrays([pa.array([1, None])], schema=schema))


class Stream:
    """Batches, and nothing but the protocol."""

    def __init__(self, batches: int) -> None:
        self.left = batches
        self.schema = pa.schema([pa.field("x", TEXT), pa.field("X", pa.timestamp("s"))])

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        def batches():
            while self.left:
                self.left -= 1
                yield pa.record_batch([pa.array([str(self.left)], TEXT), pa.array([1], pa.timestamp("s"))],
                                      schema=self.schema)  # fmt: skip

        return pa.RecordBatchReader.from_batches(self.schema, batches()).__arrow_c_stream__(requested_schema)


def test_streams_are_read_batch_by_batch():
    """Nothing is read before the rows are asked for, so that a stream may be larger than memory."""
    source = Stream(5)
    encoded = values.encode(source, where="'eod/trades'")
    assert encoded.table is None
    assert source.left == 5
    batch = encoded.reader.read_next_batch()
    assert source.left == 4
    assert batch.schema.names == ["x", "X_1"]
    found = round_trip(Stream(3))
    assert found.schema == Stream(0).schema
    assert found.column("x").to_pylist() == ["2", "1", "0"]


def test_readers_and_batches_come_back_as_tables():
    """A reader is a stream; a batch is a table of one batch."""
    table = pa.table({"x": [1, 2, 3]})
    assert_same(round_trip(table.to_reader(max_chunksize=1)), table)
    assert_same(round_trip(table.to_batches()[0]), table)


POLARS = {
    "categorical": pl.Series(["a", None], dtype=pl.Categorical),
    "enum": pl.Series(["x", "y"], dtype=pl.Enum(["y", "x", "z"])),
    "string": pl.Series(["a", None]),
    "binary": pl.Series([b"a", None]),
    "float": pl.Series([float("nan"), None]),
    "float16": pl.Series([1.5, None], dtype=pl.Float16),
    "bool": pl.Series([True, None]),
    "uint8": pl.Series([1, None], dtype=pl.UInt8),
    "null": pl.Series([None, None]),
    "date": pl.Series([dt.date(2020, 1, 1), None]),
    "time": pl.Series([1001, None]).cast(pl.Time),
    "datetime": pl.Series([dt.datetime(2020, 1, 1), None]),
    "datetime ms": pl.Series([1, None]).cast(pl.Datetime("ms")),
    "zone": pl.Series([dt.datetime(2020, 1, 1), None]).dt.replace_time_zone("Asia/Tokyo"),
    "duration": pl.Series([dt.timedelta(1), None]),
    "decimal": pl.Series([Decimal("1.5"), None], dtype=pl.Decimal(20, 3)),
    "list": pl.Series([[1, None], None]),
    "list of categorical": pl.Series([["a"], None], dtype=pl.List(pl.Categorical)),
    "list of enum": pl.Series([["x"], []], dtype=pl.List(pl.Enum(["y", "x"]))),
    "array": pl.Series([[1, 2], None if encoding.reads_null_arrays() else [3, 4]], dtype=pl.Array(pl.Int64, 2)),
    "array of array": pl.Series([[[1, 2]], [[3, 4]]], dtype=pl.Array(pl.Int16, (1, 2))),
    "struct": pl.Series([{"a": 1, "b": [dt.date(2020, 1, 1)]}, None]),
}


@pytest.mark.parametrize("name", POLARS)
def test_polars_columns_of_each_type_come_back_equal(name):
    """As a frame and as a series; with no rows too."""
    frame = pl.DataFrame({"x": POLARS[name]})
    assert_round_trip(frame)
    assert_round_trip(frame.clear())
    assert_round_trip(POLARS[name].alias("s"))


def test_polars_frames_come_back_equal():
    """Wide, in several chunks, without columns, with names that are equal but for case; lazy ones collected."""
    frame = pl.DataFrame(POLARS)
    assert_round_trip(frame)
    assert_round_trip(pl.concat([frame, frame.slice(1)], rechunk=False), segments=3)
    assert_round_trip(pl.DataFrame())
    assert_round_trip(pl.DataFrame({"a": [1], "A": [2], "": [3]}))
    assert_same(round_trip(frame.lazy()), frame)


def test_polars_types_that_cannot_be_stored_are_refused():
    """With the column and the dtype named."""
    with pytest.raises(Unsupported, match="column 'x' of 'eod/trades' has the polars dtype Object"):
        round_trip(pl.DataFrame({"x": pl.Series([object()], dtype=pl.Object)}))
    with pytest.raises(Unsupported, match="Int128"):
        round_trip(pl.DataFrame({"x": pl.Series([1], dtype=pl.Int128)}))


def test_columns_of_arrow_and_polars_values_can_be_chosen():
    """By their own names, in the order asked for."""
    frame = pl.DataFrame({"a": [1], "A": [2], "b": [3]})
    kind, schema, rows = stored(frame)
    found = values.decode(rows.select(["b", "A_1"]), kind, schema, columns=["b", "A"])
    assert_polars_equal(found, frame.select(["b", "A"]))
    table = frame.to_arrow()
    kind, schema, rows = stored(table)
    assert values.decode(rows, kind, schema, columns=["b", "A"]).equals(table.select(["b", "A"]))
    with pytest.raises(NoSuchColumn):
        values.decode(rows, kind, schema, columns=["c"])


FRAME = pd.DataFrame(
    {"a": [1, 2], "A": ["x", None], "t": pd.to_datetime(["2020-01-01", "2021-01-01"])},
    index=pd.Index([5, 6], name="k"),
)


@pytest.mark.parametrize(
    "value",
    [FRAME, FRAME["a"], pa.table({"a": [1, 2]}), pl.DataFrame({"a": [1, 2]}), np.arange(3), np.zeros((2, 2))],
    ids=["frame", "series", "arrow", "polars", "array", "matrix"],
)
def test_any_value_converts_to_any_output_format(value):
    """With the names that SQL sees, or as written where the format is the value's own."""
    kind, schema, rows = stored(value)
    arrow = values.to_format(rows, kind, schema, "pyarrow")
    frame = values.to_format(rows, kind, schema, "polars")
    assert isinstance(arrow, pa.Table)
    assert not any(field.metadata for field in arrow.schema)
    assert arrow.schema.names == list(schema.names)
    assert isinstance(frame, pl.DataFrame)
    assert frame.columns == list(schema.names)
    assert frame.to_arrow().to_pylist() == arrow.to_pylist()
    found = values.to_format(rows, kind, schema, "pandas")
    assert isinstance(found, pd.Series if kind == "series" else pd.DataFrame)
    assert len(found) == rows.num_rows


def test_a_pandas_frame_converts_with_chosen_columns_and_its_index():
    """Index levels lead; ``columns`` are the value's labels."""
    kind, schema, rows = stored(FRAME)
    arrow = values.to_format(rows, kind, schema, "pyarrow", columns=["t", "A"])
    assert arrow.schema.names == ["k", "t", "A_1"]
    assert_frame_equal(values.to_format(rows, kind, schema, "pandas", columns=["t"]), FRAME[["t"]])
    with pytest.raises(InvalidInput, match="use one of pandas, polars, pyarrow"):
        values.to_format(rows, kind, schema, "numpy")


def test_all_pandas_columns_convert_to_arrow_and_nearly_all_to_polars():
    """What polars has no type for is an error that names the column."""
    frame = pd.DataFrame({name: column for name, column in COLUMNS.items() if name != "object wide Decimal"})
    kind, schema, rows = stored(frame)
    assert values.to_format(rows, kind, schema, "pyarrow").num_rows == 3
    assert values.to_format(rows, kind, schema, "polars").height == 3
    kind, schema, rows = stored(pd.DataFrame({"x": objects(Decimal("1e50"))}))
    with pytest.raises(Unsupported, match="column 'x' has the type decimal256"):
        values.to_format(rows, kind, schema, "polars")


@pytest.mark.parametrize("value", [pd.Series([1, 2], index=pd.Index([3, 4], name="k"), name="v"), pl.Series("v", [1])])
def test_no_columns_of_a_series_are_refused(value):
    """Neither by an empty list nor by a name of its index: there is nothing left that would be a series."""
    lib = vs.Store(MemoryObjects("x")).create_library("l")
    lib.write("s", value)
    assert_same(lib.read("s", columns=["v"]).data, value)
    for columns in ([], *([["k"]] if isinstance(value, pd.Series) else [])):
        with pytest.raises(InvalidInput, match="leave columns out"):
            lib.read("s", columns=columns)
    with pytest.raises(NoSuchColumn):
        lib.read("s", columns=["w"])
