"""The operations that a store lives by, at a quarter of the CPU that botocore takes for them.

Credentials, the bucket's address, connections and all other operations are botocore's (``BotoClient``); parameters,
answers and errors are the same here as there, so nobody can tell the two clients apart but by their cost.

A request is sent once; again only when the server has refused it for what can be mended here (its time, its
region), which has no effect.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from dataclasses import dataclass
from http.client import responses
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus, urlsplit
from xml.sax.saxutils import escape

from botocore.exceptions import ClientError, FlexibleChecksumError, NoCredentialsError

from duckvstore import clock
from duckvstore.objects import answers
from duckvstore.objects.s3.connections import Connections
from duckvstore.objects.s3.errors import REGION_CODES, error_code, error_header, error_status
from duckvstore.objects.s3.signing import (
    EMPTY_DIGEST,
    UNSIGNED_BODY,
    authorization,
    encoded_path,
    encoded_query,
    timestamp,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from xml.etree import ElementTree as ET

    from duckvstore.objects.s3.boto import Address, BotoClient
    from duckvstore.objects.s3.connections import Answer
    from duckvstore.objects.s3.given import GivenClient
    from duckvstore.objects.s3.options import S3Options
    from duckvstore.objects.s3.server import Server

_METHODS = {
    "delete_objects": "POST",
    "get_object": "GET",
    "head_bucket": "HEAD",
    "head_object": "HEAD",
    "list_objects_v2": "GET",
    "put_object": "PUT",
}
_QUERIES: dict[str, dict[str, str]] = {
    "delete_objects": {"delete": ""},
    "list_objects_v2": {"list-type": "2", "encoding-type": "url"},
}
_HEADERS = {
    "IfNoneMatch": "if-none-match",
    "Range": "range",
    "SSEKMSKeyId": "x-amz-server-side-encryption-aws-kms-key-id",
    "ServerSideEncryption": "x-amz-server-side-encryption",
    "StorageClass": "x-amz-storage-class",
}
_PARAMETERS = {
    "ContinuationToken": "continuation-token",
    "Delimiter": "delimiter",
    "MaxKeys": "max-keys",
    "Prefix": "prefix",
    "StartAfter": "start-after",
}
_KNOWN = {*_HEADERS, *_PARAMETERS, "Key", "Body", "Delete"}
_LINE_BREAKS = {"\r": "&#xD;", "\n": "&#xA;"}  # which XML would take for blanks
_DIGESTS: dict[str, Callable[[bytes], bytes]] = {
    "crc32": lambda body: zlib.crc32(body).to_bytes(4, "big"),
    "sha1": lambda body: hashlib.sha1(body).digest(),  # noqa: S324 - whoever stored the object chose it
    "sha256": lambda body: hashlib.sha256(body).digest(),
}


@dataclass(frozen=True, slots=True)
class _Target:
    """The bucket where it is: what its requests are sent to and signed for."""

    endpoint_url: str
    scheme: str
    host: str
    path: str
    region: str
    service: str
    connections: Connections


class LeanClient:
    """The operations of S3 for one bucket; the frequent ones are sent from here, all others by ``boto``."""

    def __init__(
        self, bucket: str, options: S3Options, server: Server, boto: BotoClient | GivenClient, address: Address
    ) -> None:
        """Ask no server. Parameters as ``BotoClient`` has them, and the bucket's ``address``, which it gave."""
        self._bucket = bucket
        self._options = options
        self._server = server
        self._boto = boto
        self._target = self._aimed(address)

    @property
    def endpoint_url(self) -> str:
        """The server's address."""
        return self._target.endpoint_url

    @property
    def region(self) -> str:
        """The region that requests are signed for."""
        return self._target.region

    def credentials(self) -> Any:
        """Return the credentials of this moment, or None."""
        return self._boto.credentials()

    def call(self, operation: str, **parameters: Any) -> Mapping[str, Any]:
        """Carry out an operation. Raises botocore's ClientError and BotoCoreError."""
        if operation not in _METHODS or not parameters.keys() <= _KNOWN:
            return self._boto.call(operation, **parameters)
        try:
            return self._sent(operation, parameters)
        except ClientError as error:
            if not self._is_mended(error):
                raise
        return self._sent(operation, parameters)

    def _aimed(self, address: Address) -> _Target:
        parts = urlsplit(address.url)
        connections = Connections(self._boto.http_session, address.url, self._options.read_timeout_seconds)
        host = parts.netloc.removesuffix({"http": ":80", "https": ":443"}[parts.scheme])
        return _Target(
            address.endpoint_url, parts.scheme, host, parts.path, address.region, address.service, connections
        )

    def _is_mended(self, error: ClientError) -> bool:
        """Return whether the same request may be sent once more with success: it was refused, and had no effect."""
        if error_code(error) == "RequestTimeTooSkewed":
            return True  # the refusal had the server's time
        if error_status(error) == 417 and self._target.connections.knows_expect:
            self._target.connections.knows_expect = False
            return True
        told: Any = error.response["Error"]
        region: str = error_header(error, "x-amz-bucket-region") or told.get("Region", "")
        is_elsewhere = error_code(error) in {*REGION_CODES, "400"}  # which is all that the answer to HEAD may say
        if not region or not is_elsewhere or region == self._target.region:
            return False
        self._target = self._aimed(self._boto.address(region))
        return True

    # -- requests -----------------------------------------------------------------------------------------------

    def _sent(self, operation: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        target = self._target
        method = _METHODS[operation]
        path = f"{target.path}/{encoded_path(parameters['Key'])}" if "Key" in parameters else target.path or "/"
        given = {_PARAMETERS[name]: str(value) for name, value in parameters.items() if name in _PARAMETERS}
        query = encoded_query(_QUERIES.get(operation, {}) | given)
        headers = {_HEADERS[name]: value for name, value in parameters.items() if name in _HEADERS}
        body = _deletion(parameters["Delete"]) if "Delete" in parameters else parameters.get("Body", b"")
        headers = self._signed(target, method, path, query, headers, body, operation)

        sent_at = clock.utc_now()
        answer: Mapping[str, Any] = target.connections.exchange(
            method,
            f"{path}?{query}" if query else path,
            headers,
            body,
            lambda answer: self._parsed(operation, method, parameters, answer, sent_at),
        )
        return answer

    def _signed(
        self, target: _Target, method: str, path: str, query: str, headers: dict[str, str], body: bytes, operation: str
    ) -> dict[str, str]:
        """Return all headers that are sent but those of the connection."""
        has_checksum = operation == "delete_objects"  # S3 asks for one there
        if operation == "put_object":
            has_checksum = self._options.checksum == "when_supported"
        elif operation == "get_object" and self._options.checksum == "when_supported":
            headers["x-amz-checksum-mode"] = "ENABLED"
        if has_checksum:
            headers["x-amz-sdk-checksum-algorithm"] = "CRC32"
            headers["x-amz-checksum-crc32"] = base64.b64encode(_DIGESTS["crc32"](body)).decode()
        if self._options.requester_pays:
            headers["x-amz-request-payer"] = "requester"
        headers["host"] = target.host
        unsigned = {"accept-encoding": "identity", "user-agent": "duckvstore"}
        if self._options.anonymous:
            return headers | unsigned
        credentials = self._boto.credentials()
        if credentials is None:
            raise NoCredentialsError
        is_digested = self._boto.signs_bodies
        if is_digested is None:  # within TLS a checksum of an object is enough, and cheaper
            is_digested = target.scheme == "http" or not has_checksum or operation == "delete_objects"
        headers["x-amz-content-sha256"] = (
            (hashlib.sha256(body).hexdigest() if body else EMPTY_DIGEST) if is_digested else UNSIGNED_BODY
        )
        headers["x-amz-date"] = timestamp(self._server.now(clock.utc_now()))
        if credentials.token:
            headers["x-amz-security-token"] = credentials.token
        headers["authorization"] = authorization(
            method,
            path,
            query,
            headers,
            access_key=credentials.access_key,
            secret_key=credentials.secret_key,
            region=target.region,
            service=target.service,
        )
        return headers | unsigned

    # -- answers ------------------------------------------------------------------------------------------------

    def _parsed(
        self, operation: str, method: str, parameters: Mapping[str, Any], answer: Answer, sent_at: datetime
    ) -> Mapping[str, Any]:
        """Return the answer in botocore's words. Raises NotWhole, ClientError."""
        status, headers, body = answer.status, answer.headers, answer.body
        parsed: dict[str, Any] = {}
        if "Key" in parameters:
            answers.check_object(method, status, headers, body)
        elif operation == "list_objects_v2" and status == 200:
            parsed = _page(answers.check_listing(body, "ListBucketResult", self._bucket, parameters["Prefix"]))
        elif operation == "delete_objects" and status == 200:
            root = answers.check_document(body, "DeleteResult")
            parsed = {"Errors": [_texts(child) for child in root if _name(child) == "Error"]}
        self._server.learn(headers, sent_at, clock.utc_now())
        if status >= 300:
            raise _error(operation, answer)
        if operation == "get_object":
            if status == 200 and self._options.checksum == "when_supported":
                _check_body(headers, body)
            parsed = {"Body": body, "ContentRange": headers.get("content-range")}
        return parsed


def _deletion(wanted: Mapping[str, Any]) -> bytes:
    keys = "".join(f"<Object><Key>{escape(item['Key'], _LINE_BREAKS)}</Key></Object>" for item in wanted["Objects"])
    opening = '<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
    return f"{opening}{keys}<Quiet>true</Quiet></Delete>".encode()


def _page(root: ET.Element) -> dict[str, Any]:
    """Return a listing as botocore gives it; what is not used here is left out. Raises NotWhole."""
    decoded = unquote_plus if answers.text(root, "EncodingType") == "url" else str
    items = [(_name(child), _texts(child)) for child in root]
    try:
        contents = [{"Key": decoded(of["Key"]), "Size": int(of["Size"])} for name, of in items if name == "Contents"]
        folders = [{"Prefix": decoded(of["Prefix"])} for name, of in items if name == "CommonPrefixes"]
    except (KeyError, ValueError) as error:
        raise answers.NotWhole(f"an entry of its listing has no name or no size ({error!r})") from error
    page: dict[str, Any] = {"Contents": contents, "CommonPrefixes": folders, "IsTruncated": False}
    if answers.text(root, "IsTruncated").lower() == "true":
        page |= {"IsTruncated": True, "NextContinuationToken": answers.text(root, "NextContinuationToken")}
        if not page["NextContinuationToken"]:
            raise answers.NotWhole("it does not say where the listing goes on")
    return page


def _error(operation: str, answer: Answer) -> ClientError:
    """Return what botocore would raise for an answer that is a refusal."""
    try:
        found = _texts(answers.check_document(answer.body, "Error"))
    except answers.NotWhole:  # the answer to HEAD, and what is between here and S3, say no more than a status
        found = {}
    code = found.get("Code") or str(answer.status)
    message = found.get("Message") or responses.get(answer.status, "")
    response: Any = {
        "Error": {**found, "Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": answer.status, "HTTPHeaders": answer.headers},
    }
    return ClientError(response, operation)


def _check_body(headers: Mapping[str, str], body: bytes) -> None:
    """Raise FlexibleChecksumError unless a body has the checksum that was stored with it, if any that is known here."""
    for name, digest in _DIGESTS.items():
        expected = headers.get(f"x-amz-checksum-{name}", "-")
        found = "" if "-" in expected else base64.b64encode(digest(body)).decode()  # "…-3" is of the parts' checksums
        if found and found != expected:
            raise FlexibleChecksumError(error_msg=f"{name} is {found}, not {expected}")


def _name(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


def _texts(element: ET.Element) -> dict[str, str]:
    return {_name(child): child.text or "" for child in element}
