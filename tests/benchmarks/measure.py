"""One peer and one case in a process of its own: ``python -m tests.benchmarks.measure ORDER`` prints a record as JSON.

Cold is what a new process waits for: importing the peer (pandas and pyarrow are there), opening, and the first call;
warm are the calls after it. The frame that is written is there before. Memory is the peak of the first call beyond what
the process had when the peer was open.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from tests.benchmarks import cases
from tests.benchmarks.delay import counted
from tests.benchmarks.peers import PEERS, Cannot, Place
from tests.benchmarks.shapes import SHAPES


def _memory(line: str) -> int:
    """Return a figure of this process in bytes: VmRSS now, VmHWM the peak, which ``clear_refs`` sets back."""
    found = next(one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith(f"{line}:"))
    return int(found.split()[1]) * 1024


def _timed(action: Callable[[], Any]) -> tuple[dict[str, float], Any]:
    wall, cpu = time.perf_counter(), time.process_time()
    found = action()
    return {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu}, found


def frame_bytes(frame: pd.DataFrame) -> int:
    """Return what a frame takes in memory; an object that many cells share counts once."""
    total = int(frame.memory_usage(deep=False).sum())
    for name in frame.columns[[dtype.kind == "O" for dtype in frame.dtypes]]:
        total += sum({id(one): sys.getsizeof(one) for one in frame[name]}.values())
    return total


def _calls(order: dict[str, Any], run: cases.Run, place: Place) -> dict[str, Any]:
    """Call once cold, and ``rounds`` times warm."""
    build, writes = cases.CASES[order["case"]]
    numbers = iter(range(order["number"], order["number"] + 1000))
    if writes:
        _ = run.frame  # made before anything is measured
    if order["case"].startswith("rewrite"):
        PEERS[order["peer"]].load()  # getting ready needs a peer, so that this is not quite cold
        run.peer = PEERS[order["peer"]](place)
    action = build(run, next(numbers))
    stored = place.stored_bytes() if writes else 0
    if run.peer:
        run.peer.close()
    base = 0

    def cold() -> Any:
        nonlocal base
        PEERS[order["peer"]].load()
        run.peer = PEERS[order["peer"]](place)
        Path("/proc/self/clear_refs").write_text("5")
        base = _memory("VmRSS")
        return action()

    figures, found = _timed(cold)
    record: dict[str, Any] = {"cold": [figures], "peak": _memory("VmHWM") - base}
    if isinstance(found, pd.DataFrame):
        record |= {"rows": len(found), "frame": frame_bytes(found)}
    del found
    if writes:
        record["new_bytes"] = place.stored_bytes() - stored
    # What takes long varies less: fewer calls are enough, and cold ones alone of what takes very long.
    rounds = order["rounds"] if figures["seconds"] < 3 else 1 if figures["seconds"] < 18 else 0
    record["warm"] = [_timed(build(run, next(numbers)))[0] for _ in range(rounds)]
    if order["counter"] and rounds:
        record |= _counted_calls(order, run, numbers)
    return record


def _counted_calls(order: dict[str, Any], run: cases.Run, numbers: Any) -> dict[str, Any]:
    """Make one more call with a peer that is opened through the counting proxy, and one after it."""
    build = cases.CASES[order["case"]][0]
    place = Place(**{**order["place"], "endpoint": order["counted_endpoint"]})
    counted(order["counter"])
    run.peer.close()
    run.peer = PEERS[order["peer"]](place)
    opening = counted(order["counter"])
    found = {}
    for kind in ("cold", "warm"):
        action = build(run, next(numbers))
        counted(order["counter"])
        action()
        found[f"counted_{kind}"] = counted(order["counter"])
    found["counted_cold"] = {name: count + opening[name] for name, count in found["counted_cold"].items()}
    return found


def main() -> None:
    """Do what the order says."""
    order = json.loads(sys.argv[1])
    place = Place(**order["place"])
    kind = PEERS[order["peer"]]
    run = cases.Run(None, SHAPES[order["shape"]], order["size"], order["known"])  # type: ignore[arg-type]
    try:
        if order["case"] == "prepare":
            kind.load()
            run.peer = kind(place)
            before = place.stored_bytes()
            record = {"known": cases.prepare(run), "stored": place.stored_bytes() - before}
        else:
            record = _calls(order, run, place)
    except Cannot as reason:
        record = {"cannot": str(reason)}
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        record = {"cannot": f"{type(error).__name__}: {lines[0][:160]}"}
    print("\n" + json.dumps(record))


if __name__ == "__main__":
    main()
