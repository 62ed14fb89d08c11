"""Pruning, deleting versions and collecting garbage: each rule by itself."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest
from msgspec import structs
from pandas.testing import assert_frame_equal

import duckvstore as vs
from duckvstore.engine.library import condemned, options
from duckvstore.engine.library import manifests as engine_manifests
from duckvstore.engine.maintenance import prune
from duckvstore.engine.maintenance.collect import collect
from duckvstore.engine.reading import catalogue
from duckvstore.engine.writing import commits
from duckvstore.engine.writing.commits import Call
from duckvstore.errors import Integrity, Unsupported
from duckvstore.format.stored import documents, manifests, records
from duckvstore.format.stored.documents import Decision
from duckvstore.objects.base import DeleteFailure
from duckvstore.objects.memory import MemoryObjects
from duckvstore.testing.faulty import FaultyObjects
from tests.counting import CountingObjects
from tests.upkeep import DAY, GRACE, LONGER, frame, keys, move_time, restore

ALL_AT_ONCE = timedelta(0)


@pytest.fixture
def time(monkeypatch):
    return move_time(monkeypatch)


@pytest.fixture
def objects(time):
    return MemoryObjects("garbage")


@pytest.fixture
def lib(objects):
    """A library with versions 0 to 4 of one symbol, a day apart."""
    return vs.Store(objects).create_library("eod")


@pytest.fixture
def five(lib, time):
    for number in range(5):
        lib.write("x", frame(number))
        time.move(DAY)
    return lib


def again(objects) -> vs.Library:
    """A handle that has seen nothing yet."""
    return vs.Store(objects).get_library("eod")


def numbers(lib, symbol="x") -> list[int]:
    return [pair.version for pair in lib.list_versions(symbol)]


def gc(lib, **options):
    return collect(lib.open_library, dry_run=False, **options)


# -- pruning -----------------------------------------------------------------------------------------------------


def test_prune_keeps_the_last_and_what_snapshots_hold(five):
    """Neither the newest nor a version that a snapshot holds is condemned."""
    five.snapshot("s", versions={"x": 1})
    assert prune.prune(five.open_library, "x", keep_last=2) == (2, 0)
    assert numbers(five) == [4, 3, 1]
    five.delete_snapshot("s")
    assert prune.prune(five.open_library, "x", keep_last=1) == (3, 1)
    assert prune.prune(five.open_library, "x", keep_last=1) == ()
    assert numbers(five) == [4]


def test_prune_keeps_what_was_current_within_a_time(five):
    """A version is kept while its successor is younger than keep_for; with both rules either one keeps it."""
    opened = five.open_library
    assert prune.prune(opened, "x", keep_for=timedelta(days=3, hours=1)) == (0,)  # replaced 4 days ago
    assert prune.prune(opened, "x", keep_for=ALL_AT_ONCE, keep_last=3) == (1,)
    assert prune.prune(opened, "x", keep_for=timedelta(hours=25), keep_last=1) == (2,)
    assert prune.prune(opened, "x", keep_for=ALL_AT_ONCE) == (3,)
    assert numbers(five) == [4]


def test_condemned_versions_do_not_count_as_kept(five):
    """keep_last counts versions that are there for readers, held ones too."""
    prune.delete_versions(five.open_library, Call("x"), "x", [3])
    assert prune.prune(five.open_library, "x", keep_last=2) == (1, 0)
    assert numbers(five) == [4, 2]


@pytest.mark.parametrize(
    "options",
    [{}, {"keep_last": 0}, {"keep_last": True}, {"keep_last": 1.5}, {"keep_for": 3}, {"keep_for": timedelta(-1)}],
)
def test_prune_refuses_what_says_nothing(five, options):
    """Nothing to keep by, or no number or time."""
    with pytest.raises(vs.InvalidInput, match="keep_"):
        prune.prune(five.open_library, "x", **options)


def test_prune_of_no_symbol_names_the_nearest(five):
    """A misspelt symbol is an error."""
    with pytest.raises(vs.NoSuchSymbol, match="Did you mean 'x'"):
        prune.prune(five.open_library, "X", keep_last=1)


# -- reading what was pruned -------------------------------------------------------------------------------------


def test_a_pruned_version_is_found_only_through_a_snapshot(five, objects):
    """By number, negative number, time, in lists and in SQL it is gone; under the snapshot it is there."""
    when = five.read_metadata("x", as_of=1).created_at
    five.snapshot("s", versions={"x": 1})
    condemned.publish(five.open_library, "x", "test", versions=[1, 3])  # as when the snapshot comes during a prune
    for lib in (five, again(objects)):
        with pytest.raises(vs.NoSuchVersion, match="version 1 of 'eod/x' was pruned"):
            lib.read("x", as_of=1)
        with pytest.raises(vs.NoSuchVersion, match=r"what 'eod/x' was at .* is gone: version 1 was pruned"):
            lib.read("x", as_of=when)
        assert lib.read("x", as_of=-2).version == 2
        assert lib.read("x", as_of=-3).version == 0
        with pytest.raises(vs.NoSuchVersion, match="3 versions"):
            lib.read("x", as_of=-4)
        assert numbers(lib) == [4, 2, 0]
        assert [row[0] for row in lib.sql("SELECT version FROM vstore.versions ORDER BY 1").fetchall()] == [0, 2, 4]
        with pytest.raises(vs.NoSuchVersion, match="pruned"):
            lib.sql("FROM x AT VERSION 1").fetchall()
        assert_frame_equal(lib.read("x", as_of="s").data, frame(1))
        assert lib.sql("FROM x AT SNAPSHOT 's'").fetchall() == [(1,), (2,), (3,)]
        assert lib.sql("FROM s.x").fetchall() == [(1,), (2,), (3,)]
        assert not lib.has_symbol("x", as_of=3)


def test_the_browser_shows_pruned_versions_under_their_snapshot_only(five):
    """Their rows can be seen there, and nowhere else are they listed."""
    pytest.importorskip("anywidget")
    from duckvstore.jupyter.browser import Browser

    five.snapshot("s", versions={"x": 1})
    condemned.publish(five.open_library, "x", "test", versions=[1, 3])
    browser = Browser(five)
    browser.symbol = "x"
    assert [row["version"] for row in browser.versions["rows"]] == [4, 2, 0]
    browser.scope = "s"
    browser.refresh()
    assert [row["version"] for row in browser.versions["rows"]] == [4, 2, 1, 0]
    assert (browser.version, browser.shown["version"], browser.error) == (1, 1, "")
    assert_frame_equal(browser.data(), frame(1))


def test_a_time_that_falls_on_a_removed_version_does_not_slide_to_an_older_one(five, objects, time):
    """Found by the next version's parent, between and before what is left."""
    times = [five.read_metadata("x", as_of=number).created_at for number in range(5)]
    five.snapshot("s", versions={"x": 1})
    prune.prune(five.open_library, "x", keep_last=2)
    time.move(LONGER)
    assert gc(five).removed_versions == [("x", 0), ("x", 2)]
    lib = again(objects)
    assert [lib.read_metadata("x", as_of=times[number]).version for number in (3, 4)] == [3, 4]
    with pytest.raises(vs.NoSuchVersion, match="version 2 was pruned"):
        lib.read("x", as_of=times[2])
    with pytest.raises(vs.NoSuchVersion, match="version 0 was pruned"):
        lib.read("x", as_of=times[0] - DAY)
    assert numbers(lib) == [4, 3, 1]
    lib.delete_snapshot("s")
    prune.prune(lib.open_library, "x", keep_last=2)
    time.move(LONGER)
    assert gc(lib).removed_versions == [("x", 1)]
    with pytest.raises(vs.NoSuchVersion, match="version 2 was pruned"):
        again(objects).read("x", as_of=times[0])


