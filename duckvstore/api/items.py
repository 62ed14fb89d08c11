"""What the public API returns: versions with their values, and what is known of them.

Invariant: plain, immutable data; nothing here makes a request, and no ``repr`` grows with the rows of a value or
the symbols of a snapshot.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from duckvstore import markup
from duckvstore.errors import printable
from duckvstore.formatting import counted, size

if TYPE_CHECKING:
    from collections.abc import Mapping

    from duckvstore.format.stored.documents import Snapshot, Version

_SHOWN_MAX = 5
_ROWS_SHOWN_MAX = 50
_LIST_SHOWN_MAX = 20
_ORDERS = {True: "ASCENDING", False: "UNSORTED", None: "UNKNOWN"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Shown:
    """What a notebook shows as a table of its fields, in which names and values are text."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        item: Any = self
        known = {field.name: getattr(item, field.name) for field in fields(item)}
        texts = [
            (name.replace("_", " "), _field_text(name, value)) for name, value in known.items() if value is not None
        ]
        return markup.page(markup.facts(type(self).__name__, texts))


@dataclass(frozen=True, slots=True, repr=False)
class VersionedItem(Shown):
    """A version and, after a read, its value.

    ``new_rows`` of ``row_count`` and ``new_bytes`` of ``stored_bytes`` were uploaded by the write that made the
    version; the rest is shared with versions before it.
    """

    library: str
    symbol: str
    version: int
    data: Any
    metadata: Any
    created_at: datetime
    row_count: int
    stored_bytes: int
    new_rows: int
    new_bytes: int

    @classmethod
    def of(cls, library: str, version: Version, data: Any = None) -> Self:
        """Return the item for a version document."""
        return cls(**_fields_of(cls, version, library=library, version=version.number, data=data))

    @property
    def timestamp(self) -> int:
        """Nanoseconds from 1970-01-01 UTC to ``created_at``."""
        return nanoseconds(self.created_at)

    def __repr__(self) -> str:
        return _text(self, data=_data_text(self.data))


class SymbolVersion(NamedTuple):
    """A symbol and a version number: the key of ``list_versions``."""

    symbol: str
    version: int


@dataclass(frozen=True, slots=True, repr=False)
class VersionInfo(Shown):
    """What ``list_versions`` tells about a version; ``snapshots`` hold it."""

    date: datetime
    deleted: bool
    snapshots: list[str]
    operation: str
    author: str | None
    message: str | None
    row_count: int
    stored_bytes: int
    new_rows: int
    new_bytes: int

    @classmethod
    def of(cls, version: Version, snapshots: list[str]) -> Self:
        """Return what ``version``, held by ``snapshots``, says of itself."""
        return cls(**_fields_of(cls, version, date=version.created_at, snapshots=snapshots))

    def __repr__(self) -> str:
        return _text(self)


class VersionList(dict[SymbolVersion, VersionInfo]):
    """What ``list_versions`` returns: a dict that a notebook shows as a table."""

    def _repr_html_(self) -> str:
        names = ("symbol", "version", "written", "operation", "rows", "stored", "new", "snapshots", "author", "message")
        numbers = ("version", "rows", "stored", "new")
        rows = [
            [
                symbol,
                str(version),
                _time_text(info.date.replace(microsecond=0)),
                "deleted" if info.deleted else info.operation,
                f"{info.row_count:,}",
                size(info.stored_bytes),
                size(info.new_bytes),
                ", ".join(info.snapshots),
                info.author or "",
                info.message or "",
            ]
            for (symbol, version), info in islice(self.items(), _ROWS_SHOWN_MAX)
        ]
        more = [f"… {len(rows):,} of {len(self):,} versions shown"] if len(self) > len(rows) else []
        columns = [markup.Column(name, is_right=name in numbers) for name in names]
        return markup.page(markup.table(columns, rows), markup.lines([counted(len(self), "version"), *more]))


@dataclass(frozen=True, slots=True, repr=False)
class SnapshotInfo(Shown):
    """What ``snapshot`` made: ``versions`` maps each symbol to the number that the snapshot holds."""

    library: str
    name: str
    created_at: datetime
    versions: Mapping[str, int]
    metadata: Any
    author: str | None
    message: str | None

    @classmethod
    def of(cls, library: str, snapshot: Snapshot) -> Self:
        """Return what the document ``snapshot`` says."""
        return cls(**_fields_of(cls, snapshot, library=library))

    def __repr__(self) -> str:
        shown = [f"{symbol!r}: {number}" for symbol, number in list(self.versions.items())[:_SHOWN_MAX]]
        if len(self.versions) > _SHOWN_MAX:
            shown.append(f"… {len(self.versions):,} symbols")
        return _text(self, versions=f"{{{', '.join(shown)}}}")


