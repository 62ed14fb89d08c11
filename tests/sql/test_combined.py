"""One query over several stores."""

from __future__ import annotations

import shutil

import pandas as pd
import pytest

import duckvstore as vs


def test_one_query_reads_two_endpoints_and_a_folder(s3_bucket, moto_bucket, tmp_path):
    """Each library is scanned with its own endpoint and credentials."""
    stores = [vs.open(made.url, made.storage_options) for made in (s3_bucket, moto_bucket)] + [vs.open(tmp_path)]
    for number, store in enumerate(stores):
        store.create_library("eod").write("trades", pd.DataFrame({"id": [1, 2], "price": [number, number + 0.5]}))
    both = vs.combine({"live": stores[0]["eod"], "lab": stores[1]["eod"], "local copy": stores[2]["eod"]})
    rows = both.sql(
        """
        SELECT id, live.price, lab.price, mine.price
        FROM live.trades AS live JOIN lab.trades AS lab USING (id)
        JOIN "local copy".trades AT VERSION 0 AS mine USING (id)
        ORDER BY id
        """
    ).fetchall()
    assert rows == [(1, 0.0, 1.0, 2.0), (2, 0.5, 1.5, 2.5)]


def test_a_copy_of_a_library_is_read_from_its_own_place(tmp_path):
    """Both have the same versions, so what is remembered of one must not be used for the other."""
    vs.open(tmp_path / "first").create_library("eod").write("trades", pd.DataFrame({"id": [1, 2]}))
    shutil.copytree(tmp_path / "first", tmp_path / "copy")
    both = vs.combine({name: vs.open(tmp_path / name)["eod"] for name in ("first", "copy")})
    assert both.sql("SELECT id FROM first.trades ORDER BY id").fetchall() == [(1,), (2,)]
    shutil.rmtree(tmp_path / "first")
    assert both.sql("SELECT id FROM copy.trades ORDER BY id").fetchall() == [(1,), (2,)]


def test_what_is_no_library_is_refused():
    """The name is in the message."""
    with pytest.raises(vs.InvalidInput, match="'live'"):
        vs.combine({"live": "s3://bucket"})
