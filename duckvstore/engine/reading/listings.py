"""All symbols and versions of a library: read from its folded catalogue where it has many, else from documents.

What the two say is the same (FORMAT.md, "Catalogue"); a version that cannot be read is left out and warned of.
"""

from __future__ import annotations

from itertools import takewhile
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from duckvstore import clock
from duckvstore.concurrency import IO, PARALLEL_DOCUMENTS
from duckvstore.engine.library import condemned, unreadable
from duckvstore.engine.reading import folded, visible
from duckvstore.format.stored import generations
from duckvstore.format.stored.layout import escape

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    import pyarrow as pa

    from duckvstore.engine.library.heads import Head
    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.engine.reading.folded import View
    from duckvstore.format.stored.documents import Version

# The newest version of some symbols, as a transaction sees them (None: no such symbol).
Pinned: TypeAlias = "Mapping[str, Version | None]"
# First and last symbol and number (None: any) of a document, or of a file of many.
Bounds: TypeAlias = tuple[str, str, "int | None"]
# Returns the positions of those to read.
Choose: TypeAlias = "Callable[[Sequence[Bounds]], Sequence[int]]"

SYMBOLS_PAGE = 1000
SYMBOLS_OF_A_PAGE_MIN = 32  # below that, a listing for each symbol, many at once, takes less time
NOTHING_PINNED: Pinned = MappingProxyType({})


def symbol_names(library: OpenLibrary) -> list[str]:
    """Return every symbol that has a document in any state, sorted by its escaped form."""
    return [name for name, _ in symbol_heads(library)]


def symbol_heads(library: OpenLibrary) -> list[tuple[str, int]]:
    """Return (symbol, highest number) in the order of keys; of a library with many documents, by its catalogue."""
    begun = start(library)
    tops = folded.using(begun.view, _folded_tops) or listed_tops(library, begun)
    return sorted(tops, key=lambda top: escape(top[0]) + "/")


def live_symbols(library: OpenLibrary) -> list[str]:
    """Return the symbols whose newest version is not a deletion, sorted; reads no document that is folded.

    One whose newest document has to be read, and cannot be, is left out and warned of.
    """
    begun = start(library)
    known, rest = folded.using(begun.view, _folded_live) or ([], listed_tops(library, begun))
    found = [version.symbol for version in newest_among(library, rest) if not version.deleted]
    return sorted([*known, *found]) if found else known


def _folded_live(view: View) -> tuple[list[str], list[tuple[str, int]]]:
    """Return the live symbols that the catalogue has all versions of, sorted, and the tops of the others."""
    return [symbol for symbol in view.folded.live_symbols if symbol not in view.tail], _tops_of_tail(view)


def _tops_of_tail(view: View) -> list[tuple[str, int]]:
    def highest(symbol: str) -> int | None:
        return next(visible.numbers(view.folded.library, symbol, first_page=1), None)

    tail = sorted(view.tail)
    found = zip(tail, IO.map(highest, tail, at_once=PARALLEL_DOCUMENTS), strict=True)
    return [(symbol, number) for symbol, number in found if number is not None]


class Start(NamedTuple):
    """How a listing of everything begins: with the first page of documents, and in a large library its catalogue.

    ``is_all``: whether there are no more documents than in ``page``, by symbol and number, in the order of keys.
    """

    page: list[tuple[str, int]]
    is_all: bool
    view: View | None


def start(library: OpenLibrary) -> Start:
    """Begin a listing: of a small library, one request and no look at the catalogue."""
    page: list[tuple[str, int]] = []
    if library.folded is None and not library.is_known_as_folded:
        page = list(_listed(library, limit=SYMBOLS_PAGE))
        if len(page) < SYMBOLS_PAGE:
            return Start(page, is_all=True, view=None)
    view = folded.look(library)
    return Start(page, is_all=False, view=view if folded.using(view, lambda view: view.is_worth_it) else None)


def _folded_tops(view: View) -> list[tuple[str, int]]:
    known = [(symbol, head.highest) for symbol, head in view.folded.heads.items() if symbol not in view.tail]
    return known + _tops_of_tail(view)


class State(NamedTuple):
    """What two collections of a cut must have alike of a symbol; ``undecided``: the transaction at its top."""

    highest: int
    newest: int | None
    is_deleted: bool
    undecided: str | None = None


def states(view: View, skipped: Collection[str]) -> dict[str, State]:
    """Return the state of every symbol but ``skipped``, each at a moment since the journal of ``view`` was listed."""
    library, tail = view.folded.library, sorted(view.tail.difference(skipped))

    def state(symbol: str) -> State:
        found = visible.head(library, symbol)
        newest = found.newest
        is_deleted = newest is not None and newest.deleted
        return State(found.highest, newest.number if newest is not None else None, is_deleted, found.undecided)

    left = view.tail.union(skipped)
    known = {symbol: State(*top) for symbol, top in view.folded.heads.items() if symbol not in left}
    return known | dict(zip(tail, IO.map(state, tail, at_once=PARALLEL_DOCUMENTS), strict=True))


def _highest(page: Iterable[tuple[str, int]]) -> list[tuple[str, int]]:
    """Return the first (symbol, number) of each symbol in the order of keys: its highest number."""
    found: dict[str, int] = {}
    for name, number in page:
        found.setdefault(name, number)
    return list(found.items())


