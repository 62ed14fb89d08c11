"""The stores that are compared: each does the same few things in the way that its own guide shows, with its defaults.

What a peer has no way to do raises ``Cannot``. Frames come and go as pandas; the index is a column where there is none.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pandas as pd
import pyarrow as pa

from tests.servers import REGION, WRITER

KEY, SECRET = WRITER["access_key_id"], WRITER["secret_access_key"]


class Cannot(Exception):
    """The peer has no way to do it; the message says why."""


@dataclass
class Place:
    """Where a peer stores: an S3 server, a bucket there, and a folder of its own for what is not on S3."""

    endpoint: str
    bucket: str
    folder: str

    @property
    def address(self) -> str:
        return self.endpoint.removeprefix("http://")

    def stored_bytes(self) -> int:
        """Return the bytes of all objects, or of the folder when there is no bucket."""
        if not self.bucket:
            return sum(path.stat().st_blocks * 512 for path in Path(self.folder).rglob("*") if path.is_file())
        from pyarrow import fs

        return sum(
            info.size or 0 for info in self.filesystem().get_file_info(fs.FileSelector(self.bucket, recursive=True))
        )

    def filesystem(self) -> Any:
        from pyarrow import fs

        return fs.S3FileSystem(
            access_key=KEY, secret_key=SECRET, region=REGION, scheme="http", endpoint_override=self.address
        )


class Peer:
    """What is asked of every peer."""

    name: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]
    modules: ClassVar[tuple[str, ...]] = ()
    local: ClassVar[bool] = False
    shares_with: ClassVar[str] = ""
    cache: ClassVar[bool] = True

    def __init__(self, place: Place) -> None:
        self.place = place
        self.open()

    @classmethod
    def load(cls) -> None:
        """Import what is needed."""
        for module in cls.modules:
            importlib.import_module(module)

    @classmethod
    def versions(cls) -> str:
        """Return the versions; raises PackageNotFoundError when it is not installed."""
        return ", ".join(f"{package} {importlib.metadata.version(package)}" for package in cls.packages)

    def open(self) -> None:
        """Get ready, as a new process does."""

    def close(self) -> None:
        """Give up what another in the same process could not share."""

    def prepare(self, name: str, frame: pd.DataFrame) -> None:
        self.write(name, frame)

    def write(self, name: str, frame: pd.DataFrame) -> Any:
        raise Cannot("has no writing of its own")

    def read(self, name: str, columns: list[str] | None = None) -> pd.DataFrame:
        raise Cannot("no reading")

    def filter(self, name: str, column: str, above: float) -> pd.DataFrame:
        raise Cannot("no filters")

    def dates(self, name: str, start: pd.Timestamp, end: pd.Timestamp) -> pd.DataFrame:
        raise Cannot("no ranges of dates")

    def group_by(self, name: str, key: str, value: str) -> pd.DataFrame:
        return self.read(name, [key, value]).groupby(key)[[value]].sum()

    def append(self, name: str, frame: pd.DataFrame) -> Any:
        raise Cannot("no appending")

    def update(self, name: str, frame: pd.DataFrame) -> Any:
        raise Cannot("no update of rows")


class DuckVStore(Peer):
    name = "DuckVStore"
    packages = ("duckvstore", "duckdb", "pandas", "pyarrow")
    modules = ("duckvstore",)

    def open(self) -> None:
        import duckvstore as vs

        options = {"endpoint_url": self.place.endpoint, "region": REGION, **WRITER}
        url = f"s3://{self.place.bucket}/store"
        self.store = vs.open(self.place.folder) if self.local else vs.open(url, options)
        self.lib = self.store.get_library("bench", create_if_missing=True)

    def write(self, name, frame):
        return self.lib.write(name, frame)

    def read(self, name, columns=None):
        return self.lib.read(name, columns=columns).data

    def filter(self, name, column, above):
        return self.lib.read(name, where=f"{column} > {above}").data

    def dates(self, name, start, end):
        return self.lib.read(name, date_range=(start, end)).data

    def group_by(self, name, key, value):
        return self.lib.sql(f"SELECT {key}, sum({value}) AS {value} FROM {name} GROUP BY {key}").df()

    def append(self, name, frame):
        return self.lib.append(name, frame)

    def update(self, name, frame):
        return self.lib.update(name, frame)


class DuckVStoreUncached(DuckVStore):
    """Keeps nothing of S3 on this machine's disk, so that a warm read is one from S3."""

    name = "DuckVStore, cache off"
    shares_with = "DuckVStore"
    cache = False

    def prepare(self, name, frame):
        """It is there."""

    def write(self, name, frame):
        raise Cannot("the cache is for reading")

    append = update = write


