"""Edits of rows, carried out: which segments stay, and which rows are cut and stored anew.

Invariant: copy on write by segment. A segment that no changed row lies in is in the new version as it was, and what
is stored is named by no document until the commit; so a plan may be made again on a new newest version.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

from duckvstore.engine.library import manifests
from duckvstore.engine.reading import composite, reads, segments
from duckvstore.engine.reading.cells import SegmentCells
from duckvstore.engine.reading.ranges import NO_TICKS
from duckvstore.engine.reading.segments import Placed
from duckvstore.engine.writing import edits
from duckvstore.engine.writing.commits import Draft
from duckvstore.errors import InvalidInput, Unsupported
from duckvstore.format.codecs import tables, values
from duckvstore.format.evolution import altering, joins
from duckvstore.format.evolution.cell_rules import TableCells
from duckvstore.format.evolution.editing import check_tabular, resized
from duckvstore.format.rows import chunking, order
from duckvstore.format.rows.encoding import exact
from duckvstore.format.rows.value_rows import Encoded, Nested
from duckvstore.format.stored.manifests import tail as tail_of
from duckvstore.format.stored.schema import to_arrow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import pyarrow as pa

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.engine.reading.ranges import DateRange
    from duckvstore.engine.reading.segments import Shareable
    from duckvstore.engine.writing.edits import Plan
    from duckvstore.format.evolution.cell_rules import Cells
    from duckvstore.format.evolution.joins import Merged
    from duckvstore.format.rows.order import Order
    from duckvstore.format.stored.documents import Schema, Version
    from duckvstore.format.stored.segments import Segment


Outcome = TypeVar("Outcome")

_UPDATES_NEED_IT = "which update() needs"


@dataclass(frozen=True, slots=True)
class Given:
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

    def fitted(self, newest: Version | None) -> Given:
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


def given(
    symbol: str,
    encoded: Encoded | Nested,
    where: str,
    *,
    checks_order: bool,
    fit: Callable[[Encoded, Schema, str], Encoded] | None = None,
) -> Given:
    """Return rows for an edit. Raises InvalidInput where ``checks_order`` and their times are known not to ascend."""
    found = order.of_encoded(encoded) if isinstance(encoded, Encoded) else None
    if checks_order:
        _check_ascends(where, found)
    return Given(symbol, encoded, where, found, checks_order, fit)


def _check_ascends(where: str, found: Order | None, otherwise: str = "or pass validate_index=False") -> None:
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


def write(library: OpenLibrary, given: Given, metadata: Any, operation: str = "write") -> Plan:
    """Plan a version that holds a new value, whatever was there before.

    What the newest version has of it already is shared. Rows are stored once, however often the plan is made.
    """

    def made(newest: Version | None) -> Draft:
        shareable = segments.Shareable(newest.segments if newest is not None else ())
        if isinstance(given.encoded, Nested):
            return _nested(library, given, given.encoded, metadata, operation, shareable)
        return _value(library, given, metadata, operation, newest, shareable)

    return once(made)


def once(action: Callable[[Version | None], Outcome]) -> Callable[[Version | None], Outcome]:
    """Return ``action``, but carried out once: later calls have the same result, or raise the same error.

    A plan may be made several times, and a stream can be read only once: what is left of it must never be taken for
    all of it.
    """
    outcome: list[Outcome] = []
    failure: list[BaseException] = []

    def only(newest: Version | None) -> Outcome:
        if failure:
            raise failure[0]
        if not outcome:
            try:
                outcome.append(action(newest))
            except BaseException as error:
                failure.append(error)
                raise
        return outcome[0]

    return only


def _value(
    library: OpenLibrary, given: Given, metadata: Any, operation: str, newest: Version | None, shareable: Shareable
) -> Draft:
    encoded, times = _watched(given, None)
    window = _window(library, encoded, newest)
    pieces = chunking.pieces(encoded, segment_bytes=library.options.segment_bytes, window=window)
    placed = segments.place(library, given.symbol, encoded.schema, pieces, shareable)
    base = newest.segments if newest is not None else ()
    folded = replace(placed, segments=manifests.fold(library, given.symbol, placed.segments, base))
    is_sorted = _sorted_alone(given, times)
    return draft(operation, encoded.kind, encoded.schema, metadata, folded, is_sorted, window)


def _watched(given: Given, newest: Version | None) -> tuple[Encoded, Order | None]:
    """Return the rows and the order of their times, which is known once they were read (None: they have none).

    Rows without an index of their own are ordered by that of ``newest``.
    """
    column = order.time_level(given.rows.schema) or (order.time_level(newest.schema) if newest is not None else None)
    if given.order is not None or given.rows.reader is None or column is None:
        return given.rows, given.order
    found = order.Order()
    return order.watched(given.rows, column, found), found


def _sorted_alone(given: Given, times: Order | None) -> bool | None:
    """Return whether rows that were read ascend. Raises InvalidInput where they must and do not."""
    if given.checks_order:
        _check_ascends(given.where, times)
    return None if times is None else times.is_sorted


def _nested(
    library: OpenLibrary, given: Given, nested: Nested, metadata: Any, operation: str, shareable: Shareable
) -> Draft:
    written: list[Placed] = []

    def upload(leaf: Encoded) -> Sequence[Segment]:
        pieces = chunking.pieces(leaf, segment_bytes=library.options.segment_bytes)
        placed = segments.place(library, given.symbol, leaf.schema, pieces, shareable)
        written.append(placed)
        return placed.segments

    schema, found, _ = composite.upload_nested(nested, upload)
    new_rows, new_bytes = sum(one.new_rows for one in written), sum(one.new_bytes for one in written)
    folded = manifests.fold(library, given.symbol, found)
    return draft(operation, "nested", schema, metadata, Placed(folded, new_rows, new_bytes), None, None)


def append(library: OpenLibrary, given: Given, metadata: Any) -> Plan:
    """Plan a version with rows added at the end; a missing symbol is made. Small segments there are merged.

    Metadata None keeps the previous. No rows and no metadata: no new version. Raises InvalidInput for a schema that
    does not fit, and (where the rows' order is checked) for an index that would no longer ascend.
    """
    fitted = once(given.fitted)
    begun = once(lambda newest: _begun(fitted(newest)))
    streamed = once(lambda newest: _stored(library, begun(newest)[0], newest))

    def plan(newest: Version | None) -> Draft | None:
        given = fitted(newest)
        table = given.rows.table
        if newest is None or newest.deleted:
            if table is not None:
                return write(library, given, metadata, "append")(newest)
            return _alone(given, *streamed(newest), metadata)
        if newest.kind != "ndarray":
            check_tabular(newest.kind, "append", given.where)
        joins.check_kind(newest.kind, given.rows.kind, given.where)
        if table is None:
            return _append_stream(library, given, newest, begun(newest)[1], streamed, metadata)
        if _is_empty(given.rows):
            return _unchanged("append", newest, metadata)
        base, merged = _evolved(library, newest, given)
        new = merged.rows(table)
        is_sorted = _still_sorted(base, given, _known_times(given, base, new))
        window = _window(library, given.rows, newest)
        last = tail_of(base.segments)
        counts = [segment.row_count for segment in last]
        tail = edits.merged_tail(counts, new.num_rows, 2 * window if window else new.num_rows)
        whole = joined(library, base, last[len(last) - tail :], [new])
        placed = segments.place(library, given.symbol, base.schema, cut(whole, base.schema, window))
        return _extended(library, base, tail, placed, metadata, is_sorted, window)

    return plan


def _is_empty(rows: Encoded) -> bool:
    """Whether a value that is no stream has no rows, whatever its columns."""
    if rows.table is None:
        return False
    return not (rows.table.num_rows if rows.schema.columns else values.row_count_without_columns(rows.schema))


def _unchanged(operation: str, newest: Version, metadata: Any) -> Draft | None:
    """Return the draft for an edit that changes no row: of other metadata, or (None) of nothing."""
    return None if metadata is None else edits.same_segments(operation, newest, metadata)


def _append_stream(
    library: OpenLibrary,
    given: Given,
    newest: Version,
    first: pa.Table,
    streamed: Callable[[Version | None], tuple[Placed, Order | None]],
    metadata: Any,
) -> Draft | None:
    """Draft the version with the rows of a stream, which ``first`` begins, behind those of ``newest``.

    What can be refused by types, by the first rows and by the first times is refused before anything is stored. But a
    column that does not fit may be without any value, which is known only when the rows are stored.
    """
    evolved = None
    with suppress(InvalidInput):
        evolved = _evolved(library, newest, given)
    if evolved is None and first.num_rows:
        _evolved(library, newest, given, TableCells(first))  # what these rows rule out, no others make good
    times = None
    if evolved is not None:
        times = _known_times(given, evolved[0], None)
        _still_sorted(evolved[0], given, times)
    stored, read = streamed(newest)
    if not stored.row_count:
        return _unchanged("append", newest, metadata)
    if evolved is None or evolved[0].schema.columns != given.rows.schema.columns:
        evolved = _evolved(library, newest, given, SegmentCells(library, _as_version(newest, given, stored)))
    base, merged = evolved
    placed = _joining(library, given, base, merged, stored)
    times = _placed_times(base, placed, read) if times is None else _known_times(given, base, None)
    return _extended(
        library, base, 0, placed, metadata, _still_sorted(base, given, times), _window(library, given.rows, newest)
    )


def _begun(given: Given) -> tuple[Given, pa.Table]:
    """Return a stream from its beginning on, and its first rows, in the stored types; none: it has none."""
    import pyarrow as pa

    stored, reader = to_arrow(given.rows.schema), given.rows.reader
    assert reader is not None, "what is in memory is no stream"  # noqa: S101
    batch = next((batch for batch in reader if batch.num_rows), None)
    if batch is None:
        return given, stored.empty_table()
    whole = pa.RecordBatchReader.from_batches(reader.schema, chain([batch], reader))
    return replace(given, encoded=replace(given.rows, reader=whole)), pa.Table.from_batches([batch]).cast(stored)


def _as_version(newest: Version, given: Given, stored: Placed) -> Version:
    """Return the rows of a stream, stored in its own schema, in the form of a version."""
    return replace(newest, schema=given.rows.schema, segments=stored.segments, row_count=stored.row_count)


def _extended(
    library: OpenLibrary,
    base: Version,
    tail: int,
    placed: Placed,
    metadata: Any,
    is_sorted: bool | None,  # noqa: FBT001
    window: int | None,
) -> Draft:
    """Return the draft of an append to ``base`` in which ``placed`` stands for the last ``tail`` segments."""
    found = manifests.extended(library, base.symbol, base.segments, tail, placed.segments)
    every = Placed(found, placed.new_rows, placed.new_bytes)
    keeps_old = base.schema.mixed and len(found) > len(placed.segments)
    schema = edited_schema(base.schema, every.row_count, is_mixed=keeps_old)
    kept_metadata = base.metadata if metadata is None else metadata
    return draft("append", base.kind, schema, kept_metadata, every, is_sorted, window)


def _stored(library: OpenLibrary, given: Given, newest: Version | None) -> tuple[Placed, Order | None]:
    """Store the rows of a stream, in its own schema; return them with the order of their times."""
    window = _window(library, given.rows, newest)
    rows, times = _watched(given, newest)
    pieces = chunking.pieces(rows, segment_bytes=library.options.segment_bytes, window=window)
    return segments.place(library, given.symbol, given.rows.schema, pieces), times


def _alone(given: Given, stored: Placed, times: Order | None, metadata: Any) -> Draft:
    is_sorted = _sorted_alone(given, times) if order.time_level(given.rows.schema) is not None else None
    return draft("append", given.rows.kind, given.rows.schema, metadata, stored, is_sorted, None)


def _joining(library: OpenLibrary, given: Given, base: Version, merged: Merged, stored: Placed) -> Placed:
    """Return the rows of a stream, stored in its own schema, in that of ``base``: as they are where it is equal."""
    own = given.rows.schema
    if own.columns == base.schema.columns:
        return stored
    part = _as_version(base, given, stored)

    def pieces() -> Iterator[pa.Table]:
        for segment in stored.segments:  # one at a time: a stream may be larger than memory
            yield merged.rows(segments.read_table(library, replace(part, segments=(segment,))))

    return segments.place(library, given.symbol, base.schema, pieces())


def update(
    library: OpenLibrary,
    given: Given,
    metadata: Any,
    date_range: DateRange | None,
    missing: Callable[[], Exception] | None,
) -> Plan:
    """Plan a version in which the rows of a closed range of the index of times are replaced by the given ones.

    ``date_range`` None means the range that the data spans; data outside of a given range is left out. Where there
    is no such symbol, ``missing()`` is raised, or (None) the data is written. Metadata None keeps the previous.
    Raises InvalidInput for data without times.
    """
    is_empty = _is_empty(given.rows)
    if not is_empty and given.rows.kind not in ("arrow", "polars"):  # these may have the index column of what they join
        _check_times(given)
    _check_ascends(given.where, given.order, _UPDATES_NEED_IT)
    whole = once(lambda newest: _in_memory(given.fitted(newest)))

    def plan(newest: Version | None) -> Draft | None:
        if newest is None or newest.deleted:
            if missing is not None:
                raise missing()
            if is_empty:
                return write(library, given, metadata, "update")(newest)
            _check_times(given)
            return write(library, _within(*whole(newest), date_range), metadata, "update")(newest)
        check_tabular(newest.kind, "update", given.where)
        joins.check_kind(newest.kind, given.rows.kind, given.where)
        joining, table = whole(newest)
        if not table.num_rows and (date_range is None or not newest.row_count):
            return _unchanged("update", newest, metadata)
        if table.num_rows:
            base, merged = _evolved(library, newest, joining, TableCells(table))
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
            return _unchanged("update", newest, metadata)
        placed, window = _replaced(library, base, touched, column, (low, high), new)
        schema = edited_schema(base.schema, placed.row_count, is_mixed=is_mixed(base, placed))
        kept_metadata = newest.metadata if metadata is None else metadata
        return draft("update", newest.kind, schema, kept_metadata, placed, True, window)

    return plan


def _check_times(given: Given) -> None:
    if order.time_level(given.rows.schema) is None:
        raise InvalidInput(
            f"update() of {given.where} needs data with a DatetimeIndex, or times as the first of several levels: "
            "set_index() them (index_column= names them in an Arrow or polars table), or write() it all"
        )


def _within(given: Given, table: pa.Table, date_range: DateRange | None) -> Given:
    """Return the rows of ``table``, which are those of ``given``, whose times lie within ``date_range`` (None: all)."""
    schema = given.rows.schema
    column = schema.index[0]
    if date_range is not None:
        low, high = date_range.ticks(to_arrow(schema).field(column).type, column)
        table = table.filter(reads.between(table.column(column), low, high))
    times = order.of_times(table.column(column))
    _check_ascends(given.where, times, _UPDATES_NEED_IT)
    return replace(given, encoded=replace(given.rows, table=table, reader=None), order=times)


def delete_rows(
    library: OpenLibrary,
    symbol: str,
    operation: str,
    matching: Callable[[Version], Any],
    missing: Callable[[], Exception],
) -> Plan:
    """Plan a version without the rows whose numbers ``matching(newest)`` returns, ascending; none: no new version."""

    def plan(newest: Version | None) -> Draft | None:
        import numpy as np

        if newest is None or newest.deleted:
            raise missing()
        check_tabular(newest.kind, operation, repr(f"{library.name}/{symbol}"))
        numbers = np.asarray(matching(newest))
        if not len(numbers):
            return None
        starts = np.cumsum([0, *(segment.row_count for segment in newest.segments)])
        touched = np.unique(np.searchsorted(starts, numbers, side="right") - 1).tolist()
        window = _window(library, None, newest)
        found: list[Segment] = []
        written = Placed((), 0, 0)
        done = 0
        for run in edits.runs(touched):
            keep = np.ones(int(starts[run[-1] + 1] - starts[run[0]]), dtype=bool)
            inside = numbers[(numbers >= starts[run[0]]) & (numbers < starts[run[-1] + 1])]
            keep[inside - starts[run[0]]] = False
            rows = segments.read_table(library, newest, segments=run).filter(keep)
            placed = segments.place(library, symbol, newest.schema, cut(rows, newest.schema, window))
            found += [*newest.segments[done : run[0]], *placed.segments]
            written = Placed((), written.new_rows + placed.new_rows, written.new_bytes + placed.new_bytes)
            done = run[-1] + 1
        found += newest.segments[done:]
        whole = replace(written, segments=manifests.fold(library, symbol, found, newest.segments))
        schema = edited_schema(newest.schema, whole.row_count, is_mixed=is_mixed(newest, whole))
        return draft(operation, newest.kind, schema, newest.metadata, whole, newest.is_sorted, window)

    return plan


def altered(newest: Version, schema: Schema) -> Draft:
    """Return the draft of a version over the segments of ``newest``, as seen through another ``schema``."""
    if not newest.segments:
        schema = unmixed(schema)
    return replace(edits.same_segments("alter", newest, newest.metadata), schema=schema)


def recast(library: OpenLibrary, newest: Version, name: str, column: Encoded) -> Draft:
    """Return the draft of a version in which the stored column ``name`` has other values, one for each row."""
    assert column.table is not None, "one column is no stream"  # noqa: S101
    schema = unmixed(altering.retyped(newest.kind, newest.schema, name, column))
    position = schema.names.index(name)
    rows = _concat([segments.read_table(library, newest)], newest.schema)
    rows = rows.set_column(position, to_arrow(schema).field(position), column.table.column(0)).cast(to_arrow(schema))
    window = _window(library, None, newest)
    placed = segments.place(library, newest.symbol, schema, cut(rows, schema, window))
    folded = replace(placed, segments=manifests.fold(library, newest.symbol, placed.segments, newest.segments))
    return draft("alter", newest.kind, schema, newest.metadata, folded, newest.is_sorted, window)


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
    window = _window(library, None, base)
    if touched:
        start, stop = touched[0], touched[-1] + 1
        # The index ascends: only the first and the last of them may have rows on either side.
        edges = segments.read_table(library, base, segments=sorted({start, stop - 1}))
        ticks = edges.column(column)
        before = [edges.filter(reads.between(ticks, None, low - 1))] if low is not None else []
        after = [edges.filter(reads.between(ticks, high + 1, None))] if high is not None else []
        rows = _concat([*before, new, *after], base.schema)
    else:
        start = stop = len(reads.segments_between(base, column, None, low))
        rows = new
        if start == len(base.segments):
            counts = [segment.row_count for segment in base.segments]
            start -= edits.merged_tail(counts, new.num_rows, 2 * window if window else new.num_rows)
            rows = joined(library, base, base.segments[start:stop], [new])
    shareable = segments.Shareable(base.segments[start:stop])
    placed = segments.place(library, base.symbol, base.schema, cut(rows, base.schema, window), shareable)
    whole = (*base.segments[:start], *placed.segments, *base.segments[stop:])
    return replace(placed, segments=manifests.fold(library, base.symbol, whole, base.segments)), window


def _evolved(library: OpenLibrary, newest: Version, given: Given, cells: Cells | None = None) -> tuple[Version, Merged]:
    """Return the newest version as seen through the schema that it has together with the given rows.

    ``cells``: those of rows that are no table.
    """
    known = SegmentCells(library, newest)
    merged = joins.merge(newest.kind, newest.schema, given.rows, where=given.where, cells=known, given=cells)
    if not merged.changed:
        return replace(newest, schema=merged.schema), merged
    schema = replace(merged.schema, mixed=True)
    seen = tuple(
        merged.statistics(segment, partial(known.of_segment, at)) for at, segment in enumerate(newest.segments)
    )
    return replace(newest, schema=schema, segments=seen), merged


def _check_updatable(library: OpenLibrary, newest: Version, given: Given, times: Order) -> None:
    _check_ascends(given.where, times, _UPDATES_NEED_IT)
    if not reads.is_sorted(library, newest):
        raise InvalidInput(
            f"{given.where} cannot be updated by index range: its index is not sorted: write() the whole value in order"
        )


def _known_times(given: Given, base: Version, new: pa.Table | None) -> Order | None:
    """Return the order of the times of rows to append, in the unit of ``base`` (None: it has none, or not yet known).

    ``new``: the rows in the schema of ``base``, unless they are streamed.
    """
    column = order.time_level(base.schema)
    if column is None:
        return None
    if new is not None:
        return order.of_times(new.column(column))
    level = given.rows.first_level
    return None if level is None else order.of_times(exact(level, to_arrow(base.schema).field(column).type))


def _placed_times(base: Version, placed: Placed, read: Order | None) -> Order | None:
    """Return the order of streamed times, ``read`` in a unit of their own, in the unit of ``base``."""
    bounds = reads.time_bounds(replace(base, segments=placed.segments))
    if read is None or bounds is None:
        return read
    return replace(read, low=bounds[0], high=bounds[1])


def _still_sorted(base: Version, given: Given, times: Order | None) -> bool | None:
    """Return whether the index ascends after the append of rows with ``times``; None: not known, or there are none.

    Raises InvalidInput where it must and does not.
    """
    column = order.time_level(base.schema)
    if column is None or times is None:
        return base.is_sorted
    if given.checks_order:
        _check_ascends(given.where, times)
    was_sorted = base.is_sorted if base.row_count else True
    last = reads.last_label(base, column)
    follows = last is None or times.low is None or times.low >= last
    if was_sorted is None:
        return None if times.is_sorted and follows else False
    is_sorted = was_sorted and times.is_sorted and follows
    if given.checks_order and was_sorted and times.low is not None and last is not None and not follows:
        first, end = (reads.time_of(base, ticks) for ticks in (times.low, last))
        raise InvalidInput(
            f"the data for {given.where} begins at {first}, before the end of version {base.number} at {end}: update() "
            "replaces rows inside, validate_index=False appends out of order"
        )
    return is_sorted


def _window(library: OpenLibrary, encoded: Encoded | None, newest: Version | None) -> int | None:
    """Return the distance in rows to cut by: the newest version's while it fits (None: not known for a stream)."""
    row_count, size = 0, 0
    if encoded is not None and encoded.table is not None:
        row_count, size = encoded.table.num_rows, chunking.logical_bytes(encoded.table, encoded.schema)
    elif encoded is not None and (newest is None or not newest.row_count):
        return None
    if newest is not None and (encoded is None or newest.row_count > row_count):
        row_count, size = newest.row_count, newest.logical_bytes
    previous = newest.window if newest is not None else None
    schema = newest.schema if encoded is None and newest is not None else encoded.schema if encoded else None
    column_count = 0 if schema is None else len(schema.columns)
    wanted = chunking.suited_bytes(column_count, library.options.segment_bytes)
    return chunking.window_rows(row_count, size, wanted, previous)


def window_of(library: OpenLibrary, newest: Version) -> int | None:
    """Return the distance in rows by which edited rows of ``newest`` are cut."""
    return _window(library, None, newest)


def _in_memory(given: Given) -> tuple[Given, pa.Table]:
    """Return the same with all rows in a table, and this table."""
    table = _whole(given.rows)
    return replace(given, encoded=replace(given.rows, table=table, reader=None)), table


def _whole(encoded: Encoded) -> pa.Table:
    """Return all rows of a value in a table; text that came as dictionaries is dense."""
    if encoded.reader is None:
        return encoded.table
    return encoded.reader.read_all().cast(to_arrow(encoded.schema))


def joined(library: OpenLibrary, base: Version, old: Sequence[Segment], new: list[pa.Table]) -> pa.Table:
    """Return the rows of ``old`` segments of ``base``, and ``new`` ones behind them."""
    if not old:
        return _concat(new, base.schema)
    return _concat([segments.read_table(library, replace(base, segments=tuple(old))), *new], base.schema)


def _concat(tables: Sequence[pa.Table], schema: Schema) -> pa.Table:
    import pyarrow as pa

    stored = to_arrow(schema)
    return pa.concat_tables([table.cast(stored) if table.schema != stored else table for table in tables])


def cut(rows: pa.Table, schema: Schema, window: int | None) -> Iterator[pa.Table]:
    """Yield rows cut into segments; without a ``window``, as one."""
    if not rows.num_rows:
        return iter(())
    return iter(chunking.cut(rows, schema, window) if window else [rows])


def is_mixed(base: Version, placed: Placed) -> bool:
    """Whether a segment that may have another schema is still there."""
    old = {segment.key for segment in base.segments}
    return base.schema.mixed and any(segment.key in old for segment in placed.segments)


def edited_schema(schema: Schema, row_count: int, *, is_mixed: bool) -> Schema:
    """Return ``schema`` for edited rows, of which some segments may have another one (``is_mixed``)."""
    edited = resized(schema, row_count)
    if edited.mixed == is_mixed:
        return edited
    return replace(edited, mixed=True) if is_mixed else unmixed(edited)


def unmixed(schema: Schema) -> Schema:
    """Return ``schema`` for segments that all were written with it.

    No dropped column is left whose field id could be met again.
    """
    return replace(schema, mixed=False, next_id=None, mixed_nested=False)


def draft(
    operation: str,
    kind: str,
    schema: Schema,
    metadata: Any,
    placed: Placed,
    is_sorted: bool | None,  # noqa: FBT001
    window: int | None,
) -> Draft:
    """Return the draft of a version with the segments of ``placed``."""
    row_count = placed.row_count if schema.columns else values.row_count_without_columns(schema)
    return Draft(
        operation=operation,
        kind=kind,
        schema=schema,
        metadata=metadata,
        row_count=row_count,
        new_rows=placed.new_rows,
        new_bytes=placed.new_bytes,
        is_sorted=is_sorted,
        window=window,
        segments=placed.segments,
    )
