"""Bad input at the public API: one clear error of the right class, which names the thing and the next step.

Invariant: no text of an error, nor of what caused it, nor its traceback's last lines, holds a credential.
"""

from __future__ import annotations

import re
import time
import traceback
from contextlib import contextmanager
from dataclasses import dataclass, field

import pandas as pd
import pytest

import duckvstore as vs
from duckvstore.api.store import Store
from duckvstore.errors import (
    AccessDenied,
    AlreadyExists,
    DuckVStoreError,
    Integrity,
    InvalidInput,
    NoSuchColumn,
    NoSuchLibrary,
    NoSuchSnapshot,
    NoSuchSymbol,
    NoSuchVersion,
    SqlError,
    StorageUnavailable,
    Unsupported,
)
from duckvstore.objects.memory import MemoryObjects
from tests.conftest import fresh_bucket
from tests.servers import ADMIN, HOST, READER, WRITER, closed_port

WRONG = {"access_key_id": "unheard-of-key-51c0", "secret_access_key": "wrong-secret-9d31f7"}
SECRETS = [identity["secret_access_key"] for identity in (ADMIN, WRITER, READER, WRONG)]
LINE_CHARACTERS_MAX = 480
FRAME = pd.DataFrame({"n": [1, 2, 3], "price": [10.0, 20.0, 30.0], "sym": ["a", "b", "c"]})
SECONDS_MAX = 5


def chain(error):
    """Yield ``error`` and everything that led to it."""
    seen = set()
    waiting = [error]
    while waiting:
        link = waiting.pop()
        if link is not None and id(link) not in seen:
            seen.add(id(link))
            yield link
            waiting += [link.__cause__, link.__context__]


def check(error, kind, named, step):
    """Assert what every error must be: of class ``kind``, naming ``named`` and the next ``step``, in few lines."""
    text = str(error)
    assert type(error) is kind, f"{type(error).__name__}: {text}"
    for part in (named, *([step] if isinstance(step, str) else step)):
        assert part in text
    for link in chain(error):
        shown = [str(link), repr(link), repr(link.args), *getattr(link, "__notes__", [])]
        shown += traceback.format_exception_only(link)
        for secret in SECRETS:
            assert not any(secret in part for part in shown), type(link)
    assert "unheard-of-key" not in text
    lines = text.splitlines()
    caret = lines[1:]
    assert len(lines[0]) <= LINE_CHARACTERS_MAX
    assert not caret or caret[-1].strip() == "^", text
    for internal in ("Traceback", "botocore", "exception_type", "read_parquet", "__vstore", "<class", "object at 0x"):
        assert internal not in text


@contextmanager
def refused(kind, named, step):
    """Expect the error that ``check`` describes."""
    with pytest.raises(DuckVStoreError) as caught:
        yield
    check(caught.value, kind, named, step)


@dataclass
class Place:
    """A store with library eod: trades has versions 0 and 1, gone was deleted, snapshot day holds trades 0."""

    store: Store
    library: vs.Library
    options: dict = field(repr=False)
    bucket: object = None

    @property
    def url(self):
        return self.store.url

    def reopened(self, **changes):
        return vs.open(self.url, storage_options={**self.options, **changes})

    def objects(self, prefix):
        """Return the keys below ``prefix``, by the object store itself."""
        return [entry.key for entry in self.store.objects.list(prefix)]


def fill(store):
    library = store.create_library("eod")
    library.write("trades", FRAME)
    library.snapshot("day")
    library.write("trades", FRAME.head(2))
    library.write("gone", FRAME)
    library.delete("gone")
    return library


@pytest.fixture(scope="module")
def s3(seaweed):
    """A place on SeaweedFS, which no test changes."""
    bucket = fresh_bucket(seaweed)
    options = bucket.storage_options
    store = vs.open(f"{bucket.url}/some/prefix", storage_options=options)
    library = fill(store)
    yield Place(store, library, options, bucket)
    library.session.close()
    store.session.close()
    client = seaweed.client()
    client.delete_bucket(Bucket=bucket.name)
    client.close()


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    store = vs.open(tmp_path_factory.mktemp("bad") / "store")
    library = fill(store)
    yield Place(store, library, {})
    library.session.close()
    store.session.close()