class DuckVStoreLocal(DuckVStore):
    name = "DuckVStore, local"
    local = True


class Arctic(Peer):
    name = "ArcticDB"
    packages = ("arcticdb",)
    modules = ("arcticdb",)

    def open(self) -> None:
        from arcticdb import Arctic as Store

        if self.local:
            uri = f"lmdb://{self.place.folder}?map_size=40GB"
        else:
            host, port = self.place.address.split(":")
            uri = (
                f"s3://{host}:{self.place.bucket}?port={port}&access={KEY}&secret={SECRET}&use_virtual_addressing=false"
            )
        self.lib = Store(uri).get_library("bench", create_if_missing=True)

    def write(self, name, frame):
        return self.lib.write(name, frame)

    def read(self, name, columns=None):
        return self.lib.read(name, columns=columns).data

    def filter(self, name, column, above):
        from arcticdb import QueryBuilder

        query = QueryBuilder()
        return self.lib.read(name, query_builder=query[query[column] > above]).data

    def dates(self, name, start, end):
        return self.lib.read(name, date_range=(start, end)).data

    def group_by(self, name, key, value):
        from arcticdb import QueryBuilder

        return self.lib.read(name, query_builder=QueryBuilder().groupby(key).agg({value: "sum"})).data

    def append(self, name, frame):
        return self.lib.append(name, frame)

    def update(self, name, frame):
        return self.lib.update(name, frame)


class ArcticLmdb(Arctic):
    name = "ArcticDB, LMDB"
    local = True


def _load_extension(connection: Any, name: str) -> None:
    """Load an extension of DuckDB from its wheel, which needs no network."""
    import duckdb

    found = importlib.util.find_spec(f"duckdb_extension_{name}")
    if found is None:
        raise Cannot(f"there is no wheel of DuckDB's extension {name}")
    folder = Path(found.submodule_search_locations[0]) / "extensions" / f"v{duckdb.__version__}"
    connection.execute(f"LOAD '{folder / name}.duckdb_extension'")


class ByHand(Peer):
    """DuckDB over DuckVStore's own files, named one by one in a query that is typed by hand."""

    name = "read_parquet by hand"
    packages = ("duckdb", "duckdb-extension-httpfs")
    modules = ("duckdb",)
    shares_with = "DuckVStore"

    def open(self) -> None:
        import duckdb

        self.connection = duckdb.connect()
        _load_extension(self.connection, "httpfs")
        self.connection.execute(
            f"CREATE SECRET (TYPE s3, KEY_ID '{KEY}', SECRET '{SECRET}', REGION '{REGION}', USE_SSL false, "
            f"URL_STYLE 'path', ENDPOINT '{self.place.address}')"
        )
        self.connection.execute("SET validate_external_file_cache = 'NO_VALIDATION'")  # as DuckVStore's own

    def close(self):
        self.connection.close()

    def prepare(self, name, frame):
        """Look up which files there are, and keep the list."""
        lib = DuckVStore(self.place).lib
        rows = lib.sql(f"SELECT key FROM vstore.segments WHERE symbol = '{name}' ORDER BY row_start").fetchall()
        root, objects = lib.open_library.layout.root, lib.open_library.objects
        Path(self.place.folder, f"{name}.json").write_text(json.dumps([objects.uri(root + key) for (key,) in rows]))

    def _select(self, name: str, what: str = "*", rest: str = "") -> pd.DataFrame:
        files = json.loads(Path(self.place.folder, f"{name}.json").read_text())
        return self.connection.execute(f"SELECT {what} FROM read_parquet({files}) {rest}").df()

    def read(self, name, columns=None):
        return self._select(name, ", ".join(["time", *columns]) if columns else "*")

    def filter(self, name, column, above):
        return self._select(name, rest=f"WHERE {column} > {above}")

    def dates(self, name, start, end):
        return self._select(name, rest=f"WHERE time BETWEEN '{start}' AND '{end}'")

    def group_by(self, name, key, value):
        return self._select(name, f"{key}, sum({value}) AS {value}", f"GROUP BY {key}")


