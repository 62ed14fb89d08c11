"""Columns that SQL made keep DuckDB's types through all that becomes of them, and are read in every library."""

from __future__ import annotations

import json
import os
import uuid
from datetime import time, timedelta

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import duckvstore as vs
from duckvstore.errors import Integrity, InvalidInput, SqlError, Unsupported
from duckvstore.sql.results.stored import in_format
from tests import ROOT
from tests.cuts import cut_every
from tests.sql.values import every_type

PAGE = ROOT / "docs" / "types.md"
KEPT = every_type.columns()
NO_TABLES = ("TIMESTAMP_S",)  # infinity is beyond what Parquet holds, which is refused
if os.environ.get("DUCKVSTORE_FULL") != "1":
    KEPT = {kind: values for at, (kind, values) in enumerate(KEPT.items()) if at % 16 == 0 or kind in every_type.VALUES}
U = "11111111-2222-3333-4444-55555555555"
PETS = "ENUM('cat', 'dog', 'ant')"


@pytest.fixture
def lib():
    library = vs.open(f"memory://{uuid.uuid4().hex}").create_library("lib")
    yield library
    library.session.close()


@pytest.fixture(scope="module")
def shared():
    library = vs.open(f"memory://{uuid.uuid4().hex}").create_library("lib")
    yield library
    library.session.close()


@pytest.fixture(scope="module")
def own():
    with duckdb.connect() as connection:
        yield connection


@pytest.fixture
def pets(lib, monkeypatch):
    """A symbol of three segments and several types."""
    cut_every(monkeypatch, 2)
    lib.sql(
        f"CREATE TABLE pets AS SELECT CAST(p AS {PETS}) AS p, CAST(j AS JSON) AS j, CAST(u AS UUID) AS u, n FROM "
        f"(VALUES ('dog', '{{\"a\": 1}}', '{U}0', 1), ('cat', '[2]', '{U}1', 2), ('ant', NULL, '{U}2', 3), "
        f"(NULL, '\"x\"', NULL, 4), ('dog', '{{\"a\":1}}', '{U}4', 5), ('ant', '{{\"a\": 9}}', '{U}5', 6)) "
        "AS r(p, j, u, n)"
    )
    return lib


@pytest.mark.parametrize("kind", [kind for kind in KEPT if not every_type.holds(kind, NO_TABLES)])
def test_statements_do_what_they_do_to_duckdb_s_own_tables(shared, own, kind):
    for side in (shared, own):
        side.sql("SET TimeZone = 'UTC'")
    values = [value for value in KEPT[kind] if "uuid()" not in value]
    statements = [
        f"CREATE OR REPLACE TABLE t AS {every_type.rows(kind, values)}",
        f"INSERT INTO t SELECT 100 + n, x FROM t UNION ALL SELECT 200, {every_type.cast(values[-1], kind)}",
        "UPDATE t SET x = (SELECT x FROM t WHERE n = 0) WHERE n = 101",
        "MERGE INTO t USING (SELECT 0 AS n) AS s USING (n) WHEN MATCHED THEN UPDATE SET x = NULL",
        "DELETE FROM t WHERE n = 100",
        "CREATE OR REPLACE TABLE t AS SELECT n + 1 AS n, x FROM t",
    ]
    for statement in statements:
        for side in (shared, own):
            side.sql(statement)
        shown = [
            side.sql("SELECT n, typeof(x), CAST(x AS VARCHAR) FROM t ORDER BY n").fetchall() for side in (shared, own)
        ]
        assert shown[0] == shown[1], statement
    assert shared.sql("FROM t").types == [str(found) for found in own.sql("FROM t").types]


