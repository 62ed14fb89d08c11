"""DB-API 2.0: what PEP 249 says of modules, connections and cursors, and what pandas and polars make of them."""

from __future__ import annotations

import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, time
from decimal import Decimal

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

import duckvstore as vs
from duckvstore import errors
from duckvstore.sql import dbapi
from duckvstore.sql.dbapi import pep249

TRADES = pd.DataFrame({"n": range(5), "sym": list("abcde")})
SLOW = "SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE a.range * b.range % 7 = 3"
ENDLESS = "SELECT a.range * b.range AS x FROM range(10000000) a, range(10000000) b"
PEP_NAMES = (
    *("Warning", "Error", "InterfaceError", "DatabaseError", "DataError", "OperationalError", "IntegrityError"),
    *("InternalError", "ProgrammingError", "NotSupportedError"),
)


@pytest.fixture
def lib(tmp_path):
    """A library where trades has version 0 (one row) and 1 (five rows)."""
    library = vs.open(tmp_path / "store", {"fsync": False}).create_library("lib")
    library.write("trades", TRADES.head(1))
    library.write("trades", TRADES)
    return library


@pytest.fixture
def con(lib):
    connection = lib.connect(author="ann")
    yield connection
    connection.close()


def test_the_module_says_what_it_is():
    """Level, thread safety, parameter style, and the tree of errors."""
    assert (dbapi.apilevel, dbapi.threadsafety, dbapi.paramstyle) == ("2.0", 2, "qmark")
    assert issubclass(dbapi.Warning, Exception)
    for name in PEP_NAMES[2:]:
        assert issubclass(getattr(dbapi, name), dbapi.Error)
        if name not in ("InterfaceError", "DatabaseError"):
            assert issubclass(getattr(dbapi, name), dbapi.DatabaseError)
    for name in PEP_NAMES:
        assert getattr(dbapi.Connection, name) is getattr(dbapi, name)
    assert issubclass(dbapi.Error, errors.DuckVStoreError)


def test_constructors_make_values_that_parameters_take(con):
    """Dates, times and bytes; ticks are local time."""
    moment = dbapi.Timestamp(2026, 11, 20, 17, 30, 5)
    ticks = moment.timestamp()
    assert dbapi.TimestampFromTicks(ticks) == moment
    assert (dbapi.DateFromTicks(ticks), dbapi.TimeFromTicks(ticks)) == (date(2026, 11, 20), time(17, 30, 5))
    given = [dbapi.Date(2026, 1, 2), dbapi.Time(3, 4), moment, dbapi.Binary(b"\0x"), Decimal("1.5"), None]
    assert con.execute("SELECT ?, ?, ?, ?, ?, ?", given).fetchall() == [tuple(given)]


def test_every_handle_connects(lib, tmp_path):
    """A library, a store, several libraries, and a URL; each in a session of its own."""
    store = vs.open(tmp_path / "store")
    with lib.connect() as own, lib.connect() as other, store.connect() as all_of_it:
        own.execute("CREATE TEMP TABLE mine AS SELECT 1")
        with pytest.raises(other.ProgrammingError, match="mine does not exist"):
            other.execute("FROM mine")
        assert all_of_it.execute("SELECT count(*) FROM lib.trades AT VERSION 0").fetchone() == (1,)
    with vs.combine({"live": lib}).connect() as combined:
        assert combined.execute("SELECT count(*) FROM live.trades").fetchone() == (5,)
    with dbapi.connect(tmp_path / "store", "lib") as named, dbapi.connect(str(tmp_path / "store")) as unnamed:
        assert named.execute("SELECT count(*) FROM trades").fetchone() == (5,)
        assert unnamed.execute("SELECT count(*) FROM lib.trades").fetchone() == (5,)
        assert repr(named) == f"<connection to 'lib' at {lib.url}>"
    assert repr(named).startswith("<closed connection")
    with pytest.raises(dbapi.ProgrammingError, match="has no library 'lob'") as caught:
        dbapi.connect(tmp_path / "store", "lob")
    assert isinstance(caught.value, errors.NoSuchLibrary)


