"""Everything that refers to segments, manifests and label runs: version documents in any state, and staged parts.

Nothing is left out. A document that cannot be read is an error here, since what it refers to is unknown.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from sys import intern
from typing import TYPE_CHECKING, TypeVar

from duckvstore.concurrency import IO, PARALLEL_DOCUMENTS
from duckvstore.engine.reading import folded
from duckvstore.errors import NoSuchKey
from duckvstore.format.stored.documents import Named
from duckvstore.format.stored.manifests import FoldedSegments
from duckvstore.progress import progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.engine.reading.folded import FoldedDocument, View
    from duckvstore.format.stored.documents import Version
    from duckvstore.format.stored.manifests import Manifest
    from duckvstore.format.stored.segments import Segment

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")
Parsed = TypeVar("Parsed")

BATCH = 500
FOLDED_MIN = 1000  # documents: of fewer, the catalogue is not looked for


@dataclass(frozen=True, slots=True)
class Document:
    """The part of a version document that decides whether it may go."""

    symbol: str
    number: int
    size_bytes: int
    library_id: str
    transaction: str | None
    created_at: datetime
    parent: int | None
    write_id: str


@dataclass(frozen=True, slots=True)
class StagedPart:
    """A staged part: its full ``key``, when it was staged, and the relative keys that it refers to."""

    key: str
    staged_at: datetime
    keys: tuple[str, ...]


class References:
    """How many documents refer to each segment, manifest and label run; a manifest's own segments count once."""

    def __init__(self, library: OpenLibrary) -> None:
        """Start at zero."""
        self._library = library
        self._counts: Counter[str] = Counter()

    def __contains__(self, key: str) -> bool:
        return self._counts[key] > 0

    def add(self, versions: Iterable[Version | Named]) -> None:
        """Count what documents refer to."""
        new: dict[str, Manifest] = {}
        for version in versions:
            for manifest in named_manifests(version):
                if not self._counts[manifest.key]:
                    new[manifest.key] = manifest
                self._counts[manifest.key] += 1
            self.add_keys(own_keys(version))
        for loaded in IO.map(self._library.manifest, new.values()):
            self.add_keys(segment.key for segment in loaded)

    def remove(self, version: Version | Named) -> None:
        """Take back what ``add`` counted."""
        for manifest in named_manifests(version):
            self._counts[manifest.key] -= 1
            if not self._counts[manifest.key]:
                self._counts.subtract(segment.key for segment in self._library.manifest(manifest))
        self._counts.subtract(own_keys(version))

    def add_keys(self, keys: Iterable[str]) -> None:
        """Count relative keys."""
        self._counts.update(keys)

    def remove_keys(self, keys: tuple[str, ...]) -> None:
        """Take back what ``add_keys`` counted."""
        self._counts.subtract(keys)


@dataclass(slots=True)
class Inventory:
    """All version documents of a library that are there, in any state; ``highest`` number by symbol.

    ``told``: those that were not read, but that the folded catalogue has told.
    """

    references: References
    documents: dict[tuple[str, int], Document] = field(default_factory=dict)
    told: set[tuple[str, int]] = field(default_factory=set)
    highest: dict[str, int] = field(default_factory=dict)

    def add(self, found: Sequence[tuple[int, Version | Named]]) -> None:
        """Take in documents, each with its size in bytes."""
        self.references.add(version for _, version in found)
        for size_bytes, version in found:
            symbol = intern(version.symbol)  # all versions of a symbol share one text
            self.highest[symbol] = max(self.highest.get(symbol, -1), version.number)
            pair = symbol, version.number
            if isinstance(version, Named):
                self.told.add(pair)
            self.documents[pair] = Document(
                *pair,
                size_bytes,
                intern(version.library_id),
                version.transaction,
                version.created_at,
                version.parent,
                version.write_id,
            )


def named_manifests(version: Version | Named) -> tuple[Manifest, ...]:
    """Return the manifests that a document names."""
    if isinstance(version, Named):
        return version.manifests
    return version.segments.manifests if isinstance(version.segments, FoldedSegments) else ()


def inline_segments(version: Version) -> tuple[Segment, ...]:
    """Return the segments that a document names itself, without those of its manifests."""
    return version.segments.inline if isinstance(version.segments, FoldedSegments) else tuple(version.segments)


def own_keys(version: Version | Named) -> list[str]:
    """Return the keys of the segments and label runs that a document names itself."""
    if isinstance(version, Named):
        return version.keys
    return [segment.key for segment in inline_segments(version)] + [run.key for run in version.label_runs]


def in_batches(
    action: Callable[[Item], Outcome],
    items: Sequence[Item],
    doing: str = "verifying",
    *,
    at_once: int = PARALLEL_DOCUMENTS,
) -> Iterator[Outcome]:
    """Yield ``action(item)`` for every item, in order, some at a time."""
    for start in progress(range(0, len(items), BATCH), doing, "batch"):
        yield from IO.map(action, items[start : start + BATCH], at_once=at_once)


