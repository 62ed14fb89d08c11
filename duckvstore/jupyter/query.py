"""One query of a notebook: its parameters, its ``--at``, its rows, and how they are shown.

The text of the cell runs as it is, with at most AT forms after names and EXPLAIN in front; positions in errors are
those in the cell.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

from duckvstore import markup
from duckvstore.api.library import Library
from duckvstore.errors import InvalidInput, NoSuchSnapshot, SqlError, caret, nearest
from duckvstore.jupyter import cells, display
from duckvstore.sql.binding.namespace import is_session_table
from duckvstore.sql.results.display import Excerpt, as_html, as_text, shares
from duckvstore.sql.results.plots import Plot
from duckvstore.sql.syntax import parser
from duckvstore.sql.syntax.literals import literal
from duckvstore.sql.syntax.source_map import SourceMap
from duckvstore.sql.syntax.tokens import scan

if TYPE_CHECKING:
    import pyarrow as pa

    from duckvstore.jupyter.connection import Connection
    from duckvstore.jupyter.request import Request
    from duckvstore.sql.results.result import Result
    from duckvstore.sql.syntax.source_map import Splice
    from duckvstore.sql.syntax.statement import Reference

_INTEGER = re.compile(r"-?[0-9]+")


class Query:
    """A request that runs on construction, except for its rows. Raises the errors of ``Library.sql``."""

    def __init__(self, connection: Connection, asked: Request, scope: dict[str, Any], rows_shown_max: int) -> None:
        """Run what ``asked`` says; ``scope`` holds the notebook's variables."""
        self.asked = asked
        self.rows_shown_max = rows_shown_max
        self.target = connection.target(asked.library)
        if not asked.sql.strip():
            raise InvalidInput("there is no SQL: write it behind %vstore, or below %%vstore")
        self.parameters = parameters(asked.sql, asked.parameters, scope)
        self.sql = SourceMap(asked.sql).replaced(self._insertions())
        try:
            self.result: Result = self.target.session.sql(self.sql.text, self.parameters or None, scope=scope)
        except SqlError as error:
            self._show_in_cell(error)
            raise
        self.null_counts: list[int] = []
        self.row_count = 0
        self.is_limited = False
        self._table: pa.Table | None = None
        self._ends: pa.Table | None = None

    def _show_in_cell(self, error: SqlError) -> None:
        """Turn ``error``, about the SQL that ran, into one about the text of the cell."""
        if error.offset is None or error.sql != self.sql.text or error.sql == self.asked.sql:
            return
        message = str(error).removesuffix(caret(error.sql, error.offset))
        error.sql, error.offset = self.asked.sql, self.sql.origin(error.offset)
        error.args = (message + caret(error.sql, error.offset),)

    def _insertions(self) -> list[Splice]:
        """Return the insertions into the text of the cell: AT forms after names, and EXPLAIN."""
        insertions: list[Splice] = []
        statements = parser.parse(self.asked.sql) if self.asked.at is not None or self.asked.explain else []
        if self.asked.at is not None:
            for statement in statements:
                for reference in statement.references:
                    clause = self._at_clause(reference)
                    if clause and not statement.written:
                        end = statement.sql.origin(reference.end)
                        insertions.append((end, end, clause))
        if self.asked.explain and statements and not statements[-1].explain:
            last = statements[-1]
            start = last.sql.origin(last.tokens[0].start)
            insertions.append((start, start, "EXPLAIN "))
        return sorted(insertions)

    def _at_clause(self, reference: Reference) -> str:
        """Return the AT form for a name that ``--at`` applies to, else an empty text."""
        if reference.at is not None or reference.role != "read":
            return ""
        library = self._library_of(reference)
        if library is None:
            return ""
        return f" {at_form(library, self.asked.at or '')}"

    def _library_of(self, reference: Reference) -> Library | None:
        """Return the library whose symbol a name means, or None when it means something else."""
        *qualifiers, name = reference.parts
        if is_session_table(reference.parts, self.target.session.tables()):
            return None
        if isinstance(self.target, Library):
            library = self.target
            if [part.casefold() for part in qualifiers] not in ([], [library.name.casefold()]):
                return None
        elif len(qualifiers) == 1 and self.target.has_library(qualifiers[0]):
            library = self.target.get_library(qualifiers[0])
        else:
            return None
        return library if library.overview().is_symbol(name) else None

    def fetch(self, *, all_rows: bool) -> pa.Table:
        """Return the rows of the result, or only those that are shown; counts rows and nulls of all of them."""
        import pyarrow as pa

        if self._table is not None:
            return self._table
        limit = self.asked.limit
        self.null_counts = [0] * len(self.result.columns)
        kept: list[pa.RecordBatch] = []
        ends: list[pa.RecordBatch] = []
        with self.result, self.result.bar:
            for batch in self.result.batches():
                self.is_limited = limit is not None and self.row_count + batch.num_rows > limit
                rows = batch.slice(0, limit - self.row_count) if limit is not None and self.is_limited else batch
                for position, column in enumerate(rows.columns):
                    self.null_counts[position] += column.null_count
                if all_rows or not kept or self.row_count < self.rows_shown_max:
                    kept.append(rows if all_rows else rows.slice(0, max(0, self.rows_shown_max - self.row_count)))
                self.row_count += rows.num_rows
                ends.append(rows)
                while len(ends) > 1 and sum(end.num_rows for end in ends[1:]) >= self.rows_shown_max:
                    del ends[0]
                if self.is_limited:
                    break
        # Without a single batch there is nothing but the schema, and that is asked of the result.
        self._table = pa.Table.from_batches(kept) if kept else self.result.table()
        self._ends = pa.Table.from_batches(ends) if ends else self._table
        return self._table

    def show_table(self) -> None:
        """Display the rows, and the lines under them."""
        table = self.fetch(all_rows=False)
        if not self.result.has_table:
            self.show_lines()
            return
        lines, code = self._lines(), self._code()
        if self.result.columns == ["explain_key", "explain_value"]:
            plan = "\n".join(str(row["explain_value"]) for row in table.to_pylist())
            page = markup.page(markup.preformatted(plan), markup.code(code), markup.lines(lines))
            display.publish(page, "\n".join([plan, *code, *lines]))
            return
        shown = self._excerpt(table)
        display.publish(as_html(shown, lines, code), "\n".join([*code, as_text(shown, "\n".join(lines))]))

    def _excerpt(self, table: pa.Table) -> Excerpt:
        ends = table if self._ends is None else self._ends
        first, last = shares(self.row_count, self.rows_shown_max)
        starts, last_rows = (
            cells.rows(part, self.result.types) for part in (table.slice(0, first), ends.slice(ends.num_rows - last))
        )
        return Excerpt(self.result.columns, self.result.types, starts, last_rows, self.row_count, self.null_counts)

    def show_plot(self) -> None:
        """Display a picture of all rows. Raises InvalidInput when no column holds numbers."""
        from IPython.display import display as show

        show(Plot.of(as_type("arrow", self.fetch(all_rows=True), self.result)))  # type: ignore[no-untyped-call]

    def show_lines(self) -> None:
        """Display the lines that go under every result, without its rows."""
        lines, code = self._lines(), self._code()
        display.publish(markup.page(markup.code(code), markup.lines(lines)), "\n".join([*code, *lines]))

    def _lines(self) -> list[str]:
        limited = [f"the first {self.row_count:,} rows (--limit)"] if self.is_limited else []
        return [*limited, self.result.figures.footer()]

    def _code(self) -> list[str]:
        """Return the SQL that ran and its parameters, if they were asked for."""
        if not self.asked.show_sql:
            return []
        values = [f"${name} = {cells.cut(repr(value))}" for name, value in self.parameters.items()]
        return [*self.sql.text.strip().splitlines(), *values]


