"""Segments as a version names them, and their form in a document: one list per property.

``from_lists(to_lists(segments)) == segments`` where every segment knows the same columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from msgspec import UNSET, Struct, UnsetType, field

from duckvstore.format.stored import envelope
from duckvstore.format.stored.envelope import Count

if TYPE_CHECKING:
    from collections.abc import Sequence

Bound: TypeAlias = bool | int | float | str | None


class ColumnStatistics(Struct, frozen=True, gc=False):
    """Bounds of one column over one segment; None means not known, and proves nothing.

    ``minimum`` and ``maximum`` are encoded by ``format.stored.statistics`` (NaN is left out of both).
    """

    minimum: Any = None
    maximum: Any = None
    null_count: int | None = None
    has_nan: bool | None = None


class Segment(Struct, frozen=True):
    """One Parquet object: ``key`` relative to the library's root; ``statistics`` by field id.

    ``footer_bytes`` and ``footer_sha256`` are of its end, where parts of it may be read (``format.rows.parts``).
    """

    key: str
    row_count: int
    size_bytes: int
    sha256: str
    logical_bytes: int
    statistics: dict[int, ColumnStatistics] = field(default_factory=dict)
    footer_bytes: int | None = None
    footer_sha256: str | None = None

    @property
    def digest(self) -> str:
        """The logical digest of its rows, which the key begins with: equal rows have equal ones."""
        return self.key.rpartition("/")[2].partition("-")[0]


class _StatisticsLists(Struct, rename={"minimum": "min", "maximum": "max", "null_count": "nulls", "has_nan": "nan"}):
    minimum: list[Bound]
    maximum: list[Bound]
    null_count: list[Count | None]
    has_nan: list[bool | None]


class SegmentLists(Struct, rename={"row_count": "rows", "size_bytes": "bytes"}):
    """Segments in a document: an item of each list is of one segment, and so in each statistic of a column."""

    key: list[str]
    row_count: list[Count]
    size_bytes: list[Count]
    sha256: list[str]
    logical_bytes: list[Count]
    statistics: dict[int, _StatisticsLists]
    footer_bytes: list[Count | None] | UnsetType = UNSET
    footer_sha256: list[str | None] | UnsetType = UNSET

    def __post_init__(self) -> None:
        """Raise ValueError for a key that is not one of a segment, and for a footer that cannot be its end."""
        envelope.check_keys(self.key, "segment")
        for length, size_bytes in zip(self.footer_bytes or (), self.size_bytes, strict=False):
            if length is not None and not 0 < length < size_bytes:
                raise ValueError(f"a footer of {length} bytes in a segment of {size_bytes}")


def to_lists(segments: Sequence[Segment]) -> SegmentLists:
    """Return segments as a document has them."""
    unknown = ColumnStatistics()
    ids = sorted({column_id for segment in segments for column_id in segment.statistics})
    return SegmentLists(
        [segment.key for segment in segments],
        [segment.row_count for segment in segments],
        [segment.size_bytes for segment in segments],
        [segment.sha256 for segment in segments],
        [segment.logical_bytes for segment in segments],
        {
            column_id: envelope.lists_of(_StatisticsLists, [s.statistics.get(column_id, unknown) for s in segments])
            for column_id in ids
        },
        *_footers(segments),
    )


def has_parts(segment: Segment) -> bool:
    """Whether parts of a segment can be verified by themselves."""
    return segment.footer_bytes is not None


def _footers(segments: Sequence[Segment]) -> tuple[list[int | None], list[str | None]] | tuple[()]:
    """Return what is known of footers; nothing where it is of none, as in documents of earlier releases."""
    if not any(map(has_parts, segments)):
        return ()
    return [segment.footer_bytes for segment in segments], [segment.footer_sha256 for segment in segments]


def from_lists(lists: SegmentLists) -> tuple[Segment, ...]:
    """Return the segments of a document. Raises ValueError when the lists are not of one length."""
    statistics: list[dict[int, ColumnStatistics]] = [{} for _ in lists.key]
    for column_id, found in lists.statistics.items():
        for known, values in zip(statistics, envelope.rows_of(found), strict=True):
            known[column_id] = ColumnStatistics(*values)
    plain = (lists.key, lists.row_count, lists.size_bytes, lists.sha256, lists.logical_bytes)
    if lists.footer_bytes is UNSET or lists.footer_sha256 is UNSET:
        return tuple(Segment(*values) for values in zip(*plain, statistics, strict=True))
    footers = (lists.footer_bytes, lists.footer_sha256)
    return tuple(Segment(*values) for values in zip(*plain, statistics, *footers, strict=True))
