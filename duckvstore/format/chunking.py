"""Where rows are cut into segments.

Invariant: the pieces, in order, are the rows of the value, and none of them is empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from duckvstore.format import schema as schemas

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from duckvstore.format.documents import Schema
    from duckvstore.format.values import Encoded

# A compromise, measured in tests/benchmarks: small segments prune, share and load in parallel better; each
# costs a request, and DuckDB reads row groups of fewer than 122,880 rows less well.
SEGMENT_LOGICAL_BYTES = 24 * 2**20
SEGMENT_ROWS_MIN = 122_880
SEGMENT_ROWS_MAX = 2**20


def rows_per_segment(row_count: int, logical_bytes: int) -> int:
    """Return the number of rows at which to cut rows of this average width."""
    if row_count == 0:
        return SEGMENT_ROWS_MAX
    wanted = int(SEGMENT_LOGICAL_BYTES * row_count / max(logical_bytes, 1))
    wide = SEGMENT_LOGICAL_BYTES * 4 * row_count // max(logical_bytes, 1)  # very wide rows: below the minimum
    return max(1, min(max(wanted, min(SEGMENT_ROWS_MIN, wide)), SEGMENT_ROWS_MAX))


def pieces(encoded: Encoded) -> Iterator[pa.Table]:
    """Yield the rows of a value cut into segments."""
    if encoded.table is not None:
        yield from _cut(encoded.table, encoded.table.nbytes)
    elif encoded.reader is not None:
        yield from _cut_stream(encoded.reader, encoded.schema)


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


def _cut(table: pa.Table, logical_bytes: int) -> Iterator[pa.Table]:
    step = rows_per_segment(table.num_rows, logical_bytes)
    count = -(-table.num_rows // step)
    for position in range(count):  # equal pieces: no small remainder
        start = table.num_rows * position // count
        yield table.slice(start, table.num_rows * (position + 1) // count - start)


def _cut_stream(batches: Iterable[pa.RecordBatch], schema: Schema) -> Iterator[pa.Table]:
    held: list[pa.RecordBatch] = []
    row_count = size = 0
    for batch in batches:
        if batch.num_rows == 0:
            continue
        held.append(batch)
        row_count += batch.num_rows
        size += logical_bytes(batch, schema)
        if row_count + batch.num_rows > rows_per_segment(row_count, size):  # another batch would be too much
            yield from _cut(pa.Table.from_batches(held), size)
            held, row_count, size = [], 0, 0
    if held:
        yield from _cut(pa.Table.from_batches(held), size)
