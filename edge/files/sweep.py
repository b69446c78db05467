"""What every readable sweep is, whatever its format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge.messages import Frame, Geometry


class SweepFile(ABC):
    """A recorded sweep. :meth:`frames` may be called again and again; each call reads the file from its start.

    ``kind`` names the format, ``frame_count`` the images in it (None: not known before reading), ``frames_per_s`` their mean
    rate (None: not known), ``has_poses`` whether frames may come with a pose, ``description`` what else there is to say
    (values that JSON knows). ``pose_source`` names what estimated the poses (``constant``, ``network: NAME``), ``direction`` and
    ``direction_source`` the direction it was given; all three are empty where a tracker measured them.
    """

    path: Path
    kind: str
    frame_count: int | None
    frames_per_s: float | None
    has_poses: bool
    pose_source: str = ""
    direction: str = ""
    direction_source: str = ""
    description: dict[str, Any]

    @property
    @abstractmethod
    def geometry(self) -> Geometry:
        """Of the first frame. ``NoPhysicalSpacing`` where the file does not say how large a pixel is."""

    @abstractmethod
    def frames(self) -> Iterator[Frame]:
        """The frames in their order, one in memory at a time. ``MalformedFile`` where the file is damaged."""
