"""Ranges of times and counts of rows, as every call takes them; and edits by the order of times, of any index."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal, assert_series_equal

import duckvstore as vs
from duckvstore.engine.reading import ranges
from duckvstore.format.rows import chunking
from duckvstore.format.stored import documents

DAYS = pd.date_range("2026-01-01", periods=10, name="day")
FRAME = pd.DataFrame({"v": np.arange(10.0)}, index=DAYS)
PANEL = pd.DataFrame(
    {"w": np.arange(20.0)}, index=pd.MultiIndex.from_product([DAYS, ["A", "B"]], names=["day", "ticker"])
)


@pytest.fixture
def lib():
    return vs.open("memory://").create_library("lib")


@pytest.fixture
def small_segments(monkeypatch):
    monkeypatch.setattr(chunking, "window_rows", lambda *_: 2)


def calls(lib, bounds):
    """Yield (name, call) of everything that takes a range of times."""
    yield "read", lambda: lib.read("s", date_range=bounds)
    yield "handle", lambda: lib["s"].read(date_range=bounds)
    yield "update", lambda: lib.update("s", FRAME[2:4] * 10, date_range=bounds)
    yield "upsert", lambda: lib.update("new", FRAME, upsert=True, date_range=bounds)
    yield "delete", lambda: lib.delete_data_in_range("s", bounds)
    yield "read_batch", lambda: raised(lib.read_batch([vs.ReadRequest("s", date_range=bounds)])[0])
    yield "update_batch", lambda: raised(lib.update_batch([vs.UpdatePayload("s", FRAME, date_range=bounds)])[0])
    yield (
        "upsert_batch",
        lambda: raised(lib.update_batch([vs.UpdatePayload("new", FRAME, date_range=bounds)], upsert=True)[0]),
    )

    def in_transaction(use):
        with lib.transaction() as transaction:
            use(transaction)

    yield "transaction read", lambda: in_transaction(lambda t: t.read("s", date_range=bounds))
    yield "transaction update", lambda: in_transaction(lambda t: t.update("s", FRAME, date_range=bounds))
    yield "transaction upsert", lambda: in_transaction(lambda t: t.update("new", FRAME, upsert=True, date_range=bounds))
    yield "transaction delete", lambda: in_transaction(lambda t: t.delete_data_in_range("s", bounds))


def raised(found):
    if isinstance(found, vs.DataError):
        raise found.error
    return found


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ((DAYS[5], DAYS[1]), "ends before it starts: swap the bounds"),
        ((pd.Timestamp(1001), pd.Timestamp(1000)), "ends before it starts"),
        (("2026-01-02", date(2026, 1, 1)), "ends before it starts"),
        (("2026-01-01T02:00+01:00", "2026-01-01T02:00+02:00"), "ends before it starts"),
        (DAYS[::-1], "ends before it starts"),
        (DAYS[:0], "without times"),
        ((), r"no pair \(start, end\)"),
        ([DAYS[0]], r"no pair \(start, end\)"),
        ({"start": 1, "end": 2}, r"no pair \(start, end\)"),
        ("ab", r"no pair \(start, end\)"),
        ((pd.NaT, None), "is no time: use None"),
        ((1, 2), "is no date or time"),
        ((None, "tomorrow?"), "is no date or time"),
        (
            (pd.Timestamp("2026-01-02", tz="UTC"), None),
            "has a time zone and index 'day' has none.*'2026-01-02 00:00:00'",
        ),
    ],
)
def test_a_range_that_cannot_be_is_the_same_error_everywhere(lib, bounds, message):
    """In reads, updates, upserts, deletions, batches, transactions and handles; nothing is changed."""
    lib.write("s", FRAME)
    for name, call in calls(lib, bounds):
        with pytest.raises(vs.InvalidInput, match=message):
            call()
            pytest.fail(f"{name} took {bounds!r}")
    assert_frame_equal(lib.read("s").data, FRAME)
    assert lib.list_symbols() == ["s"]


def test_an_upsert_takes_only_what_lies_in_its_range(lib):
    """As an update of what is there does; no row in it is an empty version."""
    lib.update("new", FRAME, upsert=True, date_range=(DAYS[2], DAYS[4]))
    assert_frame_equal(lib.read("new").data, FRAME[2:5])
    lib.update_batch([vs.UpdatePayload("batch", FRAME, date_range=DAYS[2:5])], upsert=True)
    assert_frame_equal(lib.read("batch").data, FRAME[2:5])
    with lib.transaction() as transaction:
        transaction.update("inside", FRAME, upsert=True, date_range=(None, DAYS[1]))
        assert_frame_equal(transaction.read("inside").data, FRAME[:2])
    assert_frame_equal(lib.read("inside").data, FRAME[:2])
    lib.update("none", FRAME, upsert=True, date_range=("2030-01-01", None))
    assert_frame_equal(lib.read("none").data, FRAME[:0], check_freq=False)
    lib.update("none", FRAME)
    assert_frame_equal(lib.read("none").data, FRAME, check_freq=False)


def test_a_range_may_be_a_datetime_index(lib):
    """From its first time to its last."""
    lib.write("s", FRAME)
    assert_frame_equal(lib.read("s", date_range=DAYS[3:6]).data, FRAME[3:6], check_freq=False)
    lib.delete_data_in_range("s", DAYS[1:3])
    assert lib.read("s").data["v"].tolist() == [0, 3, 4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "Asia/Shanghai"])
def test_bounds_beyond_what_the_index_can_hold_are_open(lib, unit, zone):
    """The greatest datetime there is does as an open end, whatever the unit."""
    frame = FRAME.set_axis(DAYS.as_unit(unit).tz_localize(zone))
    lib.write("s", frame)
    assert_frame_equal(lib.read("s", date_range=(datetime.min, datetime.max)).data, frame, check_freq=False)
    assert len(lib.read("s", date_range=(datetime.max, None)).data) == 0
    assert len(lib.read("s", date_range=(None, datetime.min)).data) == 0
    lib.update("s", frame * 2, date_range=(datetime.min, datetime.max))
    assert_frame_equal(lib.read("s").data, frame * 2, check_freq=False)
    lib.delete_data_in_range("s", (datetime.min, datetime.max))
    assert lib.read("s").data.empty


def test_a_range_between_two_ticks_holds_nothing(lib, small_segments):
    """An index of microseconds has no time between two of them; that is no swapped range."""
    frame = FRAME.set_axis(pd.DatetimeIndex(np.arange(10) * 1000, dtype="datetime64[ns]").as_unit("us"))
    lib.write("s", frame)
    between = (pd.Timestamp(1001), pd.Timestamp(1999))
    assert lib.read("s", date_range=between).data.empty
    assert lib.delete_data_in_range("s", between).version == 0
    assert lib.update("s", frame, date_range=between).version == 0
    assert lib.update("s", frame, metadata={"a": 1}, date_range=between).version == 1
    assert_frame_equal(lib.read("s").data, frame)
    assert lib.read("s", date_range=(pd.Timestamp(1001), pd.Timestamp(2000))).data["v"].tolist() == [2.0]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "America/New_York"])
def test_a_description_has_its_range_exactly(lib, unit, zone):
    """What it says reads all rows back, the last tick too; and its bounds are the first and last time."""
    index = pd.DatetimeIndex(["1969-12-31 23:59:59.999999999", "2026-01-02 09:30:00.123456789"]).as_unit(unit)
    frame = pd.DataFrame({"v": [1, 2]}, index=index.tz_localize(zone))
    lib.write("s", frame)
    for found in (lib.get_description("s"), lib.get_description_batch(["s"])[0]):
        assert_frame_equal(lib.read("s", date_range=found.date_range).data, frame)
        assert list(found.date_range) == list(frame.index)
    assert str(frame.index[1].tz_convert("UTC") if zone else frame.index[1]).replace("+00:00", " UTC") in repr(
        lib.get_description("s")
    )


@pytest.mark.parametrize("n", [2, np.int64(2), np.uint8(2), -8])
def test_head_and_tail_take_whole_numbers_of_any_type(lib, n):
    """Unsigned ones have no negative; what is no number of rows is refused by its own name."""
    lib.write("s", FRAME)
    assert_frame_equal(lib.head("s", n).data, FRAME.head(int(n)))
    assert_frame_equal(lib.tail("s", n).data, FRAME.tail(int(n)))


@pytest.mark.parametrize("n", [1.5, None, "2", True])
def test_other_counts_are_refused(lib, n):
    lib.write("s", FRAME)
    for call in (lib.head, lib.tail):
        with pytest.raises(vs.InvalidInput, match="is no number of rows: give a whole number"):
            call("s", n)


def test_a_date_range_is_exact(monkeypatch):
    """Nanoseconds from 1970, whatever the bounds were; rounding is inwards."""
    found = ranges.date_range((pd.Timestamp(1, unit="s"), np.datetime64("1970-01-01T00:00:02.5")))
    assert (found.low, found.high) == (10**9, 2_500_000_000)
    import pyarrow as pa

    assert found.ticks(pa.timestamp("s"), "t") == (1, 2)
    zone = datetime(1970, 1, 1, 1, tzinfo=UTC) - timedelta(microseconds=1)
    assert ranges.date_range((zone, None)).ticks(pa.timestamp("us", "UTC"), "t") == (3_599_999_999, None)


# -- panels, and other indexes whose first level is of times --------------------------------------------------------


def test_a_panel_is_updated_by_its_times(lib, small_segments):
    """All rows of the times that the data spans give way to it, in any symbol's segments."""
    lib.write("s", PANEL)
    assert lib.get_description("s").sorted == "ASCENDING"
    part = PANEL.loc[DAYS[3] : DAYS[4]] * 100
    item = lib.update("s", part)
    wanted = pd.concat([PANEL.loc[: DAYS[2]], part, PANEL.loc[DAYS[5] :]])
    assert_frame_equal(lib.read("s").data, wanted)
    assert item.new_rows < len(PANEL)
    only_a = PANEL.xs("A", level="ticker", drop_level=False) * 7
    lib.update("s", only_a, date_range=(DAYS[5], DAYS[6]))
    wanted = pd.concat([wanted.loc[: DAYS[4]], only_a.loc[DAYS[5] : DAYS[6]], wanted.loc[DAYS[7] :]])
    assert_frame_equal(lib.read("s").data, wanted)
    lib.update("s", PANEL, date_range=(None, None))
    assert_frame_equal(lib.read("s").data, PANEL)


