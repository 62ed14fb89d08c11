"""Pruning: which predicates give a condition, and which segments it drops."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import duckdb
import pyarrow as pa
import pytest

from duckvstore.format.stored import schema, statistics
from duckvstore.format.stored.documents import Version
from duckvstore.format.stored.segments import Segment
from duckvstore.sql.pruning.predicates import condition
from duckvstore.sql.syntax.parser import parse

# Three segments of `t`: x 0 to 9, 10 to 19, 20 to 29 (the second with a NaN in f, the third all null in n).
TABLE = pa.table(
    {
        "x": pa.array(range(30), pa.int64()),
        "f": pa.array([float(i) if i != 15 else float("nan") for i in range(30)]),
        "s": pa.array([chr(ord("a") + i // 10) * 3 for i in range(30)]),
        "n": pa.array([1] * 20 + [None] * 10, pa.int32()),
        "d": pa.array([date(2026, 1, 1 + i) for i in range(30)], pa.date32()),
        "ts": pa.array([datetime(2026, 1, 1 + i) for i in range(30)], pa.timestamp("us")),
        "tz": pa.array([datetime(2026, 1, 1 + i) for i in range(30)], pa.timestamp("us", "UTC")),
        "m": pa.array([Decimal(i) / 10 for i in range(30)], pa.decimal128(8, 2)),
        "b": pa.array([i < 10 for i in range(30)]),
        "k": pa.array([{"x": i} for i in range(30)]),
        "long": pa.array([chr(ord("a") + i // 10) * 100 for i in range(30)]),
    }
)


def version(table: pa.Table = TABLE, rows: int = 10) -> Version:
    stored = schema.from_arrow(table.schema)
    pieces = [table.slice(start, rows) for start in range(0, len(table), rows)]
    segments = tuple(
        Segment(f"{at}", len(piece), 1, "", 1, statistics.compute(piece, stored)) for at, piece in enumerate(pieces)
    )
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return Version("", "t", 0, "", now, "write", "arrow", schema=stored, segments=segments)


VERSION = version()


def kept(sql: str, parameters=None, *, of: Version = VERSION, reference: int = 0, settings: str = "") -> list[int]:
    """The segments of the reference that the query keeps."""
    (statement,) = parse(sql)
    found = condition(statement, reference, of, parameters)
    if found is None:
        return list(range(len(of.segments)))
    connection = duckdb.connect()
    connection.execute(settings)
    connection.register("bounds", statistics.typed_table(of, found.column_ids))
    rows = connection.execute(
        f"SELECT segment FROM bounds WHERE ({found.sql}) IS DISTINCT FROM false ORDER BY 1", found.parameters
    )
    return [row[0] for row in rows.fetchall()]


@pytest.mark.parametrize(
    ("predicate", "expected"),
    [
        ("x = 12", [1]),
        ("12 = x", [1]),
        ("x < 10", [0]),
        ("10 > x", [0]),
        ("x <= 10", [0, 1]),
        ("x > 19", [2]),
        ("x >= 19", [1, 2]),
        ("x > 29", []),
        ("x > -5", [0, 1, 2]),
        ("x = 12.5", [1]),
        ("x = '12'", [1]),
        ("x > 1.9e1", [2]),
        ("X = 12", [1]),
        ('"X" = 12', [1]),
        ("t.x = 12", [1]),
        ("T.X = 12", [1]),
        ("x BETWEEN 12 AND 25", [1, 2]),
        ("x IN (1, 25)", [0, 2]),
        ("x IN (40)", []),
        ("x = 12 AND f > 5", [1]),
        ("(x > 5 AND (x < 8)) AND s = 'aaa'", [0]),
        ("x = CAST(12 AS BIGINT)", [1]),
        ("x = '12'::INTEGER", [1]),
        ("f > 100", [1]),
        ("f >= 25", [1, 2]),
        ("f < 5", [0]),
        ("f = 5", [0]),
        ("f = 'nan'", [1]),
        ("f = 'nan'::DOUBLE", [1]),
        ("f IN (5.0, 6.0)", [0]),
        ("f IN ('nan'::DOUBLE)", [1]),
        ("f BETWEEN 24 AND 25", [2]),
        ("f BETWEEN 24e0 AND 'nan'::DOUBLE", [1, 2]),
        ("s = 'bbb'", [1]),
        ("s > 'b'", [1, 2]),
        ("s < 'b'", [0]),
        ("s IN ('aaa', 'ccc')", [0, 2]),
        ("long < 'b'", [0]),
        ("long > 'c'", [0, 1, 2]),
        ("d = '2026-01-12'", [1]),
        ("d = DATE '2026-01-12'", [1]),
        ("d >= DATE '2026-01-10' + 1", [1, 2]),
        ("d > TIMESTAMP '2026-01-20 12:00'", [2]),
        ("ts > '2026-01-20'", [2]),
        ("ts >= TIMESTAMP '2026-01-21' - INTERVAL 1 DAY", [1, 2]),
        ("ts < DATE '2026-01-11'", [0]),
        ("ts < DATE '2026-01-12' - INTERVAL '1 day'", [0]),
        ("tz > '2026-01-20 00:00:00+00'", [2]),
        ("tz > TIMESTAMPTZ '2026-01-20 00:00:00+00'", [2]),
        ("tz > '2026-01-25'", [2]),
        ("tz < TIMESTAMP '2026-01-05'", [0]),
        ("m > 1.95", [2]),
        ("m = 1", [1]),
        ("b = false", [1, 2]),
        ("b = true", [0]),
        ("n IS NULL", [2]),
        ("n IS NOT NULL", [0, 1]),
        ("NOT n IS NULL", [0, 1]),
        ("NOT (n IS NULL)", [0, 1]),
        ("n = 1", [0, 1]),
        ("n > 0", [0, 1]),
        ("x < 5 OR x > 25", [0, 2]),
        ("x < 5 OR (x > 15 AND x < 18) OR s = 'ccc'", [0, 1, 2]),
        ("(x < 5 AND b) OR x > 100", [0]),
        ("x > 100 OR n IS NULL", [2]),
        ("NOT x < 20", [2]),
        ("NOT (x >= 10)", [0]),
        ("NOT f <= 24", [1, 2]),
        ("s LIKE 'b%'", [1]),
        ("s LIKE 'bb_'", [1]),
        ("s LIKE 'bbb'", [1]),
        ("s LIKE 'z%'", []),
        ("s LIKE 'B%'", []),
        ("s LIKE 'bbbbbb%'", []),
        ("long LIKE 'aaaa%'", [0]),
        ("long LIKE 'b%'", [0, 1]),
        ("starts_with(s, 'c')", [2]),
        ("s ^@ 'a'", [0]),
        ("s = lower('BBB')", [1]),
        ("s = 'b' || 'bb'", [1]),
        ("s >= upper(trim(' c '))", [0, 1, 2]),
        ("x > 10 + 9", [2]),
        ("x = 3 * 4", [1]),
        ("x < 30 / 3", [0]),
        ("x = 25 // 2", [1]),
        ("x = abs(-12)", [1]),
        ("x > 2 ** 3 OR x = 7 % 4", [0, 1, 2]),
        ("x >= ceil(19.5)", [2]),
        ("m < 10 * 0.01", [0]),
        ("x > 9223372036854775807 + 1", [0, 1, 2]),
        ("d >= make_date(2026, 1, 21)", [2]),
        ("ts >= make_timestamp(2026, 1, 21, 0, 0, 0)", [2]),
        ("ts < date_trunc('month', TIMESTAMP '2026-01-15 10:00')", []),
        ("d < date_trunc('week', DATE '2026-01-15')", [0, 1]),
        ("d >= make_date(2026, 2, 31)", [0, 1, 2]),
        ("ts > current_timestamp", []),
        ("ts > now() - INTERVAL 1 DAY", []),
        ("now() - INTERVAL 1 DAY <= ts", []),
        ("ts >= date_trunc('year', now() - INTERVAL '1 day')", [0, 1, 2]),
        ("ts >= date_trunc('month', now() - INTERVAL '1 day')", []),
        ("tz >= now() - INTERVAL 1 DAY", []),
        ("tz > current_date", []),
        ("d > today()", []),
        ("d > current_date - 7", []),
        ("d >= CAST(now() AS DATE)", []),
        ("ts > now() - INTERVAL 900 YEAR", [0, 1, 2]),
    ],
)
def test_segments_kept_by_a_predicate(predicate, expected):
    """Exactly the segments whose bounds leave room for a row that passes."""
    assert kept(f"SELECT * FROM t WHERE {predicate}") == expected


@pytest.mark.parametrize(
    "predicate",
    [
        "x + 1 > 100",
        "abs(x) > 100",
        "x > 100 OR true",
        "NOT (x < 100 AND b)",
        "x > 100 OR f > g",
        "x > 100 OR b",
        "x > abs(f)",
        "x > mystery(100)",
        "x > length('abc') * 100",
        "f > sqrt(10000)",
        "x <> 5",
        "x NOT IN (1)",
        "x NOT BETWEEN 1 AND 2",
        "x BETWEEN SYMMETRIC 100 AND 200",
        "x > random() * 1000",
        "x > f",
        "x IN (SELECT 100)",
        "x IN (100, NULL)",
        "x IN (100, 100.5)",
        "x BETWEEN 100 AND 1e3",
        "x IS DISTINCT FROM 5",
        "s NOT LIKE 'z%'",
        "NOT s LIKE 'z%'",
        "s ILIKE 'z%'",
        "s LIKE '!z%' ESCAPE '!'",
        "s LIKE '%z'",
        "s LIKE '_zz'",
        "s LIKE s",
        "s LIKE lower('Z%')",
        "x LIKE '9%'",
        "starts_with(s, '')",
        "starts_with('zzz', s)",
        "s > 5",
        "x > lower('Z')",
        "s COLLATE NOCASE = 'ZZZ'",
        "x > true",
        "d > 'infinity'",
        "ts < now() - INTERVAL 400 YEAR",
        "ts = now()",
        "ts BETWEEN now() - INTERVAL 1 DAY AND now()",
        "ts IN (now())",
        "ts > random() * now()",
        "x > now()",
        "ts > date_trunc('century', now())",
        "ts > now() AT TIME ZONE 'UTC'",
        "tz > TIMESTAMPTZ '2030-01-01 00:00:00+00' - INTERVAL 1 MONTH",
        "x > TRY_CAST('100' AS INTEGER)",
        "k.x > 100",
        "t.k.x > 100",
        "other.x > 100",
        "missing > 100",
        "x > (SELECT 100)",
        "x > $missing",
        "x > NULL",
        "b",
    ],
)
def test_predicates_that_prove_nothing(predicate):
    """In any doubt there is no condition."""
    assert kept(f"SELECT * FROM t WHERE {predicate}") == [0, 1, 2]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM t WHERE x > 100 USING SAMPLE 10%",
        "SELECT * FROM t TABLESAMPLE 10% WHERE x > 100",
        "SELECT * FROM t, u TABLESAMPLE 10% WHERE t.x > 100",
        "SELECT * FROM (SELECT * FROM t) WHERE x > 100",
        "WITH c AS (SELECT * FROM t) SELECT * FROM c WHERE x > 100",
        "SELECT * FROM (SELECT * FROM t LIMIT 5) WHERE x > 100",
        "SELECT * FROM (SELECT DISTINCT ON (s) * FROM t) WHERE x > 100",
        "SELECT * FROM (SELECT *, row_number() OVER () FROM t) WHERE x > 100",
        "SELECT x FROM t GROUP BY x HAVING x > 100",
        "SELECT x FROM t QUALIFY x > 100",
        "SELECT * FROM t a(y) WHERE x > 100",
        "SELECT * FROM t PIVOT (count(*) FOR s IN ('aaa')) WHERE x > 100",
        "PIVOT t ON s USING max(x)",
        "DESCRIBE t",
        "SELECT -x AS x FROM t WHERE x > 100",
        "SELECT * FROM t x WHERE x > 100",
        "SELECT * FROM t ASOF JOIN u ON t.x >= u.x WHERE t.x > 100",
        "SELECT * FROM t POSITIONAL JOIN u WHERE t.x > 100",
        "SELECT * FROM t NATURAL JOIN u WHERE t.x > 100",
        "SELECT * FROM t JOIN u ON true POSITIONAL JOIN v WHERE t.x > 100",
        "SELECT * FROM t JOIN u USING (x) WHERE x > 100",
        "SELECT * FROM t, u AS x WHERE x > 100",
        "SELECT -t.x AS x FROM t, u WHERE x > 100",
        "SELECT * FROM t, t WHERE t.x > 100",
        "SELECT * FROM (t JOIN u USING (s)) WHERE t.x > 100",
        "FROM (t JOIN u USING (s)) WHERE t.x > 100",
        "FROM t LEFT JOIN u ON t.x > 100",
        "SELECT * FROM t LEFT JOIN u ON t.x > 100",
        "SELECT * FROM t FULL JOIN u ON t.x > 100",
        "SELECT * FROM u RIGHT JOIN t ON t.x > 100",
        "SELECT * FROM t, u AS v RIGHT JOIN u ON u.s = v.s AND t.x > 100",
        "SELECT * FROM t, u AS v JOIN u ON u.s = v.s AND t.x > 100 RIGHT JOIN u AS w ON w.s = v.s",
        "SELECT * FROM t ANTI JOIN u ON t.x > 100",
        "SELECT * FROM u SEMI JOIN v ON true, t WHERE v.x > 100",
        "UPDATE u SET a = 1 FROM t WHERE t.x > 100",
        "SELECT * FROM t, u WHERE t.x > 100 OR u.x < 0",
        "SELECT * FROM t FULL JOIN u USING (s) WHERE t.x > 100 OR t.n IS NULL",
        "SELECT CASE WHEN x > 100 THEN 1 END FROM t",
    ],
)
def test_places_where_a_predicate_proves_nothing(sql):
    """A predicate counts only where every row of the result, or of a join's match, has to pass it."""
    (statement,) = parse(sql)
    positions = [at for at, r in enumerate(statement.references) if r.parts == ("t",)]
    assert positions
    for position in positions:
        assert condition(statement, position, VERSION) is None


