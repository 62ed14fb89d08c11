"""A sandboxed session reads the library's symbols and can do nothing else, whatever its users write.

Every attack here is either refused or gives nothing of the outside; afterwards the outside is as it was, nobody was
called, and other users of the session notice nothing. SAFE are queries that must not be refused by all that caution.
"""

from __future__ import annotations

import socket
import threading
import uuid
from contextlib import suppress
from dataclasses import dataclass

import pandas as pd
import pytest

import duckvstore as vs

SECRET = "TOPSECRET"

ATTACKS = [
    # files outside
    "FROM '{file}'",
    "FROM read_csv('{file}')",
    "FROM read_csv_auto('{file}')",
    "FROM read_text('{file}')",
    "FROM read_blob('{file}')",
    "FROM read_json('{file}')",
    "FROM sniff_csv('{file}')",
    "FROM glob('{outside}/*')",
    "FROM parquet_metadata('{parquet}')",
    "FROM parquet_schema('{parquet}')",
    "FROM parquet_kv_metadata('{parquet}')",
    "FROM '{parquet}'",
    "FROM read_parquet(['{parquet}'])",
    "FROM parquet_scan('{parquet}')",
    'FROM "{file}"',
    "FROM read_duckdb('{outside}/x.duckdb')",
    "SELECT * FROM main.read_text('{file}')",
    "SELECT * FROM system.main.\"read_text\"('{file}')",
    "SELECT * FROM /* a */ read_text /* b */ ('{file}')",
    "SELECT * FROM trades, LATERAL (FROM read_text('{file}'))",
    "SELECT (SELECT content FROM read_text('{file}'))",
    "WITH a AS (FROM read_text('{file}')) SELECT * FROM a, trades",
    "SELECT * FROM trades WHERE n IN (SELECT 1 FROM read_text('{file}'))",
    "SELECT * FROM query('FROM read_text(''{file}'')')",
    "SELECT * FROM query_table('{file}')",
    "FROM read_text(getvariable('x') || '{file}')",
    "FROM json_execute_serialized_sql(json_serialize_sql('FROM read_text(''{file}'')'))",
    "FROM trades AT TIMESTAMP (SELECT content FROM read_text('{file}'))",
    "FROM trades AT TIMESTAMP (now() - INTERVAL (SELECT count(*) FROM read_text('{file}')) DAY)",
    "EXPLAIN ANALYZE FROM read_text('{file}')",
    "SUMMARIZE FROM '{file}'",
    "DESCRIBE FROM '{file}'",
    "SUMMARIZE '{file}'",
    "DESCRIBE '{file}'",
    "PIVOT '{file}' ON a USING count(*)",
    "FROM '{copies}/../..{file}'",
    "FROM read_text('{copies}/../../../../../../../..{file}')",
    "FROM read_text('file://{file}')",
    "FROM read_text('/proc/self/environ')",
    "FROM read_blob('/dev/mem')",
    # the caller's dataframes
    "FROM host_frame",
    "SELECT * FROM trades, host_frame",
    # writing, here and elsewhere
    "COPY trades TO '{outside}/new.csv'",
    "COPY (FROM trades) TO '{outside}/new.parquet'",
    "COPY trades TO '{copies}/new.csv'",
    "COPY trades FROM '{file}'",
    "EXPLAIN ANALYZE COPY trades TO '{copies}/new.csv'",
    "EXPLAIN (ANALYZE) COPY trades TO '{copies}/new.csv'",
    "EXPLAIN (FORMAT json, ANALYZE) COPY trades TO '{copies}/new.csv'",
    "EXPLAIN (VERBOSE, ANALYZE) COPY trades TO '{copies}/new.csv'",
    "EXPLAIN /* ( */ ANALYZE COPY trades TO '{copies}/new.csv'",
    "/* SELECT */ COPY trades TO '{copies}/new.csv'",
    "-- SELECT\nCOPY trades TO '{copies}/new.csv'",
    "SELECT 1; COPY trades TO '{copies}/new.csv'",
    "WITH a AS (COPY (SELECT 9::BIGINT AS n, 'forged' AS sym) TO '{copy}' (FORMAT parquet)) FROM a",
    "WITH a AS NOT MATERIALIZED (COPY trades TO '{copies}/new.csv') FROM a",
    "SELECT * FROM (WITH a AS MATERIALIZED /* ( */ (copy (FROM trades) TO '{copies}/new.csv') FROM a)",
    "EXPLAIN ANALYZE WITH a AS (COPY (SELECT 1) TO '{copies}/new.csv') FROM a",
    "EXPORT DATABASE '{outside}/dump'",
    "IMPORT DATABASE '{outside}'",
    "PREPARE p AS COPY (SELECT 1) TO '{copies}/new.csv'; EXECUTE p",
    "PREPARE p AS FROM trades AT VERSION 0; EXECUTE p",
    "EXECUTE p",
    "INSERT INTO trades VALUES (9, 'z')",
    "UPDATE trades SET n = 0",
    "DELETE FROM trades",
    "TRUNCATE trades",
    "MERGE INTO trades USING (SELECT 1 AS n) s ON trades.n = s.n WHEN MATCHED THEN DELETE",
    "CREATE OR REPLACE TABLE trades AS SELECT 1 AS n",
    "CREATE TABLE made AS SELECT 1 AS n",
    "CREATE TEMP TABLE made AS SELECT 1 AS n",
    "CREATE TEMP TABLE made AS PIVOT trades ON n",
    "DROP TABLE trades",
    "RESTORE TABLE trades TO VERSION 0",
    "CREATE SNAPSHOT late",
    "DROP SNAPSHOT day",
    "ALTER TABLE trades ADD COLUMN x INTEGER",
    "WITH a AS (INSERT INTO trades VALUES (9, 'z') RETURNING *) FROM a",
    "WITH a AS (FROM trades) INSERT INTO trades FROM a",
    # what would stay in the session for others
    "CREATE VIEW v AS FROM trades",
    "CREATE TEMP VIEW v AS FROM '{file}'",
    "CREATE MACRO m() AS TABLE FROM read_text('{file}')",
    "CREATE FUNCTION m(x) AS x",
    "CREATE TYPE mood AS ENUM ('a')",
    "CREATE SEQUENCE s",
    "CREATE SCHEMA s",
    "SET threads = 1",
    "SET GLOBAL memory_limit = '1MB'",
    "SET enable_external_access = true",
    "SET lock_configuration = false",
    "SET allowed_directories = ['/']",
    "SET search_path = 'temp'",
    "SET VARIABLE x = 1",
    "RESET threads",
    "RESET ALL",
    "PRAGMA threads = 2",
    "PRAGMA enable_verification",
    "USE temp",
    "FROM enable_logging(storage = 'file', storage_path = '{outside}/log')",
    "FROM enable_logging()",
    'FROM "enable_logging" ()',
    "FROM Enable_Logging()",
    "FROM main.enable_logging()",
    "SELECT * FROM trades CROSS JOIN enable_logging()",
    "EXPLAIN ANALYZE FROM enable_logging()",
    "CALL enable_logging()",
    "FROM enable_profiling()",
    "FROM truncate_duckdb_logs()",
    "FROM duckdb_logs()",
    "FROM duckdb_logs_parsed('QueryLog')",
    "FROM force_checkpoint()",
    "CHECKPOINT",
    "VACUUM",
    "ANALYZE",
    # texts in which other readers see a string, a name or a comment where DuckDB sees words, or two words for one
    *(
        f"FROM {name}{space}()"
        for name in ("enable_logging", "duckdb_logs")
        for space in "\u200b\u2060\ufeff\u00a0\x0b"
    ),
    "/*'*/ SELECT * FROM enable_logging\u00a0()",
    "FROM `enable_logging`()",
    "FROM `duckdb_secrets` ()",
    "SELECT 1 AS `'`, * FROM enable_logging() --'",
    "SELECT 1_$$, * FROM enable_logging() --$$",
    "SELECT 1 \u2028$$, * FROM enable_logging() --$$",
    "SELECT 1 \x01$$, * FROM enable_logging() --$$",
    "/*'*/ SELECT 1 \u00a0$$, * FROM enable_logging() --$$",
    "SELECT E'a'\n'\\' , ' , * FROM enable_logging() --'",
    "SELECT E'a'\n'\\' , ' ; CREATE TABLE made AS SELECT 1 AS n; --'",
    "SELECT 1_$$ ; CREATE TABLE made AS SELECT 1 AS n --$$",
    "SELECT 1 \u2028$$ ; CREATE OR REPLACE MACRO memory.main.upper(x) AS 666 --$$",
    "FROM trades AT TIMESTAMP (now() + INTERVAL 1_$$ ; CREATE TABLE made AS SELECT 1 AS n --$$ DAY)",
    # other databases, extensions, credentials, the network
    "ATTACH '{outside}/x.duckdb' AS x",
    "ATTACH ':memory:' AS x",
    "ATTACH '{file}' AS x (TYPE sqlite)",
    "DETACH memory",
    "INSTALL httpfs",
    "LOAD httpfs",
    "LOAD '{outside}/evil.duckdb_extension'",
    "FORCE INSTALL spatial FROM community",
    "CREATE SECRET s (TYPE s3, KEY_ID 'a', SECRET 'b')",
    "DROP SECRET s",
    "FROM duckdb_secrets()",
    "FROM which_secret('s3://x/y', 's3')",
    "FROM load_aws_credentials()",
    "FROM 'http://127.0.0.1:{port}/x.csv'",
    "FROM read_csv('https://127.0.0.1:{port}/x.csv')",
    "FROM read_text('s3://other/secret.csv?s3_endpoint=127.0.0.1:{port}&s3_use_ssl=false')",
    "FROM '{segment}?s3_endpoint=127.0.0.1:{port}&s3_use_ssl=false'",
    "FROM read_csv('{other}')",
    "FROM read_text('{prefix}../../secret.csv')",
    "FROM read_text('{prefix}%2e%2e/%2e%2e/secret.csv')",
    "FROM sqlite_scan('{file}', 'a')",
    "FROM postgres_scan('host=127.0.0.1 port={port}', 'a', 'b')",
    # memory of the process
    "FROM pandas_scan(1)",
    "FROM arrow_scan(1, 1, 1)",
    "FROM arrow_scan_dumb(1, 1, 1)",
    "FROM python_map_function(1)",
    "FROM seq_scan('trades')",
    "SELECT getenv('HOME')",
]

