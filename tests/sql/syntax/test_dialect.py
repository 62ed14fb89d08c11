"""The dialect: statements, references and AT forms, with places in the user's own text."""

from __future__ import annotations

import re

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from duckvstore.errors import SqlError
from duckvstore.sql.syntax.parser import parse
from duckvstore.sql.syntax.statement import Statement
from duckvstore.sql.syntax.timetravel import At, Expression
from duckvstore.sql.syntax.tokens import Parameter, scan
from tests.sizes import sized


def one(sql: str) -> Statement:
    (statement,) = parse(sql)
    return statement


def names(sql: str) -> list[str]:
    """The references that are read, as `name` or `name@kind:value`, each with its alias."""
    found = []
    for reference in one(sql).references:
        if reference.role == "read":
            at = f"@{reference.at.kind}:{reference.at.value}" if reference.at else ""
            found.append(".".join(reference.parts) + at + (f" {reference.alias}" if reference.alias else ""))
    return found


AT_FORMS = [
    ("FROM trades AT VERSION 3", "version", 3),
    ("FROM trades AT VERSION -1", "version", -1),
    ("FROM trades at version 1_000", "version", 1000),
    ("FROM trades AT (VERSION => 3)", "version", 3),
    ("FROM trades AT (VERSION => -1)", "version", -1),
    ("FROM trades AT(version:=3)", "version", 3),
    ("FROM trades FOR VERSION AS OF 3", "version", 3),
    ("FROM trades FOR SYSTEM_VERSION AS OF 3", "version", 3),
    ("FROM trades AT VERSION $v", "version", Parameter(name="v")),
    ("FROM trades AT VERSION $1", "version", Parameter(name="1")),
    ("FROM trades AT VERSION ?1", "version", Parameter(name="1")),
    ("FROM trades AT VERSION ?", "version", Parameter(position=0)),
    ("FROM trades AT (VERSION => ?)", "version", Parameter(position=0)),
    ("FROM trades AT SNAPSHOT 'eod-2026'", "snapshot", "eod-2026"),
    ("FROM trades AT SNAPSHOT 'it''s'", "snapshot", "it's"),
    ("FROM trades AT (SNAPSHOT => 'x')", "snapshot", "x"),
    ("FROM trades FOR SNAPSHOT AS OF 'x'", "snapshot", "x"),
    ("FROM trades AT SNAPSHOT $s", "snapshot", Parameter(name="s")),
    ("FROM trades AT TIMESTAMP '2026-01-01'", "timestamp", "2026-01-01"),
    ("FROM trades AT (TIMESTAMP => '2026-01-01')", "timestamp", "2026-01-01"),
    ("FROM trades FOR TIMESTAMP AS OF '2026-01-01'", "timestamp", "2026-01-01"),
    ("FROM trades FOR SYSTEM_TIME AS OF '2026-01-01'", "timestamp", "2026-01-01"),
    ("FROM trades AT TIMESTAMP $t", "timestamp", Parameter(name="t")),
    ("FROM trades AT TIMESTAMP now()", "timestamp", Expression("now()")),
    ("FROM trades AT TIMESTAMP now() - INTERVAL 1 DAY", "timestamp", Expression("now() - INTERVAL 1 DAY")),
    ("FROM trades AT TIMESTAMP (now() - INTERVAL '1' DAY)", "timestamp", Expression("(now() - INTERVAL '1' DAY)")),
    ("FROM trades AT (TIMESTAMP => today() - 1)", "timestamp", Expression("today() - 1")),
    ("FROM trades AT TIMESTAMP TIMESTAMP '2026-01-01'", "timestamp", Expression("TIMESTAMP '2026-01-01'")),
    ("FROM trades AT TIMESTAMP '2026-01-01'::DATE", "timestamp", Expression("'2026-01-01'::DATE")),
    ("FROM trades AT TIMESTAMP current_timestamp", "timestamp", Expression("current_timestamp")),
    ("FROM trades AT TIMESTAMP now()/* c */--d\n - INTERVAL 2 DAY", "timestamp", Expression("now() - INTERVAL 2 DAY")),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "kind", "value"), AT_FORMS)
