"""OpenLibrary: one library of a store as the engine sees it: where it is, whether it is still there, its documents.

Only immutable things are cached here (documents, decisions, manifests, labels), each checked against the library's id;
what is newest is for ``heads``, what is condemned for ``garbage_seen``.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from duckvstore import clock
from duckvstore.caches import MIB, Cache
from duckvstore.concurrency import IO
from duckvstore.engine.library.garbage_seen import Looks
from duckvstore.engine.library.heads import Heads
from duckvstore.engine.library.refreshed import Refreshed
from duckvstore.errors import (
    Conflict,
    Integrity,
    NoSuchKey,
    NoSuchLibrary,
    Unsupported,
    printable,
)
from duckvstore.format.stored import consistency, documents, envelope, label_runs, manifests
from duckvstore.format.stored.layout import Layout, library_root
from duckvstore.format.stored.manifests import FoldedSegments
from duckvstore.format.stored.options import Options, OptionsDocument, parameters_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    import pyarrow as pa

    from duckvstore.format.stored.documents import Decision, Version
    from duckvstore.format.stored.label_runs import LabelRun
    from duckvstore.format.stored.manifests import Manifest
    from duckvstore.format.stored.segments import Segment
    from duckvstore.objects.base import ObjectStore

DOCUMENTS_BYTES_MAX = 256 * MIB
MANIFESTS_BYTES_MAX = 256 * MIB
LABELS_BYTES_MAX = 256 * MIB
DECISIONS_BYTES_MAX = 16 * MIB
CATALOGUE_BYTES_MAX = 256 * MIB
INTENTS_BYTES_MAX = 4 * MIB
PRESENT_SECONDS = 10.0
OPTIONS_SECONDS = 60.0


class OpenLibrary:
    """A library with its caches. Safe to use from many threads."""

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
        self.heads = Heads()
        self.looks = Looks()
        self._versions: Cache[tuple[str, int], Version] = Cache(DOCUMENTS_BYTES_MAX, documents.memory_bytes)
        self._decisions: Cache[str, Decision] = Cache(DECISIONS_BYTES_MAX, lambda made: 1000 + 200 * len(made.versions))
        self._manifests: Cache[str, tuple[Segment, ...]] = Cache(MANIFESTS_BYTES_MAX, _segments_bytes)
        self._labels: Cache[LabelRun, list[Any]] = Cache(LABELS_BYTES_MAX, _labels_bytes)
        #: files of the folded catalogue, by key, and what journal entries announce whose keys do not say it
        self.catalogue_files: Cache[str, pa.Table] = Cache(CATALOGUE_BYTES_MAX, lambda table: table.nbytes + 1000)
        self.announced: Cache[str, str] = Cache(INTENTS_BYTES_MAX, lambda symbol: 200 + len(symbol))
        self._options = Refreshed(self._read_options, OPTIONS_SECONDS)
        self._is_folded = False
        self.folded: Any = None  # the generation that was last read: engine.reading.folded
        self.intent_count = 0  # of this handle
        self.automatic: Any = None  # what folds it by itself: engine.maintenance.automatic
        self._document = document
        self._seen_present: clock.Stopwatch | None = clock.Stopwatch()  # None: not by this process
        self.is_gone = False

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the way to open it again, which makes no request: a deletion is noticed by the first call."""
        segments = self._objects[1] if self.is_hybrid else None
        return _reopened, (self._objects[0], self._document, segments)

    def label(self, symbol: str) -> str:
        """Return ``eod/trades``, as used in messages."""
        return printable(f"{self.name}/{symbol}", is_line=True)

    def quoted(self, symbol: str) -> str:
        """Return ``'eod/trades'``, likewise."""
        return repr(f"{self.name}/{symbol}")

    @property
    def is_hybrid(self) -> bool:
        """Whether segments are in another object store than documents."""
        return self._objects[0] is not self._objects[1]

    def after_commit(self) -> None:
        """Tell what looks after the library that a call has committed."""
        if self.automatic is not None:
            self.automatic.after_commit()

    @property
    def options(self) -> Options:
        """The options in force; asks the object store once a minute at most: one listing, and a document if any."""
        return self._options.get()

    def look_at_options(self) -> None:
        """Have ``options`` asked for beside what the caller does next, unless they are known."""
        if not self._options.is_known:
            IO.submit(self._options.get)

    def _read_options(self) -> Options:
        entry = next(iter(self.objects.list(self.layout.options, limit=1)), None)
        options = Options()
        if entry is not None:
            document = OptionsDocument.load(self.objects.read(entry.key), where=f"{self.objects.url} {entry.key}")
            if document.library_id == self.library_id:
                options = document.options
                self._is_folded = document.is_folded
        self._store_as(options)
        return options

    @property
    def is_known_as_folded(self) -> bool:
        """Whether the options say that the catalogue is folded, as far as they were asked for; makes no request."""
        return self._is_folded

    def use_options(self, options: Options, *, is_folded: bool = False) -> None:
        """Take ``options`` as those in force."""
        self._is_folded = is_folded
        self._store_as(options)
        self._options.put(options)

    def _store_as(self, options: Options) -> None:
        documents_as, segments_as = parameters_of(options)
        self.objects = _stored_as(self._objects[0], documents_as)
        self.segment_objects = _stored_as(self._objects[1], segments_as)

    @property
    def grace_seconds(self) -> float:
        """How long what was condemned is kept; a call that adds references must commit within half of it."""
        return self.options.grace_seconds

    def version(self, symbol: str, number: int, *, fresh: bool = False, labelled: bool = True) -> Version:
        """Return the document of a version in any state, from the cache when it is there and not ``fresh``.

        Not ``labelled``: for what it refers to alone; see ``parse_version``.
        What a deleted library of the same name left is returned too: ``visible.visible_version`` hides
        it. Raises NoSuchKey, and NoSuchLibrary or Conflict when it is this library that was deleted.
        """
        cached = None if fresh else self._versions.get((symbol, number))
        if cached is not None:
            return cached
        try:
            data = self.objects.read(self.layout.version(symbol, number))
        except NoSuchKey:
            self.forget(symbol, number)
            raise
        return self.document(symbol, number, data, labelled=labelled)

    def document(self, symbol: str, number: int, data: bytes, *, labelled: bool = True) -> Version:
        """Return the document of a version whose bytes were read, and keep it in the cache. Raises as ``version``."""
        where = f"{self.objects.url} {self.layout.version(symbol, number)}"
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
        is missing or damaged, its schema raises that on use, and the rest is known. Raises Integrity,
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
        found = {run: labels for run in runs if (labels := self._labels.get(run)) is not None}
        missing = [run for run in dict.fromkeys(runs) if run not in found]
        found.update(zip(missing, IO.map(self.labels, missing), strict=True))
        return [found[run] for run in runs]

    def labels(self, run: LabelRun) -> list[Any]:
        """Return the labels of a run, from the cache when they are there. Raises Integrity."""
        return self._labels.loaded(run, lambda: self.load_labels(run))

    def load_labels(self, run: LabelRun) -> list[Any]:
        """Read the labels of a run. Raises Integrity when it is missing or damaged."""
        return label_runs.decode(self._read_run(run.key, "the labels in {} of {} are missing"), run)

    def believing(self, version: Version) -> AbstractContextManager[None]:
        """Blame the document of ``version`` for whatever raw error its content leads to: Integrity that names it."""
        where = version.where or f"{self.objects.url} {self.layout.version(version.symbol, version.number)}"
        return envelope.believing("version", where)

    def _manifest_of(self, where: str, manifest: Manifest) -> tuple[Segment, ...]:
        with envelope.believing("version", where):
            return self.manifest(manifest)

    def manifest(self, manifest: Manifest) -> tuple[Segment, ...]:
        """Return the segments of a manifest, from the cache when they are there. Raises Integrity."""
        return self._manifests.loaded(manifest.key, lambda: self.load_manifest(manifest))

    def load_manifest(self, manifest: Manifest) -> tuple[Segment, ...]:
        """Read the segments of a manifest. Raises Integrity when it is missing or damaged."""
        found = manifests.decode(self._read_run(manifest.key, "manifest {} of {} is missing"), manifest)
        if (len(found), sum(segment.row_count for segment in found)) != (manifest.segment_count, manifest.row_count):
            key = self.layout.manifest_key(manifest.key)
            raise Integrity(f"manifest {key} does not hold what its version says: read another version")
        return found

    def _read_run(self, relative: str, missing: str) -> bytes:
        key = self.layout.manifest_key(relative)
        try:
            return self.segment_objects.read(key)
        except NoSuchKey as error:
            raise Integrity(
                f"{missing.format(key, self.segment_objects.url)}, although a version of library {self.name!r} refers "
                "to it: restore it from a backup, or read another version"
            ) from error

    def check_present(self, *, at_once: bool = False) -> None:
        """Raise NoSuchLibrary when the library was deleted, Conflict when its name is another's now.

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
        self._versions.put((version.symbol, version.number), version)

    def forget(self, symbol: str, number: int) -> None:
        """Drop a version document that is not there any more from the cache."""
        self._versions.drop((symbol, number))

    def has_cached(self, symbol: str, number: int) -> bool:
        """Return whether ``version`` would answer from the cache."""
        return (symbol, number) in self._versions

    def decision(self, transaction: str) -> Decision | None:
        """Return what became of a transaction, or None while it is undecided. A decision is final: cached."""
        cached = self._decisions.get(transaction)
        if cached is not None:
            return cached
        key = self.layout.transaction(transaction)
        try:
            decision = documents.Decision.load(self.objects.read(key), where=f"{self.objects.url} {key}")
        except NoSuchKey:
            return None
        self.remember_decision(decision)
        return decision

    def remember_decision(self, decision: Decision) -> None:
        """Keep a decision, which is final, in the cache."""
        self._decisions.put(decision.transaction, decision)


def _reopened(objects: ObjectStore, document: documents.Library, segment_objects: ObjectStore | None) -> OpenLibrary:
    opened = OpenLibrary(objects, document, segment_objects)
    opened._seen_present = None  # noqa: SLF001 - who knows how long ago it was pickled
    return opened


def _stored_as(objects: ObjectStore, parameters: Mapping[str, str]) -> ObjectStore:
    try:
        return objects.stored_as(parameters)
    except Unsupported:  # of hybrid placement, the part that is not on S3
        return objects


def _segments_bytes(segments: Sequence[Segment]) -> int:
    """Estimate what segments take in memory, as measured."""
    return sum(700 + 120 * len(segment.statistics) for segment in segments)


def _labels_bytes(labels: list[Any]) -> int:
    return 8 * len(labels) + sum(map(sys.getsizeof, labels))
