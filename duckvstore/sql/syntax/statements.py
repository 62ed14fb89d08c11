"""Statements that make versions: which ones they are, and where their parts stand in the user's text. Pure.

Invariant: nothing here changes what a statement says; positions are characters of the statement's own text.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from sqlglot import exp

from duckvstore.sql.syntax import timetravel
from duckvstore.sql.syntax.tokens import Token, closing, scan

if TYPE_CHECKING:
    from duckvstore.sql.syntax.parser import At, Statement

MESSAGE_CHARACTERS_MAX = 1000
_TRANSACTION_WORDS: dict[str, Literal["begin", "commit", "rollback"]] = {
    "BEGIN": "begin",
    "START": "begin",
    "COMMIT": "commit",
    "END": "commit",
    "ROLLBACK": "rollback",
    "ABORT": "rollback",
}
_RESTORE = "RESTORE TABLE trades TO VERSION 3, TO TIMESTAMP '2026-11-20' or TO SNAPSHOT 'eod'"
_ROW_KINDS = frozenset(("insert", "update", "delete", "merge", "truncate"))


@dataclass(frozen=True, slots=True)
class Change:
    """A statement that is ours alone: ``kind`` is begin, commit, rollback, create_snapshot, drop_snapshot or restore.

    ``parts``: the dotted name of the snapshot or symbol, from character ``start`` on. ``is_tolerant``: IF [NOT] EXISTS.
    ``at``: which state to restore. ``is_read_only``: BEGIN … READ ONLY.
    """

    kind: Literal["begin", "commit", "rollback", "create_snapshot", "drop_snapshot", "restore"]
    parts: tuple[str, ...] = ()
    start: int = 0
    is_tolerant: bool = False
    at: At | None = None
    is_read_only: bool = False


# Kinds of statements that DuckDB has, so that their words need not be looked at.
_DUCKDBS_KINDS = frozenset(("query", "explain", "describe", "summarize", "insert", "update", "delete", "merge"))


@lru_cache(maxsize=256)
def own_change(statement: Statement) -> Change | None:
    """Return what ``statement`` asks for if DuckDB has no such statement; raises SqlError where it is malformed."""
    if statement.kind in _DUCKDBS_KINDS and statement.tree is not None:
        return None
    tokens, _ = scan(statement.text)
    words = [token.upper for token in tokens[:4]] + [""] * 4
    if words[0] in _TRANSACTION_WORDS:
        kind = _TRANSACTION_WORDS[words[0]]
        rest = [token.upper for token in tokens[1:] if token.text != ";"]
        is_read_only = kind == "begin" and rest[-2:] == ["READ", "ONLY"]
        if is_read_only or (kind == "begin" and rest[-2:] == ["READ", "WRITE"]):
            rest = rest[:-2]
        return Change(kind, is_read_only=is_read_only) if rest in ([], ["TRANSACTION"], ["WORK"]) else None
    if words[:2] == ["CREATE", "SNAPSHOT"]:
        return _snapshot(statement, tokens, "create_snapshot", ["IF", "NOT", "EXISTS"])
    if words[:2] == ["DROP", "SNAPSHOT"]:
        return _snapshot(statement, tokens, "drop_snapshot", ["IF", "EXISTS"])
    if words[:2] == ["RESTORE", "TABLE"]:
        return _restore(statement, tokens)
    if words[0] == "RESTORE":
        raise statement.error(f"RESTORE is for a table: write {_RESTORE}", tokens[0].start)
    return None


def _snapshot(
    statement: Statement, tokens: list[Token], kind: Literal["create_snapshot", "drop_snapshot"], tolerant: list[str]
) -> Change:
    index = 2
    is_tolerant = [token.upper for token in tokens[2 : 2 + len(tolerant)]] == tolerant and len(tokens) > 2 + len(
        tolerant
    )
    index += len(tolerant) if is_tolerant else 0
    parts, end = dotted(tokens, index)
    verb = kind.partition("_")[0].upper()
    if not parts:
        place = tokens[index].start if index < len(tokens) else len(statement.text)
        raise statement.error(f'{verb} SNAPSHOT needs a name: write {verb} SNAPSHOT "eod-2026-11-20"', place)
    if end < len(tokens):
        raise statement.error(f"{tokens[end].text} is too much: {verb} SNAPSHOT takes a name alone", tokens[end].start)
    return Change(kind, parts, tokens[index].start, is_tolerant)


def _restore(statement: Statement, tokens: list[Token]) -> Change:
    parts, end = dotted(tokens, 2)
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
    return Change("restore", parts, tokens[2].start, at=clauses[0].at)


def dotted(tokens: list[Token], index: int) -> tuple[tuple[str, ...], int]:
    """Return the parts of the dotted name at ``index`` and the index behind it; a name may be a string too."""
    parts: list[str] = []
    while index < len(tokens) and tokens[index].kind in ("word", "quoted", "string"):
        token = tokens[index]
        mark = token.text[0]
        parts.append(token.text[1:-1].replace(mark * 2, mark) if mark in "\"'`" else token.text)
        index += 1
        if index >= len(tokens) or tokens[index].text != ".":
            break
        index += 1
    return tuple(parts), index


def target(statement: Statement) -> int | None:
    """Return the position of the reference that ``statement`` would change as a table; None: it changes none.

    A temporary table is DuckDB's own affair.
    """
    tree = statement.tree
    if tree is None or statement.kind == "explain":
        return None
    if statement.kind == "create_table":
        is_ours = tree.find(exp.TemporaryProperty) is None
    elif statement.kind in ("drop", "alter"):
        is_ours = str(tree.args.get("kind") or "").upper() == "TABLE"
    else:
        is_ours = statement.kind in _ROW_KINDS or statement.kind == "copy"
    if not is_ours:
        return None
    return next((at for at, found in enumerate(statement.references) if found.role == "target"), None)


def is_tolerant(statement: Statement) -> bool:
    """Whether it says IF EXISTS or IF NOT EXISTS."""
    return bool(statement.tree is not None and statement.tree.args.get("exists"))


def message_of(statement: Statement) -> str:
    """Return the text of ``statement`` as the message of the version that it makes, cut where it is long."""
    written = statement.written or statement.text
    text = " ".join(written.split()) if "\n" not in written else written.strip()
    return text if len(text) <= MESSAGE_CHARACTERS_MAX else text[:MESSAGE_CHARACTERS_MAX] + " …"


@dataclass(frozen=True, slots=True)
class Parts:
    """Where the words of a statement outside all parentheses stand: character of each first one, None for none.

    ``returning``: of RETURNING. ``query``: where the query of CREATE TABLE … AS begins. ``source``: what stands
    behind USING or FROM; ``where``: of WHERE.
    """

    returning: int | None = None
    query: int | None = None
    source: int | None = None
    where: int | None = None


def parts(statement: Statement, target_end: int) -> Parts:
    """Return the places of the words behind ``target_end``, the end of the target's name."""
    tokens, _ = scan(statement.text)
    found: dict[str, int] = {}
    index = next((at for at, token in enumerate(tokens) if token.start >= target_end), len(tokens))
    while index < len(tokens):
        token = tokens[index]
        if token.text == "(":
            index = max(index, closing(tokens, index))
        elif token.upper == "AS" and statement.kind == "create_table":
            found.setdefault("query", token.end)
        elif token.upper in ("USING", "FROM") and "where" not in found:
            found.setdefault("source", token.end)
        elif token.upper == "WHERE":
            found.setdefault("where", token.start)
        elif token.upper == "RETURNING":
            found["returning"] = token.start
        index += 1
    return Parts(**found)


