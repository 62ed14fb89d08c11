"""Completion in ``%vstore`` lines and ``%%vstore`` cells, through IPython's own completer."""

from __future__ import annotations

import pandas as pd
import pytest
from IPython.core.completer import provisionalcompleter

from duckvstore.jupyter.completion import IDENTIFIER


def complete(shell, marked: str) -> list[str]:
    """Return the completed texts at the ``|`` of ``marked``, each as the cell would look up to the cursor."""
    offset = marked.index("|")
    text = marked.replace("|", "")
    shell.Completer.use_jedi = False
    with provisionalcompleter():
        found = list(shell.Completer.completions(text, offset))
    return [text[: item.start] + item.text for item in found]


@pytest.mark.parametrize(
    ("marked", "expected"),
    [
        ("%%vstore\nSELECT * FROM tr|", "trades"),
        ("%vstore SELECT * FROM tr|", "trades"),
        ("frame = %vstore SELECT * FROM tr|", "trades"),
        ("x = 1\n%vstore FROM tr|", "trades"),
        ("%%vstore -o x --at 0\nSELECT 'a;b' -- FROM\nFROM names JOIN tr|", "trades"),
        ("%%vstore\nSELECT pr| FROM trades", "price"),
        ("%%vstore\nSELECT t.pr| FROM trades t", "price"),
        ("%%vstore\nSELECT n.sel| FROM trades t JOIN names AS n", '"select"'),
        ("%%vstore\nSELECT * FROM trades WHERE ta|", "tag"),
        ("%%vstore\nSELECT * FROM trades AT VERSION |", "1"),
        ("%%vstore\nSELECT * FROM trades t AT VERSION |", "0"),
        ("%%vstore\nSELECT * FROM trades AT sn|", "SNAPSHOT"),
        ("%%vstore\nSELECT * FROM trades AT SNAPSHOT |", "'eod 1'"),
        ("%%vstore\nSELECT * FROM trades AT SNAPSHOT 'eo|", "eod 1"),
        ("%%vstore\nSELECT * FROM trades WHERE price > $thr|", "threshold"),
        ("%%vstore\nSELECT * FROM vstore.sna|", "snapshots"),
        ('%%vstore\nSELECT * FROM "eod 1".tr|', "trades"),
        ("%%vstore --no|", "--no-display"),
        ("%%vstore -t po|", "polars"),
        ("%%vstore SELECT * FROM tr|", "trades"),
    ],
)
def test_what_fits_the_place_is_offered(connected, marked, expected):
    """Symbols, columns, versions, snapshots, parameters and options are offered where they can stand."""
    connected.push({"threshold": 1.0})
    found = complete(connected, marked)
    assert any(item.endswith(expected) for item in found), found


def test_only_what_fits_is_offered(connected):
    """After AT VERSION there are the versions of that symbol and nothing of Python's."""
    assert complete(connected, "%%vstore\nSELECT * FROM trades AT VERSION |") == [
        "%%vstore\nSELECT * FROM trades AT VERSION 1",
        "%%vstore\nSELECT * FROM trades AT VERSION 0",
    ]
    assert complete(connected, "%%vstore\nSELECT n.| FROM trades t, names n") == [
        "%%vstore\nSELECT n.id",
        '%%vstore\nSELECT n."select"',
    ]


def test_what_a_transaction_has_made_is_offered_while_it_is_open(connected):
    """Its symbols, and their columns as it has them."""
    marked = ("%%vstore\nFROM ma|", "%%vstore\nSELECT fre| FROM made", "%%vstore\nSELECT add| FROM trades")
    offered = ["%%vstore\nFROM made", "%%vstore\nSELECT fresh", "%%vstore\nSELECT added"]
    for end in ("ROLLBACK", "COMMIT"):
        run = ("BEGIN", "CREATE TABLE made AS SELECT 1 AS fresh", "ALTER TABLE trades ADD COLUMN added INTEGER")
        for text in run:
            assert connected.run(f"%vstore {text}").error is None
        assert [name for text in marked for name in complete(connected, text)] == offered
        assert connected.run(f"%vstore {end}").error is None
        if end == "ROLLBACK":
            assert not any(name in offered for text in marked for name in complete(connected, text))


def test_python_cells_are_left_alone(connected):
    """In a cell without the magic nothing of ours is offered, and no error ever shows."""
    connected.push({"trader": 1})
    assert complete(connected, "tra|") == ["trader"]
    assert not any("trades" in item for item in complete(connected, "x = 'FROM tr|'"))


def test_a_broken_store_is_silent(connected, monkeypatch):
    """When the store cannot be asked, completing offers nothing and shows nothing."""

    def broken(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("duckvstore.engine.reading.listings.symbol_names", broken)
    assert not any("trades" in item for item in complete(connected, "%%vstore\nSELECT * FROM tr|"))


def test_many_symbols_are_offered_in_part(connected):
    """A large library offers at most some hundreds of names, those that fit."""
    library = connected.user_ns["lib"]
    frame = pd.DataFrame({"a": [1]})
    for number in range(3):
        library.write(f"many_{number}", frame)
    assert len(complete(connected, "%%vstore\nSELECT * FROM many_|")) == 3
    assert IDENTIFIER in [getattr(item, "matcher_identifier", "") for item in connected.Completer.custom_matchers]
