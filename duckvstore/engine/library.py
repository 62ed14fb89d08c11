"""OpenLibrary: one library of a store as the engine sees it, and how libraries are made, found and removed.

Invariant: only immutable things are cached here (version documents, decisions), each checked against the
library's id, so that a cache can be stale about what is newest but never wrong about what it holds.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

from duckvstore import clock
from duckvstore.errors import (
    AlreadyExists,
    Conflict,
    Integrity,
    NoSuchKey,
    NoSuchLibrary,
    OutcomeUnknown,
    StorageUnavailable,
    nearest,
)
from duckvstore.format import documents
from duckvstore.format.layout import Layout, library_root, unescape
from duckvstore.objects import self_test

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from duckvstore.format.documents import Decision, Version
    from duckvstore.objects.base import ObjectStore

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

PARALLEL_REQUESTS = 16
CACHED_SEGMENTS_MAX = 500_000
HEAD_USABLE_SECONDS = 3600.0
CREATE_ATTEMPTS = 8


@dataclass(frozen=True, slots=True)
class Head:
    """What is known of the top of a symbol's history.

    ``highest``: the largest number present in any state (-1: none). ``newest``: the largest visible version.
    ``latest``: the latest time of any document seen, which the next one must exceed. ``undecided``: the id of
    the transaction that the highest document belongs to when it has no decision yet.
    """

    highest: int
    newest: Version | None
    latest: datetime | None
    undecided: str | None
    age: clock.Stopwatch


class OpenLibrary:
    """A library with its caches and its threads. Safe to use from many threads."""

    def __init__(self, objects: ObjectStore, document: documents.Library) -> None:
        """Open the library that ``document`` describes; makes no request."""
        self.objects = objects
        self.name = document.name
        self.library_id = document.library_id
        self.created_at = document.created_at
        self.layout = Layout(library_root(document.name))
        self._versions: OrderedDict[tuple[str, int], Version] = OrderedDict()
        self._cached_segments = 0
        self._decisions: dict[str, Decision] = {}
        self._heads: dict[str, Head] = {}
        self._lock = Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._pool_pid = 0

    @property
    def pool(self) -> ThreadPoolExecutor:
        """Threads for single requests (a task never waits for another task of this pool)."""
        with self._lock:
            if self._pool is None or self._pool_pid != os.getpid():
                self._pool = ThreadPoolExecutor(PARALLEL_REQUESTS, thread_name_prefix="duckvstore-io")
                self._pool_pid = os.getpid()
            return self._pool

    def in_parallel(self, action: Callable[[Item], Outcome], items: Iterable[Item]) -> list[Outcome]:
        """Return ``action(item)`` for every item, in order; the first error is raised, the rest not started."""
        listed = list(items)
        if len(listed) < 2:
            return [action(item) for item in listed]
        futures = [self.pool.submit(action, item) for item in listed]
        try:
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()

    def version(self, symbol: str, number: int) -> Version:
        """Return the document of a version in any state, from the cache when it is there. Raises NoSuchKey."""
        with self._lock:
            cached = self._versions.get((symbol, number))
            if cached is not None:
                self._versions.move_to_end((symbol, number))
                return cached
        key = self.layout.version(symbol, number)
        where = f"{self.objects.url} {key}"
        version = documents.load_version(self.objects.read(key), where=where)
        if version.library_id != self.library_id:
            raise Conflict(
                f"library {self.name!r} was deleted and made again since this handle was opened: get it again "
                "with get_library()"
            )
        if (version.symbol, version.number) != (symbol, number):
            raise Integrity(
                f"the document {where} says that it is version {version.number} of {version.symbol!r}: "
                "it was copied or moved; restore the original"
            )
        self.remember(version)
        return version

    def remember(self, version: Version) -> None:
        """Keep a version document in the cache."""
        with self._lock:
            if (version.symbol, version.number) not in self._versions:
                self._cached_segments += len(version.segments) + 1
            self._versions[version.symbol, version.number] = version
            while self._cached_segments > CACHED_SEGMENTS_MAX and len(self._versions) > 1:
                _, evicted = self._versions.popitem(last=False)
                self._cached_segments -= len(evicted.segments) + 1

    def decision(self, transaction: str) -> Decision | None:
        """Return what became of a transaction, or None while it is undecided. A decision is final: cached."""
        with self._lock:
            if transaction in self._decisions:
                return self._decisions[transaction]
        key = self.layout.transaction(transaction)
        try:
            decision = documents.load_decision(self.objects.read(key), where=f"{self.objects.url} {key}")
        except NoSuchKey:
            return None
        with self._lock:
            self._decisions[transaction] = decision
        return decision

    def cached_head(self, symbol: str) -> Head | None:
        """Return the head of a symbol as last read or written here, if recent enough to write above it.

        A stale head is safe for writing (the conditional create finds out) as long as no document above it
        can have been removed meanwhile, which takes the grace period.
        """
        with self._lock:
            head = self._heads.get(symbol)
        if head is None or head.undecided or head.age.elapsed_seconds() > HEAD_USABLE_SECONDS:
            return None
        return head

    def remember_head(self, symbol: str, head: Head | None) -> None:
        """Keep (or with None, forget) the head of a symbol for the next write."""
        with self._lock:
            if head is None:
                self._heads.pop(symbol, None)
            else:
                self._heads[symbol] = head

    def close(self) -> None:
        """Stop the threads; a later call starts them again."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None and self._pool_pid == os.getpid():
            pool.shutdown(wait=True)


