"""INSERT, UPDATE, DELETE, MERGE, TRUNCATE and COPY into a symbol: the user's own SQL runs on a scratch table.

What it did to the rows there becomes an edit of the version, which the engine commits.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from typing import TYPE_CHECKING

from sqlglot import exp

from duckvstore.engine.writing import row_edits
from duckvstore.errors import DuckVStoreError
from duckvstore.format.evolution.editing import check_tabular
from duckvstore.format.rows.blocks import MANY_COLUMNS
from duckvstore.format.stored.schema import to_arrow
from duckvstore.sql.binding.meanings import Symbol
from duckvstore.sql.planning import nanoseconds, rewrite
from duckvstore.sql.pruning.segment_choice import kept_segments
from duckvstore.sql.results.figures import ScannedTable
from duckvstore.sql.results.result import Result
from duckvstore.sql.syntax import clauses, parser
from duckvstore.sql.syntax.literals import quote
from duckvstore.sql.values.parameters import Values
from duckvstore.sql.writing import assignments, insert, match_query, merge
from duckvstore.sql.writing.commit import commit
from duckvstore.sql.writing.scratch import NAME, ROW, Scratch
from duckvstore.sql.writing.symbol_change import SymbolChange, rows_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from duckvstore.engine.writing.commits import Draft
    from duckvstore.engine.writing.row_edits import RowEdits
    from duckvstore.format.stored.documents import Version
    from duckvstore.sql.planning.planner import Plan
    from duckvstore.sql.syntax.source_map import SourceMap

ASKED_BYTES_MIN = 4 * 2**20
# Enough of the end of a segment's key to tell it from all others: it is random.
NAME_CHARACTERS = 32
ROW_ID = "rowid"
_OPERATIONS = {"insert": "append", "copy": "append", "delete": "delete_rows", "truncate": "delete_rows"}


class RowChange(SymbolChange):
    """A statement that adds, changes or removes rows of one symbol."""

    _outcome: Result | None = None

    def run(self) -> Result:
        """Make the version and return what DuckDB would: the rows of RETURNING, or a count."""
        self._refuse(self.statement.kind.upper())
        self._hold_streams()
        commit(self.context, self.library, self.symbol, self._edit)
        assert self._outcome is not None, "the statement has run"  # noqa: S101
        return self._outcome

    def _result(self) -> Result:
        figures, cursor = self.context.figures, self.context.thread.cursor
        if self.statement.explain:
            return self._plan_shown(self._returned)
        if self._returned is not None:
            return Result.of_table(self._returned, figures, cursor)
        kind = "insert" if self.statement.kind == "copy" else self.statement.kind
        return Result.of_count(self._row_count, kind, figures, cursor)

    def _edit(self, newest: Version | None) -> Draft | None:
        """Plan the version above ``newest`` by running the statement on its rows."""
        newest = self._known(newest)
        kind = self.statement.kind
        check_tabular(newest.kind, kind.upper(), self.where)
        self._refuse_rowid(newest)
        self._refuse_whole_rows(newest)
        self._refuse_conflicts()
        self._refuse_digits(newest)
        plan = self._planned(newest)
        try:
            newest = self._decided(plan, newest)
            kept = None if kind in ("insert", "copy") else self._touched(plan, newest, self._candidates(newest))
            names = match_query.columns(self.statement, self.reference) if self._changes_named(newest) else None
            scratch = Scratch(self.context.thread.cursor, self.library, newest, kept, names)
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
                scratch = Scratch(self.context.thread.cursor, self.library, newest, kept, names)
            wanted = self._run_on_scratch(plan, scratch, newest.schema.shown_names)
            self._outcome = self._result()  # before the commit: where it fails, nothing is changed
        finally:
            scratch.close()
            plan.release_files()
        return row_edits.edited(self.library, newest, _OPERATIONS.get(kind, kind), wanted, scratch.rows_of)

    def _changes_named(self, newest: Version) -> bool:
        """Whether the statement changes rows in place by the columns that it names, and there are many."""
        if len(newest.schema.columns) < MANY_COLUMNS or self.statement.explain:
            return False
        return self.statement.kind in ("update", "delete") and self._parts().returning is None

    def _refuse_whole_rows(self, newest: Version) -> None:
        """Raise SqlError where whole rows are compared: those to be changed have a number, and are like no other."""
        own = (self.reference.alias or self.reference.parts[-1]).casefold()
        if self.statement.kind not in ("update", "delete") or own in map(str.casefold, newest.schema.shown_names):
            return
        for column in self.statement.tree.find_all(exp.Column):
            is_row = not column.table and column.name.casefold() == own and not isinstance(column.parent, exp.Is)
            if is_row and column.find_ancestor(exp.Returning) is None:
                kind = self.statement.kind.upper()
                raise self.statement.error(
                    f"{kind} cannot compare whole rows of {self.symbol}: compare its columns", self.reference.start
                )

    def _refuse_rowid(self, newest: Version) -> None:
        """Raise SqlError for DuckDB's row number, which symbols lack: it would count what was loaded."""
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
        """Raise SqlError for ON CONFLICT, OR REPLACE and OR IGNORE, which need a key; symbols have none."""
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
        values = self.context.values
        exact = [at for at, found in self.statement.parameters if type(values.known(found)) in (datetime, date)]
        used = nanoseconds.uses(self.statement, nanoseconds.columns(newest), exact)
        for name in nanoseconds.refused(self.library, newest, newest.segments, used):
            raise self.statement.error(nanoseconds.problem(name), self.reference.start)

    # -- the segments that matter ----------------------------------------------------------------------------------

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
        asked = f"SELECT 1 FROM {quote(self.symbol)} AS {alias}{others} {text[found.where : end]}"
        try:
            statement = parser.parse(asked)[0]
            given = self.context.values.given
            if given is not None and not hasattr(given, "keys"):  # by position, some of which come before
                start = found.source if found.source is not None else found.where
                behind = [p.position for at, p in self.statement.parameters if at >= start and p.position is not None]
                given = given[behind[0] :] if behind else given
            return kept_segments(statement, 0, newest, Values.unchecked(given), self.context.thread.cursor)
        except DuckVStoreError:
            return everything  # what it is about, the statement itself will meet

    def _touched(self, plan: Plan, newest: Version, kept: Sequence[int]) -> Sequence[int]:
        """Return those of the segments at ``kept`` that have rows which the statement matches.

        Asked of the columns that it names, before whole segments are loaded, unless these are small.
        """
        chosen = [newest.segments[at] for at in kept]
        if sum(segment.size_bytes for segment in chosen) < ASKED_BYTES_MIN:
            return kept
        if self.planning.may_vary(self.context, plan):
            return kept
        relation = self.planning.scan_of(plan, self.library, newest, chosen, match_query.FILE)
        replaced = {**plan.replacements, self.position: relation}
        query = match_query.question(rewrite.numbered(self.statement, replaced).text, relation)
        if query is None:
            return kept
        try:
            found = self._asked(plan, query)
        except DuckVStoreError:
            return kept  # what it is about, the statement itself will meet
        names = {name.rpartition("/")[2] for name in found.column(0).to_pylist()}
        # A local copy has a number before the name.
        ends = {name[-NAME_CHARACTERS:] for name in names}
        return [at for at, segment in zip(kept, chosen, strict=True) if segment.key[-NAME_CHARACTERS:] in ends]

    def _count(self, newest: Version, kept: Sequence[int]) -> None:
        """Add the segments that are read for the statement to its figures."""
        figures = self.context.figures
        read = [newest.segments[at] for at in kept]
        figures.tables.append(ScannedTable(self.library.name, self.symbol, newest.number, newest.created_at))
        figures.segments_total += len(newest.segments)
        figures.segments_read += len(read)
        figures.bytes_total += newest.stored_bytes
        figures.bytes_read += sum(segment.size_bytes for segment in read)

    # -- types of columns without values -------------------------------------------------------------------------

    def _decided(self, plan: Plan, newest: Version) -> Version:
        """Return ``newest`` with the types that an INSERT gives to its columns without any value, if it has some."""
        names = insert.undecided(newest) if self.statement.kind == "insert" else []
        target = quote(NAME)
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
        kind, target = self.statement.kind, quote(NAME)
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
            rows = self._asked(plan, f"SELECT * FROM ({query}\n) LIMIT 0")
            described = self._asked(plan, f"DESCRIBE SELECT * FROM ({query}\n)")
        except DuckVStoreError:
            return None
        return rows.schema.types[0], str(described.column("column_type")[0])

    def _misfits(self, plan: Plan, query: str) -> bool:
        try:
            return bool(self._asked(plan, query).num_rows)
        except DuckVStoreError:
            return True  # there is no such cast

    # -- the statement on the scratch table --------------------------------------------------------------------------

    def _run_on_scratch(self, plan: Plan, scratch: Scratch, columns: Sequence[str]) -> RowEdits:
        """Run the user's statement on the scratch table; keep what it returns, and return what it did."""
        kind, is_returning = self.statement.kind, self._parts().returning is not None
        plan.replacements[self.position] = quote(NAME)
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
                self._returned = self._shown(rows_of(self._running(plan).finish()), columns)
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
        row = quote(ROW)
        if self._parts().returning is None:
            plan.sql += f"\nRETURNING {row}"
            touched = rows_of(self._running(plan).finish())
        else:
            names = self._names_returned(plan, scratch)
            words, common, asked = match_query.parted(rewrite.numbered(self.statement, plan.replacements))
            touched = self._asked(plan, words + f"RETURNING {row}")
        numbers, self._row_count = touched.column(0), touched.num_rows
        if self._parts().returning is not None:
            with scratch.changed(numbers) as relation:
                found = self._asked(plan, common + "SELECT " + asked + f"\nFROM {relation} AS {self._own_name()}")
            self._returned = found.rename_columns(names)
        return numbers

    def _delete(self, plan: Plan, scratch: Scratch) -> None:
        """Run DELETE; what its RETURNING asks for is asked of the rows that are gone.

        DuckDB 1.5.5 crashes in RETURNING, or leaves rows behind, where USING finds a row many times.
        """
        if self.statement.kind == "truncate":
            plan.sql = self._about_target(f"DELETE FROM {quote(NAME)}")
        if self._parts().returning is None:
            self._running(plan).count()
            return
        names = self._names_returned(plan, scratch)
        words, common, asked = match_query.parted(rewrite.numbered(self.statement, plan.replacements))
        self._running(replace(plan, sql=words, leases=[]), is_part=True).finish()
        with scratch.gone() as relation:
            found = self._asked(plan, common + "SELECT " + asked + f"\nFROM {relation} AS {self._own_name()}")
        self._returned = found.rename_columns(names)

    def _names_returned(self, plan: Plan, scratch: Scratch) -> list[str]:
        """Return the names of the columns that RETURNING gives, by the statement itself on a table without rows.

        So what DuckDB refuses is refused in its words.
        """
        with scratch.without_rows() as name:
            replaced = {**plan.replacements, self.position: quote(name)}
            sql = rewrite.rewrite(self.statement, replaced)
            bare = replace(plan, sql=sql, replacements=replaced, leases=[])
            return list(rows_of(self._running(bare).finish()).column_names)

    def _explicit(self, plan: Plan, columns: Sequence[str]) -> SourceMap:
        """Return the text of a MERGE in which every action names its columns, since the scratch table has one more."""
        found = merge.read(plan.sql)
        if not found.actions:
            return plan.sql
        source_columns: list[str] = []
        query = merge.read(rewrite.numbered(self.statement, plan.replacements)).columns_query
        if query is not None:
            source_columns = list(self._asked(plan, query).column_names)
        is_update = any(kind == "update" for kind, _, _ in found.actions)
        if is_update and len(source_columns) != len(columns):  # DuckDB would not see that they do not match
            raise self.statement.error(
                f"UPDATE by position takes all columns of {self.symbol} in their order: expected {len(columns)}, the "
                f"source has {len(source_columns)}: write UPDATE BY NAME or UPDATE SET column = value",
                self.reference.start,
            )
        using = self.statement.tree.args.get("using")
        return found.explicit(columns, source_columns, using.alias_or_name or None)

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

    def _own_name(self) -> str:
        """Return the name by which the statement calls what it changes, quoted."""
        return quote(self.reference.alias or self.reference.parts[-1])
