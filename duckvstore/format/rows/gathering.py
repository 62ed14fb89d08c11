"""Gathering: columns of segments copied into arrays of a whole version, while other segments are still on their way.

A frame's numbers and times are so copied once, and each segment's own rows are let go at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from duckvstore.errors import Integrity
from duckvstore.format.rows import blocks

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Gathered:
    """``table``: rows of a version; ``arrays``: more of its columns, as numpy has them, with NaN and NaT in place."""

    table: pa.Table
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)


class Gathering:
    """Arrays for ``row_count`` rows of the columns ``dtypes``, to be filled by many threads.

    Columns of one dtype lie in one block, one after the other, as pandas has them. Raises MemoryError.
    """

    def __init__(self, dtypes: Mapping[str, np.dtype], row_count: int) -> None:
        """Make room; no memory is touched yet."""
        names: dict[np.dtype, list[str]] = {}
        for name, dtype in dtypes.items():
            names.setdefault(dtype, []).append(name)
        self._arrays: dict[str, np.ndarray] = {}
        self._places: dict[str, tuple[np.ndarray, int]] = {}  # of each column in the block of its dtype
        for dtype, alike in names.items():
            block = np.empty((len(alike), row_count), dtype)
            self._arrays |= zip(alike, block, strict=True)
            self._places |= ((name, (block, place)) for place, name in enumerate(alike))
        self._row_count = row_count
        self._starts: dict[int, int] = {}
        self._apart: dict[str, dict[int, pa.ChunkedArray]] = {}

    def take(self, start: int, rows: pa.Table) -> pa.Table:
        """Copy ``rows``, which begin at row ``start`` of the version, and return the columns without an array."""
        if rows.num_rows:
            self._starts[start] = rows.num_rows
        rest = []
        names = rows.schema.names
        for first, last in blocks.runs(rows.schema.types, rows.num_rows):
            if last - first > 1 and self._take_block(start, rows, names, first, last):
                continue
            for position in range(first, last):
                array = self._arrays.get(names[position])
                if array is None:
                    rest.append(position)
                    continue
                column = rows.column(position)
                if column.null_count and array.dtype.kind in "iu":  # integers cannot be missing
                    self._apart.setdefault(names[position], {})[start] = column
                    continue
                for chunk in column.chunks:
                    array[start : start + len(chunk)] = chunk.to_numpy(zero_copy_only=False)
                    start += len(chunk)
                start -= rows.num_rows
        return rows.select(rest)

    def _take_block(self, start: int, rows: pa.Table, names: list[str], first: int, last: int) -> bool:
        """Copy columns that lie in a block as they do in ``rows``; return whether these do."""
        places = [self._places.get(name) for name in names[first:last]]
        if places[0] is None:
            return False
        block, row = places[0]
        if any(place is None or place[0] is not block or place[1] != row + at for at, place in enumerate(places)):
            return False
        values = blocks.numbers(rows, first, last, with_nan=block.dtype.kind == "f")
        if values is None or values.dtype != block.dtype:
            return False
        block[row : row + last - first, start : start + rows.num_rows] = values
        return True

    def finish(self, table: pa.Table) -> Gathered:
        """Return everything; ``table``: what ``take`` returned, in the order of the rows."""
        if self._arrays and sum(self._starts.values()) != self._row_count:  # else memory of the process would show
            raise Integrity("the segments have not the rows that their version says: verify the library")
        if not table.num_columns:  # so its rows cannot be counted
            table = pa.table({"": pa.nulls(self._row_count)}).select([])
        for name, pieces in self._apart.items():
            array = self._arrays.pop(name)
            chunks: list[pa.Array] = []
            for start, count in sorted(self._starts.items()):
                chunks += pieces[start].chunks if start in pieces else [pa.array(array[start : start + count])]
            table = table.append_column(name, pa.chunked_array(chunks))
        return Gathered(table, self._arrays)
