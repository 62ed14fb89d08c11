"""The golden store of nested columns that evolved: read by ``json`` and ``pyarrow``, not by the release before."""

from __future__ import annotations

import base64
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

import duckvstore as vs
from tests.format.make_golden_nested import FIRST, ROWS
from tests.format.test_golden_edits import segment_keys
from tests.format.test_independent_reader import newest_document

GOLDEN = Path(__file__).parent / "golden_nested"
IDS = {  # column 1 begins at 2**24 + 4096, the next ones each 4096 further
    "legs": 1,
    "legs.": 16781312,
    "box": 2,
    "box.w": 16785408,
    "box.in": 16785409,
    "box.in.": 16785410,
    "box.in..a": 16785411,
    "box.in..b": 16785412,
    "box.in..b.": 16785413,
    "box.new": 16785414,
    "tags": 3,
    "tags.key": 16789504,
    "tags.value": 16789505,
}


def as_now(value, kind):
    """Return a value of an old segment as one of the type ``kind``: fields by name, null where it lacks one."""
    if value is None:
        return None
    if pa.types.is_struct(kind):
        return {field.name: as_now(value.get(field.name), field.type) for field in kind}
    if pa.types.is_map(kind):
        return [(key, as_now(item, kind.item_type)) for key, item in value]
    return [as_now(item, kind.value_type) for item in value] if pa.types.is_list(kind) else value


def ids(name, field):
    """Return the field id of every path; a list's item has no name of its own."""
    found = {name: int(field.metadata[b"PARQUET:field_id"])}
    kind = field.type
    if pa.types.is_struct(kind):
        inner = {f"{name}.{child.name}": child for child in kind}
    elif pa.types.is_map(kind):
        inner = {f"{name}.key": kind.key_field, f"{name}.value": kind.item_field}
    else:
        inner = {f"{name}.": kind.value_field} if pa.types.is_list(kind) else {}
    for path, child in inner.items():
        found |= ids(path, child)
    return found


def test_nested_columns_are_read_by_the_names_of_their_fields(folder):
    """Those that a segment lacks are null."""
    root = folder / "nested"
    body = newest_document(root, "t")
    assert body["requires"] == ["mixed_schema", "mixed_nested"]
    assert body["schema"]["mixed_nested"] is True
    wanted = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(body["schema"]["arrow"])))
    rows = {field.name: [] for field in wanted}
    for key in segment_keys(root, body):
        for name, cells in pq.read_table(root / key).to_pydict().items():
            rows[name] += [as_now(cell, wanted.field(name).type) for cell in cells]
    assert rows == ROWS


def test_every_field_has_an_id_for_good(folder):
    """In segments and in the document: the old ones have the same in both, new ones have new ones."""
    root = folder / "nested"
    body = newest_document(root, "t")
    wanted = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(body["schema"]["arrow"])))
    first, second = (pq.ParquetFile(root / key).schema_arrow for key in segment_keys(root, body))
    for schema in (wanted, second, first):
        found = {path: number for field in schema for path, number in ids(field.name, field).items()}
        assert found == {path: IDS[path] for path in found}
        assert schema is first or found == IDS


def test_this_release_reads_it():
    """At every version, in SQL too."""
    lib = vs.open(str(GOLDEN)).get_library("nested")
    assert lib.read("t").data.to_pydict() == ROWS
    assert lib.read("t", as_of=0).data.equals(FIRST)
    asked = "SELECT legs[1], box.new, box['in'][1].a, tags['y'] FROM t"
    assert lib.sql(asked).fetchall() == [(None, None, 1, None), (None, None, None, None), (1, "z", 300, 2**40)]
    assert lib.verify().ok


def test_the_release_before_refuses_it(release_before):
    """It would read structs by the places of their fields; what did not evolve inside it reads, field ids and all."""
    read = "vs.open(sys.argv[1])['nested'].read('t', as_of=int(sys.argv[2])).data.to_pydict()"
    code = f"import duckvstore as vs; print({read})"
    assert "Unsupported" in (said := release_before(code, GOLDEN, 1))
    assert "mixed_nested" in said
    assert release_before(code, GOLDEN, 0).strip() == str(FIRST.to_pydict())
