"""An object store that fails as networks and processes do, at the request that a test chooses.

Invariant: the same calls in the same order meet the same faults; nothing is left to chance or time.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from threading import RLock
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

from duckvstore.errors import DuckVStoreError, InvalidInput, OutcomeUnknown, StorageUnavailable
from duckvstore.objects.wrappers import WrappedObjects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from duckvstore.objects.base import DeleteFailures, Listed, ObjectStore

Kind: TypeAlias = Literal[
    "crash_before", "crash_after", "drop_response", "error_500", "slow_down", "truncate", "cut_listing"
]
KINDS = ("crash_before", "crash_after", "drop_response", "error_500", "slow_down", "truncate", "cut_listing")
METHODS = ("read", "put", "create", "list", "delete", "now")
_Log: TypeAlias = list["Request"]
_T = TypeVar("_T")


class SimulatedCrash(BaseException):
    """The process is gone: not an Exception, so that no handler in the code under test goes on."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request that was made: its number (from 1), method, and key or prefix."""

    number: int
    method: str
    key: str


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong, and when.

    Attributes:
        kind: ``crash_before`` and ``crash_after`` the request takes effect (every later request crashes too);
            ``drop_response``: it takes effect, its answer is lost; ``error_500`` and ``slow_down``: it has no
            effect (of a create one cannot know: OutcomeUnknown); ``truncate``: only half of the bytes read arrive;
            ``cut_listing``: the first ``kept`` entries of a listing arrive, and it looks as if those were all.
        number: which request, counted from 1; with ``method``, counted among the requests of that method.
        method: count and hit only this method; None: all of them.
        repeat: how many requests in a row are hit.
    """

    kind: Kind
    number: int
    method: str | None = None
    repeat: int = 1
    kept: int = 0

    def __post_init__(self) -> None:
        """Refuse what could never happen, so that no test passes by a misspelt fault."""
        if (
            self.kind not in KINDS
            or self.method not in {None, *METHODS}
            or self.number < 1
            or self.repeat < 1
            or self.kept < 0
        ):
            raise InvalidInput(f"{self} can never happen: kind is one of {KINDS}, method of {METHODS}, numbers from 1")

    def hits(self, number: int, method: str, method_number: int) -> bool:
        """Return whether this fault hits a request with these numbers."""
        counted = number if self.method is None else method_number
        return self.method in {None, method} and self.number <= counted < self.number + self.repeat


class FaultyObjects(WrappedObjects):
    """Carries out requests on ``inner``, except where a fault hits.

    ``requests`` logs all of them, so that a test first runs without faults, and then once per request and kind::

        count = len(trace.requests)
        for number in range(1, count + 1):
            objects = FaultyObjects(fresh(), Fault("crash_after", number))

    ``before`` (when given) is called with each Request before it is carried out, from the thread that makes it:
    a test stalls a request there by waiting for an event. A listing is one request, made when its first entry is
    taken. ``now`` counts as a request.
    """

    def __init__(self, inner: ObjectStore, *faults: Fault, before: Callable[[Request], None] | None = None) -> None:
        """Wrap ``inner``; see the class."""
        super().__init__(inner)
        self.faults = faults
        self.before = before
        self.requests: _Log = []
        self.has_crashed = False
        self._numbers: Counter[str] = Counter()
        self._lock = RLock()

    def _request(self, method: str, key: str, carry_out: Callable[[], _T]) -> _T:
        with self._lock:
            if self.has_crashed:
                raise SimulatedCrash(f"{method} {key!r} after the crash")
            self._numbers[method] += 1
            request = Request(len(self.requests) + 1, method, key)
            self.requests.append(request)
            method_number = self._numbers[method]
        hits = [fault for fault in self.faults if fault.hits(request.number, method, method_number)]
        kind = hits[0].kind if hits else None
        if self.before is not None:
            self.before(request)
        if kind == "crash_before":
            raise self._crash(request, "before")
        if kind in {"error_500", "slow_down"}:
            raise self._unanswered(request, "500 InternalError" if kind == "error_500" else "503 SlowDown")
        try:
            result = carry_out()
        finally:  # an answer that is an error is lost in the same way
            if kind == "crash_after":
                raise self._crash(request, "after")
            if kind == "drop_response":
                raise self._unanswered(request, "the answer was lost")
        if kind == "truncate" and isinstance(result, bytes):
            return result[: len(result) // 2]  # type: ignore[return-value]
        if kind == "cut_listing" and isinstance(result, tuple):
            return result[: hits[0].kept]  # type: ignore[return-value]
        return result

    def _crash(self, request: Request, when: str) -> SimulatedCrash:
        self.has_crashed = True
        return SimulatedCrash(f"{when} request {request.number}: {request.method} {request.key!r}")

    def _unanswered(self, request: Request, reason: str) -> DuckVStoreError:
        what = f"{self.url}: request {request.number}, {request.method} {request.key!r}: {reason}"
        return OutcomeUnknown(what) if request.method == "create" else StorageUnavailable(what)

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:  # noqa: D102
        return self._request("read", key, lambda: self.inner.read(key, start, length))

    def put(self, key: str, data: bytes) -> None:  # noqa: D102
        self._request("put", key, lambda: self.inner.put(key, data))

    def create(self, key: str, data: bytes) -> None:  # noqa: D102
        self._request("create", key, lambda: self.inner.create(key, data))

    def list(  # noqa: D102
        self, prefix: str, start_after: str | None = None, limit: int | None = None, *, folders: bool = False
    ) -> Iterator[Listed]:
        def carry_out() -> tuple[Listed, ...]:
            return tuple(self.inner.list(prefix, start_after, limit, folders=folders))

        yield from self._request("list", prefix, carry_out)

    def delete(self, keys: Iterable[str]) -> DeleteFailures:  # noqa: D102
        wanted = [*keys]
        return self._request("delete", ", ".join(wanted[:3]), lambda: self.inner.delete(wanted))

    def now(self) -> datetime:  # noqa: D102
        return self._request("now", "", self.inner.now)
