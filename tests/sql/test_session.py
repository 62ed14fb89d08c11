"""What names mean, which statements run, and how a session behaves over time and threads."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import duckvstore as vs
from duckvstore.errors import InvalidInput, NoSuchLibrary, NoSuchSnapshot, NoSuchSymbol, NoSuchVersion, SqlError
from duckvstore.objects.memory import MemoryObjects
from duckvstore.sql.execution.running import Running
from duckvstore.sql.planning.segment_copies import SegmentFiles
from duckvstore.sql.pruning import segment_choice
from duckvstore.sql.syntax import parser
from tests.counting import CountingObjects
from tests.cuts import cut_every

TRADES = pd.DataFrame({"n": [1, 2, 3], "price": [10.0, 20.0, 30.0], "sym": ["a", "b", "c"]})


@pytest.fixture
def store(tmp_path):
    return vs.open(tmp_path / "store")


@pytest.fixture
def lib(store):
    """A library where trades has versions 0, 1 (doubled) and 2 (one row); snapshot ``eod`` holds version 1."""
    library = store.create_library("lib")
    library.write("trades", TRADES)
    library.write("trades", TRADES.assign(price=TRADES["price"] * 2))
    library.snapshot("eod")
    library.write("trades", TRADES.head(1))
    yield library
    library.session.close()


def rows(result):
    return result.fetchall()


def test_a_cte_hides_a_symbol_and_a_temp_table_does_too(lib):
    assert rows(lib.sql("WITH trades AS (SELECT 7) FROM trades")) == [(7,)]
    lib.sql("CREATE TEMP TABLE trades AS SELECT 'mine' AS x")
    assert rows(lib.sql("FROM trades")) == [("mine",)]
    assert rows(lib.sql("SELECT count(*) FROM trades AT VERSION 0")) == [(3,)], "AT always means a symbol"
    lib.sql("INSERT INTO trades VALUES ('more'); DROP TABLE trades")
    assert rows(lib.sql("SELECT n FROM trades")) == [(1,)]


def test_a_temp_table_may_have_the_name_of_a_deleted_symbol(lib):
    lib.write("gone", TRADES)
    lib.delete("gone")
    lib.sql("CREATE TEMP TABLE gone AS SELECT 'mine' AS x")
    assert rows(lib.sql("FROM gone")) == [("mine",)]
    lib.sql("DROP TABLE gone")


def test_a_symbol_hides_a_dataframe_of_the_same_name(lib):
    trades = pd.DataFrame({"x": [1]})  # noqa: F841
    fills = pd.DataFrame({"n": [1, 9]})  # noqa: F841
    assert lib.sql("FROM trades").columns == ["n", "price", "sym"]
    assert rows(lib.sql("SELECT f.n FROM fills f ANTI JOIN trades t USING (n)")) == [(9,)]


def test_symbols_match_without_regard_to_case_when_only_one_does(lib):
    assert rows(lib.sql("SELECT n FROM tRADES")) == [(1,)]
    lib.write("Trades", pd.DataFrame({"n": [99]}))
    assert rows(lib.sql('SELECT n FROM "Trades"')) == [(99,)]
    assert rows(lib.sql("SELECT n FROM trades")) == [(1,)]
    with pytest.raises(SqlError, match=r"'tRADES' matches the symbols 'Trades', 'trades'"):
        lib.sql("SELECT n FROM tRADES")


def test_a_dataframe_of_just_that_name_hides_a_symbol_of_another_case(lib):
    """To look for such a symbol would take a listing of all of them, at every statement over a dataframe."""
    Trades = pd.DataFrame({"n": [7]})  # noqa: F841
    assert rows(lib.sql("FROM Trades")) == [(7,)]
    assert rows(lib.sql("SELECT n FROM trades")) == [(1,)]
    assert rows(lib.sql("SELECT n FROM Trades AT VERSION -1")) == [(1,)], "AT always means a symbol"


def test_a_table_in_a_library_that_is_not_there_says_how_to_make_that(store):
    with pytest.raises(SqlError, match=r"no library 'eod' either: store.create_library\('eod'\)"):
        store.sql("CREATE TABLE eod.trades AS SELECT 1 AS n")


def test_a_dataframe_costs_one_look_however_many_symbols_there_are():
    """Whether there is a symbol of its name; more is asked only about a name that is neither."""
    library = vs.Store(objects := CountingObjects(MemoryObjects("frames"))).create_library("lib")
    library.write("s7", TRADES)
    for number in range(1200):  # of which listings take the names alone
        objects.put(library.open_library.layout.version(f"t{number}", 0), b"")
    mine = TRADES.head(1)  # noqa: F841
    for sql, listings in (("FROM mine", 1), ("SELECT count(*) FROM mine JOIN mine other USING (n)", 1)):
        objects.reset()
        assert len(rows(library.sql(sql))) == 1
        assert objects.counts == {"list": listings}, sql
    objects.reset()
    assert rows(library.sql("SELECT count(*) FROM S7")) == [(3,)]
    assert objects.counts["list"] > 2, "the symbols were listed, in pages"
    library.session.close()


def frames():
    import polars as pl

    class Streams:
        def __arrow_c_stream__(self, requested_schema=None):
            return pa.table({"n": [1, 5]}).__arrow_c_stream__(requested_schema)

    table = pa.table({"n": [1, 5]})
    return {
        "pandas": table.to_pandas(),
        "polars": pl.DataFrame({"n": [1, 5]}),
        "lazy": pl.LazyFrame({"n": [1, 5]}),
        "arrow": table,
        "batch": table.to_batches()[0],
        "stream": Streams(),
        "relation": duckdb.connect().sql("SELECT * FROM (VALUES (1::BIGINT), (5)) t(n)"),
    }


@pytest.mark.parametrize("kind", frames())
def test_any_kind_of_dataframe_in_scope_can_be_named_even_twice(lib, kind):
    mine = frames()[kind]  # noqa: F841
    assert rows(lib.sql("SELECT m.n FROM mine m JOIN mine k USING (n) JOIN trades t USING (n)")) == [(1,)]
    assert rows(lib.sql("SELECT sum(n) FROM mine")) == [(6,)]


def test_a_reader_and_a_result_can_be_named(lib):
    reader = pa.table({"n": [1, 5]}).to_reader()  # noqa: F841
    result = lib.sql("SELECT n + 1 AS n FROM trades AT VERSION 0")  # noqa: F841
    assert rows(lib.sql("SELECT sum(n) FROM reader")) == [(6,)]
    assert rows(lib.sql("SELECT sum(n) FROM result")) == [(9,)]


@pytest.mark.parametrize("name", ["statement", "plan", "relation", "text", "watch", "scope", "cursor"])
def test_variables_of_the_session_itself_are_not_seen(lib, name):
    with pytest.raises(SqlError, match=f"Table with name {name} does not exist"):
        lib.sql(f"SELECT * FROM {name}")


def test_what_is_no_dataframe_is_not_a_table(lib):
    number, series, kind = 3, pd.Series([1]), pd.DataFrame  # noqa: F841
    for name in ("number", "series", "kind"):
        with pytest.raises(SqlError, match="does not exist"):
            lib.sql(f"FROM {name}")


def test_deleted_and_unknown_things_are_named(lib):
    lib.write("gone", TRADES)
    lib.delete("gone")
    cases = {
        "FROM gone": (NoSuchSymbol, "was deleted"),
        "FROM trads": (SqlError, "Names in the store: 'trades'"),
        "FROM trads AT VERSION 0": (NoSuchSymbol, "Did you mean 'trades'"),
        "FROM trades AT VERSION 9": (NoSuchVersion, "no version 9; its newest is 2"),
        "FROM trades AT TIMESTAMP '2001-01-01'": (NoSuchVersion, "had no version at 2001"),
        "FROM trades AT SNAPSHOT 'eoy'": (NoSuchSnapshot, "Did you mean 'eod'"),
        "FROM eod.gone": (NoSuchVersion, "does not hold 'gone'"),
        "FROM eoy.trades AT VERSION 1": (NoSuchSnapshot, "no snapshot 'eoy'"),
        "FROM eod.trades AT VERSION 1": (SqlError, "is a snapshot already"),
        "FROM memory.main.trades": (SqlError, "DESCRIBE trades, FROM trades"),
        "FROM eoy.trades": (SqlError, "Names in the store: 'eod'"),
        "FROM vstore.version": (SqlError, "Did you mean 'versions'"),
    }
    for sql, (kind, message) in cases.items():
        with pytest.raises(kind, match=message):
            lib.sql(sql)
    gone = pd.DataFrame({"n": [4]})  # noqa: F841
    assert rows(lib.sql("FROM gone")) == [(4,)], "a dataframe counts again once the symbol is deleted"


def test_a_time_selects_the_version_that_was_newest_then(lib):
    created = [
        version.date for _, version in sorted(lib.list_versions("trades").items(), key=lambda item: item[1].date)
    ]
    halfway = created[1] + (created[2] - created[1]) / 2
    sql = "SELECT price FROM trades AT TIMESTAMP $t WHERE n = 1"
    for moment in (
        created[1],
        halfway,
        halfway.astimezone(UTC).replace(tzinfo=None),
        halfway.isoformat(),
        halfway.replace(tzinfo=None).isoformat(sep=" "),
        pd.Timestamp(halfway),
        halfway.astimezone(datetime.now().astimezone().tzinfo),
    ):
        assert rows(lib.sql(sql, {"t": moment})) == [(20.0,)], moment
    assert rows(lib.sql(sql, {"t": created[1] - timedelta(microseconds=1)})) == [(10.0,)]
    lib.sql("SET TimeZone = 'America/New_York'")
    text = halfway.replace(tzinfo=None).isoformat(sep=" ")
    assert rows(lib.sql(f"SELECT price FROM trades AT TIMESTAMP (TIMESTAMP '{text}') WHERE n = 1")) == [(20.0,)]


def test_a_store_session_names_libraries(store, lib):
    other = store.create_library("ref")
    other.write("names", pd.DataFrame({"sym": ["a"], "name": ["Ann"]}))
    joined = "SELECT name, price FROM lib.eod.trades t JOIN ref.names USING (sym)"
    assert rows(store.sql(joined)) == [("Ann", 20.0)]
    assert rows(store.sql("SELECT lib.trades.price FROM lib.trades AT VERSION 0 WHERE n = 1")) == [(10.0,)]
    listed = store.sql("SELECT library, symbol, version FROM vstore.symbols ORDER BY ALL")
    assert rows(listed) == [("lib", "trades", 2), ("ref", "names", 0)]
    assert rows(store.sql("SELECT symbol FROM ref.vstore.symbols")) == [("names",)]
    with pytest.raises(NoSuchLibrary, match="Did you mean 'ref'"):
        store.sql("FROM reg.names AT VERSION 0")
    with pytest.raises(SqlError, match=r"Write library\.trades"):
        store.sql("FROM trades AT VERSION 0")
    with pytest.raises(SqlError, match=r"Names in the store: 'lib\.trades'"):
        store.sql("FROM trades")
    store.session.close()


def test_catalogue_tables_are_typed_and_empty_in_an_empty_library(store):
    library = store.create_library("empty")
    for table in ("symbols", "versions", "segments", "columns", "snapshots"):
        result = library.sql(f"FROM vstore.{table}")
        assert rows(result) == []
        assert "BIGINT" in result.types
        assert store.sql(f"FROM vstore.{table}").columns == ["library", *result.columns]
    store.session.close()
    library.session.close()


@pytest.mark.parametrize(
    ("sql", "given", "kind", "message"),
    [
        ("SELECT $a", None, SqlError, r"no value was given for \$a"),
        ("SELECT $a", {"b": 1}, SqlError, r"no value was given for \$a"),
        ("SELECT $a", {"a": 1, "b": 1}, InvalidInput, r"no parameter \$b \(it has \$a\)"),
        ("SELECT ?, ?", [1], SqlError, "no value was given for parameter 2"),
        ("SELECT ?", [1, 2], InvalidInput, "2 values were given for 1 parameters"),
        ("SELECT 1", [1], InvalidInput, "1 values were given for 0 parameters"),
        ("SELECT $a", "x", InvalidInput, "parameters are a str"),
        ("SELECT ?", {"a": 1}, SqlError, "no value was given for parameter 1"),
        ("FROM trades AT VERSION $v", {"v": "3"}, SqlError, "takes a whole number, not '3'"),
        ("FROM trades AT VERSION $v", {"v": True}, SqlError, "takes a whole number, not True"),
        ("FROM trades AT SNAPSHOT $v", {"v": 3}, SqlError, "takes the name of a snapshot, not 3"),
        ("FROM trades AT TIMESTAMP $v", {"v": "soon"}, SqlError, "'soon' is none"),
        ("FROM trades AT TIMESTAMP (1 + 1)", None, SqlError, "takes a time"),
    ],
)
def test_wrong_parameters_are_refused(lib, sql, given, kind, message):
    with pytest.raises(kind, match=message):
        lib.sql(sql, given)


def test_parameters_reach_the_right_statement_and_the_right_place(lib):
    made = "CREATE TEMP TABLE kept AS SELECT * FROM trades AT VERSION ? WHERE n >= ?"
    sql = f"{made}; SELECT ?, count(*) FROM kept WHERE n < ?"
    assert rows(lib.sql(sql, [1, 2, "label", 3])) == [("label", 1)]
    by_name = "CREATE OR REPLACE TEMP TABLE kept AS FROM trades AT SNAPSHOT $s; SELECT $x, count(*) FROM kept"
    assert rows(lib.sql(by_name, {"s": "eod", "x": 5})) == [(5, 3)]
    assert rows(lib.sql("PREPARE twice AS SELECT 2 * $1; EXECUTE twice(21)")) == [(42,)]
    assert rows(lib.sql("PREPARE thrice AS SELECT 3 * ?; EXECUTE thrice(14)")) == [(42,)]


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE trades ADD COLUMN x INT DEFAULT 3",
        "COMMENT ON TABLE trades IS 'x'",
        "DROP VIEW trades",
    ],
)
def test_statements_that_would_change_symbols_are_refused_and_change_nothing(lib, sql):
    with pytest.raises(SqlError, match="symbol"):
        lib.sql(sql)
    assert len(lib.list_versions("trades")) == 3


@pytest.mark.parametrize(
    "sql",
    [
        "COMMENT ON TABLE trades IS 'x'",
        "COMMENT ON TABLE trades IS NULL",
        "COMMENT ON COLUMN trades.price IS 'x'",
        'comment on column eod."trades".price is null',
    ],
)
def test_comments_on_symbols_say_where_such_text_is_kept(lib, sql):
    with pytest.raises(
        SqlError, match=r"is a symbol, for which comments are not kept.*write_metadata\('trades'"
    ) as caught:
        lib.sql(sql)
    assert "does not exist" not in str(caught.value)
    assert len(lib.list_versions("trades")) == 3


def test_comments_on_tables_and_columns_of_the_session_are_duckdbs(lib):
    lib.sql("CREATE TEMP TABLE own (a INTEGER); COMMENT ON TABLE own IS 'whole'; COMMENT ON COLUMN own.a IS 'part'")
    found = "SELECT comment FROM duckdb_columns() WHERE table_name = 'own'"
    assert rows(lib.sql(found)) == [("part",)]
    lib.sql("COMMENT ON COLUMN own.a IS NULL")
    assert rows(lib.sql(found)) == [(None,)]


def test_statements_of_duckdb_itself_run(lib, tmp_path):
    target = tmp_path / "out.parquet"
    assert lib.sql(f"COPY (FROM trades AT VERSION 1) TO '{target}'").fetchall() in ([], [(3,)])
    assert rows(lib.sql(f"SELECT sum(price) FROM '{target}'")) == [(120.0,)]
    assert rows(lib.sql("SET threads = 1")) == []
    lib.sql("CREATE MACRO plus_one(x) AS x + 1; CREATE TEMP VIEW small AS SELECT 5 AS n")
    assert rows(lib.sql("SELECT plus_one(t.n), s.n FROM trades t, small s")) == [(2, 5)]
    assert rows(lib.sql("")) == rows(lib.sql(" ; -- nothing\n;")) == []
    for _ in range(2):
        views = lib.sql("SELECT view_name FROM system.main.duckdb_views() WHERE temporary AND NOT internal")
        assert rows(views) == [("small",)], "no trace of what a statement registered"


def test_an_earlier_result_stays_what_it_was(lib):
    lib.sql("CREATE TEMP TABLE t AS SELECT 1 AS x")
    first, second = lib.sql("FROM t"), lib.sql("SELECT * FROM range(300000)")
    half_read = pa.RecordBatchReader.from_stream(second)
    head = half_read.read_next_batch()
    third = lib.sql("UPDATE t SET x = 2; FROM t")
    lib.sql("DROP TABLE t")
    assert (rows(first), rows(third)) == ([(1,)], [(2,)])
    assert head.num_rows + half_read.read_all().num_rows == 300_000


def test_a_failed_result_does_not_fail_the_next_statement(lib):
    failed = lib.sql("SELECT sym::INT FROM trades")
    with pytest.raises(SqlError, match="Could not convert"):
        failed.fetchall()
    assert rows(lib.sql("SELECT 1")) == [(1,)]
    with pytest.raises(SqlError, match="Could not convert"):
        failed.df()


def test_dropped_results_leave_nothing_registered(lib):
    frame = pd.DataFrame({"x": range(10)})  # noqa: F841
    for _ in range(3):
        lib.sql("FROM frame")
    assert rows(lib.sql("SELECT count(*) FROM system.main.duckdb_views() WHERE NOT internal")) == [(0,)]


def test_many_threads_share_one_handle(lib):
    sql = "SELECT count(*), sum(price), any_value(x) FROM trades AT VERSION $v, mine"

    def ask(number):
        version = number % 3
        expected = {0: (3, 60.0), 1: (3, 120.0), 2: (1, 10.0)}[version]
        mine = pd.DataFrame({"x": [number]})  # noqa: F841
        return rows(lib.sql(sql, {"v": version})) == [(*expected, number)]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(80)))


def test_a_temp_table_belongs_to_its_thread_and_the_error_says_so(lib):
    lib.sql("CREATE TEMP TABLE mine AS SELECT 1")
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(lib.sql, "FROM mine")
        with pytest.raises(SqlError, match="belong to the thread that made them"):
            future.result()


def test_a_transaction_of_the_session_can_fail_and_go_on(lib):
    lib.sql("BEGIN")
    with pytest.raises(SqlError):
        lib.sql("SELECT error('x')").fetchall()
    with pytest.raises(SqlError, match="ROLLBACK"):
        lib.sql("FROM trades").fetchall()
    lib.sql("ROLLBACK")
    assert rows(lib.sql("SELECT n FROM trades")) == [(1,)]


def test_sql_that_only_duckdb_can_read_still_runs(lib):
    """It sees dataframes and symbols under their names."""
    frame = pd.DataFrame({"x": [3, -4]})
    sql = "SELECT abs(x::INT)!, @x FROM {}"  # factorial: sqlglot 30 does not know it
    assert parser.parse(sql.format("frame"))[0].is_outline
    assert rows(lib.sql(sql.format("frame"))) == [(6, 3), (24, 4)]
    lib.write("numbers", frame)
    assert rows(lib.sql(sql.format("numbers"))) == [(6, 3), (24, 4)]


def test_a_memory_store_is_scanned_through_verified_copies():
    library = vs.open("memory://").create_library("lib")
    library.write("trades", TRADES)
    assert rows(library.sql("SELECT sum(price) FROM trades WHERE n > 1")) == [(50.0,)]
    folder = library.session._files._folder.path
    copies = set(folder.glob("*.parquet"))
    assert len(copies) == 1
    assert rows(library.sql("SELECT sum(n) FROM trades")) == [(6,)]
    assert set(folder.glob("*.parquet")) == copies
    library.session.close()
    assert not folder.exists()


def test_copies_are_removed_oldest_first_but_never_while_leased():
    library = vs.open("memory://").create_library("lib")
    segments = []
    for number in range(3):
        library.write("s", TRADES.assign(price=float(number)))
        segments += library.open_library.version("s", number).segments
    files = SegmentFiles(size_bytes_max=max(segment.size_bytes for segment in segments) * 2)
    leases = [files.lease(library.open_library, [segment]) for segment in segments]
    assert all(Path(lease.paths[0]).exists() for lease in leases)
    for lease in leases:
        lease.release()
        lease.release()
    assert [Path(lease.paths[0]).exists() for lease in leases] == [False, True, True]
    files.close()


def test_pruning_shows_in_the_figures_and_keeps_the_answer(lib, monkeypatch):
    cut_every(monkeypatch, 100)
    lib.write("long", pd.DataFrame({"n": range(1000), "s": [f"{n:04}" for n in range(1000)]}))
    cases = {"n BETWEEN 150 AND 250": (101, 2), "s = '0999'": (1, 1), "n < 0": (0, 0), "n % 2 = 0": (500, 10)}
    for where, (row_count, read) in cases.items():
        result = lib.sql(f"SELECT count(*) FROM long WHERE {where}")
        assert (rows(result), result.figures.segments_read) == ([(row_count,)], read)
        assert result.figures.segments_total == 10
    assert rows(lib.sql("SELECT count(*) FROM long WHERE n > $n", {"n": 899})) == [(100,)]
    lib.sql("SET default_collation = 'nocase'")
    assert rows(lib.sql("SELECT count(*) FROM long WHERE s = '0999'")) == [(1,)]


def test_closed_sessions_say_so(lib):
    lib.session.close()
    with pytest.raises(vs.DuckVStoreError, match="closed"):
        lib.sql("SELECT 1")


def test_ctrl_c_stops_a_query_at_once(tmp_path):
    """A real SIGINT during a cross join ends it with KeyboardInterrupt, and the session goes on working."""
    code = f"""
        import os, signal, threading, time
        import duckvstore as vs
        library = vs.open({str(tmp_path)!r}).create_library("lib")
        result = library.sql("SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE a.range + b.range = -1")
        sent = []
        def interrupt():
            sent.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)
        threading.Timer(0.5, interrupt).start()
        try:
            result.fetchall()
        except KeyboardInterrupt:
            print(time.monotonic() - sent[0], library.sql("SELECT 42").fetchone())
    """
    output = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    seconds, _, answer = output.partition(" ")
    assert answer == "(42,)\n"
    assert float(seconds) < 2


def test_two_kinds_of_files_in_one_statement(lib, tmp_path):
    """An overwritten file of the user's own is read afresh, alone and beside segments."""
    path = tmp_path / "mine.parquet"
    for count in (3, 5, 4):
        pq.write_table(pa.table({"n": list(range(count))}), path)
        assert rows(lib.sql(f"SELECT count(*) FROM '{path}'")) == [(count,)]
        assert rows(lib.sql(f"SELECT count(*) FROM '{path}' m, trades t")) == [(count,)]
        assert rows(lib.sql("SELECT count(*) FROM trades")) == [(1,)]