@pytest.fixture(params=["local", pytest.param("s3", marks=[pytest.mark.s3, pytest.mark.duckdb1])])
def place(request):
    return request.getfixturevalue(request.param)


# -- names that nothing has --------------------------------------------------------------------------------------------

NAMES = {
    "library": (lambda p: p.store.get_library("eid"), NoSuchLibrary, "'eid'", ("Did you mean 'eod'", "create_library")),
    "library by []": (lambda p: p.store["eid"], NoSuchLibrary, "'eid'", "create_library"),
    "library to delete": (lambda p: p.store.delete_library("eid"), NoSuchLibrary, "'eid'", "Did you mean 'eod'"),
    "library in SQL": (lambda p: p.store.sql("FROM eid.t AT VERSION 0"), NoSuchLibrary, "'eid'", "Did you mean 'eod'"),
    "library in SQL without AT": (lambda p: p.store.sql("FROM eid.trades"), SqlError, "eid", "'eod.trades'"),
    "library's name": (lambda p: p.store.get_library(""), InvalidInput, "''", "choose another name"),
    "library again": (lambda p: p.store.create_library("eod"), AlreadyExists, "'eod'", "get_library"),
    "symbol": (lambda p: p.library.read("trads"), NoSuchSymbol, "'trads'", "Did you mean 'trades'"),
    "symbol of head": (lambda p: p.library.head("trads"), NoSuchSymbol, "'trads'", "Did you mean 'trades'"),
    "symbol of tail": (lambda p: p.library.tail("trads"), NoSuchSymbol, "'trads'", "Did you mean 'trades'"),
    "symbol of metadata": (lambda p: p.library.read_metadata("trads"), NoSuchSymbol, "'trads'", "Did you mean"),
    "symbol described": (lambda p: p.library.get_description("trads"), NoSuchSymbol, "'trads'", "Did you mean"),
    "symbol to list": (lambda p: p.library.list_versions("trads"), NoSuchSymbol, "'trads'", "Did you mean 'trades'"),
    "symbol to restore": (lambda p: p.library.restore_version("trads", 0), NoSuchSymbol, "'trads'", "Did you mean"),
    "symbol to annotate": (lambda p: p.library.write_metadata("trads", 1), NoSuchSymbol, "'trads'", "write() it first"),
    "symbol in a snapshot": (
        lambda p: p.library.snapshot("x", versions={"trads": 0}),
        NoSuchSymbol,
        "'trads'",
        "Did you mean 'trades'",
    ),
    "symbol in SQL": (lambda p: p.library.sql("FROM trads"), SqlError, "trads", "'trades'"),
    "symbol in SQL at": (
        lambda p: p.library.sql("FROM trads AT VERSION 0"),
        NoSuchSymbol,
        "'trads'",
        "Did you mean 'trades'",
    ),
    "deleted symbol": (lambda p: p.library.read("gone"), NoSuchSymbol, "gone", "deleted"),
    "deleted symbol in SQL": (lambda p: p.library.sql("FROM gone"), NoSuchSymbol, "gone", "deleted"),
    "version": (lambda p: p.library.read("trades", as_of=9), NoSuchVersion, "version 9", "list_versions('trades')"),
    "negative version": (lambda p: p.library.read("trades", as_of=-9), NoSuchVersion, "as_of=-9", "2 versions"),
    "huge negative version": (lambda p: p.library.read("trades", as_of=-(10**30)), NoSuchVersion, "as_of=-1", "2 vers"),
    "huge version": (lambda p: p.library.read("trades", as_of=10**30), InvalidInput, "10000", "between 0 and"),
    "version in SQL": (
        lambda p: p.library.sql("FROM trades AT VERSION 9"),
        NoSuchVersion,
        "version 9",
        "its newest is 1",
    ),
    "huge negative version in SQL": (
        lambda p: p.library.sql(f"FROM trades AT VERSION -{10**30}"),
        NoSuchVersion,
        "'eod/trades'",
        "2 versions",
    ),
    "version in a snapshot": (
        lambda p: p.library.snapshot("x", versions={"trades": 9}),
        NoSuchVersion,
        "version 9",
        "list_versions('trades')",
    ),
    "time": (
        lambda p: p.library.read("trades", as_of=pd.Timestamp("2001-01-01").to_pydatetime()),
        NoSuchVersion,
        "2001-01-01",
        "its oldest, version 0",
    ),
    "no time": (lambda p: p.library.read("trades", as_of=pd.NaT), InvalidInput, "NaT", "datetime"),
    "time in SQL": (
        lambda p: p.library.sql("FROM trades AT TIMESTAMP '2001-01-01'"),
        NoSuchVersion,
        "2001-01-01",
        "its oldest, version 0",
    ),
    "snapshot": (
        lambda p: p.library.read("trades", as_of="dya"),
        NoSuchVersion,
        "'dya'",
        ("Did you mean 'day'", "list_snapshots()"),
    ),
    "snapshot to list": (lambda p: p.library.list_symbols("dya"), NoSuchSnapshot, "'dya'", "Did you mean 'day'"),
    "snapshot of versions": (
        lambda p: p.library.list_versions(snapshot="dya"),
        NoSuchSnapshot,
        "'dya'",
        "Did you mean 'day'",
    ),
    "snapshot to delete": (lambda p: p.library.delete_snapshot("dya"), NoSuchSnapshot, "'dya'", "Did you mean 'day'"),
    "snapshot in SQL": (
        lambda p: p.library.sql("FROM trades AT SNAPSHOT 'dya'"),
        NoSuchSnapshot,
        "'dya'",
        "Did you mean 'day'",
    ),
    "snapshot as a schema": (lambda p: p.library.sql("FROM dya.trades"), SqlError, "dya", "'day'"),
    "snapshot of a library": (
        lambda p: p.store.sql("FROM eod.dya.trades"),
        NoSuchSnapshot,
        "'dya'",
        "Did you mean 'day'",
    ),
    "snapshot again": (lambda p: p.library.snapshot("day"), AlreadyExists, "'day'", "choose another name"),
    "symbol that a snapshot lacks": (
        lambda p: p.library.read("gone", as_of="day"),
        NoSuchVersion,
        "'gone'",
        "'day'",
    ),
    "column": (lambda p: p.library.read("trades", columns=["prise"]), NoSuchColumn, "'prise'", "'price'"),
    "column of where": (lambda p: p.library.read("trades", where="prise > 1"), NoSuchColumn, "'prise'", "'price'"),
    "column in SQL": (lambda p: p.library.sql("SELECT prise FROM trades"), SqlError, '"prise"', '"price"'),
    "column in a past version": (
        lambda p: p.library.sql("SELECT prise FROM trades AT VERSION 0"),
        SqlError,
        '"prise"',
        '"price"',
    ),
    "catalogue table": (lambda p: p.library.sql("FROM vstore.symbol"), SqlError, "'symbol'", "vstore.symbols"),
}


