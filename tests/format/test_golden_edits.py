"""The golden store of edits: read by ``json`` and ``pyarrow`` alone, and by this release."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pandas.testing import assert_frame_equal

import duckvstore as vs
from tests.format import make_golden_edits
from tests.format.make_golden_edits import NESTED, rows
from tests.format.test_independent_reader import newest_document

GOLDEN = Path(__file__).parent / "golden_edits"


@pytest.fixture(params=["committed", "fresh"])
def root(request, tmp_path) -> Path:
    """The golden store as committed, and one that this release writes."""
    if request.param == "committed":
        return GOLDEN / "edits"
    make_golden_edits.make(str(tmp_path))
    return tmp_path / "edits"


def segment_keys(root: Path, body: dict) -> list[str]:
    """Return the keys of a version's segments in row order: inline ones, and those of manifests between them."""
    inline, found, done = body["segments"]["key"], [], 0
    named = body.get("manifests", {"key": [], "position": []})
    for key, position in zip(named["key"], named["position"], strict=True):
        found += inline[done:position]
        found += pq.read_table(root / key).column("key").to_pylist()
        done = position
    return [*found, *inline[done:]]


def read(root: Path, body: dict) -> pa.Table:
    """Read a version's rows: columns by field id, null where a segment lacks one, cast to the version's type."""
    wanted = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(body["schema"]["arrow"])))
    tables = []
    for key in segment_keys(root, body):
        table = pq.read_table(root / key)
        by_id = {
            field.metadata[b"PARQUET:field_id"]: name
            for name, field in zip(table.column_names, table.schema, strict=True)
        }
        columns = []
        for field in wanted:
            name = by_id.get(field.metadata[b"PARQUET:field_id"])
            columns.append(pa.nulls(len(table), field.type) if name is None else table[name].cast(field.type))
        tables.append(pa.table(columns, names=wanted.names))
    return pa.concat_tables(tables)


def test_a_mixed_schema_is_read_by_field_id(root):
    """Rows that were written before a column came have null in it."""
    body = newest_document(root, "mixed")
    assert body["requires"] in ([], ["mixed_schema"])
    table = read(root, body)
    assert table.num_rows == body["row_count"] == 12
    assert table["qty"].type == pa.int64()
    assert table["venue"].to_pylist() == [None, None, "u", "v", None, None, *"xyzxyz"]
    body = json.loads((root / "versions/mixed/9999999998.v1.json").read_bytes())
    assert body["requires"] == ["mixed_schema"]
    assert read(root, body)["venue"].to_pylist() == [None] * 6 + list("xyzxyz")


def test_manifests_hold_the_older_runs(root):
    """In row order, with what stays inline behind them."""
    body = newest_document(root, "long")
    assert body["requires"] == ["manifests"]
    assert len(body["manifests"]["key"]) >= 1
    assert len(segment_keys(root, body)) == sum(body["manifests"]["segment_count"]) + len(body["segments"]["key"])
    times = read(root, body)["time"].to_pylist()
    assert len(times) == 42
    assert times == sorted(times)


def test_a_transaction_is_two_documents_and_one_decision(root):
    """The decision makes them visible and gives them their time."""
    first, second = newest_document(root, "first"), newest_document(root, "second")
    assert first["transaction"] == second["transaction"]
    decision = json.loads((root / f"transactions/{first['transaction']}.json").read_bytes())
    assert (decision["outcome"], decision["versions"]) == ("committed", {"first": 0, "second": 0})


def test_what_is_pruned_is_in_the_garbage_documents(root):
    """And still there for those that read it."""
    (document,) = [json.loads(path.read_bytes()) for path in (root / "garbage/pruned").iterdir()]
    assert sorted(document["versions"]) == [0, 1]
    assert len(list((root / "versions/pruned").iterdir())) == 3


def test_staged_parts_and_options_are_documents(root):
    """A part is a version document that nobody counts; options name every option."""
    (part,) = [json.loads(path.read_bytes()) for path in (root / "staging/staged").iterdir()]
    assert (part["operation"], part["version"]) == ("stage", 0)
    assert len(newest_document(root, "staged")["parts"]) == 2
    (options,) = [json.loads(path.read_bytes()) for path in (root / "options").iterdir()]
    assert (options["options"]["keep_last"], options["options"]["compression"]) == (50, "snappy")


def test_this_release_reads_the_golden_store_of_edits():
    """What an earlier release wrote comes back equal."""
    lib = vs.open(str(GOLDEN)).get_library("edits")
    found = lib.read("mixed").data
    assert found["venue"].isna().tolist() == [True, True, False, False, True, True] + [False] * 6
    assert lib.sql("SELECT count(venue), sum(qty) FROM mixed").fetchall() == [(8, 0 + 1 + 0 + 1 + 4 + 5 + 15)]
    assert_frame_equal(lib.read("mixed", as_of=0).data, rows("2026-01-01"), check_freq=False)
    days = [rows(f"2026-02-{day:02}") for day in range(1, 8)]
    assert_frame_equal(lib.read("long").data, pd.concat(days), check_freq=False)
    assert_frame_equal(lib.read("second").data, rows("2026-03-02"), check_freq=False)
    assert_frame_equal(lib.read("staged").data, pd.concat([rows("2026-04-01"), rows("2026-04-02")]), check_freq=False)
    with pytest.raises(vs.NoSuchVersion, match="pruned"):
        lib.read("pruned", as_of=0)
    nested = lib.read("nested").data
    assert_frame_equal(nested["tables"][1], NESTED["tables"][1], check_freq=False)
    assert (nested["rate"], nested["of"]) == (0.5, ("a", None))
    assert lib.read("config").data == {"a": [1, None, float("inf")]}
    assert lib.options.keep_last == 50
    assert lib.verify().ok
