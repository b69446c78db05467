"""The volume on the CPU: host.cpp and the kernels through ctypes."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.compounding import (
    BRICK_EDGE,
    COMPOUNDINGS,
    BackendUnavailable,
    BadSlots,
    Bricks,
    DenseVolume,
    VolumeClosed,
    VolumeFull,
    VolumeSettings,
    VoxelCounts,
    native,
)
from edge.compounding.dense import assemble, survey
from edge.compounding.filling import filling_plan
from edge.compounding.image import Image, LookUp, grey_table
from edge.compounding.native import checked_channel, pointer

missing = native.missing


def variants() -> list[str]:
    """The instruction sets that were built and run on this machine, best first."""
    names: bytes = native.load().sono_variants()
    return names.decode().split()


class Compounder:
    """See :class:`edge.compounding.Compounder`. ``variant`` forces an instruction set (see :func:`variants`); "" is the best.

    ``threads`` and ``variant`` say what is in use.
    """

    backend = "host"

    def __init__(self, settings: VolumeSettings, threads: int = 0, variant: str = "") -> None:
        if lack := missing():
            raise BackendUnavailable(f"host: {lack}")
        self.settings = settings
        self._library = native.load()
        self._engine: int | None = self._library.sono_open(
            *settings.lengths_mm,
            COMPOUNDINGS.index(settings.compounding),
            settings.memory_limit_mib << 20,
            threads,
            variant.encode(),
        )
        if not self._engine:
            raise BackendUnavailable(f"host: instruction set {variant!r} does not run here; choose one of {', '.join(variants())}")
        self._book = self._library.sono_book(self._engine)
        self.threads: int = self._library.sono_threads(self._engine)
        self.variant = variant or variants()[0]

    def place(
        self,
        pixels: Image,
        image_to_reference: NDArray[np.float64],
        channel: int = 0,
        valid: NDArray[np.uint8] | None = None,
        bridge: bool = False,
    ) -> NDArray[np.int32]:
        """See the protocol."""
        engine, channel = self._open(), checked_channel(channel)
        pose = native.checked_pose(image_to_reference)
        image, mask = native.checked_frame(pixels, valid)
        height, width = image.shape
        count = self._library.sono_place(engine, pointer(image), width, height, pointer(pose), channel, pointer(mask), bool(bridge))
        if count < 0:
            raise native.refusal(count, self.settings)
        return native.taken(self._library.sono_book_touched(self._book, channel), (count,))

    def bricks(self, slots: NDArray[np.int32], channel: int = 0) -> Bricks:
        """See the protocol."""
        engine, channel = self._open(), checked_channel(channel)
        wanted = native.checked_slots(slots)
        count, shape = len(wanted), (len(wanted), BRICK_EDGE, BRICK_EDGE, BRICK_EDGE)
        found = Bricks(np.empty((count, 3), np.int32), np.empty(shape, np.uint8), np.empty(shape, np.uint8))
        if self._library.sono_book_coordinates(self._book, channel, pointer(wanted), count, pointer(found.coordinates)) < 0:
            raise BadSlots(f"the volume holds bricks 0 to {self.brick_count(channel) - 1}; slots beyond were asked for")
        self._library.sono_bricks(engine, channel, pointer(wanted), count, pointer(found.intensity), pointer(found.state))
        return found

    def slots(self, channel: int = 0) -> NDArray[np.int32]:
        """See the protocol."""
        return np.arange(self.brick_count(channel), dtype=np.int32)

    def brick_count(self, channel: int = 0) -> int:
        """See the protocol."""
        self._open()
        return int(self._library.sono_book_count(self._book, checked_channel(channel)))

    def voxel_counts(self, channel: int = 0) -> VoxelCounts:
        """See the protocol."""
        return survey(self, channel)[0]

    def fill_holes(self, channel: int = 0, radius_voxels: int = 2, min_known_ratio: float = 0.5) -> int:
        """See the protocol."""
        engine, channel = self._open(), checked_channel(channel)
        least, weights = filling_plan(radius_voxels, min_known_ratio)
        if self._library.sono_fill(engine, channel, radius_voxels, least, pointer(weights)) < 0:
            raise VolumeFull("no memory is left to fill holes with; close other programs or use a larger spacing_mm")
        return self.voxel_counts(channel).filled

    def dense(self, channel: int = 0) -> DenseVolume:
        """See the protocol."""
        return assemble(self, channel)

    def image(
        self, pixels: NDArray[Any], sample_range: tuple[float, float] = (0.0, 255.0), look_up: LookUp | None = None
    ) -> NDArray[np.uint8]:
        """See the protocol."""
        engine, image = self._open(), native.checked_pixels(pixels, kinds=native.SAMPLES)
        rows, columns = image.shape
        grey = grey_table(image.dtype.name, *sample_range)
        if grey is not None:
            samples, image = image, np.empty(image.shape, np.uint8)
            self._library.sono_grey(engine, columns, rows, samples.itemsize - 1, pointer(samples), pointer(grey), pointer(image))
        if look_up is None:
            return image
        table = native.checked_table(*look_up)
        height, width = table[0].shape
        out = np.empty((height, width), np.uint8)
        self._library.sono_remap(engine, width, height, pointer(image), columns, rows, *[pointer(array) for array in (*table, out)])
        return out

    def reset(self) -> None:
        """See the protocol."""
        self._library.sono_reset(self._open())

    def close(self) -> None:
        """See the protocol."""
        if self._engine:
            self._library.sono_close(self._engine)
        self._engine = None

    def __enter__(self) -> Compounder:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_engine", None):
            self.close()

    def _open(self) -> int:
        if not self._engine:
            raise VolumeClosed("this volume is closed; open a new one")
        return self._engine
