"""Where rows are cut into segments: at boundaries that their content defines.

A hash of each row (of its index, or of its values where there is no index) decides: a row begins a segment when its
hash is the least within ``window`` rows on either side. So a row that is inserted, removed or changed moves no
boundary further away than that, and equal rows are cut alike wherever they stand. Gaps are longer than the window and
about twice as long on average. Invariant: the pieces, in order, are the rows of the value, and none of them is empty.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from duckvstore.format import schema as schemas
from duckvstore.format.options import SEGMENT_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from duckvstore.format.documents import Schema
    from duckvstore.format.values import Encoded

WINDOW_ROWS_MAX = 2**19
OVERLONG_WINDOWS = 8
CONTENT_COLUMNS_MAX = 3
CANDIDATES_PER_WINDOW = 16
STREAM_SAMPLE_ROWS = 65_536
STREAMED_WINDOWS = 6
HASHED_ROWS = 32_768

_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_SEED = np.uint64(0x9E3779B97F4A7C15)


def window_rows(row_count: int, logical_bytes: int, segment_bytes: int, previous: int | None = None) -> int:
    """Return the window, in rows, for rows of this average width: half of the rows that ``segment_bytes`` hold.

    It is a power of two, so that it does not follow every change of the data; the ``previous`` one of a symbol is kept
    while it is within a factor of four.
    """
    width = max(logical_bytes / max(row_count, 1), 1 / 8)
    ideal = min(max(segment_bytes / width / 2, 1), WINDOW_ROWS_MAX)
    if previous is not None and ideal / 4 <= previous <= ideal * 4:
        return previous
    return int(2 ** round(np.log2(ideal)))


def pieces(encoded: Encoded, *, segment_bytes: int = SEGMENT_BYTES, window: int | None = None) -> Iterator[pa.Table]:
    """Yield the rows of a value cut into segments; a stream is cut as the same rows in a table would be."""
    if encoded.table is not None:
        table = encoded.table
        size = logical_bytes(table, encoded.schema)
        yield from cut(table, encoded.schema, window or window_rows(table.num_rows, size, segment_bytes))
    elif encoded.reader is not None:
        yield from _cut_stream(encoded.reader, encoded.schema, segment_bytes, window)


def cut(rows: pa.Table, schema: Schema, window: int) -> list[pa.Table]:
    """Return ``rows`` cut into segments; no rows give none."""
    if not rows.num_rows:
        return []
    bounds = _bounds(_Hashed(rows, schema), window)
    return [rows.slice(start, stop - start) for start, stop in pairwise(bounds)]


def logical_bytes(rows: pa.Table | pa.RecordBatch, schema: Schema) -> int:
    """Return the bytes that rows take in Arrow in the stored types, whichever of their text is in dictionaries."""
    total = int(rows.nbytes)
    for column, field in zip(rows.columns, schemas.to_arrow(schema), strict=True):
        if pa.types.is_dictionary(column.type) and not pa.types.is_dictionary(field.type):
            total += _dense_bytes(column) - column.nbytes
    return total


def _dense_bytes(column: pa.ChunkedArray | pa.DictionaryArray) -> int:
    """Return the bytes of a dictionary column, with nothing missing, as large_string."""
    total = 0
    for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
        lengths = pc.binary_length(chunk.dictionary).to_numpy()
        uses = np.bincount(chunk.indices.to_numpy(), minlength=len(lengths))
        total += int(uses @ lengths) + 8 * len(chunk)
    return total


class _Hashed:
    """The rows of a table as hashes, and which of them may begin a segment."""

    def __init__(self, rows: pa.Table | pa.RecordBatch, schema: Schema) -> None:
        columns = [_hash(rows.column(name)) for name in list(schema.index) or _content_columns(schema)]
        self.count = rows.num_rows
        self.hashes = np.empty(self.count, np.uint64)
        # A run of equal rows is not split where it can be helped: only its first row may begin a segment.
        self.begins_run = np.ones(self.count, bool)
        for start in range(0, self.count, HASHED_ROWS):  # small enough to stay in the processor's cache
            stop = min(start + HASHED_ROWS, self.count)
            block = np.full(stop - start, _SEED, np.uint64)
            for column in columns:
                block ^= column[start:stop]
                _mix(block)
            self.hashes[start:stop] = block
            first = max(start, 1)
            np.not_equal(self.hashes[first:stop], self.hashes[first - 1 : stop - 1], out=self.begins_run[first:stop])


def _content_columns(schema: Schema) -> list[str]:
    """Return the columns that are hashed where there is no index: few, and those with the most different values."""
    ranked = sorted(
        (-_promise(field.type), position, field.name) for position, field in enumerate(schemas.to_arrow(schema))
    )
    promising = [name for promise, _, name in ranked if promise < -1][:CONTENT_COLUMNS_MAX]
    return promising or [name for _, _, name in ranked[:CONTENT_COLUMNS_MAX]]


def _promise(kind: pa.DataType) -> int:
    if pa.types.is_floating(kind) and kind.bit_width >= 32:
        return 5
    if pa.types.is_timestamp(kind) or pa.types.is_duration(kind):
        return 4
    if pa.types.is_integer(kind) and kind.bit_width >= 32:
        return 3
    return 1 if _is_text(kind) else 0


def _is_text(kind: pa.DataType) -> bool:
    types = pa.types
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))


def _mix(values: np.ndarray) -> None:
    """Make all bits of each value depend on all that were there: the finaliser of SplitMix64 (Steele et al., 2014)."""
    for shift, factor in ((30, _MIX_1), (27, _MIX_2), (31, None)):
        values ^= values >> np.uint64(shift)
        if factor is not None:
            values *= factor


def _hash(column: pa.ChunkedArray | pa.Array) -> np.ndarray:
    chunks = column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    hashed = [_hash_array(chunk) for chunk in chunks]
    return hashed[0] if len(hashed) == 1 else np.concatenate(hashed or [np.empty(0, np.uint64)])


def _hash_array(array: pa.Array) -> np.ndarray:
    """Return a number per value that depends on the value alone."""
    kind = array.type
    types = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return _hash_array(array.storage)
    if types.is_dictionary(kind):
        coded = _hash_array(array.dictionary)
        codes = array.indices.fill_null(0).to_numpy().astype(np.int64) if len(coded) else np.zeros(len(array), np.int64)
        return _where_valid(array, coded[codes] if len(coded) else np.zeros(len(array), np.uint64))
    if types.is_primitive(kind) and kind.bit_width in (8, 16, 32, 64):
        raw = np.frombuffer(array.buffers()[1], f"u{kind.bit_width // 8}") if array.buffers()[1] else np.empty(0, "u1")
        values = raw[array.offset : array.offset + len(array)].astype(np.uint64, copy=False)
        return _where_valid(array, values)
    if _is_text(kind) or types.is_binary(kind) or types.is_large_binary(kind):
        return _where_valid(array, _hash_bytes(array.cast(pa.large_binary())))
    return _hash_each(array)


def _hash_bytes(array: pa.Array) -> np.ndarray:
    """Return a number per text that depends on its length and its first and last eight bytes."""
    offsets = np.frombuffer(array.buffers()[1], np.int64)[array.offset : array.offset + len(array) + 1]
    data = np.frombuffer(array.buffers()[2] or b"", np.uint8)[offsets[0] : offsets[-1]]
    padded = np.concatenate([data, np.zeros(8, np.uint8)])
    starts, stops = offsets[:-1] - offsets[0], offsets[1:] - offsets[0]
    lengths = stops - starts
    eights = np.lib.stride_tricks.sliding_window_view(padded, 8)
    bits = (np.minimum(lengths, 8) * 8).astype(np.uint64)
    mask = np.where(bits == 64, ~np.uint64(0), (np.uint64(1) << (bits % np.uint64(64))) - np.uint64(1))
    hashed: list[np.ndarray] = [
        np.ascontiguousarray(eights[positions]).view("<u8").ravel() & mask
        for positions in (starts, np.maximum(stops - 8, starts))
    ]
    first, last = hashed
    _mix(first)
    first ^= last
    first ^= lengths.astype(np.uint64)
    return first


def _where_valid(array: pa.Array, values: np.ndarray) -> np.ndarray:
    if not array.null_count:
        return values
    return np.where(pc.is_valid(array).to_numpy(zero_copy_only=False), values, _SEED)


def _hash_each(array: pa.Array) -> np.ndarray:
    from hashlib import blake2b

    def one(value: Any) -> int:
        data = value if isinstance(value, bytes) else repr(value).encode("utf-8", "surrogatepass")
        return int.from_bytes(blake2b(data, digest_size=8).digest(), "little")

    return np.fromiter((one(value) for value in array.to_pylist()), np.uint64, len(array))


def _minima(hashed: _Hashed, window: int) -> np.ndarray:
    """Return the rows whose hash is the least of those of runs that begin within ``window`` rows on either side.

    Of equal ones the first counts. Only hashes below a threshold are looked at: that a window has none happens once in
    e**32, and then there is no boundary in it.
    """
    threshold = np.uint64(min(CANDIDATES_PER_WINDOW / window, 1.0) * float(2**64 - 2**11))
    candidates = np.flatnonzero(hashed.begins_run & (hashed.hashes <= threshold))
    values = hashed.hashes[candidates]
    found = []
    for place, (row, value) in enumerate(zip(candidates.tolist(), values.tolist(), strict=True)):
        first = np.searchsorted(candidates, row - window, side="right")
        last = np.searchsorted(candidates, row + window, side="left")
        if (values[first:place] > value).all() and (values[place + 1 : last] >= value).all():
            found.append(row)
    return np.asarray(found, np.int64)


def _bounds(hashed: _Hashed, window: int) -> list[int]:
    """Return where segments begin, and the number of rows at the end. The first and the last may be short, not tiny."""
    edge = window // 2
    inner = [row for row in _minima(hashed, window).tolist() if row and edge <= row <= hashed.count - edge]
    return _split_overlong([*inner, hashed.count], window)


def _split_overlong(ends: list[int], window: int) -> list[int]:
    """Return 0 and the ``ends`` of runs, of which overlong ones are split at fixed steps from their beginning."""
    bounds = [0]
    for row in ends:
        while row - bounds[-1] > OVERLONG_WINDOWS * window:
            bounds.append(bounds[-1] + OVERLONG_WINDOWS // 2 * window)
        bounds.append(row)
    return bounds


def _certain_bounds(hashed: _Hashed, window: int, *, is_first: bool) -> list[int]:
    """Return the bounds that stay whatever rows follow: those with a whole window of rows behind them."""
    last = hashed.count - window
    edge = window // 2 if is_first else 1
    known = [row for row in _minima(hashed, window).tolist() if edge <= row <= last]
    return _split_overlong([*known, last], window)[1:-1]


def _cut_stream(
    batches: Iterable[pa.RecordBatch], schema: Schema, segment_bytes: int, window: int | None
) -> Iterator[pa.Table]:
    """Yield segments while the stream runs; what is held is the last few of them.

    Rows are hashed again with those that follow, so the work is done for several segments at a time.
    """
    held: list[pa.RecordBatch] = []
    row_count = 0
    is_first = True
    for batch in batches:
        if not batch.num_rows:
            continue
        held.append(batch)
        row_count += batch.num_rows
        if window is None:
            if row_count < STREAM_SAMPLE_ROWS:
                continue
            size = sum(logical_bytes(one, schema) for one in held)
            window = window_rows(row_count, size, segment_bytes)
        if row_count < STREAMED_WINDOWS * window:
            continue
        table = pa.Table.from_batches(held)
        certain = _certain_bounds(_Hashed(table, schema), window, is_first=is_first)
        for start, stop in pairwise([0, *certain]):
            yield table.slice(start, stop - start)
        done = certain[-1] if certain else 0
        is_first = is_first and not certain
        held, row_count = table.slice(done).to_batches(), table.num_rows - done
    if held:
        table = pa.Table.from_batches(held)
        size = sum(logical_bytes(one, schema) for one in held)
        yield from _last(table, schema, window or window_rows(row_count, size, segment_bytes), is_first=is_first)


def _last(rows: pa.Table, schema: Schema, window: int, *, is_first: bool) -> list[pa.Table]:
    """Cut the end of a stream; where it does not begin with the stream's first row, it begins with a boundary."""
    hashed = _Hashed(rows, schema)
    edge = window // 2
    known = [row for row in _minima(hashed, window).tolist() if row <= hashed.count - edge]
    inner = [row for row in known if row >= (edge if is_first else 1)]
    bounds = _split_overlong([*inner, hashed.count], window)
    return [rows.slice(start, stop - start) for start, stop in pairwise(bounds)]