@pytest.mark.parametrize("case", NAMES)
def test_a_name_that_nothing_has(place, case):
    call, kind, named, step = NAMES[case]
    with refused(kind, named, step):
        call(place)


# -- SQL that cannot be read -------------------------------------------------------------------------------------------

WRONG_SQL = {
    "SELEC 1": ("SELEC", "^"),
    "SELECT * FORM trades": ("trades", "^"),
    "SELECT n FROM trades WHERE": ("WHERE", "^"),
    "SELECT n, FROM trades AT VERSION 0 WHERE (": ("cannot read this SQL", "^"),
    "SELECT * FROM trades AT VERSION": ("found nothing", "write AT VERSION 3"),
    "SELECT * FROM trades AT VERSION 1.5": ("1.5", "write AT VERSION 3"),
    "SELECT * FROM trades AT VERSION 0x1": ("0x1", "write AT VERSION 3"),
    "SELECT * FROM trades AT SNAPSHOT day": ("found day", "write AT SNAPSHOT 'eod-2026'"),
    "SELECT * FROM trades AT TIMESTAMP 'soon'": ("'soon'", "takes a time such as"),
    "SELECT * FROM trades AT VERSION $v": ("$v", "pass {'v': …}"),
    "SELECT n FROM trades \0 WHERE n > 1": ("NUL", "take it out"),
    "SELECT n FROM trades WHERE sym = '\ud800'": ("surrogate", "take it out"),
    "DELETE FROM trades AT VERSION 0": ("a past version", "^"),
    "DELETE FROM trades WHERE prise > 1": ('"prise"', '"price"'),
    "INSERT INTO trades VALUES (1)": ("trades", "3 columns"),
    "ALTER TABLE trades ADD COLUMN x INTEGER DEFAULT 3": ("trades", "then UPDATE t SET"),
    "ROLLBACK": ("there is no transaction", "BEGIN one first"),
}


