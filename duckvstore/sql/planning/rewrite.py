"""A statement with its references replaced by what DuckDB scans.

Outside the replaced names and the AT forms, the SQL that is run is the user's text, byte for byte; and
no name or value becomes SQL except through ``quote`` and ``literal``.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from sqlglot import exp

from duckvstore.errors import SqlError
from duckvstore.format.stored import schema as arrow_schema
from duckvstore.sql.syntax import tokens
from duckvstore.sql.syntax.literals import literal, quote
from duckvstore.sql.values import kinds, types

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from duckvstore.format.stored.documents import Version
    from duckvstore.sql.syntax.source_map import SourceMap, Splice
    from duckvstore.sql.syntax.statement import Reference, Statement
    from duckvstore.sql.values.kinds import Kind

_NONE: Mapping[str, str] = MappingProxyType({})

# A key among replacements: that ``main.trades``, where it is not a column, is the rows of a replaced reference.
WHOLE_ROWS = -1
_FILE_COLUMNS = ("filename", "file_row_number", "file_index")
_STAND_IN = re.compile(r'__vstore_name_(?P<at>[0-9]+)(?P<alias> AS (?:"(?:[^"]|"")*+"|\w++))?')


def scan(
    version: Version,
    uris: Sequence[str],
    *,
    seals: bool = False,
    file: str | None = None,
    is_portable: bool = False,
    refused: Mapping[str, str] = _NONE,
) -> str:
    """Return the relation that holds the rows of ``uris``, segments of ``version``, in that order.

    Column types are those that DuckDB gives to the same rows as an Arrow table; without any URI the relation has
    no rows and the same types. ``seals``: hide what DuckDB adds to every file, see ``names_file_columns``. ``file``: a
    further column, with the URI that a row is from. ``is_portable``: for any DuckDB, not only this one. ``refused``:
    errors of columns whose values DuckDB would read as others, for whoever uses them. Raises SqlError
    for a version without columns, which SQL cannot show.
    """
    fields: list[pa.Field] = list(arrow_schema.shown(version.schema))
    if is_portable:
        fields = [field.with_type(types.portable(field.type)) for field in fields]
    if not fields:
        raise SqlError(
            f"version {version.number} of {version.symbol!r} has no columns, so there is nothing to query: use read()"
        )
    own = list(map(kinds.of_column, version.schema.shown))
    if not uris:
        nulls = ", ".join(
            f"CAST(NULL AS {kind or types.duckdb_type(f.type)}) AS {quote(f.name)}"
            for f, kind in zip(fields, own, strict=True)
        )
        return f"(SELECT {nulls} WHERE false)"
    # Of a path such as `s3://bucket/a=b/…` DuckDB would make a column `a`.
    options = "hive_partitioning = false" + (
        f", schema = {_file_schema(version, fields)}" if version.schema.mixed else ""
    )
    options += f", filename = {literal(file)}" if file is not None else ""
    relation = f"read_parquet([{', '.join(literal(uri) for uri in uris)}], {options})"
    converted = [
        (f.name, _expression(quote(f.name), f.type, version, kind, refused.get(f.name)))
        for f, kind in zip(fields, own, strict=True)
    ]
    if all(expression is None for _, expression in converted) and "markers" not in version.schema.value:
        return f"(FROM {relation})" if seals else relation
    columns = ", ".join(
        quote(name) if expression is None else f"{expression} AS {quote(name)}" for name, expression in converted
    )
    return f"(SELECT {columns}{'' if file is None else f', {quote(file)}'} FROM {relation})"


def _expression(column: str, kind: pa.DataType, version: Version, own: Kind | None, problem: str | None) -> str | None:
    """Return the expression that gives ``column`` its type; None: it is right as it is.

    ``own``: DuckDB's type where it is not that of the stored ``kind``.

    DuckDB 1.5 rounds the constants of filters to the type that a file has, and then `price < 10.5` has other rows
    where the file is of whole numbers; 2.0 does not. And 2.0 ends in an internal error, which takes the whole process's
    database with it, where a field is asked for of a struct that a file lacks, or has without that field. Only what
    they take for more than a column they filter, and take apart, afterwards.
    """
    if problem is not None:
        return types.refused(column, str(own or types.duckdb_type(kind)), problem)
    found = types.from_parquet(column, kind)
    is_taken_apart = pa.types.is_float64(kind) or pa.types.is_decimal(kind) or pa.types.is_nested(kind)
    if found is None and version.schema.mixed and is_taken_apart:
        found = f"CASE WHEN {column} IS NULL THEN NULL ELSE {column} END"
    return found if own is None else kinds.decoded(found or column, own)


def _file_schema(version: Version, fields: list[pa.Field]) -> str:
    """Return the columns of a mixed version by field id: those that a file lacks are null, narrower ones are cast."""
    columns = (
        f"{column.id}: {{'name': {literal(column.name)}, 'type': {literal(types.parquet_type(field.type))}, "
        "'default_value': NULL}"
        for column, field in zip(version.schema.shown, fields, strict=True)
    )
    return f"MAP {{{', '.join(columns)}}}"


def names_file_columns(statement: Statement) -> bool:
    """Whether ``statement`` may name a column that DuckDB adds to the rows of every file, unseen by ``*``.

    Such a name must find a column of the symbol, or of another table of the query, or nothing.
    """
    text = statement.text.lower()
    return any(name in text for name in _FILE_COLUMNS)


def rewrite(statement: Statement, replacements: Mapping[int, str | None]) -> SourceMap:
    """Return the SQL to run: ``replacements`` maps positions in ``statement.references`` to relations.

    A reference that is mapped to None, or not mapped, stays as the user wrote it. Raises SqlError where a
    relation cannot stand in for the name.
    """
    found = splices(statement, replacements)
    # At the very end DuckDB takes a space of another alphabet now for nothing, now for the alias of a column.
    closing = "\n" if found and statement.text[-1:] in tokens.ODD_SPACES else ""
    return statement.sql.replaced(found) + closing


def splices(statement: Statement, replacements: Mapping[int, str | None]) -> list[Splice]:
    """Return what ``rewrite`` replaces: (start, end, text) over the statement's text, in order, none overlapping."""
    replaced = {at: reference for at, reference in enumerate(statement.references) if replacements.get(at) is not None}
    names = {at: _name(reference, list(replaced.values())) for at, reference in replaced.items()}
    found: list[Splice] = []
    for at, reference in replaced.items():
        found.extend(_splices(statement, reference, f"{replacements[at]}", names[at]))
        found.extend((start, end, "") for start, end in reference.cuts)
    renamed = [(reference, names[at], chain) for at, reference in replaced.items() if (chain := _chain(reference))]
    for at, reference in replaced.items():
        if _takes_no_alias(statement, reference):  # so its columns are named by what is there
            own = f"{replacements[at]}".strip('"')
            renamed = [item for item in renamed if item[0] is not reference]
            renamed += [(reference, own, chain) for chain in {_chain(reference), (names[at].lower(),)} if chain]
    if renamed:
        found.extend(_qualifiers(statement, renamed, takes_rows=WHOLE_ROWS in replacements))
    return sorted(set(found))


