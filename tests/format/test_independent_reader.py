"""FORMAT.md is enough: a reader of ``json`` and ``pyarrow`` alone, written from it, against the golden store."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pandas.testing import assert_frame_equal, assert_series_equal

import duckvstore as vs
from tests.format import make_golden

GOLDEN = Path(__file__).parent / "golden"


def escape(name: str) -> str:
    """Escape a name as FORMAT.md says."""
    safe = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"
    return "".join(chr(byte) if chr(byte) in safe else f"~{byte:02X}" for byte in name.encode())


def newest_document(root: Path, symbol: str) -> dict:
    """The first key of the listing is the highest number."""
    return json.loads(min((root / "versions" / escape(symbol)).iterdir()).read_bytes())


def document(root: Path, symbol: str, number: int) -> dict:
    return json.loads((root / "versions" / escape(symbol) / f"{9999999999 - number}.v{number}.json").read_bytes())


def read(root: Path, body: dict) -> pa.Table:
    """Read a version's rows, verified."""
    assert body["format"] == 1
    assert body["requires"] == []
    assert body["transaction"] is None
    tables = []
    segments = body["segments"]
    for key, rows, size, digest in zip(
        segments["key"], segments["rows"], segments["bytes"], segments["sha256"], strict=True
    ):
        assert re.fullmatch(r"segments/[A-Za-z0-9._~-]+/[0-9a-f]+-[0-9a-f]+\.parquet", key)
        data = (root / key).read_bytes()
        assert len(data) == size
        assert hashlib.sha256(data).hexdigest() == digest
        table = pq.read_table(pa.BufferReader(data))
        assert table.num_rows == rows
        ids = [
            int(table.schema.field(column["name"]).metadata[b"PARQUET:field_id"])
            for column in body["schema"]["columns"]
        ]
        assert ids == [column["id"] for column in body["schema"]["columns"]]
        tables.append(table)
    return pa.concat_tables(tables)


@pytest.fixture(params=["committed", "fresh"])
def root(request, tmp_path) -> Path:
    """The golden store as committed, and one that this release writes."""
    if request.param == "committed":
        return GOLDEN / "golden"
    make_golden.make(str(tmp_path))
    return tmp_path / "golden"


def test_rows_of_every_version_are_read_with_json_and_pyarrow_only(root):
    """Documents lead to segments, segments hold the rows."""
    for number in range(3):
        body = document(root, "trades", number)
        expected = make_golden.trades(number)
        table = read(root, body)
        assert body["row_count"] == table.num_rows == 40
        assert body["schema"]["index"] == ["time"]
        assert table.column("price").to_pylist()[:3] == expected["price"].tolist()[:3]
        assert table.column("qty").to_pylist() == [None if q is pd.NA else q for q in expected["qty"]]
        assert table.column("venue").to_pylist() == expected["venue"].tolist()
        assert table.column("fee").to_pylist() == expected["fee"].tolist()
        assert [time.tz_convert("UTC") for time in pd.DatetimeIndex(table.column("time").to_pylist())] == [
            time.tz_convert("UTC") for time in expected.index
        ]
        assert body["metadata"]["n"] == number
        assert body["metadata"]["nan"] == {"$float": "nan"}
        assert body["metadata"]["price"] == {"$decimal": "1.10"}
    assert newest_document(root, "trades")["operation"] == "restore"
    assert newest_document(root, "trades")["segments"]["key"] == document(root, "trades", 0)["segments"]["key"]
    assert newest_document(root, "series")["kind"] == "deleted"


def test_statistics_are_bounds(root):
    """Min and max leave NaN out; nulls are counted."""
    body = document(root, "trades", 0)
    ids = {column["name"]: str(column["id"]) for column in body["schema"]["columns"]}
    price = make_golden.trades(0)["price"]
    statistics = body["segments"]["statistics"]
    assert statistics[ids["price"]]["min"] == [price.min()]
    assert statistics[ids["price"]]["max"] == [price.max()]
    assert statistics[ids["qty"]]["nulls"] == [6]
    assert statistics[ids["sym"]]["min"] == ["AAA"]


def test_a_snapshot_names_versions(root):
    """Snapshots are one document."""
    body = json.loads((root / "snapshots" / "before.json").read_bytes())
    assert body["versions"]["trades"] == 2
    assert body["versions"]["odd / näme"] == 0
    assert body["metadata"] == {"why": "golden"}


def test_every_write_has_an_intent(root):
    """The journal has one entry per version, named by its write id."""
    documents = [json.loads(path.read_bytes()) for path in (root / "versions").rglob("*.json")]
    intents = {path.name: json.loads(path.read_bytes())["symbol"] for path in (root / "journal").iterdir()}
    assert {body["write_id"]: body["symbol"] for body in documents} == intents


def test_this_release_reads_the_golden_store():
    """What an earlier release wrote comes back equal, values and all."""
    lib = vs.open(str(GOLDEN)).get_library("golden")
    for number in range(3):
        assert_frame_equal(lib.read("trades", as_of=number).data, make_golden.trades(number))
    assert_frame_equal(lib.read("trades").data, make_golden.trades(0))
    values = make_golden.values()
    assert_series_equal(lib.read("series", as_of="before").data, values["series"])
    assert (lib.read("array").data == values["array"]).all()
    assert lib.read("arrow").data.equals(values["arrow"])
    assert lib.read("polars").data.equals(values["polars"])
    assert_frame_equal(lib.read("odd / näme").data, values["odd / näme"])
    assert_frame_equal(lib.read("empty").data, values["empty"])
    assert lib.list_snapshots() == {"before": {"why": "golden"}}
    infos = list(lib.list_versions("trades").values())
    assert [info.operation for info in infos] == ["restore", "write_metadata", "write", "write", "write"]
    assert lib.sql("SELECT count(*) FROM trades AT VERSION 2").fetchall() == [(40,)]
