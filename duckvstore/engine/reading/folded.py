"""The folded catalogue as readers see it: the newest generation, and the symbols that it may lack versions of.

The journal is read first and the generation after it; what that proves is argued in FORMAT.md, "Catalogue". All of it
is derived: where it is missing or damaged there is no view, and the documents are read.
"""

from __future__ import annotations

import warnings
from bisect import bisect_left
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from duckvstore.concurrency import IO, PARALLEL_DOCUMENTS
from duckvstore.errors import (
    AccessDenied,
    DocumentWarning,
    Integrity,
    NoSuchKey,
    StorageUnavailable,
    Unsupported,
)
from duckvstore.format.stored import generations, records
from duckvstore.format.stored.generations import DOCUMENTS, HEADS, VERSIONS, Generation
from duckvstore.format.stored.layout import is_name

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.engine.reading.listings import Choose
    from duckvstore.format.stored.documents import Version
    from duckvstore.format.stored.generations import File

Outcome = TypeVar("Outcome")

JOURNAL_PAGE = 1000
SOME_SYMBOLS_MAX = 100  # whose heads are looked up one by one
HEADS_WORTH_VERSIONS = 4  # for each symbol, of which all but one are not looked at
TAIL_MAX = 1000  # symbols; of more, at most half of those that are folded


class FoldedHead(NamedTuple):
    """The top of a symbol's history in a generation: its highest number, and its newest visible version, if any."""

    highest: int
    newest: int | None
    is_deleted: bool


class FoldedDocument(NamedTuple):
    """A document as it is stored, the time that readers give it, and whether they see it."""

    data: bytes
    created_at: datetime
    is_visible: bool


@dataclass(frozen=True, slots=True)
class Marks:
    """Numbers and ids of generations that intents were removed for, by key."""

    keys: dict[str, tuple[int, str]]

    @property
    def highest(self) -> int:
        """The highest number (-1: there is no mark)."""
        return max((number for number, _ in self.keys.values()), default=-1)

    def believe(self, generation: Generation) -> bool:
        """Return whether a generation holds all that intents were removed for.

        Without marks nobody knows. There may be several of one number, where some were deleted: then one may lack what
        intents were removed for by another.
        """
        if not self.keys:
            return False
        newest = [mark for mark in self.keys.values() if mark[0] == self.highest]
        return generation.number > self.highest or newest == [(generation.number, generation.generation_id)]


