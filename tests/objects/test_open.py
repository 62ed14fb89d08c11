"""URLs and options of object stores, the self-test, and the wrappers."""

from __future__ import annotations

import threading
from importlib import metadata

import pytest

from duckvstore.errors import AlreadyExists, InvalidInput, NoSuchKey, OutcomeUnknown, StorageUnavailable, Unsupported
from duckvstore.objects import open_objects, self_test
from duckvstore.objects.local import LocalObjects
from duckvstore.objects.memory import MemoryObjects
from duckvstore.objects.s3 import S3Objects
from duckvstore.objects.wrappers import WrappedObjects
from duckvstore.testing.faulty import Fault, FaultyObjects, SimulatedCrash
from tests import ROOT
from tests.counting import CountingObjects

# -- URLs and options --------------------------------------------------------------------------------------------------


def test_paths_and_file_urls(tmp_path, monkeypatch):
    """A path, with or without a slash at its end, relative or as file:// URL, is one folder."""
    monkeypatch.chdir(tmp_path)
    for url in (
        tmp_path / "a b",
        str(tmp_path / "a b"),
        f"{tmp_path}/a b/",
        f"file://{tmp_path}/a%20b",
        "./a b",
        "a b",
    ):
        objects = open_objects(url)
        assert isinstance(objects, LocalObjects)
        assert objects.url == f"file://{tmp_path}/a b"
    assert open_objects(f"file://localhost{tmp_path}/x").url == f"file://{tmp_path}/x"


def test_memory():
    """The same name is the same objects, no name is fresh ones."""
    open_objects("memory://test-memory").put("a", b"x")
    assert open_objects("memory://test-memory/").read("a") == b"x"
    with pytest.raises(NoSuchKey):
        open_objects("memory://test-other").read("a")
    assert open_objects("memory://") is not open_objects("memory://")


def test_s3_urls():
    """Bucket and prefix, whatever slashes are at the end; nothing is asked of a server."""
    for url in ("s3://bucket/a/b", "s3://bucket/a/b/", "S3://bucket/a/b//"):
        objects = open_objects(url, {"region": "us-east-1"})
        assert isinstance(objects, S3Objects)
        assert (objects.url, objects.uri("k")) == ("s3://bucket/a/b", "s3://bucket/a/b/k")
    assert open_objects("s3://bucket/").uri("k") == "s3://bucket/k"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "text such as"),
        (7, "text such as"),
        (b"/data", "text such as"),
        ("ftp://bucket/x", "file://, memory://, s3://"),
        ("s3a://bucket", "s3:// is meant"),
        ("s3:/bucket", "slashes missing"),
        ("file:/data", "slashes missing"),
        ("memory:x", "slashes missing"),
        ("s3:///prefix", "s3://bucket/prefix"),
        ("s3://bucket/a//b", "empty or dotted"),
        ("s3://bucket/a/../b", "empty or dotted"),
        ("s3://bucket/a?versionId=1", "s3://bucket/prefix"),
        ("s3://key:secret@bucket/a", "must not contain credentials"),
        ("file://host/data", "three slashes"),
        ("file://data", "three slashes"),
        ("~/data", "expanduser"),
        ("$HOME/data", "expandvars"),
        ("/data/${X}", "expandvars"),
        ("/data\0", "NUL"),
    ],
)
def test_urls_that_are_refused(url, words):
    """What is no URL of a store, or may mean another place than it says, is InvalidInput with the way out."""
    with pytest.raises(InvalidInput, match=words) as caught:
        open_objects(url)
    assert "key:secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "options", "words"),
    [
        ("s3://b", {"endpoint": "x"}, "'endpoint'.*endpoint_url"),
        ("s3://b", {"aws_access_key_id": "x"}, "access_key_id"),
        ("s3://b", {"endpoint_url": "127.0.0.1:9000"}, "https://host:port"),
        ("s3://b", {"endpoint_url": "http://k:s3cr3t@h:1"}, "must not contain credentials"),
        ("s3://b", {"endpoint_url": "http://h:1/path"}, "https://host:port"),
        ("s3://b", {"access_key_id": "x"}, "go together"),
        ("s3://b", {"session_token": "x"}, "needs"),
        ("s3://b", {"addressing_style": "auto"}, "'path', 'virtual'"),
        ("s3://b", {"checksum": True}, "'when_required'"),
        ("s3://b", {"listing_order": "x"}, "'bytes', 'folders'"),
        ("s3://b", {"client": "obstore"}, "'boto3', 'lean'"),
        ("s3://b", {"anonymous": "yes"}, "anonymous"),
        ("s3://b", {"connections_max": 0}, "positive"),
        ("/data", {"region": "x"}, "fsync"),
        ("/data", {"fsync": "false"}, "True or False"),
        ("memory://x", {"fsync": True}, "has none"),
    ],
)
def test_options_that_are_refused(url, options, words):
    """An unknown option or a value that means nothing names the valid ones."""
    with pytest.raises(InvalidInput, match=words) as caught:
        open_objects(url, options)
    assert "s3cr3t" not in str(caught.value)


