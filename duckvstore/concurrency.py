"""Threads: one pool for requests, one for work on rows, and the maps that run on them.

The pools belong to the process, so calls within calls (a batch of writes, each of many segments) share them. Nobody
waits for a task that no thread has begun: whoever wants its outcome carries it out. So tasks may start tasks and wait
for them at any depth, since what is waited for is always being carried out; and where no thread can be started, at the
interpreter's exit, the caller does everything.

What a signal's handler raises may come up anywhere on the main thread. Threads and locks are therefore bare ones and
every wait is one call into C: ``threading.Thread``, ``Event``, ``Condition`` and with them ``ThreadPoolExecutor`` are
Python, and an exception in the middle of them can leave a lock taken for ever.
"""

from __future__ import annotations

import _thread
import atexit
import os
import threading
from collections import deque
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from duckvstore import forks
from duckvstore.errors import DuckVStoreError
from duckvstore.progress import progress

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")

PARALLEL_REQUESTS = 16
PARALLEL_DOCUMENTS = 64  # of answers so small that nothing but the distance is waited for


class Task(Generic[Outcome]):
    """An action that is carried out once, by whichever thread comes first, in a copy of its maker's context."""

    def __init__(self, action: Callable[[], Outcome]) -> None:
        """Do nothing yet."""
        self.is_done = False
        self._action: Callable[[], Outcome] | None = partial(copy_context().run, action)
        self._outcome: Any = None
        self.error: BaseException | None = None
        # Whoever was first does it, which is known even where a signal came in between; with the process.
        self._claims: list[tuple[int, object]] = []
        self._end = threading.Lock()
        self._end.acquire()

    def do(self) -> None:
        """Carry it out on this thread, unless another has begun it or it was cancelled."""
        claim, is_own = (os.getpid(), object()), False
        try:
            self._claims.append(claim)
            is_own = self._claims[0] is claim
            if is_own and self._action is not None:
                self._outcome = self._action()
        except BaseException as error:
            if claim is not next(iter(self._claims), None):
                raise
            is_own = True
            self.error = error
        finally:
            if is_own:
                self._action = None
                self.is_done = True
                self._end.release()
            del self  # the error's traceback has this frame, and the task has the error

    def wait(self, seconds: float = -1) -> bool:
        """Return whether it is done, which is waited for (-1: for ever).

        Raises DuckVStoreError in a forked child for what a thread of the parent has begun.
        """
        if not self.is_done and self._claims and self._claims[0][0] != os.getpid():
            raise DuckVStoreError(
                "a call was in the middle of something when this process was forked, which its parent alone can end: "
                "begin it anew here"
            )
        if not self.is_done and self._end.acquire(timeout=seconds):
            self._end.release()
        return self.is_done

    def result(self) -> Outcome:
        """Return what it gave or raise what it raised; carries it out if nobody has begun it (nor cancelled it)."""
        self.do()
        self.wait()
        try:
            if self.error is not None:
                raise self.error
            outcome: Outcome = self._outcome
            return outcome
        finally:
            del self  # as above

    def cancel(self) -> bool:
        """Return whether nobody has begun it; then nobody will."""
        claim = (os.getpid(), object())
        self._claims.append(claim)
        return self._claims[0] is claim

    def forget(self) -> None:
        """Let go of what it gave or raised."""
        self._outcome = self.error = None


