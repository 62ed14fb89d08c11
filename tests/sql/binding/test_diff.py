"""vstore.diff and Library.diff: what changed between two versions, against a diff made row by row in Python."""

from __future__ import annotations

import math
from collections import Counter
from datetime import date, datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import duckvstore as vs
from duckvstore.engine.reading import segments
from duckvstore.errors import (
    InvalidInput,
    NoSuchColumn,
    NoSuchLibrary,
    NoSuchSnapshot,
    NoSuchSymbol,
    NoSuchVersion,
    SqlError,
)
from duckvstore.objects.local import LocalObjects
from duckvstore.objects.memory import MemoryObjects
from tests.cuts import cut_every
from tests.sizes import sized
from tests.sql.planning.test_column_types import FIRST as EVOLVING
from tests.sql.planning.test_column_types import SECOND as EVOLVED

FIRST = pd.DataFrame({"id": [1, 2, 5], "price": [1.0, 2.0, 3.0], "sym": ["a", "b", "c"]}).set_index("id")
SECOND = pd.DataFrame({"id": [2, 5, 9], "price": [2.5, 3.0, 4.0], "sym": ["b", "c", "d"]}).set_index("id")
BETWEEN = [  # from FIRST to SECOND
    ("delete", 1, 1.0, "a"),
    ("insert", 9, 4.0, "d"),
    ("update_postimage", 2, 2.5, "b"),
    ("update_preimage", 2, 2.0, "b"),
]


def filled(store):
    """Make a library where trades has versions 0 and 1; snapshot ``eod`` holds version 0."""
    library = store.create_library("lib")
    library.write("trades", FIRST)
    library.snapshot("eod")
    library.write("trades", SECOND)
    library.write("frames", {"a": FIRST, "b": SECOND})
    return library


@pytest.fixture(scope="module")
def kept():
    """A store with a library that no test changes."""
    opened = vs.Store(MemoryObjects("kept"))
    filled(opened)
    yield opened
    opened.session.close()


@pytest.fixture(scope="module")
def fixed(kept):
    library = kept["lib"]
    yield library
    library.session.close()


@pytest.fixture
def store():
    opened = vs.Store(MemoryObjects("diff"))
    yield opened
    opened.session.close()


@pytest.fixture
def lib(store):
    library = filled(store)
    yield library
    library.session.close()


def rows(result):
    return sorted(result.fetchall(), key=repr)


def plain(row):
    """Return a row in which NaN equals NaN."""
    return tuple("NaN" if isinstance(value, float) and math.isnan(value) else value for value in row)


def unshared(library, symbol, before, after):
    """Return the tables of the segments that only one of two versions has."""
    versions = [library._resolve(symbol, number) for number in (before, after)]
    keys = [[segment.key for segment in version.segments] for version in versions]
    tables = []
    for version, own, others in zip(versions, keys, reversed(keys), strict=True):
        left, kept = Counter(others), []
        for position, key in enumerate(own):
            if left[key]:
                left[key] -= 1
            else:
                kept.append(position)
        tables.append(segments.read_table(library.open_library, version, segments=kept))
    return tables


def by_hand(old, new, columns, key):
    """Return the rows of the diff of two Arrow tables: dicts of rows, matched by ``key`` in order of occurrence."""

    def grouped(table):
        groups = {}
        for row in table.to_pylist():
            found = plain(row.get(column) for column in columns)
            groups.setdefault(plain(row.get(column) for column in key or columns), []).append(found)
        return groups

    olds, news = grouped(old), grouped(new)
    expected = Counter()
    for group in {**olds, **news}:
        left, right = olds.get(group, []), news.get(group, [])
        for before, after in zip(left, right, strict=False):
            if before != after:
                expected.update([("update_preimage", *before), ("update_postimage", *after)])
        expected.update(("delete", *row) for row in left[len(right) :])
        expected.update(("insert", *row) for row in right[len(left) :])
    return expected


def changes(library, symbol, before, after, key=None):
    given = {"s": symbol, "a": before, "b": after} | ({} if key is None else {"k": list(key)})
    result = library.sql(f"FROM vstore.diff($s, $a, $b{'' if key is None else ', key := $k'})", given)
    return result, Counter(plain(row) for row in result.fetchall())


# ------------------------------------------------------------------------------------------------- random histories


def random_frame(random, count, *, id_max):
    ids = random.integers(0, id_max, count)
    texts = np.array(["x", "y", "'", '"z"', "", pd.NA], dtype=object)
    return pd.DataFrame(
        {
            "value": random.choice([0.5, 1.5, math.nan, math.inf], count),
            "text": pd.array(random.choice(texts, count), dtype="string"),
            "count": pd.array(random.choice([1, 2, pd.NA], count), dtype="Int32"),
            "id": ids,
        }
    )


