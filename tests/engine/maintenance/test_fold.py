"""Folding: listings say the same with and without the catalogue, and it says the same however it came about."""

from __future__ import annotations

import os
import warnings
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from itertools import pairwise

import pandas as pd
import pytest

import duckvstore as vs
from duckvstore.engine.maintenance import fold, references
from duckvstore.engine.reading import catalogue_tables, folded, listings, visible
from duckvstore.format.stored import records
from duckvstore.format.stored.layout import escape
from duckvstore.objects.memory import MemoryObjects
from duckvstore.testing.faulty import FaultyObjects, SimulatedCrash
from tests.upkeep import GRACE, LONGER, keys, move_time


@contextmanager
def suppress_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", vs.DocumentWarning)
        yield


FRAME = pd.DataFrame({"n": [1, 2, 3]})


@pytest.fixture
def small_pages(monkeypatch):
    """Any library has many documents, and folds have many files."""
    monkeypatch.setattr(listings, "SYMBOLS_PAGE", 3)
    monkeypatch.setattr(visible, "NUMBERS_PAGE", 3)
    monkeypatch.setattr(visible, "FOLDED_DOCUMENTS_MIN", 2)
    monkeypatch.setattr(references, "FOLDED_MIN", 2)
    monkeypatch.setattr(fold, "FILE_ROWS_MAX", 4)
    monkeypatch.setattr(fold, "DOCUMENTS_BATCH", 5)
    monkeypatch.setattr(folded, "HEADS_WORTH_VERSIONS", 0)


@pytest.fixture
def objects():
    """An object store that counts requests."""
    return FaultyObjects(MemoryObjects("fold"))


@pytest.fixture
def lib(objects, small_pages):
    """A library with some symbols, one of them deleted, one with a long history, one in a transaction."""
    lib = vs.Store(objects).create_library("eod")
    for name in ("a", "b/ä", "~", "Z"):
        lib.write(name, FRAME, metadata={"name": name})
    for _ in range(6):
        lib.append("a", FRAME, message="more")
    lib.delete("Z")
    with lib.transaction() as transaction:
        transaction.write("t", FRAME)
        transaction.write("u", FRAME)
    return lib


def fresh(lib) -> vs.Library:
    return vs.Store(lib.open_library.objects).get_library("eod")


def said(lib) -> dict[str, object]:
    """All that listings say of a library."""
    tables = {
        name: sorted(map(repr, catalogue_tables.table(lib.open_library, name).to_pylist()))
        for name in ("symbols", "versions", "segments", "columns")
    }
    names = lib.list_symbols()
    found = {
        "list_symbols": names,
        "by metadata": lib.list_symbols(metadata={"name": "a"}),
        "overview": lib.overview().symbols(),
        "list_versions": [(*pair, repr(info)) for pair, info in lib.list_versions().items()],
        "latest": [(*pair, repr(info)) for pair, info in lib.list_versions(latest_only=True).items()],
    }
    for name in names:
        history = lib.list_versions(name)
        found[f"versions of {name}"] = [(*pair, repr(info)) for pair, info in history.items()]
        found[f"numbers of {name}"] = lib.overview().versions(name)
        for back in range(1, len(history) + 2):
            found[f"{name} {-back}"] = lib.has_symbol(name, as_of=-back) and lib[name, -back].version
        for info in history.values():
            if not info.deleted:
                found[f"{name} at {info.date}"] = lib[name, info.date].version
    return found | tables


def without_catalogue(lib) -> dict[str, object]:
    """The same from the documents alone, in a copy of the library that has no catalogue."""
    copy = MemoryObjects("fold")
    inner = lib.open_library.objects.inner
    copy._objects.update({key: data for key, data in inner._objects.items() if not key.startswith("eod/catalogue/")})
    copied = vs.Store(copy).get_library("eod")
    found = said(copied)
    assert folded.look(copied.open_library) is None
    return found


