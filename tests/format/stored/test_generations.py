"""Layers of the folded catalogue: merged, and checked when they are read."""

from __future__ import annotations

import hashlib

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import duckvstore as vs
from duckvstore.format.stored import generations
from duckvstore.format.stored.generations import HEADS, VERSIONS, File, Generation, Layer
from tests.format.codecs.values_cases import sampled

PAIRS = st.tuples(st.sampled_from(["", "a", "b", "ä", "z\U0001f600"]), st.integers(0, 5))
ROWS = st.dictionaries(PAIRS, st.tuples(st.booleans(), st.booleans(), st.booleans()), max_size=20)


def table_of(rows) -> pa.Table:
    """Rows of ``VERSIONS`` from (symbol, number) to (visible, removed, deleted), sorted."""
    listed = [
        {"symbol": symbol, "version": number, "is_visible": seen and not gone, "is_removed": gone, "deleted": deleted}
        for (symbol, number), (seen, gone, deleted) in sorted(rows.items())
    ]
    return pa.Table.from_pylist(listed, VERSIONS)


def cut(table, size) -> list[pa.Table]:
    return [table.slice(start, size) for start in range(0, table.num_rows, size)]


@sampled(60)
@given(layers=st.lists(ROWS, max_size=4), size=st.integers(1, 7), keeps_removed=st.booleans())
def test_layers_merge_to_what_the_last_one_says_of_each_version(layers, size, keeps_removed):
    """However they are cut into files; removed versions are left out where nothing is below."""
    merged = generations.merged([iter(cut(table_of(rows), size)) for rows in layers], keeps_removed=keeps_removed)
    found = pa.concat_tables([VERSIONS.empty_table(), *merged])
    expected = {pair: state for rows in layers for pair, state in rows.items()}
    expected = {pair: state for pair, state in expected.items() if keeps_removed or not state[1]}
    assert found.to_pylist() == table_of(expected).to_pylist()


@sampled(60)
@given(rows=ROWS)
def test_heads_have_the_highest_number_and_the_newest_visible_version(rows):
    """A symbol of which all is removed has none; one that nobody sees has no newest version."""
    found = generations.heads_of(table_of(rows))
    there = {pair: state for pair, state in rows.items() if not state[1]}
    expected = []
    for name in sorted({symbol for symbol, _ in there}):
        seen = [number for (symbol, number), state in there.items() if symbol == name and state[0]]
        highest = max(number for symbol, number in there if symbol == name)
        newest = max(seen, default=None)
        deleted = None if newest is None else there[name, newest][2]
        expected.append({"symbol": name, "highest": highest, "newest": newest, "is_deleted": deleted})
    assert found.schema.equals(HEADS)
    assert found.to_pylist() == expected


def file_of(data: bytes, rows: int) -> File:
    key = "catalogue/files/20261130T120000Z-" + "0" * 16 + ".parquet"
    return File(key, rows, len(data), hashlib.sha256(data).hexdigest(), "a", "z")


def test_a_file_comes_back_as_it_was_and_nothing_else_is_taken_for_it():
    """Other bytes, other columns, another number of rows, and what is no Parquet."""
    table = table_of({("a", 0): (True, False, False), ("z", 3): (False, False, True)})
    data = generations.encode(table)
    assert generations.decode(data, file_of(data, 2), VERSIONS).equals(table)
    for bad, file, schema in (
        (data[:-1] + b"x", file_of(data, 2), VERSIONS),
        (data, file_of(data, 3), VERSIONS),
        (data, file_of(data, 2), HEADS),
        (b"no Parquet", file_of(b"no Parquet", 2), VERSIONS),
    ):
        with pytest.raises(vs.Integrity, match="fold\\(rebuild=True\\)"):
            generations.decode(bad, file, schema)


def test_a_generation_names_catalogue_files_only():
    """A document of another program, or a hostile one, cannot point a reader elsewhere."""
    made = Generation("0" * 32, 3, "1" * 32, vs.clock.utc_now(), (Layer(2, (), (file_of(b"", 2),), ()),), ("waits",))
    assert Generation.load(made.dump(), where="there") == made
    with pytest.raises(vs.Integrity):
        Generation.load(made.dump().replace(b'["waits"]', b'[""]'), where="there")
    for hostile in (b"eod/library.json", b"catalogue/files/../../x", b"catalogue/files/20261130T120000Z-x.parquet"):
        data = made.dump().replace(made.files()[0].key.encode(), hostile)
        with pytest.raises(vs.Integrity):
            Generation.load(data, where="there")
