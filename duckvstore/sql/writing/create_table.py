"""CREATE TABLE and DROP TABLE of a symbol."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from duckvstore.engine.writing import drafts, edits, whole_values
from duckvstore.engine.writing.given_rows import GivenRows
from duckvstore.errors import AlreadyExists
from duckvstore.format.codecs import tables
from duckvstore.sql.execution.running import fetched
from duckvstore.sql.planning import rewrite
from duckvstore.sql.results.figures import Figures
from duckvstore.sql.results.result import Result
from duckvstore.sql.syntax import clauses
from duckvstore.sql.syntax.literals import quote
from duckvstore.sql.values import kinds
from duckvstore.sql.writing.commit import commit
from duckvstore.sql.writing.scratch import NAME
from duckvstore.sql.writing.symbol_change import SymbolChange

if TYPE_CHECKING:
    import pyarrow as pa

    from duckvstore.engine.writing.commits import Draft
    from duckvstore.engine.writing.edits import Plan as VersionPlan
    from duckvstore.format.stored.documents import Version
    from duckvstore.sql.planning.planner import Plan
    from duckvstore.sql.results.result import Rows
    from duckvstore.sql.syntax.source_map import SourceMap


class TableDrop(SymbolChange):
    """A DROP TABLE of one symbol."""

    def run(self) -> Result:
        """Make the version that is a deletion, and return no rows."""
        self._refuse("DROP TABLE")
        self._refuse_measuring("DROP TABLE")
        commit(self.context, self.library, self.symbol, edits.delete())
        return Result(None, self.context.figures)


class TableCreation(SymbolChange):
    """A CREATE TABLE of one symbol: AS a query, or with columns and no rows."""

    _source: Result | None = None
    _counts = True

    def run(self) -> Result:
        """Make the version, if IF NOT EXISTS does not find one, and return how many rows it has where it is AS."""
        self._refuse("CREATE TABLE")
        if self._reads_itself():
            self._hold_streams()
        cursor, figures = self.context.thread.cursor, self.context.figures
        try:
            self._create()
        finally:
            if self._source is not None:
                self._source.close()  # whatever happened, the cursor must be free
            if self.statement.explain:
                cursor.execute(f"DROP TABLE IF EXISTS temp.main.{quote(NAME)}")
        if self.statement.explain:
            return self._plan_shown(self._returned)
        if not self._counts:
            return Result(None, figures, kind="create_table")
        return Result.of_count(self._row_count, "create_table", figures, cursor)

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

        commit(self.context, self.library, self.symbol, plan)

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
        name = quote(NAME)
        self.context.thread.cursor.execute(f"DROP TABLE IF EXISTS temp.main.{name}")
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
        cursor = self.context.thread.cursor
        plan = self._planned(None)
        plan.sql = f"CREATE OR REPLACE TEMP TABLE {quote(NAME)} " + self.statement.sql[self.reference.end :]
        try:
            self._running(plan).finish()
            relation: Any = cursor.sql(f"FROM {quote(NAME)}")
            self._refuse_types(relation.columns, list(map(str, relation.types)))
            return fetched(relation)
        finally:
            cursor.execute(f"DROP TABLE IF EXISTS temp.{quote(NAME)}")
