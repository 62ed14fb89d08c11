"""Arrow types of a column that changes: the one that holds old and new values alike.

Invariant: every value of ``stored`` and of ``new`` has an equal one in ``common(stored, new)``, but for times beyond
the range of a finer unit, which are refused where they are met; what only some values can do is ``convertible``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from duckvstore.format.encoding import is_text

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
    return None


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
