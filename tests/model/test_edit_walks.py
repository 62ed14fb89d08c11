"""Every edit with a fault at each of its requests: all of it happened or nothing, and gc removes the leftovers."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

import duckvstore as vs
from duckvstore import clock
from duckvstore.errors import DuckVStoreError
from duckvstore.objects.memory import MemoryObjects
from duckvstore.testing.faulty import Fault, FaultyObjects, SimulatedCrash
from tests.cuts import cut_every
from tests.model.test_fault_walks import FAULTS, METHODS_HIT
from tests.sizes import step


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch):
    """Retries need not wait, and segments are small so that an edit touches a few of several."""
    monkeypatch.setattr(clock, "sleep", lambda seconds: None)
    cut_every(monkeypatch, 20)


def frame(rows: int, start: str, seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    index = pd.date_range(start, periods=rows, freq="h", name="time")
    return pd.DataFrame({"price": random.normal(size=rows), "qty": random.integers(0, 9, rows)}, index=index)


FIRST = frame(60, "2026-01-01", 0)
MORE = frame(15, "2026-02-01", 1)
INSIDE = frame(5, "2026-01-01 22:00", 2)
_prepared: dict[str, bytes] = {}


def prepared() -> MemoryObjects:
    """A library with a symbol, and a part staged for it."""
    objects = MemoryObjects("walk")
    if not _prepared:
        lib = vs.Store(objects).create_library("eod")
        lib.write("ticks", FIRST, metadata={"n": 1})
        lib.stage("ticks", MORE)
        _prepared.update(objects._objects)
    objects._objects.update(_prepared)
    return objects


def without(frame: pd.DataFrame, low: str, high: str) -> pd.DataFrame:
    return frame[(frame.index < low) | (frame.index > high)]


def rows(times: list[str], price: list[float], qty: list[int]) -> pd.DataFrame:
    return pd.DataFrame({"price": price, "qty": qty}, index=pd.DatetimeIndex(times, name="time").as_unit("us"))


def in_sql(statement: str):
    def run(lib):
        try:
            lib.sql(statement)
        finally:
            lib.session.close()

    return run


LATE = FIRST.index >= pd.Timestamp("2026-01-03 06:00")
EDITS = {
    "append": (lambda lib: lib.append("ticks", MORE), lambda: pd.concat([FIRST, MORE])),
    "update": (
        lambda lib: lib.update("ticks", INSIDE),
        lambda: pd.concat([FIRST[FIRST.index < INSIDE.index[0]], INSIDE, FIRST[FIRST.index > INSIDE.index[-1]]]),
    ),
    "delete_rows": (lambda lib: lib.delete_rows("ticks", "qty > 4"), lambda: FIRST[FIRST["qty"] <= 4]),
    "delete_data_in_range": (
        lambda lib: lib.delete_data_in_range("ticks", ("2026-01-02", "2026-01-02 12:00")),
        lambda: without(FIRST, "2026-01-02", "2026-01-02 12:00"),
    ),
    "finalize": (lambda lib: lib.finalize_staged_data("ticks", mode="append"), lambda: pd.concat([FIRST, MORE])),
    "write shared": (lambda lib: lib.write("ticks", FIRST), lambda: FIRST),
    "write and prune": (lambda lib: lib.write("ticks", MORE, prune_previous_versions=True), lambda: MORE),
    "SQL insert": (
        in_sql("INSERT INTO ticks VALUES ('2026-01-02 12:30', 5.0, 5), ('2026-02-01', 6.0, 6)"),
        lambda: pd.concat([FIRST, rows(["2026-01-02 12:30", "2026-02-01"], [5.0, 6.0], [5, 6])]).sort_index(),
    ),
    "SQL update": (
        in_sql("UPDATE ticks SET price = 1.5, qty = qty + 1 WHERE time >= '2026-01-03 06:00'"),
        lambda: FIRST.assign(price=FIRST["price"].where(~LATE, 1.5), qty=FIRST["qty"] + LATE),
    ),
    "SQL delete": (in_sql("DELETE FROM ticks WHERE qty > 4"), lambda: FIRST[FIRST["qty"] <= 4]),
    "SQL merge": (
        in_sql(
            "MERGE INTO ticks USING (SELECT TIMESTAMP '2026-01-01' AS time) s USING (time) "
            "WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (time) VALUES (s.time)"
        ),
        lambda: FIRST.iloc[1:],
    ),
}


def requests_of(operation) -> dict[str, int]:
    lib = vs.Store(objects := FaultyObjects(prepared())).get_library("eod")
    objects.requests.clear()
    operation(lib)
    counts: dict[str, int] = {}
    for request in objects.requests:
        counts[request.method] = counts.get(request.method, 0) + 1
    return counts


def walk(operation):
    for method, count in requests_of(operation).items():
        for number in range(1, count + 1):
            for kind, repeat in FAULTS[number % step(1) :: step(1)]:
                if method not in METHODS_HIT.get((kind, repeat), (method,)):
                    continue
                lib = vs.Store(faulty := FaultyObjects(prepared())).get_library("eod")
                faulty._numbers.clear()
                faulty.faults = (Fault(kind, number, method, repeat),)
                failure = None
                try:
                    operation(lib)
                except (SimulatedCrash, DuckVStoreError) as error:
                    failure = error
                yield f"{kind} at {method} {number}, {repeat} times", faulty.inner, failure


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_with_a_fault_at_any_request_is_whole_or_absent(name):
    """What was there stays, what was made is right, the next edit works, and gc leaves exactly what is referred to."""
    operation, expected = EDITS[name]
    walked = 0
    for where, inner, failure in walk(operation):
        lib = vs.Store(inner).get_library("eod")
        numbers = sorted(pair.version for pair in lib.list_versions("ticks"))
        made = 1 in numbers
        if not made or name != "write and prune":
            assert_frame_equal(lib.read("ticks", as_of=0).data, FIRST, check_freq=False)
            assert lib.read_metadata("ticks", as_of=0).metadata == {"n": 1}
        if made:
            assert_frame_equal(lib.read("ticks").data, expected(), check_freq=False)
        if failure is None:
            assert made, where
        elif not isinstance(failure, (SimulatedCrash, vs.OutcomeUnknown)) and name not in (
            "finalize",
            "write and prune",
        ):
            assert not made, f"{where}: {failure!r} says that nothing happened"
        after = frame(3, "2027-01-01", 7)
        lib.append("ticks", after)
        wanted = pd.concat([expected() if made else FIRST, after])
        assert_frame_equal(lib.read("ticks").data, wanted, check_freq=False)
        if name == "finalize":  # the part is published once, however often the call is repeated
            if "ticks" in lib.get_staged_symbols() and made:
                assert lib.finalize_staged_data("ticks", mode="append").row_count == len(wanted), where
            lib.delete_staged_data("ticks")
        lib.gc(grace=timedelta(0), dry_run=False)
        report = vs.Store(inner).get_library("eod").verify()
        assert report.ok, where
        assert not report.orphans, where
        assert_frame_equal(vs.Store(inner).get_library("eod").read("ticks").data, wanted, check_freq=False)
        walked += 1
    assert walked > 20 / step(1)
