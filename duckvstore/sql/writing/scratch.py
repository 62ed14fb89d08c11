"""The scratch table: rows of a version inside DuckDB, on which the user's own INSERT, UPDATE, DELETE or MERGE runs.

DuckDB decides what a statement does: which rows match, how values are cast, what RETURNING gives. A row
that the statement left alone keeps its stored values; only what it changed comes back from DuckDB.
"""

from __future__ import annotations

import uuid
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from duckvstore.engine.reading import reads, segments
from duckvstore.engine.writing.row_edits import RowEdits
from duckvstore.errors import SqlError
from duckvstore.format.codecs.arrow_values import plain_table
from duckvstore.format.rows.encoding import exact
from duckvstore.format.stored.schema import shown, to_arrow
from duckvstore.sql.driver.instance import registered
from duckvstore.sql.driver.interrupts import fetch_arrow
from duckvstore.sql.syntax.literals import quote
from duckvstore.sql.values import kinds
from duckvstore.sql.values.types import readable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    import duckdb
    import pyarrow as pa

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.format.stored.documents import Version

NAME = "__vstore_target"
BARE = "__vstore_bare"
ROW = "__vstore_row"
_LOADED = "__vstore_loaded"
_TOUCHED = "__vstore_touched"


class Scratch:
    """The rows of some segments of a version as a temporary table of one cursor; ``close`` drops it."""

    def __init__(
        self,
        cursor: duckdb.DuckDBPyConnection,
        library: OpenLibrary,
        version: Version,
        kept: Sequence[int] | None,
        names: Collection[str] | None = None,
    ) -> None:
        """Load the segments at the positions ``kept`` with their row numbers; None: no rows and no numbers.

        ``names``: the columns that the statement may look at or change, folded (None: all); the others stay as stored.
        Raises SqlError for what SQL cannot hold, and the errors of reading.
        """
        import pyarrow as pa

        self._cursor, self._version = cursor, version
        self._schema = to_arrow(version.schema)
        #: what the statement sees; the rest says how missing rows are marked, and stays with the rows left alone
        self._fields = [field for field in shown(version.schema) if names is None or field.name.casefold() in names]
        loaded_names = {field.name for field in self._fields}
        self._own = {
            column.name: kind
            for column in version.schema.columns
            if column.name in loaded_names and (kind := kinds.of_column(column))
        }
        self._shown = kinds.shown(_LOADED, self._own)  # in DuckDB's own types
        self._is_numbered = kept is not None
        if not len(self._schema):
            raise SqlError(
                f"version {version.number} of {version.symbol!r} has no columns, so SQL cannot change it: use write()"
            )
        for name in self._schema.names:
            if name.casefold().startswith(ROW):
                raise SqlError(f"column {name!r} of {version.symbol!r} has a name that SQL needs to change rows")
        chosen = list(kept or ())
        table = segments.read_table(library, version, segments=chosen)
        self._rows = table if table.schema == self._schema else table.cast(self._schema)
        self._numbers = reads.positions(version, chosen)
        self._loaded_positions = frozenset(chosen)
        loaded = plain_table(self._rows.select([field.name for field in self._fields]))
        columns = [readable(name, column) for name, column in zip(loaded.column_names, loaded.columns, strict=True)]
        names = list(loaded.column_names)
        if self._is_numbered:
            columns, names = [*columns, pa.array(self._numbers, pa.int64())], [*names, ROW]
        self._loaded = pa.table(columns, names=names)
        with registered(self._cursor, _LOADED, self._loaded):
            self._cursor.execute(f"CREATE OR REPLACE TEMP TABLE {quote(NAME)} AS FROM {self._shown}")

    def _expression(self, field: pa.Field) -> str:
        """Return what selects a column in the form in which it is stored."""
        kind = self._own.get(field.name)
        column = quote(field.name)
        if kind is None:
            return _expression(field)
        return kinds.encoded(column, kind, kinds.stored(kind)) or column

    def _differs(self, field: pa.Field) -> str:
        """Return the condition that a column of ``is_now`` is not what it is in ``was``."""
        kind = self._own.get(field.name)
        if kind is None:
            return _differs(field)
        # By what is stored: a month equals 30 days, and two texts of one JSON value are two values.
        now, was = (f"{side}.{quote(field.name)}" for side in ("is_now", "was"))
        texts = (f"CAST({kinds.encoded(side, kind, kinds.stored(kind)) or side} AS VARCHAR)" for side in (now, was))
        return " COLLATE C IS DISTINCT FROM ".join(texts) + " COLLATE C"

    def close(self) -> None:
        """Drop the table; in an aborted transaction it goes with that."""
        with suppress(Exception):
            self._cursor.execute(f"DROP TABLE IF EXISTS temp.{quote(NAME)}")

    def rows_of(self, run: Sequence[int]) -> pa.Table | None:
        """Return the rows of neighbouring segments as they were loaded; None: not all of them were."""
        if not self._loaded_positions.issuperset(run):
            return None
        before = sum(self._version.segments[at].row_count for at in self._loaded_positions if at < run[0])
        row_count = sum(self._version.segments[at].row_count for at in run)
        return self._rows.slice(before, row_count)

    def added(self) -> RowEdits:
        """Return the rows that are there as rows to add, in the order in which they came."""
        return RowEdits.of(self._rows.slice(0, 0), added=self._select("ORDER BY rowid"))

    def left(self) -> RowEdits:
        """Return the rows that are not there any more as rows to remove."""
        return RowEdits.of(self._rows.slice(0, 0), removed=self._removed())

    def _removed(self) -> Any:
        import numpy as np

        left = self._query(f"SELECT {quote(ROW)} FROM {quote(NAME)}").column(0).to_numpy().astype(np.int64)
        return np.setdiff1d(self._numbers, left)

    @contextmanager
    def gone(self) -> Iterator[str]:
        """Yield the relation with the rows that are not there any more, as they were."""
        import numpy as np
        import pyarrow as pa

        is_gone = pa.array(np.isin(self._numbers, self._removed()))
        with registered(self._cursor, _LOADED, self._loaded.drop_columns([ROW]).filter(is_gone)):
            yield self._shown

    @contextmanager
    def without_rows(self) -> Iterator[str]:
        """Yield the name of a table like the symbol's, without rows and without their numbers."""
        columns = f"* EXCLUDE ({quote(ROW)})"
        self._cursor.execute(f"CREATE OR REPLACE TEMP TABLE {BARE} AS SELECT {columns} FROM {quote(NAME)} LIMIT 0")
        try:
            yield BARE
        finally:
            with suppress(Exception):  # in an aborted transaction it goes with that
                self._cursor.execute(f"DROP TABLE IF EXISTS temp.{BARE}")

    @contextmanager
    def changed(self, numbers: pa.ChunkedArray) -> Iterator[str]:
        """Yield the relation with the rows of these ``numbers`` as they are now, each as often as it is there."""
        import pyarrow as pa

        row = quote(ROW)
        with registered(self._cursor, _TOUCHED, pa.table({"number": numbers})):
            yield f"(SELECT is_now.* EXCLUDE ({row}) FROM {_TOUCHED} JOIN {quote(NAME)} AS is_now ON {row} = number)"

    def compared(self) -> RowEdits:
        """Return what became of all rows, by a comparison with what they were.

        For MERGE: what its RETURNING gives is not always the row that was changed (DuckDB 1.5).
        """
        differs = " OR ".join(map(self._differs, self._fields))
        with registered(self._cursor, _LOADED, self._loaded):
            touched = self._query(
                f"SELECT was.{quote(ROW)} FROM {self._shown} AS was "
                f"LEFT JOIN {quote(NAME)} AS is_now USING ({quote(ROW)}) WHERE is_now.{quote(ROW)} IS NULL OR {differs}"
            )
        return self.edits(touched.column(0))

    def edits(self, touched: pa.ChunkedArray, assigned: Collection[str] = ()) -> RowEdits:
        """Return what became of the rows with the numbers ``touched`` (null: of rows that were added).

        ``assigned``: folded names of the columns that have a new value in each, though it may look like the old.
        """
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        asked = pc.unique(touched.drop_null()).sort()
        numbers = asked.to_numpy(zero_copy_only=False).astype(np.int64)
        with registered(self._cursor, _TOUCHED, pa.table({"number": asked})):
            among = f"WHERE {quote(ROW)} IN (SELECT number FROM {_TOUCHED}) ORDER BY {quote(ROW)}"
            found = self._query(f"SELECT {quote(ROW)} FROM {quote(NAME)} {among}")
            changed = found.column(0).to_numpy().astype(np.int64)
            before = self._rows.take(np.searchsorted(self._numbers, changed))
            loaded = set(self._loaded.column_names)
            marked = {name: before.column(name) for name in self._schema.names if name not in loaded}
            rows = self._without_markers(self._select(among, {**marked, **self._kept_whole(before, among, assigned)}))
        added = self._select(f"WHERE {quote(ROW)} IS NULL ORDER BY rowid")
        removed = np.setdiff1d(numbers, changed, assume_unique=True)
        return RowEdits(removed, changed, before, self._kept_precision(before, rows, assigned), added)

    def _without_markers(self, rows: pa.Table) -> pa.Table:
        """Return ``rows`` without markers of missing rows where there is a value now, which may be gone again later."""
        import pyarrow as pa
        import pyarrow.compute as pc

        places = {column.id: at for at, column in enumerate(self._version.schema.columns)}
        for column, codes in self._version.schema.markers.items():
            is_missing = pc.is_null(rows.column(places[column]))
            left = pc.if_else(is_missing, rows.column(places[codes]), pa.scalar(None, pa.int8()))
            rows = rows.set_column(places[codes], self._schema.field(places[codes]), left)
        return rows

    def _kept_whole(self, before: pa.Table, among: str, assigned: Collection[str]) -> dict[str, pa.ChunkedArray]:
        """Return the nested columns of the rows ``among`` in which DuckDB shows less than is stored.

        A value that was changed is DuckDB's, the others are those ``before``.
        """
        import numpy as np
        import pyarrow as pa

        fields = [field for field in self._fields if field.name.casefold() not in assigned]
        finer = [field for field in fields if _holds_finer(field.type)]
        if not finer:
            return {}
        asked = ", ".join(f"({self._differs(field)}) AS {quote(field.name)}" for field in finer)
        joined = f"{quote(NAME)} AS is_now JOIN {self._shown} AS was USING ({quote(ROW)})"
        with registered(self._cursor, _LOADED, self._loaded):
            differs = self._query(f"SELECT {asked} FROM {joined} {among}")
        found = {}
        for field, column in zip(finer, differs.columns, strict=True):
            is_new = column.to_numpy().astype(bool)
            kept = before.column(field.name).filter(pa.array(~is_new))
            if is_new.any():
                now = self._query(f"SELECT {self._expression(field)} FROM {quote(NAME)} {among}").column(0)
                new = self._in_type(field, now.filter(pa.array(is_new)))
                kept = pa.chunked_array([*kept.chunks, *new.chunks], type=field.type)
            order = np.argsort(np.concatenate([np.flatnonzero(~is_new), np.flatnonzero(is_new)]), kind="stable")
            found[field.name] = kept.take(pa.array(order))
        return found

    def _kept_precision(self, before: pa.Table, after: pa.Table, assigned: Collection[str]) -> pa.Table:
        """Return ``after`` with the stored value where DuckDB shows the same: it may show less than is stored."""
        import pyarrow as pa
        import pyarrow.compute as pc

        columns = list(after.columns)
        loaded = {field.name for field in self._fields}
        for at, field in enumerate(self._schema):
            if field.name in loaded and _is_finer(field.type) and field.name.casefold() not in assigned:
                with registered(self._cursor, _LOADED, pa.table({field.name: before.column(at)})):
                    shown = self._query(f"SELECT {_expression(field)} FROM {_LOADED}").column(0)
                is_same = pc.equal(_stored(shown, field.type), columns[at])
                columns[at] = pc.if_else(pc.fill_null(is_same, False), before.column(at), columns[at])
        return pa.table(columns, schema=after.schema)

    def _query(self, text: str) -> pa.Table:
        return fetch_arrow(self._cursor, text)

    def _select(self, rest: str, known: Mapping[str, pa.ChunkedArray] | None = None) -> pa.Table:
        """Return rows in the stored schema, some columns of which may be ``known``.

        Raises SqlError for a value that the stored type does not hold.
        """
        import pyarrow as pa

        columns = dict(known or {})
        fields = [field for field in self._fields if field.name not in columns]
        asked = ", ".join(map(self._expression, fields)) or "1"
        found = self._query(f"SELECT {asked} FROM {quote(NAME)} {rest}")
        for field, column in zip(fields, found.columns, strict=False):
            columns[field.name] = self._in_type(field, column)
        for field in self._schema:
            if field.name not in columns:  # rows that are new have the marker of their column
                columns[field.name] = pa.chunked_array([pa.nulls(found.num_rows, field.type)])
        return pa.table([columns[name] for name in self._schema.names], schema=self._schema)

    def _in_type(self, field: pa.Field, column: pa.ChunkedArray) -> pa.ChunkedArray:
        import pyarrow as pa

        try:
            return _stored(column, field.type)
        except (pa.ArrowException, ValueError) as error:
            raise SqlError(
                f"a value for column {field.name!r} does not fit its type {field.type}: {error}: cast it in the "
                "statement"
            ) from error


