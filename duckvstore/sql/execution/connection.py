"""The DuckDB instance of a session: cursors per thread, httpfs, secrets, and the stop button.

Invariant: nothing of a user's environment is changed: the instance is in memory, its secrets are temporary and
are scoped to one library each, and DuckDB never looks at Python variables by itself.
"""

from __future__ import annotations

import importlib.util
import re
import sys
import threading
import weakref
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from duckvstore import forks, progress
from duckvstore.errors import DuckVStoreError, StorageUnavailable, Unsupported
from duckvstore.sql.driver import duckdb_errors
from duckvstore.sql.driver.interrupts import interruptible, plain
from duckvstore.sql.execution import sandbox
from duckvstore.sql.planning.rewrite import literal, quote

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import duckdb

    from duckvstore.objects.base import ObjectStore
    from duckvstore.sql.results.result import Result
    from duckvstore.sql.views.prepared import Prepared


class _Default:
    """The connection that DuckDB makes for itself when it is imported, and closes when the process ends."""

    def lent(self) -> list[object]:
        module = sys.modules.get("duckdb")
        made = getattr(module, "default_connection", None)  # None: another thread is importing it just now
        return [made() if callable(made) else made]

    def start_over(self) -> None:
        pass


_default = _Default()
forks.follow(_default)

_SECRET_PARAMETER = re.compile(r"[A-Za-z_]+")
_BAR_SETTINGS = {"enable_progress_bar_print": "false", "enable_progress_bar": "true"}
RANGE_JOIN_ROWS_MAX = 2**40
_SETS_BAR = re.compile(r"(?:enable|disable)\w*_progress_bar", re.IGNORECASE)


class Seat:
    """What one thread has in a session: a cursor, and the results whose rows are still to come from it.

    DuckDB keeps temporary tables and settings per connection, so they belong to the thread that made them. A
    connection gives the rows of one statement at a time: before another takes over, the rest of its rows is
    pulled into memory. ``lock`` is held while a statement starts.
    """

    def __init__(self, cursor: duckdb.DuckDBPyConnection, *, is_locked: bool = False) -> None:
        """Take ``cursor``, which no other seat uses. ``is_locked``: nothing can be set on it."""
        self.cursor = cursor
        self.is_locked = is_locked
        self.lock = forks.rlock()
        self._waiting: weakref.WeakSet[Result] = weakref.WeakSet()
        self._open: weakref.ref[Result] | None = None
        self._abandoned: deque[Callable[[], None]] = deque()
        self._validates = True
        self._joins_few = False
        self._threshold = 0
        #: the prepared statements over symbols, by name; DuckDB has those of its own on the cursor
        self.prepared: dict[str, Prepared] = {}
        #: whether ``cursor.query_progress`` says how far a statement is, for a bar of ours
        self.tells_progress = not is_locked and progress.is_watched() and self._set_bar(on=True)
        #: how often somebody stopped what runs here
        self.interrupts = 0

    def set_validation(self, *, on: bool) -> None:
        """Say whether the next statement asks anew whether a cached file is still the same.

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
        """Leave bars to DuckDB from now on if ``text``, a statement that is no query, is about its own."""
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


class Connection:
    """A DuckDB instance in memory, opened on first use. Safe to use from many threads."""

    def __init__(self, cage: Callable[[], Path] | None = None) -> None:
        """Open nothing yet. ``cage``: returns the folder that DuckDB is locked in; None: it is not."""
        self._cage = cage
        self._lock = forks.rlock()
        self._instance: duckdb.DuckDBPyConnection | None = None
        self._local = threading.local()
        self._seats: weakref.WeakSet[Seat] = weakref.WeakSet()
        self._secrets: dict[str, dict[str, str | bool]] = {}
        self._has_httpfs = False
        self._closed = False
        forks.follow(self)

    def lent(self) -> list[object]:
        """Return the instance and its cursors."""
        return [self._instance, *(plain(seat.cursor) for seat in forks.copied(self._seats))]

    def start_over(self) -> None:
        """Forget them: the next statement opens an instance of this process."""
        self._instance = None
        self._local = threading.local()
        self._seats = weakref.WeakSet()
        self._secrets.clear()
        self._has_httpfs = False

    def seat(self) -> Seat:
        """Return the calling thread's seat."""
        instance = self._open()
        seat: Seat | None = getattr(self._local, "seat", None)
        if seat is None or self._local.instance is not instance:
            seat = Seat(interruptible(instance.cursor()), is_locked=self._cage is not None)
            self._local.seat, self._local.instance = seat, instance
            with self._lock:
                self._seats.add(seat)
        return seat

    def interrupt(self) -> None:
        """Stop what DuckDB is doing for any thread of this session; it raises there."""
        with self._lock:
            seats = list(self._seats)
        for seat in seats:
            seat.interrupt()

    def side_cursor(self) -> duckdb.DuckDBPyConnection:
        """Return a fresh cursor for a question of our own; the caller closes it."""
        return interruptible(self._open().cursor())

    @property
    def thread_count(self) -> int:
        """How many threads have a seat."""
        return len(self._seats)

    def close(self) -> None:
        """Close every cursor; a result that was not pulled to its end is lost."""
        with self._lock:
            self._closed = True
            instance, self._instance = self._instance, None
            seats = list(self._seats)
        if instance is not None:
            for seat in seats:
                seat.cursor.close()
            instance.close()

    def _open(self) -> duckdb.DuckDBPyConnection:
        with self._lock:
            if self._closed:
                raise DuckVStoreError("this SQL session is closed: get the library again")
            if self._instance is None:
                import duckdb

                made = duckdb.connect(":memory:")
                try:
                    # A worker thread's variables are ours, not the caller's, so DuckDB must not look at them; and
                    # errors as JSON carry the position in the text.
                    for setting in ("python_enable_replacements = false", "errors_as_json = true"):
                        made.execute(f"SET GLOBAL {setting}")
                    if self._cage is not None:
                        sandbox.lock(made, self._cage())
                except BaseException:  # what is not locked yet must never be used
                    made.close()
                    raise
                self._instance = made
            return self._instance

    def try_httpfs(self) -> None:
        """Load httpfs for a file that the user's SQL names, if that needs no network; DuckDB itself tries the rest."""
        with self._lock:
            if not self._has_httpfs and self._cage is None:
                self._has_httpfs = _load_local_httpfs(self._open()) is None

    def admit(self, objects: ObjectStore, prefix: str) -> bool:
        """Make DuckDB able to scan what ``objects`` keeps under the URI ``prefix``.

        Returns False in a sandbox, and when another object store has claimed the same prefix with other credentials:
        then the bytes must come another way. Raises Unsupported when httpfs cannot be loaded.
        """
        if self._cage is not None:
            return False
        if not prefix.startswith("s3://"):
            return True
        parameters = objects.scan_secret()
        with self._lock:
            instance = self._open()
            if not self._has_httpfs:
                load_httpfs(instance)
                self._has_httpfs = True
            if parameters is None:
                return True
            known = self._secrets.get(prefix, {})
            if known.get("ENDPOINT", parameters.get("ENDPOINT")) != parameters.get("ENDPOINT"):
                return False
            if known != dict(parameters):
                name = f"vstore_{list(self._secrets).index(prefix) if prefix in self._secrets else len(self._secrets)}"
                _create_secret(instance, name, prefix, parameters)
                self._secrets[prefix] = dict(parameters)
        return True


