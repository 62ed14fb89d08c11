"""What a name in SQL means: a table of the session, a symbol at a version, a catalogue table, or a dataframe.

Invariant: the order is CTE (the parser has taken those), session table, symbol, dataframe, symbol of another case,
DuckDB; a reference with AT is always a symbol; and all symbols of a statement are resolved as one cut per library.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from duckvstore.engine.reading import catalogue, catalogue_tables, cuts, not_found
from duckvstore.errors import (
    DuckVStoreError,
    NoSuchColumn,
    NoSuchLibrary,
    NoSuchSnapshot,
    NoSuchSymbol,
    NotFound,
    SqlError,
    nearest,
)
from duckvstore.format.stored.layout import RESERVED_NAMES
from duckvstore.sql.binding import dataframes, diff
from duckvstore.sql.syntax.literals import literal
from duckvstore.sql.syntax.parser import At, Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.engine.reading.catalogue import AsOf, Pinned
    from duckvstore.format.stored.documents import Version
    from duckvstore.sql.syntax.parser import Parameter, Statement
    from duckvstore.sql.views.definitions import Definition

CATALOGUE_SCHEMA = "vstore"
# What is made in the session, unless it is a table that is to be a symbol.
_OWN_KINDS = frozenset(("create_view", "create_macro", "create_table"))
MAIN_SCHEMA = "main"  # where the session lists the symbols themselves
# Schemas and databases that are DuckDB's own, where no snapshot or library is looked for.
_DUCKDB_SCHEMAS = RESERVED_NAMES - {CATALOGUE_SCHEMA}


def nothing_pinned(_library: OpenLibrary) -> Pinned:
    """Return what there is without a transaction."""
    return catalogue.NOTHING_PINNED


@dataclass(frozen=True, slots=True)
class Symbol:
    """A reference to a version."""

    library: OpenLibrary
    version: Version


@dataclass(frozen=True, slots=True)
class Frame:
    """A reference to rows in memory: a dataframe of the caller, called ``name``."""

    name: str
    value: Any


@dataclass(frozen=True, slots=True)
class Catalogue:
    """A reference to a table of the catalogue, of some libraries; ``is_of_store``: with a column that names them."""

    name: str
    libraries: tuple[OpenLibrary, ...]
    is_of_store: bool = False
    #: gives what a transaction sees of the symbols of a library that it has touched
    pinned: Callable[[OpenLibrary], Pinned] = nothing_pinned


@dataclass(frozen=True, slots=True)
class Difference:
    """A reference to what changed between two versions, whose rows are matched by the columns ``key``."""

    library: OpenLibrary
    before: Version
    after: Version
    key: tuple[str, ...]


Meaning: TypeAlias = Symbol | Difference | Catalogue | Frame | None


@dataclass(slots=True)
class Wanted:
    """A reference that is a symbol if one of that name exists. ``names``: those of the text where it stands."""

    names: Names
    reference: Reference
    library: OpenLibrary
    name: str
    as_of: AsOf
    certain: bool
    outcome: Version | DuckVStoreError | None = None
    deleted: bool = False


@dataclass(slots=True)
class Names:
    """Resolves the references of one statement."""

    statement: Statement
    libraries: Mapping[str, OpenLibrary]
    default: OpenLibrary | None
    session_tables: Callable[[], set[tuple[str, str, str]]]
    as_of: Callable[[At], AsOf]
    scope: Mapping[str, object] | None
    #: resolves symbols of one library at once, as ``cuts.find_cut`` does
    resolver: Callable[[OpenLibrary, Sequence[tuple[str, AsOf]]], list[Version | DuckVStoreError | None]] = (
        cuts.find_cut
    )
    #: what the transaction sees of the symbols of a library that it has touched
    pinned: Callable[[OpenLibrary], Pinned] = nothing_pinned
    #: what a statement would change, by the position of the reference, whether it exists or not
    targets: dict[int, Wanted] = field(default_factory=dict)
    #: gives the values of parameters
    value_of: Callable[[Parameter], Any] = lambda _: None
    #: tells whether a table without a library is made in DuckDB, where USE has said so
    is_elsewhere: Callable[[], bool] = lambda: False
    #: the names in the texts of the views and macros that the statement uses, resolved in the same cut
    companions: list[Names] = field(default_factory=list)
    #: the view or macro whose text it is, where it is not the statement itself
    origin: Definition | None = None
    meanings: dict[int, Meaning] = field(default_factory=dict)
    wanted: dict[int, Wanted] = field(default_factory=dict)
    #: the calls of vstore.diff, each with the two versions that it compares
    calls: dict[int, tuple[diff.Call, list[Wanted]]] = field(default_factory=dict)

    def resolve(self) -> dict[int, Meaning]:
        """Return what each reference means, by its position; None leaves it to DuckDB.

        Raises NotFound, with the place in the SQL, for a reference that can only be a symbol and is none.
        """
        everyone = [*self.companions, self]
        for names in everyone:
            with labelled(names.origin):
                names.collect()
        self._resolve_symbols([item for names in everyone for item in names.unresolved()])
        for names in everyone:
            with labelled(names.origin):
                names.conclude()
        return self.meanings

    def collect(self) -> None:
        """Take what is no symbol, and put what may be one into ``wanted``."""
        made = self.statement.target if self.statement.kind == "create_table" else None
        for position, reference in enumerate(self.statement.references):
            self.meanings[position] = None
            if reference.role == "target" and position != made and self.statement.kind in _OWN_KINDS:
                continue  # which may have the name of a symbol
            if reference.is_call:
                self.calls[position] = self._sides(reference)
                continue
            if reference.at is None and position != made and self._is_session_table(reference.parts):
                continue
            if position == made and len(reference.parts) == 1 and self.is_elsewhere():
                continue
            if reference.role == "read" and self._take_catalogue(position, reference):
                continue
            if reference.role == "target" and position != made:
                self._check_no_catalogue(reference)
            found = self._as_symbol(reference)
            if found is not None and reference.role == "target":
                self.targets[position] = found
            if found is not None and position != made:
                self.wanted[position] = found

    def unresolved(self) -> list[Wanted]:
        """Return what has to be looked for, in one cut."""
        sides = [side for _, both in self.calls.values() for side in both if side.outcome is None]
        return [*self.wanted.values(), *sides]

    def conclude(self) -> None:
        """Turn what was resolved into meanings; what is no symbol may be a dataframe."""
        for position, item in self.wanted.items():
            self.meanings[position] = self._meaning(item)
        for position, (call, sides) in self.calls.items():
            self.meanings[position] = self._difference(call, sides)
        for position, reference in enumerate(self.statement.references):
            if self.meanings[position] is None and position not in self.wanted and reference.at is None:
                self.meanings[position] = self.frame(reference)

    def _is_session_table(self, parts: tuple[str, ...]) -> bool:
        return is_session_table(parts, self.session_tables())

    def _take_catalogue(self, position: int, reference: Reference) -> bool:
        parts = reference.parts
        if len(parts) < 2 or parts[-2].casefold() != CATALOGUE_SCHEMA:
            return False
        name = parts[-1].casefold()
        if reference.at is not None:
            raise self._error(f"the catalogue table {'.'.join(parts)} takes no AT form: filter its rows", reference)
        if name not in catalogue_tables.COLUMNS:
            known = ", ".join(f"{CATALOGUE_SCHEMA}.{table}" for table in [*catalogue_tables.COLUMNS, "diff(…)"])
            near = nearest(name, catalogue_tables.COLUMNS)
            advice = of_reserved(parts[-2], self.libraries, self.default)
            found = f"the catalogue has no table {parts[-1]!r}.{near} It has {known}"
            raise self._error(f"{found}. {advice}" if advice else found, reference)
        if len(parts) == 3:
            meaning = Catalogue(name, (self.library_named(parts[0], reference.start),), pinned=self.pinned)
        elif self.default is not None:
            meaning = Catalogue(name, (self.default,), pinned=self.pinned)
        else:
            libraries = tuple(self.libraries[library] for library in sorted(self.libraries))
            meaning = Catalogue(name, libraries, is_of_store=True, pinned=self.pinned)
        self.meanings[position] = meaning
        return True

    def _check_no_catalogue(self, reference: Reference) -> None:
        """Raise SqlError if a statement would change a table of the catalogue."""
        parts = [part.casefold() for part in reference.parts]
        if len(parts) > 1 and parts[-2] == CATALOGUE_SCHEMA and parts[-1] in catalogue_tables.COLUMNS:
            raise self._error(
                f"{'.'.join(reference.parts)} shows what is stored, and nothing can be written into it: change "
                "symbols and snapshots themselves (prune() removes versions)",
                reference,
            )

    def _sides(self, reference: Reference) -> tuple[diff.Call, list[Wanted]]:
        """Return the arguments of a call of vstore.diff, and the two versions to look for."""
        if len(reference.parts) == 3:
            library = self.library_named(reference.parts[0], reference.start)
        elif self.default is not None:
            library = self.default
        else:
            raise self._error("of which library? Write library.vstore.diff(…)", reference)
        call = diff.read_call(self.statement, reference, self.value_of)
        return call, [self._side(reference, library, call, at) for at in (call.before, call.after)]

    def _side(self, reference: Reference, library: OpenLibrary, call: diff.Call, at: At | Version) -> Wanted:
        if not isinstance(at, At):
            return Wanted(self, reference, library, call.symbol, None, certain=True, outcome=at)
        as_of, placed = self.as_of(at), replace(reference, at=at)
        if isinstance(as_of, str):
            return self._in_snapshot(placed, library, as_of, call.symbol)
        return Wanted(self, placed, library, call.symbol, as_of, certain=True)

    def _difference(self, call: diff.Call, sides: list[Wanted]) -> Difference:
        versions: list[Version] = []
        for side in sides:
            if isinstance(side.outcome, NoSuchSymbol):  # then the symbol is what is wrong, not the version
                side.reference = replace(side.reference, at=At("version", 0, call.symbol_offset))
            found = self._meaning(side)
            assert isinstance(found, Symbol), "a certain symbol is one, or an error"  # noqa: S101
            if not found.version.schema.columns:
                raise self.statement.error(
                    f"version {found.version.number} of {found.version.symbol!r} has no columns to compare: read() it",
                    call.symbol_offset,
                )
            versions.append(found.version)
        before, after = versions
        try:
            return Difference(sides[0].library, before, after, diff.key_columns(before, after, call.key))
        except NoSuchColumn as error:
            raise self.statement.error(str(error), call.key_offset) from error

    def _library(self, name: str, reference: Reference) -> OpenLibrary | None:
        if self.default is not None:
            return self.default if name.casefold() == self.default.name.casefold() else None
        try:
            return self.libraries[name]
        except NoSuchLibrary:
            matches = matching(name, self.libraries)
        if len(matches) > 1:
            raise self.ambiguous("libraries", name, matches, reference)
        return self.libraries[matches[0]] if matches else None

    def library_named(self, name: str, start: int) -> OpenLibrary:
        """Return the library of a name that stands at character ``start``; raises NoSuchLibrary, SqlError."""
        reference = Reference((name,), start, start + len(name), None, None, None)
        found = self._library(name, reference)
        if found is None:
            raise self._no_library(name, reference)
        return found

    def _as_symbol(self, reference: Reference) -> Wanted | None:
        """Return what to look for, or None when the reference cannot be a symbol."""
        parts, at = reference.parts, reference.at
        as_of = self.as_of(at) if at is not None else None
        snapshot: str | None = None
        if self.default is None:
            if len(parts) == 1 and at is not None:
                raise self._error(f"which library is {parts[0]} of? Write library.{parts[0]}", reference)
            if at is not None and parts[0].casefold() in _DUCKDB_SCHEMAS:
                advice = f"ask the library of that name itself, as in store[{parts[0]!r}].sql(…)"
                raise self._error(f"{parts[0]} is a name of DuckDB's own, which has no versions: {advice}", reference)
            if len(parts) == 1 or parts[0].casefold() in _DUCKDB_SCHEMAS or len(parts) > 3:
                return None
            library = self._library(parts[0], reference)
            if library is None and (at is not None or (len(parts) == 3 and not self._is_database(parts[0]))):
                raise self._no_library(parts[0], reference)
            snapshot = parts[1] if len(parts) == 3 else None
        else:
            library = self.default
            if len(parts) == 3:
                library, snapshot = self._library(parts[0], reference), parts[1]
                if library is None and not self._is_database(parts[0]):
                    raise self._no_library(parts[0], reference)
            elif len(parts) == 2:
                snapshot = parts[0]
        if library is None or len(parts) > 3:
            return None
        return self._placed(reference, library, snapshot, as_of)

    def _is_database(self, name: str) -> bool:
        """Whether DuckDB has a database ``name``, as far as it has tables."""
        return name.casefold() in _DUCKDB_SCHEMAS or any(table[0] == name.casefold() for table in self.session_tables())

    def _placed(self, reference: Reference, library: OpenLibrary, snapshot: str | None, as_of: AsOf) -> Wanted | None:
        """Return the symbol of ``library`` under the schema ``snapshot``, or None: that is DuckDB's own."""
        parts, at = reference.parts, reference.at
        if (snapshot or "").casefold() == MAIN_SCHEMA:
            if at is None:
                self._refuse_snapshot_main(reference, library)
            return Wanted(self, reference, library, parts[-1], as_of, certain=at is not None or len(parts) > 2)
        if (snapshot or "").casefold() in _DUCKDB_SCHEMAS:
            return None
        if at is not None and at.kind == "snapshot" and isinstance(as_of, str):
            return self._in_snapshot(reference, library, as_of, parts[-1])
        if snapshot is not None:
            return self._qualified(reference, library, snapshot, as_of)
        return Wanted(self, reference, library, parts[-1], as_of, certain=at is not None or len(parts) > 1)

    def _refuse_snapshot_main(self, reference: Reference, library: OpenLibrary) -> None:
        """Raise SqlError where earlier releases made a snapshot of this name: either could be meant."""
        found = [name for name in catalogue.snapshot_names(library) if name.casefold() == MAIN_SCHEMA]
        if found:
            name = reference.parts[-1]
            raise self._error(
                f"library {library.name!r} has a snapshot {found[0]!r}, and {MAIN_SCHEMA} is also the schema of the "
                f"newest versions: write {name} AT SNAPSHOT {literal(found[0])}, or {name} alone for the newest",
                reference,
            )

    def _qualified(self, reference: Reference, library: OpenLibrary, schema: str, as_of: AsOf) -> Wanted | None:
        """Return the symbol under a schema: a snapshot, or the name of the session's own library."""
        names = catalogue.snapshot_names(library)
        matches = matching(schema, names)
        own = len(reference.parts) == 2 and schema.casefold() == library.name.casefold() and self.default is not None
        if own and not matches:
            return Wanted(self, reference, library, reference.parts[-1], as_of, certain=True)
        if not matches:
            if reference.at is None and len(reference.parts) == 2:
                return None  # a schema of DuckDB's, or an error of its own
            raise NoSuchSnapshot(
                f"library {library.name!r} has no snapshot {schema!r}.{nearest(schema, names)}{self._caret(reference)}"
            )
        if len(matches) > 1:
            raise self.ambiguous("snapshots", schema, matches, reference)
        if reference.at is not None:
            raise self._error(f"{schema} is a snapshot already: leave out the AT form", reference)
        return self._in_snapshot(reference, library, matches[0], reference.parts[-1])

    def _in_snapshot(self, reference: Reference, library: OpenLibrary, snapshot: str, name: str) -> Wanted:
        try:
            held = catalogue.read_snapshot(library, snapshot).versions
        except NotFound as error:
            raise type(error)(f"{error}{self._caret(reference)}") from error.__cause__
        matches = matching(name, held)
        if len(matches) > 1:
            raise self.ambiguous("symbols", name, matches, reference)
        if not matches:
            # The engine words this error, as it does for read(as_of=…).
            return Wanted(self, reference, library, name, snapshot, certain=True)
        return Wanted(self, reference, library, matches[0], catalogue.Held(held[matches[0]]), certain=True)

    def _resolve_symbols(self, wanted: list[Wanted]) -> None:
        """Resolve all symbols at once; again as a whole when a name matches only without regard to case.

        To learn that takes a listing of all symbols, which a dataframe of just that name makes needless.
        """
        self._cut(wanted)
        listed: dict[str, list[str]] = {}
        renamed = False
        for item in wanted:
            item.deleted = isinstance(item.outcome, NoSuchSymbol) and item.as_of is None
            is_missing = item.outcome is None or (isinstance(item.outcome, NoSuchSymbol) and not item.deleted)
            if not is_missing or (not item.certain and item.names.frame(item.reference) is not None):
                continue
            identity = item.library.library_id
            if identity not in listed:
                listed[identity] = [name for name, _ in catalogue.heads_with(item.library, self.pinned(item.library))]
            matches = matching(item.name, listed[identity])
            if len(matches) > 1:
                with labelled(item.names.origin):
                    raise item.names.ambiguous("symbols", item.name, matches, item.reference)
            if matches and matches != [item.name]:
                item.name, renamed = matches[0], True
        if renamed:
            self._cut(wanted)
        for item in wanted:
            if item.outcome is None and item.certain:
                item.outcome = not_found.no_symbol(item.library, item.name, listed[item.library.library_id])

    def _cut(self, wanted: list[Wanted]) -> None:
        libraries = {item.library.library_id: item.library for item in wanted}
        for identity, library in libraries.items():
            own = [item for item in wanted if item.library.library_id == identity]
            outcomes = self.resolver(library, [(item.name, item.as_of) for item in own])
            for item, outcome in zip(own, outcomes, strict=True):
                item.outcome = outcome
                if isinstance(outcome, BaseException):
                    _forget_frames(outcome)

    def _meaning(self, item: Wanted) -> Meaning:
        outcome = item.outcome
        if outcome is None:
            return self.frame(item.reference)
        if isinstance(outcome, NotFound):
            if not item.certain and isinstance(outcome, NoSuchSymbol):
                frame = self.frame(item.reference)
                if frame is not None or not item.deleted:
                    return frame
            self._check_versioned(item)
            raise type(outcome)(f"{outcome}{self._caret(item.reference)}") from outcome.__cause__
        if isinstance(outcome, DuckVStoreError):
            raise outcome
        return Symbol(item.library, outcome)

    def frame(self, reference: Reference) -> Frame | None:
        """Return the caller's dataframe of that name, if there is one."""
        if len(reference.parts) != 1 or reference.role != "read":
            return None
        value = dataframes.find(self.scope, reference.parts[0])
        return None if value is None else Frame(reference.parts[0], value)

    def _caret(self, reference: Reference) -> str:
        place = reference.at.offset if reference.at is not None else reference.start
        return self.statement.caret(place)

    def _error(self, message: str, reference: Reference) -> DuckVStoreError:
        return self.statement.error(message, reference.start)

    def _check_versioned(self, item: Wanted) -> None:
        """Raise SqlError if what an AT form stands behind, and was not found, is a view or table of the session."""
        parts, at = item.reference.parts, item.reference.at
        if at is None or not self._is_session_table(parts) or item.name in catalogue.symbol_names(item.library):
            return
        raise self.statement.error(
            f"{'.'.join(parts)} is a view or table of this session, which has no versions: write AT behind the "
            "symbol that it reads",
            at.offset,
        )

    def ambiguous(self, noun: str, name: str, matches: Iterable[str], reference: Reference) -> DuckVStoreError:
        """Return the error for a name that ``matches`` equal but for case."""
        listed = ", ".join(repr(match) for match in sorted(matches))
        return self._error(
            f"{name!r} matches the {noun} {listed}: write one of them exactly, in double quotes", reference
        )

    def _no_library(self, name: str, reference: Reference) -> NoSuchLibrary:
        if self.default is not None:
            own, rest = self.default.name, ".".join(reference.parts[1:])
            advice = f"write {own}.{rest}" if rest else "leave it out"
            return NoSuchLibrary(
                f"this session is of library {own!r}, so it has no {name!r}: {advice}, or use store.sql for several "
                f"libraries{self._caret(reference)}"
            )
        names = list(self.libraries)
        return NoSuchLibrary(f"the store has no library {name!r}.{nearest(name, names)}{self._caret(reference)}")


