"""The golden store of altered columns: read by ``json`` and ``pyarrow`` alone, and by no release before this one."""

from __future__ import annotations

from pathlib import Path

import duckvstore as vs
from tests.format.make_golden_altered import ROWS
from tests.format.test_golden_edits import read
from tests.format.test_independent_reader import newest_document

GOLDEN = Path(__file__).parent / "golden_altered"


def test_columns_are_found_by_field_id_alone(folder):
    """The dropped column's id is not given again, whatever the new one is called."""
    body = newest_document(folder / "altered", "t")
    assert body["requires"] == ["mixed_schema", "altered_schema"]
    assert [(column["name"], column["id"]) for column in body["schema"]["columns"]] == [("a", 1), ("name", 2), ("c", 4)]
    assert body["schema"]["next_id"] == 5
    assert read(folder / "altered", body).to_pydict() == ROWS


def test_a_renamed_symbol_names_the_segments_of_the_old_one(folder):
    """No row is stored for it."""
    body = newest_document(folder / "altered", "v")
    assert (body["operation"], body["new_bytes"], body["requires"]) == ("rename", 0, [])
    assert all(key.startswith("segments/u/") for key in body["segments"]["key"])


def test_this_release_reads_it():
    """At every version."""
    lib = vs.open(str(GOLDEN)).get_library("altered")
    assert lib.read("t", output_format="pyarrow").data.to_pydict() == ROWS
    assert lib.sql("SELECT a, name, c FROM t ORDER BY a").fetchall() == list(zip(*ROWS.values(), strict=True))
    assert lib.sql("SELECT a, b, c FROM t AT VERSION 0").fetchall() == [(0, "x0", 0), (1, "x1", 10), (2, "x2", 20)]
    assert lib.sql("FROM v").fetchall() == [(1,)]
    assert lib.verify().ok


def test_the_release_before_refuses_it(release_before):
    """It would give a field id a second time."""
    code = "import duckvstore as vs; print(vs.open(sys.argv[1])['altered'].read('t').data)"
    assert "Unsupported" in (said := release_before(code, GOLDEN))
    assert "altered_schema" in said


def test_the_release_before_reads_a_renamed_symbol(release_before):
    """Segments under another symbol's name are nothing new to it."""
    code = "import duckvstore as vs; print(vs.open(sys.argv[1])['altered'].read('v').data['n'].to_pylist())"
    assert release_before(code, GOLDEN).strip() == "[1]"
