"""Transactions: several symbols become visible together, or not at all."""

from __future__ import annotations

import itertools
import threading
import time
from datetime import UTC, datetime

import pandas as pd
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal

import duckvstore as vs
from duckvstore import clock
from duckvstore.engine.library.heads import Head
from duckvstore.engine.reading import cuts, visible
from duckvstore.engine.writing import commits, edits
from duckvstore.engine.writing.transactions import Transaction
from duckvstore.format.stored import documents
from duckvstore.objects.memory import MemoryObjects
from duckvstore.objects.wrappers import WrappedObjects
from duckvstore.testing.faulty import Fault, FaultyObjects, SimulatedCrash
from tests.counting import CountingObjects

SYMBOLS = ("a", "b", "c")


def frame(number: int, length: int = 3) -> pd.DataFrame:
    index = pd.date_range("2026-01-01", periods=length, freq="D") + pd.Timedelta(days=10 * number)
    return pd.DataFrame({"n": [number] * length}, index=pd.DatetimeIndex(index, name="time").as_unit("ns"))


@pytest.fixture
def objects():
    return CountingObjects(MemoryObjects("transactions"))


@pytest.fixture
def lib(objects):
    """A library with one version of each of three symbols."""
    made = vs.Store(objects).create_library("eod")
    for symbol in SYMBOLS:
        made.write(symbol, frame(0))
    return made


def other(objects):
    """The same library, as another process sees it."""
    return vs.Store(objects).get_library("eod")


def numbers(lib) -> dict[str, int]:
    return {symbol: lib.read_metadata(symbol).version for symbol in lib.list_symbols()}


def keys(objects, folder: str) -> list[str]:
    return [key for key in objects.inner._objects if f"/{folder}/" in key]


def test_all_of_it_is_visible_at_the_end_and_nothing_before(lib, objects):
    """Three symbols, one of them new: outside, the old versions are read until the block ends, then all new ones."""
    with lib.transaction(author="ann", message="together") as transaction:
        for symbol in ("a", "b", "new"):
            transaction.write(symbol, frame(1))
            assert numbers(other(objects)) == {"a": 0, "b": 0, "c": 0}
    for handle in (lib, other(objects)):
        assert numbers(handle) == {"a": 1, "b": 1, "c": 0, "new": 0}
        assert_frame_equal(handle.read("b").data, frame(1), check_freq=False)
    infos = [lib.list_versions(symbol, latest_only=True) for symbol in ("a", "b", "new")]
    found = [info for listed in infos for info in listed.values()]
    assert len({info.date for info in found}) == 1, "the time of a transaction is that of its commit"
    assert {(info.author, info.message, info.operation) for info in found} == {("ann", "together", "write")}


def test_versions_by_number_and_time_agree_with_the_decision(lib, objects):
    """What was remembered at the commit and what another handle reads are the same, also by time."""
    with lib.transaction() as transaction:
        for symbol in SYMBOLS:
            transaction.append(symbol, frame(1))
    at = lib.read("a").created_at
    for handle in (lib, other(objects)):
        for symbol in SYMBOLS:
            for as_of in (None, 1, at, -1):
                item = handle.read(symbol, as_of=as_of)
                assert (item.version, item.created_at) == (1, at)
            assert handle.read(symbol, as_of=at - pd.Timedelta(microseconds=1)).version == 0
    assert lib.write("a", frame(2)).created_at > at


def test_the_commit_returns_the_numbers(lib):
    """``commit`` inside the block ends it, and says which versions were made."""
    with lib.transaction() as transaction:
        transaction.write("c", frame(1))
        transaction.write("a", frame(1))
        assert transaction.commit() == {"a": 1, "c": 1}
    assert numbers(lib) == {"a": 1, "b": 0, "c": 1}


