"""Documents come back equal from their JSON; damage is Integrity and a newer format is Unsupported."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from duckvstore.errors import Integrity, Unsupported
from duckvstore.format.stored import documents
from duckvstore.format.stored.documents import Column, Decision, Library, Schema, Snapshot, Version
from duckvstore.format.stored.segments import ColumnStatistics, Segment
from tests.format.codecs.values_cases import sampled
from tests.format.stored.test_metadata import VALUES, same

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
TIMES = st.datetimes(datetime(2000, 1, 1), datetime(9000, 1, 1)).map(lambda time: time.replace(tzinfo=UTC))
COUNTS = st.integers(0, 2**50)
NUMBERS = st.integers(0, 10**10 - 1)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
IDENTITIES = st.from_regex("[0-9a-f]{32}", fullmatch=True)
KEYS = st.from_regex("segments/[a-z]{1,3}/[0-9a-f]{32}-[0-9a-f]{16}[.]parquet", fullmatch=True)
BOUNDS = st.one_of(st.none(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), TEXT, st.booleans())
STATISTICS = st.builds(
    ColumnStatistics, BOUNDS, BOUNDS, st.one_of(st.none(), COUNTS), st.one_of(st.none(), st.booleans())
)
SCHEMAS = st.builds(
    Schema,
    st.lists(st.builds(Column, TEXT, TEXT, st.integers(1, 99)), max_size=3).map(tuple),
    TEXT,
    st.lists(TEXT, max_size=2).map(tuple),
    st.dictionaries(TEXT, st.one_of(TEXT, st.lists(COUNTS, max_size=2)), max_size=2),
)


@st.composite
def versions(draw) -> Version:
    """A version; every segment knows the same columns, as the writer makes them."""
    ids = draw(st.lists(st.integers(1, 40), unique=True, max_size=3))
    segment = st.builds(
        Segment, KEYS, COUNTS, COUNTS, TEXT, COUNTS, st.fixed_dictionaries(dict.fromkeys(ids, STATISTICS))
    )
    text = st.one_of(st.none(), TEXT)
    return draw(
        st.builds(
            Version, TEXT, NAMES, NUMBERS, TEXT, TIMES, TEXT, st.sampled_from(documents.KINDS),
            parent=st.one_of(st.none(), NUMBERS), transaction=st.none() | IDENTITIES,
            author=text, message=text, metadata=VALUES,
            schema=SCHEMAS, row_count=COUNTS, logical_bytes=COUNTS, stored_bytes=COUNTS, new_bytes=COUNTS,
            new_rows=COUNTS, is_sorted=st.one_of(st.none(), st.booleans()),
            segments=st.lists(segment, max_size=3).map(tuple),
        )
    )  # fmt: skip


@given(versions())
@sampled(150)
def test_version_documents_come_back_equal(version):
    """And say the same when written again."""
    data = documents.dump_version(version)
    found = documents.load_version(data, where="key")
    assert same(found.metadata, version.metadata)
    assert documents.dump_version(found) == data
    for name in Version.__slots__:
        assert name in ("metadata", "where", "document_bytes") or getattr(found, name) == getattr(version, name)


@given(st.builds(Snapshot, TEXT, TEXT, TEXT, TIMES, st.dictionaries(NAMES, NUMBERS, max_size=3), VALUES, TEXT, TEXT))
@sampled(60)
def test_snapshot_documents_come_back_equal(snapshot):
    """Metadata too."""
    found = Snapshot.load(snapshot.dump(), where="key")
    assert same(found.metadata, snapshot.metadata)
    assert found.versions == snapshot.versions
    assert (found.name, found.created_at, found.author) == (snapshot.name, snapshot.created_at, snapshot.author)


@given(st.builds(Library, TEXT, TEXT, TEXT, TIMES), TIMES, st.sampled_from(["committed", "aborted"]))
@sampled(40)
def test_library_and_decision_documents_come_back_equal(library, time, outcome):
    """Small ones."""
    assert Library.load(library.dump(), where="key") == library
    decision = Decision("0" * 32, outcome, time, {"a": 1})
    assert Decision.load(decision.dump(), where="key") == decision


TIME = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
SEGMENT = Segment(
    "segments/a/0123456789abcdef-0123456789abcdef.parquet",
    3,
    100,
    "ab",
    24,
    {1: ColumnStatistics(1, 3, 0, has_nan=False)},
)
VERSION = Version("lib", "trades", 3, "w", TIME, "write", "dataframe", segments=(SEGMENT,), row_count=3)
DUMPED = {
    documents.load_version: documents.dump_version(VERSION),
    Snapshot.load: Snapshot("lib", "eod", "w", TIME, {"trades": 3}, None, None, None).dump(),
    Library.load: Library("lib", "eod", "w", TIME).dump(),
    Decision.load: Decision("0" * 32, "committed", TIME, {}).dump(),
}


def test_a_document_is_plain_json_that_anyone_can_read():
    """Names as FORMAT.md has them; times in UTC with microseconds."""
    body = json.loads(DUMPED[documents.load_version])
    assert (body["duckvstore"], body["format"], body["requires"]) == ("version", 1, [])
    assert body["created_at"] == "2026-11-20T09:30:00.000000Z"
    assert body["segments"]["key"] == [SEGMENT.key]
    assert body["segments"]["statistics"]["1"] == {"min": [1], "max": [3], "nulls": [0], "nan": [False]}


@pytest.mark.parametrize("load", DUMPED, ids=lambda load: load.__name__)
def test_damage_is_an_integrity_error_that_names_the_key(load):
    """Cut short, of another kind, missing a field, or of the wrong type: never another exception."""
    data = DUMPED[load]
    body = json.loads(data)
    damaged = [b"", b"null", b"[]", b"{}", b"\xff", data[:-1], data[: len(data) // 2], b"[" * 100_000]
    damaged += [json.dumps({**body, "duckvstore": "cat"}).encode(), json.dumps({**body, "format": "1"}).encode()]
    damaged += [json.dumps({key: item for key, item in body.items() if key != gone}).encode() for gone in body]
    for broken in damaged:
        with pytest.raises(Integrity, match="the/key"):
            load(broken, where="the/key")


@pytest.mark.parametrize("load", DUMPED, ids=lambda load: load.__name__)
@pytest.mark.parametrize("change", [{"format": 2}, {"requires": ["a_feature_of_tomorrow"]}])
def test_a_newer_format_says_to_upgrade(load, change):
    """A number above ours, or a feature that we do not know."""
    data = json.dumps({**json.loads(DUMPED[load]), **change}).encode()
    with pytest.raises(Unsupported, match="upgrade duckvstore"):
        load(data, where="the/key")


def test_an_unknown_kind_of_value_says_to_upgrade():
    """It is another release's, not damage."""
    data = json.dumps({**json.loads(DUMPED[documents.load_version]), "kind": "tensor"}).encode()
    with pytest.raises(Unsupported, match="tensor"):
        documents.load_version(data, where="the/key")


