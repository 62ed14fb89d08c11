"""Databases and cloud services behind the contract of object stores.

SQLite and PostgreSQL are real. MongoDB is mongomock, a stand-in: no test here shows that a real server behaves so.
obstore is shown on its own memory and, as an S3 client, on a real SeaweedFS; nothing here shows Google Cloud Storage
or Azure.
"""

from __future__ import annotations

import pickle
import secrets
import socket
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial

import mongomock
import numpy as np
import obstore
import pandas as pd
import pytest
from obstore.store import MemoryStore
from pandas.testing import assert_frame_equal

import duckvstore as vs
from duckvstore.errors import (
    AccessDenied,
    AlreadyExists,
    InvalidInput,
    NoSuchKey,
    OutcomeUnknown,
    StorageUnavailable,
    Unsupported,
)
from duckvstore.objects import mongo, open_objects, sql
from duckvstore.objects.cloud import CloudObjects
from duckvstore.testing.conformance import Backdoor, ObjectStoreConformance
from duckvstore.testing.races import race_processes, race_threads
from tests import ROOT
from tests.databases import USER, PostgresServer, open_cloud_s3, open_table
from tests.servers import HOST, closed_port


@pytest.fixture(scope="session")
def postgres():
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def database(postgres):
    """One database for all tests; each has a table of its own."""
    return postgres.create_database()


@pytest.fixture
def postgres_options(postgres):
    return {"password": postgres.password, "table": f"test_{secrets.token_hex(6)}"}


# -- the shipped suite -------------------------------------------------------------------------------------------------


class SqlConformance(ObjectStoreConformance):
    def test_prefixes_are_apart(self, reopen):
        """A database has tables where a bucket has prefixes: what is in one is not seen in another."""
        first, second = reopen("p"), reopen("pq")
        first.create("a", b"first")
        second.create("a", b"second")
        assert (first.read("a"), second.read("a")) == (b"first", b"second")
        assert first.delete(["a"]) == []
        assert [entry.key for entry in second.list("")] == ["a"]
        assert list(reopen("").list("")) == []


class TestSqlite(SqlConformance):
    @pytest.fixture
    def file(self, tmp_path):
        return tmp_path / "a file.db"

    @pytest.fixture
    def objects(self, file):
        return open_objects(f"sql+sqlite:///{file}")

    @pytest.fixture
    def backdoor(self, objects, file):
        objects.put("first", b"")
        objects.delete(["first"])  # the table is there now

        def execute(statement, *parameters):
            connection = sqlite3.connect(file, timeout=60)
            connection.execute("PRAGMA synchronous=OFF")
            with connection:
                rows = connection.execute(statement, parameters).fetchall()
            connection.close()
            return rows

        def write(key, data):
            execute("INSERT OR REPLACE INTO duckvstore_objects VALUES (?, ?, ?)", key.encode(), len(data), data)

        def read(key):
            rows = execute("SELECT data FROM duckvstore_objects WHERE object_key = ?", key.encode())
            return rows[0][0] if rows else None

        return Backdoor(write, read)

    @pytest.fixture
    def reopen(self, file):
        return partial(open_table, f"sql+sqlite:///{file}", {"table": "duckvstore_objects"})


class TestPostgres(SqlConformance):
    @pytest.fixture
    def objects(self, postgres, database, postgres_options):
        return open_objects(postgres.url(database), postgres_options)

    @pytest.fixture
    def backdoor(self, objects, postgres, database, postgres_options):
        table = postgres_options["table"]
        objects.put("first", b"")
        objects.delete(["first"])  # the table is there now

        with postgres.connect(database) as connection:

            def write(key, data):
                statement = f"INSERT INTO {table} VALUES (%s, %s, %s) ON CONFLICT (object_key) DO UPDATE SET data = %s"
                connection.execute(statement, (key.encode(), len(data), data, data))

            def read(key):
                row = connection.execute(
                    f"SELECT data FROM {table} WHERE object_key = %s", (key.encode(),), binary=True
                ).fetchone()
                return row[0] if row else None

            yield Backdoor(write, read)

    @pytest.fixture
    def reopen(self, postgres, database, postgres_options):
        return partial(open_table, postgres.url(database), postgres_options)


@pytest.fixture
def mongo_url(monkeypatch):
    """The URL of a database on mongomock, completed by the one command that it lacks."""

    def command(self, name):
        assert name == "hello"
        return {"localTime": datetime.now(UTC).replace(tzinfo=None)}

    monkeypatch.setattr(mongomock.database.Database, "command", command)
    with mongomock.patch(servers=(("mongo.test", 27017),)):
        yield "mongodb://mongo.test:27017/store"


