"""The extension on S3 servers, with DuckDB's own secrets: from the shell and from Python, and how much it asks for."""

from __future__ import annotations

import duckdb
import pandas as pd
import pytest

import duckvstore as vs
from duckvstore.sql.syntax.literals import literal, quote
from tests.benchmarks.delay import counted, proxied
from tests.cuts import cut_every
from tests.extension.conftest import s3_preamble

pytestmark = [pytest.mark.s3, pytest.mark.duckdb1]


@pytest.fixture(params=["s3_bucket", "moto_bucket"])
def bucket(request):
    """A bucket of SeaweedFS, or of moto."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def lib(bucket):
    """A library in a bucket, with several versions and segments."""
    found = vs.open(f"{bucket.url}/some/prefix", storage_options=bucket.storage_options).create_library("eod")
    with pytest.MonkeyPatch.context() as patch:
        cut_every(patch, 100)
        found.write("trades", pd.DataFrame({"n": range(1000), "text": [f"t{n}" for n in range(1000)]}))
    found.write("trades", pd.DataFrame({"n": range(10)}))
    found.write("odd 'name'/ü", pd.DataFrame({"n": [7]}))
    found.snapshot("day one")
    found.append("trades", pd.DataFrame({"n": range(10)}))
    return found


def attach(bucket) -> str:
    return f"ATTACH {literal(f'{bucket.url}/some/prefix/eod')} AS eod (TYPE vstore);\n"


@pytest.fixture
def attached(bucket, lib, connection):
    """A connection that has attached the library."""
    connection.execute(s3_preamble(bucket.storage_options) + attach(bucket))
    return connection


def test_versions_snapshots_and_the_catalogue(lib, attached):
    """All answer as lib.sql does, and the next commit is seen."""
    for name in ("trades", "trades AT (VERSION => 0)", "trades AT (VERSION => -2)", quote("odd 'name'/ü")):
        rows = attached.sql(f"SELECT COLUMNS(*)::VARCHAR FROM eod.{name}").fetchall()
        assert rows == lib.sql(f"SELECT COLUMNS(*)::VARCHAR FROM {name}").fetchall()
    assert attached.sql('SELECT count(*) FROM eod."day one".trades').fetchall() == [(10,)]
    for table in ("versions", "symbols", "snapshots", "segments", "columns"):
        query = f"SELECT COLUMNS(*)::VARCHAR FROM {{}}vstore.{table} ORDER BY ALL"
        assert attached.sql(query.format("eod.")).fetchall() == lib.sql(query.format("")).fetchall()
    lib.write("trades", pd.DataFrame({"n": [1]}))
    lib.write("new", pd.DataFrame({"n": [1]}))
    lib.delete("odd 'name'/ü")
    assert attached.sql("SELECT count(*) FROM eod.trades").fetchall() == [(1,)]
    attached.execute("USE eod")
    assert attached.sql("SHOW TABLES").fetchall() == [("new",), ("trades",)]
    with pytest.raises(duckdb.CatalogException, match="does not exist"):
        attached.sql("FROM eod.absent")
    with pytest.raises(duckdb.BinderException, match="no version 9"):
        attached.sql("FROM eod.trades AT (VERSION => 9)")


def test_the_shell_on_s3(bucket, lib, shell):
    """DuckDB's own shell with a secret of its own."""
    shell.preamble += s3_preamble(bucket.storage_options) + attach(bucket)
    rows = shell.rows("SELECT count(*) AS c, sum(n) AS s FROM eod.trades AT (VERSION => 0) WHERE n < 100;")
    assert rows[-1] == ["100", "4950"]


def test_without_rights_or_a_library_the_error_says_so(bucket, lib, connection):
    """A place without a library is named, and so are rights that lack."""
    connection.execute(s3_preamble(bucket.storage_options))
    with pytest.raises(duckdb.Error, match="there is no library"):
        connection.execute(f"ATTACH {literal(f'{bucket.url}/elsewhere/eod')} AS eod (TYPE vstore)")


@pytest.mark.parametrize("bucket", ["s3_bucket"], indirect=True)
def test_few_requests(bucket, lib, connection):
    """Cold: library, listing, document, then the segments alone. Segments that a filter excludes are not asked for."""
    with proxied(bucket.storage_options["endpoint_url"], 0) as (address, counts):
        connection.execute(s3_preamble({**bucket.storage_options, "endpoint_url": address}))
        counted(counts)
        connection.execute(attach(bucket))
        assert counted(counts)["requests"] <= 2
        assert connection.execute("SELECT count(*) FROM eod.trades").fetchall() == [(20,)]
        assert counted(counts)["requests"] <= 3  # the number of rows is in the document
        found = connection.execute("SELECT sum(n) FROM eod.trades AT (VERSION => 0) WHERE n BETWEEN 250 AND 260")
        assert found.fetchall() == [(sum(range(250, 261)),)]
        assert counted(counts)["requests"] <= 12
        connection.execute("SELECT sum(n) FROM eod.trades AT (VERSION => 0) WHERE n BETWEEN 250 AND 260").fetchall()
        assert counted(counts)["requests"] <= 2  # nobody asks for what never changes