class Folded:
    """What a generation holds."""

    def __init__(self, library: OpenLibrary, generation: Generation) -> None:
        """Read nothing yet."""
        self.library, self.generation = library, generation

    @property
    def symbols_max(self) -> int:
        """How many symbols are folded, at most."""
        return sum(file.rows for each in self.generation.layers for file in each.heads)

    @cached_property
    def _heads(self) -> pa.Table:
        return self._heads_in([each.heads for each in self.generation.layers])

    @cached_property
    def heads(self) -> dict[str, FoldedHead]:
        """The heads of all folded symbols."""
        return _by_symbol(self._heads)

    @cached_property
    def live_symbols(self) -> list[str]:
        """The folded symbols whose newest version is not a deletion, sorted."""
        is_live = pc.and_(pc.is_valid(self._heads["newest"]), pc.invert(self._heads["is_deleted"]))
        return sorted(self._heads["symbol"].filter(is_live).to_pylist())

    def heads_of(self, symbols: Collection[str]) -> Mapping[str, FoldedHead]:
        """Return the heads of all folded symbols, or at least of ``symbols``."""
        if len(symbols) > SOME_SYMBOLS_MAX or "_heads" in self.__dict__:
            return self.heads
        wanted = sorted(symbols)
        return _by_symbol(self._heads_in([_around(each.heads, wanted) for each in self.generation.layers], wanted))

    def _heads_in(self, layers: Sequence[Sequence[File]], symbols: Sequence[str] | None = None) -> pa.Table:
        return generations.merged_heads(self._read(layers, HEADS, {"symbol": symbols}))

    def newest(self, choose: Choose | None = None) -> pa.Table:
        """Return what ``versions`` does, of symbols with many versions perhaps without others than the newest."""
        layers = self._files(choose)
        if sum(file.rows for files in layers for file in files) < HEADS_WORTH_VERSIONS * self.symbols_max:
            return _newest_first(self._merged(layers, VERSIONS))
        heads = self._heads.combine_chunks()

        def is_newest(rows: pa.Table) -> pa.ChunkedArray:
            place = pc.index_in(rows["symbol"], heads["symbol"].combine_chunks())
            return pc.equal(rows["version"], heads["newest"].combine_chunks().take(place.combine_chunks()))

        tables = [[rows.filter(is_newest(rows)) for rows in files] for files in self._read(layers, VERSIONS, {})]
        return self._one([[rows for rows in files if rows.num_rows] for files in tables], VERSIONS)

    def versions(self, choose: Choose | None = None) -> pa.Table:
        """Return the fields of all folded documents, as columns of ``generations.VERSIONS``: by symbol, newest first.

        ``choose`` is given the bounds of files, as ``listings.Choose`` has them, and says which are read.
        """
        return _newest_first(self._merged(self._files(choose), VERSIONS))

    def _files(self, choose: Choose | None) -> list[Sequence[File]]:
        layers: list[Sequence[File]] = [each.versions for each in self.generation.layers]
        if choose is None:
            return layers
        files = [file for each in layers for file in each]
        kept = {files[position].key for position in choose([(file.first, file.last, None) for file in files])}
        return [[file for file in each if file.key in kept] for each in layers]

    def numbers(self, symbol: str) -> list[int]:
        """Return the numbers of a symbol's folded documents, highest first."""
        numbers: list[int] = self._rows_of([symbol])["version"].to_pylist()
        return numbers[::-1]

    def documents(self, wanted: Collection[tuple[str, int]]) -> dict[tuple[str, int], FoldedDocument]:
        """Return those of the documents ``wanted``, by symbol and number, that are folded."""
        symbols = sorted({symbol for symbol, _ in wanted})
        files = [_around(each.documents, symbols) for each in self.generation.layers]
        rows = self._merged(files, DOCUMENTS, symbols, sorted({number for _, number in wanted}))
        names = ("symbol", "version", "document", "created_at", "is_visible")
        pairs = set(wanted)
        return {
            (symbol, number): FoldedDocument(*fields)
            for symbol, number, *fields in zip(*(rows[name].to_pylist() for name in names), strict=True)
            if (symbol, number) in pairs
        }

    def pairs(self, symbols: Collection[str]) -> set[tuple[str, int]]:
        """Return (symbol, number) of the folded documents of some symbols."""
        rows = self._rows_of(symbols)
        return set(zip(rows["symbol"].to_pylist(), rows["version"].to_pylist(), strict=True))

    def write_ids(self, symbols: Collection[str]) -> set[tuple[str, str]]:
        """Return (symbol, write id) of the folded documents of some symbols."""
        rows = self._rows_of(symbols)
        return set(zip(rows["symbol"].to_pylist(), rows["write_id"].to_pylist(), strict=True))

    def _rows_of(self, symbols: Collection[str]) -> pa.Table:
        wanted = sorted(symbols)
        return self._merged([_around(each.versions, wanted) for each in self.generation.layers], VERSIONS, wanted)

    def _merged(
        self,
        layers: Sequence[Sequence[File]],
        schema: pa.Schema,
        symbols: Sequence[str] | None = None,
        numbers: Sequence[int] | None = None,
    ) -> pa.Table:
        """Return the rows of files of each layer as one, of ``symbols`` and ``numbers`` alone if they are given."""
        return self._one(self._read(layers, schema, {"symbol": symbols, "version": numbers}), schema)

    @staticmethod
    def _one(tables: Sequence[Sequence[pa.Table]], schema: pa.Schema) -> pa.Table:
        merged = list(generations.merged([*map(iter, tables)], keeps_removed=False))
        return pa.concat_tables(merged) if merged else schema.empty_table()

    def _read(
        self, layers: Sequence[Sequence[File]], schema: pa.Schema, wanted: Mapping[str, Sequence[Any] | None]
    ) -> list[list[pa.Table]]:
        """Return the tables of files of each layer, without empty ones; ``wanted``: values by column (None: all)."""
        chosen = {
            name: pa.array(values, schema.field(name).type) for name, values in wanted.items() if values is not None
        }

        def rows(file: File) -> pa.Table:
            table = load(self.library, file, schema)
            for name, values in chosen.items():
                table = table.filter(pc.is_in(table[name], values))
            return table

        found = iter(IO.map(rows, [file for files in layers for file in files]))
        return [[table for table in islice(found, len(files)) if table.num_rows] for files in layers]


