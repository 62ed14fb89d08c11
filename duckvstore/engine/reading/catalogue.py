"""Which versions there are: from a symbol and an ``as_of`` to a version document.

Everything here treats a document of an undecided or aborted transaction as absent, and nothing here writes.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice, takewhile
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar

from duckvstore import clock
from duckvstore.concurrency import IO, PARALLEL_DOCUMENTS
from duckvstore.engine.library import condemned, unreadable
from duckvstore.engine.library.heads import Head
from duckvstore.engine.reading import folded, not_found
from duckvstore.errors import (
    Integrity,
    InvalidInput,
    NoSuchKey,
    NoSuchSnapshot,
    NoSuchSymbol,
    NoSuchVersion,
    nearest,
)
from duckvstore.format.stored import documents, envelope, generations
from duckvstore.format.stored.layout import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    import pyarrow as pa

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.engine.reading.folded import FoldedHead, View
    from duckvstore.format.stored.documents import Decision, Snapshot, Version

AsOf: TypeAlias = int | str | datetime | None
# The newest version of some symbols, as a transaction sees them (None: no such symbol).
Pinned: TypeAlias = "Mapping[str, Version | None]"
Wanted = TypeVar("Wanted")
# First and last symbol and number (None: any) of a document, or of a file of many.
Bounds: TypeAlias = tuple[str, str, "int | None"]
# Returns the positions of those to read.
Choose: TypeAlias = "Callable[[Sequence[Bounds]], Sequence[int]]"

SEARCHES_MAX = 5
SYMBOLS_PAGE = 1000
NUMBERS_PAGE = 1000
FOLDED_DOCUMENTS_MIN = 100  # fewer are read one by one, all at once
SYMBOLS_OF_A_PAGE_MIN = 32  # below that, a listing for each symbol, many at once, takes less time
NOTHING_PINNED: Pinned = MappingProxyType({})


def head(library: OpenLibrary, symbol: str) -> Head:
    """Read the top of a symbol's history: one listing of one key and, if not cached, one document."""
    for _ in range(SEARCHES_MAX):
        found = _search_head(library, symbol, numbers(library, symbol, first_page=1), clock.Stopwatch())
        if found is not None:
            library.heads.remember(symbol, found)
            return found
    raise not_found.vanishing(library, symbol)


def heads_of_all(
    library: OpenLibrary, skipped: Collection[str] = (), listed: Sequence[tuple[str, int]] | None = None
) -> dict[str, Head]:
    """Return the head of every symbol except ``skipped``: ``symbol_heads``, and each document that is not cached.

    ``listed``: what ``symbol_heads`` has returned a moment ago.
    """
    age = clock.Stopwatch()
    found = symbol_heads(library) if listed is None else listed
    top_numbers = [(symbol, number) for symbol, number in found if symbol not in skipped]

    def below(symbol: str, number: int) -> Iterator[int]:
        yield number
        yield from numbers(library, symbol, start_after=library.layout.version(symbol, number))

    def one(top: tuple[str, int]) -> Head:
        found = _search_head(library, top[0], below(*top), age)
        if found is None:
            return head(library, top[0])
        library.heads.remember(top[0], found)
        return found

    heads = IO.map(one, top_numbers, at_once=PARALLEL_DOCUMENTS)
    return {symbol: head for (symbol, _), head in zip(top_numbers, heads, strict=True)}


def _search_head(library: OpenLibrary, symbol: str, present: Iterable[int], age: clock.Stopwatch) -> Head | None:
    """Return the head of a symbol by the numbers ``present``, highest first; None: a document of them is gone."""
    highest, latest, undecided = -1, None, None
    for number in present:
        try:
            version = library.version(symbol, number)
            # Asked for once: were it asked for again, it could be committed between the two, and then a document
            # that is visible would be taken for an aborted one, and written above as if it were not there.
            decision = decision_of(library, version)
        except NoSuchKey:
            return None
        visible = as_decided(library, version, decision)
        highest = max(highest, number)
        # Looked for below the highest too: a deleted library's late writer may have left its document above one.
        if undecided is None and version.library_id == library.library_id and decision is None:
            undecided = version.transaction
        created_at = (visible or version).created_at
        latest = created_at if latest is None else max(latest, created_at)
        if visible is not None:
            return Head(highest, visible, latest, undecided, age)
    return Head(highest, None, latest, undecided, age)


