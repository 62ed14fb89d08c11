"""Version handles: what other engines see of ``lib["trades", 3]``, and how little of it is in memory."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from decimal import Decimal

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal

import duckvstore as vs
from duckvstore.api import version_handle
from duckvstore.errors import Integrity, InvalidInput, NoSuchSymbol, NoSuchVersion
from duckvstore.objects.memory import MemoryObjects
from duckvstore.testing.faulty import FaultyObjects
from tests.cuts import cut_every

FRAME = pd.DataFrame(
    {"price": [1.5, 2.5, 3.5], "sym": ["a", "b", "a"]}, index=pd.date_range("2026-01-01", periods=3, name="time")
)
LOGICAL_BYTES, GROWTH_BYTES_MAX = (8 * 2**30, 2**30) if os.environ.get("DUCKVSTORE_FULL") else (3 * 2**28, 600 * 2**20)


@pytest.fixture
def lib(tmp_path):
    """A library where trades has version 0, 1 (in snapshot ``eod``) and 2 (one row)."""
    library = vs.open(tmp_path / "store", {"fsync": False}).create_library("lib")
    library.write("trades", FRAME)
    library.write("trades", FRAME.assign(price=FRAME["price"] * 2))
    library.snapshot("eod")
    library.write("trades", FRAME.head(1))
    yield library
    library.session.close()


def in_duckdb(v):
    return duckdb.sql("FROM v").to_arrow_table()


SCANS = {
    "duckdb": in_duckdb,
    "polars": lambda v: pl.DataFrame(v).to_arrow(),
    "pandas": lambda v: pa.Table.from_pandas(pd.DataFrame.from_arrow(v), preserve_index=False),
    "pyarrow": pa.table,
}


@pytest.mark.parametrize("engine", SCANS)
def test_engines_scan_a_handle_directly(lib, engine):
    """Index levels are leading columns, under the names of SQL."""
    if engine == "pandas" and not hasattr(pd.DataFrame, "from_arrow"):
        pytest.skip("this pandas has no DataFrame.from_arrow")
    found = SCANS[engine](lib["trades", 1])
    assert found.column_names == lib.sql("FROM trades").columns == ["time", "price", "sym"]
    assert found["price"].to_pylist() == [3.0, 5.0, 7.0]
    assert found["sym"].to_pylist() == ["a", "b", "a"]
    assert found["time"].to_pylist() == list(FRAME.index)


def test_a_handle_takes_what_read_takes(lib):
    """A number, a negative one, a snapshot, a time, or nothing for the newest."""
    created = [info.date for _, info in sorted(lib.list_versions("trades").items())]
    wanted = {None: 2, 0: 0, -2: 1, np.int64(1): 1, "eod": 1, created[0]: 0}
    for as_of, number in wanted.items():
        handle = lib["trades", as_of]
        assert (handle.version, handle.symbol, handle.as_of) == (number, "trades", as_of)
        assert pa.table(handle).num_rows == handle.row_count == (1 if number == 2 else 3)
    assert lib["trades"].version == 2


@pytest.mark.parametrize("wanted", [1, (), ("trades", 1, 2), (1, "trades"), None, ["trades"], slice(None)])
def test_anything_else_in_the_brackets_is_refused(lib, wanted):
    """With what to write."""
    with pytest.raises(InvalidInput, match=r"write lib\[symbol\]"):
        lib[wanted]


def test_a_library_is_the_collection_of_its_symbols(lib):
    """Iteration and ``in`` say which handles there are."""
    lib.write("names", FRAME)
    assert list(lib) == ["names", "trades"]
    assert "trades" in lib
    assert {symbol: lib[symbol].row_count for symbol in lib} == {"names": 3, "trades": 1}


def test_a_handle_is_looked_up_at_its_first_use_and_stays(lib):
    """Nothing is asked before, and a later version does not change what was seen."""
    handle, later, missing = lib["trades"], lib["trades"], lib["nope", 3]
    assert repr(missing) == "<lib/nope at 3>"
    assert handle.columns == ["time", "price", "sym"]
    lib.write("trades", FRAME[["price"]])
    assert pa.table(handle).column_names == handle.columns
    assert handle.version == 2
    assert later.version == 3
    with pytest.raises(NoSuchSymbol, match="nope"):
        pa.table(missing)
    with pytest.raises(NoSuchVersion, match="no version 9"):
        _ = lib["trades", 9].schema


def test_making_a_handle_makes_no_request():
    """Nor does its text."""
    requests = []
    library = vs.Store(FaultyObjects(MemoryObjects("handles"), before=requests.append)).create_library("lib")
    library.write("trades", FRAME)
    del requests[:]
    repr(library["trades", 0])
    assert requests == []
    assert library["trades", 0].row_count == 3


def test_read_reads_that_version(lib):
    """Every option of read() works, and the value is the one that was written."""
    assert_frame_equal(lib["trades", 0].read().data, FRAME, check_freq=False)
    assert lib["trades", "eod"].read(where="price > 4", columns=["price"]).data["price"].tolist() == [5.0, 7.0]
    assert lib["trades", 0].read(row_range=(0, 1), output_format="polars").data.height == 1
    assert len(lib["trades", 0].read(date_range=("2026-01-02", None)).data) == 2


def test_columns_have_the_names_of_sql():
    """Unnamed levels, and labels that are no text or differ in case only."""
    library = vs.open("memory://handles-names").create_library("lib")
    index = pd.MultiIndex.from_tuples([(1, "x"), (2, "y")])
    library.write("odd", pd.DataFrame([[1, 2, 3], [4, 5, 6]], columns=["a", "A", 7], index=index))
    handle = library["odd"]
    assert handle.columns == library.sql("FROM odd").columns == ["index_0", "index_1", "a", "A_1", "7"]
    assert pa.table(handle).to_pydict() == library.sql("FROM odd").arrow().to_pydict()
    assert pa.schema(handle) == handle.schema == pa.table(handle).schema
    library.session.close()


def kinds():
    """Return a table with a column of each type that SQL may see otherwise in Arrow than in Parquet."""
    uuids = pa.ExtensionArray.from_storage(pa.uuid(), pa.array([b"0" * 16, None], pa.binary(16)))
    flags = pa.ExtensionArray.from_storage(pa.bool8(), pa.array([1, 0], pa.int8()))
    tensors = pa.ExtensionArray.from_storage(
        pa.fixed_shape_tensor(pa.int32(), [2, 2]), pa.array([[1, 2, 3, 4], [5, 6, 7, 8]], pa.list_(pa.int32(), 4))
    )
    columns = [
        *(pa.array([1, None], kind) for kind in (pa.int8(), pa.uint16(), pa.uint64(), pa.float32(), pa.float64())),
        *(pa.array([1, None], pa.timestamp(unit)) for unit in ("s", "ms", "us", "ns")),
        *(pa.array([1, None], pa.duration(unit)) for unit in ("s", "ms", "us")),
        *(pa.array([0, None], kind) for kind in (pa.date32(), pa.date64(), pa.time32("s"), pa.time64("us"))),
        pa.array(np.array([1, 2], "f2")),
        pa.array([None, None]),
        pa.array([1001, None], pa.time64("ns")),
        pa.array([Decimal("1.5"), None], pa.decimal256(30, 2)),
        pa.array([Decimal("1.5"), None], pa.decimal128(9, 2)),
        pa.array(["a", None], pa.large_string()),
        pa.array([b"a", None], pa.binary_view()),
        pa.array(["a", None]).dictionary_encode(),
        pa.array([1, 2]).dictionary_encode(),
        pa.array([[1, 2], None], pa.list_(pa.float32(), 2)),
        pa.array([[None], []], pa.list_(pa.timestamp("s"))),
        pa.array([[(1, "a")], None], pa.map_(pa.int64(), pa.string())),
        pa.array([{"t": 1, "x": ["a"]}, None], pa.struct([("t", pa.timestamp("s")), ("x", pa.list_(pa.string()))])),
        pa.array(["1", None], pa.json_()),
        uuids,
        flags,
        tensors,
    ]
    return pa.table({f"c{number} {column.type}": column for number, column in enumerate(columns)})


def test_duckdb_sees_the_types_and_values_of_sql(lib):
    """Of every type, through the handle as through ``lib.sql``."""
    lib.write("kinds", kinds())
    v = lib["kinds"]
    sql = lib.sql("FROM kinds")
    relation = duckdb.sql("FROM v")
    types = dict(zip(relation.columns, map(str, relation.types), strict=True))
    assert types == dict(zip(sql.columns, sql.types, strict=True))
    assert repr(relation.fetchall()) == repr(sql.fetchall())
    assert pa.schema(v) == pa.table(v).schema


def test_times_with_a_zone_are_the_same_times(lib):
    """DuckDB shows them in its own zone, polars in the stored one."""
    moment = datetime(2026, 7, 1, 12, tzinfo=UTC)
    lib.write("zoned", pa.table({"t": pa.array([moment], pa.timestamp("us", "Europe/London"))}))
    v = lib["zoned"]
    assert duckdb.sql("SELECT epoch(t) FROM v").fetchall() == [(moment.timestamp(),)]
    assert pl.DataFrame(v)["t"].to_list() == [moment]


def test_segments_with_other_schemas_give_the_schema_of_the_version(lib):
    """Columns that a segment lacks are null, narrower ones wider."""
    lib.write("grown", pa.table({"a": pa.array([1, 2], pa.int32())}))
    lib.append("grown", pa.table({"a": pa.array([2**40], pa.int64()), "b": ["x"]}))
    v = lib["grown"]
    assert duckdb.sql("FROM v").fetchall() == [(1, None), (2, None), (2**40, "x")] == lib.sql("FROM grown").fetchall()
    assert pa.table(v).column("a").type == pa.int64()
    assert duckdb.sql("FROM v WHERE false").columns == ["a", "b"]
    lib.delete_rows("grown", "true")
    assert pa.table(lib["grown"]).schema == pa.table(v).schema


def test_a_stream_is_in_the_order_of_rows_and_can_be_asked_for_again(lib, monkeypatch):
    """With many segments read ahead, by several engines at once."""
    cut_every(monkeypatch, 100)
    lib.write("long", pa.table({"n": range(5000), "x": np.arange(5000.0)}))
    handle = lib["long"]
    assert lib.get_description("long").segment_count > version_handle.AHEAD_SEGMENTS_MAX
    with ThreadPoolExecutor(4) as pool:
        for table in pool.map(lambda _: pa.table(handle), range(6)):
            assert table["n"].to_pylist() == list(range(5000))
    assert duckdb.sql("SELECT count(*) FROM handle a JOIN handle b USING (n)").fetchall() == [(5000,)]


def test_no_more_is_read_ahead_than_is_allowed(lib, monkeypatch):
    """And what was not asked for is not read when the stream is dropped."""
    cut_every(monkeypatch, 100)
    lib.write("long", pa.table({"n": range(5000)}))
    fetched, lock = [], threading.Lock()
    fetch = version_handle.segments.fetch

    def counted(library, segment):
        with lock:
            fetched.append(segment)
        return fetch(library, segment)

    monkeypatch.setattr(version_handle.segments, "fetch", counted)
    monkeypatch.setattr(version_handle, "AHEAD_BYTES_MAX", lib.get_description("long").logical_bytes // 10)
    reader = pa.RecordBatchReader.from_stream(lib["long"])
    reader.read_next_batch()
    reader.close()
    assert 0 < len(fetched) < lib.get_description("long").segment_count / 4


def test_a_handle_is_a_value_and_a_table_in_sql(lib):
    """It can be written elsewhere, as a stream, and be named in a query."""
    lib.write("copy", lib["trades", 1])
    assert lib.sql("SELECT sum(price) FROM copy").fetchall() == [(15.0,)]
    before = lib["trades", 0]  # noqa: F841 - named in the query
    assert lib.sql("SELECT count(*) FROM before JOIN trades USING (time)").fetchall() == [(1,)]


def test_what_has_no_columns_says_so(lib):
    """A dict of tables, say."""
    lib.write("settings", {"a": FRAME, "b": [FRAME]})
    with pytest.raises(InvalidInput, match=r"version 0 of 'lib/settings' has no columns.*use read\(\)"):
        pa.table(lib["settings"])
    assert "has no columns" in lib["settings"]._repr_html_()


def test_damage_is_found_by_whoever_scans(lib, tmp_path):
    """Each segment is verified, as by read()."""
    for path in (tmp_path / "store").rglob("*.parquet"):
        path.write_bytes(b"PAR1 this is no Parquet file PAR1")
    with pytest.raises((Integrity, pa.ArrowInvalid), match="is damaged"):
        pa.table(lib["trades"])
    v = lib["trades"]  # noqa: F841 - named in the query
    with pytest.raises(duckdb.Error, match="is damaged"):
        duckdb.sql("SELECT sum(price) FROM v").fetchall()


def test_a_handle_looks_well_and_what_it_holds_is_text(lib):
    """Names of columns and symbols are never markup; a missing version is told, not raised."""
    handle = lib["trades", 0]
    assert repr(handle) == "<lib/trades at 0>"
    assert handle.version == 0
    assert repr(handle) == "<lib/trades version 0, 3 rows x 3 columns>"
    lib.write("<i>x", pa.table({"<b>&": [1], **{f"c{number}": [number] for number in range(80)}}))
    shown = lib["<i>x"]._repr_html_()
    assert "<b>&" not in shown
    assert "<i>" not in shown
    assert "&lt;b&gt;&amp;" in shown
    assert "bigint" in shown
    assert "… and 31 more columns" in shown
    missing = lib["<u>"]._repr_html_()
    assert "no symbol" in missing
    assert "<u>" not in missing


CODE = """
import re, sys
from pathlib import Path
import pyarrow as pa
import duckvstore as vs

