"""The attach file, read through DuckDB's Python package; for the shell itself see test_duckdb_cli.py."""

import json
from datetime import UTC, datetime, timedelta

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import duckvstore as vs
from tests.cuts import cut_every


@pytest.fixture
def lib(tmp_path):
    """An empty library in a folder."""
    return vs.open(tmp_path / "store").create_library("eod")


@pytest.fixture
def attach():
    """A function that attaches a published file, under a name of no meaning, to a fresh DuckDB."""
    opened = []

    def attach(uri: str) -> duckdb.DuckDBPyConnection:
        connection = duckdb.connect()
        opened.append(connection)
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(f"ATTACH '{uri}' AS eod (READ_ONLY)")
        return connection

    yield attach
    for connection in opened:
        connection.close()


def rows(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[list, list]:
    """Return names with types, and the rows in order, as text."""
    head = [(name, str(kind)) for name, kind, *_ in connection.execute(query).description]
    return head, connection.execute(f"SELECT COLUMNS(*)::VARCHAR FROM ({query})").fetchall()


def expected(connection: duckdb.DuckDBPyConnection, lib: vs.Library, symbol: str, as_of=None) -> tuple[list, list]:
    """Return what DuckDB shows of a version that was read without SQL."""
    connection.register("expected", lib.read(symbol, as_of, output_format="pyarrow").data)
    return rows(connection, "FROM expected")


def ticks(count: int, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    index = pd.date_range("2026-01-01", periods=count, freq="s", tz="UTC", name="time")
    return pd.DataFrame({"price": rng.normal(100, 1, count), "name": rng.choice(["a", "b", None], count)}, index=index)


def test_every_version_is_there_with_its_own_columns_and_types(lib, attach):
    """A version's macro call gives its columns, types and rows, whatever the columns of its neighbours."""
    lib.write("trades", ticks(10))
    lib.write("trades", pd.DataFrame({"price": ["1.5", None], "lot": pd.array([1, None], dtype="Int8")}))
    lib.write(
        "trades",
        pd.DataFrame({"wait": pd.to_timedelta([90, None], unit="s"), "at": pd.to_datetime(["2026-01-01", None])}),
    )
    lib.write("trades", pa.table({"t": pa.array([1, None], pa.time64("us")), "s": pa.array([0, 1], pa.timestamp("s"))}))
    lib.write("trades", ticks(7, seed=1))
    connection = attach(lib.publish())
    for version in range(5):
        assert rows(connection, f"FROM eod.trades({version})") == expected(connection, lib, "trades", version)
    assert rows(connection, "FROM eod.trades") == expected(connection, lib, "trades")


def test_rows_of_many_segments_come_in_order_and_complete(lib, attach, monkeypatch):
    """A version of several segments is scanned whole, in the order of its document."""
    frame = pd.DataFrame({"n": np.arange(300_000), "x": np.random.default_rng(3).normal(size=300_000)})
    cut_every(monkeypatch, 20000)
    lib.write("many", frame)
    connection = attach(lib.publish())
    pd.testing.assert_frame_equal(connection.execute("FROM eod.many(0)").df(), frame)


def test_a_version_without_rows_keeps_its_types(lib, attach):
    """Zero segments are zero rows of the right columns, as view and as macro."""
    lib.write("empty", ticks(3).iloc[:0])
    lib.write("empty", pd.DataFrame({"wait": pd.to_timedelta([]), "n": pd.array([], dtype="Int16")}))
    connection = attach(lib.publish())
    head, found = rows(connection, "FROM eod.empty(0)")
    assert (head, found) == ([("time", "TIMESTAMP WITH TIME ZONE"), ("price", "DOUBLE"), ("name", "VARCHAR")], [])
    assert rows(connection, "FROM eod.empty(1)") == ([("wait", "INTERVAL"), ("n", "SMALLINT")], [])
    assert rows(connection, "FROM eod.empty") == rows(connection, "FROM eod.empty(1)")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("9", "eod/trades has no version 9 among those published at .* the newest is 3"),
        ("-1", "has no version -1"),
        ("NULL::INTEGER", "has no version NULL"),
        ("99999999999999999999999999999", "has no version 99999999999999999999999999999"),
        ("2", "version 2 of eod/trades is its deletion, at .*: version 1 has what was there before"),
        ("NULL", 'whole number, not "NULL"'),
        ("0.0", "whole number, not DECIMAL"),
        ("0::DOUBLE", "whole number, not DOUBLE"),
        ("'0'", "whole number, not VARCHAR"),
        ("true", "whole number, not BOOLEAN"),
        ("[0]", "whole number, not INTEGER\\[\\]"),
        ("(SELECT 0)", "subquer"),
        ("", "does not support the supplied arguments"),
    ],
)
def test_what_is_no_published_version_is_an_error(lib, attach, argument, message):
    """An argument that names no readable version fails with the reason; it never gives other rows or none."""
    lib.write("trades", ticks(2))
    lib.write("trades", ticks(3))
    lib.delete("trades")
    lib.write("trades", ticks(4))
    connection = attach(lib.publish())
    for select in ("*", "count(*)"):
        with pytest.raises(duckdb.Error, match=message):
            connection.execute(f"SELECT {select} FROM eod.trades({argument})").fetchall()


