"""A proxy in front of an S3 server that ends the connection within an answer, at the byte that a test chooses.

Invariant: a request reaches the server whole and takes effect, whatever becomes of its answer; the same cut of the same
answers is made in every run.
"""

from __future__ import annotations

import http.client
import socket
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import urlsplit

from tests.servers import HOST

_OF_ONE_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "content-length"}


@dataclass(frozen=True)
class Cut:
    """Where answers end: after ``byte`` bytes of the head or the body of answer number ``answer`` (from 1).

    ``repeat``: so many answers in a row are cut, so that repeating does not help.
    """

    answer: int
    part: str
    byte: int
    repeat: int = 1


@dataclass
class Answer:
    """What was answered: request line, and the bytes of head and body as they were (to be) sent."""

    method: str
    path: str
    head: bytes
    body: bytes
    was_cut: bool = False


class CuttingProxy:
    """Passes requests on to ``endpoint`` and answers back, but for the part that ``cut`` names.

    ``chunked``: bodies come in chunks of a few hundred bytes, without their length. ``answers`` logs what was answered
    since ``begin``.
    """

    def __init__(self, endpoint: str) -> None:
        self.upstream = urlsplit(endpoint).netloc
        self.answers: list[Answer] = []
        self.cut: Cut | None = None
        self.chunked = False
        self._lock = threading.Lock()
        self._local = threading.local()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle_one_request(self) -> None:
                self.raw_requestline = self.rfile.readline(65537)
                if not self.raw_requestline or not self.parse_request():
                    self.close_connection = True
                    return
                proxy._pass_on(self)

            def finish(self) -> None:
                upstream = getattr(proxy._local, "upstream", None)
                if upstream is not None:
                    upstream.close()  # of this connection's thread, which ends here
                super().finish()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self._server.daemon_threads = True
        self._server.block_on_close = False
        self.endpoint = f"http://{HOST}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def begin(self, cut: Cut | None = None, *, chunked: bool = False) -> None:
        """Count answers from 1 again, and cut this one."""
        with self._lock:
            self.answers, self.cut, self.chunked = [], cut, chunked

    @property
    def has_cut(self) -> bool:
        """Whether any answer was cut since ``begin``."""
        return any(answer.was_cut for answer in self.answers)

    def _pass_on(self, handler: BaseHTTPRequestHandler) -> None:
        data = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        status, reason, headers, body = self._ask(handler, data)
        lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers)]
        has_body = handler.command != "HEAD" and status not in {204, 304}
        if has_body and self.chunked:
            lines.append("Transfer-Encoding: chunked")
            pieces = [body[start : start + 300] for start in range(0, len(body), 300)]
            body = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        elif has_body:
            lines.append(f"Content-Length: {len(body)}")
        else:
            lines += [f"{name}: {value}" for name, value in headers.lengths]
            body = b""
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        answer = Answer(handler.command, handler.path, head, body)
        with self._lock:
            self.answers.append(answer)
            length = self._length_to_send(answer, len(self.answers))
        handler.wfile.write((head + body)[:length])
        if answer.was_cut:
            handler.wfile.flush()
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)

    def _length_to_send(self, answer: Answer, number: int) -> int:
        whole = len(answer.head) + len(answer.body)
        cut = self.cut
        if cut is None or not cut.answer <= number < cut.answer + cut.repeat:
            return whole
        part = len(answer.head) if cut.part == "head" else len(answer.body)
        if cut.byte >= part:
            return whole
        answer.was_cut = True
        return cut.byte + (0 if cut.part == "head" else len(answer.head))

    def _ask(self, handler: BaseHTTPRequestHandler, data: bytes):
        """Return the server's own answer: on a connection per thread, opened again when the server has closed it."""
        for attempt in range(2):
            upstream = getattr(self._local, "upstream", None)
            if upstream is None or attempt:
                if upstream is not None:
                    upstream.close()
                upstream = self._local.upstream = http.client.HTTPConnection(self.upstream, timeout=60)
            try:
                upstream.putrequest(handler.command, handler.path, skip_host=True, skip_accept_encoding=True)
                for name, value in handler.headers.items():
                    upstream.putheader(name, value)
                upstream.endheaders(data)
                found = upstream.getresponse()
                body = found.read()
                break
            except (OSError, http.client.HTTPException):
                if attempt:
                    raise
        headers = _Headers(pair for pair in found.getheaders() if pair[0].lower() not in _OF_ONE_CONNECTION)
        headers.lengths = [pair for pair in found.getheaders() if pair[0].lower() == "content-length"]
        return found.status, found.reason, headers, body


class _Headers(list):
    lengths: list[tuple[str, str]]


def repeat_at_once(monkeypatch) -> None:
    """Let no repetition wait: walks make many."""
    from duckvstore import clock

    monkeypatch.setattr(clock, "sleep", lambda _seconds: None)
