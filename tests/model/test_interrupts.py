"""Ctrl-C and progress: an interrupted call leaves nothing half visible, and bars appear only where somebody looks."""

from __future__ import annotations

import subprocess
import sys
import threading
from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

import duckvstore as vs
from duckvstore.engine import segments
from duckvstore.objects.memory import MemoryObjects
from duckvstore.testing.faulty import FaultyObjects
from tests.cuts import cut_every


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
    """No thread goes on reading."""
    cut_every(monkeypatch, 20)
    inner = MemoryObjects("interrupted")
    vs.Store(inner).create_library("eod").write("trades", frame())
    count = len(threading.enumerate())

    def interrupted(*_):
        raise KeyboardInterrupt

    lib = vs.Store(inner).get_library("eod")
    monkeypatch.setattr(segments, "fetch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        lib.read("trades")
    lib.open_library.close()
    assert len(threading.enumerate()) <= count
    monkeypatch.undo()
    assert_frame_equal(lib.read("trades").data, frame(), check_freq=False)


CODE = """
import sys, time
import pandas as pd
import duckvstore as vs
from duckvstore import progress
from duckvstore.engine import segments
from tests.cuts import cut_every

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
