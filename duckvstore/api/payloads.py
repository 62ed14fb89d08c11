"""What batches take and give back: one request per item, and one error where an item failed.

The names are ArcticDB's where the job is the same. Invariant: plain, immutable data; nothing here makes a request.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from duckvstore.engine.reading.catalogue import AsOf
    from duckvstore.errors import DuckVStoreError


class CallOptions(TypedDict, total=False):
    """What every call that makes a version may be given by name."""

    author: str | None
    message: str | None


class EditOptions(CallOptions, total=False):
    """What an edit may be given by name."""

    expected_version: int | None


class WriteOptions(EditOptions, total=False):
    """What ``write`` may be given by name, in batches too."""

    allow_pickle: bool


class ReadOptions(TypedDict, total=False):
    """What ``read`` may be given by name, in batches too."""

    as_of: AsOf
    date_range: tuple[Any, Any] | None
    row_range: tuple[int | None, int | None] | None
    columns: Sequence[Any] | None
    where: str | None
    output_format: str | None
    allow_pickle: bool


class OptionChanges(TypedDict, total=False):
    """What ``Store.create_library`` and ``Library.set_options`` may be given by name; see ``Options``."""

    segment_bytes: int
    compression: str
    statistics_columns: int
    validate_index: bool
    keep_last: int | None
    keep_for: timedelta | None
    keep_for_seconds: float | None
    auto_fold: bool
    grace: timedelta
    grace_seconds: float
    server_side_encryption: str | None
    encryption_key_id: str | None
    storage_class: str | None


@dataclass(frozen=True, slots=True)
class WritePayload:
    """One item of ``write_batch``, ``append_batch`` or ``write_pickle_batch``."""

    symbol: str
    data: Any
    metadata: Any = None
    index_column: str | None = None


@dataclass(frozen=True, slots=True)
class WriteMetadataPayload:
    """One item of ``write_metadata_batch``."""

    symbol: str
    metadata: Any


@dataclass(frozen=True, slots=True)
class UpdatePayload:
    """One item of ``update_batch``."""

    symbol: str
    data: Any
    metadata: Any = None
    date_range: tuple[Any, Any] | None = None
    index_column: str | None = None


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """One item of ``read_batch``: the parameters of ``read``."""

    symbol: str
    as_of: AsOf = None
    date_range: tuple[Any, Any] | None = None
    row_range: tuple[int | None, int | None] | None = None
    columns: Sequence[Any] | None = None
    where: str | None = field(default=None, kw_only=True)
    output_format: str | None = field(default=None, kw_only=True)
    allow_pickle: bool = field(default=False, kw_only=True)


@dataclass(frozen=True, slots=True)
class ReadInfoRequest:
    """One item of ``read_metadata_batch`` or ``get_description_batch``."""

    symbol: str
    as_of: AsOf = None


@dataclass(frozen=True, slots=True)
class DeleteRequest:
    """One item of ``delete_batch``: the versions of a symbol to remove, for good."""

    symbol: str
    version_ids: Sequence[int]


@dataclass(frozen=True, slots=True)
class StageResult:
    """What ``stage`` stored: one part of ``symbol``, for ``finalize_staged_data`` and ``delete_staged_data``."""

    symbol: str
    part_id: str


class StagedDataFinalizeMethod(Enum):
    """How ``finalize_staged_data`` publishes: alone, or after the newest version; "write" and "append" do as well."""

    WRITE = "write"
    APPEND = "append"


class OutputFormat(StrEnum):
    """What ``read`` gives back; the texts do as well."""

    PANDAS = "pandas"
    PYARROW = "pyarrow"
    POLARS = "polars"


@dataclass(frozen=True, slots=True)
class DataError:
    """Stands in the place of an item that failed; ``error`` is what the call for this item alone would have raised."""

    symbol: str
    error: DuckVStoreError

    @property
    def exception_string(self) -> str:
        """The error's message."""
        return str(self.error)

    def __repr__(self) -> str:
        return f"DataError({self.symbol!r}: {type(self.error).__name__}: {self.error})"
