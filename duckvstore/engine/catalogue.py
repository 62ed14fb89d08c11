"""Which versions there are: from a symbol and an ``as_of`` to a version document.

Invariant: a document of an undecided or aborted transaction is treated as absent by everything here, and
nothing here writes.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from duckvstore import clock
from duckvstore.engine.library import Head
from duckvstore.errors import (
    DuckVStoreError,
    Integrity,
    InvalidInput,
    NoSuchKey,
    NoSuchSnapshot,
    NoSuchSymbol,
    NoSuchVersion,
    nearest,
)
from duckvstore.format import documents, envelope

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from duckvstore.engine.library import OpenLibrary
    from duckvstore.format.documents import Snapshot, Version

AsOf: TypeAlias = int | str | datetime | None
Wanted = TypeVar("Wanted")

SEARCHES_MAX = 5
CUT_COLLECTIONS_MAX = 3
SYMBOLS_PAGE = 1000


def head(library: OpenLibrary, symbol: str) -> Head:
    """Read the top of a symbol's history: one listing of one key and, if not cached, one document."""
    for _ in range(SEARCHES_MAX):
        found = _search_head(library, symbol, clock.Stopwatch())
        if found is not None:
            library.remember_head(symbol, found)
            return found
    raise _vanishing(library, symbol)


def _search_head(library: OpenLibrary, symbol: str, age: clock.Stopwatch) -> Head | None:
    highest, latest, undecided = -1, None, None
    for number in numbers(library, symbol, first_page=1):
        try:
            version = library.version(symbol, number)
            visible = visible_version(library, version)
        except NoSuchKey:
            return None
        if highest < 0:
            highest = number
            if is_undecided(library, version):
                undecided = version.transaction
        created_at = (visible or version).created_at
        latest = created_at if latest is None else max(latest, created_at)
        if visible is not None:
            return Head(highest, visible, latest, undecided, age)
    return Head(highest, None, latest, undecided, age)


def numbers(library: OpenLibrary, symbol: str, *, first_page: int | None = None) -> Iterator[int]:
    """Yield the numbers of all documents of a symbol, highest first, whatever their state.

    With ``first_page`` the first listing asks for that many only, and further ones follow when needed.
    """
    prefix = library.layout.symbol_versions(symbol)
    last = None
    if first_page is not None:
        page = list(library.objects.list(prefix, limit=first_page))
        for entry in page:
            yield library.layout.parse_version(entry.key)[1]
        if len(page) < first_page:
            return
        last = page[-1].key
    for entry in library.objects.list(prefix, start_after=last):
        yield library.layout.parse_version(entry.key)[1]


def visible_version(library: OpenLibrary, version: Version) -> Version | None:
    """Return the version as readers see it, or None when its transaction is undecided or aborted.

    All versions of a transaction have the time of its commit. A document of another library, deleted since, to
    which a late writer added it, is as absent as an aborted one.
    """
    if version.library_id != library.library_id:
        return None
    if version.transaction is None:
        return version
    decision = library.decision(version.transaction)
    if decision is None or decision.outcome != "committed":
        return None
    return replace(version, created_at=decision.decided_at)


def resolve(library: OpenLibrary, symbol: str, as_of: AsOf = None) -> Version:
    """Return the version that ``as_of`` names: a number, a negative number, a snapshot, a time, or the newest.

    Raises NoSuchSymbol, NoSuchVersion (also for a version that is a deletion), InvalidInput.
    """
    if as_of is None:
        version = head(library, symbol).newest
        if version is None:
            raise _no_symbol(library, symbol)
    elif isinstance(as_of, bool):
        raise InvalidInput(f"as_of={as_of!r} is no version: give a number, a snapshot's name or a datetime")
    elif isinstance(as_of, int):
        version = _by_number(library, symbol, as_of) if as_of >= 0 else _search(_from_newest, library, symbol, as_of)
    elif isinstance(as_of, str):
        version = _in_snapshot(library, symbol, as_of)
    elif isinstance(as_of, datetime):
        version = _search(_at_time, library, symbol, _utc(as_of))
    else:
        raise InvalidInput(f"as_of is a {type(as_of).__name__}: give a version number, a snapshot's name or a datetime")
    if version.deleted:
        raise _deleted(library, version, as_of)
    return version


def is_undecided(library: OpenLibrary, version: Version) -> bool:
    """Return whether a document belongs to a transaction of this library that has no decision."""
    return (
        version.library_id == library.library_id
        and version.transaction is not None
        and library.decision(version.transaction) is None
    )


def _search(
    search: Callable[[OpenLibrary, str, Wanted], Version], library: OpenLibrary, symbol: str, wanted: Wanted
) -> Version:
    """Return ``search(library, symbol, wanted)``, begun again when a document that it listed has vanished."""
    for _ in range(SEARCHES_MAX):
        try:
            return search(library, symbol, wanted)
        except NoSuchKey:
            continue
    raise _vanishing(library, symbol)


def _utc(time: datetime) -> datetime:
    try:
        if time != time:  # noqa: PLR0124 - pandas' NaT is a datetime that equals nothing
            raise InvalidInput("as_of=NaT is no time: give a datetime")
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except OverflowError as error:
        raise InvalidInput(f"as_of={time!r} is outside of the times that UTC can say: give another") from error


