"""Where rows are cut into segments: at boundaries that their content defines.

A hash of each row (of its index, or of its values where there is no index) decides: a row begins a segment when its
hash is the least within ``window`` rows on either side. So a row that is inserted, removed or changed moves no
boundary further away than that, and equal rows are cut alike wherever they are. Gaps are longer than the window and
about twice as long on average; where few labels make them overlong, more columns decide. The pieces, in
order, are the rows of the value, and none of them is empty.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from duckvstore.format.stored import schema as schemas
from duckvstore.format.stored.options import SEGMENT_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from duckvstore.format.rows.value_rows import Encoded
    from duckvstore.format.stored.documents import Schema

WINDOW_ROWS_MAX = 2**19
OVERLONG_WINDOWS = 8
OVERSIZE_SEGMENTS = 16  # of what a segment should hold: the limit in bytes where some rows are far wider than others
CONTENT_COLUMNS_MAX = 3
OVERLONG_COLUMNS_MAX = 8
CANDIDATES_PER_WINDOW = 16
NEAR_CANDIDATES = 32
COLUMN_BYTES_MIN = 8 * 2**10  # of a column in a segment: in less, what a column costs by itself outweighs its values
WIDE_SEGMENTS_MAX = 8  # of what a segment should hold: the limit for the sake of many columns
STREAM_SAMPLE_ROWS = 65_536
STREAMED_WINDOWS = 6
HASHED_ROWS = 32_768
TEXT_WORDS_MAX = 16

_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_SEED = np.uint64(0x9E3779B97F4A7C15)
_MISSING = np.uint64(0x5851F42D4C957F2D)  # not the seed: then they would have the least hash of all, and hide others


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


def suited_bytes(column_count: int, segment_bytes: int) -> int:
    """Return how many bytes a segment with this many columns should hold: above ``segment_bytes`` for many columns.

    To write and read a column takes some 50 microseconds in each segment, however few rows that has.
    """
    return min(max(segment_bytes, column_count * COLUMN_BYTES_MIN), WIDE_SEGMENTS_MAX * segment_bytes)


def pieces(encoded: Encoded, *, segment_bytes: int = SEGMENT_BYTES, window: int | None = None) -> Iterator[pa.Table]:
    """Yield the rows of a value cut into segments; a stream is cut as the same rows in a table would be.

    A piece that far exceeds ``segment_bytes``, because its rows are wider than others, is cut again by a window of its
    own. Of a stream that comes to such rows, no more than that is held either; what it then yields may depend on its
    batches.
    """
    found: Iterable[pa.Table] = ()
    segment_bytes = suited_bytes(len(encoded.schema.columns), segment_bytes)
    if encoded.table is not None:
        table = encoded.table
        size = logical_bytes(table, encoded.schema)
        found = cut(table, encoded.schema, window or window_rows(table.num_rows, size, segment_bytes))
        if size <= OVERSIZE_SEGMENTS * segment_bytes:  # so none of them is oversize
            yield from found
            return
    elif encoded.reader is not None:
        found = _cut_stream(encoded.reader, encoded.schema, segment_bytes, window)
    for piece in found:
        yield from _not_oversize(piece, encoded.schema, segment_bytes)


def cut(rows: pa.Table, schema: Schema, window: int) -> list[pa.Table]:
    """Return ``rows`` cut into segments; no rows give none."""
    if not rows.num_rows:
        return []
    bounds = [0, *_bounds(rows, schema, window), rows.num_rows]
    return [rows.slice(start, stop - start) for start, stop in pairwise(bounds)]


def _not_oversize(rows: pa.Table, schema: Schema, segment_bytes: int) -> Iterator[pa.Table]:
    size = logical_bytes(rows, schema)
    if size <= OVERSIZE_SEGMENTS * segment_bytes or rows.num_rows == 1:
        yield rows
        return
    window = window_rows(rows.num_rows, size, segment_bytes)
    smaller = cut(rows, schema, window)
    if len(smaller) == 1:  # few rows: whatever their content
        half = rows.num_rows // 2
        smaller = [rows.slice(0, half), rows.slice(half)]
    for piece in smaller:
        yield from _not_oversize(piece, schema, segment_bytes)


def logical_bytes(rows: pa.Table | pa.RecordBatch, schema: Schema) -> int:
    """Return the bytes that rows take in Arrow in the stored types, whichever of their text is in dictionaries."""
    total = int(rows.nbytes)
    if not any(map(pa.types.is_dictionary, rows.schema.types)):
        return total
    for column, field in zip(rows.columns, schemas.to_arrow(schema), strict=True):
        if pa.types.is_dictionary(column.type) and not pa.types.is_dictionary(field.type):
            total += _dense_bytes(column) - column.nbytes
    return total


def _dense_bytes(column: pa.ChunkedArray | pa.DictionaryArray) -> int:
    """Return the bytes of a dictionary column as large_string, but for what says which are missing."""
    total = 0
    for chunk in column.chunks if isinstance(column, pa.ChunkedArray) else [column]:
        lengths = pc.binary_length(chunk.dictionary).fill_null(0).to_numpy()
        uses = np.bincount(chunk.indices.drop_null().to_numpy(), minlength=len(lengths))
        total += int(uses @ lengths) + 8 * len(chunk)
    return total


class _Hashed:
    """The rows of a table as hashes of some columns, and which of them may begin a segment."""

    def __init__(self, rows: pa.Table | pa.RecordBatch, names: list[str]) -> None:
        columns = [_hash(rows.column(name)) for name in names]
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

    def candidates(self, threshold: float, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Return the rows from ``start`` on that may begin a segment and are in the lowest ``threshold`` of hashes."""
        highest = np.uint64(min(threshold, 1.0) * float(2**64 - 2**11))
        low = self.hashes[start:stop] <= highest if threshold < 1 else np.True_
        return np.flatnonzero(self.begins_run[start:stop] & low) + start


