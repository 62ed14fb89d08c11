"""What the lean S3 client sends and how it takes what comes back, to the byte: a server of raw sockets answers."""

from __future__ import annotations

import base64
import socket
import ssl
import struct
import sys
import threading
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from duckvstore import clock
from duckvstore.errors import AccessDenied, AlreadyExists, Integrity, OutcomeUnknown, StorageUnavailable
from duckvstore.objects import answers, open_objects
from duckvstore.objects.s3 import connections
from tests.servers import HOST

OPTIONS = {"access_key_id": "some-key-id", "secret_access_key": "a-very-secret-key", "region": "us-east-1"}
CLOSE, RESET = object(), object()


@dataclass
class Request:
    connection: int
    method: str
    target: str
    headers: dict[str, str]
    body: bytes = field(repr=False)

    @property
    def region(self) -> str:
        return self.headers["authorization"].split("/")[2]


class Wire:
    """Answers each request with the next step of ``script``, the last one again and again.

    A step is a list of bytes, functions of the request, CLOSE or RESET, carried out one after the other. ``requests``
    has what came. With ``context`` it speaks TLS.
    """

    def __init__(self, *script, context=None):
        self.script = [step if isinstance(step, list) else [step] for step in script]
        self.requests: list[Request] = []
        self.connection_count = 0
        self._context = context
        self._socket = socket.create_server((HOST, 0))
        self.port = self._socket.getsockname()[1]
        self.endpoint = f"{'https' if context else 'http'}://{HOST}:{self.port}"

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._socket.close()

    def objects(self, **options):
        return open_objects("s3://bucket/p", {**OPTIONS, "endpoint_url": self.endpoint, **options})

    def _accept(self):
        while True:
            try:
                client, _ = self._socket.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self._context:
                    client = self._context.wrap_socket(client, server_side=True)
            except ssl.SSLError:
                continue
            except OSError:
                return
            self.connection_count += 1
            threading.Thread(target=self._serve, args=(client, self.connection_count), daemon=True).start()

    def _serve(self, client, number):
        with client, client.makefile("rb") as file:
            client.settimeout(20)
            try:
                while line := file.readline():
                    method, target, _ = line.decode().split(" ")
                    headers = {}
                    while (line := file.readline().decode("latin-1").strip()) != "":
                        name, _, value = line.partition(": ")
                        headers[name.lower()] = value
                    request = Request(number, method, target, headers, b"")
                    request.read_body = lambda r=request: setattr(
                        r, "body", file.read(int(r.headers.get("content-length", 0)))
                    )
                    if "expect" not in headers:
                        request.read_body()
                    self.requests.append(request)
                    step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
                    for part in step:
                        if part is CLOSE:
                            return
                        if part is RESET:
                            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                            return
                        client.sendall((part(request) or b"") if callable(part) else part)
            except OSError:
                return


def answer(body=b"", status="200 OK", **headers):
    lines = {"Date": datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT"), "ETag": '"0"'}
    lines |= {"Content-Length": str(len(body))}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value is not None)
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


def refusal(status, code, extra="", **headers):
    return answer(f"<Error><Code>{code}</Code><Message>told so</Message>{extra}</Error>".encode(), status, **headers)


@pytest.fixture
def pauses(monkeypatch):
    """The seconds of each wait, none of which is made."""
    waited = []
    monkeypatch.setattr(clock, "sleep", waited.append)
    return waited


# -- connections -------------------------------------------------------------------------------------------------------


def test_one_connection_serves_one_thread():
    """Requests of one thread share a connection, also after refusals; each is one piece on the wire."""
    with Wire(answer(b"data"), refusal("404 Not Found", "NoSuchKey"), answer(b"data")) as wire:
        objects = wire.objects()
        assert objects.read("a") == b"data"
        with pytest.raises(KeyError):
            objects.read("b")
        objects.put("c", b"x")
        assert objects.read("d") == b"data"
        assert [request.connection for request in wire.requests] == [1, 1, 1, 1]
        assert {request.headers["host"] for request in wire.requests} == {f"{HOST}:{wire.port}"}
        assert [request.target for request in wire.requests] == [f"/bucket/p/{key}" for key in "abcd"]