SAFE = {
    "FROM trades ORDER BY n": [(1, "a"), (2, "b"), (3, "c")],
    "SELECT sum(n) FROM trades AT VERSION 0": [(1,)],
    "SELECT sum(n) FROM trades AT SNAPSHOT 'day'": [(1,)],
    "SELECT sum(n) FROM day.trades": [(1,)],
    "SELECT count(*) FROM trades AT TIMESTAMP (now() + INTERVAL 1 DAY)": [(3,)],
    "WITH a AS (FROM trades), b AS (SELECT max(n) AS m FROM a) FROM b": [(3,)],
    "TABLE trades ORDER BY n LIMIT 1": [(1, "a")],
    "(SELECT n FROM trades WHERE n > 2)": [(3,)],
    "PIVOT trades ON sym USING sum(n)": [(1, 2, 3)],
    "FROM (PIVOT trades ON sym USING sum(n))": [(1, 2, 3)],
    "SELECT r FROM range(2) t(r), generate_series(1, 1), unnest([1])": [(0,), (1,)],
    "SHOW TABLES": [("trades",)],
    "SELECT column_name FROM (DESCRIBE trades)": [("n",), ("sym",)],
    "SELECT max FROM (SUMMARIZE trades) WHERE column_name = 'n'": [("3",)],
    "SELECT count(*) FROM vstore.versions": [(2,)],
    "SELECT count(*) FROM vstore.diff('trades', 0, 1)": [(2,)],
    "SELECT DATE_TRUNC('month', TIMESTAMPTZ '2026-03-05 10:00:00+00')::VARCHAR": [("2026-03-01 00:00:00+00",)],
    "SELECT n FROM trades QUALIFY row_number() OVER (ORDER BY n DESC) = 1": [(3,)],
    "VALUES (1)": [(1,)],
    "SELECT 'read_text(' || n FROM trades WHERE n = 1": [("read_text(1",)],
    "SELECT\u00a0n FROM\u200btrades\u3000WHERE n = 1 AND sym <> '\u00a0' -- \u00a0": [(1,)],
    "SELECT E'\\'' || 'é' || $a$;$a$ || $$--$$ AS \"ü;\" /* ; */ FROM trades WHERE n = 1": [("'é;--",)],
    "SELECT version() LIKE 'v%'": [(True,)],
    "SHOW (SELECT 1 AS n)": [("n", "INTEGER", "YES", None, None, None)],
    "SELECT 1_0, .5e1, 0x1F FROM trades WHERE n = 3": [(10, 5.0, 0)],
}


