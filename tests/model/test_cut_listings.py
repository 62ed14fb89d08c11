"""Listings that lack what is there: whatever removes data refuses them, or looks again, and loses nothing.

Each listing of each operation is cut to each of its beginnings, once and from then on; and one folder is never listed.
"""

from __future__ import annotations

import os
from datetime import timedelta

import pytest
from pandas.testing import assert_frame_equal

import duckvstore as vs
from duckvstore.errors import DuckVStoreError
from duckvstore.objects.memory import MemoryObjects
from duckvstore.objects.wrappers import WrappedObjects
from duckvstore.testing.faulty import Fault, FaultyObjects
from tests.sizes import step
from tests.upkeep import GRACE, frame, move_time, one_by_one

FULL = bool(os.environ.get("DUCKVSTORE_FULL"))
FOLDERS = ("versions", "snapshots", "staging", "garbage", "segments", "manifests", "transactions", "journal", "options")


class World:
    """A library in use, older than two grace periods: what is in it must be in it after every upkeep.

    Of ``a`` the newest two versions are kept and version 0 by a snapshot; ``b`` and ``c`` came of a transaction; ``d``
    lost its first versions to an earlier collection; ``e`` has a staged part only; ``f`` was deleted lately. Something
    is due in each step of a collection.
    """

    def __init__(self, time) -> None:
        self.time = time
        self.inner = MemoryObjects("cuts")
        lib = vs.Store(self.inner).create_library("eod")
        lib.set_options(grace=GRACE)
        for number in range(3):
            lib.write("d", frame(number))
        lib.prune("d", keep_last=1)
        time.move(GRACE * 2)
        lib.gc(dry_run=False)
        time.move(GRACE * 2)
        lib.gc(dry_run=False)
        for number in range(5):
            lib.write("a", frame(10 + number))
        lib.snapshot("s", versions={"a": 0})
        with lib.transaction() as changes:
            changes.write("b", frame(20))
            changes.write("c", frame(21))
        lib.write("c", frame(22))
        lib.write("f", frame(30))
        lib.prune("a", keep_last=2)
        time.move(GRACE * 2)
        lib.stage("e", frame(40))
        lib.delete("f")
        self.objects = dict(self.inner._objects)
        self.began = time.now

    def again(self) -> MemoryObjects:
        self.time.now = self.began
        self.inner = MemoryObjects("cuts")
        self.inner._objects.update(self.objects)
        return self.inner

    def check(self, where, *, has_part=True) -> None:
        """Everything that no call has given up is there, through a fresh handle; also after a whole collection."""
        for _ in range(2):
            lib = vs.Store(self.inner).get_library("eod")
            expected = {("a", 4): 14, ("a", 3): 13, ("b", 0): 20, ("c", 0): 21, ("c", 1): 22, ("d", 2): 2}
            for (symbol, number), seed in expected.items():
                assert_frame_equal(lib.read(symbol, as_of=number).data, frame(seed))
            assert lib.list_symbols() == ["a", "b", "c", "d"], where
            assert_frame_equal(lib.read("a", as_of="s").data, frame(10))
            assert_frame_equal(lib.read("f", as_of=0).data, frame(30))
            assert lib.read("f", as_of=0).version == 0
            if has_part:
                lib.finalize_staged_data("e")
                assert_frame_equal(lib.read("e").data, frame(40))
                lib.delete("e")
                lib.stage("e", frame(40))
            self.time.move(timedelta(hours=1))
            lib.gc(dry_run=False)


@pytest.fixture
def world(monkeypatch):
    one_by_one(monkeypatch)
    return World(move_time(monkeypatch))


OPERATIONS = {
    "gc": lambda lib: lib.gc(dry_run=False),
    "gc at once": lambda lib: lib.gc(dry_run=False, grace=timedelta(0)),
    "prune": lambda lib: lib.prune("a", keep_last=2),
    "delete newest": lambda lib: lib.delete("a", versions=[4]),
    "retention": lambda lib: (lib.set_options(keep_last=2), lib.gc(dry_run=False)),
}


class HiddenFolder(WrappedObjects):
    """A store that lists nothing of one folder, ever."""

    def __init__(self, inner, folder: str) -> None:
        super().__init__(inner)
        self.folder = folder

    def list(self, prefix, start_after=None, limit=None, *, folders=False):
        for entry in self.inner.list(prefix, start_after, limit, folders=folders):
            if f"/{self.folder}/" not in entry.key:
                yield entry


