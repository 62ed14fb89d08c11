"""Whole reads of pandas values, whose numbers and times are copied straight into the frame's own arrays."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import duckvstore as vs
from duckvstore.errors import Integrity
from duckvstore.format.rows.gathering import Gathering

TIMES = pd.date_range("2024-01-01", periods=4, freq="min", name="t")
COLUMNS = {
    "float": [1.5, np.nan, -0.0, np.inf],
    "single": np.array([1.5, np.nan, 2.5, 3.5], np.float32),
    "whole": np.array([1, 2**62, -5, 7]),
    "byte": np.array([0, 255, 7, 8], np.uint8),
    "other end": np.array([1, 2, 3, 4], ">i4"),
    "flag": [True, False, True, True],
    "time": np.array(["2024-01-01", "NaT", "1969-07-20T20:17:40.000000001", "2262-04-11"], "M8[ns]"),
    "second": np.array(["2024-01-01", "NaT", "1969-07-20", "2262-04-11"], "M8[s]"),
    "zoned": pd.DatetimeIndex(["2024-03-31 00:30", None, "2024-03-31 02:30", "2024-10-27 00:30"], tz="UTC").tz_convert(
        "Europe/Berlin"
    ),
    "span": pd.to_timedelta(["1ns", None, "-3D", "9h"]),
    "masked": pd.array([1, None, 3, 4], "Int64"),
    "masked float": pd.array([1.5, None, 3.5, 4.5], "Float64"),
    "text": ["a", None, "c", "d"],
    "any": pd.Series([1, "x", None, 2.5], dtype=object).map(str),
    "category": pd.Categorical(["b", None, "a", "b"]),
}
INDEXES = {
    "range": pd.RangeIndex(5, 25, 5),
    "times": TIMES,
    "zoned": TIMES.tz_localize("America/New_York"),
    "numbers": pd.Index([9, 1, 1, 3], name="n"),
    "panel": pd.MultiIndex.from_arrays([TIMES, ["x", "y", "x", "y"]], names=["t", None]),
}


@pytest.fixture
def lib():
    return vs.open("memory://").create_library("lib")


@pytest.mark.parametrize("index", INDEXES)
def test_frames_of_every_dtype_come_back_from_one_segment_and_from_several(lib, index):
    """Equal, with arrays that are the frame's own: what is written into them is in no other frame."""
    frame = pd.DataFrame(COLUMNS).set_axis(INDEXES[index])
    big = pd.concat([pd.concat([frame] * 70)] * 70, ignore_index=index == "range")
    lib.set_options(segment_bytes=65_536)
    lib.write("s", big, validate_index=False)
    assert lib.get_description("s").row_count == len(big)
    assert lib.sql("SELECT count(*) FROM vstore.segments").fetchall()[0][0] > 3
    found = lib.read("s").data
    pd.testing.assert_frame_equal(found, big)
    for name in ("float", "whole", "time"):
        found[name].array[0] = found[name].array[2]
    pd.testing.assert_frame_equal(lib.read("s").data, big)


@given(
    counts=st.lists(st.integers(0, 40), min_size=1, max_size=6),
    dtypes=st.lists(st.sampled_from(["f8", "f4", "i8", "u1", "M8[ns]", "m8[us]", "bool"]), min_size=1, max_size=7),
    seed=st.integers(0, 2**32 - 1),
)
def test_pieces_in_any_order_are_rows_in_their_own(counts, dtypes, seed):
    """With nulls in any of them; whole numbers with nulls stay Arrow's, and so does what was asked for by nobody."""
    random = np.random.default_rng(seed)
    pieces = [pa.table({str(n): _values(random, count, dtype) for n, dtype in enumerate(dtypes)}) for count in counts]
    whole = pa.concat_tables(pieces)
    wanted = {str(n): np.dtype(dtype) for n, dtype in enumerate(dtypes) if dtype != "bool"}
    gathering = Gathering(wanted, whole.num_rows)
    starts = np.cumsum([0, *counts])
    left: dict[int, pa.Table] = {}
    for place in random.permutation(len(pieces)):
        left[place] = gathering.take(int(starts[place]), pieces[place])
    found = gathering.finish(pa.concat_tables([left[place] for place in range(len(pieces))]))
    assert found.table.num_rows == whole.num_rows
    for name in whole.column_names:
        if name in found.arrays:
            np.testing.assert_array_equal(found.arrays[name], whole.column(name).to_numpy())
            assert found.arrays[name].dtype == wanted[name]
        else:
            assert found.table.column(name).to_pylist() == whole.column(name).to_pylist()
            assert name not in wanted or (whole.column(name).null_count and wanted[name].kind in "iu")


def _values(random: np.random.Generator, count: int, dtype: str) -> pa.Array:
    raw = random.integers(0, 2, count) if dtype == "bool" else random.integers(0, 200, count)
    return pa.array(raw.astype(dtype), mask=random.random(count) < random.choice([0, 0, 0.5]))


def test_rows_that_are_not_there_are_no_memory_of_the_process():
    """Arrays begin without contents, so every row of them has to be filled."""
    gathering = Gathering({"x": np.dtype("f8")}, 10)
    left = gathering.take(0, pa.table({"x": [1.0, 2.0]}))
    with pytest.raises(Integrity, match="verify"):
        gathering.finish(left)


