"""Functions of constants, which are constants themselves: which functions, and of which class their values are.

A function is here only if its value depends on its arguments alone, or on the clock, which is said of the
constant. Arguments are constants that were read the same way; what raises an error proves nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlglot import exp

from duckvstore.sql.pruning.constants import Constant
from duckvstore.sql.syntax.literals import literal

if TYPE_CHECKING:
    from collections.abc import Callable

    Read = Callable[[Any], Constant | None]

_NUMBERS = frozenset(("int", "decimal", "double"))
_TIMES = frozenset(("date", "timestamp", "timestamptz"))
_UNITS = frozenset(("SECOND", "MINUTE", "HOUR", "DAY", "WEEK", "MONTH", "QUARTER", "YEAR"))
_CLOCKS = frozenset(("now", "get_current_timestamp", "transaction_timestamp"))
_OPERATORS: dict[type[Any], str] = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/"}
_WHOLE_OPERATORS: dict[type[Any], str] = {exp.IntDiv: "//", exp.Mod: "%"}
_OF_NUMBERS: dict[type[Any], str] = {exp.Abs: "abs", exp.Floor: "floor", exp.Ceil: "ceil", exp.Round: "round"}
_OF_TEXT: dict[type[Any], str] = {exp.Lower: "lower", exp.Upper: "upper", exp.Trim: "trim"}


def read(node: Any, argument: Read) -> Constant | None:
    """Return the constant that the call or operation ``node`` is, or None. ``argument`` reads what it is applied to."""
    kind = type(node)
    if kind in _OPERATORS or kind in _WHOLE_OPERATORS:
        return _calculated(node, argument)
    if kind is exp.CurrentTimestamp or (kind is exp.Anonymous and str(node.name).lower() in _CLOCKS):
        return Constant("now()", "timestamptz", is_moving=True) if not _parts(node) else None
    if kind is exp.CurrentDate:
        return Constant("current_date", "date", is_moving=True) if not _parts(node) else None
    if kind in (exp.DateTrunc, exp.TimestampTrunc):
        return _truncated(node, argument)
    if kind in _OF_NUMBERS:
        return _applied(_OF_NUMBERS[kind], node, argument, _NUMBERS, Constant("", "double", maybe_nan=True))
    if kind in _OF_TEXT:
        return _applied(_OF_TEXT[kind], node, argument, frozenset(("string", "text")), Constant("", "text"))
    if kind is exp.DPipe:
        sides = [argument(node.this), argument(node.expression)]
        texts = [side.sql for side in sides if side is not None and side.kind in ("string", "text")]
        return Constant(f"({texts[0]} || {texts[1]})", "text") if len(texts) == 2 else None
    if kind is exp.DateFromParts:
        return _made("make_date", [node.args.get(part) for part in ("year", "month", "day")], argument, "date")
    if kind is exp.TimestampFromParts:
        parts = [node.args.get(part) for part in ("year", "month", "day", "hour", "min", "sec")]
        return _made("make_timestamp", parts, argument, "timestamp")
    return None


def _parts(node: Any) -> list[Any]:
    """Return the arguments of a call, but for its name."""
    return [value for key, value in node.args.items() if value and not (key == "this" and isinstance(value, str))]


def _calculated(node: Any, argument: Read) -> Constant | None:
    left, right = argument(node.this), argument(node.expression)
    if left is None or right is None or not {left.kind, right.kind} <= _NUMBERS:
        return None
    kinds = {left.kind, right.kind}
    whole = _WHOLE_OPERATORS.get(type(node))
    if whole is not None:
        return Constant(f"({left.sql} {whole} {right.sql})", "int") if kinds == {"int"} else None
    is_double = "double" in kinds or type(node) is exp.Div
    kind = "double" if is_double else "decimal" if "decimal" in kinds else "int"
    return Constant(f"({left.sql} {_OPERATORS[type(node)]} {right.sql})", kind, maybe_nan=kind == "double")


def _truncated(node: Any, argument: Read) -> Constant | None:
    """A date is truncated to a date or a time, which compare alike."""
    unit, start = node.args.get("unit"), argument(node.this)
    name = str(getattr(unit, "name", "")).upper()
    if start is None or name not in _UNITS or start.kind not in _TIMES or node.args.get("zone") is not None:
        return None
    kind = "timestamptz" if start.kind == "timestamptz" else "timestamp"
    return Constant(f"date_trunc({literal(name.lower())}, {start.sql})", kind, is_moving=start.is_moving)


def _applied(name: str, node: Any, argument: Read, kinds: frozenset[str], result: Constant) -> Constant | None:
    parts = _parts(node)
    found = [argument(part) for part in parts if isinstance(part, exp.Expression)]
    known = [constant.sql for constant in found if constant is not None and constant.kind in kinds]
    is_plain = len(known) == len(found) == len(parts) and parts[0] is node.this and len(parts) <= 1 + (name == "round")
    return Constant(f"{name}({', '.join(known)})", result.kind, result.maybe_nan) if is_plain else None


def _made(name: str, parts: list[Any], argument: Read, kind: str) -> Constant | None:
    found = [argument(part) for part in parts]
    known = [constant.sql for constant in found if constant is not None and constant.kind in ("int", "decimal")]
    return Constant(f"{name}({', '.join(known)})", kind) if len(known) == len(parts) else None
