"""Reading rows of a version without SQL: by columns, by rows, by dates.

Invariant: segments are left out only when their row numbers or the exact bounds of their index prove that
they hold no wanted row.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from duckvstore.engine import segments
from duckvstore.errors import InvalidInput
from duckvstore.format import schema, statistics

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import pyarrow as pa

    from duckvstore.engine.library import OpenLibrary
    from duckvstore.format.documents import Version

_NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a version: ``table`` in the stored schema, and each row's number within the version.

    ``positions`` is a range when the rows are consecutive, else an int64 array.
    """

    table: pa.Table
    positions: range | Any


def read_all(
    library: OpenLibrary, version: Version, columns: Sequence[str] | None, dictionaries: Collection[str] = ()
) -> Rows:
    """Read every row of ``columns`` (stored names; None: all); ``dictionaries`` as in ``segments.read_table``."""
    table = segments.read_table(library, version, columns=columns, dictionaries=dictionaries)
    return Rows(table, range(version.row_count))


def read_rows(
    library: OpenLibrary, version: Version, columns: Sequence[str] | None, row_range: tuple[int | None, int | None]
) -> Rows:
    """Read rows ``start <= n < stop``; None is open, negative numbers count from the end, as in a slice."""
    start, stop = _row_bounds(row_range, version.row_count)
    chosen: list[int] = []
    first_row = 0
    segment_start = 0
    for position, segment in enumerate(version.segments):
        segment_stop = segment_start + segment.row_count
        if segment_start < stop and segment_stop > start:
            if not chosen:
                first_row = segment_start
            chosen.append(position)
        segment_start = segment_stop
    table = segments.read_table(library, version, columns=columns, segments=chosen)
    return Rows(table.slice(start - first_row if chosen else 0, stop - start), range(start, stop))


def _row_bounds(row_range: tuple[int | None, int | None], row_count: int) -> tuple[int, int]:
    try:
        first, last = row_range
        start, stop, _ = slice(first, last).indices(row_count)
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"row_range={row_range!r} is no pair of row numbers: give (start, stop), stop excluded, None for open"
        ) from error
    return start, max(start, stop)


def read_dates(
    library: OpenLibrary, version: Version, columns: Sequence[str] | None, date_range: tuple[Any, Any]
) -> Rows:
    """Read the rows whose first index level lies within ``date_range``, both ends included, None is open.

    A bound without a zone means UTC where the index has a zone. Raises InvalidInput without a datetime index.
    """
    column, index_type = date_index(library, version)
    low, high = date_bounds_of(date_range, index_type, column)
    if high is not None and low is not None and low > high:
        raise InvalidInput(f"date_range={date_range!r} ends before it starts: swap the bounds")
    wanted = None if columns is None else list(dict.fromkeys([column, *columns]))
    chosen = segments_between(version, column, low, high)
    table = segments.read_table(library, version, columns=wanted, segments=chosen)
    mask = between(table.column(column), low, high)
    row_numbers = positions(version, chosen)
    table = table if columns is None else table.select(list(columns))
    return Rows(table.filter(mask), row_numbers[mask.to_numpy(zero_copy_only=False)])


def between(column: pa.ChunkedArray, low: int | None, high: int | None) -> pa.ChunkedArray:
    """Return for each time whether it lies within [low, high], in its own unit (None: open); a missing one does not."""
    import pyarrow as pa
    import pyarrow.compute as pc

    ticks = pc.cast(column, pa.int64())
    mask = pc.is_valid(ticks)
    if low is not None:
        mask = pc.and_(mask, pc.greater_equal(ticks, low))
    if high is not None:
        mask = pc.and_(mask, pc.less_equal(ticks, high))
    return pc.fill_null(mask, False)


def last_label(version: Version, column: str) -> int | None:
    """Return the greatest value of a temporal column that ascends, in its own unit, from its statistics.

    None: there are no rows, or it is not known. Looks at the last segment only (``format.statistics`` keeps times as
    whole numbers).
    """
    if not version.segments:
        return None
    identity = next(found.id for found in version.schema.columns if found.name == column)
    known = version.segments[-1].statistics.get(identity)
    return None if known is None else known.maximum