def next_version(random, library, frame, id_max, indexed):
    """Change the symbol in one of the ways there are."""
    some = random_frame(random, int(random.integers(1, 6)), id_max=id_max)
    whole = library.read("t").data
    kind = random.choice(["append", "delete", "write", "middle", "evolve", "cell"])
    if kind == "append":
        library.append("t", frame(some))
    elif kind == "delete":
        library.delete_rows("t", f"id % {random.integers(2, 5)} = 1")
    elif kind == "write":
        library.write("t", frame(random_frame(random, 20, id_max=id_max)))
    elif kind == "middle":
        at = int(random.integers(0, len(whole) + 1))
        library.write("t", pd.concat([whole.iloc[:at], frame(some), whole.iloc[at:]], ignore_index=not indexed))
    elif kind == "evolve":
        library.append("t", frame(some.assign(count=some["count"].astype("Int64"), extra=7)))
    elif len(whole):
        changed = whole.copy()
        changed.iloc[int(random.integers(len(whole))), 0] = 99.0
        library.write("t", changed)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("indexed", [True, False])
def test_every_pair_of_versions_differs_as_a_diff_by_hand_says(seed, indexed, monkeypatch):
    """Random edits with duplicate keys, NaN, NULL, new and wider columns; only unshared segments are compared."""
    random = np.random.default_rng(seed)
    library = vs.Store(MemoryObjects("random")).create_library("lib")
    id_max = 4 if seed % 2 else 200

    def frame(rows):
        # Of two rows set_index would make a range, which is not stored.
        labels = pd.Index(rows["id"].to_numpy(), name="id")
        return rows.drop(columns="id").set_axis(labels) if indexed else rows

    cut_every(monkeypatch, 4)
    library.write("t", frame(random_frame(random, 24, id_max=id_max)))
    for _ in range(3):
        next_version(random, library, frame, id_max, indexed)
    numbers = sorted(found.version for found in library.list_versions("t"))
    for before in numbers:
        for after in numbers:
            new, old = library._resolve("t", after), library._resolve("t", before)
            columns = list(dict.fromkeys([*new.schema.names, *old.schema.names]))
            has_index = indexed and "id" in new.schema.index and "id" in old.schema.index
            result, found = changes(library, "t", before, after)
            tables = unshared(library, "t", before, after)
            assert found == by_hand(*tables, columns, ["id"] if has_index else []), (before, after)
            assert result.columns == ["change", *columns]
            read = sum(len(version.segments) for version in (old, new)) - 2 * shared(old, new)
            assert (result.figures.segments_read, before == after and read) == (read, 0)
            if before < after:
                keyed = changes(library, "t", before, after, ["ID", "text"])[1]
                assert keyed == by_hand(*tables, columns, ["id", "text"])
    library.session.close()


def shared(old, new):
    keys = [Counter(segment.key for segment in version.segments) for version in (old, new)]
    return (keys[0] & keys[1]).total()


def test_unique_keys_give_the_difference_of_the_whole_versions(monkeypatch):
    """With unique keys it does not matter which segments are read: the diff is that of all rows."""
    cut_every(monkeypatch, 5)
    library = vs.Store(MemoryObjects("unique")).create_library("lib")
    random = np.random.default_rng(7)
    frame = random_frame(random, 60, id_max=9).assign(id=random.permutation(200)[:60]).set_index("id")
    library.write("t", frame)
    inserted = frame.iloc[[0, 3]].set_axis([500, 501]).rename_axis("id")
    library.write("t", pd.concat([frame.iloc[:45], inserted, frame.iloc[45:]]))
    library.delete_rows("t", "id % 7 = 2")
    changed = library.read("t").data
    changed.iloc[11, 0] = -1.0
    library.write("t", changed)
    whole = [library.read("t", as_of=number, output_format="pyarrow").data for number in range(4)]
    for before in range(4):
        for after in range(4):
            result, found = changes(library, "t", before, after)
            assert found == by_hand(whole[before], whole[after], whole[after].column_names, ["id"])
            if (before, after) == (0, 1):
                assert 0 < result.figures.segments_read < result.figures.segments_total / 2
                assert 0 < result.figures.bytes_read < result.figures.bytes_total
    library.session.close()


# ------------------------------------------------------------------------------------------------- where it may stand


