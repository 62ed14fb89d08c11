"""OpenLibrary: one library of a store as the engine sees it, and how libraries are made, found and removed.

Invariant: only immutable things are cached here (version documents, decisions), each checked against the
library's id, so that a cache can be stale about what is newest but never wrong about what it holds.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakSet

from duckvstore import clock
from duckvstore.errors import (
    AccessDenied,
    AlreadyExists,
    Conflict,
    DuckVStoreError,
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
CACHED_HEADS_MAX = 10_000
CACHED_DECISIONS_MAX = 10_000
HEAD_USABLE_SECONDS = 3600.0
PRESENT_SECONDS = 10.0
CREATE_ATTEMPTS = 8
DELETE_SWEEPS = 5
GRACE_SECONDS = 7 * 24 * 3600.0


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
        self.segment_objects = objects
        self.name = document.name
        self.library_id = document.library_id
        self.created_at = document.created_at
        self.layout = Layout(library_root(document.name))
        self._versions: OrderedDict[tuple[str, int], Version] = OrderedDict()
        self._cached_segments = 0
        self._decisions: OrderedDict[str, Decision] = OrderedDict()
        self._heads: OrderedDict[str, Head] = OrderedDict()
        self._seen_present = clock.Stopwatch()
        self.is_gone = False
        self._start_over()
        _opened.add(self)

    def _start_over(self) -> None:
        """Take a fresh lock and no threads: what a new process needs, and what a forked one must not inherit."""
        self._lock = Lock()
        self._pool: ThreadPoolExecutor | None = None

    @property
    def grace_seconds(self) -> float:
        """How long what was condemned is kept; a call that adds references must commit within half of it."""
        return GRACE_SECONDS

    def submit(self, action: Callable[..., Outcome], *arguments: object) -> Future[Outcome]:
        """Start ``action`` on one of this library's threads; no action waits for another one's.

        When no thread can be started (the interpreter is about to exit) it is carried out here and now; it must
        be harmless to carry it out twice.
        """
        try:
            with self._lock:
                if self._pool is None:
                    self._pool = ThreadPoolExecutor(PARALLEL_REQUESTS, thread_name_prefix="duckvstore-io")
                return self._pool.submit(action, *arguments)
        except RuntimeError:
            future: Future[Outcome] = Future()
            try:
                future.set_result(action(*arguments))
            except Exception as error:  # noqa: BLE001 - it is raised where the result is asked for
                future.set_exception(error)
            return future

    def in_parallel(self, action: Callable[[Item], Outcome], items: Iterable[Item]) -> list[Outcome]:
        """Return ``action(item)`` for every item, in order; the first error is raised, the rest not started."""
        listed = list(items)
        if len(listed) < 2:
            return [action(item) for item in listed]
        futures: list[Future[Outcome]] = []
        try:
            futures.extend(self.submit(action, item) for item in listed)
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()

    def version(self, symbol: str, number: int) -> Version:
        """Return the document of a version in any state, from the cache when it is there.

        What a deleted library of the same name left behind is returned too: ``catalogue.visible_version`` hides
        it. Raises NoSuchKey, and NoSuchLibrary or Conflict when it is this library that was deleted.
        """
        with self._lock:
            cached = self._versions.get((symbol, number))
            if cached is not None:
                self._versions.move_to_end((symbol, number))
                return cached
        key = self.layout.version(symbol, number)
        where = f"{self.objects.url} {key}"
        version = documents.load_version(self.objects.read(key), where=where)
        if version.library_id != self.library_id:
            self.check_present(at_once=True)
        if (version.symbol, version.number) != (symbol, number):
            raise Integrity(
                f"the document {where} says that it is version {version.number} of {version.symbol!r}: "
                "it was copied or moved; restore the original"
            )
        self.remember(version)
        return version

    def check_present(self, *, at_once: bool = False) -> None:
        """Raise NoSuchLibrary when the library was deleted, Conflict when another has its name now.

        Asks the object store, unless that was done in the last ``PRESENT_SECONDS`` and not ``at_once``.
        """
        if not at_once and not self.is_gone and self._seen_present.elapsed_seconds() < PRESENT_SECONDS:
            return
        watch = clock.Stopwatch()
        try:
            data = self.objects.read(self.layout.library)
        except NoSuchKey as error:
            self.is_gone = True
            raise NoSuchLibrary(
                f"library {self.name!r} of {self.objects.url} was deleted since this handle was opened"
            ) from error
        document = documents.load_library(data, where=f"{self.objects.url} {self.layout.library}")
        if document.library_id != self.library_id:
            self.is_gone = True
            raise Conflict(
                f"library {self.name!r} was deleted and made again since this handle was opened: get it again "
                "with get_library()"
            )
        self._seen_present, self.is_gone = watch, False

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
            while len(self._decisions) > CACHED_DECISIONS_MAX:
                self._decisions.popitem(last=False)
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
        """Keep (or with None, forget) the head of a symbol for the next write.

        One that was read before the one kept says nothing new: a slow reader must not undo what a write knows.
        """
        with self._lock:
            kept = self._heads.pop(symbol, None)
            if head is None:
                return
            if kept is not None and head.age.started_before(kept.age):
                head = kept
            self._heads[symbol] = head
            while len(self._heads) > CACHED_HEADS_MAX:
                self._heads.popitem(last=False)

    def close(self) -> None:
        """Stop the threads; a later call starts them again."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True)