@dataclass
class Place:
    """A library in a sandbox, what lies around it, and a port where somebody listens."""

    library: vs.Library
    connection: object
    words: dict[str, object]
    calls: list[object]


@pytest.fixture(scope="module")
def listening():
    """A port, and the list of who called."""
    calls: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        done = threading.Event()

        def listen():
            while not done.is_set():
                with suppress(TimeoutError):
                    called, address = server.accept()
                    calls.append(address)
                    called.close()

        thread = threading.Thread(target=listen)
        thread.start()
        yield server.getsockname()[1], calls
        done.set()
        thread.join()


@pytest.fixture(scope="module", params=["local", "memory", pytest.param("s3", marks=pytest.mark.s3)])
def place(request, tmp_path_factory, listening):
    outside = tmp_path_factory.mktemp("outside")
    (outside / "secret.csv").write_text(f"a\n{SECRET}\n")
    pd.DataFrame({"a": [SECRET]}).to_parquet(outside / "secret.parquet")
    url, options, other = str(outside / "store"), None, str(outside / "secret.csv")
    if request.param == "memory":
        url = "memory://"
    elif request.param == "s3":
        server = request.getfixturevalue("seaweed")
        buckets = [f"{name}-{uuid.uuid4().hex[:8]}" for name in ("cage", "other")]  # it may be made again
        for bucket in buckets:
            server.create_bucket(bucket)
            server.client().put_object(Bucket=bucket, Key="secret.csv", Body=f"a\n{SECRET}\n".encode())
        url, options, other = f"s3://{buckets[0]}", server.storage_options(), f"s3://{buckets[1]}/secret.csv"
    library = vs.open(url, options).create_library("eod")
    library.write("trades", pd.DataFrame({"n": [1], "sym": ["a"]}))
    library.snapshot("day")
    library.append("trades", pd.DataFrame({"n": [2, 3], "sym": ["b", "c"]}))
    connection = library.connect(read_only=True, sandbox=True)
    assert connection.execute("SELECT count(*) FROM trades").fetchone() == (3,)
    port, calls = listening
    prefix = f"{url}/eod/segments/"
    words = {
        "file": outside / "secret.csv",
        "parquet": outside / "secret.parquet",
        "outside": outside,
        "copies": connection._session._files.folder(),
        "copy": next(connection._session._files.folder().glob("*.parquet")),
        "prefix": prefix,
        "segment": f"{prefix}trades/x.parquet",
        "other": other,
        "port": port,
    }
    yield Place(library, connection, words, calls)
    connection.close()


