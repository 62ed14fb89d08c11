"""Random programs of several statements do to symbols what they do to tables of plain DuckDB.

A share of 300 programs; 3,000 with DUCKVSTORE_FULL=1. They write and read within transactions, in SQL and by
``lib.transaction``, with the same texts over and over, over many types. A failing one is printed whole;
DUCKVSTORE_PROGRAM runs one number.
"""

from __future__ import annotations

import importlib.util
import os
import random
from collections import Counter
from datetime import UTC, datetime

import duckdb
import pyarrow.compute as pc
import pytest

import duckvstore as vs
from duckvstore.errors import DuckVStoreError
from duckvstore.objects.memory import MemoryObjects
from tests.cuts import cut_every
from tests.sizes import sized

SEED = 20261129
COUNT = sized(200, full=3000)
PARTS = 2 if COUNT >= 20 else 1  # of which each can run on a core of its own
STEPS = 12
# Values of each type, as SQL.
TYPES = {
    "BOOLEAN": ["true", "false"],
    "TINYINT": ["-128", "0", "127"],
    "SMALLINT": ["-32768", "5", "32767"],
    "INTEGER": ["-3", "0", "1", "2147483647"],
    "BIGINT": ["-9223372036854775808", "7", "9223372036854775807"],
    "UTINYINT": ["0", "255"],
    "USMALLINT": ["1", "65535"],
    "UINTEGER": ["2", "4294967295"],
    "UBIGINT": ["3", "18446744073709551615"],
    "FLOAT": ["0.25", "'-0.0'", "'nan'", "'-inf'"],
    "DOUBLE": ["0.1", "'-0.0'", "1e300", "'nan'", "'inf'"],
    "DECIMAL(9, 2)": ["-1.25", "0", "9999999.99"],
    "DECIMAL(38, 5)": ["-1.00001", "123456789012345678901234567890.12345"],
    "VARCHAR": ["''", "'a'", "'A'", "'it''s'", "'\N{SNOWMAN} zz'", "repeat('x', 90)"],
    "BLOB": ["''", "'\\x00\\xFF'", "'ab'"],
    "DATE": ["'1969-12-31'", "'2026-11-29'", "'9999-12-31'"],
    "TIME": ["'00:00:00'", "'23:59:59.999999'"],
    "TIMESTAMP": ["'1969-12-31 23:59:59.999999'", "'2026-11-29 02:38:29'"],
    "TIMESTAMP_S": ["'2026-11-29 02:38:29'", "'1901-01-01'"],
    "TIMESTAMP_MS": ["'2026-11-29 02:38:29.123'", "'1901-01-01'"],
    "TIMESTAMP_NS": ["'2026-11-29 02:38:29.123456789'", "'1901-01-01'"],
    "TIMESTAMPTZ": ["'2026-11-29 02:38:29+05'", "'1969-12-31 23:59:59.999999+00'"],
    "INTEGER[]": ["[]", "[1, NULL]", "[3]"],
    "VARCHAR[][]": ["[]", "[['a'], NULL, []]"],
    "INTEGER[2]": ["[1, 2]", "[3, NULL]"],
    "STRUCT(a INTEGER, b VARCHAR)": ["{'a': 1, 'b': NULL}", "{'a': NULL, 'b': 'x'}"],
    "MAP(VARCHAR, INTEGER)": ["MAP {}", "MAP {'a': 1, 'b': NULL}"],
}
# Types that a column only carries, and DuckDB's own name is kept beside it.
OWN = {
    "ENUM('b', 'a', 'c')": ["'a'", "'b'", "'c'"],
    "JSON": ["'{\"a\": 1}'", "'[1, null]'", "'\"x\"'"],
    "UUID": ["'00000000-0000-0000-0000-000000000001'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'"],
    "HUGEINT": ["-7", f"'{2**127 - 1}'", f"'{-(10**38)}'"],
    "UHUGEINT": ["7", f"'{2**128 - 1}'"],
    "TIME_NS": ["'01:02:03.000000004'", "'23:59:59.999999999'"],
    "TIMETZ": ["'12:34:56.5+01:30'", "'00:00:00-11'"],
    "BIT": ["'101'", "'0001'"],
    "BIGNUM": [f"'{10**50}'", "'-1'"],
    "INTERVAL": ["'1 month'", "'40 days'", "'-3 hours'"],
    "UNION(i INTEGER, t VARCHAR)": ["union_value(i := 1)", "union_value(t := 'x')"],
    "ENUM('b', 'a')[]": ["[]", "['a', NULL]", "['b']"],
    "STRUCT(u UUID, i INTERVAL)": ["{'u': '00000000-0000-0000-0000-000000000001', 'i': '1 day'}"],
    "MAP(VARCHAR, HUGEINT)": ["MAP {}", f"MAP {{'a': '{2**127 - 1}'}}"],
}
# Of these Arrow has types of its own, in which no table is stored.
NO_FRAMES = ("INTERVAL", "UNION(i INTEGER, t VARCHAR)")
TYPES |= OWN
if importlib.util.find_spec("pytz") is None:  # without it DuckDB itself gives no such values to Python
    del TYPES["TIMESTAMPTZ"]
