"""Drafts of versions with another schema: over the same segments, or with one column rewritten."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from duckvstore.engine.library import manifests
from duckvstore.engine.reading import segments
from duckvstore.engine.writing import drafts, edits
from duckvstore.engine.writing.segment_upload import place
from duckvstore.format.evolution import altering
from duckvstore.format.stored.schema import to_arrow

if TYPE_CHECKING:
    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.engine.writing.commits import Draft
    from duckvstore.format.rows.value_rows import Encoded
    from duckvstore.format.stored.documents import Schema, Version


def altered(newest: Version, schema: Schema) -> Draft:
    """Return the draft of a version over the segments of ``newest``, as seen through another ``schema``."""
    if not newest.segments:
        schema = drafts.unmixed(schema)
    return replace(edits.same_segments("alter", newest, newest.metadata), schema=schema)


def recast(library: OpenLibrary, newest: Version, name: str, column: Encoded) -> Draft:
    """Return the draft of a version in which the stored column ``name`` has other values, one for each row."""
    assert column.table is not None, "one column is no stream"  # noqa: S101
    schema = drafts.unmixed(altering.retyped(newest.kind, newest.schema, name, column))
    position = schema.names.index(name)
    rows = drafts.concat([segments.read_table(library, newest)], newest.schema)
    rows = rows.set_column(position, to_arrow(schema).field(position), column.table.column(0)).cast(to_arrow(schema))
    window = drafts.window(library, newest)
    placed = place(library, newest.symbol, schema, drafts.cut(rows, schema, window))
    folded = replace(placed, segments=manifests.fold(library, newest.symbol, placed.segments, newest.segments))
    return drafts.draft("alter", newest.kind, schema, newest.metadata, folded, newest.is_sorted, window)