def listed_tops(library: OpenLibrary, begun: Start) -> list[tuple[str, int]]:
    """Return (symbol, highest number) in the order of keys, skipping the rest of a history that fills a page.

    A page of a thousand documents has the highest number of each symbol in it. Where it has few symbols, since
    histories are long, their names are listed as folders, and each one's highest number by itself, many at once.
    """
    page, is_last = begun.page, begun.is_all
    found: list[tuple[str, int]] = []
    while True:
        if not page and not is_last:
            # "~" sorts after every digit, and the version files of the next symbol after "/~".
            after = library.layout.symbol_versions(found[-1][0]) + "~" if found else None
            page = list(_listed(library, after, limit=SYMBOLS_PAGE))
            is_last = len(page) < SYMBOLS_PAGE
        new = _highest(page)
        found, page = found + new, []
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
        number = next(visible.numbers(library, name, first_page=1), None)
        return None if number is None else (name, number)

    found = IO.map(highest, rest, at_once=PARALLEL_DOCUMENTS)
    return known + [each for each in found if each is not None]


def heads_of_all(library: OpenLibrary, skipped: Collection[str] = ()) -> dict[str, Head]:
    """Return the head of every symbol except ``skipped``: ``symbol_heads``, and each document that is not cached."""
    age = clock.Stopwatch()
    return heads_of(library, symbol_heads(library), age, skipped)


def heads_of(
    library: OpenLibrary, listed: Iterable[tuple[str, int]], age: clock.Stopwatch, skipped: Collection[str]
) -> dict[str, Head]:
    """Return the heads of the symbols with the highest numbers ``listed``, which began to be read at ``age``."""
    top_numbers = [(symbol, number) for symbol, number in listed if symbol not in skipped]

    def below(symbol: str, number: int) -> Iterator[int]:
        yield number
        yield from visible.numbers(library, symbol, start_after=library.layout.version(symbol, number))

    def one(top: tuple[str, int]) -> Head:
        found = visible.search_head(library, top[0], below(*top), age)
        if found is None:
            return visible.head(library, top[0])
        library.heads.remember(top[0], found)
        return found

    heads = IO.map(one, top_numbers, at_once=PARALLEL_DOCUMENTS)
    return {symbol: head for (symbol, _), head in zip(top_numbers, heads, strict=True)}


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
        return read(found) or visible.head(library, symbol).newest

    heads = list(heads)
    read = visible.reader(library, [top for top in heads if top[0] not in pinned])
    return sorted(unreadable.read_all(load, heads), key=lambda version: version.symbol)


def documents_listed(library: OpenLibrary) -> Iterator[tuple[str, int]]:
    """Return (symbol, number) of every document there is, in any state, in the order of keys: one listing."""
    return _listed(library)


def _listed(library: OpenLibrary, after: str | None = None, limit: int | None = None) -> Iterator[tuple[str, int]]:
    for entry in library.objects.list(library.layout.versions, start_after=after, limit=limit):
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


def documents_present(library: OpenLibrary, choose: Choose | None = None, *, newest: bool = False) -> Documents:
    """Return all documents; of a library with many, by its catalogue, of whose files ``choose`` says which are read.

    ``newest``: of each folded symbol the newest visible version is enough.

    What is condemned must have been looked for before, since what was removed may be among those that are folded.
    """
    begun = start(library)
    found = folded.using(begun.view, lambda view: _folded_documents(view, choose, newest=newest))
    if found is not None:
        return found
    after = library.layout.version(*begun.page[-1]) if begun.page else None
    others = [*begun.page, *(() if begun.is_all else _listed(library, after))]
    return Documents(generations.VERSIONS.empty_table(), others, dict(_highest(others)))


def _folded_documents(view: View, choose: Choose | None, *, newest: bool) -> Documents:
    library, heads, tail = view.folded.library, view.folded.heads_of(view.tail), sorted(view.tail)

    def above(symbol: str) -> list[int]:
        highest = heads[symbol].highest if symbol in heads else -1
        return list(takewhile(highest.__lt__, visible.numbers(library, symbol, first_page=10)))

    new = dict(zip(tail, IO.map(above, tail, at_once=PARALLEL_DOCUMENTS), strict=True))
    tops = {symbol: (found or [heads[symbol].highest])[0] for symbol, found in new.items() if found or symbol in heads}
    others = [(symbol, number) for symbol, found in new.items() for number in found]
    rows = view.folded.newest(choose) if newest else view.folded.versions(choose)
    return Documents(rows, others, tops)


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
    return unreadable.read_all(visible.reader(library, pairs), pairs)


def chosen(documents: list[tuple[str, int]], choose: Choose | None, *, by_number: bool = True) -> list[tuple[str, int]]:
    """Return those of (symbol, number) that ``choose`` wants; not ``by_number``: whatever their number."""
    if choose is None or not documents:
        return documents
    bounds = [(symbol, symbol, number if by_number else None) for symbol, number in documents]
    return [documents[position] for position in choose(bounds)]


def versions_held(library: OpenLibrary, documents: Iterable[tuple[str, int]]) -> list[Version]:
    """Return the same of ``documents`` that snapshots hold, pruned or not: one read for each that is not cached."""
    return unreadable.read_all(lambda found: visible.find_visible(library, *found), documents)