@pytest.mark.parametrize("tail", ["", " t", " AS t", " WHERE x > 1", ", other", ";"])
def test_every_at_form_is_read(sql, kind, value, tail):
    """Each form gives its kind and value, whatever follows, and its span is exactly what is cut."""
    reference = one(sql + tail).references[0]
    assert (reference.at.kind, reference.at.value) == (kind, value)
    assert reference.alias == ("t" if tail.endswith(" t") else None)
    ((start, end),) = reference.cuts
    assert sql[start:end] == sql.removeprefix("FROM trades").strip()
    assert reference.at.offset == start


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT * FROM trades", ["trades"]),
        ("SELECT * FROM trades t AT (VERSION => 3)", ["trades@version:3 t"]),
        ("FROM trades t(a, b) AT VERSION 3 WHERE a > 1", ["trades@version:3 t"]),
        ("FROM trades AT VERSION 3 AS t(a, b) TABLESAMPLE 10%", ["trades@version:3 t"]),
        ("FROM t: trades AT VERSION 3", ["trades@version:3 t"]),
        ("FROM trades t TABLESAMPLE (10%)", ["trades t"]),
        ("FROM trades USING SAMPLE 5", ["trades"]),
        ("FROM a AT VERSION 1 x, a AT VERSION 2 y JOIN b USING (k)", ["a@version:1 x", "a@version:2 y", "b"]),
        ('FROM eod."eod-26".trades, "a.b", "ü""" AT VERSION 2 "q r"', ["eod.eod-26.trades", "a.b", 'ü"@version:2 q r']),
        ("SELECT t.version, t.snapshot FROM trades t", ["trades t"]),
        ("SELECT version, timestamp, snapshot FROM version AT VERSION 3", ["version@version:3"]),
        ("SELECT a AT TIME ZONE 'UTC' FROM trades", ["trades"]),
        ("SELECT 'FROM x AT VERSION 3', $$ y AT VERSION 3 $$ FROM a -- b AT VERSION 3 ; x", ["a"]),
        ("SELECT 1 /* FROM x AT VERSION 3 /* ; */ */ FROM a", ["a"]),
        ("SELECT e'\\' FROM x AT VERSION 3' FROM a", ["a"]),
        ("DESCRIBE trades AT VERSION 3", ["trades@version:3"]),
        ("DESCRIBE TABLE trades", ["trades"]),
        ("SHOW trades AT VERSION 3", ["trades@version:3"]),
        ("SHOW TABLES", []),
        ("SUMMARIZE trades AT VERSION 3", ["trades@version:3"]),
        ("SUMMARIZE SELECT * FROM trades AT VERSION 3", ["trades@version:3"]),
        ("TABLE trades AT VERSION 3", ["trades@version:3"]),
        ("EXPLAIN SELECT * FROM trades AT VERSION 3", ["trades@version:3"]),
        ("EXPLAIN ANALYZE FROM trades", ["trades"]),
        ("EXPLAIN (FORMAT json) SELECT ';' FROM trades", ["trades"]),
        ("EXPLAIN (SELECT * FROM trades)", ["trades"]),
        ("PIVOT trades AT VERSION 3 ON a USING sum(b)", ["trades@version:3"]),
        ("PIVOT_WIDER trades AT VERSION 3 ON a USING sum(b)", ["trades@version:3"]),
        ("PIVOT_LONGER trades AT VERSION 3 ON a, b", ["trades@version:3"]),
        ("CREATE TABLE x AS PIVOT trades AT VERSION 3 ON a USING sum(b) ORDER BY 1", ["trades@version:3"]),
        ("FROM (SHOW trades AT VERSION 3)", ["trades@version:3"]),
        ("SELECT E'a\\'b', x'ab', b'01' FROM trades AT VERSION 3", ["trades@version:3"]),
        ("FROM main..trades", []),
        ("FROM main . trades", ["main.trades"]),
        ("PIVOT trades AT VERSION 3 ON a USING sum(b) GROUP BY c ORDER BY c LIMIT 3", ["trades@version:3"]),
        ("FROM (DESCRIBE trades AT VERSION 3)", ["trades@version:3"]),
        ("UNPIVOT trades AT VERSION 3 ON a, b INTO NAME n VALUE v", ["trades@version:3"]),
        ("FROM trades AT VERSION 3 PIVOT (sum(x) FOR y IN (1, 2))", ["trades@version:3"]),
        ("COPY (FROM trades AT VERSION 3) TO 'x.csv'", ["trades@version:3"]),
        ("COPY trades AT VERSION 3 TO 'x.csv'", ["trades@version:3"]),
        ("COPY trades FROM 'x.csv'", []),
        ("SELECT (SELECT max(a) FROM x AT VERSION 1), EXISTS (FROM y) FROM z", ["x@version:1", "y", "z"]),
        ("FROM z SEMI JOIN w AT VERSION 2 USING (k) ANTI JOIN v USING (k)", ["z", "w@version:2", "v"]),
        ("FROM z, LATERAL (SELECT * FROM u WHERE u.k = z.k) q", ["z", "u"]),
        ("FROM a ASOF JOIN b AT VERSION 3 ON a.x >= b.x POSITIONAL JOIN c", ["a", "b@version:3", "c"]),
        ("FROM (a AT VERSION 1 JOIN b USING (k)) JOIN c USING (k)", ["a@version:1", "b", "c"]),
        ("SELECT 1 UNION ALL SELECT * FROM a AT VERSION 1 EXCEPT FROM b", ["a@version:1", "b"]),
        ("CREATE TEMP TABLE x AS SELECT * FROM trades AT VERSION 3", ["trades@version:3"]),
        ("CREATE VIEW v AS FROM trades", ["trades"]),
        ("INSERT INTO x SELECT * FROM trades AT VERSION 3", ["trades@version:3"]),
        ("UPDATE x SET a = 1 FROM b WHERE b.k = x.k", ["b"]),
        ("DELETE FROM x USING b WHERE b.k = x.k", ["b"]),
        ("MERGE INTO x USING s ON x.a = s.a WHEN MATCHED THEN DELETE", ["s"]),
        ("SET VARIABLE x = (SELECT 1 FROM t AT VERSION 3)", ["t@version:3"]),
        ("FROM 'x.parquet'", []),
        ("FROM range(3), read_csv('x') q", []),
        ("SELECT * FROM trades\u00a0AT\u2003VERSION 3", ["trades@version:3"]),
        ("SELECT * FROM 😀 AT VERSION 3", ["😀@version:3"]),
        ("SELECT count(*) FROM trades AT VERSION 3WHERE x", ["trades@version:3"]),
    ],
)  # fmt: skip
def test_references_of_a_statement(sql, expected):
    """All table references that are read, in the order of the text, each with its AT form and alias."""
    assert names(sql) == expected


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("WITH t AS (SELECT 1) FROM t", []),
        ("WITH t AS (SELECT 1) FROM t JOIN T x USING (a) JOIN u USING (a)", ["u"]),
        ("WITH t AS (SELECT * FROM t) FROM t", ["t"]),
        ("WITH t AS (SELECT 1) FROM t AT VERSION 3", ["t@version:3"]),
        ("WITH t AS (SELECT 1) FROM s.t", ["s.t"]),
        ("WITH a AS (FROM b), b AS (FROM a) FROM b", ["b"]),
        ("WITH RECURSIVE t AS (SELECT 1 UNION ALL SELECT * FROM t JOIN o ON true) FROM t", ["o"]),
        ("WITH RECURSIVE t AS (SELECT * FROM t UNION ALL SELECT * FROM t) FROM t", ["t"]),
        ("WITH RECURSIVE t AS (SELECT * FROM t) FROM t", ["t"]),
        ("SELECT (WITH t AS (SELECT 1) SELECT * FROM t) FROM t", ["t"]),
        ("WITH t AS (SELECT 1) SELECT (SELECT max(a) FROM t), EXISTS (SELECT 1 FROM (SELECT * FROM t))", []),
        ("INSERT INTO x WITH t AS (SELECT 1) FROM t", []),
        ("CREATE TABLE x AS WITH t AS (SELECT 1) FROM t, u", ["u"]),
    ],
)
def test_common_table_expressions_hide_names_where_duckdb_lets_them(sql, expected):
    """A CTE's name is no reference where the CTE is in view; with AT it always is one."""
    assert names(sql) == expected