def test_an_error_in_the_block_leaves_everything_as_it_was(lib, objects):
    """Neither a version nor a decision is made; that a version was announced which never came is harmless."""
    before = [keys(objects, folder) for folder in ("versions", "transactions")]
    with pytest.raises(ZeroDivisionError), lib.transaction() as transaction:
        transaction.write("a", frame(1))
        transaction.append("b", frame(1))
        raise ZeroDivisionError
    assert [keys(objects, folder) for folder in ("versions", "transactions")] == before
    assert numbers(other(objects)) == {"a": 0, "b": 0, "c": 0}


def test_a_transaction_is_used_once(lib):
    """After its end, every call says to begin another one; rolling back is always possible."""
    for end in ("commit", "rollback"):
        with lib.transaction() as transaction:
            transaction.write("a", frame(1))
            getattr(transaction, end)()
        for use in (lambda: transaction.write("a", frame(2)), lambda: transaction.read("a"), transaction.commit):
            with pytest.raises(vs.InvalidInput, match=r"was (committed|rolled back): begin another one with transact"):
                use()
        transaction.rollback()
    assert numbers(lib)["a"] == 1


def test_nothing_written_creates_nothing(lib, objects):
    """Reads, and edits that change nothing, leave no trace."""
    objects.reset()
    with lib.transaction() as transaction:
        assert transaction.read("a").version == 0
        assert transaction.append("a", frame(1).iloc[:0]).version == 0
        transaction.delete("nothing")
        assert transaction.restore_version("b", 0).version == 0
    assert objects.counts["create"] == objects.counts["put"] == 0


def test_own_edits_are_seen_inside(lib, objects):
    """Reads inside see what the transaction made of a symbol, by rows, metadata, dates and predicate; deletions too."""
    with lib.transaction() as transaction:
        transaction.append("a", frame(1), metadata={"k": 1})
        assert_frame_equal(transaction.read("a").data, pd.concat([frame(0), frame(1)]), check_freq=False)
        assert transaction.read_metadata("a").metadata == {"k": 1}
        assert transaction.read("a", where="n = 1").data["n"].tolist() == [1, 1, 1]
        assert len(transaction.tail("a", 2).data) == 2
        assert transaction.read("a", as_of=0).data["n"].tolist() == [0, 0, 0]
        transaction.delete_rows("a", "n = 0")
        assert transaction.read("a").data["n"].tolist() == [1, 1, 1]
        transaction.delete("b")
        assert "b" not in transaction
        with pytest.raises(vs.NoSuchSymbol, match="was deleted"):
            transaction.read("b")
        with pytest.raises(vs.NoSuchSymbol, match="no symbol 'x'"):
            transaction.read("x")
        assert numbers(other(objects)) == {"a": 0, "b": 0, "c": 0}
    assert numbers(other(objects)) == {"a": 1, "c": 0}


def test_several_edits_of_a_symbol_are_one_version(lib):
    """What they stored adds up; the operation is theirs when it is the same, else "transaction"."""
    with lib.transaction() as transaction:
        transaction.append("a", frame(1), author="ann")
        transaction.append("a", frame(2), message="second")
        transaction.append("b", frame(1))
        transaction.write_metadata("b", {"k": 2})
        transaction.update("c", frame(0))
    found = {pair.symbol: info for pair, info in lib.list_versions(latest_only=True).items()}
    assert {symbol: info.operation for symbol, info in found.items()} == {
        "a": "append",
        "b": "transaction",
        "c": "update",
    }
    assert (found["a"].author, found["a"].message, found["a"].row_count) == ("ann", "second", 9)
    assert lib.read("b").metadata == {"k": 2}
    assert [version.new_rows for version in (newest(lib, s) for s in ("a", "b", "c"))] == [6, 3, 0]
    assert numbers(lib) == {"a": 1, "b": 1, "c": 1}


def newest(lib, symbol):
    return visible.head(lib.open_library, symbol).newest


