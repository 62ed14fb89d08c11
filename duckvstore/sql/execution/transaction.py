"""BEGIN … COMMIT in SQL: what one thread of a session has begun, on the transactions of the engine.

Statements in it see one moment of each library and its own changes; nothing of it is visible outside before
COMMIT, and after it all is. DuckDB's own transaction, for the tables of the session, runs beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from duckvstore.engine.reading import cuts, not_found
from duckvstore.engine.writing.transactions import Transaction
from duckvstore.errors import DuckVStoreError, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.engine.reading.catalogue import AsOf
    from duckvstore.engine.writing.commits import Call
    from duckvstore.engine.writing.edits import Plan
    from duckvstore.format.stored.documents import Version


class OpenTransaction:
    """A transaction over the symbols of any libraries that are read and of one that is changed."""

    def __init__(self, author: str | None, *, is_read_only: bool = False) -> None:
        """Begin; makes no request. ``is_read_only``: statements that make versions are refused."""
        self._author = author
        self.is_read_only = is_read_only
        self._transactions: dict[str, Transaction] = {}
        self._changed: OpenLibrary | None = None

    def _of(self, library: OpenLibrary) -> Transaction:
        if library.library_id not in self._transactions:
            self._transactions[library.library_id] = Transaction(library, author=self._author)
        return self._transactions[library.library_id]

    def find(self, library: OpenLibrary, wanted: Sequence[tuple[str, AsOf]]) -> list[Version | DuckVStoreError | None]:
        """Resolve as ``cuts.find_cut`` does, the newest versions as this transaction sees them."""
        past = [pair for pair in wanted if pair[1] is not None]
        found = iter(cuts.find_cut(library, past))
        return [self._found(library, symbol) if as_of is None else next(found) for symbol, as_of in wanted]

    def newest(self, library: OpenLibrary, symbol: str) -> Version | None:
        """Return the newest version of ``symbol`` as this transaction sees it, which may be a deletion."""
        return self._of(library).newest(symbol)

    def pinned(self, library: OpenLibrary) -> Mapping[str, Version | None]:
        """Return what this transaction sees of the symbols that it has touched; makes no request."""
        found = self._transactions.get(library.library_id)
        return {} if found is None else found.pinned()

    def _found(self, library: OpenLibrary, symbol: str) -> Version | DuckVStoreError | None:
        newest = self.newest(library, symbol)
        return not_found.deleted(library, newest, None) if newest is not None and newest.deleted else newest

    def apply(self, library: OpenLibrary, call: Call, plan: Plan) -> Version | None:
        """Keep an edit for the commit; return the version as it is to become, as ``Transaction.apply``."""
        changed = self._changed
        if changed is not None and changed.library_id != library.library_id:
            raise InvalidInput(
                f"this transaction changes library {changed.name!r}, so it cannot change {library.name!r} too: COMMIT "
                "first, a transaction is over symbols of one library"
            )
        made = self._of(library).apply(call, plan)
        self._changed = library
        return made

    def commit(self) -> tuple[OpenLibrary | None, list[Version]]:
        """Make the changes visible; return the library and the versions made. Raises as ``Transaction.commit``."""
        if self._changed is None:
            return None, []
        return self._changed, self._of(self._changed).commit()

    def rollback(self) -> None:
        """Give everything up."""
        for transaction in self._transactions.values():
            transaction.rollback()