@pytest.mark.parametrize(
    "sql",
    [
        "FROM t WHERE x > 19",
        "SELECT * FROM t AT VERSION 3 WHERE x > 19 LIMIT 5",
        "EXPLAIN SELECT * FROM t WHERE x > 19",
        "CREATE TABLE n AS SELECT * FROM t WHERE x > 19",
        "INSERT INTO n SELECT * FROM t WHERE x > 19",
        "SELECT x AS y, x AS x FROM t WHERE x > 19",
        "SELECT count(*), s FROM t WHERE x > 19 GROUP BY s HAVING count(*) > 1",
        "SELECT DISTINCT ON (s) * FROM t WHERE x > 19 ORDER BY x",
        "SELECT row_number() OVER () FROM t WHERE x > 19 QUALIFY true",
        "WITH c AS (SELECT * FROM t WHERE x > 19) FROM c",
        "SELECT 1 UNION ALL SELECT x FROM t WHERE x > 19",
        "SELECT * FROM (SELECT x FROM t WHERE x > 19)",
        "SELECT * FROM u WHERE s IN (SELECT s FROM t WHERE x > 19)",
        "SELECT * FROM u WHERE EXISTS (SELECT 1 FROM t WHERE t.x > 19)",
        "SELECT * FROM t a, u WHERE a.x > 19",
        "SELECT * FROM t JOIN u USING (s) WHERE t.x > 19",
        "SELECT * FROM t JOIN u ON t.s = u.s AND t.x > 19",
        "SELECT * FROM u JOIN t ON t.s = u.s AND t.x > 19",
        "SELECT * FROM t LEFT JOIN u USING (s) WHERE t.x > 19",
        "SELECT * FROM u LEFT JOIN t USING (s) WHERE t.x > 19",
        "SELECT * FROM t FULL JOIN u USING (s) WHERE t.x > 19",
        "SELECT * FROM u LEFT JOIN t ON u.s = t.s AND t.x > 19",
        "SELECT * FROM t RIGHT JOIN u ON u.s = t.s AND t.x > 19",
        "SELECT * FROM t SEMI JOIN u ON u.s = t.s AND t.x > 19",
        "SELECT * FROM u SEMI JOIN t ON u.s = t.s AND t.x > 19",
        "SELECT * FROM u ANTI JOIN t ON u.s = t.s AND t.x > 19",
        "SELECT * FROM t ANTI JOIN u ON u.s = t.s WHERE t.x > 19",
        "SELECT * FROM t, unnest([1, 2]) q WHERE t.x > 19",
        "SELECT * FROM t, range(3) r WHERE t.x > 19",
        "SELECT * FROM t, u WHERE x > 19",
        "FROM t, u WHERE t.x > 19",
        "FROM t JOIN u USING (s) SELECT u.y WHERE t.x > 19",
        "FROM u LEFT JOIN t ON t.s = u.s AND t.x > 19",
        "WITH c AS (FROM t, u WHERE t.x > 19) FROM c",
        "SELECT * FROM t JOIN u USING (s) WHERE x > 19",
        "SELECT * FROM t JOIN u ON t.s = u.s AND x > 19",
        "SELECT * FROM t, u WHERE (t.x > 19 AND u.x < 0) OR t.x > 100",
        "SELECT * FROM t LEFT JOIN u USING (s) WHERE x > 25 OR x > 100",
    ],
)
def test_places_where_a_predicate_counts(sql):
    """WHERE of any side, ON of inner joins, and the side of an outer join that is filled up."""
    (statement,) = parse(sql)
    position = next(at for at, r in enumerate(statement.references) if r.parts == ("t",))
    assert kept(sql, reference=position) == [2]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM u LEFT JOIN t USING (s) WHERE t.n IS NULL",
        "SELECT * FROM t JOIN u ON t.n IS NULL",
        "SELECT * FROM t FULL JOIN u USING (s) WHERE t.n IS NULL",
    ],
)
def test_is_null_counts_only_without_joins(sql):
    """A row that an outer join filled up is null too."""
    (statement,) = parse(sql)
    for position, reference in enumerate(statement.references):
        if reference.parts == ("t",):
            assert condition(statement, position, VERSION) is None