def test_requests_that_reading_costs(five, objects, time):
    """The newest costs nothing more; a number costs a listing beside its document, and a moment later neither."""
    lib = vs.Store(counting := CountingObjects(objects)).get_library("eod")

    def cost(as_of):
        counting.reset()
        lib.read_metadata("x", as_of=as_of)
        return {method: count for method, count in counting.counts.items() if not method.startswith("bytes_")}

    assert cost(None) == {"list": 1, "read": 1}
    assert cost(4) == {}  # the newest a moment ago
    assert cost(2) == {"list": 1, "read": 1}
    assert cost(2) == {}
    assert cost(1) == {"read": 1}
    time.move(timedelta(minutes=1))
    assert cost(1) == {"list": 1, "read": 1}
    assert cost(-1) == {"list": 1}
    assert cost(None) == {"list": 1}


def test_what_others_prune_is_seen_after_a_moment_and_at_once_where_it_is_done(five, objects, time):
    """This process knows its own prunes; another handle looks again after a few seconds."""
    other = again(objects)
    assert other.read("x", as_of=0).version == 0
    prune.prune(five.open_library, "x", keep_last=1)
    with pytest.raises(vs.NoSuchVersion, match="pruned"):
        five.read("x", as_of=0)
    assert other.read("x", as_of=0).version == 0
    time.move(timedelta(seconds=condemned.RECENT_SECONDS + 1))
    with pytest.raises(vs.NoSuchVersion, match="pruned"):
        other.read("x", as_of=0)


