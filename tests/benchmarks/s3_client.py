"""What requests to S3 cost, by client: ``python -m tests.benchmarks.s3_client [--delays 0 20] [--rounds N]``.

Prints, for the lean client and for boto3 by turns in one run on SeaweedFS, CPU milliseconds (of this process, so that
other work on the machine matters less) and wall milliseconds of single requests, and seconds, CPU and requests of a
library's small and large operations; then what a new process takes to its first answer. The least of all rounds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

import duckvstore as vs
from duckvstore.objects import open_objects
from tests.benchmarks.delay import delayed
from tests.counting import CountingObjects
from tests.servers import SeaweedServer

if TYPE_CHECKING:
    from collections.abc import Callable

CLIENTS = ("boto3", "lean")
_numbers = itertools.count()


def cost(call: Callable[[], object], repetitions: int) -> tuple[float, float]:
    """Return wall and CPU seconds of one call."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(repetitions):
        call()
    return (time.perf_counter() - wall) / repetitions, (time.process_time() - cpu) / repetitions


def least(rounds: int, calls: dict[Any, tuple[Callable[[], object], int]]) -> dict[Any, tuple[float, float]]:
    """Return the least wall and CPU seconds of each call, taken by turns."""
    found: dict[Any, list[tuple[float, float]]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, (call, repetitions) in calls.items():
            found[name].append(cost(call, repetitions))
    return {name: (min(w for w, _ in costs), min(c for _, c in costs)) for name, costs in found.items()}


def requests(options: dict[str, Any], rounds: int, repetitions: int) -> None:
    """Print what single requests cost."""
    calls: dict[Any, tuple[Callable[[], object], int]] = {}
    for client in CLIENTS:
        objects = open_objects("s3://bench/requests", {**options, "client": client})
        objects.put("k/20k", b"x" * 20_000)
        objects.put("k/8m", bytes(8_000_000))
        few = max(2, repetitions // 20)
        calls |= {
            (client, "GET 20 kB"): (lambda o=objects: o.read("k/20k"), repetitions),
            (client, "GET 8 MB"): (lambda o=objects: o.read("k/8m"), few),
            (client, "PUT 2 kB"): (lambda o=objects: o.put("p/2k", b"y" * 2000), repetitions),
            (client, "create 2 kB"): (lambda o=objects, c=client: o.create(_new(c), b"y" * 2000), repetitions),
            (client, "LIST of one"): (lambda o=objects: list(o.list("k/", limit=1)), repetitions),
        }
    _print(least(rounds, calls), 1000, "ms")


def _new(client: str) -> str:
    return f"c/{client}-{time.time_ns()}-{next(_numbers)}"


def operations(options: dict[str, Any], rounds: int, rows: int) -> None:
    """Print what operations of a library cost."""
    random = np.random.default_rng(0)
    small = pd.DataFrame({"n": range(100), "x": random.random(100)})
    columns = {f"f{number}": random.random(rows).round(2) for number in range(6)}
    large = pd.DataFrame({"time": pd.date_range("2020-01-01", periods=rows, freq="s"), "n": range(rows), **columns})
    large["s"] = pd.Categorical(random.choice(["aa", "bb", "cc"], rows))
    calls: dict[Any, tuple[Callable[[], object], int]] = {}
    counts = {}
    for client in CLIENTS:
        counting = CountingObjects(open_objects(f"s3://bench/{time.time_ns()}", {**options, "client": client}))
        lib = vs.Store(counting).create_library("lib")
        lib.write("small", small)
        lib.write("large", large)
        each: dict[str, Callable[[], object]] = {
            "write small": lambda a=lib: a.write("small", small.assign(x=random.random(100))),
            "append small": lambda a=lib: a.append("small", small.head(5)),
            "read small": lambda a=lib: a.read("small"),
            f"read {rows:,} x 9": lambda a=lib: a.read("large"),
        }
        for name, call in each.items():
            call()
            counting.reset()
            call()
            counts[client, name] = counting.request_count
            calls[client, name] = (call, 1 if "x 9" in name else 10)
    _print(least(rounds, calls), 1, "s", counts)


def _print(
    found: dict[Any, tuple[float, float]], factor: float, unit: str, counts: dict[Any, int] | None = None
) -> None:
    for name in dict.fromkeys(name for _, name in found):
        texts = [
            f"{client} {found[client, name][0] * factor:7.3f} {unit}, CPU {found[client, name][1] * factor:6.3f}"
            for client in CLIENTS
        ]
        ratio = found["lean", name][1] / found["boto3", name][1]
        counted = f"  {counts['lean', name]} requests" if counts else ""
        print(f"  {name:20} {'   '.join(texts)}   CPU x {ratio:.2f}{counted}", flush=True)


def first_answers(options: dict[str, Any]) -> None:
    """Print what a new process takes from ``import duckvstore.objects`` to the first answer."""
    for client in CLIENTS:
        code = (
            "import time, json, sys; from duckvstore.objects import open_objects; start = time.process_time();"
            "wall = time.perf_counter(); open_objects('s3://bench/requests', json.loads(sys.argv[1])).read('k/20k');"
            "print(time.perf_counter() - wall, time.process_time() - start)"
        )
        command = [sys.executable, "-c", code, json.dumps({**options, "client": client})]
        runs = [subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() for _ in range(5)]
        wall, cpu = (min(float(run[position]) for run in runs) for position in (0, 1))
        print(f"  first answer, {client:6} {wall:6.3f} s, CPU {cpu:6.3f}", flush=True)


def main() -> None:
    """Start a server, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--delays", type=float, nargs="+", default=[0, 20], help="milliseconds that each request takes")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--rows", type=int, default=5_000_000)
    arguments = parser.parse_args()
    with SeaweedServer() as server:
        server.create_bucket("bench")
        for milliseconds in arguments.delays:
            with delayed(server.endpoint, milliseconds) as endpoint:
                options = {**server.storage_options(), "endpoint_url": endpoint}
                print(f"{milliseconds:g} ms per request", flush=True)
                requests(options, arguments.rounds, 100 if not milliseconds else 20)
                operations(options, arguments.rounds, arguments.rows)
        first_answers(server.storage_options())


if __name__ == "__main__":
    main()