@pytest.mark.parametrize("kind", ["memory", "folder"])
def test_rows_come_in_order_with_the_columns_of_the_newer_version_first(kind, tmp_path):
    library = filled(vs.Store(MemoryObjects("order") if kind == "memory" else LocalObjects(str(tmp_path))))
    result = library.sql("FROM vstore.diff('trades', 0, 1)")
    assert result.columns == ["change", "id", "price", "sym"]
    assert result.types == ["VARCHAR", "BIGINT", "DOUBLE", "VARCHAR"]
    assert [(row[0], row[1]) for row in result.fetchall()] == [
        *(("delete", 1), ("update_preimage", 2), ("update_postimage", 2), ("insert", 9)),
    ]
    library.session.close()


@pytest.mark.parametrize(
    ("query", "parameters"),
    [
        ("FROM vstore.diff('trades', 0, 1)", None),
        ("FROM vstore.diff('trades', -2, -1) AS d", None),
        ('SELECT d.* FROM "VSTORE"."Diff"(\'trades\', 0, 1) d', None),
        ("SELECT vstore.diff.* FROM vstore.diff('trades', 'eod', 1)", None),
        ("SELECT diff.* FROM lib.vstore.diff('trades', 'eod', 1)", None),
        ("FROM d: vstore.diff('trades', 0, 1)", None),
        ("FROM vstore.diff($s, $a, $b)", {"s": "trades", "a": "eod", "b": np.int64(1)}),
        ("FROM vstore.diff(?, ?, 1, key := ?)", ["trades", 0, "id"]),
        ("FROM vstore.diff('trades', 0, $t, key => $k)", {"t": datetime(2999, 1, 1), "k": ["id"]}),
        ("FROM vstore.diff('trades', 0, DATE '2999-01-01', key := ['ID'])", None),
        ("FROM vstore.diff('trades', 0, TIMESTAMP '2999-01-01 10:00' + INTERVAL 1 DAY)", None),
        ("FROM vstore.diff('trades', 0, now() + INTERVAL 1 DAY) -- an end", None),
        ("WITH d AS (FROM vstore.diff('trades', 0, 1)) FROM d", None),
        ("SELECT * FROM (SELECT * FROM vstore.diff('trades' /* , */, 0, 1))", None),
        ("SELECT a.* FROM trades t RIGHT JOIN vstore.diff('trades', 0, 1) a USING (id)", None),
        ("SELECT a.* FROM vstore.diff('trades', 0, 1) a SEMI JOIN vstore.diff('trades', 0, 1) b USING (change)", None),
        ("FROM vstore.diff('trades', 0, 1) UNION ALL FROM vstore.diff('trades', 1, 1)", None),
        ("FROM vstore.diff('trades', 0, 1) WHERE change IN (SELECT change FROM vstore.diff('trades', 0, 1))", None),
    ],
)
def test_a_diff_stands_wherever_a_table_may(fixed, query, parameters):
    assert rows(fixed.sql(query, parameters)) == sorted(BETWEEN, key=repr)


def test_column_aliases_and_a_pivot_and_a_summary(fixed):
    assert fixed.sql("SELECT b, x FROM vstore.diff('trades', 0, 1) d(b, x)").columns == ["b", "x"]
    counted = fixed.sql("PIVOT vstore.diff('trades', 0, 1) ON change USING count(*) GROUP BY sym ORDER BY sym")
    assert counted.fetchall() == [("a", 1, 0, 0, 0), ("b", 0, 0, 1, 1), ("d", 0, 1, 0, 0)]
    assert fixed.sql("SUMMARIZE FROM vstore.diff('trades', 0, 1)").fetchall()[0][0] == "change"
    described = fixed.sql("DESCRIBE FROM vstore.diff('trades', 0, 1)").fetchall()
    assert [row[:2] for row in described] == [
        *(("change", "VARCHAR"), ("id", "BIGINT"), ("price", "DOUBLE"), ("sym", "VARCHAR")),
    ]
    assert "JOIN" in repr(fixed.sql("EXPLAIN FROM vstore.diff('trades', 0, 1)")).upper()
    assert "JOIN" in repr(fixed.sql("EXPLAIN ANALYZE FROM vstore.diff('trades', 0, 1)")).upper()


def test_a_store_session_names_the_library(kept):
    assert rows(kept.sql("FROM lib.vstore.diff('trades', 0, 1)")) == sorted(BETWEEN, key=repr)
    assert rows(kept.sql("SELECT d.* FROM lib.trades JOIN lib.vstore.diff('trades', 'eod', 1) d USING (id)")) == [
        *(("insert", 9, 4.0, "d"), ("update_postimage", 2, 2.5, "b"), ("update_preimage", 2, 2.0, "b")),
    ]
    with pytest.raises(SqlError, match=r"Write library\.vstore\.diff\(…\)"):
        kept.sql("FROM vstore.diff('trades', 0, 1)")
    with pytest.raises(NoSuchLibrary, match="column 6"):
        kept.sql("FROM nope.vstore.diff('trades', 0, 1)")


