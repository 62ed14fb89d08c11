"""``to_pandas()`` of the Arrow table that ``read`` gives of a frame is that frame."""

import uuid

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal

import duckvstore as vs

DAYS = pd.date_range("2026-01-01", periods=3)
FRAMES = {
    "times": pd.DataFrame(
        {
            "whole": pd.array([1, None, 3], dtype="Int64"),
            "flag": pd.array([True, None, False], dtype="boolean"),
            "kind": pd.Categorical(["a", "b", "a"]),
            "zoned": pd.date_range("2026-03-28", periods=3, tz="Europe/Paris"),
            "arrow": pd.Series([1, None, 3], dtype=pd.ArrowDtype(pa.int32()), index=DAYS),
        },
        index=DAYS.rename("t"),
    ),
    "unnamed": pd.DataFrame({"x": [1, 2, 3]}, index=DAYS),
    "range": pd.DataFrame({"x": [1, 2, 3]}),
    "named range": pd.DataFrame({"x": [1, 2, 3]}, index=pd.RangeIndex(5, 11, 2, name="r")),
    "panel": pd.DataFrame({"x": [1, 2, 3]}, index=pd.MultiIndex.from_arrays([DAYS, [5, 6, 7]], names=["t", None])),
    "labels of two levels": pd.DataFrame(np.eye(3), columns=pd.MultiIndex.from_tuples([(1, "b"), (1, "c"), (2, "b")])),
    "whole labels": pd.DataFrame(np.eye(3)),
    "labels of times": pd.DataFrame(np.eye(3), columns=DAYS),
    "equal labels": pd.DataFrame(np.eye(3), columns=["a", "a", "b"]),
    "a label as the index": pd.DataFrame({"t": [1, 2, 3]}, index=DAYS.rename("t")),
    "no columns": pd.DataFrame(index=DAYS),
}


@pytest.fixture
def lib():
    return vs.open(f"memory://notes-{uuid.uuid4()}").create_library("lib")


def arrow(lib, **options):
    return lib.read("s", output_format="pyarrow", **options).data


@pytest.mark.parametrize("name", FRAMES)
def test_the_arrow_table_of_a_frame_becomes_the_frame(lib, name):
    frame = FRAMES[name]
    lib.write("s", frame)
    assert_frame_equal(arrow(lib).to_pandas(), frame, check_freq=False)
    assert_frame_equal(arrow(lib, row_range=(1, 3)).to_pandas(), frame.iloc[1:3], check_freq=False)
    assert_frame_equal(arrow(lib, row_range=(1, 1)).to_pandas(), frame.iloc[1:1], check_freq=False)


def test_of_chosen_columns_and_of_a_series(lib):
    frame = FRAMES["times"]
    lib.write("s", frame)
    assert_frame_equal(arrow(lib, columns=["zoned", "whole"]).to_pandas(), frame[["zoned", "whole"]], check_freq=False)
    assert_frame_equal(arrow(lib, where="whole = 3").to_pandas(), frame.iloc[2:], check_freq=False)
    lib.write("s", frame["whole"])
    assert_frame_equal(arrow(lib).to_pandas(), frame[["whole"]], check_freq=False)
    lib.write("s", FRAMES["range"]["x"].rename(None))
    assert arrow(lib).to_pandas()["value"].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    "column",
    [pd.period_range("2026", periods=3, freq="M"), pd.interval_range(0, 3), pd.arrays.SparseArray([0, 0, 1])],
    ids=lambda column: str(column.dtype),
)
def test_what_arrow_has_not_keeps_its_form_and_the_rest_its_own(lib, column):
    lib.write("s", pd.DataFrame({"a": column, "b": [1, 2, 3]}, index=DAYS))
    found = arrow(lib)
    assert found.column_names == ["index", "a", "b"]
    assert found.to_pandas()["b"].tolist() == [1, 2, 3]


@pytest.mark.parametrize("levels", [1, 2])
def test_an_index_of_intervals_stays_columns(lib, levels):
    index = pd.MultiIndex.from_arrays([pd.interval_range(0, 3), [7, 8, 9]][:levels], names=["k", "j"][:levels])
    lib.write("s", pd.DataFrame({"x": [1, 2, 3]}, index=index if levels == 2 else index.get_level_values(0)))
    found = arrow(lib).to_pandas()
    assert found.columns.tolist() == [*["k", "j"][:levels], "x"]
    assert found["k"].tolist() == [{"left": left, "right": left + 1} for left in range(3)]


def test_such_a_table_is_written_appended_and_altered_as_any(lib):
    lib.write("s", FRAMES["range"])
    lib.write("copy", arrow(lib))
    lib.append("copy", arrow(lib, row_range=(1, 3)))
    assert lib.read("copy").data.to_pandas()["x"].tolist() == [1, 2, 3, 2, 3]
    lib.sql("ALTER TABLE copy RENAME COLUMN x TO y")
    assert lib.read("copy").data.to_pandas()["y"].tolist() == [1, 2, 3, 2, 3]
