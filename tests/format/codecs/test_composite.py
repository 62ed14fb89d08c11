"""JSON values, nested values and pickles come back equal, through segments and documents; the rest is refused."""

from __future__ import annotations

import collections
import datetime as dt
import enum
import hashlib
import json
import math
import typing
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from threading import current_thread
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from dateutil.tz import gettz
from hypothesis import given
from hypothesis import strategies as st

import duckvstore as vs
from duckvstore import clock
from duckvstore.engine.reading import composite as engine_composite
from duckvstore.engine.reading import segments
from duckvstore.errors import Integrity, InvalidInput, Unsupported
from duckvstore.format.codecs import composite, tables, values
from duckvstore.format.rows import encoding
from duckvstore.format.rows.value_rows import Nested
from duckvstore.format.stored import documents
from duckvstore.format.stored.documents import Schema, Version
from duckvstore.format.stored.segments import Segment
from duckvstore.objects.memory import MemoryObjects
from tests.format.codecs.values_cases import assert_same, sampled

WHERE = "'eod/settings'"
LONDON = ZoneInfo("Europe/London")
FRAME = pd.DataFrame({"x": [1, 2], "s": ["a", None]}, index=pd.date_range("2026-01-01", periods=2, name="t"))

PLAIN = [
    {},
    [],
    (),
    "",
    "text \0 ‰ 😀",
    0,
    True,
    False,
    2**200,
    -1,
    0.1,
    -0.0,
    5e-324,
    math.nan,
    math.inf,
    -math.inf,
    b"\xff\0",
    Decimal("1.10"),
    Decimal("-Infinity"),
    dt.date(2026, 1, 2),
    dt.time(1, 2, 3, 4),
    dt.datetime(2026, 10, 25, 1, 30, fold=1, tzinfo=LONDON),
    dt.datetime(2026, 1, 2, tzinfo=dt.timezone(dt.timedelta(hours=-3))),
    dt.timedelta(days=-1, microseconds=1),
    {"b": None, "a": [1, (2, [3.5, ()]), {"": {}}]},
    {"$leaf": 0, "a": {"$dict": {"$tuple": [1]}, "$": []}},
    {"$numpy": ["O", 1]},
    {"quote'\"": 1, "new\nline": 2, "[0]": 3, "ключ": 4},
    [{"$float": "nan"}, "$tuple"],
    np.float64(0.1),
    np.float32(np.nan),
    np.int8(-5),
    np.uint64(2**64 - 1),
    np.bool_(True),
    np.str_("text"),
    np.datetime64("2026-01-01T00:00:00.5", "ms"),
    np.datetime64("NaT", "D"),
    np.timedelta64(3, "h"),
    pd.NaT,
    pd.NA,
    pd.Timestamp("2026-10-25 00:30:00.123456789Z").tz_convert(LONDON),
    pd.Timestamp("2026-01-01").as_unit("s"),
    pd.Timedelta("1 days 00:00:00.000000001"),
    pd.Period("2026-01", "M"),
    pd.Interval(0, 1.5, closed="both"),
    [pd.Timestamp("2026-01-01"), {"n": np.int64(1)}, (pd.NaT,)],
]

LEAVES = [
    FRAME,
    FRAME.iloc[:0],
    pd.DataFrame(index=pd.RangeIndex(3, 9, 2)),
    pd.DataFrame({("a", 1): [1.5], ("b", 2): [None]}),
    pd.Series([1.5, np.nan], name="s"),
    pd.Series(["a", "b"], dtype="category", index=list("xy")),
    np.arange(6.0).reshape(2, 3),
    np.array("scalar"),
    np.zeros((0, 2), "i4"),
    pa.table({"a": [1, None], "b": [["x"], []]}),
    pl.DataFrame({"a": [1, None], "b": [[1], []]}),
    pl.Series("name", ["a", None], dtype=pl.Categorical),
]