def test_a_table_can_be_made_of_a_diff_and_a_diff_is_a_dataframe(lib):
    lib.sql("CREATE TEMP TABLE kept AS FROM vstore.diff('trades', 0, 1)")
    assert rows(lib.sql("FROM kept")) == sorted(BETWEEN, key=repr)
    changed = lib.diff("trades", 0)  # noqa: F841
    assert rows(lib.sql("FROM changed")) == sorted(BETWEEN, key=repr)


WRONG = [
    ("FROM vstore.diff('trade', 0, 1)", NoSuchSymbol, "'trade'. Did you mean 'trades'", 18),
    ("FROM vstore.diff('trades', 0, 7)", NoSuchVersion, "no version 7", 31),
    ("FROM vstore.diff('trades', -9, 1)", NoSuchVersion, "as_of=-9", 28),
    ("FROM vstore.diff('trades', 'oed', 1)", NoSuchSnapshot, "Did you mean 'eod'", 28),
    ("FROM vstore.diff('trades', DATE '1999-01-01', 1)", NoSuchVersion, "had no version at 1999", 28),
    ("FROM vstore.diff('trades', 0, 1, key := 'pric')", SqlError, "Did you mean 'price'", 34),
    ("FROM vstore.diff('trades', 0, 1, keys := 'id')", SqlError, "one named argument, key", 34),
    ("FROM vstore.diff('trades', 0, key := 'id', 1)", SqlError, "as its last argument", 44),
    ("FROM vstore.diff('trades', 0, 1, key := 3)", SqlError, "names of columns as its key", 34),
    ("FROM vstore.diff('trades', 0, 1, key := ['id' 'sym'])", SqlError, "names of columns as its key", 34),
    ("FROM vstore.diff('trades', 0)", SqlError, "2 found", 17),
    ("FROM vstore.diff('trades', 0, 1, 2)", SqlError, "4 found", 17),
    ("FROM vstore.diff()", SqlError, "0 found", 17),
    ("FROM vstore.diff('trades', 0,, 1)", SqlError, "missing", 30),
    ("FROM vstore.diff(trades, 0, 1)", SqlError, "in single quotes", 18),
    ("FROM vstore.diff('trades', 0, sym)", SqlError, "as a version", 31),
    ("FROM vstore.diff('trades', 0, 1.5)", SqlError, "as a version", 31),
    ("FROM vstore.diff('trades', 0, (SELECT DATE '2026-01-01'))", SqlError, "as a version", 31),
    ("FROM vstore.diff('trades', 0, $v)", SqlError, "as a version, not 0.5", 31),
    ("FROM vstore.diff('trades', 0, 1) AT VERSION 1", SqlError, "AT VERSION belongs", 34),
    ("FROM vstore.diff('frames', 0, 0)", SqlError, "no columns to compare", 18),
    ("FROM vstore.diff", SqlError, "vstore.diff(…)", 6),
]


@pytest.mark.parametrize(("query", "kind", "message", "column"), WRONG)
def test_an_error_points_to_the_argument(fixed, query, kind, message, column):
    with pytest.raises(kind) as caught:
        fixed.sql(query, {"v": 0.5} if "$v" in query else None)
    text = str(caught.value)
    assert message in text
    assert f"column {column}: " in text
    assert len(text.splitlines()[-1]) == len(f"line 1, column {column}: ") + column


def test_other_things_called_diff_stay_what_they_are(fixed):
    with pytest.raises(SqlError, match="diff"):
        fixed.sql("FROM diff('trades', 0, 1)")
    assert rows(fixed.sql("WITH diff AS (SELECT 1 AS x) FROM diff")) == [(1,)]
    assert rows(fixed.sql("SELECT count(*) FROM range(3) AS diff")) == [(3,)]


# ------------------------------------------------------------------------------------------------- what is compared


def both(library, before, after, **options):
    """Write two versions and return what changed from one to the other."""
    library.write("s", before)
    library.write("s", after)
    return library.diff("s", -2, **options)


