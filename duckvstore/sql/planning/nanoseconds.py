"""Times and durations that are stored to the nanosecond, of which DuckDB reads the microseconds.

DuckDB has no finer INTERVAL, and 1.5 no finer TIMESTAMP WITH TIME ZONE. What it cut is never taken for what
is stored: not compared, unless the digits cannot matter, and not stored again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow.types as arrow_types
from sqlglot import exp

from duckvstore.concurrency import IO
from duckvstore.engine.reading import segments as engine_segments
from duckvstore.format.rows import encoding
from duckvstore.format.stored import schema as arrow_schema
from duckvstore.sql.syntax import named_columns
from duckvstore.sql.values.types import reads_zoned_nanoseconds

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    import pyarrow as pa

    from duckvstore.engine.library.open_library import OpenLibrary
    from duckvstore.format.stored.documents import Version
    from duckvstore.format.stored.segments import Segment
    from duckvstore.sql.syntax.statement import Statement

NANOSECONDS = 1000
# A constant with more digits than DuckDB compares.
_FINE = re.compile(r"\.\d{7}")
# Of what is cut they give the same as of the whole.
_COARSE_UNITS = frozenset(
    (
        *("MICROSECOND", "MICROSECONDS", "MILLISECOND", "MILLISECONDS", "SECOND", "SECONDS", "MINUTE", "HOUR", "DAY"),
        *("WEEK", "MONTH", "QUARTER", "YEAR", "DECADE", "CENTURY", "MILLENNIUM"),
    )
)


def problem(name: str) -> str:
    """Return what to say where the values of a column would be cut."""
    return (
        f"column {name!r} holds nanoseconds, which this DuckDB cuts to microseconds in time zones and intervals: "
        "compare it by >= and < alone, work on it in Python, or write() it in microseconds"
    )


@dataclass(frozen=True, slots=True)
class Used:
    """Columns of whose digits a statement may depend: of any (``wholly``), or of those of times before 1970 alone.

    DuckDB cuts towards zero: what is compared by ``>=`` and ``<`` with microseconds stays right above.
    """

    wholly: tuple[str, ...] = ()
    compared: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.wholly or self.compared)

    def refused(self, has_digits: Callable[[str, bool], bool]) -> list[str]:
        """Return those of them that have such digits: ``has_digits`` tells it of a name, and of what is below zero."""
        return [
            *(name for name in self.wholly if has_digits(name, False)),
            *(name for name in self.compared if has_digits(name, True)),
        ]


def columns(version: Version) -> list[str]:
    """Return the names of the columns of ``version`` that may hold digits which DuckDB does not read."""
    return [field.name for field in arrow_schema.to_arrow(version.schema) if is_finer(field.type)]


def is_finer(kind: pa.DataType) -> bool:
    """Whether values of ``kind``, or in it, may have digits which DuckDB does not read."""
    if arrow_types.is_duration(kind):
        return bool(kind.unit == "ns")
    if arrow_types.is_timestamp(kind):
        return kind.unit == "ns" and kind.tz is not None and not reads_zoned_nanoseconds()
    return any(is_finer(kind.field(at).type) for at in range(kind.num_fields))


def refused(library: OpenLibrary, version: Version, segments: Sequence[Segment], used: Used) -> list[str]:
    """Return those of the columns in ``used`` that have such digits in ``segments``; bounds tell it, or the rows."""
    ids = {column.name: column.id for column in version.schema.columns}

    def has_digits(name: str, is_below: bool) -> bool:  # noqa: FBT001
        known = [_by_bounds(segment, ids[name], is_below=is_below) for segment in segments]
        if True in known:
            return True
        rest = [segment for segment, found in zip(segments, known, strict=True) if found is None]
        return any(IO.map(lambda segment: _look(library, version, segment, name)[is_below], rest))

    return used.refused(has_digits)


def _by_bounds(segment: Segment, column_id: int, *, is_below: bool) -> bool | None:
    """Return whether a segment has such digits, below zero perhaps, as far as its bounds tell; None: they do not."""
    known = segment.statistics.get(column_id)
    bounds = (known.minimum, known.maximum) if known is not None else ()
    if any(type(bound) is not int for bound in bounds) or not bounds:
        return None
    if is_below and bounds[0] >= 0:
        return False
    return True if any(bound % NANOSECONDS and (bound < 0 or not is_below) for bound in bounds) else None


def _look(library: OpenLibrary, version: Version, segment: Segment, name: str) -> tuple[bool, bool]:
    key = (library.library_id, segment.key, name)
    if key not in _LOOKED:
        if len(_LOOKED) > _LOOKED_MAX:
            _LOOKED.clear()
        rows = encoding.decode(engine_segments.fetch(library, segment), version.schema, [name])
        column = rows.column(name)
        _LOOKED[key] = (have_digits(column, is_below=False), have_digits(column, is_below=True))
    return _LOOKED[key]


_LOOKED: dict[tuple[str, str, str], tuple[bool, bool]] = {}  # segments never change
_LOOKED_MAX = 100_000


def have_digits(column: pa.ChunkedArray, *, is_below: bool) -> bool:
    """Whether a value of ``column``, or in it, has digits which DuckDB does not read; ``is_below``: one below zero."""
    return any(_has_digits(array, is_below=is_below) for array in column.chunks)


def _has_digits(array: pa.Array, *, is_below: bool) -> bool:
    import numpy as np
    import pyarrow as pa

    kind = array.type
    if isinstance(array, pa.ExtensionArray):
        return _has_digits(array.storage, is_below=is_below)
    if arrow_types.is_dictionary(kind):
        return _has_digits(array.dictionary_decode(), is_below=is_below)
    if not is_finer(kind):
        return False
    if arrow_types.is_duration(kind) or arrow_types.is_timestamp(kind):
        ticks = array.drop_null().view(pa.int64()).to_numpy()
        return bool(np.any((ticks % NANOSECONDS != 0) & ((ticks < 0) | (not is_below))))
    if arrow_types.is_map(kind):
        parts = [array.keys, array.items]
    else:
        parts = array.flatten() if arrow_types.is_struct(kind) else [array.flatten()]
    return any(_has_digits(part, is_below=is_below) for part in parts)


def of_frame(frame: Any) -> Any:
    """Return a frame of the caller's, as it is registered, whose digits can be looked at: a stream is read whole."""
    import pyarrow as pa

    is_stream = isinstance(frame, pa.RecordBatchReader)
    return frame.read_all() if is_stream and any(is_finer(field.type) for field in frame.schema) else frame


