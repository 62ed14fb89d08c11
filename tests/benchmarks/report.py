"""The records of a run as a page of Markdown with pictures: the goals first, then every figure."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.benchmarks import plots

OURS, ARCTIC, HAND = "DuckVStore", "ArcticDB", "read_parquet by hand"
LOCAL = ("DuckVStore, local", "ArcticDB, LMDB")
Record = dict[str, Any]


def joined(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return several runs on one machine as one."""
    found = dict(runs[0])
    found["records"] = [record for run in runs for record in run["records"]]
    found["growth"] = [row for run in runs for row in run["growth"]]
    found["sharing"] = [row for run in runs for row in run["sharing"]]
    found["load"] = [load for run in runs for load in run["load"]]
    found["seconds"] = sum(run["seconds"] for run in runs)
    return found


@dataclass
class Figures:
    """What was measured of a peer in a case: medians over all processes; None where there is nothing."""

    records: list[Record]

    @property
    def reason(self) -> str:
        return next((record["cannot"] for record in self.records if "cannot" in record), "")

    def _median(self, values: list[float]) -> float | None:
        return statistics.median(values) if values else None

    def calls(self, kind: str, what: str) -> float | None:
        return self._median([call[what] for record in self.records for call in record.get(kind, [])])

    def value(self, what: str) -> float | None:
        return self._median([record[what] for record in self.records if what in record])

    def counted(self, kind: str, what: str) -> float | None:
        return self._median([record[f"counted_{kind}"][what] for record in self.records if f"counted_{kind}" in record])


class Records:
    """All records, to be asked for a case of a peer."""

    def __init__(self, records: list[Record]) -> None:
        self.records = records

    def of(self, shape: str, case: str, peer: str, delay: int = 0) -> Figures:
        wanted = (shape, case, peer, delay)
        return Figures(
            [one for one in self.records if (one["shape"], one["case"], one["peer"], one["delay"]) == wanted]
        )

    def every(self, what: str, **given: Any) -> list[Any]:
        """Return the values of a field in the order of the run, each once."""
        return [
            *dict.fromkeys(
                one[what] for one in self.records if all(one[name] == value for name, value in given.items())
            )
        ]

    def both(self, *wanted: str, delay: int = 0) -> tuple[float | None, float | None]:
        """Return the ratio of warm seconds, and of cold."""
        return self.ratio(*wanted, delay=delay), self.ratio(*wanted, delay=delay, kind="cold")

    def ratio(
        self, shape: str, case: str, peer: str = OURS, to: str = ARCTIC, delay: int = 0, kind: str = "warm"
    ) -> float | None:
        return _ratio(
            self.of(shape, case, peer, delay).calls(kind, "seconds"),
            self.of(shape, case, to, delay).calls(kind, "seconds"),
        )


def _ratio(one: float | None, other: float | None) -> float | None:
    return one / other if one is not None and other else None


def _goals(found: Records) -> list[tuple[str, float, tuple[float | None, ...]]]:
    """Return each goal: the case, the most that is allowed, and what was found, warm and cold where there are both."""
    wide = {"write": 2.0, "read": 2.0, "few columns": 1.5, "append": 1.0, "update one row": 1.0}
    ours, theirs = (found.of("ticks", "prepare", peer).value("stored") for peer in (OURS, ARCTIC))
    rewritten, whole = found.of("ticks", "rewrite one cell", OURS), found.of("ticks", "read", OURS)
    near = next((delay for delay in found.every("delay") if delay), 0)
    return [
        ("write of ticks to S3, time by ArcticDB's", 0.7, found.both("ticks", "write")),
        ("the same, stored bytes by ArcticDB's", 0.5, (_ratio(ours, theirs),)),
        ("whole read to pandas from S3", 0.75, found.both("ticks", "read")),
        ("whole read, local, by ArcticDB's on LMDB", 1.2, found.both("ticks", "read", *LOCAL)),
        ("3 of 9 columns", 0.6, found.both("ticks", "few columns")),
        ("filter of 1 % that nothing prunes", 0.6, found.both("ticks", "filter 1 %")),
        ("1 % of the dates", 0.8, found.both("ticks", "dates 1 %")),
        ("group by in SQL", 0.3, found.both("ticks", "group by")),
        ("group by, by DuckDB's over the same files by hand", 1.05, found.both("ticks", "group by", OURS, HAND)),
        ("append of 10,000 rows", 0.8, found.both("ticks", "append")),
        ("40 new small symbols", 0.7, found.both("small", "small writes")),
        ("40 small reads", 0.8, found.both("small", "small reads")),
        (f"40 new small symbols at {near} ms", 0.6, found.both("small", "small writes", delay=near)),
        (f"40 small reads at {near} ms", 1.0, found.both("small", "small reads", delay=near)),
        ("rewrite with one changed cell", 0.3, found.both("ticks", "rewrite one cell")),
        ("the same, new bytes by the stored", 0.1, (_ratio(rewritten.value("new_bytes"), ours),)),
        *((f"wide frame: {case}", most, found.both("wide", case)) for case, most in wide.items()),
        ("peak memory of a whole read, by the frame's size", 1.5, (_ratio(whole.value("peak"), whole.value("frame")),)),
    ]