def numbers(
    library: OpenLibrary, symbol: str, *, first_page: int | None = None, start_after: str | None = None
) -> Iterator[int]:
    """Yield the numbers of all documents of a symbol, highest first, whatever their state.

    With ``first_page`` the first listing asks for that many only, and further ones follow when needed. With the key
    ``start_after`` it begins behind that.
    """
    prefix = library.layout.symbol_versions(symbol)
    last = start_after
    if first_page is not None:
        page = list(library.objects.list(prefix, limit=first_page))
        for entry in page:
            yield library.layout.parse_version(entry.key)[1]
        if len(page) < first_page:
            return
        last = page[-1].key
    for entry in library.objects.list(prefix, start_after=last):
        yield library.layout.parse_version(entry.key)[1]


def history_numbers(
    library: OpenLibrary, symbol: str, *, page: int = NUMBERS_PAGE, before_folded: Callable[[], object] = bool
) -> Iterator[int]:
    """Yield what ``numbers`` does; of a history of more than a page, what is folded comes from the catalogue.

    What was removed and condemned may be among it, so the caller must have looked for what is condemned before:
    ``before_folded`` is called before the catalogue is looked for.
    """
    page = min(page, NUMBERS_PAGE)
    first = list(islice(numbers(library, symbol, first_page=page), page))
    yield from first
    if len(first) < page:
        return
    below: list[int] = []
    if page == NUMBERS_PAGE:
        before_folded()
        below = folded.using(folded.look(library), lambda view: view.folded.numbers(symbol)) or []
    last, top = first[-1], below[0] if below else -1
    if last > top:
        for number in numbers(library, symbol, start_after=library.layout.version(symbol, last)):
            if number <= top:
                break
            last = number
            yield number
    yield from (number for number in below if number < last)


def visible_version(library: OpenLibrary, version: Version) -> Version | None:
    """Return the version as readers see it, or None when its transaction is undecided or aborted.

    All versions of a transaction have the time of its commit. A document of another library, deleted since, to
    which a late writer added it, is as absent as an aborted one.
    """
    return as_decided(library, version, decision_of(library, version))


def decision_of(library: OpenLibrary, version: Version) -> Decision | None:
    """Return what became of a version's transaction; None without one, or while it is undecided."""
    if version.transaction is None or version.library_id != library.library_id:
        return None
    return library.decision(version.transaction)


def as_decided(library: OpenLibrary, version: Version, decision: Decision | None) -> Version | None:
    """Return what ``visible_version`` does, of a version whose ``decision_of`` is known."""
    if version.library_id != library.library_id:
        return None
    if version.transaction is None:
        return version
    if decision is None or decision.outcome != "committed":
        return None
    return replace(version, created_at=decision.decided_at)


class Held(int):
    """The number of a version that a snapshot holds: as an ``as_of`` it is found even when it was pruned."""


def resolve(library: OpenLibrary, symbol: str, as_of: AsOf = None) -> Version:
    """Return the version that ``as_of`` names: a number, a negative number, a snapshot, a time, or the newest.

    Raises NoSuchSymbol, NoSuchVersion (also for a version that is a deletion or was pruned), InvalidInput.
    """
    return _resolve(library, symbol, as_of, fresh=False)


def resolve_to_refer(library: OpenLibrary, symbol: str, as_of: AsOf = None) -> Version:
    """Return what ``resolve`` does, for a caller that is about to make something that refers to it.

    The version was not condemned, and was there, at some time after the call began. A pruned one is refused (with
    InvalidInput) even where ``as_of`` is a snapshot that holds it. The caller must make the reference within half the
    grace period of this call's beginning.
    """
    return _resolve(library, symbol, as_of, fresh=True)


