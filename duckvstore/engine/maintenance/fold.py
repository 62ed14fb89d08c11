"""Folding: what the journal announces is read once, and joins the catalogue's Parquet; then its intents can go.

A fold plans on the newest generation and publishes the next one, by a create that one of them wins; it changes nothing
else before that. The order of its steps is part of the argument in FORMAT.md, "Catalogue".
"""

from __future__ import annotations

import hashlib
from itertools import chain, islice, takewhile
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from duckvstore import clock
from duckvstore.concurrency import IO, PARALLEL_DOCUMENTS
from duckvstore.engine.library import options
from duckvstore.engine.library.create_once import create_document
from duckvstore.engine.maintenance.reports import FoldReport
from duckvstore.engine.reading import catalogue_tables, folded, listings, visible
from duckvstore.engine.reading.folded import Folded
from duckvstore.errors import Conflict, Integrity, NoSuchKey, Unsupported
from duckvstore.format.stored import generations, records
from duckvstore.format.stored.generations import DOCUMENTS, VERSIONS, File, Generation, Layer
from duckvstore.progress import progress

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from duckvstore.concurrency import Task
    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.format.stored.documents import Version

FOLDS_MAX = 5
DOCUMENTS_BATCH = 1000
BOUNDED_BATCH = 100  # documents, where bytes are counted
MERGED_DOCUMENTS_MAX = 20_000  # more of them become a layer of their own, which needs no memory
GAP_MAX = 100  # numbers below the highest that are asked for although no listing shows them
LAYER_RATIO = 4  # a layer has at least so many times the rows of the one above it
FILE_ROWS_MAX = 100_000
FILE_BYTES_MAX = 32 * 2**20  # in memory; documents of one symbol are much alike, so the file is a tenth of it


class Manner(NamedTuple):
    """How a fold is carried out; one that nobody asked for is bounded, draws no bar, and ends when it is told to.

    ``intents_max``, ``bytes_max``: how many intents are looked at, and about how much is read, of which there is no
    limit where nothing is folded yet. ``at_once``: requests. ``is_told_to_end`` is asked before each of them.
    """

    intents_max: int | None = None
    bytes_max: int | None = None
    at_once: int = PARALLEL_DOCUMENTS
    shows_progress: bool = True
    is_told_to_end: Callable[[], bool] = bool  # False


ASKED_FOR = Manner()


def fold(
    library: OpenLibrary,
    *,
    rebuild: bool = False,
    removed: Collection[tuple[str, int]] = (),
    manner: Manner = ASKED_FOR,
) -> FoldReport:
    """Fold what is new into the catalogue and publish it; ``rebuild``: from all documents, whatever there is.

    ``removed``: versions whose documents are gone for good, by symbol and number. The first fold of a library reads
    all documents, and says in its options that releases which know nothing of folding must keep away. Raises
    NoSuchLibrary, Conflict when others fold all the time, Unsupported, StorageUnavailable.
    """
    library.check_present(at_once=True)
    _say_so(library)
    for _ in range(FOLDS_MAX):
        try:
            report = _Fold(library, removed, manner, rebuild=rebuild).carry_out()
        except (Integrity, NoSuchKey) as error:  # of the catalogue: what documents have wrong is no error here
            if rebuild and isinstance(error, Integrity):
                raise
            rebuild, report = True, None
        if report is not None:
            return report
    raise Conflict(f"library {library.name!r} is folded by other processes all the time: they do what this was to do")


def fold_some(library: OpenLibrary, manner: Manner) -> FoldReport | None:
    """Fold what some intents announce into the catalogue that is there, in one attempt.

    None: there is nothing to fold into, or another fold was first. Raises as ``fold``, and Integrity and NoSuchKey for
    a catalogue that cannot be read.
    """
    library.check_present(at_once=True)
    return _Fold(library, (), manner, rebuild=False, only_on_base=True).carry_out()


def _say_so(library: OpenLibrary) -> None:
    """Have the options say that the library is folded."""
    for attempt in range(FOLDS_MAX):
        try:
            options.change(library, {}, is_folded=True)
        except Conflict:  # the options were changed at this moment, perhaps to the same
            if attempt == FOLDS_MAX - 1:
                raise
        else:
            return


class _Read(NamedTuple):
    """A document that was read; ``version`` is None where it cannot be used, and ``waits`` while it is undecided."""

    pair: tuple[str, int]
    data: bytes
    version: Version | None
    is_visible: bool
    waits: bool = False