folder, logical = sys.argv[1], int(sys.argv[2])
lib = vs.open(folder).get_library("big")

def peak():  # of this process alone: what getrusage tells begins with the memory of the one that started it
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

def count(stream):
    return sum(batch.num_rows for batch in pa.RecordBatchReader.from_stream(stream))

con = lib.connect()
for run in (lib.sql, con.execute):
    run("SET memory_limit = '100MB'")  # or DuckDB keeps the bytes of files that it has read
for warm in (lib["small"], lib.sql("FROM small"), con.execute("FROM small")):
    count(warm)
con.execute("FROM small").fetchmany(2)
before = peak()
rows = lib["big"].row_count
assert count(lib["big"]) == rows
assert count(lib.sql("FROM big")) == rows
assert count(con.execute("FROM big")) == rows
cursor, fetched = con.execute("SELECT n FROM big"), 0
while part := cursor.fetchmany(50_000):
    fetched += len(part)
assert fetched == rows
print(peak() - before)
"""


@pytest.mark.timeout(1200)
def test_streams_larger_than_memory_pass_through_little_of_it(tmp_path):
    """A handle, a result, and a cursor as Arrow and as rows: each holds a few segments, or 64 MB of rows, at a time."""
    rows = 100_000
    schema = pa.schema([("n", pa.int64()), *((f"x{k}", pa.float64()) for k in range(9))])
    base = np.random.default_rng(0).integers(0, 100, size=rows).astype(float)

    def batches():
        for number in range(LOGICAL_BYTES // (rows * 80)):
            columns = [np.arange(rows) + number * rows, *(base + number + k for k in range(9))]
            yield pa.record_batch([pa.array(column) for column in columns], schema=schema)

    lib = vs.open(tmp_path / "store", {"fsync": False}).create_library("big", compression="lz4")
    lib.write("big", pa.RecordBatchReader.from_batches(schema, batches()))
    lib.write("small", pa.table({"n": [1]}))
    command = [sys.executable, "-c", CODE, str(tmp_path / "store"), str(LOGICAL_BYTES)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1100, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < GROWTH_BYTES_MAX, f"grew by {int(done.stdout) / 2**20:.0f} MiB"
