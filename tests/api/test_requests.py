"""What each call asks of the object store, exactly, so that a regression is seen; README.md states it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import duckvstore as vs
from duckvstore.objects.memory import MemoryObjects
from tests.counting import CountingObjects


def frame(seed=0, start="2026-01-01"):
    index = pd.date_range(start, periods=10, freq="h", name="time")
    return pd.DataFrame({"price": np.random.default_rng(seed).normal(size=10)}, index=index)


@pytest.fixture
def counting():
    return CountingObjects(MemoryObjects("requests"))


@pytest.fixture
def lib(counting):
    return vs.Store(counting).create_library("eod")


@pytest.fixture
def cost(counting):
    """Return a function that carries out an action and returns its requests."""

    def measure(action):
        counting.reset()
        action()
        return {method: count for method, count in counting.counts.items() if not method.startswith("bytes_")}

    return measure


@pytest.fixture
def fresh(counting):
    """Return a function that returns a handle that knows nothing yet."""
    return lambda: vs.Store(counting).get_library("eod")


def test_writes(lib, cost, fresh):
    """A handle that wrote a symbol before needs no look at it; a fresh one lists the head and the options once."""
    assert cost(lambda: lib.write("a", frame())) == {"list": 1, "put": 2, "create": 1}
    assert cost(lambda: lib.write("a", frame(1))) == {"put": 2, "create": 1}
    assert cost(lambda: lib.write("a", frame(1))) == {"put": 1, "create": 1}, "the rows are shared"
    assert cost(lambda: lib.write_metadata("a", 1)) == {"put": 1, "create": 1}
    assert cost(lambda: lib.append("a", frame(2, "2027-01-01"))) == {"put": 2, "create": 1}
    other = fresh()
    assert cost(lambda: other.write("a", frame(3))) == {"list": 2, "read": 1, "put": 2, "create": 1}
    other = fresh()
    assert cost(lambda: other.append("a", frame(4, "2028-01-01"))) == {"list": 2, "read": 1, "put": 2, "create": 1}
    # What was written by another handle is found out by the create, and the winner's document is the head. It was none
    # here: two versions came between. Then the highest is looked for, and twice whether one follows it.
    assert cost(lambda: lib.write("a", frame(5))) == {"put": 2, "create": 3, "read": 4, "list": 1}
    fresh().append("a", frame(6, "2029-01-01"))
    assert cost(lambda: lib.append("a", frame(7, "2030-01-01"))) == {"put": 2, "create": 2, "read": 1}


def test_edits_read_only_what_they_touch(lib, cost):
    """The segment that is rewritten, and nothing else."""
    lib.write("a", frame())
    assert cost(lambda: lib.update("a", frame(1).iloc[2:4])) == {"read": 1, "put": 2, "create": 1}
    assert cost(lambda: lib.delete_data_in_range("a", (None, "2026-01-01"))) == {"read": 1, "put": 2, "create": 1}
    nothing_to_add = cost(lambda: lib.append("a", frame().iloc[:0]))
    # The journal's intent is on its way while the plan finds that there is nothing to do, which may call it back.
    assert nothing_to_add in ({"list": 1}, {"list": 1, "put": 1}), "only a look"


def test_reads(lib, cost, fresh):
    """The newest: listing, document, segment; a version: document and what is condemned at once, then the segment."""
    for number in range(3):
        lib.write("a", frame(number))
    other = fresh()
    assert cost(lambda: other.read("a")) == {"list": 1, "read": 2}
    assert cost(lambda: other.read("a", as_of=2)) == {"read": 1}
    assert cost(lambda: other.read("a", as_of=1)) == {"list": 1, "read": 2}
    assert cost(lambda: other.read("a", as_of=1)) == {"read": 1}
    assert cost(lambda: other.has_symbol("a")) == {"list": 1}
    assert cost(lambda: fresh().read_metadata("a")) == {"list": 1, "read": 2}, "with the library's own document"
    assert cost(lambda: other.list_symbols()) == {"list": 1}


def test_a_transaction(lib, cost):
    """Each symbol's intent, segment and document, and one decision."""
    for name in "abc":
        lib.write(name, frame())

    def both():
        with lib.transaction() as transaction:
            for name in "abc":
                transaction.write(name, frame(7))

    assert cost(both) == {"put": 6, "create": 4}


def test_a_snapshot_of_a_hundred_symbols(lib, cost):
    """Whether the name is taken, and twice one listing of all documents, which has each symbol's highest number."""
    lib.write_batch([vs.WritePayload(f"s{number}", frame(number)) for number in range(100)])
    assert cost(lambda: lib.snapshot("first")) == {"list": 1 + 2, "create": 1}


def test_a_list_of_few_versions_reads_few_documents(lib, cost, fresh):
    """The newest, or what a snapshot holds, of one symbol or of all: no document of the rest of a history."""
    lib.write("other", frame())
    for number in range(30):
        lib.write_metadata("long", number) if number else lib.write("long", frame())
        if number == 10:
            lib.snapshot("early")
    for symbol, newest, held in (
        ("long", [("long", 29)], [("long", 10)]),
        (None, [("long", 29), ("other", 0)], [("long", 10), ("other", 0)]),
    ):
        other, found = fresh(), []
        asked = cost(lambda o=other, s=symbol: found.append(o.list_versions(s, latest_only=True, skip_snapshots=True)))
        assert [tuple(pair) for pair in found[0]] == newest
        assert asked == {"list": 1, "read": len(newest)}
        for latest_only in (False, True):
            other, found = fresh(), []
            asked = cost(lambda o=other, s=symbol, n=latest_only: found.append(o.list_versions(s, "early", n)))
            assert [tuple(pair) for pair in found[0]] == held
            assert [info.snapshots for info in found[0].values()] == [["early"]] * len(held)
            assert asked == {"read": 1 + len(held)}
    with pytest.raises(vs.NoSuchSymbol, match="'long'"):
        fresh().list_versions("lonk", latest_only=True)
    with pytest.raises(vs.NoSuchSymbol, match="'long'"):
        fresh().list_versions("lonk", "early")
    lib.write("late", frame())
    assert lib.list_versions("late", "early") == {}
