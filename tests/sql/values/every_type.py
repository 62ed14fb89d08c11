"""Columns of every type that DuckDB has, with values up to the extremes, and nested in each other."""

from __future__ import annotations

import duckdb

IS_2 = not duckdb.__version__.startswith("1.")

#: values of each type, as what is cast to it
VALUES = {
    "BOOLEAN": ["true", "false"],
    "TINYINT": ["-128", "127"],
    "SMALLINT": ["-32768", "32767"],
    "INTEGER": ["-2147483648", "2147483647"],
    "BIGINT": ["'-9223372036854775808'", "9223372036854775807"],
    "HUGEINT": [f"'{2**127 - 1}'", f"'{1 - 2**127}'", f"'{10**38}'", "-7"],
    "UTINYINT": ["0", "255"],
    "USMALLINT": ["65535"],
    "UINTEGER": ["4294967295"],
    "UBIGINT": ["'18446744073709551615'", "0"],
    "UHUGEINT": [f"'{2**128 - 1}'", f"'{2**127}'", "9"],
    "FLOAT": ["1.5", "'nan'", "'-inf'"],
    "DOUBLE": ["-0.0", "1.7976931348623157e308", "'nan'", "'inf'"],
    "DECIMAL(4,1)": ["-999.9", "0.1"],
    "DECIMAL(38,10)": ["'9999999999999999999999999999.9999999999'", "-0.5"],
    "VARCHAR": ["''", "'NULL'", "'a''b\"c'", "'Straße 🦆'"],
    "BLOB": ["''", r"'\x00\xFF'"],
    "BIT": ["'0'", "'101'", "'0001010110101'"],
    "BIGNUM": ["'0'", f"'{10**60}'", f"'-{10**60 + 1}'"],
    "DATE": ["'2024-02-29'", "'0044-03-15 (BC)'", "'290000-01-01'", "'infinity'", "'-infinity'"],
    "TIME": ["'00:00:00'", "'23:59:59.999999'", "'24:00:00'"],
    "TIME_NS": ["'12:34:56.123456789'", "'00:00:00.000000001'", "'24:00:00'"],
    "TIME WITH TIME ZONE": ["'12:34:56.789123+01:30:15'", "'00:00:00-15:59:59'", "'23:59:59+00'", "'24:00:00+15:59'"],
    "TIMESTAMP": [
        "'2024-02-29 12:00:00.000001'",
        "'0044-03-15 (BC) 10:00:00.5'",
        "'290000-01-01 00:00:01'",
        "'infinity'",
    ],
    "TIMESTAMP_S": ["'2024-02-29 12:00:01'", "'-infinity'"],
    "TIMESTAMP_MS": ["'1969-12-31 23:59:59.999'", "'infinity'"],
    "TIMESTAMP_NS": ["'2024-02-29 12:00:00.123456789'", "'1969-12-31 23:59:59.999999999'", "'infinity'"],
    "TIMESTAMP WITH TIME ZONE": ["'2024-02-29 12:00:00.000001+02'", "'1700-01-01 00:00:00+00'"],
    "INTERVAL": [
        "'14 months 3 days 04:05:06.789'",
        "'-1 month 3 days -00:00:00.000001'",
        "'0 days'",
        "to_hours(3000000)",
        "to_microseconds(9223372036854775807)",
    ],
    "UUID": ["'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'", "uuid()"],
    "JSON": ["'{\"a\": [1, null]}'", "'\"text\"'", "'  1e2 '"],
    "ENUM('sad', 'it''s ok', 'a')": ["'sad'", "'it''s ok'", "'a'"],
    "GEOMETRY": ["'POINT (1 2)'", "'LINESTRING (0 0, 1.5 2)'"],
}
#: what DuckDB's own Python client cannot give without pytz
ZONED = ("TIMESTAMP WITH TIME ZONE",)
#: whose values DuckDB has no map keys of, or does not take for what it compares
NO_KEYS = ("GEOMETRY", "BIGNUM", "JSON")


def cast(value: str, kind: str) -> str:
    return f"CAST({value} AS {kind})"


def nested(kind: str) -> dict[str, list[str]]:
    """Return types with ``kind`` in them, and values of each."""
    items = [cast(value, kind) for value in VALUES[kind]]
    found = {
        f"{kind}[]": ["[]", f"[{', '.join(items)}, NULL]", f"[{items[0]}]"],
        f"{kind}[2]": [f"[{items[0]}, NULL]", f"[{items[-1]}, {items[0]}]"],
        f'STRUCT(a {kind}, "b c" INTEGER)': [f"{{'a': {items[0]}, 'b c': 1}}", "{'a': NULL, 'b c': NULL}"],
        f"MAP(VARCHAR, {kind})": ["MAP {}", f"MAP {{'x': {items[0]}, 'y': NULL}}"],
        f"UNION(m {kind}, n INTEGER)": [
            f"union_value(m := {items[0]})",
            "union_value(n := 1)",
            "union_value(n := NULL)",
        ],
        f"STRUCT(l {kind}[])[]": [f"[{{'l': [{items[-1]}]}}, NULL, {{'l': NULL}}]"],
    }
    if kind not in NO_KEYS:
        found[f"MAP({kind}, INTEGER)"] = [f"MAP {{{items[0]}: 1}}"]
    return found


def columns(*, is_nested: bool = True) -> dict[str, list[str]]:
    """Return every type, with its values as expressions of that type."""
    found = {kind: [cast(value, kind) for value in values] for kind, values in VALUES.items()}
    if is_nested:
        for kind in VALUES:
            found |= {outer: [cast(value, outer) for value in values] for outer, values in nested(kind).items()}
    return found


def rows(kind: str, values: list[str]) -> str:
    """Return the query for a column ``x`` with these values and NULL, numbered by ``n``."""
    parts = [f"SELECT {at} AS n, {value} AS x" for at, value in enumerate([*values, cast("NULL", kind)])]
    return " UNION ALL ".join(parts)


def holds(kind: str, names: tuple[str, ...]) -> bool:
    return any(name in kind for name in names)
