"""The volume: frames in, sparse bricks of voxels out. Settings, the face of every backend, and the table of backends.

Reference is in millimetres; voxel (i, j, k) has its centre at ``spacing_mm * (i, j, k)``. Brick (bi, bj, bk) covers voxels
8b .. 8b + 7 and is stored as [k][j][i]. Voxel states: 0 empty, 1 measured, 2 interpolated between two frames, 3 hole-filled.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from edge.compounding.image import Image, LookUp
from edge.errors import SonosweepError

BRICK_EDGE = 8
CHANNEL_COUNT = 5  # 0 ultrasound; 1 to 4 photoacoustic, one a wavelength: CHANNELS in book.h
COMPOUNDINGS = ("mean", "maximum", "latest")
EMPTY, MEASURED, INTERPOLATED, FILLED = range(4)
BACKENDS = {
    "cuda": "edge.compounding.cuda",
    "host": "edge.compounding.host",
}  # in the order in which ``auto`` tries them
MIN_HALF_WIDTH_VOXELS = 0.25  # of the slab; thinner ones would leave holes in the frame's own plane
MAX_IMAGE = 8192  # pixels a side; with the steps of a voxel, a corner of a brick still fits 32-bit fixed point
MAX_GAP_HALF_WIDTHS = 256.0  # so that distances in a gap fit the kernels' 32 bits


class BackendUnavailable(SonosweepError):
    """The asked-for compute backend cannot run on this machine; the message says what it lacks."""


class BadVolumeSettings(SonosweepError):
    """A setting of the volume is out of its range."""


class BadFrame(SonosweepError):
    """Pixels, mask or channel are not what a volume takes."""


class BadPose(SonosweepError):
    """A pose that no frame can be placed with: not finite, singular, or absurdly far away."""


class BadSlots(SonosweepError):
    """A brick was asked for that the volume does not have."""


class VolumeFull(SonosweepError):
    """The frame needs more bricks than the memory limit allows; it was not placed and the volume is unchanged."""


class VolumeTooLarge(SonosweepError):
    """The box around everything scanned is too large for one dense array."""


class VolumeEmpty(SonosweepError):
    """Nothing has been placed yet."""


class VolumeClosed(SonosweepError):
    """The volume was used after it was closed."""


@dataclass(frozen=True)
class VolumeSettings:
    """How a volume is built. ``slab_half_width_mm`` None is one voxel: how far a frame reaches to either side of its plane.

    ``max_gap_mm``: planes of consecutive frames further apart than this are never interpolated between. ``light_max_gap_mm`` is
    that of photoacoustic frames, by default sqrt(2) of the other: sound goes one way there, and a pulse-echo slice is the product
    of the beam sent and the beam heard, so the same aperture listens to a slice sqrt(2) as thick (Gaussian beams).
    """

    spacing_mm: float = 0.5
    compounding: str = "mean"
    slab_half_width_mm: float | None = None
    max_gap_mm: float = 2.0
    light_max_gap_mm: float = 2.8
    memory_limit_mib: int = 4096

    def __post_init__(self) -> None:
        if self.compounding not in COMPOUNDINGS:
            raise BadVolumeSettings(f"compounding {self.compounding!r} is not known; choose one of {', '.join(COMPOUNDINGS)}")
        _within("spacing_mm", self.spacing_mm, 1e-3, 100.0)
        half = self.half_width_mm
        _within("slab_half_width_mm", half, MIN_HALF_WIDTH_VOXELS * self.spacing_mm, 16 * self.spacing_mm)
        _within("max_gap_mm", self.max_gap_mm, 0.0, MAX_GAP_HALF_WIDTHS * half)
        _within("light_max_gap_mm", self.light_max_gap_mm, 0.0, MAX_GAP_HALF_WIDTHS * half)
        _within("memory_limit_mib", self.memory_limit_mib, 1, 1 << 21)

    @property
    def half_width_mm(self) -> float:
        """The slab's half-width with its default filled in."""
        return self.spacing_mm if self.slab_half_width_mm is None else self.slab_half_width_mm

    @property
    def lengths_mm(self) -> tuple[float, float, float, float]:
        """Spacing, half-width and both widest gaps, as the kernels take them."""
        return self.spacing_mm, self.half_width_mm, self.max_gap_mm, self.light_max_gap_mm


def _within(name: str, value: float, least: float, most: float) -> None:
    if not (math.isfinite(value) and least <= value <= most):
        raise BadVolumeSettings(f"{name} is {value!r}; it must lie between {least:g} and {most:g}")


class Bricks(NamedTuple):
    """Resolved bricks. ``coordinates`` int32 [n, 3] (bi, bj, bk); ``intensity`` and ``state`` uint8 [n, 8, 8, 8] as [k][j][i]."""

    coordinates: NDArray[np.int32]
    intensity: NDArray[np.uint8]
    state: NDArray[np.uint8]


class VoxelCounts(NamedTuple):
    """Voxels by state, in all bricks of a channel."""

    empty: int
    measured: int
    interpolated: int
    filled: int


