"""SQL over S3: secrets, caching without requests, several endpoints, and what goes wrong there."""

from __future__ import annotations

import io

import duckdb
import pandas as pd
import pytest

import duckvstore as vs
from duckvstore.errors import AccessDenied, Integrity, StorageUnavailable, Unsupported
from duckvstore.sql.driver import httpfs
from duckvstore.sql.driver.duckdb_errors import take_apart
from duckvstore.sql.planning.planner import Plan, Scan
from duckvstore.sql.session import Session
from duckvstore.sql.syntax.parser import parse
from tests.cuts import cut_every

pytestmark = pytest.mark.duckdb1  # the httpfs wheel ends at 1.5.5
FRAME = pd.DataFrame({"n": range(1000), "price": [float(n) for n in range(1000)]})


def open_bucket(bucket, prefix=""):
    return vs.open(bucket.url + prefix, storage_options=bucket.storage_options)


@pytest.fixture
def lib(s3_bucket):
    library = open_bucket(s3_bucket, "/some/prefix").create_library("odd name")
    library.write("sym bol", FRAME)
    library.write("sym bol", FRAME.head(10))
    yield library
    library.session.close()


def requests(library) -> list[str]:
    """Return the kinds of requests that DuckDB made since the last call."""
    found = library.sql("SELECT request.type FROM duckdb_logs_parsed('HTTP')").fetchall()
    library.sql("CALL truncate_duckdb_logs()")
    return [kind for (kind,) in found]


def test_a_warm_query_makes_no_request_and_an_overwritten_file_is_seen(lib, s3_bucket):
    """Segments are taken from the cache; a file of the user's own beside them is asked for anew each time."""
    lib.sql("CALL enable_logging('HTTP')")
    sql = 'SELECT count(*), sum(price) FROM "sym bol" AT VERSION 0 WHERE n < 500'
    assert lib.sql(sql).fetchall() == [(500, 124750.0)]
    assert requests(lib), "a cold query reads the segment"
    for _ in range(2):
        assert lib.sql(sql).fetchall() == [(500, 124750.0)]
        assert requests(lib) == []
    client = s3_bucket.server.client()
    address = f"s3://{s3_bucket.name}/some/prefix/odd~20name/mine.parquet"
    for count in (3, 7, 5):
        buffer = io.BytesIO()
        FRAME.head(count).to_parquet(buffer)
        client.put_object(Bucket=s3_bucket.name, Key=address.split("/", 3)[3], Body=buffer.getvalue())
        assert lib.sql(f"SELECT count(*) FROM '{address}'").fetchall() == [(count,)]
        assert lib.sql(f"SELECT count(*) FROM '{address}' JOIN \"sym bol\" USING (n)").fetchall() == [(count,)]
        lib.sql(f"CREATE OR REPLACE TEMP VIEW mine AS FROM '{address}'")
        assert lib.sql('SELECT count(*) FROM mine JOIN "sym bol" USING (n)').fetchall() == [(count,)]
    client.close()


def test_pruned_segments_are_not_asked_for(lib, monkeypatch):
    cut_every(monkeypatch, 100)
    lib.write("long", FRAME)
    lib.sql("CALL enable_logging('HTTP')")
    assert lib.sql("SELECT count(*) FROM long WHERE n > 1000").fetchall() == [(0,)]
    assert requests(lib) == []
    lib.sql("SELECT count(price) FROM long WHERE n = 550").fetchall()
    assert requests(lib).count("HEAD") == 1


def test_two_endpoints_and_two_copies_of_one_prefix_work_side_by_side(s3_bucket, moto_bucket, moto):
    moto.create_bucket(s3_bucket.name)
    same_name = vs.open(s3_bucket.url, storage_options=moto_bucket.storage_options)
    stores = [open_bucket(s3_bucket), open_bucket(moto_bucket), same_name]
    libraries = {}
    for position, store in enumerate(stores):
        library = store.create_library("lib")
        library.write("t", FRAME.assign(origin=position))
        libraries[f"l{position}"] = library.open_library
    session = Session(libraries, None)
    joined = "l0.t a JOIN l1.t b USING (n) JOIN l2.t c USING (n)"
    sql = f"SELECT a.origin, b.origin, c.origin, count(*) FROM {joined} GROUP BY ALL"
    assert session.sql(sql).fetchall() == [(0, 1, 2, 1000)]
    session.close()


def test_secrets_do_not_show(lib):
    lib.sql('SELECT count(*) FROM "sym bol"').fetchall()
    secret = lib.open_library.objects.scan_secret()["SECRET"]
    shown = repr(lib.sql("FROM duckdb_secrets()").fetchall()) + repr(lib.sql("FROM duckdb_settings()").fetchall())
    assert "vstore_0" in shown
    assert secret not in shown
    with pytest.raises(vs.SqlError):
        lib.sql("SET allow_unredacted_secrets = true")


def test_secrets_do_not_get_into_the_log_of_duckdb(lib, capfd):
    """Its user may log every statement, before the first one that needs the credentials."""
    secret = lib.open_library.objects.scan_secret()["SECRET"]
    lib.sql("CALL enable_logging(level = 'trace')")
    lib.sql('SELECT count(*) FROM "sym bol"').fetchall()
    logged = repr(lib.sql("SELECT message FROM duckdb_logs").fetchall())
    assert "vstore_0" in logged
    assert secret not in logged
    lib.session._instance._secrets.clear()
    lib.sql("CALL enable_logging('QueryLog', storage = 'stdout')")
    lib.sql('SELECT count(*) FROM "sym bol"').fetchall()
    lib.sql("CALL disable_logging()")
    printed = capfd.readouterr().out
    assert "vstore_0" in printed
    assert secret not in printed