def test_a_version_can_be_named_by_anything_constant(lib, attach):
    """Any integer type, an expression of constants, a variable and a parameter name the version."""
    lib.write("trades", ticks(2))
    lib.write("trades", ticks(3))
    connection = attach(lib.publish())
    connection.execute("SET VARIABLE wanted = 1")
    for argument in ("1", "1::UTINYINT", "1::HUGEINT", "2 - 1", "getvariable('wanted')", "version := 1"):
        assert connection.execute(f"SELECT count(*) FROM eod.trades({argument})").fetchone() == (3,)
    for version in (0, 1, 0):
        query = "SELECT count(*) FROM eod.trades(?)"
        assert connection.execute(query, [version]).fetchone() == (version + 2,)
    diff = "SELECT count(*) FROM eod.trades(1) AS new ANTI JOIN eod.trades(0) AS old USING (time)"
    assert connection.execute(diff).fetchone() == (1,)


def test_a_deleted_symbol_has_no_view_but_its_earlier_versions(lib, attach):
    """The newest state of a deleted symbol is an error, its history stays readable."""
    lib.write("gone", ticks(2))
    lib.delete("gone")
    connection = attach(lib.publish())
    with pytest.raises(duckdb.CatalogException, match="gone does not exist"):
        connection.execute("FROM eod.gone")
    assert connection.execute("SELECT count(*) FROM eod.gone(0)").fetchone() == (2,)
    assert connection.execute("FROM eod.vstore.symbols").fetchall() == []


def test_a_version_that_sql_cannot_show_is_an_error(lib, attach):
    """A value without columns fails when it is queried, also when only its rows are counted."""
    lib.write("bare", pd.DataFrame(index=range(3)))
    lib.write("trades", ticks(2))
    connection = attach(lib.publish())
    for relation in ("eod.bare", "eod.bare(0)"):
        with pytest.raises(duckdb.Error, match="no columns"):
            connection.execute(f"SELECT count(*) FROM {relation}").fetchall()
    assert connection.execute("SELECT count(*) FROM eod.trades").fetchone() == (2,)


def test_snapshots_are_schemas_of_views(lib, attach):
    """A snapshot shows the versions that it holds, also after its symbol went on or was deleted."""
    lib.write("trades", ticks(2))
    lib.write("gone", ticks(5))
    lib.snapshot("end of 2026")
    lib.write("trades", ticks(3))
    lib.delete("gone")
    lib.snapshot("empty", versions={})
    connection = attach(lib.publish())
    assert rows(connection, 'FROM eod."end of 2026".trades') == expected(connection, lib, "trades", "end of 2026")
    assert connection.execute('SELECT count(*) FROM eod."end of 2026".gone').fetchone() == (5,)
    schemas = connection.execute("SELECT DISTINCT schema_name FROM duckdb_schemas() WHERE database_name = 'eod'")
    assert {"end of 2026", "empty", "vstore"} <= {name for (name,) in schemas.fetchall()}


HOSTILE = [
    'a"b', "a'b", "a.b", "select", "Ünï cödé 🦆", "x; DROP TABLE y; --", "$$", "line\nbreak", "main", "vstore",
    "published", "eod", "error", "query", "range", "typeof", "to_microseconds", "duckdb_tables", "sqlite_master",
    "É", "é", " ", "%41", "n" * 240,
]  # fmt: skip


def test_hostile_names_reach_their_own_rows(lib, attach):
    """Any symbol's name works as view, as macro and in a snapshot, and none changes what another means."""
    for name in HOSTILE:
        lib.write(name, pd.DataFrame({"name": [name], "wait": pd.to_timedelta([1], unit="s")}))
    lib.snapshot('it\'s a "snapshot"')
    connection = attach(lib.publish())
    for use in ("memory", "eod"):  # a database that is current resolves more names by itself
        connection.execute(f"USE {use}")
        for name in HOSTILE:
            quoted = '"' + name.replace('"', '""') + '"'
            for relation in (quoted, f"{quoted}(0)", f'"it\'s a ""snapshot""".{quoted}'):
                assert connection.execute(f"SELECT name FROM eod.{relation}").fetchall() == [(name,)], relation
    assert connection.execute("FROM eod.vstore.left_out").fetchall() == []