@dataclass(frozen=True, slots=True)
class ColumnInfo:
    """A stored column: ``name`` as in SQL, ``dtype`` as Arrow type text."""

    name: str
    dtype: str


@dataclass(frozen=True, slots=True, repr=False)
class SymbolDescription(Shown):
    """What is known of a version without reading its rows. ``date_range`` needs a datetime index (else None).

    ``sorted``: "ASCENDING" or "UNSORTED" by that index, "UNKNOWN" without one.
    """

    symbol: str
    version: int
    kind: str
    columns: tuple[ColumnInfo, ...]
    index: tuple[ColumnInfo, ...]
    row_count: int
    last_update_time: datetime
    date_range: tuple[datetime, datetime] | None
    sorted: str
    segment_count: int
    logical_bytes: int
    stored_bytes: int
    new_rows: int
    new_bytes: int
    operation: str
    author: str | None
    message: str | None

    @classmethod
    def of(cls, version: Version, date_range: tuple[datetime, datetime] | None) -> Self:
        """Return the description of a version whose index spans ``date_range``."""
        columns = tuple(ColumnInfo(column.name, column.duckdb or column.type) for column in version.schema.shown)
        return cls(
            **_fields_of(
                cls,
                version,
                version=version.number,
                columns=tuple(column for column in columns if column.name not in version.schema.index),
                index=tuple(column for column in columns if column.name in version.schema.index),
                last_update_time=version.created_at,
                date_range=date_range,
                sorted=_ORDERS[version.is_sorted],
                segment_count=len(version.segments),
            )
        )

    def __repr__(self) -> str:
        columns, index = (", ".join(f"{c.name}: {c.dtype}" for c in part) for part in (self.columns, self.index))
        dates = "None" if self.date_range is None else f"({', '.join(_time_text(time) for time in self.date_range)})"
        return _text(self, columns=f"({columns})", index=f"({index})", date_range=dates)


def _fields_of(kind: Any, document: Version | Snapshot, **others: Any) -> dict[str, Any]:
    """Return the fields of ``kind``: ``others``, and the rest as ``document`` has them."""
    return {name: getattr(document, name) for name in kind.__dataclass_fields__ if name not in others} | others


def nanoseconds(time: datetime) -> int:
    """Return the nanoseconds from 1970-01-01 UTC to ``time``."""
    return (time - _EPOCH) // timedelta(microseconds=1) * 1000


def _text(item: Any, **shown: str) -> str:
    """Return ``Class(field=value, …)`` with times as people write them; ``shown`` replaces values of fields."""
    parts = []
    for name in (known.name for known in fields(item)):
        value = getattr(item, name)
        text = shown.get(name) or (_time_text(value) if isinstance(value, datetime) else repr(value))
        parts.append(f"{name}={text}")
    return printable(f"{type(item).__name__}({', '.join(parts)})", is_line=True)


def _time_text(time: datetime) -> str:
    return str(time).replace("+00:00", " UTC")


def _field_text(name: str, value: Any) -> str:
    """Return a field as people read it: a size with its unit, a count with commas, a list by its first items."""
    if name == "data":
        return _data_text(value)
    if isinstance(value, datetime):
        return _time_text(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return size(value) if name.endswith("_bytes") else f"{value:,}"
    if name == "versions":
        value = tuple(f"{symbol} v{number}" for symbol, number in islice(value.items(), _LIST_SHOWN_MAX + 1))
    if isinstance(value, (list, tuple)):
        texts = [
            f"{each.name}: {each.dtype}" if isinstance(each, ColumnInfo) else _field_text("", each)
            for each in value[:_LIST_SHOWN_MAX]
        ]
        return ", ".join(texts) + (", …" if len(value) > _LIST_SHOWN_MAX else "")
    return str(value)


def _data_text(data: Any) -> str:
    """Return the type and, where it has one, the shape of a value, in few characters."""
    if data is None:
        return "None"
    shape = getattr(data, "shape", None)
    size = " x ".join(f"{length:,}" for length in shape) if isinstance(shape, tuple) else ""
    return f"<{type(data).__name__}{' ' if size else ''}{size}>"
