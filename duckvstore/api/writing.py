"""Writing: values, edits of their rows, and what else makes a version.

Names, parameters and return shapes follow ArcticDB's ``Library`` where the job is the same. Invariant: each call
makes one version at most, which is there as a whole or not at all; what a call refuses it has not changed.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from duckvstore.api.base import Handle, plain
from duckvstore.engine.maintenance import prune as maintenance
from duckvstore.engine.reading import catalogue, ranges, reads
from duckvstore.engine.writing import appends, commits, edits, given_rows, row_edits, updates, whole_values
from duckvstore.errors import InvalidInput
from duckvstore.format.codecs import arrow_values, values
from duckvstore.format.rows.value_rows import Encoded
from duckvstore.format.stored import metadata as user_metadata
from duckvstore.format.stored import schema as schemas

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from duckvstore.api.items import VersionedItem
    from duckvstore.engine.reading.catalogue import AsOf
    from duckvstore.engine.writing.edits import Plan
    from duckvstore.engine.writing.given_rows import GivenRows
    from duckvstore.format.stored.documents import Schema, Version


class Writing(Handle):
    """The methods of a library that make versions."""

    def write(
        self,
        symbol: str,
        data: Any,
        metadata: Any = None,
        prune_previous_versions: bool = False,
        *,
        validate_index: bool | None = None,
        index_column: str | None = None,
        allow_pickle: bool = False,
        author: str | None = None,
        message: str | None = None,
        expected_version: int | None = None,
    ) -> VersionedItem:
        """Write a value as the next version of ``symbol``, whatever was there before.

        ``data``: a pandas DataFrame or Series, a polars frame, an Arrow table, anything with
        ``__arrow_c_stream__`` (streamed), a numpy array, what JSON can hold, or dicts and lists of these.
        ``allow_pickle``: take any other object too, pickled; reading it runs code and must be allowed again.
        ``metadata``: any nesting of dicts, lists and scalars; it replaces the previous version's. Segments that the
        newest version has already are shared: ``new_rows`` and ``new_bytes`` of the result say what was stored.
        ``prune_previous_versions``: see there.
        ``validate_index``: refuse an unsorted index (its first level) of times (None: as the library's options say:
        yes). ``index_column``: the column of timestamps by which the rows of an Arrow or polars table go, as those of a
        dataframe by its index: for date_range, update, order. It stays where it is.
        ``expected_version``: the number that must be at the head, or Conflict is raised.
        Raises InvalidInput or Unsupported (naming column and type) for what could not come back equal.

        Examples:
            >>> item = lib.write("trades", pd.DataFrame({"price": [10.0, 12.5]}), message="corrected")
            >>> item.version, item.row_count
            (2, 2)
            >>> lib.write("trades", pd.DataFrame({"price": [1.0]}), expected_version=0)
            Traceback (most recent call last):
                ...
            duckvstore.errors.Conflict: expected version 0 at the head of eod/trades, found 2: ...
        """
        call = self._call(symbol, author, message, expected_version)
        user_metadata.to_json(metadata)
        call = self._looking_ahead(call)
        with taking(data):
            given = self._given(
                symbol, data, validate_index=validate_index, index_column=index_column, allow_pickle=allow_pickle
            )
            plan = whole_values.write(self.open_library, given, metadata)
            return self._made(call, plan, prune=prune_previous_versions)

    def write_pickle(
        self,
        symbol: str,
        data: Any,
        metadata: Any = None,
        prune_previous_versions: bool = False,
        *,
        author: str | None = None,
        message: str | None = None,
        expected_version: int | None = None,
    ) -> VersionedItem:
        """Write any object: what ``write`` takes is stored as it is there, anything else is pickled.

        Reading a pickle needs ``allow_pickle=True``, because it runs code that its writer chose.
        """
        return self.write(
            symbol,
            data,
            metadata,
            prune_previous_versions,
            allow_pickle=True,
            author=author,
            message=message,
            expected_version=expected_version,
        )

    def append(
        self,
        symbol: str,
        data: Any,
        metadata: Any = None,
        prune_previous_versions: bool = False,
        validate_index: bool | None = None,
        index_column: str | None = None,
        *,
        author: str | None = None,
        message: str | None = None,
        expected_version: int | None = None,
    ) -> VersionedItem:
        """Add rows at the end; a missing symbol is made.

        New columns, missing ones and safely wider types fit: rows without a value have null there. A column without any
        value takes the type of the other side; whole and floating point numbers meet where no value is lost.
        A datetime index must not begin before the end of what is there, unless ``validate_index=False``.
        ``index_column``: as in ``write``, where that made none; rows that join others go by theirs. ``metadata``
        None keeps the previous version's. No rows, whatever their columns, and no metadata make no new version: the
        newest is returned.
        Raises InvalidInput, with a line per column, for a schema that does not fit; Conflict under heavy contention.

        Examples:
            >>> day = pd.DatetimeIndex(["2026-01-04"], name="time")
            >>> lib.append("trades", pd.DataFrame({"price": [12.5], "quantity": [70]}, index=day)).row_count
            4
        """
        call = self._call(symbol, author, message, expected_version)
        user_metadata.to_json(metadata)
        call = self._looking_ahead(call)
        with taking(data):
            given = self._given(symbol, data, validate_index=validate_index, index_column=index_column, joins=True)
            plan = appends.append(self.open_library, given, metadata)
            return self._made(call, plan, prune=prune_previous_versions)

    def update(
        self,
        symbol: str,
        data: Any,
        metadata: Any = None,
        upsert: bool = False,
        date_range: tuple[Any, Any] | None = None,
        prune_previous_versions: bool = False,
        index_column: str | None = None,
        *,
        author: str | None = None,
        message: str | None = None,
        expected_version: int | None = None,
    ) -> VersionedItem:
        """Replace the rows of a closed range of the index of times: what ``data`` spans, or ``date_range``.

        Of several index levels the first counts. Rows of ``data`` outside of a given ``date_range`` (as in ``read``)
        are left out. Only segments with rows in
        the range are written again. ``upsert``: write the data where there is no such symbol. Schemas may differ as
        in ``append``; ``metadata`` None keeps the previous version's. ``index_column``: as in ``append``.
        Raises NoSuchSymbol, and InvalidInput where an index is not sorted or holds no times.

        Examples:
            >>> day = pd.DatetimeIndex(["2026-01-02"], name="time")
            >>> lib.update("trades", pd.DataFrame({"price": [11.0], "quantity": [200]}, index=day)).version
            2
            >>> lib.read("trades").data["price"].tolist()
            [10.0, 11.0, 12.0]
        """
        call = self._call(symbol, author, message, expected_version)
        user_metadata.to_json(metadata)
        wanted = ranges.date_range_if(date_range)
        missing = None if upsert else lambda: self._missing(symbol, "update (or pass upsert=True)")
        with taking(data):
            given = self._given(symbol, data, validate_index=False, index_column=index_column, joins=True)
            plan = updates.update(self.open_library, given, metadata, wanted, missing)
            return self._made(call, plan, prune=prune_previous_versions)

    def delete_data_in_range(
        self,
        symbol: str,
        date_range: tuple[Any, Any],
        prune_previous_versions: bool = False,
        *,
        author: str | None = None,
        message: str | None = None,
        expected_version: int | None = None,
    ) -> VersionedItem:
        """Make a version without the rows of a closed range of the datetime index; None is open.

        Where no row lies in it, the newest version is returned and none is made. Raises NoSuchSymbol, InvalidInput.
        """
        call = self._call(symbol, author, message, expected_version)
        wanted = ranges.date_range(date_range)

        def matching(version: Version) -> Any:
            column, _ = reads.date_index(self.open_library, version)
            return reads.read_dates(self.open_library, version, [column], wanted).positions

        return self._without(call, "delete_data_in_range", matching, prune=prune_previous_versions)

    def delete_rows(
        self,
        symbol: str,
        where: str,
        prune_previous_versions: bool = False,
        *,
        author: str | None = None,
        message: str | None = None,
        expected_version: int | None = None,
    ) -> VersionedItem:
        """Make a version without the rows for which the SQL predicate ``where`` is true.

        Only segments with such rows are written again; where there are none, the newest version is returned and none
        is made. Raises NoSuchSymbol, NoSuchColumn, SqlError.

        Examples:
            >>> lib.delete_rows("trades", "quantity < 100").row_count
            2
        """
        call = self._call(symbol, author, message, expected_version)

        def matching(version: Version) -> Any:
            from duckvstore.sql.where import read_where

            return read_where(self.open_library, version, [], where).positions

        return self._without(call, "delete_rows", matching, prune=prune_previous_versions)

    def write_metadata(
        self,
        symbol: str,
        metadata: Any,
        prune_previous_versions: bool = False,
        *,
        author: str | None = None,
        message: str | None = None,
        expected_version: int | None = None,
    ) -> VersionedItem:
        """Make a version with the newest one's data and other metadata; no data is read or written.

        Raises NoSuchSymbol when there is nothing to describe, and Conflict.
        """
        user_metadata.to_json(metadata)
        call = self._call(symbol, author, message, expected_version)
        plan = edits.write_metadata(metadata, lambda: self._missing(symbol, "describe"))
        return self._made(call, plan, prune=prune_previous_versions)

    def restore_version(
        self, symbol: str, as_of: AsOf, *, author: str | None = None, message: str | None = None
    ) -> VersionedItem:
        """Make a version that equals an earlier one, with its metadata; no data is read or written.

        Restoring the newest version changes nothing and returns it.

        Examples:
            >>> lib.restore_version("trades", 0).version
            2
            >>> lib.read("trades").row_count
            2
        """
        call = self._looking_ahead(self._call(symbol, author, message))
        source = catalogue.resolve_to_refer(self.open_library, symbol, plain(as_of))
        if message is None:
            call = replace(call, message=f"restored version {source.number}")  # its age began with the first read
        return self._made(call, edits.restore(source))

    def delete(self, symbol: str, *, author: str | None = None, message: str | None = None) -> None:
        """Say that the symbol has no value from now on; its history and snapshots stay readable.

        Does nothing when there is no such symbol.
        """
        self._commit(self._call(symbol, author, message), edits.delete())

    def _without(self, call: commits.Call, operation: str, matching: Any, *, prune: bool) -> VersionedItem:
        def missing() -> Exception:
            return self._missing(call.symbol, "delete rows of")

        plan = row_edits.delete_rows(self.open_library, call.symbol, operation, matching, missing)
        return self._made(call, plan, prune=prune)

    def _made(self, call: commits.Call, plan: Plan, *, prune: bool = False) -> VersionedItem:
        made = self._commit(call, plan)
        if prune:
            maintenance.prune(self.open_library, call.symbol, keep_last=1, reason="prune_previous_versions")
        return self._item(made)

    def _validates(self, validate_index: bool | None) -> bool:
        return self.open_library.options.validate_index if validate_index is None else validate_index

    def _given(
        self,
        symbol: str,
        data: Any,
        *,
        validate_index: bool | None,
        index_column: str | None = None,
        allow_pickle: bool = False,
        joins: bool = False,
    ) -> GivenRows:
        """Return a value for an edit. ``joins``: to rows that may be of DuckDB's own types, as which INTERVAL goes."""
        from duckvstore.sql.results.result import Result

        where = self.open_library.quoted(symbol)
        if isinstance(data, Result):  # a C stream would lose the class of an error that comes with a later row
            data = data.reader()
        if index_column is not None and not isinstance(index_column, str):
            raise InvalidInput(f"index_column={index_column!r} is no text: give the name of one column")
        data, intervals = arrow_values.with_intervals(data, where) if joins else (data, ())
        encoded = values.encode(data, where=where, allow_pickle=allow_pickle, index_column=index_column)
        if intervals and isinstance(encoded, Encoded):
            own = ["INTERVAL" if at in intervals else None for at in range(len(encoded.schema.columns))]
            encoded = replace(encoded, schema=schemas.carrying(encoded.schema, own))
        return given_rows.given_rows(symbol, encoded, where, checks_order=self._validates(validate_index), fit=fitted)


def taking(data: Any) -> AbstractContextManager[None]:
    """Return the block in which ``data`` is stored: the rest of a SQL result is given up when a signal ends it."""
    from duckvstore.sql.results.result import Result

    return data.given_up_if_stopped() if isinstance(data, Result) else nullcontext()


def fitted(given: Encoded, stored: Schema, where: str) -> Encoded:
    """Return rows in the types of DuckDB's own that columns of ``stored`` have, as ``sql.writing.fitting`` does."""
    from duckvstore.sql.writing import fitting

    return fitting.fitted(given, stored, where)
