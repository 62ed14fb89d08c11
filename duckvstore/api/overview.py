"""Overview: what a library holds, a part at a time, for browsers and completion.

Names come from listings alone, documents and rows only of what is asked for; transactions aside, nothing is cached but
the last segment of a page of rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from duckvstore.api.base import plain
from duckvstore.api.items import SnapshotInfo, SymbolDescription
from duckvstore.engine.library import condemned, unreadable
from duckvstore.engine.reading import catalogue, listings, segments, visible

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pyarrow as pa

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.engine.reading.catalogue import AsOf
    from duckvstore.engine.reading.listings import Pinned
    from duckvstore.format.stored.documents import Version
    from duckvstore.sql.session import Session

KEPT_BYTES_MAX = 256 * 2**20


class ColumnOverview(NamedTuple):
    """A column as SQL has it; ``null_count`` is None where the documents do not tell it."""

    name: str
    type: str
    is_index: bool
    null_count: int | None


class Overview:
    """A look at a library that costs no more than what it shows; use ``Library.overview``."""

    def __init__(self, opened: OpenLibrary, session: Session | None = None) -> None:
        """Look at a library of the engine, as an open transaction of ``session`` sees it."""
        self._opened = opened
        self._session = session
        self._kept: tuple[tuple[str, ...], pa.Table] | None = None

    @property
    def library_id(self) -> str:
        """What no other library has, not even a later one of the same name."""
        return self._opened.library_id

    def symbols(self) -> list[str]:
        """Return every symbol that there ever was, deleted ones too; reads no document."""
        return listings.symbol_names(self._opened)

    def touched(self) -> list[str]:
        """Return the symbols that the calling thread's open transaction has used, of which some may be its own."""
        return list(self._pinned())

    def _pinned(self) -> Pinned:
        return listings.NOTHING_PINNED if self._session is None else self._session.pinned(self._opened)

    def is_symbol(self, name: str) -> bool:
        """Return whether SQL would take ``name`` for a symbol: exactly or without regard to case, deleted or not."""
        if visible.head(self._opened, name).highest >= 0:
            return True
        return name.casefold() in (symbol.casefold() for symbol in self.symbols())

    def versions(self, symbol: str, held: int | None = None) -> list[int]:
        """Return the numbers of a symbol's versions, newest first, deletions too; reads no document.

        ``held``: one that a snapshot holds, which counts even when it was removed. Raises NoSuchSymbol.
        """
        unwanted = condemned.numbers(self._opened, symbol)
        numbers = [at for at in visible.numbers(self._opened, symbol) if at not in unwanted or at == held]
        if not numbers:
            catalogue.resolve(self._opened, symbol)  # raises with the nearest names
        return numbers

    def describe(
        self, wanted: Sequence[tuple[str, int | None]], report: Callable[[Exception], object] = unreadable.warn
    ) -> list[SymbolDescription]:
        """Describe versions by symbol and number (None: the newest), at once; deletions too, of the kind "deleted".

        What is not there is left out; ``report`` takes the error of each that cannot be read.
        """

        def load(pair: tuple[str, int | None]) -> Version | None:
            symbol, number = pair
            if number is None:
                return visible.head(self._opened, symbol).newest
            return visible.find_visible(self._opened, symbol, number)

        found = unreadable.read_all(load, wanted, report)
        return [SymbolDescription.of(version, None) for version in found]

    def snapshots(self) -> list[SnapshotInfo]:
        """Return all snapshots with what they hold, the newest first."""
        found = sorted(catalogue.snapshots(self._opened), key=lambda one: one.created_at, reverse=True)
        return [SnapshotInfo.of(self._opened.name, one) for one in found]

    def snapshot_names(self) -> list[str]:
        """Return the names of all snapshots, sorted; reads no document."""
        return catalogue.snapshot_names(self._opened)

    def snapshot(self, name: str) -> SnapshotInfo:
        """Return a snapshot with what it holds. Raises NoSuchSnapshot."""
        return SnapshotInfo.of(self._opened.name, catalogue.read_snapshot(self._opened, name))

    def columns(self, symbol: str, as_of: AsOf = None, *, nulls_of: int = 0) -> list[ColumnOverview]:
        """Return the columns of a version as SQL has them, index levels too, the first ``nulls_of`` with their nulls.

        Without ``as_of`` it is the newest that the open transaction sees. Raises as ``read``.
        """
        from duckvstore.sql.values import kinds

        version = self._resolve(symbol, as_of)
        return [
            ColumnOverview(
                column.name,
                name.lower(),
                column.name in version.schema.index,
                _nulls(version, column.id) if position < nulls_of else None,
            )
            for position, (column, name) in enumerate(
                zip(version.schema.shown, kinds.names(version.schema), strict=True)
            )
        ]

    def rows(
        self, symbol: str, as_of: AsOf, first_row: int, row_count: int, columns: int
    ) -> tuple[pa.Table, list[str]]:
        """Return at most ``row_count`` rows from ``first_row`` on, of the first ``columns``, and DuckDB's own types.

        They are in the types in which they are stored; the text of a type is empty where the stored one says it. Only
        the segments that hold these rows are read, and the last one is kept for the next page. Raises as ``read``.
        """
        import pyarrow as pa

        version = self._resolve(symbol, as_of)
        shown = version.schema.shown[:columns]
        names = [column.name for column in shown]
        parts: list[pa.Table] = []
        segment_start = 0
        for position, segment in enumerate(version.segments):
            start, stop = max(first_row, segment_start), min(first_row + row_count, segment_start + segment.row_count)
            if start < stop:
                parts.append(self._segment(version, position, names).slice(start - segment_start, stop - start))
            segment_start += segment.row_count
        if not parts:
            parts.append(segments.read_table(self._opened, version, columns=names, segments=[]))
        return pa.concat_tables(parts), [column.duckdb or "" for column in shown]

    def _segment(self, version: Version, position: int, names: list[str]) -> pa.Table:
        key = (version.segments[position].key, *names)
        if self._kept is not None and self._kept[0] == key:
            return self._kept[1]
        table = segments.read_table(self._opened, version, columns=names, segments=[position])
        self._kept = (key, table) if table.nbytes <= KEPT_BYTES_MAX else None
        return table

    def _resolve(self, symbol: str, as_of: AsOf) -> Version:
        pinned = None if as_of is not None else self._pinned().get(symbol)
        return pinned or catalogue.resolve(self._opened, symbol, plain(as_of))


def _nulls(version: Version, column_id: int) -> int | None:
    counts = [
        segment.statistics[column_id].null_count if column_id in segment.statistics else None
        for segment in version.segments
    ]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None
