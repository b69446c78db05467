"""Landmarks of a sweep: points that somebody marked in its images, in a table beside it."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.errors import SonosweepError
from edge.evaluation.watch import Watched

COLUMNS = ("frame", "x", "y")


class BadLandmarks(SonosweepError):
    """A table of landmarks cannot be read, or names frames or pixels that the sweep does not have."""


def landmarks_path(sweep: Path) -> Path:
    """``leg.igs.mha`` has its landmarks in ``leg.landmarks.csv``."""
    return sweep.with_name(f"{sweep.name.partition('.')[0]}.landmarks.csv")


def read_landmarks(watched: Watched) -> tuple[NDArray[np.intp], NDArray[np.float64]] | None:
    """Index of the compared frame [k] and point [k, 3] (Center, mm) of each landmark; None where there is no table.

    Columns ``frame, x, y`` as TUS-REC counts: the sweep's frames from 0, columns and rows of the image from 1.
    """
    path = landmarks_path(watched.path)
    if not path.is_file():
        return None
    try:
        with path.open(newline="") as file:
            rows = np.array([[float(row[name]) for name in COLUMNS] for row in csv.DictReader(file)]).reshape(-1, 3)
    except (OSError, ValueError, KeyError, TypeError, UnicodeDecodeError, csv.Error) as wrong:
        raise BadLandmarks(f"{path}: needs the columns {', '.join(COLUMNS)} with numbers: {wrong}") from wrong
    index = np.searchsorted(watched.sequences, rows[:, 0])
    known = index < len(watched.sequences)
    known[known] = watched.sequences[index[known]] == rows[known, 0]
    if not known.all() or (rows[:, 1:] < 1).any() or (rows[:, 1:] > watched.size).any():
        raise BadLandmarks(f"{path}: has landmarks outside of the {len(watched.sequences)} tracked frames or their images; mend the table")
    spacing, size = np.array(watched.geometry.spacing_mm), np.array(watched.size)
    points = np.zeros((len(rows), 3))
    points[:, :2] = (rows[:, 1:] - 1 - (size - 1) / 2) * spacing
    return index.astype(np.intp), points
