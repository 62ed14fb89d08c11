"""What commands print: tables and JSON, questions before anything is removed, and the pages of the demonstration.

On a terminal a table is as wide as that, with colours unless ``NO_COLOR`` is set, and a long one goes through a pager;
in a file or a pipe nothing is cut or coloured.

Invariant: whatever a store holds, nothing of it acts on a terminal.
"""

from __future__ import annotations

import io
import json
import math
import os
import shutil
import sys
from dataclasses import fields, is_dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, TextIO

import click

from duckvstore.errors import printable
from duckvstore.formatting import cell, numeric, shortened, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckvstore.cli.places import Place

WIDTH_MAX = 100
COLUMN_CELLS_MAX = 60  # of a column on a terminal, unless all of them fit
COLUMN_CELLS_MIN = 6
_GAP = 3  # between columns: their padding, and the box's blank
_INDENT = "   "


class Screen:
    """Where a command prints what people read."""

    def __init__(self, stream: TextIO | None = None, *, color: bool = True) -> None:
        """Print to ``stream`` (standard output by default); without ``color`` in black and white."""
        from rich.console import Console

        stream = stream or sys.stdout
        options: dict[str, Any] = {} if color and not os.environ.get("NO_COLOR") else {"color_system": None}
        self._console = Console(
            file=stream, width=_width(stream), highlight=False, emoji=False, markup=False, **options
        )

    def _indented(self, content: Any) -> None:
        from rich.padding import Padding

        self._console.print(Padding(content, (0, 0, 0, len(_INDENT)), expand=False))

    def title(self, text: str, subtitle: str) -> None:
        """Print the name of what begins, and a line about it."""
        from rich.panel import Panel
        from rich.text import Text

        body = Text.assemble((text, "bold"), "\n", (subtitle, "dim"))
        self._console.print()
        self._console.print(Panel(body, border_style="yellow", padding=(0, 2)))

    def step(self, number: int, text: str) -> None:
        """Print the heading of a numbered step."""
        from rich.text import Text

        self._console.print()
        self._console.print(Text.assemble((f" {number} ", "bold black on yellow"), " ", (text, "bold")))
        self._console.print()

    def note(self, text: str) -> None:
        """Print a paragraph."""
        from rich.text import Text

        self._indented(Text(text))

    def aside(self, text: str) -> None:
        """Print a line of lesser weight."""
        from rich.text import Text

        self._indented(Text(text, "dim"))

    def code(self, text: str, language: str) -> None:
        """Print lines that can be copied as they are; ``language`` is "sql", "python" or "shell"."""
        from rich.syntax import Syntax

        lexer = {"shell": "bash"}.get(language, language)
        highlighted = Syntax("", lexer, theme="ansi_dark", background_color="default").highlight(text)
        highlighted.rstrip()
        for line in highlighted.split("\n"):
            # Not wrapped and not padded: it must be possible to copy it.
            self._console.print(_INDENT + "  ", end="")
            self._console.print(line, soft_wrap=True)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Print rows under headings, numbers to the right; None is shown as NULL."""
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, header_style="bold cyan", pad_edge=False, padding=(0, 1))
        right = numeric(rows, len(columns))
        for position, column in enumerate(columns):
            table.add_column(cell(column), justify="right" if position in right else "left")
        for row in rows:
            texts = ((cell(value), "dim" if value is None else "") for value in row)
            table.add_row(*(Text(text, style, no_wrap=True, overflow="ellipsis") for text, style in texts))
        self._indented(table)


def _width(stream: TextIO) -> int:
    is_terminal = hasattr(stream, "isatty") and stream.isatty()
    return min(WIDTH_MAX, shutil.get_terminal_size((WIDTH_MAX, 24)).columns) if is_terminal else WIDTH_MAX


def show_json(value: Any) -> None:
    """Print ``value`` as JSON in ASCII: every value as it is, and nothing that acts on a terminal."""
    sys.stdout.write(json.dumps(plain(value), indent=2, allow_nan=False) + "\n")


def plain(value: Any) -> Any:
    """Return ``value`` as JSON can hold it: times in ISO 8601, durations in seconds, NaN and infinities as text."""
    if is_dataclass(value) and not isinstance(value, type):
        named = {one.name: getattr(value, one.name) for one in fields(value) if not one.name.startswith("_")}
        return plain(named)
    if hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return {math.inf: "Infinity", -math.inf: "-Infinity"}.get(value, "NaN")
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)


def show_text(text: str, place: Place) -> None:
    """Print lines, through a pager where they do not fit on the terminal."""
    lines_max = shutil.get_terminal_size().lines - 1
    if sys.stdout.isatty() and not place.no_pager and text.count("\n") >= lines_max:
        os.environ.setdefault("LESS", "FRX")
        click.echo_via_pager(text, color=True)
    else:
        sys.stdout.write(f"{text}\n")


def show_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], place: Place, below: Sequence[str] = ()) -> None:
    """Print rows under headings, and lines below."""
    lines = wide_table(columns, rows) if sys.stdout.isatty() else "\n".join(table(columns, rows))
    show_text("\n".join([lines, *(printable(line, is_line=True) for line in below)]), place)


def wide_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], kinds: Sequence[str] = ()) -> str:
    """Return rows under headings (and ``kinds`` under these) as wide as the terminal; None is NULL.

    Where not all of them fit, columns are cut; those for which there is no room at all are counted in a line below.
    """
    from rich import box
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    room = shutil.get_terminal_size().columns
    heads = [
        cell(name) + (f"\n{shortened(cell(kind), COLUMN_CELLS_MAX)}" if kinds else "")
        for name, kind in zip(columns, kinds or columns, strict=True)
    ]
    texts = [[shortened(cell(value), 4 * room) for value in row] for row in rows]
    widths = [
        max(*(cell_len(line) for line in head.split("\n")), *(cell_len(row[at]) for row in texts), 1)
        for at, head in enumerate(heads)
    ]
    if sum(widths) + _GAP * (len(widths) - 1) > room:
        widths = [min(width, COLUMN_CELLS_MAX) for width in widths]
    shown = len(widths)
    while shown > 1 and sum(min(width, COLUMN_CELLS_MIN) + _GAP for width in widths[:shown]) - _GAP > room:
        shown -= 1
    widths = widths[:shown]
    while sum(widths) + _GAP * (shown - 1) > room and max(widths) > 1:
        widths[widths.index(max(widths))] -= 1
    right = numeric(texts, len(columns))
    drawn = Table(box=box.SIMPLE_HEAD, header_style="bold cyan", pad_edge=False, padding=(0, 1), show_edge=False)
    for at, (head, width) in enumerate(zip(heads, widths, strict=False)):
        drawn.add_column(Text(head), justify="right" if at in right else "left", no_wrap=True, width=width)
    for row, values in zip(texts, rows, strict=True):
        drawn.add_row(*(Text(row[at], "dim" if values[at] is None else "", overflow="ellipsis") for at in range(shown)))
    stream = io.StringIO()
    colors: dict[str, Any] = {"color_system": None} if os.environ.get("NO_COLOR") else {"force_terminal": True}
    Console(file=stream, width=room, highlight=False, emoji=False, markup=False, **colors).print(drawn)
    left_out = len(columns) - shown
    return stream.getvalue().rstrip("\n") + (f"\n… and {left_out} more columns" if left_out else "")


class Unconfirmed(click.ClickException):
    """Nobody is there to say yes."""


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something is removed. Raises Unconfirmed where nobody can answer, and Abort for a no."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise Unconfirmed(f"this would {printable(question, is_line=True)}: add --yes to do it")
    click.confirm(printable(question[:1].upper() + question[1:], is_line=True) + "?", abort=True, err=True)


def quoted(name: str) -> str:
    """Return a name as one line that is harmless, in quotes where it is not a plain word."""
    return name if name.replace("_", "").isalnum() and name.isascii() else printable(repr(name), is_line=True)


def say(text: str) -> None:
    """Print a line about what happens, which is no part of the output, to standard error."""
    sys.stderr.write(f"{printable(text, is_line=True)}\n")


def time_text(time: Any) -> str:
    """Return a time to the second."""
    return f"{time:%Y-%m-%d %H:%M:%S}"