def raw_collection(url, name=mongo.COLLECTION_DEFAULT):
    import pymongo

    return pymongo.MongoClient(url)["store"][name]


class TestMongomock(ObjectStoreConformance):
    """On mongomock: the calls and the documents, not a real server."""

    @pytest.fixture
    def objects(self, mongo_url):
        return open_objects(mongo_url)

    @pytest.fixture
    def backdoor(self, mongo_url):
        collection = raw_collection(mongo_url)

        def write(key, data):
            collection.replace_one({"_id": key}, {"size_bytes": len(data), "data": data}, upsert=True)

        def read(key):
            found = collection.find_one({"_id": key})
            return None if found is None else found["data"]

        return Backdoor(write, read)

    @pytest.fixture
    def reopen(self):
        return None

    def test_readers_see_old_or_new(self):
        """A real server replaces one document at once; mongomock empties it first."""
        pytest.skip("mongomock replaces a document in two steps, so it cannot show this")


class TestObstoreMemory(ObjectStoreConformance):
    @pytest.fixture
    def store(self):
        return MemoryStore()

    @pytest.fixture
    def objects(self, store):
        return CloudObjects(store, "memory")

    @pytest.fixture
    def backdoor(self, store):
        def read(key):
            try:
                return bytes(obstore.get(store, key).bytes())
            except FileNotFoundError:
                return None

        return Backdoor(lambda key, data: obstore.put(store, key, data, use_multipart=False), read)

    @pytest.fixture
    def reopen(self):
        return None


class TestObstoreOnS3(ObjectStoreConformance):
    """The code for Google and Azure on a real server, which speaks S3 and lists folder by folder."""

    folders_vanish_at_once = False
    race_round_count = 3

    @pytest.fixture
    def objects(self, s3_bucket):
        return open_cloud_s3(s3_bucket.name, s3_bucket.storage_options, "")

    @pytest.fixture
    def backdoor(self, s3_bucket):
        client = s3_bucket.server.client()

        def read(key):
            try:
                return client.get_object(Bucket=s3_bucket.name, Key=key)["Body"].read()
            except client.exceptions.NoSuchKey:
                return None

        yield Backdoor(lambda key, data: client.put_object(Bucket=s3_bucket.name, Key=key, Body=data), read)
        client.close()

    @pytest.fixture
    def reopen(self, s3_bucket):
        return partial(open_cloud_s3, s3_bucket.name, s3_bucket.storage_options)


# -- SQL ---------------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgres"])
def sql_place(request, tmp_path):
    """URL and options of objects in a fresh table, which is not there yet."""
    if request.param == "sqlite":
        return f"sql+sqlite:///{tmp_path}/file.db", {"table": "mine"}
    server = request.getfixturevalue("postgres")
    return server.url(request.getfixturevalue("database")), request.getfixturevalue("postgres_options")


def test_the_table_is_made_by_the_first_write_only(sql_place, tmp_path):
    """Reading what is not there makes nothing, not even a file; the first write makes the table."""
    objects = open_objects(*sql_place)
    with pytest.raises(NoSuchKey, match="has no object 'a'"):
        objects.read("a")
    assert list(objects.list("")) == []
    assert objects.delete(["a"]) == []
    assert not list(tmp_path.iterdir())
    objects.create("a", b"x")
    assert open_objects(*sql_place).read("a") == b"x"


def test_processes_race_for_the_first_object_of_all(sql_place):
    """Processes that make the table and the same objects at the same moment: one winner each, no error."""
    wins = race_processes(partial(open_table, *sql_place), "race", racer_count=4, round_count=5)
    assert sorted(round_index for rounds in wins for round_index in rounds) == list(range(5))


def test_racing_puts_all_succeed(sql_place):
    """Threads that put one new key at once do not disturb each other, and one of them is last."""
    objects = open_objects(*sql_place)
    barrier = threading.Barrier(8)

    def put(number):
        for round_index in range(10):
            barrier.wait(60)
            objects.put(f"k{round_index}", b"%d" % number)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(put, range(8)))
    assert {objects.read(f"k{round_index}") for round_index in range(10)} <= {b"%d" % number for number in range(8)}


