"""Collection: what nothing refers to is condemned, and removed after the grace period.

A collection makes a plan, which changes nothing (a dry run is that plan), and carries exactly it out. Where something
cannot be removed, what rests on its removal is left out too. The order of the steps is part of the argument over
interleavings in FORMAT.md, "Prune and garbage collection".
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from duckvstore import telemetry
from duckvstore.engine.library import condemned, options
from duckvstore.engine.maintenance import automatic, fold
from duckvstore.engine.maintenance.collection_plan import make_plan
from duckvstore.engine.writing import commits
from duckvstore.errors import Conflict, DuckVStoreError, InvalidInput, NoSuchKey, StorageUnavailable
from duckvstore.objects.base import DeleteFailure
from duckvstore.progress import progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.engine.maintenance.collection_plan import Plan
    from duckvstore.engine.maintenance.reports import CollectionReport
    from duckvstore.format.stored.records import Garbage
    from duckvstore.objects.base import ObjectStore

Item = TypeVar("Item")

DELETE_BATCH = 1000
PLANS_MAX = 3


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
    for _ in range(PLANS_MAX):
        plan = make_plan(library, wait)
        if dry_run:
            return plan.report(dry_run=True)
        execution = _Execution(plan)
        if execution.abort_transactions():
            report = execution.carry_out()
            _tell(report)
            if plan.folded is None:
                automatic.after_collection(library, plan.document_count)
            return report
    raise Conflict(
        f"transactions of library {library.name!r} are committed while they are taken for given up, so nothing was "
        "removed: run gc again, with a longer grace"
    )


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


class _Execution:
    """A plan that is carried out: its steps, in the order of ``carry_out``. What fails is taken out of the plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.library = plan.library
        self.objects = plan.library.objects
        self.layout = plan.library.layout
        self.kept_versions: list[tuple[str, int]] = []
        self.kept_objects: set[str] = set()

    def carry_out(self) -> CollectionReport:
        """Carry the plan out; return what was done."""
        self._condemn(self.plan.condemns_versions)
        self._take_back()
        self._remove_versions()
        self._remove_parts()
        self.kept_objects = self.plan.keep_referenced()
        self._condemn(self.plan.condemns_objects)
        self._delete_objects()
        self._remove_small_documents()
        return self.plan.report(dry_run=False)

    def abort_transactions(self) -> bool:
        """Abort those of the plan; return whether they were aborted, and not committed meanwhile."""
        for name in self.plan.aborts:
            commits.abort(self.library, name)
            decision = self.library.decision(name)
            if decision is None or decision.outcome != "aborted":
                return False
        return True

    def _condemn(self, wanted: Iterable[Garbage]) -> None:
        """Publish condemnations, each with the present time, so after the listing that it is based on."""
        for each in wanted:
            condemned.publish(
                self.library,
                each.symbol,
                each.reason,
                versions=each.versions,
                keys=each.keys,
                garbage_id=each.garbage_id,
            )

    def _take_back(self) -> None:
        """Take condemnations back before any document is removed.

        Else a later run could take an old condemnation for one that has held all the time.
        """
        for key, rest in self.plan.takes_back.items():
            if rest is not None:
                condemned.create(self.library, rest)
            failures = self.objects.delete([key])
            if failures:
                raise StorageUnavailable(
                    f"{self.objects.url} {key}, which condemns what is in use again, could not be deleted "
                    f"({failures[0].reason}), so no version was removed: run gc again"
                )

    def _remove_versions(self) -> None:
        plan = self.plan
        self.kept_versions = self._delete(self.objects, {self.layout.version(*pair): pair for pair in plan.versions})
        plan.versions = [pair for pair in plan.versions if pair not in self.kept_versions]
        for pair in plan.versions:
            self.library.forget(*pair)
        for pair in self.kept_versions:
            try:
                version = self.library.version(*pair, labelled=False)
            except NoSuchKey:
                continue  # it was removed, and the answer lost
            plan.references.add([version])
            if version.transaction in plan.decisions:
                plan.decisions.remove(version.transaction)

    def _remove_parts(self) -> None:
        kept = self._delete(self.objects, {part.key: part for part in self.plan.parts})
        self.plan.parts = [part for part in self.plan.parts if part not in kept]
        for part in kept:
            self.plan.references.add_keys(part.keys)

    def _delete_objects(self) -> None:
        plan, root = self.plan, self.layout.root
        kept = self._delete(self.library.segment_objects, {root + relative: relative for relative in plan.objects})
        plan.objects = [relative for relative in plan.objects if relative not in kept]
        self.kept_objects.update(kept)

    def _remove_small_documents(self) -> None:
        plan = self.plan
        self._fold()
        kept = self._delete(self.objects, {self.layout.transaction(name): name for name in plan.decisions})
        plan.decisions = [name for name in plan.decisions if name not in kept]
        kept = self._delete(self.objects, {key: key for key in plan.intents})
        plan.intents = [key for key in plan.intents if key not in kept]
        kept = self._delete(self.objects, {key: key for key in plan.catalogue})
        plan.catalogue = [key for key in plan.catalogue if key not in kept]
        kept = self._delete(self.objects, {key: key for key in plan.snapshot_files})
        plan.snapshot_files = [key for key in plan.snapshot_files if key not in kept]
        done = {key: key for key, garbage in plan.garbage.items() if not self._names_what_is_kept(garbage)}
        kept = self._delete(self.objects, done)
        plan.garbage = {key: plan.garbage[key] for key in done if key not in kept}

    def _fold(self) -> None:
        """Take what is gone out of the folded catalogue, before what says that it is gone."""
        plan = self.plan
        if plan.folded is None:
            if options.is_folded(self.library):  # since the plan was made, perhaps of documents that are gone now
                plan.intents, plan.garbage = [], {}
            return
        try:
            fold.fold(self.library, rebuild=plan.rebuilds, removed=plan.folded.difference(self.kept_versions))
        except DuckVStoreError as error:
            plan.failures.append(DeleteFailure(self.layout.generations, f"not folded, so intents stay: {error}"))
            plan.intents, plan.garbage = [], {}

    def _names_what_is_kept(self, garbage: Garbage) -> bool:
        versions = {(garbage.symbol, number) for number in garbage.versions}
        return not versions.isdisjoint(self.kept_versions) or not self.kept_objects.isdisjoint(garbage.keys)

    def _delete(self, objects: ObjectStore, items: Mapping[str, Item]) -> list[Item]:
        """Delete these keys; note each failure, and return the items of those that may still be there.

        The library is looked for before each batch: keys of versions come back when it is deleted and made again.
        """
        keys, kept = list(items), []
        for start in progress(range(0, len(keys), DELETE_BATCH), "deleting", "batch"):
            batch = keys[start : start + DELETE_BATCH]
            self.library.check_present(at_once=True)
            try:
                failures = objects.delete(batch)
            except StorageUnavailable as error:
                failures = [DeleteFailure(key, str(error)) for key in batch]
            self.plan.failures += failures
            failed = {failure.key for failure in failures}
            kept += [items[key] for key in batch if key in failed]
        return kept
