"""Handles that remember: what another writer, or another library of the same name, did meanwhile is never missed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest

import duckvstore as vs
from duckvstore import clock
from duckvstore.concurrency import CPU, IO
from duckvstore.engine.library import heads
from duckvstore.engine.library import open_library as engine_library
from duckvstore.engine.library.create_once import create_once
from duckvstore.engine.reading import catalogue, visible
from duckvstore.errors import AlreadyExists, NoSuchKey, StorageUnavailable
from duckvstore.format.stored.documents import memory_bytes
from duckvstore.objects.memory import MemoryObjects
from duckvstore.objects.wrappers import WrappedObjects
from duckvstore.testing.faulty import Fault, FaultyObjects, SimulatedCrash


@pytest.fixture
def inner():
    return MemoryObjects("handles")


@pytest.fixture
def two(inner):
    """Two handles of one library, as two processes have them."""
    vs.Store(inner).create_library("eod")
    return tuple(vs.Store(inner).get_library("eod") for _ in range(2))


@pytest.fixture
def _no_waiting(monkeypatch):
    monkeypatch.setattr(clock, "sleep", lambda seconds: None)


def value(number: int) -> np.ndarray:
    return np.full(3, number)


# -- remembered heads -------------------------------------------------------------------------------------------------


def test_restore_of_what_this_handle_wrote_last_undoes_a_version_of_another(two):
    """The newest version that a handle remembers is not the newest: restoring it must make a version."""
    one, other = two
    one.write("x", value(0))
    other.write("x", value(1))
    assert one.restore_version("x", 0).version == 2
    assert (other.read("x").data == value(0)).all()
    assert one.restore_version("x", 2).version == 2  # a true no-op


def test_a_symbol_that_another_made_again_can_be_described(two):
    """A remembered deletion is no reason to refuse: another handle has written since."""
    one, other = two
    one.write("x", value(0))
    one.delete("x")
    other.write("x", value(1))
    assert one.write_metadata("x", {"n": 1}).version == 3
    one.delete("x")
    with pytest.raises(vs.NoSuchSymbol, match="to describe"):
        one.write_metadata("x", 1)


def test_nothing_is_written_above_an_undecided_document_that_expected_version_leads_to(two, inner, monkeypatch):
    """A remembered head that is not the expected one is read again, and what is read may be undecided."""
    one, other = two
    one.write("x", value(0))
    for number in (1, 2):
        other.write("x", value(number))
    key, transaction = one.open_library.layout.version("x", 2), "ab" * 16
    inner._objects[key] = inner._objects[key].replace(b'"transaction":null', f'"transaction":"{transaction}"'.encode())
    slept = []
    monkeypatch.setattr(clock, "sleep", slept.append)
    monkeypatch.setattr(clock.Stopwatch, "elapsed_seconds", lambda self: sum(slept))
    assert one.write("x", value(3), expected_version=1).version == 3
    assert sum(slept) > 10
    assert one.open_library.layout.transaction(transaction) in inner._objects


def test_a_transaction_that_cannot_be_aborted_does_not_hold_a_writer_for_ever(two, inner, monkeypatch):
    """Where no create is answered, the writer says so, and that nothing was written."""
    two[0].write("x", value(0))
    key = two[0].open_library.layout.version("x", 0)
    inner._objects[key] = inner._objects[key].replace(b'"transaction":null', f'"transaction":"{"ab" * 16}"'.encode())
    slept = []
    monkeypatch.setattr(clock, "sleep", slept.append)
    monkeypatch.setattr(clock.Stopwatch, "elapsed_seconds", lambda self: sum(slept))
    lib = vs.Store(FaultyObjects(inner, Fault("error_500", 1, "create", repeat=10**6))).get_library("eod")
    with pytest.raises(StorageUnavailable, match="nothing was written above it") as caught:
        lib.write_metadata("x", 1)
    assert not isinstance(caught.value.__context__, RecursionError)
    assert type(caught.value) is StorageUnavailable


def test_a_slow_reader_does_not_bring_back_an_old_head(two, inner):
    """A head that was read before a write began is not remembered after it."""
    opened = two[0].open_library
    two[0].write("x", value(0))
    old = visible.head(opened, "x")
    two[0].write("x", value(1))
    opened.heads.remember("x", old)
    assert opened.heads.usable("x").highest == 1


def test_what_a_handle_remembers_is_bounded(two, monkeypatch):
    """Heads of the symbols that were used last are kept, by the memory that they take; others are read again."""
    lib = two[0]
    lib.write("s", value(0))
    size_bytes = memory_bytes(lib.open_library.heads.usable("s").newest)
    monkeypatch.setattr(heads, "BYTES_MAX", 7 * size_bytes // 2)
    lib.open_library.heads = heads.Heads()
    for number in range(6):
        lib.write(f"s{number}", value(number))
    assert [number for number in range(6) if lib.open_library.heads.usable(f"s{number}")] == [3, 4, 5]
    assert lib.write("s0", value(9)).version == 1


def test_restore_counts_its_age_from_its_first_read(two, monkeypatch):
    """What a restore refers to was read at its beginning: the time limit runs from there."""
    two[0].write("x", value(0))
    two[0].write("x", value(1))
    real = catalogue.resolve
    late = []

    def slow(*arguments):
        late.append(4 * 24 * 3600.0)
        return real(*arguments)

    elapsed = clock.Stopwatch.elapsed_seconds
    started = clock.Stopwatch.__init__

    def start(self):
        started(self)
        self.skipped = len(late)

    monkeypatch.setattr(clock.Stopwatch, "__init__", start)
    monkeypatch.setattr(
        clock.Stopwatch, "elapsed_seconds", lambda self: elapsed(self) + sum(late[getattr(self, "skipped", 0) :])
    )
    monkeypatch.setattr(catalogue, "resolve_to_refer", slow)
    with pytest.raises(vs.Conflict, match="longer than half the grace period"):
        vs.Store(two[0].open_library.objects).get_library("eod").restore_version("x", 0)


# -- a library that is deleted, and made again ------------------------------------------------------------------------


def test_a_late_writer_of_a_deleted_library_does_not_spoil_the_new_one(inner):
    """A document of the old library under the new one's name is absent to readers, and numbers go on above it."""
    store = vs.Store(inner)
    old = store.create_library("eod")
    for number in range(3):
        old.write("x", value(number))
    store.delete_library("eod")
    new = store.create_library("eod")
    new.write("x", value(10))
    old.write("x", value(3))  # number 3: it remembers its head, and asked only just whether the library is there
    for lib in (new, store.get_library("eod")):
        assert (lib.read("x").data == value(10)).all()
        assert lib.list_symbols() == ["x"]
        assert [pair.version for pair in lib.list_versions()] == [0]
        assert lib.read("x", as_of=datetime.now(UTC)).version == 0
        assert lib.snapshot(f"s{id(lib)}").versions == {"x": 0}
        with pytest.raises(vs.NoSuchVersion):
            lib.read("x", as_of=3)
    assert new.write("x", value(11)).version == 4
    with pytest.raises(vs.Conflict, match="deleted and made again"):
        old.read("x")


