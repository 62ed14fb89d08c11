"""Objects in an S3 bucket, through boto3.

Invariant: ``create`` sends its conditional PUT once, and says AlreadyExists, done, or OutcomeUnknown; nothing
in here repeats a request whose first copy may still take effect. Every answer is read to its end and counts only when
it is whole (``answers``): one that is not is no answer, as if the connection had ended before it.
"""

from __future__ import annotations

import copy
import os
import re
from dataclasses import dataclass
from functools import cache, partial
from http.client import HTTPException
from io import BytesIO
from threading import Lock, local
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qs, urlsplit

from duckvstore import clock
from duckvstore.errors import (
    AlreadyExists,
    DuckVStoreError,
    Integrity,
    InvalidInput,
    NoSuchKey,
    OutcomeUnknown,
    StorageUnavailable,
    Unsupported,
)
from duckvstore.objects import answers
from duckvstore.objects.base import DeleteFailure, Listed, ObjectStore
from duckvstore.objects.keys import check_key, check_prefix, in_byte_order, start_below
from duckvstore.objects.s3.deleted import DeletedObjects
from duckvstore.objects.s3.errors import error_code, error_status, mapped, was_never_sent
from duckvstore.objects.s3.options import S3Options
from duckvstore.objects.s3.server import ServerTime
from duckvstore.telemetry import retried

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from duckvstore.objects.base import DeleteFailures

_ATTEMPTS_MAX = 5
_CREATE_ATTEMPTS_MAX = 12
_BACKOFF_SECONDS_MAX = 2.0
_PUT_BYTES_MAX = 5 * 1024**3
_PAGE_KEYS_MAX = 1000
_CODES_NOT_DONE = {"ConditionalRequestConflict", "OperationAborted", "RequestTimeout"}
_CODES_WORTH_REPEATING = {"InternalError", "SlowDown", "ServiceUnavailable", "OperationAborted", "RequestTimeout"}
_LISTINGS = {"ListObjectsV2": "ListBucketResult", "ListObjectVersions": "ListVersionsResult"}
# Servers call the answer about versioning by several names.
_DOCUMENTS = {"DeleteObjects": "DeleteResult", "GetBucketVersioning": None}
_OF_OBJECTS = {"GetObject", "HeadObject", "PutObject"}
_SCANNABLE_PREFIX = re.compile(r"[A-Za-z0-9._~/-]*")


# Inside the class below ``list`` is its method.
_Page: TypeAlias = list[Listed]
_Keys: TypeAlias = list[str]


@dataclass(frozen=True, slots=True)
class _Clients:
    session: Any
    standard: Any
    once: Any


