"""Reading rows of a version without SQL: by columns, by rows, by dates.

Segments are skipped only when their row numbers or the exact bounds of their index prove that they hold no
wanted row.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from duckvstore.engine.reading import ranges, segments
from duckvstore.errors import InvalidInput
from duckvstore.format.rows import order
from duckvstore.format.stored import schema, statistics
from duckvstore.format.stored.segments import ColumnStatistics

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import pandas as pd
    import pyarrow as pa

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.engine.reading.ranges import DateRange
    from duckvstore.format.stored.documents import Version

_UNKNOWN = ColumnStatistics()


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of a version: ``table`` in the stored schema, and each row's number within the version.

    ``positions`` is a range when the rows are consecutive, else an int64 array. ``arrays``: columns that are not in the
    table but in numpy arrays of their own.
    """

    table: pa.Table
    positions: range | Any
    arrays: Mapping[str, Any] = field(default_factory=dict)


def read_all(
    library: OpenLibrary,
    version: Version,
    columns: Sequence[str] | None,
    dictionaries: Collection[str] = (),
    dtypes: Mapping[str, Any] | None = None,
) -> Rows:
    """Read every row of ``columns`` (stored names; None: all).

    ``dictionaries`` as in ``segments.read_table``; ``dtypes``: of columns that are wanted as numpy arrays.
    """
    found = segments.gather(library, version, dtypes or {}, columns=columns, dictionaries=dictionaries)
    return Rows(found.table, range(version.row_count), found.arrays)


def read_rows(
    library: OpenLibrary, version: Version, columns: Sequence[str] | None, row_range: tuple[int | None, int | None]
) -> Rows:
    """Read rows ``start <= n < stop``; None is open, negative numbers count from the end, as in a slice."""
    start, stop = ranges.row_bounds(row_range, version.row_count)
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


def read_dates(library: OpenLibrary, version: Version, columns: Sequence[str] | None, date_range: DateRange) -> Rows:
    """Read the rows whose first index level lies within ``date_range``. Raises InvalidInput without times there."""
    column, index_type = date_index(library, version)
    low, high = date_range.ticks(index_type, column)
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

    None: there are no rows, or it is not known. Looks at the last segment only (``format.stored.statistics`` keeps
    times as whole numbers).
    """
    if not version.segments:
        return None
    identity = next(found.id for found in version.schema.columns if found.name == column)
    known = version.segments[-1].statistics.get(identity)
    return None if known is None else known.maximum


def date_bounds(version: Version) -> tuple[pd.Timestamp, pd.Timestamp] | None:
    """Return the first and last time of a version's index of times, exactly, from its statistics, or None."""
    bounds = time_bounds(version)
    return None if bounds is None else (time_of(version, bounds[0]), time_of(version, bounds[1]))


def time_of(version: Version, ticks: int) -> pd.Timestamp:
    """Return a time of a version's index, which is of times, from its number in the index's own unit."""
    import numpy as np
    import pandas as pd

    kind = schema.to_arrow(version.schema).field(version.schema.index[0]).type
    naive = pd.Timestamp(np.datetime64(ticks, kind.unit))
    return naive if kind.tz is None else naive.tz_localize("UTC")


def is_sorted(library: OpenLibrary, version: Version) -> bool:
    """Return whether a version's index of times ascends; reads it where the document does not say."""
    if version.is_sorted is not None or not version.row_count:
        return version.is_sorted is not False
    column, _ = date_index(library, version)
    return order.of_times(segments.read_table(library, version, columns=[column]).column(column)).is_sorted


def time_bounds(version: Version) -> tuple[int, int] | None:
    """Return the least and the greatest time of a version's index, in its own unit; None: there is none, or unknown."""
    column = order.time_level(version.schema)
    if column is None or not version.segments:
        return None
    identity = next(found.id for found in version.schema.columns if found.name == column)
    known = [segment.statistics.get(identity, _UNKNOWN) for segment in version.segments]
    lows, highs = [found.minimum for found in known], [found.maximum for found in known]
    return None if None in lows or None in highs else (min(lows), max(highs))


def date_index(library: OpenLibrary, version: Version) -> tuple[str, pa.DataType]:
    """Return (name, type) of the first index level. Raises InvalidInput unless it is of times."""
    name = order.time_level(version.schema)
    if name is not None:
        return name, schema.to_arrow(version.schema).field(name).type
    raise InvalidInput(
        f"date_range needs a datetime index, which version {version.number} of {library.label(version.symbol)} does "
        "not have: use where= or row_range="
    )


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
