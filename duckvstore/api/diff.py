"""Diff: what changed between two versions of a symbol, counted, and its rows when they are asked for.

Invariant: what a Diff tells never changes, since versions do not; only segments that the two versions do not share
are read for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from duckvstore import markup
from duckvstore.api.base import plain
from duckvstore.api.items import ColumnInfo
from duckvstore.engine.reading import cuts
from duckvstore.errors import DuckVStoreError, InvalidInput, printable
from duckvstore.forks import OfOneProcess
from duckvstore.sql.results import display

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.engine.reading.catalogue import AsOf
    from duckvstore.format.stored.documents import Version
    from duckvstore.sql.results.result import Result
    from duckvstore.sql.session import Session

_COLUMNS_MIN = 100  # from which on DuckDB takes longer to plan a diff than to carry it out
_CELLS_MAX = 2**27  # a gigabyte: what is more does not lie in memory at once
_CALL = "vstore.diff($symbol, $before, $after, key := $key)"


class RetypedColumn(NamedTuple):
    """A column that both versions have: its name, and its types as Arrow type text."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, repr=False)
class Diff(OfOneProcess):
    """What changed from ``from_version`` to ``to_version``; ``rows`` has the rows, read when they are asked for.

    ``inserted``, ``deleted`` and ``updated`` count rows that were matched by the columns ``key`` (empty: by the whole
    row, and then none is updated). ``columns_added``, ``columns_removed`` and ``columns_retyped``: the stored columns.
    ``segments_shared`` both versions have; of the others, ``segments_before`` and ``segments_after`` were read.
    """

    _instead: ClassVar[str] = "its .df()"

    library: str
    symbol: str
    from_version: int
    to_version: int
    key: tuple[str, ...]
    inserted: int
    deleted: int
    updated: int
    columns_added: tuple[ColumnInfo, ...]
    columns_removed: tuple[ColumnInfo, ...]
    columns_retyped: tuple[RetypedColumn, ...]
    segments_shared: int
    segments_before: int
    segments_after: int
    _query: Callable[[], Result] = field(compare=False)

    @property
    def has_changes(self) -> bool:
        """Whether any row or column is different."""
        rows = self.inserted + self.deleted + self.updated
        return bool(rows or self.columns_added or self.columns_removed or self.columns_retyped)

    @cached_property
    def rows(self) -> Result:
        """The rows, as ``FROM vstore.diff(…)`` gives them: ``change`` first. Raises what ``Library.sql`` does."""
        return self._query()

    def df(self) -> pd.DataFrame:
        """Return the rows as a pandas DataFrame."""
        return self.rows.df()

    def arrow(self) -> pa.Table:
        """Return the rows as a pyarrow Table."""
        return self.rows.arrow()

    def pl(self) -> pl.DataFrame:
        """Return the rows as a polars DataFrame."""
        return self.rows.pl()

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self._query().__arrow_c_stream__(requested_schema)

    def __repr__(self) -> str:
        """Return the summary and the first rows."""
        shown = [f"{label:<9}{text}".rstrip() for label, text in self._summary()]
        return "\n".join([self._title(), *shown, *([repr(self.rows)] if self._has_rows() else [])])

    def _repr_html_(self) -> str:
        """Return the same as HTML in which names and values are text: counts first, then rows in colours."""
        counts = [
            (f"+ {self.inserted:,} inserted", markup.GREEN),
            (f"- {self.deleted:,} deleted", markup.RED),
            (f"~ {self.updated:,} updated", markup.AMBER),
        ]
        parts = [
            markup.facts(self._title(), []),
            markup.chips([(text, colour.format(0.25)) for text, colour in counts]),
            markup.facts("", self._summary()),
        ]
        if self._has_rows():
            try:
                shown = self.rows.excerpt()
                footer = [self.rows.figures.footer()]
                parts.append(display.as_html(shown, footer, colours=_colours(shown, self.key)))
            except InvalidInput as error:
                parts.append(markup.lines([str(error)]))
        return markup.page(*parts)

    def _has_rows(self) -> bool:
        return bool(self.inserted or self.deleted or self.updated)

    def _title(self) -> str:
        return f"Diff of {f'{self.library}/{self.symbol}'!r} from version {self.from_version} to {self.to_version}"

    def _summary(self) -> list[tuple[str, str]]:
        matched = ", ".join(map(repr, self.key)) or "the whole row"
        columns = [
            *(f"added {column.name!r} {column.dtype}" for column in self.columns_added),
            *(f"removed {column.name!r} {column.dtype}" for column in self.columns_removed),
            *(f"{column.name!r} from {column.before} to {column.after}" for column in self.columns_retyped),
        ]
        counts = f"{self.inserted:,} inserted, {self.deleted:,} deleted, {self.updated:,} updated"
        read = f"{self.segments_before:,} of version {self.from_version}, {self.segments_after:,} of {self.to_version}"
        return [
            ("rows", f"{counts}, matched by {matched}"),
            ("columns", printable(", ".join(columns) or "the same", is_line=True)),
            ("segments", f"{self.segments_shared:,} shared, read {read}"),
        ]


