"""A result is the same rows in every form, as DuckDB itself would give them, and looks well."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

import duckvstore as vs
from duckvstore.errors import DuckVStoreError, InvalidInput, SqlError
from duckvstore.format.rows import chunking
from duckvstore.sql.results import result as results
from duckvstore.sql.results.figures import Figures, ScannedTable

# What DuckDB's own .df() refuses, or (dates out of range) cannot convert.
_NOT_IN_PANDAS = {"uhugeint", "bignum", "date", "time_tz", "date_array", "tuple"}
_NAMED_UTC = "zoneinfo.ZoneInfo(key='Etc/UTC')"
_TEXT_IN_ARROW = {"uhugeint", "bignum", "bit", "time_tz"}


@pytest.fixture(scope="module")
def lib(tmp_path_factory):
    library = vs.open(tmp_path_factory.mktemp("results")).create_library("lib")
    library.write("trades", pd.DataFrame({"n": range(50), "name": [f"<b>&{n}" for n in range(50)]}))
    yield library
    library.session.close()


def duckdb_types():
    connection = duckdb.connect()
    return [row[0] for row in connection.execute("DESCRIBE SELECT * FROM test_all_types()").fetchall()]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", duckdb_types())
def test_every_type_comes_out_as_duckdb_gives_it(lib, name):
    """Names, types, pandas dtypes, Python values and Arrow types, each form asked twice, in any order."""
    sql = f'SELECT "{name}", "{name}" AS "{name}" FROM test_all_types()'
    own = duckdb.connect()
    result = lib.sql(sql)
    assert result.columns == [name, name]
    assert result.types == [str(kind) for kind in own.sql(sql).types]
    exact = sql.replace(f'"{name}", "{name}" AS', f'"{name}"::VARCHAR AS "{name}", "{name}"::VARCHAR AS')
    for _ in range(2):
        # What DuckDB's Arrow has no room for is text.
        assert str(result.arrow()) == str(own.sql(exact if name in _TEXT_IN_ARROW else sql).to_arrow_table())
        if name not in _NOT_IN_PANDAS:
            pd.testing.assert_frame_equal(result.df(), own.sql(sql).df())
    if name == "timestamptz_array":
        return  # DuckDB wants pytz
    try:
        expected = own.sql(sql).fetchall()
    except duckdb.Error:  # zoned times, without pytz: those of every other form are checked above
        assert result.fetchall()[0][0].tzinfo is UTC
    else:
        # Without pytz some releases give UTC by its name.
        assert repr(result.fetchall()) == repr(expected).replace(_NAMED_UTC, "datetime.timezone.utc")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT range::INT AS a, range / 2 AS b, range::VARCHAR AS c, range % 2 = 0 AS d FROM range(1000)",
        "SELECT CASE WHEN range % 3 > 0 THEN range END AS a, CASE WHEN range > 5 THEN 'x' END AS b FROM range(20)",
        "SELECT range AS a, 'x' AS b, 1.5 AS c, now()::TIMESTAMP AS d, true AS e, today() AS f FROM range(0)",
        "SELECT 'nan'::DOUBLE AS a, NULL::DOUBLE AS b, NULL AS c, NULL::BOOLEAN AS d, 1::FLOAT AS e",
        "SELECT sum(range) AS s, avg(range) AS m, uuid() IS NULL AS u FROM range(10)",
    ],
)
def test_data_frames_equal_duckdb_s_own(lib, sql):
    pd.testing.assert_frame_equal(lib.sql(sql).df(), duckdb.connect().sql(sql).df())


def test_whole_numbers_stay_whole_and_zoned_times_are_in_utc(lib):
    lib.sql("SET TimeZone = 'Asia/Tokyo'")
    sql = f"SELECT sum(n), {2**127 - 1}::HUGEINT, TIMESTAMPTZ '2026-01-01 09:00:00+09' FROM trades"
    assert lib.sql(sql).fetchall() == [(1225, 2**127 - 1, datetime(2026, 1, 1, tzinfo=UTC))]
    assert str(lib.sql(sql).df().iloc[:, 2].dtype) == "datetime64[us, Asia/Tokyo]"
    lib.sql("RESET TimeZone")


def test_rows_one_by_one_and_again_in_other_forms(lib):
    result = lib.sql("SELECT n, name FROM trades ORDER BY n")
    assert [result.fetchone() for _ in range(51)] == [*((n, f"<b>&{n}") for n in range(50)), None]
    assert result.fetchone() is None
    assert result.pl().shape == (50, 2)
    assert len(result.fetchall()) == len(result.df()) == result.arrow().num_rows == 50


def test_a_result_streams_to_whoever_takes_arrow(lib):
    import polars as pl

    result = lib.sql("SELECT * FROM trades")
    assert pa.table(result).num_rows == 50
    assert pl.DataFrame(result).shape == (50, 2)
    lib.write("copy", lib.sql("SELECT n, n * 2 AS twice FROM trades WHERE n > 9"))
    assert lib.sql("SELECT sum(twice) FROM copy").fetchall() == [(2360,)]
    assert duckdb.connect().from_arrow(result.arrow()).aggregate("max(n)").fetchall() == [(49,)]


def test_a_long_stream_is_not_kept(lib, monkeypatch):
    monkeypatch.setattr(results, "KEPT_BYTES_MAX", 2**20)
    result = lib.sql("SELECT range AS n FROM range(1000000)")
    reader = pa.RecordBatchReader.from_stream(result)
    total = 0
    for batch in reader:
        total += batch.num_rows
        assert sum(kept.nbytes for kept in result._batches) < 4 * 2**20
    assert total == result.figures.row_count == 1_000_000
    with pytest.raises(InvalidInput, match=r"run the query again, or call \.arrow\(\) first"):
        result.df()
    assert "handed on as a stream" in repr(result)


def test_an_error_in_the_middle_of_the_rows_reaches_every_form(lib):
    sql = "SELECT (CASE WHEN range = 900000 THEN 'x' ELSE '1' END)::INT AS n FROM range(1000000)"
    with pytest.raises(SqlError, match="Could not convert string 'x'"):
        lib.sql(sql).df()
    with pytest.raises((SqlError, pa.ArrowInvalid), match="Could not convert string 'x'"):
        pa.RecordBatchReader.from_stream(lib.sql(sql)).read_all()


def test_text_shows_types_rows_and_what_was_read(lib):
    text = repr(lib.sql("SELECT n, name, NULL::INT AS nothing FROM trades WHERE n < 25"))
    lines = text.splitlines()
    assert lines[0].split() == ["n", "name", "nothing"]
    assert lines[1].split() == ["bigint", "varchar", "integer"]
    assert lines[3].split() == ["0", "<b>&0", "NULL"]
    assert lines[18] == "… 5 rows between …"
    assert [lines[at].split()[0] for at in (17, 19, -2)] == ["14", "20", "24"]
    assert lines[-1].startswith("1 of 1 segments · ")
    assert " · trades v0 (" in lines[-1]
    assert " · 25 rows · " in lines[-1]
    assert len(lines) == 25


def test_a_wide_or_long_or_hostile_table_stays_a_table(lib):
    wide = repr(lib.sql(f"SELECT {', '.join(f'{n} AS column_{n}' for n in range(80))}"))
    assert max(map(len, wide.splitlines())) <= 160
    assert "more columns" in wide
    hostile = lib.sql("""SELECT E'a\\nb\\x1b[31m' AS "<script>alert(1)</script>", repeat('x', 9999) AS long""")
    assert len(repr(hostile).splitlines()) == 5
    assert "\x1b" not in repr(hostile)
    html = hostile._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert len(html) < 4000


def test_values_in_html_are_text(lib):
    html = lib.sql("FROM trades")._repr_html_()
    assert "<b>&" not in html
    assert "&lt;b&gt;&amp;7" in html
    assert "… 30 rows between …" in html
    assert "segments" in html


def test_explain_shows_the_plan_and_what_would_be_read(lib):
    result = lib.sql("EXPLAIN SELECT n FROM trades WHERE n = 3")
    assert "PARQUET" in repr(result).upper()
    assert repr(result).splitlines()[-1].startswith("1 of 1 segments")
    assert result._repr_html_().startswith("<div><pre ")
    assert "\n" in result.fetchall()[0][1]
    assert result.fetchall()[-1][0] == "segments"


def test_explain_says_what_each_reference_reads(lib):
    """One row behind DuckDB's plan has segments and bytes by reference, as text; JSON stays JSON."""
    sql = "FROM trades, trades AT VERSION 0 old WHERE trades.n > 1_000_000 AND old.n >= 0"
    for explain in ("EXPLAIN", "EXPLAIN ANALYZE", "EXPLAIN (FORMAT json)"):
        rows = lib.sql(f"{explain} {sql}").fetchall()
        assert rows[-1][0] == "segments"
        newest, oldest = rows[-1][1].splitlines()
        assert newest.startswith("trades v") and ": 0 of 1 segments, 0 of" in newest
        assert oldest.startswith("trades v0 (") and ": 1 of 1 segments, " in oldest
    json.loads(lib.sql(f"EXPLAIN (FORMAT json) {sql}").fetchall()[0][1])
    assert [key for key, _ in lib.sql("EXPLAIN SELECT 1").fetchall()] == ["physical_plan"]


