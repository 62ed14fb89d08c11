"""Where a dotted name is looked for: which library, which snapshot, or a schema that is DuckDB's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from duckvstore.engine.reading import catalogue
from duckvstore.errors import DuckVStoreError, NoSuchLibrary, NoSuchSnapshot, NotFound, nearest
from duckvstore.format.stored.layout import RESERVED_NAMES
from duckvstore.sql.binding.meanings import SymbolLookup
from duckvstore.sql.syntax.literals import literal
from duckvstore.sql.syntax.statement import Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.engine.reading.catalogue import AsOf
    from duckvstore.sql.binding.meanings import SessionTables
    from duckvstore.sql.syntax.statement import Statement
    from duckvstore.sql.syntax.timetravel import At

CATALOGUE_SCHEMA = "vstore"
MAIN_SCHEMA = "main"  # where the session lists the symbols themselves
# Schemas and databases that are DuckDB's own, where no snapshot or library is looked for.
_DUCKDB_SCHEMAS = RESERVED_NAMES - {CATALOGUE_SCHEMA}


@dataclass(frozen=True, slots=True)
class Namespace:
    """Where the names in one text are looked up: in ``default``, or with None by ``library.symbol`` in ``libraries``.

    ``as_of`` says what an AT form means.
    """

    statement: Statement
    libraries: Mapping[str, OpenLibrary]
    default: OpenLibrary | None
    session_tables: SessionTables
    as_of: Callable[[At], AsOf]

    def library_named(self, name: str, start: int) -> OpenLibrary:
        """Return the library of a name that stands at character ``start``; raises NoSuchLibrary, SqlError."""
        reference = Reference((name,), start, start + len(name), None, None, None)
        found = self._library(name, reference)
        if found is None:
            raise self._no_library(name, reference)
        return found

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

    def symbol(self, reference: Reference) -> SymbolLookup | None:
        """Return what to look for, or None when the reference cannot be a symbol."""
        parts, at = reference.parts, reference.at
        as_of = self.as_of(at) if at is not None else None
        snapshot: str | None = None
        if self.default is None:
            if len(parts) == 1 and at is not None:
                raise self.error(f"which library is {parts[0]} of? Write library.{parts[0]}", reference)
            if at is not None and parts[0].casefold() in _DUCKDB_SCHEMAS:
                advice = f"ask the library of that name itself, as in store[{parts[0]!r}].sql(…)"
                raise self.error(f"{parts[0]} is a name of DuckDB's own, which has no versions: {advice}", reference)
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
        return self._in_schema(reference, library, snapshot, as_of)

    def _in_schema(
        self, reference: Reference, library: OpenLibrary, snapshot: str | None, as_of: AsOf
    ) -> SymbolLookup | None:
        """Return the symbol of ``library`` under the schema ``snapshot``, or None: that is DuckDB's own."""
        parts, at = reference.parts, reference.at
        if (snapshot or "").casefold() == MAIN_SCHEMA:
            if at is None:
                self._refuse_snapshot_main(reference, library)
            return SymbolLookup(reference, library, parts[-1], as_of, is_certain=at is not None or len(parts) > 2)
        if (snapshot or "").casefold() in _DUCKDB_SCHEMAS:
            return None
        if at is not None and at.kind == "snapshot" and isinstance(as_of, str):
            return self.in_snapshot(reference, library, as_of, parts[-1])
        if snapshot is not None:
            return self._qualified(reference, library, snapshot, as_of)
        return SymbolLookup(reference, library, parts[-1], as_of, is_certain=at is not None or len(parts) > 1)

    def _qualified(self, reference: Reference, library: OpenLibrary, schema: str, as_of: AsOf) -> SymbolLookup | None:
        """Return the symbol under a schema: a snapshot, or the name of the session's own library."""
        names = catalogue.snapshot_names(library)
        matches = matching(schema, names)
        own = len(reference.parts) == 2 and schema.casefold() == library.name.casefold() and self.default is not None
        if own and not matches:
            return SymbolLookup(reference, library, reference.parts[-1], as_of, is_certain=True)
        if not matches:
            if reference.at is None and len(reference.parts) == 2:
                return None  # a schema of DuckDB's, or an error of its own
            raise NoSuchSnapshot(
                f"library {library.name!r} has no snapshot {schema!r}.{nearest(schema, names)}{self.caret(reference)}"
            )
        if len(matches) > 1:
            raise self.ambiguous("snapshots", schema, matches, reference)
        if reference.at is not None:
            raise self.error(f"{schema} is a snapshot already: leave out the AT form", reference)
        return self.in_snapshot(reference, library, matches[0], reference.parts[-1])

    def in_snapshot(self, reference: Reference, library: OpenLibrary, snapshot: str, name: str) -> SymbolLookup:
        """Return the symbol ``name`` as a snapshot has it. Raises NotFound, with the place in the SQL."""
        try:
            held = catalogue.read_snapshot(library, snapshot, around=name).versions
            if name not in held:  # it may be there in another case
                held = catalogue.read_snapshot(library, snapshot).versions
        except NotFound as error:
            raise type(error)(f"{error}{self.caret(reference)}") from error.__cause__
        matches = matching(name, held)
        if len(matches) > 1:
            raise self.ambiguous("symbols", name, matches, reference)
        if not matches:
            # The engine words this error, as it does for read(as_of=…).
            return SymbolLookup(reference, library, name, snapshot, is_certain=True)
        return SymbolLookup(reference, library, matches[0], catalogue.Held(held[matches[0]]), is_certain=True)

    def _is_database(self, name: str) -> bool:
        """Whether DuckDB has a database ``name``, as far as it has tables."""
        return name.casefold() in _DUCKDB_SCHEMAS or any(table[0] == name.casefold() for table in self.session_tables())

    def _refuse_snapshot_main(self, reference: Reference, library: OpenLibrary) -> None:
        """Raise SqlError where earlier releases made a snapshot of this name: either could be meant."""
        found = [name for name in catalogue.snapshot_names(library) if name.casefold() == MAIN_SCHEMA]
        if found:
            name = reference.parts[-1]
            raise self.error(
                f"library {library.name!r} has a snapshot {found[0]!r}, and {MAIN_SCHEMA} is also the schema of the "
                f"newest versions: write {name} AT SNAPSHOT {literal(found[0])}, or {name} alone for the newest",
                reference,
            )

    def has_table(self, parts: tuple[str, ...]) -> bool:
        """Whether a table or view of the session has this name."""
        return is_session_table(parts, self.session_tables())

    def ambiguous(self, noun: str, name: str, matches: Iterable[str], reference: Reference) -> DuckVStoreError:
        """Return the error for a name that ``matches`` equal but for case."""
        listed = ", ".join(repr(match) for match in sorted(matches))
        return self.error(
            f"{name!r} matches the {noun} {listed}: write one of them exactly, in double quotes", reference
        )

    def _no_library(self, name: str, reference: Reference) -> NoSuchLibrary:
        if self.default is not None:
            own, rest = self.default.name, ".".join(reference.parts[1:])
            advice = f"write {own}.{rest}" if rest else "leave it out"
            return NoSuchLibrary(
                f"this session is of library {own!r}, so it has no {name!r}: {advice}, or use store.sql for several "
                f"libraries{self.caret(reference)}"
            )
        names = list(self.libraries)
        return NoSuchLibrary(f"the store has no library {name!r}.{nearest(name, names)}{self.caret(reference)}")

    def error(self, message: str, reference: Reference) -> DuckVStoreError:
        """Return an SqlError that shows ``reference``."""
        return self.statement.error(message, reference.start)

    def caret(self, reference: Reference) -> str:
        """Return the line of SQL and the caret under ``reference``, or under its AT form."""
        place = reference.at.offset if reference.at is not None else reference.start
        return self.statement.caret(place)


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