def everything(place):
    """Return all that an attack could have changed; of the copies, those that are there before any."""
    outside, copy = place.words["outside"], place.words["copy"]
    files = {path: path.read_bytes() for path in [*outside.rglob("*"), copy] if path.is_file()}
    return files, place.library.list_versions(), place.library.list_snapshots()


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_gets_nothing_and_changes_nothing(place, attack):
    """Refused, or without the secret; files, versions and snapshots stay, nobody is called, others go on."""
    before = everything(place)
    host_frame = pd.DataFrame({"a": [SECRET]})
    text = attack.format(**place.words)
    cursor = place.connection.cursor()
    try:
        cursor.execute(text)
        rows = cursor.fetchall() if cursor.description else []
    except vs.DuckVStoreError as error:
        assert SECRET not in str(error)
    else:
        assert not text.startswith(("COPY", "CREATE", "SET", "EXPLAIN ANALYZE COPY")), "this should be refused"
        assert SECRET not in str(rows), rows
    assert len(host_frame) == 1
    assert everything(place) == before
    assert place.calls == []
    assert {path.suffix for path in place.words["copies"].iterdir()} <= {".parquet", ""}, "nothing but copies"
    side = place.connection._session._instance.cursor()
    assert side.execute("SELECT count(*) FROM duckdb_logs()").fetchone() == (0,), "nobody's statements are written down"
    assert side.execute("SELECT table_name FROM duckdb_tables()").fetchall() == []
    assert side.execute("SELECT upper('a')").fetchone() == ("A",)
    side.close()
    others: list[object] = []
    thread = threading.Thread(
        target=lambda: others.extend(place.connection.execute("FROM trades ORDER BY n").fetchall())
    )
    thread.start()
    thread.join()
    assert others == [(1, "a"), (2, "b"), (3, "c")]


@pytest.mark.parametrize("query", SAFE)
def test_queries_are_not_in_the_way_of_all_that(place, query):
    """What a sandbox is for runs as anywhere."""
    assert place.connection.execute(query).fetchall() == SAFE[query]


def test_a_transaction_reads_one_state(place):
    """BEGIN and COMMIT are allowed: they change nothing and keep later versions out of view."""
    connection = place.library.connect(sandbox=True)
    connection.execute("BEGIN")
    assert connection.execute("SELECT count(*) FROM trades").fetchone() == (3,)
    assert connection.execute("SELECT sum(n) FROM trades AT VERSION 0").fetchone() == (1,)
    connection.execute("COMMIT")
    connection.close()