def test_a_writer_learns_that_its_library_was_deleted(inner, monkeypatch):
    """After a while at most, writing into a deleted library is refused before anything is written."""
    monkeypatch.setattr(engine_library, "PRESENT_SECONDS", 0.0)
    store = vs.Store(inner)
    old = store.create_library("eod")
    old.write("x", value(0))
    store.delete_library("eod")
    before = {key for key in inner._objects if "/versions/" in key}
    for operation in (lambda: old.write("x", value(1)), lambda: old.snapshot("s")):
        with pytest.raises(vs.NoSuchLibrary, match="deleted since"):
            operation()
    assert {key for key in inner._objects if "/versions/" in key} == before
    store.delete_library("eod")  # what the writer had uploaded
    store.create_library("eod")
    with pytest.raises(vs.Conflict, match="deleted and made again"):
        old.write("x", value(1))


@pytest.mark.parametrize("kind", ["crash_before", "crash_after"])
def test_a_deletion_that_crashed_can_be_finished_and_mixes_with_nothing(inner, kind):
    """At each request: the library is whole, or it is gone and no new one is made over its remains."""
    number = 0
    while True:
        number += 1
        objects = MemoryObjects("crash")
        lib = vs.Store(objects).create_library("eod")
        lib.write("x", value(0))
        lib.snapshot("first")
        faulty = FaultyObjects(objects, Fault(kind, number))
        try:
            vs.Store(faulty).delete_library("eod")
        except SimulatedCrash:
            ended = False
        else:
            ended = True
        store = vs.Store(objects)
        if "eod" in store:
            assert list(store["eod"].list_versions()) == list(lib.list_versions())
            assert store["eod"].read("x", as_of="first").version == 0
            store.delete_library("eod")
        elif any(key.startswith("eod/") for key in objects._objects):
            with pytest.raises(vs.Conflict, match=r"delete_library\('eod'\)"):
                store.get_library("eod", create_if_missing=True)
            store.delete_library("eod")
        assert store.create_library("eod").list_versions() == {}
        if ended:
            break
    assert number > 3


