"""Values that are not tables: JSON, dicts and lists that contain tables (nested), and pickles.

What ``encode`` accepts comes back equal, with the types of its dicts, lists, tuples and scalars; anything else is
refused, naming its place. Nothing is pickled or unpickled unless it was asked for.

JSON is tagged as in ``format.stored.metadata``, and as in ``format.stored.labels`` for scalars of pandas and numpy.
In the tree of a nested value ``{"$leaf": 2}`` is the third table; one that occurs several times is stored
once.
"""

from __future__ import annotations

import json
import pickle
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from duckvstore.errors import Integrity, InvalidInput, Unsupported
from duckvstore.format.codecs import tables
from duckvstore.format.rows.value_rows import Encoded, Nested
from duckvstore.format.stored import metadata
from duckvstore.format.stored import schema as schemas
from duckvstore.format.stored.documents import schema_from_json, schema_to_json
from duckvstore.formatting import shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from duckvstore.format.stored.documents import Schema

JSON_NAME = "value"
PICKLE_NAME = "pickle"
PICKLE_PROTOCOL = 5  # the same in every supported Python
DEPTH_MAX = 100  # a tuple takes two levels of JSON, and Python's stack is 1,000 calls deep
INTEGER_BITS_MAX = 14_000  # Python refuses to read more than 4,300 digits
VALUE_BYTES_MAX = 2**31 - 2**20  # a page of Parquet, which holds at least one value, ends below 2 GiB
TREE_BYTES_MAX = 64 * 2**10  # a larger tree is a segment, to keep documents small
TREE_KIND = "tree"
PLACES_SHOWN_MAX = 5

_TAGGED_SCALARS = (datetime, date, timedelta, Decimal, bytes)
_PLAIN_TYPES = (dict, list, tuple, str, int, float, bytes)
_ACCEPTED = (
    "give a pandas, polars or Arrow table, a Series, a numpy array, or dicts with text keys, lists and tuples of these "
    "and of text, numbers, booleans, None, dates, times without a zone, timedeltas, Decimals and bytes; or pass "
    "allow_pickle=True"
)


