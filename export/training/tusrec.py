"""TUS-REC's scans as sweeps to train on; edge/files/tus_rec.py knows their layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge.files.errors import MalformedFile
from edge.files.hdf5 import dataset, opened
from edge.files.tus_rec import FRAMES_PER_S, BadTusRec, image_poses, read_calibration, transforms, write_tus_rec
from edge.motion.accuracy import chain_of_poses
from edge.motion.resample import Resampler
from export.training.pieces import pieces_of, window_chain
from export.training.sweeps import TrainingSweep, Window

__all__ = ["read_tus_rec", "write_tus_rec", "read_calibration", "BadTusRec"]


def read_tus_rec(path: Path, calibration: Path, window: Window | None = None) -> list[TrainingSweep]:
    """The scan in ``path`` as sweeps of one direction each, canonical. ``BadTusRec`` where it is none."""
    window, table = window or Window(), read_calibration(calibration)
    try:
        with opened(path) as file:
            frames = dataset(path, file, "frames", "u", (None, None, None))
            tforms = transforms(path, file, len(frames))
            if tforms is None or frames.dtype != np.uint8:
                raise BadTusRec(f"{path}: has frames of {frames.dtype} and {'no ' if tforms is None else ''}tforms")
            spacing_mm = float(table[0][0, 0]), float(table[0][1, 1])
            resample = Resampler(window.width, window.height, window.spacing_mm)
            windows = np.stack([np.rint(resample(frame, spacing_mm)).astype(np.uint8) for frame in frames])
            height, width = frames.shape[1:]
    except MalformedFile as wrong:
        raise BadTusRec(f"{wrong}; is not a scan of TUS-REC: give HDF5 with frames and tforms that belong together") from wrong
    chain = window_chain(chain_of_poses(image_poses(path, tforms, table), width, height, spacing_mm), height, spacing_mm[1], window)
    return pieces_of(windows, chain, window, path.stem, FRAMES_PER_S)
