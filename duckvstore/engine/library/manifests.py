"""Long lists of segments, folded into manifests and loaded again.

A manifest is put before the document that names it is created, under a key that is never used again; a
document keeps at most a few hundred segments inline.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from duckvstore import clock
from duckvstore.format.stored import manifests
from duckvstore.format.stored.manifests import FoldedSegments, Manifest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.format.stored.segments import Segment


def fold(
    library: OpenLibrary, symbol: str, found: Sequence[Segment], base: Sequence[Segment] = ()
) -> Sequence[Segment]:
    """Return ``found`` with its runs in manifests where it is long, or as it is.

    Manifests of ``base`` (the version before) are used again where their run is there as it was; the rest of more
    than ``INLINE_SEGMENTS_MAX`` segments is folded from the front, a run of ``RUN_SEGMENTS`` at a time.
    """
    kept = _kept_runs(found, base)
    inline_count = len(found) - sum(manifest.segment_count for _, manifest in kept)
    if not kept and inline_count <= manifests.INLINE_SEGMENTS_MAX:
        return tuple(found)
    parts: list[Manifest | tuple[Segment, ...]] = []
    done = 0
    for start, manifest in [*kept, (len(found), None)]:
        gap = found[done:start]
        if gap:
            parts.append(tuple(gap))
        if manifest is not None:
            parts.append(manifest)
            done = start + manifest.segment_count
    return _assembled(library, symbol, parts, inline_count)


def extended(library: OpenLibrary, symbol: str, base: Sequence[Segment], tail_count: int,
             new: Sequence[Segment]) -> Sequence[Segment]:  # fmt: skip
    """Return ``base`` without its last ``tail_count`` segments and with ``new`` at the end, folded; loads nothing.

    ``tail_count`` is at most ``len(manifests.tail(base))``.
    """
    if not isinstance(base, FoldedSegments):
        return fold(library, symbol, (*base[: len(base) - tail_count], *new))
    parts = list(base.parts())
    last = manifests.tail(base)
    if last:
        parts.pop()
    remaining = (*last[: len(last) - tail_count], *new)
    if remaining:
        parts.append(remaining)
    inline_count = sum(len(part) for part in parts if not isinstance(part, Manifest))
    return _assembled(library, symbol, parts, inline_count)


def _kept_runs(found: Sequence[Segment], base: Sequence[Segment]) -> list[tuple[int, Manifest]]:
    """Return (position in ``found``, manifest) of ``base``'s manifests whose run is there as it was."""
    if not isinstance(base, FoldedSegments):
        return []
    at = {segment.key: position for position, segment in enumerate(found)}
    kept = []
    for manifest in base.manifests:
        run = base.loaded(manifest)
        start = at.get(run[0].key)
        if start is not None and tuple(found[start : start + len(run)]) == run:
            kept.append((start, manifest))
    return sorted(kept, key=lambda pair: pair[0])


def _assembled(
    library: OpenLibrary, symbol: str, parts: Sequence[Manifest | tuple[Segment, ...]], inline_count: int
) -> FoldedSegments:
    """Return the list of ``parts``, of whose inline segments as many as needed are put into manifests."""
    size = manifests.RUN_SEGMENTS
    named: list[Manifest] = []
    inline: list[Segment] = []
    for part in parts:
        if isinstance(part, Manifest):
            named.append(replace(part, position=len(inline)))
            continue
        rest = part
        while inline_count > manifests.INLINE_SEGMENTS_MAX and len(rest) >= size:
            named.append(_put(library, symbol, rest[:size], len(inline)))
            rest, inline_count = rest[size:], inline_count - size
        inline.extend(rest)

    return FoldedSegments(named, inline, library.manifest)


def _put(library: OpenLibrary, symbol: str, run: Sequence[Segment], position: int) -> Manifest:
    data = manifests.encode(run)
    key = library.layout.manifest(symbol, clock.short_id())
    library.segment_objects.put(library.layout.manifest_key(key), data)
    rows, size_bytes, logical_bytes = manifests.totals(run)
    return Manifest(key, position, len(run), rows, size_bytes, logical_bytes, hashlib.sha256(data).hexdigest())
