"""Caches: what was used last is there, within the memory that is allowed, for any number of threads and processes."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from duckvstore import clock
from duckvstore.caches import Cache
from duckvstore.engine.library.refreshed import Refreshed


def cache(bytes_max=100):
    return Cache(bytes_max, len)


def test_the_value_that_was_not_used_for_longest_is_dropped_first():
    """By the sizes of values, not by their number."""
    kept = cache()
    for key in "abcd":
        kept.put(key, b"." * 25)
    assert kept.get("a") is not None
    kept.put("e", b"." * 50)
    assert [key for key in "abcde" if key in kept] == ["a", "d", "e"]


def test_a_value_larger_than_the_cache_is_not_kept_nor_what_was_in_its_place():
    kept = cache()
    kept.put("a", b"old")
    kept.put("b", b"other")
    kept.put("a", b"." * 101)
    assert kept.get("a") is None
    assert kept.get("b") == b"other"


def test_a_value_is_replaced_and_dropped():
    kept = cache()
    kept.put("a", b"." * 90)
    kept.put("a", b"." * 95)
    assert len(kept.get("a")) == 95
    assert kept.change("a", lambda value: value[:3]) == b"..."
    kept.put("b", b"." * 97)
    kept.drop("a")
    kept.drop("never there")
    assert "a" not in kept
    assert "b" in kept


def test_threads_that_want_the_same_load_it_once():
    kept, begun, go_on, loads = cache(), threading.Event(), threading.Event(), []

    def load():
        loads.append(1)
        begun.set()
        assert go_on.wait(30)
        return b"value"

    with ThreadPoolExecutor(4) as pool:
        wanted = [pool.submit(kept.loaded, "a", load) for _ in range(4)]
        assert begun.wait(30)
        go_on.set()
        assert [each.result() for each in wanted] == [b"value"] * 4
    assert loads == [1]


def test_a_load_that_fails_is_tried_again():
    kept = cache()

    def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        kept.loaded("a", fail)
    assert kept.loaded("a", lambda: b"yes") == b"yes"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("is_held", [True, False])
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_trusts_nothing_that_another_thread_was_changing(is_held):
    """What was whole is there in the child; a lock that is held has no owner there, and guards a cache half changed."""
    kept = cache()
    kept.put("a", b"value")
    if is_held:
        kept._lock.acquire()
    pid = os.fork()
    if pid == 0:
        signal.alarm(30)  # ends the child, should it hang
        found = kept.get("a")
        kept.put("b", b"more")
        os._exit(0 if found == (None if is_held else b"value") and kept.get("b") == b"more" else 1)
    if is_held:
        kept._lock.release()
    assert os.waitpid(pid, 0)[1] == 0
    assert kept.get("a") == b"value"


def test_a_refreshed_value_is_read_again_when_it_is_old(monkeypatch):
    """Who takes it for the present one counts the time anew."""
    now = [0.0]
    monkeypatch.setattr(clock.Stopwatch, "__init__", lambda self: setattr(self, "began", now[0]))
    monkeypatch.setattr(clock.Stopwatch, "elapsed_seconds", lambda self: now[0] - self.began)
    reads = iter("abc")
    value = Refreshed(lambda: next(reads), 60.0)
    assert value.get() == value.get() == "a"
    now[0] = 60.0
    assert value.get() == "b"
    value.put("known")
    now[0] = 119.0
    assert value.get() == "known"
    now[0] = 120.0
    assert value.get() == "c"


def test_a_change_that_is_interrupted_is_forgotten():
    """Whatever half of it was done, everything is read and held again afterwards."""
    kept = cache()
    kept.put("a", b"value")

    class Interrupting(dict):
        def pop(self, *known):
            super().pop(*known)
            raise KeyboardInterrupt

    kept._values._Cache__size = Interrupting(
        kept._values._Cache__size
    )  # of cachetools: its size is gone, its value not
    with pytest.raises(KeyboardInterrupt):
        kept.put("a", b"other")
    for value in (b"again", b"more"):
        kept.put("a", value)
        assert kept.get("a") == value
