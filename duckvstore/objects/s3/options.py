"""The storage options of an S3 URL.

What is refused here is refused without asking anyone; no text made of options holds a credential.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any
from urllib.parse import urlsplit

from duckvstore.errors import InvalidInput

_TEXTS = ("endpoint_url", "region", "profile", "access_key_id", "secret_access_key", "session_token")


@dataclass(frozen=True, slots=True)
class S3Options:
    """The storage options of an ``s3://`` URL; what is left out comes from boto3's own chain.

    Attributes:
        endpoint_url: ``http(s)://host:port`` of an S3-compatible server.
        region: name of the region.
        profile: name of a profile of the AWS configuration files.
        access_key_id: with ``secret_access_key`` (and ``session_token``), credentials instead of boto3's chain.
        secret_access_key: see ``access_key_id``.
        session_token: see ``access_key_id``.
        anonymous: send no credentials at all.
        requester_pays: agree to pay for the requests to a bucket of somebody else's that asks for it.
        addressing_style: ``path`` (the default with an endpoint) or ``virtual`` (bucket in the host name).
        checksum: ``when_supported`` (uploads carry a CRC32 that the server verifies) or ``when_required``.
        listing_order: ``bytes``, or ``folders`` for a server that lists folder by folder; by default known
            from the server's own name.
        client: ``lean`` (signs and sends the frequent requests by itself), or ``boto3`` for all requests by boto3.
        connections_max: size of the connection pool.
        connect_timeout_seconds: how long a connection may take.
        read_timeout_seconds: how long the server may stay silent.
    """

    endpoint_url: str | None = None
    region: str | None = None
    profile: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = None
    session_token: str | None = None
    anonymous: bool = False
    requester_pays: bool = False
    addressing_style: str | None = None
    checksum: str = "when_supported"
    listing_order: str | None = None
    client: str = "lean"
    connections_max: int = 128  # as many as threads make requests, or each further one is connected anew
    connect_timeout_seconds: float = 4
    read_timeout_seconds: float = 60

    def __post_init__(self) -> None:
        """Check what can be checked without asking anyone."""
        for name in _TEXTS:
            value = getattr(self, name)
            if value is not None and not isinstance(value, str):
                raise InvalidInput(f"storage option {name!r} must be text, not {type(value).__name__}")
        for name in ("anonymous", "requester_pays"):
            if not isinstance(getattr(self, name), bool):
                raise InvalidInput(f"storage option {name!r} must be True or False, not {getattr(self, name)!r}")
        _one_of("addressing_style", self.addressing_style, {None, "path", "virtual"})
        _one_of("checksum", self.checksum, {"when_supported", "when_required"})
        _one_of("listing_order", self.listing_order, {None, "bytes", "folders"})
        _one_of("client", self.client, {"lean", "boto3"})
        for name in ("connections_max", "connect_timeout_seconds", "read_timeout_seconds"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < inf:
                raise InvalidInput(f"storage option {name!r} must be a positive number, not {value!r}")
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise InvalidInput("storage options 'access_key_id' and 'secret_access_key' go together: give both or none")
        if self.session_token is not None and self.access_key_id is None:
            raise InvalidInput("storage option 'session_token' needs 'access_key_id' and 'secret_access_key'")
        if self.endpoint_url is not None:
            _check_endpoint(self.endpoint_url)

    def __repr__(self) -> str:
        """Return a text without credentials."""
        return f"S3Options(endpoint_url={self.endpoint_url!r}, region={self.region!r}, profile={self.profile!r})"


def _one_of(name: str, value: object, allowed: set[Any]) -> None:
    if value not in list(allowed):  # in a list, since it may be of any type
        valid = ", ".join(sorted(repr(choice) for choice in allowed if choice is not None))
        raise InvalidInput(f"storage option {name!r} must be one of {valid}, not {value!r}")


def _check_endpoint(url: str) -> None:
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise InvalidInput(
            "storage option 'endpoint_url' must not contain credentials: use 'access_key_id' and 'secret_access_key'"
        )
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/") or parts.query:
        raise InvalidInput(f"storage option 'endpoint_url' must look like https://host:port, not {url!r}")
