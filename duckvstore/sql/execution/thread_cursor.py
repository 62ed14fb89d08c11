"""The cursor that each thread of a session has, and the results whose rows are still to come from it.

A cursor gives the rows of one statement at a time; nothing that a result needs is taken from it before.
"""

from __future__ import annotations

import re
import threading
import weakref
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from duckvstore import forks, progress
from duckvstore.sql.driver import duckdb_errors
from duckvstore.sql.execution.instances import Instances

if TYPE_CHECKING:
    from collections.abc import Callable

    import duckdb

    from duckvstore.sql.driver.instance import DuckDBInstance
    from duckvstore.sql.execution.transaction import OpenTransaction
    from duckvstore.sql.results.result import Result

_BAR_SETTINGS = {"enable_progress_bar_print": "false", "enable_progress_bar": "true"}
RANGE_JOIN_ROWS_MAX = 2**40
_SETS_BAR = re.compile(r"(?:enable|disable)\w*_progress_bar", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class PreparedStatement:
    """What PREPARE keeps: the text of a statement, and the names of its parameters in the order of their places."""

    text: str
    names: tuple[str, ...]
    is_by_position: bool


class ThreadCursor:
    """What one thread has in a session: a cursor, and the results whose rows are still to come from it.

    DuckDB keeps temporary tables and settings per connection, so they belong to the thread that made them. A
    connection gives the rows of one statement at a time: before another takes over, the rest of its rows is
    pulled into memory. ``lock`` is held while a statement starts.
    """

    def __init__(self, cursor: duckdb.DuckDBPyConnection, *, is_locked: bool = False) -> None:
        """Take ``cursor``, which no other thread uses. ``is_locked``: nothing can be set on it."""
        self.cursor = cursor
        self.is_locked = is_locked
        self.lock = forks.rlock()
        self._waiting: weakref.WeakSet[Result] = weakref.WeakSet()
        self._open: weakref.ref[Result] | None = None
        self._abandoned: deque[Callable[[], None]] = deque()
        self._validates = True
        self._joins_few = False
        self._threshold = 0
        self._keeps_footers = False
        self._kept_before = False
        #: the views and macros over symbols that are on it
        self.instances = Instances()
        #: the transaction that the thread has begun
        self.transaction: OpenTransaction | None = None
        #: the prepared statements over symbols, by name; DuckDB has those of its own on the cursor
        self.prepared: dict[str, PreparedStatement] = {}
        #: whether ``cursor.query_progress`` says how far a statement is, for a bar of this package's
        self.tells_progress = not is_locked and progress.is_watched() and self._set_bar(on=True)
        #: how often somebody stopped what runs here
        self.interrupts = 0

    def set_validation(self, *, on: bool) -> None:
        """Set whether the next statement checks again that cached files are unchanged.

        Segments never change, so a statement that reads nothing else may take them from DuckDB's cache without a
        request. The setting belongs to this cursor: other threads and later statements are not touched.
        """
        if on != self._validates and not self.is_locked:
            mode = "VALIDATE_ALL" if on else "NO_VALIDATION"
            try:
                self.cursor.execute(f"SET SESSION validate_external_file_cache = '{mode}'")
            except Exception as error:
                if on or duckdb_errors.of_signal(error) is not None:
                    raise
                return  # the user has locked the configuration; asking anew is only slower
            self._validates = on

    def set_footers(self, *, kept: bool) -> None:
        """Set whether DuckDB keeps what the footers of the next statement's files say, which it asks for twice or more.

        Of thousands of columns that is most of what a query of a few of them takes. Later statements are not touched.
        """
        if kept == self._keeps_footers or self.is_locked:
            return
        setting = "parquet_metadata_cache"
        try:
            if kept:
                self._kept_before = self.cursor.execute(f"SELECT current_setting('{setting}')").fetchall()[0][0]
            self.cursor.execute(f"SET SESSION {setting} = {kept or self._kept_before}")
        except Exception as error:
            if duckdb_errors.of_signal(error) is not None:
                raise
            return  # the user has locked the configuration
        self._keeps_footers = kept

    def set_range_joins(self, *, of_few: bool) -> None:
        """Say whether the next statement joins so few rows that ranges are compared one by one.

        DuckDB 1.5 crashes in outer joins on two inequalities, by the algorithm that it takes for more than a thousand
        rows on both sides, and of what is in several files it expects more.
        """
        if of_few == self._joins_few or self.is_locked:
            return
        setting = "merge_join_threshold"
        try:
            if of_few:
                self._threshold = self.cursor.execute(f"SELECT current_setting('{setting}')").fetchall()[0][0]
            self.cursor.execute(f"SET SESSION {setting} = {RANGE_JOIN_ROWS_MAX if of_few else self._threshold}")
        except Exception as error:
            if duckdb_errors.of_signal(error) is not None:
                raise
            return  # the user has locked the configuration
        self._joins_few = of_few

    def _set_bar(self, *, on: bool) -> bool:
        """Make DuckDB know how far a statement is and print nothing, or all as it was; return whether it knows."""
        try:
            for setting, value in _BAR_SETTINGS.items():
                self.cursor.execute(f"SET SESSION {setting} = {value}" if on else f"RESET {setting}")
        except Exception:  # noqa: BLE001 - the user has locked the configuration: then there is no bar
            return False
        return on

    def leave_bar(self, text: str) -> None:
        """Leave bars to DuckDB from now on if ``text``, a statement that is not a query, is about its own."""
        if self.tells_progress and _SETS_BAR.search(text):
            self.tells_progress = self._set_bar(on=False)

    def lend(self, result: Result) -> None:
        """Remember that ``result`` will pull its rows from this cursor."""
        self._waiting.add(result)

    def owe(self, result: Result, release: Callable[[], None]) -> None:
        """Call ``release`` before the next statement if ``result`` is garbage by then.

        Not at once: the collector may run inside a call of DuckDB, which must not be entered again.
        """
        weakref.finalize(result, self._abandoned.append, release).atexit = False

    def when_free(self, action: Callable[[], None], result: Result | None) -> None:
        """Call ``action``, which runs statements on the cursor: now, or before the next statement.

        While the rows of another result than ``result`` come from the cursor, a statement would cut them short.
        """
        if self.lock.acquire(blocking=False):  # who has it may be waiting for the rows of ``result``
            try:
                current = self._open() if self._open is not None else None
                if current is None or current is result or current.is_settled:
                    action()
                    return
            finally:
                self.lock.release()
        self._abandoned.append(action)

    def interrupt(self) -> None:
        """Stop what DuckDB is doing on this cursor, from any thread; it raises there. Idle: nothing happens."""
        self.interrupts += 1
        self.cursor.interrupt()

    def open_for(self, result: Result | None) -> None:
        """Make the cursor free for the rows of ``result`` (None: for a statement that only reads)."""
        with self.lock:
            current = self._open() if self._open is not None else None
            if current is not None and current is not result:
                _settle(current)
            for _ in range(len(self._abandoned)):  # what dropped results held, now that no rows are cut short by it
                self._abandoned.popleft()()
            self._open = weakref.ref(result) if result is not None else None

    def forget_transaction(self) -> None:
        """End a transaction that nobody began: DuckDB 1.5 leaves one, aborted, where CREATE … AS PIVOT fails."""
        with suppress(Exception):  # there is none
            self.cursor.execute("ROLLBACK")

    def settle_all(self) -> None:
        """Pull the rows of every result, since the next statement may change what they are made of."""
        with self.lock:
            self.open_for(None)
            waiting = list(self._waiting)
            self._waiting.clear()
            for result in waiting:
                _settle(result)


def _settle(result: Result) -> None:
    """Pull the rest of the rows; an error stays with ``result`` and is raised to who asks for its rows."""
    with suppress(Exception):
        result.settle()


class ThreadCursors(forks.Follower):
    """The cursors of a session's threads. Safe to use from many threads."""

    def __init__(self, instance: DuckDBInstance) -> None:
        """Give none yet: ``instance`` is opened by the first."""
        self._instance = instance
        self._lock = forks.rlock()
        self._local = threading.local()
        self._all: weakref.WeakSet[ThreadCursor] = weakref.WeakSet()
        forks.follow(self)

    def start_over(self) -> None:
        """Forget them: each thread of this process gets one of its own."""
        self._local = threading.local()
        self._all = weakref.WeakSet()

    def current(self) -> ThreadCursor:
        """Return the calling thread's."""
        instance = self._instance.opened()
        found: ThreadCursor | None = getattr(self._local, "found", None)
        if found is None or self._local.instance is not instance:
            found = ThreadCursor(self._instance.cursor(), is_locked=self._instance.is_locked)
            self._local.found, self._local.instance = found, instance
            with self._lock:
                self._all.add(found)
        return found

    def known(self) -> ThreadCursor | None:
        """Return the calling thread's, if it has one; nothing is opened."""
        found: ThreadCursor | None = getattr(self._local, "found", None)
        return found

    def interrupt(self) -> None:
        """Stop what DuckDB is doing for any thread of this session; it raises there."""
        with self._lock:
            everyone = list(self._all)
        for found in everyone:
            found.interrupt()

    def __len__(self) -> int:
        """Return how many threads have one."""
        return len(self._all)