@pytest.mark.parametrize("change", ["write", "append", "delete", "write_metadata", "transaction"])
def test_a_symbol_that_another_writer_changed_is_a_conflict_for_all(lib, objects, change):
    """Also for ``write``: nothing of the transaction is visible, and the other's version stays."""
    expected = r"eod/b was changed by another writer.*expected version 0 .*found version 1"
    with pytest.raises(vs.Conflict, match=expected), lib.transaction() as transaction:
        transaction.write("a", frame(1))
        transaction.write("b", frame(1))
        rival = other(objects)
        if change == "transaction":
            with rival.transaction() as winner:
                winner.append("b", frame(5))
        else:
            arguments = {"write": [frame(5)], "append": [frame(5)], "write_metadata": [5], "delete": []}[change]
            getattr(rival, change)("b", *arguments)
    fresh = other(objects)
    assert_frame_equal(fresh.read("a").data, frame(0), check_freq=False)
    assert next(info.operation for info in fresh.list_versions("b").values()) == change.replace("transaction", "append")
    assert fresh.list_versions("a").keys() == {("a", 0)}
    # The decision is there already, so the next writer need not wait.
    assert fresh.write("a", frame(2)).version == 2


def test_a_conflict_before_any_document_leaves_no_decision(lib, objects):
    """Where the first number is taken already there is nothing to abort."""
    with pytest.raises(vs.Conflict, match="eod/a was changed"), lib.transaction() as transaction:
        transaction.write("a", frame(1))
        transaction.write("b", frame(1))
        other(objects).write("a", frame(5))
    assert not keys(objects, "transactions")


def test_symbols_that_are_only_read_are_not_validated(lib, objects):
    """Snapshot isolation: what was read may change, as long as it is not what is written."""
    with lib.transaction() as transaction:
        transaction.read("a")
        transaction.write("b", frame(1))
        other(objects).write("a", frame(5))
    assert numbers(lib) == {"a": 1, "b": 1, "c": 0}


def test_reads_are_repeatable_and_of_one_moment(lib, objects):
    """A symbol reads the same again; one more is refused when none of its versions is known to go with the others."""
    rival = other(objects)
    expected = r"eod/a was changed by another writer since this transaction first used it"
    with pytest.raises(vs.Conflict, match=expected), lib.transaction() as transaction:
        assert transaction.read("a").version == 0
        rival.write("a", frame(5))
        rival.write("b", frame(5))
        assert transaction.read("a").version == 0
        transaction.read("b")
    with lib.transaction() as transaction:
        assert transaction.read("b").version == 1
        rival.write("c", frame(5))
        assert transaction.read("a").version == 1
        assert transaction.read("c").version == 1


def test_what_is_read_after_a_blind_edit_is_not_stale(lib, objects):
    """An edit may be planned on a remembered head that is stale, but nothing that comes of it is shown."""
    other(objects).write("a", frame(5))
    of_nothing = ("2020-01-01", "2020-01-02")
    for use in (
        lambda t: t.read("a"),
        lambda t: t.read("b"),
        lambda t: t.update("a", frame(9), date_range=of_nothing),  # whether there is nothing to do
        lambda t: t.update("a", frame(9).astype(str)),  # whether something is wrong
    ):
        with lib.transaction() as transaction:
            lib.open_library.heads.remember("a", stale_head(lib))
            transaction.append("a", frame(6))
            with pytest.raises(vs.Conflict, match="eod/a was changed by another writer"):
                use(transaction)
            transaction.rollback()


def stale_head(lib):
    """The head of symbol ``a`` as it was at version 0, as if it had been read a moment ago."""
    version = lib.open_library.version("a", 0)
    lib.open_library.heads.forget("a")
    return Head(0, version, version.created_at, None, clock.Stopwatch())


def test_what_ends_without_an_edit_rests_on_a_head_that_was_read(lib, objects):
    """A remembered head that is stale decides neither that there is nothing to do nor that something is wrong."""
    rival = other(objects)
    rival.write("a", frame(7))
    with lib.transaction() as transaction:
        assert transaction.append("a", frame(1).iloc[:0]).version == 1
    lib.delete("a")
    rival.write("a", frame(7), metadata=7)
    with lib.transaction() as transaction:
        assert transaction.write_metadata("a", 8).version == 4
    assert_frame_equal(lib.read("a").data, frame(7), check_freq=False)


