"""Which bricks exist and which of them a frame touches, for a backend that keeps its voxels elsewhere: book.h through ctypes."""

from __future__ import annotations

import ctypes
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.compounding import BadSlots, VolumeSettings, native
from edge.compounding.native import pointer

FRAME_BYTES = 236  # struct Frame of portable.cuh
TASK_BYTES = 16  # struct Task
NO_MEMORY = -6  # of the enum Refusal in frame.h


class Plan(NamedTuple):
    """What the kernels need of one frame, as bytes that live until the book's next call: see portable.cuh."""

    placed: int
    bridged: int
    place: NDArray[np.uint8]
    bridge: NDArray[np.uint8]
    bridge_before: NDArray[np.uint8]
    frame: NDArray[np.uint8]
    frame_before: NDArray[np.uint8]


class Book:
    """Bricks of all channels. A frame goes through ``find``, ``commit``, ``plan``, the backend's kernels, and ``collect``."""

    def __init__(self, settings: VolumeSettings) -> None:
        self.settings = settings
        self._library = native.load()
        limit = settings.memory_limit_mib << 20
        self._book = self._library.sono_book_open(*settings.lengths_mm, limit)
        if not self._book:
            raise native.refusal(NO_MEMORY, settings)

    def gap_units(self, channel: int) -> int:
        """How far apart planes may be to be joined, in the kernels' units."""
        return int(self._library.sono_book_gap_units(self._book, channel))

    def count(self, channel: int) -> int:
        """Bricks of a channel."""
        return int(self._library.sono_book_count(self._book, channel))

    def find(self, shape: tuple[int, int], pose: NDArray[np.float64], channel: int, bridge: bool) -> int:
        """How many bricks a frame [axial, lateral] at ``pose`` needs that do not exist. Raises BadPose, VolumeFull."""
        height, width = shape
        self._checked(self._library.sono_book_aim(self._book, channel, pointer(pose), width, height, bridge))
        return self._checked(self._library.sono_book_find(self._book, channel))

    def commit(self, channel: int) -> None:
        """Add the bricks just found. Raises VolumeFull where this machine's memory ends."""
        self._checked(self._library.sono_book_commit(self._book, channel))

    def plan(self, channel: int) -> Plan:
        """The tasks of the committed frame."""
        counts, arrays = (ctypes.c_int * 2)(), (ctypes.c_void_p * 5)()
        self._library.sono_book_plan(self._book, channel, counts, arrays)
        sizes = [TASK_BYTES * count for count in (counts[0], counts[1], counts[1])] + [FRAME_BYTES, FRAME_BYTES]
        return Plan(*counts, *[_bytes_at(address, size) for address, size in zip(arrays, sizes, strict=True)])

    def collect(self, channel: int, hits: NDArray[np.uint8]) -> NDArray[np.int32]:
        """Slots of the tasks that wrote a voxel, each once; ``hits`` [placed + bridged]. The next frame may bridge to this one."""
        count = self._checked(self._library.sono_book_collect(self._book, channel, pointer(hits)))
        self._library.sono_book_advance(self._book, channel)
        return native.taken(self._library.sono_book_touched(self._book, channel), (count,))

    def coordinates(self, channel: int, slots: NDArray[np.int32]) -> NDArray[np.int32]:
        """Brick coordinates [n, 3]; raises BadSlots."""
        found = np.empty((len(slots), 3), np.int32)
        if self._library.sono_book_coordinates(self._book, channel, pointer(slots), len(slots), pointer(found)) < 0:
            raise BadSlots(f"the volume holds bricks 0 to {self.count(channel) - 1}; slots beyond were asked for")
        return found

    def neighbours(self, channel: int, slots: NDArray[np.int32]) -> NDArray[np.int32]:
        """Slots of the 27 bricks around each of these, x fastest, -1 where there is none: [n, 27]."""
        found = np.empty((len(slots), 27), np.int32)
        for slot, row in zip(slots.tolist(), found, strict=True):
            self._library.sono_book_neighbours(self._book, channel, slot, pointer(row))
        return found

    def clear(self) -> None:
        """Forget all bricks."""
        self._library.sono_book_clear(self._book)

    def close(self) -> None:
        """Release the tables. Twice does no harm."""
        if self._book:
            self._library.sono_book_close(self._book)
        self._book = None

    def _checked(self, answer: int) -> int:
        if answer < 0:
            raise native.refusal(answer, self.settings)
        return int(answer)


def _bytes_at(address: int | None, size: int) -> NDArray[np.uint8]:
    if not size or not address:
        return np.empty(0, np.uint8)
    return np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))