class DuckLake(ByHand):
    """With its catalogue in a local file of DuckDB, which needs no requests."""

    name = "DuckLake"
    packages = ("duckdb", "duckdb-extension-ducklake")
    shares_with = ""

    def open(self) -> None:
        super().open()
        _load_extension(self.connection, "ducklake")
        catalogue = Path(self.place.folder, "catalogue.ducklake")
        self.connection.execute(f"ATTACH 'ducklake:{catalogue}' AS lake (DATA_PATH 's3://{self.place.bucket}/lake/')")
        self.connection.execute("USE lake")

    def prepare(self, name, frame):
        self.write(name, frame)

    def _with(self, frame: pd.DataFrame, statement: str) -> None:
        self.connection.register("given", frame.reset_index())
        self.connection.execute(statement)
        self.connection.unregister("given")

    def write(self, name, frame):
        self._with(frame, f'CREATE OR REPLACE TABLE "{name}" AS SELECT * FROM given')

    def append(self, name, frame):
        self._with(frame, f'INSERT INTO "{name}" SELECT * FROM given')

    def update(self, name, frame):
        self.connection.execute("BEGIN")
        self._with(frame, f'DELETE FROM "{name}" WHERE time IN (SELECT time FROM given)')
        self.append(name, frame)
        self.connection.execute("COMMIT")

    def _select(self, name: str, what: str = "*", rest: str = "") -> pd.DataFrame:
        return self.connection.execute(f'SELECT {what} FROM "{name}" {rest}').df()


def _arrow(frame: pd.DataFrame) -> pa.Table:
    """Return the frame with times in microseconds, which is all that Delta and Iceberg have."""
    table = pa.Table.from_pandas(frame.reset_index(), preserve_index=False).replace_schema_metadata(None)
    index = table.schema.get_field_index("time")
    return table.set_column(index, "time", table["time"].cast(pa.timestamp("us", tz="UTC")))


class Delta(Peer):
    name = "delta-rs"
    packages = ("deltalake",)
    modules = ("deltalake",)

    def open(self) -> None:
        self.options = {
            "AWS_ENDPOINT_URL": self.place.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": REGION,
            "aws_conditional_put": "etag",
        }

    def _uri(self, name: str) -> str:
        return f"s3://{self.place.bucket}/delta/{name}"

    def _table(self, name: str) -> Any:
        from deltalake import DeltaTable

        return DeltaTable(self._uri(name), storage_options=self.options)

    def write(self, name, frame, mode="overwrite"):
        from deltalake import write_deltalake

        write_deltalake(self._uri(name), _arrow(frame), storage_options=self.options, mode=mode)

    def read(self, name, columns=None):
        return self._table(name).to_pandas(columns=["time", *columns] if columns else None)

    def filter(self, name, column, above):
        return self._table(name).to_pandas(filters=[(column, ">", above)])

    def dates(self, name, start, end):
        bounds = [("time", ">=", start.tz_localize("UTC")), ("time", "<=", end.tz_localize("UTC"))]
        return self._table(name).to_pandas(filters=bounds)

    def append(self, name, frame):
        self.write(name, frame, mode="append")

    def update(self, name, frame):
        merge = self._table(name).merge(_arrow(frame), predicate="t.time = s.time", source_alias="s", target_alias="t")
        merge.when_matched_update_all().execute()