def test_a_statement_without_rows_is_an_empty_result(lib):
    for sql in ("", "SET threads = 2"):
        result = lib.sql(sql)
        assert result.fetchall() == []
        assert result.fetchone() is None
        assert len(result.df()) == 0
        assert result.pl().height == 0
        assert result.arrow().num_rows == 0
        assert repr(result)
        assert result._repr_html_()


def test_a_result_is_written_and_closed_like_a_file(lib, tmp_path):
    with lib.sql("FROM trades") as result:
        buffer = io.BytesIO()
        result.df().to_parquet(buffer)
    assert len(result.df()) == 50, "what was pulled stays"
    with lib.sql("FROM trades") as unread:
        pass
    with pytest.raises(InvalidInput, match="closed"):
        unread.df()


def test_a_result_outlives_its_session(tmp_path):
    library = vs.open(tmp_path).create_library("lib")
    library.write("s", pd.DataFrame({"a": [1]}))
    result = library.sql("SELECT a, now() AS t FROM s")
    result.settle()
    library.session.close()
    assert result.fetchall()[0][0] == 1
    assert result.df()["a"].tolist() == [1]


@pytest.mark.parametrize(
    ("figures", "line"),
    [
        (
            Figures(
                3, 40, 12_000_000, 310_400_000, 1204, 0.0841, [ScannedTable("eod", "trades", 3, datetime(2026, 11, 20))]
            ),
            "3 of 40 segments · 12 of 310 MB · trades v3 (2026-11-20) · 1,204 rows · 84 ms",
        ),
        (Figures(row_count=1, seconds=2.34), "1 row · 2.3 s"),
        (Figures(seconds=0.0001), "0 ms"),
        (Figures(row_count=1, changed=52, seconds=0.01), "52 rows changed · 10 ms"),
        (Figures(done="created snapshot 'eod'", seconds=0.01), "created snapshot 'eod' · 10 ms"),
        (
            Figures(0, 1, 0, 9, None, 21.4, [ScannedTable("l", "a", n, datetime(2026, 1, 2)) for n in range(4)]),
            "0 of 1 segments · 0 of 9 B · a v0 (2026-01-02), a v1 (2026-01-02), a v2 (2026-01-02) and 1 more · 21.4 s",
        ),
        (
            Figures(1, 2, 400_000, 3_100_000, None, 0.5, [ScannedTable("l", "s", 0, datetime(2026, 1, 2))]),
            "1 of 2 segments · 0.4 of 3.1 MB · s v0 (2026-01-02) · 500 ms",
        ),
    ],
)
def test_the_footer_is_one_line(figures, line):
    assert figures.footer() == line


