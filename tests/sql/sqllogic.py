"""DuckDB's ``.test`` files: their format, and a runner that runs each against a library and against DuckDB itself.

A record counts as wrong of ours only where DuckDB itself answers as the file says and ours does not. What a symbol has
not (keys, say) is counted by its reason; the table is then one of the session, so that the rest of the file goes on.

    python -m tests.sql.sqllogic FILE …
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

import duckvstore as vs
from duckvstore.errors import DuckVStoreError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# What a symbol does not have, by the words of the refusal.
NOT_OF_SYMBOLS = {
    "keeps no constraints": "constraints, keys and defaults",
    "keeps no keys": "INSERT … ON CONFLICT",
    "which a symbol cannot keep": "types that are not stored",
    "which CREATE cannot change like this": "indexes and triggers",
    "for which comments are not kept": "comments",
    "have no rowid": "rowid",
    "takes no further clauses": "clauses of CREATE TABLE",
    "takes names of columns without types": "typed columns of CREATE TABLE AS",
    "takes one name": "DROP of several tables",
    "where that is meant": "casts that lose values",
    "Only ADD": "other forms of ALTER TABLE",
}
# Extensions and builds that a file may require and that are there, or that make no difference here.
_THERE = frozenset(
    {
        *("parquet", "json", "icu", "core_functions", "skip_reload", "noforcestorage", "no_alternative_verify"),
        *("noalternativeverify", "notwindows", "64bit", "longdouble", "notmusl", "notmingw", "vector_size"),
        *("no_extension_autoloading", "no_vector_verification", "strinline", "no_latest_storage", "block_size"),
    }
)
_NUMBERS = ("tinyint", "smallint", "integer", "bigint", "hugeint")
_UNSIGNED = ("utinyint", "usmallint", "uinteger", "ubigint", "uhugeint")
_SETS = {
    "<signed>": _NUMBERS,
    "<unsigned>": _UNSIGNED,
    "<integral>": (*_NUMBERS, *_UNSIGNED),
    "<numeric>": (*_NUMBERS, *_UNSIGNED, "float", "double"),
    "<alltypes>": (*_NUMBERS, *_UNSIGNED, "float", "double", "bool", "interval", "varchar"),
}
# With these DuckDB 1.5 crashes over registered Arrow rows, its own connections too.
_VERIFYING = re.compile(r"\s*PRAGMA\s+(?:\w+_verif\w*|verify_\w+)", re.IGNORECASE)
_CREATE_TABLE = re.compile(r"^(\s*CREATE\s+(?:OR\s+REPLACE\s+)?)(TABLE)\b", re.IGNORECASE)
# Types of statements for which ``sql`` does not tell how many rows they changed.
_COUNTING = ("INSERT", "UPDATE", "DELETE", "MERGE_INTO", "COPY")
_GIVES_ROWS = re.compile(r"\bRETURN(?:ING|_FILES|_STATS)\b", re.IGNORECASE)
_HASHED = re.compile(r"(\d+) values hashing to ([0-9a-f]{32})")
_PLACE_SPAN = 300


@dataclass(frozen=True, slots=True)
class Record:
    """A line of the file with what belongs to it: its ``words``, the SQL, and what is expected after ``----``."""

    words: tuple[str, ...]
    line: int
    sql: str = ""
    expected: tuple[str, ...] | None = None
    body: tuple[Record, ...] = ()

    @property
    def command(self) -> str:
        """The first word."""
        return self.words[0]


@dataclass(slots=True)
class Report:
    """What came of one file. ``stopped``: why its rest was not run."""

    passed: int = 0
    duckdb_differs: list[str] = field(default_factory=list)
    ours_differs: list[str] = field(default_factory=list)
    not_applicable: Counter[str] = field(default_factory=Counter)
    stopped: str = ""

    def as_json(self) -> str:
        """Return it as one line."""
        return json.dumps(
            {
                "passed": self.passed,
                "duckdb_differs": self.duckdb_differs,
                "ours_differs": self.ours_differs,
                "not_applicable": dict(self.not_applicable),
                "stopped": self.stopped,
            }
        )


class Stop(Exception):
    """The rest of the file is not to be run, for the reason that it says."""


def parse(text: str) -> tuple[Record, ...]:
    """Return the records of a file; a loop holds those that it repeats. Raises ValueError for a loop without end."""
    lines = text.splitlines()
    stack: list[tuple[tuple[str, ...], int, list[Record]]] = [((), 0, [])]
    index = 0
    while index < len(lines):
        line = lines[index].strip()
        index += 1
        if not line or line.startswith("#"):
            continue
        words, at = tuple(line.split()), index
        if words[0] in ("loop", "foreach", "concurrentloop", "concurrentforeach"):
            stack.append((words, at, []))
        elif words[0] == "endloop" and len(stack) > 1:
            head, start, body = stack.pop()
            stack[-1][2].append(Record(head, start, body=tuple(body)))
        elif words[0] in ("statement", "query"):
            sql, expected, index = _block(lines, index)
            stack[-1][2].append(Record(words, at, sql, expected))
        else:
            stack[-1][2].append(Record(words, at))
    if len(stack) > 1:
        raise ValueError(f"line {stack[-1][1]}: a loop without endloop")
    return tuple(stack[0][2])


def _block(lines: list[str], index: int) -> tuple[str, tuple[str, ...] | None, int]:
    """Return the SQL from line ``index`` on, what is expected (None: nothing is said), and the index behind."""
    sql: list[str] = []
    while index < len(lines) and lines[index].strip() and lines[index].strip() != "----":
        if not lines[index].startswith("#"):
            sql.append(lines[index])
        index += 1
    if index >= len(lines) or not lines[index].strip():
        return "\n".join(sql), None, index
    expected: list[str] = []
    index += 1
    while index < len(lines) and lines[index].strip():
        expected.append(lines[index].rstrip("\r\n"))
        index += 1
    return "\n".join(sql), tuple(expected), index


def values_of(words: Sequence[str]) -> list[str]:
    """Return what the variable of a loop stands for, one after the other."""
    if words[0].endswith("loop"):
        return [str(number) for number in range(int(words[2]), int(words[3]))]
    found: list[str] = []
    for word in words[2:]:
        if word.startswith("!"):
            found = [value for value in found if value != word[1:]]
        else:
            found += _SETS.get(word, (word,))
    return found


def shown(value: object) -> str:
    """Return a cell as files have it, from its text in DuckDB."""
    if value is None:
        return "NULL"
    return str(value).replace("\0", "\\0") or "(empty)"


def is_same(shown_value: str, expected: str) -> bool:
    """Whether a cell is what is expected: as text, as a truth value, or nearly as a number."""
    if expected.startswith(("<REGEX>:", "<!REGEX>:")):
        found = re.search(expected.partition(":")[2], shown_value, re.DOTALL) is not None
        return found == expected.startswith("<REGEX>")
    if shown_value == expected or {shown_value, expected} in ({"true", "1"}, {"false", "0"}):
        return True
    try:
        number, wanted = float(shown_value), float(expected)
    except ValueError:
        return False
    if math.isnan(number) or math.isnan(wanted):
        return math.isnan(number) and math.isnan(wanted)
    return math.isclose(number, wanted, rel_tol=1e-6, abs_tol=1e-12)


def ordered(rows: list[tuple[Any, ...]], mode: str, key: Any = repr) -> list[Any]:
    """Return ``rows`` in the order that a sort mode asks for; single values for ``valuesort``."""
    if mode == "rowsort":
        return sorted(rows, key=lambda row: [key(value) for value in row])
    if mode == "valuesort":
        return sorted((value for row in rows for value in row), key=key)
    return rows


def is_as_expected(rows: list[tuple[Any, ...]], record: Record, mode: str) -> bool:
    """Whether rows of texts are what the file says."""
    expected = list(record.expected or ())
    cells = [tuple(map(shown, row)) for row in rows]
    found = ordered(cells, mode, str)
    flat = found if mode == "valuesort" else [value for row in found for value in row]
    hashed = _HASHED.fullmatch(expected[0].strip()) if len(expected) == 1 else None
    if hashed is not None:
        digest = hashlib.md5("".join(f"{value}\n" for value in flat).encode()).hexdigest()
        return len(flat) == int(hashed[1]) and digest == hashed[2]
    width = len(record.words[1]) if len(record.words) > 1 else 1
    wanted = [line.split("\t") for line in expected] if width > 1 and len(expected) * width == len(flat) else None
    if wanted is None or any(len(row) != width for row in wanted):
        wanted = [[line] for line in expected]
    rest = [value for row in wanted for value in row]
    return len(rest) == len(flat) and all(map(is_same, flat, rest))


class _Side:
    """One of the two that run a file: DuckDB, or a library; ``folder`` is its own for the files that it writes."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder

    def text_of(self, text: str) -> str:
        return text.replace("__TEST_DIR__", str(self.folder)).replace("{TEST_DIR}", str(self.folder))