def test_third_party_schemes(monkeypatch):
    """An installed entry point serves its scheme, and what it returns is checked."""

    class Point:
        name = "test"

        def load(self):
            return lambda url, options: MemoryObjects(f"{url} {options}") if options else "no store"

    monkeypatch.setattr(metadata, "entry_points", lambda group: [Point()] if group == "duckvstore.objects" else [])
    assert open_objects("test://x", {"a": 1}).url == "memory://test://x {'a': 1}"
    with pytest.raises(InvalidInput, match="no ObjectStore"):
        open_objects("test://x")
    with pytest.raises(InvalidInput, match="test://"):
        open_objects("other://x")


# -- the self-test -----------------------------------------------------------------------------------------------------


class IgnoresCase(WrappedObjects):
    def create(self, key, data):
        self.inner.create(key.lower(), data)


class Overwrites(WrappedObjects):
    def create(self, key, data):
        self.inner.put(key, data)


class OverwritesAndComplains(WrappedObjects):
    def create(self, key, data):
        try:
            self.inner.create(key, data)
        finally:
            self.inner.put(key, data)


class Unsorted(WrappedObjects):
    def list(self, *arguments, **options):
        return iter(sorted(self.inner.list(*arguments, **options), key=lambda entry: entry.key.split("/")))


class StartsAnywhere(WrappedObjects):
    def list(self, prefix, start_after=None, limit=None, *, folders=False):
        return self.inner.list(prefix, None, limit, folders=folders)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (IgnoresCase, "case of names"),
        (Overwrites, "If-None-Match"),
        (OverwritesAndComplains, "its bytes are there"),
        (Unsorted, "byte order"),
        (StartsAnywhere, "start a listing"),
    ],
)
def test_self_test_refuses(kind, words):
    """Each thing that safety rests on is really tried, and the reason given."""
    with pytest.raises(Unsupported, match=words):
        self_test(kind(MemoryObjects()))


def test_self_test_is_cheap_and_leaves_nothing():
    """Few requests, and what was there before stays as the only thing."""
    objects = CountingObjects(MemoryObjects())
    objects.put("a", b"x")
    self_test(objects)
    assert objects.request_count <= 13
    assert [entry.key for entry in objects.list("")] == ["a"]


def test_self_test_without_the_right_to_delete():
    """A store whose identity may not delete can hold a library all the same."""
    self_test(FaultyObjects(MemoryObjects(), Fault("error_500", 1, method="delete")))


# -- counting ----------------------------------------------------------------------------------------------------------


def test_counting():
    """Requests by method and bytes both ways; a listing counts per 1,000 entries taken, failures count too."""
    objects = CountingObjects(MemoryObjects())
    objects.put("a", b"12345")
    objects.create("b", b"123")
    for call in (lambda: objects.create("b", b"1"), lambda: objects.read("none")):
        with pytest.raises((AlreadyExists, NoSuchKey)):
            call()
    objects.read("a", 1, 2)
    assert objects.counts == {"put": 1, "create": 2, "read": 2, "bytes_out": 9, "bytes_in": 2}
    assert objects.request_count == 5
    objects.reset()
    assert objects.request_count == 0
    for number in range(2001):
        objects.inner.put(f"many/{number}", b"")
    listing = objects.list("many/")
    assert objects.counts["list"] == 0
    next(listing)
    assert objects.counts["list"] == 1
    assert len(list(listing)) == 2000
    assert objects.counts["list"] == 3
    assert list(objects.list("none/")) == []
    assert objects.counts["list"] == 4
    objects.delete(f"many/{number}" for number in range(1001))
    objects.delete([])
    assert objects.counts["delete"] == 2