class Iceberg(Peer):
    """With its catalogue in a local SQLite file, which needs no requests."""

    name = "pyiceberg"
    packages = ("pyiceberg",)
    modules = ("pyiceberg.catalog.sql", "pyiceberg.table", "pyiceberg.io.pyarrow")

    def open(self) -> None:
        from pyiceberg.catalog.sql import SqlCatalog

        self.catalog = SqlCatalog(
            "bench",
            **{
                "uri": f"sqlite:///{self.place.folder}/catalogue.db",
                "warehouse": f"s3://{self.place.bucket}/iceberg",
                "s3.endpoint": self.place.endpoint,
                "s3.access-key-id": KEY,
                "s3.secret-access-key": SECRET,
                "s3.region": REGION,
            },
        )
        self.catalog.create_namespace_if_not_exists("bench")

    def _scan(self, name: str, row_filter: Any, columns: list[str] | None = None) -> pd.DataFrame:
        fields = ("time", *columns) if columns else ("*",)
        table = self.catalog.load_table(f"bench.{name}")
        return table.scan(row_filter=row_filter, selected_fields=fields).to_pandas()

    def write(self, name, frame):
        rows = _arrow(frame)
        if self.catalog.table_exists(f"bench.{name}"):
            self.catalog.load_table(f"bench.{name}").overwrite(rows)
        else:
            self.catalog.create_table(f"bench.{name}", schema=rows.schema).append(rows)

    def read(self, name, columns=None):
        from pyiceberg.expressions import AlwaysTrue

        return self._scan(name, AlwaysTrue(), columns)

    def filter(self, name, column, above):
        return self._scan(name, f"{column} > {above}")

    def dates(self, name, start, end):
        return self._scan(name, f"time >= '{start.isoformat()}+00:00' AND time <= '{end.isoformat()}+00:00'")

    def append(self, name, frame):
        self.catalog.load_table(f"bench.{name}").append(_arrow(frame))

    def update(self, name, frame):
        moment = f"time = '{frame.index[0].isoformat()}+00:00'"
        self.catalog.load_table(f"bench.{name}").overwrite(_arrow(frame), overwrite_filter=moment)


class Lance(Peer):
    name = "Lance"
    packages = ("pylance",)
    modules = ("lance",)

    def open(self) -> None:
        self.options = {
            "endpoint": self.place.endpoint,
            "allow_http": "true",
            "access_key_id": KEY,
            "secret_access_key": SECRET,
            "region": REGION,
        }

    def _uri(self, name: str) -> str:
        return f"s3://{self.place.bucket}/{name}.lance"

    def _dataset(self, name: str) -> Any:
        import lance

        return lance.dataset(self._uri(name), storage_options=self.options)

    def write(self, name, frame, mode="overwrite"):
        import lance

        lance.write_dataset(_arrow(frame), self._uri(name), mode=mode, storage_options=self.options)

    def read(self, name, columns=None):
        return self._dataset(name).to_table(columns=["time", *columns] if columns else None).to_pandas()

    def filter(self, name, column, above):
        return self._dataset(name).to_table(filter=f"{column} > {above}").to_pandas()

    def dates(self, name, start, end):
        bounds = f"time >= timestamp '{start}' AND time <= timestamp '{end}'"
        return self._dataset(name).to_table(filter=bounds).to_pandas()

    def append(self, name, frame):
        self.write(name, frame, mode="append")

    def update(self, name, frame):
        self._dataset(name).merge_insert("time").when_matched_update_all().execute(_arrow(frame))


class Pandas(Peer):
    """One Parquet file for each frame: no versions, no appending."""

    name = "pandas to_parquet"
    packages = ("pandas", "pyarrow")
    modules = ("pyarrow.fs", "pyarrow.parquet", "pyarrow.dataset")

    def open(self) -> None:
        self.files = self.place.filesystem()

    def _path(self, name: str) -> str:
        return f"{self.place.bucket}/{name}.parquet"

    def _read(self, name: str, **options: Any) -> pd.DataFrame:
        return pd.read_parquet(self._path(name), filesystem=self.files, **options)

    def write(self, name, frame):
        frame.to_parquet(self._path(name), filesystem=self.files)

    def read(self, name, columns=None):
        return self._read(name, columns=columns)

    def filter(self, name, column, above):
        return self._read(name, filters=[(column, ">", above)])

    def dates(self, name, start, end):
        return self._read(name, filters=[("time", ">=", start), ("time", "<=", end)])


PEERS: dict[str, type[Peer]] = {
    peer.name: peer
    for peer in (
        DuckVStore, DuckVStoreUncached, Arctic, DuckLake, Delta, Iceberg, Lance, Pandas, ByHand, DuckVStoreLocal,
        ArcticLmdb,
    )
}  # fmt: skip
