"""Footers of files with many columns are kept by DuckDB between queries; of other files it asks as its setting says."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import duckvstore as vs

SETTING = "SELECT current_setting('parquet_metadata_cache')"


@pytest.fixture
def lib(tmp_path):
    lib = vs.open(tmp_path).create_library("lib")
    lib.write("wide", pd.DataFrame(np.ones((3, 120))).add_prefix("c"))
    lib.write("narrow", pd.DataFrame({"x": [1, 2]}))
    return lib


@pytest.mark.parametrize("own", ["false", "true"])
def test_the_setting_is_that_of_the_user_but_for_queries_of_many_columns(lib, own, monkeypatch):
    """It is back for the next statement, also after one that failed; a version of now is never taken for an old one."""
    from duckvstore.sql.execution.thread_cursor import ThreadCursor

    set_to = []
    set_footers = ThreadCursor.set_footers

    def watched(self, *, kept):
        set_footers(self, kept=kept)
        set_to.append(self.cursor.execute(SETTING).fetchall()[0][0])

    monkeypatch.setattr(ThreadCursor, "set_footers", watched)
    lib.sql(f"SET parquet_metadata_cache = {own}")
    for value in (1, 2, 3):
        lib.write("wide", pd.DataFrame(np.full((3, 120), value)).add_prefix("c"))
        set_to.clear()
        assert lib.sql("SELECT sum(c5) FROM wide").fetchall() == [(3 * value,)]
        assert set_to[-1] is True
        with pytest.raises(vs.SqlError):
            lib.sql("SELECT nowhere FROM wide")
        assert lib.sql("SELECT sum(x) FROM narrow").fetchall() == [(3,)]
        assert set_to[-1] is (own == "true")
        assert lib.sql(SETTING).fetchall() == [(own == "true",)]
