"""What changes while a library is attached is seen by the next statement, and a statement sees one moment."""

from __future__ import annotations

import json
import shutil
import threading
from datetime import timedelta
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

import duckvstore as vs
from duckvstore.sql.syntax.literals import literal, quote
from tests.cuts import cut_every

pytestmark = pytest.mark.duckdb1
HOSTILE = ["a b", "ü/€", "'; DROP x; --", '"quoted"', "..", "a=b", "50%", "*?[x]{y}", "x@1", "main", "new\nline", "~41"]


@pytest.fixture
def lib(tmp_path, connection):
    """A library, attached as ``eod``."""
    found = vs.open(tmp_path / "store").create_library("eod")
    found.write("trades", pd.DataFrame({"n": range(5)}))
    connection.execute(f"ATTACH {literal(str(tmp_path / 'store' / 'eod'))} AS eod (TYPE vstore)")
    return found


def count(connection, name: str) -> int:
    return connection.sql(f"SELECT count(*) FROM eod.{name}").fetchone()[0]


def error(connection, sql: str) -> str:
    with pytest.raises(duckdb.Error) as failure:
        connection.sql(sql).fetchall()
    assert "INTERNAL" not in str(failure.value)
    return str(failure.value)


def test_the_next_statement_sees_the_last_commit(lib, connection):
    """New versions, symbols, columns, types, deletions and restored versions, also of a prepared statement."""
    connection.execute("PREPARE counted AS SELECT count(*) FROM eod.trades")
    assert connection.execute("EXECUTE counted").fetchone() == (5,)
    lib.append("trades", pd.DataFrame({"n": range(5)}))
    assert connection.execute("EXECUTE counted").fetchone() == (10,)
    lib.write("quotes", pa.table({"q": ["x"]}))
    assert count(connection, "quotes") == 1
    lib.sql("ALTER TABLE trades ADD COLUMN note VARCHAR")
    lib.sql("ALTER TABLE trades RENAME COLUMN n TO number")
    lib.sql("INSERT INTO trades VALUES (7, 'seven')")
    wanted = lib.sql("FROM trades ORDER BY ALL")
    assert connection.sql("FROM eod.trades ORDER BY ALL").fetchall() == wanted.fetchall()
    assert connection.sql("FROM eod.trades").columns == ["number", "note"]
    assert connection.sql("FROM eod.trades AT (VERSION => 0)").columns == ["n"]
    lib.delete("quotes")
    assert "is its deletion" in error(connection, "FROM eod.quotes")
    assert count(connection, "quotes AT (VERSION => 0)") == 1
    lib.restore_version("quotes", 0)
    assert count(connection, "quotes") == 1


def test_pruned_and_removed_versions(lib, connection):
    """A pruned version is an error, except through a snapshot; the newest stays."""
    for number in range(3):
        lib.write("trades", pd.DataFrame({"n": range(number)}))
    lib.snapshot("held", versions={"trades": 1})
    assert count(connection, "trades AT (VERSION => 2)") == 1
    lib.prune("trades", keep_last=1)
    assert "was pruned" in error(connection, "FROM eod.trades AT (VERSION => 2)")
    assert count(connection, "held.trades") == 0
    assert count(connection, "trades AT (VERSION => 'held')") == 0
    lib.gc(grace=timedelta(0), dry_run=False)
    assert count(connection, "trades") == 2
    assert "no version 0" in error(connection, "FROM eod.trades AT (VERSION => 0)")
    assert "helt" in error(connection, "FROM eod.helt.trades")


