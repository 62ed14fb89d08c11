"""Segments: exact schema and rows back, checksums, small dictionaries, encodings chosen from the data."""

from __future__ import annotations

import dataclasses
import io

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from duckvstore.errors import Integrity
from duckvstore.format.codecs import values
from duckvstore.format.rows import encoding, parts
from duckvstore.format.stored import schema as schemas
from tests.format.codecs import values_cases as round_trips
from tests.format.codecs.values_cases import COLUMNS

ROWS = 20_000
RANDOM = np.random.default_rng(7)
SAMPLES = {
    "random float": (RANDOM.random(ROWS), "BYTE_STREAM_SPLIT", "LZ4"),
    "few floats": (RANDOM.integers(0, 50, ROWS) / 4, "DICTIONARY", "LZ4"),
    "skewed floats": (RANDOM.binomial(60, 0.02, ROWS) / 4, "DICTIONARY", "ZSTD"),
    "rounded floats": (np.round(RANDOM.normal(size=ROWS) * 20, 2), "PLAIN", "ZSTD"),
    "times": (np.cumsum(RANDOM.integers(0, 10**9, ROWS)).astype("M8[ns]"), "DELTA_BINARY_PACKED", "LZ4"),
    "sorted": (np.arange(ROWS), "DELTA_BINARY_PACKED", "LZ4"),
    "small range": (RANDOM.integers(0, 1000, ROWS), "DELTA_BINARY_PACKED", "LZ4"),
    "few scattered": (RANDOM.choice(RANDOM.integers(-(2**62), 2**62, 20), ROWS), "DICTIONARY", "LZ4"),
    "random": (RANDOM.integers(-(2**63), 2**63 - 1, ROWS), "PLAIN", "ZSTD"),
    "few texts": (pa.array([f"S{n}" for n in RANDOM.integers(0, 200, ROWS)]), "DICTIONARY", "LZ4"),
    "texts": (pa.array([str(n) for n in RANDOM.integers(0, 10**12, ROWS)]), "PLAIN", "ZSTD"),
    "categories": (pa.array(["a", "b"] * (ROWS // 2)).dictionary_encode(), "DICTIONARY", "ZSTD"),
}


def stored(**columns: object) -> tuple[pa.Table, schemas.Schema]:
    """A table in its stored schema."""
    table = pa.table({name: pa.array(values) for name, values in columns.items()})
    schema = schemas.from_arrow(table.schema)
    return table.cast(schemas.to_arrow(schema)), schema


@pytest.mark.parametrize("name", SAMPLES)
def test_the_encoding_is_chosen_from_the_data(name):
    """And it is what the file has; the file is no larger than a plain one would be."""
    data_of, expected, codec = SAMPLES[name]
    table, schema = stored(x=data_of)
    data = encoding.encode(table, schema)
    options = encoding.parquet_options(table, schema)
    found = "DICTIONARY" if options["use_dictionary"] else (options["column_encoding"] or {}).get("x", "PLAIN")
    assert found == expected
    used = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(0).column(0)
    assert any(expected.removesuffix("IONARY") in one for one in used.encodings)
    assert used.compression == codec
    plain = encoding.encode(table, schema, {"compression": "zstd", "compression_level": 1, "use_dictionary": False})
    assert len(data) <= len(plain) * 1.02 + 200
    assert encoding.decode(data, schema).equals(table)


@pytest.mark.parametrize("name", COLUMNS)
def test_duckdb_reads_every_column_type_as_pyarrow_does(name, tmp_path):
    """In the encodings that many rows get: the same rows, nulls in the same places."""
    column = COLUMNS[name]
    frame = pd.DataFrame({"x": pd.concat([column] * 700, ignore_index=True)})
    kind, schema, rows = round_trips.stored(frame)
    round_trips.assert_same(values.decode(rows, kind, schema), frame)
    path = tmp_path / "x.parquet"
    path.write_bytes(encoding.encode(rows, schema))
    found = duckdb.sql(f"SELECT count(*), count(x), count(DISTINCT x::VARCHAR) FROM '{path}'").fetchall()[0]
    nulls = rows.column("x").null_count
    assert found[:2] == (2100, 2100 - nulls)
    assert found[2] == len({repr(item) for item in rows.column("x").slice(0, 3).to_pylist() if item is not None})


def test_files_carry_field_ids_checksums_and_the_arrow_schema():
    """For DuckDB, for verification, and for exact types."""
    table, schema = stored(a=[1, 2], b=["x", "y"])
    data = encoding.encode(table, schema)
    file = pq.ParquetFile(io.BytesIO(data))
    assert [field.metadata[b"PARQUET:field_id"] for field in file.schema_arrow] == [b"1", b"2"]
    assert b"ARROW:schema" in file.metadata.metadata
    assert file.metadata.row_group(0).column(0).compression == "ZSTD"
    assert encoding.encode(table, schema) == data  # equal rows give equal bytes


def test_what_is_no_such_file_is_found():
    """As Integrity. Flipped bits are found by the sha256 of the whole file, and by the pages' checksums."""
    table, schema = stored(a=RANDOM.random(100))
    data = bytearray(encoding.encode(table, schema))
    for damaged in (b"", b"PAR1", bytes(data[:-20])):
        with pytest.raises(Integrity, match="cannot be decoded"):
            encoding.decode(damaged, schema)
    data[200] ^= 1
    with pytest.raises(OSError, match="CRC checksum"):
        pq.read_table(io.BytesIO(bytes(data)), page_checksum_verification=True)


def test_codecs_beside_nested_columns():
    """Each column of Parquet's has the codec that its own values want; an option of the library names one for all."""
    numbers = RANDOM.random(ROWS)
    table, schema = stored(x=numbers, y=[{"x": [1.5]}, {"x": None}] * (ROWS // 2))
    found = pq.ParquetFile(io.BytesIO(encoding.encode(table, schema))).metadata.row_group(0)
    assert [found.column(n).compression for n in range(2)] == ["LZ4", "ZSTD"]
    found = pq.ParquetFile(io.BytesIO(encoding.encode(table, schema, compression="snappy"))).metadata.row_group(0)
    assert [found.column(n).compression for n in range(2)] == ["SNAPPY", "SNAPPY"]


def test_chosen_columns_are_read_in_the_order_asked_for():
    """Names with dots are names, not paths; no columns still have rows; unknown ones are a damaged segment."""
    table = pa.table({"a": [{"b": 1}], "a.b": [2], "c": [3]})
    schema = schemas.from_arrow(table.schema)
    data = encoding.encode(table.cast(schemas.to_arrow(schema)), schema)
    for names in (["c", "a.b"], ["a"], ["a.b", "a"]):
        assert encoding.decode(data, schema, names).to_pylist() == table.select(names).to_pylist()
    assert encoding.decode(data, schema, []).num_rows == 1
    other = schemas.from_arrow(pa.schema([("z", pa.int64())]))
    with pytest.raises(Integrity):
        encoding.decode(data, other)


def test_a_slice_does_not_carry_its_parents_dictionary():
    """Neither in the file nor in memory afterwards."""
    texts = pa.array([f"a long text number {n}" for n in range(50_000)])
    table, schema = stored(x=texts.dictionary_encode())
    whole, part = encoding.encode(table, schema), encoding.encode(table.slice(100, 1000), schema)
    assert len(part) < len(whole) / 20
    found = encoding.decode(part, schema)
    assert len(found.column("x").chunk(0).dictionary) == 1000
    assert found.column("x").to_pylist() == texts[100:1100].to_pylist()


def test_chunks_with_different_dictionaries_are_one_column():
    """In one row group; nulls within a dictionary are nulls."""
    chunks = [pa.array(["a", "b"]).dictionary_encode(), pa.array(["c", None, "a"]).dictionary_encode()]
    table = pa.table({"x": pa.chunked_array(chunks)})
    schema = schemas.from_arrow(table.schema)
    assert encoding.decode(encoding.encode(table, schema), schema).column("x").to_pylist() == ["a", "b", "c", None, "a"]
    odd = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0], pa.int32()), pa.array(["a", None]))
    table = pa.table({"x": pa.chunked_array([odd, odd])})
    assert encoding.decode(encoding.encode(table, schema), schema).column("x").to_pylist() == ["a", None, "a"] * 2


@pytest.mark.parametrize("length", [5, 3000], ids=["short", "beyond a dictionary page"])
def test_text_that_comes_as_dictionaries_is_plain_text_for_every_reader(length, tmp_path):
    """The stored type, not the one in memory, is what the file says; field ids are kept."""
    texts = pa.array([f"{n % 800:03d}".ljust(length, "x") for n in range(8000)], pa.large_string())
    table, schema = stored(n=np.arange(8000), x=texts)
    coded = pa.chunked_array([texts.slice(start, 1000).dictionary_encode() for start in range(0, 8000, 1000)])
    path = tmp_path / "x.parquet"
    path.write_bytes(encoding.encode(table.set_column(1, table.schema.field(1).with_type(coded.type), coded), schema))
    assert pq.read_table(path).equals(table)
    assert pq.read_schema(path).equals(schemas.to_arrow(schema), check_metadata=True)
    assert encoding.decode(path.read_bytes(), schema).equals(table)
    assert duckdb.sql(f"SELECT * FROM '{path}'").fetchall() == list(zip(*table.to_pydict().values(), strict=True))


def test_large_segments_have_row_groups_that_suit_duckdb():
    """At least 122,880 rows each, and equal ones."""
    table, schema = stored(x=np.zeros(1_200_000, "i1"))
    metadata = pq.ParquetFile(io.BytesIO(encoding.encode(table, schema))).metadata
    assert [metadata.row_group(n).num_rows for n in range(metadata.num_row_groups)] == [600_000, 600_000]


@pytest.mark.parametrize("row_count", [1, 1000, 70_000])
def test_columns_are_decoded_a_few_at_a_time(monkeypatch, row_count):
    """So many that their numbers take as much as is decoded at once; side by side they are the rows, in any order."""
    monkeypatch.setattr(encoding, "PART_BYTES", 16_000)
    columns = {f"c{n}": np.arange(row_count) + n for n in range(23)}
    text = pa.array([f"text {n % 9}" for n in range(row_count)], pa.large_string())
    table, schema = stored(a=text, **columns, z=pa.array([None, True] * row_count)[:row_count])
    data = encoding.encode(table, schema)
    for names in (None, ["c9", "z", "a", "c1"]):
        wanted = table if names is None else table.select(names)
        found = list(encoding.decode_parts(data, schema, names, ["a"]))
        most = max(1, 2000 // row_count)
        assert [part.num_columns for part in found][:-1] == [min(most, wanted.num_columns)] * (len(found) - 1)
        assert len(found) == -(-wanted.num_columns // most)
        assert {part.num_rows for part in found} == {row_count}
        joined = encoding.side_by_side(found)
        assert joined.cast(wanted.schema).equals(wanted)
        assert encoding.decode(data, schema, names).equals(wanted)
        assert encoding.decode(data, schema, names).schema.equals(wanted.schema, check_metadata=True)
    nested, schema = stored(n=[[1]] * row_count, **columns)
    assert len(list(encoding.decode_parts(encoding.encode(nested, schema), schema))) == 1
    assert [part.shape for part in encoding.decode_parts(data, schema, [])] == [(row_count, 0)]


def test_no_rows_are_a_segment_too():
    """With the exact schema."""
    table, schema = stored(x=pa.array([], pa.timestamp("s")))
    assert encoding.decode(encoding.encode(table, schema), schema).equals(table)


def test_the_size_of_a_set_is_estimated_from_a_sample():
    """Even draws, several sizes, within a fifth."""
    for size in (500, 5000, 50_000):
        draws = RANDOM.integers(0, size, 8192)
        share = len(np.unique(draws)) / len(draws)
        assert abs(encoding._distinct_estimate(share, len(draws)) / size - 1) < 0.2


@pytest.mark.parametrize(
    ("values_of", "used", "codec"),
    [
        (RANDOM.normal(size=(120, 600)), "BYTE_STREAM_SPLIT", "LZ4"),
        (np.round(RANDOM.normal(size=(120, 600)), 1), "BYTE_STREAM_SPLIT", "LZ4"),
        (np.round(RANDOM.normal(size=(120, 600)), 2), "PLAIN", "LZ4"),
        (RANDOM.integers(0, 500, (120, 600)).astype("int32"), "PLAIN", "ZSTD"),
        (RANDOM.integers(-(2**63), 2**63 - 1, (120, 600)), "PLAIN", "LZ4"),
        (RANDOM.integers(0, 9, (120, 600)), "PLAIN", "ZSTD"),
        (np.full((120, 600), np.nan), "PLAIN", "ZSTD"),
        (RANDOM.normal(size=(120, 0)), "PLAIN", "ZSTD"),
    ],
)
def test_many_short_columns_are_written_as_suits_a_few_of_them(values_of, used, codec):
    """Others beside them as their own type wants; and only the first columns have bounds in the file."""
    columns = {f"c{n}": pa.array(row, from_pandas=True) for n, row in enumerate(values_of)}
    table, schema = stored(t=np.arange(values_of.shape[1]).astype("M8[ns]"), **columns)
    data = encoding.encode(table, schema)
    assert encoding.decode(data, schema).equals(table)
    group = pq.ParquetFile(io.BytesIO(data)).metadata.row_group(0)
    found = [group.column(position) for position in range(1, 121)]
    assert {(used in one.encodings or not one.num_values, one.compression) for one in found} == {(True, codec)}
    if np.isfinite(values_of).any():
        bounded = [one.is_stats_set for one in found]
        assert bounded == [True] * (encoding.BOUNDED_COLUMNS - 1) + [False] * (121 - encoding.BOUNDED_COLUMNS)


def test_columns_of_other_types_beside_many_alike():
    """Each has an encoding and a codec of its own, in the order of the columns."""
    numbers = {f"c{n}": row for n, row in enumerate(RANDOM.normal(size=(150, 2000)))}
    table, schema = stored(a=["x", "y"] * 1000, **numbers, z=[True, False] * 1000)
    choices = encoding.choose(table, schema)
    assert list(choices) == table.column_names
    assert [choices[name] for name in ("a", "c7", "z")] == [
        ("DICTIONARY", None),
        ("BYTE_STREAM_SPLIT", "lz4"),
        (None, None),
    ]
    assert encoding.decode(encoding.encode(table, schema), schema).equals(table)


def test_a_few_of_many_columns_are_read_by_their_places(monkeypatch):
    """By their names where a file has them in another order. Long footers are parsed once, each for its own file."""
    monkeypatch.setattr(encoding, "LONG_FOOTER_BYTES_MIN", 1000)
    parts.parsed_metadata.cache_clear()
    table, schema = stored(**{f"c{n}": [n, -n, None] for n in range(120)})
    data = encoding.encode(table, schema)
    other, _ = stored(**{f"c{n}": [n + 1, -n] for n in reversed(range(120))})
    odd = encoding.encode(other.select(table.column_names), schema, {})
    sink = io.BytesIO()
    pq.write_table(other, sink)
    wanted = ["c77", "c3", "c119"]
    for _ in range(3):
        assert encoding.decode(data, schema, wanted).equals(table.select(wanted))
        assert encoding.decode(odd, schema, wanted).equals(other.select(wanted))
        assert encoding.decode(sink.getvalue(), schema, wanted).equals(other.select(wanted))
        assert encoding.decode(data, schema).equals(table)
    assert parts.parsed_metadata.cache_info().misses == 3
    with pytest.raises(Integrity, match="cannot be decoded"):
        encoding.decode(data[:-400] + data[-300:], schema)
    fewer, few = stored(c3=[1], c77=[2])
    with pytest.raises(Integrity, match="cannot be decoded"):
        encoding.decode(encoding.encode(fewer, few), schema, wanted)


@pytest.mark.parametrize("is_mixed", [False, True])
def test_decoded_rows_are_in_the_systems_memory(is_mixed):
    """Arrow's own allocators keep what is let go, per thread, which was a third of the memory of a read."""
    rows, schema = stored(x=np.arange(9000.0), s=[f"text {n}" for n in range(9000)])
    schema = dataclasses.replace(schema, mixed=is_mixed)
    data = encoding.encode(rows, schema)
    system = pa.system_memory_pool()
    before = system.bytes_allocated()
    found = encoding.decode(data, schema)
    assert system.bytes_allocated() - before >= found.nbytes // 2
    assert found.equals(rows)
