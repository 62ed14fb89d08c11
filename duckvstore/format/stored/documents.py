"""Version, snapshot, library and decision documents, and their JSON.

``load(dump(document)) == document`` exactly, and nothing but plain JSON is written, so that any
language can read a document. Readers refuse documents that ask for a feature they do not know.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence  # noqa: TC003 - fields of dataclasses
from dataclasses import dataclass, field, replace
from datetime import datetime  # noqa: TC003 - fields of dataclasses
from itertools import pairwise
from typing import Any, ClassVar, Literal, Self, TypeAlias

import msgspec
from msgspec import UNSET, Struct, UnsetType

from duckvstore.errors import Integrity, Unsupported
from duckvstore.format.stored import envelope, label_runs, layout, segments, snapshot_files
from duckvstore.format.stored import metadata as user_metadata
from duckvstore.format.stored.envelope import Count, Document, Identity, Time, VersionNumber
from duckvstore.format.stored.label_runs import LabelRun, LabelRunLists
from duckvstore.format.stored.manifests import FoldedSegments, Manifest, ManifestLists
from duckvstore.format.stored.segments import Segment, SegmentLists
from duckvstore.format.stored.snapshot_files import SnapshotFile

LoadLabels: TypeAlias = "Callable[[str, Sequence[LabelRun]], Sequence[list[Any]] | None]"
KINDS = ("dataframe", "series", "ndarray", "arrow", "polars", "json", "nested", "pickle", "deleted")


class Column(Struct, frozen=True, omit_defaults=True):
    """A stored column: its name in Parquet and SQL, its Arrow type as text, and its Parquet field id (from 1).

    ``duckdb``: DuckDB's own type where the stored one only carries it: an ENUM is text (``sql.values.kinds`` reads it).
    """

    name: str
    type: str
    id: Count
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
    """The schema of a version whose labels are missing or damaged: raises Integrity, with ``reason``, on use.

    The version can still be pruned, held by a snapshot and followed by new versions.
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
class Version:
    """A version document. ``new_bytes`` of its segments' ``stored_bytes`` were uploaded by this write.

    ``window``: the distance, in rows, that ``format.rows.chunking`` cut them by. ``parts``: ids of the staged parts
    that it was finalised from. ``label_runs``: what the document names instead of long lists of labels in its schema.
    ``where``: the place of the document that this was read from, for errors. ``document_bytes``: its size.
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
    document_bytes: int = field(default=0, compare=False)

    @property
    def deleted(self) -> bool:
        """Whether this version says that the symbol has no value."""
        return self.kind == "deleted"

    @property
    def lost(self) -> str | None:
        """What is missing or damaged of its labels, and None where they are there."""
        return self.schema.reason if isinstance(self.schema, LostSchema) else None


def memory_bytes(version: Version | None) -> int:
    """Estimate what a version takes in memory: up to four times its document (measured), and a place for each label."""
    if version is None:
        return 500
    return 500 + 4 * version.document_bytes + 16 * sum(run.count for run in version.label_runs)


class Snapshot(Document, frozen=True):
    """A named set of (symbol, version number) pairs: ``versions``, or where these are many, what ``files`` hold."""

    noun: ClassVar[str] = "snapshot"

    library_id: str
    name: str
    write_id: str
    created_at: Time
    versions: dict[str, VersionNumber]
    metadata: Any
    author: str | None
    message: str | None
    files: tuple[SnapshotFile, ...] = ()

    def __post_init__(self) -> None:
        """Raise ValueError for a name that no symbol may have, and for files that are not this snapshot's, in order."""
        for symbol in self.versions:
            envelope.check_name("versions", symbol)
        folder = f"snapshot_files/{layout.escape(self.name, noun='snapshot')}/" if self.files else ""
        for file in self.files:
            if self.versions or not file.key.startswith(folder):
                raise ValueError(f"it names {envelope.shown(file.key)}, which is no file of this snapshot")
        if not all(one.first < other.first for one, other in pairwise(self.files)):
            raise ValueError("its files are not in the order of their symbols")

    @property
    def count(self) -> int:
        """How many symbols it holds."""
        return len(self.versions) + sum(file.rows for file in self.files)

    def dump(self, features: Sequence[str] = ()) -> bytes:
        """Return the JSON of a snapshot document."""
        metadata = user_metadata.to_json(self.metadata)
        needed = ["metadata_types"] if user_metadata.has_later_tags(metadata) else [*features]
        needed += [snapshot_files.FEATURE] if self.files else []
        return Document.dump(msgspec.structs.replace(self, metadata=metadata), needed)

    @classmethod
    def load(cls, data: bytes, *, where: str) -> Self:
        """Return the snapshot in ``data``. Raises Integrity and Unsupported."""
        found = super().load(data, where=where)
        with envelope.believing(cls.noun, where):
            return msgspec.structs.replace(found, metadata=user_metadata.from_json(found.metadata))


