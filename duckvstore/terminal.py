"""What the commands print: headings, notes, SQL and tables, with rich where it is installed and plainly elsewhere.

Invariant: nothing is printed wider than ``WIDTH_MAX`` columns except what is there to be copied, and no colour is
used where the output is no terminal or ``NO_COLOR`` is set.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
import textwrap
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Sequence

WIDTH_MAX = 100
_CELL_CHARACTERS_MIN = 8
_INDENT = "   "
_NUMBER = re.compile(r"-?[\d,]+(\.\d+)?|-?inf|nan|", re.ASCII)


class Screen(ABC):
    """Where a command prints what people read."""

    @abstractmethod
    def title(self, text: str, subtitle: str) -> None:
        """Print the name of what begins, and a line about it."""

    @abstractmethod
    def step(self, number: int, text: str) -> None:
        """Print the heading of a numbered step."""

    @abstractmethod
    def note(self, text: str) -> None:
        """Print a paragraph."""

    @abstractmethod
    def aside(self, text: str) -> None:
        """Print a line of lesser weight."""

    @abstractmethod
    def code(self, text: str, language: str) -> None:
        """Print lines that can be copied as they are; ``language`` is "sql", "python" or "shell"."""

    @abstractmethod
    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Print rows under headings, numbers to the right; None is shown as NULL."""


def open_screen(*, color: bool = True, stream: TextIO | None = None) -> Screen:
    """Return the screen for ``stream`` (standard output by default); without ``color`` it is black and white."""
    stream = stream or sys.stdout
    color = color and not os.environ.get("NO_COLOR")
    if importlib.util.find_spec("rich") is not None:
        return RichScreen(stream, color=color)
    return PlainScreen(stream)


def table_text(columns: Sequence[str], rows: Sequence[Sequence[Any]], width: int | None = None) -> list[str]:
    """Return headings, a rule and rows as lines of at most ``width`` characters (None: as wide as it takes)."""
    texts = [[cell(column) for column in columns], *([cell(value) for value in row] for row in rows)]
    widths = _fitting(texts, width)
    right = [_numeric(rows, position) for position in range(len(columns))]
    lines = []
    for line in texts:
        parts = [
            _shortened(text, size).rjust(size) if is_right else _shortened(text, size).ljust(size)
            for text, size, is_right in zip(line, widths, right, strict=True)
        ]
        lines.append("  ".join(parts).rstrip())
    lines.insert(1, "  ".join("-" * size for size in widths))
    return lines


def _fitting(texts: Sequence[Sequence[str]], width: int | None, gap: int = 2) -> list[int]:
    """Return the widths of columns: those of their longest texts, the widest cut until a line fits into ``width``."""
    widths = [max(len(line[position]) for line in texts) for position in range(len(texts[0]))]
    while width is not None and sum(widths) + gap * (len(widths) - 1) > width and max(widths) > _CELL_CHARACTERS_MIN:
        widths[widths.index(max(widths))] -= 1
    return widths


def _shortened(text: str, size: int) -> str:
    return text if len(text) <= size else text[: size - 1] + "…"


def cell(value: Any) -> str:
    """Return a value as one line of text."""
    if value is None:
        return "NULL"
    if isinstance(value, (list, tuple)):
        value = ", ".join(map(str, value))
    return "".join(character if character.isprintable() else " " for character in str(value))


def _width(stream: TextIO) -> int:
    is_terminal = hasattr(stream, "isatty") and stream.isatty()
    return min(WIDTH_MAX, shutil.get_terminal_size((WIDTH_MAX, 24)).columns) if is_terminal else WIDTH_MAX


def _numeric(rows: Sequence[Sequence[Any]], position: int) -> bool:
    values = [row[position] for row in rows if row[position] is not None]
    return bool(values) and all(_NUMBER.fullmatch(str(value)) for value in values)


