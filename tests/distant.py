"""A store in memory that counts as far away, with segments of which small parts can be fetched."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from duckvstore.engine.reading import segment_cache, segments
from duckvstore.format.rows import parts
from duckvstore.objects.memory import MemoryObjects

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from duckvstore.engine.reading.segment_cache import SegmentCache


class DistantObjects(MemoryObjects):
    """Objects in memory that nothing scans in place, and whose segments are worth a copy."""

    is_near = False

    def __init__(self, name: str = "") -> None:
        """Begin empty."""
        super().__init__(name)
        #: of segments, in the order in which they were asked for
        self.segments_read: list[str] = []

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        if "/segments/" in key:
            self.segments_read.append(key)
        return super().read(key, start, length)

    def uri(self, key: str) -> str | None:
        return None


@contextmanager
def small_parts(block_bytes: int = 64) -> Iterator[None]:
    """Let even the smallest segments have parts, in blocks of so many bytes, which are always taken."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "SIZE_BYTES_MIN", 1)
        patch.setattr(parts, "BLOCK_BYTES", block_bytes)
        patch.setattr(parts, "_GAP_BYTES_MAX", 0)
        patch.setattr(segments, "PARTS_SHARE_MAX", 100.0)
        yield


@contextmanager
def cached_in(folder: Path, size: int | None = None) -> Iterator[SegmentCache]:
    """Turn the cache of segments on in ``folder``."""
    segment_cache.configure(folder, size)
    try:
        found = segment_cache.current()
        assert found is not None
        yield found
    finally:
        segment_cache.configure(enabled=False)
