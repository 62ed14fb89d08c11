"""Connections and cursors of PEP 249 over a session.

Each statement commits at once, as in DuckDB, unless BEGIN came before it. Every error that leaves a
connection or a cursor is an ``Error`` of PEP 249, and rows are pulled from DuckDB as they are fetched.
"""

from __future__ import annotations

import threading
import weakref
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Self

from duckvstore import forks
from duckvstore.errors import DuckVStoreError, printable
from duckvstore.sql.dbapi import pep249
from duckvstore.sql.dbapi.pep249 import (
    DatabaseError,
    DataError,
    Error,
    IntegrityError,
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    Warning,  # noqa: A004 - the names of PEP 249
)
from duckvstore.sql.dbapi.unfetched_rows import UnfetchedRows
from duckvstore.sql.results import conversion
from duckvstore.sql.syntax import effects

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from types import TracebackType

    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from duckvstore.sql.results.result import Result
    from duckvstore.sql.session import Session

# Of the names of columns that a cursor shows.
NAMES_CHARACTERS_MAX = 200
_INTERRUPT_EVERY_SECONDS = 0.05


class Connection(forks.OfOneProcess, forks.Follower):
    """A SQL session of its own. Safe to use from many threads.

    Transactions and temporary tables belong to the thread that made them. One thread's cursors share them, and a
    statement first pulls the rows that other cursors of its thread have still to fetch into memory. Leaving a
    ``with`` block commits (after an error: rolls back) and closes.
    """

    Warning = Warning
    Error = Error
    InterfaceError = InterfaceError
    DatabaseError = DatabaseError
    DataError = DataError
    OperationalError = OperationalError
    IntegrityError = IntegrityError
    InternalError = InternalError
    ProgrammingError = ProgrammingError
    NotSupportedError = NotSupportedError

    #: for clients that colour or complete SQL by its dialect
    dialect = "duckdb"

    def __init__(self, session: Session, name: str) -> None:
        """Take over ``session``; ``name`` says what it is connected to. Use ``Library.connect``."""
        self._session = session
        self._name = name
        self._is_closed = False
        self._was_used = False
        self._cursors: weakref.WeakSet[Cursor] = weakref.WeakSet()
        self._running: dict[object, int] = {}
        self._changed = threading.Condition(forks.rlock())
        forks.follow(self)

    def start_over(self) -> None:
        """Forget what other threads of the process that this one was forked from were running."""
        self._running.clear()
        self._changed = threading.Condition(forks.rlock())

    def __repr__(self) -> str:
        return f"<{'closed ' if self._is_closed else ''}connection to {printable(self._name, is_line=True)}>"

    def cursor(self) -> Cursor:
        """Return a new cursor; makes no request."""
        made = Cursor(self)
        with self._changed:
            self.check_open()
            self._cursors.add(made)
        return made

    def execute(self, operation: str, parameters: Mapping[str, Any] | Sequence[Any] | None = None) -> Cursor:
        """Run ``operation`` on a new cursor and return that; see ``Cursor.execute``."""
        return self.cursor().execute(operation, parameters)

    def commit(self) -> None:
        """Commit the transaction that this thread began with BEGIN; without one there is nothing to do."""
        self._end("COMMIT")

    def rollback(self) -> None:
        """Roll back the transaction that this thread began with BEGIN; without one there is nothing to do."""
        self._end("ROLLBACK")

    def _end(self, statement: str) -> None:
        with self.operation() as session:
            if self._was_used and session.in_transaction:
                session.sql(statement)

    def cancel(self) -> None:
        """Stop what other threads run on this connection or have still to fetch, and wait until nothing of it runs.

        They get OperationalError.
        """
        own = threading.get_ident()
        with self._changed:
            for cursor in self._cursors:
                cursor.stop(unless_of=own)
            stopping = [mark for mark, thread in self._running.items() if thread != own]
            # Repeated, since DuckDB forgets an interrupt that comes before it has begun.
            while any(mark in self._running for mark in stopping):
                self._session.interrupt()
                self._changed.wait(_INTERRUPT_EVERY_SECONDS)

    def close(self) -> None:
        """Stop what runs, roll back what is not committed, and free everything; a second call does nothing."""
        with self._changed:
            if self._is_closed:
                return
            self._is_closed = True
        self.cancel()
        with self._changed:
            cursors = list(self._cursors)
        for cursor in cursors:
            cursor.close()
        with suppress(DuckVStoreError):  # what was not committed is not visible, whatever becomes of it
            if self._was_used and self._session.in_transaction:
                self._session.sql("ROLLBACK")
        self._session.close()

    def __enter__(self) -> Self:
        self.check_open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if not self._is_closed:
                self.rollback() if kind is not None else self.commit()
        finally:
            self.close()

    def check_open(self) -> None:
        """Raise InterfaceError after ``close``."""
        if self._is_closed:
            raise InterfaceError(f"the connection to {self._name} is closed: connect() again")

    @contextmanager
    def operation(self) -> Iterator[Session]:
        """Give the session to an operation that ``cancel`` can stop, and translate its errors."""
        mark = object()
        with self._changed:
            self.check_open()
            self._running[mark] = threading.get_ident()
        try:
            with pep249.translated():
                yield self._session
        finally:
            with self._changed:
                del self._running[mark]
                self._changed.notify_all()

    def run(self, operation: str, parameters: Mapping[str, Any] | Sequence[Any] | None) -> Result:
        """Run ``operation`` in the session, for a cursor."""
        with self.operation() as session:
            self._was_used = True
            return session.sql(operation, parameters)