def test_the_order_of_a_panel_is_checked_as_that_of_a_datetime_index(lib):
    """In write, append, update and stage; validate_index=False lets it pass and says UNSORTED."""
    for call in (lib.write, lib.append, lib.stage, lambda *given: lib.update(*given, upsert=True)):
        with pytest.raises(vs.InvalidInput, match="is not sorted: sort_index"):
            call("s", PANEL[::-1])
    lib.write("s", PANEL)
    with pytest.raises(vs.InvalidInput, match="begins at 2026-01-01 .*before the end of version 0 at 2026-01-10"):
        lib.append("s", PANEL[:2])
    lib.append("s", PANEL[-1:])
    assert lib.get_description("s").sorted == "ASCENDING"
    lib.append("s", PANEL[:2], validate_index=False)
    assert lib.get_description("s").sorted == "UNSORTED"
    with pytest.raises(vs.InvalidInput, match="its index is not sorted"):
        lib.update("s", PANEL[:2])
    holed = PANEL[:2].set_axis(pd.MultiIndex.from_arrays([[pd.NaT, DAYS[0]], ["A", "B"]], names=["day", "ticker"]))
    with pytest.raises(vs.InvalidInput, match="has NaT"):
        lib.write("s", holed)
    tickers_first = PANEL.swaplevel()
    assert lib.write("s", tickers_first).version == 3, "the order is that of the first level, if it is of times"
    with pytest.raises(vs.InvalidInput, match="needs data with a DatetimeIndex, or times as the first"):
        lib.update("s", tickers_first)


