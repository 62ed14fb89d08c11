"""Logical digests: equal rows have equal ones, in whatever buffers they come; other rows have others."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from duckvstore.format.rows import blocks
from duckvstore.format.rows.digest import logical_digest
from duckvstore.format.stored import schema as schemas

ARRAYS = {
    "int64": pa.array([1, None, 3, 4]),
    "float32": pa.array([1.5, None, float("nan"), -0.0], pa.float32()),
    "bool": pa.array([True, None, False, True]),
    "text": pa.array(["a", None, "", "länger"]),
    "large text": pa.array(["a", None, "", "länger"], pa.large_string()),
    "view": pa.array(["a", None, "", "länger"], pa.string_view()),
    "binary": pa.array([b"\0", None, b"", b"abc"]),
    "fixed binary": pa.array([b"ab", None, b"cd", b"ef"], pa.binary(2)),
    "decimal": pa.array([Decimal("1.50"), None, Decimal("2.25"), Decimal("0.00")]),
    "time": pa.array([1, None, 3, 4], pa.timestamp("ns", "Europe/Berlin")),
    "list": pa.array([[1, 2], None, [], [3]]),
    "fixed list": pa.array([[1, 2], None, [5, 6], [3, None]], pa.list_(pa.int32(), 2)),
    "map": pa.array([[("a", 1)], None, [], [("b", None)]], pa.map_(pa.string(), pa.int64())),
    "struct": pa.array([{"a": 1, "b": "x"}, None, {"a": None, "b": "y"}, {"a": 2, "b": None}]),
    "dictionary": pa.array(["a", None, "b", "a"]).dictionary_encode(),
    "null": pa.nulls(4),
    "nested": pa.array([[{"a": [1]}], None, [{"a": None}], []]),
}


def digest(array, name="x"):
    rows = pa.table({name: array})
    return logical_digest(rows, schemas.from_arrow(rows.schema))


def in_order(array, positions):
    return pa.concat_arrays([array.slice(position, 1) for position in positions])


def relaid(array):
    """Return equal arrays in other buffers: a slice of a longer one, chunks, and garbage under the nulls."""
    longer = pa.concat_arrays([array, array])
    yield longer.slice(len(array))
    yield pa.chunked_array([array.slice(0, 1), array.slice(1)])
    yield in_order(array, range(len(array)))


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_equal_values_have_equal_digests_in_any_buffers(array):
    """Slices, chunks and copies."""
    assert {digest(other) for other in relaid(array)} == {digest(array)}


def test_what_lies_under_nulls_does_not_count():
    """Values that a null hides are garbage."""
    valid = pa.py_buffer(b"\x05")
    for kind, first, second in (
        (pa.int64(), [1, 2, 3], [1, 99, 3]),
        (pa.float64(), [1.0, 2.0, 3.0], [1.0, float("nan"), 3.0]),
    ):
        made = [
            pa.Array.from_buffers(kind, 3, [valid, pa.py_buffer(np.array(values).tobytes())])
            for values in (first, second)
        ]
        assert digest(made[0]) == digest(made[1])
    texts = [
        pa.Array.from_buffers(
            pa.string(), 3, [valid, pa.py_buffer(np.array(offsets, np.int32).tobytes()), pa.py_buffer(data)]
        )
        for offsets, data in (([0, 1, 1, 2], b"ac"), ([0, 1, 3, 4], b"axxc"))
    ]
    assert digest(texts[0]) == digest(texts[1])


FLAT = {
    "int": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "small": (pa.int16(), st.integers(-(2**15), 2**15 - 1)),
    "float": (pa.float64(), st.floats()),
    "bool": (pa.bool_(), st.booleans()),
    "time": (pa.timestamp("us", "UTC"), st.integers(0, 10**15)),
    "decimal": (pa.decimal128(9, 2), st.decimals(-99999, 99999, places=2)),
    "text": (pa.string(), st.text(max_size=5)),
    "large text": (pa.large_string(), st.text(max_size=5)),
    "bytes": (pa.binary(), st.binary(max_size=5)),
    "fixed bytes": (pa.binary(3), st.binary(min_size=3, max_size=3)),
}


@pytest.mark.parametrize(("kind", "cells"), FLAT.values(), ids=FLAT)
@settings(max_examples=30)
@given(data=st.data())
def test_cells_count_and_their_layout_does_not(kind, cells, data):
    """Whatever lies before, behind and under the nulls, and however it is chunked; a change of one cell shows."""
    drawn = data.draw(st.lists(st.tuples(st.booleans(), cells), min_size=1, max_size=20))
    place, cut = (data.draw(st.integers(0, len(drawn) - 1)) for _ in range(2))
    compact = pa.array([cell if is_valid else None for is_valid, cell in drawn], kind)
    padded = pa.array([drawn[0][1], *(cell for _, cell in drawn), drawn[0][1]], kind)
    bits = np.packbits([True, *(is_valid for is_valid, _ in drawn), True], bitorder="little")
    garbage = pa.Array.from_buffers(kind, len(padded), [pa.py_buffer(bits), *padded.buffers()[1:]])
    relaid = garbage.slice(1, len(drawn))
    assert digest(relaid) == digest(compact)
    assert digest(pa.chunked_array([relaid.slice(0, cut), compact.slice(cut)])) == digest(compact)
    single = pa.array([data.draw(st.one_of(st.none(), cells))], kind)
    other = pa.concat_arrays([compact.slice(0, place), single, compact.slice(place + 1)])
    same = [repr(array.to_pylist()) for array in (compact, other)]
    if same[0] != same[1]:
        assert digest(other) != digest(compact)


def test_zeros_and_nans_of_other_bits_are_others():
    """They come back with their sign and their bits."""
    bits = [0, 1 << 63, 0x7FF8000000000000, 0x7FF8000000000001, 0xFFF8000000000000]
    assert len({digest(pa.array(np.array([one], np.uint64).view(np.float64))) for one in bits}) == len(bits)


def test_fields_under_a_null_struct_do_not_count():
    """Nor items under a null list."""
    mask = pa.array([False, True])
    structs = [pa.StructArray.from_arrays([pa.array([1, hidden])], ["a"], mask=mask) for hidden in (2, 3)]
    assert digest(structs[0]) == digest(structs[1])
    lists = [pa.ListArray.from_arrays([0, 1, 2], pa.array([1, hidden]), mask=mask) for hidden in (2, 3)]
    assert digest(lists[0]) == digest(lists[1])
    fixed = [pa.FixedSizeListArray.from_arrays(pa.array([1, hidden]), 1, mask=mask) for hidden in (2, 3)]
    assert digest(fixed[0]) == digest(fixed[1])


def test_values_of_a_dictionary_do_not_pass_for_the_columns_behind():
    """The bytes between two dictionaries of small integers may stand in either of them."""
    kind = pa.dictionary(pa.int8(), pa.int8())
    schema = pa.schema([("a", kind), ("b", kind)])
    between = b"v\0" + f"\0{2};1;b;{kind};True\0".encode() + b"vFalsev"

    def of(*dictionaries):
        arrays = [
            pa.DictionaryArray.from_arrays(pa.array([0], pa.int8()), pa.array(np.frombuffer(values, np.int8)))
            for values in dictionaries
        ]
        return logical_digest(pa.table(arrays, schema=schema), schemas.from_arrow(schema))

    assert of(b"\1", b"\7" + between + b"\5") != of(b"\1" + between + b"\7", b"\5")


def test_dictionaries_that_cannot_be_one_have_digests_too():
    """Those that hold nulls, and those with more values together than the codes can count."""
    codes = pa.array([0, 1], pa.int8())
    nulls = [pa.DictionaryArray.from_arrays(codes, pa.array(values)) for values in (["a", None], [None, "b"])]
    whole = pa.chunked_array(nulls)
    assert digest(whole) == digest(pa.chunked_array([*whole.chunks, whole.chunk(0).slice(0, 0)]))
    assert digest(whole) != digest(pa.chunked_array(nulls[::-1]))
    many = [
        pa.DictionaryArray.from_arrays(pa.array(np.arange(100, dtype=np.int8)), pa.array(np.arange(100) + start))
        for start in (0, 100, 200)
    ]
    assert digest(pa.chunked_array(many)) != digest(pa.chunked_array(many[::-1]))


def test_the_storage_of_an_extension_type_counts():
    """Its name may leave it out."""
    stored = [pa.array(["1", None], kind) for kind in (pa.string(), pa.large_string())]
    assert len({digest(pa.ExtensionArray.from_storage(pa.json_(array.type), array)) for array in stored}) == 2


def test_text_as_dictionaries_has_the_digest_of_the_text():
    """As it comes from large pandas frames."""
    dense = pa.array(["a", "b", None, "a"], pa.large_string())
    schema = schemas.from_arrow(pa.schema([("x", pa.large_string())]))
    coded = pa.table({"x": dense.dictionary_encode()})
    assert logical_digest(coded, schema) == logical_digest(pa.table({"x": dense}), schema)


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_another_order_is_another_digest(array):
    """Unless nothing tells the rows apart."""
    turned = in_order(array, [2, 1, 0, 3])
    assert (digest(turned) == digest(array)) == turned.equals(array)


def test_name_type_id_and_place_count():
    """So that a shared segment reads back as what was written."""
    rows = pa.table({"x": pa.array([1, 2])})
    schema = schemas.from_arrow(rows.schema)
    seen = {digest(rows["x"]), digest(rows["x"], "y"), digest(rows["x"].cast(pa.int32()))}
    other_id = replace(schema, columns=(structs.replace(schema.columns[0], id=7),))
    seen.add(logical_digest(rows, other_id))
    seen.add(digest(pa.array([[1], [2]])))
    seen.add(digest(pa.array([1, 2, 3]).slice(0, 2).dictionary_encode()))
    assert len(seen) == 6
    ordered = pa.DictionaryArray.from_arrays(pa.array([0, 1]), pa.array(["a", "b"]), ordered=True)
    assert digest(ordered) != digest(pa.DictionaryArray.from_arrays(pa.array([0, 1]), pa.array(["a", "b"])))


def test_lists_of_other_shapes_differ():
    """The same leaves in other lists, and null against empty."""
    shapes = [[[1], [2]], [[1, 2], []], [[], [1, 2]], [None, [1, 2]], [[1, 2], None]]
    assert len({digest(pa.array(shape, pa.list_(pa.int64()))) for shape in shapes}) == len(shapes)


@given(st.lists(st.one_of(st.none(), st.text(max_size=5)), min_size=1, max_size=20), st.data())
def test_one_changed_text_changes_the_digest(texts, data):
    """Whichever it is."""
    place = data.draw(st.integers(0, len(texts) - 1))
    other = data.draw(st.one_of(st.none(), st.text(max_size=5)).filter(lambda text: text != texts[place]))
    changed = [*texts[:place], other, *texts[place + 1 :]]
    assert digest(pa.array(texts, pa.string())) != digest(pa.array(changed, pa.string()))


def test_the_digest_is_frozen():
    """Stored segments carry it in their keys: what is shared today is shared by later releases."""
    rows = pa.table({"x": pa.array([1, None, 3]), "y": pa.array(["a", "", None], pa.large_string())})
    assert logical_digest(rows, schemas.from_arrow(rows.schema)) == "c9519150b95ea050c431a7dff2189c05"


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.float16(), pa.int8(), pa.uint64()])
@pytest.mark.parametrize("layout", ["whole", "slice", "chunks", "missing", "NaN"])
def test_many_columns_have_the_digest_of_each_by_itself(kind, layout, monkeypatch):
    """They are taken as blocks; what is null, NaN, -0.0 or infinite counts as it does in one column."""
    random = np.random.default_rng(5)
    values = random.integers(0, 100, (150, 7)).astype(kind.to_pandas_dtype())
    if layout == "NaN" and values.dtype.kind == "f":
        values[::3, 2:5] = [np.nan, -0.0, np.inf]
    columns = [pa.array(row) for row in values]
    if layout == "missing":
        columns[77] = pa.array(values[77], mask=np.arange(7) == 3)
    rows = pa.table({"t": pa.array(["a"] * 7), **{f"c{n}": column for n, column in enumerate(columns)}})
    rows = {"slice": rows.slice(2, 4), "chunks": pa.concat_tables([rows, rows])}.get(layout, rows)
    schema = schemas.from_arrow(rows.schema)
    taken = []
    monkeypatch.setattr(blocks, "BLOCK_BYTES", 400)
    monkeypatch.setattr(blocks, "numbers", lambda *args, real=blocks.numbers: taken.append(real(*args)) or taken[-1])
    found = logical_digest(rows, schema)
    assert any(block is not None for block in taken) == (layout != "chunks")
    monkeypatch.setattr(blocks, "MANY_COLUMNS", 1000)
    assert logical_digest(rows, schema) == found
