"""The whole API, driven at random against a plain model in memory.

After every step each version that the model has, and each snapshot, reads equal; what the model has not is not found.
"""

from __future__ import annotations

import itertools
import os
from datetime import timedelta

import hypothesis.strategies as st
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from pandas.testing import assert_frame_equal

import duckvstore as vs
from duckvstore.format import chunking
from duckvstore.objects.memory import MemoryObjects
from duckvstore.objects.wrappers import WrappedObjects

IS_FULL = os.environ.get("DUCKVSTORE_FULL") == "1"
SYMBOLS = ("a", "b/ü")
START = pd.Timestamp("2026-01-01")
GRACE = timedelta(days=7)

symbols = st.sampled_from(SYMBOLS)
seeds = st.integers(0, 999)
lengths = st.integers(0, 12)
hours = st.integers(0, 30)


class MovableTime(WrappedObjects):
    """An object store whose clock a test moves."""

    def __init__(self, inner):
        super().__init__(inner)
        self.offset = timedelta(0)

    def now(self):
        return self.inner.now() + self.offset


def frame(seed, length, start_hour=0):
    random = np.random.default_rng(seed)
    index = START + pd.to_timedelta(start_hour + np.arange(length), unit="h")
    return pd.DataFrame(
        {
            "price": random.normal(100, 5, length),
            "qty": random.integers(0, 9, length),
            "sym": pd.array(random.choice(list("ab"), length), dtype="str") if length else pd.array([], dtype="str"),
        },
        index=pd.DatetimeIndex(index, name="time").as_unit("ns"),
    )


class Model:
    """What a library should hold: per symbol a list of versions, None where one was removed."""

    def __init__(self):
        self.versions = {name: [] for name in SYMBOLS}
        self.pruned = {name: set() for name in SYMBOLS}
        self.snapshots = {}

    def newest(self, name):
        """Return (number, data, metadata) of the newest version, data None for a deletion, or None."""
        if not self.versions[name]:
            return None
        number = len(self.versions[name]) - 1
        return (number, *self.versions[name][number])

    def live(self, name):
        found = self.newest(name)
        return found is not None and found[1] is not None

    def add(self, name, data, metadata):
        self.versions[name].append((data, metadata))

    def held(self, name):
        return {found[name] for found in self.snapshots.values() if name in found}

    def copy(self):
        made = Model()
        made.versions = {name: list(found) for name, found in self.versions.items()}
        made.pruned = {name: set(found) for name, found in self.pruned.items()}
        made.snapshots = dict(self.snapshots)
        return made


