"""Cuts: the newest versions of several symbols at one moment.

A cut is a state that the library really had, with each committed transaction whole; nothing here writes.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from duckvstore import clock
from duckvstore.concurrency import IO, PARALLEL_DOCUMENTS
from duckvstore.engine.reading import catalogue, folded, listings, not_found, visible
from duckvstore.errors import DuckVStoreError, NoSuchKey, NoSuchSymbol, NoSuchVersion

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from duckvstore.engine.library.heads import Head
    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.engine.reading.catalogue import AsOf
    from duckvstore.engine.reading.folded import View
    from duckvstore.engine.reading.listings import State
    from duckvstore.format.stored.documents import Version

CUT_COLLECTIONS_MAX = 3


def resolve_cut(library: OpenLibrary, wanted: Sequence[tuple[str, AsOf]]) -> list[Version | DuckVStoreError]:
    """Resolve several (symbol, as_of) pairs as ``find_cut`` does; a missing one gives a NoSuchSymbol."""
    found = find_cut(library, wanted)
    names = listings.symbol_names(library) if None in found else ()
    return [
        not_found.no_symbol(library, symbol, names) if outcome is None else outcome
        for (symbol, _), outcome in zip(wanted, found, strict=True)
    ]


def find_cut(library: OpenLibrary, wanted: Sequence[tuple[str, AsOf]]) -> list[Version | DuckVStoreError | None]:
    """Resolve several (symbol, as_of) pairs as one consistent cut; a NotFound is returned in its place.

    None: there never was such a symbol, which is all that is known; to name others takes a listing of all symbols.
    A time, and -1, are looked up among the versions of the cut too: it may be one that a transaction is committed at
    right now, between the look at one symbol and at the next.
    """
    newest = list(dict.fromkeys(symbol for symbol, as_of in wanted if _may_be_newest(as_of)))
    is_cut = len(newest) > 1 or any(as_of is None for _, as_of in wanted)
    heads = collect_cut(library, newest) if is_cut else {}

    def one(pair: tuple[str, AsOf]) -> Version | DuckVStoreError | None:
        symbol, as_of = pair
        try:
            if symbol not in heads or not _may_be_newest(as_of):
                return catalogue.resolve(library, symbol, as_of)
            version = heads[symbol]
            if version is None:
                return None
            if isinstance(as_of, datetime) and version.created_at > catalogue.utc(as_of):
                return catalogue.resolve(library, symbol, as_of)  # below the cut's version, all is decided
            if version.deleted:
                raise not_found.deleted(library, version, as_of)
        except (NoSuchSymbol, NoSuchVersion) as error:
            return error
        return version

    return IO.map(one, wanted, at_once=PARALLEL_DOCUMENTS)


def _may_be_newest(as_of: AsOf) -> bool:
    return as_of is None or isinstance(as_of, datetime) or (isinstance(as_of, int) and as_of == -1)


def collect_cut(
    library: OpenLibrary,
    names: Sequence[str] | None,
    *,
    skipped: Collection[str] = (),
    first: dict[str, Head] | None = None,
) -> dict[str, Version | None]:
    """Return the newest versions of ``names`` at one moment (None: the symbol has none).

    ``names`` None means every symbol except those in ``skipped``; these are listed again each time,
    since a symbol may be created meanwhile. Two successive equal collections of symbols, highest numbers and
    decisions prove the cut; the heads that this library remembers of ``names`` do as the first one. After three that
    disagree, the last one is raised (``_raised``). ``first``: the first collection, if this call has made it
    already.
    """
    before = None if names is None else library.heads.known(names)  # from before the first look: FORMAT.md, Cuts
    collections: list[dict[str, Head]] = []
    for _ in range(CUT_COLLECTIONS_MAX):
        collections.append(_collection(library, names, skipped) if first is None else first)
        first = None
        if names is not None and len(names) < 2:
            break
        if before is not None and _same(before, collections[-1]):
            break
        before = collections[-1]
    else:
        cut = _raised(library, collections[0], collections[-1], _collection(library, names, skipped))
        wanted = cut.keys() if names is not None else None
        return _whole_transactions(library, collections[0], cut, wanted, skipped)
    return {name: found.newest for name, found in collections[-1].items()}


def cut_of_all(library: OpenLibrary, skipped: Collection[str] = ()) -> dict[str, int]:
    """Return the numbers of the newest versions of all live symbols but ``skipped``, at one moment.

    Where the catalogue is folded it has those of most symbols, and two equal collections are a cut as in
    ``collect_cut``; where others write all the time, or it is not, that finds it.
    """
    age = clock.Stopwatch()
    begun = listings.start(library)

    def states(view: View | None) -> dict[str, State] | None:
        return folded.using(view, lambda view: listings.states(view, skipped))

    before = states(begun.view)
    for _ in range(CUT_COLLECTIONS_MAX - 1):
        if before is None:
            break
        after = states(folded.look(library))
        if after == before:
            seen = {symbol: state.newest for symbol, state in after.items() if not state.is_deleted}
            return {symbol: number for symbol, number in seen.items() if number is not None}
        before = after
    first = None
    if begun.is_all:
        first = listings.heads_of(library, listings.listed_tops(library, begun), age, skipped)
    cut = collect_cut(library, None, skipped=skipped, first=first)
    return {name: version.number for name, version in cut.items() if version is not None and not version.deleted}


def _collection(library: OpenLibrary, names: Sequence[str] | None, skipped: Collection[str]) -> dict[str, Head]:
    if names is None:
        return listings.heads_of_all(library, skipped)
    heads = IO.map(lambda name: visible.head(library, name), names, at_once=PARALLEL_DOCUMENTS)
    return dict(zip(names, heads, strict=True))


def _same(first: dict[str, Head], second: dict[str, Head]) -> bool:
    def states(collection: dict[str, Head]) -> dict[str, tuple[int, int | None, str | None]]:
        return {
            name: (found.highest, found.newest.number if found.newest else None, found.undecided)
            for name, found in collection.items()
        }

    return states(first) == states(second)


def _raised(
    library: OpenLibrary, first: dict[str, Head], last: dict[str, Head], later: dict[str, Head]
) -> dict[str, Version | None]:
    """Return ``last``, raised to hold every version that another one in it may follow from.

    Its symbols were read one after the other, so it may hold a version without one that was acknowledged before
    that was begun. Such a one is older than the newest time in ``last``, and there in ``later``, which was begun
    after that time: so each symbol goes up to its newest version of ``later`` that is not younger. That also
    holds transactions whole, whose versions have one time; where clocks differ, ``_whole_transactions`` does.
    """
    times = [found.newest.created_at for name, found in last.items() if found.newest and _has_moved(first, name, found)]
    cut = {name: found.newest for name, found in last.items()}
    for name, found in later.items() if times else ():
        floor = cut.get(name)
        version = found.newest
        while version is not None and (floor is None or version.number > floor.number):
            if version.created_at <= max(times):
                cut[name] = version
                break
            version = visible_parent(library, version)
    return cut


def _has_moved(first: dict[str, Head], name: str, found: Head) -> bool:
    before = first[name].newest if name in first else None
    return before is None or found.newest is None or before.number != found.newest.number


def _whole_transactions(
    library: OpenLibrary,
    first: dict[str, Head],
    cut: dict[str, Version | None],
    wanted: Collection[str] | None,
    skipped: Collection[str],
) -> dict[str, Version | None]:
    """Raise ``cut``: for each committed transaction with a version above ``first``, to at least its other versions.

    ``wanted``: the only symbols that may be added or raised (None: all but ``skipped``).
    """
    pending = list(cut)
    while pending:
        name = pending.pop()
        version = cut[name]
        floor = first[name].newest if name in first else None
        while version is not None and (floor is None or version.number > floor.number):
            decision = library.decision(version.transaction) if version.transaction else None
            for other, number in (decision.versions if decision else {}).items():
                current = cut.get(other)
                may_be_raised = other not in skipped if wanted is None else other in wanted
                if may_be_raised and (current is None or current.number < number):
                    cut[other] = _at_least(library, other, number)
                    pending.append(other)
            version = visible_parent(library, version)
    return cut


def _at_least(library: OpenLibrary, symbol: str, number: int) -> Version | None:
    """Return a visible version, or the newest where it was pruned and removed: a newer one is there then."""
    try:
        return visible.visible_version(library, library.version(symbol, number))
    except NoSuchKey:
        return visible.head(library, symbol).newest


def visible_parent(library: OpenLibrary, version: Version) -> Version | None:
    """Return the version that ``version`` was made from, or None when it was the first or is gone."""
    return None if version.parent is None else visible.find_visible(library, version.symbol, version.parent)
