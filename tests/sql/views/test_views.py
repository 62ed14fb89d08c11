"""Views and macros over symbols: kept in the session, resolved again at each use, and DuckDB's own in all else."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

import duckvstore as vs
from duckvstore.errors import NoSuchSymbol, NoSuchVersion, SqlError
from tests.cuts import cut_every

TRADES = pd.DataFrame({"n": [1, 2, 3], "price": [10.0, 20.0, 30.0], "sym": ["a", "b", "c"]})


@pytest.fixture
def lib():
    """A library where trades has versions 0, 1 (doubled) and 2 (one row); snapshot ``eod`` holds version 1."""
    store = vs.open("memory://views")
    library = store.create_library("lib")
    library.write("trades", TRADES)
    library.write("trades", TRADES.assign(price=TRADES["price"] * 2))
    library.snapshot("eod")
    library.write("trades", TRADES.head(1))
    yield library
    library.session.close()
    store.session.close()
    store.delete_library("lib")


def rows(result):
    return result.fetchall()


def count(library, name):
    return rows(library.sql(f"SELECT count(*) FROM {name}"))[0][0]


def test_a_view_shows_the_newest_version_each_time(lib):
    lib.sql("CREATE VIEW dear AS SELECT n, price * 2 AS twice FROM trades WHERE price >= 10")
    assert rows(lib.sql("FROM dear")) == [(1, 20.0)]
    lib.write("trades", TRADES)
    result = lib.sql("FROM dear")
    assert (result.columns, rows(result)) == (["n", "twice"], [(1, 20.0), (2, 40.0), (3, 60.0)])
    assert rows(lib.sql("SELECT max(dear.twice) FROM main.dear")) == [(60.0,)]
    assert rows(lib.sql("SELECT memory.main.dear.n FROM memory.main.dear ORDER BY n DESC LIMIT 1")) == [(3,)]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("trades AT VERSION 0", 3),
        ("trades AT SNAPSHOT 'eod'", 3),
        ("eod.trades", 3),
        ("lib.trades", 1),
        ("trades AT VERSION -1", 1),
        ("vstore.versions", 3),
        ("trades AT VERSION 0 a JOIN trades b USING (n)", 1),
    ],
)
def test_every_form_of_a_name_may_stand_in_a_view(lib, source, expected):
    lib.sql(f"CREATE VIEW v AS SELECT * FROM {source}")
    assert count(lib, "v") == expected
    assert count(lib, "v") == expected, "again, with what the first use left behind"


def test_a_view_is_a_table_to_every_statement(lib):
    lib.sql("CREATE VIEW v (a, b, c) AS FROM trades AT VERSION 1")
    assert rows(lib.sql("SELECT column_name FROM (DESCRIBE v)")) == [("a",), ("b",), ("c",)]
    assert [row[0] for row in rows(lib.sql("SHOW v"))] == ["a", "b", "c"]
    assert [row[0] for row in rows(lib.sql("SUMMARIZE v"))] == ["a", "b", "c"]
    assert rows(lib.sql("SELECT v.a FROM v ANTI JOIN trades t ON t.n = v.a ORDER BY ALL")) == [(2,), (3,)]
    assert rows(lib.sql("WITH v AS (SELECT 4 AS x) FROM v")) == [(4,)]
    assert "READ_PARQUET" in rows(lib.sql("EXPLAIN FROM v"))[0][1].upper()
    lib.sql("CREATE TABLE kept AS SELECT a FROM v; INSERT INTO kept SELECT a + 10 FROM v WHERE a = 1")
    assert rows(lib.sql("FROM kept ORDER BY a")) == [(1,), (2,), (3,), (11,)]
    assert rows(lib.sql("PIVOT v ON c USING sum(b) GROUP BY a ORDER BY a"))[0] == (1, 20.0, None, None)
    assert rows(lib.sql("SELECT abs(1::INT)!, a FROM v ORDER BY a")) == [(1, 1), (1, 2), (1, 3)], (
        "sqlglot cannot read it"
    )


def test_the_figures_hold_what_views_scan_and_views_prune_by_their_own_text(lib, monkeypatch):
    cut_every(monkeypatch, 100)
    lib.write("long", pd.DataFrame({"n": range(1000)}))
    lib.sql("CREATE VIEW few AS SELECT n FROM long WHERE n BETWEEN 150 AND 250")
    result = lib.sql("SELECT count(*) FROM few, trades")
    assert rows(result) == [(101,)]
    assert (result.figures.segments_read, result.figures.segments_total) == (3, 11)
    assert {table.symbol for table in result.figures.tables} == {"long", "trades"}


def test_views_over_views_follow_each_other(lib):
    lib.sql(
        "CREATE VIEW a AS FROM trades; CREATE VIEW b AS SELECT n FROM a; CREATE VIEW c AS SELECT max(n) AS m FROM b"
    )
    assert rows(lib.sql("FROM c")) == [(1,)]
    lib.sql("CREATE OR REPLACE VIEW a AS SELECT 'x' AS other, n + 100 AS n FROM trades")
    assert rows(lib.sql("FROM c")) == [(101,)]
    lib.sql("DROP VIEW b")
    with pytest.raises(SqlError, match=r"in view 'c': Catalog error: Table with name b does not exist"):
        lib.sql("FROM c")
    lib.sql("CREATE VIEW b AS SELECT 7 AS n FROM trades")
    assert rows(lib.sql("FROM c")) == [(7,)]
    with pytest.raises(SqlError, match=r"'a' and 'c' and 'b' refer to each other|in a circle"):
        lib.sql("CREATE OR REPLACE VIEW b AS SELECT m AS n FROM c")
    assert rows(lib.sql("FROM c")) == [(7,)], "and nothing was changed"


def test_a_view_with_the_name_of_a_symbol_means_the_symbol_in_its_own_text(lib):
    lib.sql("CREATE VIEW before AS SELECT count(*) AS c FROM trades")
    lib.sql("CREATE VIEW trades AS SELECT n FROM trades AT VERSION 0 UNION ALL SELECT n FROM trades WHERE n = 1")
    assert rows(lib.sql("SELECT n FROM trades ORDER BY n")) == [(1,), (1,), (2,), (3,)]
    assert count(lib, "trades AT VERSION 0") == 3, "AT always means the symbol"
    assert rows(lib.sql("FROM before")) == [(1,)], "a view made earlier means what it meant"
    lib.sql("CREATE OR REPLACE VIEW trades AS SELECT 5 AS five FROM trades; DROP VIEW IF EXISTS trades")
    assert lib.sql("FROM trades").columns == ["n", "price", "sym"]


def test_a_view_with_at_is_told_where_the_form_belongs(lib):
    lib.sql(
        "CREATE VIEW dear AS FROM trades; CREATE TEMP VIEW own AS FROM trades; CREATE TEMP TABLE t AS SELECT 1 AS n"
    )
    lib.snapshot("snap")
    for name in ("dear", "own", "t"):
        for at in ("AT VERSION 0", "AT SNAPSHOT 'snap'", "AT TIMESTAMP (now())"):
            sql = f"SELECT * FROM trades JOIN {name} {at} x USING (n)"
            with pytest.raises(vs.SqlError, match=f"{name} is a view or table of this session") as caught:
                lib.sql(sql)
            assert caught.value.offset == sql.index("AT")
    with pytest.raises(vs.NoSuchSymbol):
        lib.sql("FROM nowhere AT VERSION 0")


def test_macros_take_arguments_and_resolve_again(lib):
    lib.sql("CREATE MACRO dearest(most, least := 0) AS (SELECT max(price) FROM trades WHERE n BETWEEN least AND most)")
    lib.sql("CREATE MACRO above(x DOUBLE) AS TABLE SELECT n FROM trades AT VERSION 1 WHERE price > x")
    assert rows(lib.sql("SELECT dearest(3)")) == [(10.0,)]
    lib.write("trades", TRADES)
    result = lib.sql("SELECT dearest(3), dearest(3, least := 4), n FROM trades WHERE n = dearest(1) / 10")
    assert rows(result) == [(30.0, None, 1)]
    assert result.columns == ["dearest(3)", "dearest(3, (least := 4))", "n"] or result.columns[0] == "dearest(3)"
    assert rows(lib.sql("SELECT * FROM above(30) ORDER BY n")) == [(2,), (3,)]
    lib.sql("CREATE VIEW through AS SELECT dearest(n) AS d FROM above(50)")
    assert rows(lib.sql("FROM through")) == [(30.0,)]
    lib.sql("DROP MACRO dearest; DROP MACRO TABLE above")
    for text in ("SELECT dearest(3)", "FROM above(1)"):
        with pytest.raises(SqlError, match="does not exist"):
            lib.sql(text)


def test_a_macro_whose_parameter_hides_a_column_is_not_pruned_by_it(lib, monkeypatch):
    """``n = 7`` compares the argument there, as in DuckDB."""
    cut_every(monkeypatch, 1)
    lib.write("trades", TRADES)
    lib.sql("CREATE MACRO same(n) AS TABLE SELECT price FROM trades WHERE n = 7")
    assert (count(lib, "same(7)"), count(lib, "same(1)")) == (3, 0)
    lib.sql("CREATE MACRO other(trades) AS TABLE SELECT trades + n FROM trades WHERE n = 2")
    result = lib.sql("FROM other(40)")
    assert (rows(result), result.figures.segments_read) == ([(42,)], 1)


def test_overloaded_macros(lib):
    lib.sql("CREATE MACRO f(a) AS (SELECT max(n) + a FROM trades), (a, b) AS (SELECT max(n) + a * b FROM eod.trades)")
    assert rows(lib.sql("SELECT f(1), f(2, 3)")) == [(2, 9)]


def test_a_view_is_seen_on_every_thread_and_a_temporary_one_on_its_own(lib):
    lib.sql("CREATE VIEW shared AS SELECT n FROM trades; CREATE TEMP VIEW own AS SELECT n FROM trades")
    with ThreadPoolExecutor(1) as pool:
        other = lambda text: pool.submit(lambda: rows(lib.sql(text))).result()  # noqa: E731
        assert other("FROM shared") == rows(lib.sql("FROM own")) == [(1,)]
        with pytest.raises(SqlError, match="does not exist"):
            other("FROM own")
        lib.write("trades", TRADES)
        lib.sql("CREATE OR REPLACE VIEW shared AS SELECT n + 1 AS m FROM trades")
        assert other("FROM shared") == [(2,), (3,), (4,)]
        other("CREATE TEMP VIEW own AS SELECT 'theirs' AS x FROM trades AT VERSION 2")
        assert (other("FROM own"), count(lib, "own")) == ([("theirs",)], 3)
        other("DROP VIEW shared")
        with pytest.raises(SqlError, match="does not exist"):
            lib.sql("FROM shared")


def test_many_threads_use_one_view(lib):
    lib.sql("CREATE VIEW v AS SELECT sum(n) AS s FROM trades AT VERSION 0; CREATE VIEW w AS SELECT s FROM v, trades")
    with ThreadPoolExecutor(6) as pool:
        texts = ["FROM v", "FROM w", "SELECT 6"] * 15
        assert list(pool.map(lambda text: rows(lib.sql(text)), texts)) == [[(6,)]] * 45


def test_a_result_stays_what_it_was_when_its_view_changes(lib):
    lib.sql("CREATE VIEW v AS SELECT n FROM trades AT VERSION 0")
    first, second = lib.sql("FROM v"), lib.sql("SELECT v.n, r.range FROM v, range(100000) r")
    half_read = pa.RecordBatchReader.from_stream(second)
    head = half_read.read_next_batch()
    third = lib.sql("CREATE OR REPLACE VIEW v AS SELECT 'new' AS x FROM trades; FROM v")
    assert (rows(third), rows(first)) == ([("new",)], [(1,), (2,), (3,)])
    assert head.num_rows + half_read.read_all().num_rows == 300_000
    newest = lib.sql("FROM v")
    lib.write("trades", TRADES)
    assert (count(lib, "v"), len(rows(newest))) == (3, 1), "each shows the versions that it was resolved to"


def test_nothing_of_a_view_stays_on_the_cursor_for_statements_that_do_not_use_it(lib):
    lib.sql("CREATE VIEW v AS FROM trades")
    assert count(lib, "v") == 1
    assert rows(lib.sql("SELECT count(*) FROM system.main.duckdb_views() WHERE NOT internal")) == [(0,)]
    for asked in ("query_table('v')", "query_table(lower('V'))", "query('FROM v')", "query(lower('FROM V'))"):
        assert len(rows(lib.sql(f"FROM {asked}"))) == 1
        assert rows(lib.sql("SELECT count(*) FROM system.main.duckdb_views() WHERE NOT internal")) == [(0,)]
    lib.sql("PREPARE later AS SELECT count(*) FROM v")
    assert rows(lib.sql("SELECT count(*) FROM system.main.duckdb_views() WHERE NOT internal")) == [(0,)]
    assert rows(lib.sql("EXECUTE later")) == [(1,)]


def test_names_of_views_tables_and_macros_are_guarded_as_in_duckdb(lib):
    lib.sql("CREATE VIEW v AS FROM trades; CREATE TABLE memory.main.plain AS SELECT 1 AS x; CREATE MACRO m(x) AS x")
    lib.sql(
        "CREATE VIEW IF NOT EXISTS v AS FROM nowhere; CREATE MACRO IF NOT EXISTS m(x) AS (SELECT max(n) FROM trades)"
    )
    for text in (
        "CREATE VIEW v AS FROM trades",
        "CREATE VIEW V AS SELECT 1",
        "CREATE TABLE v AS SELECT 1",
        "CREATE MACRO m(x) AS (SELECT max(n) + x FROM trades)",
        "CREATE VIEW plain AS FROM trades",
        "CREATE OR REPLACE VIEW plain AS FROM trades",
        "DROP TABLE v",
        "ALTER VIEW v RENAME TO w",
        "INSERT INTO v SELECT 1",
        "COMMENT ON VIEW v IS 'x'",
        "DROP VIEW nothing",
    ):
        with pytest.raises(SqlError, match=r"exist|is a view|is of type|cannot be changed"):
            lib.sql(text)
    assert (count(lib, "v"), count(lib, "plain"), rows(lib.sql("SELECT m(5)"))) == (1, 1, [(5,)])


def test_plain_objects_and_those_over_symbols_replace_each_other(lib):
    lib.sql("CREATE VIEW v AS SELECT 1 AS plain; CREATE OR REPLACE VIEW v AS SELECT n FROM trades")
    assert lib.sql("FROM v").columns == ["n"]
    lib.sql("CREATE OR REPLACE VIEW v AS SELECT 2 AS plain")
    assert rows(lib.sql("FROM v")) == [(2,)]
    lib.sql("CREATE MACRO m(x) AS x; CREATE OR REPLACE MACRO m(x) AS (SELECT max(n) + x FROM trades)")
    assert rows(lib.sql("SELECT m(1)")) == [(2,)]
    lib.sql("CREATE OR REPLACE MACRO m(x) AS 2 * x; CREATE TEMP TABLE t AS SELECT 3 AS x")
    assert rows(lib.sql("SELECT m(4)")) == [(8,)]
    lib.sql("CREATE VIEW t AS SELECT n FROM trades")
    assert rows(lib.sql("FROM t")) == [(3,)], "a temporary table hides the view"
    with pytest.raises(SqlError, match="a temporary table t hides view 't'"):
        lib.sql("FROM memory.main.t")
    lib.sql("DROP TABLE t")
    assert rows(lib.sql("FROM t")) == [(1,)]
    lib.sql("CREATE OR REPLACE MACRO m(x) AS (SELECT max(n) + x FROM trades)")
    with pytest.raises(SqlError, match="macro 'm' exists already"):
        lib.sql("CREATE OR REPLACE TEMP MACRO m(x) AS 0")
    assert rows(lib.sql("SELECT m(1)")) == [(2,)]


def test_a_transaction_that_is_rolled_back_takes_its_views_with_it(lib):
    lib.sql("CREATE VIEW kept AS SELECT 1 AS x FROM trades; CREATE VIEW dropped AS SELECT 2 AS x FROM trades")
    lib.sql("BEGIN; CREATE VIEW made AS FROM trades; CREATE OR REPLACE VIEW kept AS SELECT 5 AS x FROM trades")
    lib.sql("DROP VIEW dropped")
    assert (rows(lib.sql("FROM kept")), count(lib, "made")) == ([(5,)], 1)
    lib.sql("ROLLBACK")
    assert rows(lib.sql("SELECT kept.x, dropped.x FROM kept, dropped")) == [(1, 2)]
    with pytest.raises(SqlError, match="made does not exist"):
        lib.sql("FROM made")
    lib.sql("BEGIN; INSERT INTO trades VALUES (9, 9.0, 'z'); CREATE VIEW made AS SELECT n FROM trades")
    assert rows(lib.sql("SELECT n FROM made ORDER BY n")) == [(1,), (9,)], "a view sees the transaction's own rows"
    lib.sql("COMMIT")
    assert rows(lib.sql("SELECT n FROM made ORDER BY n")) == [(1,), (9,)]


def test_a_view_keeps_the_dataframe_that_it_was_made_over(lib):
    """Also one that can be read only once, and also when the variable is gone."""
    mine, stream = pd.DataFrame({"n": [1, 1]}), pa.table({"k": [1]}).to_reader()
    lib.sql("CREATE VIEW v AS SELECT price FROM mine JOIN trades USING (n); CREATE VIEW w AS FROM stream, v")
    del mine, stream
    for _ in range(2):
        assert rows(lib.sql("FROM w")) == [(1, 10.0), (1, 10.0)]


def test_columns_of_a_view_are_named_as_in_duckdb(lib):
    plain = duckdb.connect()
    plain.register("trades", TRADES.head(1))
    text = "SELECT (SELECT max(n) FROM trades), count(*), today() > DATE '2000-01-01', EXISTS (FROM trades) FROM trades"
    plain.execute(f"CREATE VIEW v AS {text}")
    lib.sql(f"CREATE VIEW v AS {text}")
    assert lib.sql("FROM v").columns == [column[0] for column in plain.execute("FROM v").description]


def test_text_is_kept_byte_for_byte_with_hostile_names(lib):
    name = "a b\"c'; DROP VIEW x; --"
    lib.write(name, TRADES)
    quoted = '"' + name.replace('"', '""') + '"'
    lib.sql(f"CREATE VIEW {quoted} AS SELECT 'é; --' AS é, /* ; */ n AS \"select\" FROM {quoted} -- the end")
    result = lib.sql(f"FROM {quoted}")
    assert (result.columns, rows(result)[0]) == (["é", "select"], ("é; --", 1))


@pytest.mark.parametrize(
    ("text", "kind", "message", "place"),
    [
        ("CREATE VIEW v AS SELECT nocol FROM trades", SqlError, '"nocol" not found', "nocol"),
        ("CREATE VIEW v AS SELECT n FROM trades JOIN nowhere USING (n)", SqlError, "nowhere does not exist", "nowhere"),
        ("CREATE MACRO f(x) AS (SELECT nocol FROM trades)", SqlError, '"nocol" not found', "nocol"),
        ("CREATE VIEW v AS FROM trades AT VERSION 9", NoSuchVersion, "no version 9", "AT VERSION"),
        ("CREATE VIEW v AS FROM trads AT VERSION 0", NoSuchSymbol, "Did you mean 'trades'", "AT VERSION"),
        ("CREATE VIEW other.v AS FROM trades", SqlError, "name it v alone", "other"),
        ("CREATE VIEW v AS FROM trades AT VERSION $v", SqlError, "keeps no values of parameters", "$v"),
        ("CREATE MACRO f() AS (SELECT max(n) + $v FROM trades)", SqlError, "keeps no values of parameters", "$v"),
    ],
)
def test_what_does_not_work_is_refused_at_once(lib, text, kind, message, place):
    source = f"SELECT 1;\n  {text}"
    with pytest.raises(kind, match=message) as caught:
        lib.sql(source, {"v": 0} if "$v" in text else None)
    assert f"line 2, column {text.index(place) + 3}: " in str(caught.value)
    with pytest.raises(SqlError, match="does not exist"):
        lib.sql("SELECT * FROM v, f()")


@pytest.mark.parametrize(
    ("text", "change", "message", "place"),
    [
        ("SELECT n, price FROM trades", "narrow", '"price" not found', "price"),
        ("SELECT n FROM trades", "delete", "was deleted", "trades"),
        ("SELECT n, sym::INT AS x FROM trades", "nothing", "Could not convert string 'a'", "::INT"),
        ("SELECT n,\n  error('mine' || n) AS x FROM trades", "nothing", "mine1", None),
    ],
)
def test_an_error_in_a_view_names_it_and_shows_its_own_text(lib, text, change, message, place):
    lib.sql(f"SELECT 1;  CREATE VIEW v AS {text}")
    if change == "narrow":
        lib.write("trades", TRADES[["n"]])
    elif change == "delete":
        lib.delete("trades")
    with pytest.raises(vs.DuckVStoreError, match=message) as caught:
        lib.sql("SELECT v.* FROM v, range(3) WHERE n < 100").fetchall()
    if place is not None:
        assert "in view 'v': " in str(caught.value)
        *_, shown, caret = str(caught.value).splitlines()
        assert shown.endswith(f"CREATE VIEW v AS {text}")
        assert shown[caret.index("^") :].startswith(place)
    assert "read_parquet" not in str(caught.value)


def test_an_error_beside_a_view_is_not_laid_to_it(lib):
    lib.sql("CREATE VIEW v AS SELECT n + 1 AS n FROM trades")
    for text, place in {"SELECT nocol FROM v": "nocol", "SELECT sym::INT FROM trades, v": "::INT"}.items():
        with pytest.raises(SqlError) as caught:
            lib.sql(text).fetchall()
        assert caught.value.sql == text
        assert text[caught.value.offset :].startswith(place)


def test_a_view_over_files_reads_them_afresh(lib, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("1\n")
    lib.sql(f"CREATE VIEW v AS SELECT count(*) AS c FROM read_csv('{path}', header = false), trades")
    assert rows(lib.sql("FROM v")) == [(1,)]
    path.write_text("1\n2\n")
    assert rows(lib.sql("FROM v")) == [(2,)]


def test_a_session_over_a_store_has_views_over_several_libraries(lib):
    store = vs.open("memory://views")
    store.create_library("ref").write("names", pd.DataFrame({"sym": ["a"], "name": ["Ann"]}))
    store.sql("CREATE VIEW named AS SELECT name, price FROM lib.eod.trades JOIN ref.names USING (sym)")
    assert rows(store.sql("FROM named")) == [("Ann", 20.0)]
    store.session.close()
    store.delete_library("ref")


@pytest.mark.parametrize("seed", range(6))
def test_walks_of_views_and_macros_agree_with_duckdbs_own_over_tables(seed):
    """Random statements about views and macros over each other, writes and transactions, one after the other."""
    choose = random.Random(seed)
    store = vs.open(f"memory://walk-{seed}")
    library, plain = store.create_library("lib"), duckdb.connect()
    session, is_open = library.session, False

    def write():
        name, values = choose.choice("st"), [choose.randint(0, 9) for _ in range(choose.randint(1, 3))]
        library.write(name, pd.DataFrame({"n": values}))
        plain.execute(f"CREATE OR REPLACE TABLE {name} AS SELECT unnest({values}::BIGINT[]) AS n")

    def statement():
        level = choose.choice([0, 0, 1, 1, 2, 3])
        sources = ["s", "t", *(f"v{lower}" for lower in range(level))]
        source, other = choose.choice(sources), choose.choice(sources)
        macros = [f"m{lower}(n)" for lower in range(level)]
        value = choose.choice(["n + 1", "n * 2", *macros])
        how = choose.choice(["CREATE", "CREATE OR REPLACE", "CREATE OR REPLACE"])
        return choose.choice(
            [
                f"{how} VIEW v{level} AS SELECT {value} AS n FROM {source}",
                f"{how} VIEW v{level} AS SELECT a.n FROM {source} a JOIN {other} b ON a.n = b.n + 1",
                f"{how} VIEW v{level} AS SELECT {level}::BIGINT AS n",
                f"{how} MACRO m{level}(x) AS (SELECT max({value}) + x FROM {source})",
                f"{how} MACRO m{level}(x) AS x - 1",
                f"DROP VIEW v{level}",
                f"DROP MACRO m{level}",
                *[f"SELECT sum({value}), count(*) FROM {source}"] * 3,
                *[f"SELECT sum(a.n), max(b.n) FROM {source} a JOIN {other} b ON a.n <= b.n"] * 3,
            ]
        )

    def outcome(run):
        try:
            return run().fetchall()
        except (vs.DuckVStoreError, duckdb.Error):
            return "error"

    for _ in range(3):
        write()
    for name in "st":
        if name not in library:
            library.write(name, pd.DataFrame({"n": [5]}))
            plain.execute(f"CREATE TABLE {name} AS SELECT 5::BIGINT AS n")
    for _ in range(60):
        if not is_open and choose.random() < 0.15:
            write()
        text = statement()
        if choose.random() < 0.08:
            text, is_open = (choose.choice(["COMMIT", "ROLLBACK"]), False) if is_open else ("BEGIN", True)
        ours, theirs = outcome(lambda: session.sql(text)), outcome(lambda: plain.execute(text))
        is_query = text.startswith("SELECT")
        assert (ours == theirs) if is_query else ((ours == "error") == (theirs == "error")), (seed, text)
        if ours == "error" and is_open:  # either may have aborted it
            outcome(lambda: session.sql("ROLLBACK"))
            outcome(lambda: plain.execute("ROLLBACK"))
            is_open = False
    session.close()
    store.delete_library("lib")
