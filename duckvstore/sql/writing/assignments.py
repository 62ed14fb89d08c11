"""What UPDATE and MERGE give to the columns of what they change, as queries in the statement's own words. Pure.

A query gives the values for the rows that the statement gives them to, and maybe for rows of which an
earlier WHEN of a MERGE holds. Where a statement is not read here there is no query for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from duckvstore.sql.syntax.literals import quote
from duckvstore.sql.syntax.tokens import explain_end, scan, unquoted
from duckvstore.sql.writing.merge import SOURCE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from duckvstore.sql.syntax.tokens import Token

_DEEPER = {"(": 1, "[": 1, "{": 1, "CASE": 1, ")": -1, "]": -1, "}": -1, "END": -1}
_OF_UPDATE = ("SET", "FROM", "WHERE", "RETURNING", ";")


def queries(text: str, target: str, names: Sequence[str], source: str | None) -> dict[str, list[str]]:
    """Return a query for each time that ``text`` gives values to one of the columns ``names``, by the column's name.

    ``target``: how ``text`` writes the table that it changes, which has these columns without any value; ``source``:
    what the source of a MERGE is called, None for nothing. Every action of a MERGE that goes by position names its
    columns.
    """
    tokens, _ = scan(text)
    outer = list(_outer(tokens))
    verb = next((token for token in outer if token.upper in ("UPDATE", "MERGE")), None)
    place = next((token for token in outer if token.text == target), None)
    if verb is None or place is None:
        return {}
    before = text[explain_end(tokens) : verb.start]
    nothing = ", ".join(f"NULL AS {quote(name)}" for name in names)
    relation = f"(SELECT * REPLACE ({nothing}) FROM {target})"
    behind = [token for token in outer if token.start >= place.end]
    is_update = verb.upper == "UPDATE"
    found = _of_update(text, relation, behind) if is_update else _of_merge(text, relation, behind, names, source)
    wanted = {name.casefold(): name for name in names}
    asked: dict[str, list[str]] = {}
    for column, expression, rest in found:
        name = wanted.get(column.casefold())
        if name is not None and expression.strip().upper() != "DEFAULT":
            asked.setdefault(name, []).append(f"{before}SELECT {expression}\nAS x {rest}")
    return asked


def _outer(tokens: Sequence[Token]) -> Iterator[Token]:
    """Yield the tokens outside of all parentheses, brackets and CASE … END, and those that open and close them."""
    depth = 0
    for token in tokens:
        change = _DEEPER.get(token.upper, 0)
        if depth + min(change, 0) == 0:
            yield token
        depth += change


def _of_update(text: str, relation: str, behind: Sequence[Token]) -> Iterator[tuple[str, str, str]]:
    """Yield (column, expression, the FROM and WHERE for it) of an UPDATE; ``behind``: the tokens after its target."""
    places: dict[str, Token] = {}
    for at, token in enumerate(behind):
        if token.upper in _OF_UPDATE and (at == 0 or behind[at - 1].upper != "DISTINCT"):
            places.setdefault(token.upper, token)
    set_ = places.get("SET")
    if set_ is None:
        return
    ends = [places[word].start for word in _OF_UPDATE[1:] if word in places]
    last = min((places[word].start for word in ("RETURNING", ";") if word in places), default=len(text))
    alias = text[behind[0].start : set_.start]
    source, where = places.get("FROM"), places.get("WHERE")
    others = "" if source is None else f", {text[source.end : where.start if where is not None else last]}"
    rest = f"FROM {relation} {alias}{others} {text[where.start : last] if where is not None else ''}"
    inside = [token for token in behind if set_.end <= token.start < min(ends, default=len(text))]
    for column, expression in _assigned(text, inside, min(ends, default=len(text))):
        yield column, expression, rest


def _assigned(text: str, inside: Sequence[Token], end: int) -> Iterator[tuple[str, str]]:
    """Yield (column, expression) of what follows SET, which ends at ``end``."""
    for first, stop in _pieces(inside, end):
        if len(first) > 1 and first[1].text == "=":
            yield unquoted(first[0]), text[first[1].end : stop]


def _pieces(inside: Sequence[Token], end: int) -> Iterator[tuple[list[Token], int]]:
    """Yield the tokens of each part between commas, and where it ends."""
    piece: list[Token] = []
    for token in inside:
        if token.text == ",":
            yield piece, token.start
            piece = []
        else:
            piece.append(token)
    yield piece, end


def _of_merge(
    text: str, relation: str, behind: Sequence[Token], names: Sequence[str], source: str | None
) -> Iterator[tuple[str, str, str]]:
    """Yield (column, expression, the FROM and WHERE for it) of each action of a MERGE."""
    using = next((at for at, token in enumerate(behind) if token.upper == "USING"), None)
    if using is None:
        return
    on = next((token for token in behind[using + 1 :] if token.upper in ("ON", "USING")), None)
    starts = [token for token in behind if token.upper == "WHEN"]
    if on is None or not starts:
        return
    target = f"{relation} {text[behind[0].start : behind[using].start]}"
    rows = text[behind[using].end : on.start] + ("" if source is not None else f" AS {quote(SOURCE)} ")
    condition, called = text[on.start : starts[0].start], quote(source if source is not None else SOURCE)
    last = next((token.start for token in behind if token.upper in ("RETURNING", ";")), len(text))
    for start, stop in zip(starts, [*(token.start for token in starts[1:]), last], strict=True):
        clause = [token for token in behind if start.start <= token.start < stop]
        words = [token.upper for token in clause]
        if "THEN" not in words:
            continue
        then = words.index("THEN")
        if words[1] == "MATCHED":
            joined = f"{target} JOIN {rows} {condition}"
        elif words[3:5] == ["BY", "SOURCE"]:
            joined = f"{target} ANTI JOIN {rows} {condition}"
        else:
            joined = f"{rows} ANTI JOIN {target} {condition}"
        further = words.index("AND") if "AND" in words[:then] else None
        where = "" if further is None else f"WHERE {text[clause[further].end : clause[then].start]}"
        for column, expression in _of_action(text, clause[then + 1 :], stop, names, called):
            yield column, expression, f"FROM {joined} {where}"


def _of_action(
    text: str, action: Sequence[Token], stop: int, names: Sequence[str], source: str
) -> Iterator[tuple[str, str]]:
    """Yield (column, expression) of what follows THEN, up to ``stop``."""
    words = [token.upper for token in action]
    is_by_name = ["BY", "NAME"] in (words[1:3], words[-2:])
    if words[:2] == ["UPDATE", "SET"] and not is_by_name:
        yield from _assigned(text, action[2:], stop)
    elif words[:1] in (["UPDATE"], ["INSERT"]) and is_by_name:
        yield from ((name, f"{source}.{quote(name)}") for name in names)
    elif words[:3] == ["INSERT", "(", ")"] and words[3:] == ["VALUES", "(", ")"]:
        lists = []
        for opening, closing in ((action[1], action[2]), (action[4], action[5])):
            tokens = [token for token in scan(text)[0] if opening.end <= token.start < closing.start]
            lists.append(list(_pieces(list(_outer(tokens)), closing.start)))
        for (column, _), (values, end) in zip(*lists, strict=False):
            if column and values:
                yield unquoted(column[0]), text[values[0].start : end]
