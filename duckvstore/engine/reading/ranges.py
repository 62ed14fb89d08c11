"""Ranges and counts of rows as callers give them: checked in one place, whichever call they came with.

The results are in order and of the right kind; a range of times is exact to the nanosecond,
and only ``DateRange.ticks`` rounds it, inwards, to the unit of an index.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from duckvstore.errors import InvalidInput
from duckvstore.formatting import shortened

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_TICKS_MAX = 2**63 - 1
_SHOWN_MAX = 200

Ticks: TypeAlias = "tuple[int | None, int | None]"
"""The least and the greatest time of a closed range, in the unit of an index; None is open."""

NO_TICKS: Ticks = (0, -1)
"""The range that no time lies in."""


@dataclass(frozen=True, slots=True)
class DateRange:
    """A closed range of times, in nanoseconds from 1970 (None: open); without a zone they are UTC.

    ``zoned``: a bound that has a zone, if any does.
    """

    low: int | None
    high: int | None
    zoned: pd.Timestamp | None = None

    def ticks(self, index_type: pa.DataType, column: str) -> Ticks:
        """Return the range in the unit of the index ``column``, which is of timestamps.

        Raises InvalidInput for a bound with a zone where the index has none.
        """
        if self.zoned is not None and index_type.tz is None:
            raise InvalidInput(
                f"date_range bound {self.zoned!r} has a time zone and index {column!r} has none: write the bound as "
                f"the index has its times, such as {str(self.zoned.tz_localize(None))!r}"
            )
        factor = NANOSECONDS[index_type.unit]
        low = None if self.low is None else -(-self.low // factor)
        high = None if self.high is None else self.high // factor
        if (low is not None and low > _TICKS_MAX) or (high is not None and high < -_TICKS_MAX):
            return NO_TICKS
        low = None if low is None or low <= -_TICKS_MAX else low
        high = None if high is None or high >= _TICKS_MAX else high
        is_between_ticks = low is not None and high is not None and low > high
        return NO_TICKS if is_between_ticks else (low, high)


def date_range(given: Any) -> DateRange:
    """Return a ``date_range`` as it is given: (start, end), both included, None is open; or a DatetimeIndex.

    A bound is a datetime, a date (its midnight), a pandas or numpy time, or ISO text. Raises InvalidInput for what is
    no range, and for one that ends before it starts.
    """
    times = [_time(bound) for bound in _bounds(given)]
    low, high = map(_nanoseconds, times)
    if low is not None and high is not None and low > high:
        raise InvalidInput(f"date_range={_shown(given)} ends before it starts: swap the bounds")
    zoned = next((time for time in times if time is not None and time.tzinfo is not None), None)
    return DateRange(low, high, zoned)


def date_range_if(given: Any) -> DateRange | None:
    """Return what ``date_range`` does, and None for None."""
    return None if given is None else date_range(given)


def row_bounds(row_range: Any, row_count: int) -> tuple[int, int]:
    """Return (start, stop) of a ``row_range`` among ``row_count`` rows, as a slice takes it; start <= stop."""
    try:
        # Unordered, or in an order that was not meant: range(1, 3) are rows 1 and 2, but as a pair it would be row 1.
        if isinstance(row_range, (str, dict, set, frozenset, range)):
            raise TypeError  # noqa: TRY301
        first, last = row_range
        if isinstance(first, bool) or isinstance(last, bool):
            raise TypeError  # noqa: TRY301
        start, stop, _ = slice(first, last).indices(row_count)
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"row_range={_shown(row_range)} is no pair of row numbers: give (start, stop), stop excluded, None for open"
        ) from error
    return start, max(start, stop)


def count(n: Any) -> int:
    """Return the ``n`` of ``head`` and ``tail``, a whole number of any type. Raises InvalidInput for anything else."""
    try:
        if isinstance(n, bool):
            raise TypeError  # noqa: TRY301 - True is no number of rows
        return operator.index(n)
    except TypeError as error:
        raise InvalidInput(f"n={_shown(n)} is no number of rows: give a whole number") from error


def _bounds(given: Any) -> tuple[Any, Any]:
    if type(given).__name__ == "DatetimeIndex":
        if not len(given):
            raise InvalidInput("date_range is a DatetimeIndex without times: give (start, end), None for an open end")
        return given[0], given[-1]
    try:
        if isinstance(given, (str, dict, set, frozenset)):
            raise TypeError  # noqa: TRY301 - what has no order, or one that nobody meant
        first, last = given
    except (TypeError, ValueError) as error:
        raise InvalidInput(
            f"date_range={_shown(given)} is no pair (start, end): use None for an open end, or give a DatetimeIndex"
        ) from error
    return first, last


def _time(bound: object) -> pd.Timestamp | None:
    import pandas as pd

    if bound is None:
        return None
    if not isinstance(bound, (str, datetime, date)) and type(bound).__name__ != "datetime64":
        raise InvalidInput(f"date_range bound {_shown(bound)} is no date or time: give a datetime, a date or ISO text")
    try:
        time = pd.Timestamp(bound)  # type: ignore[arg-type]
    except (ValueError, OverflowError) as error:
        raise InvalidInput(f"date_range bound {_shown(bound)} is no date or time: {error}") from error
    if pd.isna(time):
        raise InvalidInput(f"date_range bound {_shown(bound)} is no time: use None for an open end")
    return time


def _nanoseconds(time: pd.Timestamp | None) -> int | None:
    """Return a time from 1970 in UTC, which is what numpy's form of it is."""
    return None if time is None else int(time.asm8.view("i8")) * NANOSECONDS[time.unit]


def _shown(given: object) -> str:
    return shortened(repr(given), _SHOWN_MAX)
