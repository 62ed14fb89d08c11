"""Nested values in wider types: every value stays, missing fields are null, and what lies under nulls is moot."""

from __future__ import annotations

import hypothesis.strategies as st
import pyarrow as pa
import pytest
from hypothesis import given, settings

from duckvstore.format.evolution.type_rules import common, occupied
from duckvstore.format.rows.encoding import exact
from tests.sizes import sized

WIDER = {pa.int8(): pa.int64(), pa.int32(): pa.float64(), pa.float32(): pa.float64(), pa.null(): pa.string()}
LEAVES = {
    pa.int8(): st.integers(-128, 127),
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.float32(): st.floats(width=32, allow_nan=False),
    pa.string(): st.text("ab", max_size=2),
    pa.null(): st.none(),
}


@st.composite
def kinds(draw, depth=3):
    """Return (type, type with wider parts and further fields, values of the first, what they are in the second)."""
    shape = draw(st.sampled_from(["leaf", "leaf", "list", "large", "fixed", "struct", "map"])) if depth else "leaf"
    if shape == "leaf":
        narrow = draw(st.sampled_from(sorted(LEAVES, key=str)))
        wide = WIDER.get(narrow, narrow) if draw(st.booleans()) else narrow
        return narrow, wide, LEAVES[narrow], lambda value: value
    narrow, wide, cells, made = draw(kinds(depth - 1))
    cells = st.none() | cells
    if shape == "struct":
        fields = [("k", narrow), ("other", pa.int8())]
        wider = pa.struct([("new", pa.list_(pa.int8())), ("k", wide), ("other", pa.int8())])
        values = st.fixed_dictionaries({"k": cells, "other": st.none() | st.just(1)})
        return (
            pa.struct(fields),
            wider,
            values,
            lambda row: {"new": None, "k": apply(made, row["k"]), "other": row["other"]},
        )
    if shape == "map":
        values = st.dictionaries(st.text("ab", max_size=2), cells, max_size=3).map(lambda row: list(row.items()))
        kinds_ = pa.map_(pa.string(), narrow), pa.map_(pa.string(), wide)
        return *kinds_, values, lambda row: [(key, apply(made, value)) for key, value in row]
    size = {"fixed": 2}.get(shape)
    lists = st.lists(cells, min_size=size or 0, max_size=size or 3)
    make = {"list": pa.list_, "large": pa.large_list, "fixed": lambda kind: pa.list_(kind, 2)}[shape]
    return make(narrow), make(wide), lists, lambda row: [apply(made, value) for value in row]


def apply(made, value):
    return None if value is None else made(value)


@settings(max_examples=sized(500, full=500), deadline=None)
@given(data=st.data())
def test_values_stay_and_missing_fields_are_null(data):
    """Of slices, chunks and rows without values too."""
    narrow, wide, cells, made = data.draw(kinds())
    rows = data.draw(st.lists(st.none() | cells, max_size=6))
    start = data.draw(st.integers(0, 2))
    column = pa.chunked_array([pa.array(rows, narrow).slice(start), pa.array(rows, narrow)])
    found = exact(column, wide)
    found.validate(full=True)
    assert found.type == wide
    assert found.to_pylist() == [apply(made, row) for row in (*rows[start:], *rows)]


@pytest.mark.parametrize("kind", [pa.list_(pa.int8(), 1), pa.struct([("k", pa.int8())])])
def test_what_lies_under_nulls_is_not_looked_at(kind):
    """A value there that the type does not hold stops nothing; one that is seen does."""
    inner = pa.array([300, 1], pa.int64())
    mask = pa.array([True, False])
    if pa.types.is_struct(kind):
        array = pa.StructArray.from_arrays([inner], ["k"], mask=mask)
    else:
        array = pa.FixedSizeListArray.from_arrays(inner, 1, mask=mask)
    assert exact(pa.chunked_array([array]), kind).is_null().to_pylist() == [True, False]
    with pytest.raises(pa.ArrowInvalid, match="300"):
        exact(
            pa.chunked_array([array.from_arrays([inner], ["k"])] if pa.types.is_struct(kind) else [inner_list(inner)]),
            kind,
        )


def inner_list(inner):
    return pa.FixedSizeListArray.from_arrays(inner, 1)


def test_parts_without_values():
    """Are of the null type, however deep; so they join whatever has values there."""
    kind = pa.struct([("k", pa.float64()), ("l", pa.list_(pa.struct([("m", pa.int8()), ("n", pa.string())])))])
    column = pa.chunked_array(
        [pa.array([{"k": None, "l": []}, None], kind), pa.array([{"l": [{"m": None, "n": "x"}]}], kind)]
    )
    found = occupied(kind, column)
    assert found == pa.struct([("k", pa.null()), ("l", pa.list_(pa.struct([("m", pa.null()), ("n", pa.string())])))])
    other = pa.struct([("k", pa.date32()), ("l", pa.list_(pa.struct([("m", pa.list_(pa.int8()))])))])
    assert common(kind, other) is None
    assert common(found, other) == pa.struct(
        [("k", pa.date32()), ("l", pa.list_(pa.struct([("m", pa.list_(pa.int8())), ("n", pa.string())])))]
    )
