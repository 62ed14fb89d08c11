"""Upkeep: what is removed, what it costs, whether it is whole, and how the library is set.

Invariant: nothing is removed that a version, a snapshot or a running reader may still need; what removes says what it
would do before it does it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from duckvstore.api.writing import Writing
from duckvstore.engine.library import options
from duckvstore.engine.maintenance import prune

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import timedelta

    from duckvstore.api.payloads import OptionChanges
    from duckvstore.engine.maintenance.reports import (
        CollectionReport,
        FoldReport,
        RecoveryReport,
        SizesReport,
        VerificationReport,
    )
    from duckvstore.format.stored.options import Options


class Upkeep(Writing):
    """The methods of a library that look after it."""

    def delete(
        self,
        symbol: str,
        versions: Iterable[int] | int | None = None,
        *,
        author: str | None = None,
        message: str | None = None,
    ) -> None:
        """Say that the symbol has no value from now on; its history and snapshots stay readable.

        Does nothing when there is no such symbol. ``versions``: remove just these instead, for good. Then
        NoSuchVersion is raised for one that is not there, and InvalidInput where a snapshot holds one; where the newest
        is among them, a version is made that restores the newest of the others.
        """
        if versions is None:
            super().delete(symbol, author=author, message=message)
            return
        call = self._call(symbol, author, message)
        numbers = [versions] if isinstance(versions, int) else versions
        prune.delete_versions(self.open_library, call, symbol, numbers)

    def prune_previous_versions(self, symbol: str) -> tuple[int, ...]:
        """Remove all versions but the newest and those that snapshots hold; return the numbers that were removed."""
        return self.prune(symbol, keep_last=1)

    def prune(self, symbol: str, *, keep_last: int | None = None, keep_for: timedelta | None = None) -> tuple[int, ...]:
        """Remove old versions; return their numbers.

        ``keep_last``: keep so many of the newest. ``keep_for``: keep each version for so long after it was replaced.
        With both, either keeps it. The newest, and what a snapshot holds, is never removed. They are gone for readers
        at once (a snapshot taken before still has its own), except those that are reading already: ``gc`` removes the
        data after the grace period. Raises NoSuchSymbol, InvalidInput.

        Examples:
            >>> lib.prune("trades", keep_last=1)
            (0,)
        """
        return prune.prune(self.open_library, symbol, keep_last=keep_last, keep_for=keep_for)

    def gc(self, grace: timedelta | None = None, *, dry_run: bool = True) -> CollectionReport:
        """Remove what nothing refers to any more, and report it; with ``dry_run`` only report what would be removed.

        What is found unneeded is condemned now and removed by a run after the grace period (option ``grace``, 7 days),
        because somebody may be reading it. ``grace=timedelta(0)`` removes at once: for when nobody else uses the
        library. Also prunes what the options ``keep_last`` and ``keep_for`` say. Raises Integrity, and removes nothing,
        when a document cannot be read.

        Examples:
            >>> report = lib.gc()
            >>> report.dry_run, len(report.removed_versions)
            (True, 0)
        """
        from duckvstore.engine.maintenance import collect

        return collect.collect(self.open_library, grace=grace, dry_run=dry_run)

    def fold(self, *, rebuild: bool = False) -> FoldReport:
        """Fold the documents that are new into the library's catalogue, so that listings need not read them.

        Writers do it by themselves when there is much (option ``auto_fold``); what it costs is proportional to what is
        new. The first fold reads all documents, and from then on releases of duckvstore that know nothing of folding
        refuse to write or collect in this library. Listings are as fresh as before, and everything works without the
        catalogue too: ``rebuild`` makes it anew from all documents. Raises Conflict while other processes fold all the
        time.

        Examples:
            >>> lib.fold().version_count
            2
        """
        from duckvstore.engine.maintenance import fold

        return fold.fold(self.open_library, rebuild=rebuild)

    def verify(self, *, deep: bool = True, repair: bool = False) -> VerificationReport:
        """Check that every segment that a version refers to is there with its size, and (``deep``) its sha256.

        The report's ``problems`` name what is missing or damaged, ``orphans`` what nothing refers to. ``repair``: make
        the folded catalogue anew where it is not what the documents say, which is then in ``repaired``.

        Examples:
            >>> lib.verify().ok
            True
        """
        from duckvstore.engine.maintenance import verify

        return verify.verify(self.open_library, deep=deep, repair=repair)

    def recover(self, *, dry_run: bool = True) -> RecoveryReport:
        """Bring back what was deleted behind the library's back, on a bucket with S3's own versioning.

        Raises Unsupported where the object store keeps nothing that was deleted.
        """
        from duckvstore.engine.maintenance import recover

        return recover.recover(self.open_library, dry_run=dry_run)

    def sizes(self) -> SizesReport:
        """Return what the library, each symbol and each version takes: logical, stored and shared bytes."""
        from duckvstore.engine.maintenance import verify

        return verify.sizes(self.open_library)

    @property
    def options(self) -> Options:
        """The options in force, as of a minute ago at most."""
        return self.open_library.options

    def set_options(self, **changes: Unpack[OptionChanges]) -> Options:
        """Change options of this library, for everybody, and return them all.

        ``segment_bytes``, ``compression``, ``statistics_columns`` (for what is written from now on),
        ``validate_index``, ``keep_last`` and ``keep_for`` (what gc prunes), ``grace``, ``auto_fold``, and on S3
        ``server_side_encryption``, ``encryption_key_id`` and ``storage_class``. Durations are timedeltas. A shorter
        grace counts after the old one has run out. Raises InvalidInput for what is not valid, Unsupported for what the
        object store cannot do, and Conflict when another process was first.
        """
        return options.change(self.open_library, changes)