def noun_start(statement: Statement) -> int:
    """Return where the word TABLE of CREATE TABLE stands."""
    return next(token.start for token in scan(statement.text)[0] if token.upper == "TABLE")


def conflict_start(statement: Statement) -> int:
    """Return where the last ON CONFLICT stands, or else OR REPLACE or OR IGNORE, in an INSERT that has one."""
    tokens, _ = scan(statement.text)
    pairs = list(pairwise(tokens))
    last = [first.start for first, second in pairs if (first.upper, second.upper) == ("ON", "CONFLICT")]
    return last[-1] if last else next((token.start for token in tokens if token.upper == "OR"), 0)


def data_clause(statement: Statement) -> tuple[int, bool] | None:
    """Return where WITH [NO] DATA begins, at the end of CREATE TABLE … AS, and whether rows are wanted; else None."""
    last = [token for token in scan(statement.text)[0] if token.text != ";"][-3:]
    words = [token.upper for token in last]
    if words == ["WITH", "NO", "DATA"]:
        return last[0].start, False
    return (last[1].start, True) if words[1:] == ["WITH", "DATA"] else None


def columns_defined(tree: Any) -> list[Any]:
    """Return the column definitions of CREATE TABLE name (…)."""
    return list(tree.this.expressions) if isinstance(tree.this, exp.Schema) else []
