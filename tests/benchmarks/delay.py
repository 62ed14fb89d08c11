"""A proxy that lets everything arrive late, as over a distance: ``python -m tests.benchmarks.delay HOST:PORT SECONDS``.

It prints its own address, and ends when its standard input does. What is sent at once arrives at once, later. It
counts the requests of HTTP and the bytes of both directions; a second address, printed after the first, tells a caller
what was counted since the last one asked.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator


# No client sends a request before the one before was answered, so that each is at the start of what is read; no body of
# a store looks like one.
_REQUEST = re.compile(rb"[A-Z]{3,7} \S+ HTTP/1\.[01]\r\n")
_counts = {"requests": 0, "sent": 0, "received": 0}


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float, counted: str) -> None:
    loop = asyncio.get_running_loop()
    due: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

    async def write() -> None:
        while (item := await due.get())[1]:
            await asyncio.sleep(item[0] - loop.time())
            writer.write(item[1])
            await writer.drain()
        writer.close()

    task = asyncio.create_task(write())
    try:
        while data := await reader.read(1 << 20):
            _counts[counted] += len(data)
            _counts["requests"] += counted == "sent" and _REQUEST.match(data) is not None
            due.put_nowait((loop.time() + seconds, data))
    except OSError:
        pass
    due.put_nowait((0, b""))
    await task


async def _serve(host: str, port: int, seconds: float) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(host, port)
        await asyncio.gather(
            _pass_on(reader, back, seconds, "sent"),
            _pass_on(there, writer, 0.0, "received"),
            return_exceptions=True,
        )

    async def asked(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(json.dumps(_counts).encode())
        _counts.update(dict.fromkeys(_counts, 0))
        writer.close()

    for serve in (connected, asked):
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


@contextmanager
def proxied(endpoint: str, milliseconds: float) -> Iterator[tuple[str, str]]:
    """Yield the address of a proxy in a process of its own, before ``endpoint``, and the one that ``counted`` takes."""
    command = [sys.executable, "-m", "tests.benchmarks.delay", urlsplit(endpoint).netloc, str(milliseconds / 1000)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process.stdout.readline().strip(), process.stdout.readline().strip()
        process.stdin.close()


@contextmanager
def delayed(endpoint: str, milliseconds: float) -> Iterator[str]:
    """Yield the address of a proxy before ``endpoint``; without a delay that itself."""
    if not milliseconds:
        yield endpoint
        return
    with proxied(endpoint, milliseconds) as (address, _):
        yield address


def counted(address: str) -> dict[str, int]:
    """Return the requests, and the bytes sent and received, since the last call."""
    with socket.create_connection((urlsplit(address).hostname, urlsplit(address).port)) as connection:
        return json.loads(b"".join(iter(lambda: connection.recv(1 << 16), b"")))


if __name__ == "__main__":
    host, _, port = sys.argv[1].partition(":")
    task = _serve(host, int(port), float(sys.argv[2]))
    try:
        asyncio.run(task)
    finally:
        sys.exit(0)