@pytest.mark.parametrize(
    "text",
    [
        "SELECT  42 AS a , [1,2] -- trades AT VERSION 0",
        "select\t'trades AT VERSION 0' /* FROM trades */ , $$ FROM trades $$, E'\\'FROM trades'",
        "WITH trades AS (VALUES (1)) FROM   trades t(x)\nWHERE x  >= 1",
        "FROM range(3)  AS trades(i)",
        'SELECT "a" . b FROM (SELECT {\'b\':1} AS "a")',
        "SELECT  len('x'), 2 ** 3, today() IS NOT NULL",
    ],
)
def test_sql_without_symbols_reaches_duckdb_byte_for_byte(lib, monkeypatch, text):
    """What DuckDB is asked is the user's text, with its spaces, comments and strings."""
    asked = []
    original = Running.start

    def start(running, **options):
        asked.append(running._plan.sql.text)
        return original(running, **options)

    monkeypatch.setattr(Running, "start", start)
    assert lib.sql(text).fetchall() == duckdb.sql(text).fetchall()
    assert asked == [text]


def test_ctrl_c_inside_a_short_question_of_ours_is_not_lost(lib, monkeypatch):
    """On the main thread DuckDB turns it into an error of its own, which must not be taken for a failed question."""
    stopped = RuntimeError("Query interrupted")

    def raising(*_arguments):
        raise stopped

    monkeypatch.setattr(segment_choice, "_asked", raising)
    with pytest.raises(KeyboardInterrupt):
        lib.sql("SELECT n FROM trades AT VERSION 0 WHERE price > 15")
    monkeypatch.undo()
    assert rows(lib.sql("SELECT n FROM trades AT VERSION 0 WHERE price > 15")) == [(2,), (3,)]


