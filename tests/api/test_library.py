"""The public API on an object store in memory: exact behaviour of every call and the words of every error."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal, assert_series_equal

import duckvstore as vs
from duckvstore.objects.memory import MemoryObjects
from tests.counting import CountingObjects
from tests.cuts import cut_every


@pytest.fixture
def counting():
    return CountingObjects(MemoryObjects("unit"))


@pytest.fixture
def lib(counting):
    return vs.Store(counting).create_library("eod")


@pytest.fixture
def small_segments(monkeypatch):
    """Ten rows to a segment."""
    cut_every(monkeypatch, 10)


def frame(rows=100, seed=0):
    random = np.random.default_rng(seed)
    index = pd.date_range("2026-01-01", periods=rows, freq="h", name="time")
    return pd.DataFrame(
        {
            "price": random.normal(100, 5, rows),
            "qty": random.integers(0, 9, rows),
            "sym": random.choice(list("ab"), rows),
        },
        index=index,
    )


def test_write_numbers_versions_from_zero_and_read_gives_each_back(lib):
    """Every version stays readable under its number; the newest is the default."""
    for number in range(4):
        item = lib.write("trades", frame(seed=number), metadata={"n": number}, author="ann", message=f"m{number}")
        assert (item.library, item.symbol, item.version, item.data) == ("eod", "trades", number, None)
        assert item.new_bytes == item.stored_bytes > 0
    for number in range(4):
        found = lib.read("trades", as_of=number)
        assert_frame_equal(found.data, frame(seed=number))
        assert found.metadata == {"n": number}
    assert lib.read("trades").version == 3
    assert lib.read("trades", as_of=-1).version == 3
    assert lib.read("trades", as_of=-4).version == 0


def test_created_at_grows_and_reads_by_time_are_exact_to_the_microsecond(lib):
    """as_of a time gives the newest version created at or before it; naive means UTC."""
    items = [lib.write("trades", frame(seed=number)) for number in range(5)]
    times = [item.created_at for item in items]
    assert times == sorted(set(times))
    assert items[0].timestamp == int(times[0].timestamp() * 1_000_000) * 1000
    for item in items:
        assert lib.read("trades", as_of=item.created_at).version == item.version
        assert lib.read("trades", as_of=item.created_at.replace(tzinfo=None)).version == item.version
        just_before = item.created_at - timedelta(microseconds=1)
        if item.version:
            assert lib.read("trades", as_of=just_before).version == item.version - 1
        else:
            with pytest.raises(vs.NoSuchVersion, match="had no version at .* its oldest, version 0"):
                lib.read("trades", as_of=just_before)


def test_a_clock_that_is_set_back_does_not_reorder_versions(lib, monkeypatch):
    """created_at is always later than the parent's, whatever the clock says."""
    first = lib.write("trades", frame())
    monkeypatch.setattr(MemoryObjects, "now", lambda self: datetime(2020, 1, 1, tzinfo=UTC))
    second = lib.write("trades", frame())
    assert second.created_at == first.created_at + timedelta(microseconds=1)


def test_columns_come_in_the_order_asked_for_with_the_index(lib, small_segments):
    """A column subset is the pandas column selection."""
    lib.write("trades", frame())
    assert_frame_equal(lib.read("trades", columns=["sym", "price"]).data, frame()[["sym", "price"]])
    with pytest.raises(vs.NoSuchColumn, match="'prise'.*Did you mean 'price'"):
        lib.read("trades", columns=["prise"])


def test_columns_are_labels_however_they_are_listed(lib):
    """An iterator gives its labels once; what lists none is told from a damaged document."""
    lib.write("trades", frame())
    assert_frame_equal(lib.read("trades", columns=iter(["sym", "price"])).data, frame()[["sym", "price"]])
    for output_format in (None, "polars"):
        with pytest.raises(vs.InvalidInput, match="columns is a int: give a list of labels"):
            lib.read("trades", columns=5, output_format=output_format)
        with pytest.raises(vs.InvalidInput, match="columns has a ndarray in it"):
            lib.read("trades", columns=[np.array(["sym", "price"])], output_format=output_format)


