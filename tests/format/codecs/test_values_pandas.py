"""pandas values come back equal, whole and in part, or are refused with a message that says what to do."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal, assert_index_equal

import duckvstore as vs
from duckvstore.errors import InvalidInput, NoSuchColumn, Unsupported
from duckvstore.format.codecs import tables, values
from duckvstore.format.codecs.pandas_arrays import with_frequency
from duckvstore.format.rows import chunking
from duckvstore.objects.memory import MemoryObjects
from tests.cuts import cut_every
from tests.format.codecs.values_cases import (
    COLUMNS,
    INDEXES,
    LABELS,
    PANDAS_2_2,
    assert_round_trip,
    assert_same,
    objects,
    round_trip,
    rows_of,
    stored,
)


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_of_each_type_comes_back_equal(name):
    """As a frame's column, as a series, all at once and cut, and with no rows."""
    column = COLUMNS[name]
    frame = pd.DataFrame({"x": column})
    assert frame.dtypes.iloc[0] == column.dtype
    assert_round_trip(frame)
    assert_round_trip(frame.iloc[:0])
    assert_round_trip(column.rename("s"), segments=3)


def test_a_frame_of_all_column_types_comes_back_equal():
    """Columns of all types side by side, in their order, with their names."""
    assert_round_trip(pd.DataFrame(COLUMNS), segments=3)


@pytest.mark.parametrize("dtype", ["f8", ">f4", "i2", "?", "M8[ns]", "m8[s]", "O"])
@pytest.mark.parametrize("is_one_block", [True, False])
def test_many_columns_of_one_dtype_come_back_equal(dtype, is_one_block):
    """Whatever pandas has them in, with missing values and labels that repeat."""
    cells = (np.arange(450) % 7).reshape(3, 150).astype(dtype)
    if cells.dtype.kind in "fMm":
        cells[1, ::3] = np.array("NaT" if cells.dtype.kind in "Mm" else np.nan, dtype)
    columns = [f"c{position % 140}" for position in range(150)]
    frame = pd.DataFrame(cells, columns=columns)
    if not is_one_block:
        frame = pd.concat([frame.iloc[:, position : position + 1] for position in range(150)], axis=1)
    assert set(frame.dtypes) == {np.dtype(dtype)}
    assert_round_trip(frame)


@pytest.mark.parametrize("name", INDEXES)
def test_a_row_index_of_each_type_comes_back_equal(name):
    """Class, dtype, names, values and frequency; in a frame and a series, with no rows and with no columns."""
    frame = pd.DataFrame({"x": [1, 2, 3]}, index=INDEXES[name])
    assert_round_trip(frame)
    assert_round_trip(frame["x"])
    assert_round_trip(rows_of(frame, 0, 0))
    assert_round_trip(frame[[]])
    if isinstance(frame.index, pd.DatetimeIndex | pd.TimedeltaIndex):
        assert round_trip(frame).index.freq == frame.index.freq


@pytest.mark.parametrize("name", LABELS)
def test_column_labels_of_each_type_come_back_equal(name):
    """Labels that are equal, odd or no text at all."""
    frame = pd.DataFrame([[1, 2], [3, 4]])
    frame.columns = LABELS[name]
    assert_round_trip(frame)
    found = round_trip(frame)
    assert [type(label) for label in found.columns] == [type(label) for label in frame.columns]


@pytest.mark.parametrize("name", INDEXES)
def test_any_index_can_be_the_column_labels(name):
    """Transposed frames are ordinary frames."""
    assert_round_trip(pd.DataFrame([[1, 2, 3]], columns=INDEXES[name]))


@pytest.mark.parametrize("name", [None, "a", 1, ("a", 2), np.nan, pd.Timestamp("2020"), "index", pd.NaT])
def test_a_series_keeps_its_name(name):
    """Whatever label it is."""
    found = round_trip(pd.Series([1, 2], name=name))
    assert type(found.name) is type(name)
    assert found.name == name or found.name != found.name


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame(),
        pd.DataFrame(index=range(5)),
        pd.DataFrame(index=pd.date_range("2020", periods=3)),
        pd.DataFrame(columns=["a", "b"]),
        pd.DataFrame({"a": pd.Series([], dtype=object)}),
        pd.DataFrame({"x": [1], "a": [2]}, index=pd.Index([5], name="x")),
        pd.DataFrame(np.arange(12.0).reshape(3, 4)[:, ::2]),
    ],
    ids=["empty", "rows only", "times only", "columns only", "no objects", "named like the index", "strided"],
)
def test_frames_of_odd_shapes_come_back_equal(frame):
    """No rows, no columns, or neither."""
    assert_round_trip(frame)