def test_what_is_asked_of_them_is_duckdb_s(pets, own):
    own.register("stored", pets.sql("FROM pets").arrow())
    own.execute(
        f"CREATE OR REPLACE TABLE pets AS SELECT CAST(p AS {PETS}) AS p, CAST(j AS JSON) AS j, CAST(u AS UUID) AS u, n "
        "FROM stored"
    )
    for query in (
        "SELECT p, n FROM pets ORDER BY p, n",
        "SELECT n FROM pets WHERE p > 'cat' ORDER BY n",
        f"SELECT n FROM pets WHERE p >= CAST('dog' AS {PETS}) ORDER BY n",
        f"SELECT n FROM pets WHERE p < CAST('dog' AS {PETS}) ORDER BY n",
        f"SELECT n FROM pets WHERE p BETWEEN CAST('cat' AS {PETS}) AND CAST('dog' AS {PETS}) ORDER BY n",
        "SELECT n FROM pets WHERE p IN ('ant', 'cat') ORDER BY n",
        "SELECT min(p), max(p), enum_range(any_value(p)) FROM pets",
        "SELECT n FROM pets WHERE p IS NULL",
        "SELECT n, j.a, j->>'$.a', j->0 FROM pets ORDER BY n",
        "SELECT n FROM pets WHERE j.a = 1 ORDER BY n",
        f"SELECT n FROM pets WHERE u = '{U}4'",
        f"SELECT n FROM pets WHERE u = upper('{U}4')",
        f"SELECT n FROM pets WHERE u > '{U}1' ORDER BY n",
        "SELECT a.n, b.n FROM pets a JOIN pets b ON a.p = b.p AND a.u <> b.u ORDER BY ALL",
    ):
        assert pets.sql(query).fetchall() == own.sql(query).fetchall(), query


def test_what_they_are_not_is_refused_and_changes_nothing(pets):
    for statement in (
        "INSERT INTO pets (p) VALUES ('wolf')",
        "INSERT INTO pets (u) VALUES ('no uuid')",
        "INSERT INTO pets (j) VALUES ('{no json')",
        "UPDATE pets SET p = 'wolf' WHERE n = 1",
        "MERGE INTO pets USING (SELECT 1 AS n) AS s USING (n) WHEN MATCHED THEN UPDATE SET p = 'wolf'",
        "ALTER TABLE pets ALTER p TYPE ENUM('cat', 'dog')",
    ):
        with pytest.raises(SqlError):
            pets.sql(statement)
    assert [version.version for version in pets.list_versions("pets")] == [0]


def test_a_sum_of_integers_is_one(lib):
    lib.sql("CREATE TABLE s AS SELECT sum(n) AS n FROM (VALUES (7), (10)) AS r(n)")
    assert lib.sql("FROM s").types == ["HUGEINT"]
    assert lib.sql("SELECT n // 2, n % 5, n & 16, n << 1, format('{}', n) FROM s").fetchall() == [(8, 2, 16, 34, "17")]
    assert lib.sql("SELECT typeof(median(n)), median(n) FROM s").fetchall() == [("DOUBLE", 17.0)]
    for number, kind in (
        (2**127 - 1, "HUGEINT"),
        (-(2**127), "HUGEINT"),
        (2**128 - 1, "UHUGEINT"),
        (10**38, "HUGEINT"),
    ):
        lib.sql(f"CREATE OR REPLACE TABLE s AS SELECT CAST('{number}' AS {kind}) AS n")
        lib.sql("INSERT INTO s VALUES (1)")
        lib.sql("UPDATE s SET n = n - 1 WHERE n > 100" if number > 0 else "UPDATE s SET n = n + 1 WHERE n < 0")
        expected = number - 1 if number > 0 else number + 1
        assert lib.sql(f"SELECT n FROM s WHERE n = CAST('{expected}' AS {kind})").fetchall() == [(expected,)]
        assert lib.read("s", output_format="pandas").data["n"].tolist() == [expected, 1]
        assert lib.sql("SELECT n FROM s ORDER BY n").fetchall() == sorted([(expected,), (1,)])


