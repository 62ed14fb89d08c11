"""What a ``%vstore`` line or ``%%vstore`` cell asks for: its options and its SQL.

Only leading options are parsed; the SQL after them reaches DuckDB as typed, so a quote, a ``--comment`` or an
``a -b`` in it has its meaning in SQL.
"""

from __future__ import annotations

import ast
import keyword
import re
from dataclasses import dataclass, field
from typing import Any

from duckvstore.errors import InvalidInput, nearest

TYPES = ("pandas", "polars", "arrow")
_SHORT = {"-o": "--output", "-t": "--type", "-p": "--param", "-l": "--library", "-n": "--limit"}
_VALUED = ("--output", "--type", "--param", "--library", "--limit", "--at")
_FLAGS = ("--explain", "--show-sql", "--no-display", "--plot")
OPTIONS = (*_VALUED, *_FLAGS)

_ASSIGNMENT = re.compile(r"([^\W\d]\w*)\s*<<")
_OPTION = re.compile(r"--[A-Za-z][A-Za-z-]*|-[A-Za-z]")


@dataclass(frozen=True, slots=True)
class Request:
    """A query: ``sql`` as typed, and the options before it.

    ``output``: the variable to assign. ``type``: pandas, polars or arrow. ``at``: version, snapshot or time for
    every symbol without an AT of its own. ``parameters``: from ``-p``. ``limit``: rows at most.
    """

    sql: str
    output: str | None = None
    type: str = "pandas"
    at: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict)
    limit: int | None = None
    library: str | None = None
    explain: bool = False
    show_sql: bool = False
    no_display: bool = False
    plot: bool = False


def parse(line: str, cell: str | None = None) -> Request:
    """Return what the magic's ``line``, and the body of a cell, ask for. Raises InvalidInput."""
    found: dict[str, Any] = {"parameters": {}}
    position = 0
    while True:
        position = _skip_spaces(line, position)
        assignment = _ASSIGNMENT.match(line, position)
        if assignment is not None and "output" not in found:
            found["output"] = _variable(assignment[1])
            position = assignment.end()
            continue
        option = _OPTION.match(line, position)
        if option is None:
            break
        position = _read_option(line, option, found)
    rest = line[position:]
    if cell is not None:
        rest = f"{rest}\n{cell}" if rest.strip() else cell
    return Request(sql=rest, **found)


def _read_option(line: str, option: re.Match[str], found: dict[str, Any]) -> int:
    """Put the option at this place into ``found``; return where the next thing starts."""
    name = _SHORT.get(option[0], option[0])
    if name not in OPTIONS:
        raise InvalidInput(f"%vstore has no option {option[0]}.{nearest(name, OPTIONS)} It has {', '.join(OPTIONS)}")
    attribute = name[2:].replace("-", "_")
    if name in _FLAGS:
        found[attribute] = True
        return option.end()
    start = option.end()
    start = start + 1 if line.startswith("=", start) else _skip_spaces(line, start)
    value, end = _value(line, start)
    if end == start:
        raise InvalidInput(f"{option[0]} needs a value: {_example(name)}")
    if name == "--param":
        key, parameter = _parameter(value)
        found["parameters"][key] = parameter
    elif name == "--limit":
        found[attribute] = _count(value)
    elif name == "--output":
        found[attribute] = _variable(unquoted(value))
    else:
        found[attribute] = _type(unquoted(value)) if name == "--type" else unquoted(value)
    return end


def _skip_spaces(line: str, position: int) -> int:
    while position < len(line) and line[position].isspace():
        position += 1
    return position


def _value(line: str, start: int) -> tuple[str, int]:
    """Return the word at ``start``, quotes kept, and its end; spaces within quotes belong to it."""
    position, quote = start, ""
    while position < len(line) and (quote or not line[position].isspace()):
        character = line[position]
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        position += 1
    if quote:
        raise InvalidInput(f"the quote {quote} in {line[start:position]} is not closed")
    return line[start:position], position


def unquoted(value: str) -> str:
    """Return a name or value that may be quoted, as in a shell or in SQL."""
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        return value[1:-1].replace(value[0] * 2, value[0])
    return value


def _variable(name: str) -> str:
    if not name.isidentifier() or keyword.iskeyword(name):
        raise InvalidInput(f"{name!r} is no name for a Python variable")
    return name


def _type(name: str) -> str:
    name = {"pyarrow": "arrow", "pd": "pandas", "pl": "polars"}.get(name, name)
    if name not in TYPES:
        raise InvalidInput(f"--type {name} is none of {', '.join(TYPES)}.{nearest(name, TYPES)}")
    return name


def _count(value: str) -> int:
    if not value.isdecimal():
        raise InvalidInput(f"--limit {value} is no number of rows: {_example('--limit')}")
    return int(value)


def _parameter(value: str) -> tuple[str, Any]:
    name, separator, text = value.partition("=")
    if not separator or not name.isidentifier():
        raise InvalidInput(f"-p {value} is not of the form name=value: {_example('--param')}")
    try:
        return name, ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return name, text


def _example(name: str) -> str:
    return {
        "--output": "-o frame",
        "--type": "-t polars",
        "--param": "-p threshold=10",
        "--library": "-l eod",
        "--limit": "--limit 100",
        "--at": "--at 3, --at 'my snapshot' or --at 2026-01-31",
    }[name]
