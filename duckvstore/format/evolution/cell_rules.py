"""What the cells of a column say where its type alone does not decide what joins it.

Nothing is read before it is asked for, and answers are exact: a column counts as missing only when none of its rows
has a value, and its bounds include every value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from duckvstore.format.stored import statistics

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa


class Cells(Protocol):
    """The rows of one side of an append or update; columns go by their positions in its schema."""

    @property
    def row_count(self) -> int:
        """How many rows there are."""

    def is_missing(self, position: int) -> bool:
        """Whether no row has a value in this column; also true when there are no rows."""

    def has_missing(self, position: int) -> bool:
        """Whether some row has no value in this column."""

    def bounds(self, position: int) -> tuple[Any, Any] | None:
        """Return the least and the greatest value as ``format.stored.statistics`` has them; None: there is none."""

    def pieces(self, position: int) -> Iterator[pa.ChunkedArray]:
        """Yield all values of this column."""


class TableCells:
    """The cells of a table that is there."""

    def __init__(self, table: pa.Table) -> None:
        """Look at ``table``, in its stored schema."""
        self._table = table

    @property
    def row_count(self) -> int:
        """How many rows there are."""
        return int(self._table.num_rows)

    def is_missing(self, position: int) -> bool:
        """Whether no row has a value in this column."""
        return bool(self._table.column(position).null_count == self._table.num_rows)

    def has_missing(self, position: int) -> bool:
        """Whether some row has no value in this column."""
        return bool(self._table.column(position).null_count)

    def bounds(self, position: int) -> tuple[Any, Any] | None:
        """Return the least and the greatest value; None: there is none."""
        found = statistics.of_column(self._table.column(position))
        return None if found.minimum is None else (found.minimum, found.maximum)

    def pieces(self, position: int) -> Iterator[pa.ChunkedArray]:
        """Yield all values of this column, at once."""
        yield self._table.column(position)
