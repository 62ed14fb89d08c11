"""ALTER TABLE of symbols: what DuckDB does to a table, as new versions that store no row again where they need not."""

from __future__ import annotations

import random
from datetime import date, timedelta

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from pandas.testing import assert_frame_equal

import duckvstore as vs
from duckvstore.errors import AlreadyExists, Conflict, DuckVStoreError, InvalidInput, NoSuchSymbol, SqlError
from tests.sizes import sized

PROGRAMS = sized(24, full=400)
TYPES = ("INTEGER", "BIGINT", "DOUBLE", "VARCHAR", "DATE", "DECIMAL(12,2)", "INTEGER[]", "BOOLEAN", "TINYINT")
VALUES = {
    "INTEGER": ("1", "-7", "NULL"),
    "BIGINT": ("4611686018427387904", "0", "NULL"),
    "DOUBLE": ("1.5", "'nan'", "NULL", "-0.0"),
    "VARCHAR": ("'x'", "''", "NULL", "'12'"),
    "DATE": ("DATE '2026-01-01'", "NULL"),
    "DECIMAL(12,2)": ("1.25", "NULL"),
    "INTEGER[]": ("[1, NULL]", "[]", "NULL"),
    "BOOLEAN": ("true", "false", "NULL"),
    "TINYINT": ("3", "NULL"),
}


@pytest.fixture
def lib(tmp_path):
    library = vs.open(str(tmp_path / "store")).create_library("eod")
    yield library
    library.session.close()


def both(lib, duck, statement):
    """Run a statement here and in DuckDB; return whether both took it. What loses something only we refuse."""
    taken = []
    for run in (lib.sql, duck.execute):
        try:
            run(statement)
            taken.append(True)
        except (DuckVStoreError, duckdb.Error) as error:
            taken.append(False)
            if "where that is meant" in str(error):
                return False
    assert taken[0] == taken[1], statement
    return taken[0]


def state(run, table="t"):
    """Return the columns, their types and the rows of a table."""
    described = [row[:2] for row in run(f"DESCRIBE {table}").fetchall()]
    return described, sorted(map(repr, run(f"FROM {table}").fetchall()))


def step(chance, columns):
    """Return a statement that changes rows or columns of ``t``; ``columns`` maps names to types, in order."""
    name = chance.choice(list(columns))
    new = chance.choice("abcdefgh")
    kind = chance.choice(TYPES)
    return chance.choice(
        [
            f"ALTER TABLE t ADD COLUMN {new} {kind}",
            f"ALTER TABLE t ADD COLUMN IF NOT EXISTS {new} {kind}",
            f"ALTER TABLE t DROP COLUMN {name}",
            f"ALTER TABLE t DROP {new}",
            f"ALTER TABLE t RENAME COLUMN {name} TO {new}",
            f"ALTER TABLE t RENAME {name} TO {new.upper()}",
            f"ALTER TABLE t ALTER {name} TYPE {kind}",
            f"ALTER TABLE t ALTER COLUMN {name} SET DATA TYPE VARCHAR",
            f"ALTER TABLE t ALTER {name} TYPE BIGINT USING TRY_CAST({name}::VARCHAR AS BIGINT)",
            *(
                "INSERT INTO t VALUES (" + ", ".join(chance.choice(VALUES[kind]) for kind in columns.values()) + ")"
                for _ in range(4)
            ),
            f"UPDATE t SET {name} = {chance.choice(VALUES[columns[name]])} WHERE {name} IS NULL",
            f"DELETE FROM t WHERE {name} = {chance.choice(VALUES[columns[name]])}",
        ]
    )


def in_both(lib, duck, word):
    """Begin or end a transaction. DuckDB itself cannot commit one that altered a table after changing its rows."""
    try:
        duck.execute(word)
    except duckdb.TransactionException:
        word = "ROLLBACK"
    lib.sql(word)


