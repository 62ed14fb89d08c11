"""A plain LIMIT scans the segments that its rows are in, and gives the same rows; anything else scans them all."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import duckvstore as vs
from duckvstore.sql.pruning.first_rows import wanted
from duckvstore.sql.syntax.parser import parse
from tests.cuts import cut_every

ROWS = 200


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT * FROM t LIMIT 10", 10),
        ("SELECT a, b AS c, 1 FROM t LIMIT 10 OFFSET 5", 15),
        ("FROM t LIMIT 5", 5),
        ("SELECT * EXCLUDE (a) FROM t AT VERSION 3 LIMIT 0", 0),
        ("SELECT t.a FROM t LIMIT 1_000", 1000),
        *(
            (sql, None)
            for sql in (
                "SELECT * FROM t",
                "SELECT * FROM t OFFSET 3",
                "SELECT * FROM t LIMIT 10%",
                "SELECT * FROM t LIMIT 10 PERCENT",
                "SELECT * FROM t LIMIT $n",
                "SELECT * FROM t LIMIT 1 + 1",
                "SELECT * FROM t LIMIT (SELECT 3)",
                "SELECT * FROM t ORDER BY a LIMIT 3",
                "SELECT a FROM t WHERE a > 1 LIMIT 3",
                "SELECT DISTINCT a FROM t LIMIT 3",
                "SELECT DISTINCT ON (a) * FROM t LIMIT 3",
                "SELECT a FROM t GROUP BY ALL LIMIT 3",
                "SELECT count(*) FROM t LIMIT 1",
                "SELECT max(a) AS m FROM t LIMIT 1",
                "SELECT unnest(b) FROM t LIMIT 3",
                "SELECT row_number() OVER () FROM t LIMIT 3",
                "SELECT * FROM t QUALIFY row_number() OVER () = 3 LIMIT 3",
                "SELECT * REPLACE (max(a) AS a) FROM t LIMIT 3",
                "SELECT * FROM t USING SAMPLE 10 LIMIT 3",
                "SELECT * FROM t TABLESAMPLE 10% LIMIT 3",
                "SELECT * FROM t, u LIMIT 3",
                "SELECT * FROM t POSITIONAL JOIN u LIMIT 3",
                "SELECT * FROM t SEMI JOIN u USING (a) LIMIT 3",
                "SELECT * FROM (SELECT * FROM t LIMIT 3)",
                "SELECT * FROM t LIMIT 3 UNION ALL SELECT * FROM t",
                "WITH c AS (SELECT 1) SELECT * FROM t LIMIT 2",
                "CREATE TABLE x AS SELECT * FROM t LIMIT 3",
                "PIVOT t ON a LIMIT 3",
                "SELECT * FROM (SELECT max(a) FROM t) LIMIT 1",
                "FROM (SELECT sum(a) FROM t) LIMIT 1",
                "SELECT a FROM (SELECT a FROM t ORDER BY a DESC) LIMIT 3",
                "SELECT * FROM (t) LIMIT 3",
                "SELECT * FROM range((SELECT max(a)::BIGINT FROM t)) LIMIT 41 OFFSET 39",
                "SELECT (SELECT max(a) FROM t) AS m LIMIT 1",
                "SELECT t.* REPLACE (count(*) OVER () AS a) FROM t LIMIT 1",
            )
        ),
    ],
)
def test_only_what_shows_rows_as_they_come_is_done_early(sql, expected):
    (statement,) = parse(sql)
    assert wanted(statement) == expected


@pytest.fixture(scope="module")
def library():
    with pytest.MonkeyPatch.context() as patch:
        cut_every(patch, 30)
        found = vs.open("memory://first-rows").create_library("eod")
        found.write("t", pa.table({"a": range(ROWS), "b": [str(number) for number in range(ROWS)]}))
    yield found
    found.session.close()


@given(limit=st.integers(0, ROWS + 10), offset=st.integers(0, ROWS + 10))
def test_the_rows_are_the_first_ones(library, limit, offset):
    """Rows are those of the whole table from ``offset`` on, and no segment after them is scanned."""
    result = library.sql(f"SELECT a FROM t LIMIT {limit} OFFSET {offset}")
    assert [row[0] for row in result.fetchall()] == list(range(ROWS))[offset : offset + limit]
    segments = library.sql("SELECT row_count FROM vstore.segments WHERE symbol = 't'").fetchall()
    ends = [sum(count for (count,) in segments[: at + 1]) for at in range(len(segments))]
    needed = next((at + 1 for at, end in enumerate(ends) if end >= limit + offset), len(segments))
    assert result.figures.segments_read == needed
    assert result.figures.segments_total == len(segments)


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT * FROM (SELECT max(a) FROM t) LIMIT 1", [(ROWS - 1,)]),
        ("SELECT n FROM (SELECT count(*) AS n FROM t AT VERSION 0) LIMIT 1", [(ROWS,)]),
        ("SELECT a FROM (SELECT a FROM t ORDER BY a DESC) LIMIT 2", [(ROWS - 1,), (ROWS - 2,)]),
        ("SELECT a FROM (SELECT t.* REPLACE (count(*) OVER () AS a) FROM t) LIMIT 1", [(ROWS,)]),
        ("SELECT t.* REPLACE (max(a) OVER () AS a) FROM t LIMIT 1", [(ROWS - 1, "0")]),
    ],
)
def test_what_is_within_a_limited_query_sees_all_rows(library, sql, expected):
    """The LIMIT is of the rows that are shown, not of those that they are made of."""
    assert library.sql(sql).fetchall() == expected
