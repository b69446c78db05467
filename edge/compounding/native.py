"""The kernel library as ctypes sees it: where it lies, its C interface, and how arrays are handed over."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char_p, c_double, c_int, c_int64, c_size_t, c_uint64, c_void_p
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.compounding import CHANNEL_COUNT, MAX_IMAGE, BadFrame, BadPose, BadSlots, VolumeFull, VolumeSettings
from edge.compounding.image import DeviceImage
from edge.errors import SonosweepError

LIBRARY = Path(__file__).with_name("libsonosweep_kernels.so")
SAMPLES = ("uint8", "uint16")  # of a frame
SIGNATURES: dict[str, tuple[Any, list[Any]]] = {
    "sono_variants": (c_char_p, []),
    "sono_open": (c_void_p, [c_double, c_double, c_double, c_double, c_int, c_int64, c_int, c_char_p]),
    "sono_close": (None, [c_void_p]),
    "sono_reset": (None, [c_void_p]),
    "sono_threads": (c_int, [c_void_p]),
    "sono_book": (c_void_p, [c_void_p]),
    "sono_place": (c_int, [c_void_p, c_void_p, c_int, c_int, c_void_p, c_int, c_void_p, c_int]),
    "sono_fill": (c_int, [c_void_p, c_int, c_int, c_int, c_void_p]),
    "sono_bricks": (None, [c_void_p, c_int, c_void_p, c_int, c_void_p, c_void_p]),
    "sono_remap": (None, [c_void_p, c_int, c_int, c_void_p, c_int, c_int, c_void_p, c_void_p, c_void_p, c_void_p]),
    "sono_grey": (None, [c_void_p, c_int, c_int, c_int, c_void_p, c_void_p, c_void_p]),
    "sono_resample": (
        None,
        [c_void_p, c_int, c_int, c_void_p, c_int, c_int, c_void_p, c_void_p, c_int, c_void_p, c_void_p, c_void_p],
    ),
    "sono_book_open": (c_void_p, [c_double, c_double, c_double, c_double, c_int64]),
    "sono_book_close": (None, [c_void_p]),
    "sono_book_clear": (None, [c_void_p]),
    "sono_book_count": (c_int, [c_void_p, c_int]),
    "sono_book_coordinates": (c_int, [c_void_p, c_int, c_void_p, c_int, c_void_p]),
    "sono_book_gap_units": (c_int, [c_void_p, c_int]),
    "sono_book_aim": (c_int, [c_void_p, c_int, c_void_p, c_int, c_int, c_int]),
    "sono_book_find": (c_int, [c_void_p, c_int]),
    "sono_book_commit": (c_int, [c_void_p, c_int]),
    "sono_book_plan": (None, [c_void_p, c_int, POINTER(c_int), POINTER(c_void_p)]),
    "sono_book_collect": (c_int, [c_void_p, c_int, c_void_p]),
    "sono_book_advance": (None, [c_void_p, c_int]),
    "sono_book_touched": (c_void_p, [c_void_p, c_int]),
    "sono_book_neighbours": (None, [c_void_p, c_int, c_int, c_void_p]),
    "sono_survey": (None, [c_void_p, c_void_p, c_int, c_void_p, c_void_p]),
    "sono_scatter": (None, [c_void_p, c_void_p, c_int, c_void_p, c_void_p, c_void_p]),
    "sono_crc64": (c_uint64, [c_void_p, c_size_t, c_uint64]),
}


@lru_cache(maxsize=4)
def load(path: Path = LIBRARY) -> ctypes.CDLL:
    """The library with its signatures; ``OSError`` where it is missing or made for another machine."""
    library = ctypes.CDLL(str(path))
    for name, (result, arguments) in SIGNATURES.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def missing(path: Path = LIBRARY) -> str:
    """Why the library cannot be used, with the cure; empty where it can."""
    if not path.exists():
        return f"{path.name} has not been built; run: sudo apt install g++ && pip install ."
    try:
        load(path)
    except (OSError, AttributeError) as wrong:
        return f"{path.name} does not fit this machine or this version ({wrong}); build it again: pip install ."
    return ""


def pointer(array: NDArray[Any] | None) -> int | None:
    """The address of a C-contiguous array's first element."""
    return None if array is None else array.ctypes.data


def taken(address: int | None, shape: tuple[int, ...]) -> NDArray[np.int32]:
    """A copy of the library's int32 array at ``address``."""
    copy = np.empty(shape, np.int32)
    if copy.size:
        ctypes.memmove(copy.ctypes.data, address or 0, copy.nbytes)
    return copy


