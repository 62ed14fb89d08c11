"""Schemas come back from documents exactly; names are unique in the way that DuckDB compares names."""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from duckvstore.errors import Integrity
from duckvstore.format.stored import schema as schemas
from duckvstore.format.stored.documents import Schema
from tests.format.codecs.values_cases import sampled

LABELS = st.one_of(st.text(max_size=4), st.sampled_from(["a", "A", "a_1", "A_1", "", "ß", "SS", "ss"]), st.integers())


@given(st.lists(LABELS, max_size=8), st.lists(st.sampled_from(["a", "A_1", "x"]), max_size=2))
@sampled(100)
def test_names_are_unique_without_regard_to_case(labels, taken):
    """One name per label, none empty, none taken, all storable; a free label stays as it is."""
    names = schemas.unique_names(labels, taken)
    assert len(names) == len(labels)
    folded = [name.casefold() for name in names]
    assert len(set(folded)) == len(folded)
    assert not set(folded) & {name.casefold() for name in taken}
    assert all(name and "\0" not in name and name.encode("utf-8") for name in names)


def test_free_names_stay_and_taken_ones_are_numbered():
    """The first of equal labels keeps its name; numbers skip names that exist."""
    assert schemas.unique_names(["a", "A", "a_1", "a", 1, "1"]) == ["a", "A_1", "a_1_1", "a_2", "1", "1_1"]
    assert schemas.unique_names(["index"], taken=["Index"]) == ["index_1"]
    assert schemas.unique_names(["", None, ("x", 1)]) == ["unnamed", "None", "('x', 1)"]


def test_ten_thousand_equal_labels_are_named_quickly():
    """Numbering does not start over for each label."""
    names = schemas.unique_names(["a"] * 10_000)
    assert names[-1] == "a_9999"


@given(st.lists(LABELS, min_size=1, max_size=6))
@sampled(50)
def test_duckdb_accepts_the_names(labels):
    """As columns of one table, side by side."""
    names = schemas.unique_names(labels)
    table = pa.table([pa.array([number]) for number in range(len(names))], names=names)
    assert duckdb.from_arrow(table).columns == names


def test_a_schema_comes_back_with_field_ids_and_without_metadata():
    """Ids count from 1; types are exact; index and value are kept."""
    arrow = pa.schema(
        [
            pa.field("t", pa.timestamp("s", "Europe/London"), metadata={"unit": "s"}),
            pa.field("s", pa.struct([("x", pa.list_(pa.decimal128(5, 2)))])),
            pa.field("d", pa.dictionary(pa.int8(), pa.large_string(), ordered=True), nullable=False),
        ],
        metadata={"k": "v"},
    )
    schema = schemas.from_arrow(arrow, index=["t"], value={"k": 1})
    found = schemas.to_arrow(schema)
    assert found.equals(arrow)
    assert found.metadata is None
    assert [field.metadata for field in found] == [{b"PARQUET:field_id": str(n).encode()} for n in (1, 2, 3)]
    assert [(column.name, column.id) for column in schema.columns] == [("t", 1), ("s", 2), ("d", 3)]
    assert schema.columns[0].type == "timestamp[s, tz=Europe/London]"
    assert (schema.index, schema.value) == (("t",), {"k": 1})


def test_an_empty_document_schema_has_no_columns():
    """As that of a deletion."""
    assert schemas.to_arrow(Schema()) == pa.schema([])


@pytest.mark.parametrize("text", ["%%%", "AAAA", "ä"])
def test_a_damaged_schema_is_an_integrity_error(text):
    """Not base64, or no schema inside."""
    with pytest.raises(Integrity, match="damaged"):
        schemas.to_arrow(Schema(arrow=text))