def test_a_head_that_was_remembered_for_long_is_read_again(lib, objects, monkeypatch):
    """What others wrote before the transaction began is no conflict, once some seconds have passed."""
    other(objects).write("a", frame(7))
    monkeypatch.setattr(clock.Stopwatch, "elapsed_seconds", lambda self: 6.0)
    with lib.transaction() as transaction:
        transaction.append("a", frame(9))
        assert transaction.commit() == {"a": 2}


def test_an_expected_version_is_that_of_the_transactions_own_state(lib, objects):
    """It is checked against what the transaction sees, its own edit included; a stale head is read again."""
    other(objects).write("a", frame(1))
    with lib.transaction() as transaction:
        assert transaction.append("a", frame(2), expected_version=1).version == 2
        assert transaction.append("a", frame(3), expected_version=2).version == 2
        with pytest.raises(vs.Conflict, match="expected version 0 at the head of eod/b|expected version 7"):
            transaction.write("b", frame(1), expected_version=7)
    assert numbers(lib) == {"a": 2, "b": 0, "c": 0}


def test_pruning_is_no_part_of_it(lib):
    """It is refused before the edit is taken."""
    with lib.transaction() as transaction, pytest.raises(vs.InvalidInput, match="not part of a transaction"):
        transaction.write("a", frame(1), prune_previous_versions=True)
    assert numbers(lib)["a"] == 0


def test_author_and_message_are_text(lib):
    """They are refused before anything begins."""
    with pytest.raises(vs.InvalidInput, match="author must be text"):
        lib.transaction(author=7)


def test_an_aborted_document_above_is_passed_over(lib, objects):
    """The number of a transaction that was aborted is taken; the next number is used, above the same version."""
    leave_undecided(objects, "b")
    undecided = documents.load_version(objects.inner._objects[lib.open_library.layout.version("b", 1)], where="")
    with lib.transaction() as transaction:
        transaction.write("a", frame(1))
        transaction.append("b", frame(1))
        commits.abort(other(objects).open_library, undecided.transaction)
        assert transaction.commit() == {"a": 1, "b": 2}
    assert newest(lib, "b").parent == 0
    assert len(lib.read("b").data) == 6


def leave_undecided(objects, *symbols):
    """Crash a transaction over ``symbols`` after its last document."""
    faulty = FaultyObjects(objects.inner)
    dying = vs.Store(faulty).get_library("eod")
    faulty._numbers.clear()
    faulty.faults = (Fault("crash_after", len(symbols), "create"),)
    with pytest.raises(SimulatedCrash), dying.transaction() as transaction:
        for symbol in symbols:
            transaction.write(symbol, frame(8))


@pytest.fixture
def _fast_clock(monkeypatch):
    """Time passes by sleeping only, and sleeping takes none."""
    slept = [0.0]
    monkeypatch.setattr(clock, "sleep", lambda seconds: slept.append(seconds))
    monkeypatch.setattr(clock.Stopwatch, "__init__", lambda self: setattr(self, "_monotonic", sum(slept)))
    monkeypatch.setattr(clock.Stopwatch, "elapsed_seconds", lambda self: sum(slept) - self._monotonic)


@pytest.mark.usefixtures("_fast_clock")
def test_a_transaction_aborts_a_dead_one(lib, objects):
    """Undecided documents are absent to readers; another transaction over the same symbols waits, aborts, succeeds."""
    leave_undecided(objects, *SYMBOLS)
    assert numbers(other(objects)) == {"a": 0, "b": 0, "c": 0}
    with lib.transaction() as transaction:
        for symbol in SYMBOLS:
            transaction.append(symbol, frame(1))
        assert transaction.commit() == {"a": 2, "b": 2, "c": 2}
    [decision, _] = sorted(
        (documents.Decision.load(objects.inner._objects[key], where="") for key in keys(objects, "transactions")),
        key=lambda one: one.decided_at,
    )
    assert decision.outcome == "aborted"


