"""What the plans of edits share: drafts of versions, their schemas, and where rows are cut.

Copy on write by segment: a segment that no changed row lies in is in the new version as it was, and what is stored is
named by no document until the commit; so a plan may be made again on a new newest version.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from duckvstore.engine.library import manifests
from duckvstore.engine.reading import segments
from duckvstore.engine.reading.cells import SegmentCells
from duckvstore.engine.writing import edits, given_rows
from duckvstore.engine.writing.commits import Draft
from duckvstore.engine.writing.segment_upload import Placed, place
from duckvstore.format.codecs import values
from duckvstore.format.evolution import joins
from duckvstore.format.evolution.editing import resized
from duckvstore.format.rows import chunking
from duckvstore.format.stored.manifests import tail as tail_of
from duckvstore.format.stored.schema import to_arrow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa

    from duckvstore.engine.library.open_library import OpenLibrary
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


def window(library: OpenLibrary, newest: Version | None, encoded: Encoded | None = None) -> int | None:
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


def store_after(library: OpenLibrary, base: Version, new: pa.Table, window: int | None) -> tuple[int, Placed]:
    """Store ``new`` rows to follow those of ``base``, together with small segments at its end; return (these, both)."""
    last = tail_of(base.segments)
    counts = [segment.row_count for segment in last]
    tail = edits.merged_tail(counts, new.num_rows, 2 * window if window else new.num_rows)
    rows = joined(library, base, last[len(last) - tail :], [new])
    return tail, place(library, base.symbol, base.schema, cut(rows, base.schema, window))


def extended(
    library: OpenLibrary,
    operation: str,
    base: Version,
    tail: int,
    placed: Placed,
    metadata: Any,
    is_sorted: bool | None,  # noqa: FBT001
    window: int | None,
) -> Draft:
    """Return the draft of the edit of ``base`` in which ``placed`` replaces the last ``tail`` segments."""
    found = manifests.extended(library, base.symbol, base.segments, tail, placed.segments)
    keeps_old = len(found) > len(placed.segments)
    return edited(operation, base, replace(placed, segments=found), metadata, is_sorted, window, keeps_old=keeps_old)


def edited(
    operation: str,
    base: Version,
    placed: Placed,
    metadata: Any,
    is_sorted: bool | None,  # noqa: FBT001
    window: int | None,
    *,
    keeps_old: bool | None = None,
) -> Draft:
    """Return the draft of an edit of ``base`` that has the segments of ``placed``. Metadata None: those of ``base``.

    ``keeps_old``: whether segments of ``base`` are among them (None: the lists are compared).
    """
    if keeps_old is None:
        old = {segment.key for segment in base.segments}
        keeps_old = any(segment.key in old for segment in placed.segments)
    schema = edited_schema(base.schema, placed.row_count, is_mixed=base.schema.mixed and keeps_old)
    kept = base.metadata if metadata is None else metadata
    return draft(operation, base.kind, schema, kept, placed, is_sorted, window)


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
