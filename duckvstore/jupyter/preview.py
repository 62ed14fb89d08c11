"""Pages of a version's rows as text.

Invariant: a page costs the segments that hold its rows and nothing else, and the last segment read is kept, so that
turning pages reads it once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duckvstore.engine.reading import segments
from duckvstore.jupyter import cells
from duckvstore.sql.values import kinds

if TYPE_CHECKING:
    import pyarrow as pa

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.format.stored.documents import Version

COLUMNS_SHOWN_MAX = 100
KEPT_BYTES_MAX = 256 * 2**20


class Preview:
    """Reads pages of a library's versions."""

    def __init__(self, library: OpenLibrary) -> None:
        """Read from ``library``."""
        self._library = library
        self._kept: tuple[tuple[str, ...], pa.Table] | None = None

    def columns(self, version: Version) -> list[dict[str, Any]]:
        """Return name, DuckDB type, whether it is an index level, and nulls (None: not known) of the columns shown."""
        names = kinds.names(version.schema)
        columns = []
        for position, column in enumerate(version.schema.shown[:COLUMNS_SHOWN_MAX]):
            kind = names[position].lower()
            columns.append(
                {
                    "name": column.name,
                    "type": kind,
                    "is_index": column.name in version.schema.index,
                    "is_right": cells.is_right_aligned(kind),
                    "null_count": _null_count(version, column.id),
                }
            )
        return columns

    def rows(self, version: Version, first_row: int, row_count: int) -> list[list[str | None]]:
        """Return at most ``row_count`` rows from ``first_row`` on, as text, of the columns shown."""
        columns = version.schema.shown[:COLUMNS_SHOWN_MAX]
        names = [column.name for column in columns]
        own = [column.duckdb or "" for column in columns]
        shown: list[list[str | None]] = []
        segment_start = 0
        for position, segment in enumerate(version.segments):
            start = max(first_row, segment_start)
            stop = min(first_row + row_count, segment_start + segment.row_count)
            if start < stop:
                table = self._segment(version, position, names)
                shown += cells.rows(table.slice(start - segment_start, stop - start), own)
            segment_start += segment.row_count
        return shown

    def _segment(self, version: Version, position: int, names: list[str]) -> pa.Table:
        key = (version.segments[position].key, *names)
        if self._kept is not None and self._kept[0] == key:
            return self._kept[1]
        table = segments.read_table(self._library, version, columns=names, segments=[position])
        self._kept = (key, table) if table.nbytes <= KEPT_BYTES_MAX else None
        return table


def _null_count(version: Version, column_id: int) -> int | None:
    counts = [
        segment.statistics[column_id].null_count if column_id in segment.statistics else None
        for segment in version.segments
    ]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None
