"""How many ultrasound images further on: frames of light that were lost are no steps."""

import msgspec
from heart_frames import a_frame

from edge.motion.cadence import Cadence, bmode_frames

MS = 1_000_000


def mixed(count, kinds="bl", interval_ms=10):
    for n in range(count):
        light = kinds[n % len(kinds)] == "l"
        yield a_frame(n, timestamp_ns=n * interval_ms * MS, modality="photoacoustic" if light else "bmode")


def elapsed(frames, *lost):
    return {followed.frame.sequence: followed.elapsed for followed in bmode_frames(f for f in frames if f.sequence not in lost)}


def test_ultrasound_alone_is_counted_by_numbers_whatever_its_clock_says():
    frames = [msgspec.structs.replace(frame, timestamp_ns=0) for frame in mixed(9, "b")]
    assert elapsed(frames, 2, 5, 6) == {0: 0, 1: 1, 3: 2, 4: 1, 7: 3, 8: 1}


def test_lost_light_is_no_step_and_lost_ultrasound_is_one():
    assert elapsed(mixed(13)) == dict.fromkeys(range(0, 13, 2), 1) | {0: 0}
    assert elapsed(mixed(13), 3, 5, 7) == elapsed(mixed(13))
    assert elapsed(mixed(13), 6, 7) == {0: 0, 2: 1, 4: 1, 8: 2, 10: 1, 12: 1}
    assert elapsed(mixed(24, "blll"), 9, 11, 12, 13) == {0: 0, 4: 1, 8: 1, 16: 2, 20: 1}


def test_never_more_steps_than_frames_were_lost_and_none_less_than_one():
    paused = [msgspec.structs.replace(f, timestamp_ns=f.timestamp_ns + (500 * MS if f.sequence > 6 else 0)) for f in mixed(13)]
    assert elapsed(paused, 7)[8] == 2
    hasty = [msgspec.structs.replace(f, timestamp_ns=f.timestamp_ns - (19 * MS if f.sequence > 6 else 0)) for f in mixed(13)]
    assert elapsed(hasty, 7)[8] == 1


def test_a_clock_that_stands_still_leaves_the_numbers():
    assert elapsed([msgspec.structs.replace(frame, timestamp_ns=0) for frame in mixed(9)], 5)[6] == 2


def test_each_sweep_is_counted_anew_and_repeated_frames_are_left_out():
    first, second = list(mixed(6)), [msgspec.structs.replace(frame, sweep=2) for frame in mixed(6)]
    found = list(bmode_frames([*first, first[2], first[4], *second]))
    assert [(one.frame.sweep, one.elapsed) for one in found] == [(1, 0), (1, 1), (1, 1), (2, 0), (2, 1), (2, 1)]
    assert max(one.widest_gap for one in found) == 0


def test_the_widest_gap_is_of_frames_of_any_kind_in_a_row():
    lost = (7, 8, 10, 11, 12)
    gaps = {one.frame.sequence: one.widest_gap for one in bmode_frames(f for f in mixed(16, "bll") if f.sequence not in lost)}
    assert gaps == {0: 0, 3: 0, 6: 0, 9: 2, 15: 3}


def test_a_gap_that_light_divides_is_as_wide_as_the_ultrasound_that_is_missing():
    lost = (6, 7, 8, 10, 11, 12, 14, 15, 16)
    gaps = {one.frame.sequence: one.widest_gap for one in bmode_frames(f for f in mixed(21) if f.sequence not in lost)}
    assert gaps == dict.fromkeys((0, 2, 4, 20), 0) | {18: 6}


def test_light_has_no_cadence():
    cadence = Cadence()
    assert [cadence.elapsed(frame, 0) for frame in mixed(4)] == [0, 0, 1, 0]
