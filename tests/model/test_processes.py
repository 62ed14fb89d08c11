"""Handles in other processes: pickled into pools of every kind, and inherited by forked children."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import textwrap

import pandas as pd
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal

import duckvstore as vs
from duckvstore.objects import open_objects

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def frame(rows=100):
    return pd.DataFrame({"v": range(rows)})


@pytest.fixture
def lib(tmp_path):
    made = vs.open(tmp_path / "store").create_library("eod")
    made.write("s", frame())
    return made


def run(tmp_path, code, *, seconds=240):
    """Run a script whose ``lib`` has a symbol ``s`` of 100 rows; what hangs is ended and fails."""
    head = f"""
        import multiprocessing, os, signal, sys, threading
        from concurrent.futures import ProcessPoolExecutor
        import pandas as pd
        import duckvstore as vs

        URL = {str(tmp_path / "scripted")!r}
    """
    file = tmp_path / "script.py"
    file.write_text(textwrap.dedent(head) + textwrap.dedent(code))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        [sys.executable, str(file)], capture_output=True, text=True, env=environment, timeout=seconds, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


# -- pickles ----------------------------------------------------------------------------------------------------------


def test_handles_come_back_from_a_pickle(lib, tmp_path):
    """A library, a store, handles on versions and combined libraries read the same, and what one writes others see."""
    store = vs.open(tmp_path / "store")
    again = pickle.loads(pickle.dumps(lib))
    assert repr(again) == repr(lib)
    assert_frame_equal(again.read("s").data, frame())
    again.write("t", frame(3))
    assert lib.list_symbols() == ["s", "t"]
    assert pickle.loads(pickle.dumps(store))["eod"].list_symbols() == ["s", "t"]
    assert pickle.loads(pickle.dumps(lib["t"])).read().data.v.tolist() == [0, 1, 2]
    assert pa.table(pickle.loads(pickle.dumps(lib["t", 0]))).num_rows == 3
    both = pickle.loads(pickle.dumps(vs.combine({"a": lib, "b": again})))
    assert both.sql("SELECT count(*) FROM a.s, b.t").fetchall() == [(300,)]


def test_a_pickle_asks_nothing_of_the_store(lib, tmp_path):
    """Who opens one finds out at the first call that the library is gone, as with any handle."""
    data = pickle.dumps(lib)
    vs.open(tmp_path / "store").delete_library("eod")
    again = pickle.loads(data)
    with pytest.raises(vs.NoSuchLibrary, match="was deleted"):
        again.write("s", frame())
    vs.open(tmp_path / "store").delete_library("eod")  # what the writer had announced
    vs.open(tmp_path / "store").create_library("eod")
    with pytest.raises(vs.Conflict, match="made again"):
        pickle.loads(data).write("s", frame())


@pytest.mark.parametrize("as_of", [None, -1, 1, "kept"])
def test_all_processes_read_the_version_that_was_pickled(lib, as_of):
    """Not what is newest, or what a snapshot of that name holds, when they come to it."""
    lib.write("s", frame(7))
    lib.snapshot("kept")
    data = pickle.dumps(lib["s", as_of])
    lib.write("s", frame(8))
    lib.delete_snapshot("kept")
    lib.snapshot("kept")
    again = pickle.loads(data)
    assert again.as_of == as_of
    assert again.version == 1
    assert again.row_count == len(again.read().data) == 7
    assert pickle.loads(pickle.dumps(again)).version == 1


def test_a_handle_on_nothing_says_so_when_it_is_pickled(lib):
    """A worker is not given a handle that means nothing."""
    with pytest.raises(vs.NoSuchSymbol):
        pickle.dumps(lib["nothing"])


def test_copies_are_handles_on_the_same_library(lib):
    """Also in memory, whose objects are not doubled, and in whatever holds a handle."""
    memory = vs.open("memory://").create_library("eod")
    memory.write("s", frame(2))
    for one in (lib, memory):
        for copied in (copy.copy(one), copy.deepcopy(one), copy.deepcopy({"x": [one]})["x"][0]):
            assert copied is not one
            copied.write("copied", frame(1))
            assert one.read("copied").data.v.tolist() == [0]
            assert copied.sql("SELECT count(*) FROM copied").fetchall() == [(1,)]
        handle = one["s"]
        assert handle.version == 0
        one.write("s", frame(5))
        assert [copy.copy(handle).version, copy.deepcopy(handle).version, one["s"].version] == [0, 0, 1]
        assert copy.deepcopy(vs.combine({"a": one})).sql("SELECT count(*) FROM a.s").fetchall() == [(5,)]
    store = vs.open("memory://")
    store.create_library("only")
    assert copy.deepcopy(store).list_libraries() == copy.copy(store).list_libraries() == ["only"]


def test_a_store_in_memory_is_of_its_process(lib):
    """A worker would find nothing there: that is said when it is sent."""
    memory = vs.open("memory://shared").get_library("eod", create_if_missing=True)
    for handle in (memory, vs.open("memory://shared")):
        with pytest.raises(vs.Unsupported, match="folder or a bucket"):
            pickle.dumps(handle)


def test_what_belongs_to_a_session_is_refused_in_words(lib):
    """Connections, results, transactions and differences say what to hand over in their place."""
    lib.write("s", frame(3))
    connection = lib.connect()
    for made, instead in (
        (connection, "the library"),
        (connection.execute("FROM s"), "the library"),
        (lib.session, "the library"),
        (lib.sql("FROM s"), r"\.arrow\(\) or \.df\(\)"),
        (lib.transaction(), "the library"),
        (lib.diff("s", 0, 1), r"\.df\(\)"),
    ):
        name = type(made).__name__
        for action in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(vs.Unsupported, match=f"a {name} cannot be pickled or copied.*{instead}"):
                action(made)
    connection.close()


def test_only_credentials_that_were_given_are_in_a_pickle(monkeypatch):
    """Those of the environment stay there; those of ``storage_options`` travel, since nothing else would be asked."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-the-environment")
    plain = {"endpoint_url": "http://127.0.0.1:1", "region": "x"}
    given = {**plain, "access_key_id": "me", "secret_access_key": "given-as-option"}
    for options, expected in ((plain, False), (given, True)):
        store = vs.open("s3://bucket/prefix", options)
        data = pickle.dumps(store)
        assert b"of-the-environment" not in data
        assert (b"given-as-option" in data) == expected
        again = pickle.loads(data)
        assert again.url == store.url
        assert again.objects.options == store.objects.options


