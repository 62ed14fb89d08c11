"""A long statement shows a bar in a notebook, as a widget that goes away, and prints nothing."""

from __future__ import annotations

from queue import Empty

import pytest
from jupyter_client.manager import start_new_kernel

SETUP = """
import duckvstore as vs
from duckvstore.sql.execution import progress_bar as bar

bar.DELAY_SECONDS = 0
lib = vs.open("memory://notebook").create_library("eod")
"""
LONG = """
lib.sql("SELECT count(*) FROM range(2_000_000) a(x), range(4) b(i) WHERE md5((x + i)::VARCHAR) > 'g'").fetchall()[0][0]
"""


@pytest.fixture
def run(monkeypatch):
    """Run a cell in a kernel of its own; return the messages that it sends to the notebook."""
    monkeypatch.delenv("DUCKVSTORE_PROGRESS", raising=False)
    manager, client = start_new_kernel(kernel_name="python3")

    def messages(cell):
        sent = []
        reply = client.execute_interactive(cell, timeout=60, output_hook=sent.append)
        assert reply["content"]["status"] == "ok", reply["content"]
        while True:
            try:
                sent.append(client.get_iopub_msg(timeout=0.2))
            except Empty:
                return sent

    yield messages
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def test_a_long_statement_shows_a_widget_and_removes_it(run):
    """The text beside it says what runs and how long; nothing is left on stdout or stderr."""
    assert [message for message in run(SETUP) if message["msg_type"] == "stream"] == []
    sent = run(LONG)
    kinds = [message["msg_type"] for message in sent]
    assert "stream" not in kinds
    assert "display_data" in kinds
    opened = {m["content"]["comm_id"] for m in sent if m["msg_type"] == "comm_open"}
    closed = {m["content"]["comm_id"] for m in sent if m["msg_type"] == "comm_close"}
    states = [m["content"]["data"].get("state", {}) for m in sent if m["msg_type"] in ("comm_open", "comm_msg")]
    texts = [state["value"] for state in states if isinstance(state.get("value"), str)]
    assert any(text.startswith("running\u2007SQL:") for text in texts), texts
    displayed = next(m["content"]["data"] for m in sent if m["msg_type"] == "display_data")
    shown = displayed["application/vnd.jupyter.widget-view+json"]["model_id"]
    assert shown in opened
    assert shown in closed
    assert next(m["content"]["data"]["text/plain"] for m in sent if m["msg_type"] == "execute_result") == "0"
