"""OpenLibrary: one library of a store as the engine sees it, and how libraries are made, found and removed.

Invariant: only immutable things are cached here (version documents, decisions), each checked against the
library's id, so that a cache can be stale about what is newest but never wrong about what it holds.
"""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from duckvstore import clock, forks
from duckvstore.engine.library.garbage_seen import Looks
from duckvstore.engine.library.labels import load as load_label_run
from duckvstore.engine.library.manifests import load as load_manifest
from duckvstore.errors import (
    Conflict,
    Integrity,
    NoSuchKey,
    NoSuchLibrary,
    Unsupported,
    printable,
)
from duckvstore.format.stored import consistency, documents, envelope
from duckvstore.format.stored.layout import Layout, library_root
from duckvstore.format.stored.manifests import FoldedSegments
from duckvstore.format.stored.options import Options, OptionsDocument, parameters_of
from duckvstore.progress import progress
from duckvstore.telemetry import Threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime
    from threading import Lock

    from duckvstore.format.stored.documents import Decision, Version
    from duckvstore.format.stored.label_runs import LabelRun
    from duckvstore.format.stored.manifests import Manifest
    from duckvstore.format.stored.segments import Segment
    from duckvstore.objects.base import ObjectStore

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

PARALLEL_REQUESTS = 16
CACHED_SEGMENTS_MAX = 500_000
CACHED_HEADS_MAX = 10_000
CACHED_MANIFESTS_MAX = 1_000
CACHED_DECISIONS_MAX = 10_000
HEAD_USABLE_SECONDS = 3600.0
PRESENT_SECONDS = 10.0
OPTIONS_SECONDS = 60.0


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

    def __init__(
        self, objects: ObjectStore, document: documents.Library, segment_objects: ObjectStore | None = None
    ) -> None:
        """Open the library that ``document`` describes; makes no request.

        ``segment_objects``: where its segments and manifests are, if not in ``objects`` with the documents.
        """
        self.objects = objects
        self.segment_objects = segment_objects or objects
        self._objects = (self.objects, self.segment_objects)
        self.name = document.name
        self.library_id = document.library_id
        self.created_at = document.created_at
        self.layout = Layout(library_root(document.name))
        self._versions: OrderedDict[tuple[str, int], Version] = OrderedDict()
        self._cached_segments = 0
        self._decisions: OrderedDict[str, Decision] = OrderedDict()
        self._heads: OrderedDict[str, Head] = OrderedDict()
        self._manifests: OrderedDict[str, tuple[Segment, ...]] = OrderedDict()
        self._labels: OrderedDict[LabelRun, list[Any]] = OrderedDict()
        self._loading: dict[LabelRun, Lock] = {}  # those that somebody reads just now
        self._document = document
        self._seen_present: clock.Stopwatch | None = clock.Stopwatch()  # None: not by this process
        self._options: tuple[Options, clock.Stopwatch] | None = None
        self.is_gone = False
        self._lock = forks.lock()
        self._options_lock = forks.lock()
        self.looks = Looks()
        self._pools: dict[str, Threads] = {}
        forks.follow(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the way to open it again, which makes no request: a deletion is noticed by the first call."""
        segments = self._objects[1] if self.is_hybrid else None
        return _reopened, (self._objects[0], self._document, segments)

    def lent(self) -> Sequence[object]:
        """Return nothing: threads are not there in a forked child, and nobody waits for them."""
        return ()

    def start_over(self) -> None:
        """Take no threads over from the process that this one was forked from."""
        self._pools = {}

    def label(self, symbol: str) -> str:
        """Return ``eod/trades``, as messages have it."""
        return printable(f"{self.name}/{symbol}", is_line=True)

    @property
    def is_hybrid(self) -> bool:
        """Whether segments are in another object store than documents."""
        return self._objects[0] is not self._objects[1]

    @property
    def options(self) -> Options:
        """The options in force; asks the object store once a minute at most: one listing, and a document if any."""
        with self._options_lock:  # whoever comes while they are read waits for the answer instead of asking too
            found = self._options
            if found is None or found[1].elapsed_seconds() >= OPTIONS_SECONDS:
                found = self._read_options()
            return found[0]

    def _read_options(self) -> tuple[Options, clock.Stopwatch]:
        watch = clock.Stopwatch()
        entry = next(iter(self.objects.list(self.layout.options, limit=1)), None)
        options = Options()
        if entry is not None:
            document = OptionsDocument.load(self.objects.read(entry.key), where=f"{self.objects.url} {entry.key}")
            if document.library_id == self.library_id:
                options = document.options
        self.use_options(options)
        self._options = (options, watch)
        return self._options

    def use_options(self, options: Options) -> None:
        """Take ``options`` as those in force."""
        documents_as, segments_as = parameters_of(options)
        self.objects = _stored_as(self._objects[0], documents_as)
        self.segment_objects = _stored_as(self._objects[1], segments_as)
        self._options = (options, clock.Stopwatch())

    @property
    def grace_seconds(self) -> float:
        """How long what was condemned is kept; a call that adds references must commit within half of it."""
        return self.options.grace_seconds

    def submit(self, action: Callable[..., Outcome], *arguments: object) -> Future[Outcome]:
        """Start ``action`` on one of this library's threads; no action waits for another one's.

        When no thread can be started (the interpreter is about to exit) it is carried out here and now; it must
        be harmless to carry it out twice.
        """
        return self._submit("duckvstore-io", action, *arguments)

    def _submit_loading(self, action: Callable[..., Outcome], *arguments: object) -> Future[Outcome]:
        """As ``submit``, on threads of their own: actions that ``submit`` has started may wait for these."""
        return self._submit("duckvstore-labels", action, *arguments)

    def _submit(self, threads: str, action: Callable[..., Outcome], *arguments: object) -> Future[Outcome]:
        try:
            with self._lock:
                if threads not in self._pools:
                    self._pools[threads] = Threads(PARALLEL_REQUESTS, thread_name_prefix=threads)
                return self._pools[threads].submit(action, *arguments)
        except RuntimeError:
            future: Future[Outcome] = Future()
            try:
                future.set_result(action(*arguments))
            except Exception as error:  # noqa: BLE001 - it is raised where the result is asked for
                future.set_exception(error)
            return future

    def in_parallel(
        self, action: Callable[[Item], Outcome], items: Iterable[Item], doing: str | None = None
    ) -> list[Outcome]:
        """Return ``action(item)`` for every item, in order; the first error is raised, the rest not started.

        ``doing``: what a progress bar calls it, where segments are counted (None: no bar).
        """
        return self._in_parallel(self.submit, action, items, doing)

    def _in_parallel(
        self,
        submit: Callable[..., Future[Outcome]],
        action: Callable[[Item], Outcome],
        items: Iterable[Item],
        doing: str | None = None,
    ) -> list[Outcome]:
        listed = list(items)
        if len(listed) < 2:
            return [action(item) for item in listed]
        futures: list[Future[Outcome]] = []
        try:
            futures.extend(submit(action, item) for item in listed)
            watched = futures if doing is None else progress(futures, doing, "segment", len(futures))
            return [future.result() for future in watched]
        finally:
            for future in futures:
                future.cancel()

    def version(self, symbol: str, number: int, *, fresh: bool = False, labelled: bool = True) -> Version:
        """Return the document of a version in any state, from the cache when it is there and not ``fresh``.

        Not ``labelled``: for what it refers to alone; see ``parse_version``.
        What a deleted library of the same name left behind is returned too: ``catalogue.visible_version`` hides
        it. Raises NoSuchKey, and NoSuchLibrary or Conflict when it is this library that was deleted.
        """
        with self._lock:
            cached = None if fresh else self._versions.get((symbol, number))
            if cached is not None:
                self._versions.move_to_end((symbol, number))
                return cached
        key = self.layout.version(symbol, number)
        where = f"{self.objects.url} {key}"
        try:
            data = self.objects.read(key)
        except NoSuchKey:
            self.forget(symbol, number)
            raise
        version = self.parse_version(data, where=where, labelled=labelled)
        if version.library_id != self.library_id:
            self.check_present(at_once=True)
        if (version.symbol, version.number) != (symbol, number):
            raise Integrity(
                f"the document {where} says that it is version {version.number} of {version.symbol!r}: "
                "it was copied or moved; restore the original"
            )
        if labelled or not version.label_runs:
            self.remember(version)
        return version

    def parse_version(self, data: bytes, *, where: str, labelled: bool = True) -> Version:
        """Return the version document in ``data``; this library loads its manifests and labels.

        Not ``labelled``: where it names runs of labels, these are not read, and its schema is empty. Where one of them
        is missing or damaged, its schema says so to whoever needs it, and all else of it is known. Raises Integrity,
        Unsupported.
        """
        lost: list[Integrity] = []

        def load(library_id: str, runs: Sequence[LabelRun]) -> list[list[Any]] | None:
            try:
                return self._labels_of(runs) if labelled and library_id == self.library_id else None
            except Integrity as error:
                lost.append(error)
                return None

        version = documents.load_version(data, where=where, load_labels=load)
        if lost:
            version = replace(version, schema=documents.LostSchema(f"{where}: {lost[0]}"))
        elif (labelled and version.library_id == self.library_id) or not version.label_runs:
            consistency.check(version)
        if isinstance(version.segments, FoldedSegments):
            version.segments.load = partial(self._manifest_of, where)
        return version

    def _labels_of(self, runs: Sequence[LabelRun]) -> list[list[Any]]:
        with self._lock:
            found = {run: self._labels[run] for run in runs if run in self._labels}
        missing = [run for run in dict.fromkeys(runs) if run not in found]
        found.update(zip(missing, self._in_parallel(self._submit_loading, self.labels, missing), strict=True))
        return [found[run] for run in runs]

    def labels(self, run: LabelRun) -> list[Any]:
        """Return the labels of a run, from the cache when they are there. Raises Integrity."""
        with self._lock:
            found = self._labels.get(run)
            if found is not None:
                return found
            loading = self._loading.setdefault(run, forks.lock())
        try:
            with loading:  # many versions name the same: who else wants them waits, and looks again
                with self._lock:
                    found = self._labels.get(run)
                if found is None:
                    found = load_label_run(self, run)
                    with self._lock:
                        self._labels[run] = found
                        while len(self._labels) > CACHED_MANIFESTS_MAX:
                            self._labels.popitem(last=False)
                return found
        finally:
            with self._lock:
                self._loading.pop(run, None)

    def believing(self, version: Version) -> AbstractContextManager[None]:
        """Blame the document of ``version`` for whatever raw error its content leads to: Integrity that names it."""
        where = version.where or f"{self.objects.url} {self.layout.version(version.symbol, version.number)}"
        return envelope.believing("version", where)

    def _manifest_of(self, where: str, manifest: Manifest) -> tuple[Segment, ...]:
        with envelope.believing("version", where):
            return self.manifest(manifest)

    def manifest(self, manifest: Manifest) -> tuple[Segment, ...]:
        """Return the segments of a manifest, from the cache when they are there. Raises Integrity."""
        with self._lock:
            cached = self._manifests.get(manifest.key)
        if cached is not None:
            return cached
        found = load_manifest(self, manifest)
        with self._lock:
            self._manifests[manifest.key] = found
            while len(self._manifests) > CACHED_MANIFESTS_MAX:
                self._manifests.popitem(last=False)
        return found

    def check_present(self, *, at_once: bool = False) -> None:
        """Raise NoSuchLibrary when the library was deleted, Conflict when another has its name now.

        Asks the object store, unless that was done in the last ``PRESENT_SECONDS`` and not ``at_once``.
        """
        seen = self._seen_present
        if not at_once and not self.is_gone and seen is not None and seen.elapsed_seconds() < PRESENT_SECONDS:
            return
        watch = clock.Stopwatch()
        try:
            data = self.objects.read(self.layout.library)
        except NoSuchKey as error:
            self.is_gone = True
            raise NoSuchLibrary(
                f"library {self.name!r} of {self.objects.url} was deleted since this handle was opened"
            ) from error
        document = documents.Library.load(data, where=f"{self.objects.url} {self.layout.library}")
        if document.library_id != self.library_id:
            self.is_gone = True
            raise Conflict(
                f"library {self.name!r} was deleted and made again since this handle was opened: get it again "
                "with get_library()"
            )
        self._seen_present, self.is_gone = watch, False

    def remember(self, version: Version) -> None:
        """Keep a version document in the cache, unless its labels are lost: they may be recovered."""
        if version.lost is not None:
            return
        with self._lock:
            if (version.symbol, version.number) not in self._versions:
                self._cached_segments += len(version.segments) + 1
            self._versions[version.symbol, version.number] = version
            while self._cached_segments > CACHED_SEGMENTS_MAX and len(self._versions) > 1:
                _, evicted = self._versions.popitem(last=False)
                self._cached_segments -= len(evicted.segments) + 1

    def forget(self, symbol: str, number: int) -> None:
        """Drop a version document that is not there any more from the cache."""
        with self._lock:
            gone = self._versions.pop((symbol, number), None)
            self._cached_segments -= len(gone.segments) + 1 if gone is not None else 0

    def has_cached(self, symbol: str, number: int) -> bool:
        """Return whether ``version`` would answer from the cache."""
        with self._lock:
            return (symbol, number) in self._versions

    def decision(self, transaction: str) -> Decision | None:
        """Return what became of a transaction, or None while it is undecided. A decision is final: cached."""
        with self._lock:
            if transaction in self._decisions:
                return self._decisions[transaction]
        key = self.layout.transaction(transaction)
        try:
            decision = documents.Decision.load(self.objects.read(key), where=f"{self.objects.url} {key}")
        except NoSuchKey:
            return None
        self.remember_decision(decision)
        return decision

    def remember_decision(self, decision: Decision) -> None:
        """Keep a decision, which is final, in the cache."""
        with self._lock:
            self._decisions[decision.transaction] = decision
            while len(self._decisions) > CACHED_DECISIONS_MAX:
                self._decisions.popitem(last=False)

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

    def known_heads(self, symbols: Sequence[str]) -> dict[str, Head] | None:
        """Return the heads of ``symbols`` as last read or written here, however long ago; None: not of all.

        Each is what a reader could have found at some time before this call.
        """
        with self._lock:
            known = {symbol: self._heads[symbol] for symbol in symbols if symbol in self._heads}
        return known if len(known) == len(set(symbols)) else None

    def remember_head(self, symbol: str, head: Head | None) -> None:
        """Keep (or with None, forget) the head of a symbol for the next write or cut.

        One that was read before the one kept says nothing new: a slow reader must not undo what a write knows. Nor
        is one kept whose labels are lost.
        """
        with self._lock:
            kept = self._heads.pop(symbol, None)
            if head is None or (head.newest is not None and head.newest.lost is not None):
                return
            if kept is not None and head.age.started_before(kept.age):
                head = kept
            self._heads[symbol] = head
            while len(self._heads) > CACHED_HEADS_MAX:
                self._heads.popitem(last=False)

    def close(self) -> None:
        """Stop the threads; a later call starts them again."""
        with self._lock:
            pools, self._pools = self._pools, {}
        for pool in pools.values():
            pool.shutdown(wait=True)


def _reopened(objects: ObjectStore, document: documents.Library, segment_objects: ObjectStore | None) -> OpenLibrary:
    opened = OpenLibrary(objects, document, segment_objects)
    opened._seen_present = None  # noqa: SLF001 - who knows how long ago it was pickled
    return opened


def _stored_as(objects: ObjectStore, parameters: Mapping[str, str]) -> ObjectStore:
    try:
        return objects.stored_as(parameters)
    except Unsupported:  # of hybrid placement, the part that is not on S3
        return objects
