"""Arrow types of a column that changes: the one that holds old and new values alike.

``common(stored, new)`` holds every value of ``stored`` and of ``new``, except for times beyond the range of a finer
unit, which are refused when they are found; types that only some values fit are ``convertible``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from duckvstore.format.rows.encoding import is_text

if TYPE_CHECKING:
    from collections.abc import Callable

UNITS = ("s", "ms", "us", "ns")
_DECIMAL_DIGITS_SQL = 38
_DECIMAL_DIGITS_MAX = 76
_CODE_BITS_MIN = 32
_EXACT_BITS = 32  # whole numbers of this many bits are exact in float64


def common(stored: pa.DataType, new: pa.DataType) -> pa.DataType | None:
    """Return the type that holds what both hold, the stored one where it can be; None: there is none.

    A duration has only itself: Parquet holds it as a bare number, whose unit is that of the whole version.
    """
    if pa.types.is_null(new) or (stored == new and not pa.types.is_dictionary(stored)):
        return stored
    if pa.types.is_null(stored):
        return new
    if pa.types.is_dictionary(stored) and pa.types.is_dictionary(new):
        return _common_dictionary(stored, new)
    if is_text(stored) and is_text(new):
        if pa.types.is_dictionary(stored):
            return None if stored.ordered else _common_dictionary(stored, stored)
        return stored
    if _is_binary(stored) and _is_binary(new):
        return stored
    for check, combine in _KINDS:
        if check(stored) and check(new):
            return combine(stored, new)
    return common_nested(stored, new, _common_inside)


def convertible(stored: pa.DataType, new: pa.DataType) -> bool:
    """Return whether values of ``new`` may be cast to ``stored`` as far as every one of them is exact."""
    if pa.types.is_timestamp(stored) and pa.types.is_timestamp(new):
        return bool(stored.tz == new.tz)
    if pa.types.is_duration(stored) and pa.types.is_duration(new):
        return True
    return all(_is_number(kind) and not pa.types.is_float16(kind) for kind in (stored, new))


def crosses(stored: pa.DataType, new: pa.DataType) -> bool:
    """Return whether one type is of whole numbers and the other of floating point ones."""
    return _is_number(stored) and _is_number(new) and pa.types.is_integer(stored) != pa.types.is_integer(new)


def common_by_values(stored: pa.DataType, new: pa.DataType) -> pa.DataType | None:
    """Return a nested type that may hold what both hold, as far as these values do; None: there is none.

    Inside, whole numbers of any width meet floating point ones.
    """
    return common_nested(stored, new, lambda one, other: _common_inside(one, other) or _crossing(one, other))


def _crossing(stored: pa.DataType, new: pa.DataType) -> pa.DataType | None:
    if crosses(stored, new):
        return pa.float64()
    return common_by_values(stored, new)


def _common_inside(stored: pa.DataType, new: pa.DataType) -> pa.DataType | None:
    """Return what ``common`` does, inside a nested type: no bounds are known there, so that points in time keep theirs.

    Values that the stored unit does not hold are refused where they are met.
    """
    if pa.types.is_timestamp(stored) and pa.types.is_timestamp(new):
        return stored if stored.tz == new.tz else None
    return common(stored, new)


def common_nested(
    stored: pa.DataType, new: pa.DataType, combine: Callable[[pa.DataType, pa.DataType], pa.DataType | None]
) -> pa.DataType | None:
    """Return the type of two nested ones whose parts are put together by ``combine``; None: there is none.

    Fields of a struct go by their names, which must not repeat: the stored ones in their places, then the new ones. A
    list stays of the stored kind.
    """
    types = pa.types
    if types.is_struct(stored) and types.is_struct(new):
        return _common_struct(stored, new, combine)
    if types.is_map(stored) and types.is_map(new):
        key = _common_field(stored.key_field, new.key_field, combine)
        item = _common_field(stored.item_field, new.item_field, combine)
        return None if key is None or item is None else pa.map_(key, item, keys_sorted=False)
    sizes = [kind.list_size if types.is_fixed_size_list(kind) else None for kind in (stored, new)]
    if not all(map(is_list, (stored, new))) or sizes[0] != sizes[1]:
        return None
    item = _common_field(stored.value_field, new.value_field, combine)
    return None if item is None else _list_of(stored, item)


def _common_struct(
    stored: pa.DataType, new: pa.DataType, combine: Callable[[pa.DataType, pa.DataType], pa.DataType | None]
) -> pa.DataType | None:
    olds, news = ({field.name: field for field in kind} for kind in (stored, new))
    if len(olds) != stored.num_fields or len(news) != new.num_fields:
        return None
    fields = []
    for name, field in olds.items():
        other = news.pop(name, None)
        both = field.with_nullable(True) if other is None else _common_field(field, other, combine)
        if both is None:
            return None
        fields.append(both)
    return pa.struct([*fields, *(field.with_nullable(True) for field in news.values())])


def _common_field(
    stored: pa.Field, new: pa.Field, combine: Callable[[pa.DataType, pa.DataType], pa.DataType | None]
) -> pa.Field | None:
    kind = stored.type if stored.type == new.type else combine(stored.type, new.type)
    return None if kind is None else stored.with_type(kind).with_nullable(stored.nullable or new.nullable)


def is_list(kind: pa.DataType) -> bool:
    """Return whether values of ``kind`` are lists of any kind, but no maps."""
    types = pa.types
    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def is_nested(kind: pa.DataType) -> bool:
    """Return whether ``kind`` is one of those that evolve inside: structs, lists and maps."""
    return is_list(kind) or bool(pa.types.is_struct(kind) or pa.types.is_map(kind))


def occupied(kind: pa.DataType, column: pa.ChunkedArray) -> pa.DataType:
    """Return ``kind`` with the null type for each part of it without a value in ``column``."""
    parts = [array for array in column.chunks if array.null_count < len(array)]
    if not parts:
        return pa.null()
    if pa.types.is_struct(kind):
        fields = [
            field.with_type(occupied(field.type, pa.chunked_array([part.flatten()[at] for part in parts])))
            for at, field in enumerate(kind)
        ]
        return pa.struct(fields)
    if pa.types.is_map(kind):
        entries = pa.struct([("key", kind.key_type), ("value", kind.item_type)])
        rows = occupied(entries, pa.chunked_array([part.cast(pa.list_(entries)).flatten() for part in parts], entries))
        key, item = (
            list(rows) if pa.types.is_struct(rows) else (pa.field("key", pa.null()), pa.field("value", pa.null()))
        )
        return pa.map_(kind.key_field.with_type(key.type), kind.item_field.with_type(item.type))
    if not is_list(kind):
        return kind
    item = kind.value_field.with_type(occupied(kind.value_type, pa.chunked_array([part.flatten() for part in parts])))
    return _list_of(kind, item)


def filled(kind: pa.DataType, other: pa.DataType) -> pa.DataType:
    """Return ``kind`` with the parts of ``other`` in place of null types, where both have such a part."""
    if pa.types.is_null(kind) or kind == other:
        return other
    if pa.types.is_struct(kind) and pa.types.is_struct(other):
        others = {field.name: field.type for field in other}
        return pa.struct([field.with_type(filled(field.type, others.get(field.name, field.type))) for field in kind])
    if pa.types.is_map(kind) and pa.types.is_map(other):
        key = kind.key_field.with_type(filled(kind.key_type, other.key_type))
        return pa.map_(key, kind.item_field.with_type(filled(kind.item_type, other.item_type)))
    if is_list(kind) and is_list(other):
        return _list_of(kind, kind.value_field.with_type(filled(kind.value_type, other.value_type)))
    return kind


def _list_of(kind: pa.DataType, item: pa.Field) -> pa.DataType:
    """Return the type of lists like ``kind`` with other items."""
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(item, kind.list_size)
    return pa.large_list(item) if pa.types.is_large_list(kind) else pa.list_(item)


def number_candidates(stored: pa.DataType, new: pa.DataType) -> list[pa.DataType]:
    """Return the types beside the stored one that may hold all numbers of both, as far as these values do.

    Floating point values are never taken for whole numbers that are stored: no bound tells whether they are whole.
    """
    if not (_is_number(stored) and _is_number(new)):
        return []
    return [pa.float64()] if crosses(stored, new) or pa.types.is_floating(stored) else [new]


def holds(kind: pa.DataType, number: int) -> bool:
    """Return whether a type of numbers holds every whole number from zero to this one."""
    try:
        pa.array([number], pa.int64() if number < 0 else pa.uint64()).cast(kind)
    except pa.ArrowException:
        return False
    return True


def factor(old: pa.DataType, new: pa.DataType) -> int:
    """Return how many units of ``new`` one of ``old`` has, of two types with units."""
    return int(1000 ** (UNITS.index(new.unit) - UNITS.index(old.unit)))


def has_unit(kind: pa.DataType) -> bool:
    """Return whether the bounds of a column of this type are whole numbers in a unit."""
    return bool(pa.types.is_timestamp(kind) or pa.types.is_duration(kind) or _is_clock(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _is_clock(kind: pa.DataType) -> bool:
    return bool(pa.types.is_time32(kind) or pa.types.is_time64(kind))


def _common_dictionary(stored: pa.DataType, new: pa.DataType) -> pa.DataType | None:
    """Return a dictionary of the stored values with codes of 32 bits or more: more rows may have more entries."""
    if common(stored.value_type, new.value_type) != stored.value_type or stored.ordered != new.ordered:
        return None
    codes = max(stored.index_type, new.index_type, key=lambda kind: kind.bit_width)
    if stored.index_type.bit_width >= max(codes.bit_width, _CODE_BITS_MIN):
        return stored
    return pa.dictionary(codes if codes.bit_width >= _CODE_BITS_MIN else pa.int32(), stored.value_type, stored.ordered)


def _common_number(stored: pa.DataType, new: pa.DataType) -> pa.DataType | None:
    """Return the type of both; whole numbers and floating point ones meet in float64, where all are exact."""
    kinds = (stored, new)
    whole = [kind for kind in kinds if pa.types.is_integer(kind)]
    if len(whole) == 1:
        return pa.float64() if whole[0].bit_width <= _EXACT_BITS else None
    if not whole or pa.types.is_signed_integer(stored) == pa.types.is_signed_integer(new):
        return stored if stored.bit_width > new.bit_width else new
    signed, unsigned = (stored, new) if pa.types.is_signed_integer(stored) else (new, stored)
    bits = max(signed.bit_width, 2 * unsigned.bit_width)
    return {16: pa.int16(), 32: pa.int32(), 64: pa.int64()}.get(bits)


def _common_decimal(stored: pa.DataType, new: pa.DataType) -> pa.DataType | None:
    """Return a decimal with the digits of both; one that SQL can show does not become one that it cannot."""
    scale = max(stored.scale, new.scale)
    precision = scale + max(kind.precision - kind.scale for kind in (stored, new))
    if (precision, scale) == (stored.precision, stored.scale):
        return stored if stored.bit_width >= new.bit_width else new
    is_wide = max(stored.precision, new.precision) > _DECIMAL_DIGITS_SQL
    if precision > (_DECIMAL_DIGITS_MAX if is_wide else _DECIMAL_DIGITS_SQL):
        return None
    is_256 = precision > _DECIMAL_DIGITS_SQL or max(stored.bit_width, new.bit_width) > 128
    return pa.decimal256(precision, scale) if is_256 else pa.decimal128(precision, scale)


def _finer(stored: pa.DataType, new: pa.DataType) -> pa.DataType:
    return stored if UNITS.index(stored.unit) >= UNITS.index(new.unit) else new


def _common_timestamp(stored: pa.DataType, new: pa.DataType) -> pa.DataType | None:
    return _finer(stored, new) if stored.tz == new.tz else None


_KINDS: tuple[
    tuple[Callable[[pa.DataType], bool], Callable[[pa.DataType, pa.DataType], pa.DataType | None]],
    ...,
] = (
    (_is_number, _common_number),
    (pa.types.is_decimal, _common_decimal),
    (pa.types.is_timestamp, _common_timestamp),
    (_is_clock, _finer),
)