@pytest.mark.parametrize("sql", WRONG_SQL)
def test_sql_that_cannot_be_run(place, sql):
    named, step = WRONG_SQL[sql]
    with refused(SqlError, named, step):
        place.library.sql(sql).fetchall()


WRONG_PARAMETERS = {
    "no text": ((5,), InvalidInput, "int", "give a str"),
    "text as parameters": (("SELECT 1", "x"), InvalidInput, "a str", "give a dict"),
    "a name too much": (("SELECT 1", {"x": 1}), InvalidInput, "$x", "leave the value out"),
    "a parameter as elsewhere": (
        ("SELECT :x", {"x": 1}),
        InvalidInput,
        "it has none",
        "write $x where the value belongs",
    ),
    "a value too much": (("SELECT ?", [1, 2]), InvalidInput, "2 values", "leave out the rest"),
    "half a character": (("SELECT n FROM trades WHERE sym = $s", {"s": "\ud800"}), InvalidInput, "$s", "valid Unicode"),
    "no time": (("FROM trades AT TIMESTAMP $t", {"t": pd.NaT}), SqlError, "NaT", "takes a time such as"),
    "no number": (("FROM trades AT VERSION $v", {"v": "1"}), SqlError, "'1'", "takes a whole number"),
}


@pytest.mark.parametrize("case", WRONG_PARAMETERS)
def test_parameters_that_do_not_fit(local, case):
    arguments, kind, named, step = WRONG_PARAMETERS[case]
    with refused(kind, named, step):
        local.library.sql(*arguments)


# -- addresses and rights ----------------------------------------------------------------------------------------------

READS = {
    "get_library": lambda store: store.get_library("eod"),
    "get_library to make": lambda store: store.get_library("eod", create_if_missing=True),
    "in": lambda store: "eod" in store,
    "list_libraries": lambda store: store.list_libraries(),
    "store.sql": lambda store: store.sql("SELECT count(*) FROM eod.trades").fetchall(),
    "store.sql catalogue": lambda store: store.sql("FROM vstore.symbols").fetchall(),
    "delete_library": lambda store: store.delete_library("eod"),
}
# With a library that was opened while all was well.
CALLS = {
    "read": lambda lib: lib.read("trades", as_of=0),
    "read where": lambda lib: lib.read("trades", as_of=0, where="n > 1"),
    "head": lambda lib: lib.head("trades"),
    "sql": lambda lib: lib.sql("SELECT sum(n) FROM trades AT VERSION 0").fetchall(),
    "sql catalogue": lambda lib: lib.sql("FROM vstore.versions").fetchall(),
    "list_symbols": lambda lib: lib.list_symbols(),
    "list_versions": lambda lib: lib.list_versions("trades"),
    "list_snapshots": lambda lib: lib.list_snapshots(),
}
WRITES = {
    "write": lambda lib: lib.write("trades", FRAME),
    "write_metadata": lambda lib: lib.write_metadata("trades", {"a": 1}),
    "restore_version": lambda lib: lib.restore_version("trades", 0),
    "delete": lambda lib: lib.delete("trades"),
    "snapshot": lambda lib: lib.snapshot("other"),
    "publish": lambda lib: lib.publish(),
}


