"""Values of a column of a result as the Python objects that DuckDB's own ``fetchall`` gives.

No DuckDB takes part, so whatever a result holds, it cannot break what others of the process fetch. The rows
come in the carriers of ``kinds``; times with a zone are in UTC.
"""

from __future__ import annotations

import json
import re
import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from duckvstore.errors import Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from duckvstore.sql.values.kinds import Kind

_TIMESTAMPS = frozenset(
    ("TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE", "TIMESTAMPTZ_NS")
)
_UNHASHABLE = frozenset(("LIST", "ARRAY", "STRUCT", "TUPLE", "MAP", "VARIANT"))
_CLOCK = re.compile(r"(\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:([+-])(\d\d)(?::(\d\d))?(?::(\d\d))?)?")
_DAY = 86_400_000_000
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - times without a zone, which it is added to
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_INFINITE = {2**63 - 1: datetime.max, 1 - 2**63: datetime.min}  # noqa: DTZ901 - as above
_INFINITE_DAYS = {2**31 - 1: date.max, 1 - 2**31: date.min}


def values(column: pa.ChunkedArray, kind: Kind) -> list[Any]:
    """Return the values of ``column``, of the DuckDB type ``kind``. Raises Unsupported for what Python cannot hold."""
    found: list[Any] = []
    for chunk in column.chunks:
        found += _values(pa.concat_arrays([chunk]) if chunk.offset else chunk, kind)
    return found


def _values(array: pa.Array, kind: Kind) -> list[Any]:
    name = kind.name
    if name in _NESTED:
        return _NESTED[name](array, kind)
    if name in _SCALARS:
        convert = _SCALARS[name]
        return [None if value is None else convert(value) for value in array.to_pylist()]
    if name in _TIMESTAMPS and pa.types.is_timestamp(array.type):
        return _timestamps(array)
    if name == "DATE":
        return _each(array.cast(pa.int32()), _date)
    if name == "TIME" and pa.types.is_time64(array.type):
        return _each(array.cast(pa.int64()), _time)
    found: list[Any] = array.to_pylist()
    return found


def _each(array: pa.Array, convert: Callable[[Any], Any]) -> list[Any]:
    return [None if value is None else convert(value) for value in array.to_pylist()]


def _parts(array: pa.Array, values: pa.Array, size: int | None = None) -> tuple[Sequence[int], pa.Array]:
    """Return where the items of each list begin and end among those values that are returned with it."""
    offsets = array.offsets.to_pylist() if size is None else [at * size for at in range(len(array) + 1)]
    first, last = (offsets[0], offsets[-1]) if offsets else (0, 0)
    part = values.slice(first, last - first)
    return [offset - first for offset in offsets], pa.concat_arrays([part]) if part.offset else part


def _lists(array: pa.Array, kind: Kind) -> list[Any]:
    offsets, items = _parts(array, array.values)
    found = _values(items, kind.parts[0])
    valid = array.is_valid().to_pylist()
    return [found[offsets[at] : offsets[at + 1]] if valid[at] else None for at in range(len(array))]


def _arrays(array: pa.Array, kind: Kind) -> list[Any]:
    size = array.type.list_size
    offsets, items = _parts(array, array.values, size)
    found = _values(items, kind.parts[0])
    valid = array.is_valid().to_pylist()
    return [tuple(found[offsets[at] : offsets[at] + size]) if valid[at] else None for at in range(len(array))]


def _maps(array: pa.Array, kind: Kind) -> list[Any]:
    offsets, keys = _parts(array, array.keys)
    _, items = _parts(array, array.items)
    pairs = _values(keys, kind.parts[0]), _values(items, kind.parts[1])
    is_hashable = kind.parts[0].name not in _UNHASHABLE
    found: list[Any] = []
    for at, is_valid in enumerate(array.is_valid().to_pylist()):
        of_keys, of_items = (part[offsets[at] : offsets[at + 1]] for part in pairs)
        if not is_valid:
            found.append(None)
        elif is_hashable:
            found.append(dict(zip(of_keys, of_items, strict=True)))
        else:
            found.append({"key": of_keys, "value": of_items})
    return found


def _members(array: pa.Array, kind: Kind, first: int = 0) -> list[list[Any]]:
    fields = [array.field(first + at) for at in range(len(kind.parts))]
    return [
        _values(pa.concat_arrays([field]) if field.offset else field, part)
        for field, part in zip(fields, kind.parts, strict=True)
    ]