def test_a_symbol_named_as_the_function_that_reads_leaves_the_rest_intact(lib, attach):
    """The macro read_parquet, which would change every view, is left out and named; its view is there."""
    lib.write("read_parquet", ticks(2))
    lib.write("trades", ticks(3))
    with pytest.warns(UserWarning, match="'read_parquet' was not published"):
        uri = lib.publish()
    connection = attach(uri)
    for relation, count in (("eod.read_parquet", 2), ("eod.trades", 3), ("eod.trades(0)", 3)):
        assert connection.execute(f"SELECT count(*) FROM {relation}").fetchone() == (count,)
    with pytest.raises(duckdb.Error):
        connection.execute("FROM eod.read_parquet(0)")


def test_names_that_differ_in_case_only_are_an_error_and_not_each_other(lib, attach):
    """Where DuckDB could give one symbol's rows for another's name, it gives neither, and the file says so."""
    lib.write("trades", ticks(2))
    lib.snapshot("day")
    lib.write("Trades", ticks(3))
    lib.snapshot("Day")
    lib.write("quotes", ticks(4))
    with pytest.warns(UserWarning, match="was not published"):
        published = lib.publish()
    assert {(found.kind, found.name) for found in published.left_out} == {
        ("symbol", "Trades"), ("symbol", "trades"), ("snapshot", "Day"), ("snapshot", "day")
    }  # fmt: skip
    connection = attach(published)
    for relation in ("trades", "Trades", "TRADES(0)", '"trades"(0)'):
        with pytest.raises(duckdb.Error, match="'Trades' and 'trades' differ in case only"):
            connection.execute(f"SELECT count(*) FROM eod.{relation}").fetchall()
    with pytest.raises(duckdb.CatalogException, match="day"):
        connection.execute("FROM eod.day.trades")
    assert connection.execute("SELECT count(*) FROM eod.quotes").fetchone() == (4,)
    assert len(connection.execute("FROM eod.vstore.left_out").fetchall()) == len(published.left_out)


def test_the_catalogue_is_frozen_as_tables(lib, attach):
    """The catalogue's tables equal those of the session, and stay as they were when the library goes on."""
    lib.write("trades", ticks(2), metadata={"source": "x", "n": 1}, author="ann", message="first")
    lib.snapshot("day")
    lib.write("trades", ticks(3))
    before = datetime.now(UTC)
    uri = lib.publish()
    lib.write("trades", ticks(4))
    lib.write("later", ticks(1))
    lib.snapshot("after")
    connection = attach(uri)
    for name in ("symbols", "versions", "segments", "columns", "snapshots"):
        from duckvstore.engine.reading import catalogue_tables

        connection.register("now", catalogue_tables.table(lib.open_library, name))
        assert rows(connection, f"FROM eod.vstore.{name} LIMIT 0") == rows(connection, "FROM now LIMIT 0")
    versions = connection.execute("SELECT version, row_count, snapshots, author, metadata FROM eod.vstore.versions")
    assert versions.fetchall() == [
        (1, 3, [], None, None), (0, 2, ["day"], "ann", json.dumps({"source": "x", "n": 1})),
    ]  # fmt: skip
    assert connection.execute("SELECT symbol, version FROM eod.vstore.symbols").fetchall() == [("trades", 1)]
    assert connection.execute("SELECT snapshot, symbol, version FROM eod.vstore.snapshots").fetchall() == [
        ("day", "trades", 0)
    ]
    assert connection.execute("SELECT count(*), sum(row_count) FROM eod.vstore.segments").fetchone() == (2, 5)
    library, published_at = connection.execute(
        "SELECT library, epoch(published_at) FROM eod.vstore.published"
    ).fetchone()
    assert library == "eod"
    assert abs(published_at - before.timestamp()) < 60


def test_versions_written_after_publishing_are_errors_until_it_is_published_again(lib, attach):
    """The file knows the versions of its day; publishing again replaces it and is seen by who attaches again."""
    lib.write("trades", ticks(2))
    uri = lib.publish()
    lib.write("trades", ticks(3))
    first = attach(uri)
    assert first.execute("SELECT count(*) FROM eod.trades").fetchone() == (2,)
    with pytest.raises(duckdb.Error, match="publish again"):
        first.execute("FROM eod.trades(1)")
    first.close()
    assert lib.publish() == uri
    again = attach(uri)
    assert again.execute("SELECT count(*) FROM eod.trades").fetchone() == (3,)
    assert again.execute("SELECT count(*) FROM eod.trades(1)").fetchone() == (3,)


def test_versions_that_share_their_rows_do_not_repeat_their_addresses(lib):
    """A hundred versions of metadata over one set of segments make a file hardly larger than one does."""
    lib.write("trades", ticks(10))
    folder = lib.open_library.objects
    key = lib.open_library.layout.attach_file()
    lib.publish()
    small = len(folder.read(key))
    for number in range(60):
        lib.write_metadata("trades", {"n": number})
    lib.publish()
    assert len(folder.read(key)) < small + 50_000