@pytest.mark.parametrize(
    "bounds", [(0, 10), (5, 37), (-7, None), (None, 3), (95, 200), (50, 50), (60, 20), (None, None)]
)
def test_row_range_is_a_slice(lib, small_segments, bounds):
    """row_range reads what iloc gives, and only the segments that hold it."""
    lib.write("trades", frame())
    lib.write("plain", frame().reset_index(drop=True))
    expected = frame().iloc[slice(*bounds)]
    assert_frame_equal(lib.read("trades", row_range=bounds).data, expected, check_freq=False)
    assert_frame_equal(lib.read("plain", row_range=bounds).data, frame().reset_index(drop=True).iloc[slice(*bounds)])


def test_row_range_reads_only_the_segments_it_needs(lib, counting, small_segments):
    """Ten segments of ten rows: five rows are one object."""
    lib.write("trades", frame())
    counting.reset()
    lib.read("trades", as_of=0, row_range=(12, 17))
    assert counting.counts["read"] == 1
    counting.reset()
    lib.read("trades", as_of=0, date_range=("2026-01-01 15:00", "2026-01-01 21:00"))
    assert counting.counts["read"] == 2


@pytest.mark.parametrize(
    "bounds",
    [
        ("2026-01-01 05:00", "2026-01-02 00:00"),
        (None, datetime(2026, 1, 1, 3)),
        (pd.Timestamp("2026-01-04 09:30"), None),
        ("2030", None),
        (None, None),
    ],
)
def test_date_range_includes_both_ends(lib, small_segments, bounds):
    """date_range reads what loc gives over a sorted index."""
    lib.write("trades", frame())
    found = lib.read("trades", date_range=bounds).data
    assert_frame_equal(found, frame().loc[bounds[0] : bounds[1]], check_freq=False)
    found = lib.read("trades", date_range=bounds, columns=["qty"]).data
    assert_frame_equal(found, frame().loc[bounds[0] : bounds[1], ["qty"]], check_freq=False)


def test_date_range_and_zones(lib):
    """A bound without a zone means UTC on an index with one; a bound with a zone needs an index with one."""
    data = frame().tz_localize("America/New_York")
    lib.write("zoned", data)
    lib.write("naive", frame())
    found = lib.read("zoned", date_range=("2026-01-01 05:00", "2026-01-01 06:00")).data
    assert_frame_equal(found, data.iloc[:2], check_freq=False)
    with pytest.raises(vs.InvalidInput, match="has a time zone and index 'time' has none"):
        lib.read("naive", date_range=("2026-01-01T00:00Z", None))


def test_partial_reads_that_cannot_be_are_refused(lib):
    """Nothing is ignored silently."""
    lib.write("plain", pd.DataFrame({"a": [1, 2]}))
    lib.write("dated", frame())
    with pytest.raises(vs.InvalidInput, match="date_range needs a datetime index"):
        lib.read("plain", date_range=("2026", None))
    with pytest.raises(vs.InvalidInput, match="ends before it starts"):
        lib.read("dated", date_range=("2027", "2026"))
    with pytest.raises(vs.InvalidInput, match="no date or time"):
        lib.read("dated", date_range=("yesterday?", None))
    with pytest.raises(vs.InvalidInput, match="None for an open end"):
        lib.read("dated", date_range="2026")
    for rows in (("a", "b"), range(1, 3), (False, True)):
        with pytest.raises(vs.InvalidInput, match="row_range="):
            lib.read("dated", row_range=rows)
    with pytest.raises(vs.InvalidInput, match="give one of"):
        lib.read("dated", row_range=(0, 1), where="qty > 1")
    with pytest.raises(vs.InvalidInput, match="output_format='excel'"):
        lib.read("dated", output_format="excel")


def test_head_and_tail(lib):
    """As pandas has them."""
    lib.write("trades", frame())
    assert_frame_equal(lib.head("trades").data, frame().head(), check_freq=False)
    assert_frame_equal(lib.tail("trades", 3).data, frame().tail(3), check_freq=False)
    assert_frame_equal(lib.head("trades", -90).data, frame().head(-90), check_freq=False)
    assert_frame_equal(lib.tail("trades", 0).data, frame().tail(0), check_freq=False)


def test_where_filters_rows_by_a_sql_predicate(lib, small_segments):
    """Where gives the rows that a boolean mask gives, types and index kept."""
    data = frame().assign(grade=pd.Categorical(["x", "y"] * 50))
    lib.write("trades", data)
    found = lib.read("trades", where="price > 100 AND sym = 'a'").data
    assert_frame_equal(found, data[(data.price > 100) & (data.sym == "a")], check_freq=False)
    found = lib.read("trades", where="qty = 3", columns=["grade"]).data
    assert_frame_equal(found, data.loc[data.qty == 3, ["grade"]], check_freq=False)
    plain = data.reset_index(drop=True)
    lib.write("plain", plain)
    assert_frame_equal(lib.read("plain", where="qty = 3").data, plain[plain.qty == 3])
    with pytest.raises(vs.NoSuchColumn, match=r"'trades' has no column 'prise'\. Did you mean 'price'"):
        lib.read("trades", where="prise > 1")
    with pytest.raises(vs.SqlError):
        lib.read("trades", where="price >")