class DuckDB(_Side):
    """DuckDB itself."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.database = duckdb.connect()
        self.connections: dict[str, duckdb.DuckDBPyConnection] = {"": self.database}

    def load(self, name: str) -> None:
        """Begin anew with the database ``name``."""
        self.close()
        self.database = duckdb.connect(self.text_of(name))
        self.connections = {"": self.database}

    def run(self, sql: str, connection: str) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
        """Return the rows of a statement, and the same as texts; raises duckdb.Error."""
        if connection not in self.connections:
            self.connections[connection] = self.database.cursor()
        cursor, text = self.connections[connection], self.text_of(sql)
        statements = cursor.extract_statements(text)
        kinds = [str(statement.type).rpartition(".")[2] for statement in statements]
        if len(kinds) == 1 and kinds[0] in _COUNTING and not _GIVES_ROWS.search(text):
            rows = cursor.execute(text).fetchall()
            return rows, [tuple(map(str, row)) for row in rows]
        relation: Any = cursor.sql(text)
        if relation is None:
            return [], []
        texts = relation.project(", ".join(f"CAST(#{at + 1} AS VARCHAR)" for at in range(len(relation.columns))))
        return relation.fetchall(), texts.fetchall()

    def close(self) -> None:
        for connection in self.connections.values():
            connection.close()


class Ours(_Side):
    """A library, in which the tables of the file are symbols."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.store = vs.open(str(folder / "store"))
        self.names: dict[str, str] = {}
        self.load("")

    def load(self, name: str) -> None:
        """Begin anew with the library that stands for the database ``name``."""
        self.close()
        if name not in self.names:
            self.names[name] = f"library{len(self.names)}"
            self.store.create_library(self.names[name])
        self.library = self.names[name]
        self.connections: dict[str, Any] = {}

    def run(self, sql: str, connection: str) -> list[tuple[Any, ...]]:
        """Return the rows of a statement; raises DuckVStoreError."""
        if connection not in self.connections:
            self.connections[connection] = vs.open(str(self.folder / "store"))[self.library]
        result: list[tuple[Any, ...]] = self.connections[connection].sql(self.text_of(sql)).fetchall()
        return result

    def close(self) -> None:
        for library in getattr(self, "connections", {}).values():
            library.session.close()