def checked_pixels(pixels: Any, what: str = "pixels", kinds: tuple[str, ...] = ("uint8",)) -> NDArray[Any]:
    """[axial, lateral] of one of these types, C-contiguous, between 2 and MAX_IMAGE a side; else BadFrame."""
    if not isinstance(pixels, np.ndarray) or pixels.dtype.name not in kinds or pixels.ndim != 2:
        kind = f"{pixels.dtype} {list(pixels.shape)}" if isinstance(pixels, np.ndarray) else type(pixels).__name__
        raise BadFrame(f"{what} must be a {' or '.join(kinds)} array [axial, lateral], not {kind}; convert the frame first")
    if min(pixels.shape) < 2 or max(pixels.shape) > MAX_IMAGE:
        raise BadFrame(f"{what} are {pixels.shape[1]} x {pixels.shape[0]}; each side must be 2 to {MAX_IMAGE} pixels")
    return np.ascontiguousarray(pixels)


def checked_frame(pixels: Any, valid: Any) -> tuple[Any, NDArray[np.uint8] | None]:
    """Pixels (an image on the device as it is) and mask as :func:`checked_pixels` answers them, of one shape; else BadFrame."""
    image = pixels if isinstance(pixels, DeviceImage) else checked_pixels(pixels)
    mask = None if valid is None else checked_pixels(valid, "valid")
    if mask is not None and mask.shape != image.shape:
        raise BadFrame(f"valid is {list(mask.shape)} and pixels are {list(image.shape)}; both are [axial, lateral] of one frame")
    return image, mask


def checked_channel(channel: int) -> int:
    """The channel's number; else BadFrame."""
    if channel not in range(CHANNEL_COUNT):
        raise BadFrame(f"channel {channel!r} does not exist; 0 is ultrasound, 1 to {CHANNEL_COUNT - 1} are wavelengths of light")
    return int(channel)


def checked_slots(slots: Any) -> NDArray[np.int32]:
    """A list of brick numbers, not yet known to exist; else BadSlots."""
    wanted = np.ascontiguousarray(slots, np.int32)
    if wanted.ndim != 1:
        raise BadSlots(f"slots must be a list of brick numbers, not an array {list(wanted.shape)}")
    return wanted


def checked_table(index: Any, fx: Any, fy: Any) -> tuple[NDArray[np.int32], NDArray[np.uint8], NDArray[np.uint8]]:
    """A look-up: int32 [h, w] and two fractions uint8 [h, w] in 1/256 pixel, C-contiguous; else BadFrame."""
    if index.dtype != np.int32 or index.ndim != 2 or not index.size or not index.shape == fx.shape == fy.shape:
        raise BadFrame("a look-up needs int32 [h, w] and two uint8 fractions of the same shape")
    for fractions in (fx, fy):
        if fractions.dtype != np.uint8:
            raise BadFrame(f"fractions of a look-up are uint8 (1/256 pixel), not {fractions.dtype}")
    return np.ascontiguousarray(index), np.ascontiguousarray(fx), np.ascontiguousarray(fy)


def checked_pose(matrix: Any) -> NDArray[np.float64]:
    """A finite 4x4 float64 matrix with the last row 0 0 0 1; else BadPose."""
    pose = np.asarray(matrix)
    if pose.shape != (4, 4) or pose.dtype != np.float64:
        raise BadPose(f"image_to_reference must be a float64 4x4 matrix, not {pose.dtype} {list(pose.shape)}")
    if not np.isfinite(pose).all() or not np.array_equal(pose[3], (0.0, 0.0, 0.0, 1.0)):
        raise BadPose(f"image_to_reference must be finite with the last row 0 0 0 1, not {pose.tolist()}; drop this frame")
    return np.ascontiguousarray(pose)


def refusal(code: int, settings: VolumeSettings) -> SonosweepError:
    """The error for a negative answer of ``sono_place`` (the enum Refusal in frame.h)."""
    limit = settings.memory_limit_mib
    return {
        -1: BadPose("image_to_reference is singular: the image has no area in Reference; drop this frame"),
        -2: BadPose("image_to_reference lies absurdly far from the Reference origin (millions of bricks); drop this frame"),
        -3: BadPose("image_to_reference makes over 512 pixels of one voxel; check the pixel spacing or use a smaller spacing_mm"),
        -4: BadPose("image_to_reference makes the image span millions of bricks; check the pixel spacing or use a larger spacing_mm"),
        -5: VolumeFull(f"the volume has reached its limit of {limit} MiB; save it, raise memory_limit_mib or use a larger spacing_mm"),
        -6: VolumeFull("this machine has no memory left for the volume; save it, close other programs or use a larger spacing_mm"),
    }[code]
