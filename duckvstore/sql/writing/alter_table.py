"""ALTER TABLE of a symbol: what it asks for, and how that becomes a version.

DuckDB decides what a type is and how values are cast to it; which segments stay is the format's affair
(``format.evolution.altering``). A column that is only renamed, dropped, added or widened stores no row again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from duckvstore.engine.writing import alterations, edits
from duckvstore.errors import AlreadyExists, SqlError, nearest
from duckvstore.format.evolution import altering
from duckvstore.format.evolution.editing import check_tabular
from duckvstore.format.stored.schema import to_arrow
from duckvstore.sql.execution.running import fetched
from duckvstore.sql.execution.transaction import OpenTransaction
from duckvstore.sql.results.figures import ScannedTable
from duckvstore.sql.results.result import Result
from duckvstore.sql.syntax.literals import quote
from duckvstore.sql.syntax.tokens import closing, dotted
from duckvstore.sql.values import kinds
from duckvstore.sql.writing.commit import call, commit
from duckvstore.sql.writing.scratch import NAME, ROW, Scratch
from duckvstore.sql.writing.symbol_change import SymbolChange

if TYPE_CHECKING:
    import pyarrow as pa

    from duckvstore.engine.writing.commits import Draft
    from duckvstore.format.rows.value_rows import Encoded
    from duckvstore.format.stored.documents import Version
    from duckvstore.sql.syntax.statement import Statement
    from duckvstore.sql.syntax.tokens import Token

_FORMS = (
    "ALTER TABLE t takes ADD COLUMN c INTEGER, DROP COLUMN c, RENAME COLUMN c TO d, ALTER COLUMN c TYPE BIGINT and "
    "RENAME TO u"
)
# Words that begin what a symbol does not keep of a column.
_CONSTRAINTS = frozenset(
    (
        *("DEFAULT", "NOT", "NULL", "CHECK", "UNIQUE", "PRIMARY", "REFERENCES", "COLLATE", "GENERATED", "AS"),
        *("CONSTRAINT", "FOREIGN"),
    )
)


@dataclass(frozen=True, slots=True)
class Action:
    """What an ALTER TABLE asks for. ``name``: of the column; ``to``: its new name, or that of the symbol.

    ``type``: the text of a type. ``using``: the text of the expression that gives the new values. ``is_tolerant``: IF
    [NOT] EXISTS of the column. ``start``: the character of the statement at which the name is.
    """

    kind: Literal["add", "drop", "rename", "retype", "move"]
    name: str = ""
    to: str = ""
    type: str = ""
    using: str | None = None
    is_tolerant: bool = False
    start: int = 0


def read(statement: Statement, end: int) -> Action:
    """Return what follows the name that ends at character ``end``. Raises SqlError for what a symbol cannot do."""
    return _Reading(statement, end).action()


class _Reading:
    """The words of an ALTER TABLE after the name of its table, one after the other."""

    def __init__(self, statement: Statement, end: int) -> None:
        self.statement = statement
        self.tokens = [token for token in statement.tokens if token.start >= end and token.text != ";"]
        self.at = 0

    def action(self) -> Action:
        if self._takes("ADD"):
            if not self._takes("COLUMN") and self._word() in _CONSTRAINTS:
                raise self._unknown()
            is_tolerant = self._takes("IF", "NOT", "EXISTS")
            name, start = self._name("ADD COLUMN c INTEGER")
            return Action("add", name, type=self._type(len(self.tokens)), is_tolerant=is_tolerant, start=start)
        if self._takes("DROP"):
            self._takes("COLUMN")
            is_tolerant = self._takes("IF", "EXISTS")
            name, start = self._name("DROP COLUMN c")
            if not self._takes("CASCADE"):
                self._takes("RESTRICT")
            return self._ended(Action("drop", name, is_tolerant=is_tolerant, start=start))
        if self._takes("RENAME", "TO"):
            name, start = self._name("RENAME TO u")
            return self._ended(Action("move", to=name, start=start))
        if self._takes("RENAME"):
            self._takes("COLUMN")
            name, start = self._name("RENAME COLUMN c TO d")
            if not self._takes("TO"):
                raise self._unknown()
            return self._ended(Action("rename", name, self._name("RENAME COLUMN c TO d")[0], start=start))
        if self._takes("ALTER"):
            self._takes("COLUMN")
            name, start = self._name("ALTER COLUMN c TYPE BIGINT")
            if not (self._takes("SET", "DATA", "TYPE") or self._takes("TYPE")):
                raise self._unknown()
            return self._retyping(name, start)
        raise self._unknown()

    def _retyping(self, name: str, start: int) -> Action:
        using = next((at for at in range(self.at, len(self.tokens)) if self.tokens[at].upper == "USING"), None)
        text = None if using is None else self.statement.text[self.tokens[using].end : self.tokens[-1].end]
        kind = self._type(len(self.tokens) if using is None else using, is_optional=using is not None)
        return Action("retype", name, type=kind, using=text, start=start)

    def _takes(self, *words: str) -> bool:
        found = tuple(token.upper for token in self.tokens[self.at : self.at + len(words)])
        if found == words:
            self.at += len(words)
        return found == words

    def _name(self, form: str) -> tuple[str, int]:
        parts, end = dotted(self.tokens, self.at, ("word", "quoted", "string"))
        if not parts:
            raise self._error(f"a name is missing: write ALTER TABLE t {form}", self._token())
        if len(parts) > 1:
            raise self._error(
                f"{'.'.join(parts)} is a field inside a column, which a symbol keeps as a whole: CREATE OR REPLACE "
                "TABLE … AS SELECT … REPLACE (…) changes it",
                self._token(),
            )
        start = self.tokens[self.at].start
        self.at = end
        return parts[0], start

    def _type(self, end: int, *, is_optional: bool = False) -> str:
        """Return the text of the type that the tokens up to ``end`` are."""
        words = self.tokens[self.at : end]
        if not words:
            if is_optional:
                return ""
            raise self._error("a type is missing, such as INTEGER or VARCHAR", self._token())
        position = 0
        while position < len(words):
            if words[position].text == "(":
                position = max(position, closing(words, position))
            elif words[position].upper in _CONSTRAINTS:
                raise self._error(
                    "a symbol keeps no constraints, defaults or collations: ADD COLUMN c INTEGER, then UPDATE t SET "
                    "c = … gives it values",
                    words[position],
                )
            position += 1
        self.at = end
        return self.statement.text[words[0].start : words[-1].end]

    def _ended(self, found: Action) -> Action:
        if self.at < len(self.tokens):
            raise self._error(f"{self.tokens[self.at].text} is too much: {_FORMS}", self.tokens[self.at])
        return found

    def _word(self) -> str:
        return self.tokens[self.at].upper if self.at < len(self.tokens) else ""

    def _token(self) -> Token | None:
        return self.tokens[self.at] if self.at < len(self.tokens) else None

    def _unknown(self) -> SqlError:
        return self._error(f"a symbol keeps no constraints, defaults or keys: {_FORMS}", self._token())

    def _error(self, message: str, token: Token | None) -> SqlError:
        return self.statement.error(message, len(self.statement.text) if token is None else token.start)


class TableAlteration(SymbolChange):
    """An ALTER TABLE of one symbol."""

    def run(self) -> Result:
        """Make the version (RENAME TO: one of each symbol) and return no rows. Raises as DuckDB would refuse it."""
        self._refuse("ALTER TABLE")
        self._refuse_measuring("ALTER TABLE")
        wanted = read(self.statement, self.reference.end)
        if wanted.kind == "move":
            self._move(wanted)
        else:
            commit(self.context, self.library, self.symbol, lambda newest: self._altered(wanted, newest))
        return Result(None, self.context.figures)

    # -- columns -------------------------------------------------------------------------------------------------

    def _altered(self, wanted: Action, newest: Version | None) -> Draft | None:
        newest = self._known(newest)
        check_tabular(newest.kind, "ALTER TABLE", self.where)
        names = {name.casefold(): name for name in newest.schema.shown_names}
        known = names.get(wanted.name.casefold())
        is_adding = wanted.kind == "add"
        if wanted.is_tolerant and is_adding == (known is not None):
            return None
        if known is None and not is_adding:
            raise self.statement.error(
                f"{self.where} has no column {wanted.name!r}.{nearest(wanted.name, newest.schema.shown_names)}",
                wanted.start,
            )
        new = wanted.name if is_adding else wanted.to
        taken = {name.casefold() for name in newest.schema.names if is_adding or name != known}
        if new.casefold() in taken:
            raise self.statement.error(f"column {new!r} is there already", wanted.start)
        if known is None:
            empty = self._encoded(newest, wanted.name, self._empty(newest, wanted))
            schema = altering.added(newest.kind, newest.schema, wanted.name, empty, self.where)
        elif wanted.kind == "drop":
            schema = altering.dropped(newest.kind, newest.schema, known, self.where)
        elif wanted.kind == "rename":
            schema = altering.renamed(newest.kind, newest.schema, known, wanted.to, self.where)
        else:
            return self._retyped(wanted, known, newest)
        return alterations.altered(newest, schema)

    def _empty(self, newest: Version, wanted: Action) -> pa.Table:
        """Return no values of the type that ``wanted`` names, as DuckDB understands it."""
        cursor = self.context.thread.cursor
        plan = self._planned(newest)
        column = f"{quote(wanted.name)} {wanted.type}"
        plan.sql = self._about_target(f"CREATE OR REPLACE TEMP TABLE {quote(NAME)} ({column})")
        try:
            self._running(replace(plan, leases=[]), is_part=True).finish()
            relation: Any = cursor.sql(f"FROM {quote(NAME)}")
            return fetched(relation)
        finally:
            cursor.execute(f"DROP TABLE IF EXISTS temp.{quote(NAME)}")

    def _encoded(self, newest: Version, name: str, rows: pa.Table) -> Encoded:
        """Return a column of DuckDB, as ``fetched``, in its stored form.

        Raises SqlError for a type that the symbol would replace by another: pandas and polars have types of their own.
        """
        (kind,) = kinds.read_from(rows.schema)
        self._refuse_types([name], [kind])
        column = kinds.as_stored(rows).column(0)
        own = kinds.own_type(kinds.known(kind), column.type)
        if own is not None and newest.kind != "arrow" and kind != "HUGEINT":
            raise self.statement.error(
                f"column {name!r} has the type {kind}, which {self.where}, a value of kind {newest.kind!r}, cannot "
                "keep: cast it to another, say VARCHAR",
                self.reference.end,
            )
        return altering.encoded_column(newest.kind, name, column, self.where, own if newest.kind == "arrow" else None)

    def _retyped(self, wanted: Action, name: str, newest: Version) -> Draft | None:
        """Return the draft with another type of a column: over the same segments where it is only wider."""
        if name in newest.schema.index:
            raise self.statement.error(
                f"column {name!r} is a level of the index, whose order rows are found by: CREATE OR REPLACE TABLE … "
                "AS SELECT … casts it",
                wanted.start,
            )
        position = newest.schema.names.index(name)
        old = to_arrow(newest.schema).field(position).type
        if wanted.using is None:
            empty = self._encoded(newest, name, self._empty(newest, wanted))
            new, own = to_arrow(empty.schema).field(0).type, empty.schema.columns[0].duckdb
            before = newest.schema.columns[position].duckdb
            if (new, own) == (old, before):
                return None
            if own is None and before is None and altering.is_wider(old, new):
                return alterations.altered(newest, altering.retyped(newest.kind, newest.schema, name, empty))
        column = self._encoded(newest, name, self._cast(wanted, name, newest))
        return alterations.recast(self.library, newest, name, column)

    def _cast(self, wanted: Action, name: str, newest: Version) -> pa.Table:
        """Return the values of a column in its new type, in the order of rows."""
        quoted = quote(name)
        given = quoted if wanted.using is None else f"({wanted.using}\n)"
        cast = f"CAST({given} AS {wanted.type})" if wanted.type else given
        plan = self._planned(newest)
        scratch = Scratch(self.context.thread.cursor, self.library, newest, range(len(newest.segments)))
        try:
            if wanted.using is None:
                old = kinds.names(newest.schema)[newest.schema.shown_names.index(name)]
                self._refuse_loss(f"CAST({cast} AS {old})", plan, wanted, name)
            return self._asked(plan, f"SELECT {cast} AS {quoted} FROM {quote(NAME)} ORDER BY {quote(ROW)}")
        finally:
            scratch.close()
            plan.release_files()

    def _refuse_loss(self, back: str, plan: Any, wanted: Action, name: str) -> None:
        """Raise SqlError for a value that does not come back as it was from the new type."""
        quoted = quote(name)
        lost = self._asked(
            plan,
            f"SELECT CAST({quoted} AS VARCHAR), CAST(CAST({quoted} AS {wanted.type}) AS VARCHAR) "
            f"FROM {quote(NAME)} WHERE {quoted} IS NOT NULL AND {back} IS DISTINCT FROM {quoted} LIMIT 1",
        )
        if lost.num_rows:
            was, is_now = (column[0].as_py() for column in lost.columns)
            raise self.statement.error(
                f"column {name!r} has the value {was!r}, which as {wanted.type} would be {is_now!r}: where that is "
                f"meant, write USING CAST({quoted} AS {wanted.type})",
                wanted.start,
            )

    # -- the symbol ----------------------------------------------------------------------------------------------

    def _move(self, wanted: Action) -> None:
        """Give the newest version another symbol, and the old one a deletion: both at once, without storing rows."""
        context, library = self.context, self.library
        if wanted.to == self.symbol:
            raise self.statement.error(f"{wanted.to!r} is its name already", wanted.start)
        library.layout.symbol_versions(wanted.to)  # refuses a name that cannot be stored
        transaction = context.transaction or OpenTransaction(context.author)
        source = self._known(transaction.newest(library, self.symbol))

        def move(newest: Version | None) -> Draft:
            if newest is not None and not newest.deleted:
                raise AlreadyExists(
                    f"library {library.name!r} has a symbol {wanted.to!r} already: DROP TABLE it first, or choose "
                    "another name"
                )
            return edits.same_segments("rename", source, source.metadata)

        transaction.apply(library, call(context, wanted.to), move)
        transaction.apply(library, call(context, self.symbol), edits.delete())
        if context.transaction is None:
            for made in transaction.commit()[1]:
                context.figures.made.append(ScannedTable(library.name, made.symbol, made.number, made.created_at))
