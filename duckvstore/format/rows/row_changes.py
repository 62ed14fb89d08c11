"""How many rows changed between two tables: counted from their columns, where SQL over thousands of them is slow.

``count`` gives what ``vstore.diff`` does by SQL: values are equal as DuckDB's ``IS NOT DISTINCT FROM`` takes them, so
null equals null, NaN equals NaN and differs from null, and -0.0 equals 0.0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
from blake3 import blake3

from duckvstore.format.rows import blocks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Names = tuple[str | None, str | None]
    Forms = tuple[np.ndarray, np.ndarray]


class Changes(NamedTuple):
    """Numbers of rows; ``updated`` ones have the same key and other values."""

    inserted: int
    deleted: int
    updated: int


def is_comparable(kind: pa.DataType) -> bool:
    """Return whether ``count`` takes columns of this type."""
    types = pa.types
    if types.is_dictionary(kind):
        kind = kind.value_type
        return bool(types.is_string(kind) or types.is_large_string(kind))
    checks = (
        types.is_integer, types.is_floating, types.is_boolean, types.is_string, types.is_large_string, types.is_date32,
        types.is_timestamp,
    )  # fmt: skip
    return any(check(kind) for check in checks)


def count(old: pa.Table, new: pa.Table, columns: Sequence[Names], key: Sequence[Names]) -> Changes:
    """Return how many rows of ``new`` are not in ``old`` and the reverse, and how many with one key are different.

    ``columns``: names in ``old`` and in ``new`` (None: a column that this has not), of one comparable type. ``key``:
    those of them by which rows are matched, equal ones in their order; none: all of them.
    """
    matched = _codes(old, new, key) if key else _digests(old, new, columns)
    olds, news = _pairs(*matched)
    differs = np.zeros(len(olds), bool)
    for before, after in _forms(old, new, columns) if key and len(olds) else ():
        differs |= (before[:, olds] != after[:, news]).any(axis=0)
    return Changes(new.num_rows - len(news), old.num_rows - len(olds), int(differs.sum()))


def _pairs(old: np.ndarray, new: np.ndarray) -> Forms:
    """Return which rows of one side belong to which of the other: the first with a code to the first, and so on."""
    olds, news = _numbered(old), _numbered(new)
    _, places_of_old, places_of_new = np.intersect1d(olds, news, assume_unique=True, return_indices=True)
    return places_of_old, places_of_new


def _numbered(codes: np.ndarray) -> np.ndarray:
    """Return codes as pairs with the number of each row among those of its code, as one number of 16 bytes each."""
    order = np.argsort(codes, kind="stable")
    sorted_codes = codes[order]
    is_first = np.ones(len(codes), bool)
    is_first[1:] = sorted_codes[1:] != sorted_codes[:-1]
    places = np.arange(len(codes))
    occurrences = np.empty(len(codes), np.int64)
    occurrences[order] = places - np.maximum.accumulate(np.where(is_first, places, 0))
    found = np.empty(len(codes), [("code", np.int64), ("occurrence", np.int64)])
    found["code"], found["occurrence"] = codes, occurrences
    return found


def _codes(old: pa.Table, new: pa.Table, columns: Sequence[Names]) -> Forms:
    """Return a number for each row that is the same for equal rows of these columns alone."""
    codes = np.zeros(old.num_rows + new.num_rows, np.int64)
    for before, after in _forms(old, new, columns):
        for values in np.concatenate([before, after], axis=1):
            found = np.unique(values, return_inverse=True)[1]
            codes = np.unique(codes * (int(found.max(initial=0)) + 1) + found, return_inverse=True)[1]
    return codes[: old.num_rows], codes[old.num_rows :]


def _digests(old: pa.Table, new: pa.Table, columns: Sequence[Names]) -> Forms:
    """Return the same as ``_codes`` for many columns, by a hash of each row."""
    hashers = [[blake3() for _ in range(side.num_rows)] for side in (old, new)]
    for forms in _forms(old, new, columns):
        for hashed, values in zip(hashers, forms, strict=True):
            for hasher, row in zip(hashed, np.ascontiguousarray(values.T), strict=True):
                hasher.update(memoryview(row).cast("B"))
    digests = [hasher.digest(16) for hashed in hashers for hasher in hashed]
    places = {digest: place for place, digest in enumerate(digests)}
    codes = np.fromiter((places[digest] for digest in digests), np.int64, len(digests))
    return codes[: old.num_rows], codes[old.num_rows :]


def _forms(old: pa.Table, new: pa.Table, columns: Sequence[Names]) -> Iterator[Forms]:
    """Yield numbers of one type in place of the values of columns, for either side, one row of an array for each.

    They are equal where the values are, and there is no NaN among them.
    """
    both = [names for names in columns if None not in names]
    olds = old.select([before for before, _ in both]).combine_chunks()
    news = new.select([after for _, after in both]).combine_chunks()
    types = olds.schema.types
    for start, stop in blocks.runs(types, max(old.num_rows, new.num_rows)):
        before = blocks.numbers(olds, start, stop) if stop - start > 1 else None
        after = None if before is None else blocks.numbers(news, start, stop)
        if before is not None and after is not None:
            yield _without_nan(before), _without_nan(after)
            continue
        for position in range(start, stop):
            yield from _column(olds.column(position), news.column(position))
    for name_before, name_after in columns:
        if name_before is None or name_after is None:
            known = old.column(name_before) if name_before is not None else new.column(name_after)
            missing = pa.chunked_array([pa.nulls((new if name_after is None else old).num_rows, known.type)])
            yield from _column(missing, known) if name_before is None else _column(known, missing)


def _without_nan(values: np.ndarray) -> np.ndarray:
    """Return numbers, floating point ones as the bits of their values: one for every NaN, and none for -0.0."""
    if values.dtype.kind != "f":
        return values
    values = values + values.dtype.type(0)
    is_nan = np.isnan(values)
    if is_nan.any():
        values[is_nan] = np.nan
    return values.view(f"i{values.dtype.itemsize}")


def _column(before: pa.ChunkedArray, after: pa.ChunkedArray) -> Iterator[Forms]:
    """Yield the numbers of a column, and which of its rows are null, if any is."""
    kind, count = before.type, len(before)
    whole = pa.chunked_array([*before.chunks, *after.chunks], kind)
    if pa.types.is_dictionary(kind):
        whole = whole.cast(kind.value_type)
    if whole.null_count:
        is_null = whole.is_null().to_numpy()[None, :].astype(np.int8)
        yield is_null[:, :count], is_null[:, count:]
    if pa.types.is_floating(kind):
        values = _without_nan(whole.fill_null(0).to_numpy() if whole.null_count else whole.to_numpy())
    elif pa.types.is_string(whole.type) or pa.types.is_large_string(whole.type):
        codes = whole.combine_chunks().dictionary_encode()
        codes = pa.concat_arrays(codes.chunks) if isinstance(codes, pa.ChunkedArray) else codes
        values = codes.indices.fill_null(-1).to_numpy()
    else:
        plain = whole.cast(pa.int8()) if pa.types.is_boolean(kind) else whole
        if not pa.types.is_integer(plain.type):
            plain = plain.cast(pa.int32() if pa.types.is_date32(kind) else pa.int64())
        values = (plain.fill_null(0) if plain.null_count else plain).to_numpy()
    yield values[None, :count], values[None, count:]
