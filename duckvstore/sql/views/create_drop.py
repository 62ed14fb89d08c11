"""CREATE and DROP of views and macros over symbols, as DuckDB would carry them out on its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duckvstore.sql.binding import dataframes
from duckvstore.sql.binding.meanings import Frame
from duckvstore.sql.execution import instances
from duckvstore.sql.execution.instances import CHECK
from duckvstore.sql.syntax import parser
from duckvstore.sql.syntax.literals import quote
from duckvstore.sql.views import information_schema
from duckvstore.sql.views.definitions import Definition, view_named

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from duckvstore.sql.binding.meanings import SessionTables
    from duckvstore.sql.binding.names import Names
    from duckvstore.sql.execution.context import StatementContext
    from duckvstore.sql.execution.thread_cursor import ThreadCursor
    from duckvstore.sql.planning.planner import Key
    from duckvstore.sql.syntax.headers import Header
    from duckvstore.sql.syntax.statement import Reference, Statement
    from duckvstore.sql.views.definitions import Definitions

_PLACES = ((), ("main",), ("memory",), ("memory", "main"), ("temp",), ("temp", "main"))


def settle(definitions: Definitions, context: StatementContext, tables: SessionTables) -> bool:
    """Carry out what concerns definitions alone: a DROP, or IF NOT EXISTS of one that exists.

    Returns whether the statement is done with. Raises SqlError for what a definition of the same name forbids.
    """
    thread, statement = context.thread, context.statement
    visible = definitions.visible(thread)
    if not visible:
        return False
    header = statement.header
    if header is None:
        _refuse_changes(statement, visible, tables)
        return False
    existing = _existing(definitions, thread, header, tables)
    if existing is None:
        return False
    if header.verb == "drop" and header.noun != "table":
        context.refuse_in_reading(header.start, is_temporary=existing.is_temporary)
        definitions.put(thread, existing.key, None, is_temporary=existing.is_temporary)
        return True
    if header.verb == "drop":
        raise statement.error(f"{header.name} is a view: write DROP VIEW {header.name}", header.start)
    if header.if_exists:
        return True
    if header.noun == "table" or not header.replaces or (header.is_temporary and not existing.is_temporary):
        raise statement.error(
            f"{existing.label} exists already: write CREATE OR REPLACE, or DROP it first", header.start
        )
    return False


def drafted(definitions: Definitions, thread: ThreadCursor, names: Names) -> Definition | None:
    """Return what the statement of ``names`` defines; None where it concerns no symbol, so that DuckDB makes it.

    One over a view or macro of DuckDB's is kept too, since one over symbols may take that name later. Raises
    SqlError for what a definition cannot hold.
    """
    statement = names.statement
    header = statement.header
    if statement.kind not in ("create_view", "create_macro") or header is None or header.verb != "create":
        return None
    pairs = [(reference, names.meanings[at]) for at, reference in enumerate(statement.references)]
    used = [(reference, meaning) for reference, meaning in pairs if reference.role == "read" and meaning]
    is_placed = tuple(part.casefold() for part in header.parts[:-1]) in _PLACES
    objects = _objects(thread, statement, header) if is_placed else frozenset()
    concerns = bool(used or names.companions) or information_schema.asks_for_lists(statement.text)
    if not concerns and (statement.parameters or not objects):
        return None
    noun = "view" if header.noun == "view" else "macro"
    if statement.parameters:
        place, _ = statement.parameters[0]
        advice = "write the value itself" + (", or make it a macro with a parameter" if noun == "view" else "")
        raise statement.error(f"a {noun} keeps no values of parameters: {advice}", place)
    if not is_placed:
        raise statement.error(
            f"a {noun} over symbols is kept in the session, outside of any schema: name it {header.name} alone",
            header.start,
        )
    number = definitions.next_number()
    own = parser.parse(statement.text.strip())[0]
    own_header = own.header
    assert own_header is not None, "it was read just now"  # noqa: S101
    is_temporary = header.is_temporary or [part.casefold() for part in header.parts[:-1]][:1] == ["temp"]
    return Definition(header.noun, header.name, own, own_header, _scope(used), number, is_temporary, objects)


def is_there(definitions: Definitions, context: StatementContext, draft: Definition, tables: SessionTables) -> bool:
    """Return whether IF NOT EXISTS finds an object of DuckDB's; raise SqlError where one is in the way."""
    header = draft.header
    exists = _exists(definitions, context.thread, draft, tables)
    if exists and not header.if_exists and not header.replaces:
        place = context.statement.text.find(draft.name)
        raise context.statement.error(f'a {draft.noun} or table "{draft.name}" exists already', place)
    return exists and header.if_exists


def register(definitions: Definitions, thread: ThreadCursor, draft: Definition, tables: SessionTables) -> None:
    """Keep a definition that was found to work, in place of an object of DuckDB's if there is one."""
    instances.drop(thread.cursor, draft.noun, CHECK)
    if _exists(definitions, thread, draft, tables):
        kind = {"view": "VIEW", "macro": "MACRO", "table macro": "MACRO TABLE"}[draft.noun]
        thread.cursor.execute(f"DROP {kind} {draft.place[0]}.main.{quote(draft.name)}")
    definitions.put(thread, draft.key, draft, is_temporary=draft.is_temporary)


