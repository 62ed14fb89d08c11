"""Long lists of labels with a fault, or with another's work, at each request: no version ever lacks its labels."""

from __future__ import annotations

from datetime import timedelta

import pandas as pd
import pytest

import duckvstore as vs
from duckvstore import clock
from duckvstore.engine.maintenance import prune
from duckvstore.engine.maintenance.collect import collect
from duckvstore.errors import Conflict, DuckVStoreError
from duckvstore.format.stored import label_runs
from duckvstore.objects.memory import MemoryObjects
from duckvstore.testing.faulty import FaultyObjects, SimulatedCrash
from tests.model import test_fault_walks as walks
from tests.model.test_fault_walks import FAULTS, METHODS_HIT
from tests.sizes import step
from tests.upkeep import LONGER, keys, move_time

OLD = [f"old-{number:03d}" for number in range(60)]
NEW = [f"new-{number:03d}" for number in range(60)]
ENUM = ", ".join(f"'{label}'" for label in OLD)


@pytest.fixture(autouse=True)
def _short_runs(monkeypatch):
    """Sixty labels are many."""
    monkeypatch.setattr(clock, "sleep", lambda seconds: None)
    monkeypatch.setattr(label_runs, "INLINE_BYTES_MAX", 200)


def orders(labels) -> pd.DataFrame:
    return pd.DataFrame({"order": pd.Categorical(labels)})


def prepared() -> MemoryObjects:
    objects = MemoryObjects("walk")
    lib = vs.Store(objects).create_library("eod")
    lib.write("s", orders(OLD))
    lib.append("s", orders(["one"]))
    lib.write("t", orders(NEW[:40]))
    lib.stage("s", orders([*NEW, "last"]))
    return objects


def in_sql(lib) -> None:
    lib.sql(f"CREATE TABLE u AS SELECT 'old-007'::ENUM({ENUM}) AS e")
    lib.session.close()


def in_a_transaction(lib) -> None:
    with lib.transaction() as tx:
        tx.append("s", orders(NEW))
        tx.append("t", orders(["a", "b"]))


def write_again(lib) -> None:
    lib.write("s", orders(OLD))


BEFORE = [*OLD, "one"]
OPERATIONS = {
    "append old": (lambda lib: lib.append("s", orders(OLD[:2])), [*BEFORE, *OLD[:2]]),
    "append new": (lambda lib: lib.append("s", orders(NEW)), [*BEFORE, *NEW]),
    "write": (write_again, OLD),
    "restore": (lambda lib: lib.restore_version("s", 0), OLD),
    "finalize": (lambda lib: lib.finalize_staged_data("s", mode="append"), [*BEFORE, *NEW, "last"]),
    "transaction": (in_a_transaction, [*BEFORE, *NEW]),
    "sql": (in_sql, BEFORE),
    "stage": (lambda lib: lib.stage("t", orders(OLD)), BEFORE),
}


def check_whole(objects, expected, where) -> None:
    """Read every version there is, before and after a collection, and have nothing left over."""
    lib = vs.Store(objects).get_library("eod")
    for symbol, number in lib.list_versions():
        found = lib.read(symbol, as_of=number).data
        assert len(found) > 0, where
    assert lib.read("s").data["order"].tolist() in (BEFORE, expected), where
    assert lib.read("s", as_of=0).data["order"].cat.categories.tolist() == OLD, where
    collect(lib.open_library, grace=timedelta(0), dry_run=False)
    again = vs.Store(objects).get_library("eod")
    report = again.verify()
    assert report.ok, (where, report.problems)
    assert not report.orphans, where
    assert again.read("s").data["order"].tolist() in (BEFORE, expected), where


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_fault_at_any_request_leaves_every_version_with_its_labels(monkeypatch, name):
    """A crash, a lost answer and a refusal, before and after a run was put."""
    monkeypatch.setattr(walks, "prepared", prepared)
    operation, expected = OPERATIONS[name]
    walked = 0
    for method, count in walks.requests_of(operation, lambda store: store.get_library("eod")).items():
        for number in range(1, count + 1):
            for kind, repeat in FAULTS[number % step(1) :: step(1)]:
                if method not in METHODS_HIT.get((kind, repeat), (method,)):
                    continue
                lib = vs.Store(faulty := FaultyObjects(prepared())).get_library("eod")
                faulty._numbers.clear()
                faulty.faults = (walks.Fault(kind, number, method, repeat),)
                where = f"{name}: {kind} at {method} {number}, {repeat} times"
                try:
                    operation(lib)
                except (SimulatedCrash, DuckVStoreError):
                    pass
                else:
                    assert vs.Store(faulty.inner).get_library("eod").read("s").data["order"].tolist() == expected
                check_whole(faulty.inner, expected, where)
                walked += 1
    assert walked > 20 / step(1)


def overwrite(objects, time, *, waits) -> None:
    """Do away with the runs that the newest version of ``s`` names, as others may while a call is going on."""
    lib = vs.Store(objects).get_library("eod")
    lib.write("s", orders(["x", "y"]))
    prune.prune(lib.open_library, "s", keep_last=1)
    collect(lib.open_library, dry_run=False)
    if waits:
        time.move(LONGER)
        collect(lib.open_library, dry_run=False)
        time.move(LONGER)
        collect(lib.open_library, dry_run=False)


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("name", ["append old", "append new", "restore", "transaction"])
def test_what_a_writer_takes_over_is_there_when_it_commits(monkeypatch, name, waits):
    """Another writer overwrites, prunes and collects at any request of the call; also through a head of an hour ago.

    The call then builds on what the other one wrote, or is a Conflict; where a grace period passes, it never commits
    above runs that may be gone.
    """
    time = move_time(monkeypatch)
    operation, _ = OPERATIONS[name]
    opened = prepared()
    lib = vs.Store(faulty := FaultyObjects(opened)).get_library("eod")
    operation(lib)
    outcomes = set()
    for at in range(1 + waits % step(0.2), len(faulty.requests) + 1, step(0.2)):
        objects = prepared()
        faulty = FaultyObjects(objects)
        lib = vs.Store(faulty).get_library("eod")
        lib.read("s")  # it knows a head, and the labels
        faulty.requests.clear()
        meets = iter([at])

        def rival(request, objects=objects, meets=meets, at=at):
            if request.number == at and next(meets, None):
                # No request takes a grace period: a call looks at its age, then asks for the time and creates.
                overwrite(objects, time, waits=waits and request.method not in ("create", "now"))

        faulty.before = rival
        try:
            operation(lib)
            outcomes.add("made")
        except (Conflict, vs.NotFound):
            outcomes.add("refused")
        again = vs.Store(objects).get_library("eod")
        for symbol, number in again.list_versions():
            again.read(symbol, as_of=number)
        report = again.verify()
        assert report.ok, (at, report.problems)
    assert outcomes <= {"made", "refused"}
    assert "made" in outcomes or waits


def test_a_hundred_appends_by_two_writers_keep_few_runs():
    """Each finds the runs of the other; nothing is stored twice."""
    objects = MemoryObjects("two")
    lib = vs.Store(objects).create_library("eod")
    other = vs.Store(objects).get_library("eod")
    lib.write("s", orders(OLD))
    for number in range(50):
        lib.append("s", orders([f"a-{number}"]))
        other.append("s", orders([f"b-{number}"]))
    expected = [*OLD, *(f"{who}-{number}" for number in range(50) for who in "ab")]
    found = vs.Store(objects).get_library("eod").read("s").data["order"]
    assert found.tolist() == found.cat.categories.tolist() == expected
    assert len(keys(objects, "manifests")) < 10
