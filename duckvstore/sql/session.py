"""Session: runs DuckDB SQL with time travel for one handle of a library or a store.

Invariant: a statement that names no symbol, catalogue table or dataframe reaches DuckDB as the user wrote it, and
every error that leaves here is one of ``duckvstore.errors`` (or KeyboardInterrupt). SHOW TABLES names them all.
"""

from __future__ import annotations

import functools
import itertools
import re
import weakref
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from duckvstore import clock, forks
from duckvstore.engine.reading import catalogue, cuts
from duckvstore.errors import Conflict, DuckVStoreError, NoSuchSymbol, SqlError
from duckvstore.sql.binding import analyze, dataframes, hints
from duckvstore.sql.binding.names import Names, matching, nothing_pinned
from duckvstore.sql.driver import duckdb_errors
from duckvstore.sql.driver.instance import DuckDBInstance
from duckvstore.sql.driver.interrupts import unwrapped
from duckvstore.sql.execution import sandbox
from duckvstore.sql.execution.running import Running
from duckvstore.sql.execution.thread_cursor import ThreadCursors
from duckvstore.sql.execution.transaction import Begun
from duckvstore.sql.planning import rewrite
from duckvstore.sql.planning.planner import Plan, Planner
from duckvstore.sql.planning.segment_copies import SegmentFiles
from duckvstore.sql.results.figures import Figures, ScannedTable
from duckvstore.sql.results.result import Result
from duckvstore.sql.syntax import commands, parser
from duckvstore.sql.values.parameters import Values, as_of, check_text
from duckvstore.sql.views import information_schema, prepared
from duckvstore.sql.views.definitions import Definitions, as_created
from duckvstore.sql.views.instances import CHECK, Uses
from duckvstore.sql.writing import match_query, restore, table_edits
from duckvstore.sql.writing.alter_table import Altering
from duckvstore.sql.writing.explain import Explaining
from duckvstore.sql.writing.table_edits import Making, TableWriting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeAlias

    import duckdb

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.engine.reading.catalogue import AsOf, Pinned
    from duckvstore.format.stored.documents import Version
    from duckvstore.format.stored.segments import Segment
    from duckvstore.sql.binding.names import Wanted
    from duckvstore.sql.driver.duckdb_errors import Failure
    from duckvstore.sql.execution.thread_cursor import ThreadCursor
    from duckvstore.sql.results.result import Rows
    from duckvstore.sql.syntax.commands import Command
    from duckvstore.sql.syntax.parser import Statement
    from duckvstore.sql.views.definitions import Definition
    from duckvstore.sql.views.instances import Item

    Tables: TypeAlias = Callable[[], set[tuple[str, str, str]]]
    Resolver: TypeAlias = Callable[[OpenLibrary, Sequence[tuple[str, AsOf]]], list[Version | DuckVStoreError | None]]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# What httpfs is for: addresses, its settings, and its kinds of secrets.
_REMOTE = re.compile(
    r"""(?:s3|s3a|s3n|gcs|gs|r2|hf|https?)://
    | \b(?:\w+_)?(?:s3|http|https|httpfs|hf)_\w
    | \b(?:ca_cert_file|force_download\w*|auto_fallback_to_full_download|unsafe_disable_etag_checks)\b
    | \benable_(?:curl_)?server_cert_verification\b
    | \bTYPE\s+'?(?:s3|gcs|r2|aws|huggingface)\b""",
    re.IGNORECASE | re.VERBOSE,
)
_SESSION_TABLES = """
    SELECT lower(database_name), lower(schema_name), lower(name),
        database_name = current_database() AND schema_name = current_schema()
    FROM (
        SELECT database_name, schema_name, table_name AS name FROM system.main.duckdb_tables()
        UNION ALL
        SELECT database_name, schema_name, view_name FROM system.main.duckdb_views() WHERE NOT internal
        UNION ALL
        SELECT database_name, schema_name, '' FROM system.main.duckdb_schemas() WHERE database_name <> 'system'
    )"""

