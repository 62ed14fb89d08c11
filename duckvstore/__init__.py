"""DuckVStore: versioned dataframes on S3 with no server, queried in SQL at any version.

::

    import duckvstore as vs

    lib = vs.open("s3://bucket/prefix").get_library("eod", create_if_missing=True)
    lib.write("trades", df)
    lib.sql("SELECT * FROM trades AT VERSION 0 WHERE price > $p", {"p": 10}).df()

Invariant: importing this package is cheap; pandas, boto3, duckdb and the widgets load on use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from duckvstore.api import cache
from duckvstore.api.diff import Diff
from duckvstore.api.items import ColumnInfo, SnapshotInfo, SymbolDescription, SymbolVersion, VersionedItem, VersionInfo
from duckvstore.api.library import Library
from duckvstore.api.payloads import (
    DataError,
    DeleteRequest,
    OutputFormat,
    ReadInfoRequest,
    ReadRequest,
    StagedDataFinalizeMethod,
    StageResult,
    UpdatePayload,
    WriteMetadataPayload,
    WritePayload,
)
from duckvstore.api.store import Combined, Store, combine, open  # noqa: A004
from duckvstore.api.transactions import Transaction
from duckvstore.errors import (
    AccessDenied,
    AlreadyExists,
    Conflict,
    DocumentWarning,
    DuckVStoreError,
    Integrity,
    InvalidInput,
    NoSuchColumn,
    NoSuchLibrary,
    NoSuchSnapshot,
    NoSuchSymbol,
    NoSuchVersion,
    NotFound,
    OutcomeUnknown,
    SqlError,
    StorageUnavailable,
    Unsupported,
)
from duckvstore.telemetry import RequestCounts, Trace, trace

if TYPE_CHECKING:
    from typing import Any

    from duckvstore.api.diff import RetypedColumn
    from duckvstore.api.overview import ColumnOverview, Overview
    from duckvstore.api.version_handle import VersionHandle
    from duckvstore.engine.maintenance.reports import (
        CollectionReport,
        FoldReport,
        RecoveryReport,
        Size,
        SizesReport,
        VerificationReport,
    )
    from duckvstore.format.stored.options import Options
    from duckvstore.jupyter.browser import Browser
    from duckvstore.objects.base import DeleteFailure, ObjectStore
    from duckvstore.publish.duckdb_file import LeftOut, Published
    from duckvstore.sql.dbapi import Connection, Cursor
    from duckvstore.sql.results.figures import Figures, Scanned, ScannedTable
    from duckvstore.sql.results.plots import Plot
    from duckvstore.sql.results.result import Result
    from duckvstore.sql.session import Session

__version__ = "0.1.0"

__all__ = [
    "AccessDenied",
    "AlreadyExists",
    "Browser",
    "CollectionReport",
    "ColumnInfo",
    "ColumnOverview",
    "Combined",
    "Conflict",
    "Connection",
    "Cursor",
    "DataError",
    "DeleteFailure",
    "DeleteRequest",
    "Diff",
    "DocumentWarning",
    "DuckVStoreError",
    "Figures",
    "FoldReport",
    "Integrity",
    "InvalidInput",
    "LeftOut",
    "Library",
    "NoSuchColumn",
    "NoSuchLibrary",
    "NoSuchSnapshot",
    "NoSuchSymbol",
    "NoSuchVersion",
    "NotFound",
    "ObjectStore",
    "Options",
    "OutcomeUnknown",
    "OutputFormat",
    "Overview",
    "Plot",
    "Published",
    "ReadInfoRequest",
    "ReadRequest",
    "RecoveryReport",
    "RequestCounts",
    "Result",
    "RetypedColumn",
    "Scanned",
    "ScannedTable",
    "Session",
    "Size",
    "SizesReport",
    "SnapshotInfo",
    "SqlError",
    "StageResult",
    "StagedDataFinalizeMethod",
    "StorageUnavailable",
    "Store",
    "SymbolDescription",
    "SymbolVersion",
    "Trace",
    "Transaction",
    "Unsupported",
    "UpdatePayload",
    "VerificationReport",
    "VersionHandle",
    "VersionInfo",
    "VersionedItem",
    "WriteMetadataPayload",
    "WritePayload",
    "cache",
    "combine",
    "load_ipython_extension",
    "open",
    "trace",
    "unload_ipython_extension",
]


# What calls return, by where it is: for annotations, and loaded on use.
_ON_USE = {
    "duckvstore.api.diff": ("RetypedColumn",),
    "duckvstore.api.overview": ("ColumnOverview", "Overview"),
    "duckvstore.api.version_handle": ("VersionHandle",),
    "duckvstore.engine.maintenance.reports": (
        *("CollectionReport", "FoldReport", "RecoveryReport", "Size", "SizesReport", "VerificationReport"),
    ),
    "duckvstore.format.stored.options": ("Options",),
    "duckvstore.jupyter.browser": ("Browser",),
    "duckvstore.objects.base": ("DeleteFailure", "ObjectStore"),
    "duckvstore.publish.duckdb_file": ("LeftOut", "Published"),
    "duckvstore.sql.dbapi": ("Connection", "Cursor"),
    "duckvstore.sql.results.figures": ("Figures", "Scanned", "ScannedTable"),
    "duckvstore.sql.results.plots": ("Plot",),
    "duckvstore.sql.results.result": ("Result",),
    "duckvstore.sql.session": ("Session",),
}


def __getattr__(name: str) -> Any:
    module = next((module for module, names in _ON_USE.items() if name in names), None)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(module), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__doc__", "__name__", "__version__"])


def load_ipython_extension(shell: Any) -> None:
    """Register the magics: ``%load_ext duckvstore`` calls this (extra ``jupyter``)."""
    from duckvstore.jupyter.magics import load

    load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Undo all that ``load_ipython_extension`` did."""
    from duckvstore.jupyter.magics import unload

    unload(shell)
