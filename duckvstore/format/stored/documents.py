"""Version, snapshot, library and decision documents, and their JSON.

Invariant: ``load(dump(document)) == document`` exactly, and nothing but plain JSON is written, so that any
language can read a document. Readers refuse documents that ask for a feature they do not know.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence  # noqa: TC003 - fields of dataclasses
from dataclasses import dataclass, field, replace
from datetime import datetime  # noqa: TC003 - fields of dataclasses
from typing import Any, TypeAlias

from duckvstore.errors import Integrity, Unsupported
from duckvstore.format.stored import envelope, label_runs, layout
from duckvstore.format.stored import metadata as user_metadata
from duckvstore.format.stored.label_runs import LabelRun
from duckvstore.format.stored.manifests import FoldedSegments, Manifest

LoadLabels: TypeAlias = "Callable[[str, Sequence[LabelRun]], Sequence[list[Any]] | None]"
KINDS = ("dataframe", "series", "ndarray", "arrow", "polars", "json", "nested", "pickle", "deleted")


@dataclass(frozen=True, slots=True)
class Column:
    """A stored column: its name in Parquet and SQL, its Arrow type as text, and its Parquet field id (from 1).

    ``duckdb``: DuckDB's own type where the stored one only carries it: an ENUM is text (``sql.values.kinds`` reads it).
    """

    name: str
    type: str
    id: int
    duckdb: str | None = None


@dataclass(frozen=True, slots=True)
class Schema:
    """What the rows of a version look like.

    ``columns``: stored order, the index levels of pandas first. ``arrow``: base64 of the Arrow IPC schema message.
    ``index``: names of the columns that are index levels. ``value``: what is needed beside the rows to
    give back the value that was written (JSON; ``format.codecs.values`` owns its content). ``mixed``: segments may have
    been written with fewer columns or narrower types; they are read through this schema by field id. ``next_id``:
    the lowest field id that no segment has, where columns were dropped or renamed (None: one more than the highest of
    ``columns``); then segments may have columns that are not in the schema, and others under another name.
    """

    columns: tuple[Column, ...] = ()
    arrow: str = ""
    index: tuple[str, ...] = ()
    value: dict[str, Any] = field(default_factory=dict)
    mixed: bool = False
    next_id: int | None = None
    mixed_nested: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the stored columns, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def markers(self) -> dict[int, int]:
        """The field id of the column that tells missing rows apart (``codecs.markers``), by that of the column."""
        return {int(column): codes for column, codes in self.value.get("markers", {}).items()}

    @property
    def shown(self) -> tuple[Column, ...]:
        """The stored columns but for those that tell missing rows apart: what SQL and descriptions show."""
        if "markers" not in self.value:
            return self.columns
        hidden = set(self.markers.values())
        return tuple(column for column in self.columns if column.id not in hidden)

    @property
    def shown_names(self) -> tuple[str, ...]:
        """Names of the columns that are ``shown``, in order."""
        return tuple(column.name for column in self.shown)


class LostSchema(Schema):
    """The schema of a version whose labels are missing or damaged: Integrity, with ``reason``, for whoever asks for it.

    The version can be pruned, held by a snapshot and written above all the same.
    """

    __slots__ = ("reason",)
    reason: str

    def __init__(self, reason: str) -> None:
        """Have no fields: ``__getattr__`` is asked for them."""
        object.__setattr__(self, "reason", reason)

    def __getattr__(self, name: str) -> Any:
        """Raise Integrity for a field of a schema."""
        if name in Schema.__dataclass_fields__:
            raise Integrity(self.reason)
        raise AttributeError(name)

    __eq__ = object.__eq__
    __hash__ = object.__hash__
    __repr__ = object.__repr__


@dataclass(frozen=True, slots=True)
class ColumnStatistics:
    """Bounds of one column over one segment; None is "not known", and then nothing may be concluded.

    ``minimum`` and ``maximum`` are encoded by ``format.stored.statistics`` (NaN is left out of both).
    """

    minimum: Any = None
    maximum: Any = None
    null_count: int | None = None
    has_nan: bool | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """One Parquet object: ``key`` relative to the library's root; ``statistics`` by field id."""

    key: str
    row_count: int
    size_bytes: int
    sha256: str
    logical_bytes: int
    statistics: dict[int, ColumnStatistics] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """The logical digest of its rows, which the key begins with: equal rows have equal ones."""
        return self.key.rpartition("/")[2].partition("-")[0]


