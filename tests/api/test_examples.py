"""The examples in the docstrings of the public API run, each on a fresh library in a folder."""

from __future__ import annotations

import doctest
import inspect

import pandas as pd
import pyarrow as pa
import pytest

import duckvstore as vs

USED_MOST = {
    *("append", "delete_rows", "diff", "gc", "get_description", "has_symbol", "head", "list_symbols", "list_versions"),
    *("prune", "read", "read_batch", "read_metadata", "restore_version", "snapshot", "sql", "tail", "transaction"),
    *("update", "verify", "write", "write_batch"),
}


def examples():
    finder = doctest.DocTestFinder(recurse=False, exclude_empty=True)
    owners = (vs.Library, vs.Store, vs.Result)
    methods = [member for owner in owners for _, member in inspect.getmembers(owner, inspect.isroutine)]
    for found in dict.fromkeys([vs.open, vs.combine, vs.trace, *methods]):
        module = inspect.getmodule(found)
        if module is not None and module.__name__.startswith("duckvstore"):
            name = getattr(found, "__qualname__", str(found))
            yield from (test for test in finder.find(found, name, module=False, globs={}) if test.examples)


EXAMPLES = list(examples())


@pytest.fixture
def known(tmp_path):
    """The names that examples use: a store, and a library with two versions of one symbol."""
    store = vs.open(tmp_path)
    lib = store.create_library("eod")
    days = pd.date_range("2026-01-01", periods=3, name="time")
    frame = pd.DataFrame({"price": [10.0, 11.5, 12.0], "quantity": [100, 200, 50]}, index=days)
    lib.write("trades", frame.iloc[:2], {"source": "exchange"})
    lib.append("trades", frame.iloc[2:], message="the third day")
    yield {"vs": vs, "pd": pd, "pa": pa, "store": store, "lib": lib}
    lib.session.close()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_examples_run(example, known):
    example.globs = known
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    said: list[str] = []
    runner.run(example, out=said.append)
    assert not runner.failures, "".join(said)


def test_the_calls_that_are_used_most_have_an_example():
    assert {example.name.rpartition(".")[2] for example in EXAMPLES} >= USED_MOST
