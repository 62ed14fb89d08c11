"""Completion in ``%vstore`` lines, ``%%vstore`` cells and the shell: symbols, columns, snapshots, versions, options.

Completion never raises and never waits for more than a listing and a few documents; what cannot be looked up is
not offered.
"""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from duckvstore import clock
from duckvstore.errors import NotFound
from duckvstore.jupyter import request
from duckvstore.jupyter.names import sql_name
from duckvstore.sql.syntax.timetravel import AT_KINDS
from duckvstore.sql.syntax.tokens import Token, scan, unquoted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from IPython.core.completer import CompletionContext, SimpleMatcherResult

    from duckvstore.api.overview import Overview
    from duckvstore.jupyter.connection import Connection

IDENTIFIER = "vstore"
OFFERED_MAX = 500
VERSIONS_MAX = 50
LISTING_USABLE_SECONDS = 5.0
_LINE = re.compile(r"^\s*(?:[^\W\d]\w*\s*=\s*)?%vstore[ \t]+", re.MULTILINE)
_CELL = re.compile(r"\s*(?P<magic>%%vstore\b)[^\n]*")
_BEFORE_A_TABLE = ("FROM", "JOIN", "DESCRIBE", "SUMMARIZE", "TABLE", "PIVOT", "UNPIVOT")
_CATALOGUE_TABLES = ("symbols", "versions", "segments", "columns", "snapshots")
_Offer = tuple[str, str]


def matcher(connection: Connection, variables: Callable[[], dict[str, Any]]) -> Any:
    """Return a matcher for ``ip.Completer.custom_matchers`` over what ``connection`` is connected to."""
    from IPython.core.completer import SimpleCompletion, SimpleMatcherResult, context_matcher

    offers = Offers(connection, variables)

    @context_matcher(identifier=IDENTIFIER)  # type: ignore[untyped-decorator]
    def match(context: CompletionContext) -> SimpleMatcherResult:
        try:
            fragment, found = offers.at(_until_cursor(context), context.full_text)
        except Exception:  # noqa: BLE001 - an error here would show in the middle of typing
            fragment, found = "", []
        if not found or not context.token.endswith(fragment):
            return SimpleMatcherResult(completions=[], suppress=False)
        completions = [SimpleCompletion(text=text, type=kind) for text, kind in found[:OFFERED_MAX]]
        return SimpleMatcherResult(completions=completions, matched_fragment=fragment, suppress=True, ordered=True)

    return match


def _until_cursor(context: CompletionContext) -> str:
    lines = context.full_text.split("\n")[: context.cursor_line + 1]
    lines[-1] = lines[-1][: context.cursor_position]
    return "\n".join(lines)


