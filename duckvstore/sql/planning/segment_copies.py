"""Local copies of segments that DuckDB cannot scan where they are.

A copy was verified against its document when it was made, and is not removed while a lease holds it.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from duckvstore import forks
from duckvstore.concurrency import IO
from duckvstore.engine.reading import segments as engine_segments
from duckvstore.sql.planning.temporary_folders import Folder, room

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.format.stored.segments import Segment

SIZE_BYTES_MAX = 2 * 2**30


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
        self._lock = forks.rlock()
        self._copies: OrderedDict[tuple[str, str], _Copy] = OrderedDict()
        self._folder: Folder | None = None
        self._count = 0
        forks.follow(self)

    def start_over(self) -> None:
        """Leave the folder to the process that this one was forked from."""
        self._copies.clear()
        if self._folder is not None:
            self._folder.leave()
        self._folder = None

    def lease(self, library: OpenLibrary, segments: Sequence[Segment]) -> Lease:
        """Return local paths of ``segments``, fetched in parallel where they are not here yet.

        Raises Integrity and StorageUnavailable as ``engine.reading.segments.fetch`` does.
        """
        self.folder()
        lease = Lease(self)
        try:
            IO.map(lambda segment: self._fetch(library, segment, lease), segments)
        except BaseException:
            lease.release()
            raise
        lease.paths = [str(self._copies[library.library_id, segment.key].path) for segment in segments]
        self._shrink()
        return lease

    def folder(self) -> Path:
        """Return the folder, made if need be. Raises StorageUnavailable."""
        with self._lock:
            if self._folder is None:
                self._folder = Folder()
            return self._folder.path

    def close(self) -> None:
        """Remove the folder."""
        with self._lock:
            self._copies.clear()
            folder, self._folder = self._folder, None
        if folder is not None:
            folder.close()

    def release(self, keys: Sequence[tuple[str, str]]) -> None:
        """Let copies go that a lease held."""
        with self._lock:
            for key in keys:
                copy = self._copies.get(key)
                if copy is not None:
                    copy.leases -= 1
        self._shrink()

    def _fetch(self, library: OpenLibrary, segment: Segment, lease: Lease) -> None:
        key = (library.library_id, segment.key)
        if self._take(key, lease):
            return
        data = engine_segments.fetch(library, segment)
        with self._lock:
            self._count += 1
            path = self.folder() / f"{self._count}-{segment.key.rpartition('/')[2]}"
        with room(path.parent):
            try:
                path.write_bytes(data)
            except OSError:
                path.unlink(missing_ok=True)  # part of it, which would take the room that is missing
                raise
        with self._lock:
            known = self._copies.get(key)
            if known is None:
                self._copies[key] = _Copy(path, len(data))
            else:  # another thread was faster
                path.unlink()
        self._take(key, lease)

    def _take(self, key: tuple[str, str], lease: Lease) -> bool:
        with self._lock:
            copy = self._copies.get(key)
            if copy is None:
                return False
            self._copies.move_to_end(key)
            copy.leases += 1
            lease.keys.append(key)
            return True

    def _shrink(self) -> None:
        with self._lock:
            total = sum(copy.size_bytes for copy in self._copies.values())
            for key in [key for key, copy in self._copies.items() if not copy.leases]:
                if total <= self._size_bytes_max:
                    return
                copy = self._copies.pop(key)
                total -= copy.size_bytes
                copy.path.unlink(missing_ok=True)


class Lease:
    """Local paths that stay until ``release``."""

    def __init__(self, files: SegmentFiles) -> None:
        """Hold nothing yet."""
        self.paths: list[str] = []
        self.keys: list[tuple[str, str]] = []
        self._files = files

    def release(self) -> None:
        """Let the copies go; a second call does nothing."""
        keys, self.keys = self.keys, []
        if keys:
            self._files.release(keys)
