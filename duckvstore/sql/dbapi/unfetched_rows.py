"""The rows of a cursor's result that were not fetched yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duckvstore.sql.dbapi.pep249 import OperationalError
from duckvstore.sql.results import conversion

if TYPE_CHECKING:
    import pyarrow as pa

    from duckvstore.sql.results.result import Result

ROWS_AT_ONCE = 2048


class UnfetchedRows:
    """The rows of a result from the first that was not fetched yet. For one thread at a time."""

    def __init__(self, result: Result) -> None:
        """Pull nothing yet."""
        self.result = result
        self.is_stopped = False
        self._batches = result.batches()
        self._batch: pa.RecordBatch | None = None
        self._position = 0
        self._rows: list[tuple[Any, ...]] = []
        self._rows_start = 0

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of the rows as they travel; asking for it starts the query."""
        return self.result.carriers().schema

    def _has_more(self) -> bool:
        """Whether there is a row at the position, in the batch that is pulled if need be."""
        while self._batch is None or self._position >= self._batch.num_rows:
            if self.is_stopped:
                self.result.close()
                raise OperationalError("the statement was stopped by cancel(): run it again")
            self._batch, self._position = next(self._batches, None), 0
            self._rows, self._rows_start = [], 0
            if self._batch is None:
                return False
        return True

    def batch(self) -> pa.RecordBatch | None:
        """Return what is left of the batch, or the next one; None at the end."""
        if not self._has_more() or self._batch is None:
            return None
        left = self._batch.slice(self._position)
        self._batch = None
        return left

    def tuples(self, count: int | None) -> list[tuple[Any, ...]]:
        """Return the next ``count`` rows (None: all)."""
        found: list[tuple[Any, ...]] = []
        while (count is None or len(found) < count) and self._has_more():
            found += self._of_batch(None if count is None else count - len(found))
        return found

    def _of_batch(self, wanted: int | None) -> list[tuple[Any, ...]]:
        import pyarrow as pa

        at = self._position - self._rows_start
        if at >= len(self._rows):
            assert self._batch is not None, "asked for after _has_more"  # noqa: S101
            size = self._batch.num_rows if wanted is None else max(wanted, ROWS_AT_ONCE)
            part = pa.Table.from_batches([self._batch.slice(self._position, size)])
            self._rows, self._rows_start, at = conversion.to_tuples(part, self.result.types), self._position, 0
        rows = self._rows[at:] if wanted is None else self._rows[at : at + wanted]
        self._position += len(rows)
        return rows
