"""Which columns of a symbol a statement may read, by its text alone: more rather than fewer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlglot import exp

from duckvstore.sql.syntax.tokens import unquoted

if TYPE_CHECKING:
    from collections.abc import Collection

    from duckvstore.sql.syntax.statement import Statement


def read(statement: Statement, names: Collection[str]) -> frozenset[str] | None:
    """Return those of the columns ``names`` that ``statement`` may read; None: perhaps all."""
    if statement.kind != "query" or statement.tree is None or statement.tree.find(exp.Pivot) is not None:
        return None
    found = identifiers(statement, names)
    if found is None:
        return None
    # The tree has no place for some names: a unit that is a column, a column called like a constant of SQL.
    written = words(statement)
    return frozenset([*(column for _, column in found), *(name for name in names if name.casefold() in written)])


def words(statement: Statement) -> frozenset[str]:
    """Return every word and quoted name of a statement, folded."""
    return frozenset(unquoted(token).casefold() for token in statement.tokens if token.kind in ("word", "quoted"))


def identifiers(statement: Statement, names: Collection[str]) -> list[tuple[Any, str]] | None:
    """Return the identifiers that may name columns of a table with columns ``names``, each with that; None: all may."""
    tree = statement.tree
    if tree is None or statement.is_outline or _takes_all(statement):
        return None
    tables = {str(table.alias_or_name).casefold() for table in tree.find_all(exp.Table, exp.Subquery)}
    known = {name.casefold(): name for name in names}
    assigned = set(map(id, targets(statement)))
    found: list[tuple[Any, str]] = []
    for name in tree.find_all(exp.Identifier):
        word = str(name.name).casefold()
        if _only_names(name) or id(name.parent) in assigned:
            continue
        if word in known:
            found.append((name, known[word]))  # a qualifier too: `a.b` is a field of a column `a`
        elif word in tables and not _qualifies(name):  # a row as a whole
            return None
    return found


def targets(statement: Statement) -> list[Any]:
    """Return the left side in the SET of an UPDATE."""
    tree = statement.tree
    if not isinstance(tree, exp.Update):
        return []
    settings = [found for found in tree.args.get("expressions") or () if isinstance(found, exp.EQ)]
    return [found.this for found in settings if isinstance(found.this, exp.Column)]


def _takes_all(statement: Statement) -> bool:
    """Whether all columns of a table may be meant without being named."""
    tree = statement.tree
    stars = [star for star in tree.find_all(exp.Star) if not isinstance(star.parent, exp.Count)]
    joins = [join for join in tree.find_all(exp.Join) if str(join.args.get("method") or "").upper() == "NATURAL"]
    forms = [found for found in statement.references if found.role == "read" and found.form != "relation"]
    renamed = map(_renames_columns, tree.find_all(exp.TableAlias))
    unnamed = bool(stars or joins or forms) or any(renamed) or tree.find(exp.PositionalColumn) is not None
    return unnamed or "COLUMNS" in statement.text.upper()


def _renames_columns(alias: Any) -> bool:
    """Whether ``AS x(a, b)`` gives names to columns of a table, which may then be meant by these alone."""
    owner = alias.parent
    is_of_query = isinstance(owner, exp.CTE) or (isinstance(owner, exp.Subquery) and isinstance(owner.this, exp.Query))
    return bool(alias.args.get("columns")) and not is_of_query


def _only_names(name: Any) -> bool:
    """Whether an identifier gives a name to something, or is that of a table."""
    parent = name.parent
    return isinstance(parent, (exp.Alias, exp.Table, exp.TableAlias, exp.CTE))


def _qualifies(name: Any) -> bool:
    """Whether an identifier is that of a table before the name of its column."""
    return isinstance(name.parent, exp.Column) and name.parent.this is not name