@dataclass(frozen=True, slots=True)
class Version:
    """A version document. ``new_bytes`` of its segments' ``stored_bytes`` were uploaded by this write.

    ``window``: the distance, in rows, that ``format.rows.chunking`` cut them by. ``parts``: ids of the staged parts
    that it was finalised from. ``label_runs``: what the document names instead of long lists of labels in its schema.
    ``where``: the place of the document that this was read from, for errors.
    """

    library_id: str
    symbol: str
    number: int
    write_id: str
    created_at: datetime
    operation: str
    kind: str
    parent: int | None = None
    transaction: str | None = None
    author: str | None = None
    message: str | None = None
    metadata: Any = None
    schema: Schema = field(default_factory=Schema)
    row_count: int = 0
    logical_bytes: int = 0
    stored_bytes: int = 0
    new_bytes: int = 0
    new_rows: int = 0
    is_sorted: bool | None = None
    window: int | None = None
    parts: tuple[str, ...] = ()
    segments: Sequence[Segment] = ()
    label_runs: tuple[LabelRun, ...] = ()
    where: str = field(default="", compare=False)

    @property
    def deleted(self) -> bool:
        """Whether this version says that the symbol has no value."""
        return self.kind == "deleted"

    @property
    def lost(self) -> str | None:
        """What is missing or damaged of its labels, and None where they are there."""
        return self.schema.reason if isinstance(self.schema, LostSchema) else None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A named set of (symbol, version number) pairs."""

    library_id: str
    name: str
    write_id: str
    created_at: datetime
    versions: dict[str, int]
    metadata: Any = None
    author: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Library:
    """A library's own document. ``segments_url``: where segments are, if not with the documents."""

    library_id: str
    name: str
    write_id: str
    created_at: datetime
    segments_url: str | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of a transaction: ``outcome`` is "committed" or "aborted", whichever was created first."""

    transaction: str
    outcome: str
    decided_at: datetime
    versions: dict[str, int] = field(default_factory=dict)


def dump_version(version: Version, schema: dict[str, Any] | None = None) -> bytes:
    """Return the JSON of a version document.

    ``schema``: the JSON of its schema, if there is one already that names all of ``version.label_runs`` in their order.
    """
    runs: Sequence[LabelRun] = version.label_runs
    if schema is None:
        schema, runs = label_runs.folded(schema_to_json(version.schema), runs)
    metadata = user_metadata.to_json(version.metadata)
    return envelope.dump(
        "version",
        {
            "library_id": version.library_id,
            "symbol": version.symbol,
            "version": version.number,
            "write_id": version.write_id,
            "created_at": envelope.time_to_json(version.created_at),
            "operation": version.operation,
            "kind": version.kind,
            "parent": version.parent,
            "transaction": version.transaction,
            "author": version.author,
            "message": version.message,
            "metadata": metadata,
            "schema": schema,
            "row_count": version.row_count,
            "logical_bytes": version.logical_bytes,
            "stored_bytes": version.stored_bytes,
            "new_bytes": version.new_bytes,
            "new_rows": version.new_rows,
            **_order_to_json(version),
            **({"window": version.window} if version.window is not None else {}),
            **({"parts": list(version.parts)} if version.parts else {}),
            **_segments_to_json(version.segments),
            **_label_runs_to_json(runs),
        },
        requires=_features(version, metadata, runs),
    )


def schema_to_json(schema: Schema) -> dict[str, Any]:
    """Return what a version document says of its schema, with all labels."""
    return {
        "columns": list(map(_column_to_json, schema.columns)),
        "arrow": schema.arrow,
        "index": list(schema.index),
        "value": schema.value,
        **({"mixed": True} if schema.mixed else {}),
        **({"mixed_nested": True} if schema.mixed_nested else {}),
        **({"next_id": schema.next_id} if schema.next_id is not None else {}),
    }


def load_version(data: bytes, *, where: str, load_labels: LoadLabels | None = None) -> Version:
    """Return the version document in ``data``; ``where`` (its key) is for errors.

    ``load_labels`` returns the labels of the runs that the document of a library (its id) names, or None where they are
    not to be had: a document of another library, of which nothing but the number counts, then has an empty schema.
    Each field is what it must be; that they agree is for ``format.stored.consistency``.
    Raises Integrity when it is damaged and Unsupported when a newer release wrote it.
    """
    body = envelope.load("version", data, where)
    with envelope.believing("version", where):
        runs = _label_runs_from_json(body)
        labelled = _with_labels(body, runs, load_labels)
        return Version(
            library_id=body.text("library_id"),
            symbol=body.name_of("symbol"),
            number=body.version_number("version"),
            write_id=body.text("write_id"),
            created_at=body.time("created_at"),
            operation=body.text("operation"),
            kind=_kind(body.text("kind"), where),
            parent=None if body["parent"] is None else body.version_number("parent"),
            transaction=None if body["transaction"] is None else body.identity("transaction"),
            author=body.text_or_none("author"),
            message=body.text_or_none("message"),
            metadata=user_metadata.from_json(body["metadata"]),
            schema=Schema() if labelled is None else _schema_with_labels(body, labelled),
            row_count=body.number("row_count"),
            logical_bytes=body.number("logical_bytes"),
            stored_bytes=body.number("stored_bytes"),
            new_bytes=body.number("new_bytes"),
            new_rows=body.number("new_rows"),
            is_sorted=_order_from_json(body),
            window=body.number_or_none("window"),
            parts=tuple(body.items_of("parts", str)) if "parts" in body else (),
            segments=_segments_from_json(body),
            label_runs=tuple(runs if labelled is None else labelled),
            where=where,
        )


def _schema_with_labels(body: envelope.Fields, runs: Sequence[LabelRun]) -> Schema:
    found = body.fields("schema")
    return schema_from_json(envelope.Fields(label_runs.unfolded(found.body, runs), "schema") if runs else found)


def schema_from_json(body: envelope.Fields) -> Schema:
    """Return the schema in a document, or in a leaf of a nested value. Raises TypeError and ValueError."""
    columns = [envelope.Fields(column, "a column") for column in body.items_of("columns", dict)]
    return Schema(
        tuple(map(_column_from_json, columns)),
        body.text("arrow"),
        tuple(body.items_of("index", str)),
        body.fields("value").body,
        body.flag_or_none("mixed") or False,
        body.number_or_none("next_id"),
        body.flag_or_none("mixed_nested") or False,
    )


def _column_from_json(body: envelope.Fields) -> Column:
    own = body.text("duckdb") if "duckdb" in body else None
    return Column(body.text("name"), body.text("type"), body.number("id"), own)


def _order_from_json(body: envelope.Fields) -> bool | None:
    found = body.flag_or_none("is_sorted") if body["is_sorted"] is not None else None
    return found if found is not None else body.flag_or_none("first_level_sorted")


def _column_to_json(column: Column) -> dict[str, Any]:
    own = {"duckdb": column.duckdb} if column.duckdb is not None else {}
    return {"name": column.name, "type": column.type, "id": column.id, **own}


def _features(version: Version, metadata: Any, runs: Sequence[LabelRun]) -> list[str]:
    """Return what a reader of this version must know; ``metadata`` is the user's as JSON, ``runs`` are named."""
    needed = {
        "mixed_schema": version.schema.mixed,
        "mixed_nested": version.schema.mixed_nested,
        "altered_schema": version.schema.next_id is not None,
        "duckdb_types": any(column.duckdb is not None for column in version.schema.columns),
        "manifests": isinstance(version.segments, FoldedSegments),
        "index_column": version.kind in ("arrow", "polars") and bool(version.schema.index),
        "missing_markers": any("markers" in value for value in _values(version.schema.value)),
        "shared_labels": bool(runs),
        "metadata_types": any(map(user_metadata.has_later_tags, (metadata, *_attributes(version.schema.value)))),
    }
    return [feature for feature, is_needed in needed.items() if is_needed]


