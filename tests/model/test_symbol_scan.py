"""The listing of symbols skips histories: every symbol once, whatever its name, its history and the server's order."""

from __future__ import annotations

import random
from itertools import product

import pytest

import duckvstore as vs
from duckvstore.engine.reading import listings
from duckvstore.format.stored.layout import escape
from duckvstore.objects.memory import MemoryObjects

NAMES = ("a", "a-", "a-b", "a.", "a.b", "a.b-c", "a b", "a/b", "a~", "a0", "A", "aa", "~", "-", ".", "..", "ü", "~~")


def fill(objects, counts: dict[str, int]):
    """Make a library with so many versions of each symbol; only the keys of their documents matter here."""
    library = vs.Store(objects).create_library("scan").open_library
    for name, count in counts.items():
        for number in range(count):
            objects.create(library.layout.version(name, number), b"{}")
    return library


def expected(counts: dict[str, int]) -> list[tuple[str, int]]:
    present = {name: count for name, count in counts.items() if count}
    return [(name, present[name] - 1) for name in sorted(present, key=lambda name: escape(name) + "/")]


def test_every_symbol_is_found_once_at_any_page_size(monkeypatch):
    """Pages that end before, in and after a history; names whose folders sort between one another's."""
    choose = random.Random(5)
    for size, symbols_min in product((1, 2, 3, 4, 7, 50), (0, 2)):
        monkeypatch.setattr(listings, "SYMBOLS_PAGE", size)
        monkeypatch.setattr(listings, "SYMBOLS_OF_A_PAGE_MIN", symbols_min)
        for _ in range(15):
            counts = {name: choose.choice((0, 1, 2, 3, 4, 9)) for name in choose.sample(NAMES, 8)}
            library = fill(MemoryObjects("scan"), counts)
            assert listings.symbol_heads(library) == expected(counts), (size, symbols_min, counts)


@pytest.mark.timeout(120)
def test_every_symbol_is_found_once_on_a_server_that_lists_folder_by_folder(s3_bucket, monkeypatch):
    """SeaweedFS walks a tree, where the folder of "a" comes before those of "a-b" and "a.b"."""
    counts = {name: 1 + index % 4 for index, name in enumerate(NAMES)}
    library = fill(vs.open(s3_bucket.url, s3_bucket.storage_options).objects, counts)
    for size, symbols_min in product((1, 2, 3, 5, 1000), (0, 2)):
        monkeypatch.setattr(listings, "SYMBOLS_PAGE", size)
        monkeypatch.setattr(listings, "SYMBOLS_OF_A_PAGE_MIN", symbols_min)
        assert listings.symbol_heads(library) == expected(counts), (size, symbols_min)
