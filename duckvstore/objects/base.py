"""ObjectStore: bytes under keys, the contract that every backing store fulfils.

Keys are non-empty ``/``-separated text of ``[A-Za-z0-9._~-]`` segments (``format.stored.layout`` escapes names that
users choose), none of them ``.`` or ``..``; no key is also the folder of another (a file system
cannot hold both). What safety rests on is abstract here; there is no default that an
implementation could inherit by mistake. ``duckvstore.testing`` has the conformance suite.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from duckvstore.errors import Unsupported
from duckvstore.objects.keys import check_key
from duckvstore.telemetry import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class Listed:
    """One entry of a listing: an object, or (``size_bytes`` None, key ending in ``/``) a folder of objects."""

    key: str
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class DeleteFailure:
    """A key that could not be deleted, and why."""

    key: str
    reason: str


DeleteFailures: TypeAlias = list[DeleteFailure]  # inside the classes ``list`` is the method


class ObjectStore(ABC):
    """Bytes under keys.

    ``url`` is what a person would recognise the store by, without credentials. Every method may raise
    StorageUnavailable (AccessDenied where the store refuses). Methods are safe to call from many threads.
    """

    url: str
    #: whether reading again costs as little as reading a file, so that copies on this machine's disk are of no use
    is_near = False

    def __init_subclass__(cls, **options: object) -> None:
        """Count the requests of every object store where somebody traces them: a store need not know of it."""
        super().__init_subclass__(**options)
        for kind in ("read", "put", "create", "list", "delete"):
            if kind in vars(cls):
                setattr(cls, kind, counted(kind, vars(cls)[kind]))

    def __repr__(self) -> str:
        """Return a text without credentials."""
        return f"{type(self).__name__}({self.url!r})"

    @abstractmethod
    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:
        """Return the object's bytes from ``start``, at most ``length`` of them (None: to its end).

        A range that reaches past the end gives what there is (``b""`` when ``start`` is at or past it).
        Raises NoSuchKey.
        """

    @abstractmethod
    def put(self, key: str, data: bytes) -> None:
        """Store ``data`` under ``key``, replacing what was there; readers see the old or the new, never a part."""

    @abstractmethod
    def create(self, key: str, data: bytes) -> None:
        """Store ``data`` under ``key`` if and only if nothing is there: atomic, exactly one winner, durable.

        Raises AlreadyExists when an object is there (which, after a lost answer, may be this very call's own:
        the caller reads it back), and OutcomeUnknown when the request was sent and no definite answer came.
        """

    @abstractmethod
    def list(
        self, prefix: str, start_after: str | None = None, limit: int | None = None, *, folders: bool = False
    ) -> Iterator[Listed]:
        """Yield the entries whose key starts with ``prefix`` and is greater than ``start_after``, in byte order.

        ``prefix`` is empty or ends in ``/`` or is the beginning of a name. With ``folders``, keys that have a
        further ``/`` after the prefix are folded into one folder entry. At most ``limit`` entries; a store asks
        its server for no more than that.
        """

    @abstractmethod
    def delete(self, keys: Iterable[str]) -> DeleteFailures:
        """Delete objects; a missing one is not a failure. Returns those that could not be deleted.

        ``keys`` may be a listing of the same objects. A folder entry may linger for a moment after its last object.
        """

    @abstractmethod
    def now(self) -> datetime:
        """Return the store's own time (UTC, microseconds) where it has one, else this machine's."""

    def uri(self, key: str) -> str | None:
        """Return the address under which DuckDB can scan the object exactly, or None when it cannot."""
        check_key(key)
        return None

    def stored_as(self, parameters: Mapping[str, str]) -> ObjectStore:
        """Return this store, but one that stores objects with S3's ``parameters`` (encryption, storage class).

        Raises Unsupported where that does not exist; without parameters it is the store itself.
        """
        if parameters:
            raise Unsupported(f"{self.url} is not on S3, so {', '.join(parameters)} cannot be asked for there")
        return self

    def scan_secret(self) -> Mapping[str, str | bool] | None:
        """Return the parameters of the DuckDB secret that ``uri`` needs (fresh at each call), or None."""
        return None

    # -- optional: stores that keep what was deleted -----------------------------------------------------------

    def versioning_enabled(self) -> bool:
        """Return whether deleted objects can be brought back; raises Unsupported where none are kept."""
        raise self._keeps_nothing()

    def deleted_keys(self, prefix: str) -> Iterator[str]:  # noqa: ARG002
        """Yield the keys with this prefix that were deleted and can be brought back. Raises Unsupported."""
        raise self._keeps_nothing()

    def read_deleted(self, key: str) -> bytes:  # noqa: ARG002
        """Return what a deleted object held last. Raises NoSuchKey, Unsupported."""
        raise self._keeps_nothing()

    def undelete(self, key: str) -> None:  # noqa: ARG002
        """Bring back a deleted object as it was last; does nothing where there is one. Raises Unsupported."""
        raise self._keeps_nothing()

    def _keeps_nothing(self) -> Unsupported:
        return Unsupported(f"{self.url} keeps nothing that was deleted: only S3 buckets with versioning do")
