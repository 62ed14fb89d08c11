"""Session: runs DuckDB SQL with time travel for one handle of a library or a store.

Invariant: a statement that names no symbol, catalogue table or dataframe reaches DuckDB as the user wrote it, and
every error that leaves here is one of ``duckvstore.errors`` (or KeyboardInterrupt). SHOW TABLES names them all.
"""

from __future__ import annotations

import re
import weakref
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from duckvstore import clock
from duckvstore.engine import catalogue
from duckvstore.errors import DuckVStoreError, SqlError, nearest
from duckvstore.sql import dialect, failures, frames, rewrite
from duckvstore.sql.connection import Connection
from duckvstore.sql.figures import Figures
from duckvstore.sql.files import SegmentFiles
from duckvstore.sql.names import Names, Symbol, matching
from duckvstore.sql.plan import Plan, Planner
from duckvstore.sql.result import Result
from duckvstore.sql.running import Running
from duckvstore.sql.values import Values, as_of, check_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from duckvstore.engine.library import OpenLibrary
    from duckvstore.sql.connection import Seat
    from duckvstore.sql.dialect import Statement
    from duckvstore.sql.failures import Failure
    from duckvstore.sql.names import Meaning

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Kinds of statements that leave nothing behind in DuckDB that a later name could mean.
_READING_KINDS = frozenset(("query", "explain", "describe", "summarize", "copy"))
_REMOTE = re.compile(r"(?:s3|s3a|s3n|gcs|gs|r2|https?)://", re.IGNORECASE)
# First words of statements that make nothing which a later statement could read files through.
_HARMLESS_WORDS = frozenset(
    {
        *("SET", "RESET", "PRAGMA", "CALL", "BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "LOAD", "INSTALL"),
        *("PREPARE", "DEALLOCATE", "CHECKPOINT", "SHOW"),
    }
)
_SESSION_TABLES = """
    SELECT lower(database_name), lower(schema_name), lower(name), database_name = current_database()
    FROM (
        SELECT database_name, schema_name, table_name AS name FROM duckdb_tables()
        UNION ALL
        SELECT database_name, schema_name, view_name FROM duckdb_views() WHERE NOT internal
    )"""

_SHOW_TABLES = re.compile(r"\s*SHOW\s+TABLES\s*", re.IGNORECASE)
_OWN_TABLES = """
    SELECT name FROM (
        SELECT table_name AS name, database_name, schema_name, temporary FROM duckdb_tables()
        UNION ALL
        SELECT view_name, database_name, schema_name, temporary FROM duckdb_views() WHERE NOT internal
    )
    WHERE (temporary OR (database_name = current_database() AND schema_name = current_schema()))
    AND NOT starts_with(name, '__vstore')"""


class Session:
    """SQL over libraries. Safe to use from many threads; temporary tables belong to the thread that made them."""

    def __init__(
        self,
        libraries: Mapping[str, OpenLibrary],
        default: OpenLibrary | None,
        *,
        read_only: bool = False,
        sandbox: bool = False,
        author: str | None = None,
    ) -> None:
        """Look names up in ``default``, or with None by ``library.symbol`` in ``libraries``. Makes no request.

        ``read_only``: refuse what would change symbols. ``sandbox``: allow nothing but the libraries' own segments.
        ``author``: of the versions that statements make.
        """
        self._libraries = libraries
        self._default = default
        self.read_only = read_only or sandbox
        self.sandbox = sandbox
        self.author = author
        self._connection = Connection()
        self._files = SegmentFiles()
        self._planner = Planner(self._connection, self._files)
        self._has_objects = False
        self._has_foreign = False

    def sql(
        self,
        text: str,
        parameters: Mapping[str, Any] | Sequence[Any] | None = None,
        *,
        scope: Mapping[str, object] | None = None,
    ) -> Result:
        """Run the statements of ``text`` in order and return the result of the last.

        ``parameters``: a dict for ``$name``, a list for ``?`` and ``$1``, in values and in AT forms. ``scope``:
        the caller's variables, among which dataframes are found. Raises SqlError, NotFound, Integrity,
        StorageUnavailable and InvalidInput; rows are pulled on demand, so errors in them may come later.
        """
        check_text(text)
        statements = [self._listing(statement) for statement in dialect.parse(text)]
        values = Values(parameters, statements)
        result = Result(None)
        for statement in statements:
            seat = self._connection.seat()
            with seat.lock:
                result = self._run(seat, statement, values, scope)
            if statement is not statements[-1]:
                result.settle()
        return result

    def _listing(self, statement: Statement) -> Statement:
        """Return ``statement``, and for SHOW TABLES, which DuckDB would answer without symbols, one that lists them."""
        if _SHOW_TABLES.fullmatch(statement.text) is None:
            return statement
        symbols = ["SELECT symbol AS name FROM vstore.symbols"]
        if self._default is None:
            symbols = [
                f"SELECT {rewrite.literal(f'{name}.')} || symbol AS name FROM {rewrite.quote(name)}.vstore.symbols"
                for name in self._libraries
            ]
        return dialect.parse(f"SELECT name FROM ({' UNION '.join([*symbols, _OWN_TABLES])}) ORDER BY name")[0]

    def close(self) -> None:
        """Close DuckDB and remove cached files; results that were not pulled to their end are lost."""
        self._connection.close()
        self._files.close()

    def _run(self, seat: Seat, statement: Statement, values: Values, scope: Mapping[str, object] | None) -> Result:
        import duckdb

        watch = clock.Stopwatch()
        figures = Figures()
        seat.clean()
        reads = statement.kind in _READING_KINDS and statement.tree is not None
        if reads:
            seat.open_for(None)
        else:
            seat.settle_all()
        try:
            plan = self._plan(seat, statement, values, scope, figures)
        except duckdb.Error as error:
            raise failures.to_error(failures.take_apart(error), statement.source, None, lambda _: "") from error
        if not reads:
            self._note_objects(statement)
        if _REMOTE.search(statement.text):
            self._connection.try_httpfs()
        running = Running(seat, plan, values, self.note)
        rows = running.start()
        figures.seconds += watch.elapsed_seconds()
        result = Result(rows, figures, kind=statement.kind)
        if rows is not None:
            running.result = weakref.ref(result)
            seat.lend(result)
            seat.owe(result, running.release)
        return result

    def _plan(
        self,
        seat: Seat,
        statement: Statement,
        values: Values,
        scope: Mapping[str, object] | None,
        figures: Figures,
    ) -> Plan:
        """Resolve the names of ``statement`` and plan what DuckDB has to run."""
        names = Names(
            statement,
            self._libraries,
            self._default,
            lambda: self._session_tables(seat),
            lambda at: as_of(at, statement, values, self._time),
            scope,
        )
        meanings = names.resolve()
        refuse_writes(statement, meanings)
        plan = self._planner.plan(statement, meanings, values, figures, seat.cursor)
        self._add_unread_frames(plan, scope)
        plan.only_segments = plan.only_segments and not self._has_foreign
        return plan

    def _note_objects(self, statement: Statement) -> None:
        """Remember that DuckDB may hold tables now, or views and macros, which may read any file."""
        first = statement.text.split(None, 1)[0].upper().rstrip("(;")
        if statement.kind == "other" and first in _HARMLESS_WORDS:
            return
        self._has_objects = True
        if statement.kind not in ("create_table", "insert", "update", "delete", "drop"):
            self._has_foreign = True

    def _session_tables(self, seat: Seat) -> set[tuple[str, str, str]]:
        """Return (database, schema, name) of the tables and views of the user's own, in lower case."""
        if not self._has_objects:
            return set()
        found: set[tuple[str, str, str]] = set()
        for database, schema, name, is_current in seat.cursor.execute(_SESSION_TABLES).fetchall():
            found.add((database, schema, name))
            if is_current:
                found.add(("memory", schema, name))
        return found

    def _time(self, expression: str) -> datetime:
        """Return what a constant SQL expression says, as a time in UTC. Raises SqlError."""
        import duckdb

        cursor = self._connection.side_cursor()
        try:
            cursor.execute("SET TimeZone = 'UTC'")
            row = cursor.execute(f"SELECT epoch_us(CAST(({expression}\n) AS TIMESTAMPTZ))").fetchone()
        except duckdb.Error as error:
            raise SqlError(failures.take_apart(error).message) from error
        finally:
            cursor.close()
        if row is None or row[0] is None:
            raise SqlError(f"{expression} is NULL")
        return _EPOCH + timedelta(microseconds=row[0])

    def _add_unread_frames(self, plan: Plan, scope: Mapping[str, object] | None) -> None:
        """Register dataframes under their own names for a statement that only DuckDB can read."""
        for name in plan.statement.maybe_names:
            value = frames.find(scope, name)
            if value is not None:
                plan.registered[name] = frames.to_registrable(value, uses=2)

    def note(self, statement: Statement, failure: Failure) -> str:
        """Return a sentence that helps with a missing table: the nearest names, or why a known name failed."""
        if failure.missing is None or failure.missing[0] not in ("Table", "View", "Schema"):
            return ""
        missing = failure.missing[1]
        symbols, snapshots = self._known_names()
        for name in statement.maybe_names:
            if matching(name, symbols):
                reason = statement.problem or "write a query of its own"
                return f"\n{name} is a symbol, but this kind of statement cannot use one: {reason}"
        schema, _, _ = missing.rpartition(".")
        namesakes = [name for name in symbols if name.rpartition(".")[2].casefold() == missing.casefold()]
        if self._default is None and namesakes:
            return f" Names in the store: {' or '.join(map(repr, namesakes[:3]))}."
        found = nearest(schema, snapshots) if schema and self._default is not None else nearest(missing, symbols)
        threads = self._connection.thread_count
        hint = " Temporary tables belong to the thread that made them." if threads > 1 and self._has_objects else ""
        return f"{found.replace('Did you mean', 'Names in the store:').replace('?', '.')}{hint}"

    def _known_names(self) -> tuple[list[str], list[str]]:
        """Return what a table could be called, and what a schema could be, as far as that can be learned."""
        try:
            if self._default is not None:
                return catalogue.symbol_names(self._default), catalogue.snapshot_names(self._default)
            names = list(self._libraries)
            return [
                f"{name}.{symbol}" for name in names for symbol in catalogue.symbol_names(self._libraries[name])
            ], []
        except DuckVStoreError:
            return [], []  # this only words a better error


def refuse_writes(statement: Statement, meanings: Mapping[int, Meaning]) -> None:
    """Raise SqlError for what would change symbols, or would outlive the names that it was resolved with."""
    outlives = statement.kind in ("create_view", "create_macro")
    is_temporary = statement.tree is not None and statement.tree.find(exp.TemporaryProperty) is not None
    for position, reference in enumerate(statement.references):
        meaning = meanings[position]
        if reference.role == "read":
            if outlives and meaning is not None:
                noun = "a symbol" if isinstance(meaning, Symbol) else "a dataframe or a catalogue table"
                raise statement.error(
                    f"a view or macro cannot refer to {noun} yet: use CREATE TEMP TABLE … AS SELECT …", reference.start
                )
        elif isinstance(meaning, Symbol) and not (statement.kind.startswith("create") and is_temporary):
            raise statement.error(
                f"{'.'.join(reference.parts)} is a symbol, and SQL cannot change symbols yet: use write() of the "
                "library",
                reference.start,
            )
        elif statement.kind == "create_table" and len(reference.parts) == 1 and not is_temporary:
            raise statement.error(
                "CREATE TABLE is kept for making symbols, which SQL cannot do yet: use write() of the library, or "
                "CREATE TEMP TABLE for a table of this session",
                reference.start,
            )