def _by_number(library: OpenLibrary, symbol: str, number: int) -> Version:
    try:
        version = visible_version(library, library.version(symbol, number))
    except NoSuchKey:
        version = None
    if version is None:
        newest = head(library, symbol).newest
        if newest is None:
            raise _no_symbol(library, symbol)
        raise NoSuchVersion(
            f"{_name(library, symbol)} has no version {number}; its newest is {newest.number}: "
            f"list_versions({symbol!r}) shows all"
        )
    return version


def _from_newest(library: OpenLibrary, symbol: str, as_of: int) -> Version:
    found = 0
    for number in numbers(library, symbol, first_page=min(-as_of, 1000)):
        version = visible_version(library, library.version(symbol, number))
        found += version is not None
        if version is not None and found == -as_of:
            return version
    if not found:
        raise _no_symbol(library, symbol)
    raise NoSuchVersion(f"{_name(library, symbol)} has {found} versions, so there is no as_of={as_of}")


def _in_snapshot(library: OpenLibrary, symbol: str, name: str) -> Version:
    try:
        snapshot = read_snapshot(library, name)
    except NoSuchSnapshot as error:
        raise NoSuchVersion(f"{error}; for a time, give as_of a datetime") from error
    if symbol not in snapshot.versions:
        raise NoSuchVersion(
            f"snapshot {name!r} of library {library.name!r} does not hold {symbol!r}."
            f"{nearest(symbol, snapshot.versions)} It holds {len(snapshot.versions)} symbols"
        )
    return _by_number(library, symbol, snapshot.versions[symbol])


def _at_time(library: OpenLibrary, symbol: str, wanted: datetime) -> Version:
    present = list(numbers(library, symbol))
    low, high = 0, len(present)
    while low < high:  # the first position, newest first, whose document is not later than the wanted time
        middle = (low + high) // 2
        version = library.version(symbol, present[middle])
        if version.library_id != library.library_id:  # its time is in no order with ours
            low, high = 0, 0
        elif (visible_version(library, version) or version).created_at <= wanted:
            high = middle
        else:
            low = middle + 1
    for number in present[low:]:
        visible = visible_version(library, library.version(symbol, number))
        if visible is not None and visible.created_at <= wanted:
            return visible
    if not present:
        raise _no_symbol(library, symbol)
    first = library.version(symbol, present[-1])
    raise NoSuchVersion(
        f"{_name(library, symbol)} had no version at {envelope.time_to_json(wanted)}; its oldest, version "
        f"{first.number}, was created at {envelope.time_to_json(first.created_at)}"
    )


def history(library: OpenLibrary, symbol: str) -> list[Version]:
    """Return all visible versions of a symbol, deletions included, newest first (empty: no such symbol)."""
    present = list(numbers(library, symbol))

    def load(number: int) -> Version | None:
        try:
            return visible_version(library, library.version(symbol, number))
        except NoSuchKey:
            return None  # pruned while we listed

    return [version for version in library.in_parallel(load, present) if version is not None]


def symbol_names(library: OpenLibrary) -> list[str]:
    """Return every symbol that has a document in any state, sorted by its escaped form."""
    return [name for name, _ in _symbol_heads(library)]


def _symbol_heads(library: OpenLibrary) -> Iterator[tuple[str, int]]:
    """Yield (symbol, highest number), skipping the rest of a history that fills a page."""
    prefix = library.layout.versions
    start_after: str | None = None
    while True:
        page = list(library.objects.list(prefix, start_after=start_after, limit=SYMBOLS_PAGE))
        symbol = None
        for entry in page:
            name, number = library.layout.parse_version(entry.key)
            if name != symbol:
                yield name, number
            symbol = name
        if len(page) < SYMBOLS_PAGE or symbol is None:
            return
        # "~" sorts after every digit, and the version files of the next symbol after "/~".
        start_after = library.layout.symbol_versions(symbol) + "~"


def symbols(library: OpenLibrary) -> list[str]:
    """Return the names of the live symbols (their newest version is no deletion), sorted."""
    return [version.symbol for version in newest_versions(library)]


def newest_versions(library: OpenLibrary) -> list[Version]:
    """Return the newest version of every live symbol, sorted by name."""

    def load(found: tuple[str, int]) -> Version | None:
        symbol, number = found
        try:
            version = visible_version(library, library.version(symbol, number))
        except NoSuchKey:
            version = None
        return version or head(library, symbol).newest

    versions = library.in_parallel(load, _symbol_heads(library))
    live = [version for version in versions if version is not None and not version.deleted]
    return sorted(live, key=lambda version: version.symbol)