class Library(Document, frozen=True):
    """A library's own document. ``segments_url``: where segments are, if not with the documents."""

    noun: ClassVar[str] = "library"

    library_id: str
    name: str
    write_id: str
    created_at: Time
    segments_url: str | None = None

    def dump(self, features: Sequence[str] = ()) -> bytes:
        """Return the JSON of a library document."""
        return Document.dump(self, features if self.segments_url is None else ["segments_url"])


class Decision(Document, frozen=True):
    """What became of a transaction: ``outcome`` is whichever was created first."""

    noun: ClassVar[str] = "decision"

    transaction: Identity
    outcome: Literal["committed", "aborted"]
    decided_at: Time
    versions: dict[str, VersionNumber]

    def __post_init__(self) -> None:
        """Raise ValueError for a name that no symbol may have."""
        for symbol in self.versions:
            envelope.check_name("versions", symbol)


class _VersionFields(Document, frozen=True, kw_only=True, rename={"number": "version"}):
    """A version as its document has it: ``metadata`` and ``schema`` are JSON, which may name runs of labels."""

    noun: ClassVar[str] = "version"

    library_id: str
    symbol: str
    number: VersionNumber
    write_id: str
    created_at: Time
    operation: str
    kind: str
    parent: VersionNumber | None
    transaction: Identity | None
    author: str | None
    message: str | None
    metadata: Any
    schema: dict[str, Any]
    row_count: Count
    logical_bytes: Count
    stored_bytes: Count
    new_bytes: Count
    new_rows: Count
    is_sorted: bool | None
    first_level_sorted: bool | None = None
    window: Count | None = None
    parts: tuple[str, ...] = ()
    manifests: ManifestLists | UnsetType = UNSET
    segments: SegmentLists
    label_runs: LabelRunLists | UnsetType = UNSET

    def __post_init__(self) -> None:
        """Raise ValueError for a name that no symbol may have."""
        envelope.check_name("symbol", self.symbol)


class _Keys(Struct):
    key: list[str]


class Named(Document, frozen=True, kw_only=True, rename={"number": "version", "manifest_lists": "manifests"}):
    """What a version document names, in a tenth of the time; what else it says was checked when it was folded."""

    noun: ClassVar[str] = "version"

    library_id: str
    symbol: str
    number: VersionNumber
    write_id: str
    created_at: Time
    parent: VersionNumber | None
    transaction: Identity | None
    manifest_lists: ManifestLists | UnsetType = UNSET
    segments: _Keys
    label_runs: _Keys | UnsetType = UNSET

    @property
    def manifests(self) -> tuple[Manifest, ...]:
        """The manifests that it names."""
        lists = self.manifest_lists
        return () if lists is UNSET else tuple(Manifest(*row) for row in envelope.rows_of(lists))

    @property
    def keys(self) -> list[str]:
        """The keys of the segments and label runs that it names itself."""
        return self.segments.key + ([] if self.label_runs is UNSET else self.label_runs.key)


_SAME = tuple(  # what a version and its document have alike
    name
    for name in _VersionFields.__struct_fields__
    if name not in ("metadata", "schema", "is_sorted", "first_level_sorted", "manifests", "segments", "label_runs")
)


class _SchemaFields(Struct):
    """A schema as a document has it, with its labels."""

    columns: tuple[Column, ...]
    arrow: str
    index: tuple[str, ...]
    value: dict[str, Any]
    mixed: bool | None = None
    mixed_nested: bool | None = None
    next_id: Count | None = None


envelope.work_out(Snapshot, Library, Decision, Named, _VersionFields, _SchemaFields)


def dump_version(version: Version, schema: dict[str, Any] | None = None) -> bytes:
    """Return the JSON of a version document.

    ``schema``: the JSON of its schema, if there is one already that names all of ``version.label_runs`` in their order.
    """
    runs: Sequence[LabelRun] = version.label_runs
    if schema is None:
        schema, runs = label_runs.folded(schema_to_json(version.schema), runs)
    metadata = user_metadata.to_json(version.metadata)
    folded = version.segments if isinstance(version.segments, FoldedSegments) else None
    is_elsewhere = version.is_sorted is not None and _has_other_index(version.schema)
    document = _VersionFields(
        **{name: getattr(version, name) for name in _SAME},
        metadata=metadata,
        schema=schema,
        is_sorted=None if is_elsewhere else version.is_sorted,
        first_level_sorted=version.is_sorted if is_elsewhere else None,
        manifests=UNSET if folded is None else envelope.lists_of(ManifestLists, folded.manifests),
        segments=segments.to_lists(version.segments if folded is None else folded.inline),
        label_runs=envelope.lists_of(LabelRunLists, runs) if runs else UNSET,
    )
    return document.dump(_features(version, metadata, runs))


