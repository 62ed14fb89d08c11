"""Staged parts: rows that many writers prepare for one symbol, and one call publishes.

A staged part is invisible until a version names its segments, and no version takes a part twice: each says
which parts it was made from. Garbage collection keeps what a part names until the part is older than the grace period.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from msgspec import structs

from duckvstore.concurrency import IO, PARALLEL_DOCUMENTS
from duckvstore.engine.library import labels, manifests
from duckvstore.engine.library.create_once import create_once
from duckvstore.engine.reading import cuts, ranges, reads, segments
from duckvstore.engine.reading.call_segments import Uploads
from duckvstore.engine.reading.cells import SegmentCells
from duckvstore.engine.writing import drafts, edits, given_rows, whole_values
from duckvstore.engine.writing.segment_upload import place
from duckvstore.errors import InvalidInput, NoSuchColumn, NoSuchKey, StorageUnavailable
from duckvstore.format.codecs import tables
from duckvstore.format.evolution import joins
from duckvstore.format.rows import order
from duckvstore.format.rows.value_rows import Encoded
from duckvstore.format.stored import documents, statistics
from duckvstore.format.stored.documents import Version
from duckvstore.format.stored.schema import to_arrow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.engine.writing.commits import Call, Draft
    from duckvstore.engine.writing.edits import Plan
    from duckvstore.engine.writing.given_rows import GivenRows
    from duckvstore.format.stored.documents import Schema
    from duckvstore.format.stored.segments import Segment

MODES = ("write", "append")
_WITH_INDEX_COLUMN = ("arrow", "polars")


def stage(library: OpenLibrary, call: Call, given: GivenRows) -> str:
    """Store rows as a part of ``given.symbol``, invisible to readers; return the part's id."""
    library.check_present()
    with Uploads.taking_none():
        draft = whole_values.write(library, given, None, "stage")(None)
    if draft is None:
        raise AssertionError("a write always drafts")  # unreachable
    schema, runs = labels.put(library, call.symbol, draft.schema, None, call.label_runs)
    part = Version(
        library_id=library.library_id,
        symbol=call.symbol,
        number=0,
        write_id=call.write_id,
        created_at=library.objects.now(),
        author=call.author,
        message=call.message,
        label_runs=runs,
        **draft.fields(),
    )
    key = library.layout.staged(call.symbol, call.write_id)
    data = documents.dump_version(part, schema)
    create_once(library.objects, key, data, f"staged part {call.write_id}", lambda _: True)
    return call.write_id


def parts(library: OpenLibrary, symbol: str) -> list[Version]:
    """Return the staged parts of a symbol, in the order in which they were staged."""

    def load(key: str) -> Version | None:
        try:
            found = library.parse_version(library.objects.read(key), where=f"{library.objects.url} {key}")
        except NoSuchKey:
            return None  # finalised or deleted while we listed
        return found if found.library_id == library.library_id else None

    keys = [entry.key for entry in library.objects.list(library.layout.symbol_staging(symbol))]
    found = [part for part in IO.map(load, keys, at_once=PARALLEL_DOCUMENTS) if part is not None]
    return sorted(found, key=lambda part: (part.created_at, part.write_id))


def symbols(library: OpenLibrary) -> list[str]:
    """Return the symbols that have staged parts, sorted.

    By the parts, not by their folders, which some servers keep for a while after the last part is gone.
    """
    folders = {entry.key[: entry.key.rindex("/") + 1] for entry in library.objects.list(library.layout.all_staging)}
    return sorted(map(library.layout.parse_staging_folder, folders - {library.layout.all_staging}))


def discard(library: OpenLibrary, symbol: str, identities: Sequence[str] | None = None) -> None:
    """Delete staged parts (None: all of the symbol); gc removes their segments. Raises StorageUnavailable."""
    if identities is None:
        keys = [entry.key for entry in library.objects.list(library.layout.symbol_staging(symbol))]
    else:
        keys = [library.layout.staged(symbol, identity) for identity in identities]
    failures = library.objects.delete(keys) if keys else []
    if failures:
        raise StorageUnavailable(
            f"{len(failures)} staged parts of {library.label(symbol)} could not be deleted, the first is "
            f"{failures[0].key!r} ({failures[0].reason}): repeat delete_staged_data({symbol!r})"
        )