@pytest.mark.parametrize(
    ("sql", "message", "place"),
    [
        ("FROM trades AT VERSION 'x'", "expected a whole number, found 'x'", "AT"),
        ("FROM trades AT VERSION", "expected a whole number, found nothing", "AT"),
        ("FROM trades AT VERSION WHERE a", "expected a whole number, found WHERE", "AT"),
        ("FROM trades AT VERSION 1.5", "expected a whole number, found 1.5", "AT"),
        ("FROM trades AT (VERSION => 1.5)", "expected a whole number, found 1.5", "AT"),
        ("FROM trades AT (VERSION => 1 2)", "2 is too much", "AT"),
        ("FROM trades AT (VERSION => 1", "not closed", "AT"),
        ("FROM trades AT SNAPSHOT eod", "expected a name in single quotes, found eod", "AT"),
        ("FROM trades AT TIMESTAMP 5", "expected a time, found 5", "AT"),
        ("FROM trades AT TIMESTAMP", "expected a time, found nothing", "AT"),
        ("FROM trades AT TIMESTAMP '2026-01-01'::", "expected a type behind ::", "AT"),
        ("FROM trades AT TIMESTAMP '2026-01-01'::, refs", "expected a type behind ::", "AT"),
        ("FROM trades AT TIMESTAMP (SELECT max(t) FROM x)", "subquery", "AT"),
        ("FROM trades AT TIMESTAMP $t - INTERVAL 1 DAY", "a parameter stands alone", "AT"),
        ("FROM (SELECT 1) AT VERSION 3", "right after the name of a symbol", "AT"),
        ("FROM (SELECT 1) q AT VERSION 3", "right after the name of a symbol", "AT"),
        ("FROM range(3) AT VERSION 3", "right after the name of a symbol", "AT"),
        ("FROM 'x.parquet' AT VERSION 3", "right after the name of a symbol", "AT"),
        ("FROM trades AT VERSION 3 AT VERSION 4", "only one AT form", "AT VERSION 4"),
        ("INSERT INTO trades AT VERSION 3 SELECT 1", "a past version cannot be changed", "AT"),
        ("CREATE TABLE t AT VERSION 3 AS SELECT 1", "a past version cannot be changed", "AT VERSION"),
        ("SELECT ) FROM trades AT VERSION 3", "cannot read this SQL", None),
        ("FROM t AT VERSION 3 WHERE 'abc", "quotation or comment is not closed", "'abc"),
        ("CALL f(t AT VERSION 3)", "cannot read this SQL", None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("before", ["", "SELECT 1;\n SELECT 'ü😀';  "])
def test_wrong_at_forms_are_errors_with_a_caret(sql, message, place, before):
    """What is wrong in an AT form is said, and the caret is under it in the whole text."""
    with pytest.raises(SqlError) as caught:
        parse(before + sql)
    assert message in str(caught.value)
    assert caught.value.sql == before + sql
    if place is not None:
        assert caught.value.offset == len(before) + sql.index(place)
    assert str(caught.value).endswith("^")


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE x(at timestamp default '2024-01-01', b int)",
        "ALTER TABLE x ADD COLUMN at timestamp",
        "CALL pragma_version()",
        "SELECT 'unclosed",
        "this is no SQL at all",
        "FROM trades WHERE ((",
        "PRAGMA table_info('trades')",
        "/* open",
        "SELECT $$ open",
    ],
)
def test_sql_without_an_at_form_is_never_refused(sql):
    """What sqlglot cannot read, DuckDB may still run: it comes back with its text."""
    assert [statement.text for statement in parse(sql)] == [sql]


def test_names_of_unreadable_sql_are_still_found():
    """For a good error, the names after FROM and JOIN are kept when sqlglot cannot read the statement."""
    statement = one('SELECT (# FROM trades JOIN "a b".c ON x')
    assert statement.tree is None
    assert statement.references == ()
    assert statement.maybe_names == ("trades", "a b.c")
    assert statement.problem


def test_of_sql_that_sqlglot_cannot_read_an_outline_is_read():
    """It has the references and their AT forms, and says that it is no more."""
    statement = one("SELECT abs(lib.trades.x::INT)!, @x FROM lib.trades AT VERSION 2 JOIN (FROM refs r) USING (x)")
    assert statement.is_outline
    assert [(r.parts, r.alias) for r in statement.references] == [(("lib", "trades"), None), (("refs",), "r")]
    assert statement.references[0].at.value == 2
    assert not one("SELECT abs(x), -x FROM trades").is_outline


def test_statements_are_split_with_their_places():
    """Only a semicolon between tokens splits; text and offset together give back the whole."""
    text = "SELECT ';' AS \"a;b\"; -- c;d\n;FROM t /* ; */ AT VERSION ?; SELECT ?, $$;$$ WHERE e'\\';' = ? ; "
    statements = parse(text)
    assert [s.kind for s in statements] == ["query"] * 3
    for statement in statements:
        assert text[statement.sql.origin(0) : statement.sql.origin(len(statement.sql))] == statement.text
    assert statements[1].references[0].at.value == Parameter(position=0)
    assert [p.position for _, p in statements[2].parameters] == [1, 2]
    assert parse("") == parse(" ;; -- nothing") == []


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("SELECT 1", "query"),
        ("VALUES (1)", "query"),
        ("FROM t", "query"),
        ("PIVOT t ON a", "query"),
        ("EXPLAIN SELECT 1", "explain"),
        ("EXPLAIN ANALYZE INSERT INTO t SELECT 1", "insert"),
        ("DESCRIBE t", "describe"),
        ("SHOW t", "describe"),
        ("SUMMARIZE t", "summarize"),
        ("COPY t TO 'x'", "copy"),
        ("CREATE TABLE t(a int)", "create_table"),
        ("CREATE OR REPLACE VIEW t AS SELECT 1", "create_view"),
        ("CREATE MACRO m(a) AS a + 1", "create_macro"),
        ("CREATE SCHEMA s", "create"),
        ("INSERT INTO t SELECT 1", "insert"),
        ("UPDATE t SET a = 1", "update"),
        ("DELETE FROM t", "delete"),
        ("DROP TABLE t", "drop"),
        ("ALTER TABLE t RENAME TO u", "alter"),
        ("TRUNCATE TABLE t", "truncate"),
        ("SET x = 1", "other"),
        ("ATTACH 'x' AS y", "other"),
    ],
)
def test_kind_of_a_statement(sql, kind):
    """The kind is that of the outermost statement; behind EXPLAIN, of what changes a table."""
    assert one(sql).kind == kind


