"""Which columns a statement may read, by its text: never fewer than it does."""

from __future__ import annotations

import pytest

from duckvstore.sql.syntax import named_columns
from duckvstore.sql.syntax.parser import parse

NAMES = ("id", "Price", "qty", "s", "t", "odd name", "é")
EVERYTHING = None


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT price FROM trades", {"Price"}),
        ("SELECT PRICE, sum(qty) FROM trades WHERE id > 3 GROUP BY 1", {"Price", "qty", "id"}),
        ("SELECT count(*) FROM trades", set()),
        ("SELECT count(*) FROM trades AT VERSION 3 WHERE id = 1", {"id"}),
        ("SELECT 1 FROM trades", set()),
        ('SELECT "odd name" FROM trades AS x ORDER BY x.é', {"odd name", "é"}),
        ("SELECT a.price FROM trades a JOIN trades b USING (id)", {"Price", "id"}),
        (
            "SELECT price FROM trades QUALIFY row_number() OVER (PARTITION BY qty ORDER BY id) = 1",
            {"Price", "qty", "id"},
        ),
        ("WITH c AS (SELECT qty AS n FROM trades) SELECT n FROM c", {"qty"}),
        ("SELECT s.x.y FROM trades", {"s"}),
        ("SELECT trades.s.x FROM trades", {"s"}),
        ("SELECT struct_extract(s, 'x') FROM trades", {"s"}),
        ("SELECT list_transform([1], lambda v: v + qty) FROM trades", {"qty"}),
        ("SELECT max(id) FILTER (WHERE qty > 1) FROM trades HAVING min(price) > 0", {"id", "qty", "Price"}),
        ("SELECT 1 FROM trades WHERE id IN (SELECT qty FROM trades)", {"id", "qty"}),
        ("SELECT date_trunc(s, id) FROM trades", {"s", "id"}),
        ("SELECT time_bucket(INTERVAL 1 DAY, id, qty) FROM trades", {"id", "qty"}),
        ("SELECT x.c FROM (SELECT qty FROM trades) AS x(c)", {"qty"}),
        ("SELECT * FROM trades", EVERYTHING),
        ("SELECT max(a) FROM trades AS x(a, b)", EVERYTHING),
        ("SELECT max(z.a) FROM (trades x(a) JOIN trades y(a) USING (a)) z", EVERYTHING),
        ("SELECT max(#1) FROM trades", EVERYTHING),
        ("SELECT trades.* FROM trades", EVERYTHING),
        ("SELECT count(trades) FROM trades", EVERYTHING),
        ("SELECT x FROM trades x", EVERYTHING),
        ("SELECT main.trades FROM trades", EVERYTHING),
        ("SELECT * EXCLUDE (id) FROM trades", EVERYTHING),
        ("SELECT COLUMNS('p.*') FROM trades", EVERYTHING),
        ("SELECT max(COLUMNS(*)) FROM trades", EVERYTHING),
        ("FROM trades", EVERYTHING),
        ("FROM trades WHERE id > 3", EVERYTHING),
        ("TABLE trades", EVERYTHING),
        ("SELECT id FROM (FROM trades)", EVERYTHING),
        ("WITH c AS (FROM trades) SELECT id FROM c", EVERYTHING),
        ("SELECT id FROM trades UNION ALL FROM trades", EVERYTHING),
        ("SELECT a.id FROM trades a NATURAL JOIN trades b", EVERYTHING),
        ("SUMMARIZE trades", EVERYTHING),
        ("SUMMARIZE SELECT id FROM trades", EVERYTHING),
        ("PIVOT trades ON qty USING sum(price)", EVERYTHING),
        ("SELECT id FROM trades PIVOT (sum(price) FOR qty IN (1, 2))", EVERYTHING),
        ("UNPIVOT trades ON id, qty INTO NAME n VALUE v", EVERYTHING),
        ("CREATE VIEW v AS SELECT id FROM trades", EVERYTHING),
        ("COPY trades TO 'x.csv'", EVERYTHING),
        ("CREATE TABLE copied AS SELECT id FROM trades", EVERYTHING),
    ],
)
def test_columns_that_a_statement_may_read(sql, expected):
    """Columns are found by their names wherever these stand; what may mean all of them means all."""
    (statement,) = parse(sql)
    found = named_columns.read(statement, NAMES)
    assert found == (expected if expected is None else frozenset(expected))
