"""What the tests of pruning and collection share: a clock that can be moved, and calls of the engine by name.

Invariant: moving the clock moves what machines and stores see of it, and stopwatches; nothing else.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pandas as pd

from duckvstore import clock
from duckvstore.concurrency import Pool
from duckvstore.engine.reading import catalogue
from duckvstore.engine.writing import commits, edits
from duckvstore.engine.writing.commits import Call

if TYPE_CHECKING:
    import pytest

    import duckvstore as vs

GRACE = timedelta(days=7)
LONGER = timedelta(days=7, seconds=1)
DAY = timedelta(days=1)


class Clock:
    """Time that only passes when a test says so, by a microsecond at each look besides."""

    def __init__(self) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.slept_seconds = 0.0

    def move(self, by: timedelta) -> None:
        self.now += by

    def utc_now(self) -> datetime:
        self.now += timedelta(microseconds=1)
        return self.now

    def seconds(self) -> float:
        return self.utc_now().timestamp()

    def sleep(self, seconds: float) -> None:
        self.slept_seconds += seconds
        self.now += timedelta(seconds=seconds)


def move_time(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Replace the clock of the package."""
    moved = Clock()
    monkeypatch.setattr(clock, "utc_now", moved.utc_now)
    monkeypatch.setattr(clock, "sleep", moved.sleep)
    monkeypatch.setattr(clock, "time", SimpleNamespace(time=moved.seconds, monotonic=moved.seconds, sleep=moved.sleep))
    return moved


def frame(seed: int) -> pd.DataFrame:
    return pd.DataFrame({"n": range(seed, seed + 3)})


def restore(lib: vs.Library, symbol: str, as_of: catalogue.AsOf) -> int:
    """Restore a version as the handle does; return the new version's number."""
    opened = lib.open_library
    call = Call(symbol)
    source = catalogue.resolve_to_refer(opened, symbol, as_of)
    commits.announce(opened, call)
    return commits.commit(opened, call, edits.restore(source)).number


def keys(objects: object, folder: str) -> set[str]:
    """Return the keys of a memory store whose path has this folder."""
    return {key for key in objects._objects if f"/{folder}/" in key}


def one_by_one(monkeypatch):
    """Carry tasks out as they are submitted, on the thread that does, so that a request's number means the same one."""
    monkeypatch.setattr(Pool, "begin", lambda _self, task: task.do())
