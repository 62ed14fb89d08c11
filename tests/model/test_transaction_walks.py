"""A transaction over three symbols with a fault, a reader or a rival at each of its requests: all of it or nothing."""

from __future__ import annotations

import functools
import os
import threading
from datetime import timedelta

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

import duckvstore as vs
from duckvstore import clock
from duckvstore.engine.reading import cuts
from duckvstore.errors import DuckVStoreError
from duckvstore.format.rows import chunking
from duckvstore.objects.memory import MemoryObjects
from duckvstore.testing.faulty import Fault, FaultyObjects, SimulatedCrash
from tests.sizes import step

SYMBOLS = ("a", "b", "c")
# Kind of fault, how many requests in a row it hits, and of which methods (None: any).
FAULTS = (
    ("crash_before", 1, None),
    ("crash_after", 1, None),
    ("drop_response", 1, None),
    ("error_500", 1, None),
    ("slow_down", 3, ("create",)),
    ("drop_response", 12, ("create",)),
    ("slow_down", 12, ("create",)),
    ("truncate", 1, ("read",)),
)
_prepared: dict[str, bytes] = {}


@pytest.fixture(autouse=True)
def _time_passes_by_sleeping(monkeypatch):
    """Sleeping takes no time and is all that takes any; segments are small so that a value has several."""
    slept = [0.0]

    def sleep(seconds):
        slept[0] += seconds

    monkeypatch.setattr(clock, "sleep", sleep)
    monkeypatch.setattr(clock.Stopwatch, "__init__", lambda self: setattr(self, "_monotonic", slept[0]))
    monkeypatch.setattr(clock.Stopwatch, "elapsed_seconds", lambda self: slept[0] - self._monotonic)
    monkeypatch.setattr(chunking, "window_rows", lambda *_, **__: 8)


@functools.cache
def frame(seed: int, length: int = 8) -> pd.DataFrame:
    index = pd.date_range("2026-01-01", periods=length, freq="D") + pd.Timedelta(days=100 * seed)
    return pd.DataFrame({"seed": seed, "n": range(length)}, index=pd.DatetimeIndex(index, name="time").as_unit("ns"))


def prepared() -> MemoryObjects:
    """A library with one version of each of three symbols."""
    objects = MemoryObjects("walk")
    if not _prepared:
        lib = vs.Store(objects).create_library("eod")
        for position, symbol in enumerate(SYMBOLS):
            lib.write(symbol, frame(position), metadata=position)
        _prepared.update(objects._objects)
    objects._objects.update(_prepared)
    return objects


def eod(objects) -> vs.Library:
    return vs.Store(objects).get_library("eod")


def blind(lib) -> None:
    """Edit three symbols without a read."""
    with lib.transaction(message="walk") as transaction:
        transaction.append("c", frame(5))
        transaction.append("a", frame(5))
        transaction.write("b", frame(5))


def reading(lib) -> None:
    """Edit three symbols, read before and between."""
    with lib.transaction(message="walk") as transaction:
        assert transaction.read("b").metadata == 1
        transaction.append("a", frame(5))
        transaction.delete_rows("c", "n > 5")
        transaction.append("a", frame(6))
        transaction.write("b", frame(5, len(transaction.read("a").data)))


EXPECTED = {
    blind: {"a": pd.concat([frame(0), frame(5)]), "b": frame(5), "c": pd.concat([frame(2), frame(5)])},
    reading: {"a": pd.concat([frame(0), frame(5), frame(6)]), "b": frame(5, 24), "c": frame(2, 6)},
}


def opened(*, is_warm: bool) -> tuple[vs.Library, FaultyObjects]:
    """A handle that has read the heads (warm) or nothing, over objects that count from here."""
    lib = eod(objects := FaultyObjects(prepared()))
    if is_warm:
        for symbol in SYMBOLS:
            lib.read_metadata(symbol)
        assert lib.options.grace_seconds
    objects.requests.clear()
    objects._numbers.clear()
    return lib, objects


def walk(operation, *, is_warm: bool):
    """Yield where each fault was, the objects behind it, and what was raised (None: nothing)."""
    lib, objects = opened(is_warm=is_warm)
    operation(lib)
    counts = dict(objects._numbers)
    for method, count in counts.items():
        for number in range(1, count + 1):
            possible = [(kind, repeat) for kind, repeat, methods in FAULTS if methods is None or method in methods]
            # The last of a kind decides: all of what may happen to it does.
            for kind, repeat in possible if number == count else possible[number % step(0.5) :: step(0.5)]:
                lib, objects = opened(is_warm=is_warm)
                objects.faults = (Fault(kind, number, method, repeat),)
                failure = None
                try:
                    operation(lib)
                except (SimulatedCrash, DuckVStoreError) as error:
                    failure = error
                objects.faults = ()
                yield f"{kind} at {method} {number}, {repeat} times: {failure!r}", lib, objects, failure


def seen(lib) -> bool:
    """Whether the transaction is visible; fails where a part of it is. Whatever is visible reads equal."""
    listed = lib.list_versions()
    made = {pair.symbol for pair, info in listed.items() if info.message == "walk"}
    assert made in (set(), set(SYMBOLS))
    for position, symbol in enumerate(SYMBOLS):
        assert_frame_equal(lib.read(symbol, as_of=0).data, frame(position), check_freq=False)
    return bool(made)


WALKS = [(blind, True), (reading, False)]
if os.environ.get("DUCKVSTORE_FULL"):
    WALKS += [(blind, False), (reading, True)]


