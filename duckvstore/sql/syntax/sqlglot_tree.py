"""sqlglot's tree of a statement, or what it says is wrong; of one that it cannot read, the tree of its outline.

``sqlglot_text`` prepares the text, so positions in the tree are those of the user's text.
"""

from __future__ import annotations

import logging
import re
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlglot import exp
from sqlglot.dialects.duckdb import DuckDB

from duckvstore.signals import of_handler
from duckvstore.sql.syntax import outline
from duckvstore.sql.syntax.tokens import blank, scan

if TYPE_CHECKING:
    from collections.abc import Callable

    from duckvstore.sql.syntax.tokens import Token

_QUIET: ContextVar[bool] = ContextVar("duckvstore_sqlglot_quiet", default=False)
# sqlglot logs a warning when it does not know a command; that is expected here and no news for a user.
logging.getLogger("sqlglot").addFilter(lambda _record: not _QUIET.get())

_STUB = "FROM x"  # no query is shorter
_FOUND_TOKEN = re.compile(r" but got <Token.*", re.DOTALL)


class Tree(NamedTuple):
    """``root``: None where sqlglot cannot read the text; then ``problem`` says why, and ``place`` where if it is known.

    ``is_outline``: the tree has the queries and tables of the text, and little of what is computed.
    """

    root: Any
    problem: str | None = None
    place: int | None = None
    is_outline: bool = False


def read(tokens: list[Token], prepared: Callable[..., str]) -> Tree:
    """Return the tree of the statement with ``tokens``. ``prepared``: gives its text for sqlglot, ``marked`` or not."""
    if tokens[-1].kind == "unclosed":
        return Tree(None, "a quotation or comment is not closed", tokens[-1].start)
    found = _parsed(prepared(marked=True))
    if found.root is None and any(token.kind in ("parameter", "dollar", "string") for token in tokens):
        found = _parsed(prepared(marked=False))
    return found


def outlined(found: Tree, tokens: list[Token], prepared: Callable[..., str]) -> Tree:
    """Return the outline's tree in place of ``found``, which cannot be used; without a root where there is none."""
    root = None if tokens[-1].kind == "unclosed" else _outlined(prepared(marked=True))
    return found._replace(root=root, is_outline=root is not None)


def _parsed(text: str) -> Tree:
    quiet = _QUIET.set(True)
    try:
        dialect = DuckDB()
        trees = dialect.parser().parse(dialect.tokenize(text), text)
    except RecursionError:
        return Tree(None, "it is nested too deeply")
    except Exception as error:  # beside SqlglotError its parser also fails with AttributeError and the like
        if of_handler(error):
            raise
        return Tree(None, *_problem(error, text))
    finally:
        _QUIET.reset(quiet)
    if len(trees) != 1 or trees[0] is None:
        return Tree(None, "it is not one statement")
    _move_joins(trees[0])
    _name_commented_table(trees[0])
    return Tree(trees[0])


def _outlined(prepared: str) -> Any:
    """Return the tree of the text's outline, put together from the pieces that sqlglot reads; or None."""
    found = outline.read(prepared)
    if found is None:
        return _altering(prepared) or _uncommenting(prepared)
    root: Any = None
    for start, end in [(0, len(found.text)), *found.pieces]:
        text = blank(found.text, [(0, start), (end, len(found.text))])
        done = start
        for first, last in found.pieces:
            if done <= first and last <= end and (first, last) != (start, end):  # one right inside of this
                done = last
                text = f"{text[:first]}{_STUB.ljust(last - first)}{text[last:]}"
        tree = _parsed(text).root
        if tree is None or isinstance(tree, exp.Command):
            return None
        root = tree if root is None else _grafted(root, tree, start)
    return root


def _altering(text: str) -> Any:
    """Return the tree of a plain ALTER TABLE in place of one that sqlglot does not know, as of INT ARRAY[3]."""
    tokens, _ = scan(text)
    words = [token.upper for token in tokens]
    if words[:2] != ["ALTER", "TABLE"]:
        return None
    last = 4 if words[2:4] == ["IF", "EXISTS"] else 2
    while words[last + 1 : last + 2] == ["."]:
        last += 2
    return _parsed(f"{text[: tokens[last].end]} DROP x").root if last < len(tokens) else None


def _uncommenting(text: str) -> Any:
    """Return the tree of a comment in place of COMMENT ON … IS NULL, which sqlglot does not know."""
    tokens, _ = scan(text)
    words = [token.upper for token in tokens]
    is_known = words[:2] == ["COMMENT", "ON"] and words[-2:] == ["IS", "NULL"]
    return _parsed(f"{text[: tokens[-1].start]}''").root if is_known else None


def _grafted(root: Any, tree: Any, start: int) -> Any:
    """Put ``tree`` into ``root`` in place of the stub at character ``start``."""
    place = start + len(_STUB) - 1
    stub = next(name for name in root.find_all(exp.Identifier) if name.meta.get("start") == place)
    stub.find_ancestor(exp.Select).replace(tree)
    return root


def _move_joins(tree: Any) -> None:
    """Put the joins of FROM-first queries where they are in all others: sqlglot leaves them with the first table."""
    for select in tree.find_all(exp.Select):
        first = select.args["from_"].this if select.args.get("from_") else None
        if type(first) is exp.Table and first.args.get("joins") and not select.args.get("joins"):
            select.set("joins", first.args["joins"])
            first.set("joins", None)


def _name_commented_table(tree: Any) -> None:
    """Put the table in place of the column that COMMENT ON COLUMN names."""
    if isinstance(tree, exp.Comment) and isinstance(tree.this, exp.Column) and tree.this.args.get("table"):
        names = {"this": "table", "db": "db", "catalog": "catalog"}
        tree.set("this", exp.Table(**{name: tree.this.args.get(of) for name, of in names.items()}))


def _problem(error: Exception, text: str) -> tuple[str, int | None]:
    """Return what sqlglot complains about, in one line, and the character of ``text`` it points to."""
    details = getattr(error, "errors", None)
    if not details:
        return str(error).splitlines()[0][:200] if str(error) else type(error).__name__, None
    first = details[0]
    message = _FOUND_TOKEN.sub("", str(first.get("description") or "syntax error"))
    if message.startswith("Required keyword"):  # it goes on with names of sqlglot's own
        message = "something is missing"
    line, column = first.get("line"), first.get("col")
    if not line or not column:
        return message, None
    lines = text.splitlines(keepends=True)
    position = sum(len(item) for item in lines[: line - 1]) + column - len(first.get("highlight") or "")
    return message, max(0, min(position, len(text)))
