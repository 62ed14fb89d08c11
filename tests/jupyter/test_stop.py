"""The stop button, a SIGINT: KeyboardInterrupt within a second, on each release of DuckDB, in every form of output."""

from __future__ import annotations

import os
import re
import signal
import threading
import time

import pytest

from tests.jupyter.test_tracebacks import ANSI, OURS
from tests.sizes import IS_FULL

AFTER_SECONDS = 0.4
ANSWERED_SECONDS_MAX = 5.0  # within one where nothing else runs; what is stopped would take minutes
PULLED = "SELECT n, n::VARCHAR AS t FROM range(1000000000000) r(n)"
COMPUTED = "SELECT count(*) FROM range(9999999) a, range(9999999) b WHERE a.range + b.range < -1"
SORTED = "SELECT hash(n) AS h FROM range(400000000) r(n) ORDER BY h"
CELLS = [
    "%%vstore\n{}",
    "%%vstore frame <<\n{}",
    "%%vstore -o frame -t polars\n{}",
    "%%vstore -o frame -t arrow\n{}",
    "frame = %vstore {}",
    "lib.sql('''{}''').df()",
    "lib.sql('''{}''').pl()",
    "lib.sql('''{}''').arrow()",
    "lib.sql('''{}''').fetchall()",
    "lib.sql('''{}''')",
    "print(lib.sql('''{}'''))",
    "lib.sql('''{}''').reader().read_all()",
    "lib.write('made', lib.sql('''{}'''))",
    "lib.sql('''CREATE TABLE made AS {}''')",
    "found = lib.sql('''{}''')\nlib.sql('SELECT count(*) FROM found').df()",
]
# Of endless rows these show the first ones, and end.
SHOWING = ("lib.sql('''{}''')", "print(lib.sql('''{}'''))")
SQL = (PULLED, COMPUTED, SORTED)
CASES = [
    (cell, sql)
    for number, cell in enumerate(CELLS)
    for sql in (SQL if IS_FULL else SQL[number % 3 : number % 3 + 1])
    if sql != PULLED or cell not in SHOWING
]


def stopped(shell, cell: str) -> str:
    """Run a cell, stop it, and return what it printed; it was stopped in time, and the next query runs."""
    told = []

    def stop():
        told.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)

    timer = threading.Timer(AFTER_SECONDS, stop)
    timer.start()
    outcome = shell.run(cell)
    seconds = time.monotonic() - told[0] if told else None
    timer.cancel()
    timer.join()
    assert type(outcome.error) is KeyboardInterrupt, repr(outcome.error)
    assert seconds is not None
    assert seconds < ANSWERED_SECONDS_MAX
    assert shell.run("%vstore SELECT 1").error is None
    assert "made" not in shell.user_ns["lib"].list_symbols()
    return ANSI.sub("", outcome.printed)


@pytest.mark.parametrize(("cell", "sql"), CASES)
def test_stop_is_a_keyboard_interrupt_in_every_form(connected, cell, sql):
    """Nothing of this package is shown, and little else; nothing is stored."""
    printed = stopped(connected, cell.format(sql))
    assert re.search(r"^KeyboardInterrupt:?\s*$", printed, re.MULTILINE)
    assert not OURS.search(printed)
    assert len(printed) < 1500
