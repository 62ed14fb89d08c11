"""Ctrl-C and progress: an interrupted call leaves nothing half visible, and bars appear only where somebody looks."""

from __future__ import annotations

import contextlib
import re
import subprocess
import sys
import threading
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

import duckvstore as vs
from duckvstore.concurrency import IO, PARALLEL_REQUESTS
from duckvstore.engine.reading import segments
from duckvstore.objects.memory import MemoryObjects
from duckvstore.sql.execution.transaction import OpenTransaction
from duckvstore.testing.faulty import FaultyObjects
from tests.cuts import cut_every
from tests.sizes import sized


def frame(rows=400, seed=0):
    index = pd.date_range("2026-01-01", periods=rows, freq="h", name="time")
    return pd.DataFrame({"price": np.random.default_rng(seed).normal(size=rows)}, index=index)


@pytest.mark.parametrize("call", ["write", "append", "update", "batch", "transaction"])
@pytest.mark.parametrize("at", [1, 3, 9])
def test_an_interrupt_in_a_write_leaves_no_version(call, at, monkeypatch):
    """It is raised where the user waits; what was uploaded is gc's business, and the next call works."""
    cut_every(monkeypatch, 20)
    inner = MemoryObjects("interrupted")
    lib = vs.Store(inner).create_library("eod")
    lib.write("trades", frame())
    seen = []

    def before(request):
        if request.method == "put" and "/segments/" in request.key:
            seen.append(request)
            if len(seen) == at:
                raise KeyboardInterrupt

    faulty = vs.Store(FaultyObjects(inner, before=before)).get_library("eod")
    new = frame(seed=1)
    calls = {
        "write": lambda: faulty.write("trades", new),
        "append": lambda: faulty.append("trades", new.set_axis(new.index + pd.Timedelta(days=900)).tail(190)),
        "update": lambda: faulty.update("trades", new),
        "batch": lambda: faulty.write_batch([vs.WritePayload("trades", new)]),
        "transaction": lambda: in_transaction(faulty, new),
    }
    with pytest.raises(KeyboardInterrupt):
        calls[call]()
    assert list(lib.list_versions()) == [("trades", 0)]
    fresh = vs.Store(inner).get_library("eod")
    assert_frame_equal(fresh.read("trades").data, frame(), check_freq=False)
    fresh.write("trades", new)
    fresh.gc(grace=timedelta(0), dry_run=False)
    report = fresh.verify()
    assert report.ok
    assert not report.orphans


def in_transaction(lib, data):
    with lib.transaction() as transaction:
        transaction.write("other", frame(5))
        transaction.write("trades", data)


