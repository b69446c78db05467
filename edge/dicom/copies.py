"""A volume as Multi-frame Grayscale Byte Secondary Capture: for readers and PACS that do not know its own class, with its place and size.

GDCM (ITK, 3D Slicer) reads no Photoacoustic Image; of this class it reads the functional groups, so the voxels lie where they belong.
It says nothing of acoustic output or light, so it can be written where those are not known.
"""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from edge.config import DicomConfig
from edge.dicom.exam import Exam
from edge.dicom.objects import Origin, begin, comment, decimal, grey_pixels, seal, tell_origin
from edge.dicom.volumes import ALONG_THE_AXES, invented, one
from edge.files.volumes import Volume

MULTI_FRAME_CAPTURE = "1.2.840.10008.5.1.4.1.1.7.2"
SLICE_LOCATION_VECTOR = 0x00182005
POSITION_POINTER, GROUP_POINTER = 0x00200032, 0x00209113  # Image Position (Patient), Plane Position Sequence


def plain_copy(volume: Volume, exam: Exam, origin: Origin, config: DicomConfig) -> Dataset:
    """``DirectionUnconfirmed``, ``ExamNotDicom`` where it cannot be written truly."""
    origin.check(exam.sweep)
    channel = volume.metadata.get("channel", "ultrasound")
    modality = "US" if channel == "ultrasound" else "PA"
    ds = begin(exam, config, MULTI_FRAME_CAPTURE, modality, "copy", channel, f"direction {origin.direction}")
    ds.SeriesDescription, ds.SeriesNumber, ds.InstanceNumber = f"Freehand sweep volume, plain copy, {channel}"[:64], 5, 1
    ds.ConversionType = "WSD"
    ds.ImageType = ["DERIVED", "SECONDARY"]
    ds.PatientOrientation = ""
    comment(ds, exam, origin.sentence(), invented(volume), "A copy for readers that do not know the volume's own class.")
    tell_origin(ds, origin)
    ds.PresentationLUTShape, ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "IDENTITY", 0, 1, "US"  # US: unspecified
    frames, rows, columns = volume.intensity.shape
    step, (x, y, z) = decimal(volume.spacing_mm), volume.origin_mm
    along = [z + k * volume.spacing_mm for k in range(frames)]
    if frames > 1:
        ds.FrameIncrementPointer, ds.SliceLocationVector = SLICE_LOCATION_VECTOR, [decimal(place) for place in along]
    ds.PixelSpacing, ds.SliceThickness, ds.SpacingBetweenSlices = [step, step], step, step
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [decimal(x), decimal(y), decimal(z)], ALONG_THE_AXES
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = exam.uid("reference"), ""
    _dimensions(ds, exam)
    shared = Dataset()
    shared.PixelMeasuresSequence = one(PixelSpacing=[step, step], SliceThickness=step, SpacingBetweenSlices=step)
    shared.PlaneOrientationSequence = one(ImageOrientationPatient=ALONG_THE_AXES)
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    ds.PerFrameFunctionalGroupsSequence = Sequence([_frame(k, [x, y, place]) for k, place in enumerate(along)])
    grey_pixels(ds, volume.intensity.tobytes(), columns, rows, frames)
    return seal(ds)


def _dimensions(ds: Dataset, exam: Exam) -> None:
    organization = exam.uid("dimensions of the copy")
    ds.DimensionOrganizationSequence, ds.DimensionOrganizationType = one(DimensionOrganizationUID=organization), "3D"
    index = {"DimensionOrganizationUID": organization, "DimensionIndexPointer": POSITION_POINTER, "FunctionalGroupPointer": GROUP_POINTER}
    ds.DimensionIndexSequence = one(**index)


def _frame(k: int, place: list[float]) -> Dataset:
    frame = Dataset()
    frame.FrameContentSequence = one(StackID="1", InStackPositionNumber=k + 1, DimensionIndexValues=[k + 1])
    frame.PlanePositionSequence = one(ImagePositionPatient=[decimal(value) for value in place])
    return frame
