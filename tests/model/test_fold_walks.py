"""Folding with a fault, or with another's work, at each request: listings are those of the documents, always.

Each rule of FORMAT.md, "Catalogue", has a mutant here that these walks catch.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import pytest

import duckvstore as vs
from duckvstore.engine.library import options
from duckvstore.engine.maintenance import collect as collecting
from duckvstore.engine.maintenance import collection_plan, fold, references
from duckvstore.engine.maintenance.collect import collect
from duckvstore.engine.reading import folded, listings, visible
from duckvstore.errors import DuckVStoreError
from duckvstore.objects.memory import MemoryObjects
from duckvstore.testing.faulty import Fault, FaultyObjects, SimulatedCrash
from tests.sizes import step
from tests.upkeep import LONGER, keys, move_time, one_by_one

FAULTS = ("crash_before", "crash_after", "drop_response", "error_500")
STEP = step(1)


class World:
    """A library with a generation, versions that are not folded, one that is due to be removed, and one that will be.

    ``acknowledged``: the versions that writers were told of and nobody pruned.
    """

    def __init__(self, time) -> None:
        self.time = time
        self.inner = MemoryObjects("walk")
        lib = vs.Store(self.inner).create_library("eod")
        for _ in range(3):
            lib.write("a", 1)
        lib.write("b", 2)
        lib.fold()
        lib.prune("a", keep_last=2)
        time.move(LONGER)
        lib.write("b", 3)
        lib.write("c", 4)
        self.objects = dict(self.inner._objects)
        self.began = time.now
        self.again()

    def again(self) -> MemoryObjects:
        """Everything as it was made."""
        self.time.now = self.began
        self.inner = MemoryObjects("walk")
        self.inner._objects.update(self.objects)
        self.acknowledged = {("a", 1), ("a", 2), ("b", 0), ("b", 1), ("c", 0)}
        return self.inner

    def handle(self, objects=None) -> vs.Library:
        return vs.Store(objects or self.inner).get_library("eod")


# That a lost catalogue is told of, tests/engine/maintenance/test_fold.py shows.
pytestmark = pytest.mark.filterwarnings("ignore::duckvstore.errors.DocumentWarning")


@pytest.fixture
def world(monkeypatch):
    """Any library has many documents; requests are made one after the other, so that a number means the same one."""
    monkeypatch.setattr(listings, "SYMBOLS_PAGE", 2)
    monkeypatch.setattr(folded, "HEADS_WORTH_VERSIONS", 0)
    monkeypatch.setattr(visible, "NUMBERS_PAGE", 2)
    monkeypatch.setattr(visible, "FOLDED_DOCUMENTS_MIN", 1)
    monkeypatch.setattr(references, "FOLDED_MIN", 1)
    one_by_one(monkeypatch)
    return World(move_time(monkeypatch))


def listed(lib) -> set[tuple[str, int]]:
    """All versions, by each way in which they can be listed, which must agree."""
    found = {tuple(pair) for pair in lib.list_versions(skip_snapshots=True)}
    rows = listings.documents_present(lib.open_library)
    assert found <= set(rows.pairs())
    return found


def check(world: World) -> None:
    """A fresh handle lists what was acknowledged, and what the documents say."""
    without = MemoryObjects("walk")
    without._objects.update({key: data for key, data in world.inner._objects.items() if "/catalogue/" not in key})
    expected = listed(vs.Store(without).get_library("eod"))
    found = listed(world.handle())
    assert found == expected
    assert world.acknowledged <= found
    assert world.handle().list_symbols() == sorted({symbol for symbol, _ in found})
    history = {("a", pair.version) for pair in world.handle().list_versions("a", skip_snapshots=True)}
    assert history == {pair for pair in found if pair[0] == "a"}


def settle(world: World) -> None:
    """Whatever was left half done, the next fold and the next collections put right."""
    for _ in range(2):
        world.time.move(LONGER)
        assert not collect(world.handle().open_library, dry_run=False).failures
    check(world)
    assert world.handle().verify().ok
    view = folded.look(world.handle().open_library)
    assert not view.tail
    assert not keys(world.inner, "journal")
    assert keys(world.inner, "catalogue/files") == {f"eod/{file.key}" for file in view.folded.generation.files()}


# -- what is done ----------------------------------------------------------------------------------------------


def folds(world, lib) -> None:
    lib.fold()


def rebuilds(world, lib) -> None:
    lib.fold(rebuild=True)


def collects(world, lib) -> None:
    collect(lib.open_library, dry_run=False)


def writes(world, lib) -> None:
    for name in ("c", "d"):
        item = lib.write(name, 5)
        world.acknowledged.add((name, item.version))


def prunes(world, lib) -> None:
    gone = {("a", number) for number in lib.prune("a", keep_last=1)}
    world.acknowledged -= gone


def deletes_all(world, lib) -> None:
    world.inner.delete(keys(world.inner, "catalogue"))


def deletes_newest(world, lib) -> None:
    world.inner.delete(sorted(keys(world.inner, "catalogue/generations"))[:1])


def lists(world, lib) -> None:
    """Every version acknowledged before it begins is there, and none that nobody wrote."""
    before = set(world.acknowledged)
    world.seen = listed(lib)
    world.missing = before - world.seen


def requests(world: World, main) -> list[str]:
    """The method of each request that ``main`` makes without faults."""
    lib = world.handle(faulty := FaultyObjects(world.again()))
    faulty.requests.clear()
    main(world, lib)
    return [request.method for request in faulty.requests]


def walk_faults(world: World, main, faults=FAULTS, every: int = STEP) -> int:
    """Meet a sample of the requests of ``main`` with each fault: one of so many."""
    walked, methods = 0, requests(world, main)
    for method in sorted(set(methods)):
        for number in range(1, methods.count(method) + 1):
            for kind in faults:
                walked += 1
                if walked % every:
                    continue
                lib = world.handle(faulty := FaultyObjects(world.again()))
                faulty._numbers.clear()
                faulty.faults = (Fault(kind, number, method),)
                with suppress(SimulatedCrash, DuckVStoreError):
                    main(world, lib)
                check(world)
                writes(world, world.handle())
                check(world)
                settle(world)
    return walked


def walk_others(world: World, main, others, *, stride: int = 1) -> int:
    """Do ``others`` before each request of ``main``, one after the other."""
    count = len(requests(world, main))
    for number in range(1, count + 1, stride):
        faulty = FaultyObjects(world.again())
        handles = [world.handle() for _ in others]
        listed(handles[0])  # which knows the catalogue as it was
        lib = world.handle(faulty)
        faulty.requests.clear()

        def before(request, number=number, handles=handles):
            if request.number == number:
                for other, handle in zip(others, handles, strict=True):
                    other(world, handle)

        faulty.before = before
        world.missing = set()
        with suppress(vs.Conflict):
            main(world, lib)
        pruned = world.missing - world.acknowledged
        assert world.missing == pruned, (number, world.missing)
        check(world)
        settle(world)
    return count


@pytest.mark.parametrize("main", [folds, rebuilds, collects], ids=lambda main: main.__name__)
def test_a_fault_at_any_request_hides_nothing_and_the_next_fold_mends_it(world, main):
    """Crashes, lost answers and errors; also of a fold that a collection makes."""
    assert walk_faults(world, main) > 20


OTHERS = {
    "write": [writes],
    "write and fold": [writes, folds],
    "fold twice": [writes, folds, writes, folds],
    "rebuild": [writes, rebuilds],
    "prune and collect": [prunes, collects],
    "lose the catalogue": [writes, folds, deletes_all],
    "lose the newest generation": [writes, folds, deletes_newest],
    "lose it and make it anew": [writes, folds, deletes_all, writes, folds],
}


@pytest.mark.parametrize("others", OTHERS)
@pytest.mark.parametrize("main", [lists, folds, rebuilds, collects, writes], ids=lambda main: main.__name__)
def test_whatever_others_do_at_any_request_nothing_is_hidden(world, main, others):
    """Readers, folds, collections and writers, met at each request by all the others."""
    count = len(requests(world, main))
    stride = max(1, round(count / 3)) if STEP > 1 else 1
    walk_others(world, main, OTHERS[others], stride=stride)


# -- mutants: each breaks one rule, and is caught --------------------------------------------------------------


def test_an_intent_removed_before_the_mark_hides_versions_from_a_reader_of_an_older_generation(world, monkeypatch):
    """Step 7 before step 8, where the newest generation is lost."""
    mark = fold._Fold._mark

    def only_the_first(self, made):
        if not self.marks.keys:
            mark(self, made)
        self.marks.keys.clear()  # so that it is not removed

    monkeypatch.setattr(fold._Fold, "_mark", only_the_first)
    with pytest.raises(AssertionError):
        walk_others(world, lists, OTHERS["lose the newest generation"])


def test_a_generation_that_is_listed_before_the_journal_hides_what_is_folded_between(world, monkeypatch):
    """Reading: 1 before 2."""
    newest = folded.newest
    kept = {}

    def first(library):
        kept[id(library)] = newest(library)
        return folded.Marks({})

    def looked(library):
        kept[id(library)] = newest(library)
        intents = folded.read_intents(library, (entry.key for entry in library.objects.list(library.layout.journal)))
        generation = kept[id(library)]
        return None if generation is None else (generation, frozenset(filter(None, intents.values())))

    assert first is not None
    monkeypatch.setattr(folded, "_look", looked)
    with pytest.raises(AssertionError):
        walk_others(world, lists, OTHERS["write and fold"])


def test_an_intent_removed_before_its_generation_is_there_hides_a_version(world, monkeypatch):
    """Step 5 before step 8."""
    layers = fold._Fold._layers

    def hasty(self, base, pairs, gone):
        found = layers(self, base, pairs, gone)
        self.objects.delete(list(self.intents))
        return found

    monkeypatch.setattr(fold._Fold, "_layers", hasty)
    with pytest.raises(AssertionError):
        walk_faults(world, folds, ["crash_before"], every=1)


def test_a_number_that_is_chosen_late_brings_a_generation_that_lacks_versions(world, monkeypatch):
    """Folding: a rebuild takes its number before it lists the documents."""
    publish = fold._Fold._publish

    def late(self, layers):
        self.number = max(folded.newest_number(self.library), folded.read_marks(self.library).highest) + 1
        return publish(self, layers)

    monkeypatch.setattr(fold._Fold, "_publish", late)
    with pytest.raises(AssertionError):
        walk_others(world, rebuilds, OTHERS["write and fold"])


def test_intents_removed_by_age_alone_hide_a_version(world, monkeypatch):
    """A collection compares them with the documents."""
    monkeypatch.setattr(options, "is_folded", lambda _library: False)
    world.again()
    for _ in range(2):
        world.time.move(LONGER)
        collect(world.handle().open_library, dry_run=False)
    with pytest.raises(AssertionError):
        check(world)


def test_garbage_documents_removed_before_the_rows_show_a_version_again(world, monkeypatch):
    """Removal: the generation first."""
    monkeypatch.setattr(collecting._Execution, "_fold", lambda _self: None)
    with pytest.raises(AssertionError):
        for _ in range(2):
            collects(world, world.handle())
            world.time.move(LONGER)
            check(world)


def test_a_fold_that_does_not_look_again_removes_intents_for_a_generation_that_is_old(world, monkeypatch):
    """Step 6: its number was there before, and was removed; what it has read since is in none that is believed."""

    def slow_fold() -> None:
        faulty = FaultyObjects(world.again())
        lib = world.handle(faulty)
        copy = MemoryObjects("walk")
        copy._objects.update(world.inner._objects)
        vs.Store(copy).get_library("eod").write("e", 9)
        new = {key: data for key, data in copy._objects.items() if key not in world.inner._objects}
        document = next(key for key in new if "/versions/" in key)
        world.inner._objects.update({key: data for key, data in new.items() if key != document})

        def others(request):
            if request.method == "list" and request.key.endswith("versions/e/"):
                faulty.before = None
                for _ in range(2):
                    writes(world, world.handle())
                    folds(world, world.handle())
                world.inner.delete(sorted(keys(world.inner, "catalogue/generations"))[1:])  # as a collection may
                world.inner.put(document, new[document])
                world.acknowledged.add(("e", 0))

        faulty.before = others
        folds(world, lib)
        assert faulty.before is None

    slow_fold()
    check(world)
    settle(world)
    monkeypatch.setattr(fold._Fold, "_is_newest", lambda _self, _made: True)
    slow_fold()
    with pytest.raises(AssertionError):
        check(world)


def test_two_generations_of_one_number_are_not_believed(world):
    """One was deleted before its mark was put; which of them lacks what, nobody can tell."""
    lib = world.handle()
    lib.fold()
    opened = lib.open_library
    number = folded.look(opened).folded.generation.number
    world.inner.put(opened.layout.mark(number, "f" * 32), b"{}")
    assert folded.look(world.handle().open_library) is None
    check(world)
    assert world.handle().fold().generation == number + 1
    assert folded.look(world.handle().open_library) is not None
    check(world)


def test_the_walks_have_something_to_walk(world):
    """The prepared library needs each step of a fold and of a collection."""
    assert requests(world, folds).count("delete") == 1
    report = collection_plan.make_plan(world.handle().open_library, timedelta(days=7)).report(dry_run=True)
    assert report.removed_versions == [("a", 0)]
