"""Staged parts in the order of their times: which may follow which, to the nanosecond, and what becomes of the rest."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal

import duckvstore as vs
from duckvstore.api.writing import fitted
from duckvstore.format.rows import chunking

DAYS = pd.date_range("2026-01-01", periods=10, name="day")
FRAME = pd.DataFrame({"v": np.arange(10.0)}, index=DAYS)


@pytest.fixture
def lib():
    return vs.open("memory://").create_library("lib")


def ticks(*numbers, unit="ns"):
    """Return rows at these numbers of ``unit`` after 1970, which have the number as value."""
    return pd.DataFrame({"v": numbers}, index=pd.DatetimeIndex(np.array(numbers, f"datetime64[{unit}]"), name="t"))


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_parts_that_overlap_by_one_tick_are_refused(lib, unit):
    """Whatever the unit of the index; parts that touch are in order."""
    for part in (ticks(3, 6, unit=unit), ticks(1, 7, unit=unit), ticks(2, 9, unit=unit)):
        lib.stage("s", part)
    with pytest.raises(
        vs.InvalidInput,
        match=r"overlap: delete_staged_data\('s'\).*sort_and_finalize_staged_data.*validate_index=False",
    ):
        lib.finalize_staged_data("s")
    assert lib.get_staged_symbols() == ["s"]
    assert not lib.has_symbol("s")
    lib.sort_and_finalize_staged_data("s")
    assert_frame_equal(lib.read("s").data, ticks(1, 2, 3, 6, 7, 9, unit=unit))
    assert lib.get_description("s").sorted == "ASCENDING"
    lib.update("s", ticks(2, unit=unit), date_range=(ticks(2, unit=unit).index[0], ticks(6, unit=unit).index[0]))
    assert lib.read("s").data["v"].tolist() == [1, 2, 7, 9]
    for part in (ticks(9, 12, unit=unit), ticks(12, 13, unit=unit)):
        lib.stage("s", part)
    lib.finalize_staged_data("s", "append")
    assert lib.read("s").data["v"].tolist() == [1, 2, 7, 9, 9, 12, 12, 13]
    assert lib.get_description("s").sorted == "ASCENDING"


def test_parts_of_several_units_are_compared_exactly(lib):
    """Two nanoseconds are before one microsecond, which is before 1,001 nanoseconds."""
    lib.stage("s", ticks(1, unit="us"))
    lib.stage("s", ticks(2, 999))
    lib.finalize_staged_data("s", validate_index=True)
    assert lib.get_description("s").sorted == "ASCENDING"
    lib.stage("t", ticks(1, unit="us"))
    lib.stage("t", ticks(2, 1001))
    with pytest.raises(vs.InvalidInput, match="overlap"):
        lib.finalize_staged_data("t")


def test_overlapping_parts_one_after_the_other(lib):
    """validate_index=False takes them, and says that the version is not sorted, so no update trusts it."""
    lib.stage("s", ticks(3, 6))
    lib.stage("s", ticks(1, 7))
    lib.finalize_staged_data("s", validate_index=False)
    assert lib.read("s").data["v"].tolist() == [1, 7, 3, 6]
    assert lib.get_description("s").sorted == "UNSORTED"
    with pytest.raises(vs.InvalidInput, match="its index is not sorted"):
        lib.update("s", ticks(1), date_range=(pd.Timestamp(1), pd.Timestamp(6)))


def test_a_part_that_is_not_sorted(lib):
    """It was staged on purpose, and says so when it is published."""
    lib.stage("s", ticks(3, 1, 2), validate_index=False)
    with pytest.raises(vs.InvalidInput, match="has an index that is not sorted: sort_and_finalize"):
        lib.finalize_staged_data("s")
    lib.sort_and_finalize_staged_data("s", metadata={"a": 1})
    assert lib.read("s").data["v"].tolist() == [1, 2, 3]
    assert lib.read_metadata("s").metadata == {"a": 1}
    lib.stage("s", ticks(6, 5), validate_index=False)
    lib.finalize_staged_data("s", "append", validate_index=False)
    assert lib.read("s").data["v"].tolist() == [1, 2, 3, 6, 5]
    assert lib.get_description("s").sorted == "UNSORTED"


@pytest.mark.parametrize("sorts", [False, True])
@pytest.mark.parametrize("staged", [slice(0, 5), slice(3, 5), slice(8, 9)])
def test_what_is_appended_must_follow_what_is_there(lib, sorts, staged):
    """As in append(); the parts stay staged, and nothing is changed."""
    lib.write("s", FRAME)
    lib.stage("s", FRAME[staged])
    finalize = lib.sort_and_finalize_staged_data if sorts else lib.finalize_staged_data
    with pytest.raises(vs.InvalidInput, match="begins at 2026-01-0.*before the end of version 0 at 2026-01-10"):
        finalize("s", mode="append")
    assert_frame_equal(lib.read("s").data, FRAME)
    lib.finalize_staged_data("s", mode="append", validate_index=False)
    assert_frame_equal(lib.read("s").data, pd.concat([FRAME, FRAME[staged]]), check_freq=False)
    assert lib.get_description("s").sorted == "UNSORTED"
    lib.stage("s", FRAME[:2])
    assert lib.finalize_staged_data("s", mode="append").version == 2, "where nothing is in order, nothing is to keep"


@pytest.mark.parametrize("mode", ["write", "append"])
@pytest.mark.parametrize("sorts", [False, True])
def test_parts_without_rows(lib, mode, sorts):
    """Alone they are an empty version, or none where there is one to append to; beside others they add nothing."""
    finalize = lib.sort_and_finalize_staged_data if sorts else lib.finalize_staged_data
    lib.stage("s", FRAME[:0])
    lib.stage("s", FRAME[:0])
    finalize("s", mode)
    assert_frame_equal(lib.read("s").data, FRAME[:0])
    assert lib.get_staged_symbols() == []
    lib.stage("s", FRAME[:0])
    item = finalize("s", mode)
    assert item.version == (1 if mode == "write" else 0)
    lib.stage("s", FRAME[:0])
    lib.stage("s", FRAME[2:])
    finalize("s", mode)
    assert_frame_equal(lib.read("s").data, FRAME[2:], check_freq=False)
    before = lib.read("s").version
    lib.stage("s", FRAME[:0])
    assert finalize("s", mode, metadata={"a": 1}).version == before + 1
    assert_frame_equal(lib.read("s").data, FRAME[2:] if mode == "append" else FRAME[:0], check_freq=False)
    assert lib.read_metadata("s").metadata == {"a": 1}


def test_one_part_is_published_as_it_was_staged(lib):
    """Frequency and all."""
    lib.stage("s", FRAME)
    item = lib.finalize_staged_data("s")
    assert_frame_equal(lib.read("s").data, FRAME)
    assert (item.row_count, item.new_rows) == (10, 10)


def test_sorting_needs_times(lib):
    """Parts of numbers have no such order, and NaT is in none."""
    lib.stage("s", pd.DataFrame({"v": [1, 2]}))
    with pytest.raises(vs.InvalidInput, match=r"no index of times to be sorted by: finalize_staged_data\('s'\)"):
        lib.sort_and_finalize_staged_data("s")
    lib.finalize_staged_data("s")
    lib.stage("s", FRAME.set_axis([pd.NaT, *DAYS[1:]]), validate_index=False)
    with pytest.raises(vs.InvalidInput, match="has NaT in its index"):
        lib.sort_and_finalize_staged_data("s")
    with pytest.raises(vs.InvalidInput, match="is not sorted"):
        lib.finalize_staged_data("s", delete_staged_data_on_failure=True)
    assert lib.get_staged_symbols() == []


def test_panels_are_staged_in_the_order_of_their_first_level(lib, monkeypatch):
    """Rows of one time stay in the order of their parts, however many segments they are in."""
    monkeypatch.setattr(chunking, "window_rows", lambda *_: 2)
    panel = pd.DataFrame(
        {"w": np.arange(20.0)}, index=pd.MultiIndex.from_product([DAYS, ["A", "B"]], names=["day", "ticker"])
    )
    parts = [panel.xs(name, level="ticker", drop_level=False) for name in ("A", "B")]
    for part in parts:
        lib.stage("s", part)
    with pytest.raises(vs.InvalidInput, match="overlap"):
        lib.finalize_staged_data("s")
    lib.sort_and_finalize_staged_data("s")
    assert_frame_equal(lib.read("s").data, panel)
    assert lib.get_description("s").sorted == "ASCENDING"
    lib.stage("s", panel[:2])
    with pytest.raises(vs.InvalidInput, match="before the end of version 0"):
        lib.finalize_staged_data("s", "append")


def test_sorted_parts_may_have_other_columns(lib):
    """They join as in an append, and then are put in order."""
    lib.stage("s", ticks(1, 5))
    lib.stage("s", ticks(2, 4).assign(w=["a", "b"]))
    lib.stage("s", ticks(3).astype({"v": "int32"}))
    lib.sort_and_finalize_staged_data("s")
    found = lib.read("s").data
    assert found["v"].tolist() == [1, 2, 3, 4, 5]
    assert found["w"].dropna().tolist() == ["a", "b"]
    assert not lib.verify().problems


def test_sorting_again_after_another_writer(lib):
    """A plan that is made again sorts the same parts, and none is taken twice."""
    parts = [ticks(*range(start, 30, 3)) for start in range(3)]
    for part in parts:
        lib.stage("s", part)
    from duckvstore.engine.writing import staging

    found = staging.parts(lib.open_library, "s")
    plan = staging.finalize(lib.open_library, "s", found, "append", None, fit=fitted, sorts=True)
    lib.sort_and_finalize_staged_data("s", "append")
    assert plan(lib.open_library.version("s", 0)) is None
    assert lib.read("s").data["v"].tolist() == list(range(30))


def test_every_arrangement_of_small_parts(lib):
    """Two parts of two of four times: refused exactly where they overlap, and sorted in any case."""
    spans = [pair for pair in itertools.product(range(4), repeat=2) if pair[0] <= pair[1]]
    for number, (first, second) in enumerate(itertools.product(spans, spans)):
        symbol, wanted = f"s{number}", sorted([*first, *second])
        for part in (first, second):
            lib.stage(symbol, ticks(*part))
        one, other = sorted([first, second])
        if other[0] >= one[1]:
            lib.finalize_staged_data(symbol)
        else:
            with pytest.raises(vs.InvalidInput, match="overlap"):
                lib.finalize_staged_data(symbol)
            lib.sort_and_finalize_staged_data(symbol)
        assert lib.read(symbol).data["v"].tolist() == wanted
        assert lib.get_description(symbol).sorted == "ASCENDING"
        assert lib.read(symbol, date_range=(pd.Timestamp(1), pd.Timestamp(2))).data["v"].tolist() == [
            number for number in wanted if 1 <= number <= 2
        ]


def test_arrow_parts_without_an_index_are_in_the_order_of_staging(lib):
    for numbers in ([3, 1], [2]):
        lib.stage("s", pa.table({"v": numbers}))
    lib.finalize_staged_data("s")
    assert lib.read("s").data["v"].to_pylist() == [3, 1, 2]