class Runner:
    """Runs the records of one file on both sides."""

    def __init__(self, duck: DuckDB, ours: Ours) -> None:
        """Take two fresh sides."""
        self.duck, self.ours, self.report = duck, ours, Report()
        self._is_skipping = False
        self._is_other_system = False
        self._labels: dict[str, list[Any]] = {}

    def run(self, records: Sequence[Record], variables: dict[str, str] | None = None) -> Report:
        """Run ``records`` and return what came of them."""
        try:
            self._run(records, variables or {})
        except Stop as stop:
            self.report.stopped = str(stop)
        return self.report

    def _run(self, records: Sequence[Record], variables: dict[str, str]) -> None:
        for found in records:
            record = _filled(found, variables)
            if record.command in ("skipif", "onlyif"):
                self._is_other_system = (record.words[1] == "duckdb") == (record.command == "skipif")
                continue
            is_for_others, self._is_other_system = self._is_other_system, False
            if record.command == "mode":
                self._is_skipping = record.words[1] == "skip" or (self._is_skipping and record.words[1] != "unskip")
            elif not self._is_skipping and not is_for_others:
                self._do(record, variables)

    def _do(self, record: Record, variables: dict[str, str]) -> None:
        command, words = record.command, record.words
        if command in ("statement", "query"):
            (self._statement if command == "statement" else self._query)(record)
        elif command in ("loop", "foreach"):
            for value in values_of(words):
                self._run(record.body, {**variables, words[1]: value})
        elif command == "require":
            self._require(words)
        elif command in ("load", "restart", "reconnect"):
            for side in (self.duck, self.ours):
                side.load(words[1] if command == "load" and len(words) > 1 else "") if command == "load" else None
            if command != "load":
                raise Stop(f"line {record.line}: {command}")
        elif command == "halt":
            raise Stop("halt")
        elif command in ("require-env", "test-env", "unzip", "concurrentloop", "concurrentforeach"):
            raise Stop(f"line {record.line}: {command}")

    def _require(self, words: Sequence[str]) -> None:
        name = words[1].lower()
        if name in _THERE and (name != "vector_size" or int(words[2]) <= duckdb_vector_size()):
            return
        for run in (lambda text: self.duck.run(text, ""), lambda text: self.ours.run(text, "")):
            try:
                run(f"LOAD {name}")
            except (duckdb.Error, DuckVStoreError):
                raise Stop(f"requires {name}") from None

    # -- statements ----------------------------------------------------------------------------------------------

    def _statement(self, record: Record) -> None:
        wanted, connection = record.words[1], record.words[2] if len(record.words) > 2 else ""
        try:
            self.duck.run(record.sql, connection)
            problem = ""
        except duckdb.Error as error:
            problem = str(error)
        if _VERIFYING.match(record.sql):
            self.report.not_applicable["verification of plans"] += 1
            return
        if wanted != "maybe" and (wanted == "ok") != (not problem):
            self._note(self.report.duckdb_differs, record, problem or "no error")
            return
        self._compare(record, connection, problem)

    def _compare(self, record: Record, connection: str, problem: str) -> None:
        """Run a statement here, and compare whether it failed with ``problem``, an error of DuckDB or nothing."""
        try:
            self.ours.run(record.sql, connection)
        except DuckVStoreError as error:
            reason = _reason(str(error))
            if problem:
                self.report.passed += 1
            elif reason and self._is_made_otherwise(record, connection):
                self.report.not_applicable[reason] += 1
            elif reason:
                self.report.not_applicable[reason] += 1
                raise Stop(f"line {record.line}: {reason}") from None
            else:
                self._note(self.report.ours_differs, record, str(error))
        else:
            if problem:
                self._note(self.report.ours_differs, record, f"no error; DuckDB: {problem}")
            else:
                self.report.passed += 1

    def _is_made_otherwise(self, record: Record, connection: str) -> bool:
        """Whether the table that cannot be a symbol could be made as one of the session."""
        if not _CREATE_TABLE.match(record.sql):
            return False
        try:
            self.ours.run(_CREATE_TABLE.sub(r"\1TEMP \2", record.sql), connection)
        except DuckVStoreError:
            return False
        return True

    def _query(self, record: Record) -> None:
        options = record.words[2:]
        mode = next((word for word in options if word in ("rowsort", "valuesort", "nosort", "sort")), "nosort")
        mode = "rowsort" if mode == "sort" else mode
        others = [word for word in options if word not in ("rowsort", "valuesort", "nosort", "sort")]
        connection = next((word for word in others if word.startswith("con")), "")
        label = next((word for word in others if word != connection), "")
        try:
            values, texts = self.duck.run(record.sql, connection)
        except duckdb.Error as error:
            self._note(self.report.duckdb_differs, record, str(error))
            self._run_alone(record, connection)
            return
        wanted = self._labels.setdefault(label, ordered(values, mode)) if label else None
        is_right = record.expected is None or is_as_expected(texts, record, mode)
        if not is_right or (wanted is not None and repr(wanted) != repr(ordered(values, mode))):
            self._note(self.report.duckdb_differs, record, repr(texts))
            self._run_alone(record, connection)
            return
        try:
            found = self.ours.run(record.sql, connection)
        except DuckVStoreError as error:
            reason = _reason(str(error))
            if reason:
                self.report.not_applicable[reason] += 1
            else:
                self._note(self.report.ours_differs, record, str(error))
            return
        if _plain(ordered(found, mode)) == _plain(ordered(values, mode)):
            self.report.passed += 1
        else:
            self._note(self.report.ours_differs, record, f"{found!r}, DuckDB: {values!r}")

    def _run_alone(self, record: Record, connection: str) -> None:
        """Run a query here for what it leaves behind."""
        try:
            self.ours.run(record.sql, connection)
        except DuckVStoreError:
            return

    def _note(self, notes: list[str], record: Record, what: str) -> None:
        notes.append(f"line {record.line}: {' '.join(record.sql.split())[:_PLACE_SPAN]} -> {what[:_PLACE_SPAN]}")


