"""Plans of edits: what the next version holds, given the newest. Pure.

A plan reads only its arguments, so that it can be made again on a new head when another writer was first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from duckvstore.engine.writing.commits import Draft

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from duckvstore.format.stored.documents import Version

Plan: TypeAlias = "Callable[[Version | None], Draft | None]"

MERGED_SEGMENTS = 8


def write_metadata(metadata: Any, missing: Callable[[], Exception]) -> Plan:
    """Plan a version with the newest one's segments and other metadata; raises ``missing()`` without one."""

    def plan(newest: Version | None) -> Draft:
        if newest is None or newest.deleted:
            raise missing()
        return same_segments("write_metadata", newest, metadata)

    return plan


def restore(source: Version) -> Plan:
    """Plan a version with ``source``'s segments, unless ``source`` is the newest."""

    def plan(newest: Version | None) -> Draft | None:
        if newest is not None and newest.number == source.number:
            return None
        return same_segments("restore", source, source.metadata)

    return plan


def delete() -> Plan:
    """Plan a version that marks the symbol as deleted, unless it already is."""

    def plan(newest: Version | None) -> Draft | None:
        return None if newest is None or newest.deleted else Draft(operation="delete", kind="deleted")

    return plan


def same_segments(operation: str, source: Version, metadata: Any) -> Draft:
    """Return a draft with all that ``source`` holds and other metadata."""
    return Draft(
        operation=operation,
        kind=source.kind,
        schema=source.schema,
        metadata=metadata,
        row_count=source.row_count,
        is_sorted=source.is_sorted,
        window=source.window,
        segments=source.segments,
    )


def merged_tail(row_counts: Sequence[int], new_rows: int, full_rows: int) -> int:
    """Return how many segments at the end are to be written again, as one with ``new_rows`` that are appended.

    ``row_counts``: of the segments there are. As in a log-structured merge tree with tiers: eight segments of a tier
    (a power of eight in rows) become one of the next, so each row is written again once per tier, and no tier keeps
    more than seven segments. What is merged has at most ``full_rows`` rows; segments of half of that are left alone.
    """
    merged, total = 0, new_rows
    while True:
        run, run_rows, is_full = 0, 0, False
        for rows in reversed(row_counts[: len(row_counts) - merged]):
            if _tier(rows) > _tier(total) or rows * 2 >= full_rows:
                break
            is_full = total + run_rows + rows > full_rows
            if is_full:
                break
            run, run_rows = run + 1, run_rows + rows
        fills_one = is_full and run > 0 and (total + run_rows) * 2 >= full_rows
        if run + 1 < MERGED_SEGMENTS and not fills_one:
            return merged
        merged, total = merged + run, total + run_rows


def _tier(rows: int) -> int:
    return (max(rows, 1).bit_length() - 1) // (MERGED_SEGMENTS.bit_length() - 1)


def runs(positions: Sequence[int]) -> list[list[int]]:
    """Return ascending positions as runs of neighbours: ``[1, 2, 5]`` gives ``[[1, 2], [5]]``."""
    found: list[list[int]] = []
    for position in positions:
        if found and found[-1][-1] == position - 1:
            found[-1].append(position)
        else:
            found.append([position])
    return found