def _attributes(value: dict[str, Any]) -> list[Any]:
    """Return the attributes of a pandas value, or of those in the leaves of a nested one, as JSON."""
    return [found["attrs"] for found in _values(value) if "attrs" in found]


def _values(value: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what a schema knows of a value, and of those in the leaves of a nested one."""
    return [value, *(leaf["schema"]["value"] for leaf in value.get("leaves", ()))]


def _order_to_json(version: Version) -> dict[str, Any]:
    """Return whether the times of the first index level ascend.

    Of a pandas index that is no DatetimeIndex it stands in a field that an earlier release, which appends to such an
    index without looking at its order, leaves out of what it writes; so it is never there and wrong.
    """
    index = version.schema.value.get("index")
    if version.is_sorted is None or not isinstance(index, dict) or _is_datetime_index(index):
        return {"is_sorted": version.is_sorted}
    return {"is_sorted": None, "first_level_sorted": version.is_sorted}


def _is_datetime_index(index: dict[str, Any]) -> bool:
    """Whether the index in the JSON of a pandas value is a DatetimeIndex."""
    if index.get("multi") or not index.get("columns"):
        return False
    dtype = index["columns"][0]["dtype"]
    return dtype.startswith("datetime64") if isinstance(dtype, str) else dtype.get("type") == "datetimetz"


def _segments_to_json(segments: Sequence[Segment]) -> dict[str, Any]:
    if not isinstance(segments, FoldedSegments):
        return {"segments": _inline_to_json(segments)}
    names = ("key", "position", "segment_count", "row_count", "size_bytes", "logical_bytes", "sha256")
    manifests = {name: [getattr(manifest, name) for manifest in segments.manifests] for name in names}
    return {"manifests": manifests, "segments": _inline_to_json(segments.inline)}


def _segments_from_json(body: envelope.Fields) -> Sequence[Segment]:
    inline = _inline_from_json(body.fields("segments"))
    if body.body.get("manifests") is None:
        return inline
    found = body.fields("manifests")
    names = ("position", "segment_count", "row_count", "size_bytes", "logical_bytes")
    columns = (_keys(found, "manifest"), *(found.items_of(name, int) for name in names), found.items_of("sha256", str))
    return FoldedSegments([Manifest(*values) for values in zip(*columns, strict=True)], inline)


def _label_runs_to_json(runs: Sequence[LabelRun]) -> dict[str, Any]:
    names = ("key", "count", "sha256")
    return {"label_runs": {name: [getattr(run, name) for run in runs] for name in names}} if runs else {}


def _label_runs_from_json(body: envelope.Fields) -> list[LabelRun]:
    if "label_runs" not in body:
        return []
    found = body.fields("label_runs")
    columns = _keys(found, "manifest"), found.items_of("count", int), found.items_of("sha256", str)
    return [LabelRun(*values) for values in zip(*columns, strict=True)]


def _with_labels(body: envelope.Fields, runs: list[LabelRun], load: LoadLabels | None) -> list[LabelRun] | None:
    """Return the runs with their labels, or None where these are not to be had."""
    if not runs:
        return []
    found = load(body.text("library_id"), runs) if load is not None else None
    if found is None:
        return None
    return [replace(run, items=items) for run, items in zip(runs, found, strict=True)]


def _keys(body: envelope.Fields, noun: str) -> list[str]:
    """Return keys of segments or manifests, each of which a layout can have made."""
    keys = body.items_of("key", str)
    for key in keys:
        if not layout.is_named(key, noun):
            raise ValueError(f"{envelope.shown(key)} is no key of a {noun}")
    return keys


def _inline_to_json(segments: Sequence[Segment]) -> dict[str, Any]:
    """Return segments as columns: a list per property, and per statistic of a column."""
    statistics: dict[str, dict[str, list[Any]]] = {}
    ids = sorted({column_id for segment in segments for column_id in segment.statistics})
    for column_id in ids:
        columns = [segment.statistics.get(column_id, ColumnStatistics()) for segment in segments]
        statistics[str(column_id)] = {
            "min": [c.minimum for c in columns],
            "max": [c.maximum for c in columns],
            "nulls": [c.null_count for c in columns],
            "nan": [c.has_nan for c in columns],
        }
    return {
        "key": [s.key for s in segments],
        "rows": [s.row_count for s in segments],
        "bytes": [s.size_bytes for s in segments],
        "sha256": [s.sha256 for s in segments],
        "logical_bytes": [s.logical_bytes for s in segments],
        "statistics": statistics,
    }


def _inline_from_json(body: envelope.Fields) -> tuple[Segment, ...]:
    keys = _keys(body, "segment")
    per_segment: list[dict[int, ColumnStatistics]] = [{} for _ in keys]
    for column_id, lists in body.fields("statistics").body.items():
        named = envelope.Fields(lists, f"statistics of {envelope.shown(column_id)}")
        rows = zip(per_segment, named["min"], named["max"], named["nulls"], named["nan"], strict=True)
        for statistics, minimum, maximum, null_count, has_nan in rows:
            statistics[int(column_id)] = ColumnStatistics(minimum, maximum, null_count, has_nan)
    columns = zip(
        keys,
        body.items_of("rows", int),
        body.items_of("bytes", int),
        body.items_of("sha256", str),
        body.items_of("logical_bytes", int),
        per_segment,
        strict=True,
    )
    return tuple(Segment(*values) for values in columns)


def dump_snapshot(snapshot: Snapshot) -> bytes:
    """Return the JSON of a snapshot document."""
    metadata = user_metadata.to_json(snapshot.metadata)
    return envelope.dump(
        "snapshot",
        {
            "library_id": snapshot.library_id,
            "name": snapshot.name,
            "write_id": snapshot.write_id,
            "created_at": envelope.time_to_json(snapshot.created_at),
            "versions": snapshot.versions,
            "metadata": metadata,
            "author": snapshot.author,
            "message": snapshot.message,
        },
        requires=["metadata_types"] if user_metadata.has_later_tags(metadata) else [],
    )


def load_snapshot(data: bytes, *, where: str) -> Snapshot:
    """Return the snapshot document in ``data``; raises Integrity or Unsupported as ``load_version`` does."""
    body = envelope.load("snapshot", data, where)
    with envelope.believing("snapshot", where):
        return Snapshot(
            library_id=body.text("library_id"),
            name=body.text("name"),
            write_id=body.text("write_id"),
            created_at=body.time("created_at"),
            versions=body.numbers_by_symbol("versions"),
            metadata=user_metadata.from_json(body["metadata"]),
            author=body.text_or_none("author"),
            message=body.text_or_none("message"),
        )


def dump_library(library: Library) -> bytes:
    """Return the JSON of a library document."""
    return envelope.dump(
        "library",
        {
            "library_id": library.library_id,
            "name": library.name,
            "write_id": library.write_id,
            "created_at": envelope.time_to_json(library.created_at),
            **({"segments_url": library.segments_url} if library.segments_url is not None else {}),
        },
        requires=["segments_url"] if library.segments_url is not None else [],
    )


def load_library(data: bytes, *, where: str) -> Library:
    """Return the library document in ``data``; raises Integrity or Unsupported as ``load_version`` does."""
    body = envelope.load("library", data, where)
    with envelope.believing("library", where):
        return Library(
            body.text("library_id"),
            body.text("name"),
            body.text("write_id"),
            body.time("created_at"),
            body.text_or_none("segments_url") if "segments_url" in body else None,
        )


def dump_decision(decision: Decision) -> bytes:
    """Return the JSON of a transaction's decision."""
    return envelope.dump(
        "decision",
        {
            "transaction": decision.transaction,
            "outcome": decision.outcome,
            "decided_at": envelope.time_to_json(decision.decided_at),
            "versions": decision.versions,
        },
    )


def load_decision(data: bytes, *, where: str) -> Decision:
    """Return the decision in ``data``; raises Integrity or Unsupported as ``load_version`` does."""
    body = envelope.load("decision", data, where)
    with envelope.believing("decision", where):
        outcome = {"committed": "committed", "aborted": "aborted"}[body.text("outcome")]
        return Decision(
            body.identity("transaction"), outcome, body.time("decided_at"), body.numbers_by_symbol("versions")
        )


def _kind(kind: str, where: str) -> str:
    if kind not in KINDS:
        raise Unsupported(f"{where} holds a value of kind {kind!r}; this release knows {KINDS}: upgrade duckvstore")
    return kind
