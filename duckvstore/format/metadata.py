"""User metadata: any nesting of dicts, lists and scalars, as JSON with tagged types for what JSON lacks.

Invariant: ``from_json(to_json(x)) == x`` with the same types, or ``to_json`` raises InvalidInput naming the
place. A tag is an object whose first key is ``$<type>``; a dict with any key that starts with ``$`` is itself
tagged ``$dict``.
"""

from __future__ import annotations

import base64
import math
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from duckvstore.errors import InvalidInput


def to_json(value: Any, *, where: str = "metadata") -> Any:
    """Return ``value`` as plain JSON. Raises InvalidInput for what could not come back equal."""
    if value is None or type(value) in (bool, int):
        return value
    if type(value) is str:
        try:
            value.encode("utf-8")
        except UnicodeEncodeError as error:
            raise InvalidInput(f"{where} is not valid Unicode text: {value!r}") from error
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"$float": repr(value)}
    if type(value) is list:
        return [to_json(item, where=f"{where}[{position}]") for position, item in enumerate(value)]
    if type(value) is tuple:
        return {"$tuple": [to_json(item, where=f"{where}[{position}]") for position, item in enumerate(value)]}
    if type(value) is dict:
        return _dict_to_json(value, where)
    return _scalar_to_json(value, where)


def _dict_to_json(value: dict[Any, Any], where: str) -> Any:
    for key in value:
        if type(key) is not str:
            raise InvalidInput(
                f"{where} has the key {key!r} of type {type(key).__name__}; keys must be text: convert it with str()"
            )
    items = {to_json(key): to_json(item, where=f"{where}[{key!r}]") for key, item in value.items()}
    return {"$dict": items} if any(key.startswith("$") for key in items) else items


def _scalar_to_json(value: Any, where: str) -> Any:  # noqa: C901 - one guard per type, in a row
    if type(value) is datetime:
        body: dict[str, Any] = {"$datetime": value.replace(tzinfo=None).isoformat()}
        if value.tzinfo is not None:
            body["zone"] = _zone_to_json(value, where)
        if value.fold:
            body["fold"] = 1
        return body
    if type(value) is date:
        return {"$date": value.isoformat()}
    if type(value) is time and value.tzinfo is None and not value.fold:
        return {"$time": value.isoformat()}
    if type(value) is timedelta:
        return {"$timedelta": [value.days, value.seconds, value.microseconds]}
    if type(value) is Decimal:
        return {"$decimal": str(value)}
    if type(value) is bytes:
        return {"$bytes": base64.b64encode(value).decode("ascii")}
    if type(value).__module__ == "numpy" and hasattr(value, "dtype") and getattr(value, "ndim", None) == 0:
        raise InvalidInput(f"{where} is a numpy {value.dtype}; convert it with .item()")
    if type(value).__name__ == "Timestamp":
        raise InvalidInput(f"{where} is a pandas Timestamp; convert it with .to_pydatetime()")
    raise InvalidInput(
        f"{where} is a {type(value).__name__}, which metadata cannot hold: use dicts with text keys, lists, tuples, "
        "text, numbers, booleans, None, dates, times, timedeltas, Decimals or bytes"
    )


def _zone_to_json(value: datetime, where: str) -> Any:
    zone = value.tzinfo
    if isinstance(zone, ZoneInfo) and zone.key:
        return zone.key
    if isinstance(zone, timezone) and zone == timezone(zone.utcoffset(None)):
        offset = zone.utcoffset(None)
        return [offset.days, offset.seconds, offset.microseconds]
    raise InvalidInput(
        f"{where} has the time zone {zone!r}; use datetime.timezone or zoneinfo.ZoneInfo, which come back equal"
    )


def from_json(value: Any) -> Any:
    """Return what ``to_json`` was given. Raises ValueError or KeyError for JSON it never writes."""
    if isinstance(value, list):
        return [from_json(item) for item in value]
    if not isinstance(value, dict):
        return value
    tag = next(iter(value), "")
    if not tag.startswith("$"):
        return {key: from_json(item) for key, item in value.items()}
    return _TAGS[tag](value[tag], value) if tag in _TAGS else _unknown(tag)


def _unknown(tag: str) -> Any:
    raise ValueError(f"unknown tag {tag!r} in metadata")


def _datetime_from_json(text: str, body: dict[str, Any]) -> datetime:
    naive = datetime.fromisoformat(text).replace(fold=body.get("fold", 0))
    zone = body.get("zone")
    if zone is None:
        return naive
    if isinstance(zone, str):
        return naive.replace(tzinfo=ZoneInfo(zone))
    return naive.replace(tzinfo=timezone(timedelta(*zone)))


_TAGS: dict[str, Any] = {
    "$float": lambda text, _: float(text),
    "$tuple": lambda items, _: tuple(from_json(item) for item in items),
    "$dict": lambda items, _: {key: from_json(item) for key, item in items.items()},
    "$datetime": _datetime_from_json,
    "$date": lambda text, _: date.fromisoformat(text),
    "$time": lambda text, _: time.fromisoformat(text),
    "$timedelta": lambda parts, _: timedelta(*parts),
    "$decimal": lambda text, _: Decimal(text),
    "$bytes": lambda text, _: base64.b64decode(text, validate=True),
}
