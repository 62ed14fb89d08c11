"""What is said of columns that cannot join those of a version: a line for each, and the error of them all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from duckvstore.errors import InvalidInput
from duckvstore.formatting import shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

_NATURE_SHOWN_MAX = 120


def differs(shown: str, stored: tuple[pa.DataType, Any], new: tuple[pa.DataType, Any]) -> str:
    """Return the line of a column, given (type, nature) of both sides; what agrees of them is not said."""
    known, found = categories(stored[1]), categories(new[1])
    if known is not None and found is not None and known != found and (known[0] or found[0]):
        return f"{shown}: {_other_categories(known, found)}"
    if stored[0] != new[0]:
        return f"{shown}: stored {stored[0]}, new {new[0]}"
    return f"{shown}: stored {_nature_text(*stored)}, new {_nature_text(*new)}"


def _nature_text(kind: pa.DataType, nature: Any) -> str:
    """Return a type and what its kind of value knows beside it: `timestamp[us] as period (freq M, unit us)`."""
    text = str(nature)
    if isinstance(nature, dict):
        dtype = nature["dtype"] if isinstance(nature.get("dtype"), dict) else nature
        known = {key: value for key, value in dtype.items() if key not in ("type", "missing")}
        words = (f"{key} {_words(value)}" for key, value in known.items())
        text = f"{dtype.get('type', 'a dtype')} ({', '.join(words)})"
    return f"{kind} as {shortened(text, _NATURE_SHOWN_MAX)}"


def _words(value: Any) -> str:
    """Return a part of a nature without brackets and quotes."""
    if isinstance(value, dict):
        return " ".join(map(_words, value.values()))
    return " ".join(map(_words, value)) if isinstance(value, list) else str(value)


def categories(nature: Any) -> tuple[bool, list[Any]] | None:
    """Return whether the categories of a categorical or an Enum have an order, and the categories; None of others."""
    if not isinstance(nature, dict):
        return None
    if "Enum" in nature:
        return True, list(nature["Enum"][0])
    spec = nature["dtype"] if isinstance(nature.get("dtype"), dict) else nature
    if spec.get("type") != "categorical":
        return None
    from duckvstore.format.codecs.pandas_arrays import index_from_json

    return bool(spec["ordered"]), list(index_from_json(spec["categories"]))


def _other_categories(stored: tuple[bool, list[Any]], new: tuple[bool, list[Any]]) -> str:
    """Return in words how categories differ that are compared by their order."""
    if stored[0] != new[0]:
        with_order = ["with" if is_ordered else "without" for is_ordered, _ in (stored, new)]
        return f"the stored categories are {with_order[0]} an order, the new ones {with_order[1]}"
    known, given = stored[1], new[1]
    are_known, are_given = set(known), set(given)
    added = [category for category in given if category not in are_known]
    gone = [category for category in known if category not in are_given]
    parts = [f"the new ones have {added[0]!r}{_more(added)}, which the stored ones have not"] if added else []
    parts += [f"the stored ones have {gone[0]!r}{_more(gone)}, which the new ones have not"] if gone else []
    if not parts:
        at = next(at for at, (one, other) in enumerate(zip(known, given, strict=True)) if one != other)
        parts = [f"{given[at]!r} is number {at + 1} in the new ones, where the stored have {known[at]!r}"]
    return f"the ordered categories differ: {'; '.join(parts)}"


def _more(found: list[Any]) -> str:
    return f" and {len(found) - 1} more" if len(found) > 1 else ""


def inexact(shown: str, kind: pa.DataType, given: pa.DataType, error: Exception) -> str:
    """Return the line of a column with a new value that its type does not hold."""
    return f"{shown}: stored {kind}, new {given} with a value that it does not hold ({error})"


def beyond(shown: str, kind: pa.DataType, old: pa.DataType) -> str:
    """Return the line of a column with a stored time that its finer unit does not hold."""
    return f"{shown}: stored {old}, new {kind}, and stored times are beyond its range"


def refusal(where: str, lines: Sequence[str]) -> InvalidInput:
    """Return the error of columns with these lines."""
    shown = "\n  ".join(lines)
    return InvalidInput(
        f"{where} cannot hold the data without loss:\n  {shown}\ncast these columns of the data to the stored types, "
        "or write() the whole value"
    )