def test_identical_versions_read_nothing(lib):
    lib.write("trades", SECOND)
    for query in ("FROM vstore.diff('trades', 1, 2)", "FROM vstore.diff('trades', 1, 1)"):
        result = lib.sql(query)
        assert result.fetchall() == []
        assert result.columns == ["change", "id", "price", "sym"]
        assert (result.figures.segments_read, result.figures.bytes_read, result.figures.segments_total) == (0, 0, 2)
    diff = lib.diff("trades", 1)
    assert (diff.has_changes, diff.segments_shared, diff.segments_before, diff.segments_after) == (False, 1, 0, 0)


def test_every_type_is_compared_and_shown_as_a_query_shows_it(lib):
    for table in (EVOLVING, EVOLVED):
        again = both(lib, table, table.slice(1), key=[])
        assert (again.inserted, again.deleted, again.updated) == (0, 1, 0), "every value equals itself"
        assert again.rows.types[1:] == lib.sql("FROM s").types
        first = lib.sql("FROM s AT VERSION -2 LIMIT 1").fetchall()
        assert [row[1:] for row in again.rows.fetchall()] == first
    lib.write("e", EVOLVING)
    lib.append("e", EVOLVED)
    diff = lib.diff("e", 0)
    assert (diff.inserted, diff.deleted, diff.updated) == (len(EVOLVED), 0, 0)
    shown = dict(zip(diff.rows.columns[1:], diff.rows.types[1:], strict=True))
    now = lib.sql("FROM e")
    # What had no value has the type of what joined it from then on; a diff shows both versions, and so both types.
    assert shown.pop("void") == "VARCHAR"
    assert shown == {name: kind for name, kind in zip(now.columns, now.types, strict=True) if name != "void"}
    assert both(lib, EVOLVING, EVOLVED).inserted == len(EVOLVED)


@pytest.mark.parametrize(
    ("old", "new", "kind", "updated"),
    [
        (pa.array([1, 2], pa.int32()), pa.array([1, 3], pa.int64()), "BIGINT", 1),
        (pa.array([1, 2**40], pa.int64()), pa.array([1, 3], pa.int32()), "BIGINT", 1),
        (pa.array([1, 2]), pa.array([1.0, 2.5]), "DOUBLE", 1),
        (pa.array([1, 2]), pa.array(["1", "two"]), "VARCHAR", 1),
        (pa.nulls(2), pa.array(["x", None]), "VARCHAR", 1),
        (pa.array([1000, 1001], pa.timestamp("ns")), pa.array([1, 1], pa.timestamp("us")), "TIMESTAMP_NS", 1),
        (pa.array([[1], None]), pa.array([1, None]), "VARCHAR", 1),
        (pa.array(["a", "b"]).dictionary_encode(), pa.array(["a", "c"]), "VARCHAR", 1),
        (pa.array([True, None]), pa.array([datetime(2026, 1, 1), None]), "VARCHAR", 1),
        (pa.array([1, None]), pa.array([Decimal("1.00"), Decimal("0.01")]), "DECIMAL(21,2)", 1),
        (pa.array([date(2026, 1, 1), None]), pa.array([datetime(2026, 1, 1), None]), "TIMESTAMP", 0),
        (pa.array([{"a": 1}, None]), pa.array([{"a": 1.0, "b": 2}, None]), "STRUCT(a DOUBLE, b BIGINT)", 1),
        (pa.array([[1], [2]]), pa.array([[1.0], [2.5]]), "DOUBLE[]", 1),
    ],
)
def test_retyped_columns_are_compared_in_a_type_that_holds_both(lib, old, new, kind, updated):
    diff = both(lib, pa.table({"k": [1, 2], "v": old}), pa.table({"k": [1, 2], "v": new}), key="k")
    assert (diff.rows.types[2], diff.updated, diff.inserted) == (kind, updated, 0)
    assert [(c.name, c.before, c.after) for c in diff.columns_retyped] == [("v", str(old.type), str(new.type))]


def test_columns_that_come_and_go(lib):
    """A column that a version lacks is NULL there; those of the newer version stand first."""
    old = pa.table({"k": [1, 2], "gone": [None, "x"], "kept": [1, 1]})
    diff = both(lib, old, pa.table({"new": pa.nulls(2), "KEPT": [1, 1], "k": [1, 2]}), key=["K"])
    assert diff.rows.columns == ["change", "new", "KEPT", "k", "gone"]
    assert diff.rows.fetchall() == [
        *(("update_preimage", None, 1, 2, "x"), ("update_postimage", None, 1, 2, None)),
    ]
    assert [column.name for column in diff.columns_added] == ["new"]
    assert [(column.name, column.dtype) for column in diff.columns_removed] == [("gone", "string")]
    assert diff.key == ("k",)


