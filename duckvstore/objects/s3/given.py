"""What a new client needs where options and environment say all of it, without botocore's sessions and clients.

These read two megabytes of descriptions and take most of a new process's first second. Here is only what they would
say of a server of its own address, with credentials that do not change; ``given`` is None for everything else.
"""

from __future__ import annotations

import os
import re
import socket
from typing import TYPE_CHECKING, Any, NamedTuple

from duckvstore.objects.s3.boto import Address, BotoClient

if TYPE_CHECKING:
    from collections.abc import Mapping

    from duckvstore.objects.s3.options import S3Options
    from duckvstore.objects.s3.server import Server

_SIMPLE_ENDPOINT = re.compile(r"https?://[a-z0-9.-]+(:[0-9]+)?")
_SIMPLE_REGION = re.compile(r"auto|[a-z]{2}(-[a-z]+)+-[0-9]")
# Without the names that mean more than a bucket: access points, and directories with keys of their own.
_SIMPLE_BUCKET = re.compile(r"(?!.*(--|\.\.))[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_USUAL_REGION = "us-east-1"
_FILES = {"AWS_CONFIG_FILE": "~/.aws/config", "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials"}
_CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_BUNDLES = ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE")  # of certificates; the first that there is
_REGIONS = {"AWS_REGION", "AWS_DEFAULT_REGION"}  # of no effect where the options have one
_OTHERS = {"AWS_EC2_METADATA_DISABLED"}  # of no effect where there are credentials


class Credentials(NamedTuple):
    """Credentials, in botocore's words."""

    access_key: str
    secret_key: str
    token: str | None


class GivenClient:
    """What ``LeanClient`` asks of a ``BotoClient``, which is made when there is an operation for it."""

    signs_bodies = None

    def __init__(self, bucket: str, options: S3Options, server: Server, credentials: Credentials | None) -> None:
        """Parameters as ``BotoClient`` has them, and the credentials."""
        from botocore import httpsession
        from botocore.utils import get_environ_proxies

        self._made: BotoClient | None = None
        self._arguments = bucket, options, server
        self._found = credentials
        bundle = next((os.environ[name] for name in _BUNDLES if name in os.environ), None)
        session: Any = httpsession.URLLib3Session
        self.http_session = session(
            verify=bundle or True,
            proxies=get_environ_proxies(str(options.endpoint_url)),
            timeout=(options.connect_timeout_seconds, options.read_timeout_seconds),
            max_pool_connections=options.connections_max,
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)],
        )

    def _boto(self) -> BotoClient:
        if self._made is None:
            self._made = BotoClient(*self._arguments)
        return self._made

    def call(self, operation: str, **parameters: Any) -> Mapping[str, Any]:
        """Carry out an operation as ``BotoClient`` does."""
        return self._boto().call(operation, **parameters)

    def credentials(self) -> Credentials | None:
        """Return the credentials."""
        return self._found

    def address(self, region: str | None = None) -> Address:
        """Return the bucket's address (in another region than the configured one)."""
        if region is not None:
            return self._boto().address(region)
        bucket, options, _ = self._arguments
        endpoint = str(options.endpoint_url)
        return Address(f"{endpoint}/{bucket}", endpoint, options.region or _USUAL_REGION, "s3", not options.anonymous)


def given(bucket: str, options: S3Options, server: Server) -> GivenClient | None:
    """Return a client made of ``options`` and the environment, or None where botocore has to find out more."""
    environment = {name for name in os.environ if name.startswith(("AWS_", "BOTO"))}
    is_simple = (
        _SIMPLE_ENDPOINT.fullmatch(options.endpoint_url or "")
        and _SIMPLE_REGION.fullmatch(options.region or _USUAL_REGION)
        and _SIMPLE_BUCKET.fullmatch(bucket)
        and options.addressing_style in {None, "path"}
        and options.profile is None
        and not environment - {*_FILES, *_CREDENTIALS, *_BUNDLES, *_OTHERS, *(_REGIONS if options.region else ())}
        and all(os.environ.get(name, "given").strip() for name in _BUNDLES)
        and not any(_is_file(os.environ.get(name, usual)) for name, usual in _FILES.items())
    )
    if not is_simple:
        return None
    if options.anonymous:
        return GivenClient(bucket, options, server, None)
    key, secret, token = options.access_key_id, options.secret_access_key, options.session_token
    if key is None:
        key, secret, token = map(os.environ.get, _CREDENTIALS)
    return GivenClient(bucket, options, server, Credentials(key, secret, token)) if key and secret else None


def _is_file(path: str) -> bool:
    """Return what botocore would see, which raises nothing."""
    return os.path.isfile(os.path.expandvars(os.path.expanduser(path)))  # noqa: PTH111, PTH113