class Offers:
    """What can follow at a position."""

    def __init__(self, connection: Connection, variables: Callable[[], dict[str, Any]]) -> None:
        """Look up in ``connection``; ``variables`` gives the notebook's."""
        self._connection = connection
        self._variables = variables
        self._symbols: dict[str, tuple[clock.Stopwatch, list[str]]] = {}

    def at(self, text: str, whole: str) -> tuple[str, list[_Offer]]:
        """Return the unfinished word that ends ``text``, and its completions, as (text, kind).

        ``whole`` is the cell, of which ``text`` is the part before the cursor.
        """
        cell = _CELL.match(text)
        if cell is not None and "\n" not in text[cell.start("magic") :]:
            return self._option(text[cell.end("magic") :], "")
        if cell is not None:
            return self.sql(text[cell.end() :], whole[cell.end() :])
        lines = list(_LINE.finditer(text))
        if not lines or "\n" in text[lines[-1].end() :]:
            return "", []
        start = lines[-1].end()
        end = whole.find("\n", start)
        return self._option(text[start:], whole[start : end if end >= 0 else len(whole)])

    def _option(self, line: str, whole: str) -> tuple[str, list[_Offer]]:
        *before, fragment = re.split(r"\s", line)
        if before and before[-1] in ("-t", "--type"):
            return fragment, _starting(fragment, request.TYPES, "option")
        if before and before[-1] == "--at":
            return fragment, _starting(fragment, self._snapshots(), "snapshot")
        if fragment.startswith("-"):
            return fragment, _starting(fragment, request.OPTIONS, "option")
        return self.sql(line, whole)

    def sql(self, sql: str, whole: str) -> tuple[str, list[_Offer]]:
        """Return what ``at`` does, for SQL: ``sql`` is the part of ``whole`` before the cursor."""
        tokens, _ = scan(sql)
        ended = not tokens or tokens[-1].end < len(sql)
        begun = None if ended or tokens[-1].kind not in ("word", "number", "unclosed", "parameter") else tokens[-1]
        before = tokens[:-1] if begun is not None else tokens
        words = [token.upper for token in before[-3:]]
        fragment = "" if begun is None else begun.text
        if begun is not None and begun.kind == "unclosed":
            fragment = begun.text[1:]
            if "AT" in words and words[-1] in ("SNAPSHOT", ">") and begun.text[0] == "'":
                return fragment, _starting(fragment, self._snapshots(), "snapshot")
            return "", []
        if (begun is not None and begun.kind == "parameter") or sql.endswith("$"):
            name = fragment[1:]
            return name, _starting(name, self._parameters(), "parameter")
        return fragment, self._named(fragment, before, words, scan(whole)[0])

    def _named(self, fragment: str, before: list[Token], words: list[str], whole: list[Token]) -> list[_Offer]:
        if words[-2:] == ["AT", "VERSION"]:
            return _starting(fragment, self._versions(before), "version")
        if words[-2:] == ["AT", "SNAPSHOT"]:
            quoted = [f"'{name.replace(chr(39), chr(39) * 2)}'" for name in self._snapshots()]
            return _starting(fragment, quoted, "snapshot")
        if words[-1:] == ["AT"]:
            return _starting(fragment, AT_KINDS, "keyword")
        if words[-1:] == ["."] and len(before) > 1:
            return self._qualified(fragment, before, whole)
        if words[-1:] and words[-1] in _BEFORE_A_TABLE:
            return self._tables(fragment)
        columns = self._columns(whole, None)
        return [*_starting(fragment, columns, "column"), *self._tables(fragment)] if fragment or columns else []

    def _qualified(self, fragment: str, before: list[Token], whole: list[Token]) -> list[_Offer]:
        qualifier = unquoted(before[-2])
        if qualifier.lower() == "vstore":
            return _starting(fragment, _CATALOGUE_TABLES, "table")
        if qualifier in self._snapshots():
            held = [name for overview in self._overviews() for name in overview.snapshot(qualifier).versions]
            return _starting(fragment, map(sql_name, held), "symbol")
        return _starting(fragment, self._columns(whole, qualifier), "column")

    def _tables(self, fragment: str) -> list[_Offer]:
        symbols = _starting(
            fragment, [sql_name(name) for overview in self._overviews() for name in self._listed(overview)], "symbol"
        )
        return [*symbols, *_starting(fragment, ["vstore"], "schema")]

    def _overviews(self) -> list[Overview]:
        """Return a view of the library for completion, if there is one."""
        found = self._connection.overview()
        return [] if found is None else [found]

    def _listed(self, overview: Overview) -> list[str]:
        watch, names = self._symbols.get(overview.library_id, (None, []))
        if watch is None or watch.elapsed_seconds() > LISTING_USABLE_SECONDS:
            watch, names = clock.Stopwatch(), overview.symbols()
            self._symbols[overview.library_id] = watch, names
        return list(dict.fromkeys([*names, *overview.touched()]))

    def _snapshots(self) -> list[str]:
        return [name for overview in self._overviews() for name in overview.snapshot_names()]

    def _parameters(self) -> list[str]:
        plain = (bool, int, float, str, bytes)
        found = self._variables().items()
        return [
            name
            for name, value in found
            if not name.startswith("_") and (isinstance(value, plain) or hasattr(value, "isoformat"))
        ]

    def _versions(self, before: list[Token]) -> list[str]:
        """Return the numbers of the symbol named last before AT, newest first."""
        for overview in self._overviews():
            known = set(self._listed(overview))
            for token in reversed(before[:-2]):
                symbol = unquoted(token)
                if symbol in known:
                    return list(map(str, overview.versions(symbol)[:VERSIONS_MAX]))
        return []

    def _columns(self, tokens: list[Token], qualifier: str | None) -> list[str]:
        """Return the columns of the symbols that the SQL names; with ``qualifier`` only of the one with that name."""
        found: dict[str, None] = {}
        for overview in self._overviews():
            known = set(self._listed(overview))
            for index, token in enumerate(tokens):
                name = unquoted(token)
                if name not in known or not index or tokens[index - 1].upper not in (*_BEFORE_A_TABLE, ",", "."):
                    continue
                if qualifier in (None, name, *_aliases(tokens[index + 1 :])):
                    with suppress(NotFound):  # it was deleted
                        found.update(dict.fromkeys(sql_name(column.name) for column in overview.columns(name)))
        return list(found)


def _aliases(following: list[Token]) -> list[str]:
    """Return the words after a table's name that may be its alias."""
    words = []
    for token in following[:6]:
        if token.upper in ("JOIN", "WHERE", "ON", "GROUP", "ORDER", ",", ";"):
            break
        words.append(unquoted(token))
    return words


def _starting(fragment: str, texts: Iterable[str], kind: str) -> list[_Offer]:
    folded = fragment.casefold()
    return [
        (text, kind) for text in texts if text.casefold().startswith(folded) or text.casefold().startswith(f'"{folded}')
    ]