@pytest.mark.parametrize("seed", range(PROGRAMS))
def test_random_programs_do_what_they_do_to_a_table(tmp_path, seed):
    """Also within transactions; every version that was made stays as it was when it was the newest."""
    chance = random.Random(seed)
    lib, duck = vs.open(str(tmp_path / "s")).create_library("eod"), duckdb.connect()
    made = "CREATE TABLE t AS SELECT i::INTEGER AS a, 'r' || i AS b, i * 1.5::DOUBLE AS c FROM range(6) r(i)"
    both(lib, duck, made)
    seen, is_open = {}, False
    for _ in range(12):
        columns = dict(state(duck.sql)[0])
        if any(kind not in VALUES for kind in columns.values()):
            break
        if not is_open:
            seen[lib.sql("SELECT max(version) FROM vstore.versions").fetchone()[0]] = state(duck.sql)
        if chance.random() < 0.2:
            word = chance.choice(["COMMIT", "ROLLBACK"]) if is_open else "BEGIN"
            in_both(lib, duck, word)
            is_open = not is_open
            continue
        if not both(lib, duck, step(chance, columns)) and is_open:
            duck.execute("ROLLBACK")  # an error ends DuckDB's transaction
            lib.sql("ROLLBACK")
            is_open = False
        assert state(lib.sql) == state(duck.sql)
    if is_open:
        in_both(lib, duck, "COMMIT")
    assert state(lib.sql) == state(duck.sql)
    for number, expected in seen.items():
        assert state(lib.sql, f"t AT VERSION {number}") == expected
    lib.gc(grace=timedelta(0), dry_run=False)
    assert state(lib.sql) == state(duck.sql)
    assert lib.verify().ok


def test_columns_that_come_go_widen_or_change_their_names_store_no_rows(lib):
    """Only what is cast is written again."""
    lib.sql("CREATE TABLE t AS SELECT i::INTEGER AS a, i AS b FROM range(1000) r(i)")
    for statement in (
        "ALTER TABLE t ADD COLUMN c VARCHAR",
        "ALTER TABLE t RENAME b TO bee",
        "ALTER TABLE t ALTER a TYPE BIGINT",
        "ALTER TABLE t ALTER a TYPE BIGINT",
        "ALTER TABLE t DROP COLUMN bee",
        "ALTER TABLE t RENAME TO u",
    ):
        lib.sql(statement)
    made = lib.sql("SELECT operation, new_rows FROM vstore.versions ORDER BY symbol, version").fetchall()
    assert made == [("write", 1000), *[("alter", 0)] * 4, ("delete", 0), ("rename", 0)]
    assert lib.sql("SELECT sum(a), count(c) FROM u").fetchall() == [(499500, 0)]
    lib.sql("ALTER TABLE u ALTER a TYPE VARCHAR")
    assert lib.sql("SELECT max(new_rows) FROM vstore.versions WHERE symbol = 'u'").fetchall() == [(1000,)]


def test_a_dropped_column_never_comes_back_by_its_name(lib):
    """Nor does one that takes the place of another: a field id is given once."""
    lib.sql("CREATE TABLE t AS SELECT i AS a, i + 10 AS b FROM range(3) r(i)")
    lib.sql("ALTER TABLE t DROP b; ALTER TABLE t ADD b BIGINT")
    assert lib.sql("SELECT a, b FROM t").fetchall() == [(0, None), (1, None), (2, None)]
    assert lib.sql("SELECT count(*) FROM t WHERE b = 11").fetchall() == [(0,)]
    lib.append("t", pa.table({"a": [5], "b": [50], "c": [500]}))
    lib.sql("ALTER TABLE t DROP c; ALTER TABLE t ADD d BIGINT")
    assert lib.sql("FROM t").fetchall()[-1] == (5, 50, None)
    lib.sql("ALTER TABLE t RENAME a TO x; ALTER TABLE t RENAME b TO a; ALTER TABLE t RENAME x TO b")
    assert lib.read("t", columns=["a"], output_format="pyarrow").data["a"].to_pylist() == [None, None, None, 50]
    assert lib.read("t", where="b = 5", output_format="pyarrow").data["a"].to_pylist() == [50]


