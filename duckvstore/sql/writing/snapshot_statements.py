"""CREATE SNAPSHOT, DROP SNAPSHOT and RESTORE TABLE, which DuckDB does not have, carried out.

An error about a name or a version shows its place in the statement.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from duckvstore.engine.reading import catalogue
from duckvstore.engine.writing import edits
from duckvstore.engine.writing import snapshots as engine_snapshots
from duckvstore.errors import AlreadyExists, NoSuchSnapshot, NoSuchSymbol, NotFound
from duckvstore.sql.results.result import Result
from duckvstore.sql.writing.commit import commit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.sql.binding.namespace import Namespace
    from duckvstore.sql.execution.context import StatementContext
    from duckvstore.sql.syntax.statement import Statement
    from duckvstore.sql.syntax.store_commands import Command


def carry_out(context: StatementContext, wanted: Command, namespace: Namespace) -> Result:
    """Carry out CREATE SNAPSHOT, DROP SNAPSHOT or RESTORE TABLE."""
    words = wanted.kind.replace("_", " ").upper()
    context.refuse_read_only(words)
    library, name = _place(context, wanted, namespace)
    if wanted.kind == "restore":
        assert wanted.at is not None, "RESTORE has a version"  # noqa: S101
        with _shown_at(context.statement, wanted.start, wanted.at.offset):
            source = catalogue.resolve_to_refer(library, name, namespace.as_of(wanted.at))
        commit(context, library, name, edits.restore(source))
        return Result(None, context.figures)
    if context.transaction is not None:
        raise context.statement.error(f"{words} is no part of a transaction: COMMIT first", wanted.start)
    message = context.message
    try:
        with _shown_at(context.statement, wanted.start):
            if wanted.kind == "create_snapshot":
                engine_snapshots.create(library, name, author=context.author, message=message)
            else:
                engine_snapshots.delete(library, name)
    except (AlreadyExists, NoSuchSnapshot):
        if not wanted.is_tolerant:
            raise
    else:
        context.figures.done = f"{'created' if wanted.kind == 'create_snapshot' else 'dropped'} snapshot {name!r}"
    return Result(None, context.figures)


@contextmanager
def _shown_at(statement: Statement, start: int, at: int | None = None) -> Iterator[None]:
    """Show errors about a name at ``start`` in the text, and those about the version asked for at ``at``."""
    try:
        yield
    except (AlreadyExists, NotFound) as error:
        cause, place = error.__cause__, start if at is None or isinstance(error, NoSuchSymbol) else at
        found = cause if isinstance(cause, NoSuchSnapshot) else error
        raise type(found)(f"{found}{statement.caret(place)}") from found.__cause__


def _place(context: StatementContext, wanted: Command, namespace: Namespace) -> tuple[OpenLibrary, str]:
    """Return the library and the name in it that a snapshot statement names."""
    if namespace.default is not None and len(wanted.parts) == 1:
        return namespace.default, wanted.parts[0]
    if len(wanted.parts) != 2:
        name = ".".join(wanted.parts)
        raise context.statement.error(f"which library is {name} of? Write library.{name}", wanted.start)
    return namespace.library_named(wanted.parts[0], wanted.start), wanted.parts[1]