@pytest.mark.parametrize(
    ("sql", "target"),
    [
        ("INSERT INTO trades SELECT 1", "trades"),
        ("UPDATE trades SET a = 1", "trades"),
        ("DELETE FROM trades WHERE a", "trades"),
        ("DROP TABLE trades", "trades"),
        ("CREATE TABLE a.trades AS SELECT 1", "a.trades"),
        ("ALTER TABLE trades ADD COLUMN x int", "trades"),
        ("MERGE INTO trades USING s ON true WHEN MATCHED THEN DELETE", "trades"),
        ("COPY trades FROM 'x.csv'", "trades"),
    ],
)
def test_what_a_statement_changes_is_a_target(sql, target):
    """A table that is created, changed or dropped is marked, so that it is never taken for one that is read."""
    targets = [".".join(r.parts) for r in one(sql).references if r.role == "target"]
    assert targets == [target]


def test_parameters_keep_their_places():
    """Each parameter is known with its character; a cast or an operator of JSON is none."""
    statement = one("SELECT $a, ?, ?, $1, '?', x::int, $$?$$ FROM t AT VERSION ? WHERE y->>'$.a' = ?2")
    assert [(statement.text[at], p.name, p.position) for at, p in statement.parameters] == [
        ("$", "a", None),
        ("?", None, 0),
        ("?", None, 1),
        ("$", "1", None),
        ("?", None, 2),
        ("?", "2", None),
    ]
    assert statement.references[0].at == At("version", Parameter(position=2), statement.text.index("AT"))