def test_a_diff_over_altered_columns_compares_values(lib):
    """Versions that share their segments differ all the same."""
    lib.sql("CREATE TABLE t AS SELECT i AS a, i * 2 AS d FROM range(3) r(i)")
    lib.sql("ALTER TABLE t DROP d; ALTER TABLE t ADD d BIGINT; ALTER TABLE t ADD e INTEGER")
    changes = "SELECT change, a, d FROM vstore.diff('t', 0, 2, key := ['a']) ORDER BY a, change DESC"
    expected = [
        (change, a, d) for a in range(3) for change, d in (("update_preimage", 2 * a), ("update_postimage", None))
    ]
    assert lib.sql(changes).fetchall() == expected
    assert lib.sql("FROM vstore.diff('t', 2, 3)").fetchall() == [], "a column that nobody has filled changes no row"
    assert lib.sql("SELECT count(*) FROM vstore.diff('t', 0, 1)").fetchall() == [(6,)]


def test_a_frame_of_pandas_stays_one(lib):
    """Labels, dtypes, index and attrs."""
    index = pd.date_range("2026-01-01", periods=3, name="day")
    frame = pd.DataFrame({"p": [1, 2, 3], "q": ["a", "b", None], 5: [1.5, 2.5, 3.5]}, index=index)
    frame.attrs = {"source": "x"}
    lib.write("f", frame)
    lib.sql('ALTER TABLE f RENAME q TO name; ALTER TABLE f DROP "5"; ALTER TABLE f ADD COLUMN since DATE')
    lib.sql("ALTER TABLE f RENAME day TO time; ALTER TABLE f ADD n BIGINT; ALTER TABLE f ADD z VARCHAR")
    expected = frame.drop(columns=5).rename(columns={"q": "name"}).rename_axis(index="time")
    found = lib.read("f").data
    assert_frame_equal(found[["p", "name"]], expected, check_freq=False)
    assert found.attrs == frame.attrs
    assert list(found.columns) == ["p", "name", "since", "n", "z"]
    assert found[["since", "n", "z"]].isna().to_numpy().all()
    assert found["n"].dtype == "Int64"
    lib.sql("UPDATE f SET since = DATE '2026-02-03', n = 7 WHERE p = 2")
    assert lib.read("f").data["since"].tolist()[1] == date(2026, 2, 3)
    more = pd.DataFrame({"p": [4], "name": ["c"]}, index=pd.date_range("2026-01-04", periods=1, name="time"))
    lib.append("f", more)
    assert lib.read("f", date_range=("2026-01-02", None)).data["p"].tolist() == [2, 3, 4]
    with pytest.raises(InvalidInput, match="level of its index"):
        lib.sql("ALTER TABLE f DROP COLUMN time")
    with pytest.raises(SqlError, match="level of the index"):
        lib.sql("ALTER TABLE f ALTER time TYPE DATE")
    assert_frame_equal(lib.read("f", as_of=0).data, frame)


def test_polars_frames_and_series(lib):
    """A series keeps its one column."""
    lib.write("f", pl.DataFrame({"a": [1, 2], "b": ["x", None]}))
    lib.sql("ALTER TABLE f ADD c DATE; ALTER TABLE f RENAME b TO bee; ALTER TABLE f ALTER a TYPE VARCHAR")
    expected = pl.DataFrame({"a": ["1", "2"], "bee": ["x", None]}).with_columns(c=pl.lit(None, pl.Date))
    assert lib.read("f").data.equals(expected)
    assert lib.read("f").data.schema == expected.schema
    lib.write("s", pd.Series([1, 2], name="n"))
    lib.sql("ALTER TABLE s RENAME n TO m")
    assert lib.read("s").data.name == "m"
    for statement in ("ALTER TABLE s ADD c INTEGER", "ALTER TABLE s DROP m"):
        with pytest.raises(InvalidInput, match="is a series"):
            lib.sql(statement)
    lib.write("j", {"a": 1})
    with pytest.raises(InvalidInput, match="kind 'json'"):
        lib.sql("ALTER TABLE j ADD c INTEGER")


def test_a_type_that_would_change_values_is_refused_by_naming_one(lib):
    """USING says that it is meant."""
    lib.sql("CREATE TABLE t AS SELECT 1.5::DOUBLE AS a, '7.9' AS s")
    with pytest.raises(SqlError, match=r"has the value '1.5', which as INTEGER would be '2'"):
        lib.sql("ALTER TABLE t ALTER a TYPE INTEGER")
    with pytest.raises(SqlError, match=r"has the value '7.9', which as INTEGER would be '8'"):
        lib.sql("ALTER TABLE t ALTER s TYPE INTEGER")
    lib.sql("ALTER TABLE t ALTER s TYPE DATE USING DATE '2026-01-01' + a::INTEGER")
    lib.sql("ALTER TABLE t ALTER a TYPE INTEGER USING floor(a)")
    assert lib.sql("FROM t").fetchall() == [(1, date(2026, 1, 3))]