def test_attributes_come_back_and_bad_ones_are_refused():
    """``attrs`` of frames and series, with types that JSON lacks."""
    frame = pd.DataFrame({"a": [1]})
    frame.attrs = {"unit": {"a": ("m", [1.5, None])}, "when": pd.Timestamp("2020").to_pydatetime()}
    assert_round_trip(frame)
    series = frame["a"].copy()
    series.attrs = {"n": 1}
    assert_round_trip(series)
    frame.attrs = {"plot": object()}
    with pytest.raises(InvalidInput, match=r"attrs of 'eod/trades'\['plot'\] is a object"):
        round_trip(frame)


def test_names_in_sql_are_unique_and_lead_with_the_index():
    """Index levels first, then the columns; numbers are added without regard to case."""
    frame = pd.DataFrame([[1, 2, 3, 4]], columns=["Index", "a", "A", 7])
    frame.index = pd.Index(["k"])
    _, schema, _ = stored(frame)
    assert schema.names == ("index", "Index_1", "a", "A_1", "7")
    assert schema.index == ("index",)
    frame.index = pd.MultiIndex.from_tuples([("k", 1)], names=["a", None])
    assert stored(frame)[1].names == ("a", "index_1", "Index", "a_1", "A_2", "7")
    assert stored(pd.DataFrame({"a": [1]}))[1].names == ("a",)
    assert stored(pd.Series([1]))[1].names == ("value",)


@pytest.mark.parametrize(
    ("name", "arrow"),
    [
        ("int", "int64"), ("float", "double"), ("bool", "bool"), ("timestamp ns", "timestamp[ns]"),
        ("zone", "timestamp[us, tz=Europe/London]"), ("timedelta", "duration[ns]"), ("Int64", "int64"),
        ("boolean", "bool"), ("str", "large_string"), ("object str None", "large_string"), ("categorical int", "int64"),
        ("object date", "date32[day]"), ("object time", "time64[us]"), ("object Decimal", "decimal128(18, 2)"),
        ("object bool", "bool"), ("object int NaN", "int64"), ("period month", "timestamp[us]"),
        ("object bytes", "large_binary"), ("object list", "list<item: int64>"),
    ],
)  # fmt: skip
def test_columns_are_natural_in_sql(name, arrow):
    """Missing rows are null, and types are those that a person would choose."""
    _, schema, rows = stored(pd.DataFrame({"x": COLUMNS[name]}))
    assert schema.columns[0].type == arrow
    assert rows.column("x").null_count == int(COLUMNS[name].isna().sum())


def test_text_categories_are_a_dictionary_of_text():
    """A categorical of text is text in SQL."""
    column = stored(pd.DataFrame({"x": COLUMNS["categorical"]}))[2].column("x")
    assert pa.types.is_dictionary(column.type)
    assert column.to_pylist() == ["a", None, "c"]


WIDE = pd.DataFrame(
    [[1, "a", 0.5, True], [2, "b", 1.5, False], [3, "c", 2.5, True], [4, "d", 3.5, False]], columns=["n", "s", "f", "s"]
)


def test_chosen_columns_come_back_in_the_order_asked_for():
    """As ``frame[columns]`` would give them; a label that two columns have gives both."""
    kind, schema, rows = stored(WIDE)
    for labels in (["f", "n"], ["s"], ["n", "s", "n"], []):
        names = tables.stored_columns(schema, labels)
        some = rows.select(list(dict.fromkeys(names)))
        found = values.decode(some, kind, schema, columns=labels, rows=range(4))
        assert_frame_equal(found, WIDE[labels])
    assert tables.stored_columns(schema, ["s"]) == ["s", "s_1"]


def test_the_index_stays_when_columns_are_chosen():
    """An index level asked for by name is no error, and no column."""
    frame = WIDE.set_index(pd.date_range("2020", periods=4, name="time"))
    kind, schema, rows = stored(frame)
    found = values.decode(rows.select(["time", "f"]), kind, schema, columns=["time", "f"])
    assert_frame_equal(found, frame[["f"]])


