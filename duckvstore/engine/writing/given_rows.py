"""Rows that a caller gives to an edit: in which order their times are, and which columns they can join."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from duckvstore.errors import InvalidInput, Unsupported
from duckvstore.format.codecs import tables, values
from duckvstore.format.rows import order
from duckvstore.format.rows.value_rows import Encoded, Nested

if TYPE_CHECKING:
    from collections.abc import Callable

    from duckvstore.format.rows.order import Order
    from duckvstore.format.stored.documents import Schema, Version


@dataclass(frozen=True, slots=True)
class GivenRows:
    """Rows that a caller gives to an edit of ``symbol``; ``checks_order``: they are refused unless their times ascend.

    ``order``: of their times; None: they have none, or are yet to be read. ``fit``: what brings rows into the types of
    columns that SQL made, given the stored schema and ``where``.
    """

    symbol: str
    encoded: Encoded | Nested
    where: str
    order: Order | None = None
    checks_order: bool = False
    fit: Callable[[Encoded, Schema, str], Encoded] | None = None

    @property
    def rows(self) -> Encoded:
        """The value as rows. Raises InvalidInput for one that is nested."""
        if isinstance(self.encoded, Nested):
            raise InvalidInput(f"a nested value for {self.where} cannot be added to rows: write() it as a whole")
        return self.encoded

    def fitted(self, newest: Version | None) -> GivenRows:
        """Return the rows in the types of the columns of ``newest`` that only carry DuckDB's."""
        if self.fit is None:
            return self
        check_carried(self.rows.schema, newest, self.where)
        if newest is None or not any(column.duckdb is not None for column in newest.schema.columns):
            return self
        return replace(self, encoded=self.fit(self.rows, newest.schema, self.where))


def check_carried(given: Schema, newest: Version | None, where: str) -> None:
    """Raise Unsupported unless columns that only carry a type of DuckDB's own join columns of this type."""
    carried = [at for at, column in enumerate(given.columns) if column.duckdb is not None]
    stored = newest.schema if newest is not None and not newest.deleted and newest.kind == "arrow" else None
    if not carried:
        return
    own = {} if stored is None else dict(zip(tables.labels(stored), stored.columns, strict=True))
    names = tables.labels(given)
    for at in carried:
        kind, found = given.columns[at].duckdb, own.get(names[at])
        if found is None or found.duckdb != kind:
            raise Unsupported(
                f"column {names[at]!r} of {where} holds Arrow's intervals, which Parquet cannot hold and only a column "
                f"of the type {kind} takes: cast it to another type, or make the column in SQL first"
            )


def given_rows(
    symbol: str,
    encoded: Encoded | Nested,
    where: str,
    *,
    checks_order: bool,
    fit: Callable[[Encoded, Schema, str], Encoded] | None = None,
) -> GivenRows:
    """Return rows for an edit. Raises InvalidInput where ``checks_order`` and their times are known not to ascend."""
    found = order.of_encoded(encoded) if isinstance(encoded, Encoded) else None
    if checks_order:
        check_ascends(where, found)
    return GivenRows(symbol, encoded, where, found, checks_order, fit)


def check_ascends(where: str, found: Order | None, otherwise: str = "or pass validate_index=False") -> None:
    """Raise InvalidInput for times that do not ascend; ``otherwise``: what else the caller can do."""
    if found is None or found.is_sorted:
        return
    if found.has_missing:
        raise InvalidInput(
            f"the index of the data for {where} has NaT, which is in no order: drop those rows, {otherwise}"
        )
    raise InvalidInput(
        f"the index of the data for {where} is not sorted: sort_index() it (sort the rows by it in Arrow and polars), "
        f"{otherwise}"
    )


def watched(given: GivenRows, newest: Version | None) -> tuple[Encoded, Order | None]:
    """Return the rows and the order of their times, which is known once they were read (None: they have none).

    Rows without an index of their own are ordered by that of ``newest``.
    """
    column = order.time_level(given.rows.schema) or (order.time_level(newest.schema) if newest is not None else None)
    if given.order is not None or given.rows.reader is None or column is None:
        return given.rows, given.order
    found = order.Order()
    return order.watched(given.rows, column, found), found


def sorted_alone(given: GivenRows, times: Order | None) -> bool | None:
    """Return whether rows that were read ascend. Raises InvalidInput where they must and do not."""
    if given.checks_order:
        check_ascends(given.where, times)
    return None if times is None else times.is_sorted


def is_empty(rows: Encoded) -> bool:
    """Whether a value that is not a stream is without rows, whatever its columns."""
    if rows.table is None:
        return False
    return not (rows.table.num_rows if rows.schema.columns else values.row_count_without_columns(rows.schema))
