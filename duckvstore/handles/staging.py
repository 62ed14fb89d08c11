"""Staging: many writers prepare one symbol, one call publishes what they prepared.

Invariant: staged rows are seen by no reader; publishing is one version, and publishing twice adds nothing twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duckvstore.engine import staging
from duckvstore.errors import InvalidInput, NoSuchSymbol
from duckvstore.handles.writing import Writing

if TYPE_CHECKING:
    from duckvstore.items import VersionedItem


class Staging(Writing):
    """The methods of a library about staged parts."""

    def stage(
        self,
        symbol: str,
        data: Any,
        *,
        validate_index: bool | None = None,
        author: str | None = None,
        message: str | None = None,
    ) -> str:
        """Store rows for ``symbol`` that nobody sees until ``finalize_staged_data``; return the part's id.

        Any number of processes may stage parts of one symbol at the same time. Parts that are not finalised within
        the grace period are removed by gc. Raises InvalidInput for what ``write`` refuses.
        """
        call = self._call(symbol, author, message)
        return staging.stage(self.open_library, call, self._given(symbol, data, validate_index=validate_index))

    def finalize_staged_data(
        self,
        symbol: str,
        mode: str = "write",
        prune_previous_versions: bool = False,
        metadata: Any = None,
        *,
        author: str | None = None,
        message: str | None = None,
        expected_version: int | None = None,
    ) -> VersionedItem:
        """Publish the staged parts of a symbol as one version: alone ("write"), or behind the newest one ("append").

        Parts are put in the order of their datetime index, which must not overlap; without one, in the order in which
        they were staged. Raises NoSuchSymbol when nothing is staged, and InvalidInput for parts that do not fit.
        """
        if mode not in staging.MODES:
            raise InvalidInput(f"mode={mode!r} is none of {', '.join(staging.MODES)}")
        call = self._call(symbol, author, message, expected_version)
        found = staging.parts(self.open_library, symbol)
        if not found:
            raise NoSuchSymbol(f"nothing is staged for {symbol!r} of library {self.name!r}: stage() rows first")
        plan = staging.finalize(self.open_library, symbol, found, mode, metadata)
        item = self._made(call, plan, prune=prune_previous_versions)
        staging.discard(self.open_library, symbol, [part.write_id for part in found])
        return item

    def get_staged_symbols(self) -> list[str]:
        """Return the symbols that have staged parts, sorted."""
        return staging.symbols(self.open_library)

    def delete_staged_data(self, symbol: str) -> None:
        """Delete what is staged for a symbol; does nothing when there is nothing."""
        self._call(symbol, None, None)
        staging.discard(self.open_library, symbol)
