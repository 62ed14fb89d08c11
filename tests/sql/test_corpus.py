"""The shapes of DuckDB's language, with symbols in place of tables: names, types and rows are DuckDB's own.

corpus/*.sql has statements apart by empty lines. Each runs verbatim in DuckDB over tables, one database a version,
and here in two spellings over symbols: ``§`` behind a name and ``¶`` behind its alias are places for an AT form.
A first line ``-- compare: shape`` compares names, types and the number of rows only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

import duckvstore as vs
from tests.cuts import cut_every

FOLDER = Path(__file__).parent / "corpus"
SHAPE = "-- compare: shape\n"
_PLACE = re.compile(r'((?:main\.)?(?:\w+|"\w+"))§((?:(?!§).)*?¶)?', re.DOTALL)


@dataclass(frozen=True)
class Form:
    """How a version is asked for: words behind the name (or its alias), or a name before it."""

    behind: str = ""
    before: str = ""


FORMS = {
    0: [
        Form(" AT VERSION 0"),
        Form(" AT (VERSION => 0)"),
        Form(" FOR VERSION AS OF 0"),
        Form(" AT VERSION -2"),
        Form(" AT SNAPSHOT 'start'"),
        Form("\n  at /* c */ (snapshot => 'start')"),
        Form(" FOR SNAPSHOT AS OF 'start'"),
        Form(before="start."),
        Form(before="lib.start."),
        Form(" AT TIMESTAMP (TIMESTAMPTZ '{moment}')"),
    ],
    1: [
        Form(),
        Form(" AT VERSION 1"),
        Form(" AT (VERSION => -1)"),
        Form(before='"eod 2026".'),
        Form(" AT SNAPSHOT 'eod 2026'"),
        Form(" FOR SYSTEM_TIME AS OF now()"),
        Form(" AT TIMESTAMP now() + INTERVAL 1 DAY"),
        Form(before="lib."),
    ],
}


def statements() -> list[tuple[str, int, str]]:
    """Return (file, number, text) of every statement."""
    return [
        (path.stem, number, text.strip("\n"))
        for path in sorted(FOLDER.glob("*.sql"))
        for number, text in enumerate(re.split(r"\n(?:[ \t]*\n)+", path.read_text(encoding="utf-8")))
        if text.strip()
    ]


def cases() -> list[pytest.param]:
    """Return every statement with every version; one that has no place for an AT form asks for the newest."""
    return [
        pytest.param(number, text, version, id=f"{file} {number} at {version}: {' '.join(text.split())[:60]}")
        for file, number, text in STATEMENTS
        for version in FORMS
        if "§" in text or version == max(FORMS)
    ]


STATEMENTS = statements()


def tables(version: int) -> dict[str, pa.Table]:
    """Return the rows of every symbol at ``version``."""
    count = 5 if version == 0 else 8
    moments = [datetime(2026, 1, 1, 9, tzinfo=UTC) + timedelta(hours=11 * number) for number in range(count)]
    ids = range(1, count + 1)
    return {
        "trades": pa.table(
            {
                "id": pa.array(ids, pa.int64()),
                "sym": ["a", "b", "a", "c", "d", "b", "a", None][:count],
                "side": ["buy", "sell", "buy", None, "sell", "sell", "buy", "buy"][:count],
                "price": pa.array([10.0, 20.5, 11.25, None, 7.5, 21.0, 12.0, 3.0][:count]),
                "qty": pa.array([number * 2.0 + version for number in ids]),
                "ts": pa.array(moments, pa.timestamp("us", tz="UTC")),
                "tags": [["x", "y"], [], None, ["z"], ["x"], ["x", None], ["y"], []][:count],
                "info": pa.array([{"x": number, "y": f"i{number}"} for number in ids]),
            }
        ),
        "quotes": pa.table(
            {
                "sym": ["a", "a", "b", "c", "b"],
                "ts": pa.array([moments[0] + timedelta(hours=7 * n - 3) for n in range(5)], pa.timestamp("us", "UTC")),
                "bid": [9.0 + version, 10.5, 20.0, 5.0, 20.25],
                "ask": [11.0, 11.5, 21.0, 6.0, 21.25],
            }
        ),
        "refs": pa.table({"sym": ["a", "b", "e"], "name": ["Ann", "Bob", f"Eve{version}"]}).append_column(
            "sector", pa.array(["tech", "bank", None])
        ),
        "tree": pa.table(
            {
                "id": pa.array([1, 2, 3, 4, 5 + version], pa.int64()),
                "parent": pa.array([None, 1, 1, 3, 4], pa.int64()),
                "name": ["root", "left", "right", "stem", "leaf"],
            }
        ),
        "cities": pa.table(
            {
                "country": ["NL", "NL", "US", "US", "US", "NL"],
                "name": ["Amsterdam", "Amsterdam", "Seattle", "Seattle", "New York", "Utrecht"],
                "year": pa.array([2000, 2020, 2000, 2010, 2020, 2010 + version * 10], pa.int64()),
                "population": pa.array([1005, 1158, 564, 608, 8772, 300], pa.int64()),
            }
        ),
        "monthly": pa.table(
            {
                "empid": pa.array([1, 2, 3], pa.int64()),
                "dept": ["it", "it", "ops"],
                "jan": pa.array([1, 2, None], pa.int64()),
                "feb": pa.array([10 + version, 20, 30], pa.int64()),
                "mar": pa.array([100, None, 300], pa.int64()),
            }
        ),
    }


@pytest.fixture(scope="module")
def lib(tmp_path_factory):
    library = vs.open(tmp_path_factory.mktemp("corpus")).create_library("lib")
    with pytest.MonkeyPatch.context() as patch:
        cut_every(patch, 3)
        for version, name in enumerate(["start", "eod 2026"]):
            for symbol, table in tables(version).items():
                library.write(symbol, table)
            library.snapshot(name)
    yield library
    library.session.close()


@pytest.fixture(scope="module")
def moment(lib):
    """A time at which every symbol had its version 0."""
    created = {key: version.date for key, version in lib.list_versions().items()}
    first = max(when for key, when in created.items() if key.version == 0)
    assert first < min(when for key, when in created.items() if key.version == 1)
    return first.isoformat()


@pytest.fixture(scope="module")
def plain():
    with duckdb.connect() as connection:
        for version in FORMS:
            connection.execute(f"ATTACH ':memory:' AS v{version}")
            for symbol, table in tables(version).items():
                connection.register("rows", table)
                connection.execute(f"CREATE TABLE v{version}.{symbol} AS FROM rows")
                connection.unregister("rows")
        yield connection


def spelled(text: str, form: Form, *, is_late: bool) -> str:
    """Return ``text`` with ``form`` at every place; ``is_late``: behind the alias where there is one."""

    def placed(match: re.Match[str]) -> str:
        name, alias = match[1], (match[2] or "").removesuffix("¶")
        if form.before:
            name = form.before + name.removeprefix("main.")
        return f"{name}{alias}{form.behind}" if is_late else f"{name}{form.behind}{alias}"

    return _PLACE.sub(placed, text)


def bare(text: str) -> str:
    return re.sub("[§¶]", "", text)


def outcome(names: list[str], types: list[str], rows: pa.Table, text: str) -> object:
    if text.startswith(SHAPE):
        return names, types, rows.num_rows
    shown = [repr(row) for row in zip(*(column.to_pylist() for column in rows.columns), strict=True)]
    return names, types, shown if "order by" in text.lower() else sorted(shown)


@pytest.mark.parametrize(("number", "text", "version"), cases())
def test_every_shape_answers_as_duckdb(number, text, version, lib, plain, moment, tmp_path):
    """Names, types and rows, with the version asked for in one of many ways, before or after an alias."""
    text = text.replace("{folder}", str(tmp_path))
    plain.execute(f"USE v{version}")
    relation = plain.sql(bare(text).removeprefix(SHAPE))
    expected = outcome(relation.columns, [str(kind) for kind in relation.types], relation.to_arrow_table(), text)
    form = FORMS[version][number % len(FORMS[version])]
    sql = spelled(text, Form(form.behind.replace("{moment}", moment), form.before), is_late=number % 2 == 1)
    result = lib.sql(sql.removeprefix(SHAPE))
    rows = result.arrow()
    if "EXPLAIN" in text and result.figures.scans:
        rows = rows.slice(0, rows.num_rows - 1)  # the last one has our figures
    assert outcome(result.columns, result.types, rows, text) == expected, sql


def test_the_corpus_is_large():
    """At least 350 statements, no two of them equal."""
    texts = [text for _, _, text in STATEMENTS]
    assert len(texts) == len(set(texts)) >= 350