def test_a_deletion_sweeps_up_what_writers_add_meanwhile_and_never_a_new_library(inner):
    """Objects that come between listing and deleting are deleted too; those of a library made again are not."""
    store = vs.Store(inner)
    lib = store.create_library("eod")
    lib.write("x", value(0))
    objects = FaultyObjects(inner)
    done = []

    def late(request):
        if request.method == "delete" and "/versions/" in request.key and not done:
            done.append(lib.write("y", value(1)))

    objects.before = late
    vs.Store(objects).delete_library("eod")
    assert not [key for key in inner._objects if key.startswith("eod/")]

    store.create_library("eod")
    listed = []

    def made_again(request):
        listed.append(request.method)
        if request.method == "list" and "delete" in listed and not any(k == "eod/library.json" for k in inner._objects):
            store.create_library("eod").write("z", value(2))

    objects.before = made_again
    vs.Store(objects).delete_library("eod")
    assert (store["eod"].read("z").data == value(2)).all()


def test_sql_of_a_store_goes_on_with_the_library_that_was_made_again(inner):
    """The store's session keeps libraries open: one that is gone is opened anew."""
    store = vs.Store(inner)
    store.create_library("eod").write("x", pd.DataFrame({"n": [1]}))
    assert store.sql("SELECT n FROM eod.x").fetchall() == [(1,)]
    other = vs.Store(inner)
    other.delete_library("eod")
    again = other.create_library("eod")
    for number in (2, 3):
        again.write("x", pd.DataFrame({"n": [number]}))
    with pytest.raises(vs.Conflict, match="made again"):
        store.sql("SELECT n FROM eod.x")
    assert store.sql("SELECT n FROM eod.x").fetchall() == [(3,)]


def test_a_library_that_was_copied_under_another_name_is_refused(inner):
    """A copied folder names the original: it must not be read and written in its place."""
    store = vs.Store(inner)
    store.create_library("eod").write("x", value(0))
    for key, data in list(inner._objects.items()):
        inner._objects[key.replace("eod/", "copy/", 1)] = data
    with pytest.raises(vs.Integrity, match="copied or moved"):
        store.get_library("copy")


# -- creating once ----------------------------------------------------------------------------------------------------


class Scripted(WrappedObjects):
    """Gives prepared answers to creates and reads before it carries them out."""

    def __init__(self, inner, creates=(), reads=()):
        super().__init__(inner)
        self.creates, self.reads = list(creates), list(reads)

    def create(self, key, data):
        answer = self.creates.pop(0) if self.creates else None
        if answer == "landed":
            self.inner.create(key, data)
            raise vs.OutcomeUnknown("lost")
        if answer is not None:
            raise answer
        self.inner.create(key, data)

    def read(self, key, start=0, length=None):
        answer = self.reads.pop(0) if self.reads else None
        if isinstance(answer, Exception):
            raise answer
        return answer if answer is not None else self.inner.read(key, start, length)


def is_own(data):
    if data == b"torn":
        raise vs.Integrity("torn")
    return data == b"own"