def test_an_unknown_column_is_an_error_with_the_nearest_name():
    """Also for a label of another type, and for an unhashable one."""
    _, schema, _ = stored(pd.DataFrame({"price": [1], "size": [2], 3: [4]}))
    with pytest.raises(NoSuchColumn, match=r"no column 'prise' among 3 columns\. Did you mean 'price'"):
        tables.stored_columns(schema, ["prise"])
    for label in ("3", ["price"], None, 3.5):
        with pytest.raises(NoSuchColumn):
            tables.stored_columns(schema, [label])
    with pytest.raises(NoSuchColumn, match="pricee"):
        tables.stored_columns(stored(pa.table({"price": [1]}))[1], ["pricee"])


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
@pytest.mark.parametrize("freq", ["D", "2D", "-1D", "h", "50ms", "7us", "B", "ME", "W-SUN"])
def test_a_frequency_is_set_where_the_values_keep_it_as_pandas_says(freq, zone):
    """Also over a change of clocks, beside the last moment that there is, and of names that are no frequency."""
    last = pd.date_range("2262-04-10", periods=2, freq="h", tz=zone, unit="ns")
    for every in (pd.date_range("2026-03-27", periods=9, freq=freq, tz=zone, unit="us"), last):
        for index in (every, every[:1], every[:0], every.delete(1), every.insert(0, pd.NaT)):
            plain = pd.DatetimeIndex(index, freq=None)
            for name in (freq, "D", "h", "no frequency"):
                expected = plain.copy()
                with contextlib.suppress(ValueError):
                    expected.freq = name
                found = with_frequency(plain, name)
                assert found.freq == expected.freq
                assert_index_equal(found, expected)


@pytest.mark.parametrize("name", INDEXES)
def test_consecutive_rows_keep_index_and_frequency_as_a_slice_does(name):
    """``rows`` as a range."""
    frame = pd.DataFrame({"x": [1, 2, 3]}, index=INDEXES[name])
    kind, schema, rows = stored(frame)
    for start, stop in ((0, 2), (1, 3), (2, 3), (1, 1)):
        found = values.decode(rows.slice(start, stop - start), kind, schema, rows=range(start, stop))
        assert_frame_equal(found, rows_of(frame, start, stop))
        if isinstance(frame.index, pd.RangeIndex):
            assert_index_equal(found.index, frame.index[start:stop], exact=True)
    assert_frame_equal(values.decode(rows.slice(0, 2), kind, schema), frame.iloc[:2])


@pytest.mark.parametrize("name", INDEXES)
def test_scattered_rows_keep_their_labels(name):
    """``rows`` as positions: the labels of a RangeIndex too; no frequency is promised."""
    frame = pd.DataFrame({"x": [1, 2, 3]}, index=INDEXES[name])
    kind, schema, rows = stored(frame)
    found = values.decode(rows.take([0, 2]), kind, schema, rows=np.array([0, 2]))
    assert_frame_equal(found, frame.iloc[[0, 2]], check_freq=False)