def test_a_locked_configuration_is_no_obstacle(lib):
    lib.sql("SET lock_configuration = true")
    assert lib.sql('SELECT count(*) FROM "sym bol" AT VERSION 0 WHERE n < 5').fetchall() == [(5,)]


@pytest.mark.parametrize(
    ("changed", "kind", "message"),
    [
        ({"SECRET": "wrong-secret"}, AccessDenied, "SignatureDoesNotMatch"),
        ({"KEY_ID": "nobody"}, AccessDenied, "check the credentials"),
        ({"ENDPOINT": "127.0.0.1:1"}, StorageUnavailable, "Could not connect"),
    ],
)
def test_when_duckdb_cannot_read_what_we_can(lib, monkeypatch, changed, kind, message):
    objects = lib.open_library.objects
    known = objects.scan_secret()
    monkeypatch.setattr(objects, "scan_secret", lambda: {**known, **changed})
    with pytest.raises(kind, match=message) as caught:
        lib.sql('SELECT sum(n) FROM "sym bol"').fetchall()
    assert known["SECRET"] not in repr((caught.value, caught.value.__cause__))


def test_new_credentials_are_taken_up(lib, monkeypatch):
    objects = lib.open_library.objects
    good = objects.scan_secret()
    monkeypatch.setattr(objects, "scan_secret", lambda: {**good, "SECRET": "expired"})
    with pytest.raises(AccessDenied):
        lib.sql('SELECT sum(n) FROM "sym bol"').fetchall()
    monkeypatch.setattr(objects, "scan_secret", lambda: good)
    assert lib.sql('SELECT sum(n) FROM "sym bol"').fetchall() == [(45,)]


@pytest.mark.parametrize("damage", ["missing", "cut short"])
def test_a_damaged_segment_on_s3_names_the_version(lib, s3_bucket, damage):
    client = s3_bucket.server.client()
    version = lib.open_library.version("sym bol", 1)
    key = "some/prefix/" + lib.open_library.layout.segment_key(version.segments[0].key)
    if damage == "missing":
        client.delete_object(Bucket=s3_bucket.name, Key=key)
    else:
        client.put_object(Bucket=s3_bucket.name, Key=key, Body=b"PAR1 nothing PAR1")
    client.close()
    with pytest.raises(Integrity, match="version 1 of 'odd name/sym bol' cannot be read"):
        lib.sql('SELECT sum(n) FROM "sym bol"').fetchall()
    assert lib.sql('SELECT count(*) FROM "sym bol" AT VERSION 0').fetchall() == [(1000,)]


def test_a_session_goes_on_after_a_segment_seemed_too_short(lib, s3_bucket):
    """DuckDB keeps what it took for the size of a file, whether the file or an answer was cut short."""
    client = s3_bucket.server.client()
    version = lib.open_library.version("sym bol", 1)
    key = "some/prefix/" + lib.open_library.layout.segment_key(version.segments[0].key)
    whole = client.get_object(Bucket=s3_bucket.name, Key=key)["Body"].read()
    client.put_object(Bucket=s3_bucket.name, Key=key, Body=b"PAR1")
    with pytest.raises(Integrity):
        lib.sql('SELECT sum(n) FROM "sym bol"').fetchall()
    client.put_object(Bucket=s3_bucket.name, Key=key, Body=whole)
    client.close()
    assert lib.sql('SELECT sum(n) FROM "sym bol"').fetchall() == [(45,)]


@pytest.mark.parametrize(
    "said", ["File '{}' too small to be a Parquet file", "No magic bytes found at end of file '{}'"]
)
def test_what_duckdb_says_of_a_segment_that_is_whole_is_an_answer_that_broke_off(lib, said):
    """It is no error of the statement: bytes that never came whole made it."""
    version = lib.open_library.version("sym bol", 1)
    scans = [Scan(lib.open_library, version, tuple(version.segments))]
    statement = parse("SELECT 1")[0]
    plan = Plan(statement, statement.sql, {}, scans)
    message = f"Invalid Input Error: {said.format('s3://b/' + version.segments[0].key)}"
    error = plan.explain_damage(take_apart(duckdb.InvalidInputException(message)), message)
    assert type(error) is StorageUnavailable
    assert "run the statement again" in str(error)
    conversion = "Conversion Error: Could not convert string 'a' to INT32"
    assert plan.explain_damage(take_apart(duckdb.ConversionException(conversion)), conversion) is None


def test_without_httpfs_the_error_has_all_three_remedies(monkeypatch, tmp_path):
    monkeypatch.setattr(httpfs, "of_wheel", lambda _: None)
    instance = duckdb.connect()
    instance.execute(f"SET extension_directory = '{tmp_path}'")
    instance.execute("SET custom_extension_repository = 'http://127.0.0.1:1'")
    with pytest.raises(Unsupported, match=r"INSTALL httpfs.*pip install duckdb-extension-httpfs==.*by hand"):
        httpfs.load(instance)
    instance.close()


def test_the_wheel_of_httpfs_is_found_without_importing_it():
    path = httpfs.of_wheel(duckdb.__version__)
    assert path is not None
    assert path.is_file()
    assert httpfs.of_wheel("0.0.1") is None
