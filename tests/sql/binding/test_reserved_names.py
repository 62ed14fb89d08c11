"""Names that SQL has for something else: no new library or snapshot gets one, and those of before are not mistaken."""

from __future__ import annotations

import pandas as pd
import pytest

import duckvstore as vs
from duckvstore.errors import DuckVStoreError, InvalidInput, NotFound, SqlError
from duckvstore.objects.memory import MemoryObjects

NAMES = ["main", "temp", "memory", "system", "information_schema", "pg_catalog", "vstore", "MAIN", "Vstore"]
MADE_BEFORE = """
import pandas as pd
import duckvstore as vs
store = vs.open(sys.argv[1])
for name in sys.argv[2:]:
    library = store.create_library(name)
    library.write("s", pd.DataFrame({"v": [1]}))
    library.snapshot(name)
    library.write("s", pd.DataFrame({"v": [2]}))
"""


@pytest.mark.parametrize("name", NAMES)
def test_no_library_or_snapshot_gets_a_name_that_sql_has_already(name):
    """Through every way that makes one; what is not called exactly so is free."""
    store = vs.Store(MemoryObjects("reserved"))
    for create in (store.create_library, lambda name: store.get_library(name, create_if_missing=True)):
        with pytest.raises(InvalidInput, match=f"library cannot be called '{name}'.*choose another"):
            create(name)
    library = store.create_library(f"{name}2")
    library.write("s", pd.DataFrame({"v": [1]}))
    for snapshot in (library.snapshot, lambda name: library.sql(f'CREATE SNAPSHOT "{name}"')):
        with pytest.raises(InvalidInput, match=f"snapshot cannot be called '{name}'.*choose another"):
            snapshot(name)
    library.snapshot(f"{name}2")
    assert (store.list_libraries(), [*library.list_snapshots()]) == ([f"{name}2"], [f"{name}2"])
    assert library.sql(f'FROM "{name}2".s').fetchall() == store.sql(f'FROM "{name}2".s').fetchall() == [(1,)]


def test_those_that_an_earlier_release_made_are_never_taken_for_something_else(tmp_path, release_before):
    """Python and AT reach them; SQL that cannot says how to, and never gives the rows of another version."""
    url = str(tmp_path)
    assert release_before(MADE_BEFORE, url, *NAMES) == ""
    store = vs.open(url)
    for name in NAMES:
        library = store[name]
        assert library.read("s").data["v"].tolist() == [2]
        assert library.read("s", as_of=name).data["v"].tolist() == [1]
        assert library.sql(f"FROM s AT SNAPSHOT '{name}'").fetchall() == [(1,)]
        assert library.sql("FROM s").fetchall() == [(2,)]
        for text in (f'FROM "{name}".s', f'UPDATE "{name}".s SET v = 3'):
            with pytest.raises((SqlError, NotFound)) as caught:
                library.sql(text).fetchall()
            assert f"AT SNAPSHOT '{name}'" in str(caught.value) or text.startswith("UPDATE")
        with pytest.raises(DuckVStoreError) as caught:
            store.sql(f'FROM "{name}".s').fetchall()
        assert f"store['{name}'].sql" in str(caught.value)
        assert library.sql("FROM s").fetchall() == [(2,)]
    library.delete_snapshot(NAMES[-1])
    store.delete_library(NAMES[0])