def test_a_cached_version_that_was_collected_is_not_read_from_the_cache(five, objects, time):
    """Document and garbage are both gone by then: the document is looked for again."""
    other = again(objects)
    assert len(other.list_versions("x")) == 5
    prune.prune(five.open_library, "x", keep_last=1)
    gc(five, grace=ALL_AT_ONCE)
    assert not keys(objects, "garbage")
    time.move(timedelta(minutes=1))
    with pytest.raises(vs.NoSuchVersion, match="no version 0"):
        other.read("x", as_of=0)
    with pytest.raises(vs.NoSuchVersion, match="no version 0"):
        restore(other, "x", 0)


def test_nothing_new_may_refer_to_a_pruned_version(five, objects):
    """Restore and snapshot look afresh, whatever was seen a moment ago, also through a snapshot that holds it."""
    other = again(objects)
    other.snapshot("s", versions={"x": 0})
    other.read("x", as_of=2)  # a look at the garbage, a moment ago
    condemned.publish(five.open_library, "x", "test", versions=[0, 2])
    for lib in (other, five):
        with pytest.raises(vs.NoSuchVersion, match="pruned"):
            restore(lib, "x", 2)
        with pytest.raises(vs.NoSuchVersion, match="pruned"):
            lib.snapshot("t", versions={"x": 2})
        with pytest.raises(vs.InvalidInput, match="was pruned, and only snapshots such as 's' still hold it"):
            restore(lib, "x", "s")
        with pytest.raises(vs.NoSuchVersion, match="pruned"):
            lib.snapshot("t", versions={"x": 0})
    assert other.list_snapshots(load_metadata=False) == ["s"]
    assert_frame_equal(other.read("x", as_of=restore(other, "x", 3)).data, frame(3))


# -- deleting versions -------------------------------------------------------------------------------------------


def test_versions_are_deleted_by_number(five):
    """They are gone for readers at once; the newest stays the newest."""
    assert prune.delete_versions(five.open_library, Call("x"), "x", [0, 3, 3]) == (3, 0)
    assert numbers(five) == [4, 2, 1]
    assert prune.delete_versions(five.open_library, Call("x"), "x", []) == ()


def test_deleting_the_newest_restores_the_newest_of_the_others(five, objects):
    """By a version of its own, so that no number ever comes back."""
    prune.delete_versions(five.open_library, Call("x", author="me"), "x", [4, 3, 1])
    assert numbers(five) == [5, 2, 0]
    assert_frame_equal(again(objects).read("x").data, frame(2))
    info = next(iter(five.list_versions("x").values()))
    assert (info.operation, info.author, info.message) == ("restore", "me", "versions deleted: 1, 3, 4")
    assert five.write("x", frame(7)).version == 6


def test_deleting_every_version_leaves_a_deletion(five, objects):
    """The symbol is gone, and its numbers go on."""
    prune.delete_versions(five.open_library, Call("x"), "x", range(5))
    assert [info.deleted for info in five.list_versions("x").values()] == [True]
    with pytest.raises(vs.NoSuchSymbol, match="was deleted"):
        again(objects).read("x")
    gc(five, grace=ALL_AT_ONCE)
    assert not keys(objects, "segments")
    assert again(objects).write("x", frame(0)).version == 6


def test_deleting_what_is_held_or_not_there_changes_nothing(five, objects):
    """The snapshots, or the numbers, are named; nothing is condemned."""
    five.snapshot("monthly", versions={"x": 1})
    five.snapshot("weekly", versions={"x": 4})
    before = dict(objects._objects)
    with pytest.raises(vs.InvalidInput, match="version 1 by 'monthly'"):
        prune.delete_versions(five.open_library, Call("x"), "x", [0, 1])
    with pytest.raises(vs.InvalidInput, match="version 4 by 'weekly'"):
        prune.delete_versions(five.open_library, Call("x"), "x", [4])
    with pytest.raises(vs.NoSuchVersion, match="no version 7, 9, so nothing was deleted"):
        prune.delete_versions(five.open_library, Call("x"), "x", [0, 9, 7])
    with pytest.raises(vs.InvalidInput, match="'0'"):
        prune.delete_versions(five.open_library, Call("x"), "x", ["0"])
    with pytest.raises(vs.NoSuchSymbol):
        prune.delete_versions(five.open_library, Call("y"), "y", [0])
    assert objects._objects == before
    prune.delete_versions(five.open_library, Call("x"), "x", [0])
    with pytest.raises(vs.NoSuchVersion, match="no version 0"):
        prune.delete_versions(five.open_library, Call("x"), "x", [0])


def test_deleting_the_newest_honours_expected_version(five):
    """A head that is not as expected is a Conflict, and nothing is condemned."""
    for wanted in ([4], [0]):
        with pytest.raises(vs.Conflict, match="expected version 3"):
            prune.delete_versions(five.open_library, Call("x", expected_version=3), "x", wanted)
    assert numbers(five) == [4, 3, 2, 1, 0]


# -- collecting --------------------------------------------------------------------------------------------------


