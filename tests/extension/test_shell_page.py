"""The page on DuckDB's shell: what it says of the extension runs, line by line."""

import re

import duckdb
import pandas as pd
import pytest

import duckvstore as vs
from tests import ROOT

pytestmark = pytest.mark.duckdb1


def test_the_lines_of_the_page_run(connection, tmp_path):
    """Each statement answers, on a folder in place of the bucket."""
    page = (ROOT / "docs/duckdb-shell.md").read_text(encoding="utf-8")
    (block,) = (
        found for found in re.findall(r"^```sql\n(.*?)^```$", page, re.DOTALL | re.MULTILINE) if "TYPE vstore" in found
    )
    lib = vs.open(tmp_path).create_library("eod")
    lib.write("trades", pd.DataFrame({"id": [1, 2], "price": [1.0, 2.0]}))
    lib.snapshot("eod-2026-11-20")
    lib.write("trades", pd.DataFrame({"id": [1, 2, 3], "price": [1.0, 2.5, 3.0]}))
    rows = []
    for line in block.replace("s3://bucket/prefix", str(tmp_path)).splitlines():
        found = connection.execute(line.partition("--")[0])
        rows.append(len(found.fetchall()))
    assert rows[1:] == [3, 2, 3, 2, 2, 1, 2, 2, 0, 1, 3]


def test_a_build_is_not_repeated(extension):
    """What was built is found again, with the footer of the release that runs here."""
    footer = extension.read_bytes()[-512:]
    assert f"v{duckdb.__version__}".encode() in footer
    assert footer.endswith(bytes(256))