def test_columns_are_altered_in_their_types(pets):
    pets.sql("ALTER TABLE pets ADD COLUMN waits INTERVAL")
    pets.sql("ALTER TABLE pets RENAME COLUMN p TO pet")
    pets.sql("ALTER TABLE pets ALTER pet TYPE ENUM('ant', 'bee', 'cat', 'dog')")
    pets.sql("ALTER TABLE pets ALTER u TYPE VARCHAR")
    pets.sql("ALTER TABLE pets DROP COLUMN n")
    pets.sql("UPDATE pets SET waits = INTERVAL 3 DAY WHERE pet = 'cat'")
    pets.sql("MERGE INTO pets USING (SELECT 1) s ON pet = 'cat' WHEN MATCHED THEN UPDATE SET waits = INTERVAL 1 MONTH")
    found = pets.sql("FROM pets ORDER BY pet, u")
    assert found.types == ["ENUM('ant', 'bee', 'cat', 'dog')", "JSON", "VARCHAR", "INTERVAL"]
    assert pets.sql("SELECT pet, waits::VARCHAR FROM pets WHERE waits IS NOT NULL").fetchall() == [("cat", "1 month")]
    assert [row[0] for row in found.fetchall()] == ["ant", "ant", "cat", "dog", "dog", None]
    pets.sql("ALTER TABLE pets ALTER u TYPE UUID")
    assert pets.sql("SELECT count(u) FROM pets").fetchall() == [(5,)]
    with pytest.raises(SqlError, match="(?s)which as UUID would be|Could not convert|Unable to cast"):
        pets.sql("ALTER TABLE pets ALTER j TYPE UUID")


def test_copies_snapshots_and_lists_have_the_types(pets):
    wanted = [PETS, "JSON", "UUID", "INTEGER"]
    pets.snapshot("day")
    pets.sql("CREATE TABLE copy AS FROM pets")
    pets.sql("CREATE TABLE empty AS FROM pets WITH NO DATA")
    pets.sql("INSERT INTO pets BY NAME SELECT 'cat' AS p")
    pets.sql("ALTER TABLE copy RENAME TO moved")
    pets.restore_version("pets", 0)
    pets.sql("CREATE VIEW seen AS FROM moved")
    for name in ("pets", "pets AT VERSION 1", "day.pets", "moved", "empty", "seen"):
        assert pets.sql(f"FROM {name}").types == wanted
    assert pets.sql("SELECT column_type FROM (DESCRIBE pets)").fetchall() == [(kind,) for kind in wanted]
    listed = pets.sql("SELECT data_type FROM information_schema.columns WHERE table_name = 'moved'").fetchall()
    assert listed == [(kind,) for kind in wanted]
    assert [column.dtype for column in pets.get_description("pets").columns] == [*wanted[:3], "int32"]
    asked = "SELECT column_type FROM vstore.columns WHERE symbol = 'moved' AND version = 0 ORDER BY position"
    assert pets.sql(asked).fetchall() == [(kind,) for kind in [*wanted[:3], "int32"]]
    assert "uuid" in pets["pets"]._repr_html_()


def test_differences_are_of_values(pets):
    pets.sql("CREATE TABLE d AS SELECT 1 AS k, INTERVAL 1 MONTH AS i, CAST('{\"a\":1}' AS JSON) AS j")
    pets.sql("CREATE OR REPLACE TABLE d AS SELECT * REPLACE (INTERVAL 30 DAY AS i) FROM d")
    pets.sql("UPDATE d SET j = '{\"a\": 1}'")
    pets.sql("ALTER TABLE d ALTER j TYPE VARCHAR")
    pets.sql("ALTER TABLE d ADD COLUMN u UUID")
    query = "SELECT change, i::VARCHAR, j::VARCHAR FROM vstore.diff('d', {}, {}, key := 'k')"
    assert pets.sql(query.format(0, 1)).fetchall() == [
        ("update_preimage", "1 month", '{"a":1}'),
        ("update_postimage", "30 days", '{"a":1}'),
    ]
    assert [row[2] for row in pets.sql(query.format(1, 2)).fetchall()] == ['{"a":1}', '{"a": 1}']
    assert pets.sql(query.format(2, 4)).fetchall() == []
    assert pets.sql("FROM vstore.diff('d', 0, 1, key := 'k')").types[2:] == ["INTERVAL", "JSON"]
    assert len(pets.diff("pets", 0, 0).df()) == 0


