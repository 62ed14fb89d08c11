"""The notebooks run from top to bottom, in a kernel of their own."""

from __future__ import annotations

import re

import pytest

from tests import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
WIDGET = "application/vnd.jupyter.widget-view+json"


def test_there_are_notebooks():
    """The folder is where this test looks for it."""
    assert [path.stem for path in NOTEBOOKS] == ["quickstart", "sql"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_holds_no_outputs(path):
    """Outputs are made by running, not kept in the repository."""
    import nbformat

    for cell in nbformat.read(path, as_version=4).cells:
        assert not cell.get("outputs"), cell["source"]
        assert cell.get("execution_count") is None


# Raised by jupyter_client and its event loop, not by us.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore:.*event loop.*:DeprecationWarning")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, jupyter_environment, tmp_path):
    """Every cell runs without an error; SQL cells show a table and the footer, the tour ends with the browser."""
    import nbformat
    from nbclient import NotebookClient
    from nbconvert import HTMLExporter

    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=60, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    )
    client.execute(env=jupyter_environment)
    shown = {cell["id"]: cell["outputs"] for cell in notebook.cells if cell["cell_type"] == "code"}
    data = [output["data"] for outputs in shown.values() for output in outputs if "data" in output]
    html = [each.get("text/html", "") for each in data if WIDGET not in each]
    tables = [text for text in html if '<div class="vstore-table"' in text]
    assert len(tables) >= 4
    for text in tables:
        assert re.search(r"\b\d+ rows? · [0-9.]+ m?s</div>", text), text[-300:]
    pruned = [re.search(r"(\d+) of (\d+) segments", text) for text in tables]
    assert any(found and int(found[1]) < int(found[2]) for found in pruned)
    texts = [output.get("data", {}).get("text/plain", "") for outputs in shown.values() for output in outputs]
    browsers = [text for text in texts if text.startswith("Browser(")]  # a progress bar is a widget too
    assert len(browsers) == (path.stem == "quickstart")
    errors = [output for outputs in shown.values() for output in outputs if output.get("name") == "stderr"]
    assert errors == []
    pictures = [each["text/html"] for each in data if WIDGET in each and "text/html" in each]
    notebook.metadata.pop("widgets", None)  # as JupyterLab saves it
    exported, _ = HTMLExporter().from_notebook_node(notebook)
    assert len(pictures) == (path.stem == "quickstart")
    assert all(picture in exported for picture in pictures), "an export shows the picture where no widget runs"