def replaced(definitions: Definitions, thread: ThreadCursor, statement: Statement) -> None:
    """Forget the definition whose name DuckDB has taken for an object of its own."""
    header = statement.header
    if header is not None and header.verb == "create" and header.replaces:
        existing = _existing(definitions, thread, header, set)
        if existing is not None:
            definitions.put(thread, existing.key, None, is_temporary=existing.is_temporary)


def of_symbol(definitions: Definitions, name: str) -> Definition:
    """Return a view of the symbol ``name`` under its own name, for one statement."""
    statement = parser.parse(f"CREATE TEMP VIEW {quote(name)} AS FROM {quote(name)}")[0]
    header = statement.header
    assert header is not None, "it is ours"  # noqa: S101
    return Definition("view", name, statement, header, {}, definitions.next_number(), True, frozenset())


def names_others(thread: ThreadCursor, texts: Sequence[str]) -> bool:
    """Whether ``texts`` may use a view or macro that DuckDB has in the session and that is none of these."""
    found = {name for _, _, name in _macros(thread)}
    found |= {name for name in _views(thread) if not thread.instances.has_view(name)}
    return any(name in text.casefold() for name in found for text in texts)


def _existing(
    definitions: Definitions, thread: ThreadCursor, header: Header, tables: SessionTables
) -> Definition | None:
    place = tuple(part.casefold() for part in header.parts[:-1])
    if place not in _PLACES:
        return None
    nouns = {"table": ["view"], "macro": ["macro", "table macro"]}.get(header.noun, [header.noun])
    own = definitions.scope(thread, is_temporary=True)
    is_temporary = header.is_temporary or place[:1] == ("temp",)
    if header.verb == "create":
        nouns = nouns[:1]
        scopes = [own if is_temporary else definitions.scope(thread, is_temporary=False)]
        if is_temporary and "macro" in header.noun:
            # On a cursor, macros over symbols are temporary themselves.
            scopes.append(definitions.scope(thread, is_temporary=False))
    elif "macro" not in header.noun and ("temp", "main", header.name.casefold()) in tables():
        return None  # DuckDB drops its own temporary table first
    else:
        scopes = [own] if place[:1] == ("temp",) else [own, definitions.scope(thread, is_temporary=False)]
    keys = [(scope, (noun, header.name.casefold())) for scope in scopes for noun in nouns]
    return next((scope[key] for scope, key in keys if key in scope), None)


def _exists(definitions: Definitions, thread: ThreadCursor, draft: Definition, tables: SessionTables) -> bool:
    """Whether DuckDB has an object of its own in the place of ``draft``."""
    if draft.noun == "view":
        return draft.place in tables()
    kind = draft.noun.replace(" ", "_")
    return draft.key not in definitions.visible(thread) and (kind, draft.place[0], draft.key[1]) in _macros(thread)


def _refuse_changes(statement: Statement, visible: Mapping[Key, Definition], tables: SessionTables) -> None:
    for reference in statement.references:
        if reference.role == "target" and statement.effects.changes_rows:
            view = view_named(reference.parts, visible, tables)
            if view is not None:
                raise statement.error(
                    f"{view.name} is a view over symbols, which cannot be changed: CREATE OR REPLACE VIEW makes "
                    "another of the name",
                    reference.start,
                )


def _macros(thread: ThreadCursor) -> set[tuple[str, str, str]]:
    """Return (kind, database, name in lower case) of the macros that DuckDB itself has in the session."""
    found = thread.cursor.execute(
        "SELECT function_type, database_name, lower(function_name) FROM system.main.duckdb_functions() "
        "WHERE function_type IN ('macro', 'table_macro') AND database_name IN ('memory', 'temp')"
    ).fetchall()
    return {(kind, database, name) for kind, database, name in found}


def _views(thread: ThreadCursor) -> set[str]:
    """Return the names, in lower case, of the views that DuckDB itself has in the session."""
    found = thread.cursor.execute(
        "SELECT lower(view_name) FROM system.main.duckdb_views() "
        "WHERE NOT internal AND database_name IN ('memory', 'temp')"
    ).fetchall()
    return {name for (name,) in found}


def _objects(thread: ThreadCursor, statement: Statement, header: Header) -> frozenset[Key]:
    """Return the views and macros that DuckDB has in the session and ``statement``, which makes ``header``, names."""
    views = _views(thread)
    named = {reference.parts[-1].casefold() for reference in statement.references if reference.role == "read"}
    called = statement.calls - {header.name.casefold()}
    macros = _macros(thread) if called else set()
    return frozenset(
        [("view", name) for name in views if name in named]
        + [(kind.replace("_", " "), name) for kind, _, name in macros if name in called]
    )


def _scope(used: Sequence[tuple[Reference, Any]]) -> dict[str, object]:
    """Return the caller's dataframes among the meanings: a view keeps those that it was made over."""
    return {
        reference.parts[0]: dataframes.to_registrable(meaning.value, uses=2)
        for reference, meaning in used
        if isinstance(meaning, Frame) and len(reference.parts) == 1
    }
