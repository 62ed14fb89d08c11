"""How a result looks: its first and last rows in text or HTML, and the line of figures.

Names and values are text: whatever they hold, nothing of it is markup.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from duckvstore import markup
from duckvstore.formatting import aligned, cell, counted, longest, shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

CELL_CHARACTERS_MAX = 40
LINE_CHARACTERS = 160  # where there is no terminal whose width could be asked
COLUMNS_MAX = 100  # of a table in HTML
VALUE_CHARACTERS_MAX = markup.TEXT_CHARACTERS_MAX

Rows = list[list[str | None]]


@dataclass(frozen=True, slots=True)
class Excerpt:
    """The rows of a result that are shown: ``first`` and, where rows are left out between them, ``last``.

    ``row_count``: of all rows, None where nobody knows yet. ``null_counts``: by column, if they were counted.
    """

    columns: Sequence[str]
    types: Sequence[str]
    first: Rows
    last: Rows
    row_count: int | None
    null_counts: Sequence[int] = ()

    @property
    def rows(self) -> Rows:
        """All rows that are shown."""
        return self.first + self.last

    @property
    def between(self) -> str:
        """What stands between the first rows and the last, or below the first where there are no last ones."""
        if self.row_count is None:
            return f"… the first {len(self.first):,} rows of many"
        left_out = self.row_count - len(self.rows)
        if not left_out:
            return ""
        if not self.last:
            return f"… {len(self.first):,} of {self.row_count:,} rows shown"
        return f"… {counted(left_out, 'row')} between …"


def shares(row_count: int, shown_max: int) -> tuple[int, int]:
    """Return how many of the first rows and how many of the last are shown."""
    last = 0 if row_count <= shown_max else shown_max // 4
    return min(row_count, shown_max) - last, last


def as_text(shown: Excerpt, footer: str) -> str:
    """Return names, types and rows in columns, as many columns as fit the terminal, and the footer below."""
    width = max(CELL_CHARACTERS_MAX, shutil.get_terminal_size((LINE_CHARACTERS, 0)).columns)
    texts: list[Sequence[str | None]] = [shown.columns, [kind.lower() for kind in shown.types], *shown.rows]
    lines = [[shortened(cell(value), CELL_CHARACTERS_MAX) for value in row] for row in texts]
    fitting = _fitting(longest(lines), width)
    left_out = len(shown.columns) - len(fitting)
    written = aligned([[line[position] for position in fitting] for line in lines])
    written.insert(2, "─" * min(max(map(len, written)), width))
    if shown.between:
        written.insert(3 + len(shown.first), shown.between)
    if left_out:
        written.append(f"… and {left_out} more columns")
    return "\n".join([*written, footer])


def _fitting(widths: list[int], line_characters: int) -> list[int]:
    """Return the positions of the columns that fit on a line: the first ones, at least one."""
    used = 0
    fitting: list[int] = []
    for position, width in enumerate(widths):
        used += width + 2
        if fitting and used - 2 > line_characters:
            break
        fitting.append(position)
    return fitting


def as_html(
    shown: Excerpt, lines: Sequence[str], code: Sequence[str] = (), colours: Sequence[Sequence[str]] = ()
) -> str:
    """Return the rows as a table, code and lines below. ``colours``: as ``markup.table`` takes them."""
    nulls: Sequence[int | None] = shown.null_counts or [None] * len(shown.columns)
    columns = [markup.Column(*column) for column in zip(shown.columns, shown.types, nulls, strict=True)][:COLUMNS_MAX]
    left_out = len(shown.columns) - len(columns)
    more = [f"… and {left_out:,} more columns"] if left_out else []
    table = markup.table(
        columns,
        [row[:COLUMNS_MAX] for row in shown.rows],
        markup.Gap(len(shown.first), shown.between) if shown.between else None,
        [row[:COLUMNS_MAX] for row in colours],
    )
    return markup.page(table, markup.code(code), markup.lines([*more, *lines]))
