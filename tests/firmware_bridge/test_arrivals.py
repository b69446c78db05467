"""Clock offset and losses."""

from __future__ import annotations

from firmware_bridge.arrivals import MOST_CANDIDATES, MOST_LOST, WINDOW_NS, ClockOffset, Losses

MS = 1_000_000


def test_the_clock_offset_is_that_of_the_fastest_frame() -> None:
    offset = ClockOffset()
    assert offset.update(1, 0, 5_005 * MS) == 5_005 * MS
    assert offset.update(1, 16 * MS, 5_017 * MS) == 5_001 * MS
    assert offset.update(1, 32 * MS, 5_050 * MS) == 5_001 * MS


def test_the_clock_offset_forgets_what_is_older_than_its_window() -> None:
    offset = ClockOffset()
    offset.update(1, 0, 0)
    assert offset.update(1, WINDOW_NS - MS, WINDOW_NS) == 0  # a millisecond later than the first, and slower
    assert offset.update(1, 2 * WINDOW_NS - 3 * MS, 2 * WINDOW_NS - MS) == MS


def test_a_restarted_probe_starts_its_clock_anew() -> None:
    offset = ClockOffset()
    offset.update(1, 9_000 * MS, 10_000 * MS)
    assert offset.update(2, 0, 10_001 * MS) == 10_001 * MS


def test_a_drifting_clock_does_not_grow_the_memory() -> None:
    offset = ClockOffset()
    for i in range(3 * MOST_CANDIDATES):
        offset.update(1, i * 1000, i * 1001)
    assert len(offset._rising) <= MOST_CANDIDATES


def test_skipped_numbers_are_counted_by_sweep() -> None:
    losses = Losses()
    assert losses.note((1, 0), 7) == 0  # the bridge may have started during the sweep
    assert losses.note((1, 0), 10) == 2
    assert losses.note((1, 0), 10) == 0
    assert losses.note((1, 0), 9) == 0
    assert losses.note((1, 0), 11) == 0
    assert losses.note((1, 1), 3) == 3  # a sweep begins at 0
    assert (losses.total, losses.in_sweep) == (5, 3)


def test_a_made_up_number_still_fits_a_message() -> None:
    losses = Losses()
    for sweep in range(10):
        losses.note((1, sweep), 2**63 - 1)
    assert losses.total == MOST_LOST
