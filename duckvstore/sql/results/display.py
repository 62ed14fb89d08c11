"""How a result looks: a small table in text or HTML, and the line of figures.

Names and values are text: whatever they hold, nothing of it is markup.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from duckvstore.errors import printable
from duckvstore.formatting import aligned, cell, longest, shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckvstore.sql.results.figures import Figures

CELL_CHARACTERS_MAX = 40
LINE_CHARACTERS_MAX = 160
VALUE_CHARACTERS_MAX = 200  # of a value in HTML; names of columns are cut too


def as_text(columns: list[str], types: list[str], rows: list[list[str | None]], figures: Figures) -> str:
    """Return names, types and rows in columns, as many columns as fit, and the figures below."""
    if not columns or figures.changed is not None:
        return figures.footer()
    texts: list[Sequence[str | None]] = [columns, [kind.lower() for kind in types], *rows]
    lines = [[shortened(cell(value), CELL_CHARACTERS_MAX) for value in row] for row in texts]
    shown = _fitting(longest(lines))
    left_out = len(columns) - len(shown)
    written = aligned([[line[position] for position in shown] for line in lines])
    rule = "─" * min(max(len(text) for text in written), LINE_CHARACTERS_MAX)
    written.insert(2, rule)
    if left_out:
        written.append(f"… and {left_out} more columns")
    return "\n".join([*written, *_more(rows, figures), figures.footer()])


def _fitting(widths: list[int]) -> list[int]:
    """Return the positions of the columns that fit on a line: the first ones, at least one."""
    used = 0
    fitting: list[int] = []
    for position, width in enumerate(widths):
        used += width + 2
        if fitting and used > LINE_CHARACTERS_MAX:
            break
        fitting.append(position)
    return fitting


def _more(rows: list[list[str | None]], figures: Figures) -> list[str]:
    if figures.row_count is None:
        return [f"… the first {len(rows)} rows of many"]
    if figures.row_count > len(rows):
        return [f"… {len(rows)} of {figures.row_count:,} rows shown"]
    return []


def as_html(columns: list[str], types: list[str], rows: list[list[str | None]], figures: Figures) -> str:
    """Return the table as HTML."""
    if not columns or figures.changed is not None:
        return paragraph(figures.footer())
    heads = "".join(
        f"<th>{_html(column)}<br><small>{html.escape(kind.lower())}</small></th>"
        for column, kind in zip(columns, types, strict=True)
    )
    body = "".join(f"<tr>{''.join(map(_html_cell, row))}</tr>" for row in rows)
    more = "".join(paragraph(line) for line in _more(rows, figures))
    table = f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"
    return f"<div>{table}{more}{paragraph(figures.footer())}</div>"


def _html_cell(value: str | None) -> str:
    if value is None:
        return "<td><em>NULL</em></td>"
    return f"<td>{_html(value[:VALUE_CHARACTERS_MAX])}</td>"


def _html(text: str) -> str:
    return html.escape(printable(text))


def paragraph(text: str) -> str:
    """Return ``text`` as a small paragraph."""
    return f"<p><small>{_html(text)}</small></p>"


def preformatted(text: str, figures: Figures) -> str:
    """Return ``text`` with its line breaks kept, and the figures below."""
    return f"<div><pre>{_html(text)}</pre>{paragraph(figures.footer())}</div>"
