"""The S3 client's own behaviour: errors, lost answers, time, credentials and processes."""

from __future__ import annotations

import multiprocessing
import pickle
import socket
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from duckvstore import clock
from duckvstore.errors import (
    AccessDenied,
    AlreadyExists,
    DuckVStoreError,
    InvalidInput,
    NoSuchKey,
    OutcomeUnknown,
    StorageUnavailable,
    Unsupported,
)
from duckvstore.objects import open_objects, self_test
from duckvstore.objects.s3.server import ServerTime
from tests.servers import HOST, READER, closed_port

OPTIONS = {"access_key_id": "some-key-id", "secret_access_key": "a-very-secret-key", "region": "us-east-1"}


CLIENTS = ["lean", "boto3"]
both_clients = pytest.mark.usefixtures("client")


@pytest.fixture(params=CLIENTS)
def client(request, monkeypatch):
    """Each client in turn, as the one that ``Scripted.objects`` opens."""
    monkeypatch.setitem(OPTIONS, "client", request.param)
    return request.param


def raised(call):
    """Return the error that a call raises, after looking for secrets in it and in its causes."""
    with pytest.raises(DuckVStoreError) as caught:
        call()
    error = link = caught.value
    while link is not None:
        for secret in ("secret-", "some-key-id"):
            assert secret not in str(link), type(link)
            assert secret not in repr(link), type(link)
        link = link.__cause__
    return error


def every_call(objects):
    return [
        lambda: objects.create("a", b"x"),
        lambda: objects.put("a", b"x"),
        lambda: objects.read("a"),
        lambda: list(objects.list("")),
        lambda: objects.delete(["a"]),
        lambda: self_test(objects),
    ]


class Scripted:
    """An HTTP server that answers each request with the next of ``script``: (status, S3 code), bytes, or a callable.

    ``requests`` holds (method, path, headers).
    """

    def __init__(self, script, date=None):
        self.requests = []
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self):
                body_bytes = int(self.headers.get("Content-Length") or 0)
                self.rfile.read(body_bytes)
                headers = {name.lower(): value for name, value in self.headers.items()}
                scripted.requests.append((self.command, self.path, headers))
                step = script.pop(0) if len(script) > 1 else script[0]
                if callable(step):
                    step(self)
                    return
                status, body = (200, step) if isinstance(step, bytes) else (step[0], _error_body(step[1]))
                self.reply(status, body)

            def reply(self, status, body, length=None):
                self.send_response_only(status)
                self.send_header("Date", date or self.date_time_string())
                self.send_header("Content-Length", str(len(body) if length is None else length))
                self.send_header("ETag", '"0"')
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_GET = do_PUT = do_POST = do_HEAD = _answer

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self._server.daemon_threads = True
        self.endpoint = f"http://{HOST}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def objects(self, **options):
        return open_objects("s3://bucket/p", {**OPTIONS, "endpoint_url": self.endpoint, **options})


def _error_body(code):
    return f"<Error><Code>{code}</Code><Message>told so</Message></Error>".encode()


def hang_up(handler):
    """End the connection without an answer, after the request was read."""
    handler.close_connection = True
    handler.connection.shutdown(socket.SHUT_RDWR)


# -- wrong addresses and rights, against real servers ------------------------------------------------------------------


@both_clients
def test_unreachable_endpoint_fails_fast_and_is_named():
    """Nobody listens: each first call says so, with the address, in less than 5 s."""
    endpoint = f"http://{HOST}:{closed_port()}"
    objects = open_objects("s3://bucket", {**OPTIONS, "endpoint_url": endpoint})
    for call in every_call(objects):
        started = time.monotonic()
        error = raised(call)
        assert time.monotonic() - started < 5
        assert type(error) is StorageUnavailable
        assert endpoint in str(error)
        assert "endpoint_url" in str(error)
    assert type(raised(objects.now)) is StorageUnavailable


def test_wrong_credentials(s3_bucket):
    """An unknown key and a wrong secret are AccessDenied with the remedies, for every call."""
    for wrong in ({"access_key_id": "some-key-id"}, {"secret_access_key": "wrong-secret-key"}):
        objects = open_objects(s3_bucket.url, s3_bucket.storage_options | wrong)
        for call in every_call(objects):
            error = raised(call)
            assert type(error) is AccessDenied
            assert "AWS_ACCESS_KEY_ID" in str(error)
            assert error.__cause__ is not None


