"""botocore's part: sessions, credentials, addresses, and a client that carries out every operation of S3 by itself.

An operation is sent once (again only to a bucket's own region); its answer is read to its end and counts
only when it is whole (``answers``): an incomplete one counts as a lost connection.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from http.client import HTTPException
from io import BytesIO
from threading import local
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from duckvstore import clock
from duckvstore.objects import answers
from duckvstore.objects.s3.connections import LARGE_BODY_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from duckvstore.objects.s3.options import S3Options
    from duckvstore.objects.s3.server import Server

_LISTINGS = {"ListObjectsV2": "ListBucketResult", "ListObjectVersions": "ListVersionsResult"}
# Servers call the answer about versioning by several names.
_DOCUMENTS = {"DeleteObjects": "DeleteResult", "GetBucketVersioning": None}
_OF_OBJECTS = {"GetObject", "HeadObject", "PutObject"}


@dataclass(frozen=True, slots=True)
class Address:
    """Where botocore would send requests about a bucket, and how it would sign them."""

    url: str
    endpoint_url: str
    region: str
    service: str
    is_signed_by_v4: bool


class BotoClient:
    """The operations of S3 for one bucket, in S3's own names, by a client of botocore's."""

    def __init__(self, bucket: str, options: S3Options, server: Server) -> None:
        """Ask no server; raises botocore's errors for a profile or a region that does not exist, and ValueError.

        Args:
            bucket: its name.
            options: how to reach it.
            server: learns from every answer.
        """
        import boto3
        import botocore.session

        core = botocore.session.get_session()
        core.register_component("data_loader", _api_descriptions())
        self.session = boto3.session.Session(
            botocore_session=core,
            profile_name=options.profile,
            region_name=options.region,
            aws_access_key_id=options.access_key_id,
            aws_secret_access_key=options.secret_access_key,
            aws_session_token=options.session_token,
        )
        self._bucket = bucket
        self._options = options
        self._server = server
        self._sent = local()
        self._client = self._make_client()
        self.endpoint_url = str(self._client.meta.endpoint_url)
        region = self._client.meta.region_name
        self.region = "us-east-1" if region in {None, "aws-global"} else str(region)
        self.signs_bodies: bool | None = (self._client.meta.config.s3 or {}).get("payload_signing_enabled")
        self._credentials = self.session.get_credentials()
        self.http_session = self._client._endpoint.http_session  # noqa: SLF001 - the way past it would repeat all of botocore's set-up
        classes = self.http_session._pool_classes_by_scheme  # noqa: SLF001 - shared by all of its pools; botocore offers no other
        for scheme, pool in classes.items():
            classes[scheme] = _with_whole_heads(pool)
        self._client.meta.events.register("before-send.s3", self._send)
        self._client.meta.events.register("response-received.s3", self._response_received)
        if options.requester_pays:
            self._client.meta.events.register("before-call.s3", _pay)

    def _make_client(self, region: str | None = None) -> Any:
        from botocore import UNSIGNED
        from botocore.config import Config

        options = self._options
        style = options.addressing_style or ("path" if options.endpoint_url else "auto")
        settings: dict[str, Any] = {"s3": {"addressing_style": style}}
        settings["request_checksum_calculation"] = settings["response_checksum_validation"] = options.checksum
        if options.anonymous:
            settings["signature_version"] = UNSIGNED
        config = Config(
            max_pool_connections=options.connections_max,
            connect_timeout=options.connect_timeout_seconds,
            read_timeout=options.read_timeout_seconds,
            retries={"mode": "standard", "total_max_attempts": 1},
            tcp_keepalive=True,
            **settings,
        )
        return self.session.client("s3", endpoint_url=options.endpoint_url, region_name=region, config=config)

    def call(self, operation: str, **parameters: Any) -> Mapping[str, Any]:
        """Carry out an operation, ``put_object``; its answer is botocore's, but a body is bytes.

        Raises botocore's ClientError and BotoCoreError.
        """
        answer: dict[str, Any] = getattr(self._client, operation)(Bucket=self._bucket, **parameters)
        if "Body" in answer:
            with answer["Body"] as body:
                answer["Body"] = bytes(body.read())
        return answer

    def credentials(self) -> Any:
        """Return the credentials of this moment, or None when there are none; raises what botocore raises."""
        return self._credentials.get_frozen_credentials() if self._credentials else None

    def address(self, region: str | None = None) -> Address:
        """Return the bucket's address (in another region than the configured one), by botocore's own rules."""
        client = self._client if region is None else self._make_client(region)
        client.meta.events.register("before-sign.s3.HeadBucket", _stop, unique_id="stop")
        try:
            client.head_bucket(Bucket=self._bucket)
        except _Stopped as stopped:
            return replace(stopped.address, endpoint_url=str(client.meta.endpoint_url))
        finally:
            client.meta.events.unregister("before-sign.s3.HeadBucket", _stop, unique_id="stop")
        raise AssertionError

    def _send(self, request: Any, event_name: str, **_: object) -> Any:
        """Return the answer to a request, read to its end and whole; botocore repeats what raises its own error.

        botocore calls this before it sends a request itself, and takes what it returns for the answer.
        """
        from botocore.awsrequest import AWSResponse
        from botocore.exceptions import ConnectionClosedError
        from urllib3.exceptions import HTTPError

        sent_bytes = request.headers.get("X-Amz-Decoded-Content-Length") or request.headers.get("Content-Length", 0)
        if int(sent_bytes) < LARGE_BODY_BYTES:
            request.headers.pop("Expect", None)  # a round trip more; it is not signed
        self._sent.at = clock.utc_now()
        answer = self.http_session.send(request)
        try:
            body = answer.raw.read() if request.stream_output else answer.content
            self._check_whole(event_name.rpartition(".")[2], request, answer, body)
        except (answers.NotWhole, HTTPError, HTTPException, OSError) as error:
            answer.raw.close()
            raise ConnectionClosedError(error=error, request=request, endpoint_url=request.url) from error
        return AWSResponse(answer.url, answer.status_code, answer.headers, _Body(body))

    def _check_whole(self, operation: str, request: Any, answer: Any, body: bytes) -> None:
        method, status, headers = request.method, answer.status_code, answer.headers
        answers.check_body(method, status, headers, body)
        if operation in _OF_OBJECTS:
            answers.check_object(method, status, headers, body)
        elif status == 200 and operation in _DOCUMENTS:
            answers.check_document(body, _DOCUMENTS[operation])
        elif status == 200 and operation in _LISTINGS:
            prefix = parse_qs(urlsplit(request.url).query).get("prefix", [""])[0]
            answers.check_listing(body, _LISTINGS[operation], self._bucket, prefix)

    def _response_received(self, parsed_response: Mapping[str, Any] | None = None, **_: object) -> None:
        headers = (parsed_response or {}).get("ResponseMetadata", {}).get("HTTPHeaders", {})
        self._server.learn(headers, self._sent.at, clock.utc_now())


def _pay(params: Mapping[str, Any], **_: object) -> None:
    params["headers"]["x-amz-request-payer"] = "requester"


class _Stopped(Exception):
    """A request that was made ready and not sent."""

    def __init__(self, address: Address) -> None:
        super().__init__()
        self.address = address


def _stop(request: Any, signing_name: str, region_name: str, signature_version: Any, **_: object) -> None:
    signing = request.context.get("signing", {})
    raise _Stopped(
        Address(
            url=request.url.rstrip("/"),
            endpoint_url="",
            region=signing.get("region") or region_name,
            service=signing.get("signing_name") or signing_name,
            is_signed_by_v4=signature_version in {"s3v4", "v4"},
        )
    )


class _Body(BytesIO):
    """A body that was read, as botocore reads one."""

    def stream(self, *_: object, **__: object) -> Iterator[bytes]:
        """Yield what is left of it."""
        yield self.read()


def _with_whole_heads(pool: Any) -> Any:
    """Return a urllib3 connection pool like ``pool``, but on its connections a head that broke off is an error."""
    connection = type("WholeHeadConnection", (pool.ConnectionCls,), {"response_class": answers.WholeHeadResponse})
    return type("WholeHeadPool", (pool,), {"ConnectionCls": connection})


@cache
def _api_descriptions() -> Any:
    """Return the loader of botocore's own data, shared: reading it again takes 0.1 s per client."""
    from botocore.loaders import create_loader

    return create_loader()