def in_frame(frame: Any) -> dict[str, pa.ChunkedArray]:
    """Return the columns of a frame (pandas, or a table or dataset of Arrow) that may have such digits, by name."""
    import pyarrow as pa

    if isinstance(frame, pa.RecordBatchReader):
        return {}
    if hasattr(frame, "dtypes"):
        return {str(label): pa.chunked_array(_arrays(column)) for label, column in frame.items() if _is_finer(column)}
    names = [field.name for field in frame.schema if is_finer(field.type)]
    rows = frame.to_table(columns=names) if not isinstance(frame, pa.Table) else frame.select(names)
    return {name: rows.column(name) for name in names}


def _is_finer(column: Any) -> bool:
    """Whether a column of pandas is of such a type."""
    import pandas as pd

    dtype = column.dtype
    if isinstance(dtype, pd.ArrowDtype):
        return is_finer(dtype.pyarrow_dtype)
    if isinstance(dtype, pd.DatetimeTZDtype):
        return dtype.unit == "ns" and not reads_zoned_nanoseconds()
    return str(dtype) == "timedelta64[ns]"


def _arrays(column: Any) -> list[pa.Array]:
    import pyarrow as pa

    found = pa.array(column)
    return found.chunks if isinstance(found, pa.ChunkedArray) else [found]


def uses(statement: Statement, names: Collection[str], constants: Collection[int] = ()) -> Used:
    """Return those of the columns ``names`` of whose finest digits something in ``statement`` may depend.

    ``constants``: the places of parameters whose values have no finer digits.
    """
    if not names:
        return Used()
    found = named_columns.identifiers(statement, names)
    if found is None:
        return Used(tuple(names))
    wholly: set[str] = set()
    compared: set[str] = set()
    for name, column in found:
        if not _tells_nothing(name):
            (compared if _is_compared(name, constants) else wholly).add(column)
    return Used(tuple(sorted(wholly)), tuple(sorted(compared - wholly)))


def assigned(statement: Statement) -> frozenset[str]:
    """Return the names of the columns, folded, of which an UPDATE gives a value to each row that it changes."""
    return frozenset(str(column.name).casefold() for column in named_columns.targets(statement))


def _tells_nothing(name: Any) -> bool:
    """Whether the column that an identifier names is only asked for whether it is there."""
    node, parent = _place(name)
    if type(parent) is exp.Is:
        return node is parent.this and isinstance(parent.expression, exp.Null)
    return type(parent) is exp.Count and not parent.args.get("distinct")


def _is_compared(name: Any, constants: Collection[int]) -> bool:
    """Whether the column that an identifier names is compared or cut so that its finest digits change nothing."""
    node, parent = _place(name)
    if type(parent) in (exp.GTE, exp.LT):
        return node is parent.this and _is_constant(parent.expression, constants)
    if type(parent) in (exp.LTE, exp.GT):
        return node is parent.expression and _is_constant(parent.this, constants)
    if type(parent) in (exp.TimestampTrunc, exp.DateTrunc):
        unit = parent.args.get("unit")
        return unit is not None and str(unit.name).upper() in _COARSE_UNITS
    return type(parent) is exp.Cast and str(getattr(parent.to.this, "name", "")) == "DATE"


def _place(name: Any) -> tuple[Any, Any]:
    """Return an identifier's expression, brackets and all, and what it is part of; None: it is not a column."""
    node: Any = name.parent
    if not isinstance(node, exp.Column):
        return node, None
    parent: Any = node.parent
    while isinstance(parent, exp.Paren):
        node, parent = parent, parent.parent
    return node, parent


def _is_constant(node: Any, constants: Collection[int]) -> bool:
    """Whether ``node`` is a time of microseconds at the most."""
    literals = [str(literal.this) for literal in node.find_all(exp.Literal)]
    columns = [column for column in node.find_all(exp.Column) if column.this.meta.get("start") not in constants]
    others = node.find(exp.Query, exp.Anonymous, exp.Parameter, exp.Placeholder)
    return not columns and others is None and not any(map(_FINE.search, literals))
