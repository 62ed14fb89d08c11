"""The first words of CREATE, DROP and PREPARE: what they make or drop, under which name, with which parameters.

Only tokens are read, so every form that DuckDB takes is understood, whether sqlglot reads it or not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from duckvstore.sql.syntax.tokens import closing, dotted, unquoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from duckvstore.sql.syntax.tokens import Token

Verb = Literal["create", "drop", "prepare", "execute", "deallocate"]
Noun = Literal["table", "view", "macro", "table macro", "statement"]

_NOUNS: dict[str, Noun] = {"TABLE": "table", "VIEW": "view", "MACRO": "macro", "FUNCTION": "macro"}
_OF_PREPARED: dict[str, Verb] = {"PREPARE": "prepare", "EXECUTE": "execute", "DEALLOCATE": "deallocate"}


@dataclass(frozen=True, slots=True)
class Header:
    """``CREATE [OR REPLACE] [TEMP] VIEW [IF NOT EXISTS] name``, the like for TABLE, MACRO and FUNCTION, and DROP.

    Or ``PREPARE name``, ``EXECUTE name`` (perhaps after EXPLAIN) and ``DEALLOCATE name``, whose noun is "statement".
    ``start`` and ``end``: the characters of the name, of which ``parts`` are the pieces between dots. ``if_exists``:
    IF EXISTS, or IF NOT EXISTS. ``noun``: for DROP MACRO always "macro", for DROP MACRO TABLE "table macro".
    ``columns``: the names in parentheses after the name: the columns of a view, the parameters of a macro.
    """

    verb: Verb
    noun: Noun
    parts: tuple[str, ...]
    start: int
    end: int
    is_temporary: bool = False
    replaces: bool = False
    if_exists: bool = False
    columns: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The last part of the name."""
        return self.parts[-1]


def read(tokens: Sequence[Token], explain_end: int = 0) -> Header | None:
    """Return the header of a statement; None for one that has none, and for one that is cut short.

    ``explain_end``: the character after EXPLAIN, which may have EXECUTE after it.
    """
    verb = tokens[0].upper
    if verb in ("CREATE", "DROP"):
        return _of_object(tokens)
    if explain_end:
        tokens = [token for token in tokens if token.start >= explain_end]
        verb = tokens[0].upper if tokens and tokens[0].upper == "EXECUTE" else ""
    if verb not in _OF_PREPARED:
        return None
    index = 2 if verb == "DEALLOCATE" and len(tokens) > 2 and tokens[1].upper == "PREPARE" else 1
    if index >= len(tokens):
        return None
    token = tokens[index]
    return Header(_OF_PREPARED[verb], "statement", (unquoted(token),), token.start, token.end)


def _of_object(tokens: Sequence[Token]) -> Header | None:
    words = [token.upper for token in tokens[:12]]
    index = 1
    replaces = words[index : index + 2] == ["OR", "REPLACE"]
    index += 2 * replaces
    is_temporary = words[index : index + 1] in (["TEMP"], ["TEMPORARY"])
    index += is_temporary
    if index >= len(words) or words[index] not in _NOUNS:
        return None
    noun = _NOUNS[words[index]]
    index += 1
    if words[0] == "DROP" and noun == "macro" and words[index : index + 1] == ["TABLE"]:
        noun, index = "table macro", index + 1
    if_exists = words[index : index + 1] == ["IF"]
    index += (2 if words[0] == "DROP" else 3) * if_exists
    parts, index = dotted(tokens, index)
    if not parts:
        return None
    first = index - 2 * len(parts) + 1
    end = closing(tokens, index) if index < len(tokens) and tokens[index].text == "(" else -1
    columns = tuple(_columns(tokens[index + 1 : end])) if end >= 0 else ()
    if noun == "macro" and words[0] == "CREATE" and [t.upper for t in tokens[end + 1 : end + 3]] == ["AS", "TABLE"]:
        noun = "table macro"
    return Header(
        "create" if words[0] == "CREATE" else "drop",
        noun,
        parts,
        tokens[first].start,
        tokens[index - 1].end,
        is_temporary,
        replaces,
        if_exists,
        columns,
    )


def _columns(tokens: Sequence[Token]) -> Iterator[str]:
    """Yield the first word of each item in a list."""
    depth, begins = 0, True
    for token in tokens:
        if begins and depth == 0 and token.kind in ("word", "quoted"):
            yield unquoted(token)
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(token.upper, 0)
        begins = depth == 0 and token.upper == ","