@pytest.mark.usefixtures("_no_waiting")
@pytest.mark.parametrize(
    ("creates", "reads", "there", "expected"),
    [
        (["landed"], [], None, True),
        (["landed"], [b"torn"], None, True),
        (["landed"], [StorageUnavailable("no"), NoSuchKey("no")], None, True),
        (["landed", vs.AccessDenied("no"), vs.InvalidInput("no")], [], None, True),
        ([AlreadyExists("gone again")], [NoSuchKey("no")], None, True),
        ([vs.OutcomeUnknown("lost")], [], b"other", False),
        ([vs.OutcomeUnknown("lost")], [b"torn"], b"other", False),
        (["landed", *[vs.InvalidInput("the credentials' clock")] * 99], [], None, vs.OutcomeUnknown),
        (["landed"], [StorageUnavailable("no")] * 99, None, vs.OutcomeUnknown),
        ([], [b"torn"] * 99, b"torn", vs.Integrity),
        ([vs.InvalidInput("refused")], [], None, vs.InvalidInput),
    ],
)
def test_a_create_is_answered_by_what_is_there(inner, creates, reads, there, expected):
    """Lost answers, failing read-backs and refusals of a repetition: only what is certain is said."""
    if there is not None:
        inner.put("k", there)
    objects = Scripted(inner, creates, reads)
    if isinstance(expected, bool):
        assert create_once(objects, "k", b"own", "k", is_own) is expected
        assert inner.read("k") == (b"own" if expected else b"other")
    else:
        with pytest.raises(expected):
            create_once(objects, "k", b"own", "k", is_own)


# -- times ------------------------------------------------------------------------------------------------------------


def test_times_that_are_none_are_refused(two):
    """NaT and times outside of UTC's are bad input; the first and last times there are, are not."""
    two[0].write("x", value(0))
    edge = datetime.max.replace(tzinfo=timezone(timedelta(hours=-1)))
    for time in (pd.NaT, edge):
        with pytest.raises(vs.InvalidInput, match="as_of="):
            two[0].read("x", as_of=time)
    assert two[0].read("x", as_of=datetime.max).version == 0
    with pytest.raises(vs.NoSuchVersion, match="had no version at"):
        two[0].read("x", as_of=datetime.min)


@pytest.mark.parametrize("as_of", [-1, -2, datetime(2100, 1, 1, tzinfo=UTC)])
def test_a_library_that_is_deleted_while_it_is_read_says_so(two, inner, as_of):
    """A document that vanishes after it was listed starts the search again, and then the library is gone."""
    for number in range(3):
        two[0].write("x", value(number))
    lib = vs.Store(objects := FaultyObjects(inner)).get_library("eod")
    versions = [key for key in inner._objects if "/versions/" in key]

    def vanish(request):
        if request.method == "read" and "/versions/" in request.key:
            for key in [*versions, "eod/library.json"]:
                inner._objects.pop(key, None)

    objects.before = vanish
    with pytest.raises(vs.NotFound) as caught:
        lib.read("x", as_of=as_of)
    assert not isinstance(caught.value, NoSuchKey)


# -- threads and processes --------------------------------------------------------------------------------------------


def test_handles_share_the_threads_of_the_process(inner):
    """However many handles there are, and whatever is called within calls, the pools keep to their size."""
    vs.Store(inner).create_library("eod")
    handles = [vs.Store(inner).get_library("eod") for _ in range(20)]
    for lib in handles:
        payloads = [vs.WritePayload(f"s{number}", {"a": value(number), "b": [value(1)]}) for number in range(20)]
        assert [item.symbol for item in lib.write_batch(payloads)] == [payload.symbol for payload in payloads]
    assert len(IO._ends) <= IO.size
    assert len(CPU._ends) <= CPU.size
    assert all(end.locked() for end in (*IO._ends, *CPU._ends))  # none of them has died


def test_a_write_works_while_the_interpreter_exits(tmp_path):
    """Threads cannot be started any more then: the requests are made one after the other."""
    code = f"""
    import atexit
    import numpy as np
    import duckvstore as vs
    lib = vs.open({str(tmp_path)!r}).create_library("eod")
    lib.write("x", np.arange(3))
    atexit.register(lambda: lib.write("x", np.arange(4)))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr == ""
    assert len(vs.open(tmp_path)["eod"].read("x").data) == 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_inherits_neither_held_locks_nor_threads(tmp_path):
    """A child that is forked while other threads hold the handle's locks can write at once."""
    lib = vs.open(tmp_path).create_library("eod")
    lib.write("x", value(0))
    opened = lib.open_library
    locks = [opened.heads._heads._lock, opened._versions._lock, opened._options._lock, IO._starting, CPU._starting]
    for lock in locks:
        lock.acquire()
    pid = os.fork()
    if pid == 0:
        signal.alarm(30)  # ends the child, should it hang
        lib.write("x", value(1))
        os._exit(0)
    for lock in locks:
        lock.release()
    assert os.waitpid(pid, 0)[1] == 0
    assert (lib.read("x").data == value(1)).all()