def finalize(
    library: OpenLibrary,
    symbol: str,
    staged: Sequence[Version],
    mode: str,
    metadata: Any,
    *,
    fit: Callable[[Encoded, Schema, str], Encoded],
    checks_order: bool = True,
    sorts: bool = False,
) -> Plan:
    """Plan a version of the ``staged`` parts (mode "write"), or of the newest version and them ("append").

    Parts are in the order of their times; without an index of times, in the order in which they were staged. No data
    is read or written, except of parts whose schema is another, and times that were staged as no index. Parts without
    rows add nothing; alone they are an empty version, or none where there is one to append to. None is planned when
    every part is in a version already.
    ``fit``: as in ``given_rows.GivenRows``. ``checks_order``: raise InvalidInput where the times would not ascend, as
    ``append`` does. ``sorts``: put all rows of the parts in the order of their times first, in memory. Raises
    InvalidInput for parts that do not fit together.
    """

    def plan(newest: Version | None) -> Draft | None:
        taken = _taken(library, newest, staged)
        mine = [part for part in staged if part.write_id not in taken]
        if not mine:
            return None
        base = newest if mode == "append" and newest is not None and not newest.deleted else None
        identities = tuple(part.write_id for part in mine)
        todo = [part for part in mine if part.row_count]
        if not todo and base is not None:
            kept = edits.same_segments("finalize", base, metadata)
            return None if metadata is None else replace(kept, parts=identities)
        todo = _in_order(_as_joining(library, base, todo or mine[:1], fit))
        if sorts:
            todo = _sorted_rows(library, symbol, todo)
        if checks_order:
            _check_order(library, symbol, base, todo)
        is_sorted = _is_sorted(library, base, todo)
        whole = _together(library, todo[0] if base is None else base, todo[1:] if base is None else todo)
        kept_metadata = base.metadata if metadata is None and base is not None else metadata
        folded = manifests.fold(library, symbol, whole.segments, newest.segments if newest is not None else ())
        return replace(
            edits.same_segments("finalize", whole, kept_metadata),
            new_rows=whole.new_rows + sum(part.new_rows for part in mine),
            new_bytes=whole.new_bytes + sum(part.new_bytes for part in mine),
            is_sorted=is_sorted,
            parts=identities,
            segments=folded,
        )

    return plan


def _as_joining(
    library: OpenLibrary,
    base: Version | None,
    parts: Sequence[Version],
    fit: Callable[[Encoded, Schema, str], Encoded],
) -> list[Version]:
    """Return ``parts`` as rows that join ``base``: in DuckDB's own types that it has, and with its index column."""
    for part in parts:
        given_rows.check_carried(part.schema, base, library.quoted(part.symbol))
    if base is not None and any(column.duckdb is not None for column in base.schema.columns):
        parts = [_fitted(library, base.schema, part, fit) for part in parts]
    return [_indexed(library, _leader(base, parts), part) for part in parts]


def _leader(base: Version | None, parts: Sequence[Version]) -> Version:
    """Return the version whose index column the rows of ``parts`` go by: ``base``, or the first part."""
    return base if base is not None and (base.row_count or base.schema.index) else parts[0]


def _fitted(
    library: OpenLibrary, stored: Schema, part: Version, fit: Callable[[Encoded, Schema, str], Encoded]
) -> Version:
    """Return a part whose rows have DuckDB's own types of ``stored``. Raises InvalidInput if it does not fit."""
    where = library.quoted(part.symbol)
    none = Encoded(part.kind, part.schema, to_arrow(part.schema).empty_table(), None)
    if fit(none, stored, where) is none:
        return part
    rows = fit(replace(none, table=segments.read_table(library, part)), stored, where)
    if rows.table is None:
        raise AssertionError("a table stays one")  # unreachable
    placed = place(library, part.symbol, rows.schema, drafts.cut(rows.table, rows.schema, part.window))
    return replace(part, schema=rows.schema, segments=tuple(placed.segments))