def _deciding_columns(schema: Schema) -> list[str]:
    """Return the columns whose hash decides: the index levels, or else a few of those with the most different values.

    Fixed-width numbers of 32 bits or more; others only when there are none, and nested ones when there is nothing else.
    """
    if schema.index:
        return list(schema.index)
    ranked = _by_promise(schema)
    best = [[name for promise, name in ranked if promise in wanted] for wanted in ((0, 1, 2), (3, 4), (5,))]
    return next((names for names in best if names), [])[:CONTENT_COLUMNS_MAX]


def _by_promise(schema: Schema) -> list[tuple[int, str]]:
    """Return the promise (0 is best) and name of each column, the first of each kind before the second of any.

    Several of one kind may well be constant together; one of another kind hardly is too.
    """
    seen: dict[int, int] = {}
    ranked = []
    for position, field in enumerate(schemas.to_arrow(schema)):
        promise = _promise(field.type)
        seen[promise] = seen.get(promise, 0) + 1
        ranked.append((promise > 2, seen[promise] if promise <= 2 else promise, promise, position, field.name))
    return [(promise, name) for _, _, promise, _, name in sorted(ranked)]


def _promise(kind: pa.DataType) -> int:
    types = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return _promise(kind.storage_type)
    if types.is_dictionary(kind):
        return 3
    if types.is_nested(kind) or types.is_null(kind):
        return 5
    width = kind.bit_width if types.is_primitive(kind) or types.is_decimal(kind) else 0
    if width < 32 or types.is_date(kind):
        return 3 if _has_bytes(kind) else 4
    return 0 if types.is_floating(kind) else 1 if types.is_temporal(kind) else 2


def _has_bytes(kind: pa.DataType) -> bool:
    types = pa.types
    is_text = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    return bool(is_text or types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind))


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
    """Return a number per value that depends on the value alone (for a type that is not known: on nothing)."""
    kind = array.type
    types = pa.types
    if isinstance(kind, pa.BaseExtensionType):
        return _hash_array(array.storage)
    if types.is_dictionary(kind):
        coded = _hash_array(array.dictionary)
        codes = array.indices.fill_null(0).to_numpy().astype(np.int64) if len(coded) else np.zeros(len(array), np.int64)
        return _where_valid(array, coded[codes] if len(coded) else np.zeros(len(array), np.uint64))
    if types.is_boolean(kind):
        return _where_valid(array, array.fill_null(False).to_numpy(zero_copy_only=False).astype(np.uint64))
    if _has_bytes(kind):
        return _where_valid(array, _hash_bytes(array.cast(pa.large_binary())))
    if types.is_struct(kind):
        return _where_valid(array, _hash_fields(array))
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind) or types.is_map(kind):
        return _where_valid(array, _hash_lists(array))
    if types.is_primitive(kind) or types.is_decimal(kind):
        return _where_valid(array, _hash_fixed_width(array))
    return np.zeros(len(array), np.uint64)


