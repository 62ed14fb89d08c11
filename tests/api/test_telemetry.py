"""What is logged, and what a trace counts."""

from __future__ import annotations

import contextvars
import logging
import subprocess
import sys
import threading
from datetime import timedelta

import pandas as pd
import pytest

import duckvstore as vs
from duckvstore import telemetry
from duckvstore.engine.writing import commits
from duckvstore.objects.memory import MemoryObjects
from duckvstore.objects.wrappers import WrappedObjects
from tests.counting import CountingObjects

FRAME = pd.DataFrame({"a": range(100)})
KINDS = ("read", "put", "create", "list", "delete")


@pytest.fixture
def counting():
    return CountingObjects(MemoryObjects())


@pytest.fixture
def lib(counting):
    return vs.Store(counting).create_library("eod")


def work(lib):
    """Use every kind of request, on threads of the package too."""
    lib.write_batch([vs.WritePayload(f"s{number}", FRAME) for number in range(10)])
    lib.append("s0", FRAME)
    lib.read_batch([f"s{number}" for number in range(10)])
    lib.list_versions()
    lib.snapshot("day")
    lib.delete_snapshot("day")
    lib.prune("s0", keep_last=1)
    lib.gc(timedelta(0), dry_run=False)
    lib.sql("SELECT count(*) FROM vstore.versions").fetchall()


def test_a_trace_counts_what_the_object_store_is_asked(lib, counting):
    """By kind and in bytes, as a store counts that is asked; a store around another one counts once."""
    counting.reset()
    with vs.trace() as found:
        work(lib)
    counts = counting.counts
    assert {kind: one.count for kind, one in found.requests.items()} == {kind: counts[kind] for kind in KINDS}
    assert (found.total.bytes_in, found.total.bytes_out) == (counts["bytes_in"], counts["bytes_out"])
    assert found.total.count == counting.request_count
    assert found.seconds > 0
    assert found.total.seconds > 0
    assert repr(found).splitlines()[0].split() == ["requests", "count", "in", "out", "seconds", "retries"]


def test_outside_of_the_block_nothing_is_counted(lib):
    lib.write("s", FRAME)
    with vs.trace() as found:
        pass
    lib.read("s")
    assert (found.requests, found.total) == ({}, vs.RequestCounts())


def test_blocks_count_what_is_inside_of_them(lib):
    lib.write("s", FRAME)
    with vs.trace() as outer:
        lib.read("s")
        with vs.trace() as inner:
            lib.list_symbols()
        lib.read("s")
    assert 0 < inner.total.count < outer.total.count


def test_other_threads_count_in_a_copy_of_the_context_only(lib):
    lib.write("s", FRAME)
    before = contextvars.copy_context()
    with vs.trace() as found:
        for run in (before.run, contextvars.copy_context().run):
            assert not found.requests
            thread = threading.Thread(target=run, args=(lib.read, "s"))
            thread.start()
            thread.join()
    assert found.requests["read"].count


@pytest.mark.parametrize(("entries", "requests"), [(0, 1), (1, 1), (1000, 1), (1001, 2), (2000, 2)])
def test_listings_and_deletions_count_by_the_thousand(entries, requests):
    objects = MemoryObjects()
    for number in range(entries):
        objects.put(f"k/{number:05}", b"x")
    with vs.trace() as found:
        keys = [entry.key for entry in objects.list("k/")]
        objects.delete(keys)
    assert found.requests["list"].count == requests
    assert found.requests["delete"].count == (requests if entries else 0)
    assert not list(objects.list("k/"))


class Flaky(WrappedObjects):
    """Reads that succeed at the second attempt."""

    def read(self, key, start=0, length=None):
        telemetry.retried(self.url, 0, TimeoutError("the key is hunter2"))
        return self.inner.read(key, start, length)


def events(caplog):
    return [record for record in caplog.records if record.name == "duckvstore"]


def test_retries_are_counted_and_logged(caplog):
    caplog.set_level(logging.INFO, "duckvstore")
    objects = Flaky(MemoryObjects())
    objects.put("k", b"abc")
    with vs.trace() as found:
        objects.read("k")
    assert found.requests["read"] == vs.RequestCounts(1, 3, 0, found.requests["read"].seconds, 1)
    (record,) = events(caplog)
    assert (record.event, record.request, record.attempt, record.reason) == ("retry", "read", 2, "TimeoutError")
    assert record.url == objects.url
    assert "hunter2" not in caplog.text


