"""What the names in a statement mean, all of its symbols resolved in one cut for each library.

The order is CTE (the parser has taken those), session table, symbol, dataframe, symbol of another case,
DuckDB; and a reference with AT is always a symbol.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from duckvstore.engine.reading import catalogue_tables, cuts, listings, not_found
from duckvstore.errors import DuckVStoreError, NoSuchColumn, NoSuchSymbol, NotFound, SqlError, nearest
from duckvstore.sql.binding import dataframes, diff
from duckvstore.sql.binding.meanings import Catalogue, Difference, Frame, Symbol, SymbolLookup, nothing_pinned
from duckvstore.sql.binding.namespace import CATALOGUE_SCHEMA, matching, of_reserved
from duckvstore.sql.syntax.timetravel import At

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.engine.reading.listings import Pinned
    from duckvstore.format.stored.documents import Version
    from duckvstore.sql.binding.meanings import Meaning, Resolver
    from duckvstore.sql.binding.namespace import Namespace
    from duckvstore.sql.syntax.statement import Reference, Statement
    from duckvstore.sql.syntax.tokens import Parameter

# What is made in the session, unless it is a table that is to be a symbol.
_OWN_KINDS = frozenset(("create_view", "create_macro", "create_table"))


@dataclass(slots=True)
class Names:
    """Resolves the references of one statement."""

    namespace: Namespace
    scope: Mapping[str, object] | None
    resolver: Resolver = cuts.find_cut
    #: what the transaction sees of the symbols of a library that it has touched
    pinned: Callable[[OpenLibrary], Pinned] = nothing_pinned
    #: gives the values of parameters
    value_of: Callable[[Parameter], Any] = lambda _: None
    #: tells whether a table without a library is made in DuckDB, where USE has said so
    is_elsewhere: Callable[[], bool] = lambda: False
    #: what to call the view or macro whose text it is; "" for the statement itself
    label: str = ""
    #: the names in the texts of the views and macros that the statement uses, resolved in the same cut
    companions: list[Names] = field(default_factory=list)
    meanings: dict[int, Meaning] = field(default_factory=dict)
    #: what a statement would change, by the position of the reference, whether it exists or not
    targets: dict[int, SymbolLookup] = field(default_factory=dict)
    lookups: dict[int, SymbolLookup] = field(default_factory=dict)
    #: the calls of vstore.diff, each with the two versions that it compares
    calls: dict[int, tuple[diff.Call, list[SymbolLookup]]] = field(default_factory=dict)

    @property
    def statement(self) -> Statement:
        """The statement whose references these are."""
        return self.namespace.statement

    def resolve(self) -> dict[int, Meaning]:
        """Return what each reference means, by its position; None leaves it to DuckDB.

        Raises NotFound, with the place in the SQL, for a reference that can only be a symbol and is none.
        """
        everyone = [*self.companions, self]
        for names in everyone:
            with labelled(names.label):
                names.collect()
        self._resolve_symbols([(names, item) for names in everyone for item in names.unresolved()])
        for names in everyone:
            with labelled(names.label):
                names.conclude()
        return self.meanings

    def collect(self) -> None:
        """Take what is not a symbol, and put what may be one into ``lookups``."""
        made = self.statement.target if self.statement.kind == "create_table" else None
        for position, reference in enumerate(self.statement.references):
            self.meanings[position] = None
            if reference.role == "target" and position != made and self.statement.kind in _OWN_KINDS:
                continue  # which may have the name of a symbol
            if reference.is_call:
                self.calls[position] = self._sides(reference)
                continue
            if reference.at is None and position != made and self.namespace.has_table(reference.parts):
                continue
            if position == made and len(reference.parts) == 1 and self.is_elsewhere():
                continue
            if reference.role == "read" and self._take_catalogue(position, reference):
                continue
            if reference.role == "target" and position != made:
                self._check_no_catalogue(reference)
            found = self.namespace.symbol(reference)
            if found is not None and reference.role == "target":
                self.targets[position] = found
            if found is not None and position != made:
                self.lookups[position] = found

    def unresolved(self) -> list[SymbolLookup]:
        """Return what has to be looked for, in one cut."""
        sides = [side for _, both in self.calls.values() for side in both if side.outcome is None]
        return [*self.lookups.values(), *sides]

    def conclude(self) -> None:
        """Turn what was resolved into meanings; what is not a symbol may be a dataframe."""
        for position, item in self.lookups.items():
            self.meanings[position] = self._meaning(item)
        for position, (call, sides) in self.calls.items():
            self.meanings[position] = self._difference(call, sides)
        for position, reference in enumerate(self.statement.references):
            if self.meanings[position] is None and position not in self.lookups and reference.at is None:
                self.meanings[position] = self.frame(reference)

    def _take_catalogue(self, position: int, reference: Reference) -> bool:
        parts = reference.parts
        if len(parts) < 2 or parts[-2].casefold() != CATALOGUE_SCHEMA:
            return False
        name = parts[-1].casefold()
        if reference.at is not None:
            raise self.namespace.error(
                f"the catalogue table {'.'.join(parts)} takes no AT form: filter its rows", reference
            )
        if name not in catalogue_tables.COLUMNS:
            known = ", ".join(f"{CATALOGUE_SCHEMA}.{table}" for table in [*catalogue_tables.COLUMNS, "diff(…)"])
            near = nearest(name, catalogue_tables.COLUMNS)
            advice = of_reserved(parts[-2], self.namespace.libraries, self.namespace.default)
            found = f"the catalogue has no table {parts[-1]!r}.{near} It has {known}"
            raise self.namespace.error(f"{found}. {advice}" if advice else found, reference)
        if len(parts) == 3:
            meaning = Catalogue(name, (self.namespace.library_named(parts[0], reference.start),), pinned=self.pinned)
        elif self.namespace.default is not None:
            meaning = Catalogue(name, (self.namespace.default,), pinned=self.pinned)
        else:
            libraries = tuple(self.namespace.libraries[library] for library in sorted(self.namespace.libraries))
            meaning = Catalogue(name, libraries, is_of_store=True, pinned=self.pinned)
        self.meanings[position] = meaning
        return True

    def _check_no_catalogue(self, reference: Reference) -> None:
        """Raise SqlError if a statement would change a table of the catalogue."""
        parts = [part.casefold() for part in reference.parts]
        if len(parts) > 1 and parts[-2] == CATALOGUE_SCHEMA and parts[-1] in catalogue_tables.COLUMNS:
            raise self.namespace.error(
                f"{'.'.join(reference.parts)} shows what is stored, and nothing can be written into it: change "
                "symbols and snapshots themselves (prune() removes versions)",
                reference,
            )

    def _sides(self, reference: Reference) -> tuple[diff.Call, list[SymbolLookup]]:
        """Return the arguments of a call of vstore.diff, and the two versions to look for."""
        if len(reference.parts) == 3:
            library = self.namespace.library_named(reference.parts[0], reference.start)
        elif self.namespace.default is not None:
            library = self.namespace.default
        else:
            raise self.namespace.error("of which library? Write library.vstore.diff(…)", reference)
        call = diff.read_call(self.statement, reference, self.value_of)
        return call, [self._side(reference, library, call, at) for at in (call.before, call.after)]

    def _side(self, reference: Reference, library: OpenLibrary, call: diff.Call, at: At | Version) -> SymbolLookup:
        if not isinstance(at, At):
            return SymbolLookup(reference, library, call.symbol, None, is_certain=True, outcome=at)
        as_of, placed = self.namespace.as_of(at), replace(reference, at=at)
        if isinstance(as_of, str):
            return self.namespace.in_snapshot(placed, library, as_of, call.symbol)
        return SymbolLookup(placed, library, call.symbol, as_of, is_certain=True)

    def _difference(self, call: diff.Call, sides: list[SymbolLookup]) -> Difference:
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

    def _resolve_symbols(self, lookups: list[tuple[Names, SymbolLookup]]) -> None:
        """Resolve all symbols at once; again as a whole when a name matches only without regard to case.

        To learn that takes a listing of all symbols, which a dataframe of just that name makes needless.
        """
        self._cut([item for _, item in lookups])
        listed: dict[str, list[str]] = {}
        renamed = False
        for names, item in lookups:
            item.is_deleted = isinstance(item.outcome, NoSuchSymbol) and item.as_of is None
            is_missing = item.outcome is None or (isinstance(item.outcome, NoSuchSymbol) and not item.is_deleted)
            if not is_missing or (not item.is_certain and names.frame(item.reference) is not None):
                continue
            identity = item.library.library_id
            if identity not in listed:
                listed[identity] = [name for name, _ in listings.heads_with(item.library, self.pinned(item.library))]
            matches = matching(item.name, listed[identity])
            if len(matches) > 1:
                with labelled(names.label):
                    raise names.namespace.ambiguous("symbols", item.name, matches, item.reference)
            if matches and matches != [item.name]:
                item.name, renamed = matches[0], True
        if renamed:
            self._cut([item for _, item in lookups])
        for _, item in lookups:
            if item.outcome is None and item.is_certain:
                item.outcome = not_found.no_symbol(item.library, item.name, listed[item.library.library_id])

    def _cut(self, lookups: list[SymbolLookup]) -> None:
        libraries = {item.library.library_id: item.library for item in lookups}
        for identity, library in libraries.items():
            own = [item for item in lookups if item.library.library_id == identity]
            outcomes = self.resolver(library, [(item.name, item.as_of) for item in own])
            for item, outcome in zip(own, outcomes, strict=True):
                item.outcome = outcome
                if isinstance(outcome, BaseException):
                    _forget_frames(outcome)

    def _meaning(self, item: SymbolLookup) -> Meaning:
        outcome = item.outcome
        if outcome is None:
            return self.frame(item.reference)
        if isinstance(outcome, NotFound):
            if not item.is_certain and isinstance(outcome, NoSuchSymbol):
                frame = self.frame(item.reference)
                if frame is not None or not item.is_deleted:
                    return frame
            self._check_versioned(item)
            raise type(outcome)(f"{outcome}{self.namespace.caret(item.reference)}") from outcome.__cause__
        if isinstance(outcome, DuckVStoreError):
            raise outcome
        return Symbol(item.library, outcome)

    def frame(self, reference: Reference) -> Frame | None:
        """Return the caller's dataframe of that name, if there is one."""
        if len(reference.parts) != 1 or reference.role != "read":
            return None
        value = dataframes.find(self.scope, reference.parts[0])
        return None if value is None else Frame(reference.parts[0], value)

    def _check_versioned(self, item: SymbolLookup) -> None:
        """Raise SqlError if the name before an AT form, which was not found, is a view or table of the session."""
        parts, at = item.reference.parts, item.reference.at
        if at is None or not self.namespace.has_table(parts) or item.name in listings.symbol_names(item.library):
            return
        raise self.statement.error(
            f"{'.'.join(parts)} is a view or table of this session, which has no versions: write AT behind the "
            "symbol that it reads",
            at.offset,
        )


@contextmanager
def labelled(label: str) -> Iterator[None]:
    """Say of errors that they are in the text of ``label``, a view or a macro; "": as they are."""
    try:
        yield
    except DuckVStoreError as error:
        if not label:
            raise
        raise with_label(error, label) from error.__cause__


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