def test_null_of_a_union_is_null_of_any_type(lib):
    """Cast to text and back it would be a member without a value: nothing is lost where there was none."""
    lib.sql("CREATE TABLE t AS SELECT NULL::UNION(n INTEGER, s VARCHAR) AS u")
    lib.sql("ALTER TABLE t ALTER u TYPE VARCHAR")
    assert lib.sql("SELECT u, typeof(u) FROM t").fetchall() == [(None, "VARCHAR")]


def test_rename_to_takes_the_newest_version_and_keeps_history(lib):
    """Both symbols change at once; segments stay where they are, and a collection knows it."""
    lib.sql("CREATE TABLE t AS SELECT range AS a FROM range(10); INSERT INTO t VALUES (99)")
    lib.write_metadata("t", {"source": "x"})
    lib.snapshot("before")
    lib.sql("ALTER TABLE t RENAME TO u")
    assert lib.list_symbols() == ["u"]
    assert lib.read_metadata("u").metadata == {"source": "x"}
    assert lib.sql("SELECT count(*) FROM u").fetchall() == [(11,)]
    assert lib.sql("SELECT count(*) FROM t AT SNAPSHOT 'before'").fetchall() == [(11,)]
    with pytest.raises(NoSuchSymbol):
        lib.sql("FROM t")
    lib.delete_snapshot("before")
    lib.sql("CREATE TABLE t AS SELECT 1 AS other")
    lib.prune("t", keep_last=1)
    lib.gc(grace=timedelta(0), dry_run=False)
    assert lib.sql("SELECT count(*) FROM u").fetchall() == [(11,)]
    assert lib.verify().ok
    with pytest.raises(AlreadyExists, match="has a symbol 't' already"):
        lib.sql("ALTER TABLE u RENAME TO t")
    lib.sql("BEGIN; ALTER TABLE u RENAME TO v; INSERT INTO v VALUES (5); ROLLBACK")
    assert lib.sql("SELECT count(*) FROM u").fetchall() == [(11,)]
    lib.sql("BEGIN; ALTER TABLE u RENAME TO v; INSERT INTO v VALUES (5); COMMIT")
    assert lib.sql("SELECT count(*) FROM v").fetchall() == [(12,)]
    assert lib.list_symbols() == ["t", "v"]


def test_rename_to_meets_another_writer(lib):
    """What was written meanwhile is not lost."""
    lib.sql("CREATE TABLE t AS SELECT 1 AS a")
    lib.sql("BEGIN; ALTER TABLE t RENAME TO u")
    lib.append("t", pa.table({"a": pa.array([2], pa.int32())}))
    with pytest.raises(Conflict):
        lib.sql("COMMIT")
    assert lib.list_symbols() == ["t"]
    assert lib.sql("FROM t").fetchall() == [(1,), (2,)]


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("ALTER TABLE t ADD COLUMN A INTEGER", "'A' is there already"),
        ("ALTER TABLE t RENAME b TO a", "'a' is there already"),
        ("ALTER TABLE t DROP nope", "no column 'nope'"),
        ("ALTER TABLE t RENAME ab TO c", "no column 'ab'"),
        ("ALTER TABLE t ADD COLUMN c INTEGER DEFAULT 5", "keeps no constraints, defaults"),
        ("ALTER TABLE t ADD COLUMN c INTEGER NOT NULL", "keeps no constraints"),
        ("ALTER TABLE t ADD PRIMARY KEY (a)", "keeps no constraints"),
        ("ALTER TABLE t ADD CONSTRAINT positive CHECK (a > 0)", "keeps no constraints"),
        ("ALTER TABLE IF EXISTS main.t ADD COLUMN a.c DATE", "a.c is a field inside a column, which a symbol keeps"),
        ("ALTER TABLE t ALTER a SET DEFAULT 5", "keeps no constraints, defaults or keys"),
        ("ALTER TABLE t ALTER a SET NOT NULL", "keeps no constraints, defaults or keys"),
        ("ALTER TABLE t ADD COLUMN c NOSUCHTYPE", "NOSUCHTYPE"),
        ("ALTER TABLE t DROP COLUMN a CASCADE; ALTER TABLE t DROP b", "is the only one"),
        ("ALTER TABLE t RENAME TO t", "its name already"),
        ("ALTER TABLE nope ADD COLUMN c INTEGER", "nope"),
        ("ALTER TABLE t AT VERSION 0 ADD COLUMN c INTEGER", "past version cannot be changed"),
        ("ALTER TABLE snap.t ADD COLUMN c INTEGER", "snapshot never changes"),
    ],
)
def test_refusals_name_the_place_and_change_nothing(lib, statement, message):
    """As DuckDB refuses it, or because a symbol keeps no such thing."""
    lib.sql("CREATE TABLE t AS SELECT 1 AS a, 2 AS b; CREATE SNAPSHOT snap")
    *_, last = statement.split("; ")
    for before in statement.split("; ")[:-1]:
        lib.sql(before)
    count = len(lib.list_versions())
    with pytest.raises(DuckVStoreError, match=message) as caught:
        lib.sql(last)
    assert "__vstore" not in str(caught.value)
    assert len(lib.list_versions()) == count