@contextmanager
def labelled(origin: Definition | None) -> Iterator[None]:
    """Say of errors that they are in the text of ``origin``, a view or a macro; None: as they are."""
    try:
        yield
    except DuckVStoreError as error:
        if origin is None:
            raise
        raise with_label(error, origin.label) from error.__cause__


def with_label(error: DuckVStoreError, label: str) -> DuckVStoreError:
    """Return ``error`` with words in front that say whose text it is in."""
    found = type(error)(f"in {label}: {error}")
    if isinstance(error, SqlError) and isinstance(found, SqlError):
        found.sql, found.offset = error.sql, error.offset
    return found


def _forget_frames(error: BaseException | None) -> None:
    """Drop the tracebacks of an error that may never be raised: they would keep this call's frames alive."""
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__


def matching(name: str, candidates: Iterable[str]) -> list[str]:
    """Return ``name`` itself if it is a candidate, else all candidates that equal it without regard to case."""
    listed = list(candidates)
    if name in listed:
        return [name]
    return [candidate for candidate in listed if candidate.casefold() == name.casefold()]


def of_reserved(schema: str, libraries: Iterable[str], default: OpenLibrary | None) -> str:
    """Return how to reach a library or snapshot that has ``schema``, a name of DuckDB's own; "" where there is none.

    No new ones are made, but earlier releases did.
    """
    if schema.casefold() not in RESERVED_NAMES:
        return ""
    try:
        found = matching(schema, libraries if default is None else catalogue.snapshot_names(default))
    except DuckVStoreError:
        return ""  # this only words a better error
    if not found:
        return ""
    if default is None:
        return f"For the library {found[0]!r} use its own session: store[{found[0]!r}].sql(…)"
    return f"For the snapshot {found[0]!r} write AT SNAPSHOT {literal(found[0])} behind the symbol"


def is_session_table(parts: tuple[str, ...], tables: set[tuple[str, str, str]]) -> bool:
    """Whether ``parts`` name one of ``tables``, (database, schema, name) of the DuckDB session, in lower case."""
    folded = tuple(part.casefold() for part in parts)
    if len(folded) == 1:
        return ("memory", "main", folded[0]) in tables or ("temp", "main", folded[0]) in tables
    if len(folded) == 2:
        return any(table == folded[1] and folded[0] in (database, schema) for database, schema, table in tables)
    return folded in tables