def test_options_of_every_kind_of_store_travel(tmp_path):
    """Where segments are, that their place is trusted, and what a service needs."""
    store = vs.open(tmp_path / "documents", segments_url=tmp_path / "segments")
    made = store.create_library("hybrid")
    made.write("s", frame(4))
    again = pickle.loads(pickle.dumps(store))
    assert again["hybrid"].read("s").data.v.tolist() == [0, 1, 2, 3]
    assert pickle.loads(pickle.dumps(made)).read("s").data.v.tolist() == [0, 1, 2, 3]
    again.create_library("another").write("s", frame(1))
    assert list((tmp_path / "segments" / "another").rglob("*.parquet"))
    fast = open_objects(tmp_path / "fast", {"fsync": False})
    assert pickle.loads(pickle.dumps(fast))._fsync is False


def test_options_of_a_cloud_travel():
    """A key that was given, and what the service needs; the package for it is an extra."""
    pytest.importorskip("obstore", reason="the extra 'cloud' is not installed")
    options = {"account_name": "me", "account_key": "a2V5", "listing_order": "folders"}
    azure = pickle.loads(pickle.dumps(open_objects("az://container/prefix", options)))
    assert azure.url == "az://container/prefix"
    assert azure._folder_order


@pytest.mark.parametrize("method", ["spawn", pytest.param("fork", marks=needs_fork)])
def test_pools_of_processes(tmp_path, method):
    """Workers read and write with the handles that they are given, and their errors come back as what they are."""
    code = f"""
        def total(given):
            lib, version, number = given
            own = lib.sql("SELECT sum(v) FROM s").fetchall()[0][0]
            lib.write(f"of_{{number}}", pd.DataFrame({{"n": [number]}}))
            return int(lib.read("s").data.v.sum()), int(own), version.row_count

        def failing(lib):
            return lib.sql("SELECT nothing FROM s").fetchall()

        if __name__ == "__main__":
            lib = vs.open(URL).create_library("eod")
            lib.write("s", pd.DataFrame({{"v": range(100)}}))
            assert lib.sql("SELECT count(*) FROM s").fetchall() == [(100,)]
            context = multiprocessing.get_context({method!r})
            work = [(lib, lib["s"], number) for number in range(4)]
            with ProcessPoolExecutor(2, mp_context=context) as pool:
                print(list(pool.map(total, work, timeout=100)) == [(4950, 4950, 100)] * 4)
                print([len(found.data) for found in pool.map(lib.read, ["s", "of_1"], timeout=100)] == [100, 1])
                try:
                    pool.submit(failing, lib).result(100)
                except vs.SqlError as error:
                    print(error.offset == 7 and "nothing" in str(error))
            if {method!r} == "fork":
                with context.Pool(2) as pool:
                    print(pool.map_async(total, work).get(100) == [(4950, 4950, 100)] * 4)
            print(lib.list_symbols() == ["of_0", "of_1", "of_2", "of_3", "s"])
    """
    assert set(run(tmp_path, code)) == {"True"}


# -- forks ------------------------------------------------------------------------------------------------------------

