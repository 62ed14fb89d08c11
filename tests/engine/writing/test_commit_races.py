"""What a writer makes of another one's document: found where its own was to be, on top of one, or read in half."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

import duckvstore as vs
from duckvstore import clock
from duckvstore.engine.reading import catalogue, visible
from duckvstore.errors import Integrity
from duckvstore.format.rows import chunking
from duckvstore.format.stored import documents, manifests
from duckvstore.format.stored.manifests import FoldedSegments
from duckvstore.objects.memory import MemoryObjects
from duckvstore.objects.wrappers import WrappedObjects
from duckvstore.testing.faulty import Fault, FaultyObjects, SimulatedCrash
from tests.counting import CountingObjects

SYMBOLS = ("a", "b", "c")


def frame(number: int, length: int = 3) -> pd.DataFrame:
    index = pd.date_range("2026-01-01", periods=length, freq="D") + pd.Timedelta(days=1000 * number)
    return pd.DataFrame({"n": [number] * length}, index=pd.DatetimeIndex(index, name="time").as_unit("ns"))


def opened(objects) -> vs.Library:
    """The library, as another process sees it."""
    return vs.Store(objects).get_library("eod")


@pytest.fixture(autouse=True)
def _time_passes_by_sleeping(monkeypatch):
    """Sleeping takes no time and is all that takes any."""
    slept = [0.0]

    def sleep(seconds):
        slept[0] += seconds

    monkeypatch.setattr(clock, "sleep", sleep)
    monkeypatch.setattr(clock.Stopwatch, "__init__", lambda self: setattr(self, "_monotonic", slept[0]))
    monkeypatch.setattr(clock.Stopwatch, "elapsed_seconds", lambda self: slept[0] - self._monotonic)


@pytest.fixture
def objects():
    """A library with one version of each of three symbols."""
    made = MemoryObjects("races")
    lib = vs.Store(made).create_library("eod")
    for symbol in SYMBOLS:
        lib.write(symbol, frame(0))
    return made


@pytest.fixture
def _short_runs(monkeypatch):
    """A hundred rows are enough for a list of segments that is folded."""
    monkeypatch.setattr(manifests, "RUN_SEGMENTS", 4)
    monkeypatch.setattr(manifests, "INLINE_SEGMENTS_MAX", 8)
    monkeypatch.setattr(chunking, "window_rows", lambda *_, **__: 8)


@pytest.mark.usefixtures("_short_runs")
@pytest.mark.parametrize("is_in_transaction", [False, True])
def test_the_winners_long_list_of_segments_can_be_read(objects, is_in_transaction):
    """Who lost the number to a version with manifests keeps that document, and reads, edits and restores it."""
    lib = opened(objects)
    lib.write("a", frame(1, 400))
    opened(objects).append("a", frame(2, 20))
    if is_in_transaction:
        with pytest.raises(vs.Conflict), lib.transaction() as transaction:
            transaction.write_metadata("a", 7)
    else:
        assert lib.write_metadata("a", 7).version == 3
    assert isinstance(catalogue.resolve(lib.open_library, "a", 2).segments, FoldedSegments)
    expected = pd.concat([frame(1, 400), frame(2, 20)])
    assert_frame_equal(lib.read("a", as_of=2).data, expected, check_freq=False)
    lib.delete_rows("a", "n = 1")
    assert_frame_equal(lib.read("a").data, frame(2, 20), check_freq=False)
    lib.restore_version("a", 2)
    assert_frame_equal(opened(objects).read("a").data, expected, check_freq=False)


def warm(objects) -> vs.Library:
    """A handle that need not read anything to commit, over objects that count from here."""
    lib = opened(objects)
    for symbol in SYMBOLS:
        lib.read_metadata(symbol)
    assert lib.options.grace_seconds
    objects._numbers.clear()
    return lib


def append_to_all(lib) -> None:
    with lib.transaction() as transaction:
        for symbol in SYMBOLS:
            transaction.append(symbol, frame(1))


@pytest.mark.parametrize("halves", [1, 3])
def test_half_of_its_own_decision_is_not_taken_for_anothers(objects, halves):
    """The answer to the decision is lost, and what is read back is cut off: the commit is still known to be one."""
    faulty = FaultyObjects(objects)
    lib = warm(faulty)
    faulty.faults = (Fault("drop_response", 4, "create"), Fault("truncate", 1, "read", repeat=halves))
    append_to_all(lib)
    assert {opened(objects).read_metadata(symbol).version for symbol in SYMBOLS} == {1}


class UnreadableDecisions(WrappedObjects):
    """Every decision is damaged on its way back."""

    def read(self, key, start=0, length=None):
        if "/transactions/" in key:
            raise Integrity(f"{key} does not match its checksum")
        return self.inner.read(key, start, length)


def test_a_decision_that_cannot_be_read_back_is_unknown(objects):
    """It is there, perhaps as "committed": the writer must not say that nothing is visible."""
    faulty = FaultyObjects(UnreadableDecisions(objects))
    lib = warm(faulty)
    faulty.faults = (Fault("drop_response", 4, "create"),)
    with pytest.raises(vs.OutcomeUnknown, match=r"decision of transaction [0-9a-f]{32} .*\(versions: a 1, b 1, c 1\)"):
        append_to_all(lib)
    assert {opened(objects).read_metadata(symbol).version for symbol in SYMBOLS} == {1}


def leave_undecided(objects) -> documents.Version:
    """Crash a transaction over all symbols before its decision; return its document of symbol "a"."""
    faulty = FaultyObjects(objects)
    dying = warm(faulty)
    faulty.faults = (Fault("crash_after", 3, "create"),)
    with pytest.raises(SimulatedCrash):
        append_to_all(dying)
    key = dying.open_library.layout.version("a", 1)
    return documents.load_version(objects.read(key), where=key)


def commit_late(objects, document: documents.Version) -> None:
    """Create the decision "committed", as the writer does that was taken for dead."""
    lib = opened(objects).open_library
    decision = documents.Decision(document.transaction, "committed", objects.now(), dict.fromkeys(SYMBOLS, 1))
    objects.create(lib.layout.transaction(document.transaction), decision.dump())


def add_document_of_a_deleted_library(objects, document: documents.Version) -> None:
    """A writer to a library of this name, deleted since, takes the number above ``document``."""
    late = replace(document, library_id="0" * 32, number=document.number + 1, transaction=None)
    key = opened(objects).open_library.layout.version(late.symbol, late.number)
    objects.create(key, documents.dump_version(late))


@pytest.mark.parametrize("is_in_transaction", [False, True])
def test_a_deleted_librarys_document_hides_no_undecided_one(objects, is_in_transaction):
    """Nothing is written above an undecided document, also where a foreign one has the highest number."""
    undecided = leave_undecided(objects)
    add_document_of_a_deleted_library(objects, undecided)
    lib = opened(objects)
    assert visible.head(lib.open_library, "a").undecided == undecided.transaction
    if is_in_transaction:
        with lib.transaction() as transaction:
            transaction.append("a", frame(9))
    else:
        assert lib.append("a", frame(9)).version == 3
    with pytest.raises(vs.AlreadyExists):
        commit_late(objects, undecided)
    fresh = opened(objects)
    assert_frame_equal(fresh.read("a").data, pd.concat([frame(0), frame(9)]), check_freq=False)
    assert {fresh.read_metadata(symbol).version for symbol in "bc"} == {0}


def test_a_commit_below_a_deleted_librarys_document_is_kept(objects):
    """The transaction is decided while the foreign document is on top: what comes next follows it."""
    undecided = leave_undecided(objects)
    add_document_of_a_deleted_library(objects, undecided)
    commit_late(objects, undecided)
    assert opened(objects).append("a", frame(9)).version == 3
    expected = pd.concat([frame(0), frame(1), frame(9)])
    assert_frame_equal(opened(objects).read("a").data, expected, check_freq=False)


@pytest.mark.parametrize("is_in_transaction", [False, True])
def test_a_remembered_head_does_not_lead_above_a_dead_transaction(objects, is_in_transaction):
    """The number was taken by an undecided document since the head was read: it is settled before the next try."""
    lib = opened(objects)
    lib.read_metadata("a")
    undecided = leave_undecided(objects)
    if is_in_transaction:
        with lib.transaction() as transaction:
            transaction.append("a", frame(9))
    else:
        assert lib.append("a", frame(9)).version == 2
    with pytest.raises(vs.AlreadyExists):
        commit_late(objects, undecided)
    fresh = opened(objects)
    assert {symbol: fresh.read_metadata(symbol).version for symbol in SYMBOLS} == {"a": 2, "b": 0, "c": 0}
    assert_frame_equal(fresh.read("a").data, pd.concat([frame(0), frame(9)]), check_freq=False)


def read_then_append(lib) -> list[int]:
    """Append to symbol "a" in a transaction that reads it first; return what it read."""
    with lib.transaction() as transaction:
        seen = transaction.read("a").data["n"].tolist()
        transaction.append("a", frame(9))
    return seen


def test_what_is_read_to_be_written_is_not_above_a_dead_transaction(objects):
    """A transaction that reads first aborts the dead one as well, before its own document is above the dead one's."""
    undecided = leave_undecided(objects)
    assert read_then_append(opened(objects)) == [0, 0, 0]
    with pytest.raises(vs.AlreadyExists):
        commit_late(objects, undecided)
    fresh = opened(objects)
    assert {symbol: fresh.read_metadata(symbol).version for symbol in SYMBOLS} == {"a": 2, "b": 0, "c": 0}
    assert_frame_equal(fresh.read("a").data, pd.concat([frame(0), frame(9)]), check_freq=False)


