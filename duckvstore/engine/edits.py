"""Plans of edits: what the next version holds, given the newest. Pure.

Invariant: a plan reads nothing but its arguments, so that it can be made again on a new newest version
whenever another writer was first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duckvstore.engine.commits import Draft
from duckvstore.format import values

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from duckvstore.format.documents import Segment, Version
    from duckvstore.format.values import Encoded

    Plan = Callable[[Version | None], Draft | None]


def write(encoded: Encoded, segments: Sequence[Segment], metadata: Any, *, is_sorted: bool | None) -> Plan:
    """Plan a version that holds a new value, whatever was there before."""
    row_count = sum(segment.row_count for segment in segments)
    if not encoded.schema.columns:
        row_count = values.row_count_without_columns(encoded.schema)
    draft = Draft(
        operation="write",
        kind=encoded.kind,
        schema=encoded.schema,
        metadata=metadata,
        row_count=row_count,
        new_rows=row_count,
        new_bytes=sum(segment.size_bytes for segment in segments),
        is_sorted=is_sorted,
        segments=tuple(segments),
    )
    return lambda _newest: draft


def write_metadata(metadata: Any, missing: Callable[[], Exception]) -> Plan:
    """Plan a version with the newest one's segments and other metadata; raises ``missing()`` without one."""

    def plan(newest: Version | None) -> Draft:
        if newest is None or newest.deleted:
            raise missing()
        return _same_segments("write_metadata", newest, metadata)

    return plan


def restore(source: Version) -> Plan:
    """Plan a version with ``source``'s segments, unless ``source`` is the newest."""

    def plan(newest: Version | None) -> Draft | None:
        if newest is not None and newest.number == source.number:
            return None
        return _same_segments("restore", source, source.metadata)

    return plan


def delete() -> Plan:
    """Plan a version that says the symbol has no value, unless there is none already."""

    def plan(newest: Version | None) -> Draft | None:
        return None if newest is None or newest.deleted else Draft(operation="delete", kind="deleted")

    return plan


def _same_segments(operation: str, source: Version, metadata: Any) -> Draft:
    return Draft(
        operation=operation,
        kind=source.kind,
        schema=source.schema,
        metadata=metadata,
        row_count=source.row_count,
        is_sorted=source.is_sorted,
        segments=source.segments,
    )
