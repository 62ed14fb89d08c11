"""A collection of a large library takes documents from its catalogue: the same plan, in a few requests."""

from __future__ import annotations

from datetime import timedelta

import pandas as pd
import pytest

import duckvstore as vs
from duckvstore.engine.maintenance import references
from duckvstore.engine.reading import folded
from duckvstore.objects.memory import MemoryObjects
from duckvstore.testing.faulty import FaultyObjects

FRAME = pd.DataFrame({"n": [1, 2, 3]})
NOW = timedelta(0)


@pytest.fixture
def objects(monkeypatch):
    monkeypatch.setattr(references, "FOLDED_MIN", 5)
    return FaultyObjects(MemoryObjects("collected"))


@pytest.fixture
def lib(objects):
    """A folded library with versions that are pruned, held, deleted, of a transaction, and newer than the fold."""
    lib = vs.Store(objects).create_library("eod")
    for name in ("a", "b/ä", "~", "Z", "long"):
        for number in range(4):
            lib.write(name, FRAME + number)
    lib.snapshot("held", versions={"a": 1})
    lib.delete("Z")
    with lib.transaction() as transaction:
        transaction.write("t", FRAME)
        transaction.write("a", FRAME)
    lib.fold()
    lib.prune("a", keep_last=1)
    lib.prune("~", keep_last=2)
    lib.append("b/ä", FRAME)
    lib.write("new", FRAME)
    return lib


def copied(lib) -> vs.Library:
    """The same without its catalogue."""
    copy = MemoryObjects("collected")
    inner = lib.open_library.objects.inner
    copy._objects.update({key: data for key, data in inner._objects.items() if not key.startswith("eod/catalogue/")})
    return vs.Store(copy).get_library("eod")


def fresh(lib) -> vs.Library:
    return vs.Store(lib.open_library.objects).get_library("eod")


def test_a_plan_is_the_same_by_the_catalogue_and_by_documents(lib):
    for grace in (NOW, timedelta(days=1)):
        plan, expected = fresh(lib).gc(grace), copied(lib).gc(grace)
        assert plan.condemned_objects == expected.condemned_objects
        assert plan.removed_versions == expected.removed_versions
        assert plan.waiting_versions == expected.waiting_versions
        assert plan.deleted_objects == expected.deleted_objects
    assert fresh(lib).gc(NOW).removed_versions
    assert repr(fresh(lib).sizes()) == repr(copied(lib).sizes())


def test_what_is_left_after_a_collection_can_be_read(lib):
    held = {name: lib.read(name).data for name in lib.list_symbols()}
    old = lib.read("a", as_of="held").data
    for _ in range(3):
        fresh(lib).gc(NOW, dry_run=False)
    found = fresh(lib)
    assert found.verify().ok and not found.verify().orphans
    pd.testing.assert_frame_equal(found.read("a", as_of="held").data, old)
    for name, frame in held.items():
        pd.testing.assert_frame_equal(found.read(name).data, frame)


def test_documents_are_read_from_the_catalogue_except_those_that_are_new(lib, objects):
    before = len(objects.requests)
    fresh(lib).gc(NOW)
    folder = lib.open_library.layout.versions
    read = {request.key for request in objects.requests[before:] if request.method == "read" and folder in request.key}
    new = {lib.open_library.layout.version(*pair) for pair in (("b/ä", 4), ("new", 0))}
    assert read == new


def test_a_document_that_is_not_as_long_as_it_was_is_read(lib, objects):
    """Somebody has put another one in its place: what that refers to counts, and no collection believes the old one."""
    key = lib.open_library.layout.version("long", 2)
    data = objects.inner._objects[key]
    objects.inner._objects[key] = data[:-1]
    with pytest.raises(vs.Integrity, match="long"):
        fresh(lib).gc(NOW)


def test_a_document_that_is_gone_counts_no_more(lib, objects):
    """However long the catalogue has it: what is not listed is not there, and refers to nothing."""
    symbol = "long"
    assert folded.look(fresh(lib).open_library).folded.numbers(symbol) == [3, 2, 1, 0]
    lib.prune(symbol, keep_last=1)
    fresh(lib).gc(NOW, dry_run=False)
    assert folded.look(fresh(lib).open_library).folded.numbers(symbol) == [3]
    report = fresh(lib).gc(NOW, dry_run=False)
    assert not report.deleted_objects and fresh(lib).verify().ok