def _operate(world: World, name: str, objects) -> DuckVStoreError | None:
    try:
        OPERATIONS[name](vs.Store(objects).get_library("eod"))
    except DuckVStoreError as error:
        return error
    return None


def _expect(world: World, name: str, where: str, failure) -> None:
    if name == "delete newest":
        lib = vs.Store(world.inner).get_library("eod")
        if failure is None:
            assert_frame_equal(lib.read("a").data, frame(13))
        lib.write("a", frame(14))
        newest = lib.read("a").version
        assert_frame_equal(lib.read("a", as_of=3).data, frame(13))
        assert newest in (5, 6), where
        return
    world.check(where, has_part=name != "gc at once")  # which takes every part for old


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_listing_cut_anywhere_loses_nothing(world, name):
    """Once, at every place; and every listing from one on."""
    faulty = FaultyObjects(world.again())
    assert _operate(world, name, faulty) is None
    sizes = []
    for request in faulty.requests:
        if request.method == "list":
            sizes.append(len(list(world.again().list(request.key))))
    walked = refused = 0
    for number, size in enumerate(sizes, 1):
        cut_to = range(size + 1) if FULL else sorted({0, size // 2, max(size - 1, 0)})
        possible = [(kept, repeat) for kept in cut_to for repeat in (1, 1000)]
        for kept, repeat in possible[number % step(0.2) :: step(0.2)]:
            fault = Fault("cut_listing", number, "list", repeat, kept)
            failure = _operate(world, name, FaultyObjects(world.again(), fault))
            where = f"{name}: listing {number} cut to {kept} entries, {repeat} times: {failure!r}"
            if failure is not None:
                assert isinstance(failure, (vs.StorageUnavailable, vs.NotFound, vs.Conflict)), where
                refused += 1
            _expect(world, name, where, failure)
            walked += 1
    assert walked > 10 / step(0.2)
    assert refused


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_that_is_never_listed_loses_nothing_that_is_named_elsewhere(world, name, folder):
    """Documents that name versions, and the journal, speak against a listing that always says that there are none."""
    failure = _operate(world, name, HiddenFolder(world.again(), folder))
    if folder in ("snapshots", "garbage", "staging") and name in ("gc at once", "retention", "gc"):
        return  # nothing else names these
    if folder == "versions" and name.startswith("gc"):
        assert isinstance(failure, vs.StorageUnavailable), failure
    _expect(world, name, f"{name} without {folder}: {failure!r}", failure)


def test_a_decision_stays_while_a_document_that_it_names_can_be_read(world):
    """Also where every listing of versions lacks one symbol: without its decision, what was committed would be gone."""

    class WithoutSymbol(WrappedObjects):
        def list(self, prefix, start_after=None, limit=None, *, folders=False):
            for entry in self.inner.list(prefix, start_after, limit, folders=folders):
                if "/versions/b/" not in entry.key and "/versions/c/" not in entry.key:
                    yield entry

    lib = vs.Store(WithoutSymbol(world.again())).get_library("eod")
    for key in [key for key in world.inner._objects if "/segments/b/" in key or "/segments/c/" in key]:
        world.objects[key] = world.inner._objects.pop(key)  # so that nothing but the decision names the symbols
    with pytest.raises(vs.StorageUnavailable, match="transaction .* made it"):
        lib.gc(dry_run=False)
    assert any("/transactions/" in key for key in world.inner._objects)


@pytest.mark.parametrize("kept", [0, 1, 5])
def test_delete_library_is_not_done_while_anything_is_left(world, kept):
    """Each listing cut once: all is gone, or it is said that it is not; never cut from the first on."""
    faulty = FaultyObjects(world.again())
    vs.Store(faulty).delete_library("eod")
    count = sum(request.method == "list" for request in faulty.requests)
    for number in range(1, count + 1):
        for repeat in (1, 2, 1000):
            faulty = FaultyObjects(world.again(), Fault("cut_listing", number, "list", repeat, kept))
            try:
                vs.Store(faulty).delete_library("eod")
            except vs.StorageUnavailable:
                continue
            remains = [key for key in world.inner._objects if key.startswith("eod/")]
            assert not remains or (repeat > 1 and number > 1), (number, repeat, remains)


def test_delete_library_refuses_a_listing_without_the_library_that_is_there(world):
    """library.json is there, so a folder that seems to be empty is not."""
    before = dict(world.again()._objects)
    with pytest.raises(vs.StorageUnavailable, match=r"library\.json is there"):
        vs.Store(FaultyObjects(world.inner, Fault("cut_listing", 1, "list"))).delete_library("eod")
    assert world.inner._objects == before
