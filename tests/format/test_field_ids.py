"""Field ids inside of nested columns: each field has one, it is its own for good, and no reader is disturbed by it."""

from __future__ import annotations

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

import duckvstore as vs
from duckvstore.format.stored import schema as schemas

BOX = pa.struct([("w", pa.int64()), ("in", pa.list_(pa.struct([("a", pa.string())])))])
ROWS = [{"w": 1, "in": [{"a": "x"}, None]}, None, {"w": 2, "in": []}]


@pytest.fixture
def library(tmp_path):
    """Return an empty library in a folder."""
    return vs.open(str(tmp_path)).create_library("l")


def files(library):
    """Return the paths of the segments of the newest version, in row order."""
    version = library.open_library.version("s", max(number for _, number in library.list_versions("s")))
    opened = library.open_library
    return [opened.segment_objects.uri(opened.layout.segment_key(segment.key)) for segment in version.segments]


def inside(kind, path=""):
    """Return the id of each field inside of a type, by its path."""
    found = {}
    for at in range(kind.num_fields):
        field = kind.field(at)
        name = f"{path}{field.name if pa.types.is_struct(kind) else ''}."
        known = (field.metadata or {}).get(schemas.FIELD_ID)
        found[name] = None if known is None else int(known)
        found |= inside(field.type, name)
    return found


def stored(path):
    """Return the ids inside of the nested column of a segment."""
    return inside(pq.ParquetFile(path).schema_arrow.field("box").type)


def test_ids_stay_when_the_inside_evolves(library):
    """In appends, updates of rows, SQL and ALTER TABLE; those of a dropped column never come back."""
    library.write("s", pa.table({"id": [1], "box": pa.array(ROWS[:1], BOX)}))
    first = stored(files(library)[0])
    assert first == {"w.": 16785408, "in.": 16785409, "in..": 16785410, "in..a.": 16785411}
    library.append("s", pa.table({"id": [2], "box": [{"new": 1.5, "in": [{"b": [1]}], "w": 2}]}))
    second = stored(files(library)[1])
    assert {path: second[path] for path in first} == first
    added = {path: number for path, number in second.items() if path not in first}
    assert sorted(added.values()) == [16785412, 16785413, 16785414]
    library.sql("UPDATE s SET box = {'w': 3, 'in': [], 'new': 0.5}")
    library.sql("INSERT INTO s VALUES (3, NULL)")
    library.sql("ALTER TABLE s RENAME box TO crate")
    library.append("s", pa.table({"id": [4], "crate": [{"w": 9}]}))
    assert inside(pq.ParquetFile(files(library)[-1]).schema_arrow.field("crate").type) == second
    library.sql("ALTER TABLE s DROP COLUMN crate")
    library.sql("ALTER TABLE s ADD COLUMN box STRUCT(w INTEGER)")
    library.sql("INSERT INTO s VALUES (5, {'w': 1})")
    assert stored(files(library)[-1]) == {"w.": schemas.NESTED_ID_MIN + 3 * schemas.NESTED_IDS_EACH}


def test_a_cast_keeps_the_ids_of_the_fields_that_stay(library):
    """Whatever their places; a new one takes another than all of them."""
    library.sql("CREATE TABLE s AS SELECT {'a': 1, 'b': 2} AS box")
    before = stored(files(library)[0])
    kind = "STRUCT(c VARCHAR, b BIGINT)"
    library.sql(f"ALTER TABLE s ALTER box TYPE {kind} USING CAST(box AS {kind})")
    after = stored(files(library)[0])
    assert after["b."] == before["b."]
    assert after["c."] not in before.values()


