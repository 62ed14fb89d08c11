"""Statements that make versions, carried out: the user's own SQL runs on a scratch table, and the engine commits.

Invariant: a statement makes one version or none. It is evaluated on the version that it is committed above: when
another writer was first, it is evaluated again on that writer's version.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from duckvstore.engine.writing import commits, drafts, edits, row_edits, whole_values
from duckvstore.engine.writing.given_rows import GivenRows
from duckvstore.errors import AlreadyExists, DuckVStoreError, NoSuchSymbol
from duckvstore.format.codecs import tables
from duckvstore.format.evolution.editing import check_tabular
from duckvstore.format.stored.documents import Version
from duckvstore.format.stored.schema import to_arrow
from duckvstore.sql.binding import dataframes
from duckvstore.sql.binding.names import Frame, Symbol
from duckvstore.sql.execution.running import Running, fetched
from duckvstore.sql.planning import nanoseconds, rewrite
from duckvstore.sql.pruning.segment_choice import kept_segments
from duckvstore.sql.results.figures import Figures, ScannedTable
from duckvstore.sql.results.result import Result
from duckvstore.sql.syntax import clauses, parser
from duckvstore.sql.syntax.source_map import SourceMap
from duckvstore.sql.values import kinds
from duckvstore.sql.values.parameters import Values
from duckvstore.sql.writing import assignments, insert, match_query, merge
from duckvstore.sql.writing.scratch import BARE, NAME, ROW, Scratch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.engine.writing.commits import Draft
    from duckvstore.engine.writing.edits import Plan as VersionPlan
    from duckvstore.engine.writing.row_edits import RowEdits
    from duckvstore.sql.binding.names import Names, Wanted
    from duckvstore.sql.execution.thread_cursor import ThreadCursor
    from duckvstore.sql.execution.transaction import Begun
    from duckvstore.sql.planning.planner import Plan
    from duckvstore.sql.results.result import Rows
    from duckvstore.sql.session import Session
    from duckvstore.sql.syntax.parser import Statement
    from duckvstore.sql.views.definitions import Definition

ASKED_BYTES_MIN = 4 * 2**20
# Enough of the end of a segment's key to tell it from all others: it is random.
NAME_CHARACTERS = 32
ROW_ID = "rowid"
_OPERATIONS = {"insert": "append", "copy": "append", "delete": "delete_rows", "truncate": "delete_rows"}


@dataclass(slots=True)
class Making:
    """What every statement that makes a version needs: where it runs, and who makes it and why."""

    session: Session
    thread: ThreadCursor
    statement: Statement
    values: Values
    scope: Mapping[str, object] | None
    figures: Figures
    begun: Begun | None
    message: str | None
    #: symbols, as views, that only DuckDB knows to be named, say by ``query_table(upper('trades'))``
    supplied: list[Definition] = field(default_factory=list)

    def of(self, statement: Statement) -> Making:
        """Return the same for ``statement``, a part of this one, whose parameters have no values yet."""
        return replace(self, statement=statement, values=Values.unchecked(None), figures=Figures())

    def commit(self, library: OpenLibrary, symbol: str, plan: VersionPlan) -> Version | None:
        """Make a version, within the transaction that is open; return it, or the newest when ``plan`` made none."""
        library.layout.symbol_versions(symbol)  # refuses a name that cannot be stored
        message = self.message if self.message is not None else self.statement.message
        call = commits.Call(symbol, self.session.author, message)
        if self.begun is not None:
            made = self.begun.apply(library, call, plan)
        else:
            made = commits.carry_out(library, call, plan)
        if made is not None and made.write_id == call.write_id and self.begun is None:
            self.figures.made.append(ScannedTable(library.name, symbol, made.number, made.created_at))
        return made

    def refuse_in_reading(self, position: int = 0, *, is_temporary: bool = False) -> None:
        """Raise SqlError where the transaction is one for reading, in which only temporary things are made."""
        if self.begun is not None and self.begun.is_read_only and not is_temporary:
            raise self.statement.error(
                "this transaction began as READ ONLY: COMMIT it, then change what you like, or in a BEGIN of its own",
                position,
            )

    def refuse_read_only(self, what: str, position: int = 0) -> None:
        """Raise SqlError where the session, or the transaction that is open, may not change anything."""
        self.refuse_in_reading(position)
        if self.session.read_only:
            raise self.statement.error(
                f"{what} would change the library, and this session is read-only: use lib.sql(…), or connect() without "
                "read_only",
                position,
            )


class TableWriting:
    """A statement that changes one symbol as a table."""

    def __init__(self, making: Making, names: Names, position: int) -> None:
        """Take the reference at ``position``, which ``names`` has resolved, for what is to be changed."""
        self.making, self.names, self.position = making, names, position
        self.statement = making.statement
        self.reference = self.statement.references[position]
        self.target: Wanted = names.targets[position]
        self.library, self.symbol = self.target.library, self.target.name
        self.where = repr(f"{self.library.name}/{self.symbol}")
        self._fresh: Names | None = names
        self._source: Result | None = None
        self._returned: pa.Table | None = None
        self._outcome: Result | None = None
        self._row_count = 0
        self._counts = True

    def run(self) -> Result:
        """Make the version and return what DuckDB would: the rows of RETURNING, a count, or nothing."""
        making, kind = self.making, self.statement.kind
        making.refuse_read_only(kind.replace("_", " ").upper(), self.reference.start)
        second = next(
            (found for found in self.statement.references[self.position + 1 :] if found.role == "target"), None
        )
        if second is not None:
            raise self.statement.error(f"{kind.upper()} takes one name: write a statement for each", second.start)
        if self.target.as_of is not None:
            raise self.statement.error("a snapshot never changes: name the symbol alone", self.reference.start)
        if kind == "drop":
            self._refuse_measuring("DROP TABLE")
            making.commit(self.library, self.symbol, edits.delete())
            return Result(None, making.figures)
        if kind != "create_table" or self._reads_itself():
            self._hold_streams()
        if kind == "create_table":
            try:
                self._create()
            finally:
                if self._source is not None:
                    self._source.close()  # whatever happened, the cursor must be free
                if self.statement.explain:
                    making.thread.cursor.execute(f"DROP TABLE IF EXISTS temp.main.{rewrite.quote(NAME)}")
        else:
            making.commit(self.library, self.symbol, self._edit)
        return self._outcome or self._result()

    def _hold_streams(self) -> None:
        """Pull the rows of the caller's streams: the statement may be evaluated again, and a stream is read once."""
        scope, held = self.making.scope or {}, {}
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
        self.making.scope = {**scope, **held}

    def _result(self) -> Result:
        figures, cursor = self.making.figures, self.making.thread.cursor
        if self.statement.explain:
            return self._plan_shown(self._returned)
        if self._returned is not None:
            return Result.of_table(self._returned, figures, cursor)
        if not self._counts:
            return Result(None, figures, kind="create_table")
        kind = "insert" if self.statement.kind == "copy" else self.statement.kind
        return Result.of_count(self._row_count, kind, figures, cursor)

    def _refuse_measuring(self, what: str) -> None:
        """Raise SqlError where EXPLAIN ANALYZE is of what runs no query."""
        if self.statement.explain:
            raise self.statement.error(f"EXPLAIN ANALYZE of {what} has nothing to measure: write EXPLAIN", 0)

    def _plan_shown(self, rows: pa.Table | None) -> Result:
        """Return the rows of EXPLAIN, with the user's name in place of ours, and which segments are read."""
        import pyarrow as pa

        if rows is None:  # CREATE TABLE IF NOT EXISTS of one that does
            return Result(None, self.making.figures, kind="explain")
        columns = ["explain_key", "explain_value"]
        own = ".".join(self.reference.parts)
        keys, texts = [column.to_pylist() for column in rows.columns]
        for ours in (NAME, BARE):  # in boxes of the same width, and in the text of the statement
            texts = [text.replace(rewrite.quote(ours), own).replace(ours, own.ljust(len(ours))) for text in texts]
        figures = self.making.figures
        if figures.scans:
            keys, texts = [*keys, "segments"], [*texts, figures.by_reference()]
        table = pa.table(
            {name: pa.array(values, pa.string()) for name, values in zip(columns, (keys, texts), strict=True)}
        )
        return Result.of_table(table, figures, self.making.thread.cursor, kind="explain")

    # -- rows of a symbol ----------------------------------------------------------------------------------------

    def _edit(self, newest: Version | None) -> Draft | None:
        """Plan the version above ``newest`` by running the statement on its rows."""
        if newest is None or newest.deleted:
            raise NoSuchSymbol(f"library {self.library.name!r} has no symbol {self.symbol!r}: CREATE TABLE it first")
        kind = self.statement.kind
        check_tabular(newest.kind, kind.upper(), self.where)
        self._refuse_rowid(newest)
        self._refuse_conflicts()
        self._refuse_digits(newest)
        plan = self._planned(newest)
        try:
            newest = self._decided(plan, newest)
            kept = None if kind in ("insert", "copy") else self._touched(plan, newest, self._candidates(newest))
            scratch = Scratch(self.making.thread.cursor, self.library, newest, kept)
        except BaseException:
            plan.release_files()
            raise
        if kept is not None:
            self._count(newest, kept)
        try:
            assigned = self._assigned(plan, newest)
            if assigned is not newest:
                newest = assigned
                scratch.close()
                scratch = Scratch(self.making.thread.cursor, self.library, newest, kept)
            wanted = self._run_on_scratch(plan, scratch, newest.schema.shown_names)
            self._outcome = self._result()  # before the commit: where it fails, nothing is changed
        finally:
            scratch.close()
            plan.release_files()
        return row_edits.edited(self.library, newest, _OPERATIONS.get(kind, kind), wanted, scratch.rows_of)

    def _decided(self, plan: Plan, newest: Version) -> Version:
        """Return ``newest`` with the types that an INSERT gives to its columns without any value, if it has some."""
        names = insert.undecided(newest) if self.statement.kind == "insert" else []
        target = rewrite.quote(NAME)
        if not names:
            return newest
        numbered = rewrite.numbered(self.statement, {**plan.replacements, self.position: target})
        source = insert.source(numbered.text, target)
        if source is None:
            return newest
        try:
            rows, described = self._asked(plan, source.shape), self._asked(plan, f"DESCRIBE {source.shape}")
        except DuckVStoreError:
            return newest  # what it is about, the statement itself will meet
        if rows is None or described is None:
            return newest
        texts = described.column("column_type").to_pylist()
        filled = source.filled(rows.schema, texts, newest.schema.shown_names)
        stored = to_arrow(newest.schema)
        for name in names:
            at = filled.get(name.casefold())
            if at is None:
                continue
            if self._misfits(plan, source.misfits(at, rows.num_columns, stored.field(name).type)):
                newest = insert.decided(newest, name, rows.schema.types[at], self.where)
        return newest

    def _assigned(self, plan: Plan, newest: Version) -> Version:
        """Return ``newest`` with the types that an UPDATE or MERGE gives to its columns without any value.

        The scratch table has the rows that it changes.
        """
        kind, target = self.statement.kind, rewrite.quote(NAME)
        names = insert.undecided(newest) if kind in ("update", "merge") else []
        if not names:
            return newest
        replaced = {**plan.replacements, self.position: target}
        numbered = rewrite.numbered(self.statement, replaced)
        source = None
        try:
            if kind == "merge":
                numbered = self._explicit(replace(plan, sql=numbered, replacements=replaced), newest.schema.shown_names)
                source = self.statement.tree.args["using"].alias_or_name or None
            asked = assignments.queries(numbered.text, target, names, source)
        except DuckVStoreError:
            return newest  # what it is about, the statement itself will meet
        stored = to_arrow(newest.schema)
        for name, queries in asked.items():
            parts = [f"SELECT * FROM ({query}\n)" for query in queries]
            query = " UNION ALL ".join(part for part in parts if self._shape(plan, part) is not None)
            shape = self._shape(plan, query) if query else None
            if shape is None:
                continue
            given, described = shape
            kind = stored.field(name).type
            is_typed = insert.is_open(kind) and described not in ("INTEGER", '"NULL"')  # which NULL alone is too
            is_new = is_typed or self._misfits(plan, insert.misfits(query, kind))
            if is_new and insert.is_shown(given, described):
                newest = insert.decided(newest, name, given, self.where)
        return newest

    def _shape(self, plan: Plan, query: str) -> tuple[pa.DataType, str] | None:
        """Return the type of a query's one column, for Arrow and for DuckDB; None: what it asks for is not there."""
        try:
            rows = _rows(self._asked(plan, f"SELECT * FROM ({query}\n) LIMIT 0"))
            described = _rows(self._asked(plan, f"DESCRIBE SELECT * FROM ({query}\n)"))
        except DuckVStoreError:
            return None
        return rows.schema.types[0], str(described.column("column_type")[0])

    def _misfits(self, plan: Plan, query: str) -> bool:
        try:
            found = self._asked(plan, query)
        except DuckVStoreError:
            return True  # there is no such cast
        return found is not None and bool(found.num_rows)

    def _refuse_rowid(self, newest: Version) -> None:
        """Raise SqlError for DuckDB's number of a row, which a symbol has not: it would count what was loaded."""
        if any(column.name.casefold() == ROW_ID for column in newest.schema.columns):
            return
        own = ("", (self.reference.alias or self.reference.parts[-1]).casefold())
        symbols = [
            reference.node
            for at, reference in enumerate(self.statement.references)
            if isinstance(self.names.meanings.get(at), Symbol) and reference.role == "read"
        ]
        for column in self.statement.tree.find_all(exp.Column):
            if column.name.casefold() != ROW_ID or column.table.casefold() not in own:
                continue
            select = column.find_ancestor(exp.Select)
            tables = list(select.find_all(exp.Table)) if select is not None else []
            if not tables or column.table or any(table is node for table in tables for node in symbols):
                raise self.statement.error(
                    "the rows of a symbol have no rowid: tell them apart by their columns, or keep one of each with "
                    "CREATE OR REPLACE TABLE … AS SELECT DISTINCT ON (…)",
                    column.this.meta.get("start", self.reference.start),
                )

    def _refuse_conflicts(self) -> None:
        """Raise SqlError for ON CONFLICT, OR REPLACE and OR IGNORE, which need a key that a symbol has not."""
        tree = self.statement.tree
        if self.statement.kind == "insert" and (tree.args.get("conflict") or tree.args.get("alternative")):
            name = ".".join(self.reference.parts)
            raise self.statement.error(
                f"a symbol keeps no keys, so no row of {name} is in conflict: write MERGE INTO {name} USING (…) AS new "
                f"ON {self.reference.parts[-1]}.key = new.key WHEN MATCHED THEN UPDATE WHEN NOT MATCHED THEN INSERT",
                clauses.conflict_start(self.statement),
            )

    def _refuse_digits(self, newest: Version) -> None:
        """Raise SqlError where the statement depends on digits of the rows it changes that DuckDB does not read."""
        if self.statement.kind in ("insert", "copy", "truncate"):  # they look at none
            return
        values = self.making.values
        exact = [at for at, found in self.statement.parameters if type(values.known(found)) in (datetime, date)]
        used = nanoseconds.uses(self.statement, nanoseconds.columns(newest), exact)
        for name in nanoseconds.refused(self.library, newest, newest.segments, used):
            raise self.statement.error(nanoseconds.problem(name), self.reference.start)

    def _run_on_scratch(self, plan: Plan, scratch: Scratch, columns: Sequence[str]) -> RowEdits:
        """Run the user's statement on the scratch table; keep what it returns, and return what it did."""
        kind, is_returning = self.statement.kind, self._parts().returning is not None
        plan.replacements[self.position] = rewrite.quote(NAME)
        plan.sql = rewrite.rewrite(self.statement, plan.replacements)
        if self.statement.explain:
            plan.sql = self._explicit(plan, columns) if kind == "merge" else plan.sql
            self._returned = self._running(plan).finish()
            return scratch.added() if kind in ("insert", "copy") else scratch.compared()
        if kind in ("insert", "copy"):
            self._returned = self._running(plan).finish()
            wanted = scratch.added()
            self._row_count = wanted.added.num_rows
            return wanted
        if kind == "merge":
            plan.sql = self._explicit(plan, columns)
            if is_returning:
                self._returned = self._shown(_rows(self._running(plan).finish()), columns)
            else:
                self._row_count = self._running(plan).count()
            return scratch.compared()
        if kind in ("delete", "truncate"):
            self._delete(plan, scratch)
            wanted = scratch.left()
            self._row_count = len(wanted.removed)
            return wanted
        return scratch.edits(self._update(plan, scratch), nanoseconds.assigned(self.statement))

    def _update(self, plan: Plan, scratch: Scratch) -> pa.ChunkedArray:
        """Run UPDATE and return the numbers of the rows that it changed; its RETURNING is asked of these rows.

        In the statement itself, * would have the number of the row, and so would the row as a whole.
        """
        row = rewrite.quote(ROW)
        if self._parts().returning is None:
            plan.sql += f"\nRETURNING {row}"
            touched = _rows(self._running(plan).finish())
        else:
            names = self._names_returned(plan, scratch)
            words, common, asked = match_query.parted(rewrite.numbered(self.statement, plan.replacements))
            touched = _rows(self._asked(plan, words + f"RETURNING {row}"))
        numbers, self._row_count = touched.column(0), touched.num_rows
        if self._parts().returning is not None:
            with scratch.changed(numbers) as relation:
                found = self._asked(plan, common + "SELECT " + asked + f"\nFROM {relation} AS {self._own_name()}")
            self._returned = _rows(found).rename_columns(names)
        return numbers

    def _delete(self, plan: Plan, scratch: Scratch) -> None:
        """Run DELETE; what its RETURNING asks for is asked of the rows that are gone.

        DuckDB 1.5.5 crashes in RETURNING, or leaves rows behind, where USING finds a row many times.
        """
        if self.statement.kind == "truncate":
            plan.sql = self._about_target(f"DELETE FROM {rewrite.quote(NAME)}")
        if self._parts().returning is None:
            self._running(plan).count()
            return
        names = self._names_returned(plan, scratch)
        words, common, asked = match_query.parted(rewrite.numbered(self.statement, plan.replacements))
        self._asked(plan, words)
        with scratch.gone() as relation:
            found = self._asked(plan, common + "SELECT " + asked + f"\nFROM {relation} AS {self._own_name()}")
        self._returned = _rows(found).rename_columns(names)

    def _names_returned(self, plan: Plan, scratch: Scratch) -> list[str]:
        """Return the names of the columns that RETURNING gives, by the statement itself on a table without rows.

        So what DuckDB refuses is refused in its words.
        """
        with scratch.without_rows() as name:
            replaced = {**plan.replacements, self.position: rewrite.quote(name)}
            sql = rewrite.rewrite(self.statement, replaced)
            bare = replace(plan, sql=sql, replacements=replaced, leases=[])
            return list(_rows(self._running(bare).finish()).column_names)

    def _own_name(self) -> str:
        """Return the name by which the statement calls what it changes, quoted."""
        return rewrite.quote(self.reference.alias or self.reference.parts[-1])

    def _running(self, plan: Plan, *, is_part: bool = False) -> Running:
        row = rewrite.quote(ROW)
        own = ".".join(self.reference.parts)
        names = {f", {row}": "", f"{row}, ": "", NAME: own, BARE: own}
        return Running(self.making.thread, plan, self.making.values, self.making.session.note, names, is_part=is_part)

    def _asked(self, plan: Plan, query: SourceMap | str) -> pa.Table | None:
        """Return the rows of a question of our own, made of parts of the statement."""
        sql = self._about_target(query) if isinstance(query, str) else query
        return self._running(replace(plan, sql=sql, leases=[]), is_part=True).finish()

    def _about_target(self, text: str) -> SourceMap:
        """Return SQL of our own, whose errors show the name of what the statement changes."""
        return SourceMap.in_place_of(text, self.statement.sql.origin(self.reference.start))

    def _explicit(self, plan: Plan, columns: Sequence[str]) -> SourceMap:
        """Return the text of a MERGE in which every action names its columns, since the scratch table has one more."""
        found = merge.read(plan.sql)
        if not found.actions:
            return plan.sql
        source_columns: list[str] = []
        query = merge.read(rewrite.numbered(self.statement, plan.replacements)).columns_query
        if query is not None:
            rows = self._asked(plan, query)
            source_columns = list(rows.column_names) if rows is not None else []
        is_update = any(kind == "update" for kind, _, _ in found.actions)
        if is_update and len(source_columns) != len(columns):  # DuckDB would not see that they do not match
            raise self.statement.error(
                f"UPDATE by position takes all columns of {self.symbol} in their order: expected {len(columns)}, the "
                f"source has {len(source_columns)}: write UPDATE BY NAME or UPDATE SET column = value",
                self.reference.start,
            )
        using = self.statement.tree.args.get("using")
        return found.explicit(columns, source_columns, using.alias_or_name or None)

    def _planned(self, newest: Version | None) -> Plan:
        """Return the plan of what the statement reads, by the names that were resolved before, if they still hold."""
        names, self._fresh = self._fresh, None
        seen = self.target.outcome
        if self.statement.kind == "create_table":
            holds = not self._reads_itself()
        else:  # what it reads was resolved at a moment at which this was the newest version
            holds = newest is not None and isinstance(seen, Version) and seen.write_id == newest.write_id
        if not holds:
            names = None
        return self.making.session.planned(self.making, newest, self.target, names)

    def _count(self, newest: Version, kept: Sequence[int]) -> None:
        """Add the segments that are read for the statement to its figures."""
        figures = self.making.figures
        read = [newest.segments[at] for at in kept]
        figures.tables.append(ScannedTable(self.library.name, self.symbol, newest.number, newest.created_at))
        figures.segments_total += len(newest.segments)
        figures.segments_read += len(read)
        figures.bytes_total += newest.stored_bytes
        figures.bytes_read += sum(segment.size_bytes for segment in read)

    def _touched(self, plan: Plan, newest: Version, kept: Sequence[int]) -> Sequence[int]:
        """Return those of the segments at ``kept`` that have rows which the statement matches.

        Asked of the columns that it names, before whole segments are loaded, unless these are small.
        """
        chosen = [newest.segments[at] for at in kept]
        if sum(segment.size_bytes for segment in chosen) < ASKED_BYTES_MIN:
            return kept
        if self.making.session.may_vary(self.making, plan):
            return kept
        relation = self.making.session.scanned(plan, self.library, newest, chosen, match_query.FILE)
        replaced = {**plan.replacements, self.position: relation}
        query = match_query.question(rewrite.numbered(self.statement, replaced).text, relation)
        if query is None:
            return kept
        try:
            found = self._asked(plan, query)
        except DuckVStoreError:
            return kept  # what it is about, the statement itself will meet
        names = {name.rpartition("/")[2] for name in found.column(0).to_pylist()} if found is not None else set()
        # A local copy has a number before the name.
        ends = {name[-NAME_CHARACTERS:] for name in names}
        return [at for at, segment in zip(kept, chosen, strict=True) if segment.key[-NAME_CHARACTERS:] in ends]

    def _parts(self) -> clauses.Clauses:
        return clauses.find(self.statement, self.reference.end)

    def _shown(self, returned: pa.Table, columns: Sequence[str]) -> pa.Table:
        """Return the rows that the RETURNING of a MERGE asked for. Raises SqlError where they may hold our number."""
        # DuckDB tells a second one of the same name apart by a number.
        shown = returned.select([at for at, name in enumerate(returned.column_names) if not name.startswith(ROW)])
        asked = self.statement.text[self._parts().returning or 0 :]
        names = {self.reference.parts[-1], self.reference.alias or ""}.difference(columns)
        has_number = any(ROW in name for name in shown.column_names) or match_query.takes_whole_rows(asked, names)
        if has_number or not shown.num_columns:
            raise self.statement.error(
                f"RETURNING of a MERGE takes * alone or columns by their names, not whole rows of {self.symbol}",
                self._parts().returning or self.reference.start,
            )
        return shown

    def _candidates(self, newest: Version) -> Sequence[int]:
        """Return the positions of the segments that may have rows that the statement changes."""
        everything = range(len(newest.segments))
        found = self._parts()
        if self.statement.kind not in ("delete", "update") or found.where is None:
            return everything
        text = self.statement.text
        alias = self._own_name()
        others = "" if found.source is None else f", {text[found.source : found.where]}"
        end = found.returning if found.returning is not None else len(text)
        asked = f"SELECT 1 FROM {rewrite.quote(self.symbol)} AS {alias}{others} {text[found.where : end]}"
        try:
            statement = parser.parse(asked)[0]
            given = self.making.values.given
            if given is not None and not hasattr(given, "keys"):  # by position, of which some stand before
                start = found.source if found.source is not None else found.where
                behind = [p.position for at, p in self.statement.parameters if at >= start and p.position is not None]
                given = given[behind[0] :] if behind else given
            return kept_segments(statement, 0, newest, Values.unchecked(given), self.making.thread.cursor)
        except DuckVStoreError:
            return everything  # what it is about, the statement itself will meet

    # -- new symbols ---------------------------------------------------------------------------------------------

    def _create(self) -> None:
        tree, found = self.statement.tree, self._parts()
        is_replacing, is_tolerant = bool(tree.args.get("replace")), self.statement.is_tolerant
        properties = tree.args.get("properties")
        if properties is not None and not all(type(found) is exp.WithDataProperty for found in properties.expressions):
            raise self.statement.error("CREATE TABLE of a symbol takes no further clauses", self.reference.end)
        if is_replacing and is_tolerant:
            raise self.statement.error("OR REPLACE and IF NOT EXISTS exclude each other", self.reference.start)
        self._counts = found.query is not None
        if found.query is None:
            self._refuse_measuring("CREATE TABLE without a query")
        if found.query is not None and any(isinstance(a, exp.ColumnDef) for a in clauses.columns_defined(tree)):
            raise self.statement.error(
                "CREATE TABLE … AS takes names of columns without types: cast in the query", self.reference.end
            )

        def create(newest: Version | None) -> VersionPlan:
            return self._created(newest, found)

        created = create if self._reads_itself() else drafts.once(create)  # of a stream, which is read once

        def plan(newest: Version | None) -> Draft | None:
            if newest is not None and not newest.deleted and not is_replacing:
                if is_tolerant:
                    self._counts = False
                    return None
                raise AlreadyExists(
                    f"library {self.library.name!r} has a symbol {self.symbol!r} already: INSERT INTO it, or CREATE OR "
                    "REPLACE TABLE makes its next version"
                )
            draft = created(newest)(newest)
            self._row_count = draft.row_count if draft is not None else 0
            return draft

        self.making.commit(self.library, self.symbol, plan)

    def _reads_itself(self) -> bool:
        """Whether the statement reads what it is to replace, in its own text or in that of a view or macro."""
        return any(
            found.role == "read" and (found.is_call or found.parts[-1].casefold() == self.symbol.casefold())
            for names in (self.names, *self.names.companions)
            for found in names.statement.references
        )

    def _created(self, newest: Version | None, found: clauses.Clauses) -> VersionPlan:
        """Run the query (or look at the columns that are defined) and return the plan that stores its rows."""
        if found.query is None:
            rows = self._defined()
            types, reader = kinds.read_from(rows.schema), rows.to_reader()
        else:
            plan = self._planned(newest)
            if self.statement.explain:
                given_rows = self._measured(plan)
            else:
                plan.sql = self._query(rewrite.rewrite(self.statement, plan.replacements), found.query)
                given_rows = self._running(plan).start()
            self._source = Result(given_rows, Figures(), kind="create_table")
            types = self._source.types
            self._refuse_types(self._source.columns, types)
            # A C stream would lose the class of an error that comes with a later row.
            reader = self._source.carriers()
        encoded = tables.encode_table(self._named(reader), self.where)
        given = GivenRows(self.symbol, kinds.named(encoded, types), self.where)
        return whole_values.write(self.library, given, None)

    def _measured(self, plan: Plan) -> Rows | None:
        """Run EXPLAIN ANALYZE on a table of the session, keep what it returns, and return the rows of the table."""
        name = rewrite.quote(NAME)
        self.making.thread.cursor.execute(f"DROP TABLE IF EXISTS temp.main.{name}")
        plan.replacements[self.position] = name
        noun = clauses.noun_start(self.statement)
        plan.sql = rewrite.rewrite(self.statement, plan.replacements).replaced([(noun, noun, "TEMP ")])
        self._returned = self._running(replace(plan, leases=[])).finish()
        return self._running(replace(plan, sql=self._about_target(f"FROM {name}")), is_part=True).start()

    def _query(self, rewritten: SourceMap, start: int) -> SourceMap:
        """Return the query of CREATE TABLE … AS, which begins at ``start``."""
        clause = clauses.data_clause(self.statement)
        if clause is None:
            return rewritten[start:]
        place, wants_rows = clause
        query = rewritten[start : rewritten.place(self.statement.sql.origin(place))]
        return query if wants_rows else "FROM (" + query + "\n) LIMIT 0"

    def _refuse_types(self, columns: Sequence[str], types: Sequence[str]) -> None:
        """Raise SqlError for a type that a symbol would replace by another."""
        for name, kind in zip(columns, types, strict=True):
            if not kinds.is_storable(kinds.known(kind)):
                raise self.statement.error(
                    f"column {name!r} has the type {kind}, which a symbol cannot keep: cast it to another, say VARCHAR",
                    self.reference.end,
                )

    def _named(self, reader: pa.RecordBatchReader) -> pa.RecordBatchReader:
        """Return rows as they are stored, with the names that CREATE TABLE s (…) gives, and duplicates told apart."""
        import pyarrow as pa

        from duckvstore.format.stored.schema import unique_names

        names = [definition.name for definition in clauses.columns_defined(self.statement.tree)]
        if self._parts().query is None or not names:
            names = list(reader.schema.names)
        if len(names) > len(reader.schema):
            raise self.statement.error(
                f"{len(names)} columns are named, and the query gives {len(reader.schema)}", self.reference.end
            )
        names = unique_names([*names, *reader.schema.names[len(names) :]])
        fields = zip(kinds.stored_schema(reader.schema), names, strict=True)
        schema = pa.schema([field.with_name(name) for field, name in fields])
        batches = (kinds.as_stored(batch).rename_columns(names) for batch in reader)
        return pa.RecordBatchReader.from_batches(schema, batches)

    def _defined(self) -> pa.Table:
        """Return no rows of the columns that are defined. Raises SqlError for a constraint: nothing would keep it."""
        definitions = clauses.columns_defined(self.statement.tree)
        for definition in definitions:
            if not isinstance(definition, exp.ColumnDef) or definition.args.get("constraints"):
                raise self.statement.error(
                    "a symbol keeps no constraints, defaults or keys: define columns by name and type alone",
                    self.reference.end,
                )
        if not definitions:
            raise self.statement.error("CREATE TABLE needs columns, or AS and a query", self.reference.end)
        cursor = self.making.thread.cursor
        plan = self._planned(None)
        plan.sql = f"CREATE OR REPLACE TEMP TABLE {rewrite.quote(NAME)} " + self.statement.sql[self.reference.end :]
        try:
            self._running(plan).finish()
            relation: Any = cursor.sql(f"FROM {rewrite.quote(NAME)}")
            self._refuse_types(relation.columns, list(map(str, relation.types)))
            return fetched(relation)
        finally:
            cursor.execute(f"DROP TABLE IF EXISTS temp.{rewrite.quote(NAME)}")


def _rows(table: pa.Table | None) -> pa.Table:
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
