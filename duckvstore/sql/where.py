"""``read(where=…)``: rows of a version by a SQL predicate, in the types that were stored.

What comes back has the stored types exactly. Rows pass through DuckDB where it keeps every value of their types
(``planning.scanned_rows``); of all others it only says which are wanted.
"""

from __future__ import annotations

import re
from contextlib import closing, suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from duckvstore.engine.reading import segments
from duckvstore.engine.reading.reads import Rows, positions
from duckvstore.errors import DuckVStoreError, InvalidInput, NoSuchColumn, SqlError, caret, nearest
from duckvstore.format.codecs import tables
from duckvstore.format.codecs.arrow_values import plain_table
from duckvstore.sql.driver import duckdb_errors
from duckvstore.sql.driver.instance import DuckDBInstance
from duckvstore.sql.driver.interrupts import interruptible, run_interruptibly
from duckvstore.sql.planning import nanoseconds, scanned_rows
from duckvstore.sql.pruning.segment_choice import kept_segments
from duckvstore.sql.syntax import parser, tokens
from duckvstore.sql.syntax.literals import quote
from duckvstore.sql.syntax.source_map import SourceMap, character
from duckvstore.sql.syntax.tokens import unquoted
from duckvstore.sql.values import kinds
from duckvstore.sql.values.parameters import Values, check_text
from duckvstore.sql.values.types import readable

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.format.stored.documents import Version
    from duckvstore.sql.driver.duckdb_errors import Failure
    from duckvstore.sql.syntax.statement import Statement

_ROWS = "__vstore_rows"
_NUMBER = "__vstore_row"
# What DuckDB suggests are internal names, and those columns only that the predicate uses already.
_SUGGESTION = re.compile(r"\s*(Candidate (bindings|tables)|Did you mean|Possible candidates).*", re.DOTALL)
_UNKNOWN_COLUMN = re.compile(r'Referenced column "(?P<name>.*)" (was )?not found', re.DOTALL)
_ADVICE = "give only what stands behind WHERE, such as price > 10 AND sym = 'a'"
_UNREADABLE = "it cannot be read ({}): check it, or use sql()"
_NO_STAR = "name each column: * and COLUMNS are not taken here"
_SELECT_PARTS = frozenset(("expressions", "from_", "where", "kind"))
_instance = DuckDBInstance()  # of all calls: to open and close one takes longer than many a predicate


def read_where(library: OpenLibrary, version: Version, columns: Sequence[str] | None, where: str) -> Rows:
    """Read the rows of ``columns`` (stored names; None: all) for which the predicate ``where`` is true.

    Segments whose statistics prove that they have none are not read. Raises NoSuchColumn and SqlError, whose
    caret points into ``where``.
    """
    predicate = _Predicate(version, where)
    wanted = list(version.schema.names) if columns is None else list(columns)
    with closing(_instance.cursor()) as connection:
        kept = predicate.kept_segments(connection)
        if predicate.may_be_scanned(wanted):
            scan = scanned_rows.Scan(library, version, kept, wanted, predicate.columns)
            found = scan.rows(connection, predicate.query, number=predicate.number, whole=columns is None)
            if found is not None:
                return found
    return _decoded(library, version, kept, wanted, predicate)


def _decoded(
    library: OpenLibrary, version: Version, kept: Sequence[int], wanted: Sequence[str], predicate: _Predicate
) -> Rows:
    """Return the rows that match, of the segments ``kept``, of which DuckDB sees the columns of the predicate alone."""
    import duckdb
    import numpy as np
    import pyarrow as pa

    used = predicate.columns
    # Rows without columns have no segments.
    row_numbers = positions(version, kept) if version.segments else np.arange(version.row_count)
    with duckdb.connect(":memory:") as own:
        connection = interruptible(own)

        def matching(rows: pa.Table) -> np.ndarray:
            predicate.refuse_digits(rows)
            found: np.ndarray = predicate.matching(connection, plain_table(rows), len(row_numbers))
            return found

        if used and wanted:
            table, mask = segments.read_matching(library, version, wanted, segments=kept, used=used, matching=matching)
            return Rows(table, row_numbers[mask])
        table = segments.read_table(library, version, columns=wanted or used, segments=kept)
        mask = matching(table.select(used))
    rows = table.select(wanted)
    return Rows(rows.filter(pa.array(mask)) if wanted else rows, row_numbers[mask])


