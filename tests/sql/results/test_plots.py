"""Plots of results: what is drawn of which rows, in bounded size, and names as text."""

from __future__ import annotations

import importlib.util
import re
from datetime import datetime
from xml.etree import ElementTree as ET

import pyarrow as pa
import pytest

import duckvstore as vs
from duckvstore.sql.results.plots import Plot

HOSTILE = "<script>alert(1)</script>\x00\u202e"


@pytest.fixture(scope="module")
def lib():
    return vs.open("memory://plots").create_library("lib")


def svg(plot: Plot) -> ET.Element:
    """Return the picture, which has to be well-formed."""
    return ET.fromstring(re.search("<svg.*</svg>", plot._repr_html_(), re.DOTALL)[0])


def drawn(plot: Plot, tag: str) -> list[ET.Element]:
    return svg(plot).findall(f"{{http://www.w3.org/2000/svg}}{tag}")


def test_numbers_over_time_are_lines_in_the_order_of_time(lib):
    plot = lib.sql(
        "SELECT 10 - n AS falling, TIMESTAMP '2026-01-01' + INTERVAL 1 DAY * n AS t, n::DECIMAL(9, 2) AS rising "
        "FROM range(10) r(n) ORDER BY hash(n)"
    ).plot()
    assert (plot.x_kind, plot.x_name, [one.name for one in plot.series]) == ("time", "t", ["falling", "rising"])
    assert [y for _, y in plot.series[1].points] == [float(n) for n in range(10)]
    assert len(drawn(plot, "polyline")) == 2
    assert "2026-01-01" in plot._repr_html_()
    assert repr(plot) == "Plot(falling, rising over t, 10 rows)"


@pytest.mark.parametrize("kind", ["DATE", "TIMESTAMP_NS", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMPTZ"])
def test_every_type_of_time_is_in_seconds(lib, kind):
    plot = lib.sql(f"SELECT CAST('1970-01-03' AS {kind}) AS t, 1 AS n").plot()
    assert plot.x_kind == "time"
    assert abs(plot.series[0].points[0][0] - 2 * 86400) <= 86400


def test_categories_are_bars_and_only_the_first_of_many(lib):
    plot = lib.sql("SELECT 'c' || n AS c, n - 20 AS v FROM range(100) r(n) ORDER BY n").plot()
    assert plot.categories[:2] == ["c0", "c1"]
    assert len(drawn(plot, "rect")) == len(plot.categories) == 30
    assert "the first 30 of 100 rows" in plot._repr_html_()


def test_of_many_rows_few_points_are_drawn_and_no_peak_is_lost(lib):
    plot = lib.sql("SELECT CASE WHEN n = 123456 THEN 999 ELSE n % 7 END AS y FROM range(300000) r(n)").plot()
    assert len(plot.series[0].points) < 1000
    assert max(y for _, y in plot.series[0].points) == 999
    assert len(plot._repr_html_()) < 30_000


@pytest.mark.parametrize(
    "rows",
    [
        "SELECT NULL::DOUBLE AS x",
        "SELECT 1 AS x WHERE false",
        "SELECT 'nan'::DOUBLE AS x UNION ALL SELECT 'inf'::DOUBLE",
        "SELECT 1e308 AS x UNION ALL SELECT -1e308",
        "SELECT 5 AS x",
        "SELECT 0.0 AS x UNION ALL SELECT 0.0",
        "SELECT DATE '9999-12-31' AS t, 1 AS x UNION ALL SELECT DATE '0001-01-01', 2",
        "SELECT NULL AS c, 1 AS x",
        "SELECT 'c' AS c, NULL::INT AS x",
        "SELECT '' AS c, -1e300 AS x UNION ALL SELECT 'b', 1e300",
    ],
)
def test_values_at_the_edge_are_a_picture_too(lib, rows):
    page = lib.sql(rows).plot()._repr_html_()
    svg(lib.sql(rows).plot())
    assert not re.search(r'="(nan|-?inf)', page)


def test_names_and_categories_are_text():
    for rows in (
        pa.table({HOSTILE: [HOSTILE, None, "x" * 1_000_000], "n": [1.0, float("nan"), 3.0]}),
        pa.table({HOSTILE: [1, 2], "t": [datetime(2026, 1, 1), datetime(2026, 1, 2)]}),
    ):
        page = Plot.of(rows)._repr_html_()
        assert "<script" not in page
        assert "&lt;script&gt;" in page
        assert not {"\x00", "\u202e"} & set(page)
        assert len(page) < 6000
        svg(Plot.of(rows))


def test_rows_without_numbers_are_refused(lib):
    with pytest.raises(vs.InvalidInput, match="no column of the result holds numbers"):
        lib.sql("SELECT 'a' AS a, DATE '2026-01-01' AS t").plot()


@pytest.mark.skipif(importlib.util.find_spec("altair") is None, reason="needs Altair")
def test_altair_draws_where_it_is_installed(lib):
    """Titles are the names of users, fields are not."""
    plot = lib.sql("SELECT 'a.b' AS \"c:[x]\", 1 AS v").plot()
    assert plot._repr_mimebundle_()
    spec = plot._chart().to_dict()
    assert spec["encoding"]["y"] == {"field": "x", "type": "nominal", "sort": None, "title": "c:[x]"}


def test_without_altair_the_bundle_is_the_svg(lib, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    bundle = lib.sql("SELECT 1 AS a, 2 AS b").plot()._repr_mimebundle_()
    assert "<svg" in bundle["text/html"]
    assert bundle["text/plain"] == "Plot(b over a, 1 row)"
