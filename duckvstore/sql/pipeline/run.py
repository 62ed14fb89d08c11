"""The beginning of the pipeline: a text becomes statements, and each goes to the handler of its class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duckvstore import clock
from duckvstore.errors import Conflict
from duckvstore.sql.driver import duckdb_errors
from duckvstore.sql.execution import sandbox
from duckvstore.sql.execution.context import StatementContext
from duckvstore.sql.pipeline.handlers import HANDLERS, classify, roll_back
from duckvstore.sql.results.figures import Figures
from duckvstore.sql.results.result import Result
from duckvstore.sql.syntax import parser
from duckvstore.sql.syntax.literals import literal, quote
from duckvstore.sql.values.parameters import Values
from duckvstore.sql.views import information_schema, prepared

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from duckvstore.sql.execution.thread_cursor import ThreadCursor
    from duckvstore.sql.pipeline.steps import Steps
    from duckvstore.sql.syntax.statement import Statement

_OWN_TABLES = """
    SELECT name FROM (
        SELECT table_name AS name, database_name, schema_name, temporary FROM system.main.duckdb_tables()
        UNION ALL
        SELECT view_name, database_name, schema_name, temporary FROM system.main.duckdb_views() WHERE NOT internal
    )
    WHERE (temporary OR (database_name = current_database() AND schema_name = current_schema()))
    AND NOT starts_with(name, '__vstore')"""


def run(
    steps: Steps,
    text: str,
    parameters: Mapping[str, Any] | Sequence[Any] | None,
    scope: Mapping[str, object] | None,
    *,
    author: str | None,
    message: str | None,
    read_only: bool,
) -> Result:
    """Run the statements of ``text`` in order and return the result of the last; see ``Session.sql``."""
    is_sandboxed = steps.instance.is_locked
    if is_sandboxed:
        text, scope = sandbox.plain(text), None
    statements = [_listing(steps, statement) for statement in parser.parse(text)]
    values = Values(parameters, statements)
    result = Result(None)
    for statement in statements:
        thread = steps.threads.current()
        before = result.figures
        with thread.lock:
            executed, given = prepared.executed(thread, statement, values)
            figures = Figures(in_transaction=thread.transaction is not None)
            context = StatementContext(executed, given, thread, figures, scope, author, message, read_only)
            result = _carry_out(steps, context)
        if result.is_settled or result.figures.changed is not None:
            result.figures.ended()
        result.figures.go_on(before)
        if statement is not statements[-1]:
            result.settle()
    return result


def _carry_out(steps: Steps, context: StatementContext) -> Result:
    """Classify a statement and have it carried out; a Conflict ends the transaction, as at a late COMMIT."""
    import duckdb

    watch = clock.Stopwatch()
    thread, statement, choices = context.thread, context.statement, steps.planner.choices
    if statement.effects.changes_session:
        thread.settle_all()
        choices.forget(statement)
    else:
        thread.open_for(None)
    try:
        kind = classify(statement)
        if steps.instance.is_locked and kind != "transaction":
            sandbox.check(statement, thread.cursor)
        return HANDLERS[kind](steps, context)
    except (duckdb.Error, RuntimeError) as error:
        raise duckdb_errors.while_planning(error, statement.source) from error
    except Conflict:  # nothing of it can be committed any more
        roll_back(steps, thread)
        raise
    finally:
        if statement.effects.changes_session:
            choices.forget(statement)  # again: others have gone on meanwhile
        context.figures.seconds += watch.elapsed_seconds()


def _listing(steps: Steps, statement: Statement) -> Statement:
    """Return ``statement``; for SHOW TABLES and the like, which DuckDB answers without symbols, one with them."""
    text = information_schema.shown(statement, lambda: _tables_query(steps, steps.threads.current()))
    return statement if text is None else parser.parse(text)[0]


def _tables_query(steps: Steps, thread: ThreadCursor) -> str:
    """Return the query for the names of symbols, and of the tables and views of the session."""
    symbols = ["SELECT symbol AS name FROM vstore.symbols"]
    if steps.default is None:
        symbols = [
            f"SELECT {literal(f'{name}.')} || symbol AS name FROM {quote(name)}.vstore.symbols"
            for name in steps.libraries
        ]
    views = ", ".join(literal(name) for name in steps.definitions.names(thread))
    own = [_OWN_TABLES, f"SELECT unnest(CAST([{views}] AS VARCHAR[]))"]
    return f"SELECT name FROM ({' UNION '.join([*symbols, *own])}) ORDER BY name"