def test_the_attach_file_has_the_types(tmp_path, own):
    lib = vs.open(tmp_path).create_library("lib")
    lib.sql(
        f"CREATE TABLE t AS SELECT CAST('ant' AS {PETS}) AS p, CAST('{U}0' AS UUID) AS u, 5::HUGEINT AS h, "
        "[1::BIT] AS b"
    )
    own.execute(f"ATTACH '{lib.publish()}' AS published (READ_ONLY)")
    found = own.sql("FROM published.t")
    assert list(map(str, found.types)) == [PETS, "UUID", "HUGEINT", "BIT[]"]
    assert found.fetchall() == lib.sql("FROM t").fetchall()
    own.execute("DETACH published")
    lib.session.close()


def test_rows_from_python_are_cast_or_refused(pets):
    pets.append("pets", pa.table({"p": ["ant", None], "u": [f"{U}A", None], "n": pa.array([7, 8], pa.int32())}))
    pets.append("pets", pa.table({"p": pa.array(["cat"]).dictionary_encode()}).to_reader())
    assert pets.sql("SELECT p, u::VARCHAR FROM pets WHERE n = 7 OR n IS NULL ORDER BY ALL").fetchall() == [
        ("cat", None),
        ("ant", f"{U}a"),
    ]
    pets.sql("CREATE TABLE s AS SELECT 5::HUGEINT AS h, INTERVAL 1 DAY AS i, TIME_NS '00:00:01' AS t")
    for column, value in (("h", 7.5), ("i", "soon"), ("t", "25:00:00")):
        with pytest.raises(InvalidInput, match=f"column '{column}' of 'lib/s' has DuckDB's type"):
            pets.append("s", pa.table({column: [value]}))
    with pytest.raises(InvalidInput, match="has a value that is none of it: 7.5 would be another value"):
        pets.append("s", pa.table({"h": [7.0, 7.5]}))
    with pytest.raises(InvalidInput, match="type ENUM.*'wolf'"):
        pets.append("pets", pa.table({"p": ["wolf"]}))
    pets.append("s", pa.table({"h": [7], "i": pa.array([90], pa.duration("s"))}))
    assert pets.sql("SELECT h, i::VARCHAR FROM s").fetchall() == [(5, "1 day"), (7, "00:01:30")]
    assert pets.sql("FROM s").types == ["HUGEINT", "INTERVAL", "TIME_NS"]


@pytest.mark.parametrize("sorts", [False, True])
def test_staged_parts_join_them_as_appended_rows_do(lib, sorts):
    """Parts that would not fit together as they were staged, too; what is refused changes nothing and stays staged."""
    for symbol in ("s", "appended"):
        lib.sql(
            f"CREATE TABLE {symbol} AS SELECT 5::HUGEINT AS h, INTERVAL 1 DAY AS i, UUID '{U}0' AS u, "
            f"'[1]'::JSON AS j, 'cat'::{PETS} AS p, [1::UHUGEINT] AS l, TIMESTAMP '2026-01-01' AS t, 1 AS n"
        )
        lib.sql(f"DELETE FROM {symbol}")
        lib.append(symbol, pa.table({"t": pa.array([0], pa.timestamp("us"))}), index_column="t")
    given = [
        {"u": [f"{U}A"], "h": pa.array([7], pa.int8()), "n": pa.array([2], pa.int32())},
        {"i": ["2 days"], "p": pa.array(["dog"]).dictionary_encode(), "more": [1.5]},
        {"h": ["9"], "j": ['{"a": 1}'], "l": [["5"]], "i": pa.array([90], pa.duration("s"))},
    ]
    for at, columns in enumerate(given, start=1):
        rows = pa.table({**columns, "t": pa.array([at], pa.timestamp("us"))})
        lib.append("appended", rows)
        lib.stage("s", rows)
    (lib.sort_and_finalize_staged_data if sorts else lib.finalize_staged_data)("s", mode="append")
    assert lib.read("s").data.equals(lib.read("appended").data)
    question = "SELECT COLUMNS(*)::VARCHAR FROM {} ORDER BY t"
    assert lib.sql(question.format("s")).fetchall() == lib.sql(question.format("appended")).fetchall()
    assert lib.sql("FROM s").types == lib.sql("FROM appended").types
    assert lib.verify().ok
    lib.stage("s", pa.table({"h": [8.0, 7.5], "t": pa.array([8, 9], pa.timestamp("us"))}))
    with pytest.raises(InvalidInput, match="column 'h' of 'lib/s' has DuckDB's type HUGEINT.*7.5"):
        lib.finalize_staged_data("s", mode="append")
    assert lib.read("s").data.equals(lib.read("appended").data)
    assert lib.get_staged_symbols() == ["s"]


