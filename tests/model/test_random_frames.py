"""Frames with columns of every kind that pandas has, edited at random: each version equals what pandas makes of it.

The state machine knows four shapes of frames; here the columns are the point, and the index is of nanoseconds, hours,
half hours over the end of daylight saving time, or a panel.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

import duckvstore as vs
from tests.cuts import cut_every
from tests.sizes import sized

PROGRAMS = sized(40, full=1000)
START = pd.Timestamp("2026-10-25", tz="UTC")
UNITS = {"ticks": 1, "hours": 3600 * 10**9, "berlin": 1800 * 10**9, "panel": 10**9}
TIMES = ["NaT", "2026-10-25 00:30", "2026-10-25 02:30"]


def objects(*values):
    return lambda chosen: pd.Series(chosen(values), dtype=object)


def extension(dtype, *values):
    return lambda chosen: pd.array(chosen(values), dtype=dtype)


COLUMNS = {
    "int8": lambda chosen: np.array(chosen([-128, 0, 127]), "i1"),
    "uint64": lambda chosen: np.array(chosen([0, 2**63, 2**64 - 1]), "u8"),
    "float": lambda chosen: np.array(chosen([0.0, -0.0, np.nan, np.inf, -np.inf, 1.5]), "f8"),
    "nullable": extension("Int64", None, 1, 2**62),
    "boolean": extension("boolean", None, True, False),
    "text": extension("str", np.nan, "", "a", "ü\0x"),
    "markers": objects(None, np.nan, pd.NA, "a", "b"),
    "int_objects": objects(None, np.nan, 5, 6),
    "time_objects": objects(None, pd.NaT, pd.Timestamp("2026"), pd.Timestamp("2026-01-02")),
    "decimals": objects(None, Decimal("1.25"), Decimal("-7.50")),
    "dates": objects(None, date(2026, 1, 1), date(1, 1, 1)),
    "lists": objects(None, [1], [1, 2]),
    "categories": lambda chosen: pd.Categorical(chosen(["x", "y", None]), categories=["y", "x"]),
    "ordered": lambda chosen: pd.Categorical(chosen([1, 2, None]), categories=[2, 1], ordered=True),
    "durations": extension("m8[ns]", pd.NaT, pd.Timedelta(1), pd.Timedelta("5D")),
    "zoned": lambda chosen: pd.DatetimeIndex(chosen(TIMES), dtype="M8[ns]").tz_localize("UTC").tz_convert("Asia/Tokyo"),
    "periods": extension("period[M]", pd.NaT, pd.Period("2026-01", "M")),
    "sparse": lambda chosen: pd.arrays.SparseArray(np.array(chosen([0, 0, 3]), "i8"), fill_value=0),
}


def times(data):
    return data.index.get_level_values(0)


@dataclass
class Program:
    """One symbol, what its versions should hold, and the steps so far."""

    seed: int
    steps: list = field(default_factory=list)

    def __post_init__(self):
        self.random = random.Random(self.seed)
        self.columns = self.random.sample(sorted(COLUMNS), self.random.randrange(6))
        self.shape = self.random.choice(sorted(UNITS))
        self.lib = vs.open(f"memory://frames{self.seed}").create_library("lib")
        self.versions = [self.frame(self.random.randrange(6), 0)]
        self.lib.write("s", self.versions[0])

    def frame(self, length, start):
        """Rows of this program's columns, from ``start`` units of time on."""
        chosen = lambda values: self.random.choices(values, k=length)  # noqa: E731
        ticks = START.value + (start + np.arange(length, dtype="i8")) * UNITS[self.shape]
        index = pd.DatetimeIndex(ticks.view("M8[ns]"), name="time")
        if self.shape == "berlin":
            index = index.tz_localize("UTC").tz_convert("Europe/Berlin")
        elif self.shape == "panel":
            index = pd.MultiIndex.from_arrays([index, chosen("ab")], names=["time", "leg"])
        made = pd.DataFrame({name: COLUMNS[name](chosen) for name in self.columns}, index=range(length))
        return made.set_axis(index)

    def step(self):
        before = self.versions[-1]
        name = self.random.choice(["append", "append", "update", "update", "delete_range", "delete_rows", "restore"])
        after = getattr(self, name)(before)
        if after is not None:
            self.versions.append(after)

    def append(self, before):
        units = (times(before)[-1].value - START.value) // UNITS[self.shape] if len(before) else 0
        data = self.frame(self.random.randrange(5), units + self.random.randrange(2))
        self.steps.append(f"append {len(data)} rows")
        self.lib.append("s", data)
        return pd.concat([part for part in (before, data) if len(part)]) if len(data) else None

    def update(self, before):
        data = self.frame(self.random.randrange(1, 5), self.random.randrange(8))
        low, high = times(data)[[0, -1]]
        options = {}
        if self.random.random() < 0.5:
            low = min(low + pd.Timedelta(self.random.randrange(2)), high)
            options = {"date_range": (low, high)}
        self.steps.append(f"update {len(data)} rows, {low} to {high}")
        self.lib.update("s", data, **options)
        parts = [
            before[times(before) < low],
            data[(times(data) >= low) & (times(data) <= high)],
            before[times(before) > high],
        ]
        return pd.concat([part for part in parts if len(part)])

    def delete_range(self, before):
        if not len(before):
            return None
        low = self.random.choice(times(before))
        high = low + pd.Timedelta(self.random.choice([0, 1, 10**10]))
        self.steps.append(f"delete {low} to {high}")
        self.lib.delete_data_in_range("s", (low, high))
        return before[(times(before) < low) | (times(before) > high)]

    def delete_rows(self, before):
        if not self.columns:
            return None
        name = self.random.choice(self.columns)
        self.steps.append(f"delete where {name} IS NULL")
        self.lib.delete_rows("s", f"{name} IS NULL")
        return before[before[name].notna()] if before[name].isna().any() else None

    def restore(self, before):
        number = self.random.randrange(len(self.versions))
        self.steps.append(f"restore {number}")
        self.lib.restore_version("s", number)
        return self.versions[number] if number != len(self.versions) - 1 else None


def check(found, expected):
    assert_frame_equal(found, expected, check_freq=False)
    for name in expected:
        if expected[name].dtype == object:
            assert [*map(type, found[name])] == [*map(type, expected[name])]
        elif expected[name].dtype == float:
            assert (np.signbit(found[name]) == np.signbit(expected[name]))[expected[name].notna()].all()


def test_edits_of_frames_of_every_kind_are_those_of_pandas(monkeypatch):
    cut_every(monkeypatch, 2)
    for seed in range(PROGRAMS):
        program = Program(seed)
        try:
            for _ in range(6):
                program.step()
                check(program.lib.read("s").data, program.versions[-1])
            for number, expected in enumerate(program.versions):
                check(program.lib.read("s", as_of=number).data, expected)
        except Exception as error:
            pytest.fail(f"program {seed} over {program.columns} by {program.shape}: {program.steps}: {error!r}")
        assert not program.lib.verify().problems