def test_what_is_read_to_be_written_waits_for_a_living_transaction(objects, monkeypatch):
    """The other one commits while this one waits: its rows are what this one reads and writes above."""
    undecided = leave_undecided(objects)
    sleep, waits = clock.sleep, []

    def sleep_meanwhile(seconds):
        sleep(seconds)
        waits.append(seconds)
        if len(waits) == 3:
            commit_late(objects, undecided)

    monkeypatch.setattr(clock, "sleep", sleep_meanwhile)
    assert read_then_append(opened(objects)) == [0, 0, 0, 1, 1, 1]
    assert len(waits) == 3
    fresh = opened(objects)
    assert {symbol: fresh.read_metadata(symbol).version for symbol in SYMBOLS} == {"a": 2, "b": 1, "c": 1}
    assert_frame_equal(fresh.read("a").data, pd.concat([frame(0), frame(1), frame(9)]), check_freq=False)


def test_requests_of_a_transaction_without_remembered_heads(objects):
    """A fresh handle: for each symbol a listing of one key and a document, beside what the commit itself takes."""
    counting = CountingObjects(objects)
    lib = opened(counting)
    counting.reset()
    append_to_all(lib)
    made = {method: count for method, count in counting.counts.items() if not method.startswith("bytes_")}
    # The fourth listing looks for options, once a minute.
    assert made == {"list": 4, "read": 3, "put": 6, "create": 4}