def _resolve(library: OpenLibrary, symbol: str, as_of: AsOf, *, fresh: bool) -> Version:
    if as_of is None:
        version = head(library, symbol).newest  # the newest is never condemned
        if version is None:
            raise no_symbol(library, symbol)
    elif isinstance(as_of, bool):
        raise InvalidInput(f"as_of={as_of!r} is no version: give a number, a snapshot's name or a datetime")
    elif isinstance(as_of, Held):
        version = _held(library, symbol, int(as_of), "", fresh=fresh)
    elif isinstance(as_of, int) and as_of >= 0:
        version = _by_number(library, symbol, as_of, fresh=fresh)
    elif isinstance(as_of, int):
        version = _search(_from_newest, library, symbol, as_of, fresh=fresh)
    elif isinstance(as_of, str):
        version = _in_snapshot(library, symbol, as_of, fresh=fresh)
    elif isinstance(as_of, datetime):
        version = _search(_at_time, library, symbol, utc(as_of), fresh=fresh)
    else:
        raise InvalidInput(f"as_of is a {type(as_of).__name__}: give a version number, a snapshot's name or a datetime")
    if version.deleted:
        raise not_found.deleted(library, version, as_of)
    return version


def _search(
    search: Callable[[OpenLibrary, str, Wanted, frozenset[int]], Version],
    library: OpenLibrary,
    symbol: str,
    wanted: Wanted,
    *,
    fresh: bool,
) -> Version:
    """Return what ``search`` finds, and start again when a document that it listed has vanished."""
    for _ in range(SEARCHES_MAX):
        unwanted = condemned.numbers(library, symbol, fresh=fresh)
        try:
            return search(library, symbol, wanted, unwanted)
        except NoSuchKey:
            continue
    raise not_found.vanishing(library, symbol)


def no_symbol(library: OpenLibrary, symbol: str) -> NoSuchSymbol:
    """Return the error for a symbol without a version, naming the nearest ones."""
    return not_found.no_symbol(library, symbol, symbol_names(library))


def utc(time: datetime) -> datetime:
    """Return a time in UTC, also of a naive one; raises InvalidInput for NaT and for times that UTC cannot express."""
    try:
        if time != time:  # noqa: PLR0124 - pandas' NaT is a datetime that equals nothing
            raise InvalidInput("as_of=NaT is no time: give a datetime")
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except OverflowError as error:
        raise InvalidInput(f"as_of={time!r} is outside of the times that UTC can say: give another") from error


def _by_number(library: OpenLibrary, symbol: str, number: int, *, fresh: bool) -> Version:
    version, unwanted = _look(library, symbol, number, fresh=fresh)
    if number in unwanted:
        raise not_found.pruned(library, symbol, number)
    if version is None:
        newest = head(library, symbol).newest
        if newest is None:
            raise no_symbol(library, symbol)
        raise NoSuchVersion(
            f"{library.quoted(symbol)} has no version {number}; its newest is {newest.number}: "
            f"list_versions({symbol!r}) shows all"
        )
    return version


def _look(library: OpenLibrary, symbol: str, number: int, *, fresh: bool) -> tuple[Version | None, frozenset[int]]:
    """Return a visible version and what is condemned of its symbol; neither is older than a few seconds."""
    if fresh:  # in this order: what is there after nothing condemned it stays for the grace period
        unwanted = condemned.numbers(library, symbol, fresh=True)
        return find_visible(library, symbol, number, fresh=True), unwanted
    if library.has_cached(symbol, number) and (
        condemned.is_recent(library, symbol) or _was_newest(library, symbol, number)
    ):
        return find_visible(library, symbol, number), condemned.known(library, symbol)
    looking = condemned.look_beside(library, symbol)
    version = find_visible(library, symbol, number, fresh=True)
    return version, looking.result()


def _was_newest(library: OpenLibrary, symbol: str, number: int) -> bool:
    """Return whether this was the newest version a moment ago, and so not condemned."""
    found = library.heads.usable(symbol)
    return (
        found is not None
        and found.newest is not None
        and found.newest.number == number
        and found.age.elapsed_seconds() < condemned.RECENT_SECONDS
    )


def find_visible(library: OpenLibrary, symbol: str, number: int, *, fresh: bool = False) -> Version | None:
    """Return a version as readers see it; None where there is none, or none that they see."""
    try:
        return visible_version(library, library.version(symbol, number, fresh=fresh))
    except NoSuchKey:
        return None


def _from_newest(library: OpenLibrary, symbol: str, as_of: int, unwanted: frozenset[int]) -> Version:
    found, left = 0, (at for at in history_numbers(library, symbol, page=-as_of) if at not in unwanted)
    while chunk := list(islice(left, min(-as_of - found, NUMBERS_PAGE))):
        versions = list(filter(None, _read_many(library, [(symbol, number) for number in chunk])))
        found += len(versions)
        if found == -as_of:
            return versions[-1]
    if not found:
        raise no_symbol(library, symbol)
    raise NoSuchVersion(f"{library.quoted(symbol)} has {found} versions, so there is no as_of={as_of}")


