"""What is remembered of one statement's segments must be right for the next one of the same text."""

from __future__ import annotations

import threading
from decimal import Decimal

import pandas as pd
import pytest

import duckvstore as vs
from duckvstore.sql.planning import rewrite
from duckvstore.sql.pruning import segment_choice
from duckvstore.sql.pruning.segment_choice import REMEMBERED_MAX, Choices
from duckvstore.sql.syntax import parser
from duckvstore.sql.values.parameters import Values
from tests.cuts import cut_every


@pytest.fixture
def lib(tmp_path, monkeypatch):
    cut_every(monkeypatch, 2)
    library = vs.open(tmp_path).create_library("lib")
    times = pd.date_range("2026-01-01", periods=48, freq="h", tz="UTC")
    library.write("trades", pd.DataFrame({"n": range(48), "ts": times, "name": [f"{n:02d}" for n in range(48)]}))
    yield library
    library.session.close()


def counted(result):
    """Return (rows, segments read)."""
    return len(result.fetchall()), result.figures.segments_read


def test_a_repeated_text_reads_the_same_segments(lib):
    """The second answer has the same rows and figures as the first."""
    first = lib.sql("FROM trades WHERE n < 5")
    again = lib.sql("FROM trades WHERE n < 5")
    assert first.fetchall() == again.fetchall()
    assert (first.figures.segments_read, first.figures.bytes_read) == (3, again.figures.bytes_read)
    assert (again.figures.segments_read, again.figures.segments_total) == (3, 24)
    assert again.figures.bytes_total == first.figures.bytes_total > first.figures.bytes_read


def test_values_of_parameters_count(lib):
    """The same text with another value, or with an equal one of another type, is chosen for anew."""
    sql = "FROM trades WHERE n < $top"
    assert counted(lib.sql(sql, {"top": 2})) == (2, 1)
    assert counted(lib.sql(sql, {"top": 10})) == (10, 5)
    assert counted(lib.sql(sql, {"top": 2})) == (2, 1)
    assert counted(lib.sql(sql, {"top": Decimal("2.5")}))[0] == 3
    assert counted(lib.sql("FROM trades WHERE n = ?", [True]))[0] == 1
    assert counted(lib.sql("FROM trades WHERE n = ?", [1]))[0] == 1
    assert counted(lib.sql("FROM trades WHERE list_contains(?, n)", [[1, 40]]))[0] == 2
    assert counted(lib.sql("FROM trades WHERE list_contains(?, n)", [[1]]))[0] == 1


def test_a_new_version_is_chosen_for_anew(lib):
    """The newest version's segments are looked at, whatever was found for the one before."""
    sql = "SELECT n FROM trades WHERE n >= 46"
    assert counted(lib.sql(sql)) == (2, 1)
    lib.append("trades", lib.read("trades").data.assign(n=100))
    assert counted(lib.sql(sql)) == (50, 25)
    assert counted(lib.sql("SELECT n FROM trades AT VERSION 0 WHERE n >= 46")) == (2, 1)


def test_a_changed_setting_counts_at_once(lib):
    """What a text means as a time depends on the session's time zone."""
    sql = "FROM trades WHERE ts < '2026-01-01 06:00:00'"
    lib.sql("SET TimeZone = 'UTC'")
    in_utc = counted(lib.sql(sql))
    lib.sql("SET TimeZone = 'America/New_York'")
    in_new_york = counted(lib.sql(sql))
    assert (in_utc[0], in_new_york[0]) == (6, 11)
    lib.sql("RESET TimeZone; SET TimeZone = 'UTC'")
    assert counted(lib.sql(sql)) == in_utc


def test_a_changed_collation_counts_at_once(lib):
    """With a collation that ignores case, segments matter that did not before."""
    lib.write("names", pd.DataFrame({"name": [f"a{n}" for n in range(10)]}))
    assert counted(lib.sql("FROM names WHERE name = 'A3'")) == (0, 0)
    lib.sql("SET default_collation = 'NOCASE'")
    assert counted(lib.sql("FROM names WHERE name = 'A3'"))[0] == 1