def test_what_comes_back_can_be_changed():
    """Arrow's own memory is read-only; the value must not be."""
    frame = pd.DataFrame({"i": [1, 2], "f": [0.5, np.nan], "b": [True, False], "t": pd.to_datetime(["2020", "2021"])})
    for segments in (1, 2):
        found = round_trip(frame, segments=segments)
        for label in frame.columns:
            found.loc[0, label] = found.loc[1, label]
        found["f"] += 1
    array = round_trip(np.arange(5), segments=1)
    array[0] = 7


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (objects(1, "a"), Unsupported, "mixes types: int at row 0 and str at row 1"),
        (pd.Series([1j]), Unsupported, "dtype complex128"),
        (objects("a").map(lambda _: object()), Unsupported, "holds object objects"),
        (objects(None, 1, 2**200), InvalidInput, "61 digits"),
        (objects({"a": 1}, {"b": 1}), Unsupported, "row 0 is {'a': 1} and would be {'a': 1, 'b': None}"),
        (objects({}), Unsupported, "no fields"),
        (objects([1, 2.5]), Unsupported, r"row 0 is \[1, 2.5\] and would be \[1.0, 2.5\]"),
        (objects([1, "a"]), Unsupported, "cannot be stored as one type"),
        (objects([(1, 2)]), Unsupported, r"would be \[\[1, 2\]\]"),
        (objects(np.array([1]), np.array([1.5])), Unsupported, "row 1 has shape"),
        (objects(np.zeros((2, 2))), Unsupported, "expected one dimension"),
        (objects(pd.Timestamp("2020"), pd.Timestamp("2020", tz="UTC")), Unsupported, "mixes Timestamp objects"),
        (
            objects("a", "a\ud800"),
            InvalidInput,
            r"not valid Unicode: 'a\\ud800' \(surrogates not allowed, character 1\)",
        ),
        (
            objects("a" * 99 + "\ud800", None),
            InvalidInput,
            r"Unicode: 'a{40}\\ud800' .*: take half of a surrogate pair",
        ),
        (
            pd.Series(pd.array(["a\ud800"], dtype=pd.StringDtype("python"))),
            InvalidInput,
            r"not valid Unicode: 'a\\ud800' \(surrogates not allowed",
        ),
        (objects(["a"], ["b", "a\ud800"]), InvalidInput, r"'a\\ud800' in row 1 at \[1\] is no valid Unicode"),
        (objects({"x": {"k\ud800": 1}}), InvalidInput, r"'k\\ud800' in row 0 at \['x'\] is no valid Unicode"),
        (
            objects(["a"], ["a", float("nan")]),
            Unsupported,
            r"row 1 holds NaN at \[1\], beside str; .*replace NaN by None",
        ),
        (
            objects([[1, float("nan")]]),
            Unsupported,
            r"row 0 holds NaN at \[0\]\[1\], beside int; .*replace NaN by None",
        ),
        (objects({"x": "a"}, {"x": float("nan")}), Unsupported, r"row 1 holds NaN at \['x'\], beside str"),
        (objects([1, pd.NA]), Unsupported, r"row 0 holds pd.NA at \[1\], beside int; .*replace pd.NA by None"),
        (objects([1.0, float("nan"), pd.NA]), Unsupported, r"row 0 holds pd.NA at \[2\], beside float"),
        (objects(([pd.NaT],)), Unsupported, r"row 0 holds NaT at \[0\]\[0\]; .*replace NaT by None"),
        (
            objects([pd.Timestamp("2026"), pd.NaT]),
            Unsupported,
            r"row 0 holds NaT at \[1\], beside Timestamp; .*by None there, and each Timestamp by its to_pydatetime\(\)",
        ),
        (objects([Decimal(1), Decimal("NaN")]), Unsupported, r"row 0 holds Decimal\('NaN'\) at \[1\], beside Decimal"),
        (objects([np.float64(1), float("nan")]), Unsupported, r"replace each float64 by its item\(\)"),
        (objects([pd.Timedelta(1, "h")]), Unsupported, r"replace each Timedelta by its to_pytimedelta\(\)"),
        (
            pd.Categorical.from_codes([0], pd.Index(["a\ud800"], dtype=object)),
            InvalidInput,
            r"label in column 'm' of 'eod/trades' is not valid Unicode text: 'a\\ud800'",
        ),
        (pd.Series([2**62]).astype("i8").to_numpy().view("M8[s]"), InvalidInput, "seconds beyond what Parquet"),
    ],
)
def test_what_could_not_come_back_equal_is_refused(value, error, message):
    """With the column's label and the library's and symbol's names, whatever the reason."""
    frame = pd.DataFrame({"m": value})
    with pytest.raises(error, match=message) as caught:
        round_trip(frame)
    assert "column 'm' of 'eod/trades'" in str(caught.value)


@pytest.mark.parametrize(
    "cells",
    [
        [["a", None], [None]],
        [[1.0, float("nan"), None], [float("nan")]],
        [{"x": 1.0}, {"x": float("nan")}, {"x": None}],
        [[pd.Timestamp("2026").to_pydatetime(), None]],
        [[pd.Timedelta(1, "h").to_pytimedelta(), None]],
        [[Decimal(1), None]],
        [[np.float64(1).item(), float("nan")]],
        [(["a"], None), float("nan"), None],
        [["a", None], pd.NA, pd.NaT],
    ],
)
def test_what_the_refusals_of_markers_inside_advise_comes_back(cells):
    """None among anything, NaN among floats; the markers of whole rows are none of those inside."""
    round_trip(pd.DataFrame({"m": objects(*cells)}))


def test_cells_that_hold_themselves_are_refused():
    """Arrow would end the process."""
    cell: list[object] = []
    cell.append({"x": (cell,)})
    with pytest.raises(Unsupported, match=r"column 'm' of 'eod/trades' of list objects .*row 1 holds itself"):
        round_trip(pd.DataFrame({"m": objects([], cell)}))