class View(NamedTuple):
    """A generation, and the symbols that the journal named before it was looked for: the others are as it says."""

    folded: Folded
    tail: frozenset[str]

    @property
    def is_worth_it(self) -> bool:
        """Whether to look at each symbol of the tail takes fewer requests than to read all documents."""
        return len(self.tail) <= max(TAIL_MAX, self.folded.symbols_max // 2)


def look(library: OpenLibrary) -> View | None:
    """Return the folded catalogue of now; None: there is none, or none that may be believed.

    Three listings, of the journal, of the marks and of a generation, and one read of that; at first another one of the
    marks where the journal is not empty; and a read of each intent whose key names no symbol.
    """
    try:
        found = _look(library)
    except AccessDenied:  # who may read documents need not be allowed to read the rest
        return None
    except (Integrity, StorageUnavailable, Unsupported) as error:
        _warn(library, error)
        return None
    if found is None:
        return None
    generation, tail = found
    if library.folded is None or library.folded.generation is not generation:
        library.folded = Folded(library, generation)
    return View(library.folded, tail)


def _look(library: OpenLibrary) -> tuple[Generation, frozenset[str]] | None:
    journal = library.objects.list(library.layout.journal)
    page = list(islice(journal, JOURNAL_PAGE))
    if page and library.folded is None and not read_marks(library).keys:
        return None  # nothing was ever folded, so there is no need to list or read more
    intents = read_intents(library, chain((entry.key for entry in page), (entry.key for entry in journal)))
    # After the journal: FORMAT.md, Catalogue.
    marks = IO.submit(read_marks, library)
    generation = newest(library)
    if generation is None or not marks.result().believe(generation):
        return None
    return generation, frozenset({*generation.waiting, *(symbol for symbol in intents.values() if symbol is not None)})


def using(view: View | None, use: Callable[[View], Outcome]) -> Outcome | None:
    """Return ``use(view)``; None without a view, or where it cannot be read, which is warned of."""
    if view is None:
        return None
    try:
        return use(view)
    except AccessDenied:
        return None
    except (Integrity, NoSuchKey, StorageUnavailable, Unsupported) as error:
        # A missing file may also be of a generation that was replaced long ago, which this reader was too slow for.
        _warn(view.folded.library, error)
        return None


def read_marks(library: OpenLibrary) -> Marks:
    """Return the marks of a library: one listing. What another program put there is none."""
    marks: dict[str, tuple[int, str]] = {}
    for entry in library.objects.list(library.layout.marks):
        with suppress(Integrity):
            marks[entry.key] = library.layout.parse_mark(entry.key)
    return Marks(marks)


def read_intents(
    library: OpenLibrary, keys: Iterable[str], unreadable: list[str] | None = None
) -> dict[str, str | None]:
    """Return the symbols that intents under ``keys`` announce, by key; None for one that was gone when it was read.

    One that cannot be read is left out and goes to ``unreadable``; without that, raises Integrity and Unsupported.
    """

    def announced(key: str) -> str | None:
        try:
            return _announced(library, key)
        except (Integrity, Unsupported):
            if unreadable is None:
                raise
            unreadable.append(key)
            return None

    intents: dict[str, str | None] = {}
    for key in keys:
        try:
            intents[key] = library.layout.parse_intent(key)[1]
        except Integrity:
            continue  # of another program
    unnamed = [key for key, symbol in intents.items() if symbol is None]
    intents.update(zip(unnamed, IO.map(announced, unnamed, at_once=PARALLEL_DOCUMENTS), strict=True))
    return intents


def _announced(library: OpenLibrary, key: str) -> str | None:
    """Return the symbol that an intent announces; None: it is gone, so a generation holds what it announced."""
    symbol = library.announced.get(key)
    if symbol is None:
        where = f"{library.objects.url} {key}"
        try:
            symbol = records.Intent.load(library.objects.read(key), where=where).symbol
        except NoSuchKey:
            return None
        if not is_name(symbol):
            raise Integrity(f"the intent {where} announces no symbol: delete it when nobody writes, then fold()")
        library.announced.put(key, symbol)
    return symbol


def newest(library: OpenLibrary) -> Generation | None:
    """Return the newest generation, if there is one and it is this library's. Raises Integrity and Unsupported."""
    number = newest_number(library)
    if number < 0:
        return None
    key = library.layout.generation(number)
    try:
        data = library.objects.read(key)
    except NoSuchKey:
        return None
    known = library.folded.generation if library.folded is not None else None
    found = Generation.load(data, where=f"{library.objects.url} {key}")
    if found.library_id != library.library_id or found.number != number:
        return None
    return known if known == found else found


def newest_number(library: OpenLibrary) -> int:
    """Return the highest number of a generation that is there, of whatever library (-1: none)."""
    for entry in library.objects.list(library.layout.generations):
        with suppress(Integrity):  # of another program
            return library.layout.parse_generation(entry.key)
    return -1


def version(library: OpenLibrary, pair: tuple[str, int], found: FoldedDocument) -> Version | None:
    """Return a folded document as readers see it; None where they do not. Raises as ``OpenLibrary.version``."""
    if not found.is_visible:
        return None
    return replace(library.document(*pair, found.data), created_at=found.created_at)


def load(library: OpenLibrary, file: File, schema: pa.Schema) -> pa.Table:
    """Return the rows of a file, from the cache when they are there. Raises Integrity, NoSuchKey."""

    def read() -> pa.Table:
        return generations.decode(library.objects.read(library.layout.catalogue_key(file.key)), file, schema)

    return library.catalogue_files.loaded(file.key, read)


def _newest_first(rows: pa.Table) -> pa.Table:
    """Return rows that are sorted by symbol and version with the versions of each symbol the other way round."""
    import numpy as np

    starts = np.flatnonzero(generations.is_first(rows["symbol"]).to_numpy(zero_copy_only=False))
    counts = np.diff(np.r_[starts, rows.num_rows])
    order = np.repeat(2 * starts + counts - 1, counts) - np.arange(rows.num_rows)
    return rows.take(pa.array(order))


def _by_symbol(heads: pa.Table) -> dict[str, FoldedHead]:
    symbols, *fields = (column.to_pylist() for column in heads)
    return dict(zip(symbols, map(FoldedHead, *fields), strict=True))


def _around(files: Sequence[File], symbols: Sequence[str]) -> list[File]:
    """Return the files that may have rows of ``symbols``, which are sorted."""

    def may_have(file: File) -> bool:
        position = bisect_left(symbols, file.first)
        return position < len(symbols) and symbols[position] <= file.last

    return list(filter(may_have, files))


def _warn(library: OpenLibrary, error: Exception) -> None:
    warnings.warn(
        f"the folded catalogue of library {library.name!r} cannot be read, so documents are: {error}",
        DocumentWarning,
        stacklevel=4,
    )