FORKING = """
lib = vs.open(URL).create_library("eod")
lib.write("s", pd.DataFrame({"v": range(400_000)}))
lib.write("small", pd.DataFrame({"v": range(4)}))
settled = lib.sql("SELECT 7 AS x")
settled.df()
lib.sql("CREATE TEMP TABLE mine AS SELECT 1")
lib.sql("CREATE VIEW seen AS SELECT count(*) AS n FROM small")
sandbox = lib.connect(sandbox=True)
sandbox.execute("SELECT count(*) FROM s").fetchall()
lib.sql("SELECT sum(v) FROM small WHERE v > 2").fetchall()
pending = lib.sql("FROM s")
first = next(pending.batches())

def forked(action):
    pid = os.fork()
    if pid == 0:
        signal.alarm(40)
        try:
            action()
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(3)
        sys.exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""

IN_A_CHILD = """
def reads(): assert len(lib.read("small").data) == 4
def reads_where(): assert len(lib.read("s", where="v >= 399_990").data) == 10
def selects(): assert lib.sql("SELECT sum(v) FROM small").fetchall() == [(6,)]
def uses_a_view(): assert lib.sql("FROM seen").fetchall() == [(4,)]
def has_what_was_fetched(): assert settled.fetchall() == [(7,)]
def is_in_a_sandbox(): assert sandbox.execute("SELECT count(*) FROM small").fetchall() == [(4,)]
def closes(): sandbox.close(); lib.session.interrupt(); lib.session.close()
def drops(): globals().update(pending=None, settled=None, lib=None, sandbox=None)
def is_told_whose_rows_they_are():
    try:
        pending.fetchall()
    except vs.DuckVStoreError as error:
        assert "when this process was forked" in str(error), error
        return
    raise AssertionError("these rows cannot be had")
def has_tables_of_its_own():
    try:
        lib.sql("FROM mine")
    except vs.SqlError:
        return
    raise AssertionError("a temporary table is of the process that made it")
def writes():
    lib.write("new", pd.DataFrame({"v": [1]}))
    lib.sql("INSERT INTO new VALUES (2)")
def does_nothing(): pass

for action in (reads, reads_where, selects, uses_a_view, has_what_was_fetched, is_in_a_sandbox, closes, drops,
               is_told_whose_rows_they_are, has_tables_of_its_own, writes, does_nothing):
    code = forked(action)
    if code:
        print(action.__name__, code)
"""


@needs_fork
def test_a_forked_child_exits_after_its_parent_ran_sql(tmp_path):
    """DuckDB's threads do not survive a fork: a child neither waits for them nor ends in a crash, whatever it did.

    Rows that are still to come stay the parent's, which goes on reading them, and so do its temporary tables.
    """
    code = f"{FORKING}\n{IN_A_CHILD}\nprint(pending.arrow().num_rows, lib.read('new').data.v.tolist() == [1, 2])"
    code += "\nprint(sandbox.execute('SELECT count(*) FROM s').fetchall(), lib.sql('FROM mine').fetchall())"
    assert run(tmp_path, code) == ["400000", "True", "[(400000,)]", "[(1,)]"]


@needs_fork
def test_a_fork_while_other_threads_run_sql(tmp_path):
    """Their locks and cursors are not the child's: it runs statements of its own, and the parent's threads go on."""
    code = """
        lib = vs.open(URL).create_library("eod")
        lib.write("s", pd.DataFrame({"v": range(30_000)}))
        lib.sql("SELECT sum(v) FROM s").fetchall()  # what is imported at first use is
        lib.read("s")
        done, counts = threading.Event(), []

        def busy():
            while not done.is_set():
                counts.append(lib.sql("SELECT sum(a.v * b.v) FROM s a JOIN s b USING (v)").fetchall()[0][0])

        threads = [threading.Thread(target=busy, daemon=True) for _ in range(3)]
        for thread in threads:
            thread.start()
        for number in range(4):
            pid = os.fork()
            if pid == 0:
                signal.alarm(40)
                assert lib.sql("SELECT count(*) FROM s").fetchall() == [(30_000,)]
                assert len(lib.read("s").data) == 30_000
                sys.exit(0)
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        done.set()
        for thread in threads:
            thread.join(20)
        print(len(set(counts)))
    """
    assert run(tmp_path, code) == ["0", "0", "0", "0", "1"]


@needs_fork
def test_a_transaction_of_the_parent_is_not_the_childs(tmp_path):
    """What the parent has begun is seen and committed by the parent alone."""
    code = f"""{FORKING}
lib.sql("BEGIN")
lib.sql("INSERT INTO small VALUES (10)")
def action():
    assert not lib.session.in_transaction
    assert lib.sql("SELECT count(*) FROM small").fetchall() == [(4,)]
print(forked(action))
lib.sql("COMMIT")
print(lib.sql("SELECT count(*) FROM small").fetchall() == [(5,)])
"""
    assert run(tmp_path, code) == ["0", "True"]