@pytest.mark.parametrize(
    "index",
    [
        pd.Index(DAYS.astype("timestamp[ns][pyarrow]"), name="day"),
        pd.Index(DAYS.to_pydatetime().tolist(), dtype=object, name="day"),
        DAYS.tz_localize("Asia/Tokyo"),
        pd.MultiIndex.from_arrays([DAYS.tz_localize("UTC"), range(10), list("abcdefghij")], names=["day", None, "c"]),
    ],
    ids=["arrow", "objects", "zoned", "three levels"],
)
def test_other_indexes_of_times_have_an_order_too(lib, small_segments, index):
    """Whatever class pandas gives them."""
    frame = FRAME.set_axis(index)
    lib.write("s", frame)
    assert lib.get_description("s").sorted == "ASCENDING"
    lib.update("s", frame[2:4] * 10)
    wanted = frame.copy()
    wanted.iloc[2:4] *= 10
    assert_frame_equal(lib.read("s").data, wanted, check_freq=False)
    with pytest.raises(vs.InvalidInput, match="before the end of version"):
        lib.append("s", frame[:1])
    with pytest.raises(vs.InvalidInput, match="not sorted"):
        lib.append("s", frame[::-1])


def test_a_series_with_a_panel_index(lib):
    series = PANEL["w"]
    lib.write("s", series)
    lib.update("s", series[4:6] * 10)
    assert_series_equal(lib.read("s").data, pd.concat([series[:4], series[4:6] * 10, series[6:]]))


