"""Cuts against an oracle: whatever happens between two requests of a reader, it sees one moment."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

import duckvstore as vs
from duckvstore.concurrency import Pool
from duckvstore.engine.reading import cuts
from duckvstore.format.codecs import values
from duckvstore.format.stored import documents
from duckvstore.format.stored.documents import Decision, Version
from duckvstore.objects.memory import MemoryObjects
from duckvstore.testing.faulty import FaultyObjects
from tests.counting import CountingObjects
from tests.sizes import sized

SEEDS = sized(60, full=2000)
SCHEMA = values.encode(pa.table({"n": [1]}), where="'sim'").schema
SYMBOLS = ("a", "a-b", "a.b", "b", "c")


class World:
    """A library in memory, the writers' steps on it, and every state that it was in."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.objects = MemoryObjects("cuts")
        self.library = vs.Store(self.objects).create_library("sim").open_library
        self.layout = self.library.layout
        self.time = datetime(2026, 1, 1, tzinfo=UTC)
        self.highest: dict[str, int] = {}
        self.newest: dict[str, int] = {}
        self.open: dict[str, dict[str, int]] = {}  # undecided transactions: symbol to number
        self.states: list[dict[str, int]] = [{}]

    def _now(self) -> datetime:
        self.time += timedelta(microseconds=1)
        return self.time

    def _create(self, symbol: str, transaction: str | None) -> int:
        number = self.highest[symbol] = self.highest.get(symbol, -1) + 1
        version = Version(
            self.library.library_id,
            symbol,
            number,
            "w",
            self._now(),
            "write",
            "arrow",
            parent=self.newest.get(symbol),
            transaction=transaction,
            schema=SCHEMA,
        )
        self.objects.create(self.layout.version(symbol, number), documents.dump_version(version))
        return number

    def _changed(self, **newest: int) -> None:
        self.newest = {**self.newest, **newest}
        self.states.append(self.newest)

    def step(self) -> None:
        """Take one step: a write, or the beginning, a document or the decision of a transaction."""
        busy = {symbol for held in self.open.values() for symbol in held}
        symbol = self.random.choice(SYMBOLS)
        kind = self.random.random()
        if kind < 0.45 and symbol not in busy:
            self._changed(**{symbol: self._create(symbol, None)})
        elif kind < 0.75 and symbol not in busy:
            if not self.open or self.random.random() < 0.4:
                self.open[f"{self.random.getrandbits(128):032x}"] = {}
            identity = self.random.choice(list(self.open))
            self.open[identity][symbol] = self._create(symbol, identity)
        elif self.open:
            self._decide(self.random.choice(list(self.open)))

    def _decide(self, identity: str) -> None:
        held = self.open.pop(identity)
        outcome = "committed" if self.random.random() < 0.7 else "aborted"
        decision = Decision(identity, outcome, self._now(), held if outcome == "committed" else {})
        self.objects.create(self.layout.transaction(identity), decision.dump())
        if outcome == "committed":
            self._changed(**held)


def read_cut(world: World, names, intensity: float) -> tuple[dict[str, int], list[dict[str, int]]]:
    """Collect a cut with a fresh handle while writers step between its requests; return it, and what was."""

    def others(_request) -> None:
        while world.random.random() < intensity:
            world.step()

    library = vs.Store(objects := FaultyObjects(world.objects)).get_library("sim").open_library
    objects.before = others
    begun = len(world.states) - 1
    cut = cuts.collect_cut(library, names)
    return {name: version.number for name, version in cut.items() if version is not None}, world.states[begun:]


@pytest.fixture
def _one_after_the_other(monkeypatch):
    """Requests of a collection are made one by one, so that a seed always gives the same interleaving."""
    monkeypatch.setattr(Pool, "map", lambda self, action, items, **_: [action(item) for item in items])


@pytest.mark.usefixtures("_one_after_the_other")
@pytest.mark.parametrize("every_symbol", [False, True], ids=["named", "every symbol"])
@pytest.mark.parametrize("intensity", [0.03, 0.15, 0.5])
def test_a_cut_is_one_moment_whatever_writers_do_meanwhile(every_symbol, intensity):
    """Versions, commits, aborts and new symbols between any two requests: the cut is a state that was."""
    for seed in range(SEEDS):
        world = World(seed)
        for _ in range(world.random.randrange(12)):
            world.step()
        names = None if every_symbol else SYMBOLS
        cut, states = read_cut(world, names, intensity)
        assert cut in states, (seed, cut, states)


