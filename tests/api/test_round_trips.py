"""How many round trips calls make one after the other, exactly; docs/edits.md states them."""

from __future__ import annotations

import random
from contextlib import contextmanager

import numpy as np
import pandas as pd
import pytest

import duckvstore as vs
from duckvstore import clock
from duckvstore.engine.reading import listings
from duckvstore.format.stored import manifests
from duckvstore.objects.memory import MemoryObjects
from tests.cuts import cut_every
from tests.round_trips import Cost, at_a_distance


def frame(seed=0, start="2026-01-01", rows=10):
    index = pd.date_range(start, periods=rows, freq="h", name="time")
    return pd.DataFrame({"price": np.random.default_rng(seed).normal(size=rows), "n": range(rows)}, index=index)


WRITERS, APPENDS = 8, 12
LATER = frame(5, "2027-01-01")


@pytest.fixture(scope="module")
def prepared():
    """Objects of a library: 100 symbols of a version or two."""
    objects = MemoryObjects("distant")
    lib = vs.Store(objects).create_library("eod")
    lib.write_batch([vs.WritePayload(name, frame(at)) for at, name in enumerate(names(100))])
    lib.write("s000", frame(200))
    return dict(objects._objects)


@pytest.fixture
def distant(prepared):
    """Return a function that makes a handle, after ``before`` with it or fresh, and with what its calls cost."""

    @contextmanager
    def opened(before=None):
        objects = MemoryObjects("distant")
        objects._objects.update(prepared)
        with at_a_distance(objects) as distance:
            lib = vs.Store(distance.objects).get_library("eod")
            if before is not None:
                before(lib)
            yield lib, distance

    return opened


def names(count: int) -> list[str]:
    return [f"s{at:03}" for at in range(count)]


def used(*symbols):
    """What a handle has done that has written these symbols before."""

    def use(lib) -> None:
        for symbol in symbols:
            lib.write_metadata(symbol, "used")

    return use


def three_writes(lib) -> None:
    with lib.transaction() as transaction:
        for symbol in names(3):
            transaction.write(symbol, frame(7))


def three_edits(lib) -> None:
    with lib.transaction() as transaction:
        transaction.write("s000", frame(7))
        transaction.append("s001", LATER)
        transaction.update("s002", frame(7).iloc[2:4])


def three_edits_after_a_read(lib) -> None:
    with lib.transaction() as transaction:
        transaction.read("s000")
        transaction.write("s000", frame(7))
        transaction.append("s001", LATER)
        transaction.update("s002", frame(7).iloc[2:4])


CALLS = {
    # call: what it does, how often on a handle that wrote the symbols before, and on a fresh one
    "write": (lambda lib: lib.write("s000", frame(7)), 2, 4),
    "write of a new symbol": (lambda lib: lib.write("new", frame(7)), 3, 3),
    "append": (lambda lib: lib.append("s000", LATER), 2, 4),
    "update": (lambda lib: lib.update("s000", frame(7).iloc[2:4]), 3, 5),
    "delete_rows": (lambda lib: lib.delete_rows("s000", "n = 3"), 3, 5),
    "write_metadata": (lambda lib: lib.write_metadata("s000", 3), 2, 3),
    "restore_version": (lambda lib: lib.restore_version("s000", 0), 4, 4),
    "delete": (lambda lib: lib.delete("s000"), 2, 3),
    "read": (lambda lib: lib.read("s000"), 2, 3),
    "read of a version": (lambda lib: lib.read("s000", as_of=0), 2, 2),
    "transaction of 3 writes": (three_writes, 5, 11),
    "transaction of a write, an append and an update": (three_edits, 5, 12),
    "transaction with a read": (three_edits_after_a_read, 9, 15),
    "list_symbols": (lambda lib: lib.list_symbols(), 3, 3),
    "snapshot": (lambda lib: lib.snapshot("first"), 5, 5),
    "sizes": (lambda lib: lib.sizes(), 8, 8),
}


@pytest.mark.parametrize("call", CALLS)
def test_one_call(distant, call):
    action, by_used, by_fresh = CALLS[call]
    with distant(used(*names(3))) as (lib, distance):
        assert distance.trips(lambda: action(lib)) == by_used
    with distant() as (lib, distance):
        assert distance.trips(lambda: action(lib)) == by_fresh