_opened: WeakSet[OpenLibrary] = WeakSet()


def _start_over_in_child() -> None:
    for library in list(_opened):
        library._start_over()  # noqa: SLF001 - a lock that another thread held at the fork is never released


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_over_in_child)


def _create_or_compare(objects: ObjectStore, key: str, data: bytes, is_own: Callable[[bytes], bool]) -> bool:
    try:
        objects.create(key, data)
    except AlreadyExists:
        try:
            return is_own(objects.read(key))
        except (NoSuchKey, StorageUnavailable, Integrity) as error:
            raise OutcomeUnknown(f"{objects.url}: {key!r} exists, but cannot be read back: {error}") from error
    return True


def create_definitely(objects: ObjectStore, key: str, data: bytes, is_own: Callable[[bytes], bool], what: str) -> bool:
    """Create ``key``; return True when this call's object is there, False when another's is.

    The rule for lost answers: after "already exists" the object is read back, and after an unknown outcome
    the same create is repeated, because the first request may still land: from then on no error of a repetition
    means that nothing happened. Raises OutcomeUnknown naming ``what`` when no attempt got a definite answer, and
    Integrity when what is there stays unreadable.
    """
    failure: DuckVStoreError | None = None
    for attempt in range(CREATE_ATTEMPTS):
        if attempt:
            clock.sleep(clock.jitter(min(0.05 * 2**attempt, 5.0)))
        try:
            return _create_or_compare(objects, key, data, is_own)
        except OutcomeUnknown as error:
            failure = error
        except DuckVStoreError as error:
            if failure is None:
                raise  # nothing was sent, now or before
            failure = error
    if failure is not None and isinstance(failure.__cause__, Integrity):
        raise failure.__cause__
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
        except AccessDenied:  # who may read a library need not be allowed to list them; any other error says more
            names = []
        there_are = f"It has {', '.join(map(repr, names[:10]))}" if names else "It has no libraries"
        raise NoSuchLibrary(
            f"{objects.url} has no library {name!r}.{nearest(name, names)} {there_are}"
            f"{f' and {len(names) - 10} more' if len(names) > 10 else ''}. "
            f"Make it with create_library({name!r}) or get_library({name!r}, create_if_missing=True)"
        ) from error
    if document.name != name:
        raise Integrity(
            f"the document {key} of {objects.url} says that it is library {document.name!r}: it was copied or moved; "
            "give it back its name"
        )
    return OpenLibrary(objects, document)


def create_library(objects: ObjectStore, name: str) -> OpenLibrary:
    """Make a library, after a test that the object store creates conditionally.

    Raises AlreadyExists, Unsupported when the object store fails the test, and Conflict while there are remains of
    a deleted library of that name: they would be mixed with the new one.
    """
    key = Layout(library_root(name)).library
    self_test(objects)
    _refuse_remains(objects, name)
    document = documents.Library(clock.new_id(), name, clock.new_id(), objects.now())
    data = documents.dump_library(document)

    def is_own(found: bytes) -> bool:
        return documents.load_library(found, where=f"{objects.url} {key}").write_id == document.write_id

    if not create_definitely(objects, key, data, is_own, f"library {name!r}"):
        raise AlreadyExists(f"{objects.url} already has a library {name!r}: open it with get_library({name!r})")
    return OpenLibrary(objects, document)


def _refuse_remains(objects: ObjectStore, name: str) -> None:
    root = library_root(name)
    key = Layout(root).library
    if next(objects.list(root, limit=1), None) is None or next(objects.list(key, limit=1), None) is not None:
        return  # nothing is there, or a library is, which the create finds out
    raise Conflict(
        f"{objects.url} still has objects of a library {name!r} that is being deleted, or was in part: finish it with "
        f"delete_library({name!r}), then make it again"
    )


def delete_library(objects: ObjectStore, name: str) -> None:
    """Remove a library with everything in it: its own document first, so that no reader finds it half gone.

    What writers that had begun before still add is swept up too.

    Raises NoSuchLibrary, and StorageUnavailable naming what could not be deleted (repeat the call).
    """
    root = library_root(name)
    key = Layout(root).library
    found = any(True for _ in objects.list(root, limit=1))
    if not found:
        open_library(objects, name)
    failures = objects.delete([key])
    for _ in range(DELETE_SWEEPS):
        remains = [] if failures else [entry.key for entry in objects.list(root)]
        if not remains or key in remains:  # all gone, and perhaps made again: what is there now is not ours
            break
        failures = objects.delete(remains)
    if failures:
        raise StorageUnavailable(
            f"{len(failures)} objects of library {name!r} could not be deleted, the first is {failures[0].key!r} "
            f"({failures[0].reason}): repeat delete_library({name!r})"
        )
