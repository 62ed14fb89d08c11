"""What a statement costs before DuckDB runs it, by phase: over 1,000 and 10,000 segments, new texts and repeated ones.

``python -m tests.benchmarks.sql_latency [--segments N ...] [--rounds N]`` prints milliseconds (medians) of parsing, of
resolving names, of choosing segments, of the rest of planning (URIs, splicing), and beside them of binding in DuckDB.
Documents are cached and version numbers given, so no phase makes a request.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import pandas as pd
import pytest

import duckvstore as vs
from duckvstore.sql.binding.names import Names
from duckvstore.sql.execution.running import Running
from duckvstore.sql.pipeline.steps import Steps
from duckvstore.sql.pruning import segment_choice
from duckvstore.sql.syntax import parser
from tests.cuts import cut_every

if TYPE_CHECKING:
    from collections.abc import Iterator

ROWS_PER_SEGMENT = 10
QUERIES = {
    "medium, 6 % of segments": """
        WITH recent AS (
            SELECT sym, price, qty FROM trades AT VERSION 0
            WHERE ts >= TIMESTAMP '2026-01-01 00:10:00' AND ts < TIMESTAMP '2026-01-01 00:20:00' AND price > 10
        )
        SELECT sym, sum(price * qty) / sum(qty) AS vwap, count(*) AS n FROM recent WHERE sym <> 'D'
        GROUP BY sym ORDER BY vwap DESC LIMIT 10""",
    "medium, no segment": """
        SELECT t.sym, avg(t.price) AS mean FROM trades AT VERSION 0 t JOIN (VALUES ('A'), ('B')) v(sym) ON v.sym = t.sym
        WHERE t.price > 1000 AND t.qty BETWEEN 10 AND 20 GROUP BY ALL""",
    "all segments": "SELECT sum(price) FROM trades AT VERSION 0",
}
PHASES = ("parse", "resolve", "choose", "splice", "bind")


@contextmanager
def phases() -> Iterator[dict[str, float]]:
    """Yield seconds by phase of what runs inside."""
    seconds: dict[str, float] = defaultdict(float)

    def timed(owner: Any, name: str, phase: str) -> Any:
        original = getattr(owner, name)

        def measured(*arguments: Any, **named: Any) -> Any:
            start = time.perf_counter()
            try:
                return original(*arguments, **named)
            finally:
                seconds[phase] += time.perf_counter() - start

        return mock.patch.object(owner, name, measured)

    with ExitStack() as stack:
        for owner, name, phase in (
            (parser, "parse", "parse"),
            (Names, "resolve", "resolve"),
            (segment_choice.Choices, "choose", "choose"),
            (Steps, "bind", "names"),
            (Steps, "plan", "plan"),
            (Running, "start", "bind"),
        ):
            stack.enter_context(timed(owner, name, phase))
        yield seconds
    seconds["splice"] = seconds.pop("plan") + seconds.pop("names") - seconds["resolve"] - seconds["choose"]


def library(folder: str, segments: int) -> vs.Library:
    """Return a library whose symbol ``trades`` has one version of so many small segments."""
    count = segments * ROWS_PER_SEGMENT
    random = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "id": np.arange(count),
            "price": random.random(count) * 100,
            "qty": np.arange(count) % 97,
            "sym": np.array(["A", "B", "C", "D"])[np.arange(count) % 4],
        },
        index=pd.date_range("2026-01-01", periods=count, freq="s", name="ts"),
    )
    made = vs.open(folder).create_library("latency")
    with pytest.MonkeyPatch.context() as patch:
        cut_every(patch, ROWS_PER_SEGMENT)
        made.write("trades", frame)
    return made


def measure(lib: vs.Library, texts: list[str]) -> tuple[dict[str, float], str]:
    """Return the median milliseconds of each phase over ``texts``, and what the last one read."""
    found: dict[str, list[float]] = defaultdict(list)
    read = ""
    for text in texts:
        with phases() as seconds:
            result = lib.sql(text)
        result.fetchall()
        read = f"{result.figures.segments_read} of {result.figures.segments_total}"
        for phase in PHASES:
            found[phase].append(seconds[phase] * 1000)
        found["ours"].append(sum(seconds[phase] for phase in PHASES if phase != "bind") * 1000)
    return {phase: statistics.median(values) for phase, values in found.items()}, read


def main() -> None:
    """Print one line for each query, number of segments and state of the caches."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--segments", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args()
    heads = "".join(f"{phase:>9}" for phase in ("ours", *PHASES))
    print(f"{'milliseconds':<46}{heads}   segments")
    for segments in options.segments:
        with tempfile.TemporaryDirectory() as folder:
            lib = library(folder, segments)
            for name, query in QUERIES.items():
                lib.sql(query).fetchall()
                new = [f"{query} -- {segments} {number}" for number in range(options.rounds)]
                for state, texts in (("new text", new), ("repeated", [query] * options.rounds)):
                    medians, read = measure(lib, texts)
                    shown = "".join(f"{medians[phase]:9.2f}" for phase in ("ours", *PHASES))
                    print(f"{f'{name}, {state}':<46}{shown}   {read}")
            lib.session.close()


if __name__ == "__main__":
    main()