def test_nothing_is_logged_and_no_credentials_are_there(place):
    """DuckDB itself, asked behind the sandbox's back, has no secret, no log, and no extension from outside."""
    cursor = place.connection._session._instance.cursor()
    assert cursor.execute("SELECT count(*) FROM duckdb_logs()").fetchone() == (0,)
    settings = dict(
        cursor.execute(
            "SELECT name, value FROM duckdb_settings() WHERE name IN ('lock_configuration', 'enable_external_access', "
            "'autoload_known_extensions', 'autoinstall_known_extensions', 'enable_logging')"
        ).fetchall()
    )
    assert settings.pop("lock_configuration") == "true"
    assert set(settings.values()) <= {"false", "0"}
    of_httpfs = "SELECT count(*) FROM duckdb_settings() WHERE name = 's3_region'"
    assert cursor.execute(of_httpfs).fetchone() == (0,), "there is no way to S3, so no credentials are needed"
    cursor.close()


@pytest.mark.parametrize("call", ["setseed(0.5)", "write_log('all is well')"])
def test_nothing_is_left_for_others_to_meet(place, call):
    """A seed would stay with the thread, which may serve somebody else next, and a line in the log of all."""
    with pytest.raises(vs.SqlError, match=f"does not call {call.partition('(')[0]}"):
        place.connection.execute(f"SELECT {call}")


@pytest.mark.parametrize(
    "call",
    [
        "pg_sleep(3600)",
        "(3600).pg_sleep()",
        '"PG_Sleep"(3600)',
        "list_transform([3600], lambda n: main.sleep_ms(n))",
        "sleep_ms(3600000)",
        "finalize(cast_to_type('AAAAAAAA'::BLOB, (SELECT first('x') EXPORT_STATE)))",
        "cast_to_type('AAAAAAAA'::BLOB, (SELECT first('x') EXPORT_STATE)).finalize()",
        "combine(cast_to_type('AAAAAAAA'::BLOB, (SELECT first('x') EXPORT_STATE)), NULL)",
        "to_aggregate_state('x', 'first', ['x'])",
    ],
)
@pytest.mark.parametrize("before", ["", "EXPLAIN ANALYZE "])
def test_nobody_waits_or_makes_up_a_state(place, call, before):
    """Sleeping holds a thread; a state of an aggregate may be any bytes to DuckDB 1.5, and then an address in them."""
    with pytest.raises(vs.SqlError, match="a sandboxed session"):
        place.connection.execute(f"{before}SELECT {call}")


def test_no_other_function_of_this_release_waits(place):
    """Names that say so, in what DuckDB lists, are all refused."""
    found = place.connection.execute(
        "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_name SIMILAR TO '.*(sleep|delay|wait).*'"
    ).fetchall()
    assert ("pg_sleep",) in found
    for (name,) in found:
        with pytest.raises(vs.SqlError, match=f"does not call {name}"):
            place.connection.execute(f"SELECT {name}(0)")


def test_settings_tell_nothing_of_the_host(place, monkeypatch):
    """Neither a proxy's password, which DuckDB takes from the environment, nor where the home is."""
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, f"http://user:{SECRET}@127.0.0.1:1")
    monkeypatch.setenv("HOME", f"/home/{SECRET}")
    connection = place.library.connect(sandbox=True)
    for query in (
        "FROM duckdb_settings()",
        "FROM pg_catalog.pg_settings",
        "SELECT current_setting('http_proxy'), current_setting('secret_directory')",
        "SELECT extension_name, install_path FROM duckdb_extensions()",
    ):
        rows = connection.execute(query).fetchall()
        assert rows
        assert SECRET not in str(rows), query
    connection.close()


def test_dataframes_of_the_host_stay_out_of_a_view_too(place):
    """A name of the caller's is not looked up even where the sandbox's owner calls from Python."""
    trades_of_the_host = pd.DataFrame({"a": [SECRET]})
    with pytest.raises(vs.DuckVStoreError, match="trades_of_the_host"):
        place.connection.execute("FROM trades_of_the_host")
    assert len(trades_of_the_host) == 1


def test_new_versions_are_seen(place):
    """A sandbox is no copy of the library: what others write is there for the next statement."""
    connection = place.library.connect(sandbox=True)
    place.library.write("later", pd.DataFrame({"n": [1]}))
    try:
        assert connection.execute("FROM later").fetchall() == [(1,)]
        place.library.write("later", pd.DataFrame({"n": [2]}))
        assert connection.execute("FROM later").fetchall() == [(2,)]
    finally:
        place.library.delete("later")
        connection.close()
