"""User metadata: any nesting of dicts, lists and scalars, as JSON with tagged types for what JSON lacks.

``from_json(to_json(x)) == x`` with the same types, or ``to_json`` raises InvalidInput naming the
place. A tag is an object whose first key is ``$<type>``; a dict with any key that starts with ``$`` is itself
tagged ``$dict``, and one with a key that is not text is ``$items``, a list of pairs.
"""

from __future__ import annotations

import base64
import json
import math
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from duckvstore.errors import InvalidInput
from duckvstore.format.stored import zones

if TYPE_CHECKING:
    from collections.abc import Iterable

# Of pandas and numpy, whose values ``labels`` takes; with sets and pairs they came after the first release.
_LIBRARIES = ("pandas", "numpy")
LABEL_TAGS = frozenset(("$NaT", "$NA", "$Timestamp", "$Timedelta", "$Period", "$Interval", "$numpy"))
_LATER_TAGS = LABEL_TAGS | {"$items", "$set", "$frozenset"}
# Each container takes up to three calls to be read, of the thousand that Python has, and two levels of JSON.
DEPTH_MAX = 100
_PLACE_CHARACTERS_MAX = 120


def to_json(value: Any, *, where: str = "metadata", depth: int = 0) -> Any:
    """Return ``value`` as plain JSON. Raises InvalidInput for what could not come back equal, or is too deep.

    ``depth``: in how many containers it is.
    """
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
    if depth >= DEPTH_MAX:
        raise InvalidInput(
            f"{where[:_PLACE_CHARACTERS_MAX]}… is deeper than {DEPTH_MAX} dicts, lists, tuples and sets within one "
            "another, or holds itself: flatten it, or store it as a value"
        )
    if type(value) is list:
        return _items_to_json(value, where, depth)
    if type(value) is tuple:
        return {"$tuple": _items_to_json(value, where, depth)}
    if type(value) is dict:
        return _dict_to_json(value, where, depth)
    return _scalar_to_json(value, where, depth)


def _items_to_json(value: Iterable[Any], where: str, depth: int) -> list[Any]:
    return [to_json(item, where=f"{where}[{position}]", depth=depth + 1) for position, item in enumerate(value)]


def _dict_to_json(value: dict[Any, Any], where: str, depth: int) -> Any:
    inner = {"depth": depth + 1}
    if not all(type(key) is str for key in value):
        pairs = value.items()
        return {
            "$items": [
                [
                    to_json(key, where=f"the key {key!r} of {where}", **inner),
                    to_json(item, where=f"{where}[{key!r}]", **inner),
                ]
                for key, item in pairs
            ]
        }
    items = {
        to_json(key, where=f"the key {key!r} of {where}"): to_json(item, where=f"{where}[{key!r}]", **inner)
        for key, item in value.items()
    }
    return {"$dict": items} if any(key.startswith("$") for key in items) else items


def _scalar_to_json(value: Any, where: str, depth: int) -> Any:  # noqa: C901 - one guard per type, in a row
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
    if type(value) in (set, frozenset):
        found = (to_json(item, where=f"{where}, in which {item!r}", depth=depth + 1) for item in value)
        return {f"${type(value).__name__}": sorted(found, key=json.dumps)}  # equal sets are equal JSON
    if type(value).__module__.partition(".")[0] in _LIBRARIES:
        from duckvstore.format.stored import labels

        scalar = labels.scalar_to_json(value, where=where)
        if scalar is not None:
            return scalar
    raise InvalidInput(
        f"{where} is a {type(value).__name__}, which metadata cannot hold: use dicts, lists, tuples, sets, text, "
        "numbers, booleans, None, dates, times, timedeltas, Decimals, bytes, or scalars of pandas and numpy"
    )


def _zone_to_json(value: datetime, where: str) -> Any:
    zone = value.tzinfo
    if isinstance(zone, ZoneInfo) and zone.key and zones.is_name(zone.key):
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
    if tag in _TAGS:
        return _TAGS[tag](value[tag], value)
    if tag in LABEL_TAGS:
        from duckvstore.format.stored import labels

        return labels.label_from_json(value)
    raise ValueError(f"unknown tag {tag!r} in metadata")


def has_later_tags(value: Any) -> bool:
    """Return whether JSON of ``to_json`` has a tag that readers of the first release do not know."""
    if isinstance(value, list):
        return any(map(has_later_tags, value))
    if not isinstance(value, dict):
        return False
    tag = next(iter(value), "")
    if tag in _LATER_TAGS:
        return True
    body = value[tag] if tag == "$dict" else value
    return any(map(has_later_tags, body.values()))


def _datetime_from_json(text: str, body: dict[str, Any]) -> datetime:
    naive = datetime.fromisoformat(text).replace(fold=body.get("fold", 0))
    zone = body.get("zone")
    if zone is None:
        return naive
    if isinstance(zone, str):
        return naive.replace(tzinfo=zones.named(zone))
    return naive.replace(tzinfo=timezone(timedelta(*zone)))


_TAGS: dict[str, Any] = {
    "$float": lambda text, _: float(text),
    "$tuple": lambda items, _: tuple(from_json(item) for item in items),
    "$dict": lambda items, _: {key: from_json(item) for key, item in items.items()},
    "$items": lambda pairs, _: {from_json(key): from_json(item) for key, item in pairs},
    "$set": lambda items, _: {from_json(item) for item in items},
    "$frozenset": lambda items, _: frozenset(from_json(item) for item in items),
    "$datetime": _datetime_from_json,
    "$date": lambda text, _: date.fromisoformat(text),
    "$time": lambda text, _: time.fromisoformat(text),
    "$timedelta": lambda parts, _: timedelta(*parts),
    "$decimal": lambda text, _: Decimal(text),
    "$bytes": lambda text, _: base64.b64decode(text, validate=True),
}