TAKEN = {
    "df": lambda lib, result: result.df(),
    "shown": lambda lib, result: repr(result),
    "fetchone": lambda lib, result: result.fetchone(),
    "reader": lambda lib, result: result.reader().read_all(),
    "write": lambda lib, result: lib.write("made", result),
    "stage": lambda lib, result: lib.stage("made", result),
}


@pytest.mark.parametrize(
    ("taken", "at"),
    [*((taken, "in a pull") for taken in TAKEN), ("write", "as rows are cut"), ("stage", "as rows are cut")],
)
def test_a_stop_between_two_pulls_gives_up_the_rest(lib, taken, at, monkeypatch):
    """A traceback keeps the result, as that of a notebook does: the next statement does not pull what nobody wants."""
    result = lib.sql("SELECT n, n::VARCHAR AS text FROM range(5_000_000) r(n)")
    pulls, pull = [], type(result)._pull

    def pulled(self):
        batch = pull(self)
        pulls.append(batch)
        if at == "in a pull" and len(pulls) == 3:
            raise KeyboardInterrupt
        return batch

    def cut(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(type(result), "_pull", pulled)
    if at == "as rows are cut":
        monkeypatch.setattr(chunking, "_bounds", cut)
    with pytest.raises(KeyboardInterrupt):
        TAKEN[taken](lib, result)
    before = len(pulls)
    assert lib.sql("SELECT 42").fetchall() == [(42,)]
    assert len(pulls) <= before + 2
    with pytest.raises(DuckVStoreError, match="interrupted: run it again"):
        result.df()
    assert "made" not in lib.list_symbols()