def test_versions_go_after_the_grace_period_and_their_segments_a_period_later(five, objects, time):
    """Two phases, each a whole grace period: readers and writers that run keep what they have."""
    segments = keys(objects, "segments")
    prune.prune(five.open_library, "x", keep_last=2)
    time.move(GRACE - timedelta(hours=1))
    report = gc(five)
    assert (report.removed_versions, report.waiting_versions) == ([], [("x", 0), ("x", 1), ("x", 2)])
    time.move(timedelta(hours=2))
    report = gc(five)
    assert report.removed_versions == [("x", 0), ("x", 1), ("x", 2)]
    assert len(report.condemned_objects) == 3
    assert report.condemned_bytes == sum(len(objects._objects[f"eod/{key}"]) for key in report.condemned_objects)
    assert keys(objects, "segments") == segments
    time.move(GRACE - timedelta(hours=1))
    report = gc(five)
    assert (report.deleted_objects, len(report.waiting_objects)) == ([], 3)
    time.move(timedelta(hours=2))
    report = gc(five)
    assert len(report.deleted_objects) == 3
    assert len(keys(objects, "segments")) == 2
    assert not keys(objects, "garbage")
    assert not keys(objects, "journal")
    assert numbers(again(objects)) == [4, 3]
    assert_frame_equal(again(objects).read("x", as_of=3).data, frame(3))


def test_a_shared_segment_stays_while_any_version_refers_to_it(five, objects, time):
    """Restored versions share segments: removing one of them removes no data of the other."""
    restore(five, "x", 1)
    prune.prune(five.open_library, "x", keep_last=1)
    report = gc(five, grace=ALL_AT_ONCE)
    assert len(report.removed_versions) == 5
    assert len(report.deleted_objects) == 4
    assert_frame_equal(again(objects).read("x").data, frame(1))


def test_an_upload_of_a_running_writer_survives(five, objects, time):
    """It is condemned, committed within half the period, and then it is no garbage any more."""
    other = again(objects)
    faulty = FaultyObjects(objects)
    writer = vs.Store(faulty).get_library("eod")

    def others(request):
        if request.method == "create" and "/versions/" in request.key:
            assert len(gc(other).condemned_objects) == 1
            time.move(GRACE / 2 - timedelta(hours=1))

    faulty.before = others
    item = writer.write("x", frame(9))
    faulty.before = None
    time.move(LONGER)
    report = gc(other)
    assert (report.deleted_objects, report.condemned_objects) == ([], [])
    assert not keys(objects, "garbage")
    assert_frame_equal(again(objects).read("x", as_of=item.version).data, frame(9))


def test_an_old_condemnation_does_not_shorten_the_grace_of_a_later_one(five, objects, time):
    """A segment that was condemned before its commit, and is unreferenced again later, waits a whole period again."""
    other = again(objects)
    faulty = FaultyObjects(objects)
    writer = vs.Store(faulty).get_library("eod")
    faulty.before = lambda request: gc(other) if request.method == "create" and "/versions/" in request.key else None
    writer.write("x", frame(9))
    faulty.before = None
    assert len(keys(objects, "garbage")) == 1
    writer.write("x", frame(10))
    prune.prune(writer.open_library, "x", keep_last=1)
    time.move(LONGER)
    report = gc(other)
    assert len(report.removed_versions) == 6
    assert report.deleted_objects == []
    assert len(report.condemned_objects) == 6
    time.move(LONGER)
    assert len(gc(other).deleted_objects) == 6


def test_what_is_taken_back_leaves_the_rest_condemned_since_then(five, objects, time):
    """Of two uploads that one run condemned, one is committed: the other goes when its time is over."""
    orphan = "eod/segments/x/" + "0" * 32 + "-" + "0" * 16 + ".parquet"
    objects.put(orphan, b"left by a crash")
    kept = next(iter(keys(objects, "segments") - {orphan}))
    condemned.publish(five.open_library, "x", "test", keys=[kept.removeprefix("eod/"), orphan.removeprefix("eod/")])
    time.move(DAY)
    gc(five)
    (key,) = keys(objects, "garbage")
    garbage = records.Garbage.load(objects.read(key), where=key)
    assert garbage.keys == (orphan.removeprefix("eod/"),)
    time.move(GRACE - DAY + timedelta(seconds=1))
    assert gc(five).deleted_objects == [orphan.removeprefix("eod/")]
    assert kept in objects._objects


def test_snapshots_hold_what_was_condemned_before(five, objects, time):
    """A snapshot that came during a prune keeps its version; once deleted, the version goes."""
    five.snapshot("s", versions={"x": 1})
    condemned.publish(five.open_library, "x", "test", versions=[0, 1])
    time.move(LONGER)
    report = gc(five)
    assert (report.removed_versions, report.waiting_versions) == ([("x", 0)], [("x", 1)])
    time.move(LONGER)
    gc(five)
    assert_frame_equal(again(objects).read("x", as_of="s").data, frame(1))
    five.delete_snapshot("s")
    assert gc(five).removed_versions == [("x", 1)]