def test_a_listing_of_a_folded_library_is_a_few_requests_whatever_its_size(distant, monkeypatch):
    """A page of documents, the journal, a generation beside the marks, its document, its files; later no page."""
    monkeypatch.setattr(listings, "SYMBOLS_PAGE", 50)
    with distant() as (lib, distance):
        lib.fold()
        fresh = vs.Store(distance.objects).get_library("eod")
        cold, warm = distance.cost(fresh.list_symbols), distance.cost(fresh.list_symbols)
        assert (cold.trips, cold.requests) == (5, 6)
        assert (warm.trips, warm.requests) == (3, 4)


def test_the_end_of_a_long_list_of_segments_is_near(monkeypatch):
    """Of many manifests: listing, document, manifests, segments."""
    cut_every(monkeypatch, 5)
    monkeypatch.setattr(manifests, "RUN_SEGMENTS", 4)
    monkeypatch.setattr(manifests, "INLINE_SEGMENTS_MAX", 8)
    objects = MemoryObjects("distant")
    written = frame(rows=1000)
    vs.Store(objects).create_library("eod").write("long", written)
    with at_a_distance(objects) as distance:
        lib = vs.Store(distance.objects).get_library("eod")
        assert len(lib.open_library.version("long", 0).segments.manifests) > 40
        lib = vs.Store(distance.objects).get_library("eod")
        found = []
        assert distance.trips(lambda: found.append(lib.tail("long", 7).data)) == 4
        pd.testing.assert_frame_equal(found[0], written.tail(7), check_freq=False)


def test_many_segments_are_stored_at_once(distant, monkeypatch):
    """However few cores encode them."""
    cut_every(monkeypatch, 5)
    with distant(used("s000")) as (lib, distance):
        assert distance.cost(lambda: lib.write("new", frame(3, rows=150))) == Cost(3, 30 + 3)


@pytest.mark.parametrize("seed", range(2))
def test_eight_writers_append_to_one_symbol_in_turn(distant, monkeypatch, seed):
    """At 20 ms, none of them waits for long, and they do not wear out the server with what is refused."""
    monkeypatch.setattr(clock, "_random", random.Random(seed))
    took = []

    def appending(lib):
        def append() -> None:
            for _ in range(APPENDS):
                begun = time.seconds()
                lib.append("shared", pd.DataFrame({"x": [1, 2]}))
                took.append(time.seconds() - begun)

        return append

    with distant(lambda lib: lib.write("shared", pd.DataFrame({"x": [0]}))) as (lib, distance):
        time = distance.time
        time.seconds_per_trip, time.noise = 0.02, random.Random(seed)
        handles = [vs.Store(distance.objects).get_library("eod") for _ in range(WRITERS)]
        for handle in handles:
            handle.read("shared")
        before = distance.requests
        distance.together(*map(appending, handles))
        assert lib.read("shared").data["x"].sum() == 3 * WRITERS * APPENDS
        assert max(took) < 3
        assert (distance.requests - before) / len(took) < 9


BATCHES = {
    "write_batch": (lambda lib, some: lib.write_batch([vs.WritePayload(name, frame(7)) for name in some]), 2, 4),
    "append_batch": (lambda lib, some: lib.append_batch([vs.WritePayload(name, LATER) for name in some]), 2, 4),
    "update_batch": (
        lambda lib, some: lib.update_batch([vs.UpdatePayload(name, frame(7).iloc[2:4]) for name in some]),
        3,
        5,
    ),
    "write_metadata_batch": (
        lambda lib, some: lib.write_metadata_batch([vs.WriteMetadataPayload(name, 3) for name in some]),
        2,
        3,
    ),
    "delete_batch": (lambda lib, some: lib.delete_batch(some), 2, 3),
    "read_batch": (lambda lib, some: lib.read_batch(some), 2, 4),
    "read_metadata_batch": (lambda lib, some: lib.read_metadata_batch(some), 1, 3),
}


@pytest.mark.parametrize("call", BATCHES)
@pytest.mark.parametrize("count", [10, 50])
def test_a_batch_takes_as_long_as_one_call(distant, call, count):
    """Its round trips do not grow with the number of symbols."""
    action, by_used, by_fresh = BATCHES[call]
    with distant(used(*names(count))) as (lib, distance):
        assert distance.trips(lambda: action(lib, names(count))) == by_used
    with distant() as (lib, distance):
        assert distance.trips(lambda: action(lib, names(count))) == by_fresh
