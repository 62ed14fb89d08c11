"""Library: the handle through which symbols are written, read and queried.

Its methods are in ``handles``, by what they do; SQL is here. Invariant: the handle holds no state of its own beside
its caches, so any number of handles and processes may use a library.
"""

from __future__ import annotations

import sys
from threading import Lock
from typing import TYPE_CHECKING, Any

from duckvstore.handles.batches import Batches
from duckvstore.handles.snapshots import Snapshots
from duckvstore.handles.staging import Staging
from duckvstore.handles.transactions import Transactions
from duckvstore.handles.upkeep import Upkeep

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from duckvstore.engine.library import OpenLibrary
    from duckvstore.sql.result import Result
    from duckvstore.sql.session import Session


class Library(Upkeep, Batches, Staging, Snapshots, Transactions):
    """Versioned symbols under one name of a store. Safe to use from many threads."""

    def __init__(self, opened: OpenLibrary) -> None:
        """Wrap a library of the engine; use ``Store.get_library``."""
        super().__init__(opened)
        self._session: Session | None = None
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"Library({self.name!r} at {self.url})"

    @property
    def session(self) -> Session:
        """The SQL session of this handle; temporary tables and views of its user live here."""
        from duckvstore.sql.session import Session

        with self._lock:
            if self._session is None:
                self._session = Session({self.name: self.open_library}, default=self.open_library)
            return self._session

    def sql(self, query: str, parameters: Mapping[str, Any] | Sequence[Any] | None = None) -> Result:
        """Run DuckDB SQL in which symbols are tables, at any version: ``FROM trades AT VERSION 3``.

        ``parameters``: values for ``$name`` (mapping) or ``?`` (sequence). Dataframes in the caller's scope
        can be named as tables. Raises SqlError with a caret, and the errors of ``read``.
        """
        return self.session.sql(query, parameters, scope=caller_scope())

    def publish(self) -> str:
        """Write the catalogue file that an unmodified ``duckdb`` shell attaches; return its URL."""
        from duckvstore.attach import publish

        return publish(self.open_library)

    def browse(self) -> Any:
        """Return the version browser, a widget for notebooks (extra ``jupyter``)."""
        from duckvstore.jupyter.browser import Browser

        return Browser(self)


def caller_scope() -> dict[str, Any]:
    """Return the variables that the caller of the calling method can see, so that SQL can name dataframes."""
    frame = sys._getframe(2)  # noqa: SLF001 - the one way to see a caller's variables, as duckdb.sql does
    return {**frame.f_globals, **frame.f_locals}
