"""Collection: what nothing refers to is condemned, and removed after the grace period.

Invariant: nothing is deleted that was not condemned a whole grace period before the run began and is unreferenced by
everything that was there when it began. The argument over interleavings is in FORMAT.md, "Prune and garbage
collection"; the order of the steps is part of it.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from msgspec import structs

from duckvstore import clock, telemetry
from duckvstore.concurrency import IO
from duckvstore.engine.library import condemned, libraries, options
from duckvstore.engine.maintenance import doubts, prune, references
from duckvstore.engine.maintenance.reports import CollectionReport
from duckvstore.engine.reading import catalogue
from duckvstore.engine.writing import commits
from duckvstore.errors import Integrity, InvalidInput, NoSuchKey, NoSuchSnapshot, StorageUnavailable, Unsupported
from duckvstore.format.stored import records
from duckvstore.format.stored.records import Garbage
from duckvstore.objects.base import DeleteFailure
from duckvstore.progress import progress

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.engine.maintenance.references import Document, Inventory
    from duckvstore.format.stored.documents import Version
    from duckvstore.objects.base import ObjectStore

Item = TypeVar("Item")

DELETE_BATCH = 1000
KEYS_PER_GARBAGE = 2000
PARENTS_READ_MAX = 500


def collect(library: OpenLibrary, *, grace: timedelta | None = None, dry_run: bool = True) -> CollectionReport:
    """Condemn what nothing refers to, remove what was condemned a grace period ago, and report both.

    ``grace``: None is the library's own; zero does all in one run and is for when nobody else writes. ``dry_run``:
    change nothing, report what would be done. Raises Integrity or Unsupported (and has deleted nothing) when a
    document cannot be read, NoSuchLibrary, Conflict (also when the segments belong to another library),
    StorageUnavailable (also when a listing lacks what is there: see ``doubts``).
    """
    if grace is not None and (not isinstance(grace, timedelta) or grace < timedelta(0)):
        raise InvalidInput(f"grace={grace!r} is no length of time: give a datetime.timedelta, or None")
    library.check_present(at_once=True)
    wait = timedelta(seconds=options.grace_in_force(library)) if grace is None else grace
    report = _Run(library, wait, dry_run=dry_run).carry_out()
    if not dry_run:
        _tell(report)
    return report


def _tell(report: CollectionReport) -> None:
    counts = {
        "removed_versions": len(report.removed_versions),
        "deleted_objects": len(report.deleted_objects),
        "deleted_bytes": report.deleted_bytes,
        "condemned_versions": len(report.condemned_versions),
        "condemned_objects": len(report.condemned_objects),
        "aborted_transactions": len(report.aborted_transactions),
        "failures": len(report.failures),
    }
    text = f"gc of library {report.library!r}: {', '.join(f'{number} {name}' for name, number in counts.items())}"
    telemetry.tell(logging.INFO, "gc", text.replace("_", " "), library=report.library, **counts)


class _Run:
    """One run. Its steps, in the order of ``carry_out``, share what was found."""

    def __init__(self, library: OpenLibrary, wait: timedelta, *, dry_run: bool) -> None:
        self.library = library
        self.objects = library.objects
        self.layout = library.layout
        self.wait = wait
        self.dry_run = dry_run
        self.report = CollectionReport(library.name, dry_run, wait)
        self.started = self.objects.now()
        self.garbage: dict[str, Garbage] = {}  # by key: what is condemned in this library
        self.foreign_garbage: dict[str, Garbage] = {}
        self.decided: dict[str, str] = {}  # transaction: "committed", "aborted" or "undecided"
        self.newest: dict[str, int] = {}
        self.listed: dict[str, tuple[str, int]] = {}  # segments and manifests by relative key: symbol, size

    def carry_out(self) -> CollectionReport:
        libraries.check_owner(self.library)
        # Staged parts first: finalising makes the version and then removes the part, so one of them is seen.
        self.parts = references.staged_parts(self.library)
        self.inventory: Inventory = references.inventory(self.library)
        for part in self.parts:
            self.inventory.references.add_keys(part.keys)
        self._load_garbage(entry.key for entry in self.objects.list(self.layout.all_garbage))
        self.held = prune.holders(self.library)
        self._look_again()
        self._settle_transactions()
        self._retain()
        self._condemn_invisible()
        self.referenced_before = self.inventory.references.copy()
        self._take_back()
        self._remove_versions()
        self._remove_parts()
        self._list_objects()
        self._condemn_objects()
        self._delete_objects()
        self._remove_decisions()
        self._remove_intents()
        self._remove_garbage()
        return self.report

    # -- what there is -----------------------------------------------------------------------------------------

    def _is_due(self, time: datetime) -> bool:
        """Return whether the grace period was over when this run began."""
        return not self.wait or time <= self.started - self.wait

    def _load_garbage(self, listed: Iterable[str]) -> None:
        keys = list(listed)
        for start in range(0, len(keys), references.BATCH):
            batch = keys[start : start + references.BATCH]
            loaded = IO.map(lambda key: condemned.read(self.library, key), batch)
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
        for entry in self.objects.list(self.layout.transactions):
            name = entry.key.removeprefix(self.layout.transactions).removesuffix(".json")
            try:
                decision = self.library.decision(name)
            except (Integrity, Unsupported):
                continue  # reported where decisions are removed
            if decision is not None:
                found |= dict.fromkeys(decision.versions.items(), f"transaction {name} made it")
        return found

    def _announced_symbols(self) -> list[str]:
        def symbol_of(key: str) -> str | None:
            try:
                return records.Intent.load(self.objects.read(key), where=f"{self.objects.url} {key}").symbol
            except (NoSuchKey, Integrity, Unsupported):
                return None

        keys = [entry.key for entry in self.objects.list(self.layout.journal)]
        found = references.in_batches(symbol_of, keys, "reading the journal")
        return sorted({symbol for symbol in found if symbol is not None})

    def _settle_transactions(self) -> None:
        """Learn what became of each transaction, and abort those that are undecided for longer than the grace."""
        began: dict[str, datetime] = {}
        for document in self._own_documents():
            if document.transaction is not None:
                first = began.get(document.transaction, document.created_at)
                began[document.transaction] = min(first, document.created_at)
        names = list(began)
        found = IO.map(self.library.decision, names)
        for name, decision in zip(names, found, strict=True):
            outcome = decision.outcome if decision is not None else "undecided"
            if decision is None and self._is_due(began[name]):
                self.report.aborted_transactions.append(name)
                outcome = "aborted"
                if not self.dry_run:
                    commits.abort(self.library, name)
                    made = self.library.decision(name)
                    outcome = made.outcome if made is not None else "undecided"
            self.decided[name] = outcome
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

    def _condemn(self, symbol: str, reason: str, versions: Iterable[int] = (), keys: Iterable[str] = ()) -> None:
        if self.dry_run:
            garbage = Garbage(
                self.library.library_id, clock.new_id(), symbol, self.started, reason, tuple(versions), tuple(keys)
            )
        else:
            garbage = condemned.publish(self.library, symbol, reason, versions=versions, keys=keys)
        self.garbage[self.layout.garbage(symbol, garbage.garbage_id)] = garbage
        self.report.condemned_versions += [(symbol, number) for number in garbage.versions]

    def _retain(self) -> None:
        """Condemn what the library's own policy does not keep."""
        chosen = self.library.options
        if chosen.keep_last is None and chosen.keep_for_seconds is None:
            return
        oldest = None
        if chosen.keep_for_seconds is not None:
            oldest = self.started - timedelta(seconds=chosen.keep_for_seconds)
        unwanted = self._condemned_versions()
        visible: dict[str, list[tuple[int, datetime]]] = {}
        for document in self._own_documents():
            if self._state(document) == "committed":
                visible.setdefault(document.symbol, []).append((document.number, self._time(document)))
        for symbol, found in visible.items():
            gone = [number for number, _ in found if (symbol, number) in unwanted]
            held = [number for number, _ in found if (symbol, number) in self.held]
            versions = prune.prunable(sorted(found, reverse=True), chosen.keep_last, oldest, gone, held)
            if versions:
                self._condemn(symbol, "retention", versions)

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
            self._condemn(symbol, "aborted", versions)

    def _take_back(self) -> None:
        """Take back the condemnation of segments that a document refers to now.

        Before any document is removed: else a later run could take an old condemnation for one that has held all
        the time. What else such a document condemns stays so, from the same time.
        """
        for key, garbage in list(self.garbage.items()):
            kept = tuple(relative for relative in garbage.keys if relative not in self.referenced_before)
            if kept == garbage.keys:
                continue
            del self.garbage[key]
            if kept or garbage.versions:
                rest = structs.replace(garbage, garbage_id=clock.new_id(), keys=kept)
                self.garbage[self.layout.garbage(rest.symbol, rest.garbage_id)] = rest
                if not self.dry_run:
                    condemned.create(self.library, rest)
            if not self.dry_run:
                failures = self.objects.delete([key])
                if failures:
                    raise StorageUnavailable(
                        f"{self.objects.url} {key}, which condemns what is in use again, could not be deleted "
                        f"({failures[0].reason}), so no version was removed: run gc again"
                    )

    def _remove_versions(self) -> None:
        due = {
            (garbage.symbol, number)
            for garbage in self.garbage.values()
            if self._is_due(garbage.condemned_at)
            for number in garbage.versions
        }
        going = sorted(pair for pair in due if self._may_go(pair))
        for start in range(0, len(going), references.BATCH):
            self._remove_batch(going[start : start + references.BATCH])
        gone = set(self.report.removed_versions)
        waiting = (self._condemned_versions() & self.inventory.documents.keys()) - {*self.report.condemned_versions}
        self.report.waiting_versions = sorted(waiting)
        self.report.condemned_versions = [pair for pair in self.report.condemned_versions if pair not in gone]

    def _remove_batch(self, pairs: list[tuple[str, int]]) -> None:
        loaded = IO.map(self._load, pairs)
        there = {self.layout.version(*pair): version for pair, version in zip(pairs, loaded, strict=True) if version}
        for version in self._delete(self.objects, there):
            pair = (version.symbol, version.number)
            self.inventory.references.remove(version)
            del self.inventory.documents[pair]
            self.report.removed_versions.append(pair)
            if not self.dry_run:
                self.library.forget(*pair)

    def _load(self, pair: tuple[str, int]) -> Version | None:
        try:
            return self.library.version(*pair)
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
        gone = self._delete(self.objects, {part.key: part for part in self.parts if self._is_due(part.staged_at)})
        for part in gone:
            self.inventory.references.remove_keys(part.keys)
        self.report.removed_parts = len(gone)

    def _list_objects(self) -> None:
        for prefix in (self.layout.segments, self.layout.manifests):
            for entry in progress(self.library.segment_objects.list(prefix), "listing segments", "segment"):
                try:
                    symbol, relative = self.layout.parse_named(entry.key)
                except Integrity:
                    self.report.left.append(entry.key)
                else:
                    self.listed[relative] = symbol, entry.size_bytes or 0
        unknown = {symbol for symbol, _ in self.listed.values()} - self.inventory.highest.keys()
        doubts.check_nothing_of(
            self.library, sorted(unknown), "segments of its symbol are there", self.started - self.wait / 2
        )

    def _unreferenced(self) -> set[str]:
        return {relative for relative in self.listed if relative not in self.inventory.references}

    def _condemn_objects(self) -> None:
        """Condemn what no document refers to; the time of that is after the listing, so after each upload."""
        known = {relative for garbage in self.garbage.values() for relative in garbage.keys}
        found: dict[str, list[str]] = {}
        for relative in sorted(self._unreferenced() - known):
            found.setdefault(self.listed[relative][0], []).append(relative)
        for symbol, keys in found.items():
            for start in range(0, len(keys), KEYS_PER_GARBAGE):
                self._condemn(symbol, "unreferenced", keys=keys[start : start + KEYS_PER_GARBAGE])
        self.report.condemned_objects = [relative for keys in found.values() for relative in keys]

    def _delete_objects(self) -> None:
        unreferenced = self._unreferenced()
        due = {
            relative
            for garbage in self.garbage.values()
            if self._is_due(garbage.condemned_at)
            for relative in garbage.keys
            if relative in unreferenced
        }
        gone = self._delete(self.library.segment_objects, {self.layout.root + each: each for each in sorted(due)})
        report = self.report
        report.deleted_objects, report.deleted_bytes = gone, self._bytes(gone)
        fresh = set(report.condemned_objects)
        report.condemned_objects = sorted(fresh.difference(gone))
        report.condemned_bytes = self._bytes(report.condemned_objects)
        report.waiting_objects = sorted(unreferenced.difference(gone, fresh))
        report.waiting_bytes = self._bytes(report.waiting_objects)
        for relative in gone:
            del self.listed[relative]

    def _bytes(self, keys: Collection[str]) -> int:
        return sum(self.listed[relative][1] for relative in keys)

    # -- small documents ---------------------------------------------------------------------------------------

    def _remove_decisions(self) -> None:
        """Remove decisions that no document names any more, a grace period after they were made."""
        named = {document.transaction for document in self.inventory.documents.values()}
        old: dict[str, str] = {}
        for entry in self.objects.list(self.layout.transactions):
            name = entry.key.removeprefix(self.layout.transactions).removesuffix(".json")
            if name in named:
                continue
            try:
                self.layout.transaction(name)
            except Integrity:
                self.report.left.append(entry.key)
                continue
            decision = self.library.decision(name)
            if decision is not None and self._is_due(decision.decided_at):
                doubts.check_unnamed(self.library, decision, self.report.removed_versions if self.dry_run else ())
                old[entry.key] = name
        self.report.removed_decisions = len(self._delete(self.objects, old))

    def _remove_intents(self) -> None:
        keys = [entry.key for entry in self.objects.list(self.layout.journal)]
        old: list[str] = []
        for start in progress(range(0, len(keys), references.BATCH), "reading the journal", "batch"):
            batch = keys[start : start + references.BATCH]
            due = IO.map(self._is_old_intent, batch)
            old += [key for key, is_old in zip(batch, due, strict=True) if is_old]
        self.report.removed_intents = len(self._delete(self.objects, {key: key for key in old}))

    def _is_old_intent(self, key: str) -> bool:
        if not self.wait:
            return True
        try:
            intent = records.Intent.load(self.objects.read(key), where=f"{self.objects.url} {key}")
        except NoSuchKey:
            return False
        except (Integrity, Unsupported):
            self.report.left.append(key)
            return False
        return self._is_due(intent.announced_at)

    def _remove_garbage(self) -> None:
        """Remove the documents of which everything that they condemned is gone, and other libraries' old ones."""
        done = {key: key for key, garbage in self.garbage.items() if self._is_done(garbage)}
        done.update((key, key) for key, garbage in self.foreign_garbage.items() if self._is_due(garbage.condemned_at))
        self.report.removed_garbage = len(self._delete(self.objects, done))

    def _is_done(self, garbage: Garbage) -> bool:
        # A version above all that were listed was made and condemned since.
        highest = self.inventory.highest.get(garbage.symbol, -1)
        return not any(
            number > highest or (garbage.symbol, number) in self.inventory.documents for number in garbage.versions
        ) and not any(relative in self.listed for relative in garbage.keys)

    # -- deletion ----------------------------------------------------------------------------------------------

    def _delete(self, objects: ObjectStore, items: Mapping[str, Item]) -> list[Item]:
        """Delete these keys; return the items of those that are gone, and report each failure.

        The library is looked for before each batch: keys of versions come back when it is deleted and made again.
        """
        if self.dry_run:
            return list(items.values())
        gone: list[Item] = []
        keys = list(items)
        for start in progress(range(0, len(keys), DELETE_BATCH), "deleting", "batch"):
            batch = keys[start : start + DELETE_BATCH]
            self.library.check_present(at_once=True)
            try:
                failures = objects.delete(batch)
            except StorageUnavailable as error:
                failures = [DeleteFailure(key, str(error)) for key in batch]
            self.report.failures += failures
            failed = {failure.key for failure in failures}
            gone += [items[key] for key in batch if key not in failed]
        return gone
