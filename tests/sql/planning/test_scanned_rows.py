"""Rows that DuckDB scans for a predicate are, bit by bit, those that are decoded without it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import duckvstore as vs
from duckvstore.api.library import Library
from duckvstore.engine.reading import segment_cache
from duckvstore.errors import Integrity, NoSuchColumn, SqlError
from duckvstore.sql import where as where_module
from duckvstore.sql.planning import scanned_rows
from tests.cuts import cut_every
from tests.distant import DistantObjects, cached_in

I64 = np.iinfo(np.int64)
TEXTS = ["", "a", "Ä", "nul\0inside", "\0", "x" * 300, "a\nb", "日本", "'", '"', "%_", None]
FLOATS = [0.0, -0.0, 1.0, 2.5, np.nan, np.inf, -np.inf, 5e-324, 1.7976931348623157e308, None]
TIMES = [None, 0, 1, -1, 999, -999, 10**18, -(10**18), I64.max, I64.min + 1]


def random_table(random: np.random.Generator, rows: int) -> pa.Table:
    """Return rows of every type that is scanned, with nulls, and values at the ends of their ranges."""

    def drawn(values, kind):
        return pa.array([values[at] for at in random.integers(0, len(values), rows)], kind)

    columns = {}
    for bits in (8, 16, 32, 64):
        for sign in ("int", "uint"):
            ends = np.iinfo(f"{sign}{bits}")
            values = [None, 0, 1, int(ends.min), int(ends.max), int(ends.max) // 3]
            columns[f"{sign}{bits}"] = drawn(values, getattr(pa, f"{sign}{bits}")())
    columns["float64"] = drawn(FLOATS, pa.float64())
    columns["float32"] = drawn([None, 0.0, -0.0, np.nan, np.inf, 1.5, -2.25], pa.float32())
    payload = np.array([0x7FF8000000000001, 0xFFF8000000000000, 0x7FF0000000000001], np.uint64).view(np.float64)
    columns["payload"] = pa.array(payload[random.integers(0, 3, rows)])
    columns["bool"] = drawn([True, False, None], pa.bool_())
    columns["string"] = drawn(TEXTS, pa.string())
    columns["large"] = drawn(TEXTS, pa.large_string())
    columns["many"] = pa.array([f"t{n}" for n in random.integers(0, 10**9, rows)])
    columns["date"] = drawn([None, 0, 1, -1, 2**31 - 1, -(2**31) + 1, 20_000], pa.int32()).cast(pa.date32())
    columns["us"] = drawn(TIMES, pa.int64()).cast(pa.timestamp("us"))
    columns["ns"] = drawn(TIMES, pa.int64()).cast(pa.timestamp("ns"))
    columns["empty"] = pa.nulls(rows, pa.int32())
    columns["constant"] = pa.array([7] * rows)
    columns["walk"] = pa.array(np.arange(rows) * 1000 + 10**15).cast(pa.timestamp("ns"))
    return pa.table(columns)


PREDICATES = [
    *("int64 > 0", "int64 IS NULL", "int64 IS NOT NULL AND int8 < 5", "uint64 > 9223372036854775807", "uint8 = 255"),
    *("float64 > 1", "float64 = 'nan'::DOUBLE", "float64 <> 0", "float64 >= -0.0", "float64 IS NULL", "float32 > 1"),
    *("float64 <= 'inf'", "isnan(payload)", "NOT float64 < 2", "float64 IS DISTINCT FROM 0", "float32 = 1.5"),
    *("bool", "NOT bool", "bool IS NULL", "string = ''", "string LIKE 'a%'", "string > 'a'", "large IS NULL"),
    *("large = 'Ä' OR string = '日本'", "length(string) > 2", "string IN ('a', '%_')", "date > DATE '2024-01-01'"),
    *("us > TIMESTAMP '1970-01-01'", "ns > TIMESTAMP '1970-01-01'", "us IS NULL OR ns IS NULL", "empty IS NULL"),
    *(
        "constant = 7",
        "constant = 8",
        "walk >= make_timestamp_ns(1000000000050000)",
        "int8::BIGINT + int16 > 3",
        "int8 > 10.5",
    ),
    *("int32 BETWEEN -5 AND 5", "many LIKE '%7'", "int64 % 2 = 0 AND bool", "int16 IN (0, 1) OR float64 > 2", "uint32"),
    *("string = chr(0)", "us = 'infinity'", "ns < 'epoch'::TIMESTAMP", "coalesce(int8, 1) = 1", "empty > 1"),
]


def read_both_ways(
    lib: Library, symbol: str, predicate: str, monkeypatch, *, is_scanned: bool | None = True, **options
):
    """Return what is read by a scan and what without one, and see to it that there was (not) a scan."""
    scans = []
    rows = scanned_rows.Scan.rows

    def counted(self, *arguments, **more):
        found = rows(self, *arguments, **more)
        scans.append(found is not None)
        return found

    results = []
    with monkeypatch.context() as patch:
        patch.setattr(scanned_rows.Scan, "rows", counted)
        results.append(lib.read(symbol, where=predicate, **options).data)
        if is_scanned is not None:
            assert any(scans) == is_scanned, (predicate, scans)
        patch.setattr(scanned_rows, "takes", lambda *_: False)
        results.append(lib.read(symbol, where=predicate, **options).data)
    return results


def bits(column: pa.ChunkedArray) -> pa.Array:
    """Return a column whose equality is that of bits, but for what lies under a null."""
    array = pa.concat_arrays(column.chunks) if column.num_chunks else pa.nulls(0, column.type)
    if pa.types.is_floating(array.type):
        whole = pa.Array.from_buffers(
            pa.int64() if array.type.bit_width == 64 else pa.int32(), len(array), array.buffers(), offset=array.offset
        )
        return whole.filter(array.is_valid()), array.is_valid()
    return array, array.is_valid()


def check_equal(scanned: pa.Table, decoded: pa.Table) -> None:
    assert scanned.schema.equals(decoded.schema, check_metadata=True)
    assert scanned.num_rows == decoded.num_rows
    for name in decoded.column_names:
        for ours, theirs in zip(bits(scanned.column(name)), bits(decoded.column(name)), strict=True):
            assert ours.equals(theirs), name


@pytest.fixture
def lib(tmp_path):
    library = vs.open(tmp_path / "store").create_library("lib")
    yield library
    library.session.close()


@pytest.mark.parametrize("seed", range(3))
def test_random_rows_and_predicates(lib, monkeypatch, seed):
    """Every type that is scanned, in several segments, and in one that is long enough for every encoding."""
    random = np.random.default_rng(seed)
    with monkeypatch.context() as patch:
        cut_every(patch, 700)
        lib.write("t", random_table(random, 3000))
    if seed == 0:
        lib.write("long", random_table(random, 40_000))
    for symbol in ("t", "long") if seed == 0 else ("t",):
        for predicate in PREDICATES:
            check_equal(*read_both_ways(lib, symbol, predicate, monkeypatch, is_scanned=None, output_format="pyarrow"))
            negated = f"NOT ({predicate})"
            check_equal(*read_both_ways(lib, symbol, negated, monkeypatch, is_scanned=None, output_format="pyarrow"))
        read_both_ways(lib, symbol, "float64 > 1", monkeypatch)
        names = ["string", "ns", "float64"]
        few = {"columns": names, "output_format": "pyarrow", "is_scanned": False}  # less is read and checked so
        check_equal(*read_both_ways(lib, symbol, "int64 > 0", monkeypatch, **few))


def test_frames_come_back_equal(lib, monkeypatch):
    """Indexes of pandas, and what their decoding makes of rows that were left out."""
    random = np.random.default_rng(5)
    count = 2000
    frame = pd.DataFrame(
        {"x": random.normal(size=count), "n": random.integers(0, 9, count), "s": random.choice(["a", "b"], count)}
    )
    cut_every(monkeypatch, 600)
    frames = {
        "range": frame,
        "times": frame.set_index(pd.date_range("2026-01-01", periods=count, freq="s", name="time")),
        "multi": frame.set_index(["n", "s"]),
        "text": frame.set_index("s"),
        "one": frame.head(1),
        "mixed case": frame.rename(columns={"s": 'odd " name'}),
        "nulls": frame.mask(frame["n"] > 4),
    }
    for symbol, one in frames.items():
        lib.write(symbol, one)
        scanned, decoded = read_both_ways(
            lib, symbol, "x > 0.5", monkeypatch, is_scanned=None if symbol == "one" else True
        )
        pd.testing.assert_frame_equal(scanned, decoded)
        pd.testing.assert_frame_equal(scanned, one[one["x"] > 0.5])
    for predicate in ("x > 1e9", "x > -1e9"):
        scanned, decoded = read_both_ways(lib, "times", predicate, monkeypatch, is_scanned=None)
        pd.testing.assert_frame_equal(scanned, decoded)


def test_what_is_not_scanned(lib, monkeypatch):
    """Types that DuckDB has otherwise, names that it would take for others, rows as a whole, mixed segments."""
    count = 50
    numbers = np.arange(count)
    frame = pd.DataFrame({"x": numbers})
    for symbol, more in {
        "category": pd.Categorical(["a", "b"] * 25),
        "zone": pd.date_range("2026", periods=count, tz="Europe/Zurich"),
        "seconds": pd.date_range("2026", periods=count).as_unit("s"),
        "held": pd.to_timedelta(numbers),
        "objects": [{"a": 1}] * count,
        "bytes": [b"a"] * count,
        "nullable": pd.array([1, None] * 25, "Int64"),
    }.items():
        lib.write(symbol, frame.assign(more=more))
        is_scanned = None if symbol == "nullable" else False
        scanned, decoded = read_both_ways(lib, symbol, "x > 20", monkeypatch, is_scanned=is_scanned)
        pd.testing.assert_frame_equal(scanned, decoded)
        scanned, decoded = read_both_ways(lib, symbol, "x > 20", monkeypatch, is_scanned=None, columns=["x"])
        pd.testing.assert_frame_equal(scanned, decoded)
    lib.write("cases", pd.DataFrame({"x": numbers, "X": -numbers, "y": numbers}))
    scanned, decoded = read_both_ways(lib, "cases", "y > 20", monkeypatch, is_scanned=None)
    pd.testing.assert_frame_equal(scanned, decoded)
    lib.write("file_columns", pd.DataFrame({"x": numbers, "file_row_number": -numbers}))
    scanned, _ = read_both_ways(lib, "file_columns", "file_row_number = -3", monkeypatch, is_scanned=False)
    assert scanned["x"].tolist() == [3]
    lib.write("x_only", frame)
    read_both_ways(lib, "x_only", "x_only.x > 3", monkeypatch, is_scanned=False)
    lib.append("x_only", pd.DataFrame({"x": [0.5, 100.5]}, index=pd.RangeIndex(count, count + 2)))
    scanned, decoded = read_both_ways(lib, "x_only", "x > 48", monkeypatch, is_scanned=False)
    pd.testing.assert_frame_equal(scanned, decoded)
    with pytest.raises(NoSuchColumn):
        lib.read("zone", where="file_row_number > 1 AND x > 1")
    with pytest.raises(NoSuchColumn):
        lib.read("x_only", where="filename > '' AND x > 1")


def test_errors_are_those_of_decoded_rows(lib):
    """What fails in a scan is asked again, so errors point into the predicate."""
    lib.write("t", pd.DataFrame({"x": [1, 2, 3], "s": ["1", "b", "3"]}))
    with pytest.raises(SqlError, match="Could not convert") as caught:
        lib.read("t", where="s::INT > 1")
    assert "s::INT" in str(caught.value)
    with pytest.raises(NoSuchColumn, match="'y'"):
        lib.read("t", where="x > 1 AND y > 1")


@pytest.fixture
def distant(monkeypatch):
    """A library far away, with a symbol of several segments."""
    cut_every(monkeypatch, 500)
    objects = DistantObjects()
    library = vs.Store(objects).create_library("lib")
    random = np.random.default_rng(3)
    library.write("t", pd.DataFrame({f"c{number}": random.normal(size=2000) for number in range(5)}))
    yield library, objects
    library.session.close()


def test_files_of_the_cache_are_scanned_when_they_are_verified(distant, monkeypatch, tmp_path):
    """The first read fetches them, further ones fetch nothing; what was damaged before this process is fetched anew."""
    lib, objects = distant
    with cached_in(tmp_path) as cache:
        whole = lib.read("t").data
        cache.clear()
        for _ in range(2):
            objects.segments_read.clear()
            scanned, decoded = read_both_ways(lib, "t", "c1 > 1", monkeypatch)
            pd.testing.assert_frame_equal(scanned, decoded)
            pd.testing.assert_frame_equal(scanned, whole[whole["c1"] > 1])
        assert not objects.segments_read
        entry = next(path for path in cache.folder.rglob("*") if path.is_file())
        data = bytearray(entry.read_bytes())
        data[len(data) // 2] ^= 255
        entry.write_bytes(bytes(data))
        segment_cache.configure(tmp_path)  # as a new process does
        scanned, _ = read_both_ways(lib, "t", "c1 > 1", monkeypatch)
        pd.testing.assert_frame_equal(scanned, whole[whole["c1"] > 1])
        assert len(objects.segments_read) == 1


def test_an_entry_that_goes_before_it_is_scanned(distant, monkeypatch, tmp_path):
    """The rows are decoded as if there were no scan."""
    lib, _ = distant
    whole = lib.read("t").data
    with cached_in(tmp_path) as cache:
        local_files = where_module.segments.local_files

        def gone(*arguments, **options):
            found = local_files(*arguments, **options)
            cache.clear()
            return found

        monkeypatch.setattr(where_module.segments, "local_files", gone)
        scanned, _ = read_both_ways(lib, "t", "c1 > 1", monkeypatch, is_scanned=False)
        pd.testing.assert_frame_equal(scanned, whole[whole["c1"] > 1])


def test_a_few_columns_are_scanned_where_the_segments_are_here_already(distant, monkeypatch, tmp_path):
    """Without them in the cache, those columns are fetched and not the rest."""
    lib, _ = distant
    with cached_in(tmp_path):
        read_both_ways(lib, "t", "c1 > 1", monkeypatch, is_scanned=False, columns=["c2"])
        lib.read("t")
        read_both_ways(lib, "t", "c1 > 1", monkeypatch, columns=["c2"])


def test_many_segments_are_not_fetched_for_a_scan(distant, monkeypatch, tmp_path):
    """What cannot stay in the cache together would be fetched twice; what is there is scanned however much it is."""
    lib, objects = distant
    with cached_in(tmp_path):
        monkeypatch.setattr(where_module.segments, "HELD_BYTES_MAX", 1)
        read_both_ways(lib, "t", "c1 > 1", monkeypatch, is_scanned=False)
        lib.read("t")
        objects.segments_read.clear()
        read_both_ways(lib, "t", "c1 > 1", monkeypatch)
        assert not objects.segments_read


def test_without_a_cache_nothing_is_scanned(distant, monkeypatch):
    lib, _ = distant
    segment_cache.configure(enabled=False)
    read_both_ways(lib, "t", "c1 > 1", monkeypatch, is_scanned=False)


def test_a_damaged_file_of_a_near_store_is_an_error(lib, tmp_path):
    lib.write("t", pd.DataFrame({"x": range(1000)}))
    segment = next(path for path in (tmp_path / "store").rglob("*.parquet"))
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 255
    segment.chmod(0o600)
    segment.write_bytes(bytes(data))
    with pytest.raises(Integrity, match="damaged"):
        lib.read("t", where="x > 3")
