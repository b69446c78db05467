"""A sweep in several files, because its recorder was started again."""

import pytest
from synthetic_frames import frame

from edge.files.names import sweep_id
from edge.files.parts import SweepInParts
from edge.files.recording import RecordingWriter


def part(folder, number, sequences, end, sweep=3):
    writer = RecordingWriter(folder / f"{sweep_id(0xABCDEF0123456789, sweep)}_{number}.mcap", {})
    for sequence in sequences:
        writer.append(frame(sequence))
    writer.sync()
    writer.finish(end) if end else writer.abandon()
    return writer.path


@pytest.mark.parametrize(("end", "number"), [("cut", 3), ("stopped", 410347812), ("", 2**32 - 1)])
def test_the_parts_of_a_sweep_are_one(tmp_path, end, number):
    first = part(tmp_path, 9, range(3), end, number)
    part(tmp_path, 10, range(3, 5), end, number)
    part(tmp_path, 11, range(5, 6), "last", number)
    part(tmp_path, 10, range(9), "last", number + 1)
    sweep = SweepInParts(first)
    assert [f.sequence for _ in range(2) for f in sweep.frames()] == 2 * [0, 1, 2, 3, 4, 5]
    assert sweep.frame_count == (6 if end else None), "a cut part is not counted before it is read"


def test_after_an_end_of_the_sweep_itself_there_is_nothing_more(tmp_path):
    first = part(tmp_path, 0, range(3), "PROBE_SILENT")
    part(tmp_path, 1, range(3, 5), "last")
    assert [f.sequence for f in SweepInParts(first).frames()] == [0, 1, 2]


def test_a_first_part_without_a_frame_is_no_hole(tmp_path):
    first = part(tmp_path, 0, (), "cut")
    part(tmp_path, 1, range(2), "last")
    sweep = SweepInParts(first)
    assert sweep.frame_count == 2 and sweep.geometry == frame(0).geometry