@pytest.mark.parametrize("sql", ["SELECT n.x FROM a, b n WHERE n.y NOT BETWEEN $p AND ''", "SELECT $p0 AND '' FROM t"])
def test_a_single_dollar_parameter_is_not_the_start_of_a_string(sql):
    """As run, the tokenizer of sqlglot fails on these."""
    assert one(sql).references


def test_parsing_logs_nothing(caplog):
    """Warnings of sqlglot about commands that it does not know are not shown to users."""
    parse("CALL something_unknown(1)")
    parse("SHOW ALL TABLES")
    assert caplog.records == []


@pytest.mark.parametrize("opening", ["(", "SELECT (", "[", "f(", "CASE WHEN ", "SELECT * FROM (", "/*", "'", "$$", '"'])
def test_deep_or_open_nesting_ends_quickly(opening):
    """Thousands of open brackets end in an answer, not in a crash or in exponential time."""
    assert parse(opening * 2000)


WORDS = ["-- c\n", "/* c */", "\n", "\u00a0", "\0", " "]
WORDS += re.split(
    " ",
    "SELECT FROM WHERE JOIN LEFT ON USING AS AT VERSION TIMESTAMP SNAPSHOT FOR OF SYSTEM_TIME INTERVAL DAY WITH UNION "
    "RECURSIVE ALL EXPLAIN ANALYZE DESCRIBE SHOW SUMMARIZE TABLE PIVOT COPY TO INSERT INTO CREATE trades t eod . , ; "
    "( ) [ ] => := :: = - + * / ? $p $1 ?2 3 -1 1.5 'x' '' \"q\" E'\\'' $$a$$ $t$ /* */ ' \" é 😀 now() % { } -> --",
)


