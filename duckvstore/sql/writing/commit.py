"""A version that a statement makes: committed at once, or kept for the COMMIT of the transaction that is open."""

from __future__ import annotations

from typing import TYPE_CHECKING

from duckvstore.engine.writing import commits
from duckvstore.sql.results.figures import ScannedTable

if TYPE_CHECKING:
    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.engine.writing.edits import Plan
    from duckvstore.format.stored.documents import Version
    from duckvstore.sql.execution.context import StatementContext


def call(context: StatementContext, symbol: str) -> commits.Call:
    """Return who makes a version of ``symbol``, and why."""
    message = context.message if context.message is not None else context.statement.message
    return commits.Call(symbol, context.author, message)


def commit(context: StatementContext, library: OpenLibrary, symbol: str, plan: Plan) -> Version | None:
    """Make a version, within the transaction that is open; return it, or the newest when ``plan`` made none."""
    library.layout.symbol_versions(symbol)  # refuses a name that cannot be stored
    made_by = call(context, symbol)
    if context.transaction is not None:
        return context.transaction.apply(library, made_by, plan)
    made = commits.carry_out(library, made_by, plan)
    if made is not None and made.write_id == made_by.write_id:
        context.figures.made.append(ScannedTable(library.name, symbol, made.number, made.created_at))
    return made
