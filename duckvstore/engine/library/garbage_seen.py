"""What was last seen of the garbage of each symbol.

What was once seen as condemned stays so, since version numbers are never used again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from duckvstore.caches import MIB, Cache

if TYPE_CHECKING:
    from duckvstore import clock

BYTES_MAX = 32 * MIB


@dataclass(frozen=True, slots=True)
class Look:
    """What was found under a symbol's garbage prefix: numbers of versions, and the keys of the documents read."""

    numbers: frozenset[int]
    keys: frozenset[str]
    age: clock.Stopwatch | None

    def with_earlier(self, kept: Look | None) -> Look:
        """Return this look together with what was known before it."""
        if kept is None:
            return self
        is_older = self.age is None or (kept.age is not None and self.age.started_before(kept.age))
        return Look(kept.numbers | self.numbers, kept.keys | self.keys, kept.age if is_older else self.age)


_NOTHING = Look(frozenset(), frozenset(), None)


class Looks:
    """The last look at each symbol's garbage. Thread-safe."""

    def __init__(self) -> None:
        """Start empty."""
        self._looks: Cache[str, Look] = Cache(
            BYTES_MAX, lambda look: 500 + 100 * len(look.numbers) + 250 * len(look.keys)
        )

    def kept(self, symbol: str) -> Look:
        """Return the last look at a symbol, however old."""
        return self._looks.get(symbol) or _NOTHING

    def remember(self, symbol: str, look: Look) -> frozenset[int]:
        """Add what a look found to what is known; return all numbers known."""
        return (self._looks.change(symbol, look.with_earlier) or look).numbers
