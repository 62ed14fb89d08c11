"""Rows for which a predicate is true, by DuckDB's own scan of local files: it decodes the values of these rows alone.

They are in the stored types exactly, since only columns are read so of whose types DuckDB keeps every value. What was
verified is scanned, and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from duckvstore.engine.reading import segments
from duckvstore.engine.reading.reads import Rows
from duckvstore.format.stored import schema as arrow_schema
from duckvstore.sql.driver.interrupts import fetch_arrow
from duckvstore.sql.syntax.literals import literal, quote

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.format.stored.documents import Version
    from duckvstore.sql.syntax.source_map import SourceMap

# Without what is cast on the way (times in zones, in seconds, of day), or has another form there (decimals, nested).
_EXACT = {
    *(pa.bool_(), pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()),
    *(pa.float32(), pa.float64(), pa.string(), pa.large_string(), pa.date32(), pa.timestamp("us"), pa.timestamp("ns")),
}
_ROW_BITS = 40  # of a number that says file and row


def takes(version: Version, columns: Collection[str]) -> bool:
    """Return whether DuckDB's scan gives exactly the stored values of ``columns``, by these names."""
    schema = version.schema
    names = {name.casefold() for name in schema.names}
    is_plain = not schema.mixed and "markers" not in schema.value and len(names) == len(schema.names)
    if not is_plain or names & {"filename", "file_row_number", "file_index"}:
        return False
    stored = arrow_schema.to_arrow(schema)
    chosen = (column for column in schema.columns if column.name in columns)
    return all(column.duckdb is None and stored.field(column.name).type in _EXACT for column in chosen)


@dataclass(frozen=True, slots=True)
class Scan:
    """The segments at the positions ``chosen``, the ``columns`` that are wanted, and those ``used`` to choose rows."""

    library: OpenLibrary
    version: Version
    chosen: Sequence[int]
    columns: Sequence[str]
    used: Sequence[str]

    def rows(self, connection: Any, query: Callable[[str, str], SourceMap], *, number: str, whole: bool) -> Rows | None:
        """Return the rows that match, in their order; None where that cannot be said so.

        ``query``: makes the query for what is selected from a relation. ``number``: a name that no column has.
        ``whole`` as in ``segments.local_files``.
        """
        import duckdb

        chosen = [self.version.segments[position] for position in self.chosen]
        files = segments.local_files(self.library, chosen, whole=whole)
        if not files:
            return None
        scanned = ", ".join(map(quote, dict.fromkeys([*self.columns, *self.used])))
        place = f"(CAST(file_index AS BIGINT) << {_ROW_BITS}) + file_row_number AS {quote(number)}"
        options = "hive_partitioning = false, file_row_number = true"
        relation = f"(SELECT {scanned}, {place} FROM read_parquet([{', '.join(map(literal, files))}], {options}))"
        sql = query(", ".join(map(quote, [*self.columns, number])), relation).text
        try:
            # Text in Arrow's large form, of which any is stored; and the system has the files in memory, if anybody.
            connection.execute("SET arrow_large_buffer_size = true; SET enable_external_file_cache = false")
            found = fetch_arrow(connection, sql)
        except duckdb.Error:
            return None  # what is wrong is told by whoever reads the rows otherwise
        numbers = self._numbers(found.column(len(self.columns)).to_numpy())
        return None if numbers is None else Rows(self._stored(found), numbers)

    def _numbers(self, places: Any) -> Any:
        """Return the numbers within the version of rows at ``places``; None: they are not in order, or not there."""
        import numpy as np

        counts = [segment.row_count for segment in self.version.segments]
        starts = list(accumulate(counts, initial=0))
        files, rows = places >> _ROW_BITS, places & ((1 << _ROW_BITS) - 1)
        numbers = np.array(starts)[list(self.chosen)][files] + rows
        is_right = (np.diff(numbers) > 0).all() and (rows < np.array(counts)[list(self.chosen)][files]).all()
        return numbers if is_right else None

    def _stored(self, found: pa.Table) -> pa.Table:
        stored = arrow_schema.to_arrow(self.version.schema)
        fields = [stored.field(name) for name in self.columns]
        arrays = [found.column(at).cast(field.type) for at, field in enumerate(fields)]
        return pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata=stored.metadata))