def encode(value: object, where: str) -> Encoded | Nested:
    """Return a value that is not a table as JSON, or taken apart when there are tables in it.

    ``where`` names the value in errors, as in ``values.encode``. Raises InvalidInput or Unsupported naming the place
    of what would not come back equal.
    """
    if value is None:
        raise InvalidInput(
            f"{where} is None, which many calls that work in place return: give the value itself, or use delete() to "
            "say that there is none"
        )
    nested = take_apart(value, where)
    text = json.dumps(nested.tree, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    if not nested.leaves:
        return _text_rows("json", text, where)
    if len(text.encode()) <= TREE_BYTES_MAX:
        return nested
    return Nested(None, [*nested.leaves, ("", _text_rows(TREE_KIND, text, where))])


def take_apart(value: object, where: str) -> Nested:
    """Return the tree of ``value`` and its tables with their places, such as ``['prices'][0]``."""
    walk = _Walk(where)
    return Nested(walk.visit(value), walk.leaves)


def put_together(value: dict[str, Any], leaf_values: Sequence[Any]) -> Any:
    """Return the nested value whose schema has ``value``, of its leaves as ``decode_leaf`` gave them.

    Raises Integrity when the tree is damaged, and Unsupported for a time zone that this machine does not know.
    """
    tree = value["tree"]
    return _restore(leaf_values[-1] if tree is None else tree, leaf_values)


def decode_json(table: pa.Table) -> Any:
    """Return the value of a table of JSON. Raises as ``put_together`` does, and InvalidInput for a part of it."""
    return _restore(_load_text(table), ())


def decode_leaf(table: pa.Table, kind: str, schema: Schema, row_count: int) -> Any:
    """Return one leaf of a nested value, for ``put_together``."""
    if kind == TREE_KIND:
        return _load_text(table)
    if kind in ("json", "pickle"):  # which no writer makes
        return decode_json(table) if kind == "json" else decode_pickle(table, allow_pickle=False)
    return tables.decode(table, kind, schema, rows=range(row_count))


def encode_pickle(value: object, where: str) -> Encoded:
    """Return ``value`` pickled, after loading it once: not everything that can be pickled can be loaded.

    Raises InvalidInput when it cannot be pickled and loaded, or takes 2 GiB or more.
    """
    try:
        data = pickle.dumps(value, PICKLE_PROTOCOL)
        pickle.loads(data)  # noqa: S301 - these are the caller's own objects
    except Exception as error:  # whatever the classes of the objects raise
        raise InvalidInput(
            f"{where} cannot be pickled ({type(error).__name__}: {error}): store what it consists of, as tables, dicts "
            "and lists"
        ) from error
    _check_size(len(data), "pickle", where)
    return _one_row("pickle", PICKLE_NAME, pa.array([data], pa.large_binary()))


def decode_pickle(table: pa.Table, *, allow_pickle: bool) -> Any:
    """Return the object of a pickle. Reading a pickle RUNS CODE chosen by its author.

    Raises InvalidInput unless ``allow_pickle``, and Unsupported when the object's classes are not here.
    """
    if not allow_pickle:
        raise InvalidInput(
            "the value is a pickle, and reading one runs code that its writer chose: pass allow_pickle=True if you "
            "trust everyone who can write to this library"
        )
    data = _only_value(table, PICKLE_NAME).as_buffer()
    try:
        return pickle.loads(data)  # noqa: S301 - asked for, see above
    except Exception as error:  # whatever the classes of the objects raise
        raise Unsupported(
            f"the pickle cannot be loaded here ({type(error).__name__}: {error}): install or define what its writer "
            "used, in the same release"
        ) from error


def refuse_parts(kind: str, value: dict[str, Any], place: str, /, **options: object) -> None:
    """Raise InvalidInput when ``options`` (keyword arguments of a read) ask for a part of a value that has none.

    ``value`` is that of the schema; ``place`` names the value in errors. Tables pass, and so does ``output_format`` of
    what is one row in SQL.
    """
    if kind not in ("json", "nested", "pickle"):
        return
    for name, option in options.items():
        if option is None or (name == "output_format" and kind != "nested"):
            continue
        parts = f" with tables at {leaf_places(value)}" if kind == "nested" else ""
        raise InvalidInput(f"{name}= cannot be used on {place}, a {kind} value{parts}: read it whole, in Python")


def leaf_places(value: dict[str, Any]) -> str:
    """Return where the tables of a nested value are, for messages: ``['a'], ['b'][0]``; ``value`` is the schema's."""
    places = [leaf["place"] for leaf in value["leaves"] if leaf["kind"] != TREE_KIND]
    more = f" and {len(places) - PLACES_SHOWN_MAX} more places" if len(places) > PLACES_SHOWN_MAX else ""
    return ", ".join(places[:PLACES_SHOWN_MAX]) + more


def leaf_to_json(place: str, leaf: Encoded, segment_count: int, row_count: int) -> dict[str, Any]:
    """Return what the document of a nested value says of one leaf."""
    return {
        "place": place,
        "kind": leaf.kind,
        "schema": schema_to_json(leaf.schema),
        "segment_count": segment_count,
        "row_count": row_count,
    }


def leaf_schema(leaf: dict[str, Any]) -> Schema:
    """Return the schema in what ``leaf_to_json`` made."""
    return schema_from_json(leaf["schema"])


class _Walk:
    """One walk through a value, which collects its tree and its tables."""

    def __init__(self, where: str) -> None:
        self.leaves: list[tuple[str, Encoded]] = []
        self._where = where
        self._path: list[str | int] = []
        self._positions: dict[int, int] = {}

    def visit(self, value: Any) -> Any:
        """Return the tree of ``value``, which is at ``_path``."""
        kind = type(value)
        if kind is list:
            return self._items(value)
        if kind is tuple:
            return {"$tuple": self._items(value)}
        if kind is dict:
            return self._dict(value)
        if kind is int and value.bit_length() > INTEGER_BITS_MAX:
            raise InvalidInput(f"{self._place()} is a whole number of more than 4,200 digits: store it as text")
        if value is None or kind in (bool, int, float, str) or _is_tagged(value):
            try:
                return metadata.to_json(value)
            except InvalidInput:
                return metadata.to_json(value, where=self._place())  # raises again; places cost too much to make always
        if tables.is_table(value):
            return {"$leaf": self._leaf(value)}
        return self._label(value)

    def _items(self, items: Sequence[Any]) -> list[Any]:
        found = []
        for position, item in enumerate(items):
            self._enter(position)
            found.append(self.visit(item))
            self._path.pop()
        return found

    def _dict(self, items: dict[Any, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        is_tag = False
        for key, item in items.items():
            if type(key) is not str:
                raise InvalidInput(
                    f"{self._place()} has the key {_short(key)} of type {type(key).__name__}; keys must be text: "
                    "convert it with str(), or pass allow_pickle=True"
                )
            self._enter(key)
            if not key.isascii():
                self.visit(key)
            is_tag = is_tag or key.startswith("$")
            found[key] = self.visit(item)
            self._path.pop()
        return {"$dict": found} if is_tag else found

    def _enter(self, step: str | int) -> None:
        self._path.append(step)
        if len(self._path) > DEPTH_MAX:
            raise InvalidInput(
                f"{self._place()} is deeper than {DEPTH_MAX} levels of dicts and lists, or the value holds itself: "
                "flatten it, or pass allow_pickle=True"
            )

    def _leaf(self, value: Any) -> int:
        position = self._positions.get(id(value))
        if position is None:  # the value keeps its parts alive, so that an id stays theirs
            position = self._positions[id(value)] = len(self.leaves)
            self.leaves.append((self._steps(), tables.encode_table(value, self._place())))
        return position

    def _label(self, value: Any) -> Any:
        """Return a scalar of pandas or numpy, after taking it back; raises InvalidInput for everything else."""
        if type(value).__module__.partition(".")[0] not in ("numpy", "pandas"):
            raise self._refusal(value)
        from duckvstore.format.stored import labels

        try:
            body = labels.scalar_to_json(value, where=self._place())
        except InvalidInput as error:
            raise self._refusal(value) from error
        if body is None:
            raise self._refusal(value)
        return body

    def _refusal(self, value: Any) -> InvalidInput:
        kind = type(value)
        name = f"{kind.__module__}.{kind.__qualname__}"
        for plain in _PLAIN_TYPES:
            if isinstance(value, plain):
                return InvalidInput(
                    f"{self._place()} is a {name}, which would come back as a plain {plain.__name__}: convert it with "
                    f"{plain.__name__}(), or pass allow_pickle=True"
                )
        return InvalidInput(f"{self._place()} is a {name}, which could not come back equal: {_ACCEPTED}")

    def _place(self) -> str:
        return self._where + self._steps()

    def _steps(self) -> str:
        steps = [f"[{_short(step)}]" for step in self._path]
        return "".join(steps if len(steps) <= 12 else [*steps[:6], "…", *steps[-3:]])


def _is_tagged(value: Any) -> bool:
    """Whether ``metadata`` has a tag for scalars of this type."""
    kind = type(value)
    return kind in _TAGGED_SCALARS or (kind is time and value.tzinfo is None and not value.fold)


def _short(value: object) -> str:
    return shortened(repr(value), 60)


def _text_rows(kind: str, text: str, where: str) -> Encoded:
    _check_size(len(text.encode()), "JSON", where)
    return _one_row(kind, JSON_NAME, pa.array([text], pa.large_string()))


def _one_row(kind: str, name: str, array: pa.Array) -> Encoded:
    schema = schemas.from_arrow(pa.schema([pa.field(name, array.type)]))
    return Encoded(kind, schema, pa.Table.from_arrays([array], schema=schemas.to_arrow(schema)), None)


def _check_size(size_bytes: int, form: str, where: str) -> None:
    if size_bytes > VALUE_BYTES_MAX:
        raise InvalidInput(
            f"{where} takes {size_bytes:,} bytes as {form}, more than the {VALUE_BYTES_MAX:,} that one value may take: "
            "store its parts under symbols of their own, and numbers as arrays"
        )


def _only_value(table: pa.Table, name: str) -> Any:
    if table.num_rows != 1:
        raise InvalidInput(f"there is no part of {table.num_rows} rows of a value that is no table: read it whole")
    return table.column(name)[0]


def _load_text(table: pa.Table) -> Any:
    try:
        return json.loads(_only_value(table, JSON_NAME).as_py())
    except (json.JSONDecodeError, RecursionError, TypeError) as error:
        raise _damaged(error) from error


def _restore(tree: Any, leaves: Sequence[Any]) -> Any:
    try:
        return _from_json(tree, leaves)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise _damaged(error) from error


def _damaged(error: Exception) -> Integrity:
    return Integrity(
        f"the stored JSON of the value is damaged ({type(error).__name__}: {error}): restore it from a backup, or read "
        "another version"
    )


def _from_json(tree: Any, leaves: Sequence[Any]) -> Any:
    if isinstance(tree, list):
        return [_from_json(item, leaves) for item in tree]
    if not isinstance(tree, dict):
        return tree
    tag = next(iter(tree), "")
    if tag == "$tuple":
        return tuple(_from_json(item, leaves) for item in tree[tag])
    if tag == "$leaf":
        return leaves[tree[tag]]
    if tag in metadata.LABEL_TAGS:
        from duckvstore.format.stored import labels

        return labels.label_from_json(tree)
    if tag.startswith("$") and tag != "$dict":
        return metadata.from_json(tree)
    items = tree if tag != "$dict" else tree[tag]
    return {key: _from_json(item, leaves) for key, item in items.items()}
