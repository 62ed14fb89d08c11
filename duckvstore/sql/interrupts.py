"""Signals while DuckDB works: the stop button, alarms, and whatever else a handler raises.

Invariant: what a signal's handler raises leaves the package as it is, after DuckDB has stopped; no other error is taken
for it, and nothing in between translates or swallows it.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    import duckdb

Outcome = TypeVar("Outcome")

_INTERRUPT_EVERY_SECONDS = 0.05
_WAKE_EVERY_SECONDS = 0.25


class Signalled(BaseException):
    """Carries the exception of a signal's handler past all code that handles errors of DuckDB and of stores."""

    def __init__(self, error: Exception) -> None:
        """Carry ``error``."""
        super().__init__(error)
        self.error = error


class _Unwrapping:
    """Raises what ``Signalled`` carries, where the outermost of several such blocks ends."""

    def __init__(self) -> None:
        self._depth = 0  # of the main thread, the only one that gets signals

    def __enter__(self) -> None:
        if _is_main():
            self._depth += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if _is_main():
            self._depth -= 1
            if isinstance(error, Signalled) and not self._depth:
                raise error.error from error.error.__cause__

    def carried(self, error: BaseException) -> BaseException:
        """Return ``error``, which a handler raised, as it has to be raised here."""
        return Signalled(error) if self._depth and isinstance(error, Exception) else error


#: a block of the public API, at whose end the exception of a signal is raised as it is
unwrapping = _Unwrapping()


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()


def run_interruptibly(
    cursor: duckdb.DuckDBPyConnection, action: Callable[[], Outcome], look: Callable[[], None] = lambda: None
) -> Outcome:
    """Return ``action()``, a call into DuckDB on ``cursor``; what a signal's handler raises stops it at once.

    ``look`` is called now and then by the thread that waits.

    DuckDB makes another error of it, or does not look at signals at all while it works, so on the main thread (the only
    one that gets them) the action runs on a thread of its own while this one waits.
    """
    if not _is_main():
        return action()
    done = threading.Event()
    outcome: list[Any] = [None, None]
    claims: list[bool] = []  # the first one decides whether the action is run

    def work() -> None:
        claims.append(True)
        try:
            if claims[0]:
                outcome[0] = action()
        except BaseException as error:  # noqa: BLE001 - raised again on the waiting thread
            outcome[1] = error
        finally:
            done.set()

    worker = threading.Thread(target=work, name="duckvstore-sql", daemon=True)
    try:
        _start(worker)
        look()
        while not done.wait(_WAKE_EVERY_SECONDS):
            look()
        worker.join()
    except BaseException as error:
        _stop(cursor, worker, done, claims)
        carried = unwrapping.carried(error)
        if carried is error:
            raise
        raise carried from None
    if outcome[1] is not None:
        raise outcome[1]
    result: Outcome = outcome[0]
    return result


class Cursor:
    """A cursor of DuckDB of which ``execute`` and ``sql`` can be interrupted; all else is DuckDB's own."""

    def __init__(self, own: duckdb.DuckDBPyConnection) -> None:
        """Wrap ``own``."""
        self.own = own

    def __getattr__(self, name: str) -> Any:
        """Return what DuckDB's cursor has."""
        return getattr(self.own, name)

    def execute(self, *arguments: Any, **options: Any) -> Any:
        """Run a statement, as DuckDB's cursor does."""
        return run_interruptibly(self.own, partial(self.own.execute, *arguments, **options))

    def sql(self, *arguments: Any, **options: Any) -> Any:
        """Bind a query, or run any other statement, as DuckDB's cursor does."""
        return run_interruptibly(self.own, partial(self.own.sql, *arguments, **options))


def interruptible(own: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """Return ``own`` as one whose statements can be interrupted."""
    return Cursor(own)  # type: ignore[return-value]  # it does all that DuckDB's does


def plain(cursor: duckdb.DuckDBPyConnection | None) -> object:
    """Return DuckDB's own object for one that may be ``interruptible``."""
    return cursor.own if isinstance(cursor, Cursor) else cursor


def _start(worker: threading.Thread) -> None:
    try:
        worker.start()
    except KeyError as error:  # of ``Thread.start``, for a thread that runs already, in place of what a handler raised
        raise error.__context__ or error from None


def _stop(
    cursor: duckdb.DuckDBPyConnection, worker: threading.Thread, done: threading.Event, claims: list[bool]
) -> None:
    """Stop the worker: a thread that is still inside DuckDB when Python ends would abort the process.

    One that has not begun never will, and is not waited for: a signal within ``Thread.start`` may have ended it.
    Repeated, since an interrupt that comes before DuckDB has begun is forgotten; and whatever further signals raise
    meanwhile, the first one counts.
    """
    while not done.is_set():
        try:
            claims.append(False)
            if not claims[0]:
                return
            cursor.interrupt()
            done.wait(_INTERRUPT_EVERY_SECONDS)
        except BaseException:  # noqa: BLE001, S112 - of another signal
            continue
    worker.join()