def resolve_cut(library: OpenLibrary, wanted: Sequence[tuple[str, AsOf]]) -> list[Version | DuckVStoreError]:
    """Resolve several (symbol, as_of) pairs as one consistent cut; a NotFound is returned in its place."""
    newest = list(dict.fromkeys(symbol for symbol, as_of in wanted if as_of is None))
    heads = collect_cut(library, newest)

    def one(pair: tuple[str, AsOf]) -> Version | DuckVStoreError:
        symbol, as_of = pair
        try:
            if as_of is not None:
                return resolve(library, symbol, as_of)
            version = heads[symbol]
            if version is None:
                raise _no_symbol(library, symbol)
            if version.deleted:
                raise _deleted(library, version, None)
        except (NoSuchSymbol, NoSuchVersion) as error:
            return error
        return version

    return library.in_parallel(one, wanted)


def collect_cut(
    library: OpenLibrary, names: Sequence[str] | None, *, skipped: Collection[str] = ()
) -> dict[str, Version | None]:
    """Return the newest versions of ``names`` as they stood at one moment (None: the symbol has none).

    ``names`` None means every symbol except those in ``skipped``; which these are is collected anew each time,
    since a symbol may be made meanwhile. Two successive equal collections of symbols, highest numbers and
    decisions prove the cut. After three that disagree, the last one is raised (``_raised``).
    """
    collections: list[dict[str, Head]] = []
    for _ in range(CUT_COLLECTIONS_MAX):
        collections.append(_collection(library, names, skipped))
        if names is not None and len(names) < 2:
            break
        if len(collections) > 1 and _same(collections[-2], collections[-1]):
            break
    else:
        cut = _raised(library, collections[0], collections[-1], _collection(library, names, skipped))
        wanted = cut.keys() if names is not None else None
        return _whole_transactions(library, collections[0], cut, wanted, skipped)
    return {name: found.newest for name, found in collections[-1].items()}


def _collection(library: OpenLibrary, names: Sequence[str] | None, skipped: Collection[str]) -> dict[str, Head]:
    if names is None:
        names = [name for name in symbol_names(library) if name not in skipped]
    heads = library.in_parallel(lambda name: head(library, name), names)
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
                    cut[other] = visible_version(library, library.version(other, number))
                    pending.append(other)
            version = visible_parent(library, version)
    return cut


def visible_parent(library: OpenLibrary, version: Version) -> Version | None:
    """Return the version that ``version`` was made from, or None when it was the first or is gone."""
    if version.parent is None:
        return None
    try:
        return visible_version(library, library.version(version.symbol, version.parent))
    except NoSuchKey:
        return None


def snapshot_names(library: OpenLibrary) -> list[str]:
    """Return the names of all snapshots, sorted."""
    keys = [entry.key for entry in library.objects.list(library.layout.snapshots)]
    return sorted(library.layout.parse_snapshot(key) for key in keys)


def read_snapshot(library: OpenLibrary, name: str) -> Snapshot:
    """Return a snapshot's document, read afresh: a name can be deleted and made again. Raises NoSuchSnapshot."""
    key = library.layout.snapshot(name)
    try:
        data = library.objects.read(key)
    except NoSuchKey as error:
        names = snapshot_names(library)
        raise NoSuchSnapshot(
            f"library {library.name!r} has no snapshot {name!r}.{nearest(name, names)} It has {len(names)}: "
            "list_snapshots() shows them"
        ) from error
    snapshot = documents.load_snapshot(data, where=f"{library.objects.url} {key}")
    if snapshot.name != name:
        raise Integrity(f"the snapshot document {key} belongs to another library or name: it was copied or moved")
    if snapshot.library_id != library.library_id:
        library.check_present(at_once=True)
        raise NoSuchSnapshot(
            f"snapshot {name!r} belongs to another library {library.name!r}, deleted since: delete_snapshot({name!r}) "
            "removes what is left of it"
        )
    return snapshot


def snapshots(library: OpenLibrary) -> list[Snapshot]:
    """Return all snapshots, sorted by name."""

    def load(name: str) -> Snapshot | None:
        try:
            return read_snapshot(library, name)
        except NoSuchSnapshot:
            return None  # deleted while we listed

    return [found for found in library.in_parallel(load, snapshot_names(library)) if found is not None]


def _vanishing(library: OpenLibrary, symbol: str) -> Integrity:
    library.check_present(at_once=True)
    return Integrity(
        f"documents of {_name(library, symbol)} vanish while they are read: something deletes under "
        f"{library.objects.url} {library.layout.symbol_versions(symbol)}"
    )


def _name(library: OpenLibrary, symbol: str) -> str:
    return repr(f"{library.name}/{symbol}")


def _no_symbol(library: OpenLibrary, symbol: str) -> NoSuchSymbol:
    names = symbol_names(library)
    return NoSuchSymbol(
        f"library {library.name!r} has no symbol {symbol!r}.{nearest(symbol, names)} It has {len(names)}: "
        "list_symbols() shows them"
    )


def _deleted(library: OpenLibrary, version: Version, as_of: AsOf) -> NoSuchSymbol | NoSuchVersion:
    name, when = _name(library, version.symbol), envelope.time_to_json(version.created_at)
    last = f"as_of={version.parent} reads what was there before" if version.parent is not None else ""
    if as_of is None:
        return NoSuchSymbol(f"{name} was deleted at {when} (version {version.number}): {last}")
    return NoSuchVersion(f"version {version.number} of {name} is its deletion, at {when}: {last}")