def _plain(rows: Any) -> str:
    """Return rows as text in which zones of one offset are the same."""
    return re.sub(
        r"tzinfo=(<StaticTzInfo '[^']*'>|<UTC>|datetime\.timezone\.utc|zoneinfo\.\w+\([^)]*\))", "UTC", repr(rows)
    )


def _reason(message: str) -> str:
    return next((reason for words, reason in NOT_OF_SYMBOLS.items() if words in message), "")


def _filled(record: Record, variables: dict[str, str]) -> Record:
    """Return ``record`` with the values of loops in the place of their variables."""
    if not variables:
        return record

    def fill(text: str) -> str:
        for name, value in variables.items():
            text = text.replace(f"${{{name}}}", value)
        return text

    expected = None if record.expected is None else tuple(map(fill, record.expected))
    return Record(tuple(map(fill, record.words)), record.line, fill(record.sql), expected, record.body)


def duckdb_vector_size() -> int:
    """Return how many rows DuckDB has in a vector."""
    return 2048


def run_file(path: Path) -> Report:
    """Run one file against fresh sides; raises ValueError where it is none."""
    records = parse(path.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as folder:
        duck, ours = DuckDB(Path(folder) / "duckdb"), Ours(Path(folder) / "ours")
        try:
            return Runner(duck, ours).run(records)
        finally:
            duck.close()
            ours.close()


def files_in(folder: Path) -> Iterator[Path]:
    """Yield the files of this format below ``folder``."""
    yield from sorted(path for path in folder.rglob("*.test") if path.is_file())


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(json.dumps({"file": name, **json.loads(run_file(Path(name)).as_json())}))