@pytest.mark.parametrize("field", json.loads(DUMPED[documents.load_version]))
@pytest.mark.parametrize("wrong", [True, "x", None, 1.5, 2.0, -1, 2**63, 2**70, [1], {"a": 1}])
def test_a_field_of_another_type_is_damage_that_names_it(field, wrong):
    """Booleans and 2.0 are not whole numbers, whole numbers have 63 bits, and text is not a list."""
    body = json.loads(DUMPED[documents.load_version])
    data = json.dumps({**body, field: wrong}).encode()
    try:
        found = documents.load_version(data, where="the/key")
    except (Integrity, Unsupported) as error:
        assert "the/key" in str(error)
        assert field in str(error) or field in ("duckvstore", "format", "requires", "kind")
    else:  # the few fields that may be so
        assert field == "metadata" or json.loads(documents.dump_version(found))[field] == wrong
        assert wrong in ("x", None) or (field, wrong) in [("is_sorted", True), ("metadata", wrong)]


@pytest.mark.parametrize(
    ("path", "wrong", "named"),
    [
        (("segments", "rows"), [1.0], "`$.segments.rows[0]`"),
        (("segments", "bytes"), [True], "`$.segments.bytes[0]`"),
        (("segments", "key"), ["segments/../library.json"], "`$.segments`"),
        (("segments", "statistics", "1", "nulls"), [-1], "`$.segments.statistics[...].nulls[0]`"),
        (("segments", "statistics", "1", "min"), [[1]], "`$.segments.statistics[...].min[0]`"),
        (("segments", "statistics", "1", "nan"), [0], "`$.segments.statistics[...].nan[0]`"),
        (("schema", "columns"), [{"name": "a", "type": 1, "id": 1}], "schema: .*`$.columns[0].type`"),
        (("schema", "index"), "a", "schema: .*`$.index`"),
        (("schema", "value"), None, "schema: .*`$.value`"),
        (("created_at",), "2026-11-20T09:30:00.000000+01:00", "created_at .*not in UTC"),
        (("created_at",), "2026-11-20T09:30:00.000000", "`$.created_at`"),
        (("created_at",), 1795339800, "`$.created_at`"),
    ],
)
def test_damage_inside_of_a_field_is_named_by_its_path(path, wrong, named):
    """So that who repairs a document finds the place."""
    body = json.loads(DUMPED[documents.load_version])
    holder = body
    for step in path[:-1]:
        holder = holder[step]
    holder[path[-1]] = wrong
    with pytest.raises(Integrity, match=named.translate({ord(c): f"\\{c}" for c in "$[]"})):
        documents.load_version(json.dumps(body).encode(), where="the/key")