class Cursor(forks.OfOneProcess):
    """Runs statements and hands out the rows of the last one, each once, in any form. Safe to use from many threads."""

    def __init__(self, connection: Connection) -> None:
        """Belong to ``connection``; use its ``cursor()``."""
        self.connection = connection
        #: how many rows ``fetchmany`` gives by itself
        self.arraysize = 1
        #: the columns, seven items each: name, DuckDB type, -, bytes, digits, digits after the point, -
        self.description: tuple[pep249.Column, ...] | None = None
        self._lock = forks.rlock()
        self._unfetched: UnfetchedRows | None = None
        self._row_count = -1
        self._thread = 0
        self._is_closed = False

    def __repr__(self) -> str:
        if self._is_closed or self.description is None:
            return f"<{'closed ' if self._is_closed else ''}cursor of {self.connection!r}>"
        names = ", ".join(column[0] for column in self.description)
        shown = names if len(names) <= NAMES_CHARACTERS_MAX else f"{names[:NAMES_CHARACTERS_MAX]}…"
        shown = printable(shown, is_line=True)
        return f"<cursor with the columns {shown}: fetchall(), df(), pl() or arrow() gives the rows>"

    @property
    def rowcount(self) -> int:
        """How many rows a statement changed or a query gave; -1 while that is not known."""
        unfetched = self._unfetched
        counted = unfetched.result.figures.row_count if unfetched is not None else None
        return self._row_count if counted is None else counted

    def execute(self, operation: str, parameters: Mapping[str, Any] | Sequence[Any] | None = None) -> Self:
        """Run SQL and return this cursor; rows are pulled when they are fetched.

        ``parameters``: a sequence for ``?``, a mapping for ``$name``. Of several statements, the last one's rows
        are kept. Raises Error.
        """
        with self._lock:
            self._check_open()
            self._forget()
            self._show(operation, self.connection.run(operation, parameters))
        return self

    def executemany(self, operation: str, seq_of_parameters: Iterable[Mapping[str, Any] | Sequence[Any]]) -> Self:
        """Run SQL once for each of ``seq_of_parameters``, in one transaction: all of it counts, or after an error none.

        ``rowcount`` is the sum. Rows are not kept.
        """
        with self._lock:
            self._check_open()
            self._forget()
            is_own = not self._is_in_transaction()
            if is_own:
                self.connection.run("BEGIN", None)
            try:
                total = 0
                for parameters in seq_of_parameters:
                    self._show(operation, self.connection.run(operation, parameters))
                    total = total + self._row_count if total >= 0 and self._row_count >= 0 else -1
                    self._forget()
                if is_own:
                    self.connection.commit()
            except BaseException:
                if is_own and self._is_in_transaction():
                    self.connection.rollback()
                raise
            self._row_count = total
        return self

    def _is_in_transaction(self) -> bool:
        with self.connection.operation() as session:
            return session.in_transaction

    def _forget(self) -> None:
        unfetched, self._unfetched = self._unfetched, None
        self.description, self._row_count = None, -1
        if unfetched is not None:
            unfetched.result.close()

    def _show(self, operation: str, result: Result) -> None:
        """Take ``result``; a count of changed rows is not a table to the caller who asked for the change."""
        tells = not effects.of(result.kind).gives_rows and result.columns in (["Count"], ["Success"])
        if tells and "returning" not in operation.lower():
            with pep249.translated():
                rows = result.fetchall()
            self._row_count = rows[0][0] if result.columns == ["Count"] else -1
        elif result.columns:
            self._unfetched, self._thread = UnfetchedRows(result), threading.get_ident()
            self.description = tuple(map(pep249.described, result.columns, result.types))

    def fetchone(self) -> tuple[Any, ...] | None:
        """Return the next row, or None after the last."""
        rows = self.fetchmany(1)
        return rows[0] if rows else None

    def fetchmany(self, size: int | None = None) -> list[tuple[Any, ...]]:
        """Return the next ``size`` rows (None: ``arraysize``); fewer at the end."""
        wanted = self.arraysize if size is None else size
        with self._fetching() as unfetched:
            return unfetched.tuples(wanted)

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return the rows that are left."""
        with self._fetching() as unfetched:
            return unfetched.tuples(None)

    def arrow(self) -> pa.Table:
        """Return the rows that are left as a pyarrow Table."""
        with self._fetching() as unfetched:
            return conversion.to_arrow(self._table(), unfetched.result.types)

    def _table(self) -> pa.Table:
        """Return the rows that are left, in the types in which they travel."""
        import pyarrow as pa

        with self._fetching() as unfetched:
            return pa.RecordBatchReader.from_batches(unfetched.schema, self._left(unfetched)).read_all()

    def fetch_arrow_table(self) -> pa.Table:
        """Return the rows that are left as a pyarrow Table, under the name that ADBC has for it."""
        return self.arrow()

    def fetch_record_batch(self) -> pa.RecordBatchReader:
        """Return a reader of the rows that are left, which pulls them as it goes."""
        import pyarrow as pa

        with self._fetching() as unfetched:
            result = unfetched.result
            schema = conversion.arrow_schema(unfetched.schema, result.types)
            return pa.RecordBatchReader.from_batches(schema, map(result.shown, self._left(unfetched)))

    def _left(self, unfetched: UnfetchedRows) -> Iterator[pa.RecordBatch]:
        while True:
            with self._lock, self.connection.operation():
                batch = unfetched.batch()
            if batch is None:
                return
            yield batch

    def df(self) -> pd.DataFrame:
        """Return the rows that are left as a pandas DataFrame."""
        with self._fetching() as unfetched, pep249.translated():
            return conversion.to_pandas(self._table(), unfetched.result.columns, unfetched.result.types)

    def pl(self) -> pl.DataFrame:
        """Return the rows that are left as a polars DataFrame."""
        with self._fetching() as unfetched, pep249.translated():
            return conversion.to_polars(self._table(), unfetched.result.types)

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """Return the rows that are left as an Arrow C stream, pulled from DuckDB as the consumer goes."""
        return self.fetch_record_batch().__arrow_c_stream__(requested_schema)

    @contextmanager
    def _fetching(self) -> Iterator[UnfetchedRows]:
        with self._lock:
            self._check_open()
            if self._unfetched is None:
                raise ProgrammingError("there are no results to fetch: execute() a query first")
            with self.connection.operation(), self._unfetched.result.bar:
                yield self._unfetched

    def stop(self, *, unless_of: int) -> None:
        """Give out no more rows of a statement, unless it was the thread ``unless_of`` that ran it."""
        unfetched = self._unfetched
        if unfetched is not None and self._thread != unless_of:
            unfetched.is_stopped = True

    def setinputsizes(self, sizes: Sequence[object]) -> None:  # noqa: ARG002 - as PEP 249 has it
        """Do nothing: parameters are of any size."""
        self._check_open()

    def setoutputsize(self, size: int, column: int | None = None) -> None:  # noqa: ARG002
        """Do nothing: values are of any size."""
        self._check_open()

    def close(self) -> None:
        """Give up the rows that were not fetched; a second call does nothing."""
        with self._lock:
            self._forget()
            self._is_closed = True

    def _check_open(self) -> None:
        self.connection.check_open()
        if self._is_closed:
            raise InterfaceError("this cursor is closed: ask its connection for another one")

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> tuple[Any, ...]:
        row = self.fetchone()
        if row is None:
            raise StopIteration
        return row

    def __enter__(self) -> Self:
        self._check_open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
