"""Many appends: from many processes at once, and very many small ones."""

from __future__ import annotations

import random
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal

import duckvstore as vs
from duckvstore.objects.memory import MemoryObjects
from tests import children
from tests.counting import CountingObjects
from tests.sizes import sized

PROCESSES = 8
APPENDS_EACH = sized(50, full=200)
SMALL_APPENDS = sized(2_500, full=10_000)


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
    context = children.context()
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


NAMES = ("number", "text", "moment", "legs", "box")
SEEDS = sized(12, full=60)
STEPS = 8


class Pieces:
    """Rows that come day by day: any of five columns, with values or without any, of types that change."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def cells(self, name, rows):
        """Return the cells of a column; those of one call are of one shape."""
        choose = self.random.choice
        if choose([True, False, False]):
            return [choose([None, float("nan")])] * rows
        shapes = {
            "number": [lambda: choose([1, -7, 2**53]), lambda: choose([0.5, 2.0, -1.5])],
            "text": [lambda: choose(["a", "b", ""])],
            "moment": [lambda: datetime(2024, 1, choose([1, 2, 3]))],
            "legs": [list, lambda: choose([[1, 2], [], None]), lambda: choose([[0.5], None])],
            "box": [
                lambda: choose([{"w": 1}, {"w": None}, None]),
                lambda: choose([{"w": 2.5, "in": [{"a": 1}]}, {"w": None, "in": []}]),
                lambda: {"in": [{"a": 2, "b": choose(["x", None])}], "h": "y"},
            ],
        }
        shape = choose(shapes[name])
        return [shape() for _ in range(rows)]

    def piece(self, first):
        """Return the columns of up to three rows, whose days begin at ``first``, and these."""
        rows = self.random.choice([0, 1, 2, 3])
        columns = {name: self.cells(name, rows) for name in NAMES if self.random.random() < 0.75}
        return columns, pd.DatetimeIndex([DAY + pd.Timedelta(first + at, "D") for at in range(rows)], name="day")


DAY = pd.Timestamp("2024-01-01")


def as_frame(columns, days):
    # Without a dtype, pandas chooses one as in anybody's program: float64 for NaN, objects for lists.
    return pd.DataFrame({name: pd.Series(cells, index=days) for name, cells in columns.items()}, index=days)


def as_table(columns, days):
    cells = {name: [None if plain(cell) is None else cell for cell in column] for name, column in columns.items()}
    return pa.table({"day": pa.array(days.to_pydatetime(), pa.timestamp("us")), **cells})


def plain(cell):
    """Return a cell as it is compared: nothing for a missing one, no field that is missing, and plain numbers."""
    if isinstance(cell, dict):
        return {key: plain(value) for key, value in cell.items() if plain(value) is not None}
    if isinstance(cell, (list, np.ndarray)):
        return [plain(value) for value in cell]
    return None if cell is None or cell is pd.NaT or cell is pd.NA or cell != cell else cell


def add(random_, lib, value):
    """Add rows behind the others, in one of the ways there are."""
    way = random_.choice(["append", "append_batch", "transaction", "stage", "update"])
    if way == "append_batch":
        lib.append_batch([vs.WritePayload("s", value)])
    elif way == "transaction":
        with lib.transaction() as both:
            both.append("s", value)
    elif way == "stage":
        lib.stage("s", value)
        lib.finalize_staged_data("s", mode="append")
    elif way == "update" and isinstance(value, pd.DataFrame):
        lib.update("s", value, upsert=True)
    else:
        lib.append("s", value)


@pytest.mark.parametrize("make", [as_frame, as_table])
@pytest.mark.parametrize("seed", range(SEEDS))
def test_rows_of_any_columns_are_a_concatenation(seed, make):
    """Nothing is refused, and all calls give what pandas' own concat gives of the same cells; so does SQL."""
    pieces = Pieces(seed)
    objects = MemoryObjects("pieces")
    lib = vs.Store(objects).create_library("l")
    taken, count = [], 0
    for step in range(STEPS):
        columns, days = pieces.piece(count)
        value = make(columns, days)
        lib.write("s", value) if step == 0 else add(pieces.random, lib, value)
        if len(days) or not step:
            cells = {name: pd.Series(column, index=days, dtype=object) for name, column in columns.items()}
            taken.append(pd.DataFrame(cells, index=days))
        count += len(days)
    if pieces.random.random() < 0.5 and any("number" in one for one in taken):
        lib.delete_rows("s", "number IS NULL")
        taken = [one[one["number"].notna()] if "number" in one else one[:0] for one in taken]
    expected = pd.concat(taken)
    lib = vs.Store(objects).get_library("l")  # which has read no document yet
    found = lib.read("s").data
    frame = found.to_pandas(types_mapper=pd.ArrowDtype).set_index("day") if make is as_table else found
    assert list(map(plain, frame.index)) == list(expected.index)
    names = [name for name in expected.columns if name in frame.columns]
    assert not [name for name in expected.columns if name not in names and expected[name].notna().any()]
    for name in names:
        cells = found[name].to_pylist() if make is as_table else frame[name]
        assert list(map(plain, cells)) == list(map(plain, expected[name])), name
    if names and len(expected):
        asked = lib.sql(f"SELECT {', '.join(names)} FROM s ORDER BY day").fetchall()
        assert [tuple(map(plain, row)) for row in asked] == [
            tuple(plain(cell) for cell in row) for row in expected[names].itertuples(index=False)
        ]
    for name, condition, test in (
        ("number", "number > 0.75", lambda cell: cell > 0.75),
        ("text", "text >= 'b'", lambda cell: cell >= "b"),
        ("moment", "moment < TIMESTAMP '2024-01-03'", lambda cell: cell < datetime(2024, 1, 3)),
        ("box", "box IS NULL", None),
    ):
        if name in names and expected[name].notna().any():
            cells = list(map(plain, expected[name]))
            wanted = sum(cell is None if test is None else cell is not None and test(cell) for cell in cells)
            assert lib.sql(f"SELECT count(*) FROM s WHERE {condition}").fetchone() == (wanted,)
    assert lib.verify().ok
