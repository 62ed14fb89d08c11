"""Objects in an S3 bucket: what the contract of an object store means in operations of S3.

A create says AlreadyExists, done, or OutcomeUnknown: it is sent again only where the server said that it had no effect,
and no request is repeated whose first copy may still take effect. Answers are whole or none (``boto``, ``lean``).
"""

from __future__ import annotations

import copy
import re
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias
from urllib.parse import urlsplit

from duckvstore import clock, forks
from duckvstore.errors import (
    AlreadyExists,
    DuckVStoreError,
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
from duckvstore.objects.s3.retries import PASSING_CODES, came_from_a_server, is_passing, wait_before_repeating
from duckvstore.objects.s3.server import Server
from duckvstore.telemetry import retried

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    from duckvstore.objects.base import DeleteFailures

_ATTEMPTS_MAX = 5
_CREATE_ATTEMPTS_MAX = 12
_PUT_BYTES_MAX = 5 * 1024**3
_PAGE_KEYS_MAX = 1000
_CODES_NOT_DONE = {"ConditionalRequestConflict", "OperationAborted", "RequestTimeout"}
_SCANNABLE_PREFIX = re.compile(r"[A-Za-z0-9._~/-]*")


# Inside the class below ``list`` is its method.
_Page: TypeAlias = list[Listed]
_Keys: TypeAlias = list[str]


class Client(Protocol):
    """S3's operations for one bucket, each sent once, under boto3's names for them, their parameters and answers."""

    @property
    def endpoint_url(self) -> str:
        """The server's address."""

    @property
    def region(self) -> str:
        """The region that requests are signed for."""

    def call(self, operation: str, **parameters: Any) -> Mapping[str, Any]:
        """Carry out an operation, ``put_object``; a ``Body`` is bytes both ways.

        Raises botocore's ClientError for an answer that refuses, and BotoCoreError where no whole answer came.
        """

    def credentials(self) -> Any:
        """Return the credentials of this moment (``access_key``, ``secret_key``, ``token``), or None."""


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
        self._clients: forks.PerProcess[Client] = forks.PerProcess()
        self._server = Server(self.options.listing_order)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as the way to open it again."""
        return S3Objects, (self.bucket, self._root, self.options)

    # -- requests -----------------------------------------------------------------------------------------------

    def _client(self) -> Client:
        return self._clients.get(self._make_client)

    def _make_client(self) -> Client:
        from botocore.exceptions import BotoCoreError

        from duckvstore.objects.s3.boto import BotoClient
        from duckvstore.objects.s3.given import given
        from duckvstore.objects.s3.lean import LeanClient

        options = self.options
        try:
            if options.client == "boto3":
                return BotoClient(self.bucket, options, self._server)
            boto = given(self.bucket, options, self._server) or BotoClient(self.bucket, options, self._server)
            address = boto.address()
            # Directory buckets and access points of several regions have signatures of their own.
            if isinstance(boto, BotoClient) and not (address.is_signed_by_v4 or options.anonymous):
                return boto
            return LeanClient(self.bucket, options, self._server, boto, address)
        except (BotoCoreError, ValueError) as error:
            raise self._mapped(error, "open") from error

    def _mapped(self, error: BaseException, action: str) -> DuckVStoreError:
        return mapped(error, action=action, url=self.url, bucket=self.bucket, endpoint=self._endpoint_url())

    def _endpoint_url(self) -> str:
        client = self._clients.known
        return client.endpoint_url if client else (self.options.endpoint_url or "AWS")

    def _repeated(self, send: Callable[[], Any], is_worth_it: Callable[[Exception], bool], attempts_max: int) -> Any:
        """Return what ``send`` gives, also after errors that say that it may help to repeat it."""
        from botocore.exceptions import BotoCoreError, ClientError

        for attempt in range(attempts_max):
            try:
                return send()
            except (BotoCoreError, ClientError) as error:
                if attempt == attempts_max - 1 or not is_worth_it(error):
                    raise
                retried(self.url, attempt, error)
                wait_before_repeating(error, attempt)
        raise AssertionError

    def _call(self, operation: str, action: str, **parameters: Any) -> Any:
        """Carry out an operation that may be repeated, as often as it takes once the server has been heard.

        Before that what cannot be reached is reported at once: it is a wrong address more often than a pause.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        client = self._client()

        def may_be_repeated(error: Exception) -> bool:
            return is_passing(error) and (self._server.is_heard or came_from_a_server(error))

        try:
            return self._repeated(lambda: client.call(operation, **parameters), may_be_repeated, _ATTEMPTS_MAX)
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
        full_key = self._full_key(key)
        if length is not None and length <= 0:
            self._call("head_object", f"look for {key!r}", Key=full_key)
            return b""
        span: dict[str, str] = {}
        if start or length is not None:
            span["Range"] = f"bytes={start}-{'' if length is None else start + length - 1}"
        try:
            answer = self._call("get_object", f"read {key!r}", Key=full_key, **span)
        except InvalidInput as error:
            if span and error_status(error.__cause__) == 416:  # the range starts at or past the end
                return b""
            raise
        data: bytes = answer["Body"]
        told = answer.get("ContentRange")
        if told is None:  # of the whole object, with which a server may answer a request for a part
            return data[start:] if length is None else data[start : start + length]
        if not answers.is_part(told, start, length, len(data)):
            raise StorageUnavailable(
                f"{self.url}: asked for {span.get('Range', 'all bytes')} of {key!r}, {self._endpoint_url()} answered "
                f"with {len(data)} bytes and {told[:100]!r}: ask whoever runs the gateway between here and the bucket"
            )
        return data

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
        parameters = {"Key": self._full_key(key), "Body": data, "IfNoneMatch": "*", **self._parameters}
        client = self._client()

        def had_no_effect(error: Exception) -> bool:
            return self._server.is_heard and (error_code(error) in _CODES_NOT_DONE or was_never_sent(error))

        try:
            self._repeated(lambda: client.call("put_object", **parameters), had_no_effect, _CREATE_ATTEMPTS_MAX)
        except (BotoCoreError, ClientError) as error:
            raise self._create_error(key, error) from error

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
        entries: Iterator[Listed] = (entry for page in chain((first,), pages) for entry in page)
        if self._server.lists_folders:
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
                page.sort(key=lambda entry: (entry.key.rstrip("/") if self._server.lists_folders else "", entry.key))
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
                if code in PASSING_CODES and attempt < _ATTEMPTS_MAX - 1:
                    full_keys.append(key)
                else:
                    relative = self._relative(key)
                    failed[relative] = DeleteFailure(relative, f"{code}: {error.get('Message', '')}")
            if not full_keys:
                break
            wait_before_repeating(None, attempt)
        return list(failed.values())

    def now(self) -> datetime:  # noqa: D102
        if not self._server.is_heard:
            try:
                self._call("head_bucket", "ask for the time")
            except StorageUnavailable:
                if not self._server.is_heard:  # also a refusal carries the server's time
                    raise
        return self._server.now(clock.utc_now())

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

        client = self._client()
        endpoint = urlsplit(client.endpoint_url)
        style = self.options.addressing_style
        if style is None:
            is_aws = (endpoint.hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn"))
            style = "virtual" if is_aws else "path"
        secret: dict[str, str | bool] = {
            "REGION": client.region,
            "ENDPOINT": endpoint.netloc,
            "URL_STYLE": "vhost" if style == "virtual" else "path",
            "USE_SSL": endpoint.scheme == "https",
        }
        if self.options.requester_pays:
            secret["REQUESTER_PAYS"] = True
        if self.options.anonymous:
            return secret
        try:
            frozen = client.credentials()
        except BotoCoreError as error:
            raise self._mapped(error, "find credentials") from error
        if frozen is not None:
            secret |= {"KEY_ID": frozen.access_key, "SECRET": frozen.secret_key}
            if frozen.token:
                secret["SESSION_TOKEN"] = frozen.token
        return secret
