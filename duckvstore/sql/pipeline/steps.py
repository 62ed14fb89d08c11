"""The steps that handlers take with a statement: bind its names, plan what DuckDB runs, execute that.

A statement that names no symbol, catalogue table or dataframe reaches DuckDB as the user wrote it.
"""

from __future__ import annotations

import itertools
import re
import weakref
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from duckvstore.engine.reading import cuts, listings
from duckvstore.errors import DuckVStoreError, SqlError
from duckvstore.sql.binding import dataframes, hints
from duckvstore.sql.binding.meanings import nothing_pinned
from duckvstore.sql.binding.names import Names, labelled
from duckvstore.sql.binding.namespace import Namespace, matching
from duckvstore.sql.driver import duckdb_errors
from duckvstore.sql.execution import sandbox
from duckvstore.sql.execution.running import Running
from duckvstore.sql.execution.session_objects import SessionObjects
from duckvstore.sql.planning import rewrite
from duckvstore.sql.results.figures import Figures
from duckvstore.sql.results.result import Result
from duckvstore.sql.values.parameters import Values, as_of
from duckvstore.sql.views import create_drop, information_schema, prepared
from duckvstore.sql.views.definitions import BoundStatement, Definitions
from duckvstore.sql.writing import match_query

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.engine.reading.catalogue import AsOf
    from duckvstore.engine.reading.listings import Pinned
    from duckvstore.format.stored.documents import Version
    from duckvstore.format.stored.segments import Segment
    from duckvstore.sql.binding.meanings import Resolver, SessionTables, SymbolLookup
    from duckvstore.sql.driver.duckdb_errors import Failure
    from duckvstore.sql.driver.instance import DuckDBInstance
    from duckvstore.sql.execution.context import StatementContext
    from duckvstore.sql.execution.thread_cursor import ThreadCursor, ThreadCursors
    from duckvstore.sql.planning.planner import Instance, Plan, Planner
    from duckvstore.sql.syntax.statement import Statement
    from duckvstore.sql.views.definitions import Definition

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


