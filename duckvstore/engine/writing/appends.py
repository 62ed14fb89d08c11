"""Plans of versions with rows added at the end, from memory or from a stream."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from duckvstore.engine.reading import reads, segments
from duckvstore.engine.reading.cells import SegmentCells
from duckvstore.engine.writing import drafts, given_rows, whole_values
from duckvstore.engine.writing.segment_upload import Placed, place
from duckvstore.errors import InvalidInput
from duckvstore.format.evolution import joins
from duckvstore.format.evolution.cell_rules import TableCells
from duckvstore.format.evolution.editing import check_tabular
from duckvstore.format.rows import chunking, order
from duckvstore.format.rows.encoding import exact
from duckvstore.format.stored.schema import to_arrow

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.engine.writing.commits import Draft
    from duckvstore.engine.writing.edits import Plan
    from duckvstore.format.evolution.joined_columns import Merged
    from duckvstore.format.rows.order import Order
    from duckvstore.format.stored.documents import Version


def append(library: OpenLibrary, given: given_rows.GivenRows, metadata: Any) -> Plan:
    """Plan a version with rows added at the end; a missing symbol is made. Small segments there are merged.

    Metadata None keeps the previous. No rows and no metadata: no new version. Raises InvalidInput for a schema that
    does not fit, and (where the rows' order is checked) for an index that would no longer ascend.
    """
    fitted = drafts.once(given.fitted)
    begun = drafts.once(lambda newest: _begun(fitted(newest)))
    streamed = drafts.once(lambda newest: _stored(library, begun(newest)[0], newest))

    def plan(newest: Version | None) -> Draft | None:
        given = fitted(newest)
        table = given.rows.table
        if newest is None or newest.deleted:
            if table is not None:
                return whole_values.write(library, given, metadata, "append")(newest)
            return _alone(given, *streamed(newest), metadata)
        if newest.kind != "ndarray":
            check_tabular(newest.kind, "append", given.where)
        joins.check_kind(newest.kind, given.rows.kind, given.where)
        if table is None:
            return _append_stream(library, given, newest, begun(newest)[1], streamed, metadata)
        if given_rows.is_empty(given.rows):
            return drafts.unchanged("append", newest, metadata)
        base, merged = drafts.evolved(library, newest, given)
        new = merged.rows(table)
        is_sorted = _still_sorted(base, given, _known_times(given, base, new))
        window = drafts.window(library, newest, given.rows)
        tail, placed = drafts.store_after(library, base, new, window)
        return drafts.extended(library, "append", base, tail, placed, metadata, is_sorted, window)

    return plan


def _append_stream(
    library: OpenLibrary,
    given: given_rows.GivenRows,
    newest: Version,
    first: pa.Table,
    streamed: Callable[[Version | None], tuple[Placed, Order | None]],
    metadata: Any,
) -> Draft | None:
    """Draft the version with the rows of a stream, which ``first`` begins, after those of ``newest``.

    What can be refused by types, by the first rows and by the first times is refused before anything is stored. But a
    column that does not fit may be without any value, which is known only when the rows are stored.
    """
    evolved = None
    with suppress(InvalidInput):
        evolved = drafts.evolved(library, newest, given)
    if evolved is None and first.num_rows:
        drafts.evolved(library, newest, given, TableCells(first))  # what these rows rule out, no others make good
    times = None
    if evolved is not None:
        times = _known_times(given, evolved[0], None)
        _still_sorted(evolved[0], given, times)
    stored, read = streamed(newest)
    if not stored.row_count:
        return drafts.unchanged("append", newest, metadata)
    if evolved is None or evolved[0].schema.columns != given.rows.schema.columns:
        evolved = drafts.evolved(library, newest, given, SegmentCells(library, _as_version(newest, given, stored)))
    base, merged = evolved
    placed = _joining(library, given, base, merged, stored)
    times = _placed_times(base, placed, read) if times is None else _known_times(given, base, None)
    window = drafts.window(library, newest, given.rows)
    return drafts.extended(library, "append", base, 0, placed, metadata, _still_sorted(base, given, times), window)


def _begun(given: given_rows.GivenRows) -> tuple[given_rows.GivenRows, pa.Table]:
    """Return a stream from its beginning on, and its first rows, in the stored types; none: it has none."""
    import pyarrow as pa

    stored, reader = to_arrow(given.rows.schema), given.rows.reader
    assert reader is not None, "what is in memory is no stream"  # noqa: S101
    batch = next((batch for batch in reader if batch.num_rows), None)
    if batch is None:
        return given, stored.empty_table()
    whole = pa.RecordBatchReader.from_batches(reader.schema, chain([batch], reader))
    return replace(given, encoded=replace(given.rows, reader=whole)), pa.Table.from_batches([batch]).cast(stored)


def _as_version(newest: Version, given: given_rows.GivenRows, stored: Placed) -> Version:
    """Return the rows of a stream, stored in its own schema, in the form of a version."""
    return replace(newest, schema=given.rows.schema, segments=stored.segments, row_count=stored.row_count)


def _stored(library: OpenLibrary, given: given_rows.GivenRows, newest: Version | None) -> tuple[Placed, Order | None]:
    """Store the rows of a stream, in its own schema; return them with the order of their times."""
    window = drafts.window(library, newest, given.rows)
    rows, times = given_rows.watched(given, newest)
    pieces = chunking.pieces(rows, segment_bytes=library.options.segment_bytes, window=window)
    return place(library, given.symbol, given.rows.schema, pieces), times


def _alone(given: given_rows.GivenRows, stored: Placed, times: Order | None, metadata: Any) -> Draft:
    is_sorted = given_rows.sorted_alone(given, times) if order.time_level(given.rows.schema) is not None else None
    return drafts.draft("append", given.rows.kind, given.rows.schema, metadata, stored, is_sorted, None)


def _joining(
    library: OpenLibrary, given: given_rows.GivenRows, base: Version, merged: Merged, stored: Placed
) -> Placed:
    """Return the rows of a stream, stored in its own schema, in that of ``base``: as they are where it is equal."""
    own = given.rows.schema
    if own.columns == base.schema.columns:
        return stored
    part = _as_version(base, given, stored)

    def pieces() -> Iterator[pa.Table]:
        for segment in stored.segments:  # one at a time: a stream may be larger than memory
            yield merged.rows(segments.read_table(library, replace(part, segments=(segment,))))

    return place(library, given.symbol, base.schema, pieces())


def _known_times(given: given_rows.GivenRows, base: Version, new: pa.Table | None) -> Order | None:
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


def _still_sorted(base: Version, given: given_rows.GivenRows, times: Order | None) -> bool | None:
    """Return whether the index ascends after the append of rows with ``times``; None: not known, or there are none.

    Raises InvalidInput where it must and does not.
    """
    column = order.time_level(base.schema)
    if column is None or times is None:
        return base.is_sorted
    if given.checks_order:
        given_rows.check_ascends(given.where, times)
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
