"""Many processes run SQL that writes, on a real S3 server, with lost answers: each statement counts exactly once."""

from __future__ import annotations

import threading

import pytest

import duckvstore as vs
from duckvstore.testing.faulty import Fault, FaultyObjects
from tests.model.test_races import run
from tests.sizes import IS_FULL

PROCESSES = 4
ROUNDS = 40 if IS_FULL else 4
TOTAL = 1000
MERGE = """
    MERGE INTO best USING (SELECT $1 AS writer, $2 AS score) new USING (writer)
    WHEN MATCHED AND new.score > best.score THEN UPDATE WHEN NOT MATCHED THEN INSERT"""


def opened(url, options, faults=()):
    """Open the library with faults in this process's requests."""
    objects = FaultyObjects(vs.open(url, options).objects)
    lib = vs.Store(objects).get_library("race")
    objects._numbers.clear()
    objects.faults = faults
    return lib


def until_done(lib, statements: str) -> None:
    """Run a transaction until no other writer was first."""
    while True:
        try:
            lib.sql(statements)
        except vs.Conflict:
            continue
        return


def change_many(url, options, writer, barrier, faults):
    """Count, log and move money: a statement of each kind in every round, then a transaction over two symbols."""
    lib = opened(url, options, faults)
    barrier.wait(60)
    for number in range(ROUNDS):
        lib.sql("UPDATE counters SET n = n + 1 WHERE id = ?", [number % 2])
        lib.sql("INSERT INTO log VALUES ($writer, $number)", {"writer": writer, "number": number})
        lib.sql(MERGE, [writer, number])
        lib.sql("DELETE FROM jobs WHERE id = ?", [writer * 1000 + number])
        amount = number + 1
        until_done(
            lib, f"BEGIN; UPDATE one SET amount = amount - {amount}; UPDATE two SET amount = amount + {amount}; COMMIT"
        )
    lib.session.close()


@pytest.mark.timeout(280)
@pytest.mark.parametrize(
    "faults",
    [(), tuple(Fault("drop_response", k, "create") for k in range(3, 90, 7))],
    ids=["no faults", "lost answers"],
)
def test_processes_that_write_in_sql_lose_nothing(s3_bucket, faults):
    """An auditor sees the same total whenever it looks; at the end each statement has counted once."""
    url, options = s3_bucket.url, s3_bucket.storage_options
    lib = vs.open(url, options).create_library("race")
    lib.sql(f"""
        CREATE TABLE counters AS SELECT range AS id, 0 AS n FROM range(2);
        CREATE TABLE log (writer INTEGER, number INTEGER);
        CREATE TABLE best (writer INTEGER, score INTEGER);
        CREATE TABLE jobs AS SELECT w.range * 1000 + k.range AS id FROM range({PROCESSES}) w, range(1000) k;
        CREATE TABLE one AS SELECT {TOTAL} AS amount;
        CREATE TABLE two AS SELECT 0 AS amount
    """)
    totals, stop = [], threading.Event()

    def audit() -> None:
        reader = vs.open(url, options).get_library("race")
        while not stop.is_set():
            totals.extend(reader.sql("SELECT one.amount + two.amount FROM one, two").fetchall())
        reader.session.close()

    auditor = threading.Thread(target=audit)
    auditor.start()

    def targets(context):
        barrier = context.Barrier(PROCESSES)
        return [(change_many, (url, options, writer, barrier, faults)) for writer in range(PROCESSES)]

    try:
        run(targets)
    finally:
        stop.set()
        auditor.join()
    assert set(totals) == {(TOTAL,)}
    everything = PROCESSES * ROUNDS
    assert lib.sql("SELECT n FROM counters ORDER BY id").fetchall() == [(everything / 2,), (everything / 2,)]
    expected = [(writer, number) for writer in range(PROCESSES) for number in range(ROUNDS)]
    assert lib.sql("FROM log ORDER BY ALL").fetchall() == expected
    assert lib.sql("FROM best ORDER BY ALL").fetchall() == [(writer, ROUNDS - 1) for writer in range(PROCESSES)]
    assert lib.sql("SELECT count(*) FROM jobs").fetchall() == [(PROCESSES * 1000 - everything,)]
    moved = PROCESSES * ROUNDS * (ROUNDS + 1) // 2
    assert lib.sql("SELECT one.amount, two.amount FROM one, two").fetchall() == [(TOTAL - moved, moved)]
    made = lib.sql("SELECT symbol, count(*) - 1 FROM vstore.versions GROUP BY symbol ORDER BY symbol").fetchall()
    assert dict(made) == dict.fromkeys(("counters", "jobs", "log", "one", "two"), everything) | {"best": everything}
    lib.session.close()
