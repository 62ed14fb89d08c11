"""Where rows are cut: content decides, and what is not touched stays as it was."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings

from duckvstore.format import chunking, values
from duckvstore.format import schema as schemas
from duckvstore.format.digest import logical_digest

WINDOW = 64


def table(count, seed=0, *, has_index=True):
    random = np.random.default_rng(seed)
    columns = {
        "price": random.normal(size=count),
        "qty": random.integers(0, 1000, count),
        "sym": pa.array(random.choice(["a", "bb", None], count).tolist(), pa.large_string()),
    }
    index = {"time": pa.array(np.arange(count) * 1_000_000_007, pa.timestamp("ns"))} if has_index else {}
    made = pa.table({**index, **columns})
    return made, schemas.from_arrow(made.schema, index=list(index))


def cut_rows(rows, schema, window=WINDOW):
    return chunking.cut(rows, schema, window)


def shared_share(before, after, schema, window=WINDOW):
    """Return the share of ``after``'s rows in pieces that ``before`` has too."""
    known = {logical_digest(piece, schema) for piece in cut_rows(before, schema, window)}
    found = cut_rows(after, schema, window)
    return sum(piece.num_rows for piece in found if logical_digest(piece, schema) in known) / after.num_rows


@given(st.integers(0, 3000), st.integers(0, 9), st.booleans(), st.sampled_from([1, 2, 5, 64, 4096]))
def test_the_pieces_are_the_rows_and_none_is_empty(count, seed, has_index, window):
    """Whatever the window, with an index and without."""
    rows, schema = table(count, seed, has_index=has_index)
    pieces = cut_rows(rows, schema, window)
    assert all(piece.num_rows for piece in pieces)
    assert pa.concat_tables([rows.slice(0, 0), *pieces]).equals(rows)
    assert all(piece.num_rows <= chunking.OVERLONG_WINDOWS * window for piece in pieces)


@pytest.mark.parametrize("has_index", [True, False])
def test_pieces_are_about_two_windows_long(has_index):
    """Longer than half a window even at the ends, and not much longer than a few."""
    rows, schema = table(100_000, has_index=has_index)
    sizes = [piece.num_rows for piece in cut_rows(rows, schema)]
    assert min(sizes) >= WINDOW // 2
    assert 1.5 * WINDOW <= np.mean(sizes) <= 3 * WINDOW


@pytest.mark.parametrize("has_index", [True, False])
@settings(max_examples=25)
@given(at=st.integers(0, 9_999), seed=st.integers(0, 3))
def test_an_edit_moves_no_boundary_far_away(has_index, at, seed):
    """Inserting, changing or deleting rows leaves at least 93 % of the rows in pieces that there were before."""
    rows, schema = table(10_000, seed, has_index=has_index)
    one, _ = table(1, 99, has_index=has_index)
    inserted = pa.concat_tables([rows.slice(0, at), one, rows.slice(at)])
    changed = pa.concat_tables([rows.slice(0, at), one, rows.slice(at + 1)])
    deleted = pa.concat_tables([rows.slice(0, at), rows.slice(at + 100)])
    for after in (inserted, changed, deleted):
        assert shared_share(rows, after, schema) >= 0.93


def test_equal_labels_are_not_split_unless_they_are_overlong():
    """A run of rows with one label is in one piece; an overlong one is cut at fixed steps."""
    labels = np.repeat(np.arange(500), 20)
    rows = pa.table({"day": labels, "x": np.arange(len(labels))})
    schema = schemas.from_arrow(rows.schema, index=["day"])
    starts = np.cumsum([0, *(piece.num_rows for piece in cut_rows(rows, schema))])
    assert len(starts) > 20
    assert all(start % 20 == 0 for start in starts)
    constant = pa.table({"x": np.zeros(5000, np.int64)})
    sizes = [piece.num_rows for piece in cut_rows(constant, schemas.from_arrow(constant.schema))]
    assert max(sizes) <= chunking.OVERLONG_WINDOWS * WINDOW
    assert len(sizes) > 5


@given(st.integers(0, 12_000), st.integers(40, 3000))
def test_a_stream_is_cut_as_a_table_is(count, batch_rows):
    """The same pieces, whatever the batches."""
    rows, schema = table(count)
    reader = pa.RecordBatchReader.from_batches(rows.schema, rows.to_batches(batch_rows))
    streamed = values.Encoded("arrow", schema, None, reader)
    found = list(chunking.pieces(streamed, window=WINDOW))
    assert [piece.num_rows for piece in found] == [piece.num_rows for piece in cut_rows(rows, schema)]


@pytest.mark.parametrize(
    "column",
    [
        pa.array(["", "a", None, "länger als acht Bytes"] * 500),
        pa.array([b"x", None] * 1000),
        pa.array([[1], None, []] * 700),
        pa.nulls(2000),
        pa.array([True, False, None] * 700),
        pa.array(["a", "b"] * 1000).dictionary_encode(),
        pa.array([{"a": 1}, None] * 1000),
        pd.array(range(2000), dtype="float32"),
    ],
    ids=str,
)
def test_any_type_can_be_the_only_column(column):
    """Where values repeat there may be few boundaries, but the rows are all there."""
    rows = pa.table({"x": column})
    schema = schemas.from_arrow(rows.schema)
    assert pa.concat_tables(cut_rows(rows, schema)).equals(rows)


def test_text_labels_are_cut_by_content_too():
    """A row at the front moves nothing."""
    rows = pa.table({"key": [f"key {number:08}" for number in range(20_000)], "x": np.arange(20_000)})
    schema = schemas.from_arrow(rows.schema, index=["key"])
    after = pa.concat_tables([pa.table({"key": ["new"], "x": [-1]}), rows])
    assert shared_share(rows, after, schema) >= 0.97


def test_the_window_follows_the_width_of_rows_in_steps():
    """Half of what a segment should hold, as a power of two; the previous one is kept while it fits."""
    assert chunking.window_rows(5_000_000, 5_000_000 * 77, 10 * 2**20) == 65_536
    assert chunking.window_rows(5_000_000, 5_000_000 * 70, 10 * 2**20) == 65_536
    assert chunking.window_rows(1000, 1000 * 77, 10 * 2**20, 32_768) == 32_768
    assert chunking.window_rows(1000, 1000 * 77, 10 * 2**20, 1024) == 65_536
    assert chunking.window_rows(10, 10 * 2**30, 10 * 2**20) == 1
    assert chunking.window_rows(0, 0, 10 * 2**20) == chunking.WINDOW_ROWS_MAX
