"""Statements about the store alone: BEGIN, COMMIT and ROLLBACK, CREATE and DROP SNAPSHOT, RESTORE TABLE."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from duckvstore.sql.syntax import timetravel
from duckvstore.sql.syntax.tokens import Token, dotted

if TYPE_CHECKING:
    from duckvstore.sql.syntax.statement import Statement
    from duckvstore.sql.syntax.timetravel import At

_TRANSACTION_WORDS: dict[str, Literal["begin", "commit", "rollback"]] = {
    "BEGIN": "begin",
    "START": "begin",
    "COMMIT": "commit",
    "END": "commit",
    "ROLLBACK": "rollback",
    "ABORT": "rollback",
}
_RESTORE = "RESTORE TABLE trades TO VERSION 3, TO TIMESTAMP '2026-11-20' or TO SNAPSHOT 'eod'"
_NAME_KINDS = ("word", "quoted", "string")


@dataclass(frozen=True, slots=True)
class Command:
    """What a statement asks of the store. ``kind``: begin, commit, rollback, create_snapshot, drop_snapshot or restore.

    ``parts``: the dotted name of the snapshot or symbol, from character ``start`` on. ``is_tolerant``: IF [NOT] EXISTS.
    ``at``: which state to restore. ``is_read_only``: BEGIN … READ ONLY.
    """

    kind: Literal["begin", "commit", "rollback", "create_snapshot", "drop_snapshot", "restore"]
    parts: tuple[str, ...] = ()
    start: int = 0
    is_tolerant: bool = False
    at: At | None = None
    is_read_only: bool = False


def read(statement: Statement) -> Command | None:
    """Return the command that ``statement`` is, None for any other; raises SqlError where it is malformed."""
    tokens = statement.tokens
    words = [token.upper for token in tokens[:4]] + [""] * 4
    if words[0] in _TRANSACTION_WORDS:
        kind = _TRANSACTION_WORDS[words[0]]
        rest = [token.upper for token in tokens[1:] if token.text != ";"]
        is_read_only = kind == "begin" and rest[-2:] == ["READ", "ONLY"]
        if is_read_only or (kind == "begin" and rest[-2:] == ["READ", "WRITE"]):
            rest = rest[:-2]
        return Command(kind, is_read_only=is_read_only) if rest in ([], ["TRANSACTION"], ["WORK"]) else None
    if words[:2] == ["CREATE", "SNAPSHOT"]:
        return _snapshot(statement, "create_snapshot", ["IF", "NOT", "EXISTS"])
    if words[:2] == ["DROP", "SNAPSHOT"]:
        return _snapshot(statement, "drop_snapshot", ["IF", "EXISTS"])
    if words[:2] == ["RESTORE", "TABLE"]:
        return _restore(statement)
    if words[0] == "RESTORE":
        raise statement.error(f"RESTORE is for a table: write {_RESTORE}", tokens[0].start)
    return None


def _snapshot(statement: Statement, kind: Literal["create_snapshot", "drop_snapshot"], tolerant: list[str]) -> Command:
    tokens, index = statement.tokens, 2 + len(tolerant)
    is_tolerant = [token.upper for token in tokens[2:index]] == tolerant and len(tokens) > index
    index = index if is_tolerant else 2
    parts, end = dotted(tokens, index, _NAME_KINDS)
    verb = kind.partition("_")[0].upper()
    if not parts:
        place = tokens[index].start if index < len(tokens) else len(statement.text)
        raise statement.error(f'{verb} SNAPSHOT needs a name: write {verb} SNAPSHOT "eod-2026-11-20"', place)
    if end < len(tokens):
        raise statement.error(f"{tokens[end].text} is too much: {verb} SNAPSHOT takes a name alone", tokens[end].start)
    return Command(kind, parts, tokens[index].start, is_tolerant)


def _restore(statement: Statement) -> Command:
    tokens = statement.tokens
    parts, end = dotted(tokens, 2, _NAME_KINDS)
    if not parts or end >= len(tokens) or tokens[end].upper != "TO":
        place = tokens[min(end, len(tokens) - 1)].start
        raise statement.error(f"RESTORE TABLE needs a symbol and a version: write {_RESTORE}", place)
    to = tokens[end]
    # The words after TO are those of an AT form.
    asked = [*tokens[:end], Token("word", "AT", to.start, to.end), *tokens[end + 1 :]]
    counts = {place: found.position for place, found in statement.parameters if found.position is not None}
    clauses, malformed = timetravel.find(asked, counts)
    if malformed or len(clauses) != 1 or clauses[0].end != tokens[-1].end:
        message = malformed[0].message if malformed else f"write {_RESTORE}"
        raise statement.error(f"RESTORE TABLE: {message}", to.start)
    return Command("restore", parts, tokens[2].start, at=clauses[0].at)