def date_bounds(version: Version) -> tuple[datetime, datetime] | None:
    """Return the first and last time of a version's datetime index, from its statistics, or None."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not version.schema.index or not version.segments:
        return None
    identity = next(found.id for found in version.schema.columns if found.name == version.schema.index[0])
    bounds = statistics.typed_table(version, [identity])
    minimum, maximum = bounds.column(f"min_{identity}"), bounds.column(f"max_{identity}")
    if not pa.types.is_timestamp(minimum.type) or minimum.null_count or maximum.null_count:
        return None
    microseconds = pa.timestamp("us", "UTC" if minimum.type.tz else None)
    first, last = (bound.cast(microseconds, safe=False).as_py() for bound in (pc.min(minimum), pc.max(maximum)))
    return first, last


def date_index(library: OpenLibrary, version: Version) -> tuple[str, pa.DataType]:
    """Return (name, type) of the first index level. Raises InvalidInput unless it is of times."""
    import pyarrow as pa

    if version.schema.index:
        name = version.schema.index[0]
        found = schema.to_arrow(version.schema).field(name).type
        if pa.types.is_timestamp(found):
            return name, found
    raise InvalidInput(
        f"date_range needs a datetime index, which version {version.number} of {library.name}/{version.symbol} does "
        "not have: use where= or row_range="
    )


def date_bounds_of(date_range: tuple[Any, Any], index_type: pa.DataType, column: str) -> tuple[int | None, int | None]:
    """Return a date_range in the unit of the index; None is open. Raises InvalidInput for what is no date range."""
    try:
        first, last = date_range
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"date_range={date_range!r} is no pair (start, end): use None for an open end") from error
    factor = _NANOSECONDS[index_type.unit]
    low = None if first is None else -(-_nanoseconds(first, index_type, column) // factor)
    high = None if last is None else _nanoseconds(last, index_type, column) // factor
    return low, high


def _nanoseconds(bound: object, index_type: pa.DataType, column: str) -> int:
    import pandas as pd

    if not isinstance(bound, (str, datetime, date)) and type(bound).__name__ != "datetime64":
        raise InvalidInput(f"date_range bound {bound!r} is no date or time: give a datetime, a date or ISO text")
    try:
        time = pd.Timestamp(bound)  # type: ignore[arg-type]
    except ValueError as error:
        raise InvalidInput(f"date_range bound {bound!r} is no date or time: {error}") from error
    if pd.isna(time):
        raise InvalidInput("date_range bound is NaT: use None for an open end")
    if time.tzinfo is not None:
        if index_type.tz is None:
            raise InvalidInput(
                f"date_range bound {bound!r} has a time zone and index {column!r} has none: give a naive time"
            )
        time = time.tz_convert("UTC").tz_localize(None)
    return int(time.asm8.astype("int64")) * _NANOSECONDS[time.unit]


def segments_between(version: Version, column: str, low: int | None, high: int | None) -> list[int]:
    """Return the positions of the segments that may have times within [low, high], by their statistics."""
    import pyarrow as pa
    import pyarrow.compute as pc

    identity = next(found.id for found in version.schema.columns if found.name == column)
    bounds = statistics.typed_table(version, [identity])
    keep = []
    minimums = pc.cast(bounds.column(f"min_{identity}"), pa.int64()).to_pylist()
    maximums = pc.cast(bounds.column(f"max_{identity}"), pa.int64()).to_pylist()
    for position, (minimum, maximum) in enumerate(zip(minimums, maximums, strict=True)):
        below = low is not None and maximum is not None and maximum < low
        above = high is not None and minimum is not None and minimum > high
        if not below and not above:
            keep.append(position)
    return keep


def positions(version: Version, chosen: Sequence[int]) -> Any:
    """Return the numbers within the version of all rows of the ``chosen`` segments, as an int64 array."""
    import numpy as np

    starts = np.cumsum([0, *(segment.row_count for segment in version.segments)])
    runs = [np.arange(starts[position], starts[position + 1]) for position in chosen]
    return np.concatenate(runs) if runs else np.arange(0)
