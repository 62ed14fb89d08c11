"""The plan of a collection: what is to be condemned and removed, and what is kept, decided before anything is changed.

Nothing here writes. What a plan removes was condemned a whole grace period before it was begun, and is unreferenced by
everything that was there then. The argument over interleavings is in FORMAT.md, "Prune and garbage collection"; the
order in which things are read is part of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from msgspec import structs

from duckvstore import clock
from duckvstore.concurrency import IO, PARALLEL_DOCUMENTS
from duckvstore.engine.library import condemned, libraries, options
from duckvstore.engine.maintenance import doubts, references
from duckvstore.engine.maintenance.reports import CollectionReport
from duckvstore.engine.maintenance.retention import Retention
from duckvstore.engine.reading import catalogue, folded
from duckvstore.errors import Integrity, NoSuchKey, NoSuchSnapshot, Unsupported
from duckvstore.format.stored import records
from duckvstore.format.stored.generations import Generation
from duckvstore.format.stored.records import Garbage
from duckvstore.progress import progress

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime, timedelta

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.engine.maintenance.references import Document, References, StagedPart
    from duckvstore.format.stored.documents import Version
    from duckvstore.objects.base import DeleteFailure

KEYS_PER_GARBAGE = 2000
PARENTS_READ_MAX = 500


@dataclass(slots=True)
class Plan:
    """What a collection of ``library`` does, in this order; what the grace period ``wait`` still keeps waits.

    ``aborts``: transactions that stayed undecided. ``condemns_versions``, ``condemns_objects``: garbage documents to
    publish, with their reasons; objects are segments, manifests and label runs, by relative key. ``takes_back``:
    condemnations, by key, of objects that are referred to again, and what is left of each. ``versions``, ``parts``,
    ``objects``, ``decisions``, ``intents``, ``catalogue`` (generations and files that were replaced),
    ``snapshot_files`` (that no snapshot names) and ``garbage`` are removed.
    ``folded``: documents that are gone, or will be, so that the folded catalogue must not have them (None: there is
    none); ``rebuilds``: it is to be made anew, since it cannot be read, or lacks a document.
    ``condemned``: all versions that are condemned, or are to be, and there; ``unreferenced``: objects and their sizes
    in bytes. ``left``: keys that are not this library's. ``document_count``: how many versions' were read.
    ``failures``: what could not be deleted when the plan was carried out.
    """

    library: OpenLibrary
    wait: timedelta
    references: References  # of what stays
    aborts: list[str] = field(default_factory=list)
    condemns_versions: list[Garbage] = field(default_factory=list)
    takes_back: dict[str, Garbage | None] = field(default_factory=dict)
    versions: list[tuple[str, int]] = field(default_factory=list)
    parts: list[StagedPart] = field(default_factory=list)
    condemns_objects: list[Garbage] = field(default_factory=list)
    objects: list[str] = field(default_factory=list)
    decisions: list[str] = field(default_factory=list)
    intents: list[str] = field(default_factory=list)
    catalogue: list[str] = field(default_factory=list)
    folded: set[tuple[str, int]] | None = None
    rebuilds: bool = False
    snapshot_files: list[str] = field(default_factory=list)
    garbage: dict[str, Garbage] = field(default_factory=dict)
    condemned: set[tuple[str, int]] = field(default_factory=set)
    unreferenced: dict[str, int] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)
    document_count: int = 0
    failures: list[DeleteFailure] = field(default_factory=list)

    def keep_referenced(self) -> set[str]:
        """Keep the objects that are still referenced, by a document that should have been removed."""
        kept = {relative for relative in self.unreferenced if relative in self.references}
        for relative in kept:
            del self.unreferenced[relative]
        self.objects = [relative for relative in self.objects if relative not in kept]
        left = [
            structs.replace(each, keys=tuple(key for key in each.keys if key not in kept))
            for each in self.condemns_objects
        ]
        self.condemns_objects = [each for each in left if each.keys] if kept else self.condemns_objects
        return kept

    def report(self, *, dry_run: bool) -> CollectionReport:
        """Return what the plan does, or (once it was carried out, without what failed) did."""
        new_versions = [(each.symbol, number) for each in self.condemns_versions for number in each.versions]
        fresh = {relative for each in self.condemns_objects for relative in each.keys}
        condemned_objects = sorted(fresh.difference(self.objects))
        waiting_objects = sorted(self.unreferenced.keys() - fresh - set(self.objects))
        gone = set(self.versions)
        return CollectionReport(
            self.library.name,
            dry_run,
            self.wait,
            condemned_versions=[pair for pair in new_versions if pair not in gone],
            removed_versions=self.versions,
            waiting_versions=sorted(self.condemned.difference(gone, new_versions)),
            condemned_objects=condemned_objects,
            condemned_bytes=self._bytes(condemned_objects),
            deleted_objects=self.objects,
            deleted_bytes=self._bytes(self.objects),
            waiting_objects=waiting_objects,
            waiting_bytes=self._bytes(waiting_objects),
            aborted_transactions=self.aborts,
            removed_decisions=len(self.decisions),
            removed_intents=len(self.intents),
            removed_parts=len(self.parts),
            removed_garbage=len(self.garbage),
            left=self.left,
            failures=self.failures,
        )

    def _bytes(self, keys: Collection[str]) -> int:
        return sum(self.unreferenced[relative] for relative in keys)


def make_plan(library: OpenLibrary, wait: timedelta) -> Plan:
    """Return what a collection with the grace period ``wait`` is to do. Raises as ``collect`` does."""
    return _Planner(library, wait).plan()


class _Planner:
    """What was found so far, and the resulting plan."""

    def __init__(self, library: OpenLibrary, wait: timedelta) -> None:
        self.library = library
        self.stored = library.objects
        self.layout = library.layout
        self.wait = wait
        self.started = self.stored.now()
        self.is_unreadable = False  # of the folded catalogue
        self.garbage: dict[str, Garbage] = {}  # by key: what is condemned in this library, or is to be
        self.foreign_garbage: dict[str, Garbage] = {}
        self.decided: dict[str, str] = {}  # transaction: "committed", "aborted" or "undecided"
        self.newest: dict[str, int] = {}
        self.listed: dict[str, tuple[str, int]] = {}  # segments and manifests by relative key: symbol, size

    def plan(self) -> Plan:
        libraries.check_owner(self.library)
        folded_documents = self._folded_documents()  # before the documents, so that what these lack is gone
        # Staged parts first: finalising makes the version and then removes the part, so one of them is seen.
        self.parts = references.staged_parts(self.library)
        self.inventory = references.inventory(self.library)
        self.found = Plan(self.library, self.wait, self.inventory.references)
        self.found.document_count = len(self.inventory.documents)
        for part in self.parts:
            self.inventory.references.add_keys(part.keys)
        self._load_garbage(entry.key for entry in self.stored.list(self.layout.all_garbage))
        self.held = catalogue.holders(self.library, all_or_none=True)
        self._look_again()
        self._list_objects()
        self._settle_transactions()
        self._retain()
        self._condemn_invisible()
        self._take_back()
        self._remove_versions()
        self._remove_parts()
        self._remove_objects()
        self._remove_decisions()
        self._remove_intents()
        self._remove_garbage()
        self._remove_snapshot_files()
        if folded_documents is not None:
            self.found.folded = self._gone(folded_documents)
            self._remove_catalogue()
        return self.found

    # -- what there is -----------------------------------------------------------------------------------------

    def _is_due(self, time: datetime) -> bool:
        """Return whether the grace period was over when this run began."""
        return not self.wait or time <= self.started - self.wait

    def _load_garbage(self, listed: Iterable[str]) -> None:
        keys = list(listed)
        for start in range(0, len(keys), references.BATCH):
            batch = keys[start : start + references.BATCH]
            loaded = IO.map(lambda key: condemned.read(self.library, key), batch, at_once=PARALLEL_DOCUMENTS)
            for key, garbage in zip(batch, loaded, strict=True):
                if garbage is not None:
                    is_own = garbage.library_id == self.library.library_id
                    (self.garbage if is_own else self.foreign_garbage)[key] = garbage

    def _look_again(self) -> None:
        """List all again, and refuse listings that lack what is named and there, or what was there long before.

        What named versions was read before, so the second listing must show them. What came since is taken in: the
        more is known, the less is removed.
        """
        library, layout, inventory = self.library, self.layout, self.inventory
        named = {pair: f"snapshot {names[0]!r} holds it" for pair, names in self.held.items()}
        named |= dict.fromkeys(self._condemned_versions(), "it is named as condemned")
        announced: list[str] = []
        if not inventory.documents:
            named |= self._decided_versions()
            announced = self._announced_symbols()
        snapshots = {layout.snapshot(name) for names in self.held.values() for name in names}
        for key in doubts.shown_again(library, layout.all_staging, {part.key for part in self.parts}):
            part = references.staged_part(library, key)
            if part is not None:
                self._check_young(key, part.staged_at)
                inventory.references.add_keys(part.keys)
        for key in doubts.shown_again(
            library, layout.versions, {layout.version(*pair) for pair in inventory.documents}
        ):
            version = self._load(layout.parse_version(key))
            if version is not None:
                self._check_young(key, version.created_at)
                inventory.add([(0, version)])
        self._load_garbage(doubts.shown_again(library, layout.all_garbage, {*self.garbage, *self.foreign_garbage}))
        for key in doubts.shown_again(library, layout.snapshots, snapshots):
            self._hold(key)
        named = self._parents() | named
        doubts.check_named(library, {pair: named[pair] for pair in named.keys() - inventory.documents.keys()})
        doubts.check_nothing_of(library, set(announced) - inventory.highest.keys(), "the journal names its symbol")

    def _check_young(self, key: str, time: datetime) -> None:
        if time < self.started - self.wait / 2:  # clocks differ
            raise doubts.contradiction(self.library, key, "a second listing showed it")

    def _hold(self, key: str) -> None:
        try:
            snapshot = catalogue.read_snapshot(self.library, self.layout.parse_snapshot(key))
        except NoSuchSnapshot:
            return
        if snapshot.versions:  # of an empty one nothing was seen the first time either
            self._check_young(key, snapshot.created_at)
        for pair in snapshot.versions.items():
            self.held.setdefault(pair, []).append(snapshot.name)

    def _parents(self) -> dict[tuple[str, int], str]:
        """Return versions that others were made above and that are not there: most were pruned, so some will do."""
        found = {
            (document.symbol, document.parent): f"version {document.number} was made above it"
            for document in self._own_documents()
            if document.parent is not None and (document.symbol, document.parent) not in self.inventory.documents
        }
        return dict([*found.items()][:: len(found) // PARENTS_READ_MAX + 1])

    def _decided_versions(self) -> dict[tuple[str, int], str]:
        found: dict[tuple[str, int], str] = {}
        for entry in self.stored.list(self.layout.transactions):
            name = entry.key.removeprefix(self.layout.transactions).removesuffix(".json")
            try:
                decision = self.library.decision(name)
            except (Integrity, Unsupported):
                continue  # reported where decisions are removed
            if decision is not None:
                found |= dict.fromkeys(decision.versions.items(), f"transaction {name} made it")
        return found

    def _folded_documents(self) -> dict[tuple[str, int], str] | None:
        """Return the write ids of what is folded, by symbol and number; None: the library does not fold."""
        if not options.is_folded(self.library):
            return None
        return self._folded_now()[0]

    def _folded_now(self) -> tuple[dict[tuple[str, int], str], frozenset[str]]:
        """Return the write ids of what is folded, by symbol and number, and the symbols that may have more."""
        view = folded.look(self.library)
        rows = folded.using(view, lambda view: view.folded.versions())
        if view is None or rows is None:
            self.is_unreadable = view is not None
            return {}, frozenset()
        symbols, numbers, write_ids = (rows[name].to_pylist() for name in ("symbol", "version", "write_id"))
        return dict(zip(zip(symbols, numbers, strict=True), write_ids, strict=True)), view.tail

    def _gone(self, folded_documents: dict[tuple[str, int], str]) -> set[tuple[str, int]]:
        """Return what the catalogue may have of documents that are gone, or will be."""
        named = {(each.symbol, number) for each in self.found.garbage.values() for number in each.versions}
        unlisted = sorted(folded_documents.keys() - self.inventory.documents.keys() - named - set(self.found.versions))
        there = references.in_batches(self._load, unlisted, "reading versions")
        missing = {pair for pair, version in zip(unlisted, there, strict=True) if version is None}
        # What a copy or a restored backup brought is announced by nobody; what was written meanwhile is.
        documents = self.inventory.documents
        lacking = documents.keys() - folded_documents.keys()
        if lacking:
            now, tail = self._folded_now()
            lacking = {pair for pair in lacking - now.keys() if pair[0] not in tail}
        is_other = any(folded_documents.get(pair, each.write_id) != each.write_id for pair, each in documents.items())
        self.found.rebuilds |= bool(lacking) or is_other or self.is_unreadable
        return named | missing | set(self.found.versions)

    def _announced_symbols(self) -> list[str]:
        def symbol_of(key: str) -> str | None:
            try:
                return records.Intent.load(self.stored.read(key), where=f"{self.stored.url} {key}").symbol
            except (NoSuchKey, Integrity, Unsupported):
                return None

        keys = [entry.key for entry in self.stored.list(self.layout.journal)]
        found = references.in_batches(symbol_of, keys, "reading the journal")
        return sorted({symbol for symbol in found if symbol is not None})

    def _list_objects(self) -> None:
        for prefix in (self.layout.segments, self.layout.manifests):
            for entry in progress(self.library.segment_objects.list(prefix), "listing segments", "segment"):
                try:
                    symbol, relative = self.layout.parse_named(entry.key)
                except Integrity:
                    self.found.left.append(entry.key)
                else:
                    self.listed[relative] = symbol, entry.size_bytes or 0
        unknown = {symbol for symbol, _ in self.listed.values()} - self.inventory.highest.keys()
        doubts.check_nothing_of(
            self.library, sorted(unknown), "segments of its symbol are there", self.started - self.wait / 2
        )

    def _settle_transactions(self) -> None:
        """Learn what became of each transaction; one that is undecided for longer than the grace is to be aborted."""
        began: dict[str, datetime] = {}
        for document in self._own_documents():
            if document.transaction is not None:
                first = began.get(document.transaction, document.created_at)
                began[document.transaction] = min(first, document.created_at)
        decisions = IO.map(self.library.decision, began, at_once=PARALLEL_DOCUMENTS)
        for name, decision in zip(began, decisions, strict=True):
            self.decided[name] = decision.outcome if decision is not None else "undecided"
            if decision is None and self._is_due(began[name]):
                self.found.aborts.append(name)
                self.decided[name] = "aborted"
        for document in self._own_documents():
            if self._state(document) == "committed":
                self.newest[document.symbol] = max(self.newest.get(document.symbol, -1), document.number)

    def _own_documents(self) -> list[Document]:
        own = self.library.library_id
        return [document for document in self.inventory.documents.values() if document.library_id == own]

    def _state(self, document: Document) -> str:
        if document.library_id != self.library.library_id:
            return "aborted"  # of a library that is gone: as absent as an aborted one
        return "committed" if document.transaction is None else self.decided[document.transaction]

    def _condemned_versions(self) -> set[tuple[str, int]]:
        return {(garbage.symbol, number) for garbage in self.garbage.values() for number in garbage.versions}

    # -- versions ----------------------------------------------------------------------------------------------

    def _condemn(self, symbol: str, reason: str, versions: Iterable[int] = (), keys: Iterable[str] = ()) -> Garbage:
        own, name = self.library.library_id, clock.new_id()
        garbage = Garbage(own, name, symbol, self.started, reason, tuple(versions), tuple(keys))
        self.garbage[self.layout.garbage(symbol, name)] = garbage
        return garbage

    def _retain(self) -> None:
        """Condemn what the library's own policy does not keep."""
        retention = Retention.of(self.library.options)
        if retention.keeps_all:
            return
        unwanted = self._condemned_versions()
        visible: dict[str, list[tuple[int, datetime]]] = {}
        for document in self._own_documents():
            if self._state(document) == "committed":
                visible.setdefault(document.symbol, []).append((document.number, self._time(document)))
        for symbol, found in visible.items():
            gone = [number for number, _ in found if (symbol, number) in unwanted]
            held = [number for number, _ in found if (symbol, number) in self.held]
            versions = retention.prunable(sorted(found, reverse=True), lambda: self.started, gone, held)
            if versions:
                self.found.condemns_versions.append(self._condemn(symbol, "retention", versions))

    def _time(self, document: Document) -> datetime:
        decision = self.library.decision(document.transaction) if document.transaction else None
        return decision.decided_at if decision is not None else document.created_at

    def _condemn_invisible(self) -> None:
        """Condemn documents that no reader sees: of aborted transactions, and of a library that had this name."""
        known = self._condemned_versions()
        found: dict[str, list[int]] = {}
        for pair, document in self.inventory.documents.items():
            is_highest = document.number == self.inventory.highest[document.symbol]
            if pair not in known and not is_highest and self._state(document) == "aborted":
                found.setdefault(document.symbol, []).append(document.number)
        for symbol, versions in found.items():
            self.found.condemns_versions.append(self._condemn(symbol, "aborted", versions))

    def _take_back(self) -> None:
        """Take back the condemnation of segments that a document refers to now.

        What else such a document condemns stays so, from the same time.
        """
        for key, garbage in list(self.garbage.items()):
            kept = tuple(relative for relative in garbage.keys if relative not in self.inventory.references)
            if kept == garbage.keys:
                continue
            rest = structs.replace(garbage, garbage_id=clock.new_id(), keys=kept) if kept or garbage.versions else None
            self.found.takes_back[key] = rest
            del self.garbage[key]
            if rest is not None:
                self.garbage[self.layout.garbage(rest.symbol, rest.garbage_id)] = rest

    def _remove_versions(self) -> None:
        self.found.condemned = self._condemned_versions() & self.inventory.documents.keys()
        due = {
            (garbage.symbol, number)
            for garbage in self.garbage.values()
            if self._is_due(garbage.condemned_at)
            for number in garbage.versions
        }
        going = sorted(pair for pair in due if self._may_go(pair))
        for version in references.loaded(self.library, [self.inventory.documents[pair] for pair in going]):
            self.inventory.references.remove(version)
            del self.inventory.documents[version.symbol, version.number]
            self.found.versions.append((version.symbol, version.number))

    def _load(self, pair: tuple[str, int], *, fresh: bool = False) -> Version | None:
        try:
            return self.library.version(*pair, fresh=fresh, labelled=False)
        except NoSuchKey:
            return None  # another collection was first; what it referred to counts as referenced in this run

    def _may_go(self, pair: tuple[str, int]) -> bool:
        document = self.inventory.documents.get(pair)
        if document is None or pair in self.held:
            return False
        is_last = document.number in (self.inventory.highest[document.symbol], self.newest.get(document.symbol))
        return not is_last and self._state(document) != "undecided"

    # -- segments and manifests --------------------------------------------------------------------------------

    def _remove_parts(self) -> None:
        self.found.parts = [part for part in self.parts if self._is_due(part.staged_at)]
        for part in self.found.parts:
            self.inventory.references.remove_keys(part.keys)

    def _count_again(self) -> None:
        """Read the documents that the catalogue has told, of each symbol that is to lose something.

        Copies and restored buckets may have other documents under these keys, and what those name is kept.
        """
        losing = {symbol for key, (symbol, _) in self.listed.items() if key not in self.inventory.references}
        told = sorted(pair for pair in self.inventory.told & self.inventory.documents.keys() if pair[0] in losing)
        for version in references.in_batches(partial(self._load, fresh=True), told, "reading versions"):
            if version is not None:
                known = self.inventory.documents[version.symbol, version.number]
                self.found.rebuilds |= version.write_id != known.write_id
                self.inventory.references.add([version])

    def _remove_objects(self) -> None:
        """Condemn what no document refers to, and delete what was condemned long enough ago."""
        self._count_again()
        sizes = {key: size for key, (_, size) in self.listed.items() if key not in self.inventory.references}
        known = {relative for garbage in self.garbage.values() for relative in garbage.keys}
        new: dict[str, list[str]] = {}
        for relative in sorted(sizes.keys() - known):
            new.setdefault(self.listed[relative][0], []).append(relative)
        for symbol, keys in new.items():
            for start in range(0, len(keys), KEYS_PER_GARBAGE):
                batch = keys[start : start + KEYS_PER_GARBAGE]
                self.found.condemns_objects.append(self._condemn(symbol, "unreferenced", keys=batch))
        due = {key for each in self.garbage.values() if self._is_due(each.condemned_at) for key in each.keys}
        self.found.unreferenced = sizes
        self.found.objects = sorted(due & sizes.keys())

    # -- small documents ---------------------------------------------------------------------------------------

    def _remove_decisions(self) -> None:
        """Remove decisions that no document names any more, a grace period after they were made."""
        named = {document.transaction for document in self.inventory.documents.values()}
        for entry in self.stored.list(self.layout.transactions):
            name = entry.key.removeprefix(self.layout.transactions).removesuffix(".json")
            if name in named:
                continue
            try:
                self.layout.transaction(name)
            except Integrity:
                self.found.left.append(entry.key)
                continue
            decision = self.library.decision(name)
            if decision is not None and self._is_due(decision.decided_at):
                doubts.check_unnamed(self.library, decision, self.found.versions)
                self.found.decisions.append(name)
        self.found.decisions += [name for name in self.found.aborts if not self.wait and name not in named]

    def _remove_intents(self) -> None:
        """Remove old intents; where the catalogue is folded, only of what was never made: folds see to the others."""
        keys = [entry.key for entry in self.stored.list(self.layout.journal)]
        if options.is_folded(self.library):
            made = {document.write_id for document in self.inventory.documents.values()}
            keys = [key for key in keys if key.removeprefix(self.layout.journal).partition(".")[0] not in made]
        due = references.in_batches(self._is_old_intent, keys, "reading the journal")
        self.found.intents = [key for key, is_old in zip(keys, due, strict=True) if is_old]

    def _is_old_intent(self, key: str) -> bool:
        if not self.wait:
            return True
        try:
            intent = records.Intent.load(self.stored.read(key), where=f"{self.stored.url} {key}")
        except NoSuchKey:
            return False
        except (Integrity, Unsupported):
            self.found.left.append(key)
            return False
        return self._is_due(intent.announced_at)

    def _remove_snapshot_files(self) -> None:
        """Remove old files that their snapshot's document, read by its key, does not name: no listing is believed."""
        due: dict[str, list[str]] = {}
        for entry in self.stored.list(self.layout.snapshot_files):
            try:
                name, put_at = self.layout.parse_snapshot_file(entry.key)
            except Integrity:
                self.found.left.append(entry.key)
                continue
            if self._is_due(put_at):
                due.setdefault(name, []).append(entry.key)
        for name, keys in due.items():
            try:
                files = catalogue.snapshot_document(self.library, name).files
            except NoSuchSnapshot:
                files = ()
            named = {self.layout.root + file.key for file in files}
            self.found.snapshot_files += [key for key in keys if key not in named]

    def _remove_catalogue(self) -> None:
        """Remove generations that were replaced a grace period ago, and old files that none of the others names."""
        newest: set[str] = set()
        named: set[str] = set()
        replaced_at: datetime | None = None
        for entry in self.stored.list(self.layout.generations):
            try:
                self.layout.parse_generation(entry.key)
            except Integrity:
                self.found.left.append(entry.key)
                continue
            if replaced_at is not None and self._is_due(replaced_at):
                self.found.catalogue.append(entry.key)
                continue
            try:
                generation = Generation.load(self.stored.read(entry.key), where=f"{self.stored.url} {entry.key}")
            except (NoSuchKey, Integrity, Unsupported):
                return  # what it names is not known
            files = {file.key for file in generation.files()}
            newest = newest if replaced_at is not None else files
            named |= files
            replaced_at = generation.created_at
        there: set[str] = set()
        for entry in self.stored.list(self.layout.catalogue_files):
            try:
                relative, put_at = self.layout.parse_catalogue_file(entry.key)
            except Integrity:
                self.found.left.append(entry.key)
                continue
            there.add(relative)
            if relative not in named and self._is_due(put_at):
                self.found.catalogue.append(entry.key)
        self.found.rebuilds |= not newest <= there

    def _remove_garbage(self) -> None:
        """Remove the documents of which everything that they condemned is gone, and other libraries' old ones."""
        gone = set(self.found.objects)
        left = self.listed.keys() - gone
        for key, garbage in self.garbage.items():
            # A version above all that were listed was made and condemned since.
            highest = self.inventory.highest.get(garbage.symbol, -1)
            is_there = any(
                number > highest or (garbage.symbol, number) in self.inventory.documents for number in garbage.versions
            )
            if not is_there and left.isdisjoint(garbage.keys):
                self.found.garbage[key] = garbage
        for key, garbage in self.foreign_garbage.items():
            if self._is_due(garbage.condemned_at):
                self.found.garbage[key] = garbage