def test_a_listing_of_large_folders_reads_few_rows(sql_place, monkeypatch):
    """A folder is passed by asking for what comes after it, and a limit is the database's own."""
    objects = open_objects(*sql_place)
    objects.create("a/0", b"")
    insert = objects._table.insert()
    rows = [
        {"object_key": b"%c/%05d" % (folder, number), "size_bytes": 0, "data": b""}
        for folder in b"bcd"
        for number in range(3000)
    ]
    engine = objects._engines.get(objects._make_engine)
    with engine.begin() as connection:
        connection.execute(insert, rows)
    fetched = []
    count_rows(engine, fetched)
    assert [entry.key for entry in objects.list("", folders=True)] == ["a/", "b/", "c/", "d/"]
    assert sum(fetched) < 500
    fetched.clear()
    assert [entry.key for entry in objects.list("c/", limit=2)] == ["c/00000", "c/00001"]
    assert sum(fetched) == 2


def count_rows(engine, fetched):
    """Append to ``fetched`` how many rows each SELECT of keys may give."""
    from sqlalchemy import event

    @event.listens_for(engine, "before_execute")
    def note(connection, statement, multiparams, params, execution_options):
        limit = getattr(statement, "_limit", None)
        if limit is not None:
            fetched.append(limit)


def test_a_key_that_no_index_takes_is_refused(sql_place):
    """900 bytes go, one more is an error that says so, before anything is asked."""
    objects = open_objects(*sql_place)
    longest = "/".join(["n" * 200] * 4) + "/"
    longest += "n" * (900 - len(longest))
    objects.create(longest, b"x")
    assert [entry.key for entry in objects.list("")] == [longest]
    for write in (objects.put, objects.create):
        with pytest.raises(InvalidInput, match=r"901 bytes.*takes 900"):
            write(longest + "n", b"")


def test_the_time_is_the_databases_own(postgres, database, postgres_options):
    """PostgreSQL is asked: its time comes in UTC whatever zone it is set to."""
    name = postgres.create_database()
    postgres.execute(f"ALTER DATABASE {name} SET timezone TO 'Asia/Tokyo'")
    objects = open_objects(postgres.url(name), postgres_options)
    assert abs(objects.now() - datetime.now(UTC)) < timedelta(seconds=30)
    assert objects.now().tzinfo is UTC


def test_passwords_are_shown_nowhere(postgres, database):
    """Not in the URL, the repr, an error or its cause; a wrong one is AccessDenied, none at all too."""
    url = postgres.url(database)
    objects = open_objects(url, {"password": postgres.password})
    assert objects.url == url
    assert postgres.password not in repr(objects)
    assert pickle.loads(pickle.dumps(objects)).url == url
    for options in ({"password": "wr0ng-s3cret"}, {}):
        with pytest.raises(AccessDenied, match="storage option 'password'") as caught:
            open_objects(url, options).read("a")
        assert "wr0ng-s3cret" not in f"{caught.value}{caught.value.__cause__}"
    with pytest.raises(InvalidInput, match="must be text"):
        open_objects(url, {"password": 7})


@pytest.mark.parametrize(
    "url",
    [
        "sql+postgresql+psycopg://user:s3cret@host/db",
        "sql+postgresql+psycopg://user:s3/cret@host/db",
        "sql+postgresql+psycopg://user:s3@cret@host/db",
        "sql+postgresql+psycopg://host/db?password=s3cret",
        "sql+mssql+pyodbc:///?odbc_connect=PWD%3Ds3cret",
        "mongodb://user:s3cret@host/db",
        "mongodb://user:s3/cret@host/db",
        "mongodb://user:s3@cret@host/db",
        "mongodb://host/db?tls=true&tlsCertificateKeyFilePassword=s3cret",
        "mongodb://host/db?authMechanismProperties=AWS_SESSION_TOKEN:s3cret",
        "gs://key:s3cret@bucket/x",
        "az://container/x?sig=s3cret",
    ],
)
def test_credentials_in_urls_are_refused(url):
    """The error says where they belong and does not repeat them."""
    with pytest.raises(InvalidInput, match="storage_option|storage option") as caught:
        open_objects(url)
    assert "cret" not in f"{caught.value}{caught.value.__cause__}"


def test_a_database_that_does_not_answer(postgres, postgres_options):
    """A refused connection and a missing database are StorageUnavailable, for a create too: nothing was sent."""
    for url in (postgres.url("x", port=closed_port()), postgres.url("missing")):
        objects = open_objects(url, postgres_options)
        calls = [partial(objects.read, "a"), partial(objects.create, "a", b""), partial(objects.put, "a", b"")]
        calls += [objects.now, lambda objects=objects: list(objects.list(""))]
        for call in calls:
            with pytest.raises(StorageUnavailable, match="check that the database runs") as caught:
                call()
            assert not isinstance(caught.value, OutcomeUnknown)


