"""What the demonstration prints: headings, notes, SQL and tables.

Nothing is printed wider than ``WIDTH_MAX`` columns except what is there to be copied, and no colour is used where the
output is not a terminal or ``NO_COLOR`` is set.
"""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING, Any, TextIO

from duckvstore.formatting import cell, numeric

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH_MAX = 100
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
