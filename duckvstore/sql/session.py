"""Session: runs DuckDB SQL with time travel for one handle of a library or a store.

Every error that leaves here is one of ``duckvstore.errors`` (or KeyboardInterrupt).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duckvstore import forks
from duckvstore.engine.reading import listings
from duckvstore.sql.driver.instance import DuckDBInstance
from duckvstore.sql.driver.interrupts import unwrapped
from duckvstore.sql.execution import sandbox
from duckvstore.sql.execution.thread_cursor import ThreadCursors
from duckvstore.sql.pipeline.run import run
from duckvstore.sql.pipeline.steps import Steps
from duckvstore.sql.planning.planner import Planner
from duckvstore.sql.planning.segment_copies import SegmentFiles
from duckvstore.sql.values.parameters import check_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import duckdb

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.engine.reading.listings import Pinned
    from duckvstore.sql.results.result import Result


class Session(forks.OfOneProcess):
    """SQL over libraries. Safe to use from many threads; temporary tables belong to the thread that made them."""

    def __init__(
        self,
        libraries: Mapping[str, OpenLibrary],
        default: OpenLibrary | None,
        *,
        read_only: bool = False,
        sandbox: bool = False,
        author: str | None = None,
    ) -> None:
        """Look names up in ``default``, or with None by ``library.symbol`` in ``libraries``. Makes no request.

        ``read_only``: refuse what would change symbols. ``sandbox``: allow nothing but the libraries' own segments.
        ``author``: of the versions that statements make.
        """
        self.read_only = read_only or sandbox
        self.sandbox = sandbox
        self.author = author
        self._files = SegmentFiles()
        self._instance = DuckDBInstance(self._lock_down if sandbox else None)
        self._threads = ThreadCursors(self._instance)
        self._planner = Planner(self._instance, self._files)
        self._steps = Steps(libraries, default, self._instance, self._threads, self._planner)

    def _lock_down(self, instance: duckdb.DuckDBPyConnection) -> None:
        sandbox.lock(instance, self._files.folder())

    def sql(
        self,
        text: str,
        parameters: Mapping[str, Any] | Sequence[Any] | None = None,
        *,
        scope: Mapping[str, object] | None = None,
        message: str | None = None,
    ) -> Result:
        """Run the statements of ``text`` in order and return the result of the last.

        ``parameters``: a dict for ``$name``, a list for ``?`` and ``$1``, in values and in AT forms. ``scope``:
        the caller's variables, among which dataframes are found. ``message``: of the versions that are made (None:
        the statement's text). Raises SqlError, NotFound, Conflict, Integrity, StorageUnavailable and InvalidInput;
        rows are pulled on demand, so errors in them may come later.
        """
        check_text(text)
        return unwrapped(
            lambda: run(
                self._steps,
                text,
                parameters,
                scope,
                author=self.author,
                message=message,
                read_only=self.read_only,
            )
        )

    def close(self) -> None:
        """Close DuckDB and remove cached files; results that were not pulled to their end are lost."""
        self._planner.choices.close()
        self._instance.close()
        self._files.close()

    def interrupt(self) -> None:
        """Stop the statements that run on any thread; they raise DuckVStoreError there."""
        self._threads.interrupt()

    @property
    def in_transaction(self) -> bool:
        """Whether the calling thread has begun a transaction."""
        return self._threads.current().transaction is not None

    def pinned(self, library: OpenLibrary) -> Pinned:
        """Return what the calling thread's transaction sees of the symbols that it has touched; makes no request."""
        thread = self._threads.known()
        return self._steps.pinned(thread)(library) if thread is not None else listings.NOTHING_PINNED

    def tables(self) -> set[tuple[str, str, str]]:
        """Return (database, schema, name), in lower case, of the tables and views that the calling thread has made."""
        thread, definitions = self._threads.current(), self._steps.definitions
        with thread.lock:
            thread.open_for(None)
            places = {found.place for found in definitions.visible(thread).values() if found.noun == "view"}
            return self._steps.objects.tables(thread)() | places