class PlainScreen(Screen):
    """Text without any control sequences."""

    def __init__(self, stream: TextIO) -> None:
        """Print to ``stream``."""
        self._stream = stream
        self._width = _width(stream)

    def _print(self, text: str = "") -> None:
        self._stream.write(text + "\n")

    def _wrapped(self, text: str) -> None:
        for line in text.split("\n"):
            wrapped = textwrap.fill(
                line,
                self._width - len(_INDENT),
                initial_indent=_INDENT,
                subsequent_indent=_INDENT,
                break_long_words=False,
                break_on_hyphens=False,
            )
            self._print(wrapped)

    def title(self, text: str, subtitle: str) -> None:  # noqa: D102
        self._print(f"\n{text}\n{'=' * len(text)}")
        self._print(subtitle)

    def step(self, number: int, text: str) -> None:  # noqa: D102
        self._print(f"\n{number}. {text}\n")

    def note(self, text: str) -> None:  # noqa: D102
        self._wrapped(text)

    def aside(self, text: str) -> None:  # noqa: D102
        self._wrapped(text)

    def code(self, text: str, language: str) -> None:  # noqa: ARG002, D102
        self._print(textwrap.indent(text, _INDENT + "  "))

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:  # noqa: D102
        for line in table_text(columns, rows, self._width - len(_INDENT)):
            self._print(_INDENT + line)


class RichScreen(Screen):
    """Colours, rules and boxes through the package rich."""

    def __init__(self, stream: TextIO, *, color: bool) -> None:
        """Print to ``stream``."""
        from rich.console import Console

        options: dict[str, Any] = {} if color else {"color_system": None}
        self._console = Console(
            file=stream, width=_width(stream), highlight=False, emoji=False, markup=False, **options
        )

    def title(self, text: str, subtitle: str) -> None:  # noqa: D102
        from rich.panel import Panel
        from rich.text import Text

        body = Text.assemble((text, "bold"), "\n", (subtitle, "dim"))
        self._console.print()
        self._console.print(Panel(body, border_style="yellow", padding=(0, 2)))

    def step(self, number: int, text: str) -> None:  # noqa: D102
        from rich.text import Text

        self._console.print()
        self._console.print(Text.assemble((f" {number} ", "bold black on yellow"), " ", (text, "bold")))
        self._console.print()

    def note(self, text: str) -> None:  # noqa: D102
        from rich.padding import Padding
        from rich.text import Text

        self._console.print(Padding(Text(text), (0, 0, 0, len(_INDENT)), expand=False))

    def aside(self, text: str) -> None:  # noqa: D102
        from rich.padding import Padding
        from rich.text import Text

        self._console.print(Padding(Text(text, "dim"), (0, 0, 0, len(_INDENT)), expand=False))

    def code(self, text: str, language: str) -> None:  # noqa: D102
        from rich.syntax import Syntax

        lexer = {"shell": "bash"}.get(language, language)
        highlighted = Syntax("", lexer, theme="ansi_dark", background_color="default").highlight(text)
        highlighted.rstrip()
        for line in highlighted.split("\n"):
            # Not wrapped and not padded: it must be possible to copy it.
            self._console.print(_INDENT + "  ", end="")
            self._console.print(line, soft_wrap=True)

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:  # noqa: D102
        from rich import box
        from rich.padding import Padding
        from rich.table import Table
        from rich.text import Text

        texts = [[cell(column) for column in columns], *([cell(value) for value in row] for row in rows)]
        widths = _fitting(texts, self._console.width - len(_INDENT) - 2, gap=3)
        table = Table(box=box.SIMPLE_HEAD, header_style="bold cyan", pad_edge=False, padding=(0, 1))
        for position, (column, width) in enumerate(zip(columns, widths, strict=True)):
            right = _numeric(rows, position)
            table.add_column(_shortened(column, width), justify="right" if right else "left", no_wrap=True)
        for row, line in zip(rows, texts[1:], strict=True):
            shown = zip(row, line, widths, strict=True)
            table.add_row(
                *(Text(_shortened(text, width), "dim" if value is None else "") for value, text, width in shown)
            )
        self._console.print(Padding(table, (0, 0, 0, len(_INDENT)), expand=False))
