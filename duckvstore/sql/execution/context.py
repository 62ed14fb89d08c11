"""The context of a statement: what it says, with which values, for whom, and on which thread's cursor it runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from duckvstore.sql.results.figures import Figures
from duckvstore.sql.values.parameters import Values

if TYPE_CHECKING:
    from collections.abc import Mapping

    from duckvstore.sql.execution.thread_cursor import ThreadCursor
    from duckvstore.sql.execution.transaction import OpenTransaction
    from duckvstore.sql.syntax.statement import Statement


@dataclass(frozen=True, slots=True)
class StatementContext:
    """One statement and all that is known of it from outside. ``figures`` are filled in as it goes.

    ``scope``: the caller's variables, None where no dataframe may be found. ``author`` and ``message``: of the versions
    that it makes (``message`` None: the statement's text). ``read_only``: whether the session changes no symbol.
    """

    statement: Statement
    values: Values
    thread: ThreadCursor
    figures: Figures
    scope: Mapping[str, object] | None
    author: str | None
    message: str | None
    read_only: bool

    @property
    def transaction(self) -> OpenTransaction | None:
        """The transaction that is open on the thread."""
        return self.thread.transaction

    def of(self, statement: Statement) -> StatementContext:
        """Return the same for ``statement``, a part of this one, whose parameters have no values yet."""
        return replace(self, statement=statement, values=Values.unchecked(None), figures=Figures())

    def refuse_in_reading(self, position: int = 0, *, is_temporary: bool = False) -> None:
        """Raise SqlError where the transaction is one for reading, in which only temporary things are made."""
        if self.transaction is not None and self.transaction.is_read_only and not is_temporary:
            raise self.statement.error(
                "this transaction began as READ ONLY: COMMIT it, then change what you like, or in a BEGIN of its own",
                position,
            )

    def refuse_read_only(self, what: str, position: int = 0) -> None:
        """Raise SqlError where the session, or the transaction that is open, may not change anything."""
        self.refuse_in_reading(position)
        if self.read_only:
            raise self.statement.error(
                f"{what} would change the library, and this session is read-only: use lib.sql(…), or connect() without "
                "read_only",
                position,
            )