def test_highest_and_newest_stay_whatever_is_condemned(five, objects, time):
    """Also when a document condemns them that nothing of ours would have written."""
    _undecided(five, objects, "ab" * 16)
    condemned.publish(five.open_library, "x", "test", versions=range(6))
    gc(five, grace=ALL_AT_ONCE)
    assert {key.rpartition(".v")[2] for key in keys(objects, "versions")} == {"4.json", "5.json"}
    assert len(keys(objects, "garbage")) == 1


def _undecided(lib, objects, transaction, symbol="x") -> None:
    """Write a version and make it one of a transaction without a decision."""
    item = lib.write(symbol, frame(50))
    key = lib.open_library.layout.version(symbol, item.version)
    found = documents.load_version(objects.read(key), where=key)
    objects.put(key, documents.dump_version(replace(found, transaction=transaction)))
    lib.open_library.forget(symbol, item.version)
    lib.open_library.heads.forget(symbol)


def test_transactions_that_nobody_decides_are_aborted_and_their_documents_removed(five, objects, time):
    """Undecided for the grace period: aborted, condemned, removed; the decision goes last."""
    _undecided(five, objects, "ab" * 16)
    assert gc(five).aborted_transactions == []
    time.move(LONGER)
    report = gc(five)
    assert (report.aborted_transactions, report.condemned_versions) == (["ab" * 16], [])  # it is the highest
    five = again(objects)
    assert five.write("x", frame(6)).version == 6
    assert gc(five).condemned_versions == [("x", 5)]
    time.move(LONGER)
    report = gc(five)
    assert (report.removed_versions, report.removed_decisions) == ([("x", 5)], 1)
    assert not keys(objects, "transactions")
    assert numbers(again(objects)) == [6, 4, 3, 2, 1, 0]


def test_a_decision_stays_while_a_document_names_it(five, objects, time):
    """A committed version would be invisible without it; decisions that nothing names go after the grace period."""
    _undecided(five, objects, "ab" * 16)
    layout = five.open_library.layout
    for name, outcome in (("ab" * 16, "committed"), ("cd" * 16, "aborted")):
        decision = Decision(name, outcome, five.open_library.objects.now(), {"x": 5} if outcome == "committed" else {})
        objects.put(layout.transaction(name), decision.dump())
    assert gc(five).removed_decisions == 0
    time.move(LONGER)
    assert gc(five).removed_decisions == 1
    assert keys(objects, "transactions") == {layout.transaction("ab" * 16)}
    assert numbers(again(objects)) == [5, 4, 3, 2, 1, 0]


def test_what_a_library_of_the_same_name_left_behind_is_removed_and_never_mixed_up(five, objects, time):
    """Its documents are garbage, its garbage condemns nothing of ours, its snapshots hold nothing of ours."""
    layout = five.open_library.layout
    found = documents.load_version(objects.read(layout.version("x", 2)), where="")
    objects.put(layout.version("x", 2), documents.dump_version(replace(found, library_id="f" * 32)))
    garbage = records.Garbage("f" * 32, "ee" * 16, "x", five.open_library.objects.now(), "prune", (0, 1), ())
    objects.put(layout.garbage("x", garbage.garbage_id), garbage.dump())
    lib = again(objects)
    assert numbers(lib) == [4, 3, 1, 0]
    assert lib.read("x", as_of=0).version == 0
    assert gc(lib).condemned_versions == [("x", 2)]
    time.move(LONGER)
    report = gc(lib)
    assert report.removed_versions == [("x", 2)]
    assert not keys(objects, "garbage") & {layout.garbage("x", "ee" * 16)}
    assert numbers(again(objects)) == [4, 3, 1, 0]


@pytest.mark.parametrize("damaged", ["versions", "snapshots", "garbage"])
def test_a_document_that_cannot_be_read_ends_the_run_before_anything_is_deleted(five, objects, time, damaged):
    """What it refers to is unknown, so nothing is known to be garbage."""
    five.snapshot("s", versions={"x": 1})
    prune.prune(five.open_library, "x", keep_last=2)
    time.move(LONGER)
    key = min(keys(objects, damaged))
    for data, error in (
        (b'{"duckvstore":', Integrity),
        (json.dumps({**json.loads(objects.read(key)), "format": 99}).encode(), Unsupported),
    ):
        original = objects.read(key)
        objects.put(key, data)
        before = dict(objects._objects)
        with pytest.raises(error):
            gc(again(objects), grace=ALL_AT_ONCE)
        assert objects._objects == before
        objects.put(key, original)


