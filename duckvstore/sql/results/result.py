"""Result: the rows that a statement gave, pulled from DuckDB as they are asked for.

Every row is pulled exactly once and each form (pandas, polars, Arrow, tuples, a stream) shows the same
rows. What has been pulled is kept, except the part of a long stream that its consumer has had already.
"""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Self

from duckvstore import clock, forks, markup
from duckvstore.errors import DuckVStoreError, InvalidInput, printable
from duckvstore.signals import of_handler
from duckvstore.sql.driver.interrupts import unwrapped
from duckvstore.sql.results import conversion, display
from duckvstore.sql.results.figures import Figures
from duckvstore.sql.values import kinds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    import duckdb
    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from duckvstore.sql.results.plots import Plot

KEPT_BYTES_MAX = 64 * 2**20
ROWS_SHOWN_MAX = 20
_ROWS_PER_FETCH = 2048
_INTERRUPTED = "this statement was interrupted: run it again"
_VERBS = {"create_table": "written", "insert": "added", "copy": "copied", "delete": "deleted", "truncate": "deleted"}


@dataclass(slots=True, eq=False)
class Rows:
    """Rows that DuckDB has yet to give: ``columns`` and ``types`` are known, ``pull`` gives the next batch.

    ``schema`` starts the statement and is called first, once, by who holds ``lock``. ``pull`` returns None at the
    end and raises errors of this package. ``bar`` is entered around several pulls, which then have one progress bar.
    ``release`` gives back whatever the rows needed (registered frames, cached files); it is called once, at the end or
    after an error.
    """

    columns: list[str]
    types: list[str]
    schema: Callable[[], pa.Schema]
    pull: Callable[[], pa.RecordBatch | None]
    release: Callable[[], None]
    lock: AbstractContextManager[Any] = field(default_factory=nullcontext)
    bar: AbstractContextManager[Any] = field(default_factory=nullcontext)

    def followed_by(self, values: Sequence[str]) -> Rows:
        """Return these rows and one more, of text."""
        import pyarrow as pa

        last: list[pa.RecordBatch] = []

        def schema() -> pa.Schema:
            own = self.schema()
            cells = [pa.array([value], field.type) for value, field in zip(values, own, strict=True)]
            last.append(pa.record_batch(cells, schema=own))
            return own

        def pull() -> pa.RecordBatch | None:
            batch = self.pull()
            return last.pop() if batch is None and last else batch

        return Rows(self.columns, self.types, schema, pull, self.release, self.lock, self.bar)


