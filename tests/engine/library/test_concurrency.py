"""Pools and maps: order, errors, bounds, calls within calls, and what a signal or a fork leaves."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress

import pytest

from duckvstore.concurrency import PARALLEL_REQUESTS, Pool, Task
from duckvstore.errors import DuckVStoreError

NESTED_DEPTH = 5


@pytest.fixture
def pool():
    made = Pool(3)
    yield made
    made.close()


def test_a_map_gives_outcomes_in_order(pool):
    assert pool.map(lambda item: item * 2, range(50)) == list(range(0, 100, 2))
    assert list(pool.stream(lambda item: item * 2, iter(range(50)))) == list(range(0, 100, 2))
    assert pool.map(str, []) == list(pool.stream(str, [])) == []


def test_what_is_single_needs_no_thread(pool):
    assert pool.map(lambda _: threading.get_ident(), [1]) == [threading.get_ident()]
    assert list(pool.stream(lambda _: threading.get_ident(), [1])) == [threading.get_ident()]
    assert not pool._ends


def test_several_items_are_carried_out_at_the_same_time(pool):
    """Each waits for all the others."""
    barrier = threading.Barrier(4, timeout=60)
    pool.map(lambda _: barrier.wait(), range(4))
    barrier = threading.Barrier(3, timeout=60)
    list(pool.stream(lambda _: barrier.wait(), range(3)))


def test_as_many_as_there_are_threads_are_carried_out_at_once_also_after_interrupts():
    """What is interrupted while it hands over work leaves no thread counted as free that is not."""
    pool, interrupts = Pool(64), 0

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        while interrupts < 300:
            with suppress(KeyboardInterrupt):
                signal.setitimer(signal.ITIMER_REAL, 0.0001 + interrupts % 50 * 1e-6)
                for _ in range(1000):  # Python may lose an interrupt, in a destructor for one
                    pool.submit(int).wait()
            interrupts += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    barrier = threading.Barrier(16, timeout=20)
    assert sorted(pool.map(lambda _: barrier.wait(), range(16))) == list(range(16))
    pool.close()


def test_no_more_are_carried_out_at_once_than_is_said(pool):
    lock, now, most = threading.Lock(), [0], [0]

    def action(item):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        with lock:
            now[0] -= 1
        return item

    assert pool.map(action, range(200), at_once=2) == list(range(200))
    assert most[0] <= 2


def test_a_stream_takes_its_items_on_this_thread_and_holds_few(pool):
    taken, done = [], []

    def items():
        for number in range(100):
            taken.append(threading.get_ident())
            yield number

    for number in pool.stream(lambda item: item, items()):
        done.append(number)
        assert len(taken) - len(done) <= 2 * pool.size
    assert done == list(range(100))
    assert set(taken) == {threading.get_ident()}


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
@pytest.mark.parametrize("way", ["map", "stream"])
def test_the_first_error_is_raised_and_what_was_not_begun_never_is(pool, way, error):
    begun = []

    def action(item):
        begun.append(item)
        if item >= 10:
            raise error
        return item

    with pytest.raises(type(error)) as caught:
        list(getattr(pool, way)(action, range(10_000)))
    assert caught.value is error
    pool.close()  # what has begun is over
    assert len(begun) <= 10 + PARALLEL_REQUESTS


def test_what_has_begun_is_over_when_a_map_that_finishes_raises(pool):
    go_on, running, ended = threading.Event(), threading.Barrier(2, timeout=60), []

    def action(item):
        running.wait()
        if item == 0:
            threading.Timer(0.05, go_on.set).start()
            raise ValueError("no")
        assert go_on.wait(60)
        ended.append(item)

    with pytest.raises(ValueError, match="no"):
        pool.map(action, range(2), finishes=True)
    assert ended == [1]


def test_calls_within_calls_end_in_a_pool_of_one_thread():
    """Whoever waits carries out what nobody has begun, at any depth."""
    pool = Pool(1)

    def nested(depth):
        if not depth:
            return 1
        ahead = pool.submit(nested, depth - 1)
        return sum(pool.map(nested, [depth - 1] * 2)) + sum(pool.stream(nested, [depth - 1] * 2)) + ahead.result()

    assert nested(NESTED_DEPTH) == 5**NESTED_DEPTH
    pool.close()


def test_all_is_done_where_no_thread_can_be_started(monkeypatch):
    import _thread

    def refuse(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_thread, "start_new_thread", refuse)
    pool = Pool(3)
    assert pool.submit(lambda: 7).result() == 7
    assert pool.map(str, range(3)) == list(pool.stream(str, range(3))) == ["0", "1", "2"]


def test_a_task_is_carried_out_once():
    done = []
    task = Task(lambda: done.append(1))
    threads = [threading.Thread(target=task.do) for _ in range(8)]
    for thread in threads:
        thread.start()
    task.result()
    for thread in threads:
        thread.join()
    task.result()
    assert done == [1]


def test_a_cancelled_task_is_never_begun():
    done = []
    task = Task(lambda: done.append(1))
    assert task.cancel()
    task.do()
    assert not done
    begun = Task(lambda: 1)
    begun.do()
    assert not begun.cancel()
    assert begun.result() == 1


def test_an_error_keeps_neither_its_task_nor_what_that_held():
    """No cycle that the garbage collector would have to find: a result may hold a connection."""
    import gc
    import weakref

    class Held:
        pass

    def fail(_):
        raise ValueError("no")

    held = Held()
    seen = weakref.ref(held)
    gc.disable()
    try:
        task = Task(lambda held=held: fail(held))
        with suppress(ValueError):
            task.result()
        del task, held
        assert seen() is None
    finally:
        gc.enable()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_starts_threads_of_its_own(pool):
    """Whatever the parent's threads are doing, and though they hold the lock that starts them."""
    pool.map(str, range(10))
    pool._starting.acquire()
    pid = os.fork()
    if pid == 0:
        signal.alarm(30)  # ends the child, should it hang
        barrier = threading.Barrier(2, timeout=20)
        pool.map(lambda _: barrier.wait(), range(2))
        os._exit(0)
    pool._starting.release()
    assert os.waitpid(pid, 0)[1] == 0
    assert pool.map(str, range(3)) == ["0", "1", "2"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_does_not_wait_for_what_its_parent_has_begun(pool):
    """Nobody would ever end it there: an error at once, and the parent's own goes on."""
    begun, hold = threading.Event(), threading.Event()
    task = pool.submit(lambda: (begun.set(), hold.wait(60)))
    assert begun.wait(30)
    pid = os.fork()
    if pid == 0:
        signal.alarm(30)
        with suppress(DuckVStoreError):
            task.result()
            os._exit(1)
        os._exit(0 if Task(lambda: 5).result() == 5 else 2)
    hold.set()
    assert os.waitpid(pid, 0)[1] == 0
    assert task.result() == (None, True)
