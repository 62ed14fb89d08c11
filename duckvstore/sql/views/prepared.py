"""PREPARE, EXECUTE and DEALLOCATE of statements over symbols: the text is kept, and resolved again at each EXECUTE.

Under each internal name DuckDB has a statement too, which only gives back its parameters. So it is DuckDB
that reads every EXECUTE: what an argument may be, its type, and whether the right ones are there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duckvstore.sql.driver import duckdb_errors
from duckvstore.sql.driver.interrupts import run_interruptibly
from duckvstore.sql.execution.thread_cursor import PreparedStatement
from duckvstore.sql.syntax import parser
from duckvstore.sql.values import row_values
from duckvstore.sql.values.parameters import Values
from duckvstore.sql.views import information_schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from duckvstore.sql.binding.names import Names
    from duckvstore.sql.execution.thread_cursor import ThreadCursor
    from duckvstore.sql.planning.planner import Plan
    from duckvstore.sql.syntax.source_map import SourceMap
    from duckvstore.sql.syntax.statement import Statement


def concerns_symbols(names: Names) -> bool:
    """Whether the statement behind PREPARE, whose names these are, names what DuckDB does not have; resolves them.

    Raises SqlError for one that cannot be prepared.
    """
    body = names.statement
    if not body.effects.is_preparable or body.explain:
        if any(reference.at is not None for reference in body.references):  # of which DuckDB would complain
            raise body.error("PREPARE is for queries, INSERT, UPDATE, DELETE, TRUNCATE and COPY: run this itself", 0)
        return False
    if _is_open(body):
        return True
    return any(names.resolve().values()) or bool(names.companions) or information_schema.asks_for_lists(body.text)


def can_be_checked(names: Names) -> bool:
    """Whether DuckDB can look at what is prepared: it changes no symbol, and all that it reads is resolved."""
    body = names.statement
    changed = any(found.role == "target" and names.meanings.get(at) for at, found in enumerate(body.references))
    return not changed and not _is_open(body)


def put_head(plan: Plan, statement: Statement) -> None:
    """Put the words of ``statement``, a PREPARE, in front of the text that ``plan`` has of its body."""
    assert statement.body is not None, "a PREPARE has one"  # noqa: S101
    plan.sql = _head(statement, statement.body) + plan.sql


def keep(thread: ThreadCursor, statement: Statement) -> None:
    """Keep what ``statement`` prepares in place of another one of that name; raises SqlError."""
    body = statement.body
    assert body is not None, "a PREPARE has one"  # noqa: S101
    parameters = [found for _, found in body.parameters]
    names = dict.fromkeys(p.name if p.name is not None else str((p.position or 0) + 1) for p in parameters)
    kept = PreparedStatement(body.text, tuple(names), any(p.position is not None for p in parameters))
    for place, found in body.parameters if kept.is_by_position else ():
        if found.name is not None:  # DuckDB counts a ? from the greatest number before it on
            raise body.error("? and $n do not go together here: number them all, as $1 and $2", place)
    sql = _head(statement, body) + f"SELECT {', '.join(f'${found}' for found in names) or 'NULL'}"
    _shown_at(statement, sql, lambda: thread.cursor.execute(sql.text))
    thread.prepared[_key(statement)] = kept


def executed(thread: ThreadCursor, statement: Statement, values: Values) -> tuple[Statement, Values]:
    """Return the prepared statement that an EXECUTE means, with its values; any other statement as it is.

    Raises SqlError for arguments that DuckDB does not take.
    """
    if not thread.prepared:
        return statement, values
    is_execute = statement.header is not None and statement.header.verb == "execute"
    kept = thread.prepared.get(_key(statement)) if is_execute else None
    if kept is None:
        return statement, values
    for place, _ in statement.parameters:
        raise statement.error("EXECUTE takes constants: write them here, or give values to the query itself", place)
    thread.open_for(None)
    end, cursor = statement.explain_end, thread.cursor
    sql = statement.sql[end:]
    row = _shown_at(
        statement, sql, lambda: run_interruptibly(cursor, lambda: row_values.values(cursor, cursor.sql(sql.text)))
    )
    given = dict(zip(kept.names, row, strict=False))  # without parameters there is a NULL
    # On its own, so that places are in its own text, which is also the message of a version that it makes.
    found = parser.parse(f"{statement.text[:end]} {kept.text}" if end else kept.text)[0]
    if not kept.is_by_position:
        return found, Values.unchecked(given)
    numbers = range(1, max(map(int, kept.names)) + 1)
    return found, Values.unchecked([given.get(str(number)) for number in numbers])


def settled(thread: ThreadCursor, statement: Statement) -> None:
    """Forget the statement whose name DuckDB has given up, or taken for one of its own."""
    if thread.prepared and statement.header is not None and statement.header.verb in ("prepare", "deallocate"):
        thread.prepared.pop(_key(statement), None)


def _is_open(body: Statement) -> bool:
    """Whether only EXECUTE says which version is meant somewhere."""
    cuts = [cut for reference in body.references for cut in reference.cuts]
    return any(start <= place < end for start, end in cuts for place, _ in body.parameters)


def _head(statement: Statement, body: Statement) -> SourceMap:
    """Return the words of ``statement`` in front of ``body``."""
    return statement.sql[: -len(body.sql)]


def name_of(statement: Statement) -> str:
    """Return the name that PREPARE, EXECUTE or DEALLOCATE says, empty where it says none."""
    return statement.header.name if statement.header is not None else ""


def _key(statement: Statement) -> str:
    """Return what DuckDB compares such names by, which ignores the case of ASCII letters alone."""
    return "".join(letter.lower() if letter.isascii() else letter for letter in name_of(statement))


def _shown_at(statement: Statement, sql: SourceMap, action: Callable[[], Any]) -> Any:
    """Return ``action()``, which runs ``sql``; its errors show their place in ``statement``, or else the name."""
    import duckdb

    try:
        return action()
    except duckdb.Error as error:
        failure = duckdb_errors.take_apart(error, sql.text)
        place = statement.sql.origin(statement.header.start if statement.header is not None else 0)
        if failure.position is not None:
            place = sql.origin_of_byte(failure.position)
        raise duckdb_errors.to_error(failure, statement.source, place, lambda _: "") from error