def test_threads_have_a_connection_each():
    """As many requests at a time as there are threads, and no connection more."""
    barrier = threading.Barrier(8)

    def together(_request):
        barrier.wait(20)

    with Wire([together, answer(b"data")]) as wire:
        objects = wire.objects()
        for _ in range(3):
            threads = [threading.Thread(target=objects.read, args=("a",)) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert len(wire.requests) == 24
        assert wire.connection_count == 8


def test_a_connection_that_the_server_ends_after_an_answer(pauses):
    """With notice (Connection: close) or without: the next request, also a create, goes out on another connection."""
    with Wire([answer(b"data", Connection="close"), CLOSE], [answer(b"data"), CLOSE], answer(b"data")) as wire:
        objects = wire.objects()
        assert objects.read("a") == b"data"
        assert objects.read("a") == b"data"
        objects._client()._target.connections._pool.pool.queue[-1].sock.recv(
            1, socket.MSG_PEEK
        )  # until the end is here
        objects.create("b", b"x")
        assert [request.connection for request in wire.requests] == [1, 2, 3]
        assert pauses == []


@pytest.mark.parametrize("end", [CLOSE, RESET])
@pytest.mark.parametrize("sent", [0, 9, 60, -2])
def test_a_connection_that_ends_instead_of_an_answer(end, sent, pauses):
    """Wherever it ends: what may be repeated is, at once on a new connection; of a create nobody knows."""
    part = [answer(b"data")[:sent] if sent else b"", end]
    with Wire(answer(b"data"), part, answer(b"data")) as wire:
        objects = wire.objects()
        objects.read("a")
        assert objects.read("a") == b"data"
        assert [request.connection for request in wire.requests] == [1, 1, 2]
        assert pauses == []
    with Wire(answer(b"data"), part, answer(b"data")) as wire:
        objects = wire.objects()
        objects.read("a")
        with pytest.raises(OutcomeUnknown):
            objects.create("b", b"x")
        assert [request.method for request in wire.requests] == ["GET", "PUT"]


def test_an_interrupt_in_the_middle_of_an_answer_ends_its_connection(monkeypatch):
    """What is left of the answer is not taken for the next one."""

    def interrupt(*_):
        raise KeyboardInterrupt

    with Wire(answer(b"first"), answer(b"second")) as wire:
        objects = wire.objects()
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(answers.WholeHeadResponse, "read", interrupt)
            objects.read("a")
        assert objects.read("a") == b"second"
        assert [request.connection for request in wire.requests] == [1, 2]


# -- answers -----------------------------------------------------------------------------------------------------------


def test_answers_byte_by_byte_with_interim_ones_before_and_in_chunks():
    """100 and 103 are passed over; chunks may have extensions and trailers; a listing without end is none."""
    interim = (
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n"
    )
    chunks = b"3;name=value\r\ndat\r\n1\r\na\r\n0\r\nX-Trailer: 1\r\n\r\n"
    chunked = answer(b"", Content_Length=None, Transfer_Encoding="chunked") + chunks
    for whole in (interim + answer(b"data"), chunked, interim + chunked):
        with Wire([bytes([byte]) for byte in whole]) as wire:
            objects = wire.objects()
            assert [objects.read("a"), objects.read("a")] == [b"data"] * 2
            assert wire.connection_count == 1


def test_checksums_of_whole_objects():
    """What does not match the server's checksum is damaged; one of parts or of an unknown kind says nothing."""
    right = base64.b64encode(zlib.crc32(b"data").to_bytes(4, "big")).decode()
    for name, value, is_damaged in (
        ("crc32", right, False),
        ("crc32", "AAAAAA==", True),
        ("crc32", "AAAAAA==-3", False),
        ("sha256", "AAAAAA==", True),
        ("crc64nvme", "AAAAAA==", False),
    ):
        with Wire(answer(b"data", **{f"x_amz_checksum_{name}": value})) as wire:
            objects = wire.objects()
            if is_damaged:
                with pytest.raises(Integrity):
                    objects.read("a")
            else:
                assert objects.read("a") == b"data"
            assert wire.requests[0].headers["x-amz-checksum-mode"] == "ENABLED"
            assert wire.objects(checksum="when_required").read("a") == b"data"
            assert "x-amz-checksum-mode" not in wire.requests[-1].headers


@pytest.mark.parametrize("client", ["lean", "boto3"])
def test_a_part_is_the_one_that_was_asked_for(client, pauses):
    """Also from a gateway that answers with the whole object; another part is never taken for it."""
    body, part = b"0123456789", "206 Partial Content"
    for span, told, given, expected in (
        ((2, 3), None, body, b"234"),
        ((2, None), None, body, b"23456789"),
        ((20, 5), None, body, b""),
        ((2, 3), "bytes 2-4/10", b"234", b"234"),
        ((2, 3), "bytes 2-4/*", b"234", b"234"),
        ((8, 5), "bytes 8-9/10", b"89", b"89"),
        ((2, None), "bytes 2-9/10", b"23456789", b"23456789"),
        ((2, 3), "bytes 0-2/10", b"012", StorageUnavailable),
        ((2, 3), "bytes 2-3/10", b"23", StorageUnavailable),
        ((2, 3), "bytes 2-5/10", b"2345", StorageUnavailable),
        ((2, 3), "bytes 2-4/10", b"23", StorageUnavailable),
        ((2, 3), "nothing", b"234", StorageUnavailable),
        ((2, 3), "", b"234", StorageUnavailable),
        ((2, 3), f"bytes 2-4/{'9' * 5000}", b"234", StorageUnavailable),
        ((0, None), "bytes 0-4/10", b"01234", StorageUnavailable),
    ):
        with Wire(answer(given, "200 OK" if told is None else part, Content_Range=told)) as wire:
            objects = wire.objects(client=client, checksum="when_required")
            if isinstance(expected, bytes):
                assert objects.read("a", *span) == expected, (span, told)
            else:
                with pytest.raises(expected):
                    objects.read("a", *span)


def test_listings_of_several_pages():
    """Names come encoded, a token asks for the next page; a page that lacks a name, a size or a token is none."""

    def page(entries, more):
        return answer(
            f"<ListBucketResult><Name>bucket</Name><Prefix>p%2F</Prefix><EncodingType>url</EncodingType>{entries}"
            f"{more}</ListBucketResult>".encode()
        )

    first = page("<Contents><Key>p/a%2Bb+c</Key><Size>3</Size></Contents>", "<IsTruncated>true</IsTruncated>")
    token = "<IsTruncated>true</IsTruncated><NextContinuationToken>a+/=&amp;</NextContinuationToken>"
    second = page("<CommonPrefixes><Prefix>p/x/</Prefix></CommonPrefixes>", "<IsTruncated>false</IsTruncated>")
    with Wire(first.replace(b"<IsTruncated>true</IsTruncated>", token.encode()), second) as wire:
        wire.script[0] = [page("<Contents><Key>p/a%2Bb+c</Key><Size>3</Size></Contents>", token)]
        found = [(entry.key, entry.size_bytes) for entry in wire.objects().list("", folders=True)]
        assert found == [("a+b c", 3), ("x/", None)]
        assert "continuation-token=a%2B%2F%3D%26&delimiter=%2F&" in wire.requests[1].target
    for broken in (first, page("<Contents><Key>p/a</Key></Contents>", "<IsTruncated>false</IsTruncated>")):
        with Wire(broken) as wire, pytest.MonkeyPatch.context() as patch:
            patch.setattr(clock, "sleep", lambda _seconds: None)
            with pytest.raises(StorageUnavailable, match="no whole answer"):
                list(wire.objects().list(""))


# -- refusals ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "elsewhere",
    [
        refusal("301 Moved Permanently", "PermanentRedirect", x_amz_bucket_region="eu-west-3"),
        refusal("307 Temporary Redirect", "TemporaryRedirect", x_amz_bucket_region="eu-west-3"),
        refusal("400 Bad Request", "AuthorizationHeaderMalformed", "<Region>eu-west-3</Region>"),
    ],
)
def test_a_bucket_of_another_region(elsewhere):
    """A request, also a create, is signed for the region that the server names, and so are all others from then on."""
    with Wire(elsewhere, answer(b"data")) as wire:
        objects = wire.objects()
        objects.create("a", b"x")
        assert objects.read("a") == b"data"
        assert [request.region for request in wire.requests] == ["us-east-1", "eu-west-3", "eu-west-3"]
        assert objects.scan_secret()["REGION"] == "eu-west-3"
    with Wire(elsewhere) as wire, pytest.raises(StorageUnavailable, match="'region'"):
        wire.objects().read("a")


