"""Pruning and collecting with a fault, or with another's work, at each request: nothing that is held is ever lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from pandas.testing import assert_frame_equal

import duckvstore as vs
from duckvstore.engine.library import condemned
from duckvstore.engine.maintenance import prune
from duckvstore.engine.maintenance.collect import collect
from duckvstore.engine.reading import catalogue, visible
from duckvstore.engine.writing.commits import Call
from duckvstore.errors import DuckVStoreError
from duckvstore.format.stored import documents
from duckvstore.format.stored.documents import Decision
from duckvstore.objects.memory import MemoryObjects
from duckvstore.objects.wrappers import WrappedObjects
from duckvstore.testing.faulty import Fault, FaultyObjects, SimulatedCrash
from tests.sizes import step
from tests.upkeep import GRACE, LONGER, frame, keys, move_time, one_by_one, restore

FAULTS = (
    ("crash_before", 1),
    ("crash_after", 1),
    ("drop_response", 1),
    ("error_500", 1),
    ("drop_response", 3),
    ("drop_response", 12),
)
HOUR = timedelta(hours=1)
STEP = step(4)  # every so manyth request is met
ORPHAN = "eod/segments/x/" + "0" * 32 + "-" + "{:016x}" + ".parquet"


class World:
    """A library where a collection has something to do in each of its steps.

    Of symbol x, version 0 is due, 1 is condemned and held by a snapshot, 2 and 3 are there, 4 is of an aborted
    transaction, 5 is the newest. One segment that nothing refers to is due, another one is new.
    """

    def __init__(self, time) -> None:
        self.time = time
        self.inner = MemoryObjects("walk")
        lib = vs.Store(self.inner).create_library("eod")
        opened = lib.open_library
        for number in range(4):
            lib.write("x", frame(number))
        lib.snapshot("s", versions={"x": 1})
        self.inner.put(ORPHAN.format(1), b"left by a crash")
        condemned.publish(opened, "x", "test", versions=[0, 1])
        condemned.publish(opened, "x", "test", keys=[ORPHAN.format(1).removeprefix("eod/")])
        key = opened.layout.version("x", 3)
        before = documents.load_version(self.inner.read(key), where=key)
        aborted = replace(
            before, number=4, write_id="w", created_at=opened.objects.now(), parent=3, transaction="ab" * 16
        )
        self.inner.put(opened.layout.version("x", 4), documents.dump_version(aborted))
        decision = Decision("ab" * 16, "aborted", opened.objects.now(), {})
        self.inner.put(opened.layout.transaction("ab" * 16), decision.dump())
        opened.heads.forget("x")
        time.move(GRACE - HOUR)
        lib.write("x", frame(5))
        time.move(HOUR + timedelta(seconds=1))
        self.inner.put(ORPHAN.format(2), b"left by a crash")
        self.objects = dict(self.inner._objects)
        self.began = time.now
        self.frames = {0: 0, 1: 1, 2: 2, 3: 3, 5: 5}  # number to seed

    def again(self) -> MemoryObjects:
        """Everything as it was made."""
        self.time.now = self.began
        self.inner = MemoryObjects("walk")
        self.inner._objects.update(self.objects)
        return self.inner

    def handle(self, objects=None) -> vs.Library:
        return vs.Store(objects or self.inner).get_library("eod")


@pytest.fixture
def world(monkeypatch):
    """The prepared world; requests are made one after the other, so that a number always means the same one."""
    one_by_one(monkeypatch)
    return World(move_time(monkeypatch))


def gc(lib, **options):
    return collect(lib.open_library, dry_run=False, **options)


def delete(lib, numbers):
    return prune.delete_versions(lib.open_library, Call("x"), "x", numbers)


OPERATIONS = {
    "prune": lambda lib: prune.prune(lib.open_library, "x", keep_last=2),
    "delete old": lambda lib: delete(lib, [2]),
    "delete newest": lambda lib: delete(lib, [5, 3]),
    "gc": gc,
    "gc at once": lambda lib: gc(lib, grace=timedelta(0)),
}
EXPECTED = {  # the versions that are there afterwards, where the operation has no effect, a part, or all
    "prune": [[5, 3, 2], [5, 3]],
    "delete old": [[5, 3, 2], [5, 3]],
    "delete newest": [[5, 3, 2], [6, 5, 3, 2], [6, 2]],
    "gc": [[5, 3, 2]],
    "gc at once": [[5, 3, 2]],
}


def check(world: World) -> list[int]:
    """Read every version that is listed, and every snapshot, with a fresh handle; return the numbers."""
    lib = world.handle()
    listed = lib.list_versions("x")
    for pair, info in listed.items():
        assert_frame_equal(lib.read("x", as_of=pair.version).data, frame(world.frames[pair.version]))
        assert lib.read("x", as_of=info.date).version == pair.version
    for name in lib.list_snapshots(load_metadata=False):
        for symbol, number in catalogue.read_snapshot(lib.open_library, name).versions.items():
            assert_frame_equal(lib.read(symbol, as_of=name).data, frame(world.frames[number]))
    return [pair.version for pair in listed]


def check_clean(world: World) -> None:
    """Collect at once; what is left is what versions and snapshots refer to, and no more."""
    before = check(world)
    gc(world.handle(), grace=timedelta(0))
    assert check(world) == before
    lib = world.handle()
    held = [
        catalogue.resolve(lib.open_library, symbol, catalogue.Held(number))
        for name in lib.list_snapshots(load_metadata=False)
        for symbol, number in catalogue.read_snapshot(lib.open_library, name).versions.items()
    ]
    kept = [*catalogue.history(lib.open_library, "x"), *held]
    assert keys(world.inner, "segments") == {f"eod/{segment.key}" for each in kept for segment in each.segments}
    highest = max(number for number in (*visible.numbers(lib.open_library, "x"),))
    layout = lib.open_library.layout
    assert keys(world.inner, "versions") == {
        layout.version("x", number) for number in {e.number for e in kept} | {highest}
    }
    assert not keys(world.inner, "journal")
    assert not keys(world.inner, "transactions")


def numbers_of(world: World, operation, sample: int) -> range:
    """The numbers of the requests that are met; another ``sample`` meets others."""
    return range(1 + sample % STEP, len(requests(world, operation)) + 1, STEP)


def requests(world: World, operation) -> list[str]:
    """The method of each request that the operation makes without faults."""
    lib = world.handle(faulty := FaultyObjects(world.again()))
    faulty.requests.clear()
    operation(lib)
    return [request.method for request in faulty.requests]


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_fault_at_any_request_loses_nothing_and_leaves_only_garbage(world, name):
    """Crashes, lost answers and errors: what is there is one of the expected states, and the next calls mend it."""
    operation = OPERATIONS[name]
    methods = requests(world, operation)
    assert len(methods) > 5
    walked = 0
    for method in sorted(set(methods)):
        for number in range(1, methods.count(method) + 1):
            possible = [(kind, repeat) for kind, repeat in FAULTS if repeat == 1 or method == "create"]
            for kind, repeat in possible[number % step(0.4) :: step(0.4)]:
                lib = world.handle(faulty := FaultyObjects(world.again()))
                faulty._numbers.clear()
                faulty.faults = (Fault(kind, number, method, repeat),)
                failure = None
                try:
                    operation(lib)
                except (SimulatedCrash, DuckVStoreError) as error:
                    failure = error
                where = f"{kind} at {method} {number}, {repeat} times: {failure!r}"
                world.frames = {0: 0, 1: 1, 2: 2, 3: 3, 5: 5, 6: 2}
                found = check(world)
                assert found in EXPECTED[name], where
                if failure is None:
                    assert found == EXPECTED[name][-1], where
                try:
                    operation(world.handle())
                except vs.NoSuchVersion:
                    assert name.startswith("delete"), where  # it was done
                item = world.handle().write("x", frame(7))
                world.frames[item.version] = 7
                check_clean(world)
                walked += 1
    assert walked > 40 / step(0.4)


# -- others at work between any two requests -----------------------------------------------------------------------


def snapshot_newest(lib):
    lib.snapshot(f"t{len(lib.list_snapshots())}")


def snapshot_named(lib):
    lib.snapshot(f"t{len(lib.list_snapshots())}", versions={"x": 2})


def write(lib):
    return lib.write("x", frame(9)).version, 9


def write_metadata(lib):
    seed = int(lib.read("x").data["n"].iloc[0])
    return lib.write_metadata("x", {"n": 1}).version, seed


def restored(lib):
    return restore(lib, "x", 2), 2


def delete_snapshot(lib):
    if "s" in lib.list_snapshots():
        lib.delete_snapshot("s")


WRITERS = (write, write_metadata, restored, snapshot_newest, snapshot_named)
SKEWS = (timedelta(0), HOUR, -HOUR)
OTHERS = (*WRITERS, gc, OPERATIONS["prune"], OPERATIONS["delete newest"], delete_snapshot)


def record(world: World, outcome) -> None:
    """Remember what a version must read as."""
    if isinstance(outcome, tuple) and len(outcome) == 2 and outcome[0] > 5:
        world.frames[outcome[0]] = outcome[1]


def learn(world: World) -> None:
    """Versions that a deletion made hold what they were restored from: version 2 of the prepared ones."""
    for version in catalogue.visible_documents(world.handle().open_library, "x"):
        world.frames.setdefault(version.number, 2)


class Skewed(WrappedObjects):
    """A machine whose clock is wrong."""

    skew = timedelta(0)

    def now(self):
        return self.inner.now() + self.skew


def interleave(world: World, main, other, number: int, *, skew=timedelta(0), stall=timedelta(0), fresh=True) -> list:
    """Run ``main``, and ``other`` before its request ``number``, with a stall around it; return errors of ``main``."""
    skewed = Skewed(world.again())
    skewed.skew = skew
    other_lib = world.handle(skewed)
    if not fresh:
        check(world)
        other_lib.list_versions("x")
    lib = world.handle(faulty := FaultyObjects(world.inner))
    world.frames = {0: 0, 1: 1, 2: 2, 3: 3, 5: 5}
    faulty.requests.clear()
    ran = []

    def others(request):
        if request.number == number:
            ran.append(request)
            record(world, other(other_lib))
            world.time.move(stall)
            if stall:
                record(world, other(other_lib))

    faulty.before = others
    failures = []
    try:
        record(world, main(lib))
    except DuckVStoreError as error:
        failures.append(error)
    assert ran
    return failures


def settle(world: World) -> None:
    """Let time pass and collect, twice; everything that is there still reads as it must."""
    learn(world)
    check(world)
    for _ in range(2):
        world.time.move(LONGER)
        report = gc(world.handle())
        assert not report.failures
        check(world)
    check_clean(world)


@pytest.mark.parametrize("other", OTHERS, ids=lambda other: getattr(other, "__name__", "other"))
@pytest.mark.parametrize("skew", SKEWS, ids=["same clock", "fast", "slow"])
def test_whatever_others_do_at_any_request_of_a_collection_stays_whole(world, other, skew):
    """Writes, restores, snapshots, prunes and other collections while one runs; also where clocks differ by an hour."""
    for number in numbers_of(world, gc, OTHERS.index(other) + SKEWS.index(skew)):
        failures = interleave(world, gc, other, number, skew=skew)
        assert not failures, (number, failures)
        settle(world)


@pytest.mark.parametrize("main", [*WRITERS, OPERATIONS["prune"], OPERATIONS["delete newest"]],
                         ids=lambda main: getattr(main, "__name__", "other"))  # fmt: skip
@pytest.mark.parametrize("skew", SKEWS, ids=["same clock", "fast", "slow"])
def test_a_collection_at_any_request_of_a_writer_takes_nothing_that_it_refers_to(world, main, skew):
    """Also after a prune of all that may be pruned, just before."""

    def others(lib):
        prune.prune(lib.open_library, "x", keep_last=1)
        gc(lib)

    for number in numbers_of(world, main, SKEWS.index(skew)):
        for failure in interleave(world, main, others, number, skew=skew):
            assert isinstance(failure, (vs.NoSuchVersion, vs.Conflict)), (number, failure)
        settle(world)


@pytest.mark.parametrize("main", WRITERS, ids=lambda main: main.__name__)
def test_a_writer_that_stalls_for_more_than_half_the_grace_period_refuses_or_is_safe(world, main):
    """Whatever is pruned and collected before and after the stall: what the writer made can be read."""

    def others(lib):
        prune.prune(lib.open_library, "x", keep_last=1)
        gc(lib)

    refused = 0
    count = len(requests(world, main))
    for number in range(1, count + 1):
        failures = interleave(world, main, others, number, stall=GRACE * 0.6)
        refused += any("half the grace period" in str(failure) for failure in failures)
        settle(world)
    assert refused or main is write  # what a writer refers to that has uploaded all itself is as old as its uploads
    assert refused < count


def test_a_collection_that_stalls_takes_nothing_that_came_meanwhile(world):
    """It rests on what was condemned when it began: however long it takes, nothing new is touched."""
    for sample, other in enumerate((write, restored, snapshot_named, write_metadata)):
        for number in numbers_of(world, gc, sample):
            for failure in interleave(world, gc, other, number, stall=GRACE * 3, fresh=False):
                assert "took longer than half the grace period" in str(failure), (number, failure)
            settle(world)


def test_a_prune_that_stalls_does_not_shorten_the_grace(world):
    """Its time would be that of its beginning: it is taken back, or is young enough."""
    for number in range(1, len(requests(world, OPERATIONS["prune"])) + 1):
        interleave(world, OPERATIONS["prune"], lambda lib: None, number, stall=GRACE * 0.6)
        lib = world.handle()
        for garbage in (condemned.read(lib.open_library, key) for key in keys(world.inner, "garbage")):
            assert garbage.reason != "prune" or world.time.now - garbage.condemned_at < GRACE / 2
        settle(world)