@pytest.mark.parametrize("kind", ["struct", "large list", "fixed list", "map"])
def test_every_shape_has_ids(library, kind):
    """All different, none that a column has; the user's own do not come into segments, and come back with the value."""
    own = pa.field("a", pa.int64(), metadata={schemas.FIELD_ID: b"1", b"unit": b"m"})
    types = {
        "struct": pa.struct([own]),
        "large list": pa.large_list(own),
        "fixed list": pa.list_(own, 1),
        "map": pa.map_(pa.string(), own),
    }
    cells = {"struct": [{"a": 1}], "map": [[("k", 1)]]}.get(kind, [[1]])
    table = pa.table({"box": pa.array(cells, types[kind]), "other": pa.array([[1]])})
    library.write("s", table)
    # Arrow's own IPC does not bring back what a map's fields say beside their types.
    assert library.read("s").data.schema.equals(table.schema, check_metadata=kind != "map")
    fields = list(pq.ParquetFile(files(library)[0]).schema_arrow)
    found = [number for field in fields for number in inside(field.type).values() if number is not None]
    assert len(set(found)) == len(found)
    assert min(found) > schemas.NESTED_ID_MIN
    assert str(schemas.FIELD_ID) not in str(library.read("s", columns=["other"]).data.schema)


def test_a_column_of_very_many_fields_is_stored_too(library):
    """Those that are beyond the ids of their column have none, and nothing else is different."""
    names = [f"f{number}" for number in range(schemas.NESTED_IDS_EACH + 2)]
    kind = pa.struct([(name, pa.int64()) for name in names])
    table = pa.table({"box": pa.array([dict.fromkeys(names, 1)], kind), "next": [[1]]})
    library.write("s", table)
    found = stored(files(library)[0])
    assert [path for path, number in found.items() if number is None] == ["f4096.", "f4097."]
    assert library.read("s").data.equals(table)


def write_as_before(library, monkeypatch):
    """Write rows as earlier releases did: no field inside of a column has an id, in the document neither."""
    with monkeypatch.context() as before:

        def plain(name, kind, identity, *, nullable):
            metadata = {schemas.FIELD_ID: str(identity).encode()}
            return pa.field(name, schemas.without_metadata(kind), nullable=nullable, metadata=metadata)

        before.setattr(schemas, "identified", plain)
        schemas.fields_of.cache_clear()
        library.write("s", pa.table({"id": [1, 2, 3], "box": pa.array(ROWS, BOX)}))
        schemas.fields_of.cache_clear()
    assert set(stored(files(library)[0]).values()) == {None}


@pytest.mark.parametrize("evolves", [False, True])
def test_segments_of_earlier_releases_go_with_new_ones(library, monkeypatch, evolves):
    """DuckDB, by itself and through sql(), and pyarrow read both as one; in either order of the files."""
    write_as_before(library, monkeypatch)
    more = {"new": 1} if evolves else {}
    library.append("s", pa.table({"id": [4], "box": [{"w": 2**40, "in": [{"a": "y"}], **more}]}))
    expected = [None if row is None else {**row, **({"new": None} if evolves else {})} for row in ROWS]
    expected.append({"w": 2**40, "in": [{"a": "y"}], **more})
    assert library.read("s").data["box"].to_pylist() == expected
    assert [row[0] for row in library.sql("SELECT box FROM s").fetchall()] == expected
    asked = "SELECT box.w, box['in'][1].a FROM {} WHERE box.w > 1 ORDER BY id"
    assert library.sql(asked.format("s")).fetchall() == [(2, None), (2**40, "y")]
    paths = files(library)
    assert None not in stored(paths[1]).values()
    if evolves:
        return
    for order in (paths, paths[::-1]):
        with duckdb.connect() as connection:
            assert connection.sql(asked.format(f"read_parquet({order})")).fetchall() == [(2, None), (2**40, "y")]
            by_name = f"read_parquet({order}, union_by_name = true)"
            assert connection.sql(asked.format(by_name)).fetchall() == [(2, None), (2**40, "y")]
        table = ds.dataset(order).to_table().sort_by("id")
        assert table["box"].to_pylist() == expected
        assert pq.read_table(order).sort_by("id")["box"].to_pylist() == expected


def test_ids_do_not_show(library):
    """Neither in Arrow tables made of a frame, nor in the dtypes of its columns."""
    frame = pd.DataFrame({"box": pd.Series([[1]], dtype=pd.ArrowDtype(pa.list_(pa.int8())))})
    library.write("s", frame)
    found = library.read("s").data
    assert found["box"].dtype.pyarrow_dtype.equals(pa.list_(pa.int8()), check_metadata=True)
    for kind in (library.read("s", output_format="pyarrow").data.schema, library.sql("FROM s").arrow().schema):
        assert inside(kind.field("box").type) == {".": None}