def test_files_of_other_programs_are_left_alone_and_named(five, objects):
    """Under segments/ they are reported; a strange key among the versions ends the run."""
    objects.put("eod/segments/x/notes.txt", b"mine")
    report = gc(five, grace=ALL_AT_ONCE)
    assert report.left == ["eod/segments/x/notes.txt"]
    assert "notes.txt" in repr(report)
    objects.put("eod/versions/x/notes.txt", b"mine")
    with pytest.raises(Integrity, match=r"notes\.txt"):
        gc(five)


def test_intents_go_after_the_grace_period(five, objects, time):
    """The newest of them are still of use."""
    time.move(GRACE - timedelta(days=2, hours=1))
    gc(five)
    assert len(keys(objects, "journal")) == 2
    time.move(timedelta(days=2))
    assert gc(five).removed_intents == 2


def _decided_first(objects, outcome):
    """Return the store in which somebody decides the transaction just before a collection does."""

    def decide(request):
        if (request.method, request.key) == ("create", f"eod/transactions/{'ab' * 16}.json"):
            faulty.before = None
            objects.create(request.key, Decision("ab" * 16, outcome, objects.now(), {"x": 5}).dump())

    faulty = FaultyObjects(objects, before=decide)
    return faulty


@pytest.mark.parametrize("outcome", ["committed", "aborted"])
def test_a_transaction_that_is_decided_while_a_run_plans_to_abort_it(five, objects, time, outcome):
    """Where it was committed the plan is made anew, before anything was removed: its version is the newest."""
    prune.prune(five.open_library, "x", keep_last=1)
    _undecided(five, objects, "ab" * 16)
    again(objects).write("y", frame(1))
    time.move(LONGER)
    report = gc(vs.Store(_decided_first(objects, outcome)).get_library("eod"), grace=ALL_AT_ONCE)
    is_committed = outcome == "committed"
    assert report.aborted_transactions == ([] if is_committed else ["ab" * 16])
    assert report.removed_versions == [("x", number) for number in range(4)]
    assert again(objects).read("x").version == (5 if is_committed else 4)
    assert again(objects).verify().ok


def test_a_decision_stays_while_a_document_that_names_it_could_not_be_removed(time):
    """Without it the transaction would be undecided again."""
    objects = Stubborn("stubborn")
    lib = vs.Store(objects).create_library("eod")
    lib.write("x", frame(0))
    _undecided(lib, objects, "ab" * 16)
    commits.abort(lib.open_library, "ab" * 16)
    again(objects).write("x", frame(1))
    objects.refused = (".v1.json",)
    report = gc(again(objects), grace=ALL_AT_ONCE)
    assert (report.removed_versions, report.removed_decisions, len(report.failures)) == ([], 0, 1)
    assert len(keys(objects, "transactions")) == len(keys(objects, "garbage")) == 1
    objects.refused = ()
    report = gc(again(objects), grace=ALL_AT_ONCE)
    assert (report.removed_versions, report.removed_decisions) == ([("x", 1)], 1)
    assert not keys(objects, "transactions") | keys(objects, "garbage")


class Stubborn(MemoryObjects):
    """Refuses to delete some keys."""

    refused = ()

    def delete(self, keys):
        wanted = [*keys]
        super().delete([key for key in wanted if not any(part in key for part in self.refused)])
        return [DeleteFailure(key, "locked") for key in wanted if any(part in key for part in self.refused)]


def test_each_failed_deletion_is_reported_and_tried_again(time):
    """What depends on it stays: a version that stays keeps its garbage document and segments."""
    objects = Stubborn("stubborn")
    lib = vs.Store(objects).create_library("eod")
    for number in range(5):
        lib.write("x", frame(number))
    prune.prune(lib.open_library, "x", keep_last=1)
    objects.refused = (".v1.json", "segments/")
    report = gc(lib, grace=ALL_AT_ONCE)
    assert sorted(failure.reason for failure in report.failures) == ["locked"] * 4
    assert report.removed_versions == [("x", 0), ("x", 2), ("x", 3)]
    assert "NOT deleted, run gc again: 4" in repr(report)
    with pytest.raises(vs.NoSuchVersion, match="pruned"):
        again(objects).read("x", as_of=1)
    objects.refused = ()
    report = gc(again(objects), grace=ALL_AT_ONCE)
    assert (report.removed_versions, len(report.deleted_objects), report.failures) == ([("x", 1)], 4, [])
    assert not keys(objects, "garbage")


def test_a_dry_run_changes_nothing_and_says_what_a_real_one_does(five, objects, time):
    """The same lists, from the same state."""
    prune.prune(five.open_library, "x", keep_last=2)
    objects.put("eod/segments/x/" + "0" * 32 + "-" + "0" * 16 + ".parquet", b"left by a crash")
    time.move(LONGER)
    _undecided(five, objects, "ab" * 16)
    for grace in (None, ALL_AT_ONCE):
        before = dict(objects._objects)
        expected = collect(again(objects).open_library, grace=grace)
        assert objects._objects == before
        assert "dry run, nothing was changed" in repr(expected)
        found = gc(again(objects), grace=grace)
        assert found.to_dict() == {**expected.to_dict(), "dry_run": False}
        assert found.removed_versions or found.deleted_objects


