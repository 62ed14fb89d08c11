"""Time zones that a document names, found by name alone.

A name from a document never becomes a path. ``dateutil`` opens absolute paths, pandas and Arrow hand names
on to it or to others, and each of them looks below folders of this machine.
"""

from __future__ import annotations

import re
from datetime import UTC, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pyarrow as pa

from duckvstore.errors import Unsupported

_NAME = re.compile(r"[A-Za-z0-9_+-]{1,64}(/[A-Za-z0-9_+-]{1,64}){0,3}")
# Arrow takes any text as a zone; nothing here may look like a path.
_ARROW_NAME = re.compile(r"[\w+-][\w+:. -]*(/[\w+-][\w+:. -]*)*")
_PREFIX = "dateutil/"  # pandas takes what follows for a path


def named(name: object) -> ZoneInfo:
    """Return the zone of this IANA name.

    Raises ValueError for anything but a name, Unsupported for one that this machine does not know.
    """
    try:
        return ZoneInfo(checked(name))
    except ZoneInfoNotFoundError as error:
        raise Unsupported(f"{error.args[0]} on this machine: pip install tzdata") from error


def checked(name: object) -> str:
    """Return ``name`` if it is one of a zone, which has neither dots nor a leading slash. Raises ValueError."""
    if not isinstance(name, str) or not is_name(name):
        raise ValueError(f"{name!r} is no name of a time zone")
    return name


def is_name(name: str) -> bool:
    """Return whether ``name`` may be the name of a zone: ``Europe/Berlin``, ``Etc/GMT+8``."""
    return _NAME.fullmatch(name) is not None and not name.startswith(_PREFIX)


def check_type(kind: pa.DataType) -> None:
    """Raise ValueError for an Arrow type that has, at any depth, a time zone which could be taken for a path."""
    if pa.types.is_timestamp(kind):
        if kind.tz is not None and (not _ARROW_NAME.fullmatch(kind.tz) or kind.tz.startswith(_PREFIX)):
            raise ValueError(f"{kind.tz!r} is no name of a time zone")
    elif isinstance(kind, pa.BaseExtensionType):
        check_type(kind.storage_type)
    elif pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        check_type(kind.value_type)
    elif pa.types.is_nested(kind):
        for position in range(kind.num_fields):
            check_type(kind.field(position).type)


def from_json(value: Any) -> tzinfo:
    """Return the time zone that ``labels.zone_to_json`` was given; pytz zones become zoneinfo ones where it is missing.

    Raises as ``named`` does.
    """
    if isinstance(value, str):
        return UTC if value == "UTC" else named(value)
    library, body = next(iter(value.items()))
    if library == "offset":
        return timezone(timedelta(*body))
    if library == "zoneinfo":
        return named(body)
    if library == "dateutil":
        return _dateutil_zone(checked(body))
    return _pytz_zone(library, body)


def _dateutil_zone(name: str) -> tzinfo:
    from dateutil import tz  # type: ignore[import-untyped]

    found: tzinfo | None = tz.UTC if name == "UTC" else tz.gettz(name)
    if found is None:
        raise Unsupported(f"dateutil knows no time zone {name!r} on this machine: install the system's zones")
    return found


def _pytz_zone(library: str, body: Any) -> tzinfo:
    try:
        import pytz  # type: ignore[import-untyped]
    except ImportError:
        return named(body) if library == "pytz" else timezone(timedelta(minutes=body))
    if library != "pytz":
        offset: tzinfo = pytz.FixedOffset(body)
        return offset
    try:
        zone: tzinfo = pytz.timezone(checked(body))
    except pytz.UnknownTimeZoneError as error:
        raise Unsupported(f"pytz knows no time zone {body!r}: pip install --upgrade pytz") from error
    return zone