class LibraryMachine(RuleBasedStateMachine):
    """Drives one library; ``make_objects`` says where it lives."""

    make_objects = staticmethod(lambda: MemoryObjects("machine"))

    @initialize()
    def open(self):
        self.objects = MovableTime(self.make_objects())
        self.store = vs.Store(self.objects)
        self.lib = self.store.create_library("lib")
        self.model = Model()
        self.counter = 0

    # -- edits -----------------------------------------------------------------------------------------------

    @rule(name=symbols, seed=seeds, length=lengths, prune=st.sampled_from([False, False, False, True]))
    def write(self, name, seed, length, prune):
        data = frame(seed, length)
        item = self.lib.write(name, data, metadata={"seed": seed}, prune_previous_versions=prune)
        assert item.version == len(self.model.versions[name])
        self.model.add(name, data, {"seed": seed})
        if prune:
            self.forget(name, range(item.version))

    @rule(name=symbols, seed=seeds, length=lengths)
    def write_twice(self, name, seed, length):
        data = frame(seed, length)
        for _ in range(2):
            item = self.lib.write(name, data)
            self.model.add(name, data, None)
        assert item.new_bytes == 0, "an identical rewrite stores nothing"

    @rule(name=symbols, seed=seeds, length=lengths, gap=st.integers(0, 3))
    def append(self, name, seed, length, gap):
        self.append_to(self.lib, self.model, name, seed, length, gap)

    @staticmethod
    def append_to(lib, model, name, seed, length, gap):
        if not model.live(name):
            data = frame(seed, length, gap)
            lib.append(name, data)
            model.add(name, data, None)
            return
        _, before, metadata = model.newest(name)
        first = int((before.index[-1] - START) / pd.Timedelta("1h")) + gap if len(before) else gap
        data = frame(seed, length, first)
        lib.append(name, data)
        if length:
            model.add(name, pd.concat([before, data]) if len(before) else data, metadata)

    @rule(name=symbols, seed=seeds, length=st.integers(1, 6), start=hours)
    def update(self, name, seed, length, start):
        self.update_in(self.lib, self.model, name, seed, length, start)

    @staticmethod
    def update_in(lib, model, name, seed, length, start):
        data = frame(seed, length, start)
        if not model.live(name):
            with pytest.raises(vs.NoSuchSymbol):
                lib.update(name, data)
            lib.update(name, data, upsert=True)
            model.add(name, data, None)
            return
        _, before, metadata = model.newest(name)
        lib.update(name, data)
        kept_before, kept_after = before[before.index < data.index[0]], before[before.index > data.index[-1]]
        model.add(name, pd.concat([kept_before, data, kept_after]), metadata)

    @rule(name=symbols, start=hours, length=st.integers(0, 8))
    def delete_range(self, name, start, length):
        if self.model.live(name):
            low, high = START + pd.Timedelta(hours=start), START + pd.Timedelta(hours=start + length)
            _, before, metadata = self.model.newest(name)
            after = before[(before.index < low) | (before.index > high)]
            self.lib.delete_data_in_range(name, (low, high))
            if len(after) < len(before):
                self.model.add(name, after, metadata)

    @rule(name=symbols, limit=st.integers(0, 9))
    def delete_rows(self, name, limit):
        self.delete_rows_of(self.lib, self.model, name, limit)

    @staticmethod
    def delete_rows_of(lib, model, name, limit):
        if model.live(name):
            _, before, metadata = model.newest(name)
            after = before[before["qty"] <= limit]
            lib.delete_rows(name, f"qty > {limit}")
            if len(after) < len(before):
                model.add(name, after, metadata)

    @rule(name=symbols, number=st.integers(0, 99))
    def write_metadata(self, name, number):
        if self.model.live(name):
            _, data, _ = self.model.newest(name)
            self.lib.write_metadata(name, {"number": number})
            self.model.add(name, data, {"number": number})

    @rule(name=symbols, pick=st.integers(0, 99))
    def restore(self, name, pick):
        if self.model.versions[name]:
            number = pick % len(self.model.versions[name])
            data, metadata = self.model.versions[name][number]
            if data is None or number in self.model.pruned[name]:
                with pytest.raises(vs.NotFound):
                    self.lib.restore_version(name, number)
            else:
                self.lib.restore_version(name, number)
                if number != len(self.model.versions[name]) - 1:
                    self.model.add(name, data, metadata)

    @rule(name=symbols)
    def delete(self, name):
        self.lib.delete(name)
        if self.model.live(name):
            self.model.add(name, None, None)

    @rule(name=symbols, seeds=st.lists(seeds, min_size=1, max_size=3), length=st.integers(1, 5))
    def stage_and_finalize(self, name, seeds, length):
        parts = [frame(seed, length, 100 * position) for position, seed in enumerate(seeds)]
        for part in reversed(parts):
            self.lib.stage(name, part)
        self.lib.finalize_staged_data(name)
        self.model.add(name, pd.concat(parts), None)

    @rule(seed=seeds, length=lengths)
    def write_batch(self, seed, length):
        data = frame(seed, length)
        found = self.lib.write_batch([vs.WritePayload(name, data, {"batch": seed}) for name in SYMBOLS])
        assert [item.symbol for item in found] == list(SYMBOLS)
        for name in SYMBOLS:
            self.model.add(name, data, {"batch": seed})

    @rule(
        steps=st.lists(
            st.tuples(st.sampled_from(["append", "update", "rows", "write"]), symbols, seeds, st.integers(1, 5)),
            min_size=1,
            max_size=3,
        ),
        ending=st.sampled_from(["commit", "commit", "error"]),
    )
    def transaction(self, steps, ending):
        model = self.model.copy()
        before = {name: len(found) for name, found in model.versions.items()}
        try:
            with self.lib.transaction(message="several") as transaction:
                for kind, name, seed, length in steps:
                    if kind == "append":
                        self.append_to(transaction, model, name, seed, length, 1)
                    elif kind == "update":
                        self.update_in(transaction, model, name, seed, length, seed % 20)
                    elif kind == "rows":
                        self.delete_rows_of(transaction, model, name, seed % 9)
                    else:
                        transaction.write(name, frame(seed, length), metadata=seed)
                        model.add(name, frame(seed, length), seed)
                    if model.live(name):
                        assert_frame_equal(transaction.read(name).data, model.newest(name)[1], check_freq=False)
                if ending == "error":
                    raise ZeroDivisionError
        except ZeroDivisionError:
            return
        for name in SYMBOLS:  # several edits of a symbol are one version
            if len(model.versions[name]) > before[name]:
                del model.versions[name][before[name] : -1]
        self.model = model

    # -- removal ---------------------------------------------------------------------------------------------

    def forget(self, name, numbers):
        held = self.model.held(name)
        last = len(self.model.versions[name]) - 1
        self.model.pruned[name].update(number for number in numbers if number not in held and number != last)

    @rule(name=symbols, keep=st.integers(1, 3))
    def prune(self, name, keep):
        if self.model.versions[name]:
            self.lib.prune(name, keep_last=keep)
            visible = [n for n in range(len(self.model.versions[name])) if n not in self.model.pruned[name]]
            self.forget(name, visible[:-keep])

    @rule(name=symbols, pick=st.integers(0, 99))
    def delete_version(self, name, pick):
        count = len(self.model.versions[name])
        if not count:
            return
        number = pick % count
        if number in self.model.held(name):
            with pytest.raises(vs.DuckVStoreError, match="snapshot"):
                self.lib.delete(name, versions=[number])
        elif number in self.model.pruned[name]:
            with pytest.raises(vs.NoSuchVersion):
                self.lib.delete(name, versions=[number])
        elif number < count - 1:
            self.lib.delete(name, versions=[number])
            self.model.pruned[name].add(number)
        else:
            self.lib.delete(name, versions=[number])
            remaining = [n for n in range(number) if n not in self.model.pruned[name]]
            self.model.add(name, *(self.model.versions[name][remaining[-1]] if remaining else (None, None)))
            self.model.pruned[name].add(number)

    @rule()
    def snapshot(self):
        self.counter += 1
        name = f"snapshot {self.counter}"
        self.lib.snapshot(name)
        self.model.snapshots[name] = {
            symbol: len(found) - 1 for symbol, found in self.model.versions.items() if self.model.live(symbol)
        }

    @precondition(lambda self: self.model.snapshots)
    @rule(pick=st.integers(0, 99))
    def delete_snapshot(self, pick):
        name = sorted(self.model.snapshots)[pick % len(self.model.snapshots)]
        self.lib.delete_snapshot(name)
        del self.model.snapshots[name]

    @rule(grace=st.sampled_from([None, None, timedelta(0)]))
    def gc(self, grace):
        self.lib.gc(grace=grace, dry_run=True)
        self.lib.gc(grace=grace, dry_run=False)

    @rule(days=st.sampled_from([-1, 1, 4, 8]))
    def jump(self, days):
        self.objects.offset += timedelta(days=days) if days > 0 else timedelta(hours=days)

    @rule()
    def reopen(self):
        self.store = vs.Store(self.objects)
        self.lib = self.store.get_library("lib")

    # -- what must hold --------------------------------------------------------------------------------------

    @invariant()
    def everything_reads_equal(self):
        if not hasattr(self, "model"):
            return
        self.check(self.lib)

    def check(self, lib):
        for name, versions in self.model.versions.items():
            for number, (data, metadata) in enumerate(versions):
                if number in self.model.pruned[name] or data is None:
                    with pytest.raises(vs.NotFound):
                        lib.read(name, as_of=number)
                    continue
                item = lib.read(name, as_of=number)
                assert_frame_equal(item.data, data, check_freq=False)
                assert item.metadata == metadata
            if self.model.live(name):
                assert lib.read_metadata(name).version == len(versions) - 1
            else:
                assert not lib.has_symbol(name)
        for snapshot, held in self.model.snapshots.items():
            for name, number in held.items():
                item = lib.read(name, as_of=snapshot)
                assert item.version == number
                assert_frame_equal(item.data, self.model.versions[name][number][0], check_freq=False)

    def teardown(self):
        if hasattr(self, "model"):
            fresh = vs.Store(self.objects).get_library("lib")
            self.check(fresh)
            assert fresh.list_symbols() == sorted(name for name in SYMBOLS if self.model.live(name))
            assert not fresh.verify().problems


@pytest.fixture(autouse=True)
def small_segments(monkeypatch):
    """Segments of a few rows, so that every history has several."""
    monkeypatch.setattr(chunking, "window_rows", lambda *_: 2)


def drive(machine, histories, steps):
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=histories * (10 if IS_FULL else 1),
            stateful_step_count=steps,
            deadline=None,
            derandomize=not IS_FULL,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.timeout(1800)
def test_histories_in_memory():
    """500 histories on an object store in memory."""
    drive(LibraryMachine, 500, 12)


@pytest.mark.s3
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("server", ["moto_bucket", "s3_bucket"])
def test_histories_on_s3(server, request):
    """The same on servers: moto and SeaweedFS."""
    bucket = request.getfixturevalue(server)
    numbers = itertools.count()

    class OnServer(LibraryMachine):
        make_objects = staticmethod(
            lambda: vs.open(f"{bucket.url}/history{next(numbers)}", bucket.storage_options).objects
        )

    drive(OnServer, 8, 10)