class _Predicate:
    """A predicate over the columns of ``version``, as the user wrote it."""

    def __init__(self, version: Version, where: str) -> None:
        """Check all that can be checked without any row; raises InvalidInput and SqlError."""
        if not isinstance(where, str):
            raise InvalidInput(f"where={where!r} is no text: give a SQL predicate such as 'price > 10'")
        check_text(where)
        self.version = version
        self.where = where
        self._tokens, _ = tokens.scan(where)
        names = {name.casefold() for name in self._names()}
        #: the stored columns that the predicate may use
        self.columns = [name for name in version.schema.shown_names if name.casefold() in names]
        self._check_case()
        self._names_rows = version.symbol.casefold() in names
        self._alias = quote(version.symbol if "\0" not in version.symbol else _ROWS)
        #: a name that no column has
        self.number = _NUMBER
        while self.number in names or any(self.number == name.casefold() for name in version.schema.names):
            self.number += "_"
        self._statement = self._parsed()
        finest = [name for name in nanoseconds.columns(version) if name in self.columns]
        self._cut = nanoseconds.uses(self._statement, finest)

    def _names(self) -> list[str]:
        """Return every word that could be the name of a column, whatever it is, in the order of the text."""
        return [unquoted(token) for token in self._tokens if token.kind in ("word", "quoted")]

    def _check_case(self) -> None:
        """Raise SqlError for a label that SQL takes for another column, because only the case of letters differs."""
        shown = {name.casefold(): name for name in self.columns}
        places = (token.start for token in self._tokens if token.kind in ("word", "quoted"))
        for name, place in zip(self._names(), places, strict=True):
            taken = shown.get(name.casefold(), name)
            if taken == name:
                continue
            with suppress(NoSuchColumn):
                meant = tables.stored_columns(self.version.schema, [name])
                if taken not in meant:
                    raise SqlError(
                        f"where names {name!r}, which is another column than {taken!r}, but SQL does not tell capitals "
                        f"from small letters: write {quote(meant[0])}, as SQL calls it",
                        self.where,
                        place,
                    )

    def _error(self, message: str, place: int = 0) -> SqlError:
        return SqlError(f"where is no SQL predicate: {message}", self.where, place)

    def _check_tokens(self) -> None:
        """Raise SqlError for words that no predicate has."""
        if not self._tokens:
            raise self._error("it is empty: give one such as price > 10, or leave it out")
        for token, following in zip(self._tokens, [*self._tokens[1:], None], strict=True):
            if token.kind == "parameter":
                raise self._error("read() has no parameters: write the value itself, or use sql()", token.start)
            if token.upper == ";":
                raise self._error("it ends at this ;: leave the rest out", token.start)
            if token.upper == "#" and following is not None and following.kind == "number":
                raise self._error("columns have names here, not numbers", token.start)

    def _parsed(self) -> Statement:
        """Return the query that asks for the rows, as the parser reads it; its text never leaves this class."""
        self._check_tokens()
        sql = f"SELECT 1 FROM {self._alias} WHERE (" + SourceMap(self.where) + "\n)"
        try:
            statements = parser.parse(sql.text)
        except SqlError as error:
            raise self._error(error.args[0].partition("\n")[0], sql.origin(error.offset or 0)) from error
        statement = statements[0]
        tree: Any = statement.tree
        if tree is None and statement.problem is not None:
            raise self._error(_UNREADABLE.format(statement.problem))
        is_plain = isinstance(tree, exp.Select) and {key for key, value in tree.args.items() if value} <= _SELECT_PARTS
        if len(statements) != 1 or not is_plain:
            raise self._error(_ADVICE)
        if statement.is_outline:
            self._check_outlined(statement.problem)
        if len(list(tree.find_all(exp.Table))) != 1:
            raise self._error("it can use columns of its own symbol only: use sql() for subqueries over tables")
        if tree.find(exp.Star, exp.Columns) is not None:
            raise self._error(_NO_STAR)
        return statement

    def _check_outlined(self, problem: str | None) -> None:
        """Raise SqlError for what the tree would show if it were not that of an outline."""
        depth = 0
        for token, following in pairwise([*self._tokens, self._tokens[-1]]):
            depth += {"(": 1, ")": -1}.get(token.upper, 0)
            if depth < 0:
                raise self._error(_UNREADABLE.format(problem), token.start)
            if token.upper == "COLUMNS" and following.text == "(":
                raise self._error(_NO_STAR, token.start)

    def may_be_scanned(self, wanted: Sequence[str]) -> bool:
        """Return whether DuckDB may scan files for the rows of the columns ``wanted``: they come back exactly.

        The rows as a whole, which a predicate may name too, have other columns there.
        """
        is_scan = bool(self.columns and wanted and self.version.segments) and not self._names_rows
        return is_scan and scanned_rows.takes(self.version, {*wanted, *self.columns})

    def query(self, selected: str, relation: str) -> SourceMap:
        """Return the query for what is ``selected`` of the rows that match."""
        return f"SELECT {selected} FROM {relation} AS {self._alias} WHERE (" + SourceMap(self.where) + "\n)"

    def refuse_digits(self, rows: pa.Table) -> None:
        """Raise SqlError where the predicate may depend on digits of ``rows`` that DuckDB does not read."""
        found = self._cut.refused(lambda name, is_below: nanoseconds.have_digits(rows.column(name), is_below=is_below))
        if found:
            raise self._error(nanoseconds.problem(found[0]))

    def kept_segments(self, connection: Any) -> list[int]:
        """Return the positions of the segments that may hold wanted rows."""
        if self._cut:  # their bounds are cut as well
            return list(range(len(self.version.segments)))
        values = Values(None, [self._statement])
        return kept_segments(self._statement, 0, self.version, values, connection, has_macros=False)

    def matching(self, connection: Any, used: pa.Table, row_count: int) -> Any:
        """Return for each row whether the predicate is true for it, as a numpy array.

        ``used``: the rows of ``columns``.
        """
        import duckdb
        import numpy as np
        import pyarrow as pa

        rows = pa.table({self.number: np.arange(row_count)})
        for name, column in zip(used.column_names, used.columns, strict=True):
            rows = rows.append_column(name, readable(name, column))
        named = (column for column in self.version.schema.columns if column.name in used.column_names)
        own = {column.name: kinds.of_column(column) for column in named}
        sql = self.query(self.number, kinds.shown(_ROWS, own))
        try:
            connection.execute("SET python_enable_replacements = false")
            connection.execute("SET errors_as_json = true")
            # Filters that DuckDB hands to Arrow see NaN as no number above all, and fail for some types.
            connection.execute("SET disabled_optimizers = 'filter_pushdown'")
            connection.register(_ROWS, rows)
            found = run_interruptibly(connection, lambda: connection.execute(sql.text).fetchnumpy())
        except duckdb.Error as error:
            failure = duckdb_errors.take_apart(error, sql.text)
            if self._statement.problem is not None and failure.kind in ("Parser", "Syntax"):
                raise self._error(_UNREADABLE.format(self._statement.problem)) from error
            raise self._translated(failure, sql) from error
        mask = np.zeros(row_count, bool)
        mask[found[self.number]] = True
        return mask

    def _translated(self, failure: Failure, sql: SourceMap) -> DuckVStoreError:
        place = None if failure.position is None else character(sql.text, failure.position)
        offset = sql.origin(place) if place is not None and sql.is_copied(place) else None
        message = _SUGGESTION.sub("", failure.message)
        unknown = _UNKNOWN_COLUMN.match(message)
        if unknown is not None:
            name, names = unknown["name"], self.version.schema.shown_names
            return NoSuchColumn(
                f"version {self.version.number} of {self.version.symbol!r} has no column {name!r}."
                f"{nearest(name, names)} It has {', '.join(names[:10])}{' …' if len(names) > 10 else ''}"
                f"{'' if offset is None else caret(self.where, offset)}"
            )
        cut = duckdb_errors.Failure(failure.kind, message, failure.position, failure.missing)
        return duckdb_errors.to_error(cut, self.where, offset, lambda _: "")
