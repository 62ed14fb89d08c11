"""The whole API, driven at random against a plain model in memory.

After every step each version that the model has, and each snapshot, reads equal; what the model has not is not found.
"""

from __future__ import annotations

import itertools
from contextlib import contextmanager
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
from duckvstore.format.rows import chunking
from duckvstore.objects.memory import MemoryObjects
from duckvstore.objects.wrappers import WrappedObjects
from tests.sizes import IS_FULL, sized

SYMBOLS = ("a", "b/ü")
MARKERS = (None, np.nan, pd.NA, pd.NaT)
START = pd.Timestamp("2026-01-01")
UNITS = {
    "hours": pd.Timedelta("1h"),
    "ticks": pd.Timedelta("1ns"),
    "panel": pd.Timedelta("1h"),
    "levels": pd.Timedelta("1us"),
}
GRACE = timedelta(days=7)

symbols = st.sampled_from(SYMBOLS)
seeds = st.integers(0, 999)
lengths = st.integers(0, 12)
hours = st.integers(0, 30)
parts_of_symbols = st.lists(st.tuples(seeds, hours, st.integers(0, 5)), min_size=1, max_size=3)


class MovableTime(WrappedObjects):
    """An object store whose clock a test moves."""

    def __init__(self, inner):
        super().__init__(inner)
        self.offset = timedelta(0)

    def now(self):
        return self.inner.now() + self.offset


def frame(shape, seed, length, start=0):
    """Rows from ``start`` units of time on.

    "hours": text, one row an hour. "ticks": one row a nanosecond, and text as objects with missing rows of each marker.
    "panel": two rows an hour, and a second level. "levels": one row a microsecond, and categories that differ.
    """
    random = np.random.default_rng(seed)
    steps = np.arange(length) // 2 if shape == "panel" else np.arange(length)
    times = (START + (start + steps) * UNITS[shape]) if length else []
    times = pd.DatetimeIndex(times, name="time").as_unit("ns")
    text = random.choice(list("ab"), length).astype(object)
    found = pd.DataFrame(
        {
            "price": random.normal(100, 5, length),
            "qty": random.integers(0, 9, length),
            "sym": pd.array(text, dtype="str"),
        },
        index=times,
    )
    if shape == "panel":
        level = pd.Index([f"sym {n % 2}" for n in range(length)], dtype="str", name="leg")
        found.index = pd.MultiIndex.from_arrays([times, level])
    elif shape == "ticks":
        marks = np.fromiter((MARKERS[n] for n in random.integers(0, len(MARKERS), length)), object, length)
        found["sym"] = pd.Series(np.where(random.random(length) < 0.4, marks, text), index=times, dtype=object)
    elif shape == "levels":
        known = [("a", "b"), ("b", "a"), ("c", "b", "a")][seed % 3 if length else 0]
        found["sym"] = pd.Categorical(text, categories=pd.Index(known, dtype="str"))
    return found


def assert_same(found, expected, **options):
    """Also the markers of missing rows are the same, each in its place."""
    assert_frame_equal(found, expected, check_freq=False, **options)
    if "sym" in expected and expected["sym"].dtype == object:
        assert [*map(type, found["sym"])] == [*map(type, expected["sym"])]


def times_of(data):
    return data.index.get_level_values(0)


def ticks_of(data):
    """Nanoseconds since 1970 of the first level."""
    return times_of(data).as_unit("ns").asi8


def joined(*parts):
    """Rows one after the other; categories are those of the first, then what others add."""
    if isinstance(parts[0]["sym"].dtype, pd.CategoricalDtype):
        every = list(dict.fromkeys(value for part in parts for value in part["sym"].cat.categories))
        categories = pd.Index(every, dtype="str")
        parts = [part.assign(sym=part["sym"].cat.set_categories(categories)) for part in parts]
    return pd.concat([part for part in parts if len(part)] or parts[:1])


def ascends(*parts):
    ticks = np.concatenate([ticks_of(part) for part in parts]) if parts else np.array([])
    return bool((ticks[1:] >= ticks[:-1]).all())


