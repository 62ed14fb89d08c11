"""Edits through the public API: exact behaviour, what is shared, and the words of every error."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
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
    cut_every(monkeypatch, 10)


def frame(rows=100, start="2026-01-01", seed=0):
    random = np.random.default_rng(seed)
    index = pd.date_range(start, periods=rows, freq="h", name="time")
    return pd.DataFrame({"price": random.normal(100, 5, rows), "qty": random.integers(0, 9, rows)}, index=index)


def same(found, wanted):
    assert_frame_equal(found, wanted, check_freq=False)


# -- append -----------------------------------------------------------------------------------------------------------


def test_append_adds_rows_and_keeps_every_version(lib):
    """The newest is both together, the one before is as it was; metadata is kept unless given."""
    first, second = frame(50), frame(50, "2026-02-01", 1)
    lib.append("trades", first, metadata={"n": 1})
    item = lib.append("trades", second, author="ann", message="second")
    assert (item.version, item.row_count, item.new_rows, item.metadata) == (1, 100, 50, {"n": 1})
    same(lib.read("trades").data, pd.concat([first, second]))
    same(lib.read("trades", as_of=0).data, first)
    assert lib.append("trades", second.iloc[:0], metadata={"n": 2}).metadata == {"n": 2}
    assert lib.append("trades", second.iloc[:0]).version == 2, "nothing to add makes no version"
    info = lib.list_versions("trades")[vs.SymbolVersion("trades", 1)]
    assert (info.operation, info.author, info.message, info.new_rows) == ("append", "ann", "second", 50)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (pd.DataFrame({"x": [1, 2]}), pd.DataFrame({"x": [3]})),
        (pd.Series([1.5, 2.5], name="s"), pd.Series([3.5], name="s")),
        (
            pd.DataFrame({"x": [1]}, index=pd.Index(["a"], name="k")),
            pd.DataFrame({"x": [2]}, index=pd.Index(["b"], name="k")),
        ),
    ],
)
def test_append_of_pandas_values_is_concat(lib, first, second):
    """A RangeIndex counts on; other labels follow."""
    lib.write("x", first)
    lib.append("x", second)
    is_range = isinstance(first.index, pd.RangeIndex)
    wanted = pd.concat([first, second], ignore_index=is_range)
    check = assert_series_equal if isinstance(first, pd.Series) else assert_frame_equal
    check(lib.read("x").data, wanted)


def test_append_of_arrow_polars_and_streams(lib):
    """Kinds come back as they were; a stream is appended without being held."""
    lib.write("arrow", pa.table({"x": [1, 2]}))
    lib.append("arrow", pa.table({"x": [3]}))
    assert lib.read("arrow").data == pa.table({"x": [1, 2, 3]})
    lib.append("arrow", pa.table({"x": [4, 5]}).to_reader())
    assert lib.read("arrow").data["x"].to_pylist() == [1, 2, 3, 4, 5]
    lib.write("polars", pl.DataFrame({"x": [1]}))
    lib.append("polars", pl.DataFrame({"x": [2]}))
    assert lib.read("polars").data.equals(pl.DataFrame({"x": [1, 2]}))


def test_append_out_of_order_is_refused_unless_asked_for(lib):
    """The message says where the data begins and where the version ends; nothing is changed."""
    lib.write("trades", frame(50))
    with pytest.raises(
        vs.InvalidInput, match=r"begins at 2026-01-02 .* before the end of version 0 at 2026-01-03.*update\(\)"
    ):
        lib.append("trades", frame(5, "2026-01-02"))
    with pytest.raises(vs.InvalidInput, match="not sorted"):
        lib.append("trades", frame(5, "2026-03-02").iloc[::-1])
    assert lib.read_metadata("trades").version == 0
    lib.append("trades", frame(5, "2026-01-02"), validate_index=False)
    assert lib.get_description("trades").sorted == "UNSORTED"
    lib.append("trades", frame(5, "2026-01-02"), validate_index=False)
    lib.append("trades", frame(1, "2026-01-03 01:00"), validate_index=False)
    assert len(lib.read("trades").data) == 61


def test_append_at_the_very_end_of_the_index_fits(lib):
    """An index that begins with the last label is in order."""
    lib.write("trades", frame(50))
    last = frame(50).index[-1]
    lib.append("trades", frame(3, last))
    assert lib.get_description("trades").sorted == "ASCENDING"


def test_small_appends_are_merged_and_few_segments_are_read(lib, counting):
    """300 appends of 3 rows: every row once and in order, at most 30 requests to read them all."""
    whole = frame(900)
    for start in range(0, 900, 3):
        lib.append("ticks", whole.iloc[start : start + 3])
    versions = lib.list_versions("ticks").values()
    assert sum(info.new_rows for info in versions) <= 6 * 900
    fresh = vs.Store(counting).get_library("eod")
    counting.reset()
    same(fresh.read("ticks").data, whole)
    assert counting.request_count <= 30
    same(fresh.read("ticks", as_of=150).data, whole.iloc[:453])


def test_append_to_other_kinds_is_refused(lib):
    """The message says what is there and what to do."""
    lib.write("config", {"a": 1})
    with pytest.raises(vs.InvalidInput, match=r"kind 'json'.*write\(\) the whole value"):
        lib.append("config", frame(3))


# -- update -----------------------------------------------------------------------------------------------------------


def test_update_replaces_the_span_of_the_data(lib, small_segments):
    """Rows inside the closed span are replaced, those outside stay, whether or not labels match."""
    before = frame(100)
    lib.write("trades", before)
    new = frame(3, "2026-01-02 00:30", 5)
    item = lib.update("trades", new)
    kept = [before[before.index < new.index[0]], new, before[before.index > new.index[-1]]]
    same(lib.read("trades").data, pd.concat(kept))
    assert item.new_rows <= 20, "only the segments that are touched are written"
    same(lib.read("trades", as_of=0).data, before)


@pytest.mark.parametrize(
    "bounds", [("2026-01-02", "2026-01-03"), (None, "2026-01-02"), ("2026-01-03", None), (None, None)]
)
def test_update_with_a_date_range_removes_it_and_takes_only_what_lies_inside(lib, small_segments, bounds):
    """None is open; rows of the data outside of the range are left out."""
    before, new = frame(100), frame(300, "2025-12-30 00:30", 7)
    lib.write("trades", before)
    lib.update("trades", new, date_range=bounds)
    low, high = (pd.Timestamp(bound) if bound else None for bound in bounds)

    def inside(index):
        return (index >= (low or index.min())) & (index <= (high or index.max()))

    wanted = pd.concat([before[~inside(before.index)], new[inside(new.index)]]).sort_index()
    same(lib.read("trades").data, wanted)


def test_update_beyond_the_end_is_an_append(lib):
    """And before the begin it is put first."""
    lib.write("trades", frame(10))
    lib.update("trades", frame(5, "2026-03-01", 1))
    lib.update("trades", frame(5, "2025-03-01", 2))
    same(lib.read("trades").data, pd.concat([frame(5, "2025-03-01", 2), frame(10), frame(5, "2026-03-01", 1)]))


def test_update_of_a_missing_symbol(lib):
    """NoSuchSymbol that names upsert; with it the data is written."""
    with pytest.raises(vs.NoSuchSymbol, match="upsert=True"):
        lib.update("trades", frame(5))
    assert lib.update("trades", frame(5), upsert=True).version == 0


def test_update_needs_sorted_times(lib):
    """Each refusal says what is not as it must be."""
    lib.write("numbers", pd.DataFrame({"x": [1, 2]}))
    with pytest.raises(vs.InvalidInput, match="needs data with a DatetimeIndex"):
        lib.update("numbers", pd.DataFrame({"x": [1]}))
    lib.write("trades", frame(10).iloc[::-1], validate_index=False)
    with pytest.raises(vs.InvalidInput, match="not sorted"):
        lib.update("trades", frame(2))
    lib.write("trades", frame(10))
    with pytest.raises(vs.InvalidInput, match="not sorted"):
        lib.update("trades", frame(4).iloc[::-1])
    assert lib.update("trades", frame(4).iloc[:0]).version == 1, "nothing to update makes no version"


# -- deletion of rows -------------------------------------------------------------------------------------------------


def test_delete_rows_by_predicate_writes_only_touched_segments(lib, small_segments, counting):
    """Rows for which it is true go; with none of them no version is made."""
    before = frame(100)
    lib.write("trades", before)
    low, high = before.index[40], before.index[44]
    item = lib.delete_rows("trades", f"time BETWEEN '{low}' AND '{high}'")
    same(lib.read("trades").data, before.drop(before.index[40:45]))
    assert item.new_rows == 5
    assert lib.delete_rows("trades", "price > 1e9").version == item.version
    lib.delete_rows("trades", "qty >= 0")
    assert lib.read("trades").data.shape == (0, 2)
    with pytest.raises(vs.SqlError):
        lib.delete_rows("trades", "qty >")
    with pytest.raises(vs.NoSuchColumn):
        lib.delete_rows("trades", "quantity = 1")
    with pytest.raises(vs.NoSuchSymbol, match="delete rows of"):
        lib.delete_rows("nothing", "x = 1")


def test_delete_rows_of_a_range_index_renumbers(lib):
    """There are no labels to keep gaps in."""
    lib.write("x", pd.DataFrame({"x": [1, 2, 3, 4]}))
    lib.delete_rows("x", "x IN (1, 3)")
    assert_frame_equal(lib.read("x").data, pd.DataFrame({"x": [2, 4]}))


def test_delete_data_in_range_includes_both_ends(lib, small_segments):
    """None is open; a range without rows makes no version."""
    before = frame(100)
    lib.write("trades", before)
    lib.delete_data_in_range("trades", (before.index[10], before.index[29]))
    same(lib.read("trades").data, before.drop(before.index[10:30]))
    assert lib.delete_data_in_range("trades", ("2030-01-01", None)).version == 1
    lib.write("numbers", pd.DataFrame({"x": [1]}))
    with pytest.raises(vs.InvalidInput, match="needs a datetime index"):
        lib.delete_data_in_range("numbers", (None, None))


# -- sharing ----------------------------------------------------------------------------------------------------------


def test_an_identical_write_stores_nothing(lib, counting):
    """Also through a fresh handle, which finds out what is there; the new version says so."""
    lib.write("trades", frame())
    fresh = vs.Store(counting).get_library("eod")
    item = fresh.write("trades", frame())
    assert (item.version, item.row_count, item.new_rows, item.new_bytes) == (1, 100, 0, 0)
    described = fresh.get_description("trades")
    assert (described.new_rows, described.new_bytes, described.row_count) == (0, 0, 100)


def test_a_changed_cell_stores_one_segment(lib, small_segments):
    """The others are shared."""
    before = frame()
    lib.write("trades", before)
    before.iloc[55, 0] = -1.0
    assert lib.write("trades", before).new_rows == 10
    same(lib.read("trades").data, before)


# -- compare and set --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "edit",
    [
        lambda lib, n: lib.append("trades", frame(2, "2026-05-01"), expected_version=n),
        lambda lib, n: lib.update("trades", frame(2), expected_version=n),
        lambda lib, n: lib.delete_rows("trades", "qty > 3", expected_version=n),
        lambda lib, n: lib.delete_data_in_range("trades", (None, "2026-01-02"), expected_version=n),
    ],
)
def test_expected_version_guards_every_edit(lib, edit):
    """Another head is Conflict that names both, and nothing is made."""
    lib.write("trades", frame())
    lib.write("trades", frame(seed=1))
    with pytest.raises(vs.Conflict, match="expected version 0 .*found 1"):
        edit(lib, 0)
    assert edit(lib, 1).version == 2


# -- batches ----------------------------------------------------------------------------------------------------------


def test_batches_keep_their_order_and_name_what_failed(lib):
    """One bad item does not stop the others; its error is what the single call raises."""
    made = lib.write_batch([vs.WritePayload(f"s{n}", frame(seed=n), n) for n in range(20)], author="ann")
    assert [(item.symbol, item.version, item.metadata) for item in made] == [(f"s{n}", 0, n) for n in range(20)]
    found = lib.append_batch(
        [vs.WritePayload("s1", frame(2, "2027-01-01")), vs.WritePayload("s2", frame(2, "2020-01-01"))]
    )
    assert found[0].version == 1
    assert isinstance(found[1], vs.DataError)
    assert "before the end" in found[1].exception_string
    assert isinstance(found[1].error, vs.InvalidInput)
    read = lib.read_batch(["s0", vs.ReadRequest("s1", as_of=0, columns=["qty"]), "missing"])
    same(read[0].data, frame())
    same(read[1].data, frame(seed=1)[["qty"]])
    assert isinstance(read[2].error, vs.NoSuchSymbol)
    lib.write_pickle("odd", {1, 2})
    assert lib.read_batch(["odd"], allow_pickle=True)[0].data == {1, 2}
    assert lib.read_batch([vs.ReadRequest("odd", allow_pickle=True)])[0].data == {1, 2}
    assert "allow_pickle" in lib.read_batch(["odd", "s0"])[0].exception_string
    assert [item.metadata for item in lib.read_metadata_batch(["s3", vs.ReadInfoRequest("s1", 0)])] == [3, 1]
    assert lib.get_description_batch(["s5"])[0].row_count == 100
    updated = lib.update_batch(
        [vs.UpdatePayload("s6", frame(3, seed=9)), vs.UpdatePayload("new", frame(3))], upsert=True
    )
    assert [item.version for item in updated] == [1, 0]
    assert lib.write_metadata_batch([vs.WriteMetadataPayload("s7", "x")])[0].metadata == "x"
    assert lib.delete_batch(["s8", "s9"]) == [None, None]
    assert not lib.has_symbol("s8")


def test_a_batch_that_cannot_be_right_is_refused_as_a_whole(lib):
    """A symbol twice, or an item of another type."""
    with pytest.raises(vs.InvalidInput, match="'a' is in the batch more than once"):
        lib.write_batch([vs.WritePayload("a", frame()), vs.WritePayload("a", frame())])
    with pytest.raises(vs.InvalidInput, match="item 0 of the batch is a tuple: give a WritePayload"):
        lib.write_batch([("a", frame())])
    assert lib.list_symbols() == []


# -- staging ----------------------------------------------------------------------------------------------------------


def test_staged_parts_become_one_version_in_the_order_of_their_index(lib):
    """Invisible before, gone after; finalising again says that nothing is staged."""
    lib.stage("trades", frame(10, "2026-02-01", 2))
    lib.stage("trades", frame(10, "2026-01-01", 1))
    assert lib.get_staged_symbols() == ["trades"]
    assert not lib.has_symbol("trades")
    item = lib.finalize_staged_data("trades", metadata={"n": 1})
    assert (item.version, item.row_count, item.metadata) == (0, 20, {"n": 1})
    same(lib.read("trades").data, pd.concat([frame(10, "2026-01-01", 1), frame(10, "2026-02-01", 2)]))
    assert lib.get_staged_symbols() == []
    with pytest.raises(vs.NoSuchSymbol, match=r"nothing is staged for 'trades'.*stage\(\)"):
        lib.finalize_staged_data("trades")
    lib.stage("trades", frame(10, "2026-03-01", 3))
    assert lib.finalize_staged_data("trades", mode="append").row_count == 30
    assert lib.get_description("trades").sorted == "ASCENDING"


def test_staged_parts_that_overlap_are_refused(lib):
    """The message names both and what to do; nothing is published."""
    lib.stage("trades", frame(10))
    lib.stage("trades", frame(10, "2026-01-01 05:00"))
    with pytest.raises(vs.InvalidInput, match=r"overlap: delete_staged_data\('trades'\)"):
        lib.finalize_staged_data("trades")
    lib.delete_staged_data("trades")
    assert lib.get_staged_symbols() == []
    with pytest.raises(vs.InvalidInput, match="mode='both'"):
        lib.finalize_staged_data("trades", mode="both")


def test_a_part_is_never_published_twice(lib, counting):
    """A crash between the commit and the removal of the parts leaves them; the next call takes only what is new."""
    from duckvstore.engine.writing import staging

    lib.stage("trades", frame(10))
    parts = staging.parts(lib.open_library, "trades")
    lib.finalize_staged_data("trades", mode="append")
    key = lib.open_library.layout.staged("trades", parts[0].write_id)
    from duckvstore.format.stored import documents

    counting.put(key, documents.dump_version(parts[0]))
    lib.stage("trades", frame(10, "2026-02-01"))
    assert lib.finalize_staged_data("trades", mode="append").row_count == 20
    assert lib.get_staged_symbols() == []


# -- values -----------------------------------------------------------------------------------------------------------


def test_nested_json_and_pickled_values_through_the_api(lib):
    """Each comes back as it was; a pickle only when both sides agree."""
    nested = {"frames": [frame(5), frame(6)], "rate": 0.5, "more": {"array": np.arange(3)}}
    lib.write("nested", nested)
    found = lib.read("nested").data
    same(found["frames"][1], frame(6))
    assert found["rate"] == 0.5
    assert lib.write("nested", nested).new_bytes == 0
    lib.write("config", {"a": [1, 2.5, None]})
    assert lib.read("config").data == {"a": [1, 2.5, None]}
    assert lib.sql("SELECT count(*) FROM config").fetchall() == [(1,)]
    with pytest.raises(vs.InvalidInput, match="allow_pickle=True"):
        lib.write("object", {1, 2})
    lib.write("object", {1, 2}, allow_pickle=True)
    with pytest.raises(vs.DuckVStoreError, match="allow_pickle=True"):
        lib.read("object")
    assert lib.read("object", allow_pickle=True).data == {1, 2}
    with pytest.raises(vs.DuckVStoreError, match="where"):
        lib.read("nested", where="x > 1")


# -- options ----------------------------------------------------------------------------------------------------------


def test_options_are_stored_checked_and_shown(lib, counting):
    """Another handle sees them; what is not valid is refused by name."""
    assert lib.options.segment_bytes > 0
    lib.set_options(segment_bytes=2**20, compression="snappy", keep_last=5)
    other = vs.Store(counting).get_library("eod")
    assert (other.options.segment_bytes, other.options.compression, other.options.keep_last) == (2**20, "snappy", 5)
    for changes, message in (
        ({"segment_byte": 1}, "Did you mean 'segment_bytes'"),
        ({"segment_bytes": 1}, "from 65,536"),
        ({"compression": "zip"}, "none of zstd"),
        ({"keep_last": 0}, "keep_last=0"),
        ({"encryption_key_id": "k"}, "aws:kms"),
        ({"grace": 1.0}, "grace_seconds=1.0"),
    ):
        with pytest.raises(vs.InvalidInput, match=message):
            lib.set_options(**changes)
    made = vs.Store(counting).create_library("small", validate_index=False)
    made.write("x", frame(5).iloc[::-1])
    assert vs.Store(counting).get_library("small").options.validate_index is False


def test_options_decide_how_segments_are_written(lib):
    """Compression of the Parquet pages, and how many columns have bounds."""
    import pyarrow.parquet as pq

    lib.set_options(compression="lz4", statistics_columns=1)
    lib.write("trades", frame(5000))
    version = lib.open_library.version("trades", 0)
    data = lib.open_library.segment_objects.read(lib.open_library.layout.segment_key(version.segments[0].key))
    assert pq.read_metadata(pa.BufferReader(data)).row_group(0).column(0).compression == "LZ4"
    assert set(version.segments[0].statistics) == {1, 2}, "the index and one column"
    same(lib.read("trades").data, frame(5000))
    with pytest.raises(vs.Unsupported, match="not on S3, so StorageClass"):
        lib.set_options(storage_class="STANDARD_IA")


def test_encryption_and_storage_class_reach_s3(moto_bucket):
    """Documents are encrypted too; the storage class is that of segments alone."""
    store = vs.open(moto_bucket.url, moto_bucket.storage_options)
    lib = store.create_library("eod", server_side_encryption="AES256", storage_class="STANDARD_IA")
    lib.write("trades", frame(10))
    client = moto_bucket.server.client()
    listed = client.list_objects_v2(Bucket=moto_bucket.name)["Contents"]
    heads = {entry["Key"]: client.head_object(Bucket=moto_bucket.name, Key=entry["Key"]) for entry in listed}
    segments = [head for key, head in heads.items() if "/segments/" in key]
    versions = [head for key, head in heads.items() if "/versions/" in key]
    assert [head["StorageClass"] for head in segments] == ["STANDARD_IA"]
    assert "StorageClass" not in versions[0]
    assert [head["ServerSideEncryption"] for head in segments + versions] == ["AES256"] * 2
    same(vs.open(moto_bucket.url, moto_bucket.storage_options)["eod"].read("trades").data, frame(10))
    assert lib.gc(dry_run=False)
    client.close()