def check(lib) -> dict[str, object]:
    """Compare listings of this handle and of a fresh one with those of the documents; return them."""
    expected = without_catalogue(lib)
    assert said(fresh(lib)) == expected
    assert said(lib) == expected
    with pytest.MonkeyPatch.context() as few:  # of symbols with few versions, all of these are read
        few.setattr(folded, "HEADS_WORTH_VERSIONS", 1000)
        found = catalogue_tables.table(lib.open_library, "symbols").to_pylist()
        assert sorted(map(repr, found)) == expected["symbols"]
    return expected


def test_listings_say_the_same_before_and_after_every_fold(lib):
    """Whatever was written, appended, deleted, pruned, snapshotted or committed at once since the one before."""
    before = check(lib)
    assert lib.fold().folded_documents == 13
    assert check(lib) == before
    assert folded.look(lib.open_library).tail == frozenset()
    for change in (
        lambda: lib.write("new", FRAME),
        lambda: lib.append("a", FRAME),
        lambda: lib.delete("~"),
        lambda: lib.write("Z", FRAME),
        lambda: lib.snapshot("s"),
        lambda: lib.prune("a", keep_last=3),
        lambda: lib.sql("BEGIN; DELETE FROM t; DROP TABLE u; COMMIT"),
        lambda: lib.set_options(keep_last=5),
    ):
        change()
        check(lib)
        lib.fold()
        check(lib)
    assert lib.verify().ok


def test_a_fold_costs_what_is_new_and_a_listing_no_document(lib, objects):
    """It reads the new documents; a listing of everything after it reads none at all."""
    lib.fold()
    lib.write("new", FRAME)
    lib.append("a", FRAME)
    objects.requests.clear()
    report = fresh(lib).fold()
    assert (report.folded_documents, report.removed_intents) == (2, 2)
    assert sum(request.method == "read" and "/versions/" in request.key for request in objects.requests) == 2
    objects.requests.clear()
    handle = fresh(lib)
    assert len(handle.list_symbols()) == 6
    assert len(handle.list_versions()) == 15
    handle.sql("FROM vstore.versions").df()
    assert not [request.key for request in objects.requests if request.method == "read" and "/versions/" in request.key]


def test_a_version_far_back_takes_a_few_requests_of_a_handle_that_knows_nothing():
    """Not one for each version after it, although the history fits into one page."""
    lib = vs.Store(MemoryObjects("far back")).create_library("eod")
    lib.set_options(auto_fold=False)
    for number in range(130):
        lib.write("s", number)
    lib.fold()
    for as_of in (-130, -129, -100):
        handle = fresh(lib)
        with vs.trace() as trace:
            assert handle.read("s", as_of=as_of).data == 130 + as_of
        assert trace.total.count <= 10


def test_layers_are_merged_so_that_there_are_few(lib, objects):
    """Each has at least four times the rows of the next, however many folds there were; nothing is read twice."""
    for number in range(20):
        lib.write(f"s{number % 7}", FRAME)
        lib.fold()
    generation = folded.look(lib.open_library).folded.generation
    rows = [layer.rows for layer in generation.layers]
    assert sum(rows) == 13 + 20
    assert all(below >= fold.LAYER_RATIO * above for below, above in pairwise(rows))
    check(lib)


def test_many_new_documents_make_a_layer_of_their_own(lib, monkeypatch):
    """Without taking those below into memory; the next fold puts them together."""
    monkeypatch.setattr(fold, "MERGED_DOCUMENTS_MAX", 5)
    lib.fold()
    for _ in range(6):
        lib.write("many", FRAME)
    lib.fold()
    assert len(folded.look(lib.open_library).folded.generation.layers) == 2
    check(lib)
    lib.write("one", FRAME)
    lib.fold()
    assert len(folded.look(lib.open_library).folded.generation.layers) == 1
    check(lib)


def test_what_is_undecided_waits_and_is_seen_when_it_is_committed(lib, objects):
    """Its documents are in no generation, its intents stay, and the commit shows both symbols at once."""
    before, folds = check(lib), []

    def fold_before_the_decision(request):
        if request.method == "create" and "/transactions/" in request.key and not folds:
            folds.append(fresh(lib).fold())
            assert check(fresh(lib))["list_versions"] == before["list_versions"]

    lib.fold()
    objects.before = fold_before_the_decision
    with lib.transaction() as transaction:
        transaction.write("t", FRAME, message="later")
        transaction.write("v", FRAME)
    objects.before = None
    assert folds[0].waiting_symbols == ["t", "v"]
    assert "v" in check(lib)["list_symbols"]
    assert lib.fold().folded_documents == 2
    assert check(lib)["versions of t"][0][1] == 1


