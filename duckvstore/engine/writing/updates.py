"""Plans of versions in which the rows of a range of times are replaced."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from duckvstore.engine.library import manifests
from duckvstore.engine.reading import reads, segments
from duckvstore.engine.reading.call_segments import Shareable
from duckvstore.engine.reading.ranges import NO_TICKS
from duckvstore.engine.writing import drafts, edits, given_rows, whole_values
from duckvstore.engine.writing.segment_upload import Placed, place
from duckvstore.errors import InvalidInput
from duckvstore.format.evolution import joins
from duckvstore.format.evolution.cell_rules import TableCells
from duckvstore.format.evolution.editing import check_tabular
from duckvstore.format.rows import order
from duckvstore.format.stored.schema import to_arrow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pyarrow as pa

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.engine.reading.ranges import DateRange
    from duckvstore.engine.writing.commits import Draft
    from duckvstore.engine.writing.edits import Plan
    from duckvstore.format.rows.order import Order
    from duckvstore.format.stored.documents import Version


_UPDATES_NEED_IT = "which update() needs"


def update(
    library: OpenLibrary,
    given: given_rows.GivenRows,
    metadata: Any,
    date_range: DateRange | None,
    missing: Callable[[], Exception] | None,
) -> Plan:
    """Plan a version in which the rows of a closed range of the index of times are replaced by the given ones.

    ``date_range`` None means the range that the data spans; data outside of a given range is left out. Where there
    is no such symbol, ``missing()`` is raised, or (None) the data is written. Metadata None keeps the previous.
    Raises InvalidInput for data without times.
    """
    is_empty = given_rows.is_empty(given.rows)
    if not is_empty and given.rows.kind not in ("arrow", "polars"):  # these may have the index column of what they join
        _check_times(given)
    given_rows.check_ascends(given.where, given.order, _UPDATES_NEED_IT)

    def in_memory(newest: Version | None) -> given_rows.GivenRows:
        fitted = given.fitted(newest)
        return replace(fitted, encoded=fitted.rows.in_memory())

    whole = drafts.once(in_memory)

    def plan(newest: Version | None) -> Draft | None:
        if newest is None or newest.deleted:
            if missing is not None:
                raise missing()
            if is_empty:
                return whole_values.write(library, given, metadata, "update")(newest)
            _check_times(given)
            return whole_values.write(library, _within(whole(newest), date_range), metadata, "update")(newest)
        check_tabular(newest.kind, "update", given.where)
        joins.check_kind(newest.kind, given.rows.kind, given.where)
        joining = whole(newest)
        table: Any = joining.rows.table
        if not table.num_rows and (date_range is None or not newest.row_count):
            return drafts.unchanged("update", newest, metadata)
        if table.num_rows:
            base, merged = drafts.evolved(library, newest, joining, TableCells(table))
            new = merged.rows(table)
        else:
            base, new = newest, to_arrow(newest.schema).empty_table()
        column, index_type = reads.date_index(library, base)
        times = order.of_times(new.column(column))
        _check_updatable(library, base, given, times)
        low, high = (times.low, times.high) if date_range is None else date_range.ticks(index_type, column)
        new = new.filter(reads.between(new.column(column), low, high))
        touched = reads.segments_between(base, column, low, high)
        if (new.num_rows == 0 and not touched) or (low, high) == NO_TICKS:
            return drafts.unchanged("update", newest, metadata)
        placed, window = _replaced(library, base, touched, column, (low, high), new)
        return drafts.edited("update", base, placed, metadata, True, window)

    return plan


def _check_times(given: given_rows.GivenRows) -> None:
    if order.time_level(given.rows.schema) is None:
        raise InvalidInput(
            f"update() of {given.where} needs data with a DatetimeIndex, or times as the first of several levels: "
            "set_index() them (index_column= names them in an Arrow or polars table), or write() it all"
        )


def _within(given: given_rows.GivenRows, date_range: DateRange | None) -> given_rows.GivenRows:
    """Return the rows of ``given``, which are in memory, whose times lie within ``date_range`` (None: all)."""
    schema = given.rows.schema
    table: Any = given.rows.table
    column = schema.index[0]
    if date_range is not None:
        low, high = date_range.ticks(to_arrow(schema).field(column).type, column)
        table = table.filter(reads.between(table.column(column), low, high))
    times = order.of_times(table.column(column))
    given_rows.check_ascends(given.where, times, _UPDATES_NEED_IT)
    return replace(given, encoded=replace(given.rows, table=table), order=times)


def _replaced(
    library: OpenLibrary,
    base: Version,
    touched: Sequence[int],
    column: str,
    bounds: tuple[int | None, int | None],
    new: pa.Table,
) -> tuple[Placed, int | None]:
    """Store ``base`` with ``new`` in place of what lies within ``bounds``, which only ``touched`` segments do."""
    low, high = bounds
    window = drafts.window(library, base)
    if touched:
        start, stop = touched[0], touched[-1] + 1
        # The index ascends: only the first and the last of them may have rows on either side.
        edges = segments.read_table(library, base, segments=sorted({start, stop - 1}))
        ticks = edges.column(column)
        before = [_kept(edges, reads.between(ticks, None, low - 1))] if low is not None else []
        after = [_kept(edges, reads.between(ticks, high + 1, None))] if high is not None else []
        rows = drafts.concat([*before, new, *after], base.schema)
    else:
        start = stop = len(reads.segments_between(base, column, None, low))
        rows = new
        if start == len(base.segments):
            counts = [segment.row_count for segment in base.segments]
            start -= edits.merged_tail(counts, new.num_rows, 2 * window if window else new.num_rows)
            rows = drafts.joined(library, base, base.segments[start:stop], [new])
    shareable = Shareable(base.segments[start:stop])
    placed = place(library, base.symbol, base.schema, drafts.cut(rows, base.schema, window), shareable)
    whole = (*base.segments[:start], *placed.segments, *base.segments[stop:])
    return replace(placed, segments=manifests.fold(library, base.symbol, whole, base.segments)), window


def _kept(rows: pa.Table, mask: pa.ChunkedArray) -> pa.Table:
    """Return the rows that the mask keeps: where they are one run, as part of the same buffers."""
    places = mask.to_numpy().nonzero()[0]
    if len(places) and int(places[-1] - places[0]) + 1 != len(places):
        return rows.filter(mask)
    return rows.slice(int(places[0]) if len(places) else 0, len(places))


def _check_updatable(library: OpenLibrary, newest: Version, given: given_rows.GivenRows, times: Order) -> None:
    given_rows.check_ascends(given.where, times, _UPDATES_NEED_IT)
    if not reads.is_sorted(library, newest):
        raise InvalidInput(
            f"{given.where} cannot be updated by index range: its index is not sorted: write() the whole value in order"
        )