def _indexed(library: OpenLibrary, leader: Version, part: Version) -> Version:
    """Return ``part`` with the index column of ``leader`` as its own, where it has none and this column has times.

    The column is read: for whether it ascends, and what it spans.
    """
    import pyarrow as pa

    level = order.time_level(leader.schema)
    if level is None or part.schema.index or part.kind != leader.kind or part.kind not in _WITH_INDEX_COLUMN:
        return part
    label = tables.labels(leader.schema)[leader.schema.names.index(level)]
    try:
        names = tables.stored_columns(part.schema, [label])
    except NoSuchColumn:
        return part
    kinds = [to_arrow(version.schema).field(name).type for version, name in ((leader, level), (part, names[0]))]
    if not pa.types.is_timestamp(kinds[1]) or kinds[0].tz != kinds[1].tz:
        return part
    identity = part.schema.columns[part.schema.names.index(names[0])].id
    times, found = order.Order(), []
    for at, segment in enumerate(part.segments):
        column = segments.read_table(library, part, columns=names[:1], segments=[at]).column(0)
        times.add(column)
        known = {**segment.statistics, identity: statistics.of_column(column)}
        found.append(structs.replace(segment, statistics=known))
    schema = replace(part.schema, index=(names[0],))
    return replace(part, schema=schema, segments=tuple(found), is_sorted=times.is_sorted)


def _together(library: OpenLibrary, first: Version, others: Sequence[Version]) -> Version:
    """Return ``first`` with the rows of ``others`` after its own; new are the rows that are written for it."""
    kept: tuple[Segment, ...] = tuple(first.segments)
    state, new_rows, new_bytes = first, 0, 0
    for part in others:
        schema, old, new, placed = _joined(library, state, kept, part)
        kept = (*old, *new)
        new_rows, new_bytes = new_rows + placed[0], new_bytes + placed[1]
        state = replace(state, schema=schema)
    if not others:  # nothing of what the schema says of all rows has changed
        return replace(first, segments=kept, new_rows=0, new_bytes=0)
    row_count = sum(segment.row_count for segment in kept)
    schema = drafts.edited_schema(state.schema, row_count, is_mixed=state.schema.mixed)
    return replace(state, schema=schema, segments=kept, row_count=row_count, new_rows=new_rows, new_bytes=new_bytes)


def _taken(library: OpenLibrary, newest: Version | None, staged: Sequence[Version]) -> set[str]:
    """Return the ids of parts that versions were made from since the first of ``staged`` was staged."""
    found: set[str] = set()
    oldest = min((part.created_at for part in staged), default=None)
    version = newest
    while version is not None and oldest is not None and version.created_at >= oldest:
        found.update(version.parts)
        version = cuts.visible_parent(library, version)
    return found


def _in_order(found: list[Version]) -> list[Version]:
    """Return parts in the order of their times; as they are where one has none."""
    spans = [(span, part) for part in found if (span := _span(part)) is not None]
    return [part for _, part in sorted(spans, key=lambda item: item[0])] if len(spans) == len(found) else found


def _span(version: Version) -> tuple[int, int] | None:
    """Return the first and last time of a version in nanoseconds, whatever the unit of its index; None as there."""
    bounds = reads.time_bounds(version)
    if bounds is None:
        return None
    factor = ranges.NANOSECONDS[to_arrow(version.schema).field(version.schema.index[0]).type.unit]
    return bounds[0] * factor, bounds[1] * factor


def _is_sorted(library: OpenLibrary, base: Version | None, parts: Sequence[Version]) -> bool | None:
    """Return whether the times of ``base`` and then the ``parts`` ascend; None: they have none, or it is not known."""
    if any(order.time_level(part.schema) is None for part in parts):
        return None if _index_column(base, parts) is None else False
    versions = [*([base] if base is not None and base.row_count else []), *(part for part in parts if part.row_count)]
    follow = all(_follows(before, after) for before, after in pairwise(versions))
    if not follow or not all(reads.is_sorted(library, part) for part in parts):
        return False
    return base.is_sorted if base is not None and base.row_count else True


def _follows(before: Version, after: Version) -> bool:
    first, second = _span(before), _span(after)
    return first is not None and second is not None and second[0] >= first[1]


def _index_column(base: Version | None, parts: Sequence[Version]) -> str | None:
    """Return the index column of times that the rows of Arrow and polars ``parts`` go by; None: there is none."""
    leader = _leader(base, parts)
    return order.time_level(leader.schema) if leader.kind in _WITH_INDEX_COLUMN else None


