"""A real JupyterLab and a real Chromium, for the end-to-end test.

Invariant: what is started here ends with its context, kernels included, and nothing leaves this machine.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path

HOST = "127.0.0.1"
START_SECONDS_MAX = 60
CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True},
    "notebook-extension/tracker": {"windowingMode": "none"},
    "docmanager-extension/plugin": {"autosave": False},
}


class Lab:
    """A running JupyterLab: ``url`` of a notebook with ``open_url(name)``."""

    def __init__(self, process: subprocess.Popen, port: int, token: str, log: Path) -> None:
        self._process, self._port, self._token, self._log = process, port, token, log

    def open_url(self, name: str, under: str = "lab/tree") -> str:
        """Return where JupyterLab, or Notebook 7 (under "notebooks"), opens a notebook alone, in a fresh workspace."""
        return f"http://{HOST}:{self._port}/{under}/{name}?token={self._token}&reset"

    def ask(self, method: str, path: str):
        """Return the server's JSON answer, or None for an empty one."""
        request = urllib.request.Request(f"http://{HOST}:{self._port}{path}", method=method)
        request.add_header("Authorization", f"token {self._token}")
        with urllib.request.urlopen(request, timeout=10) as answer:
            body = answer.read()
        return json.loads(body) if body else None

    def wait(self) -> None:
        """Return once the server answers; raise with its log if it ends or takes too long."""
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                self.ask("GET", "/api/status")
            except OSError:
                time.sleep(0.1)
                continue
            return
        raise RuntimeError(f"JupyterLab did not start:\n{self._log.read_text()[-4000:]}")

    def stop(self) -> None:
        """End the kernels and the server, and what is left of its process group."""
        try:
            for kernel in self.ask("GET", "/api/kernels"):
                self.ask("DELETE", f"/api/kernels/{kernel['id']}")
            self.ask("POST", "/api/shutdown")
            self._process.wait(15)
        except (OSError, subprocess.TimeoutExpired):
            pass
        finally:
            if self._process.poll() is None:
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def write_settings(folder: Path, theme: str) -> None:
    """Choose the theme, and switch off what asks the user or the network."""
    for name, values in {**_SETTINGS, "apputils-extension/themes": {"theme": theme}}.items():
        path = folder / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))


@contextmanager
def running_lab(environment: dict[str, str], root: Path):
    """Run JupyterLab over the folder ``root`` on a free port."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(16)
    log = root.parent / "jupyterlab.log"
    write_settings(Path(environment["JUPYTERLAB_SETTINGS_DIR"]), "JupyterLab Light")
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--ip={HOST}", f"--port={port}"),
        "--ServerApp.port_retries=0",
        f"--ServerApp.root_dir={root}",
        "--LabApp.extension_manager=readonly",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        "--LabApp.news_url=None",
    ]
    # The token goes by the environment: a command line is there for every user of the machine to read.
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env={**environment, "JUPYTER_TOKEN": token},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=root,
            start_new_session=True,
        )
    lab = Lab(process, port, token, log)
    try:
        lab.wait()
        yield lab
    finally:
        lab.stop()


@contextmanager
def running_chromium():
    """Run Debian's Chromium, headless; gives Playwright's browser."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        raise RuntimeError("no chromium on the PATH: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()