def test_rows_of_another_class_of_index_do_not_break_the_order(lib):
    """Arrow's timestamps join a DatetimeIndex; their order counts all the same."""
    lib.write("s", FRAME)
    backwards = FRAME[::-1].set_axis(pd.Index(DAYS[::-1].astype("timestamp[us][pyarrow]"), name="day"))
    with pytest.raises(vs.InvalidInput, match="not sorted"):
        lib.append("s", backwards)
    lib.append("s", backwards, validate_index=False)
    assert lib.get_description("s").sorted == "UNSORTED"


def test_the_order_of_a_panel_stands_where_the_release_before_leaves_it_out(lib, tmp_path, release_before):
    """It appends to a panel without looking at the order, so what it writes must not say that it ascends."""
    lib.write("s", PANEL)
    version = lib.open_library.version("s", 0)
    document = json.loads(documents.dump_version(version))
    assert (document["is_sorted"], document["first_level_sorted"], document["requires"]) == (None, True, [])
    assert documents.load_version(documents.dump_version(version), where="x") == version
    plain = json.loads(documents.dump_version(lib.open_library.version(lib.write("t", FRAME).symbol, 0)))
    assert plain["is_sorted"] is True
    assert "first_level_sorted" not in plain
    url = str(tmp_path / "store")
    made = vs.open(url).create_library("lib")
    made.write("s", PANEL[4:])
    release_before(
        """
import duckvstore as vs, pandas as pd
lib = vs.open(sys.argv[1])["lib"]
lib.append("s", lib.read("s").data[::-1])
""",
        url,
    )
    lib = vs.open(url)["lib"]
    assert lib.read_metadata("s").version == 1
    assert lib.get_description("s").sorted == "UNKNOWN"
    with pytest.raises(vs.InvalidInput, match="its index is not sorted"):
        lib.update("s", PANEL[6:8])
    lib.restore_version("s", 0)
    lib.update("s", PANEL[6:8] * 10)
    assert_frame_equal(lib.read("s").data, pd.concat([PANEL[4:6], PANEL[6:8] * 10, PANEL[8:]]))


def test_a_panel_of_the_release_before_is_updated_after_a_look_at_its_rows(tmp_path, release_before):
    """Its documents do not say whether the first level ascends."""
    url = str(tmp_path / "store")
    vs.open(url).create_library("lib").write("s", PANEL)
    release_before(
        "import duckvstore as vs\nlib = vs.open(sys.argv[1])['lib']\nlib.write('t', lib.read('s').data)", url
    )
    lib = vs.open(url)["lib"]
    assert lib.get_description("t").sorted == "UNKNOWN"
    lib.update("t", PANEL[6:8] * 10)
    assert_frame_equal(lib.read("t").data, pd.concat([PANEL[:6], PANEL[6:8] * 10, PANEL[8:]]))
    assert lib.get_description("t").sorted == "ASCENDING"
