"""A bank on a real S3 server: transfers between accounts in transactions, writers that are killed, auditors, gc."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import contextmanager
from multiprocessing import forkserver
from pathlib import Path

import pandas as pd
import pytest

import duckvstore as vs
from duckvstore.engine.writing import commits
from tests import children

WRITERS = 6
AUDITORS = 2
ACCOUNTS = tuple(f"account {number}" for number in range(8))
OPENING = 1000
SECONDS = 60 if os.environ.get("DUCKVSTORE_FULL") else 12
UNDECIDED_SECONDS = 1.0  # instead of 10: writers die all the time here


def movements(*amounts: int) -> pd.DataFrame:
    """An account is the list of its movements; its balance is their sum."""
    return pd.DataFrame({"amount": pd.Series(amounts, dtype="int64")})


def balance(data: pd.DataFrame) -> int:
    return int(data["amount"].sum())


def opened(url, options) -> vs.Library:
    commits.UNDECIDED_SECONDS_MAX = UNDECIDED_SECONDS
    return vs.open(url, options).get_library("bank")


def transfer(lib, chance: random.Random, author: str) -> dict[str, int]:
    """Move an amount from one account to one or two others; return the versions that were acknowledged."""
    giver, *takers = chance.sample(ACCOUNTS, chance.choice((2, 2, 3)))
    amount = chance.randrange(1, 50)
    with lib.transaction(author=author) as transaction:
        if chance.random() < 0.4:  # without a look at what there is
            transaction.append(giver, movements(-amount * len(takers)))
            for taker in takers:
                transaction.append(taker, movements(amount))
        else:  # each account becomes one movement again
            for account, change in ((giver, -amount * len(takers)), *((taker, amount) for taker in takers)):
                transaction.write(account, movements(balance(transaction.read(account).data) + change))
        return transaction.commit()


def write_until(url, options, seed, stop: Path, acknowledged: Path) -> None:
    """Transfer until told to stop, and note each acknowledged version; a conflict is tried again."""
    lib = opened(url, options)
    chance = random.Random(seed)
    with acknowledged.open("a") as notes:
        while not stop.exists():
            try:
                if chance.random() < 0.1:  # a commit of one symbol, among transactions
                    item = lib.append(chance.choice(ACCOUNTS), movements(0), author=f"{seed}")
                    made = {item.symbol: item.version}
                else:
                    made = transfer(lib, chance, f"{seed}")
            except vs.Conflict:
                time.sleep(chance.random() * 0.05)
                continue
            notes.write("".join(f"{symbol},{number},{seed}\n" for symbol, number in made.items()))
            notes.flush()


def audit_until(url, options, auditor, stop: Path, result: Path) -> None:
    """Read all accounts as of one moment, in each of the ways there are, until told to stop."""
    lib = opened(url, options)
    expected = OPENING * len(ACCOUNTS)
    sums = " + ".join(f'(SELECT sum(amount) FROM "{account}")' for account in ACCOUNTS)
    audits = 0
    while not stop.exists():
        name = f"audit {auditor}/{audits}"
        lib.snapshot(name)
        balances = [balance(lib.read(account, as_of=name).data) for account in ACCOUNTS]
        assert sum(balances) == expected, (name, balances)
        found = lib.sql(f"SELECT {sums}").fetchall()[0][0]
        assert found == expected, found
        joined = " CROSS JOIN ".join(
            f'(SELECT sum(amount) AS s{number} FROM "{account}")' for number, account in enumerate(ACCOUNTS)
        )
        row = lib.sql(f"SELECT * FROM {joined}").fetchall()[0]
        assert sum(row) == expected, row
        batch = [balance(item.data) for item in lib.read_batch(list(ACCOUNTS))]
        assert sum(batch) == expected, batch
        with lib.transaction() as transaction:
            try:
                inside = [balance(transaction.read(account).data) for account in ACCOUNTS]
            except vs.Conflict:
                transaction.rollback()  # an account was changed meanwhile, and it said so
            else:
                assert sum(inside) == expected, inside
        with result.open("a") as notes:
            notes.write(f"{balances}\n")
        audits += 1
        time.sleep(0.1)  # there are two cores, and writers to watch


@contextmanager
def all_ended():
    """Start processes with what this gives; none of them is left at the end, whatever happens."""
    context = children.context()
    processes = []

    def start(target, *arguments):
        process = context.Process(target=target, args=arguments, daemon=True)
        process.start()
        processes.append(process)
        return process

    try:
        yield start
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.join(30)
        forkserver._forkserver._stop()
    assert not [process for process in processes if process.is_alive()]


@pytest.mark.timeout(6 * SECONDS + 120)
def test_the_sum_of_all_accounts_never_changes(s3_bucket, tmp_path, monkeypatch):
    """Six writers transfer and are killed at random, auditors look in every way, gc runs: no amount is lost or made."""
    monkeypatch.setattr(commits, "UNDECIDED_SECONDS_MAX", UNDECIDED_SECONDS)
    options = s3_bucket.storage_options
    lib = vs.open(s3_bucket.url, options).create_library("bank")
    for account in ACCOUNTS:
        lib.write(account, movements(OPENING))
    chance = random.Random(7)
    stop = tmp_path / "stop"
    began = time.monotonic()
    killed = collections = 0
    with all_ended() as start:

        def writer(seed):
            return start(write_until, s3_bucket.url, options, seed, stop, tmp_path / f"writer {seed}")

        writers = [writer(seed) for seed in range(WRITERS)]
        auditors = [
            start(audit_until, s3_bucket.url, options, number, stop, tmp_path / f"auditor {number}")
            for number in range(AUDITORS)
        ]
        # A busy machine is given more time, so that there is something to see.
        while (passed := time.monotonic() - began) < SECONDS or (passed < 6 * SECONDS and not enough(tmp_path)):
            time.sleep(1 + chance.random())
            victim = chance.randrange(WRITERS)
            os.kill(writers[victim].pid, signal.SIGKILL)
            writers[victim].join(30)
            assert writers[victim].exitcode == -signal.SIGKILL, "a writer failed by itself"
            killed += 1
            writers[victim] = writer(WRITERS + killed)
            lib.gc(dry_run=False)
            collections += 1
        time.sleep(1)  # for the last one killed: others meet what it left
        stop.touch()
        for process in (*writers, *auditors):
            process.join(60)
        assert [process.exitcode for process in (*writers, *auditors)] == [0] * (WRITERS + AUDITORS)
    assert killed >= 3
    assert collections >= 3
    check_end(vs.open(s3_bucket.url, options).get_library("bank"), tmp_path)


def noted(folder: Path) -> list[list[str]]:
    """Return (symbol, version, writer) of all that was acknowledged."""
    return [line.split(",") for path in folder.glob("writer *") for line in path.read_text().splitlines()]


def enough(folder: Path) -> bool:
    """Whether there were transfers, and audits of different states."""
    audits = [path.read_text().splitlines() for path in folder.glob("auditor *")]
    return (
        len(noted(folder)) >= 50
        and len(audits) == AUDITORS
        and all(len(lines) >= 3 and len(set(lines)) >= 2 for lines in audits)
    )


def check_end(lib, folder: Path) -> None:
    """What was acknowledged is there, by its author, and every snapshot that was audited still adds up."""
    expected = OPENING * len(ACCOUNTS)
    commits_seen = {}
    for account in ACCOUNTS:
        for pair, info in lib.list_versions(account, skip_snapshots=True).items():
            commits_seen[account, pair.version] = info
    notes = noted(folder)
    assert enough(folder)
    for symbol, number, seed in notes:
        assert commits_seen[symbol, int(number)].author == seed
    for snapshot in lib.list_snapshots(load_metadata=False)[::5]:
        assert sum(balance(lib.read(account, as_of=snapshot).data) for account in ACCOUNTS) == expected
    for account in ACCOUNTS:  # a dead writer's transaction stops nobody
        lib.append(account, movements(0))
    assert sum(balance(lib.read(account).data) for account in ACCOUNTS) == expected
    assert not lib.verify().problems
