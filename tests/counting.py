"""An object store that counts the requests that S3 would be sent."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from duckvstore import forks
from duckvstore.objects.wrappers import WrappedObjects

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from duckvstore.objects.base import DeleteFailures, Listed, ObjectStore

_KEYS_PER_REQUEST = 1000


class CountingObjects(WrappedObjects):
    """Counts the requests that S3 would be sent, and the bytes of objects.

    ``counts`` has one entry per method (``read``, ``put``, ``create``, ``list``, ``delete``), ``bytes_in``
    (read) and ``bytes_out`` (written). A listing is one request per 1,000 entries that were taken from it, at
    least one; a deletion one per 1,000 keys. ``now`` costs no request once a server was heard, and is not
    counted; repeated attempts inside ``inner`` are not seen.
    """

    def __init__(self, inner: ObjectStore) -> None:
        """Count the calls to ``inner``, from 0."""
        super().__init__(inner)
        self._lock = forks.lock()
        self._counts: Counter[str] = Counter()

    @property
    def counts(self) -> Counter[str]:
        """A copy of the counts; what was never counted is 0."""
        with self._lock:
            return Counter(self._counts)

    @property
    def request_count(self) -> int:
        """All requests together."""
        return sum(count for name, count in self.counts.items() if not name.startswith("bytes_"))

    def reset(self) -> None:
        """Start again from 0."""
        with self._lock:
            self._counts.clear()

    def _add(self, **counts: int) -> None:
        with self._lock:
            self._counts.update(counts)

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        self._add(read=1)
        data = self.inner.read(key, start, length)
        self._add(bytes_in=len(data))
        return data

    def put(self, key: str, data: bytes) -> None:
        self._add(put=1, bytes_out=len(data))
        self.inner.put(key, data)

    def create(self, key: str, data: bytes) -> None:
        self._add(create=1, bytes_out=len(data))
        self.inner.create(key, data)

    def list(
        self, prefix: str, start_after: str | None = None, limit: int | None = None, *, folders: bool = False
    ) -> Iterator[Listed]:
        for index, entry in enumerate(self._first_counted(prefix, start_after, limit, folders=folders)):
            if index and index % _KEYS_PER_REQUEST == 0:
                self._add(list=1)
            yield entry

    def _first_counted(
        self, prefix: str, start_after: str | None, limit: int | None, *, folders: bool
    ) -> Iterator[Listed]:
        self._add(list=1)
        return self.inner.list(prefix, start_after, limit, folders=folders)

    def delete(self, keys: Iterable[str]) -> DeleteFailures:
        wanted = [*keys]
        self._add(delete=-(-len(wanted) // _KEYS_PER_REQUEST))
        return self.inner.delete(wanted)