def test_a_cursor_shows_what_it_has(con):
    """Names of columns and how to get the rows, since a notebook shows the cursor that execute() returns."""
    cursor = con.cursor()
    assert repr(cursor) == f"<cursor of {con!r}>"
    cursor.execute("SELECT 1 AS one, 2 AS two")
    assert repr(cursor) == "<cursor with the columns one, two: fetchall(), df(), pl() or arrow() gives the rows>"
    cursor.execute("SELECT " + ", ".join(f"{n} AS column_{n}" for n in range(200)))
    assert len(repr(cursor)) < 300
    cursor.close()
    assert repr(cursor) == f"<closed cursor of {con!r}>"


def test_parameters_are_given_by_place_or_by_name(con):
    """``?`` with a sequence, ``$name`` with a mapping, in AT as well."""
    cursor = con.cursor()
    assert cursor.execute("SELECT sym FROM trades WHERE n = ?", (3,)).fetchall() == [("d",)]
    assert cursor.execute("SELECT sym FROM trades WHERE n = $n", {"n": 3}).fetchall() == [("d",)]
    assert cursor.execute("SELECT count(*) FROM trades AT VERSION ?", [0]).fetchall() == [(1,)]
    assert cursor.execute("SELECT 1", ()).fetchall() == cursor.execute("SELECT 1", {}).fetchall() == [(1,)]
    assert cursor.execute("SELECT 1; SELECT 2").fetchall() == [(2,)], "the last statement's rows"


def test_rows_come_once_in_whatever_form_is_asked_for(con):
    """Each form begins where the one before ended."""
    cursor = con.cursor()
    assert cursor.arraysize == 1
    cursor.execute("SELECT range AS n, 'x' || range AS s FROM range(300000)")
    assert cursor.fetchone() == (0, "x0")
    assert cursor.fetchmany() == [(1, "x1")]
    cursor.arraysize = 3
    assert [row[0] for row in cursor.fetchmany()] == [2, 3, 4]
    assert next(cursor) == (5, "x5")
    assert [row[0] for row in cursor.fetchmany(5000)] == list(range(6, 5006))
    reader = cursor.fetch_record_batch()
    first = reader.read_next_batch()
    assert first.column(0)[0].as_py() == 5006
    following = 5006 + first.num_rows
    assert cursor.fetchone()[0] == following
    assert cursor.df()["n"].tolist() == list(range(following + 1, 300000))
    assert cursor.fetchone() is None
    assert cursor.fetchmany(2) == cursor.fetchall() == list(cursor) == []
    assert cursor.arrow().num_rows == cursor.pl().height == 0
    assert cursor.arrow().schema.names == ["n", "s"]
    assert cursor.rowcount == 300000


@pytest.mark.parametrize("take", ["fetchall", "arrow", "fetch_arrow_table", "df", "pl", "stream", "iteration"])
def test_each_form_has_all_rows(con, take):
    """And the values of the symbol."""
    import polars as pl

    cursor = con.execute("FROM trades ORDER BY n")
    forms = {
        "fetchall": lambda: cursor.fetchall(),
        "arrow": lambda: [tuple(row.values()) for row in cursor.arrow().to_pylist()],
        "fetch_arrow_table": lambda: [tuple(row.values()) for row in cursor.fetch_arrow_table().to_pylist()],
        "df": lambda: list(cursor.df().itertuples(index=False, name=None)),
        "pl": lambda: cursor.pl().rows(),
        "stream": lambda: pl.DataFrame(cursor).rows(),
        "iteration": lambda: list(cursor),
    }
    assert forms[take]() == list(TRADES.itertuples(index=False, name=None))


def test_the_description_names_columns_and_types(con):
    """Seven items each; the type code equals the type object of its group, and only that."""
    cursor = con.execute("SELECT * FROM test_all_types()")
    kinds = {name: str(kind) for name, kind in zip(*_own_columns("SELECT * FROM test_all_types()"), strict=True)}
    assert [column[0] for column in cursor.description] == list(kinds)
    assert all(len(column) == 7 for column in cursor.description)
    codes = {column[0]: column[1] for column in cursor.description}
    assert {name: str(code) for name, code in codes.items()} == kinds
    expected = {
        dbapi.STRING: ("varchar", "uuid", "small_enum"),
        dbapi.BINARY: ("blob",),
        dbapi.NUMBER: ("tinyint", "int", "bigint", "hugeint", "ubigint", "float", "double", "dec_4_1", "dec38_10"),
        dbapi.DATETIME: ("date", "time", "timestamp", "timestamp_s", "timestamp_ns", "timestamp_tz"),
        dbapi.ROWID: (),
    }
    for group, names in expected.items():
        for name in names:
            assert codes[name] == group
            assert [other for other in expected if codes[name] == other] == [group]
    for name in ("int_array", "varchar_array", "struct", "map", "union"):
        assert not [group for group in expected if codes[name] == group]
    by_name = {column[0]: column for column in cursor.description}
    assert by_name["dec_9_4"][3:6] == (None, 9, 4)
    assert by_name["int"][3] == by_name["float"][3] == 4


