"""What queries over a distant store fetch: their columns, once, and without httpfs."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest

import duckvstore as vs
from tests.distant import DistantObjects, cached_in


@pytest.mark.parametrize("is_cached", [False, True])
def test_a_narrow_query_fetches_its_columns_and_no_more(tmp_path, is_cached):
    """Two columns of many take a share of the bytes, the count of all rows the footers, and a second look nothing."""
    objects = DistantObjects()
    library = vs.Store(objects).create_library("eod")
    dice = np.random.default_rng(0)
    whole = library.write("wide", pd.DataFrame({f"c{at}": dice.normal(size=300_000) for at in range(20)})).stored_bytes

    def looked(sql):
        with vs.trace() as trace:
            rows = library.sql(sql).fetchall()
        return rows, trace.requests["read"].bytes_in if "read" in trace.requests else 0

    with cached_in(tmp_path) if is_cached else nullcontext():
        (((count,),), counted_bytes) = looked("SELECT count(*) FROM wide")
        assert (count, counted_bytes < whole / 50) == (300_000, True)
        _, summed_bytes = looked("SELECT sum(c3) FROM wide WHERE c17 > 0")
        assert whole / 20 < summed_bytes < 0.15 * whole
        _, again_bytes = looked("SELECT sum(c17), min(c3) FROM wide")
        assert again_bytes == 0
        figures = library.sql("SELECT sum(c9) FROM wide").figures
        assert f"{figures.fetched_bytes / 1e6:.3g} MB fetched" in figures.footer()
        assert figures.fetched_bytes > whole / 25
        explained = "\n".join(row[1] for row in library.sql("EXPLAIN SELECT sum(c9) FROM wide").fetchall())
        assert " fetched" in explained or "copies on this machine" in explained
    library.session.close()


@pytest.mark.parametrize("is_sandbox", [False, True])
def test_sql_on_s3_does_without_httpfs(s3_bucket, tmp_path, is_sandbox):
    """Through a cache, narrow and whole queries and joins of what is cached answer; DuckDB asks S3 for nothing."""
    store = vs.open(s3_bucket.url, storage_options=s3_bucket.storage_options)
    library = store.create_library("eod")
    dice = np.random.default_rng(0)
    frame = pd.DataFrame({f"c{at}": dice.normal(size=100_000) for at in range(8)})
    library.write("wide", frame)
    with cached_in(tmp_path):
        session = library.connect(sandbox=is_sandbox)
        for sql, expected in {
            "SELECT count(*) FROM wide": len(frame),
            "SELECT count(*) FROM wide WHERE c3 > 1": int((frame["c3"] > 1).sum()),
            "SELECT count(DISTINCT hash(w)) FROM wide w": len(frame),
            "SELECT count(*) FROM wide a JOIN wide b USING (c0)": len(frame),
        }.items():
            assert session.execute(sql).fetchall() == [(expected,)]
        if not is_sandbox:
            loaded = session.execute(
                "SELECT loaded FROM duckdb_extensions() WHERE extension_name = 'httpfs'"
            ).fetchall()
            assert loaded in ([], [(False,)])
        session.close()
    library.session.close()
