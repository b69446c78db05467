"""A probe that lies still until it is told to move: plays its sweep at each word, and holds the first image in between."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from edge.files import SweepFile
from edge.messages import Frame
from firmware_bridge.probe import FrontEnd, Playing

USUAL_FRAMES_PER_S = 20.0


def hold(sweep: SweepFile, front_end: FrontEnd, how: Playing, told: Callable[[], bool], number: int) -> None:
    """Send without end (until Ctrl-C): the first frame again and again until ``told``, then the sweep, its last frame marked as such.

    Each pass, stillness and movement, is one sweep of the front end, from ``number`` on.
    """
    interval_s = 1 / (sweep.frames_per_s or USUAL_FRAMES_PER_S) / (how.rate or 1.0)
    while True:
        sequence, due = 0, time.monotonic()
        first = next(iter(sweep.frames()))
        while not told():
            front_end.send(_as(first, how, number, sequence))
            sequence, due = sequence + 1, due + interval_s
            time.sleep(max(due - time.monotonic(), 0))
        before: Frame | None = None
        for frame in sweep.frames():
            if before is not None:
                front_end.send(_as(before, how, number, sequence))
                sequence, due = sequence + 1, due + interval_s
                time.sleep(max(due - time.monotonic(), 0))
            before = frame
        if before is not None:
            front_end.send(_as(before, how, number, sequence, last=True))
        number += 1


def _as(frame: Frame, how: Playing, sweep: int, sequence: int, *, last: bool = False) -> Frame:
    now_ns = time.monotonic_ns()
    frame = msgspec.structs.replace(
        frame, boot_id=how.boot_id, sweep=sweep, sequence=sequence, last=last, timestamp_ns=now_ns, received_ns=0, clock_offset_ns=0
    )
    return frame if how.with_poses else msgspec.structs.replace(frame, pose_status="missing", image_to_reference=None, pose_source="")