def test_output_formats(lib):
    """Any value comes as pandas, polars or Arrow."""
    lib.write("trades", frame())
    assert lib.read("trades", output_format="pyarrow").data.column_names == ["time", "price", "qty", "sym"]
    assert lib.read("trades", output_format="polars").data["qty"].to_list() == frame().qty.to_list()
    assert_frame_equal(lib.read("trades", output_format="pandas").data, frame())


def test_metadata_is_replaced_never_merged(lib):
    """Write without metadata has none; write_metadata shares every segment."""
    lib.write("trades", frame(), metadata={"a": 1})
    assert lib.write("trades", frame()).metadata is None
    item = lib.write_metadata("trades", {"b": [2, None, datetime(2026, 1, 1, tzinfo=UTC)]})
    assert (item.version, item.new_bytes) == (2, 0)
    found = lib.read_metadata("trades")
    assert (found.data, found.metadata) == (None, {"b": [2, None, datetime(2026, 1, 1, tzinfo=UTC)]})
    assert_frame_equal(lib.read("trades").data, frame())
    with pytest.raises(vs.NoSuchSymbol, match="'nothing' to describe"):
        lib.write_metadata("nothing", {})


def test_restore_version_points_at_old_segments(lib, counting):
    """Restoring costs no data I/O; restoring the newest is a no-op."""
    lib.write("trades", frame(seed=1), metadata=1)
    lib.write("trades", frame(seed=2), metadata=2)
    counting.reset()
    item = lib.restore_version("trades", 0)
    assert (item.version, item.metadata, item.new_bytes) == (2, 1, 0)
    assert counting.counts["bytes_in"] < 3000
    assert_frame_equal(lib.read("trades").data, frame(seed=1))
    assert lib.restore_version("trades", -1).version == 2
    assert len(lib.list_versions("trades")) == 3


def test_delete_is_soft(lib):
    """After delete the symbol is gone, its history and snapshots are not, and numbers go on."""
    lib.write("trades", frame(seed=1))
    lib.snapshot("before")
    time = lib.read_metadata("trades").created_at
    lib.delete("trades", author="bob")
    lib.delete("trades")
    lib.delete("never there")
    assert not lib.has_symbol("trades")
    assert "trades" not in lib
    assert lib.list_symbols() == []
    assert lib.list_symbols("before") == ["trades"]
    for as_of in (0, "before", time):
        assert_frame_equal(lib.read("trades", as_of=as_of).data, frame(seed=1))
    with pytest.raises(vs.NoSuchSymbol, match=r"was deleted at .* \(version 1\): as_of=0 reads"):
        lib.read("trades")
    with pytest.raises(vs.NoSuchVersion, match="version 1 of 'eod/trades' is its deletion"):
        lib.read("trades", as_of=1)
    with pytest.raises(vs.NoSuchVersion):
        lib.read("trades", as_of=datetime.now(UTC) + timedelta(days=1))
    versions = lib.list_versions("trades")
    assert [(pair.version, info.deleted, info.author) for pair, info in versions.items()] == [
        (1, True, "bob"),
        (0, False, None),
    ]
    assert lib.restore_version("trades", 0).version == 2
    assert lib.has_symbol("trades")