@pytest.mark.usefixtures("_fast_clock")
def test_a_transaction_that_was_aborted_by_another_writer_says_so(lib, objects):
    """Its documents stay invisible, and it does not take the other's place."""

    def others(request):
        if request.method == "create" and "/transactions/" in request.key:
            faulty.before = None
            assert other(objects).write("b", frame(9)).version == 2

    faulty = FaultyObjects(objects.inner)
    handle = vs.Store(faulty).get_library("eod")
    expected = r"was aborted by another writer, who waited 10 seconds for its commit"
    with pytest.raises(vs.Conflict, match=expected), handle.transaction() as transaction:
        for symbol in SYMBOLS:
            transaction.append(symbol, frame(1))
        faulty.before = others
    assert numbers(other(objects)) == {"a": 0, "b": 2, "c": 0}
    assert numbers(handle) == {"a": 0, "b": 2, "c": 0}


@pytest.mark.usefixtures("_fast_clock")
def test_an_unknown_decision_names_the_transaction(lib, objects):
    """When no attempt to decide gets an answer, OutcomeUnknown names transaction and versions; it is whole anyway."""
    faulty = FaultyObjects(objects.inner)
    handle = vs.Store(faulty).get_library("eod")
    faulty._numbers.clear()
    faulty.faults = (Fault("drop_response", 4, "create", repeat=1000),)
    expected = r"decision of transaction [0-9a-f]{32} .*\(versions: a 1, b 1, c 1\)"
    with pytest.raises(vs.OutcomeUnknown, match=expected), handle.transaction() as transaction:
        for symbol in SYMBOLS:
            transaction.append(symbol, frame(1))
    assert numbers(other(objects)) == {"a": 1, "b": 1, "c": 1}, "here it had landed"


def test_it_must_be_committed_within_half_the_grace_period(lib, objects, monkeypatch):
    """What it refers to may be removed after that; nothing is created then."""
    with pytest.raises(vs.Conflict, match="longer than half the grace period"), lib.transaction() as transaction:
        transaction.write("a", frame(1))
        monkeypatch.setattr(clock.Stopwatch, "elapsed_seconds", lambda self: 3.6 * 86400)
    assert not keys(objects, "transactions")
    assert numbers(lib)["a"] == 0


def test_the_limit_holds_before_each_create_and_the_decision(lib, objects, monkeypatch):
    """A writer that stalls between two requests gives up, however far it was."""
    for stalls_at in range(3):
        creates = []

        def stall(request, stalls_at=stalls_at, creates=creates):
            if request.method == "create":
                creates.append(request.key)
                if len(creates) == stalls_at + 1:
                    monkeypatch.setattr(clock.Stopwatch, "elapsed_seconds", lambda self: 3.6 * 86400)

        faulty = FaultyObjects(objects.inner)
        handle = vs.Store(faulty).get_library("eod")
        with pytest.raises(vs.Conflict, match="longer than half"), handle.transaction() as transaction:
            for symbol in SYMBOLS:
                transaction.append(symbol, frame(1))
            faulty.before = stall
        monkeypatch.undo()
        assert [("/versions/" in key) for key in creates] == [True] * (stalls_at + 1) + [False]
        assert numbers(other(objects)) == {"a": 0, "b": 0, "c": 0}


def test_times_follow_on_whatever_the_clock_says(lib, objects):
    """The time of the commit is later than that of every version before it, also when clocks differ."""

    class Ahead(CountingObjects):
        def now(self):
            return datetime(2040, 1, 1, tzinfo=UTC)

    late = vs.Store(Ahead(objects.inner)).get_library("eod").write("b", frame(1))
    with other(objects).transaction() as transaction:
        transaction.append("a", frame(1))
        transaction.append("b", frame(2))
    found = [other(objects).read(symbol).created_at for symbol in ("a", "b")]
    assert found[0] == found[1] > late.created_at


