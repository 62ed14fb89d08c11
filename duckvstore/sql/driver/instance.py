"""The DuckDB instance of a session: opened on first use, with the secrets that its scans of S3 need.

Nothing of a user's environment is changed: the instance is in memory, its secrets are temporary and
are scoped to one library each, and DuckDB never looks at Python variables by itself.
"""

from __future__ import annotations

import re
import sys
import weakref
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from duckvstore import forks
from duckvstore.errors import DuckVStoreError, StorageUnavailable, Unsupported
from duckvstore.sql.driver import duckdb_errors, httpfs
from duckvstore.sql.driver.interrupts import interruptible, plain
from duckvstore.sql.syntax.literals import literal, quote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import duckdb
    import pyarrow as pa

    from duckvstore.objects.base import ObjectStore

_SECRET_PARAMETER = re.compile(r"[A-Za-z_]+")


class _Default(forks.Follower):
    """The connection that DuckDB makes for itself when it is imported, and closes when the process ends."""

    def lent(self) -> list[object]:
        module = sys.modules.get("duckdb")
        made = getattr(module, "default_connection", None)  # None: another thread is importing it just now
        return [made() if callable(made) else made]

    def start_over(self) -> None:
        pass


_default = _Default()
forks.follow(_default)


class DuckDBInstance(forks.Follower):
    """A DuckDB instance in memory, opened on first use. Safe to use from many threads."""

    def __init__(self, lock_down: Callable[[duckdb.DuckDBPyConnection], None] | None = None) -> None:
        """Open nothing yet. ``lock_down``: takes from DuckDB what a sandbox does not allow; None: it may do all."""
        self._lock_down = lock_down
        self._lock = forks.rlock()
        self._own: duckdb.DuckDBPyConnection | None = None
        self._cursors: weakref.WeakSet[duckdb.DuckDBPyConnection] = weakref.WeakSet()
        self._secrets: dict[str, dict[str, str | bool]] = {}
        self._has_httpfs = False
        self._closed = False
        forks.follow(self)

    @property
    def is_locked(self) -> bool:
        """Whether no setting can be changed on it."""
        return self._lock_down is not None

    def lent(self) -> list[object]:
        """Return the instance and its cursors."""
        return [*map(plain, (self._own, *forks.copied(self._cursors)))]

    def start_over(self) -> None:
        """Forget them: the next statement opens an instance of this process."""
        self._own = None
        self._cursors = weakref.WeakSet()
        self._secrets.clear()
        self._has_httpfs = False

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """Return a fresh cursor, whose statements a signal stops; ``close`` closes it too."""
        made = interruptible(self.opened().cursor())
        with self._lock:
            self._cursors.add(made)
        return made

    def close(self) -> None:
        """Close every cursor; a result that was not pulled to its end is lost."""
        with self._lock:
            self._closed = True
            own, self._own = self._own, None
            cursors = list(self._cursors)
        if own is not None:
            for cursor in cursors:
                cursor.close()
            own.close()

    def opened(self) -> duckdb.DuckDBPyConnection:
        """Return the instance itself."""
        with self._lock:
            if self._closed:
                raise DuckVStoreError("this SQL session is closed: get the library again")
            if self._own is None:
                import duckdb

                made = interruptible(duckdb.connect(":memory:"))
                try:
                    # A worker thread's variables are not the caller's, so DuckDB must not look at them; and errors as
                    # JSON carry the position in the text.
                    for setting in ("python_enable_replacements = false", "errors_as_json = true"):
                        made.execute(f"SET GLOBAL {setting}")
                    if self._lock_down is not None:
                        self._lock_down(made)
                except BaseException:  # what is not locked yet must never be used
                    made.close()
                    raise
                self._own = made
            return self._own

    def try_httpfs(self) -> bool:
        """Load httpfs, if that needs no network and may be; return whether it is there."""
        with self._lock:
            if not self._has_httpfs and self._lock_down is None:
                self._has_httpfs = httpfs.load_local(self.opened()) is None
            return self._has_httpfs

    def admit(self, objects: ObjectStore, prefix: str) -> bool:
        """Make DuckDB able to scan what ``objects`` keeps under the URI ``prefix``.

        Returns False in a sandbox, and when another object store has claimed the same prefix with other credentials:
        then the bytes must come another way. Raises Unsupported when httpfs cannot be loaded.
        """
        if self._lock_down is not None:
            return False
        if not prefix.startswith("s3://"):
            return True
        parameters = objects.scan_secret()
        with self._lock:
            instance = self.opened()
            if not self._has_httpfs:
                httpfs.load(instance)
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
    cursor = interruptible(instance.cursor())
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


@contextmanager
def registered(cursor: duckdb.DuckDBPyConnection, name: str, table: pa.Table) -> Iterator[None]:
    """Let ``cursor`` know a table by this name, for the length of a block."""
    import duckdb

    try:
        cursor.register(name, table)
    except duckdb.CatalogException:  # a block before could not let go of it: its transaction had been aborted
        cursor.execute(f"DROP VIEW IF EXISTS {name}")
        cursor.register(name, table)
    try:
        yield
    finally:
        with suppress(duckdb.TransactionException):
            cursor.unregister(name)
