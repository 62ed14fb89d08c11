"""What was last seen of the garbage of each symbol.

Invariant: what was once seen as condemned stays so, since version numbers are never used again.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from duckvstore import forks

if TYPE_CHECKING:
    from duckvstore import clock

CACHED_SYMBOLS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Look:
    """What was found under a symbol's garbage prefix: numbers of versions, and the keys of the documents read."""

    numbers: frozenset[int]
    keys: frozenset[str]
    age: clock.Stopwatch | None


_NOTHING = Look(frozenset(), frozenset(), None)


class Looks:
    """The last look at each symbol's garbage. Safe to use from many threads."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._looks: OrderedDict[str, Look] = OrderedDict()
        self._lock = forks.lock()

    def kept(self, symbol: str) -> Look:
        """Return the last look at a symbol, however old."""
        with self._lock:
            return self._looks.get(symbol, _NOTHING)

    def remember(self, symbol: str, look: Look) -> frozenset[int]:
        """Add what a look found to what is known; return all numbers known."""
        with self._lock:
            kept = self._looks.pop(symbol, _NOTHING)
            age = look.age
            if age is None or (kept.age is not None and age.started_before(kept.age)):
                age = kept.age
            merged = Look(kept.numbers | look.numbers, kept.keys | look.keys, age)
            self._looks[symbol] = merged
            while len(self._looks) > CACHED_SYMBOLS_MAX:
                self._looks.popitem(last=False)
            return merged.numbers
