"""How numbers, sizes and small tables read: one spelling for the command, reports, results and notebooks."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_CELL_CHARACTERS_MIN = 8
_NUMBER = re.compile(r"-?[\d,]+(\.\d+)?|-?inf|nan|", re.ASCII)


def counted(count: int, noun: str) -> str:
    """Return ``1,204 rows`` for a number and a noun in the singular."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def size(size_bytes: int) -> str:
    """Return ``1.2 MB`` for a number of bytes."""
    scaled = float(size_bytes)
    for unit in _UNITS[:-1]:
        if scaled < 999.5:
            return f"{scaled:.0f} {unit}" if unit == "B" else f"{scaled:.3g} {unit}"
        scaled /= 1000
    return f"{scaled:.3g} {_UNITS[-1]}"


def part_of_size(part_bytes: int, whole_bytes: int) -> str:
    """Return both numbers in the unit that suits the whole, such as ``0.4 of 3.1 MB``."""
    unit = 0
    while whole_bytes >= 1000 ** (unit + 1) and unit < len(_UNITS) - 1:
        unit += 1

    def number(size_bytes: int) -> str:
        value = size_bytes / 1000**unit
        decimals = 1 if unit and 0 < value < 10 else 0
        return f"{value:,.{decimals}f}"

    return f"{number(part_bytes)} of {number(whole_bytes)} {_UNITS[unit]}"


def megabytes(size_bytes: int, decimals: int = 2) -> str:
    """Return the number alone, for a column under the heading MB."""
    return f"{size_bytes / 1e6:,.{decimals}f}"


def cell(value: Any) -> str:
    """Return a value as one line of text: None as NULL, a list by its items, nothing that acts on a terminal."""
    if value is None:
        return "NULL"
    if isinstance(value, (list, tuple)):
        value = ", ".join(map(str, value))
    return "".join(character if character.isprintable() else " " for character in str(value))


def shortened(text: str, characters_max: int) -> str:
    """Return ``text``, cut with an ellipsis if it is longer."""
    return text if len(text) <= characters_max else text[: characters_max - 1] + "…"


def numeric(rows: Sequence[Sequence[Any]], columns: int) -> frozenset[int]:
    """Return the positions of the columns that hold numbers alone, and at least one."""
    values = ([row[at] for row in rows if row[at] is not None] for at in range(columns))
    are_numbers = (bool(found) and all(_NUMBER.fullmatch(str(value)) for value in found) for found in values)
    return frozenset(at for at, is_number in enumerate(are_numbers) if is_number)


def aligned(
    lines: Sequence[Sequence[str]], right: Collection[int] = (), widths: Sequence[int] | None = None
) -> list[str]:
    """Return each line's cells under each other: those of the columns ``right`` to the right, cut to ``widths``."""
    widths = longest(lines) if widths is None else widths

    def text(at: int, words: str) -> str:
        words = shortened(words, widths[at])
        return words.rjust(widths[at]) if at in right else words.ljust(widths[at])

    return ["  ".join(text(at, words) for at, words in enumerate(line)).rstrip() for line in lines]


def longest(lines: Sequence[Sequence[str]]) -> list[int]:
    """Return how many characters the longest cell of each column has."""
    return [max(map(len, column)) for column in zip(*lines, strict=True)]


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]], width: int | None = None) -> list[str]:
    """Return headings, a rule and rows as lines, numbers to the right, None as NULL.

    ``width``: the characters of a line, for which the widest columns are cut (None: as wide as it takes).
    """
    texts = [list(map(cell, line)) for line in (columns, *rows)]
    widths = longest(texts)
    while width is not None and sum(widths) + 2 * (len(widths) - 1) > width and max(widths) > _CELL_CHARACTERS_MIN:
        widths[widths.index(max(widths))] -= 1
    lines = aligned(texts, numeric(rows, len(columns)), widths)
    lines.insert(1, "  ".join("-" * characters for characters in widths))
    return lines