def test_connections_that_were_dropped_are_made_anew(postgres, database, postgres_options):
    """A restarted server, or one that closes idle connections, is not noticed, by a create neither."""
    objects = open_objects(postgres.url(database), postgres_options)
    objects.create("a", b"a")
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()"
    for number, call in enumerate([lambda: objects.read("a"), lambda: objects.create("b", b"b")]):
        postgres.execute(kill, (database,))
        assert call() == (b"a" if number == 0 else None)
    assert objects.read("b") == b"b"


class LosesTheAnswer:
    """A proxy that passes everything on, until ``word`` is sent: that arrives, or not, and no answer comes back."""

    def __init__(self, port, word, *, arrives):
        self.target, self.word, self.arrives = port, word, arrives
        self.losses_left = 0
        self.listener = socket.create_server((HOST, 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.create_connection((HOST, self.target))
            lost = threading.Event()
            threading.Thread(target=self._forward, args=(near, far, lost), daemon=True).start()
            threading.Thread(target=self._answer, args=(far, near, lost), daemon=True).start()

    def _forward(self, near, far, lost):
        while data := _received(near):
            if self.losses_left and self.word in data:
                self.losses_left -= 1
                lost.set()
                if not self.arrives:
                    break
            far.sendall(data)
        _end(far)

    def _answer(self, far, near, lost):
        with near, far:
            while (data := _received(far)) and not lost.is_set():
                near.sendall(data)
            _end(near)
            _end(far)

    def close(self):
        self.listener.close()


def _end(connection):
    """Also wakes another thread that receives from it; closing alone does not."""
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _received(source):
    try:
        return source.recv(1 << 16)
    except OSError:
        return b""


@pytest.mark.parametrize("arrives", [True, False])
def test_a_lost_commit_of_a_create_is_an_unknown_outcome(postgres, database, postgres_options, arrives):
    """Whether COMMIT arrived or not cannot be told, and nothing is repeated; other writes are simply done again."""
    url, table = postgres.url(database), postgres_options
    proxy = LosesTheAnswer(postgres.port, b"COMMIT", arrives=arrives)
    objects = open_objects(postgres.url(database, port=proxy.port), table)
    objects.put("first", b"")
    proxy.losses_left = 1
    with pytest.raises(OutcomeUnknown, match="no answer to COMMIT"):
        objects.create("a", b"x")
    assert proxy.losses_left == 0
    direct = open_objects(url, table)
    wait_until(lambda: ("a" in {entry.key for entry in direct.list("")}) == arrives)
    proxy.losses_left = 1
    objects.put("b", b"x")
    assert (proxy.losses_left, direct.read("b")) == (0, b"x")
    proxy.close()


def test_a_connection_lost_before_commit_is_repeated(postgres, database, postgres_options):
    """Without COMMIT nothing can have happened: a create is sent again and has one effect."""
    proxy = LosesTheAnswer(postgres.port, b"INSERT", arrives=False)
    objects = open_objects(postgres.url(database, port=proxy.port), postgres_options)
    objects.put("first", b"")
    proxy.losses_left = 1
    objects.create("a", b"x")
    assert (proxy.losses_left, objects.read("a")) == (0, b"x")
    proxy.close()


def wait_until(is_true):
    for _ in range(200):
        if is_true():
            return
        threading.Event().wait(0.02)
    raise AssertionError("it did not come true")


def test_keys_that_could_not_be_deleted_are_reported(tmp_path, monkeypatch):
    """A file that another program keeps locked: the keys come back with the reason, and a create did not happen."""
    monkeypatch.setattr(sql, "_LOCK_SECONDS_MAX", 0.1)
    objects = open_objects(f"sql+sqlite:///{tmp_path}/file.db")
    objects.put("a", b"x")
    other = sqlite3.connect(tmp_path / "file.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    failures = objects.delete(["a", "b"])
    assert [failure.key for failure in failures] == ["a", "b"]
    assert "locked" in failures[0].reason
    with pytest.raises(StorageUnavailable, match="another program held the file") as caught:
        objects.create("c", b"")
    assert not isinstance(caught.value, OutcomeUnknown)
    other.execute("ROLLBACK")
    other.close()
    assert [entry.key for entry in objects.list("")] == ["a"]


def test_a_reader_at_commit_leaves_a_create_undone(tmp_path, monkeypatch):
    """SQLite answers "locked" to COMMIT while somebody reads: that is a definite no, and no unknown outcome."""
    monkeypatch.setattr(sql, "_LOCK_SECONDS_MAX", 0.1)
    objects = open_objects(f"sql+sqlite:///{tmp_path}/file.db")
    objects.put("a", b"x")
    reader = sqlite3.connect(tmp_path / "file.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM duckvstore_objects").fetchall()
    with pytest.raises(StorageUnavailable, match="another program held the file") as caught:
        objects.create("c", b"")
    assert not isinstance(caught.value, OutcomeUnknown)
    reader.execute("ROLLBACK")
    reader.close()
    objects.create("c", b"")


def test_a_read_only_user_reads_and_is_denied_writing(postgres, database, postgres_options):
    """Rights are the database's matter; a refusal names them."""
    objects = open_objects(postgres.url(database), postgres_options)
    objects.put("a", b"x")
    user = f"reader_{secrets.token_hex(4)}"
    postgres.execute(f"CREATE USER {user} PASSWORD 'only-reads'")
    postgres.execute(f"GRANT SELECT ON {postgres_options['table']} TO {user}", (), database)
    url = postgres.url(database).replace(f"//{USER}@", f"//{user}@")
    reader = open_objects(url, {**postgres_options, "password": "only-reads"})
    assert (reader.read("a"), [entry.key for entry in reader.list("")]) == (b"x", ["a"])
    for call in (lambda: reader.put("a", b"y"), lambda: reader.create("b", b"y"), lambda: reader.delete(["a"])):
        with pytest.raises(AccessDenied, match="permission denied"):
            call()
    assert objects.read("a") == b"x"


def test_sqlite_across_a_fork(tmp_path):
    """A forked process makes connections of its own; its parent's go on."""
    code = (
        "import os, sys\n"
        "from duckvstore.objects import open_objects\n"
        "objects = open_objects(sys.argv[1])\n"
        "objects.create('a', b'a')\n"
        "child = os.fork()\n"
        "objects.create('child' if child == 0 else 'parent', b'x')\n"
        "if child: assert os.waitpid(child, 0)[1] == 0\n"
        "if child: assert [entry.key for entry in objects.list('')] == ['a', 'child', 'parent']\n"
    )
    subprocess.run([sys.executable, "-c", code, f"sql+sqlite:///{tmp_path}/file.db"], cwd=ROOT, check=True, timeout=60)


def test_other_dialects_get_types_that_sort_as_bytes():
    """Untested are their servers; what they would be sent for the table is looked at here."""
    from sqlalchemy.dialects import mssql, mysql, oracle
    from sqlalchemy.schema import CreateTable

    table = sql._table("objects")
    for dialect, key, data in [
        (mysql, "VARBINARY(900)", "LONGBLOB"),
        (oracle, "RAW(900)", "BLOB"),
        (mssql, "VARBINARY(900)", "VARBINARY(max)"),
    ]:
        settings = {"deprecate_large_types": True} if dialect is mssql else {}  # as it finds on a server since 2012
        text = str(CreateTable(table).compile(dialect=dialect.dialect(**settings)))
        assert f"object_key {key} NOT NULL" in text
        assert f"data {data}" in text
        assert "PRIMARY KEY (object_key)" in text


@pytest.mark.parametrize(
    ("url", "options", "words"),
    [
        ("sql+sqlite://", {}, "memory://"),
        ("sql+sqlite:///:memory:", {}, "memory://"),
        ("sql+sqlite:///file:x?uri=true", {}, "memory://"),
        ("sql+sqlite:/x", {}, "slashes missing"),
        ("sql+nodb://host/x", {}, "knows no database 'nodb'"),
        ("sqlite:////x.db", {}, r"sql\+sqlite://"),
        ("sql+sqlite:////x.db#a-b", {}, "is no name for a table"),
        ("sql+sqlite:////x.db", {"table": "x; DROP"}, "is no name for a table"),
        ("sql+sqlite:////x.db#a", {"table": "b"}, "leave one of them away"),
        ("sql+sqlite:////x.db", {"tabel": "b"}, "Did you mean 'table'"),
        ("mongodb://host", {}, "mongodb://user@host:port/database"),
        ("mongodb://host/db#a-b", {}, "is no name for a collection"),
        ("mongodb://host/db#a", {"collection": "b"}, "leave one of them away"),
        ("mongodb://host/db", {"table": "b"}, "collection, password"),
        ("gs://bucket/a/../b", {}, "gs://bucket/prefix"),
        ("gs:///a", {}, "gs://bucket/prefix"),
        ("az://container", {}, "a storage option is missing"),
        ("gs://bucket", {"nonsense": "1"}, "nonsense"),
        ("gs://bucket", {"listing_order": "x"}, "'bytes', 'folders'"),
        ("gs://bucket", {"service_account_key": "s3cret"}, "a storage option"),
    ],
)
def test_what_is_refused(url, options, words):
    """A URL or option that means nothing is InvalidInput, and says what would do."""
    with pytest.raises(InvalidInput, match=words) as caught:
        open_objects(url, options)
    assert "s3cret" not in f"{caught.value}{caught.value.__cause__}"


def test_a_url_says_which_table(tmp_path, monkeypatch):
    """Absolute and with the table's name, so that it opens the same objects from anywhere."""
    monkeypatch.chdir(tmp_path)
    objects = open_objects("sql+sqlite:///file.db", {"table": "mine"})
    assert objects.url == f"sql+sqlite:///{tmp_path}/file.db#mine"
    objects.put("a", b"x")
    monkeypatch.chdir("/")
    assert open_objects(objects.url).read("a") == b"x"
    assert pickle.loads(pickle.dumps(objects)).read("a") == b"x"
    assert list(open_objects(f"sql+sqlite:///{tmp_path}/file.db").list("")) == []


# -- MongoDB, on mongomock ---------------------------------------------------------------------------------------------


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(mongo, "_CHUNK_BYTES", 100)


def test_large_objects_in_chunks(mongo_url, small_chunks):
    """Any range of them reads right, and what is replaced, refused or deleted leaves no chunk behind."""
    objects, chunks = open_objects(mongo_url), raw_collection(mongo_url, "duckvstore_objects_chunks")
    data = bytes(range(250)) * 2
    objects.create("a", data)
    assert chunks.count_documents({}) == 5
    for start in (0, 1, 99, 100, 101, 250, 499, 500, 501):
        for length in (0, 1, 99, 100, 101, 250, 1000, None):
            assert objects.read("a", start, length) == data[start:][:length], (start, length)
    with pytest.raises(AlreadyExists):
        objects.create("a", data[::-1])
    assert (objects.read("a"), chunks.count_documents({})) == (data, 5)
    objects.put("a", data[:250])
    assert (objects.read("a"), chunks.count_documents({})) == (data[:250], 3)
    objects.put("a", b"small")
    assert (objects.read("a"), chunks.count_documents({})) == (b"small", 0)
    objects.put("a", data)
    assert [(entry.key, entry.size_bytes) for entry in objects.list("")] == [("a", 500)]
    assert objects.delete(["a", "b"]) == []
    assert (list(objects.list("")), chunks.count_documents({})) == ([], 0)


def test_racing_creates_of_large_objects_leave_the_winners_chunks(mongo_url, small_chunks):
    """Each loser removes its own."""
    objects = open_objects(mongo_url)
    wins = race_threads(objects, "race", racer_count=4, round_count=5)
    assert sorted(round_index for rounds in wins for round_index in rounds) == list(range(5))
    chunks = raw_collection(mongo_url, "duckvstore_objects_chunks").count_documents({})
    assert chunks == sum(-(-entry.size_bytes // 100) for entry in objects.list(""))


def test_leftover_chunks_are_removed_when_they_are_old(mongo_url, small_chunks):
    """Those of a writer that died days ago go at the next large write; those of objects and of writers now stay."""
    chunks = raw_collection(mongo_url, "duckvstore_objects_chunks")
    now = datetime.now(UTC)
    dead, alive = (f"{now - timedelta(days=days):%Y%m%dT%H%M%S}-{days:032x}" for days in (3, 0))
    objects = open_objects(mongo_url)
    objects.put("kept", b"k" * 250)
    kept = raw_collection(mongo_url).find_one({"_id": "kept"})["upload"]
    old = f"{now - timedelta(days=4):%Y%m%dT%H%M%S}-{4:032x}"
    for chunk in [*chunks.find()]:  # as if it had been written four days ago
        chunks.insert_one({**chunk, "_id": chunk["_id"].replace(kept, old)})
        chunks.delete_one({"_id": chunk["_id"]})
    raw_collection(mongo_url).update_one({"_id": "kept"}, {"$set": {"upload": old}})
    for upload in (dead, alive):
        chunks.insert_one({"_id": f"{upload}/000000/a/b", "data": b"x"})
    open_objects(mongo_url).put("large", b"l" * 250)
    left = [chunk["_id"] for chunk in chunks.find()]
    assert not [each for each in left if each.startswith(dead)]
    assert [each for each in left if each.startswith(alive)]
    assert (objects.read("kept"), objects.read("large")) == (b"k" * 250, b"l" * 250)


def test_lost_answers_of_mongodb():
    """A write that no server was found for did not happen; after a broken connection it may have."""
    from pymongo import errors

    assert not mongo._may_have_happened(errors.ServerSelectionTimeoutError("none"))
    assert not mongo._may_have_happened(errors.OperationFailure("not authorized", 13))
    for error in (errors.NetworkTimeout("x"), errors.AutoReconnect("x"), errors.WriteConcernError("x")):
        assert mongo._may_have_happened(error)


def test_no_mongodb_there():
    """With pymongo itself: nobody listens, so StorageUnavailable, and a create did not happen."""
    url = f"mongodb://{HOST}:{closed_port()}/db?serverSelectionTimeoutMS=100"
    objects = open_objects(url, {"password": None})
    assert objects.url == url
    for call in (lambda: objects.read("a"), lambda: objects.create("a", b""), lambda: list(objects.list(""))):
        with pytest.raises(StorageUnavailable, match="check that the server runs") as caught:
            call()
        assert not isinstance(caught.value, OutcomeUnknown)


# -- cloud -------------------------------------------------------------------------------------------------------------


def test_cloud_urls_and_secrets():
    """The URL is as written, options reach obstore, and no secret is in an error."""
    assert open_objects("gs://bucket/a/b/", {"skip_signature": True}).url == "gs://bucket/a/b"
    options = {"account_name": "account", "endpoint": f"http://{HOST}:{closed_port()}/"}
    options |= {"client_options": {"allow_http": True}, "retry_config": {"max_retries": 0}}
    objects = open_objects("az://container/a", {**options, "sas_key": "sv=1&sig=s3cret"})
    assert objects.url == "az://container/a"
    for call in (lambda: objects.read("a"), lambda: objects.put("a", b""), lambda: list(objects.list(""))):
        with pytest.raises(StorageUnavailable) as caught:
            call()
        assert not isinstance(caught.value, OutcomeUnknown)
        assert "s3cret" not in f"{caught.value}{caught.value.__cause__}"
    with pytest.raises(OutcomeUnknown, match="look before repeating"):
        objects.create("a", b"")
    assert "s3cret" not in repr(objects)


def test_cloud_errors_have_their_meaning(s3_bucket, s3_reader_options):
    """A refusal is AccessDenied, a missing bucket StorageUnavailable; neither is an unknown outcome."""
    reader = open_cloud_s3(s3_bucket.name, s3_reader_options, "")
    assert list(reader.list("")) == []
    for call in (lambda: reader.put("a", b""), lambda: reader.create("a", b"")):
        with pytest.raises(AccessDenied, match="ask for permission"):
            call()
    assert [failure.key for failure in reader.delete(["a"])] in ([], ["a"])
    missing = open_cloud_s3("no-such-bucket", s3_bucket.storage_options, "")
    with pytest.raises(StorageUnavailable):
        list(missing.list(""))


def test_a_service_that_lists_in_another_order_is_noticed(s3_bucket):
    """Without the option the folder order of SeaweedFS is an error rather than a wrong listing."""
    objects = open_cloud_s3(s3_bucket.name, s3_bucket.storage_options, "")
    for key in ("a.b", "a/x"):
        objects.put(key, b"")
    wrong = CloudObjects(objects._store, objects.url)
    with pytest.raises(Unsupported, match="listing_order='folders'"):
        list(wrong.list(""))
    objects.delete(["a.b", "a/x"])


# -- what opens what ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "module", "extra"),
    [
        ("sql+sqlite:////x.db", "sqlalchemy", "sql"),
        ("mongodb://host/db", "pymongo", "mongo"),
        ("gs://bucket", "obstore", "cloud"),
        ("az://container", "obstore", "cloud"),
    ],
)
def test_a_missing_library_is_named_with_its_extra(url, module, extra):
    """Where the extra is not installed, the error is the command that installs it."""
    code = (
        "import sys\n"
        "import importlib.util as util\n"
        "found = util.find_spec\n"
        f"util.find_spec = lambda name, package=None: None if name == {module!r} else found(name, package)\n"
        "import duckvstore as vs\n"
        "try: vs.open(sys.argv[1])\n"
        "except vs.Unsupported as error: print(error)\n"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code, url], cwd=ROOT, check=True, timeout=60, capture_output=True, text=True
    )
    assert f"pip install 'duckvstore[{extra}]'" in shown.stdout


def test_a_missing_driver_is_named():
    """SQLAlchemy is there, but not what speaks to that database."""
    with pytest.raises(Unsupported, match="pip install pymysql"):
        open_objects("sql+mysql+pymysql://user@host/db")


def test_an_installed_package_brings_its_own_scheme(tmp_path, monkeypatch):
    """A distribution with an entry point in ``duckvstore.objects`` serves its scheme, with URL and options."""
    (tmp_path / "their_store.py").write_text(
        "from duckvstore.objects.memory import MemoryObjects\n"
        "def open_theirs(url, options):\n"
        "    return MemoryObjects(f'{url} {sorted(options)}')\n"
    )
    info = tmp_path / "their_store-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-store\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[duckvstore.objects]\ntheirs = their_store:open_theirs\n")
    with pytest.raises(InvalidInput, match="theirs://"):
        open_objects("theirs://place")
    monkeypatch.syspath_prepend(tmp_path)
    assert open_objects("theirs://place", {"a": 1}).url == "memory://theirs://place ['a']"
    with pytest.raises(InvalidInput, match="theirs://.*or a path"):
        open_objects("other://place")


def test_importing_the_package_loads_none_of_the_libraries():
    """They load when a URL needs them."""
    code = (
        "import sys, duckvstore.objects; "
        "sys.exit(any(name.partition('.')[0] in {'sqlalchemy', 'pymongo', 'obstore', 'bson'} for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, timeout=60).returncode == 0


# -- end to end --------------------------------------------------------------------------------------------------------


def frame(seed=0):
    index = pd.date_range("2026-01-01", periods=50, freq="h", name="time")
    return pd.DataFrame({"price": np.random.default_rng(seed).normal(100, 5, 50)}, index=index)


@pytest.fixture(params=["sqlite", "postgres", "mongomock"])
def store_place(request):
    if request.param == "mongomock":
        return request.getfixturevalue("mongo_url"), {}
    if request.param == "sqlite":
        return f"sql+sqlite:///{request.getfixturevalue('tmp_path')}/store.db", {}
    server = request.getfixturevalue("postgres")
    return server.url(request.getfixturevalue("database")), request.getfixturevalue("postgres_options")


def test_a_whole_store_in_a_database(store_place):
    """Written, read at versions and snapshots, queried, edited, cleaned up and deleted, as on S3."""
    url, options = store_place
    lib = vs.open(url, options).create_library("eod")
    lib.write("trades", frame(0))
    lib.snapshot("monday")
    lib.write("trades", frame(1))
    fresh = vs.open(url, options).get_library("eod")
    assert_frame_equal(fresh.read("trades").data, frame(1))
    assert_frame_equal(fresh.read("trades", as_of="monday").data, frame(0))
    assert fresh.sql("SELECT count(*) FROM trades").fetchall() == [(50,)]
    assert fresh.sql("SELECT max(price) FROM trades AT VERSION 0").fetchall() == [(frame(0)["price"].max(),)]
    fresh.delete_data_in_range("trades", ("2026-01-01", "2026-01-01 23:00"))
    assert lib.read("trades").data.shape == (26, 1)
    assert not lib.verify().problems
    store = vs.open(url, options)
    store.delete_library("eod")
    assert store.list_libraries() == []
    assert list(open_objects(url, options).list("")) == []


def test_documents_in_postgres_and_segments_in_a_folder(postgres, database, postgres_options, tmp_path):
    """Commits go to the database, data to files, and every reader who agrees finds both."""
    url = postgres.url(database)
    segments = tmp_path / "segments"
    store = vs.open(url, postgres_options, segments_url=segments, segments_options={})
    lib = store.create_library("eod")
    lib.write("trades", frame())
    assert len(list(segments.rglob("*.parquet"))) == 1
    keys = [entry.key for entry in open_objects(url, postgres_options).list("")]
    assert keys
    assert not [key for key in keys if key.endswith(".parquet")]
    with pytest.raises(InvalidInput, match="segments_options"):
        vs.open(url, postgres_options).get_library("eod")
    reader = vs.open(url, postgres_options, segments_options={}).get_library("eod")
    assert_frame_equal(reader.read("trades").data, frame())
    assert reader.sql("SELECT count(*) FROM trades").fetchall() == [(50,)]
    store.delete_library("eod")
    assert not [path for path in segments.rglob("*") if path.is_file()]