@pytest.mark.usefixtures("_one_after_the_other")
@pytest.mark.parametrize("intensity", [0, 0.03, 0.15, 0.5])
def test_heads_that_are_remembered_prove_a_moment_too(intensity):
    """One handle collects cuts time and again, with other writers between them and between any two requests.

    Each cut is a state that was since its own beginning; and where nothing happens, one look is enough.
    """
    looks = []
    for seed in range(SEEDS):
        world = World(seed)

        def others(request, world=world) -> None:
            looks[-1] += request.method == "list"
            while world.random.random() < intensity:
                world.step()

        library = vs.Store(objects := FaultyObjects(world.objects)).get_library("sim").open_library
        objects.before = others
        for _ in range(6):
            for _ in range(world.random.choice([0, 0, 1, 2, 5])):
                world.step()
            looks.append(0)
            begun = len(world.states) - 1
            cut = cuts.collect_cut(library, SYMBOLS)
            found = {name: version.number for name, version in cut.items() if version is not None}
            assert found in world.states[begun:], (seed, found, world.states[begun:])
    assert (len(SYMBOLS) in looks) == (intensity < 0.5)  # where somebody is always writing, one look never is
    assert max(looks) >= 2 * len(SYMBOLS)


def test_what_this_handle_wrote_is_a_head_that_proves_a_cut():
    """A version of another writer is seen all the same, at the cost of a second look."""
    inner = MemoryObjects("cuts")
    lib = vs.Store(objects := CountingObjects(inner)).create_library("sim")
    other = vs.Store(inner).get_library("sim")
    for symbol in ("a", "b"):
        lib.write(symbol, np.arange(3))

    def newest() -> tuple[dict[str, int], int]:
        before = objects.counts["list"]
        cut = cuts.collect_cut(lib.open_library, ["a", "b"])
        return {name: version.number for name, version in cut.items()}, objects.counts["list"] - before

    assert newest() == ({"a": 0, "b": 0}, 2)
    lib.write("a", np.arange(4))
    assert newest() == ({"a": 1, "b": 0}, 2)
    other.write("b", np.arange(5))
    assert newest() == ({"a": 1, "b": 1}, 4)
    assert newest() == ({"a": 1, "b": 1}, 2)
    with lib.transaction() as both:
        both.write("a", np.arange(6))
        both.write("b", np.arange(6))
    assert newest() == ({"a": 2, "b": 2}, 2)


def test_a_collection_that_never_settles_holds_what_its_versions_follow_from(monkeypatch):
    """Symbol b is written after a, time and again, while they are read: never is b seen ahead of a."""
    monkeypatch.setattr(Pool, "map", lambda self, action, items, **_: [action(item) for item in items])
    world = World(0)
    for symbol in ("a", "b"):
        world._changed(**{symbol: world._create(symbol, None)})

    def others(request) -> None:
        if request.method == "list" and "/b/" in request.key:
            for symbol in ("a", "b"):
                world._changed(**{symbol: world._create(symbol, None)})

    library = vs.Store(objects := FaultyObjects(world.objects)).get_library("sim").open_library
    objects.before = others
    cut = cuts.collect_cut(library, ["a", "b"])
    assert cut["a"].number >= cut["b"].number


def test_a_snapshot_has_a_symbol_that_is_made_while_it_is_taken():
    """A symbol that is written before another one's version is in every snapshot that holds that version."""
    inner = MemoryObjects("cuts")
    writer = vs.Store(inner).create_library("sim")
    writer.write("old", np.arange(3))
    lib = vs.Store(objects := FaultyObjects(inner)).get_library("sim")

    def others(request) -> None:
        if request.method == "read" and "/versions/old/" in request.key and not writer.has_symbol("new"):
            writer.write("new", writer.read("old").data)
            writer.write("old", writer.read("old").data)

    objects.before = others
    held = lib.snapshot("s").versions
    assert held == {"new": 0, "old": 1}


def test_transactions_are_whole_where_clocks_differ(monkeypatch):
    """Also when times say nothing, no symbol of a committed transaction is left out of a cut."""
    monkeypatch.setattr(Pool, "map", lambda self, action, items, **_: [action(item) for item in items])
    for seed in range(SEEDS):
        world = World(seed)
        world._now = lambda world=world: world.time + timedelta(seconds=world.random.randrange(1000))
        for _ in range(6):
            world.step()
        committed: list[dict[str, int]] = []
        decide = world._changed

        def changed(decide=decide, committed=committed, **newest: int) -> None:
            committed.append(newest)
            decide(**newest)

        world._changed = changed
        cut, states = read_cut(world, SYMBOLS, 0.5)
        assert all(cut.get(symbol, -1) >= number for symbol, number in states[0].items()), seed
        for held in committed:
            present = {symbol: cut.get(symbol, -1) >= number for symbol, number in held.items()}
            assert len(set(present.values())) <= 1, (seed, held, cut)