def load_version(data: bytes, *, where: str, load_labels: LoadLabels | None = None) -> Version:
    """Return the version document in ``data``; ``where`` (its key) is for errors.

    ``load_labels`` returns the labels of the runs that the document of a library (its id) names, or None where they are
    unavailable: a document of another library, of which only the number matters, then has an empty schema.
    Each field is valid by itself; that they agree is checked by ``format.stored.consistency``.
    Raises Integrity when it is damaged and Unsupported when a newer release wrote it.
    """
    found = _VersionFields.load(data, where=where)
    with envelope.believing("version", where):
        if found.kind not in KINDS:
            raise Unsupported(
                f"{where} holds a value of kind {found.kind!r}; this release knows {KINDS}: upgrade duckvstore"
            )
        named = [] if found.label_runs is UNSET else [LabelRun(*run) for run in envelope.rows_of(found.label_runs)]
        runs = _with_labels(found.library_id, named, load_labels)
        schema = label_runs.unfolded(found.schema, runs) if runs else found.schema
        inline = segments.from_lists(found.segments)
        manifests = None if found.manifests is UNSET else [Manifest(*row) for row in envelope.rows_of(found.manifests)]
        return Version(
            **{name: getattr(found, name) for name in _SAME},
            metadata=user_metadata.from_json(found.metadata),
            schema=Schema() if runs is None else schema_from_json(schema),
            is_sorted=found.first_level_sorted if found.is_sorted is None else found.is_sorted,
            segments=inline if manifests is None else FoldedSegments(manifests, inline),
            label_runs=tuple(named if runs is None else runs),
            where=where,
            document_bytes=len(data),
        )


def _with_labels(library_id: str, runs: list[LabelRun], load: LoadLabels | None) -> list[LabelRun] | None:
    """Return the runs with their labels, or None where these are unavailable."""
    if not runs:
        return []
    found = load(library_id, runs) if load is not None else None
    if found is None:
        return None
    return [replace(run, items=items) for run, items in zip(runs, found, strict=True)]


def schema_to_json(schema: Schema) -> dict[str, Any]:
    """Return what a version document says of its schema, with all labels."""
    return {
        "columns": list(map(msgspec.to_builtins, schema.columns)),
        "arrow": schema.arrow,
        "index": list(schema.index),
        "value": schema.value,
        **({"mixed": True} if schema.mixed else {}),
        **({"mixed_nested": True} if schema.mixed_nested else {}),
        **({"next_id": schema.next_id} if schema.next_id is not None else {}),
    }


def schema_from_json(body: dict[str, Any]) -> Schema:
    """Return the schema in a document, or in a leaf of a nested value. Raises ValueError."""
    found = envelope.checked(body, _SchemaFields, "schema")
    return Schema(
        found.columns,
        found.arrow,
        found.index,
        found.value,
        mixed=bool(found.mixed),
        next_id=found.next_id,
        mixed_nested=bool(found.mixed_nested),
    )


def _features(version: Version, metadata: Any, runs: Sequence[LabelRun]) -> list[str]:
    """Return what a reader of this version must know; ``metadata`` is the user's as JSON, ``runs`` are named."""
    inline = version.segments.inline if isinstance(version.segments, FoldedSegments) else version.segments
    values = _values(version.schema.value)
    users = (metadata, *(value["attrs"] for value in values if "attrs" in value))
    needed = {
        "mixed_schema": version.schema.mixed,
        "mixed_nested": version.schema.mixed_nested,
        "altered_schema": version.schema.next_id is not None,
        "duckdb_types": any(column.duckdb is not None for column in version.schema.columns),
        "manifests": isinstance(version.segments, FoldedSegments),
        "index_column": version.kind in ("arrow", "polars") and bool(version.schema.index),
        "missing_markers": any("markers" in value for value in values),
        "segment_parts": any(map(segments.has_parts, inline)),
        "shared_labels": bool(runs),
        "metadata_types": any(map(user_metadata.has_later_tags, users)),
    }
    return [feature for feature, is_needed in needed.items() if is_needed]


def _values(value: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what a schema knows of a value, and of those in the leaves of a nested one."""
    return [value, *(leaf["schema"]["value"] for leaf in value.get("leaves", ()))]


def _has_other_index(schema: Schema) -> bool:
    """Return whether the index is of pandas and not a DatetimeIndex: its order has the field ``first_level_sorted``.

    An earlier release appends to such an index without looking at its order, and leaves the field out of what it
    writes; so it is never there and wrong.
    """
    index = schema.value.get("index")
    return isinstance(index, dict) and not _is_datetime_index(index)


def _is_datetime_index(index: dict[str, Any]) -> bool:
    """Whether the index in the JSON of a pandas value is a DatetimeIndex."""
    if index.get("multi") or not index.get("columns"):
        return False
    dtype = index["columns"][0]["dtype"]
    return dtype.startswith("datetime64") if isinstance(dtype, str) else dtype.get("type") == "datetimetz"
