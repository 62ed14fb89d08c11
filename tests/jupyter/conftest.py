"""A library with a little history, and a real IPython shell."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

import duckvstore as vs
from tests import ROOT

HOSTILE = '<img src=x onerror="window.hacked=true">\'`&amp;'


@pytest.fixture(scope="session")
def jupyter_environment(tmp_path_factory):
    """Environment variables of a Jupyter that reads no settings of the user's and writes nothing outside."""
    folder = tmp_path_factory.mktemp("jupyter")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("JUPYTER", "IPYTHON"))}
    for name in ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR"):
        environment[f"JUPYTER_{name}"] = str(folder / name.lower())
    root = str(ROOT)
    return {
        **environment,
        "HOME": str(folder),
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
        "JUPYTER_PREFER_ENV_PATH": "1",
        "JUPYTER_PLATFORM_DIRS": "1",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "PYTHONPATH": os.pathsep.join(part for part in (root, os.environ.get("PYTHONPATH", "")) if part),
    }


@pytest.fixture
def library():
    """trades: v0 (3 rows, a null), v1 (2 rows) in snapshot "eod 1"; names: v0; gone: deleted; a hostile symbol."""
    store = vs.open("memory://jupyter")
    library = store.create_library("eod")
    first = pd.DataFrame({"price": [1.0, 20.0, None], "tag": ["a", "<b>bold</b>", None]})
    library.write("trades", first, author="ann", message="first load")
    library.write("trades", pd.DataFrame({"price": [5.0, 6.0], "tag": ["x", "y"]}))
    library.write("names", pd.DataFrame({"id": [1], "select": ["s"]}))
    library.write("gone", pd.DataFrame({"a": [1]}))
    library.delete("gone")
    library.snapshot("eod 1", message="end of day")
    library.write(HOSTILE, pd.DataFrame({HOSTILE: [HOSTILE], "n": [1]}), message=HOSTILE, author=HOSTILE)
    yield library
    library.session.close()
    store.delete_library("eod")


@pytest.fixture
def shell(tmp_path, monkeypatch):
    """An InteractiveShell with the extension loaded; ``run`` gives what a cell showed and raised."""
    from IPython.core.interactiveshell import InteractiveShell
    from IPython.utils.capture import capture_output
    from traitlets.config import Config

    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    shell.run_line_magic("load_ext", "duckvstore")

    def run(cell: str) -> SimpleNamespace:
        with capture_output() as captured:
            outcome = shell.run_cell(cell)
        return SimpleNamespace(
            value=outcome.result,
            error=outcome.error_in_exec or outcome.error_before_exec,
            html="".join(output.data.get("text/html", "") for output in captured.outputs),
            text="".join(output.data.get("text/plain", "") for output in captured.outputs),
            printed=captured.stdout,
        )

    shell.run = run
    yield shell
    InteractiveShell.clear_instance()


@pytest.fixture
def connected(shell, library):
    """The shell, connected to the library, which it also has as ``lib``."""
    shell.push({"lib": library})
    outcome = shell.run("%vstore lib")
    assert outcome.error is None
    return shell