def _own_columns(sql):
    relation = duckdb.connect().sql(sql)
    return relation.columns, relation.types


def test_what_gives_no_rows_has_no_description(lib, con):
    """A change says how many rows it changed; asking for rows is an error, as before any statement."""
    cursor = con.cursor()
    assert (cursor.description, cursor.rowcount) == (None, -1)
    with pytest.raises(con.ProgrammingError, match="no results to fetch"):
        cursor.fetchone()
    cursor.execute("INSERT INTO trades VALUES (7, 'x'), (8, 'y')")
    assert (cursor.description, cursor.rowcount) == (None, 2)
    with pytest.raises(con.ProgrammingError, match="no results to fetch"):
        cursor.fetchall()
    assert cursor.execute("DELETE FROM trades WHERE n >= 7").rowcount == 2
    assert cursor.execute("CREATE TEMP TABLE t AS SELECT 1 AS a").description is None
    assert cursor.execute("SET threads = 2").description is None
    assert cursor.execute("DELETE FROM trades WHERE n = 4 RETURNING sym").fetchall() == [("e",)]
    assert cursor.execute('SELECT 3 AS "Count"').fetchall() == [(3,)], "a query is a query"
    versions = lib.list_versions("trades")
    assert [info.author for info in versions.values()] == ["ann"] * 3 + [None] * 2
    assert versions["trades", 2].message == "INSERT INTO trades VALUES (7, 'x'), (8, 'y')"


def test_many_parameters_make_one_version_or_none(lib, con):
    """All of executemany is one transaction."""
    cursor = con.cursor()
    cursor.executemany("INSERT INTO trades VALUES (?, ?)", [(10, "x"), (11, "y"), (12, "z")])
    assert (cursor.rowcount, cursor.description) == (3, None)
    assert [number for _, number in lib.list_versions("trades")] == [2, 1, 0]
    assert len(lib.read("trades").data) == 8
    with pytest.raises(con.DataError, match="Could not convert"):
        cursor.executemany("INSERT INTO trades VALUES (?, ?)", [(13, "x"), ("no number", "y")])
    assert len(lib.read("trades").data) == 8
    assert not con._session.in_transaction
    cursor.executemany("INSERT INTO trades VALUES ($n, $s)", ({"n": n, "s": "g"} for n in range(2)))
    assert cursor.rowcount == 2
    con.execute("BEGIN")
    cursor.executemany("DELETE FROM trades WHERE n = ?", [(10,), (11,)])
    con.rollback()
    assert len(lib.read("trades").data) == 10, "within a transaction it is a part of that"


def test_commit_and_rollback_end_what_begin_began(lib, con):
    """Without a transaction they do nothing: each statement has committed already."""
    con.commit()
    con.rollback()
    con.execute("DELETE FROM trades WHERE n = 0")
    con.rollback()
    assert len(lib.read("trades").data) == 4
    con.execute("BEGIN")
    con.execute("DELETE FROM trades WHERE n = 1")
    assert con.execute("SELECT count(*) FROM trades").fetchone() == (3,)
    con.rollback()
    assert con.execute("SELECT count(*) FROM trades").fetchone() == (4,)
    con.execute("BEGIN")
    con.execute("DELETE FROM trades WHERE n = 1")
    con.commit()
    assert len(lib.read("trades").data) == 3


