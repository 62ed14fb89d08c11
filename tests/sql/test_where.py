"""``read(where=…)`` takes one predicate over the symbol's own columns and answers as SQL does, or says why not."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from decimal import Decimal

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import duckvstore as vs
from duckvstore.engine.reading import segments
from duckvstore.errors import InvalidInput, NoSuchColumn, SqlError
from duckvstore.format.rows import encoding
from tests.cuts import cut_every

COUNT = 12
FLOATS = [1.0, float("nan"), -0.0, 0.0, float("inf"), float("-inf"), None, 7.0, 2.5, -3.0, float("nan"), 0.5]
ODD = ["a b", "select", 'x"y', "it's", "ü", "current_date", "at", "version", "__vstore_row", "#1", "interval", "rows"]


def kinds() -> pa.Table:
    hours = [datetime(2026, 1, 1 + day, tzinfo=UTC) for day in range(COUNT)]
    return pa.table(
        {
            "id": pa.array(range(COUNT), pa.int64()),
            "ratio": FLOATS,
            "single": pa.array(FLOATS, pa.float32()),
            "half": pa.array(np.arange(COUNT, dtype="float16")),
            "money": pa.array([Decimal(n) for n in range(COUNT)], pa.decimal128(10, 2)),
            "wide": pa.array([Decimal(n) for n in range(COUNT)], pa.decimal256(30, 2)),
            "word": pa.array(["a", "B", None, "ä", "", "z"] * 2),
            "grade": pa.array(["x", "y", "z"] * 4).dictionary_encode(),
            "seen": pa.array(hours, pa.timestamp("us", tz="UTC")),
            "local": pa.array([moment.replace(tzinfo=None) for moment in hours], pa.timestamp("ns")),
            "held": pa.array([timedelta(hours=n) for n in range(COUNT)], pa.duration("ms")),
            "clock": pa.array([time(n) for n in range(COUNT)], pa.time64("ns")),
            "many": pa.array([[n, n + 1] for n in range(COUNT)]),
            "point": pa.array([{"x": n} for n in range(COUNT)]),
            "big": pa.array([2**64 - 1 - n for n in range(COUNT)], pa.uint64()),
            "raw": pa.array([bytes([n]) for n in range(COUNT)]),
        }
    )


@pytest.fixture(scope="module")
def lib():
    """A library in memory whose symbols have several segments each."""
    library = vs.open("memory://").create_library("lib")
    with pytest.MonkeyPatch.context() as patch:
        cut_every(patch, 4)
        library.write("kinds", kinds())
        library.write("odd", pd.DataFrame({name: range(COUNT) for name in ["id", *ODD]}))
        library.write('odd " name', pd.DataFrame({"n": range(COUNT)}))
        library.write("nul\0", pd.DataFrame({"n": range(COUNT)}))
        library.write("bare", pd.DataFrame(index=range(COUNT)))
        library.write("series", pd.Series(range(COUNT), name="s"))
        library.write("cube", np.arange(2 * COUNT).reshape(COUNT, 2))
        index = pd.MultiIndex.from_product([range(6), ["a", "b"]], names=["day", None])
        library.write("levels", pd.DataFrame({"v": range(COUNT)}, index=index))
    yield library
    library.session.close()


def found(lib, where, symbol="kinds"):
    return list(lib.read(symbol, where=where, output_format="pyarrow").data.column("id").to_pylist())


COMPARISONS = [
    f"{column} {operator} {constant}"
    for column in ("ratio", "single")
    for operator in (">", ">=", "<", "<=", "=", "<>", "IS DISTINCT FROM")
    for constant in ("1", "-0.0", "'nan'::DOUBLE", "'inf'::DOUBLE", "'-inf'", "NULL")
]
PREDICATES = [
    *("id > 5", "id = 5 OR id = 7", "NOT id > 5", "(id > 5) AND (id < 8)", "id > 5 -- comment", "id /* > ) */ > 5"),
    *("1=1) OR (1=1", "id > 5) AND (id < 8", "true", "NULL", "id", "id > 1e400", "id > 99999999999999999999999999"),
    *("id IN (1, 2, NULL)", "id NOT IN (1, 2)", "id IN [1, 2]", "id = ANY([1, 2])", "id > (SELECT 5)"),
    *("id IN (SELECT unnest([1, 2]))", "EXISTS (SELECT 1)", "CASE WHEN id > 5 THEN true END", "random() < 2"),
    *("ratio IS NULL", "ratio BETWEEN 0 AND 'nan'::DOUBLE", "NOT ratio > 1", "ratio IN (1, 'nan')", "isnan(ratio)"),
    *("half > 5", "money > 5", "money = 5.00", "wide >= 5", "word > 'a'", "word = 'b' COLLATE NOCASE"),
    *("word LIKE '%a%'", "word ~ '[a-z]'", "word GLOB '?'", "word = 'x) OR (1=1'", "word = $$a$$", "word = E'a'"),
    *("grade = 'x'", "grade > 'x'", "grade IN ('x', 'y') AND id > 3", "seen > '2026-01-05 00:00:00+00'"),
    *("seen IN (TIMESTAMP '2026-01-02', TIMESTAMP '2026-01-03')", "local >= DATE '2026-01-05' + INTERVAL 1 DAY"),
    *("held > INTERVAL 5 HOUR", "clock > '05:00'", "many[1] > 5", "list_contains(many, 3)", "point.x > 5"),
    *("len(list_filter(many, lambda x: x > 5)) > 1", "big > 18446744073709551610", "raw > '\\x05'::BLOB"),
    *("kinds.id > 5", "KINDS.ID > 5", "kinds IS NULL", "id::VARCHAR > '10'", "id % 2 = 0 AND ratio > 0"),
]


@pytest.mark.parametrize("where", [*COMPARISONS, *PREDICATES])
def test_where_finds_the_rows_that_sql_finds(lib, where):
    expected = lib.sql(f"SELECT id FROM kinds WHERE ({where}\n) ORDER BY id").fetchall()
    assert [(number,) for number in found(lib, where)] == expected


@pytest.mark.parametrize("name", ODD)
def test_a_column_of_any_name_can_be_used(lib, name):
    quoted = '"' + name.replace('"', '""') + '"'
    assert found(lib, f"{quoted} > 5", "odd") == [6, 7, 8, 9, 10, 11]
    assert found(lib, f"odd.{quoted} > 5 AND id < 8", "odd") == [6, 7]


def test_a_column_that_is_called_like_a_function_is_the_column(lib):
    assert found(lib, "current_date > 5", "odd") == [6, 7, 8, 9, 10, 11]


def test_symbols_of_any_name_and_kind(lib):
    assert len(lib.read('odd " name', where='"odd "" name".n > 5').data) == 6
    assert len(lib.read("nul\0", where="n > 5").data) == 6
    assert lib.read("series", where="s > 5").data.tolist() == [6, 7, 8, 9, 10, 11]
    assert lib.read("cube", where="value[1] >= 20").data.tolist() == [[20, 21], [22, 23]]
    assert lib.read("levels", where="day > 4 AND index_1 = 'b'").data["v"].tolist() == [11]
    assert lib.read("levels", where="DAY > 4", columns=["v"]).data["v"].tolist() == [10, 11]


def test_rows_without_columns_count_too(lib):
    assert lib.read("bare", where="true").data.shape == (COUNT, 0)
    assert lib.read("bare", where="1 > 2").data.shape == (0, 0)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("", "it is empty"),
        (" -- nothing", "it is empty"),
        ("id >", "something is missing"),
        ("id > 5)(", "cannot be read"),
        ("id > 5;", "ends at this ;"),
        ("id > 5; DROP TABLE x", "ends at this ;"),
        ("true) LIMIT (1", "what stands behind WHERE"),
        ("true) ORDER BY (1", "what stands behind WHERE"),
        ("true) UNION SELECT (1", "what stands behind WHERE"),
        ("true) GROUP BY (id", "what stands behind WHERE"),
        ("id > $p", "read() has no parameters"),
        ("id > ?", "read() has no parameters"),
        ("#1 > 5", "have names here"),
        ("COLUMNS(*) IS NOT NULL", "name each column"),
        ("COLUMNS('i.*') > 5", "name each column"),
        ("id AT VERSION 3", "belongs right after the name"),
        ("id IN (SELECT id FROM kinds)", "use sql() for subqueries"),
        ("id IN (FROM range(3))", "use sql() for subqueries"),
        ("id IN (FROM 'some.csv')", "use sql() for subqueries"),
        ("id IN (SELECT 2 FROM read_csv('some.csv'))", "use sql() for subqueries"),
        ("id IN (FROM __vstore_rows)", "use sql() for subqueries"),
        ("sum(id) > 3", "cannot contain aggregates"),
        ("row_number() OVER () < 3", "cannot contain window functions"),
        ("id > 5 \0", "NUL"),
        ("word = '\ud800'", "surrogate"),
        ("id > 'abc'", "Could not convert string 'abc'"),
        ("error('mine')", "mine"),
        ("other.id > 5", '"other"'),
        ("__vstore_rows.id > 5", '"__vstore_rows" not found'),
    ],
)
def test_what_is_no_predicate_is_refused(lib, where, message):
    with pytest.raises(SqlError) as caught:
        lib.read("kinds", where=where)
    error = caught.value
    assert message in str(error)
    assert "SELECT 1 FROM" not in str(error)
    assert "Candidate" not in str(error)
    assert error.sql == "" or error.sql.replace("\N{REPLACEMENT CHARACTER}", "\0") in (
        where,
        where.replace("\ud800", "\0"),
    )
    assert error.offset is None or 0 <= error.offset <= len(where)


def test_the_caret_is_under_the_place(lib):
    with pytest.raises(NoSuchColumn, match=r"version 0 of 'kinds' has no column 'rat'\.") as caught:
        lib.read("kinds", where="id > 3 AND\n  word <> 'é🛫' AND rat > 1")
    _, shown, caret = str(caught.value).splitlines()
    assert shown[caret.index("^") :] == "rat > 1"
    with pytest.raises(NoSuchColumn, match="has no column '__vstore_row'"):
        lib.read("kinds", where="__vstore_row > 5")


def test_a_decimal_too_wide_for_sql_is_refused(lib):
    lib.write("wider", pa.table({"d": pa.array([Decimal(1)], pa.decimal256(50, 2)), "n": [1]}))
    assert lib.read("wider", where="n = 1").data.num_rows == 1
    with pytest.raises(SqlError, match="'d' is a decimal of 50 digits"):
        lib.read("wider", where="d > 0")


@pytest.mark.parametrize("where", [5, b"id > 1", ["id > 1"], True])
def test_what_is_no_text_is_refused(lib, where):
    with pytest.raises(InvalidInput, match="is no text"):
        lib.read("kinds", where=where)


def test_segments_without_a_wanted_row_are_not_read(lib, monkeypatch):
    """Only the columns that are used or wanted, of the segments that may hold a row."""
    read = []
    real = segments.fetch
    monkeypatch.setattr(segments, "fetch", lambda library, segment: read.append(segment.key) or real(library, segment))
    assert found(lib, "id = 5") == [5]
    assert len(read) == 1
    assert found(lib, "id > 100") == []
    assert len(read) == 1


@pytest.mark.parametrize("held_bytes", [segments.HELD_BYTES_MAX, 0])
def test_the_other_columns_are_decoded_where_a_row_is_wanted(monkeypatch, held_bytes):
    """And fetched once, unless all that is fetched would take too much memory; whatever is asked for, in its order."""
    monkeypatch.setattr(segments, "HELD_BYTES_MAX", held_bytes)
    cut_every(monkeypatch, 100)
    library = vs.open("memory://").create_library("lib")
    words = pa.array([f"word {n % 7}" if n % 5 else None for n in range(1000)])
    rows = pa.table(
        {
            "a": range(1000),
            "word": words,
            "n": np.random.default_rng(1).permutation(1000),
            "b": [[n] for n in range(1000)],
        }
    )
    library.write("s", rows)
    decoded, decode = [], encoding.decode_parts
    monkeypatch.setattr(encoding, "decode_parts", lambda *known: decoded.append(list(known[2])) or decode(*known))
    fetched, fetch = [], segments.fetch
    monkeypatch.setattr(segments, "fetch", lambda *known: fetched.append(1) or fetch(*known))
    wanted = {"n >= 0": 10, "n < 3": None, "n < 0": 0, "n % 100 = 7 OR word = 'word 3'": 10}
    for where, others in wanted.items():
        expected = duckdb.sql(f"SELECT * FROM rows WHERE {where}").to_arrow_table()
        for columns in (None, ["b", "n", "word"], ["word"], ["n"]):
            decoded.clear()
            fetched.clear()
            found = library.read("s", where=where, columns=columns).data
            names = columns or rows.column_names
            assert found.to_pydict() == expected.select(names).to_pydict()
            assert found.schema.equals(rows.select(names).schema)
            rest = [name for name in names if name not in where]
            count = len([names for names in decoded if names == rest]) if rest else 0
            assert others is None or count == (others if rest else 0)
            assert count < 10 or others == 10
            assert len(fetched) == len(decoded) - (count if held_bytes else 0)


def test_a_label_is_not_taken_for_one_that_differs_in_the_case_of_letters():
    """SQL calls the second of ``ab`` and ``AB`` ``AB_1``: the first is not read, and its rows not deleted, for it."""
    library = vs.open("memory://").create_library("lib")
    frame = pd.DataFrame({"ab": [1, 2, 3], "AB": [9, 9, 1]})
    library.write("t", frame)
    for where in ("AB = 9", '"AB" = 9', "ab = 1 AND AB = 9"):
        for call in (lambda where: library.read("t", where=where), lambda where: library.delete_rows("t", where)):
            with pytest.raises(vs.SqlError, match='write "AB_1", as SQL calls it'):
                call(where)
    for where, wanted in (("ab = 1", [0]), ('"AB_1" = 9', [0, 1]), ("Ab_1 = 1", [2])):
        assert library.read("t", where=where).data.equals(frame.iloc[wanted])
    library.write("one", pd.DataFrame({"ab": [1, 2]}))
    assert len(library.read("one", where="AB = 2").data) == 1
