"""Which class a statement is of, and that each class has its handler."""

from typing import get_args

import pytest

from duckvstore.errors import SqlError
from duckvstore.sql.pipeline.handlers import HANDLERS, StatementClass, classify
from duckvstore.sql.syntax import parser

CLASSES = {
    "query": [
        "FROM trades AT VERSION 3",
        "WITH a AS (SELECT 1) SELECT * FROM a",
        "EXPLAIN SELECT 1",
        "EXPLAIN ANALYZE FROM trades",
        "DESCRIBE trades",
        "SUMMARIZE trades",
        "COPY trades TO 'x.csv'",
    ],
    "rows": [
        "INSERT INTO trades VALUES (1)",
        "UPDATE trades SET a = 1",
        "DELETE FROM trades",
        "TRUNCATE trades",
        "MERGE INTO trades USING b ON trades.a = b.a WHEN MATCHED THEN DELETE",
        "COPY trades FROM 'x.csv'",
        "EXPLAIN ANALYZE DELETE FROM trades",
    ],
    "create_table": ["CREATE TABLE trades (a INTEGER)", "CREATE OR REPLACE TABLE trades AS SELECT 1"],
    "drop_table": ["DROP TABLE trades", "DROP TABLE IF EXISTS trades"],
    "alter_table": ["ALTER TABLE trades ADD COLUMN b INTEGER", "ALTER TABLE trades RENAME TO u"],
    "explain": ["EXPLAIN DELETE FROM trades", "EXPLAIN CREATE TABLE trades AS SELECT 1"],
    "snapshot": ["CREATE SNAPSHOT eod", "DROP SNAPSHOT IF EXISTS eod", "RESTORE TABLE trades TO VERSION 3"],
    "transaction": ["BEGIN", "START TRANSACTION READ ONLY", "COMMIT", "END", "ROLLBACK", "ABORT"],
    "prepare": ["PREPARE p AS FROM trades WHERE a = ?"],
    "definition": [
        "CREATE VIEW v AS FROM trades",
        "CREATE OR REPLACE TEMP VIEW v AS FROM trades",
        "CREATE MACRO m(x) AS x + 1",
        "CREATE MACRO m() AS TABLE FROM trades",
    ],
    "maintenance": ["ANALYZE trades", "VACUUM ANALYZE trades"],
    "other": [
        "SET threads = 2",
        "USE memory",
        "EXECUTE p(1)",
        "DROP VIEW v",
        "CREATE TEMP TABLE t AS SELECT 1",
        "COMMENT ON TABLE trades IS 'x'",
        "ATTACH 'x.db'",
        "VACUUM",
    ],
}


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in CLASSES.items() for text in texts])
def test_a_statement_has_the_class_of_its_words(name, text):
    assert classify(parser.parse(text)[0]) == name


def test_each_class_has_one_handler():
    assert set(HANDLERS) == set(get_args(StatementClass)) == set(CLASSES)


def test_a_malformed_statement_of_the_store_is_refused_where_it_is_classified():
    with pytest.raises(SqlError, match="needs a name"):
        classify(parser.parse("CREATE SNAPSHOT")[0])
