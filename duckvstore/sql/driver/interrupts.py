"""Signals while DuckDB works: the stop button, alarms, and whatever else a handler raises.

What a signal's handler raises leaves the package as it is, after DuckDB has stopped; no other error is taken
for it, and nothing in between translates or swallows it.
"""

from __future__ import annotations

import _thread
import inspect
import threading
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from duckvstore.concurrency import Task

if TYPE_CHECKING:
    from collections.abc import Callable

    import duckdb
    import pyarrow as pa

Outcome = TypeVar("Outcome")

_INTERRUPT_EVERY_SECONDS = 0.05
_WAKE_EVERY_SECONDS = 0.25


class Signalled(BaseException):
    """Carries the exception of a signal's handler past all code that handles errors of DuckDB and of stores."""

    def __init__(self, error: Exception) -> None:
        """Carry ``error``."""
        super().__init__(error)
        self.error = error


def unwrapped(action: Callable[[], Outcome]) -> Outcome:
    """Return ``action()``, a block of the public API; what ``Signalled`` carries leaves the outermost as it is.

    Blocks are told apart by the stack alone: a signal may come anywhere, also while something is being counted.
    """
    try:
        return action()
    except Signalled as signalled:
        if _is_unwrapped(above=2):
            raise
        raise signalled.error from signalled.error.__cause__


def to_raise(error: BaseException) -> BaseException:
    """Return ``error``, which a handler raised, as it has to be raised here."""
    return Signalled(error) if isinstance(error, Exception) and _is_unwrapped() else error


def _is_unwrapped(above: int = 0) -> bool:
    """Return whether the caller is called within ``unwrapped``; the innermost ``above`` frames do not count."""
    frame = inspect.currentframe()
    for _ in range(above):
        frame = frame.f_back if frame is not None else None
    while frame is not None:
        if frame.f_code is unwrapped.__code__:
            return True
        frame = frame.f_back
    return False


def run_interruptibly(
    cursor: duckdb.DuckDBPyConnection, action: Callable[[], Outcome], look: Callable[[], None] = lambda: None
) -> Outcome:
    """Return ``action()``, a call into DuckDB on ``cursor``; what a signal's handler raises stops it at once.

    ``look`` is called now and then by the thread that waits.

    DuckDB makes another error of it, or does not look at signals at all while it works, so on the main thread (the only
    one that gets them) the action runs on a thread of its own while this one waits.
    """
    if threading.get_ident() != threading.main_thread().ident:
        return action()
    work = Task(action)
    try:
        _wait_for(work, look)
    except BaseException as error:
        _stop(cursor, work)
        work.forget()
        if to_raise(error) is error:  # in no variable, in which its own frame would keep it, and it that frame
            raise
        raise to_raise(error) from None
    try:
        return work.result()
    finally:
        work.forget()  # a stream, say, keeps DuckDB's connection for as long as it is there


def _wait_for(work: Task[Outcome], look: Callable[[], None]) -> None:
    """Have ``work`` done by a thread of its own, and call ``look`` now and then.

    A function of its own: Python 3.13 does not take an exception at the end of a loop for one within the ``try``
    around that loop.
    """
    _thread.start_new_thread(work.do, ())
    look()
    while not work.wait(_WAKE_EVERY_SECONDS):
        look()


def fetch_arrow(cursor: duckdb.DuckDBPyConnection, query: str) -> pa.Table:
    """Return the rows of ``query``."""

    def fetch() -> Any:
        relation: Any = cursor.sql(query)
        return relation.to_arrow_table() if hasattr(relation, "to_arrow_table") else relation.arrow()

    rows: pa.Table = run_interruptibly(cursor, fetch)
    return rows


class Cursor:
    """A cursor of DuckDB of which these methods can be interrupted; all else is DuckDB's own."""

    def __init__(self, own: duckdb.DuckDBPyConnection) -> None:
        """Wrap ``own``."""
        self.own = own

    def __getattr__(self, name: str) -> Any:
        """Return what DuckDB's cursor has."""
        return getattr(self.own, name)

    def execute(self, *arguments: Any, **options: Any) -> Cursor:
        """Run a statement, as DuckDB's cursor does."""
        run_interruptibly(self.own, partial(self.own.execute, *arguments, **options))
        return self

    def fetchall(self) -> list[tuple[Any, ...]]:
        """Return all rows of the last statement, as DuckDB's cursor does, which runs a query only now."""
        return run_interruptibly(self.own, self.own.fetchall)

    def fetchone(self) -> tuple[Any, ...] | None:
        """Return the next row of the last statement, as DuckDB's cursor does."""
        return run_interruptibly(self.own, self.own.fetchone)

    def sql(self, *arguments: Any, **options: Any) -> Any:
        """Bind a query, or run any other statement, as DuckDB's cursor does."""
        return run_interruptibly(self.own, partial(self.own.sql, *arguments, **options))

    def register(self, *arguments: Any) -> Any:
        """Let DuckDB know an object of Python, as its cursor does, which asks the object what it is."""
        return run_interruptibly(self.own, partial(self.own.register, *arguments))

    def unregister(self, name: str) -> Any:
        """Let DuckDB forget an object of Python, as its cursor does."""
        return run_interruptibly(self.own, partial(self.own.unregister, name))


def interruptible(own: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """Return ``own`` as one whose statements can be interrupted."""
    return Cursor(own)  # type: ignore[return-value]  # it does all that DuckDB's does


def plain(cursor: duckdb.DuckDBPyConnection | None) -> object:
    """Return DuckDB's own object for one that may be ``interruptible``."""
    return cursor.own if isinstance(cursor, Cursor) else cursor


def _stop(cursor: duckdb.DuckDBPyConnection, work: Task[Any]) -> None:
    """Stop what is being done: a thread that is still inside DuckDB when Python ends would abort the process.

    What has not begun is not waited for: there may be no thread. Repeated, since an interrupt that comes before DuckDB
    has begun is forgotten; and whatever further signals raise meanwhile, the first one counts.
    """
    while not work.is_done:
        try:
            if work.cancel():
                return
            cursor.interrupt()
            work.wait(_INTERRUPT_EVERY_SECONDS)
        except BaseException:  # noqa: BLE001, S112 - of another signal
            continue
