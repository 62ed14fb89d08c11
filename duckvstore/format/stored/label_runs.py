"""Label runs: long lists of labels, kept in objects of their own, which the documents of many versions share.

The categories of a categorical, of an Enum of polars and of an ENUM of DuckDB are part of the schema, and were whole in
every version document. When they are long, a document names *runs* of them instead and has only the last ones itself.

A schema reads the same whether its labels are in it or in runs; a run is immutable, put before the
document that names it is created, and under a key that is never used again.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq
from msgspec import Struct

from duckvstore.errors import Integrity
from duckvstore.format.stored import envelope
from duckvstore.format.stored.envelope import Count
from duckvstore.signals import of_handler

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Change: TypeAlias = "Callable[[Any], Any]"

#: what a document has itself of one list, as JSON; more becomes a run
INLINE_BYTES_MAX = 16_384
#: a list of this many runs is merged into one again
RUNS_MAX = 64
_ITEM = "item"
_RUNS, _REST = "$runs", "rest"
_LABELLED = ("dtypes", "dtypes_polars", "index")
_LISTS = ("strings", "integers", "objects", "ipc", "codes")
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
#: types whose equal values are equal in JSON
_PLAIN = {str, int}


@dataclass(frozen=True, slots=True)
class LabelRun:
    """Consecutive labels of a list in an object of its own, as a document names it.

    ``key`` is relative to the library's root; ``sha256`` is of the labels as a JSON array without spaces. ``items``:
    the labels as JSON, once they were read.
    """

    key: str
    count: int
    sha256: str
    items: list[Any] = field(default_factory=list, compare=False, repr=False)


class LabelRunLists(Struct):
    """Runs of labels in a document: an item of each list is of one run."""

    key: list[str]
    count: list[Count]
    sha256: list[str]

    def __post_init__(self) -> None:
        """Raise ValueError for a key that is not one of a run."""
        envelope.check_keys(self.key, "manifest")


def digest(items: list[Any]) -> str:
    """Return the sha256 of labels, by which they are found again and checked."""
    return hashlib.sha256(_text(items)).hexdigest()


def encode(items: list[Any]) -> bytes:
    """Return a run as a Parquet object: one column of text, each label as JSON."""
    sink = pa.BufferOutputStream()
    table = pa.table({_ITEM: pa.array(map(_JSON.encode, items), pa.large_string())})
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return bytes(sink.getvalue().to_pybytes())


def decode(data: bytes, run: LabelRun) -> list[Any]:
    """Return the labels in the bytes of ``run``. Raises Integrity when they are not what was written."""
    try:
        texts = pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False).column(_ITEM).to_pylist()
        found: list[Any] = json.loads(whole := "[" + ",".join(texts) + "]")
        is_same = hashlib.sha256(whole.encode()).hexdigest() == run.sha256 or digest(found) == run.sha256
    except (pa.ArrowException, KeyError, TypeError, ValueError, RecursionError) as error:
        raise of_handler(error) or Integrity(
            f"the labels in {run.key} cannot be read ({error}): read another version"
        ) from error
    if len(found) != run.count or not is_same:
        raise Integrity(f"the labels in {run.key} are damaged: restore it from a backup, or read another version")
    return found


def folded(
    schema: dict[str, Any], runs: Sequence[LabelRun], put: Callable[[list[Any]], LabelRun] | None = None
) -> tuple[dict[str, Any], list[LabelRun]]:
    """Return the JSON of a schema with its long lists in runs, and the runs that it names.

    Of ``runs`` those are taken that a list begins with; ``put`` stores what is left of a list, if that is long (None:
    the rest stays in the schema).
    """
    known = _Known(runs)
    named: dict[LabelRun, int] = {}  # the place of each

    def fold(value: Any) -> Any:
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, list) or not _is_long(items):
            return value
        taken = known.beginning(items)
        start = sum(run.count for run in taken)
        if put is not None and start < len(items) and _is_long(items[start:]):
            if len(taken) >= RUNS_MAX:
                taken, start = [], 0
            taken.append(put(items[start:]))
            known.add(taken[-1])
            start = len(items)
        if not taken:
            return value
        rest = items[start:] if isinstance(value, list) else ""
        return {_RUNS: [named.setdefault(run, len(named)) for run in taken], _REST: rest}

    return _changed_schema(schema, fold), list(named)


def unfolded(schema: dict[str, Any], runs: Sequence[LabelRun]) -> dict[str, Any]:
    """Return the JSON of a schema with all of its labels, of which ``runs`` have theirs.

    Raises ValueError, TypeError and KeyError when it names what does not exist.
    """

    def unfold(value: Any) -> Any:
        if not isinstance(value, dict) or _RUNS not in value:
            return value
        places, rest = value[_RUNS], value[_REST]
        if not isinstance(places, list) or set(map(type, places)) != {int} or len(set(places)) < len(places):
            raise ValueError("a list of labels names the same run twice, or none")
        if min(places) < 0 or max(places) >= len(runs):
            raise ValueError(f"a list of labels names run {max(places)} of {len(runs)}")
        if rest == "":
            (place,) = places
            (text,) = runs[place].items
            return text
        if not isinstance(rest, list):
            raise TypeError("what a list of labels has itself must be a list")
        if len(places) == 1 and not rest:
            return runs[places[0]].items  # one list for all who share it: nobody changes a schema in place
        return [item for place in places for item in runs[place].items] + rest

    return _changed_schema(schema, unfold)


class _Known:
    """Runs that lists may begin with, by their first label."""

    def __init__(self, runs: Sequence[LabelRun]) -> None:
        self._by_first: dict[str, list[LabelRun]] = {}
        for run in runs:
            self.add(run)

    def add(self, run: LabelRun) -> None:
        if run.items:
            same = self._by_first.setdefault(_JSON.encode(run.items[0]), [])
            same.append(run)
            same.sort(key=lambda each: -each.count)

    def beginning(self, items: list[Any]) -> list[LabelRun]:
        """Return the runs that ``items`` begin with: at each place the longest that fits, each once."""
        taken: dict[LabelRun, None] = {}
        start = 0
        while start < len(items):
            for run in self._by_first.get(_JSON.encode(items[start]), ()):
                if run not in taken and _stands_at(run, items, start):
                    taken[run] = None
                    start += run.count
                    break
            else:
                break
        return list(taken)


def _stands_at(run: LabelRun, items: list[Any], start: int) -> bool:
    """Return whether the labels of ``run`` are there, as JSON: to Python 1, 1.0 and True are equal."""
    stop = start + run.count
    if stop > len(items) or items[stop - 1] != run.items[-1]:  # most runs are told apart without a copy
        return False
    found = items[start:stop]
    if found != run.items:
        return False
    return {*map(type, found), *map(type, run.items)} <= _PLAIN or digest(found) == run.sha256


def _changed_schema(schema: dict[str, Any], change: Change) -> dict[str, Any]:
    """Return the JSON of a schema with ``change(labels)`` in place of each list of labels that is part of a type."""
    columns = [
        {**column, "duckdb": change(column["duckdb"])} if column.get("duckdb") is not None else column
        for column in schema["columns"]
    ]
    value = schema["value"]
    changed = {name: _changed(body, change) if name in _LABELLED else body for name, body in value.items()}
    if "leaves" in value:
        leaves = [{**leaf, "schema": _changed_schema(leaf["schema"], change)} for leaf in value["leaves"]]
        changed["leaves"] = leaves
    return {**schema, "columns": columns, "value": changed}


def _changed(body: Any, change: Change) -> Any:
    """Change the categories anywhere in what a document says of dtypes and indexes."""
    if isinstance(body, list):
        return [_changed(item, change) if isinstance(item, dict | list) else item for item in body]
    if not isinstance(body, dict):
        return body
    return {name: _CHANGED_BY_NAME.get(name, _changed)(inside, change) for name, inside in body.items()}


def _changed_categories(body: Any, change: Change) -> Any:
    """Change the lists of an index that categories are (``pandas_arrays.index_to_json``)."""
    if not isinstance(body, dict):
        return _changed(body, change)
    found = {name: change(inside) if name in _LISTS else _changed(inside, change) for name, inside in body.items()}
    if isinstance(found.get("levels"), list):  # tuples
        found["levels"] = [_changed_categories(level, change) for level in found["levels"]]
    return found


def _changed_enum(body: Any, change: Change) -> Any:
    """Change the labels of an Enum of polars, which are in a list of one."""
    return [change(inside) for inside in body] if isinstance(body, list) else body


_CHANGED_BY_NAME: dict[str, Callable[[Any, Change], Any]] = {"categories": _changed_categories, "Enum": _changed_enum}


def _is_long(items: list[Any]) -> bool:
    return len(_text(items)) > INLINE_BYTES_MAX


def _text(value: Any) -> bytes:
    return _JSON.encode(value).encode("utf-8")
