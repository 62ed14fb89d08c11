"""Recovery: bringing back what was deleted by other tools, if the bucket kept it.

Only what this library should still have is brought back: version documents that nothing condemned, the
decisions that they name, and the segments and manifests that documents refer to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from duckvstore.engine.library import condemned, options
from duckvstore.engine.maintenance import fold, references, verify
from duckvstore.engine.maintenance.reports import RecoveryReport
from duckvstore.engine.reading import catalogue
from duckvstore.errors import DuckVStoreError, Integrity, NoSuchKey, Unsupported
from duckvstore.format.stored import manifests, records

if TYPE_CHECKING:
    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.format.stored.documents import Version
    from duckvstore.format.stored.manifests import Manifest
    from duckvstore.format.stored.segments import Segment


def recover(library: OpenLibrary, *, dry_run: bool = True) -> RecoveryReport:
    """Bring back deleted version documents, segments and manifests of this library; report what, and what is lost.

    What was pruned or collected stays gone; so do deleted snapshots, since nobody deletes one in secret. Run
    ``verify`` afterwards. Raises Unsupported where the store keeps nothing that was deleted, NoSuchLibrary, Conflict,
    StorageUnavailable.
    """
    library.check_present(at_once=True)
    return _Recovery(library, dry_run=dry_run).carry_out()


class _Recovery:
    """One recovery: what was deleted, and what is to come back."""

    def __init__(self, library: OpenLibrary, *, dry_run: bool) -> None:
        self.library = library
        self.objects = library.objects
        self.layout = library.layout
        self.dry_run = dry_run
        self.report = RecoveryReport(library.name, dry_run)
        self.deleted_documents = set(self.objects.deleted_keys(self.layout.versions))
        self.versions: dict[tuple[str, int], Version] = {}

    def carry_out(self) -> RecoveryReport:
        for batch in references.versions(self.library):
            for _, version in batch:
                if version.library_id == self.library.library_id:
                    self.versions[version.symbol, version.number] = version
        self._bring_back_versions()
        self._bring_back_decisions()
        self._bring_back_segments()
        self._bring_back_snapshot_files()
        if self.report.recovered_versions and not self.dry_run and options.is_folded(self.library):
            fold.fold(self.library, rebuild=True)  # no intent announces what comes back
        return self.report

    def _bring_back_versions(self) -> None:
        unwanted = self._condemned()
        for key in sorted(self.deleted_documents):
            try:
                data = self.objects.read_deleted(key)
                found = self.library.parse_version(data, where=f"{self.objects.url} {key}", labelled=False)
                pair = self.layout.parse_version(key)
            except (NoSuchKey, Integrity, Unsupported):
                continue  # not one of the store's
            is_own = found.library_id == self.library.library_id and pair == (found.symbol, found.number)
            if not is_own or pair in unwanted:
                continue
            if not self.dry_run:
                self.objects.undelete(key)
                found = self.library.version(*pair, fresh=True, labelled=False)
            self.versions[pair] = found
            self.report.recovered_versions.append(pair)

    def _condemned(self) -> set[tuple[str, int]]:
        """Return all versions that were ever condemned, also by documents that a collection has removed since."""
        found: set[tuple[str, int]] = set()
        for entry in self.objects.list(self.layout.all_garbage):
            garbage = condemned.read(self.library, entry.key)
            if garbage is not None and garbage.library_id == self.library.library_id:
                found.update((garbage.symbol, number) for number in garbage.versions)
        for key in self.objects.deleted_keys(self.layout.all_garbage):
            try:
                garbage = records.Garbage.load(self.objects.read_deleted(key), where=f"{self.objects.url} {key}")
            except NoSuchKey:
                continue
            if garbage.library_id == self.library.library_id:
                found.update((garbage.symbol, number) for number in garbage.versions)
        return found

    def _bring_back_decisions(self) -> None:
        named = {version.transaction for version in self.versions.values() if version.transaction is not None}
        deleted = set(self.objects.deleted_keys(self.layout.transactions))
        for key in sorted(deleted & {self.layout.transaction(name) for name in named}):
            self.report.recovered_others.append(key)
            if not self.dry_run:
                self.objects.undelete(key)

    def _bring_back_segments(self) -> None:
        objects = self.library.segment_objects
        there = verify.list_objects(self.library)
        deleted = {
            key.removeprefix(self.layout.root)
            for prefix in (self.layout.segments, self.layout.manifests)
            for key in objects.deleted_keys(prefix)
        }
        wanted: dict[str, tuple[str, int]] = {}
        for pair, version in sorted(self.versions.items()):
            for segment in self._segments(version, there, deleted):
                wanted.setdefault(segment, pair)
        for relative, (symbol, number) in wanted.items():
            if relative in there:
                continue
            if relative not in deleted:
                self.report.lost.append(f"{relative} of version {number} of {symbol!r}")
                continue
            self.report.recovered_objects.append(relative)
            if not self.dry_run:
                objects.undelete(self.layout.root + relative)

    def _bring_back_snapshot_files(self) -> None:
        deleted = set(self.objects.deleted_keys(self.layout.snapshot_files))
        for snapshot in catalogue.snapshots(self.library, read=catalogue.snapshot_document) if deleted else []:
            for key in sorted(deleted.intersection(self.layout.root + file.key for file in snapshot.files)):
                self.report.recovered_others.append(key)
                if not self.dry_run:
                    self.objects.undelete(key)

    def _segments(self, version: Version, there: dict[str, int], deleted: set[str]) -> list[str]:
        """Return what a version refers to, reading deleted manifests where they are."""
        found = references.own_keys(version)
        for manifest in references.named_manifests(version):
            found.append(manifest.key)
            if manifest.key in there or manifest.key in deleted:
                found += [segment.key for segment in self._load(manifest, is_deleted=manifest.key not in there)]
        return found

    def _load(self, manifest: Manifest, *, is_deleted: bool) -> tuple[Segment, ...]:
        try:
            if not is_deleted:
                return self.library.manifest(manifest)
            key = self.layout.manifest_key(manifest.key)
            return manifests.decode(self.library.segment_objects.read_deleted(key), manifest)
        except DuckVStoreError as error:
            self.report.lost.append(str(error))
            return ()