def test_columns_that_join_later_are_missing_before(lib):
    """By NaN; whole numbers, which have none, by pd.NA."""
    lib.write("s", pd.DataFrame({"a": [1, 2], "b": [1.5, 2.5]}))
    lib.append("s", pd.DataFrame({"a": [3], "b": [3.5], "c": [7], "d": [0.5]}))
    found = lib.read("s").data
    wanted = pd.DataFrame({"a": [1, 2, 3], "b": [1.5, 2.5, 3.5], "d": [np.nan, np.nan, 0.5]})
    wanted.insert(2, "c", pd.array([None, None, 7], "Int64"))
    pd.testing.assert_frame_equal(found, wanted)


def test_frames_of_one_dtype_are_one_block(lib):
    """As pandas has them itself, so that ten thousand columns are no slower than one; parts of it are blocks too."""
    frame = pd.DataFrame(np.arange(12.0).reshape(3, 4), columns=list("abcd"), index=pd.date_range("2024", periods=3))
    lib.write("s", frame)
    for columns in (None, ["b", "c"], ["c", "b"], ["a", "a"]):
        found = lib.read("s", columns=columns).data
        pd.testing.assert_frame_equal(found, frame if columns is None else frame[columns], check_freq=False)
        found.iloc[0, 0] = 99
        assert (found == 99).to_numpy().sum() == 1
    assert len(lib.read("s").data._mgr.blocks) == 1


def test_series_and_no_columns(lib):
    """A series is its one array; a frame without columns has its rows all the same."""
    series = pd.Series([1.5, np.nan, 2.5], name="x", index=pd.Index([3, 4, 5], name="n"))
    lib.write("s", series)
    pd.testing.assert_series_equal(lib.read("s").data, series)
    frame = pd.DataFrame({"a": [1.5, 2.5]})
    lib.write("f", frame)
    assert lib.read("f", columns=[]).data.shape == (2, 0)
    lib.write("n", frame.iloc[:0])
    pd.testing.assert_frame_equal(lib.read("n").data, frame.iloc[:0])


WIDE = {
    "float64": np.array([1.5, np.nan, -0.0, np.inf, -np.inf, 5e-324]),
    "float32": np.array([1.5, np.nan, -0.0, np.inf, -np.inf, 1e-45], np.float32),
    "float16": np.array([1.5, np.nan, -0.0, np.inf, -np.inf, 6e-8], np.float16),
    "int64": np.array([2**63 - 1, -(2**63), 0, 2**53 + 1]),
    "uint8": np.array([0, 255, 7], np.uint8),
    "other end": np.array([1, -2, 3], ">i4"),
    "bool": np.array([True, False]),
    "time": np.array(["2024-01-01", "NaT", "1969-07-20T20:17:40.000000001"], "M8[ns]"),
    "text": np.array(["a", None, ""], object),
}


def wide_frames(random, row_count):
    """Frames of many columns: of one dtype, in either order in memory, and of several dtypes in runs and mixed."""
    values = {name: random.choice(found, (row_count, 110)) for name, found in WIDE.items()}
    for name, found in values.items():
        yield name, pd.DataFrame(found).add_prefix("c")
    yield "columns first", pd.DataFrame(np.ascontiguousarray(values["float64"].T).T)
    whole = random.normal(size=(row_count, 110))
    whole[:, 7] = np.nan
    yield "some missing", pd.DataFrame(whole, columns=pd.MultiIndex.from_product([["a", "b"], range(55)]))
    runs = pd.concat([pd.DataFrame(found).add_prefix(name) for name, found in values.items()], axis=1)
    yield "runs", runs
    selectable = runs.drop(columns=[name for name in runs if name.startswith("other")])
    yield "mixed", selectable[random.permutation(selectable.columns)]
    yield "few of each", selectable.iloc[:, ::9]
    yield "one name", runs.set_axis(["c"] * runs.shape[1], axis=1)


@pytest.mark.parametrize(("row_count", "index"), [(0, "range"), (1, "times"), (37, "times")])
def test_wide_frames_come_back_as_their_columns_one_by_one_would(lib, row_count, index, monkeypatch):
    """Stored as blocks and put together as blocks, from one segment and from several: the same bits, and digests."""
    from duckvstore.format.codecs import pandas_frames
    from duckvstore.format.rows import blocks

    random = np.random.default_rng(row_count)
    lib.set_options(segment_bytes=65_536)
    for name, plain in wide_frames(random, row_count):
        frame = plain if index == "range" else plain.set_axis(pd.date_range("2024", periods=row_count, name="t"))
        lib.write("s", frame)
        found = lib.read("s").data
        pd.testing.assert_frame_equal(found, frame, obj=name)
        for position in range(0, frame.shape[1], 20):
            was, now = (one.iloc[:, position].array for one in (frame, found))
            assert name == "text" or not isinstance(was, np.ndarray) or was.tobytes() == now.tobytes()
        few = lib.read("s", columns=[frame.columns[3]])
        pd.testing.assert_frame_equal(few.data, frame if name == "one name" else frame.iloc[:, 3:4], obj=name)
        with monkeypatch.context() as slowly:
            slowly.setattr(blocks, "MANY_COLUMNS", 10**6)
            slowly.setattr(pandas_frames, "WIDE_COLUMNS_MIN", 10**6)
            assert lib.write("s", frame).new_bytes == 0  # equal digests
            pd.testing.assert_frame_equal(lib.read("s").data, frame, obj=name)
        lib.delete("s")