def same(found: object, expected: object) -> None:
    """Equality of values and of types, all the way down."""
    assert type(found) is type(expected)
    if isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            same(one, other)
    elif isinstance(expected, dict):
        assert list(found) == list(expected)
        for key, item in expected.items():
            same(found[key], item)
    elif isinstance(expected, Model):
        same(found.weights, expected.weights)
    elif tables.is_table(expected):
        assert_same(found, expected)
    elif isinstance(expected, dt.datetime) and expected is not pd.NaT:
        assert (repr(found), found.fold) == (repr(expected), expected.fold)
        assert getattr(found, "unit", None) == getattr(expected, "unit", None)
    else:
        assert repr(found) == repr(expected)  # NaN, signs of zero and digits of decimals
        assert getattr(found, "dtype", None) == getattr(expected, "dtype", None)


@pytest.fixture(scope="module")
def library():
    return vs.Store(MemoryObjects("unit")).create_library("eod").open_library


def upload(library, leaf) -> list[Segment]:
    """Store a leaf in segments of at most two rows."""
    table = leaf.table if leaf.table is not None else leaf.reader.read_all()
    made = []
    for start in range(0, table.num_rows, 2):
        rows = table.slice(start, 2)
        data = encoding.encode(rows, leaf.schema)
        digest = hashlib.sha256(data).hexdigest()
        key = library.layout.segment("settings", digest[:32], clock.short_id())
        library.segment_objects.put(library.layout.segment_key(key), data)
        made.append(Segment(key, rows.num_rows, len(data), digest, rows.nbytes))
    return made


def stored(library, value, *, allow_pickle=False) -> Version:
    """Store a value; return its version after a trip through the JSON of the document."""
    encoded = values.encode(value, where=WHERE, allow_pickle=allow_pickle)
    if isinstance(encoded, Nested):
        kind = "nested"
        schema, made, row_count = engine_composite.upload_nested(encoded, lambda leaf: upload(library, leaf))
    else:
        kind, schema, made = encoded.kind, encoded.schema, upload(library, encoded)
        row_count = sum(segment.row_count for segment in made)
    version = Version(
        library_id=library.library_id,
        symbol="settings",
        number=3,
        write_id="w",
        created_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        operation="write",
        kind=kind,
        schema=schema,
        row_count=row_count,
        segments=tuple(made),
    )
    found = documents.load_version(documents.dump_version(version), where="version 3")
    assert found == version
    return found


def read(library, version: Version, *, allow_pickle=False):
    if version.kind == "nested":
        return engine_composite.read_nested(library, version)
    table = segments.read_table(library, version)
    return values.decode(table, version.kind, version.schema, allow_pickle=allow_pickle)


@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_plain_values_are_one_row_of_json_and_come_back_equal(library, value):
    """Type, order of keys and sign of zero included; one segment with one row."""
    version = stored(library, value)
    assert (version.kind, version.row_count, len(version.segments)) == ("json", 1, 1)
    assert version.schema.names == ("value",)
    same(read(library, version), value)


@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_plain_values_come_back_from_the_tree_of_a_nested_value(library, value):
    """Beside a table they are in the document, and as exact."""
    nested = {"table": np.arange(2), "plain": value}
    version = stored(library, nested)
    assert (version.kind, version.schema.columns) == ("nested", ())
    same(read(library, version), nested)


def test_json_is_text_in_sql(library):
    """What SQL sees of settings is JSON that its functions read; only what JSON lacks is tagged."""
    version = stored(library, {"depth": 3, "names": ["a"], "limit": math.inf, "both": (1, 2)})
    rows = duckdb.from_arrow(segments.read_table(library, version))
    found = rows.project("value, value->>'$.names[0]'").fetchall()
    assert found == [('{"depth":3,"names":["a"],"limit":{"$float":"inf"},"both":{"$tuple":[1,2]}}', "a")]


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: f"{type(leaf).__module__}.{type(leaf).__name__}")
def test_every_kind_of_table_is_a_leaf(library, leaf):
    """In a dict, a list and a tuple, as exact as a symbol of its own."""
    for nested in ({"a": leaf}, [leaf], (leaf, 1), {"a": [({"b": leaf},)]}):
        same(read(library, stored(library, nested)), nested)


