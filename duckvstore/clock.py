"""The only reader of time, randomness and ids.

Invariant: no other module calls the system's clock or random source (ruff bans it), so that tests can
move time by replacing the functions of this module.
"""

from __future__ import annotations

import random
import secrets
import time
from datetime import UTC, datetime

_random = random.SystemRandom()


def utc_now() -> datetime:
    """Return this machine's wall time, in UTC with microseconds."""
    return datetime.now(UTC)


def sleep(seconds: float) -> None:
    """Block this thread for ``seconds``."""
    time.sleep(seconds)


class Stopwatch:
    """Measures the time since it was made, as the larger of wall and monotonic time.

    A monotonic clock may stop while a machine sleeps, and a wall clock may be set back: a limit that safety
    rests on must see the time that either of them saw.
    """

    def __init__(self) -> None:
        """Start."""
        self._wall = time.time()
        self._monotonic = time.monotonic()

    def elapsed_seconds(self) -> float:
        """Return the seconds since this was made."""
        return max(time.time() - self._wall, time.monotonic() - self._monotonic)

    def started_before(self, other: Stopwatch) -> bool:
        """Return whether this was made before ``other``, whatever happened to the wall clock between them."""
        return self._monotonic < other._monotonic


def new_id() -> str:
    """Return 32 hexadecimal digits that no other call returns."""
    return secrets.token_hex(16)


def short_id() -> str:
    """Return 16 hexadecimal digits, to make a key unique."""
    return secrets.token_hex(8)


def jitter(seconds: float) -> float:
    """Return a random number of seconds between half of ``seconds`` and all of it."""
    return seconds * (0.5 + 0.5 * _random.random())


def part_of(seconds: float) -> float:
    """Return a random number of seconds up to ``seconds``."""
    return seconds * _random.random()


def back_off(attempt: int, first_seconds: float, seconds_max: float) -> None:
    """Wait before a repetition: ``first_seconds``, doubled ``attempt`` times, up to ``seconds_max``, with jitter."""
    sleep(jitter(min(first_seconds * 2.0 ** min(attempt, 60), seconds_max)))