def test_collections_take_out_what_is_gone_and_keep_the_rest(lib, monkeypatch):
    """Pruned versions leave the catalogue when their documents go; old generations and files go a grace later."""
    time = move_time(monkeypatch)
    lib.fold()
    lib.prune("a", keep_last=2)
    check(lib)
    time.move(LONGER)
    report = lib.gc(dry_run=False)
    assert len(report.removed_versions) == 5
    assert not report.failures
    pairs = folded.look(fresh(lib).open_library).folded.pairs(["a"])
    assert pairs == {("a", 6), ("a", 5)}
    check(lib)
    assert not keys(lib.open_library.objects.inner, "garbage/a") or lib.gc().waiting_objects
    lib.write("a", FRAME)
    lib.fold()
    time.move(LONGER)
    lib.gc(dry_run=False)
    time.move(LONGER)
    lib.gc(dry_run=False)
    generation = folded.look(fresh(lib).open_library).folded.generation
    inner = lib.open_library.objects.inner
    assert keys(inner, "catalogue/files") == {f"eod/{file.key}" for file in generation.files()}
    assert len(keys(inner, "catalogue/generations")) == 1
    check(lib)
    assert lib.verify().ok


def test_an_intent_goes_when_its_version_is_folded_or_was_never_made(lib, monkeypatch):
    """Not by its age alone: what it announces would be missing in listings."""
    time = move_time(monkeypatch)
    lib.fold()
    opened = lib.open_library
    opened.objects.put(opened.layout.intent("1" * 32), records.Intent("1" * 32, "gone", opened.objects.now()).dump())
    lib.write("late", FRAME)
    monkeypatch.setattr(fold, "fold", lambda *_, **__: (_ for _ in ()).throw(vs.Conflict("others fold")))
    time.move(LONGER)
    report = lib.gc(dry_run=False)
    assert "others fold" in str(report.failures)
    assert len(keys(opened.objects.inner, "journal")) == 2
    monkeypatch.undo()
    time = move_time(monkeypatch)
    time.move(2 * LONGER)
    assert lib.gc(dry_run=False).removed_intents == 1
    assert not keys(opened.objects.inner, "journal")
    assert "late" in check(lib)["list_symbols"]


@pytest.mark.parametrize("what", ["catalogue", "catalogue/generations", "catalogue/files"])
def test_a_catalogue_that_is_deleted_costs_time_and_nothing_else(lib, what):
    """All of it, what it names or its newest generation: listings come from the documents, and a fold makes it anew."""
    lib.fold()
    lib.write("new", FRAME)
    lib.fold()
    expected = without_catalogue(lib)
    inner = lib.open_library.objects.inner
    inner.delete(keys(inner, what))
    handle = fresh(lib)
    if what == "catalogue/files":
        with pytest.warns(vs.DocumentWarning, match="cannot be read"):
            assert said(handle) == expected
        assert not lib.verify().ok
    else:
        assert said(handle) == expected
    handle.write("newer", FRAME)
    assert handle.fold().folded_documents == 15
    assert check(handle)["list_symbols"] == sorted([*expected["list_symbols"], "newer"])
    assert lib.verify().ok


def test_an_older_generation_is_not_believed_when_the_newest_is_gone(lib):
    """The journal's mark says that intents were removed for a later one."""
    lib.fold()
    lib.write("new", FRAME)
    lib.fold()
    opened = lib.open_library
    opened.objects.inner.delete([opened.layout.generation(1)])
    handle = fresh(lib)
    assert folded.look(handle.open_library) is None
    assert "new" in handle.list_symbols()
    assert handle.fold().generation == 2
    check(handle)


