"""User metadata round-trips exactly, types included, or is refused where it is given."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from duckvstore.errors import InvalidInput
from duckvstore.format.stored import metadata
from tests.format.codecs.values_cases import sampled

TEXT = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6), st.sampled_from(["$dict", "$tuple", "$x", ""])
)
OFFSETS = st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(timezone)
ZONES = st.one_of(st.none(), st.just(UTC), st.sampled_from([ZoneInfo("Europe/London"), ZoneInfo("UTC")]), OFFSETS)
CLOCK_TIMES = st.times().map(lambda moment: moment.replace(fold=0))
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), TEXT, st.binary(max_size=5), st.dates(), CLOCK_TIMES,
    st.timedeltas(), st.datetimes(timezones=ZONES, allow_imaginary=True), st.decimals(),
)  # fmt: skip
TICKS = st.integers(-(10**17), 10**17)
STAMPS = st.builds(
    lambda ticks, unit, zone: pd.Timestamp(np.datetime64(ticks, unit)).tz_localize("UTC").tz_convert(zone),
    TICKS.map(lambda ticks: ticks // 10**7),
    st.sampled_from(["s", "ms", "us", "ns"]),
    st.sampled_from([None, "UTC", "Asia/Tokyo", timezone(timedelta(hours=5))]),
)
LIBRARY_SCALARS = st.one_of(
    STAMPS,
    TICKS.map(lambda ticks: pd.Timedelta(ticks, "ns")),
    st.sampled_from([pd.NaT, pd.NA, pd.Period("2026-01", "M"), pd.Interval(0, 1, closed="left")]),
    st.sampled_from(["i1", "u4", "i8", "u8"]).flatmap(
        lambda kind: st.integers(0, 100).map(lambda number: np.dtype(kind).type(number))
    ),
    st.floats(width=32).map(np.float32), st.floats().map(np.float64), st.booleans().map(np.bool_), TICKS.map(
        lambda ticks: np.datetime64(ticks, "ns")
    ), st.sampled_from([np.str_("x"), np.timedelta64(3, "D"), np.datetime64("NaT"), np.bytes_(b"x")]),
)  # fmt: skip
KEYS = st.one_of(TEXT, st.integers(), st.booleans(), st.none(), st.tuples(TEXT, st.integers()), STAMPS)
VALUES = st.recursive(
    st.one_of(SCALARS, LIBRARY_SCALARS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(TEXT, inner, max_size=3),
        st.dictionaries(KEYS, inner, max_size=3),
        st.sets(KEYS, max_size=3),
        st.frozensets(KEYS, max_size=3),
    ),
    max_leaves=8,
)


def same(one: object, other: object) -> bool:
    """Equality of types and values all the way down; NaN equals NaN, and zones count."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float | np.generic | pd.Timestamp) or one is pd.NaT or one is pd.NA:
        return repr(one) == repr(other)
    if isinstance(one, set | frozenset):
        return sorted(map(repr, one)) == sorted(map(repr, other))
    if isinstance(one, Decimal):
        return str(one) == str(other)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return same(list(one), list(other)) and same(list(one.values()), list(other.values()))
    if isinstance(one, datetime):
        return one.replace(tzinfo=None) == other.replace(tzinfo=None) and (one.fold, one.tzinfo) == (
            other.fold,
            other.tzinfo,
        )
    return one == other


@given(VALUES)
@sampled(300)
def test_metadata_comes_back_equal_through_plain_json(value):
    """Any nesting of the types that are allowed; the JSON has no NaN and any reader can parse it."""
    text = json.dumps(metadata.to_json(value), allow_nan=False)
    assert same(metadata.from_json(json.loads(text)), value)


def test_plain_values_stay_plain():
    """Nobody who stores JSON sees a tag."""
    plain = {"a": [1, 2.5, "x", None, True], "b": {"c": {}}}
    assert metadata.to_json(plain) == plain


class OddZone(tzinfo):
    """A zone that no name brings back."""

    def utcoffset(self, when: datetime | None) -> timedelta:
        return timedelta(0)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": {("x", object): 1}}, r"the key .* of metadata\['a'\]\[1\] is a type"),
        ({"a": [0, object()]}, r"metadata\['a'\]\[1\] is a object"),
        ({"a": {1, object}}, r"metadata\['a'\], in which .* is a type"),
        ({"n": np.longdouble(1)}, "is a numpy (longdouble|float128).*Python's own type"),
        ({"n": np.complex128(1)}, "is a numpy complex128"),
        ({"n": np.arange(2)}, "is a ndarray"),
        ({"s": pd.Series([1])}, "is a Series"),
        ({"t": pd.Timestamp("2020", tz=OddZone())}, "time zone"),
        ("\ud800", "not valid Unicode"),
        ({"\ud800": 1}, "not valid Unicode"),
        (datetime(2020, 1, 1, tzinfo=OddZone()), "time zone"),
        (time(1, tzinfo=UTC), "is a time"),
        (type("Text", (str,), {})("x"), "is a Text"),
    ],
)
def test_what_could_not_come_back_is_refused_with_its_place(value, message):
    """At write time, naming where and what to do."""
    with pytest.raises(InvalidInput, match=message):
        metadata.to_json(value)


@pytest.mark.parametrize("damaged", [{"$what": 1}, {"$float": {}}, {"$date": "x"}, {"$bytes": "%"}, {"$datetime": "x"}])
def test_json_that_was_never_written_is_an_error(damaged):
    """Which the reader of the document maps to Integrity."""
    with pytest.raises((ValueError, KeyError, TypeError)):
        metadata.from_json(damaged)


def test_special_floats_and_subtle_types_keep_their_type():
    """A few by hand, so that the property test's comparison is not trusted alone."""
    value = [math.nan, -math.inf, -0.0, True, 1, date(2020, 1, 1), datetime(2020, 1, 1), (), [], {}, Decimal("1.10")]
    found = metadata.from_json(json.loads(json.dumps(metadata.to_json(value))))
    assert [type(item) for item in found] == [type(item) for item in value]
    assert repr(found) == repr(value)


def test_what_the_first_release_knew_names_no_feature():
    """A tag is one by its place: text that looks like it is none."""
    for value in (None, {"a": [1, (2,), {"$set": 1}]}, {"$dict": {"$items": []}}, datetime(2020, 1, 1)):
        assert not metadata.has_later_tags(metadata.to_json(value))
    for value in (
        {1: 2},
        {"a": [{"b": {3}}]},
        {"$x": frozenset()},
        pd.NaT,
        (np.int8(1),),
        {"$dict": {"$items": {1: 2}}},
    ):
        assert metadata.has_later_tags(metadata.to_json(value))


def test_equal_sets_are_equal_json():
    """Whatever order they were filled in."""
    names = [f"n{number}" for number in range(50)]
    other = set()
    for name in reversed(names):
        other.add(name)
    assert metadata.to_json(set(names)) == metadata.to_json(other)
