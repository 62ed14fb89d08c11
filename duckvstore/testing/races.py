"""Several threads or processes that all create the same keys at the same moment.

Invariant: every racer waits at a barrier before each round, so that the creates truly meet.
"""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import TYPE_CHECKING, Any, TypeAlias

from duckvstore.errors import AlreadyExists

if TYPE_CHECKING:
    from collections.abc import Callable
    from multiprocessing.context import ForkServerContext, SpawnContext

    from duckvstore.objects.base import ObjectStore

Wins: TypeAlias = list[list[int]]  # per racer, the rounds that it won
_SECONDS_MAX = 120
CONTEXT: SpawnContext | ForkServerContext = multiprocessing.get_context("spawn")


def round_key(folder: str, round_index: int) -> str:
    """Return the key that all racers create in a round."""
    return f"{folder}/{round_index:04d}"


def racer_data(racer_index: int) -> bytes:
    """Return the bytes that a racer writes."""
    return f"racer {racer_index} ".encode() * 100


def race(objects: ObjectStore, folder: str, racer_index: int, round_count: int, barrier: Any) -> list[int]:
    """Create one key per round, as soon as all racers are there; return the rounds won."""
    wins = []
    for round_index in range(round_count):
        barrier.wait(_SECONDS_MAX)
        try:
            objects.create(round_key(folder, round_index), racer_data(racer_index))
        except AlreadyExists:
            continue
        wins.append(round_index)
    return wins


def race_threads(objects: ObjectStore, folder: str, *, racer_count: int, round_count: int) -> Wins:
    """Let threads race on one object store."""
    barrier = Barrier(racer_count)
    with ThreadPoolExecutor(racer_count) as pool:
        racers = [pool.submit(race, objects, folder, index, round_count, barrier) for index in range(racer_count)]
        return [racer.result() for racer in racers]


def race_processes(reopen: Callable[[str], ObjectStore], folder: str, *, racer_count: int, round_count: int) -> Wins:
    """Let processes race, each on the object store that ``reopen("")`` gives it (so ``reopen`` is pickled)."""
    barrier = CONTEXT.Barrier(racer_count)
    queue = CONTEXT.SimpleQueue()
    arguments = [(reopen, folder, index, round_count, barrier, queue) for index in range(racer_count)]
    processes = [CONTEXT.Process(target=_race_in_process, args=each, daemon=True) for each in arguments]
    for process in processes:
        process.start()
    try:
        wins = dict(queue.get() for _ in processes)
    finally:
        for process in processes:
            process.join(_SECONDS_MAX)
    failed = {index: outcome for index, outcome in wins.items() if isinstance(outcome, str)}
    if failed:
        raise AssertionError(f"racers failed: {failed}")
    return [wins[index] for index in range(racer_count)]


def _race_in_process(
    reopen: Callable[[str], ObjectStore], folder: str, racer_index: int, round_count: int, barrier: Any, queue: Any
) -> None:
    try:
        queue.put((racer_index, race(reopen(""), folder, racer_index, round_count, barrier)))
    except BaseException as error:
        barrier.abort()  # the others must not wait for this one
        queue.put((racer_index, repr(error)))
        raise
