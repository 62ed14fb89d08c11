"""A value of the object store that may be some seconds old."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from duckvstore import clock, forks

if TYPE_CHECKING:
    from collections.abc import Callable

Value = TypeVar("Value")


class Refreshed(Generic[Value]):
    """One value that is read again once it is ``seconds`` old. Thread-safe."""

    def __init__(self, read: Callable[[], Value], seconds: float) -> None:
        """Start empty."""
        self._read, self._seconds = read, seconds
        self._lock = forks.lock()
        self._found: tuple[Value, clock.Stopwatch] | None = None

    def get(self) -> Value:
        """Return the value; callers that want it while it is being read wait for that answer."""
        with self._lock:
            if self._found is None or self._found[1].elapsed_seconds() >= self._seconds:
                watch = clock.Stopwatch()
                self._found = self._read(), watch
            return self._found[0]

    @property
    def is_known(self) -> bool:
        """Whether ``get`` would make no request of its own, since the value is there or on its way."""
        return self._lock.locked() or (self._found is not None and self._found[1].elapsed_seconds() < self._seconds)

    def put(self, value: Value) -> None:
        """Hold ``value``, which is known to be current."""
        self._found = value, clock.Stopwatch()
