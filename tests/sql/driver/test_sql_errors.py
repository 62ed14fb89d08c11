"""Each wrong statement gives one clear error of the right class, with its place in the user's own text."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pandas as pd
import pytest

import duckvstore as vs
from duckvstore.errors import AccessDenied, DuckVStoreError, Integrity, SqlError, StorageUnavailable, Unsupported
from duckvstore.sql.driver import duckdb_errors

if TYPE_CHECKING:
    from pathlib import Path

TRADES = pd.DataFrame({"n": [1, 2, 3], "price": [10.0, 20.0, 30.0], "sym": ["a", "b", "c"]})
# What only the SQL that is run knows about, and the user never wrote.
INTERNAL = re.compile(r"read_parquet|__vstore|hive_partitioning|\.parquet")


@pytest.fixture(scope="module")
def lib(tmp_path_factory):
    library = vs.open(tmp_path_factory.mktemp("errors")).create_library("lib")
    library.write("trades", TRADES)
    library.write("trades", TRADES)
    yield library
    library.session.close()


@pytest.mark.parametrize(
    ("sql", "advice", "place"),
    [
        ("FROM trades@1", "FROM trades AT VERSION 3", "@1"),
        ("FROM trades AT 1", "FROM trades AT VERSION 3", "1"),
        ("FROM trades AT '2026-11-20'", "AT TIMESTAMP '2026-11-20'", "'2026"),
        ("FROM trades VERSION 1", "FROM trades AT VERSION 3", "1"),
        ("FROM trades AS OF 1", "FROM trades AT VERSION 3", "1"),
        ("FROM trades VERSION AS OF 1", "FROM trades AT VERSION 3", "VERSION"),
        ("FROM trades TIMESTAMP AS OF '2026-11-20'", "AT TIMESTAMP '2026-11-20'", "TIMESTAMP"),
        ("SELECT 'é' FROM trades WHERE n > 1 AT VERSION 1", "stands right behind the name", "VERSION 1"),
        ("FROM trades LIMIT 3 AT SNAPSHOT 'eod'", "stands right behind the name", "SNAPSHOT"),
        ("FROM eod-2026-11-20.trades", 'in double quotes: FROM "eod-2026-11-20".trades', "-2026"),
        ("FROM vstore.dif('trades', 0, 1)", "vstore.diff('trades', 2, 3)", "vstore"),
    ],
)
def test_a_form_of_another_system_or_in_another_place_is_told_how_it_is_written(lib, sql, advice, place):
    with pytest.raises(SqlError, match=re.escape(advice)) as caught:
        lib.sql(sql)
    assert caught.value.offset == sql.index(place)
    assert "sniff_csv" not in str(caught.value)


@pytest.mark.parametrize("sql", ["SELECT * FORM trades", "SELECT n - FROM trades", "SELECT n -- at\nFROM trades WHERE"])
def test_other_syntax_errors_say_nothing_of_versions(lib, sql):
    with pytest.raises(SqlError, match="syntax error") as caught:
        lib.sql(sql)
    assert "AT VERSION" not in str(caught.value)


@pytest.mark.parametrize(
    ("sql", "message", "place"),
    [
        ("SELEC 1", "syntax error", "SELEC"),
        ("SELECT * FORM trades", "syntax error", "trades"),
        ("SELECT * FROM trades WHERE", "syntax error", ""),
        ("SELECT 'é🛫', n FORM trades", "syntax error", "trades"),
        ("SELECT 'é🛫', n\nFROM trades t u", "syntax error", "u"),
        ("SELECT 'é🛫', n FROM trades WHERE", "syntax error", ""),
        ("SELECT nocol FROM trades AT VERSION 0", 'column "nocol" not found', "nocol"),
        ("SELECT 'é🛫', nocol FROM trades", 'column "nocol" not found', "nocol"),
        ("SELECT n FROM trades AT VERSION 0 WHERE\n  nocol > 3", 'column "nocol" not found', "nocol"),
        ("SELECT t.n FROM trades AT VERSION 1 t JOIN trades AT VERSION 0 u ON t.n = u.m", '"m"', "u.m"),
        ("SELECT n FROM trades t JOIN trades AT VERSION 0 u USING (sym)", "Ambiguous", "n FROM"),
        ("SELECT nofunc(n) FROM trades AT VERSION 1", "nofunc", "nofunc"),
        ("SELECT x.n FROM trades AT VERSION 0", 'table "x" not found', "x.n"),
        ("SELECT n, max(price) FROM trades AT VERSION 0", "GROUP BY", "n,"),
        ("SELECT 1; SELECT nocol FROM trades AT VERSION 0; SELECT 2", '"nocol"', "nocol"),
        ("SELECT * FROM trades AT VERSION 0 WHERE price > 'abc'", "Could not convert string 'abc'", "'abc'"),
        ("FROM trades AT VERSION 0 SELECT sym::INT", "Could not convert string 'a'", "::INT"),
        ("DESCRIBE SELECT nocol FROM trades AT VERSION 0", '"nocol"', "nocol"),
        ("EXPLAIN SELECT nocol FROM trades AT VERSION 0", '"nocol"', "nocol"),
        ("SELECT * FROM trades AT VERSION 'x'", "expected a whole number", "AT VERSION"),
        ("SELECT * FROM trades AT VERSION", "AT VERSION", "AT VERSION"),
        ("SELECT * FROM trades AT VERSION 1.5", "expected a whole number", "AT VERSION"),
        ("SELECT * FROM (SELECT 1) AT VERSION 3", "AT VERSION", "AT VERSION"),
        ("SELECT * FROM range(3) AT VERSION 3", "AT VERSION", "AT VERSION"),
        ("SELECT * FROM trades AT TIMESTAMP 'soon'", "takes a time", "AT TIMESTAMP"),
    ],
)
def test_the_caret_is_under_the_place_in_the_users_text(lib, sql, message, place):
    with pytest.raises(SqlError, match=re.escape(message)) as caught:
        lib.sql(sql).fetchall()
    error = caught.value
    assert error.sql == sql
    assert sql[error.offset :].startswith(place)
    *_, shown, caret = str(error).splitlines()
    assert shown[caret.index("^") :].startswith(place.partition("\n")[0])
    assert not INTERNAL.search(str(error))
    assert isinstance(error, ValueError)


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELECT error('mine') FROM trades", "mine"),
        ("SELECT (SELECT n FROM trades)", "More than one row"),
        ("SELECT 200::TINYINT", "out of range"),
        ("FROM 'nowhere.parquet'", "No files found"),
        ("FROM read_csv('nowhere.csv')", "No files found"),
        ("SET no_such_setting = 1", "no_such_setting"),
        ("SET allow_unredacted_secrets = true", "Cannot change"),
        ("DROP TABLE nothing", "does not exist"),
        ("ATTACH 'nowhere/at/all.db' AS x (READ_ONLY)", "Cannot open"),
        ("SELECT * FROM", "syntax error"),
        ("SELECT 'unclosed", "unterminated"),
        ("SELECT (((", "syntax error"),
        ("COPY trades TO '/nonexistent/folder/x.csv'", "Cannot open file"),
    ],
)
def test_other_errors_of_duckdb_keep_its_words(lib, sql, message):
    with pytest.raises(SqlError, match=message) as caught:
        lib.sql(sql).fetchall()
    assert '{"exception' not in str(caught.value)
    assert caught.value.__cause__ is not None


def test_running_out_of_memory_says_what_to_do(tmp_path):
    library = vs.open(tmp_path).create_library("lib")
    library.sql("SET memory_limit = '20MB'; SET temp_directory = ''")
    with pytest.raises(DuckVStoreError, match=r"ran out of memory(.|\n)*Select fewer columns or rows"):
        library.sql("SELECT list(range) FROM range(30000000)").fetchall()
    library.session.close()


def segment_of(folder: Path) -> Path:
    (found,) = folder.glob("lib/segments/*/*.parquet")
    return found


@pytest.mark.parametrize("damage", ["missing", "cut short", "no footer", "damaged footer", "other bytes"])
def test_a_damaged_segment_names_the_version(tmp_path, damage):
    library = vs.open(tmp_path).create_library("lib")
    library.write("trades", TRADES)
    path = segment_of(tmp_path)
    data = path.read_bytes()
    path.unlink()
    if damage != "missing":
        damaged = {
            "cut short": data[: len(data) // 2],
            "no footer": data[:-4] + b"OOPS",
            "damaged footer": data[:-60] + b"x" * 40 + data[-20:],
            "other bytes": b"this is no parquet",
        }
        path.write_bytes(damaged[damage])
    with pytest.raises(
        Integrity, match=r"version 0 of 'lib/trades' cannot be read: segment .* is (damaged|missing)"
    ) as caught:
        library.sql("SELECT sum(n) FROM trades").fetchall()
    assert "read another version" in str(caught.value)
    library.session.close()


def test_a_damaged_segment_of_a_memory_store_is_found_when_it_is_fetched():
    library = vs.open("memory://").create_library("lib")
    library.write("trades", TRADES)
    objects = library.open_library.objects
    (key,) = [entry.key for entry in objects.list("lib/segments/")]
    objects.put(key, objects.read(key)[:-1])
    with pytest.raises(Integrity, match="is damaged"):
        library.sql("SELECT sum(n) FROM trades")
    library.session.close()


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("HTTP Error: HTTP GET error on 'http://x/y' (HTTP 403)", AccessDenied, "check the credentials"),
        ("IO Error: Could not connect to server error for 'http://x'", StorageUnavailable, "check the address"),
        ("HTTP Error: Request timeout", StorageUnavailable, "check the address"),
        ('IO Error: No files found that match the pattern "x"', SqlError, "No files found"),
        ("Out of Memory Error: could not allocate", DuckVStoreError, "memory_limit"),
        ("INTERNAL Error: Attempted to dereference", DuckVStoreError, "open it again"),
        ("Cannot install the required extension 'httpfs'", Unsupported, "wheel"),
        ('{"exception_type":"Binder","exception_message":"no","position":"3"}', SqlError, "Binder error: no"),
        ('{"exception_type": broken', SqlError, "broken"),
        ("no prefix at all", SqlError, "no prefix at all"),
    ],
)  # fmt: skip
def test_each_failure_has_its_class(text, kind, expected):
    failure = duckdb_errors.take_apart(RuntimeError(text))
    error = duckdb_errors.to_error(failure, "SELECT 1", failure.position, lambda _: "")
    assert type(error) is kind
    assert expected in str(error)


def test_long_messages_are_cut():
    failure = duckdb_errors.take_apart(RuntimeError(f"Binder Error: {'x' * 100_000}"))
    assert len(failure.message) < 2000