def test_a_with_block_commits_or_rolls_back_and_closes(lib):
    """close() rolls back too."""
    with lib.connect() as good:
        good.execute("BEGIN; DELETE FROM trades WHERE n = 0")
    assert len(lib.read("trades").data) == 4
    with pytest.raises(ZeroDivisionError), lib.connect() as bad:
        bad.execute("BEGIN; DELETE FROM trades WHERE n = 1")
        raise ZeroDivisionError
    forgotten = lib.connect()
    forgotten.execute("BEGIN; DELETE FROM trades WHERE n = 2")
    forgotten.close()
    assert len(lib.read("trades").data) == 4
    with pytest.raises(good.InterfaceError), good:
        pass


def test_after_close_everything_raises(lib):
    """Except close itself; DuckDB is closed."""
    con = lib.connect()
    cursor = con.execute("FROM trades")
    other = con.cursor()
    con.close()
    con.close()
    assert con._session._instance._own is None
    calls = [con.cursor, con.commit, con.rollback, cursor.fetchone, cursor.arrow, cursor.df, lambda: next(cursor)]
    calls += [lambda: con.execute("SELECT 1"), lambda: other.execute("SELECT 1"), lambda: other.setinputsizes([1])]
    calls += [lambda: cursor.__arrow_c_stream__(), lambda: other.executemany("SELECT ?", [(1,)]), other.__enter__]
    for call in calls:
        with pytest.raises(dbapi.InterfaceError, match="is closed: connect"):
            call()
    cursor.close()


def test_a_closed_cursor_is_of_no_more_use(con):
    """Its connection is."""
    with con.cursor() as cursor:
        cursor.setinputsizes([None])
        cursor.setoutputsize(100, 1)
        cursor.execute("FROM trades")
    cursor.close()
    for call in (cursor.fetchone, lambda: cursor.execute("SELECT 1"), lambda: cursor.setoutputsize(1)):
        with pytest.raises(con.InterfaceError, match="this cursor is closed"):
            call()
    assert con.execute("SELECT 1").connection is con


@pytest.mark.parametrize(
    ("sql", "name", "own"),
    [
        ("SELEC 1", "ProgrammingError", errors.SqlError),
        ("SELECT nope FROM trades", "ProgrammingError", errors.SqlError),
        ("FROM nope", "ProgrammingError", errors.SqlError),
        ("FROM nope AT VERSION 1", "ProgrammingError", errors.NoSuchSymbol),
        ("FROM trades AT VERSION 9", "ProgrammingError", errors.NoSuchVersion),
        ("SELECT ?", "ProgrammingError", errors.SqlError),
        (7, "ProgrammingError", errors.InvalidInput),
        ("SELECT sym::INT FROM trades", "DataError", errors.SqlError),
        ("SELECT 255::UTINYINT + n::UTINYINT FROM trades", "DataError", errors.SqlError),
        ("CREATE TEMP TABLE t (a INT CHECK (a > 5)); INSERT INTO t VALUES (1)", "IntegrityError", errors.SqlError),
    ],
)
def test_errors_have_the_names_of_pep_249_and_their_own(con, sql, name, own):
    """Both as attributes of the connection and as our own classes; they can be pickled, and keep their cause."""
    with pytest.raises(getattr(con, name)) as caught:
        con.execute(sql).fetchall()
    error = caught.value
    assert isinstance(error, own)
    assert isinstance(error, con.Error)
    assert type(error).__name__ == own.__name__
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))
    if isinstance(error, errors.SqlError) and error.offset is not None:
        assert str(error).endswith("^")
    if name in ("DataError", "IntegrityError"):
        assert error.__cause__ is not None
    assert con.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (errors.AlreadyExists("x"), "ProgrammingError"),
        (errors.NoSuchColumn("x"), "ProgrammingError"),
        (errors.Conflict("x"), "OperationalError"),
        (errors.OutcomeUnknown("x"), "OperationalError"),
        (errors.AccessDenied("x"), "OperationalError"),
        (errors.Integrity("x"), "InternalError"),
        (errors.Unsupported("x"), "NotSupportedError"),
        (errors.DuckVStoreError("x"), "DatabaseError"),
    ],
)
def test_every_error_of_ours_has_a_name_in_pep_249(error, name):
    """And stays catchable as what it was."""
    error.__cause__ = OSError("below")
    made = pep249.to_pep249(error)
    assert isinstance(made, getattr(dbapi, name))
    assert isinstance(made, type(error))
    assert (str(made), made.__cause__) == ("x", error.__cause__)
    assert pep249.to_pep249(made) is made