class Pool(forks.Follower):
    """Up to ``size`` threads, each started when it is needed and kept until the interpreter exits."""

    def __init__(self, size: int) -> None:
        """Start no thread yet."""
        self.size = size
        self.start_over()
        forks.follow(self)
        atexit.register(self.close)

    def start_over(self) -> None:
        """Have no threads: in a forked child there are none."""
        self._waiting: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._open: list[None] = []  # one for each piece of work that has not ended
        self._ends: list[threading.Lock] = []  # one for each thread, free when it has ended
        self._starting = threading.Lock()

    def close(self) -> None:
        """Wait for what has begun: a thread within a library in C when the interpreter ends may abort the process."""
        self._waiting.put(None)
        while self._ends:
            self._ends.pop().acquire()

    def submit(self, action: Callable[..., Outcome], *arguments: Any) -> Task[Outcome]:
        """Start ``action(*arguments)`` on a thread of this pool."""
        task = Task(partial(action, *arguments))
        self.begin(task)
        return task

    def begin(self, task: Task[Any]) -> None:
        """Have a thread of this pool carry the task out, unless somebody else does before."""
        self._open.append(None)
        self._waiting.put(task.do)
        if len(self._ends) < min(self.size, len(self._open)):
            self._start_thread()

    def _start_thread(self) -> None:
        with self._starting, suppress(RuntimeError):  # the interpreter is about to exit
            if len(self._ends) < min(self.size, len(self._open)):
                end = threading.Lock()
                end.acquire()
                _thread.start_new_thread(_serve, (self._waiting, self._open, end))
                self._ends.append(end)

    def map(
        self,
        action: Callable[[Item], Outcome],
        items: Iterable[Item],
        *,
        at_once: int = PARALLEL_REQUESTS,
        doing: str | None = None,
        unit: str = "segment",
        finishes: bool = False,
    ) -> list[Outcome]:
        """Return ``action(item)`` for every item, in order; the first error is raised, and what has not begun never is.

        ``at_once``: on how many threads, this one included. ``doing``: what a progress bar calls it (None: no bar),
        which counts in ``unit``. ``finishes``: when this raises, wait for what has begun.
        """
        tasks = [Task(partial(action, item)) for item in items]
        left = iter(tasks)
        failed: list[None] = []

        def work_off(until: Task[Outcome] | None = None) -> None:
            while not failed and not (until is not None and until.is_done):
                task = next(left, None)
                if task is None:
                    break
                task.do()
                if task.error is not None:
                    failed.append(None)

        def outcome_of(task: Task[Outcome]) -> Outcome:
            work_off(task)  # rather than wait for it: this thread is one of ``at_once``
            return task.result()

        try:
            for _ in range(min(len(tasks), at_once) - 1):
                self.submit(work_off)
            shown = tasks if doing is None else progress(tasks, doing, unit, len(tasks))
            return [outcome_of(task) for task in shown]
        finally:
            _end(tasks, waits=finishes)

    def stream(self, action: Callable[[Item], Outcome], items: Iterable[Item]) -> Generator[Outcome]:
        """Yield ``action(item)`` for every item, in order, as ``map`` does.

        Items are taken one after the other on this thread, and two for each thread of the pool are held at most. When
        this is closed or raises, it waits for what has begun.
        """
        tasks: deque[Task[Outcome]] = deque()
        try:
            for item in items:
                if len(tasks) == 1:  # a single one is not worth a thread
                    self.begin(tasks[0])
                tasks.append(Task(partial(action, item)))
                if len(tasks) > 1:
                    self.begin(tasks[-1])
                if len(tasks) >= 2 * self.size:
                    yield tasks.popleft().result()
            while tasks:
                yield tasks.popleft().result()
        finally:
            _end(tasks, waits=True)


def _serve(waiting: SimpleQueue[Callable[[], None] | None], open_work: list[None], end: threading.Lock) -> None:
    while (work := waiting.get()) is not None:
        work()
        del work  # and with it what it gave
        open_work.pop()
    waiting.put(None)  # for the next: an interrupt may have come before a thread was noted
    end.release()


def _end(tasks: Iterable[Task[Any]], *, waits: bool) -> None:
    begun = [task for task in tasks if not task.cancel()]
    for task in begun:
        if waits:
            task.wait()
        task.forget()  # a thread that finds nothing left to do may still hold it


IO = Pool(2 * PARALLEL_DOCUMENTS)  # a batch of writes has two requests of each symbol on their way
CPU = Pool(max(4, (os.cpu_count() or 1) + 2))