@dataclass(slots=True, eq=False)
class Steps:
    """What a session's statements share on their way. Safe to use from many threads."""

    #: by name, in which names are looked up as ``library.symbol``
    libraries: Mapping[str, OpenLibrary]
    #: the one whose symbols need no library before their name (None: there is none)
    default: OpenLibrary | None
    instance: DuckDBInstance
    threads: ThreadCursors
    planner: Planner
    definitions: Definitions = field(default_factory=Definitions)
    objects: SessionObjects = field(default_factory=SessionObjects)
    _list_numbers: Iterator[int] = field(default_factory=partial(itertools.count, 1))

    # -- bind ----------------------------------------------------------------------------------------------------

    def names(
        self, context: StatementContext, resolver: Resolver | None = None, further: Sequence[Definition] = ()
    ) -> BoundStatement:
        """Return the names of a statement, not resolved, with those of the views and macros that it uses.

        ``resolver``: of symbols (None: as the transaction sees them). ``further``: what else it is known to use.
        """
        thread, statement = context.thread, context.statement
        tables = self.objects.tables(thread)
        definitions = [*self.definitions.used(thread, statement, tables), *further]
        names = self._names_of(context, resolver, tables)
        names.companions = [self._names_of(context, resolver, tables, definition) for definition in definitions]
        return BoundStatement(names, definitions, tables)

    def bind(
        self, context: StatementContext, resolver: Resolver | None = None, further: Sequence[Definition] = ()
    ) -> BoundStatement:
        """Return the names of a statement as ``names`` does, resolved in one cut for each library."""
        bound = self.names(context, resolver, further)
        bound.names.resolve()
        return bound

    def _names_of(
        self,
        context: StatementContext,
        resolver: Resolver | None,
        tables: SessionTables,
        origin: Definition | None = None,
    ) -> Names:
        """Return the names in the statement's text, or in that of ``origin``."""
        statement, values, scope, thread = context.statement, context.values, context.scope, context.thread
        if origin is not None:
            statement, values, scope = origin.statement, Values.unchecked(None), origin.scope
        if resolver is None:
            resolver = context.transaction.find if context.transaction is not None else cuts.find_cut
        namespace = Namespace(
            statement,
            self.libraries,
            self.default,
            self.definitions.tables(thread, statement, tables, origin),
            lambda at: as_of(at, statement, values, self._time),
        )
        return Names(
            namespace,
            scope,
            resolver,
            self.pinned(thread),
            value_of=values.known,
            is_elsewhere=lambda: self.objects.is_elsewhere(thread),
            label=origin.label if origin is not None else "",
        )

    def pinned(self, thread: ThreadCursor) -> Callable[[OpenLibrary], Pinned]:
        """Return a function for what the thread's transaction sees of the symbols of a library that it has touched."""
        return thread.transaction.pinned if thread.transaction is not None else nothing_pinned

    def _time(self, expression: str) -> datetime:
        """Return what a constant SQL expression says, as a time in UTC. Raises SqlError."""
        import duckdb

        cursor = self.instance.cursor()
        try:
            if not self.instance.is_locked:  # which is in UTC anyway
                cursor.execute("SET TimeZone = 'UTC'")
            row = cursor.execute(f"SELECT epoch_us(CAST(({expression}\n) AS TIMESTAMPTZ))").fetchone()
        except duckdb.Error as error:
            raise SqlError(duckdb_errors.take_apart(error).message) from error
        finally:
            cursor.close()
        if row is None or row[0] is None:
            raise SqlError(f"{expression} is NULL")
        return _EPOCH + timedelta(microseconds=row[0])

    # -- plan ----------------------------------------------------------------------------------------------------

    def plan(self, context: StatementContext, bound: BoundStatement) -> Plan:
        """Return what DuckDB runs for a statement, with the views and macros that it needs on the cursor."""
        thread, statement, names = context.thread, context.statement, bound.names
        plan = self.planner.plan(statement, names.meanings, context.values, context.figures, thread.cursor)
        try:
            self.definitions.spell(plan, thread, bound.tables)
            instances = self._instances(bound.used, context.figures, thread, bound.tables, stores=plan.stores)
            texts = [statement.text, *(companion.statement.text for companion in names.companions)]
            if any(map(information_schema.asks_for_lists, texts)):
                instances = self._listed(context, plan, " ".join(texts), instances)
            plan.use(instances)
            plan.look_at_joins()
            if self.instance.is_locked:
                sandbox.check_types(statement, plan.sql.text, thread.cursor)
        except BaseException:
            plan.release_files()
            raise
        for name in statement.maybe_names:  # of a statement that only DuckDB can read
            value = dataframes.find(context.scope, name)
            if value is not None:
                plan.registered[name] = dataframes.to_registrable(value, uses=2)
        plan.only_segments = plan.only_segments and not self.objects.has_sources
        return plan

    def _instances(
        self,
        used: Sequence[tuple[Definition, Names]],
        figures: Figures,
        thread: ThreadCursor,
        tables: SessionTables,
        *,
        is_optional: bool = False,
        stores: bool = False,
    ) -> list[Instance]:
        """Plan the texts of definitions, each with its names, which are resolved."""
        found: list[Instance] = []
        try:
            for definition, names in used:
                with labelled(names.label):
                    plan = self.planner.plan(
                        definition.statement,
                        names.meanings,
                        Values.unchecked(None),
                        figures,
                        thread.cursor,
                        stores=stores,
                    )
                self.definitions.spell(plan, thread, tables, definition)
                found.append(definition.instance(plan, is_optional=is_optional))
        except BaseException:
            for instance in found:
                if instance.plan is not None:
                    instance.plan.release_files()
            raise
        return found

    def _listed(self, context: StatementContext, plan: Plan, texts: str, used: list[Instance]) -> list[Instance]:
        """Return ``used`` with what makes DuckDB's lists name symbols, and every view and macro that can be made."""
        thread = context.thread
        libraries = self.libraries if self.default is None else {self.default.name: self.default}
        visible = self.definitions.visible(thread)
        views = {key[1]: definition.statement.text for key, definition in visible.items() if key[0] == "view"}
        found, registered = information_schema.instances(
            texts, libraries, next(self._list_numbers), views, self.pinned(thread)
        )
        plan.registered |= registered
        found += used
        tables = self.objects.tables(thread)
        # An error of DuckDB would abort the transaction, if there is one.
        others = self.definitions.ordered(thread, tables) if context.transaction is None else []
        for definition in others:
            if any(instance.key == definition.key for instance in used):
                continue
            with suppress(DuckVStoreError):  # its symbols are gone, say
                names = self._names_of(context, None, tables, definition)
                names.resolve()
                found += self._instances([(definition, names)], Figures(), thread, tables, is_optional=True)
        return found

    def plan_above(
        self,
        context: StatementContext,
        newest: Version | None,
        target: SymbolLookup,
        bound: BoundStatement | None,
    ) -> Plan:
        """Return the plan of a statement that makes the version above ``newest`` of ``target``.

        What it reads is resolved now, ``target`` itself as ``newest``, unless it is ``bound`` so already.
        """
        if bound is not None:
            return self.plan(context, bound)
        before: Resolver = context.transaction.find if context.transaction is not None else cuts.find_cut

        def resolver(
            library: OpenLibrary, wanted: Sequence[tuple[str, AsOf]]
        ) -> list[Version | DuckVStoreError | None]:
            own = (target.name, None) if newest and library.library_id == target.library.library_id else None
            found = iter(before(library, [pair for pair in wanted if pair != own]))
            return [newest if newest is not None and pair == own else next(found) for pair in wanted]

        return self.plan(context, self.bind(context, resolver))

    def may_vary(self, context: StatementContext, plan: Plan) -> bool:
        """Whether a statement may read other rows when it is evaluated again, by its words or a view's or macro's."""
        texts = [context.statement.text, *(instance.text for instance in plan.instances)]
        if any(map(match_query.varies, texts)):
            return True
        return self.objects.has_any and create_drop.names_others(context.thread, texts)

    def scan_of(
        self, plan: Plan, library: OpenLibrary, version: Version, segments: Sequence[Segment], file: str
    ) -> str:
        """Return the relation with the rows of ``segments`` and a column ``file``; ``plan`` holds what it needs."""
        return rewrite.scan(version, self.planner.uris(plan, library, tuple(segments)), file=file)

    # -- execute -------------------------------------------------------------------------------------------------

    def running(
        self,
        context: StatementContext,
        plan: Plan,
        names: Mapping[str, str] | None = None,
        *,
        is_part: bool = False,
    ) -> Running:
        """Return ``plan`` ready to run on the thread's cursor; see ``Running`` for ``names`` and ``is_part``."""
        return Running(context.thread, plan, context.values, self.hint, names, is_part=is_part)

    def execute(self, context: StatementContext, running: Running) -> Result:
        """Run a statement in DuckDB and return its rows, which are pulled when they are asked for."""
        thread, statement, figures = context.thread, context.statement, context.figures
        self.objects.note(statement)
        if _REMOTE.search(statement.text):
            self.instance.try_httpfs()
        try:
            rows = running.start(counts=True)
        except BaseException:
            if context.transaction is None:
                thread.forget_transaction()
            raise
        create_drop.replaced(self.definitions, thread, statement)
        prepared.settled(thread, statement)
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

    def looked_for(
        self, context: StatementContext, missing: str | None, further: Sequence[Definition]
    ) -> list[Definition]:
        """Return what DuckDB looks for as the table ``missing``, if the statement may run again with that.

        A symbol, as a view, or a view over symbols after those that it uses; not what is among ``further`` already.
        """
        statement, thread = context.statement, context.thread
        if missing is None or self.default is None or self.instance.is_locked or context.transaction is not None:
            return []
        folded = missing.casefold()
        if not statement.effects.looks_up_tables or any(view.name.casefold() == folded for view in further):
            return []
        if any(len(r.parts) > 1 and r.parts[-1].casefold() == folded for r in statement.references):
            return []  # a table of a database that has none of the name
        view = self.definitions.visible(thread).get(("view", folded))
        if view is not None:
            return [*self.definitions.used(thread, view.statement, self.objects.tables(thread)), view]
        if matching(missing, listings.symbol_names(self.default)):
            return [create_drop.of_symbol(self.definitions, missing)]
        return []

    def hint(self, statement: Statement, failure: Failure) -> str:
        """Return a sentence that helps with a missing table: the nearest names, or why a known name failed."""
        thread = self.threads.current()
        views, pinned = self.definitions.names(thread), self.pinned(thread)
        found = hints.of_names(statement, failure, self.libraries, self.default, views, pinned)
        is_missing = failure.missing is not None and not found.startswith("\n")
        is_of_threads = is_missing and len(self.threads) > 1 and self.objects.has_any
        return f"{found} Temporary tables belong to the thread that made them." if is_of_threads else found
