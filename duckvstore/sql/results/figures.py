"""What a statement read, and the one line that says so.

Figures describe what was planned and pulled so far; nothing here runs anything.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from duckvstore import telemetry
from duckvstore.errors import printable
from duckvstore.formatting import counted, part_of_size, size

if TYPE_CHECKING:
    from datetime import datetime

    from duckvstore.sql.results.result import Rows

EXPLAIN_COLUMNS = 2
TABLES_SHOWN_MAX = 3


class ScannedTable(NamedTuple):
    """A version that a statement refers to."""

    library: str
    symbol: str
    version: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Scanned:
    """What one reference of a statement scans: so many of the segments and stored bytes of its version.

    ``fetched_bytes``: what was fetched for copies of them on this machine, 0 where all of it was there; None where
    DuckDB scans them in their place.
    """

    table: ScannedTable
    segments_read: int
    segments_total: int
    bytes_read: int
    bytes_total: int
    fetched_bytes: int | None = None

    def origin(self) -> str:
        """Return how copies came here, to be put behind what is scanned; nothing where there are none."""
        if self.fetched_bytes is None:
            return ""
        return (
            f", {size(self.fetched_bytes)} of them fetched" if self.fetched_bytes else ", from copies on this machine"
        )


@dataclass(slots=True)
class Figures:
    """How much of the referred versions a statement had to look at.

    ``segments_read`` of ``segments_total`` segments were left after pruning, ``bytes_read`` of ``bytes_total``
    stored bytes are theirs (DuckDB reads only the columns it needs of them). ``row_count`` is that of the result,
    None until its end was reached. ``seconds`` were spent on planning, running and pulling rows. ``made``: the
    versions that the statement made. ``in_transaction``: whether it left a transaction open, so that others do not see
    yet what it changed.
    """

    segments_read: int = 0
    segments_total: int = 0
    bytes_read: int = 0
    bytes_total: int = 0
    row_count: int | None = None
    seconds: float = 0.0
    tables: list[ScannedTable] = field(default_factory=list)
    made: list[ScannedTable] = field(default_factory=list)
    #: how many rows were changed by a statement that does not give them back, and what became of them
    changed: int | None = None
    verb: str = "changed"
    #: what else the statement did, such as ``created snapshot 'eod'``
    done: str | None = None
    in_transaction: bool = False
    #: whether it was logged as a slow one
    is_told: bool = False
    #: the same by reference, in their order in the statement
    scans: list[Scanned] = field(default_factory=list)

    def add(self, scanned: Scanned) -> None:
        """Count what one reference scans."""
        self.scans.append(scanned)
        self.segments_read += scanned.segments_read
        self.segments_total += scanned.segments_total
        self.bytes_read += scanned.bytes_read
        self.bytes_total += scanned.bytes_total
        if scanned.table not in self.tables:
            self.tables.append(scanned.table)

    def forget_tables(self) -> None:
        """Take back what was counted: the statement is planned again."""
        self.tables.clear()
        self.scans.clear()
        self.segments_read = self.segments_total = self.bytes_read = self.bytes_total = 0

    def go_on(self, before: Figures) -> None:
        """Count what the statements before this one, of the same text, made and took."""
        self.seconds += before.seconds
        self.made[:0] = [made for made in before.made if made not in self.made]

    def added_to(self, rows: Rows, kind: str) -> Rows:
        """Return ``rows``; after those of EXPLAIN, one that says which segments each reference reads."""
        if kind != "explain" or not self.scans or len(rows.columns) != EXPLAIN_COLUMNS:
            return rows
        return rows.followed_by(["segments", self.by_reference()])

    def by_reference(self) -> str:
        """Return a line such as ``trades v3 (2026-11-20): 3 of 40 segments, 12 of 310 MB`` for each reference."""
        lines = (
            f"{scan.table.symbol} v{scan.table.version} ({scan.table.created_at:%Y-%m-%d}): {scan.segments_read:,} of "
            f"{scan.segments_total:,} segments, {part_of_size(scan.bytes_read, scan.bytes_total)}{scan.origin()}"
            for scan in self.scans
        )
        return "\n".join(printable(line, is_line=True) for line in lines)

    @property
    def fetched_bytes(self) -> int:
        """Bytes that were fetched before DuckDB ran, into copies on this machine."""
        return sum(scan.fetched_bytes or 0 for scan in self.scans)

    def ended(self) -> None:
        """Log the statement if it was slow; its text may hold data or secrets, and is left out."""
        if self.seconds < telemetry.slow_seconds() or self.is_told:
            return
        self.is_told = True
        versions = [f"{table.library}/{table.symbol} v{table.version}" for table in [*self.tables, *self.made]]
        telemetry.tell(
            logging.WARNING,
            "slow_statement",
            f"a statement took {self.footer()}",
            seconds=self.seconds,
            row_count=self.row_count if self.changed is None else self.changed,
            segments_read=self.segments_read,
            bytes_read=self.bytes_read,
            fetched_bytes=self.fetched_bytes,
            versions=versions,
        )

    def footer(self) -> str:
        """Return ``3 of 40 segments · 12 of 310 MB · trades v3 (2026-11-20) · 1,204 rows · 84 ms``."""
        parts = [f"made {made.symbol} v{made.version}" for made in self.made[:TABLES_SHOWN_MAX]]
        if self.tables:
            parts.append(f"{self.segments_read:,} of {self.segments_total:,} segments")
            parts.append(part_of_size(self.bytes_read, self.bytes_total))
            if self.fetched_bytes:
                parts.append(f"{size(self.fetched_bytes)} fetched")
            parts.append(self._tables())
        if self.done is not None:
            parts.append(self.done)
        if self.changed is not None:
            parts.append(f"{counted(self.changed, 'row')} {self.verb}")
        elif self.row_count is not None:
            parts.append(counted(self.row_count, "row"))
        parts.append(_duration(self.seconds))
        if self.in_transaction:
            parts.append("transaction open")
        return printable(" · ".join(parts), is_line=True)

    def _tables(self) -> str:
        shown = [f"{t.symbol} v{t.version} ({t.created_at:%Y-%m-%d})" for t in self.tables[:TABLES_SHOWN_MAX]]
        more = len(self.tables) - TABLES_SHOWN_MAX
        return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _duration(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds:,.0f} s"