def test_a_store_that_duckdb_cannot_scan_is_refused(tmp_path):
    """A library in memory, or under a path that DuckDB would take for a pattern, cannot be published."""
    for url in ("memory://", tmp_path / "a[b]*"):
        lib = vs.open(url).create_library("eod")
        lib.write("trades", ticks(2))
        with pytest.raises(vs.Unsupported, match="cannot be scanned by DuckDB"):
            lib.publish()


def test_a_missing_segment_is_named(lib):
    """Publishing over a damaged version says which segment is missing, and leaves the earlier file alone."""
    lib.write("trades", ticks(2))
    uri = lib.publish()
    opened = lib.open_library
    lib.write("trades", ticks(3, seed=5))
    version = opened.version("trades", 1)
    before = opened.objects.read(opened.layout.attach_file())
    opened.objects.delete([opened.layout.segment_key(version.segments[0].key)])
    with pytest.raises(vs.Integrity, match=r"segments/trades/.*is missing"):
        lib.publish()
    assert opened.objects.read(opened.layout.attach_file()) == before
    assert uri.endswith("attach/catalog.duckdb")


def test_the_file_of_an_empty_library_can_be_attached(lib, attach):
    """A library without symbols gives empty tables."""
    connection = attach(lib.publish())
    assert connection.execute("SELECT count(*) FROM eod.vstore.versions").fetchone() == (0,)


def test_the_folded_catalogue_is_live(lib, attach):
    """To the newest fold, whatever layers it has; the file need not be published again."""
    lib.write('it\'s; a "name"', ticks(2), metadata={"n": 1})
    for count in range(3):
        lib.write("trades", ticks(count + 1))
    with lib.transaction() as transaction:
        transaction.write("t", ticks(1))
    lib.fold()
    connection = attach(lib.publish())
    names = [name for name in lib.sql("FROM vstore.versions LIMIT 0").arrow().column_names if name != "snapshots"]
    columns = ", ".join(f'"{name}"' for name in names)

    def live() -> list:
        return connection.execute(f"SELECT {columns} FROM eod.vstore.folded_versions").fetchall()

    def known() -> list:
        return lib.sql(f"SELECT {columns} FROM vstore.versions ORDER BY symbol, version DESC").fetchall()

    before = known()
    assert live() == before and len(before) == 5
    lib.append("trades", ticks(1).shift(1, "D"))
    lib.write("new", ticks(1))
    assert live() == before
    for change in (lambda: None, lambda: lib.delete("t"), lambda: lib.write("new", ticks(2))):
        change()
        lib.fold()
        assert live() == known()
    lib.prune("trades", keep_last=1)
    lib.gc(timedelta(0), dry_run=False)
    assert live() == known() and len(live()) == 6
    folded_at = connection.execute("SELECT DISTINCT epoch(folded_at) FROM eod.vstore.folded_versions").fetchall()
    assert len(folded_at) == 1 and abs(folded_at[0][0] - datetime.now(UTC).timestamp()) < 60


@pytest.mark.filterwarnings("ignore::duckvstore.DocumentWarning")
def test_a_folded_catalogue_that_is_damaged_prevents_no_publication(tmp_path, attach):
    lib = vs.open(str(tmp_path)).create_library("eod")
    lib.fold()  # of nothing: there is a generation without files
    lib.publish()
    lib.write("trades", ticks(2))
    lib.fold()
    for path in (tmp_path / "eod" / "catalogue" / "files").iterdir():
        path.write_bytes(b"nothing")
    connection = attach(lib.publish())
    assert connection.execute("SELECT count(*) FROM eod.trades").fetchone() == (2,)
    with pytest.raises(duckdb.Error, match="could not be read when this was published"):
        connection.execute("FROM eod.vstore.folded_versions").fetchall()


def test_what_others_put_beside_the_catalogue_is_not_shown(tmp_path, attach):
    lib = vs.open(str(tmp_path)).create_library("eod")
    lib.write("trades", ticks(2))
    lib.fold()
    connection = attach(lib.publish())
    (tmp_path / "eod" / "catalogue" / "generations" / "0.json").write_text("{}")
    (tmp_path / "eod" / "catalogue" / "files" / "other.parquet").write_bytes(b"nothing")
    assert connection.execute("SELECT symbol, version FROM eod.vstore.folded_versions").fetchall() == [("trades", 0)]
    for path in (tmp_path / "eod" / "catalogue" / "generations").glob("9*.json"):
        path.write_text(path.read_text().replace(lib.open_library.library_id, "0" * 32))
    with pytest.raises(duckdb.Error, match="not of this library"):
        connection.execute("FROM eod.vstore.folded_versions").fetchall()
