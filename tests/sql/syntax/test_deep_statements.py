"""Long and deep statements: what DuckDB answers over tables, we answer over symbols of several segments.

The shapes are those that programs make: chains of hundreds of terms, dozens of brackets, CASE in CASE. sqlglot recurses
for each level, so beyond some depth only a statement's outline is read; then all segments are.
"""

from __future__ import annotations

import random

import duckdb
import pandas as pd
import pytest

import duckvstore as vs
from tests.cuts import cut_every
from tests.sizes import sized

FRAME = pd.DataFrame({"a": range(20), "t": [f"k{number}" for number in range(20)]})


@pytest.fixture
def lib(tmp_path):
    library = vs.open(tmp_path).create_library("lib")
    with pytest.MonkeyPatch.context() as patch:
        cut_every(patch, 5)
        library.write("s", FRAME)
    yield library
    library.session.close()


@pytest.fixture
def plain():
    with duckdb.connect() as connection:
        connection.register("frame", FRAME)
        connection.execute("CREATE TABLE s AS FROM frame")
        yield connection


def wrapped(inner: str, count: int, begin: str = "(", end: str = ")") -> str:
    return begin * count + inner + end * count


def cases(count: int) -> str:
    return "".join(f"CASE WHEN a = {n} THEN {n} ELSE " for n in range(count)) + "-1" + " END" * count


QUERIES = {
    "or": "SELECT a FROM s WHERE " + " OR ".join(f"a = {n * 3}" for n in range(600)),
    "or of and": "SELECT a FROM s WHERE " + " OR ".join(f"(a = {n} AND a > {n - 1})" for n in range(400)),
    "or of text": "SELECT a FROM s WHERE " + " OR ".join(f"t LIKE 'k{n}_'" for n in range(400)),
    "and": "SELECT a FROM s WHERE " + " AND ".join(f"a <> {n}" for n in range(3, 700)),
    "in": f"SELECT a FROM s WHERE a IN ({', '.join(map(str, range(15, 4000)))})",
    "in text": f"SELECT a FROM s WHERE t IN ({', '.join(map(repr, map(str, range(700))))}, 'k7')",
    "brackets": f"SELECT {wrapped('a', 400)} AS x FROM s WHERE {wrapped('a > 3', 400)}",
    "cases": f"SELECT {cases(60)} AS x FROM s",
    "cases in WHERE": f"SELECT a FROM s WHERE {cases(60)} > 5",
    "calls": f"SELECT {wrapped('t', 80, 'replace(', chr(44) + ' chr(48), chr(49))')} AS x FROM s",
    "sum": f"SELECT {' + '.join(['a'] * 150)} AS x FROM s",
    "sum of constants": f"SELECT a FROM s WHERE a > {' + '.join(['1'] * 80)} - 75",
    "sum of sums of constants": f"SELECT a FROM s WHERE a > {wrapped('1', 50, '(1 + ', ')')} - 45",
    "text": f"SELECT {' || '.join(['t'] * 150)} AS x FROM s",
    "not": f"SELECT a FROM s WHERE {'NOT ' * 300} a = 1",
    "minus": f"SELECT {'- ' * 120} a AS x FROM s",
    "casts": f"SELECT a{'::INT' * 300} AS x FROM s",
    "union": " UNION ALL ".join(["SELECT a FROM s"] * 200),
    "union in brackets": f"{'(' * 60}SELECT a FROM s{') UNION (SELECT a + 1 FROM s)' * 60}",
    "subqueries": "SELECT * FROM (" * 120 + "SELECT * FROM s" + ")" * 120,
    "IN of IN": "SELECT a FROM s WHERE a IN (" * 40 + "SELECT a FROM s WHERE a > 4" + ")" * 40,
    "names in CTEs": "WITH c AS (" * 60 + "SELECT * FROM s" + ") SELECT * FROM c" * 60,
    "CTEs": "WITH c0 AS (FROM s) "
    + "".join(f", c{n + 1} AS (SELECT * FROM c{n})" for n in range(200))
    + "SELECT * FROM c200",
    "joins in brackets": f"SELECT count(*) FROM {'(' * 15}s{''.join(f' JOIN s s{n} USING (a))' for n in range(15))}",
    "lists": f"SELECT {wrapped('a', 50, '[', ']')} AS x FROM s",
    "lambda": f"SELECT list_transform([a], lambda x: {wrapped('x + 1', 60)}) AS x FROM s",
    "window": f"SELECT sum(a) OVER (PARTITION BY {wrapped('a % 3', 60)} ORDER BY a) AS x FROM s",
    "qualified": f"SELECT {wrapped('main.s.a', 60)} AS x, s.t FROM main.s WHERE {wrapped('main.s.a > 5', 60)} "
    f"AND s.t IN (SELECT t FROM s WHERE {wrapped('a < 9', 60)}) ORDER BY {wrapped('a', 60)} LIMIT 3",
    "when": f"SELECT CASE {' '.join(f'WHEN a = {n} THEN {n + 1}' for n in range(500))} END AS x FROM s",
}