def forget_files(cursor: duckdb.DuckDBPyConnection) -> None:
    """Empty DuckDB's cache of files: where an answer broke off it holds a wrong size, and would go on using it."""
    with suppress(Exception):  # a locked configuration: then the session has to be opened again
        own = cursor.cursor()
        try:
            row = own.execute("SELECT current_setting('enable_external_file_cache')").fetchone()
            if row and row[0]:
                own.execute("SET GLOBAL enable_external_file_cache = false")
                own.execute("SET GLOBAL enable_external_file_cache = true")
        finally:
            own.close()


def _create_secret(
    instance: duckdb.DuckDBPyConnection, name: str, scope: str, parameters: Mapping[str, str | bool]
) -> None:
    """Create or replace a temporary secret that counts for URIs under ``scope`` only."""
    import duckdb

    settings = []
    for parameter in parameters:
        if not _SECRET_PARAMETER.fullmatch(parameter):
            raise Unsupported(f"{parameter!r} is no name of a parameter of a DuckDB secret")
        settings.append(f"{parameter} ${parameter.lower()}")
    # Values are bound, since DuckDB's log (if its user turned it on) has the text of every statement.
    text = f"CREATE OR REPLACE TEMPORARY SECRET {quote(name)} (TYPE s3, {', '.join(settings)}, SCOPE {literal(scope)})"
    cursor = instance.cursor()
    try:
        cursor.execute(text, {parameter.lower(): value for parameter, value in parameters.items()})
    except duckdb.Error as error:
        message = duckdb_errors.take_apart(error).message
        for value in parameters.values():
            if isinstance(value, str) and value:
                message = message.replace(value, "…")
        # Not chained: DuckDB's own text may quote the statement, credentials included.
        raise StorageUnavailable(f"DuckDB did not take the settings for {scope}: {message}") from None
    finally:
        cursor.close()


def load_httpfs(instance: duckdb.DuckDBPyConnection) -> None:
    """Load the extension that reads S3: an installed one, the wheel's, or (from the network) a fresh one.

    Raises Unsupported with all three remedies.
    """
    import duckdb

    if _load_local_httpfs(instance) is None:
        return
    try:
        instance.execute("INSTALL httpfs")
        instance.execute("LOAD httpfs")
    except duckdb.Error as error:
        reason = error
    else:
        return
    last = duckdb_errors.take_apart(reason).message.partition("\n")[0]
    raise Unsupported(
        f"DuckDB {duckdb.__version__} needs its extension httpfs to scan S3, and it cannot be loaded ({last}). One of "
        f"these helps: run INSTALL httpfs in DuckDB where there is a network; pip install duckdb-extension-httpfs=="
        f"{duckdb.__version__}; or put httpfs.duckdb_extension under ~/.duckdb/extensions/v{duckdb.__version__}/ "
        "by hand"
    ) from reason


def _load_local_httpfs(instance: duckdb.DuckDBPyConnection) -> duckdb.Error | None:
    """Load httpfs if it is on this machine; return None, or why it could not be loaded."""
    import duckdb

    candidates = ["LOAD httpfs"]
    wheel = httpfs_of_wheel(duckdb.__version__)
    if wheel is not None:
        candidates.append(f"LOAD {literal(str(wheel))}")
    reason: duckdb.Error | None = None
    for statement in candidates:
        try:
            instance.execute(statement)
        except duckdb.Error as error:
            reason = error
        else:
            return None
    return reason


def httpfs_of_wheel(duckdb_version: str) -> Path | None:
    """Return the extension's file in the wheel ``duckdb-extension-httpfs`` of the same release, if installed.

    The wheel is not imported: its own import function would write under the user's home.
    """
    found = importlib.util.find_spec("duckdb_extension_httpfs")
    for folder in (found.submodule_search_locations or []) if found else []:
        path = Path(folder) / "extensions" / f"v{duckdb_version}" / "httpfs.duckdb_extension"
        if path.is_file():
            return path
    return None