def test_snapshots_hold_a_set_of_versions(lib):
    """A snapshot names what every symbol held; it is never edited and its name is taken."""
    lib.write("a", frame(seed=1))
    lib.write("b", frame(seed=2))
    lib.write("a", frame(seed=3))
    lib.snapshot("one", metadata={"why": "eod"})
    lib.write("a", frame(seed=4))
    lib.snapshot("two", skip_symbols=["b"], versions=None)
    lib.snapshot("three", versions={"a": 0})
    assert_frame_equal(lib.read("a", as_of="one").data, frame(seed=3))
    assert lib.list_snapshots() == {"one": {"why": "eod"}, "three": None, "two": None}
    assert lib.list_snapshots(load_metadata=False) == ["one", "three", "two"]
    assert lib.list_symbols("two") == ["a"]
    assert list(lib.list_versions("a", snapshot="three")) == [("a", 0)]
    assert lib.list_versions("a")[vs.SymbolVersion("a", 0)].snapshots == ["three"]
    assert lib.list_versions("a", skip_snapshots=True)[vs.SymbolVersion("a", 0)].snapshots == []
    with pytest.raises(vs.AlreadyExists, match=r"delete_snapshot\('one'\) first"):
        lib.snapshot("one")
    with pytest.raises(vs.NoSuchVersion, match="cannot be snapshotted: .*no version 9"):
        lib.snapshot("four", versions={"a": 9})
    with pytest.raises(vs.NoSuchSymbol, match="skip_symbols names 'c'"):
        lib.snapshot("four", skip_symbols=["c"])
    with pytest.raises(vs.NoSuchVersion, match="does not hold 'b'"):
        lib.read("b", as_of="two")
    lib.delete_snapshot("one")
    with pytest.raises(vs.NoSuchVersion, match="no snapshot 'one'"):
        lib.read("a", as_of="one")
    with pytest.raises(vs.NoSuchSnapshot):
        lib.delete_snapshot("one")


def test_list_symbols_and_versions(lib):
    """Sorted names; by regex, metadata and snapshot; versions newest first."""
    for name, kind in (("b", 1), ("a", 2), ("ab", 2), ("Z", 3)):
        lib.write(name, frame(5), metadata={"kind": kind, "x": name})
    lib.write("a", frame(5))
    assert lib.list_symbols() == ["Z", "a", "ab", "b"]
    assert lib.list_symbols(regex="^a") == ["a", "ab"]
    assert lib.list_symbols(metadata={"kind": 2}) == ["ab"]
    assert [tuple(pair) for pair in lib.list_versions()] == [("Z", 0), ("a", 1), ("a", 0), ("ab", 0), ("b", 0)]
    assert [tuple(pair) for pair in lib.list_versions("a", latest_only=True)] == [("a", 1)]
    with pytest.raises(vs.InvalidInput, match="regex"):
        lib.list_symbols(regex="(")
    with pytest.raises(vs.NoSuchSymbol, match="Did you mean 'ab'"):
        lib.list_versions("abb")


def test_many_versions_do_not_slow_the_listing_of_symbols(lib, counting):
    """A history of thousands of versions is skipped by the listing, not walked; two look for a folded catalogue."""
    lib.write("a", frame(5))
    template = next(key for key in counting.inner._objects if "/versions/a/" in key)
    document = counting.inner._objects[template]
    for number in range(1, 2500):
        key = lib.open_library.layout.version("a", number)
        counting.inner._objects[key] = document.replace(b'"version":0', f'"version":{number}'.encode())
    lib.write("b", frame(5))
    counting.reset()
    assert lib.list_symbols() == ["a", "b"]
    assert counting.counts["list"] <= 5


def test_description(lib, small_segments):
    """What is known without reading rows."""
    lib.write("trades", frame(), author="ann", message="first")
    found = lib.get_description("trades")
    unit = frame().index.unit
    assert [(column.name, column.dtype) for column in found.index] == [("time", f"timestamp[{unit}]")]
    assert [column.name for column in found.columns] == ["price", "qty", "sym"]
    assert (found.row_count, found.sorted, found.segment_count) == (100, "ASCENDING", 10)
    assert found.date_range == (datetime(2026, 1, 1), datetime(2026, 1, 5, 3))
    assert (found.author, found.message, found.operation, found.version) == ("ann", "first", "write", 0)


def test_unsorted_dates_are_refused_unless_told(lib):
    """validate_index refuses an unsorted DatetimeIndex."""
    data = frame().iloc[::-1]
    with pytest.raises(vs.InvalidInput, match="not sorted: sort_index"):
        lib.write("trades", data)
    lib.write("trades", data, validate_index=False)
    assert_frame_equal(lib.read("trades").data, data, check_freq=False)
    found = lib.read("trades", date_range=("2026-01-02", "2026-01-02 02:00")).data
    assert len(found) == 3
    assert lib.get_description("trades").sorted == "UNSORTED"


