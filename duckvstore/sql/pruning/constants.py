"""Constants in a predicate: which SQL they are, of which class, and with which columns they may be compared.

Only constants that give the same value whenever and wherever they are evaluated come back, or one that is
said to move with the clock; whatever depends on the session's time zone or a column is none.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow.types as kinds
from sqlglot import exp

from duckvstore.sql.syntax.literals import literal

if TYPE_CHECKING:
    import pyarrow as pa

    from duckvstore.sql.syntax.statement import Statement

_NUMBER = re.compile(r"(?P<whole>[0-9]{1,38})(?P<fraction>\.[0-9]*)?(?P<exponent>[eE][+-]?[0-9]{1,3})?")
_OFFSET = re.compile(r"[0-9-]+[ T][0-9]{2}:[0-9]{2}[0-9:.]*(?:Z|[+-][0-9]{2}(?::?[0-9]{2})?)\s*", re.IGNORECASE)
_STARTS_AS_TIME = re.compile(r"\s*[0-9]")
_COUNT = re.compile(r"-?[0-9]{1,9}")
_UNIT = re.compile(r"(MICROSECOND|MILLISECOND|SECOND|MINUTE|HOUR|DAY|WEEK|MONTH|YEAR)S?")
_TYPES = {
    "TINYINT": ("int", "TINYINT"),
    "SMALLINT": ("int", "SMALLINT"),
    "INT": ("int", "INTEGER"),
    "BIGINT": ("int", "BIGINT"),
    "UTINYINT": ("int", "UTINYINT"),
    "USMALLINT": ("int", "USMALLINT"),
    "UINT": ("int", "UINTEGER"),
    "UBIGINT": ("int", "UBIGINT"),
    "FLOAT": ("double", "FLOAT"),
    "DOUBLE": ("double", "DOUBLE"),
    "DECIMAL": ("decimal", "DECIMAL"),
    "VARCHAR": ("string", "VARCHAR"),
    "TEXT": ("string", "VARCHAR"),
    "DATE": ("date", "DATE"),
    "TIMESTAMP": ("timestamp", "TIMESTAMP"),
    "TIMESTAMPNTZ": ("timestamp", "TIMESTAMP"),
}
_NUMBERS = frozenset(("int", "decimal", "double", "string"))
# Classes of constants that DuckDB compares with a column without converting the column, or by a conversion that
# keeps its order. Text is not compared with numbers: '10' < '9', and as numbers it is the other way round.
_COMPARABLE = {
    "int": _NUMBERS,
    "float": _NUMBERS,
    "decimal": _NUMBERS,
    "bool": frozenset(("bool",)),
    "date": frozenset(("date", "timestamp", "string")),
    "timestamp": frozenset(("date", "timestamp", "string")),
    "timestamptz": frozenset(("date", "timestamp", "timestamptz", "string")),
    "text": frozenset(("string", "text")),
}
_DECIMAL_DIGITS_MAX = 38


@dataclass(frozen=True, slots=True)
class Constant:
    """A constant: its SQL; ``kind``: int, decimal, double, string, text, bool, date, timestamp or timestamptz.

    A "string" is a literal, which takes the type of what it is compared with; "text" is of type VARCHAR. ``maybe_nan``:
    whether it can be NaN. ``text``: what a plain string literal or a cast of one says. ``is_moving``: it grows with
    the clock, so it is only known what it was.
    """

    sql: str
    kind: str
    maybe_nan: bool = False
    text: str | None = None
    is_moving: bool = False


def column_class(kind: pa.DataType) -> str | None:
    """Return the class of a column of Arrow type ``kind``: a key of the comparable classes, or None."""
    if kinds.is_dictionary(kind):
        return "text" if column_class(kind.value_type) == "text" else None
    if kinds.is_timestamp(kind):
        return "timestamp" if kind.tz is None else "timestamptz"
    if kinds.is_decimal(kind):
        return "decimal" if kind.precision <= _DECIMAL_DIGITS_MAX and kind.scale >= 0 else None
    checks = {
        "int": kinds.is_integer,
        "float": lambda kind: kinds.is_float32(kind) or kinds.is_float64(kind),
        "bool": kinds.is_boolean,
        "date": kinds.is_date,
        "text": lambda kind: kinds.is_string(kind) or kinds.is_large_string(kind),
    }
    return next((name for name, check in checks.items() if check(kind)), None)


def comparable(column: str, constant: Constant) -> bool:
    """Whether DuckDB compares a column of class ``column`` with ``constant`` in the column's own order."""
    if constant.kind not in _COMPARABLE[column]:
        return False
    is_time = column in ("date", "timestamp", "timestamptz")
    return not is_time or constant.text is None or _STARTS_AS_TIME.match(constant.text) is not None


def has_offset(text: str) -> bool:
    """Whether a time in ``text`` says its own offset from UTC, after a time of day."""
    return _OFFSET.fullmatch(text) is not None