def test_a_conflict_that_is_planned_again_is_logged(lib, counting, caplog):
    caplog.set_level(logging.INFO, "duckvstore")
    other = vs.Store(counting)["eod"]
    lib.write("s", FRAME)
    other.append("s", FRAME)
    lib.append("s", FRAME)
    (record,) = events(caplog)
    found = (record.event, record.library, record.symbol, record.version, record.attempt, record.operation)
    assert found == ("conflict", "eod", "s", 1, 2, "append")


def test_an_aborted_transaction_is_logged(lib, counting, caplog):
    other = vs.Store(counting)["eod"]
    lib.write("s", FRAME)
    with pytest.raises(vs.Conflict), lib.transaction() as transaction:
        transaction.append("s", FRAME)
        other.append("s", FRAME)
    (record,) = events(caplog)
    assert (record.event, record.library, record.reason) == ("abort", "eod", "Conflict")
    assert len(record.transaction) == 32


def test_a_transaction_that_nobody_decides_is_logged(lib, counting, caplog, monkeypatch):
    """Its writer died between its documents and its decision."""

    def die(*_):
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr("duckvstore.engine.writing.transactions.Transaction._decide", die)
        patch.setattr("duckvstore.engine.writing.transactions.Transaction._abort", lambda _: None)
        with pytest.raises(SystemExit), lib.transaction() as transaction:
            transaction.write("s", FRAME)
    monkeypatch.setattr(commits, "UNDECIDED_SECONDS_MAX", 0.0)
    vs.Store(counting)["eod"].write("s", FRAME)
    given_up, aborted = events(caplog)
    assert (given_up.event, given_up.reason) == ("abort", "SystemExit")
    assert (aborted.event, aborted.reason, aborted.transaction) == ("abort", "undecided", given_up.transaction)


def test_what_gc_removed_is_logged(lib, caplog):
    caplog.set_level(logging.INFO, "duckvstore")
    lib.write("s", FRAME)
    lib.write("s", FRAME * 2)
    lib.prune("s", keep_last=1)
    lib.gc(timedelta(0))
    assert not events(caplog)
    report = lib.gc(timedelta(0), dry_run=False)
    (record,) = events(caplog)
    assert (record.event, record.library, record.removed_versions, record.failures) == ("gc", "eod", 1, 0)
    assert record.deleted_bytes == report.deleted_bytes > 0


@pytest.mark.parametrize("statement", ["SELECT a, 'hunter2' FROM s", "UPDATE s SET a = 0 WHERE a = 424344454647"])
def test_slow_statements_are_logged_once_without_their_text(lib, caplog, monkeypatch, statement):
    monkeypatch.setenv(telemetry.SLOW_VARIABLE, "0")
    lib.write("s", FRAME)
    result = lib.sql(statement)
    rows = result.fetchall()
    result.fetchall()
    (record,) = events(caplog)
    assert record.event == "slow_statement"
    assert record.versions[0] == "eod/s v0"
    assert record.row_count == (len(rows) if statement.startswith("SELECT") else 0)
    assert record.segments_read in (0, 1)
    assert not [word for word in ("hunter2", "424344454647") if word in caplog.text + str(vars(record))]
    caplog.clear()
    monkeypatch.setenv(telemetry.SLOW_VARIABLE, "3600")
    lib.sql(statement).fetchall()
    assert not events(caplog)


def test_names_in_the_log_act_on_no_terminal(lib, counting, caplog):
    caplog.set_level(logging.INFO, "duckvstore")
    name = "n\x1b[31m\nforged"
    lib.write(name, FRAME)
    vs.Store(counting)["eod"].append(name, FRAME)
    lib.append(name, FRAME)
    assert "\x1b" not in caplog.text
    assert not [line for line in caplog.text.splitlines() if line.startswith("forged")]


def test_nothing_is_shown_unless_it_is_asked_for():
    code = (
        "import duckvstore as vs, pandas as pd; store = vs.open('memory://quiet'); a = store.create_library('eod');"
        "a.write('s', pd.DataFrame({'a': [1]})); store['eod'].append('s', pd.DataFrame({'a': [1]}));"
        "a.append('s', pd.DataFrame({'a': [1]})); a.sql('FROM s').fetchall()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={telemetry.SLOW_VARIABLE: "0"}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
