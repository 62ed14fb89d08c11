"""What a forked child must not take over from its parent: held locks, and what only the parent's threads can serve.

Invariant: in the child every lock made here is free, every follower has started over, and nothing that a follower
lent belongs to the child: it is never closed there, since DuckDB would wait for threads that do not survive a fork.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NoReturn, TypeVar
from weakref import WeakSet

from duckvstore.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Made = TypeVar("Made")


class Follower:
    """Something with a state that belongs to one process."""

    def lent(self) -> Iterable[object]:
        """Return what must never be closed in a forked child."""
        return ()

    def start_over(self) -> None:
        """Take a fresh state, in a forked child."""
        raise NotImplementedError


_locks: WeakSet[Any] = WeakSet()
_followers: WeakSet[Any] = WeakSet()
_held: list[object] = []


def lock() -> threading.Lock:
    """Return a lock that is free in a forked child, whoever held it in the parent."""
    made = threading.Lock()
    _locks.add(made)
    return made


def rlock() -> threading.RLock:
    """Return a lock that one thread may take again, and that is free in a forked child."""
    made = threading.RLock()
    _locks.add(made)
    return made


def follow(follower: Follower) -> None:
    """Make ``follower`` start over in every forked child, for as long as it is used."""
    _followers.add(follower)


class PerProcess(Generic[Made]):
    """What each process makes once, for itself: connections must not be shared across a fork."""

    def __init__(self) -> None:
        """Make nothing yet."""
        self._made: dict[int, Made] = {}
        self._locks: dict[int, threading.Lock] = {}

    @property
    def known(self) -> Made | None:
        """What this process has made, if it has."""
        return self._made.get(os.getpid())

    def get(self, make: Callable[[], Made]) -> Made:
        """Return what this process has, from ``make`` at the first call."""
        pid = os.getpid()
        if pid not in self._made:
            with self._locks.setdefault(pid, threading.Lock()):
                if pid not in self._made:
                    self._made[pid] = make()
        return self._made[pid]


def close_with(owner: object, close: Callable[[], object]) -> None:
    """Have ``close`` called when ``owner`` is gone, but never in a process that was forked meanwhile."""
    pid = os.getpid()
    weakref.finalize(owner, lambda: pid == os.getpid() and close())


class OfOneProcess:
    """What belongs to the process and the session that made it, and so can be neither pickled nor copied."""

    #: what to hand over in its place
    _instead: ClassVar[str] = "the library, and make it anew there"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        """Refuse. Raises Unsupported."""
        raise Unsupported(
            f"a {type(self).__name__} cannot be pickled or copied, since it belongs to the process that made it: hand "
            f"over {self._instead}"
        )


def _hold() -> None:
    # Taken before the fork: the child drops what other threads had for themselves before it calls anybody.
    for follower in copied(_followers):
        _held.extend(follower.lent())


def _let_go() -> None:
    _held.clear()


def _start_over() -> None:
    import ctypes

    for lent in _held:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(lent))  # for ever: not even the interpreter's end closes it
    _held.clear()
    for made in copied(_locks):
        made._at_fork_reinit()  # noqa: SLF001 - as the standard library does with its own
    for follower in copied(_followers):
        follower.start_over()


def copied(found: WeakSet[Any]) -> list[Any]:
    """Return what is in ``found``, to which other threads may add."""
    while True:
        try:
            return list(found)
        except RuntimeError:  # another thread has added one meanwhile
            continue


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_hold, after_in_parent=_let_go, after_in_child=_start_over)