@pytest.mark.parametrize("body", ["'zz'", "(SELECT max(name) FROM trades WHERE x IS NOT NULL)"])
def test_a_macro_hides_a_function_at_once(lib, body):
    """Also one over symbols: then lower('01') is no constant that could prune."""
    sql = "SELECT n FROM trades WHERE name < lower('02')"
    assert counted(lib.sql(sql)) == (2, 1)
    lib.sql(f"CREATE MACRO lower(x) AS {body}")
    assert lib.sql("SELECT lower('02')").fetchone() in [("zz",), ("47",)]
    rows, segments = counted(lib.sql(sql))
    assert rows == (48 if body == "'zz'" else 47)
    assert segments >= 24  # the macro over symbols has its own


@pytest.mark.parametrize(
    "earlier",
    ["SET threads = 2", "RESET threads", "BEGIN; COMMIT", "BEGIN; ROLLBACK", "CREATE SNAPSHOT s; DROP SNAPSHOT s"],
)
def test_functions_prune_after_settings_and_transactions_too(lib, earlier):
    """Which make no macro; what a setting changes counts."""
    asked = ("FROM trades WHERE ts >= now() + INTERVAL 36500 DAYS", "SELECT n FROM trades WHERE name < lower('02')")
    lib.sql(earlier)
    assert [counted(lib.sql(sql)) for sql in asked] == [(0, 0), (2, 1)]
    lib.sql("SET default_collation = 'NOCASE'")
    lib.write("names", pd.DataFrame({"name": [f"a{n}" for n in range(10)]}))
    assert counted(lib.sql("FROM names WHERE name = concat('A', '3')"))[0] == 1
    lib.sql("CREATE MACRO lower(x) AS 'zz'")
    assert counted(lib.sql(asked[1]))[0] == 48


def test_settings_hold_for_their_thread(lib):
    """What one thread has set leaves the choices of others as they are."""
    sql = "FROM trades WHERE ts < '2026-01-01 10:00:00'"
    found = []

    def work():
        lib.sql("SET TimeZone = 'Asia/Tokyo'")
        found.append(len(lib.sql(sql).fetchall()))

    lib.sql("SET TimeZone = 'UTC'")
    assert len(lib.sql(sql).fetchall()) == 10
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [1]
    assert len(lib.sql(sql).fetchall()) == 10


def test_no_more_is_remembered_than_said(lib):
    """Thousands of different texts do not stay."""
    choices, version = Choices(lib.session._instance.cursor), lib._resolve("trades", None)
    cursor = lib.session._instance.cursor()
    for number in range(REMEMBERED_MAX + 20):
        statement = parser.parse(f"FROM trades WHERE n = {number}")[0]
        choices.choose(statement, 0, version, Values.unchecked(None), cursor)
    (known,) = choices._choices.values()
    assert len(known) == REMEMBERED_MAX
    cursor.close()


def test_statistics_of_versions_that_are_not_asked_about_do_not_stay(lib, monkeypatch):
    """They are tables of DuckDB, which a long session over many versions would fill."""
    monkeypatch.setattr(segment_choice, "VERSIONS_MAX", 3)
    for number in range(1, 8):
        lib.write("trades", lib.read("trades", as_of=0).data.assign(extra=number))
    for number in [*range(8), 0, 7]:
        assert counted(lib.sql(f"FROM trades AT VERSION {number} WHERE n = 7")) == (1, 1)
    own = lib.session._planner.choices._own
    tables = own.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name LIKE 'statistics%'").fetchone()
    assert tables == (3,)


def test_a_whole_version_is_put_into_words_once(lib, monkeypatch):
    """Another text over all segments is as fast as one that was run before; columns of files stay sealed."""
    lib.sql("SELECT sum(n) FROM trades").fetchall()
    with monkeypatch.context() as patch:
        patch.setattr(rewrite, "scan", None)
        assert lib.sql("SELECT max(n) FROM trades").fetchall() == [(47,)]
    with pytest.raises(vs.SqlError, match="filename"):
        lib.sql("SELECT filename FROM trades")
    assert lib.sql("SELECT min(n) FROM trades").fetchall() == [(0,)]
