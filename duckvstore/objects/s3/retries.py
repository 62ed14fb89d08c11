"""Which errors pass by themselves, and how long to wait for that."""

from __future__ import annotations

from duckvstore import clock
from duckvstore.objects.s3.errors import error_code, error_header, error_status

PASSING_CODES = {
    "InternalError",
    "OperationAborted",
    "RequestLimitExceeded",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
}
_PASSING_STATUSES = {429, 500, 502, 503, 504}
_CONFLICTS = {"ConditionalRequestConflict", "OperationAborted"}
_RETRY_AFTER_SECONDS_MAX = 20.0


def is_passing(error: BaseException) -> bool:
    """Return whether the same request may succeed a moment later."""
    from botocore.exceptions import ConnectionError as NotConnected
    from botocore.exceptions import HTTPClientError

    if error_status(error):
        return error_code(error) in PASSING_CODES or error_status(error) in _PASSING_STATUSES
    return isinstance(error, (NotConnected, HTTPClientError))


def came_from_a_server(error: BaseException) -> bool:
    """Return whether somebody answered, if only by the beginning of an answer or the end of a connection."""
    from botocore.exceptions import ConnectionClosedError

    return error_status(error) > 0 or isinstance(error, ConnectionClosedError)


def wait_before_repeating(error: BaseException | None, attempt: int) -> None:
    """Wait for as long as an error asks for: other writers of a key are done sooner than a server that has too much."""
    asked = error_header(error, "retry-after")
    if asked.isdecimal():
        clock.sleep(min(float(asked), _RETRY_AFTER_SECONDS_MAX))
    elif attempt == 0 and error is not None and not error_status(error) and came_from_a_server(error):
        return  # a connection that had been idle for too long: another one works at once
    else:
        clock.back_off(attempt, 0.05 if error_code(error) in _CONFLICTS else 0.5, 2.0)