@contextmanager
def quickly():
    """Expect an end within a few seconds."""
    started = time.monotonic()
    yield
    assert time.monotonic() - started < SECONDS_MAX


def ended(library):
    library.session.close()


@pytest.mark.parametrize("call", [*READS, "create_library"])
def test_an_endpoint_where_nobody_listens(call):
    endpoint = f"http://{HOST}:{closed_port()}"
    store = vs.open("s3://bucket/prefix", storage_options={"endpoint_url": endpoint, "region": "us-east-1", **WRONG})
    with quickly(), refused(StorageUnavailable, endpoint, ("s3://bucket/prefix", "check option 'endpoint_url'")):
        READS.get(call, lambda store: store.create_library("eod"))(store)
    store.session.close()


@pytest.mark.s3
@pytest.mark.duckdb1
@pytest.mark.parametrize("call", [*READS, "create_library"])
@pytest.mark.parametrize("wrong", [WRONG, {"secret_access_key": WRONG["secret_access_key"]}], ids=["key", "secret"])
def test_wrong_credentials(s3, call, wrong):
    store = s3.reopened(**wrong)
    with quickly(), refused(AccessDenied, s3.url, ("AWS_ACCESS_KEY_ID", "profile")):
        READS.get(call, lambda store: store.create_library("eod"))(store)
    store.session.close()


@pytest.mark.s3
@pytest.mark.parametrize("call", [*READS, "create_library"])
def test_a_bucket_that_one_may_not_look_into(s3, call):
    """An identity without any right to this bucket is told so, not that a library is missing."""
    store = vs.open(s3.url, storage_options={"endpoint_url": s3.options["endpoint_url"], "anonymous": True})
    with refused(AccessDenied, s3.url, "ask its owner for permission"):
        READS.get(call, lambda store: store.create_library("eod"))(store)
    store.session.close()


@pytest.mark.s3
def test_no_credentials_at_all(s3):
    store = vs.open(s3.url, storage_options={"endpoint_url": s3.options["endpoint_url"], "region": "us-east-1"})
    with refused(AccessDenied, s3.url, ("no credentials were found", "AWS_ACCESS_KEY_ID", "'anonymous': True")):
        store.get_library("eod")


@pytest.mark.s3
@pytest.mark.duckdb1
@pytest.mark.parametrize("call", WRITES)
def test_an_identity_that_may_only_read(s3, call):
    """Reading works; each call that writes is refused, and nothing has changed."""
    library = s3.reopened(**READER).get_library("eod")
    for read in CALLS.values():
        read(library)
    with refused(AccessDenied, s3.url, "ask its owner for permission"):
        WRITES[call](library)
    ended(library)
    assert len(s3.library.list_versions("trades")) == 2
    assert s3.library.list_snapshots(load_metadata=False) == ["day"]


@pytest.mark.s3
@pytest.mark.parametrize("call", ["create_library", "get_library", "delete_library"])
def test_an_identity_that_may_only_read_makes_and_removes_no_library(s3, call):
    store = s3.reopened(**READER)
    calls = {
        "create_library": lambda: store.create_library("new"),
        "get_library": lambda: store.get_library("new", create_if_missing=True),
        "delete_library": lambda: store.delete_library("eod"),
    }
    kind = StorageUnavailable if call == "delete_library" else AccessDenied
    with refused(kind, "eod" if call == "delete_library" else s3.url, "delete_library" if "del" in call else "owner"):
        calls[call]()
    assert store.list_libraries() == ["eod"]


@pytest.mark.parametrize("call", [*READS, "create_library"])
def test_a_bucket_that_is_not_there(moto_bucket, call):
    store = vs.open("s3://no-such-bucket/p", storage_options=moto_bucket.storage_options)
    with refused(StorageUnavailable, "no bucket 'no-such-bucket'", (moto_bucket.server.endpoint, "create it")):
        READS.get(call, lambda store: store.create_library("eod"))(store)
    store.session.close()


