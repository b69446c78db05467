"""What every source of motion promises to the reconstructor, and the small value in which it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from edge.compounding.image import Image
from edge.errors import SonosweepError
from edge.messages import Frame
from edge.transform import Transform


class MotionUnavailable(SonosweepError):
    """The asked-for source of motion cannot run: a file is not named or cannot be used, or a backend is missing."""


class MotionFailed(SonosweepError):
    """A relative source cannot go on: the chain of motions is broken, and the sweep ends."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a source says about one frame: an absolute pose, or a relative motion, or the reason why there is none.

    ``image_to_reference``: ImageToReference, absolute. ``center_to_previous``: CenterToPreviousCenter since the frame
    given to the source before: CenterToReference(t) = CenterToReference(t-1), read as PreviousCenterToReference,
    @ center_to_previous. ``uncertainty``: standard deviations of the relative motion (tx, ty, tz in mm, rx, ry, rz in
    rad), empty where not known. ``reason``: a clause for the operator's log; the frame has no pose (absolute sources).
    """

    image_to_reference: Transform | None = None
    center_to_previous: Transform | None = None
    uncertainty: tuple[float, ...] = ()
    reason: str = ""


class MotionSource(Protocol):
    """Where poses come from. Pure: no clock, thread or file after it was opened; times are the probe's own.

    ``image``: uint8 [axial, lateral], MF, scan-converted: the one that is placed, perhaps on a GPU.
    A source answers for one sweep after the other: ``start`` forgets the sweep before.
    """

    @property
    def name(self) -> str:
        """``recorded``, ``constant`` or ``network: NAME``."""

    @property
    def relative(self) -> bool:
        """True: the motions are chained, need the sweep's direction, and too many lost frames break the chain."""

    @property
    def backend(self) -> str:
        """What computes it (``ort``), empty where nothing is computed."""

    def start(self, frame: Frame, image: Image) -> Step:
        """The pose of a sweep's first frame: absolute, or a reason (then the next frame may start the sweep)."""

    def step(self, frame: Frame, image: Image, elapsed_frames: int) -> Step:
        """The pose of the next frame. ``elapsed_frames`` is 1, and 1 more for each B-mode frame that was lost in between
        (``edge.motion.cadence``).

        ``MotionFailed`` where a relative source has no motion for it.
        """