def _hash_fixed_width(array: pa.Array) -> np.ndarray:
    width = array.type.bit_width // 8
    raw = np.frombuffer(array.buffers()[1] or b"", np.uint8)[array.offset * width : (array.offset + len(array)) * width]
    if width <= 8:
        return raw.view(f"u{width}").astype(np.uint64, copy=False)
    words = raw.view(np.uint64).reshape(len(array), width // 8)
    hashed = words[:, 0].copy()
    for position in range(1, words.shape[1]):
        _mix(hashed)
        hashed ^= words[:, position]
    return hashed


def _hash_bytes(array: pa.Array) -> np.ndarray:
    """Return a number per text that depends on its length, its first words of eight bytes and its last one."""
    offsets = np.frombuffer(array.buffers()[1] or bytes(8), np.int64)[array.offset : array.offset + len(array) + 1]
    data = np.frombuffer(array.buffers()[2] or b"", np.uint8)[offsets[0] : offsets[-1]]
    padded = np.concatenate([data, np.zeros(8, np.uint8)])
    words = np.ndarray((len(data) + 1,), "<u8", padded, strides=(1,))  # the word that begins at each byte
    starts, stops = offsets[:-1] - offsets[0], offsets[1:] - offsets[0]
    lengths = stops - starts
    hashed: np.ndarray = lengths.astype(np.uint64)
    last = words[np.maximum(stops - 8, starts)]
    last &= ~np.uint64(0) >> (np.uint64(64) - (np.clip(lengths, 1, 8) * 8).astype(np.uint64))
    last[lengths == 0] = 0
    hashed ^= last
    for position in range(min((int(lengths.max(initial=0)) - 1) // 8, TEXT_WORDS_MAX)):
        longer = lengths > 8 * (position + 1)
        if longer.all():
            _mix(hashed)
            hashed ^= words[starts + 8 * position]
            continue
        some = hashed[longer]
        _mix(some)
        hashed[longer] = some ^ words[starts[longer] + 8 * position]
    return hashed


def _hash_fields(array: pa.StructArray) -> np.ndarray:
    hashed = np.full(len(array), _SEED, np.uint64)
    for field in array.flatten():
        hashed ^= _hash_array(field)
        _mix(hashed)
    return hashed


def _hash_lists(array: pa.Array) -> np.ndarray:
    """Return a number per list that depends on its items and their order: a sum over items mixed with their places."""
    if pa.types.is_map(array.type):
        fields = [pa.field("key", array.type.key_type), pa.field("value", array.type.item_type)]
        array = array.cast(pa.list_(pa.struct(fields)))
    lengths = pc.list_value_length(array).fill_null(0).to_numpy().astype(np.int64)
    stops = np.cumsum(lengths)
    items = _hash_array(pc.list_flatten(array)).copy()
    places = np.arange(len(items)) - np.repeat(stops - lengths, lengths)
    _mix(items)
    items += places.astype(np.uint64)
    _mix(items)
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(items, dtype=np.uint64)])
    hashed: np.ndarray = sums[stops] - sums[stops - lengths] + lengths.astype(np.uint64)
    return hashed


def _where_valid(array: pa.Array, values: np.ndarray) -> np.ndarray:
    if not array.null_count:
        return values
    return np.where(pc.is_valid(array).to_numpy(zero_copy_only=False), values, _MISSING)


def _minima(hashed: _Hashed, window: int) -> np.ndarray:
    """Return the rows whose hash is the least of those of runs that begin within ``window`` rows on either side.

    Of equal ones the first counts.
    """
    candidates = _candidates(hashed, window)
    values = hashed.hashes[candidates]
    hopeful = _least_nearby(candidates, values, window)
    firsts = np.searchsorted(candidates, candidates[hopeful] - window, side="right").tolist()
    lasts = np.searchsorted(candidates, candidates[hopeful] + window, side="left").tolist()
    found = []
    for place, first, last in zip(hopeful.tolist(), firsts, lasts, strict=True):
        value = values[place]
        if (values[first:place] > value).all() and (values[place + 1 : last] >= value).all():
            found.append(place)
    rows: np.ndarray = candidates[found]
    return rows


def _least_nearby(rows: np.ndarray, values: np.ndarray, window: int) -> np.ndarray:
    """Return the places of candidates that no near one excludes: few, however many have the same values."""
    places = np.arange(len(rows))
    for step in range(1, min(NEAR_CANDIDATES + 1, len(rows))):
        later = places[places < len(rows) - step]
        excluded = (rows[later + step] - rows[later] < window) & (values[later + step] < values[later])
        places = np.concatenate([later[~excluded], places[len(later) :]])
        earlier = places[places >= step]
        excluded = (rows[earlier] - rows[earlier - step] < window) & (values[earlier - step] <= values[earlier])
        places = np.concatenate([places[: len(places) - len(earlier)], earlier[~excluded]])
    return places


def _candidates(hashed: _Hashed, window: int) -> np.ndarray:
    """Return rows among which are all that can be minima, and no lower one near them is missing.

    Only the lowest hashes are looked at, of which a window has a few when all rows differ. Where runs of equal rows are
    long there are too few: between two that are two windows apart a higher one may be a minimum, so it is looked there
    again for higher ones.
    """
    threshold = CANDIDATES_PER_WINDOW / window
    found = hashed.candidates(threshold)
    while threshold < 1:
        around = np.concatenate([[-window], found, [hashed.count - 1 + window]])
        far = np.flatnonzero(np.diff(around) >= 2 * window)
        if not len(far):
            break
        threshold *= CANDIDATES_PER_WINDOW
        between = [
            hashed.candidates(threshold, max(int(around[place]) + 1, 0), int(around[place + 1])) for place in far
        ]
        found = np.sort(np.concatenate([found, *between]))
    return found


def _bounds(rows: pa.Table, schema: Schema, window: int, *, is_first: bool = True, is_last: bool = True) -> list[int]:
    """Return where segments begin after that of the first row, as far as rows that may follow cannot change it.

    ``is_first`` and ``is_last``: whether these are the value's first and last rows; a part of a stream begins with a
    bound. No bound depends on rows before the one before it, which is why a stream can forget them. The value's first
    and last segments may be short, but have half a window.
    """
    edge = max(window // 2, 1)
    last = rows.num_rows - (edge if is_last else window)
    found = [0]
    is_short = last < (edge if is_first else window)  # for a bound: most values are
    for row in () if is_short else _minima(_Hashed(rows, _deciding_columns(schema)), window).tolist():
        nearest = edge if is_first and len(found) == 1 else window
        if found[-1] + nearest <= row <= last:
            found += [*_inside(rows, schema, window, found[-1], row), row]
    found += _inside(rows, schema, window, found[-1], rows.num_rows if is_last else last)
    return found[1:]


def _inside(rows: pa.Table, schema: Schema, window: int, start: int, stop: int) -> list[int]:
    """Return the bounds inside an overlong gap, none for another: where more columns say so, or else at fixed steps.

    Each lies in full view of what decides it: a window after the one before and a window before the end of the gap.
    """
    longest = OVERLONG_WINDOWS * window
    if stop - start <= longest:
        return []
    deciding = _deciding_columns(schema)
    others = [name for _, name in _by_promise(schema) if name not in deciding]
    gap = _Hashed(rows.slice(start, stop - start), [*deciding, *others[:OVERLONG_COLUMNS_MAX]])
    minima = _minima(gap, window) + start
    bounds = [start]
    while stop - bounds[-1] > longest:
        place = np.searchsorted(minima, bounds[-1] + window)
        is_near = place < len(minima) and minima[place] <= bounds[-1] + longest - window
        bounds.append(int(minima[place]) if is_near else bounds[-1] + longest // 2)
    return bounds[1:]


def _cut_stream(
    batches: Iterable[pa.RecordBatch], schema: Schema, segment_bytes: int, window: int | None
) -> Iterator[pa.Table]:
    """Yield segments while the stream runs; what is held is the last few of them.

    Rows are hashed again with those that follow, so the work is done for several segments at a time.
    """
    held: list[pa.RecordBatch] = []
    row_count = size = wanted = 0
    is_first = True
    for batch in batches:
        if not batch.num_rows:
            continue
        held.append(batch)
        row_count += batch.num_rows
        size += logical_bytes(batch, schema)
        is_oversize = size > OVERSIZE_SEGMENTS * segment_bytes
        if window is None:
            if row_count < STREAM_SAMPLE_ROWS and not is_oversize:
                continue
            window = window_rows(row_count, size, segment_bytes)
        suited = min(window, window_rows(row_count, size, segment_bytes)) if is_oversize else window
        if row_count < STREAMED_WINDOWS * suited or (row_count < wanted and not is_oversize):
            continue
        table = pa.Table.from_batches(held)
        certain = _bounds(table, schema, suited, is_first=is_first, is_last=False)
        for start, stop in pairwise([0, *certain]):
            yield table.slice(start, stop - start)
        done = certain[-1] if certain else 0
        is_first = is_first and not certain
        rest = table.slice(done)
        held, row_count, size = rest.to_batches(), rest.num_rows, logical_bytes(rest, schema)
        wanted = 0 if certain else row_count + suited
    if held:
        table = pa.Table.from_batches(held)
        bounds = _bounds(table, schema, window or window_rows(row_count, size, segment_bytes), is_first=is_first)
        for start, stop in pairwise([0, *bounds, row_count]):
            yield table.slice(start, stop - start)
