"""Objects in this process's memory: for tests, examples and scratch work.

One lock guards the dictionary, so create has exactly one winner and a listing is one moment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from duckvstore import clock, forks
from duckvstore.errors import AlreadyExists, NoSuchKey, Unsupported
from duckvstore.objects.base import Listed, ObjectStore
from duckvstore.objects.keys import check_key, check_prefix

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from duckvstore.objects.base import DeleteFailures


class MemoryObjects(ObjectStore):
    """Bytes under keys in a dictionary."""

    is_near = True

    def __init__(self, name: str = "") -> None:
        """Make an empty object store; ``name`` only shows in ``url``."""
        self.url = f"memory://{name}"
        self._objects: dict[str, bytes] = {}
        self._lock = forks.lock()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """Refuse: another process would find nothing, or a copy that nobody else sees. Raises Unsupported."""
        raise Unsupported(
            f"{self.url} is in the memory of this process, so its handles cannot be pickled: keep the store in a "
            "folder or a bucket to give it to other processes"
        )

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:  # noqa: D102
        check_key(key)
        with self._lock:
            data = self._objects.get(key)
        if data is None:
            raise NoSuchKey(f"{self.url} has no object {key!r}")
        return data[start:] if length is None else data[start : start + max(length, 0)]

    def put(self, key: str, data: bytes) -> None:  # noqa: D102
        check_key(key)
        with self._lock:
            self._objects[key] = bytes(data)

    def create(self, key: str, data: bytes) -> None:  # noqa: D102
        check_key(key)
        with self._lock:
            if key in self._objects:
                raise AlreadyExists(f"{self.url} already has an object {key!r}")
            self._objects[key] = bytes(data)

    def list(  # noqa: D102
        self, prefix: str, start_after: str | None = None, limit: int | None = None, *, folders: bool = False
    ) -> Iterator[Listed]:
        check_prefix(prefix)
        with self._lock:
            found = {key: len(data) for key, data in self._objects.items() if key.startswith(prefix)}
        entries: dict[str, int | None] = {}
        for key, size in found.items():
            slash = key.find("/", len(prefix)) if folders else -1
            if slash >= 0:
                entries[key[: slash + 1]] = None
            else:
                entries[key] = size
        after = start_after or ""
        wanted = sorted(key for key in entries if key > after)[:limit]
        return iter([Listed(key, entries[key]) for key in wanted])

    def delete(self, keys: Iterable[str]) -> DeleteFailures:  # noqa: D102
        wanted = [*keys]
        for key in wanted:
            check_key(key)
        with self._lock:
            for key in wanted:
                self._objects.pop(key, None)
        return []

    def now(self) -> datetime:  # noqa: D102
        return clock.utc_now()