@dataclass
class Reader:
    """Reads constants of one statement; ``bound`` collects the parameters that their SQL uses.

    ``calls``: reads functions of constants; None where functions may be the user's macros.
    """

    statement: Statement
    parameters: Mapping[str, Any] | Sequence[Any] | None
    calls: Callable[[Any, Callable[[Any], Constant | None]], Constant | None] | None = None
    bound: dict[str, Any] = field(default_factory=dict)

    def read(self, node: Any) -> Constant | None:
        """Return the constant at ``node``, or None if it is not surely one."""
        while isinstance(node, exp.Paren):
            node = node.this
        if isinstance(node, exp.Literal):
            return self._literal(node)
        if isinstance(node, exp.Boolean):
            return Constant("true" if node.this else "false", "bool")
        if isinstance(node, exp.Neg):
            inner = self.read(node.this)
            is_number = inner is not None and inner.kind not in ("string", "text")
            return Constant(f"(-{inner.sql})", inner.kind, inner.maybe_nan) if inner and is_number else None
        if type(node) is exp.Cast:
            return self._cast(node)
        known: dict[int, Constant | None] = {}

        def argument(part: Any) -> Constant | None:
            """Read a part once: twice at each level would double the time with every term of a sum."""
            if id(part) not in known:
                known[id(part)] = self.read(part)
            return known[id(part)]

        if isinstance(node, (exp.Add, exp.Sub)):
            moved = _moved(node, argument)
            if moved is not None:
                return moved
        found = self._parameter(node)
        return self.calls(node, argument) if found is None and self.calls is not None else found

    def _literal(self, node: Any) -> Constant | None:
        if node.is_string:
            return (
                Constant(literal(node.this), "string", maybe_nan=True, text=node.this)
                if "\0" not in node.this
                else None
            )
        match = _NUMBER.fullmatch(node.this)
        if match is None:
            return None
        kind = "double" if match["exponent"] else "decimal" if match["fraction"] else "int"
        return Constant(node.this, kind)

    def _cast(self, node: Any) -> Constant | None:
        inner = self.read(node.this)
        name = getattr(node.to.this, "name", "")
        if inner is not None and inner.is_moving and name in ("DATE", "TIMESTAMP", "TIMESTAMPNTZ", "TIMESTAMPTZ"):
            kind = name.removesuffix("NTZ")
            return Constant(f"CAST({inner.sql} AS {kind})", kind.lower(), is_moving=True)
        if inner is None or inner.kind in ("timestamp", "timestamptz", "date"):
            return None
        if name == "TIMESTAMPTZ" and inner.text is not None:
            # Without an offset the session's time zone decides: then the text is compared with a margin.
            is_fixed = has_offset(inner.text)
            return Constant(f"CAST({inner.sql} AS TIMESTAMPTZ)", "timestamptz", text=inner.text) if is_fixed else inner
        if name not in _TYPES:
            return None
        kind, sql = _TYPES[name]
        arguments = [
            str(argument.this.this) for argument in node.to.expressions if isinstance(argument.this, exp.Literal)
        ]
        if len(arguments) != len(node.to.expressions) or not all(argument.isdigit() for argument in arguments):
            return None
        sql += f"({','.join(arguments)})" if arguments else ""
        is_time = kind in ("date", "timestamp")
        if is_time and (inner.text is None or not _STARTS_AS_TIME.match(inner.text)):
            return None
        maybe_nan = kind in ("double", "string")
        return Constant(
            f"CAST({inner.sql} AS {sql})", kind, maybe_nan, inner.text if is_time or kind == "string" else None
        )

    def _parameter(self, node: Any) -> Constant | None:
        """Return a parameter; it stays one, so that DuckDB gives it the type that it has in the query."""
        found, value = self._value(node)
        kind = _value_kind(value) if found else None
        if kind is None:
            return None
        name = f"c{len(self.bound)}"
        self.bound[name] = value
        text = value if isinstance(value, str) else None
        return Constant(f"${name}", kind, maybe_nan=kind in ("double", "decimal", "string"), text=text)

    def _value(self, node: Any) -> tuple[bool, Any]:
        """Return (whether it is known, the value) of the parameter at ``node``; the dialect writes it as a name."""
        start = node.this.meta.get("start") if isinstance(node, exp.Column) and not node.table else None
        found = next((parameter for place, parameter in self.statement.parameters if place == start), None)
        if found is None:
            return False, None
        if isinstance(self.parameters, Mapping):
            return found.name in self.parameters, self.parameters.get(found.name or "")
        position = found.position
        if found.name is not None and found.name.isdigit():
            position = int(found.name) - 1
        if isinstance(self.parameters, Sequence) and position is not None and 0 <= position < len(self.parameters):
            return True, self.parameters[position]
        return False, None


def _moved(node: Any, argument: Callable[[Any], Constant | None]) -> Constant | None:
    """Return a date or time moved by a constant interval or number of days."""
    start = argument(node.this)
    if start is None or (start.kind not in ("date", "timestamp") and not start.is_moving):
        return None
    moving, later = start.is_moving, "timestamptz" if start.kind == "timestamptz" else "timestamp"
    sign = "+" if isinstance(node, exp.Add) else "-"
    step = node.expression
    if isinstance(step, exp.Interval) and isinstance(step.this, exp.Literal) and isinstance(step.unit, exp.Var):
        count, unit = str(step.this.this), step.unit.name.upper()
        if _COUNT.fullmatch(count) and _UNIT.fullmatch(unit):
            return Constant(f"({start.sql} {sign} INTERVAL '{count}' {unit})", later, is_moving=moving)
        return None
    days = argument(step)
    if start.kind == "date" and days is not None and days.kind == "int":
        return Constant(f"({start.sql} {sign} {days.sql})", "date", is_moving=moving)
    return None


def _value_kind(value: Any) -> str | None:
    if isinstance(value, str):
        return "string" if "\0" not in value else None
    if isinstance(value, datetime):
        return "timestamp" if value.tzinfo is None else "timestamptz"
    exact = {bool: "bool", int: "int", float: "double", Decimal: "decimal", date: "date"}
    return exact.get(type(value))
