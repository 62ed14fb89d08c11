"""Library: the handle through which symbols are written, read and queried.

Its methods are in the modules beside this one, by what they do. A handle holds no state of its own beside its caches
and its SQL session, so any number of handles and processes may use a library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from duckvstore import markup
from duckvstore.api.batches import Batches
from duckvstore.api.diff import difference
from duckvstore.api.snapshots import Snapshots
from duckvstore.api.sql_handle import SqlHandle
from duckvstore.api.staging import Staging
from duckvstore.api.transactions import Transactions
from duckvstore.api.version_handle import VersionHandle, asked_for
from duckvstore.errors import DuckVStoreError
from duckvstore.formatting import counted, size

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from duckvstore.api.diff import Diff
    from duckvstore.api.overview import Overview
    from duckvstore.api.store import Store
    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.engine.reading.catalogue import AsOf
    from duckvstore.jupyter.browser import Browser
    from duckvstore.publish.duckdb_file import Published
    from duckvstore.sql.session import Session

SYMBOLS_SHOWN_MAX = 20


class Library(Batches, Staging, Snapshots, Transactions, SqlHandle):
    """Versioned symbols under one name of a store. Safe to use from many threads."""

    def __init__(self, opened: OpenLibrary) -> None:
        """Wrap a library of the engine; use ``Store.get_library``."""
        Batches.__init__(self, opened)
        SqlHandle.__init__(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the way to open it again: its URL, with the storage options that were given."""
        return type(self), (self.open_library,)

    def __copy__(self) -> Self:
        """Return another handle on the same library."""
        return type(self)(self.open_library)

    def __repr__(self) -> str:
        return f"Library({self.name!r} at {self.url})"

    def _repr_html_(self) -> str:
        """Return the first symbols and their newest versions as HTML in which names are text; reads these only."""
        errors: list[Exception] = []
        try:
            overview = self.overview()
            names = sorted(overview.symbols())
            described = overview.describe([(name, None) for name in names[:SYMBOLS_SHOWN_MAX]], errors.append)
        except DuckVStoreError as error:
            return markup.page(markup.facts(repr(self), []), markup.lines([str(error)]))
        rows = []
        for found in described:
            state = " (deleted)" if found.kind == "deleted" else ""
            written = f"{found.last_update_time:%Y-%m-%d %H:%M:%S} UTC"
            count, stored = f"{found.row_count:,}", size(found.stored_bytes)
            rows.append([found.symbol, f"{found.version}{state}", count, stored, written])
        columns = [
            markup.Column("symbol"),
            *(markup.Column(name, is_right=True) for name in ("newest", "rows", "stored")),
            markup.Column("written"),
        ]
        lines = [f"{counted(len(names), 'symbol')}, deleted ones too", *map(str, errors)]
        if len(names) > SYMBOLS_SHOWN_MAX:
            lines.append(f"… and {len(names) - SYMBOLS_SHOWN_MAX:,} more: list_symbols(), browse()")
        return markup.page(markup.facts(repr(self), []), markup.table(columns, rows), markup.lines(lines))

    def __getitem__(self, wanted: str | tuple[str, AsOf]) -> VersionHandle:
        """Return a handle on a version that DuckDB, polars, pandas and pyarrow scan: ``lib["trades"]``.

        ``lib["trades", as_of]`` takes what ``read`` takes. It is looked up when the handle is first used.

        Examples:
            >>> lib["trades", 0].row_count
            2
            >>> pa.table(lib["trades"]).column_names
            ['time', 'price', 'quantity']
        """
        return VersionHandle(self, *asked_for(wanted))

    def __iter__(self) -> Iterator[str]:
        return iter(self.list_symbols())

    def _sql_names(self) -> tuple[Mapping[str, OpenLibrary], OpenLibrary | None, str]:
        return {self.name: self.open_library}, self.open_library, f"{self.name!r} at {self.url}"

    def diff(
        self, symbol: str, from_version: AsOf, to_version: AsOf = None, key: str | Sequence[str] | None = None
    ) -> Diff:
        """Return what changed between two versions, each named as in ``read`` (``to_version`` None: the newest).

        Rows are matched by the columns ``key``; None: by the stored index, if both versions have it, and else (or for
        an empty list) as whole rows. Only segments that the versions do not share are read. Raises NotFound,
        NoSuchColumn, InvalidInput for a value without columns, and the errors of ``sql``.

        Examples:
            >>> changes = lib.diff("trades", 0, 1)
            >>> changes.inserted, changes.updated, changes.deleted
            (1, 0, 0)
        """
        return difference(self.open_library, self.session, symbol, from_version, to_version, key)

    def publish(self) -> Published:
        """Write the catalogue file that an unmodified ``duckdb`` shell attaches; return its URL and what is in it.

        Warns of each name that the file cannot carry. Raises Unsupported where DuckDB cannot scan the object store.
        """
        from duckvstore.publish.duckdb_file import publish

        return publish(self.open_library)

    @property
    def store(self) -> Store:
        """The store that the library is in, opened with the same storage options."""
        from duckvstore.api.store import Store

        return Store(self.open_library.objects)

    def overview(self, session: Session | None = None) -> Overview:
        """Return a look at what there is that costs no more than what it shows, for browsers and completion.

        ``session``: the one whose open transaction counts (None: none does).
        """
        from duckvstore.api.overview import Overview

        return Overview(self.open_library, session)

    def browse(self, symbol: str | None = None) -> Browser:
        """Return the version browser, a widget for notebooks (extra ``jupyter``), on ``symbol``.

        None: on the one written last. Raises Unsupported where the extra is not installed.
        """
        from duckvstore.jupyter.browser import Browser

        return Browser(self, symbol)
