"""Objects as rows of one table in a SQL database, through SQLAlchemy.

Tested on SQLite and PostgreSQL. MySQL, MariaDB, Oracle and SQL Server are a matter of a URL and an installed driver,
and are untested. A SQLite file gives the room of deleted objects to new ones; it shrinks by ``VACUUM`` only.
One call is one transaction, and a key is the table's primary key: a second create violates it, whoever
sends it. Nothing here repeats a create whose first COMMIT may still have taken effect.
"""

from __future__ import annotations

import os
import re
from datetime import UTC
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from duckvstore import clock, forks
from duckvstore.errors import (
    AccessDenied,
    AlreadyExists,
    DuckVStoreError,
    InvalidInput,
    NoSuchKey,
    OutcomeUnknown,
    StorageUnavailable,
    Unsupported,
)
from duckvstore.objects.base import DeleteFailure, Listed, ObjectStore
from duckvstore.objects.keys import batches, check_key
from duckvstore.objects.keyset import list_by_pages
from duckvstore.telemetry import retried

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from sqlalchemy import Connection, Engine, Table
    from sqlalchemy.engine import URL

    from duckvstore.objects.base import DeleteFailures

URL_PREFIX = "sql+"
TABLE_DEFAULT = "duckvstore_objects"
OPTIONS = ("password", "table")
KEY_BYTES_MAX = 900  # what every dialect can index

_ATTEMPTS_MAX = 5
_OBJECT_BYTES_MAX = 950_000_000  # SQLite and PostgreSQL end at a billion bytes per value
_DELETE_KEYS_MAX = 500  # dialects differ in how many values one IN may have
_LOCK_SECONDS_MAX = 60
_INT32_MAX = 2**31 - 1
_CONNECTIONS_KEPT = 8
_WAIT_FOR_CONNECTION_SECONDS_MAX = 120
_TABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,59}")
_SECRET_NAME = re.compile(r"pass|pwd|secret|token|odbc_connect", re.IGNORECASE)
_SLICING_DIALECTS = {"sqlite", "postgresql", "mysql", "mariadb"}  # their substr() takes bytes; elsewhere the whole
_TIMES = {  # the server's own time in UTC, as a value without time zone
    "postgresql": "SELECT clock_timestamp() AT TIME ZONE 'UTC'",
    "mysql": "SELECT utc_timestamp(6)",
    "mariadb": "SELECT utc_timestamp(6)",
    "oracle": "SELECT sys_extract_utc(systimestamp) FROM dual",
    "mssql": "SELECT sysutcdatetime()",
}
_DENIED = re.compile(
    r"authentication failed|access denied|permission denied|readonly database|read-only|login failed|"
    r"insufficient privilege|ORA-01017|ORA-01031|no password supplied",
    re.IGNORECASE,
)
_TOLD_TO_REPEAT = re.compile(r"deadlock|could not serialize|try restarting transaction", re.IGNORECASE)
_BUSY = re.compile(r"database (?:table )?is locked", re.IGNORECASE)

_Entries: TypeAlias = list[Listed]  # inside the class ``list`` is its method
_Keys: TypeAlias = list[str]
_T = TypeVar("_T")


