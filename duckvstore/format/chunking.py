"""Where rows are cut into segments.

Invariant: the pieces, in order, are the rows of the value, and none of them is empty.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pyarrow as pa

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
        yield from _cut(encoded.table)
    elif encoded.reader is not None:
        yield from _cut_stream(encoded.reader)


def _cut(table: pa.Table) -> Iterator[pa.Table]:
    step = rows_per_segment(table.num_rows, table.nbytes)
    count = -(-table.num_rows // step)
    for position in range(count):  # equal pieces: no small remainder
        start = table.num_rows * position // count
        yield table.slice(start, table.num_rows * (position + 1) // count - start)


def _cut_stream(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    import pyarrow as pa

    held: list[pa.RecordBatch] = []
    row_count = logical_bytes = 0
    for batch in batches:
        if batch.num_rows == 0:
            continue
        held.append(batch)
        row_count += batch.num_rows
        logical_bytes += batch.nbytes
        if row_count >= rows_per_segment(row_count, logical_bytes):
            yield from _cut(pa.Table.from_batches(held))
            held, row_count, logical_bytes = [], 0, 0
    if held:
        yield from _cut(pa.Table.from_batches(held))