def test_a_clock_that_is_wrong():
    """The server's time counts from its first refusal on; when that does not help, it is said."""
    skewed = refusal("403 Forbidden", "RequestTimeTooSkewed", Date="Sun, 22 Nov 2099 10:00:00 GMT")
    with Wire(skewed, answer(b"data", Date="Sun, 22 Nov 2099 10:00:00 GMT")) as wire:
        objects = wire.objects()
        objects.create("a", b"x")
        assert objects.read("a") == b"data"
        moments = [request.headers["x-amz-date"][:9] for request in wire.requests]
        assert moments[0] < "20990101T"
        assert moments[1:] == ["20991122T"] * 2
    with Wire(skewed) as wire:
        with pytest.raises(AccessDenied, match="clock"):
            wire.objects().read("a")
        assert len(wire.requests) == 2


def test_a_server_that_has_too_much(pauses):
    """It is left alone for as long as it asks for; a create whose outcome is open is not repeated all the same."""
    busy = refusal("503 Slow Down", "SlowDown", Retry_After="3")
    with Wire(busy, busy, answer(b"data")) as wire:
        objects = wire.objects()
        assert objects.read("a") == b"data"
        assert pauses == [3.0, 3.0]
        wire.script.insert(0, [busy])
        with pytest.raises(OutcomeUnknown):
            objects.create("a", b"x")
        assert len(wire.requests) == 4


