"""A sweep whose recorder was started again in the middle lies in several files: read here as the one sweep that it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from edge.files.names import SWEEP, sweep_id
from edge.files.recorded import RecordedSweep
from edge.files.recovery import received_in
from edge.messages import Frame

GOES_ON = ("cut", "stopped")  # the recorder's own ends; after any other one the sweep itself had ended
_NAME = re.compile(rf"({SWEEP.pattern}_)(\d+)\.mcap")


class SweepInParts(RecordedSweep):
    """The recording at ``path`` and the parts after it (``sweep_<boot>_<sweep>_<part>.mcap``), as far as the sweep went on."""

    def __init__(self, path: Path) -> None:
        self._later: list[RecordedSweep] = []
        part = RecordedSweep(path)
        while part.description["end_reason"] in GOES_ON and (following := _next(part.path)):
            part = RecordedSweep(following)
            self._later.append(part)
        super().__init__(path)
        for part in self._later:
            self.frame_count = None if self.frame_count is None or part.frame_count is None else self.frame_count + part.frame_count

    def frames(self) -> Iterator[Frame]:
        """Of all parts, in their order."""
        yield from super().frames()
        for part in self._later:
            yield from part.frames()


class Earlier:
    """What a recorder before us has of a sweep in ``folder``: the bridge gives again what it did not know to be on the disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key: tuple[int, int] | None = None
        self._received_ns: set[int] = set()

    def holds(self, frame: Frame) -> bool:
        """Whether it is in one of the files that were there when the first frame of its sweep came to us."""
        if frame.sweep_key != self._key:
            self._key, self._received_ns = frame.sweep_key, received_in(self._folder, sweep_id(*frame.sweep_key))
        return frame.received_ns in self._received_ns


def _next(path: Path) -> Path | None:
    name = _NAME.fullmatch(path.name)
    following = path.with_name(f"{name[1]}{int(name[2]) + 1}.mcap") if name else path
    return following if following != path and following.exists() else None