def test_damage_is_an_internal_error(lib, con, tmp_path):
    """Found while rows are fetched."""
    for path in (tmp_path / "store").rglob("*.parquet"):
        path.write_bytes(b"PAR1 this is no Parquet file PAR1")
    with pytest.raises(con.InternalError) as caught:
        con.execute("FROM trades").fetchall()
    assert isinstance(caught.value, errors.Integrity)


def test_a_read_only_connection_changes_nothing(lib):
    """The library stays as it was."""
    with lib.connect(read_only=True) as con:
        with pytest.raises(con.Error):
            con.execute("DELETE FROM trades")
        assert con.execute("SELECT count(*) FROM trades").fetchone() == (5,)
    assert len(lib.list_versions("trades")) == 2


def running(action):
    """Run ``action`` on a thread; return (thread, outcomes), once it has begun."""
    begun, outcomes = threading.Event(), []

    def work():
        begun.set()
        try:
            outcomes.append(action())
        except BaseException as error:
            outcomes.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    begun.wait(10)
    return thread, outcomes


def fetch_all(cursor, sql):
    while cursor.execute(sql).fetchone():
        pass


def fetch_in_parts(cursor, sql):
    cursor.execute(sql)
    while cursor.fetchmany(1000):
        pass


def fetch_arrow(cursor, sql):
    return cursor.execute(sql).arrow()


def create(cursor, sql):
    return cursor.execute(f"CREATE TEMP TABLE t AS {sql}")


@pytest.mark.parametrize(
    ("how", "sql"), [(fetch_all, SLOW), (fetch_in_parts, ENDLESS), (fetch_arrow, SLOW), (create, SLOW)]
)
def test_a_statement_is_cancelled_from_another_thread(con, how, sql):
    """It ends with OperationalError within a second or so, and the connection goes on."""
    thread, outcomes = running(lambda: how(con.cursor(), sql))
    for _ in range(60):  # on a busy machine the statement may begin later than this
        thread.join(0.3)
        con.cancel()
        if not thread.is_alive():
            break
    assert [type(error) for error in outcomes] == [dbapi.OperationalError]
    assert con.execute("SELECT count(*) FROM trades").fetchone() == (5,)


def test_rows_of_the_thread_that_cancels_are_left_to_it(con):
    """cancel() is about others."""
    cursor = con.execute("SELECT range FROM range(5)")
    con.cancel()
    assert len(cursor.fetchall()) == 5


def test_close_stops_what_runs(lib):
    """And returns."""
    con = lib.connect()
    thread, outcomes = running(lambda: con.execute(SLOW).fetchall())
    thread.join(0.3)
    con.close()
    thread.join(10)
    assert [isinstance(error, dbapi.Error) for error in outcomes] == [True]


def test_threads_share_a_connection(con):
    """Each has cursors of its own."""

    def work(number):
        total = 0
        for repeat in range(10):
            cursor = con.execute("SELECT sum(n) + ? FROM trades, range(1000)", [number + repeat])
            total += cursor.fetchone()[0] - 10_000 - number - repeat
        return total

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(8))) == [0] * 8


def test_threads_share_even_a_cursor(con):
    """No row is lost, and none comes twice."""
    cursor = con.execute("SELECT range FROM range(200000)")

    def work(_):
        found = []
        while rows := cursor.fetchmany(777):
            found += [row[0] for row in rows]
        return found

    with ThreadPoolExecutor(4) as pool:
        found = [number for part in pool.map(work, range(4)) for number in part]
    assert sorted(found) == list(range(200000))


def test_cursors_of_one_thread_take_turns(con):
    """The rows that one has still to fetch survive the other's statement, and a dropped cursor's frame too."""
    frame = pa.table({"a": [1]})
    dropped = con._session.sql("FROM frame", scope={"frame": frame})
    one, other = con.cursor(), con.cursor()
    one.execute("SELECT range FROM range(1000000)")
    assert one.fetchone() == (0,)
    del dropped
    other.execute("SELECT range FROM range(1000000)")
    assert other.fetchone() == (0,)
    assert len(one.fetchall()) == len(other.fetchall()) == 999_999


