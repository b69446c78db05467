"""Ultrasound multi-frame clips in DICOM as sweeps: with pydicom, which one door knows. Nothing of the patient is read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.files.errors import LibraryMissing, MalformedFile, UnsupportedFile
from edge.files.hints import Crop, Hints
from edge.files.screens import Picture, ScreenSweep

MOST_FRAMES = 100_000
DEFLATED = "1.2.840.10008.1.2.1.99"  # is inflated whole, however large it becomes
CENTIMETRE, TISSUE = 3, 1  # PhysicalUnits, RegionDataType
USUAL_MS = 1000 / 25
NEEDED = (
    "Modality",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "BitsAllocated",
    "FrameTime",
    "FrameTimeVector",
    "CineRate",
    "SequenceOfUltrasoundRegions",
    "PhotometricInterpretation",
    "BitsStored",
    *(f"{colour}PaletteColorLookupTable{part}" for colour in ("Red", "Green", "Blue") for part in ("Descriptor", "Data")),
)
BRIGHTNESS = ("MONOCHROME2", "MONOCHROME1", "PALETTE COLOR")
COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")  # pydicom makes RGB of all


class DicomClip(ScreenSweep):
    """A clip, grey. Pixel size and image area come from its calibrated region where it has one of tissue."""

    kind = "dcm"

    def __init__(self, path: Path, hints: Hints) -> None:
        """``LibraryMissing``, ``MalformedFile``, ``UnsupportedFile``; see :meth:`ScreenSweep.settle` for more."""
        self.path = path
        with _named_errors(path) as pydicom:
            syntax = str(pydicom.filereader.read_file_meta_info(path).TransferSyntaxUID)
            if syntax == DEFLATED:
                raise UnsupportedFile(f"{path}: is deflated as a whole; convert it to explicit little endian")
            head = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(NEEDED))
            if head.get("Modality", "US") != "US":
                raise UnsupportedFile(f"{path}: modality {head.Modality} is not ultrasound")
            self.size = int(head.Columns), int(head.Rows)
            self.frame_count = int(head.get("NumberOfFrames") or 1)
            if not 0 < self.frame_count <= MOST_FRAMES or int(head.BitsAllocated) != 8:
                raise UnsupportedFile(f"{path}: {self.frame_count} images of {head.BitsAllocated} bits; clips of 8-bit images are read")
            self._kind = str(head.get("PhotometricInterpretation") or "")
            if self._kind not in BRIGHTNESS + COLOURS:
                what = f"{self._kind:.40} images are not taken" if self._kind else "says nothing of what its samples mean"
                raise UnsupportedFile(f"{path}: {what}; {', '.join(BRIGHTNESS + COLOURS)} are")
            self._head = head
            self._times_ns = _times_ns(head, self.frame_count)
            crop, spacing_mm = _region(head, self.size)
        span_ns = self._times_ns[-1] - self._times_ns[0]
        self.frames_per_s = 1e9 * (self.frame_count - 1) / span_ns if span_ns > 0 else None
        self.settle(path, hints, crop, spacing_mm)
        self.description = {"transfer_syntax": syntax, **self.told}

    def pictures(self) -> Iterator[Picture]:
        """See :class:`ScreenSweep`."""
        with _named_errors(self.path) as pydicom:
            for at_ns, pixels in zip(self._times_ns, pydicom.pixels.iter_pixels(self.path), strict=False):
                yield at_ns, _grey(self._bright(pydicom, np.asarray(pixels)), self.path)

    def _bright(self, pydicom: Any, pixels: NDArray[Any]) -> NDArray[Any]:
        """Samples of which more means brighter, 8 bits a colour."""
        if self._kind == "MONOCHROME1":
            return (1 << int(self._head.get("BitsStored") or 8)) - 1 - pixels.astype(np.int32)
        if self._kind != "PALETTE COLOR":
            return pixels
        found: NDArray[Any] = pydicom.pixels.apply_color_lut(pixels, self._head)
        return found >> max(0, int(self._head.RedPaletteColorLookupTableDescriptor[2]) - 8)


@contextmanager
def _named_errors(path: Path) -> Iterator[Any]:
    try:
        import pydicom
        import pydicom.pixels
    except ImportError as missing:
        raise LibraryMissing(f"{path}: DICOM needs pydicom: pip install 'sonosweep[dicom]'") from missing
    from edge.files.dicom_errors import MALFORMED, quiet

    try:
        with quiet():  # what is odd in a file is said by its errors, or does not matter here
            yield pydicom
    except pydicom.errors.InvalidDicomError as wrong:
        raise MalformedFile(f"{path}: is no DICOM file") from wrong
    except MALFORMED as wrong:
        raise MalformedFile(f"{path}: is no DICOM clip that can be read: {type(wrong).__name__}: {str(wrong)[:200]}") from wrong


def _region(head: Any, size: tuple[int, int]) -> tuple[Crop | None, tuple[float, float] | None]:
    """The first calibrated region of tissue: its place, and its pixels in millimetres."""
    for region in head.get("SequenceOfUltrasoundRegions") or ():
        units = int(region.PhysicalUnitsXDirection), int(region.PhysicalUnitsYDirection)
        if units != (CENTIMETRE, CENTIMETRE) or int(region.RegionDataType) != TISSUE:
            continue
        left, top = int(region.RegionLocationMinX0), int(region.RegionLocationMinY0)
        right, bottom = min(int(region.RegionLocationMaxX1), size[0] - 1), min(int(region.RegionLocationMaxY1), size[1] - 1)
        spacing_mm = 10 * abs(float(region.PhysicalDeltaX)), 10 * abs(float(region.PhysicalDeltaY))
        if right - left < 1 or bottom - top < 1 or min(left, top) < 0 or not all(0.001 <= s <= 10 for s in spacing_mm):
            raise ValueError(f"the calibrated region {left},{top} to {right},{bottom} of {spacing_mm} mm a pixel is none")
        return Crop(left, top, right - left + 1, bottom - top + 1), spacing_mm
    return None, None


def _times_ns(head: Any, count: int) -> list[int]:
    vector = head.get("FrameTimeVector")
    if vector is not None and not isinstance(vector, str | float | int) and len(vector) == count:
        steps_ms = [float(step) for step in vector]
    else:
        rate = float(head.get("CineRate") or 0)
        steps_ms = [float(head.get("FrameTime") or 0) or (1000 / rate if rate > 0 else USUAL_MS)] * count
    if not all(0 <= step < 1e6 for step in steps_ms[1:]):
        raise ValueError("the times of its images are not finite and rising")
    times_ms = np.concatenate([[0.0], np.cumsum(steps_ms[1:])])
    return [int(t) for t in np.rint(times_ms * 1e6).astype(np.int64)]


def _grey(pixels: NDArray[Any], path: Path) -> NDArray[np.uint8]:
    if pixels.ndim == 3 and pixels.shape[2] == 3:
        pixels = (pixels.astype(np.uint32) @ np.array([77, 150, 29], np.uint32)) >> 8  # ITU-R BT.601
    if pixels.ndim != 2:
        raise UnsupportedFile(f"{path}: images of shape {pixels.shape} are not taken")
    return pixels.astype(np.uint8)
