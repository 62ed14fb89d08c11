"""Condemned versions: pruned, still there for running readers, and removed after the grace period.

What was once seen as condemned stays so, since numbers are never reused; anything else may have been condemned since,
so a call that adds a reference looks again, before it reads the document.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from duckvstore import clock
from duckvstore.concurrency import IO, PARALLEL_DOCUMENTS, Task
from duckvstore.engine.library import unreadable
from duckvstore.engine.library.create_once import create_once
from duckvstore.engine.library.garbage_seen import Look
from duckvstore.errors import Conflict, Integrity, NoSuchKey, Unsupported
from duckvstore.format.stored import records
from duckvstore.format.stored.records import Garbage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from duckvstore.engine.library.open_library import OpenLibrary

RECENT_SECONDS = 5.0


def known(library: OpenLibrary, symbol: str) -> frozenset[int]:
    """Return the numbers that are known to be condemned, without a request."""
    return library.looks.kept(symbol).numbers


def is_recent(library: OpenLibrary, symbol: str) -> bool:
    """Return whether this symbol's garbage was read in the last seconds."""
    age = library.looks.kept(symbol).age
    return age is not None and age.elapsed_seconds() < RECENT_SECONDS


def numbers(library: OpenLibrary, symbol: str, *, fresh: bool = False) -> frozenset[int]:
    """Return the numbers of a symbol's condemned versions; ``fresh``: also when one looked a moment ago.

    One listing, and one read for each document that was not there at the last look.
    """
    if not fresh and is_recent(library, symbol):
        return known(library, symbol)
    age = clock.Stopwatch()
    seen = library.looks.kept(symbol).keys
    listed = [entry.key for entry in library.objects.list(library.layout.symbol_garbage(symbol))]
    found = _read_all(library, [key for key in listed if key not in seen])
    condemned = frozenset(number for garbage in found for number in garbage.versions)
    return library.looks.remember(symbol, Look(condemned, frozenset(listed), age))


def numbers_of_all(library: OpenLibrary) -> dict[str, frozenset[int]]:
    """Return the numbers of condemned versions by symbol, of all symbols that have any: one listing.

    Each document that was not there at the last look is read. For listings: one that cannot be read is warned of.
    """
    age = clock.Stopwatch()
    listed: dict[str, set[str]] = {}
    for entry in library.objects.list(library.layout.all_garbage):
        listed.setdefault(library.layout.parse_garbage(entry.key), set()).add(entry.key)
    unread = [key for symbol, keys in listed.items() for key in sorted(keys - library.looks.kept(symbol).keys)]
    found: dict[str, set[int]] = {symbol: set() for symbol in listed}
    failures: dict[str, Integrity | Unsupported] = {}
    for garbage in _read_all(library, unread, failures):
        found[garbage.symbol].update(garbage.versions)
    for error in failures.values():
        unreadable.warn(error)
    return {
        symbol: library.looks.remember(symbol, Look(frozenset(found[symbol]), frozenset(keys), age))
        if failures.keys().isdisjoint(keys)
        else frozenset(found[symbol]) | known(library, symbol)
        for symbol, keys in listed.items()
    }


def look_beside(library: OpenLibrary, symbol: str) -> Task[frozenset[int]]:
    """Start ``numbers`` beside what the caller does next."""
    if is_recent(library, symbol):
        return Task(lambda: known(library, symbol))
    return IO.submit(numbers, library, symbol)


def read(library: OpenLibrary, key: str) -> Garbage | None:
    """Return a garbage document, of this library or of another (None: it is gone, with all that it named)."""
    where = f"{library.objects.url} {key}"
    try:
        garbage = records.Garbage.load(library.objects.read(key), where=where)
    except NoSuchKey:
        return None
    if library.layout.garbage(garbage.symbol, garbage.garbage_id) != key:
        raise Integrity(f"the garbage document {where} says that it is another: it was copied or moved; delete it")
    return garbage


def _read_all(
    library: OpenLibrary, keys: list[str], failures: dict[str, Integrity | Unsupported] | None = None
) -> list[Garbage]:
    """Return the garbage documents of this library under ``keys``; ``failures`` takes the errors of those that fail."""

    def one(key: str) -> Garbage | None:
        try:
            return read(library, key)
        except (Integrity, Unsupported) as error:
            if failures is None:
                raise
            failures[key] = error
            return None

    found = IO.map(one, keys, at_once=PARALLEL_DOCUMENTS)
    return [garbage for garbage in found if garbage is not None and garbage.library_id == library.library_id]


def publish(
    library: OpenLibrary,
    symbol: str,
    reason: str,
    *,
    versions: Iterable[int] = (),
    keys: Iterable[str] = (),
    garbage_id: str | None = None,
) -> Garbage:
    """Condemn versions, or segments and manifests by relative key, from now on, in a document ``garbage_id``.

    Raises NoSuchLibrary or Conflict when the library is not there any more, Conflict when the document took longer
    than half the grace period to publish (so that its time would be too old), StorageUnavailable.
    """
    library.check_present()
    seconds_max = library.grace_seconds / 2
    age = clock.Stopwatch()
    garbage = Garbage(
        library_id=library.library_id,
        garbage_id=garbage_id or clock.new_id(),
        symbol=symbol,
        condemned_at=library.objects.now(),
        reason=reason,
        versions=tuple(versions),
        keys=tuple(keys),
    )
    create(library, garbage)
    if garbage.versions and age.elapsed_seconds() > seconds_max:
        library.objects.delete([library.layout.garbage(symbol, garbage.garbage_id)])
        raise Conflict(
            f"condemning versions of {library.label(symbol)} took longer than half the grace period: repeat the call"
        )
    if garbage.versions:
        library.looks.remember(symbol, Look(frozenset(garbage.versions), frozenset(), None))
    return garbage


def create(library: OpenLibrary, garbage: Garbage) -> None:
    """Create a garbage document as it is. Raises StorageUnavailable."""
    key = library.layout.garbage(garbage.symbol, garbage.garbage_id)
    data = garbage.dump()
    what = f"garbage {garbage.garbage_id} of {library.label(garbage.symbol)}"
    create_once(library.objects, key, data, what)
