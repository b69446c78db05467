"""Sweeps to train on from any source behind one interface: simulated folders, tracked sweep files, TUS-REC's scans."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.errors import SonosweepError
from edge.files import open_sweep
from edge.messages import Frame, Geometry
from edge.motion.accuracy import Matrices, chain_of_poses
from edge.motion.intervals import intervals_of
from edge.motion.recorded import check_tracked
from edge.motion.resample import Resampler
from edge.transform import Transform
from export.training.pieces import SHORTEST, pieces_of, window_chain
from export.training.sweeps import Motion, TrainingSweep, Window, load_motion, load_training_sweep
from export.training.tusrec import read_tus_rec

CALIBRATION = "calib_matrix.csv"


class NoTrainingSweeps(SonosweepError):
    """There is nothing to train on where it was looked for."""


def tracked_pieces(path: Path, window: Window | None = None) -> list[TrainingSweep]:
    """The B-mode frames with poses of a sweep file, in pieces without a missing frame that go one way, each canonical.

    ``NoTrainingSweeps`` where no piece has :data:`SHORTEST` frames or the probe is convex.
    """
    window = window or Window()
    sweep = open_sweep(path)
    resample = Resampler(window.width, window.height, window.spacing_mm)
    pieces: list[TrainingSweep] = []
    windows: list[NDArray[np.uint8]] = []
    poses: list[Transform] = []
    times_ns: list[int] = []
    before: Frame | None = None

    def close() -> None:
        if before is not None and len(windows) >= SHORTEST:
            name = f"{path.name.partition('.')[0]}_{len(pieces)}"
            chain = _chain(poses, before.geometry, window)
            intervals = intervals_of(np.array(times_ns))
            pieces.extend(pieces_of(np.stack(windows), chain, window, name, sweep.frames_per_s or 0.0, intervals))
        for gathered in (windows, poses, times_ns):
            gathered.clear()

    for frame in sweep.frames():
        if frame.modality != "bmode":
            continue
        if frame.geometry.kind != "linear":
            raise NoTrainingSweeps(f"{path}: frames of a convex probe must be scan-converted first; give a sweep of images")
        if before is not None and (frame.pose is None or frame.sequence != before.sequence + 1 or frame.geometry != before.geometry):
            close()
        if frame.pose is not None:
            check_tracked(path, frame)
            windows.append(_window(frame, resample))
            poses.append(frame.pose)
            times_ns.append(frame.timestamp_ns)
            before = frame
    close()
    if not pieces:
        raise NoTrainingSweeps(f"{path}: no {SHORTEST} frames with poses follow each other; give a sweep of a tracked probe")
    return pieces


def _chain(poses: Sequence[Transform], geometry: Geometry, window: Window) -> Matrices:
    chain = chain_of_poses(poses, geometry.width, geometry.height, geometry.spacing_mm)
    return window_chain(chain, geometry.height, geometry.spacing_mm[1], window)


def _window(frame: Frame, resample: Resampler) -> NDArray[np.uint8]:
    low, high = frame.sample_range
    grey = resample(frame.pixels, frame.geometry.spacing_mm)
    if (low, high) != (0.0, 255.0):
        grey = (grey - np.float32(low)) * np.float32(255 / (high - low))
    return np.asarray(np.clip(np.rint(grey), 0, 255), np.uint8)


class Sweeps:
    """Training sweeps by index; simulated files are read whenever they are asked for. ``motions`` [n - 1, 6] of each are at hand."""

    def __init__(self, sources: Sequence[TrainingSweep | Path], motions: Sequence[Motion] = ()) -> None:
        self._held: list[TrainingSweep | Path] = list(sources)
        if not self._held:
            raise NoTrainingSweeps("there is no sweep to train on; name a folder that `sonosweep export source` wrote, or tracked sweeps")
        self.motions = list(motions) or [held.motion if isinstance(held, TrainingSweep) else load_motion(held) for held in self._held]

    def __len__(self) -> int:
        return len(self._held)

    def __getitem__(self, index: int) -> TrainingSweep:
        held = self._held[index]
        return held if isinstance(held, TrainingSweep) else load_training_sweep(held)

    def __iter__(self) -> Iterator[TrainingSweep]:
        return (self[i] for i in range(len(self)))

    def part(self, which: slice) -> Sweeps:
        """Some of them; ``NoTrainingSweeps`` where none is left."""
        return Sweeps(self._held[which], self.motions[which])

    @property
    def frames(self) -> int:
        """Of all of them."""
        return sum(len(motion) + 1 for motion in self.motions)

    def mean_motion(self) -> NDArray[np.float64]:
        """The mean step [6]: the constant motion that they teach."""
        return np.asarray(np.concatenate(self.motions).mean(0, dtype=np.float64))


def open_sweeps(path: Path, window: Window | None = None) -> Sweeps:
    """What ``path`` holds: a folder of simulated (.npz) and tracked (.igs.mha, .mcap, ...) sweeps, or one such file.

    HDF5 scans of TUS-REC (.h5) are read with the ``calib_matrix.csv`` in their folder or in the one above.
    """
    path = Path(path)
    if not path.exists():
        raise NoTrainingSweeps(f"{path}: is not there; name a folder that `sonosweep export source` wrote, or tracked sweeps")
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    found: list[TrainingSweep | Path] = []
    for file in files:
        if file.suffix == ".npz" and not file.name.startswith("."):
            found.append(file)
        elif file.name.endswith((".mha", ".nrrd", ".mcap")) and not file.name.startswith("."):
            found += tracked_pieces(file, window)
        elif file.suffix == ".h5":
            table = next(
                (t for t in (file.parent / CALIBRATION, file.parent.parent / CALIBRATION) if t.exists()), file.parent / CALIBRATION
            )
            found += read_tus_rec(file, table, window)
    if not found:
        raise NoTrainingSweeps(f"{path}: holds no sweep to train on; name a folder that `sonosweep export source` wrote, or tracked sweeps")
    return Sweeps(found)
