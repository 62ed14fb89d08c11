"""HTML of everything that a notebook shows: tables, facts, lines and code.

Invariant: names and values are text whatever they hold, cut to a few hundred characters; styles are inline, so that
a page, a saved notebook and an exported one look the same. Colours are JupyterLab's, those of VS Code or marimo, or the
page's own.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from duckvstore.errors import printable
from duckvstore.formatting import shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

TEXT_CHARACTERS_MAX = 200
DIGITS_SHOWN = 6

INK = "var(--jp-ui-font-color1,var(--vscode-editor-foreground,var(--foreground,CanvasText)))"
PAPER = "var(--jp-layout-color1,var(--vscode-editor-background,var(--background,Canvas)))"
EDGE = "var(--jp-border-color2,color-mix(in srgb,currentColor 22%,transparent))"
LINE = f"1px solid {EDGE}"
GREEN, RED, AMBER = "rgba(46,160,67,{})", "rgba(229,83,75,{})", "rgba(210,153,34,{})"

_DIGITS = "font-variant-numeric:tabular-nums"
_FONT = f"font-size:var(--jp-code-font-size,13px);{_DIGITS}"
_BOX = (
    f"max-width:100%;max-height:540px;overflow:auto;width:fit-content;margin:2px 0 6px;border:{LINE};border-radius:4px"
)
_TABLE = f"border-collapse:separate;border-spacing:0;margin:0;border:0;table-layout:auto;{_FONT}"
_HEAD = (
    "position:sticky;top:0;z-index:1;padding:5px 12px;white-space:pre;vertical-align:bottom;font-weight:600;"
    f"color:{INK};background:color-mix(in srgb,{INK} 7%,{PAPER});border:0;border-bottom:{LINE}"
)
_CELL = (
    "padding:3px 12px;vertical-align:top;border:0;max-width:380px;overflow:hidden;text-overflow:ellipsis;"
    "white-space:pre"
)
_NOTE = "display:block;font-weight:400;font-size:11px;opacity:.75"
_DIM = "opacity:.65;font-style:italic"
_SMALL = (
    f"font-family:var(--jp-ui-font-family,sans-serif);font-size:12px;margin:5px 0 2px;white-space:pre-wrap;{_DIGITS}"
)
_CODE = f"margin:6px 0 2px;padding:4px 8px;font-size:12px;border:0;border-left:3px solid {EDGE};white-space:pre-wrap"
_NUMBER = re.compile(
    r"u?(tiny|small|big|huge)?int(eger|\d+)?$|(half_?)?float\d*$|double$|real$|decimal|interval|duration", re.IGNORECASE
)
# Decimals are not: they are money, say, whose digits were chosen.
_FRACTIONAL = re.compile(r"(half_?)?float\d*$|double$|real$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Column:
    """The head of a column: its name, its type and how many of its values are null (None: not known).

    ``is_right``: for texts that are numbers; a type of numbers says it by itself.
    """

    name: str
    type: str = ""
    null_count: int | None = None
    is_right: bool = False

    @property
    def is_number(self) -> bool:
        """Whether its values are aligned right."""
        return self.is_right or is_right_aligned(self.type)

    @property
    def note(self) -> str:
        """The line under the name: ``bigint · 12 null``."""
        kind = self.type.lower()
        return f"{kind} · {self.null_count:,} null" if self.null_count else kind


@dataclass(frozen=True, slots=True)
class Gap:
    """What stands in place of the rows that are left out, before the row of this index."""

    row_index: int
    text: str


def text(value: str) -> str:
    """Return ``value`` as HTML that shows it: cut, without markup, and with escapes for what cannot be seen."""
    return html.escape(printable(shortened(value, TEXT_CHARACTERS_MAX)))


def is_right_aligned(type_name: str) -> bool:
    """Return whether values of a DuckDB or Arrow type are aligned right, like numbers."""
    return _NUMBER.match(type_name) is not None and not type_name.endswith("]")


def rounded(number: str) -> str:
    """Return a number as it is read: six digits, or all of those before the point.

    Examples:
        >>> rounded("0.30000000000000004"), rounded("1234567.891"), rounded("1.23456789e-12"), rounded("20.0")
        ('0.3', '1234568', '1.23457e-12', '20.0')
    """
    try:
        value = Decimal(number)
    except InvalidOperation:
        return number
    if not value.is_finite() or len(value.as_tuple().digits) <= DIGITS_SHOWN:
        return number
    if value and not -5 <= value.adjusted() < 15:
        return f"{value:.{DIGITS_SHOWN - 1}e}"
    short = f"{value:.{max(0, DIGITS_SHOWN - 1 - max(value.adjusted(), -5))}f}"
    return (short.rstrip("0").rstrip(".") if "." in short else short) or "0"


def table(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str | None]],
    gap: Gap | None = None,
    colours: Sequence[Sequence[str]] = (),
) -> str:
    """Return ``rows`` under typed heads. ``colours``: of the background of each cell, "" for none."""
    heads = []
    for column in columns:
        note = f'<small style="{_NOTE}">{text(column.note)}</small>' if column.type else ""
        style = f"{_HEAD};text-align:{_side(is_right=column.is_number)}"
        heads.append(f'<th style="{style}">{text(column.name)}{note}</th>')
    lines = []
    for row, tints in zip(rows, colours or [[""] * len(columns)] * len(rows), strict=True):
        cells = (_cell(*cell) for cell in zip(row, columns, tints, strict=True))
        lines.append(f"<tr>{''.join(cells)}</tr>")
    if gap is not None:
        style = f"{_CELL};{_DIM};text-align:left"
        between = f'<td colspan="{len(columns)}" style="{style}">{text(gap.text)}</td>'
        lines.insert(gap.row_index, f"<tr>{between}</tr>")
    return _box(f"<thead><tr>{''.join(heads)}</tr></thead><tbody>{''.join(lines)}</tbody>")


def _box(inner: str, name: str = "vstore-table") -> str:
    return f'<div class="{name}" style="{_BOX}"><table style="{_TABLE}">{inner}</table></div>'


def _side(*, is_right: bool) -> str:
    return "right" if is_right else "left"


def _cell(value: str | None, column: Column, colour: str) -> str:
    is_right = column.is_number
    style = f"{_CELL};text-align:{_side(is_right=is_right)}" + (f";background:{colour}" if colour else "")
    if value is None:
        return f'<td style="{style}"><span style="{_DIM}">NULL</span></td>'
    shown = rounded(value) if is_right and _FRACTIONAL.match(column.type) else value
    title = f' title="{text(value)}"' if shown != value else ""
    return f'<td style="{style}"{title}>{text(shown)}</td>'


def facts(title: str, pairs: Sequence[tuple[str, str]]) -> str:
    """Return a heading and what is known under it: a label and a text in each line."""
    lines = "".join(
        f'<tr><th style="{_CELL};text-align:left;font-weight:400;opacity:.75">{text(label)}</th>'
        f'<td style="{_CELL};max-width:640px;text-align:left;white-space:pre-wrap">{text(value)}</td></tr>'
        for label, value in pairs
    )
    body = _box(f"<tbody>{lines}</tbody>", "vstore-facts") if pairs else ""
    heading = f'<div style="margin:2px 0 4px;font-weight:600">{text(title)}</div>' if title else ""
    return heading + body


def chips(parts: Sequence[tuple[str, str]]) -> str:
    """Return short texts beside each other, each on its colour."""
    return "".join(
        f'<span style="display:inline-block;margin:2px 6px 4px 0;padding:1px 8px;border-radius:9px;font-size:12px;'
        f'background:{colour}">{text(shown)}</span>'
        for shown, colour in parts
    )


def lines(shown: Sequence[str]) -> str:
    """Return small text under a table, a line each."""
    return "".join(
        f'<div class="vstore-line" style="{_SMALL};opacity:.75">{html.escape(printable(line))}</div>' for line in shown
    )


def code(shown: Sequence[str]) -> str:
    """Return lines of code, nothing for none."""
    whole = html.escape(printable("\n".join(shown)))
    return f'<pre style="{_CODE}">{whole}</pre>' if shown else ""


def preformatted(plan: str) -> str:
    """Return text with its line breaks kept, such as DuckDB's plan of a query."""
    return f'<pre style="overflow:auto;margin:2px 0">{html.escape(printable(plan))}</pre>'


def page(*parts: str) -> str:
    """Return parts under each other, as one output."""
    return f"<div>{''.join(parts)}</div>"
