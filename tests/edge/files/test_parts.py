"""A sweep in several files, because its recorder was started again."""

import re
from pathlib import Path

import pytest
from synthetic_frames import frame

from edge.files.names import sweep_id
from edge.files.parts import Earlier, SweepInParts
from edge.files.recording import RecordingWriter
from edge.messages import Geometry


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


@pytest.mark.parametrize("end", ["cut", ""])
def test_what_earlier_parts_hold_is_known_without_reading_their_images(tmp_path, end):
    large = Geometry(width=1000, height=800, spacing_mm=(0.1, 0.1))
    frames = [frame(n, sweep=410347812, geometry=large) for n in range(12)]
    for number in range(2):
        writer = RecordingWriter(tmp_path / f"{sweep_id(*frames[0].sweep_key)}_{number}.mcap", {})
        for one in frames[5 * number : 5 * number + 5]:
            writer.append(one)
            writer.sync()
        writer.finish(end) if end else writer.abandon()
    before = bytes_read()
    earlier = Earlier(tmp_path)
    assert [earlier.holds(one) for one in frames] == [True] * 10 + [False] * 2
    assert not earlier.holds(frame(3, sweep=4)), "another sweep"
    assert 0 < bytes_read() - before < 1_000_000 < writer.path.stat().st_size


def bytes_read():
    """By this process, from the disk or the kernel's cache."""
    return int(re.search(r"rchar: (\d+)", Path("/proc/self/io").read_text())[1])


def test_after_an_end_of_the_sweep_itself_there_is_nothing_more(tmp_path):
    first = part(tmp_path, 0, range(3), "PROBE_SILENT")
    part(tmp_path, 1, range(3, 5), "last")
    assert [f.sequence for f in SweepInParts(first).frames()] == [0, 1, 2]


def test_a_first_part_without_a_frame_is_no_hole(tmp_path):
    first = part(tmp_path, 0, (), "cut")
    part(tmp_path, 1, range(2), "last")
    sweep = SweepInParts(first)
    assert sweep.frame_count == 2 and sweep.geometry == frame(0).geometry
