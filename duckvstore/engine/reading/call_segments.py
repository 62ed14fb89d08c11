"""Segments of a call in progress: on their way to the object store, or stored and read by an earlier plan of it."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import TYPE_CHECKING

from duckvstore import forks
from duckvstore.concurrency import IO, Task

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from duckvstore.format.stored.segments import Segment
    from duckvstore.objects.base import ObjectStore

UPLOADS_BYTES_MAX = 64 * 2**20  # of segments that are on their way while their writer goes on
ATTEMPTS_BYTES_MAX = 4 * 2**20  # of segments that are kept for a plan that is made again

_uploads: ContextVar[Uploads | None] = ContextVar("_uploads", default=None)
_attempts: ContextVar[Attempts | None] = ContextVar("_attempts", default=None)


class Shareable:
    """Segments that a version may share with the one before, each at most once. Safe to use from many threads."""

    def __init__(self, found: Iterable[Segment] = ()) -> None:
        """Offer the segments ``found``."""
        self._by_digest: dict[str, list[Segment]] = {}
        self._lock = Lock()
        for segment in found:
            self._by_digest.setdefault(segment.digest, []).append(segment)

    def take(self, digest: str) -> Segment | None:
        """Return a segment whose rows have this logical digest, and offer it no more; None when there is none."""
        with self._lock:
            same = self._by_digest.get(digest)
            return same.pop() if same else None


class Attempts:
    """What one call has stored and read, for a plan that is made again since another writer was first. Thread-safe.

    What it has stored is younger than the call, so the limit of time holds for it as for what the call shares.
    """

    def __init__(self) -> None:
        """Have nothing yet."""
        self._stored: list[Segment] = []
        self._offered = Shareable()
        self._read: dict[str, bytes] = {}
        self._read_bytes = 0

    @contextmanager
    def next(self) -> Generator[None]:
        """Make a plan in here: what an earlier one has stored is not stored again, and what it has read not read."""
        self._offered = Shareable(self._stored)
        token = _attempts.set(self)
        try:
            yield
        finally:
            _attempts.reset(token)

    def take(self, digest: str, row_count: int) -> Segment | None:
        """Return a segment of these rows that an earlier plan has stored, once in each plan."""
        found = self._offered.take(digest)
        return found if found is not None and found.row_count == row_count else None

    def stored(self, segment: Segment) -> None:
        """Keep what was stored."""
        self._stored.append(segment)

    def read(self, segment: Segment) -> bytes | None:
        """Return a segment's object, if it was read."""
        return self._read.get(segment.key)

    def keep(self, segment: Segment, data: bytes) -> None:
        """Keep what was read, unless it is too much."""
        if self._read_bytes + len(data) <= ATTEMPTS_BYTES_MAX:
            self._read_bytes += len(data)
            self._read[segment.key] = data


class _Allowance(forks.Follower):
    """How many bytes of segments may be on their way beside their writers, in all of the process."""

    def __init__(self) -> None:
        self._lock = forks.lock()
        self.start_over()
        forks.follow(self)

    def start_over(self) -> None:
        self._used_bytes = 0

    def take(self, size_bytes: int) -> bool:
        with self._lock:
            is_there = self._used_bytes + size_bytes <= UPLOADS_BYTES_MAX
            self._used_bytes += size_bytes if is_there else 0
            return is_there

    def give_back(self, size_bytes: int) -> None:
        with self._lock:
            self._used_bytes -= size_bytes


_allowance = _Allowance()


class Uploads:
    """Segments on their way while their writer goes on; nothing may name them before ``wait``. Thread-safe.

    Beyond so many bytes in all of the process, a writer waits for its own.
    """

    def __init__(self) -> None:
        """Have none yet."""
        self._tasks: dict[str, tuple[Task[None], int]] = {}

    @contextmanager
    def taking(self) -> Generator[None]:
        """Take what is stored in here: it is on its way afterwards, and found by who reads it in here."""
        token = _uploads.set(self)
        try:
            yield
        finally:
            _uploads.reset(token)

    @staticmethod
    @contextmanager
    def taking_none() -> Generator[None]:
        """Store everything before it returns, also within ``taking``: rows may come from code that writes others."""
        tokens = _uploads.set(None), _attempts.set(None)
        try:
            yield
        finally:
            _uploads.reset(tokens[0])
            _attempts.reset(tokens[1])

    def put(self, objects: ObjectStore, key: str, data: bytes) -> None:
        """Put a segment, now or beside what the caller does next."""
        if not _allowance.take(len(data)):
            objects.put(key, data)
            return

        def put() -> None:
            try:
                objects.put(key, data)
            finally:
                _allowance.give_back(len(data))

        self._tasks[key] = (IO.submit(put), len(data))

    def wait(self) -> None:
        """Wait until all are there, and raise what any of them raised."""
        for task, _ in list(self._tasks.values()):
            task.result()

    def wait_for(self, key: str) -> None:
        """Wait until this one is there, if it is one of these."""
        if key in self._tasks:
            self._tasks[key][0].result()

    def cancel(self) -> None:
        """Put none that is not on its way."""
        for task, size_bytes in list(self._tasks.values()):
            if task.cancel():
                _allowance.give_back(size_bytes)


def put(objects: ObjectStore, key: str, data: bytes) -> None:
    """Put a segment, or have it put beside what the call does next, where somebody takes its uploads."""
    uploads = _uploads.get()
    if uploads is None:
        objects.put(key, data)
    else:
        uploads.put(objects, key, data)


def wait_for(key: str) -> None:
    """Wait until a segment is there, if this call has it on its way."""
    uploads = _uploads.get()
    if uploads is not None:
        uploads.wait_for(key)


def attempts() -> Attempts | None:
    """Return what earlier plans of this call have stored and read; None: it makes one only."""
    return _attempts.get()