def test_damage_is_named_and_read_around(lib):
    """A file with another byte: listings warn and are right, verify finds it, and a rebuild mends it."""
    lib.fold()
    inner = lib.open_library.objects.inner
    for key in keys(inner, "catalogue/files"):
        inner.put(key, inner.read(key)[:-1] + b"x")
    handle = fresh(lib)
    with pytest.warns(vs.DocumentWarning, match="is damaged"):
        names = handle.list_symbols()
    assert names == ["a", "b/ä", "t", "u", "~"]
    assert "is damaged" in str(handle.verify().problems)
    assert handle.verify(repair=True).ok
    assert fresh(lib).verify().ok
    check(lib)


def test_verify_finds_what_the_catalogue_lacks_and_what_it_has_too_much(lib):
    """A version behind its back is one whose intent is gone; a document deleted behind its back is still listed."""
    lib.fold()
    inner = lib.open_library.objects.inner
    lib.write("hidden", FRAME)
    inner.delete([key for key in keys(inner, "journal") if "hidden" in key])
    inner.delete([lib.open_library.layout.version("a", 3)])
    problems = str(fresh(lib).verify().problems)
    assert "lacks version 0 of 'hidden'" in problems
    assert "has version 3 of 'a', which is gone" in problems
    assert "hidden" not in fresh(lib).list_symbols()
    report = fresh(lib).verify(repair=True)
    assert report.ok and len(report.repaired) == 2 and "was made anew, for 2 reasons" in str(report)
    assert "hidden" in fresh(lib).list_symbols()
    assert fresh(lib).verify(repair=True).repaired == []


def test_a_document_that_cannot_be_read_waits_and_hides_nothing(lib):
    """Its symbol is read as before, and is folded once it is mended."""
    lib.fold()
    lib.write("bad", FRAME)
    lib.write("bad", FRAME)
    opened = lib.open_library
    key = opened.layout.version("bad", 0)
    good = opened.objects.inner.read(key)
    opened.objects.inner.put(key, b"{")
    handle = fresh(lib)
    assert handle.fold().waiting_symbols == ["bad"]
    handle = fresh(lib)
    assert handle.list_versions("bad", latest_only=True).keys() == {("bad", 1)}
    assert "bad" in handle.list_symbols()
    opened.objects.inner.put(key, good)
    assert handle.fold().waiting_symbols == []
    check(fresh(lib))


def test_a_rebuild_keeps_in_sight_what_it_cannot_fold(lib, monkeypatch):
    """Also where no intent is left that would say so, through folds and collections: it is named in the generation."""
    time = move_time(monkeypatch)
    lib.fold()
    for _ in range(3):
        lib.write("bad", FRAME)
    opened = lib.open_library
    key = opened.layout.version("bad", 1)
    good = opened.objects.inner.read(key)
    opened.objects.inner.put(key, b"{")
    opened.objects.inner.delete([key for key in keys(opened.objects.inner, "journal") if "bad" in key])
    assert lib.fold(rebuild=True).waiting_symbols == ["bad"]
    assert lib.fold().generation == lib.fold().generation
    opened.objects.inner.put(key, good)
    assert [pair.version for pair in fresh(lib).list_versions("bad")] == [2, 1, 0]
    assert listings.states(folded.look(fresh(lib).open_library), ())["bad"].newest == 2
    time.move(LONGER)
    lib.gc(dry_run=False)
    check(fresh(lib))
    assert not folded.look(fresh(lib).open_library).tail


def test_lost_labels_hide_no_version_above_them(small_pages, objects, monkeypatch):
    """A collection can read such a document, and a fold cannot."""
    time = move_time(monkeypatch)
    lib = vs.Store(objects).create_library("eod")
    labels = [f"label {number:06}" for number in range(5000)]
    lib.write("a", FRAME)
    lib.write("a", pd.DataFrame({"c": pd.Categorical(labels)}))
    lib.write("a", FRAME)
    lib.write("a", FRAME)
    lib.write("b", FRAME)
    objects.inner.delete(keys(objects.inner, "manifests/a"))
    objects.inner.delete(keys(objects.inner, "journal"))
    for _ in range(2):
        fresh(lib).fold()
        time.move(LONGER)
        fresh(lib).gc(dry_run=False)
    with pytest.warns(vs.DocumentWarning, match="missing"):
        assert [pair.version for pair in fresh(lib).list_versions("a")] == [3, 2, 0]
    assert fresh(lib).snapshot("s").versions == {"a": 3, "b": 0}