def test_what_read_gives_of_nested_types_is_taken_again(lib):
    lib.sql(
        f"CREATE TABLE t AS SELECT {{'u': UUID '{U}0', 'i': INTERVAL 1 MONTH}} AS s, [union_value(n := 1)] AS l, "
        "MAP {'a': 5::HUGEINT} AS m"
    )
    lib.append("t", lib.read("t").data)
    assert lib.sql("SELECT DISTINCT s::VARCHAR, l, m FROM t").fetchall() == [
        (f"{{'u': {U}0, 'i': 1 month}}", [1], {"a": 5})
    ]
    kind = lib.read("t").data.schema.field("l").type
    with pytest.raises(InvalidInput, match="would be another value"):
        lib.append("t", pa.table({"l": pa.array([[{"tag": "no member", "n": 1}]], kind)}))


INTERVALS = "(VALUES (1, INTERVAL '3 months 1 day 2 seconds'), (2, NULL), (3, INTERVAL (-5) MINUTE)) AS r(n, i)"
ARROW_FORMS = {
    "table": lambda table: table,
    "slices": lambda table: pa.concat_tables([table.slice(0, 1), table.slice(1)]),
    "batch": lambda table: table.combine_chunks().to_batches()[0],
    "stream": pa.Table.to_reader,
}


@pytest.mark.parametrize("form", ARROW_FORMS)
def test_intervals_join_their_column_in_the_form_that_read_gives(lib, form):
    """Arrow's own intervals, whose months and days are kept; staged, updated and in a transaction too."""
    lib.sql(f"CREATE TABLE t AS SELECT *, TIMESTAMP '2026-01-01' + to_days(n) AS d FROM {INTERVALS}")
    read = lib.read("t").data
    assert pa.types.is_interval(read.schema.field("i").type)
    made = ARROW_FORMS[form]
    for nothing in (read.slice(0, 0), read.schema.empty_table(), pa.RecordBatch.from_pylist([], read.schema)):
        lib.append("t", nothing)
    lib.append("t", made(read))
    lib.stage("t", made(read.select(["i"])))
    lib.finalize_staged_data("t", mode="append")
    lib.append("t", lib.sql("SELECT i FROM t LIMIT 3"))
    with lib.transaction() as both:
        both.append("t", made(read))
    texts = ["3 months 1 day 00:00:02", None, "-00:05:00"]
    assert [text for (text,) in lib.sql("SELECT i::VARCHAR FROM t").fetchall()] == texts * 5
    lib.sql("CREATE TABLE u AS SELECT i, d FROM t LIMIT 0")
    lib.append("u", made(read.select(["i", "d"])), index_column="d")
    lib.update("u", made(read.select(["d", "i"]).slice(1, 1)))
    assert [text for (text,) in lib.sql("SELECT i::VARCHAR FROM u").fetchall()] == texts
    assert lib.sql("FROM u").types == ["INTERVAL", "TIMESTAMP"]
    assert lib.verify().ok


