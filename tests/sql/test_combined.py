"""One query over several stores."""

from __future__ import annotations

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


def test_what_is_no_library_is_refused():
    """The name is in the message."""
    with pytest.raises(vs.InvalidInput, match="'live'"):
        vs.combine({"live": "s3://bucket"})