def create_definitely(objects: ObjectStore, key: str, data: bytes, is_own: Callable[[bytes], bool], what: str) -> bool:
    """Create ``key``; return True when this call's object is there, False when another's is.

    The rule for lost answers: after "already exists" the object is read back, and after an unknown outcome
    the same create is repeated, because the first request may still land. Raises OutcomeUnknown naming
    ``what`` when no attempt got a definite answer.
    """
    failure: StorageUnavailable | None = None
    for attempt in range(CREATE_ATTEMPTS):
        if attempt:
            clock.sleep(clock.jitter(min(0.05 * 2**attempt, 5.0)))
        try:
            objects.create(key, data)
        except AlreadyExists:
            try:
                return is_own(objects.read(key))
            except NoSuchKey:
                continue
            except StorageUnavailable as error:
                failure = error
                continue
        except OutcomeUnknown as error:
            failure = error
            continue
        except StorageUnavailable as error:
            if failure is None:
                raise  # nothing was sent, now or before
            failure = error
            continue
        return True
    raise OutcomeUnknown(
        f"{objects.url} gave no definite answer in {CREATE_ATTEMPTS} attempts to create {what}: it may or may not "
        "be there; look before repeating the call"
    ) from failure


def list_libraries(objects: ObjectStore) -> list[str]:
    """Return the names of the libraries of a store, sorted."""
    folders = [entry.key for entry in objects.list("", folders=True) if entry.size_bytes is None]

    def has_document(folder: str) -> bool:
        return any(entry.key == f"{folder}library.json" for entry in objects.list(f"{folder}library.json", limit=1))

    if len(folders) > 1:
        with ThreadPoolExecutor(min(len(folders), PARALLEL_REQUESTS)) as pool:
            present = list(pool.map(has_document, folders))
    else:
        present = [has_document(folder) for folder in folders]
    names = []
    for folder, is_library in zip(folders, present, strict=True):
        if is_library:
            names.append(unescape(folder.removesuffix("/")))
    return sorted(names)


def open_library(objects: ObjectStore, name: str) -> OpenLibrary:
    """Return a library that exists. Raises NoSuchLibrary naming the nearest ones."""
    key = Layout(library_root(name)).library
    try:
        document = documents.load_library(objects.read(key), where=f"{objects.url} {key}")
    except NoSuchKey as error:
        try:
            names = list_libraries(objects)
        except StorageUnavailable:
            names = []
        raise NoSuchLibrary(
            f"{objects.url} has no library {name!r}.{nearest(name, names)} It has {len(names)}"
            f"{': ' + ', '.join(map(repr, names[:10])) if names else ''}. "
            f"Make it with create_library({name!r}) or get_library({name!r}, create_if_missing=True)"
        ) from error
    return OpenLibrary(objects, document)


def create_library(objects: ObjectStore, name: str) -> OpenLibrary:
    """Make a library, after a test that the object store creates conditionally.

    Raises AlreadyExists, and Unsupported when the object store fails the test.
    """
    key = Layout(library_root(name)).library
    self_test(objects)
    document = documents.Library(clock.new_id(), name, clock.new_id(), objects.now())
    data = documents.dump_library(document)

    def is_own(found: bytes) -> bool:
        return documents.load_library(found, where=f"{objects.url} {key}").write_id == document.write_id

    if not create_definitely(objects, key, data, is_own, f"library {name!r}"):
        raise AlreadyExists(f"{objects.url} already has a library {name!r}: open it with get_library({name!r})")
    return OpenLibrary(objects, document)


def delete_library(objects: ObjectStore, name: str) -> None:
    """Remove a library with everything in it: its own document first, so that no reader finds it half gone.

    Raises NoSuchLibrary, and StorageUnavailable naming what could not be deleted (repeat the call).
    """
    root = library_root(name)
    key = Layout(root).library
    found = any(True for _ in objects.list(root, limit=1))
    if not found:
        open_library(objects, name)
    failures = objects.delete([key])
    if not failures:
        failures = objects.delete(entry.key for entry in objects.list(root))
    if failures:
        raise StorageUnavailable(
            f"{len(failures)} objects of library {name!r} could not be deleted, the first is {failures[0].key!r} "
            f"({failures[0].reason}): repeat delete_library({name!r})"
        )
