"""Every kind of value goes through a library and comes back equal: in memory, on S3, in SQL as many rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pandas.testing import assert_frame_equal

import duckvstore as vs
from tests.conftest import fresh_bucket
from tests.cuts import cut_every
from tests.format.codecs.test_values_properties import columns, frames, rows_of
from tests.format.codecs.values_cases import COLUMNS, INDEXES, assert_same, sampled


@pytest.fixture(scope="module", params=["memory", "local", pytest.param("s3", marks=pytest.mark.s3)])
def lib(request, tmp_path_factory):
    """A library on each object store, one per module."""
    if request.param == "s3":
        bucket = fresh_bucket(request.getfixturevalue("seaweed"))
        store = vs.open(f"{bucket.url}/store", bucket.storage_options)
    else:
        store = vs.open("memory://" if request.param == "memory" else tmp_path_factory.mktemp("round-trips"))
    with pytest.MonkeyPatch.context() as patch:
        cut_every(patch, 2)
        yield store.create_library("values")


def round_trip(lib, value):
    item = lib.write("value", value, validate_index=False)
    return item, lib.read("value", as_of=item.version).data


@given(frame=frames())
@sampled(15)
def test_frames(lib, frame):
    """Random frames, and what SQL counts in them."""
    item, found = round_trip(lib, frame)
    assert_same(found, frame)
    if frame.shape[1] or not isinstance(frame.index, pd.RangeIndex):  # else SQL has no column to show
        counted = lib.sql(f"SELECT count(*) FROM value AT VERSION {item.version}").fetchall()
        assert counted == [(len(frame),)]


@given(st.data())
@sampled(15)
def test_parts_of_frames(lib, data):
    """Rows and columns chosen in a read equal pandas' own choice."""
    frame = data.draw(frames())
    frame.columns = [f"c{position}" for position in range(frame.shape[1])]
    item = lib.write("part", frame, validate_index=False)
    start, stop = sorted(data.draw(st.tuples(st.integers(0, len(frame)), st.integers(0, len(frame)))))
    found = lib.read("part", as_of=item.version, row_range=(start, stop)).data
    assert_frame_equal(found, rows_of(frame, start, stop), check_exact=True)
    if frame.shape[1]:
        chosen = data.draw(st.lists(st.sampled_from(list(frame.columns)), unique=True, min_size=1))
        found = lib.read("part", as_of=item.version, columns=chosen).data
        assert_frame_equal(found, frame[chosen], check_exact=True)


@given(column=st.integers(0, 8).flatmap(columns))
@sampled(10)
def test_series(lib, column):
    """Random series."""
    assert_same(round_trip(lib, column.rename("s"))[1], column.rename("s"))


@given(array=hnp.arrays(hnp.scalar_dtypes(), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)))
@sampled(15)
def test_arrays(lib, array):
    """Random numpy arrays."""
    assert_same(round_trip(lib, array)[1], array)


def test_each_column_and_index_type(lib):
    """One frame with every column type, and one frame per index type."""
    wide = pd.DataFrame(COLUMNS)
    assert_same(round_trip(lib, wide)[1], wide)
    for index in INDEXES.values():
        frame = pd.DataFrame({"x": range(len(index))}, index=index)
        assert_same(round_trip(lib, frame)[1], frame)


def test_arrow_and_polars(lib):
    """Tables, streams and frames that are no pandas."""
    table = pa.table(
        {"a": [1, None, 3, 4], "b": [["x"], [], None, ["y", None]], "c": pa.array([1, 2, 3, 4], pa.uint8())}
    )
    assert round_trip(lib, table)[1].equals(table)
    assert round_trip(lib, table.to_reader(max_chunksize=1))[1].equals(table)
    frame = pl.DataFrame(
        {"a": [1, None, 3], "b": [[1], [], None], "c": pl.Series(["x", "y", "x"], dtype=pl.Categorical)}
    )
    assert round_trip(lib, frame)[1].equals(frame)
    assert round_trip(lib, frame.lazy())[1].equals(frame)


def test_whatever_has_an_arrow_stream(lib):
    """An object of any library that exports ``__arrow_c_stream__``."""
    table = pa.table({"n": np.arange(10)})

    class Exported:
        def __arrow_c_stream__(self, requested_schema=None):
            return table.__arrow_c_stream__(requested_schema)

    assert round_trip(lib, Exported())[1].equals(table)
