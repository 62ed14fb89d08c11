"""What becomes of each class of statement: one handler for each, in a table.

A statement that turns out to be about no symbol is DuckDB's own, whatever its class.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Literal

from duckvstore.errors import NoSuchSymbol
from duckvstore.sql.binding import analyze_vacuum
from duckvstore.sql.execution.instances import CHECK
from duckvstore.sql.execution.transaction import OpenTransaction
from duckvstore.sql.results.figures import ScannedTable
from duckvstore.sql.results.result import Result
from duckvstore.sql.syntax import store_commands
from duckvstore.sql.views import create_drop, prepared
from duckvstore.sql.views.definitions import as_created
from duckvstore.sql.writing import snapshot_statements
from duckvstore.sql.writing.alter_table import TableAlteration
from duckvstore.sql.writing.create_table import TableCreation, TableDrop
from duckvstore.sql.writing.explain import Explanation
from duckvstore.sql.writing.row_change import RowChange
from duckvstore.sql.writing.symbol_change import refuse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    from duckvstore.sql.execution.context import StatementContext
    from duckvstore.sql.execution.thread_cursor import ThreadCursor
    from duckvstore.sql.pipeline.steps import Steps
    from duckvstore.sql.syntax.statement import Statement
    from duckvstore.sql.views.definitions import BoundStatement, Definition
    from duckvstore.sql.writing.symbol_change import SymbolChange

    Handler: TypeAlias = Callable[[Steps, StatementContext], Result]

StatementClass = Literal[
    "query",
    "rows",
    "create_table",
    "drop_table",
    "alter_table",
    "explain",
    "snapshot",
    "transaction",
    "prepare",
    "definition",
    "maintenance",
    "other",
]
_BY_KIND: dict[str, StatementClass] = {"create_table": "create_table", "drop": "drop_table", "alter": "alter_table"}


def classify(statement: Statement) -> StatementClass:
    """Return the class of a statement by its words alone; raises SqlError for one of ours that is malformed."""
    command = store_commands.read(statement)
    if command is not None:
        return "transaction" if command.kind in ("begin", "commit", "rollback") else "snapshot"
    if statement.body is not None:
        return "prepare"
    if analyze_vacuum.named(statement) is not None:
        return "maintenance"
    if statement.target is not None:
        return "explain" if statement.explain == "plan" else _BY_KIND.get(statement.kind, "rows")
    if statement.kind in ("create_view", "create_macro"):
        return "definition"
    return "other" if statement.effects.changes_session else "query"


# -- DuckDB's own ------------------------------------------------------------------------------------------------


def _query(steps: Steps, context: StatementContext) -> Result:
    return _in_duckdb(steps, context, steps.bind(context))


def _other(steps: Steps, context: StatementContext) -> Result:
    """Run what changes settings or objects of the session, unless it is about a view or macro over symbols."""
    if _settles(steps, context):
        return _nothing(context)
    return _in_duckdb(steps, context, steps.bind(context))


def _in_duckdb(steps: Steps, context: StatementContext, bound: BoundStatement) -> Result:
    """Run a statement in DuckDB; again, with symbols that only DuckDB knows to be named, where it looks for some.

    Say by ``query_table(upper('trades'))``.
    """
    refuse(bound.names)
    further: list[Definition] = []
    while True:
        running = steps.running(context, steps.plan(context, bound))
        try:
            return steps.execute(context, running)
        except BaseException:
            found = steps.looked_for(context, running.missing, further)
            if not found:
                raise
        further += found
        context.figures.forget_tables()
        bound = steps.bind(context, further=further)


def _nothing(context: StatementContext) -> Result:
    return Result(None, context.figures)


def _settles(steps: Steps, context: StatementContext) -> bool:
    """Whether a statement about views and macros alone is done with: a DROP, or IF NOT EXISTS of one that exists."""
    return create_drop.settle(steps.definitions, context, steps.objects.tables(context.thread))


# -- symbols -----------------------------------------------------------------------------------------------------


def _symbol_change(kind: type[SymbolChange], steps: Steps, context: StatementContext) -> Result:
    """Carry out what changes a table: as ``kind`` where that is a symbol, or is to be one."""
    statement = context.statement
    if _settles(steps, context):
        return _nothing(context)
    try:
        bound = steps.bind(context)
    except NoSuchSymbol:
        if statement.kind in ("drop", "alter") and statement.is_tolerant:
            return _nothing(context)
        raise
    position, names = statement.target, bound.names
    if position in names.targets and (statement.kind == "create_table" or names.meanings[position] is not None):
        return kind(context, steps, bound, position).run()
    return _in_duckdb(steps, context, bound)


def _snapshot(steps: Steps, context: StatementContext) -> Result:
    command = store_commands.read(context.statement)
    assert command is not None, "its class says so"  # noqa: S101
    return snapshot_statements.carry_out(context, command, steps.names(context).names.namespace)


def _maintenance(steps: Steps, context: StatementContext) -> Result:
    """Do nothing for ANALYZE and VACUUM of a symbol."""
    named = analyze_vacuum.named(context.statement)
    assert named is not None, "its class says so"  # noqa: S101
    if analyze_vacuum.concerns_symbol(named, steps.bind(context.of(named)).names.meanings):
        return _nothing(context)
    return _other(steps, context)


# -- views, macros and prepared statements -----------------------------------------------------------------------


def _definition(steps: Steps, context: StatementContext) -> Result:
    """Keep a view or macro over symbols, once DuckDB has found nothing wrong with it."""
    thread, statement, definitions = context.thread, context.statement, steps.definitions
    if _settles(steps, context):
        return _nothing(context)
    bound = steps.bind(context)
    draft = create_drop.drafted(definitions, thread, bound.names)
    if draft is None:
        return _in_duckdb(steps, context, bound)
    context.refuse_in_reading(is_temporary=draft.is_temporary)
    if create_drop.is_there(definitions, context, draft, bound.tables):
        return _nothing(context)
    plan = steps.plan(context, bound)
    as_created(plan, statement.header or draft.header, CHECK)
    steps.running(context, plan).finish()
    create_drop.register(definitions, thread, draft, bound.tables)
    if draft.is_temporary:
        steps.objects.has_any = True
    context.figures.done = f"created {draft.label}"
    return _nothing(context)


def _prepare(steps: Steps, context: StatementContext) -> Result:
    """Keep what a PREPARE over symbols prepares, once DuckDB has found nothing wrong with it."""
    assert context.statement.body is not None, "its class says so"  # noqa: S101
    body = context.of(context.statement.body)
    bound = steps.names(body)
    if not prepared.concerns_symbols(bound.names):
        return _other(steps, context)
    if prepared.can_be_checked(bound.names):
        plan = steps.plan(body, bound)
        prepared.put_head(plan, context.statement)
        steps.running(body, plan).finish()
    prepared.keep(context.thread, context.statement)
    context.figures.done = f"prepared {prepared.name_of(context.statement)!r}"
    return _nothing(context)


# -- transactions ------------------------------------------------------------------------------------------------


def _transaction(steps: Steps, context: StatementContext) -> Result:
    """BEGIN, COMMIT or ROLLBACK, here and in DuckDB, whose own tables take part."""
    thread, transaction, cursor = context.thread, context.transaction, context.thread.cursor
    command = store_commands.read(context.statement)
    assert command is not None, "its class says so"  # noqa: S101
    context.figures.in_transaction = command.kind == "begin"
    if command.kind == "begin":
        if transaction is not None:
            raise context.statement.error("a transaction is open already: COMMIT or ROLLBACK it first", 0)
        # Before DuckDB's, and gone after it: whatever interrupts this, ROLLBACK ends what DuckDB has begun.
        thread.transaction = OpenTransaction(context.author, is_read_only=command.is_read_only)
        try:
            cursor.execute("BEGIN TRANSACTION READ ONLY" if command.is_read_only else "BEGIN")
            steps.definitions.begin(thread)
        except BaseException:
            roll_back(steps, thread)
            raise
    elif transaction is None:
        raise context.statement.error("there is no transaction: BEGIN one first", 0)
    elif command.kind == "rollback":
        roll_back(steps, thread)
    else:
        try:
            cursor.execute("SELECT 1")  # raises where an error has aborted it
            library, made = transaction.commit()
            cursor.execute("COMMIT")
        except BaseException:
            roll_back(steps, thread)
            raise
        thread.transaction = None
        steps.definitions.commit(thread)
        if library is not None:
            context.figures.made += [ScannedTable(library.name, v.symbol, v.number, v.created_at) for v in made]
    return _nothing(context)


def roll_back(steps: Steps, thread: ThreadCursor) -> None:
    """Give up the thread's transaction, if there is one: what it changed, and what it did in DuckDB."""
    if thread.transaction is None:
        return
    thread.transaction.rollback()
    with suppress(Exception):  # DuckDB may have rolled it back itself
        thread.cursor.execute("ROLLBACK")
    steps.definitions.roll_back(thread)
    thread.transaction = None


HANDLERS: Mapping[StatementClass, Handler] = {
    "query": _query,
    "rows": partial(_symbol_change, RowChange),
    "create_table": partial(_symbol_change, TableCreation),
    "drop_table": partial(_symbol_change, TableDrop),
    "alter_table": partial(_symbol_change, TableAlteration),
    "explain": partial(_symbol_change, Explanation),
    "snapshot": _snapshot,
    "transaction": _transaction,
    "prepare": _prepare,
    "definition": _definition,
    "maintenance": _maintenance,
    "other": _other,
}