def _in_snapshot(library: OpenLibrary, symbol: str, name: str, *, fresh: bool) -> Version:
    try:
        snapshot = read_snapshot(library, name)
    except NoSuchSnapshot as error:
        raise NoSuchVersion(f"{error}; for a time, give as_of a datetime") from error
    if symbol not in snapshot.versions:
        raise NoSuchVersion(
            f"snapshot {name!r} of library {library.name!r} does not hold {symbol!r}."
            f"{nearest(symbol, snapshot.versions)} It holds {len(snapshot.versions)} symbols"
        )
    return _held(library, symbol, snapshot.versions[symbol], name, fresh=fresh)


def _held(library: OpenLibrary, symbol: str, number: int, snapshot: str, *, fresh: bool) -> Version:
    """Return a version that a snapshot holds: it is there, pruned or not."""
    if fresh and number in condemned.numbers(library, symbol, fresh=True):
        raise not_found.only_held(library, symbol, number, snapshot)
    version = find_visible(library, symbol, number, fresh=fresh)
    if version is None:
        raise NoSuchVersion(
            f"version {number} of {library.quoted(symbol)} is not there, although a snapshot holds it: "
            "verify() shows what else is missing, recover() brings back what it can"
        )
    return version


def _first_not_later(library: OpenLibrary, symbol: str, present: Sequence[int], wanted: datetime) -> int:
    """Return the first position in ``present``, newest first, whose document is not later than ``wanted``.

    It is 0 where documents of another library are met, whose times are not comparable with this one's.
    """
    low, high = 0, len(present)
    while low < high:
        middle = (low + high) // 2
        version = library.version(symbol, present[middle])
        if version.library_id != library.library_id:
            return 0
        if (visible_version(library, version) or version).created_at <= wanted:
            high = middle
        else:
            low = middle + 1
    return low


def _at_time(library: OpenLibrary, symbol: str, wanted: datetime, unwanted: frozenset[int]) -> Version:
    present = list(history_numbers(library, symbol))
    low = _first_not_later(library, symbol, present, wanted)
    found = successor = None
    for number in reversed(present[:low]):
        successor = visible_version(library, library.version(symbol, number))
        if successor is not None:
            break
    for number in present[low:]:
        found = visible_version(library, library.version(symbol, number))
        if found is not None and found.created_at <= wanted:
            break
        successor, found = found or successor, None
    at = envelope.time_to_json(wanted)
    before = successor.parent if successor is not None else None
    if before is not None and (found is None or (found.number != before and found.created_at < wanted)):
        raise not_found.pruned(library, symbol, before, at=at)  # what the next version was made from is gone
    if found is not None and found.number in unwanted:
        raise not_found.pruned(library, symbol, found.number, at=at)
    if found is not None:
        return found
    if not present:
        raise no_symbol(library, symbol)
    first = library.version(symbol, present[-1])
    raise NoSuchVersion(
        f"{library.quoted(symbol)} had no version at {at}; its oldest, version "
        f"{first.number}, was created at {envelope.time_to_json(first.created_at)}"
    )


def history(library: OpenLibrary, symbol: str) -> list[Version]:
    """Return all visible versions of a symbol, deletions included, newest first (empty: no such symbol).

    Pruned ones are left out, and what cannot be read, which is warned of.
    """
    looking = condemned.look_beside(library, symbol)
    present = list(history_numbers(library, symbol, before_folded=looking.result))
    unwanted = looking.result()
    pairs = [(symbol, number) for number in present if number not in unwanted]
    return unreadable.read_all(_reader(library, pairs), pairs)


def visible_documents(library: OpenLibrary, symbol: str) -> list[Version]:
    """Return the versions of a symbol whose documents are there, pruned ones included, newest first."""
    present = list(numbers(library, symbol))
    loaded = IO.map(lambda number: find_visible(library, symbol, number), present, at_once=PARALLEL_DOCUMENTS)
    return [version for version in loaded if version is not None]