def test_correlated_subqueries_are_left_alone():
    """A column of an outer query in a subquery ends pruning there, but not in the outer query."""
    sql = "SELECT * FROM t o WHERE o.x > 19 AND EXISTS (SELECT 1 FROM t WHERE t.x > 19 AND t.s = o.s)"
    assert kept(sql, reference=0) == [2]
    assert kept(sql, reference=1) == [0, 1, 2]


@pytest.mark.parametrize(
    ("predicate", "parameters", "expected"),
    [
        ("x > $p", {"p": 19}, [2]),
        ("x > $1", [19], [2]),
        ("x > $1", {"1": 19}, [2]),
        ("x > ?", [19], [2]),
        ("s <> ? AND x > ?", ["q", 19], [2]),
        ("x BETWEEN ? AND ?", (19, 25), [1, 2]),
        ("x IN ($a, $b)", {"a": 1, "b": 25}, [0, 2]),
        ("s = $p", {"p": "bbb"}, [1]),
        ("d > $p", {"p": date(2026, 1, 20)}, [2]),
        ("ts > $p", {"p": datetime(2026, 1, 20)}, [2]),
        ("ts > $p - INTERVAL 1 DAY", {"p": datetime(2026, 1, 21)}, [2]),
        ("ts > $p", {"p": "2026-01-20"}, [2]),
        ("tz > $p", {"p": datetime(2026, 1, 20, tzinfo=UTC)}, [2]),
        ("m > $p", {"p": Decimal("1.95")}, [2]),
        ("f > $p", {"p": 100.0}, [1]),
        ("f = $p", {"p": float("nan")}, [1]),
        ("b = $p", {"p": True}, [0]),
        ("s LIKE $p", {"p": "b%"}, [1]),
        ("s LIKE $p", {"p": None}, [0, 1, 2]),
        ("starts_with(s, ?)", ["c"], [2]),
        ("x > $p + 9", {"p": 10}, [2]),
        ("x > $p OR x < $q", {"p": 25, "q": 3}, [0, 2]),
        ("s = lower($p)", {"p": "BBB"}, [1]),
        ("ts >= date_trunc('day', $p)", {"p": datetime(2026, 1, 21, 5)}, [2]),
        ("x > $p", {"p": None}, [0, 1, 2]),
        ("x > $p", {"p": object()}, [0, 1, 2]),
        ("x > $p", {"p": "no number"}, [0, 1, 2]),
        ("s > $p", {"p": 5}, [0, 1, 2]),
        ("x > $p", None, [0, 1, 2]),
        ("x > ?", [], [0, 1, 2]),
    ],
)
def test_parameters_count_as_constants(predicate, parameters, expected):
    """A parameter prunes as a literal would, with the type that DuckDB gives to its value."""
    assert kept(f"SELECT * FROM t WHERE {predicate}", parameters) == expected