@pytest.mark.parametrize("form", ARROW_FORMS)
def test_intervals_join_nothing_else(lib, form):
    """Nothing is stored of what would have another type, or lose digits."""
    made = ARROW_FORMS[form]
    read = lib.sql(f"SELECT i FROM {INTERVALS}").arrow()
    read = read.read_all() if isinstance(read, pa.RecordBatchReader) else read
    lib.sql("CREATE TABLE t AS SELECT 'x' AS i, INTERVAL 1 DAY AS j")
    for symbol in ("t", "missing"):
        with pytest.raises(Unsupported, match=f"column 'i' of 'lib/{symbol}' holds Arrow's intervals.*INTERVAL takes"):
            lib.append(symbol, made(read))
    with pytest.raises(Unsupported, match="column 'i' of 'lib/missing' holds Arrow's intervals"):
        timed = read.append_column("d", pa.array([1, 2, 3], pa.timestamp("us")))
        lib.update("missing", made(timed), upsert=True, index_column="d")
    with pytest.raises(Unsupported, match="column 'i' of 'lib/w' has the Arrow type month_day_nano_interval"):
        lib.write("w", made(read))
    lib.stage("t", made(read))
    for mode in ("write", "append"):
        with pytest.raises(Unsupported, match="column 'i' of 'lib/t' holds Arrow's intervals"):
            lib.finalize_staged_data("t", mode=mode)
    fine = pa.table({"j": pa.array([(0, 0, 1000), (0, 0, 1001)], pa.month_day_nano_interval())})
    with pytest.raises(Unsupported, match="column 'j' of 'lib/t' holds an interval with digits below the microsecond"):
        lib.append("t", made(fine))
    assert lib.list_symbols() == ["t"]
    assert lib.sql("FROM t").fetchall() == [("x", timedelta(1))]


def test_rows_are_found_by_predicates(pets):
    read = pets.read("pets", where=f"p > CAST('cat' AS {PETS}) AND j.a = 1", columns=["n"]).data
    assert read["n"].to_pylist() == [1, 5]
    pets.delete_rows("pets", f"p = 'ant' OR u = '{U}1'")
    assert pets.sql("SELECT n FROM pets ORDER BY n").fetchall() == [(1,), (4,), (5,)]


def test_parts_of_them_are_read(pets):
    assert pets.head("pets", 2, columns=["u", "p"], output_format="polars").data.rows() == [
        (f"{U}0", "dog"),
        (f"{U}1", "cat"),
    ]
    frame = pets.read("pets", row_range=(2, 4), output_format="pandas").data
    assert frame["p"].dtype == pd.CategoricalDtype(["cat", "dog", "ant"], ordered=True)
    assert frame["u"].tolist() == [uuid.UUID(f"{U}2"), None]
    assert pets.read("pets", output_format="polars").data.schema["p"] == pl.Enum(["cat", "dog", "ant"])
    assert pets.read("pets", columns=["n"]).data.column_names == ["n"]
    with duckdb.connect() as connection:
        connection.register("scanned", pets["pets"])
        assert connection.sql("SELECT count(*) FROM scanned WHERE p = 'dog'").fetchall() == [(2,)]


def test_what_a_library_has_no_exact_form_of_is_refused_in_it_alone(lib):
    lib.sql("CREATE TABLE t AS SELECT INTERVAL 1 MONTH AS i, TIME_NS '01:00:00.000000001' AS t")
    with pytest.raises(Unsupported, match="column 'i' holds intervals with months"):
        lib.read("t", columns=["i"], output_format="pandas")
    with pytest.raises(Unsupported, match="column 't' holds times of day"):
        lib.read("t", columns=["t"], output_format="pandas")
    assert lib.read("t").data.to_pylist() == [{"i": pa.MonthDayNano([1, 0, 0]), "t": time(1, 0)}]
    assert lib.read("t").data["t"].cast(pa.int64()).to_pylist() == [3600 * 10**9 + 1]
    lib.sql("UPDATE t SET i = INTERVAL '1 day 1 microsecond', t = '01:00:00.000001'")
    frame = lib.read("t", output_format="pandas").data
    assert frame.values.tolist() == [[pd.Timedelta(timedelta(days=1, microseconds=1)), time(1, 0, 0, 1)]]


def test_a_form_that_there_is_none_of_is_refused():
    """Not taken for Arrow."""
    with pytest.raises(InvalidInput, match="'numpy'"):
        in_format(pa.table({"i": [1]}), [None], "numpy")


def test_values_of_pandas_and_polars_keep_their_own_types(lib):
    lib.write("frame", pd.DataFrame({"n": [1]}))
    lib.write("polars", pl.DataFrame({"n": [1]}))
    for symbol in ("frame", "polars"):
        for statement in ("ADD COLUMN j JSON", "ALTER n TYPE ENUM('1')"):
            with pytest.raises(SqlError, match="which 'lib/.*', a value of kind .*, cannot keep: cast it to another"):
                lib.sql(f"ALTER TABLE {symbol} {statement}")
        lib.sql(f"ALTER TABLE {symbol} ALTER n TYPE HUGEINT")
        assert lib.sql(f"FROM {symbol}").types == ["DECIMAL(38,0)"]


