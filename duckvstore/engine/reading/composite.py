"""Nested values: their tables to segments and back.

A version's segments are those of its leaves, one leaf after the other, in the order of the document.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from duckvstore.concurrency import IO
from duckvstore.engine.reading import segments
from duckvstore.errors import Integrity
from duckvstore.format.codecs import composite, tables, values
from duckvstore.format.stored.documents import Schema

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.format.rows.value_rows import Encoded, Nested
    from duckvstore.format.stored.documents import Version
    from duckvstore.format.stored.segments import Segment

PARALLEL_LEAVES = 8


def upload_nested(nested: Nested, upload: Callable[[Encoded], Sequence[Segment]]) -> tuple[Schema, list[Segment], int]:
    """Store every leaf with ``upload``; return the schema of the version, its segments and its number of rows.

    ``upload`` is called on several threads for leaves that are in memory. Streams are read one after the other, on
    this thread: two of them may come from one source.
    """
    leaves = [leaf for _, leaf in nested.leaves]
    held = [position for position, leaf in enumerate(leaves) if leaf.table is not None]
    stored = IO.map(upload, [leaves[position] for position in held], at_once=PARALLEL_LEAVES, finishes=True)
    found = dict(zip(held, stored, strict=True))
    described: list[dict[str, Any]] = []
    uploaded: list[Segment] = []
    for position, (place, leaf) in enumerate(nested.leaves):
        own = found[position] if position in found else upload(leaf)
        row_count = sum(segment.row_count for segment in own)
        if not leaf.schema.columns:
            row_count = values.row_count_without_columns(leaf.schema)
        described.append(composite.leaf_to_json(place, leaf, len(own), row_count))
        uploaded.extend(own)
    schema = Schema(value={"tree": nested.tree, "leaves": described})
    return schema, uploaded, values.row_count_without_columns(schema)


def read_nested(library: OpenLibrary, version: Version) -> Any:
    """Return the whole of a nested value. Raises Integrity when its segments are damaged or not its own."""
    leaves = version.schema.value["leaves"]
    parts = []
    start = 0
    for leaf in leaves:
        stop = start + leaf["segment_count"]
        schema, own = composite.leaf_schema(leaf), version.segments[start:stop]
        parts.append(replace(version, kind=leaf["kind"], schema=schema, row_count=leaf["row_count"], segments=own))
        start = stop
    if start != len(version.segments):
        raise Integrity(
            f"version {version.number} of {library.label(version.symbol)} has {len(version.segments)} segments, "
            f"expected {start} for its {len(leaves)} parts: restore its document from a backup, or read another version"
        )

    def read(part: Version) -> Any:
        dictionaries = tables.text_objects(part.schema) if part.kind in ("dataframe", "series") else ()
        table = segments.read_table(library, part, dictionaries=dictionaries)
        return composite.decode_leaf(table, part.kind, part.schema, part.row_count)

    return composite.put_together(version.schema.value, IO.map(read, parts, at_once=PARALLEL_LEAVES))
