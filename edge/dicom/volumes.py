"""A saved volume as Enhanced US Volume or Photoacoustic Image. Both lie in one frame of reference, right-handed, axes as in our files.

Voxel (i, j, k) of the volume is column i, row j of frame k + 1, at origin_mm + spacing_mm * (i, j, k): rows run along x, columns along y,
frames along z, and x cross y is z, so nothing is mirrored. Spacing, position and orientation stand a second time at the top of the object,
where GDCM (ITK, 3D Slicer) and other readers that know no functional groups look for them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from edge.config import DicomConfig
from edge.dicom.codes import EXTERNAL, FIXED_BEAM, GEOMETRIES, OWN_SCHEME, PLANE_SCAN, UNKNOWN, Code, coded, region_of
from edge.dicom.exam import Exam
from edge.dicom.objects import Origin, begin, comment, decimal, grey_pixels, seal, tell_origin
from edge.dicom.probe_facts import ProbeFacts, check_acoustics, check_light, transducer_to_volume
from edge.files.headers import numbers
from edge.files.volumes import Volume

ENHANCED_US_VOLUME = "1.2.840.10008.5.1.4.1.1.6.2"
PHOTOACOUSTIC_IMAGE = "1.2.840.10008.5.1.4.1.1.6.3"
ALONG_THE_AXES = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]  # of rows and columns; frames go along their cross product
POSITION_POINTER, GROUP_POINTER = 0x00209301, 0x0020930E  # Image Position (Volume), Plane Position (Volume) Sequence
COUPLING_GEL = Code("1004163002", "SCT", "Ultrasound coupling gel")
OXYGEN = "oxygen-saturation"  # the channel of `sonosweep oxygenation`
BLOOD_OXYGENATION = Code("110819", "DCM", "Blood Oxygenation Level")
PHOTOACOUSTIC_SIGNAL = Code("pa-signal", OWN_SCHEME, "Photoacoustic signal")


def ultrasound_volume(volume: Volume, exam: Exam, origin: Origin, facts: ProbeFacts, config: DicomConfig) -> Dataset:
    """``DirectionUnconfirmed``, ``AcousticOutputUnknown``, ``TransducerUnknown``, ``ExamNotDicom`` where it cannot be written truly."""
    origin.check(exam.sweep)
    check_acoustics(facts, exam.sweep)
    ds = _placed(volume, exam, origin, facts, config, ENHANCED_US_VOLUME, "US", "ultrasound")
    ds.MechanicalIndex = facts.mechanical_index
    ds.BoneThermalIndex = ds.CranialThermalIndex = ds.SoftTissueThermalIndex = facts.thermal_index  # the largest one stands for all
    ds.DepthOfScanField = round(facts.depth_mm)  # an IS: whole millimetres
    ds.DepthsOfFocus = list(facts.focus_mm)
    ds.AcquisitionDuration = facts.duration_s * 1e3  # ms
    ds.TransducerScanPatternCodeSequence = Sequence([coded(PLANE_SCAN)])
    ds.TransducerGeometryCodeSequence = Sequence([coded(GEOMETRIES[facts.geometry])])
    ds.TransducerBeamSteeringCodeSequence = Sequence([coded(FIXED_BEAM)])
    ds.TransducerApplicationCodeSequence = Sequence([coded(EXTERNAL)])
    ds.AnatomicRegionSequence = Sequence([coded(region_of(exam.fields.get("body_part", "")).code)])
    ds.ViewCodeSequence = Sequence([coded(UNKNOWN)])
    ds.RescaleIntercept, ds.RescaleSlope = 0, 1
    shared = ds.SharedFunctionalGroupsSequence[0]
    shared.ImageDataTypeSequence = one(DataType="TISSUE_INTENSITY", AliasedDataType="NO")
    kind = {"FrameType": list(ds.ImageType), "VolumetricProperties": "VOLUME", "VolumeBasedCalculationTechnique": "NONE"}
    shared.USImageDescriptionSequence = one(**kind)
    return seal(ds)


def photoacoustic_image(volume: Volume, exam: Exam, origin: Origin, facts: ProbeFacts, config: DicomConfig) -> Dataset:
    """Of one wavelength, or oxygen saturation in percent, which is derived from several.

    ``DirectionUnconfirmed``, ``WavelengthUnknown``, ``TransducerUnknown``, ``ExamNotDicom`` where it cannot be written truly.
    """
    origin.check(exam.sweep)
    told, channel = volume.metadata, volume.metadata.get("channel", "photoacoustic")
    own = told.get("wavelengths_nm", told.get("wavelength_nm", ""))
    facts = replace(facts, wavelengths_nm=numbers(own, f"sweep {exam.sweep}", "wavelength_nm") or facts.wavelengths_nm)
    check_light(facts, exam.sweep)
    ds = _placed(volume, exam, origin, facts, config, PHOTOACOUSTIC_IMAGE, "PA", channel)
    if channel == OXYGEN:
        ds.ImageType = ["DERIVED", "PRIMARY", "VOLUME", "NONE"]
        ds.ImageComments += f" Percent of oxygen saturation; 0 is no value. {told.get('caveat', '')}".rstrip()
    kind = {"PixelPresentation": "MONOCHROME", "VolumetricProperties": "VOLUME", "VolumeBasedCalculationTechnique": "NONE"}
    for name, value in kind.items():
        setattr(ds, name, value)
    ds.ExcitationWavelengthSequence = Sequence([_item(ExcitationWavelength=light) for light in facts.wavelengths_nm])
    ds.AcousticCouplingMediumFlag = "YES"
    ds.AcousticCouplingMediumCodeSequence = Sequence([coded(COUPLING_GEL)])
    shared = ds.SharedFunctionalGroupsSequence[0]
    shared.ImageDataTypeSequence = one(
        ImageDataTypeCodeSequence=Sequence([coded(BLOOD_OXYGENATION if channel == OXYGEN else PHOTOACOUSTIC_SIGNAL)])
    )
    shared.PhotoacousticImageFrameTypeSequence = one(FrameType=list(ds.ImageType), **kind)
    excitations = [_item(ExcitationWavelength=light) for light in facts.wavelengths_nm]
    if facts.laser_energy_mj > 0:
        for light in excitations:
            light.ExcitationEnergy = facts.laser_energy_mj
    shared.PhotoacousticExcitationCharacteristicsSequence = Sequence(excitations)
    return seal(ds)


def _placed(
    volume: Volume, exam: Exam, origin: Origin, facts: ProbeFacts, config: DicomConfig, sop_class: str, modality: str, channel: str
) -> Dataset:
    """What both kinds share: place, frames, pixels."""
    mirror = f"direction {origin.direction}"  # a flipped volume must not lie in the series of the one that it corrects
    ds = begin(exam, config, sop_class, modality, channel, mirror)
    frames, rows, columns = volume.intensity.shape
    words = "" if channel in ("ultrasound", "photoacoustic") else f", {channel}"
    ds.SeriesDescription = ("Freehand sweep volume" if modality == "US" else "Freehand photoacoustic volume") + words[:30]
    ds.SeriesNumber, ds.InstanceNumber = (1 if modality == "US" else 2), 1
    ds.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    comment(ds, exam, origin.sentence(), invented(volume))
    tell_origin(ds, origin)
    _frame_of_reference(ds, exam, facts, origin.tracked)
    spacing, place = decimal(volume.spacing_mm), volume.origin_mm
    ds.PixelSpacing = [spacing, spacing]
    ds.SliceThickness = ds.SpacingBetweenSlices = spacing
    ds.ImagePositionPatient, ds.ImageOrientationPatient = [decimal(v) for v in place], ALONG_THE_AXES
    ds.PositionMeasuringDeviceUsed = "RIGID" if origin.tracked else "FREEHAND"
    ds.PresentationLUTShape = "IDENTITY"
    _dimensions(ds, exam)
    shared = Dataset()
    shared.PixelMeasuresSequence = one(PixelSpacing=[spacing, spacing], SliceThickness=spacing, SpacingBetweenSlices=spacing)
    shared.PlaneOrientationVolumeSequence = one(ImageOrientationVolume=ALONG_THE_AXES)
    shared.TemporalPositionSequence = one(TemporalPositionTimeOffset=0.0)
    shared.FrameVOILUTSequence = one(WindowCenter=128, WindowWidth=256)
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    ds.PerFrameFunctionalGroupsSequence = Sequence([_frame(volume, k, exam, facts) for k in range(frames)])
    grey_pixels(ds, volume.intensity.tobytes(), columns, rows, frames)
    return ds


def _frame_of_reference(ds: Dataset, exam: Exam, facts: ProbeFacts, tracked: bool) -> None:
    """Reference is the first image, or the tracker's; the transducer's axes (x along its face, z into the body) as it was at that image."""
    ds.FrameOfReferenceUID = ds.VolumeFrameOfReferenceUID = exam.uid("reference")
    ds.PositionReferenceIndicator = ""
    ds.SynchronizationFrameOfReferenceUID = exam.uid("time")
    ds.SynchronizationTrigger = "NO TRIGGER"
    ds.AcquisitionTimeSynchronized = "N"
    ds.PatientOrientation = ""  # the axes are the probe's, not the patient's
    ds.UltrasoundAcquisitionGeometry = "APEX"
    place = transducer_to_volume(facts, exam.sweep, tracked=tracked)
    ds.ApexPosition = place[:3, 3].tolist()
    ds.VolumeToTransducerMappingMatrix = np.linalg.inv(place).ravel().tolist()


def _dimensions(ds: Dataset, exam: Exam) -> None:
    ds.DimensionOrganizationType = "3D"
    organization = exam.uid("dimensions")
    ds.DimensionOrganizationSequence = one(DimensionOrganizationUID=organization)
    index = {"DimensionOrganizationUID": organization, "DimensionIndexPointer": POSITION_POINTER, "FunctionalGroupPointer": GROUP_POINTER}
    ds.DimensionIndexSequence = one(**index)


def _frame(volume: Volume, k: int, exam: Exam, facts: ProbeFacts) -> Dataset:
    x, y, z = volume.origin_mm
    frame = Dataset()
    when = exam.moment.strftime("%Y%m%d%H%M%S%z")
    frame.FrameContentSequence = one(
        FrameAcquisitionDateTime=when,
        FrameReferenceDateTime=when,
        FrameAcquisitionDuration=facts.duration_s * 1e3,  # ms
        DimensionIndexValues=[k + 1],
        StackID="1",
        InStackPositionNumber=k + 1,
    )
    frame.PlanePositionVolumeSequence = one(ImagePositionVolume=[x, y, z + k * volume.spacing_mm])
    return frame


def invented(volume: Volume) -> str:
    """How much of it was not measured: the object holds no voxel states, so it says so in words."""
    if not volume.state.size:
        return "Which voxels were measured is not known."
    held, invented = int((volume.state > 0).sum()), int((volume.state > 1).sum())
    share = 100 * invented / max(1, held)
    return f"Of the voxels that are not empty {share:.1f} % were interpolated or filled, not measured; the object does not say which."


def _item(**values: object) -> Dataset:
    item = Dataset()
    for name, value in values.items():
        setattr(item, name, value)
    return item


def one(**values: object) -> Sequence:
    """A sequence of one item."""
    return Sequence([_item(**values)])
