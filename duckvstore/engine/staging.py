"""Staged parts: rows that many writers prepare for one symbol, and one call publishes.

Invariant: a staged part is invisible until a version names its segments, and no version takes a part twice: each says
which parts it was made from. Garbage collection keeps what a part names until the part is older than the grace period.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from duckvstore.engine import cuts, manifests, reads, rewrites, segments
from duckvstore.engine.commits import Draft
from duckvstore.engine.library import create_definitely
from duckvstore.errors import InvalidInput, NoSuchKey, StorageUnavailable
from duckvstore.format import documents, evolution
from duckvstore.format.documents import Version
from duckvstore.format.values import Encoded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckvstore.engine.commits import Call
    from duckvstore.engine.edits import Plan
    from duckvstore.engine.library import OpenLibrary
    from duckvstore.engine.rewrites import Given
    from duckvstore.format.documents import Schema, Segment

MODES = ("write", "append")


def stage(library: OpenLibrary, call: Call, given: Given) -> str:
    """Store rows as a part of ``given.symbol`` that nobody sees yet; return the part's id."""
    library.check_present()
    draft = rewrites.write(library, given, None, "stage")(None)
    if draft is None:
        raise AssertionError("a write always drafts")  # unreachable
    part = Version(
        library_id=library.library_id,
        symbol=call.symbol,
        number=0,
        write_id=call.write_id,
        created_at=library.objects.now(),
        operation=draft.operation,
        kind=draft.kind,
        author=call.author,
        message=call.message,
        schema=draft.schema,
        row_count=draft.row_count,
        new_rows=draft.new_rows,
        new_bytes=draft.new_bytes,
        is_sorted=draft.is_sorted,
        window=draft.window,
        segments=draft.segments,
    )
    key = library.layout.staged(call.symbol, call.write_id)
    create_definitely(
        library.objects, key, documents.dump_version(part), lambda _: True, f"staged part {call.write_id}"
    )
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
    found = [part for part in library.in_parallel(load, keys) if part is not None]
    return sorted(found, key=lambda part: (part.created_at, part.write_id))


def symbols(library: OpenLibrary) -> list[str]:
    """Return the symbols that have staged parts, sorted."""
    return sorted(
        library.layout.parse_staging_folder(entry.key)
        for entry in library.objects.list(library.layout.all_staging, folders=True)
        if entry.size_bytes is None
    )


def discard(library: OpenLibrary, symbol: str, identities: Sequence[str] | None = None) -> None:
    """Delete staged parts (None: all of the symbol); gc removes their segments. Raises StorageUnavailable."""
    if identities is None:
        keys = [entry.key for entry in library.objects.list(library.layout.symbol_staging(symbol))]
    else:
        keys = [library.layout.staged(symbol, identity) for identity in identities]
    failures = library.objects.delete(keys) if keys else []
    if failures:
        raise StorageUnavailable(
            f"{len(failures)} staged parts of {library.name}/{symbol} could not be deleted, the first is "
            f"{failures[0].key!r} ({failures[0].reason}): repeat delete_staged_data({symbol!r})"
        )


def finalize(library: OpenLibrary, symbol: str, staged: Sequence[Version], mode: str, metadata: Any) -> Plan:
    """Plan a version of the ``staged`` parts (mode "write"), or of the newest version and them ("append").

    Parts stand in the order of their datetime index, which must not overlap; without one, in the order in which they
    were staged. No data is read or written, except of parts whose schema is another. None is planned when every
    part is in a version already. Raises InvalidInput for parts that overlap or do not fit together.
    """

    def plan(newest: Version | None) -> Draft | None:
        taken = _taken(library, newest, staged)
        todo = _in_order(library, symbol, [part for part in staged if part.write_id not in taken])
        if not todo:
            return None
        base = newest if mode == "append" and newest is not None and not newest.deleted else None
        identities = tuple(part.write_id for part in todo)
        if base is None:
            base, *todo = todo
        kept: tuple[Segment, ...] = tuple(base.segments)
        state, new_rows, new_bytes, is_sorted = base, 0, 0, base.is_sorted
        for part in todo:
            schema, old, new, placed = _joined(library, state, kept, part)
            is_sorted = is_sorted and part.is_sorted and _follows(replace(state, segments=kept), part)
            kept = (*old, *new)
            new_rows, new_bytes = new_rows + placed[0], new_bytes + placed[1]
            state = replace(state, schema=schema)
        mine = [part for part in staged if part.write_id in identities]
        row_count = sum(segment.row_count for segment in kept)
        return Draft(
            operation="finalize",
            kind=base.kind,
            schema=rewrites.edited_schema(state.schema, row_count, is_mixed=state.schema.mixed),
            metadata=base.metadata if metadata is None and base is newest else metadata,
            row_count=row_count,
            new_rows=new_rows + sum(part.new_rows for part in mine),
            new_bytes=new_bytes + sum(part.new_bytes for part in mine),
            is_sorted=is_sorted,
            window=base.window,
            parts=identities,
            segments=manifests.fold(library, symbol, kept, newest.segments if newest is not None else ()),
        )

    return plan


def _taken(library: OpenLibrary, newest: Version | None, staged: Sequence[Version]) -> set[str]:
    """Return the ids of parts that versions were made from since the first of ``staged`` was staged."""
    found: set[str] = set()
    oldest = min((part.created_at for part in staged), default=None)
    version = newest
    while version is not None and oldest is not None and version.created_at >= oldest:
        found.update(version.parts)
        version = cuts.visible_parent(library, version)
    return found


def _in_order(library: OpenLibrary, symbol: str, found: list[Version]) -> list[Version]:
    spans = [(reads.date_bounds(part), part) for part in found if part.row_count]
    if any(span is None for span, _ in spans):
        return [part for _, part in spans]
    ordered = sorted(spans, key=lambda item: item[0] or ())
    for (before, first), (after, second) in pairwise(ordered):
        if before and after and after[0] < before[1]:
            raise InvalidInput(
                f"staged parts {first.write_id} (to {before[1]}) and {second.write_id} (from {after[0]}) of "
                f"{library.name}/{symbol} overlap: delete_staged_data({symbol!r}), and stage rows that do not"
            )
    return [part for _, part in ordered]


def _joined(
    library: OpenLibrary, state: Version, kept: tuple[Segment, ...], part: Version
) -> tuple[Schema, tuple[Segment, ...], tuple[Segment, ...], tuple[int, int]]:
    """Return (schema, segments before, segments of the part, (rows, bytes) written anew) of both together."""
    where = repr(f"{library.name}/{part.symbol}")
    merged = evolution.merge(state.kind, state.schema, Encoded(part.kind, part.schema, None, None), where=where)
    old = tuple(map(merged.statistics, kept)) if merged.changed else kept
    schema = replace(merged.schema, mixed=True) if merged.changed else merged.schema
    columns = {column.name: column for column in schema.columns}
    if all(columns.get(column.name) == column for column in part.schema.columns):
        is_whole = len(part.schema.columns) == len(schema.columns)
        return schema if is_whole else replace(schema, mixed=True), old, tuple(part.segments), (0, 0)
    rows = merged.rows(segments.read_table(library, part))
    placed = segments.place(library, part.symbol, schema, rewrites.cut(rows, schema, part.window))
    return schema, old, tuple(placed.segments), (placed.new_rows, placed.new_bytes)


def _follows(before: Version, part: Version) -> bool:
    first, second = reads.date_bounds(before), reads.date_bounds(part)
    return first is None or second is None or second[0] >= first[1]
