"""The commands of upkeep, run as a user runs them."""

from __future__ import annotations

import pandas as pd
import pytest

import duckvstore as vs
from duckvstore import cli
from duckvstore.cli import upkeep


@pytest.fixture
def run(tmp_path, capsys):
    """Return a function that runs a command on a store with five versions of one symbol."""
    lib = vs.open(tmp_path).create_library("eod")
    for number in range(5):
        lib.write("trades", pd.DataFrame({"x": range(number, number + 50)}))

    def call(*arguments):
        code = cli.main([*arguments, "--store", str(tmp_path)])
        out = capsys.readouterr()
        return code, out.out, out.err

    call.lib = lib
    return call


def test_prune_then_gc_frees_space(run):
    """Collection shows first; only with --yes, and after the grace, it removes."""
    assert run("prune", "trades", "--keep-last", "2", "--yes")[:2] == (0, "trades: 3 versions removed\n")
    assert sorted(pair.version for pair in run.lib.list_versions("trades")) == [3, 4]
    code, out, _ = run("gc", "--grace", "0s")
    assert code == 0
    assert "dry run" in out
    before = run.lib.sizes().to_dict()
    code, out, _ = run("gc", "--grace", "0s", "--yes")
    assert "dry run" not in out
    assert run("gc", "--grace", "0s")[1] != out
    assert run.lib.verify().ok
    assert before != {}
    code, out, _ = run("prune", "--all-symbols", "--keep-for", "1d", "--yes")
    assert out == "trades: 0 versions removed\n"


def test_verify_says_what_is_wrong_by_its_exit_code(run):
    """0 when all is well, 3 when something is missing or damaged."""
    assert run("verify")[0] == 0
    opened = run.lib.open_library
    segment = opened.version("trades", 1).segments[0]
    opened.objects.delete([opened.layout.segment_key(segment.key)])
    code, out, _ = run("verify", "--shallow")
    assert code == upkeep.EXIT_PROBLEMS
    assert segment.key in out


def test_fold_says_what_the_catalogue_is_now(run):
    """Again, it has nothing to do; a rebuild reads everything."""
    count = len(run.lib.list_versions())
    code, out, _ = run("fold")
    assert code == 0
    assert f"generation 0, {count} versions in " in out
    assert f"{count} documents folded" in out
    assert "0 documents folded" in run("fold")[1]
    assert f"generation 1, {count} versions in " in run("fold", "--rebuild")[1]
    assert run("verify", "--repair")[0] == 0 and "was made anew" not in run("verify", "--repair")[1]
    assert run.lib.verify().ok


def test_sizes_and_options_are_shown_and_changed(run):
    """Options take durations; what is wrong is one message."""
    assert "trades" in run("sizes")[1]
    code, out, _ = run("options", "keep_last=3", "keep_for=90d", "compression=snappy", "validate_index=false")
    assert code == 0
    assert "keep_last=3\n" in out
    assert f"keep_for_seconds={90 * 86_400.0}\n" in out
    assert run.lib.set_options(keep_last=None).keep_last is None
    assert "compression=snappy\n" in run("options")[1]
    for arguments, message in (
        (["options", "keep_last"], "NAME=VALUE"),
        (["options", "keep_for=soon"], "write 30s"),
        (["prune"], "--all-symbols"),
        (["prune", "trades"], "--keep-last"),
        (["recover"], "duckvstore:"),
    ):
        code, _, err = run(*arguments)
        assert code == 1
        assert message in err
    with pytest.raises(SystemExit):
        run("gc", "--grace", "soon")
