"""What the code for Google and Azure sends: a server in this process counts it, and answers nothing or little."""

from __future__ import annotations

import base64
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from duckvstore.errors import OutcomeUnknown
from duckvstore.objects import open_objects
from tests.servers import HOST


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_PUT(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.conditions.append((self.headers["If-None-Match"], self.headers["x-goog-if-generation-match"]))
        outcome = self.server.outcomes.pop(0)
        if outcome is None:
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        self.send_response(outcome)
        self.send_header("Content-Length", "0")
        self.send_header("ETag", '"1"')
        self.end_headers()


@pytest.fixture
def service():
    """A server that answers PUT with its ``outcomes`` in turn (None: the connection ends), noting ``conditions``."""
    server = ThreadingHTTPServer((HOST, 0), _Handler)
    server.outcomes, server.conditions = [], []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def open_at(service, scheme):
    address = f"http://{HOST}:{service.server_address[1]}"
    options = {"client_options": {"allow_http": True}}
    if scheme == "az":
        key = base64.b64encode(b"key").decode()
        return open_objects(
            "az://box", {**options, "account_name": "a", "account_key": key, "endpoint": f"{address}/a"}
        )
    account = {"gcs_base_url": address, "disable_oauth": True, "client_email": "", "private_key": ""}
    account["private_key_id"] = ""
    return open_objects("gs://box", {**options, "service_account_key": json.dumps(account)})


@pytest.mark.parametrize(("scheme", "condition"), [("az", ("*", None)), ("gs", (None, "0"))])
@pytest.mark.parametrize("outcome", [None, 500, 503])
def test_a_create_is_conditional_and_sent_once(service, scheme, condition, outcome):
    """Without a definite answer it may still take effect, so it is an unknown outcome and not sent again."""
    service.outcomes = [outcome, 412]
    with pytest.raises(OutcomeUnknown, match="look before repeating"):
        open_at(service, scheme).create("a", b"x")
    assert service.conditions == [condition]


@pytest.mark.parametrize("scheme", ["az", "gs"])
def test_other_writes_are_repeated(service, scheme):
    """A put that got no answer is sent again, without a condition."""
    service.outcomes = [503, 201]
    open_at(service, scheme).put("a", b"x")
    assert service.conditions == [(None, None), (None, None)]
