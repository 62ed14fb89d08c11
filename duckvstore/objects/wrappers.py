"""Object stores around an object store.

A wrapper adds what its name says and passes everything else on unchanged.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from duckvstore.objects.base import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from duckvstore.objects.base import DeleteFailures, Listed


class WrappedObjects(ObjectStore):
    """Passes every call on to ``inner``."""

    def __init__(self, inner: ObjectStore) -> None:
        """Wrap ``inner``."""
        self.inner = inner
        self.url = inner.url
        self.is_near = inner.is_near

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:  # noqa: D102
        return self.inner.read(key, start, length)

    def put(self, key: str, data: bytes) -> None:  # noqa: D102
        self.inner.put(key, data)

    def create(self, key: str, data: bytes) -> None:  # noqa: D102
        self.inner.create(key, data)

    def list(  # noqa: D102
        self, prefix: str, start_after: str | None = None, limit: int | None = None, *, folders: bool = False
    ) -> Iterator[Listed]:
        return self.inner.list(prefix, start_after, limit, folders=folders)

    def delete(self, keys: Iterable[str]) -> DeleteFailures:  # noqa: D102
        return self.inner.delete(keys)

    def now(self) -> datetime:  # noqa: D102
        return self.inner.now()

    def uri(self, key: str) -> str | None:  # noqa: D102
        return self.inner.uri(key)

    def stored_as(self, parameters: Mapping[str, str]) -> ObjectStore:  # noqa: D102
        if not parameters:
            return self
        made = copy.copy(self)
        made.inner = self.inner.stored_as(parameters)
        return made

    def scan_secret(self) -> Mapping[str, str | bool] | None:  # noqa: D102
        return self.inner.scan_secret()

    def versioning_enabled(self) -> bool:  # noqa: D102
        return self.inner.versioning_enabled()

    def deleted_keys(self, prefix: str) -> Iterator[str]:  # noqa: D102
        return self.inner.deleted_keys(prefix)

    def read_deleted(self, key: str) -> bytes:  # noqa: D102
        return self.inner.read_deleted(key)

    def undelete(self, key: str) -> None:  # noqa: D102
        self.inner.undelete(key)