class S3Objects(ObjectStore):
    """Bytes under keys in a bucket, below a prefix."""

    def __init__(self, bucket: str, prefix: str = "", options: S3Options | None = None) -> None:
        """Remember where the objects are; nothing is asked of the server yet.

        Args:
            bucket: name of an existing bucket.
            prefix: what every key is put under; slashes at its ends do not matter.
            options: how to reach it.
        """
        prefix = prefix.strip("/")
        self.bucket = bucket
        self.options = options or S3Options()
        self.url = f"s3://{bucket}/{prefix}".rstrip("/")
        self._root = f"{prefix}/" if prefix else ""
        self._parameters: Mapping[str, str] = {}
        self._clients_by_pid: dict[int, _Clients] = {}
        self._locks_by_pid: dict[int, Lock] = {}
        self._time = ServerTime()
        self._folder_order = self.options.listing_order == "folders"
        self._sent = local()

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the way to open it again."""
        return S3Objects, (self.bucket, self._root, self.options)

    def __repr__(self) -> str:
        """Return a text without credentials."""
        return f"S3Objects({self.url!r})"

    # -- requests -----------------------------------------------------------------------------------------------

    def _clients(self) -> _Clients:
        """Return this process's clients: boto3's connections must not be shared across a fork."""
        pid = os.getpid()
        clients = self._clients_by_pid.get(pid)
        if clients is None:
            with self._locks_by_pid.setdefault(pid, Lock()):
                clients = self._clients_by_pid.get(pid)
                if clients is None:
                    clients = self._clients_by_pid[pid] = self._make_clients()
        return clients

    def _make_clients(self) -> _Clients:
        import boto3
        import botocore.session
        from botocore import UNSIGNED
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        options = self.options
        style = options.addressing_style or ("path" if options.endpoint_url else "auto")

        def make(session: Any, attempts_max: int) -> Any:
            settings: dict[str, Any] = {"s3": {"addressing_style": style}}
            settings["request_checksum_calculation"] = settings["response_checksum_validation"] = options.checksum
            if options.anonymous:
                settings["signature_version"] = UNSIGNED
            config = Config(
                max_pool_connections=options.connections_max,
                connect_timeout=options.connect_timeout_seconds,
                read_timeout=options.read_timeout_seconds,
                retries={"mode": "standard", "total_max_attempts": attempts_max},
                tcp_keepalive=True,
                **settings,
            )
            client = session.client("s3", endpoint_url=options.endpoint_url, config=config)
            exchange = client._endpoint.http_session  # noqa: SLF001 - the way past it would repeat all of botocore's set-up
            classes = exchange._pool_classes_by_scheme  # noqa: SLF001 - shared by all of its pools; botocore offers no other
            for scheme, pool in classes.items():
                classes[scheme] = _with_whole_heads(pool)
            client.meta.events.register("before-send.s3", partial(self._send, exchange))
            client.meta.events.register("response-received.s3", self._response_received)
            return client

        try:
            core = botocore.session.get_session()
            core.register_component("data_loader", _api_descriptions())
            session = boto3.session.Session(
                botocore_session=core,
                profile_name=options.profile,
                region_name=options.region,
                aws_access_key_id=options.access_key_id,
                aws_secret_access_key=options.secret_access_key,
                aws_session_token=options.session_token,
            )
            return _Clients(session, make(session, _ATTEMPTS_MAX), make(session, 1))
        except (BotoCoreError, ValueError) as error:
            raise self._mapped(error, "open") from error

    def _send(self, exchange: Any, request: Any, event_name: str, **_: object) -> Any:
        """Return the answer to a request, read to its end and whole; botocore repeats what raises its own error.

        botocore calls this before it sends a request itself, and takes what it returns for the answer.
        """
        from botocore.awsrequest import AWSResponse
        from botocore.exceptions import ConnectionClosedError
        from urllib3.exceptions import HTTPError

        self._sent.at = clock.utc_now()
        answer = exchange.send(request)
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
            answers.check_listing(body, _LISTINGS[operation], self.bucket, prefix)

    def _response_received(self, parsed_response: Mapping[str, Any] | None = None, **_: object) -> None:
        headers = (parsed_response or {}).get("ResponseMetadata", {}).get("HTTPHeaders", {})
        self._time.learn(headers, self._sent.at, clock.utc_now())
        if self.options.listing_order is None and "seaweedfs" in headers.get("server", "").lower():
            self._folder_order = True

    def _mapped(self, error: BaseException, action: str) -> DuckVStoreError:
        return mapped(error, action=action, url=self.url, bucket=self.bucket, endpoint=self._endpoint_url())

    def _endpoint_url(self) -> str:
        clients = self._clients_by_pid.get(os.getpid())
        return str(clients.standard.meta.endpoint_url) if clients else (self.options.endpoint_url or "AWS")

    def _call(self, operation: str, action: str, **parameters: Any) -> Any:
        """Carry out an operation that may be repeated, with standard retries once the server has been heard.

        Before that what cannot be reached is reported at once: it is a wrong address more often than a pause.
        """
        from botocore.exceptions import BotoCoreError, ClientError, ConnectionClosedError

        clients = self._clients()
        try:
            for attempt in range(_ATTEMPTS_MAX):
                if self._time.is_known:
                    break
                try:
                    return getattr(clients.once, operation)(Bucket=self.bucket, **parameters)
                except ClientError as error:
                    if error_status(error) < 500:
                        raise
                    break
                except ConnectionClosedError as error:
                    if attempt == _ATTEMPTS_MAX - 1:
                        raise
                    retried(self.url, attempt, error)
                    clock.back_off(attempt, 0.05, _BACKOFF_SECONDS_MAX)
            return getattr(clients.standard, operation)(Bucket=self.bucket, **parameters)
        except (BotoCoreError, ClientError) as error:
            if error_code(error) in {"NoSuchKey", "404"} and "Key" in parameters:
                raise NoSuchKey(f"{self.url} has no object {self._relative(parameters['Key'])!r}") from error
            raise self._mapped(error, action) from error

    def _relative(self, full_key: str) -> str:
        return full_key[len(self._root) :]

    def _full_key(self, key: str) -> str:
        check_key(key)
        return self._root + key

    # -- the contract ---------------------------------------------------------------------------------------------

    def read(self, key: str, start: int = 0, length: int | None = None) -> bytes:  # noqa: D102
        from botocore.exceptions import FlexibleChecksumError

        full_key = self._full_key(key)
        if length is not None and length <= 0:
            self._call("head_object", f"look for {key!r}", Key=full_key)
            return b""
        span: dict[str, str] = {}
        if start or length is not None:
            span["Range"] = f"bytes={start}-{'' if length is None else start + length - 1}"
        try:
            answer = self._call("get_object", f"read {key!r}", Key=full_key, **span)
            with answer["Body"] as body:
                return bytes(body.read())
        except InvalidInput as error:
            if span and error_status(error.__cause__) == 416:  # the range starts at or past the end
                return b""
            raise
        except FlexibleChecksumError as error:
            raise Integrity(f"{self.url}: {key!r} does not match its checksum: restore it or delete it") from error

    def stored_as(self, parameters: Mapping[str, str]) -> ObjectStore:  # noqa: D102
        if not parameters:
            return self
        made = copy.copy(self)
        made._parameters = dict(parameters)  # noqa: SLF001 - of the copy that this method makes
        return made

    def put(self, key: str, data: bytes) -> None:  # noqa: D102
        self._check_size(key, data)
        self._call("put_object", f"write {key!r}", Key=self._full_key(key), Body=data, **self._parameters)

    def _check_size(self, key: str, data: bytes) -> None:
        if len(data) > _PUT_BYTES_MAX:
            raise InvalidInput(
                f"object {key!r} has {len(data)} bytes, one request may carry {_PUT_BYTES_MAX}: use smaller segments"
            )

    def create(self, key: str, data: bytes) -> None:  # noqa: D102
        from botocore.exceptions import BotoCoreError, ClientError

        self._check_size(key, data)
        full_key = self._full_key(key)
        client = self._clients().once
        parameters: Any = self._parameters
        for attempt in range(_CREATE_ATTEMPTS_MAX):
            try:
                client.put_object(Bucket=self.bucket, Key=full_key, Body=data, IfNoneMatch="*", **parameters)
            except (BotoCoreError, ClientError) as error:
                # Repeated are only requests of which it is certain that they had no effect.
                is_repeatable = self._time.is_known and (error_code(error) in _CODES_NOT_DONE or was_never_sent(error))
                if not is_repeatable or attempt == _CREATE_ATTEMPTS_MAX - 1:
                    raise self._create_error(key, error) from error
                retried(self.url, attempt, error)
                clock.back_off(attempt, 0.05, _BACKOFF_SECONDS_MAX)
            else:
                return

    def _create_error(self, key: str, error: Exception) -> DuckVStoreError:
        status = error_status(error)
        if error_code(error) == "PreconditionFailed" or status == 412:
            return AlreadyExists(f"{self.url} already has an object {key!r}")
        if error_code(error) == "NotImplemented" or status == 501:
            return Unsupported(
                f"{self.url}: the server at {self._endpoint_url()} does not offer conditional writes "
                "(If-None-Match), on which every commit rests: use another server, or a newer release of it"
            )
        is_unknown = status >= 500 if status else not was_never_sent(error)
        mapped_error = self._mapped(error, f"create {key!r}")
        if is_unknown and type(mapped_error) is StorageUnavailable:
            return OutcomeUnknown(
                f"{self.url}: no definite answer to creating {key!r} came from {self._endpoint_url()} "
                f"({error_code(error) or type(error).__name__}): it may or may not exist now; look before repeating"
            )
        return mapped_error

    def list(  # noqa: D102
        self, prefix: str, start_after: str | None = None, limit: int | None = None, *, folders: bool = False
    ) -> Iterator[Listed]:
        check_prefix(prefix)
        start_after, is_past_all = start_below(prefix, start_after, folders=folders)
        if is_past_all or (limit is not None and limit <= 0):
            return
        pages = self._pages(prefix, start_after, limit, folders=folders)
        first = next(pages)  # its answer tells whose order the server keeps
        entries: Iterator[Listed] = (entry for page in _chain(first, pages) for entry in page)
        if self._folder_order:
            entries = in_byte_order(entries, prefix, start_after, self._folder_lister(folders=folders))
        previous = start_after or ""
        count = 0
        for entry in entries:
            if entry.key <= (start_after or ""):
                continue
            if entry.key <= previous:
                raise Unsupported(
                    f"{self.url}: the server at {self._endpoint_url()} lists {entry.key!r} after {previous!r}, not in "
                    "byte order of keys: if it lists folder by folder, set storage option listing_order='folders', "
                    "else use another server or bucket type"
                )
            previous = entry.key
            yield entry
            count += 1
            if count == limit:
                return

    def _folder_lister(self, *, folders: bool) -> Any:
        def list_folder(folder: str) -> Iterator[Listed]:
            if not folders:
                return self.list(folder)
            return (Listed(folder, None) for _ in self.list(folder, limit=1))

        return list_folder

    def _pages(self, prefix: str, start_after: str | None, limit: int | None, *, folders: bool) -> Iterator[_Page]:
        parameters: dict[str, Any] = {"Prefix": self._root + prefix}
        if folders:
            parameters["Delimiter"] = "/"
        if start_after:
            # Past everything that a folder holds: else its keys would be folded into that folder once more.
            is_folder = folders and start_after.endswith("/") and len(start_after) > len(prefix)
            parameters["StartAfter"] = self._root + start_after + ("\x7f" if is_folder else "")
        parameters["MaxKeys"] = min(limit or _PAGE_KEYS_MAX, _PAGE_KEYS_MAX)
        while True:
            answer = self._call("list_objects_v2", f"list {prefix!r}", **parameters)
            page = [Listed(self._relative(item["Key"]), item["Size"]) for item in answer.get("Contents", ())]
            page += [Listed(self._relative(item["Prefix"]), None) for item in answer.get("CommonPrefixes", ())]
            if folders:
                page.sort(key=_folder_order_key if self._folder_order else _byte_order_key)
            yield page
            if not answer.get("IsTruncated"):
                return
            parameters["ContinuationToken"] = answer["NextContinuationToken"]
            parameters["MaxKeys"] = _PAGE_KEYS_MAX

    def delete(self, keys: Iterable[str]) -> DeleteFailures:  # noqa: D102
        failures: DeleteFailures = []
        full_keys = [self._full_key(key) for key in keys]
        for first in range(0, len(full_keys), _PAGE_KEYS_MAX):
            failures += self._delete_batch(full_keys[first : first + _PAGE_KEYS_MAX])
        return failures

    def _delete_batch(self, full_keys: _Keys) -> DeleteFailures:
        failed: dict[str, DeleteFailure] = {}
        for attempt in range(_ATTEMPTS_MAX):
            objects = [{"Key": key} for key in full_keys]
            answer = self._call("delete_objects", "delete", Delete={"Objects": objects, "Quiet": True})
            full_keys = []
            for error in answer.get("Errors", ()):
                code, key = error.get("Code", ""), error["Key"]
                if code == "NoSuchKey":
                    continue
                if code in _CODES_WORTH_REPEATING and attempt < _ATTEMPTS_MAX - 1:
                    full_keys.append(key)
                else:
                    relative = self._relative(key)
                    failed[relative] = DeleteFailure(relative, f"{code}: {error.get('Message', '')}")
            if not full_keys:
                break
            clock.back_off(attempt, 0.05, _BACKOFF_SECONDS_MAX)
        return list(failed.values())

    def now(self) -> datetime:  # noqa: D102
        if not self._time.is_known:
            try:
                self._call("head_bucket", "ask for the time")
            except StorageUnavailable:
                if not self._time.is_known:  # also a refusal carries the server's time
                    raise
        return self._time.now(clock.utc_now())

    def uri(self, key: str) -> str | None:  # noqa: D102
        # DuckDB globs, decodes or reads Hive columns from other characters; keys themselves have none of them.
        return f"s3://{self.bucket}/{self._full_key(key)}" if _SCANNABLE_PREFIX.fullmatch(self._root) else None

    def versioning_enabled(self) -> bool:  # noqa: D102
        return DeletedObjects(self._call).is_versioned()

    def deleted_keys(self, prefix: str) -> Iterator[str]:  # noqa: D102
        check_prefix(prefix)
        return (self._relative(full_key) for full_key in DeletedObjects(self._call).keys(self._root + prefix))

    def read_deleted(self, key: str) -> bytes:  # noqa: D102
        return DeletedObjects(self._call).read(self._full_key(key))

    def undelete(self, key: str) -> None:  # noqa: D102
        DeletedObjects(self._call).bring_back(self._full_key(key))

    def scan_secret(self) -> Mapping[str, str | bool] | None:
        """Return what DuckDB's ``CREATE SECRET (TYPE s3, …)`` needs, with the credentials of this moment."""
        from botocore.exceptions import BotoCoreError

        clients = self._clients()
        endpoint = urlsplit(clients.standard.meta.endpoint_url)
        style = self.options.addressing_style
        if style is None:
            is_aws = (endpoint.hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn"))
            style = "virtual" if is_aws else "path"
        region = clients.standard.meta.region_name
        secret: dict[str, str | bool] = {
            "REGION": "us-east-1" if region in {None, "aws-global"} else region,
            "ENDPOINT": endpoint.netloc,
            "URL_STYLE": "vhost" if style == "virtual" else "path",
            "USE_SSL": endpoint.scheme == "https",
        }
        if self.options.anonymous:
            return secret
        try:
            credentials = clients.session.get_credentials()
            frozen = credentials.get_frozen_credentials() if credentials else None
        except BotoCoreError as error:
            raise self._mapped(error, "find credentials") from error
        if frozen is not None:
            secret |= {"KEY_ID": frozen.access_key, "SECRET": frozen.secret_key}
            if frozen.token:
                secret["SESSION_TOKEN"] = frozen.token
        return secret


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
    """Return the loader of botocore's own data, shared: reading them anew takes 0.1 s for each client."""
    from botocore.loaders import create_loader

    return create_loader()


def _chain(first: _Page, rest: Iterator[_Page]) -> Iterator[_Page]:
    yield first
    yield from rest


def _byte_order_key(entry: Listed) -> str:
    return entry.key


def _folder_order_key(entry: Listed) -> tuple[str, str]:
    return entry.key.rstrip("/"), entry.key