def test_all_leaves_of_one_value_come_back_in_their_places(library):
    """Segments are the leaves' in order; rows are theirs together, those of a bare RangeIndex too."""
    nested = {"first": LEAVES, "again": {str(position): leaf for position, leaf in enumerate(reversed(LEAVES))}}
    version = stored(library, nested)
    leaves = version.schema.value["leaves"]
    assert [leaf["place"] for leaf in leaves[:2]] == ["['first'][0]", "['first'][1]"]
    assert sum(leaf["segment_count"] for leaf in leaves) == len(version.segments)
    assert version.row_count == sum(segment.row_count for segment in version.segments) + 3
    assert leaves[2]["row_count"] == 3
    same(read(library, version), nested)


def test_streams_become_arrow_tables_and_are_read_on_the_calling_thread(library):
    """A reader has no other form to come back in; two readers of one source are never read at the same time."""
    table = pa.table({"a": range(5)})
    nested = [table, pa.RecordBatchReader.from_batches(table.schema, table.to_batches()), table.slice(1)]
    nested.append(pa.RecordBatchReader.from_batches(table.schema, table.to_batches()))
    threads = {}

    def noting(leaf):
        threads.setdefault(leaf.table is None, set()).add(current_thread())
        return upload(library, leaf)

    schema, made, row_count = engine_composite.upload_nested(values.encode(nested, where=WHERE), noting)
    assert threads[True] == {current_thread()}
    version = replace(stored(library, [1]), kind="nested", schema=schema, segments=tuple(made))
    same(read(library, version), [table, table, table.slice(1), table])
    assert row_count == 19


def test_a_table_that_is_there_twice_is_stored_once_and_comes_back_as_one(library):
    """The same object, as before; a reader that is there twice is not read to its end twice."""
    reader = pa.RecordBatchReader.from_batches(pa.schema([("a", pa.int64())]), [pa.record_batch({"a": [1]})])
    version = stored(library, {"a": FRAME, "b": [FRAME, FRAME.copy()], "c": reader, "d": reader})
    assert len(version.schema.value["leaves"]) == 3
    found = read(library, version)
    assert found["a"] is found["b"][0]
    assert found["b"][1] is not found["a"]
    same(found["b"], [FRAME, FRAME])
    assert found["c"] is found["d"]
    assert found["c"].to_pydict() == {"a": [1]}


def test_a_large_tree_is_a_segment(library):
    """Documents stay small; the tree is no place of a table."""
    nested = {"frame": FRAME, "$words": [f"word {number}" for number in range(20_000)], "tuple": (1, math.nan)}
    version = stored(library, nested)
    assert len(documents.dump_version(version)) < 10_000
    assert composite.leaf_places(version.schema.value) == "['frame']"
    same(read(library, version), nested)


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=6),
    st.binary(max_size=4),
    st.decimals(),
    st.dates(),
    st.times(),
    st.datetimes(timezones=st.sampled_from([None, LONDON, dt.UTC])),
    st.timedeltas(),
).filter(lambda value: not (isinstance(value, dt.time) and value.fold))
KEYS = st.one_of(st.sampled_from(["$leaf", "$dict", "$tuple", "$", "a", "", "['a']"]), st.text(max_size=4))
INSIDE = st.one_of(SCALARS, st.sampled_from(LEAVES))


@sampled(60)
@given(
    st.recursive(
        st.one_of(st.lists(INSIDE, max_size=3), st.dictionaries(KEYS, INSIDE, max_size=3)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.lists(inner, max_size=3).map(tuple),
            st.dictionaries(KEYS, inner, max_size=3),
        ),
        max_leaves=8,
    )
)
def test_random_nestings_come_back_equal(library, value):
    """Any dicts, lists and tuples of tables and scalars, under hostile keys."""
    same(read(library, stored(library, value)), value)