def test_counting_from_many_threads():
    """No count is lost."""
    objects = CountingObjects(MemoryObjects())
    objects.put("a", b"xy")

    def read():
        for _ in range(500):
            objects.read("a")

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (objects.counts["read"], objects.counts["bytes_in"]) == (4000, 8000)


# -- faults ------------------------------------------------------------------------------------------------------------


def test_crash_before_and_after():
    """Before: no effect. After: the effect is there. Every later request crashes, and no handler can catch it."""
    for kind, is_there in (("crash_before", False), ("crash_after", True)):
        inner = MemoryObjects()
        objects = FaultyObjects(inner, Fault(kind, 2))
        objects.put("a", b"x")
        with pytest.raises(SimulatedCrash):
            objects.create("b", b"x")
        assert [entry.key for entry in inner.list("")] == (["a", "b"] if is_there else ["a"])
        with pytest.raises(SimulatedCrash):
            objects.read("a")
        with pytest.raises(SimulatedCrash):
            list(objects.list(""))
        with pytest.raises(SimulatedCrash):
            objects.delete(["a"])
        assert inner.read("a") == b"x"
    assert not issubclass(SimulatedCrash, Exception)


def test_dropped_response():
    """The request takes effect and its answer is lost: OutcomeUnknown for create, StorageUnavailable for the rest."""
    objects = FaultyObjects(MemoryObjects(), Fault("drop_response", 1, repeat=3))
    with pytest.raises(OutcomeUnknown):
        objects.create("a", b"first")
    with pytest.raises(OutcomeUnknown):
        objects.create("a", b"second")  # also "already exists" can be the answer that is lost
    with pytest.raises(StorageUnavailable):
        objects.put("b", b"x")
    assert (objects.read("a"), objects.read("b")) == (b"first", b"x")


def test_server_errors_and_truncated_bodies():
    """500 and SlowDown have no effect; half a body arrives without any error, for digests to notice."""
    faults = [
        Fault("error_500", 1, method="create"),
        Fault("slow_down", 2, method="create"),
        Fault("truncate", 2, "read"),
    ]
    objects = FaultyObjects(MemoryObjects(), *faults)
    objects.put("a", b"12345678")
    for _ in range(2):
        with pytest.raises(OutcomeUnknown):
            objects.create("b", b"x")
    objects.create("b", b"x")
    assert [objects.read("a"), objects.read("a"), objects.read("a")] == [b"12345678", b"1234", b"12345678"]


def test_requests_are_logged_and_can_be_stalled():
    """A trace of all requests gives the numbers to hit; a stalled request waits in the hook of its own thread."""
    reached, released = threading.Event(), threading.Event()

    def before(request):
        if request.method == "create":
            reached.set()
            released.wait(30)

    objects = FaultyObjects(MemoryObjects(), before=before)
    thread = threading.Thread(target=lambda: objects.create("a", b"x"))
    thread.start()
    assert reached.wait(30)
    with pytest.raises(NoSuchKey):
        objects.read("a")
    released.set()
    thread.join()
    assert objects.read("a") == b"x"
    assert [(each.number, each.method, each.key) for each in objects.requests] == [
        (1, "create", "a"),
        (2, "read", "a"),
        (3, "read", "a"),
    ]


def test_a_fault_that_can_never_happen_is_refused():
    """A misspelt fault must not make a test pass."""
    for arguments in (("crash", 1), ("crash_before", 0), ("crash_before", 1, "write"), ("crash_before", 1, None, 0)):
        with pytest.raises(InvalidInput):
            Fault(*arguments)


def test_only_this_package_of_objects_knows_boto3():
    """``import duckvstore.objects`` loads no boto3: it is slow, and most stores need none."""
    import subprocess
    import sys

    code = "import sys, duckvstore.objects; sys.exit(any(name.startswith('boto') for name in sys.modules))"

    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