def _goal(case: str, most: float, found: tuple[float | None, ...]) -> list[str]:
    """Return the row of a goal; what is met when warm only, or when cold only, says so."""
    met = ["-" if value is None else "yes" if value <= most else "**no**" for value in found]
    numbers = [_cell(value, "{:.2f}".format) for value in found]
    return [case, f"<= {most:g}", *(numbers * 2)[:2], met[0] if len(set(met)) == 1 else f"{met[0]}, {met[1]}"]


def _cell(value: float | None, form: Callable[[float], str]) -> str:
    return "-" if value is None else form(value)


def _seconds(value: float) -> str:
    return f"{value:.4f}" if value < 0.1 else f"{value:.2f}"


def _megabytes(value: float) -> str:
    return f"{value / 1e6:.2f}" if value < 1e7 else f"{value / 1e6:.0f}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def _case(found: Records, shape: str, case: str) -> str:
    head = ["peer", "warm s", "cold s", "CPU s", "peak MB", "requests", "cold", "in MB", "out MB"]
    writes = any("new_bytes" in one for one in found.records if (one["shape"], one["case"]) == (shape, case))
    rows = []
    for peer in found.every("peer", shape=shape, case=case):
        figures = found.of(shape, case, peer)
        if figures.calls("cold", "seconds") is None:
            continue
        row = [
            peer,
            _cell(figures.calls("warm", "seconds"), _seconds),
            _cell(figures.calls("cold", "seconds"), _seconds),
            _cell(figures.calls("warm", "cpu"), _seconds),
            _cell(figures.value("peak"), _megabytes),
            _cell(figures.counted("warm", "requests"), "{:.0f}".format),
            _cell(figures.counted("cold", "requests"), "{:.0f}".format),
            _cell(figures.counted("warm", "received"), _megabytes),
            _cell(figures.counted("warm", "sent"), _megabytes),
        ]
        rows.append([*row, _cell(figures.value("new_bytes"), _megabytes)] if writes else row)
    return f"### {shape}: {case}\n\n" + _table(head + ["new MB"] * writes, rows)


def _shape(found: Records, shape: str) -> list[str]:
    """Return the tables of a shape, and what its peers could not do."""
    size = found.every("size", shape=shape)[0]
    sizes = f"1,000 rows x {size:,} columns" if shape == "wide" else f"{size:,} rows"
    stored = [
        [peer, _cell(found.of(shape, "prepare", peer).value("stored"), _megabytes)]
        for peer in found.every("peer", shape=shape, case="prepare")
        if found.of(shape, "prepare", peer).value("stored")
    ]
    parts = [f"## {shape}: {sizes}", _table(["peer", "stored MB"], stored)]
    parts += [_case(found, shape, case) for case in found.every("case", shape=shape) if case != "prepare"]
    reasons: dict[str, list[str]] = {}
    for one in found.records:
        if one["shape"] == shape and "cannot" in one:
            reasons.setdefault(f"{one['peer']}: {_plain(one['cannot'])}", []).append(one["case"])
    if reasons:
        parts.append(
            "Left out:\n\n" + "\n".join(f"- {', '.join(dict.fromkeys(cases))}: {why}" for why, cases in reasons.items())
        )
    return parts


def _plain(text: str) -> str:
    """Return a message without what Markdown would take for its own."""
    return "".join(" " if letter in "`|<>[]*_" else letter for letter in text)


def _distances(found: Records) -> str:
    delays = sorted(found.every("delay"))
    rows = []
    for shape, case in dict.fromkeys((one["shape"], one["case"]) for one in found.records if one["delay"]):
        for peer in found.every("peer", shape=shape, case=case):
            each = [found.of(shape, case, peer, delay) for delay in delays]
            if any(one.calls("cold", "seconds") is not None for one in each):
                cells = [
                    f"{_cell(one.calls('warm', 'seconds'), _seconds)} ({_cell(one.calls('cold', 'seconds'), _seconds)})"
                    for one in each
                ]
                rows.append([f"{shape}: {case}", peer, *cells])
    return _table(["case", "peer", *(f"{delay} ms" for delay in delays)], rows)