@pytest.mark.parametrize("kind", ["VARIANT", "STRUCT(a VARIANT[])"])
def test_a_type_that_nothing_stored_would_keep_is_refused(lib, kind):
    for statement in (f"CREATE TABLE odd AS SELECT CAST(NULL AS {kind}) AS x", f"CREATE TABLE odd (x {kind})"):
        with pytest.raises(SqlError, match="column 'x' has the type .* cast it to another"):
            lib.sql(statement)
    assert not lib.has_symbol("odd")


@pytest.mark.parametrize(
    "text",
    ["INTEGER); DROP TABLE t --", "ENUM('a'", "VARIANT", "no such", "", "ENUM('a')" + "[]" * 200, "STRUCT(a INTEGER)x"],
)
def test_a_hostile_name_of_a_type_never_becomes_sql(lib, text):
    lib.sql("CREATE TABLE t AS SELECT UUID '00000000-0000-0000-0000-000000000000' AS u")
    opened = lib.open_library
    key = opened.layout.version("t", 0)
    body = opened.objects.read(key).replace(b'"duckdb":"UUID"', b'"duckdb":' + json.dumps(text).encode())
    opened.objects.delete([key])
    opened.objects.create(key, body)
    fresh = vs.open(lib.open_library.objects.url)["lib"]
    for attempt in (
        lambda: fresh.sql("FROM t").fetchall(),
        lambda: fresh.read("t"),
        lambda: fresh.sql("INSERT INTO t VALUES (NULL)"),
        lambda: fresh.read("t", where="u IS NULL"),
    ):
        with pytest.raises(Integrity, match="column 'u' of a version has"):
            attempt()
    fresh.session.close()


def described(lib, kind: str, values: list[str]) -> str:
    """Return the line of docs/types.md for a type."""
    lib.sql("SET TimeZone = 'UTC'")
    lib.sql(f"CREATE OR REPLACE TABLE described AS SELECT x FROM ({every_type.rows(kind, values)}) LIMIT 1")
    version = lib.open_library.version("described", lib["described"].version)
    frame = lib.read("described", output_format="pandas").data
    first = frame["x"].iloc[0]
    dtype = "category" if isinstance(frame["x"].dtype, pd.CategoricalDtype) else str(frame["x"].dtype)
    shown = f"object of {type(first).__name__}" if dtype == "object" else dtype
    polars = str(lib.read("described", output_format="polars").data.dtypes[0]).partition("(cat")[0]
    cells = [
        kind,
        version.schema.columns[0].type,
        type(lib.sql("FROM described").fetchall()[0][0]).__name__,
        shown,
        polars,
        str(lib.read("described").data.schema.field(0).type),
    ]
    return "| " + " | ".join(f"`{cell}`" for cell in cells) + " |"


#: one plain value of each type that pandas has a form of
PLAIN = {
    **{kind: values[:1] for kind, values in every_type.VALUES.items()},
    "DATE": ["'2024-02-29'"],
    "TIME_NS": ["'12:34:56'"],
    "TIMESTAMP_S": ["'2024-02-29 12:00:01'"],
    "INTERVAL": ["'3 days 04:05:06'"],
    "HUGEINT[]": ["[1]"],
    f"STRUCT(e {PETS}, u UUID)": [f"{{'e': 'cat', 'u': '{U}0'}}"],
    "MAP(UUID, JSON)": [f"MAP {{'{U}0': '1'}}"],
    "UNION(n INTEGER, t TIME_NS)": ["union_value(n := 1)"],
    "INTERVAL[]": ["[INTERVAL 1 MONTH]"],
}


@pytest.mark.parametrize("kind", PLAIN)
def test_the_page_says_what_becomes_of_each_type(shared, kind):
    """In ``fetchall``, pandas, polars and Arrow."""
    assert described(shared, kind, [every_type.cast(value, kind) for value in PLAIN[kind]]) in PAGE.read_text()