class SqlObjects(ObjectStore):
    """Bytes under keys as rows of a table, which is made at the first write."""

    def __init__(self, url: str, *, password: str | None = None, table: str | None = None) -> None:
        """Remember where the objects are; nothing is asked of the database yet.

        Args:
            url: ``sql+`` before what SQLAlchemy takes: ``sql+sqlite:////folder/file.db``,
                ``sql+postgresql+psycopg://user@host/database``; ``#name`` at its end is the table.
            password: what the database asks the user of the URL for; it is in no URL, error or repr.
            table: name of the table, ``duckvstore_objects`` unless the URL has another.

        Raises InvalidInput for a URL without a database or with a password, Unsupported where a driver is missing.
        """
        self._password = password
        address, self._table_name = _split_table(url, table)
        self._address = _checked_address(address)
        shown = URL_PREFIX + self._address.render_as_string(hide_password=True)
        self.url = shown if self._table_name == TABLE_DEFAULT else f"{shown}#{self._table_name}"
        self._dialect = self._address.get_backend_name()
        self._table = _table(self._table_name)
        self._engines: forks.PerProcess[Engine] = forks.PerProcess()
        self._table_is_there = False
        self._check_driver()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the way to open it again."""
        return partial(SqlObjects, password=self._password), (self.url,)

    # -- the database -------------------------------------------------------------------------------------------

    def _check_driver(self) -> None:
        from sqlalchemy.exc import NoSuchModuleError

        try:
            self._address.get_dialect().import_dbapi()
        except NoSuchModuleError as error:
            raise InvalidInput(
                f"SQLAlchemy knows no database {self._address.drivername!r}: use sqlite, postgresql+psycopg or another "
                "that is installed"
            ) from error
        except ImportError as error:
            raise Unsupported(f"{self.url} needs the package {error.name}: pip install {error.name}") from error

    def _make_engine(self) -> Engine:
        from sqlalchemy import create_engine, event

        is_sqlite = self._dialect == "sqlite"
        engine = create_engine(
            self._address.set(password=self._password) if self._password is not None else self._address,
            hide_parameters=True,  # they are users' data
            pool_size=_CONNECTIONS_KEPT,
            max_overflow=_CONNECTIONS_KEPT,
            pool_timeout=_WAIT_FOR_CONNECTION_SECONDS_MAX,
            connect_args={"timeout": _LOCK_SECONDS_MAX} if is_sqlite else {},
        )
        if is_sqlite:
            event.listen(engine, "connect", _make_commits_durable)
        forks.close_with(self, engine.dispose)
        return engine

    def _transaction(self, action: str, work: Callable[[Connection], _T], *, is_create: bool = False) -> _T:
        """Do ``work`` and commit it, again where the database dropped or refused it for the moment.

        A create is repeated only while no COMMIT was sent. Raises IntegrityError as it comes.
        """
        from sqlalchemy.exc import IntegrityError, SQLAlchemyError

        for attempt in range(_ATTEMPTS_MAX):
            commit_was_sent = False
            try:
                with self._engines.get(self._make_engine).connect() as connection:
                    result = work(connection)
                    commit_was_sent = True
                    self._commit(connection)
                    return result
            except IntegrityError:
                raise
            except SQLAlchemyError as error:
                if is_create and commit_was_sent and not _BUSY.search(_reason(error)):
                    raise OutcomeUnknown(
                        f"{self.url}: cannot {action}: no answer to COMMIT came ({self._redacted(error)}): it may or "
                        "may not exist now; look before repeating"
                    ) from error
                if attempt == _ATTEMPTS_MAX - 1 or not _is_passing(error):
                    raise self._mapped(error, action) from error
                retried(self.url, attempt, error)
            clock.back_off(attempt, 0.05, 10.0)
        raise AssertionError

    def _commit(self, connection: Connection) -> None:
        from sqlalchemy.exc import SQLAlchemyError

        try:
            connection.commit()
        except SQLAlchemyError:
            # SQLAlchemy takes a transaction for ended whose COMMIT failed, and would hand out the connection with it
            # still open: a SQLite file stays locked, and the next commit makes the row appear after all.
            connection.invalidate()
            raise

    def _mapped(self, error: Exception, action: str) -> DuckVStoreError:
        what = f"{self.url}: cannot {action} ({self._redacted(error)})"
        if _DENIED.search(_reason(error)):
            return AccessDenied(f"{what}: correct the user or storage option 'password', or ask for permission")
        if self._dialect == "sqlite" and "unable to open" in _reason(error):
            return StorageUnavailable(f"{what}: make the folder of {self._address.database}, or correct the path")
        if _BUSY.search(_reason(error)):
            return StorageUnavailable(f"{what}: another program held the file for {_LOCK_SECONDS_MAX} s: try again")
        return StorageUnavailable(f"{what}: check that the database runs and can be reached, then repeat")

    def _redacted(self, error: Exception) -> str:
        reason = _reason(error)
        return reason.replace(self._password, "…") if self._password else reason

    def _has_table(self, connection: Connection) -> bool:
        from sqlalchemy import inspect

        if not self._table_is_there:
            self._table_is_there = inspect(connection).has_table(self._table_name)
        return self._table_is_there

    def _has_file(self) -> bool:
        """Return whether there is a database to read; looking into a missing SQLite file would make it."""
        return self._dialect != "sqlite" or Path(str(self._address.database)).exists()

    def _make_table(self) -> None:
        from sqlalchemy.exc import IntegrityError

        if self._table_is_there:
            return
        action = f"make table {self._table_name!r}"
        try:
            self._transaction(action, lambda connection: self._table.create(connection, checkfirst=True))
        except StorageUnavailable:
            # Of two that make it at the same moment one is refused, each dialect in its own words.
            if not self._transaction(action, self._has_table):
                raise
        except IntegrityError as error:  # PostgreSQL's words for it
            if not self._transaction(action, self._has_table):
                raise self._mapped(error, action) from error
        self._table_is_there = True

    # -- the contract -----------------------------------------------------------------------------------------------

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:  # noqa: D102
        from sqlalchemy import LargeBinary, func, select

        check_key(key)
        column: Any = self._table.c.data
        is_slice = bool(start) or length is not None
        is_sliced_there = is_slice and self._dialect in _SLICING_DIALECTS and start < _INT32_MAX
        if is_sliced_there:
            count = min(max(_INT32_MAX if length is None else length, 0), _INT32_MAX - start)
            column = func.substr(column, start + 1, count, type_=LargeBinary())
        query = select(column).where(self._table.c.object_key == key.encode())

        def work(connection: Connection) -> Any:
            return connection.execute(query).first() if self._has_table(connection) else None

        row = self._transaction(f"read {key!r}", work) if self._has_file() else None
        if row is None:
            raise NoSuchKey(f"{self.url} has no object {key!r}")
        data = bytes(row[0] or b"")  # Oracle knows no empty value but NULL
        return data if is_sliced_there or not is_slice else data[start:][: None if length is None else max(length, 0)]

    def _row(self, key: str, data: bytes) -> dict[str, Any]:
        check_key(key)
        if len(key) > KEY_BYTES_MAX:
            raise InvalidInput(f"key {key!r} has {len(key)} bytes, {self.url} takes {KEY_BYTES_MAX}: use shorter names")
        if len(data) > _OBJECT_BYTES_MAX:
            raise InvalidInput(
                f"object {key!r} has {len(data)} bytes, a database takes {_OBJECT_BYTES_MAX}: use smaller segments"
            )
        return {"object_key": key.encode(), "size_bytes": len(data), "data": bytes(data)}

    def put(self, key: str, data: bytes) -> None:  # noqa: D102
        from sqlalchemy.exc import IntegrityError

        row = self._row(key, data)
        self._make_table()
        replace = self._table.update().where(self._table.c.object_key == row.pop("object_key")).values(row)
        insert = self._table.insert().values(object_key=key.encode(), **row)

        def work(connection: Connection) -> None:
            if not connection.execute(replace).rowcount:
                connection.execute(insert)

        for attempt in range(_ATTEMPTS_MAX):
            try:
                return self._transaction(f"write {key!r}", work)
            except IntegrityError as error:  # another inserted it between our two statements: now it can be replaced
                if attempt == _ATTEMPTS_MAX - 1:
                    raise self._mapped(error, f"write {key!r}") from error
        return None

    def create(self, key: str, data: bytes) -> None:  # noqa: D102
        from sqlalchemy.exc import IntegrityError

        row = self._row(key, data)
        self._make_table()
        insert = self._table.insert().values(row)
        try:
            self._transaction(f"create {key!r}", lambda connection: connection.execute(insert), is_create=True)
        except IntegrityError as error:
            raise AlreadyExists(f"{self.url} already has an object {key!r}") from error

    def list(  # noqa: D102
        self, prefix: str, start_after: str | None = None, limit: int | None = None, *, folders: bool = False
    ) -> Iterator[Listed]:
        from sqlalchemy import select

        columns = self._table.c
        action = f"list {prefix!r}"

        def fetch(start: str, stop: str, count: int) -> _Entries:
            query = select(columns.object_key, columns.size_bytes)
            query = query.where(columns.object_key >= start.encode(), columns.object_key < stop.encode())
            query = query.order_by(columns.object_key).limit(count)

            def work(connection: Connection) -> Any:
                return connection.execute(query).all() if self._has_table(connection) else []

            rows = self._transaction(action, work) if self._has_file() else []
            return [Listed(bytes(key).decode("ascii"), size) for key, size in rows]

        return list_by_pages(fetch, prefix, start_after, limit, folders=folders)

    def delete(self, keys: Iterable[str]) -> DeleteFailures:  # noqa: D102
        # All delete in one order, so that two of them do not wait for each other.
        wanted = batches(sorted(set(keys)), _DELETE_KEYS_MAX)
        if not wanted or not self._has_file() or not self._transaction("delete", self._has_table):
            return []
        return [failure for batch in wanted for failure in self._delete_batch(batch)]

    def _delete_batch(self, keys: _Keys) -> DeleteFailures:
        statement = self._table.delete().where(self._table.c.object_key.in_([key.encode() for key in keys]))
        try:
            self._transaction("delete", lambda connection: connection.execute(statement))
        except AccessDenied:
            raise
        except StorageUnavailable as error:
            return [DeleteFailure(key, str(error)) for key in keys]
        return []

    def now(self) -> datetime:  # noqa: D102
        from sqlalchemy import text

        query = _TIMES.get(self._dialect)
        if query is None:
            return clock.utc_now()
        time: datetime = self._transaction("ask for the time", lambda found: found.execute(text(query)).scalar_one())
        return time.replace(tzinfo=UTC)


def _make_commits_durable(connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous=EXTRA")  # FULL may lose the last commits when the power fails
    cursor.close()


def _split_table(url: str, table: str | None) -> tuple[str, str]:
    """Return SQLAlchemy's part of the URL, and the table's name from the URL or the option."""
    address, has_table, in_url = url[len(URL_PREFIX) :].partition("#")
    if has_table and table is not None and table != in_url:
        raise InvalidInput(f"the URL names table {in_url!r}, storage option 'table' {table!r}: leave one of them away")
    name = in_url if has_table else (TABLE_DEFAULT if table is None else table)
    if not isinstance(name, str) or not _TABLE_NAME.fullmatch(name):
        raise InvalidInput(f"{name!r} is no name for a table: use letters, digits and '_', at most 60 of them")
    return address, name


def _checked_address(address: str) -> URL:
    """Return the parsed URL; a SQLite file by its absolute path, so that it is the same in every process."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(address)
    except (ArgumentError, ValueError):  # their messages and causes hold the URL, which may hold a password
        raise InvalidInput(
            "the URL of a SQL store must look like sql+sqlite:////folder/file.db or "
            "sql+postgresql+psycopg://user@host/database"
        ) from None
    if parsed.password is not None or any(_SECRET_NAME.search(name) for name in parsed.query):
        raise InvalidInput("the URL of a SQL store must not contain a password: pass it as storage option 'password'")
    if parsed.get_backend_name() != "sqlite":
        return parsed
    if not parsed.database or parsed.database == ":memory:" or parsed.database.startswith("file:") or parsed.query:
        raise InvalidInput(
            f"sql+{parsed} names no file of SQLite's: it must look like sql+sqlite:////folder/file.db; for objects in "
            "memory use memory://"
        )
    return parsed.set(database=os.path.realpath(parsed.database))


def _table(name: str) -> Table:
    from sqlalchemy import VARBINARY, BigInteger, Column, LargeBinary, MetaData, Table
    from sqlalchemy.dialects import mysql, oracle

    # Bytes, so that every dialect sorts them as bytes, whatever collation its texts have.
    key_type = (
        LargeBinary(KEY_BYTES_MAX)
        .with_variant(VARBINARY(KEY_BYTES_MAX), "mysql", "mariadb", "mssql")
        .with_variant(oracle.RAW(KEY_BYTES_MAX), "oracle")
    )
    return Table(
        name,
        MetaData(),
        Column("object_key", key_type, primary_key=True),
        # Before the data: SQLite then lists sizes without walking through them.
        Column("size_bytes", BigInteger, nullable=False),
        Column("data", LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb"), nullable=True),
    )


def _reason(error: Exception) -> str:
    """Return what the driver says, in one line."""
    lines = str(getattr(error, "orig", None) or error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__


def _is_passing(error: Exception) -> bool:
    return bool(getattr(error, "connection_invalidated", False)) or bool(_TOLD_TO_REPEAT.search(_reason(error)))
