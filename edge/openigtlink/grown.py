"""The volumes as they grow, one a channel, kept for whoever asks: bricks come in bunches, and become one dense array when it is wanted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.compounding import BRICK_EDGE, CHANNEL_COUNT
from edge.errors import SonosweepError
from edge.messages import Bricks
from edge.tablet.store import FARTHEST, BrickStore

BUNCH = 2048  # bricks: neighbouring frames change the same ones, so a bunch costs a tenth of its messages
LARGEST_BYTES = 256 << 20  # of the dense arrays of one answer: 640^3
FACTORS = (1, 2, 4, 8)


class NoVolume(SonosweepError):
    """There is no volume to show."""


@dataclass(frozen=True)
class Cut:
    """Bricks of one channel, copied: to be made dense in a thread. ``coords`` [n, 3]; ``intensity`` [n, 8, 8, 8] as [k, j, i]."""

    coords: NDArray[np.int64]
    intensity: NDArray[np.uint8]
    spacing_mm: float

    def dense(self, largest_bytes: int = LARGEST_BYTES) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """``voxels`` [k, j, i] and ijk-to-Reference 4x4; coarser (the brightest of 2, 4 or 8 voxels a side) where it would be too large."""
        low = self.coords.min(0)
        bricks = self.coords.max(0) - low + 1
        for factor in FACTORS:
            edge = BRICK_EDGE // factor
            shape = bricks[::-1] * edge
            if int(np.prod(shape, dtype=object)) <= largest_bytes and shape.max() <= 65535:
                break
        else:
            raise NoVolume(f"the volume spans {bricks.tolist()} bricks, too many for one image; save it and open the file")
        parts = self.intensity.reshape(-1, edge, factor, edge, factor, edge, factor).max((2, 4, 6))
        voxels = np.zeros(shape, np.uint8)
        blocks = voxels.reshape(bricks[2], edge, bricks[1], edge, bricks[0], edge)
        x, y, z = (self.coords - low).T
        blocks[z, :, y, :, x, :] = parts
        matrix = np.diag([*[self.spacing_mm * factor] * 3, 1.0])
        matrix[:3, 3] = self.spacing_mm * (low * BRICK_EDGE + (factor - 1) / 2)
        return voxels, matrix


class GrownVolume:
    """Fed with bricks; those of a torn chain of poses, too far from the origin to be stored, are left out."""

    def __init__(self) -> None:
        self._store = BrickStore()
        self._bunch: list[Bricks] = []
        self._bricks = 0
        self._key: tuple[int, int, int] | None = None
        self._names: dict[int, str] = {}
        self.spacing_mm = 0.0

    def take(self, message: Bricks) -> None:
        """One message; a new sweep or epoch begins a new volume."""
        key = message.boot_id, message.sweep, message.epoch
        if key != self._key:
            self._key, self._store, self._bunch, self._bricks, self._names = key, BrickStore(), [], 0, {}
        self.spacing_mm = message.spacing_mm
        self._names[message.channel] = message.channel_name
        self._bunch.append(message)
        self._bricks += len(message.coords)
        if self._bricks >= BUNCH:
            self._fold()

    def cuts(self, wanted: Callable[[str], bool]) -> dict[str, Cut]:
        """A copy of what there is of every channel whose name is ``wanted``, by that name. ``NoVolume`` where that is nothing."""
        self._fold()
        cuts = {}
        for channel, name in sorted(self._names.items()):
            held = self._held(channel)
            if len(held) and wanted(name):
                intensity = self._store.voxels[held, 0].reshape(-1, BRICK_EDGE, BRICK_EDGE, BRICK_EDGE)
                cuts[name] = Cut(self._store.coords[held].astype(np.int64), intensity, self.spacing_mm)
        if not cuts:
            there = ", ".join(name for channel, name in sorted(self._names.items()) if len(self._held(channel)))
            raise NoVolume(
                f"there is no such volume; there are {there}" if there else "there is no volume yet; it grows while a sweep runs"
            )
        return cuts

    def _held(self, channel: int) -> NDArray[np.intp]:
        store, count = self._store, self._store.count
        return np.flatnonzero((store.channel[:count] == channel) & store.voxels[:count, 1].any(1))

    def _fold(self) -> None:
        """Of each brick only its newest state goes into the store."""
        bunch, self._bunch, self._bricks = self._bunch, [], 0
        for channel in range(CHANNEL_COUNT):
            said = [message for message in bunch if message.channel == channel][::-1]
            if not said:
                continue
            coords = np.concatenate([message.coords[::-1] for message in said])
            _, newest = np.unique(coords, axis=0, return_index=True)
            intensity = np.concatenate([message.intensity[::-1] for message in said])[newest]
            state = np.concatenate([message.state[::-1] for message in said])[newest]
            near = np.abs(coords[newest]).max(1) < FARTHEST
            self._store.put(channel, coords[newest][near], intensity[near], state[near])