def test_times(lib, connection):
    """AT TIMESTAMP takes times with and without a zone, which is UTC, dates, and expressions."""
    lib.write("trades", pd.DataFrame({"n": [1]}))
    first, second = (row[0] for row in lib.sql("SELECT created_at FROM vstore.versions ORDER BY version").fetchall())
    for at, wanted in ((first, 5), (second, 1)):
        assert count(connection, f"trades AT (TIMESTAMP => '{at.isoformat()}')") == wanted
        assert count(connection, f"trades AT (TIMESTAMP => TIMESTAMPTZ '{at.isoformat()}')") == wanted
        assert count(connection, f"trades AT (TIMESTAMP => TIMESTAMP '{at.replace(tzinfo=None)}')") == wanted
    assert count(connection, "trades AT (TIMESTAMP => now() + INTERVAL 1 DAY)") == 1
    for wrong in ("'2000-01-01'", "DATE '2000-01-01'", "NULL", "'never'"):
        error(connection, f"FROM eod.trades AT (TIMESTAMP => {wrong})")
    for wrong in ("NULL", "1.5", "99", "-99", "'no such'", "170141183460469231731687303715884105727"):
        error(connection, f"FROM eod.trades AT (VERSION => {wrong})")


def test_transactions_are_seen_whole_or_not_at_all(lib, connection):
    """Documents of a transaction count when it is decided; BEGIN pins what was read."""
    with lib.transaction() as transaction:
        transaction.write("trades", pd.DataFrame({"n": range(7)}))
        transaction.write("other", pd.DataFrame({"n": range(7)}))
    assert count(connection, "trades") == count(connection, "other") == 7
    for path in (lib_root(lib) / "transactions").glob("*.json"):
        decision = path.read_text()
        path.unlink()
        connection.execute("DETACH eod")  # decisions are final, so one that was seen is remembered
        connection.execute(f"ATTACH {literal(str(lib_root(lib)))} AS eod (TYPE vstore)")
        assert count(connection, "trades") == 5
        assert "does not exist" in error(connection, "FROM eod.other")
        path.write_text(decision)
    assert count(connection, "trades") == count(connection, "other") == 7
    connection.execute("BEGIN")
    assert count(connection, "trades") == 7
    lib.write("trades", pd.DataFrame({"n": range(8)}))
    lib.write("other", pd.DataFrame({"n": range(8)}))
    assert count(connection, "trades") == 7
    assert count(connection, "other") == 7  # of the moment at which trades was read
    connection.execute("COMMIT")
    assert count(connection, "other") == 8


def lib_root(lib):
    """Return the folder of a library."""
    return Path(lib.open_library.objects.uri("eod"))


def test_names(lib, connection):
    """Any name works; one of another case is found where it is the only one, and an exact one comes first."""
    for number, name in enumerate(HOSTILE):
        lib.write(name, pd.DataFrame({"n": [number]}))
        assert connection.sql(f"SELECT n FROM eod.{quote(name)}").fetchall() == [(number,)]
        assert connection.sql(f"SELECT n FROM eod.{quote(name)} AT (VERSION => 0)").fetchall() == [(number,)]
    connection.execute("USE eod")
    assert {row[0] for row in connection.sql("SHOW TABLES").fetchall()} == {*HOSTILE, "trades"}
    assert count(connection, "TRADES") == 5
    lib.write("Trades", pd.DataFrame({"n": [1]}))
    assert (count(connection, "trades"), count(connection, "Trades")) == (5, 1)
    query = 'SELECT (SELECT count(*) FROM trades), (SELECT count(*) FROM "Trades")'
    assert connection.sql(query).fetchall() == [(5, 1)]
    assert "Did you mean" in error(connection, "FROM eod.tradez")
    assert "matches the symbols" in error(connection, "FROM eod.TRADES")
    for name in ("snap shot", "Ünï", 'a"b'):
        lib.snapshot(name)
        assert connection.sql(f"SELECT count(*) FROM eod.{quote(name)}.trades").fetchall() == [(5,)]


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO eod.trades VALUES (1)",
        "UPDATE eod.trades SET n = 1",
        "DELETE FROM eod.trades",
        "TRUNCATE eod.trades",
        "DROP TABLE eod.trades",
        "DROP VIEW eod.trades",
        "DROP TABLE IF EXISTS eod.trades",
        "ALTER TABLE eod.trades ADD COLUMN m INTEGER",
        "CREATE TABLE eod.new AS SELECT 1",
        "CREATE TABLE eod.new (i INTEGER)",
        "CREATE OR REPLACE TABLE eod.trades AS SELECT 1",
        "CREATE VIEW eod.new AS SELECT 1",
        "CREATE SCHEMA eod.new",
        "COPY eod.trades FROM 'file.csv'",
        "MERGE INTO eod.trades USING (SELECT 1 AS m) ON n = m WHEN MATCHED THEN DELETE",
    ],
)
def test_writes_are_refused_with_a_pointer(lib, connection, sql):
    """The error says what does write, and nothing is written."""
    assert "lib.sql" in error(connection, sql)
    assert len(lib.list_versions("trades")) == 1