def test_an_interrupt_in_a_read_ends_it(monkeypatch):
    """No thread goes on reading: what was not begun never is."""
    cut_every(monkeypatch, 20)
    inner = MemoryObjects("interrupted")
    vs.Store(inner).create_library("eod").write("trades", frame())
    fetches = []

    def interrupted(*_):
        fetches.append(1)
        raise KeyboardInterrupt

    lib = vs.Store(inner).get_library("eod")
    monkeypatch.setattr(segments, "fetch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        lib.read("trades")
    count = len(fetches)
    assert IO.map(lambda _: threading.get_ident(), range(100))  # behind whatever the threads have been given before
    assert len(fetches) == count <= PARALLEL_REQUESTS
    monkeypatch.undo()
    assert_frame_equal(lib.read("trades").data, frame(), check_freq=False)


CODE = """
import sys, time
import pandas as pd
import duckvstore as vs
from duckvstore import progress
from duckvstore.engine.reading import segments
from tests.cuts import cut_every
from tests.sizes import sized

class Patch:
    setattr = staticmethod(setattr)

cut_every(Patch, 1000)
progress.DELAY_SECONDS = 0
fetch = segments.fetch
segments.fetch = lambda *arguments: (time.sleep(0.02), fetch(*arguments))[1]
lib = vs.open("memory://bars").create_library("eod")
lib.write("trades", pd.DataFrame({"x": range(20_000)}))
lib.read("trades")
"""


@pytest.mark.parametrize(("setting", "is_shown"), [("1", True), ("0", False), (None, False)])
def test_a_bar_is_shown_only_where_somebody_looks(setting, is_shown):
    """Not in a job whose output is a file, unless it is asked for."""
    import os

    environment = {name: value for name, value in os.environ.items() if name != "DUCKVSTORE_PROGRESS"}
    if setting is not None:
        environment["DUCKVSTORE_PROGRESS"] = setting
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, env=environment, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert ("reading trades" in done.stderr) == is_shown
    assert ("storing trades" in done.stderr) == is_shown
    assert done.stdout == ""


SIGNALS = """
import os, signal, sys, threading, time, traceback
import pandas as pd
import duckvstore as vs

lib = vs.open("memory://signals").create_library("eod")
lib.write("s", pd.DataFrame({"v": range(500_000), "w": [f"text {n}" for n in range(500_000)]}))
lib.write("t", pd.DataFrame({"v": range(3000)}))
connection = lib.connect()
connection.execute("SELECT 1").fetchall()  # what is imported at first use is
lib.sql("SELECT count(*) FROM s a, t b WHERE a.v = b.v AND a.w = ''").df()
FOR_EVER = "FROM s a, t b WHERE (a.v * b.v) % 1_000_003 = 999_999 AND length(a.w || b.v) % 3 = 5"
CALLS = {
    "a query": lambda: lib.sql(f"SELECT count(*) {FOR_EVER}").fetchall(),
    "a stream": lambda: list(lib.sql(f"SELECT a.v {FOR_EVER}").batches()),
    "pandas": lambda: lib.sql("SELECT s.* FROM s, range(100)").df(),
    "a cursor": lambda: connection.execute(f"SELECT count(*) {FOR_EVER}").fetchall(),
    "a view": lambda: lib.sql(f"CREATE OR REPLACE VIEW seen AS SELECT count(*) {FOR_EVER}; FROM seen").fetchall(),
    "rows of a result before": lambda: (lib.sql(f"SELECT a.v {FOR_EVER}"), lib.sql("CREATE TEMP TABLE x (y INT)")),
    "INSERT": lambda: lib.sql(f"INSERT INTO t SELECT a.v {FOR_EVER}"),
    "UPDATE": lambda: lib.sql(f"UPDATE t SET v = (SELECT count(*) {FOR_EVER})"),
    "DELETE": lambda: lib.sql(f"DELETE FROM t WHERE v = (SELECT count(*) {FOR_EVER})"),
    "CREATE TABLE": lambda: lib.sql(f"CREATE TABLE u AS SELECT a.v {FOR_EVER}"),
    "a temporary table": lambda: lib.sql(f"CREATE TEMP TABLE u AS SELECT a.v {FOR_EVER}"),
    "read(where=)": lambda: lib.read("s", where="length(repeat(w, 9000)) + length(repeat(w, 9001)) = 1"),
    "delete_rows": lambda: lib.delete_rows("s", "length(repeat(w, 9000)) + length(repeat(w, 9001)) = 1"),
}

class OfTheUser(ValueError):
    pass

def handler(number, frame):
    raise TimeoutError("too late") if number == signal.SIGALRM else OfTheUser("of the user")

signal.signal(signal.SIGALRM, handler)
signal.signal(signal.SIGUSR1, handler)
EXPECTED = {
    signal.SIGINT: KeyboardInterrupt(),
    signal.SIGALRM: TimeoutError("too late"),
    signal.SIGUSR1: OfTheUser("of the user"),
}

def stopped(name, number):
    over = threading.Event()

    def send():
        # Again after a while: what Python raises while it calls back for something that is dropped is lost.
        seconds = 0.15
        while not over.wait(seconds):
            os.kill(os.getpid(), number)
            seconds = 10

    sender = threading.Thread(target=send)
    try:
        sender.start()
        CALLS[name]()
        found = "nothing was raised"
    except BaseException as error:
        over.set()
        found = error
    over.set()
    sender.join()
    expected = EXPECTED[number]
    if type(found) is not type(expected) or found.args != expected.args:
        print(name, number.name, "gave", repr(found)[:300])
    if getattr(found, "__suppress_context__", True) is False and found.__context__ is not None:
        print(name, number.name, "has the context", repr(found.__context__)[:300])
    if lib.sql("SELECT 42").fetchall() != [(42,)] or connection.execute("SELECT 43").fetchall() != [(43,)]:
        print(name, "left a broken session")
    if [(found.symbol, found.version) for found in lib.list_versions()] != [("s", 0), ("t", 0)]:
        print(name, "was committed")

for index, name in enumerate(CALLS if "calls" in sys.argv else ()):
    numbers = list(EXPECTED) if index < 2 else [signal.SIGINT, (signal.SIGALRM, signal.SIGUSR1)[index % 2]]
    for number in numbers:
        stopped(name, number)
"""


def run_signals(code: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", SIGNALS + code, *arguments], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return LOST.sub("", done.stdout + done.stderr)


# What a handler raises within the callback of a weak reference is lost by Python itself, which says so.
LOST = re.compile(r"Exception ignored in: <function Weak\w+\.[^\n]*\nTraceback[^\n]*\n(?: .*\n)*\w+: [^\n]*\n")


def test_what_a_signal_raises_leaves_every_call_as_it_is():
    """The stop button, an alarm and a handler of the user's stop DuckDB; the session goes on, nothing is committed."""
    assert run_signals("", "calls") == ""


def test_impatience_and_transactions():
    """A second press while DuckDB is being stopped changes nothing; a transaction can be rolled back and done again."""
    code = """
def working():
    time.sleep(0.05)  # what is still inside DuckDB after that was not stopped
    return any("_action()" in "".join(traceback.format_stack(frame))
               for ident, frame in sys._current_frames().items() if ident != threading.main_thread().ident)

def press_twice():
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.005)

for begun in (False, True):
    if begun:
        lib.sql("BEGIN")
        lib.sql("INSERT INTO t VALUES (7)")
    sender = threading.Timer(0.2, press_twice)
    sender.start()
    try:
        try:
            lib.sql(f"UPDATE t SET v = (SELECT count(*) {FOR_EVER})")
        except KeyboardInterrupt:
            pass
        sender.join()
    except KeyboardInterrupt:  # the second one came after the call had ended
        pass
    sender.join()
    if begun:
        lib.sql("ROLLBACK")
    assert len(lib.read("t").data) == 3000
    assert not working()
lib.sql("INSERT INTO t VALUES (7)")
assert len(lib.read("t").data) == 3001
print("done")
"""
    assert run_signals(code).endswith("done\n")


def test_a_signal_while_a_thread_is_started():
    """What was not begun never is, and nobody waits for it."""
    code = """
import _thread
start = _thread.start_new_thread

def interrupted(*arguments):
    _thread.start_new_thread = start
    handler(signal.SIGALRM, None)

for text in ("SELECT 1", "SELECT count(*) FROM t", "INSERT INTO t VALUES (1)"):
    _thread.start_new_thread = interrupted
    try:
        lib.sql(text).fetchall()
        print(text, "raised nothing")
    except TimeoutError:
        pass
    assert lib.sql("SELECT count(*) FROM t").fetchall() == [(3000,)]
"""
    assert run_signals(code) == ""


def test_signals_at_any_moment_of_a_statement():
    """Between any two instructions: each comes out as it is, DuckDB is stopped, and the next statement works.

    Python itself loses what a handler raises within a callback of the garbage collector, so the alarm rings again.
    """
    code = f"""
import gc, random
from duckvstore.sql.driver import interrupts

interrupts._WAKE_EVERY_SECONDS = 1e-6  # who waits looks all the time, so that the alarm meets every place of the loop
sys.unraisablehook = lambda _: None
gc.disable()
moment = random.Random(7)
for number in range({sized(800, full=10_000)}):
    signal.setitimer(signal.ITIMER_REAL, 0.002 + moment.random() * 0.01, 1)
    try:
        lib.sql("SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE a.range + b.range = -1").fetchall()
        print(number, "raised nothing")
    except TimeoutError:
        pass
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert lib.sql("SELECT 42").fetchall() == [(42,)], number
"""
    assert run_signals(code) == ""


def test_signals_while_rows_of_a_question_of_ours_are_fetched():
    """DuckDB 2 runs a query as its rows are fetched, and makes an error of its own of what the handler raised."""
    code = """
import duckdb
from duckvstore.sql.driver.interrupts import interruptible

cursor = interruptible(duckdb.connect())
for number in range(200):
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.0002 + number * 0.00002)
            cursor.execute("SELECT range FROM range(20000)")
            cursor.fetchall() if number % 4 else cursor.fetchone()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except TimeoutError:
        pass
    assert cursor.execute("SELECT 42").fetchone() == (42,)
"""
    assert run_signals(code) == ""


def test_an_interrupt_at_any_moment_of_any_call_leaves_the_handle_whole():
    """What was on the way into a cache or a transaction is given up; all calls work afterwards."""
    code = f"""
import random

few = pd.DataFrame({{"v": range(3000), "w": [f"text {{n}}" for n in range(3000)]}})

def in_a_transaction():
    lib.sql("BEGIN")
    lib.sql("INSERT INTO t VALUES (7)")
    lib.sql("ROLLBACK")

CALLS = {{
    "read": lambda: lib.read("few"),
    "read(where=)": lambda: lib.read("few", where="v > 10"),
    "write": lambda: lib.write("few", few),
    "write_batch": lambda: lib.write_batch([vs.WritePayload(name, few) for name in "abc"]),
    "delete_rows": lambda: lib.delete_rows("few", "v = 3"),
    "sql": lambda: lib.sql("SELECT * FROM few WHERE v > 3").df(),
    "INSERT": lambda: lib.sql("INSERT INTO few VALUES (3, 'x')"),
    "a transaction": in_a_transaction,
    "list_versions": lambda: list(lib.list_versions("few", latest_only=True)),
    "list_snapshots": lambda: lib.list_snapshots(),
}}
lib.write("few", few)
for call in CALLS.values():
    call()
sys.unraisablehook = lambda _: None
moment = random.Random(7)
for number in range({sized(120, full=3000)}):
    name = moment.choice(list(CALLS))
    try:
        try:
            signal.setitimer(signal.ITIMER_REAL, moment.random() * 0.02)
            CALLS[name]()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except TimeoutError:
        pass
    except Exception as error:
        print(name, "gave", repr(error)[:300])
    if name == "a transaction":
        try:
            lib.sql("ROLLBACK")
        except vs.SqlError:
            pass
    for after, call in CALLS.items() if number % 4 == 0 else ():
        try:
            call()
        except Exception as error:
            print(after, "after", name, "gave", repr(error)[:300])
"""
    assert run_signals(code) == ""


@pytest.mark.parametrize("at", ["__init__", "rollback"])
def test_an_interrupt_as_a_transaction_begins_or_ends_leaves_none(at, monkeypatch):
    """DuckDB's own does not outlive what the session knows of: another one can begin."""
    lib = vs.open("memory://").create_library("eod")
    lib.write("t", frame(3))

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(OpenTransaction, at, interrupted)
        with pytest.raises(KeyboardInterrupt):
            lib.sql("BEGIN; ROLLBACK")
    with contextlib.suppress(vs.SqlError):
        lib.sql("ROLLBACK")
    lib.sql("BEGIN; DELETE FROM t; COMMIT")
    assert lib.sql("SELECT count(*) FROM t").fetchall() == [(0,)]
    lib.session.close()
