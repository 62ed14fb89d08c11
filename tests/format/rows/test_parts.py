"""Parts of segments: what is fetched for some columns is enough to read them, and no wrong byte is believed."""

from __future__ import annotations

import hashlib
import random
from dataclasses import replace
from datetime import UTC, datetime

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duckvstore.errors import Integrity
from duckvstore.format.rows import encoding, parts
from duckvstore.format.stored import schema
from tests.distant import small_parts
from tests.sizes import sized

ROWS = 4000


def table(rows: int = ROWS) -> pa.Table:
    dice = np.random.default_rng(5)
    nested = pa.struct([("p", pa.int64()), ("q", pa.list_(pa.string()))])
    return pa.table(
        {
            "a": dice.normal(size=rows),
            "dotted.name": pa.array(dice.integers(0, 5, rows)),
            "text": pa.array([f"word{number % 17}" if number % 5 else None for number in range(rows)]),
            "lists": pa.array([[number] * (number % 3) for number in range(rows)], pa.list_(pa.int32())),
            "nested": pa.array([{"p": number, "q": ["x", str(number)]} for number in range(rows)], nested),
            "map": pa.array([[("k", number)] for number in range(rows)], pa.map_(pa.string(), pa.int64())),
            "kind": pa.array(["u", "v"] * (rows // 2)).dictionary_encode(),
            "at": pa.array([datetime(2026, 1, 1, tzinfo=UTC)] * rows, pa.timestamp("us", "UTC")),
            "flag": pa.array(dice.random(rows) > 0.5),
        }
    )


def sparse(data: bytes, footer: parts.Footer, ranges: list[parts.Range]) -> bytes:
    held = bytearray(len(data))
    for start, end in [*ranges, (footer.start, len(data))]:
        held[start:end] = data[start:end]
    return bytes(held)


def encoded(rows: pa.Table) -> tuple[bytes, schema.Schema, parts.Footer]:
    stored = schema.from_arrow(rows.schema)
    data = encoding.encode(rows.cast(schema.to_arrow(stored)), stored)
    return data, stored, parts.Footer.parse(parts.footer_of(data), len(data))


@pytest.fixture(scope="module", params=[ROWS, 2], ids=["rows", "few rows"])
def segment(request):
    """A segment, its schema and footer; its blocks are small, so tests use it ``with small_parts()``."""
    with small_parts():
        return encoded(table(request.param))


@given(st.sets(st.sampled_from(table(2).column_names)))
def test_the_ranges_of_columns_are_enough_to_read_them(segment, names):
    """A file with nothing but the ranges and the footer gives the same columns, to Arrow and to DuckDB."""
    with small_parts():
        data, stored, footer = segment
        ids = {column.id for column in stored.columns if column.name in names}
        ranges = footer.ranges(ids)
        assert ranges is not None
        wanted = [column.name for column in stored.columns if column.name in names]
        held = sparse(data, footer, ranges)
        assert encoding.decode(held, stored, wanted).equals(encoding.decode(data, stored, wanted))
        assert encoding.decode(held, stored, wanted, ["text"]).equals(encoding.decode(data, stored, wanted, ["text"]))


@pytest.mark.parametrize("name", table(2).column_names)
def test_duckdb_reads_a_file_with_holes(segment, tmp_path, name):
    """DuckDB gives the same values of a column whose bytes are there, and an error for one whose are not."""
    with small_parts():
        data, stored, footer = segment
        ids = {column.name: column.id for column in stored.columns}
        ranges = footer.ranges({ids[name]})
        whole, held = tmp_path / "whole.parquet", tmp_path / "held.parquet"
        whole.write_bytes(data)
        held.write_bytes(sparse(data, footer, ranges))
        found, expected = (duckdb.sql(f"SELECT \"{name}\" FROM '{path}'").fetchall() for path in (held, whole))
        assert found == expected
        for other in set(ids) - {name}:
            missing = footer.ranges({ids[other]})
            if not any(part.start < there.end and there.start < part.end for part in missing for there in ranges):
                with pytest.raises(duckdb.Error):
                    duckdb.sql(f"SELECT \"{other}\" FROM '{held}'").fetchall()


def test_ranges_are_as_few_as_the_columns_need(segment):
    """One column of many takes its own bytes, up to a block at either end, and all columns take all blocks."""
    with small_parts():
        _, stored, footer = segment
        for column in stored.columns:
            chunk_bytes = sum(
                footer.metadata.row_group(0).column(at).total_compressed_size for at in footer.leaves[column.id]
            )
            taken = sum(part.size_bytes for part in footer.ranges({column.id}))
            assert chunk_bytes <= taken <= chunk_bytes + 2 * 64 * len(footer.leaves[column.id])
        every = footer.ranges({column.id for column in stored.columns})
        assert (every[0].start, every[-1].end) == (0, footer.start)
        assert footer.ranges(set()) == []


@settings(max_examples=sized(500, full=500))
@given(st.integers(0, 2**31))
def test_no_changed_byte_is_believed(segment, seed):
    """A byte of a part that is another one is noticed, wherever it is; so is a part that is too short or too long."""
    with small_parts():
        data, stored, footer = segment
        dice = random.Random(seed)
        part = dice.choice(footer.ranges({dice.choice(stored.columns).id}))
        right = data[part.start : part.end]
        assert footer.holds(part, right)
        at = dice.randrange(len(right))
        wrong = bytearray(right)
        wrong[at] ^= dice.randrange(1, 256)
        assert not footer.holds(part, bytes(wrong))
        assert not footer.holds(part, right[:-1])
        assert not footer.holds(part, right + b"\0")


def test_a_footer_that_says_something_else_is_damage():
    """A footer without digests, with too few of them, or that is none at all is Integrity; chunks elsewhere: None."""
    rows = table(100)
    with pytest.raises(Integrity, match="cannot be read"):
        encoded(rows)  # too small a segment to have digests
    with small_parts():
        data, stored, footer = encoded(rows)
        with pytest.raises(Integrity, match="blocks"):
            parts.Footer.parse(parts.footer_of(data), len(data) + 1000)
        with pytest.raises(Integrity, match="cannot be read"):
            parts.Footer.parse(b"PAR1" * 10, len(data))
    ids = {column.id for column in stored.columns}
    assert replace(footer, size_bytes=len(footer.data) + 10).ranges(ids) is None


def test_large_segments_have_digests_and_small_ones_have_not():
    """The digests are of the bytes before the footer, block by block, as FORMAT.md says."""
    stored = schema.from_arrow(pa.schema([("a", pa.float64())]))
    rows = pa.table({"a": np.random.default_rng(1).normal(size=50_000)}).cast(schema.to_arrow(stored))
    data = encoding.encode(rows, stored)
    assert len(data) > parts.SIZE_BYTES_MIN
    footer = parts.Footer.parse(parts.footer_of(data), len(data))
    blocks = [data[at : min(at + 16_384, footer.start)] for at in range(0, footer.start, 16_384)]
    assert footer.blocks == b"".join(hashlib.sha256(block).digest()[:8] for block in blocks)
    small = encoding.encode(rows.slice(0, 100), stored)
    assert b"duckvstore:blocks" not in small
