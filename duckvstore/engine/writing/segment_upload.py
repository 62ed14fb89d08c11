"""Rows become segments: each is encoded and put once, under a key with a random part, several at a time."""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from duckvstore import clock
from duckvstore.concurrency import CPU
from duckvstore.engine.reading import call_segments
from duckvstore.engine.reading.call_segments import Shareable
from duckvstore.format.rows import chunking, encoding, parts
from duckvstore.format.rows.blocks import MANY_COLUMNS
from duckvstore.format.rows.digest import logical_digest
from duckvstore.format.stored import statistics
from duckvstore.format.stored.manifests import totals
from duckvstore.format.stored.segments import Segment
from duckvstore.progress import progress

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.format.stored.documents import Schema


@dataclass(frozen=True, slots=True)
class Placed:
    """Rows that are stored: their segments in row order, of which some were written now and the rest are shared."""

    segments: Sequence[Segment]
    new_rows: int
    new_bytes: int

    @property
    def row_count(self) -> int:
        """Rows in all segments together."""
        return totals(self.segments)[0]

    @classmethod
    def of_parts(cls, segments: Sequence[Segment], parts: Sequence[Placed]) -> Placed:
        """Return ``segments``, of which those that were written now are in ``parts``."""
        return cls(segments, sum(part.new_rows for part in parts), sum(part.new_bytes for part in parts))


def place(
    library: OpenLibrary,
    symbol: str,
    schema: Schema,
    pieces: Iterator[pa.Table],
    shareable: Shareable | None = None,
) -> Placed:
    """Store rows that are cut into ``pieces``, except those that ``shareable`` segments hold already.

    A piece whose logical digest is that of a shareable segment is neither encoded nor uploaded; the others are, on
    several threads. At most two segments per thread are in memory beside the value, so a stream may be larger than
    memory.
    """
    offered = shareable or Shareable()
    choices: list[encoding.Choices] = []  # of how columns are written, by a look at the first of the large pieces

    def one(rows: pa.Table) -> tuple[Segment, bool]:
        if rows.num_columns >= MANY_COLUMNS and rows.column(0).num_chunks > 1:
            rows = rows.combine_chunks()  # at once, not for each column whenever it is looked at
        digest = logical_digest(rows, schema)
        shared = offered.take(digest)
        if shared is not None and shared.row_count == rows.num_rows:
            return shared, False
        attempts = call_segments.attempts()
        again = None if attempts is None else attempts.take(digest, rows.num_rows)
        if again is not None:
            return again, True
        is_large = rows.num_rows >= encoding.SAMPLED_ROWS_MIN
        if is_large and not choices:
            choices.append(encoding.choose(rows, schema))
        compression, chosen = library.options.compression, choices[0] if is_large else None
        data = encoding.encode(rows, schema, compression=compression, choices=chosen)
        key = library.layout.segment(symbol, digest, clock.short_id())
        found = statistics.compute(rows, schema, library.options.statistics_columns)
        call_segments.put(library.segment_objects, library.layout.segment_key(key), data)
        footer = parts.footer_of(data)
        has_parts = parts.is_worth_parts(len(data) - len(footer))
        known = (len(footer), hashlib.sha256(footer).hexdigest()) if has_parts else (None, None)
        sha256 = hashlib.sha256(data).hexdigest()
        logical_bytes = chunking.logical_bytes(rows, schema)
        made = Segment(key, rows.num_rows, len(data), sha256, logical_bytes, found, *known)
        if attempts is not None:
            attempts.stored(made)
        return made, True

    with closing(CPU.stream(one, pieces)) as stored:
        placed = list(progress(stored, f"storing {symbol}", "segment"))
    written = [segment for segment, is_new in placed if is_new]
    return Placed(
        tuple(segment for segment, _ in placed),
        sum(segment.row_count for segment in written),
        sum(segment.size_bytes for segment in written),
    )