def test_grace_zero_does_all_in_one_run(five, objects):
    """For when nobody else writes: what is left is what is visible."""
    prune.prune(five.open_library, "x", keep_last=1)
    objects.put("eod/segments/x/" + "0" * 32 + "-" + "0" * 16 + ".parquet", b"left by a crash")
    _undecided(five, objects, "ab" * 16)
    again(objects).write("y", frame(1))
    report = gc(again(objects), grace=ALL_AT_ONCE)
    assert (len(report.removed_versions), len(report.deleted_objects)) == (4, 5)
    assert not keys(objects, "garbage") | keys(objects, "journal")
    assert gc(again(objects), grace=ALL_AT_ONCE).deleted_objects == []


@pytest.mark.parametrize("grace", [timedelta(-1), 0, "1d"])
def test_grace_is_a_length_of_time(five, grace):
    """Anything else is refused."""
    with pytest.raises(vs.InvalidInput, match="grace="):
        collect(five.open_library, grace=grace)


def test_what_is_pruned_while_a_run_reads_stays_condemned(five, objects, time):
    """A version above those that the run listed is not taken for one that is gone."""
    faulty = FaultyObjects(objects)
    lib = vs.Store(faulty).get_library("eod")

    def others(request):
        garbage_listings = [each for each in faulty.requests if (each.method, each.key) == ("list", "eod/garbage/")]
        if len(garbage_listings) == 2 and len(numbers(five)) == 5:  # the versions were listed twice by then
            five.write("x", frame(5))
            five.write("x", frame(6))
            prune.delete_versions(five.open_library, Call("x"), "x", [5])

    faulty.before = others
    report = gc(lib)
    assert len(report.condemned_objects) == 2  # of the versions that came after the listing: not deleted
    assert numbers(again(objects)) == [6, 4, 3, 2, 1, 0]
    gc(again(objects))
    assert len(keys(objects, "garbage")) == 1


def test_a_collection_of_a_library_that_was_deleted_touches_nothing(five, objects):
    """Nor of one that was made again under its name."""
    vs.Store(objects).delete_library("eod")
    with pytest.raises(vs.NoSuchLibrary):
        gc(five, grace=ALL_AT_ONCE)
    vs.Store(objects).create_library("eod").write("x", frame(0))
    before = dict(objects._objects)
    with pytest.raises(vs.Conflict, match="made again"):
        gc(five, grace=ALL_AT_ONCE)
    with pytest.raises(vs.Conflict, match="made again"):
        condemned.publish(five.open_library, "x", "test", versions=[0])
    assert objects._objects == before


def test_segments_elsewhere_are_collected_only_by_their_owner(five, objects, time):
    """A copied document store must not delete the original's segments."""
    elsewhere = MemoryObjects("segments")
    opened = five.open_library
    opened.segment_objects = elsewhere
    opened._objects = (opened.objects, elsewhere)
    for key in keys(objects, "segments"):
        elsewhere.put(key, objects.read(key))
    objects.delete(keys(objects, "segments"))
    prune.prune(opened, "x", keep_last=1)
    with pytest.raises(vs.Conflict, match="nobody owns these segments"):
        gc(five, grace=ALL_AT_ONCE)
    owner = records.Owner(opened.library_id, "eod", "memory://original")
    elsewhere.put(opened.layout.owner, owner.dump())
    with pytest.raises(vs.Conflict, match="belong to library 'eod' at memory://original"):
        gc(five, grace=ALL_AT_ONCE)
    assert len(keys(elsewhere, "segments")) == 5
    elsewhere.put(opened.layout.owner, structs.replace(owner, documents_url=objects.url).dump())
    gc(five, grace=ALL_AT_ONCE)
    assert len(keys(elsewhere, "segments")) == 1
    assert opened.layout.owner in elsewhere._objects


def _stage(lib, objects, seed) -> tuple[str, str]:
    """Put a staged part, with rows of its own; return the keys of part and segment."""
    opened = lib.open_library
    item = lib.write("staging", frame(seed))
    found = documents.load_version(objects.read(opened.layout.version("staging", item.version)), where="")
    key = opened.layout.staged("x", f"{seed:032x}")
    moved = f"segments/x/{found.segments[0].key.rpartition('/')[2]}"
    segment = structs.replace(found.segments[0], key=moved)
    objects.put(opened.layout.segment_key(moved), objects.read(opened.layout.segment_key(found.segments[0].key)))
    part = replace(found, symbol="x", number=0, created_at=opened.objects.now(), segments=(segment,))
    objects.put(key, documents.dump_version(part))
    return key, opened.layout.segment_key(moved)