def test_many_removed_versions_leave_the_catalogue_too(lib, monkeypatch):
    """As many as make a layer of their own."""
    monkeypatch.setattr(fold, "MERGED_DOCUMENTS_MAX", 2)
    time = move_time(monkeypatch)
    lib.fold()
    lib.prune("a", keep_last=1)
    time.move(LONGER)
    assert len(lib.gc(dry_run=False).removed_versions) == 6
    check(lib)
    time.move(LONGER)
    lib.gc(dry_run=False)
    check(lib)
    assert lib.verify().ok


def test_without_marks_no_generation_is_believed(lib):
    """Nobody knows then what intents were removed for, neither a reader nor a fold."""
    lib.fold()
    lib.write("new", FRAME)
    lib.fold()
    inner = lib.open_library.objects.inner
    inner.delete([*keys(inner, "folds"), lib.open_library.layout.generation(1)])
    assert folded.look(lib.open_library) is None
    assert folded.look(fresh(lib).open_library) is None
    fresh(lib).fold()
    assert "new" in check(lib)["list_symbols"]


def test_a_copy_that_was_made_beside_a_fold_is_healed_by_its_next_collection(lib):
    """Its intents were copied after its generation."""
    lib.fold()
    inner = lib.open_library.objects.inner
    copy = MemoryObjects("fold")
    copy._objects.update({key: data for key, data in inner._objects.items() if key < "eod/journal"})
    lib.write("new", FRAME)
    lib.fold()
    copy._objects.update({key: data for key, data in inner._objects.items() if key > "eod/journal"})
    copy._objects.update({key: data for key, data in inner._objects.items() if "/options/" in key})
    copied = vs.Store(FaultyObjects(copy)).get_library("eod")
    assert "lacks version 0 of 'new'" in str(copied.verify().problems)
    copied.gc(dry_run=False)
    assert "new" in check(copied)["list_symbols"]


@pytest.mark.parametrize("kind", ["heads", "versions", "documents"])
def test_a_missing_file_is_found_by_verify_and_made_anew_by_a_collection(lib, kind):
    """Whichever it is."""
    lib.fold()
    inner = lib.open_library.objects.inner
    (layer,) = folded.look(lib.open_library).folded.generation.layers
    inner.delete([f"eod/{file.key}" for file in getattr(layer, kind)])
    assert "is missing: fold(rebuild=True)" in str(fresh(lib).verify().problems)
    with suppress_warnings():
        fresh(lib).gc(dry_run=False)
    assert fresh(lib).verify().ok
    check(fresh(lib))


def test_a_time_is_found_while_a_collection_is_under_way(lib, objects, monkeypatch):
    """Documents are removed, and are in the catalogue still."""
    monkeypatch.setattr(visible, "NUMBERS_PAGE", 2)
    time = move_time(monkeypatch)
    lib.append("a", FRAME)
    lib.fold()
    info = lib.list_versions("a")
    lib.prune("a", keep_last=3)
    lib.write("a", FRAME)
    time.move(LONGER)
    objects.before = lambda request: (
        (_ for _ in ()).throw(SimulatedCrash("killed"))
        if (request.method == "put" and "/catalogue/" in request.key)
        else None
    )
    with pytest.raises(SimulatedCrash):
        lib.gc(dry_run=False)
    objects.before = None
    handle = fresh(lib)
    for pair, known in info.items():
        if pair.version >= 5:
            assert handle["a", known.date].version == pair.version
        else:
            with pytest.raises(vs.NoSuchVersion, match="was pruned"):
                handle["a", known.date].version  # noqa: B018


