"""Every operation with a fault at each of its requests: what was acknowledged stays, nothing is half visible."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

import duckvstore as vs
from duckvstore import clock
from duckvstore.errors import DuckVStoreError
from duckvstore.format import chunking
from duckvstore.objects.memory import MemoryObjects
from duckvstore.testing.faulty import Fault, FaultyObjects, SimulatedCrash

KINDS = ("crash_before", "crash_after", "drop_response", "error_500")


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    """Retries need not wait, and segments are small so that a value has several."""
    monkeypatch.setattr(clock, "sleep", lambda seconds: None)
    monkeypatch.setattr(chunking, "SEGMENT_ROWS_MIN", 40)
    monkeypatch.setattr(chunking, "SEGMENT_LOGICAL_BYTES", 400)


def frame(seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    return pd.DataFrame({"price": random.normal(size=100), "sym": random.choice(["a", "b"], 100)})


def prepared() -> MemoryObjects:
    """A library with two versions of one symbol, another symbol and a snapshot."""
    objects = MemoryObjects("walk")
    lib = vs.Store(objects).create_library("eod")
    lib.write("trades", frame(0))
    lib.write("trades", frame(1), metadata={"n": 1})
    lib.write("quotes", frame(2))
    lib.snapshot("first", versions={"trades": 0})
    return objects


OPERATIONS = {
    "write": lambda lib: lib.write("trades", frame(3)),
    "write new": lambda lib: lib.write("fresh", frame(3)),
    "write expected": lambda lib: lib.write("trades", frame(3), expected_version=1),
    "write_metadata": lambda lib: lib.write_metadata("trades", {"n": 2}),
    "restore_version": lambda lib: lib.restore_version("trades", 0),
    "delete": lambda lib: lib.delete("trades"),
    "snapshot": lambda lib: lib.snapshot("second"),
    "delete_snapshot": lambda lib: lib.delete_snapshot("first"),
}


def requests_of(operation) -> dict[str, int]:
    """How many requests of each method the operation makes without faults, from a fresh handle."""
    objects = FaultyObjects(prepared())
    lib = vs.Store(objects).get_library("eod")
    objects.requests.clear()
    objects._numbers.clear()
    operation(lib)
    counts: dict[str, int] = {}
    for request in objects.requests:
        counts[request.method] = counts.get(request.method, 0) + 1
    return counts


def walk():
    for name, operation in OPERATIONS.items():
        for method, count in requests_of(operation).items():
            for number in range(1, count + 1):
                for kind in KINDS:
                    yield name, operation, method, number, kind


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


def test_a_fault_at_any_request_loses_nothing_and_shows_nothing_half(monkeypatch):
    """For each operation, request and kind of fault: the three promises hold, and the next write works."""
    walked = 0
    for name, operation, method, number, kind in walk():
        inner = prepared()
        before = check_whole(inner)
        lib = vs.Store(faulty := FaultyObjects(inner)).get_library("eod")
        faulty._numbers.clear()
        faulty.faults = (Fault(kind, number, method),)
        acknowledged = True
        try:
            operation(lib)
        except (SimulatedCrash, DuckVStoreError):
            acknowledged = False
        after = check_whole(inner)
        where = f"{name}: {kind} at {method} {number}"
        acknowledged_is_there(vs.Store(inner).get_library("eod"))
        made = {pair: after[pair] for pair in after.keys() - before.keys()}
        assert before.keys() <= after.keys(), where
        assert len(made) <= 1, where
        if acknowledged and "snapshot" not in name:
            assert len(made) == 1, where
        if acknowledged and name == "snapshot":
            assert "second" in vs.Store(inner).get_library("eod").list_snapshots(), where
        # The next operation works, and its number follows the highest without a gap.
        lib = vs.Store(inner).get_library("eod")
        versions = sorted(version for symbol, version in lib.list_versions("trades"))
        assert versions == list(range(len(versions))), where
        item = lib.write("trades", frame(4))
        assert item.version == len(versions), where
        assert_frame_equal(lib.read("trades").data, frame(4))
        walked += 1
    assert walked > 150


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
        lib.write("trades", frame(1), metadata={1: 2})
    with pytest.raises(vs.InvalidInput):
        lib.write("x" * 241, frame(1))
    assert set(inner._objects) == keys