def _structs(array: pa.Array, kind: Kind) -> list[Any]:
    valid = array.is_valid().to_pylist()
    rows = zip(*_members(array, kind), strict=True) if kind.parts else [()] * len(array)
    return [dict(zip(kind.labels, row, strict=True)) if there else None for row, there in zip(rows, valid, strict=True)]


def _tuples(array: pa.Array, kind: Kind) -> list[Any]:
    rows = zip(*_members(array, kind), strict=True)
    return [row if there else None for row, there in zip(rows, array.is_valid().to_pylist(), strict=True)]


def _unions(array: pa.Array, kind: Kind) -> list[Any]:
    tags = array.field(0).to_pylist()
    places = {label: at for at, label in enumerate(kind.labels)}
    members = _members(array, kind, first=1)
    valid = array.is_valid().to_pylist()
    return [members[places[tag]][at] if valid[at] else None for at, tag in enumerate(tags)]


_NESTED: dict[str, Callable[[pa.Array, Kind], list[Any]]] = {
    "LIST": _lists,
    "ARRAY": _arrays,
    "MAP": _maps,
    "STRUCT": _structs,
    "TUPLE": _tuples,
    "UNION": _unions,
}


def _interval(value: dict[str, int]) -> timedelta:
    """Return an interval with 30 days for a month, as DuckDB does."""
    try:
        return timedelta(days=value["months"] * 30 + value["days"], microseconds=value["micros"])
    except OverflowError as error:
        raise Unsupported(
            f"an interval of {value['months']} months, {value['days']} days and {value['micros']} microseconds is "
            "beyond what Python's timedelta holds: cast it to VARCHAR in the query"
        ) from error


def _clock(text: str) -> time | str:
    """Return the time of day in ``text``, with its zone; of 24:00:00, which Python lacks, the text."""
    found = _CLOCK.fullmatch(text)
    if found is None or found[1] == "24":
        return text
    micros = int((found[4] or "").ljust(6, "0")[:6])
    zone = None
    if found[5] is not None:
        seconds = int(found[6]) * 3600 + int(found[7] or 0) * 60 + int(found[8] or 0)
        zone = timezone(timedelta(seconds=-seconds if found[5] == "-" else seconds))
    return time(int(found[1]), int(found[2]), int(found[3]), micros, zone)


_SCALARS: dict[str, Callable[[Any], Any]] = {
    "HUGEINT": int,
    "UHUGEINT": int,
    "UUID": lambda value: value if isinstance(value, uuid.UUID) else uuid.UUID(value),
    "INTERVAL": _interval,
    "TIME WITH TIME ZONE": _clock,
    "TIME_NS": lambda value: _clock(value) if isinstance(value, str) else value,
    "VARIANT": json.loads,
}


def _time(micros: int) -> time | str:
    if micros >= _DAY:
        return "24:00:00"
    return (_EPOCH + timedelta(microseconds=micros)).time()


def _date(days: int) -> date | str:
    ordinal = days + _EPOCH_DAY
    if 1 <= ordinal <= date.max.toordinal():
        return date.fromordinal(ordinal)
    return _INFINITE_DAYS.get(days) or _date_text(days)


def _timestamps(array: pa.Array) -> list[Any]:
    unit, zone = array.type.unit, array.type.tz
    per_unit = {"s": 1_000_000, "ms": 1000, "us": 1}.get(unit)
    shown = UTC if zone is not None else None

    def convert(ticks: int) -> datetime | str:
        infinite = _INFINITE.get(ticks)
        if infinite is not None:
            return infinite.replace(tzinfo=shown)
        micros = ticks * per_unit if per_unit is not None else -(-ticks // 1000) if ticks < 0 else ticks // 1000
        try:
            return (_EPOCH + timedelta(microseconds=micros)).replace(tzinfo=shown)
        except OverflowError:
            days, rest = divmod(micros, _DAY)
            clock = str(_time(rest))
            text = f"{_date_text(days)} {clock.rstrip('0') if '.' in clock else clock}"
            return text if shown is None else f"{text}+00"

    return _each(array.cast(pa.int64()), convert)


def _date_text(days: int) -> str:
    """Return a date beyond the years that Python has, as DuckDB writes it.

    Any 400 years have the same days, so one within Python's range is used.
    """
    cycles, rest = divmod(days + _EPOCH_DAY - 1, 146_097)
    found = date.fromordinal(rest + 1)
    year = found.year + 400 * cycles
    return f"{year:04}-{found:%m-%d}" if year > 0 else f"{1 - year:04}-{found:%m-%d} (BC)"
