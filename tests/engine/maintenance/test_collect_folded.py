"""A collection of a large library takes documents from its catalogue: the same plan, in a few requests."""

from __future__ import annotations

from datetime import timedelta

import pandas as pd
import pytest

import duckvstore as vs
from duckvstore.engine.maintenance import collect, references
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
    assert new <= read
    # All of a symbol that is written since the fold, or that is to lose something; of no other symbol.
    assert {lib.open_library.layout.parse_version(key)[0] for key in read} == {"b/ä", "new", "a", "~"}


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


@pytest.mark.parametrize("is_announced", [True, False])
def test_a_bucket_that_was_restored_without_its_newest_documents_loses_nothing(lib, objects, is_announced):
    """A writer has taken the number anew, with a document of the same length: what it names is kept."""
    inner = objects.inner
    kept = dict(inner._objects)
    lib.write("x", FRAME)
    before = dict(inner._objects)
    lib.write("x", FRAME + 1)
    lib.fold()
    catalogue = {key: data for key, data in inner._objects.items() if "/catalogue/" in key or "/folds/" in key}
    inner._objects.clear()
    inner._objects.update(before | catalogue)
    assert kept.keys() <= inner._objects.keys()
    inner.delete([key for key in inner._objects if "/journal/" in key])
    other = fresh(lib)
    assert other.write("x", FRAME + 2).version == 1
    if not is_announced:
        inner.delete([key for key in inner._objects if "/journal/" in key])
    for _ in range(2):
        fresh(lib).gc(NOW, dry_run=False)
    pd.testing.assert_frame_equal(fresh(lib).read("x").data, FRAME + 2)
    assert fresh(lib).verify().ok


def test_a_library_that_is_folded_while_it_is_collected_has_no_ghosts(objects, lib, monkeypatch):
    """The collection leaves what says that versions are gone to the next one."""
    lib = vs.Store(objects).create_library("young")
    for number in range(3):
        lib.write("x", FRAME + number)
    lib.prune("x", keep_last=1)
    lib.gc(NOW, dry_run=False)
    for number in range(3):
        lib.write("x", FRAME + number)
    lib.prune("x", keep_last=1)
    execution = collect._Execution._remove_versions

    def folded_before(self):
        vs.Store(objects).get_library("young").fold()
        execution(self)

    monkeypatch.setattr(collect._Execution, "_remove_versions", folded_before)
    lib.gc(NOW, dry_run=False)
    monkeypatch.undo()
    for _ in range(2):
        rows = vs.Store(objects).get_library("young").sql("SELECT version FROM vstore.versions").fetchall()
        assert rows == [(5,)]
        vs.Store(objects).get_library("young").gc(NOW, dry_run=False)
    assert vs.Store(objects).get_library("young").verify().ok