def test_a_server_that_never_has_less(pauses):
    """After five attempts it is said; waits grow and stay bounded where the server asks for none."""
    with Wire(refusal("503 Slow Down", "SlowDown")) as wire:
        with pytest.raises(StorageUnavailable, match="SlowDown"):
            wire.objects().read("a")
        assert len(wire.requests) == 5
    assert len(pauses) == 4
    assert 0.25 <= pauses[0] <= 0.5
    assert max(pauses) <= 2


# -- bodies ------------------------------------------------------------------------------------------------------------

LARGE = b"0123456789" * 100


@pytest.fixture
def small_is_large(monkeypatch):
    monkeypatch.setattr(connections, "LARGE_BODY_BYTES", len(LARGE))


@pytest.mark.usefixtures("small_is_large")
def test_a_large_body_waits_for_the_servers_agreement():
    """Only a large one; the server may agree, after other interim answers, and then has all of it."""
    agreement = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
    with Wire(answer(), [agreement, lambda request: request.read_body(), answer()]) as wire:
        objects = wire.objects()
        objects.put("a", LARGE[:-1])
        objects.create("b", LARGE)
        assert ["expect" in request.headers for request in wire.requests] == [False, True]
        assert [request.body for request in wire.requests] == [LARGE[:-1], LARGE]
        assert wire.connection_count == 1


@pytest.mark.usefixtures("small_is_large")
def test_a_large_body_that_the_server_does_not_want():
    """A refusal without the body is the answer, and the body is never sent."""
    with Wire([refusal("412 Precondition Failed", "PreconditionFailed", Connection="close"), CLOSE]) as wire:
        with pytest.raises(AlreadyExists):
            wire.objects().create("a", LARGE)
        assert len(wire.requests) == 1
    with Wire([refusal("403 Forbidden", "AccessDenied"), lambda request: request.read_body()], answer()) as wire:
        objects = wire.objects()
        with pytest.raises(AccessDenied):
            objects.put("a", LARGE)
        objects.put("b", b"small")
        assert [(request.connection, len(request.body)) for request in wire.requests] == [(1, 0), (2, 5)]


@pytest.mark.usefixtures("small_is_large")
def test_a_large_body_for_a_server_that_knows_no_agreement(monkeypatch):
    """It gets the body after a moment; one that refuses the very question gets it without."""
    monkeypatch.setattr(connections, "_AGREEMENT_SECONDS_MAX", 0.05)
    with Wire([lambda request: request.read_body(), answer()]) as wire:
        wire.objects().create("a", LARGE)
        assert [request.body for request in wire.requests] == [LARGE]
    with Wire([answer(b"", "417 Expectation Failed"), CLOSE], answer()) as wire:
        wire.objects().create("a", LARGE)
        assert [request.body for request in wire.requests] == [b"", LARGE]