def test_another_table_of_the_name_can_be_written(lib, connection):
    """What is refused is what would change the library."""
    connection.execute("CREATE TABLE trades AS FROM eod.trades")
    connection.execute("INSERT INTO trades FROM eod.trades")
    assert connection.sql("SELECT count(*) FROM trades").fetchall() == [(10,)]


def test_what_cannot_be_attached(lib, connection, tmp_path):
    """No library, another option, a later format and an unknown feature are errors that say so."""
    assert "no library" in error(connection, f"ATTACH {literal(str(tmp_path))} AS other (TYPE vstore)")
    root = literal(str(lib_root(lib)))
    assert "no option" in error(connection, f"ATTACH {root} AS other (TYPE vstore, VERSION 3)")
    document = next((lib_root(lib) / "versions" / "trades").glob("*.json"))
    body = json.loads(document.read_text())
    for change, wanted in (({"requires": ["teleport"]}, "teleport"), ({"format": 2}, "format 2")):
        copy = tmp_path / wanted.replace(" ", "") / "eod"
        shutil.copytree(lib_root(lib), copy)
        (copy / document.relative_to(lib_root(lib))).write_text(json.dumps({**body, **change}))
        connection.execute(f'ATTACH {literal(str(copy))} AS "{wanted}" (TYPE vstore)')
        assert wanted in error(connection, f'FROM "{wanted}".trades')
        assert connection.sql(f'SELECT count(*) FROM "{wanted}".vstore.versions').fetchall() == [(0,)]


def test_a_library_that_is_made_again_is_another(lib, connection, tmp_path):
    """After a library was deleted and made again, nothing of the first one is seen."""
    assert count(connection, "trades") == 5
    store = vs.open(tmp_path / "store")
    store.delete_library("eod")
    again = store.create_library("eod")
    again.write("trades", pd.DataFrame({"n": [1, 2]}))
    connection.execute("DETACH eod")
    connection.execute(f"ATTACH {literal(str(tmp_path / 'store' / 'eod'))} AS eod (TYPE vstore)")
    assert count(connection, "trades") == 2


def test_long_lists_of_segments(lib, connection):
    """Segments in manifests are read in their order, and pruned as those in the document are."""
    rows = pa.table({"id": range(12_000), "text": [f"t{n:05}" for n in range(12_000)]})
    with pytest.MonkeyPatch.context() as patch:
        cut_every(patch, 10)
        lib.write("long", rows)
    document = lib.open_library.version("long", 0)
    assert hasattr(document.segments, "manifests")
    assert connection.sql("FROM eod.long").to_arrow_table().equals(lib.sql("FROM long").arrow())
    plan = connection.sql("EXPLAIN SELECT * FROM eod.long WHERE id BETWEEN 100 AND 110").fetchall()[0][1]
    assert f"/{len(document.segments)}" in plan
    found = connection.sql("SELECT count(*) FROM eod.long WHERE id BETWEEN 100 AND 110").fetchone()
    assert found == (11,)
    assert count(connection, "vstore.segments") == lib.sql("SELECT count(*) FROM vstore.segments").fetchone()[0]


def test_hidden_and_file_columns(lib, connection):
    """A symbol may have columns called as what DuckDB adds to files, and has no others."""
    lib.write("files", pa.table({"filename": ["mine"], "file_row_number": [7]}))
    assert connection.sql("FROM eod.files").fetchall() == [("mine", 7)]
    assert "filename" in error(connection, "SELECT filename FROM eod.trades")