def test_pandas_reads_from_a_connection(con):
    """By read_sql, with parameters and in chunks; pandas warns that it does not test such connections."""
    with pytest.warns(UserWarning, match="only supports SQLAlchemy"):
        frame = pd.read_sql("SELECT n, sym FROM trades WHERE n > ? ORDER BY n", con, params=[2])
    assert frame.to_dict("list") == {"n": [3, 4], "sym": ["d", "e"]}
    with pytest.warns(UserWarning, match="only supports SQLAlchemy"):
        frame = pd.read_sql("SELECT n FROM trades AT VERSION $v", con, params={"v": 0}, index_col="n")
    assert list(frame.index) == [0]
    with pytest.warns(UserWarning, match="only supports SQLAlchemy"):
        chunks = list(pd.read_sql("SELECT range FROM range(10)", con, chunksize=4))
    assert [len(chunk) for chunk in chunks] == [4, 4, 2]
    with (
        pytest.warns(UserWarning, match="only supports SQLAlchemy"),
        pytest.raises((con.ProgrammingError, pd.errors.DatabaseError), match="nope does not exist"),
    ):
        pd.read_sql("FROM nope", con)


def test_polars_reads_from_a_connection(con):
    """With DuckDB's types, whatever the first rows hold, and in batches."""
    import polars as pl

    sql = """
        SELECT CASE WHEN range > 150 THEN range::INTEGER END AS i, CASE WHEN range > 150 THEN 'x' END AS s,
               range::UTINYINT AS u, range::FLOAT AS f, range::DECIMAL(9,2) AS d, {'a': range, 'b': 'x'} AS st,
               [range] AS l, TIMESTAMP '2026-01-01' AS t, TIMESTAMPTZ '2026-01-01 00:00:00+00' AS z,
               range::HUGEINT AS h,
               DATE '2026-01-01' AS day, 'a'::ENUM ('a', 'b') AS e, NULL::BOOLEAN AS b, INTERVAL 1 HOUR AS iv
        FROM range(200)"""
    frame = pl.read_database(sql, con)
    assert dict(frame.schema) == {
        "i": pl.Int32,
        "s": pl.String,
        "u": pl.UInt8,
        "f": pl.Float32,
        "d": pl.Decimal(9, 2),
        "st": pl.Struct({"a": pl.Int64, "b": pl.String}),
        "l": pl.List(pl.Int64),
        "t": pl.Datetime("us"),
        "z": pl.Datetime("us", "UTC"),
        "h": pl.Int128,
        "day": pl.Date,
        "e": pl.String,
        "b": pl.Boolean,
        "iv": pl.Duration("us"),
    }
    assert frame["i"].sum() == sum(range(151, 200))
    assert frame.row(160)[:6] == (160, "x", 160, 160.0, Decimal("160.00"), {"a": 160, "b": "x"})
    batches = pl.read_database("SELECT range FROM range(10)", con, iter_batches=True, batch_size=4)
    assert [batch.height for batch in batches] == [4, 4, 2]
    found = pl.read_database("SELECT sym FROM trades WHERE n = ?", con, execute_options={"parameters": [1]})
    assert found["sym"].to_list() == ["b"]


def test_a_cursor_streams_into_other_engines(lib, con):
    """DuckDB, a write of ours, and pyarrow take it as Arrow."""
    cursor = con.execute("SELECT n * 2 AS twice FROM trades")  # noqa: F841 - named in the query
    assert duckdb.connect().sql("SELECT sum(twice) FROM cursor").fetchall() == [(20,)]
    lib.write("copy", con.execute("SELECT n * 3 AS thrice FROM trades"))
    assert lib.read("copy", output_format="pyarrow").data["thrice"].to_pylist() == [0, 3, 6, 9, 12]
    assert pa.table(con.execute("SELECT now() AS t, [1] AS l")).schema.names == ["t", "l"]


def test_clients_recognise_a_connection(con):
    """By its methods (marimo, JupySQL), which cost nothing, and without methods of DuckDB's own connections."""
    assert all(callable(getattr(con, name)) for name in ("cursor", "commit", "rollback", "close"))
    assert con.dialect == "duckdb"
    assert not hasattr(con, "df")
    assert con.cursor().description is None
    assert con._session._instance._own is None, "DuckDB is opened by the first statement"
    assert con.execute("SELECT TIMESTAMP '2026-01-01'").fetchone() == (datetime(2026, 1, 1),)
