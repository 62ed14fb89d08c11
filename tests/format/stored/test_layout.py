"""Every key is built and parsed back; no name leaves its folder; hostile keys are refused."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duckvstore.errors import Integrity, InvalidInput
from duckvstore.format.stored import layout
from tests.format.codecs.values_cases import sampled

SAFE_PATH = re.compile(r"[A-Za-z0-9._~/-]+")
NAMES = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
    st.sampled_from([".", "..", "a/b", "~2F", "%2F", "a=b", "*", "a?b", "[x]", "\0", " ", "CON", "ü", "a", "A"]),
)
NUMBERS = st.integers(0, layout.VERSION_NUMBER_MAX)
ROOTS = st.sampled_from(["", "eod/", layout.library_root("a/b")])


@given(NAMES)
@sampled(300)
def test_any_name_escapes_to_one_safe_folder_and_back(name):
    """At most 240 bytes of characters that no file system, URL or DuckDB changes."""
    escaped = layout.escape(name)
    assert re.fullmatch(r"[A-Za-z0-9._~-]+", escaped)
    assert escaped not in (".", "..")
    assert layout.unescape(escaped) == name
    assert layout.library_root(name) == escaped + "/"


@given(NAMES, NAMES)
@sampled(100)
def test_different_names_have_different_keys_whatever_the_case(one, other):
    """Two names share a key only if they are one name."""
    assert (layout.escape(one) == layout.escape(other)) == (one == other)


@given(ROOTS, NAMES, NUMBERS)
@sampled(200)
def test_keys_parse_back_to_what_they_were_built_of(root, name, number):
    """Versions, segments and snapshots, under any root."""
    keys = layout.Layout(root)
    version = keys.version(name, number)
    assert keys.parse_version(version) == (name, number)
    assert version.startswith(keys.symbol_versions(name))
    assert keys.parse_snapshot(keys.snapshot(name)) == name
    assert keys.parse_garbage(keys.garbage(name, "a" * 32)) == name
    relative = keys.segment(name, "0" * 32, "f" * 16)
    assert keys.segment_key(relative) == root + relative
    for key in (version, keys.snapshot(name), root + relative):
        assert SAFE_PATH.fullmatch(key)
        assert not any(part in ("", ".", "..") for part in key.split("/"))


@given(ROOTS, NAMES, st.integers(0, layout.VERSION_NUMBER_MAX - 1))
@sampled(100)
def test_keys_of_the_journal_and_the_catalogue_parse_back(root, name, number):
    """An intent says its symbol unless that is too long for a key."""
    keys = layout.Layout(root)
    intent, mark = keys.intent("0" * 32, name), keys.mark(number, "a" * 32)
    is_short = len(layout.escape(name)) <= 222
    assert keys.parse_intent(intent) == ("0" * 32, name if is_short else None)
    assert keys.parse_intent(keys.intent("0" * 32)) == ("0" * 32, None)
    assert max(map(len, intent.split("/"))) <= 255
    assert keys.parse_mark(mark) == (number, "a" * 32)
    for parse, other in ((keys.parse_mark, intent), (keys.parse_intent, mark), (keys.parse_generation, mark)):
        with pytest.raises(Integrity):
            parse(other)
    assert keys.parse_generation(keys.generation(number)) == number
    put_at = datetime(2026, 11, 30, 12, tzinfo=UTC)
    relative = keys.catalogue_file(put_at, "f" * 16)
    assert keys.catalogue_key(relative) == root + relative
    assert keys.parse_catalogue_file(root + relative) == (relative, put_at)
    for key in (intent, mark, keys.generation(number), root + relative):
        assert SAFE_PATH.fullmatch(key)


@pytest.mark.parametrize("key", ["catalogue/files/20261399T120000Z-ffffffffffffffff.parquet", "catalogue/files/x", "x"])
def test_foreign_catalogue_files_are_an_integrity_error(key):
    """Also one whose time is none."""
    with pytest.raises(Integrity):
        layout.Layout("").parse_catalogue_file(key)


@given(NUMBERS, NUMBERS)
@sampled(100)
def test_newer_versions_list_first(one, other):
    """In byte order of keys, so that one LIST of one key finds the newest."""
    keys = layout.Layout("eod/")
    assert (keys.version("s", one) < keys.version("s", other)) == (one > other)
    assert (keys.option(one) < keys.option(other)) == (one > other)
    assert (keys.generation(one) < keys.generation(other)) == (one > other)
    assert one == other or (keys.mark(one, "a" * 32) < keys.mark(other, "b" * 32)) == (one > other)


@pytest.mark.parametrize("name", ["", 5, None, b"x", "\ud800", "é" * 41, "x" * 241])
def test_names_that_cannot_be_keys_are_refused(name):
    """Empty, no text, no Unicode, or too long when escaped."""
    with pytest.raises(InvalidInput, match="choose"):
        layout.escape(name)


def test_a_name_may_take_240_bytes():
    """A folder's limit is 255."""
    assert len(layout.escape("x" * 240)) == 240