def test_macros_may_hide_functions():
    """Where somebody may have made macros, a call is no constant."""
    (statement,) = parse("SELECT * FROM t WHERE s = lower('BBB')")
    assert condition(statement, 0, VERSION) is not None
    assert condition(statement, 0, VERSION, has_macros=True) is None


def test_a_condition_says_whether_it_moves_with_the_clock():
    """It has to be asked in the query's own transaction then, where now() stands still."""
    moving, fixed = (parse(f"FROM t WHERE ts > {time}")[0] for time in ("now() - INTERVAL 1 DAY", "'2026-01-01'"))
    assert condition(moving, 0, VERSION).is_moving
    assert not condition(fixed, 0, VERSION).is_moving


def test_a_question_mark_in_an_at_form_counts_in_the_positions():
    """The value of each ``?`` is found by its position in the whole text."""
    assert kept("SELECT * FROM t AT VERSION ? WHERE x > ?", [7, 19]) == [2]


def test_missing_statistics_keep_the_segment():
    """Only what is known can exclude."""
    first, second, third = VERSION.segments
    blank = [Segment(s.key, s.row_count, 1, "", 1, {}) for s in (second,)]
    mixed = Version(**{f: getattr(VERSION, f) for f in VERSION.__slots__} | {"segments": (first, *blank, third)})
    assert kept("FROM t WHERE x > 19", of=mixed) == [1, 2]
    assert kept("FROM t WHERE n IS NOT NULL", of=mixed) == [0, 1]
    without = Version(**{f: getattr(VERSION, f) for f in VERSION.__slots__} | {"segments": tuple(blank)})
    assert condition(parse("FROM t WHERE x > 19")[0], 0, without) is None


def test_a_collation_ends_pruning_of_text():
    """Bounds are in the order of bytes; the session may compare otherwise."""
    assert kept("FROM t WHERE s = 'BBB'") == []
    assert kept("FROM t WHERE s = 'BBB'", settings="SET default_collation = 'NOCASE'") == [0, 1, 2]


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Pago_Pago", "UTC"])
def test_a_time_without_offset_keeps_what_any_time_zone_could_mean(zone):
    """The condition allows for every offset, so it does not matter which time zone evaluates it."""
    sql = "FROM t WHERE tz >= '2026-01-21 00:00:00'"
    assert kept(sql, settings=f"SET TimeZone = '{zone}'") == [1, 2]


def test_a_column_that_is_too_wide_or_nested_gives_no_condition():
    """Types whose comparison is not surely that of the bounds are left alone."""
    table = pa.table({"w": pa.array([Decimal(1)], pa.decimal256(50, 0)), "i": pa.array([1], pa.duration("s"))})
    for predicate in ("w > 5", "i > INTERVAL 5 DAY"):
        assert condition(parse(f"FROM t WHERE {predicate}")[0], 0, version(table)) is None
