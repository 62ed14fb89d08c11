"""Library: the handle through which symbols are written, read and queried.

Its methods are in ``handles``, by what they do; SQL is here. Invariant: the handle holds no state of its own beside
its caches, so any number of handles and processes may use a library.
"""

from __future__ import annotations

import copy
import sys
from typing import TYPE_CHECKING, Any, Self

from duckvstore import forks
from duckvstore.api.batches import Batches
from duckvstore.api.diff import difference
from duckvstore.api.snapshots import Snapshots
from duckvstore.api.staging import Staging
from duckvstore.api.transactions import Transactions
from duckvstore.api.version_handle import VersionHandle, asked_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from duckvstore.api.diff import Diff
    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.engine.reading.catalogue import AsOf
    from duckvstore.publish.duckdb_file import Published
    from duckvstore.sql.dbapi import Connection
    from duckvstore.sql.results.result import Result
    from duckvstore.sql.session import Session


class Library(Batches, Staging, Snapshots, Transactions):
    """Versioned symbols under one name of a store. Safe to use from many threads."""

    def __init__(self, opened: OpenLibrary) -> None:
        """Wrap a library of the engine; use ``Store.get_library``."""
        super().__init__(opened)
        self._session: Session | None = None
        self._lock = forks.lock()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the way to open it again: its URL, with the storage options that were given."""
        return type(self), (self.open_library,)

    def __copy__(self) -> Self:
        """Return another handle on the same library."""
        return type(self)(self.open_library)

    def __deepcopy__(self, memo: object) -> Self:
        """Return another handle: what is stored is not copied."""
        return copy.copy(self)

    def __repr__(self) -> str:
        return f"Library({self.name!r} at {self.url})"

    def __getitem__(self, wanted: str | tuple[str, AsOf]) -> VersionHandle:
        """Return a handle on a version that DuckDB, polars, pandas and pyarrow scan: ``lib["trades"]``.

        ``lib["trades", as_of]`` takes what ``read`` takes. It is looked up when the handle is first used.
        """
        return VersionHandle(self, *asked_for(wanted))

    def __iter__(self) -> Iterator[str]:
        return iter(self.list_symbols())

    @property
    def session(self) -> Session:
        """The SQL session of this handle; temporary tables and views of its user live here."""
        from duckvstore.sql.session import Session

        with self._lock:
            if self._session is None:
                self._session = Session({self.name: self.open_library}, default=self.open_library)
            return self._session

    def sql(
        self,
        query: str,
        parameters: Mapping[str, Any] | Sequence[Any] | None = None,
        *,
        message: str | None = None,
    ) -> Result:
        """Run DuckDB SQL in which symbols are tables, at any version: ``FROM trades AT VERSION 3``.

        ``parameters``: values for ``$name`` (mapping) or ``?`` (sequence). Dataframes in the caller's scope
        can be named as tables. INSERT, UPDATE, DELETE, MERGE, CREATE TABLE … AS and the like make versions, with
        ``message`` (None: their own text). Raises SqlError with a caret, and the errors of ``read`` and ``write``.
        """
        return self.session.sql(query, parameters, scope=caller_scope(), message=message)

    def connect(self, *, read_only: bool = False, sandbox: bool = False, author: str | None = None) -> Connection:
        """Return a DB-API 2.0 connection with the SQL of ``sql``, in a session of its own; makes no request.

        ``read_only``: refuse what would change symbols. ``sandbox``: allow nothing but reading the library's own
        segments. ``author``: of the versions that statements make.
        """
        from duckvstore.sql.dbapi import Connection
        from duckvstore.sql.session import Session

        own = self.open_library
        session = Session({self.name: own}, default=own, read_only=read_only, sandbox=sandbox, author=author)
        return Connection(session, f"{self.name!r} at {self.url}")

    def diff(
        self, symbol: str, from_version: AsOf, to_version: AsOf = None, key: str | Sequence[str] | None = None
    ) -> Diff:
        """Return what changed between two versions, each named as in ``read`` (``to_version`` None: the newest).

        Rows are matched by the columns ``key``; None: by the stored index, if both versions have it, and else (or for
        an empty list) as whole rows. Only segments that the versions do not share are read. Raises NotFound,
        NoSuchColumn, InvalidInput for a value without columns, and the errors of ``sql``.
        """
        return difference(self.open_library, self.session, symbol, from_version, to_version, key)

    def publish(self) -> Published:
        """Write the catalogue file that an unmodified ``duckdb`` shell attaches; return its URL and what is in it.

        Warns of each name that the file cannot carry. Raises Unsupported where DuckDB cannot scan the object store.
        """
        from duckvstore.publish.duckdb_file import publish

        return publish(self.open_library)

    def browse(self) -> Any:
        """Return the version browser, a widget for notebooks (extra ``jupyter``)."""
        from duckvstore.jupyter.browser import Browser

        return Browser(self)


def caller_scope() -> dict[str, Any]:
    """Return the variables that the caller of the calling method can see, so that SQL can name dataframes."""
    frame = sys._getframe(2)  # noqa: SLF001 - the one way to see a caller's variables, as duckdb.sql does
    return {**frame.f_globals, **frame.f_locals}
