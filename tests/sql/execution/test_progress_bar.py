"""Long statements show a bar where somebody looks: on stderr, gone at the end, and nowhere else."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import termios
import threading
from contextlib import suppress

import pandas as pd
import pytest

import duckvstore as vs
from duckvstore.objects.memory import MemoryObjects
from duckvstore.sql.execution import progress_bar

CODE = """
import sys
import pandas as pd
import duckvstore as vs
from duckvstore.sql.execution import progress_bar as bar

bar.DELAY_SECONDS = 0.2
lib = vs.open(sys.argv[1]).create_library("eod")
lib.write("numbers", pd.DataFrame({"x": range(1_000_000)}))
try:
    lib.sql("SET threads = 1")
    text = f"SELECT count(*) FROM numbers, range({sys.argv[2]}) r(i) WHERE md5((x + i)::VARCHAR) > 'g'"
    rows = lib.sql(text).fetchall()
    print(rows)
except KeyboardInterrupt:
    print("stopped", lib.sql("SELECT 42").fetchall())
"""


def arguments(folder, repeats):
    return [sys.executable, "-c", CODE, folder.as_uri(), str(repeats)]


def environment():
    return {name: value for name, value in os.environ.items() if name != "DUCKVSTORE_PROGRESS"}


def in_terminal(folder, repeats, until=None):
    """Run CODE with stderr on a terminal; return what it wrote there and on stdout. Ctrl-C after ``until``."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    written = b""
    child = subprocess.Popen(
        arguments(folder, repeats), stdout=subprocess.PIPE, stderr=theirs, env=environment(), text=True
    )
    os.close(theirs)
    overdue = threading.Timer(120, child.kill)  # and what it wrote is in the failure
    overdue.start()
    with child:
        with suppress(OSError):  # Linux says so at the end of what is on a terminal
            while part := os.read(ours, 65536):
                written += part
                if until is not None and until in written:
                    child.send_signal(signal.SIGINT)
                    until = None
        printed = child.stdout.read()
    overdue.cancel()
    os.close(ours)
    assert child.returncode == 0, written.decode()
    return written.decode(), printed


def screen(written):
    """Return what is left to see of text with carriage returns."""
    seen = []
    for line in written.split("\n"):
        cells = ""
        for part in line.split("\r"):
            cells = part + cells[len(part) :]
        seen.append(cells.rstrip())
    return "\n".join(seen).strip()


def test_a_long_statement_shows_a_bar_in_a_terminal(tmp_path):
    """With a percentage, or with seconds while DuckDB does not know one; only on stderr; gone at the end."""
    written, printed = in_terminal(tmp_path, 4)
    assert "running SQL: " in written
    assert "%" in written or "00:0" in written
    assert screen(written) == ""
    assert printed == "[(0,)]\n"


def test_ctrl_c_stops_a_statement_with_a_bar(tmp_path):
    """At once, and the bar is gone."""
    written, printed = in_terminal(tmp_path, 100_000, until=b"running SQL: ")
    assert screen(written).strip("^C") == ""
    assert printed == "stopped [(42,)]\n"


def test_redirected_output_stays_empty(tmp_path):
    """Nobody looks at a job."""
    done = subprocess.run(
        arguments(tmp_path, 4), capture_output=True, text=True, env=environment(), timeout=120, check=False
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "[(0,)]\n")


@pytest.fixture
def watched(monkeypatch):
    """A library of a session that somebody looks at, where every statement is a long one."""
    monkeypatch.setenv("DUCKVSTORE_PROGRESS", "1")
    monkeypatch.setattr(progress_bar, "DELAY_SECONDS", 0)
    return vs.Store(MemoryObjects("bars")).create_library("eod")


LONG = "SELECT i, md5(i::VARCHAR) AS m FROM range(500_000) r(i)"


@pytest.mark.parametrize("form", ["arrow", "df", "fetchall", "__repr__", "dbapi"])
def test_all_batches_of_a_result_have_one_bar(watched, capsys, form):
    """And not one each, which would flicker."""
    result = watched.connect().execute(LONG) if form == "dbapi" else watched.sql(LONG)
    capsys.readouterr()
    getattr(result, "fetchall" if form == "dbapi" else form)()
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("running SQL: ") >= 1
    blank, *_ = (part for part in reversed(shown.err.split("\r")) if part)
    assert blank.isspace()
    assert shown.err.count(f"\r{blank}\r") == 1


def test_a_failed_statement_leaves_no_bar(watched, capsys):
    """Its error stands alone."""
    with pytest.raises(vs.SqlError):
        watched.sql("SELECT error('no') FROM range(10)").arrow()
    shown = capsys.readouterr()
    assert "running SQL: " in shown.err
    assert screen(shown.err) == ""


def test_other_threads_and_sandboxes_show_none(watched, capsys):
    """Several at a time would mix, and who serves others does not look."""
    thread = threading.Thread(target=lambda: watched.sql(LONG).arrow())
    thread.start()
    thread.join()
    with watched.connect(sandbox=True) as connection:
        assert len(connection.execute("SELECT 1").fetchall()) == 1
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("statement", "is_on", "prints"),
    [
        ("SET enable_progress_bar = true", True, True),
        ("PRAGMA enable_progress_bar", True, True),
        ("/* quiet */ SET SESSION enable_progress_bar = false", False, True),
        ("PRAGMA disable_progress_bar", False, True),
        ("SET enable_progress_bar_print = false", False, False),
    ],
)
def test_who_sets_duckdbs_own_bar_has_that_and_not_ours(watched, capsys, statement, is_on, prints):
    """As DuckDB documents it, from then on."""
    watched.sql(statement)
    capsys.readouterr()
    names = ["enable_progress_bar", "enable_progress_bar_print"]
    settings = watched.sql("SELECT current_setting($1), current_setting($2)", names).fetchall()
    assert settings == [(is_on, prints)]
    assert capsys.readouterr().err == ""


def test_other_settings_leave_the_bar(watched, capsys):
    """Among them when DuckDB's own would appear."""
    watched.sql("SET progress_bar_time = 100")
    capsys.readouterr()
    watched.sql("SELECT 1").arrow()
    assert "running SQL: " in capsys.readouterr().err


def test_a_bar_can_be_turned_off_in_a_running_session(watched, capsys, monkeypatch):
    """As those of reads and writes can."""
    monkeypatch.setenv("DUCKVSTORE_PROGRESS", "0")
    watched.sql("SELECT 1").arrow()
    assert capsys.readouterr().err == ""


def test_a_write_by_sql_shows_one(watched, capsys):
    """Which runs in DuckDB before anything is stored."""
    watched.write("trades", pd.DataFrame({"x": range(10)}))
    capsys.readouterr()
    watched.sql("UPDATE trades SET x = x + 1")
    assert "running SQL: " in capsys.readouterr().err
