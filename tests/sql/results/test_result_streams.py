"""Results as streams: whole, however many there are on one connection and whichever threads pull them."""

from __future__ import annotations

import gc
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import duckdb
import pyarrow as pa
import pytest

import duckvstore as vs
from duckvstore.errors import DuckVStoreError, SqlError
from duckvstore.sql.results.result import Result, Rows

ROWS = 1_000_000
SLOW = "SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE a.range * b.range % 7 = 3"


@pytest.fixture
def lib(tmp_path):
    library = vs.open(tmp_path / "store", {"fsync": False}).create_library("lib")
    library.write("trades", pa.table({"n": range(1000)}))
    yield library
    library.session.close()


@pytest.mark.parametrize("how", ["dropped", "closed", "dropped before a statement"])
def test_a_stream_survives_that_another_result_is_given_up(lib, how):
    """What the other one held is given back when no rows are on their way, since that would end them."""
    frame = pa.table({"a": [1, 2]})  # noqa: F841 - named in the query
    other = lib.sql("FROM frame")
    batches = lib.sql(f"SELECT range AS a FROM range({ROWS})").batches()
    found = next(batches).num_rows
    if how == "closed":
        other.close()
    del other
    gc.collect()
    if how == "dropped before a statement":
        assert lib.sql("SELECT 1").fetchall() == [(1,)]
    assert found + sum(batch.num_rows for batch in batches) == ROWS
    assert lib.sql("SELECT 1").fetchall() == [(1,)]
    left = lib.session._threads.current().cursor.sql("SELECT view_name FROM duckdb_views() WHERE NOT internal")
    assert left.fetchall() == [], "the frame was given back in the end"


def test_many_threads_pull_one_result(lib):
    """Each sees all rows, in any form."""
    result = lib.sql(f"SELECT range AS n FROM range({ROWS // 4})")
    forms = [
        lambda: result.arrow().num_rows,
        lambda: sum(batch.num_rows for batch in result.batches()),
        lambda: len(result.df()),
        lambda: pa.table(result).num_rows,
        lambda: len(result.fetchall()),
    ]
    with ThreadPoolExecutor(5) as pool:
        assert list(pool.map(lambda form: form(), forms * 2)) == [ROWS // 4] * 10
    rows = lib.sql("SELECT range FROM range(20000)")
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda _: list(iter(rows.fetchone, None)), range(4)))
    assert sorted(row[0] for part in parts for row in part) == list(range(20000))


def test_results_are_pulled_elsewhere_while_their_thread_goes_on(lib):
    """Statements that change something wait for the rows, and nobody waits for ever."""

    def pull(result):
        return result.arrow().num_rows

    with ThreadPoolExecutor(3) as pool:
        for number in range(20):
            pulled = [pool.submit(pull, lib.sql("SELECT range FROM range(50000)")) for _ in range(3)]
            lib.sql(f"CREATE OR REPLACE TEMP TABLE t AS SELECT {number} AS a")
            assert [future.result(60) for future in pulled] == [50000] * 3


def test_starting_and_settling_take_their_locks_in_one_order():
    """A thread that starts a result does not hold it while it waits for the statement that settles it."""
    lock, settling = threading.RLock(), threading.Event()
    batches = iter([pa.record_batch({"a": [1]})])

    def schema():
        with lock:
            return pa.schema([("a", pa.int64())])

    result = Result(Rows(["a"], ["BIGINT"], schema, lambda: next(batches, None), lambda: None, lock))

    def statement():
        with lock:
            settling.set()
            threading.Event().wait(0.2)
            result.settle()

    first = threading.Thread(target=statement, daemon=True)
    first.start()
    settling.wait(10)
    second = threading.Thread(target=result.arrow, daemon=True)
    second.start()
    first.join(20)
    second.join(20)
    assert not first.is_alive()
    assert not second.is_alive()
    assert result.fetchall() == [(1,)]


@pytest.mark.parametrize("form", ["fetchall", "stream"])
def test_a_session_is_interrupted_from_another_thread(lib, form):
    """Every statement that runs ends with an error, once, and the session goes on."""
    outcomes = []

    def work():
        try:
            result = lib.sql(SLOW)
            outcomes.append(result.fetchall() if form == "fetchall" else pa.table(result))
        except Exception as error:
            outcomes.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    for _ in range(100):
        thread.join(0.1)
        if not thread.is_alive():
            break
        lib.session.interrupt()
    assert "interrupted" in str(outcomes[0])
    assert isinstance(outcomes[0], (DuckVStoreError, pa.ArrowException))
    assert lib.sql("SELECT count(*) FROM trades").fetchall() == [(1000,)]


def test_an_interrupt_while_a_stream_is_consumed_ends_it(lib):
    """Ctrl-C, in our own iterator and in pyarrow's; afterwards the result says that it was interrupted."""
    for consume in (lambda result: list(result.batches()), pa.table):
        result = lib.sql(SLOW)
        timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        try:
            with pytest.raises((KeyboardInterrupt, pa.ArrowException, OSError)):
                consume(result)
        finally:
            timer.join()
        with pytest.raises(DuckVStoreError, match="interrupted: run it again"):
            result.df()
    assert lib.sql("SELECT count(*) FROM trades").fetchall() == [(1000,)]


def test_a_reader_raises_the_errors_of_this_package(lib):
    """In the middle of the rows, as every form does, and not those of Arrow."""
    sql = "SELECT (CASE WHEN range = 900000 THEN 'x' ELSE '1' END)::INT AS n FROM range(1000000)"
    result = lib.sql(sql)
    reader = result.reader()
    assert reader.schema == result.schema == pa.schema([("n", pa.int32())])
    with pytest.raises(SqlError, match="Could not convert string 'x'"):
        for _ in reader:
            pass
    with pytest.raises(SqlError, match="Could not convert string 'x'"):
        result.reader().read_all()


def test_a_result_streams_into_duckdb_itself(lib):
    """Another DuckDB scans it, in threads of its own, while ours is giving it."""
    result = lib.sql(f"SELECT n, r.range AS r FROM trades, range({ROWS // 1000}) r")  # noqa: F841 - named in the query
    assert duckdb.connect().sql("SELECT count(*), sum(n) FROM result").fetchall() == [(ROWS, 499500 * (ROWS // 1000))]
