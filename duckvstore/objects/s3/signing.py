"""The signature of a request to S3 (AWS Signature Version 4), by the headers.

Pure functions. What is signed is what is sent, to the letter: the path and the query are encoded here, once.
"""

from __future__ import annotations

import hashlib
import hmac
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

EMPTY_DIGEST = hashlib.sha256().hexdigest()
UNSIGNED_BODY = "UNSIGNED-PAYLOAD"
_ALGORITHM = "AWS4-HMAC-SHA256"


def encoded_path(path: str) -> str:
    """Return a path as it is sent and signed: all but letters, digits and ``/-._~`` as bytes of UTF-8."""
    return quote(path, safe="/~")


def encoded_query(parameters: Mapping[str, str]) -> str:
    """Return a query as it is sent and signed, in the order of its encoded names."""
    pairs = sorted((quote(name, safe="~"), quote(value, safe="~")) for name, value in parameters.items())
    return "&".join(f"{name}={value}" for name, value in pairs)


def authorization(
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    *,
    access_key: str,
    secret_key: str,
    region: str,
    service: str,
) -> str:
    """Return the value of the header ``Authorization``.

    Args:
        method: of the request.
        path: encoded.
        query: encoded and sorted.
        headers: to be signed, by names in lower case; ``host``, ``x-amz-date`` (see ``timestamp``) and
            ``x-amz-content-sha256`` among them, and ``x-amz-security-token`` where there is one.
        access_key: of the credentials.
        secret_key: of the credentials.
        region: in which the bucket is.
        service: ``s3``.
    """
    names = sorted(headers)
    signed = ";".join(names)
    lines = "".join(f"{name}:{' '.join(headers[name].split())}\n" for name in names)
    request = f"{method}\n{path}\n{query}\n{lines}\n{signed}\n{headers['x-amz-content-sha256']}"
    moment = headers["x-amz-date"]
    scope = f"{moment[:8]}/{region}/{service}/aws4_request"
    text = f"{_ALGORITHM}\n{moment}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    signature = hmac.new(_key(secret_key, moment[:8], region, service), text.encode(), "sha256").hexdigest()
    return f"{_ALGORITHM} Credential={access_key}/{scope}, SignedHeaders={signed}, Signature={signature}"


def timestamp(moment: datetime) -> str:
    """Return a moment (UTC) as ``x-amz-date`` has it."""
    return moment.strftime("%Y%m%dT%H%M%SZ")


@lru_cache(maxsize=64)
def _key(secret_key: str, day: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret_key}".encode()
    for part in (day, region, service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
