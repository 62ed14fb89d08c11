"""How DuckVStore's seconds grow with rows, columns, segments, versions and writers, with exponents fitted.

An exponent is the slope of the logarithms by least squares: 1 is in proportion, 0 is not at all.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.benchmarks import shapes
from tests.benchmarks.peers import DuckVStore, Place
from tests.servers import SeaweedServer

APPENDS = 10


def exponent(sizes: list[float], seconds: list[float]) -> float:
    """Return the slope of log seconds over log size."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def seconds_of(action: Callable[[], Any], times: int = 3) -> float:
    """Return the median seconds of some calls."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        action()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def measured(
    server: SeaweedServer, folder: Path, top: int, full: bool
) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Return rows of two tables, with ``top`` rows at most.

    Of growth: what grows, what is timed, sizes, seconds and the exponent; and what each edit stores.
    """
    server.create_bucket("growth")
    (folder / "growth").mkdir()
    place = Place(server.endpoint, "growth", str(folder / "growth"))
    found: list[dict[str, Any]] = []

    def keep(grows: str, timed: str, sizes: list[int], seconds: list[float]) -> None:
        found.append(
            {"grows": grows, "timed": timed, "sizes": sizes, "seconds": seconds, "exponent": exponent(sizes, seconds)}
        )
        print(f"growth  {grows:10} {timed:34} {found[-1]['exponent']:5.2f}", flush=True)

    _frames("rows", [max(1, top // part) for part in (27, 9, 3, 1)], shapes.ticks, place, keep)
    _frames("columns", [30, 100, 1000, 10_000 if full else 3000], shapes.wide, place, keep)
    _segments(place, top // 2, keep)
    _versions(place, [10, 30, 100, 1000 if full else 300], keep)
    writers = [1, 2, 4, 8]
    keep("writers", "a commit of all to one symbol", writers, [_of_writers(place, count, True) for count in writers])
    keep("writers", "a commit, a symbol each", writers, [_of_writers(place, count, False) for count in writers])
    return found, [*_edits(place, top), _tiny_appends(place, 10_000 if full else 1000)]


def _frames(grows: str, sizes: list[int], make: Any, place: Place, keep: Any) -> None:
    """Time writing and reading frames of several sizes."""
    lib = DuckVStore(place).lib
    written, read = [], []
    for size in sizes:
        frame = make(size)
        names = iter(f"{grows}{size}_{number}" for number in range(10))
        lib.write(f"{grows}{size}", frame)
        written.append(seconds_of(lambda: lib.write(next(names), frame)))
        read.append(seconds_of(lambda: lib.read(f"{grows}{size}").data))
    keep(grows, "write", sizes, written)
    keep(grows, "read", sizes, read)


def _segments(place: Place, rows: int, keep: Any) -> None:
    """Time one row of a symbol, and a count in SQL, over the same rows in ever more segments."""
    store = DuckVStore(place).store
    frame = shapes.ticks(rows)
    moment = frame.index[rows // 2]
    counts, one, sql, edited = [], [], [], []
    for kilobytes in (64, 256, 1024, 4096):
        lib = store.create_library(f"segments{kilobytes}", segment_bytes=kilobytes * 1024)
        lib.write("s", frame)
        counts.append(lib.get_description("s").segment_count)
        one.append(seconds_of(lambda: lib.read("s", date_range=(moment, moment)).data, 5))
        sql.append(seconds_of(lambda: lib.sql("SELECT count(*), sum(qty) FROM s").fetchall()))
        row = frame.iloc[rows // 2 : rows // 2 + 1]
        numbers = iter(range(1, 100))
        edited.append(seconds_of(lambda: lib.update("s", row.assign(noise=float(next(numbers))))))
    for timed, seconds in (("read one row", one), ("sum of a column in SQL", sql), ("update one row", edited)):
        keep("segments", timed, counts[::-1], seconds[::-1])


def _versions(place: Place, sizes: list[int], keep: Any) -> None:
    """Time appends to, and reads of, a symbol that has ever more versions."""
    lib = DuckVStore(place).lib
    chunk = shapes.ticks(10)
    step = chunk.index[-1] - chunk.index[0] + pd.Timedelta(seconds=1)
    numbers = iter(range(10**6))
    appended, read, old = [], [], []

    def append() -> None:
        lib.append("versions", chunk.set_axis((chunk.index + step * next(numbers)).rename("time")))

    for size in sizes:
        while len(lib.list_versions("versions") if lib.has_symbol("versions") else []) < size - 10:
            for _ in range(10):
                append()
        appended.append(seconds_of(append, 10))
        read.append(seconds_of(lambda: DuckVStore(place).lib.read("versions").data, 5))
        old.append(seconds_of(lambda: DuckVStore(place).lib.read("versions", as_of=3).data, 5))
    for timed, seconds in (("append 10 rows", appended), ("read, opened anew", read), ("read version 3", old)):
        keep("versions", timed, sizes, seconds)


def _write_often(place: Place, name: str, number: int) -> tuple[float, float]:
    """Be a writer: commit some versions, and return when it began and ended."""
    lib = DuckVStore(place).lib
    frame = shapes.ticks(100)
    lib.write(f"warm{number}", frame)
    start = time.time()
    for index in range(APPENDS):
        lib.write(name, frame.assign(id=number * APPENDS + index))
    return start, time.time()


def _of_writers(place: Place, count: int, one_symbol: bool) -> float:
    """Return the seconds for each commit of some writers that run at once, as the library sees it."""
    names = [f"shared{count}" if one_symbol else f"own{count}_{number}" for number in range(count)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context) as pool:
        spans = [*pool.map(_write_often, [place] * count, names, range(count))]
    return (max(end for _, end in spans) - min(start for start, _ in spans)) / (count * APPENDS)


def _edits(place: Place, rows: int) -> list[dict[str, str]]:
    """Write almost the same frame again, and tell what share of its bytes was new."""
    lib = DuckVStore(place).lib
    data, middle = shapes.ticks(rows), rows // 2
    changed = data.copy()
    changed.iloc[middle, list(data).index("price")] += 1
    first = data.head(1).set_axis((data.index[:1] - pd.Timedelta(seconds=1)).rename("time"))
    edits = {
        "nothing": data,
        "one cell": changed,
        "one row more at the front": pd.concat([first, data]),
        "1 % of the rows less in the middle": pd.concat([data.iloc[:middle], data.iloc[middle + rows // 100 :]]),
    }
    found = []
    for change, edited in edits.items():
        lib.write(change, data)
        item = lib.write(change, edited)
        found.append({"change": change, "found": f"{item.new_bytes / item.stored_bytes:.1%}"})
    return found


def _tiny_appends(place: Place, count: int) -> dict[str, str]:
    """Append ten rows often, and tell how often each row was written in all."""
    lib, data = DuckVStore(place).lib, shapes.ticks(count * 10)
    written = sum(lib.append("tiny", data.iloc[start : start + 10]).new_rows for start in range(0, len(data), 10))
    segments = lib.get_description("tiny").segment_count
    return {
        "change": f"{count:,} appends of 10 rows",
        "found": f"each row {written / len(data):.1f} times, {segments} segments at the end",
    }