@dataclass(frozen=True)
class DenseVolume:
    """The smallest box around all voxels that are not empty. ``intensity`` and ``state`` uint8 [k, j, i].

    ``origin_mm`` [3] is the centre of voxel [0, 0, 0] in Reference (x, y, z); axes are parallel to Reference's.
    """

    intensity: NDArray[np.uint8]
    state: NDArray[np.uint8]
    origin_mm: NDArray[np.float64]
    spacing_mm: float


class Compounder(Protocol):
    """A volume under construction on one backend. Not for use by two threads at once. A context manager that closes itself.

    Channels: 0 ultrasound, 1 to 4 photoacoustic, one for each wavelength. Each has its own bricks; slots number them from 0 in the
    order of first touch.
    """

    @property
    def backend(self) -> str:
        """``host`` or ``cuda``: what really runs."""
        ...

    @property
    def settings(self) -> VolumeSettings:
        """As given when the volume was opened."""
        ...

    def place(
        self,
        pixels: Image,
        image_to_reference: NDArray[np.float64],
        channel: int = 0,
        valid: NDArray[np.uint8] | None = None,
        bridge: bool = False,
    ) -> NDArray[np.int32]:
        """Add one frame; answers with the slots of the bricks in which a voxel was written.

        ``pixels`` uint8 [axial, lateral]; ``image_to_reference`` 4x4 maps (column, row, 0, 1) to Reference mm, pixel centres at
        integers. ``valid`` [axial, lateral], nonzero where the pixel is tissue: a voxel needs all four pixels around it.
        ``bridge``: voxels between this plane and that of the frame placed before it in this channel may be interpolated.
        Raises BadFrame, BadPose, VolumeFull; after an error nothing was placed, and the next frame cannot bridge.
        """
        ...

    def bricks(self, slots: NDArray[np.int32], channel: int = 0) -> Bricks:
        """Resolved voxels of these bricks. Raises BadSlots."""
        ...

    def slots(self, channel: int = 0) -> NDArray[np.int32]:
        """All slots of a channel, in the order of first touch. A brick may be empty: the slab only passed beside its voxels."""
        ...

    def brick_count(self, channel: int = 0) -> int:
        """How many bricks a channel holds."""
        ...

    def voxel_counts(self, channel: int = 0) -> VoxelCounts:
        """Voxels by state."""
        ...

    def fill_holes(self, channel: int = 0, radius_voxels: int = 2, min_known_ratio: float = 0.5) -> int:
        """Give empty voxels of touched bricks the Gaussian mean of their cube; answers how many are hole-filled now.

        Only where at least ``min_known_ratio`` of the cube's (2 radius + 1)^3 voxels is measured or interpolated. Filled
        voxels feed no others, and a second call starts anew. At 0.5 a flat outer border does not grow.
        """
        ...

    def dense(self, channel: int = 0) -> DenseVolume:
        """Everything in one array. Raises VolumeEmpty, VolumeTooLarge (above ``memory_limit_mib``)."""
        ...

    def image(self, pixels: NDArray[Any], sample_range: tuple[float, float] = (0.0, 255.0), look_up: LookUp | None = None) -> Image:
        """8-bit grey of a frame's samples (uint8 or uint16), wherever this backend wants it: for ``place``, and to look at.

        ``sample_range`` says which values are black and white. ``look_up`` makes an image of beams, bilinearly: int32 [h, w], the
        flat index of each upper left sample (-1: outside, gives 0), and two uint8 fractions in 1/256. Arrays in it that are
        read-only go to a device once.
        """
        ...

    def reset(self) -> None:
        """Forget all voxels of all channels and give their memory back."""
        ...

    def close(self) -> None:
        """Release memory and threads. Twice does no harm."""
        ...

    def __enter__(self) -> Compounder: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


def open_compounder(name: str, settings: VolumeSettings, threads: int = 0) -> Compounder:
    """A new volume on backend ``auto``, ``host`` or ``cuda``; ``threads`` 0 takes all cores that this process may use.

    A named backend never gives way to another. Raises BackendUnavailable.
    """
    if name != "auto" and name not in BACKENDS:
        raise BackendUnavailable(f"{name!r} is not a compounding backend; choose auto, {' or '.join(BACKENDS)}")
    lacks = {}
    for candidate in BACKENDS if name == "auto" else [name]:
        lacks[candidate] = missing(candidate)
        if not lacks[candidate]:
            made: Compounder = _module(candidate).Compounder(settings, threads)
            return made
    raise BackendUnavailable("; ".join(f"{candidate}: {lack}" for candidate, lack in lacks.items()))


def missing(name: str) -> str:
    """What backend ``name`` lacks on this machine and how to mend it; empty where it can run."""
    if importlib.util.find_spec(BACKENDS[name]) is None:
        return "this installation does not contain it"
    lack: str = _module(name).missing()
    return lack


def _module(name: str) -> Any:
    return importlib.import_module(BACKENDS[name])
