"""Statements over copies of segments that have only what they need answer as they do over whole segments."""

from __future__ import annotations

import random

import pytest

import duckvstore as vs
from duckvstore.errors import DuckVStoreError
from tests.cuts import cut_every
from tests.distant import DistantObjects, small_parts
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