@pytest.mark.parametrize("number", [-1, layout.VERSION_NUMBER_MAX + 1])
def test_numbers_outside_the_range_are_refused(number):
    """Their keys would not sort."""
    with pytest.raises((InvalidInput, ValueError)):
        layout.Layout("").version("s", number)


@pytest.mark.parametrize(
    "key",
    [
        "versions/s/9999999999.v1.json", "versions/s/9999999998.v1.jsonx", "versions/s/9999999998.v01.json",
        "versions/s/x/9999999998.v1.json", "versions/~2f/9999999998.v1.json", "versions/9999999998.v1.json",
        "other/s/9999999998.v1.json", "versions//9999999998.v1.json", "versions/%41/9999999998.v1.json",
    ],
)  # fmt: skip
def test_foreign_version_keys_are_an_integrity_error(key):
    """Numbers that disagree, escapes that no name has, other folders."""
    with pytest.raises(Integrity):
        layout.Layout("").parse_version(key)


@pytest.mark.parametrize(
    "relative",
    [
        "../x", "/etc/passwd", "file:///etc/passwd", "s3://other/segments/s/x.parquet", "segments/../" + "0" * 32,
        "segments/s/" + "0" * 32 + "-" + "f" * 16 + ".csv", "segments/s/../s/" + "0" * 32 + "-" + "f" * 16 + ".parquet",
        "segments/~2E~2E/x.parquet", "segments/s/" + "0" * 32 + "-" + "f" * 16 + ".parquet/", "",
        "segments/../" + "0" * 32 + "-" + "f" * 16 + ".parquet",
        "segments/s/" + "0" * 32 + "-" + "f" * 16 + ".parquet\n",
    ],
)  # fmt: skip
def test_a_document_cannot_point_outside_its_segments(relative):
    """Whatever a hostile document names."""
    with pytest.raises(Integrity):
        layout.Layout("lib/").segment_key(relative)


@pytest.mark.parametrize(
    "key", ["snapshots/a/b.json", "snapshots/a", "snapshots/%20.json", "x/a.json", "snapshots/.json"]
)
def test_foreign_snapshot_keys_are_an_integrity_error(key):
    """Another program's objects under the prefix."""
    with pytest.raises(Integrity):
        layout.Layout("").parse_snapshot(key)


@pytest.mark.parametrize("key", ["garbage/a/b.json", f"garbage/a/x/{'a' * 32}.json", f"x/a/{'a' * 32}.json"])
def test_foreign_garbage_keys_are_an_integrity_error(key):
    """Another program's objects under the prefix."""
    with pytest.raises(Integrity):
        layout.Layout("").parse_garbage(key)


@pytest.mark.parametrize("identity", ["", "../x", "0" * 31, "G" * 32, "0" * 33])
def test_a_transaction_id_is_32_hexadecimal_digits(identity):
    """It becomes part of a key."""
    with pytest.raises(Integrity):
        layout.Layout("").transaction(identity)
