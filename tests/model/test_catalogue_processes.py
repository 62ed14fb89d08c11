"""A folded catalogue on a real S3 server: writers, folders, collectors are killed, and no listing misses a version."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

import duckvstore as vs
from duckvstore.engine.maintenance import automatic
from duckvstore.engine.reading import folded, listings, visible
from duckvstore.engine.writing import commits
from tests.model.test_bank import all_ended

SYMBOLS = [f"s{number}" for number in range(9)]
SECONDS = 60 if os.environ.get("DUCKVSTORE_FULL") else 12
WRITERS = 2
LISTINGS_MIN = 6


def opened(url, options) -> vs.Library:
    """Any library is large here, and writers fold after a few commits."""
    commits.UNDECIDED_SECONDS_MAX = 1.0
    automatic.LOOK_EVERY, automatic.INTENTS_MIN, automatic.FIRST_DOCUMENTS_MIN = 4, 5, 5
    listings.SYMBOLS_PAGE = visible.NUMBERS_PAGE = 3
    visible.FOLDED_DOCUMENTS_MIN = 2
    return vs.open(url, options).get_library("eod")


def write_until(url, options, seed, stop: Path, notes: Path) -> None:
    """Write, also in transactions, and note what was acknowledged."""
    lib, dice = opened(url, options), random.Random(seed)
    with notes.open("a") as file:
        while not stop.exists():
            made: dict[str, int] = {}
            with suppress(vs.Conflict):
                if dice.random() < 0.3:
                    with lib.transaction() as transaction:
                        for symbol in dice.sample(SYMBOLS, 2):
                            transaction.write(symbol, 1)
                        made = transaction.commit()
                else:
                    item = lib.write(dice.choice(SYMBOLS), 1)
                    made = {item.symbol: item.version}
            file.write("".join(f"{symbol} {number}\n" for symbol, number in made.items()))
            file.flush()


def keep_until(url, options, seed, stop: Path, _notes: Path) -> None:
    """Fold, collect, and lose the catalogue or a part of it."""
    lib, dice = opened(url, options), random.Random(seed)
    objects = lib.open_library.objects
    while not stop.exists():
        with suppress(vs.Conflict):
            what = dice.random()
            if what < 0.7:
                lib.fold(rebuild=what < 0.1)
            elif what < 0.9:
                lib.gc(dry_run=False)
            else:
                keys = [entry.key for entry in objects.list(lib.open_library.layout.root + "catalogue/")]
                objects.delete(keys if what < 0.95 else keys[: len(keys) // 3])
        time.sleep(0.05 * dice.random())


def acknowledged(folder: Path) -> set[tuple[str, int]]:
    """What whole lines of the notes say."""
    lines = [line for notes in folder.glob("notes*") for line in notes.read_text().split("\n")[:-1]]
    return {(symbol, int(number)) for symbol, number in map(str.split, lines)}


def look(lib, must: set[tuple[str, int]], dice: random.Random) -> set[tuple[str, int]]:
    """Return what a listing shows. Raises AssertionError where it lacks what there was before it began."""
    if dice.random() < 0.5:
        found = {tuple(pair) for pair in lib.list_versions(skip_snapshots=True)}
    else:
        found = set(lib.sql("SELECT symbol, version FROM vstore.versions").fetchall())
    assert not must - found, sorted(must - found)
    assert {symbol for symbol, _ in must} <= set(lib.list_symbols())
    return found


@pytest.mark.filterwarnings("ignore::duckvstore.DocumentWarning")
@pytest.mark.timeout(7 * SECONDS + 120)
def test_no_listing_misses_what_was_acknowledged_while_processes_are_killed(s3_bucket, tmp_path, monkeypatch):
    """Nor one of a handle that has been there all the time; in the end the catalogue is what the documents say."""
    for module, name in (
        (commits, "UNDECIDED_SECONDS_MAX"), (automatic, "LOOK_EVERY"), (automatic, "INTENTS_MIN"),
        (automatic, "FIRST_DOCUMENTS_MIN"), (listings, "SYMBOLS_PAGE"), (visible, "NUMBERS_PAGE"),
        (visible, "FOLDED_DOCUMENTS_MIN"),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, getattr(module, name))  # put back what ``opened`` sets
    url, options = s3_bucket.url, s3_bucket.storage_options
    vs.open(url, options).create_library("eod")
    dice, stop, count, of_catalogue, seen = random.Random(5), tmp_path / "stop", 0, 0, set()
    with all_ended() as start:
        running = {}
        for name in (*(f"writer{number}" for number in range(WRITERS)), "keeper0", "keeper1"):
            target = write_until if name.startswith("writer") else keep_until
            running[name] = (target, start(target, url, options, name, stop, tmp_path / f"notes-{name}"))
        kept = opened(url, options)
        began = time.monotonic()
        # A busy machine is given more time, so that there is something to see.
        while (passed := time.monotonic() - began) < SECONDS or (
            passed < 6 * SECONDS and not (count >= LISTINGS_MIN and of_catalogue)
        ):
            must = acknowledged(tmp_path)
            handle = kept if dice.random() < 0.5 else opened(url, options)
            seen |= look(handle, must | seen, dice)
            of_catalogue += folded.look(handle.open_library) is not None
            count += 1
            if dice.random() < 0.3:
                name = dice.choice(sorted(running))
                target, process = running[name]
                assert process.is_alive(), f"{name} ended by itself"
                os.kill(process.pid, signal.SIGKILL)
                process.join()
                again = f"{name}-{count}"
                running[name] = (target, start(target, url, options, again, stop, tmp_path / f"notes-{again}"))
        stop.touch()
        for name, (_, process) in running.items():
            process.join(60)
            assert process.exitcode == 0, name
    must = acknowledged(tmp_path)
    lib = opened(url, options)
    look(lib, must | seen, dice)
    assert len(must) > 20 and count >= LISTINGS_MIN and of_catalogue
    lib.fold()
    assert lib.verify().ok
    assert {tuple(pair) for pair in lib.list_versions()} >= must
