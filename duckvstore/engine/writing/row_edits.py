"""Edits of rows by their numbers: some taken out, some replaced, some added, as one version.

Copy on write by segment, as in ``drafts``; an ascending datetime index still ascends in the next version, since new
labels are inserted in order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from duckvstore.engine.library import manifests
from duckvstore.engine.reading import reads, segments
from duckvstore.engine.reading.call_segments import Shareable
from duckvstore.engine.writing import drafts, edits
from duckvstore.engine.writing.segment_upload import Placed, place
from duckvstore.errors import InvalidInput
from duckvstore.format.evolution.editing import check_tabular
from duckvstore.format.stored import statistics
from duckvstore.format.stored.schema import to_arrow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pyarrow as pa

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.engine.writing.commits import Draft
    from duckvstore.engine.writing.edits import Plan
    from duckvstore.format.stored.documents import Version
    from duckvstore.format.stored.segments import Segment


@dataclass(frozen=True, slots=True)
class RowEdits:
    """What becomes of the rows of a version.

    ``removed``, ``changed``: row numbers (int64 arrays, ascending, none in both); ``before`` and ``rows``: the changed
    ones as they are and as they become, in their order; ``added``: further rows. All tables are in the stored schema.
    """

    removed: Any
    changed: Any
    before: pa.Table
    rows: pa.Table
    added: pa.Table

    @classmethod
    def of(cls, none: pa.Table, *, removed: Any = None, added: pa.Table | None = None) -> RowEdits:
        """Return edits that change no row; ``none``: a table without rows, in the stored schema."""
        import numpy as np

        nothing = np.empty(0, dtype=np.int64)
        return cls(nothing if removed is None else removed, nothing, none, none, none if added is None else added)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return not (len(self.removed) or len(self.changed) or self.added.num_rows)


RowsOf: TypeAlias = "Callable[[Sequence[int]], pa.Table | None]"


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
        check_tabular(newest.kind, operation, library.quoted(symbol))
        none = to_arrow(newest.schema).empty_table()
        return edited(library, newest, operation, RowEdits.of(none, removed=np.asarray(matching(newest))))

    return plan


def edited(
    library: OpenLibrary, newest: Version, operation: str, wanted: RowEdits, rows_of: RowsOf = lambda _: None
) -> Draft | None:
    """Draft the version after ``newest`` with ``wanted`` carried out; None: there is nothing to do.

    ``rows_of``: the rows of segments at these positions where the caller has them, in the stored schema.

    Only segments with rows that are removed or changed, or among whose labels new ones belong, are written again, and
    small ones at the end that are merged with what is added. Raises InvalidInput for a missing label in an index that
    has to ascend, and for a value that is not a category of an ordered categorical.
    """
    if wanted.is_empty:
        return None
    newest = _fitted(library, newest, wanted)
    puts_in_order = bool(wanted.added.num_rows or len(wanted.changed))
    ordered = _Ordered.of(library, newest) if puts_in_order else None
    is_sorted = newest.is_sorted
    if ordered is not None:
        wanted = ordered.moved(wanted)
        if ordered.has_missing(wanted.added):
            if library.options.validate_index:
                raise InvalidInput(
                    f"rows for {library.label(newest.symbol)} have no time in {ordered.column!r}, its datetime index: "
                    "give each a time, or turn validate_index off in the library's options"
                )
            ordered, is_sorted = None, False
    if ordered is not None and wanted.added.num_rows:
        wanted = replace(wanted, added=ordered.sorted(wanted.added))
    window = drafts.window(library, newest)
    if not len(wanted.removed) and not len(wanted.changed) and (ordered is None or ordered.follows(wanted.added)):
        tail, placed = drafts.store_after(library, newest, wanted.added, window)
        return drafts.extended(library, operation, newest, tail, placed, None, is_sorted, window)
    placed = _Rewriting(library, newest, wanted, ordered, window, rows_of).placed()
    return drafts.edited(operation, newest, placed, None, is_sorted, window)


def _fitted(library: OpenLibrary, newest: Version, wanted: RowEdits) -> Version:
    """Return ``newest`` with a schema that also holds the new rows: pandas' dtypes know more than Arrow's types."""
    if newest.kind not in ("dataframe", "series"):
        return newest
    from duckvstore.format.evolution import pandas_rules

    where = library.quoted(newest.symbol)
    schema = newest.schema
    for rows in (wanted.rows, wanted.added):
        schema = pandas_rules.fitted(schema, rows, where)
    return replace(newest, schema=schema)


@dataclass(frozen=True, slots=True)
class _Ordered:
    """A version whose first index level, ``column``, holds ascending times; ``starts``: each segment's first label."""

    column: str
    starts: Any
    last: int | None

    @staticmethod
    def of(library: OpenLibrary, version: Version) -> _Ordered | None:
        import numpy as np
        import pyarrow as pa

        if not version.is_sorted or not version.schema.index:
            return None
        column, _ = reads.date_index(library, version)
        if not version.segments:
            return _Ordered(column, np.empty(0, dtype=np.int64), None)
        identity = next(found.id for found in version.schema.columns if found.name == column)
        bounds = statistics.typed_table(version, [identity])
        starts = bounds.column(f"min_{identity}").cast(pa.int64())
        if starts.null_count:
            return None  # without bounds no place can be told
        return _Ordered(column, starts.to_numpy(), reads.last_label(version, column))

    def labels(self, rows: pa.Table) -> Any:
        """Return the labels of ``rows`` as int64, in the index's own unit; there must be none missing."""
        import pyarrow as pa
        import pyarrow.compute as pc

        return pc.cast(rows.column(self.column), pa.int64()).to_numpy()

    def has_missing(self, rows: pa.Table) -> bool:
        return bool(rows.column(self.column).null_count)

    def sorted(self, rows: pa.Table) -> pa.Table:
        """Return ``rows`` in the order of the index, those of one label as they came."""
        import numpy as np

        return rows.take(np.argsort(self.labels(rows), kind="stable"))

    def follows(self, rows: pa.Table) -> bool:
        """Whether rows, which are in order, belong after all that is there."""
        return self.last is None or bool(self.labels(rows.slice(0, 1))[0] >= self.last)

    def moved(self, wanted: RowEdits) -> RowEdits:
        """Return the same edits with rows whose label changes removed and added again."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        stays = pc.equal(wanted.before.column(self.column), wanted.rows.column(self.column))
        stays = pc.fill_null(stays, False).to_numpy()
        if stays.all():
            return wanted
        return RowEdits(
            np.sort(np.concatenate([wanted.removed, wanted.changed[~stays]])),
            wanted.changed[stays],
            wanted.before.filter(stays),
            wanted.rows.filter(stays),
            pa.concat_tables([wanted.rows.filter(~stays), wanted.added]),
        )


class _Rewriting:
    """The segments of a version on their way to those of the next."""

    def __init__(
        self,
        library: OpenLibrary,
        base: Version,
        wanted: RowEdits,
        ordered: _Ordered | None,
        window: int | None,
        rows_of: RowsOf,
    ) -> None:
        import numpy as np

        self.rows_of = rows_of

        self.library, self.base, self.wanted, self.ordered, self.window = library, base, wanted, ordered, window
        self.starts = np.cumsum([0, *(segment.row_count for segment in base.segments)])
        # The segment that each added row belongs to; None: all after the last.
        self.owners: Any = None
        if ordered is not None and len(base.segments):
            places = np.searchsorted(ordered.starts, ordered.labels(wanted.added), side="right") - 1
            self.owners = np.clip(places, 0, None)

    def placed(self) -> Placed:
        """Store what is new and return all segments."""
        import numpy as np

        numbers = np.concatenate([self.wanted.removed, self.wanted.changed])
        touched = np.searchsorted(self.starts, numbers, side="right") - 1
        if self.owners is not None:
            touched = np.concatenate([touched, self.owners])
        found: list[Segment] = []
        written: list[Placed] = []
        done = 0
        for run in edits.runs(np.unique(touched).tolist()):
            written.append(self._store(self._rows(run), self.base.segments[run[0] : run[-1] + 1]))
            found += [*self.base.segments[done : run[0]], *written[-1].segments]
            done = run[-1] + 1
        found += self.base.segments[done:]
        if self.owners is None and self.wanted.added.num_rows:
            written.append(self._store(self.wanted.added))
            found += written[-1].segments
        return Placed.of_parts(manifests.fold(self.library, self.base.symbol, found, self.base.segments), written)

    def _store(self, rows: pa.Table, replaced: Sequence[Segment] = ()) -> Placed:
        pieces = drafts.cut(rows, self.base.schema, self.window)
        return place(self.library, self.base.symbol, self.base.schema, pieces, Shareable(replaced))

    def _rows(self, run: Sequence[int]) -> pa.Table:
        """Return the rows of neighbouring segments as they are to be."""
        import numpy as np
        import pyarrow as pa

        start, stop = int(self.starts[run[0]]), int(self.starts[run[-1] + 1])
        old = self.rows_of(run)
        if old is None:
            old = segments.read_table(self.library, self.base, segments=run)
        stored = to_arrow(self.base.schema)
        old = old if old.schema == stored else old.cast(stored)
        changed = (self.wanted.changed >= start) & (self.wanted.changed < stop)
        keep = np.ones(stop - start, dtype=bool)
        removed = self.wanted.removed[(self.wanted.removed >= start) & (self.wanted.removed < stop)]
        keep[removed - start] = False
        if changed.any():
            order = np.arange(stop - start)
            order[self.wanted.changed[changed] - start] = stop - start + np.arange(int(changed.sum()))
            rows = pa.concat_tables([old, self.wanted.rows.filter(pa.array(changed))]).take(order[keep])
        else:
            rows = old.filter(pa.array(keep))
        if self.owners is None or self.ordered is None:
            return rows
        inserted = self.wanted.added.filter(pa.array((self.owners >= run[0]) & (self.owners <= run[-1])))
        return self.ordered.sorted(pa.concat_tables([rows, inserted])) if inserted.num_rows else rows
