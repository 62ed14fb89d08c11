"""The golden store of a folded catalogue: read by ``json``, ``hashlib`` and ``pyarrow`` alone, and by this release."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

import duckvstore as vs
from duckvstore.engine.reading import folded, listings
from tests.format.test_independent_reader import document, escape

GOLDEN = Path(__file__).parent / "golden_folded"
SYMBOLS = [f"s{number:02}" for number in range(20) if number != 4]


def rows_of(root: Path, layers: list[dict], kind: str) -> dict[tuple[str, int], dict]:
    """The rows of files of all layers, each version as the last layer says."""
    found: dict[tuple[str, int], dict] = {}
    for layer in layers:
        count = 0
        for file in layer[kind]:
            data = (root / file["key"]).read_bytes()
            assert hashlib.sha256(data).hexdigest() == file["sha256"]
            assert len(data) == file["bytes"]
            rows = pq.read_table(pa.BufferReader(data)).to_pylist()
            assert len(rows) == file["rows"]
            assert (rows[0]["symbol"], rows[-1]["symbol"]) == (file["first"], file["last"])
            pairs = [(row["symbol"].encode(), row["version"]) for row in rows]
            assert pairs == sorted(pairs)
            found.update({(row["symbol"], row["version"]): row for row in rows})
            count += len(rows)
        assert count == layer["rows"]
    return {pair: row for pair, row in found.items() if not row["is_removed"]}


def test_the_catalogue_is_read_with_json_and_pyarrow_only(folder):
    """Journal, mark, generation and layers lead to the same versions as the documents."""
    root = folder / "folded"
    intents = [path.name for path in (root / "journal").iterdir()]
    assert all(re.fullmatch(r"[0-9a-f]{32}\..+", name) for name in intents)
    tail = {name.partition(".")[2] for name in intents}
    assert tail == {"later", "s03"}
    generation = json.loads(min((root / "catalogue" / "generations").iterdir()).read_bytes())
    marks = [path.name for path in (root / "folds").iterdir()]
    assert marks == [f"{9999999999 - generation['number']}.{generation['generation_id']}"]
    assert generation["requires"] == ["folded_catalogue"]
    assert generation["library_id"] == json.loads((root / "library.json").read_bytes())["library_id"]
    assert json.loads(min((root / "options").iterdir()).read_bytes())["folded"] is True
    versions = rows_of(root, generation["layers"], "versions")
    documents = rows_of(root, generation["layers"], "documents")
    assert versions.keys() == documents.keys()
    assert ("s03", 0) not in versions
    for (symbol, number), row in versions.items():
        body = document(root, symbol, number)
        assert json.loads(documents[symbol, number]["document"]) == body
        assert row["write_id"] == body["write_id"]
        assert (row["operation"], row["kind"], row["row_count"]) == (body["operation"], body["kind"], body["row_count"])
        assert row["is_visible"] is True
    for path in (root / "versions").rglob("*.json"):
        body = json.loads(path.read_bytes())
        assert (body["symbol"], body["version"]) in versions or escape(body["symbol"]) in tail
    assert versions["s05", 1]["created_at"] == versions["ä/b", 0]["created_at"]  # the commit's


def test_this_release_believes_it_and_lists_what_is_there(folder, tmp_path, monkeypatch):
    """Also what came after the fold; a fold of this release goes on from it."""
    monkeypatch.setattr(listings, "SYMBOLS_PAGE", 3)
    lib = vs.open(folder)["folded"]
    view = folded.look(lib.open_library)
    assert view.tail == {"later", "s03"}
    assert lib.list_symbols() == sorted([*SYMBOLS, "later", "ä/b"])
    assert [pair.version for pair in lib.list_versions("s03")] == [2, 1]
    assert lib.verify().ok
    shutil.copytree(folder, tmp_path / "copy")
    copy = vs.open(tmp_path / "copy")["folded"]
    assert copy.fold().folded_documents == 2
    assert copy.list_symbols() == lib.list_symbols()
    assert copy.verify().ok