def test_nan_and_null_equal_themselves_and_not_each_other(lib):
    old = pa.table({"k": [math.nan, None, 1.0, 2.0], "v": [math.nan, None, math.nan, None]})
    new = pa.table({"k": [math.nan, None, 1.0, 2.0], "v": [math.nan, None, None, math.nan]})
    diff = both(lib, old, new, key="k")
    assert (diff.inserted, diff.deleted, diff.updated) == (0, 0, 2)
    whole = lib.diff("s", -2, key=[])
    assert (whole.inserted, whole.deleted, whole.updated) == (2, 2, 0)


def test_a_collation_of_the_session_hides_no_difference(lib):
    lib.sql("SET default_collation = 'nocase'")
    diff = both(lib, pa.table({"k": ["a", "b"]}), pa.table({"k": ["A", "b"]}))
    assert rows(diff.rows) == [("delete", "a"), ("insert", "A")]
    assert rows(lib.sql("FROM vstore.diff('s', 0, 1) WHERE k = 'A'")) == rows(diff.rows), "elsewhere it holds"


def test_duplicate_keys_are_paired_in_order_of_occurrence(lib):
    old = pa.table({"k": [1, 2, 1, 1], "v": [10, 0, 20, 30]})
    diff = both(lib, old, pa.table({"k": [1, 1, 2], "v": [10, 21, 0]}), key="k")
    assert rows(diff.rows) == [("delete", 1, 30), ("update_postimage", 1, 21), ("update_preimage", 1, 20)]


def test_many_duplicates_on_many_threads_keep_their_order(lib, monkeypatch):
    """A column of another type makes every segment a new one; paired in order, one row is different."""
    lib.sql("SET threads = 4; SET preserve_insertion_order = false")
    cut_every(monkeypatch, 20_000)
    numbers = np.arange(300_000)
    old = pa.table({"k": numbers % 7, "v": numbers, "w": numbers})
    new = pa.table({"k": numbers % 7, "v": np.where(numbers == 5, 0, numbers), "w": numbers.astype("int32")})
    diff = both(lib, old, new, key="k")
    assert (diff.segments_shared, diff.inserted, diff.deleted, diff.updated) == (0, 0, 0, 1)
    assert diff.rows.fetchall() == [("update_preimage", 5, 5, 5), ("update_postimage", 5, 0, 5)]


def ticks(nanoseconds, seen):
    """Return rows with an index and a column of moments in New York, some nanoseconds after the same one."""
    start = pd.Timestamp("2026-01-01 10:00", tz="America/New_York").value

    def moments(after):
        return pd.DatetimeIndex(np.array(after) + start, tz="UTC").tz_convert("America/New_York")

    return pd.DataFrame({"v": range(len(seen)), "seen": moments(seen)}, index=moments(nanoseconds).rename("t"))


def test_nanoseconds_with_a_zone_are_told_apart(lib):
    """DuckDB 1 reads such times to the microsecond; rows are matched and compared to the nanosecond all the same."""
    old, new = ticks([1, 2, 3], [0, 1, 2]), ticks([1, 2, 3], [0, 5, 2])
    assert lib.write("s", old).version == 0
    assert [str(field.type) for field in lib.read("s", output_format="pyarrow").data.schema][::2] == [
        *("timestamp[ns, tz=America/New_York]", "timestamp[ns, tz=America/New_York]")
    ]
    diff = both(lib, old, new)
    assert (diff.key, diff.inserted, diff.deleted, diff.updated) == (("t",), 0, 0, 1)
    diff = both(lib, new, new.iloc[1:])
    assert (diff.inserted, diff.deleted, diff.updated) == (0, 1, 0)
    assert diff.rows.fetchall()[0][2] == 0
    whole = lib.diff("s", -2, key=[])
    assert (whole.inserted, whole.deleted) == (0, 1)
    rounded = both(lib, new, new.assign(seen=new["seen"].dt.as_unit("us")))
    assert rounded.updated == 2, "5 and 2 nanoseconds are no whole microsecond"
    lib.append("s", ticks([2000], [9000]))
    assert lib.diff("s", -2).inserted == 1


def test_nanoseconds_stay_with_their_rows_whatever_the_session_is_set_to(lib, monkeypatch):
    lib.sql("SET preserve_insertion_order = false; SET threads = 4")
    many = ticks(np.arange(20_000), np.arange(20_000))
    cut_every(monkeypatch, 1000)
    diff = both(lib, many, many.drop(many.index[[7777, 8888]]))
    assert (diff.inserted, diff.deleted, diff.updated) == (0, 2, 0)
    assert [row[2] for row in diff.rows.fetchall()] == [7777, 8888]