class Colour(enum.IntEnum):
    RED = 1


class Settings(dict):
    pass


class Point(typing.NamedTuple):
    x: int
    y: int


def deep(levels: int, inner: object) -> object:
    for _ in range(levels):
        inner = (inner,)
    return inner


REFUSED = [
    ({"a": {1, 2}}, r"'eod/settings'\['a'\] is a builtins.set, which could not come back equal: give a pandas"),
    ({1: "a"}, r"'eod/settings' has the key 1 of type int; keys must be text: convert it with str\(\)"),
    ([{"b": {(1, 2): FRAME}}], r"'eod/settings'\[0\]\['b'\] has the key \(1, 2\) of type tuple"),
    ({np.str_("a"): 1}, "of type str_; keys must be text"),
    ({"a": {"\ud800": 1}}, r"\['a'\]\['\\ud800'\] is not valid Unicode"),
    (["\ud800"], r"'eod/settings'\[0\] is not valid Unicode"),
    (Settings(a=1), r"Settings, which would come back as a plain dict: convert it with dict\(\)"),
    ([collections.OrderedDict()], r"\[0\] is a collections.OrderedDict, which would come back as a plain dict"),
    (Point(1, 2), "Point, which would come back as a plain tuple"),
    (Colour.RED, "Colour, which would come back as a plain int"),
    (1j, "builtins.complex, which could not come back equal"),
    (np.complex128(1), "numpy.complex128, which could not come back equal"),
    (np.longlong(1), r"numpy.longlong, which could not come back equal"),
    (np.str_("a\0"), r"numpy.str_, which would come back as a plain str"),
    (np.longdouble(1), "numpy.longdouble, which could not"),
    (np.zeros(1, "i4,i4")[0], "numpy.void, which could not"),
    (bytearray(b"a"), "builtins.bytearray, which could not"),
    (range(3), "builtins.range"),
    (object(), r"builtins.object, .*or pass allow_pickle=True"),
    (object, "builtins.type"),
    (pd.Index([1]), "pandas.*Index, which could not come back equal: give a"),
    (dt.time(1, tzinfo=dt.UTC), "datetime.time, which could not come back equal: .*times without a zone"),
    (dt.time(1, fold=1), "datetime.time, which could not"),
    (
        [1, dt.datetime(2026, 1, 1, tzinfo=gettz("Europe/London"))],
        r"\[1\] has the time zone tzfile.*use datetime.timezone",
    ),
    (None, r"'eod/settings' is None, which many calls .*delete\(\)"),
    ({"n": -(10**4300)}, r"\['n'\] is a whole number of more than 4,200 digits"),
    ({"a": [FRAME, np.array([object()])]}, r"'eod/settings'\['a'\]\[1\] is an array of dtype object"),
    (
        {"a": pd.DataFrame({"x": [object()]})},
        r"column 'x' of 'eod/settings'\['a'\] holds builtins.object|object objects",
    ),
    ({"k" * 500: {1}}, r"'eod/settings'\['k{58}…\] is a builtins.set"),
    (deep(101, 1), r"deeper than 100 levels .*: flatten it, or pass allow_pickle=True"),
    (deep(101, FRAME), r"'eod/settings'(\[0\]){6}…(\[0\]){3} is deeper than 100 levels"),
]


@pytest.mark.parametrize(("value", "message"), REFUSED, ids=[message[:60] for _, message in REFUSED])
def test_what_could_not_come_back_equal_is_refused_with_its_place(value, message):
    """The message has the place, the type and the next step."""
    with pytest.raises((InvalidInput, Unsupported), match=message):
        values.encode(value, where=WHERE)


def test_what_holds_itself_is_refused():
    """Not followed for ever."""
    value: dict = {}
    value["again"] = [value]
    with pytest.raises(InvalidInput, match="or the value holds itself"):
        values.encode(value, where=WHERE)


