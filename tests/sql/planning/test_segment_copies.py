"""Statements over copies of segments that have only what they need answer as they do over whole segments."""

from __future__ import annotations

import random

import pytest

import duckvstore as vs
from duckvstore.errors import DuckVStoreError
from tests.cuts import cut_every
from tests.distant import DistantObjects, small_parts
from tests.sizes import sized
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