_OWN_TABLES = """
    SELECT name FROM (
        SELECT table_name AS name, database_name, schema_name, temporary FROM system.main.duckdb_tables()
        UNION ALL
        SELECT view_name, database_name, schema_name, temporary FROM system.main.duckdb_views() WHERE NOT internal
    )
    WHERE (temporary OR (database_name = current_database() AND schema_name = current_schema()))
    AND NOT starts_with(name, '__vstore')"""


class Session(forks.OfOneProcess):
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
        self._files = SegmentFiles()
        self._instance = DuckDBInstance(self._lock_down if sandbox else None)
        self._threads = ThreadCursors(self._instance)
        self._planner = Planner(self._instance, self._files)
        self._has_objects = False
        self._has_foreign = False
        self._definitions = Definitions()
        self._list_numbers = itertools.count(1)
        self._begun: weakref.WeakKeyDictionary[ThreadCursor, Begun] = weakref.WeakKeyDictionary()

    def sql(
        self,
        text: str,
        parameters: Mapping[str, Any] | Sequence[Any] | None = None,
        *,
        scope: Mapping[str, object] | None = None,
        message: str | None = None,
    ) -> Result:
        """Run the statements of ``text`` in order and return the result of the last.

        ``parameters``: a dict for ``$name``, a list for ``?`` and ``$1``, in values and in AT forms. ``scope``:
        the caller's variables, among which dataframes are found. ``message``: of the versions that are made (None:
        the statement's text). Raises SqlError, NotFound, Conflict, Integrity, StorageUnavailable and InvalidInput;
        rows are pulled on demand, so errors in them may come later.
        """
        check_text(text)
        return unwrapped(lambda: self._run_all(text, parameters, scope, message))

    def _run_all(
        self,
        text: str,
        parameters: Mapping[str, Any] | Sequence[Any] | None,
        scope: Mapping[str, object] | None,
        message: str | None,
    ) -> Result:
        if self.sandbox:
            text = sandbox.plain(text)
        statements = [self._listing(statement) for statement in parser.parse(text)]
        values = Values(parameters, statements)
        result = Result(None)
        for statement in statements:
            thread = self._threads.current()
            before = result.figures
            with thread.lock:
                result = self._run(thread, *prepared.executed(thread, statement, values), scope, message)
            if result.is_settled or result.figures.changed is not None:
                result.figures.ended()
            result.figures.go_on(before)
            if statement is not statements[-1]:
                result.settle()
        return result

    def _listing(self, statement: Statement) -> Statement:
        """Return ``statement``; for SHOW TABLES and the like, which DuckDB answers without symbols, one with them."""
        text = information_schema.shown(statement, self._tables_query)
        return statement if text is None else parser.parse(text)[0]

    def _tables_query(self) -> str:
        """Return the query for the names of symbols, and of the tables and views of the session."""
        symbols = ["SELECT symbol AS name FROM vstore.symbols"]
        if self._default is None:
            symbols = [
                f"SELECT {rewrite.literal(f'{name}.')} || symbol AS name FROM {rewrite.quote(name)}.vstore.symbols"
                for name in self._libraries
            ]
        views = ", ".join(rewrite.literal(name) for name in self._definitions.names(self._threads.current()))
        own = [_OWN_TABLES, f"SELECT unnest(CAST([{views}] AS VARCHAR[]))"]
        return f"SELECT name FROM ({' UNION '.join([*symbols, *own])}) ORDER BY name"

    def close(self) -> None:
        """Close DuckDB and remove cached files; results that were not pulled to their end are lost."""
        self._planner.choices.close()
        self._instance.close()
        self._files.close()

    def _lock_down(self, instance: duckdb.DuckDBPyConnection) -> None:
        sandbox.lock(instance, self._files.folder())

    def interrupt(self) -> None:
        """Stop the statements that run on any thread; they raise DuckVStoreError there."""
        self._threads.interrupt()

    @property
    def in_transaction(self) -> bool:
        """Whether the calling thread has begun a transaction."""
        return self._threads.current() in self._begun

    def pinned(self, library: OpenLibrary) -> Pinned:
        """Return what the calling thread's transaction sees of the symbols that it has touched; makes no request."""
        return self._pinned(self._threads.current())(library) if self._begun else catalogue.NOTHING_PINNED

    def _run(
        self,
        thread: ThreadCursor,
        statement: Statement,
        values: Values,
        scope: Mapping[str, object] | None,
        message: str | None,
    ) -> Result:
        watch = clock.Stopwatch()
        figures = Figures(in_transaction=thread in self._begun)
        if not statement.effects.changes_session:
            thread.open_for(None)
        else:
            thread.settle_all()
            self._planner.choices.forget(statement)
        scope = None if self.sandbox else scope
        making = Making(self, thread, statement, values, scope, figures, self._begun.get(thread), message)
        started = self._started(making)
        if isinstance(started, Result):
            figures.seconds += watch.elapsed_seconds()
            return started
        running, rows = started
        self._definitions.replaced(thread, statement)
        prepared.settled(thread, statement)
        figures.seconds += watch.elapsed_seconds()
        if running.changed is not None:
            return Result.of_count(running.changed, statement.kind, figures, thread.cursor)
        kind = "explain" if statement.explain else statement.kind
        if rows is None:
            return Result(None, figures, kind=kind)
        result = Result(figures.added_to(rows, kind), figures, kind=kind)
        running.result = weakref.ref(result)
        thread.lend(result)
        thread.owe(result, running.release)
        return result

    def _started(self, making: Making) -> tuple[Running, Rows | None] | Result:
        """Plan and start a statement, again with what DuckDB turns out to look for; or return what it came to."""
        thread, statement = making.thread, making.statement
        while True:
            plan = self._plan_or_end(making)
            if isinstance(plan, Result):
                return plan
            if statement.effects.makes_objects:  # set and never taken back, whatever other threads do
                self._has_objects = True
            if statement.effects.makes_sources:
                self._has_foreign = True
            if _REMOTE.search(statement.text):
                self._instance.try_httpfs()
            running = Running(thread, plan, making.values, self.note)
            try:
                return running, running.start(counts=True)
            except BaseException:
                if making.begun is None:
                    thread.forget_transaction()
                if not self._supply(making, running.missing):
                    raise
            finally:
                if statement.effects.changes_session:
                    self._planner.choices.forget(statement)  # again: others have gone on meanwhile

    def _supply(self, making: Making, missing: str | None) -> bool:
        """Supply the symbol, or view over some, that DuckDB looks for as a table; return whether there is a new one."""
        statement, default = making.statement, self._default
        if missing is None or default is None or self.sandbox or making.begun is not None:
            return False
        if not statement.effects.looks_up_tables:
            return False
        folded = missing.casefold()
        if any(view.name.casefold() == folded for view in making.supplied):
            return False
        if any(len(r.parts) > 1 and r.parts[-1].casefold() == folded for r in statement.references):
            return False  # a table of a database that has none of the name
        view = self._definitions.visible(making.thread).get(("view", folded))
        if view is not None:
            used = self._definitions.used(making.thread, view.statement, self._tables(making.thread))
            making.supplied += [*used, view]
        elif matching(missing, catalogue.symbol_names(default)):
            making.supplied.append(self._definitions.of_symbol(missing))
        else:
            return False
        making.figures.forget_tables()
        return True

    def _plan_or_end(self, making: Making) -> Plan | Result:
        """Plan as ``_plan`` does; a Conflict ends the transaction, as at a COMMIT that comes too late."""
        import duckdb

        try:
            return self._plan(making)
        except (duckdb.Error, RuntimeError) as error:
            raise duckdb_errors.while_planning(error, making.statement.source) from error
        except Conflict:
            if making.thread in self._begun:  # nothing of it can be committed any more
                self._give_up(making.thread)
            raise

    def _plan(self, making: Making) -> Plan | Result:
        """Resolve names and plan what DuckDB has to run; a statement that makes a version is carried out at once."""
        statement = making.statement
        change = commands.read(statement)
        if change is not None and change.kind in ("begin", "commit", "rollback"):
            return self._end_or_begin(making, change)
        if self.sandbox:
            sandbox.check(statement, making.thread.cursor)
        tables = self._tables(making.thread)
        if change is None and (self._prepares(making) or self._settles(making, tables) or self._maintains(making)):
            return Result(None, making.figures)
        names = self._names(making)
        if change is not None:
            return restore.change(making, change, names)
        try:
            meanings = names.resolve()
        except NoSuchSymbol:
            if statement.kind in ("drop", "alter") and statement.is_tolerant:
                return Result(None, making.figures)
            raise
        position = statement.target
        if position in names.targets and (statement.kind == "create_table" or meanings[position] is not None):
            kind = Altering if statement.kind == "alter" else TableWriting
            kind = Explaining if statement.explain == "plan" else kind
            return kind(making, names, position).run()
        draft = self._definitions.drafted(making.thread, statement, names)
        if draft is not None:
            making.refuse_in_reading(is_temporary=draft.is_temporary)
            return self._define(making, names, draft)
        table_edits.refuse(names)
        return self._planned(making, names)

    def _settles(self, making: Making, tables: Tables) -> bool:
        return self._definitions.settle(making.thread, making.statement, tables, making.refuse_in_reading)

    def _maintains(self, making: Making) -> bool:
        """Whether it is ANALYZE or VACUUM of a symbol, which leave nothing to do."""
        named = analyze.named(making.statement)
        return named is not None and analyze.concerns_symbol(named, self._names(making.of(named)).resolve())

    def _define(self, making: Making, names: Names, draft: Definition) -> Result:
        """Keep a view or macro over symbols, once DuckDB has found nothing wrong with it."""
        thread, statement = making.thread, making.statement
        if self._definitions.is_there(thread, statement, draft, self._tables(thread)):
            return Result(None, making.figures)
        plan = self._planned(making, names)
        as_created(plan, statement.header or draft.header, CHECK)
        Running(thread, plan, making.values, self.note).finish()
        self._definitions.register(thread, draft, self._tables(thread))
        if draft.is_temporary:
            self._has_objects = True
        making.figures.done = f"created {draft.label}"
        return Result(None, making.figures)

    def _prepares(self, making: Making) -> bool:
        """Keep what a PREPARE over symbols prepares; False for any other statement."""
        if making.statement.body is None:
            return False
        body = making.of(making.statement.body)
        names = self._names(body)
        return prepared.settle(making, names, lambda: self._planned(body, names))

    def planned(self, making: Making, newest: Version | None, target: Wanted, resolved: Names | None = None) -> Plan:
        """Return the plan of a statement that makes the version above ``newest`` of ``target``.

        What it reads is resolved now, ``target`` itself as ``newest``, unless it is ``resolved`` so already.
        """
        if resolved is not None:
            return self._planned(making, resolved)
        before = self._resolver(making)

        def resolver(
            library: OpenLibrary, wanted: Sequence[tuple[str, AsOf]]
        ) -> list[Version | DuckVStoreError | None]:
            own = (target.name, None) if newest and library.library_id == target.library.library_id else None
            found = iter(before(library, [pair for pair in wanted if pair != own]))
            return [newest if newest is not None and pair == own else next(found) for pair in wanted]

        names = self._names(making, resolver)
        names.resolve()
        return self._planned(making, names)

    def may_vary(self, making: Making, plan: Plan) -> bool:
        """Whether a statement may read other rows when it is evaluated again, by its words or a view's or macro's."""
        items = plan.uses.items if plan.uses is not None else []
        texts = [making.statement.text, *(item.text for item in items)]
        if any(map(match_query.varies, texts)):
            return True
        return self._has_objects and self._definitions.names_others(making.thread, texts)

    def scanned(
        self, plan: Plan, library: OpenLibrary, version: Version, segments: Sequence[Segment], file: str
    ) -> str:
        """Return the relation with the rows of ``segments`` and a column ``file``; ``plan`` holds what it needs."""
        return rewrite.scan(version, self._planner.uris(plan, library, tuple(segments)), file=file)

    def _names(self, making: Making, resolver: Resolver | None = None) -> Names:
        """Return the names of a statement, together with those in the texts of the views and macros that it uses."""
        tables = self._tables(making.thread)
        names = self._names_of(making, resolver, tables)
        for definition in [*self._definitions.used(making.thread, making.statement, tables), *making.supplied]:
            names.companions.append(self._names_of(making, resolver, tables, definition))
        return names

    def _names_of(
        self, making: Making, resolver: Resolver | None, tables: Tables, origin: Definition | None = None
    ) -> Names:
        statement, values, scope = making.statement, making.values, making.scope
        if origin is not None:
            statement, values, scope = origin.statement, Values.unchecked(None), origin.scope
        return Names(
            statement,
            self._libraries,
            self._default,
            self._definitions.tables(making.thread, statement, tables, origin),
            lambda at: as_of(at, statement, values, self._time),
            scope,
            resolver or self._resolver(making),
            self._pinned(making.thread),
            value_of=values.known,
            is_elsewhere=lambda: self._is_elsewhere(making.thread),
            origin=origin,
        )

    def _resolver(self, making: Making) -> Resolver:
        return making.begun.find if making.begun is not None else cuts.find_cut

    def _pinned(self, thread: ThreadCursor) -> Callable[[OpenLibrary], Pinned]:
        begun = self._begun.get(thread)
        return begun.pinned if begun is not None else nothing_pinned

    def _planned(self, making: Making, names: Names) -> Plan:
        thread, tables = making.thread, self._tables(making.thread)
        plan = self._planner.plan(making.statement, names.meanings, making.values, making.figures, thread.cursor)
        try:
            self._definitions.spell(plan, thread, tables)
            items = self._definitions.planned(
                names.companions, self._planner, making.figures, thread, tables, stores=plan.stores
            )
            texts = [making.statement.text, *(companion.statement.text for companion in names.companions)]
            if any(map(information_schema.asks_for_lists, texts)):
                items = self._listed(making, plan, " ".join(texts), items)
            plan.use(Uses(self._definitions.placed, thread, items))
            plan.look_at_joins()
            if self.sandbox:
                sandbox.check_types(making.statement, plan.sql.text, thread.cursor)
        except BaseException:
            plan.release_files()
            raise
        self._add_unread_frames(plan, making.scope)
        plan.only_segments = plan.only_segments and not self._has_foreign
        return plan

    def _listed(self, making: Making, plan: Plan, texts: str, used: list[Item]) -> list[Item]:
        """Return ``used`` with what makes DuckDB's lists name symbols, and every view and macro that can be made."""
        thread, tables = making.thread, self._tables(making.thread)
        libraries = self._libraries if self._default is None else {self._default.name: self._default}
        visible = self._definitions.visible(thread)
        views = {key[1]: definition.statement.text for key, definition in visible.items() if key[0] == "view"}
        number = next(self._list_numbers)
        items, registered = information_schema.items(texts, libraries, number, views, self._pinned(thread))
        plan.registered |= registered
        items += used
        # An error of DuckDB would abort the transaction, if there is one.
        others = self._definitions.ordered(thread, tables) if making.begun is None else []
        for definition in others:
            if any(item.key == definition.key for item in used):
                continue
            with suppress(DuckVStoreError):  # its symbols are gone, say
                names = self._names_of(making, None, tables, definition)
                names.resolve()
                items += self._definitions.planned([names], self._planner, Figures(), thread, tables, is_optional=True)
        return items

    def _end_or_begin(self, making: Making, change: Command) -> Result:
        """BEGIN, COMMIT or ROLLBACK, here and in DuckDB, whose own tables take part."""
        thread, begun, kind = making.thread, making.begun, change.kind
        making.figures.in_transaction = kind == "begin"
        if kind == "begin":
            if begun is not None:
                raise making.statement.error("a transaction is open already: COMMIT or ROLLBACK it first", 0)
            thread.cursor.execute("BEGIN TRANSACTION READ ONLY" if change.is_read_only else "BEGIN")
            self._begun[thread] = Begun(self.author, is_read_only=change.is_read_only)
            self._definitions.begin(thread)
        elif begun is None:
            raise making.statement.error("there is no transaction: BEGIN one first", 0)
        elif kind == "rollback":
            self._give_up(thread)
        else:
            try:
                thread.cursor.execute("SELECT 1")  # raises where an error has aborted it
                library, made = begun.commit()
                thread.cursor.execute("COMMIT")
            except BaseException:
                self._give_up(thread)
                raise
            del self._begun[thread]
            self._definitions.commit(thread)
            if library is not None:
                making.figures.made += [ScannedTable(library.name, v.symbol, v.number, v.created_at) for v in made]
        return Result(None, making.figures)

    def _give_up(self, thread: ThreadCursor) -> None:
        self._begun.pop(thread).rollback()
        with suppress(Exception):  # DuckDB may have rolled it back itself
            thread.cursor.execute("ROLLBACK")
        self._definitions.roll_back(thread)

    def tables(self) -> set[tuple[str, str, str]]:
        """Return (database, schema, name), in lower case, of the tables and views that the calling thread has made."""
        thread = self._threads.current()
        with thread.lock:
            thread.open_for(None)
            places = {found.place for found in self._definitions.visible(thread).values() if found.noun == "view"}
            return self._session_tables(thread) | places

    def _tables(self, thread: ThreadCursor) -> Tables:
        """Return a function for the tables of the session, which asks DuckDB once."""
        return functools.cache(lambda: self._session_tables(thread))

    def _session_tables(self, thread: ThreadCursor) -> set[tuple[str, str, str]]:
        """Return (database, schema, name) of the tables and views of the user's own, in lower case.

        Each schema is there under no name too, since it may be empty.
        """
        if not self._has_objects:
            return set()
        found: set[tuple[str, str, str]] = set()
        for database, schema, name, is_current in thread.cursor.execute(_SESSION_TABLES).fetchall():
            if database == "temp" and self._definitions.placed.is_ours(thread, name):
                continue
            found.add((database, schema, name))
            if is_current:
                found.add(("memory", "main", name))
        return found

    def _is_elsewhere(self, thread: ThreadCursor) -> bool:
        """Whether USE has named a database or schema, where tables without one are made."""
        if not self._has_objects:
            return False
        places = thread.cursor.execute("SELECT current_database(), current_schema()").fetchall()
        return places != [("memory", "main")]

    def _time(self, expression: str) -> datetime:
        """Return what a constant SQL expression says, as a time in UTC. Raises SqlError."""
        import duckdb

        cursor = self._instance.cursor()
        try:
            if not self.sandbox:  # which is in UTC anyway
                cursor.execute("SET TimeZone = 'UTC'")
            row = cursor.execute(f"SELECT epoch_us(CAST(({expression}\n) AS TIMESTAMPTZ))").fetchone()
        except duckdb.Error as error:
            raise SqlError(duckdb_errors.take_apart(error).message) from error
        finally:
            cursor.close()
        if row is None or row[0] is None:
            raise SqlError(f"{expression} is NULL")
        return _EPOCH + timedelta(microseconds=row[0])

    def _add_unread_frames(self, plan: Plan, scope: Mapping[str, object] | None) -> None:
        """Register dataframes under their own names for a statement that only DuckDB can read."""
        for name in plan.statement.maybe_names:
            value = dataframes.find(scope, name)
            if value is not None:
                plan.registered[name] = dataframes.to_registrable(value, uses=2)

    def note(self, statement: Statement, failure: Failure) -> str:
        """Return a sentence that helps with a missing table: the nearest names, or why a known name failed."""
        thread = self._threads.current()
        views, pinned = self._definitions.names(thread), self._pinned(thread)
        found = hints.of_names(statement, failure, self._libraries, self._default, views, pinned)
        is_missing = failure.missing is not None and not found.startswith("\n")
        is_of_threads = is_missing and len(self._threads) > 1 and self._has_objects
        return f"{found} Temporary tables belong to the thread that made them." if is_of_threads else found