def test_staged_parts_hold_their_segments_for_the_grace_period(five, objects, time):
    """A young part is a reference; an old one goes, and its segments a period later."""
    part, segment = _stage(five, objects, 60)
    time.move(GRACE - timedelta(hours=1))
    report = gc(five)
    assert (report.removed_parts, report.condemned_objects) == (0, [])
    time.move(timedelta(hours=2))
    report = gc(five)
    assert (report.removed_parts, report.condemned_objects) == (1, [segment.removeprefix("eod/")])
    assert part not in objects._objects
    time.move(LONGER)
    assert gc(five).deleted_objects == [segment.removeprefix("eod/")]
    broken, _ = _stage(five, objects, 61)
    objects.put(broken, b"{}")
    with pytest.raises(Integrity):
        gc(five)


def test_a_part_that_is_finalised_while_a_run_reads_loses_nothing(five, objects, time):
    """Parts are read before versions, so one of the two names the segment, also where it was condemned long ago."""
    part, segment = _stage(five, objects, 60)
    condemned.publish(five.open_library, "x", "test", keys=[segment.removeprefix("eod/")])
    time.move(LONGER)
    faulty = FaultyObjects(objects)
    lib = vs.Store(faulty).get_library("eod")
    found = documents.load_version(objects.read(part), where="")

    def others(request):
        if request.method == "list" and request.key == "eod/versions/" and part in objects._objects:
            commits.announce(five.open_library, call := Call("x"))
            draft = commits.Draft("finalize", found.kind, found.schema, row_count=3, segments=found.segments)
            commits.commit(five.open_library, call, lambda newest: draft)
            objects.delete([part])

    faulty.before = others
    gc(lib)
    assert_frame_equal(again(objects).read("x").data, frame(60))


def test_the_librarys_own_policy_prunes(five, objects, time):
    """Retention of the options: condemned by a run, removed by a later one."""
    options.change(five.open_library, {"keep_last": 3})
    five.snapshot("s", versions={"x": 0})
    report = gc(five)
    assert report.condemned_versions == [("x", 1)]
    assert numbers(again(objects)) == [4, 3, 2, 0]
    five.delete_snapshot("s")
    assert gc(again(objects)).condemned_versions == [("x", 0)]
    time.move(LONGER)
    assert gc(again(objects)).removed_versions == [("x", 0), ("x", 1)]
    assert numbers(again(objects)) == [4, 3, 2]


def test_segments_that_only_a_manifest_names_are_referenced(five, objects, time, monkeypatch):
    """A manifest and its segments stay while any version names the manifest, and go with the last one."""
    monkeypatch.setattr(manifests, "INLINE_SEGMENTS_MAX", 1)
    monkeypatch.setattr(manifests, "RUN_SEGMENTS", 2)
    opened = five.open_library
    loose = [catalogue.resolve(opened, "x", number).segments[0] for number in range(5)]
    folded = engine_manifests.fold(opened, "x", loose)
    base = catalogue.resolve(opened, "x", 4)
    for _ in range(2):
        commits.announce(opened, call := Call("x"))
        draft = commits.Draft("write", base.kind, base.schema, row_count=15, segments=folded)
        commits.commit(opened, call, lambda newest: draft)
    for number in (range(5), [5]):
        prune.delete_versions(opened, Call("x"), "x", number)
        assert gc(again(objects), grace=ALL_AT_ONCE).deleted_objects == []
        assert len(again(objects).read("x").data) == 15
        assert len(keys(objects, "manifests")) == 2
    five.write("x", frame(99))
    prune.prune(opened, "x", keep_last=1)
    assert len(gc(again(objects), grace=ALL_AT_ONCE).deleted_objects) == 7
    assert not keys(objects, "manifests")


def test_the_newest_reads_on_while_it_is_replaced_and_collected(five, objects):
    """A listed document that has vanished restarts the search."""
    faulty = FaultyObjects(objects)
    lib = vs.Store(faulty).get_library("eod")

    def others(request):
        if request.method == "read" and request.key.endswith(".v4.json") and len(numbers(five)) == 5:
            five.write("x", frame(5))
            prune.prune(five.open_library, "x", keep_last=1)
            gc(five, grace=ALL_AT_ONCE)

    faulty.before = others
    assert_frame_equal(lib.read("x").data, frame(5))


def test_garbage_of_a_symbol_is_read_once_by_each_process(five, objects):
    """However many prunes there were: one listing, and each document once."""
    for number in range(4):
        prune.delete_versions(five.open_library, Call("x"), "x", [number])
    lib = vs.Store(counting := CountingObjects(objects)).get_library("eod")
    for expected in (4, 0):
        counting.reset()
        assert catalogue.condemned.numbers(lib.open_library, "x", fresh=True) == {0, 1, 2, 3}
        assert counting.counts["read"] == expected