def _check_order(library: OpenLibrary, symbol: str, base: Version | None, parts: Sequence[Version]) -> None:
    """Raise InvalidInput where the times of ``parts``, after those of ``base``, do not ascend."""
    where, otherwise = library.label(symbol), f"sort_and_finalize_staged_data({symbol!r}) puts all rows in order"
    timed = [part for part in parts if part.row_count and order.time_level(part.schema) is not None]
    level = _index_column(base, parts)
    for part in parts:
        if level is not None and part.row_count and order.time_level(part.schema) is None:
            raise InvalidInput(
                f"staged part {part.write_id} of {where} has no times like those of the index column {level!r}, by "
                f"which its rows go: delete_staged_data({symbol!r}) and stage them with it, or pass "
                "validate_index=False"
            )
    for part in timed:
        if not reads.is_sorted(library, part):
            raise InvalidInput(
                f"staged part {part.write_id} of {where} has an index that is not sorted: {otherwise}, and "
                "validate_index=False takes them as they are"
            )
    for before, after in pairwise(timed):
        if not _follows(before, after):
            ends, begins = reads.date_bounds(before), reads.date_bounds(after)
            raise InvalidInput(
                f"staged parts {before.write_id} (to {ends and ends[1]}) and {after.write_id} (from "
                f"{begins and begins[0]}) of {where} overlap: delete_staged_data({symbol!r}) and stage rows that do "
                f"not; or {otherwise}, and validate_index=False takes one part after the other"
            )
    if base is None or not base.is_sorted or not base.row_count or not timed or _follows(base, timed[0]):
        return
    begins, ends = reads.date_bounds(timed[0]), reads.date_bounds(base)
    raise InvalidInput(
        f"what is staged for {where} begins at {begins and begins[0]}, before the end of version {base.number} at "
        f"{ends and ends[1]}: update() replaces rows inside, validate_index=False appends out of order"
    )


def _sorted_rows(library: OpenLibrary, symbol: str, parts: Sequence[Version]) -> list[Version]:
    """Return ``parts``, or one part with all their rows in the order of their times where they are not in it.

    Rows of one time stay in the order in which they were. Raises InvalidInput for rows without a time.
    """
    if all(order.time_level(part.schema) is not None for part in parts) and _is_sorted(library, None, parts):
        return list(parts)
    whole = _together(library, parts[0], parts[1:])
    column, where = order.time_level(whole.schema), library.label(symbol)
    if column is None:
        raise InvalidInput(
            f"what is staged for {where} has no index of times to be sorted by: finalize_staged_data({symbol!r}) takes "
            "the parts in the order in which they were staged"
        )
    rows = segments.read_table(library, whole)
    times = rows.column(column)
    if times.null_count:
        raise InvalidInput(
            f"what is staged for {where} has NaT in its index, which is in no order: delete_staged_data({symbol!r}) "
            "and stage it without those rows"
        )
    rows = rows.take(order.ascending(times))
    schema = drafts.edited_schema(whole.schema, rows.num_rows, is_mixed=False)
    placed = place(library, symbol, schema, drafts.cut(rows, schema, drafts.window(library, whole)))
    return [
        replace(
            whole,
            schema=schema,
            segments=tuple(placed.segments),
            is_sorted=True,
            new_rows=placed.new_rows,
            new_bytes=placed.new_bytes,
        )
    ]


def _joined(
    library: OpenLibrary, state: Version, kept: tuple[Segment, ...], part: Version
) -> tuple[Schema, tuple[Segment, ...], tuple[Segment, ...], tuple[int, int]]:
    """Return (schema, segments before, segments of the part, (rows, bytes) rewritten) of both together."""
    where = library.quoted(part.symbol)
    row_count = sum(segment.row_count for segment in kept)  # with those of the parts that joined already
    joined = replace(state, segments=kept, row_count=row_count)
    before, given = (SegmentCells(library, version) for version in (joined, part))
    new = Encoded(part.kind, part.schema, None, None)
    merged = joins.merge(state.kind, state.schema, new, where=where, cells=before, given=given)
    old = (
        tuple(merged.statistics(segment, partial(before.of_segment, at)) for at, segment in enumerate(kept))
        if merged.changed
        else kept
    )
    schema = replace(merged.schema, mixed=True) if merged.changed else merged.schema
    columns = {column.name: column for column in schema.columns}
    is_held = all(columns.get(column.name) == column for column in part.schema.columns)
    if is_held and not merged.gives_markers:
        is_whole = len(part.schema.columns) == len(schema.columns)
        return schema if is_whole else replace(schema, mixed=True), old, tuple(part.segments), (0, 0)
    rows = merged.rows(segments.read_table(library, part))
    placed = place(library, part.symbol, schema, drafts.cut(rows, schema, part.window))
    return schema, old, tuple(placed.segments), (placed.new_rows, placed.new_bytes)
