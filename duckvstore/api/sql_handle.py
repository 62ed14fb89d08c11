"""SqlHandle: what a library, a store and combined libraries have in common: SQL over what they hold."""

from __future__ import annotations

import copy
import sys
from typing import TYPE_CHECKING, Any, Self

from duckvstore import forks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.sql.dbapi import Connection
    from duckvstore.sql.results.result import Result
    from duckvstore.sql.session import Session


class SqlHandle:
    """Something to run SQL on. Safe to use from many threads."""

    def __init__(self) -> None:
        """Begin without a session; it is made by the first call that needs it."""
        self._session: Session | None = None
        self._lock = forks.lock()

    def _sql_names(self) -> tuple[Mapping[str, OpenLibrary], OpenLibrary | None, str]:
        """Return the libraries by name, the one whose symbols need no name before them, and what people call it all."""
        raise NotImplementedError

    def __deepcopy__(self, memo: object) -> Self:
        """Return another handle: what is stored is not copied."""
        return copy.copy(self)

    @property
    def session(self) -> Session:
        """The SQL session of this handle; temporary tables and views of its user live here."""
        from duckvstore.sql.session import Session

        with self._lock:
            if self._session is None:
                libraries, default, _ = self._sql_names()
                self._session = Session(libraries, default)
            return self._session

    def sql(
        self,
        query: str,
        parameters: Mapping[str, Any] | Sequence[Any] | None = None,
        *,
        message: str | None = None,
    ) -> Result:
        """Run DuckDB SQL in which symbols are tables, at any version: ``FROM trades AT VERSION 3``.

        On a store and on combined libraries the library comes before the symbol: ``FROM eod.trades AT VERSION 3``.
        ``parameters``: values for ``$name`` (mapping) or ``?`` (sequence). Dataframes in the caller's scope
        can be named as tables. INSERT, UPDATE, DELETE, MERGE, CREATE TABLE … AS and the like make versions, with
        ``message`` (None: their own text). Raises SqlError with a caret, and the errors of ``read`` and ``write``.

        Examples:
            >>> lib.sql("SELECT max(price) FROM trades AT VERSION 0 WHERE price < $p", {"p": 11}).fetchall()
            [(10.0,)]
            >>> lib.sql("DELETE FROM trades WHERE price > 11.5").figures.changed
            1
        """
        return self.session.sql(query, parameters, scope=_caller_scope(), message=message)

    def connect(self, *, read_only: bool = False, sandbox: bool = False, author: str | None = None) -> Connection:
        """Return a DB-API 2.0 connection with the SQL of ``sql``, in a session of its own; makes no request.

        ``read_only``: refuse what would change symbols. ``sandbox``: allow nothing but reading the libraries' own
        segments. ``author``: of the versions that statements make.

        Examples:
            >>> with lib.connect(read_only=True) as connection:
            ...     connection.execute("SELECT count(*) FROM trades").fetchone()
            (3,)
        """
        from duckvstore.sql.dbapi import Connection
        from duckvstore.sql.session import Session

        libraries, default, name = self._sql_names()
        session = Session(libraries, default, read_only=read_only, sandbox=sandbox, author=author)
        return Connection(session, name)


def _caller_scope() -> dict[str, Any]:
    """Return the variables that the caller of the calling method can see, so that SQL can name dataframes."""
    frame = sys._getframe(2)  # noqa: SLF001 - the one way to see a caller's variables, as duckdb.sql does
    return {**frame.f_globals, **frame.f_locals}
