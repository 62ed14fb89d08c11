"""Files of large snapshots: what a snapshot holds, sorted by symbol, in Parquet objects that its document names.

Each is small, so that one symbol is read with one of them. They are put before the document is created and belong to
it alone; when one may be removed is argued in FORMAT.md, "Snapshots".
"""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct

from duckvstore.errors import Integrity
from duckvstore.format.stored import envelope, generations, layout
from duckvstore.format.stored.envelope import Count
from duckvstore.signals import of_handler

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FEATURE = "snapshot_files"
INLINE_BYTES_MAX = 2**18  # of a document without files: takes about as long to fetch as one more request
FILE_ROWS_MAX = 8192
ROWS = pa.schema([("symbol", pa.string()), ("version", pa.int64())])


class SnapshotFile(Struct, frozen=True):
    """A Parquet object of ``bytes`` with ``rows`` symbols, from ``first`` on, and the version of each."""

    key: str
    rows: Count
    bytes: Count
    sha256: str
    first: str

    def __post_init__(self) -> None:
        """Raise ValueError for a key that is not one of a file of a snapshot."""
        if not layout.is_snapshot_file(self.key):
            raise ValueError(f"{envelope.shown(self.key)} is no key of a file of a snapshot")


def encoded(versions: Mapping[str, int]) -> Iterator[tuple[str, int, bytes]]:
    """Yield the first symbol, the count of rows and the bytes of each file of ``versions``."""
    symbols = sorted(versions)
    for start in range(0, len(symbols), FILE_ROWS_MAX):
        part = symbols[start : start + FILE_ROWS_MAX]
        table = pa.table([part, [versions[symbol] for symbol in part]], schema=ROWS)
        yield part[0], len(part), generations.encode(table)


def decode(data: bytes, file: SnapshotFile) -> dict[str, int]:
    """Return what the bytes of ``file`` hold. Raises Integrity when they are not what was written."""
    if len(data) != file.bytes or hashlib.sha256(data).hexdigest() != file.sha256:
        raise _damaged(file, "its bytes are not those that the snapshot names")
    try:
        table = pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)  # several files are read at once
        is_whole = table.num_rows == file.rows and table.schema.equals(ROWS)
        versions: dict[str, int] = dict(zip(*(column.to_pylist() for column in table.columns), strict=True))
        is_whole = is_whole and _is_valid(list(versions), list(versions.values()), file)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise of_handler(error) or _damaged(file, error) from error
    if not is_whole:
        raise _damaged(file, "it has other rows, or no symbols in order and their version numbers")
    return versions


def _is_valid(symbols: list[str], numbers: list[int], file: SnapshotFile) -> bool:
    return (
        len(symbols) == file.rows
        and symbols[:1] == [file.first]
        and all(one < other for one, other in pairwise(symbols))
        and all(map(layout.is_name, symbols))
        and all(0 <= number <= layout.VERSION_NUMBER_MAX for number in numbers)
    )


def _damaged(file: SnapshotFile, why: object) -> Integrity:
    return Integrity(
        f"the file {file.key} of a snapshot is damaged ({why}): restore it from a backup, or delete the snapshot"
    )