@pytest.mark.parametrize("name", QUERIES)
def test_long_and_deep_queries_are_answered_as_duckdb_does(name, lib, plain):
    found, expected = lib.sql(QUERIES[name]), plain.sql(QUERIES[name])
    assert found.columns == expected.columns
    assert sorted(map(repr, found.fetchall())) == sorted(map(repr, expected.fetchall()))


DEEP = wrapped("a = 3 OR a IN (SELECT max(a) FROM s)", 60)
MERGE = (
    f"MERGE INTO s USING (SELECT a, 'new' AS t FROM s WHERE {DEEP}) n ON {wrapped('s.a = n.a', 60)} "
    f"WHEN MATCHED AND {wrapped('n.a > 3', 60)} THEN UPDATE SET t = {wrapped('n.t', 60, 'upper(')} "
    "WHEN MATCHED THEN DELETE WHEN NOT MATCHED BY SOURCE AND s.a = 0 THEN DELETE"
)
STATEMENTS = [
    f"DELETE FROM s WHERE {' OR '.join(f'a = {n}' for n in range(2, 400, 2))}",
    f"DELETE FROM s WHERE {DEEP}",
    f"UPDATE s SET a = {wrapped('a + 100', 60)}, t = {wrapped('t', 60, 'upper(')} WHERE {DEEP} RETURNING a, s.t",
    f"INSERT INTO s SELECT {wrapped('a', 60)}, {cases(60)}::VARCHAR FROM s WHERE {DEEP}",
    f"INSERT INTO s VALUES ({wrapped('7', 100)}, 'seven'), ((SELECT 9 FROM s LIMIT 1), {wrapped('NULL', 60)})",
    f"INSERT INTO s (t, a) SELECT t, a + 50 FROM s WHERE {wrapped('a < 3', 200)} RETURNING {wrapped('a', 60)} AS x",
    MERGE,
    f"WITH big AS (SELECT a FROM s WHERE {DEEP}) DELETE FROM s WHERE a IN (FROM big)",
    f"CREATE TABLE made AS SELECT {wrapped('a', 60)} AS x FROM s WHERE {DEEP}; FROM made ORDER BY ALL",
    f"CREATE VIEW seen AS SELECT a FROM s WHERE {DEEP}; FROM seen ORDER BY ALL",
    f"CREATE MACRO least_of(x) AS (SELECT min(a) FROM s WHERE {wrapped('a > x', 60)}); SELECT least_of(4)",
    f"CREATE MACRO above(x) AS TABLE SELECT a FROM s WHERE {wrapped('a > x', 60)}; FROM above(15) ORDER BY ALL",
    f"PREPARE p AS SELECT a FROM s WHERE {wrapped('a > $1', 60)} ORDER BY a; EXECUTE p(15)",
    f"EXPLAIN SELECT a FROM s WHERE {DEEP}",
    f"SUMMARIZE SELECT a FROM s WHERE {DEEP}",
    f"SELECT a FROM s WHERE {DEEP}; DESCRIBE SELECT {wrapped('a', 60)} AS x FROM s",
]


