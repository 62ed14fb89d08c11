"""What botocore's errors mean to a user.

A message names the bucket or endpoint and the next step, and never holds a credential.
"""

from __future__ import annotations

from duckvstore.errors import (
    AccessDenied,
    DuckVStoreError,
    Integrity,
    InvalidInput,
    StorageUnavailable,
    Unsupported,
)
from duckvstore.objects.answers import NotWhole

_CREDENTIAL_REMEDIES = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or storage_options 'profile', or 'access_key_id' and "
    "'secret_access_key', or 'anonymous': True for a public bucket"
)
_DENIED_CODES = {
    "AccessDenied": "these credentials may not do that, or there is no such bucket: ask its owner for permission",
    "AllAccessDisabled": "the bucket is disabled: ask its owner",
    "InvalidAccessKeyId": f"the server does not know this access key: {_CREDENTIAL_REMEDIES}",
    "SignatureDoesNotMatch": f"the secret key does not belong to this access key: {_CREDENTIAL_REMEDIES}",
    "ExpiredToken": "the session token has expired: log in again",
    "ExpiredTokenException": "the session token has expired: log in again",
    "InvalidToken": "the session token is not valid: log in again",
    "TokenRefreshRequired": "the session token has expired: log in again",
    "RequestTimeTooSkewed": "this machine's clock is too far from the server's: set it",
    "401": f"the server refuses these credentials: {_CREDENTIAL_REMEDIES}",
    "403": "these credentials may not do that, or there is no such bucket: ask its owner for permission",
}
_PASSING_CODES = {"SlowDown", "RequestTimeout", "ConditionalRequestConflict", "OperationAborted"}
REGION_CODES = {
    "301",
    "307",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
    "PermanentRedirect",
    "TemporaryRedirect",
}


def error_code(error: BaseException | None) -> str:
    """Return the S3 error code of a botocore ClientError (``NoSuchKey``), or an empty text."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def error_status(error: BaseException | None) -> int:
    """Return the HTTP status of a botocore ClientError, or 0 when there was no answer."""
    response = getattr(error, "response", None)
    if not isinstance(response, dict):
        return 0
    return int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def error_header(error: BaseException | None, name: str) -> str:
    """Return a header of the answer that a botocore ClientError is, or an empty text."""
    response = getattr(error, "response", None)
    headers = response.get("ResponseMetadata", {}).get("HTTPHeaders", {}) if isinstance(response, dict) else {}
    return str(headers.get(name, ""))


def was_never_sent(error: BaseException) -> bool:
    """Return whether a request certainly did not reach the server."""
    from botocore import exceptions as botocore

    if isinstance(error, botocore.SSLError):
        return "CERTIFICATE_VERIFY_FAILED" in str(error)
    return isinstance(
        error,
        (
            botocore.EndpointConnectionError,
            botocore.ConnectTimeoutError,
            botocore.ProxyConnectionError,
            botocore.NoCredentialsError,
            botocore.PartialCredentialsError,
            botocore.CredentialRetrievalError,
            botocore.ParamValidationError,
        ),
    )


def mapped(error: BaseException, *, action: str, url: str, bucket: str, endpoint: str) -> DuckVStoreError:
    """Return the error of this package that says what ``error`` means.

    Args:
        error: what botocore raised.
        action: what was tried, as in ``read 'a/b'``.
        url: the object store's URL.
        bucket: name of the bucket.
        endpoint: URL of the server.
    """
    if getattr(error, "response", None) is not None:
        return _mapped_answer(error, f"{url}: cannot {action}", bucket, endpoint)
    return _mapped_failure(error, f"{url}: cannot {action}", endpoint)


def _mapped_answer(error: BaseException, what: str, bucket: str, endpoint: str) -> DuckVStoreError:
    code, status = error_code(error), error_status(error)
    if code == "NoSuchBucket" or (code == "404" and status == 404):
        return StorageUnavailable(
            f"{what}: there is no bucket {bucket!r} at {endpoint}: create it, or correct its name or the endpoint"
        )
    if code in REGION_CODES:
        return StorageUnavailable(
            f"{what}: bucket {bucket!r} is in another region than the one asked at {endpoint}: "
            "set storage option 'region'"
        )
    if code in _DENIED_CODES or status in {401, 403}:
        remedy = _DENIED_CODES.get(code) or _DENIED_CODES[str(status)]
        return AccessDenied(f"{what}: {endpoint} answers {code}: {remedy}")
    if code == "NotImplemented" or status == 501:
        return Unsupported(f"{what}: the server at {endpoint} does not implement it: use another server")
    if 400 <= status < 500 and code not in _PASSING_CODES and status != 429:
        return InvalidInput(f"{what}: {endpoint} answers {status} {code}: {_server_message(error)}")
    return StorageUnavailable(f"{what}: {endpoint} answers {status} {code}, also after repeating: try again later")


def _server_message(error: BaseException) -> str:
    response = getattr(error, "response", {})
    return str(response.get("Error", {}).get("Message", ""))[:200]


def _mapped_failure(error: BaseException, what: str, endpoint: str) -> DuckVStoreError:
    from botocore import exceptions as botocore

    if isinstance(error, (botocore.ProfileNotFound, botocore.InvalidRegionError, botocore.ParamValidationError)):
        return InvalidInput(f"{what}: {error}")
    if isinstance(error, (botocore.NoCredentialsError, botocore.PartialCredentialsError)):
        return AccessDenied(f"{what}: no credentials were found for {endpoint}: {_CREDENTIAL_REMEDIES}")
    if "Credential" in type(error).__name__ or "Token" in type(error).__name__ or "SSO" in type(error).__name__:
        return AccessDenied(f"{what}: the credentials could not be obtained ({type(error).__name__}): log in again")
    if isinstance(error, botocore.SSLError):
        return StorageUnavailable(
            f"{what}: {endpoint} offers no valid TLS certificate: correct the endpoint, or name your certificates "
            "in AWS_CA_BUNDLE"
        )
    if isinstance(error, (botocore.EndpointConnectionError, botocore.ConnectTimeoutError)):
        return StorageUnavailable(
            f"{what}: nothing answers at {endpoint}: check option 'endpoint_url' (or 'region') and the network"
        )
    if isinstance(error, botocore.FlexibleChecksumError):
        return Integrity(f"{what}: it does not match its checksum: restore it or delete it")
    if isinstance(error, ValueError):
        return InvalidInput(f"{what}: {error}")
    broken = getattr(error, "kwargs", {}).get("error")
    if isinstance(broken, NotWhole):
        return StorageUnavailable(
            f"{what}: {endpoint} gave no whole answer, also after repeating ({broken}): check that it is an S3 server, "
            "and what is on the way to it, then try again"
        )
    return StorageUnavailable(
        f"{what}: no answer from {endpoint} ({type(error).__name__}): check the network, try again"
    )
