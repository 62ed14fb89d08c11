"""Records: the small documents beside versions and snapshots."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from duckvstore.errors import Integrity
from duckvstore.format.stored.records import Garbage, Intent, Owner

TIME = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
RECORDS = [
    Intent("0" * 32, "a/b", TIME),
    Garbage("1" * 32, "2" * 32, "s~", TIME, "prune", (3, 1), ("segments/s/a-b.parquet",)),
    Owner("1" * 32, "eod", "s3://bucket/prefix"),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.noun)
def test_a_record_comes_back_equal(record):
    """What is dumped loads as the same record."""
    assert type(record).load(record.dump(), where="key") == record


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.noun)
def test_a_damaged_record_names_its_key(record):
    """Half a document, and one without its fields, are Integrity with the key."""
    data = record.dump()
    for broken in (data[: len(data) // 2], data.replace(b"library_id", b"x").replace(b"write_id", b"x")):
        with pytest.raises(Integrity, match="the/key"):
            type(record).load(broken, where="the/key")
