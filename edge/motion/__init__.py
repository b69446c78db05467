"""Sources of motion, chosen by name in one table: recorded poses, a constant motion, speckle decorrelation, or a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from edge.compounding.image import Image
from edge.config import Direction, MotionConfig
from edge.messages import Frame
from edge.motion.bundle import find_bundle
from edge.motion.constant import ConstantMotion, read_preset
from edge.motion.decorrelation import DecorrelationMotion, read_curve
from edge.motion.network import open_network
from edge.motion.recorded import RecordedMotion
from edge.motion.source import MotionFailed, MotionSource, MotionUnavailable, Step

__all__ = ["SOURCES", "Image", "MotionFailed", "MotionSource", "MotionUnavailable", "Step", "open_motion", "turned"]


class Reflected:
    """A canonical source swept the other way: every relative motion mirrored in the image plane."""

    def __init__(self, source: MotionSource) -> None:
        self.canonical = source
        self.name, self.relative, self.backend = source.name, source.relative, source.backend

    def start(self, frame: Frame, image: Image) -> Step:
        """The first image lies where it lay: in the mirror."""
        return self.canonical.start(frame, image)

    def step(self, frame: Frame, image: Image, elapsed_frames: int) -> Step:
        """F T F of the source's motion; its uncertainty is the same."""
        step = self.canonical.step(frame, image, elapsed_frames)
        relative = step.center_to_previous
        return step if relative is None else replace(step, center_to_previous=relative.reflected())


def _recorded(config: MotionConfig) -> MotionSource:
    return RecordedMotion()


def _constant(config: MotionConfig) -> MotionSource:
    return ConstantMotion(config.speed_mm_s, read_preset(Path(config.preset)) if config.preset else None)


def _decorrelation(config: MotionConfig) -> MotionSource:
    return DecorrelationMotion(read_curve(Path(config.preset)) if config.preset else None)


def _network(config: MotionConfig) -> MotionSource:
    probe_file = Path(config.preset) if config.preset else None
    return open_network(find_bundle(config.model), config.backend, probe_file=probe_file, variant=config.variant)


SOURCES: dict[str, Callable[[MotionConfig], MotionSource]] = {
    "recorded": _recorded,
    "constant": _constant,
    "decorrelation": _decorrelation,
    "network": _network,
}


def open_motion(config: MotionConfig) -> MotionSource:
    """The configured source, its motions turned to the operator's direction. Recorded poses know their own.

    ``MotionUnavailable`` (or one of its kinds) where a file is missing or wrong, or a named backend cannot run here.
    """
    return turned(SOURCES[config.source](config), config.direction)


def turned(source: MotionSource, direction: Direction) -> MotionSource:
    """The same source for sweeps in ``direction`` ("" is taken as +). Recorded poses stay as they are."""
    canonical = source.canonical if isinstance(source, Reflected) else source
    return Reflected(canonical) if canonical.relative and direction == "-" else canonical
