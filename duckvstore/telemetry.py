"""What the package tells of its work: events on the logger ``duckvstore``, and requests counted by ``trace``.

docs/observability.md is the contract: the events with their fields, and exactly what is counted.
"""

from __future__ import annotations

import functools
import itertools
import logging
import os
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar

from duckvstore import clock, forks
from duckvstore.errors import printable
from duckvstore.formatting import aligned, size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from threading import Lock

Outcome = TypeVar("Outcome")

LOGGER = logging.getLogger("duckvstore")
LOGGER.addHandler(logging.NullHandler())
SLOW_VARIABLE = "DUCKVSTORE_SLOW_SECONDS"
SLOW_SECONDS = 10.0
KEYS_PER_REQUEST = 1000

_traces: ContextVar[tuple[Trace, ...]] = ContextVar("duckvstore_traces", default=())
_kind: ContextVar[str | None] = ContextVar("duckvstore_kind", default=None)


def tell(level: int, event: str, text: str, **details: object) -> None:
    """Log ``text``; the record has ``event`` and ``details`` as attributes. Neither holds data, SQL or credentials."""
    if LOGGER.isEnabledFor(level):
        LOGGER.log(level, "%s", printable(text, is_line=True), extra={"event": event, **details})


def slow_seconds() -> float:
    """Return from how many seconds on a statement is slow: $DUCKVSTORE_SLOW_SECONDS, else 10."""
    try:
        return float(os.environ.get(SLOW_VARIABLE, SLOW_SECONDS))
    except ValueError:
        return SLOW_SECONDS


@dataclass(slots=True)
class RequestCounts:
    """Requests of one kind: their number, the bytes of objects that they carried, their seconds, and repetitions.

    ``seconds`` are added up over threads, so they may be more than have passed.
    """

    count: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    seconds: float = 0.0
    retries: int = 0


@dataclass(repr=False)
class Trace:
    """What was asked of object stores within a block of ``trace()``.

    ``requests``: by kind, "read", "put", "create", "list" and "delete". ``seconds``: how long the block took, 0 before
    its end.
    """

    requests: dict[str, RequestCounts] = field(default_factory=dict)
    seconds: float = 0.0
    _lock: Lock = field(default_factory=forks.lock, compare=False)

    @property
    def total(self) -> RequestCounts:
        """All kinds together."""
        sums = (sum(getattr(one, known.name) for one in self.requests.values()) for known in fields(RequestCounts))
        return RequestCounts(*sums)

    def add(self, kind: str, **counts: float) -> None:
        """Count what was done by requests of ``kind``."""
        with self._lock:
            found = self.requests.setdefault(kind, RequestCounts())
            for name, number in counts.items():
                setattr(found, name, getattr(found, name) + number)

    def __repr__(self) -> str:
        kinds = [*self.requests.items(), ("total", self.total)]
        lines = [
            (kind, f"{one.count:,}", size(one.bytes_in), size(one.bytes_out), f"{one.seconds:.3f}", f"{one.retries:,}")
            for kind, one in kinds
        ]
        head = ("requests", "count", "in", "out", "seconds", "retries")
        return "\n".join(aligned([head, *lines], right=range(1, len(head))))


@contextmanager
def trace() -> Iterator[Trace]:
    """Count the requests to object stores that the calls in a ``with`` block make, also those on the package's threads.

    Blocks may be nested; other threads of the caller are counted where they run in a copy of the block's context.
    DuckDB's own reads of segments are not counted: ``figures`` of a result tells them.

    Examples:
        >>> with vs.trace() as t:
        ...     _ = lib.read("trades")
        >>> t.requests["read"].count > 0
        True
    """
    found, watch = Trace(), clock.Stopwatch()
    token = _traces.set((*_traces.get(), found))
    try:
        yield found
    finally:
        _traces.reset(token)
        found.seconds = watch.elapsed_seconds()


def retried(url: str, attempt: int, error: BaseException) -> None:
    """Count and log that a request to the object store at ``url`` is sent again: ``attempt`` (from 0) met ``error``."""
    kind, reason = _kind.get() or "request", type(error).__name__
    for one in _traces.get():
        one.add(kind, retries=1)
    text = f"{kind} at {url} is tried again after {reason}, attempt {attempt + 2}"
    tell(logging.INFO, "retry", text, url=url, request=kind, attempt=attempt + 2, reason=reason)


def counted(kind: str, method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method of an object store that counts its requests where somebody traces them.

    What a store asks of another one within itself, as wrappers do, is part of its own request.
    """

    @functools.wraps(method)
    def call(self: Any, *arguments: Any, **named: Any) -> Any:
        if _kind.get() is not None:
            return method(self, *arguments, **named)
        if not _traces.get():
            return _within(kind, lambda: method(self, *arguments, **named))
        if kind == "list":
            return _listed(method(self, *arguments, **named))
        if kind == "delete":
            keys = list(named["keys"] if named else arguments[0])
            return _counted(kind, lambda: method(self, keys), count=-(-len(keys) // KEYS_PER_REQUEST))
        if kind == "read":
            data = _counted(kind, lambda: method(self, *arguments, **named), count=1)
            _add(kind, bytes_in=len(data))
            return data
        sent = named["data"] if "data" in named else arguments[1]
        return _counted(kind, lambda: method(self, *arguments, **named), count=1, bytes_out=len(sent))

    return call


def _within(kind: str, action: Callable[[], Outcome]) -> Outcome:
    token = _kind.set(kind)
    try:
        return action()
    finally:
        _kind.reset(token)


def _counted(kind: str, action: Callable[[], Outcome], **counts: float) -> Outcome:
    watch = clock.Stopwatch()
    try:
        return _within(kind, action)
    finally:
        _add(kind, seconds=watch.elapsed_seconds(), **counts)


def _add(kind: str, **counts: float) -> None:
    for one in _traces.get():
        one.add(kind, **counts)


def _listed(entries: Iterator[Any]) -> Iterator[Any]:
    _add("list", count=1)
    end = object()
    for position in itertools.count():
        entry = _counted("list", lambda: next(entries, end))
        if entry is end:
            return
        if position and position % KEYS_PER_REQUEST == 0:
            _add("list", count=1)
        yield entry