def test_the_bytes_are_those_of_every_release():
    """Key order, floating point numbers, whole numbers of any size, and text as it is."""
    bounds = (
        ColumnStatistics(1e16, 1e-5, 0, has_nan=False),
        ColumnStatistics(-(2**70), "é\u2028\x7f\x1f", 0, has_nan=False),
    )
    segment = Segment(SEGMENT.key, 1, 2, "0", 3, dict(enumerate(bounds, start=9)))
    data = documents.dump_version(replace(VERSION, segments=(segment,), window=4, parts=("ab" * 16,)))
    assert data.decode() == (
        '{"duckvstore":"version","format":1,"requires":[],"library_id":"lib","symbol":"trades","version":3,"write_id":"w",'
        '"created_at":"2026-11-20T09:30:00.000000Z","operation":"write","kind":"dataframe","parent":null,'
        '"transaction":null,"author":null,"message":null,"metadata":null,'
        '"schema":{"columns":[],"arrow":"","index":[],"value":{}},"row_count":3,"logical_bytes":0,"stored_bytes":0,'
        f'"new_bytes":0,"new_rows":0,"is_sorted":null,"window":4,"parts":["{"ab" * 16}"],'
        f'"segments":{{"key":["{SEGMENT.key}"],"rows":[1],"bytes":[2],"sha256":["0"],"logical_bytes":[3],'
        '"statistics":{"9":{"min":[1e+16],"max":[1e-05],"nulls":[0],"nan":[false]},'
        '"10":{"min":[-1180591620717411303424],"max":["é\u2028\x7f\\u001f"],"nulls":[0],"nan":[false]}}}}'
    )
    assert documents.dump_version(documents.load_version(data, where="key")) == data


WITHOUT_TYPES = """
import msgspec._utils

from duckvstore.api.store import Store
from tests import damage


def found(*_):
    raise AssertionError("a type is worked out when it is used")


stores = {"lib": damage.make(), **{name: damage.golden(folder) for folder, name in damage.GOLDEN.items()}}
assert hasattr(msgspec._utils, "_forward_ref")
msgspec._utils._forward_ref = found
for name, objects in stores.items():
    library = Store(objects).get_library(name)
    for symbol in library.list_symbols():
        library.read(symbol, allow_pickle=True)
    library.list_snapshots(), library.options, library.gc(dry_run=True), library.verify()
"""


@pytest.mark.parametrize("writes", [True, False])
def test_types_are_worked_out_when_their_modules_are_imported(writes):
    """By msgspec: two threads that did so at once would crash. Every kind of document and value is read."""
    text = WITHOUT_TYPES
    if not writes:
        text = text.replace('"lib": damage.make(), ', "")  # so that reading is the first that happens
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
