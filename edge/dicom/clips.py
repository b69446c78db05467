"""The images of a sweep as US Multi-frame, with their times and with calibrated calipers; pictures of the review as Secondary Capture."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from edge.config import DicomConfig
from edge.dicom.errors import ClipTooLong, MalformedDicom, NothingToWrite
from edge.dicom.exam import Exam
from edge.dicom.objects import Origin, begin, comment, decimal, grey_pixels, seal
from edge.dicom.probe_facts import ProbeFacts
from edge.messages import Frame
from edge.placed_images import placed_images

US_MULTI_FRAME = "1.2.840.10008.5.1.4.1.1.3.1"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
LARGEST_CLIP = 256 << 20  # bytes of pixels: they are held twice for a moment, and the gateway that exports them has 1 GiB
LARGEST_PICTURE = 64 << 20  # pixels
BOMBS = (Image.DecompressionBombWarning, Image.DecompressionBombError)
TWO_DIMENSIONAL, TISSUE, CENTIMETRES = 1, 1, 3  # of a region: PS3.3 C.8.5.5.1
FRAME_TIME, FRAME_TIME_VECTOR = 0x00181063, 0x00181065
LONGEST_VALUE = 65534  # bytes of an element of 16 bits' length
MEAN_TOLD = "The time between images is their mean: there are too many to tell each."


def ultrasound_clip(frames: Iterable[Frame], exam: Exam, facts: ProbeFacts, config: DicomConfig, every: int = 1) -> Dataset:
    """Every ``every``-th B-mode image as it was recorded (convex ones scan-converted). ``ClipTooLong``, ``NothingToWrite``."""
    pixels, shape = bytearray(), (0, 0)
    times_ns: list[int] = []
    spacing_mm, count = (1.0, 1.0), 0
    for frame, picture in placed_images(frame for frame in frames if frame.modality == "bmode"):
        if pixels and picture.shape != shape:
            break  # a change of geometry ends a sweep
        if count % every == 0:
            pixels += picture.tobytes()
            times_ns.append(frame.timestamp_ns)
            spacing_mm, shape = frame.geometry.spacing_mm, picture.shape
        count += 1
        if len(pixels) > LARGEST_CLIP:
            raise ClipTooLong(
                f"sweep {exam.sweep}: its images take more than {LARGEST_CLIP >> 20} MiB; take every 2nd: --every {every * 2}"
            )
    if not pixels:
        raise NothingToWrite(f"sweep {exam.sweep}: its recording holds no B-mode image")
    ds = begin(exam, config, US_MULTI_FRAME, "US", "clip", str(every))
    rows, columns = shape
    ds.SeriesDescription, ds.SeriesNumber, ds.InstanceNumber = "Freehand sweep, live images", 3, 1
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    ds.PatientOrientation = ""
    steps_ms = [0.0, *((after - before) / 1e6 for before, after in pairwise(times_ns))]
    mean_ms = sum(steps_ms) / max(1, len(steps_ms) - 1)
    each = [f"{max(0.0, step):.3f}" for step in steps_ms]
    fits = len("\\".join(each)) <= LONGEST_VALUE
    comment(ds, exam, f"Every {every}. image of the sweep." if every > 1 else "", "" if fits else MEAN_TOLD)
    if fits:
        ds.FrameTimeVector, ds.FrameIncrementPointer = each, FRAME_TIME_VECTOR
    else:
        ds.FrameTime, ds.FrameIncrementPointer = decimal(mean_ms), FRAME_TIME
    if mean_ms > 0:
        ds.CineRate = ds.RecommendedDisplayFrameRate = max(1, round(1e3 / mean_ms))
    ds.SequenceOfUltrasoundRegions = Sequence([_region(columns, rows, spacing_mm)])
    ds.PixelSpacing = [decimal(spacing_mm[1]), decimal(spacing_mm[0])]  # for readers that know no regions
    ds.NumberOfStages = ds.NumberOfViewsInStage = 1
    if facts.mechanical_index >= 0:
        ds.MechanicalIndex = decimal(facts.mechanical_index)
    if facts.thermal_index >= 0:
        ds.BoneThermalIndex = ds.CranialThermalIndex = ds.SoftTissueThermalIndex = decimal(facts.thermal_index)
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = exam.uid("reference"), ""
    grey_pixels(ds, bytes(pixels), columns, rows, len(times_ns))
    return seal(ds)


def _region(columns: int, rows: int, spacing_mm: tuple[float, float]) -> Dataset:
    region = Dataset()
    region.RegionSpatialFormat, region.RegionDataType, region.RegionFlags = TWO_DIMENSIONAL, TISSUE, 0
    region.RegionLocationMinX0 = region.RegionLocationMinY0 = 0
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = columns - 1, rows - 1
    region.ReferencePixelX0 = region.ReferencePixelY0 = 0
    region.ReferencePixelPhysicalValueX = region.ReferencePixelPhysicalValueY = 0.0
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = CENTIMETRES
    region.PhysicalDeltaX, region.PhysicalDeltaY = spacing_mm[0] / 10, spacing_mm[1] / 10
    return region


def review_picture(path: Path, exam: Exam, origin: Origin, config: DicomConfig, number: int = 1) -> Dataset:
    """A picture of the volume (PNG), as it was drawn. ``DirectionUnconfirmed``, ``MalformedDicom`` for what is no picture."""
    origin.check(exam.sweep)
    pixels = _rgb(path)
    rows, columns = pixels.shape[:2]
    ds = begin(exam, config, SECONDARY_CAPTURE, "US", "pictures")
    ds.SeriesDescription, ds.SeriesNumber, ds.InstanceNumber = "Freehand sweep, pictures of the review", 4, number
    ds.ConversionType = "WSD"
    ds.ImageType = ["DERIVED", "SECONDARY"]
    ds.SecondaryCaptureDeviceManufacturer, ds.SecondaryCaptureDeviceManufacturerModelName = config.manufacturer, config.model
    del ds.BurnedInAnnotation  # a picture carries words: whose they are, nobody has looked
    ds.PatientOrientation = ""
    comment(ds, exam, origin.sentence(), "A picture: not for measuring.")
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
    ds.Columns, ds.Rows = columns, rows
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation = 7, 0
    ds.PixelData = pixels.tobytes() + b"\0" * (pixels.size % 2)
    ds["PixelData"].VR = "OB"
    return seal(ds)


def _rgb(path: Path) -> NDArray[np.uint8]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(path.read_bytes()), formats=["PNG"]) as picture:
                if picture.width * picture.height > LARGEST_PICTURE or max(picture.size) > 65535:
                    raise MalformedDicom(f"{path}: has {picture.width} x {picture.height} pixels, too many for a picture")
                return np.asarray(picture.convert("RGB"))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, *BOMBS) as wrong:
        raise MalformedDicom(f"{path}: is no picture (PNG) that can be read: {wrong}") from wrong