def test_an_index_that_is_a_range_in_one_version_only(lib):
    """Without one of its rows a range is a range no more: the other rows are the same all the same."""
    frame = pd.DataFrame({"v": [1.0, 2.0, 3.0, 4.0]})
    for pair, counts in (((frame, frame.drop(1)), (0, 1)), ((frame.drop(1), frame), (1, 0))):
        diff = both(lib, *pair)
        assert (diff.key, (diff.inserted, diff.deleted), diff.updated) == (("index",), counts, 0)
        assert diff.rows.fetchall()[0][1:] == (1, 2.0)
    unlike = both(lib, frame, frame.drop(1).rename_axis("other"))
    assert (unlike.key, unlike.inserted, unlike.deleted) == ((), 3, 4)
    taken = both(lib, frame.assign(index=5), frame.drop(1).rename(columns={"v": "w"}))
    assert taken.rows.columns == ["change", "index", "w", "v"]


def test_hostile_names_of_symbols_snapshots_and_columns(store):
    library = store.create_library("eod lib")
    symbol = "x'); DROP TABLE y; --"
    names = ["change", "c0", "b.place", 'q"r', "'; DROP TABLE x; --", "scanned", "select", "occurrence", "place", "<i>"]
    library.write(symbol, pa.table({name: [1, 2] for name in names}))
    library.snapshot("s'1")
    library.write(symbol, pa.table({name: [1, 3 if name == "<i>" else 2] for name in names}))
    quoted = symbol.replace("'", "''")
    result = library.sql(
        f"FROM vstore.diff('{quoted}', 's''1', 1, key := ['change', '{names[4].replace(chr(39), chr(39) * 2)}'])"
    )
    assert result.columns == ["change", "change_1", *names[1:]]
    assert rows(result) == [("update_postimage", *[2] * 9, 3), ("update_preimage", *[2] * 10)]
    assert rows(store.sql(f"""SELECT "<i>" FROM "eod lib".vstore.diff('{quoted}', 0, 1)""")) == [(2,), (3,)]
    diff = library.diff(symbol, 0, key="change")
    assert diff.updated == 1
    page = diff._repr_html_()
    assert "<i>" not in page
    assert "&lt;i&gt;" in page
    library.session.close()


# ------------------------------------------------------------------------------------------------- Library.diff


def test_the_python_diff_tells_counts_schema_and_segments(lib):
    wider = SECOND.assign(note=["<b>", None, "x\ny"], price=[2, 3, 4]).drop(columns="sym")
    lib.write("trades", wider)
    diff = lib.diff("trades", "eod")
    assert isinstance(diff, vs.Diff)
    assert (diff.library, diff.symbol, diff.from_version, diff.to_version) == ("lib", "trades", 0, 2)
    assert (diff.inserted, diff.deleted, diff.updated, diff.key, diff.has_changes) == (1, 1, 2, ("id",), True)
    assert [column.name for column in diff.columns_added] == ["note"]
    assert [column.name for column in diff.columns_removed] == ["sym"]
    assert diff.columns_retyped == (("price", "double", "int64"),)
    assert (diff.segments_shared, diff.segments_before, diff.segments_after) == (0, 1, 1)
    assert diff.df().columns.tolist() == ["change", "id", "price", "note", "sym"]
    assert diff.arrow().num_rows == diff.pl().height == pa.table(diff).num_rows == 6
    text = repr(diff)
    for part in (
        "'lib/trades' from version 0 to 2",
        "1 inserted, 1 deleted, 2 updated, matched by 'id'",
        "added 'note'",
    ):
        assert part in text
    assert "'price' from double to int64" in text
    page = diff._repr_html_()
    assert "<b>" not in page
    assert "&lt;b&gt;" in page


def test_the_python_diff_takes_what_read_takes(fixed):
    assert (
        fixed.diff("trades", 0, 1) == fixed.diff("trades", "eod", -1, key="ID") == fixed.diff("trades", -2, key=["id"])
    )
    moment = fixed.read("trades", 0).created_at
    assert fixed.diff("trades", moment, np.int64(0)).has_changes is False
    assert fixed.diff("trades", 1, 0).inserted == 1
    assert rows(fixed.diff("trades", 0, key=[]).rows)[0] == ("delete", 1, 1.0, "a")


