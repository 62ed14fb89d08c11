"""What the plans of edits share: drafts of versions, their schemas, and where rows are cut.

Copy on write by segment: a segment that no changed row lies in is in the new version as it was, and what is stored is
named by no document until the commit; so a plan may be made again on a new newest version.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from duckvstore.engine.reading import segments
from duckvstore.engine.reading.cells import SegmentCells
from duckvstore.engine.writing import edits, given_rows
from duckvstore.engine.writing.commits import Draft
from duckvstore.format.codecs import values
from duckvstore.format.evolution import joins
from duckvstore.format.evolution.editing import resized
from duckvstore.format.rows import chunking
from duckvstore.format.stored.schema import to_arrow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.engine.writing.segment_upload import Placed
    from duckvstore.format.evolution.cell_rules import Cells
    from duckvstore.format.evolution.joined_columns import Merged
    from duckvstore.format.rows.value_rows import Encoded
    from duckvstore.format.stored.documents import Schema, Version
    from duckvstore.format.stored.segments import Segment

Outcome = TypeVar("Outcome")


def once(action: Callable[[Version | None], Outcome]) -> Callable[[Version | None], Outcome]:
    """Return ``action``, but carried out once: later calls have the same result, or raise the same error.

    A plan may be made several times, and a stream can be read only once: what is left of it must never be taken for
    all of it.
    """
    outcome: list[Outcome] = []
    failure: list[BaseException] = []

    def only(newest: Version | None) -> Outcome:
        if failure:
            raise failure[0]
        if not outcome:
            try:
                outcome.append(action(newest))
            except BaseException as error:
                failure.append(error)
                raise
        return outcome[0]

    return only


def unchanged(operation: str, newest: Version, metadata: Any) -> Draft | None:
    """Return the draft for an edit that changes no row: of other metadata, or (None) of nothing."""
    return None if metadata is None else edits.same_segments(operation, newest, metadata)


def evolved(
    library: OpenLibrary, newest: Version, given: given_rows.GivenRows, cells: Cells | None = None
) -> tuple[Version, Merged]:
    """Return the newest version as seen through the schema that it has together with the given rows.

    ``cells``: those of rows that are not a table.
    """
    known = SegmentCells(library, newest)
    merged = joins.merge(newest.kind, newest.schema, given.rows, where=given.where, cells=known, given=cells)
    if not merged.changed:
        return replace(newest, schema=merged.schema), merged
    schema = replace(merged.schema, mixed=True)
    seen = tuple(
        merged.statistics(segment, partial(known.of_segment, at)) for at, segment in enumerate(newest.segments)
    )
    return replace(newest, schema=schema, segments=seen), merged


def window(library: OpenLibrary, encoded: Encoded | None, newest: Version | None) -> int | None:
    """Return the distance in rows to cut by: the newest version's while it fits (None: not known for a stream)."""
    row_count, size = 0, 0
    if encoded is not None and encoded.table is not None:
        row_count, size = encoded.table.num_rows, chunking.logical_bytes(encoded.table, encoded.schema)
    elif encoded is not None and (newest is None or not newest.row_count):
        return None
    if newest is not None and (encoded is None or newest.row_count > row_count):
        row_count, size = newest.row_count, newest.logical_bytes
    previous = newest.window if newest is not None else None
    schema = newest.schema if encoded is None and newest is not None else encoded.schema if encoded else None
    column_count = 0 if schema is None else len(schema.columns)
    wanted = chunking.suited_bytes(column_count, library.options.segment_bytes)
    return chunking.window_rows(row_count, size, wanted, previous)


def window_of(library: OpenLibrary, newest: Version) -> int | None:
    """Return the distance in rows by which edited rows of ``newest`` are cut."""
    return window(library, None, newest)


def joined(library: OpenLibrary, base: Version, old: Sequence[Segment], new: list[pa.Table]) -> pa.Table:
    """Return the rows of ``old`` segments of ``base``, and ``new`` ones after them."""
    if not old:
        return concat(new, base.schema)
    return concat([segments.read_table(library, replace(base, segments=tuple(old))), *new], base.schema)


def concat(tables: Sequence[pa.Table], schema: Schema) -> pa.Table:
    """Return the rows of ``tables``, one after the other, in the types of ``schema``."""
    import pyarrow as pa

    stored = to_arrow(schema)
    return pa.concat_tables([table.cast(stored) if table.schema != stored else table for table in tables])


def cut(rows: pa.Table, schema: Schema, window: int | None) -> Iterator[pa.Table]:
    """Yield rows cut into segments; without a ``window``, as one."""
    if not rows.num_rows:
        return iter(())
    return iter(chunking.cut(rows, schema, window) if window else [rows])


def is_mixed(base: Version, placed: Placed) -> bool:
    """Whether a segment that may have another schema is still there."""
    old = {segment.key for segment in base.segments}
    return base.schema.mixed and any(segment.key in old for segment in placed.segments)


def edited_schema(schema: Schema, row_count: int, *, is_mixed: bool) -> Schema:
    """Return ``schema`` for edited rows, of which some segments may have another one (``is_mixed``)."""
    edited = resized(schema, row_count)
    if edited.mixed == is_mixed:
        return edited
    return replace(edited, mixed=True) if is_mixed else unmixed(edited)


def unmixed(schema: Schema) -> Schema:
    """Return ``schema`` for segments that all were written with it.

    No dropped column is left whose field id could be met again.
    """
    return replace(schema, mixed=False, next_id=None, mixed_nested=False)


def draft(
    operation: str,
    kind: str,
    schema: Schema,
    metadata: Any,
    placed: Placed,
    is_sorted: bool | None,  # noqa: FBT001
    window: int | None,
) -> Draft:
    """Return the draft of a version with the segments of ``placed``."""
    row_count = placed.row_count if schema.columns else values.row_count_without_columns(schema)
    return Draft(
        operation=operation,
        kind=kind,
        schema=schema,
        metadata=metadata,
        row_count=row_count,
        new_rows=placed.new_rows,
        new_bytes=placed.new_bytes,
        is_sorted=is_sorted,
        window=window,
        segments=placed.segments,
    )