def in_order(data):
    return data.iloc[np.argsort(ticks_of(data), kind="stable")]


SQL_ROW = "epoch_ns(time), price, qty, sym::VARCHAR"


def sql_rows(data):
    """The rows as SQL gives them: ``SQL_ROW`` of each."""
    text = [None if pd.isna(value) else value for value in data["sym"]]
    return list(zip(ticks_of(data).tolist(), data["price"].tolist(), data["qty"].tolist(), text, strict=True))


class Model:
    """What a library should hold: per symbol a list of versions, None where one was removed."""

    def __init__(self, shapes=("hours", "ticks")):
        self.shapes = dict(zip(SYMBOLS, shapes, strict=True))
        self.versions = {name: [] for name in SYMBOLS}
        self.pruned = {name: set() for name in SYMBOLS}
        self.snapshots = {}
        # Symbols whose rows were out of order once: whether they are in order now, a library need not know.
        self.loose = set()

    def newest(self, name):
        """Return (number, data, metadata) of the newest version, data None for a deletion, or None."""
        if not self.versions[name]:
            return None
        number = len(self.versions[name]) - 1
        return (number, *self.versions[name][number])

    def frame(self, name, *arguments):
        return frame(self.shapes[name], *arguments)

    def time(self, name, units):
        return START.as_unit("ns") + units * UNITS[self.shapes[name]]

    @contextmanager
    def refusals(self, name):
        """Allow InvalidInput where it is not known whether rows are in order."""
        try:
            yield
        except vs.InvalidInput:
            if name not in self.loose:
                raise

    def live(self, name):
        found = self.newest(name)
        return found is not None and found[1] is not None

    def add(self, name, data, metadata):
        self.versions[name].append((data, metadata))

    def held(self, name):
        return {found[name] for found in self.snapshots.values() if name in found}

    def copy(self):
        made = Model(self.shapes.values())
        made.versions = {name: list(found) for name, found in self.versions.items()}
        made.pruned = {name: set(found) for name, found in self.pruned.items()}
        made.snapshots = dict(self.snapshots)
        made.loose = set(self.loose)
        return made