@pytest.mark.parametrize(
    "column",
    [
        pa.array([b"ab", None, b"ab"]),
        pa.array([b"ab", None, b"ab"], pa.large_binary()),
        pa.array([b"ab", None, b"ab"], pa.binary(2)),
        pa.array(["ab", None, "ab"]),
        pa.array(["ab", None, "ab"]).dictionary_encode(),
        pa.array([5, None, 5]),
        pa.array([{"a": b"ab"}, None, {"a": b"ab"}]),
    ],
    ids=lambda column: str(column.type)[:12],
)
def test_a_column_of_one_value_and_nulls_tells_them_apart(lib, column):
    """DuckDB 2.0.0 takes every row for null where Parquet says that least and greatest of bytes are equal."""
    lib.write("ones", pa.table({"n": [1, 2, 3], "x": column}))
    assert lib.sql("SELECT n FROM ones WHERE x IS NULL").fetchall() == [(2,)]
    assert lib.sql("SELECT n FROM ones WHERE x IS NOT NULL ORDER BY n").fetchall() == [(1,), (3,)]
    assert lib.read("ones", where="x IS NULL", output_format="pyarrow").data["n"].to_pylist() == [2]
    lib.sql("CREATE OR REPLACE TABLE ones AS FROM ones WHERE x IS NULL")
    assert lib.sql("SELECT n, x FROM ones").fetchall() == [(2, None)]
