"""The golden store of snapshots in files: read by ``json`` and ``pyarrow`` alone, and by no release before this one."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

import duckvstore as vs
from tests.format.make_golden_snapshots import SYMBOLS

GOLDEN = Path(__file__).parent / "golden_snapshots"
HELD = {symbol: int(symbol == "a") for symbol in SYMBOLS}


def test_files_hold_the_symbols_in_order(folder):
    """Each has the digest, size and first symbol that the document says; a small snapshot is as it always was."""
    root = folder / "snapshots"
    body = json.loads((root / "snapshots" / "large~20one.json").read_bytes())
    assert body["requires"] == ["snapshot_files"]
    assert body["versions"] == {}
    rows = []
    for file in body["files"]:
        assert file["key"].startswith("snapshot_files/large~20one/")
        data = (root / file["key"]).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (file["bytes"], file["sha256"])
        part = pq.read_table(pa.BufferReader(data)).to_pylist()
        assert (len(part), part[0]["symbol"]) == (file["rows"], file["first"])
        rows += part
    assert [row["symbol"] for row in rows] == SYMBOLS
    assert {row["symbol"]: row["version"] for row in rows} == HELD
    small = json.loads((root / "snapshots" / "small.json").read_bytes())
    assert small["requires"] == []
    assert "files" not in small
    assert small["versions"] == {**HELD, "a": 2}


def test_this_release_reads_it():
    """Every symbol is what it was."""
    lib = vs.open(str(GOLDEN)).get_library("snapshots")
    for symbol, number in HELD.items():
        assert lib.read(symbol, as_of="large one").data == [symbol, number]
    assert lib.list_symbols(snapshot_name="large one") == SYMBOLS
    assert lib.list_snapshots() == {"large one": {"of": "all"}, "small": None}
    assert lib.verify().ok


def test_the_release_before_refuses_it(release_before):
    """It would take the snapshot for empty, and collect what it holds."""
    call = "import duckvstore as vs; lib = vs.open(sys.argv[1])['snapshots']; print({})"
    for what in ("lib.read('a', as_of='large one').data", "lib.gc()", "lib.prune('a', keep_last=1)"):
        said = release_before(call.format(what), GOLDEN)
        assert said.startswith("Unsupported"), what
        assert "snapshot_files" in said
    assert release_before(call.format("lib.read('a', as_of='small').data"), GOLDEN).strip() == "['a', 2]"