def _growth(rows: list[dict[str, Any]]) -> str:
    return _table(
        ["grows", "timed", "sizes", "seconds", "exponent"],
        [
            [
                row["grows"],
                row["timed"],
                ", ".join(f"{size:,}" for size in row["sizes"]),
                ", ".join(_seconds(seconds) for seconds in row["seconds"]),
                f"{row['exponent']:.2f}",
            ]
            for row in rows
        ],
    )


def _pictures(found: Records, growth: list[dict[str, Any]]) -> dict[str, str]:
    pictures = {}
    peers = [peer for peer in found.every("peer") if peer != ARCTIC and "," not in peer]
    for shape in found.every("shape"):
        groups = {
            case: {peer: ratio for peer in peers if (ratio := found.ratio(shape, case, peer)) is not None}
            for case in found.every("case", shape=shape)
        }
        groups = {case: group for case, group in groups.items() if group}
        if groups:
            pictures[f"benchmark-{shape}.svg"] = plots.bars(f"{shape}: warm seconds by ArcticDB's", groups)
    if growth:
        series = {
            f"{row['grows']}: {row['timed']}": (
                [size / row["sizes"][0] for size in row["sizes"]],
                [seconds / row["seconds"][0] for seconds in row["seconds"]],
            )
            for row in growth
        }
        pictures["benchmark-growth.svg"] = plots.lines(
            "DuckVStore's seconds as sizes grow", series, "size by the smallest", "seconds by the first"
        )
    return pictures


def _load(loads: list[float]) -> str:
    return ", ".join(f"{load:g}" for load in loads)


def rendered(run: dict[str, Any]) -> tuple[str, dict[str, str]]:
    """Return the page, and its pictures by file name."""
    found = Records(run["records"])
    pictures = _pictures(found, run["growth"])
    goals = [_goal(*goal) for goal in _goals(found)]
    parts = [
        _HEAD.format(machine=run["machine"], seconds=run["seconds"], load=_load(run["load"])),
        *([run["note"]] if run.get("note") else []),
        "; ".join(f"{peer}: {version}" for peer, version in run["versions"].items()) + ".",
        *(f"{peer} took no part: {why}." for peer, why in run["missing"].items()),
        f"## Goals\n\n{_GOALS}\n\n" + _table(["case", "goal", "warm", "cold", "met (warm, cold)"], goals),
        *(f"![{name.removesuffix('.svg').replace('-', ' ')}]({name})" for name in pictures),
    ]
    for shape in found.every("shape"):
        parts += _shape(found, shape)
    if any(found.every("delay")):
        parts.append(f"## At a distance\n\nWarm seconds, and cold in brackets.\n\n{_distances(found)}")
    if run["growth"]:
        parts.append(f"## Growth\n\n{_GROWTH}\n\n{_growth(run['growth'])}")
    if run["sharing"]:
        rows = [[row["change"], row["found"]] for row in run["sharing"]]
        parts.append(f"## What an edit stores\n\n{_SHARING}\n\n" + _table(["change", "stored for it"], rows))
    return "\n\n".join(parts) + "\n", pictures


_HEAD = """# Benchmark

Made by `python -m tests.benchmarks.run` (`make bench`, `make bench-full`) on {machine}, in {seconds} s.
No figure is typed by hand. The load average of five minutes at the end was {load} (of each part, where it ran in
parts): above three, other work took its share of the machine, and single seconds are worth less than ratios.

Every peer has the same frames, the same server and the same case, by turns; each case of each peer is a process of its
own. **Cold** is what a new process waits for: importing the peer (pandas and pyarrow are there), opening it and the
first call. **Warm** is the median of the calls after that; CPU is that of a warm call, user and system, of all threads.
**Peak** is the memory of the first call beyond what the process had before it. Requests and bytes are counted by a
proxy that every peer passes alike, in calls that are not timed, warm and cold apart; **new** is what the server holds
more after the first call. Peers have their defaults. DuckLake and pyiceberg have their catalogues in local files, which
need no requests. A rewrite is not quite cold, since the same process wrote what it rewrites. A filter is as each peer's
guide shows it; a group by, where a peer has none, is pandas over the two columns. `read_parquet by hand` is DuckDB over
DuckVStore's own files, named one by one."""

_GOALS = """Ratios of medians, DuckVStore's by ArcticDB's on S3 where nothing else is said. A warm DuckVStore has on
this machine's disk what it read before (a warm DuckDB has it in memory) and asks only whether there is a newer version:
the requests below show it. ArcticDB reads again, as DuckVStore does with its cache off; that folder is empty when a
process begins."""

_GROWTH = """DuckVStore alone on S3 without a delay. The exponent is the slope of the logarithms by least squares: 1 is
in proportion, 0 is not at all. Of writers it is that of the seconds for each commit, of all together."""

_SHARING = """DuckVStore writes ticks, and then almost the same frame: new bytes by the bytes of the whole version."""