def _expression(field: pa.Field) -> str:
    """Return what selects a column so that Arrow can hold it: an interval as a number of its unit."""
    import pyarrow.types as arrow_types

    column = quote(field.name)
    return f"epoch_ns({column})" if arrow_types.is_duration(field.type) else column


def _differs(field: pa.Field) -> str:
    """Return the condition that a column of ``is_now`` is not what it is in ``was``.

    Also where DuckDB takes both for equal: by a collation, or as zeros of two signs.
    """
    import pyarrow.types as arrow_types

    now, was = f"is_now.{quote(field.name)}", f"was.{quote(field.name)}"
    differs = f"{now} IS DISTINCT FROM {was}"
    kind = field.type.value_type if arrow_types.is_dictionary(field.type) else field.type
    if arrow_types.is_string(kind) or arrow_types.is_large_string(kind) or arrow_types.is_string_view(kind):
        return f"{now} COLLATE C IS DISTINCT FROM {was} COLLATE C"
    if arrow_types.is_floating(kind):
        return f"{differs} OR ({now} = 0 AND signbit({now}) <> signbit({was}))"
    if arrow_types.is_nested(kind):
        return f"{differs} OR {now}::VARCHAR COLLATE C IS DISTINCT FROM {was}::VARCHAR COLLATE C"
    return differs


