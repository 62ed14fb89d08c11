"""What all statements that change one symbol have in common: what they may, and how DuckDB runs their parts.

A statement makes one version or none. It is evaluated on the version that it is committed above: when
another writer was first, it is evaluated again on that writer's version.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from sqlglot import exp

from duckvstore.errors import NoSuchSymbol
from duckvstore.format.stored.documents import Version
from duckvstore.sql.binding import dataframes
from duckvstore.sql.binding.meanings import Frame, Symbol
from duckvstore.sql.results.result import Result
from duckvstore.sql.syntax import clauses
from duckvstore.sql.syntax.literals import quote
from duckvstore.sql.syntax.source_map import SourceMap
from duckvstore.sql.values import kinds
from duckvstore.sql.writing.scratch import BARE, NAME, ROW

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.format.stored.segments import Segment
    from duckvstore.sql.binding.meanings import SymbolLookup
    from duckvstore.sql.binding.names import Names
    from duckvstore.sql.execution.context import StatementContext
    from duckvstore.sql.execution.running import Running
    from duckvstore.sql.planning.planner import Plan
    from duckvstore.sql.views.definitions import BoundStatement


class Planning(Protocol):
    """What a change asks of the pipeline: plans above a version, and statements ready to run."""

    def plan_above(
        self, context: StatementContext, newest: Version | None, target: SymbolLookup, bound: BoundStatement | None
    ) -> Plan:
        """Return the plan of a statement that makes the version above ``newest`` of ``target``."""

    def may_vary(self, context: StatementContext, plan: Plan) -> bool:
        """Whether a statement may read other rows when it is evaluated again."""

    def scan_of(
        self, plan: Plan, library: OpenLibrary, version: Version, segments: Sequence[Segment], file: str
    ) -> str:
        """Return the relation with the rows of ``segments`` and a column ``file``."""

    def running(
        self,
        context: StatementContext,
        plan: Plan,
        names: Mapping[str, str] | None = None,
        *,
        is_part: bool = False,
    ) -> Running:
        """Return ``plan`` ready to run."""


class SymbolChange(ABC):
    """A statement that changes one symbol."""

    def __init__(self, context: StatementContext, planning: Planning, bound: BoundStatement, position: int) -> None:
        """Take the reference at ``position``, which ``bound`` has resolved, for what is to be changed."""
        self.context, self.planning, self.bound, self.position = context, planning, bound, position
        self.names = names = bound.names
        self.statement = context.statement
        self.reference = self.statement.references[position]
        self.target: SymbolLookup = names.targets[position]
        self.library, self.symbol = self.target.library, self.target.name
        self.where = self.library.quoted(self.symbol)
        self._fresh: BoundStatement | None = bound
        #: the rows that the statement itself gives, by RETURNING or EXPLAIN ANALYZE
        self._returned: pa.Table | None = None
        self._row_count = 0

    @abstractmethod
    def run(self) -> Result:
        """Carry the statement out and return what DuckDB would: rows, a count, or nothing."""

    def _refuse(self, words: str) -> None:
        """Raise SqlError where nothing may be changed, or more than one symbol, or a snapshot would be."""
        self.context.refuse_read_only(words, self.reference.start)
        second = next(
            (found for found in self.statement.references[self.position + 1 :] if found.role == "target"), None
        )
        if second is not None:
            raise self.statement.error(f"{words} takes one name: write a statement for each", second.start)
        if self.target.as_of is not None:
            raise self.statement.error("a snapshot never changes: name the symbol alone", self.reference.start)

    def _known(self, newest: Version | None) -> Version:
        """Return the newest version. Raises NoSuchSymbol where there is none, or a deletion."""
        if newest is None or newest.deleted:
            raise NoSuchSymbol(f"library {self.library.name!r} has no symbol {self.symbol!r}: CREATE TABLE it first")
        return newest

    def _refuse_measuring(self, what: str) -> None:
        """Raise SqlError where EXPLAIN ANALYZE is of what runs no query."""
        if self.statement.explain:
            raise self.statement.error(f"EXPLAIN ANALYZE of {what} has nothing to measure: write EXPLAIN", 0)

    def _refuse_types(self, columns: Sequence[str], types: Sequence[str]) -> None:
        """Raise SqlError for a type that a symbol would replace by another."""
        for name, kind in zip(columns, types, strict=True):
            if not kinds.is_storable(kinds.known(kind)):
                raise self.statement.error(
                    f"column {name!r} has the type {kind}, which a symbol cannot keep: cast it to another, say VARCHAR",
                    self.reference.end,
                )

    def _hold_streams(self) -> None:
        """Pull the rows of the caller's streams: the statement may be evaluated again, and a stream is read once."""
        scope, held = self.context.scope or {}, {}
        for position, reference in enumerate(self.statement.references):
            meaning, name = self.names.meanings.get(position), reference.parts[0]
            if not isinstance(meaning, Frame) or scope.get(name) is not meaning.value:
                continue
            if name not in held:
                try:
                    held[name] = dataframes.to_registrable(meaning.value, uses=2)
                except Exception as error:
                    raise self.statement.error(f"cannot read the rows of {name}: {error}", reference.start) from error
            self.names.meanings[position] = Frame(name, held[name])
        self.context = replace(self.context, scope={**scope, **held})

    def _plan_shown(self, rows: pa.Table | None) -> Result:
        """Return the rows of EXPLAIN, with the user's name for the internal one, and which segments are read."""
        import pyarrow as pa

        if rows is None:  # CREATE TABLE IF NOT EXISTS of one that does
            return Result(None, self.context.figures, kind="explain")
        columns = ["explain_key", "explain_value"]
        own = ".".join(self.reference.parts)
        keys, texts = [column.to_pylist() for column in rows.columns]
        for ours in (NAME, BARE):  # in boxes of the same width, and in the text of the statement
            texts = [text.replace(quote(ours), own).replace(ours, own.ljust(len(ours))) for text in texts]
        figures = self.context.figures
        if figures.scans:
            keys, texts = [*keys, "segments"], [*texts, figures.by_reference()]
        table = pa.table(
            {name: pa.array(values, pa.string()) for name, values in zip(columns, (keys, texts), strict=True)}
        )
        return Result.of_table(table, figures, self.context.thread.cursor, kind="explain")

    def _reads_itself(self) -> bool:
        """Whether the statement reads what it is to replace, in its own text or in that of a view or macro."""
        return any(
            found.role == "read" and (found.is_call or found.parts[-1].casefold() == self.symbol.casefold())
            for names in (self.names, *self.names.companions)
            for found in names.statement.references
        )

    def _planned(self, newest: Version | None) -> Plan:
        """Return the plan of what the statement reads, by the names that were resolved before, if they still hold."""
        bound, self._fresh = self._fresh, None
        seen = self.target.outcome
        if self.statement.kind == "create_table":
            holds = not self._reads_itself()
        else:  # what it reads was resolved at a moment at which this was the newest version
            holds = newest is not None and isinstance(seen, Version) and seen.write_id == newest.write_id
        if not holds:
            bound = None
        return self.planning.plan_above(self.context, newest, self.target, bound)

    def _running(self, plan: Plan, *, is_part: bool = False) -> Running:
        row = quote(ROW)
        own = ".".join(self.reference.parts)
        names = {f", {row}": "", f"{row}, ": "", NAME: own, BARE: own}
        return self.planning.running(self.context, plan, names, is_part=is_part)

    def _asked(self, plan: Plan, query: SourceMap | str) -> pa.Table:
        """Return the rows of a question of our own, made of parts of the statement."""
        sql = self._about_target(query) if isinstance(query, str) else query
        return rows_of(self._running(replace(plan, sql=sql, leases=[]), is_part=True).finish())

    def _about_target(self, text: str) -> SourceMap:
        """Return SQL of our own, whose errors show the name of what the statement changes."""
        return SourceMap.in_place_of(text, self.statement.sql.origin(self.reference.start))

    def _parts(self) -> clauses.Clauses:
        return clauses.find(self.statement, self.reference.end)


