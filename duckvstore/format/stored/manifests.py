"""Manifests: runs of a long list of segments, kept in objects of their own so that documents stay small.

A list of segments reads the same whether its runs are inline or in manifests; a manifest is immutable, and loaded only
when one of its segments is needed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, TypeAlias, overload

import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct

from duckvstore.concurrency import IO
from duckvstore.errors import Integrity
from duckvstore.format.stored import envelope
from duckvstore.format.stored.envelope import Count
from duckvstore.format.stored.segments import ColumnStatistics, Segment, has_parts
from duckvstore.signals import of_handler

RUN_SEGMENTS = 256
INLINE_SEGMENTS_MAX = 512
_PLAIN = {
    "key": pa.string(),
    "rows": pa.int64(),
    "bytes": pa.int64(),
    "sha256": pa.string(),
    "logical_bytes": pa.int64(),
}
_FOOTERS = {"footer_bytes": pa.int64(), "footer_sha256": pa.string()}  # in manifests that know of any
_STATISTICS = {"min": pa.string(), "max": pa.string(), "nulls": pa.int64(), "nan": pa.bool_()}


@dataclass(frozen=True, slots=True)
class Manifest:
    """A run of segments in an object of its own, as a document names it.

    ``key`` is relative to the library's root. ``position``: how many inline segments come before it. The counts are
    of the run: segments, rows, and bytes of the segments' objects; ``sha256`` is of the manifest's own bytes.
    """

    key: str
    position: int
    segment_count: int
    row_count: int
    size_bytes: int
    logical_bytes: int
    sha256: str


class ManifestLists(Struct):
    """Manifests in a document: an item of each list is of one manifest."""

    key: list[str]
    position: list[Count]
    segment_count: list[Count]
    row_count: list[Count]
    size_bytes: list[Count]
    logical_bytes: list[Count]
    sha256: list[str]

    def __post_init__(self) -> None:
        """Raise ValueError for a key that is not one of a manifest."""
        envelope.check_keys(self.key, "manifest")


Load: TypeAlias = "Callable[[Manifest], tuple[Segment, ...]]"


class FoldedSegments(Sequence["Segment"]):
    """The segments of a version in row order, of which some runs are in manifests that are loaded when needed."""

    def __init__(self, manifests: Sequence[Manifest], inline: Sequence[Segment], load: Load | None = None) -> None:
        """Fold ``inline`` segments with ``manifests`` between them; ``load`` returns the segments of one."""
        self.manifests = tuple(manifests)
        self.inline = tuple(inline)
        self.load = load
        self._count = len(self.inline) + sum(manifest.segment_count for manifest in self.manifests)

    def __len__(self) -> int:
        return self._count

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FoldedSegments):
            return NotImplemented
        return (self.manifests, self.inline) == (other.manifests, other.inline)

    def __hash__(self) -> int:
        return hash((self.manifests, self.inline))

    @overload
    def __getitem__(self, index: int) -> Segment: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Segment, ...]: ...
    def __getitem__(self, index: int | slice) -> Segment | tuple[Segment, ...]:
        if isinstance(index, slice):
            start, stop, step = index.indices(self._count)
            if step == 1:
                return tuple(self._between(start, stop))
            return tuple(self)[index]
        position = index + self._count if index < 0 else index
        if not 0 <= position < self._count:
            raise IndexError(index)
        return next(self._between(position, position + 1))

    def __iter__(self) -> Iterator[Segment]:
        return self._between(0, self._count)

    def _between(self, start: int, stop: int) -> Iterator[Segment]:
        """Yield segments ``start <= n < stop``; loads no manifest outside of them, and several of them at a time."""
        begin = 0
        chosen: list[tuple[Manifest | tuple[Segment, ...], int, int]] = []
        for part in self.parts():
            count = part.segment_count if isinstance(part, Manifest) else len(part)
            first, last = max(start - begin, 0), min(stop - begin, count)
            if first < last:
                chosen.append((part, first, last))
            begin += count
        wanted = [part for part, _, _ in chosen if isinstance(part, Manifest)]
        with closing(IO.stream(self.loaded, wanted)) as loaded:
            for part, first, last in chosen:
                run = next(loaded) if isinstance(part, Manifest) else part
                yield from run[first:last]

    def parts(self) -> Iterator[Manifest | tuple[Segment, ...]]:
        """Yield manifests and runs of inline segments, in row order."""
        done = 0
        for manifest in self.manifests:
            if manifest.position > done:
                yield self.inline[done : manifest.position]
            done = manifest.position
            yield manifest
        if done < len(self.inline):
            yield self.inline[done:]

    def loaded(self, manifest: Manifest) -> tuple[Segment, ...]:
        """Return the segments of one manifest."""
        if self.load is None:
            raise AssertionError(f"nothing loads manifest {manifest.key}")  # unreachable: libraries bind a loader
        return self.load(manifest)


def tail(segments: Sequence[Segment]) -> tuple[Segment, ...]:
    """Return the segments at the end that are there without loading anything."""
    if not isinstance(segments, FoldedSegments):
        return tuple(segments)
    last = segments.manifests[-1].position if segments.manifests else 0
    return segments.inline[last:]


def totals(segments: Sequence[Segment]) -> tuple[int, int, int]:
    """Return (rows, bytes of objects, logical bytes) of all segments, without loading manifests."""
    inline: Sequence[Segment] = segments
    manifests: Sequence[Manifest] = ()
    if isinstance(segments, FoldedSegments):
        inline, manifests = segments.inline, segments.manifests
    both: list[Any] = [*inline, *manifests]
    return (
        sum(item.row_count for item in both),
        sum(item.size_bytes for item in both),
        sum(item.logical_bytes for item in both),
    )


def encode(segments: Sequence[Segment]) -> bytes:
    """Return a run of segments as a Parquet object."""
    ids = sorted({column_id for segment in segments for column_id in segment.statistics})
    columns: dict[str, pa.Array] = {
        "key": pa.array([segment.key for segment in segments], _PLAIN["key"]),
        "rows": pa.array([segment.row_count for segment in segments], _PLAIN["rows"]),
        "bytes": pa.array([segment.size_bytes for segment in segments], _PLAIN["bytes"]),
        "sha256": pa.array([segment.sha256 for segment in segments], _PLAIN["sha256"]),
        "logical_bytes": pa.array([segment.logical_bytes for segment in segments], _PLAIN["logical_bytes"]),
    }
    for column_id in ids:
        found = [segment.statistics.get(column_id) for segment in segments]
        values = {
            "min": [None if one is None else json.dumps(one.minimum, ensure_ascii=False) for one in found],
            "max": [None if one is None else json.dumps(one.maximum, ensure_ascii=False) for one in found],
            "nulls": [None if one is None else one.null_count for one in found],
            "nan": [None if one is None else one.has_nan for one in found],
        }
        for name, kind in _STATISTICS.items():
            columns[f"{name}_{column_id}"] = pa.array(values[name], kind)
    if any(map(has_parts, segments)):
        columns |= {name: pa.array([getattr(one, name) for one in segments], kind) for name, kind in _FOOTERS.items()}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink, compression="zstd", write_page_checksum=True)
    return bytes(sink.getvalue().to_pybytes())


def decode(data: bytes, manifest: Manifest) -> tuple[Segment, ...]:
    """Return the segments in the bytes of ``manifest``. Raises Integrity when they are not what was written."""
    if hashlib.sha256(data).hexdigest() != manifest.sha256:
        raise Integrity(f"manifest {manifest.key} is damaged: restore it from a backup, or read another version")
    try:
        table = pq.read_table(pa.BufferReader(data))
        _check_types(table)
        ids = sorted(int(name.removeprefix("nulls_")) for name in table.column_names if name.startswith("nulls_"))
        statistics: list[dict[int, ColumnStatistics]] = [{} for _ in range(table.num_rows)]
        for column_id in ids:
            lows, highs = (_from_json(table.column(f"{name}_{column_id}")) for name in ("min", "max"))
            nulls, nans = (table.column(f"{name}_{column_id}").to_pylist() for name in ("nulls", "nan"))
            for known, low, high, null_count, nan in zip(statistics, lows, highs, nulls, nans, strict=True):
                known[column_id] = ColumnStatistics(low, high, null_count, nan)
        plain = [table.column(name).to_pylist() for name in _PLAIN]
        footers = [table.column(name).to_pylist() for name in _FOOTERS if name in table.column_names]
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise of_handler(error) or Integrity(
            f"manifest {manifest.key} cannot be read ({error}): read another version"
        ) from error
    rows: Iterator[Any] = zip(*plain, statistics, *footers, strict=True)
    return tuple(Segment(*row) for row in rows)


def _check_types(table: pa.Table) -> None:
    """Raise ValueError unless the columns have the types that ``encode`` gives them."""
    for field in table.schema:
        expected = _PLAIN.get(field.name) or _FOOTERS.get(field.name) or _STATISTICS.get(field.name.partition("_")[0])
        if expected is not None and field.type != expected:
            raise ValueError(f"its column {field.name} is of {field.type}, expected {expected}")


def _from_json(column: pa.ChunkedArray) -> list[Any]:
    listed: list[Any] = json.loads(f"[{','.join(text if text is not None else 'null' for text in column.to_pylist())}]")
    return listed