def test_no_credentials(s3_bucket):
    """Without any credentials the message says where they can come from; nothing is guessed."""
    error = raised(open_objects(s3_bucket.url, {"endpoint_url": s3_bucket.server.endpoint}).now)
    assert type(error) is AccessDenied
    assert "profile" in str(error)
    objects = open_objects(s3_bucket.url, {"endpoint_url": s3_bucket.server.endpoint, "anonymous": True})
    assert type(raised(lambda: objects.read("a"))) is AccessDenied
    assert "KEY_ID" not in objects.scan_secret()


def test_missing_bucket(moto_bucket):
    """A bucket that is not there is named, with the endpoint, and is no missing key."""
    objects = open_objects("s3://no-such-bucket-here/p", moto_bucket.storage_options)
    for call in every_call(objects):
        error = raised(call)
        assert type(error) is StorageUnavailable
        assert "no bucket 'no-such-bucket-here'" in str(error)
        assert moto_bucket.server.endpoint in str(error)


def test_missing_bucket_that_a_server_keeps_to_itself(s3_bucket):
    """SeaweedFS, as S3 without the right to list, answers a write to a missing bucket by AccessDenied."""
    objects = open_objects("s3://no-such-bucket-here/p", s3_bucket.storage_options)
    for call in every_call(objects):
        error = raised(call)
        assert type(error) in {StorageUnavailable, AccessDenied}
        assert "no bucket 'no-such-bucket-here'" in str(error) or "no such bucket" in str(error)
        assert "no-such-bucket-here" in str(error)


def test_read_only_identity(s3_bucket, s3_reader_options):
    """An identity that may only read reads and lists; writing and deleting are refused, each by name."""
    open_objects(s3_bucket.url, s3_bucket.storage_options).put("a", b"x")
    objects = open_objects(s3_bucket.url, s3_reader_options)
    assert objects.read("a") == b"x"
    assert [entry.key for entry in objects.list("")] == ["a"]
    for call in (lambda: objects.create("b", b""), lambda: objects.put("b", b""), lambda: self_test(objects)):
        error = raised(call)
        assert type(error) is AccessDenied
        assert "permission" in str(error)
    failures = objects.delete(["a"])
    assert [failure.key for failure in failures] == ["a"]
    assert "Denied" in failures[0].reason
    assert objects.read("a") == b"x"


def test_store_that_ignores_if_none_match(moto_bucket):
    """The self-test refuses a server that takes the header and overwrites all the same, and says why."""
    objects = open_objects(moto_bucket.url, moto_bucket.storage_options)

    client = objects._client()
    call = client.call

    def strip(operation, **parameters):
        parameters.pop("IfNoneMatch", None)
        return call(operation, **parameters)

    client.call = strip
    error = raised(lambda: self_test(objects))
    assert type(error) is Unsupported
    assert "ignores If-None-Match" in str(error)
    assert list(objects.list("")) == []


@both_clients
def test_store_that_refuses_conditional_writes():
    """501 NotImplemented for a conditional PUT means that this server cannot hold a store."""
    with Scripted([(501, "NotImplemented")]) as server:
        error = raised(lambda: server.objects().create("a", b""))
    assert type(error) is Unsupported
    assert "If-None-Match" in str(error)


# -- answers that are lost, late or wrong ------------------------------------------------------------------------------


@both_clients
@pytest.mark.parametrize("answer", [hang_up, (500, "InternalError"), (503, "SlowDown"), (504, "GatewayTimeout")])
def test_create_whose_outcome_is_unknown(answer):
    """After the request was sent, no definite answer means OutcomeUnknown, and nothing is sent again."""
    with Scripted([answer]) as server:
        error = raised(lambda: server.objects().create("a", b"x"))
        assert [method for method, _, _ in server.requests] == ["PUT"]
    assert type(error) is OutcomeUnknown
    assert "'a'" in str(error)


@both_clients
def test_create_that_is_never_answered():
    """A server that stays silent longer than the time-out leaves the outcome unknown."""
    released = threading.Event()
    with Scripted([lambda _handler: released.wait(20)]) as server:
        error = raised(lambda: server.objects(read_timeout_seconds=0.2).create("a", b"x"))
        released.set()
    assert type(error) is OutcomeUnknown