def test_the_shell(lib, shell):
    """DuckDB's own shell: attach, query, time travel, lists."""
    attach = f"ATTACH {literal(str(lib_root(lib)))} AS eod (TYPE vstore);"
    assert shell.rows(f"{attach} SELECT sum(n) AS s FROM eod.trades;") == [["s"], ["10"]]
    assert shell.rows(f"{attach} SELECT count(*) AS c FROM eod.trades AT (VERSION => 0);") == [["c"], ["5"]]
    assert shell.rows(f"{attach} USE eod; SHOW TABLES;") == [["name"], ["trades"]]
    assert shell.rows(f"{attach} SELECT symbol, version FROM eod.vstore.versions;")[1:] == [["trades", "0"]]
    assert "does not exist" in shell.error(f"{attach} FROM eod.absent;")


def test_a_folded_library(lib, connection):
    """Its symbols are listed by the catalogue and the journal: what came, went and came back after the fold, too."""
    for number in range(30):
        lib.write(f"s{number:02}", pd.DataFrame({"n": [number]}))
    lib.delete("s07")
    lib.fold()
    connection.execute("USE eod")

    def listed() -> list[str]:
        return sorted(row[0] for row in connection.sql("SHOW TABLES").fetchall())

    assert listed() == sorted(lib.list_symbols())
    lib.write("later", pd.DataFrame({"n": [1]}))
    lib.delete("s03")
    lib.write("s07", pd.DataFrame({"n": [2]}))
    assert listed() == sorted(lib.list_symbols())
    assert "s03" not in listed()
    assert {"later", "s07", "trades"} < set(listed())
    names = connection.sql("SELECT table_name FROM information_schema.columns WHERE column_name = 'n'").fetchall()
    assert {row[0] for row in names} == set(listed())
    assert count(connection, "LATER") == 1
    lib.fold()
    assert listed() == sorted(lib.list_symbols())
    for path in (lib_root(lib) / "catalogue" / "files").iterdir():
        path.write_bytes(b"damaged")
    assert listed() == sorted(lib.list_symbols())
    for path in (lib_root(lib) / "folds").iterdir():
        path.unlink()
    assert listed() == sorted(lib.list_symbols())


def test_segments_in_another_store(tmp_path, connection):
    """They are found where library.json says, if that place says whose they are."""
    store = vs.open(tmp_path / "documents", segments_url=tmp_path / "segments")
    store.create_library("apart").write("t", pd.DataFrame({"n": [1, 2]}))
    root = tmp_path / "documents" / "apart"
    connection.execute(f"ATTACH {literal(str(root))} AS apart (TYPE vstore)")
    assert connection.sql("SELECT sum(n) FROM apart.t").fetchall() == [(3,)]
    (tmp_path / "segments" / "apart" / "owner.json").unlink()
    assert "owner.json" in error(connection, f"ATTACH {literal(str(root))} AS again (TYPE vstore)")


def test_many_threads_beside_a_writer(lib, connection):
    """Cursors query, join and list at once, while versions and symbols come; each statement is of one moment."""
    failures: list[Exception] = []

    def work() -> None:
        cursor = connection.cursor()
        try:
            for _ in range(15):
                assert cursor.execute("SELECT count(*) FROM eod.trades AT (VERSION => 0)").fetchall() == [(5,)]
                cursor.execute("SHOW ALL TABLES").fetchall()
                both = "SELECT (SELECT max(n) FROM eod.trades), (SELECT max(n) FROM eod.other)"
                trades, other = cursor.execute(both).fetchall()[0]
                assert trades == other
        except Exception as failure:
            failures.append(failure)

    def write(number: int) -> None:
        with lib.transaction() as transaction:
            for symbol in ("trades", "other"):
                transaction.write(symbol, pd.DataFrame({"n": [number]}))

    write(10)
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(20, 30):
        write(number)
    for thread in threads:
        thread.join()
    assert not failures