def rows_of(table: pa.Table | None) -> pa.Table:
    """Return the rows of what always gives some: a query, or a statement with RETURNING."""
    assert table is not None, "RETURNING gives rows"  # noqa: S101
    return table


def refuse(names: Names) -> None:
    """Raise SqlError for what would change symbols. A view or macro may have the name of one."""
    statement, meanings = names.statement, names.meanings
    if statement.kind == "explain" and statement.explain == "analyze" and any(meanings.values()):
        for made in statement.tree.find_all(exp.Create):
            noun = str(made.args.get("kind")).upper()
            raise statement.error(f"EXPLAIN ANALYZE of CREATE {noun} over symbols measures nothing: write EXPLAIN", 0)
    if all(reference.role == "read" for reference in statement.references):
        return
    header = statement.header
    if statement.kind in ("create_view", "create_macro") or (header is not None and "macro" in header.noun):
        return
    is_temporary = statement.is_temporary
    for position, reference in enumerate(statement.references):
        meaning = meanings[position]
        if reference.role == "read":
            continue
        if isinstance(meaning, Symbol) and not (statement.kind.startswith("create") and is_temporary):
            name, word = ".".join(reference.parts), statement.tokens[0].upper
            if isinstance(statement.tree, exp.Comment):
                raise statement.error(
                    f"{name} is a symbol, for which comments are not kept: put the text into its metadata, as with "
                    f"library.write_metadata({reference.parts[-1]!r}, {{'comment': '…'}})",
                    reference.start,
                )
            raise statement.error(
                f"{name} is a symbol, which {word} cannot change like this: CREATE OR REPLACE TABLE, INSERT, UPDATE, "
                "DELETE, MERGE and DROP TABLE make versions of it",
                reference.start,
            )
        is_ours = statement.kind == "create_table" and len(reference.parts) == 1 and not is_temporary
        if is_ours and not names.is_elsewhere():
            raise statement.error(
                f"which library is {reference.parts[0]} of? Write library.{reference.parts[0]}, or CREATE TEMP TABLE "
                "for a table of this session",
                reference.start,
            )