class _Fold:
    """One attempt: what was found, and the files that were put for it."""

    def __init__(
        self,
        library: OpenLibrary,
        removed: Collection[tuple[str, int]],
        manner: Manner,
        *,
        rebuild: bool,
        only_on_base: bool = False,
    ) -> None:
        self.manner, self.only_on_base = manner, only_on_base
        self.library, self.layout, self.objects = library, library.layout, library.objects
        self.removed, self.rebuild = removed, rebuild
        self.age = clock.Stopwatch()
        self.report = FoldReport(library.name)
        self.folded: set[tuple[str, str]] = set()  # (symbol, write id)
        self.waiting: set[str] = set()  # symbols with documents that cannot be folded
        self.unreadable: list[str] = []  # keys of intents: nobody knows what they announce

    def carry_out(self) -> FoldReport | None:
        """Return what was done; None: another fold was first."""
        announced = (entry.key for entry in self.objects.list(self.layout.journal))
        self.intents = folded.read_intents(self.library, islice(announced, self.manner.intents_max), self.unreadable)
        self.marks = folded.read_marks(self.library)
        # Above all that there was before anything was read: whoever publishes meanwhile takes this number.
        newest = folded.newest_number(self.library)
        self.number = max(newest, self.marks.highest) + 1
        base = self._base()
        if base is None and self.only_on_base:
            return None
        if base is not None and base.number != newest:
            return None
        pairs = self._new_documents(base)
        gone = self._removed_rows(base)
        if base is not None and not pairs and not gone.num_rows:
            self.report.generation = base.number
            return self._clean_up(base)
        layers = self._layers(base, pairs, gone)
        self.report.waiting_symbols = sorted(self.waiting)
        if base is not None and layers == list(base.layers) and tuple(self.report.waiting_symbols) == base.waiting:
            self.report.generation = base.number
            return self._clean_up(base)
        generation = self._publish(layers)
        return None if generation is None else self._clean_up(generation)

    def _base(self) -> Generation | None:
        """Return the generation to fold into; None: there is none that is whole, so all documents are read."""
        if self.rebuild or self.unreadable:
            return None
        found = folded.newest(self.library)
        if found is None or not self.marks.believe(found):
            return None
        self.base = Folded(self.library, found)
        return found

    def _new_documents(self, base: Generation | None) -> list[tuple[str, int]]:
        """Return (symbol, number) of what may have to be folded, sorted."""
        if base is None:
            # Twice, since a listing may lack what was created a moment ago, and whose intent is gone.
            first = set(listings.documents_listed(self.library))
            return sorted(first.union(listings.documents_listed(self.library)))

        symbols = sorted({*base.waiting, *(symbol for symbol in self.intents.values() if symbol is not None)})
        heads = self.base.heads_of(symbols)

        def above(symbol: str) -> list[tuple[str, int]]:
            self._check_going()
            head = heads.get(symbol)
            top = -1 if head is None else head.highest
            listed = visible.numbers(self.library, symbol, first_page=10)
            highest = next(listed, -1)
            # All numbers up to the highest, listed or not: a listing may lack one, and the next fold begins above it.
            some = {number for number in range(top + 1, highest) if highest - number <= GAP_MAX}
            return [(symbol, number) for number in {highest, *some, *takewhile(top.__lt__, listed)} if number > top]

        return sorted(chain.from_iterable(IO.map(above, symbols, at_once=self.manner.at_once)))

    def _removed_rows(self, base: Generation | None) -> pa.Table:
        """Return, in the columns of both kinds, rows that say of folded versions that they are gone."""
        rows: list[dict[str, Any]] = []
        if base is not None and self.removed:
            known = self.base.pairs({symbol for symbol, _ in self.removed})
            rows = [
                {"symbol": symbol, "version": number, "is_visible": False, "is_removed": True}
                for symbol, number in sorted(known.intersection(self.removed))
            ]
        self.report.removed_documents = len(rows)
        return pa.Table.from_pylist(rows, schema=pa.unify_schemas([VERSIONS, DOCUMENTS]))

    # -- layers ------------------------------------------------------------------------------------------------

    def _layers(self, base: Generation | None, pairs: list[tuple[str, int]], gone: pa.Table) -> list[Layer]:
        layers = [] if base is None else list(base.layers)
        rows = len(pairs) + gone.num_rows
        new = self._read_all(pairs)
        removed = (gone.select(VERSIONS.names), gone.select(DOCUMENTS.names))
        if rows > MERGED_DOCUMENTS_MAX or base is None:
            added = self._written(new)
            layers += [self._written([removed])] if gone.num_rows else []
            kept = len(layers)
        else:
            kept = len(layers)
            for position in reversed(range(len(layers))):
                if layers[position].rows < LAYER_RATIO * rows:
                    kept = position
                rows += layers[position].rows
            parts = [*new, removed]
            if not any(versions.num_rows for versions, _ in parts):
                return layers
            added = self._merged(layers[kept:], parts, keeps_removed=kept > 0)
        return [*layers[:kept], *([added] if added.rows else [])]

    def _merged(
        self, layers: Sequence[Layer], new: Sequence[tuple[pa.Table, pa.Table]], *, keeps_removed: bool
    ) -> Layer:
        """Return a layer of the rows of some layers, oldest first, and of new ones."""

        def rows(name: str, schema: pa.Schema, position: int) -> Iterator[pa.Table]:
            below = [self._tables(getattr(layer, name), schema) for layer in layers]
            above = pa.concat_tables([schema.empty_table(), *(each[position] for each in new)])
            order = [("symbol", "ascending"), ("version", "ascending")]
            last = [iter([above.sort_by(order)])] if above.num_rows else []
            return generations.merged([*below, *last], keeps_removed=keeps_removed)

        made = _Layer(self.library, self._check)
        for table in rows("versions", VERSIONS, 0):
            made.versions.add(table)
        for table in rows("documents", DOCUMENTS, 1):
            made.documents.add(table)
        return made.finish()

    def _tables(self, files: Iterable[File], schema: pa.Schema) -> Iterator[pa.Table]:
        for file in files:
            yield folded.load(self.library, file, schema)

    def _written(self, tables: Iterable[tuple[pa.Table, pa.Table]]) -> Layer:
        made = _Layer(self.library, self._check)
        for versions, found in tables:
            made.versions.add(versions)
            made.documents.add(found)
        return made.finish()

    def _read_all(self, pairs: list[tuple[str, int]]) -> Iterator[tuple[pa.Table, pa.Table]]:
        """Yield what documents say, as rows of ``VERSIONS`` and of ``DOCUMENTS``, some at a time."""
        manner, size_bytes = self.manner, 0
        step = DOCUMENTS_BATCH if manner.bytes_max is None else BOUNDED_BATCH
        batches = range(0, len(pairs), step)
        for start in progress(batches, "folding", "batch") if manner.shows_progress else batches:
            if manner.bytes_max is not None and size_bytes >= manner.bytes_max and self.only_on_base:
                self.waiting.update(symbol for symbol, _ in pairs[start:])  # the next fold goes on there
                break
            batch = pairs[start : start + step]
            versions: list[dict[str, Any]] = []
            found: list[dict[str, Any]] = []
            for each in IO.map(self._read, batch, at_once=manner.at_once):
                if each is None or each.pair[0] in self.waiting:
                    continue
                if each.waits or each.version is None:
                    self.waiting.add(each.pair[0])
                    continue
                states = {"is_visible": each.is_visible, "is_removed": False}
                row = catalogue_tables.version_row(each.version)
                versions.append({**row, **states})
                names = {"symbol": row["symbol"], "version": row["version"], "created_at": row["created_at"]}
                found.append({**names, **states, "document": each.data})
                self.folded.add((each.pair[0], each.version.write_id))
            self.report.folded_documents += len(found)
            size_bytes += sum(len(row["document"]) for row in found)
            yield pa.Table.from_pylist(versions, VERSIONS), pa.Table.from_pylist(found, DOCUMENTS)

    def _read(self, pair: tuple[str, int]) -> _Read | None:
        """Return a document, decided or not; None: it is gone."""
        self._check_going()
        try:
            data = self.objects.read(self.layout.version(*pair))
        except NoSuchKey:
            return None
        try:
            version = self.library.document(*pair, data)
            decision = visible.decision_of(self.library, version)  # once: it may be made at this moment
            if version.lost is not None:
                return _Read(pair, data, None, is_visible=False)
            is_own = version.library_id == self.library.library_id
            if is_own and version.transaction is not None and decision is None:
                return _Read(pair, data, version, is_visible=False, waits=True)
            seen = visible.as_decided(self.library, version, decision)
        except (Integrity, Unsupported):
            return _Read(pair, data, None, is_visible=False)
        return _Read(pair, data, seen or version, is_visible=seen is not None)

    # -- publishing --------------------------------------------------------------------------------------------

    def _check_going(self) -> None:
        if self.manner.is_told_to_end():
            raise Conflict(f"folding library {self.library.name!r} was given up, and nothing was changed")

    def _check(self) -> None:
        """Look before a file is put, which would be in the way of a library that is deleted and made again."""
        self._check_going()
        self.library.check_present(at_once=True)

    def _publish(self, layers: list[Layer]) -> Generation | None:
        """Create the next generation; None: another one was created, or may not be told from it."""
        if self.age.elapsed_seconds() > self.library.grace_seconds / 2:
            raise Conflict(f"folding library {self.library.name!r} took longer than half the grace period: repeat it")
        name = clock.new_id()
        waiting = tuple(self.report.waiting_symbols)
        made = Generation(self.library.library_id, self.number, name, self.objects.now(), tuple(layers), waiting)
        key = self.layout.generation(made.number)
        self.library.check_present(at_once=True)
        if not create_document(self.objects, key, made, f"generation {made.number} of {self.library.name!r}"):
            return None
        self.report.generation = made.number
        return made if self._is_newest(made) else None

    def _is_newest(self, made: Generation) -> bool:
        """Return whether the key was not used before, by one that others have replaced since, or that was deleted."""
        is_newest = folded.newest_number(self.library) == made.number
        return is_newest and folded.read_marks(self.library).highest < made.number

    def _clean_up(self, generation: Generation) -> FoldReport:
        """Remove the intents of what the newest generation holds, once it has its mark."""
        known = self.folded
        left = [
            (key, symbol, self.layout.parse_intent(key)[0])
            for key, symbol in self.intents.items()
            if symbol is not None
        ]
        older = {symbol for _, symbol, write_id in left if (symbol, write_id) not in known}
        if older:
            known = known | Folded(self.library, generation).write_ids(older)
        done = [key for key, symbol, write_id in left if (symbol, write_id) in known]
        if self.unreadable:  # then all documents were read
            made = {write_id for _, write_id in self.folded}
            done += [key for key in self.unreadable if self.layout.parse_intent(key)[0] in made]
        self._mark(generation)
        old = [key for key, (number, _) in self.marks.keys.items() if number < generation.number]
        self.report.failures = self.objects.delete(done + old)
        self.report.removed_intents = len(set(done).difference(each.key for each in self.report.failures))
        self.report.stored_bytes = sum(file.bytes for file in generation.files())
        self.report.version_count = sum(layer.rows for layer in generation.layers)
        return self.report

    def _mark(self, generation: Generation) -> None:
        if generation.key not in self.marks.keys.values():
            mark = records.Mark(self.library.library_id, generation.number, generation.generation_id)
            self.objects.put(self.layout.mark(*generation.key), mark.dump())


