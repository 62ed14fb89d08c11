"""Histories of threads that write, prune, fold, collect and list one library: no listing misses what was acknowledged.

Each listing is checked against a log: it must hold every version that was acknowledged before it began and that nobody
had begun to prune, and none that was never written. One that was in flight may appear; a later listing then has it too.
"""

from __future__ import annotations

import random
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

import duckvstore as vs
from duckvstore.engine.maintenance import fold, references
from duckvstore.engine.reading import folded, listings, visible
from duckvstore.objects.memory import MemoryObjects
from duckvstore.objects.wrappers import WrappedObjects
from tests.sizes import sized

if TYPE_CHECKING:
    from collections.abc import Sequence

SYMBOLS = ("a", "b", "c", "d/ä")
pytestmark = pytest.mark.filterwarnings("ignore::duckvstore.errors.DocumentWarning")


class Slow(WrappedObjects):
    """Requests take a little while, each another one, so that threads meet at all of them; answers may be lost."""

    def __init__(self, inner, dice) -> None:
        super().__init__(inner)
        self.dice = dice

    def _wait(self) -> None:
        time.sleep(self.dice.random() * 0.002)

    def read(self, key, start=0, length=None):
        self._wait()
        return self.inner.read(key, start, length)

    def put(self, key, data):
        self._wait()
        self.inner.put(key, data)
        self._wait()

    def create(self, key, data):
        self._wait()
        self.inner.create(key, data)
        if self.dice.random() < 0.1:
            raise vs.OutcomeUnknown("the answer was lost")
        self._wait()

    def list(self, prefix, start_after=None, limit=None, *, folders=False):
        for count, entry in enumerate(self.inner.list(prefix, start_after, limit, folders=folders)):
            if count % 3 == 2:
                self._wait()
            yield entry

    def delete(self, keys):
        self._wait()
        return self.inner.delete(keys)


class History:
    """What threads did, as they saw it."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.inner = MemoryObjects(f"history{seed}")
        self.lock = threading.Lock()
        self.begun: set[tuple[str, int]] = set()
        self.acknowledged: set[tuple[str, int]] = set()
        self.doomed: set[tuple[str, int]] = set()  # that somebody may have pruned
        self.seen: set[tuple[str, int]] = set()  # in a listing that ended
        self.problems: list[str] = []
        vs.Store(self.inner).create_library("eod")

    def handle(self, seed: int) -> vs.Library:
        return vs.Store(Slow(self.inner, random.Random(seed))).get_library("eod")

    def write(self, lib, dice) -> None:
        symbol = dice.choice(SYMBOLS)
        if dice.random() < 0.3:
            names = dice.sample(SYMBOLS, 2)
            with suppress(vs.Conflict), lib.transaction() as transaction:
                for name in names:
                    transaction.write(name, 1)
            return
        item = lib.write(symbol, 1)
        with self.lock:
            self.acknowledged.add((symbol, item.version))

    def prune(self, lib, dice) -> None:
        symbol = dice.choice(SYMBOLS)
        with self.lock:
            self.doomed |= {(symbol, number) for number in range(1000)}
        with suppress(vs.NoSuchSymbol):
            lib.prune(symbol, keep_last=dice.randint(1, 3))

    def fold(self, lib, dice) -> None:
        with suppress(vs.Conflict):
            lib.fold(rebuild=dice.random() < 0.1)

    def lose(self, lib, dice) -> None:
        keys = sorted(key for key in list(self.inner._objects) if "/catalogue/" in key)
        if dice.random() < 0.5:
            self.inner.delete(keys)
        else:
            self.inner.delete(dice.sample(keys, len(keys) // 3))

    def look(self, lib, dice) -> None:
        with self.lock:
            must = self.acknowledged | self.seen
        if dice.random() < 0.5:
            found = {tuple(pair) for pair in lib.list_versions(skip_snapshots=True)}
        else:
            rows = lib.sql("SELECT symbol, version FROM vstore.versions").fetchall()
            found = {tuple(row) for row in rows}
        with self.lock:
            missing = must - found - self.doomed
            if missing:
                self.problems.append(f"a listing lacks {sorted(missing)}")
            self.seen |= found
        names = lib.list_symbols()
        if {symbol for symbol, _ in must} - set(names):
            self.problems.append(f"list_symbols has {names}, and there were {sorted({name for name, _ in must})}")


def run(seed: int, seconds: float, keepers=("fold", "fold", "fold", "prune", "lose")) -> History:
    """Let five threads work for a while, two of them at what ``keepers`` says."""
    history = History(seed)
    until = time.monotonic() + seconds

    def work(calls: Sequence[str], number: int) -> None:
        dice = random.Random(f"{seed} {number}")
        lib = history.handle(seed * 100 + number)
        try:
            while time.monotonic() < until:
                getattr(history, dice.choice(calls))(lib, dice)
        except BaseException as error:
            history.problems.append(f"{calls[0]}: {type(error).__name__}: {error}")
            raise

    kinds = (["write"], ["write"], keepers, keepers, ["look"])
    threads = [threading.Thread(target=work, args=(calls, number)) for number, calls in enumerate(kinds)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    history.look(history.handle(1), random.Random(seed))
    history.look(vs.Store(history.inner).get_library("eod"), random.Random(seed + 1))
    return history


@pytest.fixture
def small_pages(monkeypatch):
    """Any library has many documents."""
    monkeypatch.setattr(listings, "SYMBOLS_PAGE", 3)
    monkeypatch.setattr(folded, "HEADS_WORTH_VERSIONS", 0)
    monkeypatch.setattr(visible, "FOLDED_DOCUMENTS_MIN", 2)
    monkeypatch.setattr(references, "FOLDED_MIN", 2)
    monkeypatch.setattr(fold, "FILE_ROWS_MAX", 20)


def test_no_listing_misses_a_version_that_was_acknowledged_before_it_began(small_pages):
    """With folds, rebuilds, prunes and a catalogue that is lost in part, all at once."""
    count = 0
    for seed in range(sized(60, 400)):
        history = run(seed, 0.7)
        assert not history.problems, (seed, history.problems[:3])
        count += len(history.acknowledged)
    assert count


@pytest.mark.parametrize("mutant", ["intents too early", "no tail"])
def test_a_broken_rule_is_caught_within_some_histories(small_pages, monkeypatch, mutant):
    """The checker sees what the walks see: intents that go before their generation, and a tail that nobody reads."""
    if mutant == "intents too early":
        publish = fold._Fold._publish

        def hasty(self, layers):
            self.objects.delete(list(self.intents))
            time.sleep(0.05)
            return publish(self, layers)

        monkeypatch.setattr(fold._Fold, "_publish", hasty)
    else:
        look = folded._look

        def looked(library):
            found = look(library)
            return None if found is None else (found[0], frozenset())

        monkeypatch.setattr(folded, "_look", looked)
    assert any(run(seed, 1.5, keepers=["fold"]).problems for seed in range(40))
