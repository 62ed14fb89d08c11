"""Where rows are cut: content decides, and what is not touched stays as it was."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings

from duckvstore.format.rows import chunking
from duckvstore.format.rows.digest import logical_digest
from duckvstore.format.rows.value_rows import Encoded
from duckvstore.format.stored import schema as schemas
from tests.sizes import sized

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
@settings(max_examples=sized(100, full=100))
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


@given(st.integers(0, 12_000), st.integers(40, 3000), st.sampled_from([None, 1, 3, 12_000]), st.booleans())
def test_a_stream_is_cut_as_a_table_is(count, batch_rows, labels, is_sorted):
    """The same pieces, whatever the batches, also where labels are few and gaps are overlong."""
    rows, schema = table(count)
    if labels is not None:
        drawn = np.random.default_rng(count).integers(0, labels, count)
        values_kept = rows if is_sorted else rows.drop(["price", "qty"])
        rows = values_kept.set_column(0, "time", pa.array(np.sort(drawn) if is_sorted else drawn))
        schema = schemas.from_arrow(rows.schema, index=["time"])
    reader = pa.RecordBatchReader.from_batches(rows.schema, rows.to_batches(batch_rows))
    streamed = Encoded("arrow", schema, None, reader)
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


def least_around(hashed, window):
    """Return what ``_minima`` should, looked up row by row."""
    known = [(value, row) for row, value in enumerate(hashed.hashes.tolist()) if hashed.begins_run[row]]
    return [
        row for value, row in known if (value, row) == min(one for one in known if row - window < one[1] < row + window)
    ]


@settings(max_examples=sized(250, full=250))
@given(st.integers(1, 400), st.integers(1, 400), st.sampled_from([1, 7, 20, 64, 300]), st.booleans(), st.integers(0, 9))
def test_boundaries_are_the_least_hashes_whatever_repeats(count, labels, window, is_sorted, seed):
    """Looking at few candidates finds all, however few labels there are and however long their runs."""
    drawn = np.random.default_rng(seed).integers(0, labels, count)
    rows = pa.table({"x": np.sort(drawn) if is_sorted else drawn})
    hashed = chunking._Hashed(rows, ["x"])
    assert chunking._minima(hashed, window).tolist() == least_around(hashed, window)


@settings(max_examples=sized(150, full=150))
@given(st.sampled_from([1, 3, 50, 10_000]), st.booleans(), st.integers(1, 2900), st.integers(0, 3))
def test_an_edit_leaves_boundaries_elsewhere(labels, is_sorted, at, seed):
    """Whatever the labels, those that are far from a row that is inserted, removed or changed are where they were."""
    window, far = 8, 20 * 8
    random = np.random.default_rng(seed)
    drawn = random.integers(0, labels, 3000)
    rows = pa.table({"label": np.sort(drawn) if is_sorted else drawn, "x": random.normal(size=3000)})
    schema = schemas.from_arrow(rows.schema, index=["label"])
    one = pa.table({"label": rows["label"].slice(at, 1), "x": [7.0]})

    def starts(edited, shift):
        found = np.cumsum([piece.num_rows for piece in cut_rows(edited, schema, window)])[:-1].tolist()
        return {row for row in found if row < at - far}, {row - shift for row in found if row - shift > at + far}

    before = starts(rows, 0)
    assert starts(pa.concat_tables([rows.slice(0, at), one, rows.slice(at)]), 1) == before
    assert starts(pa.concat_tables([rows.slice(0, at), one, rows.slice(at + 1)]), 0) == before
    assert starts(pa.concat_tables([rows.slice(0, at), rows.slice(at + 1)]), -1) == before


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


def moment_labels(count):
    moments = pa.array(np.arange(count), pa.timestamp("s")).cast(pa.string())
    return pc.binary_join_element_wise(moments, "+00:00", "")


LABELS = {
    "datetime index": lambda count: pa.array(np.arange(count) * 10**9, pa.timestamp("ns")),
    "text index": lambda count: pa.array([f"key {number:08}" for number in range(count)]),
    "index of moments as text": moment_labels,
    "days of 5000 rows": lambda count: np.arange(count) // 5000,
    "days of 100,000 rows": lambda count: np.arange(count) // 100_000,
    "few labels in turn": lambda count: np.arange(count) % 50,
    "one label": lambda count: np.zeros(count, np.int64),
    "no index": lambda count: None,
    "no index, constant columns first": lambda count: None,
}


@pytest.mark.parametrize("name", LABELS)
def test_rewriting_a_million_rows_after_a_small_edit_shares_nine_tenths(name):
    """A changed cell, a row inserted at the front, 1 % of rows deleted in the middle: whatever the index."""
    count, window = 1_000_000, 8192
    labels = LABELS[name](count)
    columns = {} if labels is None else {"label": labels}
    if "constant" in name:
        columns = {"a": np.zeros(count), "b": np.ones(count), "c": np.full(count, np.nan), "number": np.arange(count)}
    rows = pa.table({**columns, "x": np.random.default_rng(1).normal(size=count)})
    schema = schemas.from_arrow(rows.schema, index=["label"] if labels is not None else [])
    half = count // 2
    cell = rows.slice(half, 1).set_column(rows.num_columns - 1, "x", pa.array([7.0]))
    known = {logical_digest(piece, schema) for piece in cut_rows(rows, schema, window)}
    assert 30 <= len(known) <= 80
    for after in (
        pa.concat_tables([rows.slice(0, half), cell, rows.slice(half + 1)]),
        pa.concat_tables([cell, rows]),
        pa.concat_tables([rows.slice(0, half), rows.slice(half + count // 100)]),
    ):
        new = [piece for piece in cut_rows(after, schema, window) if logical_digest(piece, schema) not in known]
        assert sum(piece.num_rows for piece in new) < count // 10


def widening(count, wide):
    """Return rows of which the last ``wide`` have a thousand times the bytes of the others."""
    texts = ["x" * 10] * count + [f"{number:05}" * 2000 for number in range(wide)]
    rows = pa.table({"text": pa.array(texts, pa.large_string())})
    return rows, schemas.from_arrow(rows.schema)


def test_rows_far_wider_than_others_are_cut_shorter():
    """No piece exceeds the limit in bytes, in a table or a stream, and a stream never holds much more than that."""
    segment_bytes = 100_000
    rows, schema = widening(100_000, 2000)
    limit = chunking.OVERSIZE_SEGMENTS * segment_bytes
    whole = list(chunking.pieces(Encoded("arrow", schema, rows, None), segment_bytes=segment_bytes))
    taken = 0

    def batches():
        nonlocal taken
        for batch in rows.to_batches(500):
            taken += batch.nbytes
            yield batch

    reader = pa.RecordBatchReader.from_batches(rows.schema, batches())
    streamed = []
    given = 0
    for piece in chunking.pieces(Encoded("arrow", schema, None, reader), segment_bytes=segment_bytes):
        assert taken - given <= limit + 2 * 500 * 10_008
        given += piece.nbytes
        streamed.append(piece)
    for pieces in (whole, streamed):
        assert pa.concat_tables(pieces).equals(rows)
        assert max(piece.nbytes for piece in pieces) <= limit


def test_cells_larger_than_a_segment_stand_alone():
    """Each in a piece of its own once a few of them exceed the limit."""
    rows = pa.table({"text": pa.array([chr(97 + number) * 300_000 for number in range(20)], pa.large_string())})
    schema = schemas.from_arrow(rows.schema)
    pieces = list(chunking.pieces(Encoded("arrow", schema, rows, None), segment_bytes=10_000))
    assert pa.concat_tables(pieces).equals(rows)
    assert [piece.num_rows for piece in pieces] == [1] * 20


def test_frames_of_many_columns_are_cut():
    """Ten thousand of them: a few decide."""
    rows = pa.table({f"c{number}": np.arange(300) * 1.5 for number in range(10_000)})
    schema = schemas.from_arrow(rows.schema)
    pieces = list(chunking.pieces(Encoded("arrow", schema, rows, None), segment_bytes=2**17))
    assert sum(piece.num_rows for piece in pieces) == 300
    assert len(pieces) > 10


@pytest.mark.parametrize("batch_rows", [None, 700])
def test_many_columns_have_longer_runs_of_rows(batch_rows):
    """Some 1,000 rows of eight bytes each, as far as that is not more than eight times what a segment should hold."""
    rows = pa.table({f"c{number}": np.arange(8000) * 1.5 + number for number in range(400)})
    schema = schemas.from_arrow(rows.schema)
    reader = None if batch_rows is None else pa.RecordBatchReader.from_batches(rows.schema, rows.to_batches(batch_rows))
    given = Encoded("arrow", schema, rows if reader is None else None, reader)
    pieces = list(chunking.pieces(given, segment_bytes=2**19))
    assert pa.concat_tables(pieces).equals(rows)
    assert 700 < rows.num_rows / len(pieces) < 2800
    assert max(piece.nbytes for piece in pieces) <= chunking.OVERSIZE_SEGMENTS * 8 * 2**19


def test_few_columns_are_cut_as_ever():
    """What a segment should hold is more for many columns alone."""
    usual = 10 * 2**20
    assert [chunking.suited_bytes(count, usual) for count in (0, 9, 1280)] == [usual] * 3
    assert chunking.suited_bytes(5000, usual) == 5000 * 8192
    assert chunking.suited_bytes(100_000, usual) == 8 * usual


@pytest.mark.parametrize("column", [[None] * 2000, [1] * 2000, [1], []], ids=["nulls", "constant", "one", "none"])
@pytest.mark.parametrize("index", [[], ["x"]], ids=["no index", "index"])
def test_rows_without_anything_to_tell_them_apart_are_cut(column, index):
    """All there, in the same pieces each time, none overlong."""
    rows = pa.table({"x": pa.array(column, pa.float64())})
    schema = schemas.from_arrow(rows.schema, index=index)
    pieces = cut_rows(rows, schema)
    assert pa.concat_tables([rows.slice(0, 0), *pieces]).equals(rows)
    assert all(0 < piece.num_rows <= chunking.OVERLONG_WINDOWS * WINDOW for piece in pieces)


@pytest.mark.parametrize(
    "make",
    [
        lambda numbers: pa.array([f"{'a' * 20}{number:06}{'b' * 20}" for number in numbers]),
        lambda numbers: pa.array([f"{number:06}" for number in numbers]).dictionary_encode(),
        lambda numbers: pa.array([f"{number:06}".encode() for number in numbers], pa.binary(6)),
        lambda numbers: pa.array(numbers).cast(pa.decimal128(30, 2)),
        lambda numbers: pa.array(numbers, pa.int32()).cast(pa.date32()),
        lambda numbers: pa.array([[1, number] for number in numbers]),
        lambda numbers: pa.array([[number, 1] for number in numbers], pa.list_(pa.int64(), 2)),
        lambda numbers: pa.array([{"a": 1, "b": str(number)} for number in numbers]),
        lambda numbers: pa.array([[("a", number)] for number in numbers], pa.map_(pa.string(), pa.int64())),
    ],
    ids=["text", "category", "bytes", "decimal", "date", "list", "fixed list", "struct", "map"],
)
def test_columns_of_every_type_decide_by_their_content(make):
    """A row at the front moves nothing, and nulls do not either."""
    schema = schemas.from_arrow(pa.schema([("x", make([0]).type)]))
    whole = make(list(range(5000)))
    column = whole.take(pa.array([number if number % 7 else None for number in range(5000)]))
    rows = pa.table({"x": column})
    assert shared_share(rows, pa.concat_tables([rows.slice(4000, 1), rows]), schema) >= 0.85


def test_bytes_of_text_in_dictionaries_are_those_of_the_text():
    """Rows whose code is missing have no bytes."""
    coded = pa.array(["abc", None, "de", "abc"], pa.large_string()).dictionary_encode()
    schema = schemas.from_arrow(pa.schema([("x", pa.large_string())]))
    assert chunking.logical_bytes(pa.table({"x": coded}), schema) == 8 + 4 * 8