class _Layer:
    """A layer in the making: its files are put as they fill."""

    def __init__(self, library: OpenLibrary, check: Callable[[], None]) -> None:
        self.library = library
        self.versions, self.documents = _Files(library, check), _Files(library, check)

    def finish(self) -> Layer:
        versions, found = self.versions.finish(), self.documents.finish()
        heads = _Files(self.library, self.versions.check)
        if self.versions.tops:
            heads.add(generations.heads_of(pa.concat_tables(self.versions.tops)))
        return Layer(sum(file.rows for file in versions), heads.finish(), versions, found)


class _Files:
    """Rows of one kind, sorted, in files of a limited size."""

    def __init__(self, library: OpenLibrary, check: Callable[[], None]) -> None:
        self.library, self.check = library, check
        self.pending: list[pa.Table] = []
        self.tops: list[pa.Table] = []  # what the heads follow from
        self.puts: list[Task[File]] = []

    def add(self, table: pa.Table) -> None:
        """Take in rows that follow those before."""
        if not table.num_rows:
            return
        if "deleted" in table.column_names:
            self.tops.append(table.select(["symbol", "version", "is_visible", "is_removed", "deleted"]))
        self.pending.append(table)
        rows, size_bytes = (sum(getattr(each, name) for each in self.pending) for name in ("num_rows", "nbytes"))
        if rows >= FILE_ROWS_MAX or size_bytes >= FILE_BYTES_MAX:
            self._flush()

    def _flush(self) -> None:
        for task in self.puts[:-2]:
            task.result()  # so many are on their way at most
        if self.pending:
            self.puts.append(IO.submit(self._put, pa.concat_tables(self.pending)))
        self.pending = []

    def finish(self) -> tuple[File, ...]:
        """Return the files, which are all there then."""
        self._flush()
        return tuple(task.result() for task in self.puts)

    def _put(self, table: pa.Table) -> File:
        data = generations.encode(table)
        self.check()
        relative = self.library.layout.catalogue_file(self.library.objects.now(), clock.short_id())
        self.library.objects.put(self.library.layout.catalogue_key(relative), data)
        first, last = table["symbol"][0].as_py(), table["symbol"][-1].as_py()
        return File(relative, table.num_rows, len(data), hashlib.sha256(data).hexdigest(), first, last)
