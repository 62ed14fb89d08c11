"""Many columns of numbers of one type as one array of two dimensions, for work that would be slow column by column."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np

MANY_COLUMNS = 100
BLOCK_BYTES = 8 * 2**20  # of one array: a copy that stays near the processor


def numbers(rows: pa.Table, start: int, stop: int, *, with_nan: bool = False) -> np.ndarray | None:
    """Return the columns from ``start`` to ``stop`` as the rows of one array, in their own type.

    None: they are not numbers of one type, some are null (which may be ``with_nan`` in their place), or they are in
    several chunks.
    """
    with_nan = with_nan and not pa.types.is_float16(rows.schema.types[start])  # of these pyarrow 17 makes 0.0
    batches = rows.select(list(range(start, stop))).to_batches()
    if len(batches) != 1:
        return None
    try:
        found: np.ndarray = batches[0].to_tensor(null_to_nan=with_nan, row_major=False).to_numpy()
    except (pa.ArrowException, TypeError):
        return None
    return found.T


def runs(types: Sequence[pa.DataType], row_count: int) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of columns next to each other, all of them once, that are of one type.

    Many numbers come in runs of as many as a block holds; everything else comes by itself.
    """
    start = 0
    while start < len(types):
        kind = types[start]
        stop = start + 1
        if pa.types.is_integer(kind) or pa.types.is_floating(kind):
            while stop < len(types) and types[stop] == kind:
                stop += 1
        if stop - start < MANY_COLUMNS:
            yield from ((one, one + 1) for one in range(start, stop))
        else:
            step = max(BLOCK_BYTES // max(row_count * kind.bit_width // 8, 1), 1)
            yield from ((first, min(first + step, stop)) for first in range(start, stop, step))
        start = stop