STRAY = [
    ("eod/folds/README.txt", b"?"),
    ("eod/catalogue/generations/.DS_Store", b"?"),
    ("eod/catalogue/generations/0000000000.json", b"{}"),
    ("eod/catalogue/files/x.tmp", b"?"),
    ("eod/folds/0000000000." + "a" * 32, b"{}"),
    ("eod/journal/x", b"?"),
    ("eod/journal/" + "b" * 32, b"{"),
    ("eod/journal/" + "b" * 32, b'{"duckvstore":"intent","format":1,"requires":[],"write_id":"' + b"b" * 32
     + b'","symbol":"","announced_at":"2026-01-01T00:00:00.000000Z"}'),
]  # fmt: skip


@pytest.mark.parametrize(("key", "data"), STRAY, ids=[f"{key[4:24]} {len(data)}" for key, data in STRAY])
def test_what_others_put_there_stops_neither_folds_nor_collections_nor_listings(lib, monkeypatch, key, data):
    """Foreign keys are left alone; an intent that nobody can read costs readers the catalogue, and nothing else."""
    time = move_time(monkeypatch)
    lib.fold()
    lib.write("new", FRAME)
    inner = lib.open_library.objects.inner
    inner.put(key, data)
    warns = pytest.warns(vs.DocumentWarning) if data[:1] == b"{" and "journal" in key else nullcontext()
    with warns:
        assert "new" in fresh(lib).list_symbols()
    for _ in range(2):
        fresh(lib).fold()
        time.move(LONGER)
        with suppress_warnings():
            assert not fresh(lib).gc(dry_run=False).failures
    assert inner._objects.get(key) == data or b'"symbol":""' in data  # a collection removes old intents
    with suppress_warnings():
        assert "new" in check(lib)["list_symbols"]


def test_readers_who_may_not_see_the_catalogue_read_documents(lib):
    """As in a library that was never folded, without a word; an object store that fails is told of."""
    lib.fold()
    names = lib.list_symbols()

    class Refusing(FaultyObjects):
        error: type[Exception] = vs.AccessDenied

        def list(self, prefix, *rest, **more):
            if any(folder in prefix for folder in ("journal", "folds", "catalogue")):
                raise self.error("no")
            return super().list(prefix, *rest, **more)

    objects = Refusing(lib.open_library.objects.inner)
    handle = vs.Store(objects).get_library("eod")
    assert handle.list_symbols() == names
    assert len(handle.list_versions()) == 13
    objects.error = vs.StorageUnavailable
    with pytest.warns(vs.DocumentWarning, match="cannot be read"):
        assert vs.Store(objects).get_library("eod").list_symbols() == names


def test_a_snapshot_without_a_symbol_does_not_look_at_it(lib):
    """Though it is in the tail, and cannot be read."""
    lib.fold()
    lib.write("bad", FRAME)
    opened = lib.open_library
    opened.objects.inner.put(opened.layout.version("bad", 0), b"{")
    assert "bad" not in fresh(lib).snapshot("s", skip_symbols=["bad"]).versions
    assert len(fresh(lib).list_symbols(snapshot_name="s")) == 5


def test_a_long_tail_is_not_looked_at_symbol_by_symbol(lib, objects, monkeypatch):
    """Documents are read in pages then; a fold makes it short again."""
    monkeypatch.setattr(folded, "TAIL_MAX", 2)
    monkeypatch.setattr(listings, "SYMBOLS_OF_A_PAGE_MIN", 1)
    lib.fold()
    for number in range(8):
        lib.write(f"new{number}", FRAME)
    expected = without_catalogue(lib)["list_symbols"]
    objects.requests.clear()
    assert fresh(lib).overview().symbols() == sorted({*expected, "Z"}, key=lambda name: escape(name) + "/")
    assert not [request for request in objects.requests if "/versions/new" in request.key]
    lib.fold()
    check(lib)


def test_a_fold_beside_a_change_of_options_goes_on(lib, objects):
    """Whoever was first: both are in force."""

    def others(request):
        if request.method == "create" and "/options/" in request.key:
            objects.before = None
            vs.Store(objects.inner).get_library("eod").set_options(keep_last=7)

    objects.before = others
    lib.fold()
    assert objects.before is None
    assert fresh(lib).options.keep_last == 7
    assert folded.look(fresh(lib).open_library) is not None