@pytest.mark.parametrize("inner", [FRAME, 1])
def test_a_hundred_levels_are_stored(library, inner):
    """As dicts with tagged keys, and as tuples, which are two levels of JSON each."""
    same(read(library, stored(library, deep(100, inner))), deep(100, inner))
    tagged = inner
    for _ in range(100):
        tagged = {"$": tagged}
    same(read(library, stored(library, tagged)), tagged)


class Model:
    """Has no form but a pickle."""

    def __init__(self, weights):
        self.weights = weights


class Unloadable(Exception):
    def __init__(self, one, two):
        super().__init__(one)


@pytest.mark.parametrize(
    "value",
    [
        Model([1]),
        {"m": Model([1]), "frame": FRAME},
        pd.DataFrame({"x": [Fraction(1, 2)]}),
        {1, 2},
        {1: 2},
        None,
        deep(150, 1),
    ],
)
def test_pickles_come_back_when_allowed_twice(library, value):
    """One row, one binary column, and the whole value in it."""
    version = stored(library, value, allow_pickle=True)
    assert (version.kind, version.row_count, len(version.segments)) == ("pickle", 1, 1)
    assert [(column.name, column.type) for column in version.schema.columns] == [("pickle", "large_binary")]
    same(read(library, version, allow_pickle=True), value)


@pytest.mark.parametrize("value", [FRAME, {"a": FRAME}, [1, "a"], np.arange(3)])
def test_nothing_is_pickled_that_can_be_stored_otherwise(library, value):
    """Even where pickling is allowed."""
    assert stored(library, value, allow_pickle=True).kind != "pickle"


class Trap:
    """Its pickle calls ``spring`` when it is loaded."""

    sprung = 0

    def __reduce__(self):
        return spring, ()


def spring():
    Trap.sprung += 1


def test_a_pickle_is_not_loaded_without_leave(library):
    """Neither as a value nor as a leaf that somebody put into a nested value's document."""
    version = stored(library, Trap(), allow_pickle=True)
    Trap.sprung = 0
    with pytest.raises(InvalidInput, match="runs code that its writer chose: pass allow_pickle=True if you trust"):
        read(library, version)
    encoded = values.encode(Trap(), where=WHERE, allow_pickle=True)
    leaf = composite.leaf_to_json("['a']", encoded, 1, 1)
    Trap.sprung = 0
    forged = replace(version, kind="nested", schema=Schema(value={"tree": {"$leaf": 0}, "leaves": [leaf]}))
    with pytest.raises(InvalidInput, match="runs code"):
        read(library, forged)
    assert Trap.sprung == 0
    read(library, version, allow_pickle=True)
    assert Trap.sprung == 1


def test_what_cannot_be_pickled_and_loaded_is_refused_at_the_write():
    """Never accepted and unreadable."""
    with pytest.raises(InvalidInput, match=r"'eod/settings' cannot be pickled \(.*lambda.*store what it consists of"):
        values.encode({"f": lambda: 1}, where=WHERE, allow_pickle=True)
    with pytest.raises(InvalidInput, match=r"cannot be pickled \(TypeError: .*two"):
        values.encode(Unloadable(1, 2), where=WHERE, allow_pickle=True)


def test_a_pickle_whose_class_is_gone_says_what_is_missing(library, monkeypatch):
    """The class's name is in the message."""
    version = stored(library, Model(1), allow_pickle=True)
    monkeypatch.delitem(globals(), "Model")
    with pytest.raises(Unsupported, match="cannot be loaded here .*Model.*install or define"):
        read(library, version, allow_pickle=True)


def test_values_beyond_what_parquet_holds_are_refused(monkeypatch):
    """With their size; 2 GiB is where Parquet ends."""
    monkeypatch.setattr(composite, "VALUE_BYTES_MAX", 1000)
    with pytest.raises(InvalidInput, match=r"'eod/settings' takes 1,0\d\d bytes as pickle, more than the 1,000"):
        values.encode({b"a" * 1000}, where=WHERE, allow_pickle=True)
    with pytest.raises(InvalidInput, match="takes 1,002 bytes as JSON"):
        values.encode("é" * 500, where=WHERE)