class LibraryMachine(RuleBasedStateMachine):
    """Drives one library; ``make_objects`` says where it lives."""

    make_objects = staticmethod(lambda: MemoryObjects("machine"))

    @initialize(shapes=st.tuples(st.sampled_from(sorted(UNITS)), st.sampled_from(sorted(UNITS))))
    def open(self, shapes):
        self.objects = MovableTime(self.make_objects())
        self.store = vs.Store(self.objects)
        self.lib = self.store.create_library("lib")
        self.model = Model(shapes)
        self.counter = 0
        self.looks_at_all = False

    # -- edits -----------------------------------------------------------------------------------------------

    @rule(name=symbols, seed=seeds, length=lengths, prune=st.sampled_from([False, False, False, True]))
    def write(self, name, seed, length, prune):
        data = self.model.frame(name, seed, length)
        item = self.lib.write(name, data, metadata={"seed": seed}, prune_previous_versions=prune)
        assert item.version == len(self.model.versions[name])
        self.model.add(name, data, {"seed": seed})
        if prune:
            self.forget(name, range(item.version))

    @rule(name=symbols, seed=seeds, length=lengths)
    def write_twice(self, name, seed, length):
        data = self.model.frame(name, seed, length)
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
            data = model.frame(name, seed, length, gap)
            lib.append(name, data)
            model.add(name, data, None)
            return
        _, before, metadata = model.newest(name)
        unit = UNITS[model.shapes[name]].value
        first = int(ticks_of(before)[-1] - START.as_unit("ns").value) // unit + gap if len(before) else gap
        data = model.frame(name, seed, length, first)
        with model.refusals(name):
            lib.append(name, data)
            if length:
                model.add(name, joined(before, data), metadata)

    @rule(name=symbols, columns=st.sampled_from([(), ("price",), ("other", "sym")]))
    def append_nothing(self, name, columns):
        """A frame without rows changes nothing, whatever its columns."""
        data = pd.DataFrame(columns=list(columns))
        if self.model.live(name):
            assert self.lib.append(name, data).version == self.model.newest(name)[0]

    @rule(name=symbols, seed=seeds, length=st.integers(1, 6), start=hours)
    def update(self, name, seed, length, start):
        self.update_in(self.lib, self.model, name, seed, length, start)

    @staticmethod
    def update_in(lib, model, name, seed, length, start, span=None):
        """``span``: units of time from ``start`` on that are replaced, whatever the data spans."""
        data = model.frame(name, seed, length, start + 1 if span is not None else start)
        low, high = (start, start + span) if span is not None else (start, start + length - 1)
        low, high = model.time(name, low), model.time(name, high) if span is not None else times_of(data)[-1]
        given = {"date_range": (low, high)} if span is not None else {}
        wanted = data[(times_of(data) >= low) & (times_of(data) <= high)]
        if not model.live(name):
            with pytest.raises(vs.NoSuchSymbol):
                lib.update(name, data, **given)
            lib.update(name, data, upsert=True, **given)
            model.add(name, wanted, None)
            return
        _, before, metadata = model.newest(name)
        if not ascends(before):
            with pytest.raises(vs.InvalidInput, match="sorted"):
                lib.update(name, data, **given)
            return
        with model.refusals(name):
            lib.update(name, data, **given)
            after = joined(before.iloc[:0], before[times_of(before) < low], wanted, before[times_of(before) > high])
            if len(wanted) or len(after) < len(before):
                model.add(name, after, metadata)

    @rule(name=symbols, seed=seeds, length=st.integers(0, 6), start=hours, span=st.integers(0, 8))
    def update_range(self, name, seed, length, start, span):
        self.update_in(self.lib, self.model, name, seed, length, start, span)

    @rule(name=symbols, seed=seeds, start=hours, span=st.integers(1, 8))
    def refuse_reversed_range(self, name, seed, start, span):
        reversed_range = (self.model.time(name, start + span), self.model.time(name, start))
        data = self.model.frame(name, seed, span + 1, start)
        for call in (
            lambda: self.lib.update(name, data, date_range=reversed_range),
            lambda: self.lib.update(name, data, date_range=reversed_range, upsert=True),
            lambda: self.lib.delete_data_in_range(name, reversed_range),
            lambda: self.lib.read(name, date_range=reversed_range),
        ):
            with pytest.raises(vs.InvalidInput, match="ends before it starts"):
                call()

    @rule(name=symbols, start=hours, length=st.integers(0, 8))
    def delete_range(self, name, start, length):
        if self.model.live(name):
            low, high = self.model.time(name, start), self.model.time(name, start + length)
            _, before, metadata = self.model.newest(name)
            after = before[(times_of(before) < low) | (times_of(before) > high)]
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

    @rule(
        name=symbols,
        parts=parts_of_symbols,
        mode=st.sampled_from(["write", "append"]),
        way=st.sampled_from(["check", "check", "sort", "as they are"]),
    )
    def stage_and_finalize(self, name, parts, mode, way):
        """Parts that may overlap, have no rows, or begin before the end of what is there."""
        staged = [self.model.frame(name, seed, length, start) for seed, start, length in parts]
        for part in staged:
            self.lib.stage(name, part)
        base = self.model.newest(name) if mode == "append" and self.model.live(name) else None
        todo = sorted((part for part in staged if len(part)), key=lambda part: ticks_of(part)[[0, -1]].tolist())
        if way == "sort" and todo:
            todo = [in_order(joined(*todo))]
        before = [base[1]] if base is not None and ascends(base[1]) else []
        fits = way == "as they are" or ascends(*before, *todo)
        finalize = self.lib.sort_and_finalize_staged_data if way == "sort" else self.lib.finalize_staged_data
        options = {"validate_index": False} if way == "as they are" else {}
        if not fits and name not in self.model.loose:
            with pytest.raises(vs.InvalidInput, match="overlap|before the end"):
                finalize(name, mode, **options)
        else:
            with self.model.refusals(name):
                finalize(name, mode, **options)
                if base is None:
                    self.model.add(name, joined(*todo) if todo else staged[0], None)
                elif todo:
                    self.model.add(name, joined(base[1], *todo), base[2])
                if not ascends(self.model.newest(name)[1]):
                    self.model.loose.add(name)
        self.lib.delete_staged_data(name)
        assert self.lib.get_staged_symbols() == []

    @rule(seed=seeds, length=lengths)
    def write_batch(self, seed, length):
        data = {name: self.model.frame(name, seed, length) for name in SYMBOLS}
        found = self.lib.write_batch([vs.WritePayload(name, data[name], {"batch": seed}) for name in SYMBOLS])
        assert [item.symbol for item in found] == list(SYMBOLS)
        for name in SYMBOLS:
            self.model.add(name, data[name], {"batch": seed})

    @rule(
        steps=st.lists(
            st.tuples(
                st.sampled_from(["append", "update", "range", "rows", "write"]), symbols, seeds, st.integers(1, 5)
            ),
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
                    elif kind == "range":
                        self.update_in(transaction, model, name, seed, length, seed % 20, seed % 5)
                    elif kind == "rows":
                        self.delete_rows_of(transaction, model, name, seed % 9)
                    else:
                        data = model.frame(name, seed, length)
                        transaction.write(name, data, metadata=seed)
                        model.add(name, data, seed)
                    if model.live(name):
                        assert_same(transaction.read(name).data, model.newest(name)[1])
                if ending == "error":
                    raise ZeroDivisionError
        except ZeroDivisionError:
            return
        for name in SYMBOLS:  # several edits of a symbol are one version
            if len(model.versions[name]) > before[name]:
                del model.versions[name][before[name] : -1]
        self.model = model

    # -- reads -----------------------------------------------------------------------------------------------

    @precondition(lambda self: any(map(self.model.live, SYMBOLS)))
    @rule(name=symbols, start=hours, span=st.integers(0, 8), limit=st.integers(0, 9), version=st.integers(0, 99))
    def read_parts(self, name, start, span, limit, version):
        readable = [
            number
            for number, (data, _) in enumerate(self.model.versions[name])
            if data is not None and number not in self.model.pruned[name]
        ]
        if not readable:
            return
        number = readable[version % len(readable)]
        whole = self.model.versions[name][number][0]
        low, high = self.model.time(name, start), self.model.time(name, start + span)
        times = times_of(whole)
        for options, expected in (
            ({"where": f"qty > {limit}"}, whole[whole["qty"] > limit]),
            ({"where": f"sym = 'a' AND time > TIMESTAMP_NS '{low}'"}, whole[(whole["sym"] == "a") & (times > low)]),
            ({"date_range": (low, high)}, whole[(times >= low) & (times <= high)]),
            ({"date_range": (low, None)}, whole[times >= low]),
            ({"row_range": (start, start + span)}, whole.iloc[start : start + span]),
            ({"row_range": (-span, None)}, whole.iloc[-span:]),
            ({"columns": ["sym"]}, whole[["sym"]]),
        ):
            found = self.lib.read(name, as_of=number, **options).data
            assert_same(found, expected, obj=f"{name} {number} {options}")
        described = self.lib.get_description(name, as_of=number)
        assert described.row_count == len(whole)
        if len(whole):
            ticks = ticks_of(whole)
            assert [pd.Timestamp(bound).as_unit("ns").value for bound in described.date_range] == [
                ticks.min(),
                ticks.max(),
            ]
        if name not in self.model.loose:
            assert described.sorted == "ASCENDING"

    @precondition(lambda self: any(map(self.model.live, SYMBOLS)))
    @rule(name=symbols, limit=st.integers(0, 9), adds=st.integers(0, 2), ending=st.sampled_from(["COMMIT", "ROLLBACK"]))
    def change_in_sql(self, name, limit, adds, ending):
        """Statements of a transaction see what those before them made; the rows are those that Python reads."""
        if not self.model.live(name):
            return
        number, before, metadata = self.model.newest(name)
        rows, lib = sql_rows(before), self.lib
        assert sorted(lib.sql(f'SELECT {SQL_ROW} FROM "{name}"').fetchall(), key=repr) == sorted(rows, key=repr)
        qty = before["qty"].to_numpy().copy()
        lib.sql("BEGIN")
        lib.sql(f'UPDATE "{name}" SET qty = qty + {adds} WHERE qty > {limit}')
        qty[qty > limit] += adds
        assert lib.sql(f'SELECT sum(qty), count(*) FROM "{name}"').fetchall() == [
            (int(qty.sum()) if len(qty) else None, len(qty))
        ]
        lib.sql(f'UPDATE "{name}" SET qty = (SELECT max(qty) FROM "{name}") WHERE qty <= {limit}')
        if len(qty):
            qty[qty <= limit] = qty.max()
        after = before.assign(qty=qty)
        if ending == "COMMIT":
            lib.sql(f'DELETE FROM "{name}" WHERE qty = {limit}')
            after = after[qty != limit]
        lib.sql(ending)
        item = lib.read_metadata(name)
        if ending == "COMMIT" and item.version == number + 1:
            self.model.add(name, after, metadata)
        else:
            assert item.version == number
            if ending == "COMMIT":
                assert_same(after, before)

    # -- removal ---------------------------------------------------------------------------------------------

    def forget(self, name, numbers):
        held = self.model.held(name)
        last = len(self.model.versions[name]) - 1
        self.model.pruned[name].update(number for number in numbers if number not in held and number != last)

    @rule(name=symbols, keep=st.integers(1, 3))
    def prune(self, name, keep):
        self.looks_at_all = True
        if self.model.versions[name]:
            self.lib.prune(name, keep_last=keep)
            visible = [n for n in range(len(self.model.versions[name])) if n not in self.model.pruned[name]]
            self.forget(name, visible[:-keep])

    @rule(name=symbols, pick=st.integers(0, 99))
    def delete_version(self, name, pick):
        self.looks_at_all = True
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
        self.looks_at_all = True
        self.lib.gc(grace=grace, dry_run=True)
        self.lib.gc(grace=grace, dry_run=False)

    @rule(days=st.sampled_from([-1, 1, 4, 8]))
    def jump(self, days):
        self.objects.offset += timedelta(days=days) if days > 0 else timedelta(hours=days)

    @rule()
    def reopen(self):
        self.looks_at_all = True
        self.store = vs.Store(self.objects)
        self.lib = self.store.get_library("lib")

    # -- what must hold --------------------------------------------------------------------------------------

    @invariant()
    def everything_reads_equal(self):
        if not hasattr(self, "model"):
            return
        self.check(self.lib, every=self.looks_at_all)
        self.looks_at_all = False

    def check(self, lib, *, every=True):
        """``every``: also what no step since the last look can have changed."""
        for name, versions in self.model.versions.items():
            for number, (data, metadata) in enumerate(versions):
                if number < len(versions) - 2 and not every:
                    continue
                if number in self.model.pruned[name] or data is None:
                    with pytest.raises(vs.NotFound):
                        lib.read(name, as_of=number)
                    continue
                item = lib.read(name, as_of=number)
                assert_same(item.data, data)
                assert item.metadata == metadata
            if self.model.live(name):
                assert lib.read_metadata(name).version == len(versions) - 1
            else:
                assert not lib.has_symbol(name)
        for snapshot, held in self.model.snapshots.items():
            for name, number in held.items():
                item = lib.read(name, as_of=snapshot)
                assert item.version == number
                assert_same(item.data, self.model.versions[name][number][0])

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
            max_examples=sized(histories, full=10 * histories),
            stateful_step_count=steps,
            deadline=None,
            derandomize=not IS_FULL,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.timeout(1800)
def test_histories_in_memory():
    """A share of 350 histories, on an object store in memory."""
    drive(LibraryMachine, 350, 12)


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
