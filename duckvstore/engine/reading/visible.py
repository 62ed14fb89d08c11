"""Documents of versions as readers see them: which there are, whether their transaction is decided, and the newest.

Everything here treats a document of an undecided or aborted transaction as absent, and nothing here writes.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from duckvstore import clock
from duckvstore.engine.library.heads import Head
from duckvstore.engine.reading import folded, not_found
from duckvstore.errors import NoSuchKey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.format.stored.documents import Decision, Version

SEARCHES_MAX = 5
NUMBERS_PAGE = 1000
FOLDED_DOCUMENTS_MIN = 100  # fewer are read one by one, all at once; to look for a catalogue takes two requests


def head(library: OpenLibrary, symbol: str) -> Head:
    """Read the top of a symbol's history: one listing of one key and, if not cached, one document."""
    for _ in range(SEARCHES_MAX):
        found = search_head(library, symbol, numbers(library, symbol, first_page=1), clock.Stopwatch())
        if found is not None:
            library.heads.remember(symbol, found)
            return found
    raise not_found.vanishing(library, symbol)


def search_head(library: OpenLibrary, symbol: str, present: Iterable[int], age: clock.Stopwatch) -> Head | None:
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


def find_visible(library: OpenLibrary, symbol: str, number: int, *, fresh: bool = False) -> Version | None:
    """Return a version as readers see it; None where there is none, or none that they see."""
    try:
        return visible_version(library, library.version(symbol, number, fresh=fresh))
    except NoSuchKey:
        return None


def reader(library: OpenLibrary, pairs: Sequence[tuple[str, int]]) -> Callable[[tuple[str, int]], Version | None]:
    """Return what does ``find_visible`` for (symbol, number); where many of ``pairs`` are not cached, by the catalogue.

    What is condemned must have been looked for before.
    """
    unknown = [pair for pair in pairs if not library.has_cached(*pair)]
    known: Mapping[tuple[str, int], folded.FoldedDocument] = {}
    is_large = library.is_known_as_folded or library.folded is not None or len(unknown) >= NUMBERS_PAGE
    # A history was not listed by the catalogue, as the newest versions of many symbols were if there is one.
    if len(unknown) >= FOLDED_DOCUMENTS_MIN and (is_large or len({symbol for symbol, _ in unknown}) == 1):
        known = folded.using(folded.look(library), lambda view: view.folded.documents(unknown)) or {}

    def read(pair: tuple[str, int]) -> Version | None:
        found = known.get(pair)
        return find_visible(library, *pair) if found is None else folded.version(library, pair, found)

    return read