def _reader(library: OpenLibrary, pairs: Sequence[tuple[str, int]]) -> Callable[[tuple[str, int]], Version | None]:
    """Return what does ``find_visible`` for (symbol, number); where many of ``pairs`` are not cached, by the catalogue.

    What is condemned must have been looked for before.
    """
    unknown = [pair for pair in pairs if not library.has_cached(*pair)]
    known: Mapping[tuple[str, int], folded.FoldedDocument] = {}
    if len(unknown) >= FOLDED_DOCUMENTS_MIN:
        known = folded.using(folded.look(library), lambda view: view.folded.documents(unknown)) or {}

    def read(pair: tuple[str, int]) -> Version | None:
        found = known.get(pair)
        return find_visible(library, *pair) if found is None else folded.version(library, pair, found)

    return read


def _read_many(library: OpenLibrary, pairs: Sequence[tuple[str, int]]) -> list[Version | None]:
    return IO.map(_reader(library, pairs), pairs, at_once=PARALLEL_DOCUMENTS)


def symbol_names(library: OpenLibrary) -> list[str]:
    """Return every symbol that has a document in any state, sorted by its escaped form."""
    return [name for name, _ in symbol_heads(library)]


def symbol_heads(library: OpenLibrary) -> list[tuple[str, int]]:
    """Return (symbol, highest number) in the order of keys; of a library with many documents, by its catalogue."""
    return tops(library)[0]


def live_symbols(library: OpenLibrary) -> list[str]:
    """Return the symbols whose newest version is not a deletion, sorted; reads no document that is folded.

    One whose newest document has to be read, and cannot be, is left out and warned of.
    """
    listed, known = tops(library)
    rest = [top for top in listed if top[0] not in known]
    found = [version.symbol for version in newest_among(library, rest) if not version.deleted]
    found += [symbol for symbol, head in known.items() if head.newest is not None and not head.is_deleted]
    return sorted(found)


def tops(library: OpenLibrary) -> tuple[list[tuple[str, int]], Mapping[str, FoldedHead]]:
    """Return what ``symbol_heads`` does, and the heads of the symbols of which the catalogue has everything."""
    page: list[tuple[str, int]] = []
    if not library.is_known_as_folded:
        listed = library.objects.list(library.layout.versions, limit=SYMBOLS_PAGE)
        page = [library.layout.parse_version(entry.key) for entry in listed]
        if len(page) < SYMBOLS_PAGE:
            return _highest(page), {}
    return folded.using(folded.look(library), _folded_tops) or (_listed_tops(library, page), {})


def _folded_tops(view: View) -> tuple[list[tuple[str, int]], Mapping[str, FoldedHead]]:
    library = view.folded.library
    known = {symbol: head for symbol, head in view.folded.heads.items() if symbol not in view.tail}
    tail = sorted(view.tail)
    highest = IO.map(lambda name: next(numbers(library, name, first_page=1), None), tail, at_once=PARALLEL_DOCUMENTS)
    tops = {symbol: head.highest for symbol, head in known.items()}
    tops |= {symbol: number for symbol, number in zip(tail, highest, strict=True) if number is not None}
    return sorted(tops.items(), key=lambda top: escape(top[0])), known


class State(NamedTuple):
    """What two collections of a cut must have alike of a symbol; ``undecided``: the transaction at its top."""

    highest: int
    newest: int | None
    is_deleted: bool
    undecided: str | None = None


def states(library: OpenLibrary) -> dict[str, State] | None:
    """Return the state of every symbol, each at a moment of this call; None: the catalogue is not folded."""
    return folded.using(folded.look(library), _folded_states)


def _folded_states(view: View) -> dict[str, State]:
    library, tail = view.folded.library, sorted(view.tail)

    def state(symbol: str) -> State:
        found = head(library, symbol)
        newest = found.newest
        is_deleted = newest is not None and newest.deleted
        return State(found.highest, newest.number if newest is not None else None, is_deleted, found.undecided)

    known = {symbol: State(*top) for symbol, top in view.folded.heads.items() if symbol not in view.tail}
    return known | dict(zip(tail, IO.map(state, tail, at_once=PARALLEL_DOCUMENTS), strict=True))