RIVALS = {
    "append": lambda lib, number: lib.append("a", frame(number)),
    "transaction": lambda lib, number: in_transaction(lib, number),
    "write": lambda lib, number: lib.write("a", frame(number)),
    "delete": lambda lib, number: lib.delete("a") if number % 2 else lib.write("a", frame(number)),
}


def in_transaction(lib, number: int) -> None:
    with lib.transaction() as both:
        both.append("a", frame(number))
        both.append("b", frame(number))


@pytest.mark.parametrize("rival", RIVALS)
@pytest.mark.parametrize("losses", [1, 2, 4])
def test_a_plan_is_made_again_from_the_winners_document(objects, rival, losses):
    """Whatever comes first time and again: nothing is lost or doubled, and what is stored is not stored again."""
    lib = opened(faulty := FaultyObjects(objects))
    lib.read_metadata("a")
    other, made = opened(objects), []

    def before(request) -> None:
        if request.method == "create" and "/versions/a/" in request.key and len(made) < losses:
            made.append(None)
            RIVALS[rival](other, len(made))

    faulty.before = before
    faulty.requests.clear()
    item = lib.append("a", frame(50))
    assert item.version == losses + 1
    stored = [request for request in faulty.requests if request.method == "put" and "/segments/" in request.key]
    listed = [request for request in faulty.requests if request.method == "list" and "/versions/" in request.key]
    assert len(stored) == 1
    assert len(listed) == (2 * losses - 1 if rival == "transaction" else losses - 1)
    found = opened(objects).read("a").data
    below = opened(objects)
    expected = [frame(50)] if rival == "delete" and losses % 2 else [below.read("a", as_of=losses).data, frame(50)]
    assert_frame_equal(found, pd.concat(expected), check_freq=False)
    report = below.verify()
    assert report.ok
    assert report.orphans == []


def test_what_was_read_for_a_plan_is_not_read_again(objects):
    """An update whose number was taken by a change of metadata has the segment at hand, and stores none again."""
    lib = opened(counting := CountingObjects(objects))
    lib.read_metadata("a")
    opened(objects).write_metadata("a", 5)
    counting.reset()
    lib.update("a", frame(0).iloc[:1] + 7)
    counts = counting.counts
    # Head and segment; the winner's document.
    assert (counts["read"], counts["put"], counts["create"], counts["list"]) == (2, 2, 2, 1)
    assert lib.read("a").data["n"].tolist() == [7, 0, 0]
    assert lib.read("a").metadata == 5