@pytest.mark.parametrize(("operation", "is_warm"), WALKS)
def test_a_fault_at_any_request_leaves_all_of_it_or_nothing(operation, is_warm):
    """A crash, a lost answer or a refusal at any request: whole or absent, and the next writers go on."""
    outcomes = set()
    for where, lib, objects, failure in walk(operation, is_warm=is_warm):
        is_visible = seen(eod(objects.inner))
        outcomes.add((type(failure).__name__, is_visible))
        if failure is None:
            assert is_visible, where
        elif not isinstance(failure, (SimulatedCrash, vs.OutcomeUnknown)):
            assert not is_visible, f"{where}: it says that nothing is visible"
        fresh = eod(objects.inner)
        assert set(fresh.snapshot("after").versions.values()) == {int(is_visible)}, where
        # The next writers settle what is left; one of them, where it lives, is the handle that failed.
        with fresh.transaction() as transaction:
            transaction.append("c", frame(7))
            transaction.append("b", frame(7))
        (fresh if objects.has_crashed else lib).append("a", frame(7))
        # What is left over is needed by nobody: removed, all still reads, and nothing else is there.
        fresh.gc(grace=timedelta(0), dry_run=False)
        last = eod(objects.inner)
        report = last.verify()
        assert not report.problems, where
        assert not report.orphans, where
        assert seen(last) == is_visible, where
        for position, symbol in enumerate(SYMBOLS):
            value = EXPECTED[operation][symbol] if is_visible else frame(position)
            assert_frame_equal(last.read(symbol).data, pd.concat([value, frame(7)]), check_freq=False)
            if is_visible:
                assert_frame_equal(last.read(symbol, as_of=1).data, value, check_freq=False)
    assert ("NoneType", True) in outcomes
    assert ("SimulatedCrash", True) in outcomes, "after the decision"
    assert ("SimulatedCrash", False) in outcomes
    assert ("OutcomeUnknown", True) in outcomes
    assert ("OutcomeUnknown", False) in outcomes


@pytest.mark.parametrize("operation", [blind, reading])
def test_readers_between_any_two_requests_see_all_of_it_or_nothing(operation):
    """A fresh reader and one with a cache, before each request: cuts, snapshots and SQL hold it whole."""
    lib, objects = opened(is_warm=False)
    cached = eod(objects.inner)
    states = []
    one_at_a_time = threading.Lock()  # requests that are on their way together

    def look(request):
        with one_at_a_time:
            look_alone(request)

    def look_alone(request):
        for reader in (cached, eod(objects.inner)):
            cut = cuts.collect_cut(reader.open_library, SYMBOLS)
            numbers = {version.number for version in cut.values()}
            assert len(numbers) == 1, request
            assert seen(reader) == (numbers == {1}), request
            name = f"s{len(states)}"
            states.append(numbers.pop())
            assert set(reader.snapshot(name).versions.values()) == {states[-1]}, request
            rows = reader.sql("SELECT sum(seed) FROM (SELECT seed FROM a UNION ALL SELECT seed FROM b)").fetchall()
            assert rows[0][0] in (8, sum(int(EXPECTED[operation][symbol]["seed"].sum()) for symbol in "ab"))

    objects.before = look
    operation(lib)
    look(None)
    assert states == sorted(states)
    assert states[0] == 0
    assert states[-1] == 1
    assert len(states) > 20


RIVALS = {
    "append a": lambda lib: lib.append("a", frame(4)),
    "append c": lambda lib: lib.append("c", frame(4)),
    "write b": lambda lib: lib.write("b", frame(4), metadata=1),
    "transaction": lambda lib: rival_transaction(lib),
    "gc": lambda lib: lib.gc(dry_run=False),
}


def rival_transaction(lib) -> None:
    with lib.transaction(message="rival") as transaction:
        transaction.append("b", frame(4), metadata=1)
        transaction.append("c", frame(4))


MEETINGS = [
    (blind, "append a"),
    (blind, "transaction"),
    (reading, "append c"),
    (reading, "transaction"),
    (reading, "gc"),
]
if os.environ.get("DUCKVSTORE_FULL"):
    MEETINGS = [(operation, rival) for operation in (blind, reading) for rival in RIVALS]


@pytest.mark.parametrize(("operation", "rival"), MEETINGS)
def test_a_rival_at_any_request_loses_nothing_and_is_lost_nowhere(operation, rival):
    """Another writer's whole call between any two requests: it is there afterwards, the transaction whole or not."""
    lib, objects = opened(is_warm=True)
    operation(lib)
    outcomes = set()
    for position in range(1, len(objects.requests) + 1, step(0.2)):
        lib, objects = opened(is_warm=True)

        def act(request, position=position, objects=objects):
            if request.number == position:
                objects.before = None
                RIVALS[rival](eod(objects.inner))

        objects.before = act
        failure = None
        try:
            operation(lib)
        except vs.Conflict as error:
            failure = error
        outcomes.add(failure is None)
        fresh = eod(objects.inner)
        assert seen(fresh) == (failure is None), position
        changed = {"append a": "a", "write b": "b", "append c": "c", "transaction": "bc"}.get(rival, "")
        for symbol in changed:
            versions = [fresh.read(symbol, as_of=pair.version).data for pair in fresh.list_versions(symbol)]
            own = [4 in data["seed"].values for data in versions]
            assert any(own), (position, "what the rival was told is there, is there")
            # A version that does not write the whole value keeps what was there before it.
            assert symbol == "b" or own[0], (position, symbol)
        with fresh.transaction() as transaction:
            for symbol in SYMBOLS:
                transaction.write(symbol, frame(1))
        assert not fresh.verify().problems
    # Above a remembered head, whatever changes a symbol is a conflict; what is read is read as it is.
    assert (True in outcomes) == (operation is reading or rival == "gc")
    assert (False in outcomes) == (rival != "gc")
