"""Labels (column names, index names, attribute-like scalars) and time zones of pandas, as JSON.

``label_from_json(label_to_json(x))`` equals ``x`` and has its type, missing markers included, or
``label_to_json`` raises InvalidInput naming the place.
"""

from __future__ import annotations

from datetime import UTC, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from duckvstore.errors import InvalidInput, Unsupported
from duckvstore.format.stored import metadata, zones

_PADDING_BYTES_MAX = 2**16  # numpy's text is padded, and a document could ask for any amount


def label_to_json(label: Any, *, where: str, depth: int = 0) -> Any:
    """Return ``label`` as JSON; tags as in ``format.stored.metadata``, and further ones for pandas' scalars."""
    if type(label) is tuple:
        if depth >= metadata.DEPTH_MAX:
            raise InvalidInput(f"{where} is of more than {metadata.DEPTH_MAX} tuples within one another: flatten it")
        return {"$tuple": [label_to_json(item, where=where, depth=depth + 1) for item in label]}
    if type(label) is frozenset:
        raise InvalidInput(f"{where} is a frozenset, which labels cannot be: use a tuple")
    found = _known_to_json(label, where)
    return metadata.to_json(label, where=where) if found is None else found


def scalar_to_json(value: Any, *, where: str) -> Any:
    """Return a scalar of pandas or numpy as JSON, after taking it back; None for what is none, or comes back otherwise.

    Raises InvalidInput for a scalar that JSON cannot hold.
    """
    body = _known_to_json(value, where)
    if body is None:
        return None
    back = label_from_json(body)
    return body if type(back) is type(value) and _known_to_json(back, "") == body else None


def _known_to_json(label: Any, where: str) -> Any:
    """Return a scalar of pandas or numpy as JSON; None for anything else."""
    if label is pd.NaT:
        return {"$NaT": True}
    if label is pd.NA:
        return {"$NA": True}
    if isinstance(label, pd.Timestamp):
        zone = None if label.tz is None else zone_to_json(label.tz, where=where)
        return {"$Timestamp": [int(label.asm8.view("i8")), label.unit, zone]}
    if isinstance(label, pd.Timedelta):
        return {"$Timedelta": [int(label.asm8.view("i8")), label.unit]}
    if isinstance(label, pd.Period):
        return {"$Period": [int(label.ordinal), label.freqstr]}
    if isinstance(label, pd.Interval):
        return {"$Interval": [label_to_json(side, where=where) for side in (label.left, label.right)] + [label.closed]}
    return _numpy_to_json(label, where) if isinstance(label, np.generic) else None


def _numpy_to_json(label: np.generic, where: str) -> Any:
    kind = label.dtype.kind
    if kind not in "biufMmUS" or (label.dtype.itemsize > 8 and kind == "f"):
        raise InvalidInput(
            f"{where} is a numpy {label.dtype}, which cannot be stored here: convert it to Python's own type"
        )
    item = int(label.view("i8")) if kind in "Mm" else label.item()
    return {"$numpy": [label.dtype.str, metadata.to_json(item, where=where)]}


def label_from_json(value: Any) -> Any:
    """Return the label that ``label_to_json`` was given."""
    if not isinstance(value, dict):
        return value
    tag, body = next(iter(value.items()))
    if tag == "$tuple":
        return tuple(label_from_json(item) for item in body)
    if tag == "$NaT":
        return pd.NaT
    if tag == "$NA":
        return pd.NA
    if tag == "$Timestamp":
        stamp = pd.Timestamp(np.datetime64(body[0], body[1]))
        return stamp if body[2] is None else stamp.tz_localize(UTC).tz_convert(zones.from_json(body[2]))
    if tag == "$Timedelta":
        return pd.Timedelta(np.timedelta64(body[0], body[1]))
    if tag == "$Period":
        return pd.Period(ordinal=body[0], freq=body[1])
    if tag == "$Interval":
        return pd.Interval(label_from_json(body[0]), label_from_json(body[1]), closed=body[2])
    if tag == "$numpy":
        return _numpy_from_json(*body)
    return metadata.from_json(value)


def _numpy_from_json(name: str, body: Any) -> Any:
    dtype, item = np.dtype(name), metadata.from_json(body)
    if dtype.kind not in "biufMmUS" or (dtype.kind in "US" and dtype.itemsize > 4 * len(item) + _PADDING_BYTES_MAX):
        raise ValueError(f"{name!r} is no dtype of a scalar")
    return np.array(item, "i8").view(dtype)[()] if dtype.kind in "Mm" else np.array(item, dtype)[()]


def zone_to_json(zone: tzinfo, *, where: str) -> Any:
    """Return a time zone as JSON: an IANA name, or an object naming the library or the fixed offset.

    Raises InvalidInput for a zone that has no portable name (``dateutil.tz.tzlocal``, a zone from a file).
    """
    found = _zone_candidate(zone)
    if found is not None:
        try:
            if pd.DatetimeTZDtype("ns", zones.from_json(found)) == pd.DatetimeTZDtype("ns", zone):
                return found
        except (KeyError, TypeError, ValueError, OSError, Unsupported):
            pass
    raise InvalidInput(
        f"{where} has the time zone {zone!r}, which cannot be named on another machine: convert it to a "
        "zoneinfo.ZoneInfo or a datetime.timezone"
    )


def _zone_candidate(zone: tzinfo) -> Any:
    module = type(zone).__module__.partition(".")[0]
    if isinstance(zone, ZoneInfo):
        return zone.key if zone.key != "UTC" else {"zoneinfo": "UTC"}
    if zone is UTC:
        return "UTC"
    if isinstance(zone, timezone):
        offset = zone.utcoffset(None)
        return {"offset": [offset.days, offset.seconds, offset.microseconds]}
    if module == "pytz":
        name = getattr(zone, "zone", None)
        return {"pytz": name} if name is not None else {"pytz_minutes": getattr(zone, "_minutes", None)}
    if module == "dateutil":
        name = getattr(zone, "_filename", "UTC" if type(zone).__name__ == "tzutc" else "")
        return {"dateutil": name.rpartition("zoneinfo/")[2]} if isinstance(name, str) and name else None
    return None


def arrow_zone(value: Any) -> str:
    """Return the zone to name in an Arrow timestamp type for a zone in JSON: its name, or UTC where Arrow has none."""
    if isinstance(value, str):
        return value
    library, body = next(iter(value.items()))
    return str(body) if library in ("pytz", "zoneinfo") else "UTC"
