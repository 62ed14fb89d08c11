"""What the calls of upkeep report: pruning, collection, verification, recovery, sizes.

Plain data that prints as a few lines, whatever its length; nothing here makes a request.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from datetime import timedelta  # noqa: TC003 - fields of dataclasses
from typing import TYPE_CHECKING, Any

from duckvstore.errors import printable
from duckvstore.formatting import aligned, counted, size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckvstore.objects.base import DeleteFailure

_SHOWN_MAX = 10


def _amount(versions: Sequence[object], objects: Sequence[object], size_bytes: int) -> str:
    return f"{counted(len(versions), 'version')}, {counted(len(objects), 'segment')} ({size(size_bytes)})"


def _some(items: Sequence[object]) -> list[str]:
    more = [f"  … and {len(items) - _SHOWN_MAX:,} more"] if len(items) > _SHOWN_MAX else []
    return [*(f"  {item}" for item in items[:_SHOWN_MAX]), *more]


@dataclass(slots=True, repr=False)
class Report:
    """Base of all reports: they print as text, and ``to_dict`` gives their fields."""

    library: str

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    def lines(self) -> list[str]:
        """Return the text, line by line."""
        return [f"library {self.library!r}"]

    def __repr__(self) -> str:
        return "\n".join(printable(line, is_line=True) for line in self.lines())


@dataclass(slots=True, repr=False)
class CollectionReport(Report):
    """What a collection condemned and removed, or (``dry_run``) what a real one would.

    Versions are (symbol, number), objects are segments and manifests by key. ``waiting``: condemned, and kept because
    the grace period runs or a snapshot holds them. ``left``: objects that are not the store's, and are left alone.
    ``failures``: what could not be deleted, and why; the next run tries again.
    """

    dry_run: bool
    grace: timedelta
    condemned_versions: list[tuple[str, int]] = field(default_factory=list)
    removed_versions: list[tuple[str, int]] = field(default_factory=list)
    waiting_versions: list[tuple[str, int]] = field(default_factory=list)
    condemned_objects: list[str] = field(default_factory=list)
    condemned_bytes: int = 0
    deleted_objects: list[str] = field(default_factory=list)
    deleted_bytes: int = 0
    waiting_objects: list[str] = field(default_factory=list)
    waiting_bytes: int = 0
    aborted_transactions: list[str] = field(default_factory=list)
    removed_decisions: int = 0
    removed_intents: int = 0
    removed_parts: int = 0
    removed_garbage: int = 0
    left: list[str] = field(default_factory=list)
    failures: list[DeleteFailure] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return the text, line by line."""
        title = "dry run, nothing was changed; a real run" if self.dry_run else "this run"
        did = "would have" if self.dry_run else "has"
        grace = str(self.grace).removesuffix(", 0:00:00")
        small = {
            "transaction that nobody decided": len(self.aborted_transactions),
            "decision": self.removed_decisions,
            "intent": self.removed_intents,
            "staged part": self.removed_parts,
            "garbage document": self.removed_garbage,
        }
        swept = ", ".join(counted(count, noun) for noun, count in small.items() if count)
        text = [
            f"gc of library {self.library!r}, grace {grace}: {title} {did}",
            f"  removed    {_amount(self.removed_versions, self.deleted_objects, self.deleted_bytes)}"
            + (f"; {swept}" if swept else ""),
            f"  condemned  {_amount(self.condemned_versions, self.condemned_objects, self.condemned_bytes)}, new",
            f"  waiting    {_amount(self.waiting_versions, self.waiting_objects, self.waiting_bytes)}, before",
        ]
        if self.left:
            text += [f"left alone, since they are none of this library's: {len(self.left):,}", *_some(self.left)]
        if self.failures:
            failed = [f"{failure.key}: {failure.reason}" for failure in self.failures]
            text += [f"NOT deleted, run gc again: {len(failed):,}", *_some(failed)]
        return text


