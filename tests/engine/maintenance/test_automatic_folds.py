"""Folding by itself: after many commits, on another thread, bounded, and never in anybody's way."""

from __future__ import annotations

import copy
import logging
import os
import subprocess
import sys
import time
from datetime import timedelta

import pandas as pd
import pytest

import duckvstore as vs
from duckvstore.concurrency import IO
from duckvstore.engine.maintenance import automatic, fold
from duckvstore.engine.reading import folded, listings
from duckvstore.errors import AccessDenied
from duckvstore.objects.base import DeleteFailure
from duckvstore.objects.memory import MemoryObjects
from duckvstore.testing.faulty import FaultyObjects

FRAME = pd.DataFrame({"n": [1, 2, 3]})


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Some dozens of documents are many."""
    monkeypatch.setattr(automatic, "LOOK_EVERY", 10)
    monkeypatch.setattr(automatic, "INTENTS_MIN", 15)
    monkeypatch.setattr(automatic, "INTENTS_MAX", 40)
    monkeypatch.setattr(automatic, "FIRST_DOCUMENTS_MIN", 30)
    monkeypatch.setattr(automatic, "FIRST_DOCUMENTS_MAX", 60)
    monkeypatch.setattr(listings, "SYMBOLS_PAGE", 20)


@pytest.fixture
def objects():
    return FaultyObjects(MemoryObjects("automatic"))


@pytest.fixture
def lib(objects):
    return vs.Store(objects).create_library("eod")


def fresh(lib) -> vs.Library:
    return vs.Store(lib.open_library.objects).get_library("eod")


def write(lib, names) -> None:
    """Write; a look that begins while another one runs would be left out."""
    for name in names:
        lib.write(name, FRAME)
        settle()


def settle() -> None:
    """Wait until no thread of the pool has anything to do."""
    for _ in range(3):
        IO.map(lambda _: None, range(4))
    while IO._open:
        pass


def generation(lib) -> int | None:
    view = folded.look(fresh(lib).open_library)
    return None if view is None else view.folded.generation.number


def journal(lib) -> int:
    return len(list(lib.open_library.objects.list(lib.open_library.layout.journal)))


def test_a_library_that_grows_is_folded_and_goes_on_being_folded(lib):
    write(lib, [f"a{number}" for number in range(29)])
    assert generation(lib) is None and lib.list_symbols() == fresh(lib).list_symbols()
    write(lib, ["a29"])
    assert generation(lib) == 0 and journal(lib) == 0
    write(lib, [f"b{number}" for number in range(14)])
    assert journal(lib) >= 10  # too few are left in it
    write(lib, [f"c{number}" for number in range(20)])
    assert generation(lib) >= 1 and journal(lib) < 25
    assert len(lib.list_symbols()) == len(fresh(lib).list_symbols()) == 64


def test_what_is_committed_at_once_counts_too(lib):
    with lib.transaction() as transaction:
        for number in range(35):
            transaction.write(f"t{number}", FRAME)
    settle()
    assert generation(lib) == 0 and len(fresh(lib).list_symbols()) == 35


def test_batches_count_too(lib):
    lib.write_batch([vs.WritePayload(f"t{number}", FRAME) for number in range(38)])
    settle()
    write(lib, [f"u{number}" for number in range(12)])  # a look that begins while another one runs is left out
    assert generation(lib) is not None and len(fresh(lib).list_symbols()) == 50


def test_it_is_an_option(lib):
    lib.set_options(auto_fold=False)
    write(lib, [f"a{number}" for number in range(50)])
    assert generation(lib) is None
    assert fresh(lib).options.auto_fold is False
    lib.set_options(auto_fold=True)
    write(lib, [f"b{number}" for number in range(10)])
    assert generation(lib) == 0


def test_the_first_fold_of_many_documents_is_left_to_gc(lib, monkeypatch):
    lib.set_options(auto_fold=False)
    write(lib, [f"a{number}" for number in range(61)])
    lib.set_options(auto_fold=True)
    write(lib, [f"b{number}" for number in range(20)])
    assert generation(lib) is None
    assert lib.gc(dry_run=True).failures == [] and generation(lib) is None
    lib.gc(dry_run=False)
    assert generation(lib) == 0 and len(fresh(lib).list_symbols()) == 81


def test_gc_leaves_it_where_the_option_says_so_or_the_library_is_small(lib):
    write(lib, [f"a{number}" for number in range(20)])
    lib.gc(dry_run=False)
    assert generation(lib) is None
    lib.set_options(auto_fold=False)
    write(lib, [f"b{number}" for number in range(40)])
    lib.gc(dry_run=False)
    assert generation(lib) is None


def test_a_long_journal_is_folded_in_parts(lib):
    """Each look does a bounded part, however long nobody folded."""
    lib.fold()
    lib.set_options(auto_fold=False)
    write(lib, [f"a{number:03}" for number in range(100)])
    before = journal(lib)
    assert before == 100
    some = fold.Manner(intents_max=40)
    report = fold.fold_some(lib.open_library, some)
    assert report.folded_documents == 40 and journal(lib) == 60
    assert len(fresh(lib).list_symbols()) == 100
    assert fold.fold_some(lib.open_library, some).folded_documents == 40
    assert fold.fold_some(lib.open_library, some).folded_documents == 20
    assert journal(lib) == 0 and len(fresh(lib).list_symbols()) == 100


def test_a_process_that_writes_little_comes_to_look_by_chance(lib, monkeypatch):
    lib.fold()
    monkeypatch.setattr("duckvstore.clock.part_of", lambda seconds: 0.5 if seconds == 10 else 0.0)
    for number in range(20):
        other = fresh(lib)
        other.list_symbols()
        assert other.options.auto_fold
        other.write(f"a{number}", FRAME)
        settle()
    assert journal(lib) < 16 and len(fresh(lib).list_symbols()) == 20


def test_requests_of_a_fold_are_not_the_callers(lib):
    write(lib, [f"a{number}" for number in range(29)])
    with vs.trace() as traced:
        lib.write("a29", FRAME)
        settle()
    assert generation(lib) == 0
    assert traced.total.count < 10


@pytest.mark.parametrize("where", ["eod/catalogue/", "eod/folds/", "eod/options/"])
def test_a_writer_who_may_not_fold_goes_on_writing(objects, lib, monkeypatch, caplog, where):
    """It is told to the log, once."""
    caplog.set_level(logging.INFO, logger="duckvstore")

    def refuse(method):
        def call(key, data):
            if key.startswith(where):
                raise AccessDenied(f"{key} may not be written")
            return method(key, data)

        return call

    monkeypatch.setattr(objects, "put", refuse(objects.put))
    monkeypatch.setattr(objects, "create", refuse(objects.create))
    write(lib, [f"a{number}" for number in range(80)])
    assert len(fresh(lib).list_symbols()) == 80
    told = [record for record in caplog.records if record.event == "fold"]
    assert len(told) == 1 and told[0].reason == "AccessDenied" and told[0].library == "eod"


def test_a_writer_who_may_not_delete_folds_no_library_for_the_first_time(objects, lib, monkeypatch, caplog):
    """Nor does it say in the options that the library folds."""
    caplog.set_level(logging.INFO, logger="duckvstore")
    delete = objects.delete
    monkeypatch.setattr(objects, "delete", lambda keys: [DeleteFailure(key, "AccessDenied") for key in keys])
    write(lib, [f"a{number}" for number in range(80)])
    assert generation(lib) is None and journal(lib) == 80
    assert not list(objects.list("eod/options/"))
    assert len([record for record in caplog.records if record.event == "fold"]) == 1
    monkeypatch.setattr(objects, "delete", delete)
    lib.gc(timedelta(0), dry_run=False)
    assert generation(lib) == 0 and lib.verify().ok


def test_a_writer_who_may_not_delete_folds_once(objects, lib, monkeypatch, caplog):
    caplog.set_level(logging.INFO, logger="duckvstore")
    lib.fold()
    monkeypatch.setattr(objects, "delete", lambda keys: [DeleteFailure(key, "AccessDenied") for key in keys])
    write(lib, [f"a{number}" for number in range(80)])
    assert generation(lib) == 1 and journal(lib) == 80
    assert len([record for record in caplog.records if record.event == "fold"]) == 1
    report = lib.fold()
    assert report.failures and report.removed_intents == 0
    assert f"could not be removed: {len(report.failures)} objects" in str(report) and len(report.failures) > 80


def test_a_catalogue_that_is_damaged_is_not_made_anew_by_itself(objects, lib):
    write(lib, [f"a{number}" for number in range(30)])
    for entry in list(objects.list("eod/catalogue/files/")):
        objects.inner._objects[entry.key] = b"nothing"
    other = fresh(lib)
    assert other.options.auto_fold
    for number in range(40):
        other.write(f"b{number}", FRAME)
    settle()
    with pytest.warns(vs.DocumentWarning, match="rebuild=True"):
        assert len(other.list_symbols()) == 70
    with pytest.warns(vs.DocumentWarning, match="rebuild=True"):
        other.gc(dry_run=False)  # which reads all documents then
    assert len(fresh(lib).list_symbols()) == 70


def test_a_failing_store_is_tried_again_later(objects, lib, monkeypatch, caplog):
    caplog.set_level(logging.INFO, logger="duckvstore")
    put = objects.put

    def fail(key, data):
        if key.startswith("eod/catalogue/"):
            raise vs.StorageUnavailable("not now")
        put(key, data)

    monkeypatch.setattr(objects, "put", fail)
    write(lib, [f"a{number}" for number in range(40)])
    assert generation(lib) is None and len(lib.list_symbols()) == 40
    monkeypatch.setattr(objects, "put", put)
    write(lib, [f"b{number}" for number in range(10)])
    assert generation(lib) is not None
    told = [record for record in caplog.records if record.event == "fold"]
    assert told[0].reason == "StorageUnavailable"


def test_a_fold_that_was_begun_ends_with_the_process(tmp_path):
    """A process that writes and exits leaves a whole generation, or none, and does not hang."""
    script = """