def test_text_that_is_no_unicode_is_refused_wherever_it_is():
    """Labels of rows and columns, categories, attrs and their keys; names of a structured array's fields."""
    bad = pd.Index(["a\ud800"], dtype=object)
    numbers = pd.DataFrame({"x": [1]})
    for frame, place in (
        (numbers.set_axis(bad, axis=0), "index level 'index'"),
        (numbers.set_axis(pd.MultiIndex.from_arrays([[1], bad]), axis=0), "index level 'index_1'"),
        (numbers.set_axis(pd.CategoricalIndex(pd.Categorical.from_codes([0], bad)), axis=0), "index level 'index'"),
        (numbers.set_axis(bad, axis=1), "a label in the columns"),
        (numbers.rename_axis("a\ud800"), "a name in"),
    ):
        with pytest.raises(InvalidInput, match=place):
            round_trip(frame)
    numbers.attrs = {"a\ud800": 1}
    with pytest.raises(InvalidInput, match=r"the key 'a\\ud800' of attrs of 'eod/trades' is not valid Unicode"):
        round_trip(numbers)
    with pytest.raises(InvalidInput, match=r"'eod/trades' has the dtype .*ud800.*: rename it"):
        round_trip(np.zeros(1, dtype=[("a\ud800", "f8")]))


def test_indexes_and_labels_that_cannot_come_back_are_refused():
    """A calendar as frequency, objects as labels, a subclass of DataFrame."""
    calendar = pd.offsets.CustomBusinessDay(holidays=["2020-01-03"])
    with pytest.raises(Unsupported, match="set index"):
        round_trip(pd.DataFrame({"x": range(3)}, index=pd.date_range("2020", periods=3, freq=calendar)))
    with pytest.raises(Unsupported, match="index level 'index' of 'eod/trades'"):
        round_trip(pd.DataFrame({"x": [1]}, index=pd.Index([frozenset()], dtype=object)))
    with pytest.raises(InvalidInput, match="a label in the columns of 'eod/trades'"):
        round_trip(pd.DataFrame([[1]], columns=pd.Index([frozenset()], dtype=object)))

    with pytest.raises(InvalidInput, match="allows_duplicate_labels=False, which would be lost"):
        round_trip(pd.DataFrame({"x": [1]}).set_flags(allows_duplicate_labels=False))

    class Special(pd.DataFrame):
        pass

    with pytest.raises(InvalidInput, match="would come back as a plain DataFrame"):
        round_trip(Special({"x": [1]}))


@pytest.mark.parametrize("value", [pd.Index([1]), pa.array([1]), pa.chunked_array([[1]])])
def test_what_is_no_table_is_refused(value):
    """The message names the type and what is accepted."""
    with pytest.raises(InvalidInput, match="give a"):
        values.encode(value, where="'eod/trades'")


def test_a_value_of_unknown_kind_says_to_upgrade():
    """A document of a newer release."""
    _, schema, rows = stored(pd.DataFrame({"x": [1]}))
    with pytest.raises(Unsupported, match="upgrade"):
        values.decode(rows, "tensor", schema)


def test_large_frames_are_encoded_without_copying_numbers():
    """The Arrow buffers are the frame's own memory."""
    numbers = np.arange(1000.0)
    table = values.encode(pd.DataFrame({"x": numbers}, copy=False), where="'x'").table
    assert table.column("x").chunk(0).buffers()[1].address == numbers.__array_interface__["data"][0]
    times = numbers.astype("i8").view("M8[ns]")
    table = values.encode(pd.DataFrame({"x": times}, copy=False), where="'x'").table
    assert table.column("x").chunk(0).buffers()[1].address == times.__array_interface__["data"][0]


def test_equal_columns_are_compared_strictly():
    """The comparison of these tests sees what pandas' own does not."""
    with pytest.raises(AssertionError):
        assert_same(pd.Series([0.0], dtype=object), pd.Series([-0.0], dtype=object))


