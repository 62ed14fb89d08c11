"""Many processes on one symbol of a real S3 server, with lost answers and crashes."""

from __future__ import annotations

import time

import pandas as pd
import pytest

import duckvstore as vs
from duckvstore.testing.faulty import Fault, FaultyObjects, SimulatedCrash
from tests import children
from tests.sizes import IS_FULL

PROCESSES = 8
VERSIONS = 50
VERSIONS_WITH_FAULTS = 50 if IS_FULL else 12


def value(writer: int, number: int) -> pd.DataFrame:
    return pd.DataFrame({"writer": [writer] * 3, "number": [number] * 3})


def opened(url, options, *faults):
    objects = FaultyObjects(vs.open(url, options).objects)
    lib = vs.Store(objects).get_library("race")
    objects._numbers.clear()
    objects.faults = faults
    return lib


def write_many(url, options, writer, barrier, versions, faults):
    """Write that many versions, each with one call."""
    lib = opened(url, options, *faults)
    barrier.wait(60)
    for number in range(versions):
        lib.write("shared", value(writer, number), message=f"{writer}/{number}")


def write_until_crash(url, options, writer, method, number, acknowledged):
    """Write until the fault ends this process's work; tell what was acknowledged before."""
    lib = opened(url, options, Fault("crash_after" if number % 2 else "crash_before", number, method))
    try:
        for count in range(20):
            item = lib.write("shared", value(writer, count), message=f"{writer}/{count}")
            acknowledged.put((writer, count, item.version))
    except SimulatedCrash:
        pass
    acknowledged.put(None)


def run(targets):
    context = children.context()
    work = targets(context)  # kept until the end: started processes do not keep their barrier alive
    processes = [context.Process(target=target, args=args, daemon=True) for target, args in work]
    for process in processes:
        process.start()
    for process in processes:
        process.join(240)
    assert [process.exitcode for process in processes] == [0] * len(processes)


def check(lib, expected_count, messages=None):
    versions = lib.list_versions("shared")
    assert [pair.version for pair in versions] == list(reversed(range(expected_count)))
    found = [info.message for info in versions.values()]
    assert len(set(found)) == expected_count
    times = [info.date for info in versions.values()]
    assert times == sorted(times, reverse=True)
    assert len(set(times)) == expected_count
    if messages is not None:
        assert set(found) == messages
    return versions


@pytest.mark.timeout(280)
@pytest.mark.parametrize(
    ("versions_each", "faults"),
    [(VERSIONS, ()), (VERSIONS_WITH_FAULTS, tuple(Fault("drop_response", k, "create") for k in range(2, 80, 4)))],
    ids=["no faults", "lost answers"],
)
def test_eight_processes_write_fifty_versions_each_and_none_is_lost(s3_bucket, versions_each, faults):
    """400 versions, numbered 0 to 399, none lost, none doubled; also when answers to creates are lost."""
    options = s3_bucket.storage_options
    lib = vs.open(s3_bucket.url, options).create_library("race")

    def targets(context):
        barrier = context.Barrier(PROCESSES)
        return [
            (write_many, (s3_bucket.url, options, writer, barrier, versions_each, faults))
            for writer in range(PROCESSES)
        ]

    run(targets)
    total = PROCESSES * versions_each
    expected = {f"{writer}/{number}" for writer in range(PROCESSES) for number in range(versions_each)}
    versions = check(lib, total, expected)
    for pair, info in list(versions.items())[:: total // 25]:
        writer, number = map(int, info.message.split("/"))
        pd.testing.assert_frame_equal(lib.read("shared", as_of=pair.version).data, value(writer, number))
    # A writer's own versions are in the order in which it wrote them.
    for writer in range(PROCESSES):
        own = [info.message for info in versions.values() if info.message.startswith(f"{writer}/")]
        assert own == [f"{writer}/{number}" for number in reversed(range(versions_each))]


@pytest.mark.timeout(280)
def test_writers_that_crash_lose_nothing_acknowledged_and_leave_nothing_half(s3_bucket):
    """Eight processes, each crashing at another request: every acknowledged version reads, and all that is listed."""
    options = s3_bucket.storage_options
    lib = vs.open(s3_bucket.url, options).create_library("race")
    context = children.context()
    acknowledged = context.Queue()
    points = [
        ("put", 1),
        ("put", 4),
        ("put", 9),
        ("create", 1),
        ("create", 2),
        ("create", 5),
        ("create", 8),
        ("list", 1),
    ]
    run(
        lambda _: [
            (write_until_crash, (s3_bucket.url, options, writer, method, number, acknowledged))
            for writer, (method, number) in enumerate(points)
        ]
    )
    told, ended = {}, 0
    while ended < len(points):
        entry = acknowledged.get(timeout=30)
        if entry is None:
            ended += 1
        else:
            told[entry[2]] = entry[:2]
    versions = lib.list_versions("shared")
    check(lib, len(versions))
    for version, (writer, number) in told.items():
        pd.testing.assert_frame_equal(lib.read("shared", as_of=version).data, value(writer, number))
    for pair, info in versions.items():
        writer, number = map(int, info.message.split("/"))
        pd.testing.assert_frame_equal(lib.read("shared", as_of=pair.version).data, value(writer, number))
    assert set(told) <= {pair.version for pair in versions}
    assert lib.write("shared", value(9, 9)).version == len(versions)


def test_snapshots_are_one_moment_while_writers_run(s3_bucket):
    """A writer writes a, then b with the same number: no snapshot and no query sees b ahead of a by more than one."""
    options = s3_bucket.storage_options
    lib = vs.open(s3_bucket.url, options).create_library("race")
    lib.write("a", value(0, 0))
    lib.write("b", value(0, 0))
    context = children.context()
    process = context.Process(target=write_pairs, args=(s3_bucket.url, options), daemon=True)
    process.start()
    taken = 0
    deadline = time.monotonic() + 60
    while process.is_alive() and time.monotonic() < deadline:
        held = lib.snapshot(f"s{taken}").versions
        assert held["a"] - held["b"] in (0, 1), held
        taken += 1
    process.join(30)
    assert process.exitcode == 0
    assert taken > 2


def write_pairs(url, options):
    lib = vs.open(url, options).get_library("race")
    for number in range(40):
        lib.write("a", value(0, number))
        lib.write("b", value(0, number))
