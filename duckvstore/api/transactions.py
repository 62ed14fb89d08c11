"""Transactions: several symbols of a library become visible together, or not at all.

Invariant: inside, reads see one moment of the library and the transaction's own writes; outside, nobody sees any of it
before the commit, and everybody all of it after.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from duckvstore.api.reading import Reading
from duckvstore.api.writing import Writing
from duckvstore.engine.reading import catalogue, not_found
from duckvstore.engine.writing import transactions
from duckvstore.errors import InvalidInput
from duckvstore.forks import OfOneProcess

if TYPE_CHECKING:
    from types import TracebackType

    from duckvstore.api.items import VersionedItem
    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.engine.reading.catalogue import AsOf
    from duckvstore.engine.writing.commits import Call
    from duckvstore.engine.writing.edits import Plan
    from duckvstore.format.stored.documents import Version


class Transaction(OfOneProcess, Writing, Reading):
    """A library as one transaction sees it: ``with lib.transaction() as t: t.append("a", rows); t.write("b", df)``.

    Leaving the block commits; an error in it rolls back. Several edits of one symbol become one version. A read
    without ``as_of`` sees the transaction's own edits; ``as_of``, ``list_symbols`` and ``list_versions`` are about the
    library as it is outside.
    """

    def __init__(self, opened: OpenLibrary, author: str | None, message: str | None) -> None:
        """Begin; use ``Library.transaction``."""
        super().__init__(opened)
        self._call("x", author, message)  # refuses what is not text
        self._engine = transactions.Transaction(opened, author=author, message=message)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self.rollback()
        elif not self._engine.is_over:  # it may have been ended inside the block
            self.commit()

    def commit(self) -> dict[str, int]:
        """Make all versions visible; return their numbers by symbol. The end of the block does it too.

        Raises Conflict when another writer changed a symbol that this transaction writes: nothing is visible then,
        repeat it as a whole. Raises OutcomeUnknown when it cannot be learned whether it is committed, and
        InvalidInput when the transaction is over.
        """
        return {version.symbol: version.number for version in self._engine.commit()}

    def rollback(self) -> None:
        """Give up; nothing of it is ever visible. Does nothing after the end."""
        self._engine.rollback()

    def _resolve(self, symbol: str, as_of: AsOf) -> Version:
        if as_of is not None:
            return super()._resolve(symbol, as_of)
        newest = self._newest(symbol)
        if newest is None:
            raise catalogue.no_symbol(self.open_library, symbol)
        if newest.deleted:
            raise not_found.deleted(self.open_library, newest, None)
        return newest

    def _newest(self, symbol: str) -> Version | None:
        return self._engine.newest(symbol)

    def _looking_ahead(self, call: Call) -> Call:
        return call  # the transaction knows its own heads

    def _commit(self, call: Call, plan: Plan) -> Version | None:
        return self._engine.apply(call, plan)

    def _made(self, call: Call, plan: Plan, *, prune: bool = False) -> VersionedItem:
        if prune:
            raise InvalidInput("prune_previous_versions is not part of a transaction: prune() after it is committed")
        return super()._made(call, plan)


class Transactions(Writing):
    """The method of a library that begins a transaction."""

    def transaction(self, *, author: str | None = None, message: str | None = None) -> Transaction:
        """Begin a transaction, for use in a ``with`` block: its writes become visible together at its end.

        Snapshot isolation: what it reads is of one moment. It raises Conflict at the end when another writer
        changed a symbol that it writes, and at a read when there is no such moment, because a symbol that it used
        before was changed. Nothing is visible then: repeat it as a whole. ``author`` and ``message`` are recorded for
        each of its versions, where its edits name none.

        Examples:
            >>> with lib.transaction(message="both or none") as t:
            ...     _ = t.delete_rows("trades", "price > 11")
            ...     _ = t.write("report", {"rows": 1})
            >>> lib.read("trades").version, lib.read("report").data
            (2, {'rows': 1})
        """
        return Transaction(self.open_library, author, message)