def as_type(name: str, table: pa.Table, result: Result) -> Any:
    """Return rows of ``result`` in the form ``name``: pandas, polars or arrow."""
    from duckvstore.sql.results import conversion

    if name == "arrow":
        return conversion.to_arrow(table, result.types)
    if name == "polars":
        return conversion.to_polars(table, result.types)
    if name == "pandas":
        return conversion.to_pandas(table, result.columns, result.types)
    raise AssertionError(f"no form is called {name!r}")  # unreachable: request.TYPES


def parameters(sql: str, given: dict[str, Any], scope: dict[str, Any]) -> dict[str, Any]:
    """Return a value for each ``$name`` of ``sql``: of ``given``, else the variable of that name.

    Those of PREPARE get theirs from EXECUTE. Raises SqlError with a caret under a name that is neither.
    """
    tokens, _ = scan(sql)
    found = dict(given)
    is_first, is_prepared = True, False
    for token in tokens:
        is_prepared = token.upper == "PREPARE" if is_first else is_prepared
        is_first = token.upper == ";"
        name = token.text[1:]
        if is_prepared or token.kind != "parameter" or token.text[0] != "$" or name in found or not name.isidentifier():
            continue
        if name not in scope:
            known = [other for other, value in scope.items() if not other.startswith("_") and not callable(value)]
            raise SqlError(
                f"the notebook has no variable {name!r} to put in for ${name}.{nearest(name, known)} Assign "
                f"it, or give -p {name}=…",
                sql,
                token.start,
            )
        found[name] = _plain(scope[name])
    return found


def _plain(value: Any) -> Any:
    """Return a numpy number as Python's, which every release of DuckDB binds."""
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0 and value.dtype.kind in "biufU":
        return value.item()
    return value


def at_form(library: Library, text: str) -> str:
    """Return the AT form for ``text``: a version number, a snapshot of ``library``, or else a time.

    Raises NoSuchSnapshot for anything else.
    """
    if _INTEGER.fullmatch(text):
        return f"AT (VERSION => {int(text)})"
    try:
        library.overview().snapshot(text)
    except NoSuchSnapshot as error:
        try:
            datetime.fromisoformat(text)
        except ValueError:
            raise NoSuchSnapshot(f"--at {text!r} is no version number and no time, and {error}") from error
        return f"AT (TIMESTAMP => {literal(text)})"
    return f"AT (SNAPSHOT => {literal(text)})"
