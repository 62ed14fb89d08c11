"""Heads: what was last seen of the top of each symbol's history, which the next write or consistent cut begins from.

A head may be stale, but it was right at the time of its ``age``, and what that is worth is argued in FORMAT.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from duckvstore.caches import MIB, Cache
from duckvstore.format.stored.documents import memory_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from duckvstore import clock
    from duckvstore.format.stored.documents import Version

BYTES_MAX = 128 * MIB
USABLE_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Head:
    """What is known of the top of a symbol's history.

    ``highest``: the largest number present in any state (-1: none). ``newest``: the largest visible version.
    ``latest``: the latest time of any document seen, which the next one must exceed. ``undecided``: the id of
    the transaction that the highest document belongs to while it is undecided.
    """

    highest: int
    newest: Version | None
    latest: datetime | None
    undecided: str | None
    age: clock.Stopwatch


class Heads:
    """The heads of a library's symbols as last read or written here. Thread-safe."""

    def __init__(self) -> None:
        """Start empty."""
        self._heads: Cache[str, Head] = Cache(BYTES_MAX, lambda head: memory_bytes(head.newest))

    def usable(self, symbol: str) -> Head | None:
        """Return the head of a symbol, if recent enough to write above it.

        A stale head is safe for writing (the conditional create finds out) as long as no document above it
        can have been removed meanwhile, which takes the grace period.
        """
        head = self._heads.get(symbol)
        if head is None or head.undecided or head.age.elapsed_seconds() > USABLE_SECONDS:
            return None
        return head

    def known(self, symbols: Sequence[str]) -> dict[str, Head] | None:
        """Return the heads of ``symbols``, however old; None: not all are known.

        Each is what a reader could have found at some time before this call.
        """
        found = {symbol: self._heads.get(symbol) for symbol in symbols}
        known = {symbol: head for symbol, head in found.items() if head is not None}
        return known if len(known) == len(found) else None

    def remember(self, symbol: str, head: Head) -> None:
        """Keep the head of a symbol.

        One that was read before the one kept says nothing new: a slow reader must not undo what a write knows. Nor
        is one kept whose labels are lost.
        """

        def newer(kept: Head | None) -> Head | None:
            if head.newest is not None and head.newest.lost is not None:
                return None
            return kept if kept is not None and head.age.started_before(kept.age) else head

        self._heads.change(symbol, newer)

    def forget(self, symbol: str) -> None:
        """Drop the head of a symbol whose state is not known any more."""
        self._heads.drop(symbol)
