"""Plans of edits: which segments an append merges."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from duckvstore.engine.writing.edits import merged_tail, runs


def simulate(batches, full_rows):
    """Return (rows written in total, largest number of segments, most old rows that one append wrote again)."""
    segments, written, most, rewritten = [], 0, 0, 0
    for rows in batches:
        count = merged_tail(segments, rows, full_rows)
        old = sum(segments[len(segments) - count :]) if count else 0
        segments = [*segments[: len(segments) - count], old + rows]
        written += old + rows
        rewritten = max(rewritten, old)
        most = max(most, len(segments))
    return written, most, rewritten


def test_ten_thousand_appends_of_ten_rows_write_each_row_a_few_times():
    """At most six rows are written per row appended, and there are never more than thirty segments."""
    written, most, rewritten = simulate([10] * 10_000, 131_072)
    assert written <= 6 * 100_000
    assert most <= 30
    assert rewritten <= 131_072


def test_a_million_rows_in_small_appends_fill_segments():
    """Segments of half the full size and more are left alone; the rest stay few."""
    written, most, rewritten = simulate([100] * 20_000, 65_536)
    assert written <= 7 * 2_000_000
    assert most <= 2_000_000 // 32_768 + 30
    assert rewritten <= 65_536


@given(st.lists(st.integers(1, 5000), max_size=300), st.sampled_from([1024, 65_536]))
def test_no_append_writes_more_than_one_full_segment_again(batches, full_rows):
    """Whatever the sizes; and small segments never pile up beyond seven per tier."""
    _, most, rewritten = simulate(batches, full_rows)
    assert rewritten <= full_rows
    assert most <= sum(batches) // (full_rows // 2) + 7 * 6 + 2 + sum(rows * 2 >= full_rows for rows in batches)


def test_runs_are_neighbours():
    """Positions next to each other are one run."""
    assert runs([0, 1, 4, 6, 7, 8]) == [[0, 1], [4], [6, 7, 8]]
    assert runs([]) == []