def test_requests_of_a_transaction(lib, objects):
    """Over 3 symbols with remembered heads: a segment and an intent for each, a document for each, one decision."""

    def cost(action) -> dict[str, int]:
        objects.reset()
        action()
        return {method: count for method, count in objects.counts.items() if not method.startswith("bytes_")}

    seeds = itertools.count(1)

    def write_three():
        with lib.transaction() as transaction:
            for symbol in SYMBOLS:
                transaction.write(symbol, frame(next(seeds)))

    assert cost(write_three) == {"put": 6, "create": 4}
    assert cost(write_three) == {"put": 6, "create": 4}
    # The next reads and writes in this handle need no look at the decision.
    assert cost(lambda: lib.read_metadata("a")) == {"list": 1}
    assert cost(lambda: lib.write_metadata("a", 1)) == {"put": 1, "create": 1}

    def transfer():
        with lib.transaction() as transaction:
            for symbol in ("a", "b"):
                transaction.write_metadata(symbol, transaction.read_metadata(symbol).metadata)

    # One listing for each symbol, one more to see that the first is still as it was.
    assert cost(transfer) == {"list": 3, "put": 2, "create": 3}


def test_it_can_be_used_from_many_threads(lib):
    """Edits of different symbols from different threads are all in it."""
    with lib.transaction() as transaction:
        threads = [
            threading.Thread(target=transaction.append, args=(f"symbol {number}", frame(1))) for number in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sum(symbol.startswith("symbol ") for symbol in lib.list_symbols()) == 8


def test_a_transaction_of_the_engine_returns_versions(lib):
    """In the order of keys, with the time of the commit, and the transaction's id."""
    engine = Transaction(lib.open_library, author="ann")
    for symbol in ("c", "a"):
        engine.apply(commits.Call(symbol), edits.write_metadata({"k": symbol}, KeyError))
    made = engine.commit()
    assert [(version.symbol, version.number, version.author) for version in made] == [("a", 1, "ann"), ("c", 1, "ann")]
    assert len({(version.transaction, version.created_at) for version in made}) == 1
    assert made == [newest(lib, "a"), newest(lib, "c")]


def test_a_decision_between_two_looks_at_a_head_is_not_missed(lib, objects):
    """A writer that reads a head while it is being decided keeps what was committed (it is asked for once)."""
    leave_undecided(objects, "a", "b")
    key = lib.open_library.layout.version("a", 1)
    identity = documents.load_version(objects.inner._objects[key], where="").transaction
    decision = documents.Decision(identity, "committed", datetime.now(UTC), {"a": 1, "b": 1})
    faulty = FaultyObjects(objects.inner)
    handle = vs.Store(faulty).get_library("eod")
    seen = []

    def decide(request):
        if request.method == "read" and "/transactions/" in request.key:
            seen.append(request)
            if len(seen) == 2:
                objects.inner.create(request.key, decision.dump())

    faulty.before = decide
    handle.append("a", frame(9))
    assert other(objects).read("a").data["n"].tolist() == [8] * 3 + [9] * 3


@pytest.mark.parametrize("as_of", [datetime(2100, 1, 1, tzinfo=UTC), -1], ids=["a time", "-1"])
def test_several_symbols_at_one_time_are_whole_while_it_is_decided(lib, objects, as_of):
    """A batch and a statement at a time that has not passed see both symbols of a transaction, or neither."""
    leave_undecided(objects, "a", "b")
    identity = documents.load_version(
        objects.inner._objects[lib.open_library.layout.version("a", 1)], where=""
    ).transaction
    decision = documents.Decision(identity, "committed", datetime.now(UTC), {"a": 1, "b": 1})
    outcomes = set()
    for position in range(1, 40):
        faulty = FaultyObjects(objects.inner)
        handle = vs.Store(faulty).get_library("eod").open_library
        key = handle.layout.transaction(identity)
        objects.inner._objects.pop(key, None)
        faulty.requests.clear()

        def decide(request, position=position, key=key):
            if request.number == position:
                objects.inner.create(key, decision.dump())

        faulty.before = decide
        found = cuts.resolve_cut(handle, [("a", as_of), ("b", as_of)])
        outcomes.add(tuple(version.number for version in found))
    assert outcomes == {(0, 0), (1, 1)}


class Answered(WrappedObjects):
    """Puts take a while; ``unready`` has the documents that were created before what they need was answered."""

    def __init__(self, inner, *, fails: str = "") -> None:
        super().__init__(inner)
        self.there: set[str] = set()
        self.unready: list[str] = []
        self.fails = fails

    def put(self, key, data):
        time.sleep(0.05)
        if self.fails and f"/segments/{self.fails}/" in key:
            raise vs.StorageUnavailable("not today")
        self.inner.put(key, data)
        self.there.add(key)

    def create(self, key, data):
        if "/versions/" in key:
            document = documents.load_version(data, where=key)
            named = {f"eod/{segment.key}" for segment in document.segments if "segments/" in segment.key}
            if not {f"eod/journal/{document.write_id}", *named} <= self.there:
                self.unready.append(key)
        self.inner.create(key, data)


def edit_three(lib) -> None:
    with lib.transaction() as transaction:
        transaction.write("a", frame(5))
        transaction.append("b", frame(5))
        transaction.write("a", frame(6))
        assert_frame_equal(transaction.read("a").data, frame(6), check_freq=False)
        transaction.write("c", frame(5))


def test_what_a_document_names_and_its_intent_are_there_before_it(lib, objects):
    """Uploads go on beside the calls, and are waited for by reads and by the commit."""
    made = other(Answered(objects))
    made.open_library.objects.there |= {key for key in objects.inner._objects if "/segments/" in key}
    edit_three(made)
    assert made.open_library.objects.unready == []
    assert numbers(lib) == dict.fromkeys(SYMBOLS, 1)
    made.write("a", frame(8))
    made.append("a", frame(9))
    assert made.open_library.objects.unready == []
    assert lib.verify().ok


@pytest.mark.parametrize("call", ["write", "stage"])
def test_what_a_stream_writes_by_itself_is_there_when_its_call_returns(lib, objects, call):
    """Rows of a transaction may come from code that makes versions outside of it."""
    own = other(slow := Answered(objects))
    rows = pa.Table.from_pandas(frame(5)).to_batches()

    def batches():
        getattr(own, call)("b", frame(6))
        assert len(keys(objects, "segments")) == len(slow.there & set(keys(objects, "segments"))) + 3
        yield from rows

    with own.transaction() as transaction:
        transaction.write("a", pa.RecordBatchReader.from_batches(rows[0].schema, batches()))
    assert slow.unready == []
    assert lib.verify().ok


def test_an_upload_that_fails_is_a_failure_of_the_whole(lib, objects):
    """Wherever it is noticed, and also when documents are there already."""
    for symbol in SYMBOLS:
        with pytest.raises(vs.StorageUnavailable, match="not today"):
            edit_three(other(Answered(objects, fails=symbol)))
        assert numbers(lib) == dict.fromkeys(SYMBOLS, 0)
    outcomes = {documents.Decision.load(objects.read(key), where=key).outcome for key in keys(objects, "transactions")}
    assert outcomes == {"aborted"}
    edit_three(lib)
    assert set(numbers(lib)) == set(SYMBOLS)


def test_a_remembered_head_that_moved_proves_nothing_of_those_that_were_looked_at_beside_it(lib, objects):
    """Another writer changes a after it was looked at, and b before: no moment had both as they are read."""
    rival, looked = other(objects), threading.Event()

    class Between(WrappedObjects):
        is_armed = False

        def list(self, prefix, *args, **options):
            if self.is_armed and "/versions/b/" in prefix:
                assert looked.wait(60)
                self.is_armed = False
                rival.write("a", frame(8))
                rival.write("b", frame(8))
            found = list(self.inner.list(prefix, *args, **options))
            if "/versions/a/" in prefix:
                looked.set()
            return iter(found)

    between = Between(objects)
    own = other(between)
    own.read_metadata("b")
    with pytest.raises(vs.Conflict, match="eod/a was changed"), own.transaction() as transaction:
        transaction.read("a")
        looked.clear()
        between.is_armed = True
        transaction.read("b")