def _highest(page: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    """Return the first (symbol, number) of each symbol in the order of keys: its highest number."""
    found: dict[str, int] = {}
    for name, number in page:
        found.setdefault(name, number)
    return list(found.items())


def _listed_tops(library: OpenLibrary, page: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """Return (symbol, highest number) in the order of keys, skipping the rest of a history that fills a page.

    ``page``: the first page of the listing, if it was read. A page of a thousand documents has the highest number of
    each symbol in it. Where it has few symbols, since histories are long, their names are listed as folders, and each
    one's highest number by itself, many at once.
    """
    found: list[tuple[str, int]] = []
    while True:
        if not page:
            after = library.layout.symbol_versions(found[-1][0]) + "~" if found else None
            listed = library.objects.list(library.layout.versions, start_after=after, limit=SYMBOLS_PAGE)
            page = [library.layout.parse_version(entry.key) for entry in listed]
        new, is_last = _highest(page), len(page) < SYMBOLS_PAGE
        # "~" sorts after every digit, and the version files of the next symbol after "/~".
        found, page = found + new, ()
        if is_last:
            return found
        if len(new) < SYMBOLS_OF_A_PAGE_MIN:
            return _symbol_heads_one_by_one(library, found)


def _symbol_heads_one_by_one(library: OpenLibrary, known: list[tuple[str, int]]) -> list[tuple[str, int]]:
    """Return (symbol, highest number) in the order of keys, of which the first are ``known``."""
    folders = [entry.key for entry in library.objects.list(library.layout.versions, folders=True)]
    names = [library.layout.parse_symbol_versions(folder) for folder in folders]
    done = {name for name, _ in known}
    rest = [name for name in names if name not in done]

    def highest(name: str) -> tuple[str, int] | None:
        number = next(numbers(library, name, first_page=1), None)
        return None if number is None else (name, number)

    found = IO.map(highest, rest, at_once=PARALLEL_DOCUMENTS)
    return known + [each for each in found if each is not None]


def heads_with(library: OpenLibrary, pinned: Pinned) -> list[tuple[str, int]]:
    """Return what ``symbol_heads`` yields, and the symbols that only ``pinned`` has."""
    own = {symbol: version.number for symbol, version in pinned.items() if version is not None}
    return list({**own, **dict(symbol_heads(library))}.items())


def newest_versions(library: OpenLibrary, pinned: Pinned = NOTHING_PINNED) -> list[Version]:
    """Return the newest version of every live symbol, sorted by name; of those in ``pinned``, that one."""
    newest = newest_among(library, heads_with(library, pinned), pinned)
    return [version for version in newest if not version.deleted]


def newest_among(
    library: OpenLibrary, heads: Iterable[tuple[str, int]], pinned: Pinned = NOTHING_PINNED
) -> list[Version]:
    """Return the newest versions, deletions included, of the symbols in ``heads``, sorted by name.

    One whose document cannot be read is left out and warned of. ``heads``: (symbol, highest number), as
    ``symbol_heads`` gives them. ``pinned``: what a transaction sees of some symbols instead.
    """

    def load(found: tuple[str, int]) -> Version | None:
        symbol, _ = found
        if symbol in pinned:
            return pinned[symbol]
        return read(found) or head(library, symbol).newest

    heads = list(heads)
    read = _reader(library, [top for top in heads if top[0] not in pinned])
    return sorted(unreadable.read_all(load, heads), key=lambda version: version.symbol)


def documents_listed(library: OpenLibrary) -> Iterator[tuple[str, int]]:
    """Yield (symbol, number) of every document there is, in any state, in the order of keys: one listing."""
    for entry in library.objects.list(library.layout.versions):
        yield library.layout.parse_version(entry.key)


class Documents(NamedTuple):
    """All documents of a library, in any state: ``rows`` of those that are folded, and (symbol, number) of the others.

    ``rows``: in the columns of ``generations.VERSIONS``, by symbol, newest first. ``tops``: the highest number of each
    symbol that may have others.
    """

    rows: pa.Table
    others: list[tuple[str, int]]
    tops: dict[str, int]

    def pairs(self) -> list[tuple[str, int]]:
        """Return (symbol, number) of all, by symbol, newest first."""
        folded = zip(self.rows["symbol"].to_pylist(), self.rows["version"].to_pylist(), strict=True)
        return sorted([*folded, *self.others], key=lambda found: (found[0], -found[1]))


def documents_present(library: OpenLibrary, choose: Choose | None = None) -> Documents:
    """Return all documents; of a library with many, by its catalogue, of whose files ``choose`` says which are read.

    What is condemned must have been looked for before, since what was removed may be among those that are folded.
    """
    listed = documents_listed(library)
    page = [] if library.is_known_as_folded else list(islice(listed, SYMBOLS_PAGE))
    found = None
    if len(page) == SYMBOLS_PAGE or library.is_known_as_folded:
        found = folded.using(folded.look(library), lambda view: _folded_documents(view, choose))
    if found is not None:
        return found
    others = [*page, *listed]
    return Documents(generations.VERSIONS.empty_table(), others, dict(_highest(others)))


def _folded_documents(view: View, choose: Choose | None) -> Documents:
    library, heads, tail = view.folded.library, view.folded.heads, sorted(view.tail)

    def above(symbol: str) -> list[int]:
        highest = heads[symbol].highest if symbol in heads else -1
        return list(takewhile(highest.__lt__, numbers(library, symbol, first_page=10)))

    new = dict(zip(tail, IO.map(above, tail, at_once=PARALLEL_DOCUMENTS), strict=True))
    tops = {symbol: (found or [heads[symbol].highest])[0] for symbol, found in new.items() if found or symbol in heads}
    others = [(symbol, number) for symbol, found in new.items() for number in found]
    return Documents(view.folded.versions(choose), others, tops)


def versions_of_all(library: OpenLibrary, choose: Choose | None = None) -> list[Version]:
    """Return the visible versions of all symbols, deletions included, by symbol, newest first.

    Only of the documents that ``choose`` wants. Pruned ones are left out, and what cannot be read, which is warned of.
    One listing of all that is condemned, and one read for each document that is neither cached nor folded.
    """
    unwanted = condemned.numbers_of_all(library)
    return versions_among(library, chosen(documents_present(library, choose).pairs(), choose), unwanted)


def versions_among(
    library: OpenLibrary, documents: Iterable[tuple[str, int]], unwanted: Mapping[str, Collection[int]]
) -> list[Version]:
    """Return the visible versions among ``documents``, (symbol, number), but for ``unwanted`` numbers by symbol."""
    pairs = [(name, at) for name, at in documents if at not in unwanted.get(name, ())]
    return unreadable.read_all(_reader(library, pairs), pairs)


def chosen(documents: list[tuple[str, int]], choose: Choose | None, *, by_number: bool = True) -> list[tuple[str, int]]:
    """Return those of (symbol, number) that ``choose`` wants; not ``by_number``: whatever their number."""
    if choose is None or not documents:
        return documents
    bounds = [(symbol, symbol, number if by_number else None) for symbol, number in documents]
    return [documents[position] for position in choose(bounds)]


def versions_held(library: OpenLibrary, documents: Iterable[tuple[str, int]]) -> list[Version]:
    """Return the same of ``documents`` that snapshots hold, pruned or not: one read for each that is not cached."""
    return unreadable.read_all(lambda found: find_visible(library, *found), documents)


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
    snapshot = documents.Snapshot.load(data, where=f"{library.objects.url} {key}")
    if snapshot.name != name:
        raise Integrity(f"the snapshot document {key} belongs to another library or name: it was copied or moved")
    if snapshot.library_id != library.library_id:
        library.check_present(at_once=True)
        raise NoSuchSnapshot(
            f"snapshot {name!r} belongs to another library {library.name!r}, deleted since: delete_snapshot({name!r}) "
            "removes what is left of it"
        )
    return snapshot


def snapshots(library: OpenLibrary, *, all_or_none: bool = False) -> list[Snapshot]:
    """Return all snapshots, sorted by name; one that cannot be read is warned of, or raised if ``all_or_none``."""

    def load(name: str) -> Snapshot | None:
        try:
            return read_snapshot(library, name)
        except NoSuchSnapshot:
            return None  # deleted while we listed

    names = snapshot_names(library)
    if all_or_none:
        return [found for found in IO.map(load, names, at_once=PARALLEL_DOCUMENTS) if found is not None]
    return unreadable.read_all(load, names)


def holders(library: OpenLibrary, *, all_or_none: bool = False) -> dict[tuple[str, int], list[str]]:
    """Return the names of the snapshots that hold each (symbol, number), read afresh; as ``snapshots`` has them."""
    found: dict[tuple[str, int], list[str]] = {}
    for snapshot in snapshots(library, all_or_none=all_or_none):
        for pair in snapshot.versions.items():
            found.setdefault(pair, []).append(snapshot.name)
    return found
