"""How many round trips a call makes one after the other, exactly: on a clock that only requests and sleeping advance.

Each request takes 1 of a virtual time, whatever it takes here. Time goes on when nobody has anything else to do: when
each thread that takes part waits for an answer, for a task that another has begun, for a lock that another holds, or
for work. Then the earliest answers are given, all those that are due at once, and what ran meanwhile took no time. So
what is counted is the longest chain of requests that wait for one another, with the package's own pools of threads and
their sizes, and neither the speed nor the load of the machine matters.

What computes the waits is in one place in the package, ``concurrency.py``; locks that are held during requests are made
by ``forks`` and ``caches``. A wait that is none of these is noticed (``VirtualTime.stalls``) and ends a test.
"""

from __future__ import annotations

import heapq
import random
import threading
import types
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from unittest import mock

from duckvstore import caches, clock, concurrency, forks
from duckvstore.objects.wrappers import WrappedObjects
from tests.counting import CountingObjects

STALLED_SECONDS = 20
_PAGE = 1000


class VirtualTime:
    """The time, who is busy, and who waits for what. Everything here is guarded by one lock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.stalls = 0
        self.seconds_per_trip = 0.0  # how long sleeping is in units of a request; 0: it takes no time
        self.noise: random.Random | None = None  # a request takes a fifth more or less
        self._lock = threading.Lock()
        self._busy = 0
        self._due: list[tuple[float, int, threading.Lock]] = []
        self._order = 0
        self._queued: dict[concurrency.Pool, list[int]] = {}  # by pool: pieces that wait, and that are carried out
        self._waiting: dict[int, list[threading.Lock]] = {}  # by task
        self._promised: set[int] = set()  # tasks that a thread was started for
        self._local = threading.local()

    def seconds(self) -> float:
        """Return the time in seconds that a stopwatch shows."""
        return self.now * self.seconds_per_trip if self.seconds_per_trip else monotonic()

    @property
    def is_mine(self) -> bool:
        """Whether the calling thread takes part."""
        return getattr(self._local, "is_mine", False)

    @contextmanager
    def taking_part(self, *, is_counted: bool = False):
        """Take part with the calling thread. ``is_counted``: somebody has counted it as busy already."""
        with self._lock:
            self._busy += not is_counted
        self._local.is_mine = True
        try:
            yield
        finally:
            self._local.is_mine = False
            with self._lock:
                self._idle()

    def pass_(self, trips: float) -> None:
        """Wait for an answer."""
        if not self.is_mine or not trips:
            return
        if self.noise is not None:
            trips *= self.noise.uniform(0.8, 1.2)
        with self._lock:
            event = _taken()
            self._order += 1
            heapq.heappush(self._due, (self.now + trips, self._order, event))
            self._idle()
        if not event.acquire(timeout=STALLED_SECONDS):
            with self._lock:
                self.stalls += 1
                self._answer()
            event.acquire()

    def _idle(self) -> None:
        """One is busy no more; whoever is the last gives the next answers."""
        self._busy -= 1
        has_begun_nothing = any(waits and doing < pool.size for pool, (waits, doing) in self._queued.items())
        if not self._busy and not has_begun_nothing:
            self._answer()

    def _answer(self) -> None:
        if self._due:
            self.now = max(self.now, self._due[0][0])
        while self._due and self._due[0][0] <= self.now + 1e-9:
            self._busy += 1
            heapq.heappop(self._due)[2].release()

    # -- threads and tasks ---------------------------------------------------------------------------------------

    def hand_over(self, begin, pool, task) -> None:
        with self._lock:
            counts = self._queued.setdefault(pool, [0, 0])
            counts[0] += 1

        def do() -> None:
            with self._lock:
                counts[0] -= 1
                counts[1] += 1
                self._busy += 1
            with self.taking_part(is_counted=True):
                task.do()
                with self._lock:
                    counts[1] -= 1

        begin(pool, types.SimpleNamespace(do=do))

    def carry_out(self, do, task) -> None:
        if not self.is_mine:
            with self._lock:
                is_promised = id(task) in self._promised
                self._promised.discard(id(task))
            if is_promised:
                with self.taking_part(is_counted=True):
                    self.carry_out(do, task)
                return
        do(task)
        with self._lock:
            for event in self._waiting.pop(id(task), ()) if task.is_done else ():
                self._busy += 1
                event.release()

    def wait_for(self, wait, task, seconds: float) -> bool:
        if not self.is_mine:
            return wait(task, seconds)
        with self._lock:
            if task.is_done:
                return True
            event = _taken()
            self._waiting.setdefault(id(task), []).append(event)
            if not task._claims:  # a thread was started for it alone, and is busy in place of this one
                self._promised.add(id(task))
                self._busy += 1
            self._idle()
        if not event.acquire(timeout=seconds):
            with self._lock:
                if event in self._waiting.get(id(task), ()):
                    self._waiting[id(task)].remove(event)
                    self._busy += 1
        return task.is_done


class Lock:
    """A lock, of one thread (``is_again``: it may take it again), that is handed over to who waits for it."""

    def __init__(self, time: VirtualTime, *, is_again: bool = False) -> None:
        self._time, self._is_again = time, is_again
        self._at_fork_reinit()

    def _at_fork_reinit(self) -> None:
        self._guard = threading.Lock()
        self._owner: int | None = None
        self._count = 0
        self._queue: deque = deque()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        me, event = threading.get_ident(), _taken()
        with self._guard:
            if self._owner is None or (self._is_again and self._owner == me):
                self._owner, self._count = me, self._count + 1
                return True
            if not blocking:
                return False
            self._queue.append((me, self._time.is_mine, event))
        if self._time.is_mine:
            with self._time._lock:
                self._time._idle()
        event.acquire()
        return True

    def release(self) -> None:
        with self._guard:
            self._count -= 1
            if self._count:
                return
            self._owner = None
            if self._queue:
                self._owner, is_counted, event = self._queue.popleft()
                self._count = 1
                if is_counted:
                    with self._time._lock:
                        self._time._busy += 1
                event.release()

    def locked(self) -> bool:
        return self._owner is not None

    def __enter__(self):
        self.acquire()
        return self

    def __exit__(self, *_) -> None:
        self.release()


def _taken() -> threading.Lock:
    made = threading.Lock()
    made.acquire()
    return made


class DistantObjects(WrappedObjects):
    """Each request takes 1 of ``time``; a listing one per 1,000 entries, a deletion one per 1,000 keys."""

    def __init__(self, inner, time: VirtualTime) -> None:
        super().__init__(inner)
        self._time = time

    def read(self, key, start=0, length=None):
        self._time.pass_(1)
        return self.inner.read(key, start, length)

    def put(self, key, data):
        self._time.pass_(1)
        self.inner.put(key, data)

    def create(self, key, data):
        self._time.pass_(1)
        self.inner.create(key, data)

    def list(self, prefix, start_after=None, limit=None, *, folders=False):
        self._time.pass_(1)
        for index, entry in enumerate(self.inner.list(prefix, start_after, limit, folders=folders)):
            if index and index % _PAGE == 0:
                self._time.pass_(1)
            yield entry

    def delete(self, keys):
        wanted = [*keys]
        self._time.pass_(-(-len(wanted) // _PAGE))
        return self.inner.delete(wanted)


@dataclass(frozen=True)
class Cost:
    """What a call asked: round trips one after the other, and requests in all."""

    trips: float
    requests: int


class Distance:
    """What calls on ``objects`` cost; see ``at_a_distance``."""

    def __init__(self, inner, time: VirtualTime) -> None:
        self.time = time
        self._counting = CountingObjects(inner)
        self.objects = DistantObjects(self._counting, time)

    def cost(self, action) -> Cost:
        """Carry out ``action`` and return what it cost; what it left on its way is waited for."""
        begun, requests = self.time.now, self._counting.request_count
        with self.time.taking_part():
            action()
            ended = self.time.now
        self._settle()
        assert not self.time.stalls, "a thread waits for something that is not counted"
        return Cost(round(ended - begun, 3), self._counting.request_count - requests)

    def trips(self, action) -> float:
        return self.cost(action).trips

    @property
    def requests(self) -> int:
        """Return how many there were so far."""
        return self._counting.request_count

    def _settle(self) -> None:
        """Wait until nothing that was begun is on its way."""
        while self.time._due or any(sum(counts) for counts in self.time._queued.values()):
            clock_sleep(0.001)

    def together(self, *actions) -> list[float]:
        """Carry out ``actions`` at the same time, each on a thread of its own; return how long each took."""
        begun, took = self.time.now, [0.0] * len(actions)
        errors: list[BaseException] = []

        def run(position: int) -> None:
            with self.time.taking_part(is_counted=True):
                try:
                    actions[position]()
                except BaseException as error:
                    errors.append(error)
                took[position] = self.time.now - begun

        self.time._busy += len(actions)
        threads = [threading.Thread(target=run, args=(position,)) for position in range(len(actions))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self._settle()
        assert not self.time.stalls, "a thread waits for something that is not counted"
        if errors:
            raise errors[0]
        return took


clock_sleep = clock.sleep


@contextmanager
def at_a_distance(inner):
    """Yield a ``Distance`` to the object store ``inner``. What is to be counted is opened in here."""
    time = VirtualTime()
    begin, do, wait = concurrency.Pool.begin, concurrency.Task.do, concurrency.Task.wait
    again = lambda: Lock(time, is_again=True)  # noqa: E731
    with (
        mock.patch.object(concurrency.Pool, "begin", lambda self, task: time.hand_over(begin, self, task)),
        mock.patch.object(concurrency.Task, "do", lambda self: time.carry_out(do, self)),
        mock.patch.object(concurrency.Task, "wait", lambda self, seconds=-1: time.wait_for(wait, self, seconds)),
        mock.patch.object(clock.Stopwatch, "__init__", lambda self: setattr(self, "_monotonic", time.seconds())),
        mock.patch.object(clock.Stopwatch, "elapsed_seconds", lambda self: time.seconds() - self._monotonic),
        mock.patch.object(forks, "lock", lambda: Lock(time)),
        mock.patch.object(forks, "rlock", again),
        mock.patch.object(caches, "threading", types.SimpleNamespace(Lock=lambda: Lock(time))),
        mock.patch.object(
            clock, "sleep", lambda seconds: time.pass_(seconds / time.seconds_per_trip if time.seconds_per_trip else 0)
        ),
    ):
        yield Distance(inner, time)