def _stored(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    import pyarrow as pa
    import pyarrow.types as arrow_types

    if isinstance(kind, pa.BaseExtensionType) and kind.extension_name == "arrow.uuid":
        raw = [None if text is None else uuid.UUID(str(text)).bytes for text in column.to_pylist()]  # DuckDB gives text
        return pa.chunked_array([kind.wrap_array(pa.array(raw, kind.storage_type))])
    if isinstance(kind, pa.BaseExtensionType):
        storage = _stored(column, kind.storage_type)
        return pa.chunked_array([kind.wrap_array(chunk) for chunk in storage.chunks], type=kind)
    if arrow_types.is_duration(kind):
        return column.cast(pa.duration("ns")).cast(kind)
    if arrow_types.is_dictionary(kind):
        return exact(exact(column, kind.value_type), kind)
    return exact(column, kind)


def _holds_finer(kind: pa.DataType) -> bool:
    """Whether ``kind`` is nested and somewhere in it are values that DuckDB shows coarsely, or durations."""
    import pyarrow.types as arrow_types

    children = [kind.field(at).type for at in range(kind.num_fields)] if arrow_types.is_nested(kind) else []
    return any(_is_finer(child) or arrow_types.is_duration(child) or _holds_finer(child) for child in children)


def _is_finer(kind: pa.DataType) -> bool:
    """Whether DuckDB shows values of ``kind`` to the microsecond, and nanoseconds are stored."""
    import pyarrow.types as arrow_types

    is_zoned = arrow_types.is_timestamp(kind) and kind.tz is not None
    return bool((is_zoned or arrow_types.is_duration(kind)) and kind.unit == "ns")