def stand_ins(replacements: Mapping[int, str | None]) -> dict[int, str | None]:
    """Return an internal name for each relation in ``replacements``, which ``spelled`` finds again."""
    return {at: quote(f"__vstore_name_{at}") for at, relation in replacements.items() if relation is not None}


def spelled(statement: Statement, text: str) -> str:
    """Return ``text``, an expression as DuckDB writes it, with the user's spelling in place of each stand-in."""

    def user_text(match: re.Match[str]) -> str:
        reference = statement.references[int(match["at"])]
        parts = [(reference.start, reference.end), *reference.cuts]
        name = " ".join(statement.text[start:end] for start, end in parts)
        return name + (match["alias"] or "" if reference.alias else "")

    return _STAND_IN.sub(user_text, text)


def parameters_left(statement: Statement, replaced: Collection[int]) -> list[int]:
    """Return the positions of the ``?`` that remain when the references at ``replaced`` lose their AT forms."""
    cuts = _cuts(statement, replaced)
    return [
        parameter.position
        for place, parameter in statement.parameters
        if parameter.position is not None and not any(start <= place < end for start, end in cuts)
    ]


def names_left(statement: Statement, replaced: Collection[int]) -> set[str]:
    """Return the names of the ``$name`` that remain, as ``parameters_left`` does for ``?``."""
    cuts = _cuts(statement, replaced)
    return {
        parameter.name
        for place, parameter in statement.parameters
        if parameter.name is not None and not any(start <= place < end for start, end in cuts)
    }


def numbered(statement: Statement, replacements: Mapping[int, str | None]) -> SourceMap:
    """Return what ``rewrite`` does with ``$n`` in place of each ``?``, so that a part of it means the same alone."""
    sql = rewrite(statement, replacements)
    left = parameters_left(statement, [at for at, relation in replacements.items() if relation is not None])
    places = [token for token in tokens.scan(sql.text)[0] if token.kind == "parameter" and token.text == "?"]
    pairs = zip(places, left, strict=True)
    return sql.replaced([(token.start, token.end, f"${position + 1}") for token, position in pairs])


def names_in(text: str) -> set[str]:
    """Return the names of the parameters that ``text`` has, none of which is a ``?``."""
    return {token.text[1:] for token in tokens.scan(text)[0] if token.kind == "parameter"}


def _cuts(statement: Statement, replaced: Collection[int]) -> list[tuple[int, int]]:
    return [cut for position in replaced for cut in statement.references[position].cuts]


