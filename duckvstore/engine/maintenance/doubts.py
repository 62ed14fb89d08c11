"""Incomplete listings: calls that remove data check for them first, and refuse to go on.

Only a listing proves that nothing else refers to an object. One that was cut short, or that did not come from the
store, would let data in use die. It is compared with a second one, and with what other documents name.

Nothing is changed here, and no cache is used. What was made after ``before`` may be missing from a listing that
started earlier: that proves nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from duckvstore.concurrency import IO, PARALLEL_DOCUMENTS
from duckvstore.errors import NoSuchKey, StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable, Mapping
    from datetime import datetime

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.format.stored.documents import Decision, Version

NUMBERS_TRIED = 16


def contradiction(library: OpenLibrary, key: str, reason: str) -> StorageUnavailable:
    """Return the error for an object that is there, although a listing did not show it."""
    return StorageUnavailable(
        f"{library.objects.url}: a listing did not show {key}, which is there ({reason}), so nothing that it might "
        "refer to is deleted: something on the way to the store may answer in its place; see to it, then try again"
    )


def shown_again(library: OpenLibrary, prefix: str, seen: Container[str]) -> list[str]:
    """Return the keys that a second listing shows and the first one, ``seen``, did not."""
    return [entry.key for entry in library.objects.list(prefix) if entry.key not in seen]


def present(library: OpenLibrary, named: Iterable[tuple[str, int]]) -> list[Version]:
    """Return those of the named versions of this library that are there, in any state."""
    found = IO.map(lambda pair: _read(library, pair), named, at_once=PARALLEL_DOCUMENTS)
    return [version for version in found if version is not None]


def check_named(library: OpenLibrary, named: Mapping[tuple[str, int], str], before: datetime | None = None) -> None:
    """Raise StorageUnavailable if a version that no listing showed is there after all.

    ``named``: versions, and what names each of them. ``before``: what is not older proves nothing (None: all does).
    """
    for version in present(library, named):
        if before is None or version.created_at < before:
            pair = (version.symbol, version.number)
            raise contradiction(library, library.layout.version(*pair), named[pair])


def check_unnamed(library: OpenLibrary, decision: Decision, passed_over: Collection[tuple[str, int]]) -> None:
    """Raise StorageUnavailable if a document that a decision made visible is there: it would be undecided again."""
    for version in present(library, [pair for pair in decision.versions.items() if pair not in passed_over]):
        if version.transaction == decision.transaction:
            key = library.layout.version(version.symbol, version.number)
            raise contradiction(library, key, f"transaction {decision.transaction} made it")


def check_nothing_of(library: OpenLibrary, symbols: Iterable[str], reason: str, before: datetime | None = None) -> None:
    """Raise StorageUnavailable if there are versions of symbols of which a listing showed none.

    They are listed by themselves, and the first numbers are asked for, since those need no listing.
    """
    for symbol in symbols:
        listed = library.objects.list(library.layout.symbol_versions(symbol), limit=1)
        numbers = {*range(NUMBERS_TRIED), *(library.layout.parse_version(entry.key)[1] for entry in listed)}
        check_named(library, {(symbol, number): reason for number in sorted(numbers)}, before)


def _read(library: OpenLibrary, pair: tuple[str, int]) -> Version | None:
    try:
        version = library.version(*pair, fresh=True)
    except NoSuchKey:
        return None
    return version if version.library_id == library.library_id else None
