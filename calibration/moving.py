"""One motion as the images show it and as a tracker or an inertial unit tells it: two signals over time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from calibration.line import line_depth
from calibration.temporal import LagUnclear, Signal, principal
from edge.files import ProbeFile, SequenceFile, SweepFile, open_sweep
from edge.messages import Frame
from edge.motion.decorrelation import FAR, MOTIONS, SpeckleView
from edge.motion.recorded import check_tracked
from edge.placed_images import placed_images
from edge.transform import Transform, image_to_center, motion_parameters

FEWEST_LINES = 0.7  # of the images, in which a line must be seen
LEAST_MOTION_MM = 3.0
LEAST_MOTION_ROWS = 8.0
LEAST_MOTION_M_S2 = 0.08  # 5 mm at 0.6 Hz


def line_signal(path: Path, rows: tuple[int, int] | None, watched: Callable[[Iterable[int], int], Iterable[int]]) -> Signal:
    """How deep the brightest line lies in each image (rows of pixels)."""
    sweep = open_sweep(path)
    times: list[int] = []
    depths: list[float] = []
    if isinstance(sweep, SequenceFile):
        for number, pixels in zip(watched(range(sweep.image_count), sweep.image_count), sweep.images(), strict=True):
            if sweep.image_is_valid(number):
                times.append(sweep.timestamp_ns(number))
                depths.append(line_depth(pixels, rows))
    else:
        for frame in sweep.frames():
            if frame.modality == "bmode":
                times.append(frame.timestamp_ns)
                depths.append(line_depth(frame.pixels, rows))
    seen = ~np.isnan(depths)
    if not len(depths) or seen.mean() < FEWEST_LINES:
        raise LagUnclear(
            f"{path}: a bright line is seen in {seen.sum()} of {len(depths)} images; image a flat bottom, or name its rows with --rows"
        )
    values = np.array(depths)[seen]
    if np.ptp(values) < LEAST_MOTION_ROWS:
        raise LagUnclear(f"{path}: the line moves by {np.ptp(values):.1f} rows only; move the probe up and down by 10 mm or more")
    return Signal("the line's depth", np.array(times)[seen] / 1e9, values)


def tracker_signal(path: Path) -> Signal:
    """The probe's place along the direction in which it moves most (mm)."""
    sweep = open_sweep(path)
    times: list[int] = []
    places: list[np.ndarray] = []
    if isinstance(sweep, SequenceFile):
        for number in range(sweep.image_count):
            if (pose := sweep.probe_to_reference(number)) is not None:
                times.append(sweep.timestamp_ns(number))
                places.append(pose.matrix[:3, 3])
    if not places and sweep.has_poses:
        for frame in sweep.frames():
            if (placed := frame.pose) is not None and not frame.pose_source:
                times.append(frame.timestamp_ns)
                places.append(placed.matrix[:3, 3])
    if len(places) < 2:
        raise LagUnclear(f"{path}: no poses of a tracker; name the sequence that has them with --tracker, or compare with --imu")
    along = principal(np.array(places))
    if np.ptp(along) < LEAST_MOTION_MM:
        raise LagUnclear(f"{path}: the tracker moves by {np.ptp(along):.1f} mm only; move the probe up and down by 10 mm or more")
    return Signal("the tracker's motion", np.array(times) / 1e9, along)


def speckle_signals(path: Path, probe: ProbeFile | None, watched: Callable[[Iterable[int], int], Iterable[int]]) -> tuple[Signal, Signal]:
    """The lateral speed (mm/s) over :data:`FAR` frames, from the speckle of the images and from the poses; no bright line is needed.

    Over several frames, because a scanner's averaging holds speckle back from one image to the next.
    """
    view, times, poses, shifts = SpeckleView(), list[int](), list[Transform](), list[float]()
    sweep = open_sweep(path, probe=probe)
    for (frame, image), _ in zip(
        placed_images(_tracked(sweep)), watched(range(sweep.frame_count or 0), sweep.frame_count or 0), strict=False
    ):
        assert frame.pose is not None
        if not times:
            geometry = frame.geometry
            view.start(image, geometry.spacing_mm)
        else:
            shifts.append(float(view.see(image).plane[len(MOTIONS) // 2]))
        times.append(frame.timestamp_ns)
        poses.append(frame.pose)
    if len(times) <= 2 * FAR:
        raise LagUnclear(
            f"{path}: {len(times)} images with a pose of a tracker are too few; give a tracked sweep of 6 s and more, or --probe"
        )
    to_center = image_to_center(geometry.width, geometry.height, geometry.spacing_mm).inverse()
    at = [pose @ to_center for pose in poses]  # CenterToReference
    moved = [motion_parameters(before.inverse() @ after)[0] for before, after in zip(at, at[FAR:], strict=False)]
    seconds = (np.array(times[FAR:]) - times[:-FAR]) / 1e9
    middle = (np.array(times[FAR:]) + times[:-FAR]) / 2e9
    image_speed = np.array(shifts[FAR - 1 :]) * FAR / seconds
    return Signal("the speckle's lateral speed", middle, image_speed, 1), Signal("the tracker's", middle, np.array(moved) / seconds, 1)


def _tracked(sweep: SweepFile) -> Iterator[Frame]:
    """B-mode frames with a tracker's pose."""
    for frame in sweep.frames():
        check_tracked(sweep.path, frame)
        if frame.modality == "bmode" and frame.pose is not None:
            yield frame


def imu_signal(path: Path) -> Signal:
    """The probe's acceleration along the direction in which it accelerates most (m/s2)."""
    samples = {sample.timestamp_ns: sample.acceleration_m_s2 for frame in open_sweep(path).frames() for sample in frame.extras.imu}
    if len(samples) < 2:
        raise LagUnclear(f"{path}: no samples of an inertial unit; the front end sends them beside the image (wire extension 1)")
    times = sorted(samples)
    along = principal(np.array([samples[time] for time in times]))
    if np.ptp(along) < LEAST_MOTION_M_S2:
        raise LagUnclear(f"{path}: the probe accelerates by {np.ptp(along):.2f} m/s2 only; move it up and down more briskly")
    return Signal("the inertial unit's acceleration", np.array(times) / 1e9, along, order=2)
