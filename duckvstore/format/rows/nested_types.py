"""Values of nested Arrow types in another type of the same shape: wider inside, or with further fields in structs.

Values stay equal, fields that they lack become null, and what is under nulls is never read. Fields are matched by
name. (Arrow's own casts differ in this from release to release.)
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def exact_nested(array: pa.Array, target: pa.DataType) -> pa.Array:
    """Return ``array`` in the type ``target``. Raises ArrowInvalid for a value that it cannot hold."""
    kind, types = array.type, pa.types
    if kind == target:
        return array
    if array.null_count == len(array):
        return pa.nulls(len(array), target)
    if types.is_struct(kind) and types.is_struct(target):
        return _struct(array, target)
    if types.is_map(kind) and types.is_map(target):
        entries = array.cast(pa.list_(pa.struct([("key", kind.key_type), ("value", kind.item_type)])))
        keys, items = entries.flatten().flatten()
        offsets = _offsets(entries, np.int32)
        return pa.MapArray.from_arrays(
            offsets, exact_nested(keys, target.key_type), exact_nested(items, target.item_type), type=target
        )
    if types.is_fixed_size_list(kind) and types.is_fixed_size_list(target):
        return _fixed_size_list(array, target)
    if types.is_large_list(target) and (types.is_list(kind) or types.is_large_list(kind)):
        values = exact_nested(array.flatten(), target.value_type)
        return pa.LargeListArray.from_arrays(_offsets(array, np.int64), values, type=target)
    if types.is_list(target) and (types.is_list(kind) or types.is_large_list(kind)):
        values = exact_nested(array.flatten(), target.value_type)
        return pa.ListArray.from_arrays(_offsets(array, np.int32), values, type=target)
    return array.cast(target)


def _struct(array: pa.StructArray, target: pa.StructType) -> pa.Array:
    kind = array.type
    positions = {field.name: at for at, field in enumerate(kind)}
    visible = array.flatten()  # with the nulls of the struct itself
    children = []
    for field in target:
        at = positions.get(field.name)
        if at is None:
            children.append(pa.nulls(len(array), field.type))
        else:
            # What lies under nulls may be anything, unless a field has none of its own.
            source = visible[at] if field.nullable and kind.field(at).type != field.type else array.field(at)
            children.append(exact_nested(source, field.type))
    mask = array.is_null() if array.null_count else None
    return pa.StructArray.from_arrays(children, fields=list(target), mask=mask)


def _fixed_size_list(array: pa.FixedSizeListArray, target: pa.FixedSizeListType) -> pa.Array:
    size = target.list_size
    values = array.values.slice(array.offset * size, len(array) * size)
    if not array.null_count:
        return pa.FixedSizeListArray.from_arrays(exact_nested(values, target.value_type), type=target)
    is_present = np.repeat(array.is_valid().to_numpy(zero_copy_only=False), size)
    taken = pa.array(np.arange(len(values)), mask=~is_present)
    values = exact_nested(values.take(taken), target.value_type)
    return pa.FixedSizeListArray.from_arrays(values, type=target, mask=array.is_null())


def _offsets(array: pa.Array, width: type[np.integer]) -> pa.Array:
    """Return where each list begins among the values of all, null for one that is null itself."""
    lengths = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    if offsets[-1] > np.iinfo(width).max:
        raise pa.ArrowInvalid(f"{offsets[-1]} items in lists of one segment are more than {array.type} can count")
    mask = np.append(array.is_null().to_numpy(zero_copy_only=False), False) if array.null_count else None
    return pa.array(offsets.astype(width), mask=mask)