@settings(max_examples=sized(2000, 20_000), deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.lists(st.sampled_from(WORDS) | st.text(max_size=3), max_size=14), st.sampled_from(["", " "]))
def test_any_text_parses_or_is_an_sql_error(words, space):
    """Whatever the text, the answer is statements whose places lie in it, or SqlError."""
    text = space.join(words)
    tokens, gaps = scan(text)
    spans = sorted([(t.start, t.end) for t in tokens] + gaps)
    assert "".join(text[a:b] for a, b in spans) == text
    try:
        statements = parse(text)
    except SqlError:
        return
    for statement in statements:
        assert text[statement.sql.origin(0) :].startswith(statement.text)
        for reference in statement.references:
            assert 0 <= reference.start < reference.end <= len(statement.text)


LOOK_ALIKES = [
    # white space to DuckDB, though no Unicode space; and letters to DuckDB, though Unicode says space
    *(f"SELECT{space}1 AS a, 2 AS b" for space in "\u00a0\u2003\u200b\u2060\u3000\ufeff"),
    *(f"SELECT 1 AS a{letter}$$, 2 AS b{letter}$$" for letter in "\u0085\u1680\u2028\u2029\u200c\u180e"),
    "SELECT 1 AS \u2028E, 'a\\', ' b '",
    # a number ends before an underscore that no digit follows
    "SELECT 1_$$, 2 _$$",
    "SELECT 1_000.5_0, .5_0, 1e5_0, 1_",
    "SELECT 0x1F",
    "SELECT 1e$$x$$",
]


@pytest.mark.parametrize("text", LOOK_ALIKES)
def test_words_and_strings_end_where_duckdb_sees_them_end(text):
    """The places of our tokens are those of DuckDB's, whose tokenizer alone does not know its odd spaces."""
    found, _ = scan(text)
    plain = re.sub("[\u00a0\u2003\u200b\u2060\u3000\ufeff]", " ", text)
    duckdbs = [len(plain.encode()[:place].decode()) for place, _ in duckdb.tokenize(plain)]
    assert [token.start for token in found] == duckdbs
    assert duckdb.extract_statements(text)


@pytest.mark.skipif(duckdb.__version__.startswith("1."), reason="names between backticks came with DuckDB 2")
@pytest.mark.parametrize("text", ["SELECT 1 AS `a'b`, 'c'", "SELECT 1 AS `a``;b`", "SELECT 1 AS \x01$$, 2 AS b\x1c$$"])
def test_words_that_only_duckdb_2_reads_end_where_it_sees_them_end(text):
    found, _ = scan(text)
    assert [token.start for token in found] == [place for place, _ in duckdb.tokenize(text)]
    assert len(parse(text)) == 1
