"""The published file in an unmodified ``duckdb`` shell, from a folder and from a real S3 server."""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import duckvstore as vs
from duckvstore.sql.driver import httpfs

SHELL = shutil.which("duckdb", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
assert SHELL, "no duckdb shell beside Python or on the PATH: pip install duckdb-cli"
pytestmark = pytest.mark.duckdb1  # PyPI has no shell of DuckDB 2 yet


class Shell:
    """A stock ``duckdb`` shell with a home of its own, to which statements are given as one batch."""

    def __init__(self, home, preamble: str = "") -> None:
        self.home = home
        self.preamble = preamble + "SET TimeZone = 'UTC';\n"

    def run(self, sql: str) -> subprocess.CompletedProcess[str]:
        """Run statements on standard input, so that no secret is in the list of processes."""
        return subprocess.run(
            [SHELL, "-batch", "-bail", "-csv", "-init", os.devnull],
            input=self.preamble + sql + "\n",
            env={"PATH": os.environ["PATH"], "HOME": str(self.home), "LANG": "C.UTF-8"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def rows(self, sql: str) -> list[list[str]]:
        """Return the rows of the statements, the heading first, as text."""
        done = self.run(sql)
        assert done.returncode == 0, done.stderr
        return list(csv.reader(done.stdout.splitlines()))

    def error(self, sql: str) -> str:
        """Return the message of statements that must fail."""
        done = self.run(sql)
        assert done.returncode != 0, done.stdout
        return done.stderr

    def table(self, sql: str) -> pa.Table:
        """Return the rows of a query with the types that the shell gives them."""
        path = self.home / "out.parquet"
        done = self.run(f"ATTACH '{self.uri}' AS eod (READ_ONLY); COPY ({sql}) TO '{path}' (FORMAT parquet);")
        assert done.returncode == 0, done.stderr
        return pq.read_table(path)


@pytest.fixture
def local(tmp_path):
    """A library in a folder, and a shell."""
    return vs.open(tmp_path / "store").create_library("eod"), Shell(tmp_path)


@pytest.fixture
def on_s3(s3_bucket, tmp_path):
    """A library on SeaweedFS, and a shell that has httpfs and a secret for it."""
    extension = httpfs.of_wheel(duckdb.__version__)
    if extension is None:
        pytest.skip(f"no wheel duckdb-extension-httpfs=={duckdb.__version__}")
    options = s3_bucket.storage_options
    preamble = (
        f"LOAD '{extension}';\n"
        ".output /dev/null\n"  # it would print "Success"
        f"CREATE SECRET (TYPE s3, KEY_ID '{options['access_key_id']}', SECRET '{options['secret_access_key']}', "
        f"REGION '{options['region']}', ENDPOINT '{options['endpoint_url'].removeprefix('http://')}', "
        "URL_STYLE 'path', USE_SSL false);\n"
        ".output\n"
    )
    lib = vs.open(f"{s3_bucket.url}/some/prefix", storage_options=options).create_library("eod")
    return lib, Shell(tmp_path, preamble)


@pytest.fixture(params=["local", "on_s3"])
def place(request):
    """A library and a shell, in a folder and on S3."""
    return request.getfixturevalue(request.param)


def trades(count: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    index = pd.date_range("2026-01-01", periods=count, freq="s", tz="UTC", name="time")
    return pd.DataFrame(
        {
            "price": rng.normal(100, 1, count),
            "lot": pd.array(rng.integers(0, 99, count), dtype="Int32"),
            "name": rng.choice(["a", "b", None], count),
            "wait": pd.to_timedelta(rng.integers(0, 10**6, count), unit="ms"),
        },
        index=index,
    )


def expected(lib: vs.Library, symbol: str, as_of, path) -> pa.Table:
    """Return what DuckDB writes to Parquet for a version that was read without SQL."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.register("frame", lib.read(symbol, as_of, output_format="pyarrow").data)
        connection.execute(f"COPY frame TO '{path}' (FORMAT parquet)")
    return pq.read_table(path)


def test_the_shell_reads_every_version_and_snapshot_as_the_library_does(place, tmp_path):
    """Newest version, versions by number and snapshots equal what ``read`` gives: names, types, rows, order."""
    lib, shell = place
    lib.write("trades", trades(1000, 0))
    lib.write("trades", trades(1200, 1)[["price", "name"]], message="two columns only")
    lib.snapshot("end of day")
    lib.write("trades", trades(0, 2))
    lib.write("trades", trades(900, 3))
    lib.write("odd \"name'; --", pd.Series([1.5, np.nan], name="x"))
    shell.uri = lib.publish()
    for version in range(4):
        found = shell.table(f"FROM eod.trades({version})")
        assert found.equals(expected(lib, "trades", version, tmp_path / "expected.parquet"))
    newest = expected(lib, "trades", None, tmp_path / "expected.parquet")
    assert shell.table("FROM eod.trades").equals(newest)
    held = expected(lib, "trades", "end of day", tmp_path / "expected.parquet")
    assert shell.table('FROM eod."end of day".trades').equals(held)
    odd = expected(lib, "odd \"name'; --", None, tmp_path / "expected.parquet")
    assert shell.table('FROM eod."odd ""name\'; --"').equals(odd)


def test_the_shell_shows_the_catalogue_and_any_alias_works(place):
    """The catalogue is there as tables, whatever the file is attached as, and when it is the current database."""
    lib, shell = place
    lib.write("trades", trades(10, 0), author="ann")
    lib.write("trades", trades(20, 1), author="bob")
    lib.snapshot("day")
    uri = lib.publish()
    query = "SELECT version, row_count, author, snapshots FROM {}.vstore.versions ORDER BY version;"
    heading = ["version", "row_count", "author", "snapshots"]
    wanted = [heading, ["0", "10", "ann", "[]"], ["1", "20", "bob", "[day]"]]
    assert shell.rows(f"ATTACH '{uri}' AS eod (READ_ONLY); " + query.format("eod")) == wanted
    other = f"ATTACH '{uri}' AS \"other one\" (READ_ONLY); "
    assert shell.rows(other + query.format('"other one"')) == wanted
    counts = 'SELECT count(*) FROM trades; SELECT count(*) FROM trades(0); SELECT count(*) FROM "day".trades;'
    assert [row for row in shell.rows(f'{other} USE "other one"; {counts}') if row[0].isdigit()] == [
        ["20"],
        ["10"],
        ["20"],
    ]


def test_two_versions_join_in_the_shell(place):
    """A join of two versions is a diff, and a filter gives what pandas gives."""
    lib, shell = place
    before = trades(500, 0)
    after = before.copy()
    after.iloc[[3, 7, 11], 0] = 0.0
    lib.write("trades", before)
    lib.write("trades", after)
    uri = lib.publish()
    diff = "FROM eod.trades(0) o JOIN eod.trades(1) n USING (time) SELECT count(*) AS n WHERE o.price <> n.price;"
    assert shell.rows(f"ATTACH '{uri}' AS eod (READ_ONLY); {diff}") == [["n"], ["3"]]
    filtered = "SELECT count(*) AS n FROM eod.trades(0) WHERE price > 100 AND name = 'a';"
    count = int(((before["price"] > 100) & (before["name"] == "a")).sum())
    assert shell.rows(f"ATTACH '{uri}' AS eod (READ_ONLY); {filtered}") == [["n"], [str(count)]]


def test_what_the_shell_cannot_answer_is_an_error(place):
    """Unknown, deleted, negative and later versions fail in the shell with the reason."""
    lib, shell = place
    lib.write("trades", trades(10, 0))
    lib.delete("trades")
    lib.write("trades", trades(20, 1))
    attach = f"ATTACH '{lib.publish()}' AS eod (READ_ONLY); "
    lib.write("trades", trades(30, 2))
    for argument, message in (
        ("1", "version 1 of eod/trades is its deletion"),
        ("3", "eod/trades has no version 3 among those published"),
        ("-1", "has no version -1"),
        ("NULL", "whole number"),
        ("'2'", "whole number, not VARCHAR"),
    ):
        assert message in shell.error(f"{attach} SELECT count(*) FROM eod.trades({argument});")
    assert shell.rows(f"{attach} SELECT count(*) AS n FROM eod.trades;") == [["n"], ["20"]]


def test_publishing_again_replaces_the_file(place):
    """After publishing again, a shell that attaches afresh sees the new versions under the same address."""
    lib, shell = place
    lib.write("trades", trades(10, 0))
    uri = lib.publish()
    count = f"ATTACH '{uri}' AS eod (READ_ONLY); SELECT count(*) AS n FROM eod.trades;"
    assert shell.rows(count) == [["n"], ["10"]]
    lib.write("trades", trades(20, 1))
    assert lib.publish() == uri
    assert shell.rows(count) == [["n"], ["20"]]


def test_the_file_holds_no_credentials(on_s3, s3_bucket):
    """What is published can be read by others: neither key nor secret is in it."""
    lib, _ = on_s3
    lib.write("trades", trades(10, 0))
    lib.publish()
    opened = lib.open_library
    data = opened.objects.read(opened.layout.attach_file())
    for secret in ("access_key_id", "secret_access_key"):
        assert s3_bucket.storage_options[secret].encode() not in data
    assert b"s3://" in data


def test_a_reader_who_may_not_write_can_attach_but_not_publish(on_s3, s3_bucket, s3_reader_options):
    """Publishing needs the right to write; attaching does not."""
    lib, shell = on_s3
    lib.write("trades", trades(10, 0))
    uri = lib.publish()
    reader = vs.open(f"{s3_bucket.url}/some/prefix", storage_options=s3_reader_options)["eod"]
    with pytest.raises(vs.AccessDenied):
        reader.publish()
    key, secret = s3_reader_options["access_key_id"], s3_reader_options["secret_access_key"]
    options = s3_bucket.storage_options
    shell.preamble = shell.preamble.replace(options["access_key_id"], key).replace(options["secret_access_key"], secret)
    assert shell.rows(f"ATTACH '{uri}' AS eod (READ_ONLY); SELECT count(*) AS n FROM eod.trades(0);") == [["n"], ["10"]]