class Result(forks.OfOneProcess):
    """The rows of one statement, in any form, as often as wanted. Safe to use from many threads.

    ``columns`` and ``types``: names and DuckDB types, in order. ``figures``: what was read to get here. ``kind``: of
    the statement ("query", "insert", …).
    Rows are pulled on demand: asking for a form pulls all of them; ``__arrow_c_stream__`` hands them on as they
    come, so that a result larger than memory can go into ``lib.write`` or another engine.
    """

    _instead: ClassVar[str] = "its .arrow() or .df()"

    def __init__(self, rows: Rows | None, figures: Figures | None = None, *, kind: str = "query") -> None:
        """Show ``rows`` (None: the statement gave none). ``kind`` is the statement's."""
        self.figures = figures or Figures()
        self.columns: list[str] = list(rows.columns) if rows else []
        self.types: list[str] = list(rows.types) if rows else []
        self.kind = kind
        self._rows = rows
        self._schema: pa.Schema | None = None
        self._batches: list[pa.RecordBatch] = []
        self._kept_bytes = 0
        self._dropped = 0
        self._row_count = 0
        self._failure: Exception | None = None
        self._cursor_row = 0
        self._chunk: list[tuple[Any, ...]] = []
        self._lock = forks.rlock()

    @classmethod
    def of_table(
        cls, table: pa.Table, figures: Figures, cursor: duckdb.DuckDBPyConnection, *, kind: str = "write"
    ) -> Result:
        """Return a result with the rows of ``table``, whose DuckDB types ``cursor`` tells."""
        batches = iter(table.to_batches())
        types = kinds.read_from(table.schema) or [str(kind) for kind in cursor.from_arrow(table).types]
        rows = Rows(list(table.column_names), types, lambda: table.schema, lambda: next(batches, None), lambda: None)
        return cls(rows, figures, kind=kind)

    @classmethod
    def of_count(cls, count: int, kind: str, figures: Figures, cursor: duckdb.DuckDBPyConnection) -> Result:
        """Return what DuckDB gives for a statement of ``kind`` that changed ``count`` rows: that number."""
        import pyarrow as pa

        figures.changed, figures.verb = count, _VERBS.get(kind, "changed")
        return cls.of_table(pa.table({"Count": pa.array([count], pa.int64())}), figures, cursor)

    def arrow(self) -> pa.Table:
        """Return the rows as a pyarrow Table."""
        return conversion.to_arrow(self.table(), self.types)

    def table(self) -> pa.Table:
        """Return the rows as a pyarrow Table, in the types in which they travel (``kinds.carrier``)."""
        import pyarrow as pa

        self.settle()
        with self._lock:
            if self._dropped:
                raise self._streamed_away()
            table = pa.Table.from_batches(self._batches, schema=self._arrow_schema())
            if len(self._batches) > 1:
                self._batches = table.to_batches()
            return table

    def df(self) -> pd.DataFrame:
        """Return the rows as a pandas DataFrame, with the types that DuckDB's own ``.df()`` gives."""
        return conversion.to_pandas(self.table(), self.columns, self.types)

    def pl(self) -> pl.DataFrame:
        """Return the rows as a polars DataFrame."""
        return conversion.to_polars(self.table(), self.types)

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return the rows as tuples of Python values; times with a zone are in UTC."""
        return conversion.to_tuples(self.table(), self.types)

    def fetchone(self) -> tuple[Any, ...] | None:
        """Return the next row as a tuple, or None after the last."""
        self.settle()
        with self._lock:
            at = self._cursor_row % _ROWS_PER_FETCH
            if at == 0:
                self._chunk = conversion.to_tuples(self.table().slice(self._cursor_row, _ROWS_PER_FETCH), self.types)
            if at >= len(self._chunk):
                return None
            self._cursor_row += 1
            return self._chunk[at]

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Return the rows as an Arrow C stream, pulled from DuckDB as the consumer goes.

        A stream of more than 64 MB is not kept: afterwards no other form can be asked for.
        """
        return self.reader().__arrow_c_stream__(requested_schema)

    def reader(self) -> pa.RecordBatchReader:
        """Return the same stream as a pyarrow reader: its errors are those of this package, which a C stream loses."""
        import pyarrow as pa

        return pa.RecordBatchReader.from_batches(self.schema, map(self.shown, self.batches()))

    def shown(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return rows of ``batches`` in the types of ``schema``."""
        import pyarrow as pa

        table = conversion.to_arrow(pa.Table.from_batches([batch]), self.types)
        return table.to_batches()[0] if table.num_rows else table.schema.empty_table().to_batches()[0]

    def carriers(self) -> pa.RecordBatchReader:
        """Return the rows as a reader, in the types in which they travel."""
        import pyarrow as pa

        return pa.RecordBatchReader.from_batches(self._arrow_schema(), self.batches())

    def settle(self) -> None:
        """Pull every remaining row into memory, so that the connection is free. Raises what the statement raised."""
        with self.given_up_if_stopped(), self.bar:
            while self._pull() is not None:
                pass

    @contextmanager
    def given_up_if_stopped(self) -> Iterator[None]:
        """Give up the rows that are still to come when a signal ends the block, whatever it was doing.

        The traceback may keep this result, and then the next statement would pull the rest: of endless rows, for ever.
        """
        try:
            yield
        except BaseException as error:
            is_stopped = not isinstance(error, Exception | GeneratorExit) or of_handler(error) is not None
            if is_stopped:
                with self._lock:
                    if self._failure is None and self._rows is not None:
                        self._failure = DuckVStoreError(_INTERRUPTED)
                        self._finish()
            raise

    @property
    def bar(self) -> AbstractContextManager[Any]:
        """Enter it around several pulls in one call, so that they show one progress bar, not one each."""
        rows = self._rows
        return rows.bar if rows is not None else nullcontext()

    @property
    def schema(self) -> pa.Schema:
        """The Arrow schema of the rows; asking for it starts the query."""
        return conversion.arrow_schema(self._arrow_schema(), self.types)

    @property
    def is_settled(self) -> bool:
        """Whether no row is still to come from DuckDB."""
        return self._rows is None

    def _arrow_schema(self) -> pa.Schema:
        """Return the schema; the first call starts the statement.

        It takes the lock of the rows before that of this result, as a statement does that waits for a result to be
        pulled to its end: callers that hold this result's lock must have called this before.
        """
        import pyarrow as pa

        rows = self._rows
        with rows.lock if rows is not None and self._schema is None else nullcontext(), self._lock:
            if self._schema is None:
                if self._failure is not None:
                    raise self._failure
                self._schema = self._guarded(self._rows.schema) if self._rows else pa.schema([])
            return self._schema

    def _guarded(self, action: Callable[[], Any]) -> Any:
        """Return ``action()``, timed; after an error the rows are given up and every later call raises it again."""
        return unwrapped(lambda: self._tried(action))

    def _tried(self, action: Callable[[], Any]) -> Any:
        if self._failure is not None:
            raise self._failure
        watch = clock.Stopwatch()
        try:
            return action()
        except Exception as error:
            self._failure = error
            self._finish()
            raise
        except BaseException:
            self._failure = DuckVStoreError(_INTERRUPTED)
            self._finish()
            raise
        finally:
            self.figures.seconds += watch.elapsed_seconds()

    def _pull(self) -> pa.RecordBatch | None:
        """Keep and return the next batch, or return None at the end."""
        if self._rows is not None:
            self._arrow_schema()
        with self._lock:
            if self._failure is not None:
                raise self._failure
            if self._rows is None:
                return None
            batch: pa.RecordBatch | None = self._guarded(self._rows.pull)
            if batch is None:
                self.figures.row_count = self._row_count
                self._finish()
                self.figures.ended()
                return None
            self._batches.append(batch)
            self._kept_bytes += batch.nbytes
            self._row_count += batch.num_rows
            return batch

    def _finish(self) -> None:
        rows, self._rows = self._rows, None
        if rows is not None:
            rows.release()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows as record batches, as they travel, pulled and kept as ``__arrow_c_stream__`` does."""
        index = 0
        self._arrow_schema()
        while (batch := self._batch(index)) is not None:
            yield batch
            index += 1

    def _batch(self, index: int) -> pa.RecordBatch | None:
        """Return the batch of this number, or None after the last; too many that were handed on are forgotten."""
        with self.given_up_if_stopped(), self._lock:
            if index < self._dropped:
                raise self._streamed_away()
            if index - self._dropped == len(self._batches) and self._pull() is None:
                return None
            batch = self._batches[index - self._dropped]
            if self._kept_bytes > KEPT_BYTES_MAX and self._rows is not None:
                del self._batches[: index + 1 - self._dropped]
                self._dropped = index + 1
                self._kept_bytes = sum(kept.nbytes for kept in self._batches)
            return batch

    def _streamed_away(self) -> InvalidInput:
        return InvalidInput(
            "these rows were handed on as a stream and are too many to be kept: run the query again, or call "
            ".arrow() first"
        )

    def _peek(self) -> pa.Table:
        """Return the rows that fit in memory: all of them, if then ``is_settled``."""
        import pyarrow as pa

        with self.given_up_if_stopped(), self.bar:
            self._arrow_schema()
            while self._kept_bytes <= KEPT_BYTES_MAX and self._pull() is not None:
                pass
        with self._lock:
            if self._dropped:
                raise self._streamed_away()
            return pa.Table.from_batches(self._batches, schema=self._arrow_schema())

    def excerpt(self) -> display.Excerpt:
        """Return the rows that are shown: the first and, when the end is known, the last. Raises what the rows do."""
        rows = self._peek()
        first, last = display.shares(rows.num_rows, ROWS_SHOWN_MAX)
        count = rows.num_rows if self.is_settled else None
        if count is None:
            first, last = ROWS_SHOWN_MAX, 0
        # As much of each value as is shown, and a character to tell that there is more.
        starts, ends = (
            conversion.to_texts(part, self.types, display.VALUE_CHARACTERS_MAX + 1)
            for part in (rows.slice(0, first), rows.slice(rows.num_rows - last))
        )
        return display.Excerpt(self.columns, self.types, starts, ends, count)

    @property
    def has_table(self) -> bool:
        """Whether there are rows to show, rather than one line about what the statement did."""
        return bool(self.columns) and self.figures.changed is None

    def _plan(self) -> str:
        return "\n".join(str(row[-1]) for row in conversion.to_tuples(self._peek(), self.types))

    def __repr__(self) -> str:
        """Return the first and last rows as a small text table, and the line of figures."""
        try:
            if self.kind == "explain":
                return f"{printable(self._plan())}\n{self.figures.footer()}"
            shown = self.excerpt()
        except InvalidInput as error:
            return f"<Result: {error}>"
        return display.as_text(shown, self.figures.footer()) if self.has_table else self.figures.footer()

    def _repr_html_(self) -> str:
        """Return the same as ``repr`` does, as HTML in which names and values are text."""
        try:
            if self.kind == "explain":
                return markup.page(markup.preformatted(self._plan()), markup.lines([self.figures.footer()]))
            shown = self.excerpt()
        except InvalidInput as error:
            return markup.lines([f"<Result: {error}>"])
        footer = [self.figures.footer()]
        return display.as_html(shown, footer) if self.has_table else markup.lines(footer)

    def plot(self) -> Plot:
        """Return a picture of the rows: lines over the first column of times or numbers, or bars by category.

        Up to five columns of numbers are drawn, reduced to what can be seen. With Altair installed it is a chart of
        Altair's, else an SVG. Raises InvalidInput when no column holds numbers.

        Examples:
            >>> lib.sql("SELECT time, price FROM trades").plot()
            Plot(price over time, 3 rows)
        """
        from duckvstore.sql.results.plots import Plot

        return Plot.of(self.arrow())

    def close(self) -> None:
        """Give up the rows that were not pulled yet."""
        with self._lock:
            if self._rows is not None:
                self._failure = self._failure or InvalidInput("this result was closed: run the query again")
            self._finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
