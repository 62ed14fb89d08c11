"""What the cells of a stored column say: from the statistics of its segments, read only where these do not tell."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duckvstore.engine.reading import segments
from duckvstore.format.stored import statistics
from duckvstore.format.stored.segments import ColumnStatistics

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.format.stored.documents import Version
    from duckvstore.format.stored.segments import Segment

_UNKNOWN = ColumnStatistics()


class SegmentCells:
    """The cells of a version, or of what is stored like one."""

    def __init__(self, library: OpenLibrary, version: Version) -> None:
        """Look at the segments of ``version``; nothing is read yet."""
        self._library, self._version = library, version

    @property
    def row_count(self) -> int:
        """How many rows there are."""
        return self._version.row_count

    def is_missing(self, position: int) -> bool:
        """Whether no row has a value in this column; the first segment that has one ends the search."""
        return all(nulls == segment.row_count for segment, nulls in self._nulls(position))

    def has_missing(self, position: int) -> bool:
        """Whether some row is missing a value in this column; the first segment that has one ends the search."""
        return any(nulls for _, nulls in self._nulls(position))

    def bounds(self, position: int) -> tuple[Any, Any] | None:
        """Return the least and the greatest value of a column of whole numbers; None: there is none."""
        found = [self.of_segment(at, position) for at in range(len(self._version.segments))]
        found = [known for known in found if known.minimum is not None]
        return (min(known.minimum for known in found), max(known.maximum for known in found)) if found else None

    def of_segment(self, at: int, position: int) -> ColumnStatistics:
        """Return the statistics of a column in the segment ``at``; where its bounds are not known, its values tell."""
        segment = self._version.segments[at]
        known = segment.statistics.get(self._version.schema.columns[position].id, _UNKNOWN)
        if known.minimum is None and known.null_count != segment.row_count:
            return statistics.of_column(self._read(position, at))
        return known

    def pieces(self, position: int) -> Iterator[pa.ChunkedArray]:
        """Yield all values of this column, which are read for it, segment by segment."""
        return (self._read(position, at) for at in range(len(self._version.segments)))

    def _nulls(self, position: int) -> Iterator[tuple[Segment, int]]:
        """Yield each segment and how many of its rows lack a value in the column."""
        for at, segment in enumerate(self._version.segments):  # without any, positions may be of another schema
            column = self._version.schema.columns[position]
            known = segment.statistics.get(column.id, _UNKNOWN).null_count
            yield segment, self._read(position, at).null_count if known is None else known

    def _read(self, position: int, at: int) -> pa.ChunkedArray:
        name = self._version.schema.names[position]
        return segments.read_table(self._library, self._version, columns=[name], segments=[at]).column(0)
