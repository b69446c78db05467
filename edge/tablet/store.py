"""All bricks of one volume as they are now, each with the time of its last change: what every tablet is brought to."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.compounding import BRICK_EDGE
from edge.errors import SonosweepError
from edge.files.volumes import Volume
from edge.messages import Bricks

VOXELS = BRICK_EDGE**3
RESERVED = 1 << 17  # bricks: address space, no memory before they come; copying while a volume grows would hold up the live image
FARTHEST = 1 << 15  # bricks: coordinates travel in 16 bits
_RECORD = np.dtype([("channel", "u1"), ("xyz", "<i4", 3), ("voxels", "u1", 2 * VOXELS)])


class BrickTooFar(SonosweepError):
    """A brick lies farther from the origin than the link can say: a torn chain of poses."""


class BrickStore:
    """Arrays by slot, in the order of first touch. ``voxels`` uint8 [n, 2, 512]: intensity and state, voxel i + 8 j + 64 k of a brick."""

    def __init__(self) -> None:
        self.count = 0
        self.clock = 0  # rises with each change
        self.coords: NDArray[np.int16] = np.zeros((RESERVED, 3), np.int16)
        self.channel: NDArray[np.uint8] = np.zeros(RESERVED, np.uint8)
        self.version: NDArray[np.int64] = np.zeros(RESERVED, np.int64)
        self.voxels: NDArray[np.uint8] = np.zeros((RESERVED, 2, VOXELS), np.uint8)
        self._slots: dict[tuple[int, ...], int] = {}

    def take(self, message: Bricks) -> None:
        """Bricks as the reconstructor says them. ``BrickTooFar``."""
        self.put(message.channel, message.coords, message.intensity, message.state)

    def load(self, volume: Volume, channel: int) -> None:
        """A saved volume. Without states every voxel that is not black counts as measured."""
        first = np.rint(np.divide(volume.origin_mm, volume.spacing_mm)).astype(np.int64)
        low = first // BRICK_EDGE
        before = (first - low * BRICK_EDGE)[::-1]
        state = volume.state if volume.state.size else (volume.intensity > 0).astype(np.uint8)
        padding = [(int(b), int(-(b + n) % BRICK_EDGE)) for b, n in zip(before, state.shape, strict=True)]
        cut = [_in_bricks(np.pad(part, padding)) for part in (volume.intensity, state)]
        held = np.flatnonzero(cut[1].reshape(len(cut[1]), -1).any(1))
        shape = [(sum(pad) + n) // BRICK_EDGE for pad, n in zip(padding, state.shape, strict=True)]
        coords = np.stack(np.unravel_index(held, shape)[::-1], 1) + low
        self.put(channel, coords, cut[0][held], cut[1][held])

    def half(self, slots: NDArray[np.intp]) -> NDArray[np.uint8]:
        """[n, 2, 64]: of each 2 x 2 x 2 voxels the brightest, of two as bright that with the higher state; cell a + 4 b + 16 c."""
        eights = self.voxels[slots].reshape(-1, 2, 4, 2, 4, 2, 4, 2).transpose(0, 1, 2, 4, 6, 3, 5, 7).reshape(-1, 2, 64, 8)
        brightest = (4 * eights[:, 0].astype(np.uint16) + eights[:, 1]).argmax(-1)
        cells: NDArray[np.uint8] = np.take_along_axis(eights, brightest[:, None, :, None], -1)[..., 0]
        return cells

    def crc32(self) -> tuple[int, int]:
        """Checksum of docs/tablet-link.md, and of how many bricks: those that hold a voxel."""
        held = np.flatnonzero(self.voxels[: self.count, 1].any(1))
        x, y, z = self.coords[held].T
        held = held[np.lexsort((x, y, z, self.channel[held]))]
        records = np.zeros(len(held), _RECORD)
        records["channel"], records["xyz"] = self.channel[held], self.coords[held]
        records["voxels"] = self.voxels[held].reshape(len(held), 2 * VOXELS)
        return zlib.crc32(records.tobytes()), len(held)

    def put(self, channel: int, coords: NDArray[np.integer], intensity: NDArray[np.uint8], state: NDArray[np.uint8]) -> None:
        if len(coords) and np.abs(coords).max() >= FARTHEST:
            raise BrickTooFar(f"a brick lies at {coords[np.abs(coords).max(1).argmax()].tolist()}; end the sweep and start a new one")
        slots = np.array([self._slot(channel, *place) for place in coords.tolist()], np.intp)
        self.clock += 1
        self.voxels[slots, 0] = intensity.reshape(-1, VOXELS)
        self.voxels[slots, 1] = state.reshape(-1, VOXELS)
        self.version[slots] = self.clock

    def _slot(self, *place: int) -> int:
        slot = self._slots.setdefault(place, self.count)
        if slot == self.count:
            if slot == len(self.version):
                self.coords, self.channel = doubled(self.coords), doubled(self.channel)
                self.version, self.voxels = doubled(self.version), doubled(self.voxels)
            self.channel[slot], self.coords[slot] = place[0], place[1:]
            self.count += 1
        return slot


def doubled(array: NDArray[Any]) -> NDArray[Any]:
    """Twice as long, zeros behind."""
    longer = np.zeros((2 * len(array), *array.shape[1:]), array.dtype)
    longer[: len(array)] = array
    return longer


def _in_bricks(voxels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """[k, j, i] of whole bricks to [n, 512], bricks in C order of (z, y, x)."""
    z, y, x = (n // BRICK_EDGE for n in voxels.shape)
    edge = BRICK_EDGE
    bricks: NDArray[np.uint8] = voxels.reshape(z, edge, y, edge, x, edge).transpose(0, 2, 4, 1, 3, 5).reshape(z * y * x, VOXELS)
    return bricks