def test_other_kinds_of_values(lib):
    """Series, arrays, Arrow, polars and streams come back as what they were."""
    import polars as pl
    import pyarrow as pa

    series = pd.Series([1.0, None], name=("a", 1))
    lib.write("series", series)
    assert_series_equal(lib.read("series").data, series)
    array = np.arange(24, dtype=">i4").reshape(2, 3, 4)
    lib.write("array", array)
    back = lib.read("array").data
    assert back.dtype == array.dtype
    assert (back == array).all()
    lib.write("scalar", np.array(5))
    assert lib.read("scalar").data == np.array(5)
    assert lib.read("scalar", row_range=(0, 0)).data.shape == (0,)
    table = pa.table({"x": [1, None], "y": [["a"], []]})
    lib.write("arrow", table)
    assert lib.read("arrow").data.equals(table)
    lib.write("stream", table.to_reader())
    assert lib.read("stream").data.equals(table)
    polars = pl.DataFrame({"x": [1, None], "when": [datetime(2026, 1, 1), None]})
    lib.write("polars", polars)
    assert lib.read("polars").data.equals(polars)
    assert lib.read_metadata("stream").row_count == 2


def test_libraries(counting):
    """Libraries are made, found, listed and removed."""
    store = vs.Store(counting)
    store.create_library("a b/ü")
    made = store.get_library("other", create_if_missing=True)
    made.write("x", frame(3))
    assert store.list_libraries() == ["a b/ü", "other"]
    assert "other" in store
    assert "nothing" not in store
    assert_frame_equal(store["other"].read("x").data, frame(3))
    with pytest.raises(vs.AlreadyExists, match=r"get_library\('other'\)"):
        store.create_library("other")
    with pytest.raises(vs.NoSuchLibrary, match=r"Did you mean 'other'.*create_library\('othr'\)"):
        store.get_library("othr")
    with pytest.raises(KeyError):
        store["nothing"]
    store.delete_library("other")
    assert store.list_libraries() == ["a b/ü"]
    assert not [key for key in counting.inner._objects if key.startswith("other/")]
    with pytest.raises(vs.NoSuchLibrary):
        store.delete_library("other")


def test_a_library_made_again_is_not_mixed_with_the_old_one(counting):
    """A handle of a deleted library says so instead of reading the new one's symbols."""
    store = vs.Store(counting)
    old = store.create_library("eod")
    old.write("x", frame(3))
    store.delete_library("eod")
    new = store.create_library("eod")
    new.write("x", frame(4))
    new.write("x", frame(5))
    with pytest.raises(vs.Conflict, match="deleted and made again"):
        old.read("x")


@pytest.mark.parametrize(
    "name", ["a/b", "..", ".", "a b", "ü💥", "a'; DROP TABLE x; --", "%41", "a=b", "*?[x]", "A", "a"]
)
def test_any_name_is_a_symbol(lib, name):
    """Names are text, not paths."""
    lib.write(name, frame(3))
    lib.snapshot(name)
    assert lib.list_symbols() == [name]
    assert_frame_equal(lib.read(name, as_of=name).data, frame(3))


@pytest.mark.parametrize("name", ["", "x" * 241, "ü" * 100, "\ud800", 7, None])
def test_names_that_cannot_be_stored_are_refused(lib, name):
    """With the reason, before anything is written."""
    with pytest.raises(vs.InvalidInput, match="name"):
        lib.write(name, frame(3))
    with pytest.raises(vs.InvalidInput, match="name"):
        lib.snapshot(name)


@pytest.mark.parametrize("as_of", [1.5, True, [1], {"v": 1}])
def test_as_of_of_the_wrong_type_is_refused(lib, as_of):
    """as_of is a number, a name or a time."""
    lib.write("x", frame(3))
    with pytest.raises(vs.InvalidInput, match="as_of"):
        lib.read("x", as_of=as_of)


def test_missing_things_say_what_there_is(lib):
    """Each miss names the nearest and the next step."""
    lib.write("trades", frame(3))
    with pytest.raises(vs.NoSuchSymbol, match=r"no symbol 'trade'\. Did you mean 'trades'\?.*list_symbols"):
        lib.read("trade")
    with pytest.raises(vs.NoSuchVersion, match="no version 7; its newest is 0"):
        lib.read("trades", as_of=7)
    with pytest.raises(vs.NoSuchVersion, match="has 1 versions, so there is no as_of=-2"):
        lib.read("trades", as_of=-2)
    with pytest.raises(vs.NoSuchVersion, match="no snapshot 'eod'"):
        lib.read("trades", as_of="eod")
    assert not lib.has_symbol("trades", as_of=7)


