"""An answer of an S3 server counts only when it is whole: cut at each byte, and as gateways give them."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager

import pytest

from duckvstore.errors import NoSuchKey, OutcomeUnknown, StorageUnavailable
from duckvstore.objects import answers, open_objects
from tests.cutting import Cut, CuttingProxy, repeat_at_once
from tests.servers import HOST
from tests.sizes import IS_FULL

STEP = 1 if IS_FULL else 83  # every so manyth byte is met in a sample
LISTING = (
    b'<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Name>b</Name>'
    b"<Prefix>a%20b/</Prefix><EncodingType>url</EncodingType><IsTruncated>false</IsTruncated></ListBucketResult>"
)


@pytest.fixture(scope="module")
def proxy(moto):
    with CuttingProxy(moto.endpoint) as proxy:
        yield proxy


@pytest.fixture(params=["lean", "boto3"])
def objects(proxy, moto_bucket, monkeypatch, request):
    repeat_at_once(monkeypatch)
    proxy.begin()
    options = {**moto_bucket.storage_options, "endpoint_url": proxy.endpoint, "client": request.param}
    return open_objects(f"{moto_bucket.url}/p", options)


def _calls(objects):
    """Calls, and what each must give; each leaves the objects as they were."""
    for number in range(3):
        objects.put(f"k/{number}", b"data" * 50)

    def create():
        try:
            objects.create("new", b"x")
        except OutcomeUnknown:
            return "unknown"
        finally:
            objects.delete(["new"])
        return "done"

    def missing():
        with pytest.raises(NoSuchKey):
            objects.read("nothing")

    listed = [f"k/{number}" for number in range(3)]
    return {
        "read": (lambda: objects.read("k/1"), b"data" * 50),
        "part": (lambda: objects.read("k/1", 2, 4), b"tada"),
        "missing": (missing, None),
        "list": (lambda: [entry.key for entry in objects.list("k/")], listed),
        "list nothing": (lambda: [*objects.list("none/")], []),
        "folders": (lambda: [entry.key for entry in objects.list("", folders=True)], ["k/"]),
        "put": (lambda: objects.put("k/2", b"data" * 50), None),
        "delete": (lambda: objects.delete(["gone", "too"]), []),
        "create": (create, "done"),
        "look": (lambda: objects.read("k/1", 0, 0), b""),
    }


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("part", ["head", "body"])
def test_an_answer_cut_anywhere_is_asked_for_again(objects, proxy, part, chunked):
    """Cut once at each byte: the call gives what it always gives, and of a create one cannot know."""
    count = 0
    for name, (call, expected) in _calls(objects).items():
        byte = 0
        while True:
            proxy.begin(Cut(1, part, byte), chunked=chunked)
            found = call()
            if not proxy.has_cut:
                break
            assert found == ("unknown" if name == "create" else expected), (name, byte)
            count += 1
            byte += STEP
    assert count > 5


def test_an_answer_that_is_always_cut_is_no_answer(objects, proxy):
    """Cut each time: StorageUnavailable, never an empty listing, an empty object or a missing one."""
    for name, (call, _) in _calls(objects).items():
        for part, byte in (("head", 9), ("head", 16), ("head", 60), ("body", 0), ("body", 70)):
            proxy.begin(Cut(1, part, byte, repeat=1000))
            try:
                found = call()
            except StorageUnavailable:
                assert proxy.has_cut
            else:
                assert found == "unknown" or not proxy.has_cut, (name, part, byte)


def test_a_date_that_was_cut_is_not_learned(objects, proxy, moto_bucket):
    """Half a date is another date, and all times of a library come from it."""
    options = {**moto_bucket.storage_options, "endpoint_url": proxy.endpoint, "client": objects.options.client}
    fresh = open_objects(f"{moto_bucket.url}/p", options)
    true = objects.now()
    for byte in range(60, 130, 3):
        proxy.begin(Cut(1, "head", byte))
        assert abs((fresh.now() - true).total_seconds()) < 60
        list(fresh.list(""))
        assert abs((fresh.now() - true).total_seconds()) < 60


@contextmanager
def _gateway(answer: bytes):
    """Yield the endpoint of something that answers every request with these bytes."""
    server = socket.create_server((HOST, 0))

    def serve():
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            with client:
                client.settimeout(5)
                try:
                    client.recv(65536)
                    client.sendall(answer)
                except OSError:
                    pass

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://{HOST}:{server.getsockname()[1]}"
    finally:
        server.close()


DATE = b"Date: Fri, 27 Nov 2026 10:00:00 GMT\r\n"


@pytest.mark.parametrize("client", ["lean", "boto3"])
@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n" + DATE + b"\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n" + DATE + b"\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" + DATE + b"\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 15\r\n" + DATE + b"\r\n<html>Hi</html>",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 21\r\n" + DATE + b"\r\ndefault backend - 404",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n" + DATE + b"\r\n",
        b"HTTP/1.1 200 OK\r\n" + DATE,
    ],
)
def test_what_a_gateway_says_is_no_answer(answer, client, monkeypatch):
    """An empty 200, a page for people, a 404 of its own: nothing is concluded from them."""
    repeat_at_once(monkeypatch)
    with _gateway(answer) as endpoint:
        options = {"endpoint_url": endpoint, "region": "us-east-1", "access_key_id": "k", "secret_access_key": "s"}
        objects = open_objects("s3://bucket/p", options | {"client": client})
        for call in (
            lambda: objects.read("a"),
            lambda: list(objects.list("")),
            lambda: objects.put("a", b"x"),
            lambda: objects.delete(["a"]),
            lambda: objects.create("a", b"x"),
        ):
            with pytest.raises(StorageUnavailable) as caught:
                call()
            assert endpoint in str(caught.value)


def _refused(check, *arguments) -> bool:
    try:
        check(*arguments)
    except answers.NotWhole:
        return True
    return False


def test_lengths():
    """A body is whole to its announced length; one of length and chunks must be announced."""
    body = answers.check_body
    assert not _refused(body, "GET", 200, {"content-length": "2"}, b"ab")
    assert not _refused(body, "GET", 200, {"transfer-encoding": "Chunked"}, b"ab")
    assert not _refused(body, "HEAD", 200, {"content-length": "2"}, b"")
    assert not _refused(body, "DELETE", 204, {}, b"")
    for headers in ({}, {"content-length": "3"}, {"content-length": ""}, {"content-length": "2, 2"}):
        assert _refused(body, "GET", 200, headers, b"ab")
    assert _refused(body, "GET", 404, {}, b"")


def test_listings():
    """A listing names its bucket and prefix and says whether it goes on; no beginning of one passes."""
    listing = answers.check_listing
    assert not _refused(listing, LISTING, "ListBucketResult", "b", "a b/")
    for bucket, prefix in (("c", "a b/"), ("b", "a"), ("b", "")):
        assert _refused(listing, LISTING, "ListBucketResult", bucket, prefix)
    for alias in ("arn:aws:s3:eu-west-1:1:accesspoint/x", "point-s3alias"):
        assert not _refused(listing, LISTING, "ListBucketResult", alias, "a b/")
    for end in range(len(LISTING)):
        assert _refused(listing, LISTING[:end], "ListBucketResult", "b", "a b/")
    for part in (b"<Name>b</Name>", b"<Prefix>a%20b/</Prefix>", b"<IsTruncated>false</IsTruncated>"):
        assert _refused(listing, LISTING.replace(part, b""), "ListBucketResult", "b", "a b/")
    assert _refused(listing, LISTING, "ListVersionsResult", "b", "a b/")
