"""Many appends: from many processes at once, and very many small ones."""

from __future__ import annotations

import multiprocessing
import os

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal

import duckvstore as vs
from duckvstore.objects.memory import MemoryObjects
from duckvstore.objects.wrappers import CountingObjects

IS_FULL = bool(os.environ.get("DUCKVSTORE_FULL"))
PROCESSES = 8
APPENDS_EACH = 200 if IS_FULL else 50
SMALL_APPENDS = 10_000 if IS_FULL else 2_500


def rows(writer: int, number: int) -> pd.DataFrame:
    return pd.DataFrame({"writer": [writer] * 2, "number": [number] * 2, "row": [0, 1]})


def append_many(url, options, writer, barrier):
    lib = vs.open(url, options).get_library("race")
    barrier.wait(60)
    for number in range(APPENDS_EACH):
        lib.append("shared", rows(writer, number), message=f"{writer}/{number}")


@pytest.mark.timeout(900)
def test_eight_processes_append_to_one_symbol(s3_bucket):
    """Every row is there exactly once; each append's rows are together, and each writer's in its order."""
    lib = vs.open(s3_bucket.url, s3_bucket.storage_options).create_library("race")
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(PROCESSES)
    workers = [
        context.Process(
            target=append_many, args=(s3_bucket.url, s3_bucket.storage_options, writer, barrier), daemon=True
        )
        for writer in range(PROCESSES)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(850)
    assert [worker.exitcode for worker in workers] == [0] * PROCESSES
    found = lib.read("shared").data
    assert len(found) == PROCESSES * APPENDS_EACH * 2
    assert (found["row"].to_numpy() == np.tile([0, 1], PROCESSES * APPENDS_EACH)).all()
    assert found.duplicated().sum() == 0
    for writer, mine in found.groupby("writer"):
        assert mine["number"].is_monotonic_increasing, writer
    versions = lib.list_versions("shared")
    assert len(versions) == PROCESSES * APPENDS_EACH
    assert len({info.message for info in versions.values()}) == PROCESSES * APPENDS_EACH
    # The order of the rows is the order of the versions.
    last = found.iloc[-1]
    assert next(iter(versions.values())).message == f"{last['writer']}/{last['number']}"


@pytest.mark.timeout(900)
def test_very_many_small_appends_stay_cheap_to_read_and_to_write():
    """Ten rows each: at most six rows are written per row, and a full read takes at most thirty requests."""
    counting = CountingObjects(MemoryObjects("many"))
    lib = vs.Store(counting).create_library("many")
    count = SMALL_APPENDS
    index = pd.date_range("2026-01-01", periods=count * 10, freq="s", name="time")
    whole = pd.DataFrame({"price": np.random.default_rng(0).normal(size=count * 10)}, index=index)
    written = most = 0
    before = 0
    for start in range(0, count * 10, 10):
        item = lib.append("ticks", whole.iloc[start : start + 10])
        written += item.new_rows
        most = max(most, item.new_rows)
        before = item.row_count
    assert before == count * 10
    assert written <= 6 * count * 10
    version = lib.open_library.version("ticks", count - 1)
    assert most <= 10 + 2 * version.window, "no append writes more than one full segment again"
    fresh = vs.Store(counting).get_library("many")
    counting.reset()
    assert_frame_equal(fresh.read("ticks").data, whole, check_freq=False)
    assert counting.request_count <= 30


def racing(lib, reader, appended):
    """Append a stream while another handle's version comes between, so that the plan is made again."""
    other = vs.Store(lib.open_library.objects).get_library(lib.name)

    def batches():
        for position, batch in enumerate(reader):
            if position == 1:
                appended(other)
            yield batch

    return pa.RecordBatchReader.from_batches(reader.schema, batches())


def numbers(*values):
    return pa.table({"x": pa.array(values, pa.int64())})


@pytest.mark.parametrize("between", ["append", "write", "delete", "another schema"])
@pytest.mark.parametrize("call", ["append", "write"])
def test_a_stream_is_stored_whole_when_another_writer_comes_between(call, between):
    """A stream can be read once only, and a plan is made again on a conflict: no row is lost or doubled."""
    lib = vs.Store(MemoryObjects("streams")).create_library("eod")
    lib.write("x", numbers(1))
    actions = {
        "append": lambda other: other.append("x", numbers(2)),
        "write": lambda other: other.write("x", numbers(5)),
        "delete": lambda other: other.delete("x"),
        "another schema": lambda other: other.append("x", pa.table({"y": ["a"], "x": pa.array([2])})),
    }
    stream = racing(lib, numbers(*range(10, 30)).to_reader(max_chunksize=5), actions[between])
    getattr(lib, call)("x", stream)
    before = {"append": [1, 2], "write": [5], "delete": [], "another schema": [1, 2]}[between]
    found = lib.read("x").data
    assert found["x"].to_pylist() == [*(before if call == "append" else []), *range(10, 30)]
    if between == "another schema" and call == "append":
        assert found["y"].to_pylist() == [None, "a", *[None] * 20]
    assert lib.verify().ok


@pytest.mark.parametrize("call", ["append", "write"])
def test_a_stream_that_fails_is_never_stored_in_part(call):
    """Its error is raised, also through a handle that remembers the head and would plan again."""
    lib = vs.Store(MemoryObjects("streams")).create_library("eod")
    lib.write("x", numbers(1))

    def batches():
        yield from numbers(1, 2).to_batches()
        raise vs.StorageUnavailable("the source is gone")

    stream = pa.RecordBatchReader.from_batches(numbers().schema, batches())
    with pytest.raises(Exception, match="the source is gone"):
        getattr(lib, call)("x", stream)
    assert list(lib.list_versions("x")) == [("x", 0)]
    assert lib.read("x").data == numbers(1)
