"""What all our DICOM objects have in common: equipment, times, what they may be used for, their UID from their content, their encoding."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from edge.atomic import replacing
from edge.config import DicomConfig
from edge.dicom.codes import DIRECTION, DIRECTION_SOURCE, MOTION, OWN_SCHEME, Code, coded
from edge.dicom.errors import DirectionUnconfirmed, EncoderMissing
from edge.dicom.exam import Exam, describe
from edge.dicom.identifiers import IMPLEMENTATION_NAME, IMPLEMENTATION_UID, uid_of

NOT_FOR_DIAGNOSIS = "Research use, not for diagnosis."
CLOCK_NOT_SET = "The device's clock was not set when the sweep was made."
CLOCK_OF_TABLET = "The device's clock was set from a tablet."
FILE_TIME = "The time is that of a file, not of the sweep."
CONFIRMED = ("preset", "operator", "tracked", "recorded")
SERIAL_LEFT_OUT = "unknown"  # the volumes' classes must say one; PS3.15 has it replaced where identities are taken out
SMALLEST_JPEG2000 = 64  # rows or columns: OpenJPEG takes no image that it cannot halve five times; a smaller one stays as it is
Compression = Literal["none", "rle", "jpeg-ls", "jpeg2000"]
SYNTAXES: dict[str, tuple[UID, str]] = {  # and the library that encodes it beside pydicom
    "none": (ExplicitVRLittleEndian, ""),
    "rle": (RLELossless, ""),
    "jpeg-ls": (JPEGLSLossless, "jpeg_ls"),
    "jpeg2000": (JPEG2000Lossless, "openjpeg"),
}


@dataclass(frozen=True)
class Origin:
    """Where a volume's shape comes from: the source of its motion, the direction, and who confirmed that."""

    motion: str
    direction: str
    direction_source: str

    @property
    def tracked(self) -> bool:
        """Whether a position measuring device placed the images."""
        return self.direction_source == "tracked" or self.motion == "recorded"

    def check(self, sweep: str) -> None:
        """``DirectionUnconfirmed`` unless somebody or a tracker has said which way the probe went."""
        if not self.tracked and self.direction_source not in CONFIRMED:
            raise DirectionUnconfirmed(
                f"sweep {sweep}: its direction ({self.direction or '?'}) was confirmed by nobody, and a wrong one gives a mirror image; "
                "confirm it on the tablet by saving the sweep, then write again"
            )

    def sentence(self) -> str:
        """For whoever reads the image's comments."""
        how = "measured by a tracker" if self.tracked else f"estimated ({self.motion}), no tracker"
        return f"Motion {how}; direction {self.direction or 'as tracked'}, source: {self.direction_source or 'tracked'}."


def begin(exam: Exam, config: DicomConfig, sop_class: str, modality: str, *kind: str) -> Dataset:
    """An object with everything but its image. ``kind`` names the series."""
    ds = Dataset()
    ds.SOPClassUID = UID(sop_class)
    describe(ds, exam)
    ds.Modality = modality
    ds.SeriesInstanceUID = exam.series_uid(modality, *kind)
    ds.ContentDate, ds.ContentTime = exam.moment.strftime("%Y%m%d"), exam.moment.strftime("%H%M%S")
    ds.AcquisitionDateTime = exam.moment.strftime("%Y%m%d%H%M%S%z")
    ds.AcquisitionDate, ds.AcquisitionTime = ds.ContentDate, ds.ContentTime
    ds.Manufacturer = config.manufacturer
    ds.ManufacturerModelName = config.model
    ds.DeviceSerialNumber = SERIAL_LEFT_OUT if exam.names_nobody else config.serial
    ds.SoftwareVersions = f"sonosweep {version('sonosweep')}"
    if config.institution and not exam.names_nobody:
        ds.InstitutionName = config.institution
    ds.ContentQualification = "RESEARCH"
    ds.BurnedInAnnotation = "NO"
    ds.LossyImageCompression = "00"
    return ds


def comment(ds: Dataset, exam: Exam, *sentences: str) -> None:
    """What a person should know before using the image."""
    when = FILE_TIME if exam.file_time else "" if exam.clock_trusted else CLOCK_OF_TABLET if exam.clock_source else CLOCK_NOT_SET
    ds.ImageComments = " ".join(filter(None, (NOT_FOR_DIAGNOSIS, *sentences, when)))


def tell_origin(ds: Dataset, origin: Origin) -> None:
    """Motion and direction where programs look for how an image was acquired."""
    told = ((MOTION, origin.motion), (DIRECTION, origin.direction), (DIRECTION_SOURCE, origin.direction_source))
    ds.AcquisitionContextSequence = Sequence([_said(concept, value) for concept, value in told if value])
    own = Dataset()
    own.CodingSchemeDesignator, own.CodingSchemeName = OWN_SCHEME, "sonosweep"
    own.CodingSchemeResponsibleOrganization = "sonosweep"
    ds.CodingSchemeIdentificationSequence = Sequence([own])


def grey_pixels(ds: Dataset, pixels: bytes, columns: int, rows: int, frames: int) -> None:
    """8-bit grey frames, one after the other."""
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Columns, ds.Rows, ds.NumberOfFrames = columns, rows, frames
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit, ds.PixelRepresentation = 7, 0
    ds.PixelData = pixels + b"\0" * (len(pixels) % 2)
    ds["PixelData"].VR = "OB"


def decimal(value: float) -> str:
    """A decimal string has 16 signs: as many digits as fit."""
    for digits in range(17, 5, -1):
        if len(text := f"{value:.{digits}g}") <= 16:
            return text
    return f"{value:.5g}"


def seal(ds: Dataset) -> Dataset:
    """Give the object the UID of its content: the same content has the same one, another content another one."""
    ds.SOPInstanceUID = uid_of("object", ds.SOPClassUID, _digest(ds))
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID, meta.ImplementationVersionName = UID(IMPLEMENTATION_UID), IMPLEMENTATION_NAME
    ds.file_meta = meta
    return ds


def write_object(path: Path, ds: Dataset, compression: Compression = "none") -> Path:
    """A sealed object as a file, whole or not at all. Lossless compression keeps the UID. ``EncoderMissing``."""
    syntax, library = SYNTAXES[compression]
    if library and find_spec(library) is None:
        raise EncoderMissing(f"compression {compression} needs a library: pip install 'sonosweep[dicom-jpeg]', or use none or rle")
    if compression == "jpeg2000" and min(ds.Rows, ds.Columns) < SMALLEST_JPEG2000:
        compression = "none"
    if compression != "none":
        ds.compress(syntax, generate_instance_uid=False)
    with replacing(path) as out:
        dcmwrite(out, ds, enforce_file_format=True)
    return path


def _said(concept: Code, value: str) -> Dataset:
    item = Dataset()
    item.ValueType = "TEXT"
    item.ConceptNameCodeSequence = Sequence([coded(concept)])
    item.TextValue = value
    return item


def _digest(ds: Dataset) -> str:
    plain = Dataset()
    for element in ds:
        if element.keyword not in ("SOPInstanceUID", "PixelData"):
            plain.add(element)
    out = io.BytesIO()
    dcmwrite(out, plain, implicit_vr=False, little_endian=True, enforce_file_format=False)
    return hashlib.sha256(out.getvalue() + hashlib.sha256(ds.PixelData).digest()).hexdigest()
