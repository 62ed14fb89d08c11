"""The golden store of missing markers: read by ``json`` and ``pyarrow`` alone, and by no release before this one."""

from __future__ import annotations

from pathlib import Path

import duckvstore as vs
from tests.format.make_golden_markers import MORE, TEXT
from tests.format.test_golden_edits import read
from tests.format.test_independent_reader import newest_document

GOLDEN = Path(__file__).parent / "golden_markers"


def test_a_column_of_codes_stands_beside_the_values(folder):
    """All markers are null in the column itself; the codes are those that FORMAT.md lists."""
    body = newest_document(folder / "markers", "mixed")
    assert "missing_markers" in body["requires"]
    names = {column["id"]: column["name"] for column in body["schema"]["columns"]}
    ((column, codes),) = body["schema"]["value"]["markers"].items()
    assert (names[int(column)], names[codes]) == ("s", "__vstore_missing_s")
    rows = read(folder / "markers", body).to_pydict()
    assert rows["s"] == ["a", None, None, None, "b", None]
    assert rows["__vstore_missing_s"] == [None, 0, 1, 2, None, 1]


def test_a_frame_with_one_marker_asks_for_nothing(folder):
    """As releases before have written it; another marker that joins it has codes, and the rows before have none."""
    body = newest_document(folder / "markers", "plain")
    assert body["requires"] == []
    assert "markers" not in body["schema"]["value"]
    body = newest_document(folder / "markers", "one")
    assert "missing_markers" in body["requires"]
    assert read(folder / "markers", body).to_pydict()["__vstore_missing_s"] == [None, None, None, 1]


def test_this_release_reads_it():
    """Each missing row as what it was."""
    lib = vs.open(str(GOLDEN)).get_library("markers")
    for symbol, expected in (("mixed", TEXT + MORE), ("one", ["a", None, *MORE]), ("plain", MORE)):
        found = lib.read(symbol).data["s"]
        assert [type(item) for item in found] == [type(item) for item in expected]
        assert lib.sql(f"SELECT count(s) FROM {symbol}").fetchall() == [(sum(isinstance(x, str) for x in expected),)]
    assert lib.verify().ok


def test_the_release_before_refuses_it(release_before):
    """It would show the codes as a column, and give one marker for all."""
    code = "import duckvstore as vs; print(vs.open(sys.argv[1])['markers'].read('mixed').data)"
    said = release_before(code, GOLDEN)
    assert said.startswith("Unsupported")
    assert "missing_markers" in said
    code = "import duckvstore as vs; print(vs.open(sys.argv[1])['markers'].read('plain').data['s'].tolist())"
    assert release_before(code, GOLDEN).strip() == "['b', nan]"