@pytest.mark.s3
@pytest.mark.parametrize("call", [*READS, "create_library"])
def test_a_bucket_that_is_not_there_on_seaweedfs(s3, call):
    """This server keeps from writers what it knows; either answer says what may be wrong."""
    store = vs.open("s3://no-such-bucket/p", storage_options=s3.options)
    with pytest.raises((StorageUnavailable, AccessDenied)) as caught:
        READS.get(call, lambda store: store.create_library("eod"))(store)
    check(caught.value, type(caught.value), "s3://no-such-bucket/p", "no such bucket" if "Denied" in str(caught.value)
          else "no bucket 'no-such-bucket'")  # fmt: skip
    store.session.close()


OPTIONS = {
    "an unknown option": (("s3://b", {"endpoint": "http://x"}), "'endpoint'", "Did you mean 'endpoint_url'"),
    "half of a pair": (("s3://b", {"secret_access_key": WRONG["secret_access_key"]}), "'access_key_id'", "give both"),
    "credentials in a URL": ((f"s3://k:{WRONG['secret_access_key']}@b/p", {}), "credentials", "storage_options"),
    "credentials in an endpoint": (
        ("s3://b", {"endpoint_url": f"http://k:{WRONG['secret_access_key']}@h:1"}),
        "'endpoint_url'",
        "use 'access_key_id'",
    ),
    "an unknown scheme": (("ftp://host/p", {}), "ftp://", "use file://"),
    "no URL": ((5, {}), "5", "s3://bucket/prefix"),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_options_that_do_not_fit(case):
    (url, options), named, step = OPTIONS[case]
    with refused(InvalidInput, named, step):
        vs.open(url, storage_options=options)


@pytest.mark.s3
def test_nothing_that_shows_a_handle_shows_a_secret(s3):
    shown = [s3.store, s3.library, s3.store.objects, s3.store.objects.options, s3.library.open_library]
    for secret in SECRETS:
        assert not any(secret in f"{handle!r} {handle!s}" for handle in shown)


# -- a store without conditional create --------------------------------------------------------------------------------


class Overwriting(MemoryObjects):
    """An object store that takes a conditional create for a plain put."""

    def create(self, key, data):
        self.put(key, data)


@pytest.mark.parametrize("call", ["create_library", "get_library"])
def test_a_store_without_conditional_create(call):
    store = Store(Overwriting())
    with refused(Unsupported, "memory://", ("ignores If-None-Match", "use a server with conditional writes")):
        store.create_library("eod") if call == "create_library" else store.get_library("eod", create_if_missing=True)
    assert store.list_libraries() == []
    assert list(store.objects.list("")) == []


def test_an_s3_server_that_ignores_the_condition(moto_bucket):
    store = vs.open(moto_bucket.url, storage_options=moto_bucket.storage_options)

    client = store.objects._client()
    call = client.call

    def strip(operation, **parameters):
        parameters.pop("IfNoneMatch", None)
        return call(operation, **parameters)

    client.call = strip
    with refused(Unsupported, moto_bucket.url, ("ignores If-None-Match", "use a server with conditional writes")):
        store.create_library("eod")
    assert list(store.objects.list("")) == []


# -- damage ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def damaged(place, request):
    """A function that replaces the bytes of an object (None: removes it), put back after the test."""
    objects = place.store.objects
    before = {}

    def replace(key, change):
        before[key] = objects.read(key)
        if change is None:
            assert not objects.delete([key])
        else:
            objects.put(key, change(before[key]))
        return key

    yield replace
    for key, data in before.items():
        objects.put(key, data)


def reopened(place):
    """Return a handle that has cached nothing."""
    return place.reopened().get_library("eod")


DAMAGES = {
    "missing": None,
    "cut short": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "other bytes": lambda data: b"this is no parquet",
    "one bit of the rows": lambda data: data[:40] + bytes([data[40] ^ 1]) + data[41:],
    "one bit of the footer": lambda data: data[:-30] + bytes([data[-30] ^ 1]) + data[-29:],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_segment(place, damaged, damage):
    """Reading says which version and segment, and what to do; other versions still read."""
    version = place.library.open_library.version("trades", 1)
    key = place.library.open_library.layout.segment_key(version.segments[0].key)
    damaged(key, DAMAGES[damage])
    library = reopened(place)
    for call in (lambda: library.read("trades"), lambda: library.read("trades", where="n > 0")):
        with refused(Integrity, key, ("missing" if damage == "missing" else "damaged", "read another version")):
            call()
    if not damage.startswith("one bit"):  # DuckDB has no checksum to look at
        with refused(Integrity, "version 1 of 'eod/trades'", (key, "read another version")):
            library.sql("SELECT sum(n), min(sym), max(price) FROM trades").fetchall()
    assert library.sql("SELECT count(*) FROM trades AT VERSION 0").fetchall() == [(3,)]
    ended(library)


DOCUMENT_DAMAGES = {
    "cut short": lambda data: data[: len(data) // 2],
    "empty": lambda data: b"",
    "no JSON": lambda data: b"\x00\xff\xfe not json",
    "another JSON": lambda data: b"[1, 2]",
    "no field": lambda data: b"{}",
}


@pytest.mark.parametrize("damage", DOCUMENT_DAMAGES)
def test_a_damaged_version_document(place, damaged, damage):
    key = damaged(place.library.open_library.layout.version("trades", 1), DOCUMENT_DAMAGES[damage])
    library = reopened(place)
    calls = [
        lambda: library.read("trades"),
        lambda: library.read("trades", as_of=1),
        lambda: library.sql("FROM trades"),
        lambda: library.sql("FROM trades AT VERSION 1"),
        lambda: library.write_metadata("trades", 1),
        lambda: library.snapshot("other"),
    ]
    for call in calls:
        with refused(Integrity, key, "restore it"):
            call()
    listings = [  # which give the rest
        (lambda: library.sql("SELECT symbol, version FROM vstore.versions WHERE symbol = 'trades'").fetchall(), 1),
        (lambda: library.list_versions("trades"), 1),
        (lambda: library.list_symbols(), 0),
    ]
    for call, count in listings:
        with pytest.warns(vs.DocumentWarning, match=f"{re.escape(key)}.*restore it"):
            assert len(call()) == count
    assert library.sql("SELECT count(*) FROM trades AT VERSION 0").fetchall() == [(3,)]
    assert library.list_snapshots(load_metadata=False) == ["day"]
    ended(library)


@pytest.mark.parametrize("damage", DOCUMENT_DAMAGES)
def test_a_damaged_snapshot_or_library_document(place, damaged, damage):
    layout = place.library.open_library.layout
    key = damaged(layout.snapshot("day"), DOCUMENT_DAMAGES[damage])
    library = reopened(place)
    for call in (
        lambda: library.read("trades", as_of="day"),
        lambda: library.sql("FROM day.trades"),
    ):
        with refused(Integrity, key, "restore it"):
            call()
    for call in (lambda: library.sql("FROM vstore.snapshots").fetchall(), lambda: library.list_snapshots()):
        with pytest.warns(vs.DocumentWarning, match=f"{re.escape(key)}.*restore it"):
            assert len(call()) == 0
    assert len(library.read("trades").data) == 2
    ended(library)
    key = damaged(layout.library, DOCUMENT_DAMAGES[damage])
    for call in (lambda: place.reopened().get_library("eod"), lambda: place.reopened().sql("FROM eod.trades")):
        with refused(Integrity, key, "restore it"):
            call()


def test_a_document_that_was_copied_is_not_believed(place, damaged):
    """Version 1 with the bytes of version 0 would be another version's rows under its number."""
    layout = place.library.open_library.layout
    other = place.store.objects.read(layout.version("trades", 0))
    key = damaged(layout.version("trades", 1), lambda _: other)
    library = reopened(place)
    with refused(Integrity, key, ("version 0 of 'trades'", "restore the original")):
        library.sql("FROM trades")
    ended(library)
