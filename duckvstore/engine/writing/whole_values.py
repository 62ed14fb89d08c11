"""Plans of versions that hold a new value, whatever was there before."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from duckvstore.engine.library import manifests
from duckvstore.engine.reading import composite
from duckvstore.engine.reading.call_segments import Shareable
from duckvstore.engine.writing import drafts, given_rows
from duckvstore.engine.writing.segment_upload import Placed, place
from duckvstore.format.rows import chunking
from duckvstore.format.rows.value_rows import Encoded, Nested

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.engine.writing.commits import Draft
    from duckvstore.engine.writing.edits import Plan
    from duckvstore.format.stored.documents import Version
    from duckvstore.format.stored.segments import Segment


def write(library: OpenLibrary, given: given_rows.GivenRows, metadata: Any, operation: str = "write") -> Plan:
    """Plan a version that holds a new value, whatever was there before.

    What the newest version has of it already is shared. Rows are stored once, however often the plan is made.
    """

    def made(newest: Version | None) -> Draft:
        shareable = Shareable(newest.segments if newest is not None else ())
        if isinstance(given.encoded, Nested):
            return _nested(library, given, given.encoded, metadata, operation, shareable)
        return _value(library, given, metadata, operation, newest, shareable)

    return drafts.once(made)


def _value(
    library: OpenLibrary,
    given: given_rows.GivenRows,
    metadata: Any,
    operation: str,
    newest: Version | None,
    shareable: Shareable,
) -> Draft:
    encoded, times = given_rows.watched(given, None)
    window = drafts.window(library, newest, encoded)
    pieces = chunking.pieces(encoded, segment_bytes=library.options.segment_bytes, window=window)
    placed = place(library, given.symbol, encoded.schema, pieces, shareable)
    base = newest.segments if newest is not None else ()
    folded = replace(placed, segments=manifests.fold(library, given.symbol, placed.segments, base))
    is_sorted = given_rows.sorted_alone(given, times)
    return drafts.draft(operation, encoded.kind, encoded.schema, metadata, folded, is_sorted, window)


def _nested(
    library: OpenLibrary,
    given: given_rows.GivenRows,
    nested: Nested,
    metadata: Any,
    operation: str,
    shareable: Shareable,
) -> Draft:
    written: list[Placed] = []

    def upload(leaf: Encoded) -> Sequence[Segment]:
        pieces = chunking.pieces(leaf, segment_bytes=library.options.segment_bytes)
        placed = place(library, given.symbol, leaf.schema, pieces, shareable)
        written.append(placed)
        return placed.segments

    schema, found, _ = composite.upload_nested(nested, upload)
    placed = Placed.of_parts(manifests.fold(library, given.symbol, found), written)
    return drafts.draft(operation, "nested", schema, metadata, placed, None, None)