@pytest.mark.parametrize("length", [0, 10, 2**20, 5 * 2**20 + 1, 2**23, 2**24])
def test_a_body_is_sent_in_pieces(length, monkeypatch):
    """``sendall`` has the time-out for all that it is given: what takes longer than that has to go in parts."""

    class Recorded(socket.socket):
        def sendall(self, data, *flags):
            sizes.append(len(data))
            super().sendall(data, *flags)

    sizes = []
    monkeypatch.setattr(socket, "socket", Recorded)
    agreement = [b"HTTP/1.1 100 Continue\r\n\r\n"] if length >= connections.LARGE_BODY_BYTES else []
    with Wire([*agreement, lambda request: request.read_body() if not request.body else None, answer()]) as wire:
        wire.objects().put("a", bytes(length))
        assert wire.requests[0].body == bytes(length)
    assert max(sizes) <= 2**20 + 1000


# -- credentials -------------------------------------------------------------------------------------------------------


def test_credentials_that_are_renewed_in_the_middle(tmp_path, monkeypatch):
    """Each request is signed with what the provider of the credentials gives at that moment."""
    counter, script, config = tmp_path / "count", tmp_path / "give.py", tmp_path / "config"
    counter.write_text("0")
    script.write_text(
        "import json, pathlib, datetime as d\n"
        f"counter = pathlib.Path({str(counter)!r})\n"
        "number = int(counter.read_text()) + 1\n"
        "counter.write_text(str(number))\n"
        "end = d.datetime.now(d.timezone.utc) + d.timedelta(seconds=5)  # sooner than anybody dares to use it\n"
        "keys = {'Version': 1, 'AccessKeyId': f'key{number}', 'SecretAccessKey': 's', 'SessionToken': f't{number}'}\n"
        "print(json.dumps({**keys, 'Expiration': end.isoformat()}))\n"
    )
    config.write_text(f"[profile lab]\nregion = us-east-1\ncredential_process = {sys.executable} {script}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    with Wire(answer(b"data")) as wire:
        objects = open_objects("s3://bucket/p", {"endpoint_url": wire.endpoint, "profile": "lab"})
        for _ in range(3):
            objects.read("a")
        tokens = [request.headers["x-amz-security-token"] for request in wire.requests]
        assert len(set(tokens)) == 3
        for request, token in zip(wire.requests, tokens, strict=True):
            assert f"Credential=key{token[1:]}/" in request.headers["authorization"]
            assert "x-amz-security-token" in request.headers["authorization"]


def test_anonymous_requests_carry_no_signature():
    with Wire(answer(b"data")) as wire:
        assert open_objects("s3://bucket/p", {"endpoint_url": wire.endpoint, "anonymous": True}).read("a") == b"data"
        assert not {"authorization", "x-amz-date", "x-amz-security-token"} & wire.requests[0].headers.keys()


# -- addresses, proxies and certificates -------------------------------------------------------------------------------


def test_addresses_by_botocores_rules(monkeypatch):
    """Bucket in the host name or in the path, endpoints of the environment, other kinds of endpoints."""

    def address(url, **options):
        target = open_objects(url, OPTIONS | options)._client()._target
        return f"{target.scheme}://{target.host}{target.path} {target.region} {target.service}"

    assert address("s3://b-1", region="eu-west-1") == "https://b-1.s3.eu-west-1.amazonaws.com eu-west-1 s3"
    assert address("s3://b.1", region="eu-west-1") == "https://s3.eu-west-1.amazonaws.com/b.1 eu-west-1 s3"
    assert address("s3://b-1", region="cn-north-1") == "https://b-1.s3.cn-north-1.amazonaws.com.cn cn-north-1 s3"
    assert address("s3://b-1", endpoint_url="http://h:80") == "http://h/b-1 us-east-1 s3"
    assert address("s3://b-1", endpoint_url="https://h:9", addressing_style="virtual") == "https://b-1.h:9 us-east-1 s3"
    point = "arn:aws:s3:eu-west-1:123456789012:accesspoint:x"
    host = "x-123456789012.s3-accesspoint.eu-west-1.amazonaws.com"
    assert address(f"s3://{point}", region="eu-west-1") == f"https://{host} eu-west-1 s3"
    monkeypatch.setenv("AWS_USE_DUALSTACK_ENDPOINT", "true")
    assert address("s3://b-1", region="eu-west-1") == "https://b-1.s3.dualstack.eu-west-1.amazonaws.com eu-west-1 s3"
    monkeypatch.delenv("AWS_USE_DUALSTACK_ENDPOINT")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://h:9")
    assert address("s3://b-1") == "http://h:9/b-1 us-east-1 s3"


def test_a_proxy_and_a_bucket_in_the_host_name(monkeypatch):
    """Plain HTTP goes to the proxy with the whole URL and the proxy's own password, TLS by CONNECT."""
    with Wire(answer(b"data"), [b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", CLOSE]) as wire:
        monkeypatch.setenv("HTTP_PROXY", f"http://me:pass@{HOST}:{wire.port}")
        monkeypatch.setenv("HTTPS_PROXY", f"http://me:pass@{HOST}:{wire.port}")
        options = OPTIONS | {"endpoint_url": "http://store.example:81", "addressing_style": "virtual"}
        assert open_objects("s3://bucket/p q", options).read("a") == b"data"
        request = wire.requests[0]
        assert request.target == "http://bucket.store.example:81/p%20q/a"
        assert request.headers["host"] == "bucket.store.example:81"
        assert request.headers["proxy-authorization"] == "Basic " + base64.b64encode(b"me:pass").decode()
        assert "proxy" not in request.headers["authorization"]
        with pytest.raises(StorageUnavailable) as caught:
            open_objects("s3://bucket/p", OPTIONS).create("a", b"x")
        assert type(caught.value) is StorageUnavailable  # nothing was sent
        assert "pass@" not in str(caught.value.__cause__)
        assert (wire.requests[1].method, wire.requests[1].target) == (
            "CONNECT",
            "bucket.s3.amazonaws.com:443",
        )
        monkeypatch.setenv("NO_PROXY", HOST)
        wire.script = [[answer(b"direct")]]
        assert wire.objects().read("a") == b"direct"


@contextmanager
def _certificate(folder):
    """Yield a TLS context for loopback, and the file with its certificate."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "certificate.pem"
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret = folder / "key.pem"
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, secret)
    yield context, file


@pytest.mark.s3  # where moto is installed, so is cryptography
def test_certificates(tmp_path, monkeypatch):
    """A certificate of nobody's is refused before anything is sent, unless AWS_CA_BUNDLE has it."""
    with _certificate(tmp_path) as (context, file), Wire(answer(b"data"), context=context) as wire:
        endpoint = f"https://localhost:{wire.port}"
        with pytest.raises(StorageUnavailable, match="AWS_CA_BUNDLE") as caught:
            wire.objects(endpoint_url=endpoint).create("a", b"x")
        assert type(caught.value) is StorageUnavailable
        assert wire.requests == []
        monkeypatch.setenv("AWS_CA_BUNDLE", str(file))
        objects = wire.objects(endpoint_url=endpoint)
        assert objects.read("a") == b"data"
        objects.create("a", b"x")
        assert wire.requests[1].headers["x-amz-content-sha256"] == "UNSIGNED-PAYLOAD"
        assert wire.connection_count == 1
        with pytest.raises(StorageUnavailable, match="certificate"):
            wire.objects(endpoint_url=f"https://{HOST}:{wire.port}").read("a")  # not the name on the certificate


def test_what_an_option_cannot_put_into_a_head():
    """A line break in a parameter of S3 would begin another header: it is refused and nothing is sent."""
    with Wire(answer()) as wire:
        objects = wire.objects().stored_as({"SSEKMSKeyId": "x\r\nx-amz-acl: public-read"})
        with pytest.raises(ValueError, match="line break"):
            objects.put("a", b"x")
        assert wire.requests == []
        wire.objects().stored_as({"StorageClass": "STANDARD_IA", "ServerSideEncryption": "AES256"}).put("a", b"x")
        sent = wire.requests[0].headers
        assert (sent["x-amz-storage-class"], sent["x-amz-server-side-encryption"]) == ("STANDARD_IA", "AES256")
        assert "x-amz-storage-class" in sent["authorization"]


def test_deletions_name_keys_as_they_are():
    """What XML would change in a key is escaped; the checksum that S3 asks for comes whatever the options say."""
    with Wire(answer(b"<DeleteResult/>")) as wire:
        objects = open_objects(
            "s3://bucket/a&b<c", {**OPTIONS, "endpoint_url": wire.endpoint, "checksum": "when_required"}
        )
        assert objects.delete(["k"]) == []
        request = wire.requests[0]
        assert b"<Key>a&amp;b&lt;c/k</Key>" in request.body
        assert request.target == "/bucket?delete="
        crc = base64.b64encode(zlib.crc32(request.body).to_bytes(4, "big")).decode()
        assert request.headers["x-amz-checksum-crc32"] == crc
