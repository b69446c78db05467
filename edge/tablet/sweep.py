"""The sweep that runs or has just ended, as the session knows it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Sweep:
    """The sweep that runs or has just ended."""

    id: str
    started_s: float
    state: str = "sweeping"
    frames: int = 0
    placed: int = 0
    lost: int = 0
    ended: str = ""
    ended_s: float | None = None
    direction: str = ""
    direction_source: str = "unverified"
    motion: str = ""
    recording: str = "none"
    recorded_frames: int = 0
    image_size: tuple[int, int] = (0, 0)
