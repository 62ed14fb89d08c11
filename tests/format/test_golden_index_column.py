"""The golden store of index columns: read by ``json`` and ``pyarrow`` alone, and by no release before this one."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import polars as pl

import duckvstore as vs
from tests.format.make_golden_index_column import table
from tests.format.test_golden_edits import read
from tests.format.test_independent_reader import newest_document

GOLDEN = Path(__file__).parent / "golden_index_column"


def test_the_index_is_named_and_stands_where_it_stood(folder):
    """Its order is in the document, and its bounds are."""
    body = newest_document(folder / "indexed", "arrow")
    assert "index_column" in body["requires"]
    assert body["schema"]["index"] == ["time"]
    assert body["is_sorted"] is True
    assert read(folder / "indexed", body).to_pydict() == table([1, 2, 3, 4, 5]).to_pydict()
    (identity,) = (str(column["id"]) for column in body["schema"]["columns"] if column["name"] == "time")
    assert None not in body["segments"]["statistics"][identity]["min"]
    assert newest_document(folder / "indexed", "plain")["requires"] == []


def test_this_release_reads_it():
    """As what was written, and by ranges of times."""
    lib = vs.open(str(GOLDEN)).get_library("indexed")
    assert lib.read("arrow").data.equals(table([1, 2, 3, 4, 5]))
    assert lib.read("polars").data.equals(pl.DataFrame(table([1, 2])))
    for symbol in ("arrow", "polars"):
        found = lib.read(symbol, date_range=(dt.datetime(2026, 1, 2), None)).data
        assert found["n"].to_pylist() == [2, 3, 4, 5] if symbol == "arrow" else found["n"].to_list() == [2]
    assert lib.verify().ok


def test_the_release_before_refuses_it(release_before):
    """It would add rows without a look at their order."""
    code = "import duckvstore as vs; print(vs.open(sys.argv[1])['indexed'].read('arrow').data)"
    said = release_before(code, GOLDEN)
    assert said.startswith("Unsupported")
    assert "index_column" in said
    code = "import duckvstore as vs; print(vs.open(sys.argv[1])['indexed'].read('plain').data['n'].to_pylist())"
    assert release_before(code, GOLDEN).strip() == "[1]"