def test_a_large_frame_with_text_objects_is_read_in_batches(monkeypatch):
    """Text becomes Arrow batch by batch, and nothing is lost between the batches."""
    from duckvstore.format.codecs import pandas_frames

    monkeypatch.setattr(pandas_frames, "TEXT_BATCHES_ROWS_MIN", 10)
    monkeypatch.setattr(pandas_frames, "TEXT_BATCH_ROWS", 3)
    columns = {"n": range(20), "text": list("abcdefghijklmnopqrst"), "few": ["a", "ü"] * 10, "gap": [None, "x"] * 10}
    frame = pd.DataFrame(columns, index=pd.date_range("2026", periods=20, freq="h"), dtype=object)
    encoded = values.encode(frame, where="x")
    assert encoded.table is None
    kinds = {field.name: str(field.type) for field in encoded.reader.schema}
    assert (kinds["text"], kinds["gap"]) == ("large_string", "large_string")
    assert kinds["few"] == "dictionary<values=large_string, indices=int32, ordered=0>"
    assert [str(column.type) for column in encoded.schema.columns][2:] == ["large_string"] * 3
    assert_round_trip(frame, segments=4)
    for label in ("text", "few"):
        broken = frame.copy()
        broken.loc[frame.index[7], label] = "\ud800"
        with pytest.raises(InvalidInput, match=f"column '{label}' of x"):
            list(values.encode(broken, where="x").reader)


def test_segments_of_coded_text_count_their_bytes_as_text(monkeypatch):
    """Cut and counted as the same rows would be in one table of plain text."""
    from duckvstore.format.codecs import pandas_frames

    frame = pd.DataFrame({"n": np.arange(100_000), "text": objects(*["a", "lönger", "", "b"] * 25_000)})
    cut_every(monkeypatch, 10_000)
    plain = values.encode(frame, where="x")
    monkeypatch.setattr(pandas_frames, "TEXT_BATCHES_ROWS_MIN", 10)
    monkeypatch.setattr(pandas_frames, "TEXT_BATCH_ROWS", 3000)
    coded = values.encode(frame, where="x")
    assert pa.types.is_dictionary(coded.reader.schema.field("text").type)
    assert coded.schema == plain.schema
    pieces = list(chunking.pieces(coded))
    assert len(pieces) == 10
    position = 0
    for piece in pieces:
        same = plain.table.slice(position, piece.num_rows)
        assert chunking.logical_bytes(piece, coded.schema) == same.nbytes
        position += piece.num_rows
    assert position == len(frame)


@pytest.mark.parametrize("storage", ["pyarrow", "pyarrow_numpy"])
def test_text_that_is_missing_by_nan_is_the_same_to_each_release_of_pandas(storage):
    """Pandas 2.2 calls it ``pyarrow_numpy``, as documents that were written with it do; later ones ``str``."""
    name = "string[pyarrow_numpy]" if PANDAS_2_2 else "str"
    frame = pd.DataFrame({"x": pd.Series(["a", None, "c"], dtype=name)})
    kind, schema, rows = stored(frame)
    assert schema.value["dtypes"] == [{"type": "string", "storage": "pyarrow", "missing": "NaN"}]
    written = {"type": "string", "storage": storage, "missing": "NaN"}
    assert_same(values.decode(rows, kind, replace(schema, value={**schema.value, "dtypes": [written]})), frame)
    if PANDAS_2_2:
        held = {"type": "string", "storage": "python", "missing": "NaN"}
        assert_same(values.decode(rows, kind, replace(schema, value={**schema.value, "dtypes": [held]})), frame)


@pytest.mark.parametrize("dtype", ["string[python]", "string[pyarrow]", "str" if not PANDAS_2_2 else "object"])
def test_text_is_read_as_it_was_written_after_every_kind_of_edit(dtype):
    """Whole and in part, with missing rows and without, as column, index and labels."""
    lib = vs.Store(MemoryObjects("x")).create_library("l")
    frame = pd.DataFrame({"s": pd.Series(["a", None, "ü"], dtype=dtype), "n": [1, 2, 3]})
    lib.write("s", frame)
    lib.append("s", frame)
    both = pd.concat([frame, frame], ignore_index=True)
    assert_same(lib.read("s").data, both)
    assert_same(lib.read("s", columns=["s"], row_range=(1, 5)).data, both[["s"]].iloc[1:5])
    found = lib.read("s", where="n = 2").data
    found.index = [1, 4]
    assert_same(found, both.iloc[[1, 4]])
    indexed = frame.iloc[[0, 2]].set_index("s")
    lib.write("i", indexed)
    assert_same(lib.read("i").data, indexed)
    lib.write("v", indexed.T)
    assert_same(lib.read("v").data, indexed.T)
