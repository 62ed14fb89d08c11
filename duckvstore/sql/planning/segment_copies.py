"""Local copies of segments, for what DuckDB cannot scan where it is, or not as soon.

A copy was verified against its document when it was made, and is not removed while a lease holds it. It is a second
name of what this machine's cache holds, or a file with holes that has only the columns which a statement may read.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from duckvstore import forks
from duckvstore.concurrency import IO, PARALLEL_REQUESTS
from duckvstore.engine.reading import segment_cache
from duckvstore.engine.reading import segments as engine_segments
from duckvstore.sql.planning.temporary_folders import Folder, room

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path
    from typing import TypeAlias

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.format.stored.segments import Segment

    #: library, key of the segment, and the field ids of the columns that are there (None: all)
    Key: TypeAlias = tuple[str, str, frozenset[int] | None]

SIZE_BYTES_MAX = 2 * 2**30
FETCHED_BYTES_MAX = 256 * 2**20  # of segments that are on their way at once


@dataclass(slots=True)
class _Copy:
    path: Path
    size_bytes: int
    leases: int = 0


class SegmentFiles(forks.Follower):
    """A folder of segment copies, the least recently used removed first. Safe to use from many threads."""

    def __init__(self, size_bytes_max: int = SIZE_BYTES_MAX) -> None:
        """Make no folder yet. More than ``size_bytes_max`` is kept only while leases hold it."""
        self._size_bytes_max = size_bytes_max
        #: whether copies may have a part of a segment's columns alone
        self.takes_parts = True
        self._lock = forks.rlock()
        self._copies: OrderedDict[Key, _Copy] = OrderedDict()
        self._folder: Folder | None = None
        self._count = 0
        forks.follow(self)

    def start_over(self) -> None:
        """Leave the folder to the process that this one was forked from."""
        self._copies.clear()
        if self._folder is not None:
            self._folder.leave()
        self._folder = None

    def lease(
        self, library: OpenLibrary, segments: Sequence[Segment], column_ids: Collection[int] | None = None
    ) -> Lease:
        """Return local paths of ``segments``, fetched in parallel where they are not here yet.

        ``column_ids``: field ids of the columns that are needed (None: all). Raises Integrity and StorageUnavailable
        as ``engine.reading.segments.fetch`` does.
        """
        self.folder()
        lease = Lease(self)
        needed = None if column_ids is None or not self.takes_parts else frozenset(column_ids)
        try:
            at_once = max(PARALLEL_REQUESTS, min(IO.size, FETCHED_BYTES_MAX // max(1, _largest(segments))))
            lease.paths = IO.map(lambda s: self._fetch(library, s, needed, lease), segments, at_once=at_once)
        except BaseException:
            lease.release()
            raise
        self._shrink()
        return lease

    def folder(self) -> Path:
        """Return the folder, made if need be. Raises StorageUnavailable."""
        with self._lock:
            if self._folder is None:
                cache = segment_cache.current()  # a file has a second name on one disk only
                self._folder = Folder(cache.usable_folder() if cache is not None else None)
            return self._folder.path

    def close(self) -> None:
        """Remove the folder."""
        with self._lock:
            self._copies.clear()
            folder, self._folder = self._folder, None
        if folder is not None:
            folder.close()

    def release(self, keys: Sequence[Key]) -> None:
        """Let copies go that a lease held."""
        with self._lock:
            for key in keys:
                copy = self._copies.get(key)
                if copy is not None:
                    copy.leases -= 1
        self._shrink()

    def _fetch(self, library: OpenLibrary, segment: Segment, needed: frozenset[int] | None, lease: Lease) -> str:
        key = (library.library_id, segment.key, needed)
        taken = self._take((*key[:2], None), lease) or self._take(key, lease)
        if taken is not None:
            return taken
        with self._lock:
            self._count += 1
            path = self.folder() / f"{self._count}-{segment.key.rpartition('/')[2]}"
        with room(path.parent):
            try:
                size_bytes = engine_segments.copy_to(path, library, segment, needed)
            except BaseException:
                path.unlink(missing_ok=True)  # part of it, which would take the room that is missing
                raise
        if size_bytes == segment.size_bytes:  # it is there whole
            key = (*key[:2], None)
        with self._lock:
            known = self._copies.get(key)
            if known is None:
                self._copies[key] = _Copy(path, size_bytes)
            else:  # another thread was faster
                path.unlink()
            return f"{self._take(key, lease)}"

    def _take(self, key: Key, lease: Lease) -> str | None:
        with self._lock:
            copy = self._copies.get(key)
            if copy is None:
                return None
            self._copies.move_to_end(key)
            copy.leases += 1
            lease.keys.append(key)
            return str(copy.path)

    def _shrink(self) -> None:
        with self._lock:
            total = sum(copy.size_bytes for copy in self._copies.values())
            for key in [key for key, copy in self._copies.items() if not copy.leases]:
                if total <= self._size_bytes_max:
                    return
                copy = self._copies.pop(key)
                total -= copy.size_bytes
                copy.path.unlink(missing_ok=True)


def _largest(segments: Sequence[Segment]) -> int:
    return max((segment.size_bytes for segment in segments), default=0)


class Lease:
    """Local paths that stay until ``release``."""

    def __init__(self, files: SegmentFiles) -> None:
        """Hold nothing yet."""
        self.paths: list[str] = []
        self.keys: list[Key] = []
        self._files = files

    def release(self) -> None:
        """Let the copies go; a second call does nothing."""
        keys, self.keys = self.keys, []
        if keys:
            self._files.release(keys)