def _chain(reference: Reference) -> tuple[str, ...]:
    """Return by what columns of a replaced reference may be named that its relation does not have, in lower case.

    A bare name is in the schema ``main``, so ``main.trades.id`` is a column of ``trades`` too.
    """
    if reference.alias is not None:
        return ()
    return _folded(reference) if len(reference.parts) > 1 else ("main", *_folded(reference))


def _name(reference: Reference, replaced: list[Reference]) -> str:
    """Return the alias of a replaced reference that has none: its last part, as DuckDB would have named it.

    Of ``FROM a.trades JOIN b.trades`` each keeps its whole name, so that both can be told apart.
    """
    bare = reference.parts[-1]
    if reference.alias is not None or len(reference.parts) == 1:
        return bare
    scope = reference.node.find_ancestor(exp.Select)
    for other in replaced:
        is_namesake = other.alias is None and other.parts[-1].lower() == bare.lower()
        if is_namesake and _folded(other) != _folded(reference) and other.node.find_ancestor(exp.Select) is scope:
            return ".".join(reference.parts)
    return bare


def _folded(reference: Reference) -> tuple[str, ...]:
    return tuple(part.lower() for part in reference.parts)


def _splices(statement: Statement, reference: Reference, relation: str, name: str) -> list[Splice]:
    """Return what puts ``relation`` in the place of ``reference``, which is to be called ``name``."""
    if reference.role == "target":  # what a statement changes in place of the symbol; some take no alias
        is_named = reference.alias or statement.kind in ("copy", "truncate", "create_table", "drop", "alter")
        return [(reference.start, reference.end, relation if is_named else f"{relation} AS {quote(name)}")]
    named = relation if reference.alias else f"{relation} AS {quote(name)}"
    if reference.form == "relation":
        return [(reference.start, reference.end, named)]
    if reference.form == "columns":  # COPY name (a, b) TO becomes COPY (SELECT a, b FROM …) TO
        found = statement.tokens
        behind = max([reference.end, *(end for _, end in reference.cuts)])
        first = next(at for at, token in enumerate(found) if token.start >= behind and token.text == "(")
        opening, end = found[first], found[tokens.closing(found, first)]
        return [
            (reference.start, reference.end, ""),
            (opening.start, opening.end, "(SELECT "),
            (end.start, end.end, f" FROM {named})"),
        ]
    query = f"(FROM {named})" if isinstance(reference.node.parent, exp.Copy) else f"FROM {named}"
    return [(reference.lead, reference.end, query)]


def may_name_rows(statement: Statement, columns: Mapping[int, Collection[str]]) -> bool:
    """Whether ``main.trades`` in ``statement`` can only be the rows of trades; ``columns``: of its references, folded.

    To DuckDB it is a field of a column ``main``, or a column of a table ``main``, where there is one.
    """
    first = {part for at in columns for part in [*_folded(statement.references[at])[:-1], "main"]}
    tables = {reference.node.alias_or_name.lower() for reference in statement.references}
    if any(first & set(names) for names in columns.values()) or first & tables:
        return False
    return not any(_folded(statement.references[at])[-1] in names for at, names in columns.items())


def _qualifiers(
    statement: Statement, renamed: list[tuple[Reference, str, tuple[str, ...]]], *, takes_rows: bool
) -> list[Splice]:
    """Return splices that turn ``library.symbol.column`` into ``symbol.column`` for the replaced references.

    ``takes_rows``: and ``library.symbol`` alone into ``symbol``.
    """
    text = statement.text.lower()
    renamed = [item for item in renamed if item[2][0] != "main" or "main" in text]
    found: list[Splice] = []
    for column in statement.tree.find_all(exp.Column) if renamed else ():
        parts = column.parts
        for reference, name, chain in renamed:
            if _takes_no_alias(statement, reference) and column.find_ancestor(exp.Returning) is None:
                continue
            count = len(chain)
            named = tuple(part.name.lower() for part in parts[:count])
            is_row = takes_rows and len(parts) == count > 1
            is_longer = len(parts) > count or is_row
            if not is_longer or named != chain or any("start" not in p.meta for p in parts[:count]):
                continue
            scope = reference.node.find_ancestor(exp.Select)
            if scope is None or any(ancestor is scope for ancestor in _ancestors(column)):
                found.append((parts[0].meta["start"], parts[count - 1].meta["end"] + 1, quote(name)))
                break
    return found


def _takes_no_alias(statement: Statement, reference: Reference) -> bool:
    """Whether it is what INSERT adds to, whose alias DuckDB does not know in RETURNING."""
    return statement.kind == "insert" and reference.role == "target" and reference.alias is None


def _ancestors(node: Any) -> Iterator[Any]:
    while node is not None:
        yield node
        node = node.parent
