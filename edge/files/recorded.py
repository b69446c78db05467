"""Our MCAP recordings, finished or cut, read back as the same frames that the bridge sent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edge.files.errors import MalformedFile, NoFrames
from edge.files.probe import ProbeDoesNotFit, ProbeFile
from edge.files.recording import unpack_parts
from edge.files.recovery import Scan, chunks, survey
from edge.files.sweep import SweepFile
from edge.messages import BadGeometry, Frame, Geometry, MalformedMessage, decode


class RecordedSweep(SweepFile):
    """A recording. Of one that was cut, every frame in a whole chunk is read; damaged chunks are left out, counted and told in a note."""

    kind = "mcap"

    def __init__(self, path: Path, plus_config: Path | None = None, probe: ProbeFile | None = None) -> None:
        """``plus_config`` is not used: the poses in a recording are ImageToReference already. So a ``probe`` is refused."""
        if probe is not None:
            raise ProbeDoesNotFit(f"{path}: is a recording, whose poses are ImageToReference and need no calibration; leave --probe out")
        self.path = path
        self.scan = survey(path)
        self._first = next(self.frames(), None)
        whole = self.scan.finished and not self.scan.damaged_chunks
        self.frame_count = self.scan.frames if whole else None
        span_s = (self.scan.last_ns - self.scan.first_ns) / 1e9
        frames = self.scan.frames + self.scan.damaged_frames
        self.frames_per_s = (frames - 1) / span_s if span_s > 0 and frames > 1 else None
        self.has_poses = self._first is not None and self._first.pose_status != "missing"
        if self._first is not None:
            self.pose_source, self.direction, self.direction_source = self._first.pose_origin
        self.description = {
            "finished": self.scan.finished,
            "bytes_after_last_whole_record": self.scan.size - self.scan.whole_until,
            "chunks": self.scan.chunks,
            "damaged_chunks": self.scan.damaged_chunks,
            "end_reason": self.scan.metadata.get("sweep_end", {}).get("reason", "cut"),
            "recovered": "recovery" in self.scan.metadata,
            "start": self.scan.metadata.get("sweep", {}),
            "notes": _notes(self.scan),
        }

    @property
    def geometry(self) -> Geometry:
        """Of the first frame."""
        if self._first is None:
            raise NoFrames(f"{self.path}: holds no whole frame; the sweep ended or was cut before one was on the disk")
        return self._first.geometry

    def frames(self) -> Iterator[Frame]:
        """See :class:`SweepFile`; exactly what was recorded, other messages left out."""
        for messages in chunks(self.path, Scan()):
            for recorded in messages:
                try:
                    message = decode(unpack_parts(recorded.data))
                except (MalformedMessage, ValueError) as wrong:
                    raise MalformedFile(f"{self.path}: was recorded by another version of sonosweep ({wrong})") from wrong
                if isinstance(message, Frame):
                    try:
                        message.check()
                    except (BadGeometry, MalformedMessage) as wrong:
                        raise MalformedFile(f"{self.path}: {wrong}; the recording was not made by sonosweep or is damaged") from wrong
                    yield message


def _notes(scan: Scan) -> list[str]:
    notes = []
    if scan.damaged_chunks:
        chunks_are, their = ("chunk is", "its") if scan.damaged_chunks == 1 else ("chunks are", "their")
        notes.append(f"{scan.damaged_chunks} {chunks_are} damaged; {their} {scan.damaged_frames} frames are left out: check the storage")
    if kept := scan.metadata.get("recovery", {}).get("kept_aside"):
        notes.append(f"parts were damaged and left out when it was recovered; the file as it was lies beside it ({kept:.200})")
    if not scan.finished:
        notes.append("the recording was cut; `sonosweep record` finishes it at its next start")
    return notes