NESTED = ("[", "STRUCT", "MAP", "UNION")


class Program:
    """Makes the statements of one program, each of which both sides understand."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice
        self.types = {"t": self.dice.sample(list(TYPES), 2), "u": self.dice.sample(list(TYPES), 2)}
        if self.chance(0.5):
            self.types["u"][0] = self.types["t"][0]
        # Few texts, so that they come again after others have changed what they read.
        self.reads = [self.read() for _ in range(3)]
        self.objects: set[str] = set()

    def chance(self, share: float) -> bool:
        return self.dice.random() < share

    def table(self) -> str:
        return self.dice.choice("tttu")

    def column(self, table: str) -> tuple[str, str]:
        return self.dice.choice(list(zip("xy", self.types[table], strict=True)))

    def value(self, kind: str) -> str:
        return "NULL" if self.chance(0.15) else f"CAST({self.dice.choice(TYPES[kind])} AS {kind})"

    def row(self, table: str) -> str:
        values = [self.value(kind) for kind in self.types[table]]
        return f"({self.dice.choice(['NULL', *map(str, range(8))])}, {', '.join(values)})"

    def defined(self, table: str) -> str:
        columns = [f"{name} {kind}" for name, kind in zip("xy", self.types[table], strict=True)]
        return f"(k INTEGER, {', '.join(columns)})"

    def created(self) -> list[str]:
        found = []
        for table in "tu":
            rows = ", ".join(self.row(table) for _ in range(self.dice.randint(3, 9)))
            if self.chance(0.5):
                found += [f"CREATE TABLE {table} {self.defined(table)}", f"INSERT INTO {table} VALUES {rows}"]
            else:
                found += [f"CREATE TABLE {table} AS SELECT * FROM (VALUES {rows}) AS r(k, x, y)"]
                casts = ", ".join(
                    f"CAST({name} AS {kind}) AS {name}"
                    for name, kind in zip("kxy", ["INTEGER", *self.types[table]], strict=True)
                )
                found[-1] = f"CREATE TABLE {table} AS SELECT {casts} FROM (VALUES {rows}) AS r(k, x, y)"
        return found

    def predicate(self, table: str) -> str:
        dice, (name, kind) = self.dice, self.column(table)
        other = "u" if table == "t" else "t"
        number, low = dice.randint(0, 7), dice.randint(0, 4)
        compared = "=" if any(word in kind for word in NESTED) else dice.choice(["=", "<", ">=", "<>"])
        return dice.choice(
            [
                f"{table}.k {dice.choice(['=', '<', '>=', '<>'])} {number}",
                f"{table}.k BETWEEN {low} AND {low + 3}",
                f"{table}.{name} IS {dice.choice(['', 'NOT '])}NULL",
                f"{table}.{name} {compared} {self.value(kind)}",
                f"{table}.k IN (SELECT k FROM {other} WHERE k < {number})",
                f"{table}.k = (SELECT {dice.choice(['min', 'max'])}(k) FROM {table})",
                f"EXISTS (FROM {other} WHERE {other}.k = {table}.k)",
                f"{table}.k > (SELECT count(*) FROM {other}) - {number}",
                f"({table}.k = {number} OR {table}.{name} IS NULL)",
                f"{table}.k NOT IN ({number}, {low}, NULL)",
            ]
        )

    def where(self, table: str) -> str:
        return f" WHERE {self.predicate(table)}" if self.chance(0.85) else ""

    def read(self) -> str:
        table = self.table()
        name, _ = self.column(table)
        return self.dice.choice(
            [
                f"SELECT count(*), sum(k), count({name}) FROM {table}{self.where(table)}",
                f"FROM {table}{self.where(table)}",
                f"SELECT k, {name} FROM {table}{self.where(table)} ORDER BY ALL LIMIT 3",
                f"SELECT max({name}), min(k) FROM {table}{self.where(table)}",
                f"SELECT t.k, t.x, u.y FROM t JOIN u ON t.k = u.k{self.where(table)}",
                f"SELECT k, count(*) FROM {table}{self.where(table)} GROUP BY k",
                f"WITH c AS (FROM {table}{self.where(table)}) SELECT count(*), (SELECT sum(k) FROM {table}) FROM c",
                f"SELECT typeof({name}), {name} FROM {table} WHERE k < 5",
            ]
        )

    def returning(self, *, table: str) -> str:
        name, _ = self.column(table)
        asked = self.dice.choice(
            ["*", "k", "k + 1 AS next, k", f"* EXCLUDE ({name})", f"typeof({name}), {name}", "COLUMNS('k|x')", "k, k"]
        )
        if self.chance(0.08):
            asked = "CASE WHEN k > 2 THEN error('late') END"
        return f" RETURNING {asked}" if self.chance(0.4) else ""

    def assigned(self, table: str) -> str:
        name, kind = self.column(table)
        other = self.dice.choice(["t", "u"])
        return self.dice.choice(
            [
                "k = k + 1",
                f"k = (SELECT sum(k) % 10 FROM {table})",
                f"k = (SELECT count(*) FROM {other})",
                f"{name} = {self.value(kind)}",
                f"{name} = NULL",
                f"{name} = (SELECT max({name}) FROM {table})",
                f"k = 9 - k, {name} = {self.value(kind)}",
                f"k = CAST(CASE WHEN k = {self.dice.randint(0, 40)} THEN 'no number' ELSE '4' END AS INTEGER)",
            ]
        )

    def change(self) -> str:
        """Return a statement that changes rows of a symbol."""
        table = self.table()
        other = "u" if table == "t" else "t"
        rows = ", ".join(self.row(table) for _ in range(self.dice.randint(1, 3)))
        returning = self.returning(table=table)
        return self.dice.choice(
            [
                f"INSERT INTO {table} VALUES {rows}{returning}",
                f"INSERT INTO {table} SELECT k + 1, x, y FROM {table}{self.where(table)}{returning}",
                f"INSERT INTO {table} (k) SELECT count(*) FROM {table}{returning}",
                f"INSERT INTO {table} BY NAME SELECT k FROM {other}{self.where(other)} ORDER BY k LIMIT 2",
                f"UPDATE {table} SET {self.assigned(table)}{self.where(table)}{returning}",
                f"UPDATE {table} SET {self.assigned(table)}{self.where(table)}{returning}",
                f"UPDATE {table} SET {self.assigned(table)}{self.where(table)}",
                f"UPDATE {table} SET k = n FROM (SELECT k AS j, count(*) AS n FROM {other} GROUP BY k) o WHERE j = k",
                f"DELETE FROM {table} WHERE {self.predicate(table)}{returning}",
                f"DELETE FROM {table} USING {other} WHERE {other}.k = {table}.k AND {self.predicate(table)}",
                self.merge(table, other),
                f"CREATE OR REPLACE TABLE {table} AS FROM {table}{self.where(table)}",
            ]
        )

    def merge(self, table: str, other: str) -> str:
        source = f"(SELECT k, count(*) AS n FROM {other} WHERE k IS NOT NULL GROUP BY k) s"
        matched = self.dice.choice(
            ["DELETE", "UPDATE SET k = s.n", f"UPDATE SET k = (SELECT max(k) FROM {table})", "DO NOTHING"]
        )
        missing = self.dice.choice(["INSERT (k) VALUES (s.k)", "DO NOTHING"])
        more = self.dice.choice(["", " WHEN NOT MATCHED BY SOURCE THEN DELETE"])
        return (
            f"MERGE INTO {table} USING {source} ON {table}.k = s.k WHEN MATCHED AND {table}.k > "
            f"{self.dice.randint(0, 4)} THEN {matched} WHEN NOT MATCHED THEN {missing}{more}"
        )

    def aside(self) -> str:
        """Return a statement about views, macros and tables of the session, or one that reads through them."""
        table, number = self.table(), self.dice.randint(0, 5)
        made = {
            "v": f"CREATE OR REPLACE VIEW v AS SELECT k, x FROM {table}{self.where(table)}",
            "m": f"CREATE OR REPLACE MACRO m(a) AS (SELECT count(*) FROM {table} WHERE k > a)",
            "mt": f"CREATE OR REPLACE MACRO mt(a) AS TABLE SELECT k FROM {table} WHERE k <> a",
            "w": f"CREATE OR REPLACE TEMP TABLE w AS SELECT k, y FROM {table}{self.where(table)}",
        }
        used = {
            "v": ["SELECT count(*), sum(k) FROM v", f"DELETE FROM {table} WHERE k IN (SELECT k FROM v)"],
            "m": [f"SELECT m({number})", f"UPDATE {table} SET k = m({number}) WHERE k = {number}"],
            "mt": [f"SELECT sum(k) FROM mt({number})", f"INSERT INTO {table} (k) FROM mt({number})"],
            "w": [
                "UPDATE w SET k = k + 1",
                "SELECT count(*), sum(k) FROM w",
                f"INSERT INTO {table} (k) SELECT k FROM w",
            ],
        }
        if self.objects and self.chance(0.7):
            return self.dice.choice(used[self.dice.choice(sorted(self.objects))])
        name = self.dice.choice(list(made))
        self.objects.add(name)
        return made[name]

    def statement(self) -> str:
        found = self.dice.random()
        if found < 0.35:
            return self.dice.choice(self.reads)
        return self.aside() if found < 0.5 else self.change()


class Sides:
    """A library and a DuckDB, which a program runs on step by step."""

    def __init__(self, name: str) -> None:
        self.store = vs.Store(MemoryObjects(name))
        self.lib = self.store.create_library("eod")
        self.plain = duckdb.connect()
        self.plain.execute("SET TimeZone = 'UTC'")
        self.lib.sql("SET TimeZone = 'UTC'")
        self.steps: list[str] = []
        self.seen: Counter[str] = Counter()
        self.is_begun = False

    def close(self) -> None:
        self.lib.session.close()
        self.plain.close()

    def both(self, statement: str, *, may_fail: bool = True) -> None:
        """Run a statement on both sides and compare what it gives: rows, a count, or that it fails."""
        self.steps.append(statement)
        ours, theirs = (outcome(run, statement) for run in (self.lib.sql, self.plain.sql))
        is_failed = "error" in (ours, theirs)
        assert ours == theirs, self.told(ours, theirs)
        assert may_fail or not is_failed, self.told(ours, theirs)
        self.seen["failed" if is_failed else statement.split(None, 1)[0]] += 1
        if is_failed and self.is_begun:
            self.end("ROLLBACK")
        elif is_failed:
            self.compare()

    def begin(self) -> None:
        self.both("BEGIN", may_fail=False)
        self.is_begun = True

    def end(self, how: str) -> None:
        self.is_begun = False
        self.both(how, may_fail=False)
        self.compare()

    def in_python(self, dice: random.Random, kinds: list[str]) -> None:
        """Carry out a transaction of the Python API, and the same in SQL on the other side.

        ``kinds``: the types of ``t``. A frame that is written anew has none of DuckDB's own.
        """
        steps = ["delete"]
        steps += ["append"] if not set(kinds) & set(NO_FRAMES) else []
        steps += ["rewrite"] if not set(kinds) & set(OWN) else []
        number, is_kept = dice.randint(0, 6), dice.random() < 0.7
        self.steps.append(f"-- with lib.transaction(): {number}, kept: {is_kept}")
        self.plain.execute("BEGIN")
        with self.lib.transaction() as transaction:
            for _ in range(dice.randint(2, 4)):
                rows = transaction.read("t", output_format="pyarrow").data
                step = dice.choice(steps)
                self.steps.append(f"--   {step} k < {number}")
                if step == "delete":
                    transaction.delete_rows("t", f"k < {number}")
                    self.plain.execute(f"DELETE FROM t WHERE k < {number}")
                elif step == "append":
                    transaction.append("t", rows.filter(pc.less(rows.column("k"), number)))
                    self.plain.execute(f"INSERT INTO t FROM t WHERE k < {number}")
                else:
                    transaction.write("t", rows.filter(pc.greater_equal(rows.column("k"), number)))
                    self.plain.execute(f"DELETE FROM t WHERE NOT coalesce(k >= {number}, false)")
                number += dice.randint(-2, 2)
                found = transaction.read("t", output_format="pyarrow").data.num_rows
                expected = self.plain.execute("SELECT count(*) FROM t").fetchone()[0]
                assert found == expected, self.told(found, expected)
            if not is_kept:
                transaction.rollback()
        self.plain.execute("COMMIT" if is_kept else "ROLLBACK")
        self.seen["python"] += 1
        self.compare()

    def compare(self) -> None:
        """Compare both tables whole."""
        for table in "tu":
            found, expected = (contents(run, table) for run in (self.lib.sql, self.plain.sql))
            assert found == expected, self.told(found, expected)

    def compare_stored(self) -> None:
        """Compare both tables as another handle of the library finds them."""
        again = vs.Store(self.store.objects)["eod"]
        again.sql("SET TimeZone = 'UTC'")
        for table in "tu":
            found, expected = (contents(run, table) for run in (again.sql, self.plain.sql))
            assert found == expected, self.told(found, expected)
            assert again.read(table, output_format="pyarrow").data.num_rows == len(expected[-1])
        again.session.close()

    def told(self, ours: object, theirs: object) -> str:
        return "\n".join([*(f"{step};" for step in self.steps), f"ours:   {ours}", f"theirs: {theirs}"])


def plain_value(value):
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).replace(tzinfo=None)
    return value


def rows_of(found) -> list[str]:
    return sorted(repr(tuple(map(plain_value, row))) for row in found.fetchall())


def contents(run, table: str):
    found = run(f"FROM {table}")
    return list(found.columns), [str(kind) for kind in found.types], rows_of(found)


def outcome(run, statement: str):
    """Return the columns and rows that a statement gives, or "error"."""
    is_asked = statement.split(None, 1)[0] in ("SELECT", "FROM", "WITH") or "RETURNING" in statement
    try:
        found = run(statement)
        return (list(found.columns), rows_of(found)) if is_asked else "done"
    except (duckdb.Error, DuckVStoreError):
        return "error"


def run_program(number: int) -> Counter[str]:
    dice = random.Random(SEED * 1_000_003 + number)
    program, sides = Program(dice), Sides(f"program-{number}")
    try:
        for statement in program.created():
            sides.both(statement, may_fail=False)
        for _ in range(STEPS):
            if sides.is_begun and dice.random() < 0.2:
                sides.end(dice.choice(["COMMIT", "COMMIT", "ROLLBACK"]))
            elif not sides.is_begun and dice.random() < 0.35:
                sides.begin()
            elif not sides.is_begun and dice.random() < 0.15:
                sides.in_python(dice, program.types["t"])
            else:
                sides.both(program.statement())
        if sides.is_begun:
            sides.end("COMMIT")
        sides.compare()
        sides.compare_stored()
        return sides.seen
    except AssertionError:
        raise
    except Exception as error:  # one that nobody expected
        raise AssertionError(f"program {number}: {type(error).__name__}\n{sides.told('', error)}") from error
    finally:
        sides.close()


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(PARTS))
def test_random_programs_do_to_symbols_what_they_do_to_tables(part, monkeypatch):
    """Each statement gives the same, and what is stored in the end is the same, types included."""
    cut_every(monkeypatch, 3)
    chosen = os.environ.get("DUCKVSTORE_PROGRAM")
    if chosen and part:
        pytest.skip("the chosen program runs in part 0")
    seen: Counter[str] = Counter()
    for number in [int(chosen)] if chosen else range(part, COUNT, PARTS):
        seen += run_program(number)
    print(dict(seen))
    if not chosen:
        assert min(seen[word] for word in ("UPDATE", "COMMIT", "ROLLBACK", "MERGE", "python", "failed")) >= max(
            1, COUNT // 60
        )