def versions(library: OpenLibrary, *, by_catalogue: bool = False) -> Iterator[list[tuple[int, Version]]]:
    """Yield every version document that is there, in any state and of any library, with its size in bytes.

    They come some at a time, by symbol, newest first; not labelled, so that lost labels do not prevent a collection.
    ``by_catalogue``: what is listed with the size that it was folded with is taken from there, since documents never
    change; all others are read. Raises Integrity or Unsupported for one that cannot be read, or a key that is not a
    version's.
    """

    def parse(symbol: str, number: int, data: bytes) -> Version:
        return library.document(symbol, number, data, labelled=False)

    listed = _listed(library)
    yield from _loaded(library, listed, _view(library, listed) if by_catalogue else None, parse)


def inventory(library: OpenLibrary) -> Inventory:
    """Return what all version documents refer to, large libraries' by the catalogue. Raises as ``versions`` does."""
    found, listed = Inventory(References(library)), _listed(library)
    for batch in _loaded(library, listed, _view(library, listed), partial(_named, library)):
        found.add(batch)
    return found


def loaded(library: OpenLibrary, listed: Sequence[Document]) -> Iterator[Version | Named]:
    """Yield those documents of an inventory that are there."""
    found = [(document.symbol, document.number, document.size_bytes) for document in listed]
    for batch in _loaded(library, found, _view(library, found), partial(_named, library)):
        yield from (version for _, version in batch)


def _listed(library: OpenLibrary) -> list[tuple[str, int, int]]:
    """Return (symbol, number, size in bytes) of every version document that is there."""
    entries = library.objects.list(library.layout.versions)
    return [(*library.layout.parse_version(entry.key), entry.size_bytes or 0) for entry in entries]


def _view(library: OpenLibrary, listed: Sequence[object]) -> View | None:
    return folded.look(library) if len(listed) >= FOLDED_MIN else None


def _named(library: OpenLibrary, symbol: str, number: int, data: bytes) -> Named:
    return Named.load(data, where=f"{library.objects.url} {library.layout.version(symbol, number)}")


def _folded(view: View | None, pairs: Sequence[tuple[str, int]]) -> Mapping[tuple[str, int], FoldedDocument]:
    return folded.using(view, lambda view: view.folded.documents(pairs)) or {}


def _loaded(
    library: OpenLibrary,
    listed: Sequence[tuple[str, int, int]],
    view: View | None,
    parse: Callable[[str, int, bytes], Parsed],
) -> Iterator[list[tuple[int, Version | Parsed]]]:
    """Yield documents with their sizes, some at a time; ``parse`` is given the bytes of those that ``view`` has.

    These are of symbols outside the tail, and as long as is listed. All others are read.
    """

    def load(found: tuple[str, int, int]) -> tuple[int, Version] | None:
        symbol, number, size_bytes = found
        try:
            return size_bytes, library.version(symbol, number, labelled=False)
        except NoSuchKey:
            return None  # another collection removed it, which is always safe

    for start in progress(range(0, len(listed), BATCH), "reading versions", "batch"):
        batch = listed[start : start + BATCH]
        pairs = [(symbol, number) for symbol, number, _ in batch]
        documents = _folded(view, pairs)
        known: dict[tuple[str, int], tuple[int, Version | Parsed] | None] = {}
        for symbol, number, size_bytes in batch:
            found = None if view is None or symbol in view.tail else documents.get((symbol, number))
            if found is not None and size_bytes == len(found.data):
                known[symbol, number] = size_bytes, parse(symbol, number, found.data)
        rest = [each for each in batch if each[:2] not in known]
        known |= zip((each[:2] for each in rest), IO.map(load, rest, at_once=PARALLEL_DOCUMENTS), strict=True)
        yield [each for pair in pairs if (each := known[pair]) is not None]


def staged_parts(library: OpenLibrary) -> list[StagedPart]:
    """Return all staged parts, of any library. Raises Integrity or Unsupported for one that cannot be read.

    They must be listed before the versions: finalising makes a version first and then removes the parts.
    """
    listed = [entry.key for entry in library.objects.list(library.layout.all_staging)]
    found = in_batches(lambda key: staged_part(library, key), listed, "reading staged parts")
    return [part for part in found if part is not None]


def staged_part(library: OpenLibrary, key: str) -> StagedPart | None:
    """Return one staged part; None when it was finalised meanwhile, so that a version refers to what it referred to."""
    try:
        data = library.objects.read(key)
        part = library.parse_version(data, where=f"{library.objects.url} {key}", labelled=False)
    except NoSuchKey:
        return None
    manifests = named_manifests(part)
    keys = own_keys(part)
    for manifest in manifests:
        keys += [manifest.key, *(segment.key for segment in library.manifest(manifest))]
    return StagedPart(key, part.created_at, tuple(keys))