@dataclass(slots=True, repr=False)
class FoldReport(Report):
    """What a fold has added to the catalogue, and what the catalogue is now.

    ``generation``: its number, ``version_count`` and ``stored_bytes`` its size. ``folded_documents`` were new,
    ``removed_documents`` are gone, ``removed_intents`` of the journal are not needed any more. ``waiting_symbols``: of
    these, documents that are undecided or cannot be read are not in it, and are read one by one as before.
    ``failures``: what should have been removed and could not be, so that listings go on looking at these symbols.
    """

    generation: int = 0
    folded_documents: int = 0
    removed_documents: int = 0
    removed_intents: int = 0
    version_count: int = 0
    stored_bytes: int = 0
    waiting_symbols: list[str] = field(default_factory=list)
    failures: list[DeleteFailure] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return the text, line by line."""
        kept = [f"{failure.key}: {failure.reason}" for failure in self.failures]
        kept = [f"could not be removed: {counted(len(kept), 'object')}", *_some(kept)] if kept else []
        waits = [f"wait to be folded: {len(self.waiting_symbols):,} symbols", *_some(self.waiting_symbols)]
        amount = f"{counted(self.version_count, 'version')} in {size(self.stored_bytes)}"
        new = f"{counted(self.folded_documents, 'document')} folded, {self.removed_documents:,} taken out"
        return [
            f"catalogue of library {self.library!r}: generation {self.generation}, {amount}",
            f"  {new}, {counted(self.removed_intents, 'intent')} removed",
            *(waits if self.waiting_symbols else []),
            *kept,
        ]


@dataclass(slots=True, repr=False)
class VerificationReport(Report):
    """What a verification found. ``problems`` is empty when nothing is missing or damaged.

    ``orphans``: segments and manifests that no document refers to, by key: gc's business, or a running writer's.
    ``deep``: whether every byte was read. ``native_versioning``: whether the bucket keeps old versions of objects
    (None: the store cannot). ``repaired``: what was wrong with the folded catalogue before it was made anew.
    """

    deep: bool
    version_count: int = 0
    snapshot_count: int = 0
    object_count: int = 0
    object_bytes: int = 0
    orphans: list[str] = field(default_factory=list)
    orphan_bytes: int = 0
    native_versioning: bool | None = None
    problems: list[str] = field(default_factory=list)
    repaired: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is missing or damaged."""
        return not self.problems

    def lines(self) -> list[str]:
        """Return the text, line by line."""
        found = "all is well" if self.ok else f"{counted(len(self.problems), 'problem')}:"
        how = "every byte was read" if self.deep else "contents were not read"
        counts = (
            f"{counted(self.version_count, 'version')}, {counted(self.snapshot_count, 'snapshot')}, "
            f"{counted(self.object_count, 'segment')} ({size(self.object_bytes)})"
        )
        text = [f"library {self.library!r}: {counts}, {how}: {found}", *_some(self.problems)]
        if self.repaired:
            text += [
                f"the catalogue was made anew, for {counted(len(self.repaired), 'reason')}:",
                *_some(self.repaired),
            ]
        if self.orphans:
            text.append(
                f"{counted(len(self.orphans), 'segment')} ({size(self.orphan_bytes)}) that no version refers "
                "to: gc() removes them in time"
            )
        if self.native_versioning is False:
            text.append(
                "the bucket does not keep old versions of objects, so recover() could bring nothing back: switch "
                "its versioning on"
            )
        return text


@dataclass(slots=True, repr=False)
class RecoveryReport(Report):
    """What was brought back, or (``dry_run``) what could be. ``lost``: what is missing and cannot be brought back."""

    dry_run: bool
    recovered_versions: list[tuple[str, int]] = field(default_factory=list)
    recovered_objects: list[str] = field(default_factory=list)
    recovered_others: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return the text, line by line."""
        what = "dry run: these could be brought back" if self.dry_run else "brought back"
        keys = [*self.recovered_objects, *self.recovered_others]
        counts = (
            f"{counted(len(self.recovered_versions), 'version')}, {counted(len(self.recovered_objects), 'segment')}, "
            f"{counted(len(self.recovered_others), 'other object')}"
        )
        text = [
            f"recovery of library {self.library!r}, {what}: {counts}",
            *_some([*(f"version {number} of {symbol!r}" for symbol, number in self.recovered_versions), *keys]),
        ]
        if self.lost:
            text += [f"lost: {len(self.lost):,}", *_some(self.lost)]
        return text


@dataclass(frozen=True, slots=True)
class Size:
    """Bytes of a library, symbol or version.

    ``logical_bytes``: its rows in Arrow, versions added up; ``stored_bytes``: the distinct objects it refers to;
    ``shared_bytes``: how many of these another version refers to as well.
    """

    symbol: str | None
    version: int | None
    logical_bytes: int
    stored_bytes: int
    shared_bytes: int


@dataclass(slots=True, repr=False)
class SizesReport(Report):
    """Sizes of the library, of each symbol and of each version. ``unreferenced_bytes`` wait for gc."""

    total: Size
    symbols: list[Size] = field(default_factory=list)
    versions: list[Size] = field(default_factory=list)
    unreferenced_bytes: int = 0

    def rows(self) -> list[Size]:
        """Return the library's row, then each symbol's, followed by its versions' (newest first)."""
        of: dict[str | None, list[Size]] = {}
        for version in self.versions:
            of.setdefault(version.symbol, []).append(version)
        return [self.total, *(row for symbol in self.symbols for row in (symbol, *of.get(symbol.symbol, ())))]

    def lines(self) -> list[str]:
        """Return a table: one row per symbol, the largest first."""
        header = ("symbol", "versions", "logical", "stored", "shared")
        counts: dict[str | None, int] = {}
        for version in self.versions:
            counts[version.symbol] = counts.get(version.symbol, 0) + 1
        largest = sorted(self.symbols, key=lambda one: -one.stored_bytes)
        table = [
            header,
            *(_size_row(one.symbol or "", counts.get(one.symbol, 0), one) for one in largest[:_SHOWN_MAX]),
            _size_row("all", len(self.versions), self.total),
        ]
        text = aligned(table, right=range(1, len(header)))
        if len(largest) > _SHOWN_MAX:
            text.insert(-1, f"… and {counted(len(largest) - _SHOWN_MAX, 'more symbol')}")
        if self.unreferenced_bytes:
            text.append(f"{size(self.unreferenced_bytes)} more, which no version refers to: gc() removes them")
        return [f"sizes of library {self.library!r}", *text]


def _size_row(name: str, count: int, of: Size) -> tuple[str, ...]:
    return name, f"{count:,}", size(of.logical_bytes), size(of.stored_bytes), size(of.shared_bytes)
