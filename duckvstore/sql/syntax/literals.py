"""Names and values as SQL: the one place where either becomes part of a statement.

Whatever the name or value holds, the result is one identifier or one constant and nothing more.
"""

from __future__ import annotations

import math
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from duckvstore.errors import SqlError


def quote(name: str) -> str:
    """Return ``name`` as a quoted SQL identifier. Raises SqlError for a name with NUL, which SQL cannot hold."""
    if "\0" in name:
        raise SqlError(f"a name in SQL cannot hold the character NUL: {name!r}")
    return '"' + name.replace('"', '""') + '"'


def literal(value: Any) -> str:
    """Return ``value`` as a SQL constant of the same type.

    Takes None, bool, int, float, Decimal, str, bytes, date, time and datetime; raises SqlError for anything else.
    """
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, Decimal)) and (isinstance(value, int) or value.is_finite()):
        return f"{value:f}" if isinstance(value, Decimal) else str(value)
    if isinstance(value, (float, Decimal)):
        return repr(float(value)) + "::DOUBLE" if math.isfinite(value) else f"'{float(value)}'::DOUBLE"
    if isinstance(value, str):
        if "\0" in value:
            raise SqlError(f"a string in SQL cannot hold the character NUL: {value!r}")
        return "'" + value.replace("'", "''") + "'"
    if isinstance(value, (bytes, bytearray)):
        return "'" + "".join(f"\\x{byte:02X}" for byte in value) + "'::BLOB"
    if isinstance(value, datetime):
        kind = "TIMESTAMP" if value.tzinfo is None else "TIMESTAMPTZ"
        return f"'{value.isoformat(sep=' ')}'::{kind}"
    if isinstance(value, (date, time)):
        return f"'{value.isoformat()}'::{'DATE' if isinstance(value, date) else 'TIME'}"
    raise SqlError(f"a {type(value).__name__} cannot be written as a SQL constant: pass it as a parameter")
