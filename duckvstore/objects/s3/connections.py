"""Keep-alive connections to one server, and one exchange of a request for a whole answer on one of them.

urllib3's pools keep the connections, as botocore has set them up (proxies, certificates, time-outs). What is sent and
received goes past urllib3 and most of ``http.client``, which take four times as long as the rest of a request.

A connection goes back to the pool after a whole answer only. An error says whether the request may have
reached the server, in botocore's classes (``errors.was_never_sent``).
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from botocore import exceptions
from botocore.httpsession import mask_proxy_url
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, SSLError
from urllib3.util.ssl_match_hostname import CertificateError
from urllib3.util.wait import wait_for_read

from duckvstore.objects import answers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

# From here on a body waits for the server's agreement: a round trip more, against a body that is sent for nothing.
LARGE_BODY_BYTES = 8 * 1024**2
_PIECE_BYTES = 1024**2  # the time-out is for each piece of a body, not for all of it
_AGREEMENT_SECONDS_MAX = 1.0  # a server that says nothing gets the body


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers (by names in lower case) and body of an answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Connections:
    """Connections to the server of ``url`` for any number of threads, of one process."""

    def __init__(self, http_session: Any, url: str, read_timeout_seconds: float) -> None:
        """Connect to nothing yet.

        Args:
            http_session: botocore's.
            url: any of the server.
            read_timeout_seconds: how long the server may stay silent.
        """
        self._url = url
        #: whether the server knows the question before a large body
        self.knows_expect = True
        self._read_timeout_seconds = read_timeout_seconds
        self._proxy_url = http_session._proxy_config.proxy_url_for(url)  # noqa: SLF001 - botocore has no other way to its pools
        self._pool = http_session._get_connection_manager(url, self._proxy_url).connection_from_url(url)  # noqa: SLF001
        http_session._setup_ssl_cert(self._pool, url, http_session._verify)  # noqa: SLF001
        parts = urlsplit(url)
        is_forwarded = self._proxy_url is not None and parts.scheme == "http"
        self._before_target = f"http://{parts.netloc}" if is_forwarded else ""
        self._proxy_headers = dict(self._pool.proxy_headers) if is_forwarded else {}

    def exchange(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes, checked: Callable[[Answer], Any]
    ) -> Any:
        """Send a request, and return what ``checked`` makes of its whole answer.

        ``checked`` may raise NotWhole. Raises botocore's EndpointConnectionError and its like when the server was not
        reached, else ReadTimeoutError or ConnectionClosedError.
        """
        head = self._head(method, target, headers, body)
        connection = self._pool._get_conn()  # noqa: SLF001 - what urlopen itself calls
        is_reusable = False
        try:
            if connection.sock is None:
                self._connect(connection)
            try:
                answer, is_reusable = self._ask(connection.sock, method, head, body)
                return checked(answer)
            except TimeoutError as error:
                raise exceptions.ReadTimeoutError(endpoint_url=self._url, error=error) from error
            except (answers.NotWhole, HTTPException, OSError) as error:
                is_reusable = False
                raise exceptions.ConnectionClosedError(endpoint_url=self._url, error=error) from error
        finally:
            if not is_reusable:
                connection.close()
            self._pool._put_conn(connection)  # noqa: SLF001

    def _head(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> bytes:
        lines = [f"{name}: {value}" for name, value in {**headers, **self._proxy_headers}.items()]
        if body or method in {"PUT", "POST"}:
            lines.append(f"content-length: {len(body)}")
        if self._asks_before(body):
            lines.append("expect: 100-continue")
        text = "".join(lines)
        if "\n" in text or "\r" in text or not text.isascii():
            raise exceptions.ParamValidationError(report="a header would have a line break or letters beyond ASCII")
        lines.insert(0, f"{method} {self._before_target}{target} HTTP/1.1")
        return "\r\n".join([*lines, "", ""]).encode("ascii")

    def _connect(self, connection: Any) -> None:
        error: Exception
        try:
            if self._proxy_url is not None:
                self._pool._prepare_proxy(connection)  # noqa: SLF001 - as urlopen does
            if connection.sock is None:
                connection.connect()
            connection.sock.settimeout(self._read_timeout_seconds)
        except (ssl.SSLError, SSLError, CertificateError) as error:
            raise exceptions.SSLError(endpoint_url=self._url, error=error) from error
        except (HTTPError, HTTPException, OSError) as error:
            if self._proxy_url is not None:
                shown = mask_proxy_url(self._proxy_url)
                raise exceptions.ProxyConnectionError(proxy_url=shown, error=error) from error
            is_late = isinstance(error, ConnectTimeoutError) and not isinstance(error, NewConnectionError)
            kind = exceptions.ConnectTimeoutError if is_late else exceptions.EndpointConnectionError
            raise kind(endpoint_url=self._url, error=error) from error

    def _asks_before(self, body: bytes) -> bool:
        return self.knows_expect and len(body) >= LARGE_BODY_BYTES

    def _ask(self, sock: Any, method: str, head: bytes, body: bytes) -> tuple[Answer, bool]:
        """Return the whole answer to a request, and whether the connection serves for another one."""
        is_asked = self._asks_before(body)
        _send(sock, [head] if is_asked else [head + body] if len(body) < _PIECE_BYTES else [head, *_pieces(body)])
        response = answers.WholeHeadResponse(sock, method=method)
        is_refused = False
        try:
            if is_asked and wait_for_read(sock, _AGREEMENT_SECONDS_MAX):
                is_refused = not response.asks_for_body()
            if is_asked and not is_refused:
                _send(sock, _pieces(body))
            response.begin()
            headers = {name.lower(): value for name, value in response.headers.items()}
            answer = Answer(response.status, headers, response.read())
            answers.check_body(method, answer.status, headers, answer.body)
        finally:
            response.close()
        return answer, not (is_refused or response.will_close)


def _pieces(body: bytes) -> Iterator[memoryview]:
    return (memoryview(body)[start : start + _PIECE_BYTES] for start in range(0, len(body), _PIECE_BYTES))


def _send(sock: Any, pieces: Iterable[bytes | memoryview]) -> None:
    with suppress(BrokenPipeError):  # a server may answer, and close, before it has everything
        for piece in pieces:
            sock.sendall(piece)