def test_types_that_only_duckdb_knows(lib):
    """The parser of ours reads no INTEGER ARRAY[2]."""
    lib.sql("CREATE TABLE t AS SELECT 1 AS a, [5, 6] AS b")
    lib.sql("ALTER TABLE t ALTER b TYPE INTEGER ARRAY[2]")
    lib.sql('ALTER TABLE IF EXISTS main."t" ADD COLUMN c INTEGER ARRAY[2]')
    assert [row[1] for row in lib.sql("DESCRIBE t").fetchall()] == ["INTEGER", "INTEGER[2]", "INTEGER[2]"]
    assert lib.sql("FROM t").fetchall() == [(1, (5, 6), None)]
    lib.sql("ALTER TABLE IF EXISTS nothing ADD COLUMN c INTEGER ARRAY[2]")


def test_other_tables_are_duckdbs_own_affair(lib):
    """Temporary tables, views, and what is not there."""
    lib.sql("CREATE TEMP TABLE own AS SELECT 1 AS a; ALTER TABLE own ADD COLUMN b INTEGER DEFAULT 4")
    assert lib.sql("FROM own").fetchall() == [(1, 4)]
    lib.sql("ALTER TABLE IF EXISTS nope ADD COLUMN b INTEGER; ALTER TABLE IF EXISTS own RENAME a TO x")
    assert lib.sql("SELECT x FROM own").fetchall() == [(1,)]
    assert not lib.list_versions()
    lib.sql("CREATE TABLE t AS SELECT 1 AS a")
    with pytest.raises(SqlError, match="read-only"):
        lib.connect(read_only=True).execute("ALTER TABLE t ADD COLUMN b INTEGER")


def test_labels_that_are_no_text_stay_what_they_are(lib):
    """None is not text that is missing, and a number stays a number, beside names that SQL gives."""
    lib.write("t", pd.DataFrame([[1, 2, 3]], columns=pd.Index([None, 7, "a"], dtype=object)))
    lib.sql("ALTER TABLE t RENAME a TO b")
    lib.sql("ALTER TABLE t ADD COLUMN z INTEGER")
    assert list(lib.read("t").data.columns) == [None, 7, "b", "z"]
    lib.sql('ALTER TABLE t DROP COLUMN "7"')
    assert list(lib.read("t").data.columns) == [None, "b", "z"]
    assert list(lib.read("t", columns=[None]).data.columns) == [None]
    lib.write("times", pd.DataFrame([[1, 2]], columns=pd.date_range("2026-01-01", periods=2)))
    name = lib.sql("FROM times").columns[0]
    lib.sql(f'ALTER TABLE times DROP COLUMN "{name}"')
    assert isinstance(lib.read("times").data.columns, pd.DatetimeIndex)
