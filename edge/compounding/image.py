"""The image of a frame, wherever it lies: a numpy array, or on the GPU, where it goes once for the network and the volume both."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

LookUp = tuple[NDArray[np.int32], NDArray[np.uint8], NDArray[np.uint8]]  # index, lateral and axial fraction: see Compounder.image
Taps = tuple[NDArray[np.int32], NDArray[np.float32]]  # [taps, outputs]: which inputs each output sums up, and their shares


@runtime_checkable
class DeviceImage(Protocol):
    """uint8 or float32 [axial, lateral] on the device; ``np.asarray`` brings it here. Its place is another's once it is forgotten.

    All work on it goes to the process's one stream, so that whoever asks for more need not wait.
    """

    shape: tuple[int, int]
    nbytes: int
    address: int

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]: ...

    def resampled(self, lateral: Taps, axial: Taps) -> DeviceImage:
        """float32: sums over rows, then over columns, to the bit what ``edge.motion.resample`` computes with numpy."""


Image = NDArray[Any] | DeviceImage


@lru_cache(maxsize=8)
def grey_table(kind: str, black: float, white: float) -> NDArray[np.uint8] | None:
    """8-bit grey of every value of ``kind`` (uint8, uint16): 0 at ``black``, 255 at ``white``. None where samples are grey already."""
    if (kind, black, white) == ("uint8", 0.0, 255.0):
        return None
    samples = np.arange(np.iinfo(kind).max + 1, dtype=np.float32)
    grey = (samples - np.float32(black)) * np.float32(255 / (white - black))
    table: NDArray[np.uint8] = np.clip(np.rint(grey), 0, 255).astype(np.uint8)
    table.setflags(write=False)
    return table