def test_long_names_are_found_although_their_intents_do_not_say_them(lib):
    """A key has no room for them."""
    lib.fold()
    name = "n" * 240
    lib.write(name, FRAME)
    handle = fresh(lib)
    assert name in handle.list_symbols()
    handle.fold()
    check(lib)


def test_a_deleted_library_leaves_nothing_to_the_next_of_its_name(objects, small_pages):
    """A generation, a mark and documents of the old one are as absent as before."""
    store = vs.Store(objects)
    old = store.create_library("eod")
    for number in range(5):
        old.write(f"old{number}", FRAME)
    old.fold()
    left = {key: objects.inner.read(key) for key in (keys(objects.inner, "catalogue") | keys(objects.inner, "folds"))}
    store.delete_library("eod")
    new = store.create_library("eod")
    for key, data in left.items():
        objects.inner.put(key, data)  # as a fold that was on its way leaves them
    for number in range(5):
        new.write(f"new{number}", FRAME)
    assert new.list_symbols() == [f"new{number}" for number in range(5)]
    new.fold()
    assert check(new)["list_symbols"] == [f"new{number}" for number in range(5)]


def test_a_fold_that_takes_too_long_publishes_nothing(lib, monkeypatch):
    """Files that it has put may be removed by then."""
    time = move_time(monkeypatch)
    objects = lib.open_library.objects
    objects.before = lambda request: time.move(GRACE) if request.key.endswith("v0.json") else None
    with pytest.raises(vs.Conflict, match="half the grace period"):
        lib.fold()
    objects.before = None
    assert not keys(objects.inner, "catalogue/generations")
    lib.fold()


def test_options_changed_after_a_fold_still_say_that_the_library_folds(lib):
    """Else the release before would collect in it."""
    lib.fold()
    lib.set_options(keep_last=3)
    fresh(lib).set_options(grace=timedelta(days=9))
    opened = lib.open_library
    document = opened.objects.inner.read(min(keys(opened.objects.inner, "options")))
    assert b'"requires":["folded_catalogue"]' in document


@pytest.mark.s3
@pytest.mark.parametrize("server", ["s3_bucket", "moto_bucket"])
def test_a_library_on_s3_folds_and_lists_as_one_in_memory(request, small_pages, server):
    """On SeaweedFS and moto: names that are escaped, a tail, a removal, a reader without any right to write."""
    bucket = request.getfixturevalue(server)
    lib = vs.open(bucket.url, bucket.storage_options).create_library("eod")
    names = sorted(["a", "b/ä", "~", "n" * 240, "Z"])
    for name in names:
        lib.write(name, FRAME)
    for _ in range(4):
        lib.append("a", FRAME)
    assert lib.fold().folded_documents == 9
    lib.write("n" * 240, FRAME)
    lib.delete("Z")
    lib.prune("a", keep_last=2)
    readers = [bucket.storage_options]
    if server == "s3_bucket":
        readers.append(request.getfixturevalue("s3_reader_options"))
    for folds in range(2):
        for reader in readers:
            handle = vs.open(bucket.url, reader).get_library("eod")
            assert folded.look(handle.open_library) is not None
            assert handle.list_symbols() == [name for name in names if name != "Z"]
            assert [pair.version for pair in handle.list_versions("a")] == [4, 3]
            assert handle.sql("SELECT count(*) FROM vstore.versions").fetchall() == [(8,)]
        if not folds:
            lib.gc(timedelta(0), dry_run=False)
            assert not folded.look(lib.open_library).tail
    assert lib.verify().ok


@pytest.mark.skipif(os.environ.get("DUCKVSTORE_FULL") != "1", reason="reads 20,000 documents: make test-full")
def test_a_library_of_many_symbols_lists_in_a_few_requests(objects):
    """With real page sizes."""
    lib = vs.Store(objects).create_library("eod")
    for number in range(20_000):
        lib.write(f"s{number:05}", 1)
    lib.fold()
    objects.requests.clear()
    assert len(fresh(lib).list_symbols()) == 20_000
    assert len(objects.requests) < 10
