"""Damages documents and asks the extension for what is left: ``python -m tests.extension.mutants EXT SEED COUNT``.

Runs in a process of its own, so that a crash is a failure and not the end of the tests. Before a document is damaged a
line says which and how; the last line has the numbers of answers and errors.
"""

from __future__ import annotations

import random
import resource
import sys
import tempfile
from collections import Counter
from pathlib import Path

import duckdb

from duckvstore.format.stored import layout
from duckvstore.sql.syntax.literals import literal, quote
from tests import damage

GOLDEN = {
    **damage.GOLDEN,
    "golden_types": "types",
    "golden_markers": "markers",
    "golden_nested": "nested",
    "golden_folded": "folded",
    "golden_snapshots": "snapshots",
}
CATALOGUE = ("symbols", "versions", "columns", "segments", "snapshots")
MEMORY_BYTES_MAX = 24 * 2**30


def stores(folder: Path) -> list[Path]:
    """Put stores of all kinds into ``folder``, and return the roots of their libraries."""
    roots = []
    for name, objects in [("lib", damage.make()), *((each, damage.golden(each)) for each in GOLDEN)]:
        for key, data in damage.contents(objects).items():
            path = folder / name / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        roots.append(folder / name / GOLDEN.get(name, "lib"))
    return roots


def queries(symbol: str, snapshot: str) -> list[str]:
    """Return what is asked about a symbol."""
    name = f"library.{quote(symbol)}"
    return [
        f"FROM {name}",
        f"SELECT count(*) FROM {name} AT (VERSION => 0)",
        f"FROM {name} WHERE COLUMNS(*)::VARCHAR > 'b'",
        f"SELECT count(*) FROM {name} AT (TIMESTAMP => TIMESTAMP '2030-01-01')",
        f"SELECT count(*) FROM library.{quote(snapshot)}.{quote(symbol)}",
        *(f"FROM library.vstore.{table}" for table in CATALOGUE),
        "SELECT * FROM duckdb_views() WHERE database_name = 'library'",
        "SELECT * FROM duckdb_columns() WHERE database_name = 'library'",
    ]


def ask(connection: duckdb.DuckDBPyConnection, sql: str, outcomes: Counter[str]) -> None:
    """Run one statement; an error that says that DuckDB itself is broken ends the process."""
    try:
        connection.execute(sql).fetchall()
        outcomes["answers"] += 1
    except duckdb.Error as error:
        if isinstance(error, (duckdb.InternalException, duckdb.FatalException)) or "INTERNAL" in str(error):
            print(sql, error, flush=True)
            raise
        outcomes["errors"] += 1


def run(extension: str, seed: int, count: int, folder: Path) -> None:
    """Damage ``count`` documents, chosen by ``seed``."""
    rng = random.Random(seed)
    connection = duckdb.connect(config={"allow_unsigned_extensions": "true", "threads": "1"})
    connection.execute(f"LOAD {literal(extension)}")
    roots = stores(folder)
    outcomes: Counter[str] = Counter()
    for number in range(count):
        root = rng.choice(roots)
        documents = sorted(path for path in root.rglob("*.json") if "options" not in path.parts)
        path = rng.choice([*documents, *(each for each in documents if "versions" in each.parts)])
        before = path.read_bytes()
        after, how = damage.damaged_bytes(rng, before)
        print(number, path.relative_to(folder), how.encode("ascii", "backslashreplace").decode(), flush=True)
        path.write_bytes(after)
        symbols = sorted(layout.unescape(each.name) for each in (root / "versions").iterdir())
        symbol = layout.unescape(path.parent.name) if path.parent.parent.name == "versions" else rng.choice(symbols)
        snapshots = [layout.unescape(each.stem) for each in root.glob("snapshots/*")] or ["none"]
        try:
            connection.execute(f"ATTACH {literal(str(root))} AS library (TYPE vstore)")
        except duckdb.Error:
            outcomes["refused"] += 1
        else:
            for sql in rng.sample(queries(symbol, rng.choice(snapshots)), 4):
                ask(connection, sql, outcomes)
            connection.execute("DETACH library")
        path.write_bytes(before)
    print(dict(outcomes))


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory() as temporary:
        run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(temporary))
