"""DB-API 2.0 (PEP 249): connections for clients that know databases by it, such as pandas, JupySQL and marimo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duckvstore.sql.dbapi import pep249
from duckvstore.sql.dbapi.connection import Connection, Cursor
from duckvstore.sql.dbapi.pep249 import (
    BINARY,
    DATETIME,
    NUMBER,
    ROWID,
    STRING,
    Binary,
    DatabaseError,
    DataError,
    Date,
    DateFromTicks,
    Error,
    IntegrityError,
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    Time,
    TimeFromTicks,
    Timestamp,
    TimestampFromTicks,
    Warning,  # noqa: A004 - the names of PEP 249
)

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

__all__ = [
    "BINARY",
    "DATETIME",
    "NUMBER",
    "ROWID",
    "STRING",
    "Binary",
    "Connection",
    "Cursor",
    "DataError",
    "DatabaseError",
    "Date",
    "DateFromTicks",
    "Error",
    "IntegrityError",
    "InterfaceError",
    "InternalError",
    "NotSupportedError",
    "OperationalError",
    "ProgrammingError",
    "Time",
    "TimeFromTicks",
    "Timestamp",
    "TimestampFromTicks",
    "Warning",
    "apilevel",
    "connect",
    "paramstyle",
    "threadsafety",
]

apilevel = "2.0"
threadsafety = 2  # threads may share connections
paramstyle = "qmark"  # and ``$name`` with a mapping


def connect(
    url: str | os.PathLike[str] | None = None,
    library: str | None = None,
    *,
    storage_options: Mapping[str, Any] | None = None,
    read_only: bool = False,
    sandbox: bool = False,
    author: str | None = None,
) -> Connection:
    """Return a connection to the store at ``url``, as ``duckvstore.open`` takes it.

    ``library``: where SQL looks names up; None: in all, as ``library.symbol``. The rest is that of
    ``Library.connect``. Raises ProgrammingError for a URL or library that is not there.
    """
    from duckvstore.api.store import open as open_store

    with pep249.translated():
        store = open_store(url, storage_options)
        handle = store if library is None else store.get_library(library)
        return handle.connect(read_only=read_only, sandbox=sandbox, author=author)
