"""Every operation with a fault at each of its requests: what was acknowledged stays, nothing is half visible."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

import duckvstore as vs
from duckvstore import clock
from duckvstore.errors import DuckVStoreError
from duckvstore.objects.memory import MemoryObjects
from duckvstore.testing.faulty import Fault, FaultyObjects, SimulatedCrash
from tests.cuts import cut_every
from tests.sizes import step

# Kind of fault, and how many requests in a row it hits: 3 are outlasted by a create, 12 are not.
FAULTS = (
    ("crash_before", 1),
    ("crash_after", 1),
    ("drop_response", 1),
    ("error_500", 1),
    ("drop_response", 3),
    ("slow_down", 3),
    ("drop_response", 12),
    ("truncate", 1),
)
METHODS_HIT = {
    ("truncate", 1): ("read",),
    ("drop_response", 3): ("create",),
    ("slow_down", 3): ("create", "delete"),
    ("drop_response", 12): ("create",),
}


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    """Retries need not wait, and segments are small so that a value has several."""
    monkeypatch.setattr(clock, "sleep", lambda seconds: None)
    cut_every(monkeypatch, 40)


def frame(seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame({"price": random.normal(size=100), "sym": random.choice(["a", "b"], 100)})


def prepared() -> MemoryObjects:
    """A library with two versions of one symbol, another symbol and a snapshot."""
    objects = MemoryObjects("walk")
    if not _prepared:
        lib = vs.Store(objects).create_library("eod")
        lib.write("trades", frame(0))
        lib.write("trades", frame(1), metadata={"n": 1})
        lib.write("quotes", frame(2))
        lib.snapshot("first", versions={"trades": 0})
        _prepared.update(objects._objects)
    objects._objects.update(_prepared)
    return objects


_prepared: dict[str, bytes] = {}


OPERATIONS = {
    "write": lambda lib: lib.write("trades", frame(3)),
    "write new": lambda lib: lib.write("fresh", frame(3)),
    "write expected": lambda lib: lib.write("trades", frame(3), expected_version=1),
    "write_metadata": lambda lib: lib.write_metadata("trades", {"n": 2}),
    "restore_version": lambda lib: lib.restore_version("trades", 0),
    "delete": lambda lib: lib.delete("trades"),
    "snapshot": lambda lib: lib.snapshot("second"),
    "delete_snapshot": lambda lib: lib.delete_snapshot("first"),
    "read": lambda lib: assert_frame_equal(lib.read("trades", as_of=1).data, frame(1)),
    "list": lambda lib: check_equal(len(lib.list_versions()), 3),
}
STORE_OPERATIONS = {
    "create_library": lambda store: store.create_library("new"),
    "get_library": lambda store: store.get_library("new", create_if_missing=True),
    "get_library there": lambda store: store.get_library("eod", create_if_missing=True),
    "delete_library": lambda store: store.delete_library("eod"),
    "list_libraries": lambda store: check_equal(store.list_libraries(), ["eod"]),
    "has_library": lambda store: check_equal(store.has_library("eod"), True),
}


def check_equal(found, expected) -> None:
    assert found == expected


def requests_of(operation, handle) -> dict[str, int]:
    """How many requests of each method the operation makes without faults, on what ``handle(store)`` gives."""
    opened = handle(vs.Store(objects := FaultyObjects(prepared())))
    objects.requests.clear()
    objects._numbers.clear()
    operation(opened)
    counts: dict[str, int] = {}
    for request in objects.requests:
        counts[request.method] = counts.get(request.method, 0) + 1
    return counts


def walk(operations, handle):
    """Yield each operation, where it is, and what happened to it under each fault: None for no error.

    A listing that is without a document says so by a warning, which counts as an error here.
    """
    for name, operation in operations.items():
        for method, count in requests_of(operation, handle).items():
            for number in range(1, count + 1):
                for kind, repeat in FAULTS[number % step(1) :: step(1)]:
                    if method not in METHODS_HIT.get((kind, repeat), (method,)):
                        continue
                    opened = handle(vs.Store(faulty := FaultyObjects(prepared())))
                    faulty._numbers.clear()
                    faulty.faults = (Fault(kind, number, method, repeat),)
                    failure = None
                    try:
                        operation(opened)
                    except (SimulatedCrash, DuckVStoreError, vs.DocumentWarning) as error:
                        failure = error
                    yield name, f"{name}: {kind} at {method} {number}, {repeat} times", faulty.inner, failure


def check_whole(objects: MemoryObjects) -> dict[tuple[str, int], str]:
    """Read every listed version with a fresh handle; return their operations."""
    lib = vs.Store(objects).get_library("eod")
    listed = lib.list_versions()
    for (symbol, version), info in listed.items():
        if not info.deleted:
            assert len(lib.read(symbol, as_of=version).data) == info.row_count
    for snapshot in lib.list_snapshots():
        for symbol in lib.list_symbols(snapshot):
            lib.read(symbol, as_of=snapshot)
    return {pair: info.operation for pair, info in listed.items()}


def acknowledged_is_there(lib) -> None:
    assert_frame_equal(lib.read("trades", as_of=0).data, frame(0))
    assert_frame_equal(lib.read("trades", as_of=1).data, frame(1))
    assert lib.read_metadata("trades", as_of=1).metadata == {"n": 1}
    assert_frame_equal(lib.read("quotes").data, frame(2))


def eod(store: vs.Store):
    return store.get_library("eod")


def test_a_fault_at_any_request_loses_nothing_and_shows_nothing_half():
    """For each operation, request and kind of fault: the three promises hold, and the next write works."""
    walked = 0
    before = check_whole(prepared())
    for name, where, inner, failure in walk(OPERATIONS, eod):
        after = check_whole(inner)
        lib = eod(vs.Store(inner))
        acknowledged_is_there(lib)
        made = {pair: after[pair] for pair in after.keys() - before.keys()}
        assert before.keys() <= after.keys(), where
        assert len(made) <= 1, where
        writes = name.startswith(("write", "restore")) or name == "delete"
        if failure is None:
            assert len(made) == writes, where
            assert ("second" in lib.list_snapshots()) == (name == "snapshot"), where
            assert ("first" in lib.list_snapshots()) == (name != "delete_snapshot"), where
        elif not isinstance(failure, (SimulatedCrash, vs.OutcomeUnknown)):
            assert not made, f"{where}: {failure!r} says that nothing happened"
        # The next operation works, and its number follows the highest without a gap.
        versions = sorted(version for symbol, version in lib.list_versions("trades"))
        assert versions == list(range(len(versions))), where
        assert lib.write("trades", frame(4)).version == len(versions), where
        assert_frame_equal(lib.read("trades").data, frame(4))
        walked += 1
    assert walked > 300 / step(1)


def test_a_fault_at_any_request_leaves_libraries_whole_or_absent():
    """Making, finding and removing libraries: afterwards each is whole or gone, and its name can be used."""
    walked = 0
    for name, where, inner, failure in walk(STORE_OPERATIONS, lambda store: store):
        store = vs.Store(inner)
        present = store.list_libraries()
        if name != "delete_library":
            assert {key: inner._objects[key] for key in _prepared} == _prepared, where
        if failure is None:
            expected = {"create_library": ["eod", "new"], "get_library": ["eod", "new"], "delete_library": []}
            assert present == expected.get(name, ["eod"]), where
        if name == "delete_library":
            if "eod" in present:
                check_whole(inner)
            if any(key.startswith("eod/") for key in inner._objects):
                store.delete_library("eod")
        for library in ("eod",) if name == "delete_library" else ("new",):
            lib = store.get_library(library, create_if_missing=True)
            assert_frame_equal(lib.read("trades", as_of=lib.write("trades", frame(4)).version).data, frame(4))
            assert library in store.list_libraries(), where
        walked += 1
    assert walked > 100 / step(1)


def test_a_lost_answer_to_the_commit_is_still_one_version():
    """When the create lands and its answer is lost, the call finds its own document and succeeds once."""
    inner = prepared()
    objects = FaultyObjects(inner)
    lib = vs.Store(objects).get_library("eod")
    objects._numbers.clear()
    objects.faults = (Fault("drop_response", 1, "create"),)
    item = lib.write("trades", frame(5), message="once")
    assert item.version == 2
    versions = vs.Store(inner).get_library("eod").list_versions("trades")
    assert [info.message for info in versions.values()] == ["once", None, None]


def test_an_outcome_that_stays_unknown_names_version_and_write_id():
    """When no create gets an answer, OutcomeUnknown says what may have been made."""
    inner = prepared()
    objects = FaultyObjects(inner)
    lib = vs.Store(objects).get_library("eod")
    objects._numbers.clear()
    objects.faults = (Fault("error_500", 1, "create", repeat=1000),)
    with pytest.raises(vs.OutcomeUnknown, match=r"version 2 of eod/trades \(write id [0-9a-f]{32}\)"):
        lib.write("trades", frame(5))


@pytest.mark.parametrize("kind", ["drop_response", "error_500"])
def test_a_lost_answer_to_deleting_a_snapshot_says_to_look(kind):
    """Nobody can know whether it is there still: not "nothing happened"."""
    inner = prepared()
    objects = FaultyObjects(inner)
    lib = vs.Store(objects).get_library("eod")
    objects._numbers.clear()
    objects.faults = (Fault(kind, 1, "delete", repeat=1000),)
    with pytest.raises(vs.OutcomeUnknown, match=r"snapshot 'first' of library 'eod'.*list_snapshots\(\)"):
        lib.delete_snapshot("first")


def test_another_writers_version_is_a_conflict_that_is_planned_again():
    """A writer with a stale head takes the next number; with expected_version it raises Conflict."""
    inner = prepared()
    one, other = (vs.Store(inner).get_library("eod") for _ in range(2))
    one.write("trades", frame(5))
    assert other.write("trades", frame(6)).version == 3
    with pytest.raises(vs.Conflict, match=r"taken by another writer \(expected head 2, found 3\)"):
        one.write("trades", frame(7), expected_version=2)
    assert one.write("trades", frame(7), expected_version=3).version == 4


def test_the_intent_is_there_before_the_commit_is_tried():
    """The journal entry of a write is acknowledged before its document is created."""
    objects = FaultyObjects(prepared())
    lib = vs.Store(objects).get_library("eod")
    for operation in (OPERATIONS["write"], OPERATIONS["write_metadata"], OPERATIONS["delete"]):
        objects.requests.clear()
        operation(lib)
        keys = [request.key for request in objects.requests if request.method in ("put", "create")]
        created = next(position for position, key in enumerate(keys) if "/versions/" in key)
        announced = next(position for position, key in enumerate(keys) if "/journal/" in key)
        assert announced < created


def test_each_write_that_refuses_its_input_changes_nothing():
    """Bad input is refused before anything is written."""
    inner = prepared()
    keys = set(inner._objects)
    lib = vs.Store(inner).get_library("eod")
    bad = pd.DataFrame({"mixed": [1, "a", None, object()]})
    for data in (bad, object(), pd.DataFrame({"c": [1 + 2j]})):
        with pytest.raises((vs.InvalidInput, vs.Unsupported)):
            lib.write("trades", data)
    with pytest.raises(vs.InvalidInput):
        lib.write("trades", frame(1), metadata={"a": object()})
    with pytest.raises(vs.InvalidInput):
        lib.write("x" * 241, frame(1))
    assert set(inner._objects) == keys