@both_clients
def test_create_conflict_is_tried_again():
    """409 ConditionalRequestConflict had no effect: the same create goes out again until the answer is definite."""
    conflict = (409, "ConditionalRequestConflict")
    with Scripted([conflict, conflict, b""]) as server:
        server.objects().create("a", b"x")
        assert [headers.get("if-none-match") for _, _, headers in server.requests] == ["*"] * 3
    with Scripted([conflict, (412, "PreconditionFailed")]) as server:
        assert type(raised(lambda: server.objects().create("a", b"x"))) is AlreadyExists


@both_clients
def test_create_conflict_without_end(monkeypatch):
    """A server that never decides is given up on after a bounded number of requests; nothing was created."""
    monkeypatch.setattr(clock, "sleep", lambda _seconds: None)
    with Scripted([(409, "ConditionalRequestConflict")]) as server:
        error = raised(lambda: server.objects().create("a", b"x"))
        assert len(server.requests) == 12
    assert type(error) is StorageUnavailable


@both_clients
def test_other_calls_are_repeated():
    """Reads, listings and puts survive a server that stumbles."""
    stumble = [(503, "SlowDown"), hang_up]
    with Scripted([b"first", *stumble, b"data"]) as server:
        objects = server.objects()
        objects.read("a")
        assert objects.read("a") == b"data"
        assert len(server.requests) == 4


@both_clients
def test_body_that_breaks_off_is_read_again():
    """A body shorter than announced is no result: the read is repeated."""

    def broken(handler):
        handler.reply(200, b"da", length=4)
        hang_up(handler)

    with Scripted([broken, broken, b"data"]) as server:
        assert server.objects().read("a") == b"data"


@both_clients
def test_body_that_always_breaks_off(monkeypatch):
    """Given up on after a few attempts, as StorageUnavailable that names the object."""
    monkeypatch.setattr(clock, "sleep", lambda _seconds: None)

    def broken(handler):
        handler.reply(200, b"da", length=4)
        hang_up(handler)

    with Scripted([broken]) as server:
        error = raised(lambda: server.objects().read("a"))
    assert type(error) is StorageUnavailable
    assert "'a'" in str(error)


@both_clients
def test_listing_out_of_order_is_refused():
    """A server that does not sort (S3 Express) would hide versions: it is refused, naming the two keys."""
    body = "".join(f"<Contents><Key>p/{key}</Key><Size>1</Size></Contents>" for key in ("a", "c", "b"))
    names = "<Name>bucket</Name><Prefix>p/</Prefix><IsTruncated>false</IsTruncated>"
    page = f"<ListBucketResult>{names}{body}</ListBucketResult>".encode()
    with Scripted([page]) as server:
        error = raised(lambda: list(server.objects().list("")))
    assert type(error) is Unsupported
    assert "'b' after 'c'" in str(error)


@both_clients
def test_server_error_texts_stay_short():
    """What a server says is shown in part; a wrong region names the option."""
    with Scripted([(400, "AuthorizationHeaderMalformed"), (418, "Teapot")]) as server:
        objects = server.objects()
        assert "'region'" in str(raised(lambda: objects.read("a")))
        error = raised(lambda: objects.put("a", b""))
    assert type(error) is InvalidInput
    assert "418 Teapot: told so" in str(error)


@both_clients
def test_delete_reports_each_key_that_stays(monkeypatch):
    """Passing errors are repeated for their keys, lasting ones reported, missing keys are no failure."""
    monkeypatch.setattr(clock, "sleep", lambda _seconds: None)

    def answer(*errors):
        rows = "".join(f"<Error><Key>p/{key}</Key><Code>{code}</Code></Error>" for key, code in errors)
        return f"<DeleteResult>{rows}</DeleteResult>".encode()

    first = answer(("a", "SlowDown"), ("b", "AccessDenied"), ("c", "NoSuchKey"))
    with Scripted([first, answer(("a", "InternalError")), answer()]) as server:
        failures = server.objects().delete(["a", "b", "c", "d"])
        assert len(server.requests) == 3
    assert [(failure.key, failure.reason[:12]) for failure in failures] == [("b", "AccessDenied")]


# -- time --------------------------------------------------------------------------------------------------------------