def test_parts_of_what_is_no_table_are_refused(library):
    """Nothing that was asked for is ignored; the places of a nested value's tables are named."""
    nested = stored(library, {"a": FRAME, "b": [np.arange(n) for n in range(6)]}).schema.value
    options = {"columns": ["x"], "date_range": (1, 2), "row_range": (0, 5), "where": "x > 1", "output_format": "polars"}
    for name, option in options.items():
        asked = {**dict.fromkeys(options), name: option}
        places = r"\['a'\], \['b'\]\[0\], \['b'\]\[1\], \['b'\]\[2\], \['b'\]\[3\] and 2 more places"
        with pytest.raises(
            InvalidInput, match=rf"{name}= cannot be .*'eod/x', a nested value with tables at {places}:"
        ):
            composite.refuse_parts("nested", nested, "'eod/x'", **asked)
        if name != "output_format":
            with pytest.raises(
                InvalidInput, match=rf"{name}= cannot be used on 'eod/x', a pickle value: read it whole"
            ):
                composite.refuse_parts("pickle", {}, "'eod/x'", **asked)
        composite.refuse_parts("dataframe", {}, "'eod/x'", **asked)
    composite.refuse_parts("nested", nested, "'eod/x'", **dict.fromkeys(options))
    version = stored(library, {"a": 1})
    rows = segments.read_table(library, version)
    with pytest.raises(InvalidInput, match="columns= cannot be used on the value, a json value"):
        values.decode(rows, "json", version.schema, columns=["value"])
    with pytest.raises(InvalidInput, match="no part of 0 rows"):
        values.decode(rows.slice(1), "json", version.schema)
    with pytest.raises(InvalidInput, match="a nested value has no polars form"):
        values.to_format(rows, "nested", version.schema, "polars")
    assert values.to_format(rows, "json", version.schema, "pyarrow").to_pydict() == {"value": ['{"a":1}']}


@pytest.mark.parametrize(
    "tree",
    [
        {"$leaf": 7},
        {"$leaf": "a"},
        {"$unknown": 1},
        {"$float": "x"},
        {"$dict": 5},
        {"$tuple": 5},
        {"$bytes": "?"},
        {"$decimal": "x"},
        {"$numpy": ["no such", 1]},
    ],
    ids=json.dumps,
)
def test_damaged_trees_are_integrity_errors(tree):
    """Of what this package never writes."""
    with pytest.raises(Integrity, match="the stored JSON of the value is damaged .*restore it from a backup"):
        composite.put_together({"tree": [tree], "leaves": []}, ())


@pytest.mark.parametrize("text", ["{", "[" * 100_000, None])
def test_damaged_text_is_an_integrity_error(text):
    """Cut off, nested without end, or missing."""
    with pytest.raises(Integrity, match="damaged"):
        composite.decode_json(pa.table({"value": pa.array([text], pa.large_string())}))


def test_an_unknown_time_zone_is_not_damage():
    """The machine lacks it, not the store."""
    tree = {"$datetime": "2026-01-01T00:00:00", "zone": "Mars/Olympus"}
    with pytest.raises(
        Unsupported, match="No time zone found with key Mars/Olympus on this machine: pip install tzdata"
    ):
        composite.put_together({"tree": tree, "leaves": []}, ())


def test_segments_that_are_not_those_of_the_leaves_are_an_integrity_error(library):
    """A document that was changed by hand."""
    version = stored(library, {"a": FRAME, "b": np.arange(2)})
    with pytest.raises(Integrity, match="version 3 of eod/settings has 1 segments, expected 2 for its 2 parts"):
        read(library, replace(version, segments=version.segments[:1]))


def test_the_first_failed_upload_is_raised(library):
    """And nothing is left running."""

    def failing(leaf):
        raise Unsupported("no room")

    with pytest.raises(Unsupported, match="no room"):
        engine_composite.upload_nested(values.encode([FRAME, np.arange(2)], where=WHERE), failing)
