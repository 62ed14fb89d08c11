"""The golden store of shared labels: read by ``json`` and ``pyarrow`` alone, and by no release before this one."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

import duckvstore as vs
from tests.format.make_golden_labels import COLOURS
from tests.format.test_golden_edits import read
from tests.format.test_independent_reader import newest_document

GOLDEN = Path(__file__).parent / "golden_labels"
IN_ORDER = [*COLOURS[:8], "red", *COLOURS[8:], "blue"]


def runs(root, body):
    """Return the labels of each run that a document names."""
    found = []
    for key, count, sha256 in zip(*(body["label_runs"][name] for name in ("key", "count", "sha256")), strict=True):
        texts = pq.read_table(root / key).column("item").to_pylist()
        assert len(texts) == count
        assert hashlib.sha256(f"[{','.join(texts)}]".encode()).hexdigest() == sha256
        found.append([json.loads(text) for text in texts])
    return found


def test_labels_are_those_of_the_runs_and_then_the_document_s_own(folder):
    """Of categories, of an Enum of polars and of an ENUM of DuckDB."""
    root = folder / "labels"
    body = newest_document(root, "pandas")
    assert body["requires"] == ["shared_labels"]
    place = body["schema"]["value"]["dtypes"][0]["categories"]["strings"]
    parts = runs(root, body)
    assert [label for number in place["$runs"] for label in parts[number]] + place["rest"] == IN_ORDER
    assert len(parts) == 2
    assert place["rest"] == ["blue"]
    assert read(root, body).to_pydict() == {"colour": IN_ORDER}
    body = newest_document(root, "polars")
    assert body["schema"]["value"]["dtypes_polars"] == [{"Enum": [{"$runs": [0], "rest": []}]}]
    assert runs(root, body) == [COLOURS]
    body = newest_document(root, "enum")
    assert body["schema"]["columns"][0]["duckdb"] == {"$runs": [0], "rest": ""}
    assert runs(root, body) == [[f"ENUM({', '.join(repr(colour) for colour in COLOURS)})"]]
    assert newest_document(root, "plain")["requires"] == []


def test_this_release_reads_it():
    """Every version has the categories that it had."""
    lib = vs.open(str(GOLDEN)).get_library("labels")
    for number, count in enumerate((8, 9, 13, 14)):
        found = lib.read("pandas", as_of=number).data["colour"]
        assert found.tolist() == found.cat.categories.tolist() == IN_ORDER[:count]
    assert lib.read("polars").data["colour"].dtype == pl.Enum(COLOURS)
    assert lib.sql("SELECT colour, enum_range(colour)[12] FROM enum").fetchall() == [("colour 2", "colour 11")]
    assert lib.verify().ok


def test_the_release_before_refuses_it(release_before):
    """It would find no labels, and collect them."""
    code = "import duckvstore as vs; print(vs.open(sys.argv[1])['labels'].read('pandas').data)"
    said = release_before(code, GOLDEN)
    assert said.startswith("Unsupported")
    assert "shared_labels" in said
    said = release_before("import duckvstore as vs; print(vs.open(sys.argv[1])['labels'].gc())", GOLDEN)
    assert said.startswith("Unsupported")
    code = "import duckvstore as vs; print(vs.open(sys.argv[1])['labels'].read('plain').data.colour.tolist())"
    assert release_before(code, GOLDEN).strip() == "['red']"
