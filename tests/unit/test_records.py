"""Records: the small documents beside versions and snapshots."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from duckvstore.errors import Integrity
from duckvstore.format.stored import records
from duckvstore.format.stored.records import Garbage, Intent, Owner

TIME = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
RECORDS = [
    (records.dump_intent, records.load_intent, Intent("0" * 32, "a/b", TIME)),
    (
        records.dump_garbage,
        records.load_garbage,
        Garbage("1" * 32, "2" * 32, "s~", TIME, "prune", (3, 1), ("segments/s/a-b.parquet",)),
    ),
    (records.dump_owner, records.load_owner, Owner("1" * 32, "eod", "s3://bucket/prefix")),
]


@pytest.mark.parametrize(("dump", "load", "record"), RECORDS)
def test_a_record_comes_back_equal(dump, load, record):
    """What is dumped loads as the same record."""
    assert load(dump(record), where="key") == record


@pytest.mark.parametrize(("dump", "load", "record"), RECORDS)
def test_a_damaged_record_names_its_key(dump, load, record):
    """Half a document, and one without its fields, are Integrity with the key."""
    data = dump(record)
    for broken in (data[: len(data) // 2], data.replace(b"library_id", b"x").replace(b"write_id", b"x")):
        with pytest.raises(Integrity, match="the/key"):
            load(broken, where="the/key")
