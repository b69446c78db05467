"""MP4, AVI and what else FFmpeg reads as sweeps: the only place that knows PyAV."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from edge.files.errors import LibraryMissing, MalformedFile, UnsupportedFile
from edge.files.hints import Hints
from edge.files.screens import LARGEST_SIDE, Picture, ScreenSweep

USUAL_FRAMES_PER_S = 25.0
LARGEST_PIXELS = LARGEST_SIDE**2


class VideoSweep(ScreenSweep):
    """The first video stream of a file, grey."""

    kind = "mp4"

    def __init__(self, path: Path, hints: Hints) -> None:
        """``LibraryMissing``, ``MalformedFile``, ``UnsupportedFile``; see :meth:`ScreenSweep.settle` for more."""
        self.path = path
        with self._stream() as (container, stream):
            self.size = int(stream.codec_context.width), int(stream.codec_context.height)
            rate = float(stream.average_rate or 0)
            self.frames_per_s = rate if 0 < rate < 10_000 else None
            self.frame_count = int(stream.frames) or None
            codec = stream.codec_context.name
            self.pixel_aspect = Fraction(stream.sample_aspect_ratio or 1)
            turned = getattr(next(container.decode(stream), None), "rotation", 0)
        if turned:
            raise UnsupportedFile(f"{path}: is shown turned by {turned} degrees; save it as it is shown: ffmpeg -i {path.name} upright.mp4")
        self.settle(path, hints, None, None)
        self.description = {"codec": codec, "pixel_aspect": f"{self.pixel_aspect.numerator}:{self.pixel_aspect.denominator}", **self.told}

    def pictures(self) -> Iterator[Picture]:
        """See :class:`ScreenSweep`."""
        step_ns = int(1e9 / (self.frames_per_s or USUAL_FRAMES_PER_S))
        with self._stream() as (container, stream):
            for number, frame in enumerate(container.decode(stream)):
                if frame.width * frame.height > LARGEST_PIXELS:
                    raise UnsupportedFile(f"{self.path}: image {number} is {frame.width} x {frame.height} pixels, more than are taken")
                at_s = frame.time
                at_ns = round(at_s * 1e9) if at_s is not None and math.isfinite(at_s) and 0 <= at_s < 1e6 else number * step_ns
                yield at_ns, np.ascontiguousarray(frame.to_ndarray(format="gray"), np.uint8)

    @contextmanager
    def _stream(self) -> Iterator[tuple[Any, Any]]:
        try:
            import av
        except ImportError as missing:
            raise LibraryMissing(f"{self.path}: video needs PyAV: pip install 'sonosweep[video]'") from missing
        try:
            with av.open(str(self.path), options={"protocol_whitelist": "file", "max_pixels": str(LARGEST_PIXELS)}) as container:
                if not container.streams.video or container.streams.video[0].codec_context is None:
                    raise MalformedFile(f"{self.path}: holds no video that FFmpeg knows how to decode")
                stream = container.streams.video[0]
                stream.thread_type = "SLICE"  # frame threads would hold a picture each
                yield container, stream
        except (av.error.FFmpegError, ValueError, OverflowError, MemoryError) as wrong:
            raise MalformedFile(f"{self.path}: is no video that can be read: {str(wrong)[:200]}") from wrong