def test_damage_is_found_and_named(lib, counting):
    """A changed, cut or missing segment or document is an Integrity error that names it."""
    lib.write("trades", frame())
    objects = counting.inner._objects
    segment = next(key for key in objects if "/segments/" in key)
    document = next(key for key in objects if "/versions/" in key)
    whole = objects[segment]
    for damaged in (whole[:-10], whole[:100] + b"\x00" + whole[101:], b""):
        objects[segment] = damaged
        with pytest.raises(vs.Integrity, match="is damaged: expected"):
            lib.read("trades")
    del objects[segment]
    with pytest.raises(vs.Integrity, match=r"segment eod/segments/trades/.* is missing"):
        lib.read("trades")
    for damaged in (
        b"",
        b"{}",
        b"\xff",
        objects[document][:-5],
        objects[document].replace(b'"version":0', b'"version":1'),
    ):
        objects[document] = damaged
        fresh = vs.Store(counting).get_library("eod")
        with pytest.raises(vs.Integrity, match="document"):
            fresh.read("trades")


def test_a_document_cannot_point_outside_its_library(lib, counting):
    """Keys in a document must parse under the library's own layout."""
    lib.write("trades", frame())
    objects = counting.inner._objects
    document = next(key for key in objects if "/versions/" in key)
    segment = next(key for key in objects if "/segments/" in key).removeprefix("eod/")
    for hostile in ("../other/secret", "file:///etc/passwd", "segments/../../x.parquet", "/etc/passwd"):
        fresh = vs.Store(counting).get_library("eod")
        saved = objects[document]
        objects[document] = saved.replace(segment.encode(), hostile.encode())
        with pytest.raises(vs.Integrity, match="no key of a segment"):
            fresh.read("trades")
        objects[document] = saved


def test_a_newer_format_is_refused(lib, counting):
    """A document that asks for a feature this release does not know is not guessed at."""
    lib.write("trades", frame())
    objects = counting.inner._objects
    document = next(key for key in objects if "/versions/" in key)
    objects[document] = objects[document].replace(b'"requires":[]', b'"requires":["a_feature_of_tomorrow"]')
    with pytest.raises(vs.Unsupported, match="upgrade duckvstore"):
        vs.Store(counting).get_library("eod").read("trades")


def test_transactions_of_later_releases_are_honoured(lib, counting):
    """An undecided or aborted document is absent; a committed one is there with the time of its commit."""
    from duckvstore.format.stored import documents

    lib.write("trades", frame(seed=1))
    lib.write("trades", frame(seed=2))
    objects = counting.inner._objects
    newest = lib.open_library.layout.version("trades", 1)
    transaction = "ab" * 16
    objects[newest] = objects[newest].replace(b'"transaction":null', f'"transaction":"{transaction}"'.encode())

    def fresh():
        return vs.Store(counting).get_library("eod")

    assert fresh().read("trades").version == 0
    assert len(fresh().list_versions("trades")) == 1
    with pytest.raises(vs.NoSuchVersion):
        fresh().read("trades", as_of=1)
    decided_at = datetime(2040, 1, 1, tzinfo=UTC)
    decision = documents.Decision(transaction, "committed", decided_at, {"trades": 1})
    objects[lib.open_library.layout.transaction(transaction)] = decision.dump()
    assert fresh().read("trades").created_at == decided_at
    assert fresh().write("trades", frame()).created_at == decided_at + timedelta(microseconds=1)


def test_a_writer_waits_for_an_undecided_transaction_then_aborts_it(lib, counting, monkeypatch):
    """Nothing is created above an undecided document; after ten seconds of watching, it is aborted."""
    from duckvstore import clock
    from duckvstore.format.stored import documents

    lib.write("trades", frame(seed=1))
    lib.write("trades", frame(seed=2))
    objects = counting.inner._objects
    newest = lib.open_library.layout.version("trades", 1)
    objects[newest] = objects[newest].replace(b'"transaction":null', ('"transaction":"' + "cd" * 16 + '"').encode())
    slept = []
    monkeypatch.setattr(clock, "sleep", slept.append)
    monkeypatch.setattr(clock.Stopwatch, "elapsed_seconds", lambda self: sum(slept))
    item = vs.Store(counting).get_library("eod").write("trades", frame(seed=3))
    assert item.version == 2
    assert sum(slept) > 10
    decision = objects[lib.open_library.layout.transaction("cd" * 16)]
    assert documents.Decision.load(decision, where="").outcome == "aborted"
    assert [pair.version for pair in vs.Store(counting).get_library("eod").list_versions("trades")] == [2, 0]