@both_clients
def test_now_follows_a_server_whose_clock_differs():
    """The server's clock counts where its answers prove this machine's wrong; learning it costs one request."""
    with Scripted([b""], date="Sun, 22 Nov 2099 10:00:00 GMT") as server:
        objects = server.objects()
        assert objects.now().replace(second=0, microsecond=0) == datetime(2099, 11, 22, 10, tzinfo=UTC)
        objects.now()
        assert len(server.requests) == 1


@both_clients
def test_now_is_learned_from_a_refusal():
    """Credentials that may not look at the bucket still learn the time."""
    with Scripted([(403, "AccessDenied")], date="Sun, 22 Nov 2099 10:00:00 GMT") as server:
        assert server.objects().now().year == 2099


def _at(seconds):
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)


def test_server_time_keeps_a_right_clock_untouched():
    """A date says the time to the second: a local clock within its bounds is not corrected."""
    server = ServerTime()
    assert not server.is_known
    server.learn({"date": "Thu, 01 Jan 2026 00:00:10 GMT"}, _at(10.4), _at(10.6))
    assert server.is_known
    assert server.now(_at(20)) == _at(20)


def test_server_time_narrows_and_starts_again():
    """Answers narrow the bounds; one that contradicts them (a clock was set) counts alone; a cached one not at all."""
    server = ServerTime()
    server.learn({"date": "Thu, 01 Jan 2026 00:01:40 GMT"}, _at(0), _at(0))  # the server is 100 to 101 s ahead
    assert server.now(_at(0)) == _at(100.5)
    server.learn({"date": "Thu, 01 Jan 2026 00:01:41 GMT"}, _at(0.9), _at(0.9))  # 100.1 to 101.1
    assert server.now(_at(0)) == _at(100.55)
    server.learn({"date": "Thu, 01 Jan 2026 00:00:00 GMT", "age": "90"}, _at(5), _at(5))
    server.learn({"date": "yesterday"}, _at(5), _at(5))
    server.learn({}, _at(5), _at(5))
    assert server.now(_at(0)) == _at(100.55)
    server.learn({"date": "Thu, 01 Jan 2026 00:00:05 GMT"}, _at(5.5), _at(5.5))
    assert server.now(_at(7)) == _at(7)


# -- options, secrets and processes -----------------------------------------------------------------------------------


@both_clients
def test_scan_secret_of_an_endpoint():
    """DuckDB gets host and port without the scheme, path style, and the credentials."""
    objects = open_objects("s3://bucket/p", {**OPTIONS, "endpoint_url": "http://127.0.0.1:9", "session_token": "t"})
    assert objects.scan_secret() == {
        "KEY_ID": "some-key-id",
        "SECRET": "a-very-secret-key",
        "SESSION_TOKEN": "t",
        "REGION": "us-east-1",
        "ENDPOINT": "127.0.0.1:9",
        "URL_STYLE": "path",
        "USE_SSL": False,
    }
    virtual = open_objects("s3://b", {**OPTIONS, "endpoint_url": "https://x:9", "addressing_style": "virtual"})
    assert [virtual.scan_secret()[key] for key in ("URL_STYLE", "USE_SSL")] == ["vhost", True]
    aws = open_objects("s3://b", {**OPTIONS, "region": "eu-west-1"}).scan_secret()
    assert (aws["ENDPOINT"], aws["URL_STYLE"], aws["REGION"]) == ("s3.eu-west-1.amazonaws.com", "vhost", "eu-west-1")


