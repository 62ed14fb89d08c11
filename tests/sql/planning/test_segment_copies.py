"""Statements over copies of segments that have only what they need answer as they do over whole segments."""

from __future__ import annotations

import random
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest

import duckvstore as vs
from duckvstore.errors import DuckVStoreError
from tests.cuts import cut_every
from tests.distant import DistantObjects, cached_in, small_parts
from tests.sizes import sized
from tests.sql import test_fixtures as fixtures
from tests.sql.test_random_queries import SEED, Generator, same, tables

COUNT = sized(600, full=8000)


@pytest.fixture(scope="module")
def sides():
    """The same three symbols far away, in small parts, and in memory."""
    with pytest.MonkeyPatch.context() as patch, small_parts():
        cut_every(patch, 40)
        found = [
            vs.Store(objects).create_library("eod") for objects in (DistantObjects(), vs.open("memory://near").objects)
        ]
        for library in found:
            for name, table in tables().items():
                library.write(name, table)
        yield found
    for library in found:
        library.session.close()


def outcome(library, sql, parameters):
    try:
        return library.sql(sql, parameters or None).arrow()
    except DuckVStoreError as error:
        return type(error).__name__


def test_random_queries_answer_the_same_over_parts(sides):
    """Whatever a query names, and wherever, what it needs was fetched."""
    distant, near = sides
    for number in range(COUNT):
        generator = Generator(random.Random(SEED * 7 + number))
        sql = generator.query()
        parameters = {name: value for name, value in generator.parameters.items() if f"${name}" in sql}
        found, expected = (outcome(library, sql, parameters) for library in (distant, near))
        assert same(found, expected), f"query {number}: {sql} {parameters}"


@pytest.fixture(scope="module")
def fixture_sides():
    versions = fixtures.build_versions()
    objects = DistantObjects()
    with small_parts():
        library = vs.Store(objects).create_library("eod")
        fixtures.write_all(library, versions)
        yield library, versions
    library.session.close()


@pytest.fixture(scope="module")
def plain(fixture_sides):
    yield from fixtures.plain.__wrapped__(fixture_sides[1])


@pytest.mark.parametrize("case", fixtures.CASES)
def test_the_fixtures_answer_the_same_over_parts(case, fixture_sides, plain):
    """Views, macros, pivots, row names and everything else of the corpus over columns that were fetched alone."""
    regions = fixtures.REGIONS  # noqa: F841 - named in the SQL
    relation = plain.sql(case.plain, params=fixtures.plain_parameters(case))
    result = fixture_sides[0].sql(case.sql, case.parameters)
    assert result.columns == relation.columns
    if case.compare != "shape":
        expected, found = (sorted(fixtures.rows_of(rows)) for rows in (relation.to_arrow_table(), result.arrow()))
        assert found == expected


@pytest.mark.parametrize("is_cached", [False, True])
def test_a_narrow_query_fetches_its_columns_and_no_more(tmp_path, is_cached):
    """Two columns of many take a share of the bytes, the count of all rows the footers, and a second look nothing."""
    objects = DistantObjects()
    library = vs.Store(objects).create_library("eod")
    dice = np.random.default_rng(0)
    whole = library.write("wide", pd.DataFrame({f"c{at}": dice.normal(size=300_000) for at in range(20)})).stored_bytes

    def looked(sql):
        with vs.trace() as trace:
            rows = library.sql(sql).fetchall()
        return rows, trace.requests["read"].bytes_in if "read" in trace.requests else 0

    with cached_in(tmp_path) if is_cached else nullcontext():
        (((count,),), counted_bytes) = looked("SELECT count(*) FROM wide")
        assert (count, counted_bytes < whole / 50) == (300_000, True)
        _, summed_bytes = looked("SELECT sum(c3) FROM wide WHERE c17 > 0")
        assert whole / 20 < summed_bytes < 0.15 * whole
        _, again_bytes = looked("SELECT sum(c17), min(c3) FROM wide")
        assert again_bytes == 0
    library.session.close()


@pytest.mark.parametrize("is_sandbox", [False, True])
def test_sql_on_s3_does_without_httpfs(s3_bucket, tmp_path, is_sandbox):
    """Through a cache, narrow and whole queries and joins of what is cached answer; DuckDB asks S3 for nothing."""
    store = vs.open(s3_bucket.url, storage_options=s3_bucket.storage_options)
    library = store.create_library("eod")
    dice = np.random.default_rng(0)
    frame = pd.DataFrame({f"c{at}": dice.normal(size=100_000) for at in range(8)})
    library.write("wide", frame)
    with cached_in(tmp_path):
        session = library.connect(sandbox=is_sandbox)
        for sql, expected in {
            "SELECT count(*) FROM wide": len(frame),
            "SELECT count(*) FROM wide WHERE c3 > 1": int((frame["c3"] > 1).sum()),
            "SELECT count(DISTINCT hash(w)) FROM wide w": len(frame),
            "SELECT count(*) FROM wide a JOIN wide b USING (c0)": len(frame),
        }.items():
            assert session.execute(sql).fetchall() == [(expected,)]
        if not is_sandbox:
            loaded = session.execute(
                "SELECT loaded FROM duckdb_extensions() WHERE extension_name = 'httpfs'"
            ).fetchall()
            assert loaded in ([], [(False,)])
        session.close()
    library.session.close()