def test_the_python_diff_refuses_what_cannot_be_compared(lib):
    with pytest.raises(InvalidInput, match=r"version 0 of 'frames' \(nested\) has no columns"):
        lib.diff("frames", 0)
    with pytest.raises(NoSuchColumn, match="both have a column 'prise' to match rows by. Did you mean 'price'"):
        lib.diff("trades", 0, key="prise")
    with pytest.raises(NoSuchVersion):
        lib.diff("trades", 9)
    with pytest.raises(InvalidInput, match="key="):
        lib.diff("trades", 0, key=[1])
    with pytest.raises(InvalidInput, match="key=5"):
        lib.diff("trades", 0, key=5)
    with pytest.raises(InvalidInput, match="symbol"):
        lib.diff(0, 1)
    lib.delete("trades")
    with pytest.raises(NoSuchSymbol):
        lib.diff("trades", 0)
    assert lib.diff("trades", 0, 1).updated == 1


def test_a_version_that_only_a_snapshot_holds_is_compared(lib):
    lib.write("trades", FIRST)
    lib.prune("trades", keep_last=1)
    with pytest.raises(NoSuchVersion):
        lib.diff("trades", 1)
    diff = lib.diff("trades", "eod")
    assert diff.has_changes is False
    assert diff.arrow().num_rows == 0


def many_columns(random, rows, kind):
    """A frame of 130 columns with few values, of which some are equal to others without being the same."""
    numbers = random.choice([0.0, -0.0, 1.5, np.nan, np.inf, -np.inf], (rows, 110))
    frame = pd.DataFrame(numbers, columns=[f"c{n}" for n in range(110)])
    frame = frame.astype({f"c{n}": "float32" for n in range(3)})
    found = {
        "text": random.choice(["a", "b", "", None], rows),
        "flag": random.choice([True, False], rows),
        "masked": pd.array(random.choice([1, 2, None], rows), "Int64"),
        "time": random.choice(np.array(["2020-01-01", "NaT", "2021-01-01"], "M8[ns]"), rows),
        "label": pd.Categorical(random.choice(["x", "y", None], rows), ["x", "y"]),
        "real": pd.array(random.choice([1.5, None], rows), "Float64"),
    }
    frame = pd.concat([frame, pd.DataFrame(found), pd.DataFrame(np.ones((rows, 12), int)).add_prefix("i")], axis=1)
    if kind == "range":
        return frame
    values = {
        "unique": random.permutation(rows) * 3,
        "repeated": random.integers(0, 5, rows),
        "missing": random.choice([0.0, -0.0, np.nan, 1.0], rows),
    }
    return frame.set_index(pd.Index(values[kind], name="id"))


def changed(random, frame):
    """The same with a few cells changed, and some rows added, removed and exchanged."""
    frame = frame.copy()
    for row, column in random.integers(0, [len(frame), 110], (4, 2)):
        frame.iloc[row, column] = random.choice([0.0, 2.5, np.nan])
    kept = random.permutation(len(frame))[: len(frame) - 2] if random.integers(0, 2) else np.arange(len(frame))
    return pd.concat([frame.iloc[kept], frame.iloc[: random.integers(0, 3)]], ignore_index=frame.index.name is None)


@pytest.mark.parametrize("kind", ["unique", "repeated", "missing", "range"])
@pytest.mark.parametrize("columns", ["same", "added", "removed", "retyped", "key"])
def test_changes_of_many_columns_are_counted_as_by_sql(kind, columns, tmp_path, monkeypatch):
    """Without SQL where all columns are of types that are compared alike; -0.0, NaN and null included."""
    from duckvstore.api import diff
    from duckvstore.format.rows import row_changes

    counted = []
    monkeypatch.setattr(row_changes, "count", lambda *args, real=row_changes.count: counted.append(1) or real(*args))
    lib = vs.open(tmp_path).create_library("lib", segment_bytes=2**16)
    for seed in range(sized(10, full=10)):
        random = np.random.default_rng([seed, len(kind), len(columns)])
        first = many_columns(random, 12, kind)
        second = changed(random, first)
        if columns == "added":
            second["more"] = random.choice([1.0, np.nan], len(second))
        elif columns == "removed":
            second = second.drop(columns=["c7", "text"])
        elif columns == "retyped":
            second = second.astype({"i1": "int8"})
        lib.write("wide", first)
        lib.write("wide", second)
        key = ["text", "flag", "time"] if columns == "key" else None
        versions = (seed * 2, seed * 2 + 1)
        found = lib.diff("wide", *versions, key=key)
        with monkeypatch.context() as slowly:
            slowly.setattr(diff, "_COLUMNS_MIN", 1000)
            assert lib.diff("wide", *versions, key=key) == found
        changes = Counter(found.df()["change"])
        assert (found.inserted, found.deleted) == (changes["insert"], changes["delete"])
        assert found.updated == changes["update_preimage"]
    assert bool(counted) == (columns != "retyped")