import pandas as pd, duckvstore as vs
from duckvstore.engine.maintenance import automatic
automatic.LOOK_EVERY, automatic.FIRST_DOCUMENTS_MIN = 10, 10
lib = vs.open(PATH).get_library("eod", create_if_missing=True)
for number in range(10):
    lib.write(f"a{number}", pd.DataFrame({"n": [1]}))
""".replace("PATH", repr(str(tmp_path)))
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60, env={**os.environ})
    lib = vs.open(str(tmp_path)).get_library("eod")
    assert folded.look(lib.open_library).folded.generation.number == 0
    assert len(lib.list_symbols()) == 10 and lib.verify().ok
    assert lib.gc(grace=timedelta(0)).failures == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_folds_for_itself(lib):
    write(lib, ["a"])
    lib.open_library.automatic._running.acquire()  # as if a fold ran in the parent
    child = os.fork()
    if child == 0:
        try:
            write(lib, [f"b{number}" for number in range(40)])
            os._exit(0 if generation(lib) == 0 else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0


def test_statements_over_a_whole_store_fold_too(objects, lib):
    store = vs.Store(objects)
    for number in range(40):
        store.sql(f"CREATE TABLE eod.a{number} AS SELECT {number} AS n")
    settle()
    assert generation(lib) == 0


def test_a_library_that_is_deleted_can_be_made_again_at_once(objects, lib, monkeypatch):
    """A fold that is under way is given up before, and leaves nothing."""
    put = objects.put

    def slow(key, data):
        if "/catalogue/" in key:
            time.sleep(0.3)
        put(key, data)

    monkeypatch.setattr(objects, "put", slow)
    for number in range(30):
        lib.write(f"a{number}", FRAME)
    store = vs.Store(objects)
    store.delete_library("eod")
    assert store.create_library("eod").list_symbols() == []
    settle()
    assert not [entry.key for entry in objects.list("eod/") if "/catalogue/" in entry.key]


def test_copies_of_a_handle_have_one_look_in_common(lib):
    for number in range(20):
        copy.copy(lib).write(f"a{number}", FRAME)
    settle()
    assert lib.open_library.automatic._looked_at == 20


def test_a_fold_by_itself_is_bounded_in_bytes(lib, monkeypatch):
    """The symbols that it has not reached wait, and are seen."""
    monkeypatch.setattr(fold, "BOUNDED_BATCH", 5)
    lib.fold()
    lib.set_options(auto_fold=False)
    write(lib, [f"a{number:03}" for number in range(30)])
    write(lib, ["a000", "a029", "a029"])
    some = fold.Manner(bytes_max=10_000)
    report = fold.fold_some(lib.open_library, some)
    assert 5 <= report.folded_documents < 30 and "a029" in report.waiting_symbols
    assert fresh(lib).list_symbols() == lib.list_symbols() == [f"a{number:03}" for number in range(30)]
    while fold.fold_some(lib.open_library, some).folded_documents:
        assert [pair.version for pair in fresh(lib).list_versions("a029")] == [2, 1, 0]
    assert journal(lib) == 0 and not fold.fold_some(lib.open_library, some).waiting_symbols
    assert lib.verify().ok


def test_marks_that_are_gone_are_made_again(objects, lib):
    """By whoever writes next; verify names it before."""
    write(lib, [f"a{number}" for number in range(30)])
    objects.delete([entry.key for entry in objects.list("eod/folds/")])
    assert folded.look(fresh(lib).open_library) is None
    assert "is not believed" in str(fresh(lib).verify().problems)
    write(lib, [f"b{number}" for number in range(28)])  # looks by chance begin the count anew
    assert folded.look(fresh(lib).open_library) is not None and fresh(lib).verify().ok


def test_exit_does_not_wait_for_long(tmp_path):
    """A fold over a slow network is given up when the process ends; nothing of it is missing, or in the way."""
    script = """
import time
import duckvstore as vs
from duckvstore.engine.maintenance import automatic
from duckvstore.objects.local import LocalObjects
automatic.FIRST_DOCUMENTS_MIN = automatic.LOOK_EVERY = 300
automatic.EXIT_SECONDS = 0.5
lib = vs.open(PATH).get_library("eod", create_if_missing=True)
for number in range(300):
    if number == 299:
        read = LocalObjects.read
        LocalObjects.read = lambda self, *given: (time.sleep(0.2), read(self, *given))[1]
    lib.write(f"a{number}", 1)
print(time.time(), flush=True)
""".replace("PATH", repr(str(tmp_path)))
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, timeout=100, env={**os.environ}, capture_output=True
    )
    assert time.time() - float(done.stdout) < 20  # all documents one after the other would take a minute
    lib = vs.open(str(tmp_path)).get_library("eod")
    assert len(lib.list_symbols()) == 300 and lib.verify(deep=False).ok
