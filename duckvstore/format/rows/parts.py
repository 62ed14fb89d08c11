"""Parts of a segment: which bytes hold some of its columns, and whether bytes are what was written.

A document has the length and sha256 of the end of a large segment, Parquet's footer; the footer has a digest of each
block of the bytes before it. So whoever needs a few columns fetches the footer and whole blocks, and believes no byte
that is not verified. See FORMAT.md, "Parts of segments".
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from duckvstore.errors import Integrity
from duckvstore.format.stored.schema import FIELD_ID
from duckvstore.signals import of_handler

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

BLOCK_BYTES = 16_384
DIGEST_BYTES = 8
BLOCKS_KEY = b"duckvstore:blocks"
# Parquet's own end: the length of the footer, and four letters.
_END_BYTES = 8
# A request costs more than these bytes between two ranges.
_GAP_BYTES_MAX = 2 * BLOCK_BYTES
LONG_FOOTERS_MAX = 4  # that are kept parsed
#: of a segment before its footer; smaller ones are fetched whole
SIZE_BYTES_MIN = 256 * 1024


class Range(NamedTuple):
    """Bytes ``start <= n < end`` of a segment: whole blocks, but for the last before the footer."""

    start: int
    end: int

    @property
    def size_bytes(self) -> int:
        """How many they are."""
        return self.end - self.start


def block_digests(data: memoryview) -> bytes:
    """Return what the footer says of the bytes before it, under ``BLOCKS_KEY``."""
    return base64.b64encode(b"".join(_digests(data)))


def is_worth_parts(data_bytes: int) -> bool:
    """Whether a segment with so many bytes before its footer has digests of its blocks."""
    return data_bytes >= SIZE_BYTES_MIN


def footer_of(data: bytes) -> bytes:
    """Return the footer of a whole segment, Parquet's end included."""
    length = int.from_bytes(data[-_END_BYTES:-4], "little")
    return data[-(length + _END_BYTES) :]


def _digests(data: memoryview) -> Iterator[bytes]:
    for start in range(0, len(data), BLOCK_BYTES):
        yield hashlib.sha256(data[start : start + BLOCK_BYTES]).digest()[:DIGEST_BYTES]


@dataclass(frozen=True, slots=True)
class Footer:
    """A verified footer of a segment of ``size_bytes``."""

    data: bytes
    size_bytes: int
    blocks: bytes
    metadata: pq.FileMetaData
    leaves: dict[int, range] | None  # the numbers of Parquet's columns by the field id of the table's column

    @classmethod
    def parse(cls, data: bytes, size_bytes: int) -> Footer:
        """Return the footer in ``data``, verified bytes. Raises Integrity where it is none, or has no digests."""
        try:
            blocks, metadata, leaves = _parsed(data)
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            raise of_handler(error) or Integrity(f"the footer of a segment cannot be read ({error})") from error
        if len(blocks) != DIGEST_BYTES * -(-(size_bytes - len(data)) // BLOCK_BYTES):
            raise Integrity("the footer of a segment has another number of blocks")
        return cls(data, size_bytes, blocks, metadata, leaves)

    @property
    def start(self) -> int:
        """Where it begins in the segment."""
        return self.size_bytes - len(self.data)

    def ranges(self, column_ids: Collection[int]) -> list[Range] | None:
        """Return the bytes that hold the columns with these field ids; None: it cannot be told."""
        if self.leaves is None:
            return None
        leaves = [leaf for column_id in column_ids for leaf in self.leaves.get(column_id, ())]
        found: list[Range] = []
        for at in range(self.metadata.num_row_groups):
            group = self.metadata.row_group(at)
            for leaf in leaves:
                chunk = group.column(leaf)
                first = chunk.dictionary_page_offset if chunk.has_dictionary_page else None
                start = chunk.data_page_offset if first is None else min(first, chunk.data_page_offset)
                end = start + chunk.total_compressed_size
                if not 0 <= start <= end <= self.start:
                    return None
                aligned_end = min(-(-end // BLOCK_BYTES) * BLOCK_BYTES, self.start)
                found.append(Range(start // BLOCK_BYTES * BLOCK_BYTES, aligned_end))
        return _merged(found)

    def holds(self, part: Range, data: bytes) -> bool:
        """Whether ``data`` are the bytes of ``part`` that were written."""
        first = part.start // BLOCK_BYTES * DIGEST_BYTES
        expected = self.blocks[first : first + DIGEST_BYTES * -(-part.size_bytes // BLOCK_BYTES)]
        return len(data) == part.size_bytes and b"".join(_digests(memoryview(data))) == expected


@lru_cache(maxsize=LONG_FOOTERS_MAX)
def parsed_metadata(footer: bytes) -> pq.FileMetaData:
    """Return what a footer says, which takes long to find out where there are thousands of columns."""
    return pq.read_metadata(pa.BufferReader(pa.py_buffer(footer)))


@lru_cache(maxsize=LONG_FOOTERS_MAX)
def _parsed(data: bytes) -> tuple[bytes, pq.FileMetaData, dict[int, range] | None]:
    """Return the digests in a footer, what it says of chunks, and its leaves."""
    metadata = parsed_metadata(data)
    blocks = base64.b64decode((metadata.metadata or {})[BLOCKS_KEY], validate=True)
    file = pq.ParquetFile(pa.BufferReader(pa.py_buffer(data)), metadata=metadata, pre_buffer=False)
    return blocks, metadata, _leaves(file)


def _leaves(file: pq.ParquetFile) -> dict[int, range] | None:
    """Return the numbers of Parquet's columns by the field id of the table's column; None: they cannot be told."""
    found: dict[int, range] = {}
    count = 0
    for field in file.schema_arrow:
        if FIELD_ID not in (field.metadata or {}):
            return None
        width = _leaf_count(field.type)
        found[int(field.metadata[FIELD_ID])] = range(count, count + width)
        count += width
    return found if count == file.metadata.num_columns else None


def _leaf_count(kind: pa.DataType) -> int:
    if isinstance(kind, pa.BaseExtensionType):
        kind = kind.storage_type
    if not kind.num_fields or pa.types.is_dictionary(kind):
        return 1
    return sum(_leaf_count(kind.field(at).type) for at in range(kind.num_fields))


def _merged(ranges: list[Range]) -> list[Range]:
    """Return ``ranges`` in order, those together that are so near that one request is better."""
    merged: list[Range] = []
    for part in sorted(ranges):
        if merged and part.start - merged[-1].end <= _GAP_BYTES_MAX:
            merged[-1] = Range(merged[-1].start, max(part.end, merged[-1].end))
        else:
            merged.append(part)
    return merged