def _colours(shown: display.Excerpt, key: Sequence[str]) -> list[list[str]]:
    """Return a colour for each cell: of the row by its change, and stronger where an update made another value."""
    names = [name.casefold() for name in shown.columns]
    places = [names.index(name.casefold(), 1) for name in key if name.casefold() in names[1:]]
    is_matched = len(places) == len(key)  # else a column of the key has another name here

    def identity(row: Sequence[str | None]) -> tuple[str | None, ...]:
        return tuple(row[at] for at in places)

    sides = {
        change: {identity(row): row for row in shown.rows if row[0] == change}
        for change in ("update_preimage", "update_postimage")
    }
    others = {"update_preimage": sides["update_postimage"], "update_postimage": sides["update_preimage"]}
    base = {
        "insert": markup.GREEN,
        "delete": markup.RED,
        "update_preimage": markup.RED,
        "update_postimage": markup.GREEN,
    }
    colours = []
    for row in shown.rows:
        change = row[0] or ""
        colour, other = base.get(change, markup.AMBER), others.get(change, {}).get(identity(row))
        if change.startswith("update"):
            weak, strong = markup.AMBER.format(0.08), colour.format(0.3)
            is_other = [is_matched and other is not None and at > 0 and row[at] != other[at] for at in range(len(row))]
            colours.append([strong if differs else weak for differs in is_other])
        else:
            colours.append([colour.format(0.15)] * len(row))
    return colours


def difference(
    opened: OpenLibrary,
    session: Session,
    symbol: str,
    from_version: AsOf,
    to_version: AsOf,
    key: str | Sequence[str] | None,
) -> Diff:
    """Return what ``Library.diff`` promises; both versions are resolved as one cut."""
    from duckvstore.sql.binding import diff

    wanted: list[Any] | None = None
    if key is not None:
        wanted = list(key) if isinstance(key, Iterable) and not isinstance(key, str) else [key]
    if wanted is not None and not all(isinstance(name, str) for name in wanted):
        raise InvalidInput(f"key={key!r}: give the name of a column, or a list of names, as SQL has them")
    before, after = _resolved(opened, symbol, plain(from_version), plain(to_version))
    matched = diff.key_columns(before, after, wanted)
    parameters = {"symbol": symbol, "before": before, "after": after, "key": list(matched)}
    olds, news = diff.unshared(before, after)
    counted = _counted(opened, (before, olds), (after, news), matched)
    if counted is None:
        by_change = session.sql(f"SELECT change, count(*) FROM {_CALL} GROUP BY change", parameters).fetchall()
        counts: dict[str, int] = dict(by_change)
        counted = (counts.get("insert", 0), counts.get("delete", 0), counts.get("update_postimage", 0))
    return Diff(
        library=opened.name,
        symbol=symbol,
        from_version=before.number,
        to_version=after.number,
        key=matched,
        inserted=counted[0],
        deleted=counted[1],
        updated=counted[2],
        **_columns(before, after),
        segments_shared=len(before.segments) - len(olds),
        segments_before=len(olds),
        segments_after=len(news),
        _query=lambda: session.sql(f"FROM {_CALL}", parameters),
    )


def _counted(
    opened: OpenLibrary, before: tuple[Version, list[int]], after: tuple[Version, list[int]], key: tuple[str, ...]
) -> tuple[int, int, int] | None:
    """Return how many rows of the segments at these positions were inserted, deleted and updated, counted here.

    None: SQL is to count them, as it does unless there are many columns, all of types that are compared here as there.
    """
    from duckvstore.engine.reading import segments
    from duckvstore.format.rows import row_changes
    from duckvstore.sql.binding import diff

    sides = (before, after)
    cells = max(sum(version.segments[at].row_count for at in places) * len(version.schema.columns)
                for version, places in sides)  # fmt: skip
    if len(after[0].schema.columns) < _COLUMNS_MIN or cells > _CELLS_MAX:
        return None
    pairs = diff.plain_pairs(before[0], after[0], row_changes.is_comparable)
    if pairs is None:
        return None
    names = [
        list(dict.fromkeys([name for pair in pairs if (name := pair[at]) is not None])) for at in range(len(sides))
    ]
    old, new = (
        segments.read_table(opened, version, columns=wanted, segments=places)
        for (version, places), wanted in zip(sides, names, strict=True)
    )
    return row_changes.count(old, new, pairs, [pair for pair in pairs if pair[1] in key])


def _resolved(opened: OpenLibrary, symbol: str, *as_ofs: AsOf) -> list[Version]:
    if not isinstance(symbol, str):
        raise InvalidInput(f"the symbol is a {type(symbol).__name__}: give its name first, as text")
    found = cuts.resolve_cut(opened, [(symbol, as_of) for as_of in as_ofs])
    versions: list[Version] = []
    for version in found:
        if isinstance(version, DuckVStoreError):
            raise version
        if not version.schema.columns:
            raise InvalidInput(
                f"version {version.number} of {symbol!r} ({version.kind}) has no columns to compare: read() both"
            )
        versions.append(version)
    return versions


def _columns(before: Version, after: Version) -> dict[str, Any]:
    """Return the stored columns that only one version has, or that have another type; names match as in SQL."""
    olds = {column.name.casefold(): column for column in before.schema.shown}
    news = {column.name.casefold(): column for column in after.schema.shown}
    return {
        "columns_added": tuple(ColumnInfo(c.name, c.type) for name, c in news.items() if name not in olds),
        "columns_removed": tuple(ColumnInfo(c.name, c.type) for name, c in olds.items() if name not in news),
        "columns_retyped": tuple(
            RetypedColumn(column.name, olds[name].type, column.type)
            for name, column in news.items()
            if name in olds and olds[name].type != column.type
        ),
    }