@pytest.mark.parametrize("text", STATEMENTS, ids=range(len(STATEMENTS)))
def test_deep_statements_do_what_they_do_in_duckdb(text, lib, plain):
    found, expected = lib.sql(text).fetchall(), plain.execute(text).fetchall()
    if not text.startswith("EXPLAIN"):
        assert sorted(map(repr, found)) == sorted(map(repr, expected))
    everything = "SELECT * FROM s ORDER BY ALL"
    assert lib.sql(everything).fetchall() == plain.execute(everything).fetchall()


@pytest.mark.parametrize(
    "where",
    [
        " OR ".join(f"a = {n}" for n in range(0, 1500, 3)),
        DEEP.replace("(SELECT max(a) FROM s)", "(19)"),
        f"{cases(60)} > 5",
        f"a > {' + '.join(['1'] * 300)} - 290",
        f"{'NOT ' * 200} a = 1",
        f"a IN ({', '.join(map(str, range(15, 3000)))})",
    ],
    ids=range(6),
)
def test_predicates_of_read_and_delete_rows(where, lib, plain):
    expected = [row[0] for row in plain.execute(f"SELECT a FROM s WHERE {where} ORDER BY a").fetchall()]
    assert lib.read("s", where=where).data["a"].tolist() == expected
    lib.delete_rows("s", where)
    left = [row[0] for row in plain.execute(f"SELECT a FROM s WHERE ({where}) IS NOT TRUE ORDER BY a").fetchall()]
    assert lib.read("s").data["a"].tolist() == left


@pytest.mark.parametrize(
    "where",
    [
        f"{wrapped('a = 1', 80)}) ORDER BY (a",
        f"{wrapped('a = 1', 80)}) LIMIT (1",
        f"{wrapped('a = 1', 80)}) UNION (SELECT 1",
        wrapped("COLUMNS(*) > 1", 80),
        wrapped("a IN (SELECT a FROM s)", 80),
    ],
)
def test_a_deep_predicate_is_a_predicate_all_the_same(where, lib):
    with pytest.raises(vs.SqlError, match="where is no SQL predicate"):
        lib.read("s", where=where)


def test_deeper_than_duckdb_goes_is_duckdbs_error(lib):
    with pytest.raises(vs.SqlError, match=r"(?i)depth"):
        lib.sql(f"SELECT {wrapped('a', 1200, 'abs(')} FROM s").fetchall()


def test_deep_at_forms(lib):
    lib.delete_rows("s", "a > 3")
    text = (
        f"SELECT {wrapped('a', 80)} AS x FROM s AT VERSION 0 WHERE a IN (SELECT a FROM s AT (VERSION => 1)) OR a = 19"
    )
    assert sorted(lib.sql(text).fetchall()) == [(0,), (1,), (2,), (3,), (19,)]
    with pytest.raises(vs.SqlError, match="belongs right after"):
        lib.sql(f"SELECT {wrapped('a', 80)} AT VERSION 0 FROM s")


def test_random_deep_statements(lib, plain):
    """Nested pieces of many kinds around one another, with subqueries in between, seeded."""
    dice = random.Random(12)
    kinds = [
        "({})",
        "abs({})",
        "(CASE WHEN {} > 3 THEN a ELSE 1 END)",
        "(-{})",
        "greatest({}, a)",
        "CAST({} AS BIGINT)",
    ]
    kinds += [
        "((SELECT max(x.a) FROM s x WHERE x.a < 4) + {})",
        "[{}, 1][1]",
        "{{'f': {}}}.f",
        "({} + s.a)",
        "(NOT {})::INT",
    ]
    for _ in range(sized(200, full=200)):
        expression, subqueries = "a", 0
        for _ in range(dice.randint(20, 70)):
            kind = dice.choice(kinds)
            subqueries += "SELECT" in kind
            expression = (kind if subqueries <= 4 or "SELECT" not in kind else "({})").format(expression)
        text = f"SELECT a, {expression} AS x FROM s WHERE {dice.choice(['true', 'a > 4', expression + ' IS NOT NULL'])}"
        assert sorted(lib.sql(text).fetchall()) == sorted(plain.execute(text).fetchall()), text
