"""What is measured: each case gets ready, which is not timed, and returns the call that is.

``number`` is never the same twice, over all processes of a run: names and times that are new come from it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from tests.benchmarks.peers import Peer
from tests.benchmarks.shapes import SMALL_COUNT, SMALL_ROWS, Shape

APPENDED_ROWS = 10_000


@dataclass
class Run:
    """A peer, and the frame that it has or gets."""

    peer: Peer
    shape: Shape
    size: int
    known: dict[str, Any]

    @cached_property
    def frame(self) -> pd.DataFrame:
        return self.shape.make(self.size)


def prepare(run: Run) -> dict[str, Any]:
    """Store what the other cases read, and return what they need to know of it."""
    frame = run.frame
    if run.shape.name == "small":
        for index in range(SMALL_COUNT):
            run.peer.prepare(f"small{index}", frame)
    else:
        run.peer.prepare(run.shape.name, frame)
    cut = int(len(frame) * 0.5)
    return {
        "bound": float(frame[run.shape.value].quantile(0.99)),
        "start": str(frame.index[cut]),
        "end": str(frame.index[cut + len(frame) // 100]),
        "last": str(frame.index[-1]),
    }


def _write(run: Run, number: int) -> Callable[[], Any]:
    frame = run.frame
    return lambda: run.peer.write(f"new{number}", frame)


def _read(run: Run, number: int) -> Callable[[], Any]:
    return lambda: run.peer.read(run.shape.name)


def _columns(run: Run, number: int) -> Callable[[], Any]:
    return lambda: run.peer.read(run.shape.name, list(run.shape.columns))


def _filter(run: Run, number: int) -> Callable[[], Any]:
    return lambda: run.peer.filter(run.shape.name, run.shape.value, run.known["bound"])


def _dates(run: Run, number: int) -> Callable[[], Any]:
    start, end = pd.Timestamp(run.known["start"]), pd.Timestamp(run.known["end"])
    return lambda: run.peer.dates(run.shape.name, start, end)


def _group(run: Run, number: int) -> Callable[[], Any]:
    return lambda: run.peer.group_by(run.shape.name, "sym", "price")


def _rewrite(run: Run, number: int) -> Callable[[], Any]:
    frame, name = run.frame, f"rewritten{number}"
    run.peer.write(name, frame)
    changed = frame.copy()
    changed.iloc[len(frame) // 2, list(frame).index(run.shape.value)] += 1
    return lambda: run.peer.write(name, changed)


def _append(run: Run, number: int) -> Callable[[], Any]:
    rows = min(APPENDED_ROWS, run.size) if run.shape.name != "wide" else 100
    chunk = run.shape.make(rows) if run.shape.name != "wide" else run.frame.head(rows)
    span = chunk.index[-1] - chunk.index[0] + pd.Timedelta(seconds=1)
    later = pd.Timestamp(run.known["last"]) - chunk.index[0] + pd.Timedelta(seconds=1) + number * span
    chunk = chunk.set_axis((chunk.index + later).rename("time"))
    return lambda: run.peer.append(run.shape.name, chunk)


def _update(run: Run, number: int) -> Callable[[], Any]:
    row = run.frame.iloc[500:501] + number
    return lambda: run.peer.update(run.shape.name, row)


def _small_writes(run: Run, number: int) -> Callable[[], Any]:
    frame = run.shape.make(SMALL_ROWS)
    return lambda: [run.peer.write(f"new{number}_{index}", frame) for index in range(SMALL_COUNT)]


def _small_reads(run: Run, number: int) -> Callable[[], Any]:
    return lambda: [run.peer.read(f"small{index}") for index in range(SMALL_COUNT)]


# A case by its name, and whether it writes: then its new bytes are measured too.
CASES: dict[str, tuple[Callable[[Run, int], Callable[[], Any]], bool]] = {
    "write": (_write, True),
    "read": (_read, False),
    "few columns": (_columns, False),
    "filter 1 %": (_filter, False),
    "dates 1 %": (_dates, False),
    "group by": (_group, False),
    "rewrite one cell": (_rewrite, True),
    "append": (_append, True),
    "update one row": (_update, True),
    "small writes": (_small_writes, True),
    "small reads": (_small_reads, False),
}
