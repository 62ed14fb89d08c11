"""The order of rows by time: whether the first index level, if it holds times, ascends, and what it spans.

This is derived from the stored rows, whatever kind of value they came in (a DatetimeIndex, a panel whose first
level is of times, an Arrow table with an index column), and exact to the unit of the level.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pyarrow as pa

from duckvstore.format.stored import schema as schemas

if TYPE_CHECKING:
    from collections.abc import Iterator

    from duckvstore.format.rows.value_rows import Encoded
    from duckvstore.format.stored.documents import Schema


@dataclass(slots=True)
class Order:
    """What is known of the times that were added: ``is_sorted`` is whether they ascend; a missing one is in no order.

    ``low`` and ``high``: the least and the greatest, in the unit of the level; None: there is none.
    """

    is_sorted: bool = True
    has_missing: bool = False
    low: int | None = None
    high: int | None = None
    _last: int | None = None

    def add(self, times: pa.ChunkedArray | pa.Array) -> None:
        """Take the times of the next rows."""
        for chunk in times.chunks if isinstance(times, pa.ChunkedArray) else (times,):
            present = chunk
            if chunk.null_count:
                self.is_sorted, self.has_missing = False, True
                present = chunk.drop_null()
            if not len(present):
                continue
            ticks = present.view(pa.int64()).to_numpy()
            first, last = int(ticks[0]), int(ticks[-1])
            follows = self._last is None or first >= self._last
            self.is_sorted = self.is_sorted and follows and not bool((ticks[1:] < ticks[:-1]).any())
            low, high = (first, last) if self.is_sorted else (int(ticks.min()), int(ticks.max()))
            self.low = low if self.low is None else min(self.low, low)
            self.high = high if self.high is None else max(self.high, high)
            self._last = last


def of_times(times: pa.ChunkedArray | pa.Array) -> Order:
    """Return the order of a column of times."""
    found = Order()
    found.add(times)
    return found


def ascending(times: pa.ChunkedArray) -> pa.Array:
    """Return the numbers of the rows in the order of their times, of which none is missing; equal ones keep theirs."""
    ticks = pa.chunked_array([chunk.view(pa.int64()) for chunk in times.chunks], pa.int64()).to_numpy()
    return pa.array(ticks.argsort(kind="stable"))


def time_level(schema: Schema) -> str | None:
    """Return the stored name of the first index level if it is of times."""
    if not schema.index:
        return None
    name = schema.index[0]
    return name if pa.types.is_timestamp(schemas.to_arrow(schema).field(name).type) else None


def of_encoded(encoded: Encoded) -> Order | None:
    """Return the order of a value's rows; None: it has no times, or they are yet to be streamed."""
    name = time_level(encoded.schema)
    if name is None:
        return None
    if encoded.table is not None:
        return of_times(encoded.table.column(name))
    return None if encoded.first_level is None else of_times(encoded.first_level)


def watched(encoded: Encoded, column: str | None, found: Order) -> Encoded:
    """Return a streamed value whose times, in the stored column ``column``, are added to ``found`` as they are read.

    Rows of a stream without this column, or with no times in it, are rows without a time.
    """
    reader = encoded.reader
    if reader is None or column is None:
        return encoded
    names = reader.schema.names
    has_times = column in names and pa.types.is_timestamp(reader.schema.field(column).type)

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in reader:
            found.add(batch.column(column) if has_times else pa.nulls(batch.num_rows, pa.timestamp("us")))
            yield batch

    return replace(encoded, reader=pa.RecordBatchReader.from_batches(reader.schema, batches()))
