"""A collection that is killed half-way is finished by the next one, which does nothing again that was done."""

from __future__ import annotations

from collections import Counter

import pytest

import duckvstore as vs
from duckvstore.engine.library import condemned
from duckvstore.engine.maintenance import collect as collecting
from duckvstore.engine.maintenance import prune
from duckvstore.engine.maintenance.collect import collect
from duckvstore.objects.memory import MemoryObjects
from duckvstore.testing.faulty import Fault, FaultyObjects, SimulatedCrash
from tests.upkeep import LONGER, frame, keys, move_time, one_by_one

ORPHAN = "eod/segments/{}/" + "0" * 32 + "-" + "{:016x}" + ".parquet"
SYMBOLS = ("a", "b", "c", "d")


@pytest.fixture(params=["documents", "folded"])
def stored(monkeypatch, request):
    """A library in which versions and segments are due, others are to be condemned, and deletions are of two keys."""
    one_by_one(monkeypatch)
    monkeypatch.setattr(collecting, "DELETE_BATCH", 2)
    time = move_time(monkeypatch)
    inner = MemoryObjects("resumed")
    lib = vs.Store(inner).create_library("eod")
    for number, symbol in enumerate(SYMBOLS):
        for seed in range(3):
            lib.write(symbol, frame(10 * number + seed))
        prune.prune(lib.open_library, symbol, keep_last=1)
        inner.put(ORPHAN.format(symbol, 1), b"left by a crash")
    if request.param == "folded":
        lib.fold()
    collect(lib.open_library, dry_run=False)
    time.move(LONGER)
    for symbol in SYMBOLS:
        inner.put(ORPHAN.format(symbol, 2), b"left by another crash")
    return dict(inner._objects)


def restored(stored) -> MemoryObjects:
    inner = MemoryObjects("resumed")
    inner._objects.update(stored)
    return inner


def gc(objects, *, dry_run=False):
    return collect(vs.Store(objects).get_library("eod").open_library, dry_run=dry_run)


def condemnations(inner) -> Counter:
    """How many garbage documents name each segment."""
    library = vs.Store(inner).get_library("eod").open_library
    return Counter(key for each in keys(inner, "garbage") for key in condemned.read(library, each).keys)


def there(inner) -> dict[str, set[str]]:
    return {kind: set(keys(inner, kind)) for kind in ("versions", "segments", "journal")}


@pytest.mark.parametrize("kind", ["crash_before", "crash_after"])
def test_a_killed_collection_is_finished_by_the_next_which_does_nothing_again(stored, kind):
    """Killed at each of its changes: together both remove and condemn what one would have, and each thing once."""
    whole = restored(stored)
    planned = gc(whole, dry_run=True)
    assert len(planned.removed_versions) == 8
    assert len(planned.deleted_objects) == 4
    assert len(planned.condemned_objects) == 12
    lib = vs.Store(faulty := FaultyObjects(whole)).get_library("eod")
    faulty.requests.clear()
    collect(lib.open_library, dry_run=False)
    changes = Counter(request.method for request in faulty.requests if request.method in {"create", "delete"})
    assert changes["delete"] >= 8
    assert changes["create"] >= 4
    for method, count in changes.items():
        for number in range(1, count + 1):
            inner = restored(stored)
            lib = vs.Store(faulty := FaultyObjects(inner)).get_library("eod")
            faulty._numbers.clear()
            faulty.faults = (Fault(kind, number, method, 1),)
            with pytest.raises(SimulatedCrash):
                collect(lib.open_library, dry_run=False)
            done = {key for known in there(restored(stored)).values() for key in known} - set(inner._objects)
            already = condemnations(inner)
            where = f"{kind} at {method} {number}"

            rest = gc(inner)

            layout = lib.open_library.layout
            again = {layout.version(*pair) for pair in rest.removed_versions} | {
                layout.root + key for key in rest.deleted_objects
            }
            assert again.isdisjoint(done), where
            assert already.keys().isdisjoint(rest.condemned_objects), where
            assert there(inner) == there(whole), where
            assert condemnations(inner) == condemnations(whole), where
            assert set(condemnations(inner).values()) == {1}, where
            assert not rest.failures, where
            lib = vs.Store(inner).get_library("eod")
            assert lib.verify(deep=False).ok, where
            assert sorted(lib.list_versions()) == [(symbol, 2) for symbol in SYMBOLS], where