def test_profiles(tmp_path, monkeypatch):
    """A profile gives credentials, region and endpoint; an unknown one is named."""
    config = tmp_path / "config"
    config.write_text(
        "[profile lab]\nregion = eu-west-3\nendpoint_url = http://127.0.0.1:9\n"
        "aws_access_key_id = lab-key\naws_secret_access_key = lab-secret\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    secret = open_objects("s3://bucket", {"profile": "lab"}).scan_secret()
    assert (secret["KEY_ID"], secret["REGION"], secret["ENDPOINT"]) == ("lab-key", "eu-west-3", "127.0.0.1:9")
    assert secret["URL_STYLE"] == "path"
    error = raised(open_objects("s3://bucket", {"profile": "lib"}).now)
    assert type(error) is InvalidInput
    assert "lib" in str(error)


@both_clients
def test_uploads_carry_a_checksum_that_the_server_verifies():
    """A CRC32 goes with every upload, unless checksum='when_required' says that the server does not know it."""
    with Scripted([b""]) as server:
        server.objects().put("a", b"x")
        server.objects(checksum="when_required").put("a", b"x")
        first, second = (headers for _, _, headers in server.requests)
    assert "x-amz-checksum-crc32" in first
    assert "x-amz-checksum-crc32" not in second
    assert "expect" not in {*first, *second}  # a round trip more


@both_clients
def test_requester_pays():
    """Every request says so, signed; DuckDB's too."""
    with Scripted([b""]) as server:
        objects = server.objects(requester_pays=True)
        objects.put("a", b"x")
        objects.read("a")
        for _, _, headers in server.requests:
            assert headers["x-amz-request-payer"] == "requester"
            assert "x-amz-request-payer" in headers["authorization"]
        assert objects.scan_secret()["REQUESTER_PAYS"] is True


def test_no_credentials_in_reprs_and_urls():
    """What is printed while debugging holds no secret."""
    objects = open_objects("s3://bucket/p", OPTIONS)
    assert "secret" not in f"{objects!r} {objects.options!r} {objects.url}"


def test_uri_only_where_duckdb_reads_exactly_it():
    """A prefix that DuckDB would glob, decode or read a Hive column from has no address."""
    assert open_objects("s3://bucket/a/b~c.d", OPTIONS).uri("k/1") == "s3://bucket/a/b~c.d/k/1"
    for prefix in ("a*b", "x=1", "a b", "a%41", "[a]", "a+b"):
        assert open_objects(f"s3://bucket/{prefix}", OPTIONS).uri("k") is None


@pytest.mark.parametrize("client", CLIENTS)
def test_odd_prefixes_are_literal(s3_bucket, client):
    """A prefix is a name, not a pattern or an escape, and the server, which checks signatures, understands it so."""
    prefixes = ["a%2Fb", "x=1&y", "a b+c", "é漢", "*'();:@$,!~", "a&lt;", "%zz"]
    for prefix in prefixes:
        objects = open_objects(f"s3://{s3_bucket.name}/{prefix}/", s3_bucket.storage_options | {"client": client})
        objects.create("k", prefix.encode())
        assert [entry.key for entry in objects.list("")] == ["k"]
        assert objects.read("k") == prefix.encode()
    raw = s3_bucket.server.client()
    keys = {item["Key"] for item in raw.list_objects_v2(Bucket=s3_bucket.name)["Contents"]}
    raw.close()
    assert keys == {f"{prefix}/k" for prefix in prefixes}
    for prefix in prefixes:
        objects = open_objects(f"s3://{s3_bucket.name}/{prefix}/", s3_bucket.storage_options | {"client": client})
        assert objects.delete(["k"]) == []
        assert [*objects.list("")] == []


def test_pickle_opens_again(moto_bucket):
    """A pickled object store is the same one in another process."""
    objects = open_objects(moto_bucket.url + "/p", moto_bucket.storage_options)
    objects.put("a", b"x")
    again = pickle.loads(pickle.dumps(objects))
    assert (again.url, again.read("a")) == (objects.url, b"x")


def _read_in_child(objects, queue):
    queue.put(objects.read("a"))


@contextmanager
def _forked(*arguments):
    process = multiprocessing.get_context("fork").Process(target=_read_in_child, args=arguments, daemon=True)
    process.start()
    yield
    process.join(30)
    assert process.exitcode == 0


def test_a_forked_process_makes_its_own_connections(s3_bucket):
    """A handle that is already connected works in forked children and in the parent at the same time."""
    objects = open_objects(s3_bucket.url, s3_bucket.storage_options)
    objects.put("a", b"x" * 100_000)
    queue = multiprocessing.get_context("fork").SimpleQueue()
    with _forked(objects, queue), _forked(objects, queue):
        assert objects.read("a") == b"x" * 100_000
        assert [len(queue.get()), len(queue.get())] == [100_000] * 2


def test_many_threads_share_one_handle(moto_bucket):
    """The client is made once, however many threads come first."""
    objects = open_objects(moto_bucket.url, moto_bucket.storage_options)
    clients = []
    threads = [threading.Thread(target=lambda: clients.append(objects._client())) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(each) for each in clients}) == 1


def test_identities_of_the_test_server(s3_bucket):
    """The reader of the test server exists: a misspelt identity would make refusals look right."""
    objects = open_objects(s3_bucket.url, s3_bucket.server.storage_options(READER))
    with pytest.raises(NoSuchKey):
        objects.read("a")
